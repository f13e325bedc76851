"""Singular values as histograms on a logarithmic axis: by depth, and while networks train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._chart import AXIS, WIDTH, ChartExplorer, colours, log_axis, series, title
from orthobook.figures._controls import by_choice, comparison, literal, pairs_of, property_name, selector
from orthobook.figures._live import Explorer
from orthobook.figures.scales import GREY, LogAxis, column, listed, magnitude, named, not_negative, thinned

__all__ = ["spectrum_explorer", "training_explorer"]


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
    pairs, names, depths = pairs_of(spectra, "spectra", "depth")
    if laws is not None and set(laws) != set(pairs):
        raise ValueError(f"laws: expected one for each pair of spectra, {[*pairs]}, got {[*laws]}")
    arrays = {pair: not_negative(values, f"spectra{pair}").ravel() for pair, values in pairs.items()}
    axis = LogAxis.around(arrays.values(), limits)
    rows: list[dict[str, Any]] = [
        {"name": n, "depth": d, "share": _four_decimals(axis.shares(values))} for (n, d), values in arrays.items()
    ]
    if laws is not None:
        for row in rows:
            row["law"] = _four_decimals(axis.expected(laws[row["name"], row["depth"]]))
    text = _spreads(arrays, names, depths, limits)
    depth = selector("Depth", depths, depths[-1])
    choices = comparison("Architecture", names)
    panels = []
    for choice, called in choices:
        where = f"datum.name == {choice.name} && datum.depth == {depth.name}"
        heading = _histogram_title(choice.name, "depth", depth, text, called)
        panels.append(_histogram(rows, axis, names, where, heading, height=110))
    return ChartExplorer(
        alt.vconcat(*panels).add_params(*(choice for choice, _ in choices), depth, text),
        description
        or f"Histograms of the singular values of the Jacobian for {listed(names)}, at depths {listed(depths)}, "
        "on a logarithmic axis. Controls choose two architectures to compare and the depth.",
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
    pairs, names, steps = pairs_of(spectra_by_step, "spectra_by_step", "step")
    if set(named(histories, "histories")) != set(names):
        raise ValueError(f"histories: expected the runs {names}, got {list(histories)}")
    arrays = {pair: not_negative(values, f"spectra_by_step{pair}").ravel() for pair, values in pairs.items()}
    axis = LogAxis.around(arrays.values(), limits)
    rows = [{"name": n, "step": s, "share": _four_decimals(axis.shares(values))} for (n, s), values in arrays.items()]
    curves = {n: (column(histories[n], "step", n), column(histories[n], quantity, n)) for n in names}
    step = selector("Step", steps, steps[0])
    text = _spreads(arrays, names, steps, limits)
    panels: list[Any] = []
    for name in names:
        own, where = [row for row in rows if row["name"] == name], f"datum.step == {step.name}"
        heading = _histogram_title(literal(name), "step", step, text)
        label = "singular value σ" if name == names[-1] else None  # all panels shall fit a telephone's screen
        panels.append(_histogram(own, axis, names, where, heading, height=64, label=label))
    panels.append(_histories_with_rings(curves, names, quantity, steps, step))
    stack = alt.vconcat(*panels).resolve_scale(color="independent")  # else the last panel loses its legend
    return ChartExplorer(
        stack.add_params(step, text),
        description
        or f"Histograms of the singular values of the Jacobian of {listed(names)} while they train, and the "
        f"{quantity} by training step. A control moves from step {steps[0]} to step {steps[-1]}.",
    )


def _histories_with_rings(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    names: list[str],
    quantity: str,
    steps: list[int],
    step: alt.Parameter,
) -> Any:
    """Return the runs' curves with a ring on each at the chosen step (at the record nearest to it)."""
    lines, rings, now = [], [], {}
    for name, (at, values) in curves.items():
        kept = thinned(len(at))
        heights = [round(v, 4) if np.isfinite(v) else None for v in values[kept].tolist()]
        lines.append({"name": name, "at": at[kept].tolist(), "height": heights})
        nearest = [int(np.argmin(np.abs(at - s))) for s in steps]
        reached = [float(values[i]) if np.isfinite(values[i]) else None for i in nearest]
        rings += [
            {"name": name, "step": s, "at": float(at[i]), "height": v}
            for s, i, v in zip(steps, nearest, reached, strict=True)
        ]
        now[name] = {property_name(s): "none" if v is None else f"{v:.3f}" for s, v in zip(steps, reached, strict=True)}
    x = alt.X("at:Q", axis=alt.Axis(title="step", format="d"), scale=alt.Scale(nice=False))
    y = alt.Y("height:Q", axis=alt.Axis(title=quantity))
    label = f"datum.label + ': ' + ({literal(now)})[datum.label][{step.name}]"
    heading = title(f"'{quantity.capitalize()} at step ' + {step.name}")
    encodings = series(names, label)
    curve = alt.Chart(alt.InlineData(lines), width=WIDTH - AXIS, height=100, title=heading)
    curve = curve.transform_flatten(["at", "height"]).mark_line().encode(x=x, y=y, **encodings)
    ring = alt.Chart(alt.InlineData(rings)).transform_filter(f"datum.step == {step.name}")
    ring = ring.mark_point(size=130, strokeWidth=3, opacity=1).encode(x=x, y=y, **encodings)
    return alt.layer(curve, ring)


def _histogram(
    rows: list[dict[str, Any]],
    axis: LogAxis,
    names: list[str],
    where: str,
    heading: alt.TitleParams,
    height: int,
    label: str | None = "singular value σ",
) -> Any:
    """Return the histogram of the one row that the condition ``where`` picks.

    A row holds a list ``share`` and perhaps a list ``law``, which is drawn as a line over it.
    """
    edges = axis.edges()
    lists: list[Any] = ["share", "left", "law"] if "law" in rows[0] else ["share", "left"]
    base = (
        alt.Chart(alt.InlineData(rows))
        .transform_filter(where)
        .transform_calculate(left=literal(edges[:-1].round(4).tolist()))
        .transform_flatten(lists)
    )
    bars = (
        base.transform_filter("datum.share > 0")
        .transform_calculate(right=f"datum.left + {edges[1] - edges[0]:.6f}", zero="0")
        .mark_rect()
        .encode(
            x=alt.X("left:Q", **log_axis(axis, label, ends=(edges[0], edges[-1]))),
            x2="right:Q",
            y=alt.Y("zero:Q", scale=alt.Scale(domainMin=0), axis=alt.Axis(title="share", format=".2~g", tickCount=3)),
            y2="share:Q",
            color=alt.Color("name:N", scale=colours(names), legend=None),
        )
    )
    layers = [bars]
    if "law" in lists:
        middle = base.transform_calculate(middle=f"datum.left + {(edges[1] - edges[0]) / 2:.6f}")
        line = middle.mark_line(color=GREY, strokeWidth=2, interpolate="step").encode(x="middle:Q", y="law:Q")
        layers.append(line)
    return alt.layer(*layers, width=WIDTH - AXIS, height=height, title=heading)


def _spreads(
    arrays: Mapping[tuple[str, Any], NDArray[np.float64]],
    names: list[str],
    choices: list[Any],
    limits: tuple[float, float],
) -> alt.Parameter:
    """Return a parameter that holds, for each pair, two lines of text about its values."""
    return by_choice({pair: _spread(values, limits) for pair, values in arrays.items()}, names, choices)


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


def _histogram_title(
    name: str, what: str, choice: alt.Parameter, text: alt.Parameter, called: str | None = None
) -> alt.TitleParams:
    """Return a histogram's title: what the name is called, the choice, and the two lines about the values.

    The name is an expression, and so is what it is called, if that is more than the name.
    """
    said = (f"{text.name}[{name}][{choice.name}][{line}]" for line in (0, 1))
    return title(f"{called or name} + ', {what} ' + {choice.name}", *said)


def _four_decimals(shares: NDArray[np.float64]) -> list[float]:
    """Return shares rounded to what a histogram can show."""
    return [round(share, 4) for share in shares.tolist()]
