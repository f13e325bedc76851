"""Self-checks of the chapter "Evidence"."""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, truth


@self_check("evidence-exercise-flattery")
def _flattery(points: object, images: object) -> None:
    flattery, wanted = number("points", points), number("images", images)
    accuracy, seen = 0.85, 10_000
    s = 100 * math.sqrt(accuracy * (1 - accuracy) / seen)
    right = _largest(100) * s
    for fault, value in {
        "points is a share; one point is a hundredth": right / 100,
        "points: that is for the best of six": _largest(6) * s,
        "points: √(2 ln 100) is where the largest of very many goes; for 100 it is still well below": s
        * math.sqrt(2 * math.log(100)),
        "points: that is the largest of 100 normal numbers; one of them counts s": _largest(100),
        "points: that is s, the deviation of one network; the best of 100 is expected further out": s,
        "points: the best of many gains no factor √100, most of them are worse": 10 * s,
    }.items():
        require(not near(flattery / value, 1.0, 0.02), fault)
    require(near(flattery / right, 1.0, 0.02), f"points = {flattery:.4g}; draw 100 normal numbers often enough")
    ratio = right / 0.1
    for fault, value in {
        "images: the flattery falls as 1/√N, so N grows with the square": seen * ratio,
        "images: that makes it a tenth of what it is; a tenth of a point is asked for": 100 * seen,
        "images: for a tenth of a point of flattery, not for s to be a tenth of a point": seen * (s / 0.1) ** 2,
        "images: fewer images flatter more, not less": seen / ratio**2,
    }.items():
        require(not near(wanted / value, 1.0, 0.03), fault)
    expected = seen * ratio**2
    require(near(wanted / expected, 1.0, 0.04), f"images = {wanted:,.0f}, where s would be {_deviation(wanted)}")


def _deviation(images: float) -> str:
    """Return s in points for a number of images, in words."""
    return f"{100 * math.sqrt(0.85 * 0.15 / images):.3g} points" if images > 0 else "no number"


def _largest(count: int) -> float:
    """Return the expected largest of a number of standard normal numbers, by integrating x dΦ(x)ⁿ."""
    x = torch.linspace(-8.0, 8.0, 16_001, dtype=torch.float64)
    law = torch.special.ndtr(x) ** count
    return float((x[1:] + x[:-1]).mul(law.diff()).sum() / 2)


@self_check("evidence-exercise-finding")
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
        t = math.hypot(statistics.stdev(one), statistics.stdev(other))
        ahead = statistics.fmean(other) - statistics.fmean(one)
        at = f"{100 * ahead:+.2f} ± {100 * t:.2f} points"
        require(found or not is_finding or ahead > 0, f"{at}: a difference may be a finding in either direction")
        require(found or not is_finding, f"{at} is a finding: it is more than 1.6 times its ±")
        require(not found or is_finding, f"{at} is no finding: with three seeds it takes 1.6 times the ±")


def _numbers(gap: float, spread: float, one: list[float], other: list[float]) -> None:
    """Demand the right difference and the right spread."""
    ahead, t = statistics.fmean(other) - statistics.fmean(one), (statistics.stdev(one), statistics.stdev(other))
    require(abs(gap - 100 * ahead) > 1e-4, "give shares, as the accuracies are, not points")
    require(abs(gap + ahead) > 1e-5 or abs(ahead) < 1e-5, "the difference has the other sign if the second is ahead")
    require(
        abs(gap - ahead) < 1e-5, f"the difference of {one} and {other} is {gap:.6f} to you; the means are asked for"
    )
    for fault, value in {
        "the variance of three runs has the divisor 2, not 3": math.hypot(*t) * math.sqrt(2 / 3),
        "what stands after ± is for two runs, not for two means of three: no √3": math.hypot(*t) / math.sqrt(3),
        "variances add, not standard deviations": sum(t),
        "what stands after ± is for a difference; both runs scatter": math.hypot(*t) / math.sqrt(2),
        "the scatter of all six counts the difference itself as scatter": statistics.stdev([*one, *other]),
        "that is a variance; take the root": t[0] ** 2 + t[1] ** 2,
    }.items():
        require(abs(spread - value) > 1e-6, f"the ±: {fault}")
    require(abs(spread - math.hypot(*t)) < 2e-6, f"the ± of {one} and {other} is {spread:.6f} to you")
