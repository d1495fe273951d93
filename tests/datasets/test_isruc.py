"""ISRUC-Sleep: files as its archives unpack (https://sleeptight.isr.uc.pt/, doi 10.1016/j.cmpb.2015.10.013)."""

from pathlib import Path

import pytest

from hypnograph.channel_labels import ChannelKind
from hypnograph.montage import choose_derivations
from tests.datasets.trees import START, scanned, write_codes, write_psg

LABELS = ("LOC-A2", "ROC-A1", "F3-A2", "C3-A2", "C4-A1", "X1", "X2", "X3", "X4", "X5")
CODES = ((0, 1, 2, 3, 5, 5), (0, 0, 2, 3, 5, 0))


def write_night(folder: Path, number: int, ending: str = ".rec", labels: tuple[str, ...] = LABELS) -> None:
    # The recording is 30 epochs longer than what is scored, and fast enough that X1 may be an EMG.
    written = write_psg(folder / f"{number}.edf", labels, n_epochs=36, sample_rate=64.0)
    written.rename(folder / f"{number}{ending}")
    for scorer, codes in enumerate(CODES, 1):
        write_codes(folder / f"{number}_{scorer}.txt", codes)
    (folder / f"{number}_1.xlsx").write_bytes(b"")


class TestNights:
    @pytest.mark.parametrize(("name", "disorder"), [("isruc-sg1", ""), ("isruc-sg3", "healthy")])
    def test_two_experts_scored_each_subject(self, tmp_path, name, disorder):
        for number in (1, 2, 10):
            write_night(tmp_path / str(number), number)
        nights, problems = scanned(name, tmp_path)
        assert [(n.id, n.subject, n.scorers, n.disorder) for n in nights] == [
            (number, number, ("1", "2"), disorder) for number in ("1", "2", "10")
        ]
        assert problems == {}

    def test_files_side_by_side_and_edf_endings_are_read_too(self, tmp_path):
        write_night(tmp_path, 7, ".edf")
        write_night(tmp_path, 8, ".REC")
        (tmp_path / "details.txt").write_text("age 50\n")
        nights, problems = scanned("isruc-sg1", tmp_path)
        assert ([n.psg.name for n in nights], problems) == (["7.edf", "8.REC"], {})

    def test_a_subject_of_subgroup_2_has_two_sessions(self, tmp_path):
        for subject in (1, 2):
            for session in (1, 2):
                write_night(tmp_path / "RawData" / str(subject) / str(session), session)
        nights, problems = scanned("isruc-sg2", tmp_path)
        assert [(n.id, n.subject, n.visit) for n in nights] == [
            ("1-1", "1", "1"),
            ("1-2", "1", "2"),
            ("2-1", "2", "1"),
            ("2-2", "2", "2"),
        ]
        assert problems == {}
        assert {(n.psg.parent, s.path.parent) for n in nights for s in n.scorings} == {
            (n.psg.parent, n.psg.parent) for n in nights
        }


class TestReading:
    def test_a_5_is_rem_and_the_first_line_begins_with_the_recording(self, tmp_path):
        write_night(tmp_path / "1", 1)
        night = scanned("isruc-sg1", tmp_path)[0][0]
        one, two = night.hypnogram("1"), night.hypnogram("2")
        assert one.names == ["W", "N1", "N2", "N3", "REM", "REM"]
        assert two.names == ["W", "W", "N2", "N3", "REM", "W"]
        assert (one.start, one.duration_s, night.recording().duration_s) == (START, 180.0, 1080.0)

    def test_a_night_without_rem_keeps_its_stages(self, tmp_path):
        write_night(tmp_path / "1", 1)
        write_codes(tmp_path / "1" / "1_1.txt", (0, 1, 2, 3))
        assert scanned("isruc-sg1", tmp_path)[0][0].hypnogram("1").names == ["W", "N1", "N2", "N3"]

    @pytest.mark.parametrize("inputs", [("X1", "X2", "X3", "X4"), ("24", "25", "26", "27")])
    def test_the_inputs_of_both_recorders_get_their_meaning(self, tmp_path, inputs):
        write_night(tmp_path / "1", 1, labels=("C3-A2", *inputs, "X5"))
        recording = scanned("isruc-sg1", tmp_path)[0][0].recording()
        assert recording.labels == ("C3-A2", "EMG chin", "ECG", "EMG leg 1", "EMG leg 2", "X5")
        montage = choose_derivations(recording, kinds=(ChannelKind.EEG, ChannelKind.EMG))
        assert [d.signal for d in montage.emg] == ["EMG chin"]


class TestProblems:
    def test_what_is_alone_strange_or_twice_is_named(self, tmp_path):
        for number in (1, 2, 3):
            write_night(tmp_path / str(number), number)
        (tmp_path / "1" / "1_1.txt").unlink()
        (tmp_path / "1" / "1_2.txt").unlink()
        (tmp_path / "2" / "2.rec").unlink()
        write_psg(tmp_path / "3" / "3.edf", LABELS)
        write_psg(tmp_path / "mine.edf", LABELS)
        (tmp_path / "subject4.mat").write_bytes(b"")
        nights, problems = scanned("isruc-sg1", tmp_path)
        assert [night.id for night in nights] == ["3"]
        assert problems.keys() == {"1/1.rec", "2/2_1.txt", "3/3.rec", "mine.edf", "subject4.mat"}
        assert "no scoring" in problems["1/1.rec"]
        assert "no recording for 2" in problems["2/2_1.txt"]
        assert problems["3/3.rec"] == "a second file for 3, beside 3/3.edf, which is taken"
        assert "MATLAB" in problems["subject4.mat"]

    @pytest.mark.parametrize(("name", "place"), [("isruc-sg1", "1/2/2.rec"), ("isruc-sg2", "1/1.rec")])
    def test_a_layout_of_another_subgroup_is_not_guessed_at(self, tmp_path, name, place):
        write_psg(tmp_path / "x.edf", LABELS)
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / "x.edf").rename(tmp_path / place)
        nights, problems = scanned(name, tmp_path)
        assert nights == []
        assert "not where" in problems[place]

    def test_one_scoring_is_enough(self, tmp_path):
        write_night(tmp_path / "1", 1)
        (tmp_path / "1" / "1_1.txt").unlink()
        (night,), problems = scanned("isruc-sg1", tmp_path)
        assert (night.scorers, problems) == (("2",), {})
        assert night.hypnogram().names[1] == "W"
