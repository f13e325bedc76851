"""A logarithmic axis for values that may be 0 or beyond any limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook.figures._controls import literal
from orthobook.figures.stills import power_of_ten

__all__ = ["LogAxis"]


@dataclass(frozen=True)
class LogAxis:
    """A logarithmic axis drawn on exponents: values beyond its limits are drawn at them, and its labels say so."""

    low: int
    high: int
    below: bool
    above: bool

    @staticmethod
    def around(arrays: Iterable[NDArray[np.float64]], limits: tuple[float, float]) -> LogAxis:
        """Return the whole decades that hold the arrays' values and 1, within the limits."""
        if not 0 < limits[0] < 1 < limits[1]:
            raise ValueError(f"limits: expected 0 < lower < 1 < upper, got {limits}")
        smallest, largest = np.inf, 0.0
        for array in arrays:
            smallest, largest = min(smallest, array.min()), max(largest, array.max())
        low, high = max(smallest, limits[0]), min(max(largest, limits[0]), limits[1])
        return LogAxis(
            min(int(np.floor(np.log10(low) + 1e-3)), -1),
            max(int(np.ceil(np.log10(high) - 1e-3)), 1),
            smallest < limits[0],
            largest > limits[1],
        )

    def exponents(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log₁₀ of the values, at least ``low`` (so zero too) and at most ``high``."""
        return np.clip(np.log10(np.maximum(array, 10.0**self.low)), self.low, self.high)

    def axis(self, **kwargs: Any) -> alt.Axis:
        """Return the axis: powers of ten, few enough for a phone, 1 among them, ≤ or ≥ where values lie beyond."""
        step = -(-(self.high - self.low) // 5)  # so few that none is left out, as every other one then would be
        inner = {*range(0, self.low, -step), *range(0, self.high, step)}
        kept = {0, self.low, self.high} | {t for t in inner if self.low + step <= t <= self.high - step}
        if self.high < step and not self.above:
            kept.remove(self.high)  # too close to 1
        ticks = sorted(kept)
        labels = {t: power_of_ten(t) for t in ticks}
        if self.below:
            labels[self.low] = "≤" + labels[self.low]
        if self.above:
            labels[self.high] = "≥" + labels[self.high]
        return alt.Axis(values=ticks, labelExpr=f"({literal(labels)})[datum.value]", **kwargs)

    def scale(self) -> alt.Scale:
        """Return the scale, from end to end."""
        return alt.Scale(domain=[self.low, self.high], nice=False, zero=False)

    def bin_scale(self) -> alt.Scale:
        """Return the scale with room for the outermost bins."""
        edges = self.edges()
        return alt.Scale(domain=[float(edges[0]), float(edges[-1])], nice=False, zero=False)

    def shares(self, values: NDArray[np.float64]) -> list[float]:
        """Return the share of the values in each bin, rounded to what a histogram can show."""
        counts, _ = np.histogram(self.exponents(values), self.edges())
        return [round(share, 4) for share in (counts / values.size).tolist()]

    def expected(self, distribution: Callable[[NDArray[np.float64]], ArrayLike]) -> list[float]:
        """Return the share of each bin by a distribution function; what lies beyond the axis counts at its ends."""
        below = np.asarray(distribution(10 ** self.edges()[1:-1]), dtype=np.float64)
        return [round(share, 4) for share in np.diff(below, prepend=0, append=1).tolist()]

    def edges(self) -> NDArray[np.float64]:
        """Return the edges of about 60 bins; they are centred on the decades, so that 1 is no edge."""
        each = max(2, round(60 / (self.high - self.low)))
        return (np.arange(self.low * each, self.high * each + 2) - 0.5) / each
