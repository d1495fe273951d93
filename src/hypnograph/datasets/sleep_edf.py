"""Sleep-EDF Expanded: the nights at home (SC), with temazepam or placebo (ST), and SC's first 20 subjects.

A name says subject, night and scorer: SC4ssN or ST7ssN, then two letters of which the last is, in the hypnogram's name,
the scorer. Recording and hypnogram share the first six. One recording (SC4362) has data records of 60 s; an epoch has
30 s there, too.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, unmatched
from hypnograph.remote_files import PhysioNet

_DERIVATIONS = {ChannelKind.EEG: ("Fpz-Cz", "Pz-Oz"), ChannelKind.EOG: ("EOG horizontal",)}


def _dataset(title: str, layout: str, remote: PhysioNet, people: str = "") -> Dataset:
    return Dataset(
        title=title,
        licence="ODC-By 1.0",
        source="https://physionet.org/content/sleep-edfx/1.0.0/",
        doi="10.1109/10.867928",
        layout=layout,
        derivations=_DERIVATIONS,
        remote=remote,
        people=people,
    )


_PROJECT = "sleep-edfx/1.0.0"
_SC_LAYOUT = "SC4ssNE0-PSG.edf and SC4ssNEC-Hypnogram.edf (ss subject, N night), in one folder or one for each"

DATASETS = {
    "sleep-edf-sc": _dataset("Sleep-EDF, sleep cassette", _SC_LAYOUT, PhysioNet(_PROJECT, "sleep-cassette")),
    "sleep-edf-st": _dataset(
        "Sleep-EDF, sleep telemetry", _SC_LAYOUT.replace("SC4", "ST7"), PhysioNet(_PROJECT, "sleep-telemetry")
    ),
    "sleep-edf-20": _dataset(
        "Sleep-EDF, sleep cassette, subjects 0 to 19",
        _SC_LAYOUT,
        PhysioNet(_PROJECT, "sleep-cassette", r"SC4[01]\d{2}[A-Z][A-Z0-9]-(PSG|Hypnogram)\.edf"),
        people="sleep-edf-sc",
    ),
}

_SUBJECTS = {"sleep-edf-sc": r"SC4\d\d", "sleep-edf-st": r"ST7\d\d", "sleep-edf-20": r"SC4[01]\d"}
_NAME = re.compile(r"((?:SC4|ST7)\d\d)(\d)[A-Z]([A-Z0-9])-(PSG|HYPNOGRAM)\.EDF")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights of one part of Sleep-EDF; files of its other parts may lie in the same folder."""
    psgs: dict[str, Path] = {}
    scorings: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in files_below(folder, (".edf", ".rec")):
        match = _NAME.fullmatch(path.name.upper())
        if match is None:
            yield Problem(path, "not a name of Sleep-EDF, such as SC4001E0-PSG.edf or SC4001EC-Hypnogram.edf")
            continue
        subject, visit, scorer, what = match.groups()
        if not re.fullmatch(_SUBJECTS[name], subject):
            continue
        first = (
            psgs.setdefault(subject + visit, path)
            if what == "PSG"
            else scorings[subject + visit].setdefault(scorer, path)
        )
        if first is not path:
            yield Problem(path, f"a second {what.lower()} of {subject}{visit}; {first.relative_to(folder)} is taken")
    for key, psg in sorted(psgs.items()):
        if key in scorings:
            by = tuple(Scoring(*pair) for pair in sorted(scorings[key].items()))
            yield Night(dataset=name, id=key, subject=key[:5], psg=psg, scorings=by, visit=key[5:])
    yield from unmatched(psgs, scorings, "hypnogram")
    yield from unmatched({key: next(iter(paths.values())) for key, paths in scorings.items()}, psgs, "recording")
