"""All layers of a stack as one operation of autograd: a training step with half the small operations.

    feedforward        z_l = W_l x_l + b_l,  x_{l+1} = σ(z_l)          g_l = (σ'(z_l) ⊙ g_{l+1}) W_l = h_l W_l
                       ∂W_l = h_lᵀ x_l,  ∂b_l = Σ h_l
    modified residual  z_l = V_lᵀx_l + b_l,  x_{l+1} = x_l − 2V_l σ(z_l)
                       h_l = −2 σ'(z_l) ⊙ g_{l+1}V_l,  g_l = g_{l+1} + h_l V_lᵀ
                       ∂V_l = x_lᵀ h_l − 2 g_{l+1}ᵀ σ(z_l),  ∂b_l = Σ h_l

States are rows, and g_l is the loss's gradient at x_l. Only the recursions go layer after layer. What is entrywise, and
the gradients of the parameters, are computed for all layers at once, and nothing is recorded operation by operation.
Of a feedforward stack only the z are kept. The numbers are those of autograd to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from orthobook.layers.activations import Activation

__all__ = ["FeedforwardStack", "ReflectionStack", "parts"]

CACHE = 2**21  # bytes of a part

States = Float[Tensor, "batch n"]
Stack = Float[Tensor, "depth n m"]
Biases = Float[Tensor, "depth m"]


class FeedforwardStack(Function):
    """``apply(activation, x, weight, bias)`` is x_L for layers x ↦ σ(Wx + b)."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: States, weight: Stack, bias: Biases) -> States:
        """Keep x₀ and every z for the way back."""
        before = _filled(bias, len(x))
        ctx.activation = activation
        ctx.save_for_backward(x, before, weight)
        for z, transposed in zip(before, weight.mT, strict=True):
            x = activation(z.addmm_(x, transposed))
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: States) -> tuple[None, States, Stack, Biases]:
        """Go back through a few layers, multiply for all their parameters at once, and so on."""
        x, before, weight = ctx.saved_tensors
        to_weight, to_bias = torch.empty_like(weight), weight.new_empty(weight.shape[:2])
        for part in reversed(parts(before)):
            h = ctx.activation.derivative(before[part])
            for slopes, W in zip(reversed(h.unbind()), reversed(weight[part].unbind()), strict=True):
                g = slopes.mul_(g) @ W
            if part.start == 0:  # the first layer's input is the only one that no layer has computed
                torch.mm(h[0].mT, x, out=to_weight[0])
            inner = slice(max(part.start, 1), part.stop)
            states = ctx.activation(before[inner.start - 1 : inner.stop - 1])
            torch.bmm(h[inner.start - part.start :].mT, states, out=to_weight[inner])
            torch.sum(h, 1, out=to_bias[part])
        return None, g, to_weight, to_bias


class ReflectionStack(Function):
    """``apply(activation, x, frame, bias)`` is x_L for layers x ↦ x − 2V σ(Vᵀx + b)."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: States, frame: Stack, bias: Biases) -> States:
        """Keep every state and every z for the way back."""
        before, states = _filled(bias, len(x)), x.new_empty(len(frame), *x.shape)
        ctx.activation = activation
        ctx.save_for_backward(before, states, frame)
        for z, state, V in zip(before, states, frame, strict=True):
            state.copy_(x)
            x = torch.addmm(x, activation(z.addmm_(x, V)), V.mT, alpha=-2)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: States) -> tuple[None, States, Stack, Biases]:
        """Go back through a few layers, multiply for all their parameters at once, and so on."""
        before, states, frame = ctx.saved_tensors
        to_frame, to_bias = torch.empty_like(frame), frame.new_empty(frame.shape[::2])
        for part in reversed(parts(before)):
            h, gradients = ctx.activation.derivative(before[part]).mul_(-2), torch.empty_like(states[part])
            layers = zip(
                reversed(h.unbind()), reversed(gradients.unbind()), reversed(frame[part].unbind()), strict=True
            )
            for slopes, after, V in layers:
                after.copy_(g)
                g = torch.addmm(g, slopes.mul_(g @ V), V.mT)
            torch.bmm(states[part].mT, h, out=to_frame[part])
            to_frame[part].baddbmm_(gradients.mT, ctx.activation(before[part]), alpha=-2)
            torch.sum(h, 1, out=to_bias[part])
        return None, g, to_frame, to_bias


def parts(stack: Float[Tensor, "depth ..."]) -> list[slice]:
    """Return slices of a stack that fit a processor's cache; on other devices the whole as one.

    What is computed for one part is used while it is near, and a short-lived result is small enough for its memory to
    be used again: new memory costs more than many a product of small matrices.
    """
    depth = len(stack)
    layers = max(1, CACHE // (stack[0].numel() * stack.element_size())) if stack.device.type == "cpu" else depth
    return [slice(start, min(start + layers, depth)) for start in range(0, depth, layers)]


def _filled(bias: Biases, batch: int) -> Float[Tensor, "depth batch m"]:
    """Return every layer's bias for every example: in place of z, until the product is added."""
    return bias.unsqueeze(1).repeat(1, batch, 1)
