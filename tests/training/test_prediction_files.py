"""Predictions as files: the vote, what is never mixed, and pairs of reference and predicted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sklearn.metrics import cohen_kappa_score  # noqa: E402

from hypnograph.checkpoint import load, save  # noqa: E402
from hypnograph.errors import HypnographError, UnreadableFileError  # noqa: E402
from hypnograph.hypnogram import Hypnogram  # noqa: E402
from hypnograph.hypnogram_files import json as json_files  # noqa: E402
from hypnograph.hypnogram_files import read_hypnogram  # noqa: E402
from hypnograph.models import create_model  # noqa: E402
from hypnograph.network import Network  # noqa: E402
from hypnograph.stages import SCHEMES  # noqa: E402
from hypnograph.training.augmentation import create_augmentation  # noqa: E402
from hypnograph.training.prediction_files import (  # noqa: E402
    COMBINATIONS,
    MADE_BY,
    NIGHTS,
    PREDICTED,
    REFERENCE,
    Options,
    evaluate_predictions,
    file_name,
    on_one_grid,
    predict,
    prediction_folders,
    read_all_pairs,
    read_pairs,
    read_rows,
    reference_of,
)
from hypnograph.training.recipes import parse_recipe  # noqa: E402
from hypnograph.training.store import Store  # noqa: E402
from tests.training.nights import write_store  # noqa: E402
from tests.training.test_loop import TINY  # noqa: E402


def network_of(folder: Path, seed: int) -> Network:
    torch.manual_seed(seed)
    return load(save(create_model("tinysleepnet", preset="small", sample_rate=16.0), folder))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Network:
    return network_of(tmp_path_factory.mktemp("network"), seed=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("nights") / "store"
    spec = parse_recipe(TINY).input_spec()
    return write_store(folder, spec, n_subjects=3, nights_each=2, n_epochs=20, derivations=3, unscored=(4,))


@pytest.fixture(scope="module")
def predictions(network: Network, store: Store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "predictions"
    list(predict(network, store, None, folder, options=Options(each=True)))
    return folder


def probabilities(path: Path) -> np.ndarray:
    return np.array(json_files.read_hypnodensity(path).probabilities)


class TestWhatIsWritten:
    def test_the_vote_is_the_mean_of_the_combinations_probabilities(self, predictions: Path) -> None:
        """The oracle is numpy."""
        folders = sorted((predictions / COMBINATIONS).iterdir())
        assert [folder.name for folder in folders] == ["EEG 1", "EEG 2", "EEG 3"]
        for row in read_rows(predictions):
            vote = probabilities(predictions / PREDICTED / row.file)
            said = [probabilities(folder / row.file) for folder in folders]
            np.testing.assert_allclose(vote, np.mean(said, axis=0), atol=1e-6)
            np.testing.assert_allclose(vote.sum(axis=1), 1, atol=1e-6)
            assert np.ptp(said, axis=0).max() > 1e-3
            stages = np.asarray(read_hypnogram(predictions / PREDICTED / row.file).stages)
            np.testing.assert_array_equal(stages, vote.argmax(axis=1))

    def test_the_reference_is_what_the_store_holds_unscored_epochs_too(self, predictions: Path, store: Store) -> None:
        for night in store.nights:
            reference = read_hypnogram(predictions / REFERENCE / file_name(night))
            np.testing.assert_array_equal(np.asarray(reference.stages), night.stages[0])
            assert reference.stages[4] == -1

    def test_the_table_says_whose_nights_they_are(self, predictions: Path, store: Store) -> None:
        rows = read_rows(predictions)
        assert [(row.dataset, row.night, row.subject) for row in rows] == [
            (night.dataset, night.id, night.person) for night in store.nights
        ]

    def test_the_table_says_which_nights_are_simulated(self, network, store: Store, tmp_path) -> None:
        made = write_store(tmp_path / "store", store.spec, n_subjects=1, simulated=True)
        for of_store, said in ((made, "yes"), (store, "")):
            list(predict(network, of_store, of_store.subjects[:1], tmp_path / said))
            assert {row.simulated for row in read_rows(tmp_path / said)} == {said}
            assert {pair.simulated for pair in read_pairs(tmp_path / said)} == {bool(said)}

    def test_no_two_nights_share_a_file(self, store: Store) -> None:
        night = store.nights[0]
        ids = ("a/b", "a_b", "a b", "a%2Fb", "å", "../up")
        names = [file_name(replace(night, entry=night.entry | {"id": id_})) for id_ in ids]
        assert len(set(names)) == len(ids)
        assert not any("/" in name for name in names)

    def test_fewer_combinations_are_the_first_ones(self, predictions: Path, network, store, tmp_path) -> None:
        (row, *_) = predict(network, store, ["folder/S00"], tmp_path, options=Options(most=1))
        alone = probabilities(predictions / COMBINATIONS / "EEG 1" / row.file)
        np.testing.assert_allclose(probabilities(tmp_path / PREDICTED / row.file), alone, atol=1e-6)
        assert not (tmp_path / COMBINATIONS).exists()

    def test_augmented_copies_vote_and_the_seed_decides_them(self, network, store, tmp_path) -> None:
        changes = (create_augmentation("gaussian-noise"), create_augmentation("amplitude", probability=1.0))

        def staged(name: str, seed: int, n: int) -> np.ndarray:
            options = Options(most=1, augmentations=changes, n_augmented=n, seed=seed)
            (row, *_) = predict(network, store, ["folder/S00"], tmp_path / name, options=options)
            return probabilities(tmp_path / name / PREDICTED / row.file)

        plain, one, again, other = staged("0", 1, 0), staged("1", 1, 2), staged("2", 1, 2), staged("3", 2, 2)
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - plain).max() > 1e-5
        assert np.abs(one - other).max() > 1e-5

    def test_the_reference_of_several_scorers_is_the_first_or_their_majority(self, store: Store) -> None:
        night = store.nights[0]
        three = np.array([[0, 1, -1], [2, 1, 3], [2, 4, 3]], np.int8)

        class ThreeScorers(type(night)):
            stages = three

        night = ThreeScorers(night.storage, night.spec, night.entry | {"scorers": ["A", "B", "C"]})
        first, majority = (reference_of(night, how, 30.0) for how in ("first", "majority"))
        assert (first.scorer, first.stages.tolist()) == ("A", [0, 1, -1])
        assert (majority.scorer, majority.stages.tolist()) == ("majority", [2, 1, 3])


class TestGoingOn:
    def test_only_nights_that_are_not_there_are_staged(self, network, store, tmp_path) -> None:
        rows = list(predict(network, store, None, tmp_path))
        before = {row.file: (tmp_path / PREDICTED / row.file).stat().st_mtime_ns for row in rows}
        (tmp_path / PREDICTED / rows[2].file).unlink()
        assert list(predict(network, store, None, tmp_path, resume=True)) == rows
        after = {row.file: (tmp_path / PREDICTED / row.file).stat().st_mtime_ns for row in rows}
        assert [row.file for row in rows if before[row.file] != after[row.file]] == [rows[2].file]

    def test_more_nights_may_be_added(self, network, store, tmp_path) -> None:
        list(predict(network, store, ["folder/S01"], tmp_path))
        assert len(list(predict(network, store, None, tmp_path, resume=True))) == 6
        assert len(read_pairs(tmp_path)) == 6

    def test_predictions_are_not_replaced_in_silence(self, predictions: Path, network, store) -> None:
        with pytest.raises(HypnographError, match="--resume goes on with them, --overwrite replaces them"):
            list(predict(network, store, None, predictions))

    def test_what_two_networks_say_is_never_mixed(self, predictions: Path, store, tmp_path) -> None:
        other = network_of(tmp_path, seed=2)
        with pytest.raises(HypnographError, match=r"holds other predictions \(weights_sha256"):
            list(predict(other, store, None, predictions, options=Options(each=True), resume=True))

    def test_nor_what_a_network_says_in_two_ways(self, predictions: Path, network, store) -> None:
        with pytest.raises(HypnographError, match=r"combinations None, now 1; each True, now False"):
            list(predict(network, store, None, predictions, options=Options(most=1), resume=True))
        assert json.loads((predictions / MADE_BY).read_text())["each"] is True

    def test_nor_the_nights_of_two_parts(self, predictions: Path, network, store) -> None:
        with pytest.raises(HypnographError, match=r"4 nights that are not asked for now, e.g. folder/S01N0"):
            list(predict(network, store, ["folder/S00"], predictions, options=Options(each=True), resume=True))

    def test_overwriting_leaves_nothing_of_before_and_keeps_other_files(self, network, store, tmp_path) -> None:
        list(predict(network, store, ["folder/S00", "folder/S01"], tmp_path, options=Options(each=True)))
        (tmp_path / PREDICTED / "mine.txt").touch()
        (row, *_) = predict(network, store, ["folder/S02"], tmp_path, overwrite=True)
        names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
        assert names == sorted([NIGHTS, MADE_BY, "mine.txt", *2 * ["folder~S02N0.json", "folder~S02N1.json"]])
        assert row.file == "folder~S02N0.json"

    def test_nobody_to_stage_is_an_error(self, network, store, tmp_path) -> None:
        with pytest.raises(HypnographError, match="no nights to stage"):
            list(predict(network, store, [], tmp_path))


class TestReading:
    def test_all_nights_are_pairs_on_the_stores_epochs(self, predictions: Path) -> None:
        pairs = read_pairs(predictions)
        assert [pair.name for pair in pairs][:3] == ["folder/S00N0", "folder/S00N1", "folder/S01N0"]
        assert pairs[0].subject == "folder/S00"
        assert len(read_pairs(predictions, combination="EEG 2")) == 6
        assert read_pairs(predictions, combination="nobody") == []

    def test_the_kappa_is_scikit_learns(self, predictions: Path) -> None:
        pairs = read_pairs(predictions)
        reference, predicted = (np.concatenate([np.asarray(pair[i].stages) for pair in pairs]) for i in (2, 3))
        scored = reference >= 0
        assert not scored.all()
        found = evaluate_predictions([predictions]).pooled
        assert found.cohen_kappa == pytest.approx(cohen_kappa_score(reference[scored], predicted[scored]))
        assert found.n_epochs == scored.sum()

    def test_a_part_of_the_nights_does_not_pass_for_all(self, network, store, tmp_path) -> None:
        next(iter(predict(network, store, None, tmp_path)))
        with pytest.raises(HypnographError, match=r"5 of 6 nights are not staged yet, e\.g\. folder/S00N1"):
            read_pairs(tmp_path)

    def test_a_night_in_two_folders_is_an_error(self, predictions: Path, network, store, tmp_path) -> None:
        list(predict(network, store, ["folder/S02"], tmp_path))
        with pytest.raises(HypnographError, match="folder/S02N0 is in more than one folder"):
            read_all_pairs([predictions, tmp_path])

    def test_nights_that_nobody_scored_are_left_out(self, network, store, tmp_path) -> None:
        rows = list(predict(network, store, None, tmp_path))
        for row in rows[:2]:
            (tmp_path / REFERENCE / row.file).unlink()
        assert len(read_pairs(tmp_path)) == 4
        for row in rows[2:]:
            (tmp_path / REFERENCE / row.file).unlink()
        with pytest.raises(HypnographError, match="no night with a reference"):
            evaluate_predictions([tmp_path])

    def test_folders_are_found_below_a_folder_each_once(self, predictions: Path, monkeypatch) -> None:
        (predictions.parent / NIGHTS).write_text("night,accuracy\n")  # as `summary --csv nights.csv` writes
        monkeypatch.chdir(predictions.parent)
        assert prediction_folders([".", predictions.name, predictions]) == [Path(predictions.name)]
        (predictions.parent / NIGHTS).unlink()
        with pytest.raises(UnreadableFileError, match="`hypnograph predict` makes them"):
            prediction_folders([predictions / PREDICTED])

    @pytest.mark.parametrize("content", [b"night,accuracy\nx,1\n", b"dataset,night,subject,file\na,b,c,d,e\n", b"\xff"])
    def test_a_table_that_is_none_is_said(self, content: bytes, tmp_path) -> None:
        (tmp_path / NIGHTS).write_bytes(content)
        with pytest.raises(UnreadableFileError, match="holds no predictions"):
            read_rows(tmp_path)


class TestOneGrid:
    def test_a_reference_of_30_s_is_laid_on_finer_predictions(self) -> None:
        reference, predicted = Hypnogram([0, -1, 4], 30.0), Hypnogram([0, 0, 1, 1, 2, 4], 15.0)
        on_grid, same = on_one_grid(reference, predicted)
        assert (on_grid.stages.tolist(), on_grid.epoch_s) == ([0, 0, -1, -1, 4, 4], 15.0)
        assert same == predicted

    def test_a_reference_is_merged_as_the_network_does(self) -> None:
        scheme = SCHEMES["W-light-deep-REM"]
        reference, predicted = Hypnogram([0, 1, 2, 3, 4, -1], 30.0), Hypnogram([0, 1, 1, 2, 3, 3], 30.0, scheme=scheme)
        merged, _ = on_one_grid(reference, predicted)
        assert (merged.scheme, merged.stages.tolist()) == (scheme, [0, 1, 1, 2, 3, -1])
