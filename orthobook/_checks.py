"""Checks of arguments, so that a bad value is named before any work."""

from __future__ import annotations

import math
from numbers import Integral, Real

import torch
from torch import Tensor


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return a whole number as an int; ValueError if it is none or below ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def finite_number(name: str, value: object, *, positive: bool = False) -> float:
    """Return a number as a float; ValueError if it is none, not finite or, where asked for, not positive."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value) or (positive and value <= 0):
        kind = "a positive finite number" if positive else "a finite number"
        raise ValueError(f"{name} must be {kind}, got {value!r}")
    return float(value)


def class_labels(labels: object, *, examples: int, classes: int) -> Tensor:
    """Return labels; ValueError unless they are a class, 0 … classes − 1, for each example."""
    if not isinstance(labels, Tensor) or labels.shape != (examples,) or labels.dtype != torch.int64:
        what = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else repr(labels)
        raise ValueError(f"labels must be {examples} numbers of torch.int64, got {what}")
    if examples and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels must lie in 0 … {classes - 1}, got {labels.min()} … {labels.max()}")
    return labels
