"""Splits that others published, so that numbers can be compared subject by subject: AttnSleep, TinySleepNet, MASS."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.training.splits import Split, check_k, unique

ATTNSLEEP_EDF_20: Final = (14, 5, 4, 17, 8, 7, 19, 12, 0, 15, 16, 9, 11, 10, 3, 1, 6, 18, 2, 13)
"""AttnSleep's order of the 20 subjects of Sleep-EDF-20, for `attnsleep_folds` with k = 20."""

# fmt: off
ATTNSLEEP_EDF_78: Final = (
    42, 11, 19, 46, 24, 47, 61, 71, 58, 66, 6, 22, 31, 5, 12, 54, 4, 67, 37, 68, 48, 39, 13, 15, 20, 23, 70, 18, 3, 64,
    55, 62, 27, 7, 0, 36, 40, 44, 50, 2, 75, 43, 26, 1, 29, 14, 72, 57, 73, 59, 32, 65, 34, 63, 69, 33, 35, 77, 53, 16,
    74, 56, 28, 17, 52, 30, 76, 51, 49, 25, 21, 38, 8, 41, 9, 10, 60, 45,
)
# fmt: on
"""AttnSleep's order of the 78 subjects of Sleep-EDF-78, for `attnsleep_folds` with k = 20."""

# fmt: off
ATTNSLEEP_SHHS_329: Final = (
    134, 85, 278, 138, 277, 316, 244, 210, 50, 257, 220, 274, 230, 291, 271, 174, 258, 2, 259, 156, 238, 245, 184,
    310, 307, 222, 145, 101, 13, 303, 125, 106, 196, 293, 60, 131, 172, 194, 298, 76, 51, 190, 67, 200, 43, 129,
    140, 96, 142, 283, 261, 113, 224, 128, 118, 226, 241, 147, 6, 119, 201, 164, 327, 208, 132, 46, 209, 176, 308,
    171, 165, 95, 103, 219, 321, 218, 202, 213, 154, 65, 116, 234, 318, 7, 9, 73, 253, 105, 158, 38, 104, 149, 120,
    205, 152, 98, 309, 288, 8, 268, 37, 80, 193, 148, 92, 167, 25, 177, 306, 135, 150, 216, 90, 240, 239, 326, 62,
    198, 40, 296, 233, 300, 221, 179, 99, 263, 312, 255, 243, 136, 130, 262, 110, 237, 33, 267, 252, 212, 114, 122,
    289, 203, 297, 41, 44, 225, 275, 284, 192, 5, 270, 189, 188, 30, 247, 18, 61, 86, 319, 161, 266, 285, 93, 121,
    35, 235, 260, 48, 58, 181, 273, 97, 89, 311, 246, 153, 163, 141, 102, 249, 52, 229, 157, 4, 23, 45, 84, 42, 49,
    178, 282, 12, 292, 108, 315, 27, 68, 314, 57, 228, 204, 66, 175, 231, 182, 115, 55, 109, 28, 34, 166, 287, 207,
    19, 81, 20, 88, 180, 232, 186, 54, 117, 72, 21, 173, 123, 137, 313, 31, 187, 10, 217, 324, 36, 162, 279, 112,
    64, 302, 94, 183, 124, 265, 223, 160, 295, 301, 100, 250, 254, 185, 276, 206, 320, 151, 143, 214, 256, 83, 53,
    146, 144, 127, 78, 0, 248, 32, 195, 79, 197, 16, 133, 191, 317, 91, 170, 272, 75, 82, 139, 169, 56, 325, 87,
    155, 323, 24, 236, 199, 290, 269, 74, 294, 286, 59, 168, 111, 69, 304, 70, 11, 251, 305, 280, 227, 14, 26, 159,
    15, 264, 242, 215, 3, 328, 77, 71, 63, 39, 322, 126, 211, 47, 22, 107, 29, 17, 299, 281, 1,
)
# fmt: on
"""AttnSleep's order of the 329 subjects of its part of SHHS-1, for `attnsleep_folds` with k = 20."""

MASS_SUBJECTS: Final[Mapping[str, int]] = {
    "mass-ss1": 53,
    "mass-ss2": 19,
    "mass-ss3": 62,
    "mass-ss4": 40,
    "mass-ss5": 26,
}
"""Subjects of the subsets of MASS."""


def attnsleep_folds(subjects: Iterable[str], permutation: Sequence[int], k: int) -> tuple[Split, ...]:
    """Give the folds of AttnSleep: ascending subjects in a fixed order, cut into k, without a validation part.

    Their published numbers are of the best training epoch on the test part; hold subjects out yourself to avoid that.

    Parameters
    ----------
    subjects
        Ids, both nights of a subject under one. Ids that are numbers ascend as numbers.
    permutation
        Indices into the ascending subjects, e.g. `ATTNSLEEP_EDF_78`.
    k
        Number of folds; 20 in all their experiments.

    Raises
    ------
    HypnographError
        If `permutation` does not hold each index once, or `k` is impossible.
    """
    ids = _ascending(subjects)
    if sorted(permutation) != list(range(len(ids))):
        raise HypnographError(
            f"a permutation of {len(permutation)} indices for {len(ids)} subjects; "
            f"it must hold each of 0 to {len(ids) - 1} once"
        )
    check_k(k, len(ids), "subjects")
    rule = f"fold {{}} of {k} of a published permutation, no validation"
    return tuple(
        Split(train=_without(ids, test), test=test, rule=rule.format(fold + 1))
        for fold, test in enumerate(_cut([ids[index] for index in permutation], k))
    )


def tinysleepnet_folds(subjects: Iterable[str], k: int) -> tuple[Split, ...]:
    """Give the folds of TinySleepNet: ascending subjects cut into k; 10 % of those not tested are for validation.

    Parameters
    ----------
    subjects
        Ids. Ids that are numbers ascend as numbers.
    k
        Number of folds: 20 on Sleep-EDF-20, 10 on Sleep-EDF-78.

    Raises
    ------
    HypnographError
        If `k` is impossible.
    """
    ids = _ascending(subjects)
    check_k(k, len(ids), "subjects")
    return tuple(_tinysleepnet_fold(ids, test, fold, k) for fold, test in enumerate(_cut(ids, k)))


def _tinysleepnet_fold(ids: Sequence[str], test: tuple[str, ...], fold: int, k: int) -> Split:
    rest = _without(ids, test)
    seed = 42 + fold
    # The old generator, and Python's rounding of halves to even: both are part of the published folds.
    drawn = np.random.RandomState(seed).choice(len(rest), size=round(len(rest) * 0.10), replace=False)
    validation = tuple(rest[index] for index in drawn)
    rule = f"TinySleepNet fold {fold + 1} of {k}, validation 10 % of those not tested"
    return Split(train=_without(rest, validation), validation=validation, test=test, seed=seed, rule=rule)


def _ascending(subjects: Iterable[str]) -> list[str]:
    ids = unique(subjects)
    return sorted(ids, key=int) if all(subject.isdecimal() for subject in ids) else ids


def _cut(ids: Sequence[str], k: int) -> list[tuple[str, ...]]:
    return [tuple(ids[index] for index in part) for part in np.array_split(np.arange(len(ids)), k)]


def _without(ids: Iterable[str], excluded: Iterable[str]) -> tuple[str, ...]:
    gone = set(excluded)
    return tuple(subject for subject in ids if subject not in gone)


def mass_split(subjects: Iterable[str]) -> tuple[Split]:
    """Give the one split of Joshi et al. (2022): of each subset of MASS 80 % train, 10 % validate, 10 % test.

    Source: arXiv:2211.13125 and its code. The subsets in epochs of 30 s were shuffled by one script, those in epochs of
    20 s by another, with Python's generator and seed 42.

    Parameters
    ----------
    subjects
        All 200, as ``"mass-ss1/…"`` to ``"mass-ss5/…"``.

    Raises
    ------
    HypnographError
        If a subset has another number of subjects than it was published with.
    """
    ids = unique(subjects)
    of_subset = {name: [one for one in ids if one.startswith(f"{name}/")] for name in MASS_SUBJECTS}
    counts = {name: len(members) for name, members in of_subset.items()}
    if counts != dict(MASS_SUBJECTS) or sum(counts.values()) != len(ids):
        wanted = ", ".join(f"{n} of {name}" for name, n in MASS_SUBJECTS.items())
        raise HypnographError(f"the published split of MASS is of {wanted}; here are others")
    parts: dict[str, tuple[str, ...]] = {"train": (), "validation": (), "test": ()}
    for script in (("mass-ss1", "mass-ss3"), ("mass-ss2", "mass-ss4", "mass-ss5")):
        generator = random.Random(42)
        for members in (of_subset[name] for name in script):
            generator.shuffle(members)
            train, validated = int(0.8 * len(members)), int(0.9 * len(members))
            parts["train"] += tuple(members[:train])
            parts["validation"] += tuple(members[train:validated])
            parts["test"] += tuple(members[validated:])
    return (Split(**parts, seed=42, rule="80/10/10 % of each subset of MASS, as published"),)


PUBLISHED: Final[Mapping[str, tuple[int, Callable[[Iterable[str]], tuple[Split, ...]]]]] = {
    "attnsleep-edf-20": (20, lambda subjects: attnsleep_folds(subjects, ATTNSLEEP_EDF_20, 20)),
    "attnsleep-edf-78": (78, lambda subjects: attnsleep_folds(subjects, ATTNSLEEP_EDF_78, 20)),
    "attnsleep-shhs-329": (329, lambda subjects: attnsleep_folds(subjects, ATTNSLEEP_SHHS_329, 20)),
    "tinysleepnet-edf-20": (20, lambda subjects: tinysleepnet_folds(subjects, 20)),
    "tinysleepnet-edf-78": (78, lambda subjects: tinysleepnet_folds(subjects, 10)),
    "ecg-mass-200": (sum(MASS_SUBJECTS.values()), mass_split),
}
"""Published splits by name: of how many subjects, and how they are made."""
