"""What the benchmarks share: options, facts about the machine, and tables, printed and stored."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import orthobook as ob
from orthobook.study.timings import BURST, quartiles

Cell = float | Sequence[float] | str  # a number, a sample of which median and quartiles are shown, or words


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with the options that all benchmarks have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--repetitions", type=positive, default=25, help=f"rounds of {BURST} calls of every row")
    result.add_argument("--threads", type=positive, default=min(2, os.cpu_count() or 1), help="threads of torch")
    result.add_argument("--seed", type=int, default=0, help="seed of data and parameters")
    result.add_argument("--store", type=Path, help="a file to which the tables are appended, as one line of JSON")
    return result


def sizes(result: argparse.ArgumentParser, **defaults: int) -> argparse.ArgumentParser:
    """Add the options for sizes: depth, width, batch, as far as they are given."""
    meanings = {"depth": "layers of the trunk", "width": "width of the trunk", "batch": "inputs at a time"}
    for name, default in defaults.items():
        result.add_argument(f"--{name}", type=positive, default=default, help=meanings[name])
    return result


def parsed(result: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and set torch's threads and seed as it says."""
    arguments = result.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    return arguments


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


@dataclass
class Report:
    """The tables of one benchmark with what they depend on: printed as they come, and stored at the end if asked."""

    benchmark: str
    arguments: argparse.Namespace
    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = {name: value for name, value in vars(self.arguments).items() if name != "store"}
        versions = {"python": platform.python_version(), "torch": torch.__version__, "orthobook": ob.__version__}
        machine = f"{_processor()}, {os.cpu_count()} cores"
        date = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        self.facts |= {"date": date, "machine": machine, "versions": versions, "options": options}
        print(f"{date} UTC, {platform.system()}, {machine}")
        print(", ".join(f"{name} {version}" for name, version in versions.items()))
        print("cpu, float32, " + ", ".join(f"{name} {value}" for name, value in options.items()))
        print("Medians over the repetitions, quartiles in brackets; ratios are taken within each repetition.")
        print()

    def table(self, title: str, rows: Mapping[str, Mapping[str, Cell]]) -> None:
        """Print and keep a table: cells by row and column."""
        header = [title, *next(iter(rows.values()))]
        print_table(header, [[name, *(_shown(cell) for cell in row.values())] for name, row in rows.items()])
        self.tables[title] = {
            name: {column: _stored(cell) for column, cell in row.items()} for name, row in rows.items()
        }

    def fact(self, words: str, cell: Cell) -> None:
        """Print and keep one number."""
        print(f"{words:<42} {_shown(cell)}")
        self.facts[words] = _stored(cell)

    def curve(self, words: str, values: Sequence[float], points: int = 100) -> None:
        """Keep means over equal stretches of a long sequence."""
        bounds = [round(index * len(values) / points) for index in range(points + 1)]
        stretches = [values[start:end] for start, end in pairwise(bounds) if end > start]
        self.facts[words] = [float(f"{fmean(stretch):.4g}") for stretch in stretches]

    def close(self) -> None:
        """Append to the file that was asked for."""
        if self.arguments.store is not None:
            line = json.dumps({"benchmark": self.benchmark, **self.facts, "tables": self.tables}, ensure_ascii=False)
            with self.arguments.store.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def milliseconds(seconds: Sequence[float]) -> list[float]:
    """Return times in milliseconds."""
    return [1e3 * value for value in seconds]


def spread(values: Sequence[float]) -> str:
    """Return the median and the quartiles as text."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*quartiles(values))


def _shown(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:.3g}" if isinstance(cell, (int, float)) else spread(cell)


def _stored(cell: Cell) -> Any:
    if isinstance(cell, (str, int, float)):
        return cell
    return [float(f"{value:.4g}") for value in quartiles(cell)]


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
