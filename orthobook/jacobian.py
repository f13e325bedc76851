"""The trunk's Jacobian, exactly, and what it says: singular values, and gradients layer by layer.

    J = J_L ⋯ J_2 J_1,    J_l = ∂x_l/∂x_{l−1}

Every block knows J_l in closed form, so J is carried forward through the layers next to the states: memory does not
grow with depth, and nothing is differentiated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from orthobook.networks import DeepNetwork
from orthobook.orthogonal import full_precision

__all__ = ["gradient_norms", "jacobian", "jacobians", "singular_values"]


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
    Tensor, shape (batch, n, n)
        ``J[i, j, k]`` is the derivative of coordinate j of x_l with respect to coordinate k of x₀ at input i. The next
        one is computed from it: do not change it in place.

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
    tangents = torch.eye(net.width, dtype=dtype, device=device).repeat(len(x), 1, 1)
    for layer in net.layers():
        if (device, dtype) != (net.device, net.dtype):
            layer = {name: parameter.to(device, dtype) for name, parameter in layer.items()}
        with full_precision(device):  # around each layer alone: the caller's own settings hold between them
            state, tangents = net.block.push(state, tangents, **layer)
        yield tangents.mT


def _finite_embedding(net: DeepNetwork, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch n"]:
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
    if labels.shape != x.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be {len(x)} numbers of torch.int64, got {tuple(labels.shape)} of {labels.dtype}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < net.classes:
        raise ValueError(f"labels must lie in 0 … {net.classes - 1}, got {labels.min()} … {labels.max()}")
    with torch.enable_grad():
        states = [_finite_embedding(net, x).detach().requires_grad_()]  # also where the parameters are frozen
        for layer in net.layers():
            states.append(net.block.forward(states[-1], **layer))
        logits = net.classifier(states[-1])
        loss = functional.cross_entropy(logits, labels.to(net.device), reduction="sum")
        gradients = torch.autograd.grad(loss, states)
    return torch.stack([gradient.norm(dim=-1) for gradient in gradients])
