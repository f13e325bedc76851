"""Sources: where the files of a data set are found, how they are verified, and how they are read.

    FASHION_MNIST    four files in the idx format
    MNIST            four files in the idx format, with the same names
    CIFAR10          one archive of records, the binary version

Every file is verified by its SHA-256 before it is read, wherever it comes from. No format holds code: the Python
version of CIFAR-10, an archive of pickles, is not used.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import tarfile
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pooch
from jaxtyping import UInt8
from tqdm import tqdm

__all__ = ["ARRAYS", "SOURCES", "IdxFiles", "RecordArchive", "Source", "parse_idx", "parse_records", "read"]

LARGEST = 1 << 30
"""Bytes that a file to download may have; the largest known has 170 MB."""

# Names of the four arrays of a data set; uint8, images (N, height, width) or (N, colours, height, width), labels (N,).
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")

Raw = Mapping[str, npt.NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where the files of a data set are found, and what they must contain."""

    name: str
    url: str  # address of the folder that holds the files
    files: tuple[str, ...]
    published: tuple[str, ...]  # SHA-256 of each file at `url`
    classes: tuple[str, ...]
    packaged: Path | None = None  # folder of the Linux distribution's package, if there is one
    cache: Path  # folder for downloads

    @property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each file's contents, as `unpack` returns them; they decide whether a file is good."""
        return self.published

    def unpack(self, stored: bytes) -> bytes:
        """Return the contents of a file, from the bytes on the disk."""
        return stored

    @abstractmethod
    def arrays(self, contents: Sequence[bytes]) -> Raw:
        """Return the raw arrays from the contents of all files, verified before.

        Raises
        ------
        ValueError
            If the contents do not have the source's format.
        """


@dataclass(frozen=True, kw_only=True)
class IdxFiles(Source):
    """Training images and labels, test images and labels: four compressed files in the format of MNIST.

    The same data come in different .gz files (in Debian's, the gzip header has no name and another time), so
    what decides whether a file is good is the hash of its decompressed contents. The hash of the published file
    serves the download.
    """

    contents: tuple[str, str, str, str]  # SHA-256 of what each .gz file holds

    @property
    def digests(self) -> tuple[str, ...]:
        return self.contents

    def unpack(self, stored: bytes) -> bytes:
        return gzip.decompress(stored)

    def arrays(self, contents: Sequence[bytes]) -> Raw:
        return {key: parse_idx(data) for key, data in zip(ARRAYS, contents, strict=True)}


@dataclass(frozen=True, kw_only=True)
class RecordArchive(Source):
    """One compressed archive with files of records, the format of CIFAR-10's binary version."""

    train: tuple[str, ...]  # members with the training examples, in order, without the archive's folder
    test: tuple[str, ...]
    image_shape: tuple[int, ...]

    def arrays(self, contents: Sequence[bytes]) -> Raw:
        (archive,) = contents
        members: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
                for entry in tar:  # in the archive's order, so that it is decompressed once
                    name = PurePosixPath(entry.name).name
                    file = tar.extractfile(entry) if name in self.train + self.test else None
                    if file is not None:
                        members[name] = file.read()
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise ValueError(f"the archive of {self.name} cannot be read: {error}") from error
        raw: dict[str, npt.NDArray[np.uint8]] = {}
        for split, names in (("train", self.train), ("test", self.test)):
            missing = [name for name in names if name not in members]
            if missing:
                raise ValueError(f"the archive of {self.name} has no member {', '.join(missing)}")
            images, labels = zip(*(parse_records(members[name], self.image_shape) for name in names), strict=True)
            raw |= {f"{split}_images": np.concatenate(images), f"{split}_labels": np.concatenate(labels)}
        return raw


# The hashes of MNIST and CIFAR-10 are as others state them: those of the published files TensorFlow Datasets, those of
# MNIST's contents several independent projects. No test compares them with the real files, as one does for
# Fashion-MNIST where Debian's package is installed; the tests use small files in the same formats.

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CACHE = Path(pooch.os_cache("orthobook"))

FASHION_MNIST = IdxFiles(
    name="fashion-mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files=IDX_FILES,
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
    cache=CACHE / "fashion-mnist",
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

MNIST = IdxFiles(
    name="mnist",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    files=IDX_FILES,
    published=(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    contents=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    cache=CACHE / "mnist",
    classes=tuple("0123456789"),
)

CIFAR10 = RecordArchive(
    name="cifar10",
    url="https://www.cs.toronto.edu/~kriz/",
    files=("cifar-10-binary.tar.gz",),
    published=("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",),
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test=("test_batch.bin",),
    image_shape=(3, 32, 32),
    cache=CACHE / "cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

SOURCES: dict[str, Source] = {source.name: source for source in (FASHION_MNIST, MNIST, CIFAR10)}


def read(source: Source, folder: str | os.PathLike[str] | None = None) -> Raw:
    """Return the raw arrays of a source from the first place that has them, as `orthobook.data.load` describes."""
    named = folder if folder is not None else os.environ.get("ORTHOBOOK_DATA") or None
    if named is not None:
        return _read_named(source, Path(named).expanduser())
    for place in (source.packaged, source.cache):
        if place is None:
            continue
        try:
            return _read_folder(source, place)
        except FileNotFoundError:
            continue
        except ValueError as error:
            warnings.warn(f"{error}; this folder is not used", stacklevel=3)
    _download(source)
    return _read_folder(source, source.cache)


def is_stored(source: Source) -> bool:
    """Say whether all files of a source are where `read` looks for them, good or not, so that none need be fetched."""
    named = os.environ.get("ORTHOBOOK_DATA") or None
    if named is not None:
        folder = Path(named).expanduser()
        places = [_own(source, folder)]
    else:
        places = [place for place in (source.packaged, source.cache) if place is not None]
    return any(all((place / file).is_file() for file in source.files) for place in places)


def _own(source: Source, folder: Path) -> Path:
    """Return a named folder's subfolder for a source, or the folder itself if it has none."""
    own = folder / source.name
    return own if own.is_dir() else folder


def _read_named(source: Source, folder: Path) -> Raw:
    """Return the raw arrays from the folder's subfolder for this source, or from the folder itself if it has none."""
    try:
        return _read_folder(source, _own(source, folder))
    except FileNotFoundError as error:
        files, own = ", ".join(source.files), folder / source.name
        raise FileNotFoundError(f"{error}: put {files}, the files of {source.name}, into {folder} or {own}") from None


def _read_folder(source: Source, folder: Path) -> Raw:
    files = zip(source.files, source.digests, strict=True)
    return source.arrays([_verified(source, folder / file, digest) for file, digest in files])


def _verified(source: Source, path: Path, digest: str) -> bytes:
    """Return the contents of a file, if their SHA-256 is `digest`."""
    try:
        contents = source.unpack(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is corrupted: {error}; its contents must have SHA-256 {digest}") from error
    found = hashlib.sha256(contents).hexdigest()
    if found != digest:
        raise ValueError(f"{path} {_fault(source, found)}: its contents have SHA-256 {found}, not {digest}")
    return contents


def _fault(source: Source, found: str) -> str:
    """Say what a file is whose contents have another hash than they must: another data set's, or corrupted."""
    owners = [other.name for other in SOURCES.values() if other.name != source.name and found in other.digests]
    if not owners:
        return "is corrupted"
    return (
        f"is a file of {owners[0]}, not of {source.name} (a folder for several data sets must have a subfolder "
        "for each, with its name)"
    )


def _download(source: Source) -> None:
    """Bring the files that the cache lacks, or holds corrupted, into it.

    pooch downloads to a temporary file, verifies it and only then renames it, so a partial download never
    gets the name of a good file. A file that comes corrupted, or not at all, is asked for once more.
    """
    mirror = os.environ.get("ORTHOBOOK_DATA_URL")
    # In the order in which a named folder is searched: the subfolder for this source first.
    addresses = [f"{mirror.rstrip('/')}/{source.name}", mirror] if mirror else [source.url]
    for file, digest in zip(source.files, source.published, strict=True):
        _download_file(source, file, digest, [f"{address.rstrip('/')}/{file}" for address in addresses])


class _Bar(tqdm):
    """The progress bar of a download, which ends one that is too long."""

    received: float = 0.0

    def __bool__(self) -> bool:
        return True  # a bar without a total would be none

    def update(self, n: float | None = 1) -> bool | None:
        self.received += n or 0
        if self.received > LARGEST:
            raise OSError(f"it sends more than the {LARGEST:,} bytes that a file may have")
        return super().update(n)

    def reset(self, total: float | None = None) -> None:
        self.received = 0.0
        super().reset(total)


def _download_file(source: Source, file: str, digest: str, addresses: Sequence[str]) -> None:
    """Bring a file into the source's cache from the first address that has it."""
    failures: dict[str, str] = {}  # what happened last at each address
    for address in [*addresses, *addresses]:
        try:
            with _Bar(unit="B", unit_scale=True, desc=file) as bar:
                downloader = pooch.HTTPDownloader(progressbar=bar)  # which waits for half a minute of silence at most
                pooch.retrieve(address, f"sha256:{digest}", fname=file, path=source.cache, downloader=downloader)
            return
        except (OSError, ValueError) as error:  # no connection, no room or no permission; a wrong hash
            failures[address] = f"could not download {address} to {source.cache}: {error}\n"
    raise ConnectionError(
        f"{''.join(failures.values())}To go on without a network, get the files {', '.join(source.files)} some other "
        f"way and put them into {source.cache}, or into a folder of your own that the argument folder or the "
        "environment variable ORTHOBOOK_DATA names."
    )


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


def parse_records(
    data: bytes, image_shape: tuple[int, ...]
) -> tuple[UInt8[np.ndarray, "N ..."], UInt8[np.ndarray, " N"]]:
    """Return the images and labels in a file of records, the format of CIFAR-10's binary version.

    A record is one byte, the label, then the entries of the image in the order of ``image_shape``, for (colours,
    height, width): all of the first colour, row by row, then all of the second, and so on.

    Raises
    ------
    ValueError
        If the file does not consist of whole records, at least one.
    """
    size = 1 + math.prod(image_shape)
    if not data or len(data) % size:
        raise ValueError(f"a file of records must have a positive multiple of {size} bytes, got {len(data)}")
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    return records[:, 1:].reshape(-1, *image_shape), records[:, 0]
