"""DOD: HDF5 as Dreem writes it, and lists as in github.com/Dreem-Organization/dreem-learning-evaluation."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from hypnograph.errors import AlignmentError, HypnographError, UnreadableFileError
from tests.datasets.trees import scanned

RECORD = "072653fc-1944-4eb7-b84a-c7a5ccad16fb"
OTHER = "01e60017-d3b5-41cf-bcfb-bde09d46003f"
CODE_NAMES = {-1: "UNSCORED", 0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "REM"}


def a_night(n_epochs: int = 60, seed: int = 5) -> np.ndarray:
    return np.repeat(np.random.default_rng(seed).integers(0, 5, n_epochs // 4), 4)


def write_record(folder: Path, record: str, consensus: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"{record}.h5", "w") as file:
        for group, labels in (("eeg", ("C3_M2", "F4_M1")), ("eog", ("EOG1", "EOG2")), ("emg", ("EMG",))):
            for label in labels:
                file[f"signals/{group}/{label}"] = np.zeros(len(consensus) * 30 * 4, np.float32)
            file[f"signals/{group}"].attrs.update({"fs": 4, "unit": "µV"})
        file["hypnogram"] = consensus


def write_scorer(folder: Path, number: int, record: str, codes: np.ndarray, dataset: str = "dodh") -> Path:
    path = folder / "scorers" / dataset / f"scorer_{number}" / f"{record}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(codes.tolist(), indent=2))
    return path


def scored_by_five(folder: Path, whole: np.ndarray, first: int, past_last: int) -> list[np.ndarray]:
    """Write a night whose five scorers each err in other epochs, and whose ends the consensus lacks."""
    write_record(folder, RECORD, whole[first:past_last])
    scorers = []
    for number in range(1, 6):
        codes = whole.copy()
        codes[number::9] = (codes[number::9] + 1) % 5
        scorers.append(codes)
        write_scorer(folder, number, RECORD, codes)
    return scorers


def names(codes: np.ndarray) -> list[str]:
    return [CODE_NAMES[int(code)] for code in codes]


class TestNights:
    def test_the_consensus_comes_after_the_five_scorers(self, tmp_path):
        scored_by_five(tmp_path, a_night(), 0, 60)
        write_record(tmp_path, OTHER, a_night())
        nights, problems = scanned("dod-h", tmp_path)
        assert [(n.id, n.scorers) for n in nights] == [
            (OTHER, ("consensus",)),
            (RECORD, ("1", "2", "3", "4", "5", "consensus")),
        ]
        assert [n.voters for n in nights] == [("consensus",), ("1", "2", "3", "4", "5")]
        assert ([n.subject for n in nights], nights[0].disorder, problems) == ([OTHER, RECORD], "healthy", {})

    def test_the_files_of_the_other_dataset_are_passed_over(self, tmp_path):
        write_record(tmp_path / "dodh", RECORD, a_night())
        write_record(tmp_path / "dodo", OTHER, a_night())
        for record, dataset in ((RECORD, "dodh"), (OTHER, "dodo")):
            write_scorer(tmp_path, 1, record, a_night(), dataset)
        for name, record in (("dod-h", RECORD), ("dod-o", OTHER)):
            (night,), problems = scanned(name, tmp_path)
            assert (night.id, night.scorers, problems) == (record, ("1", "consensus"), {})

    def test_results_of_models_are_no_scorers(self, tmp_path):
        write_record(tmp_path, RECORD, a_night())
        results = tmp_path / "results" / "dodh" / "deep_sleep_net"
        results.mkdir(parents=True)
        (results / f"{RECORD}.json").write_text("[0]")
        assert scanned("dod-h", tmp_path)[0][0].scorers == ("consensus",)

    def test_what_is_alone_strange_or_twice_is_named(self, tmp_path):
        write_record(tmp_path, RECORD, a_night())
        write_record(tmp_path / "x", RECORD, a_night())
        write_scorer(tmp_path, 1, OTHER, a_night())
        (tmp_path / "night.h5").write_bytes(b"")
        nights, problems = scanned("dod-h", tmp_path)
        assert [night.id for night in nights] == [RECORD]
        assert problems.keys() == {f"x/{RECORD}.h5", f"scorers/dodh/scorer_1/{OTHER}.json", "night.h5"}
        assert "no recording" in problems[f"scorers/dodh/scorer_1/{OTHER}.json"]


class TestReading:
    def test_the_consensus_is_the_hypnogram_of_the_recording(self, tmp_path):
        consensus = np.array([-1, 0, 1, 2, 3, 4])
        write_record(tmp_path, RECORD, consensus)
        (night,), _ = scanned("dod-h", tmp_path)
        assert (night.hypnogram().names, night.hypnogram().scorer) == (names(consensus), "consensus")
        assert night.recording().labels == ("C3_M2", "F4_M1", "EMG", "EOG1", "EOG2")

    @pytest.mark.parametrize(("first", "past_last"), [(0, 60), (7, 60), (0, 51), (13, 48)])
    def test_a_scorers_list_is_cut_to_the_part_that_was_recorded(self, tmp_path, first, past_last):
        scorers = scored_by_five(tmp_path, a_night(), first, past_last)
        (night,), _ = scanned("dod-h", tmp_path)
        for number in (1, 5):
            hypnogram = night.hypnogram(str(number))
            assert hypnogram.names == names(scorers[number - 1][first:past_last])
            assert (hypnogram.scorer, hypnogram.n_epochs * 30) == (str(number), night.recording().duration_s)

    def test_epochs_that_a_scorer_left_out_keep_their_place(self, tmp_path):
        whole = a_night()
        scorers = scored_by_five(tmp_path, whole, 4, 60)
        scorers[1][[0, 1, 2, 3, 20]] = -1
        write_scorer(tmp_path, 2, RECORD, scorers[1])
        hypnogram = scanned("dod-h", tmp_path)[0][0].hypnogram("2")
        assert hypnogram.names == names(scorers[1][4:])
        assert hypnogram.names[16] == "UNSCORED"

    def test_lists_of_another_night_are_refused(self, tmp_path):
        scored_by_five(tmp_path, a_night(), 4, 60)
        for number in range(1, 6):
            write_scorer(tmp_path, number, RECORD, a_night(seed=6))
        with pytest.raises(AlignmentError, match="50% at least are expected: the lists are of another night"):
            scanned("dod-h", tmp_path)[0][0].hypnogram("1")

    @pytest.mark.parametrize("n_epochs", [40, 64])
    def test_lists_of_impossible_length_are_refused(self, tmp_path, n_epochs):
        scored_by_five(tmp_path, a_night(), 0, 60)
        write_scorer(tmp_path, 3, RECORD, a_night(n_epochs))
        with pytest.raises(AlignmentError, match=f"lists have .*{n_epochs}.* epochs"):
            scanned("dod-h", tmp_path)[0][0].hypnogram("1")

    @pytest.mark.parametrize("text", ["[0, 5]", "[0, 1.5]", "[]", "[[0], [1]]", '["W"]', "{}", "[0,", "[[0], 1]"])
    def test_what_is_no_list_of_stages_is_refused(self, tmp_path, text):
        write_record(tmp_path, RECORD, a_night())
        write_scorer(tmp_path, 1, RECORD, a_night()).write_text(text)
        with pytest.raises(UnreadableFileError, match=rf"{RECORD}\.json: "):
            scanned("dod-h", tmp_path)[0][0].hypnogram("1")

    def test_a_file_without_a_hypnogram_or_damaged_is_refused(self, tmp_path):
        write_record(tmp_path, RECORD, a_night())
        (night,), _ = scanned("dod-h", tmp_path)
        with h5py.File(night.psg, "a") as file:
            del file["hypnogram"]
        with pytest.raises(UnreadableFileError, match="no hypnogram"):
            night.hypnogram()
        night.psg.write_bytes(b"\x89HDF")
        with pytest.raises(HypnographError, match=r"\.h5"):
            night.hypnogram()
