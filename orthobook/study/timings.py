"""Measuring speed by ratios, and the benchmarks that are stored with the package.

A computer's clock, cache and other programs change from moment to moment, so a time alone says little. Calls that are
to be compared take turns, A B C A B C …, and a ratio is taken within each round: what disturbs a round disturbs both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from orthobook._checks import whole_number
from orthobook.study.run import Benchmark, Record
from orthobook.study.store import Store

__all__ = ["BURST", "RESULTS", "Cell", "cell", "interleaved", "of_benchmark", "quartiles", "ratios", "stored", "table"]

Cell = float | Sequence[float] | str  # a number, median and quartiles, or words

BURST = 3
"""Calls in a row, of which the median is kept: the first finds caches cold, as another call was there before."""

RESULTS = Path(__file__).with_name("benchmarks.jsonl")
"""The stored benchmarks that come with the package; ``make bench`` makes such a file.

:meta hide-value:
"""


def interleaved(calls: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Time calls in turn.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time, by name; called without arguments.
    repetitions : int
        How many rounds.

    Returns
    -------
    dict of list of float
        Seconds of each call, one value for each round: the median of ``BURST`` calls in a row.

    Raises
    ------
    ValueError
        If the number of rounds is not a whole number of at least 1.

    Examples
    --------
    >>> seconds = interleaved({"sum": lambda: sum(range(1000)), "max": lambda: max(range(1000))}, 5)
    >>> quartiles(ratios(seconds["sum"], seconds["max"]))  # doctest: +SKIP
    """
    whole_number("repetitions", repetitions, least=1)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            seconds[name].append(statistics.median(_seconds(call) for _ in range(BURST)))
    return seconds


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of two calls' times in every round; ValueError if they have not equally many."""
    return [first / second for first, second in zip(above, below, strict=True)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the lower and the upper quartile."""
    median, low, high = np.quantile(values, (0.5, 0.25, 0.75)).tolist()
    return median, low, high


def stored(benchmark: str, **options: Any) -> list[Record[Benchmark]]:
    """Return the stored records of a benchmark, of those with the given options.

    Parameters
    ----------
    benchmark : str
        Its name, such as ``"training step"``.
    **options
        Options that it must have had, such as ``width=64``.

    Returns
    -------
    list of Record
        The ``result`` of each holds ``tables`` (title → row → column → cell, where a cell is a number, words, or
        median and quartiles), and single numbers by name. Times depend on the machine, which ``birth`` names.

    Raises
    ------
    ValueError
        If no such record is stored; the message names those that are.
    """
    found = of_benchmark(benchmark, Store(RESULTS))
    chosen = [record for record in found if options.items() <= record.run.options.items()]
    if not chosen:
        known = "; ".join(str(record.run.options) for record in found)
        raise ValueError(f"no run of {benchmark!r} with the options {options} is stored; stored are: {known}")
    return chosen


def of_benchmark(benchmark: str, store: Store) -> list[Record[Benchmark]]:
    """Return a store's records of a benchmark; ValueError, which names those that it has, if there is none."""
    records = [record for record in store.records() if isinstance(record.run, Benchmark)]
    found = [record for record in records if record.run.benchmark == benchmark]
    if not found:
        known = ", ".join(dict.fromkeys(record.run.benchmark for record in records))
        raise ValueError(f"no benchmark {benchmark!r} is stored; stored are: {known}")
    return found


def table(title: str, rows: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return one table of a benchmark as text: cells by row and column, of a sample the median and the quartiles."""
    shown = [[name, *map(cell, row.values())] for name, row in rows.items()]
    header = [title, *next(iter(rows.values()))]
    align = ["left", *("right" for _ in header[1:])]
    return tabulate(shown, headers=header, tablefmt="simple", colalign=align, disable_numparse=True)


def cell(value: Cell) -> str:
    """Return a cell of a table as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return f"{value:.3g}"
    return "{:.2f} [{:.2f}, {:.2f}]".format(*value)
