"""The self-checks of the exercises: right answers pass, typical wrong ones are told what is wrong with them."""

import ast
import re
import traceback
from pathlib import Path

import pytest
import torch
from exercise_answers import RIGHT

import orthobook as ob
from orthobook.teaching import exercises
from orthobook.teaching.exercises import _self_checks as self_checks
from orthobook.teaching.exercises import nearly_orthogonal
from orthobook.teaching.exercises._self_checks import CHECKS

FILES = sorted(path for path in Path(exercises.__file__).parent.glob("*.py") if not path.name.startswith("_"))
COMPARISONS = [label for label, check in CHECKS.items() if check.right]


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"], autouse=True)
def default_dtype(request):
    """Chapters differ in the type in which they compute."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


def test_every_exercise_has_an_independent_right_answer():
    assert set(RIGHT) == set(exercises.labels())


@pytest.mark.parametrize("label", exercises.labels())
def test_right_answers_pass(label):
    verdict = exercises.check(label, *RIGHT[label])
    assert verdict, verdict
    assert repr(verdict) == "Right."


@pytest.mark.parametrize("label", COMPARISONS)
def test_the_function_with_which_answers_are_compared_passes(label):
    assert exercises.check(label, CHECKS[label].right)


@pytest.mark.parametrize(("label", "said"), [(label, said) for label, check in CHECKS.items() for said in check.wrong])
def test_each_wrong_answer_is_told_what_is_wrong(label, said):
    verdict = exercises.check(label, *CHECKS[label].wrong[said])
    assert not verdict
    assert said in verdict.fault


@pytest.mark.parametrize("label", COMPARISONS)
def test_an_answer_that_no_mistake_gives_is_still_wrong(label):
    def off(*case):
        right = CHECKS[label].right(*case)
        return tuple(2 * x + 3 for x in right) if isinstance(right, tuple) else 2 * right + 3

    assert [frame.name for frame in refusal(CHECKS[label], (off,))][-2:] != ["run", "require"]  # as for a mistake


@pytest.mark.parametrize("label", COMPARISONS)
def test_an_answer_of_another_shape_is_told_so(label):
    def stacked(*case):
        right = CHECKS[label].right(*case)
        return torch.stack([torch.as_tensor(right)] * 7)

    assert re.search("shape|return|numbers", exercises.check(label, stacked).fault)


@pytest.mark.parametrize("label", [label for label, answer in RIGHT.items() if callable(answer[0])])
def test_a_function_that_returns_nothing_is_told_so(label):
    assert not exercises.check(label, lambda *_: None)


def test_an_exercise_knows_three_mistakes_or_more():
    assert [label for label, check in CHECKS.items() if len(check.wrong) < 3] == []


@pytest.mark.parametrize("default_dtype", [torch.float32], indirect=True)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_everything_that_a_check_says_is_said_of_a_wrong_answer(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    saying = {call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "require"}
    said = set()
    for check in CHECKS.values():
        if check.run.__module__.endswith(path.stem) or (check.right and check.right.__module__.endswith(path.stem)):
            for answer in check.wrong.values():
                said |= {frame.lineno for frame in refusal(check, answer) if frame.filename == str(path)}
    assert sorted(saying - said) == []


def refusal(check, answer):
    """Return the calls that were under way when an answer was refused."""
    with pytest.raises(exercises.NotYet) as fault:
        check.run(*answer)
    return traceback.extract_tb(fault.value.__traceback__)


def test_the_mean_logarithm_from_states_is_that_of_the_singular_values(generator):
    net = ob.build("smooth-fold", depth=5, width=12, inputs=12, classes=2, threshold=0.5, epsilon=0.2).double()
    x = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        states = [state.clone() for state in net.states(x)]
    right = ob.singular_values(net, x).log().mean(dim=1)
    assert (nearly_orthogonal.mean_log(states, 0.5, 0.2) - right).abs().max() < 1e-9


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
        self_checks.self_check("layer-exercise-count", {})(lambda answer: None)


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
