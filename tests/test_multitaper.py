"""The multitaper spectrogram: its formula, its levels, and MNE as an independent judge."""

import time
from datetime import datetime

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.multitaper import Spectrogram, spectrogram


def noise(seconds: float, sample_rate: float = 100.0, *, spread_uv: float = 10.0) -> np.ndarray:
    n = round(seconds * sample_rate)
    return np.random.default_rng(1).normal(0, spread_uv, n).astype(np.float32)


class TestFormula:
    def test_equals_the_mean_of_explicitly_tapered_periodograms(self) -> None:
        rate, n, n_tapers = 64.0, 30 * 64, 29
        amplitude = noise(60, rate)
        result = spectrogram(amplitude, rate, max_hz=30)
        k = np.arange(1, n_tapers + 1)[:, None]
        tapers = np.sqrt(2 / n) * np.sin(np.pi * k * (np.arange(n) + 0.5) / n)
        np.testing.assert_allclose(tapers @ tapers.T, np.eye(n_tapers), atol=1e-12)
        for i in range(2):
            window = amplitude[i * n : (i + 1) * n].astype(float)
            transformed = np.fft.rfft(tapers * (window - window.mean()), n=2 * n, axis=1)
            density = 2 / rate * (np.abs(transformed) ** 2).mean(axis=0)
            bins = np.round(result.frequency_hz * 2 * n / rate).astype(int)
            np.testing.assert_allclose(result.power_db[i], 10 * np.log10(density[bins]), atol=1e-3)

    def test_agrees_with_mne_on_a_night_of_coloured_noise(self) -> None:
        mne = pytest.importorskip("mne")
        rate, n = 128.0, 30 * 128
        rng = np.random.default_rng(2)
        colour = np.fft.irfft(np.fft.rfft(rng.normal(size=40 * n)) / np.maximum(np.fft.rfftfreq(40 * n, 1 / rate), 0.3))
        amplitude = (20 * colour / colour.std()).astype(np.float32)
        result = spectrogram(amplitude, rate, step_hz=0.5)
        density, frequency = mne.time_frequency.psd_array_multitaper(
            amplitude.reshape(40, n).astype(float), rate, fmin=0, fmax=31, bandwidth=1.0, adaptive=False,
            normalization="full", verbose="error",
        )  # fmt: skip
        at = np.round(result.frequency_hz * 30).astype(int)
        assert frequency[at] == pytest.approx(result.frequency_hz, abs=1e-9)
        difference = result.power_db - 10 * np.log10(density[:, at])
        # Slepian and sine tapers weigh neighbouring frequencies differently: single values differ by tenths of a dB.
        assert abs(difference.mean()) < 0.05
        assert difference.std() < 0.5

    def test_white_noise_has_the_level_of_its_variance(self) -> None:
        result = spectrogram(noise(1200, 100, spread_uv=7), 100)
        assert result.power_db.mean() == pytest.approx(10 * np.log10(2 * 49 / 100), abs=0.15)

    def test_a_sine_shows_at_its_frequency_with_its_whole_power(self) -> None:
        t = np.arange(30 * 200) / 200
        result = spectrogram(30 * np.sin(2 * np.pi * 13.0 * t), 200, step_hz=0.05)
        density = 10 ** (result.power_db[0] / 10)
        assert abs(result.frequency_hz[density > density.max() / 10] - 13).max() < 0.7
        assert density.sum() * 0.05 == pytest.approx(30**2 / 2, rel=0.02)


class TestGrid:
    def test_has_a_column_for_each_epoch_and_drops_what_is_left(self) -> None:
        result = spectrogram(noise(95), 100, start=datetime(2026, 1, 1, 23), derivation="C4-M1")
        assert result.power_db.shape == (3, 119)
        assert (result.frequency_hz[0], result.frequency_hz[-1]) == (0.5, 30.0)
        assert (result.duration_s, result.derivation) == (90.0, "C4-M1")

    def test_shorter_windows_are_possible(self) -> None:
        assert len(spectrogram(noise(60), 100, window_s=10).power_db) == 6

    def test_a_fractional_rate_keeps_windows_at_their_times(self) -> None:
        rate = 85.3333
        amplitude = np.zeros(round(300 * rate), dtype=np.float32)
        at = round(285 * rate)
        amplitude[at : at + 40] = 100
        assert spectrogram(amplitude, rate).power_db.shape[0] == 10
        assert np.nanargmax(np.nan_to_num(spectrogram(amplitude, rate).power_db, nan=-99).sum(axis=1)) == 9

    def test_a_recording_shorter_than_a_window_has_no_columns(self) -> None:
        assert spectrogram(noise(10), 100).power_db.shape == (0, 119)

    def test_windows_with_gaps_and_flat_windows_are_not_known(self) -> None:
        amplitude = noise(120)
        amplitude[3100:3200] = np.nan
        amplitude[6000:9000] = 5
        known = np.isfinite(spectrogram(amplitude, 100).power_db).all(axis=1)
        assert known.tolist() == [True, False, False, True]

    def test_limits_do_not_follow_single_artefacts(self) -> None:
        amplitude = noise(3000)
        amplitude[100] = 1e6
        low, high = spectrogram(amplitude, 100).limits_db()
        assert -5 < low < high < 10

    def test_limits_of_nothing_are_still_a_range(self) -> None:
        empty = Spectrogram(np.full((2, 3), np.nan, np.float32), np.arange(3.0), 30.0, 1.0)
        assert empty.limits_db() == (0.0, 1.0)


class TestRefusals:
    def test_a_rate_that_is_too_low_names_the_least(self) -> None:
        with pytest.raises(HypnographError, match=r"at least 62 Hz; it is 50 Hz"):
            spectrogram(noise(60, 50), 50)

    def test_a_bandwidth_without_tapers(self) -> None:
        with pytest.raises(HypnographError, match="leaves no taper"):
            spectrogram(noise(60), 100, bandwidth_hz=0.01)


@pytest.mark.slow
def test_eight_hours_at_256_hz_take_less_than_half_a_second_of_cpu() -> None:
    amplitude = noise(8 * 3600, 256)
    times = []
    for _ in range(3):
        began = time.process_time()
        spectrogram(amplitude, 256)
        times.append(time.process_time() - began)
    assert min(times) < 0.5
