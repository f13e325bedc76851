"""Data sets: images as standardised rows, with their labels.

    "fashion-mnist-small"    8,000 training and 2,000 test images, equally many of each class; in the package
    "fashion-mnist"          all 60,000 training and 10,000 test images; read from disk or downloaded once

Pixels p in [0, 1] become x = (p − mean) / std, with one mean and one standard deviation for all pixels of all
training images, so that E[x²] = 1 over the training set. (A mean and a standard deviation for each pixel
would blow up the pixels at the border, which are black in nearly all images.)

Every file is verified by its SHA-256 before it is used, wherever it comes from.

Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747; its MIT licence: _data/LICENSE.fashion-mnist.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pooch
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

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
    image_shape: tuple[int, ...]  # (height, width); its product is the number of features
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


@dataclass(frozen=True)
class Source:
    """Where the four files of a data set in the format of MNIST are found, and what they must contain.

    The same data come in different .gz files (in Debian's, the gzip header has no name and another time), so
    what decides whether a file is good is the hash of its decompressed contents. The hash of the published file
    serves the download.
    """

    name: str
    url: str  # address of the folder that holds the files
    files: tuple[str, str, str, str]  # training images and labels, test images and labels
    published: tuple[str, str, str, str]  # SHA-256 of each .gz file at `url`
    contents: tuple[str, str, str, str]  # SHA-256 of what each .gz file holds
    packaged: Path  # folder of the Linux distribution's package
    cache: Path  # folder for downloads
    classes: tuple[str, ...]


FASHION_MNIST = Source(
    name="fashion-mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files=(
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ),
    published=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    contents=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    packaged=Path("/usr/share/datasets/fashion-mnist"),
    cache=Path(pooch.os_cache("orthobook")) / "fashion-mnist",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

SMALL = "fashion-mnist-small"
SMALL_FILE = Path(__file__).with_name("_data") / "fashion-mnist-small.npz"
SMALL_SHA256 = "dcdce8699cf3122bfbfc4f5a1041636d5dfa6cb9695c4132c58bf22c874d38ee"

# Names of the four arrays, in the order of Source.files; uint8, images (N, 28, 28), labels (N,).
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")

Raw = Mapping[str, npt.NDArray[np.uint8]]


def data_sets() -> list[str]:
    """Return the names that `load` knows."""
    return [SMALL, FASHION_MNIST.name]


def load(name: str, *, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        ``"fashion-mnist-small"``, which needs no other file and no network, or ``"fashion-mnist"``.
    folder : path, optional
        Folder with the four ``.gz`` files of ``"fashion-mnist"``. By default they are looked for in the
        folder that the environment variable ``ORTHOBOOK_DATA`` names; if it is not set, where Debian's package
        ``dataset-fashion-mnist`` puts them, then in the user's cache; if they are in neither, they are
        downloaded to the cache. ``ORTHOBOOK_DATA_URL`` replaces the address they are downloaded from.

    Returns
    -------
    Dataset
        Images float32, standardised by the mean and standard deviation of all training pixels; labels int64.

    Raises
    ------
    ValueError
        If the name is unknown, a file in the named folder is corrupted, or a folder is given for the data set
        that is part of the package.
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
    if name == FASHION_MNIST.name:
        return standardised(name, read(FASHION_MNIST, folder), FASHION_MNIST.classes)
    if name != SMALL:
        raise ValueError(f"unknown data set {name!r}; allowed: {', '.join(data_sets())}")
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


def read(source: Source, folder: str | os.PathLike[str] | None = None) -> Raw:
    """Return the raw arrays of a source from the first place that has them, as `load` describes."""
    named = folder if folder is not None else os.environ.get("ORTHOBOOK_DATA") or None
    if named is not None:
        return _read_folder(source, Path(named).expanduser())
    for place in (source.packaged, source.cache):
        try:
            return _read_folder(source, place)
        except FileNotFoundError:
            continue
        except ValueError as error:
            warnings.warn(f"{error}; this folder is not used", stacklevel=3)
    _download(source)
    return _read_folder(source, source.cache)


def _read_folder(source: Source, folder: Path) -> Raw:
    contents = [_verified(folder / file, digest) for file, digest in zip(source.files, source.contents, strict=True)]
    return {key: parse_idx(data) for key, data in zip(ARRAYS, contents, strict=True)}


def _verified(path: Path, digest: str) -> bytes:
    """Return what a .gz file holds, if its SHA-256 is `digest`."""
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is corrupted: {error}; its contents must have SHA-256 {digest}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise ValueError(f"{path} is corrupted: its contents have SHA-256 {found}, not {digest}")
    return data


def parse_idx(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the array in an idx file of bytes, the format of MNIST.

    Two bytes 0, one byte 8 (for uint8), one byte d, d sizes as big-endian 32-bit integers, then the entries.

    Raises
    ------
    ValueError
        If the header is another or the number of entries is not the product of the sizes.
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"an idx file of bytes must begin with 00 00 08, got {data[:3].hex(' ') or 'nothing'}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"an idx header for {data[3]} axes must have {start} bytes, got {len(data)}")
    shape = [int(size) for size in np.frombuffer(data[4:start], ">u4")]
    if len(data) - start != math.prod(shape):
        raise ValueError(f"an idx file of shape {shape} must have {math.prod(shape)} entries, got {len(data) - start}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _download(source: Source) -> None:
    """Bring the files that the cache lacks, or holds corrupted, into it.

    pooch downloads to a temporary file, verifies it and only then renames it, so a partial download never
    gets the name of a good file. A file that comes corrupted, or not at all, is asked for once more.
    """
    url = os.environ.get("ORTHOBOOK_DATA_URL") or source.url
    registry = {file: f"sha256:{digest}" for file, digest in zip(source.files, source.published, strict=True)}
    registrar = pooch.create(path=source.cache, base_url=url, registry=registry, retry_if_failed=1)
    for file in source.files:
        try:
            registrar.fetch(file, downloader=pooch.HTTPDownloader(progressbar=True))
        except (OSError, ValueError) as error:  # no connection, no room or no permission; a wrong hash
            raise ConnectionError(
                f"could not download {registrar.get_url(file)} to {source.cache}: {error}\n"
                f"To go on without a network, get the files {', '.join(source.files)} some other way and put "
                f"them into {source.cache}, or into a folder of your own that the argument folder or the "
                "environment variable ORTHOBOOK_DATA names."
            ) from error


def standardised(name: str, raw: Raw, classes: tuple[str, ...]) -> Dataset:
    """Return raw arrays as a data set, standardised by mean and standard deviation of all training pixels."""
    mean, std = _moments(raw["train_images"])
    # One float32 for each of the 256 grey levels: each value is rounded once.
    levels = ((np.arange(256) / 255 - mean) / std).astype(np.float32)

    def split(images: UInt8[np.ndarray, "N height width"], labels: UInt8[np.ndarray, " N"]) -> Split:
        rows = levels[images.reshape(len(images), -1)]  # (N, height · width)
        return Split(torch.from_numpy(rows), torch.from_numpy(labels.astype(np.int64)))

    train = split(raw["train_images"], raw["train_labels"])
    test = split(raw["test_images"], raw["test_labels"])
    shape = tuple(raw["train_images"].shape[1:])
    return Dataset(name, train, test, classes, image_shape=shape, mean=mean, std=std)


def _moments(images: UInt8[np.ndarray, "N height width"]) -> tuple[float, float]:
    """Return mean and standard deviation of all pixels, in units of 255, from their histogram."""
    # image by image, as bincount needs eight bytes for each pixel it counts
    counts = sum(np.bincount(image.ravel(), minlength=256) for image in images)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    return float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _describe(value: object) -> str:
    """Return a tensor's shape and type, or the representation of anything else."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else repr(value)
