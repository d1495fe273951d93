"""What is known about weights survives being written."""

import json

import pytest

from hypnograph.errors import HypnographError
from hypnograph.model_info import FORMAT, ModelInfo
from hypnograph.montage import ChannelKind
from hypnograph.preprocess import InputSpec
from hypnograph.stages import W_NREM_REM

INFO = ModelInfo(
    architecture="usleep",
    config={"n_channels": 2, "pools": [2, 3]},
    input=InputSpec((ChannelKind.EEG, ChannelKind.EOG), 128.0, band_hz=(0.3, 35.0), outliers="clip", scaling="robust"),
    scheme=W_NREM_REM,
    sub_epochs=6,
    reach=15,
    grid=16,
    metrics={"kappa": 0.8},
    name="usleep-µ",
)


def test_a_description_goes_through_json_and_back() -> None:
    assert ModelInfo.from_json(INFO.to_json()) == INFO


def test_it_says_how_long_a_scored_stretch_is() -> None:
    assert INFO.resolution_s == 5.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": FORMAT + 1}, "format"),
        ({"scheme": "R&K"}, "R&K"),
        ({"colour": "red"}, "colour"),
        ({"input": {"kinds": ["EEG"], "sample_rate": 100.0, "scaling": "loud"}}, "loud"),
        ({"input": {"kinds": ["smell"], "sample_rate": 100.0}}, "smell"),
        ({"grid": 0}, "grid"),
    ],
)
def test_what_is_not_understood_is_refused(change: dict, said: str) -> None:
    with pytest.raises(HypnographError, match=said):
        ModelInfo.from_json(json.dumps(json.loads(INFO.to_json()) | change))


def test_a_language_model_of_stages_is_said_not_to_stage() -> None:
    with pytest.raises(HypnographError, match=r"^stage-gpt takes no signals"):
        ModelInfo.from_json(json.dumps({"format": 1, "architecture": "stage-gpt", "config": {}}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": "x"}', "\x00"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(HypnographError):
        ModelInfo.from_json(text)
