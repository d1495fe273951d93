"""Nights to fit stage language models on: files of scorings, folders of them, or a corpus with a night on each line."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.evaluation.pairing import subject_of
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import hypnogram_suffixes, read_hypnogram
from hypnograph.stages import AASM_5, Stage, StageScheme

CORPUS_SUFFIX = ".jsonl"
RECORDING_SUFFIXES = (".edf", ".bdf", ".rec")
"""Of files that may hold a recording, a scoring, or both."""
EPOCH_S = 30.0


class TrainingNight(NamedTuple):
    """The stages of one night, and whose they are.

    Parameters
    ----------
    dataset
        What the night is part of: nights are evaluated by dataset.
    subject
        Whose night: subjects are what is held out.
    stages : int8 array, shape (n_epochs,)
        Indices into the labels of the scheme; −1 is unscored.
    name
        Of the file or the recording.
    """

    dataset: str
    subject: str
    stages: NDArray[np.int8]
    name: str = ""

    @property
    def person(self) -> tuple[str, str]:
        """The subject, told from one of the same name in another dataset."""
        return self.dataset, self.subject


def read_nights(
    places: Iterable[str | Path],
    *,
    scheme: StageScheme = AASM_5,
    stage_map: Mapping[str, Stage] | None = None,
    subject_pattern: str | None = None,
) -> list[TrainingNight]:
    """Read nights from files and folders.

    Parameters
    ----------
    places
        Scorings of any known format, corpora (``.jsonl``: a night on each line, with ``dataset``, ``subject``,
        ``record`` and ``stages``), or folders of either. The dataset of a scoring is the name of its folder.
    scheme
        Finer scorings are merged into it.
    stage_map
        Additions to the vocabulary of stage names.
    subject_pattern
        A regular expression that finds the subject in a file's name; None: as `hypnograph evaluate` does.

    Raises
    ------
    HypnographError
        If there is no night, one has epochs that do not last 30 s, or stages that are not of the scheme.
    UnreadableFileError
        If a file is damaged or of no known format.
    """
    nights: list[TrainingNight] = []
    places = [Path(place) for place in places]
    corpora = [path for path in _files(places, [CORPUS_SUFFIX]) if path.suffix.lower() == CORPUS_SUFFIX]
    for path in corpora:
        nights += read_corpus(path, scheme=scheme)
    for path, hypnogram in read_scorings([place for place in places if place not in corpora], stage_map=stage_map):
        subject = subject_of(path.stem, subject_pattern)
        stages = hypnogram.merge(scheme).stages
        nights.append(TrainingNight(path.resolve().parent.name, subject, stages, path.name))
    if not nights:
        raise HypnographError(
            f"no night in {', '.join(map(str, places))}; give scorings, {CORPUS_SUFFIX} files, or folders of them"
        )
    return nights


def read_scorings(
    places: Iterable[str | Path], *, stage_map: Mapping[str, Stage] | None = None
) -> Iterator[tuple[Path, Hypnogram]]:
    """Yield the scorings of files and folders, with their paths.

    Of the EDF files of a folder those without a scoring are passed over: they are recordings.

    Raises
    ------
    HypnographError
        If a scoring has epochs that do not last 30 s.
    UnreadableFileError
        If a file is damaged or of no known format.
    """
    places = [Path(place) for place in places]
    for path in _files(places, hypnogram_suffixes()):
        try:
            hypnogram = read_hypnogram(path, stage_map=stage_map)
        except UnreadableFileError:
            if path.suffix.lower() in RECORDING_SUFFIXES and path not in places:
                continue
            raise
        if hypnogram.epoch_s != EPOCH_S:
            raise HypnographError(
                f"{path}: epochs last {hypnogram.epoch_s:g} s; a stage language model is of epochs of {EPOCH_S:g} s"
            )
        yield path, hypnogram


def read_corpus(path: str | Path, *, scheme: StageScheme = AASM_5) -> list[TrainingNight]:
    """Read a file with one night on each line: JSON with ``dataset``, ``subject``, ``record`` and AASM ``stages``.

    Without ``dataset`` it is the name of the file, without ``subject`` the record is the subject.

    Raises
    ------
    UnreadableFileError
        If a line is no such night; the message has its number.
    """
    path = Path(path)
    # The last entry serves index −1: unscored stays unscored.
    merged = np.append(AASM_5.mapping_to(scheme), np.int8(Stage.UNSCORED))
    nights = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            stages = _stages(row["stages"])
            name = str(row.get("record", f"line {number}"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableFileError(f"{path.name}, line {number}: no night of a corpus: {error!r}") from error
        dataset, subject = str(row.get("dataset", path.stem)), str(row.get("subject", name))
        nights.append(TrainingNight(dataset, subject, merged[stages], name))
    return nights


def scored_runs(stages: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Return the stretches of scored epochs between unscored ones, in order of time."""
    runs = np.split(stages, np.flatnonzero(np.diff(stages >= 0)) + 1)
    return [run.astype(np.intp) for run in runs if run.size and run[0] >= 0]


def subject_folds(nights: Sequence[TrainingNight], n_folds: int, seed: int = 0) -> NDArray[np.intp]:
    """Return the fold of each night; all nights of a person are in one, and the folds have about as many people."""
    people = list(dict.fromkeys(night.person for night in nights))
    drawn = np.random.default_rng(seed).permutation(len(people)) % min(n_folds, len(people))
    fold_of = dict(zip(people, drawn.tolist(), strict=True))
    return np.array([fold_of[night.person] for night in nights], dtype=np.intp)


def _files(places: Iterable[str | Path], suffixes: Iterable[str]) -> list[Path]:
    """Return the files given, and those of the folders given whose names end so."""
    found: list[Path] = []
    for place in map(Path, places):
        inside = (path for path in place.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
        found += sorted(inside) if place.is_dir() else [place]
    return found


def _stages(values: Any) -> NDArray[np.int8]:
    stages = np.asarray(values)
    if stages.ndim != 1 or not stages.size or stages.dtype.kind not in "iu":
        raise ValueError("stages are not a list of integers")
    if stages.min() < Stage.UNSCORED or stages.max() >= AASM_5.n_stages:
        raise ValueError(f"stages are {stages.min()} to {stages.max()}, not −1 to {AASM_5.n_stages - 1}")
    return stages.astype(np.int8)
