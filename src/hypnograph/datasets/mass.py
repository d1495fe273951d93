"""Montreal Archive of Sleep Studies (MASS), cohort 1, in its five subsets.

Names are cohort, subset and subject: "01-03-0001 PSG.edf", with the stages in "01-03-0001 Base.edf". SS1 and SS3 are
scored by AASM in epochs of 30 s, the others by Rechtschaffen and Kales in epochs of 20 s. EEG is against linked ears,
computed (CLE) or recorded so (LER); `hypnograph.channel_labels` reads both.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, files_below, paired

_ELECTRODES = (
    *("Fp1", "Fp2", "F7", "F8", "F3", "F4", "T7", "T8", "C3", "C4"),
    *("P7", "P8", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz"),
)
_EYES = ("E1", "E2")


def _subset(number: int) -> Dataset:
    # U-Sleep sampled subsets 1 and 3; 3 has Oz, too.
    electrodes = {1: _ELECTRODES, 3: (*_ELECTRODES, "Oz")}.get(number)
    eeg = tuple(f"{electrode}-M1M2" for electrode in electrodes or ())
    return Dataset(
        title=f"Montreal Archive of Sleep Studies, SS{number}",
        licence="on application to CEAMS, with the approval of an ethics committee",
        source="https://borealisdata.ca/dataverse/MASS",
        doi="10.1111/jsr.12169",
        layout=f"'01-0{number}-0001 PSG.edf' and '01-0{number}-0001 Base.edf'",
        epoch_s=30.0 if number in (1, 3) else 20.0,
        derivations={ChannelKind.EEG: eeg, ChannelKind.EOG: _EYES} if eeg else {},
    )


DATASETS = {f"mass-ss{number}": _subset(number) for number in range(1, 6)}

# Beside PSG and Base there are events: Annotations, Spindles_E1, KComplexes_E1 …
_NAME = re.compile(r"(01-0([1-5])-\d{4})[ _-](.*)\.edf")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights of one subset; files of the other subsets may lie in the same folder."""
    found: dict[str, dict[str, Path]] = {"psg": {}, "base": {}}
    for path in files_below(folder, (".edf", ".rec")):
        match = _NAME.fullmatch(path.name.lower())
        if match is None:
            yield Problem(path, "not a name of MASS, such as '01-03-0001 PSG.edf' or '01-03-0001 Base.edf'")
        elif match[2] == name[-1] and match[3] in found:
            first = found[match[3]].setdefault(match[1], path)
            if first is not path:
                yield Problem(path, f"a second {match[3]} of {match[1]}; {first.relative_to(folder)} is taken")
    psgs, bases = found["psg"], found["base"]
    yield from paired(name, psgs, bases, psg="recording (PSG.edf)", scoring="scoring (Base.edf)")
