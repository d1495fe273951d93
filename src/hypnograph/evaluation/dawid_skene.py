"""A consensus that learns how far each scorer can be trusted: Dawid-Skene and STAPLE.

The true stage of an epoch is not seen; scorer r says l in an epoch of stage k with probability θ_r(k, l), each scorer
for itself. Expectation maximisation finds both (Dempster, Laird and Rubin 1977), beginning with the votes: from the
probabilities of the stages follow θ and the stages' prior, from these the probabilities of the stages.

- ``dawid-skene`` (Dawid and Skene 1979, doi 10.2307/2346806): θ_r is a whole matrix, the prior is learned too. Give it
  all nights of the scorers together: one night has too few epochs of the rare stages.
- ``staple`` (after Warfield et al. 2004, doi 10.1109/TMI.2004.828354): one sensitivity for each scorer and stage, what
  is missed is spread evenly over the other stages, and the prior is fixed to the share of all votes. For two stages
  this is STAPLE itself. Fewer numbers to learn, so one night is enough.

Scorers who share a school make the same errors; the model takes them for independent and is too sure of itself. Its
probabilities say which stage to take, not how certain that is; for that look at `consensus.soft_hypnodensity`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.consensus import count_votes, soft_hypnodensity
from hypnograph.hypnogram import Hypnodensity, Hypnogram

Method = Literal["dawid-skene", "staple"]
METHODS: tuple[Method, ...] = ("dawid-skene", "staple")
MAX_ROUNDS = 500
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class LatentStages:
    """What the scorers' votes reveal.

    Parameters
    ----------
    nights
        The probabilities of the stages of each night, in the order given; unknown where nobody scored.
    confusion
        θ of each scorer by name, shape (n_stages, n_stages): rows true, columns said; each row sums to 1.
    prior : float array, shape (n_stages,)
        How frequent the stages are.
    n_rounds
        Of expectation maximisation.
    """

    nights: tuple[Hypnodensity, ...]
    confusion: Mapping[str, NDArray[np.float64]]
    prior: NDArray[np.float64]
    n_rounds: int


def latent_stages(
    nights: Sequence[Mapping[str, Hypnogram]],
    *,
    method: Method = "dawid-skene",
    smoothing: float = 0.1,
    tolerance: float = 1e-6,
    max_rounds: int = MAX_ROUNDS,
) -> LatentStages:
    """Find the most probable stages and the scorers' errors from the scorings alone.

    Parameters
    ----------
    nights
        The scorings of each night by scorer; scorers are known by their names over all nights, and need not score all.
    method
        ``dawid-skene`` or ``staple``.
    smoothing
        Epochs that are added to each cell of θ before it is divided: what a scorer never did is not impossible.
    tolerance
        Stop when no probability moves by more.
    max_rounds
        Stop after so many rounds in any case.

    Raises
    ------
    HypnographError
        If there is no night or the method is not known.
    AlignmentError
        If the scorings of a night do not lie on one grid, or schemes differ.
    """
    if method not in METHODS:
        raise HypnographError(f"{method!r} is not one of {', '.join(METHODS)}")
    if not nights:
        raise HypnographError("there is no night; give the scorings of one or more")
    # The first E-step is the share of the votes.
    votes = np.concatenate([count_votes(list(night.values())) for night in nights])
    voted = votes.sum(axis=1) > 0
    if not voted.any():
        raise HypnographError("no epoch is scored by anybody; there is nothing to find")
    scorers = list(dict.fromkeys(name for night in nights for name in night))
    said = _one_hot(nights, scorers, votes.shape[1])[:, voted]
    stages = votes[voted] / votes[voted].sum(axis=1, keepdims=True)
    share = votes.sum(axis=0) / votes.sum()
    n_rounds, moved = 0, np.inf
    theta, prior = _learn(stages, said, method, smoothing), share
    while moved > tolerance and n_rounds < max_rounds:
        prior = share if method == "staple" else stages.mean(axis=0)
        updated = _recognise(said, theta, prior)
        moved, stages, n_rounds = float(np.abs(updated - stages).max()), updated, n_rounds + 1
        theta = _learn(stages, said, method, smoothing)
    found = np.full(votes.shape, np.nan)
    found[voted] = stages
    return LatentStages(_by_night(found, nights, method), dict(zip(scorers, theta, strict=True)), prior, n_rounds)


def _one_hot(nights: Sequence[Mapping[str, Hypnogram]], scorers: Sequence[str], n_stages: int) -> NDArray[np.float64]:
    """Return 1 where a scorer said a stage, shape (n_scorers, n_epochs, n_stages); all 0 where unscored."""
    # The last row serves index −1.
    table = np.vstack([np.eye(n_stages), np.zeros(n_stages)])
    rows = []
    for scorer in scorers:
        each = [
            night[scorer].stages if scorer in night else np.full(next(iter(night.values())).n_epochs, -1)
            for night in nights
        ]
        rows.append(table[np.concatenate(each)])
    return np.stack(rows)


def _learn(
    stages: NDArray[np.float64], said: NDArray[np.float64], method: Method, smoothing: float
) -> NDArray[np.float64]:
    """Return θ, shape (n_scorers, n_stages, n_stages), from the probabilities of the stages: the M-step."""
    counts = np.einsum("ek,rel->rkl", stages, said) + smoothing
    n_stages = counts.shape[-1]
    totals = np.maximum(counts.sum(axis=2, keepdims=True), _LEAST)
    if method == "dawid-skene":
        return np.asarray(counts / totals)
    hit = np.diagonal(counts, axis1=1, axis2=2)[:, :, None] / totals
    return np.asarray(np.where(np.eye(n_stages, dtype=bool), hit, (1 - hit) / (n_stages - 1)))


def _recognise(
    said: NDArray[np.float64], theta: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probabilities of the stages, shape (n_epochs, n_stages), from θ and the prior: the E-step."""
    evidence = np.einsum("rel,rkl->ek", said, np.log(np.maximum(theta, _LEAST)))
    logarithm = evidence + np.log(np.maximum(prior, _LEAST))
    unscaled = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return np.asarray(unscaled / unscaled.sum(axis=1, keepdims=True))


def _by_night(
    probabilities: NDArray[np.float64], nights: Sequence[Mapping[str, Hypnogram]], method: Method
) -> tuple[Hypnodensity, ...]:
    lengths = [next(iter(night.values())).n_epochs for night in nights]
    parts = np.split(probabilities, np.cumsum(lengths)[:-1])
    # The votes' hypnodensity has the grid, the start and the scheme.
    return tuple(
        replace(soft_hypnodensity(list(night.values())), probabilities=part, scorer=f"{method} of {len(night)} scorers")
        for part, night in zip(parts, nights, strict=True)
    )
