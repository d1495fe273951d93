"""Haaglanden Medisch Centrum (HMC): 151 patients of a sleep clinic, one night each.

SN001.edf is a recording, SN001_sleepscoring.edf its scoring; SN001_sleepscoring.txt holds the same once more and is not
read. Numbers are not consecutive: some recordings were withdrawn.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hypnograph.datasets import Dataset, Night, Problem, files_below, paired
from hypnograph.remote_files import PhysioNet

DATASETS = {
    "hmc": Dataset(
        title="Haaglanden Medisch Centrum sleep staging database",
        licence="CC-BY 4.0",
        source="https://physionet.org/content/hmc-sleep-staging/1.1/",
        doi="10.1371/journal.pone.0256111",
        layout="SN001.edf and SN001_sleepscoring.edf",
        remote=PhysioNet("hmc-sleep-staging/1.1", "recordings", r"^SN\d+(_sleepscoring)?\.edf$"),
    )
}

_NAME = re.compile(r"(SN\d{3})(_SLEEPSCORING)?\.EDF")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights; a subject is called like the recording."""
    psgs: dict[str, Path] = {}
    scorings: dict[str, Path] = {}
    for path in files_below(folder, (".edf", ".rec")):
        match = _NAME.fullmatch(path.name.upper())
        if match is None:
            yield Problem(path, "not a name of HMC, such as SN001.edf or SN001_sleepscoring.edf")
            continue
        first = (scorings if match[2] else psgs).setdefault(match[1], path)
        if first is not path:
            yield Problem(path, f"a second {path.name} of {match[1]}; {first.relative_to(folder)} is taken")
    yield from paired(name, psgs, scorings, psg="recording (.edf)", scoring="scoring (_sleepscoring.edf)")
