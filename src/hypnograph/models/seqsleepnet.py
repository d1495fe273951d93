"""SeqSleepNet: log spectra, learned filterbanks, attention over a recurrent layer, and a recurrent layer over epochs.

Paper: H. Phan et al., "SeqSleepNet: End-to-End Hierarchical Recurrent Neural Network for Sequence-to-Sequence Automatic
Sleep Staging", IEEE TNSRE 27(3):400-410, 2019, DOI 10.1109/TNSRE.2019.2896659, arXiv 1809.10932.

203,621 parameters with the defaults (3 channels): filterbanks 12,384, recurrent layer over frames 82,944, attention
8,320, recurrent layer over epochs 99,328, last layer 645. With a last layer for each of 20 epochs, as in the official
code, 215,876.

Input: microvolts, 100 Hz, not scaled: EEG (C4-A1), EOG (right − left), chin EMG in the paper, EEG and EOG filtered from
0.3 to 40 Hz and the EMG from 10 Hz. The short-time Fourier transform is part of the network: Hamming windows of 2 s
every second, without padding at the ends, 256-point transform: 29 frames × 129 bins of 20·log10|X| for each channel and
epoch of 30 s. Each bin is then made zero-mean, unit-variance by the statistics of the training nights: their average
collected while training, or those given to `Model.set_spectrum_statistics`.

The network gives one decision for each epoch of each window. Nights are staged in windows that overlap by half and
are joined with weights (`hypnograph.network.night_logits`); `multiply_overlapping` joins them as the paper does.

Differs from the paper
----------------------
- The transform is inside and the spectra are standardised inside, so that a checkpoint stages raw signals. The training
  statistics are gathered as training runs, and a batch is then standardised by itself; with
  ``running_statistics=False`` they are given beforehand, as in the paper.
- Silence has a floor of −100 dB re 1 µV; MATLAB's logarithm gives −∞ there.
- The corners of the triangles lie where they should, at equal distances from 0 to 50 Hz. The official code rounds them
  down to bins, of a transform one point longer than its own, which leaves triangles 3 or 4 bins apart instead of 3.88.
  ``floored_corners=True`` gives the official filters.
- One last layer is shared by all epochs of a window, so any context works. The official code has one for each position:
  ``heads=20`` gives that, and then accepts contexts of up to 20.
- LSTM cells without batch norm inside the recurrence. The official code normalises with separate statistics for each
  time step, which ties the weights to one context.
- Sampling rates other than 100 Hz: the transform has the next power of two samples, the filters cover the same 0–50 Hz.
- Epochs of 20 s are extended to 30 s by their neighbours, as in the paper, when nights are prepared (`--centred`).
- Outside the network: the official preparation normalises three time samples instead of three channels (wrong axis), so
  the amplitude reaches the spectra; the later standardising of each bin hides it. C4-LER is never chosen there, for a
  mistyped name. Neither is imitated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec, usual_kinds

NAME = "seqsleepnet"
CAUSAL = False

POWER_FLOOR = 1e-10
"""µV²; −100 dB, far below any amplifier's noise."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network looks like.

    Parameters
    ----------
    n_channels
        Signals, in the order of the input.
    sample_rate
        Samples a second.
    n_stages
        Stages that are told apart.
    epoch_s
        Length of an epoch in seconds.
    frame_s, hop_s
        Length of a frame of the spectrum and the time from one to the next, in seconds.
    n_filters
        Filters of each channel's filterbank.
    highest_hz
        Upper edge of the filterbank; the Nyquist frequency, if that is lower.
    n_units
        Units of the recurrent layers in each direction.
    n_attention
        Width of the attention over frames.
    dropout
        Probability of dropping an input or output of a recurrent layer while training.
    running_statistics
        Collect the mean and deviation of each bin while training; otherwise they are those that
        `Model.set_spectrum_statistics` was given.
    floored_corners
        Round the corners of the triangular filters as the official code does.
    heads
        Last layers: 1 for all epochs together, or one for each position of a window as in the official code.
    """

    n_channels: int = 3
    sample_rate: float = 100.0
    n_stages: int = 5
    epoch_s: float = 30.0
    frame_s: float = 2.0
    hop_s: float = 1.0
    n_filters: int = 32
    highest_hz: float = 50.0
    n_units: int = 64
    n_attention: int = 64
    dropout: float = 0.25
    running_statistics: bool = True
    floored_corners: bool = False
    heads: int = 1

    def __post_init__(self) -> None:
        least = {"n_channels": 1, "n_stages": 2, "n_filters": 1, "n_units": 1, "n_attention": 1, "heads": 1}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise HypnographError(f"{name} is {getattr(self, name)}; it must be at least {limit}")
        for name in ("sample_rate", "epoch_s", "frame_s", "hop_s", "highest_hz"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise HypnographError(f"{name} is {value}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise HypnographError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        if self.frame < 2 or self.hop < 1:
            raise HypnographError(
                f"frame_s {self.frame_s} and hop_s {self.hop_s} are {self.frame} and {self.hop} samples at "
                f"{self.sample_rate} Hz; a frame needs 2 samples and a hop 1: use longer ones"
            )
        if self.frame > round(self.sample_rate * self.epoch_s):
            raise HypnographError(f"frame_s is {self.frame_s} s; an epoch of {self.epoch_s} s is shorter than that")
        n_blind = int((self.triangles().sum(0) == 0).sum())
        if n_blind:
            raise HypnographError(
                f"n_filters is {self.n_filters}; {n_blind} of them see no bin of the {self.n_fft}-point transform "
                f"below {self.highest_hz} Hz: use fewer"
            )

    @property
    def frame(self) -> int:
        """Samples of a frame, 200 with the defaults."""
        return round(self.frame_s * self.sample_rate)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next, 100 with the defaults."""
        return round(self.hop_s * self.sample_rate)

    @property
    def n_fft(self) -> int:
        """Length of the transform, the next power of two of a frame."""
        return 1 << (self.frame - 1).bit_length()

    @property
    def n_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def n_frames(self) -> int:
        """Frames of an epoch, 29 with the defaults."""
        return (round(self.sample_rate * self.epoch_s) - self.frame) // self.hop + 1

    def triangles(self) -> NDArray[np.float64]:
        """Return the shapes of the filters, float64 (bin, filter), each at most 1."""
        highest_hz = min(self.highest_hz, self.sample_rate / 2)
        corners_hz = np.linspace(0, highest_hz, self.n_filters + 2)
        if self.floored_corners:
            corners = np.floor((self.n_fft + 1) * corners_hz / self.sample_rate)
        else:
            corners = self.n_fft * corners_hz / self.sample_rate
        bins = np.arange(self.n_bins)[:, None]
        left, middle, right = corners[:-2], corners[1:-1], corners[2:]
        # Corners that were rounded to the same bin leave no slope: the other slope then decides, as in official code.
        rise = np.where(middle > left, (bins - left) / np.maximum(middle - left, 1e-9), bins >= middle)
        fall = np.where(right > middle, (right - bins) / np.maximum(right - middle, 1e-9), bins < middle)
        shapes: NDArray[np.float64] = np.clip(np.minimum(rise, fall), 0, 1)
        return shapes


PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "paper": Config(running_statistics=False, floored_corners=True, heads=20),
    "small": Config(n_channels=1, n_filters=8, n_units=4, n_attention=4),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(
        usual_kinds(config.n_channels), config.sample_rate, epoch_s=config.epoch_s, band_hz=(0.3, 40.0), context=20
    )


def reach(config: Config) -> None:
    """Return how many epochs before and after an epoch its logits depend on: all of the window."""
    return None


class LogSpectrum(nn.Module):
    """Hamming-windowed log spectra, as a convolution with the windowed waves so that any exporter can write it."""

    waves: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.hop, self.n_bins = config.hop, config.n_bins
        turns = np.outer(np.arange(config.n_bins), np.arange(config.frame)) % config.n_fft
        angles = 2 * np.pi * turns / config.n_fft
        waves = np.concatenate([np.cos(angles), np.sin(angles)]) * np.hamming(config.frame)
        self.register_buffer("waves", torch.tensor(waves[:, None], dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map µV (epoch, channel, sample) to dB (epoch, channel, bin, frame)."""
        parts = F.conv1d(x.reshape(-1, 1, x.shape[-1]), self.waves, stride=self.hop)
        power = parts[:, : self.n_bins].square() + parts[:, self.n_bins :].square()
        decibel = 10 * torch.log10(power.clamp_min(POWER_FLOOR))
        return decibel.reshape(-1, x.shape[1], self.n_bins, decibel.shape[-1])


class Filterbank(nn.Module):
    """Filters of triangular shape, for each channel its own; the weights inside a triangle, 0 to 1, are learned."""

    triangles: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.register_buffer("triangles", torch.tensor(config.triangles(), dtype=torch.float32), persistent=False)
        self.weight = nn.Parameter(torch.randn(config.n_channels, config.n_bins, config.n_filters))

    def forward(self, x: Tensor) -> Tensor:
        """Map (epoch, channel, bin, frame) to (epoch, frame, channel × filter)."""
        filters = torch.sigmoid(self.weight) * self.triangles
        return torch.matmul(x.transpose(2, 3), filters).transpose(1, 2).flatten(2)


class Recurrent(nn.Module):
    """A bidirectional LSTM whose inputs and outputs are dropped out."""

    def __init__(self, n_in: int, n_units: int, *, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_in, n_units, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (row, step, feature) to (row, step, 2 × unit)."""
        y: Tensor = self.dropout(self.lstm(self.dropout(x))[0])
        return y


class Attention(nn.Module):
    """A weighted mean over frames, the weights found from the frames themselves."""

    def __init__(self, n_in: int, n_attention: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_in, n_attention)
        self.score = nn.Linear(n_attention, 1, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        """Return how much each frame counts, (row, frame, feature) → (row, frame, 1); they sum to 1."""
        return torch.softmax(self.score(torch.tanh(self.hidden(x))), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (row, frame, feature) to (row, feature)."""
        return (x * self.weights(x)).sum(1)


class Model(nn.Module):
    """The network.

    Parameters
    ----------
    config
        What it looks like.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.spectrum = LogSpectrum(config)
        # Without momentum the running statistics are the plain mean over all batches seen.
        self.standard = nn.BatchNorm1d(config.n_channels * config.n_bins, affine=False, momentum=None)
        self.standard.train(config.running_statistics)
        self.filterbank = Filterbank(config)
        n = 2 * config.n_units
        self.frames = Recurrent(config.n_channels * config.n_filters, config.n_units, dropout=config.dropout)
        self.attention = Attention(n, config.n_attention)
        self.epochs = Recurrent(n, config.n_units, dropout=config.dropout)
        self.heads = nn.ModuleList(nn.Linear(n, config.n_stages) for _ in range(config.heads))

    def set_spectrum_statistics(self, mean_db: Tensor, std_db: Tensor) -> None:
        """Standardise the spectra by these values, in training too.

        Parameters
        ----------
        mean_db, std_db
            Mean and standard deviation of each bin over the training nights, shape (channel, bin).

        Raises
        ------
        HypnographError
            If the network collects its own, the shape is another one, or a deviation is not above zero.
        """
        if self.config.running_statistics:
            raise HypnographError(
                "this network collects the spectrum's statistics itself; create it with running_statistics=False"
            )
        shape = (self.config.n_channels, self.config.n_bins)
        for name, values in (("mean_db", mean_db), ("std_db", std_db)):
            if tuple(values.shape) != shape:
                raise HypnographError(f"{name} has shape {tuple(values.shape)}; this network needs {shape}")
        if not (torch.isfinite(mean_db).all() and torch.isfinite(std_db).all() and (std_db > 0).all()):
            raise HypnographError("the spectrum's statistics must be finite, with deviations above 0 dB")
        statistics = {"running_mean": mean_db.flatten(), "running_var": std_db.flatten().square()}
        self.standard.load_state_dict(statistics, strict=False)

    def train(self, mode: bool = True) -> "Model":
        """Switch training on or off; given statistics stay as they are."""
        super().train(mode)
        if not self.config.running_statistics:
            self.standard.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """Return the features of each epoch.

        Parameters
        ----------
        x
            Signals in µV, shape (epoch, channel, sample).

        Returns
        -------
        Tensor
            Shape (epoch, 2 × unit).
        """
        spectrum = self.spectrum(x)
        # The sizes are written out, since the ONNX exporter must know how many bins the batch norm has.
        shape = (x.shape[0], self.config.n_channels, self.config.n_bins, self.config.n_frames)
        standard = self.standard(spectrum.reshape(shape[0], shape[1] * shape[2], shape[3])).reshape(shape)
        y: Tensor = self.attention(self.frames(self.filterbank(standard)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Stage each epoch of each window.

        Parameters
        ----------
        x
            Signals in µV, shape (window, context, channel, sample).

        Returns
        -------
        Tensor
            Logits, shape (window, context, stage).

        Raises
        ------
        HypnographError
            If the network has one last layer for each position and the context is longer than that.
        """
        y = self.epochs(self.features(x.flatten(0, 1)).reshape(x.shape[0], x.shape[1], -1))
        if len(self.heads) == 1:
            logits: Tensor = self.heads[0](y)
            return logits
        if x.shape[1] > len(self.heads):
            raise HypnographError(
                f"a context of {x.shape[1]} epochs; this network has last layers for {len(self.heads)}: "
                f"use windows of at most {len(self.heads)} epochs"
            )
        return torch.stack([head(y[:, i]) for i, head in enumerate(self.heads) if i < x.shape[1]], dim=1)


def multiply_overlapping(logits: Tensor, starts: Sequence[int], *, n_epochs: int) -> Tensor:
    """Join the decisions of overlapping windows by multiplying their probabilities.

    Each epoch's probabilities are the geometric mean of those that the windows give it, made to sum to 1. The paper's
    multiplicative aggregation (DOI 10.1109/TNSRE.2019.2896659) is the product itself: the same most probable stage, but
    less doubt the more windows there are, although they see the same signals.

    Parameters
    ----------
    logits
        Shape (window, context, stage).
    starts
        The first epoch of each window.
    n_epochs
        Length of the night.

    Returns
    -------
    Tensor
        Probabilities, shape (epoch, stage).

    Raises
    ------
    HypnographError
        If a window leaves the night, or an epoch lies in no window.
    """
    n_windows, context, n_stages = logits.shape
    if len(starts) != n_windows:
        raise HypnographError(f"{len(starts)} starts for {n_windows} windows; each window needs one")
    if n_windows == 0:
        raise HypnographError("no window to join; a night needs at least one")
    if min(starts) < 0 or max(starts) + context > n_epochs:
        raise HypnographError(
            f"windows of {context} epochs start at {min(starts)} to {max(starts)}; the night has {n_epochs} epochs"
        )
    within = torch.arange(context, device=logits.device)
    where = (torch.tensor(list(starts), device=logits.device)[:, None] + within).flatten()
    votes = torch.bincount(where, minlength=n_epochs)
    if not votes.all():
        raise HypnographError(
            f"epoch {int((votes == 0).nonzero()[0])} lies in no window; let the windows cover the night"
        )
    total = logits.new_zeros(n_epochs, n_stages)
    total.index_add_(0, where, torch.log_softmax(logits, dim=-1).flatten(0, 1))
    return torch.softmax(total / votes[:, None], dim=-1)
