"""Fitting a screen: scikit-learn's logistic regression is the oracle."""

import csv
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.sequences.disorder_features import feature_values
from hypnograph.training.disorder_fitting import (
    ANY,
    Person,
    fit_logistic,
    fit_screen,
    questions,
    read_people,
    standards,
)
from hypnograph.training.disorder_methods import methods
from tests.sequences.sleepers import night, sleepers

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 5)) * [1, 2, 3, 4, 5] + 3
ILL = X[:, 0] + RANDOM.normal(size=60) > 3.8


class TestLogisticRegression:
    def test_is_scikit_learns_with_balanced_answers(self) -> None:
        linear_model = pytest.importorskip("sklearn.linear_model")
        z = (X - X.mean(0)) / X.std(0)
        oracle = linear_model.LogisticRegression(C=1 / 7, class_weight="balanced", tol=1e-10).fit(z, ILL)
        found = fit_logistic(X, ILL, penalty=7)
        np.testing.assert_allclose(found.weights, oracle.coef_[0], atol=1e-4)
        np.testing.assert_allclose(found.log_odds(X), oracle.decision_function(z), atol=1e-3)

    def test_means_and_deviations_are_of_what_is_defined(self) -> None:
        x = X.copy()
        x[:20, 1] = np.nan
        x[:, 2] = np.nan
        x[:, 3] = 4
        mean, deviation = standards(x)
        assert (mean[1], deviation[1]) == pytest.approx((X[20:, 1].mean(), X[20:, 1].std()))
        assert (mean[2], deviation[2], mean[3], deviation[3]) == (0, 1, 4, 1)

    def test_a_number_that_is_not_defined_counts_as_the_mean(self) -> None:
        fitted = fit_logistic(X, ILL)
        lacking, usual = X[:1].copy(), X[:1].copy()
        lacking[0, 0], usual[0, 0] = np.nan, X[:, 0].mean()
        np.testing.assert_allclose(fitted.log_odds(lacking), fitted.log_odds(usual))

    def test_answers_that_are_told_apart_wholly_give_finite_weights(self) -> None:
        fitted = fit_logistic(1e6 * X[:, :1], X[:, 0] > 3, penalty=1e-3)
        assert np.isfinite(fitted.weights).all()
        assert ((fitted.log_odds(1e6 * X[:, :1]) > 0) == (X[:, 0] > 3)).mean() > 0.95


class TestQuestions:
    def test_any_disorder_and_each_of_which_there_are_enough(self) -> None:
        people = [*sleepers(9), *(p._replace(subject=f"s{i}", diagnosis="sdb") for i, p in enumerate(sleepers(2)))]
        asked, few = questions(people, "normal")
        assert {name: (int(q.ill.sum()), len(q.people)) for name, q in asked.items()} == {ANY: (13, 22), "rbd": (9, 18)}
        assert few == {"sdb": 4}

    def test_too_few_healthy_people_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="0 people are 'healthy' and 24 are not"):
            questions(sleepers(12), "healthy")

    def test_a_subject_with_two_diagnoses_is_refused(self) -> None:
        people = [person._replace(subject="x") for person in sleepers(10)]
        with pytest.raises(HypnographError, match="subject 'x' has the diagnoses 'normal' and 'rbd'"):
            questions(people, "normal")

    def test_nights_of_one_subject_are_one_person(self) -> None:
        people = [p._replace(subject=p.subject[:-1] + "0") if p.diagnosis == "rbd" else p for p in sleepers(9)]
        with pytest.raises(HypnographError, match="9 people are 'normal' and 1 are not"):
            questions(people, "normal")


class TestTheScreen:
    def test_answers_each_question_as_a_fit_of_its_own_people(self) -> None:
        other = [Person(f"o{i}", "nfle", Hypnogram(night(i, broken=True))) for i in range(50, 60)]
        people = [*sleepers(10), *other]
        screen = fit_screen(people, healthy="normal", sets=["statistics"])
        assert screen.questions == (ANY, "rbd", "nfle")
        assert dict(screen.people) == {"normal": 10, "rbd": 10, "nfle": 10}
        x = np.stack([feature_values(p.hypnogram, ["statistics"]) for p in people])
        rbd = fit_logistic(x[:20], np.arange(20) >= 10)
        for i in (0, 15):
            found = screen.screen(people[i].hypnogram).findings[1].probability
            assert found == pytest.approx(1 / (1 + np.exp(-rbd.log_odds(x[i : i + 1])[0])))

    def test_tells_broken_nights_from_calm_ones(self) -> None:
        screen = fit_screen(sleepers(), healthy="normal")
        new = [Hypnogram(night(seed, broken=broken)) for seed in range(300, 305) for broken in (False, True)]
        found = [screen.screen(hypnogram).findings[0].probability > 0.5 for hypnogram in new]
        assert found == [False, True] * 5


class TestMethods:
    @pytest.mark.parametrize("name", ["wake", "statistics", "transitions", "bouts", "triplets", "boosting"])
    def test_each_learns(self, name) -> None:
        if name == "boosting":
            pytest.importorskip("lightgbm")
        method, people = methods()[name], sleepers(20)
        ill = np.array([person.diagnosis == "rbd" for person in people])
        nights = [method.prepare(person.hypnogram) for person in people]
        new = [method.prepare(Hypnogram(night(s, broken=broken))) for s in range(70, 78) for broken in (False, True)]
        scores = method.score(nights, ill, new, 0)
        assert (np.sign(scores) == [-1, 1] * 8).mean() >= 0.8

    def test_the_bag_and_the_networks_give_a_number_for_each_night(self) -> None:
        pytest.importorskip("torch")
        from hypnograph.sequences.language_model import Config, StageLanguageModel
        from hypnograph.training import disorder_methods
        from hypnograph.training.disorder_network import Schedule
        from hypnograph.training.stage_gpt import StageGPT

        config = Config(width=12, layers=1, heads=2)
        trunk = StageLanguageModel(config=config, weights=StageGPT(config).to_numpy(), context=60)
        known = methods(trunk=trunk)
        assert set(known) - set(methods()) == set(disorder_methods.NETWORKS)
        people = sleepers(2, n_epochs=180)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("BAG_SCHEDULE", "FROZEN_SCHEDULE", "SHORT_SCHEDULE"):
                patch.setattr(f"hypnograph.training.disorder_network.{name}", Schedule(passes=1, frozen="FRO" in name))
            for name in ("bag", *disorder_methods.NETWORKS):
                nights = [known[name].prepare(person.hypnogram) for person in people]
                scores = known[name].score(nights, np.array([False, False, True, True]), nights[:3], 0)
                assert np.isfinite(scores).all()
                assert scores.shape == (3,)


class TestTheTable:
    @staticmethod
    def write(folder: Path, rows: list[dict[str, str]]) -> Path:
        for person in sleepers(1):
            write_hypnogram(person.hypnogram, folder / f"{person.subject}.txt")
        with (folder / "people.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return folder / "people.csv"

    def test_files_lie_beside_it(self, tmp_path) -> None:
        rows = [{"file": "normal0.txt", "diagnosis": " normal"}, {"file": "rbd0.txt", "diagnosis": "rbd"}]
        found = read_people(self.write(tmp_path, rows))
        assert [(p.subject, p.diagnosis) for p in found] == [("normal0.txt", "normal"), ("rbd0.txt", "rbd")]
        np.testing.assert_array_equal(found[1].hypnogram.stages, sleepers(1)[1].hypnogram.stages)

    def test_a_subject_may_have_several_nights(self, tmp_path) -> None:
        rows = [{"file": f, "diagnosis": "x", "subject": "a"} for f in ("normal0.txt", "rbd0.txt")]
        assert {person.subject for person in read_people(self.write(tmp_path, rows))} == {"a"}

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            ([{"file": "normal0.txt", "group": "x"}], "line 2: file is 'normal0.txt' and diagnosis ''"),
            ([{"file": "people.csv", "diagnosis": "x"}], "people.csv, line 2: "),
            (
                [{"file": f, "diagnosis": f[0], "subject": "a"} for f in ("normal0.txt", "rbd0.txt")],
                "subject 'a' has the diagnoses 'n' and 'r'; give one",
            ),
        ],
    )
    def test_mistakes_name_the_line(self, tmp_path, rows, said) -> None:
        with pytest.raises(HypnographError, match=said):
            read_people(self.write(tmp_path, rows))

    def test_an_empty_table_is_refused(self, tmp_path) -> None:
        (tmp_path / "none.csv").write_text("file,diagnosis\n")
        with pytest.raises(HypnographError, match="has no line"):
            read_people(tmp_path / "none.csv")
