"""Screens for disorders: the oracles are counts by hand, Bayes' rule, and sums that must come out."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.disorder_features import SETS, feature_values, features_of, sleep_period
from hypnograph.sequences.disorders import NOT_A_DIAGNOSIS, DisorderScreen, load_disorder_screen
from hypnograph.stages import W_SLEEP
from tests.sequences.sleepers import night

NIGHT = Hypnogram(night(5, broken=True))
ALL = tuple(SETS)


def hours(text: str) -> Hypnogram:
    """Return a night of letters, each half an hour of one stage."""
    return Hypnogram.from_names(
        [{"W": "W", "1": "N1", "2": "N2", "3": "N3", "R": "REM"}[c] for c in text for _ in range(60)]
    )


def named(hypnogram: Hypnogram, *sets: str) -> dict[str, float]:
    names = [feature.name for feature in features_of(sets)]
    return dict(zip(names, feature_values(hypnogram, sets).tolist(), strict=True))


def a_screen(**changes) -> DisorderScreen:
    n = len(features_of(("statistics",)))
    fields = {
        "questions": ("any disorder", "rbd"), "sets": ("statistics",), "margin_min": 0.0, "mean": np.arange(n) + 1.0,
        "deviation": np.full(n, 20.0), "coefficients": np.linspace(-1, 1, 2 * n).reshape(2, n),
        "intercepts": np.array([0.3, -0.2]), "people": {"normal": 16, "rbd": 22}, "name": "a screen",
        "tested": {"rbd": {"AUC": 0.8}},
    }  # fmt: skip
    return DisorderScreen(**fields | changes)


class TestTheSleepPeriod:
    def test_begins_and_ends_with_sleep(self) -> None:
        assert sleep_period(hours("WWW2W3WW")) == hours("2W3")

    def test_keeps_a_margin_where_there_is_one(self) -> None:
        assert sleep_period(hours("WW23"), margin_min=30) == hours("W23")

    def test_is_of_30_s_epochs_and_knows_no_lights(self) -> None:
        fine = replace(hours("W23W").upsample(6), lights_off_s=600.0)
        assert sleep_period(fine) == hours("23")

    @pytest.mark.parametrize(
        ("hypnogram", "margin_min", "said"),
        [
            (hours("W2WW"), 0, "30 min of sleep; a screen needs at least 60"),
            (hours("22").merge(W_SLEEP), 0, "the stages W, sleep; a screen needs W, N1"),
            (hours("22"), 31, "margin_min is 31; give 0 to 30"),
        ],
    )
    def test_what_cannot_be_screened_is_refused(self, hypnogram, margin_min, said) -> None:
        with pytest.raises(HypnographError, match=said):
            sleep_period(hypnogram, margin_min=margin_min)


class TestFeatures:
    def test_wake_around_the_sleep_period_changes_none(self) -> None:
        """The confound of SleepGPT's data: 23-h recordings of the healthy, 8-h nights of the ill."""
        long = Hypnogram(np.concatenate([np.zeros(900), NIGHT.stages, np.zeros(1200)]).astype(np.int8))
        np.testing.assert_array_equal(feature_values(long, ALL), feature_values(NIGHT, ALL))

    def test_no_set_but_length_knows_how_long_a_night_was(self) -> None:
        short, long = (hours("2R" * n) for n in (4, 40))
        assert named(short, "length") != named(long, "length")
        for name in ALL[1:]:
            a, b = feature_values(short, [name]), feature_values(long, [name])
            np.testing.assert_allclose(a, b, rtol=0.4, err_msg=name)

    def test_statistics_by_hand(self) -> None:
        found = named(hours("12W3R2"), "statistics", "wake", "length")
        assert found["length_min"] == 180
        assert found["W_percent"] == pytest.approx(100 / 6)
        assert found["SME_percent"] == pytest.approx(100 * 5 / 6)
        assert (found["N3_latency_min"], found["REM_latency_min"], found["N2_percent"]) == (90, 120, 40)
        assert (found["awakenings_per_h"], found["stage_shifts_per_h"]) == (0.4, 2)

    def test_what_a_night_lacks_is_nan(self) -> None:
        found = named(hours("22"), "statistics", "transitions", "bouts")
        lacking = {name for name, value in found.items() if np.isnan(value)}
        assert {"REM_latency_min", "cycle_min", "N1_to_N2", "W_mean_bout_min"} <= lacking
        assert found["W_bouts_per_h"] == 0

    def test_transitions_are_shares_of_the_epochs_of_a_stage(self) -> None:
        found = feature_values(NIGHT, ["transitions"]).reshape(5, 5)
        np.testing.assert_allclose(found.sum(axis=1), 100)
        stages = NIGHT.stages.tolist()
        after_wake = [b for a, b in pairwise(stages) if a == 0]
        assert named(NIGHT, "transitions")["W_to_N2"] == pytest.approx(100 * after_wake.count(2) / len(after_wake))

    def test_bouts_by_hand(self) -> None:
        found = named(hours("22322R"), "bouts")
        assert (found["N2_bouts_per_h"], found["N2_mean_bout_min"], found["N2_longest_bout_min"]) == (2 / 3, 60, 60)

    def test_triplets_by_hand_and_none_spans_an_unscored_epoch(self) -> None:
        assert len(features_of(["triplets"])) == 80
        counts = named(hours("2W2W23"), "triplets")
        assert {name: n for name, n in counts.items() if n} == {"N2_W_N2": 1, "W_N2_W": 0.5, "W_N2_N3": 0.5}
        gap = hours("2W2").stages.copy()
        gap[70] = -1
        assert sum(named(Hypnogram(gap), "triplets").values()) == 0

    def test_an_unknown_set_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="'age' is not one of length, wake"):
            feature_values(NIGHT, ["wake", "age"])


class TestScreening:
    def test_reasons_add_up_to_the_probability(self) -> None:
        screen = a_screen()
        for i, finding in enumerate(screen.screen(NIGHT).findings):
            log_odds = screen.intercepts[i] + sum(reason.log_odds for reason in finding.reasons)
            assert finding.probability == pytest.approx(1 / (1 + np.exp(-log_odds)))
            sizes = [abs(reason.log_odds) for reason in finding.reasons]
            assert sizes == sorted(sizes, reverse=True)

    def test_prevalence_is_a_prior_by_bayes_rule(self) -> None:
        even, rare = (a_screen().screen(NIGHT, prevalence=p).findings[1].probability for p in (0.5, 0.01))
        assert rare == pytest.approx(even * 0.01 / (even * 0.01 + (1 - even) * 0.99))

    def test_a_feature_that_the_night_lacks_moves_nothing(self) -> None:
        found = a_screen().screen(hours("222"))
        reasons = {reason.feature: reason for reason in found.findings[0].reasons}
        assert reasons["REM_latency_min"].log_odds == 0
        assert "none in this night" in str(reasons["REM_latency_min"])
        assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["findings"][0]["probability"]

    def test_a_night_unlike_all_others_is_warned_about(self) -> None:
        screen = a_screen(deviation=np.full(11, 1e-3))
        assert any("far from all" in warning for warning in screen.screen(NIGHT).warnings)
        assert not any("far from all" in w for w in a_screen(deviation=np.full(11, 1e5)).screen(NIGHT).warnings)

    def test_extreme_log_odds_stay_probabilities(self) -> None:
        found = a_screen(intercepts=np.array([-5e3, 5e3])).screen(NIGHT).findings
        assert [finding.probability for finding in found] == [0, 1]

    def test_every_output_says_that_it_is_not_a_diagnosis(self, tmp_path) -> None:
        found = a_screen().screen(NIGHT)
        assert "not a diagnosis" in NOT_A_DIAGNOSIS
        assert NOT_A_DIAGNOSIS in str(found)
        assert found.as_dict()["notice"] == NOT_A_DIAGNOSIS
        folder = a_screen().save(tmp_path / "s")
        for file in ("README.md", "model.json"):
            assert NOT_A_DIAGNOSIS in (folder / file).read_text()
        assert "normal 16, rbd 22" in str(found)

    @pytest.mark.parametrize("prevalence", [0, 1, -0.1, float("nan")])
    def test_a_prevalence_that_is_no_share_is_refused(self, prevalence) -> None:
        with pytest.raises(HypnographError, match="give a share between 0 and 1"):
            a_screen().screen(NIGHT, prevalence=prevalence)

    def test_screening_needs_neither_torch_nor_scikit_learn_nor_lightgbm(self, tmp_path) -> None:
        folder = a_screen().save(tmp_path / "s")
        program = (
            "import sys, numpy as np\n"
            "from hypnograph.hypnogram import Hypnogram\n"
            "from hypnograph.sequences.disorders import load_disorder_screen\n"
            f"load_disorder_screen({str(folder)!r}).screen(Hypnogram(np.full(200, 2)))\n"
            "print({'torch', 'sklearn', 'lightgbm'} & set(sys.modules))\n"
        )
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == "set()"


class TestFolder:
    def test_what_is_saved_is_loaded(self, tmp_path) -> None:
        screen = a_screen()
        loaded = load_disorder_screen(screen.save(tmp_path / "s"))
        assert loaded.screen(NIGHT) == screen.screen(NIGHT)
        assert (loaded.people, loaded.tested, loaded.name) == (screen.people, screen.tested, screen.name)

    def test_nothing_is_overwritten(self, tmp_path) -> None:
        a_screen().save(tmp_path)
        with pytest.raises(HypnographError, match="not overwritten"):
            a_screen().save(tmp_path)

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('"disorder-screen"', '"stage-gpt"', "needed is 'disorder-screen'"),
            ('"SME_percent"', '"another"', "not those of this hypnograph"),
            ('"people"', '"persons"', "is no screen for disorders"),
        ],
    )
    def test_a_folder_that_is_none_is_refused(self, tmp_path, old, new, said) -> None:
        info = a_screen().save(tmp_path / "s") / "model.json"
        info.write_text(info.read_text().replace(old, new))
        with pytest.raises(UnreadableFileError, match=said):
            load_disorder_screen(tmp_path / "s")

    def test_no_folder_is_refused(self, tmp_path) -> None:
        with pytest.raises(UnreadableFileError, match="is no screen for disorders"):
            load_disorder_screen(tmp_path / "absent")

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"mean": np.zeros(3)}, r"mean has shape \(3,\)"),
            ({"intercepts": np.array([0, np.inf])}, "intercepts has shape"),
            ({"deviation": np.zeros(11)}, "a standard deviation is 0"),
        ],
    )
    def test_numbers_that_do_not_fit_are_refused(self, changes, said) -> None:
        with pytest.raises(HypnographError, match=said):
            a_screen(**changes)
