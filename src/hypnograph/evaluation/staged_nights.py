"""Nights with a reference and a stager's probabilities: read from files, and counted by subject, never by epoch.

The epochs of one night resemble each other, the nights of one person too. So whatever is learned on nights is tried on
other subjects (`leave_subjects_out`), intervals come from drawing subjects (`estimate`), and a limit that is to hold
for the next sleeper comes from subjects as well (`subject_quantile`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import check_comparable
from hypnograph.evaluation.pairing import PairedFiles, subject_of
from hypnograph.evaluation.tables import INTERVAL_PERCENT, Estimate
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram
from hypnograph.stages import Stage, StageScheme

N_BOOTSTRAP = 1000
MAX_FOLDS = 20
SHARE_OF_NIGHTS = 0.9
"""Of the promises about a night: nine of ten."""


class StagedNight(NamedTuple):
    """A reference and a stager's probabilities for one night, on one grid, and whose night it was."""

    name: str
    subject: str
    reference: Hypnogram
    hypnodensity: Hypnodensity


class Compared(NamedTuple):
    """The epochs that are scored in the reference and known to the stager.

    Parameters
    ----------
    probabilities : float array, shape (n_epochs, n_stages)
        Of the stager.
    stages : int array, shape (n_epochs,)
        Of the reference.
    """

    probabilities: NDArray[np.float64]
    stages: NDArray[np.intp]

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable stage, shape (n_epochs,)."""
        return np.asarray(self.probabilities.argmax(axis=1))


def compared(night: StagedNight) -> Compared:
    """Return what can be compared of a night.

    Raises
    ------
    AlignmentError
        If the two do not lie on one grid, or use different schemes.
    """
    check_comparable(night.reference, night.hypnodensity.argmax())
    both = night.reference.scored & night.hypnodensity.known
    return Compared(night.hypnodensity.probabilities[both], night.reference.stages[both].astype(np.intp))


def pooled(nights: Sequence[StagedNight]) -> Compared:
    """Return what can be compared of all nights, one after the other.

    Raises
    ------
    HypnographError
        If that is not a single epoch, or the nights use different schemes.
    """
    scheme_of(nights)
    each = [compared(night) for night in nights]
    together = Compared(*(np.concatenate(arrays) for arrays in zip(*each, strict=True)))
    if not len(together.stages):
        raise HypnographError("no epoch is both scored in the reference and known to the stager; check the pairing")
    return together


def scheme_of(nights: Sequence[StagedNight]) -> StageScheme:
    """Return the scheme of all nights.

    Raises
    ------
    HypnographError
        If there is no night, or they use different schemes.
    """
    schemes = {night.hypnodensity.scheme for night in nights}
    if len(schemes) != 1:
        found = ", ".join(sorted(scheme.name for scheme in schemes))
        raise HypnographError(
            f"the nights use the schemes {found}; merge all into one" if found else "there is no night"
        )
    return schemes.pop()


def by_subject(nights: Sequence[StagedNight]) -> dict[str, list[StagedNight]]:
    """Return the nights of each subject."""
    groups: dict[str, list[StagedNight]] = {}
    for night in nights:
        groups.setdefault(night.subject, []).append(night)
    return groups


class Fold(NamedTuple):
    """The nights of some subjects, and those of all others."""

    rest: list[StagedNight]
    left_out: list[StagedNight]


def leave_subjects_out(nights: Sequence[StagedNight], *, n_folds: int = MAX_FOLDS, seed: int = 0) -> Iterator[Fold]:
    """Leave out some subjects after the other, until each was left out once.

    Parameters
    ----------
    nights
        Of two subjects or more.
    n_folds
        Parts at most; of as many subjects or fewer, each is left out by itself.
    seed
        Of the order in which more subjects are dealt out.

    Raises
    ------
    HypnographError
        If there are fewer than two subjects or two folds.
    """
    groups = by_subject(nights)
    if len(groups) < 2 or n_folds < 2:
        raise HypnographError(
            f"{len(groups)} subject(s) in {n_folds} fold(s): leaving subjects out needs two or more of both "
            f"(--subject-pattern finds the subject in a night's name)"
        )
    subjects = np.random.default_rng(seed).permutation(sorted(groups))
    for out in np.array_split(subjects, min(n_folds, len(subjects))):
        left_out = set(out.tolist())
        yield Fold([n for n in nights if n.subject not in left_out], [n for n in nights if n.subject in left_out])


def estimate(
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    per_subject: NDArray[np.float64],
    *,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> Estimate:
    """Return a number that follows from sums over subjects, with its 95 % interval by bootstrap over subjects.

    Parameters
    ----------
    of
        Makes the number of a sum; takes many sums at once, shape (n_draws, ...), and returns shape (n_draws,).
    per_subject : float array, shape (n_subjects, ...)
        What each subject adds to the sum.
    n_bootstrap, seed
        Of the bootstrap; with a single subject the bounds are NaN.
    """
    value = float(of(per_subject.sum(axis=0)[None])[0])
    n_subjects = len(per_subject)
    if n_subjects < 2:
        return Estimate(value, np.nan, np.nan)
    counts = np.random.default_rng(seed).multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=n_bootstrap)
    draws = of(np.tensordot(counts, per_subject, axes=1))
    tail = (100 - INTERVAL_PERCENT) / 2
    low, high = np.nanpercentile(draws, [tail, 100 - tail]) if not np.isnan(draws).all() else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def subject_quantile(values: Sequence[NDArray[np.floating[Any]]], level: float) -> float:
    """Return a limit that a value of a new subject exceeds with a probability of at most 1 − `level`.

    Every subject counts alike, however many values it has, and one place is kept for the subject who is not here yet:
    the limit is the quantile of Σ_k 1 / (K + 1) · mean of point masses + 1 / (K + 1) at infinity (Lee, Barber and
    Willett 2023, arXiv 2306.06342, for subjects that are exchangeable). Infinite where the subjects are too few:
    a level of 0.9 needs 9.

    Parameters
    ----------
    values
        An array for each subject; an empty one is left out.
    level
        Between 0 and 1.
    """
    kept = [np.asarray(one, dtype=np.float64).ravel() for one in values if np.size(one)]
    if not kept:
        return np.inf
    every = np.concatenate(kept)
    weights = np.concatenate([np.full(len(one), 1 / (len(kept) + 1) / len(one)) for one in kept])
    order = np.argsort(every, kind="stable")
    # Sums of many small weights miss the level by rounding.
    reached = np.cumsum(weights[order]) >= level - 1e-9
    return float(every[order][np.argmax(reached)]) if reached.any() else np.inf


def read_staged_night(
    files: PairedFiles,
    *,
    scheme: StageScheme | None = None,
    stage_map: dict[str, Stage] | None = None,
    subject_pattern: str | None = None,
    crop_to_shorter: bool = False,
) -> tuple[StagedNight, str]:
    """Read a reference and a stager's probabilities of one night and bring the reference to the stager's grid.

    Parameters
    ----------
    files
        The two files; the predicted one holds probabilities (csv or json of `hypnograph stage`).
    scheme, stage_map, subject_pattern, crop_to_shorter
        As in `pairing.read_night`.

    Returns
    -------
    night
    note
        What was done to align them; empty where nothing was.

    Raises
    ------
    HypnographError
        If a file cannot be read, holds no probabilities, or the two do not fit together; the message names the night.
    """
    reference = read_hypnogram(files.reference, stage_map=stage_map)
    density = read_hypnodensity(files.predicted)
    if density is None:
        raise HypnographError(f"{files.predicted.name} holds no probabilities; stage with --to csv or --to json")
    try:
        if scheme is not None:
            reference, density = reference.merge(scheme), density.merge(scheme)
        aligned, note = _align(reference, density, crop_to_shorter=crop_to_shorter)
    except HypnographError as error:
        raise type(error)(f"{files.reference.name} and {files.predicted.name}: {error}") from error
    return StagedNight(files.name, subject_of(files.name, subject_pattern), *aligned), note


def _align(
    reference: Hypnogram, density: Hypnodensity, *, crop_to_shorter: bool
) -> tuple[tuple[Hypnogram, Hypnodensity], str]:
    """Bring stages to the grid of the probabilities, which are cut but never resampled."""
    if reference.start is not None and density.start is not None:
        return (reference.align(density.start, density.n_epochs, density.epoch_s), density), ""
    reference, density = replace(reference, start=None), replace(density, start=None)
    if reference.epoch_s != density.epoch_s:
        reference = reference.resample(density.epoch_s)
    n_epochs = min(reference.n_epochs, density.n_epochs)
    n_more = max(reference.n_epochs, density.n_epochs) - n_epochs
    is_blank = not (reference.scored[n_epochs:].any() or density.known[n_epochs:].any())
    note = ""
    if n_more and (is_blank or crop_to_shorter):
        reference = reference.crop(0, n_epochs)
        density = replace(density, probabilities=density.probabilities[:n_epochs])
        note = f"left out the last {n_more} epochs, which only one of the two has"
    check_comparable(reference, density.argmax())
    return (reference, density), note
