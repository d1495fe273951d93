"""``hypnograph train``: a network from a recipe, prepared nights and a split."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.training.machine import Machine
    from hypnograph.training.phase import Progress

_KEEPING = ("stream", "memory", "lazy", "pool", "cache")
_ACCELERATORS = ("auto", "cpu", "cuda", "mps", "tpu")
_LINE_EVERY_S = 60.0
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where and how a training runs."""
    options = [
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                     help="Replace a value of the recipe, e.g. optimiser.learning_rate=1e-4; may be repeated."),
        click.option("--keeping", type=click.Choice(_KEEPING), default="stream", show_default=True,
                     help="Nights: read by window, all in memory, one at a time, a rotating pool, or a local cache."),
        click.option("--pool-nights", type=click.IntRange(min=1), metavar="N", default=40, show_default=True,
                     help="Of --keeping pool: nights of each dataset at a time."),
        click.option("--pool-windows", type=click.IntRange(min=1), metavar="N", default=32, show_default=True,
                     help="Of --keeping pool: windows of a night before another takes its place."),
        click.option("--cache", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
                     help="Of --keeping cache."),
        click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Threads that load."),
        click.option("--accelerator", type=click.Choice(_ACCELERATORS), default="auto", show_default=True,
                     help="What computes."),
        click.option("--devices", default="1", show_default=True, help="How many; auto: all."),
        click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Machines."),
        click.option("--precision", type=click.Choice(_PRECISIONS), default="32-true", show_default=True,
                     help="Of the numbers."),
        click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True,
                     help="Parts in which the windows of a step are computed, to save memory."),
        click.option("--compile", is_flag=True, help="Compile the network (torch.compile)."),
        click.option("--passes", type=click.IntRange(min=1), metavar="N", help="Passes at most. [the recipe's]"),
        click.option("--most-steps", type=click.IntRange(min=1), metavar="N", help="Steps of a pass at most, to try."),
        click.option("--most-minutes", type=click.FloatRange(min=0), metavar="M",
                     help="Stop after the pass in which so many minutes are over; --resume goes on."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def machine_of(options: dict[str, Any]) -> "Machine":
    """Return what `machine_options` say; they are taken out of `options`."""
    from hypnograph.training.balanced_sampling import Pool
    from hypnograph.training.machine import Machine

    pool = Pool(options.pop("pool_nights"), options.pop("pool_windows"))
    devices = _devices(options.pop("devices"))
    _check_accelerator(options["accelerator"])
    names = ("keeping", "cache", "workers", "accelerator", "nodes", "precision", "accumulate", "compile", "most_steps",
             "most_minutes")  # fmt: skip
    given = {name: options.pop(name) for name in names}
    if (given["keeping"] == "cache") != (given["cache"] is not None):
        raise HypnographError("--keeping cache and --cache FOLDER are used together: give both or neither")
    return Machine(pool=pool, devices=devices, **given)


def _devices(text: str) -> int | str:
    if text != "auto" and not (text.isdecimal() and int(text) > 0):
        raise HypnographError(f"--devices {text}: give a number from 1 on, or auto")
    return int(text) if text.isdecimal() else text


def _check_accelerator(name: str) -> None:
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(name, True):
        raise HypnographError(
            f"--accelerator {name}: PyTorch finds no such device on this computer; auto takes what is"
        )


@click.command()
@click.argument("recipe")
@click.argument("store")
@click.argument("split", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@machine_options
@click.option("--from", "initial", metavar="CHECKPOINT", help="Begin with these weights, as far as they fit.")
@click.option("--resume", is_flag=True, help="Go on where a training stopped; begin if there is none.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a training.")
@click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
def command(
    *,
    recipe: str,
    store: str,
    split: Path,
    out: Path,
    settings: tuple[str, ...],
    passes: int | None,
    initial: str | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    **machine: Any,
) -> None:
    """Train a network by RECIPE on the nights of STORE, parted by SPLIT, into the folder OUT.

    RECIPE is a name (`hypnograph init --list`) or a TOML file. OUT gets the best and the last checkpoint, a csv and a
    picture of the course, and what --resume needs to go on after an interruption. The best checkpoint is the one that
    stages the validation nights best; the test nights are never looked at.

    \b
    Example:
      hypnograph train usleep store split.json runs/usleep --keeping memory
      hypnograph train my-recipe.toml store split.json runs/mine --set optimiser.learning_rate=1e-4 --resume
      torchrun --nproc-per-node 4 -m hypnograph train usleep store split.json runs/usleep --devices 4
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.training.doubts import doubts
    from hypnograph.training.loop import train
    from hypnograph.training.recipes import read_recipe
    from hypnograph.training.splits import read_split
    from hypnograph.training.store import open_store

    settings = settings if passes is None else (*settings, f"stopping.passes={passes}")
    how, nights, parts = read_recipe(recipe, settings), open_store(store), read_split(split)
    for doubt in doubts(how, nights, parts) if is_first_process() else ():
        click.echo(f"note: {doubt}", err=True)
    with progress_display(quiet=quiet) as report:
        result = train(
            how,
            nights,
            parts,
            out,
            machine=machine_of(machine),
            initial=initial,
            resume=resume,
            overwrite=overwrite,
            report=report,
        )
    if is_first_process():
        if result.unfitted:
            some = ", ".join(result.unfitted[:4]) + (" …" if len(result.unfitted) > 4 else "")
            click.echo(f"{initial} had nothing for {len(result.unfitted)} weights, which began anew: {some}", err=True)
        _print_result(result)


def is_first_process() -> bool:
    """Tell whether this process is the one that speaks, where several train together."""
    import os

    # Of torchrun and of fabric's own processes, of SLURM.
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK") if "LOCAL_RANK" in os.environ else ("RANK", "SLURM_PROCID")
    return all(int(os.environ.get(rank, "0")) == 0 for rank in ranks)


def _print_result(result: Any) -> None:
    if not result.finished:
        click.echo(f"stopped after {len(result.history)} passes, as the time was up; --resume goes on")
        return
    best = result.best
    judged = f", macro F1 {best['validation_macro_f1']:.3f} on the validation nights" if best else ""
    n_passes = len(result.history)
    which = f"pass {int(best['pass'])} of {n_passes}" if best else f"pass {n_passes}, the last"
    click.echo(f"{which}{judged}: {result.checkpoint}")
    click.echo(f"stage with it: hypnograph stage night.edf --model {result.checkpoint}")


@contextmanager
def progress_display(*, quiet: bool) -> Iterator[Callable[["Progress"], None]]:
    """Yield what shows how far a training is: a bar on a terminal, a line for each pass elsewhere."""
    if quiet or not is_first_process():
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _lines()


def _lines() -> "Callable[[Progress], None]":
    """Return what prints a line for each pass, and one a minute within a pass."""
    import time

    said = time.monotonic()

    def show(progress: "Progress") -> None:
        nonlocal said
        if progress.row is None and time.monotonic() - said < _LINE_EVERY_S:
            return
        said = time.monotonic()
        click.echo(pass_line(progress), err=True)

    return show


@contextmanager
def _bar() -> Iterator[Callable[["Progress"], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None, facts="")

        def show(progress: "Progress") -> None:
            if progress.row is not None:
                bar.console.print(pass_line(progress), highlight=False)
                return
            facts = f"loss {progress.loss:.3f}  {progress.examples_per_s:.1f} windows/s  {time_left(progress)}"
            name = f"{progress.phase}, pass {progress.n_pass + 1} of {progress.passes}"
            bar.update(task, description=name, completed=progress.step, total=progress.n_steps, facts=facts)

        yield show


def pass_line(progress: "Progress") -> str:
    """Return the line of a pass that is done."""
    row = progress.row or {}
    within = "" if progress.row is not None else f", step {progress.step} of {progress.n_steps}"
    judged = "".join(
        f"  {label} {row[f'validation_{name}']:.3f}"
        for name, label in {"macro_f1": "macro F1", "kappa": "kappa", "loss": "validation loss"}.items()
        if f"validation_{name}" in row
    )
    facts = f"loss {progress.loss:.3f}{judged}  {progress.examples_per_s:.1f} windows/s  {time_left(progress)}"
    return f"{progress.phase} pass {progress.n_pass + 1} of {progress.passes}{within}: {facts}".rstrip()


def time_left(progress: "Progress") -> str:
    """Return how long the phase takes at most, in words."""
    if progress.seconds_left != progress.seconds_left:  # NaN: no pass is done yet
        return ""
    minutes = progress.seconds_left / 60
    return f"{minutes / 60:.1f} h left" if minutes >= 90 else f"{minutes:.1f} min left"
