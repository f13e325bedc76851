"""Mend what Sphinx and docutils write that readers' tools misunderstand.

The parameters of a long signature come as a list of definitions without terms, and the entries of the bibliography
in a role that the standard for such roles has dropped, which leaves their list without items. The theme's sidebar
begins outside of any landmark.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PARAMETERS = re.compile(r"<dl>\n((?:<dd><em class=\"sig-param.*?</dd>\n)+)</dl>")
PARAMETER = re.compile(r"<dd>(.*)</dd>")
SIDEBAR = re.compile(r'<div class="bd-sidebar-primary[^">]*"(?! role)')


def mend(html: str) -> str:
    """Return a page's content with its parameters as blocks and its bibliography as a list of items."""
    html = PARAMETERS.sub(lambda found: PARAMETER.sub(r'<span class="sig-parameter">\1</span>', found[1]), html)
    return html.replace('role="doc-biblioentry"', 'role="listitem"')


def mend_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Mend a page before it is written."""
    if "body" in context:
        context["body"] = mend(context["body"])


def name_sidebar(app: Sphinx, failure: Exception | None) -> None:
    """Make the sidebar of every page a landmark; a page's frame is the theme's, and stands only once it is written."""
    if failure is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(SIDEBAR.sub(r'\g<0> role="navigation" aria-label="Book"', text), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("html-page-context", mend_page)
    app.connect("build-finished", name_sidebar)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
