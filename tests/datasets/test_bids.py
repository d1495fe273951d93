"""BIDS (https://bids-specification.readthedocs.io/), and BOAS as OpenNeuro has it (ds005555, version 1.1.1)."""

from pathlib import Path

import pytest

from tests.datasets.trees import STAGES, START, scanned, write_psg

NAMES = [stage if stage != "UNSCORED" else "n/a" for stage in STAGES]


def write_events(path: Path, names: list[str] = NAMES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{30 * i}\t30\t{name}" for i, name in enumerate(names)]
    path.write_text("\n".join(["onset\tduration\ttrial_type", *rows, "12\t3\tarousal", ""]))


def write_night(folder: Path, stem: str) -> None:
    write_psg(folder / f"{stem}_eeg.edf", ("C4-M1", "E1-M2"))
    write_events(folder / f"{stem}_events.tsv")


class TestBids:
    def test_subject_and_visit_are_entities_of_the_name(self, tmp_path):
        for stem in ("sub-02_task-sleep", "sub-01_ses-2_task-sleep_acq-psg_run-1", "sub-01_ses-1_task-sleep"):
            write_night(tmp_path / stem.partition("_")[0] / "eeg", stem)
        nights, problems = scanned("bids", tmp_path)
        assert [(n.subject, n.visit, n.id) for n in nights] == [
            ("01", "1", "sub-01_ses-1_task-sleep"),
            ("01", "2-1", "sub-01_ses-2_task-sleep_acq-psg_run-1"),
            ("02", "", "sub-02_task-sleep"),
        ]
        assert problems == {}

    def test_names_in_capitals_are_names(self, tmp_path):
        write_night(tmp_path, "SUB-01_SES-2_task-sleep")
        (night,), problems = scanned("bids", tmp_path)
        assert (night.subject, night.visit, problems) == ("01", "2", {})

    def test_the_rows_that_are_stages_are_the_scoring(self, tmp_path):
        write_night(tmp_path, "sub-01_task-sleep")
        hypnogram = scanned("bids", tmp_path)[0][0].hypnogram()
        assert (hypnogram.names, hypnogram.start) == (list(STAGES), START)

    def test_ones_own_names_of_stages_can_be_explained(self, tmp_path):
        write_night(tmp_path, "sub-01_task-sleep")
        write_events(tmp_path / "sub-01_task-sleep_events.tsv", ["W", "N1", "dreaming", "N3"])
        night = scanned("bids", tmp_path, stage_map=("dreaming=REM",))[0][0]
        assert night.hypnogram().names == ["W", "N1", "REM", "N3"]

    @pytest.mark.parametrize("entity", ["task-nap", "task-sleep_acq-headband", "task-sleep_run-2", "ses-1_task-sleep"])
    def test_a_scoring_with_another_entity_is_of_another_recording(self, tmp_path, entity):
        write_psg(tmp_path / "sub-01_task-sleep_eeg.edf", ("C4-M1",))
        write_events(tmp_path / f"sub-01_{entity}_events.tsv")
        nights, problems = scanned("bids", tmp_path)
        assert nights == []
        assert "no scoring" in problems["sub-01_task-sleep_eeg.edf"]
        assert "no recording" in problems[f"sub-01_{entity}_events.tsv"]

    @pytest.mark.parametrize("folder", ["sourcedata", "derivatives/cleaned", "code"])
    def test_what_is_not_raw_is_passed_over(self, tmp_path, folder):
        write_night(tmp_path / folder / "sub-01", "sub-01_task-sleep")
        write_psg(tmp_path / folder / "night.edf", ("C4-M1",))
        assert scanned("bids", tmp_path) == ([], {})

    def test_the_proposed_hypnogram_is_a_scoring_and_other_formats_are_recordings(self, tmp_path):
        for ending in ("vhdr", "set", "bdf"):
            (tmp_path / f"sub-{ending}_task-sleep_eeg.{ending}").write_bytes(b"")
            (tmp_path / f"sub-{ending}_task-sleep_hypnogram.tsv").write_text("onset\tduration\tstage\n0\t60\tN2\n")
        nights, problems = scanned("bids", tmp_path)
        assert ([n.subject for n in nights], problems) == (["bdf", "set", "vhdr"], {})

    def test_what_is_strange_or_twice_is_named(self, tmp_path):
        write_night(tmp_path, "sub-01_task-sleep")
        write_psg(tmp_path / "subject1.edf", ("C4-M1",))
        (tmp_path / "sub-01_task-sleep_eeg.set").write_bytes(b"")
        (tmp_path / "task-sleep_events.tsv").write_text("")
        nights, problems = scanned("bids", tmp_path)
        assert [night.psg.suffix for night in nights] == [".edf"]
        assert problems.keys() == {"subject1.edf", "sub-01_task-sleep_eeg.set"}
        assert "sub-01_task-sleep_eeg.edf is taken" in problems["sub-01_task-sleep_eeg.set"]


class TestBoas:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "participants.tsv").write_text(
            "participant_id\tpid\tage\nsub-1\t7\t27\nsub-2\t7\t27\nsub-10\t8\t33\n"
        )
        for subject in ("sub-1", "sub-2", "sub-10"):
            stem = tmp_path / subject / "eeg" / f"{subject}_task-Sleep_acq-"
            for system in ("psg", "headband"):
                write_psg(Path(f"{stem}{system}_eeg.edf"), ("PSG_C4", "PSG_C3") if system == "psg" else ("HB_1",))
            codes = [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (8, 4)]
            rows = [f"{30 * i}\t30\t1\t2\t0\t{human}\t{model}" for i, (human, model) in enumerate(codes)]
            columns = "onset\tduration\tbegsample\tendsample\toffset\tstage_hum\tstage_ai"
            Path(f"{stem}psg_events.tsv").write_text("\n".join([columns, *rows, ""]))
            Path(f"{stem}headband_events.tsv").write_text("onset\tduration\tstage_ai\n0\t30\t4\n")
        return tmp_path

    def test_the_psg_comes_with_the_human_consensus(self, folder):
        nights, problems = scanned("boas", folder)
        assert (len(nights), problems) == (3, {})
        assert nights[0].recording().labels == ("PSG_C4", "PSG_C3")
        assert nights[0].hypnogram().names == ["W", "N1", "N2", "N3", "REM", "UNSCORED"]

    def test_nights_of_one_person_have_one_subject(self, folder):
        nights, _ = scanned("boas", folder)
        people = {night.id.partition("_")[0]: night.subject for night in nights}
        assert people["sub-1"] == people["sub-2"] != people["sub-10"]

    def test_a_night_that_the_table_lacks_is_a_problem(self, folder):
        (folder / "participants.tsv").write_text("participant_id\tpid\nsub-1\t7\nsub-10\t8\n")
        nights, problems = scanned("boas", folder)
        assert len(nights) == 3
        assert "does not say whose" in problems["sub-2/eeg/sub-2_task-Sleep_acq-psg_eeg.edf"]

    @pytest.mark.parametrize("content", [None, "participant_id\tage\nsub-1\t27\n"])
    def test_it_is_a_problem_that_people_are_not_known(self, folder, content):
        (folder / "participants.tsv").unlink()
        if content:
            (folder / "participants.tsv").write_text(content)
        nights, problems = scanned("boas", folder)
        assert {night.subject for night in nights} == {"1", "2", "10"}
        assert len(problems) == 1
        assert "nights of one person" in next(iter(problems.values()))
