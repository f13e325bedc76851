"""The command line, as a user of a terminal meets it."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_runs import environment, outcome, run

import orthobook as ob
from orthobook import __main__ as command_line
from orthobook.layers.base import block
from orthobook.study import catalogue, execution, studies, timings
from orthobook.study.execution import execute_on_one_thread
from orthobook.study.run import Record, Run
from orthobook.study.store import Store

SMALL = ["--depth", "4", "--width", "8", "--steps", "12", "--batch-size", "32"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def orthobook(*words):
    return CliRunner().invoke(command_line.main, [str(word) for word in words])


@pytest.mark.parametrize("name", ["train", "sweep", "spectrum", "robustness", "results", "list", None])
def test_help_says_what_to_type(name):
    result = orthobook(*([name] if name else []), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert r"\b" not in result.output
    if name in ("train", "sweep", "spectrum", "robustness", None):
        lines = result.output.splitlines()
        assert any(line.startswith(f"  orthobook {name or 'train'} ") for line in lines)


def test_every_field_of_a_run_is_an_option_with_help():
    output = orthobook("train", "--help").output
    for field in fields(Run)[1:]:
        assert "--" + field.name.replace("_", "-").removesuffix("s" if field.name == "options" else "") in output


def test_the_console_script_and_the_module_are_the_same():
    scripts = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"orthobook": "orthobook.__main__:main"}
    printed = subprocess.run([sys.executable, "-m", "orthobook", "--version"], env=environment(), capture_output=True)
    assert printed.stdout.decode().split()[-1] == ob.__version__


def test_list_names_everything():
    output = orthobook("list").output
    for name in (*ob.architectures(), *ob.data_sets(), *studies.STUDIES):
        assert name in output
    assert "threshold=3.0" in output
    assert "folds=auto" in output


def test_what_is_read_from_the_sources_is_what_is_registered():
    """In the same order too; the blocks, the studies and the data sets themselves are the witness."""
    blocks = {name: block(name) for name in ob.architectures()}
    live = {name: (of.kind, {f.name: getattr(of, f.name) for f in fields(of)}) for name, of in blocks.items()}
    read = catalogue.architectures()
    assert read == live
    assert list(read) == list(live)
    assert [list(options) for _, options in read.values()] == [list(options) for _, options in live.values()]
    assert list(catalogue.studies().items()) == [(study.name, study.question) for study in studies.STUDIES.values()]
    assert catalogue.data_sets() == ob.data_sets()


WITHOUT_TORCH = """
import sys
from orthobook.__main__ import main
try:
    main(sys.argv[1:])
finally:
    print("torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("words", "loaded"),
    [
        (["--version"], False),
        (["--help"], False),
        (["list"], False),
        (["sweep", "--help"], False),
        (["results", "show", "--help"], False),
        (["train", "--help"], True),  # it shows a run's defaults: the control
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_needs_no_torch_does_not_load_it(words, loaded):
    printed = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], env=environment(), capture_output=True, text=True
    )
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.splitlines()[-1] == str(loaded)
    assert len(printed.stdout.splitlines()) > 1


def test_a_benchmark_is_shown_as_it_is_stored():
    shown = orthobook("results", "show", "initialisation").output
    (record,) = timings.stored("initialisation")
    for title, rows in record.result["tables"].items():
        assert title in shown
        for name, row in rows.items():
            (line,) = (line for line in shown.splitlines() if line.startswith(name))
            assert "{:.2f} [{:.2f}, {:.2f}]".format(*row["milliseconds"]) in line
    assert record.birth["device"] in shown


# --- train ---


def test_train_prints_the_record_of_the_run(tmp_path):
    result = orthobook("train", "shifted-fold", *SMALL, "-o", "threshold=2", "--seed", 3, "--store", "mine.jsonl")
    assert result.exit_code == 0
    made = Record.from_json(result.stdout)
    assert outcome(made) == outcome(execute_on_one_thread(run(options={"threshold": 2.0}, seed=3)))
    assert Store("mine.jsonl").records() == [made]
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.parametrize("changes", [{}, {"options": {"threshold": 1.5}, "mode": "free", "seed": 2}])
def test_a_run_s_command_is_that_run(changes):
    words = run(**changes).command.split()
    result = orthobook(*words[1:])
    assert json.loads(result.stdout)["key"] == run(**changes).key


def test_resume_after_ctrl_c_gives_the_same_record():
    words = ["train", "shifted-fold", "--depth", "20", "--steps", "400"]
    process = subprocess.Popen(
        [sys.executable, "-m", "orthobook", *words],
        env={name: value for name, value in environment().items() if name != "TQDM_DISABLE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "/400" not in process.stderr.read(40):  # the bar is there, so training has begun
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert "The same command with --resume goes on." in errors
    again = orthobook(*words)
    assert again.exit_code == 1
    assert "holds an unfinished run: add --resume" in again.output
    result = orthobook(*words, "--resume")
    assert result.exit_code == 0
    assert outcome(Record.from_json(result.stdout)) == outcome(
        execute_on_one_thread(Run(architecture="shifted-fold", depth=20, steps=400))
    )


def test_resume_without_a_checkpoint_begins(tmp_path):
    """So that a batch script may always ask for it."""
    assert orthobook("train", "shifted-fold", *SMALL, "--resume").exit_code == 0


def test_a_run_that_is_stored_is_not_trained_again(monkeypatch):
    first = orthobook("train", "shifted-fold", *SMALL, "--store", "mine.jsonl")
    monkeypatch.setattr(execution, "execute", None)
    second = orthobook("train", "shifted-fold", *SMALL, "--store", "mine.jsonl")
    assert second.stdout == first.stdout
    assert "mine.jsonl holds this run already." in second.stderr


def test_an_unusable_store_is_noticed_before_the_training(monkeypatch):
    monkeypatch.setattr(execution, "execute", None)
    Path("folder.jsonl").mkdir()
    Path("broken.jsonl").write_text("no record\n")
    Path("text.jsonl").write_text("no record")
    stores = [("folder.jsonl/", "is a directory"), ("broken.jsonl", "line 1: this is no JSON")]
    for store, message in (*stores, ("text.jsonl", "text.jsonl is no store of records")):
        result = orthobook("train", "shifted-fold", *SMALL, "--store", store)
        assert result.exit_code in (1, 2)
        assert message in result.output


def test_a_record_that_cannot_be_stored_is_printed(monkeypatch):
    def full(store, record):
        raise OSError("could not store a record")

    monkeypatch.setattr(Store, "append", full)
    result = orthobook("train", "shifted-fold", *SMALL, "--store", "mine.jsonl")
    assert result.exit_code == 1
    assert Record.from_json(result.stdout).run == run()
    assert "could not store a record" in result.stderr


def test_a_line_that_is_no_record_is_named_and_the_rest_is_shown():
    made = Record.from_json(orthobook("train", "shifted-fold", *SMALL).stdout)
    Path("mine.jsonl").write_text(f"{made.to_json()}\nnonsense\n")
    shown = orthobook("results", "show", "verification", "--store", "mine.jsonl")
    assert shown.exit_code == 0
    assert "Warning: mine.jsonl, line 2: this is no JSON" in shown.stderr
    again = orthobook("train", "shifted-fold", *SMALL, "--store", "mine.jsonl")
    assert again.exit_code == 1
    assert "mine.jsonl, line 2" in again.stderr


def test_a_redirect_is_in_utf_8_whatever_the_code_page():
    """As on Windows: cp1252 has no σ."""
    words = [sys.executable, "-m", "orthobook", "results", "claims"]
    printed = subprocess.run(words, env=environment() | {"PYTHONIOENCODING": "cp1252"}, capture_output=True)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.decode("utf-8").splitlines() == orthobook("results", "claims").stdout.splitlines()


def test_spaces_after_commas_are_left_out():
    words = ["-g", "architecture=absolute, linear", "-g", "depth=1, 2", "-g", "width=4", "-g", "steps=1"]
    result = orthobook("sweep", *words, "--store", "s.jsonl", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert len(Store("s.jsonl").records()) == 4


def test_an_interruption_that_could_not_be_saved_says_so(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "execute", interrupted)
    result = orthobook("train", "shifted-fold", *SMALL)
    assert result.exit_code == 130
    assert "Interrupted; nothing is saved." in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "resnet", "--depth", 3], "unknown architecture 'resnet'; allowed: linear, absolute"),
        (["train", "absolute"], "Missing option '--depth'"),
        (["train", "absolute", "--depth", 0], "depth must be a whole number of at least 1, got 0"),
        (["train", "absolute", "--depth", 3, "--threads", 100_000_000], "100000000 is not in the range 1<=x<="),
        (["train", "conv-maxmin", "--depth", 2, "--width", 4, "-o", "downsampling=1000000000"], "a multiple of 2^100"),
        (["results", "verify", "verification", "--longest", "-1"], "-1.0 is not in the range x>=0"),
        (["train", "absolute", "--depth", 3, "--device", "tpu"], "unknown device 'tpu'; allowed: 'cpu', 'cuda', 'mps'"),
        (["train", "absolute", "--depth", 3, "--data", "imagenet"], "'imagenet' is not one of"),
        (["train", "absolute", "--depth", 3, "--mode", "strict"], "'strict' is not one of"),
        (["train", "absolute", "--depth", 3, "-o", "tau=1"], "absolute has no option 'tau'; allowed: none"),
        (["train", "absolute", "--depth", 3, "-o", "tau"], "expected name=value, got 'tau'"),
        (["train", "maxmin", "--depth", 3, "--width", 7], "maxmin needs a width that is a multiple of 2"),
        (["train", "zigzag", "--depth", 3, "-o", "period=4", "-o", "period=5"], "period is given twice"),
        (["sweep", "--store", "s", "-g", "seed=1", "-g", "seed=2"], "seed is given twice"),
        (["train", "absolute", "--depth", 3, "--device", "meta"], "'meta'"),
        (["results", "verify", "verification", "--longest", 0], "the stored results are not confirmed"),
        (["sweep", "-g", "depth=3"], "a sweep needs --store FILE"),
        (["sweep", "--store", "s"], "a sweep needs a grid (-g key=value,...) or a --study, and not both"),
        (["sweep", "--store", "s", "-g", "depth=3", "--study", "modes"], "and not both"),
        (["sweep", "--store", "s", "--study", "all"], "unknown study 'all'; allowed: verification, comparison"),
        (["sweep", "--store", "s", "-g", "architecture=absolute", "-g", "depth="], "the grid is empty: depth has no"),
        (["sweep", "--store", "s", "-g", "architecture=absolute", "-g", "depth=3", "-g", "rate=1"], "grid key 'rate'"),
        (["spectrum", "conv-maxmin", "--depth", 3], "conv-maxmin works on images"),
        (["results", "show", "all"], "no benchmark 'all' is stored; stored are: training step"),
        (["results", "show", "all"], "studies are: verification, comparison"),
        (["results", "show", "modes", "--store", "none.jsonl"], "there is no store none.jsonl"),
        (["results", "show", "robustness", "--store", "none.jsonl"], "there is no store none.jsonl"),
        (["results", "verify", "all"], "unknown study 'all'"),
    ],
)
def test_errors_are_one_line_without_a_traceback(words, message):
    result = orthobook(*words)
    assert result.exit_code in (1, 2)
    assert message in result.output.replace("\n", " ").replace("  ", " ")
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_store_of_another_version_is_refused():
    Path("old.jsonl").write_text('{"format": 0}\n')
    result = orthobook("sweep", "-g", "architecture=absolute", "-g", "depth=3", "--store", "old.jsonl")
    assert result.exit_code == 1
    assert "old.jsonl, line 1: this record has format 0" in result.output


# --- sweep, spectrum ---


def test_sweep_prints_each_new_record_and_goes_on(tmp_path):
    words = [
        "-g",
        "architecture=absolute",
        "-g",
        "width=8",
        "-g",
        "steps=5",
        "-g",
        "batch-size=8",
        "--store",
        "s.jsonl",
    ]
    first = orthobook("sweep", *words, "-g", "depth=2,3", "--workers", 1)
    assert first.exit_code == 0
    assert [json.loads(line)["run"]["depth"] for line in first.stdout.splitlines()] == [2, 3]
    assert "2 finished, 0 diverged, 0 failed; 2 records in s.jsonl" in first.stderr
    second = orthobook("sweep", *words, "-g", "depth=2,3,4", "--workers", 1)
    assert [json.loads(line)["run"]["depth"] for line in second.stdout.splitlines()] == [4]


def test_a_sweep_with_a_failed_run_says_so():
    words = [
        "-g",
        "architecture=maxmin",
        "-g",
        "batch_size=9000,8",
        "-g",
        "steps=2",
        "-g",
        "depth=2",
        "--store",
        "s.jsonl",
    ]
    result = orthobook("sweep", *words, "--workers", 1)
    assert result.exit_code == 1
    assert "1 finished, 0 diverged, 1 failed" in result.stderr


def test_auto_leaves_an_option_to_the_architecture():
    words = ["-g", "architecture=partial-fold", "-g", "folds=auto,3", "-g", "depth=2", "-g", "steps=1", "-g", "width=8"]
    result = orthobook("sweep", *words, "--store", "s.jsonl", "--workers", 1)
    assert {json.loads(line)["run"]["options"].get("folds") for line in result.stdout.splitlines()} == {None, 3}


def test_a_reader_who_has_enough_ends_a_sweep_quietly():
    words = [
        "-g",
        "architecture=absolute",
        "-g",
        "depth=2",
        "-g",
        "steps=1",
        "-g",
        "seed=0,1,2",
        "--store",
        "s.jsonl",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "orthobook", "sweep", *words],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()
    assert "Traceback" not in errors
    assert "Broken pipe" not in errors
    assert len(Store("s.jsonl").records()) >= 1


def test_spectrum():
    exact = json.loads(orthobook("spectrum", "zigzag", "--depth", 100, "--width", 16, "-o", "period=4").stdout)
    assert exact["options"] == {"period": 4}
    assert exact["largest deviation from 1"] < 1e-12
    relu = json.loads(orthobook("spectrum", "relu-orthogonal", "--depth", 100, "--width", 16).stdout)
    assert relu["largest deviation from 1"] > 0.5
    values = list(relu["singular values"].values())
    assert values == sorted(values)
