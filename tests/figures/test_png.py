"""Drawings as small pictures: the colours that were asked for, few of them, and nothing where nothing is drawn."""

import io

import numpy as np
from PIL import Image

from orthobook.figures._png import FONT, png


def drawn(body: str, size: int = 20, **options) -> tuple[Image.Image, np.ndarray]:
    picture = png(f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}">{body}</svg>', **options)
    image = Image.open(io.BytesIO(picture))
    return image, np.asarray(image.convert("RGBA"))


def test_translucent_colours_are_right_and_what_is_empty_is_transparent():
    blue = '<rect width="10" height="20" fill="#0072b2" fill-opacity="0.35"/>'
    _, pixels = drawn(blue + '<rect y="15" width="20" height="5" fill="red"/>')
    assert np.abs(pixels[5, 5] - np.array([0x00, 0x72, 0xB2, 89.0])).max() <= 2
    assert pixels[17, 15].tolist() == [255, 0, 0, 255]
    assert pixels[5, 15, 3] == 0


def squares(colours: np.ndarray) -> str:
    return "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" fill="rgb({",".join(map(str, colours[y, x]))})"/>'
        for y, x in np.ndindex(colours.shape[:2])
    )


def test_a_few_colours_are_exact_and_many_become_near_ones():
    greys = np.arange(256).reshape(16, 16, 1).repeat(3, axis=2)
    image, pixels = drawn(squares(greys), 16)
    assert image.mode == "P"
    assert np.array_equal(pixels[..., :3], greys)
    across = 3 * np.arange(80)
    plane = np.stack([*np.meshgrid(across, across), np.full((80, 80), 200)], axis=-1)
    _, pixels = drawn(squares(plane), 80)
    assert 128 <= len(np.unique(pixels.reshape(-1, 4), axis=0)) <= 256
    assert np.abs(pixels[..., :3] - plane.astype(float)).max() <= 16


def test_text_has_the_signs_of_mathematics_in_its_own_font():
    """A sign that a font lacks is drawn in another one, and the whole line with it."""
    words = '<text y="15" font-size="12" font-family="{}">{}</text>'
    _, alone = drawn(words.format(FONT, "ab"), 60)
    _, beside = drawn(words.format(FONT, "ab ⁻⁷‖∂ℓ"), 60)
    assert np.array_equal(alone[:, :12], beside[:, :12])


def test_scale():
    assert drawn("", 20, scale=2)[0].size == (40, 40)
