"""The code in the solutions of the exercises runs where a student would type it: at the end of the chapter."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CHAPTERS = sorted((Path(__file__).resolve().parent.parent / "book").glob("*.ipynb"))
SOLUTION = re.compile(r"^::::\{solution\} (\S+)\n(.*?)^::::$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def solution_cells(notebook):
    """Return a code cell for each block of Python in a solution, named after its exercise."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [
        nbformat.v4.new_code_cell(f"# {label}\n{block}")
        for label, body in SOLUTION.findall(text)
        for block in BLOCK.findall(body)
    ]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_run(chapter, tmp_path):
    notebook = nbformat.read(chapter, as_version=4)
    solutions = solution_cells(notebook)
    assert solutions, f"{chapter.name} has no solution with code"
    notebook.cells += solutions
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
