"""``hypnograph predict``: what a checkpoint says of the nights of a split."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.training.prediction_files import PredictedNight
    from hypnograph.training.store import Store

_PARTS = ("train", "validation", "test", "all")


@click.command()
@click.argument("checkpoint")
@click.argument("store")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--split", type=click.Path(path_type=Path), help="The split. [that of the training in CHECKPOINT]")
@click.option("--part", type=click.Choice(_PARTS), default="test", show_default=True, help="Whose nights.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Of this dataset only; may be repeated.")
@click.option(
    "--combinations", type=click.IntRange(min=0), metavar="N",
    help="Channel combinations that vote; 0: all. [1 where the recipe trains on first derivations, else all]",
)  # fmt: skip
@click.option("--each", is_flag=True, help="Write what each channel combination said, too.")
@click.option(
    "--augment", "n_augmented", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Test-time augmentation: stage each combination N more times, augmented as in the training.",
)  # fmt: skip
@click.option(
    "--resolution", "resolution_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Length of a predicted stretch, for networks that can. [30]",
)  # fmt: skip
@click.option(
    "--reference", "targets", type=click.Choice(["first", "majority"]), default="first", show_default=True,
    help="Where there are several scorers: the scoring that is written beside the prediction.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the augmentations.")
@click.option("--resume", is_flag=True, help="Leave out nights that are staged already.")
@click.option("--overwrite", is_flag=True, help="Replace predictions that exist.")
def command(
    *,
    checkpoint: str,
    store: str,
    out: Path,
    split: Path | None,
    part: str,
    datasets: tuple[str, ...],
    combinations: int | None,
    each: bool,
    n_augmented: int,
    resolution_s: float | None,
    targets: str,
    seed: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Stage the nights of a part of a split by CHECKPOINT, and write stages and probabilities to OUT.

    CHECKPOINT is the folder of a training (its best checkpoint is used), of a checkpoint, an ONNX file, or a name that
    `hypnograph models` lists. The nights come from STORE, prepared as the network wants them. All channel combinations
    of a night vote, unless the recipe trains on first derivations only. OUT also gets the reference scorings;
    `hypnograph summary` and `hypnograph confusion` compare.

    \b
    Example:
      hypnograph predict runs/usleep store predictions
      hypnograph predict runs/usleep store predictions-5s --resolution 5 --part all
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.released_weights import load
    from hypnograph.training.prediction_files import Options, predict
    from hypnograph.training.store import open_store

    network = load(checkpoint, resolution_s=resolution_s)
    subjects = None if part == "all" else _subjects(checkpoint, split, part)
    nights = open_store(store)
    if datasets:
        nights = nights.select(datasets=datasets)
    if subjects is not None:
        subjects = _present(subjects, nights, told=not datasets)
    augmentations, context = _augmentations(checkpoint) if n_augmented else ([], None)
    options = Options(
        most=_combinations(checkpoint) if combinations is None else combinations or None,
        augmentations=augmentations,
        n_augmented=n_augmented,
        context=context,
        targets=targets,
        each=each,
        seed=seed,
    )
    rows = list(_told(predict(network, nights, subjects, out, options=options, resume=resume, overwrite=overwrite)))
    click.echo(f"{len(rows)} nights of {len({row.subject for row in rows})} subjects: {out}")


def _subjects(checkpoint: str, split: Path | None, part: str) -> list[str]:
    from hypnograph.training.run_folder import SPLIT
    from hypnograph.training.splits import read_split

    path = split or _run_folder(checkpoint) / SPLIT
    if split is None and not path.is_file():
        raise HypnographError(f"{checkpoint} does not say whom it was trained on: --split FILE, or --part all")
    subjects = list(getattr(read_split(path), part))
    if not subjects:
        raise HypnographError(f"the {part} part of {path} has no subjects")
    return subjects


def _run_folder(checkpoint: str) -> Path:
    """Return the folder of the training that a checkpoint is of: itself, or the one above its best and last."""
    from hypnograph.training.run_folder import BEST, LAST

    path = Path(checkpoint)
    return path.parent if path.resolve().name in (BEST, LAST) else path


def _present(subjects: list[str], store: "Store", *, told: bool) -> list[str]:
    """Return the subjects who have a night in the store; the others are told of, unless they were not asked for."""
    from hypnograph.training.doubts import without_a_night

    found = store.with_nights(subjects)
    if told and found and (missing := without_a_night(store, subjects)):
        click.echo(f"note: {missing}", err=True)
    return found or subjects


def _combinations(checkpoint: str) -> int | None:
    """Return how many channel combinations vote by the recipe of a checkpoint; all where it is not known."""
    from hypnograph.training.recipes import read_recipe
    from hypnograph.training.run_folder import RECIPE

    path = _run_folder(checkpoint) / RECIPE
    return read_recipe(path).combinations if path.is_file() else None


def _augmentations(checkpoint: str) -> tuple[list[Any], int]:
    """Return the augmentations of a training, and how many epochs they were given at once."""
    from hypnograph.training.augmentation import create_augmentation
    from hypnograph.training.run_folder import read_run

    recipe = read_run(_run_folder(checkpoint))[0]
    if not recipe.augmentation:
        raise HypnographError(
            "--augment: the recipe of this training has no augmentation, and a network is shown what it has learnt; "
            "leave it out, or train with one, as the recipe usleep-paper does"
        )
    return [create_augmentation(**entry) for entry in recipe.augmentation], recipe.sampling.context


def _told(rows: "Iterable[PredictedNight]") -> "Iterator[PredictedNight]":
    """Yield the nights, and say which are done where somebody watches."""
    for n_done, row in enumerate(rows, start=1):
        if sys.stderr.isatty():
            click.echo(f"\r{n_done}  {row.dataset}/{row.night}\x1b[K", nl=False, err=True)
        yield row
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
