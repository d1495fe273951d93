"""Calibration: reliability, scores, and what scaling does to them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.evaluation.calibration import (
    Calibration,
    calibrated_folds,
    certainty_scores,
    cross_fitted,
    fit_calibration,
    reliability,
)
from hypnograph.evaluation.staged_nights import StagedNight, pooled
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.stages import AASM_5, W_SLEEP


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def simulated_nights(
    n_subjects: int = 6,
    *,
    scale: float = 1.0,
    offset: tuple[float, ...] = (0.0,) * 5,
    n_epochs: int = 600,
    seed: int = 2,
    nights_each: int = 2,
) -> list[StagedNight]:
    """Simulated nights with stages drawn from softmax(scale · logits + offset); the stager says softmax(logits)."""
    rng = np.random.default_rng(seed)
    nights = []
    for i in range(n_subjects * nights_each):
        logits = rng.normal(0, 2, (n_epochs, 5))
        truth = softmax(scale * logits + np.array(offset)).cumsum(axis=1)
        stages = (rng.random((n_epochs, 1)) > truth).sum(axis=1).clip(0, 4)
        name = f"s{i // nights_each}n{i % nights_each}"
        nights.append(StagedNight(name, name[:-2], Hypnogram(stages), Hypnodensity(softmax(logits))))
    return nights


NIGHTS = simulated_nights(scale=0.6)
TOGETHER = pooled(NIGHTS)


class TestReliability:
    @pytest.mark.parametrize(("equal_mass", "strategy"), [(False, "uniform"), (True, "quantile")])
    def test_the_curve_of_a_stage_is_that_of_scikit_learn(self, equal_mass: bool, strategy: str) -> None:
        """Oracle: sklearn.calibration.calibration_curve."""
        for i, stage in enumerate(AASM_5.labels):
            found = reliability(NIGHTS, stage=stage, n_bins=10, equal_mass=equal_mass)
            true, said = calibration_curve(
                TOGETHER.stages == i, TOGETHER.probabilities[:, i], n_bins=10, strategy=strategy
            )
            np.testing.assert_allclose(found.frequency, true)
            np.testing.assert_allclose(found.probability, said)

    def test_the_calibration_error_is_the_weighted_mean_gap(self) -> None:
        """Oracle: a loop over bins, for the most probable stage."""
        confidence, right = TOGETHER.probabilities.max(axis=1), TOGETHER.predicted == TOGETHER.stages
        expected = 0.0
        for low in np.arange(10) / 10:
            inside = (confidence > low) & (confidence <= low + 0.1 + 1e-12)
            if inside.any():
                expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        found = reliability(NIGHTS, n_bins=10)
        assert found.expected_calibration_error == pytest.approx(expected)
        assert found.n_epochs.sum() == len(right)

    def test_an_unknown_stage_and_no_bins_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="'S2' is not a stage"):
            reliability(NIGHTS, stage="S2")
        with pytest.raises(HypnographError, match="n_bins is 0"):
            reliability(NIGHTS, n_bins=0)


class TestScores:
    def test_brier_and_likelihood_are_those_of_scikit_learn(self) -> None:
        """Oracle: sklearn.metrics.log_loss, and brier_score_loss summed over stages."""
        found = certainty_scores(NIGHTS)
        p, y = TOGETHER
        assert found.nll.value == pytest.approx(log_loss(y, p, labels=range(5)))
        assert found.brier.value == pytest.approx(sum(brier_score_loss(y == i, p[:, i]) for i in range(5)))
        assert found.accuracy.value == pytest.approx((p.argmax(axis=1) == y).mean())
        assert (found.n_epochs, found.n_subjects) == (7200, 6)

    def test_errors_are_those_of_the_curves(self) -> None:
        found = certainty_scores(NIGHTS)
        of_stages = [reliability(NIGHTS, stage=stage).expected_calibration_error for stage in AASM_5.labels]
        assert found.calibration_error.value == pytest.approx(reliability(NIGHTS).expected_calibration_error)
        assert found.equal_mass_error.value == pytest.approx(
            reliability(NIGHTS, equal_mass=True).expected_calibration_error
        )
        assert found.stage_error.value == pytest.approx(np.mean(of_stages))

    def test_intervals_are_over_subjects_not_epochs(self) -> None:
        """Nights copied within their subjects add no knowledge: the interval stays."""
        once, thrice = certainty_scores(NIGHTS), certainty_scores(NIGHTS * 3)
        assert thrice.nll == pytest.approx(once.nll)
        assert once.nll.low < once.nll.value < once.nll.high

    def test_a_stage_held_for_impossible_costs_much_but_not_infinitely(self) -> None:
        certain = StagedNight("a", "a", Hypnogram(np.array([1])), Hypnodensity(np.eye(5)[[0]]))
        assert 30 < certainty_scores([certain]).nll.value < 40


class TestFitting:
    def test_the_temperature_that_was_planted_is_found(self) -> None:
        assert fit_calibration(NIGHTS).scale == pytest.approx((0.6,) * 5, abs=0.02)

    def test_planted_offsets_are_found_and_mend_the_shares_of_stages(self) -> None:
        planted = (1.0, -1.0, 0.5, 0.0, -0.5)
        fitted = fit_calibration(simulated_nights(12, scale=1.3, offset=planted), method="vector")
        assert fitted.offset == pytest.approx(planted, abs=0.15)
        assert fitted.scale == pytest.approx((1.3,) * 5, abs=0.12)

    def test_vector_scaling_is_no_worse_than_a_multinomial_logistic_regression_of_its_kind(self) -> None:
        """Oracle: scikit-learn's logistic regression on all log-probabilities, which has vector scaling within it.

        The planted truth is vector scaling, so the larger model can only gain by its 20 further numbers.
        """
        nights = simulated_nights(4, scale=0.7, offset=(0.8, -0.8, 0, 0, 0))
        p, y = pooled(nights)
        larger = LogisticRegression(C=1e6, max_iter=2000).fit(np.log(p), y)
        fitted = fit_calibration(nights, method="vector", n_folds=0)
        applied = pooled([n._replace(hypnodensity=fitted.apply(n.hypnodensity)) for n in nights])
        nll = log_loss(y, applied.probabilities, labels=range(5))
        best = log_loss(y, larger.predict_proba(np.log(p)), labels=range(5))
        assert best - 1e-6 <= nll < best + 20 / len(y)

    def test_a_temperature_changes_no_stage(self) -> None:
        fitted = fit_calibration(NIGHTS)
        for night in NIGHTS:
            assert fitted.apply(night.hypnodensity).argmax() == night.hypnodensity.argmax()

    def test_probabilities_come_true_after_it(self) -> None:
        before, after = certainty_scores(NIGHTS), certainty_scores(cross_fitted(NIGHTS))
        assert before.calibration_error.value > 0.1
        assert after.calibration_error.value < 0.02
        assert after.nll.high < before.nll.low
        assert after.accuracy.value == before.accuracy.value

    def test_a_subject_never_calibrates_itself(self) -> None:
        """The last subject's references are nonsense; without it the others' calibration must not notice."""
        odd = [n._replace(subject="odd", reference=Hypnogram((n.reference.stages + 1) % 5)) for n in NIGHTS[:2]]
        nights = NIGHTS[2:] + odd
        expected = fit_calibration(NIGHTS[2:])
        for fold in calibrated_folds(nights):
            for night in fold.left_out:
                if night.subject == "odd":
                    own = next(n for n in odd if n.name == night.name)
                    np.testing.assert_allclose(
                        night.hypnodensity.probabilities, expected.apply(own.hypnodensity).probabilities
                    )

    def test_unknown_epochs_stay_unknown_and_impossible_stages_stay_possible(self) -> None:
        p = np.array([[1.0, 0, 0, 0, 0], [np.nan] * 5])
        found = fit_calibration(NIGHTS).apply(Hypnodensity(p))
        assert found.known.tolist() == [True, False]
        assert (found.probabilities[0] > 0).all()

    def test_what_cannot_be_fitted_is_refused(self) -> None:
        awake = [NIGHTS[0]._replace(reference=Hypnogram(np.zeros(600, dtype=int)))]
        named = [
            n._replace(hypnodensity=replace(n.hypnodensity, scorer=s)) for n, s in zip(NIGHTS, ("a", "b"), strict=False)
        ]
        with pytest.raises(HypnographError, match=r"no epoch is N1, N2, N3, REM.*temperature"):
            fit_calibration(awake, method="vector")
        with pytest.raises(HypnographError, match="several stagers \\(a, b\\)"):
            fit_calibration(named)
        with pytest.raises(HypnographError, match="'platt' is not one of temperature, vector"):
            fit_calibration(NIGHTS, method="platt")
        with pytest.raises(HypnographError, match="W-sleep"):
            fit_calibration(NIGHTS).apply(NIGHTS[0].hypnodensity.merge(W_SLEEP))


class TestErrorRatios:
    def test_they_are_errors_over_expected_errors_of_each_night(self) -> None:
        """Oracle: the definition, computed here on `cross_fitted` nights."""
        expected = {}
        for night in cross_fitted(NIGHTS):
            p, y = pooled([night])
            ratio = (p.argmax(axis=1) != y).sum() / (1 - p.max(axis=1)).sum()
            expected.setdefault(night.subject, []).append(ratio)
        found = fit_calibration(NIGHTS).error_ratios
        np.testing.assert_allclose(sorted(found), sorted(map(tuple, expected.values())))
        assert np.mean(found) == pytest.approx(1, abs=0.1)

    def test_a_promise_for_nine_of_ten_nights_needs_nine_subjects(self) -> None:
        calibration = replace(fit_calibration(NIGHTS), error_ratios=tuple((0.5 + i / 10,) for i in range(8)))
        assert calibration.doubt_factor(0.9) == np.inf
        assert calibration.doubt_factor(0.8) == pytest.approx(1.2)
        assert fit_calibration(NIGHTS[:2]).error_ratios == ()


class TestFiles:
    def test_a_calibration_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        fitted = fit_calibration(NIGHTS, method="vector")
        fitted.save(tmp_path / "calibration.json")
        assert Calibration.load(tmp_path / "calibration.json") == fitted
        with pytest.raises(HypnographError, match="overwrite"):
            fitted.save(tmp_path / "calibration.json")

    @pytest.mark.parametrize("change", [{"format": "other"}, {"scale": [1.0]}, {"scheme": "R&K"}, {"scale": None}])
    def test_a_damaged_file_is_refused(self, tmp_path: Path, change: dict) -> None:
        path = tmp_path / "calibration.json"
        fit_calibration(NIGHTS[:2]).save(path)
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(UnreadableFileError, match=r"calibration\.json"):
            Calibration.load(path)
        path.write_text("[")
        with pytest.raises(UnreadableFileError, match=r"calibration\.json"):
            Calibration.load(path)
