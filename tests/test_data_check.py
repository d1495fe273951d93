"""All problems of a data folder at once, on small nights that are wrong in one way each."""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hypnograph import datasets
from hypnograph.channel_labels import ChannelKind
from hypnograph.data_check import DataCheck, check_data, check_night
from hypnograph.datasets import Night
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files.edf_annotations import write as write_annotations
from hypnograph.recording import Recording, Signal
from hypnograph.signal_files.edf import write as write_edf
from tests.signal_files.edf_file import Made, edf_bytes

START = datetime(2020, 3, 1, 22, 0, 0)
STAGES = ("W", "W", "N1", "N2", "N2", "N2", "N3", "N3", "REM", "UNSCORED")


def write_psg(
    path: Path,
    labels: tuple[str, ...] = ("EEG C4-M1",),
    *,
    n_epochs: int = 10,
    sample_rate: float = 64.0,
    spread_uv: float = 20.0,
) -> None:
    n_samples = round(n_epochs * 30 * sample_rate)
    # Each file has samples of its own, as each night has.
    noise = np.random.default_rng([*path.name.encode()]).normal(0, spread_uv, n_samples).astype(np.float32)
    signals = tuple(
        Signal(label, sample_rate, "uV", n_samples, lambda first, past_last: noise[first:past_last]) for label in labels
    )
    write_edf(Recording(signals, n_epochs * 30.0, start=START), path)


def write_scoring(path: Path, stages: tuple[str, ...] = STAGES, *, start=START, epoch_s: float = 30.0) -> None:
    write_annotations(path, Hypnogram.from_names(list(stages), start=start, epoch_s=epoch_s), None)


def write_night(folder: Path, name: str, **psg) -> None:
    write_psg(folder / f"{name}.edf", **psg)
    write_scoring(folder / f"{name}-hypnogram.edf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good night."""
    write_night(tmp_path, "good")
    return tmp_path


def problems(check: DataCheck) -> dict[str, str]:
    """What is wrong, by the name of the file; a file has one problem here."""
    found = {problem.path.name: problem.what for problem in check.problems}
    assert len(found) == len(check.problems)
    return found


class TestGoodNights:
    def test_are_counted_without_problems(self, folder: Path) -> None:
        write_night(folder, "other")
        check = check_data("folder", folder)
        assert check.problems == ()
        assert (check.n_nights, check.n_subjects, check.n_scorings) == (2, 2, 2)
        # Oracle: ten epochs of 30 s a night; STAGES counted by hand.
        assert check.hours == pytest.approx(2 * 300 / 3600)
        assert check.stages == {"W": 4, "N1": 2, "N2": 6, "N3": 4, "REM": 2, "UNSCORED": 2}
        assert check.n_nights_without == {"W": 0, "N1": 0, "N2": 0, "N3": 0, "REM": 0}

    def test_a_night_without_rem_is_counted_and_is_no_problem(self, folder: Path) -> None:
        write_psg(folder / "short.edf")
        write_scoring(folder / "short-hypnogram.edf", ("W", "N1", "N2", "N3"))
        check = check_data("folder", folder)
        assert check.problems == ()
        assert check.n_nights_without["REM"] == 1

    def test_several_processes_find_the_same(self, folder: Path) -> None:
        write_night(folder, "other", labels=("SpO2",))
        assert check_data("folder", folder, jobs=2) == check_data("folder", folder)

    def test_a_scoring_that_is_unscored_beyond_the_recording_fits(self, folder: Path) -> None:
        # Sleep-EDF's hypnograms go on as "?" to the 24th hour.
        write_scoring(folder / "good-hypnogram.edf", (*STAGES, *["UNSCORED"] * 100))
        assert check_data("folder", folder).problems == ()

    def test_nothing_in_the_folder_is_changed(self, folder: Path) -> None:
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
        check_data("folder", folder)
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before

    def test_the_progress_counts_nights(self, folder: Path) -> None:
        write_night(folder, "other")
        told: list[tuple[int, int]] = []
        check_data("folder", folder, progress=lambda *both: told.append(both))
        assert told == [(1, 2), (2, 2)]


class TestProblems:
    def test_all_are_found_at_once(self, folder: Path) -> None:
        write_psg(folder / "alone.edf")
        write_night(folder, "broken")
        (folder / "broken.edf").write_bytes(b"not a recording")
        write_night(folder, "deaf", labels=("SpO2", "EMG chin"))
        write_night(folder, "slow", sample_rate=20.0)
        found = problems(check_data("folder", folder))
        assert list(found) == ["alone.edf", "broken.edf", "deaf.edf", "slow.edf"]
        assert "no scoring" in found["alone.edf"]
        assert "too few; an EDF header" in found["broken.edf"]
        assert "no EEG" in found["deaf.edf"]
        assert "SpO2" in found["deaf.edf"]
        assert "20 Hz is too slow" in found["slow.edf"]

    def test_a_scoring_that_cannot_be_read(self, folder: Path) -> None:
        (folder / "good-hypnogram.edf").unlink()
        (folder / "good-hypnogram.txt").write_text("W\nN2\nsnore\n")
        assert "snore" in problems(check_data("folder", folder))["good-hypnogram.txt"]

    def test_a_scoring_of_another_night(self, folder: Path) -> None:
        write_scoring(folder / "good-hypnogram.edf", start=START + timedelta(hours=9))
        assert "does not overlap" in problems(check_data("folder", folder))["good-hypnogram.edf"]

    def test_a_scoring_that_is_longer_than_its_recording(self, folder: Path) -> None:
        write_scoring(folder / "good-hypnogram.edf", (*STAGES[:-1], "N2", "N2", "N2", "N2"))
        assert problems(check_data("folder", folder))["good-hypnogram.edf"].startswith(
            "3 of its 13 scored epochs lie outside the recording, which has 0.08 h"
        )

    def test_one_epoch_more_than_the_recording_is_none(self, folder: Path) -> None:
        write_scoring(folder / "good-hypnogram.edf", (*STAGES[:-1], "N2", "N2"))
        assert check_data("folder", folder).problems == ()

    def test_a_scoring_of_nothing(self, folder: Path) -> None:
        write_night(folder, "empty")
        write_scoring(folder / "empty-hypnogram.edf", ("UNSCORED",) * 10)
        assert problems(check_data("folder", folder)) == {"empty-hypnogram.edf": "none of its 10 epochs is scored"}

    def test_a_scoring_of_one_stage(self, folder: Path) -> None:
        write_night(folder, "awake")
        write_scoring(folder / "awake-hypnogram.edf", ("W",) * 10)
        assert problems(check_data("folder", folder)) == {"awake-hypnogram.edf": "all its 10 scored epochs are W"}

    def test_epochs_of_another_length_than_a_datasets(self, folder: Path) -> None:
        write_scoring(folder / "good-hypnogram.edf", STAGES, epoch_s=20.0)
        assert check_data("folder", folder).problems == ()
        (night,) = datasets.nights("folder", folder)
        (problem,) = check_night(replace(night, dataset="hmc")).problems
        assert problem.what == "its epochs have 20 s, those of the dataset 30 s"

    def test_a_stage_that_no_night_has(self, folder: Path) -> None:
        write_scoring(folder / "good-hypnogram.edf", ("W", "N1", "N2", "N2"))
        assert problems(check_data("folder", folder))[folder.name].startswith("no night has N3 or REM")

    def test_one_night_under_two_names(self, folder: Path) -> None:
        shutil.copy(folder / "good.edf", folder / "twin.edf")
        shutil.copy(folder / "good-hypnogram.edf", folder / "twin-hypnogram.edf")
        assert problems(check_data("folder", folder)) == {"twin.edf": "the same samples as night good (good.edf)"}

    def test_two_flat_recordings_are_not_one_night(self, folder: Path) -> None:
        for name in ("one", "two"):
            write_night(folder, name, spread_uv=0.0)
        flat = "EEG C4-M1 is flat from its beginning to its end"
        assert problems(check_data("folder", folder)) == {"one.edf": flat, "two.edf": flat}

    def test_a_broken_recording_does_not_hide_what_is_wrong_with_its_scoring(self, folder: Path) -> None:
        (folder / "bad.edf").write_bytes(b"0       ")
        (folder / "bad-hypnogram.txt").write_text("W\nSonno1\nProfondo\n")
        found = problems(check_data("folder", folder))
        assert set(found) == {"bad.edf", "bad-hypnogram.txt"}
        assert "'Sonno1', 'Profondo'" in found["bad-hypnogram.txt"]

    def test_integers_that_mean_two_things_in_one_folder(self, folder: Path) -> None:
        write_psg(folder / "a.edf")
        write_psg(folder / "b.edf")
        (folder / "a-hypnogram.txt").write_text("0\n1\n2\n3\n4\n5\n")
        (folder / "b-hypnogram.txt").write_text("0\n1\n2\n3\n4\n2\n")
        found = problems(check_data("folder", folder))
        assert list(found) == ["b-hypnogram.txt"]
        assert found["b-hypnogram.txt"].endswith("--stage-map 4=N3 --stage-map 5=REM")
        assert check_data("folder", folder, stage_map=("4=N3", "5=REM")).problems == ()

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (problem,) = check_data("folder", tmp_path).problems
        assert problem.what.startswith("no file of folder, which has a folder for each recording")

    def test_a_defect_of_a_reader_hides_no_night_and_quotes_nothing(self, folder: Path, monkeypatch) -> None:
        write_night(folder, "other")

        def fail(self: Night) -> Recording:
            if self.id == "good":
                raise RuntimeError("Jane Doe, born 1960")
            return read(self)

        read = Night.recording
        monkeypatch.setattr(Night, "recording", fail)
        check = check_data("folder", folder)
        assert "unexpected RuntimeError" in problems(check)["good.edf"]
        assert "Doe" not in str(check.as_dict())
        assert check.stages["W"] == 2


class TestKinds:
    def test_each_kind_that_is_asked_for_must_be_there(self, folder: Path) -> None:
        write_night(folder, "full", labels=("EEG C4-M1", "EOG E1-M2"))
        found = problems(check_data("folder", folder, kinds=(ChannelKind.EEG, ChannelKind.EOG)))
        assert list(found) == ["good.edf"]
        assert "no EOG" in found["good.edf"]


class TestPrivacyAndNotes:
    def test_a_cut_recording_is_noted_and_no_patient_field_is_quoted(self, folder: Path) -> None:
        samples = np.random.default_rng(0).integers(-300, 300, (300, 64))
        content = edf_bytes([Made(b"EEG C4-M1", samples)], date="01.03.20", time="22.00.00", n_records="999")
        assert b"SECRET NAME" in content
        (folder / "good.edf").write_bytes(content)
        check = check_data("folder", folder)
        assert "999" in " ".join(note.what for note in check.notes)
        assert "SECRET" not in str(check.as_dict())


class TestQuick:
    def test_opens_no_file(self, folder: Path, monkeypatch) -> None:
        (folder / "good.edf").write_bytes(b"not a recording")
        monkeypatch.setattr(datasets, "read_recording", lambda path: pytest.fail("a file was opened"))
        check = check_data("folder", folder, quick=True)
        assert (check.n_nights, check.problems, check.stages) == (1, (), {})

    def test_finds_what_names_tell(self, folder: Path) -> None:
        write_psg(folder / "alone.edf")
        assert list(problems(check_data("folder", folder, quick=True))) == ["alone.edf"]


def test_options_reach_the_dataset(folder: Path) -> None:
    write_night(folder, "other")
    assert check_data("folder", folder, subject="o").n_subjects == 1


def test_an_unknown_dataset_or_folder_is_an_error(folder: Path) -> None:
    with pytest.raises(HypnographError, match="no dataset"):
        check_data("nowhere", folder)
    with pytest.raises(HypnographError, match="no such folder"):
        check_data("folder", folder / "absent")
