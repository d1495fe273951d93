"""The base stager of SleepGPT: TinySleepNet's convolutions without its recurrent layer, one epoch at a time.

Paper: T. Yu et al., SleepGPT, "A Sleep Stage Language Model for Efficient Sleep Assessment", medRxiv 2024,
DOI 10.1101/2024.10.26.24316166. The convolutions are those of A. Supratak and Y. Guo, TinySleepNet, EMBC 2020,
DOI 10.1109/EMBC44109.2020.9176741.

410,245 parameters with the defaults (one channel, 100 Hz, 30 s): 400,640 in the convolutions and 9,605 in the
classifier, which sees 128 filters × 15 frames = 1920 features.

Input: microvolts, 100 Hz, not scaled. The authors' staging script filters from 0.4 to 30 Hz and uses Fpz-Cz.

Weights published by the authors are read with `from_published`.

Differs from the paper
----------------------
- Any number of channels, sampling rate and stages: kernel and stride of the first layer are half a second and a
  sixteenth of a second, as TinySleepNet states them; the published code has 50 and 6 samples for each rate.
- The padding is that of SleepGPT's code, so that its weights give its outputs: each convolution gets kernel − 1 zeros
  whatever its stride, (24, 25) in the first layer, and the max-pools get none (3000 → 500 → 62 → 15). The original
  TinySleepNet pads both as TensorFlow's "SAME" does, (22, 22) in the first layer, 63 and 16 frames after the pools:
  ``tensorflow_padding=True``, with 2048 features and 410,885 parameters. Published weights need the default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec, usual_kinds

NAME = "sleepgpt-tinysleepnet"
CAUSAL = True
"""Each epoch is staged alone."""

POOLS = (8, 4)
LATER_KERNEL = 8


def same_padding(n: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after ``n`` values that TensorFlow's "SAME" adds."""
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


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
    dropout
        Probability of dropping a value after each max-pool while training.
    tensorflow_padding
        Pad convolutions and max-pools as TensorFlow's "SAME" does, so that no frame at the end is lost.
    """

    n_channels: int = 1
    sample_rate: float = 100.0
    n_stages: int = 5
    epoch_s: float = 30.0
    n_filters: int = 128
    dropout: float = 0.5
    tensorflow_padding: bool = False

    def __post_init__(self) -> None:
        for name, least in (("n_channels", 1), ("n_stages", 2), ("n_filters", 1)):
            if getattr(self, name) < least:
                raise HypnographError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not (isfinite(self.sample_rate) and self.sample_rate >= 16):
            raise HypnographError(f"sample_rate is {self.sample_rate} Hz; {NAME} needs at least 16 Hz")
        if not 0 <= self.dropout < 1:
            raise HypnographError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        if not (isfinite(self.epoch_s) and self.epoch_s > 0 and self.n_frames >= 1):
            least_s = POOLS[0] * POOLS[1] * self.first_stride / self.sample_rate
            raise HypnographError(f"epoch_s is {self.epoch_s} s; {NAME} needs at least {least_s:.3g} s")

    @property
    def n_samples(self) -> int:
        return round(self.sample_rate * self.epoch_s)

    @property
    def first_kernel(self) -> int:
        return int(self.sample_rate // 2)

    @property
    def first_stride(self) -> int:
        return int(self.sample_rate // 16)

    @property
    def first_padding(self) -> tuple[int, int]:
        """Zeros before and after an epoch, (24, 25) with the defaults."""
        if self.tensorflow_padding:
            return same_padding(self.n_samples, self.first_kernel, self.first_stride)
        return (self.first_kernel - 1) // 2, self.first_kernel // 2

    @property
    def n_frames(self) -> int:
        """Frames of an epoch that reach the classifier, 15 with the defaults."""
        n = (self.n_samples + sum(self.first_padding) - self.first_kernel) // self.first_stride + 1
        for pool in POOLS:
            n = -(-n // pool) if self.tensorflow_padding else n // pool
        return n


PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "paper": Config(),
    "small": Config(n_filters=8, sample_rate=64.0),
}


def input_spec(config: Config) -> InputSpec:
    """Return how signals are prepared."""
    return InputSpec(usual_kinds(config.n_channels), config.sample_rate, epoch_s=config.epoch_s, band_hz=(0.4, 30.0))


def reach(config: Config) -> int:
    """Return how many epochs before and after an epoch its logits depend on: none."""
    return 0


class ConvolutionBlock(nn.Module):
    """Convolution without bias, batch norm, ReLU; zeros are added by hand since the two sides differ."""

    def __init__(self, n_in: int, n_out: int, *, kernel: int, stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        self.padding = padding
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
        n, later = config.n_filters, LATER_KERNEL
        self.first = ConvolutionBlock(
            config.n_channels,
            n,
            kernel=config.first_kernel,
            stride=config.first_stride,
            padding=config.first_padding,
        )
        self.later = nn.Sequential(
            *(ConvolutionBlock(n, n, kernel=later, stride=1, padding=((later - 1) // 2, later // 2)) for _ in range(3))
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(n * config.n_frames, config.n_stages)

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
        x = self.dropout(self.pool(self.first(x), POOLS[0]))
        x = self.dropout(self.pool(self.later(x), POOLS[1]))
        return x.flatten(1)

    def pool(self, x: Tensor, size: int) -> Tensor:
        """Keep the largest of each ``size`` frames; zeros at the sides never win, since all values are ≥ 0."""
        if self.config.tensorflow_padding:
            x = F.pad(x, same_padding(x.shape[-1], size, size))
        return F.max_pool1d(x, size)

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
        """
        logits: Tensor = self.classifier(self.features(x.flatten(0, 1)))
        return logits.reshape(x.shape[0], x.shape[1], -1)


PUBLISHED_BLOCKS = {"conv1.0": "first", "conv1.3": "later.0", "conv1.4": "later.1", "conv1.5": "later.2"}
"""The blocks of the published file and ours; inside, ``0`` is the convolution and ``1`` the batch norm."""


def published_names() -> dict[str, str]:
    """Return the names in the authors' file, each with the name in `Model`."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {}
    for theirs, ours in PUBLISHED_BLOCKS.items():
        names[f"{theirs}.0.weight"] = f"{ours}.convolution.weight"
        names |= {f"{theirs}.1.{part}": f"{ours}.norm.{part}" for part in norm}
    return names | {f"classifier.{part}": f"classifier.{part}" for part in ("weight", "bias")}


def from_published(state_dict: Mapping[str, Tensor]) -> Model:
    """Make the network from the weights that SleepGPT's authors published.

    The file is ``output/tinysleepnet_pretrained/best.pth.tar`` of github.com/yuty2009/sleepgpt (Apache-2.0), trained on
    Fpz-Cz of Sleep-EDF and saved on a GPU: read it with ``torch.load(path, map_location="cpu", weights_only=True)``.
    Its convolutions are two-dimensional with a last axis of one, which goes; all other values are taken as they are.

    Parameters
    ----------
    state_dict
        Values by the names of the published file (`published_names`).

    Returns
    -------
    Model
        In evaluation mode; epoch length and number of stages are those of the defaults.

    Raises
    ------
    HypnographError
        If a name is missing, unknown, or has another shape.
    """
    names = published_names()
    missing, unknown = sorted(names.keys() - state_dict.keys()), sorted(state_dict.keys() - names.keys())
    if missing or unknown:
        raise HypnographError(
            f"not the published weights of {NAME}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
        )
    model = Model(Config())
    expected = model.state_dict()
    values = {}
    for theirs, ours in names.items():
        value = state_dict[theirs]
        if value.ndim == 4 and value.shape[-1] == 1:
            value = value.squeeze(-1)
        if value.shape != expected[ours].shape:
            raise HypnographError(
                f"{theirs} has shape {tuple(state_dict[theirs].shape)}; {NAME} needs {tuple(expected[ours].shape)}"
            )
        values[ours] = value.detach().clone()
    model.load_state_dict(values)
    return model.eval()
