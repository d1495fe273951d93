"""A night of epochs and the pieces and windows that a network takes.

A night is cut in one of two ways. *Pieces* are exact: each is given with as many epochs before and after it as its
logits depend on, and what is returned for those is thrown away. *Windows* are for networks that look at a window of
fixed length from both its ends: windows overlap, each epoch is decided several times, and the decisions are stitched.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError


class Piece(NamedTuple):
    """Epochs `first` to `past` of a night are computed; results from `keep_first` to `keep_past` count."""

    first: int
    past: int
    keep_first: int
    keep_past: int


def pieces(n_epochs: int, *, most: int, reach: int = 0, grid: int = 1) -> list[Piece]:
    """Cut a night into pieces whose results equal those of the whole night.

    Parameters
    ----------
    n_epochs
        Length of the night.
    most
        Epochs of a piece at most, its margins included.
    reach
        Epochs before and after an epoch on which its result depends.
    grid
        Pieces begin at its multiples.

    Returns
    -------
    list of Piece
        In order of time; what is kept covers the night without a gap. One piece if the night is short enough.

    Raises
    ------
    HypnographError
        If no epoch would be left between the margins.
    """
    if n_epochs <= most:
        return [Piece(0, n_epochs, 0, n_epochs)]
    before = -(-reach // grid) * grid
    kept = (most - before - reach) // grid * grid
    if kept < 1:
        raise HypnographError(
            f"a piece of {most} epochs leaves nothing between its margins ({before} before, {reach} after); "
            f"it needs {before + reach + grid}"
        )
    found = []
    for first in range(0, n_epochs, kept):
        past = min(first + kept, n_epochs)
        found.append(Piece(max(0, first - before), min(n_epochs, past + reach), first, past))
    return found


def window_starts(n_epochs: int, context: int, stride: int) -> list[int]:
    """Return the first epochs of windows that cover a night; the last ends where the night ends.

    A night shorter than `context` is one window.
    """
    last = max(0, n_epochs - context)
    return sorted({*range(0, last, stride), last})


def window_weights(context: int) -> NDArray[np.float64]:
    """Return how much each place of a window counts in `stitch`: sin²(π (place + ½) / context), a Hann window.

    An epoch at the edge of a window was decided without its neighbours on one side; in the middle it has seen both.
    LOG.md (2026-11-21, stitching) compares this with other shapes.

    Returns
    -------
    float64 array, shape (context,)
    """
    return np.asarray(np.sin(np.pi * (np.arange(context) + 0.5) / context) ** 2)


def stitch(
    logits: NDArray[Any], starts: Sequence[int], n_epochs: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Join the decisions of overlapping windows: the weighted mean of their log-probabilities.

    The exponential of a mean of logarithms is a product: this is the multiplicative aggregation of Phan et al. (2019,
    doi 10.1109/TNSRE.2019.2896659), with weights.

    Parameters
    ----------
    logits : float array, shape (window, context, …, stage)
        Of windows of one length.
    starts
        First epoch of each window.
    n_epochs
        Length of the night.
    weights : float array, shape (context,)
        How much each place in a window counts; `window_weights` if not given.

    Returns
    -------
    float64 array, shape (n_epochs, …, stage)
        Logits: their softmax are the probabilities.

    Raises
    ------
    HypnographError
        If an epoch is in no window.
    """
    context = logits.shape[1]
    weights = window_weights(context) if weights is None else weights
    log_p = log_softmax(logits)
    total, weight = np.zeros((n_epochs, *logits.shape[2:])), np.zeros(n_epochs)
    by_place = weights.reshape(-1, *[1] * (logits.ndim - 2))
    for start, window in zip(starts, log_p, strict=True):
        total[start : start + context] += by_place * window
        weight[start : start + context] += weights
    if not (weight > 0).all():
        raise HypnographError(f"epoch {int(np.argmin(weight > 0))} is in no window")
    return np.asarray(total / weight.reshape(-1, *[1] * (total.ndim - 1)))


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return log-probabilities over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
