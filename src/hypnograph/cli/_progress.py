"""What a person sees while a command works: a bar on a terminal, lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

Show = Callable[[int, int], None]
"""Is told how much is done, of how much."""


@contextmanager
def count_progress(text: str) -> Iterator[Show | None]:
    """Yield what shows how many things are done; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    with _bar(TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as show:
        yield show


@contextmanager
def download_progress(name: str, *, lines: int) -> Iterator[Show]:
    """Yield what shows how many bytes have come: a bar on a terminal, else as many lines."""
    if not sys.stderr.isatty():
        yield _in_lines(name, lines)
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _bar(*columns) as show:
        yield show


@contextmanager
def _bar(*columns: object) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:  # type: ignore[arg-type]
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_lines(name: str, lines: int) -> Show:
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        part = lines * done // max(total, 1)
        if part > shown:
            click.echo(f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB", err=True)
            shown = part

    return show
