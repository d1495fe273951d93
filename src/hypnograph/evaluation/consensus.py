"""One night, many scorers: their consensus, how far each agrees with the others, their votes as a hypnodensity.

Conventions
-----------
Scorings of a night lie on one grid; an epoch that a scorer left unscored is no vote. Where nobody voted the consensus
is UNSCORED.

- Soft agreement of a scorer with others (Guillot et al. 2020, doi 10.1109/TNSRE.2020.3011181): in each epoch the votes
  of the others for the scorer's stage, divided by their votes for the stage with the most; the mean over epochs. 1: the
  scorer always has a stage that no other stage beats.
- Majority: the stage with the most votes. Of stages with equally many, the one that the scorer has who agrees most with
  the others over the night (soft agreement).
- Leave-one-out: a person is compared with the consensus of the other persons. With N persons that is a consensus of
  N − 1, so a model is compared with each of the N consensuses of N − 1 persons, and the mean counts. A consensus of
  more persons is easier to meet; only so do the numbers of people and models compare. Two persons have no majority:
  where they are the others, each is met by itself.

Differences from the authors' code (Dreem-Organization/dreem-learning-evaluation)
---------------------------------------------------------------------------------
There "unscored" is a stage that can win, and be agreed upon. In a tie the best scorer's stage is taken even where it is
none of the tied ones (two votes, two votes, and one vote by the best scorer). Who is best is decided with the scorer
who is left out. A model is compared only with the consensus of the N − 1 best, and metrics weigh each epoch with the
share of the votes. `benchmarks/dod_h.py` shows both side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import check_comparable
from hypnograph.evaluation.tables import NightPair
from hypnograph.hypnogram import Hypnodensity, Hypnogram


class ScoredNight(NamedTuple):
    """One night as several people scored it, and as models did; all on one grid, by name."""

    name: str
    subject: str
    scorings: Mapping[str, Hypnogram]
    predicted: Mapping[str, Hypnogram] = MappingProxyType({})


def stack_stages(scorings: Sequence[Hypnogram]) -> NDArray[np.int8]:
    """Return the stages of all scorers, shape (n_scorers, n_epochs).

    Raises
    ------
    HypnographError
        If there is none.
    AlignmentError
        If they do not lie on one grid, or differ in scheme.
    """
    if not scorings:
        raise HypnographError("there is no scoring; a consensus needs one or more")
    for other in scorings[1:]:
        check_comparable(scorings[0], other)
    return np.stack([scoring.stages for scoring in scorings])


def count_votes(scorings: Sequence[Hypnogram], weights: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Return how many scorers gave each stage to each epoch, shape (n_epochs, n_stages); `weights`: of the scorers.

    Raises
    ------
    HypnographError
        If the weights are not one for each scorer, none below 0, some above.
    """
    stages = stack_stages(scorings)
    shares = np.ones(len(stages)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(stages),) or not (shares >= 0).all() or not shares.any():
        raise HypnographError(f"weights are {shares.tolist()}; {len(stages)} scorers need as many, of 0 or more")
    return np.stack([shares @ (stages == stage) for stage in range(scorings[0].scheme.n_stages)], axis=1)


def soft_hypnodensity(scorings: Sequence[Hypnogram], weights: Sequence[float] | None = None) -> Hypnodensity:
    """Return the share of the scorers that gave each stage; unknown where nobody scored.

    Parameters
    ----------
    scorings
        Of one night.
    weights
        How much each scorer counts; None: all the same.

    Raises
    ------
    HypnographError
        If there is no scoring, or the weights do not fit.
    AlignmentError
        If they do not lie on one grid, or differ in scheme.
    """
    votes = count_votes(scorings, weights)
    totals = votes.sum(axis=1, keepdims=True)
    shares = np.full(votes.shape, np.nan)
    np.divide(votes, totals, out=shares, where=totals > 0)
    first = scorings[0]
    start = next((scoring.start for scoring in scorings if scoring.start is not None), None)
    return Hypnodensity(shares, epoch_s=first.epoch_s, start=start, scheme=first.scheme, scorer=_names(scorings))


def soft_agreement(scoring: Hypnogram, others: Sequence[Hypnogram]) -> float:
    """Return how far a scoring agrees with others, from 0 to 1; NaN without an epoch to compare.

    Raises
    ------
    HypnographError
        If there are no others.
    AlignmentError
        If they do not lie on one grid, or differ in scheme.
    """
    stack_stages([scoring, *others])
    votes = count_votes(others)
    most = votes.max(axis=1, initial=0)
    epochs = np.flatnonzero(scoring.scored & (most > 0))
    return float((votes[epochs, scoring.stages[epochs]] / most[epochs]).mean()) if epochs.size else float("nan")


def soft_agreements(scorings: Sequence[Hypnogram]) -> NDArray[np.float64]:
    """Return the soft agreement of each scorer with the others, shape (n_scorers,).

    Raises
    ------
    HypnographError
        If there are fewer than two scorers.
    """
    if len(scorings) < 2:
        raise HypnographError(f"{len(scorings)} scoring: agreement with the others needs two or more")
    others = [[*scorings[:i], *scorings[i + 1 :]] for i in range(len(scorings))]
    return np.array([soft_agreement(one, rest) for one, rest in zip(scorings, others, strict=True)])


def majority(scorings: Sequence[Hypnogram], weights: Sequence[float] | None = None) -> Hypnogram:
    """Return the stage with the most votes in each epoch; ties go to the scorer most in agreement with the others.

    Parameters
    ----------
    scorings
        Of one night. Of scorers who agree equally with the others, the earlier decides a tie.
    weights
        How much each scorer counts; None: all the same.

    Raises
    ------
    HypnographError
        If there is no scoring, or the weights do not fit.
    AlignmentError
        If they do not lie on one grid, or differ in scheme.
    """
    stages, votes = stack_stages(scorings), count_votes(scorings, weights)
    agreed = soft_agreements(scorings) if len(scorings) > 1 else np.ones(1)
    most = votes.max(axis=1, initial=0, keepdims=True)
    # Weights such as 0.1 + 0.2 and 0.3 are equal but for rounding.
    tied = np.isclose(votes, most) & (most > 0)
    found = np.full(votes.shape[0], -1, dtype=np.int8)
    # From the least in agreement to the most: who comes later overwrites.
    for scorer in np.argsort(-np.nan_to_num(agreed), kind="stable")[::-1]:
        own = np.flatnonzero(stages[scorer] >= 0)
        wins = own[tied[own, stages[scorer, own]]]
        found[wins] = stages[scorer, wins]
    start = next((scoring.start for scoring in scorings if scoring.start is not None), None)
    return replace(scorings[0], stages=found, start=start, scorer=f"majority of {_names(scorings)}")


def unanimous(scorings: Sequence[Hypnogram]) -> NDArray[np.bool_]:
    """Mark the epochs in which two scorers or more gave a stage, and all who did gave the same, shape (n_epochs,)."""
    votes = count_votes(scorings)
    return np.asarray((votes.sum(axis=1) > 1) & (votes.max(axis=1, initial=0) == votes.sum(axis=1)))


def leave_one_out(nights: Sequence[ScoredNight]) -> dict[str, list[NightPair]]:
    """Return what to compare each person and each model with, so that their numbers compare.

    Parameters
    ----------
    nights
        Each by two persons or more.

    Returns
    -------
    dict
        By name, the persons first: for a person a pair for each night, with the consensus of the other persons (of
        two: a pair with each); for a model these of all persons. All pairs of a night have its name.
        `tables.evaluate_nights` takes the lists.

    Raises
    ------
    HypnographError
        If a night has fewer than two persons, or a model is called like a person.
    """
    people: dict[str, list[NightPair]] = {}
    models: dict[str, list[NightPair]] = {}
    for night in nights:
        _check_night(night)
        without = {
            name: _references([scoring for other, scoring in night.scorings.items() if other != name])
            for name in night.scorings
        }
        for name, scoring in night.scorings.items():
            people.setdefault(name, []).extend(_pairs(night, without[name], scoring))
        for name, scoring in night.predicted.items():
            every = [reference for references in without.values() for reference in references]
            models.setdefault(name, []).extend(_pairs(night, every, scoring))
    return people | models


def _references(others: list[Hypnogram]) -> list[Hypnogram]:
    return others if len(others) == 2 else [majority(others)]


def _pairs(night: ScoredNight, references: Sequence[Hypnogram], predicted: Hypnogram) -> list[NightPair]:
    return [NightPair(night.name, night.subject, reference, predicted) for reference in references]


def soft_agreements_left_out(night: ScoredNight) -> dict[str, float]:
    """Return the soft agreement of each person with the others, of each model with all but one of them, averaged.

    Raises
    ------
    HypnographError
        As `leave_one_out`.
    """
    _check_night(night)
    people = list(night.scorings.values())
    rests = [[*people[:i], *people[i + 1 :]] for i in range(len(people))]
    found = dict(zip(night.scorings, map(float, soft_agreements(people)), strict=True))
    for name, scoring in night.predicted.items():
        found[name] = float(np.mean([soft_agreement(scoring, rest) for rest in rests]))
    return found


def _check_night(night: ScoredNight) -> None:
    if len(night.scorings) < 2:
        raise HypnographError(f"night {night.name} has {len(night.scorings)} scoring; two or more are needed")
    if both := night.scorings.keys() & night.predicted.keys():
        raise HypnographError(f"night {night.name}: {min(both)!r} is the name of a person and of a model; change one")


def _names(scorings: Sequence[Hypnogram]) -> str:
    named = [scoring.scorer for scoring in scorings if scoring.scorer]
    return ", ".join(named) if len(named) == len(scorings) else f"{len(scorings)} scorers"
