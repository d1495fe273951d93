"""Cross-validation: each fold is trained, and stages the nights that it has not seen; then all are judged together.

A cross-validation is a folder with a folder for each fold: a training (see `hypnograph.training.loop`) with
``predictions/`` of its test part. A fold that is complete is not done again, so folds may run one by one, in parallel,
or as jobs of a cluster, in any order.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from hypnograph.checkpoint import load
from hypnograph.errors import HypnographError
from hypnograph.evaluation.tables import Evaluation
from hypnograph.training.loop import train
from hypnograph.training.machine import Machine
from hypnograph.training.phase import Report
from hypnograph.training.prediction_files import Options, changed_nights, differences, evaluate_predictions, predict
from hypnograph.training.prepared_night import nights_sha256
from hypnograph.training.recipes import Recipe
from hypnograph.training.run_folder import RECIPE, best_checkpoint, read_run
from hypnograph.training.splits import Split, read_split
from hypnograph.training.store import Store
from hypnograph.whole_file import whole_file

PREDICTIONS: Final = "predictions"
DONE: Final = "done.json"
EVALUATION: Final = "evaluation.json"
NIGHTS_TABLE: Final = "evaluation-nights.csv"


class Fold(NamedTuple):
    """One fold: its number, counted from 1, its split, and its folder."""

    number: int
    split: Split
    folder: Path

    @property
    def is_done(self) -> bool:
        return (self.folder / DONE).exists()


def read_folds(splits: Sequence[str | Path], out: str | Path) -> list[Fold]:
    """Read the folds of a cross-validation.

    Parameters
    ----------
    splits
        Files, or one folder with a file for each fold, in the order of their names.
    out
        Folder of the cross-validation.

    Raises
    ------
    HypnographError
        If there is no split, a fold tests nobody, or two folds test one subject.
    """
    files = [file for split in splits for file in _files(Path(split))]
    folds = [
        Fold(number, read_split(file), Path(out) / f"fold-{number:02d}") for number, file in enumerate(files, start=1)
    ]
    if not folds:
        raise HypnographError(
            f"no split in {', '.join(map(str, splits))}; `hypnograph split STORE --folds K` makes them"
        )
    tested: dict[str, int] = {}
    for fold in folds:
        if not fold.split.test:
            raise HypnographError(f"fold {fold.number} tests nobody; make the splits with a test part")
        for subject in fold.split.test:
            if subject in tested:
                raise HypnographError(f"{subject} is tested by fold {tested[subject]} and by fold {fold.number}")
            tested[subject] = fold.number
    return folds


def _files(place: Path) -> list[Path]:
    if not place.exists():
        raise HypnographError(f"{place}: no such folder of splits; `hypnograph split STORE {place} --folds K` makes it")
    return sorted(place.glob("*.json")) if place.is_dir() else [place]


def check_done(
    folds: Sequence[Fold],
    recipe: Recipe,
    options: Options | None = None,
    store: Store | None = None,
    *,
    most_steps: int | None = None,
) -> None:
    """See that the folds that are done, or begun, were asked what is asked now: all folds are of one kind or none is.

    Raises
    ------
    HypnographError
        If one was trained by another recipe, on other subjects, by passes of other length (`Machine.most_steps`), or
        staged in another way, or a night was prepared anew since.
    """
    options = options or Options(most=recipe.combinations)
    hashes = {} if store is None else {night.key: night.sha256 for night in store.nights}
    for fold in folds:
        if not (fold.folder / RECIPE).is_file():
            continue
        if problem := _asked_otherwise(fold, recipe, options, most_steps) or _prepared_anew(fold, store, hashes):
            raise HypnographError(f"{problem}; choose another folder, or remove {fold.folder}")


def _asked_otherwise(fold: Fold, recipe: Recipe, options: Options, most_steps: int | None) -> str:
    """Return in what a fold was asked something else than is asked now; empty if in nothing."""
    its_recipe, its_split = read_run(fold.folder)
    asked = recipe if fold.is_done else replace(recipe, stopping=its_recipe.stopping)  # it can be made longer
    if different := "recipe" if its_recipe != asked else "split" if its_split != fold.split else "":
        return f"{fold.folder} is of another {different} than is asked now"
    if different := differences(fold.folder / PREDICTIONS, options):
        return f"{fold.folder} was staged in another way ({different})"
    its_steps = _done(fold).get("most_steps", most_steps)
    if its_steps != most_steps:
        return f"{fold.folder} was trained with {its_steps or 'all'} steps in a pass, not {most_steps or 'all'}"
    return ""


def _prepared_anew(fold: Fold, store: Store | None, hashes: Mapping[str, str]) -> str:
    if changed := changed_nights(fold.folder / PREDICTIONS, hashes):
        return f"{changed[0]} was prepared anew since {fold.folder} staged it"
    trained_on = _done(fold).get("trained_on")
    if store is not None and trained_on is not None and trained_on != _learnt(fold, store):
        return f"nights were prepared anew since {fold.folder} was trained on them"
    return ""


def _done(fold: Fold) -> dict[str, Any]:
    """Return what is known of a fold that is done; nothing of another."""
    return dict(json.loads((fold.folder / DONE).read_text(encoding="utf-8"))) if fold.is_done else {}


def _learnt(fold: Fold, store: Store) -> str:
    """Return a hash of the nights that a fold learns from and chooses its best pass by."""
    people = {*fold.split.train, *fold.split.validation}
    return nights_sha256(night for night in store.nights if night.person in people)


def check_validation(folds: Sequence[Fold], recipe: Recipe, store: Store) -> None:
    """See, before the first one is trained, that each fold can choose its best pass.

    Raises
    ------
    HypnographError
        If nobody by whom one would choose has a night in the store.
    """
    if recipe.validation.monitor == "last":
        return
    for fold in folds:
        if fold.split.validation and not store.with_nights(fold.split.validation):
            raise HypnographError(
                f"no subject of the validation part of fold {fold.number} has a night in {store.address}; make the "
                "splits from the store"
            )


def folds_that_test(folds: Sequence[Fold], store: Store) -> list[Fold]:
    """Return the folds that test somebody who has a night in the store; the others can say nothing.

    Raises
    ------
    HypnographError
        If there is none.
    """
    found = [fold for fold in folds if store.with_nights(fold.split.test)]
    if not found:
        numbers = ", ".join(str(fold.number) for fold in folds)
        raise HypnographError(f"no subject that fold {numbers} tests has a night in {store.address}")
    return found


def run_fold(
    fold: Fold,
    recipe: Recipe,
    store: Store,
    *,
    machine: Machine | None = None,
    options: Options | None = None,
    report: Report = lambda progress: None,
) -> None:
    """Train one fold and stage its test part; what is done already is not done again.

    A training that `Machine.most_minutes` stopped goes on when the fold is run again; until then nothing is staged.
    Subjects without a night in the store are left out; without `options`, as many channel combinations vote as the
    recipe says.

    Raises
    ------
    HypnographError
        As `hypnograph.training.loop.train`, and if nobody whom the fold tests has a night in the store.
    """
    folds_that_test([fold], store)
    options = options or Options(most=recipe.combinations)
    if not train(recipe, store, fold.split, fold.folder, machine=machine, resume=True, report=report).finished:
        return
    network = load(best_checkpoint(fold.folder))
    tested = store.with_nights(fold.split.test)
    rows = list(predict(network, store, tested, fold.folder / PREDICTIONS, options=options, resume=True))
    with whole_file(fold.folder / DONE) as path:
        done = {"fold": fold.number, "nights": len(rows), "split": fold.split.sha256}
        done |= {"most_steps": None if machine is None else machine.most_steps, "trained_on": _learnt(fold, store)}
        path.write_text(json.dumps(done) + "\n")


def run_in_processes(
    folds: Sequence[Fold], command: Callable[[Fold], Sequence[str]], *, jobs: int, done: Callable[[Fold, str], None]
) -> None:
    """Run folds as processes of their own, some at a time.

    Parameters
    ----------
    folds
        To run.
    command
        The arguments after ``hypnograph`` that run one fold.
    jobs
        Processes at a time; each gets its share of the processor's cores.
    done
        Is told of each fold that ended, and what went wrong, if anything.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = os.environ | {"OMP_NUM_THREADS": threads}

    def run(fold: Fold) -> None:
        arguments = [sys.executable, "-m", "hypnograph", *command(fold)]
        result = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        done(fold, _problem(result.stderr, result.returncode) if result.returncode else "")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, folds))


def _problem(stderr: str, code: int) -> str:
    """Return the line that says what went wrong; notes of libraries may stand before it, advice after it."""
    lines = stderr.strip().splitlines()
    errors = [line.removeprefix("Error: ") for line in lines if "Error" in line]
    return (errors or lines or [f"exit code {code}"])[-1]


def judge(folds: Sequence[Fold], out: str | Path) -> Evaluation:
    """Compare all predictions of a cross-validation with the references, pooled and per night, and write the numbers.

    Raises
    ------
    HypnographError
        If a fold is not done.
    """
    missing = [str(fold.number) for fold in folds if not fold.is_done]
    if missing:
        raise HypnographError(f"fold {', '.join(missing)} of {len(folds)} is not done; run it first (--fold N)")
    evaluation = evaluate_predictions([fold.folder / PREDICTIONS for fold in folds])
    with whole_file(Path(out) / EVALUATION) as path:
        path.write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n", encoding="utf-8")
    with whole_file(Path(out) / NIGHTS_TABLE) as path:
        evaluation.to_frame().to_csv(path)
    return evaluation
