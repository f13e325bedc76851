"""What may be wrong with the charts of a page and with their controls. Each check yields the problems it finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from playwright.sync_api import Locator, Page, TimeoutError

CHART = ".orthobook-chart"
CONTROLS = "select, input[type=range], input[type=checkbox], input[type=radio]:checked"  # one of a row of radio buttons
PATIENCE = 2000  # milliseconds until a chart is drawn anew
PALEST = 4.5  # contrast of text, from 1 to 21
NARROW = 480  # CSS pixels

# Nothing between a chart and the page may lay a card of another colour behind it.
GROUNDS = """chart => {
  const grounds = [];
  for (let e = chart; e !== document.body; e = e.parentElement) grounds.push(getComputedStyle(e).backgroundColor);
  return grounds.filter(ground => ground !== 'rgba(0, 0, 0, 0)');
}"""
INKS = "texts => texts.map(text => getComputedStyle(text).fill)"
NAMES = "control => [control.getAttribute('aria-label'), ...[...control.labels].map(label => label.innerText)]"
OVERFLOW = """chart => {
  const parts = [...chart.querySelectorAll('svg, svg text, input, select, label')];
  return Math.max(...parts.map(part => part.getBoundingClientRect().right)) - chart.getBoundingClientRect().right;
}"""
SCALE = "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"

REMEMBER = """chart => {
  chart.before = chart.querySelector('svg').innerHTML;
  chart.querySelector('[aria-live=polite]').textContent = '';
}"""
DRAWN_ANEW = "chart => chart.querySelector('svg').innerHTML !== chart.before"
ANNOUNCED = "chart => chart.querySelector('[aria-live=polite]').innerText"
# where a chart lies in the page, whatever the page is scrolled to
PLACE = "chart => { const box = chart.getBoundingClientRect(); return [box.top + scrollY, box.width, box.height]; }"


def chart_problems(page: Page, mode: str) -> Iterator[str]:
    """Look at every chart of a page, and move every control of it by keyboard and by mouse."""
    charts = page.locator(CHART).all()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    if charts and (luminance(ground) > 0.5) != (mode == "light"):
        yield f"the page is {ground}, which is not {mode}"
    for i, chart in enumerate(charts, start=1):
        yield from (f"chart {i}: {problem}" for problem in _problems(page, chart, ground))


def _problems(page: Page, chart: Locator, ground: str) -> Iterator[str]:
    """Look at one chart before its controls are moved, and at its controls."""
    state = chart.get_attribute("data-state")
    if state != "ready":
        yield f"it is {state}"
        return
    yield from look_problems(chart, ground)
    if page.viewport_size["width"] <= NARROW:
        yield from room_problems(page, chart)
    yield from control_problems(page, chart)


def luminance(colour: str) -> float:
    """Return a colour's relative luminance, as the guidelines for accessible pages define it."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def look_problems(chart: Locator, ground: str) -> Iterator[str]:
    """Find pale text, a card behind the chart, a missing description, and controls without names."""
    if set(chart.evaluate(GROUNDS)) - {ground}:
        yield "a card of another colour lies behind it"
    inks = set(chart.locator("svg text").evaluate_all(INKS))
    if not inks or min(contrast(ink, ground) for ink in inks) < PALEST:
        yield f"no text, or pale text: {sorted(inks)} on {ground}"
    if len((chart.get_by_role("img").get_attribute("aria-label") or "").split()) <= 5:
        yield "no description"
    for control in chart.locator("input, select").all():
        if not any(name and name.strip() for name in control.evaluate(NAMES)):
            yield "a control without a name"


def room_problems(page: Page, chart: Locator) -> Iterator[str]:
    """Find what makes a chart unfit for a telephone: too wide, shrunk, or controls out of sight of what they change."""
    room = page.viewport_size["height"] - page.locator(".bd-header").bounding_box()["height"]
    over, scale = chart.evaluate(OVERFLOW), chart.locator("svg").evaluate(SCALE)
    controls, picture = (chart.locator(part).first.bounding_box() for part in (".vega-bindings", "svg"))
    if over > 2:
        yield f"{over} pixels too wide"
    if scale <= 0.98:
        yield f"it and its text are shrunk to {scale:.2f}"
    if controls["y"] + controls["height"] > picture["y"]:
        yield "controls below the picture"
    if picture["y"] + picture["height"] - controls["y"] > room:
        yield "taller than a telephone"


def control_problems(page: Page, chart: Locator) -> Iterator[str]:
    """Move every control by keyboard and by mouse: the chart must change, stay in its place, and say what it shows.

    A telephone has no keyboard.
    """
    telephone = page.viewport_size["width"] <= NARROW
    controls = chart.locator(CONTROLS)
    if not controls.count():
        yield "no controls"
    for i in range(controls.count()):
        control = controls.nth(i)
        label = control.evaluate("control => control.closest('.vega-bind').textContent")
        chosen = control.evaluate("control => control.type") == "radio"
        if not telephone or chosen:  # of a row of radio buttons the mouse takes the one after the keyboard's
            keys = moved(page, chart, lambda c=control: press(c))
            yield from (f"{label}, by keyboard: {problem}" for problem in keys)
        if chosen:
            group = chart.locator("[role=radiogroup]", has=page.locator("input:checked:focus"))
            control = group.locator("input:not(:checked)").first
        yield from (f"{label}, by mouse: {problem}" for problem in moved(page, chart, lambda c=control: point(c)))


def moved(page: Page, chart: Locator, action: Callable[[], None]) -> Iterator[str]:
    """Act on a chart, and find what is wrong with its answer: not drawn anew, moved, or silent."""
    here = chart.element_handle()
    where = chart.evaluate(PLACE)
    chart.evaluate(REMEMBER)
    action()
    for answer, problem in ((DRAWN_ANEW, "nothing is drawn anew"), (ANNOUNCED, "nothing is announced")):
        try:
            page.wait_for_function(answer, arg=here, polling=50, timeout=PATIENCE)
        except TimeoutError:
            yield problem
    if chart.evaluate(PLACE) != where:
        yield "the chart moved or changed its size"


def press(control: Locator) -> None:
    """Move a control as far as one key does."""
    kind = control.evaluate("control => control.type")
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


def point(control: Locator) -> None:
    """Move a control with the mouse; a list's popup belongs to the system, so there the choice itself is made."""
    kind = control.evaluate("control => control.type")
    if kind == "select-one":
        control.select_option(index=control.evaluate("c => (c.selectedIndex + 1) % c.options.length"))
    elif kind == "range":
        box = control.bounding_box()
        there = 0.25 if control.evaluate("c => (c.value - c.min) / (c.max - c.min) > 0.5") else 0.75
        control.click(position={"x": there * box["width"], "y": box["height"] / 2})
    else:
        control.click()
