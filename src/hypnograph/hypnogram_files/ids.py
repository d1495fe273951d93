"""U-Time's and U-Sleep's .ids: lines of start, duration, stage; no header."""

import re
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import DEFAULT_EPOCH_S, Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import decode, number, number_text, onset_texts, read_lines
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
from hypnograph.stages import Stage

NAME = "start, duration, stage"
SUFFIXES = (".ids", ".sds")

_LINE = re.compile(r"\s*[-+.\deEnaif]+\s*,\s*[-+.\deEnaif]+\s*,\s*[^,;\t]+$")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the first line is two numbers and a name between commas."""
    lines = decode(head).lstrip().splitlines()
    return bool(lines) and _LINE.match(lines[0]) is not None


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the lines; seconds count from the start of the recording, time that no line covers is unscored."""
    events = []
    for line in read_lines(path):
        start, duration, name = ([*line.split(",", 2), "", ""])[:3]
        if not name.strip():
            raise UnreadableFileError(f"a line is {line[:60]!r}; expected start,duration,stage")
        events.append(ScoredEvent(number(start, "a start"), number(duration, "a duration"), name.strip()))
    return hypnogram_of_events(events, stage_map=stage_map, start=recording_start)


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write a line for each run of a stage, as U-Time does; for each epoch where an epoch does not last 30 s.

    Times are exact: whole seconds without a point, other times with all their digits. Unscored is "UNKNOWN", U-Time's
    word. Lost: start, scorer, lights, hypnodensity. An epoch longer than 30 s that is a multiple of 30 or 20 s reads
    back as several.
    """
    names = ["UNKNOWN" if name == "UNSCORED" else name for name in hypnogram.names]
    if hypnogram.epoch_s == DEFAULT_EPOCH_S:
        first = [round(run.start_s / DEFAULT_EPOCH_S) for run in hypnogram.runs()]
        rows = ((run.start_s, run.duration_s, names[i]) for run, i in zip(hypnogram.runs(), first, strict=True))
        lines = (f"{number_text(start)},{number_text(duration)},{name}" for start, duration, name in rows)
    else:
        each = number_text(hypnogram.epoch_s)
        lines = (f"{onset},{each},{name}" for onset, name in zip(onset_texts(hypnogram), names, strict=True))
    path.write_text("\n".join(chain(lines, [""])), encoding="utf-8")
