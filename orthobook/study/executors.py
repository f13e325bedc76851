"""Where the runs of a sweep are executed: processes of this machine, or somebody else's executor."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from multiprocessing.context import BaseContext
from pathlib import Path

from orthobook.study import execution
from orthobook.study.provenance import birth_certificate
from orthobook.study.run import Record, Run

__all__ = ["in_executor", "in_processes"]

Task = Callable[[Run], Record[Run]]
Records = Generator[Record[Run], None, None]


def in_executor(runs: list[Run], task: Task, executor: Executor) -> Records:
    """Yield the records of runs handed to somebody else's executor."""
    futures = {executor.submit(task, run): run for run in runs}
    try:
        for future in as_completed(futures):
            try:
                error = future.exception()
            except CancelledError as lost:
                raise RuntimeError("the executor dropped a run; the same sweep goes on with what is missing") from lost
            yield future.result() if error is None else _failed(futures[future], error)
    finally:
        for future in futures:
            future.cancel()


def in_processes(runs: Iterable[Run], task: Task, workers: int) -> Records:
    """Yield the records of runs in processes of this machine.

    When a process dies, killed for want of memory perhaps, nobody says which run it had. So no more runs are under way
    than there are processes, and those that were are tried once more, each alone.
    """
    waiting = iter(runs)
    while first := list(itertools.islice(waiting, workers)):
        suspects: list[Run] = []
        with _pool(workers) as pool:
            active = {pool.submit(task, run): run for run in first}
            while active and not suspects:
                for future in wait(active, return_when=FIRST_COMPLETED).done:
                    run = active.pop(future)
                    try:
                        yield future.result()
                    except BrokenExecutor:
                        suspects.append(run)
                for run in () if suspects else itertools.islice(waiting, workers - len(active)):
                    try:
                        active[pool.submit(task, run)] = run
                    except BrokenExecutor:
                        suspects.append(run)
        for run in (*suspects, *active.values()):
            with _pool(1) as pool:
                error = (future := pool.submit(task, run)).exception()
                yield future.result() if error is None else _failed(run, error)


def _failed(run: Run, error: BaseException) -> Record[Run]:
    reason = f"{type(error).__name__}: {error}"
    return Record(run=run, status="failed", reason=reason, birth=birth_certificate("none", time.perf_counter()))


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes that ends at once when the block is left by an error, Ctrl-C or the end of its user."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=_context(), initializer=_begin_worker)
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenExecutor as error:
            advice = "a script that sweeps must do so under `if __name__ == '__main__':`, or be given an executor"
            raise RuntimeError(f"no process could be started: {advice}") from error
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> BaseContext:
    """Return a way to start processes: forking this one, which may have run torch's threads, might hang."""
    main = sys.modules["__main__"]
    if not Path(getattr(main, "__file__", None) or ".").exists():
        del main.__file__  # "<stdin>": the processes would look for a file of that name
    if sys.platform != "linux":  # elsewhere what torch loads may not survive a fork
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([execution.__name__])  # torch is imported once, and not by each process
    return context


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: orphans would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)
