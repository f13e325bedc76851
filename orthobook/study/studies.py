"""The studies of the book: their contenders, which runs they consist of, and what is stored of them.

Every study is a plan over a store of records; :mod:`orthobook.study.design` says what a plan is made of. To add one,
write a function that returns its cells and decorate it with :func:`register`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orthobook.study.design import (
    LEARNING_RATES,
    ONE_PASS,
    RESULTS,
    Cell,
    Contender,
    Outcome,
    Records,
    Study,
    by_key,
)
from orthobook.study.store import Store
from orthobook.training import Mode

__all__ = ["CONTENDERS", "STUDIES", "VARIANTS", "register", "stored", "stored_records", "study"]

FOUR_RATES = LEARNING_RATES[1:5]
DEPTHS = (10, 20, 50, 100, 200, 500)
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
EXPONENTS = (0.0, 0.5, 1.0)

STUDIES: dict[str, Study] = {}
"""The studies by name, in the order in which they are shown.

:meta hide-value:
"""

Design = Callable[[], tuple[Cell, ...]]


def register(name: str, question: str, *, results: Path = RESULTS) -> Callable[[Design], Design]:
    """Return the decorator that makes the cells which a function returns known as a study.

    Raises
    ------
    ValueError
        If there is a study of that name.
    """

    def add(design: Design) -> Design:
        if name in STUDIES:
            raise ValueError(f"the study {name!r} is registered already, by {STUDIES[name].design.__qualname__}")
        STUDIES[name] = Study(name=name, question=question, design=design, results=results)
        return design

    return add


def study(name: str) -> Study:
    """Return a study by its name; ValueError if it is unknown."""
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}; allowed: {', '.join(STUDIES)}")
    return STUDIES[name]


def stored_records(results: Path = RESULTS) -> Records:
    """Return the records that come with the package, by key: those of trainings, or of a file of one study's own."""
    return _read(results)


@functools.cache
def _read(file: Path) -> Records:
    return by_key(Store(file))


@functools.cache
def stored(name: str) -> tuple[Outcome, ...]:
    """Return the stored outcomes of a study, cell by cell, in the order of its plan."""
    return tuple(study(name).outcomes(stored_records(study(name).results)))


# --- contenders ---


def _contender(name: str, architecture: str, **options: Any) -> Contender:
    return Contender(name, architecture, options)


CONTENDERS = {
    contender.name: contender
    for contender in (
        _contender("absolute value", "absolute"),
        _contender("MaxMin", "maxmin"),
        _contender("shifted fold, τ = 3", "shifted-fold", threshold=3.0),
        _contender("partial fold, τ = 3", "partial-fold", threshold=3.0),
        _contender("modified residual, τ = 0", "modified-residual", threshold=0.0),
        _contender("modified residual, τ = 3", "modified-residual", threshold=3.0),
        _contender("leaky residual, τ = 3", "leaky-residual", threshold=3.0),
        _contender("ReLU, He", "relu-he"),
        _contender("ReLU, orthogonal", "relu-orthogonal"),
        _contender("tanh, orthogonal", "tanh-orthogonal"),
        _contender("residual", "residual", branch_scale=1.0),
        _contender("residual, 1/√L", "residual"),
        _contender("ReZero", "rezero"),
        _contender("residual, LayerNorm", "residual-layernorm"),
    )
}


VARIANTS = {
    contender.name: contender
    for contender in (
        _contender("linear", "linear"),
        _contender("shifted fold, τ = 2", "shifted-fold", threshold=2.0),
        _contender("shifted fold, τ = 4", "shifted-fold", threshold=4.0),
        _contender("partial fold, n/8, τ = 0", "partial-fold", folds=8, threshold=0.0),
        _contender("partial fold, n/8, τ = 2", "partial-fold", folds=8, threshold=2.0),
        _contender("zigzag, T = 12", "zigzag", period=12.0),
        _contender("residual, 0.3/√L", "residual", branch_scale=0.03),
        _contender("residual, 1/L", "residual", branch_scale=0.01),
        _contender("residual, 3/√L", "residual", branch_scale=0.3),
    )
}
"""Other settings of the best contenders' knobs, at 100 layers and width 64, and no folds at all.

:meta hide-value:
"""

FOLD, REFLECTION, RESIDUAL = "shifted fold, τ = 3", "modified residual, τ = 3", "residual, 1/√L"


# --- designs ---


def _mode(contender: Contender) -> Mode:
    return "constrained" if contender.orthogonal else "free"


@register("verification", "Small runs of every contender, to be repeated anywhere in a minute.")
def _verification() -> tuple[Cell, ...]:
    budget = {"data": "fashion-mnist-small", "steps": 100}
    return tuple(Cell(contender=c, depth=10, mode=_mode(c), rates=(3e-3,), budget=budget) for c in CONTENDERS.values())


@register("comparison", "How do orthogonal networks of any depth compare with others, at equal budget?")
def _comparison() -> tuple[Cell, ...]:
    return tuple(Cell(contender=c, depth=L, mode=_mode(c)) for L in DEPTHS for c in CONTENDERS.values())


@register("modes", "Is orthogonality at the start enough, or must it be encouraged or kept?")
def _modes() -> tuple[Cell, ...]:
    names = ("shifted fold, τ = 3", "modified residual, τ = 3", "MaxMin")
    cells = []
    for depth, name in (*itertools.product((20, 100), names), (500, "shifted fold, τ = 3")):
        cell = Cell(contender=CONTENDERS[name], depth=depth, mode="constrained")
        penalties = PENALTIES if depth <= 100 else PENALTIES[1::2]  # the deepest runs are dear
        penalised = [replace(cell, mode="penalised", penalty=penalty) for penalty in penalties]
        cells += [replace(cell, mode="free"), *penalised, cell]
    return tuple(cells)


@register("rates", "How does the best learning rate move with depth?")
def _rates() -> tuple[Cell, ...]:
    fold: list[tuple[str, Mode]] = [("shifted fold, τ = 3", "constrained"), ("shifted fold, τ = 3", "free")]
    others: list[tuple[str, Mode]] = [("modified residual, τ = 3", "constrained"), ("residual, 1/√L", "free")]
    ways = [(depth, way) for depth in (20, 100) for way in fold + others] + [(500, way) for way in fold]
    return tuple(
        Cell(contender=CONTENDERS[name], depth=depth, mode=mode, depth_exponent=exponent, seeds=())
        for (depth, (name, mode)), exponent in itertools.product(ways, EXPONENTS)
    )


@register("knobs", "Does tuning an architecture's own knob close the gap at 100 layers?")
def _knobs() -> tuple[Cell, ...]:
    names = ("shifted fold, τ = 3", "partial fold, τ = 3", "residual, 1/√L")
    return tuple(
        Cell(contender=c, depth=100, mode=_mode(c)) for c in (*(CONTENDERS[name] for name in names), *VARIANTS.values())
    )


@register("five-passes", "Does the comparison at 100 layers change with five times the training?")
def _five_passes() -> tuple[Cell, ...]:
    ways: list[tuple[str, Mode]] = [("shifted fold, τ = 3", "free"), ("shifted fold, τ = 3", "constrained")]
    ways += [("partial fold, τ = 3", "constrained"), ("residual, 1/√L", "free"), ("residual, LayerNorm", "free")]
    budget = dict(ONE_PASS) | {"steps": 5 * ONE_PASS["steps"]}
    return tuple(
        Cell(contender=CONTENDERS[name], depth=100, mode=mode, rates=LEARNING_RATES[1:], budget=budget)
        for name, mode in ways
    )


@register("coherence", "How does accuracy depend on the agreement of gradients, at equal singular values?")
def _coherence() -> tuple[Cell, ...]:
    """Members whose singular values are all 1, and whose gradients agree from hardly at all to entirely."""
    thresholds = (0.5, 1.0, 1.5, 2.0, 3.0)
    folds = [_contender(f"shifted fold, τ = {tau:g}", "shifted-fold", threshold=tau) for tau in (*thresholds, 4.0)]
    skips = [
        _contender(f"modified residual, τ = {tau:g}", "modified-residual", threshold=tau) for tau in (0.0, *thresholds)
    ]
    ladder = (CONTENDERS["absolute value"], *folds, VARIANTS["linear"], *skips)
    return tuple(Cell(contender=c, depth=depth, mode="constrained") for depth in (100, 500) for c in ladder)


@register("nearly", "How far from orthogonal may a network be, for a given depth?")
def _nearly() -> tuple[Cell, ...]:
    """From exact members to beyond the depth budget, at the four rates around those that suit the exact members."""
    exact = (_contender(f"shifted fold, τ = {tau:g}", "shifted-fold", threshold=tau) for tau in (1.0, 3.0))
    distances = {0.0: (0.01, 0.03, 0.1, 0.3), 1.0: (0.1, 0.3), 3.0: (0.1, 0.3, 1.0, 3.0)}
    smooth = {
        (tau, epsilon): _contender(
            f"smooth fold, τ = {tau:g}, ε = {epsilon:g}", "smooth-fold", threshold=tau, epsilon=epsilon
        )
        for tau, epsilons in distances.items()
        for epsilon in epsilons
    }
    uneven = {
        (tau, delta): _contender(f"uneven fold, τ = {tau:g}, δ = {delta:g}", "uneven-fold", threshold=tau, delta=delta)
        for tau, delta in ((0.0, 0.03), (0.0, 0.1), (0.0, 0.3), (1.0, 0.3), (3.0, 0.9))
    }
    residual = _contender("smooth residual, τ = 3, ε = 0.3", "smooth-residual", threshold=3.0, epsilon=0.3)
    contenders = (CONTENDERS["absolute value"], *exact, *smooth.values(), *uneven.values(), residual)
    deep = [contenders[1], contenders[2], *(smooth[3.0, epsilon] for epsilon in (0.1, 0.3, 1.0)), uneven[1.0, 0.3]]
    ways = [(100, c) for c in contenders] + [(500, c) for c in deep]
    return tuple(Cell(contender=c, depth=depth, mode="constrained", rates=FOUR_RATES) for depth, c in ways)


@register("partial", "Do networks train at 100 layers whose layers' Jacobians are partial isometries?")
def _partial() -> tuple[Cell, ...]:
    """Layers whose Jacobian is a partial isometry as long as W is orthogonal, which the constrained mode keeps."""
    deepest = _contender("threshold ReLU, τ = 3", "threshold-relu", threshold=3.0)
    kept = (
        *(_contender(f"threshold ReLU, τ = {tau:g}", "threshold-relu", threshold=tau) for tau in (1.0, 2.0)),
        deepest,
        *(_contender(f"soft threshold, τ = {tau:g}", "soft-threshold", threshold=tau) for tau in (0.001, 0.01)),
        *(_contender(f"hard tanh, h = {h:g}", "hard-tanh", limit=h) for h in (1.0, 2.0, 3.0)),
    )
    ways: list[tuple[Contender, int, Mode]] = [(contender, 100, "constrained") for contender in kept]
    ways += [(deepest, 100, "free"), (_contender("looks linear", "looks-linear"), 100, "free")]
    ways += [(deepest, 500, "constrained")]
    return tuple(Cell(contender=c, depth=depth, mode=mode, rates=FOUR_RATES) for c, depth, mode in ways)


def _persists(kind: str, k: int, activation: str = "relu", keeps: str = "forward") -> Contender:
    name = f"{kind}, {activation}, k = {k}" + ("" if keeps == "forward" else f", kept {keeps}")
    options = {"persistent": k, "activation": activation, "keeps": keeps}
    return Contender(name, f"persistent-{kind}", options)


@register("persistent", "How large must a persistent subspace be, and does the activation beside it matter?")
def _persistent() -> tuple[Cell, ...]:
    """Many k for the ReLU, one for other activations, and what the constrained mode may keep."""
    both: tuple[Mode, ...] = ("free", "constrained")
    ways: list[tuple[Contender, tuple[Mode, ...]]] = [(_persists("feedforward", 0), ("free",))]
    ways += [(_persists("feedforward", k), both) for k in (1, 4, 16, 32, 64)]
    for activation in ("tanh", "gelu", "sine"):
        ways += [(_persists("feedforward", 0, activation), ("free",)), (_persists("feedforward", 16, activation), both)]
    ways += [(_persists("feedforward", 16, keeps=side), ("constrained",)) for side in ("backward", "both")]
    ways += [(_persists("residual", 0), ("free",)), (_persists("residual", 16), both)]
    ways += [(_persists("residual", 16, keeps="both"), ("constrained",))]
    cells = [Cell(contender=c, depth=100, mode=mode, rates=FOUR_RATES) for c, modes in ways for mode in modes]
    deep = Cell(contender=_persists("feedforward", 16), depth=500, mode="constrained", rates=FOUR_RATES)
    return (*cells, deep)


def _measured(study: str, contender: str, depth: int, mode: Mode) -> Cell:
    """Return the first fresh seed of a stored cell, of several penalties that with λ = 1, with its robustness."""
    named = ((o, o.cell) for o in stored(study))
    (found,) = (o for o, c in named if (c.contender.name, c.depth, c.mode, c.penalty) == (contender, depth, mode, 1.0))
    return replace(found.cell, rates=(found.learning_rate,), seeds=found.cell.seeds[:1], measure="robustness")


@register(
    "robustness",
    "Do certificates hold under attack, and how far are they from it?",
    results=RESULTS.with_name("robustness.jsonl"),
)
def _robustness() -> tuple[Cell, ...]:
    """Networks of other studies as they are: nothing was chosen for robustness. The first two can be had in seconds."""
    ways: list[tuple[str, str, int, Mode]] = []
    for depth in (20, 100):
        ways += [("modes", FOLD, depth, "constrained"), ("modes", REFLECTION, depth, "constrained")]
        ways += [("modes", FOLD, depth, "penalised"), ("modes", FOLD, depth, "free")]
        ways += [("comparison", RESIDUAL, depth, "free")]
    quick: list[tuple[str, str, int, Mode]] = [("verification", FOLD, 10, "constrained")]
    quick += [("verification", RESIDUAL, 10, "free")]
    return tuple(_measured(*way) for way in (*quick, *ways, ("knobs", "linear", 100, "constrained")))
