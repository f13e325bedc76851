"""Sweeps: a set of runs minus those that a store holds, executed side by side.

A run is the same function of its fields wherever it is executed. So a sweep may be killed at any moment: a line is
written whole or not at all, and what is missing is run again.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import fields
from numbers import Real
from typing import Any

import torch
from tqdm.auto import tqdm

from orthobook._checks import whole_number
from orthobook.layers.base import block
from orthobook.networks import available_device, best_device
from orthobook.study.execution import execute_on_one_thread
from orthobook.study.executors import in_executor, in_processes
from orthobook.study.run import Record, Run
from orthobook.study.store import Store

__all__ = ["grid", "sweep"]


def grid(**axes: Any) -> list[Run]:
    """Return the runs of a grid: every combination of the values of each key.

    Parameters
    ----------
    **axes
        A field of :class:`Run`, or an option of every architecture in the grid, with one value or several.

    Raises
    ------
    ValueError
        If a key is unknown, has no value, or a value is out of range.

    Examples
    --------
    >>> len(grid(architecture=["absolute", "relu-he"], depth=[10, 100], learning_rate=[1e-3, 1e-2]))
    8
    """
    known = {option.name for option in fields(Run)} - {"options"}
    lists: dict[str, list[Any]] = {
        key: [values] if isinstance(values, str | Real) else list(values) for key, values in axes.items()
    }
    for key, values in lists.items():
        if not values:
            raise ValueError(f"the grid is empty: {key} has no values")
    if "architecture" not in lists or "depth" not in lists:
        raise ValueError(f"a grid needs architecture and depth, got {', '.join(lists) or 'no keys'}")
    for key in lists.keys() - known:
        for architecture in lists["architecture"]:
            allowed = [option.name for option in fields(block(architecture))]
            if key not in allowed:
                options = f", or an option of {architecture}: {', '.join(allowed)}" if allowed else ""
                raise ValueError(f"unknown grid key {key!r}; allowed: {', '.join(sorted(known))}{options}")
    return [_run(dict(zip(lists, values, strict=True)), known) for values in itertools.product(*lists.values())]


def _run(values: dict[str, Any], known: set[str]) -> Run:
    options = {key: value for key, value in values.items() if key not in known}
    return Run(**{key: value for key, value in values.items() if key in known}, options=options)


def sweep(
    runs: Iterable[Run],
    store: Store | str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    device: torch.device | str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[Record[Run]]:
    """Execute the runs that a store lacks, yielding each record once it is stored.

    Each run uses one thread on the CPU, so that its result does not depend on how many run side by side. Leaving the
    loop, by ``break`` or Ctrl-C, gives up the runs under way and keeps all that are finished; the same call goes on.

    Parameters
    ----------
    runs : iterable of Run
        What to execute, for example a :func:`grid`. A run that the store holds is not repeated, unless it failed.
    store : Store or path
        Where records go.
    executor : concurrent.futures.Executor, optional
        Who executes the runs, for example ``client.get_executor()`` of a dask client for a cluster. By default
        processes on this machine; a script then needs the usual ``if __name__ == "__main__":``. An architecture of
        one's own must be registered where they import it: at the top of the script, not in a notebook.
    device : torch.device or str, optional
        Where each run's network lives, by default :func:`orthobook.best_device` of the machine that executes it.
    workers : int, optional
        Processes on this machine, by default one for each of its cores, or a single one if the device is no CPU. With
        an executor of one's own it has no meaning and must be left out.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Iterator of Record
        The new records in the order in which they finish. Arguments are checked at once.

    Raises
    ------
    ValueError
        If there are no runs, workers is out of range, both an executor and workers are given, or there is no such
        device here (which is not asked where an executor has its own machines).
    OSError
        If a record cannot be stored.
    RuntimeError
        If no process can be started, or the executor drops a run. What is finished is stored: the same call goes on.
    """
    store = store if isinstance(store, Store) else Store(store)
    wanted = {run.key: run for run in runs}
    if not wanted:
        raise ValueError("a sweep needs at least one run, got none")
    if executor is not None and workers is not None:
        raise ValueError(f"an executor brings its own workers, so workers must be None, got {workers}")
    here = best_device() if device is None else device
    if executor is None:
        here = available_device(here, torch.float32)
    if workers is None:
        workers = _cores() if torch.device(here).type == "cpu" else 1
    whole_number("workers", workers, least=1)
    store.prepare()
    return _sweep(wanted, store, executor, device, workers, progress)


def _sweep(
    wanted: dict[str, Run],
    store: Store,
    executor: Executor | None,
    device: torch.device | str | None,
    workers: int,
    progress: bool,
) -> Iterator[Record[Run]]:
    held = {record.run.key for record in store.records() if record.status != "failed"}
    missing = [run for key, run in wanted.items() if key not in held]
    task = functools.partial(execute_on_one_thread, device=device)
    if executor is None:
        # another sweep of the same store may have done a run by the time its turn comes
        results = in_processes((run for run in missing if not store.holds(run)), task, workers)
    else:
        results = in_executor(missing, task, executor)
    hidden = not progress or bool(os.environ.get("TQDM_DISABLE"))
    unfinished = 0
    with (
        contextlib.closing(results),
        tqdm(total=len(wanted), initial=len(wanted) - len(missing), desc="runs", disable=hidden) as bar,
    ):
        for record in results:
            try:
                new = store.append(record)  # another sweep may have been faster
            except OSError:
                yield record  # so that it is not lost, if its user looks at it
                raise
            if new:
                yield record
            unfinished += record.status != "finished"
            bar.update()
            bar.set_postfix({"diverged or failed": unfinished}, refresh=False)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
