"""Timing takes turns, ratios belong to a round, and what is stored is found or named. No test asserts a time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthobook.study import timings
from orthobook.study.store import Store

positive = st.floats(1e-6, 1e6)


def test_calls_take_turns_in_bursts():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = timings.interleaved(calls, repetitions=2)
    assert "".join(order) == ("a" * timings.BURST + "b" * timings.BURST) * 2
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_a_burst_counts_by_its_median(monkeypatch):
    # Calls that take 5, 1 and 2 seconds, by a clock of our own.
    clock = iter([0, 5, 10, 11, 20, 22])
    monkeypatch.setattr(timings.time, "perf_counter", lambda: next(clock))
    assert timings.interleaved({"call": lambda: None}, 1) == {"call": [2]}


@pytest.mark.parametrize("repetitions", [0, -1, 1.5])
def test_rounds_must_be_a_positive_whole_number(repetitions):
    with pytest.raises(ValueError, match=f"repetitions .*{repetitions}"):
        timings.interleaved({}, repetitions)


def test_ratios_are_taken_within_a_round():
    assert timings.ratios([2.0, 9.0], [4.0, 3.0]) == [0.5, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        timings.ratios([1.0, 2.0], [1.0])


def test_quartiles_of_five_values():
    assert timings.quartiles([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 2.0, 4.0)


@given(st.lists(positive, min_size=1, max_size=30))
def test_quartiles_lie_in_order_and_between_the_ends(values):
    median, low, high = timings.quartiles(values)
    slack = 1e-12 * max(values)  # an interpolated value may be off by a rounding
    assert min(values) - slack <= low <= median + slack
    assert median - slack <= high <= max(values) + slack


def test_every_stored_record_says_when_and_where_it_was_made():
    for record in Store(timings.RESULTS).records():
        assert record in timings.stored(record.run.benchmark, **record.run.options)
        assert record.birth["date"].startswith("20")
        assert {"python", "torch", "orthobook", "device", "cores"} <= record.birth.keys()
        assert {"seed", "threads"} <= record.run.options.keys()
        for table in record.result["tables"].values():
            for row in table.values():
                for cell in row.values():
                    assert isinstance(cell, (str, int, float, list))
                    if isinstance(cell, list):
                        median, low, high = cell
                        assert 0 <= low <= median <= high < math.inf


def test_what_is_not_stored_is_answered_with_what_is():
    with pytest.raises(ValueError, match=r"no benchmark 'flight' is stored; stored are: .*training step"):
        timings.stored("flight")
    with pytest.raises(ValueError, match=r"options {'width': 7} is stored; stored are: .*'width': 64"):
        timings.stored("training step", width=7)


def test_options_choose_among_stored_runs():
    chosen = timings.stored("training step", width=64, depth=100)
    assert len(chosen) > 1
    assert all(record.run.options["width"] == 64 and record.run.options["depth"] == 100 for record in chosen)
    assert {record.run.options["batch"] for record in chosen} == {32, 128, 1024}
