"""The U-Time variant of EEG-to-ECG distillation: staging from one channel of one epoch, with a second's resolution.

Joshi, Vijayarangan, Preejith and Sivaprakasam, A Deep Knowledge Distillation framework for EEG assisted enhancement
of single-lead ECG based sleep staging (2021), arXiv:2112.07252, and EEG aided boosting of single-lead ECG based sleep
staging with Deep Knowledge Distillation (MeMeA 2022), arXiv:2211.13125. 4,813,240 trainable parameters for four
stages (W, L, D, R) and 4,813,215 for three (W, N, R). Teacher (EEG) and student (ECG) are the same network; only the
channel differs.

The epochs of a context do not see each other: each is staged alone, as published. So the network is causal.

Input
-----
One channel at 200 Hz; each epoch on its own is scaled to between 0 and 1 by its minimum and maximum. (This removes
the amplitude, which carries much of the EEG's information on deep sleep, and one artefact squeezes the rest; it is
how the published networks were trained.) ECG of MASS is multiplied by −1.

Differs from the paper
----------------------
- Differences from U-Time (arXiv:1910.11162) are the paper's own: five levels instead of four, pools 3, 2, 2, 2, 2
  instead of 10, 8, 6, 4, ReLU, one epoch at a time instead of 35.
- The head may be read at any rate that divides an epoch: ``sub_epochs=30`` is one output a second (preset
  ``"one-second"``). No weight depends on it. The published results are for one output per epoch, the default.
- The number of stages is an argument; the official code has a copy of its files for each.
- Logits are returned, as in the official code.

No quirk of the official code lies in the network: those known are in its losses and its training.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec, usual_kinds
from hypnograph.unet_layers import Block, Convolution, pooled, side_by_side

NAME = "ecg-utime"
CAUSAL = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the network.

    Parameters
    ----------
    n_channels
        Number of input channels.
    sample_rate
        Samples per second of the input (Hz).
    n_stages
        Number of stages.
    epoch_s
        Length of an epoch (s).
    sub_epochs
        Outputs per epoch; must divide the samples of an epoch. No weight depends on it.
    pools
        Factor by which each encoder level shortens an epoch; together they must divide its samples.
    kernel
        Kernel of the convolutions; odd.
    dilation
        Of the encoder's convolutions.
    initial_width
        Maps of the first level; doubles at each level.
    """

    n_channels: int = 1
    sample_rate: float = 200.0
    n_stages: int = 4
    epoch_s: float = 30.0
    sub_epochs: int = 1
    pools: tuple[int, ...] = (3, 2, 2, 2, 2)
    kernel: int = 5
    dilation: int = 2
    initial_width: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", tuple(self.pools))  # JSON gives a list
        limits = {"n_channels": 1, "n_stages": 2, "sub_epochs": 1, "kernel": 1, "dilation": 1, "initial_width": 1}
        for field, least in limits.items():
            if getattr(self, field) < least:
                raise HypnographError(f"{field} is {getattr(self, field)}; ecg-utime needs at least {least}.")
        for field in ("sample_rate", "epoch_s"):
            if not 0 < getattr(self, field) < math.inf:
                raise HypnographError(f"{field} is {getattr(self, field)}; it must be positive.")
        if self.kernel % 2 == 0:
            raise HypnographError(f"kernel is {self.kernel}; it must be odd.")
        if not self.pools or min(self.pools) < 2:
            raise HypnographError(f"pools are {self.pools}; each must be at least 2 and there must be one.")
        if abs(self.sample_rate * self.epoch_s - self.samples_per_epoch) > 1e-6 or self.samples_per_epoch < 1:
            raise HypnographError(
                f"An epoch of {self.epoch_s} s at {self.sample_rate} Hz is not whole samples; resample first."
            )
        if self.samples_per_epoch % math.prod(self.pools):
            raise HypnographError(
                f"The {self.samples_per_epoch} samples of an epoch are not a multiple of {math.prod(self.pools)}, "
                f"the product of the pools {self.pools}; choose another sample_rate, e.g. 200 Hz, or other pools."
            )
        self.samples_per_output(self.sub_epochs)

    @property
    def samples_per_epoch(self) -> int:
        """Samples of one epoch."""
        return round(self.sample_rate * self.epoch_s)

    @property
    def widths(self) -> tuple[int, ...]:
        """Maps of each encoder level, then of the bottom; the decoder's are the same in reverse."""
        return tuple(self.initial_width * 2**level for level in range(len(self.pools) + 1))

    def samples_per_output(self, sub_epochs: int) -> int:
        """Return the samples that one output covers.

        Raises
        ------
        HypnographError
            If the outputs do not divide an epoch.
        """
        if sub_epochs < 1 or self.samples_per_epoch % sub_epochs:
            raise HypnographError(
                f"{sub_epochs} outputs per epoch do not divide its {self.samples_per_epoch} samples; choose a divisor."
            )
        return self.samples_per_epoch // sub_epochs


PRESETS = {
    "default": Config(),
    "paper": Config(),
    "three-stage": Config(n_stages=3),
    "one-second": Config(sub_epochs=30),
    "small": Config(initial_width=2),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    kinds = (ChannelKind.ECG,) if config.n_channels == 1 else usual_kinds(config.n_channels)
    return InputSpec(kinds, config.sample_rate, epoch_s=config.epoch_s, scaling="epoch-range", resampling="polyphase")


def reach(config: Config) -> int:
    """Return how many epochs before and after an epoch its logits depend on: none."""
    return 0


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps on which teacher and student are compared, each of shape (epoch, map, time)."""

    encoder: tuple[Tensor, ...]
    """Each encoder level after pooling, the finest first."""
    bottom: Tensor
    decoder: tuple[Tensor, ...]
    """Each decoder level, the coarsest first."""
    dense: Tensor
    """One map for each stage at the rate of the input, between −1 and 1."""


class _Decoder(nn.Module):
    """Lengthen by the level's pool, join with the skip connection, convolve twice."""

    def __init__(self, n_in: int, n_out: int, pool: int, kernel: int) -> None:
        super().__init__()
        self.pool = pool
        self.up = _block(n_in, n_out, kernel)
        self.merge = nn.Sequential(_block(2 * n_out, n_out, kernel), _block(n_out, n_out, kernel))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.merge(torch.cat([skip, self.up.lengthen(x, self.pool)], dim=1))
        return out


_block = partial(Block, activation="relu")


class Model(nn.Module):
    """The distillation network.

    Parameters
    ----------
    config
        Settings of the network.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        *widths, bottom = config.widths
        kernel, dilation = config.kernel, config.dilation
        self.encoder = nn.ModuleList(
            nn.Sequential(_block(i, o, kernel, dilation=dilation), _block(o, o, kernel, dilation=dilation))
            for i, o in zip((config.n_channels, *widths), widths, strict=False)
        )
        self.bottom = nn.Sequential(_block(widths[-1], bottom, kernel), _block(bottom, bottom, kernel))
        levels = zip((bottom, *reversed(widths)), reversed(widths), reversed(config.pools), strict=False)
        self.decoder = nn.ModuleList(_Decoder(n_in, n_out, pool, kernel) for n_in, n_out, pool in levels)
        self.dense = Convolution(widths[0], config.n_stages, 1)
        self.out = nn.Conv1d(config.n_stages, config.n_stages, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor, *, sub_epochs: int | None = None) -> Tensor:
        """Return the logits of each epoch, or of each part of an epoch.

        Parameters
        ----------
        x
            Shape (window, context, channel, sample), float32.
        sub_epochs
            Outputs per epoch; those of the configuration if not given.

        Returns
        -------
        Tensor
            Shape (window, context, stage), or (window, context, sub_epoch, stage) if an epoch has several outputs.

        Raises
        ------
        HypnographError
            If channels or samples are not those of the configuration, or the outputs do not divide an epoch.
        """
        n_outputs = self.config.sub_epochs if sub_epochs is None else sub_epochs
        size = self.config.samples_per_output(n_outputs)
        dense = self.maps(x).dense
        dense = dense.reshape(*dense.shape[:2], n_outputs, size).mean(-1)
        logits: Tensor = self.out(dense).transpose(1, 2).reshape(*x.shape[:2], n_outputs, self.config.n_stages)
        return logits.squeeze(2) if n_outputs == 1 else logits

    def maps(self, x: Tensor) -> Maps:
        """Return the inner maps, for distillation between two networks and for figures.

        Parameters
        ----------
        x
            Shape (window, context, channel, sample), float32.

        Returns
        -------
        Maps
            Of window × context epochs.

        Raises
        ------
        HypnographError
            If channels or samples are not those of the configuration.
        """
        expected = (self.config.n_channels, self.config.samples_per_epoch)
        if x.ndim != 4 or tuple(x.shape[2:]) != expected:
            raise HypnographError(
                f"The input is {tuple(x.shape)}; ecg-utime needs (window, context, {expected[0]}, {expected[1]})."
            )
        maps, skips, encoded, decoded = side_by_side(x.flatten(0, 1)), [], [], []
        for encode, pool in zip(self.encoder, self.config.pools, strict=True):
            skips.append(encode(maps))
            maps = pooled(skips[-1], pool)
            encoded.append(maps)
        bottom = maps = self.bottom(maps)
        for decode in self.decoder:
            maps = decode(maps, skips.pop())
            decoded.append(maps)
        dense = torch.tanh(self.dense(maps))
        return Maps(
            encoder=tuple(m.squeeze(2) for m in encoded),
            bottom=bottom.squeeze(2),
            decoder=tuple(m.squeeze(2) for m in decoded),
            dense=dense.squeeze(2),
        )
