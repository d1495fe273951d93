"""U-Time: a fully convolutional encoder and decoder over many epochs at once; the smaller parent of U-Sleep.

Perslev, Jensen, Darkner, Jennum and Igel (2019), U-Time: A Fully Convolutional Network for Time Series Segmentation
Applied to Sleep Staging, NeurIPS 32, arXiv:1910.11162. One channel and five stages: 1,187,539 trainable parameters
for the paper's table S.2 (which states 1,187,589), 2,366,591 for the preset that the authors released.

Input
-----
Preset ``"paper"``: one EEG channel at 100 Hz; 30-s stretches with a value beyond 20 interquartile ranges are zeroed.
Preset ``"released"`` (also ``"default"``): 128 Hz, clipped at ±20 interquartile ranges. In both, each channel of a
whole recording is then scaled robustly: the median is subtracted and the result divided by the interquartile range.
Trained on windows of 35 epochs; any context works.

Differs from the paper
----------------------
- The paper states 1,187,589 parameters; its own table has 50 fewer.
- The paper's table gives the bottom's convolutions the encoder's dilation; the official code gives them none. Option
  ``dilated_bottom``: true in ``"paper"``, false in the others.
- Logits are returned, not probabilities.

Quirk of the official code (and of the paper)
---------------------------------------------
``lengths="cropped"``: where a length is not a multiple of a pool, the remainder is lost at the end by pooling, but
the skip connections are cropped, and the last maps padded with zeros, evenly on both sides. So the branches shift
against each other, and the first and the last 6.6 s of 35 epochs at 100 Hz have no decoder output. An odd sample to
crop goes to the end at the first crop, to the start at the second, and so on. An input shorter than all pools
together (1920 samples) is refused. ``lengths="padded"`` (default): the input is padded with zeros at its end to a
multiple of 1920 samples and the result cut there, so that the branches stay aligned, each sample has its output, and
every length works. At 128 Hz with 30-s epochs nothing needs padding and both are equal. The preset ``"paper"`` is
``"cropped"``.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec, usual_kinds
from hypnograph.unet_layers import Activation, Block, Convolution, pooled, side_by_side

NAME = "utime"
CAUSAL = False

Lengths = Literal["padded", "cropped"]


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
        Factor by which each encoder level shortens the signal; also the kernel of the decoder's up-sampling.
    kernel
        Kernel of the other convolutions; odd.
    dilation
        Of the encoder's convolutions.
    dilated_bottom
        Whether the bottom's convolutions have that dilation too.
    initial_width
        Maps of the first level, before the complexity factor; doubles at each level.
    complexity_factor
        Every width is multiplied by the square root of this.
    activation
        ``"relu"`` or ``"elu"``.
    hidden_head
        Whether a 1×1 convolution with activation comes before the last one.
    norm_eps, norm_momentum
        Of batch normalisation; the momentum as PyTorch counts it (0.01 is TensorFlow's 0.99).
    lengths
        What is done with lengths that the pools do not divide: see the module's text.
    """

    n_channels: int = 1
    sample_rate: float = 128.0
    n_stages: int = 5
    epoch_s: float = 30.0
    sub_epochs: int = 1
    pools: tuple[int, ...] = (10, 8, 6, 4)
    kernel: int = 5
    dilation: int = 2
    dilated_bottom: bool = False
    initial_width: int = 16
    complexity_factor: float = 2.0
    activation: Activation = "elu"
    hidden_head: bool = True
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    lengths: Lengths = "padded"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", tuple(self.pools))  # JSON gives a list
        limits = {"n_channels": 1, "n_stages": 2, "sub_epochs": 1, "kernel": 1, "dilation": 1, "initial_width": 1}
        for field, least in limits.items():
            if getattr(self, field) < least:
                raise HypnographError(f"{field} is {getattr(self, field)}; U-Time needs at least {least}.")
        for field in ("sample_rate", "epoch_s", "complexity_factor", "norm_eps", "norm_momentum"):
            if not 0 < getattr(self, field) < math.inf:
                raise HypnographError(f"{field} is {getattr(self, field)}; it must be positive.")
        if self.kernel % 2 == 0:
            raise HypnographError(f"kernel is {self.kernel}; it must be odd.")
        if not self.pools or min(self.pools) < 2:
            raise HypnographError(f"pools are {self.pools}; each must be at least 2 and there must be one.")
        for field, choices in {"activation": get_args(Activation), "lengths": get_args(Lengths)}.items():
            if getattr(self, field) not in choices:
                raise HypnographError(f"{field} is {getattr(self, field)!r}; choose from {', '.join(choices)}.")
        if abs(self.sample_rate * self.epoch_s - self.samples_per_epoch) > 1e-6 or self.samples_per_epoch < 1:
            raise HypnographError(
                f"An epoch of {self.epoch_s} s at {self.sample_rate} Hz is not whole samples; resample first."
            )
        if min(self.widths) < 1:
            raise HypnographError(f"complexity_factor {self.complexity_factor} leaves a level without maps; raise it.")
        self.samples_per_output(self.sub_epochs)

    @property
    def samples_per_epoch(self) -> int:
        """Samples of one epoch."""
        return round(self.sample_rate * self.epoch_s)

    @property
    def widths(self) -> tuple[int, ...]:
        """Maps of each encoder level, then of the bottom; the decoder's are the same in reverse."""
        factor = math.sqrt(self.complexity_factor)
        return tuple(int(self.initial_width * 2**level * factor) for level in range(len(self.pools) + 1))

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
    "released": Config(),
    "paper": Config(
        sample_rate=100.0,
        complexity_factor=1.0,
        activation="relu",
        hidden_head=False,
        dilated_bottom=True,
        lengths="cropped",
    ),
    "small": Config(initial_width=2, complexity_factor=1.0),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(
        usual_kinds(config.n_channels),
        config.sample_rate,
        epoch_s=config.epoch_s,
        outliers="clip" if config.lengths == "padded" else "zero-epochs",
        scaling="robust",
        resampling="polyphase",
    )


def reach(config: Config) -> int | None:
    """Return how many epochs before and after an epoch its logits depend on; None where lengths are cropped."""
    if config.lengths != "padded":
        return None
    *strides, bottom = [math.prod(config.pools[:level]) for level in range(len(config.pools) + 1)]
    half = (config.kernel - 1) // 2
    ahead = (
        2 * half * config.dilation * sum(strides)
        + 2 * half * (config.dilation if config.dilated_bottom else 1) * bottom
    )
    back = sum((2 * half + pool) * stride for pool, stride in zip(config.pools, strides, strict=True))
    return math.ceil((ahead + back + bottom) / config.samples_per_epoch)


def grid(config: Config) -> int:
    """Return the epochs at whose multiples a night may be cut: there the maps of all levels begin anew."""
    return math.prod(config.pools) // math.gcd(math.prod(config.pools), config.samples_per_epoch)


def _block(n_in: int, n_out: int, kernel: int, config: Config, *, dilation: int = 1) -> Block:
    norm = {"eps": config.norm_eps, "momentum": config.norm_momentum}
    return Block(n_in, n_out, kernel, dilation=dilation, activation=config.activation, **norm)


class _Decoder(nn.Module):
    """Lengthen by the level's pool, join with the skip connection, convolve twice."""

    def __init__(self, n_in: int, n_out: int, pool: int, config: Config) -> None:
        super().__init__()
        self.pool = pool
        self.up = _block(n_in, n_out, pool, config)
        self.merge = nn.Sequential(
            _block(2 * n_out, n_out, config.kernel, config), _block(n_out, n_out, config.kernel, config)
        )

    def lengthen(self, x: Tensor) -> Tensor:
        return self.up.lengthen(x, self.pool)

    def forward(self, up: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.merge(torch.cat([skip, up], dim=1))
        return out


class Model(nn.Module):
    """U-Time.

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
            nn.Sequential(
                _block(n_in, n_out, kernel, config, dilation=dilation),
                _block(n_out, n_out, kernel, config, dilation=dilation),
            )
            for n_in, n_out in zip((config.n_channels, *widths), widths, strict=False)
        )
        dilation = dilation if config.dilated_bottom else 1
        self.bottom = nn.Sequential(
            _block(widths[-1], bottom, kernel, config, dilation=dilation),
            _block(bottom, bottom, kernel, config, dilation=dilation),
        )
        inputs = (bottom, *reversed(widths))
        levels = zip(inputs, reversed(widths), reversed(config.pools), strict=False)
        self.decoder = nn.ModuleList(_Decoder(n_in, n_out, pool, config) for n_in, n_out, pool in levels)
        head_width = max(1, int(config.n_stages * math.sqrt(config.complexity_factor)))
        self.dense = Convolution(widths[0], head_width, 1)
        self.hidden = nn.Conv1d(head_width, config.n_stages, 1) if config.hidden_head else None
        self.out = nn.Conv1d(config.n_stages if config.hidden_head else head_width, config.n_stages, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

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
            If channels or samples are not those of the configuration, the outputs do not divide an epoch, or
            ``lengths="cropped"`` and the input is shorter than the pools together.
        """
        expected = (self.config.n_channels, self.config.samples_per_epoch)
        if x.ndim != 4 or tuple(x.shape[2:]) != expected:
            raise HypnographError(
                f"The input has shape {tuple(x.shape)}; U-Time needs (window, context, {expected[0]}, {expected[1]})."
            )
        n_outputs = self.config.sub_epochs if sub_epochs is None else sub_epochs
        size = self.config.samples_per_output(n_outputs)
        maps = self.maps(x.transpose(1, 2).flatten(2))
        maps = maps.reshape(*maps.shape[:2], -1, size).mean(-1)
        if self.hidden is not None:
            maps = (F.relu if self.config.activation == "relu" else F.elu)(self.hidden(maps))
        logits: Tensor = self.out(maps).transpose(1, 2)
        return logits if n_outputs == 1 else logits.reshape(x.shape[0], -1, n_outputs, self.config.n_stages)

    def maps(self, signal: Tensor) -> Tensor:
        """Return the maps that are averaged over time, one value for each sample.

        Parameters
        ----------
        signal
            Shape (window, channel, sample).

        Returns
        -------
        Tensor
            Shape (window, map, sample).
        """
        length, least = signal.shape[-1], math.prod(self.config.pools)
        if self.config.lengths == "padded":
            # Written without a branch, so that an exported graph holds for every length.
            signal = F.pad(signal, (0, (least - length % least) % least))
        elif length < least:
            raise HypnographError(
                f'The input has {length} samples; U-Time with lengths="cropped" needs {least} or more: add epochs.'
            )
        x: Tensor = torch.tanh(self.dense(self._decode(side_by_side(signal))).squeeze(2))
        missing = length - x.shape[-1]
        if self.config.lengths == "padded":
            return x[..., :length]
        return F.pad(x, (missing // 2, missing - missing // 2))

    def _decode(self, x: Tensor) -> Tensor:
        """Return the last decoder level's maps; shorter than the signal where pooling lost samples."""
        skips: list[Tensor] = []
        n_crops = 0
        for encode, pool in zip(self.encoder, self.config.pools, strict=True):
            skips.append(encode(x))
            x = pooled(skips[-1], pool)
        x = self.bottom(x)
        for level in self.decoder:
            assert isinstance(level, _Decoder)
            up, skip = level.lengthen(x), skips.pop()
            if self.config.lengths == "cropped":
                surplus = skip.shape[-1] - up.shape[-1]
                n_crops += torch.sym_min(surplus, 1)  # type: ignore[no-untyped-call]
                start = surplus // 2 + surplus % 2 * (1 - n_crops % 2)
                skip = skip[..., start : start + up.shape[-1]]
            x = level(up, skip)
        return x
