"""HMC: files as on PhysioNet (https://physionet.org/content/hmc-sleep-staging/1.1/)."""

from pathlib import Path

from hypnograph.channel_labels import parse_label
from tests.datasets.trees import STAGES, START, scanned, write_psg, write_scoring

LABELS = ("EEG F4-M1", "EEG C4-M1", "EEG O2-M1", "EEG C3-M2", "EMG chin", "EOG E1-M2", "EOG E2-M2", "ECG")


def write_night(folder: Path, subject: str) -> None:
    write_psg(folder / f"{subject}.edf", LABELS)
    write_scoring(folder / f"{subject}_sleepscoring.edf")
    (folder / f"{subject}_sleepscoring.txt").write_text("Date, Time\n")


def test_a_night_has_its_own_scoring_and_starts_with_it(tmp_path):
    for subject in ("SN010", "SN002"):
        write_night(tmp_path / "recordings", subject)
    nights, problems = scanned("hmc", tmp_path)
    assert [(n.id, n.subject, n.scorers) for n in nights] == [("SN002", "SN002", ("",)), ("SN010", "SN010", ("",))]
    assert problems == {}
    hypnogram, recording = nights[1].hypnogram(), nights[1].recording()
    assert (hypnogram.names, hypnogram.start) == (list(STAGES), START)
    assert [parse_label(label).name for label in recording.labels[:4]] == ["F4-M1", "C4-M1", "O2-M1", "C3-M2"]
    assert nights[1].psg.name == "SN010.edf"


def test_what_is_alone_strange_or_twice_is_named(tmp_path):
    for subject in ("SN001", "SN002", "SN003"):
        write_night(tmp_path, subject)
    write_psg(tmp_path / "again" / "SN003.EDF", LABELS)
    write_psg(tmp_path / "SN1.edf", LABELS)
    (tmp_path / "SN001.edf").unlink()
    (tmp_path / "SN002_sleepscoring.edf").unlink()
    nights, problems = scanned("hmc", tmp_path)
    assert [night.id for night in nights] == ["SN003"]
    assert problems.keys() == {"SN001_sleepscoring.edf", "SN002.edf", "again/SN003.EDF", "SN1.edf"}
    assert "no recording" in problems["SN001_sleepscoring.edf"]
    assert "no scoring" in problems["SN002.edf"]
    assert "SN003.edf is taken" in problems["again/SN003.EDF"]
