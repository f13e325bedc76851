"""Certified robustness: how far an input must move before the prediction can change, and an attack that tries.

    logits  z(x) = K x_L(x) + k,    the rows of K being w_1, w_2, …
    trunk   ‖x_L(x') − x_L(x)‖ ≤ Γ ‖x_0(x') − x_0(x)‖,    Γ = ∏_l Γ_l, 1 for isometric layers
    so      (z_y − z_j)(x') ≥ (z_y − z_j)(x) − ‖w_y − w_j‖ Γ ‖E‖₂ ‖x' − x‖,

E being the embedding's matrix: the prediction y cannot change while ‖x' − x‖ is below the certified radius

    ρ(x) = min_{j ≠ y} (z_y − z_j)(x) / (‖w_y − w_j‖ Γ ‖E‖₂)          (Anil, Lucas and Grosse 2019; Li et al. 2019)

All norms are Euclidean, and lengths are in units of the network's inputs. Those of a data set are standardised by one
mean and one standard deviation: multiplied by ``data.std`` a length is one in pixels, whose values lie in [0, 1].

The certificate holds for the exact function of the given parameters, and for its evaluation in float64: Γ_l is measured
on the parameters as they are, and what rounding may do to embedding, trunk and logits is subtracted from the lead.

The attack is projected gradient descent (Madry et al. 2018) on the lead of a class over a rival.
"""

from __future__ import annotations

import copy
from dataclasses import fields
from numbers import Real
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.nn.utils import parametrize

from orthobook._checks import class_labels, finite_number, seeded, whole_number
from orthobook.layers.images import ImageEmbedding
from orthobook.networks import DeepNetwork, Trunk, differentiable
from orthobook.orthogonal import full_precision

__all__ = ["attack", "certified_radius", "lipschitz_bound", "smallest_perturbation"]

EPSILON = torch.finfo(torch.float64).eps
LEAST = 1e-150  # stands for lengths and factors below it, whose squares would underflow


def in_float64(net: DeepNetwork) -> DeepNetwork:
    """Return a copy of a network in float64, on its device or, where that lacks the precision, on the CPU."""
    device = torch.device("cpu") if net.device.type == "mps" else net.device
    return copy.deepcopy(net).to(device).to(torch.float64).requires_grad_(False)


def check_network(net: object) -> None:
    """Raise ValueError unless net is a deep network with finite parameters."""
    if not isinstance(net, DeepNetwork):
        raise ValueError(f"net must be a DeepNetwork, as ob.build returns, got {type(net).__name__}")
    if not all(parameter.detach().isfinite().all() for parameter in net.parameters()):
        raise ValueError("the network's parameters must be finite, but hold nan or inf")


@torch.no_grad()
def readable(net: DeepNetwork) -> DeepNetwork:
    """Return a copy that computes what its weights say; ValueError if the network may compute something else.

    Parametrised weights are there as their parametrisations make them in the mode ``eval()``.
    """
    check_network(net)
    if module_hooks._global_forward_hooks or module_hooks._global_forward_pre_hooks:
        raise ValueError("there are forward hooks for all modules, which a Lipschitz bound cannot count: remove them")
    for part, module in net.named_modules():
        what = f"{part or 'network'} {type(module).__name__}"
        if module._forward_hooks or module._forward_pre_hooks:  # pruning and the older spectral_norm are among these
            raise ValueError(f"the {what} has forward hooks, which a Lipschitz bound cannot count: remove them")
        if own := [name for name in vars(module) if callable(getattr(type(module), name, None))]:
            raise ValueError(f"the {what} has a {own[0]} of its own, which a Lipschitz bound cannot count")
    plain = copy.deepcopy(net).eval()
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):  # torch's own way to remove them would change the original's class, too
            names = [name for name, _ in module.get_submodule("parametrizations").named_children()]
            weights = {name: getattr(module, name).detach().clone() for name in names}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, weight in weights.items():
                module.register_parameter(name, nn.Parameter(weight))
    check_known("network", plain, DeepNetwork)
    check_known("trunk", plain.trunk, Trunk)
    return plain


def check_known(part: str, module: nn.Module, *known: type[nn.Module]) -> None:
    """Raise ValueError unless a part of a network is of a class whose weights tell all; a subclass may do more."""
    if type(module) not in known:
        raise ValueError(f"the {part} {type(module).__name__} has no proven Lipschitz bound")


def layer_bounds(net: DeepNetwork) -> Float[Tensor, " depth"]:
    """Return the bounds Γ_l of a readable network's layers, float64, on the CPU, rounded up."""
    stacks = {name: stack.detach().cpu().double() for name, stack in net.trunk.items()}
    try:
        bounds = net.block.lipschitz(stacks)
    except ValueError as error:
        raise ValueError(f"the trunk of {net.architecture} has no proven Lipschitz bound: {error}") from error
    return bounds * (1 + 1000 * max(net.coordinates, 10) * EPSILON)  # singular values of M are right to a few n ε ‖M‖


@torch.no_grad()
def lipschitz_bound(net: DeepNetwork) -> float:
    """Return a number Γ with ‖x_L(x') − x_L(x)‖ ≤ Γ ‖x_0(x') − x_0(x)‖ for all inputs x and x', proven for the trunk.

    It is the product of bounds for the layers, each computed in float64 from the layer's parameters as they are. With a
    constrained isometric trunk Γ exceeds 1 by the orthogonality error alone; with a free or penalised one it is what
    the product of the layers' norms comes to, which may be huge.

    Raises
    ------
    ValueError
        If the kind of layer states no Lipschitz bound, as those of the baselines do not, a parameter is not finite, or
        hooks or methods of its own may make the network compute something else than its weights say.
    """
    return product(layer_bounds(readable(net)))


def product(bounds: Float[Tensor, " depth"]) -> float:
    """Return the product of bounds, rounded up where it underflows."""
    whole = 1.0
    for bound in bounds.clamp(min=LEAST).tolist():
        whole = max(whole * bound, LEAST)
    return whole


def embedding_norm(net: DeepNetwork) -> float:
    """Return ‖E‖₂, rounded up; ValueError if the embedding is no linear map that is known."""
    check_known("embedding", net.embedding, nn.Linear, ImageEmbedding)  # space to depth is an isometry
    weight = net.embedding.get_parameter("weight").cpu().double()
    return torch.linalg.matrix_norm(weight, 2).item() * (1 + 1000 * max(weight.shape) * EPSILON)


@torch.no_grad()
def certified_radius(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], labels: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, " batch"]:
    """Return for every input a radius within which the prediction is proven not to change.

    Parameters
    ----------
    net : DeepNetwork
        A network whose trunk has a Lipschitz bound, such as a constrained isometric one.
    x : Tensor, shape (batch, inputs)
        Inputs, finite.
    labels : Tensor, shape (batch,), optional
        The right classes. The radius is then 0 where the prediction is wrong, and ``(radius > r).double().mean()`` is
        the accuracy that is certified at the radius r.

    Returns
    -------
    Tensor, shape (batch,)
        The radius ρ(x) ≥ 0, float64, on the CPU, in units of the inputs; times ``data.std`` it is in units of pixels in
        [0, 1]. No x' with ‖x' − x‖₂ < ρ(x) has another prediction. Infinite if the classes' rows are equal: no change
        then alters the exact prediction. It is 0 where rounding may have made the lead.

    Raises
    ------
    ValueError
        If the trunk has no Lipschitz bound, embedding or classifier are not plain linear maps, hooks or methods of its
        own may make the network compute something else, a parameter or an input is not finite, the inputs have another
        shape or dtype than the network's, or the labels are not (batch,) whole numbers from 0 to classes − 1.

    Notes
    -----
    The radius of Anil, Lucas and Grosse (2019) and Li et al. (2019), with the norms of embedding and classifier in it.
    It knows nothing of x but the logits, so most decision boundaries are farther away.
    """
    net = readable(net)
    bounds = layer_bounds(net)
    check_known("classifier", net.classifier, nn.Linear)
    reach = max(product(bounds) * embedding_norm(net), LEAST)
    logits, size = _logits(net, x)
    rows = net.classifier.weight.detach().cpu().double()
    predicted = logits.argmax(dim=1)
    lead = logits.gather(1, predicted[:, None]) - logits  # (batch, classes)
    lead[~logits.isfinite().all(dim=1)] = 0
    differences = rows[:, None] - rows
    apart = (differences.norm(dim=2).clamp(min=LEAST) * differences.any(dim=2))[
        predicted
    ]  # (batch, classes): ‖w_y − w_j‖
    rivals = torch.arange(net.classes, device="cpu") != predicted[:, None]

    def move(margins: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """Return how far the last state must move at least until a margin is used up."""
        moves = torch.where(margins > 0, margins / apart, 0.0)
        return torch.where(rivals, moves, torch.inf).amin(dim=1)

    radius = move(lead - _rounding(net, bounds, x, size, move(lead))[:, None]) / reach
    radius = radius * (1 - 1000 * rows.shape[1] * EPSILON)
    if labels is not None:
        right = predicted == class_labels(labels, examples=len(x), classes=net.classes).cpu()
        radius = torch.where(right, radius, 0.0)
    return radius


def _logits(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"]
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, " batch"]]:
    """Return the logits, computed in float64, and the length of every input's longest state."""
    check_inputs(net, x)
    exact = in_float64(net)
    with full_precision(exact.device):
        state = exact.embed(x.to(exact.device, torch.float64))
        size = state.flatten(1).norm(dim=1)
        for layer in exact.layers():
            state = exact.block.forward(state, **layer)
            size = torch.maximum(size, state.flatten(1).norm(dim=1))
        return exact.classifier(state.flatten(1)).cpu(), size.cpu()


def _rounding(
    net: DeepNetwork,
    bounds: Float[Tensor, " depth"],
    x: Float[Tensor, "batch inputs"],
    size: Float[Tensor, " batch"],
    moved: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Return what rounding in float64 may do to a difference of logits, at an input and within its radius together.

    In whatever order it is summed, an entry of Mv + b, of n products, is off by at most n ε times that of |M||v| + |b|,
    as ε is twice the unit roundoff, and ‖|M|‖₂ ≤ ‖M‖_F ≤ √n ‖M‖₂. So a vector of at most n entries is off by

        n^1.5 ε (‖M‖₂ ‖v‖ + √n b̂),    b̂ the largest modulus of an offset.

    Embedding: n the length of an input, ‖v‖ = ‖x'‖, whatever of x' is dropped by E; call the result e₀.
    Layer: at most three products and an activation, of vectors that are no longer than c Γ_l (S + √n b̂), where S bounds
    all states and c ≥ 1 the factors of terms that cancel. With fewer than 16 such errors a layer, and with earlier ones
    growing by Γ_l,

        e_L ≤ ∏_l max(Γ_l, 1) (e₀ + 16 L n^1.5 c ε (S + √n b̂)).

    Logit: e_L times ‖w_i‖, and n ε (‖w_i‖ S + |k_i|) for the product itself. A lead has two logits, at two inputs. The
    factor 32 in place of 16 leaves room for terms of order ε², and for the kernel of a convolution to be built.
    """
    rows, biases, size = net.classifier.weight, net.classifier.bias, size.clamp(min=LEAST)
    terms = max(net.coordinates, rows.shape[1], net.block.longest_product(net.width))  # of an inner product, or entries
    growth = bounds.clamp(min=1).prod()
    moves = moved.nan_to_num(posinf=0) / product(bounds)  # of the first state
    longest = size + growth * moves
    length = embedding_norm(net) * x.detach().cpu().double().norm(dim=1) + moves
    embedded = max(net.inputs, terms) ** 1.5 * (length + terms**0.5 * _largest(getattr(net.embedding, "bias", None)))
    offsets = [_largest(stack) for name, stack in net.trunk.items() if name not in net.block.orthogonal]
    constants = [getattr(net.block, field.name) for field in fields(net.block) if "float" in str(field.type)]
    offsets += [abs(constant) for constant in constants if constant is not None]
    layer = terms**1.5 * net.block.cancelling * (longest + terms**0.5 * max(offsets, default=0.0))
    states = growth * (2 * embedded + 32 * net.depth * layer)
    return 4 * EPSILON * (rows.norm(dim=1).max().item() * (states + 2 * terms * longest) + 2 * terms * _largest(biases))


def _largest(tensor: Tensor | None) -> float:
    """Return the largest modulus; 0 where there is nothing."""
    return 0.0 if tensor is None or not tensor.numel() else tensor.detach().abs().max().item()


# --- the attack ---


@torch.inference_mode(False)
def attack(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
    radius: float | Float[Tensor, " batch"],
    *,
    steps: int = 20,
    restarts: int = 2,
    box: tuple[float, float] | None = None,
    seed: int = 0,
) -> Float[Tensor, "batch inputs"]:
    """Return for every input a change, no longer than the radius, that takes the prediction as far as found from right.

    Projected gradient descent (Madry et al. 2018) on the lead z_y − z_j of the right class y over one rival j. Each
    step goes along the gradient, by a length that falls linearly from the radius to 0, and back into the ball. The
    first start is at x and aims at the rival that sets the certified radius of an isometric network; the others are at
    random at the radius and aim at the next rivals. A lead, unlike the loss, has a gradient however sure a prediction.

    Parameters
    ----------
    net : DeepNetwork
        Any network.
    x : Tensor, shape (batch, inputs)
        Inputs, finite.
    labels : Tensor, shape (batch,)
        The classes y to lead away from.
    radius : float or Tensor of shape (batch,)
        Length of the change in units of the inputs, for all or for each, at least 0 and finite.
    steps, restarts : int
        Gradient steps of a start, and starts.
    box : pair of floats, optional
        Limits low ≤ high of every coordinate of x + change, in the network's precision, such as those of pixels:
        (0 − mean)/std and (1 − mean)/std.
    seed : int
        Of the random starts.

    Returns
    -------
    Tensor, shape (batch, inputs)
        The change of the smallest lead z_y − max_{j≠y} z_j met, on the network's device. The attack has succeeded where
        that lead is negative at x + change. Rounding makes no change longer than the radius, nor leave the box.

    Raises
    ------
    ValueError
        If an argument is out of range, a parameter or an input is not finite, an input is outside the box, or there is
        a single class.
    """
    check_network(net)
    net = differentiable(net)
    x, labels, radius, room = _checked(net, x, labels, radius, box)
    whole_number("steps", steps, least=1)
    generator = seeded(seed)
    rivals = _rivals(net, x, labels)
    best, least = torch.zeros_like(x), torch.full_like(radius, torch.inf)
    for restart in range(whole_number("restarts", restarts, least=1)):
        rival = rivals[:, restart % rivals.shape[1]]
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64, device="cpu").to(x) * bool(restart)
        change = _project(_unit(noise) * radius[:, None], radius, room)
        for step in range(steps + 1):
            lead, gradient = _lead(net, x, change, labels, rival)
            better = lead < least
            best, least = torch.where(better[:, None], change, best), torch.where(better, lead, least)
            change = change - (1 - step / steps) * radius[:, None] * _unit(gradient)
            change = _project(change, radius, room)
    return best


@torch.inference_mode(False)
def smallest_perturbation(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
    limit: float,
    *,
    rounds: int = 6,
    steps: int = 10,
    restarts: int = 2,
    box: tuple[float, float] | None = None,
    seed: int = 0,
) -> Float[Tensor, " batch"]:
    """Return the length of the shortest change found that makes each prediction wrong, by bisecting :func:`attack`.

    Parameters
    ----------
    net, x, labels, steps, restarts, box, seed
        As for :func:`attack`.
    limit : float
        The longest change tried, positive.
    rounds : int
        Attacks, each at the middle of what the ones before have left between failure and success. Every change that
        succeeds is cut back to where the prediction just turns.

    Returns
    -------
    Tensor, shape (batch,)
        Float64, on the CPU, confirmed in float64: 0 where the prediction is wrong, infinite where no change was found.
        The true distance to a decision boundary is no longer, and no shorter than :func:`certified_radius`.

    Raises
    ------
    ValueError
        As :func:`attack`, and if the limit is not positive or there are no rounds.
    """
    limit = finite_number("limit", _plain(limit), positive=True)
    whole_number("rounds", rounds, least=1)
    x, labels, *_ = _checked(net, x, labels, limit, box)
    exact = in_float64(net)
    right = (~wrong(exact, x, 0.0, labels)).nonzero().squeeze(1)
    distance = torch.zeros(len(x), dtype=torch.float64, device="cpu")
    x, labels = x[right.to(x.device)], labels[right.to(x.device)]
    low, high = (distance.new_full((len(right),), length) for length in (0.0, limit))
    shortest = torch.full_like(high, torch.inf)
    for _ in range(rounds):
        radius = (low + high) / 2
        change = attack(net, x, labels, radius, steps=steps, restarts=restarts, box=box, seed=seed)
        change = _shortened(exact, x, change.to(exact.device, torch.float64), labels)
        found, length = wrong(exact, x, change, labels), change.norm(dim=1).cpu()
        shortest = torch.where(found, torch.minimum(shortest, length), shortest)
        high = torch.where(found, torch.minimum(high, length), high)
        low = torch.minimum(torch.where(found, low, radius), high)
    return distance.index_copy(0, right, shortest)


@torch.no_grad()
def wrong(
    exact: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    change: float | Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
) -> Bool[Tensor, " batch"]:
    """Return whether a network in float64 predicts another class than the label at x + change, on the CPU."""
    change = torch.as_tensor(change, dtype=torch.float64, device=exact.device)
    with full_precision(exact.device):
        return exact(x.to(exact.device, torch.float64) + change).argmax(dim=1).cpu() != labels.cpu()


def _shortened(
    exact: DeepNetwork, x: Float[Tensor, "batch inputs"], change: Float[Tensor, "batch inputs"], labels: Tensor
) -> Float[Tensor, "batch inputs"]:
    """Return changes that make predictions wrong cut back to where they just do; others as they are."""
    low, high = torch.zeros_like(change[:, :1]), torch.ones_like(change[:, :1])
    for _ in range(8):
        middle = (low + high) / 2
        there = wrong(exact, x, middle * change, labels)[:, None].to(change.device)
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
    return high * change


@torch.no_grad()
def check_inputs(net: DeepNetwork, x: Float[Tensor, "batch inputs"]) -> None:
    """Raise ValueError unless x is a batch of finite inputs of the network."""
    net.embed(x[:1] if isinstance(x, Tensor) and x.ndim else x)
    if not x.isfinite().all():
        raise ValueError("inputs must be finite, but hold nan or inf")


Room = tuple[Float[Tensor, "batch inputs"], Float[Tensor, "batch inputs"]]


def _checked(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
    radius: float | Float[Tensor, " batch"],
    box: tuple[float, float] | None,
) -> tuple[Float[Tensor, "batch inputs"], Int[Tensor, " batch"], Float[Tensor, " batch"], Room | None]:
    """Return inputs, labels, a radius for each input, and the room for changes, on the network's device."""
    check_network(net)
    check_inputs(net, x)
    labels = class_labels(labels, examples=len(x), classes=net.classes)
    if net.classes == 1:
        raise ValueError("an attack needs at least 2 classes, got 1")
    radii = _radii(radius, examples=len(x))
    x, room = x.to(net.device, copy=x.is_inference()), None
    if box is not None:
        low, high = _limits(box)
        if len(x) and not low <= x.min() <= x.max() <= high:
            raise ValueError(f"inputs must lie in the box {box}, got {x.min().item()} … {x.max().item()}")
        room = _room(x, low, high)
    return x, labels.to(net.device, copy=labels.is_inference()), radii.expand(len(x)).to(net.device, net.dtype), room


def _plain(value: Any) -> Any:
    """Return a tensor that holds a single number as that number, and anything else as it is."""
    return value.item() if isinstance(value, Tensor) and value.ndim == 0 else value


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _radii(radius: Any, *, examples: int) -> Float[Tensor, "*batch"]:
    """Return a radius or radii in float64; ValueError unless they are numbers of at least 0."""
    tensor = isinstance(radius, Tensor) and not radius.is_complex() and radius.dtype != torch.bool
    if not (tensor or _number(radius)):
        raise ValueError(f"radius must be a number or {examples} numbers, got {radius!r}")
    radii = torch.as_tensor(radius, dtype=torch.float64, device=radius.device if tensor else "cpu").detach()
    if radii.shape not in ((), (examples,)):
        raise ValueError(f"radius must be a number or {examples} numbers, got the shape {tuple(radii.shape)}")
    bad = radii[~((radii >= 0) & radii.isfinite())]
    if len(bad):
        raise ValueError(f"radius must be at least 0 and finite, got {bad[0].item()}")
    return radii


def _limits(box: Any) -> tuple[float, float]:
    """Return the limits of a box; ValueError unless they are two numbers in order."""
    limits = [_plain(limit) for limit in box] if isinstance(box, tuple | list) else []
    if len(limits) != 2 or not all(map(_number, limits)) or not limits[0] <= limits[1]:
        raise ValueError(f"box must be two numbers, low <= high, got {box!r}")
    return float(limits[0]), float(limits[1])


def _room(x: Float[Tensor, "batch inputs"], low: float, high: float) -> Room:
    """Return the least and the largest change of every coordinate, so rounded that x + change is within the limits."""
    least, most, zero = low - x, high - x, torch.zeros_like(x)
    least = torch.where(x + least < low, torch.nextafter(least, zero), least)
    return least, torch.where(x + most > high, torch.nextafter(most, zero), most)


@torch.no_grad()
def _rivals(
    net: DeepNetwork, x: Float[Tensor, "batch inputs"], labels: Int[Tensor, " batch"]
) -> Int[Tensor, "batch rivals"]:
    """Return the other classes of each input, by the share of its lead that one move of the last state takes away."""
    logits, rows = net(x), net.classifier.weight
    apart = (rows[:, None] - rows).norm(dim=2)[labels]
    distance = (logits.gather(1, labels[:, None]) - logits) / apart.clamp(min=torch.finfo(net.dtype).tiny)
    return distance.scatter(1, labels[:, None], torch.inf).argsort(dim=1)[:, :-1]


def _lead(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    change: Float[Tensor, "batch inputs"],
    labels: Int[Tensor, " batch"],
    rival: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch inputs"]]:
    """Return the lead of the labels over all other classes at x + change, and the gradient of that over the rival."""
    change = change.detach().requires_grad_()
    with torch.enable_grad(), full_precision(net.device):
        logits = net(x + change)
        own = logits.gather(1, labels[:, None])
        (gradient,) = torch.autograd.grad((own - logits.gather(1, rival[:, None])).sum(), change)
    others = logits.detach().scatter(1, labels[:, None], -torch.inf)
    return own.detach().squeeze(1) - others.amax(dim=1), gradient


def _unit(vectors: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch inputs"]:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny)


def _project(
    change: Float[Tensor, "batch inputs"], radius: Float[Tensor, " batch"], room: Room | None
) -> Float[Tensor, "batch inputs"]:
    """Return the change shortened to the radius, and then to the room, which shortens every coordinate or leaves it."""
    longest = radius * (1 - 32 * torch.finfo(radius.dtype).eps)  # so that rounding makes it no longer
    change = change * (longest / change.norm(dim=1).clamp(min=torch.finfo(radius.dtype).tiny)).clamp(max=1)[:, None]
    return change if room is None else change.clamp(*room)
