"""A stage language model with a fixed memory: counters and leaky averages of the night so far, and a small network.

After each epoch the night so far is summarised by numbers that can be kept up to date epoch by epoch: the last eight
stages, how long this bout has lasted, the bouts before it, the time since the recording began, since sleep began and
since each stage was last seen, how much of each stage there was lately (half-lives of 2.5 min to 2.7 h), and how
readily this sleeper has left each stage tonight. A few small networks turn the numbers into how likely each stage is
next; their probabilities are averaged.

What an n-gram cannot see is how fragmented this night is and how late it is; what a transformer of 60 or 90 epochs has
to learn from few nights is given here. On nights of datasets that were left out it is ahead of both: see LOG.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypnograph.sequences.model_folder import about, about_of, checked_weights, read_model, write_model
from hypnograph.sequences.next_stage import filled
from hypnograph.stages import AASM_5, Stage, StageScheme
from hypnograph.windows import log_softmax

ARCHITECTURE = "stage-memory"

LAST_EPOCHS = 8
LAST_BOUTS = 3
HALF_LIVES = (5, 20, 80, 320)
"""Of the shares of the stages, in epochs."""
LEAVING_HALF_LIVES = (60, 300)
"""Of how readily each stage was left, in epochs."""
LONG_AGO = 1000
"""A stage that was not seen for so many epochs, or never."""
WIDEST = 6.0
"""Standard deviations at which a summary is clipped: nights may be odder than any that was learned from."""
LAYERS = ("first", "second", "output")

_RATES = 1 - 0.5 ** (1 / np.array(HALF_LIVES))
_LEAVING_RATES = (1 - 0.5 ** (1 / np.array(LEAVING_HALF_LIVES)))[:, None]

Floats = NDArray[np.float32]


class NightMemory:
    """What is remembered of some nights, epoch by epoch.

    Parameters
    ----------
    n_nights
        So many are read side by side.
    n_stages
        Stages of the scheme; the first is wakefulness.
    """

    def __init__(self, n_nights: int, n_stages: int) -> None:
        self.n_stages = n_stages
        self.last = np.full((n_nights, LAST_EPOCHS), -1)
        self.age = np.zeros(n_nights)
        self.bouts = np.full((n_nights, LAST_BOUTS), -1)
        self.durations = np.ones((n_nights, LAST_BOUTS))
        self.epochs = np.zeros(n_nights)
        self.since_onset = np.zeros(n_nights)
        self.since_stage = np.full((n_nights, n_stages), float(LONG_AGO))
        self.shares = np.zeros((n_nights, len(HALF_LIVES), n_stages))
        self.changes = np.zeros((n_nights, len(HALF_LIVES)))
        self.left = np.zeros((n_nights, len(LEAVING_HALF_LIVES), n_stages))
        self.spent = np.zeros((n_nights, len(LEAVING_HALF_LIVES), n_stages))

    def select(self, nights: NDArray[np.intp]) -> None:
        """Go on with copies of these nights, by their numbers."""
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                setattr(self, name, values[nights])

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the summary of each night after this epoch, shape (night, `n_summaries`).

        Parameters
        ----------
        stages : int array, shape (night,)
            −1 is unscored: taken for the stage before it, W at first, with a mark.
        """
        is_first = self.last[:, 0] < 0
        stage = np.where(stages != Stage.UNSCORED, stages, np.where(is_first, 0, self.last[:, 0]))
        before = np.where(is_first, stage, self.last[:, 0])
        changed = stage != before
        self._note_bout(changed, before)
        self.age = np.where(changed, 1, self.age + 1)
        self.last = np.concatenate([stage[:, None], self.last[:, :-1]], axis=1)
        self.epochs = self.epochs + 1
        self.since_onset = np.where((self.since_onset > 0) | (stage > 0), self.since_onset + 1, 0)
        # The last row, of zeros, is for what was not there yet: index −1.
        one_hot = np.eye(self.n_stages + 1, self.n_stages)
        here, was = one_hot[stage], one_hot[before]
        self.since_stage = np.where(here > 0, 0, np.minimum(self.since_stage + 1, LONG_AGO))
        self.shares = self.shares + _RATES[:, None] * (here[:, None] - self.shares)
        self.changes = self.changes + _RATES * ((changed | is_first)[:, None] - self.changes)
        self.left = self.left + _LEAVING_RATES * ((was * changed[:, None])[:, None] - self.left)
        self.spent = self.spent + _LEAVING_RATES * (was[:, None] - self.spent)
        return self._summary(one_hot, here, stages == Stage.UNSCORED)

    def _note_bout(self, changed: NDArray[np.bool_], before: NDArray[np.intp]) -> None:
        if not changed.any():
            return
        bouts = np.concatenate([before[:, None], self.bouts[:, :-1]], axis=1)
        durations = np.concatenate([self.age[:, None], self.durations[:, :-1]], axis=1)
        self.bouts = np.where(changed[:, None], bouts, self.bouts)
        self.durations = np.where(changed[:, None], durations, self.durations)

    def _summary(
        self, one_hot: NDArray[np.float64], here: NDArray[np.float64], unscored: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        n_nights = len(here)
        age, onset = self.age[:, None], self.since_onset[:, None]
        parts = [
            one_hot[self.last], unscored,
            np.log(age), 1 / age, np.minimum(age, 20), here * np.log(age),
            one_hot[self.bouts], np.log(self.durations),
            self.epochs, np.log(self.epochs), onset, np.log1p(onset), onset > 0, np.log1p(self.since_stage),
            self.shares, self.changes, (self.left + 0.001) / (self.spent + 0.01),
        ]  # fmt: skip
        return np.concatenate([part.reshape(n_nights, -1) for part in parts], axis=1)


def n_summaries(n_stages: int) -> int:
    """Return how many numbers summarise a night."""
    return int(NightMemory(1, n_stages).read(np.zeros(1, dtype=np.intp)).shape[1])


def summaries(nights: NDArray[np.int8], n_stages: int) -> Floats:
    """Return the summary after each epoch of some nights, shape (night, n_epochs, `n_summaries`).

    Parameters
    ----------
    nights : int array, shape (night, n_epochs)
        −1 is unscored.
    n_stages
        Stages of the scheme.
    """
    memory = NightMemory(len(nights), n_stages)
    return np.stack([memory.read(epoch.astype(np.intp)).astype(np.float32) for epoch in nights.T], axis=1)


def weight_shapes(n_stages: int, members: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the names of the weights and their shapes; matrices are (member, in, out)."""
    n_in = n_summaries(n_stages)
    shapes: dict[str, tuple[int, ...]] = {"mean": (n_in,), "deviation": (n_in,)}
    sizes = ((n_in, hidden), (hidden, hidden), (hidden, n_stages))
    for layer, (before, after) in zip(LAYERS, sizes, strict=True):
        shapes |= {f"{layer}.weight": (members, before, after), f"{layer}.bias": (members, 1, after)}
    return shapes


@dataclass(frozen=True, eq=False, kw_only=True)
class MemoryModel:
    """p(stage at t + 1 | stages up to t), the whole night before t included.

    Parameters
    ----------
    weights
        float32 arrays by the names of `weight_shapes`; copied, and read-only from then on.
    scheme
        The stages, in their order.
    name, data, licence, source
        What the weights are called, what they were trained on, on which terms, and where they come from.

    Raises
    ------
    HypnographError
        If weights are missing, unknown, not finite, or of shapes that do not fit.
    """

    weights: Mapping[str, Floats]
    scheme: StageScheme = AASM_5
    name: str = ""
    data: str = ""
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        first = np.shape(self.weights.get("first.weight", ()))
        members, _, hidden = first if len(first) == 3 else (1, 1, 1)
        shapes = weight_shapes(self.scheme.n_stages, members, hidden)
        found = checked_weights(self.weights, shapes, f"weights of a {ARCHITECTURE} of scheme {self.scheme.name}")
        object.__setattr__(self, "weights", MappingProxyType(found))

    @property
    def targets_ahead(self) -> int:
        """The next epoch."""
        return 1

    @property
    def n_parameters(self) -> int:
        """How many values the weights are."""
        return sum(values.size for values in self.weights.values())

    def log_probabilities(self, stages: ArrayLike) -> NDArray[np.float64]:
        """Return how likely each stage is one epoch later, at each epoch.

        Parameters
        ----------
        stages : int array, shape (n_epochs,) or (night, n_epochs)
            Indices into the labels of the scheme; −1 is unscored.

        Returns
        -------
        float64 array, shape (n_epochs, n_stages) or (night, n_epochs, n_stages)
            Natural logarithms. Row t is for epoch t + 1.

        Raises
        ------
        HypnographError
            If there are no stages, or what is given is not stages of the scheme.
        """
        given = np.asarray(stages)
        filled(given, self.scheme)  # for its checks; unscored epochs are marked, not hidden
        found = self._next(summaries(np.atleast_2d(given), self.scheme.n_stages))
        return found.reshape(*given.shape, -1)

    def reader(self, n_nights: int = 1) -> "_MemoryReader":
        """Return what reads so many nights side by side, from before their first epochs."""
        return _MemoryReader(self, n_nights)

    def _next(self, summary: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return log probabilities of the next stage, shape (…, n_stages)."""
        weights = self.weights
        rows = summary.reshape(-1, summary.shape[-1]).astype(np.float32)
        x = np.clip((rows - weights["mean"]) / weights["deviation"], -WIDEST, WIDEST)
        for layer in LAYERS[:-1]:
            x = np.maximum(x @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"], 0)
        logits = x @ weights["output.weight"] + weights["output.bias"]
        mean = np.logaddexp.reduce(log_softmax(logits), axis=0) - np.log(len(logits))
        return np.asarray(mean, dtype=np.float64).reshape(*summary.shape[:-1], -1)

    def save(self, folder: str | Path) -> Path:
        """Write a checkpoint: ``model.safetensors``, ``model.json`` and ``README.md``.

        Raises
        ------
        HypnographError
            If the folder holds one of these files: a checkpoint is never overwritten.
        """
        return write_model(folder, {"architecture": ARCHITECTURE, **about(self)}, self.weights)


class _MemoryReader:
    def __init__(self, model: MemoryModel, n_nights: int) -> None:
        self._model = model
        self._memory = NightMemory(n_nights, model.scheme.n_stages)

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        return self._model._next(self._memory.read(np.asarray(stages)))

    def select(self, nights: NDArray[np.intp]) -> None:
        self._memory.select(nights)


def load_memory(folder: str | Path) -> MemoryModel:
    """Read a checkpoint that `MemoryModel.save` wrote.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of another architecture, or of a newer format.
    """

    def build(info: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> MemoryModel:
        return MemoryModel(weights=arrays, **about_of(info))

    return read_model(folder, ARCHITECTURE, build)
