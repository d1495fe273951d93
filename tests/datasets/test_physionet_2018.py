"""PhysioNet Challenge 2018: records written by the wfdb package in the layout of its training set."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.trees import scanned

LABELS = ["F3-M2", "C3-M2", "E1-M2", "Chin1-Chin2"]
RATE = 4
STAGES = ["W", "N1", "N2", "N3", "R", "W"]

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # of the wfdb package, with pandas 3


def write_record(folder: Path, record: str, *, first_s: int = 0) -> None:
    import wfdb

    (folder / record).mkdir(parents=True, exist_ok=True)
    place = str(folder / record)
    samples = np.tile(np.arange(RATE * 30.0 * 8), (4, 1)).T
    wfdb.wrsamp(record, RATE, ["uV"] * 4, LABELS, samples, fmt=["16"] * 4, write_dir=place)
    (folder / record / f"{record}.dat").rename(folder / record / f"{record}.mat")
    header = folder / record / f"{record}.hea"
    header.write_text(header.read_text().replace(".dat", ".mat"))
    onsets = [(first_s + 30 * i) * RATE for i in range(len(STAGES))]
    # An arousal begins and ends within N1.
    marks = sorted(
        [*zip(onsets, STAGES, strict=True), (onsets[1] + 8, "(arousal_rera"), (onsets[1] + 40, "arousal_rera)")]
    )
    wfdb.wrann(
        record, "arousal", np.array([m[0] for m in marks]), ['"'] * len(marks),
        aux_note=[m[1] for m in marks], fs=RATE, write_dir=place,
    )  # fmt: skip


def test_the_stages_lie_among_the_arousals(tmp_path):
    for record in ("tr04-0014", "tr03-0005"):
        write_record(tmp_path / "training", record)
    (night, _), problems = scanned("physionet-2018", tmp_path)
    assert (night.id, night.subject, night.scorers, problems) == ("tr03-0005", "tr03-0005", ("",), {})
    assert night.hypnogram().names == ["W", "N1", "N2", "N3", "REM", "W"]
    assert list(night.recording().labels) == LABELS
    assert night.recording().duration_s == 240.0


def test_time_before_the_first_stage_is_unscored(tmp_path):
    write_record(tmp_path, "tr03-0005", first_s=60)
    assert scanned("physionet-2018", tmp_path)[0][0].hypnogram().names[:4] == ["UNSCORED", "UNSCORED", "W", "N1"]


def test_what_utime_fetches_is_read_too(tmp_path):
    for record in ("tr03-0005", "tr03-0029"):
        write_record(tmp_path, record)
        scoring = tmp_path / record / f"{record}.arousal"
        scoring.rename(f"{scoring}.st")
    (tmp_path / "tr03-0029" / "tr03-0029-HYP.ids").write_text("0,30,UNKNOWN\n30,60,N2\n")
    (tmp_path / "tr03-0029" / "tr03-0029.arousal.st").unlink()
    nights, problems = scanned("physionet-2018", tmp_path)
    assert problems == {}
    assert nights[0].hypnogram().names == ["W", "N1", "N2", "N3", "REM", "W"]
    assert nights[1].hypnogram().names == ["UNSCORED", "N2", "N2"]


def test_the_test_set_is_passed_over(tmp_path):
    write_record(tmp_path, "te03-0001")
    assert scanned("physionet-2018", tmp_path) == ([], {})


def test_what_is_alone_strange_or_twice_is_named(tmp_path):
    for record in ("tr03-0001", "tr03-0002", "tr03-0003", "tr03-0004"):
        write_record(tmp_path, record)
    (tmp_path / "tr03-0001" / "tr03-0001.arousal").unlink()
    (tmp_path / "tr03-0002" / "tr03-0002.hea").unlink()
    (tmp_path / "tr03-0003" / "tr03-0003.mat").unlink()
    write_record(tmp_path / "x", "tr03-0004")
    (tmp_path / "slp01.hea").write_text("slp01 1 100\n")
    nights, problems = scanned("physionet-2018", tmp_path)
    assert [night.id for night in nights] == ["tr03-0004"]
    assert problems.keys() == {
        "tr03-0001/tr03-0001.hea",
        "tr03-0002/tr03-0002.arousal",
        "tr03-0003/tr03-0003.hea",
        "x/tr03-0004/tr03-0004.hea",
        "x/tr03-0004/tr03-0004.arousal",
        "slp01.hea",
    }
    assert "no scoring" in problems["tr03-0001/tr03-0001.hea"]
    assert "no recording" in problems["tr03-0002/tr03-0002.arousal"]
    assert "tr03-0003.mat, are missing" in problems["tr03-0003/tr03-0003.hea"]
