"""Nights prepared by DeepSleepNet and its successors."""

import io
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.signal_files import read_recording


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(8).normal(0, 20, (5, 3000)).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 3000), (5, 3000, 1)])
def test_epochs_become_one_signal_in_microvolts(tmp_path: Path, x: np.ndarray, shape) -> None:
    headers = np.array({"startdate": "never unpickled"}, dtype=object)
    np.savez(
        tmp_path / "SC4001E0.npz", x=x.reshape(shape), y=np.zeros(5, int), fs=100.0, ch_label="EEG Fpz-Cz",
        header_raw=headers, start_datetime="2026-11-21T23:00:00",
    )  # fmt: skip
    recording = read_recording(tmp_path / "SC4001E0.npz")
    (signal,) = recording.signals
    assert (signal.label, signal.sample_rate, signal.unit, recording.duration_s) == ("EEG Fpz-Cz", 100.0, "uV", 150.0)
    np.testing.assert_array_equal(signal.samples(), x.ravel())
    np.testing.assert_array_equal(signal.samples(29, 31), x.ravel()[2900:3100])
    assert recording.start == datetime(2026, 11, 21, 23)
    assert "epochs may have been removed" in recording.warnings[0]


def test_several_channels_are_several_signals(tmp_path: Path, x: np.ndarray) -> None:
    np.savez_compressed(tmp_path / "n.npz", x=np.stack([x, -x], axis=2), fs=[100], ch_label=["C3", "EOG"])
    recording = read_recording(tmp_path / "n.npz")
    assert recording.labels == ("C3", "EOG")
    np.testing.assert_array_equal(recording.signals[1].samples(), -x.ravel())


def test_without_fs_an_epoch_lasts_30_seconds(tmp_path: Path, x: np.ndarray) -> None:
    np.savez(tmp_path / "n.npz", x=x)
    recording = read_recording(tmp_path / "n.npz")
    assert recording.signals[0].sample_rate == 100.0
    assert "no fs in the file" in recording.warnings[1]


def test_a_pickled_start_or_label_is_passed_over(tmp_path: Path, x: np.ndarray) -> None:
    when = np.array(datetime(2026, 11, 21), dtype=object)
    np.savez(tmp_path / "n.npz", x=x, fs=100, start_datetime=when, ch_label=np.array("C3", dtype=object))
    recording = read_recording(tmp_path / "n.npz")
    assert recording.start is None
    assert recording.labels == ("x",)


def test_a_shape_that_the_file_cannot_hold_is_refused_before_allocation(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 3000)})
    with zipfile.ZipFile(tmp_path / "n.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(100))
    with pytest.raises(UnreadableFileError, match=r"shape \(1000000000, 3000\) needs 12000000000000 bytes"):
        read_recording(tmp_path / "n.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.ones(3)}, "has an array x of epochs; this has: features"),
        ({"x": np.ones(3)}, r"x has shape \(3,\)"),
        ({"x": np.array([[None]])}, "x has shape .* and type object"),
        ({"x": np.ones((2, 3000)), "fs": 0}, "fs is"),
        ({"x": np.ones((2, 3000)), "fs": "fast"}, "fs is"),
    ],
)
def test_other_contents_are_refused_in_a_sentence(tmp_path: Path, arrays, message) -> None:
    np.savez(tmp_path / "n.npz", **arrays)
    with pytest.raises(UnreadableFileError, match=message):
        read_recording(tmp_path / "n.npz")
