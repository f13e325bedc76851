"""The benchmarks run, compare equals with equals, and print what they say. No test asserts a time."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import orthobook as ob
from orthobook.orthogonal import haar
from orthobook.study.store import Store

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
MAPS = ("cayley", "matrix_exp", "householder")
SPREAD = re.compile(r"(\S+) \[(\S+), (\S+)\]")


@pytest.fixture
def benchmark_module(monkeypatch):
    """Import a benchmark as if its folder were the working folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def run(benchmark_module, monkeypatch, capsys):
    """Run a benchmark as from the command line, but in this process, where torch is loaded; return what it prints."""
    threads = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        benchmark_module(name).main()
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)


def table(output, title):
    """Return the rows of the table with a title, as name and cells."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    end = lines.index("", start)
    cells = [re.split(r"  +", line.strip()) for line in lines[start + 2 : end]]
    return {name: row for name, *row in cells}


def check_spreads(cells):
    for cell in cells:
        median, low, high = map(float, SPREAD.fullmatch(cell).groups())
        assert 0 <= low <= median <= high < float("inf")
        assert high > 0


def test_training_step_prints_and_stores_a_row_for_every_candidate(run, tmp_path):
    store = tmp_path / "benchmarks.jsonl"
    size = ("--depth=3", "--width=8", "--batch=4", "--repetitions=2", "--threads=1")
    printed = run("training_step", *size, f"--store={store}")
    assert f"torch {torch.__version__}" in printed
    rows = table(printed, "one training step")
    always = {"matrix products alone", "nn.Sequential, Adam", "nn.Sequential, fused Adam"}
    always |= {f"orthobook, {mode}" for mode in ("free", "constrained", "penalised")}
    always |= {f"{kind}, {form}" for kind in MAPS for form in ("layer by layer", "one stack")}
    assert rows.keys() >= always  # more where optional libraries are installed
    for cells in rows.values():
        assert len(cells) == 3
        check_spreads(cells)
    assert rows["orthobook, free"][1] == "1.00 [1.00, 1.00]"
    assert rows["orthobook, constrained"][2] == "1.00 [1.00, 1.00]"
    (record,), stored = Store(store).records(), Store(store).records()[0].result
    assert record.run.benchmark == "training step"
    assert record.birth["torch"] == torch.__version__
    assert record.run.options == {"repetitions": 2, "threads": 1, "seed": 0, "depth": 3, "width": 8, "batch": 4}
    assert stored["tables"]["one training step"].keys() == rows.keys()
    assert stored["iterations of the retraction in a step"] >= 1
    facts = ("free / matrix products alone", "constrained / free", "fastest orthogonal peer / constrained")
    for fact in facts:
        assert f"{fact} " in printed
        median, low, high = stored[fact]
        assert 0 < low <= median <= high


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch itself uses it
def test_jacobian_prints_times_differences_and_memory(run):
    printed = run("jacobian", "--depth=8", "--width=8", "--batch=4", "--repetitions=2", "--threads=1")
    rows = table(printed, "Jacobian")
    check_spreads(rows.pop("matrix products alone"))
    assert len(rows) == 5
    for name, (*spreads, difference) in rows.items():
        check_spreads(spreads)
        assert 0 <= float(difference) < 1e-5, name
    memory = {name: list(map(float, cells)) for name, cells in table(printed, "peak memory").items()}
    assert memory.keys() == rows.keys()
    # 4 inputs, 8 × 8 float32: Jacobians before and after a layer take 2 KiB. Autograd stores every layer's state.
    assert len(set(memory["orthobook.jacobian"])) == 1
    assert memory["orthobook.jacobian"][0] >= 0.002
    assert memory["autograd by rows, frozen"][0] < memory["autograd by rows, frozen"][2]


def test_every_architecture_has_a_row(run):
    printed = run("architectures", "--depth=2", "--width=8", "--batch=4", "--repetitions=1", "--threads=1")
    rows = table(printed, "training step by architecture")
    assert tuple(rows) == ob.architectures("square")
    for cells in rows.values():
        check_spreads(cells)


def test_depth_prints_time_and_memory_for_each_layer(run):
    printed = run("depth", "--width=8", "--batch=16", "--depths", "9", "36", "--repetitions=1", "--threads=1")
    rows = table(printed, "constrained training step")
    assert list(rows) == [f"depth {depth}, {kept}" for depth in (9, 36) for kept in ("all states", "sqrt(L) states")]
    memory = {name: float(cells[2]) for name, cells in rows.items()}
    assert memory["depth 36, sqrt(L) states"] < memory["depth 36, all states"]


def test_initialisation_prints_its_rows(run):
    printed = run("initialisation", "--depth=3", "--width=4", "--repetitions=1", "--threads=1")
    rows = table(printed, "orthogonal weights")
    assert len(rows) == 2
    for cells in rows.values():
        check_spreads(cells)


def test_startup_runs_what_it_times(run, benchmark_module, monkeypatch):
    def once(calls, repetitions):  # without the rounds that a measurement needs: each call takes seconds
        return {name: [1.0 + call().returncode] for name, call in calls.items()}

    monkeypatch.setattr(benchmark_module("startup"), "interleaved", once)
    rows = table(run("startup", "--repetitions=1", "--threads=1"), "startup")
    assert list(rows) == ["import torch", "import orthobook", "a chapter's first figure"]
    for cells in rows.values():
        check_spreads(cells)


def test_precision_trains_in_both_and_keeps_the_weights_orthogonal(run):
    small = ("--depth=3", "--width=8", "--batch=16", "--steps=4", "--seeds=2", "--repetitions=1", "--threads=1")
    printed = run("precision", *small)
    rows = table(printed, "products")
    assert rows.keys() == {"full", "bfloat16"}
    for time, accuracy, spread, error in rows.values():
        check_spreads([time])
        assert 0 <= float(accuracy) <= 1
        assert 0 <= float(spread) <= 1
        assert float(error) < 1e-5  # bfloat16 keeps three digits


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler, and there is no g++ here")
def test_compiled_layers_have_the_gradients_of_the_others():
    small = ("--width=8", "--batch=4", "--depths", "2", "--repetitions=1", "--threads=1")
    command = [sys.executable, str(BENCHMARKS / "compiled.py"), *small]  # the compiler gets a process of its own
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout, "forward and back")
    assert [name.partition(", ")[0] for name in rows] == ["depth 2"] * 3
    for cells in rows.values():
        assert float(cells[2]) < 1e-5


def test_the_deep_network_is_measured_after_its_training(run, tmp_path):
    store = tmp_path / "benchmarks.jsonl"
    small = ("--depth=10", "--width=8", "--batch=16", "--steps=150", "--data=fashion-mnist-small", "--device=cpu")
    run("ten_thousand_layers", *small, f"--store={store}")
    stored = Store(store).records()[0].result
    assert stored["steps"] == 150
    assert len(stored["loss"]) == len(stored["accuracy of the batch"]) == 100
    assert 0.1 < stored["test accuracy"] <= 1  # better than a guess
    assert stored["largest |σ − 1| of the whole Jacobian"] < 1e-4
    assert stored["gradient norm, first layer / last"] == pytest.approx(1, abs=1e-4)


def test_the_suite_names_what_it_does_not_know(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("run_all", "flight.py")
    assert "no benchmark flight.py; there are: architectures.py" in capsys.readouterr().err


def test_the_suite_runs_what_is_chosen_and_stores_it(benchmark_module, monkeypatch, tmp_path):
    suite, store = benchmark_module("run_all"), tmp_path / "new" / "benchmarks.jsonl"
    monkeypatch.setattr(suite, "SUITE", ("initialisation.py --depth 2 --width 4 --repetitions 1", "startup.py --depth"))
    monkeypatch.setattr(sys, "argv", ["run_all.py", f"--store={store}"])
    assert suite.main() == 1  # the second has no such option
    assert [record.run.benchmark for record in Store(store).records()] == ["initialisation"]


def test_every_benchmark_is_in_the_suite(benchmark_module):
    scripts = {path.name for path in BENCHMARKS.glob("*.py") if "report.close()" in path.read_text(encoding="utf-8")}
    assert {line.split()[0] for line in benchmark_module("run_all").SUITE} == scripts


def test_what_is_stored_is_not_measured_again(run, tmp_path, capsys):
    size = ("--depth=2", "--width=4", "--repetitions=1", f"--store={tmp_path / 'benchmarks.jsonl'}")
    run("initialisation", *size)
    with pytest.raises(SystemExit):
        run("initialisation", *size)
    assert "holds this benchmark with these options" in capsys.readouterr().out
    assert len(Store(tmp_path / "benchmarks.jsonl").records()) == 1


@pytest.mark.parametrize("script", ["training_step", "jacobian"])
def test_a_size_below_one_is_refused(run, script, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(script, "--depth=0")
    assert "must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("orthogonal_map", [None, *MAPS])
@pytest.mark.parametrize("form", ["sequential", "stacked"])
def test_the_candidates_are_one_network(benchmark_module, generator, form, orthogonal_map):
    module = benchmark_module("training_step")
    net = module.network(Namespace(depth=5, width=8, seed=0))
    with torch.no_grad():
        net.trunk["bias"].normal_(generator=generator)
    x = torch.randn(6, module.INPUTS, generator=generator)
    peer = getattr(benchmark_module("peers"), form)(net, orthogonal_map)
    torch.testing.assert_close(peer(x), net(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("architecture", ob.architectures("square"))
def test_a_list_of_layers_is_the_network(benchmark_module, generator, architecture):
    module = benchmark_module("training_step")
    net = module.network(Namespace(depth=3, width=8, seed=0), architecture)
    x = torch.randn(6, module.INPUTS, generator=generator)
    torch.testing.assert_close(benchmark_module("peers").layer_by_layer(net)(x), net(x), rtol=0, atol=2e-5)


def test_iterations_of_the_retraction_are_counted(benchmark_module, generator):
    module = benchmark_module("training_step")
    stack = haar(3, 6, 6, generator=generator)
    counts = []
    for scale in (1, 1.01, 1.2):
        with module.Retractions() as counter:
            ob.retract(scale * stack)
        counts.append(counter.iterations)
    # One iteration is always taken; further away it takes more, and each cubes the error.
    assert 1 == counts[0] < counts[1] < counts[2] < 6


def test_peak_memory_counts_what_is_alive_at_one_time(benchmark_module):
    def together():
        return [torch.empty(256) for _ in range(4)]

    def in_turn():
        for _ in range(4):
            torch.empty(256)

    peaks = benchmark_module("memory").peak_bytes({"together": together, "in turn": in_turn})
    assert peaks == {"together": 4 * 1024, "in turn": 1024}
