"""Matrix products of the network in bfloat16, what is orthogonal in float32: what that costs, and what it gains.

The same networks are trained with both, from the same parameters on the same batches of fashion-mnist-small.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from statistics import mean, stdev

from timing import Report, parsed, parser, positive, sizes

import orthobook as ob
from orthobook.study.timings import interleaved, ratios

PRODUCTS = ("full", "bfloat16")


def main() -> None:
    """Train, time, and print the table."""
    options = sizes(parser("Compare bfloat16 products with full ones."), depth=20, width=64, batch=128)
    options.add_argument("--steps", type=positive, default=ob.TrainingConfig().steps, help="steps of training")
    options.add_argument("--seeds", type=positive, default=3, help="networks of each kind, with seeds 0, 1, …")
    options.set_defaults(repetitions=5)
    arguments = parsed(options)
    data = ob.load("fashion-mnist-small")
    report = Report("precision", arguments)

    def network(seed: int) -> ob.DeepNetwork:
        size = {"depth": arguments.depth, "width": arguments.width, "inputs": 784, "classes": 10}
        return ob.build("shifted-fold", **size, seed=seed, device="cpu")

    def config(products: str, **more: int) -> ob.TrainingConfig:
        return ob.TrainingConfig(products=products, batch_size=arguments.batch, **more)

    runs = {kind: ob.train(network(0), data, config(kind, steps=10**6), progress=False) for kind in PRODUCTS}
    for run in runs.values():
        list(islice(run, 5))
    seconds = interleaved({kind: partial(next, run) for kind, run in runs.items()}, arguments.repetitions)

    rows = {}
    for kind in PRODUCTS:
        nets = [network(seed) for seed in range(arguments.seeds)]
        for seed, net in enumerate(nets):
            list(ob.train(net, data, config(kind, steps=arguments.steps, seed=seed)))
        accuracies = [ob.evaluate(net, data.test).accuracy for net in nets]
        rows[kind] = {
            "time of a step, relative to full": ratios(seconds[kind], seconds["full"]),
            "test accuracy, mean": mean(accuracies),
            "over seeds, standard deviation": stdev(accuracies) if len(accuracies) > 1 else 0.0,
            "largest ‖WᵀW − I‖": f"{max(net.orthogonality_error() for net in nets):.1e}",
        }
    report.table("products", rows)
    report.close()


if __name__ == "__main__":
    main()
