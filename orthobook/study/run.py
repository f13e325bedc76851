"""What was done and what came of it.

    Run             one training: everything that decides its result
    Benchmark       one measurement of speed: its name and its options
    Unregistered    one training of an architecture that is not registered here
    Record          one of these with its outcome and its birth certificate: versions, source, device, date

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
from orthobook.layers.base import architectures, block
from orthobook.networks import DeepNetwork, build
from orthobook.training import Mode, TrainingConfig

__all__ = ["HEAD", "Benchmark", "Record", "Run", "Unregistered"]

FORMAT = 1
"""Version of a record's layout. A record of another one is refused, not guessed at."""

HEAD = f'{{"format": {FORMAT}, "key": "'.encode()
"""What a line of this format begins with."""

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


@dataclass(frozen=True, kw_only=True)
class Unregistered:
    """A stored run of an architecture that is not registered here: kept as it is, and shown by its name."""

    values: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        """The architecture's name."""
        return str(self.values["architecture"])

    @functools.cached_property
    def key(self) -> str:
        """The key under which it is stored."""
        return _key(self.values)


def _key(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _exact_type(option: Field[Any], value: Any) -> Any:
    """Return numbers, NumPy's too, as Python's int or float, whichever the field says: 1 and 1.0 make the same run."""
    if "float" in str(option.type) and isinstance(value, Real):
        return float(value)
    return int(value) if "int" in str(option.type) and isinstance(value, Integral) else value


Job = TypeVar("Job", Run, Benchmark, Unregistered)


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
        """Return the record as one line of JSON; NumPy's and torch's numbers and arrays become numbers and lists.

        Raises
        ------
        ValueError
            If the record holds what JSON has no word for; nan and infinite numbers are among that.
        """
        values = {"format": FORMAT, "key": self.run.key} | {of.name: getattr(self, of.name) for of in fields(self)}
        values["run"] = self.run.values if isinstance(self.run, Unregistered) else asdict(self.run)
        try:
            return json.dumps(values, allow_nan=False, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise ValueError(f"this record of {self.run.key} cannot be stored: {error}") from error

    @classmethod
    def from_json(cls, line: str) -> Record[Any]:
        """Return the record in a line of JSON.

        Raises
        ------
        ValueError
            If it is none, is damaged, or was written by another version of the package than can be read.
        """
        values = _parsed(line)
        for name, kind in _KINDS.items():
            if not isinstance(values.get(name), kind):
                what = {dict: "an object", str: "a string"}[kind]
                raise ValueError(f"{name!r} of a record is {what}, this record's is {values.get(name)!r:.40}")
        if values["status"] not in get_args(Status):
            allowed = ", ".join(get_args(Status))
            raise ValueError(f"a status is one of {allowed}, this record's is {values['status']!r}")
        if not isinstance(values["result"].get("accuracy", 0.0), Real):
            raise ValueError(f"an accuracy is a number, this record's is {values['result']['accuracy']!r:.40}")
        made = _job(values["run"], values["key"])
        return Record(run=made, **{name: values[name] for name in ("status", "reason", "result", "birth")})


_KINDS = {"key": str, "run": dict, "status": str, "reason": str, "result": dict, "birth": dict}


def _job(run: dict[str, Any], key: str) -> Any:
    """Return what was run, from its stored fields; ValueError if they are damaged or of another version."""
    if key != (found := _key(run)):
        raise ValueError(f"this record is damaged: its key is {key!r}, but what is stored has key {found!r}")
    name = run.get("architecture")
    try:
        if "benchmark" in run:
            return Benchmark(**run)
        if isinstance(name, str) and name not in architectures():
            return Unregistered(values=run)
        made = Run(**run)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"this record lacks a field or has one that orthobook {__version__} does not know: {error}"
        ) from error
    if vars(made) == run:  # nothing was added since
        made.__dict__["key"] = key
    return made


def _plain(value: Any) -> Any:
    """Return a number or an array of NumPy or torch as numbers and lists; TypeError for anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no number, text, list or dictionary: {value!r:.40}")


def _no_number(word: str) -> Any:
    raise ValueError(f"this is no JSON: it has no number {word}")


def _parsed(line: str) -> dict[str, Any]:
    """Return what a line of JSON holds, if that is a record of the format that can be read."""
    try:
        values = json.loads(line, parse_constant=_no_number)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"this is no JSON: {error}") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        later = isinstance(found, int) and found > FORMAT
        cure = "install the later orthobook that wrote it" if later else "give another file"
        raise ValueError(f"this record has format {found!r}, and orthobook {__version__} reads format {FORMAT}: {cure}")
    return dict(values)
