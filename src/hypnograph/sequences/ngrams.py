"""N-grams of stages: how likely a stage is after the last few, counted; longer contexts lean on shorter ones.

The plainest rival of a network, made as strong as it can fairly be: each order leans on the one below it by as much as
people who were not counted say (`interpolation`). Counts never cross a gap or the end of a night; at the beginning of a
night the contexts are shorter. In use an unscored epoch is read as the last scored one (`next_stage.filled`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError
from hypnograph.sequences.interpolation import fitted_strengths, interpolated_levels
from hypnograph.sequences.model_folder import about, about_of, read_model, write_model
from hypnograph.sequences.next_stage import filled
from hypnograph.sequences.next_stage_corpus import TrainingNight, scored_runs, subject_folds
from hypnograph.stages import AASM_5, Stage, StageScheme

ARCHITECTURE = "stage-ngram"
LOWEST, HIGHEST = 2, 8
N_FOLDS = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class NGramModel:
    """p(next stage | the last `order` − 1 stages).

    Parameters
    ----------
    counts : int arrays, shapes (n_stages,), (n_stages, n_stages) … up to `order` axes
        How often each n-gram of each length was seen, oldest stage first.
    strengths
        How much each length leans on the shorter one (`interpolation`), `order` of them.
    scheme
        The stages, in their order.
    name, data, licence, source
        As in `StageLanguageModel`.

    Raises
    ------
    HypnographError
        If the order is not 2 to 8, or shapes do not fit.
    """

    counts: tuple[NDArray[np.int64], ...]
    strengths: tuple[float, ...]
    scheme: StageScheme = AASM_5
    name: str = ""
    data: str = ""
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        _check_order(self.order)
        for length, count in enumerate(self.counts, start=1):
            if count.shape != (self.scheme.n_stages,) * length:
                raise HypnographError(
                    f"counts of length {length} have shape {count.shape}; scheme {self.scheme.name} needs "
                    f"{(self.scheme.n_stages,) * length}"
                )
        if len(self.strengths) != self.order or not all(0 < k < np.inf for k in self.strengths):
            raise HypnographError(f"strengths are {self.strengths}; order {self.order} needs {self.order} above 0")
        counts = tuple(count.copy() for count in self.counts)
        flat = [count.reshape(-1, self.scheme.n_stages).astype(np.float64) for count in counts]
        levels = interpolated_levels(flat, _parents(self.order, self.scheme), self.strengths)
        tables = tuple(np.log(table) for table in levels)
        for array in (*tables, *counts):
            array.flags.writeable = False
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_tables", tables)

    @property
    def order(self) -> int:
        """How many stages an n-gram has, the predicted one included."""
        return len(self.counts)

    @property
    def targets_ahead(self) -> int:
        return 1

    @classmethod
    def fit(
        cls,
        nights: Sequence[TrainingNight],
        order: int,
        *,
        scheme: StageScheme = AASM_5,
        seed: int = 0,
        **about: Any,
    ) -> "NGramModel":
        """Count the n-grams of nights, and choose the strengths on people held out in turn.

        Parameters
        ----------
        nights
            To count; gaps in them are left out.
        order
            2 to 8.
        scheme
            Of the nights.
        seed
            Of the draw of people into five folds.
        about
            `name`, `data`, `licence`, `source`.

        Raises
        ------
        HypnographError
            If the order is not 2 to 8, or fewer than two people have a scored epoch.
        """
        _check_order(order)
        nights = [night for night in nights if (night.stages >= 0).any()]
        if len({night.person for night in nights}) < 2:
            raise HypnographError("n-grams are fitted on the nights of two people or more; here are fewer")
        folds = subject_folds(nights, N_FOLDS, seed)
        by_fold = [
            np.stack([_counts([n for n, f in zip(nights, folds, strict=True) if f == fold], length, scheme)
                      for fold in range(folds.max() + 1)])
            for length in range(1, order + 1)
        ]  # fmt: skip
        flat = [c.reshape(len(c), -1, scheme.n_stages).astype(np.float64) for c in by_fold]
        strengths = fitted_strengths(flat, _parents(order, scheme))
        counts = tuple(c.sum(axis=0).reshape((scheme.n_stages,) * (i + 1)) for i, c in enumerate(by_fold))
        return cls(counts=counts, strengths=strengths, scheme=scheme, **about)

    def shortened(self, order: int) -> "NGramModel":
        """Return the model of a lower order that is fitted on the same nights: the longer n-grams are left out.

        Raises
        ------
        HypnographError
            If the order is not 2 to that of this model.
        """
        if not LOWEST <= order <= self.order:
            raise HypnographError(f"order is {order}; from an order of {self.order} it can be {LOWEST} to {self.order}")
        about = {name: getattr(self, name) for name in ("scheme", "name", "data", "licence", "source")}
        return NGramModel(counts=self.counts[:order], strengths=self.strengths[:order], **about)

    def log_table(self, order: int | None = None) -> NDArray[np.float64]:
        """Return the transition tensor: log p(next stage | context), for a trellis.

        Parameters
        ----------
        order
            How many axes; fewer than the model's are for the first epochs of a night. None: all.

        Returns
        -------
        float64 array, shape (n_stages,) * order
            Axes are the context from the oldest to the newest stage, then the next stage. Order 1 is how likely each
            stage is where nothing is known.
        """
        order = self.order if order is None else order
        if not 1 <= order <= self.order:
            raise HypnographError(f"order is {order}; this model has tables of order 1 to {self.order}")
        return self._levels[order - 1].reshape((self.scheme.n_stages,) * order)

    def log_probabilities(self, stages: ArrayLike) -> NDArray[np.float64]:
        """Return how likely each stage is at the next epoch; see `NextStageModel`."""
        tokens = filled(stages, self.scheme)
        rows = np.empty((*tokens.shape, self.scheme.n_stages))
        for length in range(1, min(self.order - 1, tokens.shape[-1]) + 1):
            # From here on the night is long enough for contexts of this length; longer ones replace them further on.
            rows[..., length - 1 :, :] = self._levels[length][self._codes(tokens, length)]
        return rows

    def reader(self, n_nights: int = 1) -> "NGramReader":
        """Return what reads so many nights side by side, from before their first epochs."""
        return NGramReader(self, n_nights)

    def save(self, folder: str | Path) -> Path:
        """Write a checkpoint: ``model.safetensors``, ``model.json`` and ``README.md``.

        Raises
        ------
        HypnographError
            If the folder holds one of these files: a checkpoint is never overwritten.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for length, count in enumerate(self.counts, start=1):
            seen = np.flatnonzero(count)
            arrays |= {
                f"ngrams.{length}": seen.astype(np.int32),
                f"counts.{length}": count.ravel()[seen].astype(np.int32),
            }
        info = {
            "architecture": ARCHITECTURE,
            "order": self.order,
            "strengths": list(self.strengths),
            **about(self),
        }
        return write_model(folder, info, arrays)

    @property
    def _levels(self) -> tuple[NDArray[np.float64], ...]:
        tables: tuple[NDArray[np.float64], ...] = self.__dict__["_tables"]
        return tables

    def _codes(self, tokens: NDArray[np.intp], length: int) -> NDArray[np.intp]:
        powers = self.scheme.n_stages ** np.arange(length - 1, -1, -1)
        return np.asarray(sliding_window_view(tokens, length, axis=-1) @ powers)


class NGramReader:
    """Reads several nights epoch by epoch; see `next_stage.Reader`."""

    def __init__(self, model: NGramModel, n_nights: int) -> None:
        self._model = model
        self._code = np.zeros(n_nights, dtype=np.intp)  # an unscored first epoch is read as W, which is 0
        self._last = np.full(n_nights, Stage.W, dtype=np.intp)
        self._n_read = 0

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return how likely each stage is at the next epoch, shape (night, n_stages)."""
        model = self._model
        self._last = np.where(stages < 0, self._last, stages)
        self._n_read += 1
        length = min(self._n_read, model.order - 1)
        self._code = (self._code * model.scheme.n_stages + self._last) % model.scheme.n_stages**length
        return model._levels[length][self._code]

    def select(self, nights: NDArray[np.intp]) -> None:
        """Go on with copies of these nights."""
        self._code, self._last = self._code[nights], self._last[nights]


def load_ngrams(folder: str | Path) -> NGramModel:
    """Read a checkpoint that `NGramModel.save` wrote.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of another architecture, or of a newer format.
    """

    def build(info: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> NGramModel:
        fields, counts = about_of(info), []
        n_stages = fields["scheme"].n_stages
        for length in range(1, info["order"] + 1):
            count = np.zeros(n_stages**length, dtype=np.int64)
            count[arrays[f"ngrams.{length}"]] = arrays[f"counts.{length}"]
            counts.append(count.reshape((n_stages,) * length))
        return NGramModel(counts=tuple(counts), strengths=tuple(info["strengths"]), **fields)

    return read_model(folder, ARCHITECTURE, build)


def _check_order(order: int) -> None:
    if not LOWEST <= order <= HIGHEST:
        raise HypnographError(f"order is {order}; n-grams of stages have {LOWEST} to {HIGHEST}")


def _counts(nights: Sequence[TrainingNight], length: int, scheme: StageScheme) -> NDArray[np.int64]:
    """Return how often each n-gram of one length is in the scored stretches of nights, flat."""
    powers = scheme.n_stages ** np.arange(length - 1, -1, -1)
    codes = [
        sliding_window_view(run, length) @ powers
        for night in nights
        for run in scored_runs(night.stages)
        if len(run) >= length
    ]
    found = np.concatenate(codes) if codes else np.empty(0, dtype=np.intp)
    return np.bincount(found, minlength=scheme.n_stages**length)


def _parents(order: int, scheme: StageScheme) -> list[NDArray[np.intp]]:
    """Return of each context of 1, 2 … stages the number of the context without its oldest stage."""
    return [np.arange(scheme.n_stages**length) % scheme.n_stages ** (length - 1) for length in range(1, order)]
