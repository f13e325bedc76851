"""What the dashboards share: how one is displayed, with a kernel and without, and the controls for a network."""

from __future__ import annotations

import functools
import html
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import ipywidgets as widgets
import torch

from orthobook.data import Dataset, load
from orthobook.layers.base import block
from orthobook.networks import DeepNetwork, best_device, build
from orthobook.teaching.dashboard import _svg

__all__ = ["Choice", "Dashboard", "NetworkControls", "columns", "complaint", "control", "devices", "load_once", "prose"]

COLAB = "https://colab.research.google.com/github/orthobook/orthobook/blob/main/book"

# Sliders of options by name: least and largest value, and step.
RANGES: Mapping[str, tuple[float, float, float]] = {
    "threshold": (0, 6, 0.1),
    "slope": (-1, 0.9, 0.1),
    "period": (0.5, 24, 0.5),
    "size": (1, 16, 1),
    "limit": (0.1, 6, 0.1),
    "epsilon": (0.05, 1, 0.05),
    "delta": (0, 0.95, 0.05),
}

load_once = functools.lru_cache(maxsize=2)(load)


class Size(NamedTuple):
    """What counts as the size of a layer, and which sizes the controls offer."""

    name: str  # as the control calls it
    offered: tuple[int, ...]
    first: int


WIDTH = Size("width", (2, 4, 8, 16, 32, 64, 128, 256), 64)
CHANNELS = Size("channels", (4, 8, 16), 8)


def size_of(architecture: str) -> Size:
    """Return what the size of an architecture's layers is: channels for images, else the width."""
    return WIDTH if block(architecture).vectors else CHANNELS


class Dashboard(ABC):
    """Controls and a picture that a running kernel keeps up to date; displays itself as the last line of a cell."""

    chapter: ClassVar[str]  # of the book, where it stands
    description: ClassVar[str]  # what it is for, in words

    @functools.cached_property
    def widget(self) -> widgets.Widget:
        """The controls and the picture; made when first asked for, as it talks to the kernel from then on."""
        return self._widget()

    @abstractmethod
    def _widget(self) -> widgets.Widget:
        """Return the controls and the picture."""

    @abstractmethod
    def panels(self) -> list[str]:
        """Return the charts as they are now, each as SVG."""

    @abstractmethod
    def words(self) -> str:
        """Return what is said above the charts, as HTML."""

    def still(self) -> list[str]:
        """Return the charts for a page without a kernel."""
        return self.panels()

    def page(self) -> str:
        """Return the still picture as HTML, with the words that a kernel is needed, and where there is one."""
        charts, what = _svg.grid(self.still()), html.escape(self.description)
        needed = (
            f'<p><em>A still picture. {what} The live dashboard needs a running kernel: <a href="{COLAB}/{self.chapter}'
            '.ipynb">open this chapter in Colab</a>, or in JupyterLab on your own machine.</em></p>'
        )
        return f'<div class="orthobook-dashboard">{prose(self.words())}{charts}{needed}</div>'

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook displays, by MIME type: with the live view a picture for where it cannot be shown."""
        words = f"{self.description} It needs a running kernel."
        if os.environ.get("ORTHOBOOK_BUILD"):  # the book is being built, and a view would be a widget without a kernel
            page = self.page()  # which may train for it, and leaves the panels as they are in it
            return {"text/html": page, "image/png": _svg.png(self.panels()), "text/plain": words}
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        live = {"application/vnd.jupyter.widget-view+json": view, "text/plain": words}
        # Colab chooses among what it is given in its own way, so it is given nothing else.
        return live if "google.colab" in sys.modules else live | {"image/svg+xml": _svg.picture(self.panels())}

    def _ipython_display_(self) -> None:
        from IPython.display import display  # ipywidgets brings it along

        # As ipywidgets 7 displays its own; what a cell returns would reach Colab's front end in another way.
        display(self.bundle(), raw=True)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A network as the controls describe it."""

    architecture: str = "shifted-fold"
    depth: int = 100
    size: int = WIDTH.first  # what it counts, width or channels, is for the architecture to say
    seed: int = 0
    data: str = "fashion-mnist-small"
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, data: Dataset) -> DeepNetwork:
        """Return the network, for images of a data set; ValueError as ``ob.build``."""
        return build(
            self.architecture,
            depth=self.depth,
            width=self.size,
            inputs=data.image_shape,
            classes=len(data.classes),
            seed=self.seed,
            device=self.device,
            **self.options,
        )

    def __str__(self) -> str:
        chosen = "".join(f", {name} {value:g}" for name, value in self.options.items())
        layers = f"{self.depth} layer{'s' if self.depth > 1 else ''}"
        return f"{self.architecture}, {layers}, {size_of(self.architecture).name} {self.size}{chosen}"


def control(kind: type[widgets.Widget], label: str, **traits: Any) -> widgets.Widget:
    """Return a control whose label has the same room as all others."""
    layout = widgets.Layout(width="auto", min_width="0")
    return kind(description=label, style={"description_width": "7.5em"}, layout=layout, **traits)


def columns(children: list[widgets.Widget], least: int) -> widgets.Widget:
    """Return widgets in columns, as many as there is room for; each has at least so many pixels."""
    wide = f"repeat(auto-fill, minmax({least}px, 1fr))"
    return widgets.GridBox(children, layout=widgets.Layout(grid_template_columns=wide, grid_gap="2px 12px"))


def prose(words: str) -> str:
    """Return HTML with lines as close as in a text: a widget's are as far apart as its buttons are high."""
    return f'<div style="line-height:1.45">{words}</div>'


def complaint(error: Exception) -> str:
    """Return an error's message as HTML, in words and without a traceback."""
    words = str(error) or type(error).__name__
    words = re.sub(r"^\w+", lambda name: name[0].replace("_", " "), words)  # an argument that it names, as its control
    return f'<p role="alert" style="margin:4px 0"><b>That does not work:</b> {html.escape(words)}</p>'


class NetworkControls:
    """Controls that describe a network, architecture, depth, width and its options, and others that go with them."""

    DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

    def __init__(
        self,
        choice: Choice,
        names: tuple[str, ...],
        depth: widgets.Widget,
        others: list[widgets.Widget],
        *,
        live: bool = False,
    ) -> None:
        self.architecture = control(widgets.Dropdown, "architecture", options=names, value=choice.architecture)
        self.depth, self._others = depth, others
        self._size = size_of(choice.architecture)
        self.size = control(
            widgets.SelectionSlider,
            self._size.name,
            options=self._size.offered,
            value=choice.size,
            continuous_update=live,
        )
        self.options: dict[str, widgets.Widget] = {}
        self.box = widgets.VBox()
        self._live = live
        self._listeners: list[Any] = []
        self._choose_options()
        self.architecture.observe(lambda _: self._choose_options(), "value")

    def on_change(self, listener: Any) -> None:
        """Call ``listener()`` whenever a control has been moved."""
        self._listeners.append(listener)
        for one in (self.architecture, self.depth, self.size, *self.options.values(), *self._others):
            one.observe(self._tell, "value")

    def _tell(self, change: Any) -> None:
        for listener in self._listeners:
            listener()

    def _choose_options(self) -> None:
        """Show the options that the architecture has, at their defaults."""
        name = self.architecture.value
        self.options = option_controls(name, live=self._live)
        for one in self.options.values():
            one.observe(self._tell, "value")
        if size_of(name) is not self._size:
            self._size = size_of(name)
            self.size.description, self.size.options, self.size.value = self._size[:3]
        shown = [self.architecture, self.depth, self.size, *self.options.values(), *self._others]
        self.box.children = [columns(shown, 290)]

    def choice(self, **more: Any) -> Choice:
        """Return what the controls describe; ValueError for an option that is no number or does not fit the network."""
        options = {name: option_value(name, one.value) for name, one in self.options.items()}
        chosen = {name: value for name, value in options.items() if value is not None}
        name, depth, size = self.architecture.value, self.depth.value, self.size.value
        block(name, **chosen).resolve(depth, size)  # ValueError now, before a network is built
        return Choice(architecture=name, depth=depth, size=size, options=chosen, **more)


def option_controls(architecture: str, *, live: bool = False) -> dict[str, widgets.Widget]:
    """Return a control for each option that is a number: a slider, or a field where the default is found by itself."""
    found: dict[str, widgets.Widget] = {}
    for option in fields(block(architecture)):
        name, default = option.name, option.default  # each has one, or block() would have failed
        if name == "downsampling" or not isinstance(default, (int, float, type(None))):
            continue
        if default is None:
            found[name] = control(
                widgets.Text, name.replace("_", " "), placeholder="automatic", continuous_update=False
            )
        else:
            low, high, step = RANGES.get(name, (0, max(2 * default, 1), 0.1))
            slider = widgets.IntSlider if isinstance(default, int) else widgets.FloatSlider
            limits = {"min": low, "max": high, "step": step, "continuous_update": live}
            found[name] = control(slider, name.replace("_", " "), value=default, **limits)
    return found


def option_value(name: str, given: Any) -> Any:
    """Return an option's value; None for a field that is empty, ValueError for one that holds no number."""
    if not isinstance(given, str):
        return round(given, 9)  # a slider's 0.30000000000000004
    if not given.strip():
        return None
    try:
        number = float(given)
    except ValueError:
        raise ValueError(f"{name} must be a number, or empty for the default, got {given!r}") from None
    # beyond 2⁵³ all floating-point numbers are whole, and no count of anything
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def devices() -> list[str]:
    """Return the devices that this machine has, the fastest first."""
    return list(dict.fromkeys([best_device(torch.float32).type, "cpu"]))
