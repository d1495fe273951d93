"""Every stager stages the nights of all test parts; what is done already is not done again.

The folder of a comparison holds ``nights.json`` (what they are made of), ``splits/`` (one file for each fold),
``stores/`` (prepared nights, one store for each way of preparing) and ``stagers/NAME/``: a folder for each fold of a
recipe, ``predictions/`` of all others.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from hypnograph.benchmark.entrants import Entrant
from hypnograph.benchmark.preparing import Prepared, Say, prepare_all
from hypnograph.benchmark.references import Reference, without_names
from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError, one_line
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.network import Network
from hypnograph.parallel import on_each
from hypnograph.stagers import StagerLike
from hypnograph.training.cross_validation import PREDICTIONS, Fold, check_done, run_fold
from hypnograph.training.machine import Machine
from hypnograph.training.phase import Report as TrainingReport
from hypnograph.training.prediction_files import PREDICTED, Options, PredictedNight, file_name, predict, write_rows, yes
from hypnograph.training.recipes import Recipe
from hypnograph.training.splits import Split
from hypnograph.training.store import Store
from hypnograph.whole_file import whole_file

T = TypeVar("T", Hypnogram, Hypnodensity)

STAGERS: Final = "stagers"
FACTS: Final = "facts.json"


@dataclass(frozen=True, eq=False)
class Work:
    """What all stagers have to do, and how.

    Parameters
    ----------
    references
        Of all nights.
    splits
        Of the folds; empty where nobody is trained.
    tested
        Subjects of all test parts.
    out
        Folder of the comparison.
    jobs
        Nights and folds at a time.
    machine
        Where recipes are trained.
    training, say
        Are told how far a training is (with one job), and in words what is done.
    """

    references: Sequence[Reference]
    splits: Sequence[Split]
    tested: set[str]
    out: Path
    derivations: Mapping[ChannelKind, Sequence[str]] = field(default_factory=dict)
    jobs: int = 1
    machine: Machine | None = None
    training: TrainingReport = lambda progress: None
    say: Say = lambda text: None

    @property
    def nights(self) -> list[Reference]:
        """The nights of the tested subjects."""
        return [one for one in self.references if one.person in self.tested]


@dataclass(frozen=True, eq=False)
class Staged:
    """What became of one stager.

    Parameters
    ----------
    entrant
        Which.
    folders
        Of its predictions.
    prepared
        What it saw; None: the recordings as they are.
    failed
        Nights that it did not stage, and why.
    problem
        Why it is not compared; empty if it is.
    """

    entrant: Entrant
    folders: tuple[Path, ...]
    prepared: Prepared | None
    failed: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Task:
    """A piece of work: whose, what it is called, what to call, and whether another process may do it."""

    stager: str
    title: str
    work: Callable[[], None]
    portable: bool = True


def stage_all(entrants: Sequence[Entrant], work: Work) -> list[Staged]:
    """Let every stager stage the nights of all test parts.

    A recipe is trained in each fold first. A stager that cannot be used costs no other: its `Staged` says why.
    """
    prepared = prepare_all(
        entrants, work.references, work.out, derivations=work.derivations, jobs=work.jobs, say=work.say
    )
    planned = [_plan(entrant, prepared.get(entrant.name), work) for entrant in entrants]
    failed: dict[str, dict[str, str]] = {entrant.name: {} for entrant in entrants}
    everything = [task for tasks, _ in planned for task in tasks]
    for n_done, (task, problem) in enumerate(_run(everything, work.jobs), start=1):
        if problem:
            failed[task.stager][task.title] = problem
        work.say(f"{n_done} of {len(everything)}: {task.stager}, {task.title}: {problem or 'done'}")
    return [
        _staged(entrant, folders, prepared.get(entrant.name), failed[entrant.name])
        for entrant, (_, folders) in zip(entrants, planned, strict=True)
    ]


def _plan(entrant: Entrant, prepared: Prepared | None, work: Work) -> tuple[list[Task], tuple[Path, ...]]:
    """Return what there is to do for a stager, and the folders of its predictions."""
    name, place, options = entrant.name, work.out / STAGERS / entrant.name, Options(most=entrant.combinations)
    if entrant.recipe is not None and prepared is not None:
        folds = _folds(prepared, work.splits, place)
        most_steps = None if work.machine is None else work.machine.most_steps
        check_done(folds, entrant.recipe, options, prepared.store, most_steps=most_steps)
        do = partial(_train_and_stage, entrant.recipe, prepared.store, options, work.machine)
        # What shows a training cannot be sent to another process.
        shown = {"report": work.training} if work.jobs == 1 else {}
        tasks = [Task(name, f"fold {f.number} of {len(work.splits)}", partial(do, f, **shown)) for f in folds]
        return tasks, tuple(fold.folder / PREDICTIONS for fold in folds)
    folder = place / PREDICTIONS
    if entrant.network is not None and prepared is not None:
        do_all = partial(_stage_prepared, entrant.network, prepared.store, options, work.tested, place)
        return [Task(name, "all nights", do_all, portable=False)], (folder,)
    if entrant.stager is not None:
        write_rows([_row(one) for one in work.nights], folder)
        do_one = partial(_stage_recording, entrant.stager, folder)
        return [Task(name, one.key, partial(do_one, one)) for one in work.nights], (folder,)
    return [], ()


def _folds(prepared: Prepared, splits: Sequence[Split], place: Path) -> list[Fold]:
    within = [(number, prepared.within(split)) for number, split in enumerate(splits, start=1)]
    return [Fold(number, split, place / f"fold-{number:03d}") for number, split in within if split is not None]


def _staged(
    entrant: Entrant, folders: tuple[Path, ...], prepared: Prepared | None, failed: Mapping[str, str]
) -> Staged:
    if prepared is None:  # each of its failures is a night
        return Staged(entrant, folders, None, failed)
    problem = "; ".join(f"{title}: {why}" for title, why in sorted(failed.items()))
    return Staged(entrant, folders, prepared, prepared.failed, problem)


def _run(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, str]]:
    """Do all tasks, some at a time, and yield each with what went wrong, if anything."""
    sent = [task for task in tasks if task.portable and jobs != 1]
    yield from ((task, _attempt(task.work)) for task in tasks if task not in sent)
    for number, problem in on_each(_numbered, [(n, task.work) for n, task in enumerate(sent)], jobs=jobs):
        yield sent[number], problem


def _numbered(numbered: tuple[int, Callable[[], None]]) -> tuple[int, str]:
    number, work = numbered
    return number, _attempt(work)


def _attempt(work: Callable[[], None]) -> str:
    """Do some work and return what went wrong with it; the other stagers go on."""
    try:
        work()
    except (HypnographError, OSError, MemoryError) as error:
        return one_line(error)
    except Exception as error:  # a defect of one stager must not cost the others their days of training
        return f"unexpected {type(error).__name__}: {one_line(error)}"
    return ""


# What is done ---------------------------------------------------------------------------------------------------------


def _train_and_stage(  # noqa: PLR0917
    recipe: Recipe,
    store: Store,
    options: Options,
    machine: Machine | None,
    fold: Fold,
    report: TrainingReport = lambda progress: None,
) -> None:
    """Train a recipe in one fold, and let it stage the test part."""
    if not fold.is_done:
        run_fold(fold, recipe, store, machine=machine, options=options, report=report)


def _stage_prepared(network: Network, store: Store, options: Options, tested: set[str], place: Path) -> None:
    """Let a trained network stage the prepared nights of all test parts."""
    if read_facts(place).get("sha256", network.sha256) != network.sha256:
        raise HypnographError(f"{place} holds what other weights said; give the stager another name (NAME=WHAT)")
    write_facts(place, {"sha256": network.sha256})
    subjects = store.with_nights(sorted(tested))
    for _ in predict(network, store, subjects, place / PREDICTIONS, options=options, resume=True):
        pass


def _stage_recording(stager: StagerLike, folder: Path, reference: Reference) -> None:
    """Let a stager stage a recording as it is."""
    path = folder / PREDICTED / _row(reference).file
    if not path.exists():
        try:
            staging = stager.stage(reference.night.recording())
        except (HypnographError, OSError) as error:
            raise HypnographError(without_names(one_line(error), reference.night)) from error
        hypnogram, density = _undated(staging.hypnogram), staging.hypnodensity
        write_hypnogram(hypnogram, path, hypnodensity=density and _undated(density), overwrite=True)


def _undated(staged: T) -> T:
    """Return what was staged on a day of no meaning: the hour matters, a date could tell who it was."""
    start = staged.start
    return staged if start is None else replace(staged, start=start.replace(year=2000, month=1, day=1))


def _row(reference: Reference) -> PredictedNight:
    night = reference.night
    return PredictedNight(night.dataset, night.id, reference.person, file_name(night), yes(reference.simulated))


def read_facts(place: Path) -> dict[str, Any]:
    """Read what is known of a stager's run."""
    path = place / FACTS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def write_facts(place: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Add to what is known of a stager's run, and return all of it."""
    known = read_facts(place) | dict(facts)
    with whole_file(place / FACTS) as path:
        path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return known
