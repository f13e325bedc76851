"""How an explorer shows itself wherever a notebook is read: in the book, in JupyterLab and in Colab."""

from __future__ import annotations

import html
import json
import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from orthobook.figures import PAYLOAD_LIMIT
from orthobook.figures.scales import GREY

__all__ = ["Explorer", "compact"]

INK = "currentColor"  # in the book: the page's own text colour, light or dark


def compact(specification: dict[str, Any]) -> str:
    """Return a specification as JSON without spaces."""
    return json.dumps(specification, separators=(",", ":"), ensure_ascii=False)


class Explorer(ABC):
    """A figure with controls that displays itself wherever a notebook is read."""

    kind: ClassVar[str]  # tells the book which of its scripts draws the figure
    description: str  # what it shows, in words: its accessible name

    def __post_init__(self) -> None:
        size = len(compact(self.specification()).encode())
        if size > PAYLOAD_LIMIT:
            raise ValueError(
                f"the chart would add {size} bytes to the page, of {PAYLOAD_LIMIT} allowed: "
                "show fewer depths, steps or architectures"
            )

    @abstractmethod
    def specification(self, ink: str = GREY) -> dict[str, Any]:
        """Return all that the script needs to know, as JSON, with text and lines in the colour ``ink``."""

    @abstractmethod
    def still(self, kind: str, ink: str = GREY) -> Any:
        """Return the figure as it is before a control is moved, as ``svg`` (str) or ``png`` (bytes)."""

    @abstractmethod
    def live(self) -> Any:
        """Return what a notebook with a running kernel displays, by MIME type."""

    @abstractmethod
    def _room(self, still: str) -> str:
        """Return the style that keeps room for figure and controls, so that the text below need not move."""

    def page(self) -> str:
        """Return the element that a script turns into a figure, a still picture inside for want of it."""
        data = compact(self.specification(INK)).replace("<", "\\u003c")  # nothing in it can end the element
        still = self.still("svg", INK)
        return (
            f'<div class="orthobook-chart" data-kind="{self.kind}" style="{self._room(still)}">'
            f'<script type="application/json">{data}</script>'
            f'<noscript><div role="img" aria-label="{html.escape(self.description)}">{still}</div></noscript></div>'
        )

    def _repr_mimebundle_(self, **_: Any) -> Any:
        if os.environ.get("ORTHOBOOK_BUILD"):
            return {"text/html": self.page(), "image/png": self.still("png"), "text/plain": self.description}
        return self.live()
