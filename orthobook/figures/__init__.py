"""Figures: stills, and explorers that move under the reader's finger with no kernel and no network.

Figures take arrays and compute nothing heavy. A still is a matplotlib ``Figure``. An explorer displays itself as the
last expression of a cell: in the built book as an element that one of the book's scripts draws, with a still picture
where scripts are off; in JupyterLab and in Colab by what those can show.

Most explorers are Vega-Lite charts. Values travel as short lists, one row for each choice of the controls, and are
filtered before they are flattened, so that a page stays small. The folded sheet is computed in the page, by a script of
the package's own.
"""

from typing import TYPE_CHECKING, Any

from orthobook._checks import optional

if TYPE_CHECKING:  # for editors and type checkers, which do not run `__getattr__`
    from orthobook.figures._chart import ChartExplorer as ChartExplorer
    from orthobook.figures._live import Explorer as Explorer
    from orthobook.figures.curves import curve_explorer as curve_explorer
    from orthobook.figures.curves import fold_explorer as fold_explorer
    from orthobook.figures.curves import gain_explorer as gain_explorer
    from orthobook.figures.curves import gradient_norm_explorer as gradient_norm_explorer
    from orthobook.figures.folding import FoldingExplorer as FoldingExplorer
    from orthobook.figures.folding import folding_explorer as folding_explorer
    from orthobook.figures.images import image_explorer as image_explorer
    from orthobook.figures.results import bar_explorer as bar_explorer
    from orthobook.figures.results import measurement_explorer as measurement_explorer
    from orthobook.figures.scales import COLOURS as COLOURS
    from orthobook.figures.scales import DASHES as DASHES
    from orthobook.figures.scales import GREY as GREY
    from orthobook.figures.scales import magnitude as magnitude
    from orthobook.figures.sheets import sheet_explorer as sheet_explorer
    from orthobook.figures.spectra import spectrum_explorer as spectrum_explorer
    from orthobook.figures.spectra import training_explorer as training_explorer
    from orthobook.figures.stills import accuracy_bars as accuracy_bars
    from orthobook.figures.stills import crease_pattern as crease_pattern
    from orthobook.figures.stills import folded_sheets as folded_sheets
    from orthobook.figures.stills import gradient_norms as gradient_norms
    from orthobook.figures.stills import image_grid as image_grid
    from orthobook.figures.stills import lines as lines
    from orthobook.figures.stills import measurements as measurements
    from orthobook.figures.stills import singular_value_histogram as singular_value_histogram
    from orthobook.figures.stills import spectrum_by_depth as spectrum_by_depth
    from orthobook.figures.stills import training_curves as training_curves

PAYLOAD_LIMIT = 250_000
"""Bytes that a chart's specification may have; the still picture for readers without scripts comes on top."""

_HOMES = {
    "_chart": ["ChartExplorer"],
    "_live": ["Explorer"],
    "curves": ["curve_explorer", "fold_explorer", "gain_explorer", "gradient_norm_explorer"],
    "folding": ["FoldingExplorer", "folding_explorer"],
    "images": ["image_explorer"],
    "results": ["bar_explorer", "measurement_explorer"],
    "scales": ["COLOURS", "DASHES", "GREY", "magnitude"],
    "sheets": ["sheet_explorer"],
    "spectra": ["spectrum_explorer", "training_explorer"],
    "stills": [
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
    ],
}

__all__ = sorted({"PAYLOAD_LIMIT"}.union(*_HOMES.values()))


def __getattr__(name: str) -> Any:
    """Load a name, and altair or matplotlib if it is drawn by them, when it is first asked for."""
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = getattr(optional(f"orthobook.figures.{home}"), name)
            return globals()[name]
    raise AttributeError(f"module 'orthobook.figures' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
