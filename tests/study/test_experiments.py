"""Runs, records, the store that keeps them, and sweeps that are killed, interrupted or run elsewhere."""

import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, fields, replace

import experiment_tasks
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import orthobook as ob
from orthobook.study import experiments
from orthobook.study.experiments import Record, Run, Store, execute, execute_on_one_thread, grid, sweep


def run(**changes):
    values = {"architecture": "shifted-fold", "depth": 4, "width": 8, "steps": 12, "batch_size": 32}
    return Run(**values | changes)


def record(**changes):
    return Record(run=run(**changes), status="finished", result={"accuracy": 0.5}, birth={"seconds": 1.0})


def outcome(record):
    """Return what must not depend on where, when or after how many interruptions a run was executed."""
    return record.run, record.status, record.reason, record.result


def outcomes(records):
    return sorted((outcome(record) for record in records), key=lambda item: item[0].key)


TWELVE = grid(
    architecture=["shifted-fold", "residual", "maxmin"],
    depth=[3, 5],
    learning_rate=[1e-3, 1e-2],
    width=8,
    steps=300,
    batch_size=32,
)


@pytest.fixture(scope="module")
def undisturbed():
    return outcomes(map(execute_on_one_thread, TWELVE))


# --- runs ---


def test_options_left_out_are_filled_in():
    """So a stored run keeps its meaning when a default changes. Those that depend on the network stay open."""
    assert run().options == {"threshold": 3.0}
    assert run(architecture="residual").options == {}
    assert run(options={"threshold": 3}).key == run().key
    assert run(options={"threshold": 2.5}).key != run().key


def test_numbers_of_any_type_make_the_same_run():
    assert run(learning_rate=1).key == run(learning_rate=1.0).key
    numbers = {"depth": np.int64(4), "learning_rate": np.float64(1), "options": {"threshold": np.int32(3)}}
    assert Record.from_json(replace(record(), run=run(**numbers)).to_json()).run == run(learning_rate=1.0)


@pytest.mark.parametrize("name", [field.name for field in fields(Run)])
def test_the_key_depends_on_every_field(name):
    other = {
        "architecture": "zigzag",
        "options": {"threshold": 1.0},
        "data": "mnist",
        "judged_on": "validation",
        "mode": "free",
        "depth_exponent": 1.0,
        "learning_rate": 0.1,
        "penalty": 0.1,
    }.get(name, 7)
    held_out = {"held_out": 10} if name == "judged_on" else {}
    assert run(**held_out, **{name: other}).key != run(**held_out).key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet"}, "unknown architecture 'resnet'"),
        ({"options": {"tau": 1}}, "shifted-fold has no option 'tau'; allowed: threshold"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"width": 2.5}, "width must be a whole number of at least 1, got 2.5"),
        ({"held_out": -1}, "held_out must be a whole number of at least 0, got -1"),
        ({"data": "imagenet"}, "unknown data set 'imagenet'; allowed: fashion-mnist-small"),
        ({"judged_on": "train"}, "judged_on must be one of test, validation, got 'train'"),
        ({"judged_on": "validation"}, "judged_on='validation' needs held_out examples, got held_out=0"),
        ({"mode": "strict"}, "unknown mode 'strict'"),
        ({"learning_rate": -1.0}, "learning_rate must be a positive finite number, got -1.0"),
        ({"depth_exponent": math.nan}, "depth_exponent must be a finite number, got nan"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"architecture": "maxmin", "width": 7}, "maxmin needs a width that is a multiple of 2"),
        (
            {"architecture": "partial-fold", "options": {"folds": 9}},
            "folds must be a whole number from 0 to the width 8",
        ),
        ({"options": {"channels": 3}}, "channels is no option of a run"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_a_grid_is_every_combination():
    runs = grid(architecture=["shifted-fold", "partial-fold"], depth=[2, 3], threshold=[0, 1.5], learning_rate=0.1)
    found = {(r.architecture, r.depth, r.options["threshold"], r.learning_rate) for r in runs}
    assert len(runs) == 8
    assert found == set(itertools.product(["shifted-fold", "partial-fold"], [2, 3], [0.0, 1.5], [0.1]))


def test_values_of_a_grid_may_be_any_iterable():
    rates = np.logspace(-4, -2, 3)
    runs = grid(architecture="absolute", depth=range(2, 4), learning_rate=rates, seed={0, 1})
    assert len(runs) == len(set(runs)) == 12
    assert {one.learning_rate for one in runs} == set(rates.tolist())


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "a grid needs architecture and depth, got no keys"),
        ({"architecture": "absolute"}, "a grid needs architecture and depth, got architecture"),
        ({"architecture": "absolute", "depth": []}, "the grid is empty: depth has no values"),
        ({"architecture": "absolute", "depth": 3, "rate": 1}, "unknown grid key 'rate'; allowed: architecture, batch"),
        (
            {"architecture": ["shifted-fold", "absolute"], "depth": 3, "threshold": [1, 2]},
            "unknown grid key 'threshold'; allowed: .*width",
        ),
        (
            {"architecture": "shifted-fold", "depth": 3, "tau": 1},
            "unknown grid key 'tau'; .* or an option of shifted-fold: threshold",
        ),
        ({"architecture": "absolute", "depth": [3, 0]}, "depth must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_grids_are_errors(axes, message):
    with pytest.raises(ValueError, match=message):
        grid(**axes)


# --- one run ---


@pytest.mark.parametrize("mode", ["free", "penalised", "constrained"])
def test_a_record_is_what_training_by_hand_gives(mode):
    """The witness uses the package's public functions alone, on a split made by hand."""
    data = ob.load("fashion-mnist-small")
    made = execute(run(mode=mode, held_out=1000, judged_on="validation", seed=3))
    data, validation = data.held_out(1000)
    net = ob.build("shifted-fold", depth=4, width=8, inputs=784, classes=10, seed=3)
    config = ob.TrainingConfig(mode=mode, steps=12, batch_size=32, seed=3)
    history = list(ob.train(net, data, config, progress=False))
    judged = ob.evaluate(net, validation)
    assert made.status == "finished"
    assert (made.accuracy, made.result["loss"]) == (judged.accuracy, pytest.approx(judged.loss, rel=1e-8))
    assert made.result["curve"] == pytest.approx([step.loss for step in history], rel=1e-8)
    assert made.result["parameters"] == 8 * 784 + 8 + 4 * (64 + 8) + 80 + 10
    assert made.result["multiplications"] == 8 * 784 + 4 * 64 + 80
    last, ends = made.result["milestones"][-1], torch.tensor([0, 0.5, 1], dtype=torch.float64)
    values = ob.singular_values(net, validation.images[:8], dtype=torch.float64)
    assert last["orthogonality_error"] == pytest.approx(net.orthogonality_error(), rel=1e-8)
    assert last["singular_values"] == pytest.approx(values.flatten().quantile(ends).tolist())
    assert [milestone["step"] for milestone in made.result["milestones"]] == [0, 1, 3, 10, 12]


def test_a_long_curve_has_means_over_equal_parts():
    made = execute(run(steps=50))
    net = ob.build("shifted-fold", depth=4, width=8, inputs=784, classes=10)
    losses = [step.loss for step in ob.train(net, ob.load(run().data), run(steps=50).training, progress=False)]
    assert len(made.result["curve"]) == 20
    # the first of 20 parts holds steps 1 to 3 of 50, the last 49 and 50
    assert made.result["curve"][0] == pytest.approx(sum(losses[:3]) / 3, rel=1e-8)
    assert made.result["curve"][-1] == pytest.approx(sum(losses[48:]) / 2, rel=1e-8)


def test_images_are_a_run_too():
    made = execute(run(architecture="conv-shifted-fold", width=4, steps=2))
    assert made.status == "finished"
    assert "singular_values" not in made.result["milestones"][0]


def test_the_birth_certificate():
    birth = execute(run(steps=1)).birth
    assert set(birth) >= {"date", "orthobook", "torch", "numpy", "python", "device", "threads", "seconds"}
    assert (birth["orthobook"], birth["torch"]) == (ob.__version__, torch.__version__)
    assert birth["device"].startswith(str(ob.best_device()))
    assert birth["seconds"] >= birth["training_seconds"] > 0


def test_a_diverged_run_is_recorded_with_the_step():
    made = execute(run(architecture="relu-he", depth=30, learning_rate=1e12, depth_exponent=0.0))
    assert made.status == "diverged"
    assert "training diverged at step" in made.reason
    assert made.accuracy == 0.1
    assert Record.from_json(made.to_json()) == made


def test_a_run_that_cannot_be_run_is_recorded_with_the_reason(monkeypatch):
    def load(name):
        raise ConnectionError("no network here")

    experiments._data.cache_clear()
    monkeypatch.setattr(experiments, "load", load)
    made = execute(run())
    assert (made.status, made.reason) == ("failed", "ConnectionError: no network here")
    assert math.isnan(made.accuracy)
    monkeypatch.undo()
    assert "batch_size must be at most the 8000 training examples" in execute(run(batch_size=9000)).reason


# --- checkpoints ---


def interrupt_at(step, number):
    """Return the progress bar's stand-in, which sends the process a signal after a step."""

    def with_bar(training, progress):
        for measurement in training:
            if measurement.step == step:
                signal.raise_signal(number)
            yield measurement

    return with_bar


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["free", "penalised", "constrained"])
def test_an_interrupted_run_goes_on_to_the_bit(mode, number, tmp_path, monkeypatch):
    wanted, path = execute(run(mode=mode)), tmp_path / "run.checkpoint"
    for step in (1, 5, 11):
        with monkeypatch.context() as patch:
            patch.setattr(experiments, "with_bar", interrupt_at(step, number))
            with pytest.raises(KeyboardInterrupt):
                execute(run(mode=mode), checkpoint=path)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert outcome(execute(run(mode=mode), checkpoint=path)) == outcome(wanted)
    assert [file.name for file in tmp_path.iterdir()] == ["run.checkpoint"]


def test_without_a_checkpoint_ctrl_c_acts_at_once(monkeypatch):
    monkeypatch.setattr(experiments, "with_bar", interrupt_at(5, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        execute(run())


def test_a_checkpoint_is_written_from_time_to_time(tmp_path, monkeypatch):
    """What a kill without warning leaves: here one that comes as an error, just before step 8 is handed on."""
    path = tmp_path / "run.checkpoint"

    def killed(training, progress):
        for measurement in training:
            if measurement.step == 8:
                raise SystemExit
            yield measurement

    monkeypatch.setattr(experiments, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "with_bar", killed)
        with pytest.raises(SystemExit):
            execute(run(), checkpoint=path)
    assert len(torch.load(path, weights_only=True)["training"]["history"]) == 7
    assert outcome(execute(run(), checkpoint=path)) == outcome(execute(run()))


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "run.checkpoint"
    monkeypatch.setattr(experiments, "with_bar", interrupt_at(5, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        execute(run(), checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to a run with another depth, learning_rate"):
        execute(run(depth=5, learning_rate=0.1), checkpoint=path)
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.checkpoint is no checkpoint, or a damaged one"):
            execute(run(), checkpoint=path)


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_not_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "CHECKPOINT_SECONDS", 0.0)
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not write the checkpoint .*; the run goes on without"):
        made = execute(run(), checkpoint=tmp_path / "file" / "run.checkpoint")
    assert outcome(made) == outcome(execute(run()))


def test_a_training_broken_off_within_a_step_cannot_be_saved(monkeypatch):
    net = ob.build("shifted-fold", depth=4, width=8, inputs=784, classes=10)
    training = ob.Training(net, ob.load(run().data), run().training)
    next(training)
    training.state_dict()

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(net, "retract_", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(training)
    with pytest.raises(RuntimeError, match="broken off in the middle"):
        training.state_dict()


# --- the store ---


@given(
    accuracy=st.floats(0, 1),
    reason=st.text(max_size=30),
    status=st.sampled_from(["finished", "diverged", "failed"]),
    depth=st.integers(1, 10**6),
)
def test_records_survive_json(accuracy, reason, status, depth):
    made = Record(run=run(depth=depth), status=status, reason=reason, result={"accuracy": accuracy}, birth={"a": [1]})
    line = made.to_json()
    assert "\n" not in line
    assert Record.from_json(line) == made


def test_a_store_keeps_records_in_order_and_once(tmp_path):
    store, made = Store(tmp_path / "new" / "store.jsonl"), [record(depth=depth) for depth in (3, 1, 2)]
    assert store.records() == []
    assert [store.append(one) for one in (*made, made[0])] == [True, True, True, False]
    assert store.records() == Store(store.path).records() == made
    assert len(store.path.read_text().splitlines()) == 3


def test_a_store_sees_what_others_append(tmp_path):
    one, other = Store(tmp_path / "store.jsonl"), Store(tmp_path / "store.jsonl")
    one.append(record(depth=1))
    other.append(record(depth=2))
    assert not one.append(record(depth=2))
    assert one.records() == other.records() == [record(depth=1), record(depth=2)]


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_line_that_is_cut_off_is_no_record_and_gives_way(kept, tmp_path):
    store = Store(tmp_path / "store.jsonl")
    store.append(record(depth=1))
    cut = record(depth=2).to_json().encode()[:kept]
    with store.path.open("ab") as file:
        file.write(cut)
    assert Store(store.path).records() == [record(depth=1)]
    assert Store(store.path).append(record(depth=3))
    assert Store(store.path).records() == [record(depth=1), record(depth=3)]


def test_a_run_that_failed_may_be_stored_again(tmp_path):
    """The later record counts, whoever reads; one that succeeded stays."""
    store = Store(tmp_path / "store.jsonl")
    failed = [replace(record(), status="failed", reason=reason, result={}) for reason in ("first", "second")]
    assert [store.append(one) for one in (*failed, record(), failed[0])] == [True, True, True, False]
    assert store.records() == Store(store.path).records() == [record()]
    assert store.holds(run())
    assert len(store.path.read_text().splitlines()) == 3


def test_a_whole_record_without_a_line_s_end_is_kept(tmp_path):
    store = Store(tmp_path / "store.jsonl")
    store.path.write_text(record(depth=1).to_json())
    assert store.append(record(depth=2))
    assert not store.append(record(depth=1))
    assert Store(store.path).records() == [record(depth=1), record(depth=2)]


@pytest.mark.parametrize("content", ["notes without an end", "{'a': 1}", '{"form": 1}', "\x00"])
def test_a_file_that_is_no_store_is_left_alone(content, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"notes\.txt is no store of records"):
        Store(path).append(record())
    assert path.read_text() == content


def test_a_store_must_be_a_regular_file(tmp_path):
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(ValueError, match="a store must be a regular file"):
            sweep([run()], path)


def changed(line, **values):
    return json.dumps(json.loads(line) | values)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: "{", "this is no JSON"),
        (lambda line: "[1, 2]", "this record has format None"),
        (lambda line: changed(line, format=99), rf"this record has format 99; orthobook {ob.__version__} reads 1"),
        (lambda line: changed(line, key="0" * 12), "this record's key is '000000000000', but its run has key"),
        (
            lambda line: changed(line, run=json.loads(line)["run"] | {"colour": 1}),
            "this record lacks a field or has an unknown one: .*colour",
        ),
        (
            lambda line: changed(line, run=json.loads(line)["run"] | {"depth": 9}),
            "this record's key is .*, but its run",
        ),
        (lambda line: "\x00" * 40, "this is no JSON"),
        (lambda line: changed(line, status="bogus"), "a status is one of finished, .*, this record's is 'bogus'"),
        (lambda line: changed(line, run=json.loads(line)["run"] | {"options": None}), "this record lacks a field"),
    ],
)
def test_a_damaged_line_is_named(damage, message, tmp_path):
    store = Store(tmp_path / "store.jsonl")
    for depth in (1, 2, 3):
        store.append(record(depth=depth))
    lines = store.path.read_text().splitlines()
    store.path.write_text("\n".join([lines[0], damage(lines[1]), lines[2]]) + "\n")
    before = store.path.read_bytes()
    with pytest.raises(ValueError, match=rf"store\.jsonl, line 2: {message}"):
        Store(store.path).records()
    with pytest.raises(ValueError, match="line 2"):
        Store(store.path).append(record(depth=4))
    assert store.path.read_bytes() == before


def test_many_writers_store_each_record_once(tmp_path):
    made = [record(depth=depth) for depth in range(1, 41)]

    def write(seed):
        store = Store(tmp_path / "store.jsonl")
        return sum(store.append(one) for one in random.Random(seed).sample(made, len(made)))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(4))) == len(made)
    stored = Store(tmp_path / "store.jsonl").records()
    assert sorted(one.run.depth for one in stored) == list(range(1, 41))


FULL_DISK = """
import resource, signal, sys
from test_experiments import record
from orthobook.study.experiments import Store
store = Store(sys.argv[1])
store.append(record(depth=1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = store.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    store.append(record(depth=2))
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path):
    """A limit on the file's size stands in for the disk: the second record is cut off after 100 bytes."""
    path = tmp_path / "store.jsonl"
    printed = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, env=environment())
    assert f"could not store a record in {path}" in printed.stdout, printed.stderr
    assert Store(path).records() == [record(depth=1)]
    assert path.read_bytes().endswith(b"\n")
    assert Store(path).append(record(depth=2))


# --- sweeps ---


def environment():
    paths = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {"PYTHONPATH": paths, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}


def command(path, *more):
    axes = ["architecture=shifted-fold,residual,maxmin", "depth=3,5", "learning_rate=1e-3,1e-2"]
    axes += ["width=8", "steps=300", "batch_size=32"]
    words = [word for axis in axes for word in ("-g", axis)]
    return [sys.executable, "-m", "orthobook", "sweep", *words, "--store", str(path), *more]


def test_a_sweep_in_processes_runs_what_is_missing(tmp_path, undisturbed):
    store = Store(tmp_path / "store.jsonl")
    for one in TWELVE[:3]:
        store.append(execute_on_one_thread(one))
    new = list(sweep([*TWELVE, TWELVE[0]], store, workers=2, progress=False))
    assert sorted(one.run.key for one in new) == sorted(one.key for one in TWELVE[3:])
    assert outcomes(store.records()) == undisturbed
    assert list(sweep(TWELVE, store, progress=False)) == []


def test_sigkill_three_times_leaves_exactly_the_records_of_an_undisturbed_sweep(tmp_path, undisturbed):
    """Each time after a random number of new records and a random delay, once with its processes, else without."""
    path, chance = tmp_path / "store.jsonl", random.Random(int(time.time()))
    for attempt in range(3):
        wanted = len(Store(path).records()) + chance.randint(1, 2)
        process = subprocess.Popen(command(path), env=environment(), start_new_session=True, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(Store(path).records()) < wanted:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        kill = os.killpg if attempt == 0 else os.kill
        kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert len(Store(path).records()) < 12, "the sweep was over before it was killed"
        wait_until_gone(process.pid)
    finished = subprocess.run(command(path), env=environment(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    stored = Store(path).records()
    assert len(stored) == len(path.read_text().splitlines()) == 12
    assert outcomes(stored) == undisturbed


def wait_until_gone(session):
    """Wait until no process of a session is left: workers must not outlive the sweep that started them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the killed sweep left processes behind")


def test_two_sweeps_of_one_store_merge(tmp_path, undisturbed):
    path = tmp_path / "store.jsonl"
    processes = [
        subprocess.Popen(command(path, "--workers", "1"), env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(map(len, printed)) == 12
    assert outcomes(Store(path).records()) == undisturbed


def test_ctrl_c_keeps_what_is_finished(tmp_path, undisturbed):
    path = tmp_path / "store.jsonl"
    process = subprocess.Popen(
        command(path),
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the sweep and all its processes
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; what is finished is in" in errors
    assert "Traceback" not in errors
    stored = Store(path).records()
    assert [one.to_json() for one in stored] == [line for line in (first + rest).splitlines() if line]
    assert 1 <= len(stored) < 12
    assert all(one in undisturbed for one in map(outcome, stored))


def test_a_run_that_fails_is_recorded_and_the_rest_goes_on(tmp_path):
    """The next sweep tries it again, as the reason may have been a passing one."""
    store = Store(tmp_path / "store.jsonl")
    runs = [run(), run(batch_size=9000), run(depth=5)]
    made = list(sweep(runs, store, workers=1, progress=False))
    assert [one.status for one in made] == ["finished", "failed", "finished"]
    assert "batch_size must be at most the 8000 training examples, got 9000" in made[1].reason
    assert store.records() == made
    assert [one.run for one in sweep(runs, store, workers=1, progress=False)] == [run(batch_size=9000)]


UNGUARDED = """
from orthobook.study.experiments import grid, sweep
print(list(sweep(grid(architecture="absolute", depth=2, steps=1), "store.jsonl", workers=1, progress=False)))
"""


def test_a_script_without_a_guard_is_told_so_and_nothing_is_stored(tmp_path):
    (tmp_path / "script.py").write_text(UNGUARDED)
    printed = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert "no process could be started: a script that sweeps must do so under" in printed.stderr
    assert (tmp_path / "store.jsonl").read_text() == ""


def test_runs_that_another_sweep_has_finished_meanwhile_are_left_out(tmp_path):
    store, runs = Store(tmp_path / "store.jsonl"), [run(depth=depth) for depth in (1, 2, 3)]
    made = sweep(runs, store, workers=1, progress=False)
    first = next(made)
    Store(store.path).append(execute_on_one_thread(runs[2]))
    assert [first.run.depth, *(one.run.depth for one in made)] in ([1, 2], [1, 2, 3])
    assert len(store.records()) == 3


def test_a_run_whose_process_dies_is_recorded_and_the_rest_goes_on():
    runs = [run(depth=depth) for depth in (1, 2, 3, 4, 5)]
    made = list(experiments._in_processes(runs, experiment_tasks.die_at_depth_3, workers=2))
    assert sorted(one.run.depth for one in made) == [1, 2, 3, 4, 5]
    assert {one.run.depth: one.status for one in made if one.status != "finished"} == {3: "failed"}
    (failed,) = (one for one in made if one.status == "failed")
    assert "BrokenProcessPool" in failed.reason


def test_leaving_the_loop_ends_the_processes(tmp_path):
    others = set(multiprocessing.active_children())
    store = Store(tmp_path / "store.jsonl")
    for _ in sweep(TWELVE, store, workers=2, progress=False):
        break
    assert set(multiprocessing.active_children()) == others
    assert 1 <= len(store.records()) < 12


def test_any_executor_will_do(tmp_path, undisturbed):
    store = Store(tmp_path / "store.jsonl")
    with ThreadPoolExecutor(1) as executor:
        list(sweep(TWELVE, store, executor=executor, progress=False))
    assert outcomes(store.records()) == undisturbed


def test_an_executor_that_loses_a_run_has_it_recorded(tmp_path):
    class Losing(ThreadPoolExecutor):
        def submit(self, task, one):
            future = Future()
            future.set_exception(RuntimeError("the worker was lost")) if one.depth == 3 else future.set_result(
                task(one)
            )
            return future

    with Losing(1) as executor:
        made = list(sweep([run(depth=3), run(depth=4)], Store(tmp_path / "s"), executor=executor, progress=False))
    assert {one.run.depth: (one.status, one.reason) for one in made} == {
        3: ("failed", "RuntimeError: the worker was lost"),
        4: ("finished", ""),
    }


@pytest.mark.filterwarnings("ignore")  # dask's own
def test_the_same_sweep_through_dask_gives_the_same_records(tmp_path, undisturbed):
    distributed = pytest.importorskip("distributed", reason="needs the extra orthobook[dask]")
    store = Store(tmp_path / "store.jsonl")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        made = list(sweep(TWELVE, store, executor=executor, progress=False))
    assert len(made) == 12
    assert outcomes(store.records()) == undisturbed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": []}, "a sweep needs at least one run, got none"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"workers": 2, "executor": ThreadPoolExecutor(1)}, "an executor brings its own workers, .* got 2"),
        ({"device": "tpu"}, "unknown device 'tpu'; allowed: 'cpu', 'cuda', 'mps'"),
    ],
)
def test_bad_arguments_of_a_sweep(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sweep(**{"runs": TWELVE, "store": Store(tmp_path / "store.jsonl")} | arguments)


def test_a_sweep_does_not_change_the_number_of_threads(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert execute_on_one_thread(run(steps=1)).birth["threads"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_command_repeats_the_run():
    words = run(options={"threshold": 1.5}, judged_on="validation", held_out=10).command
    assert words.startswith("orthobook train shifted-fold --depth 4 --width 8 --option threshold=1.5 --held-out 10")
    assert replace(run(), seed=2).command.endswith("--seed 2 --steps 12 --batch-size 32")
    assert asdict(run())["options"] == {"threshold": 3.0}
