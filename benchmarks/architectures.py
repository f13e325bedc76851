"""One training step of every architecture, free and constrained, against an `nn.Sequential` of the same layers."""

from __future__ import annotations

from functools import partial
from itertools import islice

import peers
import torch
from timing import Report, milliseconds, parsed, parser, sizes
from training_step import WARM_UP, gaussian_data, network

import orthobook as ob
from orthobook.study.timings import interleaved, ratios


def main() -> None:
    """Time, and print the table."""
    arguments = parsed(sizes(parser("Time a training step of every architecture."), depth=100, width=64, batch=128))
    data = gaussian_data(arguments.batch)
    report = Report("architectures", arguments)
    config = partial(ob.TrainingConfig, steps=10**6, batch_size=arguments.batch, seed=arguments.seed)
    rows = {}
    for name in ob.architectures("square"):
        runs = {
            mode: ob.train(network(arguments, name), data, config(mode=mode), progress=False)
            for mode in ("free", "constrained")
        }
        model = peers.layer_by_layer(network(arguments, name))
        runs["list"] = peers.steps(model, data, config(), torch.optim.Adam(model.parameters(), 3e-4, fused=True))
        for run in runs.values():
            for _ in islice(run, WARM_UP):
                pass
        seconds = interleaved({mode: partial(next, run) for mode, run in runs.items()}, arguments.repetitions)
        rows[name] = {
            "free, milliseconds": milliseconds(seconds["free"]),
            "free / list": ratios(seconds["free"], seconds["list"]),
            "constrained / free": ratios(seconds["constrained"], seconds["free"]),
            "constrained / list": ratios(seconds["constrained"], seconds["list"]),
        }
    report.table("training step by architecture", rows)
    report.close()


if __name__ == "__main__":
    main()
