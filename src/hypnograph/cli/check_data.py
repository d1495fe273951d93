"""``hypnograph check-data``: all that is wrong with the folder of a dataset, at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli._progress import count_progress
from hypnograph.cli._sources import channel_kinds, data_options, derivation_options, derivations_of, taken_from

if TYPE_CHECKING:
    from hypnograph.data_check import DataCheck

_SHOWN_NOTES = 10
"""With more, their number says enough; problems are printed all."""


@click.command()
@click.argument("dataset")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Look at names only; open no file.")
@click.option(
    "--kinds",
    default="EEG",
    show_default=True,
    metavar="KIND,…",
    help="Channels that recordings must have: EEG, EOG, EMG, ECG.",
)
@derivation_options
@data_options
@click.option("--format", "to", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=1, show_default=True, help="Nights at a time.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    dataset: str,
    folder: Path,
    quick: bool,
    kinds: str,
    to: str,
    jobs: int,
    **options: Any,
) -> None:
    """Check the data of DATASET in FOLDER: names, recordings, scorings, and whether they fit each other.

    Every night is opened; nothing is changed, and no patient field is shown. The exit code is 1 if there are problems.
    `hypnograph fetch` lists the datasets; "folder" is a folder of your own.

    \b
    Example:
      hypnograph check-data sleep-edf-sc data/sleep-edf
      hypnograph check-data folder nights --psg "*.edf" --scoring "*-hypnogram.xml" --quick
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.data_check import check_data

    wanted = channel_kinds(kinds)
    given, named = taken_from(options), derivations_of(options)
    if unused := [kind for kind in named if kind not in wanted]:
        raise click.UsageError(f"--{unused[0].lower()}: --kinds says {kinds} only")
    with count_progress("checking") as progress:
        check = check_data(
            dataset, folder, kinds=wanted, derivations=named, quick=quick, jobs=jobs, progress=progress, **given
        )
    if to == "json":
        _print_json(check)
    else:
        _print_text(check)
    ctx.exit(1 if check.problems else 0)


def _print_json(check: "DataCheck") -> None:
    import json

    click.echo(json.dumps(check.as_dict(), indent=1, ensure_ascii=False))


def _print_text(check: "DataCheck") -> None:
    counted = f"{check.n_nights} nights of {check.n_subjects} subjects, {check.n_scorings} scorings"
    click.echo(f"{check.dataset}: {counted}" + ("" if check.quick else f", {check.hours:.1f} h of recording"))
    if check.stages:
        _print_stages(check)
    for note in check.notes[:_SHOWN_NOTES]:
        click.echo(f"note: {note}")
    if len(check.notes) > _SHOWN_NOTES:
        click.echo(f"note: … and {len(check.notes) - _SHOWN_NOTES} more (all with --format json)")
    for problem in check.problems:
        click.echo(f"problem: {problem}")
    if not check.problems:
        click.echo("no problems" + (" in the names; without --quick, every night is opened" if check.quick else ""))


def _print_stages(check: "DataCheck") -> None:
    total = sum(n for stage, n in check.stages.items() if stage != "UNSCORED")
    click.echo(f"{'stage':<9}{'epochs':>10}{'of scored':>11}{'nights without':>16}")
    for stage, n in check.stages.items():
        share = f"{100 * n / total:.1f} %" if total and stage != "UNSCORED" else ""
        click.echo(f"{stage:<9}{n:>10,}{share:>11}{check.n_nights_without.get(stage, ''):>16}")
