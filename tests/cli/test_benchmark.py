"""``hypnograph benchmark``: from folders and names to a table, and on from where it stopped."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError
from tests.test_benchmark import RECIPE, write_night


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["benchmark", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "nights").mkdir()
    for number in (1, 2, 3):
        write_night(folder / "nights", number, simulated=True)
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def first(folder: Path) -> Result:
    how = ("--folds", "leave-one-out", "--set", "stopping.passes=2", "--accelerator", "cpu", "--workers", "0")
    return run(folder / "out", f"folder={folder / 'nights'}", "--stager", folder / "tiny.toml", *how)


def test_a_recipe_is_trained_in_each_fold_and_judged(first: Result, folder: Path) -> None:
    assert first.exit_code == 0, first.output
    assert "# 1 stager on folder: 3 simulated nights" in first.stdout
    assert "leave one out, 1 of 3" in first.stdout
    assert "3 of 3: tiny, fold 3 of 3: done" in first.stderr
    assert "training pass 2 of 2" in first.stderr
    assert "passes = 2" in (folder / "out/stagers/tiny/fold-001/recipe.toml").read_text()
    assert (folder / "out/comparison.md").read_text().startswith(first.stdout.partition("\ntables and")[0].rstrip())


def test_a_trained_fold_joins_by_another_name_and_says_whom_it_saw(first: Result, folder: Path) -> None:
    fold = folder / "out/stagers/tiny/fold-001"
    result = run(folder / "other", f"folder={folder / 'nights'}", "--stager", f"again={fold}", "--quiet")
    assert result.exit_code == 0, result.output
    assert "| again (may have seen these subjects) |" in result.stdout
    assert result.stderr == ""


def test_networks_are_given_the_derivations_that_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "nights").mkdir()
    for number in (1, 2, 3):
        write_night(tmp_path / "nights", number, label="Kanal 1")
    given = (f"folder={tmp_path / 'nights'}", "--stager", folder / "tiny.toml", "--folds", "leave-one-out", "--quiet")
    quick = ("--accelerator", "cpu", "--workers", "0")
    assert "no stager could be used" in str(run(tmp_path / "unnamed", *given, *quick).exception)
    result = run(tmp_path / "named", *given, *quick, "--eeg", "Kanal 1")
    assert result.exit_code == 0, result.output
    assert "3 nights of 3 subjects" in result.stdout


def test_mistakes_say_what_to_do(folder: Path) -> None:
    nights = f"folder={folder / 'nights'}"
    for arguments, said in (
        ((nights, "--stager", "nobody"), "'nobody' is no recipe"),
        ((nights, "--stager", "tinysleepnet", "--folds", "many"), "no folds 'many'"),
        ((folder / "nights", "--stager", "yasa"), "write DATASET=FOLDER"),
        ((f"sleep-edf-sc={folder / 'nights'}", "--stager", "yasa", "--subject", "x"), "--subject is used together"),
        ((nights, "--stager", "yasa", "--set", "stopping.passes=1"), "no recipe among the stagers"),
    ):
        result = run(folder / "mistaken", *arguments)
        assert isinstance(result.exception, HypnographError), result.output
        assert said in str(result.exception)


def test_files_that_are_no_nights_are_named(folder: Path, first: Result, tmp_path: Path) -> None:
    write_night(tmp_path, 1)
    (tmp_path / "alone.edf").write_bytes((tmp_path / "n1.edf").read_bytes())
    fold = folder / "out/stagers/tiny/fold-001"
    result = run(tmp_path / "out", f"folder={tmp_path}", "--stager", fold)
    assert result.exit_code == 0, result.output
    assert "problem:" in result.stderr
    assert "alone.edf" in result.stderr
    assert "# 1 stager on folder: 1 night\n" in result.stdout
