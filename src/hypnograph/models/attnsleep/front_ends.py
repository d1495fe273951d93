"""From 30 s of signal to features on a grid of frames: three front ends, and the recalibration (AFR) behind each.

Each front end is a module ``(epoch, channel, sample)`` → ``(epoch, feature, frame)`` with the attributes ``n_features``
and ``n_frames``.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

Branches: TypeAlias = Literal["time", "channel"]

MSP_FRAMES = 80
MSP_CRNN_FRAMES = 100
MSP_SLOPE = 0.1


class Window(NamedTuple):
    """How a convolution or a pool slides."""

    kernel: int
    stride: int
    padding: int

    def length(self, n_samples: int) -> int:
        """Return the number of frames out of `n_samples`."""
        return (n_samples + 2 * self.padding - self.kernel) // self.stride + 1


def length_after(n_samples: int, windows: Sequence[Window]) -> int:
    """Return the number of frames after sliding one window after the other; less than 1 when the input is too short."""
    for window in windows:
        n_samples = window.length(n_samples)
        if n_samples < 1:
            return 0
    return n_samples


def mrcnn_windows(sample_rate: float) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    """Return conv, pool, conv, conv, pool of the small and of the wide branch.

    At 125 Hz the wide branch has kernels of 6: with 7 it gives 20 frames, and 99 in all do not split among 5 heads.
    """
    wide = Window(6 if sample_rate == 125 else 7, 1, 3)
    small = Window(8, 1, 4)
    return (
        (Window(50, 6, 24), Window(8, 2, 4), small, small, Window(4, 4, 2)),
        (Window(400, 50, 200), Window(4, 2, 2), wide, wide, Window(2, 2, 1)),
    )


class MultiResolution(nn.Module):
    """MRCNN: two convolutional branches, with kernels of 0.5 s and of 4 s (at 100 Hz)."""

    def __init__(
        self,
        *,
        n_channels: int,
        n_samples: int,
        sample_rate: float,
        n_filters: int,
        dropout: float,
        branches: Branches,
    ) -> None:
        super().__init__()
        small, wide = mrcnn_windows(sample_rate)
        self.small = self._branch(n_channels, n_filters, small, dropout)
        self.wide = self._branch(n_channels, n_filters, wide, dropout)
        self.dropout = nn.Dropout(dropout)
        self.branches = branches
        self.n_features = 2 * n_filters * (2 if branches == "channel" else 1)
        self.n_frames = length_after(n_samples, small) + length_after(n_samples, wide)

    @staticmethod
    def _branch(n_channels: int, n_filters: int, windows: Sequence[Window], dropout: float) -> nn.Sequential:
        first, pool, second, third, last_pool = windows

        def convolution(n_in: int, n_out: int, window: Window) -> list[nn.Module]:
            return [nn.Conv1d(n_in, n_out, *window, bias=False), nn.BatchNorm1d(n_out), nn.GELU()]

        return nn.Sequential(
            *convolution(n_channels, n_filters, first),
            nn.MaxPool1d(*pool),
            nn.Dropout(dropout),
            *convolution(n_filters, 2 * n_filters, second),
            *convolution(2 * n_filters, 2 * n_filters, third),
            nn.MaxPool1d(*last_pool),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of both branches, (epoch, feature, frame)."""
        small, wide = self.small(x), self.wide(x)
        if self.branches == "time":
            return self.dropout(torch.cat([small, wide], dim=2))  # type: ignore[no-any-return]
        # Both branches span the whole epoch: resampled to one grid, frame i is the same moment in each.
        aligned = [functional.interpolate(branch, size=self.n_frames, mode="linear") for branch in (small, wide)]
        return self.dropout(torch.cat(aligned, dim=1))  # type: ignore[no-any-return]


def fold(x: Tensor, period: int) -> Tensor:
    """Return signals (epoch, channel, sample) as (epoch, channel, row, period); the end is mirrored to fill a row."""
    missing = -x.shape[-1] % period
    if missing:
        x = functional.pad(x, (0, missing), mode="reflect")
    return x.reshape(x.shape[0], x.shape[1], -1, period)


class MultiScaleMultiPeriod(nn.Module):
    """MSP as published: discriminators of HiFi-GAN (arXiv 2010.05646) without their output layers.

    The frames of three scales and of the periods lie one after the other in time, and a linear layer makes 80 of them.
    """

    SCALE_LAYERS = (  # output channels, groups, window
        (8, 1, Window(17, 1, 8)),
        (16, 4, Window(11, 2, 5)),
        (32, 4, Window(7, 2, 3)),
        (64, 16, Window(5, 2, 2)),
        (128, 16, Window(3, 4, 1)),
    )
    HALVE = Window(4, 2, 2)
    N_SCALES = 3
    PERIOD_CHANNELS = (16, 32, 64, 128)
    PERIOD_WINDOW = Window(5, 3, 2)

    def __init__(
        self, *, n_channels: int, n_samples: int, periods: Sequence[int], dropout: float, weight_norm: bool
    ) -> None:
        super().__init__()
        self.periods = tuple(periods)
        self.halve = nn.AvgPool1d(*self.HALVE)
        self.scales = nn.ModuleList(self._scale(n_channels) for _ in range(self.N_SCALES))
        self.period_stacks = nn.ModuleList(self._period(n_channels) for _ in periods)
        self.branch_lengths = self.lengths(n_samples, periods)
        self.resample = nn.Linear(sum(self.branch_lengths), MSP_FRAMES)
        self.dropout = nn.Dropout(dropout)
        self.n_features, self.n_frames = 128, MSP_FRAMES
        if weight_norm:
            self._normalise_weights()

    @classmethod
    def lengths(cls, n_samples: int, periods: Sequence[int]) -> tuple[int, ...]:
        """Return the number of frames of each scale, then of each period."""
        scales = [
            length_after(n_samples, [cls.HALVE] * halvings + [window for _, _, window in cls.SCALE_LAYERS])
            for halvings in range(cls.N_SCALES)
        ]
        rows = [math.ceil(n_samples / period) for period in periods]
        windows = [cls.PERIOD_WINDOW] * len(cls.PERIOD_CHANNELS)
        return (*scales, *(length_after(n, windows) * period for n, period in zip(rows, periods, strict=True)))

    def _scale(self, n_in: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_out, groups, window in self.SCALE_LAYERS:
            # The first layer sees all channels; with one channel there is nothing to group.
            layers += [nn.Conv1d(n_in, n_out, *window, groups=groups), nn.LeakyReLU(MSP_SLOPE)]
            n_in = n_out
        return nn.Sequential(*layers)

    def _period(self, n_in: int) -> nn.Sequential:
        kernel, stride, padding = self.PERIOD_WINDOW
        layers: list[nn.Module] = []
        for n_out in self.PERIOD_CHANNELS:
            layers += [nn.Conv2d(n_in, n_out, (kernel, 1), (stride, 1), (padding, 0)), nn.LeakyReLU(MSP_SLOPE)]
            n_in = n_out
        return nn.Sequential(*layers)

    def _normalise_weights(self) -> None:
        for number, stack in enumerate((*self.scales, *self.period_stacks)):
            for module in list(stack.children()):
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    normalise = parametrizations.weight_norm if number else parametrizations.spectral_norm
                    normalise(module)

    def branch_frames(self, x: Tensor) -> list[Tensor]:
        """Return the features of each branch before they are joined, each (epoch, feature, frame)."""
        frames, scaled = [], x
        for number, scale in enumerate(self.scales):
            scaled = self.halve(scaled) if number else scaled
            frames.append(scale(scaled))
        for period, stack in zip(self.periods, self.period_stacks, strict=True):
            frames.append(stack(fold(x, period)).flatten(2))
        return frames

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, 128, 80)."""
        return self.dropout(self.resample(torch.cat(self.branch_frames(x), dim=2)))  # type: ignore[no-any-return]


class AveragedFrames(nn.Module):
    """Average to a fixed number of frames.

    A product with a constant matrix, because exporters know adaptive pooling only for lengths that divide.
    """

    def __init__(self, *, n_in: int, n_out: int) -> None:
        super().__init__()
        matrix = functional.adaptive_avg_pool1d(torch.eye(n_in)[None], n_out)[0]
        self.matrix: Tensor
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, n_out) for (…, n_in)."""
        return x @ self.matrix


class MultiScaleMultiPeriodRecurrent(nn.Module):
    """MSP-CRNN: as the name promises, with the branches aligned in time and a bidirectional GRU behind them."""

    SCALES = (1, 2, 4)
    SCALE_LAYERS = ((32, Window(51, 5, 25)), (64, Window(9, 3, 4)), (64, Window(7, 1, 3)))
    PERIOD_LAYERS = ((16, Window(5, 3, 2)), (32, Window(5, 2, 2)), (64, Window(5, 1, 2)))
    N_FEATURES = 128

    def __init__(
        self, *, n_channels: int, n_samples: int, periods: Sequence[int], dropout: float, weight_norm: bool
    ) -> None:
        super().__init__()
        self.periods = tuple(periods)
        self.n_features, self.n_frames = self.N_FEATURES, MSP_CRNN_FRAMES
        self.scales = nn.ModuleList(self._scale(n_channels, n_samples, scale) for scale in self.SCALES)
        self.period_stacks = nn.ModuleList(self._period(n_channels) for _ in periods)
        width = self.SCALE_LAYERS[-1][0] * len(self.SCALES) + self.PERIOD_LAYERS[-1][0] * len(periods)
        self.mix = nn.Sequential(
            nn.Conv1d(width, self.n_features, 1, bias=False),
            nn.BatchNorm1d(self.n_features),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.recurrent = nn.GRU(self.n_features, self.n_features // 2, batch_first=True, bidirectional=True)
        if weight_norm:
            for module in list(self.modules()):
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    parametrizations.weight_norm(module)

    @classmethod
    def shortest(cls, n_samples: int, periods: Sequence[int]) -> int:
        """Return the fewest frames that any branch has before it is brought to the common grid."""
        scales = [length_after(n_samples // s, [window for _, window in cls.SCALE_LAYERS]) for s in cls.SCALES]
        windows = [window for _, window in cls.PERIOD_LAYERS]
        return min(*scales, *(length_after(math.ceil(n_samples / period), windows) for period in periods))

    def _scale(self, n_in: int, n_samples: int, scale: int) -> nn.Sequential:
        layers: list[nn.Module] = [nn.AvgPool1d(scale)] if scale > 1 else []
        for n_out, window in self.SCALE_LAYERS:
            layers += [nn.Conv1d(n_in, n_out, *window, bias=False), nn.BatchNorm1d(n_out), nn.GELU()]
            n_in = n_out
        n_frames = length_after(n_samples // scale, [window for _, window in self.SCALE_LAYERS])
        return nn.Sequential(*layers, AveragedFrames(n_in=n_frames, n_out=self.n_frames))

    def _period(self, n_in: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_out, (kernel, stride, padding) in self.PERIOD_LAYERS:
            convolution = nn.Conv2d(n_in, n_out, (kernel, 1), (stride, 1), (padding, 0), bias=False)
            layers += [convolution, nn.BatchNorm2d(n_out), nn.GELU()]
            n_in = n_out
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, 128, 100)."""
        features = [scale(x) for scale in self.scales]
        for period, stack in zip(self.periods, self.period_stacks, strict=True):
            rows = stack(fold(x, period)).mean(dim=3)
            features.append(functional.interpolate(rows, size=self.n_frames, mode="linear"))
        mixed = self.mix(torch.cat(features, dim=1))
        states: Tensor = self.recurrent(mixed.transpose(1, 2))[0]
        return states.transpose(1, 2)


class Recalibration(nn.Module):
    """AFR: a residual squeeze-and-excitation block that also reduces the number of features."""

    SQUEEZE = 16

    def __init__(self, *, n_in: int, n_out: int) -> None:
        super().__init__()
        n_hidden = max(1, n_out // self.SQUEEZE)
        self.features = nn.Sequential(
            nn.Conv1d(n_in, n_out, 1),
            nn.BatchNorm1d(n_out),
            nn.ReLU(),
            nn.Conv1d(n_out, n_out, 1),
            nn.BatchNorm1d(n_out),
        )
        self.gate = nn.Sequential(
            nn.Linear(n_out, n_hidden, bias=False), nn.ReLU(), nn.Linear(n_hidden, n_out, bias=False), nn.Sigmoid()
        )
        self.shortcut = nn.Sequential(nn.Conv1d(n_in, n_out, 1, bias=False), nn.BatchNorm1d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, n_out, frame) for (epoch, n_in, frame)."""
        features = self.features(x)
        gate = self.gate(features.mean(dim=2)).unsqueeze(2)
        return functional.relu(features * gate + self.shortcut(x))


def initialise(module: nn.Module) -> None:
    """Draw weights as the official code: convolutions N(0, 0.02), scales of batch norm N(1, 0.02)."""
    if type(module) is nn.Conv1d:
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif type(module) is nn.BatchNorm1d:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
