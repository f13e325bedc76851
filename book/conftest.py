"""The code in a chapter's solutions is tested as the chapter's last cells, where a student would type it."""

import itertools
from collections import defaultdict

from nbval.plugin import IPyNbCell, IPyNbFile
from solutions import solution_cells


def pytest_collection_modifyitems(items):
    """Add the solutions after the cells of every chapter that is tested."""
    chapters = (
        chapter
        for chapter, _ in itertools.groupby(
            items, key=lambda item: item.parent
        )
    )
    chapters = [
        chapter for chapter in chapters if isinstance(chapter, IPyNbFile)
    ]
    for chapter in chapters:
        number = 1 + max(
            index
            for index, item in enumerate(items)
            if item.parent is chapter
        )
        count = sum(item.parent is chapter for item in items)
        items[number:number] = [
            IPyNbCell.from_parent(
                chapter,
                name=f"Solution {place}",
                cell_num=count + place,
                cell=cell,
                options=defaultdict(bool),
            )
            for place, cell in enumerate(solution_cells(chapter.nb))
        ]
