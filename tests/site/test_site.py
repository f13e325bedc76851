"""The built book as a reader meets it: over HTTP and from the file system, on a desk and on a phone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import chapters
import pytest
import site_checks as checks
import yaml

import orthobook

ROOT = Path(__file__).parents[2]


def lines(problems):
    """One problem a line, for a failing assertion to show."""
    return "\n".join(map(str, problems))


def tells_where_it_was_built(html):
    """Find the folder of the repository, which is nobody's business."""
    return [str(ROOT)] if str(ROOT) in html else []


def has_content(html):
    """Find an empty page, or one that shows an error."""
    return checks.content_problems(html, at_least=1)


OF_EVERY_PAGE = [checks.external_in_page, checks.structure_problems, has_content, tells_where_it_was_built]


@pytest.fixture(scope="module")
def found(site):
    """What each check finds in the pages' sources; the redirect at the root has no content of its own."""
    problems = {check: [] for check in OF_EVERY_PAGE}
    for page in checks.pages(site):
        if page != site / "index.html":
            html = page.read_text(encoding="utf-8")
            for check in OF_EVERY_PAGE:
                problems[check] += [f"{page.relative_to(site)}: {problem}" for problem in check(html)]
    return problems


class Visited:
    """The pages that are read, as a reader's browser shows it: one visit, in which all is looked at."""

    http: bool
    windows: tuple[tuple[int, int], ...]
    mode: str  # light or dark

    @pytest.fixture(scope="class")
    @classmethod
    def visits(cls, request, site, browser):
        base = request.getfixturevalue("server") if cls.http else site.as_uri()
        addresses = [page.relative_to(site).as_posix() for page in checks.visited_pages(site)]
        return {name: checks.visit(browser, f"{base}/{name}", base, cls.windows, cls.mode) for name in addresses}

    @pytest.mark.parametrize("subject", [field.name for field in dataclasses.fields(checks.Visit)])
    def test_no_page_has_a_fault(self, visits, subject):
        assert lines(f"{name}: {fault}" for name, visit in visits.items() for fault in getattr(visit, subject)) == ""


class TestOverHTTP(Visited):
    """On a tablet and on a desk, in light colours."""

    http, windows, mode = True, (checks.TABLET, checks.DESK), "light"


class TestFromTheFileSystem(Visited):
    """On a telephone, in dark colours."""

    http, windows, mode = False, (checks.PHONE,), "dark"


@pytest.mark.parametrize("check", OF_EVERY_PAGE, ids=lambda check: check.__name__)
def test_every_page_is_sound(found, check):
    assert lines(found[check]) == ""


def test_styles_fetch_nothing_from_outside(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    problems = [p for sheet in sheets for p in checks.external_in_style(sheet.read_text(encoding="utf-8"))]
    assert not problems, lines(problems)


def test_every_link_leads_somewhere(site):
    problems = checks.broken_links(site)
    assert not problems, lines(problems)


def test_every_page_of_the_contents_was_built(site):
    names = [name for names in chapters.pages().values() for name in names]
    assert [name for name in names if not (site / "book" / f"{name}.html").exists()] == []


def test_the_root_sends_the_reader_on(site):
    first = f"book/{chapters.contents()[0]}.html"
    page = checks.parse((site / "index.html").read_text(encoding="utf-8"))
    assert page.select_one("meta[http-equiv=Refresh]")["content"] == f"0; url={first}"
    assert page.select_one("a")["href"] == first
    assert page.select_one("link[rel=icon]")["href"].startswith("data:")  # or else browsers ask for /favicon.ico
    assert page.title.text


def test_every_chapter_has_text_and_figures_and_opens_in_colab(site):
    problems = []
    for chapter in chapters.contents():
        html = (site / "book" / f"{chapter}.html").read_text(encoding="utf-8")
        found = checks.content_problems(html, at_least=150) + checks.figure_problems(html, at_least=1)
        found += checks.colab_problems(html, chapters.repository(), f"book/{chapter}")
        problems += [f"{chapter}: {problem}" for problem in found]
    assert lines(problems) == ""


def test_every_public_name_is_listed_and_documented(site):
    soup = checks.parse((site / "book" / "api.html").read_text(encoding="utf-8"))
    listed = {link["href"] for link in soup.select("table a[href]")}
    missing = []
    for name in orthobook.__all__:
        address = f"{getattr(orthobook, name).__module__}.{name}"
        if soup.find(id=address) is None or f"#{address}" not in listed:
            missing.append(name)
    assert missing == []


def test_notation_names_code_that_exists(site):
    soup = checks.parse((site / "book" / "notation.html").read_text(encoding="utf-8"))
    names = soup.select("table code.py")
    assert names
    assert [name.get_text() for name in names if name.find_parent("a") is None] == []


def test_the_configuration_names_the_repository():
    configuration, repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8")), chapters.repository()
    assert configuration["repository"]["url"] == repository
    assert f"{repository}/" in configuration["html"]["extra_footer"]


def test_licence_travels_with_mathjax(site):
    folder = site / "_static" / "vendor" / "mathjax"
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "MathJax" in (folder / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.parametrize("protocol", ["http", "file"])
def test_search_finds_a_term_without_network(protocol, request, site, browser):
    base = request.getfixturevalue("server") if protocol == "http" else site.as_uri()
    page = browser.new_page()
    seen = checks.Visit()
    checks.watch(page, seen, base)
    page.goto(f"{base}/search.html?q=isometry")
    page.wait_for_selector("#search-results li a")
    page.wait_for_load_state("networkidle")
    assert "glossary" in " ".join(page.eval_on_selector_all("#search-results a", "links => links.map(a => a.href)"))
    assert (seen.outside, seen.errors) == ([], [])
    page.close()
