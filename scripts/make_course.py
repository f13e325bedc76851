"""Write what a course hands out: an edition for students, one for instructors, and assignments that nbgrader grades.

    _build/course/student/        the chapters without solutions, with cells to answer in and the self-checks
    _build/course/instructor/     the same with the solutions, their code in cells to run
    _build/course/assignments/    a course folder of nbgrader: source/ (with solutions) and release/ (for students)

All are made from the chapters in book/. An assignment has the exercises by code of one chapter and, before them,
those of the chapter's cells that they need. Its tests are the self-checks of orthobook.teaching.exercises.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import os
import re
import shutil
import symtable
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import chapters
import nbformat
import normalise_notebooks as notebooks
from chapters import Exercise
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.apps import NbGraderAPI
from plain_markdown import folded, plain, references
from tqdm import tqdm
from traitlets.config import PyFileConfigLoader

COURSE = chapters.ROOT / "_build" / "course"
POINTS = 1  # of every exercise

EXAMPLES = """\
examples:
  python scripts/make_course.py                                     all chapters
  python scripts/make_course.py one-layer going-deep                two of them
  python scripts/make_course.py --output ~/my-course one-layer      elsewhere
"""

README = """\
Made by `make course` from the chapters of the book; changes belong there.

student/        hand out for reading: chapters with cells to answer in
instructor/     keep: the same with solutions
assignments/    a course folder of nbgrader: students answer and hand in what is in release/; source/ has the solutions

Every notebook needs the package. The first cell installs it in Colab; elsewhere

    pip install "orthobook[book] @ git+{repository}@main"

To grade, put what students hand in at assignments/submitted/STUDENT/CHAPTER/CHAPTER.ipynb, and then

    cd assignments
    {nbgrader} autograde one-layer
    {nbgrader} generate_feedback one-layer
    {nbgrader} export --assignment one-layer

writes each student's points to grades.csv and pages of feedback to feedback/. For what is handed in again give
`autograde` and `generate_feedback` the options `--force --student STUDENT`. Warnings of SQLAlchemy are harmless.

To leave an exercise out, delete its three cells from source/CHAPTER/CHAPTER.ipynb and run
`{nbgrader} generate_assignment CHAPTER --force`; the next `make course` brings it back.
"""


READING = """\
*To read, run and try things out in. What is handed in and graded is the assignment, a notebook of its own; exercises by
hand and open-ended ones are handed in as your teacher says.*
"""
TO_HAND_IN = """\
Answer in the cells that say `...`; the cell below each says what is still wrong. Hand in this notebook, under the name
{name}.ipynb, with all of its cells: the grader finds them again by marks that do not show.
"""

# The checks are imported anew: what an answer has made of their names does not count.
TESTED = """\
import sys as _sys

for _name in [_name for _name in _sys.modules if _name.startswith("orthobook.teaching")]:
    del _sys.modules[_name]
from orthobook.teaching import exercises as _exercises

_verdict = {check}
assert _verdict, _verdict"""

NBGRADER = """\
c = get_config()  # noqa: F821
c.ClearSolutions.code_stub = {"python": ""}  # a cell without its solution shows what the exercise starts from
c.ExecutePreprocessor.timeout = 300  # seconds, for each cell
"""


# --- editions ------------------------------------------------------------------------------------------------------


def edition(name: str, *, solutions: bool) -> NotebookNode:
    """Return a chapter in plain Markdown, with cells to answer its exercises, and with or without their solutions."""
    chapter = chapters.read(name)
    exercises = {exercise.label: exercise for exercise in chapters.exercises(chapter)}
    cells: list[NotebookNode] = []
    for cell in chapter.cells:
        if cell.cell_type == "code":
            code = cell.source.removeprefix(notebooks.CHECKED)
            cells.append(new_code_cell(code, metadata={"tags": cell.metadata.get("tags", [])}))
            continue
        for part in chapters.parts(cell.source):
            if isinstance(part, str):
                cells.append(new_markdown_cell(plain(part)))
            else:
                cells += _exercise_cells(exercises[part.label], solutions=solutions)
    cells.insert(1, new_markdown_cell(_licence() if solutions else f"{READING}\n{_licence()}"))
    return _notebook(cells)


def _licence() -> str:
    """Return where the text comes from, and on which terms it may be handed on."""
    terms = "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"
    return f"*From [Networks with orthogonal Jacobians]({chapters.repository()}): text {terms}, code MIT licence.*"


def _exercise_cells(exercise: Exercise, *, solutions: bool) -> Iterator[NotebookNode]:
    """Yield the cells of one exercise."""
    yield new_markdown_cell(statement(exercise))
    if solutions:
        yield from _solution_cells(exercise)
    elif exercise.check:
        yield new_code_cell(exercise.starter)
        yield new_code_cell(exercise.check)
    else:
        yield new_markdown_cell("*Your answer:*")


def _solution_cells(exercise: Exercise) -> Iterator[NotebookNode]:
    """Yield the cells of a solution, its code to be run."""
    title = f"**Solution of {references().names[exercise.label]}.**"
    for text, code in chapters.text_and_code(exercise.solution):
        yield new_markdown_cell(plain(f"{title} {text}"))
        title = ""
        yield new_code_cell(code)
    if exercise.check:
        yield new_code_cell(exercise.check)


def statement(exercise: Exercise) -> str:
    """Return what an exercise asks, with its hint folded away, in plain Markdown."""
    heading = f"**{references().names[exercise.label]}: {exercise.title}**"
    return "\n\n".join([heading, plain(exercise.statement), folded("Hint", exercise.hint)])


def _notebook(cells: list[NotebookNode]) -> NotebookNode:
    """Return a notebook of cells, without what is empty and with readable identifiers."""
    cells = [cell for cell in cells if cell.source.strip()]
    for cell in cells:
        cell.source, cell["id"] = cell.source.strip(), ""
    for cell, identifier in zip(cells, notebooks.identifiers(cells), strict=True):
        cell["id"] = identifier
    return new_notebook(cells=cells, metadata=notebooks.NOTEBOOK_METADATA)


# --- assignments ---------------------------------------------------------------------------------------------------


def assignment(name: str) -> NotebookNode | None:
    """Return the exercises by code of a chapter in nbgrader's form with solutions; None if it has none."""
    chapter = chapters.read(name)
    exercises = [exercise for exercise in chapters.exercises(chapter) if exercise.check]
    if not exercises:
        return None
    title = f"# {chapters.title(chapter)}: assignment"
    cells = [new_markdown_cell(f"{title}\n\n{TO_HAND_IN.format(name=name)}\n\n{_licence()}")]
    cells += [new_code_cell(code) for code in needed_code(chapter, exercises)]
    for exercise in exercises:
        solved = f"{exercise.starter}\n### BEGIN SOLUTION\n{exercise.answer}\n### END SOLUTION"
        tested = TESTED.format(check=exercise.check.replace("ob.exercises.", "_exercises.", 1))
        cells.append(new_markdown_cell(_with_links_to_the_book(statement(exercise), name)))
        cells.append(_graded(new_code_cell(solved), exercise.label, solution=True))
        cells.append(_graded(new_code_cell(tested), f"{exercise.label}-check", points=POINTS, locked=True))
    return _notebook(cells)


def _with_links_to_the_book(text: str, name: str) -> str:
    """Let links to chapters, and within a chapter, lead to the repository: an assignment is handed out alone."""
    book = f"{chapters.repository()}/blob/main/book"
    text = re.sub(r"\]\((#[\w-]+)\)", rf"]({book}/{name}.ipynb\1)", text)
    return re.sub(r"\]\(([\w-]+\.ipynb)", rf"]({book}/\1", text)


def _graded(
    cell: NotebookNode, name: str, *, solution: bool = False, points: int = 0, locked: bool = False
) -> NotebookNode:
    """Return a cell with nbgrader's metadata."""
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": name,
        "grade": points > 0,
        "solution": solution,
        "locked": locked,
        "task": False,
        **({"points": points} if points else {}),
    }
    return cell


def needed_code(chapter: NotebookNode, exercises: Sequence[Exercise]) -> list[str]:
    """Return those code cells of a chapter, the first two always, that define what the exercises' code uses."""
    code = [cell.source.removeprefix(notebooks.CHECKED).strip() for cell in chapter.cells if cell.cell_type == "code"]
    needed = names_used("\n".join(f"{each.starter}\n{each.answer}\n{each.check}" for each in exercises))
    kept = []
    for i in reversed(range(1, len(code))):
        defined = names_defined(code[i])
        if i == 1 or defined & needed:
            kept.insert(0, code[i])
            needed = (needed - defined) | names_used(code[i])
    return [code[0], *kept]


def names_used(code: str) -> set[str]:
    """Return the names that code takes from the cells before it."""
    used: set[str] = set()
    defined = set(dir(builtins))
    for statement in ast.parse(code).body:
        source = ast.unparse(statement)
        here = names_defined(source)
        # In a loop or the like a name is set before it is read; in x = x + 1 it is read before.
        read = _globals_read(symtable.symtable(source, "a cell", "exec"))
        used |= read - defined - (here if hasattr(statement, "body") else set())
        defined |= here
    return used


def _globals_read(table: symtable.SymbolTable) -> set[str]:
    """Return the global names that a scope and those within it read."""
    outermost = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (outermost or s.is_global())}
    return own.union(*map(_globals_read, table.get_children()))


def names_defined(code: str) -> set[str]:
    """Return the names that code leaves behind."""
    table = symtable.symtable(code, "a cell", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def nbgrader(folder: Path) -> NbGraderAPI:
    """Return nbgrader for a course folder, configured as by the file in it."""
    # nbgrader starts another of its programs by name, which a shell without this environment would not find.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    config = PyFileConfigLoader("nbgrader_config.py", str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    api = NbGraderAPI(config=config)
    api.log_level = "ERROR"
    return api


# --- all of it -----------------------------------------------------------------------------------------------------


def make(names: Sequence[str], folder: Path) -> None:
    """Write the course for the chapters named, in place of what an earlier run wrote for them."""
    (folder / "assignments").mkdir(parents=True, exist_ok=True)
    (folder / "assignments" / "nbgrader_config.py").write_text(NBGRADER, encoding="utf-8")
    readme = README.format(repository=chapters.repository(), nbgrader=Path(sys.executable).parent / "nbgrader")
    (folder / "README.md").write_text(readme, encoding="utf-8")
    for name in tqdm(names, desc="chapters", unit="chapter"):
        for kind in ("student", "instructor"):
            write(edition(name, solutions=kind == "instructor"), folder / kind / f"{name}.ipynb")
        graded = assignment(name)
        if graded is not None:
            write(graded, folder / "assignments" / "source" / name / f"{name}.ipynb")
            release(folder / "assignments", name)


def release(folder: Path, name: str) -> None:
    """Let nbgrader make the students' version of an assignment."""
    shutil.rmtree(folder / "release" / name, ignore_errors=True)
    result = nbgrader(folder).generate_assignment(name, force=True)
    if not result["success"]:
        raise RuntimeError(f"nbgrader could not make the assignment {name}:\n{result['log']}\n{result.get('error')}")


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, and make its folder."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebooks.written(notebook), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    known = chapters.contents()
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "chapters", nargs="*", metavar="CHAPTER", help=f"names of chapters (default: all): {', '.join(known)}"
    )
    parser.add_argument("--output", type=Path, default=COURSE, metavar="FOLDER", help="default: _build/course")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.chapters if name not in known]
    if unknown:
        parser.error(f"no chapter is called {', '.join(unknown)}; there are {', '.join(known)}")
    folder = options.output.expanduser().resolve()
    make(options.chapters or known, folder)
    print(f"student and instructor editions, and assignments for nbgrader: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
