"""Which subjects train, choose and test a model: drawn by subject, checked to be disjoint, written to a file."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self, TypedDict

import numpy as np

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.whole_file import check_output, whole_file

FORMAT: Final = 1
"""Of the file of a split; a larger number than this is from a newer hypnograph."""


class Fractions(TypedDict):
    """The numbers of a `fixed_fractions` split."""

    validation: float
    test: float
    max_validation: int
    max_test: int


U_SLEEP: Final[Fractions] = {"validation": 0.10, "max_validation": 50, "test": 0.15, "max_test": 100}
"""What U-Sleep held out of each dataset: ``fixed_fractions(subjects, seed=1, **U_SLEEP)``."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Subjects in three parts that share nobody.

    Parameters
    ----------
    train, validation, test
        Subject ids; kept in sorted order, whatever order they are given in.
    seed
        Of the draw; None where nothing was drawn.
    rule
        How the parts were chosen, in words.

    Raises
    ------
    HypnographError
        If a subject is in two parts or twice in one, if nobody is left to train on, or if an id is not a text.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    seed: int | None = None
    rule: str = ""

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            object.__setattr__(self, name, _sorted_texts(getattr(self, name), name))
        if not self.train:
            raise HypnographError("the train part has no subjects; it needs at least 1")
        counts = Counter((*self.train, *self.validation, *self.test))
        if repeated := [subject for subject, count in counts.items() if count > 1]:
            raise HypnographError(f"{_named(repeated)} in a split more than once; put each subject in one part, once")
        if not (self.seed is None or type(self.seed) is int) or not isinstance(self.rule, str):
            raise HypnographError(f"seed {self.seed!r}, rule {self.rule!r}: a split needs a whole number and a text")

    @property
    def sha256(self) -> str:
        """Of the canonical JSON, and so of the file that `write_split` writes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Give the canonical JSON: the same split always has the same text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        HypnographError
            If it is not JSON, has other keys, is from a newer hypnograph, or is no valid split.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableFileError(f"a split must be JSON: {error}") from error
        expected = {"format", *cls.__dataclass_fields__}
        if not isinstance(values, dict) or set(values) != expected:
            raise UnreadableFileError(f"a split must be a JSON object with the keys {', '.join(sorted(expected))}")
        if (version := values.pop("format")) != FORMAT:
            raise UnreadableFileError(
                f"a split of format {version!r}; this hypnograph reads format {FORMAT}: update it"
            )
        return cls(**values)


def write_split(split: Split, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a split as JSON, whole or not at all.

    Raises
    ------
    HypnographError
        If `path` exists and `overwrite` is False.
    """
    check_output(path, overwrite=overwrite)
    with whole_file(path) as partial:
        # Bytes, so that the hash is that of the file on every system.
        partial.write_bytes(split.to_json().encode())


def read_split(path: str | Path) -> Split:
    """Read a split that `write_split` wrote.

    Raises
    ------
    HypnographError
        If the file holds no valid split.
    """
    path = Path(path)
    if path.is_dir():
        raise HypnographError(
            f"{path} is a folder of splits; give one of its files, or hypnograph cross-validate them all"
        )
    if not path.exists():
        raise UnreadableFileError(f"{path}: no such split; hypnograph split makes one")
    try:
        return Split.from_json(path.read_bytes())
    except HypnographError as error:
        raise UnreadableFileError(f"{path}: {error}") from error


def fixed_fractions(
    subjects: Iterable[str],
    *,
    validation: float = 0.2,
    test: float = 0.2,
    max_validation: int | None = None,
    max_test: int | None = None,
    seed: int,
    groups: Mapping[str, Hashable] | None = None,
    strata: Mapping[str, Hashable] | None = None,
) -> Split:
    """Draw one split by U-Time's rule: each part is a fraction of all subjects, rounded up, then capped.

    Parameters
    ----------
    subjects
        Ids; order and repetitions do not matter.
    validation, test
        Fractions of all subjects, from 0 to below 1.
    max_validation, max_test
        The most subjects in the part; None: no cap.
    seed
        Of the draw.
    groups
        The family of every subject. Families stay together; a part may then be smaller than its fraction, never larger.
    strata
        The disorder of every subject; each part gets its share of each.

    Raises
    ------
    HypnographError
        If nobody is left to train on, or no family is small enough for a part.
    """
    ids = unique(subjects)
    n_test = _part_size(len(ids), test, max_test, "test")
    n_validation = _part_size(len(ids), validation, max_validation, "validation")
    _check_room(len(ids), n_validation, n_test)
    rng = _rng(seed)
    tested, rest = _fill(_spread(_families(ids, groups), strata, rng), n_test, "test")
    chosen, rest = _fill(rest, n_validation, "validation")
    rule = f"fixed fractions: test {test:g}{_cap(max_test)}, validation {validation:g}{_cap(max_validation)}"
    rule += _kept(groups) + _balanced(strata)
    return Split(train=_flat(rest), validation=_flat(chosen), test=_flat(tested), seed=seed, rule=rule)


def k_fold(
    subjects: Iterable[str],
    k: int,
    *,
    validation: float = 0.2,
    seed: int,
    groups: Mapping[str, Hashable] | None = None,
    strata: Mapping[str, Hashable] | None = None,
) -> tuple[Split, ...]:
    """Draw k splits that together test every subject once.

    Without `groups`, the folds differ by at most 1 in size and by at most 1 in the subjects of each stratum.

    Parameters
    ----------
    subjects
        Ids; order and repetitions do not matter.
    k
        Number of folds, from 2 to the number of subjects (of families, with `groups`).
    validation
        Fraction of all subjects, rounded up, drawn for each fold from those that it does not test.
    seed
        Of all draws.
    groups
        The family of every subject; families stay together, and folds are as even as that allows.
    strata
        The disorder of every subject, balanced over the test parts, and spread over the validation parts.

    Raises
    ------
    HypnographError
        If `k` is impossible or a fold has nobody left to train on.
    """
    families = _families(unique(subjects), groups)
    check_k(k, len(families), "subjects" if groups is None else "families")
    rng = _rng(seed)
    folds = _even_folds(_shuffled(families, rng), k, strata)
    rule = f"fold {{}} of {k}, validation {validation:g} of all subjects{_kept(groups)}{_balanced(strata)}"
    return tuple(_with_validation(folds, validation, rng, seed=seed, rule=rule, strata=strata))


def leave_one_out(
    subjects: Iterable[str], *, validation: float = 0.2, seed: int, groups: Mapping[str, Hashable] | None = None
) -> tuple[Split, ...]:
    """Test each subject (each family, with `groups`) in a split of its own, in sorted order.

    `validation` and the errors are those of `k_fold`.
    """
    families = _families(unique(subjects), groups)
    check_k(len(families), len(families), "subjects" if groups is None else "families")
    rule = f"leave one out, {{}} of {len(families)}, validation {validation:g} of all subjects{_kept(groups)}"
    return tuple(_with_validation([[family] for family in families], validation, _rng(seed), seed=seed, rule=rule))


Family = tuple[str, ...]


def _even_folds(families: Sequence[Family], k: int, strata: Mapping[str, Hashable] | None) -> list[list[Family]]:
    """Give each family to the fold that holds fewest of its strata, then fewest subjects: large families first.

    Families of one subject come stratum by stratum, which keeps both counts even to within 1.
    """
    stratum = dict.fromkeys(_flat(families), "all") if strata is None else _values(_flat(families), strata, "stratum")
    ranks = {value: rank for rank, value in enumerate(dict.fromkeys(stratum[s] for s in sorted(stratum)))}
    folds: list[list[Family]] = [[] for _ in range(k)]
    held: list[Counter[Hashable]] = [Counter() for _ in range(k)]
    for family in sorted(families, key=lambda family: (-len(family), sorted(ranks[stratum[s]] for s in family))):
        fold = min(range(k), key=lambda i: (sum(held[i][stratum[s]] for s in family), held[i].total()))
        folds[fold].append(family)
        held[fold].update(stratum[s] for s in family)
    return folds


def _with_validation(
    folds: Sequence[Sequence[Family]],
    fraction: float,
    rng: np.random.Generator,
    *,
    seed: int,
    rule: str,
    strata: Mapping[str, Hashable] | None = None,
) -> Iterator[Split]:
    n = sum(len(_flat(fold)) for fold in folds)
    size = _part_size(n, fraction, None, "validation")
    for number, tested in enumerate(folds, start=1):
        test = _flat(tested)
        _check_room(n, size, len(test))
        others = sorted(family for fold in folds if fold is not tested for family in fold)
        validation, train = _fill(_spread(others, strata, rng), size, "validation")
        yield Split(train=_flat(train), validation=_flat(validation), test=test, seed=seed, rule=rule.format(number))


def _fill(families: Sequence[Family], size: int, part: str) -> tuple[list[Family], list[Family]]:
    """Take families in their order, passing over those too large for what is left of `size`; give the others too."""
    taken: list[Family] = []
    others: list[Family] = []
    left = size
    for family in families:
        fits = len(family) <= left
        (taken if fits else others).append(family)
        left -= len(family) if fits else 0
    if size and not taken:
        smallest = min(len(family) for family in families)
        raise HypnographError(f"no family fits the {size} subjects of {part}, the smallest has {smallest}; enlarge it")
    return taken, others


def _part_size(n: int, fraction: float, cap: int | None, part: str) -> int:
    if not 0 <= fraction < 1:
        raise HypnographError(f"{part} is {fraction} of the subjects; give a fraction from 0 to below 1")
    if cap is not None and cap < 0:
        raise HypnographError(f"at most {cap} subjects for {part}; the cap must be 0 or more")
    # The fraction as it is written: in binary, 0.07 of 100 would be rounded up to 8.
    size = math.ceil(n * Fraction(str(fraction)))
    return size if cap is None else min(size, cap)


def _check_room(n: int, n_validation: int, n_test: int) -> None:
    if n_validation + n_test >= n:
        raise HypnographError(
            f"{n_validation} validation and {n_test} test subjects of {n} leave nobody to train on; "
            "make the parts smaller or add subjects"
        )


def check_k(k: int, n: int, what: str) -> None:
    """Refuse a number of folds that `n` subjects cannot have."""
    if not 2 <= k <= n:
        raise HypnographError(f"{k} folds of {n} {what}; folds must be 2 or more, and no more than the {what}")


def _rng(seed: int) -> np.random.Generator:
    if type(seed) is not int or seed < 0:
        raise HypnographError(f"seed {seed!r}; it must be a whole number, 0 or more")
    return np.random.default_rng(seed)


def _shuffled(families: Sequence[Family], rng: np.random.Generator) -> list[Family]:
    return [families[index] for index in rng.permutation(len(families))]


def _spread(
    families: Sequence[Family], strata: Mapping[str, Hashable] | None, rng: np.random.Generator
) -> list[Family]:
    """Shuffle families so that the first of them, however many, hold as much of each stratum as the others."""
    shuffled = _shuffled(families, rng)
    if strata is None:
        return shuffled
    stratum = _values(_flat(families), strata, "stratum")
    alike: dict[tuple[str, ...], list[Family]] = {}
    for family in shuffled:
        alike.setdefault(tuple(sorted(str(stratum[s]) for s in family)), []).append(family)
    places = {family: (place + 0.5) / len(group) for group in alike.values() for place, family in enumerate(group)}
    return sorted(shuffled, key=lambda family: places[family])


def _families(ids: Sequence[str], groups: Mapping[str, Hashable] | None) -> list[Family]:
    """Sorted families; each subject alone if there are no groups."""
    if groups is None:
        return [(subject,) for subject in ids]
    members: dict[Hashable, list[str]] = {}
    for subject, group in _values(ids, groups, "group").items():
        members.setdefault(group, []).append(subject)
    return [tuple(family) for family in members.values()]


def _values(ids: Iterable[str], mapping: Mapping[str, Hashable], what: str) -> dict[str, Hashable]:
    ids = sorted(ids)
    # A subject left out by mistake could part a family in silence, so nobody is taken to stand alone.
    if missing := [subject for subject in ids if subject not in mapping]:
        raise HypnographError(f"{_named(missing)} without a {what}; give each subject one")
    return {subject: mapping[subject] for subject in ids}


def _flat(families: Iterable[Family]) -> tuple[str, ...]:
    return tuple(subject for family in families for subject in family)


def unique(subjects: Iterable[str]) -> list[str]:
    """Return the ids in sorted order, each once."""
    return list(dict.fromkeys(_sorted_texts(subjects, "subjects")))


def _sorted_texts(values: Any, name: str) -> tuple[str, ...]:
    # A text is itself a sequence of texts: "SC4001" would become six subjects.
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise HypnographError(f"{name} is {values!r}; give a sequence of subject ids")
    ids = tuple(values)
    if wrong := [subject for subject in ids if not (isinstance(subject, str) and subject)]:
        raise HypnographError(f"{name} holds {wrong[0]!r}; subject ids are texts that are not empty")
    return tuple(sorted(str(subject) for subject in ids))


def _named(subjects: Sequence[str]) -> str:
    more = f" and {len(subjects) - 5} more" if len(subjects) > 5 else ""
    return f"subject{'s' if len(subjects) > 1 else ''} {', '.join(subjects[:5])}{more}"


def _cap(cap: int | None) -> str:
    return "" if cap is None else f" (at most {cap})"


def _balanced(strata: Mapping[str, Hashable] | None) -> str:
    return "" if strata is None else ", strata balanced"


def _kept(groups: Mapping[str, Hashable] | None) -> str:
    return "" if groups is None else ", families together"
