"""Deep networks whose input–output Jacobian is exactly orthogonal.

>>> import orthobook as ob
>>> net = ob.build("shifted-fold", depth=200, width=64, inputs=784, classes=10, seed=0)

The book that goes with the package derives the mathematics: https://github.com/orthobook/orthobook
"""

from orthobook import (  # noqa: F401 (architectures are registered, and ob.origami and ob.spectra work)
    convolution,
    groups,
    origami,
    spectra,
)
from orthobook.blocks import Block, architectures, register
from orthobook.data import Dataset, Split, data_sets, load
from orthobook.framework import Certificate, NotOrthogonal, Undecided, compose, factorise, is_orthogonal
from orthobook.jacobian import gradient_norms, jacobian, jacobians, singular_value_range, singular_values
from orthobook.networks import DeepNetwork, best_device, build
from orthobook.orthogonal import haar, orthogonality_error, retract
from orthobook.training import Evaluation, Measurement, Training, TrainingConfig, TrainingDiverged, evaluate, train

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Certificate",
    "Dataset",
    "DeepNetwork",
    "Evaluation",
    "Measurement",
    "NotOrthogonal",
    "Split",
    "Training",
    "TrainingConfig",
    "TrainingDiverged",
    "Undecided",
    "architectures",
    "best_device",
    "build",
    "compose",
    "data_sets",
    "evaluate",
    "factorise",
    "gradient_norms",
    "haar",
    "is_orthogonal",
    "jacobian",
    "jacobians",
    "load",
    "orthogonality_error",
    "register",
    "retract",
    "singular_value_range",
    "singular_values",
    "train",
]
