"""Consensus that learns how far each scorer can be trusted."""

import json
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.evaluation.dawid_skene import latent_stages
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import W_SLEEP

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "many_scorers.json").read_text(encoding="utf-8"))


def scored(rows, **fields) -> dict[str, Hypnogram]:
    return {f"s{i}": Hypnogram(np.array(row), **fields) for i, row in enumerate(rows)}


def simulated(n_epochs: int, errors, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated true stages and the scorings of scorers with these error rates."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, n_epochs, p=[0.2, 0.1, 0.4, 0.15, 0.15])
    wrong = rng.random((len(errors), n_epochs)) < np.array(errors)[:, None]
    return truth, np.where(wrong, rng.integers(0, 5, wrong.shape), truth)


class TestAgainstOtherPackages:
    def test_dawid_skene_is_that_of_crowd_kit(self) -> None:
        # crowd-kit 1.4.2, DawidSkene(n_iter=30), with unscored epochs.
        golden = GOLDEN["dawid_skene_gaps"]
        found = latent_stages([scored(GOLDEN["gaps"])], smoothing=0, tolerance=0, max_rounds=golden["n_rounds"])
        theirs = np.array(golden["probabilities"])
        known = theirs[:, 0] >= 0
        assert found.nights[0].known.tolist() == known.tolist()
        assert found.nights[0].probabilities[known] == pytest.approx(theirs[known], abs=1e-6)
        assert np.stack(list(found.confusion.values())) == pytest.approx(np.array(golden["confusion"]), abs=1e-6)

    def test_staple_of_two_stages_is_that_of_simpleitk(self) -> None:
        # SimpleITK 2.5.7, STAPLEImageFilter, on sleep against wake.
        rows = (np.array(GOLDEN["complete"]) > 0).astype(int)
        found = latent_stages([scored(rows, scheme=W_SLEEP)], method="staple", smoothing=0, tolerance=1e-12)
        golden = GOLDEN["staple_complete"]
        assert found.nights[0].probabilities[:, 1] == pytest.approx(golden["probability_of_sleep"], abs=1e-4)
        theta = np.stack(list(found.confusion.values()))
        assert theta[:, 1, 1] == pytest.approx(golden["sensitivity"], abs=1e-4)
        assert theta[:, 0, 0] == pytest.approx(golden["specificity"], abs=1e-4)


@pytest.mark.parametrize("method", ["dawid-skene", "staple"])
class TestBothMethods:
    def test_error_rates_that_were_planted_are_found(self, method) -> None:
        _, rows = simulated(4000, [0.1, 0.2, 0.3, 0.5, 0.6])
        theta = latent_stages([scored(rows)], method=method).confusion
        # An error lands on the true stage once in five.
        planted = 1 - 0.8 * np.array([0.1, 0.2, 0.3, 0.5, 0.6])
        assert [np.diag(matrix).mean() for matrix in theta.values()] == pytest.approx(planted, abs=0.04)

    def test_two_good_scorers_outweigh_three_bad_ones(self, method) -> None:
        truth, rows = simulated(3000, [0.05, 0.05, 0.7, 0.7, 0.7])
        found = latent_stages([scored(rows)], method=method).nights[0].argmax().stages
        votes = np.stack([(rows == stage).sum(axis=0) for stage in range(5)]).argmax(axis=0)
        assert (found == truth).mean() > (votes == truth).mean() + 0.03

    def test_scorers_are_known_by_name_over_nights_and_need_not_score_all(self, method) -> None:
        _, rows = simulated(900, [0.1, 0.2, 0.4])
        whole = scored(rows)
        cut = [{name: h.crop(a, b) for name, h in whole.items()} for a, b in ((0, 300), (300, 900))]
        together, apart = latent_stages([whole], method=method), latent_stages(cut, method=method)
        joined = np.concatenate([one.probabilities for one in apart.nights])
        assert joined == pytest.approx(together.nights[0].probabilities)
        del cut[1]["s2"]
        assert list(latent_stages(cut, method=method).confusion) == ["s0", "s1", "s2"]

    def test_what_nobody_scored_stays_unknown(self, method) -> None:
        found = latent_stages([scored([[0, -1, 2], [0, -1, 2]])], method=method).nights[0]
        assert found.known.tolist() == [True, False, True]

    def test_rows_of_theta_are_probabilities(self, method) -> None:
        _, rows = simulated(200, [0.1, 0.5])
        for matrix in latent_stages([scored(rows)], method=method).confusion.values():
            assert matrix.sum(axis=1) == pytest.approx(np.ones(5))
            assert (matrix >= 0).all()


def test_what_a_scorer_never_did_is_not_impossible() -> None:
    rows = [[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]]
    found = {smoothing: latent_stages([scored(rows)], smoothing=smoothing).confusion["s0"] for smoothing in (0, 0.1)}
    assert found[0][0, 2] < 1e-12
    assert found[0.1][0, 2] == pytest.approx(0.1 / 2.5, rel=0.01)


def test_nothing_to_learn_from_and_unknown_methods_are_refused() -> None:
    with pytest.raises(HypnographError, match="no night"):
        latent_stages([])
    with pytest.raises(HypnographError, match="scored by anybody"):
        latent_stages([scored([[-1], [-1]])])
    with pytest.raises(HypnographError, match="dawid-skene, staple"):
        latent_stages([scored([[0], [0]])], method="magic")
