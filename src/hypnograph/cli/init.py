"""``hypnograph init``: a project folder with a recipe of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.channel_labels import ChannelKind


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--recipe", default="usleep", show_default=True, metavar="NAME", help="The recipe to begin with.")
@click.option("--list", "as_list", is_flag=True, help="List the recipes.")
@click.option("--overwrite", is_flag=True, help="Replace the recipe of a project that exists; its README stays.")
def command(*, folder: Path | None, recipe: str, as_list: bool, overwrite: bool) -> None:
    """Make a project in FOLDER: a recipe to change, and a README with the commands from data to results.

    \b
    Example:
      hypnograph init my-project --recipe usleep-demo
      hypnograph init --list
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.training.recipes import parse_recipe, recipe_names, recipe_text
    from hypnograph.whole_file import check_output, whole_file

    if as_list:
        width = max(len(name) for name in recipe_names())
        for name in recipe_names():
            click.echo(f"{name.ljust(width)}  {parse_recipe(recipe_text(name)).title}")
        return
    if folder is None:
        raise HypnographError("name the folder of the project: hypnograph init FOLDER")
    text = recipe_text(recipe)
    check_output(folder / "recipe.toml", overwrite=overwrite)
    texts = {"recipe.toml": text}
    if not (folder / "README.md").exists():  # one that is there may be its owner's by now
        texts["README.md"] = _readme(folder.resolve().name, recipe, parse_recipe(text).input_spec().kinds)
    for name, content in texts.items():
        with whole_file(folder / name) as path:
            path.write_text(content, encoding="utf-8")
    click.echo(f"{folder}: recipe.toml ({recipe})" + ", README.md (what to do next)" * ("README.md" in texts))


def _readme(name: str, recipe: str, kinds: "tuple[ChannelKind, ...]") -> str:
    # Sleep-EDF has no ECG, and of the EMG an envelope.
    dataset = "hmc" if {"ECG", "EMG"} & set(kinds) else "sleep-edf-sc"
    return f"""# {name}

A hypnograph project, begun with the recipe `{recipe}`. Change `recipe.toml` to change what is trained. In this folder:

    hypnograph fetch {dataset} data/{dataset} --first 10
    hypnograph check-data {dataset} data/{dataset} --kinds {",".join(kinds)}
    hypnograph split {dataset}=data/{dataset} split.json
    hypnograph prepare store {dataset}=data/{dataset} --recipe recipe.toml
    hypnograph train recipe.toml store split.json run
    hypnograph predict run store predictions
    hypnograph summary predictions
    hypnograph confusion predictions

Data of your own: a folder for each recording, with its scoring beside it, is the dataset `folder`. A cross-validation:
`hypnograph split store splits --folds 10`, then `hypnograph cross-validate recipe.toml store splits cv`.
"""
