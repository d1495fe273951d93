"""How many epochs to look at for a wanted accuracy."""

from itertools import combinations

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.review import review_plan, reviewed_accuracy
from hypnograph.stages import W_SLEEP
from tests.evaluation.test_calibration import simulated_nights
from tests.test_review import night

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("wanted", [0.3, 0.6, 0.75, 0.9, 0.99, 1.0])
def test_no_smaller_choice_of_epochs_would_do(wanted: float) -> None:
    """Oracle: all choices of epochs, by brute force."""
    confidence = RNG.uniform(0.5, 1.0, 9)
    fewest = next(
        k
        for k in range(10)
        if any(1 - (1 - np.delete(confidence, c)).sum() / 9 >= wanted - 1e-9 for c in combinations(range(9), k))
    )
    plan = review_plan(night(confidence.tolist()), wanted)
    assert len(plan.epochs) == fewest
    assert plan.fraction == fewest / 9
    assert plan.expected_before == pytest.approx(confidence.mean())
    assert plan.expected_after >= wanted - 1e-9


def test_the_least_probable_are_looked_at_in_order_of_time() -> None:
    plan = review_plan(night([0.9, 0.5, 1.0, 0.55, 0.95]), 0.96)
    assert plan.epochs.tolist() == [1, 3]
    assert plan.highest_probability == pytest.approx(0.55)
    assert plan.expected_after == pytest.approx(1 - 0.15 / 5)


def test_a_night_that_is_good_enough_needs_no_look() -> None:
    plan = review_plan(night([0.95] * 10), 0.9)
    assert (len(plan.epochs), plan.fraction, plan.highest_probability) == (0, 0.0, 0.0)


def test_unknown_epochs_are_neither_looked_at_nor_counted() -> None:
    plan = review_plan(night([0.5, np.nan, 0.9, np.nan]), 0.9)
    assert plan.epochs.tolist() == [0]
    assert plan.fraction == 0.5


def test_a_stage_that_is_not_the_most_probable_is_doubted_by_its_own_probability() -> None:
    stages = Hypnogram(np.array([2, 1, 2]))
    plan = review_plan(night([0.9, 0.9, 0.9]), 0.9, hypnogram=stages)
    assert plan.epochs.tolist() == [1]
    assert plan.expected_before == pytest.approx((0.9 + 0.1 + 0.9) / 3)


def test_more_doubt_means_more_to_look_at_but_never_more_errors_than_epochs() -> None:
    confidence = RNG.uniform(0.5, 1.0, 200).tolist()
    looked = [len(review_plan(night(confidence), 0.9, doubt_factor=factor).epochs) for factor in (0.5, 1, 1.5, 100)]
    assert looked == sorted(set(looked))
    assert review_plan(night(confidence), 0.9, doubt_factor=100).expected_before >= 0


def test_with_true_probabilities_the_wanted_accuracy_is_reached() -> None:
    """Oracle: simulated nights whose stages were drawn from the probabilities that are said."""
    nights = simulated_nights(20, scale=1.0, n_epochs=1000)
    for wanted in (0.85, 0.9, 0.95):
        reached = [
            reviewed_accuracy(review_plan(n.hypnodensity, wanted), n.hypnodensity.argmax(), n.reference) for n in nights
        ]
        assert np.mean(reached) == pytest.approx(wanted, abs=0.005)


def test_the_accuracy_after_a_look_counts_scored_epochs_only() -> None:
    plan = review_plan(night([0.5, 0.9, 0.9, 0.9]), 0.9)
    assert plan.epochs.tolist() == [0]
    staged = Hypnogram(np.array([2, 2, 2, 2]))
    assert reviewed_accuracy(plan, staged, Hypnogram(np.array([4, 2, 4, -1]))) == pytest.approx(2 / 3)
    assert np.isnan(reviewed_accuracy(plan, staged, Hypnogram(np.full(4, -1))))


@pytest.mark.parametrize("wanted", [0, -0.1, 1.1, float("nan")])
def test_an_accuracy_that_cannot_be_is_refused(wanted: float) -> None:
    with pytest.raises(HypnographError, match="wanted accuracy"):
        review_plan(night([0.9]), wanted)


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(HypnographError, match="doubt factor is inf"):
        review_plan(night([0.9]), 0.9, doubt_factor=np.inf)
    with pytest.raises(HypnographError, match="no epoch is staged"):
        review_plan(night([np.nan]), 0.9)
    for other in (Hypnogram(np.zeros(3, dtype=int)), Hypnogram(np.zeros(1, dtype=int), scheme=W_SLEEP)):
        with pytest.raises(HypnographError, match="one grid"):
            review_plan(Hypnodensity(np.full((1, 5), 0.2)), 0.9, hypnogram=other)
