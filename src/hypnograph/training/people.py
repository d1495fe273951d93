"""Whose nights there are, in a store or in folders of datasets, and how they are parted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypnograph.datasets import Night, Problem, dataset, scan_known
from hypnograph.errors import HypnographError
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.published_splits import PUBLISHED
from hypnograph.training.splits import Split, fixed_fractions, k_fold, leave_one_out
from hypnograph.training.store import Store, open_store


class Person(NamedTuple):
    """A subject: ``"dataset/subject"``, the dataset, the family (with its dataset), and the disorder if it is known."""

    id: str
    dataset: str
    family: str
    disorder: str


def data_folder(source: str) -> tuple[str, Path]:
    """Return dataset and folder of a ``DATASET=FOLDER``.

    Raises
    ------
    HypnographError
        If it is none, or there is no such dataset or folder.
    """
    name, equals, folder = source.partition("=")
    if not equals or not folder:
        raise HypnographError(f"{source!r}: write DATASET=FOLDER, e.g. sleep-edf-sc=data/sleep-edf")
    dataset(name)
    if not Path(folder).is_dir():
        raise HypnographError(f"{folder}: no such folder")
    return name, Path(folder)


def people(
    sources: Iterable[str], options: Mapping[str, Any] | None = None, report: Callable[[Problem], None] | None = None
) -> list[Person]:
    """Return the subjects of stores and folders.

    Parameters
    ----------
    sources
        Addresses of stores, and ``DATASET=FOLDER``.
    options
        For the datasets that take them, e.g. ``{"subject": "P[0-9]+"}`` for ``folder``; see `hypnograph.datasets.scan`.
    report
        Is told what cannot be used.

    Raises
    ------
    HypnographError
        If a source is neither, or there is nobody.
    """
    found: dict[str, Person] = {}
    for source in sources:
        if "=" in source and "://" not in source:
            everyone = _people_in(*data_folder(source), options or {}, report)
        else:
            everyone = people_of(open_store(source))
        found |= {person.id: person for person in everyone}
    if not found:
        raise HypnographError(f"there is no night with a scoring in {', '.join(sources)}")
    return [found[key] for key in sorted(found)]


def _people_in(
    name: str, folder: Path, options: Mapping[str, Any], report: Callable[[Problem], None] | None
) -> list[Person]:
    everyone = []
    for found in scan_known(name, folder, options):
        if isinstance(found, Night):
            everyone.append(person_of(found))
        elif report is not None:
            report(found)
    return everyone


def people_of(store: Store) -> list[Person]:
    """Return the subjects of a store, each once."""
    return list({night.person: person_of(night) for night in reversed(store.nights)}.values())[::-1]


def person_of(night: Night | PreparedNight) -> Person:
    """Return whose night it is."""
    return Person(night.person, night.dataset, night.kin, night.disorder)


def draw_fractions(
    everyone: Sequence[Person],
    *,
    validation: float,
    test: float,
    max_validation: int | None = None,
    max_test: int | None = None,
    seed: int,
    by_disorder: bool = False,
) -> Split:
    """Draw one split: the fractions and their caps hold in each dataset, as U-Sleep has it; families stay together.

    With `by_disorder`, each part has its share of each disorder.
    """
    _check_disorders(everyone, by_disorder)
    parts = []
    for name in sorted({person.dataset for person in everyone}):
        of_it = [person for person in everyone if person.dataset == name]
        part = fixed_fractions(
            [person.id for person in of_it],
            validation=validation,
            test=test,
            max_validation=max_validation,
            max_test=max_test,
            seed=seed,
            groups={person.id: person.family for person in of_it},
            strata=_strata(of_it, by_disorder),
        )
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    joined = {name: tuple(s for part in parts for s in getattr(part, name)) for name in ("train", "validation", "test")}
    return Split(**joined, seed=seed, rule=f"in each dataset: {parts[0].rule}")


def draw_folds(
    everyone: Sequence[Person],
    folds: int | str,
    *,
    validation: float = 0.1,
    seed: int,
    by_disorder: bool = False,
) -> tuple[Split, ...]:
    """Draw the splits of a cross-validation.

    Parameters
    ----------
    everyone
        The subjects.
    folds
        How many; ``"leave-one-out"``; or a name of `PUBLISHED`.
    validation
        Fraction of all subjects that each fold holds out beside those that it tests; published folds have their own.
    seed
        Of the draw.
    by_disorder
        Spread each disorder evenly over the folds, as datasets always are.

    Raises
    ------
    HypnographError
        If there is no such rule, or too few subjects.
    """
    ids = [person.id for person in everyone]
    if isinstance(folds, str) and folds in PUBLISHED:
        n_subjects, published = PUBLISHED[folds]
        if len(ids) != n_subjects:
            raise HypnographError(f"{folds}: these are folds of {n_subjects} subjects; there are {len(ids)} here")
        return published(ids)
    groups = {person.id: person.family for person in everyone}
    if folds == "leave-one-out":
        return leave_one_out(ids, validation=validation, seed=seed, groups=groups)
    if isinstance(folds, str):
        raise HypnographError(f"no folds {folds!r}: give a number, 'leave-one-out', or one of {', '.join(PUBLISHED)}")
    _check_disorders(everyone, by_disorder)
    strata = _strata(everyone, by_disorder)
    return k_fold(ids, folds, validation=validation, seed=seed, groups=groups, strata=strata)


def _strata(everyone: Sequence[Person], by_disorder: bool) -> Mapping[str, str] | None:
    strata = {p.id: f"{p.dataset} {p.disorder}" if by_disorder else p.dataset for p in everyone}
    return strata if len(set(strata.values())) > 1 else None


def _check_disorders(everyone: Sequence[Person], by_disorder: bool) -> None:
    if by_disorder and not any(person.disorder for person in everyone):
        raise HypnographError("no disorder is known of these subjects; leave --by-disorder out")
