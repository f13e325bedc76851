"""One run: trained from a checkpoint if there is one, measured on the way, and put on record whatever happens."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from orthobook.data import Dataset, Split, load
from orthobook.derivatives import jacobian
from orthobook.networks import DeepNetwork
from orthobook.study import checkpoints, robustness
from orthobook.study.provenance import birth_certificate, device_model
from orthobook.study.run import Judge, Record, Run, Status
from orthobook.training import Measurement, Training, TrainingDiverged, evaluate, with_bar

__all__ = ["execute", "execute_on_one_thread"]

PROBES = 8
"""Inputs at which a run measures the spectrum of its trunk's Jacobian."""

CURVE = 20
"""Points of a stored loss curve: means over that many equal parts of the training."""

CHECKPOINT_SECONDS = 30.0
"""Time between two checkpoints of a run that has them: what a kill without warning may cost."""


def execute(
    run: Run,
    *,
    device: torch.device | str | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Record[Run]:
    """Train a run's network and return the record; errors become records too, except Ctrl-C.

    Parameters
    ----------
    run : Run
        What to train.
    device : torch.device or str, optional
        Where, by default :func:`orthobook.best_device`.
    progress : bool
        Whether to show a progress bar.
    checkpoint : path, optional
        A file from which an interrupted run goes on, on the CPU to the bit. It is written every half minute, and when
        the run is interrupted by Ctrl-C or a request to terminate. Who stores the record may remove it.

    Returns
    -------
    Record
        Its ``result`` holds, as far as the run came: ``accuracy`` and ``loss`` on the judged split, ``curve`` (mean
        training loss over equal parts of the training), ``parameters``, ``multiplications`` (of one example's
        forward pass), and ``milestones``: at some steps the largest ‖VᵀV − I‖_F and the smallest, median and largest
        singular value of the trunk's Jacobian at 8 inputs, where layers are square and the Jacobian is finite. What
        else the run's ``measure`` asks for is there by name; see :mod:`orthobook.study.robustness`.

    Raises
    ------
    KeyboardInterrupt
        If the run is interrupted; with a checkpoint, after that is written.
    ValueError
        If the checkpoint is damaged or belongs to another run.
    """
    start = time.perf_counter()
    checkpoint = None if checkpoint is None else Path(checkpoint)
    saved = None if checkpoint is None else checkpoints.load(checkpoint, run)
    result: dict[str, Any] = {}
    status: Status = "finished"
    reason, where, seconds = "", "none", 0.0
    try:
        data, judge = _data(run.data, run.held_out, run.judged_on)
        net = run.network(data, device)
        where = device_model(net.device)
        result |= {"parameters": sum(p.numel() for p in net.parameters()), "multiplications": _multiplications(net)}
        training = Training(net, data, run.training)
        milestones = saved["milestones"] if saved else [_milestone(0, net, judge)]
        if saved:
            training.load_state_dict(saved["training"])
        try:
            _train(training, run, judge, milestones, progress, checkpoint)
            outcome = evaluate(net, judge)
            if not math.isfinite(outcome.loss):
                raise TrainingDiverged(f"after the last step the loss is {outcome.loss}", training.history)
            result |= {"accuracy": outcome.accuracy, "loss": outcome.loss}
            if run.measure == "robustness":
                result |= robustness.measure_with_twin(run, net, data, judge)
        except TrainingDiverged as error:
            status, reason = "diverged", str(error)
            result |= {"accuracy": 1 / len(data.classes)}
        result |= {"curve": _curve(training.history, run.steps), "milestones": milestones}
        seconds = training.history[-1].seconds if training.history else 0.0
    except Exception as error:
        status, reason, result = "failed", f"{type(error).__name__}: {error}", {}
    birth = birth_certificate(where, start) | {"training_seconds": round(seconds, 3)}
    return Record(run=run, status=status, reason=reason, result=_rounded(result), birth=birth)


def execute_on_one_thread(run: Run, device: torch.device | str | None = None) -> Record[Run]:
    """Return the record of a run that uses one thread on the CPU, as every run of a sweep does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return execute(run, device=device)
    finally:
        torch.set_num_threads(threads)


def _train(
    training: Training,
    run: Run,
    judge: Split,
    milestones: list[dict[str, Any]],
    progress: bool,
    checkpoint: Path | None,
) -> None:
    """Train to the end, adding milestones, and writing the checkpoint where there is one."""
    written = time.monotonic()
    nothing: list[int] = []
    deferred = contextlib.nullcontext(nothing) if checkpoint is None else checkpoints.deferred_interrupts()
    with deferred as interrupts:
        for measurement in with_bar(training, progress):
            if measurement.step in _milestone_steps(run.steps):
                milestones.append(_milestone(measurement.step, training.net, judge))
            if checkpoint is not None and (interrupts or time.monotonic() > written + CHECKPOINT_SECONDS):
                checkpoints.save(checkpoint, run, training, milestones)
                written = time.monotonic()
            if interrupts:
                raise KeyboardInterrupt


@functools.lru_cache(maxsize=2)
def _data(name: str, held_out: int, judged_on: Judge) -> tuple[Dataset, Split]:
    """Return the data to train on and the split to judge by; kept for the next run of this process."""
    data = load(name)
    if held_out == 0:
        return data, data.test
    data, validation = data.held_out(held_out)
    return data, validation if judged_on == "validation" else data.test


def _multiplications(net: DeepNetwork) -> int:
    """Return the multiplications of one example's forward pass, those of matrix products and convolutions."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(torch.zeros(1, net.inputs, dtype=net.dtype, device=net.device))
    return counter.get_total_flops() // 2  # it counts a multiplication and an addition


def _milestone_steps(steps: int) -> set[int]:
    """Return 1, 3, 10, 30, … and the last step."""
    rounds = (digit * 10**power for power in range(len(str(steps))) for digit in (1, 3))
    return {step for step in rounds if step < steps} | {steps}


def _milestone(step: int, net: DeepNetwork, judge: Split) -> dict[str, Any]:
    milestone: dict[str, Any] = {"step": step, "orthogonality_error": net.orthogonality_error()}
    if net.block.kind == "square":
        J = jacobian(net, judge.images[:PROBES], dtype=torch.float64)
        if J.isfinite().all():
            values = torch.linalg.svdvals(J).flatten()
            ends = torch.tensor([0.0, 0.5, 1.0], dtype=values.dtype, device=values.device)
            milestone["singular_values"] = torch.quantile(values, ends).tolist()
    return milestone


def _curve(history: list[Measurement], steps: int) -> list[float]:
    parts: list[list[float]] = [[] for _ in range(min(CURVE, steps))]
    for measurement in history:
        parts[(measurement.step - 1) * len(parts) // steps].append(measurement.loss)
    return [float(np.mean(part)) for part in parts if part]


def _rounded(value: Any) -> Any:
    """Return nested results with floats of nine significant digits, and None for those that are not finite."""
    if hasattr(value, "tolist"):  # of NumPy or torch
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value
