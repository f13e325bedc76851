"""Histograms of singular values on a logarithmic axis, which the explorers of spectra stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from orthobook.figures._chart import AXIS, WIDTH
from orthobook.figures._controls import by_choice, literal
from orthobook.figures._log_axis import LogAxis
from orthobook.figures._parts import colours, title
from orthobook.figures.stills import GREY, magnitude

__all__ = ["histogram", "histogram_title", "spreads"]


def histogram(
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
            x=alt.X("left:Q", scale=axis.bin_scale(), axis=axis.axis(title=label)),
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


def spreads(
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


def histogram_title(
    name: str, what: str, choice: alt.Parameter, text: alt.Parameter, called: str | None = None
) -> alt.TitleParams:
    """Return a histogram's title: what the name is called, the choice, and the two lines about the values.

    The name is an expression, and so is what it is called, if that is more than the name.
    """
    said = (f"{text.name}[{name}][{choice.name}][{line}]" for line in (0, 1))
    return title(f"{called or name} + ', {what} ' + {choice.name}", *said)
