"""Staged nights of a dataset as files: what a network said, what people said, and a table that tells whose nights.

A folder of predictions holds ``nights.csv`` (a row for each night, see `PredictedNight`), ``predicted/`` (stages and
probabilities, hypnograph's JSON), ``reference/`` (one scoring for each night), ``made-by.json`` (whose predictions they
are, so that those of two networks are never mixed), and, where asked for, ``combinations/NAME/`` (what each channel
combination said). `hypnograph evaluate` takes the two folders, too.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import numpy as np

from hypnograph.datasets import Night
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.evaluation.tables import Evaluation, NightPair, evaluate_nights
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram, write_hypnogram
from hypnograph.network import Network
from hypnograph.stages import AASM_5
from hypnograph.training.augmentation import Augmentation
from hypnograph.training.batches import stage_targets
from hypnograph.training.prediction import Prediction, check_spec, predict_night
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.run_folder import RECIPE
from hypnograph.training.store import Store
from hypnograph.whole_file import whole_file

NIGHTS: Final = "nights.csv"
MADE_BY: Final = "made-by.json"
PREDICTED: Final = "predicted"
REFERENCE: Final = "reference"
COMBINATIONS: Final = "combinations"


class PredictedNight(NamedTuple):
    """A row of ``nights.csv``; `simulated` is ``"yes"`` where nobody slept the night, `sha256` of what was staged."""

    dataset: str
    night: str
    subject: str
    file: str
    simulated: str = ""
    sha256: str = ""

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.night}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How nights are staged.

    Parameters
    ----------
    most
        Channel combinations at most; None: all.
    augmentations, n_augmented
        Test-time augmentation; see `predict_night`.
    context
        Epochs that are augmented together; None: the whole night.
    targets
        Which scoring is the reference: ``"first"`` or ``"majority"``.
    each
        Write what each combination said, too.
    seed
        Of the augmentations.
    """

    most: int | None = None
    augmentations: Sequence[Augmentation] = ()
    n_augmented: int = 0
    context: int | None = None
    targets: str = "first"
    each: bool = False
    seed: int = 0


def predict(
    network: Network,
    store: Store,
    subjects: Iterable[str] | None,
    folder: str | Path,
    *,
    options: Options | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[PredictedNight]:
    """Stage the nights of some subjects, and yield each when its files are written.

    Parameters
    ----------
    network
        What stages.
    store
        Nights that were prepared as the network wants them.
    subjects
        ``"dataset/subject"``, e.g. the test part of a split; None: all.
    folder
        Where to.
    options
        How.
    resume
        Leave nights out whose files are there.
    overwrite
        Remove the predictions that are there.

    Raises
    ------
    HypnographError
        If the nights were prepared for another network, none is left, or predictions are there and neither `resume`
        nor `overwrite` is set, or `resume` is set and they are of another network, other options or other nights.
    """
    options, folder = options or Options(), Path(folder)
    check_spec(network, store.spec)
    nights = store.select(subjects=subjects).nights
    if not nights:
        raise HypnographError("there are no nights to stage")
    rows = [
        PredictedNight(night.dataset, night.id, night.person, file_name(night), yes(night.is_simulated), night.sha256)
        for night in nights
    ]
    _begin(folder, rows, _made_by(network, options), resume=resume, overwrite=overwrite)
    for night, row in zip(nights, rows, strict=True):
        path = folder / PREDICTED / row.file
        if not (resume and path.exists()):
            _write(predict_night_with(network, night, options), night, row, folder, options)
        yield row


def yes(is_so: bool) -> str:
    """Return a fact as ``nights.csv`` has it."""
    return "yes" if is_so else ""


def _made_by(network: Network, options: Options) -> dict[str, Any]:
    """Return what decides what a network says of a night, and where its weights are from."""
    return {
        "network": network.info.title,
        "weights_sha256": network.sha256,
        "resolution_s": network.info.resolution_s,
        **_said(options),
    }


def _said(options: Options) -> dict[str, Any]:
    return {
        "combinations": options.most,
        "each": options.each,
        "reference": options.targets,
        "n_augmented": options.n_augmented,
        "context": options.context,
        "seed": options.seed if options.n_augmented else None,
    }


def differences(folder: Path, options: Options) -> str:
    """Return how the predictions of a folder, if there are any, were made otherwise than some options say."""
    path = folder / MADE_BY
    if not path.exists():
        return ""
    return "; ".join(_different(json.loads(path.read_text(encoding="utf-8")), _said(options)))


def _different(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return [f"{key} {known.get(key)!r}, now {value!r}" for key, value in asked.items() if known.get(key) != value]


def _begin(
    folder: Path, rows: Sequence[PredictedNight], made_by: dict[str, Any], *, resume: bool, overwrite: bool
) -> None:
    """See that no predictions are lost or mixed, and write whose nights are staged by what."""
    if (folder / NIGHTS).exists():
        if not (resume or overwrite):
            raise HypnographError(f"{folder} holds predictions: --resume goes on with them, --overwrite replaces them")
        if overwrite:
            _remove(folder)
        else:
            _check_same(folder, rows, made_by)
    with whole_file(folder / MADE_BY) as path:
        path.write_text(json.dumps(made_by, indent=1) + "\n", encoding="utf-8")
    write_rows(rows, folder)


def _remove(folder: Path) -> None:
    """Remove the predictions of the nights of a folder; files that are not of them stay."""
    for row in read_rows(folder):
        for place in (folder / PREDICTED, folder / REFERENCE, *(folder / COMBINATIONS).glob("*")):
            (place / row.file).unlink(missing_ok=True)


def _check_same(folder: Path, rows: Sequence[PredictedNight], made_by: dict[str, Any]) -> None:
    path = folder / MADE_BY
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if different := _different(known, made_by):
        raise HypnographError(
            f"{folder} holds other predictions ({'; '.join(different)}); choose another folder, or --overwrite"
        )
    asked = {row.key: row for row in rows}
    if others := [row.key for row in read_rows(folder) if row.key not in asked]:
        raise HypnographError(
            f"{folder} holds predictions of {len(others)} nights that are not asked for now, e.g. {others[0]}; choose "
            "another folder, or --overwrite"
        )
    if changed := changed_nights(folder, {key: row.sha256 for key, row in asked.items()}):
        raise HypnographError(
            f"{changed[0]} was prepared anew since {folder} was written; --overwrite, or choose another folder"
        )


def changed_nights(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Return the staged nights of a folder that are other ones now, by their hashes."""
    rows = read_rows(folder) if (folder / NIGHTS).exists() else []
    return [row.key for row in rows if row.sha256 and hashes.get(row.key, row.sha256) != row.sha256]


def predict_night_with(network: Network, night: PreparedNight, options: Options) -> Prediction:
    """Stage one night; see `predict_night`."""
    return predict_night(
        network,
        night,
        most=options.most,
        augmentations=options.augmentations,
        n_augmented=options.n_augmented,
        context=options.context,
        seed=options.seed,
    )


def file_name(night: Night | PreparedNight) -> str:
    """Return the name of a night's files; no two nights have the same."""
    return quote(f"{night.dataset}~{night.id}", safe=" ") + ".json"


def combination_folder(folder: Path, name: str) -> Path:
    """Return where the predictions of a channel combination lie."""
    return folder / COMBINATIONS / quote(name, safe=" +()")


def reference_of(night: PreparedNight, targets: str, epoch_s: float) -> Hypnogram | None:
    """Return the scoring that a night is compared with; None where nobody scored it."""
    if not night.scorers:
        return None
    how = "first" if targets == "first" else "majority"
    stages = stage_targets(night.stages, how, AASM_5.n_stages).astype(np.int8)
    scorer = night.scorers[0] if how == "first" else "majority"
    return Hypnogram(stages, epoch_s, scorer=scorer)


def _write(prediction: Prediction, night: PreparedNight, row: PredictedNight, folder: Path, options: Options) -> None:
    """Write the files of a night; the vote last, since `resume` looks for it."""
    reference = reference_of(night, options.targets, night.epoch_s)
    if reference is not None:
        write_hypnogram(reference, folder / REFERENCE / row.file, overwrite=True)
    for name, density in prediction.members.items() if options.each else ():
        place = combination_folder(folder, name) / row.file
        write_hypnogram(density.argmax(), place, hypnodensity=density, overwrite=True)
    vote = prediction.hypnodensity
    write_hypnogram(vote.argmax(), folder / PREDICTED / row.file, hypnodensity=vote, overwrite=True)


def write_rows(rows: Sequence[PredictedNight], folder: Path) -> None:
    """Write ``nights.csv``."""
    with whole_file(folder / NIGHTS) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([PredictedNight._fields, *rows])


def read_rows(folder: str | Path) -> list[PredictedNight]:
    """Read ``nights.csv``.

    Raises
    ------
    UnreadableFileError
        If the folder holds no predictions.
    """
    path = Path(folder) / NIGHTS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [PredictedNight(**row) for row in csv.DictReader(file)]
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"{folder} holds no predictions: {NIGHTS} cannot be read ({error})") from error


def prediction_folders(places: Sequence[str | Path]) -> list[Path]:
    """Return the folders of predictions at or below some places, sorted, each once.

    Raises
    ------
    UnreadableFileError
        If there is none.
    """
    # A table of the name alone may be what `hypnograph summary --csv` wrote.
    tables = [path for place in places for path in Path(place).rglob(NIGHTS) if (path.parent / PREDICTED).is_dir()]
    found = sorted({path.parent.resolve(): path.parent for path in reversed(tables)}.values())
    if not found:
        raise UnreadableFileError(
            f"no predictions below {', '.join(map(str, places))}; `hypnograph predict` makes them"
        )
    return found


def unstaged_beside(folders: Sequence[Path]) -> list[Path]:
    """Return trainings that lie beside those of some folders, as folds do, and have staged nothing yet."""
    runs = {folder.resolve().parent for folder in folders}
    beside = {path.parent for run in runs if (run / RECIPE).is_file() for path in run.parent.glob(f"*/{RECIPE}")}
    return sorted(run for run in beside - runs if not list(run.rglob(NIGHTS)))


def is_finer(folder: Path, pairs: Sequence[NightPair]) -> bool:
    """Tell whether what was predicted is finer than the references, whose epochs `read_pairs` then cuts."""
    path = next(path for row in read_rows(folder) if (path := folder / REFERENCE / row.file).exists())
    return read_hypnogram(path).epoch_s > pairs[0].reference.epoch_s + 1e-6


def read_pairs(folder: str | Path, *, combination: str | None = None) -> list[NightPair]:
    """Read reference and predicted stages of the nights of a folder that have both.

    Parameters
    ----------
    folder
        Of predictions.
    combination
        A channel combination, whose nights are those that have it; None: the vote.

    Raises
    ------
    UnreadableFileError
        If there are no predictions, or a file is damaged.
    HypnographError
        If a night is not staged yet: numbers of a part of the nights would pass for those of all.
    """
    folder = Path(folder)
    place = folder / PREDICTED if combination is None else combination_folder(folder, combination)
    rows, pairs = read_rows(folder), []
    waiting = [row for row in rows if not (place / row.file).exists()]
    if waiting and combination is None:
        raise HypnographError(
            f"{folder}: {len(waiting)} of {len(rows)} nights are not staged yet, e.g. {waiting[0].dataset}/"
            f"{waiting[0].night}; the command that stages them goes on with --resume"
        )
    for row in rows:
        if not ((folder / REFERENCE / row.file).exists() and (place / row.file).exists()):
            continue
        reference, predicted = read_hypnogram(folder / REFERENCE / row.file), read_hypnogram(place / row.file)
        both = on_one_grid(reference, predicted)
        pairs.append(NightPair(f"{row.dataset}/{row.night}", row.subject, *both, simulated=row.simulated == yes(True)))
    return pairs


def on_one_grid(reference: Hypnogram, predicted: Hypnogram) -> tuple[Hypnogram, Hypnogram]:
    """Return both on the finer of their two grids, in the coarser of their two schemes."""
    if predicted.scheme != reference.scheme:
        reference = reference.merge(predicted.scheme)
    factor = round(reference.epoch_s / predicted.epoch_s)
    return (reference.upsample(factor) if factor > 1 else reference), predicted


def read_all_pairs(folders: Sequence[str | Path]) -> dict[Path, list[NightPair]]:
    """Read the nights of some folders that have a reference, by folder; folders without such a night are left out.

    Raises
    ------
    HypnographError
        If no night has both, or a night is in two folders: folds of one cross-validation test each night once.
    """
    found = {Path(folder): pairs for folder in folders if (pairs := read_pairs(folder))}
    if not found:
        raise HypnographError(f"no night with a reference in {', '.join(map(str, folders))}")
    counts = Counter(pair.name for pairs in found.values() for pair in pairs)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise HypnographError(f"{twice[0]} is in more than one folder; give the folds of one cross-validation only")
    return found


def evaluate_predictions(
    folders: Sequence[str | Path], *, ignore: Sequence[str] = (), wake_trim_min: float | None = None, seed: int = 0
) -> Evaluation:
    """Compare what was predicted with what people scored, over all nights of some folders; see `read_all_pairs`."""
    pairs = [pair for of_folder in read_all_pairs(folders).values() for pair in of_folder]
    return evaluate_nights(pairs, ignore=ignore, wake_trim_min=wake_trim_min, seed=seed)
