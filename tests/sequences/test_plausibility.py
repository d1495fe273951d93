"""Plausibility: the oracles are whole nights scored again after each change, and Bayes' rule over all alternatives."""

from types import SimpleNamespace

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.ngrams import NGramModel
from hypnograph.sequences.plausibility import (
    Edit,
    bout_edits,
    gains,
    improbable_stretches,
    load_reference,
    night_plausibility,
    reference_surprise,
    save_reference,
    surprise,
    two_sided,
)
from hypnograph.sequences.semi_markov import SemiMarkovModel
from hypnograph.stages import AASM_5, W_SLEEP

PATTERN = np.repeat([0, 1, 2, 3, 2, 4, 2, 0, 2, 3, 4], [8, 3, 20, 25, 12, 30, 15, 4, 25, 18, 22])


def training() -> list[TrainingNight]:
    rng = np.random.default_rng(1)
    nights = [np.repeat([0, 1, 2, 3, 2, 4, 2, 0, 2, 4], rng.integers(2, 40, 10)).astype(np.int8) for _ in range(20)]
    return [TrainingNight("d", str(i), night) for i, night in enumerate(nights)]


@pytest.fixture(scope="module", params=["n-gram", "semi-Markov"])
def model(request):
    return NGramModel.fit(training(), 4) if request.param == "n-gram" else SemiMarkovModel.fit(training())


class TwoAhead:
    """Says of each epoch t + 2 that it is the stage of epoch t, nearly surely."""

    name, scheme, targets_ahead = "two", AASM_5, 2

    def log_probabilities(self, stages) -> np.ndarray:
        return np.log(np.full((len(stages), 5), 0.01) + 0.95 * np.eye(5)[np.maximum(stages, 0)])


def whole(model, stages: np.ndarray) -> float:
    """Return log p of a night after its first epoch, read anew."""
    rows, came = model.log_probabilities(stages)[:-1], stages[1:]
    known = np.flatnonzero(came >= 0)
    return float(rows[known, came[known]].sum())


def changed(stages: np.ndarray, first: int, past_last: int, stage: int) -> np.ndarray:
    result = stages.copy()
    result[first:past_last] = np.where(stages[first:past_last] < 0, -1, stage)
    return result


class TestSurprise:
    def test_it_is_minus_log_p_of_each_stage_given_those_before(self, model) -> None:
        rows = model.log_probabilities(PATTERN)
        nats = surprise(model, PATTERN)
        assert np.isnan(nats[0])
        for t in (1, 8, 60):
            assert nats[t] == -rows[t - 1, PATTERN[t]]

    def test_unscored_epochs_have_none(self, model) -> None:
        holed = PATTERN.copy()
        holed[20:23] = -1
        assert np.flatnonzero(np.isnan(surprise(model, holed))).tolist() == [0, 20, 21, 22]

    def test_a_model_of_two_epochs_ahead_judges_the_epoch_it_means(self) -> None:
        nats = surprise(TwoAhead(), np.array([0, 0, 1, 1, 1]))
        assert np.isnan(nats[:2]).all()
        np.testing.assert_allclose(nats[2:], -np.log([0.01, 0.01, 0.96]))


class TestNight:
    def test_the_mean_its_perplexity_and_its_place(self, model) -> None:
        mean = np.nanmean(surprise(model, PATTERN))
        found = night_plausibility(model, PATTERN, reference=[mean - 1, mean + 1, mean + 2, mean + 3])
        assert found == (pytest.approx(mean), pytest.approx(np.exp(mean)), len(PATTERN) - 1, 75)

    def test_the_middle_of_the_reference_has_percentile_50(self, model) -> None:
        nats = reference_surprise(model, [night.stages for night in training()[:5]])
        middle = next(n.stages for n in training() if np.nanmean(surprise(model, n.stages)) == nats[2])
        assert night_plausibility(model, middle, reference=nats).percentile == 50

    def test_a_shuffled_night_is_less_plausible_than_all(self, model) -> None:
        nats = reference_surprise(model, [night.stages for night in training()])
        shuffled = np.random.default_rng(0).permutation(PATTERN)
        assert night_plausibility(model, shuffled, reference=nats).percentile == 0
        assert np.isnan(night_plausibility(model, shuffled).percentile)

    def test_a_night_of_one_scored_epoch_is_refused(self, model) -> None:
        with pytest.raises(HypnographError, match="nothing to be surprised"):
            night_plausibility(model, np.array([2, -1]))

    def test_the_reference_is_kept_beside_the_weights(self, model, tmp_path) -> None:
        assert load_reference(tmp_path)[0].size == 0
        nats = np.sort(np.random.default_rng(0).random(500))
        save_reference(tmp_path, nats, "some nights")
        kept, of = load_reference(tmp_path)
        np.testing.assert_allclose(kept, np.percentile(nats, np.arange(101)), atol=1e-5)
        assert of == "some nights (500 nights)"
        (tmp_path / "plausibility.json").write_text("{}")
        with pytest.raises(UnreadableFileError, match=r"plausibility\.json"):
            load_reference(tmp_path)


class TestGains:
    def test_an_edit_gains_what_the_whole_night_gains(self, model) -> None:
        holed = PATTERN.copy()
        holed[100:103] = -1
        edits = [
            Edit(5, 9, 2),
            Edit(30, 31, 0),
            Edit(31, 40, 3),
            Edit(98, 105, 1),
            Edit(101, 105, 0),
            Edit(0, 2, 4),
            Edit(180, 182, 1),
        ]
        found = gains(model, holed, edits, horizon=len(PATTERN))
        expected = [whole(model, changed(holed, *edit)) - whole(model, holed) for edit in edits]
        np.testing.assert_allclose(found, expected, atol=1e-9)

    def test_the_horizon_of_an_n_gram_is_its_context(self) -> None:
        model = NGramModel.fit(training(), 4)
        edits = bout_edits(PATTERN, 5)
        near, far = (gains(model, PATTERN, edits, horizon=horizon) for horizon in (3, 200))
        np.testing.assert_allclose(near, far, atol=1e-12)
        assert not np.allclose(gains(model, PATTERN, edits, horizon=0), far)

    def test_edits_do_not_know_of_each_other(self, model) -> None:
        edits = [Edit(40, 43, 0), Edit(41, 42, 4), Edit(42, 60, 2)]
        alone = [gains(model, PATTERN, [edit])[0] for edit in edits]
        np.testing.assert_allclose(gains(model, PATTERN, edits), alone)

    def test_a_model_of_two_epochs_ahead_is_refused(self) -> None:
        for ask in (gains, two_sided):
            with pytest.raises(HypnographError, match="two predicts the stage 2 epochs ahead"):
                ask(TwoAhead(), PATTERN, *([[]] if ask is gains else []))

    @pytest.mark.parametrize("edit", [Edit(-1, 2, 0), Edit(3, 3, 0), Edit(180, 400, 0), Edit(0, 1, 5)])
    def test_an_edit_outside_the_night_is_refused(self, model, edit: Edit) -> None:
        with pytest.raises(HypnographError, match="not within a night"):
            gains(model, PATTERN, [edit])


class TestTwoSided:
    def test_it_is_bayes_rule_over_the_stages_of_one_epoch(self, model) -> None:
        found = two_sided(model, PATTERN, horizon=len(PATTERN))
        for t in (0, 7, 30, len(PATTERN) - 1):
            logs = np.array([whole(model, changed(PATTERN, t, t + 1, stage)) for stage in range(5)])
            expected = np.exp(logs - logs.max())
            np.testing.assert_allclose(np.exp(found[t]), expected / expected.sum(), atol=1e-9)

    def test_unscored_epochs_have_none(self, model) -> None:
        found = two_sided(model, np.array([0, -1, 2, 2]))
        assert np.isnan(found[1]).all()
        assert not np.isnan(found[[0, 2, 3]]).any()

    def test_a_slip_is_told_from_a_change_where_surprise_alone_is_not(self, model) -> None:
        # An epoch of REM within N3 against the true change from N2 to N3.
        slip, change = 40, 31
        night = changed(PATTERN, slip, slip + 1, 4)
        own = two_sided(model, night)[np.arange(len(night)), night]
        assert own[slip] < np.log(0.05) < np.log(0.2) < own[change]
        assert surprise(model, night)[change] > 1


class TestStretches:
    def test_a_planted_slip_is_the_first_flag_with_the_stage_that_was_there(self, model) -> None:
        night = changed(PATTERN, 40, 42, 4)
        (found,) = improbable_stretches(model, Hypnogram(night), limit=1)
        assert (found.first_epoch, found.n_epochs, found.scored, found.expected) == (40, 2, "REM", "N3")
        assert (found.start_s, found.duration_s) == (1200, 60)
        assert found.gain == pytest.approx(gains(model, night, [Edit(40, 42, 3)])[0])
        assert found.surprise == pytest.approx(np.nanmax(surprise(model, night)[40:42]))

    def test_flags_stand_in_order_of_time_and_none_gains_less_than_asked(self, model) -> None:
        night = changed(changed(PATTERN, 40, 42, 4), 150, 151, 3)
        found = improbable_stretches(model, Hypnogram(night), least_gain=0.5, limit=None)
        assert [stretch.first_epoch for stretch in found] == sorted({stretch.first_epoch for stretch in found})
        assert all(stretch.gain >= 0.5 for stretch in found)
        assert improbable_stretches(model, Hypnogram(night), least_gain=100) == []

    def test_of_bouts_that_touch_the_odder_is_named(self, model) -> None:
        night = np.repeat([3, 0, 1, 3], [20, 2, 2, 20])
        edits = bout_edits(night, 5)
        best = edits[int(np.argmax(gains(model, night, edits)))]
        (found,) = improbable_stretches(model, Hypnogram(night), least_gain=0.1)
        assert (found.first_epoch, found.expected) == (best.first, AASM_5.labels[best.stage])
        apart = np.repeat([3, 0, 3, 1, 3], [20, 2, 12, 2, 20])
        assert [s.first_epoch for s in improbable_stretches(model, Hypnogram(apart))] == [20, 34]

    def test_a_long_bout_is_not_doubted_and_a_gap_is_no_bout(self) -> None:
        edits = bout_edits(np.repeat([0, 2, -1, 4], [10, 11, 3, 1]), 5)
        assert sorted({(edit.first, edit.past_last) for edit in edits}) == [(0, 10), (24, 25)]
        assert sorted(edit.stage for edit in edits if edit.first == 24) == [0, 1, 2, 3]

    def test_another_scheme_is_refused(self, model) -> None:
        with pytest.raises(HypnographError, match="W-sleep"):
            improbable_stretches(model, Hypnogram(np.array([0, 1]), scheme=W_SLEEP))

    def test_anything_that_is_a_next_stage_model_will_do(self) -> None:
        # A model of the first order, written here: a reader is all that is needed.
        table = np.log(np.full((5, 5), 0.025) + 0.875 * np.eye(5))

        class Reader:
            def __init__(self) -> None:
                self.read = lambda stages: table[stages]
                self.select = lambda nights: None

        plain = SimpleNamespace(
            name="", scheme=AASM_5, targets_ahead=1, reader=lambda n=1: Reader(), log_probabilities=lambda s: table[s]
        )
        (found,) = improbable_stretches(plain, Hypnogram(np.array([2] * 20 + [3] + [2] * 20)), limit=1)
        assert (found.first_epoch, found.expected) == (20, "N2")
        assert found.gain == pytest.approx(2 * (np.log(0.9) - np.log(0.025)))
