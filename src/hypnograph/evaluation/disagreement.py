"""Does a stager doubt where experts disagree? Its entropy against the disagreement of several scorers.

Both measures are taken within each night and then averaged over nights: a night that is hard as a whole proves nothing
about its epochs. Intervals are 95 %, by bootstrap over subjects.

- AUC: probability that of two epochs of a night, one that the experts scored unanimously and one that they did not, the
  stager's entropy is higher in the second; ties count one half. 0.5 is chance.
- Spearman: rank correlation of the stager's entropy with the disagreement of the experts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.consensus import count_votes
from hypnograph.evaluation.staged_nights import estimate
from hypnograph.evaluation.tables import Estimate
from hypnograph.hypnogram import Hypnodensity, Hypnogram


class DoubtedNight(NamedTuple):
    """The scorings of several experts and a stager's probabilities of one night, on one grid."""

    subject: str
    scorings: Sequence[Hypnogram]
    hypnodensity: Hypnodensity


class DoubtAgreement(NamedTuple):
    """How well a stager's entropy tells where experts disagree; means over nights with 95 % intervals."""

    auc: Estimate
    spearman: Estimate
    n_nights: int
    n_epochs: int


def disagreement(scorings: Sequence[Hypnogram]) -> NDArray[np.float64]:
    """Return the share of the scorers who did not give the stage with the most votes, shape (n_epochs,).

    NaN where fewer than two scored.
    """
    votes = count_votes(scorings)
    totals = votes.sum(axis=1)
    shares = np.full(len(votes), np.nan)
    np.divide(totals - votes.max(axis=1, initial=0), totals, out=shares, where=totals > 1)
    return shares


def doubt_agreement(nights: Sequence[DoubtedNight], *, n_bootstrap: int = 1000, seed: int = 0) -> DoubtAgreement:
    """Compare a stager's entropy with the disagreement of experts.

    Parameters
    ----------
    nights
        Nights in which all epochs are unanimous, or none, do not count for the AUC; nights in which either side is
        constant do not count for Spearman.
    n_bootstrap, seed
        Of the bootstrap over subjects.

    Raises
    ------
    HypnographError
        If there is no night.
    AlignmentError
        If probabilities and scorings of a night differ in length.
    """
    if not nights:
        raise HypnographError("there is no night; give the scorings and the probabilities of one or more")
    measured = [_measure(night) for night in nights]
    subjects = [night.subject for night in nights]
    auc, spearman = (
        mean_over_nights([one[place] for one in measured], subjects, n_bootstrap=n_bootstrap, seed=seed)
        for place in (0, 1)
    )
    return DoubtAgreement(auc, spearman, len(nights), sum(n for _, _, n in measured))


def _measure(night: DoubtedNight) -> tuple[float, float, int]:
    from scipy.stats import rankdata

    doubt, apart = night.hypnodensity.entropy(), disagreement(night.scorings)
    if len(doubt) != len(apart):
        raise AlignmentError(
            f"the probabilities have {len(doubt)} epochs, the scorings {len(apart)}; bring both to one grid (.align)"
        )
    known = ~(np.isnan(doubt) | np.isnan(apart))
    ranks, apart_ranks, split = rankdata(doubt[known]), rankdata(apart[known]), apart[known] > 0
    n_split, n_same = int(split.sum()), int((~split).sum())
    auc = np.nan
    if n_split and n_same:
        auc = (ranks[split].sum() - n_split * (n_split + 1) / 2) / (n_split * n_same)
    varies = bool(known.any()) and np.ptp(ranks) > 0 and np.ptp(apart_ranks) > 0
    spearman = float(np.corrcoef(ranks, apart_ranks)[0, 1]) if varies else np.nan
    return float(auc), spearman, int(known.sum())


def mean_over_nights(
    values: Sequence[float], subjects: Sequence[str], *, n_bootstrap: int = 1000, seed: int = 0
) -> Estimate:
    """Return the mean over the nights that define a value (not NaN), with its interval by bootstrap over subjects.

    Parameters
    ----------
    values, subjects
        One for each night.
    n_bootstrap, seed
        Of the bootstrap.
    """
    names, subject_of_night = np.unique(subjects, return_inverse=True)
    each = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(each)
    sums = np.zeros((len(names), 2))
    np.add.at(sums, subject_of_night, np.stack([np.where(defined, each, 0.0), defined], axis=1))

    def mean(total: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.full(len(total), np.nan)
        np.divide(total[:, 0], total[:, 1], out=result, where=total[:, 1] > 0)
        return result

    return estimate(mean, sums, n_bootstrap=n_bootstrap, seed=seed)
