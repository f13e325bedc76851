"""What was measured at a few places, at a chosen value of one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np

from orthobook.figures._base import Explorer
from orthobook.figures._chart import AXIS, ChartExplorer
from orthobook.figures._controls import check_boxes, literal, pairs_of, selector
from orthobook.figures._parts import lines, rounded, series, title
from orthobook.figures._words import capital, listed, lower, printed
from orthobook.figures.stills import by_place, plain_number

__all__ = ["measurement_explorer"]


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
    pairs, names, choices = pairs_of(values, "values", "choice")
    rows: list[dict[str, Any]] = []
    best: dict[Any, dict[str, str]] = {c: {} for c in choices}
    for c in choices:
        for name in names:
            places = by_place(pairs[name, c], f"values{name, c}", 0, positive=True)
            heights = [float(array[0]) for array in places.values()]
            top = int(np.argmax(heights))
            best[c][name] = f"best at {plain_number([*places][top])} ({printed(heights[top])})"
            marked = [int(i == top) for i in range(len(heights))]
            rows.append({"name": name, "choice": c, "x": [*places], "height": heights, "best": marked})
    axes = {"x": _horizontal(rows, xlabel), "y": _vertical(rows)}
    for row in rows:
        row["height"] = [rounded(height) for height in row["height"]]
    choice = selector(control, choices, choices[0])
    boxes, checked = check_boxes(names)
    text = alt.param(value=[best[c] for c in choices])
    what = f"{capital(ylabel)} by {lower(xlabel)}"
    across = alt.ExprRef(f"width + {AXIS}")
    heading = title(literal(what), f"{literal(control + ': ')} + {choice.name}", limit=across)
    base = lines(rows, ["x", "height", "best"], f"datum.choice == {choice.name} && {checked}", heading)
    said = f"{text.name}[indexof({literal(choices)}, {choice.name})][datum.label]"
    encodings = axes | series(names, f"datum.label + ': ' + {said}")
    layers = [
        base.mark_line(strokeWidth=2.5).encode(**encodings),
        base.transform_filter("datum.best").mark_point(filled=True, size=160, opacity=1).encode(**encodings),
        base.mark_point(filled=True, size=40, opacity=1).encode(**encodings),
    ]
    return ChartExplorer(
        alt.layer(*layers).add_params(choice, *boxes, text),
        description
        or f"{what} for {listed(names)}, on a logarithmic axis, at {control} {listed(choices)}. The best of each line "
        f"has a larger point. Controls choose the {lower(control)} and the lines shown.",
    )


def _horizontal(rows: list[dict[str, Any]], label: str) -> alt.X:
    """Return a logarithmic axis with its ticks where measurements are."""
    ticks = sorted({x for row in rows for x in row["x"]})
    labels = literal([plain_number(x) for x in ticks])
    return alt.X(
        "x:Q",
        scale=alt.Scale(type="log", domain=[ticks[0], ticks[-1]], range=[12, alt.ExprRef("width - 12")], nice=False),
        axis=alt.Axis(
            title=label,
            values=ticks,
            labelExpr=f"{labels}[indexof({literal(ticks)}, datum.value)]",
            labelOverlap="greedy",
            labelFlush=False,
        ),
    )


def _vertical(rows: list[dict[str, Any]]) -> alt.Y:
    """Return an axis from 0 to 1 where all values lie there, else one that holds them."""
    low, high = (end(h for row in rows for h in row["height"]) for end in (min, max))
    within = low >= 0 and high <= 1
    scale = alt.Scale(domain=[0, 1] if within else [low, high], nice=not within and 4, zero=False)
    return alt.Y("height:Q", scale=scale, axis=alt.Axis(title=None))
