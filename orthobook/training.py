"""Training as a generator of measurements, with orthogonality free, penalised or constrained.

    free           minimise ℓ
    penalised      minimise ℓ + λ Σ_l ‖V_lᵀV_l − I‖_F²
    constrained    minimise ℓ; after each of the optimiser's steps, every V_l goes back to the Stiefel manifold

The seed fixes the order of the examples, the network's own seed its parameters; on the CPU a run repeats to the bit.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from orthobook._checks import finite_number, whole_number
from orthobook.data import Dataset, Split
from orthobook.networks import DeepNetwork

__all__ = ["Evaluation", "Measurement", "Mode", "Training", "TrainingConfig", "TrainingDiverged", "evaluate", "train"]

Mode = Literal["free", "penalised", "constrained"]
Products = Literal["full", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train: Adam for a fixed number of steps, its learning rate falling linearly to 0.

    The trunk learns at that rate divided by L^p, as its L layers all turn at once: one rate serves shallow and deep.
    Architectures that have nothing to keep, such as ``relu-he``, train alike in every mode.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and says what is allowed.
    """

    mode: Mode = "constrained"
    steps: int = 300
    batch_size: int = 128
    learning_rate: float = 3e-3  # of the first step, for embedding and classifier; the trunk's is divided by L^p
    depth_exponent: float = 0.5  # p
    penalty: float = 1.0  # λ of the penalised mode; the other modes do not use it
    seed: int = 0  # order of the examples
    products: Products = "full"  # precision of the network's matrix products; what is orthogonal stays in full
    segment: int | None = None  # layers whose states are computed again on the way back, to save memory; None keeps all

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"unknown mode {self.mode!r}; allowed: {', '.join(get_args(Mode))}")
        if self.products not in get_args(Products):
            raise ValueError(f"unknown products {self.products!r}; allowed: {', '.join(get_args(Products))}")
        for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0), ("segment", 1)):
            if (name, self.segment) != ("segment", None):
                whole_number(name, getattr(self, name), least=least)
        finite_number("depth_exponent", self.depth_exponent)
        for name in ("learning_rate", "penalty"):
            finite_number(name, getattr(self, name), positive=True)


@dataclass(frozen=True)
class Measurement:
    """What one training step shows, measured on its batch before the step is taken."""

    step: int  # 1 … steps
    loss: float  # mean cross-entropy of the batch, without the penalty
    accuracy: float  # fraction of the batch classified correctly
    gradient_norm: float  # Euclidean norm of the gradient over all parameters
    seconds: float  # since the first step began, without the time the consumer took


@dataclass(frozen=True)
class Evaluation:
    """A network's performance on a set of examples."""

    accuracy: float  # fraction classified correctly
    loss: float  # mean cross-entropy


class TrainingDiverged(RuntimeError):
    """The loss or its gradient stopped being finite; ``history`` holds the measurements of the steps before."""

    def __init__(self, message: str, history: list[Measurement]) -> None:
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> tuple[type[TrainingDiverged], tuple[str, list[Measurement]]]:
        return type(self), (str(self), self.history)  # so that it survives the way back from another process


def evaluate(net: DeepNetwork, split: Split, *, batch_size: int = 2048) -> Evaluation:
    """Return accuracy and mean loss on a split of a data set.

    Raises
    ------
    ValueError
        If the split's images do not fit the network, or a label is not one of its classes.
    """
    whole_number("batch_size", batch_size, least=1)
    _check_fits(net, split)
    correct, loss = 0, 0.0
    with torch.inference_mode():
        for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
            labels = labels.to(net.device)
            logits = net(images)
            correct += int((logits.argmax(-1) == labels).sum())
            loss += functional.cross_entropy(logits, labels, reduction="sum").item()
    return Evaluation(accuracy=correct / len(split), loss=loss / len(split))


def train(net: DeepNetwork, data: Dataset, config: TrainingConfig, *, progress: bool = True) -> Iterator[Measurement]:
    """Train a network in place, yielding a measurement after every step.

    Parameters
    ----------
    net : DeepNetwork
        The network, changed in place. When the loop is left, by ``break`` or Ctrl-C, it is usable, and orthogonal if
        the mode is constrained.
    data : Dataset
        Its ``train`` split is used; it is brought to the network's device as a whole.
    config : TrainingConfig
        Mode, steps, batch size, learning rate, seed.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Iterator of Measurement
        One for each step. Nothing runs until the first is asked for, but arguments are checked at once.

    Raises
    ------
    ValueError
        If the data do not fit the network, or the batch is larger than the training set.
    TrainingDiverged
        If the loss or the gradient is no longer finite. The parameters are those of the last step taken.

    Examples
    --------
    >>> history = list(train(net, data, TrainingConfig(steps=300)))  # doctest: +SKIP
    """
    return with_bar(Training(net, data, config), progress)


def with_bar(training: Training, progress: bool) -> Iterator[Measurement]:
    """Yield the measurements of a training, with a progress bar if wanted."""
    hidden = not progress or bool(os.environ.get("TQDM_DISABLE"))  # tqdm's bar for notebooks overlooks the variable
    label, done = f"{training.net.architecture}, {training.config.mode}", len(training.history)
    with tqdm(total=training.config.steps, initial=done, desc=label, leave=False, disable=hidden) as bar:
        for measurement in training:
            bar.update()
            bar.set_postfix(loss=f"{measurement.loss:.3f}", accuracy=f"{measurement.accuracy:.2f}", refresh=False)
            yield measurement


class Training(Iterator[Measurement]):
    """A training run that can be put aside after any step and taken up again; iterate over it to train.

    :func:`train` makes one, and adds a progress bar. A run that was put aside and taken up has, on the CPU, the same
    measurements and parameters to the bit as one that was not.

    Parameters and errors are those of :func:`train`.

    Attributes
    ----------
    history : list of Measurement
        Those of all steps taken.
    """

    def __init__(self, net: DeepNetwork, data: Dataset, config: TrainingConfig) -> None:
        if not isinstance(data, Dataset):
            raise ValueError(f"train needs a Dataset, such as ob.load returns, got {type(data).__name__}")
        _check_fits(net, data.train)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise ValueError("there is nothing to train: all parameters of the network are frozen")
        if any(parameter.is_inference() for parameter in net.parameters()):
            raise ValueError("a network that was made in torch.inference_mode() cannot be trained; make it outside")
        examples = len(data.train)
        if config.batch_size > examples:
            raise ValueError(f"batch_size must be at most the {examples} training examples, got {config.batch_size}")
        self.net, self.config = net, config
        self.history: list[Measurement] = []
        _keep_freed_memory()
        self._images, self._labels = data.train.images.to(net.device), data.train.labels.to(net.device)
        self._optimiser = _optimiser(net, config)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._optimiser, 1.0, 0.0, total_iters=config.steps)
        self._batches = _batches(examples, config)
        self._within_step = False

    @torch.inference_mode(False)  # whatever the caller is in
    def __next__(self) -> Measurement:
        if len(self.history) == self.config.steps:
            raise StopIteration
        start = time.perf_counter()
        self._within_step = True
        batch = next(self._batches).to(self.net.device)
        loss, accuracy, gradient_norm = _gradient(self.net, self._images[batch], self._labels[batch], self.config)
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            raise self._diverged(f"loss {loss}, gradient norm {gradient_norm}")
        self._take_step()
        torch.clear_autocast_cache()  # a caller's autocast would go on with the weights of the first step
        self._schedule.step()
        seconds = time.perf_counter() - start + (self.history[-1].seconds if self.history else 0.0)
        self.history.append(Measurement(len(self.history) + 1, loss, accuracy, gradient_norm, seconds))
        self._within_step = False
        return self.history[-1]

    def _take_step(self) -> None:
        """Take the optimiser's step and, where constrained, the retraction that belongs to it."""
        unfinished = self.config.mode == "constrained"
        try:
            self._optimiser.step()
            if unfinished:
                self.net.retract_()
                unfinished = False
        finally:  # Ctrl-C may come at any moment
            if unfinished:
                try:
                    self.net.retract_()
                except ValueError as error:
                    raise self._diverged("parameters that are not finite") from error

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`load_state_dict` needs to go on from here, for ``torch.save``.

        Raises
        ------
        RuntimeError
            If the last step was broken off in the middle, by Ctrl-C or an error: there is no way on from there.
        """
        if self._within_step:
            raise RuntimeError("the last step was broken off in the middle, so this training cannot be saved")
        return {
            "config": asdict(self.config),
            "history": [astuple(measurement) for measurement in self.history],
            "network": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; the network, the data and the configuration must be those of the saved training.

        Raises
        ------
        ValueError
            If the configuration, the architecture or its options are others. (Embeddings or classifiers of another
            shape raise torch's RuntimeError.)
        """
        if state["config"] != asdict(self.config):
            raise ValueError(f"the saved training has the configuration {state['config']}, not {asdict(self.config)}")
        if len(state["history"]) > self.config.steps:
            raise ValueError(f"the saved training has {len(state['history'])} steps, more than {self.config.steps}")
        self.net.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self.history = [Measurement(*values) for values in state["history"]]
        self._batches = _batches(len(self._images), self.config)
        deque(itertools.islice(self._batches, len(self.history)), maxlen=0)  # those already trained on
        self._within_step = False

    def _diverged(self, what: str) -> TrainingDiverged:
        step, advice = len(self.history) + 1, lower_rate(self.config.learning_rate)
        return TrainingDiverged(f"training diverged at step {step}: {what}. {advice}", self.history)


def _keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next step: to fetch it again page by page costs time.

    glibc gives memory back to the system by thresholds, which it raises, for good, to the size of the largest block
    that it has seen freed, up to 32 MiB. This is such a block. Nothing is written to it, so it takes no memory.
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def lower_rate(rate: float) -> str:
    """Return what to try after a learning rate that was too large."""
    usual = TrainingConfig.learning_rate
    known = f", such as the default {usual:g}" if rate > usual else ""
    return f"Try a learning rate below {rate:g}{known}."


def _optimiser(net: DeepNetwork, config: TrainingConfig) -> torch.optim.Optimizer:
    ends = [*net.embedding.parameters(), *net.classifier.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": ends, "lr": config.learning_rate},
        {"params": list(net.trunk.values()), "lr": config.learning_rate / net.depth**config.depth_exponent},
    ]
    return torch.optim.Adam(groups, fused=net.device.type in ("cpu", "cuda"))  # elsewhere it is not there, or new


@torch.enable_grad()
def _gradient(
    net: DeepNetwork,
    images: Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
    config: TrainingConfig,
) -> tuple[float, float, float]:
    """Fill the parameters' gradients; return the loss, the accuracy and the gradient's norm."""
    net.zero_grad(set_to_none=True)
    with torch.autocast(net.device.type, torch.bfloat16) if config.products == "bfloat16" else nullcontext():
        logits = net.training_logits(images, segment=config.segment).to(net.dtype)
    loss = functional.cross_entropy(logits, labels)
    penalty = config.penalty * net.orthogonality_penalty() if config.mode == "penalised" else 0.0
    (loss + penalty).backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    accuracy = (logits.detach().argmax(-1) == labels).to(loss.dtype).mean()
    return tuple(torch.stack((loss.detach(), accuracy, norm)).tolist())  # one transfer from the device


def _batches(examples: int, config: TrainingConfig) -> Iterator[Int[Tensor, " batch"]]:
    """Yield batches of indices for ever: a fresh random order for each pass, its incomplete last batch left out."""
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        order = torch.randperm(examples, generator=generator, device="cpu")
        yield from order[: examples - examples % config.batch_size].split(config.batch_size)


def _check_fits(net: DeepNetwork, split: Split) -> None:
    if not isinstance(net, DeepNetwork):
        raise ValueError(f"net must be a DeepNetwork, as ob.build returns, got {type(net).__name__}")
    if not isinstance(split, Split):
        raise ValueError(f"a Split is needed, such as data.test, got {type(split).__name__}")
    if split.images.shape[1:] != (net.inputs,):
        raise ValueError(
            f"the network takes inputs of length {net.inputs}, got images of shape {tuple(split.images.shape)}"
        )
    if split.images.dtype != net.dtype:
        raise ValueError(f"images must have the network's dtype {net.dtype}, got {split.images.dtype}")
    if len(split) == 0:
        raise ValueError("a split must hold at least one example, got none")
    smallest, largest = int(split.labels.min()), int(split.labels.max())
    if smallest < 0 or largest >= net.classes:
        raise ValueError(
            f"labels must lie in 0 … {net.classes - 1} for {net.classes} classes, got {smallest} … {largest}"
        )
