"""Agreement about sleep statistics."""

import json
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.evaluation.consensus import ScoredNight, leave_one_out
from hypnograph.evaluation.sleep_statistics import sleep_statistics
from hypnograph.evaluation.statistics_agreement import STATISTICS, bland_altman, icc, statistics_bias, statistics_icc
from hypnograph.hypnogram import Hypnogram

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "many_scorers.json").read_text(encoding="utf-8"))
# Shrout and Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
# Bland and Altman 1986, table: peak expiratory flow of 17 people, l/min, first reading with each meter.
LARGE = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)


def nights(n_nights: int = 6, n_people: int = 3) -> list[ScoredNight]:
    """Simulated nights: each person moves the borders between stages a little."""
    rng = np.random.default_rng(7)
    found = []
    for i in range(n_nights):
        truth = np.sort(rng.integers(0, 5, 300))
        people = {f"p{j}": Hypnogram(np.roll(truth, rng.integers(-5, 6))) for j in range(n_people)}
        found.append(ScoredNight(f"n{i}", f"s{i}", people, {"m": Hypnogram(truth)}))
    return found


class TestIcc:
    def test_is_the_published_one_of_shrout_and_fleiss(self) -> None:
        value, low, high = icc(SHROUT_FLEISS)
        assert round(value, 2) == 0.29
        assert (round(low, 2), round(high, 2)) == (0.02, 0.76)

    def test_is_that_of_pingouin(self) -> None:
        # pingouin 0.6.1, which rounds the interval.
        value, low, high = icc(np.array(GOLDEN["icc_values"]))
        assert value == pytest.approx(GOLDEN["icc"][0], abs=1e-7)
        assert (round(low, 2), round(high, 2)) == tuple(GOLDEN["icc"][1:])

    def test_a_constant_shift_of_one_scorer_lowers_it(self) -> None:
        values = np.arange(10.0)[:, None] * 10 + np.zeros(3)
        assert icc(values) == pytest.approx((1, 1, 1))
        assert icc(values + np.array([0, 0, 20])).value < 0.95

    def test_nights_with_a_gap_are_left_out(self) -> None:
        gapped = np.vstack([SHROUT_FLEISS, [[np.nan, 1, 2, 3]]])
        assert icc(gapped) == icc(SHROUT_FLEISS)

    def test_nothing_that_varies_is_undefined_and_too_little_is_refused(self) -> None:
        assert np.isnan(icc(np.ones((4, 3))).value)
        with pytest.raises(HypnographError, match=r"\(1, 3\)"):
            icc(np.ones((1, 3)))


class TestBlandAltman:
    def test_is_the_published_example(self) -> None:
        found = bland_altman(MINI, LARGE)
        assert found.bias.value == pytest.approx(-2.1, abs=0.05)
        assert found.sd == pytest.approx(38.8, abs=0.05)
        assert (found.bias.low, found.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
        # The paper takes 2 standard deviations for 1.96, and 3 s² / n for the limits' variance.
        assert (found.lower.value, found.upper.value) == pytest.approx((-79.7, 75.5), abs=2)
        assert found.lower.low == pytest.approx(-114.3, abs=2.5)
        assert found.upper.high == pytest.approx(110.1, abs=2.5)

    def test_95_percent_of_new_differences_lie_between_the_limits(self) -> None:
        rng = np.random.default_rng(0)
        found = bland_altman(np.zeros(5000), rng.normal(3, 10, 5000))
        new = rng.normal(3, 10, 5000)
        assert np.mean((new > found.lower.value) & (new < found.upper.value)) == pytest.approx(0.95, abs=0.01)

    def test_the_intervals_hold_the_true_limit_as_often_as_they_say(self) -> None:
        rng = np.random.default_rng(1)
        held = []
        for _ in range(1000):
            _, low, high = bland_altman(np.zeros(25), rng.normal(0, 1, 25)).upper
            held.append(low < 1.96 < high)
        assert np.mean(held) == pytest.approx(0.95, abs=0.025)

    def test_too_few_and_unequal_numbers_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="2 nights"):
            bland_altman(np.array([1, 2, np.nan]), np.array([1.0, 2, 3]))
        with pytest.raises(HypnographError, match="pairs"):
            bland_altman(np.ones(3), np.ones(4))


class TestSleepStatistics:
    def test_icc_is_that_of_the_table_of_nights_and_people(self) -> None:
        scored = nights()
        table = [[sleep_statistics(h).tst_min for h in night.scorings.values()] for night in scored]
        assert statistics_icc(scored)["TST_min"] == icc(np.array(table))

    def test_bias_of_a_model_is_against_the_mean_of_its_references(self) -> None:
        scored = nights()
        pairs = leave_one_out(scored)["m"]
        theirs = (
            np.array([sleep_statistics(p.reference).as_row()["SOL_min"] for p in pairs]).reshape(6, -1).mean(axis=1)
        )
        ours = [sleep_statistics(night.predicted["m"]).as_row()["SOL_min"] for night in scored]
        assert statistics_bias(pairs)["SOL_min"] == bland_altman(theirs, np.array(ours))

    def test_a_planted_bias_is_found(self) -> None:
        scored = nights()
        # Ten epochs of N3 that the references call N2.
        pairs = [pair for night in scored for pair in leave_one_out([night])["p0"]]
        changed = []
        for pair in pairs:
            stages = pair.reference.stages.copy()
            stages[np.flatnonzero(stages == 2)[:10]] = 3
            changed.append(pair._replace(predicted=Hypnogram(stages)))
        assert statistics_bias(changed)["N3_min"].bias == pytest.approx((5, 5, 5))

    def test_a_statistic_that_too_few_nights_define_is_left_out(self) -> None:
        without_rem = [
            night._replace(
                scorings={k: Hypnogram(np.where(h.stages == 4, 2, h.stages)) for k, h in night.scorings.items()}
            )
            for night in nights()
        ]
        assert np.isnan(statistics_icc(without_rem)["REM_latency_min"].value)
        assert "REM_latency_min" not in statistics_bias(leave_one_out(without_rem)["p0"])

    def test_every_statistic_by_name_and_unknown_ones_refused(self) -> None:
        assert list(statistics_icc(nights())) == list(STATISTICS)
        with pytest.raises(HypnographError, match="TIB_min"):
            statistics_icc(nights(), ["bedtime"])

    def test_other_teams_are_refused(self) -> None:
        first, *rest = nights()
        other = first._replace(scorings={"q0": first.scorings["p0"], "q1": first.scorings["p1"]})
        with pytest.raises(HypnographError, match="2 different teams"):
            statistics_icc([other, *rest])
