"""A recording as it is in its file: labels, rates and units unchanged, samples read when they are asked for.

A `Recording` has no field for a patient's name, birth date or any other identification: what is not read cannot leak.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, MissingChannelError

SIMULATED = "simulated:"
"""How the annotation of a simulated night begins."""

_LIGHTS = re.compile(r"(?i)^\s*lights?[ _-]*(off|out|on)\b")

SampleReader = Callable[[int, int], NDArray[np.float32]]


class Annotation(NamedTuple):
    """A text at a time: onset in seconds from the start of the recording, duration in seconds (0 where not given)."""

    onset_s: float
    duration_s: float
    text: str


@dataclass(frozen=True, eq=False)
class Signal:
    """One signal of a recording.

    Parameters
    ----------
    label
        As in the file.
    sample_rate
        Hz; may be fractional.
    unit
        Physical unit as in the file, ``""`` where the file gives none.
    n_samples
        Samples from the start of the recording to its end, those in gaps included.
    read_samples
        ``(first, past_last) → float32 array`` in `unit`, NaN in gaps. Called only by `samples`.
    physical_range
        The smallest and largest value that the file can hold (the rails), where known.
    """

    label: str
    sample_rate: float
    unit: str
    n_samples: int
    read_samples: SampleReader
    physical_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.sample_rate) and self.sample_rate > 0):
            raise HypnographError(
                f"signal {self.label!r}: the sample rate is {self.sample_rate} Hz; it must be above 0"
            )

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    def samples(self, start_s: float = 0.0, stop_s: float | None = None) -> NDArray[np.float32]:
        """Read samples from `start_s` to `stop_s` (seconds from the recording's start; None: to the end).

        Returns
        -------
        NDArray[np.float32], shape (n_samples,)
            In the file's `unit`; NaN where nothing was recorded.
        """
        first = max(0, round(start_s * self.sample_rate))
        last = self.n_samples if stop_s is None else min(self.n_samples, round(stop_s * self.sample_rate))
        if last <= first:
            return np.empty(0, dtype=np.float32)
        return self.read_samples(first, last)


@dataclass(frozen=True, eq=False)
class Recording:
    """One PSG: its signals on one clock.

    Parameters
    ----------
    signals
        In the file's order; labels may repeat.
    duration_s
        From the first to the last sample, gaps included.
    start
        Local wall-clock time of the first sample, None where the file does not say.
    annotations
        Texts of the file in order of time.
    gaps
        (start_s, stop_s) of stretches that were not recorded (EDF+D).
    source
        The format, e.g. ``"EDF+C"``.
    warnings
        What the reader found odd but could read.
    """

    signals: tuple[Signal, ...]
    duration_s: float
    start: datetime | None = None
    annotations: tuple[Annotation, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(signal.label for signal in self.signals)

    @property
    def is_simulated(self) -> bool:
        """Whether nobody slept this night: `simulate` leaves a note that survives being written to a file."""
        return any(annotation.text.startswith(SIMULATED) for annotation in self.annotations)

    @property
    def lights_s(self) -> tuple[float | None, float | None]:
        """Lights off and lights on, in seconds from the start, where the annotations have them."""
        return lights_among((annotation.onset_s, annotation.text) for annotation in self.annotations)

    def signal(self, label: str) -> Signal:
        """Return the signal with this label (exact, else without regard to case and outer blanks).

        Raises
        ------
        MissingChannelError
            If there is none, or several; the message names those present.
        """
        exact = [signal for signal in self.signals if signal.label == label]
        folded = [signal for signal in self.signals if signal.label.strip().lower() == label.strip().lower()]
        found = exact or folded
        if not found:
            raise MissingChannelError(f"no signal {label!r}; the recording has: {', '.join(self.labels) or 'none'}")
        if len(found) > 1:
            raise MissingChannelError(
                f"{len(found)} signals are called {label!r}; rename them in the file to choose one"
            )
        return found[0]

    def __repr__(self) -> str:
        start = self.start.isoformat(sep=" ", timespec="seconds") if self.start else "unknown start"
        lines = [f"Recording ({self.source or 'in memory'}), {self.duration_s / 3600:.2f} h from {start}"]
        lines += [f"  {s.label:<20} {s.sample_rate:g} Hz  {s.unit or 'no unit'}" for s in self.signals]
        return "\n".join(lines)


def lights_among(texts: Iterable[tuple[float, str]]) -> tuple[float | None, float | None]:
    """Return when the lights went off for the first, and on for the last time, among (onset in seconds, text).

    Understood are "Lights off", "Light out", "LIGHTS_ON" and the like; None for what is not there.
    """
    found: dict[str, list[float]] = {"off": [], "on": []}
    for onset_s, text in texts:
        if match := _LIGHTS.match(text):
            found["on" if match[1].lower() == "on" else "off"].append(onset_s)
    return min(found["off"], default=None), max(found["on"], default=None)


def microvolts_per_unit(unit: str) -> float | None:
    """Return how many µV one `unit` is, or None where the unit is missing or is not a voltage."""
    # Files write the micro sign as U+00B5 or U+03BC (Greek mu), and as plain 'u'.
    folded = unit.strip().replace("µ", "u").replace("μ", "u").lower()
    return {
        "nv": 1e-3,
        "uv": 1.0,
        "mv": 1e3,
        "v": 1e6,
        "volt": 1e6,
        "volts": 1e6,
        "microvolt": 1.0,
        "microvolts": 1.0,
    }.get(folded)
