"""What may be wrong with a built page. Each check returns the problems it finds, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup, Tag
from chart_checks import chart_problems
from playwright.sync_api import Browser, Page
from table_checks import table_problems

OUTSIDE = re.compile(r"(https?:)?//", re.IGNORECASE)
STYLE_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", re.IGNORECASE)

# What a browser fetches by itself. A plain link, or one with rel="license", is fetched only when followed.
FETCHED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "input": "src",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
FETCHED_RELATIONS = {
    "stylesheet",
    "icon",
    "apple-touch-icon",
    "preload",
    "prefetch",
    "modulepreload",
    "preconnect",
    "manifest",
}

# A chart draws itself into its own element; a still figure is an image.
FIGURES = "img, .orthobook-chart"


@cache
def parse(html: str) -> BeautifulSoup:
    """Parse a page, once for all checks that look at it; none may change it."""
    return BeautifulSoup(html, "html.parser")


def pages(site: Path) -> list[Path]:
    """Return every page of a built book, slides included."""
    return sorted(page for page in site.rglob("*.html") if "_static" not in page.relative_to(site).parts)


def read_pages(site: Path) -> list[Path]:
    """Return the pages that are read; slides are shown, and have tests of their own."""
    return [page for page in pages(site) if page.relative_to(site).parts[0] != "slides"]


def visited_pages(site: Path) -> list[Path]:
    """Return the pages to show in a browser: of those of a module's code, which are alike, the longest alone.

    The page at the root only sends the reader on, and there is a test of that.
    """
    read = [page for page in read_pages(site) if page != site / "index.html"]
    code = [page for page in read if "_modules" in page.relative_to(site).parts]
    return [page for page in read if page not in code] + [max(code, key=lambda page: page.stat().st_size)]


def article(soup: BeautifulSoup) -> Tag:
    """Return a page's own content, without navigation."""
    return soup.select_one("article.bd-article") or soup.select_one("main") or soup


# --- of the page's source --------------------------------------------------------------------------------


def external_in_style(css: str) -> list[str]:
    """Find addresses of other hosts that a style sheet fetches."""
    return [f"the style fetches {url}" for url in STYLE_ADDRESS.findall(css) if OUTSIDE.match(url)]


def external_in_page(html: str) -> list[str]:
    """Find addresses of other hosts that a page fetches."""
    soup = parse(html)
    problems = []
    for name, attribute in FETCHED.items():
        for tag in soup.find_all(name):
            for url in (tag.get(attribute, ""), *tag.get("srcset", "").split(",")):
                if OUTSIDE.match(url.strip()):
                    problems.append(f"<{name}> fetches {url.strip()}")
    for link in soup.find_all("link"):
        if FETCHED_RELATIONS & set(link.get("rel", [])) and OUTSIDE.match(link.get("href", "")):
            problems.append(f"<link rel={' '.join(link['rel'])}> fetches {link['href']}")
    styles = [tag.get_text() for tag in soup.find_all("style")] + [tag["style"] for tag in soup.select("[style]")]
    return problems + [problem for style in styles for problem in external_in_style(style)]


def broken_links(site: Path) -> list[str]:
    """Find links, images, scripts and styles inside a built book that lead nowhere."""
    soups = {page: parse(page.read_text(encoding="utf-8")) for page in pages(site)}
    anchors = {
        page: {tag.get("id") or tag.get("name") for tag in soup.select("[id], a[name]")} for page, soup in soups.items()
    }
    problems = []
    for page, soup in soups.items():
        for tag in soup.select("[href], [src]"):
            address = urlsplit(tag.get("href") or tag.get("src") or "")
            if address.scheme or address.netloc:
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            target = target / "index.html" if target.is_dir() else target
            where = f"{page.relative_to(site)}: {address.geturl()}"
            if not target.exists():
                problems.append(f"{where}: no such file")
            elif address.fragment and target in anchors and unquote(address.fragment) not in anchors[target]:
                problems.append(f"{where}: no such anchor")
    return problems


def figure_problems(html: str, at_least: int) -> list[str]:
    """Find too few figures, or figures that say nothing to a reader who cannot see them."""
    figures = article(parse(html)).select(FIGURES)
    problems = [] if len(figures) >= at_least else [f"{len(figures)} figures, not the expected {at_least} or more"]
    for figure in figures:
        named = figure.select_one("[aria-label]")  # a chart's still picture has its description
        text = (figure.get("alt") or (named and named["aria-label"]) or "").strip()
        # myst-nb falls back on the picture's file name
        if not text or text.endswith((".png", ".svg", ".jpeg")):
            problems.append(f"no text in place of the figure {figure.get('src') or figure.get('id')}")
    return problems


def content_problems(html: str, at_least: int) -> list[str]:
    """Find traces of a cell that failed or complained, maths left as text, and a page with hardly a word."""
    body = article(parse(html))
    words = len(body.get_text(" ").split())
    problems = [] if words >= at_least else [f"{words} words, not the expected {at_least} or more"]
    problems += [
        f"a cell's error output: {tag.get_text()[:80]!r}" for tag in body.select(".output.traceback, .output.stderr")
    ]
    stray = [text for text in body.find_all(string=re.compile(re.escape("$$"))) if not text.find_parent(_is_source)]
    return problems + ["stray $$ in the text"] * bool(stray)


def _is_source(tag: Tag) -> bool:
    """Say whether an element holds a formula's source, or code."""
    return tag.name in {"pre", "code", "script", "style"} or "math" in tag.get("class", [])


def structure_problems(html: str) -> list[str]:
    """Find a page without exactly one main landmark, or whose headings do not begin with its one title."""
    soup = parse(html)
    mains = soup.select("main, [role=main]")
    shown = ":not(#jb-print-docs-body *)"  # that is a second title, shown on paper only
    headings = [tag.name for tag in article(soup).select(f":is(h1, h2, h3, h4, h5, h6){shown}")]
    problems = [] if len(mains) == 1 else [f"{len(mains)} main landmarks, not one"]
    if headings.count("h1") != 1 or headings[0] != "h1":
        problems.append(f"the headings should begin with the page's one h1: {headings[:5]}")
    problems += [
        f"{after} follows {before}" for before, after in pairwise(headings) if int(after[1]) > int(before[1]) + 1
    ]
    return problems


def colab_problems(html: str, repository: str, chapter: str) -> list[str]:
    """Find a chapter whose button to Colab is missing or leads to another notebook."""
    path = urlsplit(repository).path
    expected = f"https://colab.research.google.com/github{path}/blob/main/{chapter}.ipynb"
    found = [a["href"] for a in parse(html).select('a[href^="https://colab.research.google.com"]')]
    return [] if expected in found else [f"no link to {expected}; found {found}"]


# --- of the page in a browser ----------------------------------------------------------------------------


@dataclass
class Visit:
    """What happened while a browser showed a page."""

    outside: list[str] = field(default_factory=list)  # requests to other hosts
    errors: list[str] = field(default_factory=list)  # of scripts, of the console, of requests
    typesetting: list[str] = field(default_factory=list)
    accessibility: list[str] = field(default_factory=list)  # what axe finds fault with
    width: list[str] = field(default_factory=list)  # windows that the page is wider than
    tables: list[str] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)


# MathJax shows an unknown macro as red text and other errors as merror. Both count, and maths it never reached.
TYPESETTING = """() => {
  const text = element => (element.closest('.math') || element).textContent.trim().slice(0, 120);
  const all = selector => [...document.querySelectorAll(selector)];
  const wrong = all('mjx-merror, [data-mjx-error], mjx-mtext[style*="color: red"]');
  const missed = all('.math').filter(math => !math.querySelector('mjx-container'));
  return [...wrong.map(element => 'TeX error: ' + (element.dataset.mjxError || text(element))),
          ...missed.map(element => 'not typeset: ' + text(element))];
}"""

# A script that is still to come, or a page that needs none.
TYPESET = """() => !document.querySelector('.math') || !document.querySelector('script[src*="mathjax"]')
  || (window.MathJax && MathJax.startup && MathJax.startup.promise
      && MathJax.startup.promise.then(() => true))"""

# A chart says so when it is drawn, or has failed to be.
DRAWN = """() => [...document.querySelectorAll('.orthobook-chart')].every(chart => chart.dataset.state)"""


def watch(page: Page, visit: Visit, inside: str) -> None:
    """Note a page's errors, and its requests that do not begin with ``inside``."""

    def request(request) -> None:
        if not request.url.startswith((inside, "data:", "blob:")):
            visit.outside.append(request.url)

    page.on("request", request)
    page.on("requestfailed", lambda request: visit.errors.append(f"failed to load {request.url}"))
    page.on(
        "response",
        lambda response: response.ok or visit.errors.append(f"{response.status} for {response.url}"),
    )
    page.on("pageerror", lambda error: visit.errors.append(f"script error: {error}"))
    page.on("console", lambda line: line.type == "error" and visit.errors.append(f"console: {line.text}"))


# Pieces of code look alike by the thousand: of those that do, on the same ground, the contrast of a few is measured, as
# it takes long. A formula's glyphs are drawn by styles, of which axe measures nothing; screen readers get MathML.
MAKE_SMALLER = """few => {
  const ground = element => {
    const own = getComputedStyle(element).backgroundColor;
    return own === 'rgba(0, 0, 0, 0)' && element.parentElement ? ground(element.parentElement) : own;
  };
  const seen = {};
  for (const piece of document.querySelectorAll(':is(.highlight, .sig) :is(span, em, a)')) {
    const {color, opacity, fontWeight, fontSize} = getComputedStyle(piece);
    const look = [piece.className, color, opacity, ground(piece), fontWeight, fontSize];
    seen[look] = (seen[look] || 0) + 1;
    if (seen[look] > few) piece.dataset.repeated = '';
  }
  // A span of text alone, without a name, means nothing to any other rule.
  for (const piece of document.querySelectorAll('span[data-repeated]:not([id], :has(*))'))
    piece.replaceWith(...piece.childNodes);
  document.querySelectorAll('mjx-math').forEach(glyphs => glyphs.replaceChildren());
}"""
MEASURED = "*:not([data-repeated], mjx-assistive-mml *)"
AXE = Axe(f"{AXE_SCRIPT}\naxe.configure({{rules: [{{id: 'color-contrast', selector: '{MEASURED}'}}]}})")


def violations(page: Page) -> list[str]:
    """Find what axe-core finds fault with: contrast, names, roles, landmarks and the like, one line an element.

    The page is used up by this: it has no formulas any more.
    """
    page.evaluate(MAKE_SMALLER, 5)
    # without its preloading, which from the file system would ask for style sheets that it may not have
    found = AXE.run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(map(str, node['target']))}: {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]


DESK, TABLET, PHONE = (1280, 900), (768, 1024), (390, 844)  # windows, in CSS pixels


SETTLED = 600
"""Milliseconds after which the theme has answered a change of the window, with its side bars and stops for keys."""


def visit(
    browser: Browser,
    url: str,
    inside: str,
    windows: Sequence[tuple[int, int]] = (DESK,),
    mode: Literal["light", "dark"] = "light",
) -> Visit:
    """Show a page in a fresh browser profile, look at all of it, move its charts' controls, and note what happened.

    Parameters
    ----------
    browser : Browser
        A running browser.
    url : str
        The page's address.
    inside : str
        What the addresses of the book's own files begin with.
    windows : sequence of pairs of int
        Widths and heights of the window in CSS pixels. Tables, and the width of the page, are looked at in all of
        them, and the rest in the last.
    mode : str
        The colours that the reader prefers.
    """
    result = Visit()
    width, height = windows[0]
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme=mode, reduced_motion="reduce")
    page = context.new_page()
    watch(page, result, inside)
    page.goto(url)
    page.wait_for_function(TYPESET)
    page.wait_for_function(DRAWN)
    result.typesetting = page.evaluate(TYPESETTING)
    for width, height in windows:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(SETTLED)
        full = page.evaluate("document.scrollingElement.scrollWidth")
        result.width += [f"{full} wide in a window of {width}"] * (full > width)
        result.tables += table_problems(page)
    result.accessibility = violations(page)
    result.charts = [*chart_problems(page, mode)]  # without formulas, which would be laid out anew at every change
    page.wait_for_load_state("networkidle")
    context.close()
    return result
