"""Self-checks of the chapter "Evidence"."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, truth


def _largest(count: int) -> float:
    """Return the expected largest of a number of standard normal numbers, by integrating x dΦ(x)ⁿ."""
    x = torch.linspace(-8.0, 8.0, 16_001, dtype=torch.float64)
    law = torch.special.ndtr(x) ** count
    return float((x[1:] + x[:-1]).mul(law.diff()).sum() / 2)


_SEEN = 10_000
_DEVIATION = 100 * math.sqrt(0.85 * 0.15 / _SEEN)  # of one network, in points
_POINTS = _largest(100) * _DEVIATION
_IMAGES = _SEEN * (_POINTS / 0.1) ** 2

_WRONG_POINTS = {
    "points is a share; one point is a hundredth": _POINTS / 100,
    "points: that is for the best of six": _largest(6) * _DEVIATION,
    "points: √(2 ln 100) is where the largest of very many goes; for 100 it is still well below": _DEVIATION
    * math.sqrt(2 * math.log(100)),
    "points: that is the largest of 100 normal numbers; one of them counts s": _largest(100),
    "points: that is s, the deviation of one network; the best of 100 is expected further out": _DEVIATION,
    "points: the best of many gains no factor √100, most of them are worse": 10 * _DEVIATION,
}
_WRONG_IMAGES = {
    "images: the flattery falls as 1/√N, so N grows with the square": _SEEN * _POINTS / 0.1,
    "images: that makes it a tenth of what it is; a tenth of a point is asked for": 100 * _SEEN,
    "images: for a tenth of a point of flattery, not for s to be a tenth of a point": _SEEN * (_DEVIATION / 0.1) ** 2,
    "images: fewer images flatter more, not less": _SEEN / (_POINTS / 0.1) ** 2,
}


@self_check(
    "evidence-exercise-flattery",
    wrong={fault: (value, _IMAGES) for fault, value in _WRONG_POINTS.items()}
    | {fault: (_POINTS, value) for fault, value in _WRONG_IMAGES.items()}
    | {
        "draw 100 normal numbers often enough": (2 * _POINTS, _IMAGES),
        "images = 2,000,000, where s would be 0.0252 points": (_POINTS, 2_000_000),
        "where s would be no number": (_POINTS, -1),
    },
)
def _flattery(points: object, images: object) -> None:
    flattery, wanted = number("points", points), number("images", images)
    for fault, value in _WRONG_POINTS.items():
        require(not near(flattery / value, 1.0, 0.02), fault)
    require(near(flattery / _POINTS, 1.0, 0.02), f"points = {flattery:.4g}; draw 100 normal numbers often enough")
    for fault, value in _WRONG_IMAGES.items():
        require(not near(wanted / value, 1.0, 0.03), fault)
    require(near(wanted / _IMAGES, 1.0, 0.04), f"images = {wanted:,.0f}, where s would be {_deviation(wanted)}")


def _deviation(images: float) -> str:
    """Return s in points for a number of images, in words."""
    return f"{100 * math.sqrt(0.85 * 0.15 / images):.3g} points" if images > 0 else "no number"


_Judge = Callable[[list[float], list[float]], tuple[float, float, bool]]


def _judged(
    *,
    scale: float = 1.0,
    mean: Callable[[list[float]], float] = statistics.fmean,
    spread: Callable[[list[float], list[float]], float] | None = None,
    is_finding: Callable[[float], bool] = lambda ratio: abs(ratio) > 1.6,
) -> _Judge:
    """Return a rule that says the difference of two means, what stands after ±, and whether that is a finding."""

    def difference(one: list[float], other: list[float]) -> tuple[float, float, bool]:
        gap, both = mean(other) - mean(one), (spread or _spread)(one, other)
        return scale * gap, both, is_finding(gap / both)

    return difference


def _spread(one: list[float], other: list[float]) -> float:
    """Return the standard deviation of a difference of two runs."""
    return math.hypot(statistics.stdev(one), statistics.stdev(other))


_WRONG_SPREADS: dict[str, Callable[[list[float], list[float]], float]] = {
    "the variance of three runs has the divisor 2, not 3": lambda one, other: _spread(one, other) * math.sqrt(2 / 3),
    "what stands after ± is for two runs, not for two means of three: no √3": lambda one, other: (
        _spread(one, other) / math.sqrt(3)
    ),
    "variances add, not standard deviations": lambda one, other: statistics.stdev(one) + statistics.stdev(other),
    "what stands after ± is for a difference; both runs scatter": lambda one, other: _spread(one, other) / math.sqrt(2),
    "the scatter of all six counts the difference itself as scatter": lambda one, other: statistics.stdev(
        [*one, *other]
    ),
    "that is a variance; take the root": lambda one, other: _spread(one, other) ** 2,
}


@self_check(
    "evidence-exercise-finding",
    wrong={f"the ±: {fault}": _judged(spread=spread) for fault, spread in _WRONG_SPREADS.items()}
    | {
        "difference must return three things": lambda one, other: _judged()(one, other)[:2],
        "not points": _judged(scale=100),
        "the difference has the other sign": _judged(scale=-1),
        "the means are asked for": _judged(mean=max),
        "is 0.010000 to you": _judged(spread=lambda one, other: 0.01),
        "in either direction": _judged(is_finding=lambda ratio: ratio > 1.6),
        "is a finding: it is more": _judged(is_finding=lambda ratio: abs(ratio) > 5),
        "it takes 1.6 times the ±": _judged(is_finding=lambda ratio: abs(ratio) > 1),
    },
)
def _finding(difference: object) -> None:
    difference = function("difference", difference)
    for one, other, is_finding in (
        ([0.840, 0.842, 0.847], [0.855, 0.853, 0.854], True),
        ([0.840, 0.846, 0.843], [0.850, 0.854, 0.846], False),  # between 1 and 1.6 times the spread
        ([0.855, 0.853, 0.854], [0.840, 0.842, 0.847], True),
        ([0.850, 0.853, 0.851], [0.852, 0.850, 0.851], False),
    ):
        given = difference(list(one), list(other))
        three = isinstance(given, tuple | list | Tensor) and len(given) == 3
        require(three, "difference must return three things: the difference, its ±, and True or False")
        gap, spread = (number(name, value) for name, value in zip(("the difference", "the ±"), given[:2], strict=True))
        _numbers(gap, spread, one, other)
        found = truth("the verdict", given[2])
        ahead = statistics.fmean(other) - statistics.fmean(one)
        at = f"{100 * ahead:+.2f} ± {100 * _spread(one, other):.2f} points"
        require(found or not is_finding or ahead > 0, f"{at}: a difference may be a finding in either direction")
        require(found or not is_finding, f"{at} is a finding: it is more than 1.6 times its ±")
        require(not found or is_finding, f"{at} is no finding: with three seeds it takes 1.6 times the ±")


def _numbers(gap: float, spread: float, one: list[float], other: list[float]) -> None:
    """Demand the right difference and the right spread."""
    ahead = statistics.fmean(other) - statistics.fmean(one)
    require(abs(gap - 100 * ahead) > 1e-4, "give shares, as the accuracies are, not points")
    require(abs(gap + ahead) > 1e-5 or abs(ahead) < 1e-5, "the difference has the other sign if the second is ahead")
    require(
        abs(gap - ahead) < 1e-5, f"the difference of {one} and {other} is {gap:.6f} to you; the means are asked for"
    )
    for fault, wrong in _WRONG_SPREADS.items():
        require(abs(spread - wrong(one, other)) > 1e-6, f"the ±: {fault}")
    require(abs(spread - _spread(one, other)) < 2e-6, f"the ± of {one} and {other} is {spread:.6f} to you")
