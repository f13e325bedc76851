"""What the self-checks of all chapters share: how they are registered, how an answer is read, what is said of it."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class SelfCheck:
    """The self-check of an exercise: it holds the typical wrong answers, each with what is said of it."""

    asks: tuple[str, ...]  # the names of what the exercise asks for
    run: Callable[..., None]  # takes the answer, raises NotYet for a wrong one
    wrong: Mapping[str, tuple[Any, ...]]  # words of what is said → answer
    right: Callable[..., Any] | None = None  # the function with which an answer is compared, where there is one


CHECKS: dict[str, SelfCheck] = {}


class NotYet(Exception):
    """An answer is not right yet; the message says what is wrong with it, to the student."""


@dataclass(frozen=True)
class Verdict:
    """What a self-check says of an answer: true if it is right, and shown as a sentence."""

    exercise: str  # the exercise's label
    fault: str  # what is wrong; empty for a right answer

    def __bool__(self) -> bool:
        return not self.fault

    def __repr__(self) -> str:
        return f"Not yet: {self.fault}." if self.fault else "Right."


def self_check(label: str, wrong: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of an answer as the self-check of an exercise; it raises :class:`NotYet` for a wrong one.

    Parameters
    ----------
    label
        The exercise's label.
    wrong
        Words of everything that the function says, with an answer of which it says this; a tuple is an answer of
        several things.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        answers = {said: answer if isinstance(answer, tuple) else (answer,) for said, answer in wrong.items()}
        _register(label, SelfCheck(tuple(inspect.signature(function).parameters), function, answers))
        return function

    return register


def comparison(
    label: str,
    cases: Iterable[tuple[Any, ...]] | Callable[[], Iterable[tuple[Any, ...]]],
    wrong: Mapping[str, Callable[..., Any] | dict[str, Any]],
    *,
    read: Callable[..., Tensor | float] | None = None,
    at: Callable[..., str] | None = None,
    otherwise: Callable[..., str] = lambda found, right, *case: "",
    further: Mapping[str, Callable[..., Any]] | None = None,
    within: float = 1e-4,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the right answer of an exercise, and compare a student's function with it.

    An answer that differs is compared with the wrong ones: what is said is where it was found, and the first mistake
    that gives the same. A student's function is given float32 tensors in the default type; right and wrong are computed
    in float64.

    Parameters
    ----------
    label
        The exercise's label. What it asks for has the name of the right function.
    cases
        Arguments, or a function that makes them.
    wrong
        What is said of each mistake, with the function that makes it, or the options with which the right one does.
    read
        Takes what was returned and the case, and returns a number or a tensor; a number is read if it is left out.
    at
        Takes what was found and the case, and returns what comes before the mistake.
    otherwise
        Takes what was found, what is right and the case, and returns what is said where no mistake fits.
    further
        Words of what ``read`` and ``otherwise`` say, with wrong answers of which they say it.
    within
        How near is equal, see :func:`near`.
    """

    def register(right: Callable[..., Any]) -> Callable[..., Any]:
        name = right.__name__
        mistakes = {
            fault: functools.partial(right, **how) if isinstance(how, dict) else how for fault, how in wrong.items()
        }

        def run(answer: object) -> None:
            answer = function(name, answer)
            for case in cases() if callable(cases) else cases:
                given = [_each_tensor(_in_default_type, value) for value in case]
                value = answer(*(_each_tensor(Tensor.clone, value) for value in given))
                found = read(value, *given) if read else number(_call(name, given), value)
                exact = [_each_tensor(Tensor.double, value) for value in given]
                expected = right(*exact)
                if near(found, expected, within):
                    continue
                where = at(found, *given) if at else ""
                for fault, mistake in mistakes.items():
                    require(not near(found, mistake(*exact), within), _joined(where, fault))
                raise NotYet(_joined(where, otherwise(found, expected, *given)))

        answers = {said: (answer,) for said, answer in {**mistakes, **(further or {})}.items()}
        _register(label, SelfCheck((name,), run, answers, right))
        return right

    return register


def _register(label: str, check: SelfCheck) -> None:
    """Register the one self-check of an exercise."""
    if label in CHECKS:
        raise ValueError(f"exercise {label!r} has a self-check already")
    CHECKS[label] = check


def _each_tensor(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Change an argument that is a tensor or a list of tensors, and leave others as they are."""
    if isinstance(value, list):
        return [_each_tensor(change, entry) for entry in value]
    return change(value) if isinstance(value, Tensor) else value


def _in_default_type(given: Tensor) -> Tensor:
    """Return a tensor in the default type, or in float64 if it is given so."""
    return given.to(torch.get_default_dtype()) if given.dtype == torch.float32 else given


def _call(name: str, given: Iterable[object]) -> str:
    """Return how a function was called, for what is said."""
    shown = ", ".join(f"{value:g}" if isinstance(value, Real) else "…" for value in given)
    return f"{name}({shown})"


def _joined(where: str, fault: str) -> str:
    """Join where an answer is wrong and how."""
    return where + fault if not where or fault[:1] in {"", " ", ",", ";"} else f"{where}: {fault}"


def labels() -> list[str]:
    """Return the labels of all exercises that have a self-check."""
    return sorted(CHECKS)


def check(label: str, /, *answer: Any) -> Verdict:
    """Check an answer to an exercise of the book, and say what is wrong with it.

    Parameters
    ----------
    label
        The exercise's label, as its last line of code gives it.
    *answer
        What the exercise asks for: numbers, tensors or a function. A function's own errors are not caught.

    Returns
    -------
    Verdict
        True if the answer is right; shown as a sentence that says what is wrong with it otherwise.

    Raises
    ------
    ValueError
        If there is no such exercise.
    TypeError
        If the exercise asks for another number of things.

    Examples
    --------
    >>> from orthobook import exercises
    >>> exercises.check("layer-exercise-count", lambda n, m: 2 * n * m)
    Not yet: ...
    """
    if label not in CHECKS:
        near = difflib.get_close_matches(str(label), CHECKS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; orthobook.teaching.exercises.labels() lists them"
        raise ValueError(f"no exercise {label!r} has a self-check{hint}")
    wanted = CHECKS[label].asks
    if len(answer) != len(wanted):
        raise TypeError(
            f"{label} checks {', '.join(wanted)}: give {len(wanted)} values after the label, not {len(answer)}"
        )
    try:
        for name, value in zip(wanted, answer, strict=True):
            require(value is not Ellipsis and value is not None, f"{name} is still open: put your answer in its place")
        CHECKS[label].run(*answer)
    except NotYet as fault:
        return Verdict(label, str(fault).rstrip("."))
    return Verdict(label, "")


def require(condition: object, fault: str) -> None:
    """Raise :class:`NotYet` with what is wrong unless a condition holds."""
    if not condition:
        raise NotYet(fault)


def number(name: str, value: object) -> float:
    """Return one number of an answer, given as such or as a tensor or array of one entry."""
    if isinstance(value, Tensor) or type(value).__module__ == "numpy":
        value = torch.as_tensor(value).detach()
        require(value.numel() == 1, f"{name} has the shape {tuple(value.shape)}; one number is needed")
        value = value.item()
    require(isinstance(value, Real) and not isinstance(value, bool), f"{name} is {_shown(value)}; a number is needed")
    try:
        found = float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number of more than 308 digits
        raise NotYet(f"{name} is too large for a number of double precision") from None
    require(math.isfinite(found), f"{name} is {value}; a finite number is needed")
    return found


def whole(name: str, value: object) -> int:
    """Return one whole number of an answer."""
    found = number(name, value)
    require(found == int(found), f"{name} is {found:g}; a whole number is needed")
    return int(found)


def tensor(name: str, value: object, *shape: int | None) -> Tensor:
    """Return an answer's tensor in float64 on the CPU; None in ``shape`` stands for any size."""
    try:
        found = torch.as_tensor(value).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"{name} is {_shown(value)}; a tensor is needed") from None
    fits = found.ndim == len(shape) and all(s in (None, t) for s, t in zip(shape, found.shape, strict=True))
    wanted = ", ".join("any" if size is None else str(size) for size in shape)
    require(fits, f"{name} has the shape {tuple(found.shape)}; ({wanted}{',' if len(shape) == 1 else ''}) is needed")
    require(found.isfinite().all(), f"{name} has entries that are not finite")
    return found


def function(name: str, value: object) -> Callable[..., Any]:
    """Return an answer's function."""
    require(callable(value), f"{name} is {_shown(value)}; a function is needed")
    return value  # type: ignore[return-value]


def near(found: Tensor | float, expected: Tensor | float, within: float = 1e-4) -> bool:
    """Say whether all of an answer is as expected, relative to the largest that is expected, or to 1."""
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    largest = max(1.0, expected.abs().max().item())
    return bool(((found - expected).abs() <= within * largest).all())


def truth(name: str, value: object) -> bool:
    """Return an answer's yes or no."""
    if (isinstance(value, Tensor) and value.numel() == 1) or type(value).__module__ == "numpy":
        value = bool(value)
    require(isinstance(value, bool), f"{name} is {_shown(value)}; True or False is needed")
    return bool(value)


def _shown(value: object) -> str:
    """Return a short text for a value that is not of the kind that is needed."""
    text = "None" if value is None else f"{value!r}"
    return text if len(text) <= 40 else f"of type {type(value).__name__}"
