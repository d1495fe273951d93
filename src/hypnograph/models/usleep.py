"""U-Sleep: a deep, fully convolutional network that stages a whole night in one pass, at any output rate.

Perslev, Darkner, Kempfner, Nikolic, Jennum and Igel (2021), U-Sleep: resilient high-frequency sleep staging, npj
Digital Medicine 4:72, doi:10.1038/s41746-021-00440-5. 3,114,337 trainable parameters for two channels and five
stages.

An epoch's logits depend on 106,488 or 110,584 samples (13.9 or 14.4 min at 128 Hz) by its place in the grid of 4096
samples. No weight depends on the length of the input or on the output rate: the context may be a night, and
``sub_epochs`` may be any divisor of the samples of an epoch.

Input
-----
128 Hz; channel 0 is EEG and channel 1 is EOG: the order matters. Each channel of a whole recording is scaled
robustly: the median is subtracted, the result is divided by the interquartile range, and values beyond 20 such ranges
are clipped.

Differs from the paper
----------------------
- The paper's text, its supplement and the code tagged for it give three different widths. This is the recurrence that
  the official code runs: the width is truncated after each growth by √2, and ⌊width · √1.67⌋ maps are used.
- Logits are returned, not probabilities.
- Lengths that are not a multiple of 4096 samples (16 epochs at 128 Hz): see ``odd_lengths``, whose default is not the
  official code's. The preset ``"paper"`` is the official code.

Options for what the official code and others do
------------------------------------------------
- ``odd_lengths``, where a level's length is odd. ``"padded-input"`` (default): no length is ever odd, because the
  whole input is padded with zeros at its end to a multiple of 2^depth samples and the result cut there. All branches
  stay aligned, and a night cut at multiples of 2^depth samples gives the same logits but for its edges.
  ``"official"`` (also AnySleep): one zero is put before the maps, for the pool and for the skip connection. The
  decoder keeps it, so that one level higher the up-sampled maps are two samples longer than the skip; of these d = 2
  the first d//2 + d%2 = 1 and the last are cut, though both belong to the zero at the front. So the branches are one
  sample apart from there on (2 s at the level where windows of 35 epochs meet it first). ``"cropped-end"``
  (braindecode): the zero is for the pool only, and of up-sampled maps that are longer than the skip the last sample
  is cut: one sample apart, too. Where no length is odd all three are equal.
- ``norm_eps``: 1e-3 in the official (TensorFlow) code and by default; 1e-5 in AnySleep and braindecode.
- ``skip_first``: the skip comes first in the concatenation (official, AnySleep; default) or last (braindecode).

The presets ``"anysleep"`` and ``"braindecode"`` set these for weights from there; `from_anysleep` reads AnySleep's.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec, usual_kinds
from hypnograph.unet_layers import Block, Convolution, convolve, pooled, side_by_side, tanh_means

NAME = "usleep"
CAUSAL = False

OddLengths = Literal["padded-input", "official", "cropped-end"]


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
    depth
        Number of levels, each of which halves the length.
    kernel
        Kernel of the convolutions (samples); odd.
    initial_width
        Width of the first level, before the complexity factor.
    complexity_factor
        Every width is multiplied by the square root of this.
    norm_eps, norm_momentum
        Of batch normalisation; the momentum as PyTorch counts it (0.01 is TensorFlow's 0.99).
    odd_lengths
        How an odd length is halved: see the module's text.
    skip_first
        Whether the skip comes first in the concatenation.
    """

    n_channels: int = 2
    sample_rate: float = 128.0
    n_stages: int = 5
    epoch_s: float = 30.0
    sub_epochs: int = 1
    depth: int = 12
    kernel: int = 9
    initial_width: int = 5
    complexity_factor: float = 1.67
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    odd_lengths: OddLengths = "padded-input"
    skip_first: bool = True

    def __post_init__(self) -> None:
        limits = {"n_channels": 1, "n_stages": 2, "sub_epochs": 1, "depth": 1, "kernel": 1, "initial_width": 1}
        for field, least in limits.items():
            if getattr(self, field) < least:
                raise HypnographError(f"{field} is {getattr(self, field)}; U-Sleep needs at least {least}.")
        for field in ("sample_rate", "epoch_s", "complexity_factor", "norm_eps", "norm_momentum"):
            if not 0 < getattr(self, field) < math.inf:
                raise HypnographError(f"{field} is {getattr(self, field)}; it must be positive.")
        if self.kernel % 2 == 0:
            raise HypnographError(f"kernel is {self.kernel}; it must be odd.")
        if self.odd_lengths not in get_args(OddLengths):
            raise HypnographError(
                f"odd_lengths is {self.odd_lengths!r}; choose from {', '.join(get_args(OddLengths))}."
            )
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
        """Maps of each encoder level, then of the bottom; the decoder's are the same in reverse.

        The official decoder shrinks by ⌈width / √2⌉, which undoes the encoder's ⌊width · √2⌋ for every whole width.
        """
        widths, nominal = [], self.initial_width
        for _ in range(self.depth + 1):
            widths.append(int(nominal * math.sqrt(self.complexity_factor)))
            nominal = int(nominal * math.sqrt(2))
        return tuple(widths)

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
    "paper": Config(odd_lengths="official"),
    "anysleep": Config(norm_eps=1e-5, norm_momentum=0.1, odd_lengths="official"),
    "braindecode": Config(norm_eps=1e-5, norm_momentum=0.1, odd_lengths="cropped-end", skip_first=False),
    "small": Config(depth=5, initial_width=3, complexity_factor=1.0),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    kinds, rate = usual_kinds(config.n_channels), config.sample_rate
    return InputSpec(kinds, rate, epoch_s=config.epoch_s, outliers="clip", scaling="robust", resampling="polyphase")


def reach(config: Config) -> int | None:
    """Return how many epochs before and after an epoch its logits depend on; None where odd lengths shift the maps."""
    if config.odd_lengths != "padded-input":
        return None
    strides: list[int] = [2**level for level in range(config.depth + 1)]
    # Convolutions up and down, the bottom's, the up-sampling's kernel of 2, and the place in the coarsest grid.
    samples = (config.kernel - 1) // 2 * (2 * sum(strides[:-1]) + strides[-1]) + sum(strides[:-1]) + strides[-1] - 1
    return math.ceil(samples / config.samples_per_epoch)


def grid(config: Config) -> int:
    """Return the epochs at whose multiples a night may be cut: there the maps of all levels begin anew."""
    return int(2**config.depth) // math.gcd(2**config.depth, config.samples_per_epoch)


def _block(n_in: int, n_out: int, kernel: int, config: Config) -> Block:
    return Block(n_in, n_out, kernel, eps=config.norm_eps, momentum=config.norm_momentum)


class _Decoder(nn.Module):
    """Double the length, join with the skip connection, convolve."""

    def __init__(self, n_in: int, n_out: int, config: Config) -> None:
        super().__init__()
        self.up = _block(n_in, n_out, 2, config)
        self.merge = _block(2 * n_out, n_out, config.kernel, config)
        self.skip_first = config.skip_first
        self.can_be_longer = config.odd_lengths != "padded-input"
        self.crops_both_ends = config.odd_lengths == "official"

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = self._cropped(self.up.lengthen(x, 2), skip)
        if torch.compiler.is_exporting():
            merged: Tensor = self.merge(torch.cat(self._ordered(skip, up), dim=1))
            return merged
        # Joining small maps costs as much as convolving them; a convolution is a sum over maps.
        skips, ups = self._ordered(*self.merge.conv.weight.chunk(2, dim=1))
        return self.merge.normalised(convolve(skip, skips, self.merge.conv.bias) + convolve(up, ups, None))

    def _ordered(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        return (first, last) if self.skip_first else (last, first)

    def _cropped(self, up: Tensor, skip: Tensor) -> Tensor:
        """Return the doubled maps as long as the skip: at most two samples go, one at each end or those at the end."""
        if not self.can_be_longer:
            return up
        start = (up.shape[-1] - skip.shape[-1]) // 2 if self.crops_both_ends else 0
        return up[..., start : start + skip.shape[-1]]


class Model(nn.Module):
    """U-Sleep.

    Parameters
    ----------
    config
        Settings of the network.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        inputs = (config.n_channels, *widths[:-2])
        self.encoder = nn.ModuleList(_block(i, o, config.kernel, config) for i, o in zip(inputs, widths, strict=False))
        self.bottom = _block(widths[-2], widths[-1], config.kernel, config)
        self.decoder = nn.ModuleList(_Decoder(widths[n + 1], widths[n], config) for n in reversed(range(config.depth)))
        head_width = max(1, int(config.n_stages * math.sqrt(config.complexity_factor)))
        self.dense = Convolution(widths[0], head_width, 1)
        self.hidden = nn.Conv1d(head_width, config.n_stages, 1)
        self.out = nn.Conv1d(config.n_stages, config.n_stages, 1)
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
            If channels or samples are not those of the configuration, or the outputs do not divide an epoch.
        """
        expected = (self.config.n_channels, self.config.samples_per_epoch)
        if x.ndim != 4 or tuple(x.shape[2:]) != expected:
            raise HypnographError(
                f"The input has shape {tuple(x.shape)}; U-Sleep needs (window, context, {expected[0]}, {expected[1]})."
            )
        n_outputs = self.config.sub_epochs if sub_epochs is None else sub_epochs
        size = self.config.samples_per_output(n_outputs)
        maps = tanh_means(self.dense(self._maps(x.transpose(1, 2).flatten(2))), size, x.shape[1] * n_outputs)
        logits: Tensor = self.out(F.elu(self.hidden(maps))).transpose(1, 2)
        return logits if n_outputs == 1 else logits.reshape(x.shape[0], -1, n_outputs, self.config.n_stages)

    def maps(self, signal: Tensor) -> Tensor:
        """Return the decoder's maps, one value for each sample.

        Parameters
        ----------
        signal
            Shape (window, channel, sample), of any length.

        Returns
        -------
        Tensor
            Shape (window, map, sample).
        """
        maps: Tensor = self._maps(signal).squeeze(2)[..., : signal.shape[-1]]
        return maps

    def _maps(self, signal: Tensor) -> Tensor:
        """Return the maps (window, map, 1, sample); the signal's padding, if it was padded, is at their end."""
        skips: list[Tensor] = []
        odd_lengths, whole = self.config.odd_lengths, 2**self.config.depth
        # Written without branches on the length, so that an exported graph holds for every length.
        if odd_lengths == "padded-input":
            length = signal.shape[-1]
            signal = F.pad(signal, (0, (length + whole - 1) // whole * whole - length))
        x = side_by_side(signal)
        for encode in self.encoder:
            x = encode(x)
            padded = x if odd_lengths == "padded-input" else F.pad(x, (x.shape[-1] % 2, 0))
            skips.append(padded if odd_lengths == "official" else x)
            x = pooled(padded, 2)
        x = self.bottom(x)
        for decode in self.decoder:
            x = decode(x, skips.pop())
        return cast(Tensor, x)


def anysleep_names() -> dict[str, str]:
    """Return the names in AnySleep's files of U-Sleep, each with the name in `Model`."""
    blocks = {("connector", 0): "bottom"}
    for level in range(PRESETS["anysleep"].depth):
        blocks[f"encoders.{level}.enc", 0] = f"encoder.{level}"
        blocks[f"decoders.{level}.dec1", 1] = f"decoder.{level}.up"
        blocks[f"decoders.{level}.dec2", 0] = f"decoder.{level}.merge"
    parts, statistics = ("weight", "bias"), ("running_mean", "running_var", "num_batches_tracked")
    names: dict[str, str] = {}
    for (theirs, first), ours in blocks.items():
        names |= {f"{theirs}.{first}.{part}": f"{ours}.conv.{part}" for part in parts}
        names |= {f"{theirs}.{first + 2}.{part}": f"{ours}.norm.{part}" for part in parts + statistics}
    for place, ours in {0: "dense", 3: "hidden", 5: "out"}.items():
        names |= {f"segment_classifier.segment_classifier.{place}.{part}": f"{ours}.{part}" for part in parts}
    return names


def from_anysleep(state_dict: Mapping[str, Any]) -> Model:
    """Make the network from the weights of U-Sleep that AnySleep's authors trained and published.

    The files are ``models/usleep-run{1,2,3}.pth`` of github.com/dslaborg/AnySleep (MIT). Read them with
    ``torch.load(path, map_location="cpu", weights_only=True)``.

    Parameters
    ----------
    state_dict
        Values by the names of the published files (`anysleep_names`), or what holds them under ``"state_dict"``.

    Returns
    -------
    Model
        In evaluation mode, with the preset ``"anysleep"``: EEG and EOG at 128 Hz, five stages.

    Raises
    ------
    HypnographError
        If a name is missing, unknown, or has another shape.
    """
    given = state_dict.get("state_dict", state_dict)
    names = anysleep_names()
    if missing := names.keys() - given.keys():
        raise HypnographError(f"Not U-Sleep's weights from AnySleep: {_some(missing)} missing.")
    if unknown := given.keys() - names.keys():
        raise HypnographError(f"Not U-Sleep's weights from AnySleep: {_some(unknown)} unknown.")
    model = Model(PRESETS["anysleep"])
    expected = model.state_dict()
    for theirs, ours in names.items():
        if given[theirs].shape != expected[ours].shape:
            shapes = tuple(given[theirs].shape), tuple(expected[ours].shape)
            raise HypnographError(f"{theirs} has shape {shapes[0]}; U-Sleep from AnySleep has {shapes[1]}.")
    model.load_state_dict({ours: given[theirs] for theirs, ours in names.items()})
    return model.eval()


def _some(names: Collection[str]) -> str:
    """Return the first of some names and how many there are beside it."""
    rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{min(names)}{rest}"
