"""What all tests share: precisions, a source of randomness, and property tests that repeat on every machine."""

import matplotlib
import pytest
import torch
from hypothesis import settings
from tolerances import PRECISIONS

# No window may open.
matplotlib.use("agg")

# A deadline would test the machine's speed, and fresh random examples would make a failure a matter of luck.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


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
