"""ucddb: files and codes as its page gives them (https://physionet.org/content/ucddb/1.0.0/)."""

from pathlib import Path

from hypnograph.montage import choose_derivations
from tests.datasets.trees import START, scanned, write_codes, write_psg

LABELS = ("Lefteye", "RightEye", "EMG", "C3A2", "C4A1", "ECG", "SpO2")


def write_night(folder: Path, subject: str, codes: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> None:
    written = write_psg(folder / f"{subject}.edf", LABELS, n_epochs=len(codes), sample_rate=64.0)
    written.rename(folder / f"{subject}.rec")
    write_codes(folder / f"{subject}_stage.txt", codes)
    (folder / f"{subject}_respevt.txt").write_text("Time  Type\n")
    write_psg(folder / f"{subject}_lifecard.edf", ("chan 1", "chan 2", "chan 3"))


def test_one_is_rem_and_two_to_five_are_s1_to_s4(tmp_path):
    write_night(tmp_path, "ucddb003")
    write_night(tmp_path, "UCDDB002", (6, 0, 7, 2, 1, 8))
    nights, problems = scanned("ucddb", tmp_path)
    assert [(n.id, n.subject) for n in nights] == [("ucddb002", "ucddb002"), ("ucddb003", "ucddb003")]
    assert problems == {}
    assert nights[1].hypnogram().names == ["W", "REM", "N1", "N2", "N3", "N3"]
    assert nights[0].hypnogram().names == ["UNSCORED", "W", "UNSCORED", "N1", "REM", "UNSCORED"]
    assert nights[0].hypnogram().start == START


def test_a_night_without_s4_keeps_its_stages(tmp_path):
    write_night(tmp_path, "ucddb002", (0, 1, 2, 3, 4, 4))
    assert scanned("ucddb", tmp_path)[0][0].hypnogram().names == ["W", "REM", "N1", "N2", "N3", "N3"]


def test_its_labels_are_the_derivations_that_u_sleep_took(tmp_path):
    write_night(tmp_path, "ucddb002")
    montage = choose_derivations(scanned("ucddb", tmp_path)[0][0].recording())
    assert {d.name for d in montage.eeg} == {"C3-M2", "C4-M1"}
    assert {d.name for d in montage.eog} == {"E1", "E2"}


def test_what_is_alone_strange_or_twice_is_named(tmp_path):
    for subject in ("ucddb002", "ucddb003", "ucddb005"):
        write_night(tmp_path, subject)
    (tmp_path / "ucddb002_stage.txt").unlink()
    (tmp_path / "ucddb003.rec").unlink()
    write_psg(tmp_path / "ucddb005.edf", LABELS)
    write_psg(tmp_path / "mine.edf", LABELS)
    nights, problems = scanned("ucddb", tmp_path)
    assert [night.id for night in nights] == ["ucddb005"]
    assert problems.keys() == {"ucddb002.rec", "ucddb003_stage.txt", "ucddb005.rec", "mine.edf"}
    assert "no scoring" in problems["ucddb002.rec"]
    assert "no recording" in problems["ucddb003_stage.txt"]
    assert "ucddb005.edf" in problems["ucddb005.rec"]
