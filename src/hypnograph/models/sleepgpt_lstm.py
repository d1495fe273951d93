"""The sequence stager of SleepGPT: TinySleepNet's convolutions and a unidirectional LSTM of two layers.

Its authors call it "SeqSleepNet"; it is not the network of Phan et al. of that name.

Paper: T. Yu et al., SleepGPT, "A Sleep Stage Language Model for Efficient Sleep Assessment", medRxiv 2024,
DOI 10.1101/2024.10.26.24316166. The convolutions are those of A. Supratak and Y. Guo, TinySleepNet, EMBC 2020,
DOI 10.1109/EMBC44109.2020.9176741.

1,582,981 parameters with the defaults (one channel, 100 Hz, 30 s): 400,640 in the convolutions, 1,181,696 in the LSTM
(1920 → 128 → 128) and 645 in the last layer.

Input: microvolts, 100 Hz, not scaled. The authors' staging script filters from 0.4 to 30 Hz and uses Fpz-Cz.

Differs from the paper
----------------------
- The official code stages only the newest of 15 epochs, starting from a zero state, and lets zero epochs stand where a
  night's start leaves fewer. Here the LSTM runs once along the context and each epoch gets the logits of its own step:
  15 times less work, no invented epochs, and the state reaches back to the start of the context.
  ``many_to_one=True`` gives the official behaviour for each epoch of the context; ``history=15`` is its length. Both
  agree on the last epoch of a context of exactly ``history`` epochs.
- Any number of channels, sampling rate and stages: kernel and stride of the first layer are half a second and a
  sixteenth of a second, as TinySleepNet states them; the published code has 50 and 6 samples for each rate.
- As in SleepGPT's code, and other than in TinySleepNet, each convolution gets kernel − 1 zeros whatever its stride and
  the max-pools get none (3000 → 500 → 62 → 15).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec, usual_kinds

NAME = "sleepgpt-lstm"
CAUSAL = True
"""The LSTM runs forwards in time."""

POOLS = (8, 4)
LATER_KERNEL = 8
N_LAYERS = 2


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network looks like.

    Parameters
    ----------
    n_channels
        Signals, in the order of the input.
    sample_rate
        Samples a second, at least 16.
    n_stages
        Stages that are told apart.
    epoch_s
        Length of an epoch in seconds.
    n_filters
        Filters of each convolution.
    n_units
        Units of each LSTM layer.
    dropout
        Probability of dropping a value after each max-pool, between the LSTM layers and after them while training.
    many_to_one
        Stage each epoch from its own window of ``history`` epochs, as the official code does.
    history
        Epochs of such a window, the staged one included.
    """

    n_channels: int = 1
    sample_rate: float = 100.0
    n_stages: int = 5
    epoch_s: float = 30.0
    n_filters: int = 128
    n_units: int = 128
    dropout: float = 0.5
    many_to_one: bool = False
    history: int = 15

    def __post_init__(self) -> None:
        least = {"n_channels": 1, "n_stages": 2, "n_filters": 1, "n_units": 1, "history": 1}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise HypnographError(f"{name} is {getattr(self, name)}; it must be at least {limit}")
        if not (isfinite(self.sample_rate) and self.sample_rate >= 16):
            raise HypnographError(f"sample_rate is {self.sample_rate} Hz; {NAME} needs at least 16 Hz")
        if not 0 <= self.dropout < 1:
            raise HypnographError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        if not (isfinite(self.epoch_s) and self.epoch_s > 0 and self.n_frames >= 1):
            least_s = POOLS[0] * POOLS[1] * self.first_stride / self.sample_rate
            raise HypnographError(f"epoch_s is {self.epoch_s} s; {NAME} needs at least {least_s:.3g} s")

    @property
    def first_kernel(self) -> int:
        return int(self.sample_rate // 2)

    @property
    def first_stride(self) -> int:
        return int(self.sample_rate // 16)

    @property
    def n_frames(self) -> int:
        """Frames that the convolutions make of an epoch, 15 with the defaults."""
        n = (round(self.sample_rate * self.epoch_s) - 1) // self.first_stride + 1
        return n // POOLS[0] // POOLS[1]


PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "paper": Config(many_to_one=True),
    "small": Config(n_filters=8, n_units=8, sample_rate=64.0),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(usual_kinds(config.n_channels), config.sample_rate, epoch_s=config.epoch_s, band_hz=(0.4, 30.0))


def reach(config: Config) -> int | None:
    """Return how many epochs before an epoch its logits depend on; None: all, through the state."""
    return config.history - 1 if config.many_to_one else None


class ConvolutionBlock(nn.Module):
    """Convolution without bias, batch norm, ReLU; zeros are added by hand since the two sides differ."""

    def __init__(self, n_in: int, n_out: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.convolution = nn.Conv1d(n_in, n_out, kernel, stride, bias=False)
        self.norm = nn.BatchNorm1d(n_out)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (epoch, filter, sample) to (epoch, filter, frame)."""
        y: Tensor = self.norm(self.convolution(F.pad(x, self.padding)))
        return F.relu(y)


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
        n = config.n_filters
        self.first = ConvolutionBlock(config.n_channels, n, kernel=config.first_kernel, stride=config.first_stride)
        self.later = nn.Sequential(*(ConvolutionBlock(n, n, kernel=LATER_KERNEL, stride=1) for _ in range(3)))
        self.lstm = nn.LSTM(n * config.n_frames, config.n_units, N_LAYERS, batch_first=True, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.n_units, config.n_stages)

    def features(self, x: Tensor) -> Tensor:
        """Return the features of each epoch.

        Parameters
        ----------
        x
            Signals in µV, shape (epoch, channel, sample).

        Returns
        -------
        Tensor
            Shape (epoch, filter × frame), filters slowest: 1920 values with the defaults.
        """
        x = self.dropout(F.max_pool1d(self.first(x), POOLS[0]))
        x = self.dropout(F.max_pool1d(self.later(x), POOLS[1]))
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Stage each epoch of each window from itself and those before it.

        Parameters
        ----------
        x
            Signals in µV, shape (window, context, channel, sample).

        Returns
        -------
        Tensor
            Logits, shape (window, context, stage).
        """
        if not self.config.many_to_one:
            return self.run(x)[0]
        steps = self.last_steps(F.pad(x, (0, 0, 0, 0, self.config.history - 1, 0)))
        logits: Tensor = self.classifier(self.dropout(steps))
        return logits.reshape(x.shape[0], x.shape[1], -1)

    def run(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits of a context and the state to give with the context that follows it in the night.

        Parameters
        ----------
        x
            Signals in µV, shape (window, context, channel, sample).
        state
            (outputs and cells of both layers, window, unit), as returned for the context before. None at the start of
            a night.

        Raises
        ------
        HypnographError
            If ``many_to_one``, which stages each epoch from its own window and carries nothing on.
        """
        if self.config.many_to_one:
            raise HypnographError(f"{NAME} with many_to_one=True has no state to carry on: give it whole nights")
        features = self.features(x.flatten(0, 1)).reshape(x.shape[0], x.shape[1], -1)
        output, cell = (self.initial_state(x.shape[0]) if state is None else state).chunk(2)
        steps, last = self.lstm(features, (output.contiguous(), cell.contiguous()))
        return self.classifier(self.dropout(steps)), torch.cat(last)

    def initial_state(self, n_windows: int) -> Tensor:
        """Return the state at the start of a night: zeros (outputs and cells of both layers, window, unit)."""
        return self.classifier.weight.new_zeros(2 * N_LAYERS, n_windows, self.config.n_units)

    def last_steps(self, x: Tensor) -> Tensor:
        """Run the LSTM anew over each ``history`` epochs.

        Parameters
        ----------
        x
            Signals in µV, shape (window, history − 1 + context, channel, sample).

        Returns
        -------
        Tensor
            The last step of each run, shape (window × context, unit).
        """
        features = self.features(x.flatten(0, 1)).reshape(x.shape[0], x.shape[1], -1)
        history = self.config.history
        context = x.shape[1] - history + 1
        # Slices and not `unfold`, which the ONNX exporter refuses for a context of unknown length.
        runs = torch.stack([features[:, k : k + context] for k in range(history)], dim=2).flatten(0, 1)
        steps: Tensor = self.lstm(runs)[0]
        return steps[:, -1]
