"""Several quantities by layer, one panel below the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.explorers._base import Explorer
from orthobook.explorers._chart import ChartExplorer
from orthobook.explorers._controls import check_boxes, key, literal, pairs_of, selector
from orthobook.explorers._parts import lines, rounded, series, thinned, title
from orthobook.explorers._words import listed, lower
from orthobook.figures import named, numbers

__all__ = ["curve_explorer"]

Curves = Mapping[tuple[str, Any], NDArray[np.float64]]


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
    arrays, names, values = _checked(panels)
    value = selector(control, values, values[len(values) // 2])
    boxes, checked = check_boxes(names)
    stack, texts = [], []
    for index, (quantity, curves) in enumerate(arrays.items()):
        last = {key(v): " · ".join(f"{n}: {_plain(curves[n, v][-1])}" for n in names) for v in values}
        texts.append(alt.param(value=last))
        heading = title(literal(quantity), f"'at the end: ' + {texts[-1].name}[{value.name}]")
        label = xlabel if index == len(arrays) - 1 else None
        stack.append(_panel(curves, names, f"datum.value == {value.name} && {checked}", heading, label))
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


def _panel(curves: Curves, names: list[str], where: str, heading: alt.TitleParams, xlabel: str | None) -> alt.Chart:
    """Return the curves that the condition picks, on axes that hold them all."""
    layers = len(next(iter(curves.values())))
    kept = thinned(layers)
    points = {pair: [rounded(v) for v in curve[kept].tolist()] for pair, curve in curves.items()}
    rows = [{"name": n, "value": v, "layer": (kept + 1).tolist(), "height": points[n, v]} for n, v in points]
    low, high = (end(h for heights in points.values() for h in heights) for end in (min, max))
    return (
        lines(rows, ["layer", "height"], where, heading)
        .properties(height=120)
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X(
                "layer:Q",
                scale=alt.Scale(domain=[1, max(layers, 2)], nice=False),
                axis=alt.Axis(title=xlabel, format="d", tickMinStep=1),
            ),
            y=alt.Y(
                "height:Q",
                scale=alt.Scale(domain=[min(low, 0), max(high, 0) or 1], nice=True),
                axis=alt.Axis(title=None),
            ),
            **series(names, "datum.label"),
        )
    )


def _plain(value: float) -> str:
    """Return a value as text, large ones as whole numbers: 0.21, 9.50, 1,234; never −0.00."""
    return f"{value:,.0f}" if abs(value) >= 9.995 else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
