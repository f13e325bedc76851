"""Self-checks of the chapter "Folding paper"."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor, truth
from orthobook.theory.origami import fold, folds_along

# Directions in degrees, whether they fold flat, and what is forgotten if the answer is another.
_VERTICES = (
    ((0.0, 90.0, 180.0, 270.0), True, "every other angle adds up to 180°"),
    ((0.0, 90.0, 180.0, 300.0), False, "every other angle, from the first, adds up to 210°"),
    ((0.0, 60.0, 140.0, 260.0), True, "the angle from the last crease to the first counts as well"),
    ((260.0, 0.0, 140.0, 60.0), True, "the creases are not in order"),
    ((-100.0, 60.0, 500.0, 360.0), True, "a direction is the same with any multiple of 360° added"),
    ((0.0, 120.0, 240.0), False, "where their number is odd, angles do not alternate"),
    ((0.0, 90.0, 270.0), False, "where their number is odd, angles do not alternate"),
    ((0.0, 20.0, 70.0, 130.0, 210.0, 310.0), True, "every other angle adds up to 180°, with six creases as with four"),
    ((0.0, 20.0, 70.0, 130.0, 230.0, 310.0), False, "every other angle, from the first, adds up to 160°"),
    ((0.1, 60.3, 140.4, 260.2), True, "every other angle adds up to 180°, up to rounding"),
    ((0.0, 60.0, 140.0, 261.0), False, "every other angle, from the first, adds up to 181°"),
)


def _folds_flat(
    directions: Float[Tensor, " k"],
    *,
    ordered: bool = True,
    last: bool = True,
    even: bool = True,
    modulo: bool = True,
    within: float = 1e-3,
) -> bool:
    """Say whether creases in some directions fold flat, or forget something."""
    directions = directions % 360 if modulo else directions
    directions = directions.sort().values if ordered else directions
    gaps = torch.cat([directions.diff(), 360 + directions[:1] - directions[-1:]])
    gaps = gaps if last else gaps[:-1]
    return (len(gaps) % 2 == 0 or not even) and bool(abs(gaps[::2].sum() - 180) <= within)


@self_check(
    "paper-exercise-flat",
    wrong={
        "you say False for the directions 0°, 90°, 180°, 270°": partial(_folds_flat, last=False),
        "every other angle, from the first, adds up to 210°": lambda directions: len(directions) % 2 == 0,
        "the creases are not in order": partial(_folds_flat, ordered=False, modulo=False),
        "a direction is the same with any multiple of 360° added": partial(_folds_flat, modulo=False),
        "where their number is odd, angles do not alternate": partial(_folds_flat, even=False),
        "every other angle adds up to 180°, with six creases as with four": lambda directions: (
            len(directions) == 4 and _folds_flat(directions)
        ),
        "up to rounding": lambda directions: _folds_flat(directions.float(), within=0.0),
        "adds up to 181°": partial(_folds_flat, within=2.0),
    },
)
def _flat(folds_flat: object) -> None:
    folds_flat = function("folds_flat", folds_flat)
    for directions, flat, fact in _VERTICES:
        found = truth("what folds_flat returns", folds_flat(torch.tensor(directions)))
        shown = ", ".join(f"{direction:g}°" for direction in directions)
        require(found == flat, f"you say {found} for the directions {shown}, but {fact}")


@self_check(
    "paper-exercise-vertex",
    wrong={
        "nothing meets at 0": torch.tensor([50.0, 230.0]),
        "these are radians": torch.tensor([90.0, 140.0]).deg2rad(),
        "meet at the angles 80°, 80°, 100°, 100°": torch.tensor([90.0, 190.0]),
    },
)
def _vertex(angles: object) -> None:
    given = tensor("angles", angles, 2)
    made = _angles(given)
    require(len(made) > 0, "both creases lie on one line, and nothing meets at 0")
    require(_wanted(made) or not _wanted(_angles(given.rad2deg())), "these are radians; folds_along takes degrees")
    shown = ", ".join(f"{angle:.3g}°" for angle in made.tolist())
    require(_wanted(made), f"the creases of these folds meet at the angles {shown}")


def _wanted(made: Float[Tensor, " k"]) -> bool:
    """Say whether the angles are those that are asked for; two folds cannot bring them into another order."""
    wanted = made.new_tensor([50.0, 50.0, 130.0, 130.0])
    return made.shape == wanted.shape and near(made.sort().values, wanted)


def _angles(directions: Float[Tensor, " 2"]) -> Float[Tensor, " k"]:
    """Return the angles in degrees, in order, between the creases that two folds through 0 make there."""
    sheet = fold(folds_along(directions, torch.zeros_like(directions)))
    if len(sheet.interior) == 0:
        return directions[:0]
    centre = sheet.interior[0]
    ends = sheet.creases[(sheet.creases == centre).any(dim=1)].sum(dim=1) - centre
    x, y = (sheet.points[ends] - sheet.points[centre]).T
    ordered = torch.atan2(y, x).rad2deg().sort().values
    return torch.cat([ordered.diff(), ordered[:1] + 360 - ordered[-1:]])


_DIRECTIONS = torch.tensor([334.0, 256.0, 268.0, 17.0, 182.0, 66.0, 161.0])
_DISTANCES = torch.tensor([0.0, -0.096, -0.807, -0.077, 0.764, 0.596, 0.925])


@self_check(
    "paper-exercise-exactly",
    wrong={
        "you give 7 angles and 6 distances": (_DIRECTIONS, _DISTANCES[:6]),
        "you give no fold": (torch.tensor([]), torch.tensor([])),
        "these 7 folds make 128 cells": (torch.zeros(7), 2.0 ** -torch.arange(7.0) - 1),
        "no 6 folds make more than 64": (_DIRECTIONS[:6], _DISTANCES[:6]),
        "but fewer can": (
            torch.tensor([290.0, 70.0, 227.0, 20.0, 120.0, 241.0, 109.0, 127.0]),
            torch.tensor([0.0, 0.341, 0.238, -0.072, 0.22, 0.42, -0.254, -0.44]),
        ),
    },
)
def _exactly(angles: object, distances: object) -> None:
    turned, away = tensor("angles", angles, None), tensor("distances", distances, None)
    require(len(turned) == len(away), f"you give {len(turned)} angles and {len(away)} distances; each fold has both")
    require(len(turned) > 0, "you give no fold")
    cells, folds = len(fold(folds_along(turned, away)).cells), len(turned)
    most = f", and no {folds} folds make more than {2**folds}" if 2**folds < 100 else ""
    require(cells == 100, f"these {folds} folds make {cells} cells{most}")
    require(folds == 7, f"these {folds} folds make 100 cells, but fewer can; what does the bound of the chapter allow")
