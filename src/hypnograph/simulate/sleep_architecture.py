"""A hypnogram that nobody slept: a semi-Markov model whose durations and transitions were fitted to real nights.

The night is a chain of runs. The stage after a run depends on the stage, on the one before it, on the third of the
night and on the time since REM sleep last ended (the phase of the cycle): so N3 comes early, REM late and in cycles.
How long a run lasts depends on its stage, on the stage that follows and on the third of the night. REM sleep that was
missed is made up for. A few numbers drawn once for each night (the night's tendency to each stage) make nights differ
as sleepers do. `benchmarks/fit_stage_durations.py` fits the table `hypnograph/stage_durations.json`, which says from
what.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import DEFAULT_EPOCH_S, Hypnogram
from hypnograph.stages import Stage

_EPOCHS_PER_MIN = 60 / DEFAULT_EPOCH_S
_SHORTEST_H, _LONGEST_H = 0.25, 24.0


@cache
def stage_durations() -> Mapping[str, Any]:
    """Return the fitted table, with where it comes from."""
    table: Mapping[str, Any] = json.loads(files("hypnograph").joinpath("stage_durations.json").read_text("utf-8"))
    return table


def simulate_hypnogram(
    *, seed: int, duration_h: float = 8.0, start: datetime | None = None, table: Mapping[str, Any] | None = None
) -> Hypnogram:
    """Draw a hypnogram from the semi-Markov model of real nights.

    Parameters
    ----------
    seed
        The same seed gives the same night.
    duration_h
        From lights off to the end, hours; sleep-onset latency and the final wake lie within.
    start
        Clock time of the first epoch.
    table
        A fitted table; None: the one in the package.

    Returns
    -------
    Hypnogram
        AASM stages, scorer ``"simulated"``.

    Raises
    ------
    HypnographError
        If the duration is below 0.25 or above 24 hours.
    """
    if not _SHORTEST_H <= duration_h <= _LONGEST_H:
        raise HypnographError(
            f"a simulated night of {duration_h} h: the duration must be {_SHORTEST_H} to {_LONGEST_H} h"
        )
    table = stage_durations() if table is None else table
    rng = np.random.default_rng(seed)
    n_epochs = round(duration_h * 3600 / DEFAULT_EPOCH_S)
    # Short nights keep room for sleep.
    before = min(_from_quantiles(rng, table["onset_latency_min"]) * _EPOCHS_PER_MIN, n_epochs / 5)
    after = min(_from_quantiles(rng, table["final_wake_min"]) * _EPOCHS_PER_MIN, n_epochs / 10)
    n_sleep = n_epochs - round(before) - round(after)
    stages = np.full(n_epochs, Stage.W, dtype=np.int8)
    stages[round(before) : round(before) + n_sleep] = _draw_sleep_period(rng, n_sleep, table)
    return Hypnogram(stages, start=start, scorer="simulated", lights_off_s=0.0)


def _from_quantiles(rng: np.random.Generator, quantiles: list[float]) -> float:
    """Draw from a distribution given by equally spaced quantiles (the inverse of its distribution function)."""
    return float(np.interp(rng.random(), np.linspace(0, 1, len(quantiles)), quantiles))


def _draw_stage(rng: np.random.Generator, odds: NDArray[np.float64]) -> int:
    return int(rng.choice(len(odds), p=odds / odds.sum()))


def cycle_phase(at: int, rem_ended: int, edges_min: Sequence[float]) -> int:
    """Return the phase of the sleep cycle at epoch `at`: bins of the time since REM ended, then of that since onset.

    Parameters
    ----------
    at, rem_ended
        Epochs since sleep onset; `rem_ended` is −1 before the first REM.
    edges_min
        Of the bins, minutes.
    """
    since_min = (at - max(rem_ended, 0)) / _EPOCHS_PER_MIN
    first_cycle = 0 if rem_ended >= 0 else len(edges_min) + 1
    return first_cycle + bisect_right(edges_min, since_min)


def _draw_sleep_period(rng: np.random.Generator, n_epochs: int, table: Mapping[str, Any]) -> NDArray[np.int8]:
    """Draw run after run from sleep onset to the last epoch of sleep."""
    tendency = np.exp(rng.standard_normal(5) * table["night_tendency_sd"])
    stages = np.empty(n_epochs, dtype=np.int8)
    previous, stage = int(Stage.W), _draw_stage(rng, np.array(table["onset_stage"]))
    at, rem_ended = 0, -1
    rem_share = table["rem_share_so_far"]
    while at < n_epochs:
        third = min(3 * at // n_epochs, 2)
        phase = cycle_phase(at, rem_ended, table["phase_edges_min"])
        odds = np.array(table["transitions"][third][phase][previous][stage]) * tendency
        # REM sleep that was missed is made up for, and the other way round.
        expected_rem = n_epochs * np.interp(at / n_epochs, np.linspace(0, 1, len(rem_share)), rem_share)
        owed_min = (expected_rem - (stages[:at] == Stage.REM).sum()) / _EPOCHS_PER_MIN
        odds[Stage.REM] *= np.exp(np.clip(owed_min / table["rem_pressure_min"], -2, 2))
        following = _draw_stage(rng, odds)
        length = max(1, round(_from_quantiles(rng, table["duration_epochs"][third][stage][following])))
        stages[at : at + length] = stage
        at += length
        if stage == Stage.REM:
            rem_ended = at
        previous, stage = stage, following
    return stages
