"""The claims of the theory, C1 to C9, two findings of this book, C10 and C11, and what the stored results say of each.

A finding is computed: its verdict by a rule that is stated here, its numbers from records. Where a network is picked
out of several, as "the best", the validation split picks it; the number given is on the test split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orthobook.study.design import Cell, Outcome
from orthobook.study.robustness import RADII, SHORT
from orthobook.study.studies import FOLD, RESIDUAL, stored
from orthobook.theory.depth_budget import Layer, smooth_fold, typical_depth, uneven_fold

__all__ = ["CLAIMS", "Claim", "Finding", "claim", "finding", "findings", "markdown"]

EXACT = 2e-4
"""Distance from 1 that a singular value may have after 1,000 layers in float32: about 1.7 roundings a layer."""

TRAINED = 0.80
"""Test accuracy on Fashion-MNIST above which a network counts as trained, whatever its depth."""

AS_WELL = 0.010
"""Difference in accuracy up to which two architectures count as equally good: one point."""

ENOUGH = 0.005
"""Difference in accuracy up to which two ways of training one architecture count as equally good: half a point."""

BUDGET = math.e
"""κ of the depth budget: within it the geometric mean of the singular values is predicted to be at least 1/κ."""


Measured = tuple[str, ...]  # one statement each
Rule = Callable[[], tuple[str, Measured]]  # verdict, and what was measured


@dataclass(frozen=True)
class Claim:
    """A claim, the chapter that is about it, and the rule that finds its verdict."""

    name: str
    statement: str
    chapter: str
    command: str  # shows what the verdict comes from
    rule: Rule = field(repr=False)


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim."""

    claim: Claim
    verdict: str
    measured: Measured


CLAIMS: dict[str, Claim] = {}
"""The claims by name, in the order of their numbers.

:meta hide-value:
"""


def claim(name: str, statement: str, *, chapter: str, command: str) -> Callable[[Rule], Rule]:
    """Return the decorator that makes a rule known as that of a claim; ``orthobook command`` shows what it comes from.

    Raises
    ------
    ValueError
        If there is a claim of that name.
    """

    def add(rule: Rule) -> Rule:
        if name in CLAIMS:
            raise ValueError(f"the claim {name!r} is made already: {CLAIMS[name].statement}")
        CLAIMS[name] = Claim(name, statement, chapter, f"orthobook {command}", rule)
        return rule

    return add


def finding(name: str) -> Finding:
    """Return what the stored results say of one claim; ValueError if there is no claim of that name."""
    if name not in CLAIMS:
        raise ValueError(f"unknown claim {name!r}; allowed: {', '.join(CLAIMS)}")
    return Finding(CLAIMS[name], *CLAIMS[name].rule())


def findings() -> list[Finding]:
    """Return a finding for every claim, from the stored results."""
    return [finding(name) for name in CLAIMS]


def markdown(given: Iterable[Finding]) -> str:
    """Return findings as a list in Markdown, which a notebook shows as ``IPython.display.Markdown``."""
    lines = []
    for one in given:
        lines.append(f"**{one.claim.name}. {one.claim.statement}** *{one.verdict.capitalize()}.*\n")
        lines += [f"- {statement}" for statement in one.measured]
        lines += [f"- `{one.claim.command}`\n"]
    return "\n".join(lines)


def deviation(outcome: Outcome) -> float:
    """Return the largest |σ − 1| at any milestone of an outcome's runs."""
    milestones = (milestone for record in outcome.records for milestone in record.result["milestones"])
    return max(abs(value - 1) for milestone in milestones for value in milestone["singular_values"])


def best(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the outcome whose validation accuracy at the chosen learning rate is highest."""
    return max(outcomes, key=lambda outcome: max(record.accuracy for record in outcome.tuning))


def behind(one: Outcome, other: Outcome) -> tuple[float, float]:
    """Return by how much the first one's mean test accuracy is below the other's, and the spread of the difference."""
    return other.mean - one.mean, math.hypot(one.spread, other.spread)


def percent(outcome: Outcome) -> str:
    """Return mean and spread of the test accuracy in per cent."""
    return f"{100 * outcome.mean:.1f} ± {100 * outcome.spread:.1f} %"


def percent_range(outcomes: Iterable[Outcome]) -> str:
    """Return the lowest and the highest mean test accuracy in per cent."""
    means = [100 * outcome.mean for outcome in outcomes]
    return f"{min(means):.1f} to {max(means):.1f} %"


def points(difference: tuple[float, float]) -> str:
    """Return a difference of accuracies and its spread in points, hundredths of 1."""
    return f"{100 * difference[0]:+.2f} ± {100 * difference[1]:.2f} points".replace("-", "−")


def _held(cases: Sequence[bool]) -> str:
    """Return the verdict of a claim that was asked of several cases."""
    return "holds" if all(cases) else "holds in part" if any(cases) else "fails"


@claim(
    "C1",
    "One framework gives networks whose Jacobian is exactly orthogonal almost everywhere.",
    chapter="one-layer",
    command="spectrum shifted-fold --depth 500",
)
def _c1() -> tuple[str, Measured]:
    exact = [o for o in stored("comparison") if o.cell.contender.orthogonal]
    largest = max(map(deviation, exact))
    runs, depth = sum(len(o.records) for o in exact), max(o.cell.depth for o in exact)
    verdict = "holds" if largest <= EXACT else "fails"
    measured = f"largest |σ − 1| {largest:.0e}, in {runs} runs of up to {depth} layers, at every milestone"
    return verdict, (measured,)


@claim("C2", "So they train although they are very deep.", chapter="going-deep", command="results show comparison")
def _c2() -> tuple[str, Measured]:
    everything = [o for o in stored("comparison") if o.cell.contender.orthogonal]
    depth = max(o.cell.depth for o in everything)
    deepest = [o for o in everything if o.cell.depth == depth]
    trained = [o for o in deepest if o.mean > TRAINED]
    with_threshold = [o for o in deepest if o.cell.contender.thresholded]
    if len(trained) == len(deepest):
        verdict = "holds"
    elif all(o in trained for o in with_threshold):
        verdict = "holds with a threshold"
    else:
        verdict = "holds in part" if trained else "fails"
    steps = deepest[0].finals[0].run.steps
    rest = "; ".join(f"{o.cell.contender.name} {percent(o)}" for o in deepest if o not in with_threshold)
    linear = next(o for o in stored("coherence") if (o.cell.depth, o.cell.contender.name) == (depth, "linear"))
    measured = (
        f"{depth} layers after {steps} steps, with a threshold: {percent_range(with_threshold)}",
        f"without: {rest}",
        f"for comparison, without any fold (linear): {percent(linear)}",
    )
    return verdict, measured


@claim(
    "C3", "Known architectures are particular cases.", chapter="particular-cases", command="spectrum maxmin --depth 500"
)
def _c3() -> tuple[str, Measured]:
    sorting = [o for o in stored("comparison") if o.cell.contender.name == "MaxMin"]
    depth, largest = max(o.cell.depth for o in sorting), max(map(deviation, sorting))
    trained = f"MaxMin networks of up to {depth} layers, trained: largest |σ − 1| {largest:.0e}"
    measured = ("proved case by case, and checked for every registered architecture", trained)
    return "proved", measured


@claim(
    "C4",
    "New designs without a skip connection train as well as residual networks.",
    chapter="new-designs",
    command="results show comparison",
)
def _c4() -> tuple[str, Measured]:
    """Compare the best skip-free member with the best residual network, at 100 layers and more."""
    deep = [o for o in (*stored("comparison"), *stored("five-passes")) if o.cell.depth >= 100]
    parts, within = [], []
    for depth, steps in sorted({(o.cell.depth, o.finals[0].run.steps) for o in deep}, key=lambda at: at[::-1]):
        here = [o for o in deep if (o.cell.depth, o.finals[0].run.steps) == (depth, steps)]
        member = best(o for o in here if o.cell.mode == "constrained" and not o.cell.contender.skip)
        rivals = [o for o in here if not o.cell.contender.orthogonal and o.cell.contender.skip and o.mean > TRAINED]
        within.append(not rivals or behind(member, best(rivals))[0] <= AS_WELL)
        gaps = "; ".join(f"{points(behind(member, rival))} behind {rival.cell.contender.name}" for rival in rivals)
        parts.append(f"{depth} layers, {steps} steps: {member.cell.contender.name} {percent(member)}, {gaps}")
    return _held(within), tuple(parts)


def _ways(depth: int, name: str) -> dict[str, Outcome]:
    """Return the outcomes of one contender at one depth by mode: for the penalised one, the best penalty's."""
    here = [o for o in stored("modes") if (o.cell.depth, o.cell.contender.name) == (depth, name)]
    return {mode: best(o for o in here if o.cell.mode == mode) for mode in ("free", "penalised", "constrained")}


@claim(
    "C5",
    "Orthogonality at the start alone is enough.",
    chapter="initialisation-is-enough",
    command="results show modes",
)
def _c5() -> tuple[str, Measured]:
    return _compare_modes(lambda ways: behind(ways["free"], best(ways.values())))


@claim(
    "C6",
    "Networks regularised towards orthogonality do about as well.",
    chapter="keeping-orthogonality",
    command="results show modes",
)
def _c6() -> tuple[str, Measured]:
    return _compare_modes(lambda ways: behind(ways["penalised"], ways["constrained"]))


def _compare_modes(compare: Callable[[dict[str, Outcome]], tuple[float, float]]) -> tuple[str, Measured]:
    cells = dict.fromkeys((o.cell.depth, o.cell.contender.name) for o in stored("modes"))
    gaps = {cell: compare(_ways(*cell)) for cell in cells}
    within = [gap <= ENOUGH for gap, _ in gaps.values()]
    worst = max(gaps, key=lambda cell: gaps[cell])
    count = f"{sum(within)} of {len(gaps)} cases at most {100 * ENOUGH:.1f} points behind"
    return _held(within), (count, f"worst: {worst[1]}, {worst[0]} layers, {points(gaps[worst])} behind")


@claim(
    "C7",
    "Networks that are nearly orthogonal keep the good trainability.",
    chapter="nearly-orthogonal",
    command="results show nearly",
)
def _c7() -> tuple[str, Measured]:
    """Ask of every near member within its depth budget whether it does as well as the exact one of the same threshold.

    The budget follows from ε or δ, τ and the depth, for inputs of mean square 1; no measurement enters. Its κ was not
    fixed before the measurement: any κ from 2.1 to 4.5 gives the same verdict.
    """
    everything = stored("nearly")
    exact = {(o.cell.depth, o.cell.contender.options.get("threshold", 0.0)): o for o in everything if _is_exact(o)}
    within: list[tuple[float, float]] = []
    beyond: list[tuple[float, float]] = []
    for o in (o for o in everything if not _is_exact(o)):
        depth, options = o.cell.depth, o.cell.contender.options
        inside = typical_depth(_typical(options), BUDGET, longest=depth) == depth
        (within if inside else beyond).append(behind(exact[depth, options["threshold"]], o))
    good, still = (sum(lead >= -AS_WELL for lead, _ in leads) for leads in (within, beyond))
    verdict = "holds within the depth budget" if good == len(within) else "holds in part" if good else "fails"
    measured = (
        f"mean of ln σ predicted to be at least −1: {good} of {len(within)} at most {100 * AS_WELL:.0f} point behind "
        f"the exact network of the same threshold, the least {points(min(within))} ahead",
        f"predicted to be lower: {still} of {len(beyond)}, from {points(min(beyond))} to {points(max(beyond))} ahead",
    )
    return verdict, measured


def _typical(options: Mapping[str, Any]) -> Layer:
    """Return what a layer of a rounded or an uneven fold with these options typically does to singular values."""
    near = partial(uneven_fold, options["delta"]) if "delta" in options else partial(smooth_fold, options["epsilon"])
    return partial(near, options["threshold"])


def _is_exact(outcome: Outcome) -> bool:
    return outcome.cell.contender.orthogonal


@claim(
    "C8",
    "Networks of layers whose Jacobians are partial isometries keep it.",
    chapter="partial-isometries",
    command="results show partial",
)
def _c8() -> tuple[str, Measured]:
    """Ask of every network with layers that are partial isometries whether it trained, and compare with a member."""
    exactly = [o for o in stored("partial") if o.cell.mode == "constrained"]  # where W stays orthogonal
    trained = [o.mean > TRAINED for o in exactly]
    worst, leader = min(exactly, key=lambda o: o.mean), best(o for o in exactly if o.cell.depth == 100)
    fold = best(o for o in stored("knobs") if o.cell.contender.architecture == "shifted-fold")
    named = (f"{o.cell.contender.name}, {o.cell.depth} layers, {percent(o)}" for o in (worst, leader))
    ends = "worst: {}; best at 100 layers: {}".format(*named)
    ahead = f"the latter {points(behind(fold, leader))} ahead of {fold.cell.contender.name}"
    return _held(trained), (ends, ahead)


@claim(
    "C9",
    "Isometry on a subspace that persists through depth is what is needed.",
    chapter="partial-isometries",
    command="results show persistent",
)
def _c9() -> tuple[str, Measured]:
    """Ask whether a quarter of the width was enough for every network, and whether any trained without a subspace."""
    everything = stored("persistent")
    width = everything[0].finals[0].run.width
    quarter, without, linear = (_with_subspace(everything, k) for k in (width // 4, 0, width))
    enough = all(o.mean > TRAINED for o in quarter)
    needless = [o.cell.contender.name.removesuffix(", k = 0") for o in without if o.mean > TRAINED]
    verdict = "fails" if not enough else "enough, but not needed" if needless else "holds"
    measured = (
        f"k = n/4: {percent_range(quarter)} in {len(quarter)} cases",
        f"k = 0: {percent_range(without)}; trained all the same: {'; '.join(needless) or 'none'}",
        f"for comparison, k = n (linear): {percent_range(linear)}",
    )
    return verdict, measured


def _with_subspace(outcomes: Iterable[Outcome], k: int) -> list[Outcome]:
    return [o for o in outcomes if o.cell.contender.options["persistent"] == k]


@claim(
    "C10",
    "At equal singular values, a threshold makes most of the difference in trainability.",
    chapter="gradient-coherence",
    command="results show coherence",
)
def _c10() -> tuple[str, Measured]:
    """Ask whether the best threshold closes more than half of the gap between no threshold and the residual network.

    All networks with and without a threshold that are compared have all singular values 1 throughout.
    """
    residual = {o.cell.depth: o for o in stored("comparison") if o.cell.contender.name == "residual, 1/√L"}
    measured, within = [], []
    for depth in sorted({o.cell.depth for o in stored("coherence")}):
        here = [o for o in stored("coherence") if o.cell.depth == depth]
        start = next(o for o in here if o.cell.contender.name == "absolute value")
        chosen = best(o for o in here if o.cell.contender.architecture == "shifted-fold")
        closed, gap = chosen.mean - start.mean, residual[depth].mean - start.mean
        within.append(closed > gap / 2 > 0)
        ends = f"absolute value {percent(start)}, {chosen.cell.contender.name} {percent(chosen)}"
        rival = f"{residual[depth].cell.contender.name} {percent(residual[depth])}"
        measured.append(f"{depth} layers: {ends}, {rival}: {100 * closed:.1f} of {100 * gap:.1f} points")
    return _held(within), tuple(measured)


@claim(
    "C11",
    "An exact Lipschitz constant certifies predictions, and no attack refutes one.",
    chapter="certified-robustness",
    command="robustness",
)
def _c11() -> tuple[str, Measured]:
    """Count the certificates on the whole test set and those refuted; give accuracies after short changes beside it."""
    measured, certificates, broken = [], 0, 0
    at = RADII.index(SHORT)
    for cell, suffix, found in _robustness():
        attacked = f"{100 * found['attacked'][at]:.1f} % right after an attack"
        proof = "nothing certified"
        if found["certified"]:
            certificates += round(found["certified"][0] * found["images"])
            broken += found["broken"]
            proof = f"{100 * found['certified'][at]:.1f} % certified right"
        if cell.depth == 100 and cell.contender.name in (FOLD, RESIDUAL):
            network = f"{cell.contender.name}, 100 layers, {cell.mode}{suffix}"
            measured.append(f"length {SHORT}, {network}: {proof}, {attacked}")
    count = f"{certificates:,} certificates, {broken} refuted"
    return "fails" if broken else "holds", (count, *measured)


def _robustness() -> Iterator[tuple[Cell, str, Mapping[str, Any]]]:
    """Yield what is stored of each network on the whole test set, and of its twin with an orthogonal embedding."""
    for outcome in stored("robustness"):
        (record,) = outcome.finals
        if record.run.data == "fashion-mnist":  # the others are small
            yield outcome.cell, "", record.result["robustness"]
            if "orthogonal_embedding" in record.result:
                yield outcome.cell, ", orthogonal embedding", record.result["orthogonal_embedding"]
