"""The vocabulary of pictures: colours that can be told apart, numbers in print, bins and decades; what is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthobook import figures
from orthobook.figures.scales import LogAxis, bin_edges, listed, plain_number, printed, series_style, thinned

LIGHT, DARK = "#ffffff", "#121212"  # the theme's two backgrounds

# Machado, Oliveira, Fernandes 2009: what full protanopia and deuteranopia leave of linear RGB.
VISION = {
    "full": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear(colour: str) -> np.ndarray:
    """Linear RGB of a colour such as #0072b2."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of the Web Content Accessibility Guidelines."""
    luminance = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) + 0.05 for c in (one, other))
    return luminance[1] / luminance[0]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB, white D65."""
    xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
    )
    x, y, z = np.cbrt(xyz @ rgb.clip(1e-6, 1) / [0.95047, 1.0, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("background", [LIGHT, DARK])
@pytest.mark.parametrize("colour", figures.COLOURS)
def test_colours_stand_out_in_both_modes(colour, background):
    assert contrast(colour, background) >= 3


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_for_colour_blind_readers(vision):
    seen = [lab(VISION[vision] @ linear(colour)) for colour in figures.COLOURS]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 20


def test_grey_reads_alike_in_both_modes():
    assert contrast(figures.GREY, LIGHT) == pytest.approx(contrast(figures.GREY, DARK), rel=0.1)
    assert min(contrast(figures.GREY, background) for background in (LIGHT, DARK)) > 4


SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@given(st.floats(1e-30, 1e30))
def test_magnitude_is_right_to_three_digits(value):
    printed = figures.magnitude(value)
    mantissa, power = re.fullmatch(r"(?:([\d.]+)(?:×|$))?(?:10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", printed).groups()
    read = float(mantissa or 1) * 10.0 ** int((power or "⁰").translate(SUPERSCRIPTS))
    assert read == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("value", "printed"), [(0, "0"), (np.inf, "∞"), (np.nan, "nan"), (1, "1.00"), (999.9, "10³"), (1e-12, "10⁻¹²")]
)
def test_magnitude_of_special_values(value, printed):
    assert figures.magnitude(value) == printed


@given(st.floats(1e-30, 1e30), st.sampled_from([1, -1]))
def test_plain_number_is_right_to_five_digits(size, sign):
    printed = plain_number(sign * size)
    start, digits, power = re.fullmatch(r"(−?)(?:([\d.]+)(?:×|$))?(?:10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", printed).groups()
    read = float(digits or 1) * 10.0 ** int((power or "⁰").translate(SUPERSCRIPTS))
    assert read == pytest.approx(size, rel=0.0000501)
    assert (start == "−") == (sign < 0)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "0"),
        (1, "1"),
        (500, "500"),
        (12345, "12345"),
        (99999.9, "10⁵"),
        (2.5e6, "2.5×10⁶"),
        (-1e6, "−10⁶"),
        (0.03, "0.03"),
        (1e-3, "0.001"),
        (1e-4, "10⁻⁴"),
        (-3e-4, "−3×10⁻⁴"),
    ],
)
def test_plain_number_is_brief(value, printed):
    assert plain_number(value) == printed


LIMITS = (1e-8, 1e8)


@given(st.lists(st.floats(1e-12, 1e12), max_size=9))
def test_a_logarithmic_axis_holds_its_values_and_one_tick_names_1(values):
    axis = LogAxis.around([values, []], LIMITS)
    exponents = np.log10(values)
    assert axis.low <= -1 < 1 <= axis.high
    assert axis.below == any(value < LIMITS[0] for value in values)
    assert axis.above == any(value > LIMITS[1] for value in values)
    assert axis.exponents(values) == pytest.approx(exponents.clip(-8, 8), abs=1.1e-3)  # that far beyond a decade
    ticks = axis.ticks()
    assert ticks[0] == "1"
    assert [*ticks] == sorted(ticks)
    assert 2 <= len(ticks) <= 7
    assert ticks.get(-8, "").startswith("≤") == axis.below
    assert ticks.get(8, "").startswith("≥") == axis.above


@given(st.integers(-12, -1), st.integers(1, 12))
def test_bins_are_centred_on_the_decades(low, high):
    edges = LogAxis(low, high, False, False).edges()
    middles = (edges[1:] + edges[:-1]) / 2
    for decade in range(low, high + 1):
        assert np.abs(middles - decade).min() < 1e-12
    assert edges[0] < low < high < edges[-1]
    assert 40 <= len(middles) <= 91


def test_bins_count_all_values_and_a_distribution_of_them_agrees():
    axis = LogAxis.around([[1e-3, 1e3]], LIMITS)
    values = 10 ** np.linspace(-3, 3, 100_001)
    shares, expected = axis.shares(values), axis.expected(lambda x: (np.log10(x) + 3) / 6)
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx(expected, abs=2e-5)
    assert axis.shares([0, 0, 1, np.inf]).tolist()[:: len(shares) - 1] == [0.5, 0.25]


def test_bin_edges_lie_between_whole_numbers():
    assert bin_edges(-0.2, 1.2).tolist() == [-1.5, -0.5, 0.5, 1.5, 2.5]
    assert bin_edges(-1, 1).tolist() == [-1.5, -0.5, 0.5, 1.5]


@given(st.integers(1, 10_000), st.integers(2, 300))
def test_thinned_points_keep_both_ends(count, most):
    kept = thinned(count, most)
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert len(kept) == min(count, most)
    assert (np.diff(kept) > 0).all()


def test_words():
    assert (listed("a"), listed("ab"), listed([1, 2, 3])) == ("a", "a and b", "1, 2 and 3")
    assert printed(-0.5) == "−0.500"
    assert [series_style(i) for i in (0, 7)] == [(figures.COLOURS[0], ()), (figures.COLOURS[1], (5, 3))]


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_draws_is_imported_when_a_name_needs_it():
    run("""
import sys
from orthobook import figures

def imported():
    return {"altair", "matplotlib", "matplotlib.pyplot", "PIL", "torch"} & set(sys.modules)

assert figures.magnitude(1) == "1.00" and figures.COLOURS and set(figures.__all__) <= set(dir(figures))
assert imported() == set(), imported()
figures.spectrum_explorer({("a", 1): [1.0]})
assert imported() == {"altair"}, imported()
figures.singular_value_histogram({"a": [1.0]})
assert not {"matplotlib.pyplot", "torch"} & imported() and "matplotlib" in imported(), imported()
assert all(getattr(figures, name) is not None for name in figures.__all__)
""")


def test_dashboards_draw_without_altair():
    run("""
import sys
from orthobook.teaching.dashboard import _svg
assert "<svg" in _svg.histograms("σ", [("#0072b2", [1.0])])
assert "altair" not in sys.modules
""")


@pytest.mark.parametrize(
    ("missing", "name", "other"),
    [
        ("altair", "spectrum_explorer", "lines"),
        ("PIL", "image_explorer", "spectrum_explorer"),
        ("matplotlib", "lines", "spectrum_explorer"),
    ],
)
def test_a_missing_library_is_named_with_its_cure(missing, name, other):
    run(f"""
import sys
sys.modules["{missing}"] = None
from orthobook import figures
figures.{other}
try:
    figures.{name}
except ImportError as error:
    assert str(error) == '{missing} is not installed: pip install "orthobook[book]"', error
else:
    raise SystemExit(1)
""")


def test_a_wrong_name_is_no_figure():
    with pytest.raises(AttributeError, match=r"'orthobook\.figures' has no attribute 'line'"):
        figures.line  # noqa: B018
