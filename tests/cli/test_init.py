"""``hypnograph init``: a project whose recipe can be changed and whose README's commands exist."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.training.recipes import read_recipe, recipe_names, recipe_text


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["init", *map(str, arguments)])


def test_a_project_has_the_recipe_to_change_and_a_readme(tmp_path: Path) -> None:
    result = run(tmp_path / "mine", "--recipe", "usleep-demo")
    assert result.exit_code == 0, result.exception
    assert (tmp_path / "mine" / "recipe.toml").read_text() == recipe_text("usleep-demo")
    assert read_recipe(tmp_path / "mine" / "recipe.toml") == read_recipe("usleep-demo")
    readme = (tmp_path / "mine" / "README.md").read_text()
    assert readme.startswith("# mine\n")
    assert "`usleep-demo`" in readme


def test_the_commands_of_the_readme_are_commands(tmp_path: Path) -> None:
    """Each line is parsed by the command it names; `tests/test_training_demo.py` runs such lines."""
    run(tmp_path)
    lines = [line.strip() for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert len(lines) == 8
    for line in lines:
        program, name, *words = line.split()
        assert program == "hypnograph"
        command = hypnograph.get_command(click.Context(hypnograph), name)
        assert command is not None, name
        command.make_context(name, words)


def test_what_each_line_needs_was_made_by_a_line_before(tmp_path: Path) -> None:
    run(tmp_path)
    lines = [line.split() for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert [words[1] for words in lines] == [
        "fetch", "check-data", "split", "prepare", "train", "predict", "summary", "confusion",
    ]  # fmt: skip
    train = next(words for words in lines if words[1] == "train")
    assert train[2:] == ["recipe.toml", "store", "split.json", "run"]


def test_the_list_has_every_recipe_with_its_title() -> None:
    lines = run("--list").output.splitlines()
    assert [line.split()[0] for line in lines] == list(recipe_names())
    for name, line in zip(recipe_names(), lines, strict=True):
        assert line.removeprefix(name).strip() == read_recipe(name).title != ""


def test_a_recipe_that_a_person_wrote_is_replaced_only_where_it_is_asked(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("mine")
    assert "--overwrite" in str(run(tmp_path).exception)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]
    assert recipe.read_text() == "mine"
    assert run(tmp_path, "--overwrite").exit_code == 0
    assert recipe.read_text() != "mine"


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_a_readme_that_is_there_stays(options: tuple, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    result = run(tmp_path, *options)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "recipe.toml").exists()
    assert "README" not in result.stdout


@pytest.mark.parametrize(("recipe", "dataset"), [("usleep", "sleep-edf-sc"), ("ecg-utime", "hmc")])
def test_the_readme_takes_a_dataset_that_has_the_channels(recipe: str, dataset: str, tmp_path: Path) -> None:
    run(tmp_path, "--recipe", recipe)
    assert f"hypnograph fetch {dataset} " in (tmp_path / "README.md").read_text()


def test_mistakes_say_what_to_do(tmp_path: Path) -> None:
    assert "hypnograph init FOLDER" in str(run().exception)
    assert "no recipe 'nothing'. There are: attnsleep" in str(run(tmp_path / "x", "--recipe", "nothing").exception)
    assert not (tmp_path / "x").exists()
