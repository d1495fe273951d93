"""The one loop that trains every network: on a CPU, a GPU, many of them, many machines.

The folder of a training holds ``recipe.toml`` and ``split.json`` (what it was asked), ``history.csv`` and
``learning-curve.png`` (its course), ``best/`` and ``last/`` (checkpoints that `hypnograph stage` takes), and
``state.pt`` (what an interrupted training needs to go on as if nothing had happened). Each is written whole or not at
all.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hypnograph import checkpoint
from hypnograph.errors import HypnographError
from hypnograph.model_info import ModelInfo
from hypnograph.models import architectures, create_model, describe
from hypnograph.network import TorchNetwork
from hypnograph.stages import AASM_5, StageScheme
from hypnograph.training.augmentation import create_augmentation
from hypnograph.training.batches import stage_targets
from hypnograph.training.epoch_grid import check_windows
from hypnograph.training.freed_memory import freed_memory_kept
from hypnograph.training.machine import Machine, create_fabric
from hypnograph.training.optimisers import create_optimiser
from hypnograph.training.phase import Course, Material, PhaseRun, Report, Result, objective_of, sampled_nights
from hypnograph.training.prediction import check_spec
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.recipes import Phase, Recipe
from hypnograph.training.run_folder import PRETRAINING, begin_run
from hypnograph.training.sampling import create_sampler
from hypnograph.training.splits import Split
from hypnograph.training.store import Store

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    if split.validation and not validation.nights and recipe.validation.monitor != "last":
        raise HypnographError(
            f"no scored night of the store is of a subject of the validation part ({', '.join(split.validation[:3])}); "
            "make the split from the store, or one without a validation part"
        )
    _rehearse(recipe, model, info, training, validation)
    unfitted = () if initial is None else load_fitting(model, initial)
    _begin(fabric, folder, recipe, split, resume=resume, overwrite=overwrite)
    facts = _facts(folder, training.nights, store, split) | {"source": recipe.source}
    course = Course(fabric, machine, recipe, training, validation, facts, report)
    with freed_memory_kept() if fabric.device.type == "cpu" else nullcontext():
        if recipe.pretraining is not None:
            first = _pretrain(course, recipe.pretraining, model, info, folder / PRETRAINING, warm=initial is not None)
            if not first.finished:
                return first
        return PhaseRun(course, "training", recipe, model, info, folder).run()._replace(unfitted=unfitted)


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


def _rehearse(recipe: Recipe, model: nn.Module, info: ModelInfo, training: Material, validation: Material) -> None:
    """Make all that a recipe's phases name, so that what is wrong is said before anything is trained or written."""
    phases: list[tuple[str, Phase, nn.Module]] = [("", recipe, model)]
    if recipe.pretraining is not None:
        phases.append(("pretraining.", recipe.pretraining, _first_network(recipe.network.architecture, model)))
    overlapping = any(night.overlaps for night in (*training.nights, *validation.nights))
    for where, phase, network in phases:
        if overlapping:
            check_windows(recipe.network.architecture, shift_s=phase.sampling.shift_s)
        for entry in phase.augmentation:
            if "name" not in entry:
                raise HypnographError(f"[[{where}augmentation]] has no name; it has {', '.join(entry) or 'nothing'}")
            create_augmentation(**entry)
        objective = objective_of(phase, training, info.scheme.n_stages)
        objective(torch.zeros(1, 1, info.scheme.n_stages), torch.zeros(1, 1, dtype=torch.long))
        sampler = create_sampler(phase.sampling, sampled_nights(training, recipe, info.input), recipe.seed)
        if not sampler.n_steps(0):
            raise HypnographError(
                f"{where}sampling: the training nights are too short for one step of {phase.sampling.name!r} with "
                f"{phase.sampling.batch} windows of {phase.sampling.context} epochs; make batch or context smaller"
            )
        create_optimiser(phase.optimiser, network)
        if phase.objective.weight_penalty and not hasattr(network, "weight_penalty"):
            raise HypnographError(
                f"{where}objective.weight_penalty: {recipe.network.architecture} has no penalty of its own; use "
                "optimiser.weight_decay"
            )


def _first_network(architecture: str, model: Any) -> Any:
    """Return a fresh network of a first step."""
    module: Any = architectures()[architecture]
    if not hasattr(module, "Pretraining"):
        raise HypnographError(f"{architecture} has no first step; take [pretraining] out of the recipe")
    return module.Pretraining(model.config)


def _pretrain(course: Course, phase: Phase, model: nn.Module, info: ModelInfo, folder: Path, *, warm: bool) -> Result:
    """Train the first of two steps to its end, and give its representation to the network.

    Where the network is `warm`, with weights of a checkpoint, the first step begins with those of its representation.
    """
    torch.manual_seed(course.recipe.seed)
    network: Any = model
    first = _first_network(info.architecture, network)
    if warm:
        first.representation.load_state_dict(network.representation.state_dict())
    alone = replace(info, reach=0, grid=1, carries_state=False)
    result = PhaseRun(course, "pretraining", phase, first, alone, folder).run()
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


def _material(store: Store, subjects: Sequence[str], recipe: Recipe, scheme: StageScheme) -> Material:
    wanted = set(subjects)
    nights = tuple(night for night in store.nights if night.person in wanted and night.scorers)
    merged = np.append(AASM_5.mapping_to(scheme), np.int8(-1))
    targets = (stage_targets(merged[night.stages], recipe.targets, scheme.n_stages) for night in nights)
    return Material(nights, tuple(targets))


def _facts(folder: Path, nights: Sequence[PreparedNight], store: Store, split: Split) -> dict[str, Any]:
    """Return what a model card says of the data."""
    parts = []
    for dataset in sorted({night.dataset for night in nights}):
        of_it = [night for night in nights if night.dataset == dataset]
        n_simulated = sum(night.is_simulated for night in of_it)
        simulated = f" ({n_simulated} of them simulated)" * bool(n_simulated)
        parts.append(f"{dataset}: {len(of_it)} nights of {len({night.person for night in of_it})} subjects{simulated}")
    licences = "; ".join(sorted({night.licence for night in nights if night.licence})) or "not stated"
    data = f"{'; '.join(parts)}. Store {store.sha256[:12]}; licence of the data: {licences}"
    return {"name": folder.resolve().name, "data": data, "split_sha256": split.sha256}


def _nobody(split: Split, store: Store) -> str:
    return (
        f"no scored night of the store is of a subject of the train part ({', '.join(split.train[:3])}, …); the store "
        f"has {', '.join(store.subjects[:3]) or 'nobody'}, …. Make the split from this store: hypnograph split STORE"
    )
