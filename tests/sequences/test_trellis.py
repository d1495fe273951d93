"""Trellises: the oracle is the sum, or the maximum, over all stage sequences of a short night, written out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypnograph.errors import HypnographError
from hypnograph.sequences.trellis import (
    Trellis,
    best_path,
    forward_backward,
    n_gram_trellis,
    semi_markov_trellis,
    shares,
)
from tests.sequences.sleepers import night

NIGHTS = [night(seed, broken=seed % 2 == 0) for seed in range(6)]
TRELLISES = {
    "Markov": n_gram_trellis(NIGHTS, 1),
    "2 before": n_gram_trellis(NIGHTS, 2),
    "3 before": n_gram_trellis(NIGHTS, 3),
    "semi-Markov": semi_markov_trellis(NIGHTS, longest=3),
}
N = 6


def evidence_of(seed: int, n: int = N) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.full(5, 0.7), size=n) + 1e-6)


def chance(trellis: Trellis, sequence: tuple[int, ...], weight: float) -> list[float]:
    """Return p(state path) ** weight of all state paths that have these stages, by walking them one by one."""
    paths = [(int(s), float(trellis.start[s]) ** weight) for s in np.flatnonzero(trellis.stages == sequence[0])]
    for stage in sequence[1:]:
        paths = [
            (int(s), p * float(trellis.moves[state, s]) ** weight)
            for state, p in paths
            for s in np.flatnonzero((trellis.stages == stage) & (trellis.moves[state] > 0))
        ]
    return [p for _, p in paths]


@pytest.mark.parametrize("name", ["Markov", "2 before", "semi-Markov"])
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_forward_backward_and_best_path_are_the_sum_and_the_maximum_over_all_sequences(
    name: str, weight: float
) -> None:
    trellis, evidence = TRELLISES[name], evidence_of(1, n=5)
    total, best = np.zeros((5, 5)), np.zeros((5, 5))
    for sequence in product(range(5), repeat=5):
        seen = np.exp(sum(evidence[t, s] for t, s in enumerate(sequence)))
        chances = chance(trellis, sequence, weight)
        for t, s in enumerate(sequence):
            total[t, s] += seen * sum(chances)
            best[t, s] = max(best[t, s], seen * max(chances, default=0.0))
    np.testing.assert_allclose(
        forward_backward(evidence, trellis, weight=weight), total / total.sum(1, keepdims=True), rtol=1e-9
    )
    np.testing.assert_allclose(
        best_path(evidence, trellis, weight=weight), best / best.sum(1, keepdims=True), rtol=1e-9
    )


def test_all_5_to_the_6_sequences_of_a_markov_chain_agree() -> None:
    trellis, evidence = TRELLISES["Markov"], evidence_of(2)
    sequences = np.array(list(product(range(5), repeat=N)))
    first = np.log(trellis.start[sequences[:, 0]]) + np.log(trellis.moves)[sequences[:, :-1], sequences[:, 1:]].sum(1)
    score = first + evidence[np.arange(N), sequences].sum(1)
    odds = np.exp(score)
    total = np.stack([np.bincount(sequences[:, t], odds, minlength=5) for t in range(N)])
    np.testing.assert_allclose(forward_backward(evidence, trellis), total / total.sum(1, keepdims=True), rtol=1e-9)
    assert best_path(evidence, trellis).argmax(1).tolist() == sequences[score.argmax()].tolist()


@pytest.mark.parametrize("name", TRELLISES)
def test_moves_of_a_counted_trellis_are_probabilities_and_reach_every_stage(name: str) -> None:
    trellis = TRELLISES[name]
    np.testing.assert_allclose(trellis.moves.sum(1), 1)
    assert {int(s) for s in trellis.stages} == set(range(5))
    reached = np.stack([trellis.moves[:, trellis.stages == s].sum(1) for s in range(5)])
    assert (reached > 0).all()


def test_a_long_count_gives_back_the_chain_that_made_it() -> None:
    moves = np.full((5, 5), 0.05) + 0.75 * np.eye(5)
    random, stages = np.random.default_rng(0), [0]
    for _ in range(40_000):
        stages.append(int(random.choice(5, p=moves[stages[-1]])))
    for memory in (1, 2):
        trellis = n_gram_trellis([np.array(stages)], memory)
        ends = trellis.moves @ np.eye(5)[trellis.stages]
        np.testing.assert_allclose(ends, moves[trellis.stages], atol=0.08 if memory == 2 else 0.02)
    hazards = 1 - semi_markov_trellis([np.array(stages)], longest=4).moves @ np.eye(5)[np.repeat(np.arange(5), 4)]
    own = hazards[np.arange(20), np.repeat(np.arange(5), 4)]
    np.testing.assert_allclose(own, 0.2, atol=0.03)


def test_a_stage_that_always_lasts_three_epochs_ends_at_the_age_of_three() -> None:
    stages = np.repeat(np.tile([0, 2, 3], 100), 3)
    trellis = semi_markov_trellis([stages], longest=5)
    by_age = trellis.moves @ np.eye(5)[trellis.stages]
    stays = [by_age[3 * 5 + age, 3] for age in range(3)]
    assert stays[0] > 0.95
    assert stays[1] > 0.95
    assert stays[2] < 0.05
    # From the age of one to that of two, and nowhere else.
    assert trellis.moves[3 * 5, 3 * 5 + 1] == pytest.approx(stays[0])


def test_counts_never_cross_a_gap() -> None:
    joined = n_gram_trellis([np.array([0, 0, 3, 3])], 1)
    apart = n_gram_trellis([np.array([0, 0, -1, 3, 3])], 1)
    assert joined.moves[0, 3] > apart.moves[0, 3]
    np.testing.assert_allclose(apart.moves, n_gram_trellis([np.array([0, 0]), np.array([3, 3])], 1).moves)


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from(sorted(TRELLISES)))
def test_rows_sum_to_one_and_weight_0_changes_nothing(seed: int, n: int, name: str) -> None:
    evidence = evidence_of(seed, n)
    given_rows = np.exp(evidence) / np.exp(evidence).sum(1, keepdims=True)
    for infer in (forward_backward, best_path):
        np.testing.assert_allclose(infer(evidence, TRELLISES[name]).sum(1), 1)
        np.testing.assert_allclose(infer(evidence, TRELLISES[name], weight=0.0), given_rows, atol=1e-12)


def test_where_nights_begin_is_not_learned() -> None:
    nights = [np.concatenate([np.zeros(60, int), stages]) for stages in NIGHTS]
    np.testing.assert_allclose(n_gram_trellis(nights, 1).start, shares(nights))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: n_gram_trellis(NIGHTS, 4), "memory is 4"),
        (lambda: n_gram_trellis([np.array([-1, -1])], 1), "no scored epoch"),
        (lambda: semi_markov_trellis(NIGHTS, longest=0), "longest is 0"),
        (lambda: Trellis(np.arange(2), np.array([0.5, 0.5]), np.ones((2, 2))), "sum to 1"),
        (lambda: Trellis(np.arange(2), np.ones(3) / 3, np.eye(2)), r"\(2, 2\)"),
    ],
)
def test_what_makes_no_trellis_is_refused(make, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        make()
