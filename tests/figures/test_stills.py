"""Still figures: what is drawn is what was given, in ink that can be seen, and a notebook shows it once."""

from __future__ import annotations

import io
from itertools import pairwise
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from nbclient import NotebookClient

from orthobook import figures


def ink(figure) -> np.ndarray:
    """The pixels (height, width, 4) of the figure's PNG, 0 to 255."""
    bundle, _ = figure._repr_mimebundle_()
    return (imread(io.BytesIO(bundle["image/png"])) * 255).round().astype(int)


def has_colour(figure, colour: str) -> bool:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    pixels = ink(figure)
    return int((np.abs(pixels[..., :3] - rgb).max(-1) <= 2)[pixels[..., 3] > 200].sum()) > 20


def records(values, steps=None):
    steps = range(0, 10 * len(values), 10) if steps is None else steps
    return [{"step": s, "loss": 2.0 - v, "accuracy": v} for s, v in zip(steps, values, strict=True)]


SHEET = {  # a square, its right half folded over
    "points": [[0, 0], [1, 0], [2, 0], [2, 2], [1, 2], [0, 2]],
    "images": [[0, 0], [1, 0], [0, 0], [0, 2], [1, 2], [0, 2]],
    "cells": [(0, 1, 4, 5), (1, 2, 3, 4)],
    "signs": [1, -1],
    "creases": [[1, 4]],
    "layers": [1],
}

FIGURES = {
    "singular_value_histogram": lambda: figures.singular_value_histogram({"a": [1, 1, 1], "b": [0.1, 1, 3]}),
    "spectrum_by_depth": lambda: figures.spectrum_by_depth({"a": np.ones((9, 4)), "b": np.full((9, 4), 0.1)}),
    "gradient_norms": lambda: figures.gradient_norms({"a": np.ones(9), "b": np.full((9, 2), 0.1)}),
    "training_curves": lambda: figures.training_curves({"a": records([0.1, 0.5]), "b": records([0.1, 0.9])}),
    "lines": lambda: figures.lines([-1, 0, 1], {"a": [1, 0, 1], "b": [0, 1, 2]}),
    "accuracy_bars": lambda: figures.accuracy_bars({"a": 0.8, "b": [0.4, 0.5]}),
    "folded_sheets": lambda: figures.folded_sheets(
        {"a": (np.eye(2)[None], [[1, 1]]), "b": (np.eye(2)[None], [[-1, -1]])}
    ),
    "crease_pattern": lambda: figures.crease_pattern(**SHEET),
    "measurements": lambda: figures.measurements(
        {"a": {10: 0.5, 500: [0.7, 0.8]}, "b": {10: [0.2], 500: 0.1}}, xlabel="depth", ylabel="accuracy"
    ),
}


LABELS = {"xlabel": "x", "ylabel": "y"}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_drawn_on_a_transparent_ground(name):
    figure = FIGURES[name]()
    pixels = ink(figure)
    assert pixels[0, 0, 3] == 0
    assert has_colour(figure, figures.COLOURS[0])
    assert has_colour(figure, figures.GREY)
    assert has_colour(figure, figures.COLOURS[1]) == (name != "accuracy_bars")


def test_figures_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums(), plt.rcParams["text.color"]
    FIGURES["lines"]()._repr_mimebundle_()
    assert (plt.get_fignums(), plt.rcParams["text.color"]) == before


def test_the_same_figure_is_the_same_file():
    (first, _), (second, _) = (FIGURES["gradient_norms"]()._repr_mimebundle_() for _ in range(2))
    assert first["image/svg+xml"] == second["image/svg+xml"]
    assert first["image/png"] == second["image/png"]


@pytest.mark.parametrize("pyplot", ["", "import matplotlib.pyplot"])
def test_a_notebook_shows_a_figure_once(pyplot):
    code = f"{pyplot}\nfrom orthobook import figures\nfigures.lines([0, 1], {{'a': [0, 1]}})"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert "<svg" in output.data["image/svg+xml"]
    assert output.metadata["image/png"]["width"] <= 480


def test_histogram_counts_every_value_and_centres_a_bin_on_one():
    rng = np.random.default_rng(0)
    figure = figures.singular_value_histogram({"isometry": 1 + 1e-7 * rng.normal(size=50), "spread": [1e-3, 5, 0]})
    for axes, bars in zip(figure.axes, (1, 3), strict=True):
        (stairs,) = axes.patches
        heights, edges, _ = stairs.get_data()
        assert heights.sum() == pytest.approx(1)
        assert (heights > 0).sum() == bars
        around = np.searchsorted(edges, 1.0)
        assert edges[around - 1] * edges[around] == pytest.approx(1)
    assert "10⁻¹²" in figure.axes[-1].get_xlabel()


def test_linear_histogram_centres_a_bin_on_one_too():
    axes = figures.singular_value_histogram({"a": [0.0, 1.0, 2.0]}, log=False).axes[0]
    heights, edges, _ = axes.patches[0].get_data()
    around = np.searchsorted(edges, 1.0)
    assert edges[around - 1] + edges[around] == pytest.approx(2)
    assert heights.sum() == pytest.approx(1)


def test_spectrum_by_depth_draws_median_and_range():
    values = np.array([[1.0, 2.0, 9.0], [0.0, 3.0, 4.0]])
    by_row = figures.spectrum_by_depth({"a": values}).axes[0]
    by_depth = figures.spectrum_by_depth({"a": {1: values[0], 2: values[1]}}).axes[0]
    for axes in (by_row, by_depth):
        assert axes.lines[0].get_xydata().tolist() == [[1, 2], [2, 3]]
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (band.min(), band.max()) == (1e-12, 9)
        assert "at least 10⁻¹²" in axes.get_ylabel()


def test_gradient_norms_draw_one_point_for_each_layer():
    axes = figures.gradient_norms({"one": [1, 2, 4], "many": np.ones((3, 5))}).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 1], [1, 2], [2, 4]]
    assert len(axes.collections) == 1  # a band for the batch alone
    assert "least" not in axes.get_ylabel()


def test_training_curves_of_seeds_have_a_band():
    runs = [records([0.1, 0.5]), records([0.2, 0.7]), records([0.3, 0.6])]
    loss, accuracy = figures.training_curves({"a": runs, "b": records([0.1, 0.9])}).axes
    assert accuracy.lines[0].get_xydata() == pytest.approx(np.array([[0, 0.2], [10, 0.6]]))
    assert loss.lines[0].get_ydata() == pytest.approx([1.8, 1.4])
    assert len(accuracy.collections) == 1


def test_training_curves_take_objects_and_leave_a_gap_where_a_run_diverged():
    run = [SimpleNamespace(step=s, loss=x, accuracy=0.1) for s, x in enumerate([1.0, np.nan, np.inf])]
    loss, _ = figures.training_curves({"a": run}).axes
    assert np.isfinite(loss.lines[0].get_ydata()).tolist() == [True, False, False]


def test_image_grid_shows_each_image_unchanged():
    pixels = np.random.default_rng(0).random((7, 16))
    figure = figures.image_grid(pixels, [str(i) for i in range(7)])
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [str(i) for i in range(7)]
    for axes, image in zip(shown, pixels, strict=True):
        assert (axes.images[0].get_array() == image.reshape(4, 4)).all()


def test_folded_sheets_draw_each_side_in_its_colour_and_no_line_between_lines():
    points = np.arange(16.0).reshape(2, 4, 2)
    axes = figures.folded_sheets({"a": (points, [[1, 1, -1, -1], [1, -1, 1, 1]])}).axes[0]
    front, back = (line.get_xydata() for line in axes.lines)
    assert [line.get_color() for line in axes.lines] == list(figures.COLOURS[:2])
    assert front[:, 0].tolist() == pytest.approx([0, 2, *[np.nan] * 3, 8, np.nan, 12, 14, np.nan], nan_ok=True)
    assert back[:, 1].tolist() == pytest.approx([*[np.nan] * 2, 5, 7, *[np.nan] * 2, 11, *[np.nan] * 3], nan_ok=True)
    assert axes.get_aspect() == 1


def test_crease_pattern_draws_cells_and_creases_flat_and_folded_to_one_scale():
    flat, folded = figures.crease_pattern(**SHEET | {"creases": [[1, 4], [0, 5]], "layers": [1, 2]}).axes
    for axes, places in ((flat, SHEET["points"]), (folded, SHEET["images"])):
        fills, edges, creases = axes.collections
        for drawn, cell in zip(fills.get_paths(), SHEET["cells"], strict=True):
            assert drawn.vertices[:-1].tolist() == [places[vertex] for vertex in cell]
        assert [to_hex(c) for c in fills.get_facecolor()] == list(figures.COLOURS[:2])
        assert len(edges.get_paths()) == 2
        assert [line.tolist() for line in creases.get_segments()] == [[places[1], places[4]], [places[0], places[5]]]
        thin, bold = creases.get_linewidths()
        assert thin < bold
        assert axes.get_aspect() == 1
    assert np.ptp(flat.get_xlim()) == np.ptp(flat.get_ylim()) == np.ptp(folded.get_xlim()) > 2
    assert (flat.get_title(), folded.get_title()) == ("flat", "folded")


def test_crease_pattern_of_a_sheet_without_creases_or_with_collapsed_cells():
    bare = SHEET | {"creases": np.zeros((0, 2), dtype=int), "layers": [], "signs": [1, 0]}
    fills, _, creases = figures.crease_pattern(**bare).axes[0].collections
    assert to_hex(fills.get_facecolor()[1]) == figures.GREY
    assert creases.get_segments() == []


def test_accuracy_bars_end_at_the_median_and_show_every_seed():
    axes = figures.accuracy_bars({"a": 0.5, "b": [0.7, 0.9, 0.6]}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.7]
    assert axes.lines[0].get_xdata().tolist() == [0.7, 0.9, 0.6]
    assert [text.get_text() for text in axes.texts] == ["0.500", "0.700"]


def test_measurements_go_through_the_means_and_show_every_seed():
    given = {"a": {500: [0.25, 0.75], 10: [0.1, 0.2, 0.6]}, "b": {20: 0.5}}
    figure = figures.measurements(given, xlabel="depth", ylabel="accuracy")
    (axes,) = figure.axes
    line, rings, _, ring = axes.lines
    assert line.get_xydata() == pytest.approx(np.array([[10, 0.3], [500, 0.5]]))
    assert rings.get_xydata().tolist() == [[10, 0.1], [10, 0.2], [10, 0.6], [500, 0.25], [500, 0.75]]
    assert ring.get_xydata().tolist() == [[20, 0.5]]
    assert (rings.get_marker(), rings.get_linestyle(), rings.get_markerfacecolor()) == ("o", "None", "none")
    assert [line.get_color(), rings.get_markeredgecolor()] == [figures.COLOURS[0]] * 2
    assert ring.get_markeredgecolor() == figures.COLOURS[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("depth", "accuracy")


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("log_x", [False, True])
def test_measurements_have_the_axes_asked_for(log_x, log_y):
    given = {"a": {1: 0.1, 10: 0.2, 100: 0.4}}
    figure = figures.measurements(given, xlabel="x", ylabel="y", log_x=log_x, log_y=log_y)
    figure.draw_without_rendering()
    places = figure.axes[0].transData.transform(figure.axes[0].lines[0].get_xydata())
    assert np.diff(places[:, 0])[1] / np.diff(places[:, 0])[0] == pytest.approx(1 if log_x else 10)
    assert np.diff(places[:, 1])[1] / np.diff(places[:, 1])[0] == pytest.approx(1 if log_y else 2)


@pytest.mark.parametrize(
    ("places", "labels"),
    [
        ((10, 20, 50, 100, 200, 500), ["10", "20", "50", "100", "200", "500"]),
        ((1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2), ["10⁻⁴", "3×10⁻⁴", "0.001", "0.003", "0.01", "0.03"]),
        ((0.5,), ["0.5"]),
    ],
)
def test_measurements_have_ticks_where_they_are(places, labels):
    axes = figures.measurements({"a": dict.fromkeys(places, 1)}, xlabel="x", ylabel="y").axes[0]
    assert axes.get_xticks() == pytest.approx(places)
    assert [label.get_text() for label in axes.get_xticklabels()] == labels
    assert axes.get_xticks(minor=True).size == 0


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("places", [np.geomspace(1e-5, 9e-2, 40), range(1, 41), (1, 1.01, 1e3, 1e6)])
def test_labels_of_measurements_never_touch(places, log_x):
    figure = figures.measurements({"a": dict.fromkeys(places, 1)}, xlabel="x", ylabel="y", log_x=log_x)
    figure.draw_without_rendering()
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    extents = [label.get_window_extent() for label in labels]
    assert len(figure.axes[0].get_xticks()) == len(places)
    assert 2 <= len(labels) < len(places)
    assert all(left.x1 < right.x0 for left, right in pairwise(extents))


def test_names_of_many_series_leave_the_measurements_their_height():
    heights = []
    for count in (2, 12):
        given = {f"modified residual, τ = {i}": {1: i, 2: i + 1} for i in range(count)}
        figure = figures.measurements(given, xlabel="x", ylabel="y")
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_window_extent().height)
        assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
    assert heights[1] == pytest.approx(heights[0], rel=0.05)


def test_whole_numbers_have_ticks_at_whole_numbers():
    for x, whole in ((range(1, 21), True), (np.linspace(0, 20, 7), False)):
        figure = figures.lines(x, {"a": np.zeros(len(x))})
        figure.draw_without_rendering()
        assert all(tick == round(tick) for tick in figure.axes[0].get_xticks()) == whole


def test_past_the_colours_lines_are_dashed():
    count = len(figures.COLOURS) + 1
    axes = figures.lines([0, 1], {str(i): [i, i] for i in range(count)}).axes[0]
    assert axes.lines[0].get_color() == axes.lines[-1].get_color()
    assert axes.lines[0].get_linestyle() != axes.lines[-1].get_linestyle()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.singular_value_histogram({}), "non-empty mapping"),
        (lambda: figures.singular_value_histogram([1, 2]), "non-empty mapping, got list"),
        (lambda: figures.singular_value_histogram({"a": [-1]}), "a: .*not negative, got -1"),
        (lambda: figures.singular_value_histogram({"a": []}), "a: expected at least one value"),
        (lambda: figures.singular_value_histogram({"a": [np.nan, 1]}), r"a: .*finite values, got nan \(1 of 2\)"),
        (lambda: figures.spectrum_by_depth({"a": np.ones(3)}), r"a: .*2 axes, got shape \(3,\)"),
        (lambda: figures.gradient_norms({"a": np.ones((2, 2, 2))}), "1 or 2 axes"),
        (lambda: figures.training_curves({"a": [{"step": 1, "loss": 2}]}), "accuracy is missing"),
        (lambda: figures.training_curves({"a": []}), "at least one record"),
        (lambda: figures.training_curves({"a": [records([1, 2]), records([1])]}), r"same steps, got \[1, 2\]"),
        (lambda: figures.training_curves({"a": [records([1]), records([1], [5])]}), "same steps"),
        (lambda: figures.lines([0, 1], {"a": [1, 2, 3]}), "expected 2 values, one for each x, got 3"),
        (lambda: figures.image_grid(np.ones((2, 10))), "square, got 10 pixels"),
        (lambda: figures.image_grid(np.ones((2, 9)), ["a"]), "expected none or 2, one for each image, got 1"),
        (lambda: figures.folded_sheets({"a": (np.ones((1, 3, 2)), [[1, 1]])}), r"a: .*got \(1, 3, 2\), \(1, 2\)"),
        (lambda: figures.folded_sheets({"a": (np.ones((1, 2, 2)), [[1, 0]])}), r"a: a side is \+1 or −1, got 0"),
        (lambda: figures.crease_pattern(**SHEET | {"images": [[0, 0]]}), r"expected \(V, 2\), got \(6, 2\), \(1, 2\)"),
        (lambda: figures.crease_pattern(**SHEET | {"signs": [1]}), "each of 2 cells .* of 1 creases, got 1 and 1"),
        (lambda: figures.crease_pattern(**SHEET | {"layers": [1, 2]}), "got 2 and 2"),
        (lambda: figures.crease_pattern(**SHEET | {"signs": [1, 3]}), "signs: expected 1, −1 or 0, got 3"),
        (lambda: figures.accuracy_bars({"a": 85}), "between 0 and 1, got 85"),
        (lambda: figures.lines([0], {str(i): [0] for i in range(13)}), "at most 12 series, got number 13"),
        (lambda: figures.measurements({}, **LABELS), "series: expected a non-empty mapping"),
        (lambda: figures.measurements({"a": [1, 2]}, **LABELS), "a: expected a non-empty mapping, got list"),
        (lambda: figures.measurements({"a": {0: 1}}, **LABELS), "a: x must be a positive finite number, got 0"),
        (lambda: figures.measurements({"a": {"10": 1}}, **LABELS), "a: x must be a positive finite number, got '10'"),
        (
            lambda: figures.measurements({"a": {np.inf: 1}}, log_x=False, **LABELS),
            "a: x must be a finite number, got inf",
        ),
        (lambda: figures.measurements({"a": {3e-4: []}}, **LABELS), "a at 3×10⁻⁴: expected at least one value"),
        (lambda: figures.measurements({"a": {1: [1, np.nan]}}, **LABELS), "a at 1: expected finite values, got nan"),
        (lambda: figures.measurements({"a": {1: [[1]]}}, **LABELS), r"a at 1: .*0 or 1 axes, got shape \(1, 1\)"),
        (
            lambda: figures.measurements({"a": {1: 1}, "b": {2: [1, 0]}}, log_y=True, **LABELS),
            "b at 2: a logarithmic axis needs positive values, got 0",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
