"""Answers to the exercises of "You have been using these"."""

import torch

from exercise_answers import right, wrong

REPAIR, ROUNDS = "cases-exercise-repair", "cases-exercise-rounds"


def repair(W2, slopes, *, skip=None, length=1.0, turn=None):
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    lengths = W2.norm(dim=0)
    U = W2 / lengths
    V = -U if turn is None else U @ turn
    A = torch.eye(len(W2)) - U @ U.T - c / r * U @ V.T
    return A if skip is None else skip, length * (V / (r * lengths)).T


def repair_elsewhere(W2, slopes):
    """Fold other directions than those of W₂: orthogonal, but not what is asked for."""
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    U = W2 / W2.norm(dim=0)
    turn = torch.linalg.qr(torch.cat([U, torch.eye(5)[:, :3]], dim=1)).Q
    swap = turn @ torch.eye(5)[[2, 3, 4, 0, 1]].T @ turn.T
    V = swap.T @ -U
    return swap - U @ U.T @ swap - c / r * U @ V.T, V.T / (r * W2.norm(dim=0))[:, None]


right(REPAIR, repair)
right(REPAIR, lambda W2, slopes: repair(W2, slopes, turn=torch.tensor([[0.6, 0.8], [-0.8, 0.6]])))
wrong(REPAIR, "you keep A = I", lambda W2, slopes: repair(W2, slopes, skip=torch.eye(5)))
wrong(REPAIR, "(Mᵀuᵢ ≠ 0)", lambda W2, slopes: repair(W2, slopes, length=2.0))
wrong(REPAIR, "at the slopes 1 and 0 M = A + cBC", lambda W2, slopes: repair(W2, slopes, skip=torch.zeros(5, 5)))
wrong(REPAIR, "it has a row for each unit", lambda W2, slopes: (torch.eye(5), -2 * W2 / W2.square().sum(dim=0)))
wrong(REPAIR, "A moves directions", repair_elsewhere)
wrong(REPAIR, "two things", lambda W2, slopes: repair(W2, slopes)[1])


def frame(k, *pairs, length=0.5**0.5, sign=1):
    V = torch.zeros(k, len(pairs))
    for column, i in enumerate(pairs):
        V[i, column], V[i + 1, column] = -sign * length, sign * length
    return V


def rounds(k, count=None, **options):
    return [frame(k, *range(first % 2, k - 1, 2), **options) for first in range(count or k)]


def one_by_one(k):
    return [frame(k, i) for last in range(k - 1, 0, -1) for i in range(last)]


right(ROUNDS, rounds)
right(ROUNDS, lambda k: [frame(k, *range((first + 1) % 2, k - 1, 2)) for first in range(k)])
wrong(ROUNDS, "layers are enough", one_by_one)
wrong(ROUNDS, "the smallest of 2 numbers first", lambda k: rounds(k, sign=-1))
wrong(ROUNDS, "with k = 3 the numbers [[0, 1, 2]] become", lambda k: rounds(k, k - 1))
wrong(ROUNDS, "share a number", lambda k: [frame(k, *range(k - 1))] * k)
wrong(ROUNDS, "the length 1", lambda k: rounds(k, length=1.0))
wrong(ROUNDS, "must be a list", lambda k: frame(k, 0))
