"""The one loop that trains every network: on a CPU, a GPU, many of them, many machines.

The folder of a training holds ``recipe.toml`` and ``split.json`` (what it was asked), ``history.csv`` and
``learning-curve.png`` (its course), ``best/`` and ``last/`` (checkpoints that `hypnograph stage` takes), and
``state.pt`` (what an interrupted training needs to go on as if nothing had happened). Each is written whole or not at
all.
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hypnograph import checkpoint
from hypnograph.errors import HypnographError
from hypnograph.model_info import ModelInfo
from hypnograph.models import architectures, create_model, describe
from hypnograph.network import TorchNetwork
from hypnograph.stages import AASM_5, StageScheme
from hypnograph.training.augmentation import create_augmentation
from hypnograph.training.balanced_sampling import Pool
from hypnograph.training.batches import Loader, stage_targets
from hypnograph.training.freed_memory import freed_memory_kept
from hypnograph.training.history import is_better, tensorboard, write_curve, write_history
from hypnograph.training.keeping import Keeping, create_keeper
from hypnograph.training.objectives import Objective, balanced_weights, class_aware_weights, create_objective
from hypnograph.training.optimisers import create_optimiser, set_learning_rates
from hypnograph.training.prediction import check_spec
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.recipes import Phase, Recipe
from hypnograph.training.run_folder import BEST, LAST, PRETRAINING, STATE, TENSORBOARD, begin_run
from hypnograph.training.run_state import RunState, read_state, write_state
from hypnograph.training.sampled_windows import Nights, Sampler
from hypnograph.training.sampling import create_sampler
from hypnograph.training.splits import Split
from hypnograph.training.steps import Stepper
from hypnograph.training.store import Store
from hypnograph.training.synchronised_norm import synchronise_norms
from hypnograph.training.validation import scores, some_of_each, tally

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_TELL_EVERY_S = 0.5
_SAVE_EVERY_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how a recipe is run; it does not change what is trained, but for rounding.

    Parameters
    ----------
    keeping, pool, cache
        How nights are kept at hand, see `hypnograph.training.keeping`; a pool limits the sampler, too.
    workers
        Threads that load.
    accelerator, devices, nodes, precision
        Of lightning-fabric: ``"auto"``, ``"cpu"``, ``"cuda"``; how many (``"auto"``: all); machines; e.g.
        ``"bf16-mixed"``. Under ``torchrun`` and SLURM the processes there are used.
    accumulate
        Parts of a step that are computed one after the other, where its windows do not fit in memory together.
    compile
        Compile the network (`torch.compile`).
    most_steps
        Steps in a pass at most, to try a recipe; None: all.
    most_minutes
        A phase stops after the pass in which so many minutes are over, and the training can be resumed; None: never.
    """

    keeping: Keeping = "stream"
    pool: Pool | None = None
    cache: Path | None = None
    workers: int = 2
    accelerator: str = "auto"
    devices: int | str = 1
    nodes: int = 1
    precision: str = "32-true"
    accumulate: int = 1
    compile: bool = False
    most_steps: int | None = None
    most_minutes: float | None = None


class Progress(NamedTuple):
    """Where a training is; passes and steps are counted from 0, `seconds_left` is of the phase, at most.

    `row` is the row of the history at the end of a pass, else None.
    """

    phase: str
    n_pass: int
    passes: int
    step: int
    n_steps: int
    loss: float
    examples_per_s: float
    seconds_left: float
    row: dict[str, float] | None = None


Report = Callable[[Progress], None]


class Result(NamedTuple):
    """What came of a training: its best checkpoint, its passes, the best of them (None: none was judged), its end.

    `finished` is False where `Machine.most_minutes` stopped it; there may be no checkpoint yet.
    """

    checkpoint: Path
    history: list[dict[str, float]]
    best: dict[str, float] | None
    finished: bool = True


def train(
    recipe: Recipe,
    store: Store,
    split: Split,
    folder: str | Path,
    *,
    machine: Machine | None = None,
    initial: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = lambda progress: None,
) -> Result:
    """Train a network.

    Parameters
    ----------
    recipe
        What and how.
    store
        The prepared nights.
    split
        Whose nights train and choose; those of the test part are not touched.
    folder
        Of the training.
    machine
        Where it runs; None: one device, whatever there is.
    initial
        A checkpoint whose weights are the first ones, as far as names and shapes fit.
    resume
        Go on where a training of the same recipe stopped; begin if there is none.
    overwrite
        Begin anew in a folder that holds a training.
    report
        Is told how far it is.

    Raises
    ------
    HypnographError
        If the folder holds a training and neither `resume` nor `overwrite` is set, recipe or split are other ones than
        before, the nights were prepared for another network, or the loss is not finite.
    """
    machine, folder = machine or Machine(), Path(folder)
    fabric = create_fabric(machine)
    torch.manual_seed(recipe.seed)
    model = create_model(recipe.network.architecture, preset=recipe.network.preset, **recipe.network.options)
    info = _info(model, recipe)
    check_spec(TorchNetwork(model, info), store.spec)
    training, validation = (_material(store, part, recipe, info.scheme) for part in (split.train, split.validation))
    if not training.nights:
        raise HypnographError(_nobody(split, store))
    _begin(fabric, folder, recipe, split, resume=resume, overwrite=overwrite)
    if initial is not None:
        load_fitting(model, initial)
    facts = _facts(folder, training.nights, store, split) | {"source": recipe.source}
    course = _Course(fabric, machine, recipe, training, validation, facts, report)
    with freed_memory_kept() if fabric.device.type == "cpu" else nullcontext():
        if recipe.pretraining is not None:
            first = _pretrain(course, recipe.pretraining, model, info, folder / PRETRAINING)
            if not first.finished:
                return first
        return _PhaseRun(course, "training", recipe, model, info, folder).run()


def create_fabric(machine: Machine) -> "Fabric":
    """Return lightning-fabric's view of the devices, launched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about loggers and devices that nobody asked for
        from lightning_fabric import Fabric

        many = machine.devices not in (1, "1") or machine.nodes > 1 or _launched()
        fabric = Fabric(
            accelerator=machine.accelerator,
            devices="auto" if machine.devices == 1 and _launched() else machine.devices,
            num_nodes=machine.nodes,
            strategy="ddp" if many else "auto",
            precision=machine.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    return fabric


def load_fitting(model: nn.Module, source: str | Path) -> tuple[str, ...]:
    """Give a network the weights of a checkpoint where names and shapes fit; return the names of those it lacks.

    Raises
    ------
    HypnographError
        If none fit.
    """
    loaded = checkpoint.load(source)
    if not isinstance(loaded, TorchNetwork):
        raise HypnographError(f"{source}: a training begins from a checkpoint's folder, not from an ONNX file")
    given, own = loaded.model.state_dict(), model.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise HypnographError(f"{source}: no weight of {loaded.info.title} fits the network of this recipe")
    model.load_state_dict(fitting, strict=False)
    return tuple(name for name in own if name not in fitting)


@dataclass(frozen=True, eq=False)
class _Material:
    """Nights of one part of a split, with what the network should say of their epochs."""

    nights: tuple[PreparedNight, ...]
    targets: tuple[NDArray[Any], ...]

    @cached_property
    def stages(self) -> tuple[NDArray[np.int8], ...]:
        """What windows are drawn by: of shares, the largest."""
        return tuple(_hard(target) for target in self.targets)


@dataclass(frozen=True, eq=False)
class _Course:
    """What the phases of a training share."""

    fabric: "Fabric"
    machine: Machine
    recipe: Recipe
    training: _Material
    validation: _Material
    facts: dict[str, Any]
    report: Report


# A phase -------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _PhaseRun:
    """One phase of a training, from its first pass, or from where it was interrupted, to its end."""

    course: _Course
    name: str
    phase: Phase
    model: nn.Module
    info: ModelInfo
    folder: Path

    def run(self) -> Result:
        fabric = self.course.fabric
        if fabric.world_size > 1:
            synchronise_norms(self.model)
        # On a GPU, a fused optimiser and the scaled gradients of half precision get in each other's way.
        self.optimiser = create_optimiser(self.phase.optimiser, self.model, fused=fabric.device.type == "cpu")
        self.stepper = self._stepper()
        self.sampler, self.loader = self._sampler(), self._loader()
        self.state = read_state(self.folder / STATE, self.model, self.optimiser) or RunState()
        self.saved = -math.inf
        tell = tensorboard(self.folder / TENSORBOARD) if fabric.is_global_zero else lambda row: None
        self.began = time.monotonic()
        while not (self._finished or self._is_late):
            row = self._row()
            self._keep(row)
            tell(row)
            self._report(0, 0, row["loss"], row["examples_per_s"], row)
        judged = self.state.best is not None and self._is_ours
        chosen = self.folder / (BEST if judged else LAST)
        return Result(chosen, self.state.history, self.state.best, self._finished)

    @property
    def _is_ours(self) -> bool:
        """Whether it is a network that stages; the one of a first step is not."""
        return self.name == "training"

    @property
    def _finished(self) -> bool:
        state, stopping = self.state, self.phase.stopping
        waited = stopping.patience is not None and state.best is not None and state.since_best >= stopping.patience
        return waited or state.n_pass >= stopping.passes

    @property
    def _is_late(self) -> bool:
        minutes, fabric = self.course.machine.most_minutes, self.course.fabric
        late = minutes is not None and time.monotonic() - self.began >= 60 * minutes
        # One clock for all: processes that disagree would wait for each other for ever.
        return bool(fabric.broadcast(late))

    def _stepper(self) -> Stepper:
        course, phase = self.course, self.phase
        carries = phase.sampling.name in ("tracks", "night-tracks") and hasattr(self.model, "run")
        given: Any = torch.compile(self.model) if course.machine.compile and not carries else self.model
        wrapped, optimiser = course.fabric.setup(given, self.optimiser)
        if carries:
            wrapped.mark_forward_method("run")
        return Stepper(
            fabric=course.fabric,
            network=self.model,
            wrapped=wrapped,
            optimiser=optimiser,
            objective=_objective(phase, course.training, self.info.scheme.n_stages),
            weight_penalty=phase.objective.weight_penalty,
            clip_norm=phase.optimiser.clip_norm,
            accumulate=course.machine.accumulate,
            carries=carries,
        )

    @cached_property
    def _nights(self) -> Nights:
        training, spec = self.course.training, self.info.input
        every = self.course.recipe.derivations == "random"
        return Nights(training.nights, training.stages, spec.kinds, spec.epoch_samples, spec.epoch_s, every)

    def _sampler(self) -> Sampler:
        machine = self.course.machine
        pool = (machine.pool or Pool()) if machine.keeping == "pool" else None
        return create_sampler(self.phase.sampling, self._nights, self.course.recipe.seed, pool=pool)

    def _loader(self) -> Loader:
        machine, training, fabric = self.course.machine, self.course.training, self.course.fabric
        n_datasets = len({night.dataset for night in training.nights})
        limit = (machine.pool or Pool()).nights_per_dataset * n_datasets
        return Loader(
            nights=self._nights,
            targets=training.targets,
            keeper=create_keeper(machine.keeping, training.nights, limit=limit, folder=machine.cache),
            augmentations=[create_augmentation(**entry) for entry in self.phase.augmentation],
            context=self.phase.sampling.context,
            seed=self.course.recipe.seed,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )

    def _row(self) -> dict[str, float]:
        """Go through the training nights once, judge what came of it, and return the row of the history."""
        phase, n_pass = self.phase, self.state.n_pass
        passes = phase.stopping.passes
        began = time.perf_counter()
        rate = set_learning_rates(self.optimiser, phase.optimiser, phase.schedule, n_pass=n_pass, passes=passes)
        # A pass depends on the seed and its number alone, so that it can be repeated after an interruption.
        torch.manual_seed(_seed(self.course.recipe.seed, n_pass, self.course.fabric.global_rank))
        row = {"pass": float(n_pass), "learning_rate": rate, **self._pass()}
        if (n_pass + 1) % phase.validation.every == 0 or n_pass + 1 == passes:
            row |= self._validate()
        return row | {"seconds": time.perf_counter() - began}

    def _pass(self) -> dict[str, float]:
        n_pass, stepper = self.state.n_pass, self.stepper
        n_steps = min(self.sampler.n_steps(n_pass), self.course.machine.most_steps or math.inf)
        batches = self.loader.batches(self.sampler, n_pass, workers=self.course.machine.workers)
        stepper.begin()
        began = told = time.perf_counter()
        examples = 0
        for batch in batches:
            stepper.take(batch)
            examples += len(batch.all_targets)
            now = time.perf_counter()
            # Processes may not wait for each other to tell: with several, a pass tells at its end.
            if now - told > _TELL_EVERY_S and self.course.fabric.world_size == 1:
                told = now
                self._report(stepper.steps, int(n_steps), stepper.mean_loss(), examples / (now - began))
            if stepper.steps == n_steps:
                break
        batches.close()
        loss = stepper.mean_loss()
        if not math.isfinite(loss):
            raise HypnographError(
                f"the loss of pass {n_pass} is {loss}: the training has diverged. Lower optimiser.learning_rate or set "
                "optimiser.clip_norm"
            )
        speed = examples / (time.perf_counter() - began)
        return {"loss": loss, "steps": float(stepper.steps), "examples_per_s": speed}

    def _validate(self) -> dict[str, float]:
        validation, fabric = self.course.validation, self.course.fabric
        if not validation.nights:
            return {}
        targets = dict(zip((night.key for night in validation.nights), validation.targets, strict=True))
        seed, most = self.course.recipe.seed, self.phase.validation.nights_per_dataset
        chosen = some_of_each(validation.nights, most, seed)
        mine = chosen[fabric.global_rank :: fabric.world_size]
        network = TorchNetwork(self.model, self.info)
        datasets = sorted({night.dataset for night in chosen})
        counts = tally(network, mine, [targets[night.key] for night in mine], datasets)
        if fabric.world_size > 1:
            for name in datasets:
                summed: Any = fabric.all_reduce(torch.from_numpy(counts[name]), reduce_op="sum")
                counts[name] = summed.cpu().numpy()
        return {f"validation_{name}": value for name, value in scores(counts, self.info.scheme).items()}

    def _keep(self, row: dict[str, float]) -> None:
        """Write what is to be kept of a pass; the state comes last, so that all that it promises is there."""
        state, better = self.state, is_better(row, self.state.best, self.phase.validation)
        self.state = RunState(
            n_pass=state.n_pass + 1,
            history=[*state.history, row],
            best=row if better else state.best,
            since_best=0 if better else state.since_best + 1,
        )
        ends = self._finished or self._is_late
        if self.course.fabric.is_global_zero:
            if better:
                self._save(BEST, row)
            if ends or time.monotonic() - self.saved > _SAVE_EVERY_S:
                self.saved = time.monotonic()
                self._save(LAST, row)
                write_curve(self.state.history, self.folder, self.folder.resolve().name)
            write_history(self.state.history, self.folder)
            write_state(self.state, self.folder / STATE, self.model, self.optimiser)
        self.course.fabric.barrier()

    def _save(self, name: str, row: dict[str, float]) -> None:
        if not self._is_ours:
            return
        n_nights = len(self.course.validation.nights)
        metrics = {
            f"{key.removeprefix('validation_')}, {n_nights} validation nights": round(value, 4)
            for key, value in row.items()
            if key.startswith("validation_")
        }
        described = {"input": self.info.input, "scheme": self.info.scheme, "metrics": metrics}
        checkpoint.save(self.model, self.folder / name, overwrite=True, **described, **self.course.facts)

    def _report(self, step: int, n_steps: int, loss: float, speed: float, row: dict[str, float] | None = None) -> None:
        before = [row["seconds"] for row in self.state.history[-5:]]
        passes, n_pass = self.phase.stopping.passes, self.state.n_pass - (row is not None)
        left = (passes - self.state.n_pass) * float(np.mean(before)) if before else math.nan
        self.course.report(Progress(self.name, n_pass, passes, step, n_steps, loss, speed, left, row))


# Parts ---------------------------------------------------------------------------------------------------------------


def _pretrain(course: _Course, phase: Phase, model: nn.Module, info: ModelInfo, folder: Path) -> Result:
    """Train the first of two steps to its end, and give its representation to the network."""
    module: Any = architectures()[info.architecture]
    if not hasattr(module, "Pretraining"):
        raise HypnographError(f"{info.architecture} has no first step; take [pretraining] out of the recipe")
    torch.manual_seed(course.recipe.seed)
    network: Any = model
    first = module.Pretraining(network.config)
    alone = replace(info, reach=0, grid=1, carries_state=False)
    result = _PhaseRun(course, "pretraining", phase, first, alone, folder).run()
    network.representation.load_state_dict(first.representation.state_dict())
    return result


def _begin(fabric: "Fabric", folder: Path, recipe: Recipe, split: Split, *, resume: bool, overwrite: bool) -> None:
    """Let the first process begin in the folder; where it may not, all stop: none waits for ever."""
    problem = ""
    if fabric.is_global_zero:
        try:
            begin_run(folder, recipe, split, resume=resume, overwrite=overwrite)
        except HypnographError as error:
            problem = str(error)
    if problem := fabric.broadcast(problem):
        raise HypnographError(problem)


def _info(model: nn.Module, recipe: Recipe) -> ModelInfo:
    """Describe a network; one that looks at windows stages windows like those it was trained on."""
    info = describe(model, input=recipe.input_spec())
    if info.reach is None and not info.carries_state:
        info = replace(info, input=replace(info.input, context=recipe.sampling.context))
    return info


def _material(store: Store, subjects: Sequence[str], recipe: Recipe, scheme: StageScheme) -> _Material:
    wanted = set(subjects)
    nights = tuple(night for night in store.nights if night.person in wanted and night.scorers)
    merged = np.append(AASM_5.mapping_to(scheme), np.int8(-1))
    targets = (stage_targets(merged[night.stages], recipe.targets, scheme.n_stages) for night in nights)
    return _Material(nights, tuple(targets))


def _hard(target: NDArray[Any]) -> NDArray[np.int8]:
    if target.ndim == 1:
        return target.astype(np.int8)
    scored = ~np.isnan(target).any(axis=1)
    return np.where(scored, np.nan_to_num(target).argmax(axis=1), -1).astype(np.int8)


def _objective(phase: Phase, training: _Material, n_stages: int) -> Objective:
    options, weights = dict(phase.objective.options), phase.objective.stage_weights
    if isinstance(weights, str):
        # Of the training nights alone: the official AttnSleep counts those of the test nights, too.
        stages = np.concatenate(training.stages)
        counts = [int(count) for count in np.bincount(stages[stages >= 0], minlength=n_stages)]
        weights = class_aware_weights(counts) if weights == "class-aware" else balanced_weights(counts)
    if weights is not None:
        options["stage_weights"] = tuple(weights)
    return create_objective(phase.objective.name, **options)


def _facts(folder: Path, nights: Sequence[PreparedNight], store: Store, split: Split) -> dict[str, Any]:
    """Return what a model card says of the data."""
    parts = []
    for dataset in sorted({night.dataset for night in nights}):
        of_it = [night for night in nights if night.dataset == dataset]
        parts.append(f"{dataset}: {len(of_it)} nights of {len({night.person for night in of_it})} subjects")
    licences = "; ".join(sorted({night.licence for night in nights if night.licence})) or "not stated"
    data = f"{'; '.join(parts)}. Store {store.sha256[:12]}; licence of the data: {licences}"
    return {"name": folder.resolve().name, "data": data, "split_sha256": split.sha256}


def _nobody(split: Split, store: Store) -> str:
    return (
        f"no scored night of the store is of a subject of the train part ({', '.join(split.train[:3])}, …); the store "
        f"has {', '.join(store.subjects[:3]) or 'nobody'}, …. Make the split from this store: hypnograph split STORE"
    )


def _seed(seed: int, n_pass: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, 3, n_pass, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _launched() -> bool:
    """Tell whether `torchrun` or SLURM started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1
