"""WFDB records, in one and in several segments; the wfdb package is the oracle."""

from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.signal_files import read_recording
from hypnograph.signal_files.wfdb import _package

wfdb = _package()
# Writing with the package makes pandas warn of what pandas 4 will change.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.05, (3000, 2))


def write(folder: Path, name: str, samples: np.ndarray, **fields: object) -> None:
    defaults = {"fs": 100, "units": ["mV", "uV"], "sig_name": ["EEG C3-A2", "EOG"], "fmt": ["16", "16"]}
    wfdb.wrsamp(name, p_signal=samples, write_dir=str(folder), **{**defaults, **fields})


def test_a_record_is_read_as_the_wfdb_package_reads_it(tmp_path: Path, samples: np.ndarray, monkeypatch) -> None:
    write(tmp_path, "night", samples, base_date=date(2026, 11, 21), base_time=time(23, 1, 2))
    monkeypatch.setattr("hypnograph.signal_files.wfdb._BLOCK_FRAMES", 700)
    recording = read_recording(tmp_path / "night.hea")
    expected = wfdb.rdrecord(str(tmp_path / "night")).p_signal
    for i, signal in enumerate(recording.signals):
        np.testing.assert_allclose(signal.samples(), expected[:, i], rtol=1e-5)
        np.testing.assert_array_equal(signal.samples(5.03, 17.2), signal.samples()[503:1720])
    assert recording.labels == ("EEG C3-A2", "EOG")
    assert [signal.unit for signal in recording.signals] == ["mV", "uV"]
    assert (recording.start, recording.duration_s, recording.source) == (datetime(2026, 11, 21, 23, 1, 2), 30.0, "WFDB")


def test_the_signal_file_leads_to_its_header(tmp_path: Path, samples: np.ndarray) -> None:
    write(tmp_path, "night", samples)
    assert read_recording(tmp_path / "night.dat").labels == ("EEG C3-A2", "EOG")


def test_several_samples_a_frame_make_a_higher_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    signals = [rng.normal(0, 1, 200), rng.normal(0, 1, 50)]
    wfdb.wrsamp(
        "night", fs=10, units=["mV", "mV"], sig_name=["fast", "slow"], e_p_signal=signals, samps_per_frame=[4, 1],
        fmt=["16", "16"], write_dir=str(tmp_path),
    )  # fmt: skip
    recording = read_recording(tmp_path / "night.hea")
    assert [signal.sample_rate for signal in recording.signals] == [40.0, 10.0]
    np.testing.assert_allclose(recording.signals[0].samples(), signals[0], atol=1e-3)
    np.testing.assert_array_equal(recording.signals[0].samples(1.025, 2), recording.signals[0].samples()[41:80])


def test_empty_segments_and_absent_signals_are_nan(tmp_path: Path, samples: np.ndarray) -> None:
    write(tmp_path, "night_1", samples[:1000])
    only_eog = {"units": ["uV"], "sig_name": ["EOG"], "fmt": ["16"]}
    write(tmp_path, "night_2", samples[1500:2000, 1:], **only_eog)
    (tmp_path / "night_layout.hea").write_text(
        "night_layout 2 100 0\n~ 0 200/mV 16 0 0 0 0 EEG C3-A2\n~ 0 200/uV 16 0 0 0 0 EOG\n"
    )
    (tmp_path / "night.hea").write_text(
        "night/4 2 100 2000 23:00:00 21/11/2026\nnight_layout 0\nnight_1 1000\n~ 500\nnight_2 500\n"
    )
    recording = read_recording(tmp_path / "night.hea")
    eeg, eog = (signal.samples() for signal in recording.signals)
    expected = wfdb.rdrecord(str(tmp_path / "night"), m2s=True).p_signal
    np.testing.assert_allclose(eeg, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(eog, expected[:, 1], rtol=1e-5)
    assert np.isnan(eeg[1000:]).all()
    assert not np.isnan(eog[:1000]).any()
    assert recording.gaps == ((10.0, 15.0),)
    np.testing.assert_array_equal(recording.signals[1].samples(9, 16), eog[900:1600])


def test_a_time_without_a_date_is_kept_with_a_warning(tmp_path: Path, samples: np.ndarray) -> None:
    write(tmp_path, "night", samples, base_time=time(23, 0))
    recording = read_recording(tmp_path / "night.hea")
    assert recording.start == datetime(1985, 1, 1, 23)
    assert "no date" in recording.warnings[0]


def test_a_signal_file_that_is_cut_short_is_read_up_to_there(tmp_path: Path, samples: np.ndarray) -> None:
    write(tmp_path, "night", samples)
    data = (tmp_path / "night.dat").read_bytes()
    (tmp_path / "night.dat").write_bytes(data[: len(data) // 2])
    recording = read_recording(tmp_path / "night.hea")
    assert recording.signals[0].samples().shape == (1500,)
    assert "promises 3000 samples, the signal file holds 1500" in recording.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("100 3000", "0 3000"), "sample rate is 0"),
        (("night.dat", "other.dat"), "signal file other.dat is missing"),
        (("night 2", "night two"), "not a WFDB header that can be read"),
    ],
)
def test_a_damaged_header_is_refused_in_a_sentence(tmp_path: Path, samples: np.ndarray, change, message) -> None:
    write(tmp_path, "night", samples)
    text = (tmp_path / "night.hea").read_text()
    assert change[0] in text
    (tmp_path / "night.hea").write_text(text.replace(*change))
    with pytest.raises(UnreadableFileError, match=message):
        read_recording(tmp_path / "night.hea")


def test_a_header_without_its_signals_names_the_missing_file(shared_data: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"slp02a\.dat is missing"):
        read_recording(shared_data / "ecg" / "slpdb" / "slp02a.hea")
