"""The trunk's Jacobian, exactly, and what it says: singular values, and gradients layer by layer.

    J = J_L ⋯ J_2 J_1,    J_l = ∂x_l/∂x_{l−1}

Every block knows J_l in closed form, so J is carried forward through the layers next to the states: memory does not
grow with depth, and nothing is differentiated. Where J is too large to be formed, as for images, its largest and
smallest singular values come from the products v ↦ Jv (the blocks' closed form) and u ↦ Jᵀu (differentiation) alone,
by Lanczos's method.

How far the Jacobians at two inputs agree is their gradient coherence, the cosine

    γ(x, x') = tr JᵀJ' / √(tr JᵀJ · tr J'ᵀJ'),    which is tr JᵀJ'/n where both are orthogonal.

The traces are n times the mean of ⟨Jv, J'v⟩ over random directions v, so they need no whole Jacobian either.

Any other module or function has a Jacobian and singular values, too, by automatic differentiation: of the whole map,
input by input.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from orthobook._checks import class_labels, described, finite_number, seeded, whole_number
from orthobook.framework import jacobian_by_autograd
from orthobook.layers.base import Points, Tangents
from orthobook.networks import DeepNetwork, Trunk, differentiable
from orthobook.orthogonal import full_precision, haar

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = [
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
]

Network = DeepNetwork | Trunk
Map = Network | Callable[[Tensor], Tensor]
Inputs = Float[Tensor, "batch *inputs"]  # rows, or images in their own shape; the first states of a trunk

EXACT_UP_TO = 512
"""The largest width at which a coherence is computed from all directions unless a number of them is asked for."""
FEW_PROBES = 64
"""The number of random directions otherwise."""


@torch.no_grad()
def jacobians(net: Network, x: Inputs, *, dtype: torch.dtype | None = None) -> Iterator[Float[Tensor, "batch n n"]]:
    """Yield the Jacobian ∂x_l/∂x₀ of the first l layers, for l = 1 … L.

    Parameters
    ----------
    net : DeepNetwork or Trunk
        The network; x₀ = ``net.embed(x)`` is the trunk's first state, so embedding and classifier are not part of J.
    x : Tensor, shape (batch, inputs)
        Inputs, finite; for a trunk its first states x₀ themselves, (batch, n) or (batch, height, width, channels).
    dtype : torch.dtype, optional
        Precision to compute in, the network's by default. With ``torch.float64`` the parameters are cast, layer by
        layer, and what is measured is the network with exactly these parameters.

    Yields
    ------
    Tensor, shape (batch, n_l, n)
        n_l is the number of coordinates of x_l, which is the width n unless layers are rectangular. ``J[i, j, k]`` is
        the derivative of coordinate j of x_l with respect to coordinate k of x₀ at input i. The next one is computed
        from it: do not change it in place.

    Raises
    ------
    ValueError
        If the inputs have another shape or dtype than the network's, or are not finite, or the precision to compute in
        is neither float32 nor float64.

    Notes
    -----
    Where x_l is nan the function has no derivative: there J is nan. Products may overflow, to infinity or nan.
    """
    state = _first_state(net, x)
    for tangents in _pushed(net, state, torch.eye(state.shape[1:].numel(), dtype=torch.float64, device="cpu"), dtype):
        yield tangents.flatten(2).mT


def _pushed(net: Network, state: Points, frame: Float[Tensor, "n k"], dtype: torch.dtype | None) -> Iterator[Tangents]:
    """Yield J v for every column v of the frame and the Jacobian J of the first l layers, l = 1 … L."""
    dtype = net.dtype if dtype is None else dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"Jacobians are computed in torch.float32 or torch.float64, got {dtype}: give dtype=…")
    # Apple's MPS has no float64: there the CPU takes over.
    device = torch.device("cpu") if net.device.type == "mps" and dtype == torch.float64 else net.device
    state = state.to(device, dtype)
    directions = frame.mT.to(device, dtype).reshape(1, frame.shape[1], *state.shape[1:])
    tangents = directions.repeat(len(state), *[1] * (directions.ndim - 1))
    layers = net.layers(dtype=dtype, device=device)
    for _ in range(net.depth):
        with full_precision(device):  # around each layer alone: the caller's own settings hold between them
            state, tangents = net.block.push(state, tangents, **next(layers))
        if (broken := state.flatten(1).isnan().any(1)).any():
            tangents = tangents.clone()
            tangents[broken] = torch.nan
        yield tangents


def _first_state(net: Network, x: Inputs) -> Points:
    """Return x₀ in the network's full precision; ValueError if this is none, or inputs do not fit or are not finite."""
    if not isinstance(net, DeepNetwork | Trunk):
        raise ValueError(
            f"net must be a DeepNetwork or a Trunk, got {type(net).__name__}: give the trunk inside a model of your "
            "own. Of any other module there are ob.jacobian and ob.singular_values"
        )
    with torch.no_grad(), full_precision(net.device):
        state = net.embed(x)  # checks shape and dtype
    _check_finite(x)
    return state


def _check_finite(x: Inputs) -> None:
    if not x.isfinite().all():
        raise ValueError("inputs must be finite, but hold nan or inf")


def jacobian(net: Map, x: Inputs, *, dtype: torch.dtype | None = None) -> Float[Tensor, "batch n n"]:
    """Return the trunk's Jacobian J = ∂x_L/∂x₀ at every input, exactly; that of any other map, by differentiation.

    Arguments and errors are those of :func:`jacobians`.

    Returns
    -------
    Tensor, shape (batch, n_L, n)
        ``J[i, j, k]`` is the derivative of coordinate j of x_L with respect to coordinate k of x₀ at input i.

    Notes
    -----
    A map that is neither a DeepNetwork nor a Trunk is differentiated from its input to its output, by autograd in the
    inputs' precision, one input at a time as a batch of one and in the mode that the module is in: the time grows with
    the number of outputs, the memory with that of the entries of J. The result is on the CPU, in float64 unless
    ``dtype`` says otherwise. ValueError if a map returns no tensor that depends differentiably on its input.
    """
    if not isinstance(net, DeepNetwork | Trunk):
        return _of_any_map(net, x, dtype)
    (last,) = deque(jacobians(net, x, dtype=dtype), maxlen=1)
    return last


def _of_any_map(net: Callable[[Tensor], Tensor], x: Inputs, dtype: torch.dtype | None) -> Float[Tensor, "batch n n"]:
    if not callable(net):
        raise ValueError(f"net must be a DeepNetwork, a Trunk or another map of tensors, got {type(net).__name__}")
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64) or not x.numel():
        what = f"{described(x)} of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"inputs must be a batch in torch.float32 or torch.float64, got {what}")
    _check_finite(x)
    return torch.stack([jacobian_by_autograd(net, one) for one in x.split(1)]).to(dtype or torch.float64)


def singular_values(net: Map, x: Inputs, *, dtype: torch.dtype | None = None) -> Float[Tensor, "batch n"]:
    """Return the singular values of the Jacobian at every input, descending: of the trunk, or of any other map.

    Arguments and errors as in :func:`jacobian`; ValueError, too, if a Jacobian is not finite. The decomposition runs in
    the Jacobian's precision.

    Examples
    --------
    >>> singular_values(torch.nn.Hardtanh(), torch.tensor([[0.5, 2.0]]))
    tensor([[1., 0.]], dtype=torch.float64)
    """
    return _spectrum(jacobian(net, x, dtype=dtype))


def _spectrum(J: Float[Tensor, "batch n n"]) -> Float[Tensor, "batch n"]:
    broken = ~J.flatten(1).isfinite().all(1)
    if broken.any():
        raise ValueError(
            f"the Jacobian at input {int(broken.nonzero()[0])} is not finite in {J.dtype}: the network's values "
            "overflow, or its parameters are not finite"
        )
    return torch.linalg.svdvals(J)


def numerical_ranks(
    net: Network,
    x: Inputs,
    *,
    tolerance: float = 0.01,
    dtype: torch.dtype | None = None,
) -> Int[Tensor, "depth batch"]:
    """Return how many singular values of ∂x_l/∂x₀ exceed a tolerance, for l = 1 … L and every input.

    Arguments and errors as in :func:`jacobians`. The tolerance is absolute: the dimension of the largest space in which
    every direction keeps more than that fraction of its length. ValueError if it is not positive, as roundings are not
    told from zero.
    """
    finite_number("tolerance", tolerance, positive=True)
    ranks = [(_spectrum(J) > tolerance).sum(-1) for J in jacobians(net, x, dtype=dtype)]
    return torch.stack(ranks)


class Coherence(NamedTuple):
    """Gradient coherences of pairs of inputs, and their standard errors; 0 where all directions were used."""

    value: Float[Tensor, " batch"]
    standard_error: Float[Tensor, " batch"]


@torch.no_grad()
def gradient_coherences(
    net: Network,
    x: Inputs,
    x2: Inputs,
    *,
    probes: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Iterator[Coherence]:
    """Yield the gradient coherence of the first l layers for pairs of inputs, for l = 1 … L.

    Parameters
    ----------
    net : DeepNetwork or Trunk
        The network.
    x, x2 : Tensor, shape (batch, inputs)
        The inputs of each pair, finite.
    probes : int, optional
        Number k of random directions from 2 to the width n, the columns of a Haar frame. All n, the default up to
        n = 512, give the exact value. Beyond that the default is 64.
    seed : int
        Fixes the directions.
    dtype : torch.dtype, optional
        Precision to compute in, the network's by default.

    Yields
    ------
    Coherence
        ``value`` and ``standard_error``, both of shape (batch,). The error is the jackknife's over the directions,
        times √(1 − k/n), as they are drawn without replacement. A Jacobian that is 0 has no direction: the value is
        nan.

    Raises
    ------
    ValueError
        If the inputs are none, not of one shape and dtype that the network takes or not finite, or the number of probes
        is not allowed.
    """
    states = _first_states(net, x, x2)
    n, directions = _directions(states, probes, seed)
    for tangents in _pushed(net, states, directions, dtype):
        first, second = tangents.flatten(2).split(len(x))
        yield _cosine(first, second, math.sqrt(1 - directions.shape[1] / n))


def gradient_coherence(
    net: Network,
    x: Inputs,
    x2: Inputs,
    *,
    probes: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Coherence:
    """Return the gradient coherence of the whole trunk for pairs of inputs; all as in :func:`gradient_coherences`."""
    layers = gradient_coherences(net, x, x2, probes=probes, seed=seed, dtype=dtype)
    (last,) = deque(layers, maxlen=1)
    return last


def _first_states(net: Network, *groups: Inputs) -> Points:
    """Return the first states of groups of inputs in one batch; ValueError if they do not fit, differ or are none."""
    states = [_first_state(net, x) for x in groups]
    shapes = [tuple(x.shape) for x in groups]
    if len(set(shapes)) > 1:
        raise ValueError(f"x and x2 must have the same shape, got {shapes[0]} and {shapes[1]}")
    if not len(groups[0]):
        raise ValueError(f"inputs must be at least one, got the shape {shapes[0]}")
    return torch.cat(states)


def _directions(states: Points, probes: int | None, seed: int) -> tuple[int, Float[Tensor, "n k"]]:
    """Return n and k orthonormal directions: the unit vectors if it is all of them, as any basis has the same trace."""
    n = states.shape[1:].numel()
    if probes is None:
        probes = n if n <= EXACT_UP_TO else FEW_PROBES
    if whole_number("probes", probes, least=min(n, 2)) > n:
        raise ValueError(f"probes must be at most the number of coordinates {n}, got {probes}")
    if probes == n:
        return n, torch.eye(n, dtype=torch.float64, device="cpu")
    return n, haar(n, probes, generator=seeded(seed), dtype=torch.float64)


def _cosine(first: Float[Tensor, "batch k n"], second: Float[Tensor, "batch k n"], correction: float) -> Coherence:
    """Return Σ ⟨a, b⟩ / √(Σ |a|² Σ |b|²) over the k probes, and the jackknife's error times a correction."""
    sums = torch.stack([(a * b).sum(-1) for a, b in ((first, second), (first, first), (second, second))])
    inner, square, square2 = sums.sum(-1)
    value = inner / (square * square2).sqrt()
    if correction == 0:
        return Coherence(value, torch.zeros_like(value))
    inner, square, square2 = sums.sum(-1, keepdim=True) - sums  # without one of the probes
    without = inner / (square * square2).sqrt()
    k = without.shape[-1]
    return Coherence(value, correction * (k - 1) / math.sqrt(k) * without.std(-1))


@torch.no_grad()
def gradient_autocorrelation(
    net: Network,
    x: Float[Tensor, points * inputs],
    *,
    probes: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, " points"]:
    """Return how far input gradients agree at a distance along a curve: the mean of γ(x_t, x_{t+h}) over t, for each h.

    For a read-out u·x_L with a random direction u the input gradient at x_t is g_t = J(x_t)ᵀu, and E g_t·g_s over u is
    tr J(x_t)ᵀJ(x_s) times a constant. So this is the autocorrelation that Balduzzi et al. (2017) draw, averaged over
    read-outs.

    Parameters
    ----------
    net : DeepNetwork or Trunk
        The network.
    x : Tensor, shape (points, inputs)
        Inputs along a curve, evenly spaced, finite.
    probes, seed, dtype
        As in :func:`gradient_coherences`.

    Returns
    -------
    Tensor, shape (points,)
        The autocorrelation at the lags 0 … points − 1; it is 1 at 0.

    Raises
    ------
    ValueError
        As for :func:`gradient_coherences`.
    """
    states = _first_states(net, x)
    (tangents,) = deque(_pushed(net, states, _directions(states, probes, seed)[1], dtype), maxlen=1)
    unit = functional.normalize(tangents.flatten(1), dim=1)
    gamma = unit @ unit.mT
    return torch.stack([gamma.diagonal(lag).mean() for lag in range(len(x))])


@torch.inference_mode(False)
def singular_value_range(net: Network, x: Inputs, *, tolerance: float = 1e-10) -> Float[Tensor, "batch 2"]:
    """Return the smallest and the largest singular value of the trunk's Jacobian at every input, without forming it.

    Lanczos's method on JᵀJ (ARPACK, through SciPy), in float64. It takes some tens to hundreds of products with J and
    with Jᵀ for each input, and memory for one vector and the trunk's states: use it where ``singular_values`` would
    need an n × n matrix that is too large.

    Parameters
    ----------
    net : DeepNetwork or Trunk
        The network, of width n ≥ 3.
    x : Tensor, shape (batch, inputs)
        Inputs, finite.
    tolerance : float
        Relative accuracy asked of the eigenvalues σ² of JᵀJ, in units of the largest. A smallest singular value below
        about the square root of it, times the largest, is not resolved.

    Returns
    -------
    Tensor, shape (batch, 2)
        (σ_n, σ_1) at every input, float64, on the CPU. For a rectangular trunk σ_n is the n-th, n being its width.

    Raises
    ------
    ValueError
        As for :func:`jacobians`, and if the width is below 3, the tolerance is not positive, or a Jacobian is not
        finite.
    scipy.sparse.linalg.ArpackNoConvergence
        If the method does not converge; ``singular_values`` always does, or a larger tolerance may help.
    """
    from scipy.sparse.linalg import eigsh  # imported for who needs it: it takes as long as all else

    finite_number("tolerance", tolerance, positive=True)
    first = _first_state(net, x).to("cpu", torch.float64)
    net = differentiable(net)
    n = first.shape[1:].numel()
    if n < 3:
        raise ValueError(f"Lanczos's method needs a width of at least 3, got {n}; use singular_values")
    start = np.random.default_rng(0).standard_normal(n)  # ARPACK's own choice would differ from run to run
    ranges = []
    for index, operator in enumerate(_gram_operators(net, first)):
        image = operator.matvec(start)
        if not np.isfinite(image).all():
            raise ValueError(f"the Jacobian at input {index} is not finite: the network's values overflow")
        if not image.any():  # J = 0, which ARPACK refuses
            ranges.append(np.zeros(2))
            continue
        ends = eigsh(operator, k=2, which="BE", v0=start, tol=tolerance, return_eigenvectors=False)
        ranges.append(np.sqrt(np.maximum(np.sort(ends), 0)))
    return torch.from_numpy(np.array(ranges).reshape(-1, 2))


def _gram_operators(net: Network, first: Points) -> Iterator[LinearOperator]:
    """Yield v ↦ JᵀJv at every first state, in float64 on the CPU."""
    from scipy.sparse.linalg import LinearOperator

    with torch.no_grad():
        layers = list(net.layers(dtype=torch.float64, device=torch.device("cpu")))
    for point in first.unsqueeze(1):

        def gram(v: np.ndarray, point: Tensor = point) -> np.ndarray:
            state = point.clone().requires_grad_()
            tangent = torch.from_numpy(v.reshape(1, 1, *point.shape[1:])).double()
            with torch.enable_grad():
                y = state
                for layer in layers:
                    with torch.no_grad():
                        _, tangent = net.block.push(y, tangent, **layer)
                    y = net.block.forward(y, **layer)
                (image,) = torch.autograd.grad(y, state, tangent.squeeze(1))
            return image.flatten().numpy() * (math.nan if y.isnan().any() else 1)

        yield LinearOperator((point.numel(), point.numel()), matvec=gram, dtype=np.float64)


@torch.inference_mode(False)
def gradient_norms(
    net: Network, x: Inputs, labels: Int[Tensor, " batch"] | Float[Tensor, batch * state]
) -> Float[Tensor, "depth_plus_1 batch"]:
    """Return ‖∂ℓ/∂x_l‖ for l = 0 … L and every example, ℓ being the example's own loss.

    Parameters
    ----------
    net : DeepNetwork or Trunk
        The network.
    x : Tensor, shape (batch, inputs)
        Inputs, as in :func:`jacobians`.
    labels : Tensor, shape (batch,)
        The examples' classes; ℓ is the cross-entropy. For a trunk the gradients ∂ℓ/∂x_L of a loss of one's own, in the
        shape of its last states.

    Raises
    ------
    ValueError
        If the inputs have another shape or dtype than the network's or are not finite, the labels are not (batch,)
        whole numbers from 0 to classes − 1, or the gradients have another shape than the last states.
    """
    if isinstance(net, DeepNetwork):
        labels = class_labels(labels, examples=len(x), classes=net.classes).to(net.device)
    with torch.enable_grad(), full_precision(net.device):
        states = [_first_state(net, x).requires_grad_()]  # also where the parameters are frozen
        net = differentiable(net)
        for layer in net.layers():
            states.append(net.block.forward(states[-1], **layer))
        if isinstance(net, DeepNetwork):
            logits = net.classifier(states[-1].flatten(1))
            loss = functional.cross_entropy(logits, labels, reduction="sum")
        else:
            if not isinstance(labels, Tensor) or labels.shape != states[-1].shape:
                shape = tuple(states[-1].shape)
                raise ValueError(f"for a trunk give ∂ℓ/∂x_L, of the shape {shape}, got {described(labels)}")
            loss = (states[-1] * labels.to(states[-1])).sum()
        gradients = torch.autograd.grad(loss, states)
    return torch.stack([gradient.flatten(1).norm(dim=-1) for gradient in gradients])
