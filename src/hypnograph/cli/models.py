"""``hypnograph models``: the stagers and weights that there are, and fetching published ones by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.cli._progress import Show, download_progress

if TYPE_CHECKING:
    from hypnograph.released_weights import ListedModel

WIDTH = 100
"""Columns of the table at most."""
_LINES = 4
"""Of progress, where there is no terminal."""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List stagers and weights: built in, installed, cached on this computer, and fetchable.

    `hypnograph models fetch NAME` fetches published weights, checks and converts them. The list needs no network.

    \b
    Example:
      hypnograph models
      hypnograph models fetch usleep-anysleep-1
      hypnograph stage night.edf --model usleep-anysleep-1
    """  # noqa: D301 (click's \b keeps the lines of the example)
    if ctx.invoked_subcommand is None:
        _print_list(as_json)


@command.command("fetch")
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option(
    "--from", "from_file", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
    help="The published file on this computer, instead of the network; it is not changed.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Convert again what is there.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the folders of the weights.")
def fetch_command(names: tuple[str, ...], from_file: Path | None, overwrite: bool, quiet: bool) -> None:
    """Fetch published weights by name, check their SHA-256, and convert them to checkpoints.

    A download that breaks off goes on where it was. Nothing is sent but the request for the file. On a computer
    without network, the error says which file to copy where.

    \b
    Example:
      hypnograph models fetch usleep-anysleep-1
      hypnograph models fetch tinysleepnet-sleepgpt --from best.pth.tar
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.released_weights import fetch

    if from_file is not None and len(names) > 1:
        raise click.UsageError(f"--from gives the file of one name; {len(names)} names were given")
    for name in names:
        with _progress(name, quiet=quiet) as progress:
            folder = fetch(name, progress=progress, from_file=from_file, overwrite=overwrite)
        if quiet:
            click.echo(folder)
        else:
            _print_fetched(name, folder)


def _print_fetched(name: str, folder: Path) -> None:
    from hypnograph.released_weights import RELEASED

    entry = RELEASED[name]
    click.echo(f"{name}: {folder}\nlicence: {entry.licence}; source: {entry.source}")
    if entry.kind == "network":
        click.echo(f"use: hypnograph stage night.edf --model {name}")


@contextmanager
def _progress(name: str, *, quiet: bool) -> Iterator[Show | None]:
    """Yield what shows how much has come: a bar on a terminal, else a line for each quarter."""
    if quiet:
        yield None
        return
    with download_progress(name, lines=_LINES) as show:
        yield show


# The list ------------------------------------------------------------------------------------------------------------


def _print_list(as_json: bool) -> None:
    from hypnograph.released_weights import list_models, weights_folder

    models = list_models()
    if as_json:
        _print_json(models)
        return
    _print_table(models)
    click.echo("Stage with one: hypnograph stage night.edf --model NAME (a stager: --stager NAME)")
    if any(model.state == "fetchable" for model in models):
        click.echo("Fetch one:      hypnograph models fetch NAME")
    click.echo(f"Cached in:      {weights_folder()}")


def _print_json(models: list["ListedModel"]) -> None:
    import json
    from dataclasses import asdict

    rows = [asdict(model) | {"path": None if model.path is None else str(model.path)} for model in models]
    click.echo(json.dumps(rows, indent=1, ensure_ascii=False))


def _print_table(models: list["ListedModel"]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("name", "state", "MB", "licence", "trained on; results"):
        table.add_column(name, justify="right" if name == "MB" else "left", overflow="fold")
    for model in models:
        results = "; ".join(f"{name}: {value}" for name, value in model.metrics.items())
        kind = "language model; " if model.kind == "language model" else ""
        facts = f"{kind}{model.data or 'not stated'}" + (f"\n{results}" if results else "")
        row = (model.name, model.state, f"{model.size / 1e6:.1f}", model.licence or "not stated", facts)
        # Texts that others wrote may hold brackets, which are no markup.
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(table)
