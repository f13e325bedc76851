"""Still figures: arrays in, a matplotlib ``Figure`` out; only medians, means and ranges are computed.

Every figure is drawn in one style: transparent background, mid-grey ink with the same contrast on white as on
a dark page, and ``COLOURS``, whose members have contrast of at least 3 with both and stay apart for readers
who confuse red and green. Figures are made without pyplot's global state, so a notebook shows one exactly
once: when it is the last expression of a cell.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from orthobook.figures.scales import (
    COLOURS,
    GREY,
    bin_edges,
    by_place,
    column,
    magnitude,
    named,
    not_negative,
    numbers,
    plain_number,
    ruled_sheet,
    series_style,
)

__all__ = [
    "NotebookFigure",
    "accuracy_bars",
    "crease_pattern",
    "folded_sheets",
    "gradient_norms",
    "image_grid",
    "lines",
    "measurements",
    "singular_value_histogram",
    "spectrum_by_depth",
    "training_curves",
]

_WIDTH = 4.8  # inches: shown 1:1 on a desktop and shrunk by a quarter, still readable, on a telephone

_DPI = 192  # dots per inch of the PNG: two for each pixel of a screen

_STYLE: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "font.size": 11,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "orthobook",  # the same figure gives the same file
}


_styled = mpl.rc_context(_STYLE)  # as a decorator: every artist of a figure is made in the style


class NotebookFigure(Figure):
    """A matplotlib figure that displays itself in a notebook with no help from pyplot's inline backend."""

    @_styled
    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the figure as SVG for pages, as PNG for print, and the labels of its axes in words."""
        vector, raster = io.StringIO(), io.BytesIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.savefig(vector, format="svg", metadata=no_metadata)
        self.savefig(raster, format="png", dpi=_DPI)
        labels = [part for ax in self.axes for part in (ax.get_xlabel(), ax.get_ylabel()) if part]
        words = "Figure: " + ", ".join(labels) if labels else "Figure"
        bundle = {"image/svg+xml": vector.getvalue(), "image/png": raster.getvalue(), "text/plain": words}
        return bundle, {"image/png": {"width": round(self.get_figwidth() * 96)}}


def _canvas(rows: int = 1, columns: int = 1, *, height: float, **kwargs: Any) -> tuple[NotebookFigure, NDArray[Any]]:
    """Return an empty figure in the book's style and its (rows, columns) axes; ``height`` in inches."""
    figure = NotebookFigure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def _line_style(index: int) -> dict[str, Any]:
    colour, dash = series_style(index)
    return {"color": colour, "linestyle": (0, dash) if dash else "-"}


def _log_axis(ax: Axes, label: str, arrays: Iterable[NDArray[np.float64]], floor: float) -> None:
    """Make the vertical axis logarithmic, and let its label say whether values lie below ``floor``."""
    below = any((array < floor).any() for array in arrays)
    ax.set(yscale="log", ylabel=label + (f", at least {magnitude(floor)}" if below else ""))


@_styled
def singular_value_histogram(
    spectra: Mapping[str, ArrayLike], *, log: bool = True, bins: int = 60, floor: float = 1e-12
) -> Figure:
    """Draw one histogram of singular values for each name, one above the other on a common axis.

    Parameters
    ----------
    spectra
        Name → singular values, any shape.
    log
        Whether the axis of singular values is logarithmic.
    bins
        Number of bins over the common range.
    floor
        On a logarithmic axis smaller values, zeros included, are counted at ``floor``, and the axis says so.

    Raises
    ------
    ValueError
        If there are no values, or a value is negative or not finite.
    """
    arrays = {name: not_negative(s, name).ravel() for name, s in named(spectra, "spectra").items()}
    clipped = log and min(a.min() for a in arrays.values()) < floor
    if log:
        arrays = {name: np.maximum(a, floor) for name, a in arrays.items()}
    edges = _edges(np.concatenate(list(arrays.values())), bins, log)
    figure, axes = _canvas(len(arrays), height=0.9 + 1.1 * len(arrays), sharex=True)
    for index, (ax, (name, array)) in enumerate(zip(axes[:, 0], arrays.items(), strict=True)):
        counts, _ = np.histogram(array, edges)
        ax.stairs(counts / array.size, edges, fill=True, color=series_style(index)[0])
        tallest = counts.max() / array.size
        ax.set(title=name, yticks=(0, tallest), yticklabels=("0", f"{tallest:.2g}"))
        if log:
            ax.set_xscale("log")
    axes[-1, 0].set_xlabel("singular value σ" + (f" (smaller ones counted at {magnitude(floor)})" if clipped else ""))
    figure.supylabel("share of singular values", fontsize=11)
    return figure


def _edges(values: NDArray[np.float64], bins: int, log: bool) -> NDArray[np.float64]:
    """Return the edges of ``bins`` bins or a few more over the values and 1 ± 0.1 at least; one is centred on 1."""
    places, middle = (np.log10(values), 0) if log else (values, 1)
    low, high = min(places.min(), middle - 0.1), max(places.max(), middle + 0.1)
    width = (high - low) / bins
    edges = middle + width * bin_edges((low - middle) / width, (high - middle) / width)
    return np.asarray(10**edges) if log else edges


def _band(ax: Axes, x: NDArray[Any], values: NDArray[np.float64], label: str, index: int) -> None:
    """Draw the median of ``values`` (len(x), samples) as a line, and their range as a band."""
    style = _line_style(index)
    ax.plot(x, np.median(values, axis=1), label=label, **style)
    if values.shape[1] > 1:
        ax.fill_between(x, values.min(axis=1), values.max(axis=1), color=style["color"], alpha=0.2, linewidth=0)


def _legend(figure: Figure, ax: Axes, count: int) -> None:
    """Put the names above the axes, where they cover nothing, if there is more than one."""
    if count > 1:
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=min(count, 2))


def _columns(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return ``values`` (points,) or (points, samples) as (points, samples)."""
    array = numbers(values, name, 1, 2)
    return array[:, None] if array.ndim == 1 else array


@_styled
def spectrum_by_depth(
    values: Mapping[str, ArrayLike | Mapping[int, ArrayLike]], *, xlabel: str = "depth", floor: float = 1e-12
) -> Figure:
    """Draw how singular values spread with depth: the median as a line, smallest to largest as a band.

    Parameters
    ----------
    values
        Name → array (depth, n), whose row l − 1 holds the singular values after layer l; or name → mapping of
        depth → singular values, for measurements at a few depths.
    xlabel
        Label of the horizontal axis.
    floor
        Smaller values, zeros included, are drawn at ``floor``, and the logarithmic axis says so.

    Raises
    ------
    ValueError
        If a value is negative or not finite.
    """
    figure, axes = _canvas(height=3.4)
    ax = axes[0, 0]
    spreads = []
    for index, (name, given) in enumerate(named(values, "values").items()):
        if isinstance(given, Mapping):
            x = np.array(sorted(named(given, name)))
            spread = np.stack([_summary(not_negative(given[depth], name)) for depth in x.tolist()])
        else:
            spread = not_negative(given, name, 2)
            x = np.arange(1, len(spread) + 1)
        _band(ax, x, np.maximum(spread, floor), name, index)
        spreads.append(spread)
    ax.set_xlabel(xlabel)
    _log_axis(ax, "singular value σ", spreads, floor)
    _legend(figure, ax, len(values))
    return figure


def _summary(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([values.min(), np.median(values), values.max()])


@_styled
def gradient_norms(norms: Mapping[str, ArrayLike], *, floor: float = 1e-12) -> Figure:
    """Draw gradient norms by layer, input first, on a logarithmic axis.

    Parameters
    ----------
    norms
        Name → array (L + 1,), or (L + 1, batch): then the median is a line and the range a band.
    floor
        Smaller norms, zeros included, are drawn at ``floor``, and the axis says so.

    Raises
    ------
    ValueError
        If a norm is negative or not finite.
    """
    figure, axes = _canvas(height=3.4)
    ax = axes[0, 0]
    arrays = {name: _columns(not_negative(given, name), name) for name, given in named(norms, "norms").items()}
    for index, (name, array) in enumerate(arrays.items()):
        _band(ax, np.arange(len(array)), np.maximum(array, floor), name, index)
    ax.set_xlabel("layer l")
    _log_axis(ax, "gradient norm ‖∂ℓ/∂xₗ‖", arrays.values(), floor)
    _legend(figure, ax, len(arrays))
    return figure


@_styled
def training_curves(histories: Mapping[str, Sequence[Any]]) -> Figure:
    """Draw loss and accuracy against the training step.

    Parameters
    ----------
    histories
        Name → the records of one run, or a list of such runs (several seeds, same steps): then the median is
        a line and the range a band. A record has ``step``, ``loss`` and ``accuracy``, as attributes or keys;
        where a diverged run has NaN, the line has a gap.

    Raises
    ------
    ValueError
        If a history is empty or lacks a field, or if seeds differ in their steps.
    """
    figure, axes = _canvas(2, height=4.6, sharex=True)
    for index, (name, history) in enumerate(named(histories, "histories").items()):
        runs = [list(run) for run in history] if _several(history) else [list(history)]
        steps = np.stack(_equal_lengths([column(run, "step", name) for run in runs], name))
        if (steps != steps[0]).any():
            raise ValueError(f"{name}: the runs must be recorded at the same steps")
        for ax, field in zip(axes[:, 0], ("loss", "accuracy"), strict=True):
            _band(ax, steps[0], np.stack([column(run, field, name) for run in runs], axis=1), name, index)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set(xlabel="step", ylabel="accuracy")
    _legend(figure, axes[0, 0], len(histories))
    return figure


def _several(history: Sequence[Any]) -> bool:
    """Whether ``history`` is a sequence of runs, rather than one run's records."""
    return len(history) > 0 and isinstance(history[0], (list, tuple)) and not hasattr(history[0], "step")


def _equal_lengths(arrays: list[NDArray[np.float64]], name: str) -> list[NDArray[np.float64]]:
    lengths = sorted({len(a) for a in arrays})
    if len(lengths) > 1:
        raise ValueError(f"{name}: the runs must be recorded at the same steps, got {lengths} records")
    return arrays


@_styled
def lines(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    xlabel: str = "t",
    ylabel: str = "",
    equal: bool = False,
) -> Figure:
    """Draw functions of one variable, such as activations and their folds.

    Parameters
    ----------
    x
        Shape (points,).
    curves
        Name → values (points,), or (points, samples): then the median is a line and the range a band.
    xlabel, ylabel
        Axis labels.
    equal
        Whether both axes have one scale, so that slopes ±1 are seen as right angles.

    Raises
    ------
    ValueError
        If lengths differ or a value is not finite.
    """
    points = numbers(x, "x", 1)
    figure, axes = _canvas(height=3.4)
    ax = axes[0, 0]
    for index, (name, given) in enumerate(named(curves, "curves").items()):
        array = _columns(given, name)
        if len(array) != len(points):
            raise ValueError(f"{name}: expected {len(points)} values, one for each x, got {len(array)}")
        _band(ax, points, array, name, index)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if equal:
        ax.set_aspect("equal")
    if (points == points.round()).all():
        ax.xaxis.get_major_locator().set_params(integer=True)  # no tick at layer 2.5
    _legend(figure, ax, len(curves))
    return figure


@_styled
def folded_sheets(sheets: Mapping[str, tuple[ArrayLike, ArrayLike]], *, columns: int = 2) -> Figure:
    """Draw ruled sheets of paper that were folded in the plane, one panel for each, all to one scale.

    Parameters
    ----------
    sheets
        Name → the ruled lines as points (lines, points, 2), and which side is up at each, +1 for the front and −1 for
        the back, (lines, points). A line changes colour where its side changes.
    columns
        Panels in a row.

    Raises
    ------
    ValueError
        If shapes do not match, a value is not finite, or a side is neither +1 nor −1.
    """
    checked = {name: ruled_sheet(name, *given, collapsed=False) for name, given in named(sheets, "sheets").items()}
    columns = min(columns, len(checked))
    rows = -(-len(checked) // columns)
    figure, axes = _canvas(rows, columns, height=rows * (_WIDTH / columns + 0.2) + 0.3, sharex=True, sharey=True)
    for ax in axes.flat:
        ax.set_axis_off()
        ax.set_aspect("equal")
    for ax, (name, (points, sides)) in zip(axes.flat, checked.items(), strict=False):
        ax.set_title(name, fontsize=10, loc="center")
        for index, (side, label) in enumerate(((1, "front up"), (-1, "back up"))):
            shown = np.where((sides == side)[..., None], points, np.nan)
            apart = np.pad(shown, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan).reshape(-1, 2)
            ax.plot(*apart.T, color=COLOURS[index], label=label, linewidth=1.2)
    _legend(figure, axes[0, 0], 2)
    return figure


@_styled
def crease_pattern(
    points: ArrayLike,
    images: ArrayLike,
    cells: Sequence[Sequence[int]],
    signs: ArrayLike,
    creases: ArrayLike,
    layers: ArrayLike,
) -> NotebookFigure:
    """Draw a sheet of paper with its creases and, to the same scale, the folded sheet, as if both were translucent.

    The arguments are those of a :class:`orthobook.theory.origami.FoldedSheet`. The later the layer, the
    bolder its creases.

    Parameters
    ----------
    points, images
        The vertices on the flat sheet and where they come to lie, both (V, 2).
    cells
        C polygons as indices of vertices.
    signs
        Which side of each cell is up, (C,): 1 for the front, −1 for the back, 0 where the cell has collapsed.
    creases
        Edges as indices of their two vertices, (E, 2).
    layers
        The layer that made each crease, from 1, (E,).

    Raises
    ------
    ValueError
        If shapes do not match, a place is not finite, or a sign is none of 1, −1 and 0.
    """
    places = {"flat": numbers(points, "points", 2), "folded": numbers(images, "images", 2)}
    up, edges = numbers(signs, "signs", 1), np.asarray(creases, dtype=np.int64).reshape(-1, 2)
    order = np.asarray(layers, dtype=np.float64)
    if not (places["flat"].shape == places["folded"].shape == (len(places["flat"]), 2)):
        raise ValueError(f"points, images: expected (V, 2), got {places['flat'].shape}, {places['folded'].shape}")
    if len(up) != len(cells) or len(order) != len(edges):
        raise ValueError(
            f"expected a sign for each of {len(cells)} cells and a layer for each of {len(edges)} creases, "
            f"got {len(up)} and {len(order)}"
        )
    if not np.isin(up, (1, -1, 0)).all():
        raise ValueError(f"signs: expected 1, −1 or 0, got {up[~np.isin(up, (1, -1, 0))][0]:g}")
    figure, axes = _canvas(1, 2, height=_WIDTH / 2 + 0.5)
    fills = [{1: COLOURS[0], -1: COLOURS[1], 0: GREY}[sign] for sign in up.tolist()]
    half = 0.52 * max(np.ptp(where, axis=0).max() for where in places.values())
    for ax, opacity, weight, (title, where) in zip(axes[0], (0.3, 0.2), (0.7, 0.35), places.items(), strict=True):
        polygons = [where[list(cell)] for cell in cells]
        ax.add_collection(PolyCollection(polygons, facecolors=fills, alpha=opacity))
        ax.add_collection(PolyCollection(polygons, facecolors="none", edgecolors=GREY, linewidths=weight / 2))
        widths = weight * (0.5 + 2 * order / order.max(initial=1))
        ax.add_collection(LineCollection(list(where[edges]), colors=GREY, linewidths=widths, capstyle="round"))
        middle = (where.min(axis=0) + where.max(axis=0)) / 2
        ax.set(xlim=middle[0] + half * np.array((-1, 1)), ylim=middle[1] + half * np.array((-1, 1)), aspect="equal")
        ax.set_axis_off()
        ax.set_title(title, fontsize=10, loc="center")
    key = [
        Patch(facecolor=(colour, 0.3), edgecolor=colour, label=label)
        for colour, label in zip(COLOURS, ("front up", "back up"), strict=False)
    ]
    figure.legend(handles=key, loc="outside upper left", ncols=2)
    return figure


@_styled
def image_grid(pixels: ArrayLike, titles: Sequence[str] = (), *, columns: int = 5) -> Figure:
    """Draw grey-scale images in rows, each from its own darkest to its own lightest value.

    Parameters
    ----------
    pixels
        Images (N, height, width), or flat square ones (N, side²).
    titles
        One title for each image, or none.
    columns
        Images in a row.

    Raises
    ------
    ValueError
        If flat images are not square, or the number of titles is not the number of images.
    """
    array = numbers(pixels, "pixels", 2, 3)
    if array.ndim == 2:
        side = round(array.shape[1] ** 0.5)
        if side**2 != array.shape[1]:
            raise ValueError(f"pixels: flat images must be square, got {array.shape[1]} pixels")
        array = array.reshape(-1, side, side)
    if len(titles) not in (0, len(array)):
        raise ValueError(f"titles: expected none or {len(array)}, one for each image, got {len(titles)}")
    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    figure, axes = _canvas(rows, columns, height=rows * (_WIDTH / columns + 0.3 * bool(titles)))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image in zip(axes.flat, array, strict=False):
        ax.imshow(image, cmap="gray", interpolation="nearest")
    for ax, title in zip(axes.flat, titles, strict=False):
        ax.set_title(title, fontsize=10, loc="center")
    return figure


@_styled
def accuracy_bars(results: Mapping[str, ArrayLike]) -> Figure:
    """Draw accuracies as horizontal bars with their values beside them.

    Parameters
    ----------
    results
        Name → accuracy in [0, 1], or several of them (one for each seed): then the bar ends at their median
        and every one is drawn as a ring.

    Raises
    ------
    ValueError
        If an accuracy is not between 0 and 1.
    """
    arrays = {name: numbers(a, name, 0, 1).ravel() for name, a in named(results, "results").items()}
    figure, axes = _canvas(height=0.7 + 0.42 * len(arrays))
    ax = axes[0, 0]
    for row, (name, array) in enumerate(arrays.items()):
        if array.min() < 0 or array.max() > 1:
            raise ValueError(f"{name}: an accuracy lies between 0 and 1, got {array.min():.3g} to {array.max():.3g}")
        middle = float(np.median(array))
        ax.barh(row, middle, color=COLOURS[0], height=0.6)
        if array.size > 1:
            ax.plot(array, np.full(array.size, row), "o", markerfacecolor="none", markeredgecolor=GREY)
        ax.text(max(middle, array.max()) + 0.03, row, f"{middle:.3f}", va="center")
    ax.set(xlim=(0, 1.15), xticks=np.linspace(0, 1, 6), xlabel="accuracy", yticks=range(len(arrays)))
    ax.set_yticklabels(list(arrays))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return figure


@_styled
def measurements(
    series: Mapping[str, Mapping[float, ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = True,
    log_y: bool = False,
) -> Figure:
    """Draw what was measured at a few places, such as depths or learning rates: lines through the means.

    Parameters
    ----------
    series
        Name → mapping of x → a value, or several of them (one for each seed): the line goes through their mean, and
        every one is drawn as a ring.
    xlabel, ylabel
        Axis labels.
    log_x, log_y
        Whether an axis is logarithmic. The horizontal one has its ticks where measurements are.

    Raises
    ------
    ValueError
        If there is nothing to draw, an x or a value is not finite, or one is not positive on a logarithmic axis.
    """
    arrays = {n: by_place(given, n, 0, 1, positive=log_x) for n, given in named(series, "series").items()}
    if log_y:
        for name, at, array in ((n, x, a) for n, places in arrays.items() for x, a in places.items()):
            if array.min() <= 0:
                raise ValueError(
                    f"{name} at {plain_number(at)}: a logarithmic axis needs positive values, got {array.min():g}"
                )
    rows = -(-len(arrays) // 2) if len(arrays) > 1 else 0  # of the names above the axes
    figure, axes = _canvas(height=3.0 + 0.22 * rows)
    ax = axes[0, 0]
    for index, (name, places) in enumerate(arrays.items()):
        style = _line_style(index)
        ax.plot(list(places), [array.mean() for array in places.values()], label=name, **style)
        x = np.repeat(list(places), [array.size for array in places.values()])
        ring = {"markersize": 5, "markerfacecolor": "none", "markeredgecolor": style["color"], "markeredgewidth": 1}
        ax.plot(x, np.concatenate(list(places.values())), "o", **ring)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log_y else "linear", xscale="log" if log_x else "linear")
    ticks = sorted({x for places in arrays.values() for x in places})
    ax.set_xticks(ticks, _labels_apart(ticks, log=log_x))
    ax.xaxis.set_minor_locator(NullLocator())
    _legend(figure, ax, len(arrays))
    return figure


def _labels_apart(ticks: list[float], *, log: bool) -> list[str]:
    """Return the ticks' labels, empty ones where one would touch the label before it."""
    at = np.log(ticks) if log else np.array(ticks)
    shares = 0.9 * (at - at[0]) / (at[-1] - at[0] or 1)  # of the width of the axes
    labels: list[str] = []
    free = -1.0
    for share, tick in zip(shares.tolist(), ticks, strict=True):
        label = plain_number(tick)
        half = 0.011 * (len(label) + 1)
        labels.append(label if share - half >= free else "")
        free = share + half if labels[-1] else free
    return labels
