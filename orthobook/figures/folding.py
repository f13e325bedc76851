"""A sheet of paper that the page itself folds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import torch

from orthobook._checks import finite_number, whole_number
from orthobook.figures._live import Explorer
from orthobook.figures.scales import COLOURS, GREY
from orthobook.theory import origami

__all__ = ["FoldingExplorer", "folding_explorer"]

DATA = resources.files("orthobook.figures")  # style and script, which the figure brings along
CONTROLS = {  # control → its label, least and largest value, step and unit
    "folds": ("Folds", 0, 10, 1, ""),
    "first": ("First angle", 0, 360, 1, "°"),
    "turn": ("Turn", 0, 180, 1, "°"),
    "distance": ("Distance", 0.2, 1.2, 0.01, ""),
}


@dataclass(frozen=True, kw_only=True)
class FoldingExplorer(Explorer):
    """A square sheet of paper that the page itself folds; attributes as the arguments of :func:`folding_explorer`."""

    kind = "folding"
    folds: int
    first: float
    turn: float
    distance: float
    description: str

    def specification(self, ink: str = GREY) -> dict[str, Any]:
        """Return the controls with their present values, and the colours: text and creases in ``ink``."""
        names = ("label", "min", "max", "step", "unit", "value")
        controls = {
            control: dict(zip(names, (*limits, getattr(self, control)), strict=True))
            for control, limits in CONTROLS.items()
        }
        return {"description": self.description, "controls": controls, "colours": list(COLOURS[:2]), "ink": ink}

    def still(self, kind: str, ink: str = GREY) -> Any:
        from orthobook.figures._png import png  # with what only the book's build needs
        from orthobook.figures.stills import crease_pattern

        angles = self.first + self.turn * torch.arange(self.folds, dtype=torch.float64)
        sheet = origami.fold(origami.folds_along(angles, torch.full_like(angles, self.distance)))
        pattern = crease_pattern(sheet.points, sheet.images, sheet.cells, sheet.signs, sheet.creases, sheet.layers)
        drawing = pattern._repr_mimebundle_()[0]["image/svg+xml"]
        inked = drawing[drawing.index("<svg") :].replace(GREY, ink)  # matplotlib itself knows no currentColor
        return png(inked, scale=2) if kind == "png" else inked

    def live(self) -> dict[str, Any]:
        style, script = ((DATA / name).read_text("utf-8") for name in ("charts.css", "folding.js"))
        alone = f"<style>{style}</style>{self.page()}<script>{script}</script>"
        return {"text/html": alone, "text/plain": self.description}

    def _room(self, still: str) -> str:
        return "aspect-ratio:1.2"  # of the figure with its controls on a wide screen; on a narrow one it is taller


def folding_explorer(
    *, folds: int = 7, first: float = 10, turn: float = 51, distance: float = 0.5, description: str = ""
) -> FoldingExplorer:
    """Return a square sheet of paper, its creases and the folded sheet, with four sliders for how it is folded.

    Layer l of the network is x ↦ x − 2v relu(v·x − d) on the square [−1, 1]², v at the angle first + (l − 1)·turn. The
    page computes the creases and the folded sheet exactly, with the steps of :func:`orthobook.theory.origami.fold`.

    Parameters
    ----------
    folds
        Number of layers at first, from 1 to 10.
    first, turn
        Angle of the first v and from each v to the next at first, in degrees, from 0 to 360 and to 180.
    distance
        Distance d of each crease from the middle of the sheet at first, from 0.2 to 1.2.
    description
        What the figure shows, in place of a general sentence.

    Raises
    ------
    ValueError
        If a value is outside the range of its slider, or no fold is asked for.
    """
    whole_number("folds", folds, least=1)
    for control, value in {"folds": folds, "first": first, "turn": turn, "distance": distance}.items():
        _, low, high, *_ = CONTROLS[control]
        if not low <= finite_number(control, value) <= high:
            raise ValueError(f"{control}: expected {low} to {high}, got {value}")
    return FoldingExplorer(
        folds=folds,
        first=first,
        turn=turn,
        distance=distance,
        description=description
        or "Left, a flat square sheet of paper with its creases, the parts that will lie front up in one colour and "
        "those that will be turned over in another; right, the same sheet folded. Controls set the number of folds, "
        "the direction of the first, the turn from each to the next, and their distance from the middle.",
    )
