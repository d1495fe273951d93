"""Conformal stage sets: promises kept on simulated nights, limits by brute force."""

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.evaluation.calibration import calibrated_folds
from hypnograph.evaluation.conformal import (
    SCORES,
    NightSets,
    SetRule,
    StageSets,
    cross_fitted_sets,
    fit_sets,
    set_scores,
)
from hypnograph.evaluation.staged_nights import StagedNight, compared, leave_subjects_out, pooled
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.stages import AASM_5, W_SLEEP
from tests.evaluation.test_calibration import simulated_nights, softmax


def unlike_nights(rng: np.random.Generator, n_subjects: int, n_epochs: int = 60) -> list[StagedNight]:
    """Simulated nights of subjects who differ much in how hard they are to stage."""
    nights = []
    for i in range(n_subjects):
        logits = rng.normal(0, 1, (n_epochs, 5))
        truth = softmax(logits * rng.uniform(0.0, 2.0)).cumsum(axis=1)
        stages = (rng.random((n_epochs, 1)) > truth).sum(axis=1).clip(0, 4)
        nights.append(StagedNight(f"s{i}", f"s{i}", Hypnogram(stages), Hypnodensity(softmax(logits))))
    return nights


def new_night_coverage(promise: str, level: float, n_subjects: int = 12, repeats: int = 300) -> np.ndarray:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(repeats):
        *known, new = unlike_nights(rng, n_subjects + 1)
        rule = fit_sets(known, level=level, promise=promise)
        covered.append(rule.sets(new.hypnodensity).covers(new.reference).mean())
    return np.array(covered)


class TestPromises:
    def test_subjects_an_epoch_of_a_new_subject_is_covered_as_often_as_promised(self) -> None:
        """Oracle: the theorem (Lee, Barber and Willett 2023); at most 1 / (K + 1) too generous, besides ties."""
        coverage = new_night_coverage("subjects", 0.75).mean()
        assert 0.74 < coverage < 0.75 + 1 / 13 + 0.03

    def test_nights_nine_of_ten_new_nights_are_covered_as_promised(self) -> None:
        """Oracle: the rank of a new subject's limit among 13 is uniform: 12/13 of the nights, or more by ties."""
        kept = (new_night_coverage("nights", 0.8) >= 0.8).mean()
        assert 0.88 < kept <= 1.0

    def test_epochs_does_not_keep_the_promise_for_nights(self) -> None:
        """What the other two are for: half of the nights of unlike subjects fall short of the usual limit."""
        assert (new_night_coverage("epochs", 0.8, repeats=100) >= 0.8).mean() < 0.75

    def test_exchangeable_epochs_are_covered_by_the_usual_limit(self) -> None:
        """Oracle: split conformal coverage, between level and level + 1 / (n + 1), up to the draw."""
        nights = simulated_nights(40, scale=0.3, n_epochs=200, nights_each=1)
        rule = fit_sets(nights[:20], level=0.8, promise="epochs")
        covered = [rule.sets(n.hypnodensity).covers(n.reference).mean() for n in nights[20:]]
        assert np.mean(covered) == pytest.approx(0.8, abs=0.025)

    def test_too_few_subjects_rule_nothing_out(self) -> None:
        nights = simulated_nights(5)
        assert (fit_sets(nights, level=0.9).sets(nights[0].hypnodensity).sizes == 5).all()

    def test_with_a_limit_for_each_stage_an_underrated_one_is_covered_too(self) -> None:
        nights = simulated_nights(30, scale=0.8, offset=(0, 1, 0, 0, 0), n_epochs=300)
        for per_stage, low, high in ((False, 0.0, 0.86), (True, 0.88, 0.93)):
            rule = fit_sets(nights[:40], level=0.9, promise="epochs", per_stage=per_stage)
            found = set_scores([NightSets(n, rule.sets(n.hypnodensity)) for n in nights[40:]], 0.9)
            assert low <= found.by_stage["N1"] <= high


class TestLimits:
    def test_the_usual_limit_is_the_rank_of_split_conformal(self) -> None:
        """Oracle: ⌈(n + 1) level⌉-th smallest of 1 − p of the reference stage, by sorting."""
        nights = simulated_nights(3, n_epochs=50)
        p, y = pooled(nights)
        expected = np.sort(1 - p[np.arange(len(y)), y])[int(np.ceil(301 * 0.9)) - 1]
        assert fit_sets(nights, promise="epochs").limits == (expected,) * 5

    def test_nights_each_night_of_a_subject_has_half_its_weight(self) -> None:
        """Oracle: brute force over the own limits of the nights, weights 1/13 and 1/26."""
        nights = simulated_nights(12, n_epochs=80)
        own = []
        for night in nights:
            p, y = compared(night)
            own.append(np.sort(1 - p[np.arange(80), y])[63])
        found = fit_sets(nights, level=0.8, promise="nights").limits[0]
        assert found == np.sort(own)[int(np.ceil(0.9 * 26)) - 1]

    @pytest.mark.parametrize(("score", "expected"), [
        ("lac", [0.5, 0.7, 0.8, 1.0, 1.0]), ("aps", [0.5, 0.8, 1.0, 1.0, 1.0]), ("raps", [0.5, 0.8, 1.1, 1.2, 1.3]),
    ])  # fmt: skip
    def test_scores_by_hand(self, score: str, expected: list[float]) -> None:
        np.testing.assert_allclose(SCORES[score](np.array([[0.5, 0.3, 0.2, 0.0, 0.0]]))[0], expected)

    def test_a_subject_never_decides_about_itself(self) -> None:
        nights = simulated_nights(8, scale=0.4, n_epochs=100)
        found = cross_fitted_sets(leave_subjects_out(nights), level=0.7)
        for night, sets in found:
            alone = fit_sets([n for n in nights if n.subject != night.subject], level=0.7)
            np.testing.assert_array_equal(sets.included, alone.sets(night.hypnodensity).included)
        assert len(found) == 16


class TestSets:
    def test_the_most_probable_stage_is_always_in_and_all_are_where_nothing_is_known(self) -> None:
        p = np.array([[0.1, 0.2, 0.3, 0.25, 0.15], [np.nan] * 5])
        sets = SetRule("lac", (0.01,) * 5, 0.5, "epochs", AASM_5).sets(Hypnodensity(p))
        assert sets.sizes.tolist() == [1, 5]
        assert sets.names == ["N2", "W or N1 or N2 or N3 or REM"]

    def test_unscored_epochs_are_not_covered_and_do_not_count(self) -> None:
        sets = StageSets(np.ones((3, 5), dtype=bool), AASM_5)
        reference = Hypnogram(np.array([0, -1, 4]))
        assert sets.covers(reference).tolist() == [True, False, True]
        night = StagedNight("a", "a", reference, Hypnodensity(np.full((3, 5), 0.2)))
        assert set_scores([NightSets(night, sets)], 0.9).coverage.value == 1.0

    def test_scores_by_brute_force(self) -> None:
        nights = simulated_nights(5, scale=0.5, n_epochs=100)
        found = cross_fitted_sets(calibrated_folds(nights, n_folds=5), level=0.7, promise="epochs")
        covered = [sets.covers(night.reference) for night, sets in found]
        sizes = np.concatenate([sets.sizes for _, sets in found])
        stages = np.concatenate([night.reference.stages for night, _ in found])
        scores = set_scores(found, 0.7)
        assert scores.coverage.value == pytest.approx(np.mean(covered))
        assert scores.size.value == pytest.approx(sizes.mean())
        assert scores.share_of_one.value == pytest.approx((sizes == 1).mean())
        assert scores.lowest == min(c.mean() for c in covered)
        assert scores.nights_kept == np.mean([c.mean() >= 0.7 for c in covered])
        assert scores.by_stage["N3"] == pytest.approx(np.concatenate(covered)[stages == 3].mean())

    def test_what_does_not_fit_is_refused(self) -> None:
        nights = simulated_nights(2)
        rule = fit_sets(nights, level=0.5)
        with pytest.raises(HypnographError, match="W-sleep"):
            rule.sets(nights[0].hypnodensity.merge(W_SLEEP))
        with pytest.raises(HypnographError, match="600 epochs"):
            rule.sets(nights[0].hypnodensity).covers(Hypnogram(np.zeros(3, dtype=int)))
        with pytest.raises(HypnographError, match=r"level is 1\.0"):
            fit_sets(nights, level=1.0)
        with pytest.raises(HypnographError, match="'hope' is one of epochs, subjects, nights"):
            fit_sets(nights, promise="hope")
