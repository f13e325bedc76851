"""Keep the built book whole without a network.

Left alone, Jupyter Book's pages ask other hosts for MathJax, for the widgets' scripts and for Thebe.
This extension copies MathJax from an installed wheel into the built book and drops the rest, so that
no page, served over HTTP or opened from the file system, asks any other host for anything.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util import logging

import assets

logger = logging.getLogger(__name__)

WHEEL = "sphinx-mathjax-offline"
IN_WHEEL = "sphinx-mathjax-offline/static/mathjax"
IN_BOOK = "vendor/mathjax"  # below _static; nothing here is loaded on every page, only what a page asks for

# tex-chtml.js, and what it or its context menu loads when a page or a reader asks for it.
# The wheel's other 20 MB serve other input formats.
MATHJAX_PARTS = (
    "tex-chtml.js",
    "input/tex/extensions",
    "output/chtml",
    "output/svg.js",
    "output/svg/fonts",
    "a11y",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
    "sre/mathmaps/nemeth.json",
)

NOTICE = """MathJax 3.2.2, copyright (c) 2009-2022 The MathJax Consortium (https://www.mathjax.org),
is licensed under the Apache License, Version 2.0, whose text is in LICENSE beside this file.
The files here are an unchanged subset of the distribution.
"""

# From the file system a script may not fetch another page, so the search shows its results without extracts.
SEARCH_FROM_FILES = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'

FONT_PRELOAD = re.compile(r'<link rel="preload" as="font"[^>]*>\n?')


def mathjax_source() -> Path:
    """Return the folder of MathJax in the installed wheel.

    Raises
    ------
    ExtensionError
        If the wheel is not installed, or has no MathJax where it should be.
    """
    try:
        folder = Path(str(distribution(WHEEL).locate_file(IN_WHEEL)))
    except PackageNotFoundError as error:
        raise ExtensionError(
            f"the book takes MathJax from the package {WHEEL}, which is not installed: "
            "install what requirements.txt lists"
        ) from error
    missing = [part for part in MATHJAX_PARTS if not (folder / part).exists()]
    if missing:
        raise ExtensionError(f"the package {WHEEL} lacks {', '.join(missing)} below {folder}")
    return folder


def apache_licence() -> str:
    """Return the text of the Apache License 2.0, which the MathJax wheel itself does not carry.

    It is read from requests, a package under the same licence that Sphinx itself requires.
    """
    for file in distribution("requests").files or []:
        if file.name == "LICENSE":
            return file.read_text()
    raise ExtensionError("the package requests holds no LICENSE file to copy beside MathJax")


def use_local_scripts(app: Sphinx, config: Config) -> None:
    """Point MathJax at the copy beside the pages; load no widget scripts, as pages show stills of widgets."""
    mathjax_source()  # a missing wheel should stop the build before an hour of notebooks, not after
    config.mathjax_path = f"{IN_BOOK}/tex-chtml.js"
    config.nb_ipywidgets_js = {}


def drop_outside_files(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop Thebe's scripts (live kernels over a network) and, with a warning, any other file from outside."""
    if page == "search":
        app.builder.add_js_file("", body=SEARCH_FROM_FILES)
    kept = []
    for script in context.get("script_files", []):
        name, body = (
            str(getattr(script, "filename", script) or ""),
            getattr(script, "attributes", {}).get("body"),
        )
        if name.endswith("sphinx-thebe.js") or "THEBE_JS_URL" in (body or ""):
            continue
        if is_outside(name):
            logger.warning("dropped the script %s, which is not part of the book", name, location=page)
            continue
        kept.append(script)
    context["script_files"] = kept

    styles = context.get("css_files", [])
    for style in styles:
        if is_outside(str(getattr(style, "filename", style))):
            logger.warning("dropped the style sheet %s, which is not part of the book", style, location=page)
    context["css_files"] = [style for style in styles if not is_outside(str(getattr(style, "filename", style)))]


def is_outside(address: str) -> bool:
    """Say whether an address of a script or style sheet leads to another host."""
    return address.startswith(("http:", "https:", "//"))


def copy_mathjax(app: Sphinx, failure: Exception | None) -> None:
    """Copy MathJax, its fonts and its licence beside the built pages."""
    if failure is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / IN_BOOK
    assets.copy(mathjax_source(), target, MATHJAX_PARTS)
    (target / "NOTICE").write_text(NOTICE, encoding="utf-8")
    (target / "LICENSE").write_text(apache_licence(), encoding="utf-8")


def drop_font_preloads(app: Sphinx, failure: Exception | None) -> None:
    """Take the theme's font preloads out of the pages: from the file system a browser refuses them, with errors.

    The style sheet loads the same fonts, from wherever the book is opened.
    """
    if failure is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        kept = FONT_PRELOAD.sub("", text)
        if kept != text:
            page.write_text(kept, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("config-inited", use_local_scripts)
    app.connect("html-page-context", drop_outside_files, priority=900)  # after all that add files to a page
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", drop_font_preloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
