"""Each check must fail where there is something to find: pages with one fault each."""

from __future__ import annotations

from importlib.metadata import distribution

import pytest
import site_checks as checks
from chart_checks import chart_problems
from table_checks import table_problems

MATHJAX = distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-chtml.js")


def show(browser, tmp_path, body, window=checks.DESK):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>t</title><body style='margin:0'>{body}</body>", "utf-8")
    # MathJax lies outside tmp_path, but not on another host
    return checks.visit(browser, page.as_uri(), "file:", [window])


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<script src="//cdn.example/a.js"></script>',
        '<img src="http://cdn.example/a.png">',
        '<img src="a.png" srcset="a.png 1x, https://cdn.example/b.png 2x">',
        '<link rel="stylesheet" href="https://cdn.example/a.css">',
        '<link rel="preload" as="font" href="https://cdn.example/a.woff2">',
        "<style>@import 'https://cdn.example/a.css';</style>",
        '<p style="background: url(//cdn.example/a.png)">',
    ],
)
def test_external_address_is_found(html):
    assert len(checks.external_in_page(html)) == 1


def test_plain_links_and_local_files_are_allowed():
    html = '<a rel="license" href="https://example.org/"></a><script src="../a.js"></script><img src="data:,">'
    assert checks.external_in_page(html) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"></a><a href="b.html#gone"></a><a href="c.html"></a>'
        '<img src="d.png"><a href="#me" id="me"></a><a href="https://example.org/"></a>'
    )
    (tmp_path / "b.html").write_text('<p id="here">')
    assert checks.broken_links(tmp_path) == [
        "a.html: b.html#gone: no such anchor",
        "a.html: c.html: no such file",
        "a.html: d.png: no such file",
    ]


@pytest.mark.parametrize("alt", ["", 'alt=""', 'alt=" "', 'alt="../_images/0f3a.png"'])
def test_missing_alternative_text_is_found(alt):
    assert len(checks.figure_problems(f"<main><img src='a.png' {alt}></main>", at_least=1)) == 1


def test_chart_needs_a_description():
    chart = "<main><div class='orthobook-chart'><noscript><div role='img' {}></div></noscript></div></main>"
    assert checks.figure_problems(chart.format("aria-label='a fold'"), at_least=1) == []
    assert len(checks.figure_problems(chart.format(""), at_least=1)) == 1


def test_missing_figure_is_found():
    assert checks.figure_problems("<main><p>words</p></main>", at_least=1) == ["0 figures, not the expected 1 or more"]


@pytest.mark.parametrize(
    "body",
    [
        "<p>word</p>",
        '<p>two words</p><div class="output traceback">ValueError</div>',
        '<p>two words</p><div class="output stderr">UserWarning</div>',
        "<p>two words and $$ x</p>",
    ],
)
def test_bad_content_is_found(body):
    assert len(checks.content_problems(f"<main>{body}</main>", at_least=2)) == 1


def test_dollars_in_code_are_allowed():
    assert checks.content_problems("<main><p>two words</p><pre>$$</pre></main>", at_least=2) == []


@pytest.mark.parametrize(
    "html",
    [
        "<h1>no landmark</h1>",
        "<main><h1>a</h1></main><main></main>",
        "<main><h2>a</h2><h1>b</h1></main>",
        "<main><h1>a</h1><h1>b</h1></main>",
        "<main><h1>a</h1><h3>b</h3></main>",
        "<main></main>",
    ],
)
def test_bad_structure_is_found(html):
    assert len(checks.structure_problems(html)) == 1


def test_wrong_colab_address_is_found():
    html = '<a href="https://colab.research.google.com/github/a/b/blob/main/book/book/x.ipynb"></a>'
    assert len(checks.colab_problems(html, "https://github.com/a/b", "book/x")) == 1
    assert checks.colab_problems(html.replace("book/book", "book"), "https://github.com/a/b", "book/x") == []


def test_request_to_another_host_is_found(browser, tmp_path):
    seen = show(browser, tmp_path, '<script>new Image().src = "https://cdn.invalid/a.png"</script>')
    assert seen.outside == ["https://cdn.invalid/a.png"]


@pytest.mark.parametrize(
    "fault", ["throw new Error('x')", "console.error('x')", "document.body.append(new Image()).src"]
)
def test_script_error_is_found(browser, tmp_path, fault):
    assert show(browser, tmp_path, f"<script>{fault}</script>").errors


def test_missing_file_is_found(browser, tmp_path):
    assert show(browser, tmp_path, "<script src='gone.js'></script>").errors


@pytest.mark.parametrize("tex", [r"\orthogonl{x}", r"\frac{1}", r"x^a^b", r"\begin{align} x \end{aligned}"])
def test_tex_error_is_found(browser, tmp_path, tex):
    seen = show(browser, tmp_path, rf"<span class=math>\({tex}\)</span><script src='{MATHJAX.as_uri()}'></script>")
    assert seen.typesetting
    assert seen.typesetting[0].startswith("TeX error")


def test_maths_that_is_not_typeset_is_found(browser, tmp_path):
    assert show(browser, tmp_path, r"<span class=math>\(x\)</span>").typesetting == [r"not typeset: \(x\)"]


def test_good_maths_passes(browser, tmp_path):
    body = r"<span class=math>\(\boldsymbol{x} \in \mathbb R^n\)</span>"
    seen = show(browser, tmp_path, f"{body}<script src='{MATHJAX.as_uri()}'></script>")
    assert (seen.typesetting, seen.errors, seen.outside) == ([], [], [])


def test_page_wider_than_its_window_is_found(browser, tmp_path):
    wide = "<div style='width: {}px'>x</div>"
    assert show(browser, tmp_path, wide.format(500), checks.PHONE).width == ["500 wide in a window of 390"]
    assert show(browser, tmp_path, wide.format(390), checks.PHONE).width == []


@pytest.mark.parametrize(
    ("fault", "rule"),
    [("<p style='color: #999'>pale</p>", "color-contrast"), ("<button></button>", "button-name")],
)
def test_what_shuts_readers_out_is_found(browser, tmp_path, fault, rule):
    sound = "<main><h1>heading</h1>{}</main>"
    names = {found.split()[0] for found in show(browser, tmp_path, sound.format(fault)).accessibility}
    without = {found.split()[0] for found in show(browser, tmp_path, sound.format("")).accessibility}
    assert names - without == {rule}


def test_pale_code_is_found_however_often_it_repeats_and_on_whatever_ground(browser, tmp_path):
    code = "<pre class=highlight style='background: {}'>{}</pre>"
    grey = "<span class=k style='color: #999'>for</span>\n" * 20
    page = "<main><h1>heading</h1>" + code.format("black", grey) + code.format("white", grey) + "</main>"
    found = show(browser, tmp_path, page).accessibility
    assert len([problem for problem in found if problem.startswith("color-contrast")]) == 5  # those on white


TABLE = "<style>{style}</style><div class=box><table>{rows}</table></div>"
WIDE = "<tr><td>a word</td><td style='min-width: 600px'>another</td><td>460,416</td></tr>"
SHADOW = (
    ".box { overflow-x: auto; background:"
    " linear-gradient(to left, #fff, transparent) right / 2rem 100% local no-repeat,"
    " linear-gradient(to left, #888, transparent) right / 1rem 100% scroll no-repeat }"
)


@pytest.fixture
def problems(browser):
    """A function that shows HTML in a window, and returns what a check finds there."""

    def problems(check, body, window=checks.PHONE):
        page = browser.new_page(viewport={"width": window[0], "height": window[1]})
        page.set_content(f"<!doctype html><body style='margin:0'>{body}</body>")
        found = list(check(page))
        page.close()
        return found

    return problems


def table(style, rows=WIDE):
    return TABLE.format(style=style, rows=rows)


@pytest.mark.parametrize(
    ("style", "how"),
    [
        ("", "1 cells outside the window"),
        (".box { overflow: hidden }", "1 cells cut off"),
        (".box { overflow-x: clip }", "1 cells cut off"),
        (".box { overflow-x: auto }", "1 cells to be scrolled to, and no shadow says so"),
        (SHADOW + "tr { background: #fff }", "1 cells to be scrolled to, and no shadow says so"),
        (SHADOW + "body { width: 300px; overflow: hidden } .box { width: 340px }", "nothing"),
        (SHADOW + "section { overflow: hidden }", "nothing"),
    ],
)
def test_a_table_that_hides_something_is_found(problems, style, how):
    expected = [] if how == "nothing" else [f'table 1 at 390: {how}, the first "460,416"']
    assert problems(table_problems, table(style)) == expected


def test_a_table_scrolls_in_a_narrow_window_alone(problems):
    wide = table(SHADOW, WIDE.replace("600px", "1500px"))
    found = problems(table_problems, wide, checks.DESK)
    assert found == ['table 1 at 1280: 1 cells to be scrolled to, the first "460,416"']
    assert problems(table_problems, wide) == []


@pytest.mark.parametrize(
    ("cell", "broken"),
    [
        ("460,<wbr>416", ["460,416"]),
        ("<b>12</b>.<wbr>5", ["12.5"]),
        ("0.<wbr>25", ["0.25"]),
        ("about 460,416", []),
        ("\u2212<wbr>0.5", ["\u22120.5"]),
        ("1.5e-<wbr>07", ["1.5e-07"]),
        ("CIFAR-<wbr>10", []),
    ],
)
def test_a_number_over_two_lines_is_found(problems, cell, broken):
    rows = f"<tr><td>{cell}</td></tr>"
    expected = [f'table 1 at 390: {number} broken in "{number}"' for number in broken]
    assert problems(table_problems, table("table { width: 1px }", rows)) == expected
    assert problems(table_problems, table("td { white-space: nowrap }", rows.replace("<wbr>", ""))) == []


def test_a_table_that_is_folded_away_is_looked_at(problems):
    assert len(problems(table_problems, f"<details><summary>more</summary>{table('')}</details>")) == 1
    hidden = "<table hidden><tr><td>1</td></tr></table>"
    assert problems(table_problems, hidden) == ["table 1 at 390: is not shown"]


CHART = """
<style>body { background: #fff } .orthobook-chart { height: 200px }</style>
<div class=orthobook-chart data-state=ready>
  <div class=vega-bindings><div class=vega-bind><label>depth <input type=range max=9 value=3></label></div></div>
  <svg role=img aria-label="one two three four five six" width=100 height=50><text y=20>3</text></svg>
  <p aria-live=polite></p>
</div>
<script>
  const [input, svg, status] = ["input", "svg", "p"].map(name => document.querySelector(name));
  input.oninput = () => { svg.querySelector("text").textContent = status.textContent = input.value; };
</script>
"""


def in_light(page):
    return chart_problems(page, "light")


@pytest.mark.parametrize(
    ("sound", "faulty", "problem"),
    [
        ("", "", None),
        ("data-state=ready", "data-state=failed", "chart 1: it is failed"),
        ("<text y=20>", "<text y=20 fill=#999>", "chart 1: no text, or pale text: ['rgb(153, 153, 153)'] on rgb"),
        ("<text y=20>3</text>", "<text></text>", None),
        ("four five six", "", "chart 1: no description"),
        ("depth <input", "<input", "chart 1: a control without a name"),
        ("class=vega-bindings", "class=vega-bindings style='background: #eee'", None),
        ("height: 200px", "height: 200px; background: #eee", "chart 1: a card of another colour lies behind it"),
        ("<input type=range max=9 value=3>", "", "chart 1: no controls"),
        ('svg.querySelector("text").textContent = ', "", "by keyboard: nothing is drawn anew"),
        ("= status.textContent ", "", "by mouse: nothing is announced"),
        (
            "input.oninput = () => {",
            "input.oninput = () => { svg.parentElement.style.width = '50px';",
            "the chart moved",
        ),
    ],
)
def test_a_chart_s_faults_are_found(problems, sound, faulty, problem):
    assert sound in CHART
    found = problems(in_light, CHART.replace(sound, faulty), checks.DESK)
    assert problem in "\n".join(found) if problem else found == []


def test_a_chart_in_the_wrong_colours_is_found(problems):
    found = problems(in_light, CHART.replace("#fff", "#111").replace("<text", "<text fill=#fff"), checks.DESK)
    assert found == ["the page is rgb(17, 17, 17), which is not light"]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("<style>svg { margin-left: 380px }</style>", "pixels too wide"),
        (
            "<style>svg { width: 50px } </style><script>svg.setAttribute('viewBox', '0 0 100 50')</script>",
            "shrunk to 0.50",
        ),
        (
            "<style>.orthobook-chart { display: flex; flex-direction: column-reverse }</style>",
            "controls below the picture",
        ),
        ("<style>svg { height: 900px }</style>", "taller than a telephone"),
    ],
)
def test_a_chart_unfit_for_a_telephone_is_found(problems, fault, problem):
    page = "<header class=bd-header>the bar at the top</header>" + CHART
    page += "<script>svg.setAttribute('viewBox', '0 0 100 50')</script>"
    assert problems(in_light, page) == []
    assert problem in "\n".join(problems(in_light, page + fault))
