"""N-grams of stages: the oracles are counts by hand, sums over all sequences, and chains whose entropy is known."""

import itertools
import json

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.sequences.interpolation import fitted_strengths, interpolated
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.ngrams import NGramModel, load_ngrams
from hypnograph.stages import AASM_5, W_SLEEP

SLEEPY = np.array([[0.9, 0.1], [0.05, 0.95]])
"""A chain of two stages."""


def night(stages, subject: str = "a", dataset: str = "d") -> TrainingNight:
    return TrainingNight(dataset, subject, np.array(stages, dtype=np.int8))


def chain(table: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return stages drawn from a table of any order, oldest context first."""
    order = table.ndim - 1
    stages = [0] * order
    for _ in range(n):
        stages.append(int(rng.random() > table[tuple(stages[-order:])][0]))
    return np.array(stages[order:], dtype=np.int8)


def people(table: np.ndarray, n_people: int, seed: int = 0) -> list[TrainingNight]:
    rng = np.random.default_rng(seed)
    return [night(chain(table, 500, rng), subject=str(i)) for i in range(n_people)]


@pytest.fixture(scope="module")
def model() -> NGramModel:
    rng = np.random.default_rng(1)
    nights = [night(np.repeat(rng.integers(0, 5, 60), rng.integers(1, 6, 60)), str(i)) for i in range(8)]
    return NGramModel.fit(nights, 4)


class TestCounts:
    def test_they_never_cross_a_gap_or_the_end_of_a_night(self) -> None:
        nights = [night([0, 0, 1, -1, 1, 2]), night([3, 3], "b")]
        counts = NGramModel.fit(nights, 3).counts
        assert {tuple(map(int, at)): int(counts[1][tuple(at)]) for at in np.argwhere(counts[1])} == {
            (0, 0): 1, (0, 1): 1, (1, 2): 1, (3, 3): 1,
        }  # fmt: skip
        assert np.argwhere(counts[2]).tolist() == [[0, 0, 1]]
        assert counts[0].tolist() == [2, 2, 1, 2, 0]

    def test_a_probability_is_the_count_and_the_shorter_context_by_its_strength(self) -> None:
        counts = (np.array([6, 4]), np.array([[4, 2], [1, 3]]))
        made = NGramModel(counts=counts, strengths=(10.0, 2.0), scheme=W_SLEEP)
        wake = (6 + 10 / 2) / (10 + 10)
        assert np.exp(made.log_table(1)[0]) == pytest.approx(wake)
        assert np.exp(made.log_table()[1, 0]) == pytest.approx((1 + 2 * wake) / (4 + 2))

    def test_the_counts_given_are_not_changed_and_those_kept_are_read_only(self) -> None:
        counts = (np.array([6, 4]), np.array([[4, 2], [1, 3]]))
        made = NGramModel(counts=counts, strengths=(10.0, 2.0), scheme=W_SLEEP)
        counts[0][0] = 99
        assert made.counts[0][0] == 6
        with pytest.raises(ValueError, match="read-only"):
            made.counts[0][0] = 1


class TestProbabilities:
    def test_those_of_all_nights_that_begin_alike_sum_to_one(self, model) -> None:
        # Brute force: every night of five epochs that begins with N2.
        total = 0.0
        for rest in itertools.product(range(5), repeat=4):
            stages = np.array([2, *rest])
            rows = model.log_probabilities(stages)
            total += np.exp(rows[np.arange(4), stages[1:]].sum())
        assert total == pytest.approx(1)

    def test_each_row_is_the_table_at_the_last_stages(self, model) -> None:
        stages = np.random.default_rng(2).integers(0, 5, 40)
        rows = model.log_probabilities(stages)
        assert np.array_equal(rows[0], model.log_table(2)[stages[0]])
        assert np.array_equal(rows[1], model.log_table(3)[stages[0], stages[1]])
        for t in range(2, 40):
            assert np.array_equal(rows[t], model.log_table()[tuple(stages[t - 2 : t + 1])])

    def test_a_row_never_depends_on_later_epochs(self, model) -> None:
        stages = np.random.default_rng(2).integers(0, 5, 40)
        changed = np.concatenate([stages[:20], 4 - stages[20:]])
        assert np.array_equal(model.log_probabilities(stages)[:20], model.log_probabilities(changed)[:20])

    def test_an_unscored_epoch_is_read_as_the_last_scored_one(self, model) -> None:
        given, read = np.array([-1, 2, -1, -1, 3]), np.array([0, 2, 2, 2, 3])
        assert np.array_equal(model.log_probabilities(given), model.log_probabilities(read))

    def test_several_nights_at_once_are_each_as_alone(self, model) -> None:
        nights = np.random.default_rng(3).integers(-1, 5, (3, 20))
        together = model.log_probabilities(nights)
        assert all(np.array_equal(row, model.log_probabilities(n)) for row, n in zip(together, nights, strict=True))

    @pytest.mark.parametrize("n_epochs", [1, 2, 3])
    def test_nights_shorter_than_the_order_are_read(self, model, n_epochs: int) -> None:
        assert model.log_probabilities(np.zeros(n_epochs, dtype=int)).shape == (n_epochs, 5)


class TestReader:
    def test_it_reads_what_log_probabilities_reads(self, model) -> None:
        nights = np.random.default_rng(4).integers(-1, 5, (3, 30))
        reader = model.reader(3)
        rows = np.stack([reader.read(nights[:, t]) for t in range(30)], axis=1)
        assert np.array_equal(rows, model.log_probabilities(nights))

    def test_selected_nights_go_on_as_copies(self, model) -> None:
        nights = np.random.default_rng(5).integers(0, 5, (2, 10))
        reader = model.reader(2)
        for t in range(9):
            reader.read(nights[:, t])
        reader.select(np.array([1, 1, 0]))
        rows = reader.read(np.array([nights[1, 9], 0, nights[0, 9]]))
        assert np.array_equal(rows[0], model.log_probabilities(nights[1])[-1])
        assert np.array_equal(rows[2], model.log_probabilities(nights[0])[-1])
        assert np.array_equal(rows[1], model.log_probabilities(np.append(nights[1, :9], 0))[-1])


class TestFit:
    def test_a_chain_of_one_stage_back_is_known_as_well_as_it_can_be(self) -> None:
        # Oracle: the entropy rate of the chain, Σ π(i) H(row i).
        entropy = -(SLEEPY * np.log(SLEEPY)).sum(axis=1) @ np.array([1 / 3, 2 / 3])
        fitted = NGramModel.fit(people(SLEEPY, 30), 5, scheme=W_SLEEP)
        nats = [-fitted.log_probabilities(n.stages)[np.arange(499), n.stages[1:]].mean() for n in people(SLEEPY, 20, 7)]
        assert np.mean(nats) == pytest.approx(entropy, abs=0.01)
        np.testing.assert_allclose(np.exp(fitted.log_table(2)), SLEEPY, atol=0.02)

    def test_contexts_that_tell_nothing_lean_more_on_shorter_ones_than_contexts_that_tell(self) -> None:
        telling = np.array([[[0.9, 0.1], [0.3, 0.7]], [[0.8, 0.2], [0.1, 0.9]]])
        idle = NGramModel.fit(people(SLEEPY, 20), 3, scheme=W_SLEEP).strengths[2]
        used = NGramModel.fit(people(telling, 20), 3, scheme=W_SLEEP).strengths[2]
        assert used < 50 < idle

    def test_no_person_says_how_far_the_own_counts_are_to_be_trusted(self) -> None:
        # People with habits of their own, each with a single sequence: counts of the others say nothing about them, so
        # the best strength is the largest. Were a person's nights in two folds, or counted for themselves, it would be
        # the smallest.
        habits = np.random.default_rng(0).integers(0, 5, (10, 3))
        nights = [night(np.tile(habit, 30), str(i)) for i, habit in enumerate(habits) for _ in range(2)]
        assert NGramModel.fit(nights, 3).strengths[2] > 1

    def test_the_strength_is_the_best_of_a_fine_grid(self) -> None:
        rng = np.random.default_rng(0)
        counts = rng.multinomial(40, rng.dirichlet([1, 2, 3], 6)).reshape(2, 3, 3).astype(float)
        (found,) = fitted_strengths([counts], [])
        even = np.full((3, 3), 1 / 3)

        def loss(strength: float) -> float:
            return -sum((counts[i] * np.log(interpolated(counts[1 - i], even, strength))).sum() for i in range(2))

        assert loss(found) <= min(map(loss, np.geomspace(0.5, 1e5, 400))) + 1e-3

    def test_a_shorter_order_is_the_model_that_would_have_been_fitted(self) -> None:
        nights = people(SLEEPY, 6)
        short = NGramModel.fit(nights, 5, scheme=W_SLEEP).shortened(3)
        np.testing.assert_allclose(short.log_table(), NGramModel.fit(nights, 3, scheme=W_SLEEP).log_table())

    @pytest.mark.parametrize("order", [1, 9])
    def test_an_order_out_of_range_is_refused_with_the_range(self, order: int) -> None:
        with pytest.raises(HypnographError, match="2 to 8"):
            NGramModel.fit(people(SLEEPY, 3), order, scheme=W_SLEEP)

    def test_one_person_is_too_few(self) -> None:
        with pytest.raises(HypnographError, match="two people"):
            NGramModel.fit([night([0, 1]), night([0, 1]), night([-1], "b")], 2)


class TestFiles:
    def test_a_saved_model_is_the_same_again(self, model, tmp_path) -> None:
        again = load_ngrams(model.save(tmp_path / "m"))
        assert np.array_equal(again.log_table(), model.log_table())
        assert (again.strengths, again.scheme, again.order) == (model.strengths, AASM_5, 4)
        assert (tmp_path / "m" / "README.md").read_text().startswith("# Stage language model")

    def test_a_checkpoint_is_never_overwritten(self, model, tmp_path) -> None:
        model.save(tmp_path)
        with pytest.raises(HypnographError, match="not overwritten"):
            model.save(tmp_path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("format", 99), ("architecture", "stage-gpt"), ("order", 3), ("strengths", [1.0]), ("scheme", "none")],
    )
    def test_what_does_not_fit_is_refused_with_the_folder(self, model, tmp_path, name: str, value) -> None:
        model.save(tmp_path)
        info = json.loads((tmp_path / "model.json").read_text()) | {name: value}
        (tmp_path / "model.json").write_text(json.dumps(info))
        with pytest.raises(UnreadableFileError, match=tmp_path.name):
            load_ngrams(tmp_path)

    def test_an_empty_folder_is_no_model(self, tmp_path) -> None:
        with pytest.raises(UnreadableFileError):
            load_ngrams(tmp_path)
