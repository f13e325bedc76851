"""The self-checks of the exercises: right answers pass, typical wrong ones are told what is wrong with them."""

import re

import exercise_answers
import pytest
import torch
from exercise_answers import RIGHT, WRONG

from orthobook.teaching import exercises
from orthobook.teaching.exercises import _self_checks as self_checks

exercise_answers.load()


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"], autouse=True)
def default_dtype(request):
    """Chapters differ in the type in which they compute."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("label", exercises.labels())
def test_right_answers_pass(label):
    assert RIGHT[label], f"{label} has no right answer among tests/exercise_answers"
    for answer in RIGHT[label]:
        verdict = exercises.check(label, *answer)
        assert verdict, verdict
        assert repr(verdict) == "Right."


@pytest.mark.parametrize("label", exercises.labels())
def test_typical_wrong_answers_are_told_what_is_wrong(label):
    assert len(WRONG[label]) >= 3, f"{label} has {len(WRONG[label])} wrong answers among tests/exercise_answers"
    said = set()
    for words, answer in WRONG[label]:
        verdict = exercises.check(label, *answer)
        assert not verdict, f"{words}: {answer}"
        assert words in repr(verdict)
        said.add(verdict.fault)
    assert len(said) >= 3, f"{label} says only {said}"


def test_answers_belong_to_exercises():
    assert set(RIGHT) | set(WRONG) <= set(exercises.labels())


@pytest.mark.parametrize("nothing", [..., None])
def test_an_open_answer_is_said_to_be_open(nothing):
    verdict = exercises.check("layer-exercise-count", nothing)
    assert not verdict
    assert repr(verdict) == "Not yet: dimensions is still open: put your answer in its place."


def test_a_wrong_label_is_named_with_the_one_that_was_meant():
    with pytest.raises(ValueError, match=re.escape("did you mean 'layer-exercise-count'?")):
        exercises.check("layer-exercise-cuont", 1)
    with pytest.raises(ValueError, match=r"no exercise 7 .*labels\(\) lists them"):
        exercises.check(7, 1)


def test_another_number_of_answers_is_an_error():
    with pytest.raises(TypeError, match="layer-exercise-count checks dimensions: give 1 values after the label, not 2"):
        exercises.check("layer-exercise-count", 1, 2)


def test_errors_of_a_students_function_are_shown_as_they_are():
    with pytest.raises(ZeroDivisionError):
        exercises.check("layer-exercise-count", lambda n, m: 1 / 0)


def test_a_label_has_one_check():
    with pytest.raises(ValueError, match="'layer-exercise-count' has a self-check already"):
        self_checks.self_check("layer-exercise-count")(print)


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (self_checks.number, "2", "x is '2'; a number is needed"),
        (self_checks.number, True, "x is True; a number is needed"),
        (self_checks.number, torch.ones(2), "x has the shape (2,); one number is needed"),
        (self_checks.number, float("nan"), "x is nan; a finite number is needed"),
        (self_checks.whole, 1.5, "x is 1.5; a whole number is needed"),
        (self_checks.function, 1, "x is 1; a function is needed"),
        (self_checks.truth, 1, "x is 1; True or False is needed"),
    ],
)
def test_values_of_another_kind_are_named(read, value, words):
    with pytest.raises(exercises.NotYet, match=re.escape(words)):
        read("x", value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("two", "x is 'two'; a tensor is needed"),
        (torch.ones(3), "x has the shape (3,); (2, any) is needed"),
        (torch.ones(3, 2), "x has the shape (3, 2); (2, any) is needed"),
        (torch.full((2, 1), torch.inf), "x has entries that are not finite"),
    ],
)
def test_tensors_of_another_shape_are_named(value, words):
    with pytest.raises(exercises.NotYet, match=re.escape(words)):
        self_checks.tensor("x", value, 2, None)


@pytest.mark.parametrize(
    "value", [2, 2.0, torch.tensor(2), torch.tensor([2.0]).numpy(), torch.ones(1, requires_grad=True) * 2]
)
def test_numbers_are_read_in_any_form(value):
    assert self_checks.number("x", value) == 2.0
    assert self_checks.whole("x", value) == 2


def test_near_is_relative_to_what_is_expected():
    assert self_checks.near(1000.05, 1000.0)
    assert not self_checks.near(0.05, 0.0)
    assert not self_checks.near(torch.tensor([1.0, float("nan")]), torch.ones(2))
