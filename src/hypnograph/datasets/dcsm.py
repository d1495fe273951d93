"""Danish Center for Sleep Medicine (DCSM): a folder for each of 255 subjects, in U-Time's own formats.

A folder holds the recording twice, psg.h5 and psg.edf; the first is taken, and the second where it is alone.
"""

from collections.abc import Iterator
from pathlib import Path

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, files_below, paired
from hypnograph.remote_files import ErdaShare

DATASETS = {
    "dcsm": Dataset(
        title="DCSM sleep staging dataset",
        licence="open; its terms are on its page",
        source="https://erda.ku.dk/public/archives/db553715ecbe1f3ac66c1dc569826eef/published-archive.html",
        doi="10.1038/s41746-021-00440-5",
        layout="<tp…>/psg.h5 and <tp…>/hypnogram.ids",
        derivations={
            ChannelKind.EEG: ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1"),
            ChannelKind.EOG: ("E1-M2", "E2-M2"),
        },
        remote=ErdaShare("fUH3xbOXv8", "dcsm_sha256.txt"),
    )
}

_PSG, _TWIN, _SCORING = "psg.h5", "psg.edf", "hypnogram.ids"


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights; a subject is called like the folder, whatever lies above it."""
    found: dict[str, dict[str, Path]] = {_PSG: {}, _TWIN: {}, _SCORING: {}}
    for path in files_below(folder, (".h5", ".hdf5", ".edf", ".ids")):
        what, subject = path.name.lower(), path.parent.name
        if what not in found:
            yield Problem(path, f"not a name of DCSM; a subject's folder holds {_PSG} and {_SCORING}")
        elif (first := found[what].setdefault(subject, path)) is not path:
            yield Problem(path, f"a second {what} of {subject}; {first.relative_to(folder)} is taken")
    psgs, scorings = found[_TWIN] | found[_PSG], found[_SCORING]
    yield from paired(name, psgs, scorings, psg=f"recording ({_PSG})", scoring=f"scoring ({_SCORING})")
