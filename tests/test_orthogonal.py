"""Sampling and retraction against closed forms: moments of the Haar measure, and the polar factor by construction."""

import math
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PRECISIONS

from orthobook import orthogonal
from orthobook.orthogonal import full_precision, haar, orthogonality_error, orthogonality_penalty, polar, retract

DTYPES = (torch.float32, torch.float64)
ROUNDING = {dtype: precision.layer for dtype, precision in PRECISIONS.items()}


@st.composite
def stiefel_shapes(draw):
    columns = draw(st.integers(1, 24))
    return draw(st.integers(1, 5)), columns + draw(st.integers(0, 24)), columns


@given(stiefel_shapes(), st.sampled_from(DTYPES))
def test_haar_has_orthonormal_columns(shape, dtype):
    stack = haar(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    assert stack.shape == shape
    assert stack.dtype == dtype
    assert orthogonality_error(stack).max() <= ROUNDING[dtype]


def test_haar_moments(generator):
    """Under the Haar measure on O(n), E tr Q = 0 and E (tr Q)² = 1; QR without the signs gives E tr Q ≠ 0."""
    draws, n = 20_000, 8
    traces = haar(draws, n, n, generator=generator).diagonal(dim1=-2, dim2=-1).sum(-1)
    standard_error = 1 / math.sqrt(draws)
    assert abs(traces.mean()) <= 4 * standard_error
    assert abs(traces.square().mean() - 1) <= 4 * math.sqrt(2) * standard_error
    unsigned = torch.linalg.qr(torch.randn(draws, n, n, generator=generator)).Q
    assert abs(unsigned.diagonal(dim1=-2, dim2=-1).sum(-1).mean()) > 20 * standard_error


def test_haar_draws_reflections_and_rotations_alike(generator):
    determinants = torch.linalg.det(haar(4_000, 5, 5, generator=generator))
    assert abs(determinants.mean()) <= 4 / math.sqrt(4_000)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (2, -1, -1)])
def test_haar_rejects_shapes_that_are_no_stiefel_manifold(shape):
    with pytest.raises(ValueError, match=r"haar needs a shape .* got \("):
        haar(*shape)


def test_error_and_penalty_have_closed_forms(precision):
    """For V = aQ: VᵀV − I = (a² − 1) I, of Frobenius norm |a² − 1| √m."""
    stack = 1.1 * haar(4, 9, 6, dtype=precision.dtype)
    expected = (1.1**2 - 1) * math.sqrt(6)
    torch.testing.assert_close(orthogonality_error(stack), torch.full((4,), expected, dtype=precision.dtype))
    torch.testing.assert_close(orthogonality_penalty(stack).item(), 4 * expected**2, rtol=1e-5, atol=0)


def test_penalty_pulls_towards_the_manifold(generator):
    """d/da of m (a² − 1)² at V = aQ is 4 m a (a² − 1), along the direction Q."""
    frame = haar(1, 7, 7, generator=generator, dtype=torch.float64)
    stack = (1.2 * frame).requires_grad_()
    orthogonality_penalty(stack).backward()
    assert (stack.grad * frame).sum().item() == pytest.approx(4 * 7 * 1.2 * (1.2**2 - 1))


@given(stiefel_shapes(), st.sampled_from(DTYPES), st.floats(1e-7, 3.0), st.integers(0, 2**31))
def test_retract_finds_the_polar_factor_at_any_distance(shape, dtype, length, seed):
    """V P with P symmetric positive definite has the polar factor V by construction."""
    generator = torch.Generator().manual_seed(seed)
    frame = haar(*shape, generator=generator, dtype=torch.float64)
    basis = haar(shape[0], shape[2], shape[2], generator=generator, dtype=torch.float64)
    stretch = torch.exp(length * (2 * torch.rand(shape[0], 1, shape[2], generator=generator, dtype=torch.float64) - 1))
    stretched = frame @ (basis * stretch) @ basis.mT
    result = retract(stretched.to(dtype))
    assert result.shape == shape
    assert orthogonality_error(result).max() <= ROUNDING[dtype]
    # rounding the input moves the polar factor by at most its size over the smallest singular value
    assert (result.double() - frame).abs().max() <= ROUNDING[dtype] * math.exp(2 * length)


def test_retract_repairs_only_what_is_far(monkeypatch, generator):
    """Only matrices outside the radius of the iteration see the decomposition."""
    stack = haar(6, 10, 10, generator=generator)
    stack[2] *= 3
    seen = []
    monkeypatch.setattr(orthogonal, "polar", lambda far: seen.append(len(far)) or polar(far))
    assert orthogonality_error(retract(stack)).max() <= ROUNDING[torch.float32]
    assert seen == [1]


def test_retract_counts_its_iterations(monkeypatch, generator):
    """A longer step takes more iterations."""
    counts = []
    iterate = torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda *arguments: counts.append(1) or iterate(*arguments))
    stack = haar(5, 16, 16, generator=generator, dtype=torch.float64)
    noise = torch.randn(stack.shape, generator=generator, dtype=torch.float64)
    needed = []
    for size in (1e-7, 1e-3, 5e-2):
        counts.clear()
        retract(stack + size * noise)
        needed.append(len(counts))
    assert needed[0] == 1
    assert needed == sorted(set(needed))


def test_retract_keeps_its_precision_under_autocast_and_fast_products(generator):
    stack = haar(3, 64, 64, generator=generator)
    stack = stack + 1e-3 * torch.randn(stack.shape, generator=generator)
    expected = retract(stack)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (stack @ stack).dtype == torch.bfloat16  # autocast does act here
            result = retract(stack)
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


def test_threads_that_overlap_leave_the_settings_as_they_were():
    """The first thread to come is the first to go, as when a dashboard trains beside a running cell."""
    cpu, settings = torch.device("cpu"), (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32)
    before, entered, leave = [setting() for setting in settings], threading.Event(), threading.Event()

    def second():
        with full_precision(cpu):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=second)
    torch.set_float32_matmul_precision("medium")
    try:
        with full_precision(cpu):
            thread.start()
            entered.wait()
        assert [setting() for setting in settings] == ["highest", False]  # the second is inside still
        leave.set()
        thread.join()
        assert [setting() for setting in settings] == ["medium", before[1]]
    finally:
        leave.set()
        torch.set_float32_matmul_precision(before[0])


def test_retract_does_not_drift(generator):
    """A thousand noisy steps, each repaired, leave no more error than one."""
    stack = haar(2, 12, 12, generator=generator)
    for _ in range(1_000):
        stack = retract(stack + 1e-2 * torch.randn(stack.shape, generator=generator))
    assert orthogonality_error(stack).max() <= ROUNDING[torch.float32]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_retract_refuses_what_is_not_finite(value):
    stack = haar(3, 4, 4)
    stack[1, 2, 3] = value
    with pytest.raises(ValueError, match="not finite"):
        retract(stack)


@pytest.mark.parametrize("function", [retract, orthogonality_error])
@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (1j * torch.eye(2), r"must be torch\.float32 or torch\.float64, got torch\.complex64"),
        (torch.eye(2).half(), r"must be torch\.float32 or torch\.float64, got torch\.float16"),
        (torch.eye(2).long(), r"must be torch\.float32 or torch\.float64, got torch\.int64"),
        (torch.eye(2, device="meta"), r"a tensor \(\.\.\., n, m\), got \(2, 2\) meta"),
        (torch.eye(2).to_sparse(), r"a tensor \(\.\.\., n, m\), got \(2, 2\) torch\.sparse_coo"),
        ([[1.0]], r"a tensor \(\.\.\., n, m\), got list"),
    ],
    ids=str,
)
def test_what_is_no_stack_of_real_matrices_is_refused(function, stack, message):
    with pytest.raises(ValueError, match=message):
        function(stack)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float16, torch.complex64])
def test_haar_draws_in_single_or_double_precision(dtype):
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or torch\.float64, got"):
        haar(2, 2, dtype=dtype)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (4,), ()])
def test_retract_refuses_what_has_no_orthonormal_columns(shape):
    with pytest.raises(ValueError, match=r"\(\.\.\., n, m\).*, got \("):
        retract(torch.ones(shape))


def test_retract_survives_an_overflow_and_keeps_its_neighbours():
    """MᵀM overflows to nan in the second matrix, and the first still needs its own retraction."""
    huge = 1e20 * torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    result = retract(torch.stack([torch.diag(torch.tensor([1.2, 1.0])), huge]))
    assert orthogonality_error(result).max() <= ROUNDING[torch.float32]
    torch.testing.assert_close(result[0], torch.eye(2))


def test_retract_returns_new_memory():
    stack = torch.nn.Parameter(haar(2, 4, 4))
    result = retract(stack)
    result.zero_()
    assert orthogonality_error(stack).max() <= ROUNDING[torch.float32]
    assert not result.requires_grad


def test_retract_takes_empty_stacks_and_single_matrices():
    assert retract(torch.zeros(5, 4, 0)).shape == (5, 4, 0)
    assert retract(torch.zeros(0, 4, 2)).shape == (0, 4, 2)
    torch.testing.assert_close(retract(2 * torch.eye(3)), torch.eye(3))
