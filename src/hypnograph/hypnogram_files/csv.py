"""Tables with a column of stages: hypnograph's own csv with probabilities, and other people's.

A table is of this format if its first line names, between commas, semicolons or tabs, a column of stages. Columns of
onsets (seconds, clock times, or dates with times), durations (seconds) or epoch numbers are used where present; else
each row is the next epoch of 30 s. Integers are read by the rule of `stages_from_codes`.
"""

import csv
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import DEFAULT_EPOCH_S, Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import decode, number, number_text, onset_texts, read_lines
from hypnograph.scored_events import (
    ScoredEvent,
    clock_seconds,
    hypnogram_of_events,
    hypnogram_of_list,
    nearest_day,
    since_first,
)
from hypnograph.stages import SCHEMES, Stage

NAME = "table with a column of stages"
SUFFIXES = (".csv",)

_STAGES = (
    *("stage", "stages", "sleep_stage", "sleep stage", "sleepstage", "user-defined stage", "stade", "schlafstadium"),
    *("hypnogram", "hypno", "label", "labels", "score", "scoring"),
)
_TIMES = ("time", "clock", "clock time", "clock_time", "start time", "start_time", "begin", "time [hh:mm:ss]")
_NUMBER = re.compile(r"-?[\d.]+(?:[eE][-+]?\d+)?")
_ONSETS, _DURATIONS = ("onset_s", "onset", "start_s", "start_sec", "start"), ("duration_s", "duration")


def _split(line: str) -> list[str]:
    delimiter = max(",;\t", key=line.count)
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def recognises(path: Path, head: bytes) -> bool:
    """Whether the first line names a column of stages, and the table is not one of BIDS, CAP or Noxturnal."""
    lines = [line for line in decode(head).splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not (path.suffix.lower() in SUFFIXES or any(c in lines[0] for c in ",;\t")):
        return False
    names = [name.lower() for name in _split(lines[0])]
    is_other = "\t" in lines[0] and {"onset", "init_sec", "event"} & set(names)
    has_clocks = len(lines) > 1 and len(re.findall(r"\d:\d\d:\d\d", lines[1])) > 1
    return _column(names, _STAGES) is not None and not is_other and not has_clocks


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        header, *rows = [_split(line) for line in read_lines(path) if not line.startswith("#")]
    except (csv.Error, ValueError) as error:
        raise UnreadableFileError(f"not a table: {error}") from error
    if short := [row for row in rows if len(row) < len(header)]:
        raise UnreadableFileError(f"a row has {len(short[0])} columns, the first line has {len(header)}")
    return header, rows


def lacks_epoch_s(path: Path) -> bool:
    """Whether there is no column of times or durations."""
    names = [name.lower() for name in _table(path)[0]]
    return _column(names, (*_ONSETS, *_DURATIONS, *_TIMES)) is None


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the stages; clock times without a date are of the day nearest to `recording_start`."""
    header, rows = _table(path)
    names = [name.lower() for name in header]
    stage = _column(names, _STAGES)
    if stage is None:
        raise UnreadableFileError(f"its columns are {', '.join(names)[:200]}; none is called {', '.join(_STAGES)}")
    stages = [row[stage] or "-1" for row in rows]
    grid = _grid(names, rows, recording_start)
    if grid.onsets is None:
        return hypnogram_of_list(stages, stage_map, grid.start, grid.epoch_s or DEFAULT_EPOCH_S)
    duration = _column(names, _DURATIONS)
    durations = [grid.epoch_s if duration is None else number(row[duration], "a duration") for row in rows]
    events = [ScoredEvent(*event) for event in zip(grid.onsets, durations, stages, strict=True)]
    return hypnogram_of_events(events, stage_map=stage_map, start=grid.start, epoch_s=grid.epoch_s)


class _Grid(NamedTuple):
    """Onsets of the rows (s), None where they are consecutive epochs; the length of all epochs (s); when 0 s is."""

    onsets: list[float] | None
    epoch_s: float | None
    start: datetime | None


def _grid(names: list[str], rows: list[list[str]], recording_start: datetime | None) -> _Grid:
    duration, epoch = _column(names, _DURATIONS), _column(names, ("epoch",))
    lengths = {row[duration] for row in rows} if duration is not None else set()
    epoch_s = number(next(iter(lengths)), "a duration") if len(lengths) == 1 else None
    onset, time = _column(names, _ONSETS), _column(names, _TIMES)
    if onset is not None and rows and _NUMBER.fullmatch(rows[0][onset]):
        onsets = [number(row[onset], "an onset") for row in rows]
        begun = None if time is None else _date(rows[0][time])
        return _Grid(onsets, epoch_s, begun - timedelta(seconds=onsets[0]) if begun else recording_start)
    column = time if onset is None else onset
    if column is not None and rows and rows[0][column]:
        onsets, start = _timed([row[column] for row in rows], names[column], recording_start)
        return _Grid(onsets, epoch_s, start)
    if epoch is not None and rows:
        numbers = [number(row[epoch], "an epoch") for row in rows]
        epoch_s = epoch_s or DEFAULT_EPOCH_S
        return _Grid([(n - min(1.0, numbers[0])) * epoch_s for n in numbers], epoch_s, recording_start)
    return _Grid(None, epoch_s, recording_start)


def _timed(texts: list[str], column: str, recording_start: datetime | None) -> tuple[list[float], datetime | None]:
    """Return the onsets of rows that say when they begin, and when 0 s is."""
    if (first := _date(texts[0])) is not None:
        dates = [_date(text) for text in texts]
        if None not in dates:
            return [(date - first).total_seconds() for date in dates if date], first
    clock_s = [clock_seconds(text) for text in texts]
    if None not in clock_s:
        times = [seconds for seconds in clock_s if seconds is not None]
        start = None if recording_start is None else nearest_day(times[0], recording_start)
        return since_first(times), start
    if all(map(_NUMBER.fullmatch, texts)):
        seconds = [float(text) for text in texts]
        if len(seconds) < 2 or min(after - before for before, after in pairwise(seconds)) >= 1:
            return seconds, recording_start
    unknown = next((text for text in texts if clock_seconds(text) is None), texts[0])
    raise UnreadableFileError(
        f"the column {column!r} has {unknown[:40]!r}; expected seconds, hh:mm:ss, or a date with a time"
    )


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if not text.isdigit() else None
    except ValueError:
        return None


def read_hypnodensity(path: Path) -> Hypnodensity | None:
    """Read the columns p_W, p_N1 …; None where there are none."""
    header, rows = _table(path)
    places = {name.removeprefix("p_"): i for i, name in enumerate(header) if name.startswith("p_")}
    scheme = next((scheme for scheme in SCHEMES.values() if set(scheme.labels) == set(places)), None)
    if scheme is None:
        return None
    names = [name.lower() for name in header]
    grid = _grid(names, rows, None)
    values = [[row[places[label]] for label in scheme.labels] for row in rows]
    try:
        probabilities = np.array([[float(v or "nan") for v in row] for row in values]).reshape(-1, scheme.n_stages)
    except ValueError as error:
        raise UnreadableFileError(f"a probability is not a number: {error}") from error
    return Hypnodensity(probabilities, epoch_s=grid.epoch_s or DEFAULT_EPOCH_S, start=grid.start, scheme=scheme)


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write a row for each epoch: time (where the start is known), onset_s, duration_s, stage; and with a hypnodensity
    a column p_… for each stage, confidence (the largest probability) and entropy_bits, empty where nothing is known.

    Numbers are exact. Lost: scorer and lights.
    """
    n, start = hypnogram.n_epochs, hypnogram.start
    columns: dict[str, list[str]] = {}
    if start is not None:
        times = [start + timedelta(seconds=i * hypnogram.epoch_s) for i in range(n)]
        columns["time"] = [time.isoformat() for time in times]
    columns["onset_s"] = onset_texts(hypnogram)
    columns["duration_s"] = [number_text(hypnogram.epoch_s)] * n
    columns["stage"] = hypnogram.names
    if hypnodensity is not None:
        values = dict(
            zip((f"p_{label}" for label in hypnodensity.scheme.labels), hypnodensity.probabilities.T, strict=True)
        )
        values |= {"confidence": hypnodensity.confidence(), "entropy_bits": hypnodensity.entropy()}
        columns |= {name: ["" if np.isnan(v) else number_text(v) for v in column] for name, column in values.items()}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
