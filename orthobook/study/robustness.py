"""The robustness of the book's networks: trained as in the studies, then certified and attacked at every test image.

The networks are stored runs of the studies, those of the first fresh seed at the learning rate chosen there: nothing
about them was chosen for robustness. A record here is that of the run, with one more result, ``robustness``. Networks
that are constrained are trained once more with the embedding's matrix kept orthogonal too; what is measured of these
twins is the result ``orthogonal_embedding``. Lengths are in pixels, whose values lie in [0, 1]; attacks may leave that
box.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from tabulate import tabulate
from torch import Tensor

from orthobook.data import Dataset, Split
from orthobook.networks import DeepNetwork
from orthobook.orthogonal import retract
from orthobook.study import studies
from orthobook.study.experiments import Measure, Record, Run, Store, execute_on_one_thread, untrained
from orthobook.theory.certificates import (
    attack,
    certified_radius,
    embedding_norm,
    in_float64,
    lipschitz_bound,
    smallest_perturbation,
    wrong,
)
from orthobook.training import Mode, Training, evaluate

__all__ = [
    "NETWORKS",
    "RADII",
    "RESULTS",
    "Subject",
    "measure",
    "measure_missing",
    "measure_with_twin",
    "measured",
    "stored",
    "table",
    "with_orthogonal_embedding",
]

RESULTS = Path(__file__).with_name("robustness.jsonl")
"""The stored results that come with the package.

:meta hide-value:
"""

RADII = tuple(round(0.02 * step, 2) for step in range(51))
"""Radii in pixels at which accuracies are stored."""

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


@dataclass(frozen=True)
class Subject:
    """A network whose robustness is measured: the contender of a study, at one depth, trained in one way."""

    study: str
    contender: str
    depth: int
    mode: Mode

    @property
    def run(self) -> Run:
        """Its first run judged on test images, as stored; of several penalties that with λ = 1."""
        return _first_runs(self.study)[self.contender, self.depth, self.mode]


@functools.cache
def _first_runs(study: str) -> dict[tuple[str, int, Mode], Run]:
    """Return the first final run of every cell of a study, of penalised cells those with λ = 1."""
    outcomes = (outcome for outcome in studies.stored(study) if outcome.cell.penalty == 1.0)
    return {(o.cell.contender.name, o.cell.depth, o.cell.mode): o.finals[0].run for o in outcomes}


FOLD, REFLECTION, RESIDUAL = "shifted fold, τ = 3", "modified residual, τ = 3", "residual, 1/√L"

NETWORKS = (
    Subject("verification", FOLD, 10, "constrained"),
    Subject("verification", RESIDUAL, 10, "free"),
    *(
        subject
        for depth in (20, 100)
        for subject in (
            Subject("modes", FOLD, depth, "constrained"),
            Subject("modes", REFLECTION, depth, "constrained"),
            Subject("modes", FOLD, depth, "penalised"),
            Subject("modes", FOLD, depth, "free"),
            Subject("comparison", RESIDUAL, depth, "free"),
        )
    ),
    Subject("knobs", "linear", 100, "constrained"),
)
"""Those that are stored. The first two, on the package's own images, can be measured again in seconds."""


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
        quantiles = torch.quantile(loose, torch.tensor(QUANTILES, dtype=loose.dtype), interpolation="lower")
        found |= {"certified": _above(radius), "mean_radius": radius.mean().item(), "looseness": quantiles.tolist()}
        found |= {"broken": int((inside | (distance < radius)).sum())}
        found["first"]["radius"] = radius[:FIRST].tolist()
    return {"robustness": found}


def measure_with_twin(run: Run) -> Measure:
    """Return what measures a run's network and, if that is constrained, its twin."""

    def measurement(net: DeepNetwork, data: Dataset, split: Split) -> dict[str, Any]:
        found = measure(net, data, split)
        if run.mode == "constrained":
            twin = with_orthogonal_embedding(run, data, net.device)
            accuracy = {"accuracy": evaluate(twin, split).accuracy}
            found["orthogonal_embedding"] = accuracy | measure(twin, data, split)["robustness"]
        return found

    return measurement


def with_orthogonal_embedding(run: Run, data: Dataset, device: torch.device | str | None = None) -> DeepNetwork:
    """Train a run's network with the rows of the embedding's matrix kept orthonormal as well, and return it.

    After every step the matrix is replaced by the nearest one with orthonormal rows, as the trunk's parameters are.
    """
    net = untrained(run, data, device)
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


def measure_missing(store: Store, *, device: torch.device | str | None = None) -> Iterator[Record]:
    """Measure the networks that a store lacks, one after the other, and yield each record once it is stored.

    Each uses one thread on the CPU. What is finished is kept when the loop is left; the same call goes on.
    """
    for subject in NETWORKS:
        if not store.holds(subject.run):
            record = execute_on_one_thread(subject.run, device, measure_with_twin(subject.run))
            store.append(record)
            yield record


def measured(store: Store) -> dict[Subject, Record]:
    """Return the records that a store holds of :data:`NETWORKS`, in their order."""
    records = studies.by_key(store)
    return {subject: records[subject.run.key] for subject in NETWORKS if subject.run.key in records}


@functools.cache
def stored() -> dict[Subject, Record]:
    """Return the records that come with the package.

    Raises
    ------
    ValueError
        If one is missing.
    """
    records = measured(Store(RESULTS))
    missing = [subject for subject in NETWORKS if subject not in records]
    if missing:
        raise ValueError(f"{RESULTS} lacks {len(missing)} networks, first {missing[0]}")
    return records


def table(records: Mapping[Subject, Record], *, radius: float = 0.1, tablefmt: str = "html") -> str:
    """Return what was measured as a table, one row for each network and one for its twin, with orthogonal embedding.

    Accuracies are those at a radius of :data:`RADII`; the format is one of the library tabulate.
    """
    rows, at = [], RADII.index(radius)
    several = len({record.run.data for record in records.values()}) > 1
    for subject, record in records.items():
        of_run = {"accuracy": record.accuracy} | record.result.get("robustness", {})
        kinds = {"": of_run, ", E too": record.result.get("orthogonal_embedding")}
        for kind, found in kinds.items():
            if found is None or "attacked" not in found:
                continue
            name = f"{subject.contender.partition(',')[0]}, {subject.mode}{kind}"
            row = {"network": name, "layers": subject.depth} | ({"data": record.run.data} if several else {})
            row |= {"accuracy": found["accuracy"], "Γ": found["lipschitz_bound"], "mean ρ": found["mean_radius"]}
            row |= {f"certified at {radius}": found["certified"] and found["certified"][at]}
            row |= {f"attacked at {radius}": found["attacked"][at]}
            row |= {"median of found / ρ": found["looseness"] and found["looseness"][QUANTILES.index(0.5)]}
            rows.append({head: _cell(head, value) for head, value in row.items()})
    return tabulate(rows, headers="keys", tablefmt=tablefmt, disable_numparse=True)


def _cell(head: str, value: Any) -> str:
    if value is None:  # nothing is proven
        return "–"
    return f"{value:{'.6g' if head == 'Γ' else '.3f'}}" if isinstance(value, float) else str(value)
