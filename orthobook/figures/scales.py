"""The vocabulary of all pictures: colours, dashes and ink, numbers in print, checks of what is drawn, bins and decades.

No library that draws is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthobook._checks import finite_number

__all__ = [
    "COLOURS",
    "DASHES",
    "GREY",
    "LogAxis",
    "bin_edges",
    "by_place",
    "capital",
    "column",
    "listed",
    "lower",
    "magnitude",
    "named",
    "not_negative",
    "numbers",
    "plain_number",
    "power_of_ten",
    "printed",
    "rounded",
    "ruled_sheet",
    "series_style",
    "thinned",
]

GREY = "#7b7b7b"
"""Ink for text and axes: contrast 4.2 with white and with the book's dark page alike."""

COLOURS = ("#0072b2", "#d55e00", "#22a1ab", "#c71262", "#4c4cfb", "#f7535f")
"""Colours of series, in order, each with a contrast of at least 3 on either page; past the last they start again."""

DASHES = ((), (5, 3))
"""Dash patterns: full lines for the first six series, dashed for the next six."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def series_style(index: int) -> tuple[str, tuple[int, ...]]:
    """Return the colour and the dash pattern of series number ``index``, counted from 0.

    Raises
    ------
    ValueError
        If there are more series than colours times dash patterns.
    """
    limit = len(COLOURS) * len(DASHES)
    if not 0 <= index < limit:
        raise ValueError(f"a figure shows at most {limit} series, got number {index + 1}")
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS)]


def magnitude(value: float) -> str:
    """Return ``value`` to three significant digits in print: 0.0213, 1.00, 12.3, 3.21×10⁻⁷, ∞.

    >>> magnitude(1), magnitude(2.134e-7), magnitude(1e-12)
    ('1.00', '2.13×10⁻⁷', '10⁻¹²')
    """
    if not np.isfinite(value) or value == 0:
        return str(value).replace("inf", "∞").removesuffix(".0")
    if 0.01 <= abs(value) < 999.5:
        return f"{value:#.3g}".rstrip(".")
    mantissa, exponent = f"{value:.2e}".split("e")
    power = power_of_ten(int(exponent))
    return power if mantissa == "1.00" else f"{mantissa}×{power}"


def power_of_ten(exponent: int) -> str:
    """Return 10 to an integer power in print: 10⁻⁷, 0.1, 1, 10, 10²."""
    return {-1: "0.1", 0: "1", 1: "10"}.get(exponent) or "10" + str(exponent).translate(_SUPERSCRIPTS)


def plain_number(value: float) -> str:
    """Return ``value`` in print as briefly as it was chosen: 500, 0.03, 0.001, 3×10⁻⁴, 10⁻⁴, to five digits.

    >>> plain_number(500), plain_number(0.003), plain_number(3e-4)
    ('500', '0.003', '3×10⁻⁴')
    """
    mantissa, exponent = f"{value:.4e}".split("e")
    if -3 <= int(exponent) <= 4:
        return f"{value:.5g}".replace("-", "−")
    digits = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = power_of_ten(int(exponent))
    return digits[:-1] + power if digits in ("1", "−1") else f"{digits}×{power}"


def printed(value: float) -> str:
    """Return a value to three significant digits, with a minus sign as printed."""
    return magnitude(value).replace("-", "−")


def listed(items: Sequence[Hashable]) -> str:
    """Return items as a list in a sentence: a, b and c."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def lower(label: str) -> str:
    """Return a label as it stands within a sentence."""
    return label[:1].lower() + label[1:]


def capital(label: str) -> str:
    """Return a label as it stands at the start of a sentence."""
    return label[:1].upper() + label[1:]


def numbers(values: ArrayLike, name: str, *dimensions: int) -> NDArray[np.float64]:
    """Return ``values`` as float64, having checked that they are finite, some, and of allowed shape.

    A tensor that is part of a graph must be detached first.

    Raises
    ------
    ValueError
        If a value is not finite, there is none, or the number of axes is not in ``dimensions``.
    """
    array = np.asarray(values, dtype=np.float64)
    if dimensions and array.ndim not in dimensions:
        allowed = " or ".join(map(str, dimensions))
        raise ValueError(f"{name}: expected an array with {allowed} axes, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one value, got shape {array.shape}")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)]
        raise ValueError(f"{name}: expected finite values, got {bad[0]} ({bad.size} of {array.size})")
    return array


def not_negative(values: ArrayLike, name: str, *dimensions: int) -> NDArray[np.float64]:
    """Return ``numbers(values, name, *dimensions)``, having checked that none is negative.

    Raises
    ------
    ValueError
        As ``numbers``, and if a value is negative.
    """
    array = numbers(values, name, *dimensions)
    if (array < 0).any():
        raise ValueError(f"{name}: singular values and norms are not negative, got {array.min():.3g}")
    return array


def named(series: Mapping[Any, Any], what: str) -> Mapping[Any, Any]:
    """Return ``series``, having checked that it is a mapping with at least one entry.

    Raises
    ------
    ValueError
        If it is empty or no mapping.
    """
    if not isinstance(series, Mapping) or not series:
        raise ValueError(f"{what}: expected a non-empty mapping, got {type(series).__name__} {series!r:.80}")
    return series


def by_place(
    values: Mapping[Any, Any], name: str, *dimensions: int, positive: bool
) -> dict[float, NDArray[np.float64]]:
    """Return a mapping of x → one value or several as x → array (values,), in the order of x.

    Raises
    ------
    ValueError
        If the mapping is empty, an x is no finite number or, where asked for, not positive, or as ``numbers``.
    """
    places = {finite_number(f"{name}: x", x, positive=positive): given for x, given in named(values, name).items()}
    return {x: numbers(places[x], f"{name} at {plain_number(x)}", *dimensions).ravel() for x in sorted(places)}


def column(records: Iterable[Any], field: str, name: str) -> NDArray[np.float64]:
    """Return one field of a run's records as an array (records,); it may hold NaN where a run has diverged.

    Raises
    ------
    ValueError
        If there is no record, or one lacks the field.
    """
    try:
        values = [r[field] if isinstance(r, Mapping) else getattr(r, field) for r in records]
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{name}: every record needs step, loss and accuracy; {field} is missing") from error
    if not values:
        raise ValueError(f"{name}: expected at least one record")
    return np.asarray(values, dtype=np.float64)


def ruled_sheet(
    name: str, lines: ArrayLike, sides: ArrayLike, *, collapsed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a ruled sheet's points (lines, points, 2) and sides (lines, points), having checked that they match.

    A side is +1 or −1 and, if ``collapsed``, may be 0.

    Raises
    ------
    ValueError
        If shapes do not match, a value is not finite, or a side is none of those.
    """
    points, up = numbers(lines, name, 3), numbers(sides, name, 2)
    if points.shape != (*up.shape, 2):
        raise ValueError(
            f"{name}: expected points (lines, points, 2), sides (lines, points); got {points.shape}, {up.shape}"
        )
    wrong = up[~np.isin(up, (1, -1, 0) if collapsed else (1, -1))]
    if wrong.size:
        raise ValueError(f"{name}: a side is {'+1, −1 or 0' if collapsed else '+1 or −1'}, got {wrong[0]:g}")
    return points, up


def thinned(count: int, most: int = 200) -> NDArray[np.int64]:
    """Return at most ``most`` indices below ``count``, both ends included: a narrow screen has no more pixels."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def rounded(value: float) -> float:
    """Return a value to the digits that a chart can show."""
    return float(f"{value:.4g}")


def bin_edges(low: float, high: float) -> NDArray[np.float64]:
    """Return the edges of bins of width 1, centred on whole numbers, that hold ``low`` to ``high``.

    Singular values are binned by multiples of log₁₀ σ or of σ − 1: an isometry's rounding errors share the bin of 0.
    """
    return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5


@dataclass(frozen=True)
class LogAxis:
    """A logarithmic axis drawn on exponents: values beyond its limits are drawn at them, and its labels say so.

    Attributes
    ----------
    low, high
        The exponents of 10 at its ends, whole numbers below and above 0.
    below, above
        Whether there are values below and above the limits.
    """

    low: int
    high: int
    below: bool
    above: bool

    @staticmethod
    def around(arrays: Iterable[ArrayLike], limits: tuple[float, float]) -> LogAxis:
        """Return the whole decades that hold 0.1, 10 and the arrays' values within the limits.

        Raises
        ------
        ValueError
            If 1 does not lie between the limits, or the lower one is not positive.
        """
        if not 0 < limits[0] < 1 < limits[1]:
            raise ValueError(f"limits: expected 0 < lower < 1 < upper, got {limits}")
        smallest = largest = 1.0
        for array in arrays:
            smallest, largest = np.min(array, initial=smallest), np.max(array, initial=largest)
        return LogAxis(
            min(int(np.floor(np.log10(max(smallest, limits[0])) + 1e-3)), -1),
            max(int(np.ceil(np.log10(min(largest, limits[1])) - 1e-3)), 1),
            bool(smallest < limits[0]),
            bool(largest > limits[1]),
        )

    def exponents(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return log₁₀ of the values, at least ``low`` (so zero too) and at most ``high``."""
        return np.clip(np.log10(np.maximum(values, 10.0**self.low)), self.low, self.high)

    def ticks(self) -> dict[int, str]:
        """Return exponents → labels: few enough for a telephone, 1 among them; ≤ or ≥ where values lie beyond."""
        step = -(-(self.high - self.low) // 5)  # so few that none is left out, as every other one then would be
        inner = {*range(0, self.low, -step), *range(0, self.high, step)}
        kept = {0, self.low, self.high} | {t for t in inner if self.low + step <= t <= self.high - step}
        if self.high < step and not self.above:
            kept.remove(self.high)  # too close to 1
        beyond = {self.low: "≤" * self.below, self.high: "≥" * self.above}
        return {t: beyond.get(t, "") + power_of_ten(t) for t in sorted(kept)}

    def edges(self) -> NDArray[np.float64]:
        """Return the edges of about 60 bins, as exponents; they are centred on the decades, so that 1 is no edge."""
        each = max(2, round(60 / (self.high - self.low)))
        return bin_edges(self.low * each, self.high * each) / each

    def shares(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the share of the values in each bin."""
        counts, _ = np.histogram(self.exponents(values), self.edges())
        return np.asarray(counts / np.size(values))

    def expected(self, distribution: Callable[[NDArray[np.float64]], ArrayLike]) -> NDArray[np.float64]:
        """Return the share of each bin by a distribution function; what lies beyond the axis counts at its ends."""
        return np.diff(np.asarray(distribution(10 ** self.edges()[1:-1]), dtype=np.float64), prepend=0, append=1)
