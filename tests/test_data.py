"""Data sets: the embedded subset, the full set from disk and from a server, and data of one's own."""

import gzip
import hashlib
import os
import re
import struct
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import make_fashion_mnist_small as script
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orthobook import data

DEBIAN = data.FASHION_MNIST.packaged
with_full_set = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason=f"needs the full Fashion-MNIST in {DEBIAN} (Debian's dataset-fashion-mnist)"
)


# --- The embedded subset -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return data.load("fashion-mnist-small")


@pytest.fixture(scope="module")
def small_raw():
    return data.read_small(data.SMALL_FILE)


@pytest.fixture(scope="module")
def full():
    return data.load("fashion-mnist", folder=DEBIAN)


def assert_standardised(images):
    """Mean 0 and mean square 1, up to the one rounding of each value to float32.

    A value x is stored as x (1 + e) with |e| ≤ u = 2⁻²⁴. So the mean moves by at most u E|x| ≤ u, as E|x| ≤ 1, and the
    mean square by at most 2u + u². The float64 arithmetic of the check itself is far below u.
    """
    unit = 2.0**-24
    assert images.dtype == torch.float32
    exact = images.double()
    assert abs(exact.mean().item()) <= 1.01 * unit
    assert abs(exact.square().mean().item() - 1) <= 2.01 * unit


def test_small_has_equally_many_images_of_each_class(small):
    assert small.train.images.shape == (8000, 784)
    assert small.test.images.shape == (2000, 784)
    assert (len(small.train), len(small.test)) == (8000, 2000)
    assert small.train.labels.dtype == small.test.labels.dtype == torch.int64
    assert small.train.labels.bincount().tolist() == [800] * 10
    assert small.test.labels.bincount().tolist() == [200] * 10
    assert len(small.classes) == 10
    assert small.image_shape == (28, 28)


def test_small_is_shuffled(small):
    # The first 1,000 of 8,000 hold each class about 100 times: hypergeometric, standard deviation 8.9.
    counts = small.train.labels[:1000].bincount(minlength=10)
    assert counts.min() > 100 - 6 * 8.9
    assert counts.max() < 100 + 6 * 8.9


def test_small_is_standardised_by_its_training_pixels(small, small_raw):
    assert_standardised(small.train.images)
    pixels = small_raw["train_images"].astype(np.float64) / 255
    assert small.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert small.std == pytest.approx(pixels.std(), rel=1e-12)
    # The test images share the training mean, so theirs is not exactly 0: had they used their own, it would be.
    assert abs(small.test.images.double().mean().item()) > 1e-4


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_are_the_raw_images(small, small_raw, split):
    shown = small.pixels(getattr(small, split).images)
    raw = torch.from_numpy(small_raw[f"{split}_images"])
    assert shown.shape == raw.shape
    assert torch.equal((shown * 255).round().to(torch.uint8), raw)
    # Five roundings to float32 (level, std, product, mean, sum), each of a number of at most 1.
    torch.testing.assert_close(shown.double(), raw.double() / 255, rtol=0, atol=5 * 2.0**-24)
    assert shown.min() == 0
    assert shown.max() <= 1


def test_pixels_are_clipped(small):
    shown = small.pixels(torch.tensor([[-100.0, 100.0] * 392]))
    assert shown.shape == (1, 28, 28)
    assert shown.flatten().tolist() == [0.0, 1.0] * 392


@pytest.mark.parametrize("shape", [(784,), (2, 783), (2, 28, 28)])
def test_pixels_of_another_size_are_refused(small, shape):
    with pytest.raises(ValueError, match=re.escape(f"(N, 784), got {shape}")):
        small.pixels(torch.zeros(shape))


def test_small_corrupted_is_an_error(tmp_path):
    stored = bytearray(data.SMALL_FILE.read_bytes())
    stored[1000] ^= 1
    path = tmp_path / "small.npz"
    path.write_bytes(stored)
    with pytest.raises(ValueError, match=f"small.npz is corrupted.*{data.SMALL_SHA256}"):
        data.read_small(path)


def test_licence_lies_beside_the_subset():
    licence = data.SMALL_FILE.with_name("LICENSE.fashion-mnist").read_text(encoding="utf-8")
    assert "Permission is hereby granted, free of charge" in licence
    assert "Zalando SE" in licence


@with_full_set
def test_making_the_subset_again_gives_the_same_bytes():
    made = script.archive(script.subset(DEBIAN))
    assert hashlib.sha256(made).hexdigest() == data.SMALL_SHA256
    assert made == data.SMALL_FILE.read_bytes()


@with_full_set
@pytest.mark.parametrize("split", ["train", "test"])
def test_subset_is_drawn_from_the_full_set_without_repetition(small_raw, split):
    whole = data.read(data.FASHION_MNIST, DEBIAN)
    label_of = {
        image.tobytes(): label for image, label in zip(whole[f"{split}_images"], whole[f"{split}_labels"], strict=True)
    }
    drawn = [image.tobytes() for image in small_raw[f"{split}_images"]]
    assert len(set(drawn)) == len(drawn)
    assert [label_of[image] for image in drawn] == small_raw[f"{split}_labels"].tolist()


# --- The full set ------------------------------------------------------------------------------------------------


@with_full_set
def test_full_set(full):
    assert full.train.images.shape == (60_000, 784)
    assert full.test.images.shape == (10_000, 784)
    assert full.train.labels.bincount().tolist() == [6000] * 10
    assert full.test.labels.bincount().tolist() == [1000] * 10
    assert_standardised(full.train.images)
    # The constants that many published programs use for Fashion-MNIST.
    assert full.mean == pytest.approx(0.2860, abs=5e-5)
    assert full.std == pytest.approx(0.3530, abs=5e-5)


def test_names():
    assert data.data_sets() == ["fashion-mnist-small", "fashion-mnist"]
    with pytest.raises(ValueError, match="'mnist'; allowed: fashion-mnist-small, fashion-mnist"):
        data.load("mnist")


def test_embedded_data_take_no_folder(tmp_path):
    with pytest.raises(ValueError, match=f"folder must be None, got '{tmp_path}'"):
        data.load("fashion-mnist-small", folder=tmp_path)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(2, 9), st.integers(1, 5), st.integers(1, 5))))
def test_any_images_are_standardised(images):
    images.flat[:2] = 0, 255  # not all alike
    labels = np.arange(len(images), dtype=np.uint8)
    raw = dict(zip(data.ARRAYS, (images, labels, images, labels), strict=True))
    made = data.standardised("made", raw, classes=tuple("abcdefghi"))
    assert made.image_shape == images.shape[1:]
    assert_standardised(made.train.images)


# --- idx files ---------------------------------------------------------------------------------------------------


def idx(array):
    """Return an array of bytes in MNIST's format, written with struct alone."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(arrays.arrays(np.uint8, arrays.array_shapes(max_dims=4, max_side=6)))
def test_idx_round_trip(array):
    parsed = data.parse_idx(idx(array))
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
        data.parse_idx(stored)


# --- Finding, downloading and verifying files ----------------------------------------------------------------------

# Twelve training and four test images of 3 × 2 pixels.
RAW = {
    "train_images": np.arange(72, dtype=np.uint8).reshape(12, 3, 2),
    "train_labels": np.arange(12, dtype=np.uint8) % 2,
    "test_images": np.arange(24, dtype=np.uint8).reshape(4, 3, 2),
    "test_labels": np.arange(4, dtype=np.uint8) % 2,
}
FILES = dict(zip(data.FASHION_MNIST.files, (gzip.compress(idx(RAW[key]), mtime=0) for key in data.ARRAYS), strict=True))
IMAGES = data.FASHION_MNIST.files[0]


class Server(ThreadingHTTPServer):
    """Answers each file's requests with the replies set for it in turn, the last one again and again."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = {file: [content] for file, content in FILES.items()}
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


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def source(server, tmp_path):
    """Return the small files above as a source that the local server publishes; nothing is on disk yet."""
    return replace(
        data.FASHION_MNIST,
        name="tiny",
        url=server.url,
        published=tuple(hashlib.sha256(content).hexdigest() for content in FILES.values()),
        contents=tuple(hashlib.sha256(idx(RAW[key])).hexdigest() for key in data.ARRAYS),
        packaged=tmp_path / "packaged",
        cache=tmp_path / "cache",
    )


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    monkeypatch.delenv("ORTHOBOOK_DATA", raising=False)
    monkeypatch.delenv("ORTHOBOOK_DATA_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def store(folder, files=FILES):
    folder.mkdir(exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def assert_is_raw(found):
    assert list(found) == list(data.ARRAYS)
    for key in data.ARRAYS:
        np.testing.assert_array_equal(found[key], RAW[key], strict=True)


def assert_cached(source):
    """Exactly the four good files, no temporary one beside them."""
    assert {path.name: path.read_bytes() for path in source.cache.iterdir()} == FILES


def test_downloaded_once_with_a_progress_bar(source, server, capfd):
    assert_is_raw(data.read(source))
    assert server.asked == list(FILES)
    assert_cached(source)
    assert ("100%" in capfd.readouterr().err) == ("TQDM_DISABLE" not in os.environ)
    assert_is_raw(data.read(source))
    assert server.asked == list(FILES)


@pytest.mark.parametrize(
    "first",
    [FILES[IMAGES][:-9], b"", b"<html>Log in to the network</html>", FILES[data.FASHION_MNIST.files[1]]],
    ids=["truncated", "empty", "log-in page", "another file"],
)
def test_corrupted_download_is_asked_for_again(source, server, first):
    server.replies[IMAGES].insert(0, first)
    assert_is_raw(data.read(source))
    assert server.asked == [IMAGES, *FILES]
    assert_cached(source)


@pytest.mark.parametrize("cut_off", [False, True])
def test_download_that_stays_corrupted_leaves_nothing(source, server, cut_off):
    server.replies[IMAGES] = [FILES[IMAGES][:40]]
    if cut_off:  # the connection breaks before all that was announced has come
        server.length[IMAGES] = len(FILES[IMAGES])
    with pytest.raises(ConnectionError, match=f"could not download {server.url}/{IMAGES}"):
        data.read(source)
    assert server.asked == [IMAGES, IMAGES]
    assert list(source.cache.iterdir()) == []


def test_failure_half_way_keeps_the_good_files_for_the_next_time(source, server):
    last = source.files[-1]
    good = server.replies.pop(last)
    with pytest.raises(ConnectionError, match="404"):
        data.read(source)
    server.replies[last] = good
    server.asked.clear()
    assert_is_raw(data.read(source))
    assert server.asked == [last]
    assert_cached(source)


@pytest.mark.parametrize(
    "damaged",
    [FILES[IMAGES][:30], b"", gzip.compress(idx(RAW["test_images"]))],
    ids=["truncated", "empty", "another file"],
)
def test_corrupted_file_in_the_cache_is_fetched_again(source, server, damaged):
    store(source.cache)
    (source.cache / IMAGES).write_bytes(damaged)
    with pytest.warns(UserWarning, match=f"{IMAGES} is corrupted.*not used"):
        found = data.read(source)
    assert_is_raw(found)
    assert server.asked == [IMAGES]
    assert_cached(source)


def test_without_a_network_the_error_says_where_to_put_the_files(source, server):
    offline = replace(source, url="http://127.0.0.1:9/data")  # the discard port: nobody listens
    with pytest.raises(ConnectionError) as failure:
        data.read(offline)
    for needed in (*source.files, str(source.cache), "ORTHOBOOK_DATA", "folder", "http://127.0.0.1:9/data"):
        assert needed in str(failure.value)
    store(source.cache)  # as the message says
    assert_is_raw(data.read(offline))
    assert server.asked == []


def test_address_can_be_replaced(source, server, monkeypatch):
    monkeypatch.setenv("ORTHOBOOK_DATA_URL", server.url + "/")
    assert_is_raw(data.read(replace(source, url="http://127.0.0.1:9/")))
    assert server.asked == list(FILES)


def test_named_folder_comes_first_then_the_variable_then_the_package(source, server, tmp_path, monkeypatch):
    store(source.packaged)
    assert_is_raw(data.read(source))  # the package, not the server
    monkeypatch.setenv("ORTHOBOOK_DATA", str(tmp_path / "named by variable"))
    with pytest.raises(FileNotFoundError, match="named by variable"):
        data.read(source)
    store(tmp_path / "named by variable")
    assert_is_raw(data.read(source))
    with pytest.raises(FileNotFoundError, match=f"named by argument/{IMAGES}"):
        data.read(source, tmp_path / "named by argument")
    monkeypatch.setenv("ORTHOBOOK_DATA", str(tmp_path / "nowhere"))
    assert_is_raw(data.read(source, store(tmp_path / "named by argument")))
    assert server.asked == []
    assert not source.cache.exists()


def test_corrupted_package_is_passed_over(source, server):
    store(source.packaged, FILES | {IMAGES: b"damaged"})
    store(source.cache)
    with pytest.warns(UserWarning, match=f"packaged/{IMAGES} is corrupted"):
        found = data.read(source)
    assert_is_raw(found)
    assert server.asked == []


def test_corrupted_file_in_a_named_folder_is_an_error(source, server, tmp_path):
    other = idx(RAW["test_images"])
    folder = store(tmp_path / "named", FILES | {IMAGES: gzip.compress(other)})
    found = hashlib.sha256(other).hexdigest()
    with pytest.raises(ValueError, match=f"named/{IMAGES} is corrupted.*{found}, not {source.contents[0]}"):
        data.read(source, folder)
    (folder / IMAGES).write_bytes(FILES[IMAGES][:30])
    with pytest.raises(ValueError, match=f"named/{IMAGES} is corrupted.*{source.contents[0]}"):
        data.read(source, folder)
    assert server.asked == []


def test_missing_file_in_a_named_folder_is_an_error(source, tmp_path):
    folder = store(tmp_path / "named")
    (folder / source.files[2]).unlink()
    with pytest.raises(FileNotFoundError, match=f"named/{source.files[2]}"):
        data.read(source, folder)


def test_home_in_a_folder_is_understood(source, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    store(tmp_path / "mine")
    assert_is_raw(data.read(source, "~/mine"))


def test_files_compressed_otherwise_are_good(source, tmp_path):
    again = {file: gzip.compress(gzip.decompress(content), 1, mtime=7) for file, content in FILES.items()}
    assert all(again[file] != FILES[file] for file in FILES)
    assert_is_raw(data.read(source, store(tmp_path / "named", again)))


@with_full_set
def test_published_files_of_fashion_mnist(server, tmp_path):
    """Debian's files, given back the gzip header of the published ones, are downloaded and have the known hashes.

    The header: magic, deflate, a name is present; the time, in seconds since 1970; no extra flags, Unix; the name.
    """
    for file in data.FASHION_MNIST.files:
        time = {"train": 1504176606, "t10k": 1504176627}[file.split("-")[0]]  # 31 August 2017, 10:50 UTC
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + b"\0\x03" + Path(file).stem.encode() + b"\0"
        server.replies[file] = [header + (DEBIAN / file).read_bytes()[10:]]
    source = replace(data.FASHION_MNIST, url=server.url, packaged=tmp_path / "none", cache=tmp_path / "cache")
    found = data.read(source)
    assert server.asked == list(source.files)
    assert found["train_images"].shape == (60_000, 28, 28)


# --- Data of one's own -------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.randoms())
def test_own_data(train, test, features, classes, random):
    def split(size):
        return data.Split(torch.randn(size, features), torch.tensor([random.randrange(classes) for _ in range(size)]))

    names = tuple(f"class {number}" for number in range(classes))
    own = data.Dataset("own", split(train), split(test), names, image_shape=(features,))
    assert (len(own.train), len(own.test)) == (train, test)
    images = torch.rand(3, features)
    assert torch.equal(own.pixels(images), images)  # not standardised: mean 0, std 1


def with_value(value):
    images = torch.zeros(3, 2)
    images[1, 0] = value
    return images


LABELS = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(3), LABELS, r"shape \(N, features\), not empty, got \(3,\)"),
        (torch.zeros(3, 1, 2), LABELS, r"shape \(N, features\), not empty, got \(3, 1, 2\)"),
        (torch.zeros(0, 2), LABELS[:0], r"not empty, got \(0, 2\)"),
        (torch.zeros(3, 0), LABELS, r"not empty, got \(3, 0\)"),
        ([[0.0]], LABELS, r"got \[\[0.0\]\]"),
        (torch.zeros(3, 2, dtype=torch.uint8), LABELS, "floating-point type, got .* torch.uint8"),
        (with_value(float("nan")), LABELS, r"finite, got images\[1, 0\] = nan"),
        (with_value(float("-inf")), LABELS, r"finite, got images\[1, 0\] = -inf"),
        (torch.zeros(3, 2), LABELS[:2], "3 images, 2 labels"),
        (torch.zeros(3, 2), LABELS[:, None], r"shape \(N,\) and type torch.int64, got \(3, 1\)"),
        (torch.zeros(3, 2), LABELS.float(), "type torch.int64, got .* torch.float32"),
        (torch.zeros(3, 2), [0, 1, 2], r"got \[0, 1, 2\]"),
        (torch.zeros(3, 2), LABELS - 1, "at least 0, got -1"),
    ],
)
def test_bad_split_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        data.Split(images, labels)


SPLIT = data.Split(torch.zeros(3, 4), LABELS)
FIELDS = {"name": "own", "train": SPLIT, "test": SPLIT, "classes": ("a", "b", "c"), "image_shape": (2, 2)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": data.Split(torch.zeros(3, 5), LABELS)}, "test must have the 4 features of train, got 5"),
        ({"test": data.Split(torch.zeros(3, 4).double(), LABELS)}, "torch.float32 of train, got torch.float64"),
        ({"test": data.Split(torch.zeros(3, 4), LABELS + 1)}, "must be 0 … 2, got 3 in test"),
        ({"classes": ("a", "b")}, "must be 0 … 1, got 2 in train"),
        ({"classes": ()}, r"classes must be .* got \(\)"),
        ({"classes": "abc"}, "classes must be .* got 'abc'"),
        ({"classes": (0, 1, 2)}, r"classes must be .* got \(0, 1, 2\)"),
        ({"image_shape": (2, 3)}, r"image_shape must have 4 entries in all, .* got \(2, 3\)"),
        ({"image_shape": (-2, -2)}, r"positive whole numbers, got \(-2, -2\)"),
        ({"image_shape": 4}, "positive whole numbers, got 4"),
        ({"mean": float("nan")}, "mean must be finite, got nan"),
        ({"std": 0.0}, "std must be positive and finite, got 0.0"),
        ({"std": float("inf")}, "std must be positive and finite, got inf"),
    ],
)
def test_bad_data_set_is_refused(changed, message):
    data.Dataset(**FIELDS)
    with pytest.raises(ValueError, match=message):
        data.Dataset(**(FIELDS | changed))


def test_splits_show_their_shapes_not_their_numbers():
    assert repr(SPLIT) == "Split(images: (3, 4) torch.float32, labels: (3,) torch.int64)"
