"""Sampled nights: the oracles are the tables they are drawn from, and scipy's ks_2samp on statistics computed anew."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from hypnograph.errors import HypnographError
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.ngrams import NGramModel
from hypnograph.sequences.sampling import compare_with_real, quartiles, sample_nights
from hypnograph.stages import AASM_5, W_SLEEP


@pytest.fixture(scope="module")
def model() -> NGramModel:
    rng = np.random.default_rng(1)
    nights = [np.repeat(rng.integers(0, 5, 60), rng.integers(1, 6, 60)).astype(np.int8) for _ in range(8)]
    return NGramModel.fit([TrainingNight("d", str(i), night) for i, night in enumerate(nights)], 3)


class TestDraws:
    def test_transitions_are_as_frequent_as_the_model_says(self, model) -> None:
        nights = sample_nights(model, 500, n_nights=40, seed=3)
        contexts = np.concatenate([np.stack([n[:-2], n[1:-1], n[2:]], axis=1) for n in nights])
        for before in ((0, 0), (2, 2), (3, 3)):
            came = contexts[(contexts[:, 0] == before[0]) & (contexts[:, 1] == before[1]), 2]
            share = np.bincount(came, minlength=5) / len(came)
            p = np.exp(model.log_table()[before])
            assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / len(came))).all()

    def test_the_same_seed_gives_the_same_nights_and_another_seed_others(self, model) -> None:
        one, same, other = (sample_nights(model, 50, n_nights=3, seed=seed) for seed in (1, 1, 2))
        assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    def test_nights_begin_awake_and_have_their_own_lengths(self, model) -> None:
        nights = sample_nights(model, [5, 1, 30])
        assert [len(night) for night in nights] == [5, 1, 30]
        assert [night[0] for night in nights] == [0, 0, 0]
        assert sample_nights(model, 4, first_stage=3)[0][0] == 3

    def test_at_a_low_temperature_each_stage_is_the_likeliest(self, model) -> None:
        (night,) = sample_nights(model, 40, temperature=1e-3, first_stage=2)
        assert np.array_equal(night[1:], model.log_probabilities(night)[:-1].argmax(axis=1))

    def test_at_a_high_temperature_stages_are_all_as_frequent(self, model) -> None:
        (night,) = sample_nights(model, 5000, temperature=1e6)
        np.testing.assert_allclose(np.bincount(night, minlength=5) / 5000, 0.2, atol=0.03)


class TestRefusals:
    def test_a_model_of_two_epochs_ahead_cannot_dream(self) -> None:
        two = SimpleNamespace(name="slm-shhs-90", targets_ahead=2, scheme=AASM_5)
        with pytest.raises(HypnographError, match="slm-shhs-90 predicts the stage 2 epochs ahead"):
            sample_nights(two, 10)

    @pytest.mark.parametrize(
        ("lengths", "options", "said"),
        [
            (0, {}, "at least one"),
            ([], {}, "at least one"),
            (10, {"temperature": 0}, "above 0"),
            (10, {"first_stage": 5}, "0 to 4"),
            ([10, 20], {"n_nights": 3}, "2 lengths"),
        ],
    )
    def test_impossible_numbers_are_refused(self, model, lengths, options, said: str) -> None:
        with pytest.raises(HypnographError, match=said):
            sample_nights(model, lengths, **options)


class TestComparison:
    def test_ks_and_quartiles_are_those_of_scipy_and_numpy(self, model) -> None:
        one, two = (sample_nights(model, 300, n_nights=n, seed=n) for n in (12, 9))
        minutes = [[(night > 0).sum() / 2 for night in nights] for nights in (one, two)]
        table = compare_with_real(two, one, AASM_5)
        row = table.loc["TST_min"]
        assert row["KS"] == pytest.approx(ks_2samp(*minutes).statistic)
        assert row["real median"] == np.median(minutes[0])
        assert row["sampled 75 %"] == pytest.approx(np.percentile(minutes[1], 75))

    def test_the_same_nights_are_no_distance_apart(self, model) -> None:
        nights = sample_nights(model, 300, n_nights=5)
        table = compare_with_real(nights, nights, AASM_5)
        assert (table["KS"].dropna() == 0).all()
        assert list(table.index) == [
            *("TST_min", "WASO_min", "SE_percent", "SOL_min", "REM_latency_min", "N1_percent", "N2_percent"),
            *("N3_percent", "REM_percent", "awakenings", "bouts", "stage_shifts_per_h", "cycles"),
        ]

    def test_a_night_without_rem_has_no_say_in_rem_latency(self) -> None:
        with_rem, without = np.array([0, 2, 2, 4]), np.array([0, 2, 2, 2])
        table = compare_with_real([with_rem, without], [without], AASM_5)
        assert table.loc["REM_latency_min", "sampled median"] == 1
        assert np.isnan(table.loc["REM_latency_min", "KS"])

    def test_bouts_are_counted_by_hand(self) -> None:
        assert quartiles([np.array([0, 0, 1, -1, 1, 2])], AASM_5).loc["bouts", "median"] == 4

    def test_a_scheme_without_rem_has_fewer_statistics(self) -> None:
        assert "cycles" not in quartiles([np.array([0, 1, 1])], W_SLEEP).index

    def test_a_comparison_needs_both(self) -> None:
        with pytest.raises(HypnographError, match="0 sampled and 1 real"):
            compare_with_real([], [np.array([0, 1])], AASM_5)
