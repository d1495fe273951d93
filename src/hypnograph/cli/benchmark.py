"""``hypnograph benchmark``: several stagers on the same splits of the same nights, in tables and figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli._sources import data_options, derivation_options, derivations_of, found_in, misplaced, taken_from
from hypnograph.cli.train import machine_of, machine_options, progress_display
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.datasets import Night


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.argument("sources", metavar="DATASET=FOLDER…", nargs=-1, required=True)
@click.option(
    "--stager", "stagers", multiple=True, required=True, metavar="WHAT",
    help="A recipe (trained in each fold), a checkpoint, 'yasa' …; or NAME=WHAT. Repeat it for each.",
)  # fmt: skip
@click.option(
    "--folds", default="5", show_default=True, metavar="K",
    help="A number, leave-one-out, or published folds, as of `hypnograph split`.",
)  # fmt: skip
@click.option("--splits", type=click.Path(path_type=Path), metavar="FOLDER", help="Take these splits instead.")
@click.option("--validation", type=float, default=0.1, show_default=True, metavar="SHARE", help="Of all subjects.")
@click.option("--seed", default=1, show_default=True, help="Of the folds and of the intervals.")
@click.option(
    "--reference", type=click.Choice(["first", "majority"]), default="first", show_default=True,
    help="Where there are several scorers: whom the stagers are compared with.",
)  # fmt: skip
@derivation_options
@data_options
@machine_options
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Nights and folds at a time.")
@click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
def command(
    *,
    out: Path,
    sources: tuple[str, ...],
    stagers: tuple[str, ...],
    folds: str,
    splits: Path | None,
    settings: tuple[str, ...],
    passes: int | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Compare stagers on the nights of datasets, and write tables and figures into OUT.

    Recipes are trained in each fold; checkpoints and built-in stagers stage the same nights. All are judged on the same
    epochs: pooled and per night, with intervals and paired tests over subjects, time and size. What others published on
    the same datasets stands in a table of its own. What is done is not done again: the same command goes on after an
    interruption, and takes further stagers.

    \b
    Example:
      hypnograph benchmark compared sleep-edf-20=data/sleep-edf --stager attnsleep --stager tinysleepnet --stager yasa
      hypnograph benchmark compared folder=nights --stager mine=runs/usleep --stager ensemble --reference majority
    """  # noqa: D301 (click's \b keeps the lines of the example)
    derivations = derivations_of(options)
    nights = list(_nights(sources, taken_from(options)))
    from hypnograph.benchmark import benchmark

    with progress_display(quiet=quiet) as training:
        comparison = benchmark(
            nights,
            stagers,
            out,
            folds=splits or (int(folds) if folds.isdecimal() else folds),
            settings=settings if passes is None else (*settings, f"stopping.passes={passes}"),
            derivations=derivations,
            machine=machine_of(options),
            training=training,
            say=lambda text: None if quiet else click.echo(text, err=True),
            **options,
        )
    click.echo(comparison.table_markdown())
    click.echo(f"tables and figures: {out}")


def _nights(sources: tuple[str, ...], of_data: dict[str, Any]) -> "Iterator[Night]":
    from hypnograph.datasets import Night
    from hypnograph.training.people import data_folder

    folders = [data_folder(source) for source in sources]
    if wrong := misplaced(folders, of_data):
        raise HypnographError(wrong)
    for found in found_in(folders, of_data):
        if isinstance(found, Night):
            yield found
        else:
            click.secho(f"problem: {found}", fg="yellow", err=True)
