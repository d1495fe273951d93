"""From scored stretches of time to epochs."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypnograph.errors import UnknownStageError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.scored_events import ScoredEvent, epoch_length, hypnogram_of_events, hypnogram_of_list
from tests.strategies import hypnograms

TEN_PM = datetime(2020, 3, 1, 22, 0)


def events(*rows: tuple[float, float | None, str]) -> list[ScoredEvent]:
    return [ScoredEvent(*row) for row in rows]


def letters(hypnogram: Hypnogram) -> str:
    return "".join("W123R?"[stage] for stage in hypnogram.stages)


class TestTheLengthOfAnEpoch:
    @pytest.mark.parametrize(
        ("durations", "epoch_s"),
        [
            ([30], 30), ([30, 30], 30), ([60, 90, 30], 30), ([20, 20, 20], 20), ([20, 40, 100], 20), ([60, 60], 30),
            ([60, 120], 30), ([0.5, 0.5], 0.5), ([0.5, 1.5, 30], 0.5), ([10, 20, 30], 10), ([15, 20, 45], 5),
            ([30630, 120, 390, 12], 30), ([30] * 20 + [7.3], 30), ([29.98, 30.02, 60.01], 30), ([7], 7), ([45, 45], 45),
            ([11, 13.7, 200], 30), ([20] * 20 + [40, 7.3], 20), ([30 / 7] * 3, 30 / 7),
        ],
    )  # fmt: skip
    def test_is_deduced_from_durations(self, durations: list[float], epoch_s: float) -> None:
        assert epoch_length(np.array(durations, dtype=float)) == epoch_s

    @given(hypnograms(epoch_s=30.0, min_epochs=2))
    def test_merged_runs_of_thirty_seconds_are_thirty_second_epochs(self, hypnogram: Hypnogram) -> None:
        runs = [ScoredEvent(run.start_s, run.duration_s, hypnogram.scheme.label(run.stage)) for run in hypnogram.runs()]
        read = hypnogram_of_events(runs)
        assert read.epoch_s == 30
        assert read.names == hypnogram.names


class TestTheGrid:
    def test_begins_at_zero_with_unscored_up_to_the_first_stage(self) -> None:
        assert letters(hypnogram_of_events(events((60, 30, "W"), (90, 60, "N2")))) == "??W22"

    def test_time_between_stages_is_unscored(self) -> None:
        assert letters(hypnogram_of_events(events((0, 30, "W"), (90, 30, "N2")))) == "W??2"

    def test_order_does_not_matter_and_repetitions_count_once(self) -> None:
        rows = events((30, 30, "N1"), (0, 30, "W"), (30, 30, "N1"))
        assert letters(hypnogram_of_events(rows)) == "W1"

    def test_a_common_offset_moves_the_start_where_it_is_known(self) -> None:
        rows = events((7.25, 30, "W"), (37.25, 30, "N1"))
        hypnogram = hypnogram_of_events(rows, start=TEN_PM, lights_off_s=10.0)
        assert letters(hypnogram) == "W1"
        assert hypnogram.start == TEN_PM + timedelta(seconds=7.25)
        assert hypnogram.lights_off_s == 2.75

    def test_without_a_start_the_majority_decides_on_the_grid_of_the_recording(self) -> None:
        assert letters(hypnogram_of_events(events((7.25, 30, "W"), (37.25, 30, "N1")))) == "W1?"

    def test_a_late_first_stage_off_the_grid_keeps_its_place_on_the_clock(self) -> None:
        hypnogram = hypnogram_of_events(events((127.5, 30, "W")), start=TEN_PM)
        first = int(np.flatnonzero(hypnogram.scored)[0])
        assert hypnogram.start + timedelta(seconds=30 * first) == TEN_PM + timedelta(seconds=127.5)

    def test_scoring_before_the_recording_begins_earlier(self) -> None:
        hypnogram = hypnogram_of_events(events((-60, 60, "W"), (0, 30, "N1")), start=TEN_PM)
        assert letters(hypnogram) == "WW1"
        assert hypnogram.start == TEN_PM - timedelta(seconds=60)

    def test_a_few_milliseconds_are_rounding(self) -> None:
        rows = events(*((30 * i + 0.001 * (-1) ** i, 30, "N2") for i in range(1, 50)))
        hypnogram = hypnogram_of_events(rows, start=TEN_PM, epoch_s=30)
        assert letters(hypnogram) == "?" + "2" * 49
        assert hypnogram.start == TEN_PM

    @given(st.integers(0, 10**9), st.sampled_from([0.5, 20.0, 30.0]))
    def test_onsets_are_exact_to_the_microsecond(self, microseconds: int, epoch_s: float) -> None:
        onset_s = microseconds / 1e6
        rows = events((onset_s, epoch_s, "W"), (onset_s + epoch_s, epoch_s, "N2"))
        hypnogram = hypnogram_of_events(rows, start=TEN_PM)
        begin = int(np.flatnonzero(hypnogram.scored)[0]) * epoch_s
        off = hypnogram.start + timedelta(seconds=begin) - (TEN_PM + timedelta(seconds=onset_s))
        # Less than 2 ms from the grid of the recording is on it.
        near = min(onset_s % epoch_s, -onset_s % epoch_s) < 2.1e-3
        assert abs(off) <= timedelta(microseconds=2100 if near else 1)


class TestMissingDurations:
    def test_changes_of_stage_last_until_the_next(self) -> None:
        rows = events((0, None, "W"), (90, None, "N1"), (150, 0.0, "N2"))
        assert letters(hypnogram_of_events(rows)) == "WWW112"

    def test_where_a_stage_follows_itself_each_is_an_epoch(self) -> None:
        rows = events((0, None, "W"), (30, None, "W"), (60, None, "N1"), (150, None, "N1"))
        assert letters(hypnogram_of_events(rows)) == "WW1??1"

    def test_a_single_one_lasts_an_epoch(self) -> None:
        assert letters(hypnogram_of_events(events((0, None, "W")))) == "W"


class TestImpossibleTimes:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ((0, 1e12, "W"), "31 days"), ((1e12, 30, "W"), "31 days"), ((np.nan, 30, "W"), "an onset is nan"),
            ((0, np.nan, "W"), "nan"), ((0, np.inf, "W"), "inf"), ((0, -30, "W"), "cannot be negative"),
            ((-30, 30, "W"), "start is not known"), ((0, 1e-9, "W"), "at least 0.001 s"),
        ],
    )  # fmt: skip
    def test_are_refused_before_anything_is_allocated(self, row: tuple, message: str) -> None:
        with pytest.raises(UnreadableFileError, match=message):
            hypnogram_of_events(events(row, (30 * 86400, 1e-9, "N1") if "at least" in message else (0, 30, "W")))

    def test_an_epoch_length_of_the_file_is_checked_too(self) -> None:
        for epoch_s in (0.0, -30.0, 1e-7, 1e300):
            with pytest.raises(UnreadableFileError):
                hypnogram_of_events(events((0, 30, "W")), epoch_s=epoch_s)
            with pytest.raises(UnreadableFileError):
                hypnogram_of_list(["W"], None, None, epoch_s)

    def test_two_scorings_in_one_file_are_refused(self) -> None:
        rows = [(30 * i, 30, name) for i in range(20) for name in ("N1", "N2")]
        with pytest.raises(
            UnreadableFileError, match="20 of 20 epochs have more than one stage; are there two scorings"
        ):
            hypnogram_of_events(events(*rows))

    def test_a_single_contradiction_is_not(self) -> None:
        rows = [(30 * i, 30, "N1") for i in range(40)] + [(60, 30, "N2")]
        assert hypnogram_of_events(events(*rows)).n_epochs == 40

    def test_no_stages_are_an_error(self) -> None:
        for make in (lambda: hypnogram_of_events([]), lambda: hypnogram_of_list([], None, None)):
            with pytest.raises(UnreadableFileError, match="no sleep stages"):
                make()

    def test_an_unknown_name_is_an_error(self) -> None:
        with pytest.raises(UnknownStageError, match="X9"):
            hypnogram_of_events(events((0, 30, "W"), (30, 30, "X9")))

    def test_a_month_at_a_hundredth_of_a_second_is_too_much(self) -> None:
        with pytest.raises(UnreadableFileError, match="limits are 5000000 epochs and 31 days"):
            hypnogram_of_events(events((0, 30 * 86400, "W"), (30 * 86400, 0.01, "N1")), epoch_s=0.01)


def test_many_short_epochs_are_read() -> None:
    rows = [ScoredEvent(i / 64, 1 / 64, "W" if i % 7 else "N1") for i in range(100_000)]
    hypnogram = hypnogram_of_events(rows)
    assert (hypnogram.n_epochs, hypnogram.epoch_s) == (100_000, 1 / 64)
    assert hypnogram.counts()["N1"] == 14286
