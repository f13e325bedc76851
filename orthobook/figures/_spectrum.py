"""Singular values of two architectures at a chosen depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._base import Explorer
from orthobook.figures._chart import ChartExplorer
from orthobook.figures._controls import comparison, pairs_of, selector
from orthobook.figures._histogram import histogram, histogram_title, spreads
from orthobook.figures._log_axis import LogAxis
from orthobook.figures._words import listed
from orthobook.figures.stills import not_negative

__all__ = ["spectrum_explorer"]


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
        {"name": n, "depth": d, "share": axis.shares(values)} for (n, d), values in arrays.items()
    ]
    if laws is not None:
        for row in rows:
            row["law"] = axis.expected(laws[row["name"], row["depth"]])
    text = spreads(arrays, names, depths, limits)
    depth = selector("Depth", depths, depths[-1])
    choices = comparison("Architecture", names)
    panels = []
    for choice, called in choices:
        where = f"datum.name == {choice.name} && datum.depth == {depth.name}"
        heading = histogram_title(choice.name, "depth", depth, text, called)
        panels.append(histogram(rows, axis, names, where, heading, height=110))
    return ChartExplorer(
        alt.vconcat(*panels).add_params(*(choice for choice, _ in choices), depth, text),
        description
        or f"Histograms of the singular values of the Jacobian for {listed(names)}, at depths {listed(depths)}, "
        "on a logarithmic axis. Controls choose two architectures to compare and the depth.",
    )
