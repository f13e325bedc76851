"""The plane folded by a network: creases, cells and the folded sheet, exactly.

A trunk of width 2 with piecewise affine layers cuts a sheet of paper into convex cells and is affine on each:

    a crease of layer l    {y : a·y + c = 0},  where y = x_{l−1} is where the layers before have put the paper
    on one cell            y is affine in x₀, so the crease is a straight line there: it splits the cell or misses it

So cells are split line after line, layer after layer, and nothing is sampled. Where the Jacobian is orthogonal the
cells are moved without being stretched, a crease joins a front to a back, and Kawasaki's theorem holds: around every
vertex inside the sheet, every other angle adds up to π,

    α₁ + α₃ + … = α₂ + α₄ + … = π

The map says where the paper comes to lie, not what lies on top: mountains and valleys are not determined by it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orthobook.networks import DeepNetwork, Trunk

__all__ = ["SQUARE", "FoldedSheet", "fold", "folds_along", "kawasaki"]

SQUARE = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
"""The corners of the usual sheet, counter-clockwise."""

_ROUNDING = 1e-12  # relative to the largest coordinate: far above the error of some hundred layers in float64

Cell = tuple[int, ...]
Edge = tuple[int, int]  # the smaller index first


@dataclass(frozen=True, eq=False)
class FoldedSheet:
    """A sheet of paper and what a network made of it: V vertices, C cells, E creases.

    Neighbouring cells share their vertices: no vertex of one lies inside an edge of another.
    """

    points: Float[Tensor, "V 2"]  # the vertices on the flat sheet
    images: Float[Tensor, "V 2"]  # where the network puts them
    cells: tuple[Cell, ...]  # C convex polygons as indices of vertices, counter-clockwise on the flat sheet
    creases: Int[Tensor, "E 2"]  # the edges between two cells, as indices of vertices
    layers: Int[Tensor, " E"]  # the layer that made each crease, from 1
    interior: Int[Tensor, " I"]  # the vertices inside the sheet: where creases meet

    @property
    def areas(self) -> Float[Tensor, " C"]:
        """The area of each cell on the flat sheet."""
        return _signed_areas(self.points, self.cells)

    @property
    def image_areas(self) -> Float[Tensor, " C"]:
        """The area of each cell's image, negative where it is turned over: det J times the area on the sheet."""
        return _signed_areas(self.images, self.cells)

    @property
    def signs(self) -> Float[Tensor, " C"]:
        """The sign of det J on each cell: 1 where the front is up, −1 where the back is, 0 where it has collapsed."""
        areas = self.image_areas
        return torch.where(areas.abs() <= _ROUNDING * self.images.abs().max().square(), 0, areas.sign())


def _signed_areas(places: Float[Tensor, "V 2"], cells: tuple[Cell, ...]) -> Float[Tensor, " C"]:
    """Return the area of each polygon, positive if it goes counter-clockwise."""
    owner = torch.tensor([number for number, cell in enumerate(cells) for _ in cell], device=places.device)
    first = places[[cell[0] for cell in cells]][owner]  # taken as the origin, so that small cells lose no digits
    here = places[[vertex for cell in cells for vertex in cell]] - first
    there = places[[vertex for cell in cells for vertex in (*cell[1:], cell[0])]] - first
    return places.new_zeros(len(cells)).index_add_(0, owner, _cross(here, there) / 2)


def _cross(a: Float[Tensor, "*#batch 2"], b: Float[Tensor, "*#batch 2"]) -> Float[Tensor, "*batch"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@torch.no_grad()
def folds_along(angles: Float[Tensor, " L"], distances: Float[Tensor, " L"]) -> Trunk:
    """Return the trunk whose layer l folds over what lies beyond a line: x ↦ x − 2v relu(v·x − d).

    Parameters
    ----------
    angles : Tensor, shape (L,)
        The angle of each v, at right angles to its line, in degrees.
    distances : Tensor, shape (L,)
        The distance d of each line from the origin, towards v.

    Raises
    ------
    ValueError
        If they are no tensors or their shapes are not the same (L,), or there is no line.
    """
    for name, given in (("angles", angles), ("distances", distances)):
        if not isinstance(given, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(given).__name__}")
    if angles.ndim != 1 or angles.shape != distances.shape:
        raise ValueError(f"expected as many angles as distances, got {tuple(angles.shape)}, {tuple(distances.shape)}")
    trunk = Trunk("modified-residual", depth=len(angles), width=2, folds=1, dtype=torch.float64)
    radians = angles.to(torch.float64).deg2rad()
    trunk["frame"].copy_(torch.stack((radians.cos(), radians.sin()), dim=1).unsqueeze(-1))
    trunk["bias"].copy_(-distances.unsqueeze(-1))
    return trunk


@torch.no_grad()
def fold(
    net: DeepNetwork | Trunk, corners: Float[Tensor, "k 2"] | tuple[tuple[float, float], ...] = SQUARE
) -> FoldedSheet:
    """Fold a convex sheet of paper with the trunk of a network: its states x₀ are the sheet, x_L the folded one.

    The parameters are cast to float64. An isometric network must have been built in that precision: one of float32 is
    orthogonal to about 1e-7 only, and so are its angles right to that only.

    Parameters
    ----------
    net : DeepNetwork or Trunk
        A network of width 2 whose kind of layer knows its creases; embedding and classifier take no part.
    corners : Tensor, shape (k, 2)
        The corners of the sheet, counter-clockwise.

    Raises
    ------
    ValueError
        If this is no network, its width is not 2 in every layer, its states are feature maps, a parameter is not
        finite, the kind of layer is not piecewise affine, or the corners do not go once, counter-clockwise and turning
        at each, around a convex polygon.
    """
    if not isinstance(net, DeepNetwork | Trunk) or not net.block.vectors:
        what = (
            f"one on feature maps, {net.architecture}" if isinstance(net, DeepNetwork | Trunk) else type(net).__name__
        )
        raise ValueError(f"only a DeepNetwork or Trunk of the plane folds paper, got {what}")
    widths = net.width, net.block.final_width(net.depth, net.width)
    if widths != (2, 2):
        raise ValueError(f"only a network of the plane folds paper: expected width 2, got {widths[0]} to {widths[1]}")
    mesh = _Mesh(_checked(corners))
    for number, layer in enumerate(net.layers(dtype=torch.float64, device=torch.device("cpu")), start=1):
        if not all(parameter.isfinite().all() for parameter in layer.values()):
            raise ValueError(f"parameters must be finite, but those of layer {number} hold nan or inf")
        normals, offsets = net.block.creases(float(mesh.images.norm(dim=1).max()), **layer)
        for normal, offset in zip(normals, offsets, strict=True):
            mesh.split(normal, offset, number)
        mesh.images = net.block.forward(mesh.images, **layer)  # continuous, so the same from either side of a crease
    return mesh.sheet()


def _checked(corners: Float[Tensor, "k 2"] | tuple[tuple[float, float], ...]) -> Float[Tensor, "k 2"]:
    """Return the corners in float64, having checked that they go around a convex polygon."""
    given = torch.as_tensor(corners, dtype=torch.float64, device="cpu")
    if given.ndim != 2 or given.shape[0] < 3 or given.shape[1] != 2 or not given.isfinite().all():
        raise ValueError(f"corners must be at least three finite points, shape (k, 2), got {given.tolist()}")
    edges = given.roll(-1, dims=0) - given
    left = _cross(edges.unsqueeze(1), given - given.unsqueeze(1))  # (edge, corner), 0 at the edge's own two ends
    start = torch.eye(len(given), device="cpu")
    if not (left + start + start.roll(1, dims=1) > 0).all():
        raise ValueError(
            "corners must go counter-clockwise around a convex polygon, every other corner strictly to the left of "
            f"every edge, got {given.tolist()}"
        )
    return given


class _Mesh:
    """The sheet while it is folded. Vertices are only ever added; cells and edges are replaced by their parts."""

    def __init__(self, corners: Float[Tensor, "k 2"]) -> None:
        self.points = self.images = corners
        self.cells: list[Cell] = [tuple(range(len(corners)))]
        self.creases: dict[Edge, int] = {}  # edge between two cells → the layer that made it
        self.interior: list[int] = []

    def split(self, normal: Float[Tensor, " 2"], offset: Float[Tensor, ""], layer: int) -> None:
        """Split every cell whose image the line {y : normal·y + offset = 0} crosses."""
        distances = self.images @ normal + offset  # in units of the normal's length, which may be 0
        distances[distances.abs() <= _ROUNDING * self.images.abs().max() * normal.norm()] = 0  # else slivers come off
        heights = distances.tolist()
        if min(heights) >= 0 or max(heights) <= 0:
            return
        made: dict[Edge, int] = {}  # edge → the vertex where the line crosses it, the same for the cells on both sides
        cells: list[Cell] = []
        cuts: list[Edge] = []
        for cell in self.cells:
            parts = _halves(cell, heights, made)
            cells += parts
            if len(parts) == 2:
                cuts.append(_edge(parts[0][-1], parts[0][0]))
        self.cells = cells
        self._add(made, distances)
        self.creases.update(dict.fromkeys(cuts, layer))

    def _add(self, made: dict[Edge, int], distances: Float[Tensor, " V"]) -> None:
        """Add the vertices where the line crosses edges, and replace creases among those by their parts."""
        if not made:
            return
        a, b = torch.tensor(list(made), device="cpu").T
        share = (distances[a] / (distances[a] - distances[b])).unsqueeze(1)
        self.points, self.images = (
            torch.cat((places, places[a].lerp(places[b], share))) for places in (self.points, self.images)
        )
        for edge, vertex in made.items():
            layer = self.creases.pop(edge, None)
            if layer is not None:
                self.creases.update({(end, vertex): layer for end in edge})
                self.interior.append(vertex)

    def sheet(self) -> FoldedSheet:
        return FoldedSheet(
            self.points,
            self.images,
            tuple(self.cells),
            torch.tensor(list(self.creases), dtype=torch.int64, device="cpu").reshape(-1, 2),
            torch.tensor(list(self.creases.values()), dtype=torch.int64, device="cpu"),
            torch.tensor(self.interior, dtype=torch.int64, device="cpu"),
        )


def _edge(a: int, b: int) -> Edge:
    return (a, b) if a < b else (b, a)


def _halves(cell: Cell, heights: list[float], made: dict[Edge, int]) -> list[Cell]:
    """Return the parts of a cell below and above the line, each starting and ending on it; or the cell alone.

    From its highest vertex a convex polygon descends to its lowest and climbs back, so it meets the line twice: at a
    vertex, or inside an edge, where ``made`` gets a new one.
    """
    top = max(range(len(cell)), key=lambda i: heights[cell[i]])
    loop = cell[top:] + cell[:top] + cell[top : top + 1]
    bottom = min(range(len(cell)), key=lambda i: heights[loop[i]])
    if heights[loop[0]] <= 0 or heights[loop[bottom]] >= 0:
        return [cell]
    down = next(i for i in range(bottom + 1) if heights[loop[i]] <= 0)
    up = next(i for i in range(bottom, len(loop)) if heights[loop[i]] >= 0)
    ends = []
    for i in (down, up):
        if heights[loop[i]] == 0:
            ends.append(loop[i])
        else:
            ends.append(made.setdefault(_edge(loop[i - 1], loop[i]), len(heights) + len(made)))
    first, last = ends
    below = (first, *(v for v in loop[down:up] if v != first), last)
    above = (last, *(v for v in loop[up:-1] if v != last), *loop[:down], first)
    return [below, above]


def kawasaki(sheet: FoldedSheet) -> Float[Tensor, " I"]:
    """Return, for every vertex inside the sheet, how far the sum of every other angle around it is from π.

    Zero, up to rounding, says that the paper around the vertex folds flat without being stretched. Where an odd number
    of creases meet, angles do not alternate and the value is infinite.
    """
    directions = defaultdict(list)
    places = sheet.points.tolist()
    for a, b in sheet.creases.tolist():
        for vertex, other in ((a, b), (b, a)):
            (x, y), (u, v) = places[vertex], places[other]
            directions[vertex].append(math.atan2(v - y, u - x))
    found = [_alternation(directions[v]) for v in sheet.interior.tolist()]
    return torch.tensor(found, dtype=torch.float64, device="cpu")


def _alternation(directions: list[float]) -> float:
    """Return |α₁ + α₃ + … − π| of the angles between neighbouring directions."""
    if len(directions) % 2:
        return math.inf
    ordered = sorted(directions)
    return abs(sum(ordered[1::2]) - sum(ordered[::2]) - math.pi)
