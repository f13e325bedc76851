"""Every chapter has the parts that readers, students and teachers look for; what is missing is named."""

import itertools
import re

import chapters
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from orthobook.teaching import exercises as self_checks

TEMPLATE = "_template/chapter"  # to start a new one from; it must pass what it is to teach
BOOK = {name: chapters.read(name) for name in [*chapters.contents(), TEMPLATE]}
every_chapter = pytest.mark.parametrize("name", BOOK)


def cells(name, kind):
    return [cell for cell in BOOK[name].cells if cell.cell_type == kind]


@every_chapter
def test_it_opens_with_a_promise_and_objectives(name):
    first = BOOK[name].cells[0].source
    assert first.startswith("# ")
    objectives = first.partition("You will be able to\n")[2]
    assert len(re.findall(r"^- ", objectives, re.MULTILINE)) >= 3, (
        "name at least three things that one will be able to do"
    )


@every_chapter
def test_a_figure_worth_touching_comes_before_the_first_section(name):
    before = []
    for cell in BOOK[name].cells:
        if re.search(r"^## ", cell.source, re.MULTILINE):
            break
        before.append(cell)
    assert any(cell.id == "hook" for cell in before)


@every_chapter
def test_it_checks_itself(name):
    assert any(cell.source.startswith("# NBVAL_CHECK_OUTPUT") for cell in cells(name, "code"))


@every_chapter
def test_it_has_exercises_in_three_tiers_with_hints_and_solutions(name):
    exercises = chapters.exercises(BOOK[name])
    assert list(dict.fromkeys(exercise.tier for exercise in exercises)) == list(chapters.TIERS)
    assert [exercise.label for exercise in exercises if not exercise.hint] == []
    assert [exercise.label for exercise in exercises if len(exercise.solution) < 80] == []
    assert [exercise.label for exercise in exercises if len(exercise.statement) < 80] == []


@every_chapter
def test_its_exercises_by_code_have_a_start_and_a_self_check(name):
    found = [exercise for exercise in chapters.exercises(BOOK[name]) if exercise.tier == "By code"]
    for exercise in found:
        assert exercise.starter, exercise.label
        assert "..." in exercise.starter, f"{exercise.label}: the start leaves nothing open"
        assert exercise.check.startswith(f'ob.exercises.check("{exercise.label}", '), exercise.label
        assert exercise.answer, f"{exercise.label} has no code in its solution"
        compile(f"{exercise.starter}\n{exercise.check}", exercise.label, "exec")


def test_self_checks_and_exercises_by_code_are_the_same():
    found = [e.label for notebook in BOOK.values() for e in chapters.exercises(notebook) if e.check]
    assert sorted(found) == self_checks.labels()


@every_chapter
def test_it_asks_two_or_three_questions_with_an_answer_to_every_choice(name):
    questions = chapters.questions(BOOK[name])
    assert 2 <= len(questions) <= 3
    assert chapters.section(chapters.text_of(BOOK[name]), "Questions").count("<details") == sum(
        len(question.choices) for question in questions
    ), "a choice is not written as it should be"
    for question in questions:
        assert len(question.choices) >= 3, question.text
        verdicts = [said.partition(" ")[0] for _, said in question.choices]
        assert set(verdicts) <= {"**Right.**", "**No.**"}, question.text
        assert verdicts.count("**Right.**") == 1, question.text
        assert all(len(said) > 60 for _, said in question.choices), question.text
        assert not any("$" in choice for choice, _ in question.choices), "formulas are not set in a line that opens"


def test_the_right_choice_is_not_always_in_the_same_place():
    places = [
        [said.startswith("**Right.**") for _, said in question.choices].index(True)
        for notebook in BOOK.values()
        for question in chapters.questions(notebook)
    ]
    assert max(places.count(place) for place in set(places)) < 0.6 * len(places)


@every_chapter
def test_it_ends_with_what_to_remember_and_where_to_read_on(name):
    text = chapters.text_of(BOOK[name])
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert titles[-4:] == ["Questions", "Exercises", "What to remember", "Further reading"]
    assert len(re.findall(r"^- ", chapters.section(text, "What to remember"), re.MULTILINE)) >= 3
    further = chapters.section(text, "Further reading")
    assert len(re.findall(r"^- ", further, re.MULTILINE)) >= 2
    assert re.search(r"\{cite:[tp]\}", further)


@every_chapter
def test_headings_go_down_one_level_at_a_time(name):
    levels = [len(marks) for marks, _ in re.findall(r"^(#+) (.+)$", chapters.text_of(BOOK[name]), re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))


def exercise(*, tier="By code", solution="first", hints=1):
    hint = ":::{hint}\n:class: dropdown\nThink.\n:::\n" * hints
    code = '```python\nx = ...\n\n\nob.exercises.check("first", x)\n```\n'
    statement = (
        f"## Exercises\n\n### {tier}\n\n::::{{exercise}} The first\n:label: first\n\nHow?\n\n{hint}\n{code}::::\n"
    )
    solved = f"\n::::{{solution}} {solution}\n:class: dropdown\n\nSo.\n\n```python\nx = 1\n```\n::::\n"
    return new_notebook(cells=[new_markdown_cell(statement), new_markdown_cell(solved)])


def test_an_exercise_is_read_in_its_parts():
    (found,) = chapters.exercises(exercise())
    assert (found.label, found.title, found.tier) == ("first", "The first", "By code")
    assert (found.statement, found.hint) == ("How?", "Think.")
    assert (found.starter, found.check) == ("x = ...", 'ob.exercises.check("first", x)')
    assert (found.solution, found.answer) == ("So.\n\n```python\nx = 1\n```", "x = 1")


def test_exercises_that_lack_something_are_found():
    with pytest.raises(ValueError, match="exercise first has no solution"):
        chapters.exercises(exercise(solution="second"))
    with pytest.raises(ValueError, match="exercise first has 2 hints"):
        chapters.exercises(exercise(hints=2))
    alone = exercise()
    alone.cells = alone.cells[1:]
    with pytest.raises(ValueError, match=r"solutions without an exercise: \['first'\]"):
        chapters.exercises(alone)


def test_a_solution_is_run_and_then_checked():
    assert [cell.source for cell in chapters.solution_cells(exercise())] == [
        "# first\nx = 1\n",
        '# first\n_verdict = ob.exercises.check("first", x)\nassert _verdict, _verdict\n',
    ]


def test_questions_are_read_with_their_choices():
    choice = '<details class="choice"><summary>{}</summary>\n\n{}\n\n</details>\n'
    text = "## Questions\n\n**1.** Why?\n\n" + choice.format("So.", "**No.** For $x$.") + "\n**2.** How?\n\n## Next"
    first, second = chapters.questions(new_notebook(cells=[new_markdown_cell(text)]))
    assert (first.text, first.choices) == ("Why?", (("So.", "**No.** For $x$."),))
    assert (second.text, second.choices) == ("How?", ())
