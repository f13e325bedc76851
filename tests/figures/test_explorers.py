"""Interactive figures: valid, small, self-contained specifications that hold what was given."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace

import altair as alt
import numpy as np
import pytest
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orthobook import figures
from orthobook.figures._chart import vegalite_version
from orthobook.figures.scales import COLOURS, GREY

ARCHITECTURES = ("shifted-fold", "plain-relu", "scaled-residual")
DEPTHS = (5, 50, 200)


def history(accuracies, steps=(0, 50, 100)):
    return [{"step": s, "loss": 2 - a, "accuracy": a} for s, a in zip(steps, accuracies, strict=True)]


def spectra(samples: int = 64) -> dict:
    rng = np.random.default_rng(0)
    return {(a, d): np.exp(i * rng.normal(size=samples)) for i, a in enumerate(ARCHITECTURES) for d in DEPTHS}


def norms() -> dict:
    return {(a, d): 2.0 ** (-i * np.arange(d + 1.0)) for i, a in enumerate(ARCHITECTURES) for d in DEPTHS}


def curves() -> dict:
    layers = np.arange(1, 31)
    return {(a, g): np.stack([g**layers * k for k in (0.5, 1, 2)]) for a in ARCHITECTURES for g in (0.9, 1.0, 1.1)}


def panels() -> dict:
    layers = np.arange(1, 31)
    keys = [(a, m) for a in ARCHITECTURES for m in range(0, 65, 8)]
    return {
        "coherence": {(a, m): 0.99 ** (m * layers) - 0.1 for a, m in keys},
        "pieces": {(a, m): 1 + m * layers for a, m in keys},
    }


def training() -> tuple[dict, dict]:
    rng = np.random.default_rng(0)
    by_step = {(r, s): np.exp(0.01 * s * rng.normal(size=64)) for r in ("free", "constrained") for s in (0, 50, 100)}
    return by_step, {"free": history([0.1, 0.4, np.nan]), "constrained": history([0.1, 0.5, 0.8])}


def laid_down(fold: float | None = None, crush: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Three rules of length 2, and which side is up: laid flat, folded over at x = ``fold``, crushed at ``crush``."""
    x, up = np.linspace(-1, 1, 401), np.ones(401)
    if fold is not None:
        x, up = np.minimum(x, 2 * fold - x), np.where(x > fold, -1, 1)
    if crush is not None:
        x, up = np.minimum(x, crush), np.where(x > crush, 0, 1)
    return np.stack([np.stack([x, np.full(401, y)], axis=1) for y in (-0.5, 0, 0.5)]), np.stack([up] * 3)


def sheets() -> dict:
    given = {}
    for d in range(0, 100, 10):
        given["flat", d], given["folded", d] = laid_down(), laid_down(fold=d / 100)
        given["the same", d], given["crushed", d] = laid_down(fold=d / 100), laid_down(crush=d / 100)
    return given


CHOICES, RATES = (10, 20, 50, 100, 200, 500), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
WAYS = ("unconstrained", "a penalty on the distance from orthogonal", "constrained")


def seeds() -> dict:
    rng = np.random.default_rng(0)
    return {
        (a, d): (0.9 - 0.1 * i - d / 1000 + rng.uniform(-0.05, 0.05, 3)).tolist()
        for i, a in enumerate(ARCHITECTURES)
        for d in CHOICES
    }


def by_rate() -> dict:
    """Parabolas over the exponent of the rate: the i-th depth trained in the j-th way is best at rate 5 − i − j."""
    return {
        (f"{depth} layers", way): {rate: 0.9 - 0.1 * i - 0.02 * (k - 5 + i + j) ** 2 for k, rate in enumerate(RATES)}
        for i, depth in enumerate((20, 100, 500))
        for j, way in enumerate(WAYS)
    }


LENGTHS = (0.1, 0.5)


def pictures() -> dict:
    """Two images at two lengths, beside a changed one that is one grey, a different one everywhere."""
    first, grey = np.eye(4), iter((0.2, 0.4, 0.6, 0.8))
    return {
        (name, length): ({"image": first, "changed": np.full((4, 4), next(grey))}, f"{name}, changed by {length}")
        for name in ("boot", "shirt")
        for length in LENGTHS
    }


CHARTS = {
    "image": lambda: figures.image_explorer(pictures(), control="Length"),
    "spectrum": lambda: figures.spectrum_explorer(spectra()),
    "gradient norm": lambda: figures.gradient_norm_explorer(norms()),
    "gain": lambda: figures.gain_explorer(curves()),
    "training": lambda: figures.training_explorer(*training()),
    "curve": lambda: figures.curve_explorer(panels(), control="Folds m"),
    "fold": lambda: figures.fold_explorer(),
    "sheet": lambda: figures.sheet_explorer(sheets(), control="Place"),
    "bar": lambda: figures.bar_explorer(seeds(), control="Depth"),
    "measurement": lambda: figures.measurement_explorer(by_rate(), control="Training", xlabel="learning rate"),
}
EXPLORERS = CHARTS | {"folding": lambda: figures.folding_explorer()}


def rows(specification: dict) -> list[dict]:
    """Every row of data in a specification."""
    return [row for values in specification["datasets"].values() for row in values]


def set_controls(specification: dict, values: dict) -> dict:
    """The specification with its controls, named by their labels, at other values."""
    labels = {p["bind"]["name"]: p for p in specification["params"] if "bind" in p}
    for label, value in values.items():
        labels[label]["value"] = value
    return specification


def svg(specification: dict) -> str:
    """The drawing, less what hides its marks from screen readers, which have the description."""
    drawing = vl_convert.vegalite_to_svg(json.dumps(specification), vl_version=vegalite_version())
    return drawing.replace(' aria-hidden="true"', "")


def words(picture: str) -> str:
    return " ".join(re.findall(r">([^<>]+)</(?:text|tspan)>", picture))


@pytest.mark.parametrize("smallest", [0.5, 1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("largest", [1.0, 1e2, 1e4])
def test_the_axis_of_a_spectrum_always_names_1(smallest, largest):
    picture = svg(figures.spectrum_explorer({("a", 1): [smallest, largest]}).specification())
    assert "1" in re.findall(r">([^<>]+)</text>", picture)


def line_path(picture: str, colour: str) -> str | None:
    """The path of the one line of a colour, if it is drawn."""
    paths = re.findall(rf'<path d="(M[^"]+)" stroke="{colour}"', picture)
    return paths[0] if paths else None


class Page(HTMLParser):
    """The data and the words of an explorer's element."""

    def __init__(self, text: str):
        super().__init__()
        self.script, self.tag, self.tags, self.label = "", "", [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.tags.append(tag)
        if tag == "div":
            self.label = dict(attrs).get("aria-label") or self.label

    def handle_data(self, data):
        if self.tag == "script":
            self.script += data


@pytest.mark.parametrize("name", CHARTS)
def test_specification_is_valid_and_compiles(name):
    specification = EXPLORERS[name]().specification()
    alt.Chart.from_dict(specification)  # validates against the schema of Vega-Lite
    vl_convert.vegalite_to_vega(json.dumps(specification), vl_version=vegalite_version())
    assert json.loads(json.dumps(specification, allow_nan=False)) == specification
    assert all(p["bind"]["name"] for p in specification["params"] if "bind" in p)


@pytest.mark.parametrize("name", EXPLORERS)
def test_page_is_small_and_asks_no_other_host(name):
    explorer = EXPLORERS[name]()
    text = explorer.page()
    assert len(text.encode()) < 300_000
    addresses = set(re.findall(r"https?://[^\"' ]+", text))
    assert {a.split("/")[2] for a in addresses} <= {"vega.github.io", "www.w3.org"}  # names of formats, never fetched
    page = Page(text)
    assert json.loads(page.script)["description"] == page.label == explorer.description
    assert "currentColor" in text
    assert {"noscript", "svg"} <= set(page.tags)
    assert f'<div class="orthobook-chart" data-kind="{"vega" if name in CHARTS else "folding"}" ' in text


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_still_picture_is_small_enough_for_a_notebook(name):
    picture = EXPLORERS[name]().still("png")
    assert len(picture) < 40_000
    assert {0, 255} <= set(np.unique(np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA"))[..., 3]))


def test_hostile_names_stay_text():
    name = '</script><script>alert("&")</script>'
    text = figures.spectrum_explorer({(name, 1): [1.0]}).page()
    page = Page(text)
    assert page.tags.count("script") == 1
    assert {row["name"] for row in rows(json.loads(page.script))} == {name}
    assert "<script>alert" not in text


def test_description_can_be_given():
    explorer = figures.spectrum_explorer({("a", 1): [1.0]}, description="One “point”.")
    assert Page(explorer.page()).label == explorer.specification()["description"] == "One “point”."


def test_front_ends_get_what_they_draw(monkeypatch):
    explorer = EXPLORERS["spectrum"]()
    monkeypatch.delenv("ORTHOBOOK_BUILD", raising=False)
    lab = explorer._repr_mimebundle_()
    assert set(lab) == {"application/vnd.vegalite.v5+json", "text/plain"}
    assert lab["application/vnd.vegalite.v5+json"]["$schema"].endswith("/v5.json")

    monkeypatch.setenv("ORTHOBOOK_BUILD", "1")
    book = explorer._repr_mimebundle_()
    assert book["text/html"] == explorer.page()
    assert book["image/png"].startswith(b"\x89PNG")

    monkeypatch.delenv("ORTHOBOOK_BUILD")
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    assert "vegaEmbed" in explorer._repr_mimebundle_()["text/html"]


def test_the_folded_sheet_brings_its_script_along_where_there_is_no_book(monkeypatch):
    explorer = figures.folding_explorer()
    monkeypatch.delenv("ORTHOBOOK_BUILD", raising=False)
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert explorer.page() in bundle["text/html"]
    assert Page(bundle["text/html"]).tags.count("script") == 2  # the data, and one whole script
    assert bundle["text/html"].endswith("})();\n</script>")
    assert ".vega-bindings" in bundle["text/html"]

    monkeypatch.setenv("ORTHOBOOK_BUILD", "1")
    book = explorer._repr_mimebundle_()
    assert book["text/html"] == explorer.page()
    assert book["image/png"].startswith(b"\x89PNG")


def test_the_folded_sheet_starts_as_it_is_told():
    explorer = figures.folding_explorer(folds=3, first=30, turn=100, distance=0.4, description="A sheet.")
    specification = json.loads(Page(explorer.page()).script)
    values = {control: settings["value"] for control, settings in specification["controls"].items()}
    assert values == {"folds": 3, "first": 30, "turn": 100, "distance": 0.4}
    assert all(c["min"] <= c["value"] <= c["max"] and c["label"] for c in specification["controls"].values())
    assert specification["description"] == Page(explorer.page()).label == "A sheet."
    assert specification["colours"] == list(COLOURS[:2])
    assert explorer.still("svg", "currentColor").count("<path") > figures.folding_explorer(folds=1).still("svg").count(
        "<path"
    )


def test_spectrum_counts_every_value_and_keeps_an_isometry_in_one_bin():
    rng = np.random.default_rng(0)
    isometry, spread = 1 + 1e-7 * rng.normal(size=50), np.array([0, 1e-10, 1e-3, 1e-3, 7, 1e6])
    specification = figures.spectrum_explorer({("iso", 3): isometry, ("wide", 3): spread}).specification()
    iso, wide = rows(specification)
    assert iso["share"].count(1) == 1
    assert sum(iso["share"]) == 1
    assert sorted(s for s in wide["share"] if s) == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3], abs=1e-4)
    assert wide["share"][0] == pytest.approx(1 / 3, abs=1e-4)  # both that lie below the axis
    assert wide["share"][-1] == pytest.approx(1 / 6, abs=1e-4)
    drawn = words(svg(specification))
    assert "min 0 · median 10⁻³ · max 10⁶" in drawn
    assert "condition number ∞ · 33% below 10⁻⁸ · 17% above 10⁴" in drawn
    assert "≤10⁻⁸" in drawn
    assert "≥10⁴" in drawn


def test_spectrum_follows_its_controls():
    given = spectra()
    specification = figures.spectrum_explorer(given).specification()
    drawn = words(svg(set_controls(specification, {"Architecture": "scaled-residual", "Depth": 5})))
    assert "scaled-residual, depth 5" in drawn
    assert "plain-relu, depth 5" in drawn
    singular = given["scaled-residual", 5]
    stated = re.findall(r"condition number ([\d.]+)(?:×10([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", drawn)[0]
    exponent = int((stated[1] or "⁰").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")))
    assert float(stated[0]) * 10**exponent == pytest.approx(singular.max() / singular.min(), rel=0.01)


def test_a_law_is_drawn_as_what_it_makes_of_each_bin():
    """The law's mass in each bin, what lies beyond the axis at its ends; all of it 1."""
    samples = np.linspace(0.001, 1.999, 1000)
    specification = figures.spectrum_explorer(
        {("flat", 1): samples}, laws={("flat", 1): lambda x: np.minimum(x / 2, 1)}
    )
    (row,) = rows(specification.specification())
    assert len(row["law"]) == len(row["share"])
    assert sum(row["law"]) == pytest.approx(1, abs=1e-3)
    assert np.abs(np.subtract(row["law"], row["share"])).max() < 2e-3
    plain = svg(figures.spectrum_explorer({("flat", 1): samples}).specification())
    assert svg(specification.specification()).count("<path") == plain.count("<path") + 1


def test_one_architecture_has_one_panel():
    specification = figures.spectrum_explorer({("a", 1): [1.0], ("a", 2): [2.0]}).specification()
    assert len(specification["vconcat"]) == 1
    assert [p["bind"]["name"] for p in specification["params"] if "bind" in p] == ["Architecture", "Depth"]


def test_gradient_norms_keep_both_ends_and_state_their_ratio():
    specification = figures.gradient_norm_explorer(norms()).specification()
    for row in rows(specification):
        assert (row["layer"][0], row["layer"][-1]) == (0, row["depth"])
        slope = -np.log10(2) * ARCHITECTURES.index(row["name"])
        expected = np.maximum(slope * np.array(row["layer"]), -12)
        assert row["norm"] == pytest.approx(expected, abs=1e-3)
    drawn = words(svg(set_controls(specification, {"Depth": 5})))
    assert "shifted-fold: 1.00" in drawn
    assert "plain-relu: 32.0" in drawn
    assert "scaled-residual: 1.02×10³" in drawn


def test_gradient_norms_of_a_batch_are_their_median():
    batch = np.array([[1.0, 8.0, 2.0], [4.0, 4.0, 16.0]])
    (row,) = rows(figures.gradient_norm_explorer({("a", 1): batch}).specification())
    assert row["norm"] == pytest.approx(np.log10([2, 4]), abs=1e-3)


def test_check_boxes_hide_series():
    specification = figures.gradient_norm_explorer(norms()).specification()
    assert line_path(svg(specification), COLOURS[1])
    hidden = svg(set_controls(specification, {"plain-relu": False}))
    assert line_path(hidden, COLOURS[0])
    assert line_path(hidden, COLOURS[1]) is None


@pytest.mark.parametrize("kind", ["gradient norm", "gain", "curve", "measurement"])
def test_axes_stay_when_every_line_is_hidden(kind):
    specification = EXPLORERS[kind]().specification()

    def ticks() -> list[str]:
        return re.findall(r">([−0-9.⁰¹²³⁴⁵⁶⁷⁸⁹⁻×]+)</text>", svg(specification))

    labels = [p["bind"]["name"] for p in specification["params"] if p.get("bind", {}).get("input") == "checkbox"]
    shown = ticks()
    assert len(shown) > 5
    set_controls(specification, dict.fromkeys(labels, False))
    assert ticks() == shown


def test_a_dashed_line_lets_the_line_below_it_be_seen():
    given = {(name, 2): [1.0, 1.0, 1.0] for name in ("below", "above")}
    picture = svg(figures.gradient_norm_explorer(given, dashed=["above"]).specification())
    assert line_path(picture, COLOURS[0]) == line_path(picture, COLOURS[1])
    dashes = dict(re.findall(r'stroke="(#\w+)" stroke-width="2.5" stroke-dasharray="([\d,]+)"', picture))
    assert dashes == {COLOURS[0]: "1,0", COLOURS[1]: "5,3"}


def test_vanished_gradients_are_drawn_at_the_limit():
    drawn = words(svg(figures.gradient_norm_explorer({("a", 2): [0.0, 0.5, 1.0]}).specification()))
    assert "≤10⁻¹²" in drawn
    assert "a: 0" in drawn


def test_gain_draws_what_was_given():
    specification = figures.gain_explorer(curves()).specification()
    row = next(r for r in rows(specification) if r["gain"] == 1.1)
    assert row["layer"] == list(range(1, 31))
    assert row["middle"] == pytest.approx(np.arange(1, 31) * np.log10(1.1), abs=1e-3)
    assert np.array(row["high"]) - row["low"] == pytest.approx(np.log10(4), abs=2e-3)
    assert f"plain-relu: {1.1**30:.1f}" in words(svg(set_controls(specification, {"Gain": 1.1})))
    medians = {key: values[1] for key, values in curves().items()}
    alone = rows(figures.gain_explorer(medians).specification())[0]
    assert alone["low"] == alone["middle"] == alone["high"]


def test_gains_from_linspace_are_printed_plainly():
    gains = np.linspace(0.7, 1.3, 7)
    specification = figures.gain_explorer({("a", g): [1.0, g] for g in gains}).specification()
    (control,) = (p for p in specification["params"] if p.get("bind", {}).get("name") == "Gain")
    assert control["bind"]["options"] == [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]
    assert control["value"] == 1.0
    assert "a: 1.30" in words(svg(set_controls(specification, {"Gain": 1.3})))


def test_curves_hold_what_was_given_on_one_axis_for_every_value():
    specification = EXPLORERS["curve"]().specification()
    row = next(r for r in rows(specification) if r["value"] == 8 and max(r["height"]) > 1)
    assert row["layer"] == list(range(1, 31))
    assert row["height"] == (1 + 8 * np.arange(1, 31)).tolist()
    scales = [panel["encoding"]["y"]["scale"]["domain"] for panel in specification["vconcat"]]
    assert scales == [[pytest.approx(0.99 ** (64 * 30) - 0.1, abs=1e-4), 0.9], [0, 1 + 64 * 30]]
    drawn = words(svg(set_controls(specification, {"Folds m": 64})))
    assert "coherence, folds m: 64 at the end: shifted-fold: −0.10 · plain-relu: −0.10" in drawn
    assert "pieces, folds m: 64 at the end: shifted-fold: 1,921" in drawn


def test_curves_are_hidden_in_every_panel():
    specification = EXPLORERS["curve"]().specification()
    count = len(re.findall(rf'<path d="M[^"]+" stroke="{COLOURS[1]}"', svg(specification)))
    hidden = svg(set_controls(specification, {"plain-relu": False}))
    assert count >= 2
    assert len(re.findall(rf'<path d="M[^"]+" stroke="{COLOURS[1]}"', hidden)) == count - 2  # the key keeps it


def test_the_text_of_curves_tells_of_those_shown_alone():
    specification = EXPLORERS["curve"]().specification()
    drawn = words(svg(set_controls(specification, {"Folds m": 64, "shifted-fold": False})))
    assert "at the end: plain-relu: −0.10 · scaled-residual: −0.10" in drawn
    assert "shifted-fold: " not in drawn
    none = words(svg(set_controls(specification, dict.fromkeys(ARCHITECTURES, False))))
    assert none.count("at the end: no curve is shown") == 2


@pytest.mark.parametrize(("value", "said"), [(-24, "−24"), (-2345, "−2,345"), (-3.14159, "−3.14"), (24, "24")])
def test_curves_end_at_numbers_with_a_minus_as_printed(value, said):
    drawn = words(svg(figures.curve_explorer({"q": {("a", 1): [0, value]}}, control="m").specification()))
    assert f"q, m: 1 at the end: a: {said} a" in drawn


def test_a_curve_that_leaves_the_frame_is_cut_off_and_the_text_says_where():
    given = {("up", 1): [1, 2, 1e9], ("down", 1): [1, -1, -50], ("there and back", 1): [1, 9, 2]}
    specification = figures.curve_explorer({"q": given}, control="m", limits={"q": (0, 3)}).specification()
    (panel,) = specification["vconcat"]
    assert panel["encoding"]["y"]["scale"]["domain"] == [0, 3]
    picture = svg(specification)
    assert "at the end: up: above 3 · down: below 0 · there and back: 2.00" in words(picture)
    assert 'clip-path="url(#' in picture
    path = points(line_path(picture, COLOURS[0]))
    assert path[1::2] == pytest.approx([80, 40, 120 - 40e9])  # of 120 pixels, from above


def test_curves_may_start_elsewhere_and_lie_at_given_places():
    given = {("a", m): [0.0, m, 2.0 * m] for m in (1, 2, 3, 4, 5)}
    specification = figures.curve_explorer(
        {"q": given}, control="m", start=5, places=[0.1, 0.2, 0.4], xlabel="threshold τ"
    ).specification()
    picture = svg(specification)
    assert "q, m: 5 at the end: a: 10" in words(picture)
    assert "0.10 0.15 0.20 0.25 0.30 0.35 0.40 threshold τ" in words(picture)
    x = np.array(points(line_path(picture, COLOURS[0]))[::2])
    assert x / x[-1] == pytest.approx([0, 1 / 3, 1])


def test_curve_of_one_layer_and_of_zeros_is_drawn():
    drawn = svg(figures.curve_explorer({"q": {("a", 1): [0.0], ("a", 2): [-0.001]}}, control="m").specification())
    assert "q, m: 2 at the end: a: 0.00" in words(drawn)


def test_training_moves_along_the_curve():
    specification = EXPLORERS["training"]().specification()
    drawn = words(svg(set_controls(specification, {"Step": 50})))
    assert "free, step 50" in drawn
    assert drawn.count("singular value σ") == 1  # below the last histogram
    assert "Accuracy at step 50" in drawn
    assert "free: 0.400" in drawn
    assert "constrained: 0.500" in drawn
    diverged = words(svg(set_controls(specification, {"Step": 100})))
    assert "free: none" in diverged
    assert "constrained: 0.800" in diverged


def test_training_takes_objects_and_the_loss():
    by_step, histories = training()
    objects = {run: [SimpleNamespace(**record) for record in records] for run, records in histories.items()}
    specification = figures.training_explorer(by_step, objects, quantity="loss").specification()
    assert "constrained: 1.900" in words(svg(specification))


STANDARD_FOLD = svg(figures.fold_explorer().specification())  # of slopes 1 and 0


@settings(deadline=None, max_examples=8)
@given(st.integers(-15, 15), st.integers(-15, 15))
def test_every_two_slopes_make_the_same_fold(first, second):
    specification = figures.fold_explorer().specification()
    drawn = svg(set_controls(specification, {"Slope s₁ (t > 0)": first / 10, "Slope s₂ (t < 0)": second / 10}))
    if first == second:
        assert "no fold" in words(drawn)
        assert line_path(drawn, COLOURS[1]) is None
        return
    assert "φ(t) = |t|" in words(drawn)
    assert points(line_path(drawn, COLOURS[1])) == pytest.approx(points(line_path(STANDARD_FOLD, COLOURS[1])), abs=1e-6)
    assert f"r = {(first - second) / 20:.2f}".replace("-", "−")[:-1] in words(drawn)


def points(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", path)]


def test_fold_names_known_activations():
    specification = figures.fold_explorer().specification()
    known = {(1, 0): "ReLU", (1, -1): "absolute value", (1, 0.1): "leaky ReLU", (0.5, 0.5): "linear"}
    for (first, second), name in known.items():
        controls = {"Slope s₁ (t > 0)": first, "Slope s₂ (t < 0)": second}
        assert f"σ(t): {name}" in words(svg(set_controls(specification, controls)))


def test_a_sheet_is_drawn_by_its_corners_and_stored_once():
    specification = EXPLORERS["sheet"]().specification()
    stored = rows(specification)
    assert {row["sheet"] for row in stored} == set(range(21))  # one flat, ten folded, ten crushed
    flat = [row for row in stored if row["sheet"] == 0]
    assert flat == [
        {
            "sheet": 0,
            "side": "front up",
            "x": [-1000, 1000, None, -1000, 1000, None, -1000, 1000],
            "y": [-500, -500, None, 0, 0, None, 500, 500],
        }
    ]
    assert all(len(row["x"]) == len(row["y"]) == 8 for row in stored)
    front, back = (row for row in stored if row["sheet"] == 5)  # folded at 0.2
    assert (front["side"], back["side"]) == ("front up", "back up")
    assert sorted(front["x"][:2]) == pytest.approx([-1000, 200], abs=6)
    assert sorted(back["x"][:2]) == pytest.approx([-600, 200], abs=6)


def test_sheets_keep_every_corner_and_no_point_between():
    zigzag = np.array([[[0, 0], [1, 0], [2, 0], [2, 1], [2, 4], [1, 4], [0, 4], [0, 4], [0, 3]]], dtype=float)
    (row,) = rows(figures.sheet_explorer({("a", 0): (zigzag, np.ones((1, 9)))}, control="Place").specification())
    assert row["x"] == [0, 500, 500, 0, 0]
    assert row["y"] == [0, 0, 1000, 1000, 750]
    back = np.array([[[0, 0], [1, 0], [2, 0], [1, 0], [0, 0]]], dtype=float)  # folded onto itself: the ends coincide
    (row,) = rows(figures.sheet_explorer({("a", 0): (back, np.ones((1, 5)))}, control="Place").specification())
    assert row["x"] == [0, 1000, 0]


def test_sheets_follow_their_controls_and_state_the_length_of_the_rules():
    specification = EXPLORERS["sheet"]().specification()
    drawn = svg(specification)
    assert "flat length of all lines: 6.00" in words(drawn)
    assert "folded length of all lines: 6.00" in words(drawn)
    assert line_path(drawn, COLOURS[1])
    drawn = svg(set_controls(specification, {"Compared with": "crushed", "Place": 50}))
    assert "crushed length of all lines: 4.50" in words(drawn)
    assert line_path(drawn, COLOURS[1]) is None
    assert line_path(drawn, GREY)
    same = svg(set_controls(specification, {"Layer": "folded", "Compared with": "the same"}))
    paths = re.findall(rf'<path d="(M[^"]+)" stroke="{COLOURS[1]}"', same)
    assert len(paths) == 2
    assert paths[0] == paths[1]


def test_sheets_may_start_with_any_two():
    specification = figures.sheet_explorer(sheets(), control="Place", start=("folded", "crushed")).specification()
    drawn = words(svg(specification))
    assert re.findall(r"(\S+) length of all lines", drawn) == ["folded", "crushed"]


def test_what_is_compared_with_itself_is_named_so():
    spectrum = EXPLORERS["spectrum"]().specification()
    assert "again" not in words(svg(spectrum))
    same = words(svg(set_controls(spectrum, {"Compared with": "shifted-fold"})))
    assert "shifted-fold, depth 200" in same
    assert "shifted-fold again, depth 200" in same
    sheet = set_controls(EXPLORERS["sheet"]().specification(), {"Layer": "crushed", "Compared with": "crushed"})
    assert "crushed again length of all lines" in words(svg(sheet))


@pytest.mark.parametrize(
    ("choices", "kind"),
    [
        ([round(0.02 * i, 2) for i in range(36)], "range"),
        ([0.3 + i for i in range(9)], "range"),
        ([round(1.05**i, 2) for i in range(12)], "select"),
        ([0.1 * i for i in range(36)], "select"),  # as computed, 0.30000000000000004 among them: no slider comes to it
    ],
)
def test_evenly_spaced_decimals_have_a_slider(choices, kind):
    specification = figures.bar_explorer({("a", c): c for c in choices}, control="Length").specification()
    (control,) = (p["bind"] for p in specification["params"] if "bind" in p)
    assert control["input"] == kind
    last = words(svg(set_controls(specification, {"Length": choices[-1]})))
    assert f"Length: {choices[-1]:.12g}" in last


@pytest.mark.parametrize("width", [100, 253, 371])
def test_a_sheet_keeps_its_shape_in_a_panel_of_any_width(width):
    specification = EXPLORERS["sheet"]().specification()
    for panel in specification["hconcat"]:
        panel["width"] = width
    path = line_path(svg(specification), COLOURS[0])
    numbers = np.array(points(path)).reshape(-1, 2)
    across, along = np.ptp(numbers, axis=0)
    assert across / along == pytest.approx(2, rel=0.02)
    assert numbers.min() >= 0
    assert numbers[:, 0].max() <= width


def test_one_layer_has_one_panel():
    specification = figures.sheet_explorer({("a", d): laid_down() for d in (0, 1)}, control="Place").specification()
    assert len(specification["hconcat"]) == 1
    assert line_path(svg(specification), COLOURS[0])


def bars(picture: str) -> list[tuple[float, float]]:
    """Where bars start and end, in pixels, from the top one to the bottom one."""
    drawn = re.findall(rf'<path d="M([\d.]+),([\d.]+)h([\d.]+)v12h[^"]+" fill="{COLOURS[0]}"', picture)
    return [(float(x), float(x) + float(length)) for x, y, length in sorted(drawn, key=lambda bar: float(bar[1]))]


def circles(picture: str, colour: str, size: int) -> list[tuple[float, float]]:
    """The middles of the circles of a colour whose diameter is √``size``, from left to right."""
    start = re.escape(f'd="M{size**0.5 / 2:.3f},0A')
    drawn = rf'<path transform="translate\(([\d.]+),([\d.]+)\)" {start}[^"]+" (?:fill|stroke)="{colour}"'
    return sorted((float(x), float(y)) for x, y in re.findall(drawn, picture))


def options(specification: dict, label: str) -> list:
    (control,) = (p for p in specification["params"] if p.get("bind", {}).get("name") == label)
    return control["bind"]["options"]


@pytest.mark.parametrize("chart", CHARTS)
def test_screen_readers_meet_no_mark_without_a_name(chart):
    marks = re.findall(r'<[^>]*role="graphics-symbol"[^>]*>', CHARTS[chart]().still("svg"))
    assert [mark for mark in marks if "aria-label" not in mark] == []


def test_images_are_those_chosen_pixel_for_pixel():
    specification = figures.image_explorer(pictures(), control="Length").specification()
    assert len(rows(specification)) == 5  # different images
    for (name, length), (images, said) in pictures().items():
        picture = svg(set_controls(specification, {"Image": name, "Length": length}))
        shown = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(address)))) / 255
            for address in re.findall(r'href="data:image/png;base64,([^"]*)"', picture)
        ]
        assert len(shown) == 2
        for pixels, values in zip(shown, images.values(), strict=True):
            assert pixels.shape == (140, 140)  # 35 by 35 for each
            assert pixels[17::35, 17::35] == pytest.approx(values, abs=1 / 500)
        assert words(picture) == f"image changed {said}"


def test_bars_end_at_the_means_on_one_axis_for_every_choice_and_rings_are_the_seeds():
    given = seeds()
    specification = figures.bar_explorer(given, control="Depth", limits=(0, 1)).specification()
    assert options(specification, "Depth") == list(CHOICES)
    scales, rings, single = [], [], []
    for depth in CHOICES:
        picture = svg(set_controls(specification, {"Depth": depth}))
        runs = [given[a, depth] for a in ARCHITECTURES]
        scales += [end / np.mean(run) for (_, end), run in zip(bars(picture), runs, strict=True)]
        rings += [x for x, _ in circles(picture, COLOURS[1], 40)]
        single += np.sort(runs, axis=None).tolist()
    assert scales == pytest.approx([scales[0]] * len(scales), rel=1e-3)
    assert rings == pytest.approx(scales[0] * np.array(single), rel=1e-3)


def test_bars_state_their_means_and_which_is_best_and_worst():
    given = seeds()
    given["plain-relu", 200] = [0.95, 0.97]
    specification = figures.bar_explorer(given, control="Depth", xlabel="test accuracy").specification()
    drawn = words(svg(set_controls(specification, {"Depth": 200})))
    means = [f"{np.mean(given[a, 200]):.3f}" for a in ARCHITECTURES]
    assert (
        f"Depth: 200 Bar: mean; ring: a single run best: plain-relu (0.960) worst: scaled-residual ({means[2]})"
        in drawn
    )
    assert " ".join(ARCHITECTURES) in drawn  # in the order given
    assert " ".join(means) in drawn
    assert "test accuracy" in drawn


def test_a_single_value_has_no_ring_and_a_single_name_no_rival():
    specification = figures.bar_explorer({("a", "x"): 0.5, ("a", "y"): [0.25]}, control="Way").specification()
    picture = svg(set_controls(specification, {"Way": "y"}))
    assert len(bars(picture)) == 1
    assert COLOURS[1] not in picture
    assert "ring" not in words(picture)
    assert "worst" not in words(picture)
    assert "Way: y best: a (0.250)" in words(picture)


def test_outlined_bars_are_empty_and_of_another_colour():
    given = {("proven", 1): 0.25, ("met", 1): 0.5}
    picture = svg(figures.bar_explorer(given, control="c", outlined=["met"]).specification())
    drawn = re.findall(r'v12h[^"]+" fill="(#\w+)" (?:fill-opacity="([\d.]+)" )?stroke="(#\w+)"', picture)
    assert drawn == [(COLOURS[0], "0.35", COLOURS[0]), (COLOURS[1], "0", COLOURS[1])]


def test_bars_start_at_zero_or_where_an_axis_without_zero_starts():
    def drawn(values, limits=None):
        given = {(name, 0): value for name, value in zip("ab", values, strict=True)}
        return bars(svg(figures.bar_explorer(given, control="c", limits=limits).specification()))

    (start, end), (middle, far) = drawn([-1, 3])
    assert end == pytest.approx(middle)
    assert far - middle == pytest.approx(3 * (end - start))
    (start, end), (other, far) = drawn([0.5, 1], limits=(0.25, 1.25))
    assert start == other == 0
    assert far == pytest.approx(3 * end)


def test_long_names_stay_within_a_telephone():
    long = "a kind of network with a name that is longer than any telephone is wide, however small the type"
    specification = figures.bar_explorer({(long, 0): [0.5, 0.6], ("b", 0): [1.0, 1.0]}, control="c").specification()
    specification["width"] = 340
    picture = svg(specification)
    assert len(re.findall("a kind of network [^<>]*…<", picture)) == 2  # at its bar, and in the title
    assert (
        float(re.search(r'width="([\d.]+)"', picture)[1]) <= 352
    )  # the plot, a margin of 5 and half a label of the axis


def test_choices_that_are_strings_keep_their_order():
    bar = figures.bar_explorer({("a", way): 0.5 for way in WAYS}, control="Training").specification()
    assert options(bar, "Training") == options(EXPLORERS["measurement"]().specification(), "Training") == list(WAYS)
    numbers = figures.bar_explorer({("a", np.int64(d)): 0.5 for d in CHOICES[::-1]}, control="Depth")
    assert options(json.loads(Page(numbers.page()).script), "Depth") == list(CHOICES)


@pytest.mark.parametrize("way", range(3))
def test_measurements_are_lines_on_a_logarithmic_axis_with_the_best_marked(way):
    specification = EXPLORERS["measurement"]().specification()
    picture = svg(set_controls(specification, {"Training": WAYS[way]}))
    for i, depth in enumerate((20, 100, 500)):
        given = by_rate()[f"{depth} layers", WAYS[way]]
        corners = np.array(points(line_path(picture, COLOURS[i]))).reshape(-1, 2)
        at = np.log(RATES) - np.log(RATES[0])
        assert (corners[:, 0] - corners[0, 0]) / np.ptp(corners[:, 0]) == pytest.approx(at / at[-1], abs=1e-3)
        assert corners[:, 1] == pytest.approx(240 * (1 - np.array([*given.values()])), abs=0.1)  # 0 to 1, every time
        assert np.array(circles(picture, COLOURS[i], 40)) == pytest.approx(corners, abs=1e-3)
        best = 5 - i - way
        (mark,) = circles(picture, COLOURS[i], 160)
        assert mark == pytest.approx(corners[best], abs=1e-3)
        rate = ("10⁻⁴", "3×10⁻⁴", "0.001", "0.003", "0.01", "0.03")[best]
        assert f"{depth} layers: best at {rate} ({0.9 - 0.1 * i:.3f})" in words(picture)
    assert f"Accuracy by learning rate Training: {WAYS[way]}" in words(picture)
    assert "10⁻⁴ 3×10⁻⁴ 0.001 0.003 0.01 0.03 learning rate" in words(picture)


def test_check_boxes_hide_measured_lines_and_their_points():
    specification = EXPLORERS["measurement"]().specification()
    hidden = svg(set_controls(specification, {"100 layers": False}))
    for index, count in enumerate((6, 0, 6)):
        assert (line_path(hidden, COLOURS[index]) is None) == (count == 0)
        assert len(circles(hidden, COLOURS[index], 40)) == count
        assert len(circles(hidden, COLOURS[index], 160)) == bool(count)


def test_images_have_choices_that_are_strings():
    given = {("boot", way): ({"image": np.eye(4)}, f"changed {way}") for way in WAYS}
    specification = figures.image_explorer(given, control="Way").specification()
    assert words(svg(set_controls(specification, {"Way": WAYS[2]}))) == f"image changed {WAYS[2]}"


def test_measurements_outside_0_to_1_have_an_axis_that_holds_those_of_every_choice():
    given = {("a", 0): {1: -1.0, 10: 3.0}, ("a", 1): {10: 40.0, 2: 20.0}}
    specification = figures.measurement_explorer(given, control="c", xlabel="x", ylabel="loss").specification()
    heights = []
    for choice in (0, 1):
        picture = svg(set_controls(specification, {"c": choice}))
        heights += [y for _, y in circles(picture, COLOURS[0], 40)]
        assert re.search(r"best at 10 \((3.00|40.0)\)", words(picture))[1] == ("3.00", "40.0")[choice]
    assert all(0 <= y <= 240 for y in heights)
    scaled = (heights[0] - np.array(heights)) / (heights[0] - heights[1])
    assert scaled == pytest.approx([0, 1, 21 / 4, 41 / 4], rel=1e-3)


def test_one_measurement_is_a_point():
    picture = svg(figures.measurement_explorer({("a", 0): {3: 7.0}}, control="c", xlabel="x").specification())
    ((x, y),) = circles(picture, COLOURS[0], 160)
    assert 0 < x < 560
    assert 0 <= y <= 240


def test_many_measurements_are_refused():
    curve = {1 + x / 7: 0.1 for x in range(3000)}
    with pytest.raises(ValueError, match=r"would add \d+ bytes to the page, of 250000 allowed"):
        figures.measurement_explorer({(str(i), 0): curve for i in range(6)}, control="c", xlabel="x")
    with pytest.raises(ValueError, match=r"would add \d+ bytes to the page, of 250000 allowed"):
        figures.bar_explorer({(str(i), d): [0.1] * 9 for i in range(16) for d in range(200)}, control="c")


def test_long_lines_are_thinned_and_large_charts_refused():
    depth = 5000
    small = figures.gradient_norm_explorer({("a", depth): np.ones(depth + 1)})
    assert len(rows(small.specification())[0]["layer"]) == 200
    many = {(f"a{i}", d): np.linspace(1, 2, d + 1) for i in range(12) for d in range(200, 220)}
    with pytest.raises(ValueError, match=r"would add \d+ bytes to the page, of 250000 allowed: show fewer"):
        figures.gradient_norm_explorer(many)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.spectrum_explorer({}), "spectra: expected a non-empty mapping"),
        (lambda: figures.spectrum_explorer({"a": [1]}), r"spectra: expected keys \(name, depth\), got 'a'"),
        (lambda: figures.spectrum_explorer({("a", 1): [1], ("b", 2): [1]}), r"\('a', 2\) is missing"),
        (lambda: figures.spectrum_explorer({("a", 1): [-1]}), r"\('a', 1\): .*not negative, got -1"),
        (lambda: figures.spectrum_explorer({("a", 1): []}), "at least one value"),
        (lambda: figures.spectrum_explorer({("a", 1): [1]}, laws={}), "laws: expected one for each pair"),
        (lambda: figures.spectrum_explorer({("a", 1): [np.inf]}), "finite values, got inf"),
        (lambda: figures.spectrum_explorer({("a", 1): [1]}, limits=(1, 2)), r"limits: .*got \(1, 2\)"),
        (lambda: figures.gradient_norm_explorer({("a", 3): [1, 1]}), r"depth \+ 1 = 4 norms, got 2"),
        (lambda: figures.gain_explorer({("a", 1.0): np.ones((2, 9))}), r"\(depth,\) or \(3, depth\), got \(2, 9\)"),
        (lambda: figures.gain_explorer({1.0: [1]}), r"curves: expected keys \(name, gain\), got 1.0"),
        (lambda: figures.curve_explorer({"q": {("a", 0): [np.nan]}}, control="m"), r"q\('a', 0\): .*finite"),
        (
            lambda: figures.curve_explorer({"q": {("a", 0): [1]}, "r": {("b", 0): [1]}}, control="m"),
            r"r has \(\['b'\], \[0\]\), where the first panel has \(\['a'\], \[0\]\)",
        ),
        (
            lambda: figures.curve_explorer({"q": {("a", 0): [1], ("a", 1): [1, 2]}}, control="m"),
            r"same number of layers, got \[1, 2\]",
        ),
        (
            lambda: figures.curve_explorer({"q": {("a", 0): [1]}}, control="m", limits={"r": (0, 1)}),
            r"limits: expected lower < upper for some of \['q'\], got r: 0, 1",
        ),
        (lambda: figures.curve_explorer({"q": {("a", 0): [1]}}, control="m", limits={"q": (1, 1)}), "got q: 1, 1"),
        (
            lambda: figures.curve_explorer({"q": {("a", 0): [1]}}, control="m", start=2),
            r"start: expected one of \[0\], got 2",
        ),
        (
            lambda: figures.curve_explorer({"q": {("a", 0): [1, 2]}}, control="m", places=[2, 2]),
            r"places: expected 2 increasing numbers, one for each layer, got \[2.0, 2.0\]",
        ),
        (
            lambda: figures.gradient_norm_explorer({("a", 1): [1, 1]}, dashed=["b"]),
            r"dashed: expected some of \['a'\], got \['b'\]",
        ),
        (
            lambda: figures.bar_explorer({("a", 1): 1}, control="d", outlined=["b"]),
            r"outlined: expected some of \['a'\], got \['b'\]",
        ),
        (
            lambda: figures.sheet_explorer(sheets(), control="Place", start=("flat", "torn")),
            r"start: expected one of \['flat', .*got 'torn'",
        ),
        (lambda: figures.training_explorer({("a", 0): [1]}, {"b": history([1, 1, 1])}), r"runs \['a'\], got \['b'\]"),
        (
            lambda: figures.training_explorer({("a", 0): [1]}, {"a": history([1, 1, 1])}, quantity="error"),
            "'accuracy' or 'loss', got 'error'",
        ),
        (
            lambda: figures.spectrum_explorer({(str(i), 1): [1] for i in range(13)}),
            "at most 12 series, got number 13",
        ),
        (lambda: figures.folding_explorer(folds=0), "folds must be a whole number of at least 1, got 0"),
        (lambda: figures.folding_explorer(folds=11), "folds: expected 0 to 10, got 11"),
        (lambda: figures.folding_explorer(turn=-1), "turn: expected 0 to 180, got -1"),
        (lambda: figures.folding_explorer(distance=0.1), "distance: expected 0.2 to 1.2, got 0.1"),
        (lambda: figures.folding_explorer(first=np.nan), "first must be a finite number, got nan"),
        (
            lambda: figures.sheet_explorer({("a", 0): (np.ones((1, 3, 2)), np.ones((1, 2)))}, control="d"),
            r"got \(1, 3",
        ),
        (lambda: figures.sheet_explorer({("a", 0): (np.ones((1, 3, 2)), 2 * np.ones((1, 3)))}, control="d"), "got 2"),
        (
            lambda: figures.sheet_explorer({"a": (np.ones((1, 3, 2)), np.ones((1, 3)))}, control="d"),
            "keys .name, val",
        ),
        (lambda: figures.sheet_explorer({}, control="d"), "sheets: expected a non-empty mapping"),
        (lambda: figures.image_explorer({}, control="d"), "images: expected a non-empty mapping"),
        (
            lambda: figures.image_explorer({("a", 1): ({"x": np.full((2, 2), 1.5)}, "")}, control="d"),
            r"images\('a', 1\)\['x'\]: expected numbers from 0 to 1, got 1.5 to 1.5",
        ),
        (
            lambda: figures.image_explorer(
                {("a", 1): ({"x": np.ones((2, 2))}, ""), ("a", 2): ({"y": np.ones((2, 2))}, "")}, control="d"
            ),
            r"expected the captions \['x'\], got \['y'\]",
        ),
        (lambda: figures.bar_explorer({}, control="d"), "values: expected a non-empty mapping"),
        (lambda: figures.bar_explorer({"a": 1}, control="d"), r"expected keys \(name, choice\), got 'a'"),
        (lambda: figures.bar_explorer({("a", 1): 1, ("b", 2): 1}, control="d"), r"\('a', 2\) is missing"),
        (lambda: figures.bar_explorer({("a", 1): [0.5, np.nan]}, control="d"), r"values\('a', 1\): .*finite.*nan"),
        (lambda: figures.bar_explorer({("a", 1): []}, control="d"), r"values\('a', 1\): expected at least one value"),
        (
            lambda: figures.bar_explorer({("a", 1): 1, ("a", "x"): 1}, control="d"),
            r"every choice a number or every choice a string, got \[1, 'x'\]",
        ),
        (
            lambda: figures.bar_explorer({("a", 1): [0.2, 0.9]}, control="d", limits=(0.5, 1)),
            r"limits: expected lower < upper around all values, 0.2 to 0.9, got \(0.5, 1\)",
        ),
        (lambda: figures.bar_explorer({("a", 1): 1}, control="d", limits=(1, 1)), r"lower < upper .*got \(1, 1\)"),
        (lambda: figures.measurement_explorer({}, control="d", xlabel="x"), "values: expected a non-empty mapping"),
        (
            lambda: figures.measurement_explorer({("a", 1): [1, 2]}, control="d", xlabel="x"),
            r"values\('a', 1\): expected a non-empty mapping, got list",
        ),
        (
            lambda: figures.measurement_explorer({("a", 1): {0: 1}}, control="d", xlabel="x"),
            r"values\('a', 1\): x must be a positive finite number, got 0",
        ),
        (
            lambda: figures.measurement_explorer({("a", 1): {3e-4: np.inf}}, control="d", xlabel="x"),
            r"values\('a', 1\) at 3×10⁻⁴: .*finite values, got inf",
        ),
        (
            lambda: figures.measurement_explorer({("a", 1): {3: [1, 2]}}, control="d", xlabel="x"),
            r"values\('a', 1\) at 3: expected an array with 0 axes, got shape \(2,\)",
        ),
        (
            lambda: figures.measurement_explorer({(str(i), 1): {1: 1} for i in range(13)}, control="d", xlabel="x"),
            "at most 12 series, got number 13",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
