"""The book on paper and in one file to carry along, made from the built book."""

import re
import subprocess
import sys
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
    seen, tab = checks.Visit(), browser.new_page()
    checks.watch(tab, seen, unpacked.as_uri())
    tab.goto(f"{unpacked.as_uri()}/{page}")
    tab.wait_for_load_state("networkidle")
    tab.wait_for_function(checks.TYPESET)
    assert (seen.outside, seen.errors, tab.evaluate(checks.TYPESETTING)) == ([], [], [])
    tab.close()


PRINTED = ["intro", "one-layer", "bibliography"]  # the whole book takes minutes


@pytest.fixture(scope="module")
def pdf(site, tmp_path_factory):
    """Some of the book's pages, printed."""
    path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    command = [sys.executable, make_pdf.__file__, "--site", str(site), "--to", str(path), *PRINTED]
    done = subprocess.run(command, capture_output=True, text=True)  # a browser of its own
    assert done.returncode == 0, done.stderr
    return PdfReader(path)


@pytest.fixture(scope="module")
def titles(site):
    """The titles of the printed pages by their names."""
    return {name: make_pdf.title(make_pdf.article(site, name, set(PRINTED))) for name in PRINTED}


def squeezed(text):
    return "".join(text.split())


def test_the_contents_name_the_page_on_which_each_chapter_begins(pdf, titles):
    numbers = "".join(pdf.pages[i].extract_text() for i in range(1, 3))
    contents = squeezed(numbers)
    for name, title in titles.items():
        number = make_pdf.page_numbers(pdf, [name])[name]
        assert squeezed(title) in contents
        assert re.search(rf"(?<!\d){number}(?!\d)", numbers), f"{name}: {number}"
        assert squeezed(title)[:30] in squeezed(pdf.pages[number - 1].extract_text())


def test_page_numbers_stand_on_the_lines_of_their_titles(pdf, titles):
    heights = {}

    def note(text, matrix, text_matrix, *_):
        heights[squeezed(text)] = text_matrix[5] * matrix[3] + matrix[5]

    pdf.pages[1].extract_text(visitor_text=note)
    for name, title in titles.items():
        number = str(make_pdf.page_numbers(pdf, [name])[name])
        assert heights[squeezed(title)] == pytest.approx(heights[number], abs=1), name  # in points


def test_the_outline_has_every_chapter(pdf, titles):
    listed = {squeezed(entry.title) for entry in pdf.outline if not isinstance(entry, list)}
    assert {title for title in titles.values() if squeezed(title) not in listed} == set()


def test_links_within_what_is_printed_stay_within_it(pdf):
    places = [annotation.get_object() for page in pdf.pages for annotation in page.get("/Annots", [])]
    outside = [place["/A"]["/URI"] for place in places if "/URI" in place.get("/A", {})]
    assert [place for place in places if "/Dest" in place or "/D" in place.get("/A", {})]
    assert not any(f"/{name}.html" in link for link in outside for name in PRINTED)


def test_figures_are_there_and_text_can_be_read_out(pdf):
    assert len(pdf.pages) > 30
    assert pdf.trailer["/Root"]["/MarkInfo"]["/Marked"]
    objects = [pdf.get_object(number) for number in range(1, pdf.trailer["/Size"])]
    described = [str(entry["/Alt"]) for entry in objects if isinstance(entry, dict) and "/Alt" in entry]
    assert any("Three upward parabolas" in text for text in described)


def test_a_wide_table_is_not_cut_by_the_edge_of_the_paper(site, browser):
    width = 642  # A4 less its margins, in CSS pixels
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.emulate_media(media="print")
    page.goto((site / "book" / "initialisation-is-enough.html").as_uri())
    tables = "tables => tables.map(table => table.getBoundingClientRect().right)"
    assert max(page.eval_on_selector_all(".cell_output table", tables)) <= width
    page.close()


def test_without_a_built_book_the_command_to_make_it_is_named(tmp_path, capsys):
    for tool in (make_pdf, make_offline_zip):
        with pytest.raises(SystemExit):
            tool.main(["--site", str(tmp_path)])
        assert "run `make book` first" in capsys.readouterr().err
