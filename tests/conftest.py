"""What all tests share: the tolerances, small networks and data, and property tests that repeat on every machine."""

from dataclasses import dataclass

import matplotlib
import pytest
import torch
from hypothesis import settings

# No window may open.
matplotlib.use("agg")

# A deadline would test the machine's speed, and fresh random examples would make a failure a matter of luck.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@dataclass(frozen=True)
class Precision:
    """What can be asked of one dtype. The tolerances count roundings in units of its eps."""

    dtype: torch.dtype
    layer: float  # a product of a few matrices of width ≤ 128 and order 1: about √128 · eps, with a margin of 6
    trunk: float  # a singular value after up to 1,000 layers, where roundings add up; in float32 1.7 eps a layer


PRECISIONS = {
    torch.float32: Precision(torch.float32, layer=8e-6, trunk=2e-4),
    torch.float64: Precision(torch.float64, layer=1.5e-14, trunk=1e-11),
}


@pytest.fixture(params=PRECISIONS.values(), ids=lambda precision: str(precision.dtype).removeprefix("torch."))
def precision(request):
    """Run the test in float32 and in float64, each with its tolerances."""
    return request.param


@pytest.fixture
def float64():
    """Give the tolerances of float64 to a test that runs in that precision alone."""
    return PRECISIONS[torch.float64]


@pytest.fixture
def generator():
    """Give a source of randomness with a fixed seed."""
    return torch.Generator().manual_seed(0)
