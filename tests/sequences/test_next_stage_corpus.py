"""Nights to train on: whose they are, where they are scored, and what is refused."""

import json

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.sequences.next_stage_corpus import (
    TrainingNight,
    read_corpus,
    read_nights,
    scored_runs,
    subject_folds,
)
from hypnograph.signal_files import edf
from hypnograph.simulate import simulate_hypnogram, simulate_recording
from hypnograph.stages import W_SLEEP


def test_a_folder_gives_its_scorings_with_subject_and_dataset(tmp_path) -> None:
    for name in ("SC4001EC-Hypnogram", "SC4002EC-Hypnogram", "other"):
        write_hypnogram(Hypnogram(np.array([0, 1, 2, -1, 4])), tmp_path / "edfx" / f"{name}.txt")
    nights = read_nights([tmp_path])
    assert [(n.dataset, n.subject) for n in nights] == [("edfx", "SC400"), ("edfx", "SC400"), ("edfx", "other")]
    assert nights[0].stages.tolist() == [0, 1, 2, -1, 4]
    assert [n.subject for n in read_nights([tmp_path], subject_pattern=r"^(..)")] == ["SC", "SC", "ot"]


def test_a_corpus_has_a_night_on_each_line(tmp_path) -> None:
    rows = [{"dataset": "d", "subject": 7, "record": "r", "stages": [0, -1, 3]}, {"stages": [4]}]
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    one, two = read_nights([tmp_path / "c.jsonl"])
    assert (one.dataset, one.subject, one.name, one.stages.tolist()) == ("d", "7", "r", [0, -1, 3])
    assert (two.dataset, two.subject, two.stages.tolist()) == ("c", "line 2", [4])
    assert read_corpus(tmp_path / "c.jsonl", scheme=W_SLEEP)[0].stages.tolist() == [0, -1, 1]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"stages": [5]}', '{"stages": [0.5]}', '{"stages": []}'])
def test_a_line_that_is_no_night_is_refused_with_its_number(tmp_path, line: str) -> None:
    (tmp_path / "c.jsonl").write_text('{"stages": [0]}\n' + line)
    with pytest.raises(UnreadableFileError, match=r"c\.jsonl, line 2"):
        read_nights([tmp_path / "c.jsonl"])


def test_other_epochs_than_30_s_are_refused_with_their_length(tmp_path) -> None:
    write_hypnogram(Hypnogram(np.array([0, 1]), epoch_s=20), tmp_path / "n.csv")
    with pytest.raises(HypnographError, match="epochs last 20 s"):
        read_nights([tmp_path])


def test_a_recording_in_a_folder_is_passed_over_and_one_by_name_is_refused(tmp_path) -> None:
    stages = simulate_hypnogram(seed=1, duration_h=0.25)
    edf.write(simulate_recording(stages, seed=1, sample_rate=64, derivations=("C4-M1",)), tmp_path / "night.edf")
    write_hypnogram(stages, tmp_path / "night.txt")
    assert [night.name for night in read_nights([tmp_path])] == ["night.txt"]
    with pytest.raises(UnreadableFileError, match=r"night\.edf"):
        read_nights([tmp_path / "night.edf"])


def test_an_empty_folder_is_refused(tmp_path) -> None:
    with pytest.raises(HypnographError, match="no night"):
        read_nights([tmp_path])


def test_scored_stretches_lie_between_gaps() -> None:
    runs = scored_runs(np.array([-1, 0, 0, -1, -1, 3, -1], dtype=np.int8))
    assert [run.tolist() for run in runs] == [[0, 0], [3]]
    assert scored_runs(np.array([-1, -1])) == []


def test_folds_keep_a_person_together_and_are_of_like_size() -> None:
    nights = [TrainingNight(d, str(i % 10), np.zeros(1, np.int8)) for d in "ab" for i in range(20)]
    folds = subject_folds(nights, 5)
    for person in {night.person for night in nights}:
        assert len({f for n, f in zip(nights, folds, strict=True) if n.person == person}) == 1
    assert np.bincount(folds).tolist() == [8] * 5
    assert subject_folds(nights[:2], 5).max() == 1
