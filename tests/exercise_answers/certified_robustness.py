"""Answers to the exercises of "Certified robustness"."""

import torch

from exercise_answers import right, wrong

PRODUCT, AFFINE, BOX = "robust-exercise-product", "robust-exercise-affine", "robust-exercise-box"


def bound(layer, order=2, collect=torch.prod):
    def residual_bound(inner, outer, scale):
        first, second = (torch.linalg.matrix_norm(W.double(), order) for W in (inner, outer))
        return collect(layer(first * second, scale))

    return residual_bound


def layer(norms, scale):
    return 1 + scale * norms


def one_by_one(inner, outer, scale):
    whole = 1.0
    for W1, W2 in zip(inner, outer, strict=True):
        whole *= 1 + scale * torch.linalg.svdvals(W1)[0].item() * torch.linalg.svdvals(W2)[0].item()
    return whole


def without_relu(inner, outer, scale):
    return (1 + scale * torch.linalg.matrix_norm(outer @ inner, 2)).prod()


right(PRODUCT, bound(layer))
right(PRODUCT, one_by_one)
wrong(PRODUCT, "a ReLU stands between", without_relu)
wrong(PRODUCT, "skip connection contributes 1", bound(lambda norms, scale: scale * norms))
wrong(PRODUCT, "s multiplies the branch", bound(lambda norms, scale: 1 + norms))
wrong(PRODUCT, "s multiplies the skip as well", bound(lambda norms, scale: scale * (1 + norms)))
wrong(PRODUCT, "Frobenius", bound(layer, order="fro"))
wrong(PRODUCT, "multiply, they do not add", bound(layer, collect=torch.sum))
wrong(PRODUCT, "for each of the 3 layers", bound(layer, collect=lambda norms: norms))
wrong(PRODUCT, "does not bound the product", bound(layer, collect=torch.max))
wrong(PRODUCT, "you find", bound(lambda norms, scale: 1 + scale * norms**2))


def change(*, power=2, factor=-1.0, nearest=True):
    def shortest_change(G, z, y):
        lead, steep = z[y] - z, G[y] - G
        reach = lead / steep.norm(dim=1) if nearest else lead.clone()
        reach[y] = torch.inf
        j = reach.argmin()
        return factor * lead[j] * steep[j] / steep[j].norm() ** power

    return shortest_change


def roundabout(G, z, y):
    """Go to the boundary along the first pixel alone."""
    straight = change()(G, z, y)
    j = (z + G @ straight).scatter(0, torch.tensor(y), -torch.inf).argmax()
    detour = torch.zeros_like(straight)
    detour[0] = (z[j] - z[y]) / (G[y, 0] - G[j, 0])
    across = straight - detour
    return straight + 0.1 * across  # on the line between the two, and so on the boundary


def by_projection(G, z, y):
    """Project 0 onto each boundary, and take the projection nearest to it."""
    found = []
    for j in set(range(len(z))) - {y}:
        normal = (G[j] - G[y])[None]
        found.append(torch.linalg.lstsq(normal, (z[y] - z[j])[None, None], driver="gelsd").solution[:, 0])
    return min(found, key=lambda candidate: candidate.norm())


right(AFFINE, change())
right(AFFINE, by_projection)
wrong(AFFINE, "the sign", change(factor=1.0))
wrong(AFFINE, "second largest logit", change(nearest=False))
wrong(AFFINE, "the lead is no length", change(power=1))
wrong(AFFINE, "the lead is no length", change(power=0))
wrong(AFFINE, "no class is level with y yet", change(factor=-0.5))
wrong(AFFINE, "you go too far", change(factor=-1.1))
wrong(AFFINE, "times as long as the shortest", roundabout)
wrong(AFFINE, "has the shape", lambda G, z, y: change()(G, z, y)[None])

right(BOX, lambda mean, std: (-mean / std, (1 - mean) / std))
right(BOX, lambda mean, std: (torch.tensor([0.0, 1.0]) - mean) / std)
wrong(BOX, "limits of the pixels", lambda mean, std: (0, 1))
wrong(BOX, "low is above high", lambda mean, std: ((1 - mean) / std, -mean / std))
wrong(BOX, "divided by the standard deviation too", lambda mean, std: (-mean, 1 - mean))
wrong(BOX, "the mean is subtracted", lambda mean, std: (0.0, 1 / std))
wrong(BOX, "back to pixels", lambda mean, std: (0 * std + mean, 1 * std + mean))
wrong(BOX, "changes of a pixel", lambda mean, std: (-1 / std, 1 / std))
wrong(BOX, "belongs to the pixel", lambda mean, std: (-1.0, 1.0))
wrong(BOX, "two numbers", lambda mean, std: 1 / std)
