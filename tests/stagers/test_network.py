"""A network as a stager. Its logits are checked elsewhere: here a network of a few lines says what must come out."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import hypnograph  # noqa: E402
from hypnograph.checkpoint import export, save  # noqa: E402
from hypnograph.errors import HypnographError, MissingChannelError, UnusableSignalError  # noqa: E402
from hypnograph.hypnogram import Hypnogram  # noqa: E402
from hypnograph.models import architectures  # noqa: E402
from hypnograph.montage import ChannelKind  # noqa: E402
from hypnograph.preprocess import InputSpec  # noqa: E402
from hypnograph.recording import Recording, Signal  # noqa: E402
from hypnograph.signal_files import read_recording  # noqa: E402
from hypnograph.simulate import simulate_recording  # noqa: E402
from hypnograph.stagers import create_stager  # noqa: E402
from hypnograph.stagers.network import Stager  # noqa: E402
from hypnograph.stages import W_NREM_REM  # noqa: E402
from tests.models.test_contract import small  # noqa: E402

NAMES = ["W"] * 4 + ["N1"] * 2 + ["N2"] * 8 + ["N3"] * 6 + ["REM"] * 4
EEG_100 = InputSpec((ChannelKind.EEG,), 100.0)


class Loudness(torch.nn.Module):
    """Says N3 where a channel is loud, W where it is quiet, and how sure it is by how loud."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        loud = x.std(-1).mean(2) - 10
        zero = torch.zeros_like(loud)
        return torch.stack([-loud, zero - 9, zero - 9, loud, zero - 9], dim=-1)


def recording_of(samples: dict[str, np.ndarray], rate: float = 100.0) -> Recording:
    signals = tuple(
        Signal(label, rate, "uV", len(values), lambda first, last, v=values: v[first:last].astype(np.float32))
        for label, values in samples.items()
    )
    return Recording(signals, duration_s=signals[0].duration_s)


def loud_then_quiet(n_epochs: int = 6, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n_epochs * 3000)
    return noise * np.repeat([20.0, 5.0], n_epochs * 1500)


@pytest.fixture(scope="module")
def simulated() -> Recording:
    return simulate_recording(Hypnogram.from_names(NAMES), seed=3)


class TestAnyModule:
    def test_a_module_and_what_it_takes_are_enough(self) -> None:
        staging = Stager(Loudness(), EEG_100).stage(recording_of({"C4-M1": loud_then_quiet()}))
        assert staging.hypnogram.names == ["N3"] * 3 + ["W"] * 3
        assert staging.stager == "Loudness"

    def test_without_what_it_takes_it_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="InputSpec"):
            Stager(Loudness())

    def test_its_stages_may_be_of_another_scheme(self) -> None:
        class Three(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.ones(*x.shape[:2], 1) * torch.tensor([0.0, 2.0, 1.0])

        stager = Stager(Three(), EEG_100, scheme=W_NREM_REM)
        assert stager.stage(recording_of({"C4-M1": loud_then_quiet()})).hypnogram.names == ["NREM"] * 6
        with pytest.raises(HypnographError, match="5 stages"):
            Stager(Three(), EEG_100).stage(recording_of({"C4-M1": loud_then_quiet()}))

    def test_probabilities_are_the_softmax_of_its_logits(self) -> None:
        signal = loud_then_quiet()
        logits = Loudness()(torch.from_numpy(signal.reshape(1, 6, 1, 3000)))[0]
        staging = Stager(Loudness(), EEG_100).stage(recording_of({"C4-M1": signal}))
        np.testing.assert_allclose(staging.voters[0].hypnodensity.probabilities, logits.softmax(-1), atol=1e-5)


class TestVotes:
    def test_all_derivations_vote(self, simulated: Recording) -> None:
        staging = Stager(small("usleep")).stage(simulated)
        eeg = [f"{name}" for name in ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1")]
        expected = {f"{one} + {eye}" for one in eeg for eye in ("E1-M2", "E2-M2")}
        assert {voter.name for voter in staging.voters} == expected

    def test_the_result_is_their_mean_weighted_by_quality(self) -> None:
        good, other = loud_then_quiet(), np.roll(loud_then_quiet(seed=1), 9000)
        staging = Stager(Loudness(), EEG_100).stage(recording_of({"C4-M1": good, "C3-M2": other}))
        votes = [voter.hypnodensity.probabilities for voter in staging.voters]
        weights = [voter.weight for voter in staging.voters]
        expected = np.average(votes, axis=0, weights=np.repeat(np.stack(weights)[..., None], 5, axis=-1))
        evidence = np.max([voter.evidence for voter in staging.voters], axis=0)[:, None]
        np.testing.assert_allclose(
            staging.hypnodensity.probabilities, evidence * expected + (1 - evidence) / 5, atol=1e-9
        )

    def test_one_voter_can_be_asked_for(self, simulated: Recording) -> None:
        assert len(Stager(small("usleep"), max_voters=1).stage(simulated).voters) == 1

    def test_a_network_of_two_eeg_never_gets_one_twice(self) -> None:
        spec = InputSpec((ChannelKind.EEG, ChannelKind.EEG), 100.0)
        staging = Stager(Loudness(), spec).stage(
            recording_of({"C4-M1": loud_then_quiet(), "C3-M2": loud_then_quiet(seed=1)})
        )
        assert {voter.name for voter in staging.voters} == {"C4-M1 + C3-M2", "C3-M2 + C4-M1"}

    def test_an_unusable_epoch_is_unscored_and_keeps_its_place(self) -> None:
        signal = loud_then_quiet()
        signal[3000:6000] = 0.0
        staging = Stager(Loudness(), EEG_100).stage(recording_of({"C4-M1": signal}))
        assert staging.hypnogram.names == ["N3", "UNSCORED", "N3"] + ["W"] * 3

    def test_a_lost_eog_does_not_silence_the_eeg(self) -> None:
        spec = InputSpec((ChannelKind.EEG, ChannelKind.EOG), 100.0)
        eog = loud_then_quiet(seed=2)
        eog[3000:6000] = 0.0
        staging = Stager(Loudness(), spec).stage(recording_of({"C4-M1": loud_then_quiet(), "E1-M2": eog}))
        assert staging.hypnogram.scored.all()


class TestWhatIsMissing:
    def test_a_missing_kind_is_named_with_what_there_is(self) -> None:
        with pytest.raises(MissingChannelError, match=r"no EOG.*C4-M1"):
            Stager(small("usleep")).stage(recording_of({"C4-M1": loud_then_quiet()}))

    def test_an_ecg_network_needs_an_ecg_and_no_eeg(self, simulated: Recording) -> None:
        heart = replace(simulated, signals=tuple(s for s in simulated.signals if s.label == "ECG"))
        staging = Stager(small("ecg-utime")).stage(heart)
        assert [d.kind for d in staging.derivations] == [ChannelKind.ECG]
        assert staging.hypnogram.scheme.name == "W-light-deep-REM"
        with pytest.raises(MissingChannelError, match="no ECG"):
            Stager(small("ecg-utime")).stage(recording_of({"C4-M1": loud_then_quiet()}))

    def test_less_than_an_epoch_is_refused(self) -> None:
        with pytest.raises(UnusableSignalError, match="one epoch has 30 s"):
            Stager(Loudness(), EEG_100).stage(recording_of({"C4-M1": loud_then_quiet()[:2000]}))

    def test_age_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="age"):
            create_stager("ensemble", member="network", model=small("usleep"), age=40.0, male=True)

    def test_without_a_model_the_stager_says_what_it_needs(self) -> None:
        with pytest.raises(HypnographError, match="--model"):
            create_stager("network")


class TestResolution:
    def test_a_finer_hypnogram_covers_the_same_time(self, simulated: Recording) -> None:
        coarse = Stager(small("usleep")).stage(simulated)
        fine = Stager(small("usleep", sub_epochs=6)).stage(simulated)
        assert fine.hypnogram.epoch_s == 5
        assert fine.hypnogram.duration_s == coarse.hypnogram.duration_s
        assert fine.hypnodensity.n_epochs == 6 * len(NAMES)

    def test_it_goes_through_agreement_statistics_files_and_report(self, simulated: Recording, tmp_path: Path) -> None:
        staging = Stager(small("usleep", sub_epochs=6)).stage(simulated)
        reference = Hypnogram.from_names(NAMES).align(None, len(staging.hypnogram), staging.hypnogram.epoch_s)
        assert 0 <= hypnograph.agreement(reference, staging.hypnogram).accuracy <= 1
        statistics = hypnograph.sleep_statistics(staging.hypnogram)
        assert statistics.tib_min == len(NAMES) / 2
        for suffix in ("csv", "tsv", "edf", "json", "txt", "ids"):
            path = tmp_path / f"fine.{suffix}"
            hypnograph.write_hypnogram(staging.hypnogram, path, hypnodensity=staging.hypnodensity)
            again = hypnograph.read_hypnogram(path)
            if suffix == "txt":  # one stage a line: the file says no length
                assert len(again) == len(staging.hypnogram)
                continue
            assert again.resample(5.0).names == staging.hypnogram.names
        for suffix in ("html", "pdf"):
            hypnograph.write_report(staging, tmp_path / f"fine.{suffix}", title="fine", recording=simulated)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """Return a network and its exported file; each is exported once."""
    made = {}

    def of(name: str, **options):
        key = (name, *sorted(options.items()))
        if key not in made:
            folder, model = tmp_path_factory.mktemp("exported"), small(name, **options)
            made[key] = model, export(save(model, folder / "c"), folder / "model.onnx")
        return made[key]

    return of


@pytest.mark.parametrize("name", list(architectures()))
def test_each_network_stages_a_simulated_night_from_an_exported_file(name: str, simulated: Recording, exported) -> None:
    model, path = exported(name)
    by_file, by_torch = hypnograph.stage(simulated, model=path), hypnograph.stage(simulated, model=model)
    np.testing.assert_allclose(by_file.hypnodensity.probabilities, by_torch.hypnodensity.probabilities, atol=1e-4)
    assert len(by_file.hypnogram) == len(NAMES)
    assert by_file.weights_sha256


@pytest.mark.parametrize("name", list(architectures()))
def test_each_network_stages_the_real_night_from_an_exported_file(name: str, shared_data: Path, exported) -> None:
    """The night has one EEG: U-Sleep is made for one channel, and the network for the ECG is given the EEG as one."""
    recording = read_recording(shared_data / "eeg" / "ucddb018.edf")
    _, path = exported(name, **({"n_channels": 1} if name == "usleep" else {}))
    derivation = {"ecg": recording.labels[0]} if name == "ecg-utime" else {}
    assert len(Stager(path, **derivation).stage(recording).hypnogram) == 822


_WITHOUT_TORCH = """
import sys
import hypnograph
staging = hypnograph.stage(sys.argv[1], model=sys.argv[2])
print(len(staging.hypnogram), *sorted({name.split(".")[0] for name in sys.modules} & {"torch", "onnx", "mne", "yasa"}))
"""


def test_staging_by_an_exported_file_imports_no_torch(tmp_path: Path) -> None:
    from tests.test_batch import write_night

    night = write_night(tmp_path / "night.edf", labels=("C4-M1", "E1-M2"))
    path = export(save(small("usleep"), tmp_path / "c"), tmp_path / "model.onnx")
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(night), str(path)], capture_output=True, text=True, check=True
    )
    n_epochs, *imported = run.stdout.split()
    assert int(n_epochs) > 0
    assert imported == []
