"""Folded sheets against what must hold of folded paper, and against the networks themselves, which know no mesh."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import EXACT_DENSE, takes

import orthobook as ob
from orthobook.theory import origami
from orthobook.theory.origami import SQUARE, fold, folds_along, kawasaki

# every kind of layer that takes a width of 2, with options that make it fold
FOLDING = {name: {} for name in EXACT_DENSE if takes(name, 2)} | {
    "shifted-fold": {"threshold": 0.3},
    "partial-fold": {"threshold": 0.3},
    "zigzag": {"period": 1.6},
    "rotated-residual": {"folds": 1},
    "leaky-residual": {"slope": -0.4, "threshold": 0.2},
    "groupsort": {"size": 2},
}

ANGLE = 1e-9  # of a sum of angles: a vertex is right to a few eps, and edges are longer than 1e-6 of the sheet
PLACE = 1e-12  # of a vertex or an area after up to 8 layers: some hundred roundings of numbers of order 1


def network(architecture: str, depth: int, seed: int = 0, **options) -> ob.DeepNetwork:
    """A network of the plane whose biases are drawn anew, so that its layers fold the square."""
    net = ob.build(
        architecture,
        depth=depth,
        width=2,
        inputs=2,
        classes=2,
        seed=seed,
        dtype=torch.float64,
        device="cpu",
        **(FOLDING.get(architecture, {}) | options),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, stack in net.trunk.items():
            if name.endswith("bias"):
                stack.uniform_(-0.5, 0.5, generator=generator)
    return net


def folds(lines: list[tuple[float, float]]) -> ob.DeepNetwork:
    """The network that folds along lines, given the angle and the distance of each."""
    return folds_along(*torch.tensor(lines, dtype=torch.float64).T)


def trunk(net, x):
    """The trunk's own answer: x₀ ↦ x_L."""
    for layer in net.layers():
        x = net.block.forward(x, **layer)
    return x.detach()


def pushed(net, x):
    """The trunk's own Jacobian at x₀."""
    tangents = torch.eye(2, dtype=x.dtype).repeat(len(x), 1, 1)
    for layer in net.layers():
        x, tangents = net.block.push(x, tangents, **layer)
    return tangents.mT.detach()


def inside(polygon, x):
    """Whether points lie in a convex polygon, either way round."""
    edges, offsets = polygon.roll(-1, 0) - polygon, x.unsqueeze(1) - polygon
    turns = edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0]
    return (turns > 0).all(dim=1) | (turns < 0).all(dim=1)


def scattered(number: int, seed: int = 0):
    return torch.rand(number, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def affine(sheet, cell):
    """The matrix and the offset of the map that the mesh holds for one cell."""
    points, images = sheet.points[list(cell)], sheet.images[list(cell)]
    centre, image = points.mean(dim=0), images.mean(dim=0)
    A = torch.linalg.lstsq(points - centre, images - image).solution.T
    return A, image - A @ centre


def test_angles_alternate_to_pi_at_every_vertex_of_folded_networks():
    vertices, networks = 0, 0
    for architecture in FOLDING:
        for depth in range(1, 9):
            for seed in (0, 1):
                sheet = fold(network(architecture, depth, seed))
                errors = kawasaki(sheet)
                assert errors.shape == sheet.interior.shape
                assert (errors <= ANGLE).all(), (architecture, depth, seed, errors.max())
                vertices, networks = vertices + len(errors), networks + 1
    assert networks >= 100
    assert vertices >= 3000


@pytest.mark.parametrize("architecture", ["relu-orthogonal", "relu-he", "residual"])
def test_baselines_break_the_angles(architecture):
    errors = torch.cat([kawasaki(fold(network(architecture, depth=4, seed=seed))) for seed in range(8)])
    assert len(errors) > 30
    assert (errors > 0.1).double().mean() > 0.5


@pytest.mark.parametrize("architecture", FOLDING)
@pytest.mark.parametrize("depth", [1, 3, 8])
def test_a_mesh_is_consistent(architecture, depth):
    """Euler's formula, edges with one or two cells, convex cells that fill the square, creases that are folds."""
    sheet = fold(network(architecture, depth))
    sides = Counter(frozenset(side) for cell in sheet.cells for side in zip(cell, (*cell[1:], cell[0]), strict=True))
    assert len(sheet.points) - len(sides) + len(sheet.cells) == 1
    assert set(sides.values()) <= {1, 2}
    assert {side for side, cells in sides.items() if cells == 2} == set(map(frozenset, sheet.creases.tolist()))
    outer = {vertex for side, cells in sides.items() if cells == 1 for vertex in side}
    assert sorted(sheet.interior) == sorted(set(range(len(sheet.points))) - outer)
    assert (sheet.areas > 0).all()
    assert sheet.areas.sum().item() == pytest.approx(4, abs=PLACE)
    assert torch.allclose(sheet.image_areas, sheet.signs * sheet.areas, rtol=0, atol=PLACE)
    assert sheet.layers.tolist() == [] or 1 <= sheet.layers.min() <= sheet.layers.max() <= depth
    sign = {}
    for cell, up in zip(sheet.cells, sheet.signs.tolist(), strict=True):
        for side in zip(cell, (*cell[1:], cell[0]), strict=True):
            sign.setdefault(frozenset(side), []).append(up)
    assert all(sum(ups) == 0 for ups in sign.values() if len(ups) == 2)  # a front beside a back


@pytest.mark.parametrize("architecture", [*FOLDING, "relu-he", "relu-orthogonal", "residual"])
def test_cells_hold_the_network_s_own_map(architecture):
    net = network(architecture, depth=6, seed=3)
    sheet, x = fold(net), scattered(300)
    y, found = trunk(net, x), torch.zeros(len(x), dtype=torch.int64)
    assert torch.allclose(trunk(net, sheet.points), sheet.images, rtol=0, atol=PLACE)
    for cell in sheet.cells:
        here = inside(sheet.points[list(cell)], x)
        A, offset = affine(sheet, cell)
        found += here
        assert torch.allclose(x[here] @ A.T + offset, y[here], rtol=0, atol=1e-9)  # a cell may be narrow
    assert (found == 1).all()


@pytest.mark.parametrize("architecture", [*FOLDING, "relu-he", "residual"])
def test_signs_are_those_of_the_jacobian(architecture):
    net = network(architecture, depth=5, seed=4)
    sheet = fold(net)
    centres = torch.stack([sheet.points[list(cell)].mean(dim=0) for cell in sheet.cells])
    determinants = torch.linalg.det(pushed(net, centres))
    assert torch.equal(sheet.signs, determinants.sign().where(determinants.abs() > PLACE, 0))
    assert torch.allclose(sheet.image_areas, determinants * sheet.areas, rtol=0, atol=PLACE)


@pytest.mark.parametrize("architecture", FOLDING)
def test_nothing_is_stretched_and_nothing_shrinks_within_a_cell(architecture):
    net = network(architecture, depth=6, seed=5)
    sheet = fold(net)
    x = torch.cat((sheet.points, scattered(100)))
    flat, folded = torch.cdist(x, x), torch.cdist(trunk(net, x), trunk(net, x))
    assert (folded <= flat + 1e-7).all()  # cdist squares, which costs half of the digits
    for cell in sheet.cells:
        corners = list(cell)
        assert torch.allclose(flat[corners][:, corners], folded[corners][:, corners], rtol=0, atol=1e-7)


def preimages(lines, y):
    """All points of the plane that the folds take to y, found backwards: what lies beyond a crease has none, the rest
    two, itself and its mirror image."""
    found = [y]
    for degrees, distance in reversed(lines):
        v = torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], dtype=torch.float64)
        found = [(x, x @ v - distance) for x in found]
        found = [p for x, beyond in found if beyond <= 0 for p in (x, x - 2 * beyond * v)]
    return torch.stack(found) if found else y.new_zeros(0, 2)


def test_layers_of_paper_are_the_preimages_of_a_point():
    lines = [(35.0, 0.3), (130.0, 0.35), (200.0, 0.25), (290.0, 0.2), (80.0, 0.1)]
    sheet, ys = fold(folds(lines)), scattered(400, seed=1)
    layers = sum(inside(sheet.images[list(cell)], ys).long() for cell in sheet.cells)
    expected = [int((preimages(lines, y).abs() < 1).all(dim=1).sum()) for y in ys]
    assert layers.tolist() == expected
    assert max(expected) >= 6
    # Counted with their multiplicity, the images cover as much as there is paper.
    assert sheet.image_areas.abs().sum().item() == pytest.approx(4, abs=PLACE)


def test_one_layer_of_two_units_makes_four_right_angles():
    sheet = fold(network("absolute", depth=1))
    assert len(sheet.cells) == 4
    assert sheet.layers.tolist() == [1] * 4
    (vertex,) = sheet.interior
    ends = sheet.creases[(sheet.creases == vertex).any(dim=1)].sum(dim=1) - vertex
    arms = sheet.points[ends] - sheet.points[vertex]
    cosines = arms @ arms.T / arms.norm(dim=1) / arms.norm(dim=1, keepdim=True)
    assert sorted(cosines.round().flatten().tolist()) == [-1] * 4 + [0] * 8 + [1] * 4
    assert torch.allclose(cosines, cosines.round(), rtol=0, atol=PLACE)


@given(st.lists(st.integers(1, 63), min_size=1, max_size=6))
def test_parallel_creases_are_the_preimages_of_the_folds(sixtyfourths):
    lines = [(0.0, number / 64) for number in sixtyfourths]
    sheet = fold(folds(lines))
    found = {round(x, 9) for x in sheet.points[:, 0].tolist()} - {-1, 1}
    fronts = [preimages(lines[:k], sheet.points.new_tensor([d, 0])) for k, (_, d) in enumerate(lines)]
    assert found == {x for x in torch.cat(fronts)[:, 0].tolist() if -1 < x < 1}
    assert len(sheet.cells) == len(found) + 1
    assert len(sheet.interior) == 0
    assert [x.item() for x in sheet.images[:, 0].aminmax()] == pytest.approx([-1, min(sixtyfourths) / 64])


def test_creases_that_meet_no_flap_cut_like_lines():
    """The number k of lines and the number p of their crossings make 1 + k + p cells."""
    sheet = fold(folds([(0.0, 0.9), (90.0, 0.9), (180.0, 0.9), (270.0, 0.9)]))
    assert (len(sheet.cells), len(sheet.interior)) == (1 + 4 + 4, 4)


def test_a_fold_is_pulled_back_through_the_folds_before():
    """Two folds at 45° to each other meet at one vertex; the second crease turns there like light in a mirror."""
    sheet = fold(folds([(0.0, 0.0), (45.0, 0.0)]))
    (vertex,) = sheet.interior
    assert sheet.points[vertex].abs().max() <= PLACE
    ends = {tuple(p) for p in sheet.points.round(decimals=12).add(0.0).tolist()}
    assert ends == {(0.0, 0.0), (0.0, 1.0), (0.0, -1.0), *SQUARE}
    assert len(sheet.cells) == 4
    assert kawasaki(sheet).item() <= ANGLE


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 4)), min_size=1, max_size=7))
def test_special_positions_make_no_slivers(lines):
    """Creases through vertices and along creases, as multiples of 15° make them, leave the paper whole."""
    sheet = fold(folds([(15.0 * angle, distance / 4) for angle, distance in lines]))
    assert sheet.areas.min() > 1e-6
    assert sheet.areas.sum().item() == pytest.approx(4, abs=PLACE)
    assert sheet.image_areas.abs().sum().item() == pytest.approx(4, abs=PLACE)
    assert (kawasaki(sheet) <= ANGLE).all()


def test_the_corners_can_be_those_of_any_convex_sheet():
    triangle = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    sheet = fold(folds([(0.0, 0.5)]), triangle)
    assert sheet.points.dtype == torch.float64
    assert sheet.areas.tolist() == pytest.approx([0.375, 0.125])
    assert sheet.signs.tolist() == [1, -1]
    assert sheet.images[:, 0].max().item() == 0.5


def test_a_network_without_folds_moves_the_sheet():
    sheet = fold(network("linear", depth=5))
    assert sheet.cells == ((0, 1, 2, 3),)
    assert sheet.creases.shape == (0, 2)
    assert kawasaki(sheet).shape == sheet.interior.shape == sheet.layers.shape == (0,)


def test_dead_units_collapse_the_sheet():
    net = network("relu-orthogonal", depth=2)
    with torch.no_grad():
        net.trunk["bias"].fill_(-9)
    sheet = fold(net)
    assert sheet.signs.tolist() == [0]
    assert sheet.images.tolist() == [[0, 0]] * 4


def test_an_odd_number_of_creases_has_no_alternate_angles():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]])
    star = torch.tensor([[0, 1], [0, 2], [0, 3]])
    cells = ((0, 1, 2), (0, 2, 3), (0, 3, 1))
    sheet = origami.FoldedSheet(points, points, cells, star, torch.ones(3), torch.tensor([0]))
    assert kawasaki(sheet).tolist() == [math.inf]


def test_float32_is_folded_with_exactly_its_parameters():
    net = ob.build("absolute", depth=3, width=2, inputs=2, classes=2, device="cpu")
    sheet = fold(net)
    assert sheet.images.dtype == torch.float64
    assert torch.equal(sheet.images, fold(net.double()).images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fold(ob.build("absolute", depth=1, width=3, inputs=2, classes=2)), "expected width 2, got 3 to 3"),
        (lambda: fold(torch.nn.Linear(2, 2)), "only a DeepNetwork or Trunk of the plane folds paper, got Linear"),
        (
            lambda: fold(ob.build("conv-maxmin", depth=1, width=2, inputs=(1, 1), downsampling=0, classes=2)),
            "got one on feature maps, conv-maxmin",
        ),
        (lambda: folds_along([0.0], torch.zeros(1)), "angles must be a tensor, got list"),
        (lambda: fold(network("crelu", depth=2)), "expected width 2, got 2 to 8"),
        (lambda: fold(network("tanh-orthogonal", depth=1)), "breakpoints"),
        (lambda: fold(network("absolute", depth=1), SQUARE[:2]), r"at least three .*\[\[-1.0, -1.0\], \[1.0, -1.0\]\]"),
        (lambda: fold(network("absolute", depth=1), ((0, 0, 0),) * 3), r"shape \(k, 2\)"),
        (lambda: fold(network("absolute", depth=1), ((0, 0), (1, 0), (0, math.nan))), "finite points.*nan"),
        (lambda: fold(network("absolute", depth=1), SQUARE[::-1]), "counter-clockwise around a convex polygon"),
        (lambda: fold(network("absolute", depth=1), ((0, 0), (1, 0), (2, 0), (0, 1))), "strictly to the left"),
        (lambda: fold(network("absolute", depth=1), ((0, 0), (2, 0), (0.1, 0.1), (0, 2))), "convex polygon"),
        (lambda: fold(network("absolute", depth=1), (*SQUARE, *SQUARE)), "convex polygon"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("angles", [torch.zeros(()), torch.zeros(1), torch.zeros(3), torch.zeros(2, 1)])
def test_lines_need_an_angle_and_a_distance_each(angles):
    with pytest.raises(ValueError, match=r"as many angles as distances, got .*, \(2,\)"):
        folds_along(angles, torch.zeros(2))


def test_a_star_that_winds_twice_is_no_sheet():
    star = [(math.cos(math.radians(144 * k)), math.sin(math.radians(144 * k))) for k in range(5)]
    with pytest.raises(ValueError, match="convex polygon"):
        fold(network("absolute", depth=1), tuple(star))


def test_parameters_that_are_not_finite_are_named():
    net = network("absolute", depth=3)
    with torch.no_grad():
        net.trunk["bias"][1, 0] = math.nan
    with pytest.raises(ValueError, match="parameters must be finite, but those of layer 2 hold nan or inf"):
        fold(net)
