"""``hypnograph predict``: whose nights, by what, at which resolution, and what `evaluate` makes of the files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from hypnograph.checkpoint import export, save  # noqa: E402
from hypnograph.cli import hypnograph  # noqa: E402
from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram  # noqa: E402
from hypnograph.models import create_model, describe  # noqa: E402
from hypnograph.simulate import simulate_hypnogram, simulate_recording  # noqa: E402
from hypnograph.training.loop import train  # noqa: E402
from hypnograph.training.machine import Machine  # noqa: E402
from hypnograph.training.prediction_files import read_pairs, read_rows  # noqa: E402
from hypnograph.training.recipes import parse_recipe  # noqa: E402
from hypnograph.training.splits import Split, read_split, write_split  # noqa: E402
from hypnograph.training.store import open_store  # noqa: E402
from tests.training.nights import write_store  # noqa: E402
from tests.training.test_loop import TINY  # noqa: E402

AUGMENTED = TINY + '\n[[augmentation]]\nname = "amplitude"\nprobability = 1.0\n'
SPLIT = Split(train=("a/S00", "b/S00"), validation=("a/S01",), test=("a/S02", "b/S01", "b/S02"))


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with a store of two datasets and a training on it, `run`."""
    folder, recipe = tmp_path_factory.mktemp("predict"), parse_recipe(AUGMENTED, ["stopping.passes=1"])
    store = write_store(folder / "store", recipe.input_spec(), n_subjects=3, n_epochs=20, datasets=("a", "b"),
                        derivations=2, unscored=(6,))  # fmt: skip
    train(recipe, store, SPLIT, folder / "run", machine=Machine(accelerator="cpu", workers=0))
    shutil.copytree(folder / "run" / "best", folder / "alone")
    return folder


@pytest.fixture
def here(work: Path, monkeypatch) -> Path:
    monkeypatch.chdir(work)
    return work


def invoke(*words: object) -> Result:
    return CliRunner().invoke(hypnograph, [*map(str, words)])


def predict(out: Path, *options: object, checkpoint: object = "run") -> Result:
    return invoke("predict", checkpoint, "store", out, *options)


def probabilities(folder: Path, file: str) -> np.ndarray:
    density = read_hypnodensity(folder / "predicted" / file)
    assert density is not None
    return np.array(density.probabilities)


class TestWhose:
    def test_the_test_part_of_the_training_is_staged(self, here: Path, tmp_path: Path) -> None:
        result = predict(tmp_path / "out")
        assert result.output == f"3 nights of 3 subjects: {tmp_path / 'out'}\n"
        assert {row.subject for row in read_rows(tmp_path / "out")} == set(SPLIT.test)

    @pytest.mark.parametrize(
        ("options", "subjects"),
        [
            (("--part", "validation"), {"a/S01"}),
            (("--part", "all"), {*SPLIT.train, *SPLIT.validation, *SPLIT.test}),
            (("--dataset", "b"), {"b/S01", "b/S02"}),
            (("--part", "all", "--dataset", "a"), {"a/S00", "a/S01", "a/S02"}),
        ],
    )
    def test_or_another_part(self, options: tuple, subjects: set, here: Path, tmp_path: Path) -> None:
        assert predict(tmp_path / "out", *options).exit_code == 0
        assert {row.subject for row in read_rows(tmp_path / "out")} == subjects

    def test_or_that_of_another_split(self, here: Path, tmp_path: Path) -> None:
        assert read_split(here / "run" / "split.json") == SPLIT
        (tmp_path / "split.json").write_text(Split(train=("b/S02",), test=("a/S00",)).to_json())
        assert predict(tmp_path / "out", "--split", tmp_path / "split.json").exit_code == 0
        assert [row.subject for row in read_rows(tmp_path / "out")] == ["a/S00"]


class TestByWhat:
    def test_each_combination_is_written_and_the_vote_is_their_mean(self, here: Path, tmp_path: Path) -> None:
        """The oracle is numpy."""
        predict(tmp_path, "--each")
        for row in read_rows(tmp_path):
            said = [
                read_hypnodensity(tmp_path / "combinations" / name / row.file).probabilities
                for name in ("EEG 1", "EEG 2")
            ]
            vote = probabilities(tmp_path, row.file)
            np.testing.assert_allclose(vote, np.mean(said, axis=0), atol=1e-6)
            np.testing.assert_allclose(vote.sum(axis=1), 1, atol=1e-6)

    def test_one_combination_says_something_else_than_two(self, here: Path, tmp_path: Path) -> None:
        predict(tmp_path / "one", "--combinations", 1)
        predict(tmp_path / "two")
        file = read_rows(tmp_path / "one")[0].file
        assert np.abs(probabilities(tmp_path / "one", file) - probabilities(tmp_path / "two", file)).max() > 1e-4

    def test_augmentation_is_the_recipes_and_follows_the_seed(self, here: Path, tmp_path: Path) -> None:
        for name, options in {"0": (), "1": ("--augment", 2), "2": ("--augment", 2, "--seed", 5)}.items():
            assert predict(tmp_path / name, *options).exit_code == 0
        file = read_rows(tmp_path / "0")[0].file
        plain, one, other = (probabilities(tmp_path / name, file) for name in "012")
        assert np.abs(one - plain).max() > 1e-5
        assert np.abs(one - other).max() > 1e-5

    def test_an_onnx_file_says_what_its_checkpoint_says(self, here: Path, tmp_path: Path) -> None:
        export("run", tmp_path / "run.onnx")
        assert predict(tmp_path / "onnx", "--part", "all", checkpoint=tmp_path / "run.onnx").exit_code == 0
        predict(tmp_path / "torch", "--part", "all")
        for row in read_rows(tmp_path / "onnx"):
            one, other = (probabilities(tmp_path / name, row.file) for name in ("onnx", "torch"))
            np.testing.assert_allclose(one, other, atol=1e-4)

    def test_the_folder_of_a_training_is_its_best_checkpoint(self, here: Path, tmp_path: Path) -> None:
        for name in ("run", "run/best"):
            predict(tmp_path / name, checkpoint=name)
            assert {row.subject for row in read_rows(tmp_path / name)} == set(SPLIT.test)
        made = [json.loads((tmp_path / name / "made-by.json").read_text()) for name in ("run", "run/best")]
        assert made[0] == made[1]

    def test_a_recipe_that_trains_on_first_derivations_is_tested_on_them(self, here: Path, tmp_path: Path) -> None:
        shutil.copytree("run", tmp_path / "run")
        recipe = (tmp_path / "run" / "recipe.toml").read_text()
        (tmp_path / "run" / "recipe.toml").write_text(recipe.replace('derivations = "random"', 'derivations = "first"'))
        made = []
        for name, options in {"first": (), "all": ("--combinations", 0)}.items():
            assert predict(tmp_path / name, *options, checkpoint=tmp_path / "run").exit_code == 0
            made.append(json.loads((tmp_path / name / "made-by.json").read_text())["combinations"])
        assert made == [1, None]

    def test_subjects_of_the_split_without_a_night_are_told(self, here: Path, tmp_path: Path) -> None:
        more = Split(train=SPLIT.train, validation=SPLIT.validation, test=(*SPLIT.test, "a/S99"))
        write_split(more, tmp_path / "split.json")
        result = predict(tmp_path / "out", "--split", tmp_path / "split.json")
        assert result.exit_code == 0
        assert "note: 1 subjects of the split have no night in" in result.stderr
        assert "a/S99" in result.stderr
        assert {row.subject for row in read_rows(tmp_path / "out")} == set(SPLIT.test)


class TestGoingOn:
    def test_nights_that_were_prepared_anew_are_not_taken_for_the_old_ones(self, here: Path, tmp_path: Path) -> None:
        predict(tmp_path / "out", "--part", "all")
        spec = parse_recipe(AUGMENTED).input_spec()
        write_store(tmp_path / "store", spec, n_subjects=3, n_epochs=20, datasets=("a", "b"), derivations=2)
        result = invoke("predict", "run", tmp_path / "store", tmp_path / "out", "--part", "all", "--resume")
        assert "a/S00N0 was prepared anew since" in str(result.exception)

    def test_nights_that_are_staged_stay_as_they_are(self, here: Path, tmp_path: Path) -> None:
        predict(tmp_path)
        files = sorted((tmp_path / "predicted").iterdir())
        files[0].unlink()
        before = [file.stat().st_mtime_ns for file in files[1:]]
        assert predict(tmp_path, "--resume").exit_code == 0
        assert files[0].exists()
        assert [file.stat().st_mtime_ns for file in files[1:]] == before

    def test_predictions_are_replaced_only_where_it_is_asked(self, here: Path, tmp_path: Path) -> None:
        predict(tmp_path)
        assert "--overwrite replaces them" in str(predict(tmp_path).exception)
        assert "nights that are not asked for now" in str(predict(tmp_path, "--dataset", "a", "--resume").exception)
        assert predict(tmp_path, "--dataset", "a", "--overwrite").exit_code == 0
        assert [path.name for path in (tmp_path / "predicted").iterdir()] == ["a~S02N0.json"]


@pytest.mark.parametrize(
    ("checkpoint", "options", "message"),
    [
        ("alone", (), "does not say whom it was trained on: --split FILE, or --part all"),
        ("nowhere", ("--part", "all"), "nowhere: no such checkpoint"),
        ("store", ("--part", "all"), "store is no checkpoint"),
        ("run", ("--split", "nowhere.json"), "nowhere.json"),
        ("run", ("--dataset", "c"), "1 datasets have no night in this store: c"),
        ("run", ("--resolution", "5"), "gives one stage each 30 s"),
        ("run", ("--split", "."), "is a folder of splits; give one of its files"),
        ("alone", ("--augment", "1", "--part", "all"), "holds no training"),
    ],
)
def test_what_cannot_be_staged_is_said(
    checkpoint: str, options: tuple, message: str, here: Path, tmp_path: Path
) -> None:
    assert message in str(predict(tmp_path / "out", *options, checkpoint=checkpoint).exception)
    assert not (tmp_path / "out").exists()


def test_a_recipe_without_augmentation_has_none_for_the_test(here: Path, tmp_path: Path) -> None:
    shutil.copytree("run", tmp_path / "run")
    (tmp_path / "run" / "recipe.toml").write_text(TINY)
    result = predict(tmp_path / "out", "--augment", 1, checkpoint=tmp_path / "run")
    assert "the recipe of this training has no augmentation" in str(result.exception)


@pytest.mark.parametrize("predicted", ["predicted", "combinations/EEG 2"])
def test_evaluate_knows_whose_nights_they_are(predicted: str, here: Path, tmp_path: Path) -> None:
    predict(tmp_path / "out", "--each")
    csv = tmp_path / "nights-by-stage.csv"
    arguments = ("evaluate", tmp_path / "out" / "reference", tmp_path / "out" / predicted, "--csv", csv)
    assert invoke(*arguments).exit_code == 0
    assert [line.split(",")[1] for line in csv.read_text().splitlines()[1:]] == ["a/S02", "b/S01", "b/S02"]
    shutil.copytree(tmp_path / "out" / "reference", tmp_path / "ben")
    several = invoke(*arguments[:3], "--reference", tmp_path / "ben")
    assert several.exit_code == 0, several.output
    assert "3 nights of 3 subjects" in several.output
    assert invoke(*arguments, "--overwrite", "--subject-pattern", "^.").exit_code == 0
    assert [line.split(",")[1] for line in csv.read_text().splitlines()[1:]] == ["a", "b", "b"]


def test_evaluate_counts_people_whatever_is_called_nights_csv(here: Path, tmp_path: Path) -> None:
    """Its own table, written beside the predictions, is not the one of `predict`."""
    predict(tmp_path / "out")
    table, folder = tmp_path / "out" / "nights.csv", tmp_path / "out"
    for _ in range(2):
        result = invoke("evaluate", folder / "reference", folder / "predicted", "--csv", table, "--overwrite")
        assert result.exit_code == 0, result.output
        assert "3 nights of 3 subjects" in result.output
    files = sorted(path.name for path in (folder / "predicted").iterdir())
    rows = [f"a,x,{subject},{file}" for subject, file in zip(("one", "one", "two"), files, strict=True)]
    table.write_text("\n".join(["dataset,night,subject,file", *rows, ""]))
    shutil.copytree(folder / "reference", tmp_path / "ben")
    for more in ((), ("--reference", tmp_path / "ben")):
        assert "3 nights of 2 subjects" in invoke("evaluate", folder / "reference", folder / "predicted", *more).output


def test_stages_that_are_finer_than_the_references_are_told(here: Path, tmp_path: Path) -> None:
    from hypnograph.hypnogram_files import write_hypnogram

    predict(tmp_path / "out")
    assert "note" not in invoke("summary", tmp_path / "out").stderr
    for path in (tmp_path / "out" / "predicted").iterdir():
        write_hypnogram(read_hypnogram(path).upsample(6), path, overwrite=True)
    for command in ("summary", "confusion"):
        assert "has a stage each 5 s; the reference's epochs are cut" in invoke(command, tmp_path / "out").stderr


def test_evaluate_finds_in_the_files_what_summary_says(here: Path, tmp_path: Path) -> None:
    predict(tmp_path / "out")
    said = invoke("summary", tmp_path / "out", "--json")
    found = invoke("evaluate", tmp_path / "out" / "reference", tmp_path / "out" / "predicted", "--json")
    assert said.exit_code == found.exit_code == 0, (said.output, found.output)
    one, other = json.loads(said.stdout)["pooled"], json.loads(found.stdout)["pooled"]
    assert one["cohen_kappa"] == other["cohen_kappa"]
    assert one["confusion"] == other["confusion"]
    assert one["n_epochs"] == sum(int((night.stages[0] >= 0).sum()) for night in open_store(here / "store").nights
                                  if night.person in SPLIT.test)  # fmt: skip


def test_a_recording_is_staged_with_the_folder_of_a_training(here: Path, tmp_path: Path) -> None:
    from hypnograph.signal_files import edf

    night = simulate_recording(simulate_hypnogram(seed=1, duration_h=0.25), seed=1, derivations=("C4-M1",))
    edf.write(night, tmp_path / "night.edf")
    said = []
    for number, model in enumerate(("run", "run/best")):
        out = tmp_path / str(number)
        result = invoke("stage", tmp_path / "night.edf", "--model", model, "--to", "csv", "--out", out)
        assert result.exit_code == 0, result.output
        said.append(read_hypnodensity(out / "night-hypnogram.csv").probabilities)
    np.testing.assert_array_equal(*said)
    assert len(said[0]) == 30


class TestFinerThanAnEpoch:
    @pytest.fixture(scope="class")
    @staticmethod
    def staged(tmp_path_factory) -> Path:
        """Two nights, staged each 10 s by an untrained U-Sleep."""
        folder = tmp_path_factory.mktemp("fine")
        torch.manual_seed(1)
        model = create_model("usleep", preset="small")
        save(model, folder / "usleep")
        write_store(folder / "store", describe(model).input, n_subjects=2, n_epochs=12, unscored=(6,), scale=20.0)
        result = invoke("predict", folder / "usleep", folder / "store", folder / "out", "--part", "all",
                        "--resolution", 10)  # fmt: skip
        assert result.exit_code == 0, result.output
        return folder

    def test_stages_are_as_long_as_was_asked(self, staged: Path) -> None:
        for row in read_rows(staged / "out"):
            predicted = read_hypnogram(staged / "out" / "predicted" / row.file)
            reference = read_hypnogram(staged / "out" / "reference" / row.file)
            assert (predicted.epoch_s, reference.epoch_s) == (10.0, 30.0)
            assert predicted.n_epochs == 3 * reference.n_epochs
            np.testing.assert_allclose(probabilities(staged / "out", row.file).sum(axis=1), 1, atol=1e-6)

    def test_the_reference_is_laid_on_them(self, staged: Path) -> None:
        """The oracle is numpy: each scored epoch counts three times."""
        scored = sum(int((night.stages[0] >= 0).sum()) for night in open_store(staged / "store").nights)
        assert json.loads(invoke("summary", staged / "out", "--json").stdout)["pooled"]["n_epochs"] == 3 * scored
        assert f"2 nights, {3 * scored} epochs" in invoke("confusion", staged / "out").output
        pair = read_pairs(staged / "out")[0]
        night = open_store(staged / "store").nights[0]
        np.testing.assert_array_equal(np.asarray(pair.reference.stages), np.repeat(night.stages[0], 3))

    def test_a_resolution_that_divides_no_epoch_is_refused(self, staged: Path, tmp_path: Path) -> None:
        result = invoke("predict", staged / "usleep", staged / "store", tmp_path / "out", "--part", "all",
                        "--resolution", 7)  # fmt: skip
        assert "7 s does not divide an epoch" in str(result.exception)
