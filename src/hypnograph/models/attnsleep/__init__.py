"""AttnSleep: convolutions at two resolutions and attention, each epoch by itself; variants by configuration.

Source: E. Eldele et al., "An attention-based deep learning approach for sleep stage classification with single-channel
EEG", IEEE TNSRE 29:809-818, 2021, DOI 10.1109/TNSRE.2021.3076234. Conformer: A. Gulati et al., arXiv 2005.08100.

Preset ``"paper"`` (100 Hz, one channel, five stages, with the layers that the official code makes and never uses):
522,805 parameters, of which MRCNN 398,720, AFR 8,880, TCE 103,200, head 12,005. The default lacks the unused layers:
510,145. ``msp`` front end: 196,624, and 1,216 gains with `weight_norm`.

Input: EEG in µV as the authors' files hold it, not scaled. The first convolutions of ``mrcnn`` and ``msp-crnn`` have no
bias and are normalised over the batch, so that a network trains alike at any scale but is used at the scale that it was
trained at. ``msp`` has biases and no such norm: scale each signal to a deviation of about 1.

The context is folded into the batch: "temporal" in the paper means inside 30 s. No epoch sees another, in this network
and in all its variants, in evaluation mode; batch norm sees the batch in training, as everywhere. The attention weights
(epoch, head, token, token) pass through the modules named ``attention_weights``, where a forward hook can read them.

What can be chosen
------------------
- `front_end`: ``"mrcnn"`` (64 + 16 = 80 frames at 100 Hz, 79 + 21 = 100 at 125 Hz); ``"msp"``, multi-scale and
  multi-period as v-nhandt21 published it (94 + 47 + 24 + 39 + 40 + 42 = 286 frames at 100 Hz, then 80 by a linear
  layer); ``"msp-crnn"``, the same idea as its name promises: 100 frames, branches aligned and stacked as channels, and
  a recurrent layer.
- `temporal_encoder`: ``"tce"`` or ``"conformer"`` (a true one, with relative positions).
- `branches`: where ``mrcnn`` puts its branches, one after the other in ``"time"``, as published, though their frames
  last 0.47 s and 1.9 s and the causal convolutions run across the seam; or on a common grid as ``"channel"``.
- `tokens`: what attends to what, the features (``"channel"``, as published: 30 tokens of 80 frames) or the frames
  (``"time"``: 80 tokens of 30 features).

Quirks of the official code, off by default, on in the preset ``"paper"``
-------------------------------------------------------------------------
- `unused_convolutions`: each attention makes a third convolution that nothing calls (12,660 parameters in all).
- `ignored_norm`: the layer norm before the attention is computed and thrown away; the attention gets the raw query.
- `unbiased_norm`: the layer norm divides by the deviation with n − 1, and adds ε = 1e-6 to it.

braindecode's port has `unused_convolutions` only.

Differs from the paper
----------------------
- Any number of channels and stages. Widths, depth, heads and dropout are options.
- The layer norm of the attention has an effect, and no layer is unused, unless asked for.
- The published "Conformer" variant is a plain transformer (no convolution module, no half steps) whose attention runs
  across the examples of the batch. It is not reproduced, on purpose: an output must not depend on its batch mates. Nor
  is the crash of the published MSP wrapper, which calls the constructor in place of the module.
- The published MSP has no recurrent layer, despite "CRNN"; ``msp-crnn`` has one.
- Key convolutions have no bias when frames are the tokens, because the softmax would cancel it.
- Rates other than 100 and 125 Hz are refused: kernels are lengths in samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from hypnograph.errors import HypnographError
from hypnograph.models.attnsleep.encoders import Conformer, TemporalContextEncoder, Tokens
from hypnograph.models.attnsleep.front_ends import (
    MSP_CRNN_FRAMES,
    MSP_FRAMES,
    Branches,
    MultiResolution,
    MultiScaleMultiPeriod,
    MultiScaleMultiPeriodRecurrent,
    Recalibration,
    initialise,
    length_after,
    mrcnn_windows,
)
from hypnograph.preprocess import InputSpec, usual_kinds

__all__ = ["CAUSAL", "NAME", "PRESETS", "Config", "Model"]

NAME = "attnsleep"
CAUSAL = True  # an epoch sees no other epoch

FrontEnd = Literal["mrcnn", "msp", "msp-crnn"]
TemporalEncoder = Literal["tce", "conformer"]
RATES = (100.0, 125.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an AttnSleep is made of.

    Parameters
    ----------
    n_channels, sample_rate, n_stages, epoch_s
        Of the input (Hz, seconds) and of the output. 100 or 125 Hz.
    front_end, temporal_encoder, branches, tokens
        Variants; see the module's text. `branches` is for ``mrcnn`` only.
    n_filters
        Filters of the first convolutions of ``mrcnn``; the later ones have twice as many.
    n_features
        Features after the recalibration (AFR).
    n_layers, n_heads
        Layers of the encoder and heads of each.
    n_hidden
        Width of the feed-forward step; None: 120 for ``tce``, four times a token's width for ``conformer``.
    dropout, front_end_dropout
        Share of values dropped in the encoder and in the front end.
    periods
        Periods of the MSP front ends, in samples.
    weight_norm
        Reparametrise the convolutions of the MSP front ends, as published for ``msp`` (there spectral norm in the first
        scale).
    unused_convolutions, ignored_norm, unbiased_norm
        Quirks of the official TCE; see the module's text.

    Raises
    ------
    HypnographError
        If a value is impossible, alone or beside the others.
    """

    n_channels: int = 1
    sample_rate: float = 100.0
    n_stages: int = 5
    epoch_s: float = 30.0
    front_end: FrontEnd = "mrcnn"
    temporal_encoder: TemporalEncoder = "tce"
    branches: Branches = "time"
    tokens: Tokens = "channel"
    n_filters: int = 64
    n_features: int = 30
    n_layers: int = 2
    n_heads: int = 5
    n_hidden: int | None = None
    dropout: float = 0.1
    front_end_dropout: float = 0.5
    periods: tuple[int, ...] = (3, 5, 7)
    weight_norm: bool = False
    unused_convolutions: bool = False
    ignored_norm: bool = False
    unbiased_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "periods", tuple(self.periods))  # JSON knows lists only
        self._check_choices()
        self._check_numbers()
        self._check_options_have_an_effect()
        if self._shortest_branch() < 1:
            raise HypnographError(f"epoch_s={self.epoch_s:g} is too short for front_end={self.front_end!r}; use 30")
        if self.token_width % self.n_heads:
            raise HypnographError(
                f"n_heads={self.n_heads} does not divide the width of a token, {self.token_width} "
                f"(tokens={self.tokens!r}); choose a divisor"
            )

    def _check_choices(self) -> None:
        for name, known in (
            ("front_end", get_args(FrontEnd)),
            ("temporal_encoder", get_args(TemporalEncoder)),
            ("branches", get_args(Branches)),
            ("tokens", get_args(Tokens)),
            ("sample_rate", RATES),
        ):
            if getattr(self, name) not in known:
                options = ", ".join(map(str, known))
                raise HypnographError(f"attnsleep: {name}={getattr(self, name)!r} is not one of: {options}")

    def _check_numbers(self) -> None:
        for name, least in (
            ("n_channels", 1),
            ("n_stages", 2),
            ("n_filters", 1),
            ("n_features", 1),
            ("n_layers", 1),
            ("n_heads", 1),
            ("n_hidden", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise HypnographError(f"attnsleep: {name}={value} is below {least}")
        for name in ("dropout", "front_end_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise HypnographError(f"attnsleep: {name}={getattr(self, name)} is not in [0, 1)")
        if not self.periods or min(self.periods) < 2:
            raise HypnographError(
                f"attnsleep: periods={self.periods} must be one or more lengths of 2 samples or longer"
            )
        if not self.epoch_s > 0 or self.n_samples != self.sample_rate * self.epoch_s:
            raise HypnographError(f"attnsleep: epoch_s={self.epoch_s} is not a whole number of samples")

    def _check_options_have_an_effect(self) -> None:
        if self.branches != "time" and self.front_end != "mrcnn":
            raise HypnographError(f"branches={self.branches!r} is for front_end='mrcnn', not {self.front_end!r}")
        if self.weight_norm and self.front_end == "mrcnn":
            raise HypnographError("weight_norm is for front_end='msp' or 'msp-crnn'; 'mrcnn' has batch norm only")
        quirks = [q for q in ("unused_convolutions", "ignored_norm", "unbiased_norm") if getattr(self, q)]
        if quirks and self.temporal_encoder != "tce":
            raise HypnographError(f"{quirks[0]} is a quirk of temporal_encoder='tce', not of 'conformer'")

    def _shortest_branch(self) -> int:
        if self.front_end == "mrcnn":
            return min(length_after(self.n_samples, windows) for windows in mrcnn_windows(self.sample_rate))
        if max(self.periods) >= self.n_samples:
            return 0
        if self.front_end == "msp":
            return min(MultiScaleMultiPeriod.lengths(self.n_samples, self.periods))
        return MultiScaleMultiPeriodRecurrent.shortest(self.n_samples, self.periods)

    @property
    def n_samples(self) -> int:
        """Samples in an epoch."""
        return round(self.sample_rate * self.epoch_s)

    @property
    def n_frames(self) -> int:
        """Frames that the front end makes of an epoch."""
        if self.front_end == "mrcnn":
            return sum(length_after(self.n_samples, windows) for windows in mrcnn_windows(self.sample_rate))
        return MSP_FRAMES if self.front_end == "msp" else MSP_CRNN_FRAMES

    @property
    def token_width(self) -> int:
        """Values in a token of the encoder."""
        return self.n_frames if self.tokens == "channel" else self.n_features


def make_front_end(config: Config) -> MultiResolution | MultiScaleMultiPeriod | MultiScaleMultiPeriodRecurrent:
    """Return the module that makes frames of features of an epoch's samples."""
    if config.front_end == "mrcnn":
        return MultiResolution(
            n_channels=config.n_channels,
            n_samples=config.n_samples,
            sample_rate=config.sample_rate,
            n_filters=config.n_filters,
            dropout=config.front_end_dropout,
            branches=config.branches,
        )
    make = MultiScaleMultiPeriod if config.front_end == "msp" else MultiScaleMultiPeriodRecurrent
    return make(
        n_channels=config.n_channels,
        n_samples=config.n_samples,
        periods=config.periods,
        dropout=config.front_end_dropout,
        weight_norm=config.weight_norm,
    )


def make_encoder(config: Config) -> TemporalContextEncoder | Conformer:
    """Return the module that lets the tokens of an epoch attend to each other."""
    if config.temporal_encoder == "conformer":
        return Conformer(
            n_features=config.n_features,
            n_frames=config.n_frames,
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            n_hidden=config.n_hidden or 4 * config.token_width,
            dropout=config.dropout,
            tokens=config.tokens,
        )
    return TemporalContextEncoder(
        n_features=config.n_features,
        n_frames=config.n_frames,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        n_hidden=config.n_hidden or 120,
        dropout=config.dropout,
        tokens=config.tokens,
        unused_convolutions=config.unused_convolutions,
        ignored_norm=config.ignored_norm,
        unbiased_norm=config.unbiased_norm,
    )


class Model(nn.Module):
    """AttnSleep: (window, context, channel, sample) → logits (window, context, stage)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.front_end = make_front_end(config)
        self.recalibration = Recalibration(n_in=self.front_end.n_features, n_out=config.n_features)
        self.encoder = make_encoder(config)
        self.head = nn.Linear(config.n_features * config.n_frames, config.n_stages)
        if config.front_end == "mrcnn":
            self.front_end.apply(initialise)
        self.recalibration.apply(initialise)

    @property
    def idle_weights(self) -> tuple[str, ...]:
        """Names of the weights that nothing uses: layers of the official code that it never calls."""
        idle = (".unused.", ".attention_norm.") if self.config.ignored_norm else (".unused.",)
        return tuple(name for name, _ in self.named_parameters() if any(part in name for part in idle))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        x : Tensor of shape (window, context, channel, sample)
            float32; `Config.n_samples` samples an epoch.

        Returns
        -------
        Tensor of shape (window, context, stage)
        """
        features = self.recalibration(self.front_end(x.flatten(0, 1)))
        logits: Tensor = self.head(self.encoder(features).flatten(1))
        return logits.reshape(x.shape[0], x.shape[1], -1)


PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "paper": Config(unused_convolutions=True, ignored_norm=True, unbiased_norm=True),
    "paper-125hz": Config(sample_rate=125.0, unused_convolutions=True, ignored_norm=True, unbiased_norm=True),
    "aligned": Config(branches="channel", tokens="time"),
    "conformer": Config(temporal_encoder="conformer", branches="channel", tokens="time"),
    "msp": Config(front_end="msp", weight_norm=True),
    "msp-crnn": Config(front_end="msp-crnn"),
    "small": Config(n_filters=4, n_features=5, n_layers=1, n_hidden=16),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(
        usual_kinds(config.n_channels),
        config.sample_rate,
        epoch_s=config.epoch_s,
        scaling="standard" if config.front_end == "msp" else "none",
    )


def reach(config: Config) -> int:
    """Return how many epochs before and after an epoch its logits depend on: none."""
    return 0
