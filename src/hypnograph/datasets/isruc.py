"""ISRUC-Sleep: patients (SG1), eight of them twice (SG2), healthy sleepers (SG3); each night scored by two experts.

Files lie as the archives unpack: 7/7.rec (an EDF file) with 7/7_1.txt and 7/7_2.txt by the two experts, and in SG2 a
folder for each session, 7/2/2.rec with 7/2/2_1.txt. A text has one code a line, of which 5 is REM. The recording lasts
some 30 epochs longer than its scorings.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, unmatched

# Amplifier inputs; their numbers differ between recorders, their use does not.
_LABELS = dict(
    zip(
        ("X1", "X2", "X3", "X4", "24", "25", "26", "27"), ("EMG chin", "ECG", "EMG leg 1", "EMG leg 2") * 2, strict=True
    )
)
_LAYOUT = "7/7.rec with 7/7_1.txt and 7/7_2.txt"


def _dataset(title: str, layout: str = _LAYOUT) -> Dataset:
    return Dataset(
        title=f"ISRUC-Sleep, {title}",
        licence="open for research; its terms are on its page",
        source="https://sleeptight.isr.uc.pt/",
        doi="10.1016/j.cmpb.2015.10.013",
        layout=layout,
        labels=_LABELS,
        derivations={
            ChannelKind.EEG: ("F3-M2", "C3-M2", "O1-M2", "F4-M1", "C4-M1", "O2-M1"),
            ChannelKind.EOG: ("E1-M2", "E2-M1"),
        },
    )


DATASETS = {
    "isruc-sg1": _dataset("subgroup 1 (100 patients)"),
    "isruc-sg2": _dataset("subgroup 2 (8 patients, 2 sessions each)", "7/2/2.rec with 7/2/2_1.txt and 7/2/2_2.txt"),
    "isruc-sg3": _dataset("subgroup 3 (10 healthy subjects)"),
}

_NAME = re.compile(r"(\d+)(?:\.(?:rec|edf)|_([12])\.txt)")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights of one subgroup; the others must lie elsewhere, as their files have the same names."""
    psgs: dict[str, Path] = {}
    scorings: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in files_below(folder, (".rec", ".edf", ".mat", ".txt")):
        match = _NAME.fullmatch(path.name.lower())
        key = _key(name, path.relative_to(folder), match[1]) if match else None
        if match is None or key is None:
            if match or path.suffix.lower() != ".txt":
                yield Problem(path, _what_is_wrong(name, path, named=match is not None))
            continue
        first = psgs.setdefault(key, path) if match[2] is None else scorings[key].setdefault(match[2], path)
        if first is not path:
            yield Problem(path, f"a second file for {key}, beside {first.relative_to(folder)}, which is taken")
    for key in sorted(psgs.keys() & scorings.keys(), key=lambda key: [int(part) for part in key.split("-")]):
        subject, _, visit = key.partition("-")
        by = tuple(Scoring(*pair) for pair in sorted(scorings[key].items()))
        healthy = "healthy" if name == "isruc-sg3" else ""
        yield Night(dataset=name, id=key, subject=subject, psg=psgs[key], scorings=by, visit=visit, disorder=healthy)
    yield from unmatched(psgs, scorings, "scoring (_1.txt, _2.txt)")
    yield from unmatched({key: next(iter(paths.values())) for key, paths in scorings.items()}, psgs, "recording")


def _key(name: str, path: Path, number: str) -> str | None:
    """Return the night's id, from the numbered folders above a file and its own number; None where they disagree."""
    above = [part for part in path.parts[:-1] if part.isdigit()]
    if name == "isruc-sg2":
        return f"{above[0]}-{number}" if above[1:] == [number] else None
    return number if above in ([], [number]) else None


def _what_is_wrong(name: str, path: Path, *, named: bool) -> str:
    if path.suffix.lower() == ".mat":
        return "an extract of ISRUC for MATLAB, without the times and the labels; use the .rec file of the same night"
    if named:
        return f"not where {name} has its files: {DATASETS[name].layout}"
    return f"not a name of {name}: {DATASETS[name].layout}"
