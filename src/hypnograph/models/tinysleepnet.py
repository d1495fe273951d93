"""TinySleepNet: one convolutional branch for each epoch, one LSTM forward in time; it can stage a night as it happens.

Supratak & Guo (2020), "TinySleepNet: an efficient deep learning model for sleep stage scoring based on raw
single-channel EEG", EMBC 2020, 641–644. DOI 10.1109/EMBC44109.2020.9176741.

Input in µV, not normalised. The first filters are half a second long, whatever the sample rate. `Model.forward` stages
windows that know nothing of each other; `Model.run` carries the state from one context to the next, which is how the
paper trains and predicts; `Model.step` takes one epoch and gives its stage at once. All three give the same logits for
the same night.

1,516,293 parameters as published (100 Hz, one channel, preset ``"paper"``): convolutions 400,640, LSTM 1,115,008,
output 645; the paper rounds to 1.3 million. 1,515,909 parameters without peepholes (preset ``"default"``). A feature
vector has 2048 values at 100 Hz.

`Model.weight_penalty` gives the L2 term of the training (λ = 1e-3), over all four convolutions.

Differs from the paper
----------------------
- No peepholes by default: they take a loop over epochs. ``peepholes=True`` is as in the official code.
- The forget gate's 1 is the initial value of its bias; the official code adds 1 to a bias that starts at 0. To take
  over its weights, add 1 to that bias.
- Any number of channels, any sample rate and any context; output are logits, the softmax is left to the caller.

What the official code got wrong is in its preparation and its loss, not in the network: there is no option here.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hypnograph.errors import HypnographError
from hypnograph.peephole_lstm import Lstm
from hypnograph.preprocess import InputSpec, usual_kinds

NAME = "tinysleepnet"
CAUSAL = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """What makes a TinySleepNet; the defaults are the paper's sizes."""

    n_channels: int = 1
    sample_rate: float = 100.0
    n_stages: int = 5
    epoch_s: float = 30.0
    filters: int = 128
    units: int = 128
    dropout: float = 0.5
    peepholes: bool = False
    norm_momentum: float = 0.01

    def __post_init__(self) -> None:
        """Refuse values that make no network."""
        for name, least in {"n_channels": 1, "n_stages": 2, "filters": 1, "units": 1}.items():
            if getattr(self, name) < least:
                raise HypnographError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 16 <= self.sample_rate < math.inf:
            raise HypnographError(
                f"sample_rate is {self.sample_rate} Hz; the first layer's stride needs at least 16 Hz"
            )
        if not 1 <= self.epoch_s < math.inf:
            raise HypnographError(f"epoch_s is {self.epoch_s} s; it must be at least 1 s")
        if not 0 < self.norm_momentum <= 1:
            raise HypnographError(f"norm_momentum is {self.norm_momentum}; it must be above 0, and 1 at most")
        if not 0 <= self.dropout < 1:
            raise HypnographError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")

    @property
    def n_samples(self) -> int:
        """Samples in an epoch."""
        return round(self.sample_rate * self.epoch_s)


PRESETS = {
    "default": Config(),
    "paper": Config(peepholes=True),
    "small": Config(filters=8, units=8),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(usual_kinds(config.n_channels), config.sample_rate, epoch_s=config.epoch_s)


def reach(config: Config) -> None:
    """Return how many epochs before and after an epoch its logits depend on: all before it, through the state."""
    return None


def _same_padding(length: int, *, size: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" padding, left and right: the output has ``ceil(length / stride)`` values."""
    total = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def _variance_scaling(weight: Tensor) -> None:
    """Fill with a normal distribution cut at two standard deviations, of variance 1 / fan-in after the cut."""
    std = math.sqrt(1 / weight[0].numel()) / 0.8796256610342398
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Convolution(nn.Sequential):
    """Convolution with "SAME" padding and no bias, batch normalisation, ReLU."""

    def __init__(self, n_in: int, n_out: int, *, length: int, size: int, stride: int = 1, momentum: float) -> None:
        convolution = nn.Conv1d(n_in, n_out, size, stride, bias=False)
        _variance_scaling(convolution.weight)
        padding = nn.ConstantPad1d(_same_padding(length, size=size, stride=stride), 0.0)
        super().__init__(padding, convolution, nn.BatchNorm1d(n_out, eps=1e-3, momentum=momentum), nn.ReLU())


class Pool(nn.Sequential):
    """The largest value of each ``size`` values, with "SAME" padding."""

    def __init__(self, *, length: int, size: int) -> None:
        padding = nn.ConstantPad1d(_same_padding(length, size=size, stride=size), -math.inf)
        super().__init__(padding, nn.MaxPool1d(size))


class Representation(nn.Module):
    """Four convolutions and two pools: (window, context, channel, sample) → (window, context, feature)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.n_samples = config.n_samples
        size, stride = int(config.sample_rate / 2), int(config.sample_rate / 16)
        momentum = config.norm_momentum
        length = math.ceil(config.n_samples / stride)
        layers: list[nn.Module] = [
            Convolution(
                config.n_channels, config.filters, length=config.n_samples, size=size, stride=stride, momentum=momentum
            ),
            Pool(length=length, size=8),
            nn.Dropout(config.dropout),
        ]
        length = math.ceil(length / 8)
        layers += [
            Convolution(config.filters, config.filters, length=length, size=8, momentum=momentum) for _ in range(3)
        ]
        layers += [Pool(length=length, size=4), nn.Flatten(), nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers)
        self.n_features = config.filters * math.ceil(length / 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of each epoch."""
        if x.shape[-1] != self.n_samples:
            raise HypnographError(f"epochs have {x.shape[-1]} samples; this network takes {self.n_samples}")
        features: Tensor = self.layers(x.flatten(0, 1))
        return features.reshape(x.shape[0], x.shape[1], self.n_features)


class Model(nn.Module):
    """TinySleepNet: (window, context, channel, sample) → logits (window, context, stage)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.representation = Representation(config)
        self.lstm = Lstm(self.representation.n_features, config.units, peepholes=config.peepholes)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.units, config.n_stages)
        _variance_scaling(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of windows that know nothing of each other."""
        return self.run(x)[0]

    def run(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits of a context and the state to give with the context that follows it in the night.

        Parameters
        ----------
        x
            (window, context, channel, sample), in µV.
        state
            (output and cell, window, unit), as returned for the context before. None at the start of a night.
        """
        start = self.initial_state(x.shape[0]) if state is None else state
        outputs, last = self.lstm(self.representation(x), start)
        return self.output(self.dropout(outputs)), last

    def step(self, epoch: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Stage one epoch as soon as it is recorded.

        Parameters
        ----------
        epoch
            (window, channel, sample), in µV; one window for each person who sleeps.
        state
            (output and cell, window, unit), as returned for the epoch before. None at the start of a night.

        Returns
        -------
        logits
            (window, stage).
        state
            To give with the next epoch.
        """
        logits, last = self.run(epoch.unsqueeze(1), state)
        return logits.squeeze(1), last

    def cell_states(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the LSTM's cells at each epoch (window, context, unit)."""
        start = self.initial_state(x.shape[0]) if state is None else state
        return self.lstm.unroll(self.representation(x), start)[1]

    def initial_state(self, n_windows: int) -> Tensor:
        """Return the state at the start of a night: zeros (output and cell, window, unit)."""
        return self.output.weight.new_zeros(2, n_windows, self.config.units)

    def weight_penalty(self) -> Tensor:
        """Return ½‖W‖² over all convolutions."""
        convolutions = [layer for layer in self.representation.modules() if isinstance(layer, nn.Conv1d)]
        return torch.stack([layer.weight.square().sum() for layer in convolutions]).sum() / 2
