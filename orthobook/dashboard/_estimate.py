"""How long a training run will take on this device, by a short measurement, and how that is said."""

from __future__ import annotations

import functools
import itertools
import statistics
import threading
from dataclasses import replace

import numpy as np
import torch

from orthobook.dashboard._base import Choice
from orthobook.data import Dataset, Split
from orthobook.sources import SOURCES
from orthobook.training import TrainingConfig, train

__all__ = ["in_words", "no_probe", "seconds_per_step"]

PROBE_STEPS = 4
QUICK = 1.0  # seconds that the steps of a deeper probe may take
LONG = 60  # seconds: a run that would take longer is announced

no_probe = threading.Event()  # cleared while a probe measures; runs wait for it
no_probe.set()


def seconds_per_step(choice: Choice, config: TrainingConfig) -> float:
    """Return about how long a training step will take on this device.

    Measured by a probe: a few steps of a network of ten layers, on random images, and of ten times as many as long as
    that is quick, for a network that fills the caches is slower. From there on the time is proportional to the depth. A
    run that is going on waits meanwhile, or each would slow the other.
    """
    no_probe.clear()
    try:
        depth = min(choice.depth, 10)
        seconds = _probe(replace(choice, depth=depth), config)
        while depth < choice.depth and 10 * PROBE_STEPS * seconds < QUICK:
            depth = min(choice.depth, 10 * depth)
            seconds = _probe(replace(choice, depth=depth), config)
    finally:
        no_probe.set()
    return seconds * choice.depth / depth


def _probe(choice: Choice, config: TrainingConfig) -> float:
    """Return the duration of a step, the first apart."""
    data = _random_images(choice.data, config.batch_size)
    history = list(train(choice.build(data), data, replace(config, steps=PROBE_STEPS), progress=False))
    return statistics.median(after.seconds - before.seconds for before, after in itertools.pairwise(history))


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
