"""NSRR XML: the harmonised annotations of the National Sleep Research Resource (SHHS, MESA, MrOS, CFS …)."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from hypnograph.errors import UnknownStageError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import decode, number, parse_xml
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
from hypnograph.stages import NSRR_CODES, Stage, stage_from_name, try_stage_from_name

NAME = "NSRR XML"
SUFFIXES = (".xml",)


def recognises(path: Path, head: bytes) -> bool:
    """Whether the root element is that of NSRR."""
    return "<PSGAnnotation" in decode(head)


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the scored events of type "Stages|Stages"; their seconds count from the start of the recording."""
    root = parse_xml(path)
    events, start = [], recording_start
    for event in root.iter("ScoredEvent"):
        concept = (event.findtext("EventConcept") or "").strip()
        if (event.findtext("EventType") or "").strip().startswith("Stages"):
            onset_s = number(event.findtext("Start"), "the start of a stage")
            duration_s = number(event.findtext("Duration"), "the duration of a stage")
            events.append(ScoredEvent(onset_s, duration_s, _stage(concept, stage_map).name))
        elif concept == "Recording Start Time" and start is None:
            start = _clock(event.findtext("ClockTime"))
    length = root.findtext("EpochLength")
    return hypnogram_of_events(events, start=start, epoch_s=number(length, "EpochLength") if length else None)


def _stage(concept: str, stage_map: Mapping[str, Stage] | None) -> Stage:
    """Return the stage of a concept such as "Stage 1 sleep|1": by the user's names, its code, or its name."""
    name, _, code = concept.rpartition("|")
    for text in (concept, name, code):
        if (
            stage_map
            and (added := try_stage_from_name(text, stage_map)) != try_stage_from_name(text)
            and added is not None
        ):
            return added
    if re.fullmatch(r"\d", code):
        if int(code) not in NSRR_CODES:
            raise UnknownStageError(f"unknown stage {concept!r}; add it with --stage-map '{concept}=STAGE'")
        return NSRR_CODES[int(code)]
    return stage_from_name(name or code)


def _clock(text: str | None) -> datetime | None:
    """Return the clock time of "00.00.00 22.15.00"; the date is never given."""
    match = re.search(r"(\d\d?)[.:](\d\d)[.:](\d\d)\s*$", text or "")
    return (
        datetime(1985, 1, 1) + timedelta(hours=int(match[1]), minutes=int(match[2]), seconds=int(match[3]))
        if match
        else None
    )
