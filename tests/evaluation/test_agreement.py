"""Two scorers of one night."""

import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.agreement import Agreement, agreement, confusion_matrix, wake_trim
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import AASM_5, SCHEMES, W_NREM_REM, StageScheme

START = datetime(2026, 3, 1, 22, 30)


def night(names: str, **fields: object) -> Hypnogram:
    return Hypnogram.from_names(["UNSCORED" if name == "?" else name for name in names.split()], **fields)


@st.composite
def two_scorings(draw: st.DrawFn) -> tuple[Hypnogram, Hypnogram]:
    scheme = draw(st.sampled_from(list(SCHEMES.values())))
    epoch = st.integers(-1, scheme.n_stages - 1)
    pairs = draw(st.lists(st.tuples(epoch, epoch), max_size=60))
    reference, predicted = np.array(pairs, dtype=int).reshape(-1, 2).T
    return Hypnogram(reference, scheme=scheme), Hypnogram(predicted, scheme=scheme)


class TestEveryMetricEqualsScikitLearn:
    @settings(deadline=None, max_examples=150)
    @given(two_scorings())
    def test_of_any_two_scorings(self, scorings: tuple[Hypnogram, Hypnogram]) -> None:
        reference, predicted = scorings
        found = agreement(reference, predicted)
        both = reference.scored & predicted.scored
        a, b = reference.stages[both], predicted.stages[both]
        stages = np.arange(reference.scheme.n_stages)
        assert found.n_epochs == both.sum()
        if not both.any():
            assert np.isnan([found.accuracy, found.macro_f1, found.cohen_kappa, found.mcc, found.mgm]).all()
            return
        options = {"labels": stages, "zero_division": 0}
        assert found.accuracy == pytest.approx(accuracy_score(a, b))
        assert found.macro_f1 == pytest.approx(f1_score(a, b, average="macro", **options))
        assert found.weighted_f1 == pytest.approx(f1_score(a, b, average="weighted", **options))
        assert (found.confusion == sklearn_confusion_matrix(a, b, labels=stages)).all()
        expected = np.array(precision_recall_fscore_support(a, b, **options)).T
        stage_rows = [(s.precision, s.recall, s.f1, s.support) for s in found.per_stage.values()]
        np.testing.assert_allclose(stage_rows, expected)
        self.check_chance_corrected(found, a, b)

    @staticmethod
    def check_chance_corrected(found: Agreement, a: np.ndarray, b: np.ndarray) -> None:
        if len(set(a) | set(b)) == 1:  # scikit-learn warns and gives NaN (kappa) or 0 (MCC)
            assert np.isnan(found.cohen_kappa)
            assert np.isnan(found.mcc)
            return
        assert found.cohen_kappa == pytest.approx(cohen_kappa_score(a, b))
        assert found.mcc == pytest.approx(matthews_corrcoef(a, b))
        for i, stage in enumerate(found.per_stage.values()):
            if ((a == i) | (b == i)).any() and not ((a == i) & (b == i)).all():
                assert stage.kappa == pytest.approx(cohen_kappa_score(a == i, b == i))

    def test_mgm_is_the_mean_of_the_roots_of_sensitivity_times_specificity(self) -> None:
        rng = np.random.default_rng(3)
        a, b = rng.integers(0, 5, (2, 500))
        (tn, fp), (fn, tp) = multilabel_confusion_matrix(a, b, labels=range(5)).transpose(1, 2, 0)
        expected = np.sqrt(tp / (tp + fn) * tn / (tn + fp)).mean()
        assert agreement(Hypnogram(a), Hypnogram(b)).mgm == pytest.approx(expected)


class TestUndefined:
    def test_a_stage_that_neither_side_has_counts_as_f1_zero_and_its_kappa_is_undefined(self) -> None:
        found = agreement(night("W N2 N2"), night("W N2 N2"))
        assert found.macro_f1 == pytest.approx(2 / 5)
        assert found.per_stage["N3"][:3] == (0, 0, 0)
        assert np.isnan(found.per_stage["N3"].kappa)

    def test_kappa_of_one_stage_throughout_is_undefined(self) -> None:
        found = agreement(night("N2 N2"), night("N2 N2"))
        assert found.accuracy == 1
        assert np.isnan(found.cohen_kappa)
        assert found.as_dict()["cohen_kappa"] is None

    def test_a_constant_prediction_has_kappa_and_mcc_zero(self) -> None:
        found = agreement(night("W N1 N2"), night("N2 N2 N2"))
        assert (found.cohen_kappa, found.mcc) == (0, 0)

    def test_nothing_to_compare_is_no_crash(self) -> None:
        found = agreement(night("? ?"), night("W ?"))
        assert (found.n_epochs, found.n_reference_unscored) == (0, 2)
        assert np.isnan(found.accuracy)
        assert "0 epochs" in repr(found)
        assert agreement(night(""), night("")).n_epochs == 0


class TestUnscored:
    def test_epochs_unscored_on_either_side_are_masked_and_counted(self) -> None:
        found = agreement(night("W ? N2 N3 ?"), night("W N1 ? N2 ?"))
        assert found.n_epochs == 2
        assert found.n_reference_unscored == 2
        assert found.n_predicted_unscored == 1

    def test_rows_are_the_reference_and_columns_the_predicted(self) -> None:
        matrix = confusion_matrix(night("W W N3"), night("W REM N2"))
        assert matrix[0, 4] == 1
        assert matrix[3, 2] == 1
        assert matrix.sum() == 3


class TestIgnoring:
    def test_reference_epochs_of_the_stage_are_left_out_and_means_do_not_count_it(self) -> None:
        found = agreement(night("W N1 N2 N3 REM"), night("W N2 N2 N3 REM"), ignore=["N1"])
        assert found.n_epochs == 4
        assert found.macro_f1 == 1
        assert "N1" not in found.per_stage

    def test_predicting_it_elsewhere_stays_an_error(self) -> None:
        found = agreement(night("W N1 N2 N2"), night("W N2 N1 N2"), ignore=["n1"])
        assert found.accuracy == pytest.approx(2 / 3)

    def test_scikit_learn_agrees(self) -> None:
        a, b = np.random.default_rng(1).integers(0, 5, (2, 400))
        found = agreement(Hypnogram(a), Hypnogram(b), ignore=["N1", "N3"])
        kept = ~np.isin(a, [1, 3])
        assert found.macro_f1 == pytest.approx(f1_score(a[kept], b[kept], labels=[0, 2, 4], average="macro"))
        assert found.cohen_kappa == pytest.approx(cohen_kappa_score(a[kept], b[kept]))

    def test_an_unknown_stage_lists_those_of_the_scheme(self) -> None:
        with pytest.raises(HypnographError, match="'N4' is not a stage of scheme AASM: W, N1, N2, N3, REM"):
            agreement(night("W"), night("W"), ignore=["N4"])


class TestWakeTrimming:
    def test_keeps_the_minutes_on_both_sides_ends_included(self) -> None:
        reference = night(" ".join(["W"] * 10 + ["N2"] * 3 + ["W"] * 10))
        kept = np.flatnonzero(wake_trim(reference, 2))
        assert (kept[0], kept[-1]) == (10 - 4, 12 + 4)

    def test_an_unscored_epoch_is_not_sleep(self) -> None:
        assert np.flatnonzero(wake_trim(night("? W W N2 W W ?"), 0.5)).tolist() == [2, 3, 4]

    def test_trimmed_epochs_are_not_counted_as_unscored(self) -> None:
        found = agreement(night("W ? W N2 ? W W ?"), night("W W W N2 W W W W"), wake_trim_min=1)
        assert (found.n_epochs, found.n_reference_unscored) == (3, 2)

    def test_a_night_without_sleep_is_kept_whole(self) -> None:
        assert wake_trim(night("W W ?"), 30).all()

    def test_negative_minutes_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="-5 min"):
            wake_trim(night("W"), -5)


class TestRefusals:
    @pytest.mark.parametrize(
        ("other", "said"),
        [
            (night("W N1 N2"), "2 epochs, the predicted hypnogram 3"),
            (night("W N1", epoch_s=20.0), "30 s, the predicted hypnogram of 20 s"),
            (night("W REM", scheme=W_NREM_REM), "AASM, the predicted hypnogram W-NREM-REM"),
            (night("W N1", start=START + timedelta(minutes=5)), "22:30:00, the predicted hypnogram at .* 22:35:00"),
        ],
    )
    def test_what_does_not_fit_is_refused_with_both_values(self, other: Hypnogram, said: str) -> None:
        with pytest.raises(AlignmentError, match=said):
            agreement(night("W N1", start=START), other)

    def test_starts_that_differ_by_rounding_are_one_start(self) -> None:
        rounded = night("W N1", start=START + timedelta(seconds=0.5))
        assert agreement(night("W N1", start=START), rounded).accuracy == 1

    def test_a_matrix_of_another_shape_is_refused(self) -> None:
        with pytest.raises(HypnographError, match=r"shape \(2, 2\)"):
            Agreement.from_confusion([[1, 2], [3, 4]], AASM_5)


class TestTheValue:
    def test_equality_is_a_bool_and_the_matrix_is_read_only(self) -> None:
        one, same = (agreement(night("W N1"), night("W W")) for _ in range(2))
        assert one == same
        assert len({one, same}) == 1
        assert one != agreement(night("W N1"), night("W N1"))
        with pytest.raises(ValueError, match="read-only"):
            one.confusion[0, 0] = 5

    def test_tables_carry_the_labels(self) -> None:
        found = agreement(night("W N1 REM"), night("W W REM"))
        assert found.to_frame().loc["W", "precision"] == 0.5
        assert found.confusion_frame().loc["N1", "W"] == 1
        assert found.as_row()["f1_REM"] == 1

    def test_it_prints_a_table(self) -> None:
        text = repr(agreement(night("W N1 REM"), night("W W REM")))
        assert "Cohen's kappa" in text
        assert "REM" in text

    def test_any_scheme_will_do(self) -> None:
        two = StageScheme("wake-or-not", ("W", "other"), (0, 1, 1, 1, 1))
        assert Agreement.from_confusion([[3, 1], [0, 4]], two).accuracy == pytest.approx(7 / 8)

    def test_importing_evaluation_imports_numpy_only(self) -> None:
        heavy = "{'pandas', 'scipy', 'sklearn', 'yasa', 'mne', 'matplotlib', 'rich'} & set(sys.modules)"
        code = f"import sys, hypnograph.evaluation; assert not {heavy}, {heavy}"
        subprocess.run([sys.executable, "-c", code], check=True)
