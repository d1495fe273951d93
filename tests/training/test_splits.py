"""No subject is on two sides of a split, and the same seed gives the same split everywhere."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.training.splits import (
    U_SLEEP,
    Split,
    fixed_fractions,
    k_fold,
    leave_one_out,
    read_split,
    write_split,
)

SEEDS = st.integers(0, 2**32)
SPLIT = Split(train=("b", "a"), validation=("c",), test=("µ", "d"), seed=7, rule="by hand")


def cohort(n: int) -> list[str]:
    return [f"S{i:04d}" for i in range(n)]


def everybody(split: Split) -> list[str]:
    return sorted((*split.train, *split.validation, *split.test))


def together(split: Split, groups: dict[str, int]) -> bool:
    """Whether no group has members in two parts."""
    parts = [{groups[s] for s in part} for part in (split.train, split.validation, split.test)]
    return sum(map(len, parts)) == len(set().union(*parts))


def spread(counts: Sequence[int]) -> int:
    return max(counts) - min(counts)


@given(n=st.integers(5, 300), seed=SEEDS)
def test_a_fixed_split_is_complete_and_has_the_counts_of_u_time(n: int, seed: int) -> None:
    split = fixed_fractions(cohort(n), seed=seed)
    assert everybody(split) == cohort(n)
    assert len(split.test) == len(split.validation) == math.ceil(n / 5)


@pytest.mark.parametrize(("n", "n_validation", "n_test"), [(10, 1, 2), (101, 11, 16), (600, 50, 90), (2000, 50, 100)])
def test_u_sleep_holds_out_the_published_counts(n: int, n_validation: int, n_test: int) -> None:
    split = fixed_fractions(cohort(n), seed=1, **U_SLEEP)
    assert (len(split.validation), len(split.test)) == (n_validation, n_test)
    assert len(split.train) == n - n_validation - n_test


def test_a_fraction_is_rounded_up_as_it_is_written_not_in_binary() -> None:
    assert len(fixed_fractions(cohort(100), test=0.07, validation=0, seed=0).test) == 7


@given(n=st.integers(6, 60), k=st.integers(2, 6), seed=SEEDS, order=st.randoms(use_true_random=False))
def test_every_draw_is_deterministic_and_does_not_depend_on_the_order_of_the_subjects(n, k, seed, order) -> None:
    subjects = cohort(n) + cohort(3)
    order.shuffle(subjects)
    groups = {s: i // 2 for i, s in enumerate(cohort(n))}
    turned = {s: groups[s] + 100 for s in subjects}
    strata = {s: i % 3 for i, s in enumerate(cohort(n))}
    k = min(k, n // 2)
    assert fixed_fractions(subjects, seed=seed) == fixed_fractions(cohort(n), seed=seed)
    assert k_fold(subjects, k, validation=0.1, seed=seed, strata=strata) == k_fold(
        cohort(n), k, validation=0.1, seed=seed, strata=strata
    )
    assert leave_one_out(subjects, validation=0.4, seed=seed, groups=turned) == leave_one_out(
        cohort(n), validation=0.4, seed=seed, groups=groups
    )


def test_another_seed_gives_another_split() -> None:
    assert len({fixed_fractions(cohort(40), seed=seed).test for seed in range(10)}) == 10
    assert len({k_fold(cohort(40), 5, seed=seed)[0].test for seed in range(10)}) == 10


def test_a_seed_gives_the_same_split_next_year() -> None:
    assert fixed_fractions(cohort(10), seed=1).test == ("S0004", "S0008")


@given(n=st.integers(4, 80), k=st.integers(2, 20), seed=SEEDS)
def test_k_folds_test_everybody_once_with_the_sizes_of_array_split(n: int, k: int, seed: int) -> None:
    assume(k <= n)
    folds = k_fold(cohort(n), k, validation=0.1, seed=seed)
    assert sorted(s for fold in folds for s in fold.test) == cohort(n)
    assert [len(fold.test) for fold in folds] == [len(part) for part in np.array_split(np.arange(n), k)]
    for fold in folds:
        assert everybody(fold) == cohort(n)
        assert len(fold.validation) == math.ceil(n / 10)


@given(strata=st.lists(st.sampled_from(["healthy", "OSA", "RBD"]), min_size=6, max_size=60), k=st.integers(2, 6))
def test_disorders_are_balanced_over_the_folds_to_within_one_subject(strata: list[str], k: int) -> None:
    subjects = cohort(len(strata))
    disorder = dict(zip(subjects, strata, strict=True))
    folds = k_fold(subjects, k, validation=0.1, seed=3, strata=disorder)
    assert spread([len(fold.test) for fold in folds]) <= 1
    for name in set(strata):
        assert spread([sum(disorder[s] == name for s in fold.test) for fold in folds]) <= 1


@given(strata=st.lists(st.sampled_from(["healthy", "OSA", "RBD"]), min_size=12, max_size=80), seed=st.integers(0, 9))
def test_each_part_of_one_split_has_its_share_of_each_disorder(strata: list[str], seed: int) -> None:
    subjects = cohort(len(strata))
    disorder = dict(zip(subjects, strata, strict=True))
    split = fixed_fractions(subjects, validation=0.2, test=0.3, seed=seed, strata=disorder)
    for part in (split.train, split.validation, split.test):
        for name in set(strata):
            share = strata.count(name) * len(part) / len(strata)
            assert abs(sum(disorder[s] == name for s in part) - share) < 2
    assert "strata balanced" in split.rule


def test_disorders_are_balanced_before_sizes_where_families_force_a_choice() -> None:
    groups = dict(zip("abcdef", "XXXYYZ", strict=True))
    strata = dict(zip("abcdef", ["healthy"] * 3 + ["OSA"] * 3, strict=True))
    # By size alone, Z would join Y, and one fold would hold all of OSA.
    folds = k_fold(list("abcdef"), 2, validation=0, seed=0, groups=groups, strata=strata)
    assert [fold.test for fold in folds] == [("a", "b", "c", "f"), ("d", "e")]


@given(families=st.lists(st.integers(0, 12), min_size=20, max_size=60), seed=SEEDS)
def test_families_are_never_parted(families: list[int], seed: int) -> None:
    subjects = cohort(len(families))
    groups = dict(zip(subjects, families, strict=True))
    n_families = len(set(families))
    assume(n_families >= 6 and max(Counter(families).values()) <= 6)
    strata = {s: i % 2 for i, s in enumerate(subjects)}
    folds = k_fold(subjects, 3, validation=0.3, seed=seed, groups=groups, strata=strata)
    single = leave_one_out(subjects, validation=0.3, seed=seed, groups=groups)
    fixed = fixed_fractions(subjects, validation=0.3, test=0.3, seed=seed, groups=groups)
    for split in (*folds, *single, fixed):
        assert together(split, groups)
        assert everybody(split) == subjects
        assert 0 < len(split.validation) <= math.ceil(len(subjects) * 3 / 10)
    assert len(fixed.test) <= math.ceil(len(subjects) * 3 / 10)
    assert sorted(s for fold in folds for s in fold.test) == subjects
    assert len(single) == n_families


@given(families=st.lists(st.integers(0, 9), min_size=20, max_size=60), seed=SEEDS)
def test_folds_of_families_are_as_even_as_those_of_scikit_learn(families: list[int], seed: int) -> None:
    assume(len(set(families)) >= 4)
    subjects = cohort(len(families))
    theirs = [len(test) for _, test in GroupKFold(4).split(subjects, groups=families)]
    ours = k_fold(subjects, 4, validation=0, seed=seed, groups=dict(zip(subjects, families, strict=True)))
    assert sorted(len(fold.test) for fold in ours) == sorted(theirs)


def test_leave_one_out_tests_each_subject_alone_in_sorted_order() -> None:
    assert [fold.test for fold in leave_one_out(["c", "a", "b"], seed=0)] == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": ("a", "b"), "test": ("b",)}, "subject b in a split more than once"),
        ({"train": ("a",), "validation": ("b",), "test": ("b",)}, "subject b"),
        ({"train": ("a", "a")}, "subject a"),
        ({"train": (), "test": ("a",)}, "at least 1"),
        ({"train": "SC4001"}, "sequence of subject ids"),
        ({"train": (1, 2)}, "texts"),
        ({"train": ("a", "")}, "not empty"),
        ({"train": ("a",), "seed": 1.5}, "whole number"),
    ],
)
def test_an_impossible_split_is_refused(parts: dict, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        Split(**parts)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: fixed_fractions(cohort(2), seed=0), "1 validation and 1 test subjects of 2 leave nobody"),
        (lambda: fixed_fractions([], seed=0), "of 0 leave nobody"),
        (lambda: fixed_fractions(cohort(9), test=1.0, seed=0), "test is 1.0"),
        (lambda: fixed_fractions(cohort(9), validation=math.nan, seed=0), "validation is nan"),
        (lambda: fixed_fractions(cohort(9), max_test=-1, seed=0), "0 or more"),
        (lambda: fixed_fractions(cohort(9), seed=-1), "seed -1"),
        (lambda: fixed_fractions(cohort(9), seed=0, groups=dict.fromkeys(cohort(9), 1)), "the smallest has 9"),
        (lambda: fixed_fractions(cohort(9), seed=0, groups={"S0000": 1}), "S0001.* and 3 more without a group"),
        (lambda: k_fold(cohort(9), 3, seed=0, strata={}), "without a stratum"),
        (lambda: k_fold(cohort(9), 1, seed=0), "1 folds of 9 subjects"),
        (lambda: k_fold(cohort(9), 10, seed=0), "10 folds of 9 subjects"),
        (lambda: k_fold(cohort(9), 3, seed=0, groups=dict.fromkeys(cohort(9), 1)), "3 folds of 1 families"),
        (lambda: k_fold(cohort(9), 2, validation=0.5, seed=0), "leave nobody"),
        (lambda: leave_one_out(["a"], seed=0), "1 folds"),
    ],
)
def test_an_impossible_draw_is_refused(draw, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        draw()


@given(parts=st.lists(st.sets(st.text(min_size=1)), min_size=3, max_size=3), seed=st.none() | SEEDS, rule=st.text())
def test_a_split_goes_through_json_and_back(parts: list[set[str]], seed: int | None, rule: str) -> None:
    train, validation, test = parts[0], parts[1] - parts[0], parts[2] - parts[1] - parts[0]
    assume(train)
    split = Split(train=tuple(train), validation=tuple(validation), test=tuple(test), seed=seed, rule=rule)
    back = Split.from_json(split.to_json())
    assert back == split
    assert back.sha256 == split.sha256


def test_the_hash_is_that_of_the_file_and_of_what_it_says(tmp_path: Path) -> None:
    write_split(SPLIT, tmp_path / "split.json")
    assert read_split(tmp_path / "split.json") == SPLIT
    assert hashlib.sha256((tmp_path / "split.json").read_bytes()).hexdigest() == SPLIT.sha256
    assert Split(train=("a", "b"), validation=("c",), test=("d", "µ"), seed=7, rule="by hand").sha256 == SPLIT.sha256
    assert Split(train=("a", "b"), validation=("c",), test=("d",), seed=7, rule="by hand").sha256 != SPLIT.sha256


def test_a_file_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text("precious")
    with pytest.raises(HypnographError, match="exists"):
        write_split(SPLIT, path)
    assert path.read_text() == "precious"
    write_split(SPLIT, path, overwrite=True)
    assert read_split(path) == SPLIT


GOOD = json.loads(SPLIT.to_json())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[]",
        b"{}",
        json.dumps({**GOOD, "format": 2}).encode(),
        json.dumps({**GOOD, "extra": 1}).encode(),
        json.dumps({**GOOD, "test": ["a"]}).encode(),
        json.dumps({**GOOD, "test": "d"}).encode(),
        json.dumps({**GOOD, "test": None}).encode(),
        json.dumps({**GOOD, "test": [["d"]]}).encode(),
        json.dumps({**GOOD, "seed": True}).encode(),
    ],
)
def test_a_file_that_holds_no_split_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"split\.json"):
        read_split(tmp_path / "split.json")
