"""What code made a result: a digest of source files, known without loading torch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["digest", "package_digest"]

PACKAGE = Path(__file__).resolve().parent.parent


def digest(folder: Path, files: Iterable[Path], *, beside: str = "") -> str:
    """Return 16 hexadecimal digits that change with the name or the content of any of some files.

    Parameters
    ----------
    folder : pathlib.Path
        The folder that names are relative to, so that a copy elsewhere has the same digest.
    files : iterable of pathlib.Path
        Files in that folder, in any order.
    beside : str
        What else the digest is to depend on.
    """
    result = hashlib.sha256(beside.encode())
    for path in sorted(files):
        content = path.read_bytes()
        result.update(f"\0{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return result.hexdigest()[:16]


@functools.cache
def package_digest() -> str:
    """Return the digest of the package's Python files; stored results are no part of it, so that they may grow."""
    return digest(PACKAGE, PACKAGE.rglob("*.py"))
