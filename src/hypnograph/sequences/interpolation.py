"""Counts made into probabilities: longer contexts lean on shorter ones, by as much as held-out people say.

Each level has a table of counts: how often each outcome followed each of its contexts. A context of level m has one
parent, a shorter context of level m − 1, and every outcome is as likely as

    (n + k p_parent) / (N + k),

with n its count, N the count of the context and k the strength of the level: as many observations as the parent's
opinion is worth. It is a hierarchical Dirichlet prior (MacKay and Peto 1995, doi 10.1017/S1351324900000218). Below
level 0 all outcomes are equally likely. The strength of a level is the one with which tables of some people say most
about the others (deleted interpolation). A discount of each count, as Kneser and Ney have it, was tried and fitted: it
came out as 0.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]
"""Shape (context, outcome)."""
WEAKEST, STRONGEST = 0.5, 1e5
"""Between these a strength is looked for. With a weaker one a single night could forbid what it did not have."""


def interpolated(counts: Counts, of_parents: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Return probabilities, shape (context, outcome); leading axes are allowed.

    Parameters
    ----------
    counts
        Of this level.
    of_parents
        The probabilities of each context's parent, of the same shape.
    strength
        Of this level, above 0.
    """
    return np.asarray((counts + strength * of_parents) / (counts.sum(axis=-1, keepdims=True) + strength))


def interpolated_levels(
    counts: Sequence[Counts], parents: Sequence[NDArray[np.intp]], strengths: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Return the probabilities of each level, shortest contexts first.

    Parameters
    ----------
    counts
        Of each level, shape (context, outcome) each.
    parents
        Of each level but the first: the number of each context's parent in the level before.
    strengths
        Of each level.
    """
    tables: list[NDArray[np.float64]] = []
    for level, (count, strength) in enumerate(zip(counts, strengths, strict=True)):
        below = tables[-1][parents[level - 1]] if tables else np.full(count.shape, 1 / count.shape[-1])
        tables.append(interpolated(count, below, strength))
    return tables


def fitted_strengths(by_fold: Sequence[NDArray[np.float64]], parents: Sequence[NDArray[np.intp]]) -> tuple[float, ...]:
    """Return the strengths with which the tables of the other folds predict each fold best, level by level.

    Parameters
    ----------
    by_fold
        Of each level: the counts of each fold of people, shape (fold, context, outcome), at least two folds.
    parents
        As in `interpolated_levels`.
    """
    strengths: list[float] = []
    below: NDArray[np.float64] | None = None
    for level, counts in enumerate(by_fold):
        others = counts.sum(axis=0) - counts
        lower = np.full(counts.shape, 1 / counts.shape[-1]) if below is None else below[:, parents[level - 1]]
        strengths.append(_best_strength(counts, others, lower))
        below = interpolated(others, lower, strengths[-1])
    return tuple(strengths)


def _best_strength(held_out: Counts, counts: Counts, of_parents: NDArray[np.float64]) -> float:
    from scipy.optimize import minimize_scalar

    asked = held_out.any(axis=-1)  # only contexts that the held-out people had can tell
    held_out, counts, of_parents = held_out[asked], counts[asked], of_parents[asked]

    def loss(log_strength: float) -> float:
        return -float((held_out * np.log(interpolated(counts, of_parents, math.exp(log_strength)))).sum())

    bounds = (math.log(WEAKEST), math.log(STRONGEST))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.01}).x)
