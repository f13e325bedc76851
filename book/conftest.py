"""Run every chapter as the book's build does, and test its cells by nbval.

A chapter is run at once, with its solutions as its last cells, where
students type; the test of a cell looks at what came of it. A chapter that
has run without an error goes into the cache from which the build takes
outputs, so that a build after the tests need run nothing.
"""

import copy
import tempfile
from collections import defaultdict
from pathlib import Path

import chapter_cache
import pytest
from chapters import solution_cells
from jupyter_cache.executors.utils import single_nb_execution
from nbval.plugin import IPyNbCell, IPyNbFile, coalesce_streams

BOOK = Path(__file__).parent
# Figures are for a page, and progress bars draw nothing.
ENVIRONMENT = {"ORTHOBOOK_BUILD": "1", "TQDM_DISABLE": "1"}


def pytest_collect_file(file_path, parent):
    """Collect every notebook."""
    if file_path.suffix == ".ipynb":
        return Chapter.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(items):
    """Start with the chapters: short tests beside the last are no loss."""
    items.sort(key=lambda item: not isinstance(item, Cell))


class Chapter(IPyNbFile):
    """A chapter, whose tests are its code cells and its solutions."""

    def collect(self):
        """Yield the tests: nbval's, and then those of the solutions."""
        self.compare_outputs = False  # but of cells that ask for it
        own = list(super().collect())
        self.solutions = solution_cells(self.nb)
        tests = [(test.name, test.cell, test.options) for test in own]
        for number, cell in enumerate(self.solutions):
            tests.append((f"Solution {number}", cell, defaultdict(bool)))
        for number, (name, cell, options) in enumerate(tests):
            yield Cell.from_parent(
                self, name=name, cell_num=number, cell=cell, options=options
            )

    def setup(self):
        """Run the chapter and its solutions, before the first test."""
        notebook = copy.deepcopy(self.nb)
        notebook.cells += copy.deepcopy(self.solutions)
        code = [
            place
            for place, cell in enumerate(notebook.cells)
            if cell.cell_type == "code"
        ]
        cache = chapter_cache.folder(BOOK.parent)
        ended = set()  # a cell that takes too long has an output, too
        with (
            pytest.MonkeyPatch.context() as patch,
            tempfile.TemporaryDirectory() as folder,
        ):
            for name, value in ENVIRONMENT.items():
                patch.setenv(name, value)
            result = single_nb_execution(
                notebook,
                cwd=folder,
                timeout=int(self.config.option.nbval_cell_timeout),
                allow_errors=True,  # every cell has a test of its own
                on_cell_executed=lambda cell_index, **_: ended.add(
                    cell_index
                ),
            )
        self.executed = [notebook.cells[place] for place in code]
        self.ended = [place in ended for place in code]
        self.error = result.err
        notebook.cells = notebook.cells[: len(self.nb.cells)]
        own = [place for place in code if place < len(notebook.cells)]
        if ended.issuperset(own) and not any(
            errors(notebook.cells[place]) for place in own
        ):
            chapter_cache.store(cache, self.path, notebook, result.time)

    def teardown(self):
        """Do nothing: the kernel has ended with the chapter."""


class Cell(IPyNbCell):
    """A test of one cell, which has been run."""

    def runtest(self):
        """Report an error, or a difference from the stored output."""
        executed = self.parent.executed[self.cell_num]
        for error in errors(executed):
            text = "\n".join(["", *error.traceback])
            self.raise_cell_error(
                "Cell execution caused an exception", text
            )
        if not self.parent.ended[self.cell_num]:
            self.raise_cell_error(
                f"The cell did not end: {self.parent.error}"
            )
        if self.options["check"]:
            self.compare(executed)

    def compare(self, executed):
        """Compare with the stored output; with none, nothing is right."""
        # nbval joins the pieces of a stream in place.
        found, stored = (
            coalesce_streams(copy.deepcopy(cell.outputs))
            for cell in (executed, self.cell)
        )
        if not self.compare_outputs(found, stored):
            differences = "\n".join(self.comparison_traceback)
            self.raise_cell_error("Cell outputs differ", differences)


def errors(cell):
    """Return the exceptions among a cell's outputs."""
    return [out for out in cell.outputs if out.output_type == "error"]
