"""The laws of feedforward and of residual networks, and of the architectures with a name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray

from orthobook._checks import finite_number, whole_number
from orthobook.layers import activations
from orthobook.layers.activations import Activation
from orthobook.layers.base import block
from orthobook.layers.feedforward import Feedforward, LooksLinear, ReLUHe, ReLUOrthogonal
from orthobook.layers.residual import Residual
from orthobook.theory.spectra.factors import FeedforwardLayer, ResidualLayer
from orthobook.theory.spectra.law import SpectralLaw
from orthobook.theory.spectra.products import counted_law, product_law
from orthobook.theory.spectra.slopes import Reals, mean_squares, output_square, slope_law

__all__ = ["feedforward_law", "residual_law", "spectral_law"]

_KINDS = 10  # of different smooth laws that are told apart in one network


def feedforward_law(
    activation: Activation,
    depth: int,
    *,
    weight_scale: float = 1.0,
    gaussian: bool = False,
    bias_variance: float = 0.0,
    bias: float = 0.0,
    mean_square: float = 1.0,
) -> SpectralLaw:
    """Return the law of the singular values of a wide feedforward network's Jacobian ∏ D_l W_l at random weights.

    Parameters
    ----------
    activation : Activation
        σ, the same in all layers; its slopes have the law that the mean squares q_l of the preactivations give them.
    depth : int
        L, at least 1.
    weight_scale : float
        σ_w > 0: weights are σ_w times orthogonal or, where ``gaussian``, have entries of variance σ_w²/n.
    gaussian : bool
        Whether weights are Gaussian instead of Haar.
    bias_variance, bias : float
        Variance σ_b² of Gaussian biases, and a constant b that is added to every preactivation.
    mean_square : float
        Mean square q of the coordinates of the trunk's first state.

    Raises
    ------
    ValueError
        If an argument is out of range, or E σ², E σ'² or E σ'⁴ under a q_l's normal law is infinite or carried by
        values too rare to be resolved.
    TypeError
        If σ is not an Activation.
    RuntimeError
        As for :func:`product_law` and :func:`slope_law`.
    """
    given = {"weight_scale": weight_scale, "bias_variance": bias_variance, "bias": bias, "mean_square": mean_square}
    squares = mean_squares(activation, depth, **given)
    different, counts = np.unique(squares, return_counts=True)
    if different.size > _KINDS and slope_law(activation, different[0], bias=bias).quantiles is not None:  # no atoms
        logarithms, many = _gauss_rule(np.log(different), counts)
        laws = [slope_law(activation, q, bias=bias) for q in np.exp(logarithms)]
        return counted_law(
            ((FeedforwardLayer(law, weight_scale, gaussian), n) for law, n in zip(laws, many, strict=True)), {}
        )
    layers = [FeedforwardLayer(slope_law(activation, q, bias=bias), weight_scale, gaussian) for q in different]
    return product_law(layer for layer, count in zip(layers, counts, strict=True) for _ in range(count))


def _gauss_rule(values: Reals, weights: NDArray[Any]) -> tuple[Reals, Reals]:
    """Return _KINDS values and weights that have the same sums of all polynomials of degree below 2·_KINDS.

    They are the eigenvalues of multiplication by the values, on polynomials of degree below _KINDS (Golub and Welsch).
    """
    centre, half = (values[0] + values[-1]) / 2, (values[-1] - values[0]) / 2
    roots, scaled = np.sqrt(weights), (values - centre) / half
    basis, _ = np.linalg.qr(roots[:, None] * legendre.legvander(scaled, _KINDS - 1))
    nodes, vectors = np.linalg.eigh(basis.T @ (scaled[:, None] * basis))
    return centre + half * nodes, (roots @ basis @ vectors) ** 2


def residual_law(
    depth: int,
    *,
    activation: Activation = activations.relu,
    branch_scale: float | None = None,
    inner_scale: float = math.sqrt(2),
    outer_scale: float = 1.0,
    mean_square: float = 1.0,
) -> SpectralLaw:
    """Return the law of the singular values of a wide residual network's Jacobian ∏ (I + s W₂D_lW₁).

    Parameters
    ----------
    depth : int
        L, at least 1.
    activation : Activation
        σ in the branch W₂σ(W₁x).
    branch_scale : float, optional
        s, by default 1/√L.
    inner_scale, outer_scale : float
        σ₁ and σ₂ > 0: entries of W₁ and W₂ have the variances σ₁²/n and σ₂²/n.
    mean_square : float
        Mean square q of the coordinates of the trunk's first state; it grows by s²σ₂² E σ(σ₁√q·z)² in each layer.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As for :func:`feedforward_law`.
    """
    depth = whole_number("depth", depth, least=1)
    scale = 1 / math.sqrt(depth) if branch_scale is None else finite_number("branch_scale", branch_scale)
    inner, outer = (
        finite_number("inner_scale", inner_scale, positive=True) ** 2,
        finite_number("outer_scale", outer_scale, positive=True) ** 2,
    )
    square, layers = finite_number("mean_square", mean_square, least=0), []
    for _ in range(depth):
        layers.append(ResidualLayer(slope_law(activation, inner * square), scale**2 * inner * outer))
        square += scale**2 * outer * output_square(activation, inner * square)
    return product_law(layers)


def spectral_law(architecture: str, depth: int, *, mean_square: float = 1.0, **options: Any) -> SpectralLaw:
    """Return the law of the singular values of an untrained network of a registered architecture, for large widths.

    Parameters
    ----------
    architecture : str
        ``relu-orthogonal``, ``relu-he``, ``residual``, any other feedforward architecture with an activation and
        orthogonal weights, such as ``tanh-orthogonal`` or ``hard-tanh``, ``looks-linear``, or one with an orthogonal
        Jacobian: the point mass at 1.
    depth : int
        L, at least 1.
    mean_square : float
        Mean square of the coordinates of the trunk's first state, positive; the embedding makes it about 1 for inputs
        of mean square 1.
    **options
        The architecture's options.

    Raises
    ------
    ValueError
        If the architecture or an option is unknown, the architecture is none of these, or an argument is out of range.
    """
    depth, kind = whole_number("depth", depth, least=1), block(architecture, **options)
    finite_number("mean_square", mean_square, positive=True)
    if kind.isometric:
        return SpectralLaw(((1.0, 1.0),))
    if isinstance(kind, LooksLinear):  # half of the coordinates mirror the others
        return SpectralLaw(((0.0, 0.5), (math.sqrt(2), 0.5)))
    if type(kind) is Residual:
        return residual_law(depth, branch_scale=kind.branch_scale, mean_square=mean_square)
    if isinstance(kind, ReLUOrthogonal | ReLUHe):
        gaussian = isinstance(kind, ReLUHe)
        scale = {"weight_scale": math.sqrt(2), "mean_square": mean_square}
        return feedforward_law(activations.relu, depth, gaussian=gaussian, **scale)
    if isinstance(kind, Feedforward) and kind.orthogonal == ("weight",):
        biases = kind.biases(1, 2, torch.float64)
        return feedforward_law(kind.activation, depth, bias=float(biases[0, 0]), mean_square=mean_square)
    raise ValueError(
        f"the law of {architecture!r} is not known here; allowed: relu-orthogonal, relu-he, residual, looks-linear, "
        "feedforward architectures with orthogonal weights, and those with an orthogonal Jacobian"
    )
