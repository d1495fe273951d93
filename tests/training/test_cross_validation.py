"""Cross-validation: each fold once, in any order, and numbers over all of them."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sklearn.metrics import f1_score  # noqa: E402

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.training import prediction_files  # noqa: E402
from hypnograph.training.cross_validation import (  # noqa: E402
    EVALUATION,
    NIGHTS_TABLE,
    PREDICTIONS,
    Fold,
    check_done,
    folds_that_test,
    judge,
    read_folds,
    run_fold,
    run_in_processes,
)
from hypnograph.training.doubts import doubts  # noqa: E402
from hypnograph.training.history import read_history  # noqa: E402
from hypnograph.training.machine import Machine  # noqa: E402
from hypnograph.training.prediction_files import PREDICTED, Options, read_pairs, read_rows  # noqa: E402
from hypnograph.training.recipes import Recipe, parse_recipe  # noqa: E402
from hypnograph.training.splits import Split, k_fold, write_split  # noqa: E402
from hypnograph.training.store import Store  # noqa: E402
from tests.training.nights import write_store  # noqa: E402
from tests.training.test_loop import TINY  # noqa: E402

CPU = Machine(accelerator="cpu", workers=0, most_steps=2)


def recipe_of(*settings: str) -> Recipe:
    return parse_recipe(TINY, ["stopping.passes=1", *settings])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return write_store(folder / "store", recipe_of().input_spec(), n_subjects=6, n_epochs=20, unscored=(3,))


@pytest.fixture(scope="module")
def splits(store: Store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    for number, split in enumerate(k_fold(store.subjects, 3, validation=0.1, seed=1), start=1):
        write_split(split, folder / f"fold-{number:02d}.json")
    return folder


@pytest.fixture(scope="module")
def done(store: Store, splits: Path, tmp_path_factory) -> tuple[list[Fold], Path]:
    out = tmp_path_factory.mktemp("cv")
    folds = read_folds([splits], out)
    for fold in reversed(folds):
        run_fold(fold, recipe_of(), store, machine=CPU)
    return folds, out


class TestFolds:
    def test_they_are_numbered_in_the_order_of_their_files(self, splits: Path) -> None:
        folds = read_folds([splits], "out")
        assert [(fold.number, fold.folder) for fold in folds] == [(n, Path(f"out/fold-0{n}")) for n in (1, 2, 3)]
        assert read_folds(sorted(splits.iterdir()), "out") == folds

    def test_a_folder_without_splits_says_what_makes_them(self, tmp_path: Path) -> None:
        with pytest.raises(HypnographError, match="hypnograph split STORE --folds K"):
            read_folds([tmp_path], "out")

    def test_a_subject_that_two_folds_test_is_named(self, tmp_path: Path) -> None:
        for name, train in {"1": "b", "2": "c"}.items():
            write_split(Split(train=(train,), test=("a",)), tmp_path / f"{name}.json")
        with pytest.raises(HypnographError, match="a is tested by fold 1 and by fold 2"):
            read_folds([tmp_path], "out")

    def test_a_fold_that_tests_nobody_is_named(self, tmp_path: Path) -> None:
        write_split(Split(train=("a",)), tmp_path / "1.json")
        with pytest.raises(HypnographError, match="fold 1 tests nobody"):
            read_folds([tmp_path], "out")


class TestARun:
    def test_every_night_is_staged_by_the_fold_that_did_not_see_it(self, done, store: Store) -> None:
        folds, _ = done
        for fold in folds:
            assert {row.subject for row in read_rows(fold.folder / PREDICTIONS)} == set(fold.split.test)
        staged = [row.night for fold in folds for row in read_rows(fold.folder / PREDICTIONS)]
        assert sorted(staged) == [night.id for night in store.nights]

    def test_the_numbers_are_of_all_folds_pooled(self, done) -> None:
        """The oracle is scikit-learn, over the epochs that were scored."""
        folds, out = done
        evaluation = judge(folds, out)
        pairs = [pair for fold in folds for pair in read_pairs(fold.folder / PREDICTIONS)]
        reference, predicted = (np.concatenate([np.asarray(pair[i].stages) for pair in pairs]) for i in (2, 3))
        scored = reference >= 0
        assert evaluation.pooled.macro_f1 == pytest.approx(
            f1_score(reference[scored], predicted[scored], average="macro", labels=range(5), zero_division=0)
        )
        assert json.loads((out / EVALUATION).read_text())["pooled"]["n_epochs"] == scored.sum()
        assert len((out / NIGHTS_TABLE).read_text().splitlines()) == 1 + 6

    def test_a_fold_that_was_interrupted_goes_on(self, done, store, splits, tmp_path, monkeypatch) -> None:
        whole, _ = done
        fold = read_folds([splits], tmp_path)[0]
        staged, predict_night = [], prediction_files.predict_night_with

        def interrupted(*arguments: object) -> object:
            if len(staged) == 1:
                raise KeyboardInterrupt
            staged.append(predict_night(*arguments))
            return staged[-1]

        monkeypatch.setattr(prediction_files, "predict_night_with", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_fold(fold, recipe_of(), store, machine=CPU)
        assert not fold.is_done
        first = fold.folder / PREDICTIONS / PREDICTED / read_rows(fold.folder / PREDICTIONS)[0].file
        written, trained = first.stat().st_mtime_ns, (fold.folder / "history.csv").stat().st_mtime_ns
        monkeypatch.undo()
        run_fold(fold, recipe_of(), store, machine=CPU)
        assert fold.is_done
        assert (first.stat().st_mtime_ns, (fold.folder / "history.csv").stat().st_mtime_ns) == (written, trained)
        assert len(read_history(fold.folder)) == 1
        assert read_pairs(fold.folder / PREDICTIONS) == read_pairs(whole[0].folder / PREDICTIONS)

    def test_it_goes_on_in_the_same_way_only(self, store, splits, tmp_path) -> None:
        fold = read_folds([splits], tmp_path)[0]
        run_fold(fold, recipe_of(), store, machine=CPU)
        with pytest.raises(HypnographError, match="combinations None, now 1"):
            run_fold(fold, recipe_of(), store, machine=CPU, options=Options(most=1))
        with pytest.raises(HypnographError, match=r"was staged in another way \(combinations None, now 1\)"):
            check_done([fold], recipe_of(), Options(most=1), most_steps=2)
        check_done([fold], recipe_of(), most_steps=2)

    def test_what_was_trained_on_first_derivations_is_tested_on_them(self, splits, tmp_path) -> None:
        nights = write_store(tmp_path / "s", recipe_of().input_spec(), n_subjects=6, n_epochs=20, derivations=2)
        for derivations, most in (("first", 1), ("random", None)):
            fold = read_folds([splits], tmp_path / derivations)[0]
            run_fold(fold, recipe_of(f"derivations={derivations}"), nights, machine=CPU)
            assert json.loads((fold.folder / PREDICTIONS / "made-by.json").read_text())["combinations"] == most

    def test_subjects_without_a_night_are_left_out_but_a_fold_tests_somebody(self, store, tmp_path) -> None:
        split = k_fold(store.subjects, 3, validation=0.1, seed=1)[0]
        more = Split(train=split.train, validation=split.validation, test=(*split.test, "folder/S99"))
        fold = Fold(1, more, tmp_path / "fold-01")
        assert "1 subjects of the split have no night" in doubts(recipe_of(), store, more)[0]
        run_fold(fold, recipe_of(), store, machine=CPU)
        assert {row.subject for row in read_rows(fold.folder / PREDICTIONS)} == set(split.test)
        nobody = Fold(2, Split(train=split.train, test=("folder/S99",)), tmp_path / "fold-02")
        with pytest.raises(HypnographError, match="no subject that fold 2 tests has a night"):
            run_fold(nobody, recipe_of(), store, machine=CPU)
        assert folds_that_test([fold, nobody], store) == [fold]
        assert not nobody.folder.exists()

    def test_folds_that_are_missing_are_named(self, done, splits, tmp_path) -> None:
        _, out = done
        (tmp_path / "fold-02").symlink_to(out / "fold-02")
        with pytest.raises(HypnographError, match=r"fold 1, 3 of 3 is not done; run it first \(--fold N\)"):
            judge(read_folds([splits], tmp_path), tmp_path)

    def test_folds_of_another_recipe_or_split_are_not_taken_for_these(self, done, splits, tmp_path) -> None:
        folds, out = done
        check_done(folds, recipe_of(), most_steps=2)
        with pytest.raises(HypnographError, match="fold-01 is of another recipe"):
            check_done(folds, recipe_of("seed=2"), most_steps=2)
        turned = [Path(splits / f"fold-0{n}.json") for n in (1, 3, 2)]
        with pytest.raises(HypnographError, match="fold-02 is of another split"):
            check_done(read_folds(turned, out), recipe_of(), most_steps=2)


def test_what_went_wrong_in_a_process_is_told_in_one_line(splits: Path, tmp_path: Path) -> None:
    commands = {1: ["--version"], 2: ["train", "no-recipe", "x", "y", "z"], 3: ["train", "--no-option"]}
    told: dict[int, str] = {}
    run_in_processes(
        read_folds([splits], tmp_path),
        lambda fold: commands[fold.number],
        jobs=2,
        done=lambda fold, problem: told.update({fold.number: problem}),
    )
    assert told[1] == ""
    assert told[2].startswith("no recipe 'no-recipe'. There are: attnsleep")
    assert told[3] == "No such option '--no-option'."
    assert not any("\n" in problem for problem in told.values())
