"""Fitting a decoder to one stager, on nights that it staged and a person scored.

The candidates are: leaving the night alone; a chain, on the stager's probabilities after a calibration or, where there
are only stages, through its errors; and a smoother. Which one, and with which numbers, is decided on subjects held out
in turn.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import scores
from hypnograph.evaluation.staged_nights import StagedNight, leave_subjects_out, pooled, scheme_of
from hypnograph.sequences.decoding import (
    ChainDecoder,
    KeepingDecoder,
    SavedDecoder,
    SmoothingDecoder,
    decode,
    without_gaps,
)
from hypnograph.sequences.smoothing import context_features, epoch_features, fit_regression
from hypnograph.sequences.stager_errors import fit_stager_errors
from hypnograph.sequences.trellis import n_gram_trellis, shares

N_FOLDS = 3
CHAIN_WEIGHTS = (0.05, 0.1, 0.2, 0.4)
"""Of the chain beside calibrated probabilities, which hold most of what the chain knows."""
EVIDENCE_WEIGHTS = (0.3, 0.6, 1.0)
"""Of the stager's errors beside the chain."""
MOST_NIGHTS = 60
"""For the choice and for a regression: more nights take time and change little."""

Stages = NDArray[np.integer]


def fit_decoder(
    nights: Sequence[StagedNight], *, corpus: Sequence[Stages] = (), n_folds: int = N_FOLDS
) -> SavedDecoder:
    """Fit the decoder that is best on held-out subjects, then once more on all nights.

    Parameters
    ----------
    nights
        Of two subjects or more. The stager must not have been trained on them, or it seems better than it is.
    corpus : int arrays, shape (n_epochs,)
        More hypnograms, of other people, to learn from how stages follow each other.
    n_folds
        Parts into which subjects are dealt for the choice.

    Returns
    -------
    KeepingDecoder, ChainDecoder or SmoothingDecoder
        The first where no other has a higher pooled kappa on held-out subjects.

    Raises
    ------
    HypnographError
        If there are fewer than two subjects, or nights do not fit together.
    """
    return candidates(nights, corpus)[best_candidate(nights, corpus=corpus, n_folds=n_folds)]


def best_candidate(nights: Sequence[StagedNight], *, corpus: Sequence[Stages] = (), n_folds: int = N_FOLDS) -> int:
    """Return which of the `candidates` is best on held-out subjects; see `fit_decoder`."""
    pooled(nights)  # refuses what cannot be compared
    tried = _at_most(MOST_NIGHTS, [night for night in nights if night.hypnodensity.known.any()])
    counts = [
        np.stack([_confusion(left_out, decoder) for decoder in candidates(rest, corpus)])
        for rest, left_out in leave_subjects_out(tried, n_folds=n_folds)
    ]
    kappas = scores(np.sum(counts, axis=0), np.arange(scheme_of(nights).n_stages))["cohen_kappa"]
    if np.isnan(kappas).all():
        raise HypnographError("all held-out nights have one and the same stage throughout: nothing can be chosen")
    return int(np.nanargmax(kappas))


def candidates(nights: Sequence[StagedNight], corpus: Sequence[Stages] = ()) -> list[SavedDecoder]:
    """Return what `fit_decoder` chooses from, fitted on these nights; the first changes nothing."""
    scheme = scheme_of(nights)
    return [KeepingDecoder(scheme=scheme), *fit_chains(nights, corpus), fit_smoother(nights)]


def fit_chains(nights: Sequence[StagedNight], corpus: Sequence[Stages] = ()) -> list[ChainDecoder]:
    """Return Markov chains on these nights, for each weight.

    Longer memories, and the ages of stages, gained next to nothing (LOG.md).
    """
    scheme = scheme_of(nights)
    references = [night.reference.stages for night in nights]
    chain = ChainDecoder(
        trellis=n_gram_trellis([*references, *corpus], n_stages=scheme.n_stages),
        prior=shares(references, scheme.n_stages),
        prior_power=0.0,
        scheme=scheme,
    )
    if _only_stages(nights):
        errors = fit_stager_errors(references, [night.hypnodensity.argmax().stages for night in nights], scheme)
        return [
            replace(chain, errors=errors, errors_context=context, evidence_weight=weight)
            for context in (False, True)
            for weight in EVIDENCE_WEIGHTS
        ]
    features = [epoch_features(without_gaps(night.hypnodensity.probabilities)) for night in nights]
    chain = replace(chain, calibration=fit_regression(features, references, scheme.n_stages))
    return [replace(chain, weight=weight, prior_power=weight) for weight in CHAIN_WEIGHTS]


def fit_smoother(nights: Sequence[StagedNight]) -> SmoothingDecoder:
    """Return a smoother of these nights; of more than `MOST_NIGHTS`, that many from all over the list."""
    kept = _at_most(MOST_NIGHTS, nights)
    scheme = scheme_of(nights)
    features = [context_features(without_gaps(night.hypnodensity.probabilities)) for night in kept]
    regression = fit_regression(features, [night.reference.stages for night in kept], scheme.n_stages)
    return SmoothingDecoder(regression, scheme=scheme)


def _at_most(n: int, nights: Sequence[StagedNight]) -> Sequence[StagedNight]:
    """Return the nights, or n of them from all over the list."""
    return nights if len(nights) <= n else [nights[i] for i in np.linspace(0, len(nights) - 1, n).astype(int)]


def _only_stages(nights: Sequence[StagedNight]) -> bool:
    """Tell whether the stager gave no probabilities: all are 0 or 1."""
    return all(bool((night.hypnodensity.confidence()[night.hypnodensity.known] == 1).all()) for night in nights)


def _confusion(nights: Sequence[StagedNight], decoder: SavedDecoder) -> NDArray[np.int64]:
    n_stages = scheme_of(nights).n_stages
    found = np.zeros((n_stages, n_stages), dtype=np.int64)
    for night in nights:
        decoded = decode(night.hypnodensity, decoder).argmax().stages
        both = (night.reference.stages >= 0) & (decoded >= 0)
        np.add.at(found, (night.reference.stages[both], decoded[both]), 1)
    return found
