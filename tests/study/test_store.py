"""The file of records: it grows, mends itself, and names what is damaged."""

import hashlib
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from small_runs import environment, record, run

import orthobook as ob
from orthobook.study.store import Store
from orthobook.study.sweep import sweep


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


def with_its_key(line, **values):
    """Return a record whose run was changed by somebody who knows how keys are made."""
    run = json.loads(line)["run"] | values
    return changed(line, run=run, key=hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:12])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: "{", "this is no JSON"),
        (lambda line: "[1, 2]", "this record has format None"),
        (
            lambda line: changed(line, format=99),
            rf"this record has format 99, and orthobook {ob.__version__} reads format 1: install the later orthobook",
        ),
        (lambda line: changed(line, format=0), r"this record has format 0, and .* reads format 1: give another file"),
        (lambda line: changed(line, key="0" * 12), "this record is damaged: its key is '000000000000', but what is"),
        (
            lambda line: with_its_key(line, colour=1),
            f"this record lacks a field or has one that orthobook {ob.__version__} does not know: .*colour",
        ),
        (
            lambda line: changed(line, run=json.loads(line)["run"] | {"depth": 9}),
            "this record is damaged: its key is",
        ),
        (lambda line: "\x00" * 40, "this is no JSON"),
        (lambda line: changed(line, status="bogus"), "a status is one of finished, .*, this record's is 'bogus'"),
        (lambda line: with_its_key(line, options=None), "this record lacks a field"),
        (lambda line: with_its_key(line, depth=0), "depth must be a whole number of at least 1, got 0"),
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
from small_runs import record
from orthobook.study.store import Store
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
