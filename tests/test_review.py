"""What deserves a human look."""

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity
from hypnograph.review import unsure_stretches
from hypnograph.stages import W_NREM_REM


def night(confidence: list[float], second: int = 1) -> Hypnodensity:
    """A night of N2 with the rest of the probability in one other stage; NaN: nothing is known."""
    p = np.zeros((len(confidence), 5))
    p[:, 2] = confidence
    p[:, second] = 1 - np.array(confidence)
    p[np.isnan(confidence)] = np.nan
    return Hypnodensity(p)


def where(hypnodensity: Hypnodensity, **options: object) -> list[tuple[int, int]]:
    return [(s.first_epoch, s.n_epochs) for s in unsure_stretches(hypnodensity, **options)]  # type: ignore[arg-type]


def test_unsure_epochs_at_most_one_apart_are_one_stretch() -> None:
    assert where(night([0.9, 0.5, 0.9, 0.5, 0.9, 0.9, 0.55, 0.9])) == [(1, 3), (6, 1)]


def test_the_gap_that_is_bridged_can_be_chosen() -> None:
    assert where(night([0.5, 0.9, 0.5]), max_gap_epochs=0) == [(0, 1), (2, 1)]


def test_an_epoch_of_which_nothing_is_known_ends_a_stretch() -> None:
    assert where(night([0.5, np.nan, 0.5])) == [(0, 1), (2, 1)]


def test_a_confidence_at_the_threshold_is_sure_enough() -> None:
    assert where(night([0.6, 0.59])) == [(1, 1)]


def test_says_what_was_predicted_and_what_else_it_may_be() -> None:
    (stretch,) = unsure_stretches(night([0.95, 0.52, 0.54], second=4))
    assert (stretch.predicted, stretch.second_choice) == ("N2", "REM")
    assert stretch.probability == pytest.approx(0.53)
    assert stretch.second_probability == pytest.approx(0.47)
    assert stretch.lowest_confidence == pytest.approx(0.52)
    assert stretch.doubt == pytest.approx(0.94)
    assert (stretch.start_s, stretch.duration_s) == (30.0, 60.0)


def test_the_limit_keeps_the_most_doubtful_in_order_of_time() -> None:
    hypnodensity = night([0.5, 0.9, 0.9, 0.55, 0.9, 0.9, 0.5, 0.5])
    assert where(hypnodensity, limit=2) == [(0, 1), (6, 2)]
    assert len(where(hypnodensity, limit=None)) == 3


@pytest.mark.parametrize("hypnodensity", [night([]), night([np.nan, np.nan]), night([0.9, 1.0])])
def test_a_night_without_doubt_has_no_stretches(hypnodensity: Hypnodensity) -> None:
    assert unsure_stretches(hypnodensity) == []


def test_merged_schemes_and_finer_grids() -> None:
    merged = Hypnodensity(np.array([[0.4, 0.35, 0.25]] * 3), epoch_s=5, scheme=W_NREM_REM)
    (stretch,) = unsure_stretches(merged)
    assert (stretch.predicted, stretch.second_choice, stretch.duration_s) == ("W", "NREM", 15.0)


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(HypnographError, match="threshold"):
        unsure_stretches(night([0.5]), threshold=threshold)
