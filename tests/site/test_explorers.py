"""The charts of the built book, in a browser: every control of every chart, by keyboard and by mouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import charts
import numpy as np
import pytest
import site_checks as checks
import torch

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


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def press(control) -> None:
    """Move a control as far as one key does."""
    kind = control.evaluate("c => c.type")
    control.focus()
    if kind == "checkbox":
        control.press("Space")
    elif kind == "radio":
        control.press("ArrowRight")
    else:
        last = control.evaluate(
            "c => c.tagName === 'SELECT' ? c.selectedIndex === c.options.length - 1 : c.value === c.max"
        )
        forth, back = ("ArrowDown", "ArrowUp") if kind == "select-one" else ("ArrowRight", "ArrowLeft")
        control.press(back if last else forth)


def point(control) -> None:
    """Move a control with the mouse; a list's popup belongs to the system, so there the choice itself is made."""
    kind = control.evaluate("c => c.type")
    if kind == "select-one":
        control.select_option(index=control.evaluate("c => (c.selectedIndex + 1) % c.options.length"))
    elif kind == "range":
        box = control.bounding_box()
        there = 0.25 if control.evaluate("c => (c.value - c.min) / (c.max - c.min) > 0.5") else 0.75
        control.click(position={"x": there * box["width"], "y": box["height"] / 2})
    else:
        control.click()


def movable(chart) -> list:
    """The controls of a chart; of a row of radio buttons the one that is chosen, and for the mouse another."""
    kinds = "select, input[type=range], input[type=checkbox], input[type=radio]:checked"
    return [chart.locator(kinds).nth(i) for i in range(chart.locator(kinds).count())]


def drawing(chart) -> str:
    return chart.locator("svg").first.inner_html()


def place(chart) -> dict:
    """Where a chart lies in the page, whatever the page is scrolled to."""
    return chart.evaluate("c => { const b = c.getBoundingClientRect(); return [b.top + scrollY, b.width, b.height]; }")


def changes(page, chart, action) -> bool:
    """Whether an action changes the drawing within two seconds; the chart must stay where it is, as large as it is."""
    before, where = drawing(chart), place(chart)
    action()
    for _ in range(40):
        if drawing(chart) != before:
            break
        page.wait_for_timeout(50)
    assert place(chart) == where, "the chart moved or changed its size"
    return drawing(chart) != before


@pytest.mark.parametrize("viewport", [DESKTOP, TELEPHONE], ids=["desktop", "telephone"])
def test_every_control_redraws_by_keyboard_and_mouse(browser, server, pages, viewport):
    for name in pages:
        with opened(browser, f"{server}/{name}", viewport=viewport) as page:
            for chart in page.locator(".orthobook-chart").all():
                controls = movable(chart)
                assert controls, f"{name}: a chart without controls"
                for control in controls:
                    label = control.evaluate("c => (c.closest('.vega-bind').textContent)")
                    chosen = control.evaluate("c => c.type") == "radio"
                    assert changes(page, chart, lambda c=control: press(c)), f"{name}: {label}, by keyboard"
                    page.wait_for_timeout(400)
                    assert chart.locator("[aria-live=polite]").inner_text(), f"{name}: {label} is not announced"
                    if chosen:
                        group = chart.locator("[role=radiogroup]", has=page.locator("input:checked:focus"))
                        control = group.locator("input:not(:checked)").first
                    assert changes(page, chart, lambda c=control: point(c)), f"{name}: {label}, by mouse"


def has_names(chart, name: str) -> None:
    """Demand that a chart is described, and that each control has a name."""
    assert len(chart.get_by_role("img").get_attribute("aria-label").split()) > 5
    for control in chart.locator("input, select").all():
        names = control.evaluate("c => [c.getAttribute('aria-label'), ...[...c.labels].map(l => l.innerText)]")
        assert any(n and n.strip() for n in names), f"{name}: a control without a name"


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_in_both_modes_and_everything_has_a_name(browser, server, pages, mode):
    for name in pages:
        with opened(browser, f"{server}/{name}", viewport=DESKTOP, color_scheme=mode) as page:
            assert page.evaluate("document.documentElement.dataset.theme") == mode
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (luminance(ground) > 0.5) == (mode == "light")
            # Nothing between a chart and the page may lay a card of another colour behind it.
            behind = page.eval_on_selector_all(
                ".orthobook-chart",
                """charts => charts.flatMap(chart => {
                    const grounds = [];
                    for (let e = chart; e !== document.body; e = e.parentElement)
                        grounds.push(getComputedStyle(e).backgroundColor);
                    return grounds.filter(g => g !== 'rgba(0, 0, 0, 0)');
                })""",
            )
            assert set(behind) <= {ground}, f"{name}: a card behind a chart"
            inks = page.eval_on_selector_all(
                ".orthobook-chart svg text", "texts => texts.map(t => getComputedStyle(t).fill)"
            )
            assert inks
            assert min(contrast(ink, ground) for ink in inks) >= 4.5, f"{name}: pale text"
            for chart in page.locator(".orthobook-chart").all():
                has_names(chart, name)


def test_charts_fit_a_telephone_from_the_file_system(browser, site, pages):
    for name in pages:
        with opened(browser, (site / name).as_uri(), viewport=TELEPHONE, color_scheme="dark") as page:
            room = TELEPHONE["height"] - page.locator(".bd-header").bounding_box()["height"]
            for chart in page.locator(".orthobook-chart").all():
                overflow = chart.evaluate(
                    """chart => {
                        const edge = chart.getBoundingClientRect().right;
                        const parts = chart.querySelectorAll('svg, svg text, input, select, label');
                        return Math.max(...[...parts].map(part => part.getBoundingClientRect().right)) - edge;
                    }"""
                )
                assert overflow <= 2, f"{name}: a chart is {overflow} pixels too wide"
                shrunk = chart.locator("svg").evaluate("s => s.getBoundingClientRect().width / s.viewBox.baseVal.width")
                assert shrunk > 0.98, f"{name}: a chart and its text are shrunk to {shrunk:.2f}"
                controls, picture = (chart.locator(part).first.bounding_box() for part in (".vega-bindings", "svg"))
                assert controls["y"] + controls["height"] <= picture["y"], f"{name}: controls below the picture"
                assert picture["y"] + picture["height"] - controls["y"] <= room, f"{name}: taller than a telephone"


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


def test_every_chapter_has_a_chart_and_pages_stay_small(site, chapters):
    """A chart at most 300 kB, and a page at most 1.5 MB with its pictures, scripts and styles apart."""
    for chapter in chapters:
        page = site / f"{chapter}.html"
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
        for control in movable(chart):
            label = control.get_attribute("aria-label")
            assert changes(page, chart, lambda c=control: press(c)), f"{label}, by keyboard"
            shown = control.evaluate("input => input.nextElementSibling.textContent")
            assert control.get_attribute("aria-valuetext") == shown  # with its unit
            page.wait_for_timeout(400)
            assert "regions" in chart.locator("[aria-live=polite]").inner_text()
            assert changes(page, chart, lambda c=control: point(c)), f"{label}, by mouse"
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
