"""BIDS: any sleep dataset in the Brain Imaging Data Structure, and BOAS, the Bitbrain Open Access Sleep dataset.

A recording is sub-1/[ses-2/]eeg/sub-1_[ses-2_]task-sleep_[acq-psg_][run-1_]eeg.edf (or another format of EEG), its
scoring the events.tsv, or the hypnogram.tsv of the proposed extension, with the same entities. Folders called
sourcedata, derivatives, code and stimuli are no recordings.

In BOAS (ds005555) each night was recorded twice at once, by a PSG and by a headband. The PSG is taken, with the
consensus of its human scorers (column stage_hum; stage_ai is a model's). One person has several nights, each called a
subject: participants.tsv says who (column pid).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, unmatched
from hypnograph.remote_files import S3Bucket
from hypnograph.stages import parse_stage_map

DATASETS = {
    "bids": Dataset(
        title="a sleep dataset in BIDS",
        licence="as its dataset_description.json says",
        source="https://bids-specification.readthedocs.io/",
        doi="10.1038/s41597-019-0104-8",
        layout="sub-1/eeg/sub-1_task-sleep_eeg.edf and sub-1/eeg/sub-1_task-sleep_events.tsv",
        epoch_s=None,
    ),
    "boas": Dataset(
        title="Bitbrain Open Access Sleep dataset (BOAS, ds005555), the PSGs",
        licence="CC0",
        source="https://openneuro.org/datasets/ds005555",
        doi="10.18112/openneuro.ds005555.v1.1.1",
        layout="sub-1/eeg/sub-1_task-Sleep_acq-psg_eeg.edf and …_events.tsv, and participants.tsv",
        remote=S3Bucket(
            "https://s3.amazonaws.com/openneuro.org",
            names=r"acq-psg_(eeg\.edf|events\.tsv)$|^participants\.tsv$",
            folder="ds005555",
        ),
    ),
}

_RECORDINGS = (".edf", ".bdf", ".vhdr", ".set", ".fif")
_SCORINGS = ("_events.tsv", "_hypnogram.tsv")
_NOT_RAW = {"sourcedata", "derivatives", "code", "stimuli"}
_NAME = re.compile(r"(sub-[a-zA-Z0-9]+(?:_[a-zA-Z0-9]+-[a-zA-Z0-9]+)*)_(eeg|events|hypnogram)\.[a-z]+", re.IGNORECASE)


def scan(name: str, folder: Path, *, stage_map: Sequence[str] = ()) -> Iterator[Night | Problem]:
    """Yield the nights; a subject is that of the name, of BOAS the person.

    Parameters
    ----------
    name, folder
        See `hypnograph.datasets.scan`.
    stage_map
        What names of stages mean: ``["Deep=N3", "A=UNSCORED"]``.

    Raises
    ------
    HypnographError
        If `stage_map` names no stage.
    """
    meanings = tuple(parse_stage_map(stage_map).items())
    found: dict[str, dict[str, Path]] = {"eeg": {}, "events": {}, "hypnogram": {}}
    for path in files_below(folder, (*_RECORDINGS, *_SCORINGS)):
        if _NOT_RAW & set(path.relative_to(folder).parts[:-1]):
            continue
        match, is_recording = _NAME.fullmatch(path.name), path.name.lower().endswith(_RECORDINGS)
        if match is None or (match[2].lower() == "eeg") != is_recording:
            # An events.tsv may also be inherited by all recordings of a task; no scoring is.
            if is_recording:
                yield Problem(path, "not a name of BIDS, such as sub-1_task-sleep_eeg.edf")
        elif name != "boas" or "_acq-psg" in match[1].lower():
            first = found[match[2].lower()].setdefault(match[1], path)
            if first is not path:
                yield Problem(path, f"a second {match[2]} of {match[1]}; {first.relative_to(folder)} is taken")
    psgs, scorings = found["eeg"], found["events"] | found["hypnogram"]
    people: dict[str, str] = {}
    if name == "boas" and psgs:
        people, problems = _people(folder)
        yield from problems
    for key in sorted(psgs.keys() & scorings.keys()):
        if people and f"sub-{_entities(key)['sub']}" not in people:
            yield Problem(psgs[key], "participants.tsv does not say whose it is; nights of one person may come apart")
        yield replace(_night(name, key, psgs[key], scorings[key], people), stage_map=meanings)
    yield from unmatched(psgs, scorings, "scoring (_events.tsv)")
    yield from unmatched(scorings, psgs, "recording (_eeg)")


def _night(name: str, key: str, psg: Path, scoring: Path, people: dict[str, str]) -> Night:
    entities = _entities(key)
    visit = "-".join(entities[entity] for entity in ("ses", "run") if entity in entities)
    subject = people.get(f"sub-{entities['sub']}", entities["sub"])
    return Night(dataset=name, id=key, subject=subject, psg=psg, scorings=(Scoring("", scoring),), visit=visit)


def _entities(key: str) -> dict[str, str]:
    """Return what a name says: ``{"sub": "1", "task": "sleep"}``."""
    pairs = (entity.split("-", 1) for entity in key.split("_"))
    return {name.lower(): value for name, value in pairs}


def _people(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Return the people of BOAS by night ("sub-1"), and what is wrong with the table that says so."""
    table = next((path for path in files_below(folder, (".tsv",)) if path.name == "participants.tsv"), None)
    if table is None:
        return {}, [Problem(folder, "nights of one person are not known to be; put participants.tsv into it")]
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    header = rows[0] if rows else []
    if not {"participant_id", "pid"} <= set(header):
        return {}, [Problem(table, "nights of one person are not known to be: no columns participant_id and pid")]
    night, person = header.index("participant_id"), header.index("pid")
    return {row[night]: f"pid-{row[person]}" for row in rows[1:] if len(row) > max(night, person)}, []
