"""Dreem Open Datasets: 25 healthy sleepers (DOD-H) and 55 with apnoea (DOD-O), each night scored by five experts.

A night is an HDF5 file that holds the signals and the consensus of the five. The scorings are in a repository of their
own (Dreem-Organization/dreem-learning-evaluation): scorers/dodh/scorer_1/RECORD.json, a list of integers. Copy or clone
it into the folder. The scorers come first, by number, the consensus last: it decides where scorers are compared, and is
asked for by its name, "consensus".

The scorers' lists are of the whole night; the HDF5 file holds the part that all five scored, without saying where it
begins. So it is looked for where the five agree best with the consensus.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import CONSENSUS, Dataset, Night, Problem, Scoring, files_below, unmatched
from hypnograph.errors import AlignmentError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_bytes
from hypnograph.remote_files import S3Bucket
from hypnograph.stages import Stage

LEAST_AGREEMENT = 0.5
"""Of the five with their consensus. It is above 0.8 on average; two nights at random agree in some 0.3."""


def _dataset(letter: str, sleepers: str, eeg: tuple[str, ...]) -> Dataset:
    return Dataset(
        title=f"Dreem Open Dataset, {sleepers} (DOD-{letter.upper()})",
        licence="open for research; its terms are on its page",
        source=f"https://dreem-dod-{letter}.s3.eu-west-3.amazonaws.com/index.html",
        doi="10.1109/TNSRE.2020.3011181",
        layout=f"RECORD.h5 and scorers/dod{letter}/scorer_1/RECORD.json to scorer_5",
        derivations={ChannelKind.EEG: eeg, ChannelKind.EOG: ("EOG1", "EOG2")},
        remote=S3Bucket(f"https://dreem-dod-{letter}.s3.eu-west-3.amazonaws.com", names=r"\.h5$"),
        elsewhere="the five experts' scorings, without which there is their consensus only: git clone "
        "https://github.com/Dreem-Organization/dreem-learning-evaluation, into the same folder",
    )


_BOTH = ("C3-M2", "F3-F4", "F3-M2", "F4-O2", "F3-O1")
DATASETS = {
    "dod-h": _dataset(
        "h",
        "healthy sleepers",
        (*_BOTH, "F4-M1", "Fp1-F3", "Fp1-M2", "Fp1-O1", "Fp2-F4", "Fp2-M1", "Fp2-O2"),
    ),
    "dod-o": _dataset("o", "sleepers with apnoea", (*_BOTH, "C4-M1", "O1-M2", "O2-M1")),
}

_RECORD = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights; a night whose scorers are not there has its consensus."""
    other = "o" if name == "dod-h" else "h"
    psgs: dict[str, Path] = {}
    scorings: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in files_below(folder, (".h5", ".edf", ".json")):
        if {f"dod{other}", f"dod-{other}", f"dod_{other}"} & set(path.relative_to(folder).parts):
            continue
        record, scorer = path.stem.lower(), re.fullmatch(r"scorer_(\d+)", path.parent.name.lower())
        if path.suffix.lower() == ".json":
            if scorer is None:
                continue
            first = scorings[record].setdefault(scorer[1], path)
        elif path.suffix.lower() == ".h5" and _RECORD.fullmatch(record):
            first = psgs.setdefault(record, path)
        else:
            yield Problem(path, f"not a name of {name}: a record's long code and .h5")
            continue
        if first is not path:
            yield Problem(path, f"a second file for {record}, beside {first.relative_to(folder)}, which is taken")
    for record, psg in sorted(psgs.items()):
        experts = sorted(scorings[record].items(), key=lambda item: int(item[0])) if record in scorings else []
        by = (*(Scoring(*expert) for expert in experts), Scoring(CONSENSUS, psg))
        healthy = "healthy" if name == "dod-h" else ""
        yield Night(dataset=name, id=record, subject=record, psg=psg, scorings=by, disorder=healthy)
    yield from unmatched({key: next(iter(paths.values())) for key, paths in scorings.items()}, psgs, "recording (.h5)")


def read_scoring(night: Night, scoring: Scoring) -> Hypnogram:
    """Read one scorer's stages of the part of the night that was recorded, or the consensus.

    Raises
    ------
    UnreadableFileError
        If the HDF5 file holds no consensus, or a scoring is no list of stages.
    AlignmentError
        If the part of the night cannot be found in the scorers' lists.
    """
    consensus = _read_consensus(night.psg)
    stages = consensus
    if scoring.scorer != CONSENSUS:
        lists = {s.scorer: _read_list(s.path) for s in night.scorings if s.scorer != CONSENSUS}
        first = _first_epoch(night.id, consensus, list(lists.values()))
        stages = lists[scoring.scorer][first : first + len(consensus)]
    return Hypnogram(stages, start=night.recording().start, scorer=scoring.scorer)


def _first_epoch(record: str, consensus: NDArray[np.int8], lists: Sequence[NDArray[np.int8]]) -> int:
    """Return which epoch of the scorers' lists is the first of the consensus: where they agree best."""
    lengths = {len(scored) for scored in lists}
    if len(lengths) > 1 or min(lengths) < len(consensus):
        raise AlignmentError(
            f"{record}: the scorers' lists have {', '.join(map(str, sorted(lengths)))} epochs; they must be equally "
            f"long and have the {len(consensus)} epochs of the recording's consensus; download them again"
        )
    scored = consensus >= 0
    agreements = [
        float(np.mean([part[first : first + len(consensus)][scored] == consensus[scored] for part in lists]))
        for first in range(min(lengths) - len(consensus) + 1)
    ]
    first = int(np.argmax(agreements)) if scored.any() else 0
    if not scored.any() or agreements[first] < LEAST_AGREEMENT:
        raise AlignmentError(
            f"{record}: the scorers agree with the consensus in {max(agreements, default=0.0):.0%} of its epochs at "
            f"best; {LEAST_AGREEMENT:.0%} at least are expected: the lists are of another night"
        )
    return first


def _read_consensus(path: Path) -> NDArray[np.int8]:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            stages = np.asarray(file["hypnogram"]) if "hypnogram" in file else None
    except Exception as error:  # h5py raises half a dozen kinds for a damaged file
        raise UnreadableFileError(f"{path.name}: its hypnogram cannot be read: {error}") from error
    if stages is None:
        raise UnreadableFileError(f"{path.name}: the file has no hypnogram; download it again")
    return _checked(path, stages)


def _read_list(path: Path) -> NDArray[np.int8]:
    data = read_bytes(path)
    try:
        stages = np.asarray(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path.name}: not well-formed JSON: {error}") from error
    return _checked(path, stages)


def _checked(path: Path, stages: NDArray[np.generic]) -> NDArray[np.int8]:
    """Return the stages if they are those of DOD: −1 not scored, 0 W, 1 N1, 2 N2, 3 N3, 4 REM."""
    if stages.ndim != 1 or not stages.size or not np.isin(stages, [int(stage) for stage in Stage]).all():
        raise UnreadableFileError(
            f"{path.name}: a scoring of DOD is a list of integers from -1 to 4: not {stages!r:.60}"
        )
    return stages.astype(np.int8)
