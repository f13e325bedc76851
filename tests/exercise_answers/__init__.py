"""Right and typical wrong answers to the exercises that have self-checks, a file for each chapter."""

import importlib
import pkgutil
from collections import defaultdict

RIGHT = defaultdict(list)  # label → answers
WRONG = defaultdict(list)  # label → (words of what is said, answer)


def right(label, *answer):
    """Note a right answer."""
    RIGHT[label].append(answer)


def wrong(label, words, *answer):
    """Note a typical wrong answer, and words that the student must be told."""
    WRONG[label].append((words, answer))


def load():
    """Read the answers of all chapters."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
