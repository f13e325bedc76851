"""What all tests share: precisions, a source of randomness, a browser, and property tests that repeat everywhere."""

import os
import shutil

import matplotlib
import pytest
import torch
from hypothesis import settings
from playwright.sync_api import Error, sync_playwright
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


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: the system's where there is one, else Playwright's own; without, only CI fails."""
    quiet = ["background-networking", "component-update", "sync"]
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
                + [f"--disable-{service}" for service in quiet],
            )
        except Error:
            if os.environ.get("CI"):
                raise
            pytest.skip("there is no browser here: install Debian's package chromium")
        yield chromium
        chromium.close()
