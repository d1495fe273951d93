"""``hypnograph check-data``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from tests.datasets import trees
from tests.test_data_check import write_night, write_psg


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["check-data", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_night(tmp_path, "one")
    write_night(tmp_path, "two", labels=("EEG C4-M1", "EOG E1-M2"))
    return tmp_path


class TestText:
    def test_a_good_folder_is_counted_and_exits_with_0(self, folder: Path) -> None:
        result = run("folder", folder)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "folder: 2 nights of 2 subjects, 2 scorings, 0.2 h of recording"
        # Oracle: ten epochs a night, nine of them scored, counted by hand.
        assert lines[2].split() == ["W", "4", "22.2", "%", "0"]
        assert lines[7].split() == ["UNSCORED", "2"]
        assert lines[-1] == "no problems"

    def test_problems_are_printed_and_exit_with_1(self, folder: Path) -> None:
        write_psg(folder / "alone.edf")
        result = run("folder", folder)
        assert result.exit_code == 1
        assert "problem: " + str(folder / "alone.edf") in result.stdout
        assert "no problems" not in result.stdout

    def test_quick_says_that_only_names_were_looked_at(self, folder: Path) -> None:
        (folder / "one.edf").write_bytes(b"broken")
        result = run("folder", folder, "--quick")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            "folder: 2 nights of 2 subjects, 2 scorings",
            "no problems in the names; without --quick, every night is opened",
        ]


class TestOptions:
    def test_kinds_are_what_each_recording_must_have(self, folder: Path) -> None:
        result = run("folder", folder, "--kinds", "eeg,EOG")
        assert result.exit_code == 1
        assert "one.edf: no EOG" in result.stdout
        assert "two.edf" not in result.stdout

    def test_derivations_are_found_by_the_names_that_are_given(self, tmp_path: Path) -> None:
        trees.write_psg(tmp_path / "n1.edf", ("Kanal 1", "Kanal 2"), sample_rate=64.0)
        trees.write_scoring(tmp_path / "n1-Hypnogram.edf")
        assert "name it with --eeg" in run("folder", tmp_path).stdout
        assert run("folder", tmp_path, "--eeg", "C4-M1", "--eeg", "Kanal 1").exit_code == 0
        assert run("folder", tmp_path, "--eeg", "C4-M1").exit_code == 1
        assert run("folder", tmp_path, "--emg", "Chin").exit_code == 2

    def test_an_unknown_kind_is_a_usage_error(self, folder: Path) -> None:
        assert run("folder", folder, "--kinds", "EKG").exit_code == 2

    def test_those_of_the_dataset_folder_reach_it(self, folder: Path) -> None:
        assert "2 nights of 1 subjects" in run("folder", folder, "--subject", "o").stdout
        assert "1 nights of 1 subjects" in run("folder", folder, "--psg", "one.edf").stdout

    def test_one_that_a_dataset_does_not_have_is_an_error(self, folder: Path) -> None:
        assert "no option 'psg'" in str(run("sleep-edf-sc", folder, "--psg", "*.edf").exception)


def test_json_holds_the_same_and_is_all_that_is_printed(folder: Path) -> None:
    write_psg(folder / "alone.edf")
    result = run("folder", folder, "--format", "json")
    assert result.exit_code == 1
    check = json.loads(result.stdout)
    assert check["n_nights"] == 2
    assert check["stages"]["W"] == 4
    assert [Path(problem["path"]).name for problem in check["problems"]] == ["alone.edf"]
