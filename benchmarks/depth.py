"""Time and memory of a constrained training step as the network grows deeper, for each layer.

Each depth is measured with all states kept, and with segments of √L layers whose states are computed again. Memory is
what the tensors of one step take at one time, beyond parameters and the optimiser's state.
"""

from __future__ import annotations

import os

# Huge pages, as to fetch the memory of so many layers in pages of 4 KiB takes as long as to use it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read when torch is loaded

import math
from functools import partial

from memory import peak_bytes
from timing import Report, parsed, parser, positive, sizes
from training_step import gaussian_data, network

import orthobook as ob
from orthobook.study.timings import interleaved, ratios

DEPTHS = (100, 300, 1000, 3000, 10_000)


def main() -> None:
    """Time, and print the table."""
    options = sizes(parser("Time a training step, and measure its memory, as depth grows."), width=64, batch=128)
    options.add_argument("--depths", type=positive, nargs="+", default=DEPTHS, help="layers of the trunks")
    options.set_defaults(repetitions=5)
    arguments = parsed(options)
    data = gaussian_data(arguments.batch)
    report = Report("depth", arguments)
    runs = {}
    for depth in arguments.depths:
        arguments.depth = depth
        for kept, segment in (("all states", None), ("sqrt(L) states", math.isqrt(depth))):
            config = ob.TrainingConfig(steps=10**6, batch_size=arguments.batch, segment=segment)
            runs[f"depth {depth}, {kept}"] = depth, ob.train(network(arguments), data, config, progress=False)
    for _, run in runs.values():
        next(run), next(run)  # Adam makes its state in the first
    seconds = interleaved({name: partial(next, run) for name, (_, run) in runs.items()}, arguments.repetitions)
    peaks = peak_bytes({name: partial(next, run) for name, (_, run) in runs.items()})
    by_layer = {name: [value / runs[name][0] for value in values] for name, values in seconds.items()}
    reference = next(iter(by_layer.values()))
    rows = {
        name: {
            "microseconds a layer": [1e6 * value for value in values],
            "relative to the first": ratios(values, reference),
            "KiB a layer": peaks[name] / 2**10 / runs[name][0],
        }
        for name, values in by_layer.items()
    }
    report.table("constrained training step", rows)
    report.close()


if __name__ == "__main__":
    main()
