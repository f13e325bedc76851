"""What a chapter is made of: sections, questions, and exercises with their hints, checks and solutions.

The tests of the chapters, the editions for students and instructors and the assignments are made from this reading of
the notebooks, which hold everything once. An exercise is written as

    ### By code

    ::::{exercise} Count the parameters
    :label: layer-exercise-count

    How many … ?

    :::{hint}
    :class: dropdown
    Count the factors.
    :::

    ```python
    def dimensions(n, m):
        ...  # your formula


    ob.exercises.check("layer-exercise-count", dimensions)
    ```
    ::::

    ::::{solution} layer-exercise-count
    :class: dropdown

    … and at the end code that defines what is checked.
    ::::

and a question as a numbered line of bold type, followed by its choices:

    **1.** Which … ?

    <details class="choice"><summary>All of them.</summary>

    **No.** It leaves out …

    </details>
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
TIERS = ("By hand", "By code", "Open-ended")

_EXERCISE = re.compile(r"^::::\{exercise\} ([^\n]+)\n:label: (\S+)\n(.*?)^::::$", re.DOTALL | re.MULTILINE)
_SOLUTION = re.compile(r"^::::\{solution\} (\S+)\n:class: dropdown\n(.*?)^::::$", re.DOTALL | re.MULTILINE)
_HINT = re.compile(r"^:::\{hint\}\n:class: dropdown\n(.*?)^:::$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#{1,4}) (.+)$", re.MULTILINE)
_CHECK = re.compile(r"^ob\.exercises\.check\(", re.MULTILINE)
_QUESTION = re.compile(r"^\*\*(\d+)\.\*\* ", re.MULTILINE)
_CHOICE = re.compile(
    r'^<details class="choice"><summary>(.*?)</summary>\n\n(.*?)\n\n</details>$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter."""

    label: str
    title: str
    tier: str  # one of TIERS
    statement: str  # Markdown, without hint and code
    hint: str  # Markdown
    starter: str  # code to start from; empty for an exercise that is not answered by code
    check: str  # the call of its self-check, or empty
    solution: str  # Markdown, code included
    answer: str  # the solution's code


@dataclass(frozen=True)
class Question:
    """One question with several choices."""

    text: str  # Markdown
    choices: tuple[tuple[str, str], ...]  # each choice and what is said when it is opened


def pages() -> dict[str, list[str]]:
    """Return the parts of the table of contents: their captions, the first page's empty, and their pages' names."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = {part["caption"]: [Path(page["file"]).name for page in part["chapters"]] for part in toc["parts"]}
    return {"": [Path(toc["root"]).name], **parts}


def contents() -> list[str]:
    """Return the chapters' names in the book's order: of the pages that are notebooks."""
    return [name for names in pages().values() for name in names if (ROOT / "book" / f"{name}.ipynb").exists()]


def prerequisites() -> dict[str, list[str]]:
    """Return what each chapter but the first builds on, in the book's order.

    Raises
    ------
    ValueError
        If ``book/prerequisites.yml`` leaves a chapter out or names another, or one builds on nothing or a later one.
    """
    needs = yaml.safe_load((ROOT / "book" / "prerequisites.yml").read_text(encoding="utf-8"))
    first, *others = contents()
    if set(needs) != set(others):
        wrong = ", ".join(sorted(set(needs) ^ set(others)))
        raise ValueError(f"book/prerequisites.yml must name every chapter of _toc.yml after {first}; look at {wrong}")
    for i, name in enumerate(others):
        before = {first, *others[:i]}
        if not needs[name] or not before.issuperset(needs[name]):
            raise ValueError(f"book/prerequisites.yml: {name} builds on {needs[name]}; name some of {sorted(before)}")
    return {name: needs[name] for name in others}


def read(name: str) -> NotebookNode:
    """Return a chapter's notebook."""
    return nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)


def text_of(notebook: NotebookNode) -> str:
    """Return all Markdown of a notebook."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def section(text: str, title: str) -> str:
    """Return the text below a heading of the second level, up to the next; empty where there is none."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""


def title(notebook: NotebookNode) -> str:
    """Return a chapter's title."""
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def repository() -> str:
    """Return the repository's address, from the one place that defines it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def exercises(notebook: NotebookNode) -> list[Exercise]:
    """Return a chapter's exercises in their order; ValueError for one that is not written as above."""
    text = text_of(notebook)
    solutions = dict(_SOLUTION.findall(text))
    found = [_exercise(match, text[: match.start()], solutions) for match in _EXERCISE.finditer(text)]
    unclaimed = set(solutions) - {exercise.label for exercise in found}
    if unclaimed:
        raise ValueError(f"solutions without an exercise: {sorted(unclaimed)}")
    return found


def _exercise(match: re.Match[str], before: str, solutions: dict[str, str]) -> Exercise:
    """Return one exercise, given its text, what stands before it, and all solutions."""
    title, label, body = match.groups()
    if label not in solutions:
        raise ValueError(f"exercise {label} has no solution")
    hints, codes = _HINT.findall(body), _CODE.findall(body)
    if len(hints) > 1 or len(codes) > 1:
        raise ValueError(
            f"exercise {label} has {len(hints)} hints and {len(codes)} pieces of code; one of each at most"
        )
    code = codes[0] if codes else ""
    call = _CHECK.search(code)
    starter, check = (code[: call.start()], code[call.start() :]) if call else (code, "")
    headings = _HEADING.findall(before)
    return Exercise(
        label=label,
        title=title,
        tier=headings[-1][1] if headings else "",
        statement=_CODE.sub("", _HINT.sub("", body)).strip(),
        hint=hints[0].strip() if hints else "",
        starter=starter.strip(),
        check=check.strip(),
        solution=solutions[label].strip(),
        answer="\n\n".join(block.strip() for block in _CODE.findall(solutions[label])),
    )


@dataclass(frozen=True)
class Place:
    """Where an exercise stands in a chapter's text."""

    label: str


def parts(text: str) -> Iterator[str | Place]:
    """Yield a cell's text in pieces, each exercise as its place, and no solutions."""
    text = _SOLUTION.sub("", text)
    end = 0
    for match in _EXERCISE.finditer(text):
        yield text[end : match.start()]
        yield Place(match[2])
        end = match.end()
    yield text[end:]


def text_and_code(solution: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a solution: text, and the code that follows it; either may be empty."""
    pieces = _CODE.split(solution)  # text, code, text, code, …, text
    for text, code in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        yield text.strip(), code.strip()


def questions(notebook: NotebookNode) -> list[Question]:
    """Return a chapter's questions."""
    text = section(text_of(notebook), "Questions")
    starts = [match.start() for match in _QUESTION.finditer(text)]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [
        Question(_QUESTION.sub("", part.partition("<details")[0]).strip(), tuple(_CHOICE.findall(part)))
        for part in parts
    ]


def solution_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return cells that run the code of all solutions and demand, after each, that the exercise's self-check passes."""
    return [nbformat.v4.new_code_cell(f"# {label}\n{code}") for label, code in _solutions_and_checks(notebook)]


def _solutions_and_checks(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """Yield the label and the code of each cell."""
    for exercise in exercises(notebook):
        for block in _CODE.findall(exercise.solution):
            yield exercise.label, block
        if exercise.check:
            yield exercise.label, f"_verdict = {exercise.check}\nassert _verdict, _verdict\n"
