"""Answers to the exercises of "Where gradients vanish"."""

import math

import torch

from exercise_answers import right, wrong

CHAIN, LOGARITHM = "vanishing-exercise-chain", "vanishing-exercise-logarithm"
UNDERFLOW, WIDTH = "vanishing-exercise-underflow", "vanishing-exercise-width"


def gradients(jacobians, u, *, transposed=True, backwards=True, keep=slice(None), flipped=True):
    found = [u]
    for J in jacobians.flip(0) if backwards else jacobians:
        found.append((J.mT if transposed else J) @ found[-1])
    return torch.stack(found[::-1] if flipped else found)[keep]


def with_options(**options):
    return lambda jacobians, u: gradients(jacobians, u, **options)


def by_differentiation(jacobians, u):
    states = [torch.zeros_like(u).requires_grad_()]
    for J in jacobians:
        states.append(J @ states[-1])
    return torch.stack(torch.autograd.grad(u @ states[-1], states))


right(CHAIN, gradients)
right(CHAIN, by_differentiation)
wrong(CHAIN, "gradients need Jᵀ", with_options(transposed=False))
wrong(CHAIN, "you start with J₁", with_options(backwards=False))
wrong(CHAIN, "u₀ first and u_L last", with_options(flipped=False))
wrong(CHAIN, "both belong", with_options(keep=slice(1, None)))
wrong(CHAIN, "row 0 is not", lambda J, u: torch.cat([u[None], gradients(J, u)[1:]]))
wrong(CHAIN, "the last row", lambda J, u: gradients(J, 2 * u))


def rate(n, *, gamma=0.57721566, terms=-1, log=True):
    return -gamma + sum(1 / k for k in range(1, n // 2 + 1 + terms)) - (math.log(n / 2) if log else 0)


right(LOGARITHM, rate)
right(LOGARITHM, lambda n: torch.digamma(torch.tensor(n / 2)) - math.log(n / 2))
right(LOGARITHM, lambda n: rate(n, gamma=0.5772))
wrong(LOGARITHM, "rate of the length", lambda n: rate(n) / 2)
wrong(LOGARITHM, "without the logarithm", lambda n: rate(n, log=False))
wrong(LOGARITHM, "one term too many", lambda n: rate(n, terms=0))
wrong(LOGARITHM, "not at n", lambda n: rate(2 * n))
wrong(LOGARITHM, "not at n", lambda n: rate(2 * n) + math.log(2))
wrong(LOGARITHM, "which is 0", lambda n: -rate(n))
wrong(LOGARITHM, "is another number", lambda n: -1 / n)

right(UNDERFLOW, 466, 455, 228)
right(UNDERFLOW, 466.0, torch.tensor(456), 230)
wrong(UNDERFLOW, "with less, float32 goes on", 392, 385, 192)
wrong(UNDERFLOW, "rounded up", 463, 455, 228)
wrong(UNDERFLOW, "does not round to 0", 233, 455, 228)
wrong(UNDERFLOW, "the first is asked for", 467, 455, 228)
wrong(UNDERFLOW, "from the input", 466, 145, 228)
wrong(UNDERFLOW, "no entry is larger", 466, 480, 228)
wrong(UNDERFLOW, "not 0 yet", 466, 400, 228)
wrong(UNDERFLOW, "much before", 466, 455, 455)
wrong(UNDERFLOW, "twice the exponent", 466, 455, 372)

right(WIDTH, lambda depth, factor: math.ceil(1.25 * depth / math.log(factor)))
right(WIDTH, lambda depth, factor: next(n for n in range(1, 10**4) if math.exp(-5 / 4 * depth / n) * factor >= 1))
wrong(WIDTH, "orthogonal weights", lambda depth, factor: math.ceil(0.75 * depth / math.log(factor)))
wrong(WIDTH, "the squared norm", lambda depth, factor: math.ceil(2.5 * depth / math.log(factor)))
wrong(WIDTH, "a linear network", lambda depth, factor: math.ceil(0.5 * depth / math.log(factor)))
wrong(WIDTH, "base 10", lambda depth, factor: math.ceil(1.25 * depth / math.log10(factor)))
wrong(WIDTH, "whatever factor is given", lambda depth, factor: math.ceil(1.25 * depth))
wrong(WIDTH, "a little too narrow", lambda depth, factor: int(1.25 * depth / math.log(factor)))
wrong(WIDTH, "one less will do", lambda depth, factor: math.ceil(1.25 * depth / math.log(factor)) + 1)
wrong(WIDTH, "a whole number", lambda depth, factor: 1.25 * depth / math.log(factor) + 0.1)
