"""The file that keeps records: it only grows, survives being killed, and may have many writers."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from orthobook.study.run import Benchmark, Record, Run

__all__ = ["Store"]


class Store:
    """A file of records, one line of JSON each, which only grows; any number of processes may append to it.

    A last line that is cut off, by a kill or a full disk, is no record: it is ignored, and removed by the next append.
    Where a run is stored again after it failed, the later record counts.

    Parameters
    ----------
    path : path
        The file; it and its folder are made when first needed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._records: dict[str, Record[Any]] = {}  # by key, in the file's order
        self._lines, self._read = 0, 0  # lines, and bytes, of the file that are in _records

    def prepare(self) -> None:
        """Make the file if there is none; OSError or ValueError if nothing can be stored in it."""
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"a store must be a regular file, {self.path} is none")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.open("ab").close()

    def records(self) -> list[Record[Any]]:
        """Return the stored records in the order they were stored.

        Raises
        ------
        ValueError
            If a whole line is no record of this version; the message names file and line.
        """
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
        OSError
            If it cannot be written, for example because the disk is full; the file keeps what it held.
        """
        self.prepare()
        with FileLock(f"{self.path}.lock"):
            self._mend(self._read_on())
            if self.holds(record.run):
                return False
            self._write(record.to_json().encode() + b"\n")
            self._read_on()
        return True

    def _read_on(self) -> bytes:
        """Read the lines that are new, and return what follows the last line's end."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                *lines, rest = file.read().split(b"\n")
        except FileNotFoundError:
            return b""
        for line in lines:
            try:
                record = Record.from_json(line.decode())
            except ValueError as error:
                raise ValueError(f"{self.path}, line {self._lines + 1}: {error}") from error
            before = self._records.get(record.run.key)
            if before is None or before.status == "failed":
                self._records[record.run.key] = record
            self._lines, self._read = self._lines + 1, self._read + len(line) + 1
        return rest

    def _mend(self, rest: bytes) -> None:
        """Remove the beginning of a record that was cut off; end a line whose end alone is missing."""
        beginning = b'{"format": '
        if rest and not (beginning.startswith(rest) or rest.startswith(beginning)):
            raise ValueError(f"{self.path} is no store of records: it ends in {rest[-40:]!r}")
        try:
            Record.from_json(rest.decode())
        except ValueError:
            os.truncate(self.path, self._read)  # no change where nothing is left over
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
