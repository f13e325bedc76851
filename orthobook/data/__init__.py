"""Data sets: images as standardised rows, with their labels; where the files come from is in ``sources``."""

from orthobook.data.datasets import Dataset, Split, data_sets, load

__all__ = ["Dataset", "Split", "data_sets", "load"]
