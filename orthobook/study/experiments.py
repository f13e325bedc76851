"""Training runs as records, sweeps over any executor, and the files that keep what is finished.

    Run      what is to be trained, on what and how: everything that decides the result
    Record   a run with its outcome and its birth certificate: versions, device, date, seconds
    Store    a file with one record a line (JSON), which only grows; the key of a record is the hash of its run

A run is the same function of its fields wherever it is executed, so a sweep is a set of runs minus the keys already in
the store. It may be killed at any moment: a line is written whole or not at all, and what is missing is run again.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import platform
import shlex
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from dataclasses import Field, asdict, dataclass, field, fields
from datetime import UTC, datetime
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from filelock import FileLock
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

import orthobook
from orthobook._checks import whole_number
from orthobook.data import Dataset, Split, data_sets, load
from orthobook.derivatives import jacobian
from orthobook.layers.base import Kind, block
from orthobook.networks import DeepNetwork, available_device, best_device, build
from orthobook.training import Measurement, Mode, Training, TrainingConfig, TrainingDiverged, evaluate, with_bar

__all__ = ["Record", "Run", "Store", "execute", "grid", "sweep"]

FORMAT = 1
"""Version of a record's layout. A store of another one is refused, not guessed at."""

PROBES = 8
"""Inputs at which a run measures the spectrum of its trunk's Jacobian."""

CURVE = 20
"""Points of a stored loss curve: means over that many equal parts of the training."""

SET_BY_THE_RUN = {"channels", "image_shape"}
"""Options of architectures for images that follow from a run's other fields."""

CHECKPOINT_SECONDS = 30.0
"""Time between two checkpoints of a run that has them: what a kill without warning may cost."""

Status = Literal["finished", "diverged", "failed"]
Judge = Literal["test", "validation"]
Measure = Callable[[DeepNetwork, Dataset, Split], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run: a network, a data set, and how to train. Equal runs have equal results on one kind of machine.

    ``options`` are those of the architecture; the ones left out are filled in, so that a stored run keeps its meaning
    when a default changes.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and says what is allowed.
    """

    architecture: str
    depth: int
    width: int = 64  # for images the number of channels
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = "fashion-mnist-small"
    held_out: int = 0  # training examples kept from training, for validation
    judged_on: Judge = "test"  # what the stored accuracy and loss refer to
    seed: int = 0  # of the parameters and of the order of the examples
    mode: Mode = TrainingConfig.mode
    steps: int = TrainingConfig.steps
    batch_size: int = TrainingConfig.batch_size
    learning_rate: float = TrainingConfig.learning_rate
    penalty: float = TrainingConfig.penalty
    depth_exponent: float = TrainingConfig.depth_exponent

    def __post_init__(self) -> None:
        for name in SET_BY_THE_RUN & self.options.keys():
            raise ValueError(f"{name} is no option of a run: width gives the channels, the data set the image's shape")
        layer = block(self.architecture, **self.options)
        known = {option.name: _exact_type(option, getattr(layer, option.name)) for option in fields(layer)}
        known = {name: value for name, value in known.items() if name not in SET_BY_THE_RUN}
        object.__setattr__(self, "options", {name: value for name, value in known.items() if value is not None})
        whole_number("depth", self.depth, least=1)
        whole_number("width", self.width, least=1)
        whole_number("held_out", self.held_out, least=0)
        if self.data not in data_sets():
            raise ValueError(f"unknown data set {self.data!r}; allowed: {', '.join(data_sets())}")
        if self.judged_on not in get_args(Judge):
            raise ValueError(f"judged_on must be one of {', '.join(get_args(Judge))}, got {self.judged_on!r}")
        if self.judged_on == "validation" and self.held_out == 0:
            raise ValueError("judged_on='validation' needs held_out examples, got held_out=0")
        _ = self.training  # checks the rest
        if layer.kind != "image":
            layer.resolve(self.depth, self.width)
        for option in fields(self):
            object.__setattr__(self, option.name, _exact_type(option, getattr(self, option.name)))

    def __hash__(self) -> int:
        return hash(self.key)  # options are a dictionary

    @property
    def training(self) -> TrainingConfig:
        """The part that `train` takes."""
        names = {option.name for option in fields(TrainingConfig)}
        return TrainingConfig(**{name: value for name, value in vars(self).items() if name in names})

    @property
    def kind(self) -> Kind:
        """What the layers map, as in :func:`orthobook.architectures`."""
        return block(self.architecture, **self.options).kind

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        words = ["orthobook", "train", self.architecture]
        for option in fields(self)[1:]:
            if option.name == "options":
                words += [word for name, value in self.options.items() for word in ("--option", f"{name}={value}")]
            elif (value := getattr(self, option.name)) != option.default:
                words += [f"--{option.name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name the run: the start of the SHA-256 of its fields as JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


def _exact_type(option: Field[Any], value: Any) -> Any:
    """Return numbers, NumPy's too, as Python's int or float, whichever the field says: 1 and 1.0 make the same run."""
    if "float" in str(option.type) and isinstance(value, Real):
        return float(value)
    return int(value) if "int" in str(option.type) and isinstance(value, Integral) else value


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came of a run."""

    run: Run
    status: Status  # failed: it could not be run; diverged: loss or gradient stopped being finite
    reason: str = ""  # why it failed or where it diverged
    result: Mapping[str, Any] = field(default_factory=dict)  # the same wherever the run is repeated; see `execute`
    birth: Mapping[str, Any] = field(default_factory=dict)  # versions, device, date, seconds

    @property
    def accuracy(self) -> float:
        """Fraction classified correctly; that of guessing if the run diverged, nan if it failed."""
        return float(self.result["accuracy"]) if "accuracy" in self.result else math.nan

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps({"format": FORMAT, "key": self.run.key, **asdict(self)}, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Return the record in a line of JSON; ValueError if it is none, or of another format."""
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"this is no JSON: {error}") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else None
            raise ValueError(f"this record has format {found!r}; orthobook {orthobook.__version__} reads {FORMAT}")
        try:
            run = Run(**values["run"])
            record = cls(run=run, **{name: values[name] for name in ("status", "reason", "result", "birth")})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this record lacks a field or has an unknown one: {error}") from error
        if record.status not in get_args(Status):
            raise ValueError(f"a status is one of {', '.join(get_args(Status))}, this record's is {record.status!r}")
        if values.get("key") != run.key:
            raise ValueError(f"this record's key is {values.get('key')!r}, but its run has key {run.key!r}")
        return record


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


# --- one run ---


def execute(
    run: Run,
    *,
    device: torch.device | str | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    measure: Measure | None = None,
) -> Record:
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
    measure : callable, optional
        What else to measure: given the trained network, the data set and the judging split, it returns more of the
        result, by name.

    Returns
    -------
    Record
        Its ``result`` holds, as far as the run came: ``accuracy`` and ``loss`` on the judged split, ``curve`` (mean
        training loss over equal parts of the training), ``parameters``, ``multiplications`` (of one example's
        forward pass), and ``milestones``: at some steps the largest ‖VᵀV − I‖_F and the smallest, median and largest
        singular value of the trunk's Jacobian at 8 inputs, where layers are square and the Jacobian is finite.

    Raises
    ------
    KeyboardInterrupt
        If the run is interrupted; with a checkpoint, after that is written.
    ValueError
        If the checkpoint is damaged or belongs to another run.
    """
    start = time.perf_counter()
    checkpoint = None if checkpoint is None else Path(checkpoint)
    saved = None if checkpoint is None else _saved(checkpoint, run)
    result: dict[str, Any] = {}
    status: Status = "finished"
    reason, where, seconds = "", "none", 0.0
    try:
        data, judge = _data(run.data, run.held_out, run.judged_on)
        net = untrained(run, data, device)
        where = _device(net.device)
        result |= {"parameters": sum(p.numel() for p in net.parameters()), "multiplications": _multiplications(net)}
        training = Training(net, data, run.training)
        milestones = _restore(training, saved) if saved else [_milestone(0, net, judge)]
        try:
            _train(training, run, judge, milestones, progress, checkpoint)
            outcome = evaluate(net, judge)
            if not math.isfinite(outcome.loss):
                raise TrainingDiverged(f"after the last step the loss is {outcome.loss}", training.history)
            result |= {"accuracy": outcome.accuracy, "loss": outcome.loss}
            result |= measure(net, data, judge) if measure else {}
        except TrainingDiverged as error:
            status, reason = "diverged", str(error)
            result |= {"accuracy": 1 / len(data.classes)}
        result |= {"curve": _curve(training.history, run.steps), "milestones": milestones}
        seconds = training.history[-1].seconds if training.history else 0.0
    except Exception as error:
        status, reason, result = "failed", f"{type(error).__name__}: {error}", {}
    birth = _birth(where, start) | {"training_seconds": round(seconds, 3)}
    return Record(run=run, status=status, reason=reason, result=_rounded(result), birth=birth)


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
    deferred = contextlib.nullcontext(nothing) if checkpoint is None else _deferred_interrupts()
    with deferred as interrupts:
        for measurement in with_bar(training, progress):
            if measurement.step in _milestone_steps(run.steps):
                milestones.append(_milestone(measurement.step, training.net, judge))
            if checkpoint is not None and (interrupts or time.monotonic() > written + CHECKPOINT_SECONDS):
                _save(checkpoint, run, training, milestones)
                written = time.monotonic()
            if interrupts:
                raise KeyboardInterrupt


@contextlib.contextmanager
def _deferred_interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and requests to terminate in a list, so that a step is never broken off; a second one acts."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main one may have handlers
        yield caught
        return

    def handle(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(path: Path, run: Run, training: Training, milestones: list[dict[str, Any]]) -> None:
    """Write the checkpoint beside its place and then move it there: at any moment there is a whole one."""
    state = {"format": FORMAT, "run": asdict(run), "milestones": milestones, "training": training.state_dict()}
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
        warnings.warn(f"could not write the checkpoint {path}: {error}; the run goes on without", stacklevel=2)
        with contextlib.suppress(OSError):
            partial.unlink()


def _saved(path: Path, run: Run) -> dict[str, Any] | None:
    """Return what a checkpoint holds, None if there is none."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found, other = state["format"], state["run"]
    except Exception as error:  # torch raises whatever it stumbles over
        raise ValueError(f"{path} is no checkpoint, or a damaged one: {type(error).__name__}: {error}") from error
    if found != FORMAT:
        raise ValueError(
            f"the checkpoint {path} has format {found!r}; orthobook {orthobook.__version__} reads {FORMAT}"
        )
    if other != asdict(run):
        differing = ", ".join(name for name, value in asdict(run).items() if other.get(name) != value)
        raise ValueError(f"the checkpoint {path} belongs to a run with another {differing}")
    return state


def _restore(training: Training, saved: dict[str, Any]) -> list[dict[str, Any]]:
    training.load_state_dict(saved["training"])
    return list(saved["milestones"])


@functools.lru_cache(maxsize=2)
def _data(name: str, held_out: int, judged_on: Judge) -> tuple[Dataset, Split]:
    """Return the data to train on and the split to judge by; kept for the next run of this process."""
    data = load(name)
    if held_out == 0:
        return data, data.test
    data, validation = data.held_out(held_out)
    return data, validation if judged_on == "validation" else data.test


def untrained(run: Run, data: Dataset, device: torch.device | str | None) -> DeepNetwork:
    """Return a run's network as it starts."""
    size: dict[str, Any] = {"width": run.width, "inputs": data.train.images.shape[1]}
    if run.kind == "image":
        shape = data.image_shape
        size = {"channels": run.width, "image_shape": shape}
    return build(
        run.architecture,
        depth=run.depth,
        classes=len(data.classes),
        seed=run.seed,
        device=device,
        **size,
        **run.options,
    )


def _multiplications(net: DeepNetwork) -> int:
    """Return the multiplications of one example's forward pass, those of matrix products and convolutions."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(torch.zeros(1, net.inputs, dtype=net.dtype))
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


def _birth(device: str, start: float) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "orthobook": orthobook.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": device,
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - start, 3),
    }


@functools.cache
def _device(device: torch.device) -> str:
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


def _rounded(value: Any) -> Any:
    """Return nested results with floats of nine significant digits, and None for those that are not finite."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


# --- the store ---


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
        self._records: dict[str, Record] = {}  # by key, in the file's order
        self._lines, self._read = 0, 0  # lines, and bytes, of the file that are in _records

    def prepare(self) -> None:
        """Make the file if there is none; OSError or ValueError if nothing can be stored in it."""
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"a store must be a regular file, {self.path} is none")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.open("ab").close()

    def records(self) -> list[Record]:
        """Return the stored records in the order they were stored.

        Raises
        ------
        ValueError
            If a whole line is no record of this version; the message names file and line.
        """
        self._read_on()
        return list(self._records.values())

    def holds(self, run: Run) -> bool:
        """Return whether a run is stored that did not fail."""
        self._read_on()
        return run.key in self._records and self._records[run.key].status != "failed"

    def append(self, record: Record) -> bool:
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


# --- sweeps ---


def sweep(
    runs: Iterable[Run],
    store: Store | str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    device: torch.device | str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[Record]:
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
) -> Iterator[Record]:
    missing = [run for run in wanted.values() if not store.holds(run)]
    task = functools.partial(execute_on_one_thread, device=device)
    if executor is None:
        # another sweep of the same store may have done a run by the time its turn comes
        results = _in_processes((run for run in missing if not store.holds(run)), task, workers)
    else:
        results = _in_executor(missing, task, executor)
    hidden = not progress or bool(os.environ.get("TQDM_DISABLE"))
    unfinished = 0
    with (
        contextlib.closing(results),
        tqdm(total=len(wanted), initial=len(wanted) - len(missing), desc="runs", disable=hidden) as bar,
    ):
        for record in results:
            if store.append(record):  # another sweep may have been faster
                yield record
            unfinished += record.status != "finished"
            bar.update()
            bar.set_postfix({"diverged or failed": unfinished}, refresh=False)


def execute_on_one_thread(run: Run, device: torch.device | str | None = None, measure: Measure | None = None) -> Record:
    """Return the record of a run that uses one thread on the CPU, as every run of a sweep does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return execute(run, device=device, measure=measure)
    finally:
        torch.set_num_threads(threads)


def _in_executor(runs: list[Run], task: Callable[[Run], Record], executor: Executor) -> Generator[Record, None, None]:
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


def _in_processes(runs: Iterable[Run], task: Callable[[Run], Record], workers: int) -> Generator[Record, None, None]:
    """Yield the records of runs in processes of this machine.

    When a process dies, killed for want of memory perhaps, nobody says which run it had. So no more runs are under way
    than there are processes, and those that were are tried once more, each alone.
    """
    waiting = iter(runs)
    suspects: list[Run] = []
    while True:
        active: dict[Future[Record], Run] = {}
        with _pool(workers) as pool:
            while not suspects:
                for run in itertools.islice(waiting, workers - len(active)):
                    active[pool.submit(task, run)] = run
                if not active:
                    return
                for future in wait(active, return_when=FIRST_COMPLETED).done:
                    run = active.pop(future)
                    try:
                        yield future.result()
                    except BrokenExecutor:
                        suspects.append(run)
        for run in (*suspects, *active.values()):
            with _pool(1) as pool:
                error = (future := pool.submit(task, run)).exception()
                yield future.result() if error is None else _failed(run, error)
        suspects = []


def _failed(run: Run, error: BaseException) -> Record:
    reason = f"{type(error).__name__}: {error}"
    return Record(run=run, status="failed", reason=reason, birth=_birth("none", time.perf_counter()))


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes that ends at once when the block is left by an error, Ctrl-C or the end of its user."""
    others = set(multiprocessing.active_children())
    # spawn: forking a process that has run torch's threads may hang
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
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


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: orphans would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
