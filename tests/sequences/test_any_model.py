"""Any language model by its folder or its name."""

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.sequences import any_model
from hypnograph.sequences.any_model import load_language_model, model_folder, shipped_models
from hypnograph.sequences.language_model import Config, StageLanguageModel, weight_shapes
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.ngrams import NGramModel
from hypnograph.sequences.semi_markov import SemiMarkovModel

STAGES = np.repeat([0, 1, 2, 3, 2, 4], [5, 2, 9, 9, 4, 8]).astype(np.int8)
NIGHTS = [TrainingNight("d", str(i), np.roll(STAGES, i)) for i in range(4)]


def gpt() -> StageLanguageModel:
    config = Config(positions=8, width=6, layers=1, heads=1)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weight_shapes(config).items()}
    return StageLanguageModel(config=config, weights=weights, context=8)


@pytest.mark.parametrize("make", [gpt, lambda: NGramModel.fit(NIGHTS, 3), lambda: SemiMarkovModel.fit(NIGHTS)])
def test_each_kind_is_read_by_its_own_reader(make, tmp_path) -> None:
    model = make()
    again = load_language_model(model.save(tmp_path))
    assert type(again) is type(model)
    assert np.array_equal(again.log_probabilities(STAGES), model.log_probabilities(STAGES))


def test_a_model_that_ships_is_found_by_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(any_model, "SHIPPED", tmp_path)
    NGramModel.fit(NIGHTS, 2, name="tiny").save(tmp_path / "tiny")
    (tmp_path / "screen").mkdir()
    (tmp_path / "screen" / "model.json").write_text('{"architecture": "disorder-screen"}')
    assert shipped_models() == ("tiny",)
    assert model_folder("tiny") == tmp_path / "tiny"
    assert load_language_model("tiny").name == "tiny"


def test_all_that_ship_can_be_loaded() -> None:
    for name in shipped_models():
        assert load_language_model(name).targets_ahead == 1


def test_neither_folder_nor_name_is_refused_with_the_names_known() -> None:
    with pytest.raises(HypnographError, match="'nothing' is no folder of a stage language model"):
        load_language_model("nothing")


@pytest.mark.parametrize("content", ["{}", "[", '{"architecture": "usleep"}'])
def test_a_folder_of_something_else_is_refused(content: str, tmp_path) -> None:
    with pytest.raises(UnreadableFileError):
        load_language_model(tmp_path)
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(UnreadableFileError):
        load_language_model(tmp_path)


def test_a_damaged_file_of_weights_is_refused(tmp_path) -> None:
    SemiMarkovModel.fit(NIGHTS).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(UnreadableFileError, match="checkpoint"):
        load_language_model(tmp_path)
