"""MASS: names and labels as in O'Reilly et al. 2014 (doi 10.1111/jsr.12169)."""

from pathlib import Path

import pytest

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import dataset
from hypnograph.montage import candidates
from tests.datasets.trees import STAGES, START, scanned, write_psg, write_scoring


def tree(folder: Path, subset: int = 3, reference: str = "LER", epoch_s: float = 30.0) -> tuple[str, ...]:
    labels = (f"EEG C4-{reference}", "EOG Left Horiz", "EOG Right Horiz", "EMG Chin1", "EMG Chin2", "ECG ECGI")
    for subject in (1, 12):
        stem = f"01-0{subset}-{subject:04}"
        write_psg(folder / f"{stem} PSG.edf", labels, epoch_s=epoch_s, sample_rate=64.0)
        write_scoring(folder / f"{stem} Base.edf", epoch_s=epoch_s)
        write_scoring(folder / f"{stem} Annotations.edf", ["W"], epoch_s=5.0)
    return labels


@pytest.mark.parametrize(("subset", "epoch_s"), [(1, 30.0), (2, 20.0), (3, 30.0), (4, 20.0), (5, 20.0)])
def test_epochs_have_the_length_of_their_subset(tmp_path, subset, epoch_s):
    tree(tmp_path, subset, epoch_s=epoch_s)
    nights, problems = scanned(f"mass-ss{subset}", tmp_path)
    assert [(n.id, n.subject) for n in nights] == [(s, s) for s in (f"01-0{subset}-0001", f"01-0{subset}-0012")]
    assert problems == {}
    hypnogram = nights[1].hypnogram()
    assert (hypnogram.epoch_s, hypnogram.names, hypnogram.start) == (epoch_s, list(STAGES), START)
    assert dataset(f"mass-ss{subset}").epoch_s == epoch_s


@pytest.mark.parametrize("reference", ["LER", "CLE"])
def test_linked_ears_recorded_or_computed_are_one_derivation_of_u_sleep(tmp_path, reference):
    labels = tree(tmp_path, 1, reference)
    recording = scanned("mass-ss1", tmp_path)[0][0].recording()
    assert (recording.labels, recording.start) == (labels, START)
    (eeg,) = candidates(recording, ChannelKind.EEG)
    assert (eeg.name, eeg.reference) == ("C4-M1M2", None)
    assert eeg.name in dataset("mass-ss1").derivations[ChannelKind.EEG]


def test_the_subsets_may_lie_in_one_folder(tmp_path):
    tree(tmp_path / "SS3", 3)
    tree(tmp_path / "SS5", 5, epoch_s=20.0)
    for subset in (3, 5):
        nights, problems = scanned(f"mass-ss{subset}", tmp_path)
        assert ({n.psg.parent.name for n in nights}, len(nights), problems) == ({f"SS{subset}"}, 2, {})


def test_what_is_alone_strange_or_twice_is_named(tmp_path):
    tree(tmp_path)
    (tmp_path / "01-03-0001 Base.edf").unlink()
    write_scoring(tmp_path / "01-03-0002 Base.edf")
    write_psg(tmp_path / "02-03-0001 PSG.edf", ["EEG C4-LER"])
    write_psg(tmp_path / "copy" / "01-03-0012 PSG.edf", ["EEG C4-LER"])
    nights, problems = scanned("mass-ss3", tmp_path)
    assert [(night.id, night.psg.parent) for night in nights] == [("01-03-0012", tmp_path)]
    assert problems.keys() == {
        "01-03-0001 PSG.edf",
        "01-03-0002 Base.edf",
        "02-03-0001 PSG.edf",
        "copy/01-03-0012 PSG.edf",
    }
    assert problems["01-03-0001 PSG.edf"] == "no scoring (Base.edf) for 01-03-0001"
    assert problems["01-03-0002 Base.edf"] == "no recording (PSG.edf) for 01-03-0002"
    assert "second psg" in problems["copy/01-03-0012 PSG.edf"]
