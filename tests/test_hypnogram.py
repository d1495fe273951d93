"""Hypnogram and hypnodensity: frozen values on a time grid."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import entropy

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.hypnogram import MAX_EPOCHS, Hypnodensity, Hypnogram, probabilities_of
from hypnograph.stages import AASM_5, SCHEMES, W_NREM_REM, W_SLEEP
from tests.strategies import hypnodensities, hypnograms

TEN_PM = datetime(2020, 3, 1, 22, 0)


def night(names: str, **fields) -> Hypnogram:
    """A hypnogram from a letter for each epoch: W 1 2 3 R and ? for unscored."""
    return Hypnogram(np.array(["W123R".find(letter) for letter in names]), **fields)


def letters(hypnogram: Hypnogram) -> str:
    return "".join("W123R?"[stage] for stage in hypnogram.stages)


class TestValues:
    def test_the_stages_cannot_be_written_to_nor_through_the_array_that_was_given(self) -> None:
        given_stages = np.array([0, 1, 2], dtype=np.int8)
        hypnogram = Hypnogram(given_stages)
        given_stages[0] = 4
        assert hypnogram.stages.tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match="read-only"):
            hypnogram.stages[0] = 4

    @given(hypnograms())
    def test_equality_is_a_bool_and_equal_values_have_one_hash(self, hypnogram: Hypnogram) -> None:
        copy = replace(hypnogram)
        assert (copy == hypnogram) is True
        assert hash(copy) == hash(hypnogram)
        assert (replace(hypnogram, epoch_s=hypnogram.epoch_s * 2) == hypnogram) is False
        assert (hypnogram == "a hypnogram") is False

    @pytest.mark.parametrize("stages", [[5], [-2], [0.0], [[0]], [True], ["W"], [None]])
    def test_what_is_no_stage_is_refused(self, stages: list) -> None:
        with pytest.raises(HypnographError):
            Hypnogram(np.array(stages))

    @given(st.integers(-(2**40), 2**40), st.sampled_from(list(SCHEMES.values())))
    def test_a_stage_outside_its_scheme_is_refused(self, stage: int, scheme) -> None:
        assume(not -1 <= stage < scheme.n_stages)
        with pytest.raises(HypnographError, match=f"stage {stage} is outside scheme {scheme.name}"):
            Hypnogram(np.array([0, stage]), scheme=scheme)

    @pytest.mark.parametrize("epoch_s", [0, -30, np.nan, np.inf])
    def test_an_epoch_without_a_length_is_refused(self, epoch_s: float) -> None:
        with pytest.raises(HypnographError, match="epoch_s"):
            Hypnogram(np.array([0]), epoch_s=epoch_s)

    def test_a_time_zone_is_dropped(self) -> None:
        assert night("W", start=TEN_PM.replace(tzinfo=UTC)) == night("W", start=TEN_PM)

    def test_names_are_of_the_scheme(self) -> None:
        assert Hypnogram.from_names(["W", "REM", "UNSCORED"]).stages.tolist() == [0, 4, -1]
        with pytest.raises(HypnographError, match="'N2' is not a stage of scheme W-sleep"):
            Hypnogram.from_names(["N2"], scheme=W_SLEEP)

    @given(hypnograms())
    def test_names_make_the_same_hypnogram(self, hypnogram: Hypnogram) -> None:
        again = Hypnogram.from_names(hypnogram.names, scheme=hypnogram.scheme)
        assert np.array_equal(again.stages, hypnogram.stages)

    @given(hypnograms(min_epochs=0))
    def test_runs_and_counts_cover_every_epoch(self, hypnogram: Hypnogram) -> None:
        runs = hypnogram.runs()
        lengths = [round(run.duration_s / hypnogram.epoch_s) for run in runs]
        assert np.repeat([run.stage for run in runs], lengths).tolist() == hypnogram.stages.tolist()
        assert all(a.stage != b.stage for a, b in pairwise(runs))
        assert sum(hypnogram.counts().values()) == hypnogram.n_epochs


class TestMerging:
    @given(hypnograms(scheme=AASM_5))
    def test_unscored_epochs_keep_their_place(self, hypnogram: Hypnogram) -> None:
        for scheme in SCHEMES.values():
            merged = hypnogram.merge(scheme)
            assert np.array_equal(merged.scored, hypnogram.scored)
            assert replace(merged, stages=hypnogram.stages, scheme=AASM_5) == hypnogram

    def test_nrem_is_one_stage(self) -> None:
        assert night("W123R?").merge(W_NREM_REM).names == ["W", "NREM", "NREM", "NREM", "REM", "UNSCORED"]


class TestResampling:
    @given(hypnograms())
    def test_to_its_own_grid_is_identity(self, hypnogram: Hypnogram) -> None:
        assert hypnogram.resample(hypnogram.epoch_s) == hypnogram

    @given(hypnograms(epoch_s=30.0), st.sampled_from([1, 2, 3, 5, 7, 60]))
    def test_finer_and_back_is_identity(self, hypnogram: Hypnogram, factor: int) -> None:
        finer = hypnogram.resample(30 / factor)
        assert finer == hypnogram.upsample(factor)
        assert finer.resample(30.0) == hypnogram

    def test_twenty_second_epochs_become_thirty_by_majority(self) -> None:
        #  0    20    40    60    80    100   120
        #  W     1     2     2     ?     R
        #  0-30: W 20, 1 10; 30-60: 1 10, 2 20; 60-90: 2 20, ? 10; 90-120: ? 10, R 20
        assert letters(night("W122?R", epoch_s=20).resample(30)) == "W22R"

    def test_of_equal_shares_the_earlier_wins(self) -> None:
        assert letters(night("3W", epoch_s=15).resample(30)) == "3"
        assert letters(night("W3", epoch_s=15).resample(30)) == "W"
        assert letters(night("3WW3", epoch_s=7.5).resample(30)) == "3"

    def test_a_stage_wins_over_as_much_unscored_but_not_over_more(self) -> None:
        assert letters(night("?2", epoch_s=15).resample(30)) == "2"
        assert letters(night("??2", epoch_s=10).resample(30)) == "?"

    def test_beyond_the_hypnogram_all_is_unscored(self) -> None:
        assert letters(night("W1").resample(30, offset_s=-60, n_epochs=6)) == "??W1??"

    @given(hypnograms(epoch_s=20.0), st.sampled_from([5, 7.5, 12, 30, 45]), st.integers(-100, 100))
    def test_each_new_epoch_has_a_stage_that_covers_most_of_it(self, hypnogram, epoch_s, offset_s) -> None:
        new = hypnogram.resample(epoch_s, offset_s=offset_s, n_epochs=20)
        # The oracle looks at each half second.
        at = offset_s + np.arange(0, 20 * epoch_s, 0.5) + 0.25
        index = np.floor(at / 20).astype(int)
        inside = (index >= 0) & (index < hypnogram.n_epochs)
        stages = np.where(inside, hypnogram.stages[np.clip(index, 0, hypnogram.n_epochs - 1)], -1)
        parts = stages.reshape(20, -1)
        shares = np.stack([(parts == stage).sum(axis=1) for stage in range(hypnogram.scheme.n_stages)], axis=1)
        unscored = (parts == -1).sum(axis=1)
        for epoch, stage in enumerate(new.stages):
            best = shares[epoch].max()
            expected = shares[epoch][stage] == best if stage >= 0 else unscored[epoch] > best or best == 0
            assert expected, (epoch, shares[epoch], unscored[epoch], stage)

    def test_a_grid_without_end_is_refused(self) -> None:
        with pytest.raises(HypnographError, match=f"limit of {MAX_EPOCHS}"):
            night("W" * 1000).resample(1e-6)

    def test_upsampling_by_less_than_one_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="factor must be 1 or more"):
            night("W").upsample(0)


class TestCropping:
    @given(hypnograms(min_epochs=2, epoch_s=30.0, start=st.just(TEN_PM)), st.data())
    def test_a_crop_is_what_aligning_to_its_start_gives(self, hypnogram: Hypnogram, data) -> None:
        first = data.draw(st.integers(0, hypnogram.n_epochs - 1))
        past_last = data.draw(st.integers(first + 1, hypnogram.n_epochs))
        cropped = hypnogram.crop(first, past_last)
        assert cropped.start == TEN_PM + timedelta(seconds=30 * first)
        assert hypnogram.align(cropped.start, past_last - first) == cropped

    def test_lights_move_along(self) -> None:
        cropped = night("WWW1", lights_off_s=45.0, lights_on_s=110.0).crop(1, 4)
        assert (cropped.lights_off_s, cropped.lights_on_s) == (15.0, 80.0)

    @pytest.mark.parametrize(("first", "past_last"), [(-1, 2), (2, 1), (0, 5)])
    def test_what_is_not_there_cannot_be_cropped(self, first: int, past_last: int) -> None:
        with pytest.raises(HypnographError, match="epochs 0 to 4"):
            night("W123").crop(first, past_last)


class TestAlignment:
    @given(hypnograms())
    def test_to_its_own_grid_is_identity(self, hypnogram: Hypnogram) -> None:
        assert hypnogram.align(hypnogram.start, hypnogram.n_epochs) == hypnogram

    @given(hypnograms(start=st.just(TEN_PM)), st.integers(-59, 59), st.integers(1, 80))
    def test_the_recording_decides_start_and_length(self, hypnogram: Hypnogram, shift: int, n_epochs: int) -> None:
        assume(-n_epochs < shift < hypnogram.n_epochs)
        start = TEN_PM + timedelta(seconds=shift * hypnogram.epoch_s)
        aligned = hypnogram.align(start, n_epochs)
        assert (aligned.start, aligned.n_epochs, aligned.epoch_s) == (start, n_epochs, hypnogram.epoch_s)
        expected = [hypnogram.stages[i] if 0 <= i < hypnogram.n_epochs else -1 for i in range(shift, shift + n_epochs)]
        assert aligned.stages.tolist() == expected

    def test_a_scoring_that_begins_before_the_recording_loses_its_beginning(self) -> None:
        scoring = night("W123R", start=TEN_PM - timedelta(seconds=60))
        assert letters(scoring.align(TEN_PM, 4)) == "23R?"

    def test_a_scoring_that_begins_after_it_is_filled(self) -> None:
        scoring = night("W123R", start=TEN_PM + timedelta(seconds=60))
        assert letters(scoring.align(TEN_PM, 6)) == "??W123"

    def test_a_scoring_of_twenty_seconds_comes_onto_thirty(self) -> None:
        scoring = night("W122?R", epoch_s=20, start=TEN_PM)
        assert letters(scoring.align(TEN_PM, 5, 30)) == "W22R?"

    def test_off_the_grid_the_majority_decides(self) -> None:
        scoring = night("W123", start=TEN_PM + timedelta(seconds=10))
        # From 10 s on: W to 40, 1 to 70, 2 to 100, 3 to 130.
        assert letters(scoring.align(TEN_PM, 5)) == "W123?"
        assert letters(night("W123", start=TEN_PM + timedelta(seconds=20)).align(TEN_PM, 5)) == "?W123"

    def test_where_a_start_is_unknown_both_begin_together(self) -> None:
        assert night("W1").align(TEN_PM, 2) == night("W1", start=TEN_PM)
        assert night("W1", start=TEN_PM).align(None, 2) == night("W1", start=TEN_PM)

    @pytest.mark.parametrize("years", [0, 40, -7])
    def test_clock_times_count_where_dates_were_changed(self, years: int) -> None:
        scoring = night("W123R" * 100, start=TEN_PM.replace(year=TEN_PM.year + years, day=17))
        assert letters(scoring.align(TEN_PM - timedelta(seconds=60), 6)) == "??W123"

    def test_past_midnight_the_day_with_the_overlap_is_taken(self) -> None:
        # The recording began at 22:00; the scorer's file says 00:30 of the same date.
        scoring = night("W123R" * 100, start=TEN_PM.replace(hour=0, minute=30))
        aligned = scoring.align(TEN_PM, 960)
        assert letters(aligned).startswith("?" * 300 + "W123R")
        # The scoring began at 23:59:30, the recording 60 s later, on another date.
        scoring = night("W123R", start=datetime(1985, 1, 1, 23, 59, 30))
        assert letters(scoring.align(datetime(2020, 3, 2, 0, 0, 30), 3)) == "23R"

    def test_a_day_s_scoring_of_the_same_date_is_not_moved(self) -> None:
        # Sleep-EDF: 24 h are scored, and the recording may be a late part of them.
        scoring = night("W" * 1560 + "123R" * 330, start=TEN_PM.replace(hour=8))
        assert letters(scoring.align(TEN_PM.replace(hour=21), 4)) == "123R"

    def test_no_overlap_is_an_error_that_shows_both(self) -> None:
        with pytest.raises(AlignmentError, match=r"2020-03-01 22:00:00.*does not overlap.*2020-03-01 12:00:00"):
            night("W" * 10, start=TEN_PM).align(TEN_PM.replace(hour=12), 10)

    def test_a_time_zone_does_not_matter(self) -> None:
        assert letters(night("W1", start=TEN_PM).align(TEN_PM.replace(tzinfo=UTC), 2)) == "W1"

    def test_lights_stay_where_they_were_on_the_clock(self) -> None:
        scoring = night("W123R", start=TEN_PM, lights_off_s=20.0)
        assert scoring.align(TEN_PM - timedelta(seconds=45), 5).lights_off_s == 65.0


class TestShown:
    def test_a_terminal_shows_counts_rows_and_clock_times(self) -> None:
        text = str(night("".join(letter * 60 for letter in "W123R?"), start=TEN_PM, scorer="expert-2"))
        assert text.splitlines()[0].startswith("Hypnogram by expert-2: 360 epochs of 30 s (W 60, N1 60")
        assert [line.split("│")[0].strip() for line in text.splitlines()[1:7]] == ["W", "REM", "N1", "N2", "N3", "?"]
        assert "22:00" in text
        assert "0:00" in text.splitlines()[-1]  # midnight

    @given(hypnograms(min_epochs=0))
    def test_any_hypnogram_can_be_shown(self, hypnogram: Hypnogram) -> None:
        assert str(hypnogram).startswith("Hypnogram")
        assert all(len(line) <= 90 for line in hypnogram.draw().splitlines()) if len(hypnogram) else True

    @given(hypnograms(min_epochs=0))
    def test_jupyter_gets_a_figure_that_is_well_formed_and_loads_nothing(self, hypnogram: Hypnogram) -> None:
        page = hypnogram._repr_html_()
        ElementTree.fromstring(f"<div>{page}</div>")
        assert "http" not in page
        assert "currentColor" in page or not len(hypnogram)

    def test_a_scorer_s_name_cannot_be_html(self) -> None:
        assert "<script>" not in night("W", scorer="<script>")._repr_html_()

    def test_a_night_at_128_hz_stays_small_in_jupyter(self) -> None:
        stages = np.random.default_rng(0).integers(-1, 5, 128 * 600)
        assert len(Hypnogram(stages, epoch_s=1 / 128)._repr_html_()) < 300_000

    def test_a_frame_has_a_row_for_each_epoch(self) -> None:
        frame = night("W2?", start=TEN_PM).to_frame()
        assert frame["stage"].tolist() == ["W", "N2", "UNSCORED"]
        assert frame["onset_s"].tolist() == [0, 30, 60]
        assert frame["time"].iloc[2] == TEN_PM + timedelta(seconds=60)
        assert "time" not in night("W").to_frame()


class TestHypnodensity:
    @pytest.mark.parametrize("row", [[2.0, -1.0, 0, 0, 0], [1, 1, 0, 0, 0], [np.nan, 1, 0, 0, 0], [np.inf, 0, 0, 0, 0]])
    def test_what_is_no_probability_is_refused(self, row: list[float]) -> None:
        with pytest.raises(HypnographError, match="softmax"):
            Hypnodensity(np.array([row]))

    @given(st.lists(st.floats(-20, 20), min_size=5, max_size=5))
    def test_logits_are_refused(self, row: list[float]) -> None:
        assume(min(row) < 0 or abs(sum(row) - 1) > 1e-2)
        with pytest.raises(HypnographError):
            Hypnodensity(np.array([row]))

    def test_a_column_for_each_stage_is_needed(self) -> None:
        with pytest.raises(HypnographError, match=r"\(1, 4\); scheme AASM needs \(n_epochs, 5\)"):
            Hypnodensity(np.full((1, 4), 0.25))

    @given(hypnodensities())
    def test_the_most_probable_stage_is_its_hypnogram(self, density: Hypnodensity) -> None:
        hypnogram = density.argmax()
        assert np.array_equal(hypnogram.scored, density.known)
        known = density.probabilities[density.known]
        assert np.array_equal(hypnogram.stages[density.known], known.argmax(axis=1))
        assert (hypnogram.epoch_s, hypnogram.start, hypnogram.scorer) == (
            density.epoch_s,
            density.start,
            density.scorer,
        )

    @given(hypnodensities())
    def test_merged_probabilities_add_up(self, density: Hypnodensity) -> None:
        merged = density.merge(W_NREM_REM).probabilities
        expected = np.stack([density.probabilities[:, s].sum(axis=1) for s in ([0], [1, 2, 3], [4])], axis=1)
        assert np.allclose(merged, expected, equal_nan=True)

    @given(hypnodensities())
    def test_entropy_and_confidence_are_those_of_the_formula(self, density: Hypnodensity) -> None:
        known = density.known
        expected = entropy(density.probabilities[known], base=2, axis=1)
        assert np.allclose(density.entropy()[known], expected, atol=1e-9)
        assert np.allclose(density.confidence()[known], density.probabilities[known].max(axis=1))
        assert np.isnan(density.entropy()[~known]).all()
        assert np.isnan(density.confidence()[~known]).all()

    def test_certainty_has_no_entropy_and_no_sign(self) -> None:
        certain = Hypnodensity(np.eye(5))
        assert not np.signbit(certain.entropy()).any()
        assert certain.entropy().tolist() == [0] * 5
        assert Hypnodensity(np.full((1, 5), 0.2)).entropy()[0] == pytest.approx(np.log2(5))

    @given(hypnodensities())
    def test_equality_is_a_bool_and_unknown_epochs_are_equal(self, density: Hypnodensity) -> None:
        assert (replace(density) == density) is True
        assert hash(replace(density)) == hash(density)

    @given(hypnograms(scheme=AASM_5))
    def test_a_hypnogram_is_certain_of_itself(self, hypnogram: Hypnogram) -> None:
        density = Hypnodensity(probabilities_of(hypnogram), epoch_s=hypnogram.epoch_s)
        assert np.array_equal(density.argmax().stages, hypnogram.stages)

    def test_a_frame_has_probabilities_confidence_and_entropy(self) -> None:
        frame = Hypnodensity(np.array([[0.5, 0.5, 0, 0, 0], [np.nan] * 5])).to_frame()
        assert frame["p_N1"].iloc[0] == 0.5
        assert frame["entropy_bits"].iloc[0] == 1.0
        assert frame["stage"].tolist() == ["W", "UNSCORED"]
