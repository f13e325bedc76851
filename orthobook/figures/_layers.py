"""Norms of gradients and singular values by layer, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._base import Explorer
from orthobook.figures._chart import ChartExplorer
from orthobook.figures._controls import check_boxes, key, pairs_of, selector
from orthobook.figures._log_axis import LogAxis
from orthobook.figures._parts import lines, series, thinned, title
from orthobook.figures._words import listed
from orthobook.figures.stills import magnitude, named, not_negative

__all__ = ["gain_explorer", "gradient_norm_explorer"]


def gradient_norm_explorer(
    norms: Mapping[tuple[str, int], ArrayLike],
    *,
    limits: tuple[float, float] = (1e-12, 1e12),
    dashed: Collection[str] = (),
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
    dashed
        Architectures whose lines are dashed, so that a line below them is seen too.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, an array has the wrong length, a norm is negative or not finite, a dashed architecture
        is none of them, or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, depths = pairs_of(norms, "norms", "depth")
    arrays = _medians(pairs)
    axis = LogAxis.around(arrays.values(), limits)
    rows = []
    for (name, d), values in arrays.items():
        kept = thinned(d + 1)
        exponents = axis.exponents(values[kept]).round(3).tolist()
        rows.append({"name": name, "depth": d, "layer": kept.tolist(), "norm": exponents})
    text = alt.param(value={key(d): {n: _ratio(arrays[n, d][0], arrays[n, d][-1]) for n in names} for d in depths})
    depth = selector("Depth", depths, depths[-1])
    boxes, checked = check_boxes(names)
    heading = title(
        f"'Gradient norm ‖∂ℓ/∂xₗ‖ by layer l, depth ' + {depth.name}",
        "'In the key: norm at the input ÷ norm at the output'",
    )
    chart = (
        lines(rows, ["layer", "norm"], f"datum.depth == {depth.name} && {checked}", heading)
        .mark_line(strokeWidth=2.5)
        .encode(
            x=_layer(alt.Scale(domain=[0, alt.ExprRef(depth.name)], nice=False)),
            y=alt.Y("norm:Q", scale=axis.scale(), axis=axis.axis(title=None)),
            **series(names, _label(text, depth), dashed),
        )
    )
    return ChartExplorer(
        chart.add_params(depth, *boxes, text),
        description
        or f"Norm of the loss's gradient by layer for {listed(names)}, at depths {listed(depths)}, on a logarithmic "
        "axis. Controls choose the depth and the architectures shown.",
    )


def _medians(norms: Mapping[tuple[str, int], ArrayLike]) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Return depth + 1 norms for each pair, the median over the batch where there is one."""
    arrays = {}
    for pair, values in norms.items():
        array = not_negative(values, f"norms{pair}", 1, 2)
        arrays[pair] = np.median(array, axis=1) if array.ndim == 2 else array
    for (name, d), values in arrays.items():
        if len(values) != d + 1:
            raise ValueError(f"norms{name, d}: expected depth + 1 = {d + 1} norms, got {len(values)}")
    return arrays


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
    pairs, names, gains = pairs_of(_rounded_gains(curves), "curves", "gain")
    arrays = {pair: _three(not_negative(values, f"curves{pair}", 1, 2), pair) for pair, values in pairs.items()}
    axis = LogAxis.around(arrays.values(), limits)
    rows = []
    for (name, g), values in arrays.items():
        kept = thinned(values.shape[1])
        low, middle, high = axis.exponents(values[:, kept]).round(3).tolist()
        rows.append({"name": name, "gain": g, "layer": (kept + 1).tolist(), "low": low, "middle": middle, "high": high})
    last = max(2, *(values.shape[1] for values in arrays.values()))  # fixed, as all lines may be hidden
    text = alt.param(value={key(g): {n: magnitude(float(arrays[n, g][1, -1])) for n in names} for g in gains})
    gain = selector("Gain", gains, min(gains, key=lambda g: abs(g - 1)))
    boxes, checked = check_boxes(names)
    heading = title(
        f"'Singular values of the Jacobian by depth, gain ' + {gain.name}",
        "'Line: median; band: smallest to largest'",
        "'In the key: median after the last layer'",
    )
    base = lines(rows, ["layer", "low", "middle", "high"], f"datum.gain == {gain.name} && {checked}", heading)
    shared = {"x": _layer(alt.Scale(domain=[1, last], nice=False)), **series(names, _label(text, gain))}
    vertical: Any = {"scale": axis.scale(), "axis": axis.axis(title=None)}
    band = base.mark_area(opacity=0.2, strokeWidth=0).encode(y=alt.Y("low:Q", **vertical), y2="high:Q", **shared)
    line = base.mark_line(strokeWidth=2.5).encode(y=alt.Y("middle:Q", **vertical), **shared)
    return ChartExplorer(
        alt.layer(band, line).add_params(gain, *boxes, text),
        description
        or f"Singular values of the Jacobian by depth for {listed(names)}, at gains {listed(gains)}, on a logarithmic "
        "axis. Controls choose the gain and the architectures shown.",
    )


def _rounded_gains(curves: Mapping[tuple[str, float], ArrayLike]) -> dict[Any, ArrayLike]:
    """Return the curves with gains to six digits, so that a control can name them; other keys as they are."""
    return {
        (pair[0], round(float(pair[1]), 6)) if isinstance(pair, tuple) and len(pair) == 2 else pair: values
        for pair, values in named(curves, "curves").items()
    }


def _three(values: NDArray[np.float64], pair: tuple[str, Any]) -> NDArray[np.float64]:
    """Return smallest, median and largest, shape (3, depth); all the same where only the median is given."""
    if values.ndim == 1:
        return np.stack([values] * 3)
    if values.shape[0] != 3:
        raise ValueError(f"curves{pair}: expected shape (depth,) or (3, depth), got {values.shape}")
    return values


def _layer(scale: alt.Scale) -> alt.X:
    """Return the horizontal axis."""
    return alt.X("layer:Q", scale=scale, axis=alt.Axis(title="layer l", format="d", tickMinStep=1))


def _label(text: alt.Parameter, choice: alt.Parameter) -> str:
    """Return the expression of a name in the legend, with what the text says of it at the choice."""
    return f"datum.label + ': ' + {text.name}[{choice.name}][datum.label]"
