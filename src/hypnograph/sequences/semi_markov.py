"""A semi-Markov model of stages: how a bout ends depends on how long it has lasted and on the bouts before it.

A bout is a stretch of one stage. At each of its epochs it goes on or gives way to another stage; how likely that is
depends on the stage, on the bout's age (its epochs so far) and on the stages of the one or two bouts before it. Ages
stand in bins that grow; beyond the last the bout goes on with a constant chance, so that durations have a geometric
tail. Rare contexts lean on more frequent ones (`interpolation`).

A bout that a gap or the end of a night cuts off counts up to there: its last epoch says nothing. What follows a gap is
counted as if a night began there. In use an unscored epoch is read as the last scored one, so that the bout grows older
(`next_stage.filled`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError
from hypnograph.sequences.interpolation import fitted_strengths, interpolated_levels
from hypnograph.sequences.model_folder import about, about_of, read_model, write_model
from hypnograph.sequences.next_stage import filled
from hypnograph.sequences.next_stage_corpus import TrainingNight, scored_runs, subject_folds
from hypnograph.stages import AASM_5, Stage, StageScheme

ARCHITECTURE = "stage-semi-markov"
N_FOLDS = 5
AGES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 18, 24, 32, 44, 60)
"""The first age of each bin, in epochs; the last bin is open."""
COARSE = (0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6)
"""For each of these bins the coarser one that it leans on."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SemiMarkovModel:
    """p(next stage | kind and age of the bout).

    The kind of a bout is its stage and the stages of the `back` bouts before it. Kinds are numbered
    ``stage + n_stages · (before + (n_stages + 1) · before_that)``, where n_stages stands for no bout; with ``back=0``
    a kind is a stage.

    Parameters
    ----------
    next_stage : float array, shape (n_kinds, n_bins, n_stages)
        How likely each stage is at the next epoch; its own stage means that the bout goes on.
    ages
        The first age of each bin in epochs, from 1 on, rising; the last bin is open.
    back
        How many bouts back a kind knows: 0, 1 or 2.
    scheme
        The stages, in their order.
    name, data, licence, source
        As in `StageLanguageModel`.

    Raises
    ------
    HypnographError
        If shapes do not fit, or a row is no distribution without zeros.
    """

    next_stage: NDArray[np.float64]
    ages: tuple[int, ...] = AGES
    back: int = 1
    scheme: StageScheme = AASM_5
    name: str = ""
    data: str = ""
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        _check_back(self.back)
        table = np.array(self.next_stage, dtype=np.float64)
        shape = (_n_kinds(self.back, self.scheme), len(self.ages), self.scheme.n_stages)
        if table.shape != shape:
            raise HypnographError(f"next_stage has shape {table.shape}; needed is {shape}")
        if not (table > 0).all() or not np.allclose(table.sum(axis=-1), 1):
            raise HypnographError("next_stage must be above 0 everywhere and each row must sum to 1")
        if self.ages[0] != 1 or (np.diff(self.ages) <= 0).any():
            raise HypnographError(f"ages are {self.ages}; they begin with 1 and rise")
        table.flags.writeable = False
        object.__setattr__(self, "next_stage", table)

    @property
    def targets_ahead(self) -> int:
        return 1

    @property
    def n_kinds(self) -> int:
        """How many kinds of bouts there are."""
        return len(self.next_stage)

    @property
    def max_age(self) -> int:
        """From this age on a bout ends with a constant chance."""
        return self.ages[-1]

    @property
    def stage_of_kind(self) -> NDArray[np.intp]:
        """The stage of each kind of bout, shape (n_kinds,)."""
        return np.arange(self.n_kinds) % self.scheme.n_stages

    @property
    def kind_after(self) -> NDArray[np.intp]:
        """The kind of the bout of each stage that follows a bout of each kind, shape (n_kinds, n_stages)."""
        return _kind_after(np.arange(self.n_kinds)[:, None], np.arange(self.scheme.n_stages), self.back, self.scheme)

    @property
    def hazard(self) -> NDArray[np.float64]:
        """How likely a bout of each age ends with this epoch, shape (n_kinds, max_age); age 1 first.

        The last column holds for all higher ages, too.
        """
        return np.asarray(1 - self._by_age()[np.arange(self.n_kinds), :, self.stage_of_kind])

    @property
    def leave(self) -> NDArray[np.float64]:
        """Which stage follows a bout that ends at each age, shape (n_kinds, max_age, n_stages); rows sum to 1."""
        others = self._by_age().copy()
        others[np.arange(self.n_kinds), :, self.stage_of_kind] = 0
        return np.asarray(others / others.sum(axis=-1, keepdims=True))

    @property
    def durations(self) -> NDArray[np.float64]:
        """How likely a bout of each kind lasts each number of epochs, shape (n_kinds, max_age).

        The last column holds the tail: all durations of `max_age` and more.
        """
        lives = np.cumprod(1 - self.hazard[:, :-1], axis=1)
        reached = np.concatenate([np.ones((self.n_kinds, 1)), lives], axis=1)
        return np.concatenate([reached[:, :-1] * self.hazard[:, :-1], reached[:, -1:]], axis=1)

    @property
    def first_kinds(self) -> NDArray[np.intp]:
        """The kind of the first bout of a night, for each stage, shape (n_stages,)."""
        stages = np.arange(self.scheme.n_stages)
        return np.asarray(stages + _no_bouts(self.back, self.scheme))

    @classmethod
    def fit(
        cls,
        nights: Sequence[TrainingNight],
        *,
        back: int = 1,
        scheme: StageScheme = AASM_5,
        seed: int = 0,
        **about: Any,
    ) -> "SemiMarkovModel":
        """Count how bouts end in nights, and choose how contexts lean on each other on people held out in turn.

        Parameters
        ----------
        nights
            To count.
        back
            How many bouts back a kind knows: 0, 1 or 2.
        scheme
            Of the nights.
        seed
            Of the draw of people into five folds.
        about
            `name`, `data`, `licence`, `source`.

        Raises
        ------
        HypnographError
            If `back` is not 0 to 2, or fewer than two people have a scored epoch.
        """
        _check_back(back)
        nights = [night for night in nights if (night.stages >= 0).any()]
        if len({night.person for night in nights}) < 2:
            raise HypnographError("a semi-Markov model is fitted on the nights of two people or more; here are fewer")
        folds = subject_folds(nights, N_FOLDS, seed)
        finest = np.stack([
            _counts([n for n, f in zip(nights, folds, strict=True) if f == fold], back, scheme)
            for fold in range(folds.max() + 1)
        ])  # fmt: skip
        by_fold, parents = _levels(finest, back, scheme)
        strengths = fitted_strengths(by_fold, parents)
        tables = interpolated_levels([counts.sum(axis=0) for counts in by_fold], parents, strengths)
        table = tables[-1].reshape(_n_kinds(back, scheme), len(AGES), scheme.n_stages)
        return cls(next_stage=table, back=back, scheme=scheme, **about)

    def log_probabilities(self, stages: ArrayLike) -> NDArray[np.float64]:
        """Return how likely each stage is at the next epoch; see `NextStageModel`."""
        tokens = filled(stages, self.scheme)
        if tokens.ndim == 2:
            return np.stack([self.log_probabilities(night) for night in tokens])
        kinds, ages = _bouts(tokens, self.back, self.scheme)
        return np.asarray(np.log(self.next_stage[kinds, _bins(ages, self.ages)]))

    def reader(self, n_nights: int = 1) -> "SemiMarkovReader":
        """Return what reads so many nights side by side, from before their first epochs."""
        return SemiMarkovReader(self, n_nights)

    def save(self, folder: str | Path) -> Path:
        """Write a checkpoint: ``model.safetensors``, ``model.json`` and ``README.md``.

        Raises
        ------
        HypnographError
            If the folder holds one of these files: a checkpoint is never overwritten.
        """
        info = {"architecture": ARCHITECTURE, "ages": list(self.ages), "back": self.back, **about(self)}
        return write_model(folder, info, {"next_stage": self.next_stage})

    def _by_age(self) -> NDArray[np.float64]:
        """Return `next_stage` for each age up to `max_age`."""
        return np.asarray(self.next_stage[:, _bins(np.arange(1, self.max_age + 1), self.ages)])


class SemiMarkovReader:
    """Reads several nights epoch by epoch; see `next_stage.Reader`."""

    def __init__(self, model: SemiMarkovModel, n_nights: int) -> None:
        self._model = model
        self._log_table = np.log(model.next_stage)
        self._stage = np.full(n_nights, Stage.UNSCORED, dtype=np.intp)
        self._kind = np.zeros(n_nights, dtype=np.intp)
        self._age = np.zeros(n_nights, dtype=np.intp)

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return how likely each stage is at the next epoch, shape (night, n_stages)."""
        model = self._model
        given = np.where(stages < 0, np.maximum(self._stage, Stage.W), stages)
        first, same = self._stage < 0, given == self._stage
        next_kind = _kind_after(self._kind, given, model.back, model.scheme)
        self._kind = np.where(first, model.first_kinds[given], np.where(same, self._kind, next_kind))
        self._age = np.where(same, self._age + 1, 1)
        self._stage = given
        return np.asarray(self._log_table[self._kind, _bins(self._age, model.ages)])

    def select(self, nights: NDArray[np.intp]) -> None:
        """Go on with copies of these nights."""
        self._stage, self._kind, self._age = self._stage[nights], self._kind[nights], self._age[nights]


def load_semi_markov(folder: str | Path) -> SemiMarkovModel:
    """Read a checkpoint that `SemiMarkovModel.save` wrote.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of another architecture, or of a newer format.
    """

    def build(info: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> SemiMarkovModel:
        ages, back = tuple(info["ages"]), info["back"]
        return SemiMarkovModel(next_stage=arrays["next_stage"], ages=ages, back=back, **about_of(info))

    return read_model(folder, ARCHITECTURE, build)


def _check_back(back: int) -> None:
    if back not in (0, 1, 2):
        raise HypnographError(f"back is {back}; a kind of bout knows the stages of 0, 1 or 2 bouts before it")


def _n_kinds(back: int, scheme: StageScheme) -> int:
    return int(scheme.n_stages * (scheme.n_stages + 1) ** back)


def _no_bouts(back: int, scheme: StageScheme) -> int:
    """Return what the number of a kind has, beside the stage, where no bout came before."""
    return sum(scheme.n_stages**2 * (scheme.n_stages + 1) ** i for i in range(back))


def _kind_after(kinds: NDArray[np.intp], stages: NDArray[np.intp], back: int, scheme: StageScheme) -> NDArray[np.intp]:
    """Return the kinds of bouts of `stages` that follow bouts of `kinds`."""
    n = scheme.n_stages
    stage_before, before_that = kinds % n, kinds // n % (n + 1)
    history = (0 * kinds, stage_before, stage_before + (n + 1) * before_that)[back]
    return np.asarray(stages + n * history)


def _bins(ages: NDArray[np.intp], firsts: tuple[int, ...]) -> NDArray[np.intp]:
    return np.searchsorted(firsts, ages, side="right") - 1


def _bouts(tokens: NDArray[np.intp], back: int, scheme: StageScheme) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the kind and the age of the bout at each epoch of a night without gaps."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(tokens)) + 1])
    bout = np.searchsorted(starts, np.arange(len(tokens)), side="right") - 1
    stages = tokens[starts]
    kinds = stages.copy()
    for lag in range(1, back + 1):
        before = np.concatenate([np.full(min(lag, len(stages)), scheme.n_stages), stages[:-lag]])
        kinds += scheme.n_stages * (scheme.n_stages + 1) ** (lag - 1) * before
    return kinds[bout], np.arange(len(tokens)) - starts[bout] + 1


def _counts(nights: Sequence[TrainingNight], back: int, scheme: StageScheme) -> NDArray[np.float64]:
    """Return how often each stage came next, shape (n_kinds, n_bins, n_stages)."""
    counts = np.zeros((_n_kinds(back, scheme), len(AGES), scheme.n_stages))
    for night in nights:
        for run in scored_runs(night.stages):
            kinds, ages = _bouts(run, back, scheme)
            np.add.at(counts, (kinds[:-1], _bins(ages[:-1], AGES), run[1:]), 1)
    return counts


def _levels(
    finest: NDArray[np.float64], back: int, scheme: StageScheme
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.intp]]]:
    """Return the counts of the levels, (fold, context, stage) each, and the parents of the contexts.

    Levels, from the shortest context: the stage; and its coarse age; and the bout before; and the fine age; and the
    bout before that.
    """
    kinds, bins = (grid.ravel() for grid in np.indices(finest.shape[1:3]))
    coarse = np.array(COARSE)[bins]
    stage, before, before_that = (kinds % scheme.n_stages, *_before(kinds, back, scheme))
    features = [[stage], [stage, coarse]]
    features += [[stage, coarse, before]] if back else []
    features += [[stage, bins, before]]
    features += [[stage, bins, before, before_that]] if back == 2 else []
    flat = finest.reshape(len(finest), -1, finest.shape[-1])
    members = [np.unique(np.stack(feature), axis=1, return_inverse=True)[1].ravel() for feature in features[:-1]]
    members.append(np.arange(len(kinds)))  # the last level has each kind and bin for itself, in their order
    counts, parents = [], []
    for level, member in enumerate(members):
        table = np.zeros((len(flat), member.max() + 1, flat.shape[-1]))
        for fold, values in zip(table, flat, strict=True):
            np.add.at(fold, member, values)
        counts.append(table)
        if level:
            parent = np.zeros(member.max() + 1, dtype=np.intp)
            parent[member] = members[level - 1]
            parents.append(parent)
    return counts, parents


def _before(kinds: NDArray[np.intp], back: int, scheme: StageScheme) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    n = scheme.n_stages
    before = kinds // n % (n + 1) if back else np.zeros_like(kinds)
    before_that = kinds // (n * (n + 1)) if back == 2 else np.zeros_like(kinds)
    return before, before_that
