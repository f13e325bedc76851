"""Sources: the formats, and finding, downloading and verifying files."""

import gzip
import os
import re
import struct
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_sources import DEBIAN, SMALL, archive, batches, idx, records, small_idx, small_records, with_full_set

from orthobook.data import sources

# --- What is known of the real data sets ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", sources.SOURCES.values(), ids=sources.SOURCES)
def test_each_file_has_its_hashes(source):
    assert len(source.files) == len(source.published) == len(source.digests)
    for digest in (*source.published, *source.digests):
        assert re.fullmatch("[0-9a-f]{64}", digest)
    assert source.cache.name == source.name
    assert len(set(source.classes)) == 10


def test_no_file_of_one_data_set_passes_for_another():
    digests = [digest for source in sources.SOURCES.values() for digest in {*source.published, *source.digests}]
    assert len(digests) == len(set(digests)) == 8 + 8 + 1


# --- idx files ---------------------------------------------------------------------------------------------------


@given(arrays.arrays(np.uint8, arrays.array_shapes(max_dims=4, max_side=6)))
def test_idx_round_trip(array):
    parsed = sources.parse_idx(idx(array))
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array, strict=True)


GOOD = idx(np.zeros((3, 2), np.uint8))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"", "00 00 08, got nothing"),
        (b"\0\0\x08", "00 00 08, got 00 00 08"),
        (b"\0\0\x0d" + GOOD[3:], "00 00 08, got 00 00 0d"),  # floats
        (b"\0\1\x08" + GOOD[3:], "00 00 08, got 00 01 08"),
        (GOOD[:11], "2 axes must have 12 bytes, got 11"),
        (GOOD[:-1], r"shape \[3, 2\] must have 6 entries, got 5"),
        (GOOD + b"\0", r"shape \[3, 2\] must have 6 entries, got 7"),
    ],
)
def test_malformed_idx_is_refused(stored, message):
    with pytest.raises(ValueError, match=message):
        sources.parse_idx(stored)


# --- Archives of records -----------------------------------------------------------------------------------------


@given(
    arrays.array_shapes(min_dims=1, max_dims=3, max_side=5).flatmap(
        lambda shape: st.integers(1, 4).flatmap(
            lambda size: st.tuples(arrays.arrays(np.uint8, (size, *shape)), arrays.arrays(np.uint8, size))
        )
    )
)
def test_records_round_trip(example):
    images, labels = example
    parsed = sources.parse_records(records(images, labels), images.shape[1:])
    np.testing.assert_array_equal(parsed[0], images, strict=True)
    np.testing.assert_array_equal(parsed[1], labels, strict=True)


def test_a_record_is_the_label_then_one_colour_after_another():
    (image,), (label,) = sources.parse_records(bytes([7, 1, 2, 3, 4, 5, 6]), (3, 1, 2))
    assert label == 7
    assert image.tolist() == [[[1, 2]], [[3, 4]], [[5, 6]]]


@pytest.mark.parametrize("size", [0, 6, 8, 13])
def test_broken_records_are_refused(size):
    with pytest.raises(ValueError, match=f"positive multiple of 7 bytes, got {size}"):
        sources.parse_records(bytes(size), (3, 1, 2))


TINY = small_records()
(ARCHIVE,) = TINY.files.values()
MEMBERS = batches(TINY.source, TINY.raw)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"<html>Not found</html>", "the archive of tiny cannot be read: not a gzip file"),
        (gzip.compress(b"no tar"), "the archive of tiny cannot be read"),
        (ARCHIVE[: len(ARCHIVE) // 2], "the archive of tiny cannot be read"),
        (gzip.compress(gzip.decompress(ARCHIVE)[:1000]), "the archive of tiny (cannot be read|has no member)"),
        (archive({}), "the archive of tiny has no member data_batch_1.bin, .*, data_batch_5.bin"),
        (archive({name: MEMBERS[name] for name in TINY.source.train}), "has no member test_batch.bin"),
        (archive(MEMBERS, tarfile.DIRTYPE), "has no member data_batch_1.bin"),
        (archive(MEMBERS | {"data_batch_2.bin": bytes(48)}), "positive multiple of 49 bytes, got 48"),
    ],
    ids=["page", "no archive", "cut off", "cut tar", "empty", "no test batch", "folders", "broken records"],
)
def test_malformed_archive_is_refused(stored, message):
    with pytest.raises(ValueError, match=message):
        TINY.source.arrays([stored])


# --- Finding, downloading and verifying files ----------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers each file's requests with the replies set for it in turn, the last one again and again."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = {file: [content] for file, content in files.items()}
        self.length = {}  # Content-Length to claim instead of the true one
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, file = self.server, self.path.removeprefix("/data/")
        server.asked.append(file)
        replies = server.replies.get(file)
        if replies is None:
            self.send_error(404)
            return
        content = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(200)
        self.send_header("Content-Length", str(server.length.get(file, len(content))))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Be quiet."""


@pytest.fixture(params=SMALL)
def make(request):
    """Make small data sets, in each format in turn."""
    return SMALL[request.param]


idx_only = pytest.mark.parametrize("make", ["idx"], indirect=True)
records_only = pytest.mark.parametrize("make", ["records"], indirect=True)


@pytest.fixture
def small(make):
    """Give a small data set: its source, files and arrays."""
    return make()


@pytest.fixture
def other(make):
    """Give another small data set, whose files have the same names."""
    return make("other", first=1)


@pytest.fixture
def server(small):
    with Server(small.files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def source(small, server, tmp_path):
    """Return the small data set's source, published by the local server; nothing is on disk yet."""
    return replace(small.source, url=server.url, packaged=tmp_path / "packaged", cache=tmp_path / "cache")


@pytest.fixture
def first(small):
    """Return the name of the first file: the training images, or the only one."""
    return small.source.files[0]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    monkeypatch.delenv("ORTHOBOOK_DATA", raising=False)
    monkeypatch.delenv("ORTHOBOOK_DATA_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def store(folder, files):
    folder.mkdir(exist_ok=True, parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def assert_is_raw(found, small):
    assert list(found) == list(sources.ARRAYS)
    for key in sources.ARRAYS:
        np.testing.assert_array_equal(found[key], small.raw[key], strict=True)


def assert_cached(source, small):
    """Exactly the good files, no temporary one beside them."""
    assert {path.name: path.read_bytes() for path in source.cache.iterdir()} == small.files


def test_downloaded_once_with_a_progress_bar(source, server, small, capfd):
    assert_is_raw(sources.read(source), small)
    assert server.asked == list(small.files)
    assert_cached(source, small)
    assert ("100%" in capfd.readouterr().err) == ("TQDM_DISABLE" not in os.environ)
    assert_is_raw(sources.read(source), small)
    assert server.asked == list(small.files)


def truncated(content):
    return content[:-9]


def emptied(content):
    return b""


def page(content):
    return b"<html>Log in to the network</html>"


def another(content):
    """Return a whole file with something else."""
    return gzip.compress(GOOD)


damage = pytest.mark.parametrize("damaged", [truncated, emptied, page, another])


def test_a_download_that_is_too_large_is_ended(source, server, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST", 5000)
    server.replies[source.files[0]] = [bytes(1_000_000)]
    with pytest.raises(ConnectionError, match="it sends more than the 5,000 bytes that a file may have"):
        sources.read(source)
    assert not [path for path in source.cache.rglob("*") if path.is_file()]


@damage
def test_corrupted_download_is_asked_for_again(source, server, small, first, damaged):
    server.replies[first].insert(0, damaged(small.files[first]))
    assert_is_raw(sources.read(source), small)
    assert server.asked == [first, *small.files]
    assert_cached(source, small)


@pytest.mark.parametrize("cut_off", [False, True])
def test_download_that_stays_corrupted_leaves_nothing(source, server, small, first, cut_off):
    server.replies[first] = [small.files[first][:40]]
    if cut_off:  # the connection breaks before all that was announced has come
        server.length[first] = len(small.files[first])
    with pytest.raises(ConnectionError, match=f"could not download {server.url}/{first}"):
        sources.read(source)
    assert server.asked == [first, first]
    assert list(source.cache.iterdir()) == []


@idx_only
def test_failure_half_way_keeps_the_good_files_for_the_next_time(source, server, small):
    last = source.files[-1]
    good = server.replies.pop(last)
    with pytest.raises(ConnectionError, match="404"):
        sources.read(source)
    server.replies[last] = good
    server.asked.clear()
    assert_is_raw(sources.read(source), small)
    assert server.asked == [last]
    assert_cached(source, small)


@damage
def test_corrupted_file_in_the_cache_is_fetched_again(source, server, small, first, damaged):
    store(source.cache, small.files | {first: damaged(small.files[first])})
    with pytest.warns(UserWarning, match=f"{first} is corrupted.*not used"):
        found = sources.read(source)
    assert_is_raw(found, small)
    assert server.asked == [first]
    assert_cached(source, small)


def test_without_a_network_the_error_says_where_to_put_the_files(source, server, small):
    offline = replace(source, url="http://127.0.0.1:9/data")  # the discard port: nobody listens
    with pytest.raises(ConnectionError) as failure:
        sources.read(offline)
    for needed in (*source.files, str(source.cache), "ORTHOBOOK_DATA", "folder", "http://127.0.0.1:9/data"):
        assert needed in str(failure.value)
    store(source.cache, small.files)  # as the message says
    assert_is_raw(sources.read(offline), small)
    assert server.asked == []


def in_turn(files):
    """Return what is asked of a mirror that has no subfolder: each file there, then in the folder itself."""
    return [address for file in files for address in (f"tiny/{file}", file)]


def test_address_can_be_replaced(source, server, small, monkeypatch):
    monkeypatch.setenv("ORTHOBOOK_DATA_URL", server.url + "/")
    assert_is_raw(sources.read(replace(source, url="http://127.0.0.1:9/")), small)
    assert server.asked == in_turn(small.files)


def test_address_can_have_a_subfolder_for_each_data_set(source, server, small, other, monkeypatch):
    server.replies = {f"tiny/{file}": [content] for file, content in small.files.items()}
    server.replies |= {file: [content] for file, content in other.files.items()}
    monkeypatch.setenv("ORTHOBOOK_DATA_URL", server.url)
    assert_is_raw(sources.read(replace(source, url="http://127.0.0.1:9/")), small)
    assert server.asked == [f"tiny/{file}" for file in small.files]


def test_corrupted_download_from_a_subfolder_is_asked_for_again(source, server, small, first, monkeypatch):
    server.replies = {f"tiny/{file}": [content] for file, content in small.files.items()}
    server.replies[f"tiny/{first}"].insert(0, b"damaged")
    monkeypatch.setenv("ORTHOBOOK_DATA_URL", server.url)
    assert_is_raw(sources.read(source), small)
    assert server.asked == [*in_turn([first]), *(f"tiny/{file}" for file in small.files)]
    assert_cached(source, small)


def test_address_that_has_no_files_is_named_with_its_subfolder(source, server, first, monkeypatch):
    server.replies = {}
    monkeypatch.setenv("ORTHOBOOK_DATA_URL", server.url)
    with pytest.raises(ConnectionError) as failure:
        sources.read(source)
    for address in (f"{server.url}/tiny/{first}", f"{server.url}/{first}"):
        assert str(failure.value).count(f"could not download {address} to") == 1
    assert server.asked == in_turn([first, first])


def test_named_folder_comes_first_then_the_variable_then_the_package(
    source, server, small, first, tmp_path, monkeypatch
):
    store(source.packaged, small.files)
    assert_is_raw(sources.read(source), small)  # the package, not the server
    monkeypatch.setenv("ORTHOBOOK_DATA", str(tmp_path / "named by variable"))
    with pytest.raises(FileNotFoundError, match="named by variable"):
        sources.read(source)
    store(tmp_path / "named by variable", small.files)
    assert_is_raw(sources.read(source), small)
    with pytest.raises(FileNotFoundError, match=f"named by argument/{first}"):
        sources.read(source, tmp_path / "named by argument")
    monkeypatch.setenv("ORTHOBOOK_DATA", str(tmp_path / "nowhere"))
    assert_is_raw(sources.read(source, store(tmp_path / "named by argument", small.files)), small)
    assert server.asked == []
    assert not source.cache.exists()


def test_it_is_known_whether_files_are_stored(source, small, first, tmp_path, monkeypatch):
    assert not sources.is_stored(source)
    store(source.cache, small.files)
    assert sources.is_stored(source)
    (source.cache / first).unlink()
    assert not sources.is_stored(source)
    store(source.packaged, small.files)
    assert sources.is_stored(source)
    monkeypatch.setenv("ORTHOBOOK_DATA", str(tmp_path / "named"))
    assert not sources.is_stored(source)  # then no other place is searched
    store(tmp_path / "named" / source.name, small.files)
    assert sources.is_stored(source)


@pytest.mark.parametrize("by_variable", [False, True])
def test_one_folder_can_serve_several_data_sets(source, server, small, tmp_path, monkeypatch, by_variable):
    one, two, three = small_idx("one", first=1), small_idx("two", first=2), small_records("three", first=3)
    store(tmp_path / "all", one.files)  # the folder's own files, and a subfolder for each other data set
    for other in (two, three, small):
        store(tmp_path / "all" / other.source.name, other.files)
    if by_variable:
        monkeypatch.setenv("ORTHOBOOK_DATA", str(tmp_path / "all"))
    folder = None if by_variable else tmp_path / "all"
    for other in (one, two, three, small):
        assert_is_raw(sources.read(replace(other.source, url=server.url), folder), other)
    assert server.asked == []


def test_corrupted_package_is_passed_over(source, server, small, first):
    store(source.packaged, small.files | {first: b"damaged"})
    store(source.cache, small.files)
    with pytest.warns(UserWarning, match=f"packaged/{first} is corrupted"):
        found = sources.read(source)
    assert_is_raw(found, small)
    assert server.asked == []


def test_no_package_is_needed(source, server, small):
    store(source.cache, small.files)
    assert_is_raw(sources.read(replace(source, packaged=None)), small)
    assert server.asked == []


def test_corrupted_file_in_a_named_folder_is_an_error(source, server, small, other, first, tmp_path):
    good = source.digests[0]
    folder = store(tmp_path / "named", small.files | {first: other.files[first]})
    with pytest.raises(ValueError, match=f"named/{first} is corrupted.*{other.source.digests[0]}, not {good}"):
        sources.read(source, folder)
    (folder / first).write_bytes(small.files[first][:30])
    with pytest.raises(ValueError, match=f"named/{first} is corrupted.*{good}"):
        sources.read(source, folder)
    assert server.asked == []


def test_file_of_another_data_set_is_called_that(source, server, small, other, first, tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "other", other.source)
    folder = store(tmp_path / "named", other.files)
    with pytest.raises(ValueError, match=f"named/{first} is a file of other, not of tiny .* subfolder"):
        sources.read(source, folder)
    store(folder / "tiny", small.files)  # as the message says
    assert_is_raw(sources.read(source, folder), small)
    store(source.cache, other.files)
    with pytest.warns(UserWarning, match=f"cache/{first} is a file of other"):
        found = sources.read(source)
    assert_is_raw(found, small)
    assert_cached(source, small)


@with_full_set
def test_fashion_mnist_is_not_mnist():
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is a file of fashion-mnist, not of mnist"):
        sources.read(sources.MNIST, DEBIAN)


def test_missing_file_in_a_named_folder_is_an_error(source, small, tmp_path):
    folder = store(tmp_path / "named", small.files)
    last = source.files[-1]
    (folder / last).unlink()
    with pytest.raises(FileNotFoundError, match=f"no file {folder}/{last}: put .* into {folder} or {folder}/tiny"):
        sources.read(source, folder)
    store(folder / "tiny", small.files)  # as the message says
    assert_is_raw(sources.read(source, folder), small)


def test_home_in_a_folder_is_understood(source, small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    store(tmp_path / "mine", small.files)
    assert_is_raw(sources.read(source, "~/mine"), small)


def compressed_otherwise(files):
    again = {file: gzip.compress(gzip.decompress(content), 1, mtime=7) for file, content in files.items()}
    assert all(again[file] != files[file] for file in files)
    return again


@idx_only
def test_idx_files_compressed_otherwise_are_good(source, small, tmp_path):
    assert_is_raw(sources.read(source, store(tmp_path / "named", compressed_otherwise(small.files))), small)


@records_only
def test_archive_compressed_otherwise_is_not_read(source, small, tmp_path):
    with pytest.raises(ValueError, match="is corrupted"):
        sources.read(source, store(tmp_path / "named", compressed_otherwise(small.files)))


@with_full_set
@idx_only
def test_published_files_of_fashion_mnist(server, tmp_path):
    """Debian's files, given back the gzip header of the published ones, are downloaded and have the known hashes.

    The header: magic, deflate, a name is present; the time, in seconds since 1970; no extra flags, Unix; the name.
    """
    for file in sources.FASHION_MNIST.files:
        time = {"train": 1504176606, "t10k": 1504176627}[file.split("-")[0]]  # 31 August 2017, 10:50 UTC
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + b"\0\x03" + Path(file).stem.encode() + b"\0"
        server.replies[file] = [header + (DEBIAN / file).read_bytes()[10:]]
    source = replace(sources.FASHION_MNIST, url=server.url, packaged=tmp_path / "none", cache=tmp_path / "cache")
    found = sources.read(source)
    assert server.asked == list(source.files)
    assert found["train_images"].shape == (60_000, 28, 28)
