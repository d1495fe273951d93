"""Where a network's attention goes, for each stage: inside an epoch, or from an epoch to those around it.

Two kinds of module are read. ``attention_weights``: what comes out of it are weights (row, head, query, key), as in
AttnSleep; a row is an epoch, or a window whose queries and keys are epochs. ``attention`` with a method ``weights``: a
weighted mean over frames, (row, frame, 1), as in SeqSleepNet.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from hypnograph.hypnogram import Hypnogram
from hypnograph.network import Floats, TorchNetwork

EPOCHS_AT_ONCE = 40
"""A window, where the network says nothing else."""

Span = Literal["inside an epoch", "among epochs"]


@dataclass(frozen=True, eq=False)
class Attention:
    """Mean attention of one layer in each stage.

    Parameters
    ----------
    name
        Of the module.
    span
        What is attended to.
    labels
        The stages.
    weights : float64 array, shape (stage, query, key)
        Mean over heads and over epochs of the stage; NaN for stages that do not occur. Inside an epoch: queries and
        keys are its frames or features, and there is one query where a layer makes one mean of an epoch. Among epochs:
        one query, and keys from as many epochs before as the window has, through the epoch itself in the middle.
    """

    name: str
    span: Span
    labels: tuple[str, ...]
    weights: NDArray[np.float64]


def attention_of(network: TorchNetwork, night: Floats, stages: Hypnogram) -> tuple[Attention, ...]:
    """Return the mean attention of each layer that has some.

    Parameters
    ----------
    network
        What to look into.
    night : float32 array, shape (n_epochs, channel, sample)
        Prepared as the network's input says.
    stages
        One for each epoch of the night; unscored epochs do not count.
    """
    context = network.info.input.context or EPOCHS_AT_ONCE
    sums = _Sums(stages)
    hooks = [
        module.register_forward_hook(partial(sums.add, name=name))
        for name, module in network.model.named_modules()
        if name.rpartition(".")[2] == "attention_weights" or _is_pooling(module)
    ]
    try:
        for first in range(0, len(night) if hooks else 0, context):
            sums.first = first
            sums.n_epochs = min(context, len(night) - first)
            network.run(night[None, first : first + context])
    finally:
        for hook in hooks:
            hook.remove()
    return sums.means()


def _is_pooling(module: nn.Module) -> bool:
    return callable(getattr(module, "weights", None))


class _Sums:
    """Adds up attention by stage, a window at a time."""

    def __init__(self, stages: Hypnogram) -> None:
        self.stages = stages
        self.first = self.n_epochs = 0
        self.spans: dict[str, Span] = {}
        self.totals: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, NDArray[np.float64]] = {}

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, *, name: str) -> None:
        pooling: Any = module
        weights = pooling.weights(inputs[0]).transpose(1, 2) if _is_pooling(module) else output.mean(dim=1)
        values = weights.double().cpu().numpy()
        if len(values) == self.n_epochs:
            self._add(name, "inside an epoch", values, np.ones_like(values))
        elif values.shape == (1, self.n_epochs, self.n_epochs):
            self._add(name, "among epochs", *_by_offset(values[0]))

    def _add(self, name: str, span: Span, values: NDArray[np.float64], counts: NDArray[np.float64]) -> None:
        """Add values (epoch, query, key), each with how often it was seen: 1 or 0."""
        there = self.stages.stages[self.first : self.first + self.n_epochs]
        chosen = there == np.arange(self.stages.scheme.n_stages)[:, None]
        for kept, new in ((self.totals, values), (self.counts, counts)):
            by_stage = np.stack([new[which].sum(axis=0) for which in chosen])
            kept[name] = _sum_about_the_middle(kept[name], by_stage) if name in kept else by_stage
        self.spans[name] = span

    def means(self) -> tuple[Attention, ...]:
        with np.errstate(invalid="ignore"):
            return tuple(
                Attention(name, self.spans[name], self.stages.scheme.labels, total / self.counts[name])
                for name, total in self.totals.items()
            )


def _by_offset(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights among epochs (query, key) by the distance from query to key, (query, 1, 2 n − 1), and which are.

    Column n − 1 is the epoch's own.
    """
    n = len(weights)
    column = np.arange(n) - np.arange(n)[:, None] + n - 1
    moved, seen = np.zeros((n, 1, 2 * n - 1)), np.zeros((n, 1, 2 * n - 1))
    moved[np.arange(n)[:, None], 0, column] = weights
    seen[np.arange(n)[:, None], 0, column] = 1
    return moved, seen


def _sum_about_the_middle(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum, where the last window of a night may be shorter: its own epoch is in the middle, too."""
    margin = (one.shape[-1] - other.shape[-1]) // 2
    if not margin:
        return one + other
    return one + np.pad(other, [(0, 0), (0, 0), (margin, margin)])
