"""Data sets: the embedded subset, the full sets, and data of one's own."""

import hashlib
import re
from dataclasses import replace

import make_fashion_mnist_small as script
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_sources import DEBIAN, small_idx, small_records, with_full_set

import orthobook as ob
from orthobook.data import datasets as data
from orthobook.data import sources

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
    whole = sources.read(sources.FASHION_MNIST, DEBIAN)
    label_of = {
        image.tobytes(): label for image, label in zip(whole[f"{split}_images"], whole[f"{split}_labels"], strict=True)
    }
    drawn = [image.tobytes() for image in small_raw[f"{split}_images"]]
    assert len(set(drawn)) == len(drawn)
    assert [label_of[image] for image in drawn] == small_raw[f"{split}_labels"].tolist()


# --- The full sets -----------------------------------------------------------------------------------------------


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
    assert data.data_sets() == ["fashion-mnist-small", "fashion-mnist", "mnist", "cifar10"]
    for name in ("cifar-10", "tiny", None):
        with pytest.raises(ValueError, match=f"{name!r}; allowed: fashion-mnist-small, fashion-mnist, mnist, cifar10"):
            data.load(name)


@pytest.mark.parametrize(
    ("name", "small", "shape"),
    [("mnist", small_idx(), (3, 2)), ("fashion-mnist", small_idx(), (3, 2)), ("cifar10", small_records(), (3, 4, 4))],
)
def test_sources_become_data_sets(tmp_path, monkeypatch, name, small, shape):
    known = sources.SOURCES[name]
    monkeypatch.setitem(sources.SOURCES, name, replace(small.source, name=name, classes=known.classes))
    for file, content in small.files.items():
        (tmp_path / file).write_bytes(content)
    made = data.load(name, folder=tmp_path)
    assert (made.name, made.classes, made.image_shape) == (name, known.classes, shape)
    assert_standardised(made.train.images)
    for split, size in ((made.train, 10), (made.test, 4)):
        raw = small.raw["train_images" if split is made.train else "test_images"]
        assert raw.shape == (size, *shape)
        assert torch.equal((made.pixels(split.images) * 255).round().to(torch.uint8), torch.from_numpy(raw))
    assert made.train.labels.tolist() == list(range(10))
    assert made.test.labels.tolist() == [3, 4, 5, 6]


def test_networks_for_images_find_the_colours_of_a_row(monkeypatch, tmp_path):
    small = small_records()
    monkeypatch.setitem(sources.SOURCES, "cifar10", small.source)
    (tmp_path / small.source.files[0]).write_bytes(*small.files.values())
    made = data.load("cifar10", folder=tmp_path)
    net = ob.build("conv-maxmin", depth=1, width=4, inputs=made.image_shape, downsampling=0, classes=10)
    with torch.no_grad():
        net.embedding.weight.copy_(torch.eye(4)[:, :3])  # the first three channels are red, green and blue
    maps = net.embedding(made.test.images)
    colours = maps[..., :3].detach() * made.std + made.mean
    expected = torch.from_numpy(small.raw["test_images"]).movedim(1, -1) / 255
    torch.testing.assert_close(colours, expected)
    assert net(made.test.images).shape == (4, 10)


def test_embedded_data_take_no_folder(tmp_path):
    with pytest.raises(ValueError, match=f"folder must be None, got '{tmp_path}'"):
        data.load("fashion-mnist-small", folder=tmp_path)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=4, min_side=2, max_side=5)))
def test_any_images_are_standardised(images):
    images.flat[:2] = 0, 255  # not all alike
    labels = np.arange(len(images), dtype=np.uint8)
    raw = dict(zip(sources.ARRAYS, (images, labels, images, labels), strict=True))
    made = data.standardised("made", raw, classes=tuple("abcdefghi"))
    assert made.image_shape == images.shape[1:]
    assert_standardised(made.train.images)


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


@given(st.integers(2, 40), st.data())
def test_held_out_examples_and_the_others_are_the_training_set(size, drawn):
    held_out = drawn.draw(st.integers(1, size - 1))
    numbers = torch.arange(2 * size)
    train = data.Split(numbers[:size, None].float(), numbers[:size] % 3)
    test = data.Split(numbers[size:, None].float(), numbers[size:] % 3)
    own = data.Dataset("own", train, test, ("a", "b", "c"), image_shape=(1,), mean=0.25, std=0.5)
    rest, held = own.held_out(held_out)
    assert (len(rest.train), len(held)) == (size - held_out, held_out)
    found = [*rest.train.images.flatten().tolist(), *held.images.flatten().tolist()]
    assert sorted(found) == list(range(size))  # each once: disjoint, and all of them
    for split in (rest.train, held):
        assert torch.equal(split.labels, split.images.flatten().long() % 3)
    assert rest.test is test
    assert (rest.name, rest.classes, rest.image_shape, rest.mean, rest.std) == ("own", own.classes, (1,), 0.25, 0.5)
    assert own.train is train


def test_the_same_examples_are_held_out_every_time(small):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    rest, held = small.held_out(1000)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, held_again = small.held_out(1000)
    assert torch.equal(held.images, held_again.images)
    assert torch.equal(held.labels, held_again.labels)
    assert torch.equal(rest.train.images, again.train.images)
    # A random choice, not the first or last ones: hypergeometric, each class 100 times, standard deviation 8.9.
    counts = held.labels.bincount(minlength=10)
    assert counts.min() > 100 - 6 * 8.9
    assert counts.max() < 100 + 6 * 8.9
    for block in (small.train.images[:1000], small.train.images[-1000:]):
        assert not torch.equal(held.images, block)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (0, "examples must be a whole number of at least 1, got 0"),
        (-1, "at least 1, got -1"),
        (2.0, "whole number .* got 2.0"),
        (True, "whole number .* got True"),
        (8000, "examples must be below the 8000 training examples, got 8000"),
    ],
)
def test_bad_number_of_held_out_examples_is_refused(small, examples, message):
    with pytest.raises(ValueError, match=message):
        small.held_out(examples)


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
