"""Deep networks whose input–output Jacobian is exactly orthogonal.

>>> import orthobook as ob
>>> net = ob.build("shifted-fold", depth=200, width=64, inputs=784, classes=10, seed=0)

The book that goes with the package derives the mathematics: https://github.com/orthobook/orthobook
"""

import importlib
from types import ModuleType

from orthobook import (  # noqa: F401 (architectures are registered, and ob.exercises, ob.origami, ob.spectra work)
    convolution,
    depth_budget,
    exercises,
    groups,
    origami,
    partial_isometries,
    persistence,
    smooth,
    spectra,
)
from orthobook.blocks import Block, architectures, register
from orthobook.data import Dataset, Split, data_sets, load
from orthobook.framework import Certificate, NotOrthogonal, Undecided, compose, factorise, is_orthogonal
from orthobook.jacobian import (
    Coherence,
    gradient_autocorrelation,
    gradient_coherence,
    gradient_coherences,
    gradient_norms,
    jacobian,
    jacobians,
    numerical_ranks,
    singular_value_range,
    singular_values,
)
from orthobook.mean_field import MeanField, mean_field, threshold_for
from orthobook.networks import DeepNetwork, best_device, build
from orthobook.orthogonal import haar, orthogonality_error, retract
from orthobook.persistence import persistent_dimension, persistent_subspace
from orthobook.robustness import attack, certified_radius, lipschitz_bound, smallest_perturbation
from orthobook.training import Evaluation, Measurement, Training, TrainingConfig, TrainingDiverged, evaluate, train

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Certificate",
    "Coherence",
    "Dataset",
    "DeepNetwork",
    "Evaluation",
    "MeanField",
    "Measurement",
    "NotOrthogonal",
    "Split",
    "Training",
    "TrainingConfig",
    "TrainingDiverged",
    "Undecided",
    "architectures",
    "attack",
    "best_device",
    "build",
    "certified_radius",
    "compose",
    "data_sets",
    "evaluate",
    "factorise",
    "gradient_autocorrelation",
    "gradient_coherence",
    "gradient_coherences",
    "gradient_norms",
    "haar",
    "is_orthogonal",
    "jacobian",
    "jacobians",
    "lipschitz_bound",
    "load",
    "mean_field",
    "numerical_ranks",
    "orthogonality_error",
    "persistent_dimension",
    "persistent_subspace",
    "register",
    "retract",
    "singular_value_range",
    "singular_values",
    "smallest_perturbation",
    "threshold_for",
    "train",
]


def __getattr__(name: str) -> ModuleType:
    """Import the dashboards when they are first asked for, as only they need widgets."""
    if name == "dashboard":
        return importlib.import_module("orthobook.dashboard")
    raise AttributeError(f"module 'orthobook' has no attribute {name!r}")
