"""What a person should look at: the stretches of a night of which the stager is unsure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity

DEFAULT_THRESHOLD = 0.6


class UnsureStretch(NamedTuple):
    """Consecutive epochs of low confidence.

    Parameters
    ----------
    first_epoch, n_epochs
        Where; epochs count from 0.
    start_s, duration_s
        The same in seconds.
    predicted, second_choice
        Labels of the two stages with the highest mean probability over the stretch.
    probability, second_probability
        These means.
    lowest_confidence
        Of its least sure epoch.
    doubt
        Σ (1 − confidence) over its epochs: about how many of them may be wrong, if the stager is calibrated.
    """

    first_epoch: int
    n_epochs: int
    start_s: float
    duration_s: float
    predicted: str
    probability: float
    second_choice: str
    second_probability: float
    lowest_confidence: float
    doubt: float


def unsure_stretches(
    hypnodensity: Hypnodensity, *, threshold: float = DEFAULT_THRESHOLD, max_gap_epochs: int = 1, limit: int | None = 20
) -> list[UnsureStretch]:
    """Return the stretches with a confidence below `threshold` that most deserve a human look, in order of time.

    Parameters
    ----------
    hypnodensity
        The night.
    threshold
        An epoch is unsure where its largest probability is below this.
    max_gap_epochs
        Unsure epochs with at most so many surer ones between them are one stretch. An epoch of which nothing is known
        ends a stretch.
    limit
        Keep those with the most doubt; None: all.

    Raises
    ------
    HypnographError
        If the threshold is not between 0 and 1.
    """
    if not 0 < threshold <= 1:
        raise HypnographError(f"threshold is {threshold}; it must be above 0 and at most 1")
    confidence = hypnodensity.confidence()
    unsure = np.flatnonzero(confidence < threshold)
    if not unsure.size:
        return []
    known_before = np.concatenate([[0], np.cumsum(hypnodensity.known)])
    apart = np.diff(unsure)
    unknown_between = apart - (known_before[unsure[1:]] - known_before[unsure[:-1]]) > 0
    breaks = np.flatnonzero((apart > max_gap_epochs + 1) | unknown_between) + 1
    stretches = [_describe(hypnodensity, confidence, int(run[0]), int(run[-1]) + 1) for run in np.split(unsure, breaks)]
    most_doubtful = sorted(stretches, key=lambda stretch: (-stretch.doubt, stretch.first_epoch))[:limit]
    return sorted(most_doubtful)


def _describe(hypnodensity: Hypnodensity, confidence: NDArray[np.float64], first: int, past_last: int) -> UnsureStretch:
    mean = hypnodensity.probabilities[first:past_last].mean(axis=0)
    best, second = np.argsort(-mean, kind="stable")[:2]
    labels = hypnodensity.scheme.labels
    return UnsureStretch(
        first_epoch=first,
        n_epochs=past_last - first,
        start_s=first * hypnodensity.epoch_s,
        duration_s=(past_last - first) * hypnodensity.epoch_s,
        predicted=labels[best],
        probability=float(mean[best]),
        second_choice=labels[second],
        second_probability=float(mean[second]),
        lowest_confidence=float(confidence[first:past_last].min()),
        doubt=float((1 - confidence[first:past_last]).sum()),
    )
