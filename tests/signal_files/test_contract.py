"""What every format of the folder keeps, and every real file at hand."""

import hashlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.signal_files import read_recording, recording_suffixes, signal_formats

FORMATS = sorted(signal_formats().items())


@pytest.mark.parametrize(("name", "module"), FORMATS)
def test_a_format_has_the_names_that_the_registry_states(name, module) -> None:
    assert module.NAME
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in module.SUFFIXES)
    assert list(inspect.signature(module.recognises).parameters) == ["path", "head"]
    assert list(inspect.signature(module.read).parameters) == ["path"]
    assert module.__doc__
    if hasattr(module, "write"):
        assert list(inspect.signature(module.write).parameters) == ["recording", "path"]


@pytest.mark.parametrize(("name", "module"), FORMATS)
@pytest.mark.parametrize("content", [b"", b"\0" * 3000, b"text\n" * 600, bytes(range(256)) * 12])
def test_a_format_refuses_what_is_not_its_own_in_one_line(name, module, content, tmp_path: Path) -> None:
    path = tmp_path / f"file{module.SUFFIXES[0]}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"file\.\w+: .+") as caught:
        module.read(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_format_lists_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "night.xyz").write_text("?")
    with pytest.raises(UnreadableFileError, match=r"night\.xyz: not a recording in a known format\. Known are EDF"):
        read_recording(tmp_path / "night.xyz")


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_recording(tmp_path / "night.edf")


def test_suffixes_of_recordings_are_those_of_the_formats() -> None:
    assert {".edf", ".bdf", ".hea", ".vhdr", ".h5", ".npz"} <= set(recording_suffixes())


def test_reading_an_edf_imports_no_heavy_library(tmp_path: Path) -> None:
    from tests.signal_files.edf_file import edf_bytes, noise

    (tmp_path / "night.edf").write_bytes(edf_bytes([noise()]))
    code = (
        "import sys; from hypnograph.signal_files import read_recording; "
        f"read_recording({str(tmp_path / 'night.edf')!r}).signals[0].samples(); "
        "print([m for m in ('mne', 'wfdb', 'h5py', 'pandas', 'scipy', 'edfio') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ── every real file at hand ──

REFUSED = {
    "SC4001E0-PSG.wav": "a WAV file names neither its signals nor their units",
    "test.vmrk": "not a recording in a known format",
}


def test_every_signal_file_at_hand_is_read_or_refused_in_one_sentence_and_stays_as_it_is(shared_data: Path) -> None:
    n_read = 0
    for path in [*sorted((shared_data / "fixtures").rglob("*")), shared_data / "eeg" / "ucddb018.edf"]:
        if not path.is_file() or path.name == "LICENSE" or path.suffix == ".csv":
            continue
        before = hashlib.sha256(path.read_bytes()).digest()
        if path.name in REFUSED:
            with pytest.raises(HypnographError, match=REFUSED[path.name]):
                read_recording(path)
        else:
            recording = read_recording(path)
            assert recording.signals or recording.annotations, path.name
            for signal in recording.signals:
                samples = signal.samples()
                assert samples.shape == (signal.n_samples,), path.name
                assert samples.dtype == np.float32
                assert np.isfinite(samples).all(), path.name
                assert signal.n_samples == pytest.approx(recording.duration_s * signal.sample_rate)
            n_read += 1
        assert hashlib.sha256(path.read_bytes()).digest() == before
    assert n_read > 60
