"""SleepGPT's convolutions and LSTM: counts and shapes of specs/models.md C.2, and both ways to stage a context."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.sleepgpt_lstm import PRESETS, Config, Model  # noqa: E402

SMALL = dataclasses.replace(PRESETS["small"], history=5)


def nights(n: int, context: int, config: Config = SMALL):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, context, config.n_channels, round(config.sample_rate * config.epoch_s), generator=generator)


def pair(**options) -> tuple[Model, Model]:
    """Return the network in its own and in the official way, with the same weights."""
    torch.manual_seed(0)
    ours = Model(dataclasses.replace(SMALL, **options)).eval()
    official = Model(dataclasses.replace(SMALL, many_to_one=True, **options)).eval()
    official.load_state_dict(ours.state_dict())
    return ours, official


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_parameters_are_those_of_the_official_code(preset: str) -> None:
    model = create_model("sleepgpt-lstm", preset=preset)
    assert count_parameters(model) == 1_582_981
    assert count_parameters(model.lstm) == 1_181_696
    assert count_parameters(model.classifier) == 645


def test_an_epoch_becomes_1920_features() -> None:
    model = Model(Config()).eval()
    assert model.first(torch.zeros(1, 1, 3000)).shape == (1, 128, 500)
    assert model.features(torch.zeros(2, 1, 3000)).shape == (2, 1920)


def test_the_lstm_has_two_layers_and_runs_forwards_only() -> None:
    lstm = Model(Config()).lstm
    assert (lstm.num_layers, lstm.bidirectional, lstm.dropout, lstm.hidden_size) == (2, False, 0.5, 128)


def test_the_default_runs_once_along_the_context() -> None:
    ours, _ = pair()
    x = nights(2, 7)
    with torch.inference_mode():
        steps = ours.lstm(ours.features(x.flatten(0, 1)).reshape(2, 7, -1))[0]
        torch.testing.assert_close(ours(x), ours.classifier(steps))


def test_the_official_way_stages_each_epoch_from_its_own_window_with_zero_epochs_before_the_night() -> None:
    _, official = pair()
    x = nights(1, 8)
    padded = torch.cat([torch.zeros_like(x[:, :4]), x], dim=1)
    with torch.inference_mode():
        logits = official(x)[0]
        for epoch in range(8):
            window = official.features(padded[0, epoch : epoch + 5])
            expected = official.classifier(official.lstm(window[None])[0][0, -1])
            torch.testing.assert_close(logits[epoch], expected)


def test_both_ways_agree_on_the_newest_epoch_of_a_full_window_and_not_before() -> None:
    ours, official = pair()
    x = nights(2, 5)
    with torch.inference_mode():
        a, b = ours(x), official(x)
    torch.testing.assert_close(a[:, -1], b[:, -1])
    assert (a[:, 0] - b[:, 0]).abs().max() > 1e-4


def test_the_official_way_forgets_what_is_older_than_its_window() -> None:
    ours, official = pair()
    x = nights(1, 8)
    changed = x.clone()
    changed[:, 0] *= 50
    with torch.inference_mode():
        torch.testing.assert_close(official(changed)[:, 5:], official(x)[:, 5:])
        assert not torch.equal(ours(changed)[:, 5:], ours(x)[:, 5:])


@pytest.mark.parametrize("many_to_one", [False, True])
def test_neither_way_sees_the_future(many_to_one: bool) -> None:
    model = pair()[many_to_one]
    x = nights(1, 6)
    changed = x.clone()
    changed[:, 4:] += 10
    with torch.inference_mode():
        torch.testing.assert_close(model(changed)[:, :4], model(x)[:, :4])


def test_with_a_history_of_one_each_epoch_is_staged_alone() -> None:
    _, official = pair(history=1)
    x = nights(1, 3)
    with torch.inference_mode():
        torch.testing.assert_close(official(x)[0], official(x[0, :, None])[:, 0])


@pytest.mark.parametrize(("sample_rate", "epoch_s"), [(128, 30), (256, 20), (99.5, 30), (100, 2)])
def test_the_frames_are_counted_as_the_layers_make_them(sample_rate, epoch_s) -> None:
    config = Config(n_channels=2, sample_rate=sample_rate, epoch_s=epoch_s, n_filters=2, n_units=3)
    assert Model(config).eval()(nights(1, 2, config)).shape == (1, 2, 5)


@pytest.mark.parametrize(
    "wrong",
    [{"history": 0}, {"n_units": 0}, {"epoch_s": 1.0}, {"epoch_s": float("nan")}, {"sample_rate": 8}, {"dropout": 1.0}],
)
def test_impossible_values_are_named(wrong: dict) -> None:
    with pytest.raises(HypnographError, match=next(iter(wrong))):
        Config(**wrong)
