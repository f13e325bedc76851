"""Haar matrices for all layers at once against `torch.nn.init.orthogonal_` layer by layer."""

from __future__ import annotations

import torch
from timing import Report, milliseconds, parsed, parser, sizes
from torch import nn

import orthobook as ob
from orthobook.study.timings import interleaved, ratios


def main() -> None:
    """Time, and print the table."""
    arguments = parsed(sizes(parser("Time the sampling of orthogonal weights."), depth=100, width=64))
    layers = [torch.empty(arguments.width, arguments.width) for _ in range(arguments.depth)]
    shape = (arguments.depth, arguments.width, arguments.width)

    def one_by_one() -> None:
        for weight in layers:
            nn.init.orthogonal_(weight)

    report = Report("initialisation", arguments)
    calls = {"nn.init.orthogonal_, layer by layer": one_by_one, "ob.haar, one stack": lambda: ob.haar(*shape)}
    seconds = interleaved(calls, arguments.repetitions)
    first = next(iter(seconds.values()))
    rows = {
        name: {"milliseconds": milliseconds(values), "relative to the first": ratios(values, first)}
        for name, values in seconds.items()
    }
    report.table("orthogonal weights", rows)
    print("ob.haar samples in float64, so that a seed means the same matrices in every precision; torch in float32.")
    report.close()


if __name__ == "__main__":
    main()
