"""`hypnograph stage` as a person uses it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from tests.test_batch import write_night


def stage(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["stage", *map(str, arguments)])


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return write_night(tmp_path / "night.edf", labels=("C4-M1", "C3-M2", "E1-M2"))


def test_one_recording_shows_hypnogram_statistics_derivations_and_files(night: Path, tmp_path: Path) -> None:
    result = stage(night, "--out", tmp_path / "out", "--to", "csv,html")
    assert result.exit_code == 0, result.output
    for text in ("TST", "│", "C4-M1", "E1-M2", "night-hypnogram.csv", "night-report.html"):
        assert text in result.output


def test_a_folder_gets_a_line_for_each_recording_and_a_summary(night: Path, tmp_path: Path) -> None:
    write_night(tmp_path / "short.edf", minutes=2)
    result = stage(tmp_path, "--out", tmp_path / "out", "--to", "txt")
    assert result.exit_code == 1
    assert "✓ night.edf" in result.output
    assert "✗ short.edf" in result.output
    assert "5 min" in result.output
    assert "1 staged, 0 skipped, 1 failed" in result.output


def test_resume_skips_finished_recordings(night: Path, tmp_path: Path) -> None:
    write_night(tmp_path / "second.edf")
    for expected in ("2 staged, 0 skipped", "0 staged, 2 skipped"):
        result = stage(tmp_path, "--out", tmp_path / "out", "--to", "txt", "--resume")
        assert expected in result.output
        assert result.exit_code == 0


def test_an_unknown_format_is_named_with_those_that_exist(night: Path) -> None:
    result = stage(night, "--to", "docx")
    assert result.exit_code == 2
    assert "'docx' is not one of edf, tsv" in result.output


def test_overrides_reach_the_stager(night: Path, tmp_path: Path) -> None:
    result = stage(night, "--out", tmp_path, "--to", "txt", "--eeg", "C3-M2", "--eog", "none")
    assert result.exit_code == 0, result.output
    assert "C4-M1" not in result.output
    assert "E1-M2" not in result.output


def test_an_override_that_is_not_there_lists_what_is(night: Path, tmp_path: Path) -> None:
    result = stage(night, "--out", tmp_path, "--to", "txt", "--eeg", "Fz-M1")
    assert result.exit_code == 1
    assert "C4-M1" in result.output


def test_age_without_sex_is_refused(night: Path) -> None:
    assert "give both or neither" in stage(night, "--age", 40).output


def test_quiet_prints_nothing_when_all_is_well(night: Path, tmp_path: Path) -> None:
    assert stage(night, "--out", tmp_path / "out", "--to", "txt", "--quiet").output == ""


def test_the_real_night_reaches_kappa_080(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: the expert's scoring of ucddb018 (UCD Sleep Apnea Database); the yasa package itself reaches 0.816."""
    from hypnograph.evaluation.agreement import agreement
    from hypnograph.hypnogram_files import read_hypnogram

    recording = shared_data / "eeg" / "ucddb018.edf"
    before = recording.read_bytes()
    assert stage(recording, "--out", tmp_path, "--to", "json").exit_code == 0
    reference = read_hypnogram(shared_data / "eeg" / "ucddb018.txt")
    predicted = read_hypnogram(tmp_path / "ucddb018-hypnogram.json")
    assert agreement(reference, predicted.align(None, len(reference))).cohen_kappa >= 0.80
    assert recording.read_bytes() == before
