"""Files of several scorers: which belong to one night, and how they come to lie on one grid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import check_comparable
from hypnograph.evaluation.consensus import ScoredNight
from hypnograph.evaluation.pairing import align_predicted, common_name, pair_files, subject_of
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.stages import Stage, StageScheme


class ScoredFiles(NamedTuple):
    """The files of one night, by the name of who scored or predicted."""

    name: str
    scorings: Mapping[str, Path]
    predicted: Mapping[str, Path]


def gather(
    references: Sequence[Path], predicted: Sequence[Path] = (), *, suffixes: Iterable[str]
) -> tuple[list[ScoredFiles], list[str]]:
    """Find the nights that all have scored, by file name (`pairing.pair_files`).

    Parameters
    ----------
    references, predicted
        All files, which are then of one night, or all folders.
    suffixes
        File endings of scorings, in order of preference.

    Returns
    -------
    nights
        In the order of their names; scorers are named after their folder or file.
    notes
        What was left out, in words for the user.

    Raises
    ------
    HypnographError
        If files and folders are mixed, one is given twice, or no night is in all.
    """
    paths = [*references, *predicted]
    names = _names(paths)
    if len({path.is_dir() for path in paths}) > 1:
        raise HypnographError("some are files and some are folders; give all scorings as files, or all as folders")
    if not paths[0].is_dir():
        found = [dict(zip(names, paths, strict=True))]
        lone: set[Path] = set()
    else:
        found, lone = _same_nights(dict(zip(names, paths, strict=True)), list(suffixes))
    nights = [
        ScoredFiles(
            min((common_name(files[names[0]], path) for path in files.values()), key=len),
            {name: files[name] for name in names[: len(references)]},
            {name: files[name] for name in names[len(references) :]},
        )
        for files in found
    ]
    left_out = sorted({path.name for path in lone})
    notes = [f"{len(left_out)} scorings are not in every folder: {', '.join(left_out)}"] if left_out else []
    return sorted(nights, key=lambda night: night.name), notes


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell the paths apart: of the files, of their folders, with endings, or both."""
    whole = [path.resolve() for path in paths]
    if len(set(whole)) < len(whole):
        twice = next(path for i, path in enumerate(whole) if whole.index(path) != i)
        raise HypnographError(f"{twice} is given twice; give the scoring of each scorer once")
    own = [path.name if path.is_dir() else path.stem for path in whole]
    folders = [path.parent.name for path in whole]
    files = [path.name for path in whole]
    both = [f"{folder}/{name}" for folder, name in zip(folders, files, strict=True)]
    candidates = (own, folders, files, both)
    return next((names for names in candidates if len(set(names)) == len(names)), list(map(str, whole)))


def _same_nights(folders: Mapping[str, Path], suffixes: list[str]) -> tuple[list[dict[str, Path]], set[Path]]:
    first, *others = folders
    found: dict[Path, dict[str, Path]] = {}
    lone: set[Path] = set()
    for other in others:
        pairing = pair_files(folders[first], folders[other], suffixes=suffixes)
        lone |= {*pairing.unpaired_reference, *pairing.unpaired_predicted}
        for pair in pairing.pairs:
            found.setdefault(pair.reference, {first: pair.reference})[other] = pair.predicted
    whole = [files for files in found.values() if len(files) == len(folders)]
    if not whole:
        raise HypnographError(f"no night is in all {len(folders)} folders; give its files the same name in each")
    return whole, lone


def read_scored_night(
    files: ScoredFiles,
    *,
    scheme: StageScheme | None = None,
    stage_map: Mapping[str, Stage] | None = None,
    subject_pattern: str | None = None,
    crop_to_shorter: bool = False,
) -> tuple[ScoredNight, list[str]]:
    """Read all scorings of one night and bring them to the grid of the first.

    Parameters
    ----------
    files
        Of the night.
    scheme, stage_map, subject_pattern, crop_to_shorter
        As in `pairing.read_night`.

    Returns
    -------
    night
    notes
        What was done to align them.

    Raises
    ------
    HypnographError
        If a file cannot be read, or the scorings do not fit together; the message names the file.
    """
    read = {}
    for name, path in {**files.scorings, **files.predicted}.items():
        hypnogram = replace(read_hypnogram(path, stage_map=stage_map), scorer=name)
        read[name] = hypnogram if scheme is None else hypnogram.merge(scheme)
    aligned, notes = on_one_grid(read, crop_to_shorter=crop_to_shorter)
    night = ScoredNight(
        files.name,
        subject_of(files.name, subject_pattern),
        {name: aligned[name] for name in files.scorings},
        {name: aligned[name] for name in files.predicted},
    )
    return night, [f"{files.name}: {note}" for note in notes]


def on_one_grid(
    scorings: Mapping[str, Hypnogram], *, crop_to_shorter: bool = False
) -> tuple[dict[str, Hypnogram], list[str]]:
    """Bring scorings of one night to the grid of the first, as `pairing.align_predicted` does for two.

    Returns
    -------
    scorings
        By name, all on one grid.
    notes
        What was done, by scorer.

    Raises
    ------
    HypnographError
        If they do not fit together; the message names the scorer.
    """
    first, *others = scorings
    grid = scorings[first]
    aligned, notes = {first: grid}, []
    for name in others:
        before = grid
        try:
            grid, aligned[name], note = align_predicted(grid, scorings[name], crop_to_shorter=crop_to_shorter)
            check_comparable(grid, aligned[name])
        except HypnographError as error:
            raise type(error)(f"{first} and {name}: {error}") from error
        notes += [f"{name}: {note}"] if note else []
        n = grid.n_epochs
        # The reference was cut: at its end, or else at its beginning.
        cut = 0 if np.array_equal(grid.stages, before.stages[:n]) else before.n_epochs - n
        aligned |= {other: h.crop(cut, cut + n) for other, h in aligned.items() if h.n_epochs > n}
    return {name: replace(hypnogram, start=grid.start) for name, hypnogram in aligned.items()}, notes
