"""Ruled sheets of paper as layers of the plane lay them down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._chart import WIDTH, ChartExplorer, title
from orthobook.figures._controls import by_choice, comparison, pairs_of, selector
from orthobook.figures._live import Explorer, compact
from orthobook.figures.scales import COLOURS, GREY, listed, lower, magnitude, ruled_sheet

__all__ = ["sheet_explorer"]

SIDES = {1: "front up", -1: "back up", 0: "collapsed"}


def sheet_explorer(
    sheets: Mapping[tuple[str, int], tuple[ArrayLike, ArrayLike]],
    *,
    control: str,
    start: tuple[str, str] | None = None,
    description: str = "",
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
    start
        The two layers that are shown at first, in place of the first two.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, shapes do not match, a value is not finite, a side is none of 1, −1 and 0, there is
        no layer to start with of that name, or the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, values = pairs_of(sheets, "sheets", "value")
    arrays = {pair: ruled_sheet(f"sheets{pair}", *given, collapsed=True) for pair, given in pairs.items()}
    reach = max(float(abs(points).max()) for points, _ in arrays.values()) or 1.0
    stored: dict[str, int] = {}  # a sheet's rows as text → its number
    number, length = {}, {}
    for pair, (points, sides) in arrays.items():
        number[pair] = stored.setdefault(compact({"rows": _rows(points, sides, reach)}), len(stored))
        length[pair] = magnitude(float(np.linalg.norm(np.diff(points, axis=1), axis=-1).sum()))
    rows = [row | {"sheet": n} for text, n in stored.items() for row in json.loads(text)["rows"]]
    which, long = by_choice(number, names, values), by_choice(length, names, values)
    value = selector(control, values, values[0])
    choices = comparison("Layer", names, start)
    panels = []
    for choice, called in choices:
        chosen = f"[{choice.name}][{value.name}]"
        heading = title(called, f"'length of all lines: ' + {long.name}{chosen}")
        panels.append(_panel(rows, f"datum.sheet == {which.name}{chosen}", heading))
    return ChartExplorer(
        alt.hconcat(*panels).add_params(*(choice for choice, _ in choices), value, which, long),
        description
        or f"A ruled square sheet of paper as it is laid down by {listed(names)}, front and back in two colours. "
        f"Controls choose two layers to compare and the {lower(control)}.",
    )


def _rows(points: NDArray[np.float64], sides: NDArray[np.float64], reach: float) -> list[dict[str, Any]]:
    """Return one row for each side: the corners of its lines, in thousandths of the reach, a null between two lines."""
    rows = []
    for side, label in SIDES.items():
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


def _panel(rows: list[dict[str, Any]], where: str, heading: alt.TitleParams) -> alt.Chart:
    """Return a window on the sheet picked, both axes to one scale and the origin in the middle, whatever its width."""
    ends: dict[str, Any] = {}
    for axis, size in (("x", "childWidth"), ("y", "height")):  # Vega-Lite's names for the panels' common size
        half = f"1030 * {size} / min(childWidth, height)"
        scale = alt.Scale(domainMin=alt.ExprRef(f"-{half}"), domainMax=alt.ExprRef(half), nice=False, zero=False)
        ends[axis] = {"scale": scale, "axis": None}
    labels = list(SIDES.values())
    legend = alt.Legend(columns=3, direction="horizontal")
    colours = alt.Scale(domain=labels, range=[*COLOURS[:2], GREY])
    return (
        alt.Chart(alt.InlineData(rows), width=(WIDTH - 18) // 2, height=270, title=heading)
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
