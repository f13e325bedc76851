"""Interactive figures for the reader's finger, which need no kernel and no network.

An explorer displays itself as the last expression of a cell: in the built book as an element that one of the book's
scripts draws, with a still picture where scripts are off; in JupyterLab and in Colab by what those can show.

Most are Vega-Lite charts. They take plain arrays and compute nothing heavy. Values travel as short lists, one row for
each choice of the controls, and are filtered before they are flattened, so that a page stays small. The folded sheet is
computed in the page, by a script of the package's own.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from numbers import Real
from typing import Any, ClassVar

import altair as alt
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from orthobook import origami
from orthobook._checks import finite_number, whole_number
from orthobook.figures import (
    COLOURS,
    GREY,
    by_place,
    column,
    crease_pattern,
    magnitude,
    named,
    not_negative,
    numbers,
    plain_number,
    power_of_ten,
    series_style,
)

__all__ = [
    "PAYLOAD_LIMIT",
    "ChartExplorer",
    "Explorer",
    "FoldingExplorer",
    "bar_explorer",
    "curve_explorer",
    "fold_explorer",
    "folding_explorer",
    "gain_explorer",
    "gradient_norm_explorer",
    "image_explorer",
    "measurement_explorer",
    "sheet_explorer",
    "spectrum_explorer",
    "training_explorer",
]

PAYLOAD_LIMIT = 250_000
"""Bytes that a chart's specification may have; the still picture for readers without scripts comes on top."""

_WIDTH = 560  # pixels; the book's own script fits a chart to its column, JupyterLab and Colab show this width
_AXIS = 44  # pixels kept for labels left of a plot, whatever they say, so that nothing moves when they change
_FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_INK = "currentColor"  # in the book: the page's own text colour, light or dark
_DATA = resources.files("orthobook") / "_data"  # style and script of the figures that bring them along
_IMAGE = 140  # pixels that an image is wide
_BAR_ROW = 34  # pixels for a bar with its name above it
_SERIES_POINTS = 200  # a line holds no more points than a narrow screen has pixels to show


class Explorer(ABC):
    """A figure with controls that displays itself wherever a notebook is read."""

    kind: ClassVar[str]  # tells the book which of its scripts draws the figure
    description: str  # what it shows, in words: its accessible name

    def __post_init__(self) -> None:
        size = len(_compact(self.specification()).encode())
        if size > PAYLOAD_LIMIT:
            raise ValueError(
                f"the chart would add {size} bytes to the page, of {PAYLOAD_LIMIT} allowed: "
                "show fewer depths, steps or architectures"
            )

    @abstractmethod
    def specification(self, ink: str = GREY) -> dict[str, Any]:
        """Return all that the script needs to know, as JSON, with text and lines in the colour ``ink``."""

    @abstractmethod
    def still(self, kind: str, ink: str = GREY) -> Any:
        """Return the figure as it is before a control is moved, as ``svg`` (str) or ``png`` (bytes)."""

    @abstractmethod
    def live(self) -> Any:
        """Return what a notebook with a running kernel displays, by MIME type."""

    @abstractmethod
    def _room(self, still: str) -> str:
        """Return the style that keeps room for figure and controls, so that the text below need not move."""

    def page(self) -> str:
        """Return the element that a script turns into a figure, a still picture inside for want of it."""
        data = _compact(self.specification(_INK)).replace("<", "\\u003c")  # nothing in it can end the element
        still = self.still("svg", _INK)
        return (
            f'<div class="orthobook-chart" data-kind="{self.kind}" style="{self._room(still)}">'
            f'<script type="application/json">{data}</script>'
            f'<noscript><div role="img" aria-label="{html.escape(self.description)}">{still}</div></noscript></div>'
        )

    def _repr_mimebundle_(self, **_: Any) -> Any:
        if os.environ.get("ORTHOBOOK_BUILD"):
            return {"text/html": self.page(), "image/png": self.still("png"), "text/plain": self.description}
        return self.live()


@dataclass(frozen=True)
class ChartExplorer(Explorer):
    """A Vega-Lite chart.

    Attributes
    ----------
    chart
        The Altair chart.
    description
        What it shows, in words: its accessible name.
    """

    kind = "vega"
    chart: alt.TopLevelMixin
    description: str

    def specification(self, ink: str = GREY) -> dict[str, Any]:
        """Return the chart as a Vega-Lite specification, text and axes in the colour ``ink``."""
        specification = self.chart.to_dict()
        specification["description"] = self.description
        specification["usermeta"] = {"embedOptions": {"actions": False, "renderer": "svg", "tooltip": False}}
        specification["config"] = _config(ink)
        return specification

    def still(self, kind: str, ink: str = GREY) -> Any:
        import vl_convert  # only the book's build needs it, and has it

        draw = getattr(vl_convert, f"vegalite_to_{kind}")
        return draw(json.dumps(self.specification(ink)), vl_version=vegalite_version())

    def live(self) -> Any:
        if "google.colab" in sys.modules:
            with alt.renderers.enable("colab"):
                return alt.Chart.from_dict(self.specification())._repr_mimebundle_()
        # JupyterLab draws this type itself; text/html beside it would be preferred and would fetch scripts.
        specification = self.specification() | {"$schema": "https://vega.github.io/schema/vega-lite/v5.json"}
        return {"application/vnd.vegalite.v5+json": specification, "text/plain": self.description}

    def _room(self, still: str) -> str:
        bindings = [p.get("bind", {}).get("input") for p in self.specification()["params"]]
        rows = sum(kind not in (None, "checkbox") for kind in bindings) + ("checkbox" in bindings)
        drawing = round(float(still.split(' height="', 1)[1].split('"', 1)[0]))
        return f"min-height:{drawing + 8 + 40 * rows}px"


def _compact(specification: dict[str, Any]) -> str:
    return json.dumps(specification, separators=(",", ":"), ensure_ascii=False)


def vegalite_version() -> str:
    """Return the Vega-Lite version whose specifications the installed Altair writes, such as ``6.4``."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _config(ink: str) -> dict[str, Any]:
    quiet = {"domainColor": ink, "tickColor": ink, "gridColor": ink, "labelColor": ink, "titleColor": ink}
    return {
        "background": "transparent",
        "font": _FONT,
        "aria": False,  # the description speaks for the chart, not one label for each bar
        "mark": {"aria": False},
        "view": {"stroke": None},
        "text": {"color": ink, "fontSize": 12},
        "axis": quiet | {"gridOpacity": 0.18, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
        "axisX": {"tickCount": 6},
        "axisY": {"minExtent": _AXIS, "maxExtent": _AXIS, "tickCount": 4},
        "legend": {
            "labelColor": ink,
            "titleColor": ink,
            "labelFontSize": 12,
            "labelLimit": 320,
            "orient": "top",
            "direction": "vertical",
            "columns": 1,
            "title": None,
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
            "symbolOpacity": 1,
            "offset": 8,
        },
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "color": ink,
            "fontSize": 12,
            "fontWeight": "normal",
            "lineHeight": 16,
            "offset": 8,
        },
        "concat": {"spacing": 18},
    }


def _control(label: str, values: Sequence[Any], value: Any) -> alt.Parameter:
    """Return a native control: a slider for many evenly spaced numbers, a row of buttons for few, else a list."""
    binding: Any
    evenly = len(values) > 2 and all(isinstance(v, int) for v in values) and len(set(np.diff(values))) == 1
    if evenly and len(values) > 8:
        step = values[1] - values[0]
        binding = alt.binding_range(min=values[0], max=values[-1], step=step, name=label)
    elif len("".join(map(str, values))) <= 32:
        binding = alt.binding_radio(options=list(values), name=label)
    else:
        binding = alt.binding_select(options=list(values), name=label)
    return alt.param(value=value, bind=binding)


def _pairs(
    values: Mapping[tuple[str, Any], Any], what: str, key: str
) -> tuple[Mapping[tuple[str, Any], Any], list[str], list[Any]]:
    """Return ``values`` with its names, in order of appearance, and its second keys; every pair must be there.

    Second keys that are numbers are sorted, and strings are in order of appearance.

    Raises
    ------
    ValueError
        If the mapping is empty, a key is no pair, second keys are neither numbers nor strings, or a pair is missing.
    """
    for pair in named(values, what):
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise ValueError(f"{what}: expected keys (name, {key}), got {pair!r}")
    names = list(dict.fromkeys(str(name) for name, _ in values))
    seconds: list[Any] = list(dict.fromkeys(second for _, second in values))
    if not all(isinstance(second, str) for second in seconds):
        if not all(isinstance(second, Real) for second in seconds):
            raise ValueError(f"{what}: expected every {key} a number or every {key} a string, got {seconds}")
        seconds = sorted(second.item() if isinstance(second, np.generic) else second for second in seconds)
    missing = [(name, second) for name in names for second in seconds if (name, second) not in values]
    if missing:
        raise ValueError(f"{what}: every name needs every {key}, but {missing[0]!r} is missing")
    return values, names, seconds


@dataclass(frozen=True)
class _LogAxis:
    """A logarithmic axis drawn on exponents: values beyond its limits are drawn at them, and its labels say so."""

    low: int
    high: int
    below: bool
    above: bool

    @staticmethod
    def around(arrays: Iterable[NDArray[np.float64]], limits: tuple[float, float]) -> _LogAxis:
        """Return the whole decades that hold the arrays' values and 1, within the limits."""
        if not 0 < limits[0] < 1 < limits[1]:
            raise ValueError(f"limits: expected 0 < lower < 1 < upper, got {limits}")
        smallest, largest = np.inf, 0.0
        for array in arrays:
            smallest, largest = min(smallest, array.min()), max(largest, array.max())
        low, high = max(smallest, limits[0]), min(max(largest, limits[0]), limits[1])
        return _LogAxis(
            min(int(np.floor(np.log10(low) + 1e-3)), -1),
            max(int(np.ceil(np.log10(high) - 1e-3)), 1),
            smallest < limits[0],
            largest > limits[1],
        )

    def exponents(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log₁₀ of the values, at least ``low`` (so zero too) and at most ``high``."""
        return np.clip(np.log10(np.maximum(array, 10.0**self.low)), self.low, self.high)

    def axis(self, **kwargs: Any) -> alt.Axis:
        """Return the axis: powers of ten, few enough for a phone, 1 among them, ≤ or ≥ where values lie beyond."""
        step = -(-(self.high - self.low) // 5)  # so few that none is left out, as every other one then would be
        inner = {*range(0, self.low, -step), *range(0, self.high, step)}
        kept = {0, self.low, self.high} | {t for t in inner if self.low + step <= t <= self.high - step}
        if self.high < step and not self.above:
            kept.remove(self.high)  # too close to 1
        ticks = sorted(kept)
        labels = {t: power_of_ten(t) for t in ticks}
        if self.below:
            labels[self.low] = "≤" + labels[self.low]
        if self.above:
            labels[self.high] = "≥" + labels[self.high]
        return alt.Axis(values=ticks, labelExpr=f"({_literal(labels)})[datum.value]", **kwargs)

    def scale(self) -> alt.Scale:
        return alt.Scale(domain=[self.low, self.high], nice=False, zero=False)

    def bin_scale(self) -> alt.Scale:
        """Return the scale with room for the outermost bins."""
        edges = self.edges()
        return alt.Scale(domain=[float(edges[0]), float(edges[-1])], nice=False, zero=False)

    def shares(self, values: NDArray[np.float64]) -> list[float]:
        """Return the share of the values in each bin, rounded to what a histogram can show."""
        counts, _ = np.histogram(self.exponents(values), self.edges())
        return [round(share, 4) for share in (counts / values.size).tolist()]

    def expected(self, distribution: Callable[[NDArray[np.float64]], ArrayLike]) -> list[float]:
        """Return the share of each bin by a distribution function; what lies beyond the axis counts at its ends."""
        below = np.asarray(distribution(10 ** self.edges()[1:-1]), dtype=np.float64)
        return [round(share, 4) for share in np.diff(below, prepend=0, append=1).tolist()]

    def edges(self) -> NDArray[np.float64]:
        """Return the edges of about 60 bins; they are centred on the decades, so that 1 is no edge."""
        each = max(2, round(60 / (self.high - self.low)))
        return (np.arange(self.low * each, self.high * each + 2) - 0.5) / each


def _literal(value: Any) -> str:
    """Return ``value`` as a literal of Vega's expression language."""
    return json.dumps(value, ensure_ascii=False)


def _key(value: Any) -> str:
    """Return the property name that a script makes of a number: 1 for 1.0."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _title(*lines: str, **options: Any) -> alt.TitleParams:
    """Return a title whose lines are expressions of the controls' values."""
    return alt.TitleParams(alt.ExprRef("[" + ", ".join(lines) + "]"), **options)


def _colours(names: list[str]) -> alt.Scale:
    return alt.Scale(domain=names, range=[series_style(i)[0] for i in range(len(names))])


def _series(names: list[str], label: str) -> dict[str, Any]:
    """Return the encodings that tell series apart, with a legend whose labels are the expression ``label``."""
    legend = alt.Legend(labelExpr=label)
    dashes = [list(series_style(i)[1]) for i in range(len(names))]
    encodings: dict[str, Any] = {"color": alt.Color("name:N", scale=_colours(names), sort=names, legend=legend)}
    if any(dashes):
        dashed = alt.Scale(domain=names, range=[d or [1, 0] for d in dashes])
        encodings["strokeDash"] = alt.StrokeDash("name:N", scale=dashed, sort=names, legend=legend)
    return encodings


def _spread(values: NDArray[np.float64], limits: tuple[float, float]) -> list[str]:
    """Return two lines that state the extremes, the median, the condition number and what lies off the axis."""
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    first = f"min {magnitude(low)} · median {magnitude(middle)} · max {magnitude(high)}"
    second = f"condition number {magnitude(high / low if low else np.inf)}"
    for share, word, limit in (
        ((values < limits[0]).mean(), "below", limits[0]),
        ((values > limits[1]).mean(), "above", limits[1]),
    ):
        if share:
            second += f" · {share:.0%} {word} {magnitude(limit)}"
    return [first, second]


def _histogram(
    rows: list[dict[str, Any]], axis: _LogAxis, names: list[str], where: str, title: alt.TitleParams, height: int
) -> Any:
    """Return the histogram of the one row that the condition ``where`` picks.

    A row holds a list ``share`` and perhaps a list ``law``, which is drawn as a line over it.
    """
    edges = axis.edges()
    lists: list[Any] = ["share", "left", "law"] if "law" in rows[0] else ["share", "left"]
    base = (
        alt.Chart(alt.InlineData(rows))
        .transform_filter(where)
        .transform_calculate(left=_literal(edges[:-1].round(4).tolist()))
        .transform_flatten(lists)
    )
    bars = (
        base.transform_filter("datum.share > 0")
        .transform_calculate(right=f"datum.left + {edges[1] - edges[0]:.6f}", zero="0")
        .mark_rect()
        .encode(
            x=alt.X("left:Q", scale=axis.bin_scale(), axis=axis.axis(title="singular value σ")),
            x2="right:Q",
            y=alt.Y("zero:Q", scale=alt.Scale(domainMin=0), axis=alt.Axis(title="share", format=".2~g", tickCount=3)),
            y2="share:Q",
            color=alt.Color("name:N", scale=_colours(names), legend=None),
        )
    )
    layers = [bars]
    if "law" in lists:
        middle = base.transform_calculate(middle=f"datum.left + {(edges[1] - edges[0]) / 2:.6f}")
        line = middle.mark_line(color=GREY, strokeWidth=2, interpolate="step").encode(x="middle:Q", y="law:Q")
        layers.append(line)
    return alt.layer(*layers, width=_WIDTH - _AXIS, height=height, title=title)


def spectrum_explorer(
    spectra: Mapping[tuple[str, int], ArrayLike],
    *,
    laws: Mapping[tuple[str, int], Callable[[NDArray[np.float64]], ArrayLike]] | None = None,
    limits: tuple[float, float] = (1e-8, 1e4),
    description: str = "",
) -> Explorer:
    """Return histograms of singular values: two architectures, one above the other, at a chosen depth.

    Parameters
    ----------
    spectra
        (architecture, depth) → singular values, any shape; every architecture at every depth.
    laws
        (architecture, depth) → a distribution function, x ↦ P(σ ≤ x) for arrays x; all of the same pairs. What they
        make of each bin is drawn as a line.
    limits
        Values beyond them are counted at them, and axis and text say so.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, a value is negative or not finite, or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, depths = _pairs(spectra, "spectra", "depth")
    if laws is not None and set(laws) != set(pairs):
        raise ValueError(f"laws: expected one for each pair of spectra, {[*pairs]}, got {[*laws]}")
    arrays = {pair: not_negative(values, f"spectra{pair}").ravel() for pair, values in pairs.items()}
    axis = _LogAxis.around(arrays.values(), limits)
    rows: list[dict[str, Any]] = [
        {"name": n, "depth": d, "share": axis.shares(values)} for (n, d), values in arrays.items()
    ]
    if laws is not None:
        for row in rows:
            row["law"] = axis.expected(laws[row["name"], row["depth"]])
    lines = {n: {_key(d): _spread(arrays[n, d], limits) for d in depths} for n in names}
    text = alt.param(value=lines)
    depth = _control("Depth", depths, depths[-1])
    choices = [_control("Architecture", names, names[0])]
    choices += [_control("Compared with", names, names[1])] if len(names) > 1 else []
    panels = [
        _histogram(
            rows,
            axis,
            names,
            f"datum.name == {choice.name} && datum.depth == {depth.name}",
            _title(
                f"{choice.name} + ', depth ' + {depth.name}",
                *(f"{text.name}[{choice.name}][{depth.name}][{line}]" for line in (0, 1)),
            ),
            height=110,
        )
        for choice in choices
    ]
    return ChartExplorer(
        alt.vconcat(*panels).add_params(*choices, depth, text),
        description
        or f"Histograms of the singular values of the Jacobian for {_list(names)}, at depths {_list(depths)}, "
        "on a logarithmic axis. Controls choose two architectures to compare and the depth.",
    )


def _list(items: Sequence[Hashable]) -> str:
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _lines(
    rows: list[dict[str, Any]], names: list[str], fields: list[Any], where: str, title: alt.TitleParams
) -> alt.Chart:
    """Return a chart of the rows that the condition picks, their lists flattened; a mark is still to be chosen."""
    return (
        alt.Chart(alt.InlineData(rows), width=_WIDTH - _AXIS, height=240, title=title)
        .transform_filter(where)
        .transform_flatten(fields)
    )


def _shown(names: list[str]) -> tuple[list[alt.Parameter], str]:
    """Return one check box for each name and the condition that a row's name is checked."""
    boxes = [alt.param(value=True, bind=alt.binding_checkbox(name=name)) for name in names]
    checked = ", ".join(f"{_literal(name)}: {box.name}" for name, box in zip(names, boxes, strict=True))
    return boxes, f"({{{checked}}})[datum.name]"


def _thinned(count: int) -> NDArray[np.int64]:
    """Return at most ``_SERIES_POINTS`` indices below ``count``, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, _SERIES_POINTS)).round().astype(int))


def gradient_norm_explorer(
    norms: Mapping[tuple[str, int], ArrayLike],
    *,
    limits: tuple[float, float] = (1e-12, 1e12),
    description: str = "",
) -> Explorer:
    """Return gradient norms by layer at a chosen depth, on a logarithmic axis that is the same for every depth.

    Parameters
    ----------
    norms
        (architecture, depth) → array (depth + 1,), the input's gradient first, or (depth + 1, batch), of which the
        median is drawn; every architecture at every depth.
    limits
        Norms beyond them are drawn at them, and the axis says so.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, an array has the wrong length, a norm is negative or not finite, or the chart would
        exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, depths = _pairs(norms, "norms", "depth")
    arrays = {}
    for pair, values in pairs.items():
        array = not_negative(values, f"norms{pair}", 1, 2)
        arrays[pair] = np.median(array, axis=1) if array.ndim == 2 else array
    for (name, d), values in arrays.items():
        if len(values) != d + 1:
            raise ValueError(f"norms{name, d}: expected depth + 1 = {d + 1} norms, got {len(values)}")
    axis = _LogAxis.around(arrays.values(), limits)
    rows = []
    for (name, d), values in arrays.items():
        kept = _thinned(d + 1)
        exponents = axis.exponents(values[kept]).round(3).tolist()
        rows.append({"name": name, "depth": d, "layer": kept.tolist(), "norm": exponents})
    ratios = {_key(d): {n: _ratio(arrays[n, d][0], arrays[n, d][-1]) for n in names} for d in depths}
    text = alt.param(value=ratios)
    depth = _control("Depth", depths, depths[-1])
    boxes, checked = _shown(names)
    title = _title(
        f"'Gradient norm ‖∂ℓ/∂xₗ‖ by layer l, depth ' + {depth.name}",
        "'In the key: norm at the input ÷ norm at the output'",
    )
    chart = (
        _lines(rows, names, ["layer", "norm"], f"datum.depth == {depth.name} && {checked}", title)
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X(
                "layer:Q",
                scale=alt.Scale(domainMin=0, domainMax=alt.ExprRef(depth.name), nice=False),
                axis=alt.Axis(title="layer l", format="d", tickMinStep=1),
            ),
            y=alt.Y("norm:Q", scale=axis.scale(), axis=axis.axis(title=None)),
            **_series(names, f"datum.label + ': ' + {text.name}[{depth.name}][datum.label]"),
        )
    )
    return ChartExplorer(
        chart.add_params(depth, *boxes, text),
        description
        or f"Norm of the loss's gradient by layer for {_list(names)}, at depths {_list(depths)}, on a logarithmic "
        "axis. Controls choose the depth and the architectures shown.",
    )


def _ratio(first: float, last: float) -> str:
    return magnitude(first / last) if last else "0 ÷ 0" if not first else "∞"


def gain_explorer(
    curves: Mapping[tuple[str, float], ArrayLike],
    *,
    limits: tuple[float, float] = (1e-12, 1e12),
    description: str = "",
) -> Explorer:
    """Return how singular values of the Jacobian grow or shrink with depth at a chosen gain of the weights.

    Parameters
    ----------
    curves
        (architecture, gain) → array (depth,) of median singular values after each layer, or (3, depth): smallest,
        median, largest, then drawn with a band; every architecture at every gain.
    limits
        Values beyond them are drawn at them, and the axis says so.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, an array has another shape, a value is negative or not finite, or the chart would
        exceed ``PAYLOAD_LIMIT``.
    """
    rounded = {
        (pair[0], round(float(pair[1]), 6)) if isinstance(pair, tuple) and len(pair) == 2 else pair: values
        for pair, values in named(curves, "curves").items()
    }
    pairs, names, gains = _pairs(rounded, "curves", "gain")
    arrays = {pair: _three(not_negative(values, f"curves{pair}", 1, 2), pair) for pair, values in pairs.items()}
    axis = _LogAxis.around(arrays.values(), limits)
    rows = []
    for (name, g), values in arrays.items():
        kept = _thinned(values.shape[1])
        low, middle, high = axis.exponents(values[:, kept]).round(3).tolist()
        rows.append({"name": name, "gain": g, "layer": (kept + 1).tolist(), "low": low, "middle": middle, "high": high})
    last = {_key(g): {n: magnitude(float(arrays[n, g][1, -1])) for n in names} for g in gains}
    text = alt.param(value=last)
    gain = _control("Gain", gains, min(gains, key=lambda g: abs(g - 1)))
    boxes, checked = _shown(names)
    title = _title(
        f"'Singular values of the Jacobian by depth, gain ' + {gain.name}",
        "'Line: median; band: smallest to largest'",
        "'In the key: median after the last layer'",
    )
    base = _lines(rows, names, ["layer", "low", "middle", "high"], f"datum.gain == {gain.name} && {checked}", title)
    x = alt.X(
        "layer:Q", scale=alt.Scale(nice=False, zero=False), axis=alt.Axis(title="layer l", format="d", tickMinStep=1)
    )
    y = alt.Y("middle:Q", scale=axis.scale(), axis=axis.axis(title=None))
    series = _series(names, f"datum.label + ': ' + {text.name}[{gain.name}][datum.label]")
    band = base.mark_area(opacity=0.2, strokeWidth=0).encode(
        x=x, y=alt.Y("low:Q", scale=axis.scale(), axis=axis.axis(title=None)), y2="high:Q", **series
    )
    line = base.mark_line(strokeWidth=2.5).encode(x=x, y=y, **series)
    return ChartExplorer(
        alt.layer(band, line).add_params(gain, *boxes, text),
        description
        or f"Singular values of the Jacobian by depth for {_list(names)}, at gains {_list(gains)}, on a logarithmic "
        "axis. Controls choose the gain and the architectures shown.",
    )


def _three(values: NDArray[np.float64], pair: tuple[str, Any]) -> NDArray[np.float64]:
    """Return smallest, median and largest, shape (3, depth); all the same where only the median is given."""
    if values.ndim == 1:
        return np.stack([values] * 3)
    if values.shape[0] != 3:
        raise ValueError(f"curves{pair}: expected shape (depth,) or (3, depth), got {values.shape}")
    return values


def curve_explorer(
    panels: Mapping[str, Mapping[tuple[str, float], ArrayLike]],
    *,
    control: str,
    xlabel: str = "layer l",
    description: str = "",
) -> Explorer:
    """Return several quantities by layer, one panel below the other, at a chosen value of one parameter.

    Every panel has a linear axis that is the same for all values of the parameter, so that curves can be compared while
    it is moved.

    Parameters
    ----------
    panels
        Quantity → mapping of (name, value of the parameter) → array (layers,), the first layer's first; the same names
        at the same values in every panel.
    control
        What the parameter is called.
    xlabel
        Label of the horizontal axis, which counts from 1.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, panels differ in their names or values, lengths differ, a value is not finite, or the
        chart would exceed ``PAYLOAD_LIMIT``.
    """
    arrays, keys = {}, {}
    for quantity, curves in named(panels, "panels").items():
        pairs, names, values = _pairs(curves, quantity, "value")
        arrays[quantity] = {pair: numbers(curve, f"{quantity}{pair}", 1) for pair, curve in pairs.items()}
        keys[quantity] = names, values
    names, values = keys[next(iter(keys))]
    for quantity, found in keys.items():
        if found != (names, values):
            raise ValueError(f"panels: {quantity} has {found}, where the first panel has {(names, values)}")
    lengths = sorted({len(curve) for curves in arrays.values() for curve in curves.values()})
    if len(lengths) > 1:
        raise ValueError(f"panels: every curve needs the same number of layers, got {lengths}")
    value = _control(control, values, values[len(values) // 2])
    boxes, checked = _shown(names)
    kept = _thinned(lengths[0])
    stack, texts = [], []
    for index, (quantity, curves) in enumerate(arrays.items()):
        points = {pair: [float(f"{v:.4g}") for v in curve[kept].tolist()] for pair, curve in curves.items()}
        rows = [{"name": n, "value": v, "layer": (kept + 1).tolist(), "height": points[n, v]} for n, v in points]
        low, high = (end(h for heights in points.values() for h in heights) for end in (min, max))
        last = {_key(v): " · ".join(f"{n}: {_plain(curves[n, v][-1])}" for n in names) for v in values}
        texts.append(alt.param(value=last))
        title = _title(_literal(quantity), f"'at the end: ' + {texts[-1].name}[{value.name}]")
        chart = _lines(rows, names, ["layer", "height"], f"datum.value == {value.name} && {checked}", title)
        stack.append(
            chart.properties(height=120)
            .mark_line(strokeWidth=2.5)
            .encode(
                x=alt.X(
                    "layer:Q",
                    scale=alt.Scale(domain=[1, max(lengths[0], 2)], nice=False),
                    axis=alt.Axis(title=xlabel if index == len(arrays) - 1 else None, format="d", tickMinStep=1),
                ),
                y=alt.Y(
                    "height:Q",
                    scale=alt.Scale(domain=[min(low, 0), max(high, 0) or 1], nice=True),
                    axis=alt.Axis(title=None),
                ),
                **_series(names, "datum.label"),
            )
        )
    return ChartExplorer(
        alt.vconcat(*stack).add_params(value, *boxes, *texts),
        description
        or f"{_list([*arrays])} by layer for {_list(names)}, at {control} {_list(values)}. Controls choose the "
        f"{_lower(control)} and the curves shown.",
    )


def _plain(value: float) -> str:
    """Return a value as text, large ones as whole numbers: 0.21, 9.50, 1,234; never −0.00."""
    return f"{value:,.0f}" if abs(value) >= 9.995 else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def bar_explorer(
    values: Mapping[tuple[str, Any], ArrayLike],
    *,
    control: str,
    xlabel: str = "accuracy",
    limits: tuple[float, float] | None = None,
    description: str = "",
) -> Explorer:
    """Return horizontal bars, one for each name, at a chosen value of one parameter, such as the depth.

    The axis is the same for all choices, so that bars can be compared while the choice changes. The text calls the
    largest mean the best.

    Parameters
    ----------
    values
        (name, choice) → a value, or several of them (one for each seed): the bar ends at their mean, and every one is
        drawn as a ring. Choices are numbers, then sorted, or strings, then in the order given; every name at every
        choice.
    control
        What the parameter is called.
    xlabel
        What the bars' length says.
    limits
        Ends of the axis, which hold all values; in place of round numbers that hold all values and 0.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, a value is not finite or beyond the limits, or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, choices = _pairs(values, "values", "choice")
    arrays = {(n, c): numbers(pairs[n, c], f"values{n, c}", 0, 1).ravel() for c in choices for n in names}
    smallest, largest = (float(end([end(array) for array in arrays.values()])) for end in (np.min, np.max))
    low, high = (min(smallest, 0.0), max(largest, 0.0) or float(smallest == 0)) if limits is None else limits
    if not low <= smallest <= largest <= high or low == high:
        raise ValueError(f"limits: expected lower < upper around all values, {smallest:g} to {largest:g}, got {limits}")
    origin = min(max(low, 0.0), high)  # where bars start
    means = {pair: float(array.mean()) for pair, array in arrays.items()}
    rows: list[dict[str, Any]] = []
    for (name, c), array in arrays.items():
        ends = {"mean": _rounded(means[name, c]), "end": _rounded(max(float(array.max()), origin))}
        single = [_rounded(value) for value in array.tolist()]
        rows.append({"name": name, "choice": c, "single": single, "label": _printed(means[name, c])} | ends)
    several = any(array.size > 1 for array in arrays.values())
    choice = _control(control, choices, choices[0])
    text = alt.param(value=[_best_and_worst({n: means[n, c] for n in names}) for c in choices])
    said = f"{text.name}[indexof({_literal(choices)}, {choice.name})]"
    title = _title(
        f"{_literal(control + ': ')} + {choice.name}",
        *(["'Bar: mean; ring: a single run'"] if several else []),
        *(f"{said}[{line}]" for line in range(min(len(names), 2))),
        limit=alt.ExprRef("width"),
    )
    base = alt.Chart(alt.InlineData(rows), width=_WIDTH, height=_BAR_ROW * len(names), title=title)
    base = base.transform_filter(f"datum.choice == {choice.name}")
    room = 14 + 7 * max(len(row["label"]) for row in rows)  # pixels right of the longest bar, for its mean
    scale = alt.Scale(
        domain=[low, high], range=[0, alt.ExprRef(f"width - {room}")], nice=limits is None and 6, zero=False
    )
    axis = alt.Axis(title=xlabel)
    y = alt.Y("name:N", axis=None, scale=alt.Scale(type="band", domain=names, padding=0))
    bar = base.mark_bar(size=12, yOffset=7, color=COLOURS[0], fillOpacity=0.35, stroke=COLOURS[0]).encode(
        x=alt.X("mean:Q", scale=scale, axis=axis, stack=None), x2=alt.datum(origin), y=y
    )
    layers = [
        bar,
        base.mark_text(align="left", yOffset=-8, limit=alt.ExprRef("width")).encode(x=alt.value(0), y=y, text="name:N"),
        base.mark_text(align="left", yOffset=7, dx=8).encode(
            x=alt.X("end:Q", scale=scale, axis=axis), y=y, text="label:N"
        ),
    ]
    if several:
        ring = base.transform_flatten(["single"]).mark_point(
            yOffset=7, size=40, strokeWidth=1.5, opacity=1, color=COLOURS[1]
        )
        layers.append(ring.encode(x=alt.X("single:Q", scale=scale, axis=axis), y=y))
    return ChartExplorer(
        alt.layer(*layers).add_params(choice, text),
        description
        or f"Bars for {_list(names)}: {xlabel} at {control} {_list(choices)}, with its mean as a number"
        f"{' and a ring for each run' if several else ''}. A control chooses the {_lower(control)}.",
    )


def _rounded(value: float) -> float:
    """Return a value to the digits that a chart can show."""
    return float(f"{value:.4g}")


def _printed(value: float) -> str:
    return magnitude(value).replace("-", "−")


def _lower(label: str) -> str:
    return label[:1].lower() + label[1:]


def _best_and_worst(means: Mapping[str, float]) -> list[str]:
    """Return a line that names the largest mean and, if there are several, one that names the smallest."""
    best, worst = (end(means, key=lambda name: means[name]) for end in (max, min))
    lines = [f"best: {best}, {_printed(means[best])}", f"worst: {worst}, {_printed(means[worst])}"]
    return lines[: len(means)]


def measurement_explorer(
    values: Mapping[tuple[str, Any], Mapping[float, float]],
    *,
    control: str,
    xlabel: str,
    ylabel: str = "accuracy",
    description: str = "",
) -> Explorer:
    """Return what was measured at a few places, such as learning rates, as lines at a chosen value of one parameter.

    The horizontal axis is logarithmic. Both axes are the same for all choices; the vertical one goes from 0 to 1 where
    all values lie there. On each line a larger point marks the largest value, which the text calls the best.

    Parameters
    ----------
    values
        (name, choice) → mapping of x → value. Choices are numbers, then sorted, or strings, then in the order given;
        every name at every choice.
    control
        What the parameter is called.
    xlabel, ylabel
        What is measured where: labels of the axes.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, an x is not positive, a value is not finite, or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, choices = _pairs(values, "values", "choice")
    rows: list[dict[str, Any]] = []
    best: dict[Any, dict[str, str]] = {c: {} for c in choices}
    for c in choices:
        for name in names:
            places = by_place(pairs[name, c], f"values{name, c}", 0, positive=True)
            heights = [float(array[0]) for array in places.values()]
            top = int(np.argmax(heights))
            best[c][name] = f"best at {plain_number([*places][top])} ({_printed(heights[top])})"
            marked = [int(i == top) for i in range(len(heights))]
            rows.append({"name": name, "choice": c, "x": [*places], "height": heights, "best": marked})
    ticks = sorted({x for row in rows for x in row["x"]})
    low, high = (end(h for row in rows for h in row["height"]) for end in (min, max))
    within = low >= 0 and high <= 1
    for row in rows:
        row["height"] = [_rounded(height) for height in row["height"]]
    choice = _control(control, choices, choices[0])
    boxes, checked = _shown(names)
    text = alt.param(value=[best[c] for c in choices])
    title = _title(
        _literal(f"{ylabel[:1].upper()}{ylabel[1:]} by {_lower(xlabel)}"),
        f"{_literal(control + ': ')} + {choice.name}",
        limit=alt.ExprRef(f"width + {_AXIS}"),
    )
    base = _lines(rows, names, ["x", "height", "best"], f"datum.choice == {choice.name} && {checked}", title)
    labels = _literal([plain_number(x) for x in ticks])
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", domain=[ticks[0], ticks[-1]], range=[12, alt.ExprRef("width - 12")], nice=False),
        axis=alt.Axis(
            title=xlabel,
            values=ticks,
            labelExpr=f"{labels}[indexof({_literal(ticks)}, datum.value)]",
            labelOverlap="greedy",
            labelFlush=False,
        ),
    )
    y = alt.Y(
        "height:Q",
        scale=alt.Scale(domain=[0, 1] if within else [low, high], nice=not within and 4, zero=False),
        axis=alt.Axis(title=None),
    )
    said = f"{text.name}[indexof({_literal(choices)}, {choice.name})][datum.label]"
    series = _series(names, f"datum.label + ': ' + {said}")
    layers = [
        base.mark_line(strokeWidth=2.5).encode(x=x, y=y, **series),
        base.transform_filter("datum.best").mark_point(filled=True, size=160, opacity=1).encode(x=x, y=y, **series),
        base.mark_point(filled=True, size=40, opacity=1).encode(x=x, y=y, **series),
    ]
    return ChartExplorer(
        alt.layer(*layers).add_params(choice, *boxes, text),
        description
        or f"{ylabel[:1].upper()}{ylabel[1:]} by {_lower(xlabel)} for {_list(names)}, on a logarithmic axis, at "
        f"{control} {_list(choices)}. The best of each line has a larger point. Controls choose the {_lower(control)} "
        "and the lines shown.",
    )


def training_explorer(
    spectra_by_step: Mapping[tuple[str, int], ArrayLike],
    histories: Mapping[str, Sequence[Any]],
    *,
    quantity: str = "accuracy",
    limits: tuple[float, float] = (1e-8, 1e4),
    description: str = "",
) -> Explorer:
    """Return the spectrum while it trains: a histogram for each run, and a point that moves along its curve.

    Parameters
    ----------
    spectra_by_step
        (run, step) → singular values, any shape; every run at every step.
    histories
        Run → its records, each with ``step`` and the quantity, as attributes or keys; the same runs.
    quantity
        The field of the records that is drawn: ``"accuracy"`` or ``"loss"``.
    limits
        Singular values beyond them are counted at them, and axis and text say so.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair or a history is missing, the quantity is unknown, a singular value is negative or not finite,
        or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    if quantity not in ("accuracy", "loss"):
        raise ValueError(f"quantity: expected 'accuracy' or 'loss', got {quantity!r}")
    pairs, names, steps = _pairs(spectra_by_step, "spectra_by_step", "step")
    if set(named(histories, "histories")) != set(names):
        raise ValueError(f"histories: expected the runs {names}, got {list(histories)}")
    arrays = {pair: not_negative(values, f"spectra_by_step{pair}").ravel() for pair, values in pairs.items()}
    axis = _LogAxis.around(arrays.values(), limits)
    rows = [{"name": n, "step": s, "share": axis.shares(values)} for (n, s), values in arrays.items()]
    curves = {n: (column(histories[n], "step", n), column(histories[n], quantity, n)) for n in names}
    step = _control("Step", steps, steps[0])
    text = alt.param(value={n: {_key(s): _spread(arrays[n, s], limits) for s in steps} for n in names})
    panels: list[Any] = [
        _histogram(
            [row for row in rows if row["name"] == name],
            axis,
            names,
            f"datum.step == {step.name}",
            _title(
                f"{_literal(name)} + ', step ' + {step.name}",
                *(f"{text.name}[{_literal(name)}][{step.name}][{line}]" for line in (0, 1)),
            ),
            height=80,
        )
        for name in names
    ]
    panels.append(_progress(curves, names, quantity, steps, step))
    stack = alt.vconcat(*panels).resolve_scale(color="independent")  # else the last panel loses its legend
    return ChartExplorer(
        stack.add_params(step, text),
        description
        or f"Histograms of the singular values of the Jacobian of {_list(names)} while they train, and the "
        f"{quantity} by training step. A control moves from step {steps[0]} to step {steps[-1]}.",
    )


def _progress(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    names: list[str],
    quantity: str,
    steps: list[int],
    step: alt.Parameter,
) -> Any:
    """Return the runs' curves with a ring on each at the chosen step (at the record nearest to it)."""
    lines, rings, now = [], [], {}
    for name, (at, values) in curves.items():
        kept = _thinned(len(at))
        heights = [round(v, 4) if np.isfinite(v) else None for v in values[kept].tolist()]
        lines.append({"name": name, "at": at[kept].tolist(), "height": heights})
        nearest = [int(np.argmin(np.abs(at - s))) for s in steps]
        reached = [float(values[i]) if np.isfinite(values[i]) else None for i in nearest]
        rings += [
            {"name": name, "step": s, "at": float(at[i]), "height": v}
            for s, i, v in zip(steps, nearest, reached, strict=True)
        ]
        now[name] = {_key(s): "none" if v is None else f"{v:.3f}" for s, v in zip(steps, reached, strict=True)}
    x = alt.X("at:Q", axis=alt.Axis(title="step", format="d"), scale=alt.Scale(nice=False))
    y = alt.Y("height:Q", axis=alt.Axis(title=quantity))
    label = f"datum.label + ': ' + ({_literal(now)})[datum.label][{step.name}]"
    title = _title(f"'{quantity.capitalize()} at step ' + {step.name}")
    series = _series(names, label)
    curve = alt.Chart(alt.InlineData(lines), width=_WIDTH - _AXIS, height=120, title=title)
    curve = curve.transform_flatten(["at", "height"]).mark_line().encode(x=x, y=y, **series)
    ring = alt.Chart(alt.InlineData(rings)).transform_filter(f"datum.step == {step.name}")
    ring = ring.mark_point(size=130, strokeWidth=3, opacity=1).encode(x=x, y=y, **series)
    return alt.layer(curve, ring)


def image_explorer(
    images: Mapping[tuple[str, Any], tuple[Mapping[str, ArrayLike], str]], *, control: str, description: str = ""
) -> Explorer:
    """Return images side by side with a line of text above them, at a chosen value of one parameter.

    Parameters
    ----------
    images
        (name, choice) → images by their captions, the same captions everywhere, and a line that says what is to be
        seen. An image is an array (rows, columns) of numbers from 0, black, to 1, white. Choices as for
        :func:`bar_explorer`. Equal images are stored once.
    control
        What the parameter is called.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, captions differ, an image is no array of two dimensions or has a number beyond 0 and 1, or
        the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, choices = _pairs(images, "images", "choice")
    captions = list(next(iter(pairs.values()))[0])
    stored: dict[str, int] = {}  # an image's address → its number
    number, said = {}, {}
    for pair, (given, text) in pairs.items():
        if list(given) != captions:
            raise ValueError(f"images{pair}: expected the captions {captions}, got {list(given)}")
        addresses = [_image_address(values, f"images{pair}[{caption!r}]") for caption, values in given.items()]
        number[pair] = [stored.setdefault(address, len(stored)) for address in addresses]
        said[pair] = text
    rows = [{"image": n, "url": address} for address, n in stored.items()]
    which = alt.param(value={n: {_key(c): number[n, c] for c in choices} for n in names})
    line = alt.param(value={n: {_key(c): said[n, c] for c in choices} for n in names})
    name, choice = _control("Image", names, names[0]), _control(control, choices, choices[0])
    chosen = f"[{name.name}][{choice.name}]"
    title = _title(f"{line.name}{chosen}", limit=alt.ExprRef("width"))
    base = alt.Chart(alt.InlineData(rows), width=_WIDTH, height=_IMAGE + 20, title=title)
    layers = []
    for place, caption in enumerate(captions):
        middle = alt.value(alt.ExprRef(f"width * {(place + 0.5) / len(captions):g}"))
        shown = base.transform_filter(f"datum.image == {which.name}{chosen}[{place}]")
        layers.append(
            shown.mark_image(width=_IMAGE, height=_IMAGE, baseline="top").encode(x=middle, y=alt.value(20), url="url:N")
        )
        layers.append(shown.mark_text(baseline="top").encode(x=middle, y=alt.value(0), text=alt.value(caption)))
    return ChartExplorer(
        alt.layer(*layers).add_params(name, choice, which, line),
        description or f"Images side by side: {_list(captions)}. Controls choose the image and the {_lower(control)}.",
    )


def _image_address(values: ArrayLike, name: str) -> str:
    """Return an image as an address that holds it, each of its pixels enlarged to a square of screen pixels."""
    pixels = numbers(values, name, 2)
    if pixels.min() < 0 or pixels.max() > 1:
        raise ValueError(f"{name}: expected numbers from 0 to 1, got {pixels.min():g} to {pixels.max():g}")
    enlarged = np.kron(np.rint(255 * pixels), np.ones([max(1, _IMAGE // max(pixels.shape))] * 2)).astype(np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(enlarged).save(file, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def fold_explorer(*, description: str = "") -> Explorer:
    """Return two sliders for the slopes of an activation with one kink, and the fold that it always comes to.

    The left panel draws σ with slope s₁ for t > 0 and s₂ for t < 0, and the line of its mean slope c = (s₁ + s₂)/2;
    the right one draws φ(t) = (σ(t) − c t)/r, r = (s₁ − s₂)/2, which is |t| for every two slopes that differ.

    Parameters
    ----------
    description
        What the figure shows, in place of a general sentence.
    """
    first = alt.param(value=1, bind=alt.binding_range(min=-1.5, max=1.5, step=0.1, name="Slope s₁ (t > 0)"))
    second = alt.param(value=0, bind=alt.binding_range(min=-1.5, max=1.5, step=0.1, name="Slope s₂ (t < 0)"))
    s1, s2 = first.name, second.name
    mean, half = f"(({s1} + {s2}) / 2)", f"(({s1} - {s2}) / 2)"
    linear = f"abs({s1} - {s2}) < 0.05"
    names = (
        f"{linear} ? 'linear' : {s2} == 0 && {s1} == 1 ? 'ReLU' : {s2} == -1 && {s1} == 1 ? 'absolute value' : "
        f"{s1} == 1 && {s2} > 0 && {s2} < 1 ? 'leaky ReLU' : 'two slopes'"
    )
    base = (
        alt.Chart(alt.InlineData([{"t": t} for t in (-2, 0, 2)]), width=(_WIDTH - 2 * _AXIS) // 2, height=240)
        .transform_calculate(sigma=f"datum.t * (datum.t > 0 ? {s1} : {s2})", mean=f"{mean} * datum.t")
        .transform_calculate(fold=f"{linear} ? null : (datum.sigma - datum.mean) / {half}")
    )
    x = alt.X("t:Q", scale=alt.Scale(domain=[-2, 2]), axis=alt.Axis(title="t", values=[-2, -1, 0, 1, 2], format="d"))
    vertical: Any = {"scale": alt.Scale(domain=[-3, 3]), "axis": alt.Axis(title=None, values=[-2, 0, 2])}
    dashed = base.mark_line(strokeDash=[5, 4], color=GREY).encode(x=x, y=alt.Y("mean:Q", **vertical))
    kinked = base.mark_line(color=COLOURS[0], strokeWidth=3).encode(x=x, y=alt.Y("sigma:Q", **vertical))
    folded = base.mark_line(color=COLOURS[1], strokeWidth=3).encode(x=x, y=alt.Y("fold:Q", **vertical))
    left = alt.layer(
        dashed, kinked, title=_title(f"'σ(t): ' + ({names})", f"'dashed: c t, c = ' + format({mean}, '.2f')")
    )
    right = folded.properties(
        title=_title(
            f"{linear} ? 'no fold: s₁ = s₂' : 'φ(t) = |t|'",
            f"{linear} ? 'r = 0: σ is its own mean' : '(σ(t) − c t)/r, r = ' + format({half}, '.2f')",
        )
    )
    return ChartExplorer(
        alt.hconcat(left, right).add_params(first, second),
        description
        or "Left, an activation with two slopes and the line of their mean; right, what is left of it after that line "
        "is subtracted and the rest divided by half the slopes' difference: the absolute value, whatever the slopes. "
        "Two controls set the slopes; equal slopes leave no fold.",
    )


def sheet_explorer(
    sheets: Mapping[tuple[str, int], tuple[ArrayLike, ArrayLike]], *, control: str, description: str = ""
) -> Explorer:
    """Return ruled sheets of paper as layers of the plane lay them down: two layers side by side, one parameter.

    Parameters
    ----------
    sheets
        (layer, value of the parameter) → the ruled lines as points (lines, points, 2), and which side is up at each
        (lines, points): +1 for the front, −1 for the back, 0 where the sheet has collapsed. Every layer at every
        value. Lines are drawn to a thousandth of the largest coordinate, and equal sheets are stored once.
    control
        What the parameter is called.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, shapes do not match, a value is not finite, a side is none of 1, −1 and 0, or the chart
        would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, values = _pairs(sheets, "sheets", "value")
    arrays = {pair: _checked_sheet(f"sheets{pair}", *given) for pair, given in pairs.items()}
    reach = max(float(abs(points).max()) for points, _ in arrays.values()) or 1.0
    stored: dict[str, int] = {}  # a sheet's rows as text → its number
    number, length = {}, {}
    for pair, (points, sides) in arrays.items():
        number[pair] = stored.setdefault(_compact({"rows": _sheet_rows(points, sides, reach)}), len(stored))
        length[pair] = float(np.linalg.norm(np.diff(points, axis=1), axis=-1).sum())
    rows = [row | {"sheet": n} for text, n in stored.items() for row in json.loads(text)["rows"]]
    which = alt.param(value={n: {_key(v): number[n, v] for v in values} for n in names})
    long = alt.param(value={n: {_key(v): magnitude(length[n, v]) for v in values} for n in names})
    value = _control(control, values, values[0])
    choices = [_control("Layer", names, names[0])]
    choices += [_control("Compared with", names, names[1])] if len(names) > 1 else []
    panels = []
    for choice in choices:
        chosen = f"[{choice.name}][{value.name}]"
        title = _title(choice.name, f"'rules ' + {long.name}{chosen} + ' long in all'")
        panels.append(_sheet_panel(rows, f"datum.sheet == {which.name}{chosen}", title))
    return ChartExplorer(
        alt.hconcat(*panels).add_params(*choices, value, which, long),
        description
        or f"A ruled square sheet of paper as it is laid down by {_list(names)}, front and back in two colours. "
        f"Controls choose two layers to compare and the {_lower(control)}.",
    )


_SIDES = {1: "front up", -1: "back up", 0: "collapsed"}


def _checked_sheet(name: str, lines: ArrayLike, sides: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, up = numbers(lines, name, 3), numbers(sides, name, 2)
    if points.shape != (*up.shape, 2):
        raise ValueError(
            f"{name}: expected points (lines, points, 2), sides (lines, points); got {points.shape}, {up.shape}"
        )
    if not np.isin(up, list(_SIDES)).all():
        raise ValueError(f"{name}: a side is 1, −1 or 0, got {up[~np.isin(up, list(_SIDES))][0]:g}")
    return points, up


def _sheet_rows(points: NDArray[np.float64], sides: NDArray[np.float64], reach: float) -> list[dict[str, Any]]:
    """Return one row for each side: the corners of its lines, in thousandths of the reach, a null between two lines."""
    rows = []
    for side, label in _SIDES.items():
        x: list[int | None] = []
        y: list[int | None] = []
        for line, up in zip(points, sides, strict=True):
            for run in np.split(np.arange(len(line)), np.nonzero(np.diff(up))[0] + 1):
                if up[run[0]] == side:
                    corners = np.rint(line[run][_corners(line[run], reach / 1000)] / reach * 1000).astype(int)
                    x += [*corners[:, 0].tolist(), None]
                    y += [*corners[:, 1].tolist(), None]
        if x:
            rows.append({"side": label, "x": x[:-1], "y": y[:-1]})
    return rows


def _corners(line: NDArray[np.float64], tolerance: float) -> list[int]:
    """Return which points of a line suffice to draw it, no point being farther from the drawing than the tolerance."""
    chord, offsets = line[-1] - line[0], line - line[0]
    along = np.clip(offsets @ chord / (chord @ chord or 1.0), 0, 1)
    away = np.linalg.norm(offsets - along[:, None] * chord, axis=1)
    farthest = int(away.argmax())
    if away[farthest] <= tolerance:
        return [0, len(line) - 1]
    rest = [farthest + corner for corner in _corners(line[farthest:], tolerance)]
    return _corners(line[: farthest + 1], tolerance) + rest[1:]


def _sheet_panel(rows: list[dict[str, Any]], where: str, title: alt.TitleParams) -> alt.Chart:
    """Return a window on the sheet picked, both axes to one scale and the origin in the middle, whatever its width."""
    ends: dict[str, Any] = {}
    for axis, size in (("x", "childWidth"), ("y", "height")):  # Vega-Lite's names for the panels' common size
        half = f"1030 * {size} / min(childWidth, height)"
        scale = alt.Scale(domainMin=alt.ExprRef(f"-{half}"), domainMax=alt.ExprRef(half), nice=False, zero=False)
        ends[axis] = {"scale": scale, "axis": None}
    labels = list(_SIDES.values())
    legend = alt.Legend(columns=3, direction="horizontal")
    colours = alt.Scale(domain=labels, range=[*COLOURS[:2], GREY])
    return (
        alt.Chart(alt.InlineData(rows), width=(_WIDTH - 18) // 2, height=270, title=title)
        .transform_filter(where)
        .transform_flatten(["x", "y"])
        .transform_window(corner="row_number()")
        .mark_line(strokeWidth=1.5, strokeCap="round", invalid="break-paths-show-path-domains")
        .encode(
            x=alt.X("x:Q", **ends["x"]),
            y=alt.Y("y:Q", **ends["y"]),
            order=alt.Order("corner:Q"),  # else a line would run from left to right
            color=alt.Color("side:N", scale=colours, sort=labels, legend=legend),
        )
    )


_FOLDING = {  # control → its label, least and largest value, step and unit
    "folds": ("Folds", 0, 10, 1, ""),
    "first": ("First angle", 0, 360, 1, "°"),
    "turn": ("Turn", 0, 180, 1, "°"),
    "distance": ("Distance", 0.2, 1.2, 0.01, ""),
}


@dataclass(frozen=True, kw_only=True)
class FoldingExplorer(Explorer):
    """A square sheet of paper that the page itself folds; attributes as the arguments of :func:`folding_explorer`."""

    kind = "folding"
    folds: int
    first: float
    turn: float
    distance: float
    description: str

    def specification(self, ink: str = GREY) -> dict[str, Any]:
        """Return the controls with their present values, and the colours: text and creases in ``ink``."""
        names = ("label", "min", "max", "step", "unit", "value")
        controls = {
            control: dict(zip(names, (*limits, getattr(self, control)), strict=True))
            for control, limits in _FOLDING.items()
        }
        return {"description": self.description, "controls": controls, "colours": list(COLOURS[:2]), "ink": ink}

    def still(self, kind: str, ink: str = GREY) -> Any:
        angles = self.first + self.turn * torch.arange(self.folds, dtype=torch.float64)
        sheet = origami.fold(origami.folds_along(angles, torch.full_like(angles, self.distance)))
        pattern = crease_pattern(sheet.points, sheet.images, sheet.cells, sheet.signs, sheet.creases, sheet.layers)
        pictures, _ = pattern._repr_mimebundle_()
        if kind == "png":
            return pictures["image/png"]
        drawing = pictures["image/svg+xml"]
        return drawing[drawing.index("<svg") :].replace(GREY, ink)  # matplotlib itself knows no currentColor

    def live(self) -> dict[str, Any]:
        style, script = ((_DATA / name).read_text("utf-8") for name in ("charts.css", "folding.js"))
        alone = f"<style>{style}</style>{self.page()}<script>{script}</script>"
        return {"text/html": alone, "text/plain": self.description}

    def _room(self, still: str) -> str:
        return "aspect-ratio:1.2"  # of the figure with its controls on a wide screen; on a narrow one it is taller


def folding_explorer(
    *, folds: int = 7, first: float = 10, turn: float = 51, distance: float = 0.5, description: str = ""
) -> FoldingExplorer:
    """Return a square sheet of paper, its creases and the folded sheet, with four sliders for how it is folded.

    Layer l of the network is x ↦ x − 2v relu(v·x − d) on the square [−1, 1]², v at the angle first + (l − 1)·turn. The
    page computes the creases and the folded sheet exactly, with the steps of :func:`orthobook.origami.fold`.

    Parameters
    ----------
    folds
        Number of layers at first, from 1 to 10.
    first, turn
        Angle of the first v and from each v to the next at first, in degrees, from 0 to 360 and to 180.
    distance
        Distance d of each crease from the middle of the sheet at first, from 0.2 to 1.2.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a value is outside the range of its slider, or no fold is asked for.
    """
    whole_number("folds", folds, least=1)
    for control, value in {"folds": folds, "first": first, "turn": turn, "distance": distance}.items():
        _, low, high, *_ = _FOLDING[control]
        if not low <= finite_number(control, value) <= high:
            raise ValueError(f"{control}: expected {low} to {high}, got {value}")
    return FoldingExplorer(
        folds=folds,
        first=first,
        turn=turn,
        distance=distance,
        description=description
        or "Left, a flat square sheet of paper with its creases, the parts that will lie front up in one colour and "
        "those that will be turned over in another; right, the same sheet folded. Controls set the number of folds, "
        "the direction of the first, the turn from each to the next, and their distance from the middle.",
    )
