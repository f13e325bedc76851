"""Repeating stored runs, to see whether they say again what is stored."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from orthobook.study.design import Records, Study
from orthobook.study.execution import execute_on_one_thread
from orthobook.study.run import Record, Run

__all__ = ["Check", "sample", "verify"]


@dataclass(frozen=True)
class Check:
    """A stored run that was repeated."""

    stored: Record[Run]
    repeated: Record[Run]
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
        for run in (*cell.tuning_runs, *cell.final_runs(records)):
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


def _tolerance(stored: Record[Run], records: Records) -> float:
    """Return four standard deviations: over the other seeds, or of counting right answers if that is more."""
    seedless = replace(stored.run, seed=0)
    same_but_seed = (record for record in records.values() if replace(record.run, seed=0) == seedless)
    others = [record.accuracy for record in same_but_seed if record.run != stored.run]
    spread = statistics.stdev(others) if len(others) > 1 else 0.0
    images = 2_000 if stored.run.data == "fashion-mnist-small" else 10_000
    return 4 * max(spread, math.sqrt(stored.accuracy * (1 - stored.accuracy) / images))
