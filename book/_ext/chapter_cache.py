"""The cache of executed chapters: the build and the tests fill it, and the build takes the chapters' outputs from it.

The cache knows a chapter by the code in its cells alone; it would serve old outputs after a change of the package. So
its folder is named after a digest of everything else that an output depends on: the package with its data, the pinned
environment, and Python itself. A change of any of them makes every chapter run again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat import NotebookNode

from orthobook.study import source

CACHES = Path("_build", "execution")  # below the repository's root folder


def digest(root: Path) -> str:
    """Return a hexadecimal digest of what the chapters' outputs depend on beside their own cells.

    Parameters
    ----------
    root : pathlib.Path
        The repository's root folder.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    package = [path for path in (root / "orthobook").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return source.digest(root, [root / "requirements.txt", *package], beside=sys.version)


def folder(root: Path) -> Path:
    """Return the cache's folder for the package as it is now; it is made if need be."""
    found = root / CACHES / digest(root)
    found.mkdir(parents=True, exist_ok=True)
    return found


def store(cache: Path, chapter: Path, executed: NotebookNode, seconds: float) -> None:
    """Put an executed chapter into a cache, in place of one with the same code.

    Parameters
    ----------
    cache : pathlib.Path
        The cache's folder.
    chapter : pathlib.Path
        The chapter's file.
    executed : nbformat.NotebookNode
        Its cells, with their outputs.
    seconds : float
        How long they ran.
    """
    with FileLock(cache / "lock"):  # of two processes that make the database at the same time, one would fail
        bundle = CacheBundleIn(executed, str(chapter), data={"execution_seconds": seconds})
        get_cache(cache).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
