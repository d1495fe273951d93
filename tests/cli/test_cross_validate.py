"""``hypnograph cross-validate``: folds in any order, in processes or as jobs of a cluster, and numbers over all."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from hypnograph.cli import hypnograph  # noqa: E402
from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.evaluation.tables import evaluate_nights  # noqa: E402
from hypnograph.training import cross_validation  # noqa: E402
from hypnograph.training.cross_validation import check_done, read_folds  # noqa: E402
from hypnograph.training.prediction_files import read_pairs  # noqa: E402
from hypnograph.training.recipes import parse_recipe, read_recipe  # noqa: E402
from hypnograph.training.splits import Split, read_split, write_split  # noqa: E402
from hypnograph.training.store import open_store  # noqa: E402
from tests.training.nights import write_store  # noqa: E402
from tests.training.test_loop import TINY  # noqa: E402

QUICK = ("--passes", "1", "--most-steps", "1", "--accelerator", "cpu", "--workers", "0")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with a store, a recipe, two folds, and a cross-validation that is done, `cv`."""
    folder = tmp_path_factory.mktemp("cross-validate")
    write_store(folder / "store", parse_recipe(TINY).input_spec(), n_subjects=4, n_epochs=20, unscored=(3,))
    (folder / "tiny.toml").write_text(TINY)
    invoke("split", folder / "store", folder / "splits", "--folds", 2, "--validation", 0.2)
    result = invoke("cross-validate", folder / "tiny.toml", folder / "store", folder / "splits", folder / "cv", *QUICK)
    assert result.exit_code == 0, result.output
    (folder / "said.txt").write_text(result.stdout)
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(work: Path, monkeypatch) -> None:
    monkeypatch.chdir(work)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(hypnograph, [*map(str, words)])


def run(out: Path, *options: object, recipe: str = "tiny.toml", splits: object = "splits") -> Result:
    return invoke("cross-validate", recipe, "store", splits, out, *QUICK, *options)


def files_of(cv: Path, place: str = "predicted") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cv.glob(f"fold-*/predictions/{place}/*.json")}


def test_the_numbers_are_those_of_the_pooled_predictions(work: Path) -> None:
    """The oracle is `evaluate_nights` over what lies in the folders of the folds."""
    pairs = [pair for fold in ("fold-01", "fold-02") for pair in read_pairs(work / "cv" / fold / "predictions")]
    assert len(pairs) == 4
    evaluation = evaluate_nights(pairs)
    assert json.loads((work / "cv" / "evaluation.json").read_text()) == evaluation.as_dict()
    assert repr(evaluation) in (work / "said.txt").read_text()
    assert len((work / "cv" / "evaluation-nights.csv").read_text().splitlines()) == 5


def test_folds_may_be_run_one_after_the_other_in_any_order(work: Path, tmp_path: Path) -> None:
    first = run(tmp_path, "--fold", 2)
    assert first.stdout == "still to be done: fold 1 of 2\n"
    assert first.stderr.startswith("fold 2: 1 train, 2 test\ntraining pass 1 of 1")
    written = (tmp_path / "fold-02" / "done.json").stat().st_mtime_ns
    rest = run(tmp_path, "--quiet")
    assert rest.stderr == ""
    assert rest.stdout.replace(str(tmp_path), str(work / "cv")) == (work / "said.txt").read_text()
    assert (tmp_path / "fold-02" / "done.json").stat().st_mtime_ns == written
    assert files_of(tmp_path) == files_of(work / "cv")
    assert (tmp_path / "evaluation.json").read_text() == (work / "cv" / "evaluation.json").read_text()


def test_folds_in_processes_say_what_folds_one_by_one_say(work: Path, tmp_path: Path) -> None:
    result = run(tmp_path, "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert sorted(result.stderr.splitlines()) == ["fold 1: done", "fold 2: done"]
    assert files_of(tmp_path) == files_of(work / "cv")


def test_what_fails_in_a_process_is_told_and_the_command_fails(tmp_path: Path, monkeypatch) -> None:
    """The processes themselves are tested in `tests/training/test_cross_validation.py`."""

    def second_fails(folds: list, command: object, *, jobs: int, done: Callable) -> None:
        for fold in folds:
            done(fold, "the loss is nan" if fold.number == 2 else "")

    monkeypatch.setattr(cross_validation, "run_in_processes", second_fails)
    result = run(tmp_path, "--jobs", 2)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["fold 1: done", "fold 2: the loss is nan"]
    assert "fold 2 failed; the same command tries again" in str(result.exception)


def test_a_job_of_an_array_runs_the_fold_of_its_number(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert run(tmp_path).stdout == "still to be done: fold 2 of 2\n"
    assert not (tmp_path / "fold-02").exists()


class TestSlurm:
    @pytest.fixture
    def cluster(self, tmp_path: Path, monkeypatch) -> Path:
        """A cluster's `sbatch` that writes down what it is given."""
        sbatch = tmp_path / "bin" / "sbatch"
        sbatch.parent.mkdir()
        sbatch.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\necho Submitted batch job 7\n')
        sbatch.chmod(0o755)
        monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
        return tmp_path

    def test_an_array_is_submitted_whose_jobs_are_the_same_command(self, cluster: Path, monkeypatch) -> None:
        options = ("--set", 'title="a b"', "--combinations", 3, "--compile", "--slurm", "--gres=gpu:1 --time=24:00:00")
        result = run(cluster / "cv", *options)
        assert result.stdout == "Submitted batch job 7\n"
        array, gpu, time, wrapped = (cluster / "given").read_text().splitlines()
        assert (array, gpu, time) == ("--array=1,2", "--gres=gpu:1", "--time=24:00:00")
        words = shlex.split(wrapped.removeprefix("--wrap="))
        assert words[:4] == [sys.executable, "-m", "hypnograph", "cross-validate"]
        assert words[4:8] == ["tiny.toml", "store", "splits", str(cluster / "cv")]
        # What the jobs get is read as what was given, less --slurm.
        command = hypnograph.get_command(None, "cross-validate")
        given = [str(word) for word in ("tiny.toml", "store", "splits", cluster / "cv", *QUICK, *options)]
        asked, got = (command.make_context("", list(argv)).params for argv in (given, words[4:]))
        passes = asked.pop("passes")
        assert got.pop("settings") == (*asked.pop("settings"), f"stopping.passes={passes}")
        assert (got.pop("slurm"), got.pop("passes"), asked.pop("slurm")) == (None, None, options[-1])
        assert got == asked

    def test_only_folds_that_are_not_done_are_submitted(self, work: Path, cluster: Path) -> None:
        shutil.copytree(work / "cv" / "fold-02", cluster / "cv" / "fold-02")
        run(cluster / "cv", "--slurm", "")
        assert (cluster / "given").read_text().splitlines()[0] == "--array=1"
        assert "nothing to submit" in str(run(work / "cv", "--slurm", "").exception)

    def test_only_folds_that_are_asked_for_are_submitted(self, cluster: Path) -> None:
        run(cluster / "cv", "--slurm", "", "--fold", 2)
        assert (cluster / "given").read_text().splitlines()[0] == "--array=2"

    def test_what_sbatch_refuses_is_told(self, cluster: Path) -> None:
        (cluster / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid partition >&2\nexit 1\n")
        assert str(run(cluster / "cv", "--slurm", "--partition=x").exception) == "sbatch: invalid partition"

    def test_a_computer_without_sbatch_is_none_of_a_cluster(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "there is no sbatch" in str(run(tmp_path / "cv", "--slurm", "").exception)


class TestErrors:
    def test_a_fold_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        assert "--fold 3: there are 2 folds" in str(run(tmp_path, "--fold", 3).exception)

    def test_folds_of_another_recipe_are_not_taken_for_these(self, work: Path) -> None:
        result = run(work / "cv", "--set", "seed=2")
        assert "fold-01 is of another recipe than is asked now" in str(result.exception)

    @pytest.mark.parametrize("options", [(), ("--jobs", 2), ("--slurm", "")])
    def test_mistakes_are_told_before_anything_is_begun(self, options: tuple, tmp_path: Path) -> None:
        assert "no recipe 'nothing'" in str(run(tmp_path / "cv", *options, recipe="nothing").exception)
        assert "has no key 'x'" in str(run(tmp_path / "cv", *options, "--set", "x=1").exception)
        assert "--folds K` makes them" in str(run(tmp_path / "cv", *options, splits=tmp_path).exception)
        result = invoke("cross-validate", "tiny.toml", "nothing", "splits", tmp_path / "cv", *options)
        assert "nothing is no store" in str(result.exception)
        assert not (tmp_path / "cv").exists()


def test_a_fold_that_tests_nobody_who_is_there_is_left_out_and_told(work: Path, tmp_path: Path) -> None:
    shutil.copytree("splits", tmp_path / "splits")
    lone = Split(train=read_split(Path("splits/fold-01.json")).train, test=("folder/S99",))
    write_split(lone, tmp_path / "splits" / "fold-03.json")
    result = run(tmp_path / "cv", splits=tmp_path / "splits")
    assert result.exit_code == 0, result.output
    assert "note: 1 subjects of the split have no night in" in result.stderr
    assert "note: fold 3 is left out" in result.stderr
    assert len(files_of(tmp_path / "cv")) == 4
    assert not (tmp_path / "cv" / "fold-03").exists()


def test_a_fold_whose_nights_were_prepared_anew_is_not_taken_for_done(work: Path, tmp_path: Path) -> None:
    shutil.copytree("cv", tmp_path / "cv")
    spec = parse_recipe(TINY).input_spec()
    write_store(tmp_path / "store", spec, n_subjects=4, n_epochs=20, unscored=(3, 4))
    words = ("cross-validate", "tiny.toml", tmp_path / "store", "splits", tmp_path / "cv", *QUICK)
    assert "was prepared anew since" in str(invoke(*words).exception)


@pytest.mark.parametrize("changed", ["folder/S00", "folder/S03"])
def test_so_is_one_that_learnt_from_other_nights(changed: str, work: Path, tmp_path: Path) -> None:
    """One of the two subjects is tested by the first fold, the other it learns from."""
    folds = read_folds(["splits"], tmp_path / "cv")
    shutil.copytree("cv", tmp_path / "cv")
    store = open_store("store")
    other = replace(store.nights[0], entry=store.nights[0].entry | {"sha256": "0" * 64})
    nights = tuple(
        replace(other, entry=n.entry | {"sha256": "0" * 64}) if n.person == changed else n for n in store.nights
    )
    recipe = read_recipe("tiny.toml", ["stopping.passes=1"])
    check_done(folds, recipe, None, store, most_steps=1)
    for fold in folds:
        with pytest.raises(HypnographError, match="prepared anew since"):
            check_done([fold], recipe, None, replace(store, nights=nights), most_steps=1)


def test_validation_subjects_without_a_night_are_told_before_anything_is_trained(work: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        known = read_split(Path(f"splits/fold-0{number}.json"))
        gone = Split(
            train=known.train, validation=("folder/S98",) if number == 2 else known.validation, test=known.test
        )
        write_split(gone, tmp_path / f"fold-0{number}.json")
    result = run(tmp_path / "cv", splits=tmp_path)
    assert "no subject of the validation part of fold 2 has a night" in str(result.exception)
    assert not (tmp_path / "cv" / "fold-01").exists()


def test_a_trial_is_not_taken_for_the_training(work: Path, tmp_path: Path) -> None:
    shutil.copytree("cv", tmp_path / "cv")
    words = ["cross-validate", "tiny.toml", "store", "splits", tmp_path / "cv", *QUICK]
    words[words.index("--most-steps") + 1] = "2"
    assert "was trained with 1 steps in a pass, not 2" in str(invoke(*words).exception)


def test_summary_and_confusion_say_that_a_fold_is_missing(work: Path, tmp_path: Path) -> None:
    shutil.copytree("cv", tmp_path / "cv")
    shutil.rmtree(tmp_path / "cv" / "fold-02" / "predictions")
    for command in ("summary", "confusion"):
        result = invoke(command, tmp_path / "cv")
        assert result.exit_code == 0
        assert "fold-02 is a training beside these that has staged nothing" in result.stderr
        assert "note" not in invoke(command, "cv").stderr
