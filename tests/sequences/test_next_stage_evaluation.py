"""Next-stage scores: the oracles are sums by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.next_stage_evaluation import next_stage_scores
from hypnograph.stages import AASM_5


def staying(p: float, ahead: int = 1) -> SimpleNamespace:
    """A model that says that a stage goes on with probability p."""
    table = np.log(np.full((5, 5), (1 - p) / 4) + (p - (1 - p) / 4) * np.eye(5))
    return SimpleNamespace(name="", scheme=AASM_5, targets_ahead=ahead, log_probabilities=lambda s: table[s])


def nights(*rows: list[int], dataset: str = "d") -> list[TrainingNight]:
    return [TrainingNight(dataset, str(i), np.array(row, dtype=np.int8)) for i, row in enumerate(rows)]


def test_nats_and_accuracy_are_of_all_scored_epochs_that_have_one_before() -> None:
    (score,) = next_stage_scores({"m": staying(0.8)}, nights([0, 0, 2, -1, 2], [1, 1]))
    # Stays: 0-0, 1-1; changes: 0-2; after the gap the table is asked for stage −1, which is its last row: a change.
    assert score.n_epochs == 4
    assert score.nats.value == pytest.approx(-(2 * np.log(0.8) + 2 * np.log(0.05)) / 4)
    assert score.accuracy.value == 0.5
    assert score.difference is None


def test_the_epoch_asked_for_is_the_next_unless_told_otherwise() -> None:
    two = {"m": staying(0.8, ahead=2)}
    rows = nights([0, 0, 1, 1, 1, 1])
    assert next_stage_scores(two, rows)[0].accuracy.value == 4 / 5
    assert next_stage_scores(two, rows, epochs_ahead=None)[0].accuracy.value == 2 / 4


def test_differences_are_to_the_named_model_on_the_same_draws() -> None:
    rows = nights([0] * 9 + [1], [2] * 30, [3, 4] * 5)
    models = {"a": staying(0.9), "b": staying(0.9), "c": staying(0.7)}
    _, b, c = next_stage_scores(models, rows)
    assert b.difference == (0, 0, 0)
    assert c.difference.value == pytest.approx(c.nats.value - b.nats.value)
    assert c.difference.low < c.difference.value < c.difference.high
    assert next_stage_scores(models, rows, compared_with="c")[0].difference.value == pytest.approx(-c.difference.value)


def test_intervals_are_over_subjects_not_nights() -> None:
    # Two subjects of many nights each: a draw is one, the other, or both; the interval spans all between.
    same = nights(*[[0] * 10] * 10) + nights(*[[0, 1] * 5] * 10)
    rows = [TrainingNight("d", "one" if i < 10 else "two", night.stages) for i, night in enumerate(same)]
    (score,) = next_stage_scores({"m": staying(0.8)}, rows)
    assert (score.nats.low, score.nats.high) == (pytest.approx(-np.log(0.8)), pytest.approx(-np.log(0.05)))


def test_one_subject_has_no_interval() -> None:
    assert np.isnan(next_stage_scores({"m": staying(0.8)}, nights([0, 0]))[0].nats.low)


def test_datasets_stand_apart_in_order_of_their_names() -> None:
    scores = next_stage_scores({"m": staying(0.8)}, nights([0, 0], dataset="z") + nights([0, 1], dataset="a"))
    assert [(s.dataset, s.accuracy.value) for s in scores] == [("a", 0), ("z", 1)]


def test_a_dataset_without_an_epoch_to_predict_and_an_unknown_model_are_refused() -> None:
    with pytest.raises(HypnographError, match="no night of d"):
        next_stage_scores({"m": staying(0.8)}, nights([0], [1, -1]))
    with pytest.raises(HypnographError, match="'x' is not one of the models m"):
        next_stage_scores({"m": staying(0.8)}, nights([0, 0]), compared_with="x")
