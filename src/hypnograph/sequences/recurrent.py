"""A stage language model that learns what to remember: a gated recurrent unit (GRU), computed by numpy.

Cho et al. (2014), doi:10.3115/v1/D14-1179, with the reset gate behind the recurrent product, as PyTorch has
it. A rival of `memory.MemoryModel` and of the transformer, for comparison.
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

ARCHITECTURE = "stage-recurrent"

Floats = NDArray[np.float32]


def weight_shapes(n_stages: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the names of the weights and their shapes; matrices are (in, out), gates reset, update, new."""
    return {
        "input.weight": (n_stages + 1, 3 * hidden), "input.bias": (3 * hidden,),
        "state.weight": (hidden, 3 * hidden), "state.bias": (3 * hidden,),
        "output.weight": (hidden, n_stages), "output.bias": (n_stages,),
    }  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class RecurrentModel:
    """p(stage at t + 1 | stages up to t), by the state of a GRU.

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
        shapes = weight_shapes(self.scheme.n_stages, len(self.weights.get("state.weight", ())))
        found = checked_weights(self.weights, shapes, f"weights of a {ARCHITECTURE}")
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
        """Return natural logarithms, shape (n_epochs, n_stages); row t is for epoch t + 1.

        Parameters
        ----------
        stages : int array, shape (n_epochs,)
            Indices into the labels of the scheme; −1 is unscored, and read as the last scored stage before it.

        Raises
        ------
        HypnographError
            If there are no stages, or what is given is not stages of the scheme.
        """
        tokens, reader = filled(stages, self.scheme), self.reader()
        return np.concatenate([reader.read(tokens[t : t + 1]) for t in range(len(tokens))])

    def reader(self, n_nights: int = 1) -> "_RecurrentReader":
        """Return what reads so many nights side by side, from before their first epochs."""
        return _RecurrentReader(self, n_nights)

    def save(self, folder: str | Path) -> Path:
        """Write a checkpoint: ``model.safetensors``, ``model.json`` and ``README.md``.

        Raises
        ------
        HypnographError
            If the folder holds one of these files: a checkpoint is never overwritten.
        """
        return write_model(folder, {"architecture": ARCHITECTURE, **about(self)}, self.weights)


class _RecurrentReader:
    def __init__(self, model: RecurrentModel, n_nights: int) -> None:
        self._weights = model.weights
        self._state = np.zeros((n_nights, len(model.weights["state.weight"])), dtype=np.float32)
        self._last = np.full(n_nights, Stage.W, dtype=np.intp)

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        weights, state = self._weights, self._state
        self._last = np.where(np.asarray(stages) == Stage.UNSCORED, self._last, stages)
        given = weights["input.weight"][self._last] + weights["input.bias"]
        kept = state @ weights["state.weight"] + weights["state.bias"]
        (reset_in, update_in, new_in), (reset_on, update_on, new_on) = np.split(given, 3, 1), np.split(kept, 3, 1)
        reset, update = _sigmoid(reset_in + reset_on), _sigmoid(update_in + update_on)
        self._state = (1 - update) * np.tanh(new_in + reset * new_on) + update * state
        return log_softmax(self._state @ weights["output.weight"] + weights["output.bias"]).astype(np.float64)

    def select(self, nights: NDArray[np.intp]) -> None:
        self._state, self._last = self._state[nights], self._last[nights]


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), dtype=np.float32)


def load_recurrent(folder: str | Path) -> RecurrentModel:
    """Read a checkpoint that `RecurrentModel.save` wrote.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of another architecture, or of a newer format.
    """

    def build(info: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> RecurrentModel:
        return RecurrentModel(weights=arrays, **about_of(info))

    return read_model(folder, ARCHITECTURE, build)
