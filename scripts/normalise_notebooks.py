"""Run the book's notebooks and store them in one form: no outputs but the short texts that the tests compare.

A cell that starts with the line ``# NBVAL_CHECK_OUTPUT`` keeps its output, which must be text, with execution
count 1: nbval compares it with what the cell prints. Every other output and count is removed, as is metadata
other than tags, slides and MyST-NB's; each cell has a readable identifier that stays with it; there is one kernel.

Where no notebook is named, what repeats the table of contents is written too: see follow_contents.py.

With --check nothing is run or written, and every departure from that form is named. The two most treacherous: a
checked cell with no stored output, which nbval passes without comparing anything, and a stored False, by which a
statement that has failed would go on passing. A line in which False is right is announced in its cell by its beginning:

    # expected False: zeros; frames 1 % too long
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import follow_contents
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

BOOK = Path(__file__).resolve().parent.parent / "book"

# The first code cell of every chapter. The address is that of pyproject.toml, which a test makes sure of.
COLAB_CELL = """\
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "orthobook[book] @ git+https://github.com/orthobook/orthobook@main"
""".rstrip()
COLAB_TAG = "hide-input"

CHECKED = "# NBVAL_CHECK_OUTPUT"
EXPECTED_FALSE = "# expected False:"  # then the beginnings of lines, separated by semicolons
LONGEST_CELL = 18  # lines of code; a longer cell does not fit beside its explanation
CELL_TIMEOUT = 300  # seconds
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

EXAMPLES = """\
examples:
  python scripts/normalise_notebooks.py                           run and store all chapters
  python scripts/normalise_notebooks.py book/one-layer.ipynb      run and store one
  python scripts/normalise_notebooks.py --check                   only report what is not in order
"""


def read(path: Path) -> NotebookNode:
    """Read a notebook as it is, without nbformat's silent repairs; ValueError for another format than 4."""
    text = path.read_text(encoding="utf-8")
    version = json.loads(text).get("nbformat")
    if version != 4:
        raise ValueError(f"notebook format {version}; 4 is needed")
    return nbformat.v4.reads(text)


def written(notebook: NotebookNode) -> str:
    """Return the text of a notebook's file."""
    return nbformat.v4.writes(notebook).rstrip("\n") + "\n"


def is_checked(cell: NotebookNode) -> bool:
    """Say whether nbval compares a cell's output with the stored one."""
    return cell.cell_type == "code" and cell.source.partition("\n")[0].strip() == CHECKED


def is_readable(identifier: str) -> bool:
    """Say whether an identifier is made of words: not a hexadecimal number that an editor has drawn."""
    if re.fullmatch(r"[0-9a-f]{8}(-?[0-9a-f]{4}){0,3}(-?[0-9a-f]{12})?", identifier):
        return False
    return len(identifier) <= 64 and bool(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identifier))


def derived_identifier(cell: NotebookNode, position: int) -> str:
    """Return an identifier made of a cell's first words, or of its position when it has none."""
    words = re.findall(r"[a-z0-9]+", cell.source.removeprefix(CHECKED).lower())[:5]
    identifier = "-".join(words)[:48].strip("-")
    return identifier if is_readable(identifier) else f"{cell.cell_type}-{position}"


def identifiers(cells: Sequence[NotebookNode]) -> list[str]:
    """Return one identifier for each cell: its own where that is readable and the first of its kind."""
    own = [cell.get("id", "") for cell in cells]
    kept = [name if is_readable(name) and name not in own[:i] else "" for i, name in enumerate(own)]
    for i, cell in enumerate(cells):
        if not kept[i]:
            stem = candidate = derived_identifier(cell, i + 1)
            suffix = 2
            while candidate in kept:
                candidate, suffix = f"{stem}-{suffix}", suffix + 1
            kept[i] = candidate
    return kept


def merged(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream, whose division is an accident of timing."""
    result: list[NotebookNode] = []
    for output in outputs:
        output = NotebookNode(output)
        if "execution_count" in output:
            output.execution_count = 1
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def normalised(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook in the one form that is stored, its outputs taken as they are."""
    cells = []
    for cell, identifier in zip(notebook.cells, identifiers(notebook.cells), strict=True):
        metadata = {key: cell.metadata[key] for key in ("mystnb", "slideshow", "tags") if cell.metadata.get(key)}
        new = NotebookNode(cell_type=cell.cell_type, id=identifier, metadata=metadata, source=cell.source)
        if cell.get("attachments"):
            new.attachments = cell.attachments
        if cell.cell_type == "code":
            new.outputs = merged(cell.outputs) if is_checked(cell) else []
            new.execution_count = 1 if new.outputs else None
        cells.append(new)
    own = {"mystnb": notebook.metadata["mystnb"]} if notebook.metadata.get("mystnb") else {}
    return nbformat.from_dict({"cells": cells, "metadata": NOTEBOOK_METADATA | own, "nbformat": 4, "nbformat_minor": 5})


def run(notebook: NotebookNode) -> None:
    """Run a notebook's cells in place, in an empty folder: it may depend on nothing but the package."""
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        environment = os.environ | {"TQDM_DISABLE": "1"}
        client = NotebookClient(notebook, kernel_name="python3", timeout=CELL_TIMEOUT, resources=resources)
        client.execute(env=environment)


def output_problem(cell: NotebookNode) -> str:
    """Say what is wrong with a checked cell's stored output; nothing when it is in order."""
    if not cell.outputs or cell.execution_count is None:
        return "has no stored output or no count, and nbval would compare nothing; run this without --check"
    for output in cell.outputs:
        if output.output_type == "error":
            return "has a stored error"
        if output.get("name") == "stderr":
            return "has a stored warning or other text on stderr"
        if set(output.get("data", {"text/plain": ""})) != {"text/plain"}:
            return f"has a stored output that is not plain text: {', '.join(sorted(output.data))}"
    return ""


def false_problem(cell: NotebookNode) -> str:
    """Say which stored lines hold a False that is not announced, or which announcements hold of no line."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    false = [line.strip() for line in "".join(texts).splitlines() if re.search(r"\bFalse\b", line)]
    comments = [line for line in cell.source.splitlines() if line.startswith(EXPECTED_FALSE)]
    announced = [name.strip() for line in comments for name in line.removeprefix(EXPECTED_FALSE).split(";")]
    wrong = [line for line in false if not any(name and line.startswith(name) for name in announced)]
    if wrong:
        return f"stores False in the line {wrong[0]!r}; mend it, or announce its beginning: {EXPECTED_FALSE} …"
    idle = [name for name in announced if not any(name and line.startswith(name) for line in false)]
    return f"expects False of {idle[0]!r}, which is the beginning of no stored line with a False" if idle else ""


def cell_problems(cell: NotebookNode) -> list[str]:
    """Say what is wrong with a code cell."""
    problems = [output_problem(cell), false_problem(cell)] if is_checked(cell) else []
    rest = cell.source.partition("\n")[2] if is_checked(cell) else cell.source
    tags = cell.metadata.get("tags", [])
    if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE_)", rest) or any(tag.startswith("nbval-") for tag in tags):
        problems.append(f"has an instruction to nbval other than a first line {CHECKED!r}")
    lines = [line for line in rest.splitlines() if line.strip() and not line.strip().startswith("#")]
    if len(lines) > LONGEST_CELL:
        problems.append(f"has {len(lines)} lines of code; at most {LONGEST_CELL} are allowed")
    return [problem for problem in problems if problem]


def problems(notebook: NotebookNode, text: str) -> list[str]:
    """Say everything that is wrong with a notebook, given also the text of its file."""
    code = [(i, cell) for i, cell in enumerate(notebook.cells, start=1) if cell.cell_type == "code"]
    found = [f"cell {i} ({cell.get('id')}) {problem}" for i, cell in code for problem in cell_problems(cell)]
    first = code[0][1] if code else None
    if first is None or first.source != COLAB_CELL:
        found.append("the first code cell is not the one that installs the package in Colab:\n" + COLAB_CELL)
    elif COLAB_TAG not in first.metadata.get("tags", []):
        found.append(f"cell {code[0][0]} ({first.get('id')}) lacks the tag {COLAB_TAG!r}")
    if text != written(normalised(notebook)):
        found.append("not in normal form; run this without --check")
    return found


def normalise(path: Path) -> None:
    """Run one notebook and store it in normal form; when a cell fails, raise and leave the file as it was."""
    notebook = read(path)
    code = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{path}: running {code} code cells ...", end=" ", flush=True)
    start = time.monotonic()
    notebook = normalised(notebook)
    run(notebook)
    notebook = normalised(notebook)
    nbformat.validate(notebook)
    path.write_text(written(notebook), encoding="utf-8")
    stored = sum(bool(cell.get("outputs")) for cell in notebook.cells)
    print(f"{stored} outputs stored, {time.monotonic() - start:.1f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when every notebook is in order, otherwise 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="run and write nothing, only report")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="notebooks (default: all in book/)")
    options = parser.parse_args(arguments)
    files = options.files or sorted(BOOK.glob("*.ipynb"))
    if not files:
        parser.error(f"there is no notebook in {BOOK}")

    failed = not options.files and bool(follow_contents.main(["--check"] * options.check))
    for path in files:
        try:
            if not options.check:
                normalise(path)
            found = problems(read(path), path.read_text(encoding="utf-8"))
        except (CellExecutionError, CellTimeoutError, DeadKernelError, OSError, ValueError) as error:
            found = [f"{type(error).__name__}: {error}"]
        for problem in found:
            print(f"{path}: {problem}", file=sys.stderr)
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
