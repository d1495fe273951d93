"""Files appear whole or not at all, and nothing is replaced unasked."""

from pathlib import Path

import pytest

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.whole_file import check_output, whole_file


def write_half(path: Path) -> None:
    with whole_file(path) as partial:
        partial.write_text("half of the n")
        raise OSError("disk full")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "night.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write_half(path)
    assert [p.name for p in tmp_path.iterdir()] == ["night.txt"]
    assert path.read_text() == "old"


def test_a_whole_file_takes_the_name_and_can_be_read_by_others(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new" / "night.txt") as partial:
        partial.write_text("whole")
    (tmp_path / "plain").write_text("")
    written = tmp_path / "new" / "night.txt"
    assert written.read_text() == "whole"
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_input_is_never_overwritten_by_whatever_name(tmp_path: Path) -> None:
    recording = tmp_path / "night.edf"
    recording.write_bytes(b"samples")
    with pytest.raises(HypnographError, match="never overwritten"):
        check_output(tmp_path / "." / "night.edf", inputs=(None, recording), overwrite=True)


def test_a_scoring_does_not_replace_a_recording_unasked(tmp_path: Path) -> None:
    recording = tmp_path / "night.edf"
    recording.write_bytes(b"samples")
    with pytest.raises(HypnographError, match="overwrite=True"):
        write_hypnogram(Hypnogram.from_names(["W", "N1"]), recording)
    assert recording.read_bytes() == b"samples"
    write_hypnogram(Hypnogram.from_names(["W", "N1"]), recording, overwrite=True)
    assert recording.read_bytes() != b"samples"
