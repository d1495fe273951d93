"""Batch normalisation over all processes of a training: each sees the statistics of the whole step.

torch's own SyncBatchNorm runs on GPUs only; this one runs on whatever `torch.distributed` does, so that two processes
train to the weights of one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d)


class SynchronisedNorm(nn.Module):
    """A batch norm whose mean and variance are those of all processes; parameters and buffers are the given one's.

    Parameters
    ----------
    norm
        Of torch; (batch, channel, …).
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.eps, self.momentum = norm.eps, norm.momentum
        self.counts = True
        """Whether this process has a share in the statistics; see `uncounted`."""
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; in training by the statistics of the step, else by those collected."""
        # Half precision is too coarse to sum over a step.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, var = self._of_step(wide) if self.training else (self.running_mean, self.running_var)
        shape = (1, -1, *[1] * (x.dim() - 2))
        y = (wide - mean.reshape(shape)) * (var.reshape(shape) + self.eps).rsqrt()
        if self.weight is not None:
            y = y * self.weight.reshape(shape) + self.bias.reshape(shape)
        return y.to(x.dtype)

    def _of_step(self, x: Tensor) -> tuple[Tensor, Tensor]:
        axes = [0, *range(2, x.dim())]
        n = x.new_full((1,), float(x.numel() // x.shape[1]))
        share = float(self.counts)
        # Two sums, the second around the common mean: squares of large values would lose the variance.
        totals = _sum(torch.cat([x.sum(axes), n]) * share)
        mean, n = totals[:-1] / totals[-1], totals[-1]
        shape = (1, -1, *[1] * (x.dim() - 2))
        var = _sum((x - mean.reshape(shape)).square().sum(axes) * share) / n
        self._collect(mean.detach(), (var * n / (n - 1).clamp(min=1)).detach())
        return mean, var

    @torch.no_grad()
    def _collect(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked += 1
        # Without momentum: the plain mean over all steps, as torch has it.
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var, share)


class _Sum(torch.autograd.Function):
    """See `_sum`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    backward = forward  # each process's values are in the sums of all: so are their gradients


def _sum(values: Tensor) -> Tensor:
    """Return the sum over all processes; gradients flow back to all of them."""
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def synchronise_norms(model: nn.Module) -> None:
    """Replace the batch norms of a network, in place; the names of its weights stay."""
    for name, child in list(model.named_children()):
        if isinstance(child, BatchNorm):
            setattr(model, name, SynchronisedNorm(child))
        else:
            synchronise_norms(child)


@contextmanager
def uncounted(model: nn.Module, idle: bool) -> Iterator[None]:
    """Leave what this process computes out of the statistics of all, where it has nothing but padding."""
    norms = [module for module in model.modules() if isinstance(module, SynchronisedNorm)] if idle else []
    for norm in norms:
        norm.counts = False
    try:
        yield
    finally:
        for norm in norms:
            norm.counts = True
