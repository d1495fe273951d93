"""``hypnograph language-model``."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram, write_hypnogram
from hypnograph.sequences.any_model import load_language_model
from hypnograph.sequences.next_stage_corpus import read_nights
from hypnograph.sequences.next_stage_evaluation import next_stage_scores
from hypnograph.sequences.plausibility import improbable_stretches
from hypnograph.sequences.sampling import sample_nights


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["language-model", *map(str, arguments)])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exception is None, (result.output, result.exception)
    return result.stdout


def night(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat([0, 1, 2, 3, 2, 4, 2, 0, 2, 4], rng.integers(2, 40, 10))


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with scorings, a corpus and two trained models."""
    folder = tmp_path_factory.mktemp("work")
    for i in range(6):
        write_hypnogram(Hypnogram(night(i)), folder / "clinic" / f"person{i}.txt")
    rows = [{"dataset": "other", "subject": i, "stages": night(20 + i).tolist()} for i in range(4)]
    (folder / "other.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done("train", folder / "model", folder / "clinic")
    done("train", folder / "grams", folder / "clinic", folder / "other.jsonl", "--kind", "ngram", "--order", 3)
    return folder


class TestTrain:
    def test_the_model_is_there_with_a_card_that_tells_its_nights_and_no_person(self, work: Path) -> None:
        model = load_language_model(work / "grams")
        assert (model.name, model.order, model.targets_ahead) == ("grams", 3, 1)
        card = (work / "grams" / "README.md").read_text()
        assert "10 nights of 10 subjects (clinic 6, other 4)" in card
        assert "person" not in card

    def test_it_says_what_it_was_fitted_to(self, work: Path) -> None:
        printed = done("train", work / "again", work / "clinic", "--back", 0)
        assert "semi-markov, fitted to 6 nights of 6 subjects (clinic 6); mean surprise there 0." in printed
        assert load_language_model(work / "again").back == 0

    def test_a_network_is_trained_with_its_options_and_named(self, work: Path) -> None:
        pytest.importorskip("torch")
        small = ("--set", "passes=1", "--set", "members=1", "--set", "hidden=4")
        printed = done("train", work / "network", work / "clinic", "--kind", "memory", *small)
        assert "pass 1 of 1" in printed
        model = load_language_model(work / "network")
        assert (model.name, model.data) == ("network", "6 nights of 6 subjects (clinic 6)")
        refused = run("train", work / "other", work / "clinic", "--kind", "memory", "--set", "depth=1").exception
        assert "'depth' is no option" in str(refused)
        assert not (work / "other").exists()

    def test_a_folder_that_exists_and_options_of_another_kind_are_refused(self, work: Path) -> None:
        assert "not overwritten" in str(run("train", work / "model", work / "clinic").exception)
        refused = run("train", work / "new", work / "clinic", "--set", "width=3").exception
        assert isinstance(refused, HypnographError)
        assert "--order and --back" in str(refused)


class TestEvaluate:
    def test_the_numbers_are_those_of_the_function(self, work: Path) -> None:
        models = {str(work / name): load_language_model(work / name) for name in ("grams", "model")}
        expected = next_stage_scores(models, read_nights([work / "other.jsonl"]))
        named = [word for name in models for word in ("--model", name)]
        found = json.loads(done("evaluate", work / "other.jsonl", *named, "--json"))
        assert [row["nats"]["value"] for row in found] == [score.nats.value for score in expected]
        assert found[0]["difference"] is None
        assert found[1]["difference"]["low"] == pytest.approx(expected[1].difference.low)

    def test_the_table_has_both_models_and_datasets(self, work: Path, monkeypatch) -> None:
        monkeypatch.chdir(work)
        printed = done("evaluate", "other.jsonl", "clinic", "--model", "grams", "--model", "model")
        for text in ("clinic", "other", "grams", "model", "nats an epoch", "difference"):
            assert text in printed

    def test_a_name_that_is_no_model_is_refused(self, work: Path) -> None:
        refused = run("evaluate", work / "other.jsonl", "--model", "nothing").exception
        assert "'nothing' is no folder of a stage language model" in str(refused)

    def test_published_weights_that_are_not_here_say_how_to_get_them(self, work: Path, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("HYPNOGRAPH_CACHE", str(tmp_path))
        refused = run("evaluate", work / "other.jsonl", "--model", "slm-shhs-90").exception
        assert "hypnograph models fetch slm-shhs-90" in str(refused)


class TestSample:
    def test_the_files_are_the_nights_of_the_function(self, work: Path) -> None:
        printed = done("sample", work / "model", work / "dreams", "--nights", 3, "--hours", 1, "--seed", 4)
        expected = sample_nights(load_language_model(work / "model"), 120, n_nights=3, seed=4)
        files = sorted((work / "dreams").iterdir())
        assert [file.name for file in files] == [f"sampled-000{i}.csv" for i in (1, 2, 3)]
        for file, stages in zip(files, expected, strict=True):
            assert np.array_equal(read_hypnogram(file).stages, stages)
        assert "TST_min" in printed
        assert "KS" not in printed

    def test_like_real_nights_they_have_their_lengths_and_are_compared(self, work: Path) -> None:
        printed = done("sample", work / "grams", work / "like", "--nights", 7, "--like", work / "clinic", "--json",
                       "--format", "txt")  # fmt: skip
        lengths = [read_hypnogram(file).n_epochs for file in sorted((work / "like").iterdir())]
        assert lengths == [len(night(i)) for i in (0, 1, 2, 3, 4, 5, 0)]
        rows = {row["statistic"]: row for row in json.loads(printed)}
        assert rows["TST_min"]["real median"] == np.median([(night(i) > 0).sum() / 2 for i in range(6)])
        assert 0 <= rows["TST_min"]["KS"] <= 1

    def test_a_folder_that_exists_and_an_unknown_format_are_refused(self, work: Path) -> None:
        assert "not overwritten" in str(run("sample", work / "model", work / "clinic").exception)
        assert "csv" in str(run("sample", work / "model", work / "no", "--format", "pdf").exception)
        assert not (work / "no").exists()


class TestScore:
    @pytest.fixture
    def slip(self, tmp_path: Path) -> Path:
        stages = night(50)
        at = int(np.flatnonzero(stages == 3)[5])
        stages[at] = 4
        write_hypnogram(Hypnogram(stages), tmp_path / "slip.txt")
        return tmp_path / "slip.txt"

    def test_a_planted_slip_is_flagged_with_place_and_expectation(self, work: Path, slip: Path) -> None:
        (found,) = json.loads(done("score", slip, "--model", work / "model", "--limit", 1, "--json"))
        (expected,) = improbable_stretches(load_language_model(work / "model"), read_hypnogram(slip), limit=1)
        assert found["stretches"] == [expected._asdict()]
        printed = done("score", slip, "--model", work / "model", "--limit", 1)
        assert f"epoch {expected.first_epoch}, 1 long: REM, expected N3" in printed
        assert "nats an epoch (perplexity " in printed

    def test_percentiles_are_among_the_nights_of_training_or_those_given(self, work: Path, slip: Path) -> None:
        assert "the nights it was trained on (6 nights)" in done("score", slip, "--model", work / "model")
        given = done("score", slip, "--model", work / "model", "--reference", work / "other.jsonl")
        assert "Percentiles are among the 4 nights of --reference" in given

    def test_a_folder_of_nights_is_scored_night_by_night(self, work: Path) -> None:
        found = json.loads(done("score", work / "clinic", "--model", work / "grams", "--json"))
        assert [row["file"] for row in found] == [f"person{i}.txt" for i in range(6)]

    def test_nothing_to_flag_is_said(self, work: Path) -> None:
        path = work / "clinic" / "person0.txt"
        assert "no stretch that would be likelier" in done("score", path, "--model", work / "model", "--limit", 0)
