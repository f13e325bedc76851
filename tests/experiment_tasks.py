"""What tests of sweeps hand to other processes, which import it by name."""

import os
import signal

from orthobook.study.experiments import execute_on_one_thread


def die_at_depth_3(run):
    """Execute a run, unless it has three layers: then its process is killed, as one that takes too much memory is."""
    if run.depth == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute_on_one_thread(run)
