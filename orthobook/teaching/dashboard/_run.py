"""One training run that can be paused, resumed and stopped while it goes on.

The run has a thread of its own. An asyncio task in the kernel's loop would be simpler, but nothing promises that a
kernel turns its loop between two cells (reports from Colab say that it does not), it would hold up every other cell of
the notebook step by step, and these it. A thread needs neither: messages from widgets reach the main thread at once,
other cells run beside it, and Ctrl-C, which Python hands to the main thread alone, cannot break a step in the middle.
Widgets may be set from any thread: that only queues a message, which is how ipywidgets' own guide updates them in the
background. The price is a lock where the main thread and the run's draw the same dashboard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from orthobook.data import Dataset
from orthobook.derivatives import gradient_norms, jacobians
from orthobook.networks import DeepNetwork
from orthobook.teaching.dashboard._base import Choice, load_once
from orthobook.training import Measurement, TrainingConfig, TrainingDiverged, train

__all__ = ["Look", "Pace", "Run", "look_at"]

State = Literal[
    "waiting", "loading the data", "building the network", "training", "paused", "stopped", "finished", "failed"
]
SHARE = 1 / 4  # of a run's time, at most, for looking and drawing
RATE = 0.2  # seconds between two pictures, at least
FEW_COORDINATES = 256  # up to this width a look takes four images, beyond it one
TIMED = 10  # steps, after which a run knows how long it takes


@dataclass(frozen=True)
class Look:
    """What a network shows besides its training, at one step."""

    step: int  # steps taken
    norms: NDArray[np.float64]  # (depth + 1,), median over the images of ‖∂ℓ/∂x_l‖
    spectrum: NDArray[np.float64] | None  # singular values of the Jacobian at a few images; None if not finite


def look_at(net: DeepNetwork, data: Dataset, *, step: int, unwanted: Callable[[], bool] = lambda: False) -> Look | None:
    """Return a look at a network; None if it turns out meanwhile that nobody wants it."""
    images, labels = data.test.images[:8], data.test.labels[:8]
    norms = gradient_norms(net, images, labels).median(dim=1).values
    for J in jacobians(net, images[: 4 if net.coordinates <= FEW_COORDINATES else 1]):  # noqa: B007 (the last one)
        if unwanted():
            return None
    spectrum = torch.linalg.svdvals(J).double().cpu().numpy() if J.isfinite().all() else None
    return Look(step, norms.double().nan_to_num(0, 0, 0).cpu().numpy(), spectrum)


class Pace:
    """Says when the next picture is due, so that pictures take no more than a share of the time."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Say whether enough time has passed since the last picture."""
        return time.perf_counter() >= self._next

    def spend(self, work: Callable[[], None]) -> None:
        """Do the work, and put off the next by as much as it took, times what the share asks for."""
        start = time.perf_counter()
        work()
        end = time.perf_counter()
        self._next = max(start + RATE, end + (end - start) * (1 - SHARE) / SHARE)


class Run(threading.Thread):
    """One training run in the background; its attributes may be read from any thread.

    Parameters
    ----------
    choice, config
        The network and how it is trained.
    show
        Called, in the run's thread, whenever there is something new to see.

    Attributes
    ----------
    history : list of Measurement
        Those of all steps taken.
    look : Look or None
        The latest look at the network.
    state : str
        waiting, loading the data, building the network, training, paused, stopped, finished or failed.
    error : Exception or None
        Why it failed.
    remaining : float or None
        About how many seconds it will still take; None before enough steps are taken to say.
    """

    def __init__(self, choice: Choice, config: TrainingConfig, show: Callable[[], None] = lambda: None) -> None:
        # a daemon: a kernel that is shut down waits for no run
        super().__init__(name="orthobook training", daemon=True)
        self.choice, self.config, self._show = choice, config, show
        self.history: list[Measurement] = []
        self.look: Look | None = None
        self.state: State = "waiting"
        self.error: Exception | None = None
        self.remaining: float | None = None
        self._stopping, self._going = threading.Event(), threading.Event()
        self._going.set()
        self._before: list[Run] = []

    @property
    def active(self) -> bool:
        """Whether it has not come to its end."""
        return self.state not in ("stopped", "finished", "failed")

    @property
    def pausing(self) -> bool:
        """Whether it has been asked to wait."""
        return not self._going.is_set()

    @property
    def stopping(self) -> bool:
        """Whether it has been asked to end."""
        return self._stopping.is_set()

    @property
    def grew(self) -> bool:
        """Whether the loss is more than twice what it was at first: more than batches differ."""
        return len(self.history) > 0 and self.history[-1].loss > 2 * self.history[0].loss

    def start(self) -> None:
        """Train in the background, as soon as the runs that go on in this kernel have ended, as they are told to."""
        self._before = end_all()
        super().start()

    def pause(self) -> None:
        """Wait after the present step."""
        self._going.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._going.set()

    def stop(self) -> None:
        """End after the present step."""
        self._stopping.set()
        self._going.set()

    def run(self) -> None:
        """Train to the end, or until it is stopped."""
        for other in self._before:
            other.join()
        self._before = []
        try:
            self._train()
            self.state = "finished" if len(self.history) == self.config.steps else "stopped"
        except (ValueError, TrainingDiverged, OSError, RuntimeError, MemoryError) as error:
            # OSError: data that cannot be had; RuntimeError: torch's own, such as a full GPU
            self.error, self.state = error, "failed"
        self._show()

    def _train(self) -> None:
        self._enter("loading the data")
        data = load_once(self.choice.data)
        if self.stopping:
            return
        self._enter("building the network")
        net, pace = self.choice.build(data), Pace()

        def picture() -> None:
            self.look = look_at(net, data, step=len(self.history), unwanted=self._stopping.is_set) or self.look
            self._show()

        self.state = "training"
        pace.spend(picture)
        steps = train(net, data, self.config, progress=False)
        start = time.perf_counter()
        while not self.stopping:
            if not self._going.is_set():
                paused = time.perf_counter()
                self.state = "paused"
                picture()
                self._going.wait()
                self.state = "training"
                start += time.perf_counter() - paused
                continue
            measurement = next(steps, None)
            if measurement is None:
                picture()
                break
            self.history.append(measurement)
            taken = len(self.history)
            if taken >= TIMED:
                self.remaining = (time.perf_counter() - start) / taken * (self.config.steps - taken)
            if pace.due():
                pace.spend(picture)

    def _enter(self, state: State) -> None:
        self.state = state
        self._show()


def end_all() -> list[Run]:
    """Ask all runs that go on in this kernel to end, and return them."""
    going_on = [thread for thread in threading.enumerate() if isinstance(thread, Run)]
    for run in going_on:
        run.stop()
    return going_on
