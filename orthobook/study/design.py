"""How a study is designed: contenders, each with the same budget, in cells; and what the stored runs say of a cell.

A contender is a kind of network as the book compares it: an architecture, its options and how it is trained. All have
the same budget: the same learning rates, one seed and a validation split to choose among them, then fresh seeds on the
test split at the chosen rate.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthobook.layers.base import Block, block
from orthobook.study.run import Judge, Measure, Record, Run
from orthobook.study.store import Store
from orthobook.study.sweep import sweep
from orthobook.training import Mode, TrainingConfig

__all__ = ["Cell", "Contender", "Outcome", "Study", "by_key", "run_study"]

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
TUNING_SEED, SEEDS = 0, (1, 2, 3)

ONE_PASS: Mapping[str, Any] = {"data": "fashion-mnist", "held_out": 10_000, "steps": 390}
"""One pass over the 50,000 training images that are not held out, in batches of 128."""

RESULTS = Path(__file__).with_name("results.jsonl")
"""The stored results that come with the package.

:meta hide-value:
"""

Records = Mapping[str, Record[Run]]  # by the key of their run


@dataclass(frozen=True)
class Contender:
    """A kind of network as the book compares it."""

    name: str  # as in tables and figures
    architecture: str
    options: Mapping[str, Any]

    @functools.cached_property
    def block(self) -> Block:
        """The kind of layer."""
        return block(self.architecture, **self.options)

    @property
    def orthogonal(self) -> bool:
        """Whether the Jacobian of its trunk is exactly orthogonal."""
        return self.block.isometric

    @property
    def skip(self) -> bool:
        """Whether it has a skip connection x + …."""
        return self.block.has_skip

    @property
    def thresholded(self) -> bool:
        """Whether it is orthogonal and near-linear at the start, by a threshold τ > 0."""
        return self.orthogonal and getattr(self.block, "threshold", 0.0) > 0


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
    measure: Measure = "none"  # of the networks of fresh seeds, beside their accuracy
    budget: Mapping[str, Any] = field(default_factory=lambda: ONE_PASS)  # the other fields of Run

    def _run(self, learning_rate: float, seed: int, judged_on: Judge, measure: Measure) -> Run:
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
            measure=measure,
            **self.budget,
        )

    @functools.cached_property
    def tuning_runs(self) -> tuple[Run, ...]:
        """The runs among which the learning rate is chosen, all judged on the validation split."""
        return (
            ()
            if len(self.rates) == 1
            else tuple(self._run(rate, TUNING_SEED, "validation", "none") for rate in self.rates)
        )

    def chosen_rate(self, records: Records) -> float | None:
        """Return the learning rate of the best tuning run, the lower one of equals; None while one is missing."""
        if len(self.rates) == 1:
            return self.rates[0]
        if any(run.key not in records for run in self.tuning_runs):
            return None
        return max(self.tuning_runs, key=lambda run: (records[run.key].accuracy, -run.learning_rate)).learning_rate

    def final_runs(self, records: Records) -> list[Run]:
        """Return the runs of fresh seeds at the chosen rate, judged on the test split; none before it is chosen."""
        rate = self.chosen_rate(records)
        return [] if rate is None else [self._run(rate, seed, "test", self.measure) for seed in self.seeds]


@dataclass(frozen=True)
class Outcome:
    """What the stored runs say of a cell."""

    cell: Cell
    learning_rate: float  # the chosen one
    tuning: tuple[Record[Run], ...]  # a run for each learning rate, one seed, judged on the validation split
    finals: tuple[Record[Run], ...]  # a run for each fresh seed at the chosen rate, judged on the test split

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy for each fresh seed; that of guessing where the training diverged."""
        return [record.accuracy for record in self.finals]

    @property
    def records(self) -> tuple[Record[Run], ...]:
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
    design: Callable[[], tuple[Cell, ...]]
    results: Path  # what comes with the package

    @functools.cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, in the order of tables."""
        return self.design()

    def plan(self, records: Records) -> list[Run]:
        """Return all runs that are known so far: those of fresh seeds follow from the records of the tuning."""
        runs = [run for cell in self.cells for run in (*cell.tuning_runs, *cell.final_runs(records))]
        return list({run.key: run for run in runs}.values())

    def outcomes(self, records: Records) -> list[Outcome]:
        """Return what the records say, cell by cell.

        Raises
        ------
        ValueError
            If a run of the study is not among the records.
        """
        outcomes = self.complete(records)
        if len(outcomes) < len(self.cells):
            missing = [run for run in self.plan(records) if run.key not in records]
            raise ValueError(f"of the study {self.name!r} {len(missing)} runs are missing, first {missing[0].command}")
        return outcomes

    def complete(self, records: Records) -> list[Outcome]:
        """Return what the records say of the cells of which no run is missing."""
        return [outcome for cell in self.cells if (outcome := _outcome(cell, records)) is not None]


def _outcome(cell: Cell, records: Records) -> Outcome | None:
    rate, finals = cell.chosen_rate(records), cell.final_runs(records)
    if rate is None or any(run.key not in records for run in finals):
        return None
    tuning, final = (tuple(records[run.key] for run in runs) for runs in (cell.tuning_runs, finals))
    return Outcome(cell, rate, tuning, final)


def by_key(store: Store) -> Records:
    """Return the records of a store by the key of their run, without those that failed: they say nothing."""
    return {record.run.key: record for record in store.records() if record.status != "failed"}


def run_study(study: Study, store: Store, **options: Any) -> Iterator[Record[Run]]:
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
