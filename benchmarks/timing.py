"""What the benchmarks share: options, facts about the machine, interleaved timing, and tables of ratios."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import torch

import orthobook as ob

# A call that follows another one finds cold caches: of this many in a row, the median is kept.
BURST = 3


def options(description: str, *, batch: int) -> argparse.Namespace:
    """Read the command line, and set torch's threads and seed as it says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--depth", type=_positive, default=100, help="layers of the trunk")
    parser.add_argument("--width", type=_positive, default=64, help="width of the trunk")
    parser.add_argument("--batch", type=_positive, default=batch, help="inputs at a time")
    parser.add_argument("--repetitions", type=_positive, default=25, help=f"rounds of {BURST} calls of every row")
    parser.add_argument("--threads", type=_positive, default=min(2, os.cpu_count() or 1), help="threads of torch")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and parameters")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    return arguments


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def print_facts(arguments: argparse.Namespace) -> None:
    """Print what the numbers depend on: machine, versions, date and options."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()}, {_processor()}")
    print(f"python {platform.python_version()}, torch {torch.__version__}, orthobook {ob.__version__}")
    print("cpu, float32, " + ", ".join(f"{name} {value}" for name, value in vars(arguments).items()))
    print("Medians over the repetitions, quartiles in brackets; ratios are taken within each repetition.")
    print()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:  # not Linux
        names = []
    return f"{os.cpu_count()} × {names[0] if names else platform.processor() or platform.machine()}"


def interleaved(calls: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Time calls in turn, A B C A B C …, so that whatever else the machine does meets all of them alike.

    Returns
    -------
    dict of list of float
        Seconds of each call, one value for each repetition: the median of ``BURST`` calls in a row.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            seconds[name].append(statistics.median(_seconds(call) for _ in range(BURST)))
    return seconds


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Return the ratio of two rows in every repetition."""
    return [above / below for above, below in zip(numerator, denominator, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Return the median and the quartiles as text."""
    quartiles = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64))
    return "{:.2f} [{:.2f}, {:.2f}]".format(*quartiles.tolist())


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with its first column flush left and the others flush right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]))
    print()
