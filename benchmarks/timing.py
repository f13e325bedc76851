"""What the benchmarks share: options, facts about the machine, and tables, printed and stored."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from orthobook.study import timings
from orthobook.study.provenance import birth_certificate, device_model
from orthobook.study.run import Benchmark, Record
from orthobook.study.store import Store
from orthobook.study.timings import BURST, Cell


def parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with the options that all benchmarks have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--repetitions", type=positive, default=25, help=f"rounds of {BURST} calls of every row")
    result.add_argument("--threads", type=positive, default=min(2, os.cpu_count() or 1), help="threads of torch")
    result.add_argument("--seed", type=int, default=0, help="seed of data and parameters")
    result.add_argument("--store", type=Path, help="a store to which the tables are added, as one record")
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


class Report:
    """The tables of one benchmark with what they depend on: printed as they come, and stored at the end if asked."""

    def __init__(self, benchmark: str, arguments: argparse.Namespace) -> None:
        options = {name: value for name, value in vars(arguments).items() if name != "store"}
        self.run = Benchmark(benchmark=benchmark, options=options)
        self.store = Store(arguments.store) if arguments.store is not None else None
        if self.store is not None and self.store.holds(self.run):
            print(f"{self.store.path} holds this benchmark with these options; another file would measure it again.")
            raise SystemExit
        self.start = time.perf_counter()
        self.tables: dict[str, dict[str, dict[str, Any]]] = {}
        self.facts: dict[str, Any] = {}
        print(", ".join(f"{name} {value}" for name, value in self._birth().items() if name != "seconds"))
        print("float32, " + ", ".join(f"{name} {value}" for name, value in options.items()))
        print("Medians over the repetitions, quartiles in brackets; ratios are taken within each repetition.")
        print()

    def _birth(self) -> dict[str, Any]:
        return birth_certificate(device_model(torch.device("cpu")), self.start)

    def table(self, title: str, rows: Mapping[str, Mapping[str, Cell]]) -> None:
        """Print and keep a table: cells by row and column."""
        kept = {name: {column: _kept(cell) for column, cell in row.items()} for name, row in rows.items()}
        print(timings.table(title, kept) + "\n")
        self.tables[title] = kept

    def fact(self, words: str, cell: Cell) -> None:
        """Print and keep one number."""
        self.facts[words] = _kept(cell)
        print(f"{words:<42} {timings.cell(self.facts[words])}")

    def curve(self, words: str, values: Sequence[float], points: int = 100) -> None:
        """Keep means over equal stretches of a long sequence."""
        bounds = [round(index * len(values) / points) for index in range(points + 1)]
        stretches = [values[start:end] for start, end in pairwise(bounds) if end > start]
        self.facts[words] = [float(f"{fmean(stretch):.4g}") for stretch in stretches]

    def close(self) -> None:
        """Add the record to the store that was asked for."""
        if self.store is not None:
            result = {**self.facts, "tables": self.tables}
            self.store.append(Record(run=self.run, status="finished", result=result, birth=self._birth()))


def milliseconds(seconds: Sequence[float]) -> list[float]:
    """Return times in milliseconds."""
    return [1e3 * value for value in seconds]


def _kept(cell: Cell) -> Any:
    """Return a cell as it is stored: of a sample the median and the quartiles."""
    if isinstance(cell, (str, int, float)):
        return cell
    return [float(f"{value:.4g}") for value in timings.quartiles(cell)]
