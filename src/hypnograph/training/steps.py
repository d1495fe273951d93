"""One change of the weights after another, in parts or by several processes where that is asked.

Losses and gradients are those of the whole step in either case. Two things are not: batch norms see one part at a time
(but all processes at once), and dropout draws differ from process to process.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hypnograph.training.batches import Batch
from hypnograph.training.objectives import Objective
from hypnograph.training.synchronised_norm import uncounted

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(eq=False, kw_only=True)
class Stepper:
    """Takes the steps of a training.

    Parameters
    ----------
    fabric
        The devices.
    network
        What is trained, with its configuration; `wrapped` and `optimiser` are what fabric made of it and its optimiser.
    objective
        What is minimised.
    weight_penalty
        The λ of the network's own penalty.
    clip_norm
        Gradients are made shorter where their norm is above it.
    accumulate
        Parts in which the windows of a step are computed.
    carries
        Whether the network goes on with the state of the windows before.
    """

    fabric: "Fabric"
    network: nn.Module
    wrapped: Any
    optimiser: Any
    objective: Objective
    weight_penalty: float = 0.0
    clip_norm: float | None = None
    accumulate: int = 1
    carries: bool = False
    steps: int = field(default=0, init=False)

    def begin(self) -> None:
        """Make ready for a pass."""
        self.wrapped.train()
        self.steps = 0
        self._states: list[Tensor | None] = []
        self._total = torch.zeros((), dtype=torch.float64, device=self.fabric.device)

    def mean_loss(self, *, own: bool = False) -> float:
        """Return the mean loss of the steps of this pass without the penalty, over all processes.

        All of them must ask; `own` is what this process alone sees.
        """
        total: Any = self._total * (self.fabric.world_size if own else 1)
        if self.fabric.world_size > 1 and not own:
            total = self.fabric.all_reduce(self._total, reduce_op="sum")
        return float(total) / max(1, self.steps)

    def take(self, batch: Batch) -> None:
        """Change the weights by one batch."""
        # As many on every process: the statistics of norms are exchanged in every part.
        n_parts = min(self.accumulate, max(1, len(batch.all_targets) // self.fabric.world_size))
        if not batch.goes_on:
            self._states = [None] * n_parts
        # What is not parted needs no shares: not every loss has them.
        mass = None if n_parts == self.fabric.world_size == 1 else self._mass(batch.all_targets)
        for index, part in enumerate(np.array_split(np.arange(len(batch.signals)), n_parts)):
            unsynchronised = self.fabric.no_backward_sync(self.wrapped, enabled=index + 1 < n_parts)
            with unsynchronised, uncounted(self.network, batch.idle):
                loss = self._loss(index, batch.signals[part], batch.targets[part], mass)
                if self.weight_penalty:
                    penalty: Any = self.network.weight_penalty
                    loss = loss + self.weight_penalty / n_parts * penalty()
                self.fabric.backward(loss)
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimiser, max_norm=self.clip_norm, error_if_nonfinite=False)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1

    def _loss(self, index: int, signals: NDArray[np.float32], targets: NDArray[Any], mass: float | None) -> Tensor:
        """Return this part's share of the loss of the whole step."""
        x = self.fabric.to_device(torch.from_numpy(signals))
        if self.carries:
            logits, state = self.wrapped.run(x, self._states[index])
            self._states[index] = state.detach()
        else:
            logits = self.wrapped(x)
        y = self.fabric.to_device(torch.from_numpy(targets))
        if logits.ndim == signals.ndim:
            # Several outputs for each epoch: each should be its stage.
            y = y.unsqueeze(2).expand(*y.shape[:2], logits.shape[2], *y.shape[2:])
        share = 1.0 if mass is None else self._mass(targets) / mass if mass else 0.0
        # Gradients are averaged over processes, but the shares of one step are to be summed.
        loss: Tensor = self.objective(logits, y) * (share * self.fabric.world_size)
        self._total += loss.detach().double() / self.fabric.world_size
        return loss

    def _mass(self, targets: NDArray[Any]) -> float:
        config: Any = self.network.config
        return self.objective.mass(torch.from_numpy(targets), config.n_stages)
