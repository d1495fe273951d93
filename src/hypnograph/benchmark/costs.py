"""What a stager costs: seconds of training, seconds for a night, parameters, megabytes."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import torch

from hypnograph.benchmark.entrants import Entrant
from hypnograph.benchmark.staging import STAGERS, Staged, read_facts, write_facts
from hypnograph.datasets import Night
from hypnograph.errors import HypnographError
from hypnograph.model_info import WEIGHTS
from hypnograph.models import count_parameters
from hypnograph.network import TorchNetwork
from hypnograph.released_weights import list_models, load
from hypnograph.stagers.network import Stager
from hypnograph.training.history import read_history
from hypnograph.training.run_folder import PRETRAINING, best_checkpoint

_TIMED_NIGHTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stager costs; None where it is not known.

    Parameters
    ----------
    training_s
        Seconds of training, all folds together.
    night_s
        Seconds from a recording's file to its stages: the median of up to 3 nights, one at a time, on this computer.
    n_parameters
        Of the network.
    weights_mb
        Megabytes of the files of its weights.
    computer
        Where the seconds of a night were measured.
    """

    training_s: float | None = None
    night_s: float | None = None
    n_parameters: int | None = None
    weights_mb: float | None = None
    computer: str | None = None


def cost_of(staged: Staged, nights: Sequence[Night], out: Path) -> Cost:
    """Return what a stager costs; staging is timed once and kept."""
    entrant, place = staged.entrant, out / STAGERS / staged.entrant.name
    known = read_facts(place)
    trained = best_checkpoint(staged.folders[0].parent) if entrant.recipe is not None else entrant.path
    if "night_s" not in known:
        seconds = _seconds_a_night(entrant, trained, nights[:_TIMED_NIGHTS])
        measured = {"night_s": seconds, "computer": None if seconds is None else _computer()}
        known = write_facts(place, measured | {"n_parameters": _n_parameters(entrant, trained)})
    return Cost(
        training_s=_training_s(staged) if entrant.recipe is not None else None,
        night_s=known["night_s"],
        n_parameters=known["n_parameters"],
        weights_mb=_weights_mb(entrant, trained),
        computer=known.get("computer"),
    )


def _computer() -> str:
    """Return what a reader needs to compare seconds: the processor, its cores, the threads that were used."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [name])[0]}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _training_s(staged: Staged) -> float:
    runs = [folder.parent for folder in staged.folders]
    runs += [run / PRETRAINING for run in runs if (run / PRETRAINING).is_dir()]
    return sum(row["seconds"] for run in runs for row in read_history(run))


def _seconds_a_night(entrant: Entrant, trained: Path | None, nights: Sequence[Night]) -> float | None:
    seconds = []
    try:
        model: Any = entrant.network if entrant.network is not None else trained
        stager = entrant.stager or Stager(model, max_voters=entrant.combinations)
        for night in nights:
            began = perf_counter()
            stager.stage(night.recording())
            seconds.append(perf_counter() - began)
    except (HypnographError, OSError):
        return None  # it stages prepared nights, but not all of these recordings by itself
    return median(seconds)


def _n_parameters(entrant: Entrant, trained: Path | None) -> int | None:
    network = load(trained) if entrant.network is None and trained is not None else entrant.network
    return count_parameters(network.model) if isinstance(network, TorchNetwork) else None


def _weights_mb(entrant: Entrant, trained: Path | None) -> float | None:
    if trained is not None:
        file = trained if trained.is_file() else trained / WEIGHTS
        return file.stat().st_size / 1e6
    sizes = {listed.name: listed.size for listed in list_models() if listed.kind == "stager"}
    name = getattr(entrant.stager, "__module__", "").rpartition(".")[2]
    return sizes[name] / 1e6 if name in sizes else None
