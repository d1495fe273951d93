"""``hypnograph cross-validate``: train every fold, stage what it has not seen, judge all folds together."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli.train import machine_of, machine_options, progress_display
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.training.cross_validation import Fold
    from hypnograph.training.prediction_files import Options
    from hypnograph.training.recipes import Recipe
    from hypnograph.training.store import Store


@click.command()
@click.argument("recipe")
@click.argument("store")
@click.argument("splits", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@machine_options
@click.option(
    "--fold", "numbers", multiple=True, type=click.IntRange(min=1), metavar="N",
    help="Run this fold only; may be repeated. [$SLURM_ARRAY_TASK_ID, else all]",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Folds at a time.")
@click.option("--slurm", metavar="OPTIONS", help="Submit a SLURM job for each fold, with these options of sbatch.")
@click.option(
    "--combinations", type=click.IntRange(min=0), metavar="N",
    help="Channel combinations that vote; 0: all. [1 where the recipe trains on first derivations, else all]",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
def command(
    *,
    recipe: str,
    store: str,
    splits: Path,
    out: Path,
    settings: tuple[str, ...],
    passes: int | None,
    numbers: tuple[int, ...],
    jobs: int,
    slurm: str | None,
    combinations: int | None,
    quiet: bool,
    **machine: Any,
) -> None:
    """Train RECIPE on every fold of SPLITS with the nights of STORE, into OUT, and judge what the folds staged.

    SPLITS is a folder that `hypnograph split --folds` wrote. OUT gets a folder for each fold: a training, and the
    predictions of its test nights. A fold that is done is not done again, one that was interrupted goes on: the same
    command may be repeated until all folds are there; then it prints the pooled and per-night agreement.

    \b
    Example:
      hypnograph cross-validate tinysleepnet store splits/ cv/tinysleepnet --jobs 2
      hypnograph cross-validate usleep store splits/ cv/usleep --slurm "--gres=gpu:1 --time=24:00:00"
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.training.cross_validation import check_done, check_validation, folds_that_test, read_folds
    from hypnograph.training.doubts import doubts
    from hypnograph.training.prediction_files import Options
    from hypnograph.training.recipes import read_recipe
    from hypnograph.training.store import open_store

    settings = settings if passes is None else (*settings, f"stopping.passes={passes}")
    folds, how, nights = read_folds([splits], out), read_recipe(recipe, settings), open_store(store)
    options = Options(most=how.combinations if combinations is None else combinations or None)
    check_done(folds, how, options, nights, most_steps=machine["most_steps"])
    for doubt in [] if quiet else doubts(how, nights, *(fold.split for fold in folds)):
        click.echo(f"note: {doubt}", err=True)
    everything, folds = folds, folds_that_test(folds, nights)
    for fold in everything:
        if fold not in folds and not quiet:
            click.echo(f"note: fold {fold.number} is left out: nobody whom it tests has a night", err=True)
    chosen = [fold for fold in _chosen(folds, len(everything), numbers) if not fold.is_done]
    check_validation(chosen, how, nights)
    given = {"set": settings, "combinations": combinations, **machine}
    same = ["cross-validate", recipe, store, str(splits), str(out), *_arguments(given)]
    if slurm is not None:
        _submit(chosen, same, slurm)
        return
    if jobs > 1 and len(chosen) > 1:
        _in_parallel(chosen, same, jobs)
    elif chosen:
        _one_by_one(chosen, how, nights, machine, options, quiet=quiet)
    if all(fold.is_done for fold in folds):
        _print_evaluation(folds, out)
    else:
        waiting = ", ".join(str(fold.number) for fold in folds if not fold.is_done)
        click.echo(f"still to be done: fold {waiting} of {len(folds)}")


def _chosen(folds: "Sequence[Fold]", n_folds: int, numbers: Sequence[int]) -> "list[Fold]":
    if not numbers and (task := os.environ.get("SLURM_ARRAY_TASK_ID", "")).isdecimal():
        numbers = [int(task)]
    if unknown := [number for number in numbers if number > n_folds]:
        raise HypnographError(f"--fold {unknown[0]}: there are {n_folds} folds")
    return [fold for fold in folds if not numbers or fold.number in numbers]


def _one_by_one(
    folds: "Sequence[Fold]",
    recipe: "Recipe",
    store: "Store",
    machine: dict[str, Any],
    options: "Options",
    *,
    quiet: bool,
) -> None:
    from hypnograph.training.cross_validation import run_fold

    where = machine_of(machine)
    for fold in folds:
        if not quiet:
            click.echo(f"fold {fold.number}: {len(fold.split.train)} train, {len(fold.split.test)} test", err=True)
        with progress_display(quiet=quiet) as report:
            run_fold(fold, recipe, store, machine=where, options=options, report=report)


def _in_parallel(folds: "Sequence[Fold]", same: Sequence[str], jobs: int) -> None:
    from hypnograph.training.cross_validation import run_in_processes

    failed = []

    def done(fold: "Fold", problem: str) -> None:
        click.echo(f"fold {fold.number}: {problem or 'done'}", err=True)
        if problem:
            failed.append(fold.number)

    run_in_processes(folds, lambda fold: [*same, "--fold", str(fold.number), "--quiet"], jobs=jobs, done=done)
    if failed:
        numbers = ", ".join(map(str, sorted(failed)))
        raise HypnographError(f"fold {numbers} failed; the same command tries again what is not done")


def _submit(folds: "Sequence[Fold]", same: Sequence[str], options: str) -> None:
    """Submit an array of jobs: each runs one fold, of the number that SLURM gives it."""
    import subprocess
    import sys

    waiting = ",".join(str(fold.number) for fold in folds)
    if not waiting:
        raise HypnographError("these folds are done; there is nothing to submit")
    run = shlex.join([sys.executable, "-m", "hypnograph", *same])
    try:
        result = subprocess.run(
            ["sbatch", f"--array={waiting}", *shlex.split(options), f"--wrap={run}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise HypnographError("--slurm: there is no sbatch on this computer") from None
    if result.returncode:
        raise HypnographError(f"sbatch: {result.stderr.strip()}")
    click.echo(result.stdout.strip())


def _arguments(given: dict[str, Any]) -> list[str]:
    """Return options as arguments, for the same command in other processes."""
    words = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            words += [word for entry in value for word in (option, entry)]
        elif value is True:
            words.append(option)
        elif value is not None and value is not False:  # but 0 is a value
            words += [option, str(value)]
    return words


def _print_evaluation(folds: "Sequence[Fold]", out: Path) -> None:
    from hypnograph.training.cross_validation import EVALUATION, judge

    click.echo(repr(judge(folds, out)))
    click.echo(f"all numbers: {out / EVALUATION}")
