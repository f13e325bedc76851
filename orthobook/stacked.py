"""All layers of a stack as one operation of autograd: a training step with half the small operations.

    feedforward        z_l = W_l x_l + b_l,  x_{l+1} = σ(z_l)          g_l = (σ'(z_l) ⊙ g_{l+1}) W_l = h_l W_l
                       ∂W_l = h_lᵀ x_l,  ∂b_l = Σ h_l
    modified residual  z_l = V_lᵀx_l + b_l,  x_{l+1} = x_l − 2V_l σ(z_l)
                       h_l = −2 σ'(z_l) ⊙ g_{l+1}V_l,  g_l = g_{l+1} + h_l V_lᵀ
                       ∂V_l = x_lᵀ h_l − 2 g_{l+1}ᵀ σ(z_l),  ∂b_l = Σ h_l

States are rows, and g_l is the loss's gradient at x_l. Only the recursions go layer after layer. What is entrywise, and
the gradients of the parameters, are computed for all layers at once, and nothing is recorded operation by operation.
The numbers are those of autograd to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from orthobook.activations import Activation

__all__ = ["FeedforwardStack", "ReflectionStack"]

States = Float[Tensor, "batch n"]
Stack = Float[Tensor, "depth n m"]
Biases = Float[Tensor, "depth m"]


class FeedforwardStack(Function):
    """``apply(activation, x, weight, bias)`` is x_L for layers x ↦ σ(Wx + b)."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: States, weight: Stack, bias: Biases) -> States:
        """Keep every state and every z for the way back."""
        before, states = _room(x, weight)
        for z, state, after, transposed, b in zip(before, states, states[1:], weight.mT, bias, strict=False):
            after.copy_(activation(torch.addmm(b, state, transposed, out=z)))
        ctx.activation = activation
        ctx.save_for_backward(before, states, weight)
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: States) -> tuple[None, States, Stack, Biases]:
        """Go back through the layers, then multiply for all parameters at once."""
        before, states, weight = ctx.saved_tensors
        h = ctx.activation.derivative(before)
        for slopes, W in zip(reversed(h.unbind()), reversed(weight.unbind()), strict=True):
            g = slopes.mul_(g) @ W
        return None, g, h.mT @ states[:-1], h.sum(1)


class ReflectionStack(Function):
    """``apply(activation, x, frame, bias)`` is x_L for layers x ↦ x − 2V σ(Vᵀx + b)."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: States, frame: Stack, bias: Biases) -> States:
        """Keep every state and every z for the way back."""
        before, states = _room(x, frame)
        for z, state, after, V, b in zip(before, states, states[1:], frame, bias, strict=False):
            torch.addmm(state, activation(torch.addmm(b, state, V, out=z)), V.mT, alpha=-2, out=after)
        ctx.activation = activation
        ctx.save_for_backward(before, states, frame)
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: States) -> tuple[None, States, Stack, Biases]:
        """Go back through the layers, then multiply for all parameters at once."""
        before, states, frame = ctx.saved_tensors
        h, gradients = ctx.activation.derivative(before).mul_(-2), torch.empty_like(states[1:])
        layers = zip(reversed(h.unbind()), reversed(gradients.unbind()), reversed(frame.unbind()), strict=True)
        for slopes, at_end, V in layers:
            at_end.copy_(g)
            g = torch.addmm(g, slopes.mul_(g @ V), V.mT)
        through = torch.baddbmm(states[:-1].mT @ h, gradients.mT, ctx.activation(before), alpha=-2)
        return None, g, through, h.sum(1)


def _room(x: States, stack: Stack) -> tuple[Float[Tensor, "depth batch m"], Float[Tensor, "depth+1 batch n"]]:
    """Return room for every z, and for every state with the first filled in."""
    depth, _, units = stack.shape
    states = x.new_empty(depth + 1, *x.shape)
    states[0] = x
    return x.new_empty(depth, len(x), units), states
