"""People and models on the same nights."""

import json

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.evaluation.consensus import ScoredNight, majority, soft_agreement, soft_agreements
from hypnograph.evaluation.many_scorers import CONSENSUS, OTHERS, compare_scorers, trim_wake
from hypnograph.evaluation.tables import evaluate_nights
from hypnograph.hypnogram import Hypnogram


def nights(n_nights: int = 4, n_people: int = 3, errors: float = 0.2, seed: int = 0) -> list[ScoredNight]:
    """Simulated nights; the model errs as often as the people do."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n_nights):
        truth = np.sort(rng.integers(0, 5, 400))
        rows = [np.where(rng.random(400) < errors, rng.integers(0, 5, 400), truth) for _ in range(n_people + 1)]
        people = {f"p{j}": Hypnogram(row) for j, row in enumerate(rows[1:])}
        found.append(ScoredNight(f"n{i}", f"s{i}", people, {"net": Hypnogram(rows[0])}))
    return found


def kappa(evaluation) -> float:
    return evaluation.pooled.cohen_kappa


class TestComparison:
    def test_a_model_that_errs_like_people_scores_like_people(self) -> None:
        # The reason for leave-one-out: against the consensus of all a model would look better than any person.
        found = compare_scorers(nights(12, 5))
        people = np.mean([kappa(found.against_others[name]) for name in found.people])
        assert kappa(found.against_others["net"]) == pytest.approx(people, abs=0.015)
        assert kappa(found.against_consensus["net"]) > people + 0.01

    def test_each_number_is_that_of_the_two_scorings_it_names(self) -> None:
        scored = nights()
        found = compare_scorers(scored)
        pairs = [(n.name, n.subject, n.scorings["p1"], n.predicted["net"]) for n in scored]
        assert found.against_each["net"]["p1"].pooled == evaluate_nights(pairs).pooled
        pairs = [(n.name, n.subject, majority(list(n.scorings.values())), n.predicted["net"]) for n in scored]
        assert found.against_consensus["net"].pooled == evaluate_nights(pairs).pooled
        each = [soft_agreements(list(n.scorings.values()))[0] for n in scored]
        assert found.soft_agreement["p0"].value == pytest.approx(np.mean(each))
        assert found.people_together.pooled.n_epochs == 3 * 2 * 4 * 400  # two others, one by one

    def test_two_people_have_no_consensus_but_each_other(self) -> None:
        scored = nights(n_people=2)
        found = compare_scorers(scored)
        assert found.against_consensus == {}
        assert kappa(found.against_others["p0"]) == pytest.approx(kappa(found.against_others["p1"]))
        alone = [soft_agreement(n.predicted["net"], [n.scorings["p0"]]) for n in scored]
        assert found.soft_agreement["net"].value == pytest.approx(
            np.mean([alone, [soft_agreement(n.predicted["net"], [n.scorings["p1"]]) for n in scored]])
        )

    def test_people_without_a_model_are_compared_too(self) -> None:
        found = compare_scorers([night._replace(predicted={}) for night in nights()])
        assert list(found.against_others) == ["p0", "p1", "p2"]
        assert found.kappas.names == ("p0", "p1", "p2")


class TestOutput:
    def test_a_row_for_each_scorer_reference_and_night(self) -> None:
        found = compare_scorers(nights())
        frame = found.to_frame()
        counts = frame.groupby(["scorer", "against"]).size().to_dict()
        expected = {("net", OTHERS), ("net", CONSENSUS), *((("net", f"p{i}")) for i in range(3))}
        assert counts == dict.fromkeys(expected | {(f"p{i}", OTHERS) for i in range(3)}, 4)
        row = frame.query("scorer == 'net' and against == @OTHERS and night == 'n2'").iloc[0]
        by_hand = [n.agreement.cohen_kappa for n in found.against_others["net"].nights if n.name == "n2"]
        assert len(by_hand) == 6
        assert row["cohen_kappa"] == pytest.approx(np.mean(by_hand))
        assert row["soft_agreement"] == found.soft_agreement_by_night["net"]["n2"]

    def test_is_json_without_nan(self) -> None:
        plain = json.loads(json.dumps(compare_scorers(nights(1)).as_dict(), allow_nan=False))
        assert plain["soft_agreement"]["net"]["low"] is None  # one subject has no interval
        assert plain["kappa_matrix"]["names"] == ["p0", "p1", "p2", "net"]
        assert len(plain["against_others"]["net"]["nights"]) == 6

    def test_the_seed_decides_the_intervals(self) -> None:
        one, other = (compare_scorers(nights(), seed=seed).soft_agreement["net"] for seed in (1, 2))
        assert one.value == other.value
        assert one != other


class TestWakeTrim:
    def test_all_lose_the_wake_around_the_sleep_of_the_consensus(self) -> None:
        asleep = [0] * 100 + [2] * 50 + [0] * 100
        early = [0] * 95 + [2] * 55 + [0] * 100
        people = {name: Hypnogram(np.array(row)) for name, row in {"a": asleep, "b": asleep, "c": early}.items()}
        trimmed = trim_wake(ScoredNight("n", "s", people, {"net": Hypnogram(np.array(asleep))}), 5)
        assert {h.n_epochs for h in (*trimmed.scorings.values(), *trimmed.predicted.values())} == {70}
        assert trimmed.scorings["c"].stages[:5].tolist() == [0] * 5
        assert compare_scorers([trimmed], n_bootstrap=0).people_together.pooled.n_epochs == 3 * 2 * 70

    def test_is_passed_on(self) -> None:
        scored = nights()
        whole, part = compare_scorers(scored), compare_scorers(scored, wake_trim_min=0)
        assert part.people_together.pooled.n_epochs < whole.people_together.pooled.n_epochs


def test_other_teams_one_name_twice_and_nothing_are_refused() -> None:
    scored = nights()
    with pytest.raises(HypnographError, match="2 different teams"):
        compare_scorers([scored[0], scored[1]._replace(predicted={})])
    with pytest.raises(HypnographError, match="two nights have one name"):
        compare_scorers([scored[0], scored[0]])
    with pytest.raises(HypnographError, match="no night"):
        compare_scorers([])
