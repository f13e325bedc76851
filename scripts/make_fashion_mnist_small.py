"""Make the embedded subset of Fashion-MNIST from the full data set.

    python scripts/make_fashion_mnist_small.py FOLDER

FOLDER holds the four .gz files of Fashion-MNIST; they are verified first. Of each class, 800 training and 200
test images are drawn at random, training from training and test from test, and shuffled. The result goes to
orthobook/data/fashion-mnist-small.npz. The same bytes come out each time:

- random numbers come from `numpy.random.RandomState`, whose stream NumPy has frozen for good;
- the archive carries no time and no trace of the system;
- the compression is bzip2, as the output of zlib and xz may change with their versions. (xz would save 7 %.)
"""

import argparse
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from orthobook.data.datasets import SMALL_FILE
from orthobook.data.sources import FASHION_MNIST, read

SEED = 0
PER_CLASS = {"train": 800, "test": 200}


def subset(folder: Path) -> dict[str, np.ndarray]:
    """Return the subset's four arrays: images (N, 28, 28) and labels (N,), uint8."""
    full = read(FASHION_MNIST, folder)
    random = np.random.RandomState(SEED)  # the stream of the newer Generator may change
    arrays = {}
    for split, count in PER_CLASS.items():
        labels = full[f"{split}_labels"]
        members = [np.flatnonzero(labels == label) for label in range(len(FASHION_MNIST.classes))]
        drawn = random.permutation(np.concatenate([random.permutation(member)[:count] for member in members]))
        arrays[f"{split}_images"] = full[f"{split}_images"][drawn]
        arrays[f"{split}_labels"] = labels[drawn]
    return arrays


def archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a .npz archive of the arrays whose bytes depend on the arrays alone."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on Windows too
            entry.compress_type = zipfile.ZIP_BZIP2
            data = io.BytesIO()
            np.lib.format.write_array(data, array, version=(1, 0))
            file.writestr(entry, data.getvalue())
    return stored.getvalue()


def main() -> None:
    """Write the file and say what SMALL_SHA256 in orthobook/data/datasets.py must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the four .gz files of Fashion-MNIST")
    made = archive(subset(parser.parse_args().folder))
    SMALL_FILE.write_bytes(made)
    print(f"{SMALL_FILE}: {len(made):,} bytes, SHA-256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
