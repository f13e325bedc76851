"""What pages take from the chapters themselves: the map of the book, the objectives, the versions used.

:::{book-map}       the chapters and what each builds on, as a drawing with links
:::{prerequisites}  the same as a table
:::{objectives}     what one will be able to do after each chapter
:::{versions}       the packages with which the chapters on these pages were run
"""

from __future__ import annotations

import platform
import sys
import textwrap
from collections import defaultdict
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BOOK = Path(__file__).parents[1]
sys.path.append(str(BOOK.parent / "scripts"))
import chapters  # noqa: E402

USED = ("orthobook", "torch", "numpy", "scipy", "matplotlib", "altair", "jupyter-book", "sphinx", "myst-nb")

WIDTH, HEIGHT, GAP, ROW = 168, 46, 14, 84  # of the map's boxes and between them, in pixels


def _link(name: str) -> str:
    """Return a link to a chapter."""
    return f"[{chapters.title(chapters.read(name))}]({name}.ipynb)"


def _parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Return what lines of Markdown mean in the place of a directive."""
    container = nodes.container()
    directive.state.nested_parse(StringList(lines, directive.env.docname), directive.content_offset, container)
    return container.children


class Objectives(SphinxDirective):
    """List what one will be able to do after each chapter."""

    def run(self) -> list[nodes.Node]:
        """Return a definition list made of the chapters' first cells."""
        lines = []
        for name in chapters.prerequisites():
            self.env.note_dependency(str(BOOK / f"{name}.ipynb"))
            listed = chapters.read(name).cells[0].source.partition("You will be able to\n")[2].strip()
            lines += [_link(name), *f": {listed}".replace("\n", "\n  ").splitlines(), ""]
        return _parsed(self, lines)


class Prerequisites(SphinxDirective):
    """List the chapters and what each builds on."""

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        self.env.note_dependency(str(BOOK / "prerequisites.yml"))
        needs = chapters.prerequisites()
        rows = [f"| {_link(name)} | {', '.join(map(_link, before))} |" for name, before in needs.items()]
        return _parsed(self, ["| chapter | builds on |", "| --- | --- |", *rows])


class Versions(SphinxDirective):
    """List the packages and the machine with which the chapters were run."""

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        found = {"Python": platform.python_version()} | {name: version(name) for name in USED}
        found["processor"] = f"{platform.machine()}, {platform.system()}"
        lines = ["| package | version |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in found.items())]
        return _parsed(self, lines)


class BookMap(SphinxDirective):
    """Draw the chapters, each below what it builds on."""

    def run(self) -> list[nodes.Node]:
        """Return the drawing; a browser that shows no drawing shows its description."""
        self.env.note_dependency(str(BOOK / "prerequisites.yml"))
        return [nodes.raw("", book_map(chapters.prerequisites()), format="html")]


def levels(needs: dict[str, list[str]]) -> dict[str, int]:
    """Return on which row a chapter stands: one below the lowest of those that it builds on."""
    found = {"intro": 0}
    for name, before in needs.items():
        found[name] = 1 + max(found[other] for other in before)
    return found


def book_map(needs: dict[str, list[str]]) -> str:
    """Return the map as SVG, its boxes links to the chapters."""
    rows = defaultdict(list)
    for name, level in levels(needs).items():
        rows[level].append(name)
    widest = max(map(len, rows.values()))
    width, height = widest * (WIDTH + GAP), len(rows) * ROW
    centres = {}
    for level, names in rows.items():
        for i, name in enumerate(names):
            centres[name] = (width / 2 + (i - (len(names) - 1) / 2) * (WIDTH + GAP), level * ROW + HEIGHT / 2 + 2)
    arrows = [_arrow(centres[before], centres[name]) for name, others in needs.items() for before in others]
    boxes = [_box(name, *centre) for name, centre in centres.items()]
    return (
        '<div class="book-map">'
        f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="Map of the book: each chapter stands '
        f'below those that it builds on.">{"".join(arrows)}{"".join(boxes)}</svg></div>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a curve from below one box to the top of another."""
    (x, y), (x2, y2) = (start[0], start[1] + HEIGHT / 2), (end[0], end[1] - HEIGHT / 2)
    middle = (y + y2) / 2
    return f'<path d="M{x:g} {y:g} C{x:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"/>'


def _box(name: str, x: float, y: float) -> str:
    """Return a box with a chapter's title, which is a link to it."""
    lines = textwrap.wrap(chapters.title(chapters.read(name)).partition(":")[0], 20)
    words = "".join(
        f'<tspan x="{x:g}" y="{y + 5 + 17 * (i - (len(lines) - 1) / 2):g}">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    box = f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    return f'<a href="{name}.html">{box}<text text-anchor="middle">{words}</text></a>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_directive("book-map", BookMap)
    app.add_directive("prerequisites", Prerequisites)
    app.add_directive("objectives", Objectives)
    app.add_directive("versions", Versions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
