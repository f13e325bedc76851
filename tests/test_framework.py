"""The theorem both ways: what is composed is orthogonal, what is orthogonal is taken apart, what is bent is named.

The witness is the enumeration of all slope patterns, which knows nothing of the theorem.
"""

import itertools
import pickle

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerances import PRECISIONS

from orthobook.framework import (
    Certificate,
    Factors,
    Layer,
    NotOrthogonal,
    Undecided,
    complement,
    compose,
    factorise,
    is_orthogonal,
)
from orthobook.layers.activations import two_slopes
from orthobook.orthogonal import haar

SLOPES = ((1.0, 0.0), (1.0, -1.0), (0.2, 1.0), (-3.0, -0.5))  # ReLU, absolute value, leaky from the left, both negative
MILLIONTH = 1e-6


def factors(n, m, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return haar(*shape, generator=generator, dtype=dtype)

    scale = 0.5 + torch.rand(m, generator=generator, dtype=torch.float64)
    return Factors(draw(n, m), draw(n, m), draw(n - m, n - m), scale.to(dtype))


def jacobians(layer, slopes):
    """Return J for every pattern of slopes, (2^m, n, n)."""
    patterns = torch.tensor(list(itertools.product(slopes, repeat=layer.C.shape[0])), dtype=torch.float64)
    return layer.A + (layer.B * patterns.unsqueeze(-2)) @ layer.C


def defects(layer, slopes):
    """Return ‖JᵀJ − I‖₂ for every pattern of slopes, (2^m,)."""
    J = jacobians(layer, slopes)
    return torch.linalg.matrix_norm(J.mT @ J - torch.eye(len(layer.A)), ord=2)


def written_as_layer(U, V, M, scale, slopes):
    """Return A, B, C with A + cBC = M, whatever U, V and M are."""
    first, second = slopes
    c, r = (first + second) / 2, (first - second) / 2
    return Layer(A=M - c / r * U @ V.mT, B=U * scale / r, C=V.mT / scale.unsqueeze(-1))


def module_of(layer, slopes, b):
    """Return the layer as a map of batches (N, n)."""
    A, B, C = layer
    return lambda x: x @ A.mT + two_slopes(*slopes)(x @ C.mT + b) @ B.mT


@given(st.integers(1, 6), st.data(), st.floats(-3, 3), st.floats(-3, 3))
def test_every_sign_pattern_gives_an_orthogonal_jacobian(n, data, first, second):
    assume(abs(first - second) > 1e-2)
    m = data.draw(st.integers(0, n))
    U, V, R, scale = factors(n, m, data.draw(st.integers(0, 1000)))
    J = jacobians(compose(U, V, R, (first, second), scale), (first, second))
    assert J.shape == (2**m, n, n)
    # entries of A grow like |c/r|, and rounding with them
    size = 1 + abs((first + second) / (first - second))
    assert (J.mT @ J - torch.eye(n)).abs().max() <= 1e-14 * n * size**2


def test_normal_form():
    """J = U diag(±1) Vᵀ + U⊥ R V⊥ᵀ, with +1 where the slope is s₁."""
    U, V, R, scale = factors(5, 2)
    layer = compose(U, V, R, (1.0, 0.3), scale)
    J = jacobians(layer, (1.0, 0.3))
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=2)), dtype=torch.float64)
    expected = (U * signs.unsqueeze(-2)) @ V.mT + complement(U) @ R @ complement(V).mT
    torch.testing.assert_close(J, expected)


def test_modified_residual_is_the_case_of_an_identity_skip():
    """A = I with ReLU forces U = −V: the block x − 2V relu(Vᵀx + b)."""
    _, V, _, _ = factors(6, 2)
    R = complement(-V).mT @ complement(V)
    layer = compose(-V, V, R, (1.0, 0.0))
    torch.testing.assert_close(layer.A, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(layer.B, -2 * V)
    torch.testing.assert_close(layer.C, V.mT)


def test_a_third_slope_breaks_orthogonality():
    U, V, R, scale = factors(4, 2)
    J = jacobians(compose(U, V, R, (1.0, -1.0), scale), (1.0, 0.5, -1.0))
    defect = (J.mT @ J - torch.eye(4)).abs().amax((-2, -1))
    assert defect.max() > 0.1
    assert (defect < 1e-13).sum() == 4  # the patterns of ±1 alone


@pytest.mark.parametrize("name", ["U", "V", "R"])
def test_a_factor_off_by_a_millionth_is_named(name):
    U, V, R, _ = factors(6, 3)
    broken = {"U": U, "V": V, "R": R}
    broken[name] = broken[name].clone()
    broken[name][0, 0] += 1e-6
    with pytest.raises(ValueError, match=f"^{name} needs orthonormal columns"):
        compose(**broken, slopes=(1.0, 0.0))


def test_compose_names_other_bad_values():
    U, V, R, scale = factors(5, 2)
    with pytest.raises(ValueError, match=r"one shape \(n, m\).*got U \(5, 2\), V \(5, 2\), R \(2, 2\)"):
        compose(U, V, torch.eye(2, dtype=torch.float64), (1.0, 0.0))
    with pytest.raises(ValueError, match=r"distinct finite numbers, at least one, got \(1.0, 1.0\)"):
        compose(U, V, R, (1.0, 1.0))
    with pytest.raises(ValueError, match=r"slopes must be two, got \(1.0,\)"):
        compose(U, V, R, (1.0,))
    with pytest.raises(ValueError, match="distinct finite numbers"):
        compose(U, V, R, (1.0, float("inf")))
    with pytest.raises(ValueError, match=r"slopes must be two, got \(1.0, 0.0, -1.0\)"):
        compose(U, V, R, (1.0, 0.0, -1.0))
    with pytest.raises(ValueError, match=r"one dtype, float32 or float64; got U \(5, 2\) of torch\.float32, V"):
        compose(U.float(), V, R, (1.0, 0.0))
    with pytest.raises(ValueError, match="scale must be 2 positive numbers"):
        compose(U, V, R, (1.0, 0.0), scale * float("inf"))
    with pytest.raises(ValueError, match="scale must be 2 positive numbers"):
        compose(U, V, R, (1.0, 0.0), -scale)
    with pytest.raises(ValueError, match="finite like their inverses"):
        compose(U, V, R, (1.0, 0.0), scale * 1e-309)
    with pytest.raises(ValueError, match=r"shape \(2,\) and torch.float64, got \(2,\), torch.float32"):
        compose(U, V, R, (1.0, 0.0), scale.float())
    with pytest.raises(ValueError, match="scale must be a tensor, got list"):
        compose(U, V, R, (1.0, 0.0), scale.tolist())
    with pytest.raises(ValueError, match="U must be a tensor, got ndarray"):
        compose(U.numpy(), V, R, (1.0, 0.0))
    with pytest.raises(ValueError, match="too close for"):
        compose(U, V, R, (1.0, 1.0 - 1e-15))
    with pytest.raises(ValueError, match="R must be finite, but holds nan"):
        compose(U, V, R * float("nan"), (1.0, 0.0))


@pytest.mark.parametrize("m", [0, 1, 3, 7])
def test_complement_completes_a_frame(m, precision):
    V = factors(7, m, dtype=precision.dtype).V
    rest = complement(V)
    assert rest.shape == (7, 7 - m)
    whole = torch.cat((V, rest), dim=1)
    assert (whole.mT @ whole - torch.eye(7)).abs().max() <= precision.layer


def test_complement_moves_with_the_frame():
    V = factors(7, 3).V
    assert (complement(V + 1e-9) - complement(V)).abs().max() <= 1e-7


@given(st.integers(1, 64), st.data(), st.floats(-100, 100), st.floats(-100, 100), st.sampled_from(list(PRECISIONS)))
def test_factorise_undoes_compose(n, data, first, second, dtype):
    assume(abs(first - second) > 1e-2 + abs(first + second) / 100)
    m = data.draw(st.integers(0, n))
    U, V, R, scale = factors(n, m, data.draw(st.integers(0, 1000)), dtype)
    scale = 10 ** (2 * scale - 2)  # 0.1 … 10
    found = factorise(*compose(U, V, R, (first, second), scale), (first, second))
    assert [part.dtype for part in found] == [dtype] * 4
    # entries of A grow like |c/r|, and rounding with them
    tolerance = PRECISIONS[dtype].layer * (1 + abs((first + second) / (first - second)))
    for part, expected in zip(found, (U, V, R, scale), strict=True):
        torch.testing.assert_close(part, expected, rtol=tolerance, atol=tolerance)
    rest, expected = (complement(f.U) @ f.R @ complement(f.V).mT for f in (found, Factors(U, V, R, scale)))
    torch.testing.assert_close(rest, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("slopes", SLOPES)
def test_factors_build_the_layer_again(slopes, float64):
    layer = compose(*factors(9, 4)[:3], slopes, factors(9, 4).scale)
    found = factorise(*layer, slopes)
    for matrix, again in zip(layer, compose(*found[:3], slopes, found.scale), strict=True):
        torch.testing.assert_close(again, matrix, rtol=0, atol=5 * float64.layer)


def test_the_order_of_the_slopes_is_the_sign_of_u():
    layer = compose(*factors(6, 3)[:3], (1.0, 0.2))
    found, turned = factorise(*layer, (1.0, 0.2)), factorise(*layer, (0.2, 1.0))
    assert torch.equal(turned.U, -found.U)
    assert torch.equal(turned.V, found.V)
    assert torch.equal(turned.scale, found.scale)


@pytest.mark.parametrize("stretch", [1e-200, 1e-3, 7.0, 1e200])
def test_rescaling_units_changes_the_scale_alone(stretch, float64):
    U, V, R, scale = factors(8, 3)
    A, B, C = compose(U, V, R, (1.0, 0.2), scale)
    stretches = torch.tensor([1.0, stretch, 2.0], dtype=torch.float64)
    found = factorise(A, B * stretches, C / stretches.unsqueeze(-1), (1.0, 0.2))
    for part, expected in zip(found, (U, V, R, scale * stretches), strict=True):
        torch.testing.assert_close(part, expected, rtol=float64.layer, atol=float64.layer)


def test_factorise_measures_and_does_not_track():
    A, B, C = compose(*factors(4, 2)[:3], (1.0, 0.0))
    assert not any(part.requires_grad for part in factorise(torch.nn.Parameter(A), B, C, (1.0, 0.0)))


def test_known_layers_are_recognised():
    V, Q = factors(6, 2).V, factors(6, 6).V
    W = factors(6, 6).U
    eye, zero = torch.eye(6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64)

    modified = factorise(eye, -2 * V, V.mT, (1.0, 0.0))
    torch.testing.assert_close(modified.U, -V)
    torch.testing.assert_close(modified.V, V)
    torch.testing.assert_close(complement(-V) @ modified.R @ complement(V).mT, eye - V @ V.mT)

    absolute = factorise(zero, Q, W.mT, (1.0, -1.0))
    torch.testing.assert_close(absolute.U, Q)
    torch.testing.assert_close(absolute.V, W)
    assert absolute.R.shape == (0, 0)

    a = 0.2  # αx − βV lrelu_a(Vᵀx + b) with α = (1 + a)/(1 − a), β = 2/(1 − a)
    leaky = factorise((1 + a) / (1 - a) * eye, -2 / (1 - a) * W, W.mT, (1.0, a))
    torch.testing.assert_close(leaky.U, -W)
    torch.testing.assert_close(leaky.scale, torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("m", [2, 6])
def test_relu_without_a_linear_part_is_refused(m):
    """M = cBC = ½UVᵀ, so that Mᵀuᵢ = ½vᵢ."""
    U, V, _, _ = factors(6, m)
    layer = Layer(torch.zeros(6, 6, dtype=torch.float64), U, V.mT)
    assert defects(layer, (1.0, 0.0)).max() > 0.9
    with pytest.raises(NotOrthogonal, match=r'condition "linear".*by 5\.0e-01 at unit \d \(tolerance') as refusal:
        factorise(*layer, (1.0, 0.0))
    assert refusal.value.error == pytest.approx(0.5)


def tilt(U, V, M):
    """Turn column 2 of U by a millionth towards column 0: Mᵀuᵢ = 0 still holds."""
    U[:, 2] += MILLIONTH * U[:, 0]
    return (0, 2), 1


def reach(U, V, M):
    M += MILLIONTH * torch.outer(U[:, 1], complement(V)[:, 0])
    return (1,), 1


def shorten(U, V, M):
    V[:, 1] *= 1 - MILLIONTH
    return (1,), 2


def skew(U, V, M):
    V[:, 2] += MILLIONTH * V[:, 1]
    return (1, 2), 1


def leave(U, V, M):
    M += MILLIONTH * torch.outer(complement(U)[:, 0], V[:, 2])
    return (2,), 1


def stretch(U, V, M):
    M *= 1 + MILLIONTH
    return (), 2 * 3**0.5


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize(
    ("condition", "bend"),
    [
        ("pairs", tilt),
        ("linear", reach),
        ("frame", shorten),
        ("frame", skew),
        ("kernel", leave),
        ("remainder", stretch),
    ],
)
def test_the_one_condition_that_fails_is_named(condition, bend, slopes):
    U, V, R, scale = factors(6, 3)
    M = complement(U) @ R @ complement(V).mT
    factorise(*written_as_layer(U, V, M, scale, slopes), slopes)
    units, size = bend(U, V, M)
    layer = written_as_layer(U, V, M, scale, slopes)
    with pytest.raises(
        NotOrthogonal, match=f'^the Jacobian is not orthogonal, as the condition "{condition}"'
    ) as refusal:
        factorise(*layer, slopes)
    found = refusal.value
    assert (found.condition, found.units) == (condition, units)
    assert found.error == pytest.approx(size * MILLIONTH, rel=1e-4)
    assert found.tolerance < 1e-12
    assert 0.5 * MILLIONTH < defects(layer, slopes).max() < 10 * MILLIONTH


def test_the_first_condition_that_fails_is_named():
    U, V, R, scale = factors(6, 3)
    M = complement(U) @ R @ complement(V).mT
    bends = [(stretch, "remainder"), (leave, "kernel"), (shorten, "frame"), (reach, "linear"), (tilt, "pairs")]
    for bend, condition in bends:
        bend(U, V, M)
        with pytest.raises(NotOrthogonal) as refusal:
            factorise(*written_as_layer(U, V, M, scale, (1.0, 0.0)), (1.0, 0.0))
        assert refusal.value.condition == condition


@given(st.integers(1, 6), st.data(), st.sampled_from(SLOPES), st.sampled_from([-MILLIONTH, MILLIONTH]))
def test_one_entry_off_by_a_millionth_is_noticed(n, data, slopes, change):
    m = data.draw(st.integers(0, n))
    *parts, scale = factors(n, m, data.draw(st.integers(0, 1000)))
    layer = compose(*parts, slopes, scale)
    assert defects(layer, slopes).max() < 1e-13
    matrix = getattr(layer, data.draw(st.sampled_from("ABC" if m > 0 else "A")))
    row, column = (data.draw(st.integers(0, size - 1)) for size in matrix.shape)
    matrix[row, column] += change
    assert defects(layer, slopes).max() > 1e-8
    with pytest.raises(NotOrthogonal) as refusal:
        factorise(*layer, slopes)
    assert refusal.value.error > 1e-8


@given(
    st.integers(1, 4), st.data(), st.integers(0, 1000), st.lists(st.floats(-3, 3), min_size=3, max_size=4, unique=True)
)
def test_three_slopes_are_refused_with_a_bound_on_the_damage(n, data, seed, slopes):
    generator = torch.Generator().manual_seed(seed)
    m = data.draw(st.integers(1, n))
    shapes = (n, n), (n, m), (m, n)
    layer = Layer(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))
    with pytest.raises(NotOrthogonal, match='condition "slopes"') as refusal:
        factorise(*layer, slopes)
    assert refusal.value.units == tuple(range(m))
    assert refusal.value.tolerance == 0
    assert defects(layer, slopes).max() >= refusal.value.error * (1 - 1e-9)


def test_without_units_slopes_do_not_matter():
    Q = factors(4, 0).R
    empty = torch.empty(4, 0, dtype=torch.float64)
    torch.testing.assert_close(factorise(Q, empty, empty.mT, (1.0, 0.0, -1.0)).R, Q)
    with pytest.raises(NotOrthogonal, match='condition "remainder"'):
        factorise(2 * Q, empty, empty.mT, (1.0, 0.0))


@pytest.mark.parametrize("slope", [1.0, -0.5, 3])
@pytest.mark.parametrize("m", [0, 2, 5, 8])  # of 5: without units, and with more than C can have independent rows of
def test_one_slope_is_a_linear_layer(m, slope):
    generator = torch.Generator().manual_seed(m)
    B, C = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, m), (m, 5)))
    Q = factors(5, 0).R
    A = Q - slope * B @ C
    found = factorise(A, B, C, (slope,))
    assert [tuple(part.shape) for part in found] == [(5, 0), (5, 0), (5, 5), (0,)]
    torch.testing.assert_close(found.R, Q, rtol=0, atol=1e-12)
    assert torch.equal(complement(found.U) @ found.R @ complement(found.V).mT, found.R)
    with pytest.raises(NotOrthogonal, match='condition "remainder"') as refusal:
        factorise(A + 1e-6 * torch.eye(5), B, C, (slope,))
    assert refusal.value.error > 1e-7
    assert refusal.value.tolerance < 1e-9


def test_one_slope_needs_no_matrix_that_folds():
    """A linear layer C is orthogonal, though no unit folds: at most two slopes, not exactly two."""
    eye, zero, Q = torch.eye(4), torch.zeros(4, 4), factors(4, 0, dtype=torch.float32).R
    assert torch.equal(factorise(zero, eye, Q, (1.0,)).R, Q)
    idle = torch.cat((torch.zeros(1, 4), Q[1:]))  # a unit that sees nothing, taken in by A
    assert torch.equal(factorise(Q - idle, eye, idle, (1.0,)).R, Q)


def test_refusals_survive_the_way_back_from_another_process():
    for refusal in (NotOrthogonal("pairs", 1e-6, 1e-13, (0, 2)), Undecided(2, 4)):
        again = pickle.loads(pickle.dumps(refusal))
        assert type(again) is type(refusal)
        assert vars(again) == vars(refusal)
        assert str(again) == str(refusal)
    assert str(NotOrthogonal("pairs", 1e-6, 1e-13, (0, 2))).endswith("by 1.0e-06 at units 0, 2 (tolerance 1.0e-13)")


def tied_layers():
    """Return isometries with tied units, as layer, biases, rank and slopes: |x| from 2n ReLUs, and a zigzag."""
    eye = torch.eye(3, dtype=torch.float64)
    absolute = Layer(0 * eye, torch.cat((eye, eye), dim=1), torch.cat((eye, -eye)))
    e = eye[:, :1]
    zigzag = Layer(
        eye, torch.cat((-2 * e, 2 * e), dim=1), torch.cat((e, 3 * e), dim=1).mT / torch.tensor([[1.0], [3.0]])
    )
    return [(absolute, torch.zeros(6), 3), (zigzag, torch.tensor([0.0, -1.0]), 1)]


@pytest.mark.parametrize(("layer", "b", "rank"), tied_layers(), ids=["concatenated ReLU", "zigzag"])
def test_tied_units_are_left_undecided_and_certified_by_samples(layer, b, rank, generator):
    with pytest.raises(Undecided, match=f"rank {rank} but {len(b)} rows.*is_orthogonal") as refusal:
        factorise(*layer, (1.0, 0.0))
    assert (refusal.value.rank, refusal.value.units) == (rank, len(b))
    assert defects(layer, (1.0, 0.0)).max() > 0.5  # were all patterns to occur
    x = torch.randn(100, 3, generator=generator, dtype=torch.float64)
    assert is_orthogonal(module_of(layer, (1.0, 0.0), b), x)


def test_the_rank_does_not_depend_on_the_lengths_of_the_rows():
    U, V, R, _ = factors(5, 2)
    scale = torch.tensor([1e-9, 1e9], dtype=torch.float64)
    factorise(*compose(U, V, R, (1.0, 0.0), scale), (1.0, 0.0))


def test_factorise_names_bad_values():
    A, B, C = compose(*factors(5, 2)[:3], (1.0, 0.0))

    def refused(message, *arguments):
        with pytest.raises(ValueError, match=message):
            factorise(*arguments)

    relu = (1.0, 0.0)
    refused(r"got A \(4, 5\), B \(5, 2\), C \(2, 5\)", A[:4], B, C, relu)
    refused(r"shapes \(n, n\), \(n, m\) and \(m, n\).*C \(5, 2\)", A, B, C.mT, relu)
    refused(r"n ≥ 1; got A \(0, 0\)", A[:0, :0], B[:0], C[:, :0], relu)
    refused("A, B, C must be matrices of one dtype", A, B, C.float(), relu)
    refused(r"float32 or float64; got A \(5, 5\) of torch\.int64", A.long(), B.long(), C.long(), relu)
    refused(r"must be matrices.*B \(5,\) of", A, B[:, 0], C, relu)
    refused("B must be finite, but holds -inf", A, B - float("inf"), C, relu)
    refused(r"distinct finite numbers, at least one, got \(\)", A, B, C, ())
    refused("distinct finite numbers", A, B, C, (1.0, 0.0, 1.0))
    refused("distinct finite numbers", A, B, C, (1.0, float("nan")))
    refused("distinct finite numbers, at least one, got 1", A, B, C, 1)
    refused(r"distinct finite numbers.*got \(1\.0, 'a'\)", A, B, C, (1.0, "a"))
    refused("B must be a tensor, got list", A, B.tolist(), C, relu)
    refused("too close for torch.float64", A, B, C, (1.0, 1.0 + 1e-15))
    idle = torch.tensor([1.0, 0.0], dtype=torch.float64)
    refused(r"units \[1\] contribute nothing.*leave out these columns of B and rows of C", A, B * idle, C, relu)
    refused(r"units \[0\] contribute nothing", A, B, C * (1 - idle).unsqueeze(-1), relu)


@given(st.integers(1, 16), st.data(), st.sampled_from(SLOPES), st.floats(0, 3))
def test_what_compose_accepts_factorise_finds(n, data, slopes, size):
    """A factor that is not quite orthogonal, as after training, is refused by compose or found by factorise."""
    m = data.draw(st.integers(1, n))
    U, V, R, _ = factors(n, m, data.draw(st.integers(0, 1000)), torch.float32)
    U[0, 0] += size * n * torch.finfo(torch.float32).eps
    try:
        layer = compose(U, V, R, slopes)
    except ValueError:
        assume(False)
    factorise(*layer, slopes)


def test_precision_does_not_depend_on_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer = compose(*factors(8, 4, dtype=torch.float32)[:3], (1.0, 0.0))
        factorise(*layer, (1.0, 0.0))
        assert is_orthogonal(module_of(layer, (1.0, 0.0), torch.zeros(4)), torch.ones(1, 8))


# --- the certificate ---


def test_certificate_of_a_layer_counts_all_its_regions(precision, generator):
    slopes = (1.0, 0.2)
    layer = compose(*factors(6, 3, dtype=precision.dtype)[:3], slopes)
    x = torch.randn(200, 6, generator=generator).to(precision.dtype)
    certificate = is_orthogonal(module_of(layer, slopes, torch.zeros(3, dtype=precision.dtype)), x)
    assert certificate
    assert certificate.deviation <= precision.layer
    assert (certificate.regions, certificate.inputs, certificate.shape) == (2**3, 200, (6, 6))
    assert str(certificate).startswith("orthogonal at all 200 inputs, in 8 regions: largest |σ − 1| = ")


def test_certificate_finds_a_layer_bent_by_a_millionth(generator):
    A, B, C = compose(*factors(6, 3)[:3], (1.0, 0.0))
    x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    bent = module_of(Layer(A, B * (1 + MILLIONTH), C), (1.0, 0.0), torch.zeros(3))
    assert not is_orthogonal(bent, x)
    assert is_orthogonal(bent, x, tolerance=1e-5)


def test_quadrants_are_four_regions_and_a_linear_map_is_one():
    x = torch.tensor([[1.0, 2.0], [-1.0, 2.0], [-3.0, -1.0], [2.0, -1.0], [5.0, 1.0]])
    assert is_orthogonal(torch.abs, x).regions == 4
    assert is_orthogonal(lambda x: 1e-9 * x.abs(), x).regions == 4
    assert is_orthogonal(torch.nn.Identity(), x).regions == 1
    alone = str(is_orthogonal(torch.abs, x[:1].double()))
    assert alone == "orthogonal at the one input, in one region: largest |σ − 1| = 0.0e+00 (tolerance 2.0e-14)"


def test_worst_input_is_named():
    x = torch.tensor([[1.0], [2.0], [-1.0], [3.0]], dtype=torch.float64)
    certificate = is_orthogonal(torch.nn.LeakyReLU(0.25), x)
    expected = Certificate(
        orthogonal=False, deviation=0.75, worst=2, regions=2, inputs=4, shape=(1, 1), tolerance=certificate.tolerance
    )
    assert certificate == expected
    assert str(certificate) == "not orthogonal: largest |σ − 1| = 7.5e-01, at input 2 of 4 (tolerance 1.4e-14)"


def test_relu_network_is_not_orthogonal(generator):
    layers = [torch.nn.Linear(8, 8), torch.nn.ReLU(inplace=True)]
    torch.nn.init.orthogonal_(layers[0].weight, generator=generator)
    certificate = is_orthogonal(torch.nn.Sequential(*layers), torch.randn(20, 8, generator=generator))
    assert not certificate
    assert certificate.deviation == pytest.approx(1)  # an inactive unit takes a direction away


def test_rectangular_maps_are_isometric_or_coisometric(generator):
    x = torch.randn(50, 4, generator=generator)
    widening = is_orthogonal(lambda x: torch.cat((x.relu(), (-x).relu()), dim=-1), x)
    assert widening
    assert widening.shape == (8, 4)
    assert str(widening).startswith("isometric at all 50 inputs, in ")
    narrowing = is_orthogonal(lambda x: x @ haar(4, 2, generator=torch.Generator().manual_seed(0)), x)
    assert narrowing
    assert str(narrowing).startswith("coisometric at all 50 inputs, in one region")
    projecting = is_orthogonal(lambda x: x * torch.tensor([1.0, 0.0, 1.0, 1.0]), x)
    assert projecting.deviation == 1


def test_zigzag_in_one_dimension_needs_no_axis_of_features():
    x = torch.linspace(-1, 2, 30)
    certificate = is_orthogonal(lambda x: x - 2 * x.relu() + 2 * (x - 1).relu(), x)
    assert certificate
    assert certificate.regions == 2  # three pieces, but two slopes


def test_images_keep_their_axes():
    assert is_orthogonal(torch.nn.PixelUnshuffle(2), torch.ones(3, 1, 4, 4)).shape == (16, 16)


class Witness(torch.nn.Module):
    """An orthogonal layer that works in place and remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3).requires_grad_(False)
        torch.nn.init.orthogonal_(self.linear.weight)
        self.calls = []

    def forward(self, x):
        self.calls.append((x.shape, self.training))
        return self.linear(x.neg_())


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_certificate_leaves_everything_as_it_is(training):
    module = Witness().train(training)
    module.linear.weight.grad = torch.ones(3, 3)
    x = torch.ones(2, 3)
    assert is_orthogonal(module, x)
    assert module.calls == [((1, 3), training)] * 2
    assert torch.equal(module.linear.weight.grad, torch.ones(3, 3))
    assert torch.equal(x, torch.ones(2, 3))
    assert not x.requires_grad


def cut_off(x):
    with torch.no_grad():
        return x.abs()


@pytest.mark.parametrize(
    "module",
    [
        torch.zeros_like,
        torch.detach,
        cut_off,
        lambda x: x.argmax(dim=1),
        lambda x: torch.nn.Linear(3, 3)(x.detach()),  # has a gradient, but not from its input
    ],
)
def test_where_nothing_is_differentiated_nothing_is_certified(module):
    with pytest.raises(ValueError, match="does not depend differentiably on its input"):
        is_orthogonal(module, torch.ones(2, 3))


def test_a_region_where_the_output_is_constant_deviates_by_one():
    certificate = is_orthogonal(torch.relu, -torch.ones(2, 3))
    assert not certificate
    assert certificate.deviation == 1
    assert certificate.regions == 1


def test_the_certificate_works_in_inference_mode():
    with torch.inference_mode():
        assert is_orthogonal(torch.abs, torch.ones(2, 3))


@pytest.mark.parametrize("size", [16, 256])
def test_the_default_tolerance_is_a_small_multiple_of_rounding(size, precision, generator):
    """A hundred orthogonal layers pass, one that is off by a thousandth does not, whatever the size."""
    weights = haar(10, size, size, generator=generator, dtype=precision.dtype)  # ten, each ten times

    def deep(x):
        for weight in 10 * list(weights):
            x = x @ weight.mT
        return x

    x = torch.ones(1, size, dtype=precision.dtype)
    assert is_orthogonal(deep, x)
    assert not is_orthogonal(lambda x: 1.001 * x @ weights[0].mT, x)


def test_certificate_names_bad_values():
    def refused(message, module, x, **options):
        with pytest.raises(ValueError, match=message):
            is_orthogonal(module, x, **options)

    x = torch.ones(2, 3)
    refused(r"batch in float32 or float64, got shape \(0, 3\)", torch.abs, x[:0])
    refused("batch in float32 or float64.*of torch.bfloat16", torch.abs, x.bfloat16())
    refused("inputs must be a tensor, got ndarray; torch.from_numpy", torch.abs, x.numpy())
    refused(r"got shape \(\) of torch.float32", torch.abs, torch.tensor(1.0))
    refused("torch.int64", torch.abs, x.long())
    refused("inputs must be finite", torch.abs, x / 0)
    refused("the Jacobian at input 1 is not finite", torch.sqrt, torch.tensor([[1.0], [0.0]]))
    refused("must return one tensor, got tuple", lambda x: (x, x), x)
    refused("tolerance must be a positive finite number, got -1", torch.abs, x, tolerance=-1)
