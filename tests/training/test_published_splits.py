"""Published splits are those of the official codes."""

from collections.abc import Sequence

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.training.published_splits import (
    ATTNSLEEP_EDF_20,
    ATTNSLEEP_EDF_78,
    ATTNSLEEP_SHHS_329,
    MASS_SUBJECTS,
    attnsleep_folds,
    mass_split,
    tinysleepnet_folds,
)

from .test_splits import cohort, everybody

EDF_78 = [f"{i:02d}" for i in (*range(39), *range(40, 68), *range(70, 78), *range(80, 83))]
MASS = [f"{name}/01-0{name[-1]}-{i + 1:04d}" for name, n in MASS_SUBJECTS.items() for i in range(n)]
# Positions in the sorted files of each subset, as the official code drew them: validation and test.
MASS_DRAWN = {
    "mass-ss1": ((6, 8, 14, 34, 43), (1, 7, 15, 17, 40, 47)),
    "mass-ss2": ((7, 8), (0, 3)),
    "mass-ss3": ((4, 12, 23, 36, 39, 45), (5, 18, 24, 35, 40, 53, 59)),
    "mass-ss4": ((0, 14, 17, 28), (12, 26, 34, 35)),
    "mass-ss5": ((7, 9, 21), (1, 2, 22)),
}


@pytest.mark.parametrize(
    ("permutation", "n"), [(ATTNSLEEP_EDF_20, 20), (ATTNSLEEP_EDF_78, 78), (ATTNSLEEP_SHHS_329, 329)]
)
def test_the_permutations_of_attnsleep_are_permutations(permutation: tuple[int, ...], n: int) -> None:
    assert sorted(permutation) == list(range(n))


def test_the_folds_of_attnsleep_are_those_of_array_split() -> None:
    folds = attnsleep_folds(reversed(EDF_78), ATTNSLEEP_EDF_78, 20)
    expected = np.array_split(np.array(EDF_78)[list(ATTNSLEEP_EDF_78)], 20)
    assert [fold.test for fold in folds] == [tuple(sorted(part.tolist())) for part in expected]
    assert folds[0].test == ("11", "19", "43", "47")  # subjects 42, 11, 19, 46; there is no subject 39
    assert all(everybody(fold) == EDF_78 and not fold.validation for fold in folds)


@pytest.mark.parametrize(("ids", "k"), [(range(20), 20), (map(int, EDF_78), 10)])
def test_the_folds_of_tinysleepnet_are_those_of_its_own_calls(ids: Sequence[int], k: int) -> None:
    numbers = list(ids)
    # Oracle: the published recipe on whole numbers, with the global generator that it used.
    for fold, test in enumerate(np.array_split(numbers, k)):
        train = np.setdiff1d(numbers, test)
        state = np.random.RandomState(42 + fold)
        validation = state.choice(train, size=round(len(train) * 0.10), replace=False)
        ours = tinysleepnet_folds([str(i) for i in numbers], k)[fold]
        assert {int(s) for s in ours.test} == set(test.tolist())
        assert {int(s) for s in ours.validation} == set(validation.tolist())
        assert len(ours.validation) == (2 if k == 20 else 7)
        assert len(ours.train) == len(numbers) - len(test) - len(validation)


def test_the_split_of_mass_is_the_one_that_was_published() -> None:
    (split,) = mass_split(reversed(MASS))
    assert (len(split.train), len(split.validation), len(split.test)) == (158, 20, 22)
    for name, parts in MASS_DRAWN.items():
        members = [subject for subject in MASS if subject.startswith(name)]
        for part, positions in zip((split.validation, split.test), parts, strict=True):
            assert [subject for subject in part if subject.startswith(name)] == [members[i] for i in positions]
    assert everybody(split) == sorted(MASS)


@pytest.mark.parametrize("wrong", [MASS[1:], [*MASS, "dcsm/1"], [*MASS[:-1], "mass-ss1/x"]])
def test_the_split_of_mass_is_of_its_200_subjects(wrong: list[str]) -> None:
    with pytest.raises(HypnographError, match="53 of mass-ss1, 19 of mass-ss2"):
        mass_split(wrong)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: attnsleep_folds(cohort(3), (0, 1, 1), 2), "each of 0 to 2 once"),
        (lambda: attnsleep_folds(cohort(20), ATTNSLEEP_EDF_78, 20), "78 indices for 20 subjects"),
        (lambda: tinysleepnet_folds(cohort(3), 4), "4 folds of 3 subjects"),
    ],
)
def test_impossible_published_folds_are_refused(draw, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        draw()
