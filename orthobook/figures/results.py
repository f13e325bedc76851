"""What was measured at a few places or of a few networks, as lines or bars, at a chosen value of one parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._chart import AXIS, WIDTH, ChartExplorer, lines, series, title
from orthobook.figures._controls import check_boxes, literal, pairs_of, selector
from orthobook.figures._live import Explorer
from orthobook.figures.scales import COLOURS, by_place, capital, listed, lower, numbers, plain_number, printed, rounded

__all__ = ["bar_explorer", "measurement_explorer"]

ROW = 34  # pixels for a bar with its name above it


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


def bar_explorer(
    values: Mapping[tuple[str, Any], ArrayLike],
    *,
    control: str,
    xlabel: str = "accuracy",
    limits: tuple[float, float] | None = None,
    outlined: Collection[str] = (),
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
    outlined
        Names whose bars are empty outlines of another colour, such as those of a second kind of quantity.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, a value is not finite or beyond the limits, an outlined name is none of them, or the
        chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, choices = pairs_of(values, "values", "choice")
    if not set(outlined) <= set(names):
        raise ValueError(f"outlined: expected some of {names}, got {list(outlined)}")
    arrays = {(n, c): numbers(pairs[n, c], f"values{n, c}", 0, 1).ravel() for c in choices for n in names}
    low, high = _ends(list(arrays.values()), limits)
    origin = min(max(low, 0.0), high)  # where bars start
    several = any(array.size > 1 for array in arrays.values())
    choice = selector(control, choices, choices[0])
    text = alt.param(value=[_best_and_worst({n: float(arrays[n, c].mean()) for n in names}) for c in choices])
    said = f"{text.name}[indexof({literal(choices)}, {choice.name})]"
    heading = title(
        f"{literal(control + ': ')} + {choice.name}",
        *(["'Bar: mean; ring: a single run'"] if several else []),
        *(f"{said}[{line}]" for line in range(min(len(names), 2))),
        limit=alt.ExprRef("width"),
    )
    rows = [_row(*pair, array, origin) for pair, array in arrays.items()]
    base = alt.Chart(alt.InlineData(rows), width=WIDTH, height=ROW * len(names), title=heading)
    base = base.transform_filter(f"datum.choice == {choice.name}")
    room = 14 + 7 * max(len(row["label"]) for row in rows)  # pixels right of the longest bar, for its mean
    across: Any = [0, alt.ExprRef(f"width - {room}")]
    scale = alt.Scale(domain=[low, high], range=across, nice=limits is None and 6, zero=False)
    horizontal = {"scale": scale, "axis": alt.Axis(title=xlabel)}
    return ChartExplorer(
        alt.layer(*_marks(base, horizontal, names, outlined, origin, several)).add_params(choice, text),
        description
        or f"Bars for {listed(names)}: {xlabel} at {control} {listed(choices)}, with its mean as a number"
        f"{' and a ring for each run' if several else ''}. A control chooses the {lower(control)}.",
    )


def _ends(arrays: list[NDArray[np.float64]], limits: tuple[float, float] | None) -> tuple[float, float]:
    """Return the ends of the axis, having checked that all values lie between them."""
    smallest, largest = (float(end([end(array) for array in arrays])) for end in (np.min, np.max))
    low, high = (min(smallest, 0.0), max(largest, 0.0) or float(smallest == 0)) if limits is None else limits
    if not low <= smallest <= largest <= high or low == high:
        raise ValueError(f"limits: expected lower < upper around all values, {smallest:g} to {largest:g}, got {limits}")
    return low, high


def _row(name: str, choice: Any, values: NDArray[np.float64], origin: float) -> dict[str, Any]:
    """Return what is drawn of a bar: every value, their mean and as text, and the end of the bar and its rings."""
    mean = float(values.mean())
    return {
        "name": name,
        "choice": choice,
        "single": [rounded(value) for value in values.tolist()],
        "label": printed(mean),
        "mean": rounded(mean),
        "end": rounded(max(float(values.max()), origin)),
    }


def _marks(
    base: alt.Chart,
    horizontal: dict[str, Any],
    names: list[str],
    outlined: Collection[str],
    origin: float,
    several: bool,
) -> list[Any]:
    """Return the bars, the names above them, the means beside them, and rings where there are several values."""
    y = alt.Y("name:N", axis=None, scale=alt.Scale(type="band", domain=names, padding=0))
    empty = f"indexof({literal(list(outlined))}, datum.name) >= 0"
    colour = alt.ExprRef(f"{empty} ? {literal(COLOURS[1])} : {literal(COLOURS[0])}")
    opacity = alt.ExprRef(f"{empty} ? 0 : 0.35")
    bar = base.mark_bar(size=12, yOffset=7, fill=colour, fillOpacity=opacity, stroke=colour)
    name = base.mark_text(align="left", yOffset=-8, limit=alt.ExprRef("width"))
    mean = base.mark_text(align="left", yOffset=7, dx=8)
    layers = [
        bar.encode(x=alt.X("mean:Q", stack=None, **horizontal), x2=alt.datum(origin), y=y),
        name.encode(x=alt.value(0), y=y, text="name:N"),
        mean.encode(x=alt.X("end:Q", **horizontal), y=y, text="label:N"),
    ]
    if several:
        single = base.transform_flatten(["single"])
        ring = single.mark_point(yOffset=7, size=40, strokeWidth=1.5, opacity=1, color=COLOURS[1])
        layers.append(ring.encode(x=alt.X("single:Q", **horizontal), y=y))
    return layers


def _best_and_worst(means: Mapping[str, float]) -> list[str]:
    """Return a line that names the largest mean and, if there are several, one that names the smallest."""
    best, worst = (end(means, key=lambda name: means[name]) for end in (max, min))
    lines = [f"best: {best} ({printed(means[best])})", f"worst: {worst} ({printed(means[worst])})"]
    return lines[: len(means)]
