"""DCSM: folders as its archive has them (https://erda.ku.dk/public/archives/db553715ecbe1f3ac66c1dc569826eef/)."""

from datetime import UTC
from pathlib import Path

import h5py
import numpy as np

from tests.datasets.trees import START, scanned, write_psg

SUBJECTS = ("tp0a1b2c3d_0000_4d0e_be9a_1a48306b1247", "tp8cbd54f0_4751_4def_b11e_6e6353c69562")
LABELS = ("C3-M2", "E1-M2", "E2-M2")


def write_h5(path: Path, labels: tuple[str, ...] = LABELS) -> None:
    """Write what U-Time's `ut extract` writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["date"] = START.replace(tzinfo=UTC).timestamp()
        file.attrs["sample_rate"] = 8
        for i, label in enumerate(labels):
            array = file.require_group("channels").create_dataset(label, data=np.full(720, i, np.float32))
            array.attrs["channel_index"] = i
            array.attrs["unit"] = "uV"


def tree(folder: Path) -> Path:
    for subject in SUBJECTS:
        write_h5(folder / subject / "psg.h5")
        write_psg(folder / subject / "psg.edf", ["C3-M2"])
        (folder / subject / "hypnogram.ids").write_text("0,30,UNKNOWN\n30,30,W\n60,30,N2\n")
    return folder


def test_a_folder_is_a_subject_and_the_h5_file_is_taken(tmp_path):
    nights, problems = scanned("dcsm", tree(tmp_path / "data" / "sleep" / "DCSM"))
    assert [(n.id, n.subject, n.psg.name) for n in nights] == [(s, s, "psg.h5") for s in SUBJECTS]
    assert problems == {}
    recording, hypnogram = nights[0].recording(), nights[0].hypnogram()
    assert (recording.labels, recording.start) == (LABELS, START)
    assert (hypnogram.names, hypnogram.start) == (["UNSCORED", "W", "N2"], START)


def test_the_edf_file_is_taken_where_it_is_alone(tmp_path):
    tree(tmp_path)
    (tmp_path / SUBJECTS[1] / "psg.h5").unlink()
    nights, problems = scanned("dcsm", tmp_path)
    assert ([n.psg.name for n in nights], problems) == (["psg.h5", "psg.edf"], {})
    assert nights[1].recording().labels == ("C3-M2",)


def test_what_is_alone_strange_or_twice_is_named(tmp_path):
    tree(tmp_path)
    write_h5(tmp_path / "tp1" / "psg.h5")
    (tmp_path / "tp2").mkdir()
    (tmp_path / "tp2" / "hypnogram.ids").write_text("0,30,W\n")
    write_h5(tmp_path / "other.h5")
    write_h5(tmp_path / "train" / SUBJECTS[1] / "psg.h5")
    nights, problems = scanned("dcsm", tmp_path)
    assert [night.id for night in nights] == list(SUBJECTS)
    assert problems.keys() == {"tp1/psg.h5", "tp2/hypnogram.ids", "other.h5", f"train/{SUBJECTS[1]}/psg.h5"}
    assert problems["tp1/psg.h5"] == "no scoring (hypnogram.ids) for tp1"
    assert problems["tp2/hypnogram.ids"] == "no recording (psg.h5) for tp2"
    assert "second" in problems[f"train/{SUBJECTS[1]}/psg.h5"]
