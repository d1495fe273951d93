"""Trellises: chains of sleep stages in which every path is weighed at once, by forward-backward or by the best path.

A state of a trellis is a stage with a little memory: the stage alone (a Markov chain), the last few stages (an n-gram),
or the stage and for how long it has lasted (semi-Markov). Inference is exact (Rabiner 1989, doi 10.1109/5.18626).

All are counted from hypnograms. Counts never cross a gap, and rare contexts lean on shorter ones. Where a night begins
is not learned: public nights are cut in many ways, and a decoder must not profit from the cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError

LONGEST_MEMORY = 3
"""Of an n-gram trellis: 125 states for five stages."""
LEAN = 5.0
"""A context counts as much as the shorter one that it leans on once it was seen this often."""

Nights = Sequence[NDArray[np.integer]]


@dataclass(frozen=True, eq=False)
class Trellis:
    """States, and how likely each is to begin a night and to follow another.

    Parameters
    ----------
    stages : int array, shape (n_states,)
        The stage of each state.
    start : float array, shape (n_states,)
        Sums to 1.
    moves : float array, shape (n_states, n_states)
        Rows are where from; each sums to 1.

    Raises
    ------
    HypnographError
        If shapes do not fit, or a row is not a distribution.
    """

    stages: NDArray[np.intp]
    start: NDArray[np.float64]
    moves: NDArray[np.float64]

    def __post_init__(self) -> None:
        stages = np.array(self.stages, dtype=np.intp)
        start, moves = np.array(self.start, dtype=np.float64), np.array(self.moves, dtype=np.float64)
        n = len(stages)
        if start.shape != (n,) or moves.shape != (n, n):
            raise HypnographError(
                f"{n} states need a start of shape ({n},) and moves of shape ({n}, {n}); "
                f"here they are {start.shape} and {moves.shape}"
            )
        rows = np.vstack([start, moves])
        if not (rows >= 0).all() or np.abs(rows.sum(axis=1) - 1).max(initial=0) > 1e-6:
            raise HypnographError("start and each row of moves must be probabilities that sum to 1")
        for name, array in {"stages": stages, "start": start, "moves": moves}.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_stages(self) -> int:
        """How many stages the states have."""
        return int(self.stages.max()) + 1


def n_gram_trellis(nights: Nights, memory: int = 1, *, n_stages: int = 5) -> Trellis:
    """Count a trellis whose states are the last `memory` stages; 1 is a Markov chain.

    The first epoch of a night stands as if it had lasted for `memory` epochs.

    Parameters
    ----------
    nights : int arrays, shape (n_epochs,)
        Stages; −1 is unscored.
    memory
        1 to 3.
    n_stages
        Of the scheme.

    Raises
    ------
    HypnographError
        If the memory is not 1 to 3, or nothing is scored.
    """
    if not 1 <= memory <= LONGEST_MEMORY:
        raise HypnographError(f"memory is {memory} epochs; a trellis of n-grams has 1 to {LONGEST_MEMORY}")
    table = _leaning_table(nights, memory, n_stages)
    n_states = n_stages**memory
    moves = np.zeros((n_states, n_states))
    states = np.arange(n_states)
    for stage in range(n_stages):
        moves[states, (states * n_stages + stage) % n_states] = table[:, stage]
    start = np.zeros(n_states)
    same = np.arange(n_stages) * ((n_states - 1) // (n_stages - 1))  # the codes of W W W, N1 N1 N1 …
    start[same] = shares(nights, n_stages)
    return Trellis(states % n_stages, start, moves)


def semi_markov_trellis(nights: Nights, *, longest: int = 20, n_stages: int = 5) -> Trellis:
    """Count a trellis whose states are the stage and its age: for how many epochs it has lasted.

    Parameters
    ----------
    nights : int arrays, shape (n_epochs,)
        Stages; −1 is unscored.
    longest
        Ages from here on are one state.
    n_stages
        Of the scheme.

    Raises
    ------
    HypnographError
        If `longest` is below 1, or nothing is scored.
    """
    if longest < 1:
        raise HypnographError(f"longest is {longest} epochs; it is at least 1")
    stayed, left = np.zeros((n_stages, longest)), np.zeros((n_stages, longest))
    goes = np.full((n_stages, n_stages), 1.0)
    seen = np.full((n_stages, longest), 1e-3)
    for run in _scored_runs(nights):
        age = np.minimum(_ages(run), longest) - 1
        np.add.at(seen, (run, age), 1)
        same = run[1:] == run[:-1]
        np.add.at(stayed, (run[:-1][same], age[:-1][same]), 1)
        np.add.at(left, (run[:-1][~same], age[:-1][~same]), 1)
        np.add.at(goes, (run[:-1][~same], run[1:][~same]), 1)
    np.fill_diagonal(goes, 0.0)
    goes /= goes.sum(axis=1, keepdims=True)
    at_all = (left.sum(axis=1, keepdims=True) + 1) / ((left + stayed).sum(axis=1, keepdims=True) + 2)
    ends = (left + LEAN * at_all) / (left + stayed + LEAN)
    moves = np.zeros((n_stages, longest, n_stages, longest))
    for i in range(longest):
        older = min(i + 1, longest - 1)
        moves[:, i, :, 0] += ends[:, i, None] * goes
        moves[:, i, :, older] += np.diag(1 - ends[:, i])
    n_states = n_stages * longest
    stages = np.repeat(np.arange(n_stages), longest)
    return Trellis(stages, (seen / seen.sum()).ravel(), moves.reshape(n_states, n_states))


def shares(nights: Nights, n_stages: int = 5) -> NDArray[np.float64]:
    """Return how much of the scored epochs each stage has, shape (n_stages,); none is 0.

    Raises
    ------
    HypnographError
        If nothing is scored.
    """
    counts = 1.0 + sum((np.bincount(run, minlength=n_stages) for run in _scored_runs(nights)), np.zeros(n_stages))
    return np.asarray(counts / counts.sum())


def forward_backward(evidence: NDArray[np.float64], trellis: Trellis, *, weight: float = 1.0) -> NDArray[np.float64]:
    """Return how likely each stage is, given the evidence of all epochs.

    Parameters
    ----------
    evidence : float array, shape (n_epochs, n_stages)
        Log-likelihood of what was observed, up to a constant in each row; zeros know nothing.
    trellis
        What usually follows what.
    weight
        The trellis' probabilities are taken to this power; 0 leaves the evidence alone.

    Returns
    -------
    float array, shape (n_epochs, n_stages)
        Rows sum to 1.
    """
    seen = np.exp(evidence - evidence.max(axis=1, keepdims=True))[:, trellis.stages]
    moves, moves_back = trellis.moves**weight, np.ascontiguousarray((trellis.moves**weight).T)
    past, coming = np.empty_like(seen), np.ones_like(seen)
    state = trellis.start**weight * seen[0]
    past[0] = state / state.sum()
    for t in range(1, len(seen)):
        state = (past[t - 1] @ moves) * seen[t]
        past[t] = state / state.sum()
    for t in range(len(seen) - 2, -1, -1):
        state = (coming[t + 1] * seen[t + 1]) @ moves_back
        coming[t] = state / state.max()
    found = (past * coming) @ np.eye(trellis.n_stages)[trellis.stages]
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def best_path(evidence: NDArray[np.float64], trellis: Trellis, *, weight: float = 1.0) -> NDArray[np.float64]:
    """Return how likely the best path through each stage is, beside the best paths through the others.

    The most probable stages of the rows are the Viterbi path (Viterbi 1967, doi 10.1109/TIT.1967.1054010), where no
    two paths are equally likely. Parameters and return value are those of `forward_backward`.
    """
    with np.errstate(divide="ignore"):
        moves, start = np.log(trellis.moves**weight), np.log(trellis.start**weight)
    seen = evidence[:, trellis.stages]
    past, coming = np.empty_like(seen), np.zeros_like(seen)
    past[0] = start + seen[0]
    for t in range(1, len(seen)):
        past[t] = (past[t - 1][:, None] + moves).max(axis=0) + seen[t]
    for t in range(len(seen) - 2, -1, -1):
        coming[t] = (moves + (coming[t + 1] + seen[t + 1])).max(axis=1)
    through = past + coming
    best = np.stack([through[:, trellis.stages == s].max(axis=1) for s in range(trellis.n_stages)], axis=1)
    found = np.exp(best - best.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _leaning_table(nights: Nights, memory: int, n_stages: int) -> NDArray[np.float64]:
    """Return p(next stage | the last `memory` stages), shape (n_stages ** memory, n_stages)."""
    table = shares(nights, n_stages)[None]
    for length in range(1, memory + 1):
        counts = np.zeros((n_stages**length, n_stages))
        for run in _scored_runs(nights):
            padded = np.concatenate([np.full(length - 1, run[0]), run])
            codes = sum(padded[i : len(padded) - length + i] * n_stages ** (length - 1 - i) for i in range(length))
            np.add.at(counts, (codes, run[1:]), 1)
        shorter = np.tile(table, (n_stages, 1)) if length > 1 else np.repeat(table, n_stages, axis=0)
        table = (counts + LEAN * shorter) / (counts.sum(axis=1, keepdims=True) + LEAN)
    return table


def _scored_runs(nights: Nights) -> list[NDArray[np.intp]]:
    """Return the stretches without gaps.

    Raises
    ------
    HypnographError
        If there are none.
    """
    runs = []
    for night in nights:
        stages = np.asarray(night, dtype=np.intp)
        pieces = np.split(stages, np.flatnonzero(np.diff(stages < 0)) + 1)
        runs += [piece for piece in pieces if piece.size and piece[0] >= 0]
    if not runs:
        raise HypnographError("there is no scored epoch to count")
    return runs


def _ages(run: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for how many epochs the stage of each epoch has lasted, itself included."""
    place = np.arange(len(run))
    began = np.where(np.concatenate([[True], run[1:] != run[:-1]]), place, 0)
    return np.asarray(place - np.maximum.accumulate(began) + 1)
