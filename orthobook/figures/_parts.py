"""Parts that several charts are made of: titles that follow the controls, series with their legend, lines."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from orthobook.figures._chart import AXIS, WIDTH
from orthobook.figures.stills import DASHES, series_style

__all__ = ["colours", "lines", "rounded", "series", "thinned", "title"]

SERIES_POINTS = 200  # a line holds no more points than a narrow screen has pixels to show


def title(*lines: str, **options: Any) -> alt.TitleParams:
    """Return a title whose lines are expressions of the controls' values."""
    return alt.TitleParams(alt.ExprRef("[" + ", ".join(lines) + "]"), **options)


def colours(names: list[str]) -> alt.Scale:
    """Return the colours of series, in order."""
    return alt.Scale(domain=names, range=[series_style(i)[0] for i in range(len(names))])


def series(names: list[str], label: str, dashed: Collection[str] = ()) -> dict[str, Any]:
    """Return the encodings that tell series apart, with a legend whose labels are the expression ``label``."""
    if not set(dashed) <= set(names):
        raise ValueError(f"dashed: expected some of {names}, got {list(dashed)}")
    legend = alt.Legend(labelExpr=label)
    dashes = [list(DASHES[1] if name in dashed else series_style(i)[1]) for i, name in enumerate(names)]
    encodings: dict[str, Any] = {"color": alt.Color("name:N", scale=colours(names), sort=names, legend=legend)}
    if any(dashes):
        patterns = alt.Scale(domain=names, range=[d or [1, 0] for d in dashes])
        encodings["strokeDash"] = alt.StrokeDash("name:N", scale=patterns, sort=names, legend=legend)
    return encodings


def lines(rows: list[dict[str, Any]], fields: list[Any], where: str, heading: alt.TitleParams) -> alt.Chart:
    """Return a chart of the rows that the condition picks, their lists flattened; a mark is still to be chosen."""
    return (
        alt.Chart(alt.InlineData(rows), width=WIDTH - AXIS, height=240, title=heading)
        .transform_filter(where)
        .transform_flatten(fields)
    )


def thinned(count: int) -> NDArray[np.int64]:
    """Return at most ``SERIES_POINTS`` indices below ``count``, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, SERIES_POINTS)).round().astype(int))


def rounded(value: float) -> float:
    """Return a value to the digits that a chart can show."""
    return float(f"{value:.4g}")
