"""What a hypnogram says about a night, in numbers with words and units: all that a screen for disorders looks at.

Every set is computed from the sleep period alone (`sleep_period`). How long a person lay awake before and after it
depends on when the recorder was switched on, and no set but ``length`` holds durations that grow with the night: the
others are shares, rates and latencies. Otherwise a screen learns the protocol of a laboratory: in SleepGPT's data
"shorter than 2000 epochs" alone had an accuracy of 0.91.

The triplets are those of the high-frequency U-Sleep paper: three successive stages, each another than the one before,
5 × 4 × 4 = 80 of them, counted for each 1.5 h. Its counts are of each 1.5 h by itself, here of the whole night.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.sleep_statistics import sleep_statistics
from hypnograph.hypnogram import DEFAULT_EPOCH_S, Hypnogram
from hypnograph.stages import AASM_5, Stage

LEAST_SLEEP_MIN = 60.0
"""Of less sleep no share or rate means much."""
MOST_MARGIN_MIN = 30.0
TRIPLET_BLOCK_H = 1.5

_LABELS = AASM_5.labels


class Feature(NamedTuple):
    """What one number of a night is called: in files, in words, and its unit."""

    name: str
    words: str
    unit: str


class FeatureSet(NamedTuple):
    """Features that belong together, and what computes them from a sleep period; NaN where a night has none."""

    words: str
    features: tuple[Feature, ...]
    values: Callable[[Hypnogram], list[float]]


def sleep_period(hypnogram: Hypnogram, *, margin_min: float = 0.0) -> Hypnogram:
    """Return the epochs from the first to the last of sleep, and so many minutes around them where there are any.

    Parameters
    ----------
    hypnogram
        Of the five AASM stages; on another grid than 30 s it is resampled.
    margin_min
        Minutes, 0 to 30.

    Raises
    ------
    HypnographError
        If the scheme has other stages, there is less than an hour of sleep, or the margin is outside its limits.
    """
    if hypnogram.scheme != AASM_5:
        raise HypnographError(
            f"the hypnogram has the stages {', '.join(hypnogram.scheme.labels)}; a screen needs {', '.join(_LABELS)}"
        )
    if not 0 <= margin_min <= MOST_MARGIN_MIN:
        raise HypnographError(f"margin_min is {margin_min:g}; give 0 to {MOST_MARGIN_MIN:g} minutes")
    if hypnogram.epoch_s != DEFAULT_EPOCH_S:
        hypnogram = hypnogram.resample(DEFAULT_EPOCH_S)
    asleep = np.flatnonzero(hypnogram.stages > Stage.W)
    if (sleep_min := asleep.size * DEFAULT_EPOCH_S / 60) < LEAST_SLEEP_MIN:
        raise HypnographError(
            f"the hypnogram has {sleep_min:g} min of sleep; a screen needs at least {LEAST_SLEEP_MIN:g} min"
        )
    margin = round(margin_min * 60 / DEFAULT_EPOCH_S)
    period = hypnogram.crop(max(0, asleep[0] - margin), min(hypnogram.n_epochs, asleep[-1] + 1 + margin))
    return replace(period, lights_off_s=None, lights_on_s=None)


def features_of(sets: Iterable[str]) -> tuple[Feature, ...]:
    """Return the features of sets by name, in their order.

    Raises
    ------
    HypnographError
        If a name is not one of `SETS`, or there is none.
    """
    return tuple(feature for name in _known(sets) for feature in SETS[name].features)


def feature_values(hypnogram: Hypnogram, sets: Iterable[str], *, margin_min: float = 0.0) -> NDArray[np.float64]:
    """Return the numbers of one night, in the order of `features_of`.

    Parameters
    ----------
    hypnogram, margin_min
        As in `sleep_period`.
    sets
        Names of `SETS`.

    Returns
    -------
    float64 array, shape (n_features,)
        NaN where the night does not define a number, e.g. the latency to a stage that never came.
    """
    period = sleep_period(hypnogram, margin_min=margin_min)
    return np.array([value for name in _known(sets) for value in SETS[name].values(period)])


def _known(sets: Iterable[str]) -> Sequence[str]:
    names = tuple(dict.fromkeys(sets))
    unknown = [name for name in names if name not in SETS]
    if unknown or not names:
        raise HypnographError(f"feature set {''.join(unknown[:1])!r} is not one of {', '.join(SETS)}")
    return names


# Sleep statistics ----------------------------------------------------------------------------------------------------

_STATISTICS = (
    Feature("SME_percent", "sleep maintenance efficiency", "%"),
    *(Feature(f"{label}_percent", f"{label}, share of total sleep time", "%") for label in _LABELS[1:]),
    Feature("N3_latency_min", "sleep onset to the first N3", "min"),
    Feature("REM_latency_min", "sleep onset to the first REM", "min"),
    Feature("persistent_sleep_min", "sleep onset to ten minutes of unbroken sleep", "min"),
    Feature("awakenings_per_h", "awakenings per hour of sleep", "/h"),
    Feature("stage_shifts_per_h", "changes of stage per hour of sleep", "/h"),
    Feature("cycle_min", "mean length of a NREM-REM cycle", "min"),
)


def _statistics_values(period: Hypnogram) -> list[float]:
    night = sleep_statistics(period)
    row = night.as_row()
    return [
        night.sme_percent,
        *(night.percent_of_tst[label] for label in _LABELS[1:]),
        night.latency_min["N3"] - night.sol_min,
        night.rem_latency_min,
        night.lps_min - night.sol_min,
        night.n_awakenings / (night.tst_min / 60),
        night.stage_shifts_per_h,
        row["mean_cycle_min"],
    ]


# Transitions, bouts, triplets ----------------------------------------------------------------------------------------

_TRANSITIONS = tuple(
    Feature(
        f"{before}_to_{after}",
        f"epochs of {before} that more {before} follows" if before == after else f"epochs of {before} before {after}",
        "%",
    )
    for before, after in product(_LABELS, repeat=2)
)

_BOUTS = tuple(
    Feature(f"{label}_{name}", words.format(label), unit)
    for label in _LABELS
    for name, words, unit in (
        ("bouts_per_h", "bouts of {} per hour", "/h"),
        ("mean_bout_min", "mean bout of {}", "min"),
        ("longest_bout_min", "longest bout of {}", "min"),
    )
)

_TRIPLETS = [
    (first, second, third)
    for first, second, third in product(range(len(_LABELS)), repeat=3)
    if second not in (first, third)
]


def _transition_values(period: Hypnogram) -> list[float]:
    return list(100 * sleep_statistics(period).transition_probabilities().ravel())


def _bout_values(period: Hypnogram) -> list[float]:
    runs, hours = period.runs(), period.duration_s / 3600
    values = []
    for stage in range(len(_LABELS)):
        minutes = [run.duration_s / 60 for run in runs if run.stage == stage]
        values += [len(minutes) / hours, float(np.mean(minutes)) if minutes else np.nan, max(minutes, default=0.0)]
    return values


def _triplet_values(period: Hypnogram) -> list[float]:
    order = [run.stage for run in period.runs()]
    # An unscored stretch stays in the order, as −1: it hides what came between, and no triplet spans it.
    found = list(zip(order, order[1:], order[2:], strict=False))
    blocks = period.duration_s / 3600 / TRIPLET_BLOCK_H
    return [found.count(triplet) / blocks for triplet in _TRIPLETS]


# One number ----------------------------------------------------------------------------------------------------------


def _wake_values(period: Hypnogram) -> list[float]:
    return [100 * float((period.stages == Stage.W).sum() / period.scored.sum())]


SETS: dict[str, FeatureSet] = {
    "length": FeatureSet(
        "the length of the sleep period and nothing else",
        (Feature("length_min", "length of the sleep period", "min"),),
        lambda period: [period.duration_s / 60],
    ),
    "wake": FeatureSet(
        "the share of wake and nothing else",
        (Feature("W_percent", "wake, share of the sleep period", "%"),),
        _wake_values,
    ),
    "statistics": FeatureSet("shares, latencies and fragmentation", _STATISTICS, _statistics_values),
    "transitions": FeatureSet("what follows an epoch of each stage", _TRANSITIONS, _transition_values),
    "bouts": FeatureSet("how often each stage comes, and how long it stays", _BOUTS, _bout_values),
    "triplets": FeatureSet(
        "three successive stages, counted for each 1.5 h",
        tuple(
            Feature(f"{a}_{b}_{c}", f"{a}, then {b}, then {c}", "per 1.5 h")
            for a, b, c in ((_LABELS[i] for i in triplet) for triplet in _TRIPLETS)
        ),
        _triplet_values,
    ),
}
"""The sets of features, by name. The first two are what every other number has to be held against."""
