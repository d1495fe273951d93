"""What a report says, whatever it is written in."""

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hypnograph.evaluation.sleep_statistics import SleepStatistics, sleep_statistics
from hypnograph.multitaper import Spectrogram
from hypnograph.plot import Tick, clock, time_ticks
from hypnograph.review import DEFAULT_THRESHOLD, UnsureStretch, unsure_stretches
from hypnograph.stagers import Staging

MAX_STRETCHES = 20
N_WORST = 5


@dataclass(frozen=True, eq=False)
class Contents:
    """A staged night with all that is derived from it.

    Parameters
    ----------
    title
        What the night is called.
    staging, statistics, spectrogram
        The night itself.
    simulated
        Nobody slept it.
    stretches
        The unsure stretches that most deserve a look, in order of time.
    n_stretches, n_unsure
        How many there are in all, and of how many epochs.
    against : float array, shape (n_epochs,)
        Share of the voters' weight for another stage than the result; None without voters.
    versions
        Of hypnograph and of what stages.
    """

    SIMULATED: ClassVar[str] = "This night is simulated: nobody slept it."

    title: str
    staging: Staging
    statistics: SleepStatistics
    spectrogram: Spectrogram | None
    simulated: bool
    stretches: tuple[UnsureStretch, ...]
    n_stretches: int
    n_unsure: int
    against: NDArray[np.float64] | None
    versions: dict[str, str]

    @property
    def certainty_is_known(self) -> bool:
        return bool(self.staging.hypnodensity.known.any())

    @property
    def start(self) -> datetime | None:
        return self.staging.hypnogram.start

    @property
    def ticks(self) -> list[Tick]:
        """The marks of the time axis that all figures share."""
        return time_ticks(self.staging.hypnogram.duration_s, self.start)

    @property
    def spectrogram_offset_s(self) -> float:
        """By how much the spectrogram begins after the hypnogram; 0 where either start is not known.

        As in `Hypnogram.align`: where the dates are more than half a day apart, the times of day count.
        """
        if self.spectrogram is None or self.spectrogram.start is None or self.start is None:
            return 0.0
        offset_s = (self.spectrogram.start - self.start).total_seconds()
        return offset_s if abs(offset_s) <= 43200 else (offset_s + 43200) % 86400 - 43200

    @property
    def derivation_rows(self) -> list[tuple[str, str, str, str]]:
        """Name, kind, signals in the file, and why, of each derivation."""
        return [
            (d.name, str(d.kind), d.signal if d.reference is None else f"{d.signal} − {d.reference}", d.reason)
            for d in self.staging.derivations
        ]

    @property
    def worst(self) -> frozenset[int]:
        """First epochs of the stretches with the most doubt."""
        ranked = sorted(self.stretches, key=lambda stretch: -stretch.doubt)
        return frozenset(stretch.first_epoch for stretch in ranked[:N_WORST])

    @property
    def scored_by(self) -> str:
        """Who scored, in a sentence that says what to make of it."""
        scorer = self.staging.stager or self.staging.hypnogram.scorer or "an unnamed scorer"
        if self.certainty_is_known:
            return f"Automatic staging by {scorer}. Check before use."
        return f"Scoring by {scorer}. Its certainty is not known."

    @property
    def when(self) -> str:
        """When the night was, how long, and on what grid."""
        hypnogram = self.staging.hypnogram
        grid = f"{hypnogram.n_epochs} epochs of {hypnogram.epoch_s:g} s"
        if hypnogram.start is None:
            return f"Start time not known · {hours(hypnogram.duration_s / 60)} · {grid}"
        day = hypnogram.start
        date = f"{_WEEKDAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]} {day.year}"
        span = f"{clock(0, hypnogram.start)[:5]} to {clock(hypnogram.duration_s, hypnogram.start)[:5]}"
        return f"{date}, {span} · {hours(hypnogram.duration_s / 60)} · {grid}"

    @property
    def rule(self) -> str:
        """Which stretches count as unsure."""
        many = self.n_stretches > len(self.stretches)
        shown = f" The {len(self.stretches)} with the most doubt are listed." if many else ""
        unsure = f"{plural(self.n_unsure, 'epoch', 'epochs')} in {plural(self.n_stretches, 'stretch', 'stretches')}"
        return (
            f"The confidence (the largest probability) is below {DEFAULT_THRESHOLD:g} in {unsure}. Unsure epochs with "
            f"at most one surer epoch between them are one stretch.{shown}"
        )


# Names of days and months do not depend on the computer's language: the same night gives the same report.
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def gather(
    staging: Staging,
    *,
    title: str,
    spectrogram: Spectrogram | None = None,
    statistics: SleepStatistics | None = None,
    simulated: bool = False,
) -> Contents:
    """Derive all that a report says from a staging."""
    from hypnograph.stagers.ensemble import disagreement

    every = unsure_stretches(staging.hypnodensity, limit=None)
    several = len(staging.voters) > 1
    with np.errstate(invalid="ignore"):
        n_unsure = int((staging.hypnodensity.confidence() < DEFAULT_THRESHOLD).sum())
    return Contents(
        title=title,
        staging=staging,
        statistics=sleep_statistics(staging.hypnogram) if statistics is None else statistics,
        spectrogram=spectrogram,
        simulated=simulated,
        stretches=tuple(unsure_stretches(staging.hypnodensity, limit=MAX_STRETCHES)),
        n_stretches=len(every),
        n_unsure=n_unsure,
        against=disagreement(staging.voters, staging.hypnodensity) if several else None,
        versions=_versions(staging),
    )


def _versions(staging: Staging) -> dict[str, str]:
    found = {"hypnograph": version("hypnograph")}
    if staging.stager:
        found["Scored by"] = staging.stager
    if staging.weights_sha256:
        found["Weights, SHA-256"] = staging.weights_sha256
    if staging.timings_s:
        spent = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in staging.timings_s.items())
        found["Seconds spent"] = spent
    return found


def tiles(statistics: SleepStatistics) -> list[tuple[str, str, str]]:
    """Return (abbreviation, what it is, value) of the numbers that a reader wants first."""
    s = statistics
    first = [
        ("TST", "Total sleep time", hours(s.tst_min)),
        ("SE", "Sleep efficiency", percent(s.se_percent)),
        ("SOL", "Sleep onset latency", hours(s.sol_min)),
        ("WASO", "Wake after sleep onset", hours(s.waso_min)),
    ]
    return first + ([("from sleep onset", "REM latency", hours(s.rem_latency_min))] if "REM" in s.scheme.labels else [])


def statistics_rows(statistics: SleepStatistics) -> list[tuple[str, str, str]]:
    """Return (abbreviation, what it is, value with its unit) of each single number but the stages' minutes."""
    s = statistics
    rows = [
        ("TIB", "Time in bed", minutes(s.tib_min)),
        ("SPT", "Sleep period time, first to last sleep", minutes(s.spt_min)),
        ("TST", "Total sleep time", minutes(s.tst_min)),
        ("SE", "Sleep efficiency, TST / TIB", percent(s.se_percent)),
        ("SME", "Sleep maintenance efficiency, TST / SPT", percent(s.sme_percent)),
        ("SOL", "Sleep onset latency", minutes(s.sol_min)),
        ("LPS", "Latency to persistent sleep (10 min)", minutes(s.lps_min)),
    ]
    rows += [
        (f"Lat {label}", f"Latency to {label} from lights off", minutes(at)) for label, at in s.latency_min.items()
    ]
    if "REM" in s.scheme.labels:
        rows.append(("", "REM latency from sleep onset", minutes(s.rem_latency_min)))
    rows += [
        ("WASO", "Wake after sleep onset, to lights on", minutes(s.waso_min)),
        ("", "Wake within the sleep period", minutes(s.waso_spt_min)),
        ("", "Awakenings", str(s.n_awakenings)),
        ("", "Stage shifts", f"{s.n_stage_shifts} ({per_hour(s.stage_shifts_per_h)})"),
        ("SFI", "Sleep fragmentation index, shifts to wake", per_hour(s.sfi_per_h)),
        ("", "Unscored", minutes(s.unscored_min)),
    ]
    return rows


def stage_rows(statistics: SleepStatistics) -> list[tuple[str, str, str]]:
    """Return (stage, minutes, percent of TST) of each stage."""
    shares = statistics.percent_of_tst
    return [
        (label, minutes(value), percent(shares[label]) if label in shares else "")
        for label, value in statistics.minutes.items()
    ]


def cycle_rows(contents: Contents) -> list[tuple[str, str, str, str, str]]:
    """Return (number, when it begins, duration, NREM, REM) of each NREM-REM cycle."""
    return [
        (
            f"{number}" if cycle.complete else f"{number} (open)",
            clock(cycle.start_s, contents.start)[:-3],
            minutes(cycle.duration_s / 60),
            minutes(cycle.nrem_min),
            minutes(cycle.rem_min),
        )
        for number, cycle in enumerate(contents.statistics.cycles, start=1)
    ]


def stretch_rows(contents: Contents) -> list[tuple[str, ...]]:
    """Return time, epochs, length, predicted, second choice, lowest confidence and, with voters, their share against.

    Epochs count from 1, as scorers count them.
    """
    rows = []
    for stretch in contents.stretches:
        first, past_last = stretch.first_epoch, stretch.first_epoch + stretch.n_epochs
        cells = [
            clock(stretch.start_s, contents.start),
            f"{past_last}" if stretch.n_epochs == 1 else f"{first + 1}–{past_last}",
            minutes(stretch.duration_s / 60),
            f"{stretch.predicted} {100 * stretch.probability:.0f} %",
            f"{stretch.second_choice} {100 * stretch.second_probability:.0f} %",
            f"{stretch.lowest_confidence:.2f}",
        ]
        if contents.against is not None:
            share = contents.against[first:past_last]
            cells.append(percent(100 * float(np.nanmean(share))) if np.isfinite(share).any() else "–")
        rows.append(tuple(cells))
    return rows


def minutes(value: float) -> str:
    """Return minutes with one decimal, ``–`` where undefined."""
    return "–" if np.isnan(value) else f"{value:.1f} min"


def percent(value: float) -> str:
    """Return percent with one decimal, ``–`` where undefined."""
    return "–" if np.isnan(value) else f"{value:.1f} %"


def per_hour(value: float) -> str:
    """Return a rate, ``–`` where undefined."""
    return "–" if np.isnan(value) else f"{value:.1f} /h"


def hours(value_min: float) -> str:
    """Return minutes as hours and minutes: ``6 h 52 min``, below an hour ``12.5 min``; ``–`` where undefined."""
    if np.isnan(value_min):
        return "–"
    if value_min < 60:
        return f"{round(value_min, 1):g} min"
    whole = int(value_min + 0.5)
    return f"{whole // 60} h {whole % 60:02d} min"


def plural(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else many}"
