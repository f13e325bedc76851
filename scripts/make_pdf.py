"""Print the whole built book as one PDF, with its figures, a table of contents and links that work.

    python scripts/make_pdf.py                       _build/html → _build/pdf/orthobook.pdf
    python scripts/make_pdf.py one-layer notation    two of its pages
    python scripts/make_pdf.py --site S --to F.pdf   another built book, another file

The pages' articles are put into one page, in the order of the table of contents; links between pages become links
within it. A browser sets the formulas, draws the figures and prints. The page numbers in the table of contents are
read off the print, and laid over it.
"""

from __future__ import annotations

import argparse
import datetime
import io
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import chapters
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter
from screenshots import DRAWN, TYPESET
from tqdm import tqdm

sys.path.append(str(chapters.ROOT / "book" / "_ext"))
import assets

TEMPLATES = chapters.ROOT / "book" / "_print"
SITE = chapters.ROOT / "_build" / "html"
PDF = chapters.ROOT / "_build" / "pdf" / "orthobook.pdf"
PATIENCE = 600_000  # milliseconds for all formulas and figures of the book

FOOTER = (
    '<div style="font: 8pt sans-serif; color: #444; width: 100%; text-align: center">'
    '<span class="pageNumber"></span></div>'
)
PRINT = {
    "format": "A4",
    "margin": {"top": "20mm", "bottom": "20mm", "left": "20mm", "right": "20mm"},
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": FOOTER,
    "outline": True,
    "tagged": True,
    "print_background": True,
}
OPEN = "() => document.querySelectorAll('details').forEach(details => details.open = true)"
NUMBER = """pages => {
  document.body.className = 'numbers';
  for (const [id, page] of Object.entries(pages)) document.getElementById('page-of-' + id).textContent = page;
}"""


def parts(only: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
    """Return the parts of the table of contents, or of some of its pages: their titles, and their pages' names."""
    chosen = [(part, [name for name in pages if name in only or not only]) for part, pages in chapters.pages().items()]
    return [(part, pages) for part, pages in chosen if pages]


def article(site: Path, name: str, names: set[str]) -> Tag:
    """Return a page's article, its identifiers and links made fit for one page that holds all."""
    soup = BeautifulSoup((site / "book" / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    for element in found.find_all(id=True):
        element["id"] = f"{name}--{element['id']}"
    for element in found.select("[href], [src]"):
        for attribute in {"href", "src"} & set(element.attrs):
            element[attribute] = _address(element[attribute], name, names)
    found["id"] = name
    return found


def _address(address: str, name: str, names: set[str]) -> str:
    """Return where a link of the page ``name`` leads in the page that holds all."""
    link = urlsplit(address)
    if link.scheme or link.netloc:
        return address
    page = Path(link.path).stem if link.path else name
    if page in names and (not link.path or link.path == f"{page}.html"):
        return f"#{page}--{link.fragment}" if link.fragment else f"#{page}"
    return f"../html/book/{address}"


def whole_book(site: Path, contents: list[tuple[str, list[str]]]) -> str:
    """Return the HTML of one page that holds the book, or some of its pages."""
    names = [name for _, pages in contents for name in pages]
    articles = {name: article(site, name, set(names)) for name in tqdm(names, desc="pages", unit="page")}
    values = {
        "site": "../html",
        "style": (TEMPLATES / "print.css").as_uri(),
        "title": "Networks with orthogonal Jacobians",
        "author": "The orthobook contributors",
        "version": version("orthobook"),
        "date": datetime.date.today().isoformat(),
        "address": chapters.repository(),
        "contents": "\n      ".join(_contents(contents, articles)),
        "head": "\n    ".join(_scripts(site, names)),
        "articles": "\n".join(map(str, articles.values())),
    }
    return Template((TEMPLATES / "book.html").read_text(encoding="utf-8")).substitute(values)


def _contents(contents: list[tuple[str, list[str]]], articles: dict[str, Tag]) -> Iterator[str]:
    """Yield the lines of the table of contents, their page numbers to be filled in."""
    for part, pages in contents:
        if part:
            yield f'<p class="part">{escape(part)}</p>'
        for name in pages:
            words = escape(title(articles[name]))
            yield f'<a href="#{name}"><span>{words}</span><span class="page" id="page-of-{name}">000</span></a>'


def title(page: Tag) -> str:
    """Return a page's title with its number."""
    heading = page.find("h1")
    return "".join(part for part in heading.strings if part.strip() != "#").strip()


def _scripts(site: Path, names: Sequence[str]) -> list[str]:
    """Return the elements that load what formulas, code and figures need, each once."""
    found: dict[str, None] = {}
    for name in names:
        head = (site / "book" / f"{name}.html").read_text(encoding="utf-8").partition("</head>")[0]
        for tag in assets.loaders(BeautifulSoup(head, "html.parser")):
            for attribute in {"src", "href"} & set(tag.attrs):
                tag[attribute] = f"../html/book/{tag[attribute]}"
            found[str(tag)] = None
    return list(found)


def print_book(page: Page, address: str, pdf: Path, names: Sequence[str]) -> int:
    """Print the page that holds the book, with page numbers in its contents; return how many pages there are."""
    page.goto(address, timeout=PATIENCE)
    for ready in (TYPESET, DRAWN):
        page.wait_for_function(ready, timeout=PATIENCE)
    page.evaluate(OPEN)
    page.set_default_timeout(PATIENCE)
    page.pdf(path=pdf, **PRINT)
    # Printing all again would take as long again: the numbers alone are printed, and laid over the contents.
    page.evaluate(NUMBER, page_numbers(PdfReader(pdf), names))
    numbers = PdfReader(io.BytesIO(page.pdf(**PRINT | {"display_header_footer": False})))
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns that Chromium counts its objects differently
    book = PdfWriter(clone_from=pdf)
    for below, above in zip(book.pages, numbers.pages, strict=False):
        below.merge_page(above)
    book.write(pdf)
    return len(book.pages)


def page_numbers(book: PdfReader, names: Sequence[str]) -> dict[str, int]:
    """Return the page on which each of the book's pages begins."""
    places = {name.removeprefix("/"): place for name, place in book.named_destinations.items()}
    return {name: book.get_destination_page_number(places[name]) + 1 for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="names of pages, such as one-layer (default: all)")
    parser.add_argument("--site", type=Path, default=SITE, metavar="FOLDER", help="the built book")
    parser.add_argument("--to", type=Path, default=PDF, metavar="FILE", help="default: _build/pdf/orthobook.pdf")
    options = parser.parse_args(arguments)
    if not (options.site / "index.html").exists():
        parser.error(f"there is no built book at {options.site}: run `make book` first")
    contents = parts(options.pages)
    names = [name for _, pages in contents for name in pages]
    if unknown := set(options.pages) - set(names):
        parser.error(f"no page is called {', '.join(sorted(unknown))}")
    options.to.parent.mkdir(parents=True, exist_ok=True)
    source = options.site.resolve().parent / "pdf" / "book.html"
    source.parent.mkdir(exist_ok=True)
    source.write_text(whole_book(options.site.resolve(), contents), encoding="utf-8")
    print("setting the formulas and printing; this takes a minute or two ...", flush=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        count = print_book(browser.new_page(), source.as_uri(), options.to, names)
        browser.close()
    print(f"{options.to}: {count} pages, {options.to.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
