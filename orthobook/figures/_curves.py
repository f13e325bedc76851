"""Several quantities by layer, one panel below the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._base import Explorer
from orthobook.figures._chart import ChartExplorer
from orthobook.figures._controls import by_choice, check_boxes, literal, pairs_of, selector, start_value
from orthobook.figures._parts import lines, rounded, series, thinned, title
from orthobook.figures._words import listed, lower
from orthobook.figures.stills import named, numbers, plain_number

__all__ = ["curve_explorer"]

Curves = Mapping[tuple[str, Any], NDArray[np.float64]]


class Frame(NamedTuple):
    """Ends of a panel's vertical axis; if they were given, curves may go beyond them."""

    low: float
    high: float
    given: bool

    def said(self, value: float) -> str:
        """Return a value as text, or only that it is out of the frame."""
        if self.given and not self.low <= value <= self.high:
            return f"above {plain_number(self.high)}" if value > self.high else f"below {plain_number(self.low)}"
        return _plain(value)


def curve_explorer(
    panels: Mapping[str, Mapping[tuple[str, float], ArrayLike]],
    *,
    control: str,
    xlabel: str = "layer l",
    places: ArrayLike | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    start: float | None = None,
    description: str = "",
) -> Explorer:
    """Return several quantities by layer, one panel below the other, at a chosen value of one parameter.

    Every panel has a linear axis that is the same for all values of the parameter, so that curves can be compared while
    it is moved. The text above a panel says where the curves shown end.

    Parameters
    ----------
    panels
        Quantity → mapping of (name, value of the parameter) → array (layers,), the first layer's first; the same names
        at the same values in every panel.
    control
        What the parameter is called.
    xlabel
        Label of the horizontal axis.
    places
        Where on that axis the layers are, increasing; in place of 1, 2, 3 and so on.
    limits
        Quantity → ends of its vertical axis. A curve that goes beyond them leaves the frame, and if it ends there, the
        text says so. In place of round numbers that hold all values and 0.
    start
        Value of the parameter at first, in place of the middle one.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, panels differ in their names or values, lengths differ, a value is not finite, limits
        or start fit nothing given, places do not increase, or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    arrays, names, values = _checked(panels)
    frames = _frames(arrays, limits or {})
    at = _places(places, len(arrays[next(iter(arrays))][names[0], values[0]]))
    value = selector(control, values, start_value(start, values, values[len(values) // 2]))
    boxes, checked = check_boxes(names)
    stack, texts = [], []
    for quantity, curves in arrays.items():
        ends = {(n, v): f" · {n}: {frames[quantity].said(float(curve[-1]))}" for (n, v), curve in curves.items()}
        texts.append(by_choice(ends, names, values))
        said = f"{texts[-1].name}[{{}}][{value.name}]"
        shown = [f"({b.name} ? {said.format(literal(n))} : '')" for n, b in zip(names, boxes, strict=True)]
        heading = title(
            f"{literal(f'{quantity}, {lower(control)}: ')} + {value.name}",
            f"'at the end: ' + (slice({' + '.join(shown)}, 3) || 'no curve is shown')",
        )
        panel = _panel(curves, names, at, frames[quantity], f"datum.value == {value.name} && {checked}", heading)
        height = 120 if len(arrays) < 3 else 100  # so that all panels fit a telephone's screen
        x = _horizontal(at, xlabel if len(texts) == len(arrays) else None)
        stack.append(panel.properties(height=height).encode(x=x))
    return ChartExplorer(
        alt.vconcat(*stack).add_params(value, *boxes, *texts),
        description
        or f"{listed([*arrays])} by layer for {listed(names)}, at {control} {listed(values)}. Controls choose the "
        f"{lower(control)} and the curves shown.",
    )


def _checked(
    panels: Mapping[str, Mapping[tuple[str, float], ArrayLike]],
) -> tuple[dict[str, Curves], list[str], list[Any]]:
    """Return the panels' curves, all of one length, and the names and values that all panels have."""
    arrays: dict[str, Curves] = {}
    keys = {}
    for quantity, curves in named(panels, "panels").items():
        pairs, names, values = pairs_of(curves, quantity, "value")
        arrays[quantity] = {pair: numbers(curve, f"{quantity}{pair}", 1) for pair, curve in pairs.items()}
        keys[quantity] = names, values
    names, values = keys[next(iter(keys))]
    for quantity, found in keys.items():
        if found != (names, values):
            raise ValueError(f"panels: {quantity} has {found}, where the first panel has {(names, values)}")
    lengths = sorted({len(curve) for curves in arrays.values() for curve in curves.values()})
    if len(lengths) > 1:
        raise ValueError(f"panels: every curve needs the same number of layers, got {lengths}")
    return arrays, names, values


def _frames(arrays: Mapping[str, Curves], limits: Mapping[str, tuple[float, float]]) -> dict[str, Frame]:
    """Return every panel's frame: the limits given, else what holds all values and 0."""
    frames = {}
    for quantity, curves in arrays.items():
        low, high = (rounded(end([end(curve) for curve in curves.values()])) for end in (np.min, np.max))
        frames[quantity] = Frame(min(low, 0), max(high, 0) or 1, given=False)
    for quantity, (low, high) in limits.items():
        if quantity not in frames or not low < high:
            raise ValueError(f"limits: expected lower < upper for some of {[*frames]}, got {quantity}: {low}, {high}")
        frames[quantity] = Frame(low, high, given=True)
    return frames


def _places(places: ArrayLike | None, count: int) -> list[Any]:
    """Return where the layers are on the horizontal axis."""
    if places is None:
        return list(range(1, count + 1))
    at = numbers(places, "places", 1)
    if len(at) != count or (np.diff(at) <= 0).any():
        raise ValueError(f"places: expected {count} increasing numbers, one for each layer, got {at.tolist()}")
    return [rounded(place) for place in at.tolist()]


def _horizontal(at: list[Any], label: str | None) -> alt.X:
    """Return the axis of the layers, which are counted or at given places."""
    counted: Any = {"format": "d", "tickMinStep": 1} if isinstance(at[0], int) else {}
    scale = alt.Scale(domain=[at[0], at[-1] if len(at) > 1 else at[0] + 1], nice=False)
    return alt.X("layer:Q", scale=scale, axis=alt.Axis(title=label, **counted))


def _panel(
    curves: Curves, names: list[str], at: list[Any], frame: Frame, where: str, heading: alt.TitleParams
) -> alt.Chart:
    """Return the curves that the condition picks, cut off at the frame."""
    kept = thinned(len(at))
    layers = [at[i] for i in kept]
    rows = [
        {"name": n, "value": v, "layer": layers, "height": [rounded(height) for height in curve[kept].tolist()]}
        for (n, v), curve in curves.items()
    ]
    return (
        lines(rows, ["layer", "height"], where, heading)
        .mark_line(strokeWidth=2.5, clip=frame.given)
        .encode(
            y=alt.Y(
                "height:Q",
                scale=alt.Scale(domain=[frame.low, frame.high], nice=not frame.given),
                axis=alt.Axis(title=None),
            ),
            **series(names, "datum.label"),
        )
    )


def _plain(value: float) -> str:
    """Return a value as text, large ones as whole numbers: 0.21, 9.50, 1,234; never −0.00."""
    text = f"{value:,.0f}" if abs(value) >= 9.995 else f"{round(value, 2) + 0.0:.2f}"
    return text.replace("-", "−")
