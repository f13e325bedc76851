"""The built book as a reader meets it: over HTTP and from the file system, on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
import site_checks as checks
import yaml

import orthobook

ROOT = Path(__file__).parents[2]
PHONE = 390  # CSS pixels


def lines(problems):
    """One problem a line, for a failing assertion to show."""
    return "\n".join(map(str, problems))


def each_page(site, check):
    """Apply a check to every page's source; the redirect at the root has no content of its own."""
    found = []
    for page in checks.pages(site):
        if page != site / "index.html":
            found += [f"{page.relative_to(site)}: {problem}" for problem in check(page.read_text(encoding="utf-8"))]
    return found


def each_chapter(site, chapters, check):
    """Apply a check to every chapter's source and name."""
    return [
        f"{chapter}: {problem}"
        for chapter in chapters
        for problem in check((site / f"{chapter}.html").read_text(encoding="utf-8"), chapter)
    ]


class Visited:
    """Every page but the slides, which have tests of their own, as a reader's browser shows it."""

    http: bool
    width: int  # of the window, in CSS pixels
    mode: str  # light or dark

    @pytest.fixture(scope="class")
    @classmethod
    def visits(cls, request, site, browser):
        base = request.getfixturevalue("server") if cls.http else site.as_uri()
        addresses = sorted(page.relative_to(site).as_posix() for page in checks.pages(site))
        return {
            address: checks.visit(browser, f"{base}/{address}", base, cls.width, cls.mode)
            for address in addresses
            if not address.startswith("slides/")
        }

    def collect(self, visits, attribute):
        """Gather what the visits found, with the pages' addresses."""
        return lines(
            f"{address}: {problem}" for address, visit in visits.items() for problem in getattr(visit, attribute)
        )

    def test_nothing_is_asked_of_another_host(self, visits):
        assert self.collect(visits, "outside") == ""

    def test_no_script_or_console_error(self, visits):
        assert self.collect(visits, "errors") == ""

    def test_all_maths_is_typeset(self, visits):
        assert self.collect(visits, "typesetting") == ""

    def test_axe_finds_no_fault(self, visits):
        assert self.collect(visits, "accessibility") == ""

    def test_no_page_is_wider_than_its_window(self, visits):
        wide = {address: visit.width for address, visit in visits.items() if visit.width > self.width}
        assert wide == {}


class TestOverHTTP(Visited):
    """On a desk, in light colours."""

    http, width, mode = True, 1280, "light"


class TestFromTheFileSystem(Visited):
    """On a telephone, in dark colours."""

    http, width, mode = False, PHONE, "dark"


def test_pages_fetch_nothing_from_outside(site):
    problems = each_page(site, checks.external_in_page)
    assert not problems, lines(problems)


def test_styles_fetch_nothing_from_outside(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    problems = [p for sheet in sheets for p in checks.external_in_style(sheet.read_text(encoding="utf-8"))]
    assert not problems, lines(problems)


def test_every_link_leads_somewhere(site):
    problems = checks.broken_links(site)
    assert not problems, lines(problems)


def test_every_page_of_the_contents_was_built(site):
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [contents["root"], *(c["file"] for part in contents["parts"] for c in part["chapters"])]
    assert [name for name in names if not (site / f"{name}.html").exists()] == []


def test_the_root_sends_the_reader_on(site, chapters):
    page = checks.parse((site / "index.html").read_text(encoding="utf-8"))
    assert page.select_one("meta[http-equiv=Refresh]")["content"] == f"0; url={chapters[0]}.html"
    assert page.select_one("a")["href"] == f"{chapters[0]}.html"
    assert page.select_one("link[rel=icon]")["href"].startswith("data:")  # or else browsers ask for /favicon.ico
    assert page.title.text


def test_every_page_has_content(site):
    def check(html):
        return checks.content_problems(html, at_least=1)

    problems = each_page(site, check)
    assert not problems, lines(problems)


def test_no_page_tells_where_it_was_built(site):
    problems = each_page(site, lambda html: [str(ROOT)] if str(ROOT) in html else [])
    assert not problems, lines(problems)


def test_every_chapter_has_text(site, chapters):
    assert chapters
    assert each_chapter(site, chapters, lambda html, chapter: checks.content_problems(html, at_least=150)) == []


def test_every_chapter_has_figures_with_text_in_their_place(site, chapters):
    problems = each_chapter(site, chapters, lambda html, chapter: checks.figure_problems(html, at_least=1))
    assert not problems, lines(problems)


def test_every_page_has_one_title_and_one_main_landmark(site):
    problems = each_page(site, checks.structure_problems)
    assert not problems, lines(problems)


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


def test_every_chapter_opens_in_colab(site, chapters, repository):
    def check(html, chapter):
        return checks.colab_problems(html, repository, chapter)

    problems = each_chapter(site, chapters, check)
    assert not problems, lines(problems)


def test_the_configuration_names_the_repository(repository):
    configuration = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
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
