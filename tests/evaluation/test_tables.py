"""Agreement over many nights."""

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.agreement import agreement
from hypnograph.evaluation.tables import NightPair, evaluate_nights
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import W_SLEEP


def simulated_nights(n_subjects: int, nights_each: int = 2, seed: int = 5, n_epochs: int = 300) -> list[NightPair]:
    """Simulated nights whose error rate differs between subjects more than within."""
    rng = np.random.default_rng(seed)
    nights = []
    for subject in range(n_subjects):
        errors = rng.uniform(0.05, 0.5)
        for i in range(nights_each):
            reference = np.sort(rng.integers(0, 5, n_epochs))
            wrong = rng.random(n_epochs) < errors
            predicted = np.where(wrong, rng.integers(0, 5, n_epochs), reference)
            nights.append(NightPair(f"s{subject}n{i}", f"s{subject}", Hypnogram(reference), Hypnogram(predicted)))
    return nights


class TestPooledAndPerNight:
    def test_pooled_is_the_agreement_of_all_epochs_together(self) -> None:
        nights = simulated_nights(4)
        together = [
            Hypnogram(np.concatenate([getattr(n, side).stages for n in nights])) for side in ("reference", "predicted")
        ]
        found = evaluate_nights(nights)
        assert found.pooled == agreement(*together)
        assert found.pooled_estimates["cohen_kappa"].value == found.pooled.cohen_kappa

    def test_a_stage_is_left_to_count(self) -> None:
        with pytest.raises(HypnographError, match="all stages of AASM are ignored"):
            evaluate_nights(simulated_nights(1), ignore=["W", "N1", "N2", "N3", "REM"])

    def test_per_night_is_the_mean_and_sd_of_the_nights_numbers(self) -> None:
        nights = simulated_nights(4)
        each = [agreement(n.reference, n.predicted) for n in nights]
        found = evaluate_nights(nights).per_night
        assert found["accuracy"].mean == pytest.approx(np.mean([a.accuracy for a in each]))
        assert found["accuracy"].sd == pytest.approx(np.std([a.accuracy for a in each], ddof=1))
        assert found["f1_N2"].mean == pytest.approx(np.mean([a.per_stage["N2"].f1 for a in each]))

    def test_a_night_that_does_not_define_a_metric_is_not_in_its_mean(self) -> None:
        same = Hypnogram(np.full(10, 2))
        nights = [*simulated_nights(2, 1), NightPair("flat", "s9", same, same)]
        assert evaluate_nights(nights).per_night["cohen_kappa"].n_nights == 2
        assert evaluate_nights(nights).per_night["accuracy"].n_nights == 3

    def test_a_night_without_a_common_epoch_counts_for_nothing(self) -> None:
        nights = simulated_nights(2, 1)
        blank = NightPair("blank", "s9", Hypnogram(np.full(300, -1)), nights[0].predicted)
        without, found = evaluate_nights(nights), evaluate_nights([*nights, blank])
        assert {name: (s.mean, s.n_nights) for name, s in found.per_night.items()} == {
            name: (s.mean, s.n_nights) for name, s in without.per_night.items()
        }
        assert found.per_night["f1_W"].n_nights == 2
        assert any("1 of 3 nights have no epoch that both sides scored" in note for note in found.notes)
        assert not any("have no N3" in note for note in found.notes)

    def test_nights_without_a_stage_are_noted(self) -> None:
        awake = Hypnogram(np.zeros(10, dtype=int))
        notes = evaluate_nights([*simulated_nights(2, 1), NightPair("awake", "s9", awake, awake)]).notes
        assert any("1 of 3 nights have no N3" in note for note in notes)

    def test_epochs_that_the_prediction_left_out_are_noted(self) -> None:
        reference, predicted = Hypnogram(np.zeros(4, dtype=int)), Hypnogram(np.array([0, 0, -1, -1]))
        assert any("2 epochs" in note for note in evaluate_nights([("a", "a", reference, predicted)]).notes)


class TestIntervals:
    def test_are_those_of_a_bootstrap_over_subjects_written_out(self) -> None:
        nights = simulated_nights(6, nights_each=2)
        found = evaluate_nights(nights, n_bootstrap=60, seed=4)
        subjects = sorted({n.subject for n in nights})
        weights = np.random.default_rng(4).multinomial(6, np.full(6, 1 / 6), size=60)
        pooled, means = [], []
        for draw in weights:
            chosen = [
                n
                for s, times in zip(subjects, draw, strict=True)
                for n in nights
                if n.subject == s
                for _ in range(times)
            ]
            pooled.append(evaluate_nights(chosen, n_bootstrap=0).pooled.macro_f1)
            means.append(np.mean([agreement(n.reference, n.predicted).cohen_kappa for n in chosen]))
        assert found.pooled_estimates["macro_f1"][1:] == pytest.approx(np.percentile(pooled, [2.5, 97.5]))
        assert found.per_night["cohen_kappa"][2:4] == pytest.approx(np.percentile(means, [2.5, 97.5]))

    def test_the_same_seed_gives_the_same_and_another_seed_another(self) -> None:
        nights = simulated_nights(5)
        assert evaluate_nights(nights) == evaluate_nights(nights)
        assert evaluate_nights(nights, seed=1).pooled_estimates != evaluate_nights(nights).pooled_estimates

    def test_two_nights_of_a_subject_promise_less_than_two_subjects(self) -> None:
        nights = simulated_nights(12)
        alone = [night._replace(subject=night.name) for night in nights]
        by_subject, by_night = (evaluate_nights(n).pooled_estimates["accuracy"] for n in (nights, alone))
        assert by_subject.high - by_subject.low > by_night.high - by_night.low

    def test_hold_the_true_value_about_as_often_as_they_say(self) -> None:
        held = 0  # of 100; percentile intervals of 20 subjects hold a little less often than 95 %
        expected = np.mean([1 - 0.8 * e for e in np.linspace(0.05, 0.5, 1001)])
        for seed in range(100):
            low, high = evaluate_nights(simulated_nights(20, 1, seed, 60), n_bootstrap=150).pooled_estimates[
                "accuracy"
            ][1:]
            held += low <= expected <= high
        assert 0.88 <= held / 100 <= 0.99

    def test_of_one_subject_are_undefined_and_noted(self) -> None:
        found = evaluate_nights(simulated_nights(1))
        assert np.isnan(found.pooled_estimates["accuracy"].low)
        assert any("one subject" in note for note in found.notes)
        assert found.as_dict()["pooled_estimates"]["accuracy"]["low"] is None


class TestRefusals:
    def test_no_night(self) -> None:
        with pytest.raises(HypnographError, match="no night"):
            evaluate_nights([])

    def test_a_night_that_does_not_fit_is_named(self) -> None:
        short, long = Hypnogram(np.zeros(3, dtype=int)), Hypnogram(np.zeros(4, dtype=int))
        with pytest.raises(AlignmentError, match=r"night x7: .* 3 epochs, the predicted hypnogram 4"):
            evaluate_nights([("x7", "x", short, long)])

    def test_two_schemes(self) -> None:
        night = simulated_nights(1, 1)[0]
        merged = NightPair("other", "s1", night.reference.merge(W_SLEEP), night.predicted.merge(W_SLEEP))
        with pytest.raises(HypnographError, match="night other uses scheme W-sleep"):
            evaluate_nights([night, merged])


class TestTheValue:
    def test_it_is_json_and_tables(self) -> None:
        found = evaluate_nights(simulated_nights(3), ignore=["N1"])
        json.dumps(found.as_dict(), allow_nan=False)
        assert list(found.to_frame()["subject"]) == ["s0", "s0", "s1", "s1", "s2", "s2"]
        assert found.to_frame().loc["s1n1", "accuracy"] == found.nights[3].agreement.accuracy
        assert found.summary_frame().loc["f1_REM", "pooled"] == found.pooled.per_stage["REM"].f1
        assert "f1_N1" not in found.summary_frame().index

    def test_it_prints_both_kinds_of_numbers(self) -> None:
        assert "6 nights of 3 subjects" in repr(evaluate_nights(simulated_nights(3)))


def test_197_real_nights_give_the_pooled_numbers_of_scikit_learn(shared_data) -> None:
    nights = []
    for line in (shared_data / "predictions" / "sleep-edfx.jsonl").read_text().splitlines():
        night = json.loads(line)
        predicted = night["predicted"]["extended/deep_sleep_net"]
        nights.append(
            (night["record"], night["subject"], *(Hypnogram(np.array(s)) for s in (night["reference"], predicted)))
        )
    found = evaluate_nights(nights)
    a, b = (np.concatenate([night[side].stages for night in nights]) for side in (2, 3))
    scored = (a >= 0) & (b >= 0)
    assert len(found.nights) == 197
    assert found.pooled.n_epochs == scored.sum()
    assert found.pooled.cohen_kappa == pytest.approx(cohen_kappa_score(a[scored], b[scored]))
    assert found.pooled.macro_f1 == pytest.approx(f1_score(a[scored], b[scored], average="macro"))
    low, high = found.pooled_estimates["cohen_kappa"][1:]
    assert low < found.pooled.cohen_kappa < high


def test_five_people_who_scored_dod_h_agree_by_kappa_070(shared_data) -> None:
    # Published for all epochs: .701 (mean over pairs of scorers); this cut of the data, over nights and pairs: .699.
    kappas = []
    for line in (shared_data / "scorers" / "dod-h.jsonl").read_text().splitlines():
        scorers = [Hypnogram(np.array(stages)) for stages in json.loads(line)["scorers"].values()]
        kappas += [agreement(a, b).cohen_kappa for i, a in enumerate(scorers) for b in scorers[i + 1 :]]
    assert len(kappas) == 250
    assert np.mean(kappas) == pytest.approx(0.6993, abs=5e-5)
