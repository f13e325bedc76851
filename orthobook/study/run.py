"""What was done and what came of it.

    Run          one training: everything that decides its result
    Benchmark    one measurement of speed: its name and its options
    Record       a run or a benchmark with its outcome and its birth certificate: versions, source, device, date

A record is one line of JSON. Its key is the hash of the run as it is stored, so that damage shows. What a run *is*,
the package of today says: fields and options that a stored run lacks have their defaults.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Generic, Literal, TypeVar, get_args

import torch

from orthobook import __version__
from orthobook._checks import whole_number
from orthobook.data import Dataset, data_sets
from orthobook.layers.base import block
from orthobook.networks import DeepNetwork, build
from orthobook.training import Mode, TrainingConfig

__all__ = ["Benchmark", "Record", "Run"]

FORMAT = 1
"""Version of a record's layout. A record of another one is refused, not guessed at."""

Judge = Literal["test", "validation"]
Measure = Literal["none", "robustness"]
Status = Literal["finished", "diverged", "failed"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run: a network, a data set, and how to train. Equal runs have equal results on one kind of machine.

    ``options`` are those of the architecture; the ones left out are filled in, so that a stored run keeps its meaning
    when a default changes. A field, or an option of a layer, that is added later must have a default that means what
    was done before: stored runs have it.

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
    measure: Measure = "none"  # what is measured of the trained network beside accuracy and loss
    seed: int = 0  # of the parameters and of the order of the examples
    mode: Mode = TrainingConfig.mode
    steps: int = TrainingConfig.steps
    batch_size: int = TrainingConfig.batch_size
    learning_rate: float = TrainingConfig.learning_rate
    penalty: float = TrainingConfig.penalty
    depth_exponent: float = TrainingConfig.depth_exponent

    def __post_init__(self) -> None:
        layer = block(self.architecture, **self.options)
        known = {option.name: _exact_type(option, getattr(layer, option.name)) for option in fields(layer)}
        object.__setattr__(self, "options", {name: value for name, value in known.items() if value is not None})
        whole_number("depth", self.depth, least=1)
        whole_number("width", self.width, least=1)
        whole_number("held_out", self.held_out, least=0)
        for name, value, allowed in (
            ("data", self.data, data_sets()),
            ("judged_on", self.judged_on, get_args(Judge)),
            ("measure", self.measure, get_args(Measure)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        if self.judged_on == "validation" and self.held_out == 0:
            raise ValueError("judged_on='validation' needs held_out examples, got held_out=0")
        _ = self.training  # checks the rest
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

    def network(self, data: Dataset, device: torch.device | str | None = None) -> DeepNetwork:
        """Return the run's network as it starts, for its data set."""
        return build(
            self.architecture,
            depth=self.depth,
            width=self.width,
            inputs=data.image_shape,
            classes=len(data.classes),
            seed=self.seed,
            device=device,
            **self.options,
        )

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

    @functools.cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that name the run: the start of the SHA-256 of its fields as JSON."""
        return _key(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One measurement of speed: which one, at which sizes. Its result belongs to the machine that it was made on."""

    benchmark: str
    options: Mapping[str, Any]

    @functools.cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that name it, as those of a run do."""
        return _key(asdict(self))


def _key(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _exact_type(option: Field[Any], value: Any) -> Any:
    """Return numbers, NumPy's too, as Python's int or float, whichever the field says: 1 and 1.0 make the same run."""
    if "float" in str(option.type) and isinstance(value, Real):
        return float(value)
    return int(value) if "int" in str(option.type) and isinstance(value, Integral) else value


Job = TypeVar("Job", Run, Benchmark)


@dataclass(frozen=True, kw_only=True)
class Record(Generic[Job]):
    """What came of a run or a benchmark."""

    run: Job
    status: Status  # failed: it could not be run; diverged: loss or gradient stopped being finite
    reason: str = ""  # why it failed or where it diverged
    result: Mapping[str, Any] = field(default_factory=dict)  # of a run the same wherever it is repeated
    birth: Mapping[str, Any] = field(default_factory=dict)  # versions, source, device, date, seconds

    @property
    def accuracy(self) -> float:
        """Fraction classified correctly; that of guessing if the run diverged, nan if it failed."""
        return float(self.result["accuracy"]) if "accuracy" in self.result else math.nan

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps({"format": FORMAT, "key": self.run.key, **asdict(self)}, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Record[Any]:
        """Return the record in a line of JSON.

        Raises
        ------
        ValueError
            If it is none, is damaged, or was written by another version of the package than can be read.
        """
        values = _parsed(line)
        try:
            run, key = values["run"], values["key"]
            if key != _key(run):
                raise ValueError(
                    f"this record is damaged: its key is {key!r}, but what is stored has key {_key(run)!r}"
                )
            made: Any = Benchmark(**run) if "benchmark" in run else Run(**run)
            record = Record(run=made, **{name: values[name] for name in ("status", "reason", "result", "birth")})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"this record lacks a field or has one that orthobook {__version__} does not know: {error}"
            ) from error
        if record.status not in get_args(Status):
            raise ValueError(f"a status is one of {', '.join(get_args(Status))}, this record's is {record.status!r}")
        return record


def _parsed(line: str) -> dict[str, Any]:
    """Return what a line of JSON holds, if that is a record of the format that can be read."""
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no JSON: {error}") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        later = isinstance(found, int) and found > FORMAT
        cure = "install the later orthobook that wrote it" if later else "give another file"
        raise ValueError(f"this record has format {found!r}, and orthobook {__version__} reads format {FORMAT}: {cure}")
    return dict(values)
