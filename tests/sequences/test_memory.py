"""The language model with a fixed memory. Oracles: summaries counted by hand; a night read whole and by epochs."""

from dataclasses import replace

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.sequences.any_model import load_language_model
from hypnograph.sequences.memory import (
    HALF_LIVES,
    LAST_BOUTS,
    LAST_EPOCHS,
    MemoryModel,
    NightMemory,
    load_memory,
    n_summaries,
    summaries,
    weight_shapes,
)
from hypnograph.stages import W_SLEEP


def random_model(seed: int = 0, members: int = 2, hidden: int = 8) -> MemoryModel:
    random = np.random.default_rng(seed)
    weights = {name: random.normal(0, 0.4, shape) for name, shape in weight_shapes(5, members, hidden).items()}
    weights["deviation"] = np.abs(weights["deviation"]) + 1
    return MemoryModel(weights=weights, name="random")


MODEL = random_model()
NIGHT = np.random.default_rng(3).integers(-1, 5, 120).astype(np.int8)


def remembered(stages: list[int]) -> NightMemory:
    memory = NightMemory(1, 5)
    for stage in stages:
        memory.read(np.array([stage]))
    return memory


def test_what_is_counted_is_what_happened() -> None:
    memory = remembered([0, 0, 1, 2, 2, 2, 4])
    assert memory.last[0].tolist() == [4, 2, 2, 2, 1, 0, 0, -1]
    assert memory.age[0] == 1
    assert memory.bouts[0].tolist() == [2, 1, 0]
    assert memory.durations[0].tolist() == [3, 1, 2]
    assert memory.epochs[0] == 7
    assert memory.since_onset[0] == 5  # the first sleep is the third epoch
    assert memory.since_stage[0].tolist() == [5, 4, 1, 1000, 0]


def test_shares_fade_by_half_in_their_half_life() -> None:
    half_life = HALF_LIVES[0]
    memory = remembered([3] * 200)
    share = memory.shares[0, 0, 3]
    assert share == pytest.approx(1, abs=1e-6)
    for _ in range(half_life):
        memory.read(np.array([2]))
    assert memory.shares[0, 0, 3] == pytest.approx(share / 2)
    assert memory.shares[0, 0, 2] == pytest.approx(1 - share / 2)


def test_the_rate_of_leaving_tells_a_broken_night_from_a_calm_one() -> None:
    calm, broken = remembered([2] * 60), remembered([2, 0] * 30)
    rate = [(memory.left[0, 0, 2] / memory.spent[0, 0, 2]) for memory in (calm, broken)]
    assert rate[0] == 0
    assert rate[1] > 0.9


def test_an_unscored_epoch_is_the_stage_before_it_with_a_mark() -> None:
    gap, no_gap = NightMemory(1, 5), NightMemory(1, 5)
    for stage in (0, 2):
        gap.read(np.array([stage])), no_gap.read(np.array([stage]))
    with_mark, without = gap.read(np.array([-1]))[0], no_gap.read(np.array([2]))[0]
    assert np.flatnonzero(with_mark != without).tolist() == [LAST_EPOCHS * 5]


def test_the_summary_is_as_wide_as_it_says() -> None:
    # last stages, mark, age, age by stage, bouts, durations, time, onset, since each stage, shares, changes, leaving
    assert n_summaries(5) == 40 + 1 + 3 + 5 + LAST_BOUTS * 5 + LAST_BOUTS + 2 + 3 + 5 + 20 + 4 + 10
    assert summaries(NIGHT[None], 5).shape == (1, len(NIGHT), n_summaries(5))


def test_probabilities_sum_to_one_and_rows_never_see_the_future() -> None:
    whole = MODEL.log_probabilities(NIGHT)
    np.testing.assert_allclose(np.exp(whole).sum(axis=1), 1, atol=1e-6)
    changed = NIGHT.copy()
    changed[70:] = 3
    np.testing.assert_allclose(MODEL.log_probabilities(changed)[:70], whole[:70], atol=1e-6)
    assert np.abs(MODEL.log_probabilities(changed)[70:] - whole[70:]).max() > 0.01


def test_reading_by_epochs_gives_what_a_whole_night_gives() -> None:
    other = np.random.default_rng(4).integers(0, 5, len(NIGHT)).astype(np.int8)
    reader = MODEL.reader(2)
    rows = np.stack([reader.read(np.array([a, b])) for a, b in zip(NIGHT, other, strict=True)], axis=1)
    np.testing.assert_allclose(rows[0], MODEL.log_probabilities(NIGHT), atol=1e-5)
    np.testing.assert_allclose(rows, MODEL.log_probabilities(np.stack([NIGHT, other])), atol=1e-5)


def test_a_selected_night_goes_on_from_its_own_past() -> None:
    other = np.full(len(NIGHT), 2)
    reader = MODEL.reader(2)
    for a, b in zip(NIGHT[:50], other[:50], strict=True):
        reader.read(np.array([a, b]))
    reader.select(np.array([1, 0, 0]))
    rows = reader.read(np.array([4, 4, 1]))
    for row, night in zip(rows, ([*other[:50], 4], [*NIGHT[:50], 4], [*NIGHT[:50], 1]), strict=True):
        np.testing.assert_allclose(row, MODEL.log_probabilities(np.array(night))[-1], atol=1e-5)


def test_members_are_averaged_as_probabilities() -> None:
    def member(i: int) -> MemoryModel:
        return replace(MODEL, weights={k: v if v.ndim == 1 else v[i : i + 1] for k, v in MODEL.weights.items()})

    mean = (np.exp(member(0).log_probabilities(NIGHT)) + np.exp(member(1).log_probabilities(NIGHT))) / 2
    np.testing.assert_allclose(np.exp(MODEL.log_probabilities(NIGHT)), mean, atol=1e-6)


def test_a_saved_model_is_the_same_model(tmp_path) -> None:
    folder = MODEL.save(tmp_path / "model")
    for loaded in (load_memory(folder), load_language_model(folder)):
        np.testing.assert_array_equal(loaded.log_probabilities(NIGHT), MODEL.log_probabilities(NIGHT))
        assert loaded.name == "random"
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnreadableFileError, match="no checkpoint"):
        load_memory(folder)


def test_wrong_weights_and_stages_are_refused() -> None:
    with pytest.raises(HypnographError, match=r"second\.bias"):
        replace(MODEL, weights={k: v for k, v in MODEL.weights.items() if k != "second.bias"})
    with pytest.raises(HypnographError, match="not finite"):
        replace(MODEL, weights=dict(MODEL.weights) | {"mean": np.full_like(MODEL.weights["mean"], np.nan)})
    with pytest.raises(HypnographError, match="scheme"):
        replace(MODEL, scheme=W_SLEEP)
    with pytest.raises(HypnographError, match="0 to 4"):
        MODEL.log_probabilities([0, 5])
