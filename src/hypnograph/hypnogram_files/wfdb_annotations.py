"""WFDB annotations: slpdb's .st, the .arousal of the 2018 PhysioNet challenge, capslpdb's .edf.st.

The stage is the first word of an annotation's auxiliary text ("4 LA LA": stage 4 with apnoea codes). The record's
header (.hea) beside the file gives the rate and the start. Its comments describe the patient and are never read.
Format: https://wfdb.io/spec/annot-files/ (MIT format).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_bytes
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
from hypnograph.stages import Stage, try_stage_from_name

NAME = "WFDB annotations"
SUFFIXES = (".st", ".arousal", ".hyp", ".stage")

# Types of the format that are no annotations, and the one (a note) that may hold the time resolution.
_SKIP, _NUMBER, _SUBTYPE, _CHANNEL, _AUXILIARY = 59, 60, 61, 62, 63


def recognises(path: Path, head: bytes) -> bool:
    """Whether the ending is one of these and the content is binary."""
    return path.suffix.lower() in SUFFIXES and b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff")


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the annotations whose text begins with a stage; others (beats, arousals) are passed over.

    Where a stage follows itself, each annotation is one epoch (slpdb); else each lasts until the next stage begins.
    """
    header = _read_header(path)
    rate, events = header.rate, []
    for sample, text in _texts(read_bytes(path)):
        resolution = re.match(r"## time resolution: (\d+(?:\.\d+)?)", text)
        if resolution and float(resolution[1]) > 0:
            rate = float(resolution[1])
        words = text.split()
        if words and try_stage_from_name(words[0], stage_map) is not None:
            events.append((sample, words[0]))
    if rate is None:
        raise UnreadableFileError(f"its sample rate is not known; put the record's header, {path.stem}.hea, beside it")
    return hypnogram_of_events(
        # The first annotation of a file stands at sample 1 where 0 is meant.
        [ScoredEvent(0.0 if sample == 1 else sample / rate, None, name) for sample, name in events],
        stage_map=stage_map,
        start=recording_start if header.start is None else header.start,
    )


class _Header(NamedTuple):
    rate: float | None
    start: datetime | None


def _read_header(path: Path) -> _Header:
    """Return the rate and the start from the record's header; None for what is not there."""
    beside = [path.with_suffix(".hea"), path.with_name(path.name.partition(".")[0] + ".hea")]
    found = [header for header in beside if header.is_file()]
    if not found:
        return _Header(None, None)
    with found[0].open("rb") as file:
        lines = file.read(4096).decode("latin-1").splitlines()
    fields = next((line.split() for line in lines if line.strip() and not line.startswith("#")), [])
    rate = re.match(r"\d+(?:\.\d+)?", fields[2]) if len(fields) > 2 else None
    clock = re.match(r"(\d{1,2}):(\d{1,2}):(\d{1,2})", fields[4]) if len(fields) > 4 else None
    day = re.match(r"(\d{1,2})/(\d{1,2})/(\d{4})", fields[5]) if len(fields) > 5 else None
    start = None
    if clock is not None:
        date = f"{day[3]}-{day[2]}-{day[1]}" if day else "1985-1-1"
        with suppress(ValueError):
            start = datetime.strptime(f"{date} {clock[0]}", "%Y-%m-%d %H:%M:%S")
    return _Header(float(rate[0]) if rate and float(rate[0]) > 0 else None, start)


def _texts(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the sample and the auxiliary text of each annotation that has one."""
    sample, place = 0, 0
    while place + 2 <= len(data):
        word = int.from_bytes(data[place : place + 2], "little")
        kind, interval = word >> 10, word & 0x3FF
        place += 2
        if kind == _SKIP:
            high, low = (int.from_bytes(data[place + i : place + i + 2], "little") for i in (0, 2))
            distance = high << 16 | low
            sample += distance - (1 << 32 if distance >> 31 else 0)
            place += 4
        elif kind == _AUXILIARY:
            text = data[place : place + interval]
            if len(text) < interval:
                raise UnreadableFileError("the file ends within an annotation")
            yield sample, text.rstrip(b"\0").decode("latin-1")
            place += interval + interval % 2
        elif kind == 0 and interval == 0:
            return
        elif kind not in (_NUMBER, _SUBTYPE, _CHANNEL):
            sample += interval
