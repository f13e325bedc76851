"""What a course hands out: editions in plain Markdown, and an assignment that grades right, empty and wrong answers."""

import ast
import re
import shutil

import chapters
import make_course
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from plain_markdown import folded, plain, references

CHAPTERS = chapters.contents()
ASSIGNED = "one-layer"

WRONG = {
    "layer-exercise-sort": "def sort_pairs(x):\n    return x.flip(1)",
    "layer-exercise-count": "def dimensions(n, m):\n    return n * m",
    "layer-exercise-recover": "def factors(A, B, C, slopes):\n    return A, B, C, slopes",
}


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", CHAPTERS)
def test_editions_differ_by_the_solutions(name):
    student, instructor = (make_course.edition(name, solutions=solutions) for solutions in (False, True))
    nbformat.validate(student)
    nbformat.validate(instructor)
    exercises = chapters.exercises(chapters.read(name))
    code = {
        kind: [cell.source for cell in book.cells if cell.cell_type == "code"]
        for kind, book in {"student": student, "instructor": instructor}.items()
    }
    for exercise in exercises:
        asked = f"**{references().names[exercise.label]}: {exercise.title}**"
        assert asked in markdown(student)
        assert asked in markdown(instructor)
        assert f"**Solution of {references().names[exercise.label]}.**" in markdown(instructor)
        assert not exercise.check or {exercise.starter, exercise.check} <= set(code["student"])
        for text, block in chapters.text_and_code(exercise.solution):
            assert block not in code["student"] or not block
            assert not text or plain(text) not in markdown(student)
            assert not block or block in code["instructor"]
    assert markdown(student).count("*Your answer:*") == sum(not exercise.check for exercise in exercises)


@pytest.mark.parametrize("name", CHAPTERS)
def test_editions_are_plain_markdown(name):
    text = markdown(make_course.edition(name, solutions=True))
    assert not re.search(r"^:::|\{[a-z:]+\}`|^\$\$ \(", text, re.MULTILINE)
    assert text.count("<details>") == text.count("</details>") - text.count('<details class="choice">')


@pytest.mark.parametrize("name", CHAPTERS)
def test_links_within_an_edition_lead_to_its_headings(name):
    text = markdown(make_course.edition(name, solutions=True))
    headings = {heading.replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= headings


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_grader_s_cells_define_no_name_of_the_assignment(name):
    cells = [cell for cell in make_course.assignment(name).cells if cell.cell_type == "code"]
    tests = {cell.metadata.get("nbgrader", {}).get("grade", False): set() for cell in cells}
    for cell in cells:
        if "%pip" not in cell.source:
            tests[cell.metadata.get("nbgrader", {}).get("grade", False)] |= make_course.names_defined(cell.source)
    assert tests[True] == {"_exercises", "_name", "_sys", "_verdict"}
    assert not tests[True] & tests[False]


@pytest.mark.parametrize("name", CHAPTERS)
def test_assignments_define_all_names_that_their_solutions_use(name):
    notebook = make_course.assignment(name)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code" and "%pip" not in cell.source)
    assert make_course.names_used(code) == set()


def test_only_the_code_that_is_needed_is_kept():
    cells = ["import sys", "import torch", "x = 1", "y = 2", "def f():\n    return x", "x = 3", "print(y)"]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])

    def kept(answer):
        exercise = chapters.Exercise("l", "t", "By code", "s", "h", "", "", "", answer)
        return make_course.needed_code(notebook, [exercise])

    assert kept("a = 1") == ["import sys", "import torch"]
    assert kept("a = f()") == ["import sys", "import torch", "x = 1", "def f():\n    return x"]
    assert kept("a = y") == ["import sys", "import torch", "y = 2"]
    assert kept("y = 4\na = y") == ["import sys", "import torch"]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("a = b + c", {"b", "c"}),
        ("x = x + 1", {"x"}),
        ("b = 1\na = b", set()),
        ("for i in r:\n    s = i\n    t = s", {"r"}),
        ("def f(x):\n    y = x + z\n    return len(y)", {"z"}),
        ("a = [i + k for i in r]", {"k", "r"}),
        ("import torch.nn as nn\na = nn.ReLU()", set()),
        ("a = (lambda x: x + y)(1)", {"y"}),
    ],
)
def test_names_that_code_takes_from_cells_before_it(code, names):
    assert make_course.names_used(code) == names
    ast.parse(code)


def test_plain_markdown_has_the_books_words_and_numbers():
    label = r"thm-layer-orthogonal"
    assert plain(f"By {{prf:ref}}`{label}` and {{eq}}`eq-layer-layer`") == "By Theorem 3.1 and (3.1)"
    assert plain("the {term}`singular values <singular value>`, {term}`width`") == "the singular values, width"
    assert plain("{cite:t}`he2016`") == "[He et al. (2016)](https://arxiv.org/abs/1512.03385)"
    assert plain("x {cite:p}`chernodub2016,he2016`").startswith("x ([Chernodub and Nowicki, 2016](")
    assert plain("$$\nx\n$$ (eq-layer-layer)") == "$$\nx\n\\tag{3.1}\n$$"
    table = ":::{list-table}\n:header-rows: 1\n\n* - A\n  - B\n* - c\n  - |d| $|e|$\n    f\n:::"
    assert plain(table) == "| A | B |\n| --- | --- |\n| c | \\|d\\| $\\vert e\\vert $ f |"
    statement = f":::{{prf:theorem}} T\n:label: {label}\n\nS.\n:::\n\n:::{{prf:proof}}\nP.\n:::"
    assert plain(statement) == "**Theorem 3.1 (T).** S.\n\n*Proof.* P. ∎"
    assert plain("[n](notation.md#a)") == f"[n]({chapters.repository()}/blob/main/book/notation.md#a)"
    assert plain("`ob.build`") == "`ob.build`"
    assert folded("Hint", "H") == "<details><summary>Hint</summary>\n\nH\n\n</details>"


@pytest.mark.parametrize("text", [":::{note}\nx\n:::", "{doc}`x`", ":::{prf:axiom}\nx\n:::"])
def test_what_has_no_plain_form_is_named(text):
    with pytest.raises(ValueError, match="no plain form for"):
        plain(text)


CHEAT = """

from orthobook.teaching.exercises import _self_checks
ob.exercises.check = _self_checks.check = lambda *answer: True
_self_checks.require = lambda condition, fault: None
_verdict = True
"""


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Three students hand in an assignment: right, not answered, wrong with an attempt to overwrite the checks."""
    folder = tmp_path_factory.mktemp("course")
    make_course.make([ASSIGNED], folder)
    course = folder / "assignments"
    source, released = (course / kind / ASSIGNED / f"{ASSIGNED}.ipynb" for kind in ("source", "release"))
    for student in ("right", "empty", "wrong"):
        handed_in = course / "submitted" / student / ASSIGNED / f"{ASSIGNED}.ipynb"
        handed_in.parent.mkdir(parents=True)
        if student == "right":
            notebook = nbformat.read(released, as_version=4)
            solved = {cell.id: cell.source for cell in nbformat.read(source, as_version=4).cells}
            for cell in notebook.cells:
                cell.source = solved[cell.id]
            nbformat.write(notebook, handed_in)
        else:
            shutil.copyfile(released, handed_in)
    notebook = nbformat.read(course / "submitted" / "wrong" / ASSIGNED / f"{ASSIGNED}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = WRONG.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source += CHEAT
    nbformat.write(notebook, course / "submitted" / "wrong" / ASSIGNED / f"{ASSIGNED}.ipynb")
    return course


def test_what_is_released_has_no_solution(graded):
    released = nbformat.read(graded / "release" / ASSIGNED / f"{ASSIGNED}.ipynb", as_version=4)
    exercises = [e for e in chapters.exercises(chapters.read(ASSIGNED)) if e.check]
    answers = {c.metadata.nbgrader.grade_id: c.source.strip() for c in released.cells if "nbgrader" in c.metadata}
    for exercise in exercises:
        assert answers[exercise.label] == exercise.starter
        assert exercise.check.replace("ob.", "_") in answers[f"{exercise.label}-check"]
    assert "SOLUTION" not in "".join(cell.source for cell in released.cells)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own use of its gradebook
@pytest.mark.parametrize(("student", "points"), [("right", 3), ("empty", 0), ("wrong", 0)])
def test_nbgrader_gives_the_points_that_are_due(graded, student, points):
    nbgrader = make_course.nbgrader(graded)
    result = nbgrader.autograde(ASSIGNED, student)
    assert result["success"], result["log"]
    submission = nbgrader.get_submission(ASSIGNED, student)
    assert (submission["score"], submission["max_score"]) == (points, 3)
    assert not submission["needs_manual_grade"]


def test_a_wrong_chapter_is_named(capsys):
    with pytest.raises(SystemExit):
        make_course.main(["one-layre"])
    assert "no chapter is called one-layre; there are intro, " in capsys.readouterr().err


def test_the_command_writes_what_it_says(tmp_path, capsys):
    assert make_course.main(["intro", "--output", str(tmp_path)]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "README.md",
        "student/intro.ipynb",
        "instructor/intro.ipynb",
        "assignments/nbgrader_config.py",
        "assignments/source/intro/intro.ipynb",
        "assignments/release/intro/intro.ipynb",
    } <= written
