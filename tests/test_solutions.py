"""Every chapter's exercises have solutions with code, and that code is run where a student would type it."""

from pathlib import Path

import nbformat
import pytest
from chapters import solution_cells
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

BOOK = Path(__file__).resolve().parent.parent / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))

SOLVED = """
::::{exercise} The first
:label: first

Which?
::::

::::{solution} first
:class: dropdown

Words.

```python
assert x == 1
```

More words.

```python
assert x == 2
```
::::
"""


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_has_solutions_with_code(chapter):
    assert solution_cells(nbformat.read(chapter, as_version=4))


def test_solutions_stand_after_the_chapters_cells():
    cells = [new_markdown_cell(SOLVED), new_code_cell("x = 1")]
    assert [cell.source for cell in solution_cells(new_notebook(cells=cells))] == [
        "# first\nassert x == 1\n",
        "# first\nassert x == 2\n",
    ]
