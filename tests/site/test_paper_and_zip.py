"""The book on paper and in one file to carry along, made from the built book."""

import re
import zipfile

import make_offline_zip
import make_pdf
import pytest
import site_checks as checks
from pypdf import PdfReader


@pytest.fixture(scope="module")
def unpacked(site, tmp_path_factory):
    """The offline book, unpacked in another place."""
    folder = tmp_path_factory.mktemp("offline")
    assert make_offline_zip.main(["--site", str(site), "--to", str(folder / "book.zip")]) == 0
    with zipfile.ZipFile(folder / "book.zip") as archive:
        archive.extractall(folder)
    return folder / "orthobook"


@pytest.mark.parametrize(
    "page", ["index.html", "book/one-layer.html", "slides/one-layer.html", "search.html?q=isometry"]
)
def test_the_offline_book_asks_for_nothing(unpacked, browser, page):
    seen = checks.visit(browser, f"{unpacked.as_uri()}/{page}", unpacked.as_uri())
    assert (seen.outside, seen.errors, seen.typesetting) == ([], [], [])


@pytest.fixture(scope="module")
def pdf(site, tmp_path_factory):
    """The whole book, printed."""
    path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    assert make_pdf.main(["--site", str(site), "--to", str(path)]) == 0
    return PdfReader(path)


@pytest.fixture(scope="module")
def titles(site):
    """The titles of the book's pages by their names."""
    names = [name for _, pages in make_pdf.parts() for name in pages]
    return {name: make_pdf.title(make_pdf.article(site, name, set(names))) for name in names}


def squeezed(text):
    return "".join(text.split())


def test_the_contents_name_the_page_on_which_each_chapter_begins(pdf, titles):
    numbers = "".join(pdf.pages[i].extract_text() for i in range(1, 4))
    contents = squeezed(numbers)
    for name, title in titles.items():
        number = make_pdf.page_numbers(pdf, [name])[name]
        assert squeezed(title) in contents
        assert re.search(rf"(?<!\d){number}(?!\d)", numbers), f"{name}: {number}"
        assert squeezed(title)[:30] in squeezed(pdf.pages[number - 1].extract_text())


def test_the_outline_has_every_chapter(pdf, titles):
    listed = {squeezed(entry.title) for entry in pdf.outline if not isinstance(entry, list)}
    assert {title for title in titles.values() if squeezed(title) not in listed} == set()


def test_links_within_the_book_stay_within_it(pdf):
    links = [
        annotation.get_object()["/A"].get("/URI", "")
        for page in pdf.pages
        for annotation in page.get("/Annots", [])
        if "/A" in annotation.get_object()
    ]
    assert links
    assert [link for link in links if link.startswith("file:") and "/_modules/" not in link] == []


def test_fonts_are_embedded_and_figures_are_there(pdf):
    pages = len(pdf.pages)
    assert pages > 200
    assert sum(len(page.images) for page in list(pdf.pages)[::10]) > 0


def test_without_a_built_book_the_command_to_make_it_is_named(tmp_path, capsys):
    for tool in (make_pdf, make_offline_zip):
        with pytest.raises(SystemExit):
            tool.main(["--site", str(tmp_path)])
        assert "run `make book` first" in capsys.readouterr().err
