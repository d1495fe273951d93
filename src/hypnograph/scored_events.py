"""From scored stretches of time, as files give them, to a hypnogram: the length of an epoch, the grid, the votes."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import DEFAULT_EPOCH_S, MAX_EPOCHS, Hypnogram
from hypnograph.stages import AASM_5, Stage, StageScheme, stages_from_codes, stages_from_names

_DAY_S, _HALF_DAY_S = 86400.0, 43200.0
MAX_DURATION_S = 31 * _DAY_S
MIN_EPOCH_S = 1e-3
_CLOCK = re.compile(r"(\d{1,2})[:.](\d\d)(?:[:.](\d\d(?:[.,]\d+)?))?(?: ?([aApP])\.?[mM]\.?)?")
# Epochs with two stages: up to this share they are jitter, beyond it there are two scorings in one file.
_MAX_CONTRADICTIONS = 0.05


class ScoredEvent(NamedTuple):
    """A stage from `onset_s` on, for `duration_s` seconds; None: until the next, or for one epoch."""

    onset_s: float
    duration_s: float | None
    name: str


def clock_seconds(text: str) -> float | None:
    """Return the seconds from midnight to 22:10, 22:10:30.5, 22.10.30 or 10:10:30 PM; None for anything else."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2]), float((match[3] or "0").replace(",", "."))
    if match[4]:
        hours = hours % 12 + (12 if match[4] in "pP" else 0)
    return hours * 3600 + minutes * 60 + seconds if hours <= 24 and minutes <= 59 and seconds < 60 else None


def since_first(clock_s: Sequence[float]) -> list[float]:
    """Return the seconds from the first of some clock times on, which run on past midnight."""
    passed: list[float] = []
    for seconds in clock_s:
        onset = seconds - clock_s[0]
        before = passed[-1] if passed else 0.0
        if onset < before - _HALF_DAY_S:
            onset += _DAY_S * round((before - onset) / _DAY_S)
        passed.append(onset)
    return passed


def nearest_day(clock_s: float, recording_start: datetime) -> datetime:
    """Return the day's time that is nearest to the start of a recording."""
    midnight = datetime.combine(recording_start.date(), datetime.min.time())
    times = [midnight + timedelta(days=days, seconds=clock_s) for days in (-1, 0, 1)]
    return min(times, key=lambda time: abs(time - recording_start.replace(tzinfo=None)))


def hypnogram_of_list(
    names: Sequence[str],
    stage_map: Mapping[str, Stage] | None,
    start: datetime | None,
    epoch_s: float = DEFAULT_EPOCH_S,
) -> Hypnogram:
    """Return the hypnogram of a list with one stage for each epoch: names, or integers if all are integers.

    Raises
    ------
    UnreadableFileError
        If there are none, or too many.
    UnknownStageError
        If a name or a code is not known.
    """
    if not names:
        raise UnreadableFileError("there are no sleep stages in it")
    _check_size(len(names), epoch_s)
    stages, scheme = _stages(names, stage_map)
    return Hypnogram(stages, epoch_s=epoch_s, start=start, scheme=scheme)


def _stages(names: Sequence[str], stage_map: Mapping[str, Stage] | None) -> tuple[NDArray[np.int8], StageScheme]:
    """Return the stages of names, or of integers where all are integers."""
    codes = [name.strip() for name in names]
    if all(code.lstrip("+-").isdecimal() and len(code) < 9 for code in codes):
        return stages_from_codes([int(code) for code in codes], stage_map), AASM_5
    return stages_from_names(names, stage_map)


def hypnogram_of_events(
    events: Iterable[ScoredEvent],
    *,
    stage_map: Mapping[str, Stage] | None = None,
    start: datetime | None = None,
    epoch_s: float | None = None,
    lights_off_s: float | None = None,
    lights_on_s: float | None = None,
    scorer: str = "",
) -> Hypnogram:
    """Return the hypnogram of scored stretches of time; each epoch has the stage that covers most of it.

    Parameters
    ----------
    events
        Stretches, in any order.
    stage_map
        The user's additions to the vocabulary.
    start
        Wall-clock time of onset 0; None where it is not known.
    epoch_s
        Length of an epoch in seconds; None: deduced, see `epoch_length`.
    lights_off_s, lights_on_s
        On the same clock as the onsets.
    scorer
        Who scored.

    Raises
    ------
    UnreadableFileError
        If there are no events, or their times are impossible, or many contradict each other.
    UnknownStageError
        If a name is not known.
    """
    distinct = sorted(set(events), key=lambda event: (event.onset_s, event.duration_s or 0.0))
    if not distinct:
        raise UnreadableFileError("there are no sleep stages in it")
    listed, scheme = _stages([event.name for event in distinct], stage_map)
    onsets = np.array([event.onset_s for event in distinct])
    durations = _durations(onsets, distinct)
    _check_times(onsets, durations, start)
    of_stage = listed >= 0 if (listed >= 0).any() else np.ones(len(listed), dtype=bool)
    if epoch_s is None:
        epoch_s = epoch_length(durations[of_stage])
    _check_size(1, epoch_s)
    begin_s = _begin_s(onsets, of_stage, epoch_s, start)
    stages = _vote(onsets - begin_s, durations, listed, scheme.n_stages, epoch_s)
    return Hypnogram(
        stages,
        epoch_s=epoch_s,
        start=None if start is None else start + timedelta(seconds=begin_s),
        scheme=scheme,
        scorer=scorer,
        lights_off_s=None if lights_off_s is None else lights_off_s - begin_s,
        lights_on_s=None if lights_on_s is None else lights_on_s - begin_s,
    )


def epoch_length(durations: NDArray[np.float64]) -> float:
    """Deduce the length of an epoch, in seconds, from the durations of scored stretches.

    Stretches that all last equally long, and not longer than 30 s, are epochs. Else 30 s, if nearly all are multiples
    of it; else 20 s, likewise; else the shortest stretch, if all are multiples of it; else their largest common whole
    number of seconds; else 30 s.

    Parameters
    ----------
    durations : float array, shape (n_stretches,)
        Seconds, above 0.
    """
    shortest = float(durations.min())
    if np.ptp(durations) < 1e-6 and shortest <= DEFAULT_EPOCH_S:
        return shortest
    # The last stretch often ends with the recording; one in ten may have been cut elsewhere.
    for usual in (DEFAULT_EPOCH_S, 20.0):
        if _are_multiples(durations, usual).mean() >= 0.9 or _are_multiples(durations[:-1], usual).all():
            return usual
    if _are_multiples(durations, shortest).all():
        return shortest
    common = float(np.gcd.reduce(np.round(durations).astype(np.int64)))
    return common if common >= 1 and _are_multiples(durations, common).all() else DEFAULT_EPOCH_S


def _are_multiples(durations: NDArray[np.float64], of: float) -> NDArray[np.bool_]:
    times = np.round(durations / of)
    return (
        (times >= 1) & (np.abs(durations - times * of) < min(2e-3, 0.01 * of)) if len(durations) else np.zeros(1, bool)
    )


def _durations(onsets: NDArray[np.float64], events: Sequence[ScoredEvent]) -> NDArray[np.float64]:
    """Return the durations; one that is missing lasts until the next onset.

    Where a file lists each epoch (one stage twice in a row), a missing duration is that of an epoch instead, and time
    between is unscored.
    """
    durations = np.array([event.duration_s or 0.0 for event in events])
    missing = durations == 0
    if not missing.any():
        return durations
    distinct = np.unique(onsets)
    usual = float(np.median(np.diff(distinct))) if len(distinct) > 1 else DEFAULT_EPOCH_S
    until_next = np.append(distinct, np.nan)[np.searchsorted(distinct, onsets, side="right")] - onsets
    if any(a.name == b.name for a, b in pairwise(events)):
        return np.where(missing, np.fmin(until_next, usual), durations)
    last = min(DEFAULT_EPOCH_S, usual)
    return np.where(missing, np.where(np.isnan(until_next), last, until_next), durations)


def _check_times(onsets: NDArray[np.float64], durations: NDArray[np.float64], start: datetime | None) -> None:
    for what, seconds in (("an onset", onsets), ("a duration", durations)):
        absurd = ~(np.abs(seconds) <= MAX_DURATION_S)  # NaN too
        if absurd.any():
            raise UnreadableFileError(f"{what} is {seconds[absurd][0]} s; a scoring lasts at most 31 days")
    if (durations < 0).any():
        raise UnreadableFileError(f"a duration is {durations.min()} s; it cannot be negative")
    if onsets.min() < 0 and start is None:
        raise UnreadableFileError(f"an onset is {onsets.min()} s, before a recording whose start is not known")


def _check_size(n_epochs: float, epoch_s: float) -> None:
    if not MIN_EPOCH_S <= epoch_s <= MAX_DURATION_S:
        raise UnreadableFileError(f"an epoch lasts {epoch_s} s; it must last at least {MIN_EPOCH_S} s")
    if n_epochs > MAX_EPOCHS or n_epochs * epoch_s > MAX_DURATION_S * 1.001:
        raise UnreadableFileError(
            f"{n_epochs:.0f} epochs of {epoch_s} s are too many; the limits are {MAX_EPOCHS} epochs and 31 days"
        )


def _begin_s(onsets: NDArray[np.float64], of_stage: NDArray[np.bool_], epoch_s: float, start: datetime | None) -> float:
    """Return when the first epoch begins: at 0, or later by what all epochs are off the grid; earlier if they are."""
    if start is None:
        return 0.0
    first = float(onsets[of_stage][0])
    drift = (onsets[of_stage] - first + epoch_s / 2) % epoch_s - epoch_s / 2
    tolerance = min(2e-3, 0.01 * epoch_s)
    phase = round(first % epoch_s, 6) if np.abs(drift).max() < tolerance else 0.0
    if min(phase, epoch_s - phase) < tolerance:
        phase = 0.0
    return phase + epoch_s * min(0.0, math.floor((float(onsets.min()) - phase) / epoch_s + 1e-6))


def _vote(
    onsets: NDArray[np.float64],
    durations: NDArray[np.float64],
    listed: NDArray[np.int8],
    n_stages: int,
    epoch_s: float,
) -> NDArray[np.int8]:
    """Return the stage of each epoch from 0 on: the one that covers most of it, UNSCORED where none covers half."""
    begins, ends = onsets / epoch_s, (onsets + durations) / epoch_s
    near = min(2e-3 / epoch_s, 0.01)
    begins, ends = (np.where(np.abs(t - np.round(t)) < near, np.round(t), t).clip(min=0) for t in (begins, ends))
    n_epochs = math.ceil(ends.max())
    _check_size(n_epochs, epoch_s)
    scored = (listed >= 0) & (ends > begins)
    begins, ends, stages = begins[scored], ends[scored], listed[scored].astype(int)
    first, last = np.floor(begins).astype(int), np.ceil(ends).astype(int) - 1
    steps = np.zeros((n_epochs + 1, n_stages), dtype=np.float32)
    np.add.at(steps, (first, stages), 1)
    np.add.at(steps, (last + 1, stages), -1)
    cover = np.cumsum(steps, axis=0)[:-1]
    np.subtract.at(cover, (first, stages), begins - first)
    np.subtract.at(cover, (last, stages), last + 1 - ends)
    cover = cover.clip(0, 1)
    contradictory = (cover.sum(axis=1) > 1.5).sum()
    if contradictory > _MAX_CONTRADICTIONS * n_epochs:
        raise UnreadableFileError(
            f"{contradictory} of {n_epochs} epochs have more than one stage; are there two scorings in this file?"
        )
    covered = cover.max(axis=1) >= np.maximum(1 - cover.sum(axis=1), 1e-3) - 1e-4
    return np.where(covered, cover.argmax(axis=1), Stage.UNSCORED).astype(np.int8)
