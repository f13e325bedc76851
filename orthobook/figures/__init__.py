"""Figures: stills, and explorers that move under the reader's finger with no kernel and no network.

Figures take arrays and compute nothing heavy. A still is a matplotlib ``Figure``. An explorer displays itself as the
last expression of a cell: in the built book as an element that one of the book's scripts draws, with a still picture
where scripts are off; in JupyterLab and in Colab by what those can show.

Most explorers are Vega-Lite charts. Values travel as short lists, one row for each choice of the controls, and are
filtered before they are flattened, so that a page stays small. The folded sheet is computed in the page, by a script of
the package's own.
"""

from orthobook.figures import _base
from orthobook.figures._bars import bar_explorer
from orthobook.figures._base import Explorer
from orthobook.figures._chart import ChartExplorer
from orthobook.figures._chart import vegalite_version as vegalite_version  # for those who draw a specification
from orthobook.figures._curves import curve_explorer
from orthobook.figures._fold import fold_explorer
from orthobook.figures._folding import FoldingExplorer, folding_explorer
from orthobook.figures._images import image_explorer
from orthobook.figures._layers import gain_explorer, gradient_norm_explorer
from orthobook.figures._measurements import measurement_explorer
from orthobook.figures._sheets import sheet_explorer
from orthobook.figures._spectrum import spectrum_explorer
from orthobook.figures._training import training_explorer
from orthobook.figures.stills import (
    COLOURS,
    DASHES,
    GREY,
    accuracy_bars,
    crease_pattern,
    folded_sheets,
    gradient_norms,
    image_grid,
    lines,
    magnitude,
    measurements,
    singular_value_histogram,
    spectrum_by_depth,
    training_curves,
)

__all__ = [
    "COLOURS",
    "DASHES",
    "GREY",
    "PAYLOAD_LIMIT",
    "ChartExplorer",
    "Explorer",
    "FoldingExplorer",
    "accuracy_bars",
    "bar_explorer",
    "crease_pattern",
    "curve_explorer",
    "fold_explorer",
    "folded_sheets",
    "folding_explorer",
    "gain_explorer",
    "gradient_norm_explorer",
    "gradient_norms",
    "image_explorer",
    "image_grid",
    "lines",
    "magnitude",
    "measurement_explorer",
    "measurements",
    "sheet_explorer",
    "singular_value_histogram",
    "spectrum_by_depth",
    "spectrum_explorer",
    "training_curves",
    "training_explorer",
]

PAYLOAD_LIMIT = _base.PAYLOAD_LIMIT
"""Bytes that a chart's specification may have; the still picture for readers without scripts comes on top."""
