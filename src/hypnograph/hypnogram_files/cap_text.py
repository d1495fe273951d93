"""The text of the CAP Sleep Database (PhysioNet capslpdb), an export of RemLogic.

A free header, then a table between tabs. Its columns are found by their names: with or without "Position",
"Duration[s]" or "Duration [s]". Rows whose event begins with SLEEP are epochs; A phases (MCAP-A1 …), even of 30 s, are
not.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import decode, number, read_lines
from hypnograph.scored_events import ScoredEvent, clock_seconds, hypnogram_of_events, nearest_day, since_first
from hypnograph.stages import Stage

NAME = "CAP Sleep Database text"
SUFFIXES = (".txt",)

_TABLE = re.compile(r"(?im)^sleep stage\t(?:.*\t)?time ?\[hh:mm:ss\]\t(?:.*\t)?event\t(?:.*\t)?duration ?\[s\]")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the line above the table is there."""
    return _TABLE.search(decode(head)) is not None


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the epochs; the hypnogram starts with the first one, and clock times run on past midnight.

    Its date is that of `recording_start`, else the header's "Recording Date", else 1985-01-01.
    """
    lines = read_lines(path)
    above = next((i for i, line in enumerate(lines) if _TABLE.match(line)), None)
    if above is None:
        raise UnreadableFileError("the line 'Sleep Stage … Time [hh:mm:ss] … Event … Duration[s]' is missing")
    names = [re.sub(r"[\s\[].*$", "", name.strip().lower()) for name in lines[above].split("\t")]
    stage, time, event, duration = (names.index(name) for name in ("sleep", "time", "event", "duration"))
    rows = [[field.strip() for field in line.split("\t")] for line in lines[above + 1 :]]
    rows = [row for row in rows if len(row) > max(time, event) and row[event].upper().startswith("SLEEP")]
    clock_s = [_clock_s(row[time]) for row in rows]
    lengths = [number(row[duration], "a duration") if len(row) > duration else None for row in rows]
    names = [row[stage] or row[event] for row in rows]
    epochs = [ScoredEvent(*epoch) for epoch in zip(since_first(clock_s), lengths, names, strict=True)]
    start = _start(lines[:above], clock_s[0], recording_start) if rows else None
    return hypnogram_of_events(epochs, stage_map=stage_map, start=start)


def _clock_s(text: str) -> float:
    seconds = clock_seconds(text)
    if seconds is None or len(re.findall(r"\d+", text)) < 3:
        raise UnreadableFileError(f"a time is {text[:30]!r}; expected hh:mm:ss or hh.mm.ss")
    return seconds


def _start(header: list[str], clock_s: float, recording_start: datetime | None) -> datetime:
    if recording_start is not None:
        return nearest_day(clock_s, recording_start)
    dates = [
        m for line in header if (m := re.match(r"(?i)recording date:?\s*(\d{1,2})[./-](\d{1,2})[./-](\d{4})", line))
    ]
    day = date(1985, 1, 1)
    if dates:
        try:
            day = date(int(dates[0][3]), int(dates[0][2]), int(dates[0][1]))
        except ValueError as error:
            raise UnreadableFileError(f"the recording date is {dates[0][0][-10:]!r}; expected dd/mm/yyyy") from error
    return datetime.combine(day, datetime.min.time()) + timedelta(seconds=clock_s)
