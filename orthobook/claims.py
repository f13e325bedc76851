"""The claims of the theory, C1 to C9, and what the stored results say of each.

A finding is computed: its verdict by a rule that is stated here, its numbers from records. Where a network is picked
out of several, as "the best", the validation split picks it; the number given is on the test split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orthobook.studies import Outcome, stored

__all__ = ["CLAIMS", "Claim", "Finding", "findings", "markdown"]

EXACT = 2e-4
"""Distance from 1 that a singular value may have after 1,000 layers in float32: about 1.7 roundings a layer."""

TRAINED = 0.80
"""Test accuracy on Fashion-MNIST above which a network counts as trained, whatever its depth."""

AS_WELL = 0.010
"""Difference in accuracy up to which two architectures count as equally good: one point."""

ENOUGH = 0.005
"""Difference in accuracy up to which two ways of training one architecture count as equally good: half a point."""


@dataclass(frozen=True)
class Claim:
    """A claim, and the chapter that is about it."""

    name: str
    statement: str
    chapter: str


CLAIMS = (
    Claim("C1", "One framework gives networks whose Jacobian is exactly orthogonal almost everywhere.", "one-layer"),
    Claim("C2", "So they train although they are very deep.", "going-deep"),
    Claim("C3", "Known architectures are particular cases.", "particular-cases"),
    Claim("C4", "New designs without a skip connection train as well as residual networks.", "new-designs"),
    Claim("C5", "Orthogonality at the start alone is enough.", "initialisation-is-enough"),
    Claim("C6", "Networks regularised towards orthogonality do about as well.", "keeping-orthogonality"),
    Claim("C7", "Networks that are nearly orthogonal keep the good trainability.", "nearly-orthogonal"),
    Claim("C8", "Networks whose Jacobians are partial isometries keep it.", "partial-isometries"),
    Claim("C9", "Isometry on a subspace that persists through depth is what is needed.", "partial-isometries"),
)


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim."""

    claim: Claim
    verdict: str
    measured: tuple[str, ...]  # one statement each
    command: str  # repeats the measurement


def findings() -> list[Finding]:
    """Return a finding for every claim, from the stored results; a claim without a measurement says so."""
    rules: dict[str, Callable[[Claim], Finding]] = {"C1": _c1, "C2": _c2, "C3": _c3, "C4": _c4, "C5": _c5, "C6": _c6}
    rules |= {"C7": _c7, "C8": _c8, "C9": _c9}
    return [rules[claim.name](claim) for claim in CLAIMS]


def markdown(given: Iterable[Finding]) -> str:
    """Return findings as a list in Markdown, which a notebook shows as ``IPython.display.Markdown``."""
    lines = []
    for one in given:
        lines.append(f"**{one.claim.name}. {one.claim.statement}** *{one.verdict.capitalize()}.*\n")
        lines += [f"- {statement}" for statement in one.measured]
        lines += [f"- `{one.command}`\n"] if one.command else []
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


def points(difference: tuple[float, float]) -> str:
    """Return a difference of accuracies and its spread in points, hundredths of 1."""
    return f"{100 * difference[0]:+.2f} ± {100 * difference[1]:.2f} points".replace("-", "−")


def _c1(claim: Claim) -> Finding:
    exact = [o for o in stored("comparison") if o.cell.contender.orthogonal]
    largest = max(map(deviation, exact))
    runs, depth = sum(len(o.records) for o in exact), max(o.cell.depth for o in exact)
    verdict = "holds" if largest <= EXACT else "fails"
    measured = f"largest |σ − 1| {largest:.0e}, in {runs} runs of up to {depth} layers, at every milestone"
    return Finding(claim, verdict, (measured,), "orthobook spectrum shifted-fold --depth 500")


def _c2(claim: Claim) -> Finding:
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
    best_and_worst = " to ".join(f"{100 * end(o.mean for o in with_threshold):.1f}" for end in (min, max))
    rest = "; ".join(f"{o.cell.contender.name} {percent(o)}" for o in deepest if o not in with_threshold)
    linear = next(o for o in stored("coherence") if (o.cell.depth, o.cell.contender.name) == (depth, "linear"))
    measured = (
        f"{depth} layers after {steps} steps, with a threshold: {best_and_worst} %",
        f"without: {rest}",
        f"for comparison, without any fold (linear): {percent(linear)}",
    )
    return Finding(claim, verdict, measured, "orthobook results show comparison")


def _c3(claim: Claim) -> Finding:
    sorting = [o for o in stored("comparison") if o.cell.contender.name == "MaxMin"]
    depth, largest = max(o.cell.depth for o in sorting), max(map(deviation, sorting))
    trained = f"MaxMin networks of up to {depth} layers, trained: largest |σ − 1| {largest:.0e}"
    measured = ("proved case by case, and checked for every registered architecture", trained)
    return Finding(claim, "proved", measured, "orthobook spectrum maxmin --depth 500")


def _c4(claim: Claim) -> Finding:
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
    verdict = "holds" if all(within) else "holds in part" if any(within) else "fails"
    return Finding(claim, verdict, tuple(parts), "orthobook results show comparison")


def _ways(depth: int, name: str) -> dict[str, Outcome]:
    """Return the outcomes of one contender at one depth by mode: for the penalised one, the best penalty's."""
    here = [o for o in stored("modes") if (o.cell.depth, o.cell.contender.name) == (depth, name)]
    return {mode: best(o for o in here if o.cell.mode == mode) for mode in ("free", "penalised", "constrained")}


def _c5(claim: Claim) -> Finding:
    return _compare_modes(claim, lambda ways: behind(ways["free"], best(ways.values())))


def _c6(claim: Claim) -> Finding:
    return _compare_modes(claim, lambda ways: behind(ways["penalised"], ways["constrained"]))


def _compare_modes(claim: Claim, compare: Callable[[dict[str, Outcome]], tuple[float, float]]) -> Finding:
    cells = dict.fromkeys((o.cell.depth, o.cell.contender.name) for o in stored("modes"))
    gaps = {cell: compare(_ways(*cell)) for cell in cells}
    within = [gap <= ENOUGH for gap, _ in gaps.values()]
    verdict = "holds" if all(within) else "holds in part" if any(within) else "fails"
    worst = max(gaps, key=lambda cell: gaps[cell])
    count = f"{sum(within)} of {len(gaps)} cases at most {100 * ENOUGH:.1f} points behind"
    measured = (count, f"worst: {worst[1]}, {worst[0]} layers, {points(gaps[worst])} behind")
    return Finding(claim, verdict, measured, "orthobook results show modes")


def _c7(claim: Claim) -> Finding:
    """Compare near members with the exact one of the same threshold and depth, by what is left of the largest σ.

    Its bounds, 1/2 and 1/30, were chosen after the measurement.
    """
    everything = stored("nearly")
    exact = {(o.cell.depth, o.cell.contender.options.get("threshold", 0.0)): o for o in everything if _is_exact(o)}
    left, gaps = {}, {}
    for o in (o for o in everything if not _is_exact(o)):
        name, depth, options = o.cell.contender.name, o.cell.depth, o.cell.contender.options
        starts = [record.result["milestones"][0]["singular_values"] for record in o.finals]
        left[name, depth] = min(values[-1] for values in starts)
        gaps[name, depth] = behind(o, exact[depth, options["threshold"]])
    kept = [gap for one, gap in gaps.items() if left[one] >= 1 / 2]
    lost = [gap for one, gap in gaps.items() if left[one] < 1 / 30]
    as_well = sum(gap <= AS_WELL for gap, _ in kept)
    verdict = "holds while a large singular value is left" if as_well == len(kept) else "holds in part"
    measured = [
        f"largest σ at least 1/2 at the start: {as_well} of {len(kept)} at most {100 * AS_WELL:.0f} point behind the "
        f"exact network, worst {points(max(kept))} behind"
    ]
    if lost:
        measured += [f"below 1/30: {len(lost)} of {len(gaps)}, the best {points(min(lost))} behind"]
    return Finding(claim, verdict, tuple(measured), "orthobook results show nearly")


def _is_exact(outcome: Outcome) -> bool:
    return outcome.cell.contender.orthogonal


def _c8(claim: Claim) -> Finding:
    """Ask of every network with layers that are partial isometries whether it trained, and compare with a member."""
    exactly = [o for o in stored("partial") if o.cell.mode == "constrained"]  # where W stays orthogonal
    trained = [o.mean > TRAINED for o in exactly]
    verdict = "holds" if all(trained) else "holds in part" if any(trained) else "fails"
    worst, leader = min(exactly, key=lambda o: o.mean), best(o for o in exactly if o.cell.depth == 100)
    fold = best(o for o in stored("knobs") if o.cell.contender.architecture == "shifted-fold")
    named = (f"{o.cell.contender.name}, {o.cell.depth} layers, {percent(o)}" for o in (worst, leader))
    ends = "worst: {}; best at 100 layers: {}".format(*named)
    ahead = f"the latter {points(behind(fold, leader))} ahead of {fold.cell.contender.name}"
    return Finding(claim, verdict, (ends, ahead), "orthobook results show partial")


def _c9(claim: Claim) -> Finding:
    """Ask whether a quarter of the width was enough for every network, and whether any trained without a subspace."""

    def range_of(outcomes: list[Outcome]) -> str:
        return " to ".join(f"{100 * end(o.mean for o in outcomes):.1f}" for end in (min, max))

    everything = stored("persistent")
    quarter = [o for o in everything if o.cell.contender.options["persistent"] == o.finals[0].run.width // 4]
    without = [o for o in everything if o.cell.contender.options["persistent"] == 0]
    enough = all(o.mean > TRAINED for o in quarter)
    needless = [o.cell.contender.name.removesuffix(", k = 0") for o in without if o.mean > TRAINED]
    verdict = "fails" if not enough else "enough, but not needed" if needless else "holds"
    with_it = f"k = n/4: {range_of(quarter)} % in {len(quarter)} cases"
    without_it = f"k = 0: {range_of(without)} %; trained all the same: {'; '.join(needless) or 'none'}"
    return Finding(claim, verdict, (with_it, without_it), "orthobook results show persistent")
