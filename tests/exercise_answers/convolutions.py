"""Answers to the exercises of "Convolutions"."""

import itertools

import torch
from torch.nn import functional

from exercise_answers import right, wrong

GAP, NEAREST = "conv-exercise-gap", "conv-exercise-nearest"


def by_correlation(kernel):
    sums = functional.conv2d(kernel, kernel, padding=2)
    sums[..., 2, 2] -= torch.eye(len(kernel), dtype=kernel.dtype)
    return sums.abs().max()


def by_loops(kernel, *, reach=2, identity=True, centre=True, turned=False, measure=torch.max):
    gaps = []
    for d in itertools.product(range(-reach, reach + 1), repeat=2):
        total = torch.zeros(len(kernel), len(kernel), dtype=kernel.dtype)
        for s in itertools.product(range(3), repeat=2):
            y, x = s[0] + d[0], s[1] + d[1]
            if 0 <= y < 3 and 0 <= x < 3:
                k, moved = kernel[..., s[0], s[1]], kernel[..., y, x]
                total += k.T @ moved if turned else k @ moved.T
        if d == (0, 0):
            total = total - identity * torch.eye(len(kernel), dtype=kernel.dtype)
        if d != (0, 0) or centre:
            gaps.append(total.abs())
    return measure(torch.stack(gaps))


def with_options(**options):
    return lambda kernel: by_loops(kernel, **options)


right(GAP, by_correlation)
right(GAP, by_loops)
wrong(GAP, "offsets d ≠ 0 are left out", with_options(reach=0))
wrong(GAP, "offsets that contain ±2 are left out", with_options(reach=1))
wrong(GAP, "the sum must be I, not 0", with_options(identity=False))
wrong(GAP, "twice an orthogonal kernel has the gap", with_options(centre=False))
wrong(GAP, "the wrong factor is transposed", with_options(turned=True))
wrong(GAP, "not the norm of all", with_options(measure=torch.linalg.norm))
wrong(GAP, "too low", with_options(measure=lambda gaps: gaps.max() / 2))
wrong(GAP, "in place of 0", lambda kernel: by_loops(kernel) + 1e-2)


def blocks_of(kernel, H, W):
    return torch.fft.fft2(kernel, s=(H, W)).movedim((0, 1), (2, 3))


def kernel_of(blocks):
    return torch.fft.ifft2(blocks.movedim((2, 3), (0, 1))).real


def by_svd(kernel, H, W):
    U, _, Vh = torch.linalg.svd(blocks_of(kernel, H, W))
    return kernel_of(U @ Vh)


def by_iteration(kernel, H, W):
    blocks = blocks_of(kernel, H, W).to(torch.complex128)
    for _ in range(60):
        blocks = (blocks + torch.linalg.inv(blocks.mH)) / 2
    return kernel_of(blocks)


def by_qr(kernel, H, W):
    return kernel_of(torch.linalg.qr(blocks_of(kernel, H, W)).Q)


def scaled(kernel, H, W):
    blocks = blocks_of(kernel, H, W)
    return kernel_of(blocks / torch.linalg.matrix_norm(blocks, 2, keepdim=True))


right(NEAREST, by_svd)
right(NEAREST, by_iteration)
wrong(NEAREST, "that is the kernel itself", lambda k, H, W: functional.pad(k, (0, W - 3, 0, H - 3)))
wrong(NEAREST, "it is not orthogonal", scaled)
wrong(NEAREST, "another one is nearer", by_qr)
wrong(NEAREST, "count the offsets from 0", lambda k, H, W: by_svd(k, H, W).roll((-1, -1), (2, 3)))
wrong(NEAREST, "has the shape (3, 3, 3, 3)", lambda k, H, W: by_svd(k, H, W)[..., :3, :3])
wrong(NEAREST, "the result is complex", lambda k, H, W: by_svd(k, H, W) + 0j)
