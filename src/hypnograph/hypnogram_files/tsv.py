"""BIDS tables: events.tsv (onset, duration, trial_type), the draft _hypnogram.tsv, and U-Sleep's .tsv.

Where a column is called stage (or sleep_stage, or stage_hum as in BOAS), each of its rows is scored time, and integers
are read by the rule of `stages_from_codes`. Of trial_type, the rows whose text is a stage are read, others are events.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import decode, number, number_text, onset_texts, read_lines
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
from hypnograph.stages import Stage, try_stage_from_name

NAME = "BIDS events"
SUFFIXES = (".tsv",)

_ONSETS, _DURATIONS = ("onset", "init_sec"), ("duration", "duration_sec")
_STAGES, _EVENTS = ("stage", "sleep_stage", "stage_hum", "majority"), ("trial_type", "value", "description")


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _columns(line: str) -> list[str]:
    return [name.strip().strip('"').lower() for name in line.split("\t")]


def recognises(path: Path, head: bytes) -> bool:
    """Whether the first line names, between tabs, an onset and something to read."""
    lines = decode(head).lstrip().splitlines()
    names = _columns(lines[0]) if lines else []
    return _column(names, _ONSETS) is not None and _column(names, _STAGES + _EVENTS) is not None


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the rows; onsets count from the start of the recording. Of several scorers, none is chosen: an error."""
    header, *lines = read_lines(path)
    names = _columns(header)
    onset, duration, stage = (_column(names, wanted) for wanted in (_ONSETS, _DURATIONS, _STAGES))
    text = stage if stage is not None else _column(names, _EVENTS)
    if onset is None or text is None:
        raise UnreadableFileError(f"its columns are {', '.join(names)[:200]}; expected onset, duration and stage")
    rows = [[field.strip() for field in line.split("\t")] for line in lines]
    if short := [row for row in rows if len(row) <= max(onset, text)]:
        raise UnreadableFileError(f"a row has {len(short[0])} columns, the first line has {len(names)}")
    if stage is None:
        rows = [row for row in rows if try_stage_from_name(row[text], stage_map) is not None]
    events = [ScoredEvent(number(row[onset], "an onset"), _duration(row, duration), _name(row[text])) for row in rows]
    scorer = _column(names, ("scorer",))
    scorers = {row[scorer] for row in rows if scorer is not None and len(row) > scorer} - {"n/a", ""}
    if len(scorers) > 1:
        raise UnreadableFileError(f"it holds {len(scorers)} scorers: {', '.join(sorted(scorers))[:200]}; keep one")
    return hypnogram_of_events(events, stage_map=stage_map, start=recording_start, scorer=next(iter(scorers), ""))


def _duration(row: list[str], column: int | None) -> float | None:
    if column is None or len(row) <= column or row[column].lower() == "n/a":
        return None
    return number(row[column], "a duration")


def _name(text: str) -> str:
    # A missing value among integers must not make them names.
    return "-1" if text.lower() in ("n/a", "") else text


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write a row for each epoch: onset, duration, stage (n/a where unscored), and the scorer where known.

    Times are exact. Lost: the start (in BIDS, scans.tsv has it), lights, hypnodensity, and blanks at the ends of the
    scorer. An epoch longer than 30 s that is a multiple of 30 or 20 s reads back as several.
    """
    scorer = " ".join(hypnogram.scorer.split())
    columns = ["onset", "duration", "stage", *(["scorer"] if scorer else [])]
    each = number_text(hypnogram.epoch_s)
    rows = [
        [onset, each, "n/a" if name == "UNSCORED" else name, *([scorer] if scorer else [])]
        for onset, name in zip(onset_texts(hypnogram), hypnogram.names, strict=True)
    ]
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), encoding="utf-8")
