"""What the first layer of a network looks for: its filters, their frequency response, and the stage that excites each.

Nothing here knows an architecture. A probe of random numbers is sent through the network: a convolution whose input
holds nothing but these numbers (and zeros for padding) sees the signal itself, up to its shape. Where the numbers stand
in that input tells how far apart the taps are in time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hypnograph.hypnogram import Hypnogram
from hypnograph.network import Floats, TorchNetwork

EPOCHS_AT_ONCE = 32
"""Epochs whose first-layer maps are in memory together."""

N_FREQUENCIES = 1000
"""At least so many steps of the frequency response between 0 and half the sample rate."""

Kind = Literal["convolution", "filterbank"]

_KEEPING = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "dropout", "contiguous"}
_NONLINEARITIES = {
    "relu": "ReLU", "relu_": "ReLU", "elu": "ELU", "elu_": "ELU", "gelu": "GELU", "leaky_relu": "leaky ReLU",
    "silu": "SiLU", "tanh": "tanh", "sigmoid": "sigmoid", "selu": "SELU", "mish": "Mish", "softplus": "softplus",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """A layer that sees the signal itself.

    Parameters
    ----------
    name
        Of the module in the network.
    kind
        A convolution over samples, or a filterbank over the bins of a spectrum.
    weights : float64 array, shape (filter, channel, tap) or (filter, channel, bin)
        The kernels, or the gain of each filter at each bin, from 0 Hz to half the sample rate.
    sample_rate
        Of the taps in Hz; less than the signal's where taps are apart (dilation, a signal folded by a period).
    """

    name: str
    kind: Kind
    weights: NDArray[np.float64]
    sample_rate: float

    @property
    def n_filters(self) -> int:
        return len(self.weights)

    @property
    def duration_s(self) -> float:
        """Seconds that a kernel spans."""
        return float(self.weights.shape[-1] / self.sample_rate)


@dataclass(frozen=True, eq=False)
class FrequencyResponse:
    """How strongly filters answer to each frequency.

    Parameters
    ----------
    frequency_hz : float64 array, shape (n_frequencies,)
        From 0 to half the sample rate.
    gain_db : float64 array, shape (filter, channel, n_frequencies)
        20·log10 of the gain; −inf where it is zero.
    peak_hz : float64 array, shape (filter,)
        Where the gain is largest, all channels together (root of the sum of squares); NaN for a filter of zeros.
    """

    frequency_hz: NDArray[np.float64]
    gain_db: NDArray[np.float64]
    peak_hz: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StageActivation:
    """How active each filter of a layer is in each stage.

    Parameters
    ----------
    layer
        Name of the layer.
    nonlinearity
        After which the activation is read; empty: the layer's own output.
    labels
        The stages.
    n_epochs : int array, shape (stage,)
        Epochs behind each mean.
    mean : float64 array, shape (filter, stage)
        Mean over samples and epochs, zeros that a network adds to an epoch included; NaN for stages that do not occur.
    scaled : float64 array, shape (filter, stage)
        The same, each filter from 0 (its least active stage) to 1; 0 for a filter that does not change.
    order : int array, shape (filter,)
        Filters by the stage that they prefer, the choosiest first; filters that do not change last.
    preferred : int array, shape (filter,)
        The stage in which each filter is most active; −1 for those that do not change.
    """

    layer: str
    nonlinearity: str
    labels: tuple[str, ...]
    n_epochs: NDArray[np.int64]
    mean: NDArray[np.float64]
    scaled: NDArray[np.float64]
    order: NDArray[np.int64]
    preferred: NDArray[np.int64]


def first_layers(network: TorchNetwork) -> tuple[FirstLayer, ...]:
    """Return the layers that see the signal itself, in the order in which the network uses them.

    Parameters
    ----------
    network
        Any torch module with its description.

    Returns
    -------
    tuple of FirstLayer
        Empty if the network changes the signal before its first convolution and has no filterbank.
    """
    spec = network.info.input
    # Normal numbers in float32 are as good as distinct, and no mean or sum of them is one of them.
    probe = torch.randn(
        (1, 1, len(spec.kinds), spec.epoch_samples), generator=torch.Generator().manual_seed(0), dtype=torch.float32
    )
    found: dict[nn.Module, FirstLayer] = {}

    def look(module: nn.Module, inputs: tuple[Tensor, ...], *, name: str) -> None:
        spacing = _spacing(module, inputs[0], probe)
        if spacing and module not in found:
            found[module] = FirstLayer(name, "convolution", _kernels(module), spec.sample_rate / spacing)

    hooks = [module.register_forward_pre_hook(partial(look, name=name)) for name, module in _convolutions(network)]
    with _removed_afterwards(hooks), torch.inference_mode():
        network.model(probe.to(network.device))
    return (*found.values(), *_filterbanks(network))


def _convolutions(network: TorchNetwork) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in network.model.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]


def _kernels(module: nn.Module) -> NDArray[np.float64]:
    """Return (filter, channel, tap); of two-dimensional kernels one side has length 1."""
    weight: Any = module.weight
    return np.asarray(weight.detach().flatten(2).cpu().numpy(), dtype=np.float64)


def _spacing(module: nn.Module, x: Tensor, probe: Tensor) -> int:
    """Return the samples from one tap to the next, or 0 where the input is not the probe itself."""
    size: Any = module.kernel_size
    dilation: Any = module.dilation
    if min(size, default=1) > 1 and len(size) > 1:
        return 0  # over two axes at once: not a kernel in time
    axis = int(np.argmax(size))
    # Counted from the end: a one-dimensional convolution may be given maps with an axis of length 1 in between.
    values = np.moveaxis(x.detach().cpu().numpy(), axis - len(size), -1).ravel()
    original = probe.numpy().ravel()
    order = np.argsort(original)
    place = order[np.clip(np.searchsorted(original, values, sorter=order), 0, len(order) - 1)]
    known = original[place] == values
    if not known.any() or not (known | (values == 0)).all():
        return 0
    steps = np.diff(place)[known[1:] & known[:-1]]
    return int(np.median(np.abs(steps))) * int(dilation[axis]) if len(steps) else 0


def _filterbanks(network: TorchNetwork) -> Iterator[FirstLayer]:
    """Yield learned filterbanks: linear modules of that name, (epoch, channel, bin, frame) → (epoch, frame, filter)."""
    for name, module in _named_filterbanks(network):
        n_channels, n_bins = (int(size) for size in module.weight.shape[:2])  # type: ignore[index]
        rows = []
        for channel in range(n_channels):
            # Frame i holds bin i alone: what comes out is the gain of each filter at each bin.
            bins = torch.zeros(1, n_channels, n_bins, n_bins, device=network.device)
            bins[0, channel] = torch.eye(n_bins)
            with torch.inference_mode():
                rows.append(module(bins)[0].T.cpu().numpy())
        yield FirstLayer(name, "filterbank", np.stack(rows, axis=1).astype(np.float64), network.info.input.sample_rate)


def _named_filterbanks(network: TorchNetwork) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in network.model.named_modules() if n.rpartition(".")[2] == "filterbank"]


def frequency_response(layer: FirstLayer) -> FrequencyResponse:
    """Return how strongly each filter answers to each frequency.

    Parameters
    ----------
    layer
        Kernels are taken through a Fourier transform with zeros added; a filterbank is its own response.
    """
    if layer.kind == "filterbank":
        gain = np.abs(layer.weights)
    else:
        n_fft = max(1 << (2 * N_FREQUENCIES - 1).bit_length(), 1 << (4 * layer.weights.shape[-1] - 1).bit_length())
        gain = np.abs(np.fft.rfft(layer.weights, n_fft))
    frequency_hz = np.linspace(0, layer.sample_rate / 2, gain.shape[-1])
    with np.errstate(divide="ignore"):
        gain_db = 20 * np.log10(gain)
    together = np.square(gain).sum(axis=1)
    peak_hz = np.where(together.max(axis=1) > 0, frequency_hz[together.argmax(axis=1)], np.nan)
    return FrequencyResponse(frequency_hz, gain_db, peak_hz)


# Activation ----------------------------------------------------------------------------------------------------------


def activation_by_stage(
    network: TorchNetwork, night: Floats, stages: Hypnogram, *, epochs_at_once: int = EPOCHS_AT_ONCE
) -> tuple[StageActivation, ...]:
    """Return how active each filter of each first layer is in each stage.

    The activation is read after the first nonlinearity behind the layer, normalisation in between. Epochs go through
    the first layers alone, some at once: a night of any length needs little memory.

    Parameters
    ----------
    network
        What to look into.
    night : float32 array, shape (n_epochs, channel, sample)
        Prepared as the network's input says.
    stages
        One for each epoch of the night; unscored epochs do not count.
    epochs_at_once
        How many at once.
    """
    layers = first_layers(network)
    means: dict[str, list[NDArray[np.float64]]] = {layer.name: [] for layer in layers}
    after: dict[str, str] = {}
    for first in range(0, len(night) if layers else 0, epochs_at_once):
        maps = _Maps(network, [layer.name for layer in layers])
        maps.run(torch.from_numpy(np.ascontiguousarray(night[first : first + epochs_at_once])))
        for name, mean in maps.means.items():
            means[name].append(mean)
        after |= maps.after
    return tuple(
        stage_means(np.concatenate(means[layer.name]), stages, layer=layer.name, nonlinearity=after[layer.name])
        for layer in layers
    )


def stage_means(
    activation: NDArray[np.float64], stages: Hypnogram, *, layer: str = "", nonlinearity: str = ""
) -> StageActivation:
    """Return the mean of each filter in each stage, scaled and in order.

    Parameters
    ----------
    activation : float array, shape (n_epochs, filter)
        Mean of each epoch.
    stages
        One for each epoch.
    layer, nonlinearity
        As in `StageActivation`.
    """
    n_stages = stages.scheme.n_stages
    n_epochs = np.array([(stages.stages == stage).sum() for stage in range(n_stages)])
    mean = np.full((activation.shape[1], n_stages), np.nan)
    for stage in np.flatnonzero(n_epochs):
        mean[:, stage] = activation[stages.stages == stage].mean(axis=0)
    scaled, changes = _scaled(mean)
    filled = np.nan_to_num(scaled, nan=-1.0)
    preferred = np.where(changes, filled.argmax(axis=1), -1)
    # The choosiest filter is that whose other stages are all silent.
    others = np.nan_to_num(np.where(np.arange(n_stages) == preferred[:, None], 0.0, scaled)).sum(axis=1)
    order = np.lexsort((others, np.where(changes, preferred, n_stages)))
    return StageActivation(layer, nonlinearity, stages.scheme.labels, n_epochs, mean, scaled, order, preferred)


def _scaled(mean: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each filter from 0 to 1 over the stages that there are, and whether it changes at all."""
    there = ~np.isnan(mean).all(axis=0)
    if not there.any():
        return mean, np.zeros(len(mean), dtype=bool)
    least, most = mean[:, there].min(axis=1), mean[:, there].max(axis=1)
    # Rounding makes silent filters differ in the last digit.
    changes = most - least > 1e-6 * np.maximum(np.abs(most), np.abs(least))
    spread = np.where(changes, most - least, 1.0)
    return np.where(changes[:, None] | ~there, (mean - least[:, None]) / spread[:, None], 0.0), changes


class _Enough(Exception):  # noqa: N818 (nothing went wrong)
    """All first layers have answered; the rest of the network need not run."""


class _Maps(TorchFunctionMode):
    """Follows what comes out of some layers up to the nonlinearity behind them, in one pass of the network."""

    def __init__(self, network: TorchNetwork, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names
        self.following: dict[int, tuple[str, Tensor]] = {}
        self.means: dict[str, NDArray[np.float64]] = {}
        self.after: dict[str, str] = {}
        self.n_epochs = 0

    def run(self, epochs: Tensor) -> None:
        """Send epochs (n_epochs, channel, sample) through the network, each as a window of its own."""
        self.n_epochs = len(epochs)
        modules = dict(self.network.model.named_modules())
        hooks = [modules[name].register_forward_hook(partial(self._begin, name=name)) for name in self.names]
        with _removed_afterwards(hooks), torch.inference_mode(), self:
            try:
                self.network.model(epochs[:, None].to(self.network.device))
            except _Enough:
                return
            for name, output in list(self.following.values()):
                self._take(name, output, "")

    def _begin(self, module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor, *, name: str) -> None:
        if name in self.means:
            return
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            self.following[id(output)] = (name, output)
        else:
            self._take(name, output.transpose(1, 2), "")

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        begun = self.following.get(id(args[0])) if args else None
        if begun is None:
            return output
        if name in _NONLINEARITIES:
            self._take(begun[0], output, _NONLINEARITIES[name])
        elif name in _KEEPING:
            self.following[id(output)] = (begun[0], output)
        return output

    def _take(self, name: str, output: Tensor, nonlinearity: str) -> None:
        if name in self.means:
            return
        # Some networks make several rows of each window; all but the epoch's own are the same in every epoch.
        by_epoch = output.reshape(self.n_epochs, -1, *output.shape[1:]).transpose(1, 2)
        self.means[name] = by_epoch.flatten(2).mean(dim=2, dtype=torch.float64).cpu().numpy()
        self.after[name] = nonlinearity
        if len(self.means) == len(self.names):
            raise _Enough


@contextmanager
def _removed_afterwards(hooks: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
