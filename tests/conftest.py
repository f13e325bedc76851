"""What all tests share: one form of plotting, and property tests that are the same on every machine."""

import matplotlib
from hypothesis import settings

# No window may open.
matplotlib.use("agg")

# A deadline would test the machine's speed, and fresh random examples would make a failure a matter of luck.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
