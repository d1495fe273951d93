"""How far several scorers agree beyond chance: kappa of each pair, Fleiss' kappa, Krippendorff's alpha, Gwet's AC1.

With R scorers of whom m score an epoch, n_k of these as stage k:

- Pairwise kappa: Cohen's, of the epochs that both scored, summed over nights; mean pairwise kappa: of all pairs.
- Fleiss' kappa (Fleiss 1971, doi 10.1037/h0031619): epochs that all R scored; agreement of an epoch
  Σ n_k (n_k − 1) / (R (R − 1)), chance Σ p_k² with p_k the share of stage k in all scores.
- Krippendorff's alpha, nominal (Krippendorff 2011, https://repository.upenn.edu/asc_papers/43): epochs that two or more
  scored, each with the weight of its scores; 1 − observed / expected disagreement. Unscored epochs are allowed.
- AC1 (Gwet 2008, doi 10.1348/000711006X126600): agreement as above but with m for R; chance Σ p_k (1 − p_k) / (K − 1).
  Less moved than kappa by how rare the stages are.

Each follows from sums over nights; intervals are 95 %, by bootstrap over subjects.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import confusion_matrix, scores
from hypnograph.evaluation.consensus import ScoredNight, count_votes
from hypnograph.evaluation.staged_nights import estimate
from hypnograph.evaluation.tables import Estimate


class ScorerAgreement(NamedTuple):
    """Agreement among all scorers; each number with its 95 % interval.

    Parameters
    ----------
    mean_pairwise_kappa, fleiss_kappa, krippendorff_alpha, gwet_ac1
        As in the module's docstring.
    unanimous
        Share of the epochs that two or more scored in which all of these gave the same stage.
    """

    mean_pairwise_kappa: Estimate
    fleiss_kappa: Estimate
    krippendorff_alpha: Estimate
    gwet_ac1: Estimate
    unanimous: Estimate


class KappaMatrix(NamedTuple):
    """Cohen's kappa of each pair; `values` has shape (n_scorers, n_scorers), 1 on its diagonal, NaN where undefined."""

    names: tuple[str, ...]
    values: NDArray[np.float64]


def kappa_matrix(nights: Sequence[ScoredNight]) -> KappaMatrix:
    """Return the kappa of each pair of scorers over all nights that both scored: people first, then models.

    Raises
    ------
    HypnographError
        If there is no night.
    AlignmentError
        If the scorings of a night do not lie on one grid, or differ in scheme.
    """
    people, models = _names(nights), list(dict.fromkeys(name for night in nights for name in night.predicted))
    names = (*people, *(name for name in models if name not in people))
    pairs = _pair_counts(nights, names).sum(axis=0)
    values = np.eye(len(names))
    for (i, j), kappa in zip(combinations(range(len(names)), 2), scores(pairs)["cohen_kappa"], strict=True):
        values[i, j] = values[j, i] = kappa
    return KappaMatrix(names, values)


def scorer_agreement(nights: Sequence[ScoredNight], *, n_bootstrap: int = 1000, seed: int = 0) -> ScorerAgreement:
    """Return how far the people agree who scored these nights; models do not take part.

    Parameters
    ----------
    nights
        Each by two persons or more.
    n_bootstrap, seed
        Of the bootstrap over subjects.

    Raises
    ------
    HypnographError
        If there is no night, or only one person.
    AlignmentError
        If the scorings of a night do not lie on one grid, or differ in scheme.
    """
    names = _names(nights)
    if len(names) < 2:
        raise HypnographError(f"{len(names)} scorer: agreement among scorers needs two or more")
    subjects, subject_of_night = np.unique([night.subject for night in nights], return_inverse=True)

    def by_subject(sums: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
        result = np.zeros((len(subjects), *sums.shape[1:]))
        np.add.at(result, subject_of_night, sums)
        return result

    votes = [count_votes(list(night.scorings.values())) for night in nights]
    whole = [one[one.sum(axis=1) == len(names)] for one in votes]
    shared = [one[one.sum(axis=1) > 1] for one in votes]
    per_epoch = by_subject(np.stack([_agreement_sums(one) for one in shared]))
    of_any = by_subject(np.stack([_share_sums(one) for one in votes]))
    pair_counts = by_subject(_pair_counts(nights, names))
    sums = {
        "mean_pairwise_kappa": (_mean_kappa, pair_counts),
        "fleiss_kappa": (_fleiss, by_subject(np.stack([_agreement_sums(one) for one in whole]))),
        "krippendorff_alpha": (_alpha, by_subject(np.stack([_coincidences(one) for one in shared]))),
        "gwet_ac1": (_ac1, np.concatenate([per_epoch[:, :3], of_any], axis=1)),
        "unanimous": (lambda total: _ratio(total[:, 2], total[:, 0]), per_epoch),
    }
    return ScorerAgreement(
        **{name: estimate(of, total, n_bootstrap=n_bootstrap, seed=seed) for name, (of, total) in sums.items()}
    )


def _names(nights: Sequence[ScoredNight]) -> list[str]:
    if not nights:
        raise HypnographError("there is no night; agreement among scorers needs one or more")
    return list(dict.fromkeys(name for night in nights for name in night.scorings))


def _pair_counts(nights: Sequence[ScoredNight], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the confusion matrix of each pair in each night, shape (n_nights, n_pairs, n_stages, n_stages)."""
    pairs = list(combinations(names, 2))
    first = next(iter(nights[0].scorings.values()))
    counts = np.zeros((len(nights), len(pairs), first.scheme.n_stages, first.scheme.n_stages))
    for i, night in enumerate(nights):
        scorings = {**night.predicted, **night.scorings}
        for j, (one, other) in enumerate(pairs):
            if one in scorings and other in scorings:
                counts[i, j] = confusion_matrix(scorings[one], scorings[other])
    return counts


def _agreement_sums(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return epochs, their summed agreement, how many are unanimous, and the summed share of each stage."""
    m = votes.sum(axis=1)
    agreed = (votes * (votes - 1)).sum(axis=1) / np.maximum(m * (m - 1), 1)
    return np.array([len(votes), agreed.sum(), (votes.max(axis=1, initial=0) == m).sum(), *_share_sums(votes)[1:]])


def _share_sums(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the epochs that anybody scored, and the summed share of each stage in them."""
    scored = votes[votes.sum(axis=1) > 0]
    return np.array([len(scored), *(scored / scored.sum(axis=1, keepdims=True)).sum(axis=0)])


def _coincidences(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often two scores of one epoch are stages c and k, shape (n_stages, n_stages)."""
    weighted = votes / (votes.sum(axis=1, keepdims=True) - 1)
    return np.asarray(votes.T @ weighted - np.diag(weighted.sum(axis=0)))


def _mean_kappa(total: NDArray[np.float64]) -> NDArray[np.float64]:
    kappas = scores(total)["cohen_kappa"]  # type: ignore[arg-type]
    defined = ~np.isnan(kappas)
    return _ratio(np.where(defined, kappas, 0).sum(axis=1), defined.sum(axis=1).astype(float))


def _fleiss(total: NDArray[np.float64]) -> NDArray[np.float64]:
    observed = _ratio(total[:, 1], total[:, 0])
    chance = (_ratio(total[:, 3:], total[:, :1]) ** 2).sum(axis=1)
    return _ratio(observed - chance, 1 - chance)


def _alpha(total: NDArray[np.float64]) -> NDArray[np.float64]:
    n_each = total.sum(axis=2)
    n = n_each.sum(axis=1)
    disagreed = n - np.trace(total, axis1=1, axis2=2)
    return np.asarray(1 - (n - 1) * _ratio(disagreed, n**2 - (n_each**2).sum(axis=1)))


def _ac1(total: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = _ratio(total[:, 4:], total[:, 3:4])
    observed, chance = _ratio(total[:, 1], total[:, 0]), (shares * (1 - shares)).sum(axis=1) / (shares.shape[1] - 1)
    return _ratio(observed - chance, 1 - chance)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    # Chance that explains all but a rounding error explains all.
    np.divide(above, below, out=result, where=np.abs(below) > 1e-12)
    return result
