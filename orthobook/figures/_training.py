"""Singular values while networks train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._base import Explorer
from orthobook.figures._chart import AXIS, WIDTH, ChartExplorer
from orthobook.figures._controls import key, literal, pairs_of, selector
from orthobook.figures._histogram import histogram, histogram_title, spreads
from orthobook.figures._log_axis import LogAxis
from orthobook.figures._parts import series, thinned, title
from orthobook.figures._words import listed
from orthobook.figures.stills import column, named, not_negative

__all__ = ["training_explorer"]


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
    rows = [{"name": n, "step": s, "share": axis.shares(values)} for (n, s), values in arrays.items()]
    curves = {n: (column(histories[n], "step", n), column(histories[n], quantity, n)) for n in names}
    step = selector("Step", steps, steps[0])
    text = spreads(arrays, names, steps, limits)
    panels: list[Any] = []
    for name in names:
        own, where = [row for row in rows if row["name"] == name], f"datum.step == {step.name}"
        heading = histogram_title(literal(name), "step", step, text)
        label = "singular value σ" if name == names[-1] else None  # all panels shall fit a telephone's screen
        panels.append(histogram(own, axis, names, where, heading, height=64, label=label))
    panels.append(_progress(curves, names, quantity, steps, step))
    stack = alt.vconcat(*panels).resolve_scale(color="independent")  # else the last panel loses its legend
    return ChartExplorer(
        stack.add_params(step, text),
        description
        or f"Histograms of the singular values of the Jacobian of {listed(names)} while they train, and the "
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
        kept = thinned(len(at))
        heights = [round(v, 4) if np.isfinite(v) else None for v in values[kept].tolist()]
        lines.append({"name": name, "at": at[kept].tolist(), "height": heights})
        nearest = [int(np.argmin(np.abs(at - s))) for s in steps]
        reached = [float(values[i]) if np.isfinite(values[i]) else None for i in nearest]
        rings += [
            {"name": name, "step": s, "at": float(at[i]), "height": v}
            for s, i, v in zip(steps, nearest, reached, strict=True)
        ]
        now[name] = {key(s): "none" if v is None else f"{v:.3f}" for s, v in zip(steps, reached, strict=True)}
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
