"""Measuring speed by ratios, and the benchmarks that are stored with the package.

A computer's clock, cache and other programs change from moment to moment, so a time alone says little. Calls that are
to be compared take turns, A B C A B C …, and a ratio is taken within each round: what disturbs a round disturbs both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthobook._checks import whole_number

__all__ = ["BURST", "RESULTS", "interleaved", "quartiles", "ratios", "stored"]

BURST = 3
"""Calls in a row, of which the median is kept: the first finds caches cold, as another call was there before."""

RESULTS = Path(__file__).with_name("benchmarks.jsonl")
"""The stored benchmarks that come with the package, one in each line; ``make bench`` says how they were made.

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


def stored(benchmark: str, **options: Any) -> list[dict[str, Any]]:
    """Return what the stored runs of a benchmark measured, of those with the given options.

    Parameters
    ----------
    benchmark : str
        Its name, such as ``"training step"``.
    **options
        Options that a run must have had, such as ``width=64``.

    Returns
    -------
    list of dict
        For each run ``date``, ``machine``, ``versions``, ``options``, ``tables`` (title → row → column → cell, where
        a cell is a number, words, or median and quartiles), and single numbers by name. Times depend on the machine.

    Raises
    ------
    ValueError
        If no such run is stored; the message names those that are.
    """
    runs = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    found = [run for run in runs if run["benchmark"] == benchmark]
    if not found:
        known = ", ".join(dict.fromkeys(run["benchmark"] for run in runs))
        raise ValueError(f"no benchmark {benchmark!r} is stored; stored are: {known}")
    chosen = [run for run in found if options.items() <= run["options"].items()]
    if not chosen:
        known = "; ".join(str(run["options"]) for run in found)
        raise ValueError(f"no run of {benchmark!r} with the options {options} is stored; stored are: {known}")
    return chosen
