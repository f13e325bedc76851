"""The one table of tolerances, by dtype."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """What can be asked of one dtype. The tolerances count roundings in units of its eps."""

    dtype: torch.dtype
    layer: float  # a product of a few matrices of width ≤ 128 and order 1: about √128 · eps, with a margin of 6
    trunk: float  # a singular value after up to 1,000 layers, where roundings add up; in float32 1.7 eps a layer
    convolution: float  # the same after up to 50 layers on images; a kernel's sums have up to 9 · 16 terms


PRECISIONS = {
    torch.float32: Precision(torch.float32, layer=8e-6, trunk=2e-4, convolution=1e-4),
    torch.float64: Precision(torch.float64, layer=1.5e-14, trunk=1e-11, convolution=1e-11),
}
