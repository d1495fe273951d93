"""Who trains and tests in each fold, and the nights as each stager takes them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from hypnograph.benchmark.entrants import Entrant
from hypnograph.benchmark.references import Reference, without_names
from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError
from hypnograph.training.cropping import Crop
from hypnograph.training.people import Person, draw_folds, person_of
from hypnograph.training.preparation import prepare
from hypnograph.training.splits import Split, read_split, write_split
from hypnograph.training.store import Store
from hypnograph.whole_file import whole_file

NIGHTS: Final = "nights.json"
SPLITS: Final = "splits"
STORES: Final = "stores"

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """The nights as one stager sees them: their store, how they are cropped, and why some are missing."""

    store: Store
    crop: Crop | None
    failed: Mapping[str, str]

    def within(self, split: Split) -> Split | None:
        """Return a split without the subjects of whom there is no night; None if nobody is left to train or test."""
        parts = (split.train, split.validation, split.test)
        train, validation, test = (tuple(self.store.with_nights(part)) for part in parts)
        return replace(split, train=train, validation=validation, test=test) if train and test else None


def splits_of(
    references: Sequence[Reference], out: Path, folds: int | str | Path, *, validation: float, seed: int
) -> tuple[Split, ...]:
    """Return the splits of a comparison, drawn (or read) once and kept in its folder.

    Raises
    ------
    HypnographError
        If there are splits already, and not these.
    """
    people = {reference.person: person_of(reference.night) for reference in references}
    if isinstance(folds, Path):
        files = sorted(folds.glob("*.json")) if folds.is_dir() else [folds]
        drawn = tuple(read_split(file) for file in files)
    else:
        everyone = [people[key] for key in sorted(people)]
        drawn = draw_folds(everyone, folds, validation=validation, seed=seed)
    _check_tests(drawn, people)
    existing = tuple(read_split(file) for file in sorted((out / SPLITS).glob("*.json")))
    if existing and existing != drawn:
        raise HypnographError(
            f"{out / SPLITS} has {len(existing)} splits, and what is asked now gives others: the subjects, folds, "
            "validation or seed have changed. Ask the same as before, or choose another folder"
        )
    for number, split in enumerate(drawn, start=1):
        if not existing:
            write_split(split, out / SPLITS / f"fold-{number:03d}.json")
    return drawn


def check_nights(references: Sequence[Reference], out: Path) -> None:
    """See that nights that are in a comparison already are still made of the same files, and remember the others.

    Raises
    ------
    HypnographError
        If one is not: what was staged of it, and what it cost, is of another recording.
    """
    known = json.loads((out / NIGHTS).read_text(encoding="utf-8")) if (out / NIGHTS).exists() else {}
    states = {one.key: _state(one.night.psg) for one in references}
    # Once, names of files were kept here; those are forgotten.
    known = {key: state for key, state in known.items() if isinstance(state, str)}
    if changed := [key for key, state in states.items() if known.get(key, state) != state]:
        raise HypnographError(f"{out} compares on another recording called {changed[0]}; choose another folder")
    with whole_file(out / NIGHTS) as path:
        path.write_text(json.dumps(known | states, indent=1) + "\n", encoding="utf-8")


def _state(path: Path) -> str:
    """Return what tells a file from another: its size, and a hash of its beginning. Its name may tell who it was."""
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.sha256(file.read(1 << 16)).hexdigest()[:16]}"


def _check_tests(splits: Sequence[Split], people: Mapping[str, Person]) -> None:
    tested = [subject for split in splits for subject in split.test]
    if not splits or not set(tested) & set(people):
        raise HypnographError("the splits test none of these nights' subjects; make splits with a test part from them")
    if twice := sorted({subject for subject in tested if tested.count(subject) > 1}):
        raise HypnographError(f"{twice[0]} is tested by more than one fold; a comparison tests each subject once")


def prepare_all(
    entrants: Iterable[Entrant],
    references: Sequence[Reference],
    out: Path,
    *,
    derivations: Mapping[ChannelKind, Sequence[str]] | None = None,
    jobs: int,
    say: Say,
) -> dict[str, Prepared]:
    """Prepare one store for each way of preparing that a stager needs; return the store of each."""
    nights = [reference.night for reference in references]
    stores: dict[str, Prepared] = {}
    prepared: dict[str, Prepared] = {}
    for entrant in entrants:
        if entrant.spec is None:
            continue
        # The context is the network's own affair.
        spec = replace(entrant.spec, context=None)
        named = {kind: tuple(names) for kind, names in (derivations or {}).items() if kind in spec.kinds}
        way = [asdict(spec), repr(entrant.crop), *([named] if named else [])]
        key = hashlib.sha256(json.dumps(way).encode()).hexdigest()[:10]
        if key not in stores:
            report = prepare(nights, out / STORES / key, spec, crop=entrant.crop, derivations=named, jobs=jobs)
            known = {reference.key: reference.night for reference in references}
            failed = {outcome.key: without_names(outcome.message, known[outcome.key]) for outcome in report.failed}
            store = replace(report.store, nights=tuple(night for night in report.store.nights if night.key in known))
            stores[key] = Prepared(store, entrant.crop, failed)
            say(f"prepared {len(store.nights)} nights as {entrant.name} takes them: {store.address}")
        prepared[entrant.name] = stores[key]
    return prepared
