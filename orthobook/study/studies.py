"""The studies of the book: which runs they consist of, their stored results, and whether those can be repeated.

Every study is a plan over one store of records. A contender is a kind of network as the book compares it: an
architecture, its options and how it is trained. All contenders have the same budget: the same learning rates, one seed
and a validation split to choose among them, then fresh seeds on the test split at the chosen rate.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from orthobook.study.experiments import Judge, Record, Run, Store, execute_on_one_thread, sweep
from orthobook.training import Mode, TrainingConfig

__all__ = [
    "CONTENDERS",
    "RESULTS",
    "STUDIES",
    "Cell",
    "Check",
    "Contender",
    "Outcome",
    "Study",
    "run_study",
    "sample",
    "stored",
    "stored_records",
    "study",
    "verify",
]

RESULTS = Path(__file__).with_name("results.jsonl")
"""The stored results that come with the package.

:meta hide-value:
"""

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
FOUR_RATES = LEARNING_RATES[1:5]
DEPTHS = (10, 20, 50, 100, 200, 500)
TUNING_SEED, SEEDS = 0, (1, 2, 3)
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
EXPONENTS = (0.0, 0.5, 1.0)

ONE_PASS: Mapping[str, Any] = {"data": "fashion-mnist", "held_out": 10_000, "steps": 390}
"""One pass over the 50,000 training images that are not held out, in batches of 128."""

Records = Mapping[str, Record]  # by the key of their run


@dataclass(frozen=True)
class Contender:
    """A kind of network as the book compares it."""

    name: str  # as in tables and figures
    architecture: str
    options: Mapping[str, Any]
    orthogonal: bool  # the Jacobian of its trunk is exactly orthogonal
    skip: bool  # it has a skip connection x + …
    thresholded: bool  # near-linear at the start, by a threshold τ > 0


def _exact(name: str, architecture: str, *, skip: bool = False, **options: float) -> Contender:
    thresholded = options.get("threshold", 0.0) > 0
    return Contender(name, architecture, options, orthogonal=True, skip=skip, thresholded=thresholded)


def _baseline(name: str, architecture: str, *, skip: bool = False, **options: float) -> Contender:
    return Contender(name, architecture, options, orthogonal=False, skip=skip, thresholded=False)


CONTENDERS = {
    contender.name: contender
    for contender in (
        _exact("absolute value", "absolute"),
        _exact("MaxMin", "maxmin"),
        _exact("shifted fold, τ = 3", "shifted-fold", threshold=3.0),
        _exact("partial fold, τ = 3", "partial-fold", threshold=3.0),
        _exact("modified residual, τ = 0", "modified-residual", skip=True, threshold=0.0),
        _exact("modified residual, τ = 3", "modified-residual", skip=True, threshold=3.0),
        _exact("leaky residual, τ = 3", "leaky-residual", skip=True, threshold=3.0),
        _baseline("ReLU, He", "relu-he"),
        _baseline("ReLU, orthogonal", "relu-orthogonal"),
        _baseline("tanh, orthogonal", "tanh-orthogonal"),
        _baseline("residual", "residual", skip=True, branch_scale=1.0),
        _baseline("residual, 1/√L", "residual", skip=True),
        _baseline("ReZero", "rezero", skip=True),
        _baseline("residual, LayerNorm", "residual-layernorm", skip=True),
    )
}


VARIANTS = {
    contender.name: contender
    for contender in (
        _exact("linear", "linear"),
        _exact("shifted fold, τ = 2", "shifted-fold", threshold=2.0),
        _exact("shifted fold, τ = 4", "shifted-fold", threshold=4.0),
        _exact("partial fold, n/8, τ = 0", "partial-fold", folds=8, threshold=0.0),
        _exact("partial fold, n/8, τ = 2", "partial-fold", folds=8, threshold=2.0),
        _exact("zigzag, T = 12", "zigzag", period=12.0),
        _baseline("residual, 0.3/√L", "residual", skip=True, branch_scale=0.03),
        _baseline("residual, 1/L", "residual", skip=True, branch_scale=0.01),
        _baseline("residual, 3/√L", "residual", skip=True, branch_scale=0.3),
    )
}
"""Other settings of the best contenders' knobs, at 100 layers and width 64, and no folds at all."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A contender at one depth, trained in one way: a run for each learning rate, then one for each fresh seed."""

    contender: Contender
    depth: int
    mode: Mode
    penalty: float = TrainingConfig.penalty
    depth_exponent: float = TrainingConfig.depth_exponent
    rates: tuple[float, ...] = LEARNING_RATES  # a single one is taken as it is
    seeds: tuple[int, ...] = SEEDS
    budget: Mapping[str, Any] = field(default_factory=lambda: ONE_PASS)  # the other fields of Run

    def _run(self, learning_rate: float, seed: int, judged_on: Judge) -> Run:
        return Run(
            architecture=self.contender.architecture,
            options=self.contender.options,
            depth=self.depth,
            mode=self.mode,
            penalty=self.penalty,
            depth_exponent=self.depth_exponent,
            learning_rate=learning_rate,
            seed=seed,
            judged_on=judged_on,
            **self.budget,
        )

    def tuning_runs(self) -> list[Run]:
        """Return the runs among which the learning rate is chosen, all judged on the validation split."""
        if len(self.rates) == 1:
            return []
        return [self._run(rate, TUNING_SEED, "validation") for rate in self.rates]

    def chosen_rate(self, records: Records) -> float | None:
        """Return the learning rate of the best tuning run, the lower one of equals; None while one is missing."""
        if len(self.rates) == 1:
            return self.rates[0]
        runs = self.tuning_runs()
        if any(run.key not in records for run in runs):
            return None
        return max(runs, key=lambda run: (records[run.key].accuracy, -run.learning_rate)).learning_rate

    def final_runs(self, records: Records) -> list[Run]:
        """Return the runs of fresh seeds at the chosen rate, judged on the test split; none before it is chosen."""
        rate = self.chosen_rate(records)
        return [] if rate is None else [self._run(rate, seed, "test") for seed in self.seeds]


@dataclass(frozen=True)
class Outcome:
    """What the stored runs say of a cell."""

    cell: Cell
    learning_rate: float  # the chosen one
    tuning: tuple[Record, ...]  # a run for each learning rate, one seed, judged on the validation split
    finals: tuple[Record, ...]  # a run for each fresh seed at the chosen rate, judged on the test split

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy for each fresh seed; that of guessing where the training diverged."""
        return [record.accuracy for record in self.finals]

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of all its runs."""
        return (*self.tuning, *self.finals)

    @property
    def seconds(self) -> list[float]:
        """Seconds that each run's training took, without the measurements in between."""
        return [record.birth["training_seconds"] for record in self.records]

    @property
    def mean(self) -> float:
        """Mean test accuracy over the fresh seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float:
        """Standard deviation of the test accuracy over the fresh seeds."""
        return statistics.stdev(self.accuracies)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question and the cells that answer it."""

    name: str
    question: str
    cells: tuple[Cell, ...]

    def plan(self, records: Records) -> list[Run]:
        """Return all runs that are known so far: those of fresh seeds follow from the records of the tuning."""
        runs = [run for cell in self.cells for run in (*cell.tuning_runs(), *cell.final_runs(records))]
        return list({run.key: run for run in runs}.values())

    def outcomes(self, records: Records) -> list[Outcome]:
        """Return what the records say, cell by cell.

        Raises
        ------
        ValueError
            If a run of the study is not among the records.
        """
        missing = [run for run in self.plan(records) if run.key not in records]
        if missing:
            raise ValueError(f"of the study {self.name!r} {len(missing)} runs are missing, first {missing[0].command}")
        return [self._outcome(cell, records) for cell in self.cells]

    @staticmethod
    def _outcome(cell: Cell, records: Records) -> Outcome:
        rate = cell.chosen_rate(records)
        assert rate is not None
        tuning = tuple(records[run.key] for run in cell.tuning_runs())
        return Outcome(cell, rate, tuning, tuple(records[run.key] for run in cell.final_runs(records)))


def _mode(contender: Contender) -> Mode:
    return "constrained" if contender.orthogonal else "free"


def _comparison() -> tuple[Cell, ...]:
    return tuple(Cell(contender=c, depth=L, mode=_mode(c)) for L in DEPTHS for c in CONTENDERS.values())


def _modes() -> tuple[Cell, ...]:
    names = ("shifted fold, τ = 3", "modified residual, τ = 3", "MaxMin")
    cells = []
    for depth, name in (*itertools.product((20, 100), names), (500, "shifted fold, τ = 3")):
        cell = Cell(contender=CONTENDERS[name], depth=depth, mode="constrained")
        penalties = PENALTIES if depth <= 100 else PENALTIES[1::2]  # the deepest runs are dear
        penalised = [replace(cell, mode="penalised", penalty=penalty) for penalty in penalties]
        cells += [replace(cell, mode="free"), *penalised, cell]
    return tuple(cells)


def _rates() -> tuple[Cell, ...]:
    fold: list[tuple[str, Mode]] = [("shifted fold, τ = 3", "constrained"), ("shifted fold, τ = 3", "free")]
    others: list[tuple[str, Mode]] = [("modified residual, τ = 3", "constrained"), ("residual, 1/√L", "free")]
    ways = [(depth, way) for depth in (20, 100) for way in fold + others] + [(500, way) for way in fold]
    return tuple(
        Cell(contender=CONTENDERS[name], depth=depth, mode=mode, depth_exponent=exponent, seeds=())
        for (depth, (name, mode)), exponent in itertools.product(ways, EXPONENTS)
    )


def _knobs() -> tuple[Cell, ...]:
    names = ("shifted fold, τ = 3", "partial fold, τ = 3", "residual, 1/√L")
    return tuple(
        Cell(contender=c, depth=100, mode=_mode(c)) for c in (*(CONTENDERS[name] for name in names), *VARIANTS.values())
    )


def _five_passes() -> tuple[Cell, ...]:
    ways: list[tuple[str, Mode]] = [("shifted fold, τ = 3", "free"), ("shifted fold, τ = 3", "constrained")]
    ways += [("partial fold, τ = 3", "constrained"), ("residual, 1/√L", "free"), ("residual, LayerNorm", "free")]
    budget = dict(ONE_PASS) | {"steps": 5 * ONE_PASS["steps"]}
    return tuple(
        Cell(contender=CONTENDERS[name], depth=100, mode=mode, rates=LEARNING_RATES[1:], budget=budget)
        for name, mode in ways
    )


def _coherence() -> tuple[Cell, ...]:
    """Members whose singular values are all 1, and whose gradients agree from hardly at all to entirely."""
    thresholds = (0.5, 1.0, 1.5, 2.0, 3.0)
    folds = [_exact(f"shifted fold, τ = {tau:g}", "shifted-fold", threshold=tau) for tau in (*thresholds, 4.0)]
    skips = [
        _exact(f"modified residual, τ = {tau:g}", "modified-residual", skip=True, threshold=tau)
        for tau in (0.0, *thresholds)
    ]
    ladder = (CONTENDERS["absolute value"], *folds, VARIANTS["linear"], *skips)
    return tuple(Cell(contender=c, depth=depth, mode="constrained") for depth in (100, 500) for c in ladder)


def _near(name: str, architecture: str, **options: float) -> Contender:
    skip, thresholded = architecture == "smooth-residual", options["threshold"] > 0
    return Contender(name, architecture, options, orthogonal=False, skip=skip, thresholded=thresholded)


def _nearly() -> tuple[Cell, ...]:
    """From exact members to beyond the depth budget, at the four rates around those that suit the exact members."""
    exact = (_exact(f"shifted fold, τ = {tau:g}", "shifted-fold", threshold=tau) for tau in (1.0, 3.0))
    distances = {0.0: (0.01, 0.03, 0.1, 0.3), 1.0: (0.1, 0.3), 3.0: (0.1, 0.3, 1.0, 3.0)}
    smooth = {
        (tau, epsilon): _near(
            f"smooth fold, τ = {tau:g}, ε = {epsilon:g}", "smooth-fold", threshold=tau, epsilon=epsilon
        )
        for tau, epsilons in distances.items()
        for epsilon in epsilons
    }
    uneven = {
        (tau, delta): _near(f"uneven fold, τ = {tau:g}, δ = {delta:g}", "uneven-fold", threshold=tau, delta=delta)
        for tau, delta in ((0.0, 0.03), (0.0, 0.1), (0.0, 0.3), (1.0, 0.3), (3.0, 0.9))
    }
    residual = _near("smooth residual, τ = 3, ε = 0.3", "smooth-residual", threshold=3.0, epsilon=0.3)
    contenders = (CONTENDERS["absolute value"], *exact, *smooth.values(), *uneven.values(), residual)
    deep = [contenders[1], contenders[2], *(smooth[3.0, epsilon] for epsilon in (0.1, 0.3, 1.0)), uneven[1.0, 0.3]]
    ways = [(100, c) for c in contenders] + [(500, c) for c in deep]
    return tuple(Cell(contender=c, depth=depth, mode="constrained", rates=FOUR_RATES) for depth, c in ways)


def _partial() -> tuple[Cell, ...]:
    """Layers whose Jacobian is a partial isometry as long as W is orthogonal, which the constrained mode keeps."""
    deepest = _baseline("threshold ReLU, τ = 3", "threshold-relu", threshold=3.0)
    kept = (
        *(_baseline(f"threshold ReLU, τ = {tau:g}", "threshold-relu", threshold=tau) for tau in (1.0, 2.0)),
        deepest,
        *(_baseline(f"soft threshold, τ = {tau:g}", "soft-threshold", threshold=tau) for tau in (0.001, 0.01)),
        *(_baseline(f"hard tanh, h = {h:g}", "hard-tanh", limit=h) for h in (1.0, 2.0, 3.0)),
    )
    ways: list[tuple[Contender, int, Mode]] = [(contender, 100, "constrained") for contender in kept]
    ways += [(deepest, 100, "free"), (_baseline("looks linear", "looks-linear"), 100, "free")]
    ways += [(deepest, 500, "constrained")]
    return tuple(Cell(contender=c, depth=depth, mode=mode, rates=FOUR_RATES) for c, depth, mode in ways)


def _persists(kind: str, k: int, activation: str = "relu", keeps: str = "forward") -> Contender:
    name = f"{kind}, {activation}, k = {k}" + ("" if keeps == "forward" else f", kept {keeps}")
    options = {"persistent": k, "activation": activation, "keeps": keeps}
    skip = kind == "residual"
    return Contender(name, f"persistent-{kind}", options, orthogonal=False, skip=skip, thresholded=False)


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


def _verification() -> tuple[Cell, ...]:
    budget = {"data": "fashion-mnist-small", "steps": 100}
    return tuple(Cell(contender=c, depth=10, mode=_mode(c), rates=(3e-3,), budget=budget) for c in CONTENDERS.values())


STUDIES = {
    study.name: study
    for study in (
        Study(
            name="verification",
            question="Small runs of every contender, to be repeated anywhere in a minute.",
            cells=_verification(),
        ),
        Study(
            name="comparison",
            question="How do orthogonal networks of any depth compare with others, at equal budget?",
            cells=_comparison(),
        ),
        Study(
            name="modes",
            question="Is orthogonality at the start enough, or must it be encouraged or kept?",
            cells=_modes(),
        ),
        Study(
            name="rates",
            question="How does the best learning rate move with depth?",
            cells=_rates(),
        ),
        Study(
            name="knobs",
            question="Does tuning an architecture's own knob close the gap at 100 layers?",
            cells=_knobs(),
        ),
        Study(
            name="five-passes",
            question="Does the comparison at 100 layers change with five times the training?",
            cells=_five_passes(),
        ),
        Study(
            name="coherence",
            question="How does accuracy depend on the agreement of gradients, at equal singular values?",
            cells=_coherence(),
        ),
        Study(
            name="nearly",
            question="How far from orthogonal may a network be, for a given depth?",
            cells=_nearly(),
        ),
        Study(
            name="partial",
            question="Do networks train at 100 layers whose layers' Jacobians are partial isometries?",
            cells=_partial(),
        ),
        Study(
            name="persistent",
            question="How large must a persistent subspace be, and does the activation beside it matter?",
            cells=_persistent(),
        ),
    )
}


def study(name: str) -> Study:
    """Return a study by its name; ValueError if it is unknown."""
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}; allowed: {', '.join(STUDIES)}")
    return STUDIES[name]


@functools.cache
def stored_records() -> Records:
    """Return the records that come with the package, by key."""
    return by_key(Store(RESULTS))


def by_key(store: Store) -> Records:
    """Return the records of a store by the key of their run, without those that failed: they say nothing."""
    return {record.run.key: record for record in store.records() if record.status != "failed"}


def stored(name: str) -> list[Outcome]:
    """Return the stored outcomes of a study, cell by cell, in the order of its plan."""
    return study(name).outcomes(stored_records())


def table(outcomes: Iterable[Outcome], *, tablefmt: str = "html") -> str:
    """Return outcomes as a table, in a format of the library tabulate: html for notebooks, simple for a terminal."""
    rows = []
    for outcome in outcomes:
        cell, size = outcome.cell, outcome.records[0].result
        mode = f"{cell.mode}, λ = {cell.penalty:g}" if cell.mode == "penalised" else cell.mode
        row = {"contender": cell.contender.name, "layers": cell.depth, "mode": mode}
        row |= {"learning rate": f"{outcome.learning_rate:g}"}
        if outcome.finals:
            row |= {"test accuracy": f"{100 * outcome.mean:.2f} ± {100 * outcome.spread:.2f} %"}
            row |= {"diverged": sum(record.status != "finished" for record in outcome.finals)}
        else:
            best = max(record.accuracy for record in outcome.tuning)
            row |= {"p": cell.depth_exponent, "validation accuracy": f"{100 * best:.2f} %"}
        row |= {"parameters": f"{size['parameters']:,}", "multiplications": f"{size['multiplications']:,}"}
        rows.append(row | {"seconds": f"{statistics.median(outcome.seconds):.1f}"})
    return tabulate(rows, headers="keys", tablefmt=tablefmt)


def run_study(study: Study, store: Store, **options: Any) -> Iterator[Record]:
    """Run what a store lacks of a study, stage after stage; arguments, results and errors as in `sweep`.

    A run that fails ends the study after its stage, as the next one may depend on it.
    """
    failed = False
    while not failed:
        records = by_key(store)
        runs = study.plan(records)
        if all(run.key in records for run in runs):
            return
        for record in sweep(runs, store, **options):
            failed |= record.status == "failed"
            yield record


# --- repeating what is stored ---


@dataclass(frozen=True)
class Check:
    """A stored run that was repeated."""

    stored: Record
    repeated: Record
    tolerance: float  # 0 where the result must be the same to the last digit

    @property
    def matches(self) -> bool:
        """Whether the repeated run says what the stored one says."""
        if self.tolerance == 0:
            return (self.repeated.status, self.repeated.result) == (self.stored.status, self.stored.result)
        return abs(self.repeated.accuracy - self.stored.accuracy) <= self.tolerance


def sample(study: Study, records: Records) -> list[Run]:
    """Return for every contender of a study the smallest of its stored runs: fewest layers times steps."""
    smallest: dict[str, Run] = {}
    for cell in study.cells:
        for run in (*cell.tuning_runs(), *cell.final_runs(records)):
            best = smallest.setdefault(cell.contender.name, run)
            if run.key in records and run.depth * run.steps < best.depth * best.steps:
                smallest[cell.contender.name] = run
    return list(smallest.values())


def verify(runs: Iterable[Run], records: Records) -> Iterator[Check]:
    """Repeat stored runs and compare.

    With the versions of torch and numpy and on the type of device that are stored, the results must be the same to the
    last digit. Otherwise roundings differ, and training amplifies them: then the accuracy may differ by four times the
    standard deviation over the other seeds, or that of counting right answers among the judging images if it is more.
    """
    for run in runs:
        stored = records[run.key]
        repeated = execute_on_one_thread(run)
        same = ("torch", "numpy", "device", "threads")
        exact = all(stored.birth.get(name) == repeated.birth.get(name) for name in same)
        yield Check(stored, repeated, 0.0 if exact else _tolerance(stored, records))


def _tolerance(stored: Record, records: Records) -> float:
    """Return four standard deviations: over the other seeds, or of counting right answers if that is more."""
    seedless = replace(stored.run, seed=0)
    same_but_seed = (record for record in records.values() if replace(record.run, seed=0) == seedless)
    others = [record.accuracy for record in same_but_seed if record.run != stored.run]
    spread = statistics.stdev(others) if len(others) > 1 else 0.0
    images = 2_000 if stored.run.data == "fashion-mnist-small" else 10_000
    return 4 * max(spread, math.sqrt(stored.accuracy * (1 - stored.accuracy) / images))
