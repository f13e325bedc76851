"""The code in the solutions of a chapter's exercises."""

import re

import nbformat
from nbformat import NotebookNode

SOLUTION = re.compile(r"^::::\{solution\} (\S+)\n(.*?)^::::$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def solution_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return a code cell for each block of Python in a solution, named after its exercise."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [
        nbformat.v4.new_code_cell(f"# {label}\n{block}")
        for label, body in SOLUTION.findall(text)
        for block in BLOCK.findall(body)
    ]
