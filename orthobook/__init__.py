"""Deep networks whose input–output Jacobian is exactly orthogonal.

>>> import orthobook as ob
>>> net = ob.build("shifted-fold", depth=200, width=64, inputs=784, classes=10, seed=0)

The book that goes with the package derives the mathematics: https://github.com/orthobook/orthobook
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers, which do not run `__getattr__`
    from orthobook.data import Dataset as Dataset
    from orthobook.data import Split as Split
    from orthobook.data import data_sets as data_sets
    from orthobook.data import load as load
    from orthobook.derivatives import Coherence as Coherence
    from orthobook.derivatives import gradient_autocorrelation as gradient_autocorrelation
    from orthobook.derivatives import gradient_coherence as gradient_coherence
    from orthobook.derivatives import gradient_coherences as gradient_coherences
    from orthobook.derivatives import gradient_norms as gradient_norms
    from orthobook.derivatives import jacobian as jacobian
    from orthobook.derivatives import jacobians as jacobians
    from orthobook.derivatives import numerical_ranks as numerical_ranks
    from orthobook.derivatives import singular_value_range as singular_value_range
    from orthobook.derivatives import singular_values as singular_values
    from orthobook.framework import Certificate as Certificate
    from orthobook.framework import NotOrthogonal as NotOrthogonal
    from orthobook.framework import Undecided as Undecided
    from orthobook.framework import compose as compose
    from orthobook.framework import factorise as factorise
    from orthobook.framework import is_orthogonal as is_orthogonal
    from orthobook.layers import Block as Block
    from orthobook.layers import architectures as architectures
    from orthobook.layers import register as register
    from orthobook.networks import DeepNetwork as DeepNetwork
    from orthobook.networks import Trunk as Trunk
    from orthobook.networks import best_device as best_device
    from orthobook.networks import build as build
    from orthobook.orthogonal import haar as haar
    from orthobook.orthogonal import orthogonality_error as orthogonality_error
    from orthobook.orthogonal import retract as retract
    from orthobook.theory.certificates import attack as attack
    from orthobook.theory.certificates import certified_radius as certified_radius
    from orthobook.theory.certificates import lipschitz_bound as lipschitz_bound
    from orthobook.theory.certificates import smallest_perturbation as smallest_perturbation
    from orthobook.theory.mean_field import MeanField as MeanField
    from orthobook.theory.mean_field import mean_field as mean_field
    from orthobook.theory.mean_field import threshold_for as threshold_for
    from orthobook.theory.subspaces import persistent_dimension as persistent_dimension
    from orthobook.theory.subspaces import persistent_subspace as persistent_subspace
    from orthobook.training import Evaluation as Evaluation
    from orthobook.training import Measurement as Measurement
    from orthobook.training import Training as Training
    from orthobook.training import TrainingConfig as TrainingConfig
    from orthobook.training import TrainingDiverged as TrainingDiverged
    from orthobook.training import evaluate as evaluate
    from orthobook.training import train as train

_HOMES = {
    "data": ["Dataset", "Split", "data_sets", "load"],
    "derivatives": [
        "Coherence",
        "gradient_autocorrelation",
        "gradient_coherence",
        "gradient_coherences",
        "gradient_norms",
        "jacobian",
        "jacobians",
        "numerical_ranks",
        "singular_value_range",
        "singular_values",
    ],
    "framework": ["Certificate", "NotOrthogonal", "Undecided", "compose", "factorise", "is_orthogonal"],
    "layers": ["Block", "architectures", "register"],
    "networks": ["DeepNetwork", "Trunk", "best_device", "build"],
    "orthogonal": ["haar", "orthogonality_error", "retract"],
    "theory.certificates": ["attack", "certified_radius", "lipschitz_bound", "smallest_perturbation"],
    "theory.mean_field": ["MeanField", "mean_field", "threshold_for"],
    "theory.subspaces": ["persistent_dimension", "persistent_subspace"],
    "training": ["Evaluation", "Measurement", "Training", "TrainingConfig", "TrainingDiverged", "evaluate", "train"],
}
_WINGS = {name: name for name in ("layers", "theory", "study", "figures", "teaching")}
_WINGS |= {"exercises": "teaching.exercises", "dashboard": "teaching.dashboard"}  # for the reader of a chapter

__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for, so that ``orthobook --version`` needs no torch."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"orthobook.{home}"), name)
            break
    else:
        if name not in _WINGS:
            raise AttributeError(f"module 'orthobook' has no attribute {name!r}")
        value = importlib.import_module(f"orthobook.{_WINGS[name]}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_WINGS})
