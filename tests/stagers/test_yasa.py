"""Stages equal those of the yasa package, which is the oracle; what holds no signal is never given a stage.

Nights from `hypnograph.simulate` are simulated; the real night is in the shared data.
"""

import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hypnograph.errors import HypnographError, MissingChannelError, UnusableSignalError
from hypnograph.hypnogram import Hypnogram
from hypnograph.montage import ChannelKind, Derivation, choose_derivations
from hypnograph.recording import Recording, Signal
from hypnograph.signal_files import read_recording
from hypnograph.simulate import simulate_recording
from hypnograph.stagers import create_stager
from hypnograph.stagers.yasa import YasaStager, _channel, _classifier, _table
from hypnograph.stages import stage_from_name

NAMES = ["W"] * 16 + ["N1"] * 6 + ["N2"] * 28 + ["N3"] * 26 + ["N2"] * 10 + ["REM"] * 24 + ["N1"] * 4
EEG, EOG, EMG = "C4-M1", "E1-M2", "Chin EMG"
# Nothing tells the sign of the first and the last sample, which are 0 after filtering; see `epoch_features`.
ONE_CROSSING = 1


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPNOGRAPH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def simulated() -> Recording:
    """57 minutes (simulated), and 10 s that are no whole epoch."""
    recording = simulate_recording(Hypnogram.from_names(NAMES), seed=1, derivations=(EEG, EOG, EMG))
    return from_arrays({s.label: np.append(s.samples(), s.samples()[-2560:]) for s in recording.signals}, 256.0)


def from_arrays(samples: dict[str, np.ndarray], rate: float, unit: str = "uV") -> Recording:
    signals = tuple(
        Signal(label, rate, unit, len(values), lambda first, last, values=values: values[first:last].astype(np.float32))
        for label, values in samples.items()
    )
    return Recording(signals, duration_s=signals[0].duration_s)


def changed(recording: Recording, label: str, first_epoch: int, past_last: int, value: float) -> Recording:
    samples = {s.label: s.samples().copy() for s in recording.signals}
    rate = recording.signals[0].sample_rate
    samples[label][int(first_epoch * 30 * rate) : int(past_last * 30 * rate)] = value
    return from_arrays(samples, rate)


def by_yasa(recording: Recording, labels: Sequence[str], metadata: dict[str, float] | None = None) -> SimpleNamespace:
    """Stage the same samples by the yasa package, in float64 as MNE has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mne
        import yasa

        info = mne.create_info(list(labels), recording.signals[0].sample_rate, "eeg")
        volts = np.array([recording.signal(label).samples().astype(float) for label in labels]) * 1e-6
        names = dict(zip(("eeg_name", "eog_name", "emg_name"), labels, strict=False))
        staging = yasa.SleepStaging(mne.io.RawArray(volts, info, verbose=False), metadata=metadata, **names)
        predicted = staging.predict()
    stages = predicted.hypno.map({"WAKE": 0, "N1": 1, "N2": 2, "N3": 3, "REM": 4}).to_numpy().astype(int)
    probabilities = predicted.proba[["WAKE", "N1", "N2", "N3", "REM"]].to_numpy()
    return SimpleNamespace(features=staging.get_features(), stages=stages, probabilities=probabilities)


def our_features(
    recording: Recording, labels: Sequence[str], kinds: tuple[ChannelKind, ...]
) -> tuple[list[str], np.ndarray]:
    eeg, eog, emg = (*labels, "none", "none")[:3]
    montage = choose_derivations(recording, eeg=eeg, eog=eog, emg=emg).first
    channels = [_channel(recording, derivation, map, {}) for derivation in montage]
    ensemble, _ = _classifier(kinds, False)
    return list(ensemble.feature_names), _table(channels, {}, ensemble)


def assert_features_equal(recording: Recording, labels: Sequence[str], kinds: tuple[ChannelKind, ...], theirs) -> None:
    names, ours = our_features(recording, labels, kinds)
    assert sorted(names) == sorted(theirs.columns)
    for name, column in zip(names, ours.T, strict=True):
        expected = theirs[name].to_numpy()
        if name.endswith("_nzc"):
            assert np.abs(column[[0, -1]] - expected[[0, -1]]).max() <= ONE_CROSSING
            np.testing.assert_array_equal(column[1:-1], expected[1:-1], err_msg=name)
        elif "_nzc_" in name:
            np.testing.assert_allclose(column, expected, rtol=0, atol=0.05, err_msg=name)
        else:
            # Scaled features cross zero: there, 1e-5 of the feature's spread over the night.
            np.testing.assert_allclose(column, expected, rtol=1e-5, atol=1e-5 * expected.std(), err_msg=name)


class TestEqualToYasa:
    def test_features_and_stages_of_a_simulated_night(self, simulated: Recording) -> None:
        labels = (EEG, EOG, EMG)
        expected = by_yasa(simulated, labels)
        assert_features_equal(simulated, labels, (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG), expected.features)
        staging = YasaStager().stage(simulated)
        np.testing.assert_array_equal(staging.hypnogram.stages, expected.stages)
        # One zero crossing more or less moves a scaled feature across a threshold now and then.
        np.testing.assert_allclose(staging.hypnodensity.probabilities, expected.probabilities, rtol=0, atol=0.02)
        assert len(staging.warnings) == 0

    @pytest.mark.parametrize("labels", [(EEG,), (EEG, EOG)])
    def test_fewer_channels_and_age_and_sex(self, simulated: Recording, labels: tuple[str, ...]) -> None:
        expected = by_yasa(simulated, labels, {"age": 34, "male": True})
        stager = YasaStager(eog=EOG if EOG in labels else "none", emg="none", age=34.6, male=True)
        staging = stager.stage(simulated)
        np.testing.assert_array_equal(staging.hypnogram.stages, expected.stages)
        np.testing.assert_allclose(staging.hypnodensity.probabilities, expected.probabilities, rtol=0, atol=0.02)

    def test_the_real_night(self, shared_data: Path) -> None:
        path = shared_data / "eeg" / "ucddb018.edf"
        recording = read_recording(path)
        (label,) = recording.labels
        expected = by_yasa(recording, [label])
        assert_features_equal(recording, [label], (ChannelKind.EEG,), expected.features)
        staging = create_stager("yasa").stage(recording)
        np.testing.assert_array_equal(staging.hypnogram.stages, expected.stages)
        np.testing.assert_allclose(staging.hypnodensity.probabilities, expected.probabilities, rtol=0, atol=1e-6)

    def test_the_real_night_agrees_with_the_expert(self, shared_data: Path) -> None:
        from sklearn.metrics import cohen_kappa_score

        names = (shared_data / "eeg" / "ucddb018.txt").read_text().split()
        reference = np.array([stage_from_name(name) for name in names])
        predicted = YasaStager().stage(read_recording(shared_data / "eeg" / "ucddb018.edf")).hypnogram.stages
        n = min(len(reference), len(predicted))
        scored = reference[:n] >= 0
        assert cohen_kappa_score(reference[:n][scored], predicted[:n][scored]) >= 0.80


class TestWithoutSignal:
    @pytest.mark.parametrize("value", [np.nan, 12.0])
    def test_epochs_without_eeg_are_unscored_and_said(self, simulated: Recording, value: float) -> None:
        staging = YasaStager().stage(changed(simulated, EEG, 40, 50, value))
        assert np.flatnonzero(staging.hypnogram.stages < 0).tolist() == list(range(40, 50))
        assert np.isnan(staging.hypnodensity.probabilities[40:50]).all()
        assert any(f"{EEG} is not usable in 10 of" in warning for warning in staging.warnings)

    def test_a_gap_does_not_poison_the_rest_of_the_night(self, simulated: Recording) -> None:
        whole = YasaStager().stage(simulated).hypnogram.stages
        with_gap = YasaStager().stage(changed(simulated, EEG, 100, 112, np.nan)).hypnogram.stages
        kept = with_gap >= 0
        assert (whole == with_gap)[kept].mean() > 0.95

    def test_a_lost_eog_is_staged_as_if_there_were_none(self, simulated: Recording) -> None:
        lost = changed(simulated, EOG, 0, 200, np.nan)
        expected = YasaStager(eog="none").stage(simulated)
        staging = YasaStager().stage(lost)
        np.testing.assert_array_equal(staging.hypnodensity.probabilities, expected.hypnodensity.probabilities)
        assert any(f"{EOG} is not usable" in warning for warning in staging.warnings)

    def test_epochs_without_eog_are_staged_by_the_other_channels(self, simulated: Recording) -> None:
        staging = YasaStager().stage(changed(simulated, EOG, 60, 70, 0.0))
        assert (staging.hypnogram.stages >= 0).all()

    def test_a_flat_eeg_is_refused_by_name(self, simulated: Recording) -> None:
        with pytest.raises(UnusableSignalError, match=f"{EEG} has no usable signal in any of its 114 epochs .*is flat"):
            YasaStager(eeg=EEG).stage(changed(simulated, EEG, 0, 200, 5.0))

    def test_a_short_recording_is_refused_with_its_length(self) -> None:
        samples = np.random.default_rng(0).normal(scale=20, size=256 * 290)
        with pytest.raises(UnusableSignalError, match=r"4\.8 min.*at least 5 min"):
            YasaStager().stage(from_arrays({EEG: samples}, 256.0))

    def test_five_minutes_are_enough(self) -> None:
        samples = np.random.default_rng(0).normal(scale=20, size=256 * 300)
        assert YasaStager().stage(from_arrays({EEG: samples}, 256.0)).hypnogram.n_epochs == 10

    @pytest.mark.parametrize("value", [1e10, 1e30, -np.inf])
    def test_huge_values_end_in_a_result(self, simulated: Recording, value: float) -> None:
        staging = YasaStager().stage(changed(simulated, EEG, 3, 5, value))
        assert staging.hypnogram.n_epochs == len(NAMES)


class TestOptions:
    def test_a_montage_without_eeg_is_refused(self, simulated: Recording) -> None:
        eog = choose_derivations(simulated).eog[:1]
        with pytest.raises(MissingChannelError, match="no EEG among EOG"):
            YasaStager().vote(simulated, [eog])

    def test_an_impossible_age_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="age is 130"):
            YasaStager(age=130, male=True)

    def test_age_alone_is_not_used_and_that_is_said(self, simulated: Recording) -> None:
        staging = YasaStager(age=50).stage(simulated)
        assert staging.weights_sha256 == YasaStager().stage(simulated).weights_sha256
        assert any("only together" in warning for warning in staging.warnings)

    def test_the_result_says_what_made_it(self, simulated: Recording) -> None:
        from importlib.metadata import version

        staging = YasaStager().stage(simulated)
        assert staging.stager == f"yasa {version('yasa')}"
        assert len(staging.weights_sha256) == 64
        assert [d.name for d in staging.derivations] == [EEG, EOG, EMG]
        assert set(staging.timings_s) == {"read", "quality", "resample", "features", "classifier"}

    def test_threads_change_nothing(self, simulated: Recording) -> None:
        one, three = (YasaStager(threads=n).stage(simulated).hypnodensity for n in (1, 3))
        np.testing.assert_array_equal(one.probabilities, three.probabilities)


class TestVote:
    def test_each_montage_gets_a_voter_equal_to_staging_it_alone(self, simulated: Recording) -> None:
        eeg, eog, emg = choose_derivations(simulated).first
        ballot = YasaStager().vote(simulated, [(eeg,), (eeg, eog), (eeg, eog, emg)])
        assert [voter.name for voter in ballot.voters] == [EEG, f"{EEG} + {EOG}", f"{EEG} + {EOG} + {EMG}"]
        alone = YasaStager(eog=EOG, emg="none").stage(simulated)
        np.testing.assert_array_equal(ballot.voters[1].hypnodensity.probabilities, alone.hypnodensity.probabilities)
        assert len(ballot.weights_sha256.split(",")) == 3

    def test_weights_are_zero_where_nothing_is_known(self, simulated: Recording) -> None:
        recording = changed(simulated, EEG, 20, 25, np.nan)
        (voter,) = YasaStager().vote(recording, [choose_derivations(recording).first]).voters
        assert (voter.weight[20:25] == 0).all()
        assert (voter.weight[:18] > 0).all()
        assert voter.weight.max() <= 1

    def test_the_start_of_the_recording_is_kept(self, simulated: Recording) -> None:
        from datetime import datetime

        start = datetime(2001, 2, 3, 22, 30)
        recording = replace(simulated, start=start)
        assert YasaStager().stage(recording).hypnogram.start == start


def test_staging_imports_none_of_the_slow_packages(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from hypnograph.recording import Recording, Signal\n"
        "from hypnograph.stagers.yasa import YasaStager\n"
        "read = lambda a, b: np.random.default_rng(0).normal(scale=20, size=b - a).astype('f4')\n"
        "YasaStager().stage(Recording((Signal('C4-M1', 256.0, 'uV', 256 * 600, read),), 600.0))\n"
        "slow = {'yasa', 'lightgbm', 'mne', 'pandas', 'scipy', 'numba', 'sklearn', 'matplotlib', 'joblib', 'torch'}\n"
        "sys.exit(f'imported {sorted(slow & set(sys.modules))}' if slow & set(sys.modules) else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"HYPNOGRAPH_CACHE": str(tmp_path)}, timeout=60)


@pytest.mark.parametrize(
    ("name", "share"),
    [("C4-M1", 1), ("F3-M2", 1), ("Fpz-Cz", 1), ("Cz-M2", 1), ("Fp1-F7", 1), ("EEG", 1), ("O2-M1", 0.25),
     ("Pz-Oz", 0.25), ("T7-M2", 0.25), ("Oz-M2", 0.25), ("POz-M1", 0.25)],
)  # fmt: skip
def test_derivations_that_the_classifiers_were_not_trained_on_have_a_quarter_of_a_vote(name: str, share: float) -> None:
    samples = np.random.default_rng(0).normal(scale=20, size=100 * 600).astype(np.float32)
    recording = Recording((Signal("EEG", 100.0, "uV", len(samples), lambda a, b: samples[a:b]),), 600.0)
    voter = YasaStager().vote(recording, [[Derivation(ChannelKind.EEG, name, "EEG", None, "")]]).voters[0]
    np.testing.assert_allclose(voter.weight, share)
    np.testing.assert_allclose(voter.evidence, 1.0)
