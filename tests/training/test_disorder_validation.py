"""Testing methods that tell ill from healthy: scikit-learn's metrics are the oracle."""

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.training.disorder_fitting import ANY, Person, questions
from hypnograph.training.disorder_methods import Method, methods
from hypnograph.training.disorder_validation import HeldOutScores, _metrics, cross_validated, deal, permutation_p
from tests.sequences.sleepers import night, sleepers

RANDOM = np.random.default_rng(1)
ILL = RANDOM.random(40) < 0.6
SCORES = np.round(RANDOM.normal(size=(3, 40)) + ILL, 1)  # rounded: some are equal
ALONE = HeldOutScores(scores=SCORES, ill=ILL, subjects=np.arange(40))


def two_nights_each() -> list[Person]:
    """Return sleepers with two nights each, of which the second is like the first."""
    return [
        Person(f"{p.subject}", p.diagnosis, Hypnogram(np.roll(p.hypnogram.stages, shift)))
        for p in sleepers(8, n_epochs=240)
        for shift in (0, 1)
    ]


def spy(seen: list) -> Method:
    def score(train, ill, test, seed):
        seen.append(({float(x[0]) for x in train}, {float(x[0]) for x in test}))
        return np.zeros(len(test))

    return Method("spy", lambda hypnogram: np.array([float(hypnogram.stages.astype(int) @ np.arange(240) ** 2)]), score)


class TestFolds:
    def test_each_has_about_the_same_mixture(self) -> None:
        groups = np.repeat(["n", "nfle", "rbd", "sdb"], [16, 40, 22, 4])
        folds = deal(groups, 10, seed=3)
        for group in np.unique(groups):
            counts = np.bincount(folds[groups == group], minlength=10)
            assert counts.max() - counts.min() <= 1
        assert not np.array_equal(folds, deal(groups, 10, seed=4))

    def test_no_subject_is_tested_by_a_fit_that_saw_another_night_of_theirs(self) -> None:
        seen: list = []
        people = two_nights_each()
        question = questions(people, "normal")[0][ANY]
        method = spy(seen)
        subject = {float(method.prepare(person.hypnogram)[0]): person.subject for person in people}
        cross_validated(method, question, n_folds=4, n_repeats=2)
        assert len(seen) == 8
        for train, test in seen:
            assert not {subject[x] for x in train} & {subject[x] for x in test}
            assert len(train) + len(test) == len(people)

    def test_impossible_folds_are_refused(self) -> None:
        for n in (1, 17):
            with pytest.raises(HypnographError, match=f"{n} folds of 16 subjects; give 2 to 16"):
                deal(np.array(["a"] * 16), n, seed=0)


class TestMetrics:
    def test_are_scikit_learns(self) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        found = ALONE.by_repeat()
        for i, scores in enumerate(SCORES):
            oracle = {
                "AUC": metrics.roc_auc_score(ILL, scores),
                "average precision": metrics.average_precision_score(ILL, scores),
                "balanced accuracy": metrics.balanced_accuracy_score(ILL, scores > 0),
                "sensitivity": metrics.recall_score(ILL, scores > 0),
                "specificity": metrics.recall_score(~ILL, scores <= 0),
            }
            assert {name: values[i] for name, values in found.items()} == pytest.approx(oracle)

    def test_a_bootstrap_draw_is_a_weight_for_each_night(self) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        weights = RANDOM.integers(0, 4, 40).astype(float)
        found = {name: values[0] for name, values in _metrics(SCORES[:1], ILL, weights[None]).items()}
        auc = metrics.roc_auc_score(ILL, SCORES[0], sample_weight=weights)
        precision = metrics.average_precision_score(ILL, SCORES[0], sample_weight=weights)
        assert (found["AUC"], found["average precision"]) == pytest.approx((auc, precision))

    def test_an_estimate_is_the_mean_of_the_repeats_within_its_interval(self) -> None:
        by_repeat, spreads = ALONE.by_repeat(), ALONE.spreads()
        for name, (value, low, high) in ALONE.estimates().items():
            assert value == pytest.approx(by_repeat[name].mean())
            assert low < value < high
            assert (spreads[name].low, spreads[name].high) == (by_repeat[name].min(), by_repeat[name].max())

    def test_the_interval_is_as_wide_as_hanley_and_mcneil_say(self) -> None:
        """Hanley and McNeil 1982, DOI 10.1148/radiology.143.1.7063747, the error of an AUC."""
        scores, ill = RANDOM.normal(size=(1, 300)), np.arange(300) < 150
        scores[0, ill] += 1
        tested = HeldOutScores(scores=scores, ill=ill, subjects=np.arange(300))
        auc, low, high = tested.estimates()["AUC"]
        q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
        error = np.sqrt((auc * (1 - auc) + 149 * (q1 - auc**2) + 149 * (q2 - auc**2)) / 150**2)
        assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.15)

    def test_nights_of_one_subject_do_not_narrow_the_interval(self) -> None:
        once = HeldOutScores(scores=SCORES[:1], ill=ILL, subjects=np.arange(40))
        thrice = HeldOutScores(scores=np.tile(SCORES[:1], 3), ill=np.tile(ILL, 3), subjects=np.tile(np.arange(40), 3))
        assert thrice.estimates()["AUC"] == pytest.approx(once.estimates()["AUC"])

    def test_a_method_is_no_better_than_itself(self) -> None:
        assert ALONE.auc_above(ALONE) == (0, 0, 0)
        better = HeldOutScores(scores=SCORES + 2 * ILL, ill=ILL, subjects=np.arange(40))
        value, low, high = better.auc_above(ALONE)
        assert 0 < low < value < high
        assert value == pytest.approx(better.estimates()["AUC"].value - ALONE.estimates()["AUC"].value)


class TestCrossValidation:
    def test_learns_what_there_is_to_learn(self) -> None:
        question = questions(sleepers(n_epochs=240), "normal")[0][ANY]
        tested = cross_validated(methods()["statistics"], question, n_folds=4, n_repeats=2)
        assert tested.scores.shape == (2, 24)
        assert tested.estimates()["AUC"].value > 0.95
        assert permutation_p(methods()["statistics"], question, 0.95, n=19, n_folds=4) == 0.05

    def test_chance_stays_chance(self) -> None:
        people = [Person(f"p{i}", "ab"[i % 2], Hypnogram(night(i, broken=False, n_epochs=240))) for i in range(24)]
        question = questions(people, "a")[0][ANY]
        tested = cross_validated(methods()["statistics"], question, n_folds=4, n_repeats=2)
        auc, low, high = tested.estimates()["AUC"]
        assert low < 0.5 < high or auc < 0.5
        assert permutation_p(methods()["statistics"], question, auc, n=30, n_folds=4) > 0.1

    def test_the_same_seed_gives_the_same_scores(self) -> None:
        question = questions(sleepers(n_epochs=240), "normal")[0][ANY]
        a, b, c = (cross_validated(methods()["wake"], question, n_folds=3, n_repeats=2, seed=s) for s in (0, 0, 9))
        np.testing.assert_array_equal(a.scores, b.scores)
        assert not np.array_equal(a.scores, c.scores)
