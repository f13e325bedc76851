"""Grids, and sweeps that are killed, interrupted or run elsewhere."""

import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from small_runs import die_at_depth_3, environment, outcome, outcomes, run

from orthobook.study import executors
from orthobook.study.execution import execute_on_one_thread
from orthobook.study.store import Store
from orthobook.study.sweep import grid, sweep

AXES = {
    "architecture": ["shifted-fold", "residual", "maxmin"],
    "depth": [3, 5],
    "learning_rate": [1e-3, 1e-2],
    "width": 8,
    "batch_size": 32,
}
TWELVE = grid(**AXES, steps=20)
LONGER = grid(**AXES, steps=300)  # for a sweep that is ended while it runs


@pytest.fixture(scope="module")
def undisturbed():
    return outcomes(map(execute_on_one_thread, TWELVE))


@pytest.fixture(scope="module")
def longer_undisturbed():
    return outcomes(map(execute_on_one_thread, LONGER))


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


# --- sweeps ---


def command(path, steps, *more):
    axes = ["architecture=shifted-fold,residual,maxmin", "depth=3,5", "learning_rate=1e-3,1e-2"]
    axes += ["width=8", f"steps={steps}", "batch_size=32"]
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


def test_sigkill_three_times_leaves_exactly_the_records_of_an_undisturbed_sweep(tmp_path, longer_undisturbed):
    """Each time after a random number of new records and a random delay, once with its processes, else without."""
    path, chance = tmp_path / "store.jsonl", random.Random(int(time.time()))
    for attempt in range(3):
        wanted = len(Store(path).records()) + chance.randint(1, 2)
        process = subprocess.Popen(
            command(path, 300), env=environment(), start_new_session=True, stdout=subprocess.DEVNULL
        )
        while process.poll() is None and len(Store(path).records()) < wanted:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        kill = os.killpg if attempt == 0 else os.kill
        kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert len(Store(path).records()) < 12, "the sweep was over before it was killed"
        wait_until_gone(process.pid)
    finished = subprocess.run(command(path, 300), env=environment(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    stored = Store(path).records()
    assert len(stored) == len(path.read_text().splitlines()) == 12
    assert outcomes(stored) == longer_undisturbed


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
        subprocess.Popen(command(path, 20, "--workers", "1"), env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(map(len, printed)) == 12
    assert outcomes(Store(path).records()) == undisturbed


def test_ctrl_c_keeps_what_is_finished(tmp_path, longer_undisturbed):
    path = tmp_path / "store.jsonl"
    process = subprocess.Popen(
        command(path, 300),
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell starts beside it ignores Ctrl-C
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
    assert all(one in longer_undisturbed for one in map(outcome, stored))


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
from orthobook.study.sweep import grid, sweep
print(list(sweep(grid(architecture="absolute", depth=2, steps=1), "store.jsonl", workers=1, progress=False)))
"""


def test_a_script_without_a_guard_is_told_so_and_nothing_is_stored(tmp_path):
    (tmp_path / "script.py").write_text(UNGUARDED)
    printed = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert "no process could be started: a script that sweeps must do so under" in printed.stderr
    assert (tmp_path / "store.jsonl").read_text() == ""


def test_a_program_from_standard_input_may_sweep(tmp_path):
    """It has no file that processes could import, so it needs no guard either."""
    words = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True, "timeout": 100}
    done = subprocess.run([sys.executable, "-"], input=UNGUARDED, **words)
    assert done.returncode == 0, done.stderr
    assert len(Store(tmp_path / "store.jsonl").records()) == 1


def test_runs_that_another_sweep_has_finished_meanwhile_are_left_out(tmp_path):
    store, runs = Store(tmp_path / "store.jsonl"), [run(depth=depth) for depth in (1, 2, 3)]
    made = sweep(runs, store, workers=1, progress=False)
    first = next(made)
    Store(store.path).append(execute_on_one_thread(runs[2]))
    assert [first.run.depth, *(one.run.depth for one in made)] in ([1, 2], [1, 2, 3])
    assert len(store.records()) == 3


def test_a_run_whose_process_dies_is_recorded_and_the_rest_goes_on():
    runs = [run(depth=depth) for depth in (1, 2, 3, 4, 5)]
    made = list(executors.in_processes(runs, die_at_depth_3, workers=2))
    assert sorted(one.run.depth for one in made) == [1, 2, 3, 4, 5]
    assert {one.run.depth: one.status for one in made if one.status != "finished"} == {3: "failed"}
    (failed,) = (one for one in made if one.status == "failed")
    assert "BrokenProcessPool" in failed.reason


def test_leaving_the_loop_ends_the_processes(tmp_path):
    others = set(multiprocessing.active_children())
    store = Store(tmp_path / "store.jsonl")
    for _ in sweep(LONGER, store, workers=2, progress=False):
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
