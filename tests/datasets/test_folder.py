"""A folder of one's own: names that people give their files."""

from pathlib import Path

import pytest

from hypnograph.datasets import scan
from hypnograph.errors import HypnographError
from hypnograph.recording import Annotation
from tests.datasets.trees import STAGES, START, scanned, write_codes, write_psg, write_scoring

LABELS = ("C4-A1", "E1-M2")


def pairs(folder: Path, **options: str) -> dict[str, list[tuple[str, str]]]:
    """Return for each recording its scorers and scorings; the folder must have no problems."""
    nights, problems = scanned("folder", folder, **options)
    assert problems == {}
    return {
        n.psg.relative_to(folder).as_posix(): [(s.scorer, s.path.relative_to(folder).as_posix()) for s in n.scorings]
        for n in nights
    }


def ids(path: Path, text: str = "0,30,W\n30,30,N2\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class TestAFolderForEachRecording:
    def test_what_lies_beside_a_recording_is_its_own_whatever_the_names(self, tmp_path):
        for person in ("anna", "ben"):
            write_psg(tmp_path / person / "psg.edf", LABELS)
            ids(tmp_path / person / "hypnogram.ids")
            (tmp_path / person / "notes.txt").write_text("slept well\n")
        assert pairs(tmp_path) == {f"{p}/psg.edf": [("", f"{p}/hypnogram.ids")] for p in ("anna", "ben")}
        assert [(n.id, n.subject) for n in scanned("folder", tmp_path)[0]] == [("anna", "anna"), ("ben", "ben")]

    def test_two_edf_files_are_told_apart_by_their_words(self, tmp_path):
        write_psg(tmp_path / "SC4001E0" / "SC4001E0-PSG.edf", LABELS)
        write_scoring(tmp_path / "SC4001E0" / "SC4001EC-Hypnogram.edf")
        (night,), problems = scanned("folder", tmp_path)
        assert problems == {}
        assert (night.id, night.hypnogram().names, night.hypnogram().start) == ("SC4001E0", list(STAGES), START)

    def test_several_scorings_are_several_scorers(self, tmp_path):
        write_psg(tmp_path / "s1" / "psg.edf", LABELS)
        for scorer in ("B", "A"):
            write_codes(tmp_path / "s1" / f"hypnogram_{scorer}.txt", [0, 1])
        assert pairs(tmp_path) == {
            "s1/psg.edf": [("A", "s1/hypnogram_A.txt"), ("B", "s1/hypnogram_B.txt")],
        }

    def test_a_scorer_who_is_alone_keeps_the_name(self, tmp_path):
        for night, scorers in {"n1": ("anna", "ben"), "n2": ("anna",), "n3": ()}.items():
            write_psg(tmp_path / f"{night}.edf", LABELS)
            for scorer in scorers or ("hypnogram",):
                write_codes(tmp_path / f"{night}-{scorer}-scoring.txt", [0, 1])
        found = {night.id: night.scorers for night in scanned("folder", tmp_path)[0]}
        assert found == {"n1": ("anna", "ben"), "n2": ("anna",), "n3": ("",)}

    @pytest.mark.parametrize(
        ("psg", "scoring"),
        [("psg.edf", "sub-1.txt"), ("n1_PSG.edf", "n1_PSG.txt"), ("n1.edf", "n1.edf.txt"), ("n1.edf", "n1_sleep.txt"),
         ("n1.edf", "n12.txt")],
    )  # fmt: skip
    def test_a_name_that_says_no_scorer_makes_none(self, psg, scoring, tmp_path):
        write_psg(tmp_path / "s1" / psg, LABELS)
        write_codes(tmp_path / "s1" / scoring, [0, 1])
        ((night,), problems) = scanned("folder", tmp_path, scoring="*.txt")
        assert (night.scorers, problems) == (("",), {})

    def test_the_chosen_folder_may_be_one_recordings_own(self, tmp_path):
        write_psg(tmp_path / "psg.edf", LABELS)
        ids(tmp_path / "hypnogram.ids")
        assert pairs(tmp_path) == {"psg.edf": [("", "hypnogram.ids")]}


class TestSideBySide:
    def test_files_pair_by_what_their_names_have_in_common(self, tmp_path):
        for night in ("night1", "night10", "night2"):
            write_psg(tmp_path / f"{night}.edf", LABELS)
        ids(tmp_path / "night1-hypnogram.ids")
        write_codes(tmp_path / "Night10.txt", [0, 1])
        write_codes(tmp_path / "night2_A.txt", [0, 1])
        write_codes(tmp_path / "night2_B.txt", [0, 1])
        write_codes(tmp_path / "participants.csv", [44])
        assert pairs(tmp_path) == {
            "night1.edf": [("", "night1-hypnogram.ids")],
            "night10.edf": [("", "Night10.txt")],
            "night2.edf": [("A", "night2_A.txt"), ("B", "night2_B.txt")],
        }

    def test_the_longest_common_name_counts(self, tmp_path):
        for stem in ("night1", "night1_v2"):
            write_psg(tmp_path / f"{stem}.edf", LABELS)
            ids(tmp_path / f"{stem}_stages.ids")
        assert pairs(tmp_path) == {f"{s}.edf": [("", f"{s}_stages.ids")] for s in ("night1", "night1_v2")}

    def test_night10_is_not_night1_with_something_after_it(self, tmp_path):
        for night in ("night1", "night2"):
            write_psg(tmp_path / f"{night}.edf", LABELS)
            ids(tmp_path / f"{night}.ids")
        ids(tmp_path / "night10.ids")
        nights, problems = scanned("folder", tmp_path)
        assert ([n.scorings[0].path.stem for n in nights], problems.keys()) == (["night1", "night2"], {"night10.ids"})

    def test_the_same_names_in_two_folders_are_two_nights(self, tmp_path):
        for person in ("p1", "p2"):
            for place in ("lab", "home"):
                write_psg(tmp_path / person / f"{place}.edf", LABELS)
                ids(tmp_path / person / f"{place}.ids")
        assert pairs(tmp_path) == {
            f"{p}/{place}.edf": [("", f"{p}/{place}.ids")] for p in ("p1", "p2") for place in ("home", "lab")
        }

    def test_scorings_in_a_folder_of_their_own_are_found_by_name(self, tmp_path):
        for night in ("a", "b"):
            write_psg(tmp_path / "psg" / f"{night}.edf", LABELS)
            ids(tmp_path / "scorings" / f"{night}.ids")
        assert pairs(tmp_path) == {f"psg/{n}.edf": [("", f"scorings/{n}.ids")] for n in ("a", "b")}

    def test_the_scoring_of_a_missing_night_is_no_other_nights(self, tmp_path):
        write_psg(tmp_path / "night1.edf", LABELS)
        ids(tmp_path / "night2-hypnogram.ids")
        nights, problems = scanned("folder", tmp_path)
        assert (nights, problems.keys()) == ([], {"night1.edf", "night2-hypnogram.ids"})
        assert "no scoring" in problems["night1.edf"]
        assert "no recording" in problems["night2-hypnogram.ids"]


class TestOptions:
    def test_patterns_say_which_files_are_which(self, tmp_path):
        for person in ("p1", "p2"):
            write_psg(tmp_path / person / "lab" / "main.edf", LABELS)
            write_psg(tmp_path / person / "lab" / "headband.edf", LABELS)
            write_codes(tmp_path / person / "lab" / "main_one.txt", [0, 1])
            write_codes(tmp_path / person / "lab" / "main_two.txt", [1, 1])
        chosen = pairs(tmp_path, psg="*/MAIN.edf", scoring="*_two.txt")
        assert chosen == {f"{p}/lab/main.edf": [("two", f"{p}/lab/main_two.txt")] for p in ("p1", "p2")}

    def test_a_pattern_that_no_file_matches_is_a_problem(self, tmp_path):
        write_psg(tmp_path / "a.edf", LABELS)
        write_codes(tmp_path / "a.txt", [0, 1])
        _, problems = scanned("folder", tmp_path, scoring="*_two.txt")
        assert problems["."] == "no file in it matches the option 'scoring': '*_two.txt'"

    def test_a_pattern_makes_a_scoring_of_what_could_be_notes(self, tmp_path):
        write_psg(tmp_path / "s1" / "main.edf", LABELS)
        write_codes(tmp_path / "s1" / "expert.txt", [0, 1])
        assert "no scoring" in scanned("folder", tmp_path)[1]["s1/main.edf"]
        assert pairs(tmp_path, scoring="*/expert.txt") == {"s1/main.edf": [("", "s1/expert.txt")]}

    def test_an_edf_file_that_is_a_scoring_by_its_pattern_is_no_recording(self, tmp_path):
        write_psg(tmp_path / "a.edf", LABELS)
        write_scoring(tmp_path / "a_doctor.edf")
        assert pairs(tmp_path, scoring="*_doctor.edf") == {"a.edf": [("doctor", "a_doctor.edf")]}

    def test_subject_and_id_are_searched_in_the_path(self, tmp_path):
        for night in ("P01_n1", "P01_n2", "P02_n1"):
            write_psg(tmp_path / "2026" / f"{night}.edf", LABELS)
            ids(tmp_path / "2026" / f"{night}.ids")
        nights, _ = scanned("folder", tmp_path, subject=r"/(P\d+)_", id=r"P\d+_n\d")
        assert [(n.id, n.subject) for n in nights] == [("P01_n1", "P01"), ("P01_n2", "P01"), ("P02_n1", "P02")]
        assert [n.id for n in scanned("folder", tmp_path)[0]] == ["2026-P01_n1", "2026-P01_n2", "2026-P02_n1"]

    def test_a_scoring_of_the_same_id_belongs_to_a_recording_whatever_else_its_name_says(self, tmp_path):
        for number in ("S001", "S002"):
            write_psg(tmp_path / "psg" / f"{number} PSG.edf", LABELS)
            write_codes(tmp_path / "scored" / f"Hypno_{number}_expert.txt", [0, 1, 2])
        assert pairs(tmp_path, id=r"S\d+") == {
            f"psg/{number} PSG.edf": [("", f"scored/Hypno_{number}_expert.txt")] for number in ("S001", "S002")
        }

    def test_a_path_without_a_subject_is_a_problem_not_a_guess(self, tmp_path):
        write_psg(tmp_path / "stray.edf", LABELS)
        ids(tmp_path / "stray.ids")
        nights, problems = scanned("folder", tmp_path, subject=r"(P\d+)")
        assert nights == []
        assert "'subject' does not match 'stray'" in problems["stray.edf"]

    def test_two_recordings_with_one_id_are_a_problem(self, tmp_path):
        for night in ("P01_n1", "P01_n2"):
            write_psg(tmp_path / f"{night}.edf", LABELS)
            ids(tmp_path / f"{night}.ids")
        nights, problems = scanned("folder", tmp_path, id=r"P\d+")
        assert [n.psg.name for n in nights] == ["P01_n1.edf"]
        assert "second recording of night P01" in problems["P01_n2.edf"]

    def test_a_scoring_may_be_in_the_recordings_own_file(self, tmp_path):
        texts = [Annotation(30.0 * i, 30.0, f"Sleep stage {s}") for i, s in enumerate(("W", "N2", "R"))]
        write_psg(tmp_path / "psg-and-hypnogram.edf", LABELS, n_epochs=3, annotations=texts)
        (night,), problems = scanned("folder", tmp_path, scoring="same")
        assert (night.scorings, problems) == ((("", tmp_path / "psg-and-hypnogram.edf"),), {})
        assert night.hypnogram().names == ["W", "N2", "REM"]
        assert night.hypnogram().start == night.recording().start == START

    def test_a_pattern_that_is_none_is_refused(self, tmp_path):
        write_psg(tmp_path / "a.edf", LABELS)
        with pytest.raises(HypnographError, match="not a regular expression"):
            list(scan("folder", tmp_path, subject="(P"))


class TestProblems:
    def test_two_scorings_by_one_scorer_are_a_problem(self, tmp_path):
        write_psg(tmp_path / "a.edf", LABELS)
        ids(tmp_path / "a-hypnogram.ids")
        ids(tmp_path / "a-stages.ids")
        (night,), problems = scanned("folder", tmp_path)
        assert night.scorers == ("",)
        assert "second scoring of a.edf" in problems["a-stages.ids"]

    def test_one_recording_in_two_formats_is_a_problem(self, tmp_path):
        write_psg(tmp_path / "a.edf", LABELS)
        write_psg(tmp_path / "a.rec", LABELS)
        ids(tmp_path / "a.ids")
        nights, problems = scanned("folder", tmp_path)
        assert nights == []
        assert problems.keys() == {"a.edf", "a.rec", "a.ids"}


class TestATableOfPeople:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("anna-1", "anna-2", "ben-1"):
            write_psg(tmp_path / "data" / f"{name}.edf", LABELS)
            ids(tmp_path / "data" / f"{name}-hypnogram.ids")
        return tmp_path / "data"

    @pytest.mark.parametrize(
        "table",
        [
            "subject,family,disorder\nanna,F1,insomnia\nben,F1,\n",
            "\ufeffSubject;Age;Disorder;Family\nanna;34;insomnia;F1\nben;40;;F1\n",
            "\tsubject\tfamily\tdisorder\n1\tanna\tF1\tinsomnia\n2\tben\tF1\t\n",
            '"subject","family","disorder"\n"anna","F1","insomnia"\n"ben","F1",""\n',
            "subject\tfamily\tdisorder\r\nben\tF1\t\r\nanna\tF1\tinsomnia\r\n",
        ],
    )
    def test_it_says_families_and_disorders(self, table: str, folder: Path) -> None:
        (folder / "people.csv").write_text(table, encoding="utf-8")
        nights, problems = scanned("folder", folder, subject="[a-z]+", people=str(folder / "people.csv"))
        assert problems == {}
        assert [(n.id, n.subject, n.family, n.disorder) for n in nights] == [
            ("anna-1", "anna", "F1", "insomnia"), ("anna-2", "anna", "F1", "insomnia"), ("ben-1", "ben", "F1", ""),
        ]  # fmt: skip

    def test_who_is_not_in_it_is_a_problem(self, folder: Path) -> None:
        (folder / "people.csv").write_text("subject,disorder\nanna,insomnia\n")
        nights, problems = scanned("folder", folder, subject="[a-z]+", people=str(folder / "people.csv"))
        assert [n.subject for n in nights] == ["anna", "anna"]
        assert problems == {"ben-1.edf": "subject ben is not in people.csv"}

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("name,disorder\nanna,\n", "has the columns name, disorder; it needs subject"),
            ("subject\nanna\n", "needs subject, and family or disorder"),
            ("subject,disorder\nanna,a\nanna,b\n", "says two things of subject anna"),
        ],
    )
    def test_a_table_that_is_none_is_refused(self, table: str, message: str, folder: Path) -> None:
        (folder / "people.csv").write_text(table)
        with pytest.raises(HypnographError, match=message):
            scanned("folder", folder, people=str(folder / "people.csv"))
        with pytest.raises(HypnographError, match="cannot be read as a table"):
            scanned("folder", folder, people=str(folder / "nothing.csv"))


def test_the_length_of_epochs_is_told_to_lists_only(tmp_path: Path) -> None:
    write_psg(tmp_path / "a.edf", LABELS)
    write_scoring(tmp_path / "a-hypnogram.edf", ["W", "N1", "N2", "W", "W", "W"])
    write_psg(tmp_path / "b.edf", LABELS)
    (tmp_path / "b-hypnogram.csv").write_text("stage\nW\nN1\n")
    write_psg(tmp_path / "c.edf", LABELS)
    (tmp_path / "c-hypnogram.csv").write_text("onset,duration,stage\n0,30,W\n30,30,N1\n")
    nights, problems = scanned("folder", tmp_path, scoring_epoch="20")
    assert problems == {}
    assert {n.id: n.hypnogram().epoch_s for n in nights} == {"a": 30.0, "b": 20.0, "c": 30.0}
