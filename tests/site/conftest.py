"""Fixtures: the built book, and a local server that serves it."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# for site_checks and the book's own Sphinx extensions, which are no part of the package
sys.path += [str(Path(__file__).parent), str(ROOT / "book" / "_ext")]


@pytest.fixture(scope="session")
def site() -> Path:
    """The built book's folder: ORTHOBOOK_SITE, or _build/html."""
    folder = Path(os.environ.get("ORTHOBOOK_SITE", ROOT / "_build" / "html"))
    if not (folder / "index.html").exists():
        pytest.fail(f"there is no built book at {folder}: run `make book`, or set ORTHOBOOK_SITE to its folder")
    return folder.resolve()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="session")
def server(site: Path):
    """The address of a local server that serves the built book."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=site)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
