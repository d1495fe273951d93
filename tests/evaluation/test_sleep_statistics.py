"""The sleep statistics of one hypnogram: by hand, by YASA, and where nothing is defined."""

import json

import numpy as np
import pytest
import yasa
from hypothesis import given, settings
from hypothesis import strategies as st

from hypnograph.errors import HypnographError
from hypnograph.evaluation.sleep_statistics import latency_to_persistent_sleep_min, sleep_statistics
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import AASM_5, SCHEMES, W_LIGHT_DEEP_REM, W_NREM_REM, W_SLEEP, StageScheme

YASA_LABELS = {
    AASM_5: ("WAKE", "N1", "N2", "N3", "REM"),
    W_LIGHT_DEEP_REM: ("WAKE", "LIGHT", "DEEP", "REM"),
    W_NREM_REM: ("WAKE", "NREM", "REM"),
    W_SLEEP: ("WAKE", "SLEEP"),
}


def night(*parts: str, epoch_s: float = 30.0, scheme: StageScheme = AASM_5, **fields: float) -> Hypnogram:
    """``night("W*10", "N2*30")``: stages with how many epochs they last; ``?`` is unscored."""
    names: list[str] = []
    for part in parts:
        label, _, n = part.partition("*")
        names += ["UNSCORED" if label == "?" else label] * int(n or 1)
    return Hypnogram.from_names(names, epoch_s=epoch_s, scheme=scheme, **fields)


# 10 min wake, then by hand (epochs of 30 s): N1 4, N2 20, W 2, N2 14, N3 20, REM 10, W 4, N2 2, W 20 = 116 epochs.
BY_HAND = night("W*20", "N1*4", "N2*20", "W*2", "N2*14", "N3*20", "REM*10", "W*4", "N2*2", "W*20")


class TestByHand:
    def test_times(self) -> None:
        found = sleep_statistics(BY_HAND)
        assert found.tib_min == 58
        assert found.spt_min == 38
        assert found.tst_min == 35
        assert found.se_percent == pytest.approx(100 * 35 / 58)
        assert found.sme_percent == pytest.approx(100 * 35 / 38)

    def test_sleep_onset_is_the_first_epoch_of_any_sleep(self) -> None:
        assert sleep_statistics(BY_HAND).sol_min == 10
        assert sleep_statistics(night("W", "REM", "W")).sol_min == 0.5

    def test_rem_latency_counts_from_sleep_onset_and_lat_rem_from_lights_off(self) -> None:
        found = sleep_statistics(BY_HAND)
        assert found.rem_latency_min == 30
        assert found.latency_min["REM"] == 40
        assert found.as_dict()["Lat_N3_min"] == 30

    def test_waso_reaches_to_lights_on_and_waso_spt_to_the_last_sleep(self) -> None:
        found = sleep_statistics(BY_HAND)
        assert found.waso_min == 13
        assert found.waso_spt_min == 3

    def test_fragmentation(self) -> None:
        found = sleep_statistics(BY_HAND)
        assert found.n_awakenings == 2
        assert found.n_stage_shifts == 7
        assert found.stage_shifts_per_h == pytest.approx(7 / (35 / 60))
        assert found.sfi_per_h == pytest.approx(3 / (35 / 60))

    def test_minutes_and_shares(self) -> None:
        found = sleep_statistics(BY_HAND)
        assert found.minutes == {"W": 23, "N1": 2, "N2": 18, "N3": 10, "REM": 5}
        assert sum(found.percent_of_tst.values()) == pytest.approx(100)
        assert found.percent_of_tst["N3"] == pytest.approx(100 * 10 / 35)

    def test_persistent_sleep_is_ten_minutes_without_a_break(self) -> None:
        assert sleep_statistics(BY_HAND).lps_min == 10
        assert sleep_statistics(night("W*2", "N1*19", "W", "N2*20")).lps_min == 11
        assert sleep_statistics(night("N2*19", "?", "N2*20")).lps_min == 10
        assert np.isnan(sleep_statistics(night("N2*19", "W")).lps_min)

    def test_an_unscored_epoch_is_neither_sleep_nor_wake_and_splits_no_awakening(self) -> None:
        found = sleep_statistics(night("W", "N2*4", "W", "?", "W", "N2*4", "?*2"))
        assert found.n_awakenings == 1
        assert found.unscored_min == 1.5
        assert (found.tst_min, found.spt_min, found.tib_min) == (4, 5.5, 7)

    def test_the_length_of_an_epoch_counts(self) -> None:
        found = sleep_statistics(night("W*6", "N2*6", epoch_s=20.0))
        assert (found.tib_min, found.sol_min, found.tst_min) == (4, 2, 2)


class TestLights:
    def test_without_them_the_whole_hypnogram_counts_and_it_says_so(self) -> None:
        assert "whole hypnogram" in sleep_statistics(BY_HAND).basis

    def test_of_the_hypnogram_are_used(self) -> None:
        found = sleep_statistics(night("W*10", "N2*10", "W*10", lights_off_s=120.0, lights_on_s=840.0))
        assert (found.tib_min, found.sol_min, found.waso_min) == (12, 3, 4)
        assert found.basis == "lights off to lights on"

    def test_arguments_win_over_the_hypnogram(self) -> None:
        scored = night("W*10", "N2*10", "W*10", lights_off_s=120.0, lights_on_s=840.0)
        assert sleep_statistics(scored, lights_off_s=0.0).sol_min == 5

    def test_cycles_keep_the_time_of_the_hypnogram(self) -> None:
        found = sleep_statistics(night("W*10", "N2*60", "REM*10", "W*10"), lights_off_s=60.0)
        assert found.cycles[0].start_s == 300
        assert "end of the hypnogram" in found.basis

    def test_between_two_epochs_go_to_the_nearer_border(self) -> None:
        assert sleep_statistics(night("W*10", "N2*10"), lights_off_s=44.0).sol_min == 4.5
        assert sleep_statistics(night("W*10", "N2*10"), lights_off_s=46.0).sol_min == 4

    def test_outside_the_hypnogram_are_cut_and_said(self) -> None:
        found = sleep_statistics(night("W*10", "N2*10"), lights_off_s=-600.0, lights_on_s=6000.0)
        assert found.tib_min == 10
        assert "lights off was earlier" in found.basis
        assert "lights on was later" in found.basis

    @pytest.mark.parametrize(("off_s", "on_s"), [(300.0, 300.0), (300.0, 60.0), (590.0, 605.0)])
    def test_that_leave_nothing_are_refused(self, off_s: float, on_s: float) -> None:
        with pytest.raises(HypnographError, match=f"{off_s:g} s"):
            sleep_statistics(night("W*20"), lights_off_s=off_s, lights_on_s=on_s)


class TestUndefined:
    def test_a_night_awake(self) -> None:
        found = sleep_statistics(night("W*100"))
        assert (found.tst_min, found.spt_min, found.se_percent, found.n_awakenings) == (0, 0, 0, 0)
        values = found.as_dict()
        for name in ("SOL_min", "LPS_min", "WASO_min", "SME_percent", "REM_latency_min", "SFI_per_h", "N2_percent"):
            assert values[name] is None
        assert found.cycles == ()

    @pytest.mark.parametrize("scored", [night(), night("?*20")])
    def test_nothing_scored(self, scored: Hypnogram) -> None:
        found = sleep_statistics(scored)
        assert np.isnan(found.se_percent)
        assert found.tst_min == 0
        assert repr(found)
        json.dumps(found.as_dict(), allow_nan=False)

    def test_no_rem(self) -> None:
        found = sleep_statistics(night("W*10", "N2*100"))
        assert np.isnan(found.rem_latency_min)
        assert [cycle.complete for cycle in found.cycles] == [False]

    def test_a_scheme_without_rem_has_no_rem_numbers(self) -> None:
        found = sleep_statistics(BY_HAND.merge(W_SLEEP))
        assert found.tst_min == 35
        assert found.cycles == ()
        assert "REM_latency_min" not in found.as_dict()

    def test_a_scheme_that_does_not_begin_with_wake_is_refused(self) -> None:
        odd = StageScheme("odd", ("sleep", "W"), (1, 0, 0, 0, 0))
        with pytest.raises(HypnographError, match="begins with sleep"):
            sleep_statistics(Hypnogram(np.zeros(3, dtype=int), scheme=odd))


class TestCycles:
    def test_nrem_then_rem_is_a_cycle(self) -> None:
        found = sleep_statistics(night("W*10", "N2*120", "REM*20", "N2*140", "REM*40", "W*10")).cycles
        assert [(c.start_s, c.duration_s) for c in found] == [(300, 4200), (4500, 5400)]
        assert [(c.nrem_min, c.rem_min) for c in found] == [(60, 10), (70, 20)]
        assert all(c.complete for c in found)

    def test_rem_interrupted_by_less_than_15_min_of_nrem_is_one_period(self) -> None:
        assert len(sleep_statistics(night("N2*60", "REM*20", "N2*29", "REM*20")).cycles) == 1
        assert len(sleep_statistics(night("N2*60", "REM*20", "N2*30", "REM*20")).cycles) == 2

    def test_wake_does_not_count_towards_the_15_min(self) -> None:
        assert len(sleep_statistics(night("N2*60", "REM*20", "W*60", "REM*20")).cycles) == 1

    def test_a_short_rem_period_counts_only_as_first_or_last(self) -> None:
        def cycles_with(first: int, middle: int, last: int) -> int:
            scored = night("N2*60", f"REM*{first}", "N2*60", f"REM*{middle}", "N2*60", f"REM*{last}")
            return sum(cycle.complete for cycle in sleep_statistics(scored).cycles)

        assert cycles_with(10, 10, 10) == 3
        assert cycles_with(2, 10, 2) == 3
        assert cycles_with(10, 9, 10) == 2

    def test_rem_at_sleep_onset_closes_no_cycle(self) -> None:
        found = sleep_statistics(night("REM*12", "N2*120", "REM*20")).cycles
        assert len(found) == 1
        assert found[0].start_s == 0
        assert found[0].rem_min == 16

    def test_nrem_after_the_last_rem_is_an_incomplete_cycle(self) -> None:
        found = sleep_statistics(night("N2*120", "REM*20", "W*4", "N2*40", "W*4")).cycles
        assert [c.complete for c in found] == [True, False]
        assert found[1].start_s == 144 * 30
        assert found[1].duration_s == 1200

    def test_merged_schemes_have_the_same_cycles(self) -> None:
        scored = night("W*10", "N1*20", "N3*100", "REM*20", "N2*140", "REM*40", "W*10")
        assert sleep_statistics(scored).cycles == sleep_statistics(scored.merge(W_NREM_REM)).cycles


class TestTheValue:
    def test_it_is_written_as_json_and_as_a_table(self) -> None:
        found = sleep_statistics(BY_HAND)
        assert json.loads(json.dumps(found.as_dict()))["TST_min"] == 35
        assert found.to_frame().loc[0, "SOL_min"] == 10
        assert found.transitions_frame().loc["N3", "REM"] == 1
        assert found.cycles_frame().columns[0] == "start_s"

    def test_it_prints_the_abbreviations_of_the_field(self) -> None:
        for label in ("TIB", "SPT", "TST", "SE", "SME", "SOL", "LPS", "WASO", "REM latency"):
            assert label in repr(sleep_statistics(BY_HAND))

    def test_equality_holds_with_undefined_numbers(self) -> None:
        assert sleep_statistics(night("W*3")) == sleep_statistics(night("W*3"))
        assert sleep_statistics(night("W*3")) != sleep_statistics(night("W*4"))

    def test_rows_of_transition_probabilities_sum_to_one_or_are_undefined(self) -> None:
        sums = sleep_statistics(BY_HAND).transition_probabilities().sum(axis=1)
        np.testing.assert_allclose(sums, 1)
        assert np.isnan(sleep_statistics(night("N2*3")).transition_probabilities()[0]).all()


@st.composite
def hypnograms(draw: st.DrawFn) -> Hypnogram:
    scheme = draw(st.sampled_from(list(SCHEMES.values())))
    run = st.tuples(st.integers(-1, scheme.n_stages - 1), st.integers(1, 40))
    runs = draw(st.lists(run, min_size=1, max_size=30))
    stages = np.repeat([stage for stage, _ in runs], [n for _, n in runs])
    return Hypnogram(stages, scheme=scheme, epoch_s=draw(st.sampled_from([10.0, 20.0, 30.0, 60.0])))


class TestYasaGivesTheSame:
    @staticmethod
    def as_yasa(scored: Hypnogram) -> yasa.Hypnogram:
        labels = (*YASA_LABELS[scored.scheme], "UNS")
        values = [labels[stage] for stage in scored.stages]
        return yasa.Hypnogram(values, n_stages=scored.scheme.n_stages, freq=f"{scored.epoch_s:.0f}s")

    @settings(deadline=None, max_examples=100)
    @given(hypnograms())
    def test_statistics(self, scored: Hypnogram) -> None:
        theirs = self.as_yasa(scored).sleep_statistics()
        found = sleep_statistics(scored)
        ours = {
            "TIB": found.tib_min, "SPT": found.spt_min, "TST": found.tst_min, "WASO": found.waso_spt_min,
            "SE": found.se_percent, "SME": found.sme_percent, "SFI": found.sfi_per_h, "SOL": found.sol_min,
            "SOL_5min": latency_to_persistent_sleep_min(scored, 5), "Lat_REM": found.latency_min.get("REM"),
        }  # fmt: skip
        if found.tst_min == 0:
            theirs["SFI"] = np.nan
        if not scored.scored.any():
            theirs["SE"] = np.nan  # the documented difference
        for label, yasa_label in zip(scored.scheme.labels, YASA_LABELS[scored.scheme], strict=True):
            ours |= {yasa_label: found.minutes[label], f"%{yasa_label}": found.percent_of_tst.get(label)}
        for name, value in theirs.items():
            if name not in ("UNS", "%SLEEP"):
                assert ours[name] == pytest.approx(value, abs=1e-4, nan_ok=True), name

    @settings(deadline=None, max_examples=50)
    @given(hypnograms())
    def test_transition_matrix(self, scored: Hypnogram) -> None:
        if scored.n_epochs < 2:
            return
        counts, _ = self.as_yasa(scored).transition_matrix()
        labels = list(YASA_LABELS[scored.scheme])
        theirs = counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()
        assert (sleep_statistics(scored).transitions == theirs).all()


def test_every_real_night_has_statistics_that_add_up(shared_data) -> None:
    n_nights, n_cycles = 0, []
    for path in sorted((shared_data / "hypnograms").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            found = sleep_statistics(Hypnogram(np.array(fields["stages"]), epoch_s=float(fields["epoch_sec"])))
            n_nights += 1
            n_cycles.append(sum(cycle.complete for cycle in found.cycles))
            assert found.tib_min == pytest.approx(sum(found.minutes.values()) + found.unscored_min)
            if found.tst_min:
                in_bed = found.sol_min + found.tst_min + found.waso_min + found.unscored_min
                assert in_bed >= found.tib_min - 1e-9
                assert sum(found.percent_of_tst.values()) == pytest.approx(100)
    assert n_nights == 452
    assert 3 <= np.median(n_cycles) <= 5
