"""Solutions are tested as a chapter's last cells, where students type."""

from collections import defaultdict
from itertools import chain, groupby

from chapters import solution_cells
from nbval.plugin import IPyNbCell, IPyNbFile


def pytest_collection_modifyitems(items):
    """Add the solutions after the cells of every chapter."""
    by_file = groupby(items[:], key=lambda item: item.parent)
    items[:] = chain.from_iterable(
        with_solutions(file, list(tests)) for file, tests in by_file
    )


def with_solutions(file, tests):
    """Return a file's tests, and its solutions if it is a chapter."""
    if not isinstance(file, IPyNbFile):
        return tests
    solutions = [
        IPyNbCell.from_parent(
            file,
            name=f"Solution {number}",
            cell_num=len(tests) + number,
            cell=cell,
            options=defaultdict(bool),
        )
        for number, cell in enumerate(solution_cells(file.nb))
    ]
    return [*tests, *solutions]
