"""SeqSleepNet: counts and shapes of specs/models.md C.1, spectra against scipy, and the joining of windows."""

import dataclasses

import numpy as np
import pytest
from scipy import signal

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.seqsleepnet import PRESETS, Config, Model, multiply_overlapping  # noqa: E402

SMALL = PRESETS["small"]


def noise(*shape: int, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 20


# --- counts and shapes ---


def test_the_parameters_are_about_0_21_million() -> None:
    model = Model(Config())
    parts = {name: count_parameters(part) for name, part in model.named_children() if count_parameters(part)}
    assert parts == {"filterbank": 12_384, "frames": 82_944, "attention": 8_320, "epochs": 99_328, "heads": 645}
    assert count_parameters(model) == 203_621
    assert count_parameters(create_model("seqsleepnet", preset="paper")) == 215_876


def test_an_epoch_of_30_s_is_29_frames_of_129_bins() -> None:
    config = Config()
    assert (config.n_frames, config.n_bins, config.n_fft) == (29, 129, 256)
    assert Model(config).spectrum(noise(2, 3, 3000)).shape == (2, 3, 129, 29)


def test_frames_of_256_samples_leave_28() -> None:
    config = Config(frame_s=2.56)
    assert (config.n_frames, config.n_bins) == (28, 129)
    assert Model(config).spectrum(noise(1, 3, 3000)).shape == (1, 3, 129, 28)


def test_each_channel_gives_32_filters_and_each_epoch_128_features() -> None:
    model = Model(Config()).eval()
    assert model.filterbank(noise(2, 3, 129, 29)).shape == (2, 29, 96)
    with torch.inference_mode():
        assert model.features(noise(2, 3, 3000)).shape == (2, 128)


# --- spectrum ---


def test_the_spectrum_is_that_of_scipy_framed_as_matlab_does() -> None:
    x = noise(2, 3, 3000).double().cumsum(-1)
    window = signal.windows.hamming(200, sym=True)
    _, _, magnitude = signal.spectrogram(
        x.numpy(), window=window, noverlap=100, nfft=256, detrend=False, scaling="spectrum", mode="magnitude"
    )
    expected = 20 * np.log10(magnitude * window.sum())
    assert expected.shape == (2, 3, 129, 29)
    got = Model(Config()).spectrum(x.float()).numpy()
    # In float32 a bin far below the largest loses digits: compare within what 60 dB leaves.
    loud = expected > expected.max(axis=2, keepdims=True) - 60
    assert loud.mean() > 0.5
    np.testing.assert_allclose(got[loud], expected[loud], atol=0.01)


def test_a_sine_is_loudest_in_its_bin() -> None:
    x = torch.sin(2 * torch.pi * 12.5 * torch.arange(3000) / 100) * 50
    assert Model(SMALL).spectrum(x[None, None]).argmax(2).unique().tolist() == [32]


def test_silence_is_minus_100_db_and_finite() -> None:
    model = Model(SMALL).eval()
    assert model.spectrum(torch.zeros(1, 1, 3000)).unique().tolist() == [-100.0]
    assert torch.isfinite(model(torch.zeros(1, 2, 1, 3000))).all()


def test_the_statistics_collected_while_training_are_the_mean_over_all_batches() -> None:
    model = Model(SMALL).train()
    batches = [noise(2, 3, 1, 3000, seed=seed) * (seed + 1) for seed in range(3)]
    for x in batches:
        model(x)
    spectra = [model.spectrum(x.flatten(0, 1)) for x in batches]
    expected = torch.stack([s.mean((0, 1, 3)) for s in spectra]).mean(0)
    torch.testing.assert_close(model.standard.running_mean, expected, rtol=1e-4, atol=1e-4)


def test_given_statistics_stay_while_training_and_make_each_bin_standard() -> None:
    model = Model(dataclasses.replace(SMALL, running_statistics=False))
    x = noise(8, 1, 3000)
    spectrum = model.spectrum(x)
    mean, std = spectrum.mean((0, 3)), spectrum.std((0, 3), correction=0)
    model.set_spectrum_statistics(mean, std)
    model.train()
    model(10 * x[None])
    torch.testing.assert_close(model.standard.running_mean, mean.flatten())
    standard = model.standard(spectrum.flatten(1, 2))
    torch.testing.assert_close(standard.mean((0, 2)), torch.zeros(129), atol=1e-3, rtol=0)
    torch.testing.assert_close(standard.std((0, 2), correction=0), torch.ones(129), atol=1e-3, rtol=0)


def test_statistics_that_cannot_be_used_are_refused() -> None:
    given = Model(dataclasses.replace(SMALL, running_statistics=False))
    ones = torch.ones(1, 129)
    with pytest.raises(HypnographError, match="running_statistics=False"):
        Model(SMALL).set_spectrum_statistics(ones, ones)
    with pytest.raises(HypnographError, match=r"std_db has shape \(129,\)"):
        given.set_spectrum_statistics(ones, ones[0])
    with pytest.raises(HypnographError, match="above 0"):
        given.set_spectrum_statistics(ones, 0 * ones)


# --- filterbank ---


def test_the_triangles_are_equal_and_reach_from_0_to_50_hz() -> None:
    shapes = Config().triangles()
    assert shapes.shape == (129, 32)
    peaks_hz = np.arange(1, 33) * 50 / 33
    centres_hz = (shapes * np.arange(129)[:, None]).sum(0) / shapes.sum(0) * 100 / 256
    np.testing.assert_allclose(centres_hz, peaks_hz, atol=0.06)
    # Between the outermost peaks neighbours share each bin without loss.
    np.testing.assert_allclose(shapes.sum(1)[4:125], 1)


def test_official_corners_are_rounded_down_to_bins() -> None:
    shapes = Config(floored_corners=True).triangles()
    corners = np.floor(257 * np.linspace(0, 50, 34) / 100).astype(int)
    expected = np.zeros((129, 32))
    for i, (left, middle, right) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        expected[left : middle + 1, i] = np.linspace(0, 1, middle - left + 1)
        expected[middle : right + 1, i] = np.linspace(1, 0, right - middle + 1)
    np.testing.assert_allclose(shapes, expected, atol=1e-12)
    assert set(np.diff(corners)) == {3, 4}
    assert np.abs(shapes - Config().triangles()).max() > 0.1


def test_what_a_filter_learns_stays_between_nothing_and_its_triangle() -> None:
    bank = Model(Config(n_channels=1)).filterbank
    x = torch.rand(1, 1, 129, 29)
    whole = (x[0, 0].T @ bank.triangles)[None]
    with torch.inference_mode():
        bank.weight.fill_(30)
        torch.testing.assert_close(bank(x), whole)
        bank.weight.fill_(0)
        torch.testing.assert_close(bank(x), whole / 2)
        bank.weight.fill_(-30)
        assert bank(x).max() < 1e-6


def test_channels_have_their_own_filters_and_come_one_after_the_other() -> None:
    bank = Model(Config(n_channels=2)).filterbank
    x = torch.rand(1, 2, 129, 29)
    silent = x.clone()
    silent[:, 1] = 0
    with torch.inference_mode():
        torch.testing.assert_close(bank(silent)[..., :32], bank(x)[..., :32])
        assert not bank(silent)[..., 32:].any()


# --- attention, heads ---


def test_attention_is_the_weighted_mean_of_the_frames() -> None:
    attention = Model(Config()).attention
    x = noise(4, 29, 128) / 20
    with torch.inference_mode():
        weights = attention.weights(x)
        scores = torch.tanh(x @ attention.hidden.weight.T + attention.hidden.bias) @ attention.score.weight[0]
        expected = (scores.exp() / scores.exp().sum(1, keepdim=True))[..., None]
        torch.testing.assert_close(weights, expected)
        torch.testing.assert_close(attention(x), (expected * x).sum(1))


def test_both_directions_of_time_reach_each_epoch() -> None:
    model = Model(SMALL).eval()
    x = noise(1, 5, 1, 3000)
    for changed_epoch in (0, 4):
        changed = x.clone()
        changed[:, changed_epoch] *= 0.01
        with torch.inference_mode():
            difference = (model(changed) - model(x)).abs().amax((0, 2))
        assert (difference > 0).all()


def test_one_head_for_each_position_takes_contexts_up_to_their_number() -> None:
    torch.manual_seed(0)
    model = Model(dataclasses.replace(SMALL, heads=4)).eval()
    x = noise(2, 4, 1, 3000)
    with torch.inference_mode():
        logits = model(x)
        steps = model.epochs(model.features(x.flatten(0, 1)).reshape(2, 4, -1))
        for position in range(4):
            torch.testing.assert_close(logits[:, position], model.heads[position](steps[:, position]))
        assert model(x[:, :3]).shape == (2, 3, 5)
    with pytest.raises(HypnographError, match="at most 4"):
        model(noise(1, 5, 1, 3000))


# --- windows that overlap ---


def test_overlapping_decisions_are_multiplied() -> None:
    logits = noise(4, 3, 5) / 20
    joined = multiply_overlapping(logits, range(4), n_epochs=6)
    p = torch.softmax(logits, -1).double()
    product = torch.ones(6, 5, dtype=torch.float64)
    votes = torch.zeros(6)
    for start in range(4):
        product[start : start + 3] *= p[start]
        votes[start : start + 3] += 1
    assert votes.tolist() == [1, 2, 3, 3, 2, 1]
    assert joined.argmax(1).tolist() == product.argmax(1).tolist()
    root = product ** (1 / votes[:, None].double())
    torch.testing.assert_close(joined.double(), root / root.sum(1, keepdim=True), rtol=1e-5, atol=1e-6)


def test_agreeing_windows_leave_the_probabilities_as_they_are() -> None:
    logits = (noise(1, 1, 5) / 20).expand(7, 4, 5)
    joined = multiply_overlapping(logits, range(7), n_epochs=10)
    torch.testing.assert_close(joined, torch.softmax(logits[0, :1], -1).expand(10, 5))


def test_windows_outside_the_night_or_with_gaps_are_refused() -> None:
    logits = torch.zeros(2, 3, 5)
    with pytest.raises(HypnographError, match="epoch 3 lies in no window"):
        multiply_overlapping(logits, [0, 4], n_epochs=7)
    with pytest.raises(HypnographError, match="the night has 6 epochs"):
        multiply_overlapping(logits, [0, 4], n_epochs=6)
    with pytest.raises(HypnographError, match="1 starts for 2 windows"):
        multiply_overlapping(logits, [0], n_epochs=6)
    with pytest.raises(HypnographError, match="0 starts"):
        multiply_overlapping(logits, [], n_epochs=6)
    with pytest.raises(HypnographError, match="no window"):
        multiply_overlapping(logits[:0], [], n_epochs=6)


# --- configuration ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_filters": 400},
        {"heads": 0},
        {"hop_s": 0.0},
        {"frame_s": 40.0},
        {"frame_s": 0.001},
        {"sample_rate": float("nan")},
        {"dropout": 1.0},
    ],
)
def test_impossible_values_are_named(wrong: dict) -> None:
    with pytest.raises(HypnographError, match=next(iter(wrong))):
        Config(**wrong)


@pytest.mark.parametrize("sample_rate", [64, 128, 200, 256])
def test_other_sampling_rates_keep_the_frames_and_the_filters(sample_rate: int) -> None:
    config = dataclasses.replace(SMALL, sample_rate=sample_rate)
    assert config.n_frames == 29
    assert Model(config).eval()(noise(1, 2, 1, sample_rate * 30)).shape == (1, 2, 5)
