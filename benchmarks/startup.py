"""What a reader waits for: importing the package, a chapter's first figure, and, where asked, building the book."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
from timing import Report, parsed, parser

from orthobook.study.timings import interleaved, ratios

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "book" / "singular-values.ipynb"


def up_to_first_figure() -> str:
    """Return the code of a chapter's cells down to the one that shows its first figure, and what draws it."""
    cells = [cell for cell in nbformat.read(CHAPTER, as_version=4).cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if "google.colab" not in cell.source]  # which installs the package there
    end = next(number for number, cell in enumerate(cells) if cell.id == "hook")
    *before, last = [cell.source for cell in cells[: end + 1]]
    *lines, expression = ast.parse(last).body
    return "\n".join([*before, *map(ast.unparse, lines), f"({ast.unparse(expression)})._repr_mimebundle_()"])


def python(code: str) -> Callable[[], object]:
    """Return a call that runs code in a Python of its own."""
    return partial(subprocess.run, [sys.executable, "-c", code], check=True, capture_output=True)


def seconds_to_build(*, cold: bool) -> float:
    """Return how long `make pages` takes, with the chapters' outputs at hand or not."""
    if cold:
        shutil.rmtree(ROOT / "_build", ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(["make", "--no-print-directory", "pages", "BUILD_FLAGS=--all"], cwd=ROOT, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Time, and print the table."""
    options = parser("Time what a reader waits for.")
    options.add_argument("--book", action="store_true", help="build the book too, from nothing and again: minutes")
    options.set_defaults(repetitions=5)
    arguments = parsed(options)
    report = Report("startup", arguments)
    calls = {
        "import torch": python("import torch"),
        "import orthobook": python("import orthobook"),
        "a chapter's first figure": python(up_to_first_figure()),
    }
    timed = interleaved(calls, arguments.repetitions)
    rows = {
        name: {"seconds": values, "relative to torch": ratios(values, timed["import torch"])}
        for name, values in timed.items()
    }
    report.table("startup", rows)
    if arguments.book:
        report.fact("cold build of the book, seconds", seconds_to_build(cold=True))
        report.fact("warm build of the book, seconds", seconds_to_build(cold=False))
    report.close()


if __name__ == "__main__":
    main()
