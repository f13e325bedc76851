"""The robustness of a trained network: certified and attacked at every image that judges it.

It is what a run measures with ``measure="robustness"``, beside accuracy and loss. Networks that are constrained are
trained once more with the embedding's matrix kept orthogonal too; what is measured of these twins is the result
``orthogonal_embedding``. Lengths are in pixels, whose values lie in [0, 1]; attacks may leave that box.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orthobook.data import Dataset, Split
from orthobook.networks import DeepNetwork
from orthobook.orthogonal import retract
from orthobook.study.run import Run
from orthobook.theory.certificates import (
    attack,
    certified_radius,
    embedding_norm,
    in_float64,
    lipschitz_bound,
    smallest_perturbation,
    wrong,
)
from orthobook.training import Training, evaluate

__all__ = ["QUANTILES", "RADII", "SHORT", "measure", "measure_with_twin", "with_orthogonal_embedding"]

RADII = tuple(round(0.02 * step, 2) for step in range(51))
"""Radii in pixels at which accuracies are stored."""

SHORT = 0.1
"""The radius at which tables and claims state accuracies."""

LIMIT = 3.0
"""The longest change that is tried, in pixels."""

INSIDE = 0.999
"""Share of its certified radius at which every image is attacked once more."""

BATCH = 500
"""Images treated at once; the last bits of a result may depend on it."""

FIRST = 10
"""Images whose own radius and distance are stored."""

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95)
"""Which quantiles of distance / radius are stored."""


def measure(net: DeepNetwork, data: Dataset, split: Split) -> dict[str, Any]:
    """Return what is stored of a trained network's robustness on a split, under the key ``robustness``.

    ``certified`` and ``attacked`` are accuracies at :data:`RADII`: the shares of images classified right whose radius
    is longer, and for which no change of that length or less was found. ``broken`` counts certificates that an attack
    has refuted, by its shortest change or just inside the radius. ``looseness`` holds :data:`QUANTILES` of the shortest
    change found over the certified radius. Where the trunk has no bound, what needs it is None.
    """
    certifiable = True
    found: dict[str, Any] = {"images": len(split), "embedding_norm": embedding_norm(net), "lipschitz_bound": None}
    try:
        found["lipschitz_bound"] = lipschitz_bound(net)
    except ValueError:
        certifiable = False
    batches = zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True)
    parts = [_lengths(net, images, labels, data.std, certifiable) for images, labels in batches]
    distance, radius, inside = (torch.cat(column) for column in zip(*parts, strict=True))
    found |= {"attacked": _above(distance), "unbroken": int(distance.isinf().sum())}
    found |= {"first": {"distance": distance[:FIRST].tolist()}}
    found |= dict.fromkeys(("certified", "mean_radius", "broken", "looseness"))
    if certifiable:
        loose = (distance / radius)[radius > 0]
        quantiles = torch.quantile(loose, loose.new_tensor(QUANTILES), interpolation="lower")
        found |= {"certified": _above(radius), "mean_radius": radius.mean().item(), "looseness": quantiles.tolist()}
        found |= {"broken": int((inside | (distance < radius)).sum())}
        found["first"]["radius"] = radius[:FIRST].tolist()
    return {"robustness": found}


def measure_with_twin(run: Run, net: DeepNetwork, data: Dataset, split: Split) -> dict[str, Any]:
    """Return what is measured of a run's trained network and, if the run is constrained, of its twin."""
    found = measure(net, data, split)
    if run.mode == "constrained":
        twin = with_orthogonal_embedding(run, data, net.device)
        accuracy = {"accuracy": evaluate(twin, split).accuracy}
        found["orthogonal_embedding"] = accuracy | measure(twin, data, split)["robustness"]
    return found


def with_orthogonal_embedding(run: Run, data: Dataset, device: torch.device | str | None = None) -> DeepNetwork:
    """Train a run's network with the rows of the embedding's matrix kept orthonormal as well, and return it.

    After every step the matrix is replaced by the nearest one with orthonormal rows, as the trunk's parameters are.
    """
    net = run.network(data, device)
    matrix = net.embedding.get_parameter("weight")
    for _ in Training(net, data, run.training):
        with torch.no_grad():
            matrix.copy_(retract(matrix.mT).mT)
    return net


def _lengths(
    net: DeepNetwork,
    images: Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
    std: float,
    certifiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for every image the shortest change found, the certified radius, and whether one inside it was found."""
    distance = smallest_perturbation(net, images, labels, LIMIT / std)
    if not certifiable:
        return distance * std, torch.zeros_like(distance), torch.zeros_like(distance, dtype=torch.bool)
    radius = certified_radius(net, images, labels)
    inside = attack(net, images, labels, INSIDE * radius, steps=10)
    return distance * std, radius * std, wrong(in_float64(net), images, inside, labels) & (radius > 0)


def _above(lengths: Float[Tensor, " images"]) -> list[float]:
    return [(lengths > radius).double().mean().item() for radius in RADII]
