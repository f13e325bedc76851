"""Small data sets in the formats of the real ones, and the real Fashion-MNIST where it is installed."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import dataclass, replace

import numpy as np
import pytest

from orthobook.data import sources

DEBIAN = sources.FASHION_MNIST.packaged
with_full_set = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason=f"needs the full Fashion-MNIST in {DEBIAN} (Debian's dataset-fashion-mnist)"
)


@dataclass(frozen=True)
class Small:
    """A source whose files are at hand: their names and bytes, and the arrays that they hold."""

    source: sources.Source
    files: dict[str, bytes]
    raw: dict[str, np.ndarray]


def idx(array):
    """Return an array of bytes in MNIST's format, written with struct alone."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def records(images, labels):
    """Return images and labels in CIFAR-10's binary format."""
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def archive(members, kind=tarfile.REGTYPE):
    """Return a compressed archive with a folder that has these members, and a page besides."""
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as tar:
        for name, content in {"readme.html": b"<html>", **members}.items():
            entry = tarfile.TarInfo(f"batches/{name}")
            entry.type, entry.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(stored.getvalue(), mtime=0)


def digests(contents):
    return tuple(hashlib.sha256(content).hexdigest() for content in contents)


def numbers(*shape, first):
    return (np.arange(np.prod(shape)) + first).astype(np.uint8).reshape(shape)


def raw_arrays(shape, first):
    """Return ten training and four test images, no two alike, and their labels."""
    return {
        "train_images": numbers(10, *shape, first=first),
        "train_labels": numbers(10, first=0),
        "test_images": numbers(4, *shape, first=first + 100),
        "test_labels": numbers(4, first=3),
    }


def small_idx(name="tiny", first=0):
    """Return a data set of images of 3 × 2 pixels in four idx files."""
    raw = raw_arrays((3, 2), first)
    contents = [idx(raw[key]) for key in sources.ARRAYS]
    files = [gzip.compress(content, mtime=0) for content in contents]
    source = replace(sources.MNIST, name=name, published=digests(files), contents=digests(contents))
    return Small(source, dict(zip(source.files, files, strict=True)), raw)


def batches(source, raw):
    """Return the members of an archive of records, the test batch first, the training batches from last to first."""
    parts = zip(np.split(raw["train_images"], 5), np.split(raw["train_labels"], 5), strict=True)
    train = [records(images, labels) for images, labels in parts]
    (test,) = source.test
    members = {test: records(raw["test_images"], raw["test_labels"])}
    return members | dict(reversed(list(zip(source.train, train, strict=True))))


def small_records(name="tiny", first=0):
    """Return a data set of images of 4 × 4 pixels in three colours, in one archive of records."""
    source = replace(sources.CIFAR10, name=name, image_shape=(3, 4, 4))
    raw = raw_arrays(source.image_shape, first)
    stored = archive(batches(source, raw))
    return Small(replace(source, published=digests([stored])), {source.files[0]: stored}, raw)


SMALL = {"idx": small_idx, "records": small_records}
