"""Tests methods that tell ill from healthy: repeated cross-validation by person, with intervals and permutations.

Folds are dealt by subject, each diagnosis in turn, so that all folds have about the same mixture. In each repeat every
night gets one score, from a fit that saw nothing of its subject. Numbers are means over the repeats.

Two intervals are different things. Over *people* (95 %, a bootstrap that keeps the numbers of ill and healthy): what
other people like these might have given. Over *repeats* (the smallest and the largest): what the luck of the folds
gives. The first is the one to believe; neither knows about other laboratories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.tables import Estimate
from hypnograph.training.disorder_fitting import Person, Question, Values, diagnosis_by_subject
from hypnograph.training.disorder_methods import Method

METRICS = ("AUC", "average precision", "balanced accuracy", "sensitivity", "specificity")


class Spread(NamedTuple):
    """The smallest and the largest value of the repeats."""

    low: float
    high: float


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutScores:
    """The scores of one method on people that it had not seen.

    Parameters
    ----------
    scores : float array, shape (n_repeats, n_nights)
        Log odds of a disorder where both answers weigh the same; above 0 the method says ill.
    ill : bool array, shape (n_nights,)
        The truth.
    subjects : int array, shape (n_nights,)
        Whose night it is, numbered from 0.
    """

    scores: Values
    ill: NDArray[np.bool_]
    subjects: NDArray[np.intp]

    def by_repeat(self) -> dict[str, Values]:
        """Return each metric in each repeat, shape (n_repeats,)."""
        ones = np.ones((1, len(self.ill)))
        found = [_metrics(row[None], self.ill, ones) for row in self.scores]
        return {name: np.array([float(metrics[name][0]) for metrics in found]) for name in METRICS}

    def estimates(self, *, n_bootstrap: int = 2000, seed: int = 0) -> dict[str, Estimate]:
        """Return each metric, the mean of the repeats, with its 95 % interval over people."""
        value = _metrics(self.scores, self.ill, np.ones((1, len(self.ill))))
        draws = _metrics(self.scores, self.ill, self._draws(n_bootstrap, seed))
        return {name: Estimate(float(value[name][0]), *_middle(draws[name])) for name in METRICS}

    def spreads(self) -> dict[str, Spread]:
        """Return the smallest and the largest value of each metric over the repeats."""
        return {name: Spread(float(values.min()), float(values.max())) for name, values in self.by_repeat().items()}

    def auc_above(self, other: "HeldOutScores", *, n_bootstrap: int = 2000, seed: int = 0) -> Estimate:
        """Return by how much the AUC is above that of another method on the same nights, with its interval."""
        ones, draws = np.ones((1, len(self.ill))), self._draws(n_bootstrap, seed)
        value, drawn = (_auc(self.scores, self.ill, w) - _auc(other.scores, self.ill, w) for w in (ones, draws))
        return Estimate(float(value[0]), *_middle(drawn))

    def _draws(self, n: int, seed: int) -> Values:
        """Return how often each draw takes each night, shape (n, n_nights): subjects, ill and healthy apart."""
        random = np.random.default_rng(seed)
        counts = np.zeros((n, self.subjects.max() + 1))
        for answer in (True, False):
            group = np.unique(self.subjects[self.ill == answer])
            counts[:, group] = random.multinomial(len(group), np.full(len(group), 1 / len(group)), size=n)
        return counts[:, self.subjects]


def cross_validated(
    method: Method, question: Question, *, n_folds: int = 10, n_repeats: int = 10, seed: int = 0
) -> HeldOutScores:
    """Score every night by fits that never saw its subject.

    Parameters
    ----------
    method
        What is tested.
    question
        Who is ill, who is healthy.
    n_folds, n_repeats
        How often; each repeat deals the folds anew.
    seed
        Of the folds and of the method.

    Raises
    ------
    HypnographError
        If there are fewer than two folds, or more than subjects.
    """
    subjects = numbered(question.people)
    groups = np.array(list(diagnosis_by_subject(question.people).values()))
    folds = [deal(groups, n_folds, seed=seed + repeat)[subjects] for repeat in range(n_repeats)]
    prepared = [method.prepare(person.hypnogram) for person in question.people]
    scores = [_scores(method, prepared, question.ill, fold, seed + i) for i, fold in enumerate(folds)]
    return HeldOutScores(scores=np.array(scores), ill=question.ill, subjects=subjects)


def permutation_p(
    method: Method, question: Question, auc: float, *, n: int = 200, n_folds: int = 10, seed: int = 0
) -> float:
    """Return how likely an AUC as large as `auc` is where answers are dealt to subjects by chance.

    Each permutation is cross-validated once. Its AUC varies more than a mean over repeats: p is rather too large.
    """
    subjects = numbered(question.people)
    answers = np.array([question.ill[subjects == i][0] for i in range(subjects.max() + 1)])
    prepared = [method.prepare(person.hypnogram) for person in question.people]
    random = np.random.default_rng(seed)
    as_large = 0
    for i in range(n):
        dealt = random.permutation(answers)
        fold = deal(dealt.astype(str), n_folds, seed=seed + i)[subjects]
        scores = _scores(method, prepared, dealt[subjects], fold, seed + i)
        as_large += float(_auc(scores[None], dealt[subjects], np.ones((1, len(scores))))[0]) >= auc
    return (1 + as_large) / (n + 1)


def _scores(
    method: Method, prepared: Sequence[NDArray[Any]], ill: NDArray[np.bool_], fold: NDArray[np.intp], seed: int
) -> Values:
    """Return the log odds of each night, by a fit on the other folds."""
    scores = np.empty(len(ill))
    for tested in range(fold.max() + 1):
        inside = fold == tested
        train, test = ([prepared[int(i)] for i in np.flatnonzero(chosen)] for chosen in (~inside, inside))
        scores[inside] = method.score(train, ill[~inside], test, seed)
    return scores


def deal(groups: NDArray[np.str_], n_folds: int, *, seed: int) -> NDArray[np.intp]:
    """Return the fold of each subject: the subjects of each group, in random order, go to the folds in turn.

    Raises
    ------
    HypnographError
        If there are fewer than two folds, or more than subjects.
    """
    if not 2 <= n_folds <= len(groups):
        raise HypnographError(f"{n_folds} folds of {len(groups)} subjects; give 2 to {len(groups)}")
    random = np.random.default_rng(seed)
    order = np.concatenate([random.permutation(np.flatnonzero(groups == group)) for group in np.unique(groups)])
    fold = np.empty(len(groups), dtype=np.intp)
    fold[order] = np.arange(len(groups)) % n_folds
    return fold


def numbered(people: Sequence[Person]) -> NDArray[np.intp]:
    """Return whose night each is: the subjects by number, in the order in which they come."""
    number = {name: i for i, name in enumerate(dict.fromkeys(person.subject for person in people))}
    return np.array([number[person.subject] for person in people])


# Metrics of weighted nights: a bootstrap draw is a weight for each night --------------------------------------------


def _metrics(scores: Values, ill: NDArray[np.bool_], weights: Values) -> dict[str, Values]:
    """Return each metric, the mean of the repeats, for each row of weights."""
    said_ill = (scores > 0).mean(axis=0)
    sensitivity = weights[:, ill] @ said_ill[ill] / weights[:, ill].sum(axis=1)
    specificity = weights[:, ~ill] @ (1 - said_ill[~ill]) / weights[:, ~ill].sum(axis=1)
    precision = np.mean([_average_precision(row, ill, weights) for row in scores], axis=0)
    values = (_auc(scores, ill, weights), precision, (sensitivity + specificity) / 2, sensitivity, specificity)
    return dict(zip(METRICS, values, strict=True))


def _auc(scores: Values, ill: NDArray[np.bool_], weights: Values) -> Values:
    """Return the share of pairs of an ill and a healthy night that the scores put in order; ties count half."""
    above = np.mean([np.sign(row[ill][:, None] - row[~ill]) / 2 + 0.5 for row in scores], axis=0)
    of_ill, of_healthy = weights[:, ill], weights[:, ~ill]
    pairs = of_ill.sum(axis=1) * of_healthy.sum(axis=1)
    return np.asarray(np.einsum("di,ih,dh->d", of_ill, above, of_healthy, optimize=True) / pairs)


def _average_precision(row: Values, ill: NDArray[np.bool_], weights: Values) -> Values:
    """Return the mean precision at the scores of the ill; nights of one score are taken together."""
    order = np.argsort(-row, kind="stable")
    last = np.searchsorted(-row[order], -row[order], side="right") - 1
    all_above = np.cumsum(weights[:, order], axis=1)[:, last]
    ill_above = np.cumsum(weights[:, order] * ill[order], axis=1)[:, last]
    precision = np.divide(ill_above, all_above, out=np.zeros_like(all_above), where=all_above > 0)
    return np.asarray((precision * weights[:, order] * ill[order]).sum(axis=1) / weights[:, ill].sum(axis=1))


def _middle(draws: Values) -> tuple[float, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)
