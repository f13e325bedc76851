"""The page at the book's root, which sends the reader on to the first page.

The one that the table of contents would write names no icon, so that a browser asks the server for /favicon.ico
before it goes on, and it leaves those readers behind whose browser follows no such redirect. Here the icon is in the
page itself: a request for it would be cut off by the redirect.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Refresh" content="0; url={first}">
<title>{title}</title>
<link rel="icon" href="{icon}">
</head>
<body><main><h1>{title}</h1><p><a href="{first}">Read on at the first page.</a></p></main></body>
</html>
"""


def write_front_door(app: Sphinx, failure: Exception | None) -> None:
    """Write index.html, unless the book's first page is that page itself."""
    config = app.config
    if failure is not None or app.builder.format != "html" or config.root_doc == "index":
        return
    icon = Path(app.srcdir) / config.html_favicon
    names = {
        "language": config.language or "en",
        "title": config.html_title or config.project,
        "first": app.builder.get_target_uri(config.root_doc),
        "icon": "data:image/svg+xml;base64," + b64encode(icon.read_bytes()).decode(),
    }
    page = PAGE.format_map({name: escape(value) for name, value in names.items()})
    (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", write_front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
