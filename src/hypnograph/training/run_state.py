"""What an interrupted training needs to go on: weights, optimiser, the passes so far."""

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
    """

    n_pass: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    since_best: int = 0


def write_state(state: RunState, path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Write a training's state, whole or not at all."""
    values = {
        "format": FORMAT,
        "n_pass": state.n_pass,
        "history": state.history,
        "best": state.best,
        "since_best": state.since_best,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with whole_file(path) as temporary:
        torch.save(values, temporary)


def read_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> RunState | None:
    """Read a training's state into a network and its optimiser; None where there is none.

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
        return RunState(values["n_pass"], values["history"], values["best"], values["since_best"])
    except Exception as error:  # torch's unpickler has half a dozen kinds for a damaged file
        raise UnreadableFileError(
            f"{path}: not the state of this training ({' '.join(str(error).split())[:300]})"
        ) from error
