"""The file that keeps records: it only grows, survives being killed, and may have many writers."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from orthobook.study.run import HEAD, Benchmark, Record, Run

__all__ = ["Store"]


class Store:
    """A file of records, one line of JSON each, which only grows; any number of processes may append to it.

    A last line without its end is a record if it is whole. If it is cut off, by a kill or a full disk, it is none: it
    is ignored, and removed by the next append. Where a run is stored again after it failed, the later record counts.

    What is not a store's is never changed: a file with a line that is no record, or with an end that no record of this
    version begins with, can be read as far as it can be read, and takes no record.

    Parameters
    ----------
    path : path
        The file; it and its folder are made when first needed.

    Notes
    -----
    A line that cannot be read is left out with a warning that names file, line and cure. So it is noticed, with another
    warning, if the file is removed or replaced while it is in use; then it is read from its beginning again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._begin()

    def _begin(self) -> None:
        self._records: dict[str, Record[Any]] = {}  # by key, in the file's order
        self._faults: list[str] = []  # what is wrong with those lines that are no records
        self._lines, self._read = 0, 0  # lines, and bytes, of the file that were read
        self._last = b""  # the last of these lines

    def prepare(self) -> None:
        """Make the file if there is none, and check that it can take a record.

        Raises
        ------
        ValueError
            If it is no regular file, or holds something else than records of this version.
        OSError
            If it cannot be written.
        """
        with self._locked():
            pass

    def records(self) -> list[Record[Any]]:
        """Return the stored records in the order they were stored."""
        self._read_on()
        return list(self._records.values())

    def holds(self, run: Run | Benchmark) -> bool:
        """Return whether a run, or a benchmark, is stored that did not fail."""
        self._read_on()
        return run.key in self._records and self._records[run.key].status != "failed"

    def append(self, record: Record[Any]) -> bool:
        """Store a record; return whether it was. It is left out if its run is there already and did not fail.

        Raises
        ------
        ValueError
            If the file is no store, or the record is none that JSON can hold.
        OSError
            If it cannot be written, for example because the disk is full; the file keeps what it held.
        """
        line = record.to_json().encode() + b"\n"
        with self._locked() as rest:
            if self.holds(record.run):
                return False
            if rest:
                self._mend(rest)
            self._write(line)
            self._read_on()
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bytes]:
        """Keep other writers out, check that a record can be added, and yield what follows the last line's end."""
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"a store must be a regular file, {self.path} is none")
        lock = FileLock(f"{self.path.resolve()}.lock")  # one for all names that are links to one
        with contextlib.ExitStack() as stack:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock)
                _lock(stack.enter_context(self.path.open("ab")))
            except OSError as error:
                raise OSError(error.errno, f"nothing can be stored in {self.path}: {error.strerror}") from error
            rest = self._read_on()
            if self._faults:
                raise ValueError(f"{self._faults[0]}; nothing is added to the file before that is mended")
            # A kill may leave less than a record's head. Where no record comes before, that may be anybody's.
            if not (rest.startswith(HEAD) or (HEAD.startswith(rest) and self._records) or not rest):
                raise ValueError(f"{self.path} is no store of records: it ends in {rest[-40:]!r}")
            yield rest

    def _read_on(self) -> bytes:
        """Read the lines that are new, and return what follows the last line's end."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read - len(self._last))
                if not (content := file.read()).startswith(self._last):
                    content = self._again(file)
        except FileNotFoundError:
            if self._lines:
                self._again(None)
            return b""
        *lines, rest = content.removeprefix(self._last).split(b"\n")
        for line in lines:
            self._lines, self._read, self._last = self._lines + 1, self._read + len(line) + 1, line + b"\n"
            if not line.strip():
                continue
            try:
                self._keep(Record.from_json(line.decode()))
            except ValueError as error:
                fault = f"{self.path}, line {self._lines}: {error}"
                self._faults.append(fault)
                warnings.warn(f"{fault}. The line is left out; mend or remove it", stacklevel=4)
        with contextlib.suppress(ValueError):
            self._keep(Record.from_json(rest.decode()))  # its line's end alone is missing
        return rest

    def _again(self, file: BinaryIO | None) -> bytes:
        """Begin with another file of the same name, and return what it holds."""
        what = f"{self.path} was removed or replaced while it was in use"
        warnings.warn(f"{what}: {len(self._records)} records that it held are read no more", stacklevel=5)
        self._begin()
        if file is None:
            return b""
        file.seek(0)
        return file.read()

    def _keep(self, record: Record[Any]) -> None:
        before = self._records.get(record.run.key)
        if before is None or before.status == "failed":
            self._records[record.run.key] = record

    def _mend(self, rest: bytes) -> None:
        """End a record whose line's end alone is missing, and remove one that was cut off."""
        try:
            Record.from_json(rest.decode())
        except ValueError:
            os.truncate(self.path, self._read)
        else:
            self._write(b"\n")
            self._read_on()

    def _write(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(end)
                raise OSError(error.errno, f"could not store a record in {self.path}: {error.strerror}") from error


def _lock(file: BinaryIO) -> None:
    """Lock an open file itself, until it is closed: it may have several names. Not every system can."""
    try:
        import fcntl
    except ImportError:
        return
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
