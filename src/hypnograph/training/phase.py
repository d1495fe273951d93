"""A phase of a training, from its first pass, or from where it was interrupted, to its end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from hypnograph.network import TorchNetwork
from hypnograph.preprocess import InputSpec
from hypnograph.training.augmentation import create_augmentation
from hypnograph.training.balanced_sampling import Pool
from hypnograph.training.batches import Loader
from hypnograph.training.history import is_better, tensorboard, write_curve, write_history
from hypnograph.training.keeping import create_keeper
from hypnograph.training.machine import Machine
from hypnograph.training.objectives import Objective, balanced_weights, class_aware_weights, create_objective
from hypnograph.training.optimisers import create_optimiser, set_learning_rates
from hypnograph.training.prepared_night import PreparedNight, nights_sha256
from hypnograph.training.recipes import Phase, Recipe
from hypnograph.training.run_folder import BEST, LAST, STATE, TENSORBOARD
from hypnograph.training.run_state import RunState, read_state, write_state
from hypnograph.training.sampled_windows import Nights, Sampler
from hypnograph.training.sampling import create_sampler
from hypnograph.training.steps import Stepper
from hypnograph.training.synchronised_norm import synchronise_norms
from hypnograph.training.validation import scores, some_of_each, tally

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_TELL_EVERY_S = 0.5
_DRAW_EVERY_S = 20.0


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

    `finished` is False where `Machine.most_minutes` stopped it; there may be no checkpoint yet. `unfitted` are weights
    for which the checkpoint that it began with had none.
    """

    checkpoint: Path
    history: list[dict[str, float]]
    best: dict[str, float] | None
    finished: bool = True
    unfitted: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Material:
    """Nights of one part of a split, with what the network should say of their epochs."""

    nights: tuple[PreparedNight, ...]
    targets: tuple[NDArray[Any], ...]

    @cached_property
    def stages(self) -> tuple[NDArray[np.int8], ...]:
        """What windows are drawn by: of shares, the largest."""
        return tuple(_hard(target) for target in self.targets)


@dataclass(frozen=True, eq=False)
class Course:
    """What the phases of a training share."""

    fabric: "Fabric"
    machine: Machine
    recipe: Recipe
    training: Material
    validation: Material
    facts: dict[str, Any]
    report: Report


@dataclass(eq=False)
class PhaseRun:
    """One phase of a training, from its first pass, or from where it was interrupted, to its end."""

    course: Course
    name: str
    phase: Phase
    model: nn.Module
    info: ModelInfo
    folder: Path

    def run(self) -> Result:
        fabric = self.course.fabric
        if fabric.world_size > 1:
            synchronise_norms(self.model)
        idle = set(getattr(self.model, "idle_weights", ()))
        for name, weight in self.model.named_parameters():
            if name in idle:
                weight.requires_grad_(False)  # several processes would wait for its gradient
        # On a GPU, a fused optimiser and the scaled gradients of half precision get in each other's way.
        self.optimiser = create_optimiser(self.phase.optimiser, self.model, fused=fabric.device.type == "cpu")
        self.stepper = self._stepper()
        self.sampler, self.loader = self._sampler(), self._loader()
        self.precision = fabric.strategy.precision
        found = read_state(self.folder / STATE, self.model, self.optimiser, self.precision)
        most_steps = self.course.machine.most_steps or 0
        self.state = found or RunState(nights_sha256=self._nights_sha256, most_steps=most_steps)
        if self.state.most_steps not in (-1, most_steps):
            its = self.state.most_steps or "all"
            raise HypnographError(
                f"{self.folder} was begun with {its} steps in a pass, not {most_steps or 'all'}; choose another "
                "folder, or --overwrite"
            )
        if self.state.nights_sha256 != self._nights_sha256:
            raise HypnographError(
                f"{self.folder}: the nights in the store are not those that this training began with; choose another "
                "folder, or --overwrite"
            )
        self.drawn = -math.inf
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

    @cached_property
    def _nights_sha256(self) -> str:
        return nights_sha256((*self.course.training.nights, *self.course.validation.nights))

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
        if course.machine.compile and carries:
            raise HypnographError(
                f"--compile: {self.info.architecture} carries a state from step to step and is not compiled"
            )
        # Lengths are fixed but for the last step of a pass; symbolic ones are more than the compiler can do.
        given: Any = torch.compile(self.model, dynamic=False) if course.machine.compile else self.model
        wrapped, optimiser = course.fabric.setup(given, self.optimiser)
        if carries:
            wrapped.mark_forward_method("run")
        return Stepper(
            fabric=course.fabric,
            network=self.model,
            wrapped=wrapped,
            optimiser=optimiser,
            objective=objective_of(phase, course.training, self.info.scheme.n_stages),
            weight_penalty=phase.objective.weight_penalty,
            clip_norm=phase.optimiser.clip_norm,
            accumulate=course.machine.accumulate,
            carries=carries,
        )

    @cached_property
    def _nights(self) -> Nights:
        return sampled_nights(self.course.training, self.course.recipe, self.info.input)

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
        row = {"pass": float(n_pass + 1), "learning_rate": rate, **self._pass()}
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
            # Processes may not wait for each other to tell: the first one tells what it sees.
            if now - told > _TELL_EVERY_S and self.course.fabric.is_global_zero:
                told = now
                loss, speed = stepper.mean_loss(own=True), examples / (now - began)
                self._report(stepper.steps, int(n_steps), loss, speed, passed_s=now - began)
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
            nights_sha256=state.nights_sha256,
            most_steps=state.most_steps,
        )
        ends = self._finished or self._is_late
        if self.course.fabric.is_global_zero:
            if better:
                self._save(BEST, row)
            # In every pass, as the state: after an interruption it is what it is called.
            self._save(LAST, row)
            if ends or time.monotonic() - self.drawn > _DRAW_EVERY_S:
                self.drawn = time.monotonic()
                write_curve(self.state.history, self.folder, self.folder.resolve().name)
            write_history(self.state.history, self.folder)
            scaler = self.precision.state_dict()
            write_state(self.state, self.folder / STATE, self.model, self.optimiser, scaler)
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

    def _report(
        self,
        step: int,
        n_steps: int,
        loss: float,
        speed: float,
        row: dict[str, float] | None = None,
        *,
        passed_s: float = 0.0,
    ) -> None:
        before = [row["seconds"] for row in self.state.history[-5:]]
        passes, n_pass = self.phase.stopping.passes, self.state.n_pass - (row is not None)
        pass_s = float(np.mean(before)) if before else passed_s * n_steps / step if step else math.nan
        left = max(0.0, (passes - self.state.n_pass) * pass_s - passed_s)
        self.course.report(Progress(self.name, n_pass, passes, step, n_steps, loss, speed, left, row))


def _hard(target: NDArray[Any]) -> NDArray[np.int8]:
    if target.ndim == 1:
        return target.astype(np.int8)
    scored = ~np.isnan(target).any(axis=1)
    return np.where(scored, np.nan_to_num(target).argmax(axis=1), -1).astype(np.int8)


def sampled_nights(training: Material, recipe: Recipe, spec: InputSpec) -> Nights:
    """Return the training nights as samplers see them."""
    every = recipe.derivations == "random"
    return Nights(training.nights, training.stages, spec.kinds, spec.epoch_samples, spec.epoch_s, every)


def objective_of(phase: Phase, training: Material, n_stages: int) -> Objective:
    """Return what a phase minimises, with the stage weights that follow from the training nights."""
    options, weights = dict(phase.objective.options), phase.objective.stage_weights
    if isinstance(weights, str):
        # Of the training nights alone: the official AttnSleep counts those of the test nights, too.
        stages = np.concatenate(training.stages)
        counts = [int(count) for count in np.bincount(stages[stages >= 0], minlength=n_stages)]
        weights = class_aware_weights(counts) if weights == "class-aware" else balanced_weights(counts)
    if weights is not None:
        options["stage_weights"] = tuple(weights)
    return create_objective(phase.objective.name, **options)


def _seed(seed: int, n_pass: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, 3, n_pass, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1))
