"""Small runs and made-up records, what must not depend on where a run is executed, and a task that dies."""

import os
import signal
import sys

from orthobook.study.execution import execute_on_one_thread
from orthobook.study.run import Record, Run


def run(**changes):
    values = {"architecture": "shifted-fold", "depth": 4, "width": 8, "steps": 12, "batch_size": 32}
    return Run(**values | changes)


def record(**changes):
    return Record(run=run(**changes), status="finished", result={"accuracy": 0.5}, birth={"seconds": 1.0})


def outcome(record):
    """Return what must not depend on where, when or after how many interruptions a run was executed."""
    return record.run, record.status, record.reason, record.result


def outcomes(records):
    return sorted((outcome(record) for record in records), key=lambda item: item[0].key)


def environment():
    paths = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {"PYTHONPATH": paths, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}


def die_at_depth_3(run):
    """Execute a run, unless it has three layers: then its process is killed, as one that takes too much memory is."""
    if run.depth == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute_on_one_thread(run)
