"""Images side by side, at a chosen value of one parameter."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from orthobook.figures._chart import WIDTH, ChartExplorer, title
from orthobook.figures._controls import by_choice, pairs_of, selector
from orthobook.figures._live import Explorer
from orthobook.figures.scales import listed, lower, numbers

__all__ = ["image_explorer"]

IMAGE = 140  # pixels that an image is wide


def image_explorer(
    images: Mapping[tuple[str, Any], tuple[Mapping[str, ArrayLike], str]], *, control: str, description: str = ""
) -> Explorer:
    """Return images side by side with a line of text above them, at a chosen value of one parameter.

    Parameters
    ----------
    images
        (name, choice) → images by their captions, the same captions everywhere, and a line that says what is to be
        seen. An image is an array (rows, columns) of numbers from 0, black, to 1, white. Choices as for
        :func:`bar_explorer`. Equal images are stored once.
    control
        What the parameter is called.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a pair is missing, captions differ, an image is no array of two dimensions or has a number beyond 0 and 1, or
        the chart would exceed ``PAYLOAD_LIMIT``.
    """
    pairs, names, choices = pairs_of(images, "images", "choice")
    captions = list(next(iter(pairs.values()))[0])
    stored: dict[str, int] = {}  # an image's address → its number
    number = {}
    for pair, (given, _) in pairs.items():
        if list(given) != captions:
            raise ValueError(f"images{pair}: expected the captions {captions}, got {list(given)}")
        addresses = [_address(values, f"images{pair}[{caption!r}]") for caption, values in given.items()]
        number[pair] = [stored.setdefault(address, len(stored)) for address in addresses]
    rows = [{"image": n, "url": address} for address, n in stored.items()]
    which = by_choice(number, names, choices)
    line = by_choice({pair: text for pair, (_, text) in pairs.items()}, names, choices)
    name, choice = selector("Image", names, names[0]), selector(control, choices, choices[0])
    chosen = f"[{name.name}][{choice.name}]"
    heading = title(f"{line.name}{chosen}", limit=alt.ExprRef("width"))
    base = alt.Chart(alt.InlineData(rows), width=WIDTH, height=IMAGE + 20, title=heading)
    layers = []
    for place, caption in enumerate(captions):
        x = alt.value(alt.ExprRef(f"width * {(place + 0.5) / len(captions):g}"))
        shown = base.transform_filter(f"datum.image == {which.name}{chosen}[{place}]")
        image = shown.mark_image(width=IMAGE, height=IMAGE, baseline="top")
        layers.append(image.encode(x=x, y=alt.value(20), url="url:N"))
        layers.append(shown.mark_text(baseline="top").encode(x=x, y=alt.value(0), text=alt.value(caption)))
    return ChartExplorer(
        alt.layer(*layers).add_params(name, choice, which, line),
        description or f"Images side by side: {listed(captions)}. Controls choose the image and the {lower(control)}.",
    )


def _address(values: ArrayLike, name: str) -> str:
    """Return an image as an address that holds it, each of its pixels enlarged to a square of screen pixels."""
    pixels = numbers(values, name, 2)
    if pixels.min() < 0 or pixels.max() > 1:
        raise ValueError(f"{name}: expected numbers from 0 to 1, got {pixels.min():g} to {pixels.max():g}")
    enlarged = np.kron(np.rint(255 * pixels), np.ones([max(1, IMAGE // max(pixels.shape))] * 2)).astype(np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(enlarged).save(file, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
