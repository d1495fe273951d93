"""``hypnograph consensus``: one scoring out of several people's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.evaluation.consensus import ScoredNight
    from hypnograph.hypnogram import Hypnodensity, Hypnogram

METHODS = ("majority", "dawid-skene", "staple")


@click.command()
@click.argument("scorings", metavar="SCORING SCORING…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="File of the consensus; a folder for folders."
)
@click.option("--method", type=click.Choice(METHODS), default="majority", show_default=True, help="See above.")
@click.option("--to", metavar="FORMAT", default="csv", show_default=True, help="Format of files in a folder.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Where scorers differ (png, svg, pdf); one night."
)
@click.option("--scheme", metavar="NAME", help="Merge stages first: W-light-deep-REM, W-NREM-REM or W-sleep.")
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option("--crop-to-shorter", is_flag=True, help="Where start times are unknown, cut the end of longer scorings.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def command(
    *,
    scorings: tuple[Path, ...],
    out: Path,
    method: str,
    to: str,
    plot: Path | None,
    scheme: str | None,
    overwrite: bool,
    **reading: Any,
) -> None:
    """Make one scoring out of several people's: files of one night, or folders of files with the same names.

    majority: the stage with the most votes; a tie goes to the scorer most in agreement with the others. dawid-skene and
    staple learn from the scorings how far each scorer can be trusted; dawid-skene needs many nights. A csv or json file
    holds probabilities too: the share of the scorers, or what the method found.

    \b
    Example:
      hypnograph consensus anna.txt ben.txt chris.txt -o consensus.csv --plot disagreement.png
      hypnograph consensus anna/ ben/ chris/ -o consensus/ --method dawid-skene
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.cli._many_scorers import check_picture, read_scorers
    from hypnograph.cli.evaluate import merging_scheme
    from hypnograph.hypnogram_files import write_hypnogram
    from hypnograph.whole_file import check_output

    if len(scorings) < 2:
        raise click.UsageError("a consensus needs two scorings or more")
    folders = scorings[0].is_dir()
    if folders and plot is not None:
        raise click.UsageError("--plot draws one night; give files, not folders")
    check_picture(plot, inputs=scorings, overwrite=overwrite)
    if not folders:
        check_output(out, inputs=scorings, overwrite=overwrite)
    nights, notes = read_scorers(scorings, (), merging_scheme(scheme), {**reading, "subject_pattern": None})
    paths = [_path(out, night.name, to) if folders else out for night in nights]
    for path in paths:
        check_output(path, overwrite=overwrite)
    for night, path, (stages, probabilities) in zip(nights, paths, _consensus(nights, method), strict=True):
        write_hypnogram(stages, path, hypnodensity=probabilities, overwrite=overwrite)
        if plot is not None:
            from hypnograph.plot import save_picture

            save_picture(_figure(night, stages), plot)
    _print(nights, paths)
    for note in notes:
        click.secho(f"note: {note}", fg="yellow", err=True)


def _consensus(nights: "list[ScoredNight]", method: str) -> "list[tuple[Hypnogram, Hypnodensity]]":
    from hypnograph.evaluation.consensus import majority, soft_hypnodensity
    from hypnograph.evaluation.dawid_skene import latent_stages

    if method == "majority":
        teams = [list(night.scorings.values()) for night in nights]
        return [(majority(team), soft_hypnodensity(team)) for team in teams]
    found = latent_stages([night.scorings for night in nights], method=method)  # type: ignore[arg-type]
    return [(density.argmax(), density) for density in found.nights]


def _path(folder: Path, name: str, to: str) -> Path:
    from hypnograph.hypnogram_files import writable_formats

    formats = writable_formats()
    if to not in formats:
        raise HypnographError(f"--to {to!r} is not one of {', '.join(formats)}")
    return folder / f"{name}{formats[to]}"


def _figure(night: "ScoredNight", stages: "Hypnogram") -> Any:
    from hypnograph.evaluation.consensus import soft_hypnodensity
    from hypnograph.plot import plot_scorers

    return plot_scorers(list(night.scorings.items()), stages, soft_hypnodensity(list(night.scorings.values())))


def _print(nights: "list[ScoredNight]", paths: list[Path]) -> None:
    import numpy as np

    from hypnograph.evaluation.consensus import soft_agreements, unanimous

    names = list(nights[0].scorings)
    teams = [[night.scorings[name] for name in names] for night in nights]
    same = np.concatenate([unanimous(team) for team in teams])
    where = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files in {paths[0].parent}"
    click.echo(f"written: {where}")
    click.echo(f"{len(same)} epochs, {100 * same.mean() if same.size else 0:.1f} % of them unanimous")
    click.echo("soft agreement with the others, mean over nights:")
    for name, agreed in zip(names, np.mean([soft_agreements(team) for team in teams], axis=0), strict=True):
        click.echo(f"  {name}: {agreed:.3f}")
