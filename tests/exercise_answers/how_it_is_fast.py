"""Answers to the exercises of "How it is fast"."""

import torch

from exercise_answers import right, wrong

FRAME, BACK = "fast-exercise-frame", "fast-exercise-back"


def factor(step=12, gram=4, square=2):
    return lambda n, m, B, k: 1 + k * (gram * n * m**2 + square * m**3) / (step * B * n * m)


right(FRAME, factor())
right(FRAME, lambda n, m, B, k: 1 + k * m / (3 * B) + k * m**2 / (6 * B * n))
wrong(FRAME, "the factor counts the free step too", lambda *sizes: factor()(*sizes) - 1)
wrong(FRAME, "n × n matrices in a feedforward layer", lambda n, m, B, k: 1 + k * n / B)
wrong(FRAME, "V stands in it twice", factor(step=6))
wrong(FRAME, "more than four products", factor(step=8))
wrong(FRAME, "one product more", factor(step=10))
wrong(FRAME, "E² is a product too", factor(square=0))
wrong(FRAME, "E² does not take n", factor(gram=6, square=0))
wrong(FRAME, "VVᵀ would be n × n", lambda n, m, B, k: 1 + k * (4 * n**2 * m + 2 * n**3) / (12 * B * n * m))
wrong(FRAME, "every iteration takes its products", lambda n, m, B, k: factor()(n, m, B, 1))
wrong(FRAME, "count the products", lambda n, m, B, k: 1 + k * m / B)


def way_back(W, z, x0, g, *, transposed=False, slopes=torch.sign, state=torch.abs, pick=slice(None, -1), last=True):
    h = torch.empty_like(z)
    for layer in range(len(W) - 1, -1, -1):
        h[layer] = g * (slopes(z[layer]) if last or layer < len(W) - 1 else 1)
        g = h[layer] @ (W[layer].T if transposed else W[layer])
    x = torch.cat([x0[None], state(z)])[pick]
    return h.mT @ x, h.sum(dim=1)


def by_autograd(W, z, x0, g):
    before = torch.cat([x0[None], z[:-1].abs()])
    biases = (z - before @ W.mT)[:, 0].requires_grad_()
    W, x = W.requires_grad_(), x0
    for weight, bias in zip(W, biases, strict=True):
        x = (x @ weight.T + bias).abs()
    return torch.autograd.grad((x * g).sum(), [W, biases])


def with_options(**options):
    return lambda *given: way_back(*given, **options)


right(BACK, way_back)
right(BACK, by_autograd)
wrong(BACK, "is transposed", lambda *given: (way_back(*given)[0].mT, way_back(*given)[1]))
wrong(BACK, "you take means", lambda *given: [value / 5 for value in way_back(*given)])
wrong(BACK, "multiplied by W_l, not by its transpose", with_options(transposed=True))
wrong(BACK, "the slopes σ'(z) are missing", with_options(slopes=torch.ones_like))
wrong(BACK, "the last layer has slopes too", with_options(last=False))
wrong(BACK, "|z|, not z", with_options(state=lambda z: z))
wrong(BACK, "not the one after it", with_options(pick=slice(1, None)))
wrong(BACK, "in the layers [0, 1, 2]", with_options(slopes=lambda z: (z > 0).to(z.dtype)))
wrong(BACK, "not the sum of the rows of h", lambda *given: (way_back(*given)[0], way_back(*given)[1] / 5))
wrong(BACK, "two things", lambda *given: way_back(*given)[0])
