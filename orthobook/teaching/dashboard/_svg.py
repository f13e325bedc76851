"""Small charts as SVG text, which a widget can show many times a second: two milliseconds each.

A full matplotlib figure of the same four panels takes some eighty, and the kernel's time is for the training. Colours
and the ink are those of :mod:`orthobook.figures`, readable on white and on black.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from orthobook.figures import _png
from orthobook.figures.scales import GREY, LogAxis, plain_number, thinned

__all__ = ["Axis", "chart", "grid", "histograms", "lines", "picture", "png"]

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 28, 38  # margins of a panel: ticks' labels, title, label of the horizontal axis
POINTS = 300  # a line has no more: it is not wider in pixels
LIMITS = (1e-8, 1e8)  # of logarithmic axes: what lies beyond is drawn there
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif"


@dataclass(frozen=True)
class Axis:
    """From where to where an axis runs: in numbers, or if logarithmic in powers of ten."""

    low: float
    high: float
    whole: bool = False  # of steps or layers, so that ticks are at whole numbers
    log: LogAxis | None = None

    @classmethod
    def decades(cls, arrays: Iterable[ArrayLike]) -> Axis:
        """Return the logarithmic axis of whole decades that holds 0.1, 10 and all values within ``LIMITS``."""
        return cls.along(LogAxis.around(arrays, LIMITS))

    @classmethod
    def along(cls, log: LogAxis) -> Axis:
        """Return a logarithmic axis from end to end."""
        return cls(log.low, log.high, log=log)

    def share(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return how far along the axis values lie, from 0 to 1."""
        array = self.log.exponents(values) if self.log else np.asarray(values, dtype=np.float64)
        return ((array - self.low) / (self.high - self.low)).clip(0, 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return where ticks are, from 0 to 1, and their labels."""
        if self.log:
            return [((t - self.low) / (self.high - self.low), label) for t, label in self.log.ticks().items()]
        locator = MaxNLocator(4, steps=[1, 2, 5, 10], integer=self.whole)
        found = [t for t in map(float, locator.tick_values(self.low, self.high)) if self.low <= t <= self.high]
        return [(float(self.share(t)), plain_number(t)) for t in found]


def chart(title: str, body: str, x: Axis, y: Axis | None, xlabel: str, *, width: int = WIDTH) -> str:
    """Return a panel: its title, both axes with grid lines and labels, and what is drawn between them."""
    right, bottom = width - RIGHT, HEIGHT - BOTTOM
    parts = []
    for share, label in y.ticks() if y else []:
        height = bottom - share * (bottom - TOP)
        parts.append(f'<path d="M{LEFT} {height:.1f}H{right}" stroke-opacity="0.2"/>')
        parts.append(_text(LEFT - 7, height + 4, label, "end"))
    for share, label in x.ticks():
        place = LEFT + share * (right - LEFT)
        parts.append(f'<path d="M{place:.1f} {bottom}v4"/>' + _text(place, bottom + 17, label, "middle"))
    parts.append(f'<path d="M{LEFT} {bottom}H{right}"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 5, xlabel, "middle"))
    parts.append(_text(4, 15, title, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'style="width:100%;height:auto;max-width:{width * 1.1:.0f}px" role="img" aria-label="{html.escape(title)}" '
        f'font-family="{FONT}" font-size="12" fill="none" stroke="{GREY}">{"".join(parts)}{body}</svg>'
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    words = html.escape(words)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{GREY}" stroke="none">{words}</text>'


def lines(
    title: str, curves: Mapping[str, tuple[ArrayLike, ArrayLike]], x: Axis, y: Axis, *, xlabel: str = "step"
) -> str:
    """Return a panel of curves, colour → (x, y)."""
    body = "".join(_curve(colour, *points, x, y) for colour, points in curves.items())
    return chart(title, body, x, y, xlabel)


def _curve(colour: str, at: ArrayLike, values: ArrayLike, x: Axis, y: Axis) -> str:
    at, values = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(at) == 0:
        return ""
    kept = thinned(len(at), POINTS)
    across = LEFT + x.share(at[kept]) * (WIDTH - RIGHT - LEFT)
    up = HEIGHT - BOTTOM - y.share(values[kept]) * (HEIGHT - BOTTOM - TOP)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))
    # the ring says where a curve has come to, also after the first step
    ring = f'<circle cx="{across[-1]:.1f}" cy="{up[-1]:.1f}" r="2.5" fill="{colour}" stroke="none"/>'
    return f'<polyline points="{points}" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>{ring}'


def histograms(
    title: str, spectra: Sequence[tuple[str, ArrayLike]], *, reach: ArrayLike = (), width: int = WIDTH
) -> str:
    """Return a panel with one histogram for each (colour, values), above each other on one logarithmic axis.

    The axis holds the values and those of ``reach``; the number at the left of a row is the height of its tallest bar.
    """
    log = LogAxis.around([reach, *(values for _, values in spectra)], LIMITS)
    x, edges = Axis.along(log), log.edges()
    rows = max(1, len(spectra))
    room, parts = (HEIGHT - BOTTOM - TOP) / rows, []
    for row, (colour, values) in enumerate(spectra):
        shares = log.shares(values)
        tallest = shares.max()
        floor, high = TOP + (row + 1) * room, room - 16  # the label of the row above it
        for left, right, share in zip(edges[:-1][shares > 0], edges[1:][shares > 0], shares[shares > 0], strict=True):
            ends = LEFT + x.share(10.0 ** np.array([left, right])) * (width - RIGHT - LEFT)
            height = max(1.0, share / tallest * high)
            box = f'x="{ends[0]:.1f}" y="{floor - height:.1f}" width="{np.ptp(ends):.1f}" height="{height:.1f}"'
            parts.append(f'<rect {box} fill="{colour}" stroke="none"/>')
        parts.append(_text(LEFT - 7, floor - high + 4, f"{tallest:.2g}", "end"))
        parts.append(f'<path d="M{LEFT} {floor:.1f}H{width - RIGHT}" stroke-opacity="0.4"/>')
    return chart(title, "".join(parts), x, None, "singular value σ", width=width)


def grid(panels: Sequence[str]) -> str:
    """Return the panels as HTML, in the ink of the text around them: two columns where there is room, else one."""
    inked = "".join(panels).replace(GREY, "currentColor")
    columns = "repeat(auto-fit,minmax(min(100%,max(320px,40%)),1fr))" if len(panels) > 1 else "1fr"
    return f'<div style="display:grid;grid-template-columns:{columns};gap:4px 16px">{inked}</div>'


def picture(panels: Sequence[str]) -> str:
    """Return panels of one width as one SVG, two in a row, for where there is no HTML."""
    columns = min(2, len(panels)) or 1
    each = int(panels[0].partition(' width="')[2].partition('"')[0]) if panels else WIDTH
    width, height = columns * each, -(-len(panels) // columns) * HEIGHT
    placed = [
        panel.replace("<svg ", f'<svg x="{i % columns * each}" y="{i // columns * HEIGHT}" ', 1)
        for i, panel in enumerate(panels)
    ]
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(placed)}</svg>'


def png(panels: Sequence[str]) -> bytes:
    """Return the panels as a PNG."""
    return _png.png(picture(panels).replace(FONT, _png.FONT), scale=2)
