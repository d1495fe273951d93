"""CAP Sleep Database: healthy sleepers and seven disorders, scored by Rechtschaffen and Kales.

Names are a disorder and a number: n1.edf and n1.txt, nfle12.edf and nfle12.txt. A subject has one night.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, unmatched
from hypnograph.remote_files import PhysioNet

DATASETS = {
    "cap": Dataset(
        title="CAP Sleep Database",
        licence="ODC-By 1.0",
        source="https://physionet.org/content/capslpdb/1.0.0/",
        doi="10.1016/S1389-9457(01)00149-6",
        layout="n1.edf and n1.txt, nfle1.edf and nfle1.txt …",
        remote=PhysioNet("capslpdb/1.0.0", names=r"[a-z]+\d+\.(edf|txt)$"),
    )
}

_NAME = re.compile(r"((brux|ins|narco|nfle|plm|rbd|sdb|n)\d+)\.(edf|txt)")


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights; texts with other names are not looked at."""
    found: dict[str, dict[str, Path]] = {"edf": {}, "txt": {}}
    for path in files_below(folder, (".edf", ".rec", ".txt")):
        match = _NAME.fullmatch(path.name.lower())
        if match is None:
            if path.suffix.lower() != ".txt":
                yield Problem(path, "not a name of the CAP Sleep Database, such as n1.edf or nfle12.edf")
            continue
        first = found[match[3]].setdefault(match[1], path)
        if first is not path:
            yield Problem(path, f"a second {path.name.lower()}; {first.relative_to(folder)} is taken")
    psgs, texts = found["edf"], found["txt"]
    for subject in sorted(psgs.keys() & texts.keys()):
        disorder = subject.rstrip("0123456789")
        yield Night(
            dataset=name,
            id=subject,
            subject=subject,
            psg=psgs[subject],
            scorings=(Scoring("", texts[subject]),),
            disorder="healthy" if disorder == "n" else disorder,
        )
    yield from unmatched(psgs, texts, "scoring (.txt)")
    yield from unmatched(texts, psgs, "recording (.edf)")
