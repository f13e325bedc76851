"""The trunk's Jacobian, exactly, and what it says: singular values, and gradients layer by layer.

    J = J_L ⋯ J_2 J_1,    J_l = ∂x_l/∂x_{l−1}

Every block knows J_l in closed form, so J is carried forward through the layers next to the states: memory does not
grow with depth, and nothing is differentiated. Where J is too large to be formed, as for images, its largest and
smallest singular values come from the products v ↦ Jv (the blocks' closed form) and u ↦ Jᵀu (differentiation) alone,
by Lanczos's method.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn import functional

from orthobook._checks import class_labels, finite_number
from orthobook.blocks import Points
from orthobook.networks import DeepNetwork
from orthobook.orthogonal import full_precision

__all__ = ["gradient_norms", "jacobian", "jacobians", "numerical_ranks", "singular_value_range", "singular_values"]


@torch.no_grad()
def jacobians(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], *, dtype: torch.dtype | None = None
) -> Iterator[Float[Tensor, "batch n n"]]:
    """Yield the Jacobian ∂x_l/∂x₀ of the first l layers, for l = 1 … L.

    Parameters
    ----------
    net : DeepNetwork
        The network; x₀ = ``net.embed(x)`` is the trunk's first state, so embedding and classifier are not part of J.
    x : Tensor, shape (batch, inputs)
        Inputs, finite.
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
        If the inputs have another shape or dtype than the network's, or are not finite.
    """
    dtype = net.dtype if dtype is None else dtype
    # Apple's MPS has no float64: there the CPU takes over.
    device = torch.device("cpu") if net.device.type == "mps" and dtype == torch.float64 else net.device
    with full_precision(net.device):
        state = _finite_embedding(net, x).to(device, dtype)
    directions = torch.eye(net.width, dtype=dtype, device=device).reshape(1, net.width, *state.shape[1:])
    tangents = directions.repeat(len(x), *[1] * (directions.ndim - 1))
    layers = net.layers(dtype=dtype, device=device)
    for _ in range(net.depth):
        with full_precision(device):  # around each layer alone: the caller's own settings hold between them
            state, tangents = net.block.push(state, tangents, **next(layers))
        yield tangents.flatten(2).mT


def _finite_embedding(net: DeepNetwork, x: Float[Tensor, "batch inputs"]) -> Points:
    state = net.embed(x)  # checks shape and dtype
    if not x.isfinite().all():
        raise ValueError("inputs must be finite, but hold nan or inf")
    return state


def jacobian(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], *, dtype: torch.dtype | None = None
) -> Float[Tensor, "batch n n"]:
    """Return the trunk's Jacobian ∂x_L/∂x₀ at every input; arguments and errors as in :func:`jacobians`."""
    (last,) = deque(jacobians(net, x, dtype=dtype), maxlen=1)
    return last


def singular_values(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], *, dtype: torch.dtype | None = None
) -> Float[Tensor, "batch n"]:
    """Return the singular values of the trunk's Jacobian at every input, descending.

    Arguments and errors as in :func:`jacobians`. The decomposition runs in the Jacobian's precision.
    """
    return torch.linalg.svdvals(jacobian(net, x, dtype=dtype))


def numerical_ranks(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
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
    ranks = [(torch.linalg.svdvals(J) > tolerance).sum(-1) for J in jacobians(net, x, dtype=dtype)]
    return torch.stack(ranks)


def singular_value_range(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], *, tolerance: float = 1e-10
) -> Float[Tensor, "batch 2"]:
    """Return the smallest and the largest singular value of the trunk's Jacobian at every input, without forming it.

    Lanczos's method on JᵀJ (ARPACK, through SciPy), in float64. It takes some tens to hundreds of products with J and
    with Jᵀ for each input, and memory for one vector and the trunk's states: use it where ``singular_values`` would
    need an n × n matrix that is too large.

    Parameters
    ----------
    net : DeepNetwork
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
        As for :func:`jacobians`, and if the width is below 3 or the tolerance is not positive.
    scipy.sparse.linalg.ArpackNoConvergence
        If the method does not converge; ``singular_values`` always does, or a larger tolerance may help.
    """
    if net.width < 3:
        raise ValueError(f"Lanczos's method needs a width of at least 3, got {net.width}; use singular_values")
    finite_number("tolerance", tolerance, positive=True)
    start = np.random.default_rng(0).standard_normal(net.width)  # ARPACK's own choice would differ from run to run
    ranges = []
    for operator in _gram_operators(net, x):
        if not operator.matvec(start).any():  # J = 0, which ARPACK refuses
            ranges.append(np.zeros(2))
            continue
        ends = eigsh(operator, k=2, which="BE", v0=start, tol=tolerance, return_eigenvectors=False)
        ranges.append(np.sqrt(np.maximum(np.sort(ends), 0)))
    return torch.from_numpy(np.array(ranges).reshape(-1, 2))


def _gram_operators(net: DeepNetwork, x: Float[Tensor, "batch inputs"]) -> Iterator[LinearOperator]:
    """Yield v ↦ JᵀJv at every input, in float64 on the CPU."""
    cpu = torch.device("cpu")
    with torch.no_grad(), full_precision(net.device):
        first = _finite_embedding(net, x).to(cpu, torch.float64)
    with torch.no_grad():
        layers = list(net.layers(dtype=torch.float64, device=cpu))
    for point in first.split(1):

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
            return image.flatten().numpy()

        yield LinearOperator((net.width, net.width), matvec=gram, dtype=np.float64)


def gradient_norms(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, "depth_plus_1 batch"]:
    """Return ‖∂ℓ/∂x_l‖ for l = 0 … L and every example, ℓ being the example's own cross-entropy loss.

    Raises
    ------
    ValueError
        If the inputs have another shape or dtype than the network's or are not finite, or the labels are not (batch,)
        whole numbers from 0 to classes − 1.
    """
    labels = class_labels(labels, examples=len(x), classes=net.classes)
    with torch.enable_grad():
        states = [_finite_embedding(net, x).detach().requires_grad_()]  # also where the parameters are frozen
        for layer in net.layers():
            states.append(net.block.forward(states[-1], **layer))
        logits = net.classifier(states[-1].flatten(1))
        loss = functional.cross_entropy(logits, labels.to(net.device), reduction="sum")
        gradients = torch.autograd.grad(loss, states)
    return torch.stack([gradient.flatten(1).norm(dim=-1) for gradient in gradients])
