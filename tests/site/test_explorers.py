"""The charts of the built book apart from what each page's visit shows of them, and the folded sheet alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chapters
import charts
import numpy as np
import pytest
import site_checks as checks
import torch
from chart_checks import control_problems

from orthobook.figures import folding_explorer
from orthobook.theory import origami

DESKTOP, TELEPHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CHART = '<div class="orthobook-chart"'


@pytest.fixture(scope="session")
def pages(site: Path) -> list[str]:
    """The pages to be read that hold a chart, as addresses within the site."""
    found = [p.relative_to(site).as_posix() for p in checks.read_pages(site) if CHART in p.read_text("utf-8")]
    assert found, f"no page below {site} holds a chart"
    return found


@contextmanager
def opened(browser, address: str, **options) -> Iterator:
    """Visit a page, wait until its charts are drawn, and afterwards hold it to no request outside and no error.

    Its formulas stay unset: they have tests of their own, and take most of the time.
    """
    context = browser.new_context(**options)
    context.route("**/mathjax/*.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page = context.new_page()
    outside, errors = [], []
    host = re.match(r"\w+://[^/]*/", address)[0]
    page.on("request", lambda r: r.url.startswith((host, "data:", "blob:")) or outside.append(r.url))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    if options.get("java_script_enabled", True):
        page.wait_for_function(
            "[...document.querySelectorAll('.orthobook-chart')].every(chart => chart.dataset.state)", timeout=60_000
        )
        states = page.eval_on_selector_all(".orthobook-chart", "charts => charts.map(c => c.dataset.state)")
        assert set(states) == {"ready"}, f"{address}: {states}, {errors}"
    yield page
    assert outside == [], f"{address} asked other hosts"
    assert errors == [], f"{address} raised script errors"
    context.close()


def test_nothing_floats_over_the_charts_of_a_telephone(browser, server, pages):
    with opened(browser, f"{server}/{pages[0]}", viewport=TELEPHONE) as page:
        for to in (3000, 2500):  # the theme's button comes when a reader scrolls back
            page.evaluate("to => scrollTo({top: to, behavior: 'instant'})", to)
            page.wait_for_timeout(300)
        button = page.locator("#pst-back-to-top")
        assert button.evaluate("b => b.style.display") == "block"  # so says the theme's script
        assert not button.is_visible()


def test_charts_follow_the_window(browser, server, pages):
    with opened(browser, f"{server}/{pages[0]}", viewport=DESKTOP) as page:
        svg = page.locator(".orthobook-chart svg").first
        before = svg.bounding_box()["width"]
        page.set_viewport_size(TELEPHONE)
        page.wait_for_timeout(500)
        assert svg.bounding_box()["width"] < before
        assert svg.bounding_box()["width"] <= TELEPHONE["width"]


def test_a_still_picture_stands_in_where_scripts_are_off(browser, server, pages):
    for name in pages:
        with opened(browser, f"{server}/{name}", viewport=TELEPHONE, java_script_enabled=False) as page:
            for chart in page.locator(".orthobook-chart").all():
                assert chart.locator("[role=img]").bounding_box()["height"] > 100
                assert chart.locator("svg :is(path, image)").count() > 5


@pytest.mark.parametrize("kind", charts.SCRIPTS)
def test_pages_load_the_scripts_of_their_figures_alone(site, kind):
    pages = {p.relative_to(site).as_posix(): p.read_text("utf-8") for p in site.rglob("*.html")}
    holding = {name for name, text in pages.items() if f'{CHART} data-kind="{kind}"' in text}
    for script in charts.SCRIPTS[kind]:
        assert {name for name, text in pages.items() if f"charts/{script}" in text} == holding
        assert (site / "_static" / "vendor" / "charts" / script).stat().st_size > 500


def test_every_chapter_has_a_chart_and_pages_stay_small(site):
    """A chart at most 300 kB, and a page at most 1.5 MB with its pictures, scripts and styles apart."""
    for chapter in chapters.contents():
        page = site / "book" / f"{chapter}.html"
        soup = checks.parse(page.read_text("utf-8"))
        charts_here = soup.select(".orthobook-chart")
        assert charts_here, f"{chapter} has nothing to touch"
        assert max(len(str(chart).encode()) for chart in charts_here) <= 300_000, chapter
        pictures = {page.parent / image["src"] for image in soup.select("img") if "_images" in image["src"]}
        size = page.stat().st_size + sum(picture.stat().st_size for picture in pictures)
        assert size <= 1_500_000, f"{chapter}: {size} bytes"


def test_the_style_and_the_licences_are_there(site):
    for file in ("charts.css", "licences.txt"):
        assert (site / "_static" / "vendor" / "charts" / file).stat().st_size > 500


# --- the folded sheet, as it comes into a notebook, with no book around it ---


@contextmanager
def notebook(browser, explorer, **options) -> Iterator:
    """Show what a running kernel displays, and afterwards hold it to no request and no error."""
    context = browser.new_context(**options)
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content("<!doctype html><body style='color: rgb(200, 200, 200)'>" + explorer.live()["text/html"])
    assert page.locator(".orthobook-chart").get_attribute("data-state") == "ready"
    yield page
    assert (requests, errors) == ([], [])
    context.close()


@pytest.mark.parametrize("viewport", [DESKTOP, TELEPHONE], ids=["desktop", "telephone"])
def test_the_folded_sheet_works_alone(browser, viewport):
    with notebook(browser, folding_explorer(), viewport=viewport) as page:
        chart = page.locator(".orthobook-chart")
        assert [*control_problems(page, chart)] == []
        assert "regions" in chart.locator("[aria-live=polite]").inner_text()
        for control in chart.locator("input").all():
            shown = control.evaluate("input => input.nextElementSibling.textContent")
            assert control.get_attribute("aria-valuetext") == shown  # with its unit
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        fills = chart.locator("svg > text").evaluate_all("texts => texts.map(t => getComputedStyle(t).fill)")
        assert set(fills) == {"rgb(200, 200, 200)"}


def test_the_folded_sheet_keeps_within_its_picture(browser):
    with notebook(browser, folding_explorer(), viewport=TELEPHONE) as page:
        folds, first, turn, distance = page.locator("input").all()
        distance.fill("0.2")
        turn.fill("90")
        for number in ("0", "1", "2"):
            folds.fill(number)
            for angle in range(0, 360, 15):
                first.fill(str(angle))
                outside = page.locator("svg").evaluate(
                    """svg => {
                        const [frame, drawn] = [svg.getBoundingClientRect(), svg.getBBox()];
                        return Math.max(-drawn.x, -drawn.y, drawn.x + drawn.width - frame.width,
                                        drawn.y + drawn.height - frame.height);
                    }"""
                )
                assert outside <= 1, f"{number} folds, the first at {angle}°"


def test_figures_of_one_notebook_are_drawn_once_each(browser):
    html = folding_explorer().live()["text/html"]
    page = browser.new_page()
    page.set_content(f"<!doctype html>{html}{html}")
    assert page.locator(".orthobook-chart").count() == page.locator(".orthobook-chart svg").count() == 2
    page.close()


@pytest.mark.parametrize("seed", range(8))
def test_the_page_folds_as_the_package_does(browser, seed):
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, 11))
    if seed % 2:  # special positions: creases through vertices and along creases
        angles, distances = 15.0 * rng.integers(0, 24, number), rng.integers(0, 5, number) / 4
    else:
        angles, distances = rng.uniform(0, 360, number), rng.uniform(0, 1, number)
    layers = [{"angle": a, "distance": d} for a, d in zip(angles.tolist(), distances.tolist(), strict=True)]
    with notebook(browser, folding_explorer()) as page:
        found = page.evaluate(
            """layers => {
                const sheet = orthobookFolding.fold(layers);
                const creases = [...sheet.creases].map(([edge, layer]) => [...edge.split(" ").map(Number), layer]);
                return {...sheet, creases, kawasaki: orthobookFolding.kawasaki(sheet)};
            }""",
            layers,
        )
    sheet = origami.fold(origami.folds_along(torch.tensor(angles), torch.tensor(distances)))
    assert np.array(found["points"]) == pytest.approx(sheet.points.numpy(), abs=1e-9)
    assert np.array(found["images"]) == pytest.approx(sheet.images.numpy(), abs=1e-9)
    assert [sorted(cell) for cell in found["cells"]] == [sorted(cell) for cell in sheet.cells]
    assert sorted(found["creases"]) == sorted(
        [*edge, layer] for edge, layer in zip(sheet.creases.tolist(), sheet.layers.tolist(), strict=True)
    )
    assert found["interior"] == sheet.interior.tolist()
    assert max([0, *found["kawasaki"]]) <= 1e-9
