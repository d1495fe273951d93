"""PhysioNet Challenge 2018 ("You snooze, you win"): 994 scored nights of Massachusetts General Hospital.

A folder for each record: tr03-0005.hea and .mat are the recording (WFDB), tr03-0005.arousal its annotations, with the
stages. `ut fetch` of U-Time leaves tr03-0005-HYP.ids and tr03-0005.arousal.st in their place. Records that begin with
te are the test set of the challenge; their scorings were never published, so they are passed over.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, unmatched
from hypnograph.remote_files import PhysioNet

DATASETS = {
    "physionet-2018": Dataset(
        title="PhysioNet/CinC Challenge 2018, training set",
        licence="ODC-By 1.0",
        source="https://physionet.org/content/challenge-2018/1.0.0/",
        doi="10.22489/CinC.2018.049",
        layout="tr03-0005/tr03-0005.hea, .mat and .arousal",
        derivations={
            ChannelKind.EEG: ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1"),
            ChannelKind.EOG: ("E1-M2",),
        },
        remote=PhysioNet("challenge-2018/1.0.0", "training", r"^tr\d\d-\d{4}\.(hea|mat|arousal)$"),
    )
}

_NAME = re.compile(r"(t[re]\d\d-\d{4})(\.hea|\.arousal|\.arousal\.st|-hyp\.ids)")
_SCORINGS = (".arousal", ".arousal.st", "-hyp.ids")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights; of two files with the same scoring the challenge's own is taken."""
    found: dict[str, dict[str, Path]] = {ending: {} for ending in (".hea", *_SCORINGS)}
    for path in files_below(folder, (".hea", ".edf", ".h5", *_SCORINGS)):
        match = _NAME.fullmatch(path.name.lower())
        if match is None:
            yield Problem(
                path, "not a name of the PhysioNet Challenge 2018, such as tr03-0005.hea or tr03-0005.arousal"
            )
        elif match[1].startswith("tr"):
            first = found[match[2]].setdefault(match[1], path)
            if first is not path:
                yield Problem(path, f"a second {match[2]} of {match[1]}; {first.relative_to(folder)} is taken")
    psgs = found[".hea"]
    scorings = found["-hyp.ids"] | found[".arousal.st"] | found[".arousal"]
    for subject in sorted(psgs.keys() & scorings.keys()):
        psg, scoring = psgs[subject], Scoring("", scorings[subject])
        if psg.with_suffix(".mat").is_file():
            yield Night(dataset=name, id=subject, subject=subject, psg=psg, scorings=(scoring,))
        else:
            yield Problem(psg, f"its signals, {psg.with_suffix('.mat').name}, are missing; put them beside the header")
    yield from unmatched(psgs, scorings, "scoring (.arousal)")
    yield from unmatched(scorings, psgs, "recording (.hea)")
