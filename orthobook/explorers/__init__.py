"""Interactive figures for the reader's finger, which need no kernel and no network.

An explorer displays itself as the last expression of a cell: in the built book as an element that one of the book's
scripts draws, with a still picture where scripts are off; in JupyterLab and in Colab by what those can show.

Most are Vega-Lite charts. They take plain arrays and compute nothing heavy. Values travel as short lists, one row for
each choice of the controls, and are filtered before they are flattened, so that a page stays small. The folded sheet is
computed in the page, by a script of the package's own.
"""

from orthobook.explorers import _base
from orthobook.explorers._bars import bar_explorer
from orthobook.explorers._base import Explorer
from orthobook.explorers._chart import ChartExplorer
from orthobook.explorers._chart import vegalite_version as vegalite_version  # for those who draw a specification
from orthobook.explorers._curves import curve_explorer
from orthobook.explorers._fold import fold_explorer
from orthobook.explorers._folding import FoldingExplorer, folding_explorer
from orthobook.explorers._images import image_explorer
from orthobook.explorers._layers import gain_explorer, gradient_norm_explorer
from orthobook.explorers._measurements import measurement_explorer
from orthobook.explorers._sheets import sheet_explorer
from orthobook.explorers._spectrum import spectrum_explorer
from orthobook.explorers._training import training_explorer

__all__ = [
    "PAYLOAD_LIMIT",
    "ChartExplorer",
    "Explorer",
    "FoldingExplorer",
    "bar_explorer",
    "curve_explorer",
    "fold_explorer",
    "folding_explorer",
    "gain_explorer",
    "gradient_norm_explorer",
    "image_explorer",
    "measurement_explorer",
    "sheet_explorer",
    "spectrum_explorer",
    "training_explorer",
]

PAYLOAD_LIMIT = _base.PAYLOAD_LIMIT
"""Bytes that a chart's specification may have; the still picture for readers without scripts comes on top."""
