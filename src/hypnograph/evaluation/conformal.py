"""Conformal stage sets: for each epoch the stages that cannot be ruled out, with a stated coverage.

An epoch's set holds the reference stage with a stated probability, whatever the stager, if the limit that decides what
is in the set comes from data that are exchangeable with the new ones (Vovk, Gammerman and Shafer 2005, doi
10.1007/b106715). The epochs of one night are not exchangeable with those of another; subjects may be. So a promise is
one of three:

- ``"epochs"``: the usual limit, the quantile over all epochs. It is right only if epochs were exchangeable; with many
  subjects it is about right on average, and tells nothing of a single night.
- ``"subjects"``: an epoch of a new subject is covered with probability `level`; the quantile counts subjects, and keeps
  a place for the new one (Dunn, Wasserman and Ramdas 2023, doi 10.1080/01621459.2022.2060112; Lee, Barber and Willett
  2023, arXiv 2306.06342). A level of 0.9 needs 9 subjects, and with few it is generous.
- ``"nights"``: in `share_of_nights` of the nights of new subjects, at least `level` of the epochs are covered: the
  quantile over subjects of each night's own limit.

Scores: ``"lac"``, 1 − p, the smallest sets (Sadinle, Lei and Wasserman 2019, doi 10.1080/01621459.2017.1395341);
``"aps"``, the summed probability of the stages down to this one, which gives hard epochs larger sets (Romano, Sesia and
Candès 2020, arXiv 2006.02544); ``"raps"``, the same with a penalty on stages of low rank (Angelopoulos et al. 2021,
arXiv 2009.14193). No draw decides at the edge, so that one night has one answer: "aps" and "raps" are conservative.

The most probable stage is always in the set, and all are where nothing is known. With `per_stage` each stage has its
own limit, from the epochs in which it is the reference (Mondrian conformal prediction): the promise then holds for N1
as for N2.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.staged_nights import (
    N_BOOTSTRAP,
    SHARE_OF_NIGHTS,
    Fold,
    StagedNight,
    by_subject,
    compared,
    estimate,
    scheme_of,
    subject_quantile,
)
from hypnograph.evaluation.tables import Estimate
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.stages import StageScheme

Floats = NDArray[np.float64]

PROMISES = ("epochs", "subjects", "nights")
_PENALTY, _FREE_RANKS = 0.1, 2


@dataclass(frozen=True, eq=False)
class StageSets:
    """The stages that an epoch may be, for each epoch of a night.

    Parameters
    ----------
    included : bool array, shape (n_epochs, n_stages)
        Whether a stage is in the set.
    scheme
        The stages.
    """

    included: NDArray[np.bool_]
    scheme: StageScheme

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many stages each set has, shape (n_epochs,)."""
        return np.asarray(self.included.sum(axis=1))

    @property
    def names(self) -> list[str]:
        """Each set in words, e.g. ``"N1 or N2"``."""
        labels = np.array(self.scheme.labels)
        return [" or ".join(labels[row]) for row in self.included]

    def covers(self, reference: Hypnogram) -> NDArray[np.bool_]:
        """Tell for each epoch whether its set holds the reference stage, shape (n_epochs,); unscored: False."""
        if (reference.n_epochs, reference.scheme) != (len(self.included), self.scheme):
            raise HypnographError(f"{reference!r} does not fit sets of {len(self.included)} epochs")
        covered = self.included[np.arange(reference.n_epochs), reference.stages]
        return np.asarray(covered & reference.scored)


@dataclass(frozen=True)
class SetRule:
    """What decides which stages are in the set of an epoch: those with a score up to the limit.

    Parameters
    ----------
    score
        ``"lac"``, ``"aps"`` or ``"raps"``.
    limits
        One for each stage; infinite where the nights were too few.
    level, promise
        What was promised.
    scheme
        The stages.
    """

    score: str
    limits: tuple[float, ...]
    level: float
    promise: str
    scheme: StageScheme

    def sets(self, hypnodensity: Hypnodensity) -> StageSets:
        """Return the sets of a night.

        Raises
        ------
        HypnographError
            If it uses another scheme.
        """
        if hypnodensity.scheme != self.scheme:
            raise HypnographError(f"the sets are of {self.scheme.name}, the hypnodensity of {hypnodensity.scheme.name}")
        known = hypnodensity.known
        probabilities = np.where(known[:, None], hypnodensity.probabilities, 0.0)
        included = SCORES[self.score](probabilities) <= np.array(self.limits)
        included[np.arange(len(known)), probabilities.argmax(axis=1)] = True
        included[~known] = True
        return StageSets(included, self.scheme)


def _lac(probabilities: Floats) -> Floats:
    return 1 - probabilities


def _aps(probabilities: Floats) -> Floats:
    return _down_to(probabilities, 0.0)


def _raps(probabilities: Floats) -> Floats:
    return _down_to(probabilities, _PENALTY)


SCORES: dict[str, Callable[[Floats], Floats]] = {"lac": _lac, "aps": _aps, "raps": _raps}


def _down_to(probabilities: Floats, penalty: float) -> Floats:
    """Return for each stage the probability of all that are at least as likely, and a penalty on its rank."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    summed = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
    summed += penalty * np.maximum(np.arange(1, probabilities.shape[1] + 1) - _FREE_RANKS, 0)
    scores = np.empty_like(probabilities)
    np.put_along_axis(scores, order, summed, axis=1)
    return scores


def fit_sets(
    nights: Sequence[StagedNight],
    *,
    level: float = 0.9,
    promise: str = "subjects",
    score: str = "lac",
    per_stage: bool = False,
    share_of_nights: float = SHARE_OF_NIGHTS,
) -> SetRule:
    """Find the limit of the scores with which sets keep a promise.

    Parameters
    ----------
    nights
        Which the stager, and its calibration, did not see.
    level
        Coverage, between 0 and 1.
    promise
        ``"epochs"``, ``"subjects"`` or ``"nights"``; see the module's docstring.
    score
        ``"lac"``, ``"aps"`` or ``"raps"``.
    per_stage
        A limit for each stage.
    share_of_nights
        Of the promise ``"nights"``.

    Raises
    ------
    HypnographError
        If the level is not between 0 and 1, a name is unknown, or there is nothing to compare.
    """
    for value, name in ((level, "level"), (share_of_nights, "share_of_nights")):
        if not 0 < value < 1:
            raise HypnographError(f"{name} is {value}; it must be above 0 and below 1")
    if promise not in PROMISES or score not in SCORES:
        raise HypnographError(f"{promise!r} is one of {', '.join(PROMISES)}; {score!r} one of {', '.join(SCORES)}")
    scheme = scheme_of(nights)
    subjects = [[_scores(night, score) for night in own] for own in by_subject(nights).values()]
    limits = []
    for stage in range(scheme.n_stages) if per_stage else [None]:
        values = [[scores if stage is None else scores[stages == stage] for scores, stages in own] for own in subjects]
        limits.append(_limit(values, level, promise, share_of_nights))
    return SetRule(score, tuple(limits if per_stage else limits * scheme.n_stages), level, promise, scheme)


def _scores(night: StagedNight, score: str) -> tuple[Floats, NDArray[np.intp]]:
    """Return the scores of the reference stages of a night, and these stages."""
    epochs = compared(night)
    return SCORES[score](epochs.probabilities)[np.arange(len(epochs.stages)), epochs.stages], epochs.stages


def _limit(subjects: list[list[Floats]], level: float, promise: str, share_of_nights: float) -> float:
    """Return the limit from the scores of each night of each subject."""
    if promise == "epochs":
        values = np.concatenate([night for own in subjects for night in own])
        return _quantile(values, level * (len(values) + 1))
    if promise == "subjects":
        return subject_quantile([np.concatenate(own) for own in subjects], level)
    of_nights = [np.array([_quantile(night, level * len(night)) for night in own if len(night)]) for own in subjects]
    return subject_quantile(of_nights, share_of_nights)


def _quantile(values: Floats, rank: float) -> float:
    """Return the value of this rank, rounded up, counted from 1; infinite where there are not so many."""
    place = max(int(np.ceil(rank - 1e-9)), 1)
    return float(np.partition(values, place - 1)[place - 1]) if place <= len(values) else np.inf


class NightSets(NamedTuple):
    """A night and its sets, made without its subject."""

    night: StagedNight
    sets: StageSets


def cross_fitted_sets(
    folds: Iterable[Fold],
    *,
    level: float = 0.9,
    promise: str = "subjects",
    score: str = "lac",
    per_stage: bool = False,
    share_of_nights: float = SHARE_OF_NIGHTS,
) -> list[NightSets]:
    """Return the sets of each night, by a rule that was fitted on other subjects.

    Parameters
    ----------
    folds
        Of `leave_subjects_out`, or of `calibration.calibrated_folds`: there the same nights serve the calibration and
        the limit, which its few numbers and their many epochs make harmless.
    level, promise, score, per_stage, share_of_nights
        See `fit_sets`.
    """
    found = []
    for rest, left_out in folds:
        rule = fit_sets(
            rest, level=level, promise=promise, score=score, per_stage=per_stage, share_of_nights=share_of_nights
        )
        found += [NightSets(night, rule.sets(night.hypnodensity)) for night in left_out]
    return found


class SetScores(NamedTuple):
    """How stage sets fared.

    Parameters
    ----------
    coverage, size, share_of_one
        Of all epochs: how often the reference stage was in the set; stages in a set; how often it was a single one.
        With intervals over subjects.
    lowest, tenth, median
        Coverage of a night: the lowest, that which nine of ten nights exceed, and the middle one.
    nights_kept
        Share of the nights of which at least `level` of the epochs were covered.
    by_stage
        Coverage of the epochs of each reference stage; NaN where there is none.
    """

    coverage: Estimate
    size: Estimate
    share_of_one: Estimate
    lowest: float
    tenth: float
    median: float
    nights_kept: float
    by_stage: dict[str, float]


def set_scores(
    nights: Sequence[NightSets], level: float, *, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0
) -> SetScores:
    """Compare sets with the references of their nights.

    Raises
    ------
    HypnographError
        If there is nothing to compare.
    """
    scheme = scheme_of([night for night, _ in nights])
    sums = np.array([_sums(one) for one in nights])
    kept = sums[:, 0] > 0
    if not kept.any():
        raise HypnographError("no epoch is both scored in the reference and known to the stager")
    subjects, places = np.unique([night.subject for night, _ in nights], return_inverse=True)
    per_subject = np.zeros((len(subjects), sums.shape[1]))
    np.add.at(per_subject, places, sums)

    def share(column: int) -> Estimate:
        return estimate(
            lambda draws: draws[:, column] / draws[:, 0], per_subject[:, :4], n_bootstrap=n_bootstrap, seed=seed
        )

    of_night = sums[kept, 1] / sums[kept, 0]
    in_stage, covered = sums[:, 4:].sum(axis=0).reshape(2, -1)
    by_stage = np.divide(covered, in_stage, out=np.full(scheme.n_stages, np.nan), where=in_stage > 0)
    return SetScores(
        share(1), share(2), share(3),
        float(of_night.min()), float(np.quantile(of_night, 0.1)), float(np.median(of_night)),
        float((of_night >= level - 1e-9).mean()), dict(zip(scheme.labels, by_stage.tolist(), strict=True)),
    )  # fmt: skip


def _sums(one: NightSets) -> Floats:
    """Return epochs, covered, summed sizes, sets of one stage; then for each stage its epochs and those covered."""
    reference, density = one.night.reference, one.night.hypnodensity
    both = reference.scored & density.known
    covered, sizes, stages = one.sets.covers(reference)[both], one.sets.sizes[both], reference.stages[both]
    n = density.scheme.n_stages
    by_stage = [np.bincount(stages, weights, minlength=n) for weights in (np.ones(len(stages)), covered)]
    return np.concatenate([[len(stages), covered.sum(), sizes.sum(), (sizes == 1).sum()], *by_stage])
