"""DeepSleepNet: two convolutional branches for each epoch, a residual bidirectional LSTM over epochs.

Supratak, Dong, Wu & Guo (2017), "DeepSleepNet: a model for automatic sleep stage scoring based on raw single-channel
EEG", IEEE TNSRE 25(11), 1998–2008. DOI 10.1109/TNSRE.2017.2721116, arXiv 1703.04046.

Input in µV, not normalised. One branch with small filters (half a second) sees when something happens, one with large
filters (four seconds) sees which rhythm it is; filters and strides follow the sample rate. The LSTM adds what
neighbouring epochs say about this one.

22,645,637 parameters as published (100 Hz, one channel, preset ``"paper"``): branches 604,032, LSTM 18,888,704,
shortcut 3,147,776, output 5,125. 22,639,493 parameters without peepholes (preset ``"default"``). A feature vector has
3072 values at 100 and 200 Hz, 3200 at 125 Hz, 2944 at 128 and 256 Hz.

Training is in two steps: `Pretraining` learns the branches (``representation``) on single epochs, then `Model` takes
them over and learns the rest on consecutive epochs. `Model.weight_penalty` gives the L2 term (λ = 1e-3 in the paper).

Differs from the paper
----------------------
- No peepholes by default: they take a loop over epochs. ``peepholes=True`` is as published.
- The forget gate's 1 is the initial value of its bias; the official code adds 1 to a bias that starts at 0. To take
  over its weights, add 1 to that bias.
- Any number of channels, any sample rate and any context; output are logits, the softmax is left to the caller.

Quirks of the official code, all off by default (all on in preset ``"official"``, save the last):

- ``bw_state="carry"``: between consecutive contexts of a night `Model.run` carries the *backward* LSTM's state too, so
  that it starts at the end of a context from what it knew at the start of the one before. ``"reset"`` starts from zero.
- ``l2_first_layers="small"``: the L2 term covers the first layer of the small-filter branch alone. ``"both"`` is what
  the paper says.
- ``kernel_sample_rate=100.0``: filters and strides are those for 100 Hz, whatever the sample rate. ``None`` derives
  them from it.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hypnograph.errors import HypnographError
from hypnograph.peephole_lstm import Lstm
from hypnograph.preprocess import InputSpec, usual_kinds

NAME = "deepsleepnet"
CAUSAL = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """What makes a DeepSleepNet; the defaults are the paper's sizes."""

    n_channels: int = 1
    sample_rate: float = 100.0
    n_stages: int = 5
    epoch_s: float = 30.0
    first_filters: int = 64
    filters: int = 128
    units: int = 512
    n_layers: int = 2
    dropout: float = 0.5
    peepholes: bool = False
    bw_state: Literal["reset", "carry"] = "reset"
    l2_first_layers: Literal["both", "small"] = "both"
    kernel_sample_rate: float | None = None
    norm_momentum: float = 0.001

    def __post_init__(self) -> None:
        """Refuse values that make no network."""
        for name, least in {
            "n_channels": 1,
            "n_stages": 2,
            "first_filters": 1,
            "filters": 1,
            "units": 1,
            "n_layers": 1,
        }.items():
            if getattr(self, name) < least:
                raise HypnographError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("sample_rate", "kernel_sample_rate"):
            rate = getattr(self, name)
            if rate is not None and not 16 <= rate < math.inf:
                raise HypnographError(f"{name} is {rate} Hz; the first layer's stride needs at least 16 Hz")
        if not 1 <= self.epoch_s < math.inf:
            raise HypnographError(f"epoch_s is {self.epoch_s} s; it must be at least 1 s")
        if not 0 <= self.dropout < 1:
            raise HypnographError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")
        if not 0 < self.norm_momentum <= 1:
            raise HypnographError(f"norm_momentum is {self.norm_momentum}; it must be above 0, and 1 at most")
        if self.bw_state not in ("reset", "carry"):
            raise HypnographError(f"bw_state is {self.bw_state!r}; it must be 'reset' or 'carry'")
        if self.l2_first_layers not in ("both", "small"):
            raise HypnographError(f"l2_first_layers is {self.l2_first_layers!r}; it must be 'both' or 'small'")

    @property
    def n_samples(self) -> int:
        """Samples in an epoch."""
        return round(self.sample_rate * self.epoch_s)


PRESETS = {
    "default": Config(),
    "paper": Config(peepholes=True),
    "official": Config(peepholes=True, bw_state="carry", l2_first_layers="small"),
    "small": Config(first_filters=2, filters=4, units=4),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(usual_kinds(config.n_channels), config.sample_rate, epoch_s=config.epoch_s, context=25)


def reach(config: Config) -> None:
    """Return how many epochs before and after an epoch its logits depend on: all of the window."""
    return None


def _same_padding(length: int, *, size: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" padding, left and right: the output has ``ceil(length / stride)`` values."""
    total = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def _truncated_normal(weight: Tensor) -> None:
    """Fill with a normal distribution of variance 2 / fan-in, cut at two standard deviations."""
    std = math.sqrt(2 / weight[0].numel())
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _batch_norm(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """Initialise the scale as the paper does."""
    nn.init.normal_(norm.weight, 1.0, 0.002)
    return norm


class Convolution(nn.Sequential):
    """Convolution with "SAME" padding and no bias, batch normalisation, ReLU."""

    def __init__(self, n_in: int, n_out: int, *, length: int, size: int, stride: int = 1, momentum: float) -> None:
        convolution = nn.Conv1d(n_in, n_out, size, stride, bias=False)
        _truncated_normal(convolution.weight)
        padding = nn.ConstantPad1d(_same_padding(length, size=size, stride=stride), 0.0)
        super().__init__(
            padding, convolution, _batch_norm(nn.BatchNorm1d(n_out, eps=1e-5, momentum=momentum)), nn.ReLU()
        )


class Pool(nn.Sequential):
    """The largest value of each ``size`` values, with "SAME" padding."""

    def __init__(self, *, length: int, size: int) -> None:
        padding = nn.ConstantPad1d(_same_padding(length, size=size, stride=size), -math.inf)
        super().__init__(padding, nn.MaxPool1d(size))


class Branch(nn.Sequential):
    """Four convolutions and two pools: (epoch, channel, sample) → (epoch, feature)."""

    def __init__(self, config: Config, *, first: tuple[int, int], pools: tuple[int, int], size: int) -> None:
        length = math.ceil(config.n_samples / first[1])
        layers: list[nn.Module] = [
            Convolution(
                config.n_channels,
                config.first_filters,
                length=config.n_samples,
                size=first[0],
                stride=first[1],
                momentum=config.norm_momentum,
            ),
            Pool(length=length, size=pools[0]),
            nn.Dropout(config.dropout),
        ]
        length = math.ceil(length / pools[0])
        for n_in in (config.first_filters, config.filters, config.filters):
            layers.append(Convolution(n_in, config.filters, length=length, size=size, momentum=config.norm_momentum))
        super().__init__(*layers, Pool(length=length, size=pools[1]), nn.Flatten())
        self.n_features = config.filters * math.ceil(length / pools[1])

    @property
    def first_filters(self) -> nn.Parameter:
        """The first layer's filters (filter, channel, sample)."""
        return self.get_parameter("0.1.weight")


class Representation(nn.Module):
    """Both branches and the dropout after them: (window, context, channel, sample) → (window, context, feature)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        rate = config.kernel_sample_rate or config.sample_rate
        self.n_samples = config.n_samples
        self.small = Branch(config, first=(int(rate / 2), int(rate / 16)), pools=(8, 4), size=8)
        self.large = Branch(config, first=(int(4 * rate), int(rate / 2)), pools=(4, 2), size=6)
        self.dropout = nn.Dropout(config.dropout)
        self.n_features = self.small.n_features + self.large.n_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of each epoch."""
        if x.shape[-1] != self.n_samples:
            raise HypnographError(f"epochs have {x.shape[-1]} samples; this network takes {self.n_samples}")
        epochs = x.flatten(0, 1)
        features = torch.cat([self.small(epochs), self.large(epochs)], dim=1)
        dropped: Tensor = self.dropout(features)
        return dropped.reshape(x.shape[0], x.shape[1], self.n_features)


class Stack(nn.Module):
    """LSTM layers in one direction, with dropout after each."""

    def __init__(self, n_inputs: int, config: Config) -> None:
        super().__init__()
        sizes = [n_inputs] + [config.units] * (config.n_layers - 1)
        self.layers = nn.ModuleList(Lstm(size, config.units, peepholes=config.peepholes) for size in sizes)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the top outputs (window, context, unit) and the last state (layer, output and cell, window, unit)."""
        states = []
        for index, layer in enumerate(self.layers):
            x, last = layer(x, state[index])
            x = self.dropout(x)
            states.append(last)
        return x, torch.stack(states)

    def cells(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the cells at each epoch (window, context, layer, unit)."""
        found = []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Lstm)
            x, cells = layer.unroll(x, state[index])
            x = self.dropout(x)
            found.append(cells)
        return torch.stack(found, dim=2)


class Model(nn.Module):
    """DeepSleepNet: (window, context, channel, sample) → logits (window, context, stage)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.representation = Representation(config)
        n_features = self.representation.n_features
        # Two independent stacks: layer 2 of a direction never sees the other, unlike in a bidirectional torch.nn.LSTM.
        self.forward_stack = Stack(n_features, config)
        self.backward_stack = Stack(n_features, config)
        self.shortcut = nn.Linear(n_features, 2 * config.units, bias=False)
        self.shortcut_norm = _batch_norm(nn.BatchNorm1d(2 * config.units, eps=1e-5, momentum=config.norm_momentum))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(2 * config.units, config.n_stages)
        for linear in (self.shortcut, self.output):
            _truncated_normal(linear.weight)
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
            (direction, layer, output and cell, window, unit), as returned for the context before. None at the start of
            a night. Its backward half is used with ``bw_state="carry"`` alone.
        """
        start = self.initial_state(x.shape[0]) if state is None else state
        features = self.representation(x)
        ahead, ahead_state = self.forward_stack(features, start[0])
        back, back_state = self.backward_stack(features.flip(1), self._backward_start(start))
        shortcut = self.shortcut_norm(self.shortcut(features).flatten(0, 1)).relu().reshape(*features.shape[:2], -1)
        logits = self.output(self.dropout(torch.cat([ahead, back.flip(1)], dim=-1) + shortcut))
        return logits, torch.stack([ahead_state, back_state])

    def cell_states(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the LSTM cells at each epoch (window, context, direction, layer, unit), forward direction first."""
        start = self.initial_state(x.shape[0]) if state is None else state
        features = self.representation(x)
        ahead = self.forward_stack.cells(features, start[0])
        back = self.backward_stack.cells(features.flip(1), self._backward_start(start))
        return torch.stack([ahead, back.flip(1)], dim=2)

    def initial_state(self, n_windows: int) -> Tensor:
        """Return the state at the start of a night: zeros (direction, layer, output and cell, window, unit)."""
        return self.output.weight.new_zeros(2, self.config.n_layers, 2, n_windows, self.config.units)

    def weight_penalty(self) -> Tensor:
        """Return ½‖W‖² over the first layers that are regularised."""
        return _weight_penalty(self.representation, self.config)

    def _backward_start(self, start: Tensor) -> Tensor:
        return start[1] if self.config.bw_state == "carry" else torch.zeros_like(start[1])


class Pretraining(nn.Module):
    """Step 1 of the training: the branches with a softmax of their own, each epoch by itself.

    (window, context, channel, sample) → logits (window, context, stage). Afterwards
    ``model.representation.load_state_dict(pretraining.representation.state_dict())``.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.representation = Representation(config)
        self.output = nn.Linear(self.representation.n_features, config.n_stages)
        _truncated_normal(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.output(self.representation(x))
        return logits

    def weight_penalty(self) -> Tensor:
        """Return ½‖W‖² over the first layers that are regularised."""
        return _weight_penalty(self.representation, self.config)


def _weight_penalty(representation: Representation, config: Config) -> Tensor:
    """Return ½‖W‖² of the first layer of both branches, or of the small-filter branch alone."""
    penalty = representation.small.first_filters.square().sum() / 2
    if config.l2_first_layers == "both":
        penalty = penalty + representation.large.first_filters.square().sum() / 2
    return penalty
