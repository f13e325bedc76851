"""Checks of arguments, so that a bad value is named before any work."""

from __future__ import annotations

import importlib
import math
from numbers import Integral, Real
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def optional(name: str, extra: str = "book") -> ModuleType:
    """Return the module ``name``, which needs what an extra of the package installs.

    Raises
    ------
    ImportError
        If that is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if missing.partition(".")[0] == "orthobook":
            raise
        raise ImportError(f'{missing} is not installed: pip install "orthobook[{extra}]"', name=missing) from error


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return a whole number as an int; ValueError if it is none or below ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def finite_number(
    name: str, value: object, *, positive: bool = False, least: float | None = None, below: float = math.inf
) -> float:
    """Return a number as a float; ValueError if it is none, not finite or outside the range that is asked for."""
    kind = "a positive finite number" if positive else "a finite number"
    kind += "" if least is None else f" of at least {least:g}"
    kind += "" if below == math.inf else f" and below {below:g}"
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number of more than 308 digits
        number = math.inf
    lowest = -math.inf if least is None else least
    if not math.isfinite(number) or (positive and number <= 0) or not lowest <= number < below:
        raise ValueError(f"{name} must be {kind}, got {value!r:.60}")
    return number


def class_labels(labels: object, *, examples: int, classes: int) -> Tensor:
    """Return labels; ValueError unless they are a class, 0 … classes − 1, for each example."""
    import torch  # here, as figures check numbers and need no torch

    if not isinstance(labels, torch.Tensor) or labels.shape != (examples,) or labels.dtype != torch.int64:
        what = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, torch.Tensor) else repr(labels)
        raise ValueError(f"labels must be {examples} numbers of torch.int64, got {what}")
    if examples and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels must lie in 0 … {classes - 1}, got {labels.min()} … {labels.max()}")
    return labels


def described(x: object) -> str:
    """Return what to say of a wrong tensor: its shape, and its kind if that holds no numbers here; else the type."""
    import torch

    if not isinstance(x, torch.Tensor):
        return type(x).__name__
    odd = [str(x.layout)] * (x.layout != torch.strided) + ["meta"] * x.is_meta
    return " ".join([str(tuple(x.shape)), *odd])


def seeded(seed: int) -> Generator:
    """Return a source of randomness on the CPU; ValueError if the seed is no whole number from 0 to 2⁶³ − 1."""
    import torch

    seed = whole_number("seed", seed, least=0)
    if seed >= 2**63:
        raise ValueError(f"seed must be below 2**63, got {seed}")
    return torch.Generator().manual_seed(seed)
