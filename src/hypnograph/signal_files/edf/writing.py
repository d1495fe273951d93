"""Recordings written as EDF+C."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

import numpy as np

from hypnograph.errors import UnusableSignalError
from hypnograph.recording import Recording, Signal, microvolts_per_unit
from hypnograph.whole_file import whole_file

if TYPE_CHECKING:
    from edfio import EdfSignal


def write(recording: Recording, path: Path) -> None:
    """Write a recording as EDF+C with its annotations; no field of a patient is written.

    Samples become 16-bit integers over the signal's `physical_range` where they lie within, else over their own range.
    Voltages are written in uV; labels and units lose what is not ASCII, and what is beyond 16 and 8 characters.

    Raises
    ------
    UnusableSignalError
        If there is nothing to write, a signal has gaps or infinite samples, or EDF cannot hold the signals: they do not
        end together, or no record length gives each of them a whole number of samples.
    """
    from edfio import Edf, EdfAnnotation
    from edfio import Recording as Identification

    if not recording.signals and not recording.annotations:
        raise UnusableSignalError("the recording has neither signals nor annotations; there is nothing to write")
    start = recording.start
    texts = [(a.onset_s, a.duration_s or None, re.sub("[\x00\x14\x15]", " ", a.text)) for a in recording.annotations]
    try:
        edf = Edf(
            [_edf_signal(signal) for signal in recording.signals],
            recording=Identification(
                startdate=None if start is None else start.date(),
                equipment_code="simulated" if recording.is_simulated else "X",
            ),
            starttime=None if start is None else start.time(),
            data_record_duration=_record_length(recording.signals) if recording.signals else None,
            annotations=[EdfAnnotation(*text) for text in texts],
        )
    except UnusableSignalError:
        raise
    except ValueError as error:
        raise UnusableSignalError(f"the recording cannot be written as EDF: {error}") from error
    with whole_file(path) as temporary:
        edf.write(temporary)


def _record_length(signals: Sequence[Signal]) -> float:
    """Return a record's length in which each signal has a whole number of samples, and the night a whole number."""
    duration_s = signals[0].duration_s

    def fits(record_s: float) -> bool:
        counts = [signal.sample_rate * record_s for signal in signals] + [duration_s / record_s]
        return all(abs(count - round(count)) < 1e-9 * count and round(count) > 0 for count in counts)

    candidates = (1.0, 10.0, 2.0, 3.0, 5.0, 30.0, 0.5, 0.25, 0.2, 0.1, 0.05, duration_s)
    return next((record_s for record_s in candidates if fits(record_s)), duration_s)


def _edf_signal(signal: Signal) -> "EdfSignal":
    from edfio import EdfSignal

    samples = signal.samples().astype(np.float64)
    to_uv = microvolts_per_unit(signal.unit)
    samples *= to_uv or 1.0
    if not np.isfinite(samples).all():
        raise UnusableSignalError(f"signal {signal.label!r} has gaps or infinite samples, which EDF+C cannot hold")
    rails = np.array(signal.physical_range or (np.inf, -np.inf)) * (to_uv or 1.0)
    data = np.array([samples.min(), samples.max()]) if len(samples) else np.zeros(2)
    low, high = rails if rails[0] <= data[0] and data[1] <= rails[1] else data
    # Outwards, to decimals that the header's 8 characters can hold; edfio rounds the rest.
    low, high = math.floor(low * 1e4) / 1e4, math.ceil(high * 1e4) / 1e4
    return EdfSignal(
        samples,
        signal.sample_rate,
        label=_ascii(signal.label)[:16],
        physical_dimension="uV" if to_uv else _ascii(signal.unit)[:8],
        physical_range=(low, high if high > low else low + 1.0),
    )


def _ascii(text: str) -> str:
    plain = normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(character for character in plain if character.isprintable())
