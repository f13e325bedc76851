"""Drawings as small PNG pictures, for readers of a page or a print that cannot show the drawing itself."""

from __future__ import annotations

import functools
import io
import itertools
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

__all__ = ["FONT", "converter", "png"]

FONT = "DejaVu Sans"  # matplotlib brings it along: the same on every machine, and no sign of mathematics is missing


@functools.cache
def converter() -> ModuleType:
    """Return vl-convert, knowing the font; only the book's build needs it, and has it."""
    import vl_convert

    vl_convert.register_font_directory(str(Path(mpl.get_data_path(), "fonts", "ttf")))
    return vl_convert


def png(svg: str, *, scale: float = 1) -> bytes:
    """Return an SVG drawing as a PNG picture, transparent where nothing is drawn, in at most 256 colours.

    A chart seldom has more. With one byte for each pixel, where there were four, its picture is a tenth as large.
    """
    pixels = _pixels(svg, scale)
    found, which, counts = np.unique(pixels.view(np.uint32), return_inverse=True, return_counts=True)
    colours = found.view(np.uint8).reshape(-1, 4)
    kept = _palette(colours[np.argsort(-counts, kind="stable")])
    _, nearest = KDTree(_seen(kept)).query(_seen(colours))
    drawn = Image.fromarray(nearest.astype(np.uint8)[which.reshape(pixels.shape[:2])])
    drawn.putpalette(kept.tobytes(), "RGBA")
    with io.BytesIO() as file:
        drawn.save(file, "PNG", optimize=True)
        return file.getvalue()


def _palette(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return at most 256 of the colours, which are ordered by how much they are used, so that none is far from one.

    Where there are more, it is the most used one of each cell of a grid, as fine a grid as possible.
    """
    for step in itertools.count(1):
        _, first = np.unique(_seen(colours) // step, axis=0, return_index=True)
        if len(first) <= 256:
            break
    return colours[np.sort(first)]


def _pixels(svg: str, scale: float) -> NDArray[np.uint8]:
    """Return a drawing as (rows, columns, 4): red, green, blue, opacity.

    What vl-convert draws on nothing has wrong colours wherever it is translucent, but on a ground it is right: from
    what is seen on black and on white follow both opacity and colour.
    """
    start = svg.index(">", svg.index("<svg")) + 1
    grounds = (
        f'{svg[:start]}<rect width="100%" height="100%" fill="{fill}"/>{svg[start:]}' for fill in ("#000", "#fff")
    )
    files = (io.BytesIO(converter().svg_to_png(ground, scale=scale)) for ground in grounds)
    on_black, on_white = (np.asarray(Image.open(file).convert("RGB"), dtype=np.int64) for file in files)
    opacity = 255 - (on_white - on_black).max(axis=2, keepdims=True)
    colour = np.rint(255 * on_black / np.maximum(opacity, 1)).clip(0, 255)
    return np.concatenate([colour, opacity], axis=2).clip(0, 255).astype(np.uint8)


def _seen(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return colours as they count for the eye, the less the more transparent: red, green, blue, opacity."""
    return np.concatenate([colours[:, :3] * (colours[:, 3:] / 255), colours[:, 3:]], axis=1)
