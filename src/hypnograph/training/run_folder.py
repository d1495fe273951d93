"""The folder of a training: what it was asked, and whether a training may begin or go on there."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.model_info import INFO
from hypnograph.training.history import CSV, CURVE, read_history
from hypnograph.training.recipes import Recipe, read_recipe, recipe_toml
from hypnograph.training.splits import Split, read_split
from hypnograph.whole_file import whole_file

RECIPE: Final = "recipe.toml"
SPLIT: Final = "split.json"
STATE: Final = "state.pt"
BEST: Final = "best"
LAST: Final = "last"
PRETRAINING: Final = "pretraining"
TENSORBOARD: Final = "tensorboard"
"""What lies in it: texts of what was asked, the state, two checkpoints, the folder of a first step, its curves."""


def begin_run(folder: Path, recipe: Recipe, split: Split, *, resume: bool, overwrite: bool) -> None:
    """Write down what a training is asked, or see that it is asked the same as before, but for when it stops.

    To begin anew removes what the training before left, so that none of it is taken for a result of this one. A file
    that says what is asked already is left as it is: a person may have written it.

    Raises
    ------
    HypnographError
        If the folder holds a training and neither `resume` nor `overwrite` is set, or `resume` is set and recipe (but
        for its ``[stopping]``) or split are other ones, or the folder has other ones and no training, and `overwrite`
        is not set.
    """
    traces = (STATE, f"{PRETRAINING}/{STATE}", f"{BEST}/{INFO}", f"{LAST}/{INFO}")
    started = any((folder / trace).exists() for trace in traces)
    if started and not (resume or overwrite):
        raise HypnographError(f"{folder} holds a training: --resume goes on with it, --overwrite begins anew")
    goes_on, others = started and resume, _others(folder, recipe, split)
    for name in others:
        if goes_on and name == RECIPE and _stops_elsewhere(folder / RECIPE, recipe):
            n_passes = len(read_history(folder)) if (folder / CSV).is_file() else 0
            if n_passes > recipe.stopping.passes:
                raise HypnographError(
                    f"{folder} has had {n_passes} passes already; it cannot end after {recipe.stopping.passes}"
                )
            continue
        if goes_on or ((folder / name).exists() and not overwrite):
            raise HypnographError(
                f"{folder / name} is not what is asked now, and a training goes on with its own {name} only; take it, "
                "choose another folder, or --overwrite"
            )
    if started and not goes_on:
        _remove_results(folder)
    for name, text in others.items():
        with whole_file(folder / name) as path:
            path.write_bytes(text.encode())


def _others(folder: Path, recipe: Recipe, split: Split) -> dict[str, str]:
    """Return the texts of what is asked, where the folder does not say it."""
    texts = {RECIPE: recipe_toml(recipe), SPLIT: split.to_json()}
    return {name: text for name, text in texts.items() if _said(folder / name) != text}


def _stops_elsewhere(path: Path, recipe: Recipe) -> bool:
    """Tell whether a recipe asks for more passes than the one in a file, or fewer, and for nothing else."""
    try:
        return replace(read_recipe(path), stopping=recipe.stopping) == recipe
    except (HypnographError, OSError):
        return False


def _said(path: Path) -> str | None:
    """Return what a file asks, written as we write it; None where it is damaged, or there is none."""
    try:
        return recipe_toml(read_recipe(path)) if path.name == RECIPE else read_split(path).to_json()
    except (HypnographError, OSError):
        return None


def _remove_results(folder: Path) -> None:
    for file in (STATE, CSV, CURVE):
        (folder / file).unlink(missing_ok=True)
    for name in (BEST, LAST, PRETRAINING, TENSORBOARD):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def read_run(folder: str | Path) -> tuple[Recipe, Split]:
    """Read what a training was asked.

    Raises
    ------
    HypnographError
        If the folder holds no training.
    """
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise UnreadableFileError(f"{folder} holds no training: there is no {RECIPE}")
    return read_recipe(folder / RECIPE), read_split(folder / SPLIT)


def best_checkpoint(folder: str | Path) -> Path:
    """Return the folder of a training's best checkpoint, of the last one where none was judged; itself if it is one.

    Raises
    ------
    HypnographError
        If there is none.
    """
    folder = Path(folder)
    for candidate in (folder / BEST, folder / LAST, folder):
        if (candidate / INFO).is_file():
            return candidate
    raise UnreadableFileError(f"{folder} holds no checkpoint: a training writes one after its first pass")
