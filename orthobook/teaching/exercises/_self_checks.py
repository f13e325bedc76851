"""What the self-checks of all chapters share: how they are registered, how an answer is read, what is said of it."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

_CHECKS: dict[str, Callable[..., None]] = {}


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


def self_check(label: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of an answer as the self-check of an exercise; it raises :class:`NotYet` for a wrong one."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        if label in _CHECKS:
            raise ValueError(f"exercise {label!r} has a self-check already")
        _CHECKS[label] = function
        return function

    return register


def labels() -> list[str]:
    """Return the labels of all exercises that have a self-check."""
    return sorted(_CHECKS)


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
    if label not in _CHECKS:
        near = difflib.get_close_matches(str(label), _CHECKS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; orthobook.teaching.exercises.labels() lists them"
        raise ValueError(f"no exercise {label!r} has a self-check{hint}")
    wanted = inspect.signature(_CHECKS[label]).parameters
    if len(answer) != len(wanted):
        raise TypeError(
            f"{label} checks {', '.join(wanted)}: give {len(wanted)} values after the label, not {len(answer)}"
        )
    try:
        for name, value in zip(wanted, answer, strict=True):
            require(value is not Ellipsis and value is not None, f"{name} is still open: put your answer in its place")
        _CHECKS[label](*answer)
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
    require(math.isfinite(value), f"{name} is {value}; a finite number is needed")  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


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
