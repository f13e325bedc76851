"""The file of records: it grows, mends itself, and names what is damaged."""

import hashlib
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
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


@pytest.mark.parametrize("kept", [1, 20, 60, -1])
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
    assert store.holds(run(depth=1))
    assert store.append(record(depth=2))
    assert not store.append(record(depth=1))
    assert Store(store.path).records() == [record(depth=1), record(depth=2)]


FOREIGN = [
    "notes without an end",
    "{'a': 1}",
    '{"form": 1}',
    "\x00",
    "{",
    '{"format": "mine", "kept": [1, 2]}',
    '{"format": 2',
]


@pytest.mark.parametrize("act", [Store.prepare, lambda store: store.append(record())], ids=["prepare", "append"])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_that_is_no_store_is_left_alone(content, act, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"notes\.txt is no store of records"):
        act(Store(path))
    assert path.read_text() == content


def test_after_a_record_the_beginning_of_a_later_format_is_left_alone(tmp_path):
    path = tmp_path / "store.jsonl"
    path.write_text(record().to_json() + '\n{"format": 2, "key": "')
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is no store of records"):
        Store(path).append(record(depth=9))
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["removed", "shortened", "replaced", "written anew"])
def test_a_store_that_changes_under_its_writer_is_read_again(change, tmp_path):
    path = tmp_path / "store.jsonl"
    store, other = Store(path), record(depth=9)
    for depth in (1, 2):
        store.append(record(depth=depth))
    first = path.read_text().splitlines(keepends=True)[0]
    if change == "removed":
        path.unlink()
        left = []
    elif change == "shortened":
        path.write_text(first)
        left = [record(depth=1)]
    else:  # by another file, or by more in the same one
        text = other.to_json() + "\n"
        new = path if change == "written anew" else tmp_path / "new"
        new.write_text(text if change == "replaced" else text + "\n" * 3000)
        new.replace(path)
        left = [other]
    with pytest.warns(UserWarning, match=r"store\.jsonl was removed or replaced while it was in use: 2 records"):
        assert store.append(record(depth=3))
    assert store.records() == Store(path).records() == [*left, record(depth=3)]
    assert b"\0" not in path.read_bytes()


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_writers_under_two_names_lose_nothing(link, tmp_path):
    """In processes, as the locks are theirs: each of two names is written to as fast as it goes."""
    path, name = tmp_path / "store.jsonl", tmp_path / "another.jsonl"
    path.touch()
    getattr(name, link)(path)
    program = (
        "import sys\nfrom small_runs import record\nfrom orthobook.study.store import Store\n"
        "for seed in range(60): Store(sys.argv[1]).append(record(seed=2 * seed + int(sys.argv[2])))"
    )
    words = [[sys.executable, "-c", program, str(one), str(n)] for n, one in enumerate((path, name))]
    writers = [subprocess.Popen(one, env=environment()) for one in words]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert sorted(one.run.seed for one in Store(path).records()) == list(range(120))


def test_blank_lines_are_no_records_and_no_fault(tmp_path):
    path = tmp_path / "store.jsonl"
    path.write_text(f"\n{record(depth=1).to_json()}\n \n")
    store = Store(path)
    assert store.append(record(depth=2))
    assert Store(path).records() == [record(depth=1), record(depth=2)]


def test_what_is_measured_may_be_numpy_s_or_torch_s(tmp_path):
    store = Store(tmp_path / "store.jsonl")
    store.append(replace(record(), result={"a": np.float32(1.5), "b": torch.tensor([1, 2]), "c": (np.int64(3),)}))
    assert Store(store.path).records()[0].result == {"a": 1.5, "b": [1, 2], "c": [3]}
    for value in (np.nan, np.float32("inf"), object(), {1j}):
        with pytest.raises(ValueError, match="cannot be stored"):
            store.append(replace(record(depth=5), result={"a": value}))
    assert len(store.records()) == 1


def test_a_record_of_an_unregistered_architecture_is_kept(tmp_path):
    line = with_its_key(record().to_json(), architecture="my-fold", options={"mine": 2})
    path = tmp_path / "store.jsonl"
    path.write_text(line + "\n")
    store = Store(path)
    (kept,) = store.records()
    assert (kept.run.architecture, kept.accuracy) == ("my-fold", 0.5)
    assert json.loads(kept.to_json()) == json.loads(line)
    assert store.append(record())
    assert not store.append(kept)
    assert path.read_text().startswith(line)


def test_what_cannot_be_written_is_said_in_one_sentence(tmp_path):
    (tmp_path / "locked.jsonl.lock").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "locked.jsonl", tmp_path / "file" / "store.jsonl"):
        with pytest.raises(OSError, match=f"nothing can be stored in {path}: "):
            Store(path).append(record())


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
        (lambda line: line.replace("0.5", "NaN"), "this is no JSON: it has no number NaN"),
        (lambda line: "[" * 100_000, "this is no JSON"),
        (lambda line: changed(line, result=5), "'result' of a record is an object, this record's is 5"),
        (lambda line: changed(line, reason=None), "'reason' of a record is a string, this record's is None"),
        (lambda line: changed(line, result={"accuracy": "good"}), "an accuracy is a number, this record's is 'good'"),
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
    with pytest.warns(UserWarning, match=rf"store\.jsonl, line 2: {message}.* mend or remove it"):
        assert Store(store.path).records() == [record(depth=1), record(depth=3)]
    refusal = pytest.raises(ValueError, match=r"line 2.*; nothing is added to the file before")
    with pytest.warns(UserWarning, match="line 2"), refusal:
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
