"""Activations against autograd and against the closed form of their folds."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from orthobook.layers import activations
from orthobook.layers.activations import Activation, fold_of, leaky_relu, shifted_fold, triangle_wave, two_slopes

EVERY = [
    activations.identity,
    activations.absolute,
    activations.relu,
    activations.tanh,
    leaky_relu(0.1),
    shifted_fold(1.5),
    activations.lowered_absolute(1.5),
    two_slopes(2.0, -0.5),
    triangle_wave(1.7),
    fold_of(leaky_relu(0.3)),
    activations.uneven_fold(0.4, 1.5),
    activations.smooth_fold(0.3, 1.5),
    activations.smooth_fold(0.0, 1.5),
    activations.smooth_relu(0.3),
    activations.gelu,
    activations.silu,
    activations.sine,
    activations.lowered_relu(1.5),
    activations.soft_threshold(0.7),
    activations.hard_tanh(1.2),
]
slope = st.floats(-5, 5).filter(lambda value: abs(value) > 1e-3 or value == 0)


@pytest.mark.parametrize("activation", EVERY, ids=lambda activation: activation.name)
def test_derivative_is_autograds(activation):
    z = torch.linspace(-3, 3, 1_000, dtype=torch.float64, requires_grad=True)  # misses every breakpoint
    (expected,) = torch.autograd.grad(activation(z).sum(), z)
    derivative = activation.derivative(z.detach())
    assert derivative.shape == z.shape
    torch.testing.assert_close(derivative, expected)
    if activation.slopes is not None:
        assert {round(value, 9) for value in derivative.tolist()} == {round(value, 9) for value in activation.slopes}


@given(slope, slope)
def test_every_two_slope_activation_has_the_absolute_value_as_its_fold(right, left):
    assume(abs(right - left) > 1e-3)
    z = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(fold_of(two_slopes(right, left))(z), z.abs(), rtol=0, atol=1e-11)


def test_fold_of_the_shifted_fold_is_itself():
    z = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(fold_of(shifted_fold(1.0))(z), shifted_fold(1.0)(z))


def test_a_bias_makes_the_lowered_absolute_value_a_shifted_fold():
    z = torch.linspace(-4, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(activations.lowered_absolute(1.5)(z + 1.5), shifted_fold(1.5)(z))


@pytest.mark.parametrize("activation", [activations.identity, activations.tanh, two_slopes(0.5, 0.5)])
def test_fold_needs_exactly_two_slopes(activation):
    with pytest.raises(ValueError, match="exactly two slopes, got"):
        fold_of(activation)


def test_slope_at_a_breakpoint_is_the_right_one():
    zero = torch.zeros(1)
    assert activations.absolute.derivative(zero).item() == 1
    assert activations.relu.derivative(zero).item() == 1
    assert shifted_fold(2.0).derivative(zero - 2).item() == 1
    for limit in (-2.0, 2.0):
        assert activations.soft_threshold(2.0).derivative(zero + limit).item() == (limit > 0)
        assert activations.hard_tanh(2.0).derivative(zero + limit).item() == (limit < 0)


@pytest.mark.parametrize("activation", [a for a in EVERY if a.breakpoints is not None], ids=lambda a: a.name)
def test_slopes_change_exactly_at_the_breakpoints(activation):
    z = torch.linspace(-3, 3, 6_000, dtype=torch.float64)
    slopes = activation.derivative(z)
    changes = (slopes.diff().abs() > 1e-9).nonzero().flatten()
    between = [(z[i].item(), z[i + 1].item()) for i in changes.tolist()]
    stated = sorted(activation.breakpoints_within(3.0))
    assert len(stated) == len(between)
    assert all(left <= t <= right for t, (left, right) in zip(stated, between, strict=True))


def test_a_smooth_activation_states_no_breakpoints():
    with pytest.raises(ValueError, match="the activation tanh states no breakpoints"):
        activations.tanh.breakpoints_within(1.0)


@given(st.floats(0.5, 20), st.floats(-50, 50))
def test_triangle_wave_is_the_arcsine_of_a_sine(period, t):
    z = torch.tensor([t], dtype=torch.float64)
    expected = torch.asin(torch.sin(2 * torch.pi * z / period)) * period / (2 * torch.pi)
    # near a crest the arcsine loses half of the digits
    torch.testing.assert_close(triangle_wave(period)(z), expected, rtol=0, atol=1e-6 * period)


@given(st.floats(-5, 5), st.floats(0.1, 3))
def test_clipped_parts_add_up_to_the_whole(t, limit):
    z = torch.tensor([t], dtype=torch.float64)
    soft, hard = activations.soft_threshold(limit), activations.hard_tanh(limit)
    torch.testing.assert_close(soft(z) + hard(z), z)
    assert hard(z).item() == min(max(t, -limit), limit)


@given(st.floats(-8, 8))
def test_smooth_activations_are_their_formulas(t):
    z = torch.tensor([t], dtype=torch.float64)
    normal = (1 + math.erf(t / math.sqrt(2))) / 2
    assert activations.gelu(z).item() == pytest.approx(t * normal, abs=1e-12)
    assert activations.silu(z).item() == pytest.approx(t / (1 + math.exp(-t)), abs=1e-12)
    assert activations.sine(z).item() == pytest.approx(math.sin(t), abs=1e-12)


@given(st.floats(-1e3, 1e3), st.floats(0.1, 5), st.floats(0, 20))
def test_recurring_breakpoints_are_found_wherever_the_stated_one_lies(stated, recurrence, reach):
    activation = Activation("any", torch.abs, torch.sign, breakpoints=(stated,), recurrence=recurrence)
    found = sorted(activation.breakpoints_within(reach))
    assert abs(len(found) - 2 * reach / recurrence) <= 1
    assert all(abs(t) <= reach for t in found)
    assert np.diff(found) == pytest.approx(recurrence)
    turns = (np.array(found) - stated) / recurrence
    assert turns == pytest.approx(turns.round(), abs=1e-9)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_bad_numbers_are_named(bad):
    with pytest.raises(ValueError, match=f"period must be a positive finite number, got {bad}"):
        triangle_wave(bad)
    with pytest.raises(ValueError, match=f"threshold must be a positive finite number, got {bad}"):
        activations.soft_threshold(bad)
    with pytest.raises(ValueError, match=f"limit must be a positive finite number, got {bad}"):
        activations.hard_tanh(bad)
    if not math.isfinite(bad):
        with pytest.raises(ValueError, match=f"left must be a finite number, got {bad}"):
            two_slopes(1, bad)


# --- nearly folds ---


@given(st.floats(1e-6, 10), st.floats(-5, 5), st.sampled_from([torch.float32, torch.float64]))
def test_rounded_activations_are_their_formulas(epsilon, threshold, dtype):
    """Against longer floating-point numbers, where nothing cancels, over nine orders of magnitude."""
    magnitudes = torch.logspace(-4, 5, 60, dtype=dtype)
    t = torch.cat((-magnitudes.flip(0), magnitudes.new_zeros(1), magnitudes))
    exact, eps = t.to(torch.float64).numpy().astype(np.longdouble), torch.finfo(dtype).eps
    root = np.sqrt(exact**2 + np.longdouble(epsilon) ** 2)
    longer = root + np.abs(exact)
    smooth = np.where(exact < 0, np.longdouble(epsilon) ** 2 / longer, longer) / 2
    assert np.abs(activations.smooth_relu(epsilon)(t).numpy() / smooth - 1).max() <= 8 * eps
    assert np.abs(activations.smooth_relu(epsilon).derivative(t).numpy() / (smooth / root) - 1).max() <= 12 * eps
    fold = activations.smooth_fold(epsilon)
    assert np.abs(fold(t).numpy() / root - 1).max() <= 4 * eps
    torch.testing.assert_close(fold.derivative(t), torch.from_numpy((exact / root).astype(float)).to(dtype))
    shifted = activations.smooth_fold(epsilon, threshold)
    torch.testing.assert_close(shifted(t), fold(t + threshold) - threshold)


@pytest.mark.parametrize("size", [1e25, -1e25])
def test_smooth_activations_of_large_arguments_do_not_overflow(size):
    z = torch.tensor([size], dtype=torch.float32, requires_grad=True)  # its square is not a float32
    for activation, value, slope in (
        (activations.smooth_fold(1.0), abs(size), math.copysign(1, size)),
        (activations.smooth_relu(1.0), max(size, 0.0), float(size > 0)),
    ):
        (gradient,) = torch.autograd.grad(activation(z).sum(), z)
        assert activation(z).item() == pytest.approx(value, rel=1e-6, abs=1e-6)
        assert activation.derivative(z).item() == gradient.item() == slope


def test_near_folds_become_folds_to_the_bit():
    z = 3 * torch.randn(1_000, generator=torch.Generator().manual_seed(0))
    for threshold in (0.0, 1.3, -1.3):
        exact = shifted_fold(threshold)
        for near in (activations.smooth_fold(0, threshold), activations.uneven_fold(0, threshold)):
            assert torch.equal(near(z), exact(z))
            assert torch.equal(near.derivative(z), exact.derivative(z))
    assert torch.equal(activations.smooth_relu(0)(z), torch.relu(z))
    for epsilon in (1e-2, 1e-4):  # and continuously: √(t² + ε²) − |t| is at most ε
        gap = activations.smooth_fold(epsilon, 1.3)(z.double()) - shifted_fold(1.3)(z.double())
        assert 0 < gap.max() <= epsilon


@pytest.mark.parametrize(
    ("make", "value", "message"),
    [
        (activations.smooth_fold, -0.1, r"epsilon must be a finite number of at least 0, got -0\.1"),
        (activations.smooth_fold, math.nan, "epsilon must be a finite number of at least 0, got nan"),
        (activations.smooth_relu, math.inf, "epsilon must be a finite number of at least 0, got inf"),
        (activations.uneven_fold, 1, "delta must be a finite number of at least 0 and below 1, got 1"),
        (activations.uneven_fold, -0.1, r"delta must be a finite number of at least 0 and below 1, got -0\.1"),
        (activations.uneven_fold, math.nan, "delta must be a finite number of at least 0 and below 1, got nan"),
    ],
)
def test_bad_distances_from_a_fold_are_named(make, value, message):
    with pytest.raises(ValueError, match=message):
        make(value)
