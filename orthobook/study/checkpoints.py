"""Checkpoints of a run: written so that at any moment there is a whole one, and read with care."""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from orthobook import __version__
from orthobook.study.run import Run
from orthobook.training import Training

__all__ = ["deferred_interrupts", "load", "save"]

FORMAT = 2  # in 1 a network did not say whose it is
"""Version of a checkpoint's layout."""


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and requests to terminate in a list, so that a step is never broken off; a second one acts."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main one may have handlers
        yield caught
        return

    def handle(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save(path: Path, run: Run, training: Training, milestones: list[dict[str, Any]]) -> None:
    """Write the checkpoint beside its place and then move it there: at any moment there is a whole one."""
    state = {"format": FORMAT, "run": asdict(run), "milestones": milestones, "training": training.state_dict()}
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
        warnings.warn(f"could not write the checkpoint {path}: {error}; the run goes on without", stacklevel=2)
        with contextlib.suppress(OSError):
            partial.unlink()


def load(path: Path, run: Run) -> dict[str, Any] | None:
    """Return what a checkpoint holds, None if there is none."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the sums
            if (part := archive.testzip()) is not None:
                raise ValueError(f"the sum of {part} is another")
        state = torch.load(path, map_location="cpu", weights_only=True)
        found, other = state["format"], dict(state["run"])
        _ = state["training"]["history"], state["milestones"][0]["step"]
    except Exception as error:  # torch raises whatever it stumbles over
        raise ValueError(f"{path} is no checkpoint, or a damaged one: {type(error).__name__}: {error}") from error
    if found != FORMAT:
        raise ValueError(f"the checkpoint {path} has format {found!r}; orthobook {__version__} reads {FORMAT}")
    if other != asdict(run):
        differing = ", ".join(name for name, value in asdict(run).items() if other.get(name) != value)
        raise ValueError(f"the checkpoint {path} belongs to a run with another {differing}")
    return state
