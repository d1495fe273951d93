"""Agreement among several scorers beyond chance."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from hypnograph.errors import HypnographError
from hypnograph.evaluation.chance_corrected import kappa_matrix, scorer_agreement
from hypnograph.evaluation.consensus import ScoredNight
from hypnograph.hypnogram import Hypnogram

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "many_scorers.json").read_text(encoding="utf-8"))
COMPLETE, GAPS = np.array(GOLDEN["complete"]), np.array(GOLDEN["gaps"])


def night(rows, models=(), name="n") -> ScoredNight:
    people = {f"p{i}": Hypnogram(np.array(row)) for i, row in enumerate(rows)}
    return ScoredNight(name, name, people, {f"m{i}": Hypnogram(np.array(row)) for i, row in enumerate(models)})


def cut(rows, n_nights: int = 4) -> list[ScoredNight]:
    return [night(part, name=f"n{i}") for i, part in enumerate(np.array_split(rows, n_nights, axis=1))]


class TestAgainstOtherPackages:
    def test_fleiss_kappa_is_that_of_statsmodels(self) -> None:
        # statsmodels 0.15.0.
        assert scorer_agreement([night(COMPLETE)]).fleiss_kappa.value == pytest.approx(GOLDEN["fleiss_kappa_complete"])

    @pytest.mark.parametrize("which", ["complete", "gaps"])
    def test_alpha_is_that_of_krippendorff(self, which: str) -> None:
        # krippendorff 0.9.0, nominal; "gaps" has epochs that some, all, or all but one left unscored.
        found = scorer_agreement([night(GOLDEN[which])]).krippendorff_alpha.value
        assert found == pytest.approx(GOLDEN[f"krippendorff_alpha_{which}"], abs=1e-9)

    @pytest.mark.parametrize("which", ["complete", "gaps"])
    def test_ac1_is_that_of_irrcac(self, which: str) -> None:
        # irrCAC 0.4.4.
        found = scorer_agreement([night(GOLDEN[which])]).gwet_ac1.value
        assert found == pytest.approx(GOLDEN[f"gwet_ac1_{which}"], abs=1e-9)

    def test_kappas_of_pairs_are_those_of_scikit_learn(self) -> None:
        found = kappa_matrix([night(GAPS[:4], GAPS[4:])])
        assert found.names == ("p0", "p1", "p2", "p3", "m0")
        for i in range(5):
            for j in range(5):
                both = (GAPS[i] >= 0) & (GAPS[j] >= 0)
                assert found.values[i, j] == pytest.approx(cohen_kappa_score(GAPS[i][both], GAPS[j][both]))


class TestManyNights:
    def test_numbers_are_of_all_epochs_together(self) -> None:
        for whole, parts in zip(scorer_agreement([night(GAPS)]), scorer_agreement(cut(GAPS)), strict=True):
            assert parts.value == pytest.approx(whole.value)
        assert kappa_matrix(cut(GAPS)).values == pytest.approx(kappa_matrix([night(GAPS)]).values)

    def test_fleiss_takes_only_epochs_that_all_scored(self) -> None:
        all_scored = GAPS[:, (GAPS >= 0).all(axis=0)]
        expected = scorer_agreement([night(all_scored)]).fleiss_kappa.value
        assert scorer_agreement([night(GAPS)]).fleiss_kappa.value == pytest.approx(expected)

    def test_the_mean_is_over_pairs(self) -> None:
        values = kappa_matrix(cut(COMPLETE)).values
        expected = values[np.triu_indices(5, 1)].mean()
        assert scorer_agreement(cut(COMPLETE)).mean_pairwise_kappa.value == pytest.approx(expected)

    def test_unanimous_is_the_share_of_epochs_with_one_opinion(self) -> None:
        found = scorer_agreement([night([[0, 0, 1, -1, 2], [0, 1, 1, -1, -1], [0, 0, -1, 3, 2]])]).unanimous.value
        assert found == pytest.approx(3 / 4)  # epochs 0, 2 and 4; epoch 3 has one score

    def test_intervals_are_over_subjects(self) -> None:
        found = scorer_agreement(cut(COMPLETE, 10))
        for value, low, high in found:
            assert low < value < high
        assert np.isnan(scorer_agreement([night(COMPLETE)]).fleiss_kappa.low)

    def test_perfect_agreement_is_one(self) -> None:
        same = scorer_agreement([night([[0, 1, 2, 3, 4]] * 3)])
        assert all(estimate.value == pytest.approx(1) for estimate in same)

    def test_models_do_not_take_part_among_people(self) -> None:
        alone, with_model = night(COMPLETE), night(COMPLETE, [np.zeros(200, int)])
        pairs = zip(scorer_agreement([alone]), scorer_agreement([with_model]), strict=True)
        assert all(one.value == other.value for one, other in pairs)

    def test_one_scorer_and_no_night_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="two or more"):
            scorer_agreement([night([[0, 1]])])
        with pytest.raises(HypnographError, match="no night"):
            kappa_matrix([])
