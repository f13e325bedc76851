"""Curves with controls: quantities, gradient norms and singular values by layer, and an activation with its fold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._chart import AXIS, WIDTH, ChartExplorer, lines, log_axis, series, title
from orthobook.figures._controls import by_choice, check_boxes, literal, pairs_of, property_name, selector, start_value
from orthobook.figures._live import Explorer
from orthobook.figures.scales import (
    COLOURS,
    GREY,
    LogAxis,
    listed,
    lower,
    magnitude,
    named,
    not_negative,
    numbers,
    plain_number,
    rounded,
    thinned,
)

__all__ = ["curve_explorer", "fold_explorer", "gain_explorer", "gradient_norm_explorer"]

Curves = Mapping[tuple[str, Any], NDArray[np.float64]]


class VerticalAxis(NamedTuple):
    """Ends of a panel's vertical axis; if they were given, curves may go beyond them."""

    low: float
    high: float
    given: bool

    def said(self, value: float) -> str:
        """Return a value as text, or only that it is beyond the axis."""
        if self.given and not self.low <= value <= self.high:
            return f"above {plain_number(self.high)}" if value > self.high else f"below {plain_number(self.low)}"
        return _two_decimals(value)


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
    axes = _vertical_axes(arrays, limits or {})
    at = _places(places, len(arrays[next(iter(arrays))][names[0], values[0]]))
    value = selector(control, values, start_value(start, values, values[len(values) // 2]))
    boxes, checked = check_boxes(names)
    stack, texts = [], []
    for quantity, curves in arrays.items():
        ends = {(n, v): f" · {n}: {axes[quantity].said(float(curve[-1]))}" for (n, v), curve in curves.items()}
        texts.append(by_choice(ends, names, values))
        said = f"{texts[-1].name}[{{}}][{value.name}]"
        shown = [f"({b.name} ? {said.format(literal(n))} : '')" for n, b in zip(names, boxes, strict=True)]
        heading = title(
            f"{literal(f'{quantity}, {lower(control)}: ')} + {value.name}",
            f"'at the end: ' + (slice({' + '.join(shown)}, 3) || 'no curve is shown')",
        )
        panel = _panel(curves, names, at, axes[quantity], f"datum.value == {value.name} && {checked}", heading)
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


def _vertical_axes(arrays: Mapping[str, Curves], limits: Mapping[str, tuple[float, float]]) -> dict[str, VerticalAxis]:
    """Return every panel's vertical axis: the limits given, else what holds all values and 0."""
    axes = {}
    for quantity, curves in arrays.items():
        low, high = (rounded(end([end(curve) for curve in curves.values()])) for end in (np.min, np.max))
        axes[quantity] = VerticalAxis(min(low, 0), max(high, 0) or 1, given=False)
    for quantity, (low, high) in limits.items():
        if quantity not in axes or not low < high:
            raise ValueError(f"limits: expected lower < upper for some of {[*axes]}, got {quantity}: {low}, {high}")
        axes[quantity] = VerticalAxis(low, high, given=True)
    return axes


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
    curves: Curves, names: list[str], at: list[Any], vertical: VerticalAxis, where: str, heading: alt.TitleParams
) -> alt.Chart:
    """Return the curves that the condition picks, cut off at the ends of the vertical axis if those were given."""
    kept = thinned(len(at))
    layers = [at[i] for i in kept]
    rows = [
        {"name": n, "value": v, "layer": layers, "height": [rounded(height) for height in curve[kept].tolist()]}
        for (n, v), curve in curves.items()
    ]
    return (
        lines(rows, ["layer", "height"], where, heading)
        .mark_line(strokeWidth=2.5, clip=vertical.given)
        .encode(
            y=alt.Y(
                "height:Q",
                scale=alt.Scale(domain=[vertical.low, vertical.high], nice=not vertical.given),
                axis=alt.Axis(title=None),
            ),
            **series(names, "datum.label"),
        )
    )


def _two_decimals(value: float) -> str:
    """Return a value as text, large ones as whole numbers: 0.21, 9.50, 1,234; never −0.00."""
    text = f"{value:,.0f}" if abs(value) >= 9.995 else f"{round(value, 2) + 0.0:.2f}"
    return text.replace("-", "−")


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
    text = alt.param(
        value={property_name(d): {n: _ratio(arrays[n, d][0], arrays[n, d][-1]) for n in names} for d in depths}
    )
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
            y=alt.Y("norm:Q", **log_axis(axis)),
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
    arrays = {pair: _three_rows(not_negative(values, f"curves{pair}", 1, 2), pair) for pair, values in pairs.items()}
    axis = LogAxis.around(arrays.values(), limits)
    rows = []
    for (name, g), values in arrays.items():
        kept = thinned(values.shape[1])
        low, middle, high = axis.exponents(values[:, kept]).round(3).tolist()
        rows.append({"name": name, "gain": g, "layer": (kept + 1).tolist(), "low": low, "middle": middle, "high": high})
    last = max(2, *(values.shape[1] for values in arrays.values()))  # fixed, as all lines may be hidden
    text = alt.param(value={property_name(g): {n: magnitude(float(arrays[n, g][1, -1])) for n in names} for g in gains})
    gain = selector("Gain", gains, min(gains, key=lambda g: abs(g - 1)))
    boxes, checked = check_boxes(names)
    heading = title(
        f"'Singular values of the Jacobian by depth, gain ' + {gain.name}",
        "'Line: median; band: smallest to largest'",
        "'In the key: median after the last layer'",
    )
    base = lines(rows, ["layer", "low", "middle", "high"], f"datum.gain == {gain.name} && {checked}", heading)
    shared = {"x": _layer(alt.Scale(domain=[1, last], nice=False)), **series(names, _label(text, gain))}
    vertical = log_axis(axis)
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


def _three_rows(values: NDArray[np.float64], pair: tuple[str, Any]) -> NDArray[np.float64]:
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
        alt.Chart(alt.InlineData([{"t": t} for t in (-2, 0, 2)]), width=(WIDTH - 2 * AXIS) // 2, height=240)
        .transform_calculate(sigma=f"datum.t * (datum.t > 0 ? {s1} : {s2})", mean=f"{mean} * datum.t")
        .transform_calculate(fold=f"{linear} ? null : (datum.sigma - datum.mean) / {half}")
    )
    x = alt.X("t:Q", scale=alt.Scale(domain=[-2, 2]), axis=alt.Axis(title="t", values=[-2, -1, 0, 1, 2], format="d"))
    vertical: Any = {"scale": alt.Scale(domain=[-3, 3]), "axis": alt.Axis(title=None, values=[-2, 0, 2])}
    dashed = base.mark_line(strokeDash=[5, 4], color=GREY).encode(x=x, y=alt.Y("mean:Q", **vertical))
    kinked = base.mark_line(color=COLOURS[0], strokeWidth=3).encode(x=x, y=alt.Y("sigma:Q", **vertical))
    folded = base.mark_line(color=COLOURS[1], strokeWidth=3).encode(x=x, y=alt.Y("fold:Q", **vertical))
    left = alt.layer(
        dashed, kinked, title=title(f"'σ(t): ' + ({names})", f"'dashed: c t, c = ' + format({mean}, '.2f')")
    )
    right = folded.properties(
        title=title(
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
