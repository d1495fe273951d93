"""St Vincent's University Hospital and University College Dublin (ucddb): 25 patients with suspected apnoea.

ucddb002.rec is the recording (an EDF file), ucddb002_stage.txt its scoring by Rechtschaffen and Kales, one code a line.
The codes are like no others: 1 is REM and 2 to 5 are S1 to S4. The Holter recording beside them (_lifecard.edf) has ECG
only and is left alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, paired
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.remote_files import PhysioNet
from hypnograph.stages import Stage

DATASETS = {
    "ucddb": Dataset(
        title="St. Vincent's University Hospital / University College Dublin sleep apnea database",
        licence="ODC-By 1.0",
        source="https://physionet.org/content/ucddb/1.0.0/",
        doi="10.13026/C26C7D",
        layout="ucddb002.rec and ucddb002_stage.txt",
        derivations={ChannelKind.EEG: ("C3-M2", "C4-M1"), ChannelKind.EOG: ("E1", "E2")},
        remote=PhysioNet("ucddb/1.0.0", names=r"^ucddb\d+(\.rec|_stage\.txt)$"),
    )
}

_CODES = {
    "0": Stage.W, "1": Stage.REM, "2": Stage.N1, "3": Stage.N2, "4": Stage.N3, "5": Stage.N3,
    "6": Stage.UNSCORED, "7": Stage.UNSCORED, "8": Stage.UNSCORED,
}  # fmt: skip
_NAME = re.compile(r"(ucddb\d{3})(\.rec|\.edf|_stage\.txt)")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights; a recording may have been renamed to .edf, as many readers want it."""
    psgs: dict[str, Path] = {}
    scorings: dict[str, Path] = {}
    for path in files_below(folder, (".rec", ".edf", "_stage.txt")):
        match = _NAME.fullmatch(path.name.lower())
        if match is None:
            if not path.name.lower().endswith("_lifecard.edf"):
                yield Problem(path, "not a name of ucddb, such as ucddb002.rec or ucddb002_stage.txt")
            continue
        first = (scorings if match[2] == "_stage.txt" else psgs).setdefault(match[1], path)
        if first is not path:
            yield Problem(path, f"a second file for {match[1]}, beside {first.relative_to(folder)}, which is taken")
    yield from paired(name, psgs, scorings, psg="recording (.rec)", scoring="scoring (_stage.txt)")


def read_scoring(night: Night, scoring: Scoring) -> Hypnogram:
    """Read the codes of ucddb; the first epoch begins with the recording."""
    start = night.recording().start
    return read_hypnogram(scoring.path, format="text", stage_map=_CODES, recording_start=start)
