"""Words of explorers: lists of names, and numbers as text."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from orthobook.figures.stills import magnitude

__all__ = ["capital", "listed", "lower", "printed"]


def listed(items: Sequence[Hashable]) -> str:
    """Return items as a list in a sentence: a, b and c."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def lower(label: str) -> str:
    """Return a label as it stands within a sentence."""
    return label[:1].lower() + label[1:]


def capital(label: str) -> str:
    """Return a label as it stands at the start of a sentence."""
    return label[:1].upper() + label[1:]


def printed(value: float) -> str:
    """Return a value to three significant digits, with a minus sign as printed."""
    return magnitude(value).replace("-", "−")
