"""Cells that follow the night are found, walks and untrained networks are not."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import spearmanr  # noqa: E402
from torch import nn  # noqa: E402

from hypnograph.hypnogram import Hypnogram  # noqa: E402
from hypnograph.inspection.cells import (  # noqa: E402
    Cells,
    _contrasts,
    cells_of,
    find_cells,
    lstm_cells,
    mean_by_run_length,
    measures,
    place_in_run,
)
from hypnograph.models import create_model, describe  # noqa: E402
from hypnograph.network import TorchNetwork  # noqa: E402
from hypnograph.simulate import simulate_hypnogram  # noqa: E402
from hypnograph.stages import W_SLEEP  # noqa: E402

KINDS = ["wake", "sleep onset", "time of night", "N3 runs", "REM runs"]


@pytest.fixture(scope="module")
def stages() -> Hypnogram:
    return simulate_hypnogram(seed=4, duration_h=8)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def walks(n_epochs: int, n: int, seed: int) -> np.ndarray:
    return np.tanh(0.05 * np.cumsum(random(seed).normal(size=(n_epochs, n)), axis=0))


def cells(*columns: np.ndarray) -> Cells:
    activity = np.column_stack(columns).astype(np.float32)
    return Cells(tuple(f"cell {i + 1}" for i in range(activity.shape[1])), activity)


def hand_made(stages: Hypnogram) -> Cells:
    """Cells that follow wake, time, runs of N3, runs of REM, and the first minutes of sleep; then four walks."""
    n, names = stages.n_epochs, np.array(stages.names)
    noise = random().normal(scale=0.1, size=(n, 5))
    wake = np.where(np.isin(names, ["W", "N1"]), 0.8, -0.6)
    time = 1.6 * np.exp(-np.arange(n) / 300) - 0.8
    n3, rem = (np.tanh((place_in_run(stages, label) - 8) / 2) for label in ("N3", "REM"))
    onset = np.full(n, -0.7)
    for i in range(1, n):
        asleep_now = names[i] != "W" and names[i - 1] == "W"
        onset[i] = 0.8 if asleep_now else max(-0.7, onset[i - 1] - 0.1)
    made = np.clip(np.stack([wake, time, n3, rem, onset], axis=1) + noise, -1, 1)
    return cells(*made.T, walks(n, 4, seed=1))


class TestTheFinder:
    @pytest.mark.parametrize(
        ("cell", "tracks"), [("cell 1", "wake"), ("cell 2", "time of night"), ("cell 3", "N3 runs"),
                             ("cell 4", "REM runs"), ("cell 5", "sleep onset")],
    )  # fmt: skip
    def test_a_cell_made_to_follow_something_is_the_strongest_there(self, stages, cell, tracks) -> None:
        table = find_cells(hand_made(stages), stages)
        best = table[table["tracks"] == tracks].iloc[0]
        assert best["cell"] == cell
        assert best["found"]

    def test_walks_beside_them_are_not_found(self, stages) -> None:
        table = find_cells(hand_made(stages), stages)
        assert not set(table.loc[table["found"], "cell"]) & {f"cell {i}" for i in range(6, 10)}

    def test_walks_are_found_in_few_nights(self, stages) -> None:
        """Five measures with one in a hundred each: 5 % of nights; more than 6 of 40 would be odd (p < 0.01)."""
        nights = [find_cells(cells(walks(stages.n_epochs, 16, seed)), stages)["found"].any() for seed in range(40)]
        assert sum(nights) <= 6

    def test_a_cell_no_better_than_those_of_a_fresh_network_is_not_found(self, stages) -> None:
        made = hand_made(stages)
        assert find_cells(made, stages)["found"].any()
        assert not find_cells(made, stages, fresh=[made])["found"].any()

    def test_a_cell_must_come_twice_as_close_to_perfect_as_the_best_fresh_one(self, stages) -> None:
        names = np.array(stages.names)
        perfect = np.isin(names, ["W", "N1"]).astype(float)
        fresh = cells(perfect + random(1).normal(size=stages.n_epochs))
        wake = measures(cells(perfect), stages, fresh=[fresh])[0]
        fresh_auc = measures(fresh, stages)[0].values[0]
        assert wake.threshold == pytest.approx(0.5 - (1 - fresh_auc) / 2)

    def test_untrained_networks_find_nothing(self, stages) -> None:
        for name in ("tinysleepnet", "sleepgpt-lstm"):
            signals, found = None, []
            for seed in range(7):
                torch.manual_seed(seed)
                model = create_model(name, preset="small")
                network = TorchNetwork(model, describe(model))
                if signals is None:
                    samples = network.info.input.epoch_samples
                    loud = np.where(np.array(stages.names) == "N3", 60, 15)[:300]
                    signals = (loud[:, None, None] * random().normal(size=(300, 1, samples))).astype(np.float32)
                found.append(cells_of(network, signals))
            table = find_cells(found[0], stages.crop(0, 300), fresh=found[1:])
            assert not table["found"].any()

    def test_the_area_is_scikit_learns(self, stages) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        x = walks(stages.n_epochs, 3, seed=5).astype(np.float32)
        partly = Hypnogram(np.where(np.arange(stages.n_epochs) % 7 == 0, -1, stages.stages))
        wake = measures(cells(x), partly)[0]
        awake = np.isin(partly.stages, [0, 1])[partly.scored]
        expected = [metrics.roc_auc_score(awake, column[partly.scored]) for column in x.T]
        np.testing.assert_allclose(wake.values, expected, rtol=1e-9)

    def test_the_correlation_with_time_is_scipys(self, stages) -> None:
        x = walks(stages.n_epochs, 2, seed=6).astype(np.float32)
        time = next(m for m in measures(cells(x), stages) if m.tracks == "time of night")
        blocks = x[:960].astype(float).reshape(48, 20, 2).mean(axis=1)
        expected = [spearmanr(range(48), (column / 0.02).round()).statistic for column in blocks.T]
        np.testing.assert_allclose(time.values, expected)

    def test_a_cell_that_creeps_towards_its_limit_is_no_clock(self, stages) -> None:
        creeping = np.tanh(4 + np.arange(stages.n_epochs) / 100)
        time = next(m for m in measures(cells(creeping, -creeping), stages) if m.tracks == "time of night")
        np.testing.assert_array_equal(time.values, 0)

    def test_all_shifts_at_once_are_those_of_rolling(self) -> None:
        x, weights = random(7).normal(size=(30, 2)), random(8).normal(size=30)
        weights -= weights.mean()
        expected = [np.roll(weights, shift) @ x for shift in range(30)]
        np.testing.assert_allclose(_contrasts(x, weights), expected, atol=1e-12)

    def test_what_a_night_does_not_have_is_not_measured(self) -> None:
        only_wake = Hypnogram([0] * 200)
        assert [m.tracks for m in measures(cells(walks(200, 2, seed=0)), only_wake)] == ["time of night"]
        assert find_cells(cells(walks(40, 2, seed=0)), Hypnogram([0] * 40)).empty

    def test_schemes_without_n3_and_rem_have_no_runs(self, stages) -> None:
        tracked = [m.tracks for m in measures(hand_made(stages), stages.merge(W_SLEEP))]
        assert tracked == ["wake", "sleep onset", "time of night"]


def test_places_and_means_in_runs() -> None:
    stages = Hypnogram([3, 3, 3, 2, 3, 3, -1, 3])
    assert list(place_in_run(stages, "N3")) == [0, 1, 2, -1, 0, 1, -1, 0]
    activity = np.array([[0, 1, 2, 9, 4, 5, 9, 8]], dtype=np.float32).T
    np.testing.assert_allclose(mean_by_run_length(activity, stages, "N3")[:, 0], [4, 3, 2])


class TestCellStates:
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_the_cells_of_torchs_lstm_are_those_that_it_ends_with(self, bidirectional: bool) -> None:
        """The oracle: the last cell of the LSTM itself on ever longer (backwards: shorter) parts of the night."""
        torch.manual_seed(0)
        lstm = nn.LSTM(4, 3, num_layers=1, batch_first=True, bidirectional=bidirectional)
        x = torch.randn(1, 6, 4)
        with torch.inference_mode():
            cells = lstm_cells(lstm, x)
            for epoch in range(6):
                forward = lstm(x[:, : epoch + 1])[1][1][0, 0]
                torch.testing.assert_close(cells[epoch, 0, 0] if bidirectional else cells[epoch, 0], forward)
                if bidirectional:
                    torch.testing.assert_close(cells[epoch, 1, 0], lstm(x[:, epoch:])[1][1][1, 0])

    def test_deeper_layers_see_the_outputs_of_those_below(self) -> None:
        torch.manual_seed(0)
        lstm = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)
        x = torch.randn(1, 6, 4)
        with torch.inference_mode():
            last = lstm(x)[1][1]
            cells = lstm_cells(lstm, x)
        torch.testing.assert_close(cells[5, 0, 1], last[2, 0])
        torch.testing.assert_close(cells[0, 1, 1], last[3, 0])

    @pytest.mark.parametrize(
        ("name", "n_cells", "last"),
        [("tinysleepnet", 8, "cell 8"), ("deepsleepnet", 16, "backward 2/4"), ("sleepgpt-lstm", 16, "cell 2/8"),
         ("seqsleepnet", 8, "backward 1/4")],
    )  # fmt: skip
    def test_recurrent_networks_show_their_cells(self, name: str, n_cells: int, last: str) -> None:
        torch.manual_seed(0)
        model = create_model(name, preset="small")
        network = TorchNetwork(model, describe(model))
        night = random().normal(size=(45, 1, network.info.input.epoch_samples)).astype(np.float32)
        found = cells_of(network, night)
        assert found.activity.shape == (45, n_cells)
        assert found.names[-1] == last
        assert np.abs(found.activity).max() <= 1
        np.testing.assert_array_equal(found.of(last), found.activity[:, -1])
        if hasattr(model, "cell_states"):
            with torch.inference_mode():
                expected = torch.tanh(model.cell_states(torch.from_numpy(night)[None]))[0].flatten(1).numpy()
            np.testing.assert_array_equal(found.activity, expected)

    def test_a_state_is_carried_through_the_night_whatever_the_window(self) -> None:
        """The oracle: SleepGPT's LSTM over the features of all epochs at once."""
        torch.manual_seed(0)
        model = create_model("sleepgpt-lstm", preset="small").eval()
        network = TorchNetwork(model, describe(model))
        night = torch.randn(50, 1, network.info.input.epoch_samples)
        with torch.inference_mode():
            last = model.lstm(model.features(night)[None])[1][1]
        found = cells_of(network, night.numpy())
        np.testing.assert_allclose(found.activity[-1].reshape(2, 8), np.tanh(last[:, 0].numpy()), atol=1e-5)

    def test_networks_without_recurrence_have_none(self) -> None:
        model = create_model("usleep", preset="small")
        network = TorchNetwork(model, describe(model))
        assert cells_of(network, np.zeros((4, 2, 3840), dtype=np.float32)) is None
