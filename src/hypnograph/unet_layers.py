"""Layers of U-nets on long signals with few maps, made fast on a CPU.

Maps have the shape (window, map, 1, sample) and lie in memory with all maps of a sample side by side ("channels last"):
convolutions of few maps over long signals then run about twice as fast. What the layers compute is what torch's plain
ones do, to rounding; those are used elsewhere than on a CPU, where a network is compiled, and in an exported graph,
which ONNX Runtime runs fastest with plain one-dimensional operators.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Activation = Literal["elu", "relu"]
_ACTIVATIONS: dict[Activation, Callable[..., Tensor]] = {"elu": F.elu, "relu": F.relu}

# So few maps fill less than half of a processor's vector, and are convolved two samples at a time.
_FEW_MAPS = 8
# Numbers in a row of maps of consecutive samples: long enough for the processor.
_ROW = 192
# Samples whose maps are mixed by one product of matrices.
_POINTS = 2


def side_by_side(signal: Tensor) -> Tensor:
    """Return a signal (window, map, sample) as maps (window, map, 1, sample), laid out as these layers want it."""
    x = signal.unsqueeze(2)
    return x if torch.compiler.is_exporting() else x.contiguous(memory_format=torch.channels_last)


class Block(nn.Module):
    """Convolution that keeps the length, activation, batch normalisation: in that order.

    Parameters
    ----------
    n_in, n_out
        Number of maps.
    kernel
        Samples; of an even kernel, the extra sample is on the right, as in TensorFlow.
    dilation
        Samples from one sample of the kernel to the next.
    activation
        ``"elu"`` or ``"relu"``.
    eps, momentum
        Of the batch norm.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        dilation: int = 1,
        activation: Activation = "elu",
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv = Convolution(n_in, n_out, kernel, dilation=dilation)
        self.norm = nn.BatchNorm2d(n_out, eps=eps, momentum=momentum)
        self.activation: Activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.normalised(self.conv(x))

    def normalised(self, x: Tensor) -> Tensor:
        """Return what has been convolved, activated and normalised; `x` may be overwritten."""
        return normalised(x, self.norm, self.activation)

    def lengthen(self, x: Tensor, factor: int) -> Tensor:
        """Repeat each sample so many times, then do as `forward`."""
        return self.normalised(convolve_repeated(x, self.conv.weight, self.conv.bias, factor))


class Convolution(nn.Conv1d):
    """Convolution along time that keeps the length."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, dilation=self.dilation[0])


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, *, dilation: int = 1) -> Tensor:
    """Convolve along time; the length stays.

    Parameters
    ----------
    x
        Shape (window, map, 1, sample).
    weight
        Shape (new map, map, kernel); of an even kernel, the extra sample is on the right.
    bias
        Shape (new map,), or None.
    dilation
        Samples from one sample of the kernel to the next.
    """
    n_maps, _, kernel = weight.shape
    before, after = _margins((kernel - 1) * dilation)
    if torch.compiler.is_exporting():
        padded = F.pad(x.squeeze(2), (before, after)) if after > before else x.squeeze(2)
        padding = 0 if after > before else before
        return F.conv1d(padded, weight, bias, padding=padding, dilation=dilation).unsqueeze(2)
    if _lies_side_by_side(x):
        if kernel == 1 and x[:, 0].numel() % _POINTS == 0:
            return _mixed(x, weight.squeeze(2), bias)
        if kernel % 4 == 1 and dilation == 1 and n_maps <= _FEW_MAPS and x.shape[-1] % 2 == 0:
            # The maps of two samples, side by side, are twice as many maps of a signal of half the length.
            bias = None if bias is None else bias.repeat(2)
            pairs = F.conv2d(_regrouped(x, 2), _of_pairs(weight).unsqueeze(2), bias, padding=(0, kernel // 4))
            return _regrouped(pairs, 1 / 2)
    if after > before:
        x = F.pad(x, (before, after))
    padding = 0 if after > before else before
    return F.conv2d(x, weight.unsqueeze(2), bias, padding=(0, padding), dilation=(1, dilation))


def convolve_repeated(x: Tensor, weight: Tensor, bias: Tensor | None, factor: int) -> Tensor:
    """Repeat each sample so many times, then convolve along time; the length is `factor` times as long.

    Parameters
    ----------
    x
        Shape (window, map, 1, sample).
    weight, bias
        As of `convolve`.
    factor
        How many times.
    """
    if torch.compiler.is_exporting():
        repeated = F.interpolate(x.squeeze(2), scale_factor=float(factor), mode="nearest").unsqueeze(2)
        return convolve(repeated, weight, bias)
    # Of repeated samples, a kernel sees some several times: it is a shorter kernel on the samples before they were
    # repeated, another for each of the repeats, whose outputs, side by side, already lie as the longer signal does.
    kernels, before, after = _of_repeats(weight, factor)
    biases = None if bias is None else bias.repeat(factor)
    if before == after:
        repeats = F.conv2d(x, kernels.unsqueeze(2), biases, padding=(0, before))
    elif len(x) > 1:  # a sample that is cut off would leave a gap between the windows
        repeats = F.conv2d(F.pad(x, (before, after)), kernels.unsqueeze(2), biases)
    else:
        repeats = F.conv2d(x, kernels.unsqueeze(2), biases, padding=(0, after))[..., after - before :]
    return _regrouped(repeats, 1 / factor)


def normalised(x: Tensor, norm: nn.Module, activation: Activation = "elu") -> Tensor:
    """Activate maps, then normalise them; the maps given may be overwritten.

    Parameters
    ----------
    x
        Shape (window, map, 1, sample).
    norm
        A batch norm. On a CPU, torch's own takes eight times as long for few maps side by side.
    activation
        ``"elu"`` or ``"relu"``.
    """
    activate = _ACTIVATIONS[activation]
    is_plain = type(norm) is nn.BatchNorm2d and norm.momentum is not None and x.dtype == torch.float32
    if not (is_plain and _lies_side_by_side(x)):
        return cast(Tensor, norm(activate(x)))
    plain: Any = norm
    if not plain.training:
        scale = plain.weight * (plain.running_var + plain.eps).rsqrt()
        return _scaled(activate(x, inplace=not x.requires_grad), scale, plain.bias - plain.running_mean * scale)
    y, mean, var = _Normalised.apply(x, plain.weight, plain.bias, (plain.eps, activation))  # type: ignore[no-untyped-call]
    n = x.numel() // x.shape[1]
    with torch.no_grad():
        plain.num_batches_tracked.add_(1)
        plain.running_mean.lerp_(mean, plain.momentum)
        plain.running_var.lerp_(var * (n / max(1, n - 1)), plain.momentum)
    return cast(Tensor, y)


def pooled(x: Tensor, size: int) -> Tensor:
    """Return the largest of each so many samples; a rest at the end is left out."""
    if torch.compiler.is_exporting():  # `max_pool1d` fixes the length of an exported graph
        length = x.shape[-1] // size
        return x[..., : length * size].reshape(*x.shape[:3], length, size).amax(-1)
    if size == 2 and x.shape[-1] % 2 == 0 and _lies_side_by_side(x):
        return cast(Tensor, _Halved.apply(x))  # type: ignore[no-untyped-call]
    return F.max_pool2d(x, (1, size))


def tanh_means(x: Tensor, size: int, n_means: int) -> Tensor:
    """Return the means of tanh over each `size` samples, shape (window, map, n_means); the maps may be overwritten."""
    if torch.compiler.is_exporting() or not _lies_side_by_side(x):
        return torch.tanh(x.squeeze(2)[..., : n_means * size]).reshape(*x.shape[:2], n_means, size).mean(-1)
    return cast(Tensor, _TanhMeans.apply(x, size, n_means))  # type: ignore[no-untyped-call]


# Functions with a derivative of their own: one pass over memory where torch's would take several, and nothing copied.


class _Normalised(torch.autograd.Function):
    """Activated, in place; then normalised by the statistics of the batch, which are returned, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, how: tuple[float, Activation]) -> tuple[Tensor, ...]:
        eps, activation = how
        rows, n_maps = _rows(_ACTIVATIONS[activation](x, inplace=True)), x.shape[1]
        mean, var = _statistics(rows, n_maps)
        rstd = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.mark_non_differentiable(mean, var)
        ctx.activation = activation
        scale = weight * rstd
        return _scaled(x, scale, bias - mean * scale), mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        g, rows = _rows(gradients[0].contiguous(memory_format=torch.channels_last)), _rows(x)
        n, n_maps = x.numel() // x.shape[1], x.shape[1]
        # Of torch's own only the sums over rows; it takes mean and variance for those of a column, not of a map.
        statistics = (_tiled(mean, rows), _tiled(rstd, rows))
        of_columns = torch.ops.aten.native_batch_norm_backward(
            g, rows, None, None, None, *statistics, True, 0.0, [False, True, True]
        )
        to_weight, to_bias = (column.view(-1, n_maps).sum(0) for column in of_columns[1:])
        # weight·rstd·(g − mean of g − x̂ · mean of g·x̂), as one multiple of x, one of g and a constant.
        scale = weight * rstd
        of_x = -scale * rstd * to_weight / n
        constant = _tiled(-of_x * mean - scale * to_bias / n, rows)
        dx = torch.addcmul(constant, rows, _tiled(of_x, rows)).addcmul_(g, _tiled(scale, rows))
        if ctx.activation == "elu":
            torch.ops.aten.elu_backward.grad_input(dx, 1.0, 1.0, 1.0, True, rows, grad_input=dx)
        else:
            torch.ops.aten.threshold_backward.grad_input(dx, rows, 0.0, grad_input=dx)
        return _like(dx, x), to_weight, to_bias, None


class _Halved(torch.autograd.Function):
    """The larger of each two samples; see `pooled`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _like(torch.maximum(*_halves(_rows_of(x, 2))), x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        pairs = _rows_of(ctx.saved_tensors[0], 2)
        g = _rows_of(gradients[0].contiguous(memory_format=torch.channels_last), 1)
        (one, other), dx = _halves(pairs), torch.empty_like(pairs)
        to_one, to_other = _halves(dx)
        torch.mul(g, one >= other, out=to_one)
        torch.sub(g, to_one, out=to_other)
        return _like(dx, ctx.saved_tensors[0])


class _TanhMeans(torch.autograd.Function):
    """See `tanh_means`. Samples after the last mean are left where they are: to cut them off would copy the rest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, n_means: int) -> Tensor:
        y = torch.tanh_(x)
        ctx.save_for_backward(y)
        ctx.size, ctx.n_means = size, n_means
        return _parts(_points(y), size, n_means).sum(2).div_(size).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        y = _points(ctx.saved_tensors[0])
        dx = torch.square(y).sub_(1)
        _parts(dx, ctx.size, ctx.n_means).mul_((gradients[0].transpose(1, 2) / -ctx.size).unsqueeze(2))
        dx[:, ctx.n_means * ctx.size :] = 0
        return dx.unsqueeze(1).permute(0, 3, 1, 2), None, None


# Views of memory ------------------------------------------------------------------------------------------------------


def _lies_side_by_side(x: Tensor) -> bool:
    # A compiler makes its own functions of plain operators, and so does what reads an exported graph.
    on_cpu = x.device.type == "cpu" and not torch.compiler.is_compiling()
    return on_cpu and x.is_contiguous(memory_format=torch.channels_last)


def _points(x: Tensor) -> Tensor:
    """View maps (window, map, 1, sample) as (window, sample, map)."""
    return x.permute(0, 2, 3, 1).squeeze(1)


def _parts(points: Tensor, size: int, n_parts: int) -> Tensor:
    """View (window, sample, map) as (window, part, sample, map), without the samples after the last part."""
    return points[:, : n_parts * size].view(len(points), n_parts, size, -1)


def _rows_of(x: Tensor, n_samples: int) -> Tensor:
    """View maps as rows that hold all maps of so many samples."""
    return x.permute(0, 2, 3, 1).reshape(-1, n_samples * x.shape[1])


def _rows(x: Tensor) -> Tensor:
    """View maps as long rows."""
    n_windows, n_maps, _, length = x.shape
    n_samples = 1
    while n_samples * n_maps < _ROW and (n_windows * length) % (2 * n_samples) == 0:
        n_samples *= 2
    return _rows_of(x, n_samples)


def _halves(rows: Tensor) -> tuple[Tensor, Tensor]:
    one, other = rows.chunk(2, dim=1)
    return one, other


def _like(rows: Tensor, x: Tensor) -> Tensor:
    """View rows as maps, of as many windows and maps as `x`."""
    return rows.view(x.shape[0], 1, -1, x.shape[1]).permute(0, 3, 1, 2)


def _regrouped(x: Tensor, n_samples: float) -> Tensor:
    """View maps of consecutive samples as more maps of a shorter signal, or as fewer of a longer one."""
    n_windows, n_maps = x.shape[:2]
    return x.permute(0, 2, 3, 1).reshape(n_windows, 1, -1, int(n_maps * n_samples)).permute(0, 3, 1, 2)


def _of_pairs(weight: Tensor) -> Tensor:
    """Return the kernel that computes two samples' new maps from pairs of samples: (2 · new map, 2 · map, pair)."""
    n_maps, n_in, kernel = weight.shape
    wide = F.pad(weight, (1, 1))
    kernels = [wide[..., 1 - shift : kernel + 2 - shift].reshape(n_maps, n_in, -1, 2) for shift in (0, 1)]
    return torch.cat([k.permute(0, 3, 1, 2).reshape(n_maps, 2 * n_in, -1) for k in kernels])


def _of_repeats(weight: Tensor, factor: int) -> tuple[Tensor, int, int]:
    """Return a kernel for each repeat of a sample, (repeat · new map, map, tap), and the taps before and after it."""
    falls, before, after = _falls(weight.shape[-1], factor)
    return torch.einsum("oik,rkt->roit", weight, falls.to(weight)).flatten(0, 1), before, after


@cache
def _falls(kernel: int, factor: int) -> tuple[Tensor, int, int]:
    """Return 1 where a place of the kernel falls on a tap, (repeat, place, tap), and the taps before and after."""
    first = -_margins(kernel - 1)[0]
    seen = [[(repeat + first + place) // factor for place in range(kernel)] for repeat in range(factor)]
    before, after = -min(map(min, seen)), max(map(max, seen))
    taps = range(-before, after + 1)
    falls = [[[float(tap == fell) for tap in taps] for fell in of_repeat] for of_repeat in seen]
    return torch.tensor(falls), before, after


def _margins(surplus: int) -> tuple[int, int]:
    """Return the samples of a kernel, but for the one in the middle, before and after it."""
    return surplus // 2, surplus - surplus // 2


def _mixed(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Mix the maps of each sample: several samples at once, by a matrix with the weights along its diagonal."""
    bias = None if bias is None else bias.repeat(_POINTS)
    matrix: Tensor = torch.block_diag(*[weight] * _POINTS)  # type: ignore[no-untyped-call]
    rows = F.linear(_rows_of(x, _POINTS), matrix, bias)
    return rows.view(x.shape[0], 1, x.shape[-1], len(weight)).permute(0, 3, 1, 2)


def _tiled(values: Tensor, rows: Tensor) -> Tensor:
    """Repeat a value for each map to the length of the rows."""
    return values.expand(rows.shape[1] // len(values), -1).reshape(-1)  # `repeat` takes six times as long


def _statistics(rows: Tensor, n_maps: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each map, from those of the columns, which are of as many samples each."""
    means, variances = (v.view(-1, n_maps) for v in torch.batch_norm_update_stats(rows, None, None, 0.0))
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _scaled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    rows = _rows(x)
    return _like(torch.addcmul(_tiled(shift, rows), rows, _tiled(scale, rows)), x)
