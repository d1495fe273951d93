"""What networks say of prepared nights: combinations that vote, and nights of another input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.model_info import ModelInfo
from hypnograph.models import create_model, describe
from hypnograph.montage import ChannelKind
from hypnograph.network import TorchNetwork, night_logits
from hypnograph.preprocess import InputSpec
from hypnograph.stages import AASM_5
from hypnograph.training.augmentation import create_augmentation
from hypnograph.training.prediction import check_spec, combinations, night_signals, predict_night
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.store import Store, open_store

from .nights import write_store

EEG, EOG, EMG = ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG
SPEC = InputSpec((EEG, EOG), sample_rate=1.0)


class Means:
    """A network whose logits follow from the mean of each channel in each part of an epoch; it looks at no other."""

    epochs_at_once = 8
    sha256 = ""

    def __init__(self, sub_epochs: int = 1) -> None:
        self.info = ModelInfo(architecture="means", config={}, input=SPEC, sub_epochs=sub_epochs, reach=0, name="Means")
        self.weights = np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32) * 9

    def run(self, signals: np.ndarray, state: Any = None) -> tuple[np.ndarray, None]:
        parts = signals.reshape(*signals.shape[:3], self.info.sub_epochs, -1).mean(-1)
        logits = np.moveaxis(parts, 2, 3) @ self.weights
        return (logits[:, :, 0] if self.info.sub_epochs == 1 else logits), None


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a night of 20 epochs with three EEG and three EOG derivations."""
    return write_store(tmp_path_factory.mktemp("store"), SPEC, n_subjects=1, n_epochs=20, derivations=3)


@pytest.fixture
def night(store: Store) -> PreparedNight:
    return store.nights[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64))
    return np.asarray(p / p.sum(-1, keepdims=True))


class TestCombinations:
    def test_each_derivation_of_a_kind_meets_each_of_the_other_the_best_first(self, night: PreparedNight) -> None:
        found = combinations(night, (EEG, EOG))
        assert found == [(f"EEG {i}", f"EOG {j}") for i in (1, 2, 3) for j in (1, 2, 3)]
        assert combinations(night, (EEG, EOG), 2) == found[:2]
        assert combinations(night, (EOG,)) == [("EOG 1",), ("EOG 2",), ("EOG 3",)]

    def test_a_kind_that_the_night_has_not_is_refused(self, night: PreparedNight) -> None:
        with pytest.raises(HypnographError, match="folder/S00N0 has no EMG"):
            combinations(night, (EEG, EMG))

    def test_no_combination_at_all_is_refused(self, night: PreparedNight) -> None:
        with pytest.raises(HypnographError, match="0 channel combinations; give 1 or more"):
            combinations(night, (EEG, EOG), 0)

    def test_signals_are_in_the_order_of_the_kinds(self, night: PreparedNight) -> None:
        signals = night_signals(night, (EOG, EEG), ("EOG 2", "EEG 3"))
        assert signals.dtype == np.float32
        assert signals.shape == (20, 2, 30)
        np.testing.assert_array_equal(signals[:, 0], night.read(EOG, "EOG 2"))
        np.testing.assert_array_equal(signals[:, 1], night.read(EEG, "EEG 3"))


class TestVote:
    @pytest.mark.parametrize("sub_epochs", [1, 3])
    def test_it_is_the_mean_of_the_probabilities_of_all_combinations(
        self, sub_epochs: int, night: PreparedNight
    ) -> None:
        # Oracle: the network on each combination, and the mean by numpy.
        network = Means(sub_epochs)
        expected = {
            f"EEG {i} + EOG {j}": softmax(
                night_logits(network, night_signals(night, (EEG, EOG), (f"EEG {i}", f"EOG {j}")))
            ).reshape(-1, 5)
            for i in (1, 2, 3)
            for j in (1, 2, 3)
        }
        found = predict_night(network, night)
        assert list(found.members) == list(expected)
        for name, member in found.members.items():
            np.testing.assert_allclose(member.probabilities, expected[name], atol=1e-6)
        vote = np.mean(list(expected.values()), axis=0)
        np.testing.assert_allclose(found.hypnodensity.probabilities, vote, atol=1e-6)
        assert found.night is night

    def test_at_most_so_many_combinations_vote(self, night: PreparedNight) -> None:
        found = predict_night(Means(), night, most=2)
        assert list(found.members) == ["EEG 1 + EOG 1", "EEG 1 + EOG 2"]
        one = predict_night(Means(), night, most=1)
        np.testing.assert_array_equal(one.hypnodensity.probabilities, one.members["EEG 1 + EOG 1"].probabilities)

    def test_a_finer_output_has_a_finer_grid(self, night: PreparedNight) -> None:
        found = predict_night(Means(sub_epochs=3), night).hypnodensity
        assert found.probabilities.shape == (60, 5)
        assert found.epoch_s == 10
        assert found.scheme is AASM_5
        assert found.scorer == Means().info.title


class TestAugmented:
    ALWAYS = (create_augmentation("shift", min_offset=-3.0, max_offset=3.0),)

    def test_the_night_as_it_is_and_each_changed_one_count_alike(self, night: PreparedNight) -> None:
        # Oracle: a change that is always the same, by hand.
        raised = (create_augmentation("shift", min_offset=0.5, max_offset=0.5),)
        signals = night_signals(night, (EEG, EOG), ("EEG 1", "EOG 1"))
        plain, changed = (softmax(night_logits(Means(), x)) for x in (signals, signals + 0.5))
        found = predict_night(Means(), night, most=1, augmentations=raised, n_augmented=3)
        np.testing.assert_allclose(found.hypnodensity.probabilities, (plain + 3 * changed) / 4, atol=1e-6)

    def test_each_time_the_night_is_changed_otherwise(self, night: PreparedNight) -> None:
        plain, once, twice = (
            predict_night(Means(), night, most=1, augmentations=self.ALWAYS, n_augmented=n).hypnodensity.probabilities
            for n in range(3)
        )
        first, second = 2 * once - plain, 3 * twice - 2 * once  # of the changed nights alone
        assert not np.allclose(first, second, atol=1e-3)

    def test_the_same_seed_gives_the_same_and_another_one_another(self, night: PreparedNight) -> None:
        same, again, other, more = (
            predict_night(Means(), night, augmentations=self.ALWAYS, n_augmented=n, seed=seed).hypnodensity
            for n, seed in ((2, 1), (2, 1), (2, 2), (3, 1))
        )
        assert np.array_equal(same.probabilities, again.probabilities)
        assert not np.allclose(same.probabilities, other.probabilities)
        assert not np.allclose(same.probabilities, more.probabilities)


class TestSpec:
    @pytest.mark.parametrize("name", ["usleep", "tinysleepnet", "seqsleepnet", "ecg-utime"])
    def test_a_store_that_was_prepared_for_a_network_fits_it_however_it_was_opened(
        self, name: str, tmp_path: Path
    ) -> None:
        model = create_model(name, preset="small")
        info = replace(describe(model), input=replace(describe(model).input, context=20, band_hz=(0.3, 35.0)))
        network = TorchNetwork(model, info)
        check_spec(network, write_store(tmp_path / "store", info.input, n_subjects=1, n_epochs=6).spec)
        check_spec(network, open_store(tmp_path / "store").spec)

    def test_a_store_with_more_kinds_in_another_order_fits(self) -> None:
        check_spec(Means(), replace(SPEC, kinds=(EMG, EOG, EEG)))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"sample_rate": 2.0}, r"sample_rate: the network takes 1\.0, the store has 2\.0"),
            ({"scaling": "robust"}, "scaling: the network takes none, the store has robust"),
            ({"band_hz": (0.1, 0.4)}, r"band_hz: the network takes None, the store has \(0\.1, 0\.4\)"),
            ({"kinds": (EEG,)}, "the network takes EOG, which the store has not"),
        ],
    )
    def test_nights_of_another_input_are_refused_with_what_differs(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(HypnographError, match=message):
            check_spec(Means(), replace(SPEC, **given))


class TestWindowsThatOverlap:
    @pytest.fixture
    def of_20(self, tmp_path: Path) -> PreparedNight:
        """Return a night of 40 epochs of 20 s, each with 30 s around it."""
        return write_store(tmp_path, SPEC, n_subjects=1, epoch_s=20.0).nights[0]

    def test_each_epoch_that_was_scored_is_staged(self, of_20: PreparedNight) -> None:
        prediction = predict_night(Means(), of_20)
        assert (prediction.hypnodensity.epoch_s, prediction.hypnodensity.n_epochs) == (20.0, 40)
        signals = night_signals(of_20, (EEG, EOG), ("EEG 1", "EOG 1"))
        np.testing.assert_allclose(
            prediction.hypnodensity.probabilities, softmax(Means().run(signals[None])[0][0]), atol=1e-6
        )

    def test_they_are_staged_no_finer(self, of_20: PreparedNight) -> None:
        with pytest.raises(HypnographError, match="staged by epochs only, without --resolution"):
            predict_night(Means(3), of_20)

    def test_a_network_that_reads_them_as_one_signal_is_refused(self, of_20: PreparedNight) -> None:
        network = Means()
        network.info = replace(network.info, architecture="usleep")
        with pytest.raises(HypnographError, match="usleep takes epochs in a row for one signal"):
            predict_night(network, of_20)
