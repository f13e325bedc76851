"""Train a fully connected network of ten thousand layers, without skip connections, and measure what became of it.

Its layers are shifted folds x ↦ |Wx + b| − τ with W kept orthogonal, its data Fashion-MNIST. A quarter of an hour
on one core. Ctrl-C ends the training; what has been trained until then is measured.
"""

from __future__ import annotations

import os

# Huge pages, as to fetch the memory of so many layers in pages of 4 KiB takes as long as to use it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read when torch is loaded

import time

import torch
from timing import Report, parsed, parser, positive, sizes
from tqdm import tqdm

import orthobook as ob

MEASURED = 4  # images at which Jacobians are taken


def main() -> None:
    """Train, measure, and print the table."""
    options = sizes(parser("Train ten thousand layers."), depth=10_000, width=64, batch=128)
    options.add_argument("--steps", type=positive, default=390, help="390 are a pass over 50,000 images")
    options.add_argument("--data", default="fashion-mnist", choices=ob.data_sets(), help="data set")
    options.add_argument("--device", help="where to train; the default is the best there is")
    arguments = parsed(options)
    report = Report("ten thousand layers", arguments)
    data = ob.load(arguments.data)
    size = {"width": arguments.width, "inputs": data.train.images.shape[1], "classes": len(data.classes)}
    net = ob.build("shifted-fold", depth=arguments.depth, **size, seed=arguments.seed, device=arguments.device)
    config = ob.TrainingConfig(steps=arguments.steps, batch_size=arguments.batch, seed=arguments.seed)
    history = []
    start = time.perf_counter()
    try:
        for measurement in tqdm(ob.train(net, data, config, progress=False), total=config.steps):
            history.append(measurement)
    except KeyboardInterrupt:
        print(f"\nstopped after {len(history)} of {config.steps} steps")
    minutes = (time.perf_counter() - start) / 60
    images, labels = data.test.images[:MEASURED], data.test.labels[:MEASURED]
    singular_values = ob.singular_values(net, images, dtype=torch.float64)
    norms = ob.gradient_norms(net, images, labels)
    report.fact("device", str(net.device))
    report.fact("steps", len(history))
    report.fact("training, minutes", minutes)
    report.fact("microseconds a layer and step", minutes * 60e6 / len(history) / arguments.depth)
    report.fact("test accuracy", ob.evaluate(net, data.test).accuracy)
    report.fact("largest ‖WᵀW − I‖", net.orthogonality_error())
    report.fact("largest |σ − 1| of the whole Jacobian", (singular_values - 1).abs().max().item())
    report.fact("gradient norm, first layer / last", (norms[0] / norms[-1]).mean().item())
    report.curve("loss", [measurement.loss for measurement in history])
    report.curve("accuracy of the batch", [measurement.accuracy for measurement in history])
    report.close()


if __name__ == "__main__":
    main()
