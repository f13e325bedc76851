"""Self-checks of the chapter "Going deep"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.orthogonal import haar, polar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor

_Back = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # W_l, z_l, x_l and a gradient to the gradient before

# How the way back is gone wrong.
_ASTRAY: dict[str, _Back] = {
    "you multiply by W where the chain rule has its transpose": lambda W, z, x, g: W @ (z.sign() * g),
    "this is the gradient of a network without folds: each layer's signs are missing": lambda W, z, x, g: W.mT @ g,
    "you take the signs of the state; the fold is at W x + b": lambda W, z, x, g: W.mT @ (x.sign() * g),
    "the signs belong to the rows of W, the other side of W.T": lambda W, z, x, g: z.sign() * (W.mT @ g),
    "this is the gradient of ReLU: a fold turns a gradient around, it does not stop it": lambda W, z, x, g: (
        W.mT @ ((z > 0) * g)
    ),
}


@self_check("deep-exercise-backward")
def _backward(gradients: object) -> None:
    gradients = function("gradients", gradients)
    generator = torch.Generator().manual_seed(0)
    weights, biases = torch.randn(3, 4, 4, generator=generator), torch.randn(3, 4, generator=generator)
    x, g = torch.randn(2, 4, generator=generator)
    given = [weights.clone().unbind(), biases.clone().unbind()]
    found = gradients(x.clone(), *map(list, given), 0.5, g.clone())
    if not isinstance(found, Tensor):
        require(isinstance(found, tuple | list), "gradients must return a list")
    require(len(found) == 4, f"with three layers there are four states, x_0 to x_3, and you return {len(found)}")
    found = torch.stack([tensor(f"gradient {place} of your list", value, 4) for place, value in enumerate(found)])
    right = _way_back(x, weights, biases, 0.5, g, lambda W, z, x, g: W.mT @ (z.sign() * g))
    require(not near(found.flip(0), right), "your list begins at the top; x_0 comes first")
    for fault, step in _ASTRAY.items():
        require(not near(found, _way_back(x, weights, biases, 0.5, g, step)), fault)
    wrong = max((place for place in range(4) if not near(found[place], right[place])), default=None)
    require(wrong is None, f"going back from the top, the gradient at x_{wrong} is the first that is wrong")


def _way_back(
    x: Float[Tensor, " n"],
    weights: Float[Tensor, "L n n"],
    biases: Float[Tensor, "L n"],
    threshold: float,
    g: Float[Tensor, " n"],
    step: _Back,
) -> Float[Tensor, "L+1 n"]:
    """Return the gradients at all states, with a rule for one layer."""
    x, weights, biases, layers = x.double(), weights.double(), biases.double(), []
    for W, b in zip(weights, biases, strict=True):
        z = W @ x + b
        x = z.abs() - threshold
        layers.append((W, z, x))
    found = [g.double()]
    for W, z, after in reversed(layers):
        found.append(step(W, z, after, found[-1]))
    return torch.stack(found[::-1])


@self_check("deep-exercise-nearest")
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
