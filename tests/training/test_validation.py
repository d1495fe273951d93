"""How a network is judged on validation nights; oracles are scikit-learn and plain logarithms."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, log_loss

from hypnograph.model_info import ModelInfo
from hypnograph.montage import ChannelKind
from hypnograph.preprocess import InputSpec
from hypnograph.stages import AASM_5, StageScheme
from hypnograph.training.validation import scores, some_of_each, tally
from hypnograph.windows import log_softmax

EEG, EOG = ChannelKind.EEG, ChannelKind.EOG
RNG = np.random.default_rng(1)


class Told:
    """A network that says what the signals of its first channel hold: logits (stage) or (sub_epoch, stage)."""

    epochs_at_once = 8
    sha256 = ""

    def __init__(self, sub_epochs: int = 1, scheme: StageScheme = AASM_5) -> None:
        spec = InputSpec((EEG, EOG), sample_rate=1.0)
        self.info = ModelInfo(architecture="told", config={}, input=spec, scheme=scheme, sub_epochs=sub_epochs, reach=0)

    def run(self, signals: np.ndarray, state: Any = None) -> tuple[np.ndarray, None]:
        n_stages, sub_epochs = self.info.scheme.n_stages, self.info.sub_epochs
        logits = signals[:, :, 0, : sub_epochs * n_stages]
        return (logits if sub_epochs == 1 else logits.reshape(*logits.shape[:2], sub_epochs, n_stages)), None


@dataclass
class ToldNight:
    """A night whose first EEG derivation holds logits, and whose second holds their negatives."""

    logits: np.ndarray
    dataset: str = "a"
    key: str = "a/1"

    @property
    def n_epochs(self) -> int:
        return len(self.logits)

    @property
    def derivations(self) -> dict[ChannelKind, tuple[str, ...]]:
        return {EEG: ("C4-M1", "C3-M2"), EOG: ("E1-M2",)}

    def read(self, kind: ChannelKind, name: str) -> np.ndarray:
        samples = np.zeros((self.n_epochs, 30), dtype=np.float32)
        if kind == EEG:
            flat = self.logits.reshape(self.n_epochs, -1)
            samples[:, : flat.shape[1]] = flat if name == "C4-M1" else -flat
        return samples


def night(n_epochs: int, dataset: str = "a", *, sub_epochs: int | None = None) -> ToldNight:
    shape = (n_epochs, 5) if sub_epochs is None else (n_epochs, sub_epochs, 5)
    return ToldNight(RNG.normal(size=shape).astype(np.float32) * 2, dataset)


def judged(nights: list[ToldNight], targets: list[np.ndarray], network: Told | None = None) -> dict[str, float]:
    network = network or Told()
    datasets = sorted({one.dataset for one in nights})
    return scores(tally(network, nights, targets, datasets), network.info.scheme)  # type: ignore[arg-type]


def sklearn_s(stages: np.ndarray, log_p: np.ndarray) -> dict[str, float]:
    predicted, every = log_p.argmax(1), list(range(log_p.shape[1]))
    f1 = f1_score(stages, predicted, labels=every, average=None, zero_division=0)
    p = np.exp(log_p) / np.exp(log_p).sum(1, keepdims=True)
    return {
        "loss": log_loss(stages, p, labels=every),
        "accuracy": accuracy_score(stages, predicted),
        "kappa": cohen_kappa_score(stages, predicted),
        "macro_f1": f1.mean(),
        **{f"f1_{label}": value for label, value in zip(AASM_5.labels, f1, strict=True)},
    }


class TestScores:
    def test_the_nights_of_a_dataset_are_pooled(self) -> None:
        # Oracle: scikit-learn on all epochs of both nights.
        nights = [night(50), night(120)]
        targets = [RNG.integers(0, 5, 50), RNG.integers(0, 5, 120)]
        log_p = log_softmax(np.concatenate([one.logits for one in nights]))
        expected = sklearn_s(np.concatenate(targets), log_p)
        found = judged(nights, targets)
        assert list(found) == list(expected)
        assert found == pytest.approx(expected)

    def test_datasets_count_alike_whatever_their_size(self) -> None:
        # Oracle: the plain mean of scikit-learn's scores, U-Sleep's rule.
        nights, targets = [night(40, "a"), night(400, "b")], [RNG.integers(0, 5, 40), RNG.integers(0, 5, 400)]
        alone = [sklearn_s(t, log_softmax(n.logits)) for n, t in zip(nights, targets, strict=True)]
        expected = {name: (alone[0][name] + alone[1][name]) / 2 for name in alone[0]}
        assert judged(nights, targets) == pytest.approx(expected)

    def test_unscored_epochs_are_masked(self) -> None:
        one, stages = night(100), RNG.integers(0, 5, 100)
        unscored = RNG.random(100) < 0.3
        expected = sklearn_s(stages[~unscored], log_softmax(one.logits[~unscored]))
        assert judged([one], [np.where(unscored, -1, stages)]) == pytest.approx(expected)

    def test_a_stage_that_nobody_scored_and_the_network_never_says_has_an_f1_of_0(self) -> None:
        # Oracle: U-Sleep's rule, and scikit-learn with zero_division=0.
        one, stages = night(60), RNG.integers(0, 4, 60)
        one.logits[:, 4] = -20
        found = judged([one], [stages])
        assert found["f1_REM"] == 0
        assert found == pytest.approx(sklearn_s(stages, log_softmax(one.logits)))

    def test_of_shares_the_largest_is_the_reference_and_all_count_in_the_loss(self) -> None:
        one, shares = night(100), RNG.dirichlet(np.ones(5), 100)
        unscored = RNG.random(100) < 0.3
        shares[unscored] = np.nan
        log_p = log_softmax(one.logits[~unscored])
        expected = sklearn_s(shares[~unscored].argmax(1), log_p) | {
            "loss": -(shares[~unscored] * log_p).sum(1).mean(),
        }
        assert judged([one], [shares]) == pytest.approx(expected)

    def test_the_stage_of_an_epoch_is_that_of_its_parts_together(self) -> None:
        # Oracle: the mean of the probabilities of the parts; the mean of logits would say otherwise.
        one, stages = night(100, sub_epochs=3), RNG.integers(0, 5, 100)
        one.logits *= 5
        log_p = np.log(np.exp(log_softmax(one.logits)).mean(1))
        assert (log_p.argmax(1) != one.logits.mean(1).argmax(1)).any()
        assert judged([one], [stages], Told(sub_epochs=3)) == pytest.approx(sklearn_s(stages, log_p))

    def test_certainty_gives_finite_numbers(self) -> None:
        one = night(20, sub_epochs=3)
        one.logits *= 1e4
        assert np.isfinite(judged([one], [RNG.integers(0, 5, 20)], Told(sub_epochs=3))["loss"])

    def test_the_first_derivation_of_each_kind_is_judged(self) -> None:
        one = night(50)
        assert judged([one], [one.logits.argmax(1)])["accuracy"] == 1

    def test_a_dataset_without_a_scored_epoch_is_not_counted(self) -> None:
        nights, targets = [night(40, "a"), night(40, "b")], [RNG.integers(0, 5, 40), np.full(40, -1)]
        assert judged(nights, targets) == judged(nights[:1], targets[:1])

    def test_without_any_scored_epoch_nothing_is_known(self) -> None:
        found = judged([night(10)], [np.full(10, -1)])
        assert found.keys() == {"loss", "accuracy", "kappa", "macro_f1"}
        assert all(np.isnan(value) for value in found.values())

    def test_tallies_of_processes_add_up(self) -> None:
        # Of three nights each process counts some; one has none of a dataset.
        network: Any = Told()
        nights: Any = [night(30, "a"), night(40, "b"), night(50, "b")]
        targets = [RNG.integers(0, 5, one.n_epochs) for one in nights]
        parts = [tally(network, nights[part], targets[part], ["a", "b"]) for part in (slice(0, 2), slice(2, 3))]
        assert not parts[1]["a"].any()
        summed = {name: parts[0][name] + parts[1][name] for name in ("a", "b")}
        assert scores(summed, AASM_5) == pytest.approx(judged(nights, targets))


class TestChosenNights:
    def test_at_most_so_many_of_each_dataset_are_drawn_the_same_in_every_pass(self) -> None:
        nights: Any = [night(1, dataset) for dataset in "abbbbbbbbbbbbcc" for _ in range(2)]
        chosen = some_of_each(nights, 4, seed=1)
        assert [sum(one.dataset == dataset for one in chosen) for dataset in "abc"] == [2, 4, 4]
        assert all(a is b for a, b in zip(chosen, some_of_each(nights, 4, seed=1), strict=True))
        assert len({id(one) for one in chosen}) == 10
        others = [some_of_each(nights, 4, seed=seed) for seed in range(2, 5)]
        assert any([id(one) for one in other] != [id(one) for one in chosen] for other in others)

    def test_or_all(self) -> None:
        nights: Any = [night(1, dataset) for dataset in "bab"]
        assert [one.dataset for one in some_of_each(nights, None, seed=1)] == ["a", "b", "b"]
