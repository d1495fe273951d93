"""``hypnograph check-data``: all that is wrong with the folder of a dataset, at once."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.cli import comma_list

if TYPE_CHECKING:
    from hypnograph.data_check import DataCheck

KINDS = ("eeg", "eog", "emg", "ecg")
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
@click.option("--psg", metavar="PATTERN", help="Which files are recordings (dataset 'folder').")
@click.option("--scoring", metavar="PATTERN", help="Which files are scorings (dataset 'folder').")
@click.option("--subject", metavar="REGEX", help="Finds the subject in a path (dataset 'folder').")
@click.option("--id", metavar="REGEX", help="Finds the night's id in a path (dataset 'folder').")
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
    **options: str | None,
) -> None:
    """Check the data of DATASET in FOLDER: names, recordings, scorings, and whether they fit each other.

    Every night is opened; nothing is changed, and no patient field is shown. The exit code is 1 if there are problems.
    `hypnograph fetch` lists the datasets; "folder" is a folder of your own.

    \b
    Example:
      hypnograph check-data sleep-edf-sc data/sleep-edf
      hypnograph check-data folder nights --psg "*.edf" --scoring "*-hypnogram.xml" --quick
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.channel_labels import ChannelKind
    from hypnograph.data_check import check_data

    wanted = [ChannelKind(kind.upper()) for kind in comma_list(kinds, KINDS, at_least_one=True)]
    given = {name: value for name, value in options.items() if value is not None}
    with _progress() as progress:
        check = check_data(dataset, folder, kinds=wanted, quick=quick, jobs=jobs, progress=progress, **given)
    if to == "json":
        _print_json(check)
    else:
        _print_text(check)
    ctx.exit(1 if check.problems else 0)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Yield what shows how many nights are done, where a person watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
