"""The theorem's construction: J is orthogonal for every sign pattern, and for no broken ingredient."""

import itertools

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from orthobook.framework import complement, compose
from orthobook.orthogonal import haar


def factors(n, m, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return haar(*shape, generator=generator, dtype=torch.float64)

    scale = 0.5 + torch.rand(m, generator=generator, dtype=torch.float64)
    return draw(n, m), draw(n, m), draw(n - m, n - m), scale


def jacobians(layer, slopes):
    """Return J for every pattern of slopes, (2^m, n, n)."""
    patterns = torch.tensor(list(itertools.product(slopes, repeat=layer.C.shape[0])), dtype=torch.float64)
    return layer.A + (layer.B * patterns.unsqueeze(-2)) @ layer.C


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
    with pytest.raises(ValueError, match=r"two distinct finite numbers, got \(1.0, 1.0\)"):
        compose(U, V, R, (1.0, 1.0))
    with pytest.raises(ValueError, match="two distinct finite numbers"):
        compose(U, V, R, (1.0, float("inf")))
    with pytest.raises(ValueError, match="two distinct finite numbers"):
        compose(U, V, R, (1.0, 0.0, -1.0))
    with pytest.raises(ValueError, match=r"one dtype, got torch\.float32, torch\.float64"):
        compose(U.float(), V, R, (1.0, 0.0))
    with pytest.raises(ValueError, match="scale must be 2 positive numbers"):
        compose(U, V, R, (1.0, 0.0), scale * float("inf"))
    with pytest.raises(ValueError, match="scale must be 2 positive numbers"):
        compose(U, V, R, (1.0, 0.0), -scale)


def test_complement_completes_a_frame(float64):
    _, V, _, _ = factors(7, 3)
    whole = torch.cat((V, complement(V)), dim=1)
    assert (whole.mT @ whole - torch.eye(7)).abs().max() <= float64.layer
