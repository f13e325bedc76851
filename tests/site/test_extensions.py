"""The book's own Sphinx extensions: what they do to what Sphinx hands them, and how they fail."""

from __future__ import annotations

import accessibility
import assets
import checked_cells
import docstrings
import offline
import punctuation
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from sphinx.errors import ExtensionError


def test_a_signature_s_parameters_are_no_definitions():
    signature = '<dl>\n<dd><em class="sig-param">a</em>,</dd>\n<dd><em class="sig-param">b</em>,</dd>\n</dl>\n'
    definitions = "<dl><dt>a</dt>\n<dd>b</dd>\n</dl>"
    assert accessibility.mend(signature + definitions) == (
        '<span class="sig-parameter"><em class="sig-param">a</em>,</span>\n'
        '<span class="sig-parameter"><em class="sig-param">b</em>,</span>\n\n' + definitions
    )


def test_the_sidebar_is_named_once():
    once = accessibility.SIDEBAR.sub(r"\g<0> role", '<div class="bd-sidebar-primary bd-sidebar">')
    assert once == '<div class="bd-sidebar-primary bd-sidebar" role>'
    assert accessibility.SIDEBAR.sub(r"\g<0> role", once) == once


def test_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(offline, "WHEEL", "no-such-wheel")
    with pytest.raises(ExtensionError, match=r"no-such-wheel, which is not installed: .*requirements\.txt"):
        offline.mathjax_source()


def test_incomplete_wheel_is_named(monkeypatch):
    monkeypatch.setattr(offline, "MATHJAX_PARTS", ("tex-chtml.js", "gone.js"))
    with pytest.raises(ExtensionError, match=r"lacks gone\.js below"):
        offline.mathjax_source()


def test_font_preloads_go_and_other_links_stay():
    preload = '<link rel="preload" as="font" type="font/woff2" crossorigin href="a.woff2" />\n'
    script = '<link rel="preload" as="script" href="a.js" />\n'
    assert offline.FONT_PRELOAD.sub("", preload + script + preload) == script


@pytest.mark.parametrize(
    ("address", "outside"),
    [("https://a/b.js", True), ("http://a/b.js", True), ("//a/b.js", True), ("_static/b.js", False), ("", False)],
)
def test_outside_addresses_are_told_apart(address, outside):
    assert offline.is_outside(address) is outside


def test_bars_are_escaped_outside_code_alone():
    assert docstrings.escape_bars("|t + τ| in ``a | b`` and `c | d`") == r"\|t + τ\| in ``a | b`` and `c | d`"


def test_displayed_formulas_stay_aligned():
    lines = ["The fold:", "", "    φ(t) = |t|", "    J    = ±1", "", "So |J| = 1."]
    assert docstrings.display_indented(lines) == [
        "The fold:",
        "",
        ".. code-block:: text",
        "",
        "    φ(t) = |t|",
        "    J    = ±1",
        "",
        r"So \|J\| = 1.",
    ]


@pytest.mark.parametrize(("after", "kept"), [(". So", "."), (").", ")."), (" is", None), ("-fold", None)])
def test_punctuation_stays_with_the_formula_before_it(after, kept):
    document, formula = new_document("page"), nodes.math("", "x")
    document += nodes.paragraph("", "", nodes.Text("Let "), formula, nodes.Text(after))
    punctuation.KeepTogether(document).run()
    assert document.astext() == "Let x" + after
    assert formula.parent.astext() == ("Let x" + after if kept is None else "x" + kept)
    assert formula.parent.get("classes") == ([] if kept is None else ["together"])


@pytest.mark.parametrize(
    ("code", "shown"), [("# NBVAL_CHECK_OUTPUT\nprint(1)", "print(1)"), ("# a comment\nx = 1", "# a comment\nx = 1")]
)
def test_cells_are_shown_without_their_instruction_to_nbval(code, shown):
    document = new_document("page")
    document += nodes.literal_block(code, code)
    checked_cells.Unmark(document).run()
    assert document.astext() == document[0].rawsource == shown


def test_files_and_folders_are_copied_and_a_missing_one_is_no_secret(tmp_path):
    (tmp_path / "from" / "a" / "b").mkdir(parents=True)
    for name in ("a/b/1", "a/2", "3"):
        (tmp_path / "from" / name).write_text(name)
    assets.copy(tmp_path / "from", tmp_path / "to", ("a/b", "3"))
    copied = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert copied == {"a/b/1", "3"}
    with pytest.raises(FileNotFoundError):
        assets.copy(tmp_path / "from", tmp_path / "to", ("gone",))


def test_of_a_head_what_draws_and_sets_is_kept():
    kept = [
        "<script>window.MathJax = {}</script>",
        '<script src="../_static/vendor/mathjax/tex-chtml.js"></script>',
        '<link href="../_static/pygments.css" rel="stylesheet"/>',
    ]
    head = "".join(["<head><title>t</title>", *kept, '<script src="../_static/theme.js"></script></head>'])
    assert [str(tag) for tag in assets.loaders(BeautifulSoup(head, "html.parser"))] == kept
