"""What a person should look at: stretches of which the stager is unsure, or the epochs that a wanted accuracy needs."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram

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


@dataclass(frozen=True, eq=False)
class ReviewPlan:
    """Which epochs to look at so that the night has a wanted accuracy, if its probabilities are calibrated.

    Parameters
    ----------
    epochs : int array, shape (n_to_look_at,)
        In order of time, counted from 0.
    fraction
        Of the staged epochs.
    highest_probability
        An epoch is looked at where its stage has at most this probability; 0 if none is.
    wanted_accuracy
        Of the night, once these epochs are right.
    expected_before, expected_after
        Expected accuracy without a look, and with it.
    """

    epochs: NDArray[np.intp]
    fraction: float
    highest_probability: float
    wanted_accuracy: float
    expected_before: float
    expected_after: float


def review_plan(
    calibrated: Hypnodensity,
    wanted_accuracy: float,
    *,
    hypnogram: Hypnogram | None = None,
    doubt_factor: float = 1.0,
) -> ReviewPlan:
    """Return the fewest epochs to look at for a wanted accuracy: those whose stage is least probable.

    It counts on a person who scores them as the reference would. No person agrees with another in every epoch, so it
    says when the stager is no longer the weaker of the two, not more.

    Parameters
    ----------
    calibrated
        Probabilities that mean what they say: those of `Calibration.apply`, never a stager's own.
    wanted_accuracy
        Share of the staged epochs that are to be right, after the look.
    hypnogram
        The stages that are looked at, on the same grid; None: the most probable ones.
    doubt_factor
        How many times as many errors as the probabilities say to reckon with (`Calibration.doubt_factor`); 1: expected.

    Raises
    ------
    HypnographError
        If the wanted accuracy is not between 0 and 1, the factor is not a positive number, the hypnogram is on another
        grid, or nothing is staged.
    """
    if not 0 < wanted_accuracy <= 1:
        raise HypnographError(f"the wanted accuracy is {wanted_accuracy}; it must be above 0 and at most 1")
    if not (doubt_factor > 0 and np.isfinite(doubt_factor)):
        raise HypnographError(f"the doubt factor is {doubt_factor}; it must be a number above 0")
    hypnogram = calibrated.argmax() if hypnogram is None else hypnogram
    if (hypnogram.n_epochs, hypnogram.scheme) != (calibrated.n_epochs, calibrated.scheme):
        raise HypnographError(f"{hypnogram!r} and {calibrated!r} are not of one grid and scheme")
    staged = np.flatnonzero(hypnogram.scored & calibrated.known)
    if not staged.size:
        raise HypnographError("no epoch is staged; there is nothing to review")
    probability = calibrated.probabilities[staged, hypnogram.stages[staged]]
    doubt = np.minimum(doubt_factor * (1 - probability), 1.0)
    order = np.argsort(probability, kind="stable")
    # left[k]: the errors that are expected once the k least probable epochs are right.
    left = doubt.sum() - np.concatenate([[0.0], np.cumsum(doubt[order])])
    n_looked = int(np.argmax(left <= (1 - wanted_accuracy) * staged.size + 1e-9))
    looked = order[:n_looked]
    return ReviewPlan(
        epochs=np.sort(staged[looked]),
        fraction=n_looked / staged.size,
        highest_probability=float(probability[looked[-1]]) if n_looked else 0.0,
        wanted_accuracy=wanted_accuracy,
        expected_before=float(1 - left[0] / staged.size),
        expected_after=float(1 - left[n_looked] / staged.size),
    )


def reviewed_accuracy(plan: ReviewPlan, hypnogram: Hypnogram, reference: Hypnogram) -> float:
    """Return the accuracy of a hypnogram once the epochs of a plan have the stages of the reference.

    Parameters
    ----------
    plan
        Made without the reference.
    hypnogram, reference
        On one grid; epochs that either leaves unscored do not count. NaN where there are none.
    """
    compared = hypnogram.scored & reference.scored
    right = hypnogram.stages == reference.stages
    right[plan.epochs] = True
    return float(right[compared].mean()) if compared.any() else float("nan")
