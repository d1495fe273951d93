"""CAP Sleep Database: names of PhysioNet (https://physionet.org/content/capslpdb/1.0.0/)."""

from datetime import datetime
from pathlib import Path

from tests.datasets.trees import scanned, write_psg
from tests.hypnogram_files.samples import CAP_STAGES, cap_text

LABELS = ("C4-A1", "ROC-LOC", "EMG1-EMG2", "ECG1-ECG2")
# The sample text begins at 23:59:00; the recording a minute before.
START = datetime(2008, 5, 14, 23, 58, 0)


def tree(folder: Path) -> Path:
    for name in ("n1", "nfle2", "narco3", "n10"):
        write_psg(folder / f"{name}.edf", LABELS, n_epochs=12, start=START)
        (folder / f"{name}.txt").write_text(cap_text())
    for other in ("RECORDS", "LICENSE.txt", "gender-age.xlsx", "n1.edf.st"):
        (folder / other).write_text("")
    return folder


def test_the_disorder_is_in_the_name_and_n_is_healthy(tmp_path):
    nights, problems = scanned("cap", tree(tmp_path))
    assert [(n.id, n.subject, n.disorder, n.scorers) for n in nights] == [
        ("n1", "n1", "healthy", ("",)),
        ("n10", "n10", "healthy", ("",)),
        ("narco3", "narco3", "narco", ("",)),
        ("nfle2", "nfle2", "nfle", ("",)),
    ]
    assert problems == {}


def test_clock_times_of_the_text_are_placed_on_the_recording(tmp_path):
    night = scanned("cap", tree(tmp_path))[0][0]
    recording, hypnogram = night.recording(), night.hypnogram()
    assert (recording.labels, recording.start) == (LABELS, START)
    assert hypnogram.stages.tolist() == CAP_STAGES
    assert (hypnogram.start - recording.start).total_seconds() == 60


def test_what_is_alone_strange_or_twice_is_named(tmp_path):
    tree(tmp_path)
    (tmp_path / "nfle2.txt").unlink()
    (tmp_path / "narco3.edf").unlink()
    write_psg(tmp_path / "xyz1.edf", LABELS)
    write_psg(tmp_path / "again" / "N1.EDF", LABELS)
    nights, problems = scanned("cap", tmp_path)
    assert [night.id for night in nights] == ["n1", "n10"]
    assert problems.keys() == {"nfle2.edf", "narco3.txt", "xyz1.edf", "n1.edf"}
    assert "no scoring (.txt) for nfle2" in problems["nfle2.edf"]
    assert "no recording (.edf) for narco3" in problems["narco3.txt"]
    assert problems["n1.edf"] == "a second n1.edf; again/N1.EDF is taken"
