"""``hypnograph disorders``."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.cli.disorders import _SETS
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.sequences.disorder_features import SETS
from hypnograph.sequences.disorders import NOT_A_DIAGNOSIS
from tests.conftest import REPOSITORY
from tests.sequences.sleepers import sleepers

PAGE = REPOSITORY / "docs" / "how-to" / "disorders.md"
QUICK = ("--healthy", "normal", "--folds", 3, "--repeats", 2)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["disorders", *map(str, arguments)])


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """A table of 16 people, and the screen that was fitted on them beside it."""
    folder = tmp_path_factory.mktemp("people")
    lines = ["file,diagnosis"]
    for person in sleepers(8, n_epochs=240):
        write_hypnogram(person.hypnogram, folder / f"{person.subject}.txt")
        lines.append(f"{person.subject}.txt,{person.diagnosis}")
    write_hypnogram(sleepers(1)[0].hypnogram, folder / "night.csv")
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    trained = run("train", folder / "people.csv", folder / "screen", *QUICK, "--data", "nobody slept")
    assert trained.exception is None
    return folder


class TestTrain:
    def test_writes_a_card_that_names_the_baselines(self, people) -> None:
        card = (people / "screen" / "README.md").read_text()
        for text in (
            NOT_A_DIAGNOSIS,
            "nobody slept; people: normal 8, rbd 8",
            "AUC of length alone",
            "AUC of wake alone",
        ):
            assert text in card

    def test_nothing_is_overwritten(self, people) -> None:
        assert "is not overwritten" in str(run("train", people / "people.csv", people / "screen", *QUICK).exception)

    def test_too_few_people_are_refused(self, people) -> None:
        refused = run("train", people / "people.csv", people / "x", "--healthy", "well").exception
        assert isinstance(refused, HypnographError)
        assert "0 people are 'well'" in str(refused)
        assert not (people / "x").exists()


class TestScreen:
    def test_prints_probabilities_reasons_and_that_it_is_no_diagnosis(self, people) -> None:
        result = run("screen", "--screen", people / "screen", people / "rbd0.txt", people / "night.csv")
        assert result.exception is None
        for text in (NOT_A_DIAGNOSIS, "rbd0.txt", "night.csv", "any disorder: probability 0.", "per hour of sleep"):
            assert text in result.stdout
        assert "fitted on 16 people: normal 8, rbd 8" in result.stdout

    def test_json_has_every_reason_and_the_notice(self, people) -> None:
        (found,) = json.loads(run("screen", "--screen", people / "screen", people / "normal0.txt", "--json").stdout)
        assert (found["file"], found["notice"], found["prevalence"]) == ("normal0.txt", NOT_A_DIAGNOSIS, 0.5)
        assert found["findings"][0]["probability"] < 0.5
        assert len(found["findings"][0]["reasons"]) == 11

    def test_a_rare_disorder_is_less_likely(self, people) -> None:
        found = [
            json.loads(run("screen", "--screen", people / "screen", people / "rbd0.txt", "--json", *more).stdout)
            for more in ((), ("--prevalence", 0.01))
        ]
        even, rare = (night[0]["findings"][0]["probability"] for night in found)
        assert rare < even

    def test_mistakes_are_said(self, people, tmp_path) -> None:
        (tmp_path / "short.txt").write_text("N2\n" * 20)
        short = run("screen", "--screen", people / "screen", tmp_path / "short.txt").exception
        assert "short.txt: the hypnogram has 10 min of sleep" in str(short)
        absent = run("screen", "--screen", tmp_path / "none", people / "rbd0.txt").exception
        assert isinstance(absent, UnreadableFileError)


class TestEvaluate:
    def test_the_baselines_stand_beside_every_method(self, people) -> None:
        result = run("evaluate", people / "people.csv", *QUICK, "--methods", "statistics")
        assert result.exception is None
        for text in ("any disorder: 8 nights against 8", "rbd: 8 nights", "length", "wake", "statistics", "repeats"):
            assert text in result.stdout

    def test_json_has_all_numbers(self, people) -> None:
        options = ("--methods", "statistics", "--permutations", 4, "--json")
        found = json.loads(run("evaluate", people / "people.csv", *QUICK, *options).stdout)
        methods = found["questions"]["rbd"]
        assert list(methods) == ["length", "wake", "statistics"]
        auc = methods["statistics"]["AUC"]
        assert auc["low"] <= auc["value"] <= auc["high"]
        assert auc["value"] > 0.9
        assert methods["statistics"]["AUC_above"]["baseline"] in ("length", "wake")
        assert methods["statistics"]["p"] == 0.2

    def test_a_method_that_lacks_its_trunk_or_is_unknown_is_refused(self, people) -> None:
        assert "needs --trunk" in str(run("evaluate", people / "people.csv", *QUICK, "--methods", "network").exception)
        assert run("evaluate", people / "people.csv", *QUICK, "--methods", "magic").exit_code == 2


def test_the_commands_of_the_how_to_page_run(people, monkeypatch) -> None:
    """They stand in text blocks there: the people are those of this file."""
    monkeypatch.chdir(people)
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    lines = [line for line in "".join(blocks).splitlines() if line.startswith("hypnograph ")]
    assert len(lines) == 4
    for line in lines:
        result = CliRunner().invoke(hypnograph, shlex.split(line)[1:])
        assert result.exception is None, f"{line}\n{result.output}"


def test_the_help_names_all_sets_of_features() -> None:
    assert tuple(SETS) == _SETS
