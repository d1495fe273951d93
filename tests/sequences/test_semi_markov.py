"""The semi-Markov model: the oracles are a walk through the night in plain Python, and nights of known durations."""

import itertools
import json

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.ngrams import NGramModel
from hypnograph.sequences.semi_markov import AGES, COARSE, SemiMarkovModel, load_semi_markov
from hypnograph.stages import AASM_5, W_SLEEP


def bouts_of(durations: dict[int, list[int]], n_bouts: int, rng: np.random.Generator) -> np.ndarray:
    """Return W and sleep in turn, each bout of a duration drawn from a list."""
    return np.concatenate([np.full(rng.choice(durations[i % 2]), i % 2) for i in range(n_bouts)]).astype(np.int8)


def nights_of(durations: dict[int, list[int]], n: int, seed: int = 0) -> list[TrainingNight]:
    rng = np.random.default_rng(seed)
    return [TrainingNight("d", str(i), bouts_of(durations, 60, rng)) for i in range(n)]


@pytest.fixture(scope="module", params=[0, 1, 2])
def model(request) -> SemiMarkovModel:
    rng = np.random.default_rng(1)
    stages = [np.repeat(rng.integers(0, 5, 80), rng.integers(1, 9, 80)).astype(np.int8) for _ in range(8)]
    return SemiMarkovModel.fit([TrainingNight("d", str(i), s) for i, s in enumerate(stages)], back=request.param)


def walked(model: SemiMarkovModel, stages: list[int]) -> list[np.ndarray]:
    """Return what the model says after each epoch, by its documented arrays alone."""
    rows, kind, age = [], -1, 0
    for t, stage in enumerate(stages):
        if t == 0:
            kind, age = int(model.first_kinds[stage]), 1
        elif stage == stages[t - 1]:
            age = age + 1
        else:
            kind, age = int(model.kind_after[kind, stage]), 1
        column = min(age, model.max_age) - 1
        row = model.hazard[kind, column] * model.leave[kind, column]
        row[stage] = 1 - model.hazard[kind, column]
        rows.append(row)
    return rows


class TestTheArraysAreTheModel:
    def test_hazard_leave_and_kinds_give_what_log_probabilities_gives(self, model) -> None:
        rng = np.random.default_rng(2)
        stages = np.repeat(rng.integers(0, 5, 30), rng.integers(1, 30, 30))
        np.testing.assert_allclose(np.exp(model.log_probabilities(stages)), walked(model, stages.tolist()), rtol=1e-9)

    def test_a_kind_knows_its_stage_and_the_bouts_before_it(self, model) -> None:
        # Oracle: the numbering that the docstring states, 5 for no bout.
        def number(stage: int, before: int, before_that: int) -> int:
            return stage + (0, 5 * before, 5 * (before + 6 * before_that))[model.back]

        assert model.n_kinds == 5 * 6**model.back
        assert model.first_kinds.tolist() == [number(stage, 5, 5) for stage in range(5)]
        for before_that, before, stage in itertools.permutations(range(5), 3):
            kind = number(before, before_that, 5)
            assert model.kind_after[kind, stage] == number(stage, before, before_that)
            assert model.stage_of_kind[kind] == before

    def test_durations_are_those_that_the_hazards_leave(self, model) -> None:
        # Oracle: a product in a loop.
        kind = int(model.first_kinds[3])
        alive = 1.0
        for age in range(1, model.max_age):
            assert model.durations[kind, age - 1] == pytest.approx(alive * model.hazard[kind, age - 1])
            alive *= 1 - model.hazard[kind, age - 1]
        assert model.durations[kind, -1] == pytest.approx(alive)
        np.testing.assert_allclose(model.durations.sum(axis=1), 1)

    def test_beyond_the_last_bin_a_bout_ends_with_a_constant_chance(self, model) -> None:
        rows = model.log_probabilities(np.full(200, 2))
        assert np.array_equal(rows[model.max_age - 1], rows[199])

    def test_the_nights_that_begin_alike_sum_to_one(self, model) -> None:
        total = 0.0
        for rest in itertools.product(range(5), repeat=4):
            stages = np.array([0, *rest])
            total += np.exp(model.log_probabilities(stages)[np.arange(4), stages[1:]].sum())
        assert total == pytest.approx(1)


class TestReader:
    def test_it_reads_what_log_probabilities_reads_gaps_too(self, model) -> None:
        rng = np.random.default_rng(4)
        nights = np.repeat(rng.integers(-1, 5, (3, 20)), 3, axis=1)
        reader = model.reader(3)
        rows = np.stack([reader.read(nights[:, t]) for t in range(60)], axis=1)
        assert np.array_equal(rows, model.log_probabilities(nights))

    def test_selected_nights_go_on_as_copies(self, model) -> None:
        nights = np.array([[0, 0, 1, 2, 2, 2], [2, 3, 3, 3, 3, 4]])
        reader = model.reader(2)
        for t in range(5):
            reader.read(nights[:, t])
        reader.select(np.array([1, 1, 0]))
        rows = reader.read(np.array([4, 3, 2]))
        assert np.array_equal(rows[0], model.log_probabilities(nights[1])[-1])
        assert np.array_equal(rows[1], model.log_probabilities(np.array([2, 3, 3, 3, 3, 3]))[-1])
        assert np.array_equal(rows[2], model.log_probabilities(nights[0])[-1])


class TestFit:
    def test_known_durations_are_found(self) -> None:
        # W lasts 2 or 4 epochs, equally often; sleep lasts 7.
        fitted = SemiMarkovModel.fit(nights_of({0: [2, 4], 1: [7]}, 40), back=0, scheme=W_SLEEP)
        np.testing.assert_allclose(fitted.hazard[0, :4], [0, 0.5, 0, 1], atol=0.03)
        np.testing.assert_allclose(fitted.durations[1, :8], [0, 0, 0, 0, 0, 0, 1, 0], atol=0.03)

    def test_what_a_bout_is_followed_by_depends_on_the_bout_before_where_it_does(self) -> None:
        # N1 leads on: from W to N2, from REM to W.
        pattern = np.repeat([0, 1, 2, 4, 1, 0, 1, 2, 4, 1], 2).astype(np.int8)
        nights = [TrainingNight("d", str(i), np.tile(pattern, 20)) for i in range(10)]
        fitted = SemiMarkovModel.fit(nights, back=1)
        for before, after in ((0, 2), (4, 0)):
            kind = fitted.kind_after[fitted.first_kinds[before], 1]
            assert fitted.leave[kind, 1, after] > 0.95
        assert max(SemiMarkovModel.fit(nights, back=0).leave[1, 1]) < 0.6

    def test_it_beats_n_grams_where_durations_are_longer_than_their_context(self) -> None:
        # Oracle: the order of things. Bouts of exactly 12 epochs cannot be told by 5-grams.
        train, test = nights_of({0: [12], 1: [12]}, 20), nights_of({0: [12], 1: [12]}, 1, seed=9)[0].stages
        rows = [
            m.log_probabilities(test)[np.arange(len(test) - 1), test[1:]].mean()
            for m in (SemiMarkovModel.fit(train, scheme=W_SLEEP), NGramModel.fit(train, 5, scheme=W_SLEEP))
        ]
        assert rows[0] > rows[1] + 0.05

    def test_a_gap_ends_a_bout_without_saying_that_it_ended(self) -> None:
        whole = [TrainingNight("d", str(i), np.zeros(40, dtype=np.int8)) for i in range(4)]
        holed = [TrainingNight("d", str(i), np.r_[[0] * 20, -1, [1] * 20].astype(np.int8)) for i in range(4)]
        fitted = SemiMarkovModel.fit([*whole, *holed], back=0, scheme=W_SLEEP)
        # No bout was ever seen to end.
        assert fitted.hazard.max() < 0.01

    def test_bins_and_coarser_bins_fit_together(self) -> None:
        assert len(AGES) == len(COARSE)
        assert list(COARSE) == sorted(COARSE)

    @pytest.mark.parametrize("back", [-1, 3])
    def test_how_far_back_is_limited(self, back: int) -> None:
        with pytest.raises(HypnographError, match="0, 1 or 2"):
            SemiMarkovModel.fit(nights_of({0: [2], 1: [3]}, 3), back=back)

    def test_one_person_is_too_few(self) -> None:
        with pytest.raises(HypnographError, match="two people"):
            SemiMarkovModel.fit(nights_of({0: [2], 1: [3]}, 1))


class TestFiles:
    def test_a_saved_model_is_the_same_again(self, model, tmp_path) -> None:
        again = load_semi_markov(model.save(tmp_path))
        assert np.array_equal(again.next_stage, model.next_stage)
        assert (again.back, again.ages, again.scheme) == (model.back, AGES, AASM_5)

    @pytest.mark.parametrize(("name", "value"), [("back", 7), ("ages", [1, 1]), ("architecture", "stage-ngram")])
    def test_what_does_not_fit_is_refused_with_the_folder(self, model, tmp_path, name: str, value) -> None:
        model.save(tmp_path)
        info = json.loads((tmp_path / "model.json").read_text()) | {name: value}
        (tmp_path / "model.json").write_text(json.dumps(info))
        with pytest.raises(UnreadableFileError, match=tmp_path.name):
            load_semi_markov(tmp_path)

    def test_rows_that_are_no_distribution_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="sum to 1"):
            SemiMarkovModel(next_stage=np.full((2, 1, 2), 0.6), ages=(1,), back=0, scheme=W_SLEEP)
