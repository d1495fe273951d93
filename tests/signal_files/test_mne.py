"""Formats that MNE reads, and MNE's objects in and out."""

from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.recording import Annotation
from hypnograph.signal_files import read_recording
from hypnograph.signal_files.mne import from_raw, to_annotations
from hypnograph.stages import W_NREM_REM


@pytest.fixture
def raw() -> mne.io.BaseRaw:
    samples = np.random.default_rng(6).normal(0, 20e-6, (3, 6000))
    raw = mne.io.RawArray(
        samples, mne.create_info(["C3", "EOG L", "SpO2"], 100, ["eeg", "eog", "misc"]), verbose="ERROR"
    )
    raw.set_meas_date(datetime(2026, 11, 21, 23, 0, 0, 250_000, tzinfo=UTC))
    return raw.set_annotations(mne.Annotations([30.5], [2.0], ["Arousal"]))


def test_a_brainvision_recording_equals_that_of_mne(shared_data: Path) -> None:
    path = shared_data / "fixtures" / "mne" / "test.vhdr"
    recording, raw = read_recording(path), mne.io.read_raw_brainvision(path, verbose="ERROR")
    assert list(recording.labels) == raw.ch_names
    for i in (0, 15, 31):
        np.testing.assert_allclose(recording.signals[i].samples(), raw.get_data(picks=[i])[0], rtol=1e-6)
    np.testing.assert_array_equal(recording.signals[0].samples(1, 2), recording.signals[0].samples()[1000:2000])
    assert recording.start == raw.info["meas_date"].replace(tzinfo=None)
    assert [a.text for a in recording.annotations] == list(raw.annotations.description)
    assert recording.signals[0].unit == "V"
    assert read_recording(path.with_suffix(".eeg")).labels == recording.labels


def test_a_cropped_fif_keeps_the_times_of_its_texts_and_its_start(tmp_path: Path, raw: mne.io.BaseRaw) -> None:
    raw.crop(10.0).save(tmp_path / "night_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "night_raw.fif")
    assert recording.start == datetime(2026, 11, 21, 23, 0, 10, 250_000)
    assert recording.annotations == (Annotation(20.5, 2.0, "Arousal"),)
    assert recording.duration_s == 50.0
    assert recording.source == "MNE FIF"


def test_a_raw_in_memory_becomes_a_recording(raw: mne.io.BaseRaw) -> None:
    recording = from_raw(raw)
    assert recording.labels == ("C3", "EOG L", "SpO2")
    assert [signal.unit for signal in recording.signals] == ["V", "V", ""]
    assert recording.start == datetime(2026, 11, 21, 23, 0, 0, 250_000)
    assert recording.annotations == (Annotation(30.5, 2.0, "Arousal"),)
    np.testing.assert_array_equal(recording.signals[1].samples(), raw.get_data()[1].astype(np.float32))


def test_stretches_that_mne_skipped_are_gaps(raw: mne.io.BaseRaw) -> None:
    raw.set_annotations(mne.Annotations([10.0], [5.0], ["BAD_ACQ_SKIP"]))
    recording = from_raw(raw)
    assert recording.gaps == ((10.0, 15.0),)
    missing = np.isnan(recording.signals[0].samples(8, 20))
    assert missing[200:700].all()
    assert missing.sum() == 500


def test_a_hypnogram_becomes_annotations_in_the_words_of_edf_plus(raw: mne.io.BaseRaw) -> None:
    hypnogram = Hypnogram.from_names(["W", "W", "N1", "N2", "N3", "REM", "UNSCORED"], start=datetime(2026, 11, 21, 23))
    annotations = to_annotations(hypnogram)
    assert list(annotations.description) == [f"Sleep stage {s}" for s in ("W", "N1", "N2", "N3", "R", "?")]
    np.testing.assert_array_equal(annotations.onset, [0, 60, 90, 120, 150, 180])
    np.testing.assert_array_equal(annotations.duration, [60, 30, 30, 30, 30, 30])
    assert annotations.orig_time == datetime(2026, 11, 21, 23, tzinfo=UTC)
    assert list(to_annotations(hypnogram.merge(W_NREM_REM)).description)[1] == "Sleep stage NREM"
    assert to_annotations(Hypnogram.from_names(["W"])).orig_time is None


@pytest.mark.parametrize("name", ["night.vhdr", "night_raw.fif", "night.set", "night.gdf", "night.cnt"])
def test_what_mne_cannot_read_is_refused_with_its_reason_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(256)) * 10)
    with pytest.raises(UnreadableFileError, match=f"{name}: MNE cannot read it: .+") as caught:
        read_recording(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_data_file_is_named(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "test.vhdr").write_bytes((shared_data / "fixtures" / "mne" / "test.vhdr").read_bytes())
    with pytest.raises(UnreadableFileError, match=r"test\.(eeg|vmrk)"):
        read_recording(tmp_path / "test.vhdr")
