"""A right answer to each exercise that has a self-check, found in another way than the package's own."""

import math
import statistics

import torch
from scipy.stats import norm
from torch.nn import functional

import orthobook as ob
from orthobook.framework import complement
from orthobook.layers import activations
from orthobook.theory.mean_field import mean_field, threshold_for
from orthobook.theory.spectra import feedforward_law, spectral_law


def keeps_all(net, x):
    return all(1 - 1e-4 < value < 1 + 1e-4 for row in ob.singular_values(net, x).tolist() for value in row)


def by_householder(v):
    v = v / v.norm()
    return torch.eye(3) - 2 * v[:, None] @ v[None]


def sort_pairs(x):
    v = torch.tensor([[1.0], [-1.0]], dtype=x.dtype) / 2**0.5
    return x - 2 * torch.relu(x @ v) @ v.T


def factors(A, B, C, slopes):
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    M, N = A + c * B @ C, r * B
    scale = N.norm(dim=0)
    U, V = N / scale, C.T * scale
    gaps = (N.T @ M, U.T @ U - torch.eye(len(C)), M.T @ M + V @ V.T - torch.eye(len(A)))
    if any(gap.abs().max() > 1e-4 for gap in gaps):
        raise ValueError("violated")
    return U, V, complement(U).T @ M @ complement(V), scale


def tanh_jacobian(weights, biases, x):
    def run(x):
        for W, b in zip(weights, biases, strict=True):
            x = torch.tanh(W @ x + b)
        return x

    return torch.autograd.functional.jacobian(run, x)


def extreme_gradients(J):
    vectors = torch.linalg.eigh(J @ J.mT).eigenvectors
    return [-vectors[:, -1], vectors[:, 0]]


def variance_at(n, depth):
    step = torch.tensor([[n + 4, n], [2 / n, n + 3]], dtype=torch.float64) / (n + 2)
    alpha, beta = torch.linalg.matrix_power(step, depth).sum(dim=1)
    return alpha - beta


def gradients_of_a_linear_network(jacobians, u):
    states = [torch.zeros_like(u).requires_grad_()]
    for J in jacobians:
        states.append(J @ states[-1])
    return torch.stack(torch.autograd.grad(u @ states[-1], states))


def rate(n):
    return -0.57721566 + sum(1 / k for k in range(1, n // 2)) - math.log(n / 2)


def width_needed(depth, factor):
    return next(n for n in range(1, 10**4) if math.exp(-5 / 4 * depth / n) * factor >= 1)


def gradients_of_folds(x, weights, biases, threshold, g):
    with torch.enable_grad():
        states = [x.requires_grad_()]
        for W, b in zip(weights, biases, strict=True):
            states.append((W @ states[-1] + b).abs() - threshold)
        return list(torch.autograd.grad(states[-1] @ g, states))


def nearest_matrix(M):
    P, _, Qt = torch.linalg.svd(M)
    return P @ Qt


def no_threshold(theta, depth):
    return mean_field("shifted-fold", depth=depth, threshold=0, correlation=math.cos(theta)).coherence[-1]


def residual_bound(inner, outer, scale):
    whole = 1.0
    for W1, W2 in zip(inner, outer, strict=True):
        whole *= 1 + scale * torch.linalg.svdvals(W1)[0].item() * torch.linalg.svdvals(W2)[0].item()
    return whole


def shortest_change(G, z, y):
    """Project 0 onto each boundary, and take the projection nearest to it."""
    found = []
    for j in set(range(len(z))) - {y}:
        normal = (G[j] - G[y])[None]
        found.append(torch.linalg.lstsq(normal, (z[y] - z[j])[None, None], driver="gelsd").solution[:, 0])
    return min(found, key=lambda candidate: candidate.norm())


def shift_gap(kernel):
    sums = functional.conv2d(kernel, kernel, padding=2)
    sums[..., 2, 2] -= torch.eye(len(kernel), dtype=kernel.dtype)
    return sums.abs().max()


def nearest_kernel(kernel, H, W):
    blocks = torch.fft.fft2(kernel, s=(H, W)).movedim((0, 1), (2, 3)).to(torch.complex128)
    for _ in range(60):
        blocks = (blocks + torch.linalg.inv(blocks.mH)) / 2
    return torch.fft.ifft2(blocks.movedim((2, 3), (0, 1))).real


def carried(J, delta):
    product, total = torch.eye(J.shape[-1]), torch.zeros(J.shape[-1])
    for matrix, own in zip(J.flip(0), delta.flip(0), strict=True):
        total = total + product @ own
        product = product @ matrix
    return total


def flattery():
    drawn = torch.randn(40_000, 100, generator=torch.Generator().manual_seed(0)).amax(dim=1).mean().item()
    s = math.sqrt(0.85 * 0.15 / 10_000)
    return 100 * drawn * s, 10_000 * (drawn * s / 0.001) ** 2


def difference(one, other):
    gap = statistics.fmean(other) - statistics.fmean(one)
    spread = (torch.tensor(one).var() + torch.tensor(other).var()).sqrt()
    return gap, spread, abs(gap) > 1.6 * spread


def folds_flat(directions):
    """Multiply the reflections in the creases, in order."""
    angles = 2 * (directions % 360).sort().values.double().deg2rad()
    signs = 1 - 2 * (torch.arange(len(angles)) % 2)
    return len(angles) % 2 == 0 and bool(abs((signs * angles).sum().cos() - 1) < 1e-6)


def way_back(W, z, x0, g):
    before = torch.cat([x0[None], z[:-1].abs()])
    biases = (z - before @ W.mT)[:, 0].requires_grad_()
    W, x = W.requires_grad_(), x0
    for weight, bias in zip(W, biases, strict=True):
        x = (x @ weight.T + bias).abs()
    return torch.autograd.grad((x * g).sum(), [W, biases])


def longest(k):
    """Sum the geometric series."""
    ratio = 0.9**2 / 0.999
    series = 0.1 * ((1 - ratio**k) / (1 - ratio) / 0.001) ** 0.5
    return series * (1 - 0.999**k) ** 0.5 / (1 - 0.9**k)


def aligned(Q, delta):
    """Put the factor to the left of every layer, from the output."""
    D = torch.ones(Q.shape[-1], dtype=Q.dtype)
    D[1], D[0] = (1 + delta) ** 0.5, (1 - delta) ** 0.5
    layers, after = [], torch.eye(Q.shape[-1], dtype=Q.dtype)
    for q in Q.flip(0):
        layers.insert(0, (after.T * D) @ after @ q)
        after = after @ q
    return torch.stack(layers)


def tangent_part(V, G):
    return G - V @ (V.mT @ G) + V @ (V.mT @ G - G.mT @ V) / 2


def q_factor(M):
    columns = []
    for column in M.T:
        for other in columns:
            column = column - (other @ column) * other
        columns.append(column / column.norm())
    return torch.stack(columns, dim=1)


def mean_log(states, tau, epsilon):
    roots = [((x + tau) ** 2 - epsilon**2).clamp(min=1e-30).sqrt() for x in states[1:]]
    return sum((z / (z**2 + epsilon**2).sqrt()).log().mean(dim=1) for z in roots)


def halving_biases(depth):
    biases, low, high = [], -1.0, 1.0
    for _ in range(depth):
        middle = (low + high) / 2
        biases.append(-middle)
        low, high = 0.0, high - middle
    return biases


def mean_square_after(q, tau):
    z = torch.linspace(-40, -tau, 20001, dtype=torch.float64)
    density = torch.from_numpy(norm.pdf(z.numpy(), scale=q**0.5))
    return q + torch.trapezoid(density * ((z + 2 * tau) ** 2 - z**2), z)


def kept(W, flat):
    J = torch.eye(W.shape[-1], dtype=W.dtype)
    for weight, off in zip(W, flat, strict=True):
        J = weight @ J * ~off[:, None]
    _, s, Vh = torch.linalg.svd(J)
    return Vh[s > 1 - 1e-5].mT


def predicted_flat(q, tau, depth):
    """Predict by sums over a grid in place of integrals."""
    t = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    weights = torch.exp(-(t**2) / 2)
    weights, q, f = weights / weights.sum(), q.double(), 0.0
    for _ in range(depth):
        f = f + 64 * torch.special.ndtr(-tau / q.sqrt())
        q = ((q[:, None].sqrt() * t).clamp(min=-tau) ** 2 * weights).sum(dim=1)
    return f


def repair(W2, slopes):
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    lengths = W2.norm(dim=0)
    U = W2 / lengths
    V = U @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    return torch.eye(len(W2)) - U @ U.T - c / r * U @ V.T, (V / (r * lengths)).T


def frames(k):
    layers = []
    for first in range(k):
        V = torch.zeros(k, k)
        for i in range((first + 1) % 2, k - 1, 2):
            V[i, i], V[i + 1, i] = -(0.5**0.5), 0.5**0.5
        layers.append(V[:, V.norm(dim=0) > 0])
    return layers


RIGHT = {
    "intro-exercise-build": (keeps_all,),
    "template-exercise-reflection": (by_householder,),
    "layer-exercise-sort": (sort_pairs,),
    "layer-exercise-count": (lambda n, m: (n**2 - n) / 2 + n * m + (m - m**2) / 2 + 0.0,),
    "layer-exercise-recover": (factors,),
    "singular-exercise-push": (tanh_jacobian,),
    "singular-exercise-extreme": (extreme_gradients,),
    "singular-exercise-moments": (variance_at,),
    "vanishing-exercise-chain": (gradients_of_a_linear_network,),
    "vanishing-exercise-logarithm": (rate,),
    "vanishing-exercise-underflow": (466.0, torch.tensor(456), 230),
    "vanishing-exercise-width": (width_needed,),
    "matrices-exercise-gaussian": (
        lambda depth: feedforward_law(activations.identity, depth, gaussian=True).support[1],
    ),
    "matrices-exercise-share": (lambda x, depth: 1 - float(spectral_law("relu-orthogonal", depth).distribution(x)),),
    "deep-exercise-backward": (gradients_of_folds,),
    "deep-exercise-nearest": (nearest_matrix,),
    "coherence-exercise-absolute": (no_threshold,),
    "coherence-exercise-fewer": (
        threshold_for(100, 0.5, width=64),
        threshold_for(100, 0.5, "partial-fold", 64, folds=8),
    ),
    "robust-exercise-product": (residual_bound,),
    "robust-exercise-affine": (shortest_change,),
    "robust-exercise-box": (lambda mean, std: (torch.tensor([0.0, 1.0]) - mean) / std,),
    "conv-exercise-gap": (shift_gap,),
    "conv-exercise-nearest": (nearest_kernel,),
    "rates-exercise-carry": (carried,),
    "rates-exercise-one": ((torch.tensor(1.0e-5), torch.tensor(0.9e-5), torch.tensor(1.1e-5)),),
    "evidence-exercise-flattery": flattery(),
    "evidence-exercise-finding": (difference,),
    "paper-exercise-flat": (folds_flat,),
    "paper-exercise-vertex": ([0, -50],),
    "paper-exercise-exactly": ([127, 341, 236, 355, 189, 175, 289], [0, 0.285, 0.21, 0.084, 0.078, -0.019, -0.324]),
    "fast-exercise-frame": (lambda n, m, B, k: 1 + k * m / (3 * B) + k * m**2 / (6 * B * n),),
    "fast-exercise-back": (way_back,),
    "init-exercise-adam": (longest,),
    "init-exercise-aligned": (aligned,),
    "keeping-exercise-tangent": (tangent_part,),
    "keeping-exercise-qr": (q_factor,),
    "nearly-exercise-float": (2 * math.log(1.01) / 1e-6, (2 * math.log(1.01) / 1e-6) ** 2),
    "nearly-exercise-states": (mean_log,),
    "designs-exercise-strip": (halving_biases,),
    "designs-exercise-norm": (mean_square_after,),
    "partial-exercise-kept": (kept,),
    "partial-exercise-threshold": (predicted_flat,),
    "partial-exercise-readers": ((15, 15.0, 15), torch.tensor([15, 14, 13])),
    "cases-exercise-repair": (repair,),
    "cases-exercise-rounds": (frames,),
}
