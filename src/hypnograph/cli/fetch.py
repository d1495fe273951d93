"""``hypnograph fetch``: download a public dataset into a folder, or list the datasets."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.cli._progress import download_progress
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.datasets import Dataset, Problem

WIDTH = 100
"""Columns of the list at most."""
_SHOWN = 10
"""Problems that are printed; with more, their number says enough."""
_LINES = 10
"""Of progress, where there is no terminal."""


@click.command()
@click.argument("dataset", required=False)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--first", type=click.IntRange(min=1), metavar="N", help="Only the first N recordings with scorings.")
@click.option("--list", "only_list", is_flag=True, help="Print the files, and download nothing.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=2, show_default=True, help="Files at a time.")
def command(dataset: str | None, folder: Path | None, first: int | None, only_list: bool, jobs: int) -> None:
    """Download the public DATASET into FOLDER; without arguments, list the datasets.

    Every file is compared with the checksum that its server lists. A download that breaks off goes on where it was with
    the same command; what is there already is not fetched again. Nothing is sent but requests for files.

    \b
    Example:
      hypnograph fetch
      hypnograph fetch sleep-edf-sc data/sleep-edf --first 2
    """  # noqa: D301 (click's \b keeps the lines of the example)
    if dataset is None:
        _print_datasets()
    elif only_list:
        _print_files(dataset, first)
    elif folder is None:
        raise click.UsageError(f"into which folder? hypnograph fetch {dataset} FOLDER")
    else:
        _fetch(dataset, folder, first, jobs)


def _print_datasets() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hypnograph.datasets import datasets

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("name", "access", "what it is; licence; page"):
        table.add_column(column, overflow="fold")
    for name, about in datasets().items():
        row = (name, _access(about), f"{about.title}; {about.licence}\n{about.source}".rstrip())
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(table)
    click.echo("Download a public one: hypnograph fetch NAME FOLDER")
    click.echo("Check what you have:   hypnograph check-data NAME FOLDER")


def _access(about: "Dataset") -> str:
    if about.remote is not None:
        return "public"
    return "by its page" if about.source else "your own"


def _print_files(name: str, first: int | None) -> None:
    from hypnograph.fetching import public_files

    files = public_files(name, first=first)
    for file in files:
        click.echo(file.path if file.size is None else f"{file.path}\t{file.size}")
    click.echo(f"{len(files)} files", err=True)


def _fetch(name: str, folder: Path, first: int | None, jobs: int) -> None:
    from hypnograph.datasets import dataset
    from hypnograph.fetching import fetch_dataset

    about = dataset(name)
    _print_terms(about)
    with download_progress(name, lines=_LINES) as progress:
        fetched = fetch_dataset(name, folder, first=first, progress=progress, jobs=jobs)
    n_files = len(fetched.paths) + len(fetched.problems)
    if fetched.problems:
        _print_problems(fetched.problems)
        raise HypnographError(
            f"{len(fetched.problems)} of {n_files} files could not be fetched; the same command tries again"
        )
    click.echo(f"{n_files} files are in {folder}, whole and checked")
    if about.elsewhere:
        click.echo(f"not among them: {about.elsewhere}")
    click.echo(f"next: hypnograph check-data {name} {folder}")


def _print_terms(about: "Dataset") -> None:
    if about.remote is None:
        return  # the error that follows says where to apply
    cite = f"https://doi.org/{about.doi}, {about.source}" if about.doi else about.source
    click.echo(f"{about.title}\nlicence: {about.licence}\ncite: {cite}", err=True)


def _print_problems(problems: "tuple[Problem, ...]") -> None:
    for problem in problems[:_SHOWN]:
        click.echo(str(problem), err=True)
    if len(problems) > _SHOWN:
        click.echo(f"… and {len(problems) - _SHOWN} more", err=True)
