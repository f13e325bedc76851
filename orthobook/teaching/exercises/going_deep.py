"""Self-checks of the chapter "Going deep"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.orthogonal import haar, polar
from orthobook.teaching.exercises._self_checks import comparison, function, near, require, self_check, tensor


def _network() -> Iterator[tuple[object, ...]]:
    """Return an input, weights and biases of 3 layers of width 4, a threshold, and a gradient at the output."""
    generator = torch.Generator().manual_seed(0)
    weights, biases = torch.randn(3, 4, 4, generator=generator), torch.randn(3, 4, generator=generator)
    x, g = torch.randn(2, 4, generator=generator)
    yield x, list(weights), list(biases), 1.0, g


def _four(found: object, *network: object) -> Tensor:
    """Return the four gradients of an answer."""
    require(isinstance(found, tuple | list | Tensor), "gradients must return a list")
    states = list(found)  # type: ignore[call-overload]
    require(len(states) == 4, f"with three layers there are four states, x_0 to x_3, and you return {len(states)}")
    return torch.stack([tensor(f"gradient {place} of your list", u, 4) for place, u in enumerate(states)])


def _first_wrong(found: Tensor, right: Tensor, *network: object) -> str:
    """Say which gradient is the first that is wrong on the way back."""
    place = max(place for place in range(4) if not near(found[place], right[place]))
    return f"going back from the top, the gradient at x_{place} is the first that is wrong"


@comparison(
    "deep-exercise-backward",
    _network,
    read=_four,
    otherwise=_first_wrong,
    wrong={
        "your list begins at the top; x_0 comes first": lambda *network: gradients(*network).flip(0),
        "you multiply by W where the chain rule has its transpose": {"step": lambda W, z, x, g: W @ (z.sign() * g)},
        "this is the gradient of a network without folds: each layer's signs are missing": {
            "step": lambda W, z, x, g: W.mT @ g
        },
        "you take the signs of the state; the fold is at W x + b": {"step": lambda W, z, x, g: W.mT @ (x.sign() * g)},
        "the signs belong to the rows of W, the other side of W.T": {"step": lambda W, z, x, g: z.sign() * (W.mT @ g)},
        "this is the gradient of ReLU: a fold turns a gradient around, it does not stop it": {
            "step": lambda W, z, x, g: W.mT @ ((z > 0) * g)
        },
    },
    further={
        "gradients must return a list": lambda *network: iter(gradients(*network)),
        "you return 3": lambda *network: gradients(*network)[:-1],
        "the gradient at x_2": lambda *network: gradients(*network) * torch.tensor([[1], [1], [2], [1]]),
    },
)
def gradients(
    x: Float[Tensor, " n"],
    weights: Sequence[Float[Tensor, "n n"]],
    biases: Sequence[Float[Tensor, " n"]],
    threshold: float,
    g: Float[Tensor, " n"],
    step: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda W, z, x, g: W.mT @ (z.sign() * g),
) -> Float[Tensor, "L+1 n"]:
    """Return the gradients at all states; a rule takes W_l, z_l, x_l and a gradient to the gradient before."""
    layers = []
    for W, b in zip(weights, biases, strict=True):
        z = W @ x + b
        x = z.abs() - threshold
        layers.append((W, z, x))
    found = [g]
    for W, z, after in reversed(layers):
        found.append(step(W, z, after, found[-1]))
    return torch.stack(found[::-1])


def _iterated(M: Float[Tensor, "b n n"], *, steps: int = 60, scale: float | None = None) -> Float[Tensor, "b n n"]:
    """Return what the iteration for the nearest orthogonal matrices makes; its norm is 1 at the start, or scaled."""
    M = M * scale if scale else M / torch.linalg.matrix_norm(M)[:, None, None]
    for _ in range(steps):
        M = M + M @ (torch.eye(M.shape[-1]) - M.mT @ M) / 2
    return M


@self_check(
    "deep-exercise-nearest",
    wrong={
        "below √3": partial(_iterated, scale=1 / 1.4),
        "yours are orthogonal, but not the nearest": lambda M: torch.linalg.qr(M).Q,
        "what does the iteration make of one above √3": partial(_iterated, scale=1.0),
        "you return M as it is": lambda M: M,
        "each iteration multiplies a small one by 3/2": partial(_iterated, steps=8),
        "have they been below √3": lambda M: 2 * polar(M),
    },
)
def _nearest(nearest: object) -> None:
    nearest = function("nearest", nearest)
    generator = torch.Generator().manual_seed(0)
    P, Q = haar(2, 3, 6, 6, dtype=torch.float64, generator=generator)
    for low, high in ((0.9, 1.1), (0.5, 2.2), (0.5, 40.0), (1e-3, 2e-3), (1e-3, 1.0)):
        M = (P * torch.linspace(low, high, 6, dtype=torch.float64)) @ Q
        value = nearest(M.to(torch.get_default_dtype()))
        at = f"for singular values between {low:g} and {high:g}"
        large = high > 3**0.5
        lost = large and not torch.as_tensor(value).isfinite().all()
        require(not lost, f"{at} your iteration grows without bound: the theorem wants them below √3")
        found = tensor("nearest(M)", value, 3, 6, 6)
        gram = found.mT @ found
        orthogonal = near(gram, torch.eye(6, dtype=torch.float64).expand_as(gram))
        wanted = polar(M)
        turned = ": what does the iteration make of one above √3" if large else ""
        require(near(found, wanted) or not orthogonal, f"{at} yours are orthogonal, but not the nearest{turned}")
        require(not near(found, M) or orthogonal, f"{at} you return M as it is")
        left = torch.linalg.svdvals(found)
        few = f"{at} yours have one of {left.min():.2g} left: each iteration multiplies a small one by 3/2 at most"
        require(orthogonal or left.max() > 1.01, few)
        require(orthogonal, f"{at} yours go up to {left.max():.2g}: have they been below √3 at the start")
