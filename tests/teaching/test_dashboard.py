"""The dashboards without a browser: what the controls do, and what is shown for it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import nbformat
import pytest
import torch
from nbclient import NotebookClient

import orthobook as ob
from orthobook.data.sources import SOURCES
from orthobook.figures.scales import COLOURS, GREY, magnitude
from orthobook.teaching.dashboard import _base, _run, _svg, _training
from orthobook.training import train

DASHBOARDS = ("training", "spectrum")


def until(condition) -> None:
    """Wait for a condition; the limit is for a run that hangs."""
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def training():
    """A training dashboard at a small network, and afterwards no run."""
    dashboard = ob.dashboard.training()
    _ = dashboard.widget
    dashboard.network.depth.value, dashboard.network.size.value = 5, 8
    dashboard.steps.value = "20"
    yield dashboard
    dashboard.end()
    for run in dashboard.runs:
        run.join()


def finished(dashboard):
    """Start, wait for the end and return the run."""
    dashboard.start.click()
    dashboard.runs[-1].join()
    return dashboard.runs[-1]


class Steps:
    """Training whose step ``at`` of the first run calls a function before it ends."""

    def __init__(self, monkeypatch, at: int, call) -> None:
        self.at, self.call, self.runs = at, call, 0
        monkeypatch.setattr(_run, "train", self.train)

    def train(self, net, data, config, *, progress):
        self.runs += 1
        first = self.runs == 1
        for measurement in train(net, data, config, progress=progress):
            if first and measurement.step == self.at:
                self.call()
            yield measurement


# --- importing ---


def test_importing_the_package_imports_no_widgets():
    code = """
import sys, orthobook as ob
assert not {"ipywidgets", "IPython", "matplotlib", "altair"} & set(sys.modules)
ob.dashboard.spectrum()
assert "ipywidgets" in sys.modules
try:
    ob.dashbord
except AttributeError as error:
    assert "dashbord" in str(error)
else:
    raise SystemExit(1)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- training ---


def test_it_trains_as_the_package_does(training):
    training.mode.value, training.learning_rate.value = "penalised", "0.01"
    run = finished(training)
    data = ob.load("fashion-mnist-small")
    net = ob.build("shifted-fold", depth=5, width=8, inputs=784, classes=10, seed=0, threshold=3.0, device="cpu")
    config = ob.TrainingConfig(mode="penalised", learning_rate=0.01, steps=20)
    expected = [(m.step, m.loss, m.accuracy) for m in ob.train(net, data, config, progress=False)]
    assert [(m.step, m.loss, m.accuracy) for m in run.history] == expected
    spectrum = ob.singular_values(net, data.test.images[:4])
    assert run.look.step == 20
    assert torch.equal(torch.from_numpy(run.look.spectrum), spectrum.double())
    norms = ob.gradient_norms(net, data.test.images[:8], data.test.labels[:8])
    assert torch.equal(torch.from_numpy(run.look.norms), norms.median(dim=1).values.double())


def test_the_end_is_shown(training):
    before = training.picture.value
    run = finished(training)
    assert training.picture.value != before
    assert "finished, step 20 of 20" in training.status.value
    assert f"loss {run.history[-1].loss:.3f}" in training.status.value
    assert training.progress.value == training.progress.max == 20
    assert training.pause.disabled
    assert training.stop.disabled
    assert not training.start.disabled


def test_stop_takes_effect_after_the_present_step(training, monkeypatch):
    Steps(monkeypatch, 3, training.stop.click)
    run = finished(training)
    assert (run.state, len(run.history)) == ("stopped", 3)
    assert "stopped, step 3 of 20" in training.status.value


def test_pause_takes_effect_after_the_present_step_and_nothing_is_lost(training, monkeypatch):
    undisturbed = [m.loss for m in finished(training).history]
    Steps(monkeypatch, 3, training.pause.click)
    training.start.click()
    run = training.runs[-1]
    until(lambda: "paused, step 3 of 20" in training.status.value)
    assert len(run.history) == 3
    assert training.pause.description == "Go on"
    time.sleep(0.1)  # in which a run of this size would take many steps
    assert len(run.history) == 3
    training.pause.click()
    run.join()
    assert run.state == "finished"
    assert [m.loss for m in run.history] == undisturbed
    assert training.pause.description == "Pause"


def test_a_paused_run_can_be_stopped(training, monkeypatch):
    Steps(monkeypatch, 3, training.pause.click)
    training.start.click()
    until(lambda: training.runs[-1].state == "paused")
    training.stop.click()
    training.runs[-1].join()
    assert (training.runs[-1].state, len(training.runs[-1].history)) == ("stopped", 3)


def test_a_second_start_ends_the_first_run_and_stands_beside_it(training, monkeypatch):
    reached, go = threading.Event(), threading.Event()
    Steps(monkeypatch, 3, lambda: (reached.set(), go.wait()))
    training.start.click()
    reached.wait()
    first = training.runs[-1]
    training.network.architecture.value = "residual"
    training.start.click()
    second = training.runs[-1]
    assert not second.history  # it waits for the first one's step
    go.set()
    second.join()
    assert (first.state, second.state) == ("stopped", "finished")
    assert first.history[-1].step <= 3
    assert training.runs in ([first, second], [second])  # the first has steps to show, or none
    assert second.choice.architecture == "residual"


def test_the_run_before_stays_in_the_picture_unless_that_is_switched_off(training):
    one = finished(training)
    training.network.architecture.value = "residual"
    two = finished(training)
    assert training.runs == [one, two]
    assert all(colour in training.picture.value for colour in COLOURS[:2])
    assert "shifted-fold" in training.status.value
    assert "residual" in training.status.value
    training.keep.value = False
    three = finished(training)
    assert training.runs == [three]
    assert sum(colour in training.picture.value for colour in COLOURS[:2]) == 1


def test_running_the_cell_again_ends_the_run(training, monkeypatch):
    Steps(monkeypatch, 3, lambda: ob.dashboard.training().widget)
    run = finished(training)
    assert (run.state, len(run.history)) == ("stopped", 3)


def test_closing_the_widget_ends_the_run(training, monkeypatch):
    Steps(monkeypatch, 3, training.widget.close)
    run = finished(training)
    assert (run.state, len(run.history)) == ("stopped", 3)


def test_clearing_the_only_output_ends_the_run(training, monkeypatch):
    """The front end counts the places where the widget is shown."""

    def seen(places):
        training.widget._view_count = places

    seen(1)
    seen(2)  # a second view of the same output
    Steps(monkeypatch, 3, lambda: (seen(1), training.runs[-1].pause(), seen(0)))
    run = finished(training)
    assert (run.state, len(run.history)) == ("stopped", 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: setattr(d.learning_rate, "value", "-1"), "learning rate must be a positive finite number, got -1"),
        (lambda d: setattr(d.learning_rate, "value", "1e400"), "learning rate must be a positive finite number"),
        (
            lambda d: setattr(d.learning_rate, "value", "0,003"),
            "learning rate must be a number, or empty for the default, got &#x27;0,003&#x27;",
        ),
        (lambda d: setattr(d.steps, "value", "0"), "steps must be a whole number of at least 1"),
        (lambda d: setattr(d.steps, "value", "2.5"), "steps must be a whole number of at least 1, got 2.5"),
        (lambda d: setattr(d.network.options["folds"], "value", "few"), "folds must be a number"),
        (lambda d: setattr(d.network.options["folds"], "value", "99"), "from 0 to the width 8, got 99"),
        (
            lambda d: (setattr(d.network.depth, "value", 100), setattr(d.network.architecture, "value", "crelu")),
            "doubles the width",
        ),
    ],
    ids=[
        *("negative rate", "infinite rate", "decimal comma", "no steps", "half a step"),
        *("no number", "too many folds", "too deep"),
    ],
)
def test_a_bad_value_is_answered_in_words_before_the_start(training, change, words):
    training.network.architecture.value = "partial-fold"
    change(training)
    assert words in training.remark.value
    training.start.click()
    assert words in training.remark.value
    assert training.runs == []


def test_an_empty_field_means_the_default_that_it_shows(training):
    training.learning_rate.value = training.steps.value = ""
    _, config = training._check()
    assert config == ob.TrainingConfig()
    assert float(training.learning_rate.placeholder) == config.learning_rate
    assert training.steps.placeholder == str(config.steps)


def test_divergence_is_answered_in_words(training, capsys):
    training.mode.value, training.learning_rate.value = "free", "1e30"
    run = finished(training)
    assert run.state == "failed"
    said = training.remark.value + training.status.value
    assert said.count(f"training diverged at step {len(run.history) + 1}") == 1
    assert f"failed, step {len(run.history) + 1} of 20" in said
    assert "Try a learning rate below 1e+30, such as the default 0.003" in said
    assert "Traceback" not in training.status.value + "".join(capsys.readouterr())
    assert training.progress.bar_style == "danger"
    training.learning_rate.value = "0.001"
    assert finished(training).state == "finished"  # and one goes on


def test_a_loss_that_grew_is_said_and_does_not_flatten_the_other_run(training):
    good = finished(training)
    training.mode.value, training.learning_rate.value = "free", "3"
    bad = finished(training)
    largest = max(m.loss for m in bad.history)
    assert (bad.state, bad.history[-1].loss > 10) == ("finished", True)
    said = training.status.value
    assert said.count("The loss grew") == 1
    assert "Try a learning rate below 3, such as the default 0.003" in said
    assert training.progress.bar_style == "warning"
    losses = [[m.loss for m in run.history] for run in (good, bad)]
    assert _training.loss_range(losses) == (10, f" (up to {magnitude(largest)}, above 10 at the edge)")
    assert "above 10 at the edge" in training.picture.value


@pytest.mark.parametrize(
    ("losses", "highest", "beyond"),
    [
        ([], 2.5, ""),
        ([[2.3, 0.5], [2.9, 0.1]], 3, ""),
        ([[2.3, 12.0]], 10, " (up to 12.0, above 10 at the edge)"),
        ([[50.0, 3.0]], 50, ""),  # a run that starts badly and improves
        ([[50.0, 300.0]], 100, " (up to 300, above 100 at the edge)"),
        ([[50.0, 300.0], [2.0]], 10, " (up to 300, above 10 at the edge)"),
    ],
)
def test_the_chart_of_losses_is_for_those_that_learn(losses, highest, beyond):
    assert _training.loss_range(losses) == (highest, beyond)


def test_a_run_that_failed_does_not_displace_the_good_one_before(training):
    good = finished(training)
    colour = training._colours[good]
    training.mode.value, training.learning_rate.value = "free", "1e30"
    bad = finished(training)
    assert training.runs == [good, bad]
    assert bad.state == "failed"
    assert bad.history
    training.learning_rate.value = "0.003"
    last = finished(training)
    assert training.runs == [good, last]
    assert training._colours[good] == colour != training._colours[last]
    assert training.status.value.count("(the run before)") == 1


def test_data_that_cannot_be_had_are_named(training, monkeypatch, tmp_path):
    def unreachable(name):
        raise ConnectionError("HTTPSConnectionPool(host='www.cs.toronto.edu', port=443)")

    missing = dataclasses.replace(SOURCES["cifar10"], cache=tmp_path)
    monkeypatch.delenv("ORTHOBOOK_DATA", raising=False)
    monkeypatch.setitem(SOURCES, "cifar10", missing)
    monkeypatch.setattr(_run, "load_once", unreachable)
    training.data.value = "cifar10"
    assert "The files of cifar10 are not on this machine" in training.remark.value
    assert finished(training).state == "failed"
    said, _, details = training.status.value.partition("<details>")
    assert "cifar10 is not on this machine and could not be downloaded" in said
    assert "cifar-10-binary.tar.gz" in said
    assert str(tmp_path) in said
    assert "HTTPSConnectionPool" not in said
    assert "HTTPSConnectionPool" in details
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    training.steps.value = "21"
    assert "not on this machine" not in training.remark.value


def test_it_says_that_the_network_is_built_and_stops_after_that(training, monkeypatch):
    said, build = [], _base.Choice.build

    def watched(choice, data):
        said.append(training.status.value)
        training.pause.click()
        said.append(training.status.value)
        training.stop.click()
        said.append(training.status.value)
        return build(choice, data)

    monkeypatch.setattr(_base.Choice, "build", watched)
    run = finished(training)
    states = ["building the network", "about to pause", "about to stop"]
    assert [f": {state}, step 0 of 20" in words for state, words in zip(states, said, strict=True)] == [True] * 3
    assert (run.state, run.history) == ("stopped", [])


# --- how long it takes ---


def test_the_time_that_is_left_is_known_after_ten_steps_and_pauses_do_not_count(monkeypatch):
    clock, seen = [0.0], []
    monkeypatch.setattr(_run, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def two_seconds_each(net, data, config, *, progress):
        for measurement in train(net, data, config, progress=progress):
            seen.append(run.remaining)
            clock[0] += 2
            if measurement.step == 12:
                run.pause()
            yield measurement

    def show():
        if run.state == "paused":
            clock[0] += 1000
            run.resume()

    monkeypatch.setattr(_run, "train", two_seconds_each)
    run = _run.Run(_base.Choice(depth=2, size=8), ob.TrainingConfig(steps=20), show)
    run.run()
    assert clock[0] == 1040
    assert seen == [None] * 10 + [2 * (20 - taken) for taken in range(10, 20)]
    assert run.remaining == 0


def test_the_time_that_is_left_is_said_while_a_run_goes_on():
    run = _run.Run(_base.Choice(), ob.TrainingConfig())
    assert "left" not in _training._described(run, before=False)
    run.state, run.remaining = "training", 90.0
    assert _training._described(run, before=False).endswith("step 0 of 300, 01:30 left")
    run.state = "stopped"
    assert "left" not in _training._described(run, before=False)


@pytest.mark.parametrize("spent", [0.01, 1.0])
def test_pictures_take_a_quarter_of_the_time_at_most(monkeypatch, spent):
    clock = [100.0]
    monkeypatch.setattr(_run.time, "perf_counter", lambda: clock[0])
    pace, drawing = _run.Pace(), 0.0

    def draw():
        nonlocal drawing
        clock[0] += spent
        drawing += spent

    while clock[0] < 200:
        if pace.due():
            pace.spend(draw)
        clock[0] += 0.001  # a step
    assert drawing / 100 <= 0.25 + 0.01
    assert drawing > 0


# --- the network ---


@pytest.mark.parametrize("name", ob.architectures())
def test_every_architecture_can_be_chosen(training, name):
    training.network.depth.value = 2
    training.network.architecture.value = name
    data = ob.load("fashion-mnist-small")
    net = training.network.choice().build(data)
    assert net.architecture == name
    assert net.depth == 2
    assert net(data.test.images[:8]).shape == (8, 10)


def test_options_reach_the_network(training):
    assert set(training.network.options) == {"threshold"}
    training.network.options["threshold"].value = 0.7
    split = ob.Split(torch.zeros(1, 3 * 32 * 32), torch.zeros(1, dtype=torch.long))
    coloured = ob.Dataset("colours", train=split, test=split, classes=("none",), image_shape=(3, 32, 32))
    net = training.network.choice().build(coloured)
    assert net.block.threshold == 0.7
    assert net.inputs == 3 * 32 * 32
    training.network.architecture.value = "conv-shifted-fold"
    assert training.network.size.description == "channels"
    net = training.network.choice().build(coloured)
    assert (net.width, net.input_shape) == (8, (3, 32, 32))
    training.network.architecture.value = "modified-residual"
    training.network.options["folds"].value = "3"
    assert training.network.choice().options["folds"] == 3


# --- spectrum ---


def test_the_spectrum_is_the_package_s():
    dashboard = ob.dashboard.spectrum()
    _ = dashboard.widget
    before = dashboard.picture.value
    dashboard.network.architecture.value = "smooth-fold"
    dashboard.network.depth.value, dashboard.network.size.value, dashboard.seed.value = 17, 16, 3
    dashboard.network.options["epsilon"].value = 0.5
    net = ob.build("smooth-fold", depth=17, width=16, inputs=784, classes=10, seed=3, epsilon=0.5, device="cpu")
    images = ob.load("fashion-mnist-small").test.images[:4]
    assert torch.equal(dashboard.values, ob.singular_values(net, images))
    assert dashboard.picture.value != before
    assert f"{(dashboard.values - 1).abs().max():.3f}"[:4] in dashboard.output.value


def test_the_axis_of_the_spectrum_only_grows_until_another_architecture_is_chosen():
    dashboard = ob.dashboard.spectrum()
    _ = dashboard.widget

    def ticks():
        (panel,) = dashboard.panels()
        return [text.text for text in ElementTree.fromstring(panel).findall(".//{*}text")][:-3]

    dashboard.network.options["branch_scale"].value = "0.5"
    dashboard.network.depth.value = 1
    narrow = ticks()
    dashboard.network.depth.value = 60
    wide = ticks()
    assert wide != narrow
    dashboard.network.depth.value = 1
    assert ticks() == wide
    dashboard.network.architecture.value = "linear"
    assert ticks() == ["0.1", "1", "10"]


def test_one_layer_is_one_layer(training):
    assert str(_base.Choice(depth=1)) == "shifted-fold, 1 layer, width 64"
    assert _svg.Axis(0, 1, whole=True).ticks() == [(0, "0"), (1, "1")]


def test_a_network_that_cannot_be_is_answered_in_words():
    dashboard = ob.dashboard.spectrum()
    _ = dashboard.widget
    dashboard.network.architecture.value = "crelu"
    assert "doubles the width" in dashboard.output.value
    assert dashboard.picture.value == ""
    dashboard.network.architecture.value = "linear"
    assert "σ from <b>1.00</b> to <b>1.00</b>" in dashboard.output.value


# --- display ---


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_built_book_shows_a_still_picture(monkeypatch, name):
    monkeypatch.setenv("ORTHOBOOK_BUILD", "1")
    monkeypatch.setattr(_training, "STILL_STEPS", 2)
    dashboard = getattr(ob.dashboard, name)()
    bundle = dashboard.bundle()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert "widget" not in vars(dashboard)  # no widget was made, which would be one without a kernel
    assert "needs a running kernel" in bundle["text/html"]
    assert (
        f"colab.research.google.com/github/orthobook/orthobook/blob/main/book/{dashboard.chapter}"
        in bundle["text/html"]
    )
    assert "currentColor" in bundle["text/html"]  # the page's ink, in light and in dark mode
    assert GREY not in bundle["text/html"]
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert len(bundle["image/png"]) < 50_000
    assert "running kernel" in bundle["text/plain"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_notebook_shows_the_widget_with_a_picture_to_fall_back_on(monkeypatch, name):
    dashboard = getattr(ob.dashboard, name)()
    bundle = dashboard.bundle()
    view = "application/vnd.jupyter.widget-view+json"
    assert set(bundle) == {view, "image/svg+xml", "text/plain"}
    assert bundle[view]["model_id"] == dashboard.widget.model_id
    ElementTree.fromstring(bundle["image/svg+xml"])
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert set(dashboard.bundle()) == {view, "text/plain"}


def test_a_notebook_that_runs_by_itself_shows_them_and_trains_nothing():
    cells = [f"import orthobook as ob\nob.dashboard.{name}()" for name in DASHBOARDS]
    cells.append("import threading\nprint([t.name for t in threading.enumerate() if t.name == 'orthobook training'])")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=100).execute()
    *views, last = [cell.outputs for cell in notebook.cells]
    assert all(len(outputs) == 1 and outputs[0].output_type == "display_data" for outputs in views)
    assert last[0].text == "[]\n"


def test_charts_are_valid_and_small():
    steps = range(1, 5001)
    x, y = _svg.Axis(0, 5000), _svg.Axis(0, 3)
    panel = _svg.lines("a < b", {"#0072b2": (steps, [2.0] * 5000)}, x, y)
    tree = ElementTree.fromstring(panel)
    assert len(panel) < 10_000
    points = tree.find(".//{*}polyline").get("points").split()
    assert points[0] != points[-1]
    assert {point.split(",")[1] for point in points} == {points[0].split(",")[1]}
    histogram = ElementTree.fromstring(_svg.histograms("σ", [("#0072b2", [1.0, 1.0, 1.0, 0.0])]))
    assert sorted(round(float(r.get("height"))) for r in histogram.findall(".//{*}rect"))[1] == 3 * round(
        min(float(r.get("height")) for r in histogram.findall(".//{*}rect"))
    )
    labels = [text.text for text in histogram.findall(".//{*}text")]
    assert "≤10⁻⁸" in labels
    assert "1" in labels
    whole = ElementTree.fromstring(_svg.picture([panel] * 3))
    assert len(whole.findall("{*}svg")) == 3
