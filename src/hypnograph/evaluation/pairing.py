"""Which predicted scoring belongs to which reference: files by their names, epochs by their start times.

Files are never paired by their position in a sorted list: one missing night would compare every later night with a
stranger's.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import check_comparable, starts_differ
from hypnograph.evaluation.tables import NightPair
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.stages import Stage, StageScheme

# Parts at the end of a file name that tell what the file is, not whose night it is.
_ROLE = re.compile(
    r"[-_. ](hypnogram|hypno|psg|stag(?:e|es|ing)|scoring|scores?|sleepscoring|annotations?|annot|events|profusion|nsrr"
    r"|reference|predicted|predictions?|pred|true|hypnograph|yasa)$",
    re.IGNORECASE,
)
_SIGNALS = re.compile(r"[-_. ](psg|eeg|signals?)$", re.IGNORECASE)
# Sleep-EDF: SC4ssN… and ST7ssN…, subject ss, night N; what follows differs between PSG and scoring.
_SLEEP_EDF = re.compile(r"^((?:SC4|ST7)\d\d)\d(?=[A-Z]|\b|_)", re.IGNORECASE)
_BIDS = re.compile(r"(?:^|[_/])(sub-[A-Za-z0-9]+)")


@dataclass(frozen=True)
class PairedFiles:
    """Two files of one night; `name` is what both names have in common."""

    name: str
    reference: Path
    predicted: Path


@dataclass(frozen=True)
class Pairing:
    """The pairs of two folders, and the files of either that found no partner."""

    pairs: tuple[PairedFiles, ...]
    unpaired_reference: tuple[Path, ...]
    unpaired_predicted: tuple[Path, ...]


def pair_files(reference_folder: str | Path, predicted_folder: str | Path, *, suffixes: Iterable[str]) -> Pairing:
    """Pair the scorings of two folders (and the folders in them) by file name.

    In this order, each rule for what is still alone on both sides: the same name without its ending; the same name
    without parts such as ``-Hypnogram``, ``-PSG``, ``_stages``; the same Sleep-EDF night (SC4ssN, ST7ssN); one name
    begins with the other, followed by something that is neither letter nor digit. A rule that finds several candidates
    for a file leaves it alone. Of files that differ in their endings only, the first of `suffixes` counts.

    Parameters
    ----------
    reference_folder, predicted_folder
        Folders.
    suffixes
        File endings of scorings, lower case, in order of preference.

    Raises
    ------
    HypnographError
        If no file finds a partner; the message names some of both sides.
    """
    sides = [_scorings(Path(folder), list(suffixes)) for folder in (reference_folder, predicted_folder)]
    found: list[tuple[Path, Path]] = []
    for key in (lambda path: path.stem.lower(), _bare_stem, _sleep_edf_night):
        _pair_by_key(sides, key, found)
    _pair_by_prefix(sides, found)
    if not found:
        names = [", ".join(path.name for path in side[:3]) or "no scoring" for side in sides]
        raise HypnographError(
            f"no file of {reference_folder} ({names[0]} …) has the name of one of {predicted_folder} ({names[1]} …); "
            f"give both scorings of a night the same name"
        )
    pairs = sorted((PairedFiles(common_name(a, b), a, b) for a, b in found), key=lambda pair: pair.name)
    return Pairing(tuple(pairs), tuple(sides[0]), tuple(sides[1]))


def read_night(
    files: PairedFiles,
    *,
    scheme: StageScheme | None = None,
    stage_map: Mapping[str, Stage] | None = None,
    subject_pattern: str | None = None,
    crop_to_shorter: bool = False,
) -> tuple[NightPair, str]:
    """Read two scorings of one night and bring them to one scheme and one grid.

    Parameters
    ----------
    files
        The two files.
    scheme
        Merge both into this scheme; None: as in the files.
    stage_map
        Additions to the vocabulary of stage names.
    subject_pattern, crop_to_shorter
        See `subject_of` and `align_predicted`.

    Returns
    -------
    night
    note
        What was done to align them; empty where nothing was.

    Raises
    ------
    HypnographError
        If a file cannot be read, or the two do not fit together; the message names the night.
    """
    reference, predicted = (read_hypnogram(path, stage_map=stage_map) for path in (files.reference, files.predicted))
    try:
        if scheme is not None:
            reference, predicted = reference.merge(scheme), predicted.merge(scheme)
        reference, predicted, note = align_predicted(reference, predicted, crop_to_shorter=crop_to_shorter)
        check_comparable(reference, predicted)
    except HypnographError as error:
        raise type(error)(f"{files.reference.name} and {files.predicted.name}: {error}") from error
    return NightPair(files.name, subject_of(files.name, subject_pattern), reference, predicted), note


def subject_of(name: str, pattern: str | None = None) -> str:
    """Return the subject to whom a night with this file name belongs.

    Parameters
    ----------
    name
        File name without its ending.
    pattern
        Regular expression, searched in `name`: its first group, or all that it matches, is the subject. None: SC4ss or
        ST7ss of a Sleep-EDF name, ``sub-…`` of a BIDS name, else the whole name.

    Raises
    ------
    HypnographError
        If the pattern is no regular expression, or does not match.
    """
    if pattern is None:
        known = _SLEEP_EDF.search(name) or _BIDS.search(name)
        return known.group(1) if known else name
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise HypnographError(f"--subject-pattern {pattern!r} is not a regular expression: {error}") from error
    if not match:
        raise HypnographError(f"--subject-pattern {pattern!r} does not match {name!r}; every night needs a subject")
    return str(match.group(1) if match.re.groups else match.group())


def _scorings(folder: Path, suffixes: list[str]) -> list[Path]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]
    best: dict[Path, Path] = {}
    for path in sorted(files, key=lambda path: suffixes.index(path.suffix.lower())):
        best.setdefault(path.with_suffix(""), path)
    # A folder may hold the recordings too (SC4001E0-PSG.edf beside SC4001EC-Hypnogram.edf).
    return sorted(path for path in best.values() if not _SIGNALS.search(path.stem)) or sorted(best.values())


def _bare_stem(path: Path) -> str:
    stem = path.stem
    while (shorter := _ROLE.sub("", stem)) and shorter != stem:
        stem = shorter
    return stem.lower()


def _sleep_edf_night(path: Path) -> str:
    match = _SLEEP_EDF.search(path.stem)
    return match.group().lower() if match else ""


def _pair_by_key(sides: list[list[Path]], key: Callable[[Path], str], found: list[tuple[Path, Path]]) -> None:
    groups: list[dict[str, list[Path]]] = [defaultdict(list), defaultdict(list)]
    for side, group in zip(sides, groups, strict=True):
        for path in side:
            group[key(path)].append(path)
    for name, references in groups[0].items():
        predicted = groups[1].get(name, [])
        if name and len(references) == len(predicted) == 1:
            _take(sides, references[0], predicted[0], found)


def _pair_by_prefix(sides: list[list[Path]], found: list[tuple[Path, Path]]) -> None:
    candidates = [
        (reference, predicted)
        for reference in sides[0]
        for predicted in sides[1]
        if _begins_with(_bare_stem(reference), _bare_stem(predicted))
    ]
    for reference, predicted in candidates:
        if sum(reference == r for r, _ in candidates) == sum(predicted == p for _, p in candidates) == 1:
            _take(sides, reference, predicted, found)


def _begins_with(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    # night1 is not the beginning of night10, but it is of night1_v2.
    return long.startswith(short) and not long[len(short) : len(short) + 1].isalnum()


def _take(sides: list[list[Path]], reference: Path, predicted: Path, found: list[tuple[Path, Path]]) -> None:
    sides[0].remove(reference)
    sides[1].remove(predicted)
    found.append((reference, predicted))


def common_name(reference: Path, predicted: Path) -> str:
    """Return what the names of two files of one night have in common, without their roles."""
    night = _SLEEP_EDF.search(reference.stem)
    if night and _sleep_edf_night(reference) == _sleep_edf_night(predicted):
        return night.group()
    bare = [path.stem[: len(_bare_stem(path))] for path in (reference, predicted)]
    return min(bare, key=len)


def align_predicted(reference: Hypnogram, predicted: Hypnogram, *, crop_to_shorter: bool = False) -> tuple[
    Hypnogram, Hypnogram, str]:  # fmt: skip
    """Bring a predicted hypnogram to the grid of its reference.

    By start times where both are known (`Hypnogram.align`). Where one is unknown: as they are if they are equally long;
    else the longer one loses what it has too much, if that is unscored, at its end or else at its beginning; else, if
    `crop_to_shorter`, its end.

    Returns
    -------
    reference, predicted
        On one grid.
    note
        What was done, in words for the user; empty where nothing was.

    Raises
    ------
    AlignmentError
        If they do not overlap, or differ in length and nothing tells which epochs belong together.
    """
    if reference.start is not None and predicted.start is not None:
        aligned = predicted.align(reference.start, reference.n_epochs, reference.epoch_s)
        same_grid = (predicted.n_epochs, predicted.epoch_s) == (reference.n_epochs, reference.epoch_s)
        moved = not same_grid or starts_differ(reference, predicted)
        return reference, aligned, "aligned by start times" if moved else ""
    if predicted.epoch_s != reference.epoch_s and abs(predicted.duration_s - reference.duration_s) < reference.epoch_s:
        resampled = predicted.resample(reference.epoch_s, n_epochs=reference.n_epochs)
        return reference, resampled, f"predicted epochs of {predicted.epoch_s:g} s brought to {reference.epoch_s:g} s"
    if predicted.epoch_s != reference.epoch_s:
        check_comparable(reference, predicted)
    n_epochs = min(reference.n_epochs, predicted.n_epochs)
    reference, reference_note = _shorten(reference, n_epochs, "reference", crop=crop_to_shorter)
    predicted, predicted_note = _shorten(predicted, n_epochs, "predicted", crop=crop_to_shorter)
    # Either start may be the known one; the common grid has it.
    start = reference.start or predicted.start
    return replace(reference, start=start), replace(predicted, start=start), reference_note or predicted_note


def _shorten(hypnogram: Hypnogram, n_epochs: int, who: str, *, crop: bool) -> tuple[Hypnogram, str]:
    excess = hypnogram.n_epochs - n_epochs
    if not excess:
        return hypnogram, ""
    if not hypnogram.scored[n_epochs:].any():
        return hypnogram.crop(0, n_epochs), f"left out the last {excess} epochs of the {who} hypnogram, all unscored"
    if not hypnogram.scored[:excess].any():
        cropped = hypnogram.crop(excess, hypnogram.n_epochs)
        return cropped, f"left out the first {excess} epochs of the {who} hypnogram, all unscored"
    if crop:
        return hypnogram.crop(0, n_epochs), f"left out the last {excess} epochs of the {who} hypnogram to match lengths"
    return hypnogram, ""
