"""Whose nights there are, and how subjects are parted: families together, datasets and disorders evenly."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hypnograph.cli import hypnograph
from hypnograph.datasets import Night, Problem
from hypnograph.errors import HypnographError
from hypnograph.training.people import Person, draw_folds, draw_fractions, people, people_of
from hypnograph.training.published_splits import ATTNSLEEP_EDF_78, PUBLISHED
from hypnograph.training.recipes import parse_recipe
from hypnograph.training.splits import U_SLEEP, Split
from hypnograph.training.store import Store
from tests.datasets.trees import write_psg, write_scoring
from tests.training.nights import write_store
from tests.training.test_loop import TINY


def persons(dataset: str, n: int, *, family_of: int = 1, disorders: tuple[str, ...] = ("",)) -> list[Person]:
    """Return n subjects in families of `family_of`, whose disorders alternate."""
    return [
        Person(f"{dataset}/{i:03d}", dataset, f"{dataset}/F{i // family_of}", disorders[i % len(disorders)])
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("people") / "store"
    return write_store(folder, parse_recipe(TINY).input_spec(), n_subjects=3, n_epochs=5)


def parts_of(split: Split) -> dict[str, tuple[str, ...]]:
    return {"train": split.train, "validation": split.validation, "test": split.test}


def assert_families_together(split: Split, everyone: list[Person]) -> None:
    family = {person.id: person.family for person in everyone}
    seen = [{family[subject] for subject in part} for part in parts_of(split).values()]
    assert sum(map(len, seen)) == len(set().union(*seen))


class TestWho:
    def test_a_store_and_the_folder_it_was_prepared_from_have_the_same_people(self, tmp_path: Path) -> None:
        for name in ("SC4001", "SC4002", "SC4011"):
            write_psg(tmp_path / f"in/{name}E0-PSG.edf", ("EEG Fpz-Cz", "EOG horizontal"), sample_rate=64.0)
            write_scoring(tmp_path / f"in/{name}EC-Hypnogram.edf")
        source = f"sleep-edf-sc={tmp_path / 'in'}"
        command = ["prepare", str(tmp_path / "store"), source, "--kinds", "EEG", "--rate", "64"]
        assert CliRunner().invoke(hypnograph, command).exit_code == 0
        of_folder = people([source])
        assert of_folder == people([str(tmp_path / "store")])
        assert len(of_folder) == 2
        assert people([source, source]) == of_folder

    def test_one_person_is_one_in_all_datasets_that_have_them(self, tmp_path: Path) -> None:
        """Who came to both visits of SHHS, or is among the first 20 of Sleep-EDF, is one."""
        for visit in (1, 2):
            for number in range(200_001, 200_009):
                place = tmp_path / f"shhs{visit}-{number}"
                write_psg(tmp_path / "shhs" / f"{place.name}.edf", ("EEG",), sample_rate=64.0)
                (tmp_path / "shhs" / f"{place.name}-nsrr.xml").write_text("<PSGAnnotation/>")
        visits = [f"{name}={tmp_path / 'shhs'}" for name in ("shhs1", "shhs2")]
        everyone = people(visits)
        assert [person.id for person in everyone] == [f"shhs/{number}" for number in range(200_001, 200_009)]
        split = draw_fractions(everyone, validation=0.25, test=0.25, seed=1)
        assert sum(len(part) for part in parts_of(split).values()) == 8
        nights = [Night(dataset="sleep-edf-20", id="SC4001", subject="SC400", psg=tmp_path)]
        assert [night.person for night in nights] == ["sleep-edf-sc/SC400"]

    def test_ones_own_folder_needs_the_subjects_pattern_and_its_problems_are_told(self, tmp_path: Path) -> None:
        for name in ("P1_a", "P1_b", "P2_a"):
            write_psg(tmp_path / f"{name}.edf", ("C4-M1",), sample_rate=64.0)
            write_scoring(tmp_path / f"{name}-Hypnogram.edf")
        write_psg(tmp_path / "P3_a.edf", ("C4-M1",), sample_rate=64.0)
        told: list[Problem] = []
        found = people([f"folder={tmp_path}"], {"subject": r"P\d"}, told.append)
        assert [person.id for person in found] == ["folder/P1", "folder/P2"]
        assert [problem.path.name for problem in told] == ["P3_a.edf"]

    def test_family_and_disorder_come_from_the_nights(self, store: Store) -> None:
        entries = [{"family": "F1", "disorder": "insomnia"}, {"family": "F1", "disorder": ""}, {}]
        nights = tuple(replace(n, entry=n.entry | more) for n, more in zip(store.nights, entries, strict=True))
        assert people_of(replace(store, nights=nights)) == [
            Person("folder/S00", "folder", "folder/F1", "insomnia"),
            Person("folder/S01", "folder", "folder/F1", ""),
            Person("folder/S02", "folder", "folder/S02", ""),
        ]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("nobody=x", "no dataset 'nobody'"),
            ("folder=nowhere", "nowhere: no such folder"),
            ("folder=", "write DATASET=FOLDER"),
            ("folder=empty", "no night with a scoring"),
            ("nothing", "no store of prepared nights"),
        ],
    )
    def test_what_is_no_source_is_named(self, source: str, message: str, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(HypnographError, match=message):
            people([source])


class TestOneSplit:
    def test_the_shares_hold_in_each_dataset(self) -> None:
        everyone = persons("a", 40) + persons("b", 10)
        split = draw_fractions(everyone, validation=0.1, test=0.2, seed=1)
        sizes = {name: Counter(s.partition("/")[0] for s in part) for name, part in parts_of(split).items()}
        assert sizes == {"train": {"a": 28, "b": 7}, "validation": {"a": 4, "b": 1}, "test": {"a": 8, "b": 2}}

    def test_u_sleeps_caps_are_of_each_dataset(self) -> None:
        # Perslev 2021: 10 % of a dataset, at most 50, choose; 15 %, at most 100, test.
        split = draw_fractions(persons("a", 1000) + persons("b", 40), seed=1, **U_SLEEP)
        assert [len(split.validation), len(split.test)] == [50 + 4, 100 + 6]

    @pytest.mark.parametrize("seed", range(5))
    def test_families_stay_together(self, seed: int) -> None:
        everyone = persons("a", 30, family_of=3) + persons("b", 20, family_of=2)
        split = draw_fractions(everyone, validation=0.2, test=0.2, seed=seed)
        assert_families_together(split, everyone)
        assert len(split.test) >= 8

    def test_the_draw_depends_on_the_seed_and_not_on_the_order(self) -> None:
        everyone = persons("a", 30) + persons("b", 30)
        mixed = random.Random(1).sample(everyone, len(everyone))
        one = draw_fractions(everyone, validation=0.2, test=0.2, seed=1)
        assert draw_fractions(mixed, validation=0.2, test=0.2, seed=1) == one
        assert draw_fractions(everyone, validation=0.2, test=0.2, seed=2).test != one.test


class TestFolds:
    @pytest.mark.parametrize("folds", [4, "leave-one-out"])
    def test_everybody_is_tested_once_and_families_stay_together(self, folds: int | str) -> None:
        everyone = persons("a", 24, family_of=2) + persons("b", 8)
        splits = draw_folds(everyone, folds, seed=1)
        assert sorted(s for split in splits for s in split.test) == [person.id for person in everyone]
        assert len(splits) == (4 if folds == 4 else 12 + 8)
        for split in splits:
            assert_families_together(split, everyone)
            assert 0 < len(split.validation) <= 4

    def test_each_fold_tests_as_much_of_each_dataset(self) -> None:
        splits = draw_folds(persons("a", 20) + persons("b", 8), 4, seed=1)
        assert [sum(s.startswith("b/") for s in split.test) for split in splits] == [2, 2, 2, 2]

    def test_disorders_are_spread_evenly_where_it_is_asked(self) -> None:
        # 4 of 40 have insomnia: drawn without regard to it, the folds would not have one each.
        everyone = [p._replace(disorder="insomnia" if i < 4 else "none") for i, p in enumerate(persons("a", 40))]
        ill = {person.id for person in everyone if person.disorder == "insomnia"}

        def of_folds(**how: bool) -> list[int]:
            return [len(ill & set(split.test)) for split in draw_folds(everyone, 4, seed=3, **how)]

        assert of_folds(by_disorder=True) == [1, 1, 1, 1] != of_folds()

    def test_disorders_that_nobody_knows_are_said(self) -> None:
        with pytest.raises(HypnographError, match="no disorder is known"):
            draw_folds(persons("a", 10), 2, seed=1, by_disorder=True)

    def test_attnsleeps_folds_are_those_of_its_list(self) -> None:
        everyone = persons("sleep-edf-sc", 78)
        splits = draw_folds(everyone, "attnsleep-edf-78", seed=1)
        # Their code: numpy.array_split of the permuted subjects into 20.
        expected = [sorted(f"sleep-edf-sc/{i:03d}" for i in part) for part in np.array_split(ATTNSLEEP_EDF_78, 20)]
        assert [sorted(split.test) for split in splits] == expected
        assert not any(split.validation for split in splits)

    def test_tinysleepnets_folds_are_those_of_its_code(self) -> None:
        everyone = persons("sleep-edf-20", 20)
        splits = draw_folds(everyone, "tinysleepnet-edf-20", seed=1)
        # trainer.py: seed 42 + fold, RandomState.choice of a tenth of those that are not tested.
        for fold, split in enumerate(splits):
            rest = np.setdiff1d(np.arange(20), [fold])
            drawn = np.random.RandomState(42 + fold).choice(rest, size=round(19 * 0.1), replace=False)
            assert split.test == (f"sleep-edf-20/{fold:03d}",)
            assert split.validation == tuple(f"sleep-edf-20/{i:03d}" for i in sorted(drawn))

    @pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "ecg-mass-200"])
    def test_published_folds_are_of_the_subjects_that_were_published(self, name: str) -> None:
        n = int(name.rpartition("-")[2])
        splits = draw_folds(persons("a", n), name, seed=1)
        assert sum(len(split.test) for split in splits) == n
        with pytest.raises(HypnographError, match=f"folds of {n} subjects; there are {n + 1} here"):
            draw_folds(persons("a", n + 1), name, seed=1)

    def test_folds_of_no_known_name_list_the_names(self) -> None:
        with pytest.raises(HypnographError, match=r"no folds 'ten': give a number.*tinysleepnet-edf-78"):
            draw_folds(persons("a", 10), "ten", seed=1)
