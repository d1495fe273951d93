"""``hypnograph channels``."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from edfio import Edf, EdfSignal, Patient

from hypnograph.cli import hypnograph
from hypnograph.errors import MissingChannelError

LABELS = {"C3": 128, "C4": 128, "A1": 128, "A2": 128, "Chin1": 128, "Chin2": 128, "[O2] Sat": 1, "EMG submental": 1}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["channels", *map(str, arguments)])


@pytest.fixture
def night(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    signals = [
        EdfSignal(
            random.normal(0, 15, rate * 60), rate, label=label, physical_dimension="uV", physical_range=(-200, 200)
        )
        for label, rate in LABELS.items()
    ]
    path = tmp_path / "night.edf"
    Edf(signals, patient=Patient(code="SECRETCODE", name="Jane_Doe")).write(path)
    return path


class TestTable:
    def test_shows_each_signal_with_its_use_and_the_reason(self, night: Path) -> None:
        printed = run(night).stdout
        assert all(label in printed for label in LABELS)
        for text in ("night.edf: EDF", "0:01:00 from", "C4 minus A1, the opposite mastoid", "reference of C4-M1"):
            assert text in printed
        assert "1 Hz is too slow" in printed
        assert "EEG, best first: C4-M1, C3-M2" in printed
        assert "EMG: Chin1-Chin2" in printed

    def test_never_shows_the_patient(self, night: Path) -> None:
        for arguments in ([], ["--json"], ["--quality"]):
            printed = run(night, *arguments).output
            assert "SECRET" not in printed
            assert "Doe" not in printed

    def test_quality_tells_amplitude_and_usable_epochs(self, night: Path) -> None:
        assert "2 of 2 epochs usable" in run(night, "--quality").stdout
        assert "inter-quartile range 28" in run(night, "--quality").stdout

    def test_a_choice_is_followed(self, night: Path) -> None:
        printed = run(night, "--eeg", "C4-C3", "--emg", "none").stdout
        assert "chosen with --eeg C4-C3: C4 minus C3" in printed
        assert "EEG: C4-C3" in printed
        assert "EMG:" not in printed

    def test_a_choice_that_is_not_there_is_an_error_that_lists_what_is(self, night: Path) -> None:
        error = run(night, "--eeg", "F4").exception
        assert isinstance(error, MissingChannelError)
        assert "recording has: C3, C4, A1" in str(error)

    def test_help_has_an_example(self) -> None:
        assert "hypnograph channels night.edf" in run("--help").stdout


class TestJson:
    def test_has_signals_derivations_and_clock(self, night: Path) -> None:
        found = json.loads(run(night, "--json", "--quality").stdout)
        assert (found["file"], found["duration_s"], found["gaps"]) == ("night.edf", 60, [])
        assert [row["label"] for row in found["signals"]] == list(LABELS)
        first = found["derivations"][0]
        assert (first["name"], first["signal"], first["reference"], first["epochs"]) == ("C4-M1", "C4", "A1", 2)

    def test_a_file_without_eeg_is_described_all_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "ecg.edf"
        Edf([EdfSignal(np.sin(np.arange(600.0)), 10, label="ECG", physical_dimension="mV")]).write(path)
        result = run(path, "--json")
        assert result.exit_code == 0
        assert "no EEG that can be staged" in json.loads(result.stdout)["problem"]
        assert "Nothing to stage: no EEG" in run(path).stdout


def test_every_recording_of_the_fixtures_is_described(shared_data: Path) -> None:
    files = [path for suffix in ("edf", "bdf") for path in sorted((shared_data / "fixtures").rglob(f"*.{suffix}"))]
    assert len(files) > 40
    for path in files:
        assert run(path).exit_code == 0, path.name
