"""How long a training run will take on this device, by a short measurement, and how that is said."""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from orthobook.data import Dataset, Split
from orthobook.data.sources import SOURCES
from orthobook.teaching.dashboard._base import Choice
from orthobook.teaching.dashboard._run import SHARE, look_at, no_probe
from orthobook.training import TrainingConfig, train

__all__ = ["in_words", "run_seconds"]

PROBE_STEPS = 4
QUICK = 1.0  # seconds that a deeper probe may take
LONG = 60  # seconds: a run that would take longer is announced


def run_seconds(choice: Choice, config: TrainingConfig) -> float:
    """Return about how long a training run will take on this device, from the building of the network to the last look.

    Measured by a probe: a few steps of a network of ten layers, on random images, and of ten times as many as long as
    that is quick, for a network that fills the caches is slower. From there on the time is proportional to the depth. A
    run that is going on waits meanwhile, or each would slow the other.

    Raises
    ------
    TrainingDiverged
        If the network's numbers overflow on random images.
    """
    no_probe.clear()
    try:
        _probe(replace(choice, depth=1), config)  # torch loads parts of itself when they are first used
        depth = min(choice.depth, 10)
        once, step = _probe(replace(choice, depth=depth), config)
        while depth < choice.depth and 10 * (once + PROBE_STEPS * step) < QUICK:
            depth = min(choice.depth, 10 * depth)
            once, step = _probe(replace(choice, depth=depth), config)
    finally:
        no_probe.set()
    return (once + config.steps * step / (1 - SHARE)) * choice.depth / depth


def _probe(choice: Choice, config: TrainingConfig) -> tuple[float, float]:
    """Return how long that takes which a run does once, building and the first and last look, and a step after it."""
    data = _random_images(choice.data, config.batch_size)
    start = time.perf_counter()
    net = choice.build(data)
    built = time.perf_counter()
    look_at(net, data, step=0)
    looked = time.perf_counter()
    # a rate too large would end the probe, and how a run fares is not for noise to say
    rate = min(config.learning_rate, TrainingConfig().learning_rate)
    short = replace(config, steps=PROBE_STEPS, learning_rate=rate)
    history = list(train(net, data, short, progress=False))
    step = statistics.median(after.seconds - before.seconds for before, after in itertools.pairwise(history))
    return built - start + 2 * (looked - built), step


@functools.cache
def _random_images(name: str, examples: int) -> Dataset:
    """Return noise in the shape of a data set, which need not be there."""
    shape = (3, 32, 32) if name == "cifar10" else (28, 28)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(examples, int(np.prod(shape)), generator=generator)
    split = Split(noise, torch.randint(10, (examples,), generator=generator))
    classes = SOURCES["cifar10"].classes
    return Dataset(f"noise like {name}", train=split, test=split, classes=classes, image_shape=shape)


def in_words(seconds: float, device: str) -> str:
    """Return an estimate of a run's time as HTML, with a warning if it is long."""
    if seconds < LONG:
        shown = "less than a second" if seconds < 1 else f"about {seconds:.0f} s"
        return f"<div>Will take {shown} on {device}, by a short measurement of this device.</div>"
    minutes = seconds / 60
    shown = f"{minutes:.1f} minutes" if minutes < 10 else f"{minutes:.0f} minutes"
    shown = shown if minutes < 120 else f"{minutes / 60:.0f} hours"
    return (
        f"<div><b>Will take more than a minute on {device}: about {shown}.</b> Fewer layers, a smaller width or fewer "
        "steps take less.</div>"
    )
