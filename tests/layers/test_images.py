"""Convolutions against dense matrices, Fourier blocks and torch's own modules; layers on images against dense ones."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import EXACT_IMAGES, deviation, network, scatter_
from tolerances import PRECISIONS
from torch import nn
from torch.nn import functional

import orthobook as ob
from orthobook.data import Dataset, Split
from orthobook.layers import images
from orthobook.layers.base import block
from orthobook.layers.images import adjoint_kernel, convolve, orthogonal_kernel
from orthobook.orthogonal import haar

FLOAT64 = {"dtype": torch.float64}


def factors(channels, generator, *stack, dtype=torch.float64):
    rotation = haar(*stack, channels, channels, generator=generator, dtype=dtype)
    return rotation, haar(*stack, 4, channels, channels // 2, generator=generator, dtype=dtype)


def kernel_matrix(kernel, height, width, padding):
    """Return the convolution as a matrix, column by column, on maps (height, width, channels) in a row."""
    channels = kernel.shape[1]
    maps = torch.eye(height * width * channels, dtype=kernel.dtype).reshape(-1, height, width, channels)
    return convolve(maps, kernel, padding).flatten(1).mT


def identity(matrix):
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype)


@given(st.integers(1, 4), st.integers(2, 5), st.integers(2, 5), st.integers(0, 1000))
def test_every_kernel_of_the_construction_is_orthogonal(half, height, width, seed):
    kernel = orthogonal_kernel(*factors(2 * half, torch.Generator().manual_seed(seed)))
    K = kernel_matrix(kernel, height, width, "circular")
    assert (K.mT @ K - identity(K)).abs().max() <= PRECISIONS[torch.float64].layer


def test_kernel_is_the_product_of_its_factors(generator):
    """Each factor P + QE applied on its own, with rolls in place of E."""
    rotation, frames = factors(6, generator)
    x = torch.randn(3, 5, 7, 6, generator=generator, **FLOAT64)
    y = x
    for index, (axis, step) in reversed(list(enumerate([(1, 1), (1, -1), (2, 1), (2, -1)]))):
        P = frames[index] @ frames[index].mT
        moved = y.roll(-step, dims=axis)  # E reads the place ``step`` further on
        y = y @ P.mT + (moved - moved @ P.mT)
    expected = y @ rotation.mT
    torch.testing.assert_close(convolve(x, orthogonal_kernel(rotation, frames), "circular"), expected)


def test_fourier_blocks_of_a_large_map_are_unitary(generator):
    """A circular convolution is block diagonal in the Fourier basis; its singular values are those of the blocks."""
    kernel = orthogonal_kernel(*factors(8, generator))
    blocks = torch.fft.fft2(kernel, s=(64, 64)).movedim((0, 1), (-2, -1))
    assert (torch.linalg.svdvals(blocks) - 1).abs().max() <= PRECISIONS[torch.float64].layer


def test_kernels_of_a_stack_are_those_of_its_layers(generator):
    rotation, frames = factors(4, generator, 5)
    whole = orthogonal_kernel(rotation, frames)
    assert whole.shape == (5, 4, 4, 3, 3)
    for layer in range(5):
        torch.testing.assert_close(whole[layer], orthogonal_kernel(rotation[layer], frames[layer]))


def test_kernels_are_built_in_full_precision_whatever_the_caller_uses(generator):
    rotation, frames = factors(8, generator, dtype=torch.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            kernel = orthogonal_kernel(rotation, frames)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(kernel, orthogonal_kernel(rotation, frames))


@pytest.mark.parametrize("padding", images.PADDINGS)
def test_the_start_is_delta_orthogonal_and_exact_with_any_padding(padding, generator, precision):
    net = network("conv-shifted-fold", depth=2, dtype=precision.dtype, width=6, padding=padding)
    for layer in net.layers():
        kernel = layer["weight"].detach()
        centre = kernel[..., 1, 1].clone()
        assert (centre.mT @ centre - identity(centre)).abs().max() <= precision.layer
        kernel[..., 1, 1] = 0
        assert kernel.abs().max() <= precision.layer
    for layer in net.layers():
        K = kernel_matrix(layer["weight"].detach(), 4, 5, padding)
        assert (K.mT @ K - identity(K)).abs().max() <= precision.layer


def test_other_kernels_are_not_orthogonal(generator):
    """Zero padding with a kernel that is not all centre; frames that are no frames; an orthogonal flattened kernel."""
    rotation, frames = factors(6, generator)
    flattened = nn.init.orthogonal_(torch.empty(6, 6, 3, 3, **FLOAT64), generator=generator)
    for kernel, padding in (
        (orthogonal_kernel(rotation, frames), "zeros"),
        (orthogonal_kernel(rotation, 1.01 * frames), "circular"),
        (orthogonal_kernel(1.01 * rotation, frames), "circular"),
        (flattened, "circular"),
    ):
        K = kernel_matrix(kernel, 5, 5, padding)
        assert (K.mT @ K - identity(K)).abs().max() > 1e-3


@pytest.mark.parametrize("padding", images.PADDINGS)
def test_the_adjoint_kernel_is_the_transposed_matrix(padding, generator):
    kernel = torch.randn(4, 6, 3, 3, generator=generator, **FLOAT64)
    K = kernel_matrix(kernel, 3, 5, padding)
    torch.testing.assert_close(kernel_matrix(adjoint_kernel(kernel), 3, 5, padding), K.mT)


@pytest.mark.parametrize("padding", images.PADDINGS)
def test_convolve_is_torchs_layer(padding, generator):
    layer = nn.Conv2d(4, 6, 3, padding=1, padding_mode=padding, **FLOAT64)
    x = torch.randn(2, 5, 7, 4, generator=generator, **FLOAT64)
    expected = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(convolve(x, layer.weight, padding, layer.bias), expected)


@pytest.mark.parametrize("architecture", ["shifted-fold", "partial-fold", "maxmin", "modified-residual"])
def test_on_a_single_place_a_layer_is_its_dense_one(architecture, generator):
    """On maps of 1×1 a convolution with circular padding is the sum of its taps: a dense orthogonal matrix."""
    net = scatter_(network(f"conv-{architecture}", depth=1, width=8, inputs=(1, 1)), generator)
    (layer,) = ({name: value.detach() for name, value in layer.items()} for layer in net.layers())
    kernel, bias = layer["weight"].sum((-2, -1)), layer["bias"]
    dense = block(architecture, **({"folds": 8} if architecture == "modified-residual" else {})).resolve(1, 8)
    names = {"frame": kernel.mT} if architecture == "modified-residual" else {"weight": kernel}
    x = 3 * torch.randn(20, 8, generator=generator, **FLOAT64)
    expected = dense.forward(x, bias=bias, **names)
    torch.testing.assert_close(net.block.forward(x.reshape(20, 1, 1, 8), **layer).reshape(20, 8), expected)


def test_embedding_is_space_to_depth_and_a_map_of_the_channels(generator):
    net = network("conv-shifted-fold", width=6, inputs=(3, 8, 12), downsampling=2)
    x = torch.randn(2, 3 * 8 * 12, generator=generator, **FLOAT64)
    images = x.reshape(2, 3, 8, 12)
    state = net.embed(x)
    assert state.shape == (2, 2, 3, 6)
    assert (net.width, net.state_shape, net.inputs) == (6, (2, 3, 6), 288)
    assert torch.equal(net.embed(images), state)
    for row, column in ((0, 0), (1, 2)):
        patch = images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten(1)
        torch.testing.assert_close(state[:, row, column], functional.linear(patch, net.embedding.weight))


def test_no_image_has_no_state():
    net = network("conv-shifted-fold", width=6, inputs=(3, 8, 12), downsampling=2)
    assert net.embed(torch.zeros(0, 288, dtype=torch.float64)).shape == (0, 2, 3, 6)


@pytest.mark.parametrize(("channels", "downsampling"), [(4, 2), (16, 2), (32, 1)])
def test_embedding_gives_coordinates_of_mean_square_one(channels, downsampling, generator):
    net = ob.build("conv-shifted-fold", depth=1, width=channels, inputs=(8, 8), downsampling=downsampling, classes=2)
    x = torch.randn(2_000, 64, generator=generator)
    assert net.embed(x).square().mean().item() == pytest.approx(1, rel=0.05)


def stripes(number, seed):
    """Return 8×8 images of horizontal, vertical and diagonal stripes with noise, at random phases."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    i, j = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    directions = torch.stack((i, j, i + j))[labels]
    phases = 2 * math.pi * torch.rand(number, 1, 1, generator=generator)
    images = math.sqrt(2) * torch.sin(directions * math.pi / 2 + phases)
    return Split((images + 0.3 * torch.randn(images.shape, generator=generator)).flatten(1), labels)


@pytest.fixture(scope="module")
def data():
    return Dataset("stripes", stripes(600, 0), stripes(300, 1), classes=("a", "b", "c"), image_shape=(8, 8))


def trained(architecture, data, mode, steps, **options):
    net = ob.build(
        architecture, depth=10, width=8, inputs=data.image_shape, downsampling=0, classes=3, device="cpu", **options
    )
    config = ob.TrainingConfig(mode=mode, steps=steps, batch_size=32, learning_rate=1e-2)
    return net, list(ob.train(net, data, config, progress=False))


THRESHOLDS = {name: {"threshold": 0.5} for name in EXACT_IMAGES if name != "conv-maxmin"}


@pytest.mark.parametrize("architecture", EXACT_IMAGES)
def test_the_isometry_survives_constrained_training(architecture, data):
    """200 steps in float32, exact Jacobian of 512 coordinates; and the same network free loses it."""
    net, history = trained(architecture, data, "constrained", steps=200, **THRESHOLDS.get(architecture, {}))
    values = ob.singular_values(net, data.test.images[:2])
    assert (values - 1).abs().max() <= PRECISIONS[torch.float32].convolution
    kernels = next(net.layers())["weight"].detach()
    assert kernels[..., 0, 1].abs().max() > 1e-3  # it has moved away from the kernel that is all centre
    assert history[-1].loss < history[0].loss
    assert ob.evaluate(net, data.test).accuracy > 0.9  # chance is 1/3


@pytest.mark.parametrize("mode", ["free", "penalised"])
def test_other_modes_train_and_lose_the_isometry(mode, data):
    net, _ = trained("conv-shifted-fold", data, mode, steps=100, threshold=0.5)
    assert ob.evaluate(net, data.test).accuracy > 0.9
    assert (ob.singular_values(net, data.test.images[:2]) - 1).abs().max() > 1e-3


def test_zero_padding_does_not_keep_the_isometry_and_does_not_claim_it(data):
    net, _ = trained("conv-shifted-fold", data, "constrained", steps=20, padding="zeros")
    assert not net.block.isometric
    assert net.orthogonality_error() <= PRECISIONS[torch.float32].layer
    assert (ob.singular_values(net, data.test.images[:2]) - 1).abs().max() > 1e-2


def test_exact_on_colour_images_that_are_halved(generator):
    net = network("conv-modified-residual", depth=4, width=4, inputs=(3, 8, 12), downsampling=1, threshold=0.0)
    assert deviation(net, generator) <= PRECISIONS[torch.float64].convolution


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 7}, "the number of channels, width, must be even.*got 7"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"width": 8.0}, "width must be a whole number of at least 1, got 8.0"),
        ({"inputs": (28, 30)}, "the image's width must be a multiple of 4 to be halved 2 times, got 30"),
        ({"inputs": (7, 28), "downsampling": 1}, "height must be a multiple of 2 to be halved 1 times, got 7"),
        ({"inputs": 784}, r"need inputs=\(height, width\) or \(colours, height, width\), got 784"),
        ({"inputs": (1, 3, 28, 28)}, r"need inputs=\(height, width\) or .*, got \(1, 3, 28, 28\)"),
        ({"inputs": (28, 0)}, "each size in inputs must be a whole number of at least 1, got 0"),
        ({"inputs": ()}, "inputs must be a length or a shape, got an empty one"),
        ({"downsampling": -1}, "downsampling must be a whole number of at least 0, got -1"),
        ({"padding": "reflect"}, "unknown padding 'reflect'; allowed: circular, zeros"),
        ({"threshold": math.nan}, "threshold must be a finite number, got nan"),
        ({"kernel": 5}, "conv-modified-residual has no option 'kernel'; allowed: downsampling, padding"),
        ({"channels": 16}, "conv-modified-residual has no option 'channels'; allowed: downsampling, padding"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ob.build("conv-modified-residual", depth=2, classes=3, **{"width": 16, "inputs": (28, 28), **options})


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 4, 2)), ((4, 4), (3, 4, 2)), ((3, 3), (4, 3, 1)), ((2, 4, 4), (4, 4, 2))]
)
def test_factors_that_do_not_fit_are_named(shapes):
    with pytest.raises(ValueError, match=re.escape(f"got {shapes[0]} and {shapes[1]}")):
        orthogonal_kernel(*map(torch.ones, shapes))


def test_an_unknown_padding_is_not_taken_for_zeros():
    with pytest.raises(ValueError, match="unknown padding 'Circular'; allowed: circular, zeros"):
        convolve(torch.ones(1, 3, 3, 2), torch.ones(2, 2, 3, 3), "Circular")


def test_bad_numbers_of_folds_and_branches_are_named():
    with pytest.raises(ValueError, match="folds must be a whole number from 0 to the width 16, got 17"):
        ob.build("conv-partial-fold", depth=2, width=16, inputs=(28, 28), classes=3, folds=17)
    with pytest.raises(ValueError, match="branch_scale must be a finite number, got inf"):
        ob.build("conv-residual", depth=2, width=16, inputs=(28, 28), classes=3, branch_scale=math.inf)


def test_dense_layers_read_the_entries_of_an_image_in_a_row(generator):
    row, image = (
        ob.build("shifted-fold", depth=2, width=4, inputs=inputs, classes=3, device="cpu") for inputs in (12, (3, 2, 2))
    )
    x = torch.randn(5, 3, 2, 2, generator=generator)
    assert torch.equal(image(x), row(x.flatten(1)))
    with pytest.raises(ValueError, match="inputs must be a whole number of at least 1, got None"):
        ob.build("shifted-fold", depth=2, width=4, inputs=None, classes=3)
