"""A stager's entropy against the disagreement of experts."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.disagreement import DoubtedNight, disagreement, doubt_agreement
from hypnograph.hypnogram import Hypnodensity, Hypnogram


def simulated(seed: int, subject: str = "s", *, informed: bool = True) -> DoubtedNight:
    """A simulated night whose stager doubts where experts differ, or anywhere."""
    rng = np.random.default_rng(seed)
    truth, hard = rng.integers(0, 5, 300), rng.random(300) < 0.4
    scorings = [Hypnogram(np.where(hard & (rng.random(300) < 0.5), rng.integers(0, 5, 300), truth)) for _ in range(5)]
    sharpness = np.where(hard if informed else rng.random(300) < 0.4, 0.5, 2.0)
    logits = rng.normal(0, 1, (300, 5)) + 3 * np.eye(5)[truth]
    odds = np.exp(logits * sharpness[:, None])
    return DoubtedNight(subject, scorings, Hypnodensity(odds / odds.sum(axis=1, keepdims=True)))


def test_disagreement_is_the_share_outside_the_majority() -> None:
    scorings = [Hypnogram(np.array(row)) for row in ([0, 0, -1, 2], [0, 1, -1, -1], [0, 1, -1, -1], [0, 2, -1, -1])]
    assert disagreement(scorings) == pytest.approx([0, 0.5, np.nan, np.nan], nan_ok=True)


def test_of_one_night_it_is_the_auc_of_scikit_learn_and_the_spearman_of_scipy() -> None:
    night = simulated(1)
    found = doubt_agreement([night])
    apart = disagreement(night.scorings)
    assert found.auc.value == pytest.approx(roc_auc_score(apart > 0, night.hypnodensity.entropy()))
    assert found.spearman.value == pytest.approx(spearmanr(apart, night.hypnodensity.entropy()).statistic)
    assert (found.n_nights, found.n_epochs) == (1, 300)


def test_of_many_it_is_their_mean_with_an_interval_over_subjects() -> None:
    nights = [simulated(seed, f"s{seed}") for seed in range(8)]
    found = doubt_agreement(nights)
    assert found.auc.value == pytest.approx(np.mean([doubt_agreement([night]).auc.value for night in nights]))
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.auc.low > 0.6


def test_doubt_about_something_else_is_worth_nothing() -> None:
    found = doubt_agreement([simulated(seed, f"s{seed}", informed=False) for seed in range(30)])
    assert found.spearman.value == pytest.approx(0, abs=0.04)
    assert found.auc.value == pytest.approx(0.5, abs=0.03)


def test_an_easy_night_is_not_made_harder_by_a_hard_one() -> None:
    # Entropy that differs between nights but not within says nothing within a night.
    flat = [
        simulated(seed, f"s{seed}")._replace(hypnodensity=Hypnodensity(np.tile(row, (300, 1))))
        for seed, row in enumerate([[0.96, 0.01, 0.01, 0.01, 0.01], [0.2] * 5])
    ]
    found = doubt_agreement(flat)
    assert found.auc.value == 0.5
    assert np.isnan(found.spearman.value)


def test_unknown_epochs_do_not_count() -> None:
    night = simulated(2)
    holes = night.hypnodensity.probabilities.copy()
    holes[:50] = np.nan
    assert doubt_agreement([night._replace(hypnodensity=Hypnodensity(holes))]).n_epochs == 250


def test_nothing_and_other_lengths_are_refused() -> None:
    with pytest.raises(HypnographError, match="no night"):
        doubt_agreement([])
    night = simulated(1)
    short = night._replace(hypnodensity=Hypnodensity(night.hypnodensity.probabilities[1:]))
    with pytest.raises(AlignmentError, match="299 epochs"):
        doubt_agreement([short])
