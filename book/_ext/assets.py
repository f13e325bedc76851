"""What built pages need beside them, and what a page's head loads of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from bs4 import BeautifulSoup, Tag

LOADED = ("mathjax", "charts/", "pygments.css", "proof.css")  # parts of the addresses of what a page's article needs


def copy(source: Path, target: Path, parts: Iterable[str]) -> None:
    """Copy files and folders, given by their paths below the source, to the same paths below the target."""
    for part in parts:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / part, target / part)


def loaders(page: BeautifulSoup) -> list[Tag]:
    """Return the elements of a page's head that load or set up what its formulas, code and figures need."""
    return [
        tag
        for tag in page.head.find_all(["link", "script"])
        if any(part in (tag.get("src") or tag.get("href") or "") for part in LOADED)
        or "window.MathJax" in tag.get_text()
    ]
