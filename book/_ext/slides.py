"""Make slides of the chapters: for each, a presentation in slides/ beside the book's pages.

A cell whose metadata say ``"slideshow": {"slide_type": "slide"}``, as Jupyter's own property inspector writes it, is
shown in the presentation of its chapter. The slides are cut from the built page itself, so they have its formulas,
pictures and interactive figures, and need no network either. On a slide stand a cell's heading, its theorems, lists,
tables and figures, and displayed formulas with the sentence that leads to them. Other sentences become the speaker's
notes; proofs, exercises and solutions stay in the book. The presentation is run by reveal.js, which comes from the
installed wheel of sphinx-revealjs.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from typing import Any

from bs4 import BeautifulSoup, Comment, Tag
from docutils import nodes
from sphinx.application import Sphinx

import assets

BEGIN, END = "slide", "end of slide"  # HTML comments around a marked cell
HERE = Path(__file__).parents[1] / "_slides"
IN_WHEEL = "sphinx_revealjs/_static/revealjs"
REVEAL_PARTS = ("LICENSE", "dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes")
LEAD = 320  # characters of a paragraph that is shown before its formula; of a longer one its last sentence is
SENTENCE_END = re.compile(r"(^|[.!?])\s+(?=[A-Z(]|$)")
HEADINGS = ("h1", "h2", "h3", "h4")


def is_marked(cell: dict[str, Any]) -> bool:
    """Say whether a notebook's cell is to be shown on slides."""
    return cell["metadata"].get("slideshow", {}).get("slide_type") == "slide"


def mark(app: Sphinx, page: str, source: list[str]) -> None:
    """Put comments around the cells to be shown, before a chapter is read; they are found again in the built page."""
    if Path(app.env.doc2path(page)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    cells = []
    for cell in notebook["cells"]:
        begin, end = [_comment(cell["id"], text) for text in (BEGIN, END)]
        cells += [begin, cell, end] if is_marked(cell) else [cell]
    if is_marked(notebook["cells"][0]):  # the page must begin with its title
        title, _, rest = "".join(cells[1]["source"]).partition("\n")
        cells[:2] = [cells[1] | {"source": title}, cells[0], cells[1] | {"source": rest, "id": "below-the-title"}]
    notebook["cells"] = cells
    source[0] = json.dumps(notebook)


def _comment(identifier: str, text: str) -> dict[str, Any]:
    """Return a cell that holds a comment alone."""
    name = f"{identifier[:40]}-{text.replace(' ', '-')}"
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": f"<!-- {text} -->"}


def make(app: Sphinx, failure: Exception | None) -> None:
    """Write the presentations of all chapters that have marked cells."""
    if failure is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    written = {}
    for path in sorted((site / "book").glob("*.html")):
        page = path.read_text(encoding="utf-8")
        if f"<!-- {BEGIN} -->" in page:
            written[path.stem] = presentation(page, path.stem)
    if not written:
        return
    (site / "slides").mkdir(exist_ok=True)
    for name, text in written.items():
        (site / "slides" / f"{name}.html").write_text(text, encoding="utf-8")
    copy_scripts(site / "_static" / "vendor" / "reveal")


def copy_scripts(target: Path) -> None:
    """Put reveal.js and the slides' own script and style beside the pages."""
    assets.copy(Path(str(distribution("sphinx-revealjs").locate_file(IN_WHEEL))), target, REVEAL_PARTS)
    assets.copy(HERE, target, ("slides.css", "slides.js"))


def presentation(page: str, name: str) -> str:
    """Return the HTML of a chapter's presentation, given that of its page."""
    soup = BeautifulSoup(page, "html.parser")
    article = soup.select_one("article.bd-article")
    for section in article.find_all("section"):
        section.unwrap()
    title = article.find("h1")
    slides = "\n".join(map(str, _slides(soup, article, name)))
    head = "\n    ".join(map(str, assets.loaders(soup)))
    template = Template((HERE / "slides.html").read_text(encoding="utf-8"))
    values = {"title": _title_text(title), "name": name, "head": head, "slides": slides}
    return template.substitute(values)


def _slides(soup: BeautifulSoup, article: Tag, name: str) -> Iterator[Tag]:
    """Yield the slides of a chapter, one for each heading and each cell among what is marked."""
    heading = article.find("h1")  # the last one above, shown or not
    slide: list[Tag] = []
    inside = opened = False
    for element in [*article.children, Comment(END)]:
        if slide and (isinstance(element, Comment) or _is_heading(element)):
            shown, spoken = _divided(slide)
            if not opened:  # the promise, before what one will be able to do
                yield _slide(soup, "h1", heading, spoken[:1], [], name)
                objectives = BeautifulSoup("<h2>You will be able to</h2>", "html.parser").h2
                yield _slide(soup, "h2", objectives, shown, [], name)
                opened = True
            elif shown:
                yield _slide(soup, "h2", heading, shown, spoken, name)
            slide = []
        if isinstance(element, Comment):
            inside = {BEGIN: True, END: False}.get(element.strip(), inside)
        elif _is_heading(element):
            heading = element
        elif inside and isinstance(element, Tag):
            slide.append(element)


def _is_heading(element: object) -> bool:
    """Say whether an element is a heading."""
    return isinstance(element, Tag) and element.name in HEADINGS


def _divided(elements: list[Tag]) -> tuple[list[Tag], list[Tag]]:
    """Divide what is marked into what is shown and what is spoken; where nothing else is, sentences are shown."""
    asks = any("choice" in element.get("class", []) for element in elements)
    shown, spoken = [], []
    for element, following in zip(elements, [*elements[1:], None], strict=True):
        leads = following is not None and "math" in following.get("class", [])
        short = len(element.get_text()) <= LEAD
        if element.name != "p" or asks:
            shown += [] if _stays_in_the_book(element) else [element]
        elif leads:
            shown.append(element if short else _last_sentence(element))
        if element.name == "p" and not asks and not (leads and short):
            spoken.append(element)
    return (shown, spoken) if shown else (spoken, [])


def _last_sentence(paragraph: Tag) -> Tag:
    """Return a paragraph's last sentence alone."""
    last = copy.copy(paragraph)
    for text in reversed(last.find_all(string=True, recursive=False)):
        before = text.previous_sibling
        begins = before is not None and before.get_text().endswith((".", "!", "?"))
        ends = [found for found in SENTENCE_END.finditer(text) if found[1] or (begins and found.start() == 0)]
        if ends and (text[ends[-1].end() :] or text.next_sibling):
            for other in list(text.previous_siblings):
                other.extract()
            text.replace_with(text[ends[-1].end() :])
            break
    return last


def _slide(soup: BeautifulSoup, level: str, heading: Tag, shown: list[Tag], spoken: list[Tag], name: str) -> Tag:
    """Return a slide of a title, what is shown, and what is spoken."""
    section = soup.new_tag("section")
    if level == "h1":
        section["class"] = "opening"
    title = soup.new_tag(level)
    title.extend(copy.copy(child) for child in heading.contents)
    section.append(title)
    section.extend(_for_screen(copy.copy(element)) for element in shown)
    if spoken:
        notes = soup.new_tag("aside", attrs={"class": "notes"})
        notes.extend(copy.copy(element) for element in spoken)
        for formula in notes.select(".math"):
            formula["class"] = "formula"  # the window of notes shows a formula's source
        section.append(notes)
    return _with_links_to_the_book(section, name)


def _stays_in_the_book(element: Tag) -> bool:
    """Say whether an element is a proof, an exercise or the like."""
    classes = set(element.get("class", []))
    is_proof = (
        "proof" in classes
        and not classes & {"theorem", "lemma", "proposition", "corollary", "definition"}
        and (element.get("id", "").startswith("proof") or classes == {"proof", "admonition"})
    )
    return is_proof or bool(classes & {"exercise", "solution", "hint"})


def _for_screen(element: Tag) -> Tag:
    """Take a cell's code away where its picture says what is to be seen, or where it is folded away in the book."""
    if "cell" in element.get("class", []):
        picture = element.select_one(".cell_output :is(img, .orthobook-chart)")
        hidden = "tag_hide-input" in element.get("class", [])
        if picture or hidden:
            for code in element.select(".cell_input, details.above-input"):
                code.decompose()
    return element


def _with_links_to_the_book(section: Tag, name: str) -> Tag:
    """Let links lead to the book's pages, in a window of their own, and take away identifiers that others refer to."""
    for mark in section.select("a.headerlink, .section-number"):
        mark.decompose()
    for element in section.find_all(id=True):
        if not element.find_parent(class_="orthobook-chart") and "orthobook-chart" not in element.get("class", []):
            del element["id"]
    for link in section.select("a[href]"):
        address = link["href"]
        if address.startswith("#"):
            address = f"{name}.html{address}"
        if not address.startswith(("../", "http:", "https:")):
            address = f"../book/{address}"
        link["href"], link["target"] = address, "_blank"
    return section


def _title_text(title: Tag) -> str:
    """Return a title's words."""
    title = copy.copy(title)
    for mark in title.select("a.headerlink, .section-number"):
        mark.decompose()
    return title.get_text().strip()


def slides_role(
    role: str,
    raw: str,
    text: str,
    line: int,
    inliner: Any,
    options: dict | None = None,
    content: list[str] | None = None,
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Link to a chapter's slides: {slides}`one-layer`."""
    return [nodes.reference(raw, "Slides", refuri=f"../slides/{text}.html")], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_role("slides", slides_role)
    app.connect("source-read", mark)
    app.connect("build-finished", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
