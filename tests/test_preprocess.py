"""Resampling and filtering equal MNE's, threads change nothing, and missing samples stay where they are.

The oracle is MNE-Python's `mne.filter`.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import mne
import numpy as np
import pytest

from hypnograph import preprocess
from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind
from hypnograph.preprocess import (
    InputSpec,
    band_pass,
    band_pass_kernel,
    bridge_missing,
    cut_into_epochs,
    resample,
    resample_polyphase,
    without_impossible,
)

SPEC = InputSpec((ChannelKind.EEG,), sample_rate=100.0, band_hz=(0.4, 30.0))


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    """Noise that drifts, with an offset: like an amplifier's output."""
    rng = np.random.default_rng(seed)
    return 200 + 0.05 * rng.standard_normal(n_samples).cumsum() + 10 * rng.standard_normal(n_samples)


class TestResample:
    # 128, 200, 256 and 512 Hz take the way of short transforms, the others that of one long transform.
    @pytest.mark.parametrize("rate", [90, 128, 128.5, 200, 250, 256, 500, 512])
    def test_it_equals_mne(self, rate: float) -> None:
        signal = noise(round(400 * rate))
        expected = mne.filter.resample(signal, up=100.0, down=rate, npad="auto")
        np.testing.assert_allclose(resample(signal, rate, 100.0), expected, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("n_samples", [5, 300, 20_001, 65_536 - 200, 65_536 - 199])
    def test_it_equals_mne_for_any_length(self, n_samples: int) -> None:
        signal = noise(n_samples)
        expected = mne.filter.resample(signal, up=100.0, down=256.0, npad="auto")
        np.testing.assert_allclose(resample(signal, 256.0, 100.0), expected, rtol=0, atol=1e-9)

    def test_the_same_rate_changes_nothing(self) -> None:
        np.testing.assert_array_equal(resample(noise(500), 100.0, 100.0), noise(500))

    def test_threads_change_nothing(self) -> None:
        signal = noise(256 * 400).astype(np.float32)
        with ThreadPoolExecutor(3) as pool:
            np.testing.assert_array_equal(
                resample(signal, 256.0, 100.0, mapper=pool.map), resample(signal, 256.0, 100.0)
            )

    def test_a_tone_above_half_the_new_rate_is_removed(self) -> None:
        time_s = np.arange(256 * 600) / 256
        resampled = resample(np.sin(2 * np.pi * 60 * time_s), 256.0, 100.0)
        assert np.abs(resampled[500:-500]).max() < 1e-3


class TestBandPass:
    @pytest.mark.parametrize(
        ("rate", "low_hz", "high_hz"), [(100.0, 0.4, 30.0), (128.0, 0.3, 35.0), (256.0, 10.0, 100.0)]
    )
    def test_the_kernel_equals_mne(self, rate: float, low_hz: float, high_hz: float) -> None:
        expected = mne.filter.create_filter(None, rate, low_hz, high_hz, verbose=False)
        np.testing.assert_allclose(band_pass_kernel(rate, low_hz, high_hz), expected, rtol=0, atol=1e-15)

    @pytest.mark.parametrize("n_samples", [900, 7368, 7369, 30_000])
    def test_it_equals_mne(self, n_samples: int) -> None:
        signal = noise(n_samples)
        expected = mne.filter.filter_data(signal, 100.0, 0.4, 30.0, verbose=False)
        np.testing.assert_allclose(band_pass(signal, 100.0, 0.4, 30.0), expected, rtol=0, atol=1e-10)

    def test_threads_change_nothing(self) -> None:
        signal = noise(200_000)
        with ThreadPoolExecutor(3) as pool:
            filtered = band_pass(signal, 100.0, 0.4, 30.0, mapper=pool.map)
        np.testing.assert_array_equal(filtered, band_pass(signal, 100.0, 0.4, 30.0))


class TestMissingSamples:
    def test_gaps_are_bridged_by_straight_lines(self) -> None:
        signal = np.array([np.nan, 1.0, np.nan, np.nan, 4.0, np.nan], dtype=np.float32)
        np.testing.assert_allclose(bridge_missing(signal), [1, 1, 2, 3, 4, 4])

    def test_a_kilovolt_is_taken_for_missing(self) -> None:
        np.testing.assert_array_equal(without_impossible(np.array([1e8, -1e9, np.inf])), [1e8, np.nan, np.nan])

    def test_nothing_at_all_is_zeros(self) -> None:
        np.testing.assert_array_equal(bridge_missing(np.full(3, np.nan)), np.zeros(3))

    def test_the_given_signal_is_not_changed(self) -> None:
        signal = np.array([1.0, np.nan, 3.0])
        bridge_missing(signal)
        assert np.isnan(signal[1])


class TestInputSpec:
    def test_an_incomplete_last_epoch_is_left_out(self) -> None:
        assert SPEC.prepare(noise(128 * 310).astype(np.float32), 128.0).shape == (10, 3000)

    def test_without_a_band_the_signal_is_only_resampled(self) -> None:
        spec = InputSpec((ChannelKind.EEG,), sample_rate=64.0, band_hz=None)
        signal = noise(128 * 300)
        np.testing.assert_array_equal(spec.prepare(signal, 128.0).ravel(), resample(signal, 128.0, 64.0))

    def test_cutting_copies_nothing(self) -> None:
        signal = noise(7000)
        assert np.shares_memory(cut_into_epochs(signal, 3000), signal)


class TestScaling:
    SIGNAL = noise(128 * 300) * 30 + 7

    def spec(self, **fields) -> InputSpec:
        return InputSpec((ChannelKind.EEG,), sample_rate=128.0, **fields)

    def test_robust_scaling_equals_scikit_learn(self) -> None:
        from sklearn.preprocessing import RobustScaler

        expected = RobustScaler().fit_transform(self.SIGNAL[:, None])[:, 0]
        np.testing.assert_allclose(self.spec(scaling="robust").prepare(self.SIGNAL, 128.0).ravel(), expected)

    def test_standard_scaling_equals_scikit_learn(self) -> None:
        from sklearn.preprocessing import StandardScaler

        expected = StandardScaler().fit_transform(self.SIGNAL[:, None])[:, 0]
        np.testing.assert_allclose(self.spec(scaling="standard").prepare(self.SIGNAL, 128.0).ravel(), expected)

    def test_each_epoch_is_scaled_to_its_range(self) -> None:
        epochs = self.spec(scaling="epoch-range").prepare(self.SIGNAL, 128.0)
        np.testing.assert_allclose(epochs.min(axis=1), 0)
        np.testing.assert_allclose(epochs.max(axis=1), 1)

    @pytest.mark.parametrize("scaling", ["none", "robust", "standard", "epoch-range"])
    def test_a_flat_signal_is_zeros_or_itself(self, scaling: str) -> None:
        epochs = self.spec(scaling=scaling).prepare(np.full(128 * 60, 3.0), 128.0)
        np.testing.assert_array_equal(epochs, 3.0 if scaling == "none" else 0.0)

    def test_outliers_are_clipped_at_so_many_interquartile_ranges_around_zero(self) -> None:
        signal = self.SIGNAL.copy()
        signal[1000] = 1e6
        low, high = np.percentile(signal, [25, 75])
        clipped = self.spec(outliers="clip").prepare(signal, 128.0).ravel()
        assert clipped.max() == pytest.approx(20 * (high - low))
        np.testing.assert_array_equal(np.delete(clipped, 1000), np.delete(signal, 1000))

    def test_they_can_be_clipped_after_resampling(self) -> None:
        signal = noise(256 * 60)
        signal[3000] = 1e6
        resampled = resample_polyphase(signal, 256.0, 128.0)
        limit = 20 * np.subtract(*np.percentile(resampled, [75, 25]))
        spec = self.spec(outliers="clip-resampled", resampling="polyphase")
        np.testing.assert_allclose(spec.prepare(signal, 256.0).ravel(), np.clip(resampled, -limit, limit))

    def test_an_epoch_with_an_outlier_can_be_silenced(self) -> None:
        signal = self.SIGNAL.copy()
        signal[3840 * 4 + 5] = 1e6
        epochs = self.spec(outliers="zero-epochs").prepare(signal, 128.0)
        assert [bool(epoch.any()) for epoch in epochs] == [True] * 4 + [False] + [True] * 5

    def test_polyphase_resampling_is_scipys(self) -> None:
        from scipy.signal import resample_poly

        signal = noise(256 * 60)
        spec = self.spec(resampling="polyphase")
        for up, down, rate in ((1, 2, 256.0), (16, 25, 200.0), (128, 125, 125.0), (5, 4, 102.4)):
            expected = resample_poly(signal, up, down)
            np.testing.assert_allclose(resample_polyphase(signal, rate, 128.0), expected, atol=1e-12)
        assert len(spec.prepare(noise(round(256.0016 * 60)), 256.0016)) == 2

    @pytest.mark.parametrize(
        "wrong",
        [
            {"scaling": "loud"},
            {"outliers": "hide"},
            {"resampling": "fast"},
            {"context": 0},
            {"epoch_s": 0},
            *(
                {"band_hz": band}
                for band in ((0.3, 64.0), (40.0, 0.3), (-5.0, 30.0), (0.0, 30.0), (math.nan, 30.0), (1e9, 2e9))
            ),
        ],
    )
    def test_impossible_values_are_refused(self, wrong: dict) -> None:
        with pytest.raises(HypnographError):
            self.spec(**wrong)


class TestQuantiles:
    """The oracle is numpy.percentile in float64. The whole is longer than what is counted at once."""

    SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

    def same(self, values: np.ndarray) -> None:
        expected = np.percentile(values.astype(np.float64), 100 * np.array(self.SHARES))
        np.testing.assert_allclose(preprocess._quantiles(values, *self.SHARES), expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("n", [1, 2, 3, 1000, 150_001, 300_000])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_of_any_signal(self, n: int, dtype: type) -> None:
        rng = np.random.default_rng(n)
        few = rng.integers(-3, 4, n)
        signals = (rng.normal(size=n), np.cumsum(rng.normal(size=n)), few, np.where(few > 0, few, 0), np.ones(n))
        for signal in signals:
            self.same(signal.astype(dtype))

    def test_where_the_sample_misleads_all_are_looked_at(self) -> None:
        """Every ninth value is sampled, and those are larger than all others."""
        values = np.random.default_rng(1).normal(size=300_000)
        values[:: 300_000 // preprocess._SAMPLE] += 100
        self.same(values.astype(np.float32))


def test_polyphase_resampling_does_not_show_where_its_blocks_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = noise(30_000).astype(np.float32)
    whole = resample_polyphase(signal, 200.0, 128.0)
    monkeypatch.setattr(preprocess, "_OUTPUTS", 1000)
    np.testing.assert_array_equal(resample_polyphase(signal, 200.0, 128.0), whole)
