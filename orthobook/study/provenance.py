"""The birth certificate of a result: when, where and by which code and versions it was made."""

from __future__ import annotations

import functools
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthobook import __version__
from orthobook.study.source import package_digest

__all__ = ["birth_certificate", "device_model"]


def birth_certificate(device: str, start: float) -> dict[str, Any]:
    """Return what is stored of the circumstances of a result.

    Parameters
    ----------
    device : str
        What computed it, as :func:`device_model` says, or ``"none"``.
    start : float
        When that began, by ``time.perf_counter``.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "orthobook": __version__,
        "source": package_digest(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": device,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - start, 3),
    }


@functools.cache
def device_model(device: torch.device) -> str:
    """Return a device with its model, on which the last bits of a result depend."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        return f"cpu: {_processor()}, {torch.backends.cpu.get_cpu_capability()}"
    return str(device)


def _processor() -> str:
    """Return the processor's model; `platform.processor` says only its family, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
