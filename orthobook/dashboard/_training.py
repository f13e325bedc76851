"""The dashboard that trains: controls, curves, gradients by layer and the spectrum, of two runs beside each other."""

from __future__ import annotations

import html
import math
import threading
from typing import Any, get_args

import ipywidgets as widgets
import numpy as np

from orthobook.blocks import architectures
from orthobook.dashboard import _svg
from orthobook.dashboard._base import Choice, Dashboard, NetworkControls, complaint, control, devices, prose
from orthobook.dashboard._estimate import in_words, seconds_per_step
from orthobook.dashboard._run import SHARE, Run
from orthobook.data import data_sets
from orthobook.figures import COLOURS
from orthobook.training import Mode, TrainingConfig

__all__ = ["TrainingDashboard", "training"]

STILL_STEPS = 60  # of the runs in the still picture

_probing = threading.Lock()  # one probe at a time, or they would slow each other
_active: Run | None = None  # one run at a time in a kernel: a new one ends it, from whichever dashboard


def training() -> TrainingDashboard:
    """Return the dashboard in which networks are trained.

    Start takes the network and the training that the controls describe. Pause waits, Stop ends, both after the present
    step. The run before stays in the picture, so that two can be compared; that can be switched off. A notebook trains
    one network at a time: another start, here or in another such dashboard, ends the run that is going on, and so does
    running the cell again.
    """
    return TrainingDashboard()


class TrainingDashboard(Dashboard):
    """See :func:`training`.

    Attributes
    ----------
    runs : list of Run
        Those in the picture: the latest, and before it the one that it is compared with.
    """

    chapter = "going-deep"
    description = "Choose a network, train it, and watch its loss, its gradients and its singular values."

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._started = 0
        self._lock = threading.RLock()  # the run's thread and the main one both draw

    # --- what is seen ---

    def _widget(self) -> widgets.Widget:
        _end()  # the run of a dashboard that this cell, or another, has shown before
        choice, config = Choice(device=devices()[0]), TrainingConfig()
        depths = NetworkControls.DEPTHS
        depth = control(widgets.SelectionSlider, "depth", options=depths, value=choice.depth, continuous_update=False)
        self.mode = control(widgets.Dropdown, "mode", options=get_args(Mode), value=config.mode)
        self.learning_rate = control(widgets.FloatText, "learning rate", value=config.learning_rate, step=0.001)
        self.steps = control(widgets.IntText, "steps", value=config.steps, step=50)
        self.data = control(widgets.Dropdown, "data set", options=data_sets(), value=choice.data)
        self.device = control(widgets.Dropdown, "device", options=devices())
        more = [self.mode, self.learning_rate, self.steps, self.data, self.device]
        self.network = NetworkControls(choice, architectures(), depth, more)
        self.start = widgets.Button(description="Start", button_style="primary", icon="play")
        self.pause = widgets.Button(description="Pause", icon="pause", disabled=True)
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.keep = widgets.Checkbox(description="compare with the run before", value=True, indent=False)
        self.keep.layout.width = "auto"
        self.estimate, self.status, self.picture = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.progress = widgets.IntProgress(min=0, max=1, layout=widgets.Layout(width="auto"))
        self.start.on_click(lambda _: self._on_start())
        self.pause.on_click(lambda _: self._on_pause())
        self.stop.on_click(lambda _: self.end())
        self.network.on_change(self._estimate)
        buttons = widgets.HBox([self.start, self.pause, self.stop, self.keep])
        buttons.layout.flex_flow = "row wrap"
        buttons.layout.align_items = "center"
        rows = [self.network.box, self.estimate, buttons, self.progress, self.status, self.picture]
        box = widgets.VBox(rows, layout=widgets.Layout(max_width="960px"))
        box.observe(self._on_comm, "comm")
        box._view_count = 0  # from None: now the front end counts the places where it is shown
        box.observe(self._on_views, "_view_count")
        self._show()
        self._estimate()
        return box

    def panels(self) -> list[str]:
        """Return the charts of the latest run and of the one before."""
        shown = {COLOURS[(self._started - len(self.runs) + i) % 2]: run for i, run in enumerate(self.runs)}
        steps = _svg.Axis(0, max([run.config.steps for run in shown.values()], default=TrainingConfig().steps))
        at = {colour: np.array([m.step for m in run.history[:]]) for colour, run in shown.items()}
        loss = {c: (at[c], [m.loss for m in run.history[: len(at[c])]]) for c, run in shown.items()}
        accuracy = {c: (at[c], [m.accuracy for m in run.history[: len(at[c])]]) for c, run in shown.items()}
        highest = math.ceil(2 * max([2.5, *(max(values) for _, values in loss.values() if values)])) / 2
        looks = {colour: run.look for colour, run in shown.items() if run.look is not None}
        norms = {c: (np.arange(len(look.norms)), look.norms) for c, look in looks.items()}
        layers = _svg.Axis(0, max([len(look.norms) - 1 for look in looks.values()], default=100))
        spectra = [(c, look.spectrum) for c, look in looks.items() if look.spectrum is not None]
        size = _svg.Axis.decades(values for _, values in norms.values())
        return [
            _svg.lines("loss of the batch", loss, steps, _svg.Axis(0, highest)),
            _svg.lines("accuracy of the batch", accuracy, steps, _svg.Axis(0, 1)),
            _svg.lines("gradient norm ‖∂ℓ/∂xₗ‖", norms, layers, size, xlabel="layer l"),
            _svg.histograms("share of the Jacobian’s singular values", spectra),
        ]

    def words(self) -> str:
        """Return the runs in the picture, what has become of them, and errors, as HTML."""
        return "".join(
            f'<div><span style="color:{COLOURS[(self._started - len(self.runs) + i) % 2]}">■</span> '
            f"{html.escape(_described(run))}</div>{complaint(run.error) if run.error else ''}"
            for i, run in enumerate(self.runs)
        )

    def still(self) -> list[str]:
        """Return the charts of two short runs, trained for the purpose."""
        config = TrainingConfig(steps=STILL_STEPS)
        self.runs = [Run(Choice(architecture=name), config) for name in ("relu-orthogonal", "shifted-fold")]
        self._started = 1  # the first colour for the latest
        for run in self.runs:
            run.go()
        return self.panels()

    def _show(self) -> None:
        """Draw the state of things; called in the run's thread, and in the main thread after a press."""
        with self._lock:
            run = self.runs[-1] if self.runs else None
            active = run is not None and run.active
            self.pause.disabled = self.stop.disabled = not active
            paused = run is not None and run.pausing
            self.pause.description, self.pause.icon = ("Go on", "play") if paused else ("Pause", "pause")
            if run is not None:
                self.progress.max, self.progress.value = run.config.steps, len(run.history)
                if run.state == "failed":
                    self.progress.bar_style = "danger"
                else:
                    self.progress.bar_style = "" if active else "success"
            self.status.value = prose(self.words() or "Press Start.")
            self.picture.value = _svg.grid(self.panels())

    # --- what the reader does ---

    def _described_training(self) -> tuple[Choice, TrainingConfig]:
        choice = self.network.choice(data=self.data.value, device=self.device.value)
        rate, steps = self.learning_rate.value, self.steps.value
        return choice, TrainingConfig(mode=self.mode.value, learning_rate=rate, steps=steps)

    def _on_start(self) -> None:
        global _active
        try:
            choice, config = self._described_training()
        except ValueError as error:
            self.estimate.value = complaint(error)
            return
        before = _active
        _end()
        with self._lock:
            kept = [run for run in self.runs if run.history][-1:] if self.keep.value else []
            _active = Run(choice, config, self._show)
            self.runs, self._started = [*kept, _active], self._started + 1
            self._show()
        _active.start(after=before)

    def _on_pause(self) -> None:
        if self.runs:
            run = self.runs[-1]
            run.resume() if run.pausing else run.pause()
            self._show()

    def _on_comm(self, change: Any) -> None:
        if change.new is None:  # the widget was closed, from here or from the front end
            self.end()

    def _on_views(self, change: Any) -> None:
        if change.old and not change.new:  # the output was cleared, or its cell deleted
            self.end()

    def end(self) -> None:
        """End the run that is going on, after its present step."""
        if self.runs:
            self.runs[-1].stop()

    # --- how long it will take ---

    def _estimate(self) -> None:
        """Say in words how long the run will take, as soon as a probe in the background has measured it."""
        try:
            wanted = self._described_training()
        except ValueError as error:
            self.estimate.value = complaint(error)
            return
        self.estimate.value = "<div>Estimating the time …</div>"
        threading.Thread(target=self._measure, args=wanted, name="orthobook probe", daemon=True).start()

    def _measure(self, choice: Choice, config: TrainingConfig) -> None:
        with _probing:
            if not self._is_wanted(choice, config):
                return
            try:
                words = in_words(seconds_per_step(choice, config) * config.steps / (1 - SHARE), choice.device)
            except (ValueError, RuntimeError, MemoryError) as error:
                words = complaint(error)
        if self._is_wanted(choice, config):
            self.estimate.value = words

    def _is_wanted(self, choice: Choice, config: TrainingConfig) -> bool:
        """Say whether the controls still describe this."""
        try:
            return self._described_training() == (choice, config)
        except ValueError:
            return False


def _end() -> None:
    """End the run that is going on in this kernel."""
    if _active is not None:
        _active.stop()


def _described(run: Run) -> str:
    state = {"waiting": "about to start", "running": "training" if run.history else "about to start"}
    reached = f"step {len(run.history)} of {run.config.steps}"
    last = f", loss {run.history[-1].loss:.3f}, accuracy {run.history[-1].accuracy:.2f}" if run.history else ""
    return f"{run.choice}, {run.config.mode}: {state.get(run.state, run.state)}, {reached}{last}"
