"""First layers are found whatever the architecture; their responses and activations are those of hand-made filters."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.signal import freqz  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from hypnograph.hypnogram import Hypnogram  # noqa: E402
from hypnograph.inspection.first_layers import (  # noqa: E402
    FirstLayer,
    activation_by_stage,
    first_layers,
    frequency_response,
    stage_means,
)
from hypnograph.model_info import ModelInfo  # noqa: E402
from hypnograph.models import create_model, describe  # noqa: E402
from hypnograph.montage import ChannelKind  # noqa: E402
from hypnograph.network import TorchNetwork  # noqa: E402
from hypnograph.preprocess import InputSpec  # noqa: E402

RATE = 100.0


def network_of(model: nn.Module, *, n_channels: int = 1, epoch_s: float = 30.0) -> TorchNetwork:
    kinds = (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG)[:n_channels]
    return TorchNetwork(model, ModelInfo(architecture="", config={}, input=InputSpec(kinds, RATE, epoch_s=epoch_s)))


def ours(name: str, preset: str = "small") -> TorchNetwork:
    torch.manual_seed(0)
    model = create_model(name, preset=preset)
    return TorchNetwork(model, describe(model))


def sine(frequency_hz: float, sample_rate: float = RATE, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * sample_rate)) / sample_rate)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class Bank(nn.Module):
    """One convolution with given kernels, in the way that a test wants."""

    def __init__(self, kernels: np.ndarray, *, before=None, after=functional.relu, dilation: int = 1) -> None:
        super().__init__()
        weight = torch.tensor(kernels, dtype=torch.float32)[:, None]
        self.conv = nn.Conv1d(1, len(kernels), weight.shape[-1], bias=False, dilation=dilation)
        self.conv.weight = nn.Parameter(weight)
        self.before, self.after = before, after

    def forward(self, x):
        signal = x.flatten(0, 1)
        maps = self.after(self.conv(self.before(signal) if self.before else signal))
        return maps.mean(dim=2)[:, :5].reshape(*x.shape[:2], -1)


class TestWhichLayersAreFirst:
    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("attnsleep", ["front_end.small.0", "front_end.wide.0"]),
            ("deepsleepnet", ["representation.small.0.1", "representation.large.0.1"]),
            ("tinysleepnet", ["representation.layers.0.1"]),
            ("sleepgpt-lstm", ["first.convolution"]),
            ("usleep", ["encoder.0.conv"]),
            ("utime", ["encoder.0.0.conv"]),
            ("seqsleepnet", ["filterbank"]),
        ],
    )
    def test_every_architecture_shows_its_own(self, name: str, names: list[str]) -> None:
        assert [layer.name for layer in first_layers(ours(name))] == names

    def test_kernels_are_the_weights(self) -> None:
        network = ours("tinysleepnet")
        (layer,) = first_layers(network)
        np.testing.assert_array_equal(layer.weights, network.model.representation.layers[0][1].weight.detach().numpy())
        assert layer.duration_s == 0.5

    def test_a_convolution_of_what_was_averaged_is_not_first(self) -> None:
        kernels = normal(2, 20)
        assert first_layers(network_of(Bank(kernels, before=nn.AvgPool1d(3, 1)))) == ()
        assert len(first_layers(network_of(Bank(kernels, before=nn.ConstantPad1d(7, 0.0))))) == 1

    def test_a_convolution_of_the_signal_beside_something_else_is_not_first(self) -> None:
        beside = Bank(normal(2, 20), before=lambda signal: torch.cat([signal, signal.square()], dim=2))
        assert first_layers(network_of(beside)) == ()

    def test_dilated_taps_are_that_far_apart(self) -> None:
        (layer,) = first_layers(network_of(Bank(sine(10, RATE / 2)[None], dilation=2)))
        assert layer.sample_rate == RATE / 2
        assert frequency_response(layer).peak_hz == pytest.approx([10], abs=0.1)

    def test_taps_of_a_signal_folded_by_a_period_are_that_far_apart(self) -> None:
        rates = [layer.sample_rate for layer in first_layers(ours("attnsleep", "msp"))]
        assert rates == pytest.approx([100, 100 / 3, 100 / 5, 100 / 7])

    def test_no_hook_is_left_behind(self) -> None:
        network = ours("tinysleepnet")
        activation_by_stage(network, normal(3, 1, 3000), Hypnogram([0, 1, 2]))
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.model.modules())


class TestResponse:
    def test_a_kernel_that_is_a_sine_of_10_hz_peaks_at_10_hz(self) -> None:
        (layer,) = first_layers(network_of(Bank(np.stack([sine(10), sine(23)]))))
        assert frequency_response(layer).peak_hz == pytest.approx([10, 23], abs=0.1)

    def test_the_gain_is_that_of_scipys_freqz(self) -> None:
        kernel = normal(50).astype(float)
        response = frequency_response(FirstLayer("", "convolution", kernel[None, None], RATE))
        _, expected = freqz(kernel, worN=response.frequency_hz, fs=RATE)
        np.testing.assert_allclose(response.gain_db[0, 0], 20 * np.log10(np.abs(expected)), atol=1e-6)

    def test_channels_are_taken_together_for_the_peak(self) -> None:
        weak, strong = sine(5), 3 * sine(20)
        layer = FirstLayer("", "convolution", np.stack([weak, strong])[None], RATE)
        assert frequency_response(layer).peak_hz == pytest.approx([20], abs=0.1)

    def test_a_filter_of_zeros_has_no_peak(self) -> None:
        response = frequency_response(FirstLayer("", "convolution", np.zeros((1, 1, 50)), RATE))
        assert np.isnan(response.peak_hz).all()

    def test_a_filterbank_shows_its_triangles_as_learned(self) -> None:
        """Phan et al. 2019: sigmoid of the weights inside triangles, linear from 0 to 50 Hz."""
        model = create_model("seqsleepnet", preset="small", n_channels=2)
        network = TorchNetwork(model, describe(model))
        (layer,) = first_layers(network)
        bank = model.filterbank
        expected = (torch.sigmoid(bank.weight) * bank.triangles).detach().numpy()
        n = model.config.n_filters
        np.testing.assert_allclose(layer.weights[:n, 0], expected[0].T, atol=1e-6)
        np.testing.assert_allclose(layer.weights[n:, 1], expected[1].T, atol=1e-6)
        assert not layer.weights[:n, 1].any()
        assert (np.diff(frequency_response(layer).peak_hz[:n]) > 0).all()
        assert frequency_response(layer).frequency_hz[-1] == 50


def night_of_rhythms() -> tuple[np.ndarray, Hypnogram]:
    """Two epochs of each stage, each with a rhythm of its own; one unscored and loud."""
    rhythm_hz = {0: 20, 1: 6, 2: 13, 3: 2, 4: 9}
    stages = [0, 3, 2, 1, 4, -1, 4, 1, 2, 3, 0]
    epochs = [sine(rhythm_hz[s], seconds=30) if s >= 0 else 100 * sine(13, seconds=30) for s in stages]
    return np.array(epochs, dtype=np.float32)[:, None], Hypnogram(stages)


class TestActivationByStage:
    def test_each_filter_prefers_the_stage_of_its_rhythm_and_the_order_is_that_of_the_stages(self) -> None:
        night, stages = night_of_rhythms()
        # N3's, then REM's, wake's, N1's, N2's and one of zeros.
        kernels = np.stack([sine(2), sine(9), sine(20), sine(6), sine(13), 0 * sine(1)])
        (activation,) = activation_by_stage(network_of(Bank(kernels)), night, stages)
        assert list(activation.preferred) == [3, 4, 0, 1, 2, -1]
        assert list(activation.order) == [2, 3, 4, 0, 1, 5]
        assert list(activation.n_epochs) == [2] * 5
        assert activation.nonlinearity == "ReLU"
        np.testing.assert_array_equal(activation.scaled[:5].max(axis=1), 1)
        np.testing.assert_array_equal(activation.scaled[5], 0)

    def test_among_filters_of_one_stage_the_choosiest_is_first(self) -> None:
        stages = Hypnogram([0, 1, 2])
        choosy, broad = [0.0, 0.1, 1.0], [0.0, 0.9, 1.0]
        assert list(stage_means(np.array([broad, choosy]).T, stages).order) == [1, 0]

    def test_stages_that_do_not_occur_are_nan(self) -> None:
        activation = stage_means(np.array([[1.0], [2.0]]), Hypnogram([0, 2]))
        np.testing.assert_array_equal(activation.scaled, [[0, np.nan, 1, np.nan, np.nan]])

    def test_how_many_epochs_go_at_once_does_not_matter(self) -> None:
        night, stages = night_of_rhythms()
        few, many = (activation_by_stage(ours("deepsleepnet"), night, stages, epochs_at_once=n) for n in (2, 32))
        for one, other in zip(few, many, strict=True):
            np.testing.assert_allclose(one.mean, other.mean, rtol=1e-5)

    @pytest.mark.parametrize(
        ("name", "block", "nonlinearity"),
        [
            ("tinysleepnet", lambda model: model.representation.layers[0], "ReLU"),
            ("attnsleep", lambda model: model.front_end.small[:3], "GELU"),
            ("sleepgpt-lstm", lambda model: model.first, "ReLU"),
        ],
    )
    def test_the_activation_is_the_networks_own_after_norm_and_nonlinearity(self, name, block, nonlinearity) -> None:
        """The oracle: the first block of the network, called by hand."""
        network = ours(name)
        for module in network.model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
        night = normal(6, 1, network.info.input.epoch_samples)
        stages = Hypnogram([0, 0, 2, 2, 2, 3])
        activation = activation_by_stage(network, night, stages)[0]
        with torch.inference_mode():
            maps = block(network.model)(torch.from_numpy(night)).mean(dim=2).numpy()
        assert activation.nonlinearity == nonlinearity
        np.testing.assert_allclose(activation.mean[:, 2], maps[2:5].mean(axis=0), rtol=1e-4, atol=1e-6)

    def test_u_time_is_read_before_its_norm_which_comes_after_the_nonlinearity(self) -> None:
        network = ours("utime")
        conv = network.model.encoder[0][0].conv
        night = normal(2, 1, network.info.input.epoch_samples)
        (activation,) = activation_by_stage(network, night, Hypnogram([0, 2]))
        with torch.inference_mode():
            convolved = functional.conv1d(torch.from_numpy(night), conv.weight, conv.bias, padding=4, dilation=2)
            whole = functional.elu(convolved).mean(dim=2).numpy()
        assert activation.nonlinearity == "ELU"
        np.testing.assert_allclose(activation.mean[:, [0, 2]].T, whole, rtol=0.02, atol=0.01)
