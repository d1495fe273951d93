"""The soft vote over derivations: weighted by quality, independent of order, honest where nothing is known."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from hypnograph.errors import UnusableSignalError
from hypnograph.hypnogram import Hypnodensity
from hypnograph.montage import ChannelKind, Derivation
from hypnograph.recording import Annotation, Recording, Signal
from hypnograph.stagers import Ballot, Voter
from hypnograph.stagers.ensemble import EnsembleStager, combine, disagreement

N_EPOCHS = 40


def voter(name: str, seed: int, weight: float | np.ndarray = 1.0, missing: tuple[int, ...] = ()) -> Voter:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(5), size=N_EPOCHS)
    probabilities[list(missing)] = np.nan
    weights = np.broadcast_to(np.asarray(weight, dtype=float), (N_EPOCHS,))
    return Voter(name, (), Hypnodensity(probabilities), weights, weights)


def recording_of(*labels: str) -> Recording:
    def read(first: int, last: int) -> np.ndarray:
        return np.random.default_rng(0).normal(scale=20, size=last - first).astype(np.float32)

    signals = tuple(Signal(label, 100.0, "uV", 100 * 30 * N_EPOCHS, read) for label in labels)
    return Recording(signals, duration_s=30.0 * N_EPOCHS)


class Member:
    kinds = (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG)
    required = (ChannelKind.EEG,)

    """A member stager whose voters depend on the montage's name alone; keeps what it was asked."""

    def __init__(self, weight: float = 1.0) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.weight = weight

    def vote(self, recording: Recording, montages) -> Ballot:
        names = [" + ".join(derivation.name for derivation in montage) for montage in montages]
        self.asked += [tuple(d.name for d in montage) for montage in montages]
        voters = tuple(voter(name, sum(name.encode()), self.weight) for name in names)
        return Ballot(voters, "member", "0" * 64, ("C3 is flat",), {"features": 0.1})


class TestCombine:
    def test_equal_voters_are_averaged(self) -> None:
        a, b = voter("a", 1), voter("b", 2)
        expected = (a.hypnodensity.probabilities + b.hypnodensity.probabilities) / 2
        np.testing.assert_allclose(combine([a, b]).probabilities, expected)

    def test_one_good_voter_is_unchanged(self) -> None:
        a = voter("a", 1)
        np.testing.assert_allclose(combine([a]).probabilities, a.hypnodensity.probabilities, rtol=1e-12)

    def test_a_voter_without_weight_does_not_count(self) -> None:
        a = voter("a", 1)
        np.testing.assert_allclose(combine([a, voter("b", 2, 0.0)]).probabilities, a.hypnodensity.probabilities)

    def test_an_epoch_that_one_voter_misses_is_decided_by_the_others(self) -> None:
        a, b = voter("a", 1, missing=(3,)), voter("b", 2)
        np.testing.assert_allclose(combine([a, b]).probabilities[3], b.hypnodensity.probabilities[3])

    def test_an_epoch_that_nobody_knows_is_unscored(self) -> None:
        combined = combine([voter("a", 1, missing=(3, 4)), voter("b", 2, missing=(4,))])
        assert combined.argmax().stages[4] == -1
        assert combined.argmax().stages[3] >= 0

    def test_poor_signals_lower_the_confidence_and_keep_the_stage(self) -> None:
        good, poor = combine([voter("a", 1)]), combine([voter("a", 1, 0.3)])
        assert (poor.confidence() < good.confidence()).all()
        assert (poor.argmax().stages == good.argmax().stages).all()

    def test_a_poor_emg_lowers_the_share_but_not_the_confidence(self) -> None:
        whole = voter("a", 1)
        hum = replace(whole, weight=np.full(N_EPOCHS, 0.3))
        np.testing.assert_allclose(combine([hum]).probabilities, whole.hypnodensity.probabilities, rtol=1e-12)

    def test_nobody_is_an_error(self) -> None:
        with pytest.raises(UnusableSignalError, match="no derivation"):
            combine([])


class TestDisagreement:
    def test_it_is_zero_where_all_agree(self) -> None:
        a = voter("a", 1)
        assert not disagreement([a, a], combine([a, a])).any()

    def test_it_is_the_share_of_weight_against_the_result(self) -> None:
        w, rem = np.eye(5)[[0] * N_EPOCHS], np.eye(5)[[4] * N_EPOCHS]
        one = Voter("a", (), Hypnodensity(w), np.full(N_EPOCHS, 0.75), np.ones(N_EPOCHS))
        other = Voter("b", (), Hypnodensity(rem), np.full(N_EPOCHS, 0.25), np.ones(N_EPOCHS))
        np.testing.assert_allclose(disagreement([one, other], combine([one, other])), 0.25)


class TestEnsembleStager:
    LABELS = ("C3", "C4", "O1", "M1", "M2", "E1-M2", "E2-M2", "Chin EMG")

    def test_every_eeg_eog_and_emg_combination_votes(self) -> None:
        member = Member()
        staging = EnsembleStager(member=member).stage(recording_of(*self.LABELS))
        assert len(staging.voters) == len(set(member.asked)) == 3 * 2 * 1
        assert {d.kind for d in staging.derivations} == {ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG}

    def test_the_order_of_the_signals_does_not_matter(self) -> None:
        stagings = [EnsembleStager(member=Member()).stage(recording_of(*labels))
                    for labels in list(permutations(self.LABELS))[::4001]]  # fmt: skip
        assert len(stagings) > 5
        assert all(staging.hypnodensity == stagings[0].hypnodensity for staging in stagings)

    def test_eeg_alone_is_enough(self) -> None:
        member = Member()
        EnsembleStager(member=member).stage(recording_of("C4-M1"))
        assert member.asked == [("C4-M1",)]

    def test_an_override_is_the_only_voter(self) -> None:
        member = Member()
        EnsembleStager(member=member, eeg="O1-M2", eog="none", emg="none").stage(recording_of(*self.LABELS))
        assert member.asked == [("O1-M2",)]

    def test_the_best_ranked_combinations_vote_when_there_are_too_many(self) -> None:
        member = Member()
        staging = EnsembleStager(member=member, max_voters=2).stage(recording_of(*self.LABELS))
        assert len(member.asked) == 2
        assert any("6 combinations" in warning for warning in staging.warnings)

    def test_the_members_warnings_are_passed_on(self) -> None:
        assert "C3 is flat" in EnsembleStager(member=Member()).stage(recording_of(*self.LABELS)).warnings

    def test_a_night_without_any_information_is_refused(self) -> None:
        with pytest.raises(UnusableSignalError, match="C3 is flat"):
            EnsembleStager(member=Member(weight=0.0)).stage(recording_of(*self.LABELS))

    def test_lights_off_and_on_come_from_the_recordings_annotations(self) -> None:
        notes = (Annotation(90.0, 0.0, "Lights off"), Annotation(600.0, 0.0, "lights ON@@C3"))
        recording = replace(recording_of(*self.LABELS), annotations=notes)
        hypnogram = EnsembleStager(member=Member()).stage(recording).hypnogram
        assert (hypnogram.lights_off_s, hypnogram.lights_on_s) == (90.0, 600.0)

    def test_every_derivation_says_why_it_was_chosen(self) -> None:
        staging = EnsembleStager(member=Member()).stage(recording_of(*self.LABELS))
        assert all(isinstance(d, Derivation) and d.reason for d in staging.derivations)
