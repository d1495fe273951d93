"""A folder of your own: recordings and scorings in any format, a folder for each recording or files side by side.

What lies in a folder with one recording belongs to it; elsewhere names tell: night7.edf has night7.xml, night7_A.txt,
night7-hypnogram.ids. What a scoring's name has beyond that is its scorer ("A").

Without the options, a file is a scoring if its ending says so, or a word of its name such as "hypnogram". Each night is
a subject of its own: give the option ``subject`` where a person slept several nights, or they fall into several parts
of a split.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram_files import hypnogram_suffixes
from hypnograph.signal_files import recording_suffixes
from hypnograph.stages import parse_stage_map

DATASETS = {
    "folder": Dataset(
        title="A folder of recordings and scorings",
        licence="your own",
        source="",
        layout="a folder for each recording and its scoring, or night7.edf beside night7-hypnogram.xml",
        epoch_s=None,
    )
}

SAME = "same"
"""The option `scoring` where each recording has its scoring in its own annotations."""

_SCORING_WORDS = {
    "hypnogram", "hypno", "hyp", "stage", "stages", "staging", "scoring", "scorings", "sleepscoring", "score", "scores",
    "scorer", "annotation", "annotations", "annot", "events", "profusion", "nsrr",
}  # fmt: skip
_RECORDING_WORDS = {"psg", "eeg", "signal", "signals", "recording", "raw"}
# Endings that lists of subjects and notes have, too: only their names can make them scorings.
_COMMON_ENDINGS = (".txt", ".csv", ".tsv", ".json", ".npy")


def scan(
    name: str,
    folder: Path,
    *,
    psg: str = "",
    scoring: str = "",
    subject: str = "",
    id: str = "",
    stage_map: Sequence[str] = (),
    scoring_epoch: str = "",
    people: str = "",
) -> Iterator[Night | Problem]:
    """Yield the nights of a folder.

    Parameters
    ----------
    name, folder
        See `hypnograph.datasets.scan`.
    psg, scoring
        Patterns for paths in the folder, e.g. ``"*/psg.edf"`` and ``"*expert1.txt"``, without regard to case; ``*``
        stands for any text, folders included. Empty: as the docstring of this file says. ``scoring="same"``: the
        scoring is in the file of the recording.
    subject, id
        Regular expressions, searched in a recording's path in the folder without its ending; the first group, or all
        that matches, is the subject and the night's id. Empty: the path itself. A scoring in whose path `id` finds the
        same as in a recording's belongs to it.
    stage_map
        What names of stages mean: ``["Deep=N3", "A=UNSCORED"]``.
    scoring_epoch
        Seconds of an epoch in scorings that are no more than a list of stages. Empty: 30.
    people
        A table (csv or tsv) with the columns ``subject``, and ``family``, ``disorder`` or both. All subjects must be in
        it: of one that is left out, nobody knows whose family it is. Empty: each is a family of their own.

    Raises
    ------
    HypnographError
        If `subject` or `id` is no regular expression, `stage_map` names no stage, `scoring_epoch` is no length, or
        `people` is no such table.
    """
    epoch_s = _seconds(scoring_epoch)
    meanings, known = tuple(parse_stage_map(stage_map).items()), _people(people)
    psgs = _recordings(folder, psg, scoring)
    files = _scorings(folder, scoring, psgs)
    for option, pattern, found in (("psg", psg, psgs), ("scoring", scoring, files)):
        if pattern and not found and pattern != SAME:
            yield Problem(folder, f"no file in it matches the option {option!r}: {pattern!r}")
    by_id = _of_one_id(folder, psgs, files, id)
    rest = [file for file in files if file not in {f for found in by_id.values() for f in found}]
    partners = _partners(folder, psgs, rest, all_certain=bool(scoring))
    partners = {key: [*by_id.get(key, []), *partners.get(key, [])] for key in (*psgs, None)}
    seen: dict[str, Path] = {}
    for path in psgs:
        place = path.relative_to(folder)
        key, person = _found(id, place), _found(subject, place)
        scorings, second = _by_scorer([path] if scoring == SAME else partners.get(path, []), path)
        if key is None or person is None:
            option = "id" if key is None else "subject"
            yield Problem(path, f"the pattern of the option {option!r} does not match {_text(place)!r}")
        elif people and person not in known:
            yield Problem(path, f"subject {person} is not in {Path(people).name}")
        elif not scorings:
            yield Problem(path, "no scoring in its folder or with its name; the option 'scoring' says which it is")
        elif seen.setdefault(key, path) is not path:
            yield Problem(path, f"a second recording of night {key}, beside {seen[key].relative_to(folder)}")
        else:
            night = Night(dataset=name, id=key, subject=person, psg=path, scorings=scorings)
            family, disorder = known.get(person, ("", ""))
            yield replace(night, stage_map=meanings, scoring_epoch_s=epoch_s, family=family, disorder=disorder)
        yield from second
    for file in partners.get(None, []):
        yield Problem(file, "no recording, or more than one, in its folder or with its name")


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise HypnographError(f"an epoch of {text!r} s; give its length in seconds, e.g. 20")
    return seconds


def _people(path: str) -> dict[str, tuple[str, str]]:
    """Return family and disorder of each subject of a table."""
    if not path:
        return {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            delimiter = max(",;\t", key=head.count)
            names = next(csv.reader([head.rstrip("\r\n")], delimiter=delimiter), [])
            columns = [name.strip().lower() for name in names]
            rows = list(csv.DictReader(file, columns, restval="", delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(f"{path}: cannot be read as a table ({error})") from error
    if "subject" not in columns or not {"family", "disorder"} & set(columns):
        raise UnreadableFileError(
            f"{path} has the columns {', '.join(columns)}; it needs subject, and family or disorder"
        )
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        said = (row.get("family", "").strip(), row.get("disorder", "").strip())
        if found.setdefault(row["subject"].strip(), said) != said:
            raise UnreadableFileError(f"{path} says two things of subject {row['subject'].strip()}")
    return found


def _recordings(folder: Path, pattern: str, scoring: str) -> list[Path]:
    if pattern:
        return _matching(folder, pattern)
    found = files_below(folder, recording_suffixes())
    scorings = set(_matching(folder, scoring))
    return [path for path in found if path not in scorings and (scoring or not _words(path) & _SCORING_WORDS)]


def _scorings(folder: Path, pattern: str, psgs: Iterable[Path]) -> list[Path]:
    if pattern == SAME:
        return []
    found = _matching(folder, pattern) if pattern else files_below(folder, hypnogram_suffixes())
    recordings = set(psgs)
    return [path for path in found if path not in recordings]


def _matching(folder: Path, pattern: str) -> list[Path]:
    wanted = pattern.lower()
    return [p for p in files_below(folder, ("",)) if fnmatchcase(p.relative_to(folder).as_posix().lower(), wanted)]


def _words(path: Path) -> set[str]:
    return set(re.split(r"[^a-z]+", path.stem.lower()))


def _bare(path: Path) -> str:
    """Return a name, in lower case, without the words at its end that say what the file is."""
    parts = re.split(r"([-_. ]+)", path.stem.lower())
    while parts and parts[-1] in _SCORING_WORDS | _RECORDING_WORDS:
        parts = parts[:-2]
    return "".join(parts)


_Names = Mapping[str, Sequence[Path]]


def _partners(
    folder: Path, psgs: Sequence[Path], files: Sequence[Path], *, all_certain: bool
) -> Mapping[Path | None, list[Path]]:
    """Return the scorings of each recording, and under None those that belong to none.

    A file that may be something else than a scoring (notes.txt) is left out where no name makes it one.
    """
    everywhere: dict[str, list[Path]] = defaultdict(list)
    beside: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for psg in psgs:
        everywhere[_bare(psg)].append(psg)
        beside[psg.parent][_bare(psg)].append(psg)
    counts = Counter(psg.parent for psg in psgs)
    # The whole folder is nobody's own, unless the recording's name ("psg.edf") could not tell another's.
    owners = {psg.parent: psg for psg in psgs if counts[psg.parent] == 1 and (psg.parent != folder or not _bare(psg))}
    partners: dict[Path | None, list[Path]] = defaultdict(list)
    for file in files:
        certain = all_certain or file.suffix.lower() not in _COMMON_ENDINGS or bool(_words(file) & _SCORING_WORDS)
        owner = owners.get(file.parent) if certain else None
        recording = owner or _namesake(file, beside.get(file.parent, everywhere))
        if recording or certain:
            partners[recording].append(file)
    return partners


def _of_one_id(
    folder: Path, psgs: Sequence[Path], files: Sequence[Path], pattern: str
) -> Mapping[Path | None, list[Path]]:
    """Return the scorings in whose path the pattern of ids finds what it finds in one recording's."""
    if not pattern:
        return {}
    ids: dict[str | None, list[Path]] = defaultdict(list)
    for psg in psgs:
        ids[_found(pattern, psg.relative_to(folder))].append(psg)
    of_one: dict[Path | None, list[Path]] = defaultdict(list)
    for file in files:
        owners = ids.get(_found(pattern, file.relative_to(folder)), [])
        if len(owners) == 1 and file.suffix:
            of_one[owners[0]].append(file)
    return of_one


def _namesake(scoring: Path, psgs: _Names) -> Path | None:
    """Return the recording whose name a scoring's begins with; None where there is none, or more than one."""
    name = _bare(scoring)
    # From its end: night1_v2.txt is night1_v2.edf's before it is night1.edf's, and never night.edf's.
    ends = [end for end in range(len(name), 0, -1) if not name[end : end + 1].isalnum()]
    found: Sequence[Path] = next((psgs[name[:end]] for end in ends if name[:end] in psgs), ())
    return found[0] if len(found) == 1 else None


def _by_scorer(files: Sequence[Path], psg: Path) -> tuple[tuple[Scoring, ...], list[Problem]]:
    """Return one scoring for each scorer, and the files that are too many."""
    by: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by[_scorer(file, psg) if len(files) > 1 or _is_named_after(file, psg) else ""].append(file)
    scorings = tuple(Scoring(scorer, paths[0]) for scorer, paths in sorted(by.items()))
    return scorings, [
        Problem(path, f"a second scoring of {psg.name} by one scorer, beside {paths[0].name}, which is taken")
        for paths in by.values()
        for path in paths[1:]
    ]


def _is_named_after(file: Path, psg: Path) -> bool:
    """Tell whether a scoring's name goes on where the recording's ends; SC4001EC beside SC4001E0 names no scorer."""
    name, stem = _bare(psg), file.stem.lower()
    return bool(name) and file != psg and stem.startswith(name) and not stem[len(name) : len(name) + 1].isalnum()


def _scorer(file: Path, psg: Path) -> str:
    """Return what a scoring's name says beyond that it is one, and of which recording."""
    name = _bare(psg)
    rest = file.stem[len(name) :] if file.stem.lower().startswith(name) else file.stem
    words = _SCORING_WORDS | _RECORDING_WORDS | {"sleep", psg.suffix.lower().removeprefix(".")}
    return "-".join(part for part in re.split(r"[-_. ]+", rest) if part and part.lower() not in words)


def _found(pattern: str, place: Path) -> str | None:
    """Return what a pattern finds in a path without its ending; the path itself where there is no pattern."""
    if not pattern:
        return _name_of(place)
    try:
        match = re.search(pattern, _text(place))
    except re.error as error:
        raise HypnographError(f"the pattern {pattern!r} is not a regular expression: {error}") from error
    return match and str(match.group(1) if match.re.groups else match.group())


def _text(place: Path) -> str:
    return place.with_suffix("").as_posix()


def _name_of(place: Path) -> str:
    """Return folders and file name in one, without what is said twice: s1/psg.edf and s1/s1-PSG.edf are both s1."""
    name, above = place.stem[: len(_bare(place))], place.parts[:-1]
    said = not name or (above and above[-1].lower() == name.lower())
    return "-".join(above if said else (*above, name)) or place.stem
