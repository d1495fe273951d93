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
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
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
    epochs: list[ScoredEvent] = []
    first_s, before_s = None, 0.0
    for line in lines[above + 1 :]:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) <= max(time, event) or not fields[event].upper().startswith("SLEEP"):
            continue
        clock_s = _clock_s(fields[time])
        first_s = clock_s if first_s is None else first_s
        onset_s = clock_s - first_s
        if onset_s < before_s - 43200:  # past a midnight
            onset_s += 86400 * round((before_s - onset_s) / 86400)
        before_s = onset_s
        length_s = number(fields[duration], "a duration") if len(fields) > duration else None
        epochs.append(ScoredEvent(onset_s, length_s, fields[stage] or fields[event]))
    start = None if first_s is None else _start(lines[:above], first_s, recording_start)
    return hypnogram_of_events(epochs, stage_map=stage_map, start=start)


def _clock_s(text: str) -> float:
    match = re.fullmatch(r"(\d{1,2})[:.](\d\d)[:.](\d\d(?:\.\d+)?)", text)
    if match is None or int(match[1]) > 24 or int(match[2]) > 59 or float(match[3]) >= 60:
        raise UnreadableFileError(f"a time is {text[:30]!r}; expected hh:mm:ss or hh.mm.ss")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _start(header: list[str], clock_s: float, recording_start: datetime | None) -> datetime:
    if recording_start is not None:
        midnight = datetime.combine(recording_start.date(), datetime.min.time())
        begins = [midnight + timedelta(days=days, seconds=clock_s) for days in (-1, 0, 1)]
        return min(begins, key=lambda begin: abs(begin - recording_start.replace(tzinfo=None)))
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
