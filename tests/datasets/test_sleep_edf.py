"""Sleep-EDF: names of PhysioNet (https://physionet.org/content/sleep-edfx/1.0.0/), in its layout and in U-Time's."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from hypnograph.datasets import dataset
from tests.datasets.trees import STAGES, START, scanned, write_psg, write_scoring
from tests.signal_files.edf_file import Made, edf_bytes

LABELS = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "EMG submental")


def physionet(folder: Path) -> Path:
    """Three nights of two subjects; the letters after the night differ between recording and hypnogram, as there."""
    for psg, hypnogram in (("SC4001E0", "SC4001EC"), ("SC4002E0", "SC4002EH"), ("SC4201E0", "SC4201EJ")):
        write_psg(folder / f"{psg}-PSG.edf", LABELS)
        write_scoring(folder / f"{hypnogram}-Hypnogram.edf")
    (folder / "RECORDS").write_text("SC4001E0-PSG.edf\n")
    (folder / "SC-subjects.xls").write_bytes(b"")
    return folder


class TestNights:
    def test_recording_and_hypnogram_share_subject_and_night(self, tmp_path):
        nights, problems = scanned("sleep-edf-sc", physionet(tmp_path))
        assert problems == {}
        assert [(n.id, n.subject, n.visit, n.scorers) for n in nights] == [
            ("SC4001", "SC400", "1", ("C",)),
            ("SC4002", "SC400", "2", ("H",)),
            ("SC4201", "SC420", "1", ("J",)),
        ]
        assert [(n.psg.name, n.scorings[0].path.name) for n in nights][1] == (
            "SC4002E0-PSG.edf",
            "SC4002EH-Hypnogram.edf",
        )

    def test_a_folder_for_each_recording_is_the_same(self, tmp_path):
        flat = [n.id for n in scanned("sleep-edf-sc", physionet(tmp_path / "flat"))[0]]
        for path in (tmp_path / "flat").glob("*.edf"):
            place = tmp_path / "nested" / f"{path.name[:7]}0"
            place.mkdir(parents=True, exist_ok=True)
            path.rename(place / path.name)
        nights, problems = scanned("sleep-edf-sc", tmp_path / "nested")
        assert ([n.id for n in nights], problems) == (flat, {})

    def test_the_first_twenty_subjects_are_a_dataset(self, tmp_path):
        nights, problems = scanned("sleep-edf-20", physionet(tmp_path))
        assert ([n.id for n in nights], problems) == (["SC4001", "SC4002"], {})
        assert all(night.dataset == "sleep-edf-20" for night in nights)

    def test_the_telemetry_nights_are_a_dataset_beside_the_cassettes(self, tmp_path):
        write_psg(physionet(tmp_path) / "ST7011J0-PSG.edf", LABELS)
        write_scoring(tmp_path / "ST7011JP-Hypnogram.edf")
        nights, problems = scanned("sleep-edf-st", tmp_path)
        assert [(n.id, n.subject, n.visit, n.scorers) for n in nights] == [("ST7011", "ST701", "1", ("P",))]
        assert problems == {}
        assert len(scanned("sleep-edf-sc", tmp_path)[0]) == 3

    def test_two_scorers_of_a_night_are_both_kept_and_names_in_lower_case_are_read(self, tmp_path):
        write_psg(tmp_path / "sc4001e0-psg.EDF", LABELS)
        write_scoring(tmp_path / "sc4001eh-hypnogram.edf", ["W", "W"])
        write_scoring(tmp_path / "SC4001EC-Hypnogram.edf", ["N2", "N2"])
        (night,), problems = scanned("sleep-edf-sc", tmp_path)
        assert (night.id, night.scorers, problems) == ("SC4001", ("C", "H"), {})
        assert (night.hypnogram("H").names, night.hypnogram().names) == (["W", "W"], ["N2", "N2"])


class TestReading:
    def test_labels_stages_and_start_are_those_of_the_files(self, tmp_path):
        write_psg(tmp_path / "SC4001E0-PSG.edf", LABELS)
        # The hypnogram begins two epochs later than the recording.
        write_scoring(tmp_path / "SC4001EC-Hypnogram.edf", start=START + timedelta(seconds=60))
        night = scanned("sleep-edf-sc", tmp_path)[0][0]
        recording, hypnogram = night.recording(), night.hypnogram()
        assert (recording.labels, recording.start) == (LABELS, START)
        assert hypnogram.names == list(STAGES)
        assert hypnogram.start - recording.start == timedelta(seconds=60)
        np.testing.assert_allclose(recording.signal("EOG horizontal").samples()[::120], 2 + np.arange(6), atol=1e-3)

    def test_data_records_of_60_s_leave_epochs_at_30_s(self, tmp_path):
        # SC4362 in the original: 60 s a record, here 3 of them, of a signal that counts its half minutes.
        halves = np.repeat(np.arange(6), 30).reshape(3, 60) * 10
        path = tmp_path / "SC4362F0-PSG.edf"
        path.write_bytes(edf_bytes([Made(b"EEG Fpz-Cz", halves)], record_s="60", date="01.03.20", time="22.00.00"))
        write_scoring(tmp_path / "SC4362FC-Hypnogram.edf")
        (night,), _ = scanned("sleep-edf-sc", tmp_path)
        signal, hypnogram = night.recording().signals[0], night.hypnogram()
        assert (signal.sample_rate, signal.duration_s) == (1.0, 180.0)
        assert (hypnogram.epoch_s, hypnogram.names) == (30.0, list(STAGES))
        for epoch in range(6):
            np.testing.assert_allclose(signal.samples(30.0 * epoch, 30.0 * (epoch + 1)), epoch, atol=0.06)


class TestProblems:
    def test_what_is_alone_strange_or_twice_is_named(self, tmp_path):
        physionet(tmp_path)
        (tmp_path / "SC4001EC-Hypnogram.edf").unlink()
        (tmp_path / "SC4002E0-PSG.edf").unlink()
        write_psg(tmp_path / "mine.edf", LABELS)
        write_scoring(tmp_path / "twice" / "SC4201EJ-Hypnogram.edf")
        nights, problems = scanned("sleep-edf-sc", tmp_path)
        assert [night.id for night in nights] == ["SC4201"]
        assert nights[0].scorings[0].path == tmp_path / "SC4201EJ-Hypnogram.edf"
        assert problems.keys() == {
            "SC4001E0-PSG.edf",
            "SC4002EH-Hypnogram.edf",
            "mine.edf",
            "twice/SC4201EJ-Hypnogram.edf",
        }
        assert problems["SC4001E0-PSG.edf"] == "no hypnogram for SC4001"
        assert problems["SC4002EH-Hypnogram.edf"] == "no recording for SC4002"
        assert "second hypnogram of SC4201" in problems["twice/SC4201EJ-Hypnogram.edf"]
        assert "SC4001E0-PSG.edf" in problems["mine.edf"]

    def test_a_missing_night_does_not_shift_the_others(self, tmp_path):
        physionet(tmp_path)
        (tmp_path / "SC4001E0-PSG.edf").unlink()
        for night in scanned("sleep-edf-sc", tmp_path)[0]:
            assert night.psg.name[:6] == night.scorings[0].path.name[:6]


@pytest.mark.parametrize(("name", "matches"), [("SC4192E0-PSG.edf", True), ("SC4201EC-Hypnogram.edf", False)])
def test_of_the_twenty_subjects_only_their_files_are_fetched(name, matches):
    import re

    assert bool(re.search(dataset("sleep-edf-20").remote.names, name)) is matches
