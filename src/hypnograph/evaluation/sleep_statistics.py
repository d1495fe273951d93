"""The sleep statistics of one hypnogram, by the definitions of the AASM manual.

Conventions
-----------
All is counted in whole epochs from lights off to lights on, or over the whole hypnogram where the lights are not
known; `SleepStatistics.basis` says which. Sleep is every scored stage but W. Unscored epochs are time in bed, but
neither sleep nor wake, and no transition leads into or out of them. What a night does not define (a latency to a stage
that never came, anything when nothing is scored) is NaN, and None in `as_dict`.

Definitions
-----------
Iber et al. 2007, The AASM manual for the scoring of sleep and associated events; Silber et al. 2007, doi
10.5664/jcsm.26814. Times in minutes.

- TIB, time in bed (the manual's total recording time): lights off to lights on.
- SPT, sleep period time: start of the first to end of the last epoch of sleep; 0 without sleep.
- TST, total sleep time. SE, sleep efficiency: 100 TST / TIB. SME, sleep maintenance efficiency: 100 TST / SPT.
- SOL, sleep onset latency: lights off to the first epoch of any sleep.
- LPS, latency to persistent sleep: lights off to the first 10 minutes of sleep without a break.
- Latency to a stage: lights off to its first epoch. REM latency: *sleep onset* to the first epoch of REM, as the manual
  has it; ``Lat_REM`` is from lights off.
- WASO, wake after sleep onset: wake from sleep onset to lights on. ``WASO_SPT`` ends with the last epoch of sleep.
- Percentages of stages are of TST.
- Awakenings: stretches of wake that interrupt the SPT, of any length; an unscored epoch inside one does not split it.
- Stage shifts: changes from one stage to another, wake included, between neighbouring scored epochs of the SPT; the
  index is per hour of TST.
- SFI, sleep fragmentation index: changes from sleep to wake per hour of TST, the final awakening included.

NREM-REM cycles follow Feinberg and Floyd 1979, doi 10.1111/j.1469-8986.1979.tb02991.x: a NREM period of at least 15 min
of NREM, then a REM period of at least 5 min of REM. REM that is interrupted by less than 15 min of NREM is one REM
period. Modified so: the first and the last REM period may be of any length; wake and unscored epochs count towards
neither minimum and end nothing; REM with less than 15 min of NREM before it (at sleep onset) belongs to the first
cycle without closing it; 15 min of NREM or more after the last REM period are a last, incomplete cycle. A cycle lasts
from its first epoch of sleep to the end of its REM period.

Differences from `yasa.Hypnogram.sleep_statistics` (0.8.1, the oracle of our tests, which otherwise gives the same)
--------------------------------------------------------------------------------------------------------------------
Its WASO is our ``WASO_SPT``; its Lat_REM (from lights off) is our ``Lat_REM``, not our REM latency; its SE, when no
epoch is scored, is 0 where ours is undefined; it has no lights, so its TIB is the whole hypnogram; it rounds to 4
decimals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import StageScheme

if TYPE_CHECKING:
    import pandas as pd

PERSISTENT_SLEEP_MIN = 10.0
MIN_NREM_PERIOD_MIN = 15.0
MIN_REM_PERIOD_MIN = 5.0


class SleepCycle(NamedTuple):
    """One NREM-REM cycle; `start_s` counts from the start of the hypnogram, `complete` means that REM closed it."""

    start_s: float
    duration_s: float
    nrem_min: float
    rem_min: float
    complete: bool


@dataclass(frozen=True, eq=False, repr=False)
class SleepStatistics:
    """The statistics of one night; definitions in the module's docstring. NaN where undefined.

    Parameters
    ----------
    scheme
        The stages.
    epoch_s
        Length of an epoch, seconds.
    basis
        Which stretch was analysed, in words for the user.
    analysed_from_s, analysed_to_s
        The same in seconds after the start of the hypnogram.
    tib_min, spt_min, tst_min, se_percent, sme_percent, sol_min, lps_min, waso_min, waso_spt_min
        As defined above.
    latency_min
        Lights off to the first epoch of each sleep stage, by label.
    rem_latency_min
        Sleep onset to the first epoch of REM.
    minutes, percent_of_tst
        In each stage; as a share of TST, sleep stages only.
    n_awakenings, n_stage_shifts, stage_shifts_per_h, sfi_per_h
        Fragmentation.
    transitions : int array, shape (n_stages, n_stages)
        How often the stage of the row is followed by that of the column in the next epoch; read-only.
    cycles
        NREM-REM cycles in order of time; empty for a scheme without REM.
    unscored_min
        Time in bed without a stage.
    """

    scheme: StageScheme
    epoch_s: float
    basis: str
    analysed_from_s: float
    analysed_to_s: float
    tib_min: float
    spt_min: float
    tst_min: float
    se_percent: float
    sme_percent: float
    sol_min: float
    lps_min: float
    latency_min: Mapping[str, float]
    rem_latency_min: float
    waso_min: float
    waso_spt_min: float
    minutes: Mapping[str, float]
    percent_of_tst: Mapping[str, float]
    n_awakenings: int
    n_stage_shifts: int
    stage_shifts_per_h: float
    sfi_per_h: float
    transitions: NDArray[np.int64]
    cycles: tuple[SleepCycle, ...]
    unscored_min: float

    def transition_probabilities(self) -> NDArray[np.float64]:
        """Return p(stage of the column | stage of the row the epoch before), shape (n_stages, n_stages).

        NaN in the rows of stages that nothing follows.
        """
        totals = self.transitions.sum(axis=1, keepdims=True).astype(np.float64)
        result = np.full(self.transitions.shape, np.nan)
        np.divide(self.transitions, totals, out=result, where=totals > 0)
        return result

    def as_row(self) -> dict[str, float]:
        """Return the single numbers by the field's abbreviation with its unit: ``TST_min``, ``N3_percent`` …"""
        has_rem = "REM" in self.scheme.labels
        complete = [cycle.duration_s / 60 for cycle in self.cycles if cycle.complete]
        row: dict[str, float] = {
            "TIB_min": self.tib_min, "SPT_min": self.spt_min, "TST_min": self.tst_min,
            "SE_percent": self.se_percent, "SME_percent": self.sme_percent,
            "SOL_min": self.sol_min, "LPS_min": self.lps_min,
        }  # fmt: skip
        row |= {f"Lat_{label}_min": value for label, value in self.latency_min.items()}
        row |= {"REM_latency_min": self.rem_latency_min} if has_rem else {}
        row |= {"WASO_min": self.waso_min, "WASO_SPT_min": self.waso_spt_min}
        row |= {f"{label}_min": value for label, value in self.minutes.items()}
        row |= {f"{label}_percent": value for label, value in self.percent_of_tst.items()}
        row |= {"unscored_min": self.unscored_min, "awakenings": self.n_awakenings}
        row |= {"stage_shifts": self.n_stage_shifts, "stage_shifts_per_h": self.stage_shifts_per_h}
        row |= {"SFI_per_h": self.sfi_per_h}
        if has_rem:
            row |= {"cycles": len(complete), "mean_cycle_min": float(np.mean(complete)) if complete else float("nan")}
        return row

    def as_dict(self) -> dict[str, Any]:
        """Return `as_row` with None where undefined, and the basis, the cycles and the transitions; ready for JSON."""
        return {
            "basis": self.basis,
            "analysed_from_s": self.analysed_from_s,
            "analysed_to_s": self.analysed_to_s,
            **{name: None if np.isnan(value) else value for name, value in self.as_row().items()},
            "cycle_table": [cycle._asdict() for cycle in self.cycles],
            "stages": list(self.scheme.labels),
            "transitions": self.transitions.tolist(),
        }

    def to_frame(self) -> "pd.DataFrame":
        """Return `as_row` as a table of one row; `pandas.concat` makes many nights of it."""
        import pandas as pd

        return pd.DataFrame([self.as_row()])

    def cycles_frame(self) -> "pd.DataFrame":
        """Return a row for each NREM-REM cycle."""
        import pandas as pd

        index = pd.RangeIndex(1, len(self.cycles) + 1, name="cycle")
        return pd.DataFrame(list(self.cycles), index=index, columns=list(SleepCycle._fields))

    def transitions_frame(self) -> "pd.DataFrame":
        """Return the counts of transitions with their labels: rows from, columns to."""
        import pandas as pd

        labels = list(self.scheme.labels)
        return pd.DataFrame(self.transitions, index=pd.Index(labels, name="from"), columns=pd.Index(labels, name="to"))

    def __eq__(self, other: object) -> bool:
        # NaN equals NaN here: two nights without REM have the same, undefined REM latency.
        return isinstance(other, SleepStatistics) and self.scheme == other.scheme and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self.scheme, self.basis, self.tst_min, self.transitions.tobytes()))

    def __repr__(self) -> str:
        return _draw(self)


def sleep_statistics(
    hypnogram: Hypnogram, *, lights_off_s: float | None = None, lights_on_s: float | None = None
) -> SleepStatistics:
    """Compute the sleep statistics of one night.

    Parameters
    ----------
    hypnogram
        In any scheme whose first stage is W.
    lights_off_s, lights_on_s
        Seconds after the hypnogram's start; None: as the hypnogram has them, or its beginning and end. Rounded to the
        nearest border of an epoch, and to the hypnogram where they lie outside.

    Raises
    ------
    HypnographError
        If lights on is not after lights off, or the scheme does not begin with W.
    """
    scheme = hypnogram.scheme
    if scheme.labels[0] != "W":
        raise HypnographError(f"scheme {scheme.name} begins with {scheme.labels[0]}, not W: what is sleep is not known")
    first, past_last, basis = _analysed(hypnogram, lights_off_s, lights_on_s)
    stages = hypnogram.stages[first:past_last].astype(np.int64)
    epoch_min = hypnogram.epoch_s / 60
    sleep, wake = stages > 0, stages == 0
    asleep = np.flatnonzero(sleep)
    n_sleep = asleep.size
    onset, offset = (int(asleep[0]), int(asleep[-1]) + 1) if n_sleep else (0, 0)
    latency_min = {label: _first(stages == stage) * epoch_min for stage, label in enumerate(scheme.labels) if stage > 0}
    sol_min = onset * epoch_min if n_sleep else np.nan
    tst_h = n_sleep * epoch_min / 60
    transitions = _transitions(stages, scheme.n_stages)
    shifts = _transitions(stages[onset:offset], scheme.n_stages)
    n_shifts = int(shifts.sum() - np.trace(shifts))
    return SleepStatistics(
        scheme=scheme,
        epoch_s=hypnogram.epoch_s,
        basis=basis,
        analysed_from_s=first * hypnogram.epoch_s,
        analysed_to_s=past_last * hypnogram.epoch_s,
        tib_min=stages.size * epoch_min,
        spt_min=(offset - onset) * epoch_min,
        tst_min=n_sleep * epoch_min,
        se_percent=100 * n_sleep / stages.size if (stages >= 0).any() else np.nan,
        sme_percent=100 * n_sleep / (offset - onset) if n_sleep else np.nan,
        sol_min=sol_min,
        lps_min=latency_to_persistent_sleep_min(hypnogram.crop(first, past_last)),
        latency_min=latency_min,
        rem_latency_min=latency_min.get("REM", np.nan) - sol_min,
        waso_min=float(wake[onset:].sum() * epoch_min) if n_sleep else np.nan,
        waso_spt_min=float(wake[onset:offset].sum() * epoch_min) if n_sleep else np.nan,
        minutes={label: float((stages == i).sum() * epoch_min) for i, label in enumerate(scheme.labels)},
        percent_of_tst={
            label: 100 * float((stages == i).sum()) / n_sleep if n_sleep else np.nan
            for i, label in enumerate(scheme.labels)
            if i > 0
        },
        n_awakenings=_n_awakenings(stages[onset:offset]),
        n_stage_shifts=n_shifts,
        stage_shifts_per_h=n_shifts / tst_h if n_sleep else np.nan,
        sfi_per_h=int(transitions[1:, 0].sum()) / tst_h if n_sleep else np.nan,
        transitions=transitions,
        cycles=_cycles(stages, scheme, hypnogram.epoch_s, first),
        unscored_min=float((stages < 0).sum() * epoch_min),
    )


def latency_to_persistent_sleep_min(hypnogram: Hypnogram, minutes: float = PERSISTENT_SLEEP_MIN) -> float:
    """Return the minutes from the hypnogram's start to the first `minutes` of unbroken sleep; NaN if there are none.

    An unscored epoch breaks sleep: nobody knows that it was sleep.
    """
    needed = int(np.ceil(minutes * 60 / hypnogram.epoch_s - 1e-9))
    found = [begin for begin, end in _stretches(hypnogram.stages > 0) if end - begin >= needed]
    return found[0] * hypnogram.epoch_s / 60 if found else np.nan


def _analysed(hypnogram: Hypnogram, lights_off_s: float | None, lights_on_s: float | None) -> tuple[int, int, str]:
    off_s = hypnogram.lights_off_s if lights_off_s is None else lights_off_s
    on_s = hypnogram.lights_on_s if lights_on_s is None else lights_on_s
    if off_s is not None and on_s is not None and not on_s > off_s:
        raise HypnographError(f"lights on ({on_s:g} s after the start) must come after lights off ({off_s:g} s)")
    first = 0 if off_s is None else _epoch_at(hypnogram, off_s)
    past_last = hypnogram.n_epochs if on_s is None else _epoch_at(hypnogram, on_s)
    if hypnogram.n_epochs and past_last <= first:
        raise HypnographError(
            f"no epoch lies between lights off ({off_s or 0:g} s) and lights on "
            f"({hypnogram.duration_s if on_s is None else on_s:g} s); the hypnogram has {hypnogram.duration_s:g} s"
        )
    if off_s is None and on_s is None:
        return first, past_last, "whole hypnogram, lights off and on are not known"
    half_s = hypnogram.epoch_s / 2
    begin, end = "lights off", "lights on"
    if off_s is None or off_s < -half_s:
        begin = f"start of the hypnogram ({'lights off is not known' if off_s is None else 'lights off was earlier'})"
    if on_s is None or on_s > hypnogram.duration_s + half_s:
        end = f"end of the hypnogram ({'lights on is not known' if on_s is None else 'lights on was later'})"
    return first, past_last, f"{begin} to {end}"


def _epoch_at(hypnogram: Hypnogram, seconds: float) -> int:
    return int(np.clip(np.floor(seconds / hypnogram.epoch_s + 0.5), 0, hypnogram.n_epochs))


def _first(where: NDArray[np.bool_]) -> float:
    return float(where.argmax()) if where.any() else np.nan


def _stretches(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, past last) of each unbroken stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _transitions(stages: NDArray[np.int64], n_stages: int) -> NDArray[np.int64]:
    before, after = stages[:-1], stages[1:]
    both = (before >= 0) & (after >= 0)
    pairs = before[both] * n_stages + after[both]
    counts = np.bincount(pairs, minlength=n_stages**2).reshape(n_stages, n_stages)
    counts.flags.writeable = False
    return counts


def _n_awakenings(sleep_period: NDArray[np.int64]) -> int:
    scored = sleep_period[sleep_period >= 0]
    return len(_stretches(scored == 0))


def _cycles(stages: NDArray[np.int64], scheme: StageScheme, epoch_s: float, first_epoch: int) -> tuple[SleepCycle, ...]:
    if "REM" not in scheme.labels or not (stages > 0).any():
        return ()
    rem = stages == scheme.labels.index("REM")
    nrem = (stages > 0) & ~rem
    sleep_ends = int(np.flatnonzero(stages > 0)[-1]) + 1
    cycles: list[SleepCycle] = []

    def minutes(of: NDArray[np.bool_], begin: int, end: int) -> float:
        return float(of[begin:end].sum()) * epoch_s / 60

    def add(begin: int, end: int, *, complete: bool) -> None:
        cycles.append(
            SleepCycle(
                (first_epoch + begin) * epoch_s, (end - begin) * epoch_s, minutes(nrem, begin, end),
                minutes(rem, begin, end), complete,
            )
        )  # fmt: skip

    begin = int((stages > 0).argmax())
    for _, end in _rem_periods(rem, nrem, epoch_s):
        add(begin, end, complete=True)
        # The next cycle begins with NREM; with none left this lies behind the last sleep.
        begin = end + int(nrem[end:].argmax()) if nrem[end:].any() else sleep_ends
    if minutes(nrem, begin, sleep_ends) >= MIN_NREM_PERIOD_MIN:
        add(begin, sleep_ends, complete=False)
    return tuple(cycles)


def _rem_periods(rem: NDArray[np.bool_], nrem: NDArray[np.bool_], epoch_s: float) -> list[tuple[int, int]]:
    """Return (first, past last) epoch of the REM periods that close a cycle."""
    shortest_nrem, shortest_rem = (60 * m / epoch_s for m in (MIN_NREM_PERIOD_MIN, MIN_REM_PERIOD_MIN))
    periods: list[tuple[int, int]] = []
    for begin, end in _stretches(rem):
        if periods and nrem[periods[-1][1] : begin].sum() < shortest_nrem:
            periods[-1] = (periods[-1][0], end)
        else:
            periods.append((begin, end))
    if periods and nrem[: periods[0][0]].sum() < shortest_nrem:
        periods = periods[1:]
    return [
        period
        for i, period in enumerate(periods)
        if i in (0, len(periods) - 1) or rem[slice(*period)].sum() >= shortest_rem
    ]


def _draw(night: SleepStatistics) -> str:
    def show(value: float, unit: str) -> str:
        return f"{'–':>6} {'':3}" if np.isnan(value) else f"{value:6.1f} {unit:<3}"

    def minutes(value: float) -> str:
        return show(value, "min")

    rem_latency = f"   REM latency {minutes(night.rem_latency_min)}" if "REM" in night.scheme.labels else ""
    lines = [
        f"Sleep statistics ({night.basis})",
        f"  TIB   {minutes(night.tib_min)}   SPT {minutes(night.spt_min)}   TST {minutes(night.tst_min)}",
        f"  SE    {show(night.se_percent, '%')}   SME {show(night.sme_percent, '%')}",
        f"  SOL   {minutes(night.sol_min)}   LPS {minutes(night.lps_min)}{rem_latency}",
        f"  WASO  {minutes(night.waso_min)}   awakenings {night.n_awakenings}   "
        f"stage shifts {show(night.stage_shifts_per_h, '/h')}   SFI {show(night.sfi_per_h, '/h')}",
    ]
    for label, value in night.minutes.items():
        share = night.percent_of_tst.get(label, np.nan)
        of_tst = "" if np.isnan(share) else f"   {share:5.1f} % of TST"
        lines.append(f"  {label:<5} {minutes(value)}{of_tst}")
    if night.unscored_min:
        lines.append(f"  unscored {night.unscored_min:.1f} min")
    lines += [
        f"  cycle {i}: {cycle.duration_s / 60:.1f} min (NREM {cycle.nrem_min:.1f}, REM {cycle.rem_min:.1f})"
        + ("" if cycle.complete else ", not closed by REM")
        for i, cycle in enumerate(night.cycles, start=1)
    ]
    return "\n".join(line.rstrip() for line in lines)
