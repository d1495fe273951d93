"""PSGs in HDF5: the layout of U-Time's extraction, and that of the Dreem Open Datasets."""

from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.signal_files import read_recording


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(7).normal(0, 20, (2, 1280)).astype(np.float32)


def test_a_file_of_utime_is_read_in_the_order_of_its_channel_index(tmp_path: Path, samples: np.ndarray) -> None:
    with h5py.File(tmp_path / "night.h5", "w") as file:
        file.attrs["sample_rate"] = 128
        file.attrs["date"] = 1_000_000_000
        for index, (label, values) in enumerate(zip(["EOG", "C3-M2"], samples, strict=True)):
            array = file.create_dataset(f"channels/{label}", data=values, compression="gzip")
            array.attrs["channel_index"] = index
    recording = read_recording(tmp_path / "night.h5")
    assert recording.labels == ("EOG", "C3-M2")
    assert recording.start == datetime(2001, 9, 9, 1, 46, 40)
    assert recording.duration_s == 10.0
    np.testing.assert_array_equal(recording.signals[1].samples(), samples[1])
    np.testing.assert_array_equal(recording.signals[0].samples(1.5, 2), samples[0, 192:256])


def test_rates_and_units_are_inherited_from_the_groups_of_dod(tmp_path: Path, samples: np.ndarray) -> None:
    with h5py.File(tmp_path / "night.h5", "w") as file:
        file["signals/eeg/C3_M2"], file["signals/emg/EMG"] = samples
        file["signals/eeg"].attrs.update({"fs": 250, "unit": "µV"})
        file["signals/emg"].attrs.update({"fs": 125, "unit": "mV"})
        file["hypnogram"] = np.zeros(2, int)
    recording = read_recording(tmp_path / "night.h5")
    assert [(s.label, s.sample_rate, s.unit) for s in recording.signals] == [("C3_M2", 250, "µV"), ("EMG", 125, "mV")]
    assert recording.start is None


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"x": np.ones(3)}, "without a group channels or signals or psg; it has: x"),
        ({"channels/C3": np.ones(3)}, r"3 samples at nan Hz \(attribute sample_rate or fs\)"),
        ({"psg/names": np.array([b"a"])}, "holds no arrays of numbers"),
    ],
)
def test_another_layout_is_refused_in_a_sentence(tmp_path: Path, layout, message) -> None:
    with h5py.File(tmp_path / "night.h5", "w") as file:
        for name, values in layout.items():
            file[name] = values
    with pytest.raises(UnreadableFileError, match=message):
        read_recording(tmp_path / "night.h5")


def test_an_array_longer_than_its_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "night.h5", "w") as file:
        file.attrs["sample_rate"] = 128
        file.create_dataset("channels/C3", (10**9,), "f4", chunks=(1000,), compression="gzip")
    with pytest.raises(UnreadableFileError, match="should have 4000000000 bytes, the file holds 0"):
        read_recording(tmp_path / "night.h5")


def test_links_to_other_files_are_not_followed(tmp_path: Path, samples: np.ndarray) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = samples[0]
    with h5py.File(tmp_path / "night.h5", "w") as file:
        file.attrs["sample_rate"] = 128
        file["channels/C3"] = samples[0]
        file["channels/linked"] = h5py.ExternalLink("secret.h5", "x")
    assert read_recording(tmp_path / "night.h5").labels == ("C3",)


def test_a_file_cut_short_is_refused(tmp_path: Path, samples: np.ndarray) -> None:
    with h5py.File(tmp_path / "night.h5", "w") as file:
        file["channels/C3"] = samples[0]
    content = (tmp_path / "night.h5").read_bytes()
    (tmp_path / "night.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableFileError, match="damaged HDF5"):
        read_recording(tmp_path / "night.h5")
