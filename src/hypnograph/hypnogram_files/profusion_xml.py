"""Compumedics Profusion XML: a list of integers, one for each epoch (SHHS, MESA)."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from hypnograph.errors import UnknownStageError, UnreadableFileError
from hypnograph.hypnogram import DEFAULT_EPOCH_S, Hypnogram
from hypnograph.hypnogram_files import decode, number, parse_xml
from hypnograph.scored_events import hypnogram_of_list
from hypnograph.stages import NSRR_CODES, Stage

NAME = "Compumedics Profusion XML"
SUFFIXES = (".xml",)


def recognises(path: Path, head: bytes) -> bool:
    """Whether the root element is that of Compumedics."""
    return "<CMPStudyConfig" in decode(head)


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read SleepStages: 0 W, 1 N1, 2 N2, 3 and 4 N3, 5 REM, 6 movement, 9 unscored; the first begins the recording."""
    root = parse_xml(path)
    listed = root.find(".//SleepStages")
    if listed is None:
        raise UnreadableFileError("it has no element SleepStages")
    table = {str(code): stage for code, stage in NSRR_CODES.items()} | dict(stage_map or {})
    codes = [(element.text or "").strip() for element in listed.iter("SleepStage")]
    if unknown := [code for code in codes if code not in table]:
        raise UnknownStageError(
            f"unknown stage {unknown[0][:60]!r}; Profusion's are 0 to 6 and 9. "
            "Add it with --stage-map 'CODE=STAGE' (or stage_map=…)"
        )
    length = root.findtext("EpochLength")
    epoch_s = number(length, "EpochLength") if length else DEFAULT_EPOCH_S
    return hypnogram_of_list([table[code].name for code in codes], None, recording_start, epoch_s)
