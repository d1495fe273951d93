"""What an interrupted training needs to go on: weights, optimiser, the passes so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypnograph.errors import UnreadableFileError
from hypnograph.whole_file import whole_file

FORMAT = 1


@dataclass(frozen=True)
class RunState:
    """Where a training is after a pass.

    Parameters
    ----------
    n_pass
        Passes done.
    history
        A row for each.
    best
        The row of the pass that was judged best; None before any was judged.
    since_best
        Passes done after it.
    nights_sha256
        Of the nights that it learns from and is judged on.
    most_steps
        Steps in a pass at most, of a trial; 0: all of them; −1: not known.
    """

    n_pass: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    since_best: int = 0
    nights_sha256: str = ""
    most_steps: int = 0


def write_state(
    state: RunState,
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    precision: Mapping[str, Any] | None = None,
) -> None:
    """Write a training's state, whole or not at all; `precision` is that of the scaler of half precision."""
    values = {
        "format": FORMAT,
        "n_pass": state.n_pass,
        "history": state.history,
        "best": state.best,
        "since_best": state.since_best,
        "nights_sha256": state.nights_sha256,
        "most_steps": state.most_steps,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "precision": dict(precision or {}),
    }
    with whole_file(path) as temporary:
        torch.save(values, temporary)


def read_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, precision: Any = None
) -> RunState | None:
    """Read a training's state into a network, its optimiser, and the scaler of half precision; None if there is none.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or of another network.
    """
    if not path.exists():
        return None
    try:
        # weights_only: nothing in the file is run.
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']}, and this hypnograph reads {FORMAT}")
        model.load_state_dict(values["model"])
        optimiser.load_state_dict(values["optimiser"])
        if precision is not None and values.get("precision"):
            precision.load_state_dict(values["precision"])
        names = ("n_pass", "history", "best", "since_best", "nights_sha256")
        return RunState(**{name: values[name] for name in names}, most_steps=values.get("most_steps", -1))
    except Exception as error:  # torch's unpickler has half a dozen kinds for a damaged file
        raise UnreadableFileError(
            f"{path}: not the state of this training ({' '.join(str(error).split())[:300]})"
        ) from error
