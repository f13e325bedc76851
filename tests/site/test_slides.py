"""The slides of every chapter, shown from the file system: formulas set, figures drawn, all on the screen."""

import chapters
import pytest
import site_checks as checks

READY = "document.documentElement.dataset.slides"
SMALLEST = 0.75  # of the size of text or of a figure, for what would not fit the screen otherwise

# Each slide's title, its height as a share of the screen's, and how much it was made smaller.
SLIDES = """() => {
  const screen = document.querySelector('.slides').getBoundingClientRect().height;
  return [...document.querySelectorAll('.slides > section')].map(slide => {
    const figure = slide.querySelector('.orthobook-chart');
    const made = Number((figure || slide).style.zoom || 1);
    return [slide.querySelector('h1, h2').textContent, slide.getBoundingClientRect().height / screen, made];
  });
}"""


@pytest.fixture(scope="module")
def shown(site, browser):
    """The slides of every chapter with what happened while they were shown."""
    found = {}
    for name in chapters.contents():
        visit, page = checks.Visit(), browser.new_page(viewport={"width": 1280, "height": 720})
        checks.watch(page, visit, site.as_uri())
        page.goto((site / "slides" / f"{name}.html").as_uri())
        page.wait_for_function(READY)
        visit.typesetting = page.evaluate(checks.TYPESETTING)
        found[name] = visit, page.evaluate(SLIDES), page.content()
        visit.accessibility = checks.violations(page) if name == "one-layer" else []  # they are all made alike
        page.close()
    return found


def test_every_chapter_has_slides_for_a_lecture(shown):
    assert {name: len(slides) for name, (_, slides, _) in shown.items() if len(slides) < 8} == {}


def test_they_need_no_network_and_no_repair(shown):
    assert {name: visit for name, (visit, _, _) in shown.items() if visit.outside or visit.errors} == {}


def test_all_formulas_are_set(shown):
    assert {name: visit.typesetting for name, (visit, _, _) in shown.items() if visit.typesetting} == {}


def test_axe_finds_no_fault(shown):
    assert "\n".join(shown["one-layer"][0].accessibility) == ""


def test_every_slide_fits_the_screen(shown):
    over = [
        (name, title, height, made)
        for name, (_, slides, _) in shown.items()
        for title, height, made in slides
        if height > 1.005 or made < SMALLEST
    ]
    assert over == []


def test_sentences_are_the_speakers_notes_and_proofs_stay_in_the_book(shown):
    soup = checks.parse(shown["one-layer"][2])
    assert any("Some notation" in notes.get_text() for notes in soup.select("aside.notes"))
    assert not any("Some notation" in p.get_text() for p in soup.select("section > p"))
    assert soup.select(".proof.theorem")
    assert not soup.find(id=lambda name: name and name.startswith("proof"))
    assert not soup.select(".exercise, .solution, .hint")


def test_no_formula_comes_without_the_words_that_lead_to_it(shown):
    pages = {name: checks.parse(page) for name, (_, _, page) in shown.items()}
    bare = {name: soup.select(":is(h1, h2) + .math") for name, soup in pages.items()}
    assert {name: formulas for name, formulas in bare.items() if formulas} == {}


def test_questions_open_their_answers(shown):
    assert all(checks.parse(page).select("details.choice") for _, _, page in shown.values())


def test_keys_turn_the_slides(site, browser):
    page = browser.new_page()
    page.goto((site / "slides" / "one-layer.html").as_uri())
    page.wait_for_function(READY)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == 1
    page.close()
