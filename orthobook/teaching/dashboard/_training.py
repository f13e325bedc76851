"""The dashboard that trains: controls, curves, gradients by layer and the spectrum, of two runs beside each other."""

from __future__ import annotations

import html
import math
import threading
from typing import Any, get_args

import ipywidgets as widgets
import numpy as np
from tqdm import tqdm

from orthobook.data import data_sets
from orthobook.data.sources import SOURCES, is_stored
from orthobook.figures.scales import COLOURS, magnitude
from orthobook.layers.base import architectures
from orthobook.teaching.dashboard import _svg
from orthobook.teaching.dashboard._base import (
    Choice,
    Dashboard,
    NetworkControls,
    complaint,
    control,
    devices,
    option_value,
    prose,
)
from orthobook.teaching.dashboard._run import Run, end_all
from orthobook.training import Mode, TrainingConfig, TrainingDiverged, lower_rate

__all__ = ["TrainingDashboard", "training"]

STILL_STEPS = 60  # of the runs in the still picture
HIGHEST = 10.0  # a loss above it is off the chart, unless all runs start near it; to guess one of ten costs 2.3


def training() -> TrainingDashboard:
    """Return the dashboard in which networks are trained.

    Start takes the network and the training that the controls describe. Pause waits, Stop ends, both after the present
    step. The run before, or the last that did not fail, stays in the picture, so that two can be compared; that can be
    switched off. A notebook trains
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
        self._colours: dict[Run, str] = {}
        self._lock = threading.RLock()  # the run's thread and the main one both draw

    # --- what is seen ---

    def _widget(self) -> widgets.Widget:
        end_all()  # the run of a dashboard that this cell, or another, has shown before
        choice, config = Choice(device=devices()[0]), TrainingConfig()
        depths = NetworkControls.DEPTHS
        depth = control(widgets.SelectionSlider, "depth", options=depths, value=choice.depth, continuous_update=False)
        self.mode = control(widgets.Dropdown, "mode", options=get_args(Mode), value=config.mode)
        # text, for a number field goes on showing what it does not hold: 2.5 steps, or no rate at all
        rate, steps = f"{config.learning_rate:g}", f"{config.steps}"
        self.learning_rate = control(
            widgets.Text, "learning rate", value=rate, placeholder=rate, continuous_update=False
        )
        self.steps = control(widgets.Text, "steps", value=steps, placeholder=steps, continuous_update=False)
        self.data = control(widgets.Dropdown, "data set", options=data_sets(), value=choice.data)
        self.device = control(widgets.Dropdown, "device", options=devices())
        more = [self.mode, self.learning_rate, self.steps, self.data, self.device]
        self.network = NetworkControls(choice, architectures(), depth, more)
        self.start = widgets.Button(description="Start", button_style="primary", icon="play")
        self.pause = widgets.Button(description="Pause", icon="pause", disabled=True)
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.keep = widgets.Checkbox(description="compare with the run before", value=True, indent=False)
        self.keep.layout.width = "auto"
        self.remark, self.status, self.picture = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.progress = widgets.IntProgress(min=0, max=1, layout=widgets.Layout(width="auto"))
        self.start.on_click(lambda _: self._on_start())
        self.pause.on_click(lambda _: self._on_pause())
        self.stop.on_click(lambda _: self._on_stop())
        self.network.on_change(self._check)
        buttons = widgets.HBox([self.start, self.pause, self.stop, self.keep])
        buttons.layout.flex_flow = "row wrap"
        buttons.layout.align_items = "center"
        rows = [self.network.box, self.remark, buttons, self.progress, self.status, self.picture]
        box = widgets.VBox(rows, layout=widgets.Layout(max_width="960px"))
        box.observe(self._on_comm, "comm")
        box._view_count = 0  # from None: now the front end counts the places where it is shown
        box.observe(self._on_views, "_view_count")
        self._show()
        self._check()
        return box

    def panels(self) -> list[str]:
        """Return the charts of the latest run and of the one before."""
        shown = {self._colours[run]: run for run in self.runs}
        most = max([run.config.steps for run in self.runs], default=TrainingConfig().steps)
        steps = _svg.Axis(0, most, whole=True)
        at = {colour: np.array([m.step for m in run.history[:]]) for colour, run in shown.items()}
        loss = {c: (at[c], [m.loss for m in run.history[: len(at[c])]]) for c, run in shown.items()}
        accuracy = {c: (at[c], [m.accuracy for m in run.history[: len(at[c])]]) for c, run in shown.items()}
        highest, beyond = loss_range([values for _, values in loss.values() if values])
        looks = {colour: run.look for colour, run in shown.items() if run.look is not None}
        norms = {c: (np.arange(len(look.norms)), look.norms) for c, look in looks.items()}
        layers = _svg.Axis(0, max([len(look.norms) - 1 for look in looks.values()], default=100), whole=True)
        spectra = [(c, look.spectrum) for c, look in looks.items() if look.spectrum is not None]
        size = _svg.Axis.decades(values for _, values in norms.values())
        return [
            _svg.lines(f"loss of the batch{beyond}", loss, steps, _svg.Axis(0, highest)),
            _svg.lines("accuracy of the batch", accuracy, steps, _svg.Axis(0, 1)),
            _svg.lines("gradient norm ‖∂ℓ/∂xₗ‖", norms, layers, size, xlabel="layer l"),
            _svg.histograms("share of the Jacobian’s singular values", spectra),
        ]

    def words(self) -> str:
        """Return the runs in the picture, what has become of them, and errors, as HTML."""
        return "".join(
            f'<div><span style="color:{self._colours[run]}">■</span> '
            f"{html.escape(_described(run, before=run is not self.runs[-1]))}</div>{_remark(run)}"
            for run in self.runs
        )

    def still(self) -> list[str]:
        """Return the charts of two short runs, trained for the purpose."""
        config = TrainingConfig(steps=STILL_STEPS)
        self.runs = [Run(Choice(architecture=name), config) for name in ("relu-orthogonal", "shifted-fold")]
        self._colours = dict(zip(self.runs, COLOURS[1::-1], strict=True))  # the first for the latest
        for run in self.runs:
            run.run()
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
                    self.progress.bar_style = "" if active else "warning" if run.grew else "success"
            self.status.value = prose(self.words() or "Press Start.")
            self.picture.value = _svg.grid(self.panels())

    # --- what the reader does ---

    def _check(self) -> tuple[Choice, TrainingConfig] | None:
        """Return the network and the training that the controls describe, or say what is wrong with them."""
        typed = {"learning_rate": self.learning_rate.value, "steps": self.steps.value}
        try:
            choice = self.network.choice(data=self.data.value, device=self.device.value)
            values = {name: option_value(name, text) for name, text in typed.items()}
            chosen = {name: value for name, value in values.items() if value is not None}
            config = TrainingConfig(mode=self.mode.value, **chosen)
        except ValueError as error:
            self.remark.value = complaint(error)
            return None
        missing = choice.data in SOURCES and not is_stored(SOURCES[choice.data])
        fetched = f"<div>The files of {choice.data} are not on this machine: they have to be fetched first.</div>"
        self.remark.value = fetched if missing else ""
        return choice, config

    def _on_start(self) -> None:
        described = self._check()
        if described is None:
            return
        with self._lock:
            good = [run for run in self.runs if run.history and run.state != "failed"]
            kept = good[-1:] if self.keep.value else []
            latest = Run(*described, self._show)
            self._colours = {run: self._colours[run] for run in kept}
            self._colours[latest] = next(colour for colour in COLOURS if colour not in self._colours.values())
            self.runs = [*kept, latest]
            self._show()
        latest.start()

    def _on_pause(self) -> None:
        if self.runs:
            run = self.runs[-1]
            run.resume() if run.pausing else run.pause()
            self._show()

    def _on_stop(self) -> None:
        self.end()
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


def loss_range(losses: list[list[float]]) -> tuple[float, str]:
    """Return how high the chart of the losses reaches, and what its title adds if that is not to the highest.

    A run that blows up, to a million perhaps, would make a flat line of everything else.
    """
    largest = max([2.5, *map(max, losses)])
    highest = min(largest, max(HIGHEST, 2 * min([values[0] for values in losses], default=0)))
    highest = math.ceil(2 * highest) / 2
    beyond = f" (up to {magnitude(largest)}, above {highest:.3g} at the edge)" if largest > highest else ""
    return highest, beyond


def _described(run: Run, *, before: bool) -> str:
    """Return a run's settings, what it is doing, and how far it has come."""
    state = run.state.replace("waiting", "about to start")
    if run.active and run.state != "paused" and (run.stopping or run.pausing):
        state = "about to stop" if run.stopping else "about to pause"
    what = f"{run.choice}, {run.config.mode}, rate {run.config.learning_rate:g}{' (the run before)' if before else ''}"
    # the step at which it failed was not taken
    reached = len(run.history) + isinstance(run.error, TrainingDiverged)
    last = f", loss {run.history[-1].loss:.3f}, accuracy {run.history[-1].accuracy:.2f}" if run.history else ""
    left = f", {tqdm.format_interval(run.remaining)} left" if run.active and run.remaining is not None else ""
    return f"{what}: {state}, step {reached} of {run.config.steps}{'' if run.error else last}{left}"


def _remark(run: Run) -> str:
    """Return what has gone wrong with a run, as HTML; nothing if all is well."""
    if isinstance(run.error, ConnectionError):
        return _missing(run.choice.data, run.error)
    if run.error:
        return complaint(run.error)
    if run.grew:
        first, last = run.history[0].loss, run.history[-1].loss
        advice = lower_rate(run.config.learning_rate)
        return f"<div><b>The loss grew</b> from {magnitude(first)} to {magnitude(last)}. {advice}</div>"
    return ""


def _missing(name: str, error: ConnectionError) -> str:
    """Return, as HTML, that a data set could not be downloaded, and what to do."""
    source = SOURCES[name]
    files = ", ".join(f"<code>{html.escape(file)}</code>" for file in source.files)
    return (
        f'<p role="alert" style="margin:4px 0"><b>{name} is not on this machine and could not be downloaded.</b> Get '
        f"{files} some other way, put {'it' if len(source.files) == 1 else 'them'} into the folder "
        f"<code>{html.escape(str(source.cache))}</code>, and press Start again; or choose another data set.</p>"
        f"<details><summary>What was tried</summary>{html.escape(str(error))}</details>"
    )
