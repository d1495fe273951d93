"""The fast layers compute what torch's plain ones do: they are the oracle, in float64."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from hypnograph.unet_layers import (  # noqa: E402
    Block,
    Convolution,
    convolve,
    convolve_repeated,
    normalised,
    pooled,
    side_by_side,
    tanh_means,
)


def maps(n_windows: int, n_maps: int, length: int):
    torch.manual_seed(n_maps * length)
    return side_by_side(torch.randn(n_windows, n_maps, length))


def derived(function, weights, *inputs):
    """Return a function's output, and the gradients of its inputs for a weighted sum of the output."""
    inputs = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
    y = function(*inputs)
    (y * weights.to(y.dtype)).sum().backward()
    return [y.detach(), *(x.grad for x in inputs)]


def same(ours, theirs, *inputs) -> None:
    """Compare output and gradients of two functions, ours in float32, theirs in float64."""
    wide = [x.double() for x in inputs]
    weights = torch.randn_like(theirs(*wide))
    for found, expected in zip(derived(ours, weights, *inputs), derived(theirs, weights, *wide), strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double() / scale, expected / scale, rtol=0, atol=2e-6)


def plain(x, weight, bias=None, *, dilation: int = 1):
    """Convolve as TensorFlow's "same" does: the extra sample of an even kernel is on the right."""
    surplus = (weight.shape[-1] - 1) * dilation
    padded = F.pad(x.squeeze(2), (surplus // 2, surplus - surplus // 2))
    return F.conv1d(padded, weight, bias, dilation=dilation).unsqueeze(2)


@pytest.mark.parametrize("length", [64, 66, 33])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize(
    ("n_in", "n_out", "kernel"),
    [(2, 6, 9), (6, 6, 9), (9, 11, 9), (3, 8, 5), (3, 8, 7), (6, 5, 1), (3, 4, 2), (9, 12, 4)],
)
def test_a_convolution_is_torchs(n_in: int, n_out: int, kernel: int, dilation: int, length: int) -> None:
    """Few maps are convolved two samples at a time where the length is even, and kernels of 1 as products."""
    weight, bias = torch.randn(n_out, n_in, kernel), torch.randn(n_out)
    for given in ((weight, bias), (weight,)):
        same(
            lambda x, w, b=None: convolve(x, w, b, dilation=dilation),
            lambda x, w, b=None: plain(x, w, b, dilation=dilation),
            maps(3, n_in, length),
            *given,
        )


@pytest.mark.parametrize("n_windows", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "factor"), [(2, 2), (5, 2), (5, 3), (1, 2), (10, 10), (8, 8), (6, 6), (4, 4), (9, 2), (3, 7)]
)
def test_repeated_samples_are_convolved_without_repeating_them(kernel: int, factor: int, n_windows: int) -> None:
    weight, bias = torch.randn(4, 3, kernel), torch.randn(4)
    for given in ((weight, bias), (weight,)):
        same(
            lambda x, w, b=None: convolve_repeated(x, w, b, factor),
            lambda x, w, b=None: plain(x.repeat_interleave(factor, dim=-1), w, b),
            maps(n_windows, 3, 12),
            *given,
        )


def test_a_block_convolves_activates_and_normalises() -> None:
    block = Block(3, 4, 5, dilation=2, activation="relu", eps=0.1, momentum=0.2).eval()
    nn.init.uniform_(block.norm.running_mean, -1, 1)
    x = maps(2, 3, 20)
    by_hand = block.norm(torch.relu(plain(x, block.conv.weight, block.conv.bias, dilation=2)))
    torch.testing.assert_close(block(x), by_hand)
    undilated = Block(3, 4, 5).eval()
    by_hand = F.elu(plain(x.repeat_interleave(3, dim=-1), undilated.conv.weight, undilated.conv.bias))
    torch.testing.assert_close(undilated.lengthen(x, 3), undilated.norm(by_hand))


def test_a_convolution_gives_maps_that_lie_side_by_side() -> None:
    layer = Convolution(2, 6, 9, padding=4)
    assert layer(maps(2, 2, 64)).is_contiguous(memory_format=torch.channels_last)
    assert Convolution(6, 6, 1)(maps(2, 6, 64)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("n_maps", "length"), [(6, 640), (11, 64), (302, 5), (7, 33)])
@pytest.mark.parametrize("activation", ["elu", "relu"])
@pytest.mark.parametrize("training", [True, False])
def test_activation_and_batch_norm_are_torchs(n_maps: int, length: int, activation: str, training: bool) -> None:
    """Forwards, backwards, and the running statistics."""
    theirs = nn.BatchNorm2d(n_maps, eps=1e-3, momentum=0.1).double().train(training)
    for values in (theirs.weight, theirs.running_var):
        nn.init.uniform_(values, 0.5, 2)
    for values in (theirs.bias, theirs.running_mean):
        nn.init.uniform_(values, -1, 1)
    ours = nn.BatchNorm2d(n_maps, eps=1e-3, momentum=0.1).train(training)
    ours.load_state_dict(theirs.state_dict())
    x = 3 * maps(3, n_maps, length) + 5
    weights = torch.randn_like(x)
    found = derived(lambda x: normalised(x * 1.0, ours, activation), weights, x)
    expected = derived(lambda x: theirs(getattr(F, activation)(x)), weights, x.double())
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad.double(), theirs.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.bias.grad.double(), theirs.bias.grad, rtol=1e-4, atol=1e-3)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name].to(value.dtype), value, rtol=1e-5, atol=1e-5)


def test_other_norms_are_left_to_themselves() -> None:
    """Of half precision, of several processes, of no momentum: whatever the norm is, it is called."""
    x = maps(2, 4, 32)
    for norm in (nn.Identity(), nn.BatchNorm2d(4, momentum=None), nn.BatchNorm2d(4).to(torch.bfloat16)):
        given = x.to(torch.bfloat16) if isinstance(norm, nn.BatchNorm2d) and norm.weight.dtype != x.dtype else x
        torch.testing.assert_close(normalised(given.clone(), norm), norm(F.elu(given)))


@pytest.mark.parametrize(("n_maps", "length", "size"), [(6, 64, 2), (11, 34, 2), (40, 2, 2), (6, 65, 2), (5, 34, 3)])
def test_maps_are_pooled_as_torch_does(n_maps: int, length: int, size: int) -> None:
    same(lambda x: pooled(x, size), lambda x: F.max_pool2d(x, (1, size)), maps(3, n_maps, length))


def test_of_two_equal_samples_the_first_is_the_larger_as_in_max_pooling() -> None:
    same(lambda x: pooled(x, 2), lambda x: F.max_pool2d(x, (1, 2)), maps(1, 3, 8).round())


@pytest.mark.parametrize(("size", "n_means", "length"), [(5, 7, 36), (5, 7, 35), (1, 36, 36), (36, 1, 40)])
def test_means_of_tanh_leave_out_what_is_beyond_the_last(size: int, n_means: int, length: int) -> None:
    same(
        lambda x: tanh_means(x * 1.0, size, n_means),
        lambda x: F.avg_pool1d(torch.tanh(x.squeeze(2)[..., : size * n_means]), size),
        maps(3, 6, length),
    )


def test_maps_of_other_layouts_are_computed_by_torchs_own() -> None:
    x = torch.randn(2, 6, 1, 64)
    assert not x.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, 6, 9)
    torch.testing.assert_close(convolve(x, weight, None), F.conv2d(x, weight.unsqueeze(2), padding=(0, 4)))
    torch.testing.assert_close(pooled(x, 2), F.max_pool2d(x, (1, 2)))
    torch.testing.assert_close(tanh_means(x, 8, 7), torch.tanh(x[:, :, 0, :56]).reshape(2, 6, 7, 8).mean(-1))
