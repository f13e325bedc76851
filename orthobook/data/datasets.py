"""Data sets: images as standardised rows, with their labels.

    "fashion-mnist-small"    8,000 training and 2,000 test images, equally many of each class; in the package
    "fashion-mnist"          60,000 training and 10,000 test images of 28 × 28 grey pixels
    "mnist"                  as many and of the same size: handwritten digits
    "cifar10"                50,000 training and 10,000 test images of 32 × 32 pixels in three colours

All but the first are read from disk or downloaded once, and verified (`orthobook.data.sources`).

Pixels p in [0, 1] become x = (p − mean) / std, with one mean and one standard deviation for all pixels of all
training images, so that E[x²] = 1 over the training set. (A mean and a standard deviation for each pixel
would blow up the pixels at the border, which are black in nearly all images.)

Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747; its MIT licence lies beside this file.
MNIST: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits". CIFAR-10: A. Krizhevsky,
"Learning multiple layers of features from tiny images", 2009. Neither is part of the package.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from orthobook._checks import whole_number
from orthobook.data.sources import ARRAYS, FASHION_MNIST, SOURCES, Raw, read

__all__ = ["Dataset", "Split", "data_sets", "load"]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Examples with their labels: the training half or the test half of a data set.

    Raises
    ------
    ValueError
        If the images are not a matrix of finite floating-point numbers with at least one row and one column,
        or the labels are not as many whole numbers (``torch.int64``) of at least 0.
    """

    images: Float[Tensor, "N features"]  # (N, features), one example a row
    labels: Int[Tensor, " N"]  # (N,), int64, the class of each example: 0 … classes − 1

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not isinstance(images, Tensor) or images.ndim != 2 or images.numel() == 0:
            raise ValueError(f"images must be a tensor of shape (N, features), not empty, got {_describe(images)}")
        if not images.is_floating_point():
            raise ValueError(f"images must have a floating-point type, got {_describe(images)}")
        if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.dtype != torch.int64:
            raise ValueError(f"labels must be a tensor of shape (N,) and type torch.int64, got {_describe(labels)}")
        if len(labels) != len(images):
            raise ValueError(f"there must be a label for each image, got {len(images)} images, {len(labels)} labels")
        finite = images.isfinite()
        if not finite.all():
            row, column = (~finite).nonzero()[0].tolist()
            raise ValueError(f"images must be finite, got images[{row}, {column}] = {images[row, column].item()}")
        if labels.min() < 0:
            raise ValueError(f"labels must be at least 0, got {labels.min().item()}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Split(images: {_describe(self.images)}, labels: {_describe(self.labels)})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification problem: training and test examples, and what is needed to show them.

    Your own data fit too: give any splits, and ``image_shape=(features,)`` if the examples are no images.

    Raises
    ------
    ValueError
        If the splits differ in features or type, a label has no class, or another field is out of range; the
        message names the value and says what is allowed.

    Examples
    --------
    >>> points = Split(torch.randn(90, 2), torch.randint(3, (90,)))
    >>> data = Dataset("blobs", train=points, test=points, classes=("a", "b", "c"), image_shape=(2,))
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]  # classes[label] is the name of the class
    image_shape: tuple[int, ...]  # (height, width) or (colours, height, width); its product is the number of features
    mean: float = 0.0  # of the training pixels, in [0, 1], before standardisation
    std: float = 1.0  # likewise their standard deviation

    def __post_init__(self) -> None:
        if not self.classes or not isinstance(self.classes, tuple) or set(map(type, self.classes)) != {str}:
            raise ValueError(f"classes must be a tuple of names, not empty, got {self.classes!r}")
        if not math.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean!r}")
        if not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"std must be positive and finite, got {self.std!r}")
        self._check_splits()

    def _check_splits(self) -> None:
        features = self.train.images.shape[1]
        if self.test.images.shape[1] != features:
            raise ValueError(f"test must have the {features} features of train, got {self.test.images.shape[1]}")
        if self.test.images.dtype != self.train.images.dtype:
            raise ValueError(
                f"test must have the type {self.train.images.dtype} of train, got {self.test.images.dtype}"
            )
        shape = self.image_shape
        if not isinstance(shape, tuple) or not all(isinstance(size, int) and size > 0 for size in shape):
            raise ValueError(f"image_shape must be a tuple of positive whole numbers, got {shape!r}")
        if math.prod(shape) != features:
            raise ValueError(f"image_shape must have {features} entries in all, as many as features, got {shape}")
        for name, split in (("train", self.train), ("test", self.test)):
            largest = int(split.labels.max())
            if largest >= len(self.classes):
                raise ValueError(f"labels must be 0 … {len(self.classes) - 1}, got {largest} in {name}")

    def pixels(self, images: Float[Tensor, "N features"]) -> Float[Tensor, "N ..."]:
        r"""Return images as they look: standardisation undone, values in [0, 1].

        Parameters
        ----------
        images : Tensor, shape (N, features)
            Standardised images, such as ``data.test.images[:8]``.

        Returns
        -------
        Tensor, shape (N, \*image_shape)
            Pixels, 0 for black and 1 for white. Values beyond, from rounding or a changed image, are clipped.

        Raises
        ------
        ValueError
            If the images do not have the data set's number of features.
        """
        features = math.prod(self.image_shape)
        if images.ndim != 2 or images.shape[1] != features:
            raise ValueError(f"images must have shape (N, {features}), got {tuple(images.shape)}")
        return (images * self.std + self.mean).clamp(0, 1).reshape(-1, *self.image_shape)

    def held_out(self, examples: int) -> tuple[Dataset, Split]:
        """Return the data set without some of its training examples, and those: a split for choosing between runs.

        Which ones is a fixed random choice, the same at every call; the test split stays as it is.

        Parameters
        ----------
        examples : int
            How many to hold out, from 1 to one less than the training examples.

        Raises
        ------
        ValueError
            If the number is out of range.
        """
        size = len(self.train)
        if whole_number("examples", examples, least=1) >= size:
            raise ValueError(f"examples must be below the {size} training examples, got {examples}")
        order = torch.randperm(size, generator=torch.Generator().manual_seed(0), device="cpu")
        kept, held = (
            Split(self.train.images[rows], self.train.labels[rows]) for rows in order.split([size - examples, examples])
        )
        return replace(self, train=kept), held


SMALL = "fashion-mnist-small"
SMALL_FILE = Path(__file__).with_name("fashion-mnist-small.npz")
SMALL_SHA256 = "dcdce8699cf3122bfbfc4f5a1041636d5dfa6cb9695c4132c58bf22c874d38ee"


def data_sets() -> list[str]:
    """Return the names that `load` knows."""
    return [SMALL, *SOURCES]


def load(name: str, *, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        ``"fashion-mnist-small"``, which needs no other file and no network, ``"fashion-mnist"``, ``"mnist"`` or
        ``"cifar10"``.
    folder : path, optional
        Folder with the files as they are published: the four ``.gz`` files of ``"fashion-mnist"`` or ``"mnist"``,
        ``cifar-10-binary.tar.gz`` of ``"cifar10"``. If it has a subfolder with the name of the data set, the files
        are read from that, so one folder can serve all data sets.

        By default the folder is the one that the environment variable ``ORTHOBOOK_DATA`` names. If it is not set, the
        files are looked for where Debian's package ``dataset-fashion-mnist`` puts them, then in the user's cache; if
        they are in neither, they are downloaded to the cache. ``ORTHOBOOK_DATA_URL`` replaces the address that they
        are downloaded from; there too the subfolder with the name of the data set comes first.

    Returns
    -------
    Dataset
        Images float32, standardised by the mean and standard deviation of all training pixels; labels int64. A row
        of ``"cifar10"`` is the image's red pixels, then the green, then the blue, as ``image_shape`` (3, 32, 32) says.

    Raises
    ------
    ValueError
        If the name is unknown, a file in the named folder is corrupted or another data set's, or a folder is given
        for the data set that is part of the package.
    FileNotFoundError
        If a folder was named, by argument or environment variable, and a file is missing in it.
    ConnectionError
        If the files have to be downloaded and cannot be; the message says where to put them by hand.

    Examples
    --------
    >>> data = load("fashion-mnist-small")
    >>> data.train.images.shape, data.train.labels.shape
    (torch.Size([8000, 784]), torch.Size([8000]))
    """
    if name not in data_sets():
        raise ValueError(f"unknown data set {name!r}; allowed: {', '.join(data_sets())}")
    if name != SMALL:
        return standardised(name, read(SOURCES[name], folder), SOURCES[name].classes)
    if folder is not None:
        raise ValueError(f"{SMALL} is part of the package, so folder must be None, got {os.fspath(folder)!r}")
    return standardised(name, read_small(SMALL_FILE), FASHION_MNIST.classes)


def read_small(path: Path) -> Raw:
    """Return the raw arrays of the embedded subset; ValueError if the file's SHA-256 is not the known one."""
    stored = path.read_bytes()
    digest = hashlib.sha256(stored).hexdigest()
    if digest != SMALL_SHA256:
        raise ValueError(f"{path} is corrupted: its SHA-256 is {digest}, not {SMALL_SHA256}; install orthobook again")
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in ARRAYS}


def standardised(name: str, raw: Raw, classes: tuple[str, ...]) -> Dataset:
    """Return raw arrays as a data set, standardised by mean and standard deviation of all training pixels."""
    mean, std = _moments(raw["train_images"])
    # One float32 for each of the 256 levels: each value is rounded once.
    levels = ((np.arange(256) / 255 - mean) / std).astype(np.float32)

    def split(images: UInt8[np.ndarray, "N ..."], labels: UInt8[np.ndarray, " N"]) -> Split:
        rows = levels[images.reshape(len(images), -1)]  # (N, features)
        return Split(torch.from_numpy(rows), torch.from_numpy(labels.astype(np.int64)))

    train = split(raw["train_images"], raw["train_labels"])
    test = split(raw["test_images"], raw["test_labels"])
    shape = tuple(raw["train_images"].shape[1:])
    return Dataset(name, train, test, classes, image_shape=shape, mean=mean, std=std)


def _moments(images: UInt8[np.ndarray, "N ..."]) -> tuple[float, float]:
    """Return mean and standard deviation of all pixels, in units of 255, from their histogram."""
    # image by image, as bincount needs eight bytes for each pixel it counts
    counts = sum(np.bincount(image.ravel(), minlength=256) for image in images)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    return float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _describe(value: object) -> str:
    """Return a tensor's shape and type, or the representation of anything else."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else repr(value)
