"""Noxturnal's event export (Nox Medical): a table of start, end, event and duration in the language of the user.

The columns are found by what is in them, not by their names: two clock times and a text. Of the events, those that are
stages are read ("N2", "REM", "Éveil", "Wach"); "Micro-éveil", "Désat" and the like are not. The date's order (day or
month first) is the one that makes the night short.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import decode, read_lines
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
from hypnograph.stages import Stage, try_stage_from_name

NAME = "Noxturnal events"
SUFFIXES = (".csv",)

_TIME = re.compile(
    r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})[ T,]+(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d{1,6}))?(?: ?([AaPp])\.?[Mm]\.?)?"
)


def _split(line: str) -> list[str]:
    return [field.strip().strip('"') for field in line.split(max(",;\t", key=line.count))]


def _times(fields: list[str]) -> list[int]:
    return [i for i, field in enumerate(fields) if _TIME.fullmatch(field)]


def recognises(path: Path, head: bytes) -> bool:
    """Whether one of the first rows has two clock times with a date."""
    return any(len(_times(_split(line))) >= 2 for line in decode(head).splitlines()[1:5])


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the stages among the events; the hypnogram starts with the first of them."""
    rows = [row for row in map(_split, read_lines(path)) if len(_times(row)) >= 2]
    texts = {text for row in rows for text in row if not text.isdigit()}
    # An artefact among events has any duration; an epoch that is not scored is simply not there.
    stages = {text for text in texts if try_stage_from_name(text, stage_map) not in (None, Stage.UNSCORED)}
    chosen = [(row, next(text for text in row if text in stages)) for row in rows if stages & set(row)]
    if not chosen:
        raise UnreadableFileError(
            f"no sleep stages among its {len(rows)} events; where they have names of their own, say which with "
            "--stage-map 'NAME=STAGE'"
        )
    times = [row[i] for row, _ in chosen for i in _times(row)[:2]]
    clock = _parse(times)
    start = min(clock)
    events = [
        ScoredEvent((begin - start).total_seconds(), (end - begin).total_seconds(), name)
        for begin, end, (_, name) in zip(clock[::2], clock[1::2], chosen, strict=True)
    ]
    return hypnogram_of_events(events, stage_map=stage_map, start=start)


def _parse(texts: list[str]) -> list[datetime]:
    """Return the times in that order of day and month in which they span the least."""
    parts = [match.groups() for text in texts if (match := _TIME.fullmatch(text))]
    orders = ("ymd",) if len(parts[0][0]) == 4 else ("mdy", "dmy") if any(p[7] for p in parts) else ("dmy", "mdy")
    possible = []
    for order in orders:
        try:
            possible.append([_time(part, order) for part in parts])
        except ValueError:
            continue
    if not possible:
        raise UnreadableFileError(f"a time is {texts[0]!r}, which is no date in any order")
    return min(possible, key=lambda times: max(times) - min(times))


def _time(parts: tuple[str | None, ...], order: str) -> datetime:
    date = {key: int(part or 0) for key, part in zip(order, parts, strict=False)}
    hour = int(parts[3] or 0)
    if parts[7]:
        hour = hour % 12 + (12 if parts[7] in "Pp" else 0)
    year = date["y"] + (2000 if date["y"] < 100 else 0)
    microsecond = int((parts[6] or "0").ljust(6, "0"))
    return datetime(year, date["m"], date["d"], hour, int(parts[4] or 0), int(parts[5] or 0), microsecond)
