"""Each check must fail where there is something to find: pages with one fault each."""

from __future__ import annotations

from importlib.metadata import distribution

import pytest
import site_checks as checks

MATHJAX = distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-chtml.js")


def show(browser, tmp_path, body, width=1280):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>t</title><body style='margin:0'>{body}</body>", "utf-8")
    # MathJax lies outside tmp_path, but not on another host
    return checks.visit(browser, page.as_uri(), "file:", width)


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
    assert show(browser, tmp_path, "<div style='width:500px'>x</div>", width=390).width == 500


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
