"""Runs and records: what makes two runs the same, and what a line of JSON says."""

import hashlib
import json
import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import record, run

from orthobook.study.run import Benchmark, Record, Run


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
        "measure": "robustness",
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
        ({"data": "imagenet"}, "data must be one of fashion-mnist-small, .*, got 'imagenet'"),
        ({"judged_on": "train"}, "judged_on must be one of test, validation, got 'train'"),
        ({"measure": "beauty"}, "measure must be one of none, robustness, got 'beauty'"),
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
        ({"options": {"channels": 3}}, "shifted-fold has no option 'channels'; allowed: threshold"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_the_command_repeats_the_run():
    words = run(options={"threshold": 1.5}, judged_on="validation", held_out=10).command
    assert words.startswith("orthobook train shifted-fold --depth 4 --width 8 --option threshold=1.5 --held-out 10")
    assert replace(run(), seed=2).command.endswith("--seed 2 --steps 12 --batch-size 32")
    assert asdict(run())["options"] == {"threshold": 3.0}


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


def test_a_run_that_lacks_a_field_or_an_option_has_the_default():
    """As the stored runs do that are older than the field: their key says what is stored, the run what it means."""
    values = json.loads(record().to_json())
    for whole, name in ((values["run"], "measure"), (values["run"]["options"], "threshold")):
        whole.pop(name)
        values["key"] = hashlib.sha256(json.dumps(values["run"], sort_keys=True).encode()).hexdigest()[:12]
        assert Record.from_json(json.dumps(values)).run == run()
        assert values["key"] != run().key


def test_a_benchmark_is_stored_like_a_run():
    made = Record(run=Benchmark(benchmark="flight", options={"width": 4, "depths": [1, 2]}), status="finished")
    again = Record.from_json(made.to_json())
    assert again == made
    assert again.run.key == made.run.key != replace(made.run, options={"width": 5, "depths": [1, 2]}).key
