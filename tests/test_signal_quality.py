"""Signal quality: planted faults are found with their amounts, and sleep is not taken for a fault.

All signals but the real nights at the end are simulated.
"""

import tracemalloc
from itertools import groupby
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind, choose_derivations, read_derivation
from hypnograph.signal_files import read_recording
from hypnograph.signal_quality import SignalQuality, signal_quality

RATE, EPOCHS = 128, 20
EPOCH = 30 * RATE


def night(rate: float = RATE, epochs: int = EPOCHS, seed: int = 3) -> np.ndarray:
    """Pink-like noise with an inter-quartile range of about 20 µV (simulated)."""
    white = np.random.default_rng(seed).standard_normal(round(epochs * 30 * rate))
    spectrum = np.fft.rfft(white) / np.sqrt(np.fft.rfftfreq(white.size, 1 / rate).clip(0.5))
    pink = np.fft.irfft(spectrum, white.size)
    return (15 * pink / pink.std()).astype(np.float32)


def judge(amplitude: np.ndarray, rate: float = RATE, kind: ChannelKind = ChannelKind.EEG, **options) -> SignalQuality:
    return signal_quality(amplitude, rate, kind=kind, **options)


def sine(hz: float, amplitude: float, n: int, rate: float = RATE) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.float32)


class TestGoodSignals:
    def test_a_good_signal_has_weight_1_and_no_warning(self) -> None:
        quality = judge(night())
        assert quality.usable.all()
        np.testing.assert_array_equal(quality.weight, 1.0)
        assert quality.warnings() == ()

    def test_big_slow_waves_are_not_punished(self) -> None:
        amplitude = night()
        amplitude[5 * EPOCH : 9 * EPOCH] += sine(0.8, 200, 4 * EPOCH)  # 400 µV from peak to peak
        np.testing.assert_array_equal(judge(amplitude).weight, 1.0)

    def test_a_silent_chin_in_rem_is_not_punished(self) -> None:
        amplitude = night()
        amplitude[8 * EPOCH :] *= 0.03
        np.testing.assert_array_equal(judge(amplitude, kind=ChannelKind.EMG).weight, 1.0)

    def test_drift_and_offset_change_nothing(self) -> None:
        amplitude = night() + np.linspace(0, 5000, EPOCHS * EPOCH, dtype=np.float32)
        np.testing.assert_allclose(judge(amplitude).weight, 1.0)

    @pytest.mark.parametrize("factor", [1e-3, 1e3])
    def test_a_wrong_unit_does_not_make_everything_flat_or_extreme(self, factor: float) -> None:
        np.testing.assert_allclose(judge(night() * factor).weight, 1.0)

    @pytest.mark.parametrize("rate", [100, 125, 199.8, 200, 256, 256.0016, 500, 512.0])
    def test_any_rate_has_the_same_epochs(self, rate: float) -> None:
        quality = judge(night(rate), rate)
        assert len(quality.weight) == EPOCHS
        np.testing.assert_array_equal(quality.weight, 1.0)


class TestFaults:
    def test_missing_samples_are_counted_by_epoch(self) -> None:
        amplitude = night()
        amplitude[3 * EPOCH : 4 * EPOCH + EPOCH // 4] = np.nan
        quality = judge(amplitude)
        np.testing.assert_allclose(quality.missing[2:6], [0, 1, 0.25, 0])
        np.testing.assert_allclose(quality.weight[2:6], [1, 0, 0.75, 1])
        np.testing.assert_array_equal(quality.usable[2:6], [True, False, True, True])

    def test_a_line_is_flat_wherever_it_lies(self) -> None:
        amplitude = night()
        amplitude[3 * EPOCH - 5 * RATE : 4 * EPOCH] = 12.5
        quality = judge(amplitude)
        np.testing.assert_allclose(quality.flat[1:5], [0, 5 / 30, 1, 0])
        assert list(quality.usable[1:5]) == [True, True, False, True]

    def test_a_line_shorter_than_a_second_is_not_flat(self) -> None:
        amplitude = night()
        amplitude[10 * RATE : 10 * RATE + 60] = 0
        assert judge(amplitude).flat.max() == 0

    def test_plateaus_at_the_rails_are_clipped(self) -> None:
        amplitude = night()
        amplitude[6 * EPOCH : 7 * EPOCH] *= 20
        clipped = np.clip(amplitude, -120, 120)
        runs = [len(list(run)) for value, run in groupby(clipped[6 * EPOCH : 7 * EPOCH]) if abs(value) == 120]
        expected = sum(n for n in runs if n >= 3) / EPOCH
        for rails in (None, (-120.0, 120.0)):
            quality = judge(clipped, physical_range_uv=rails)
            assert expected > 0.4
            assert quality.clipped[6] == pytest.approx(expected)
            assert quality.clipped[:6].max() == 0

    def test_one_peak_that_is_the_highest_of_the_night_is_not_clipped(self) -> None:
        amplitude = night()
        amplitude[1000] = 400
        assert judge(amplitude).clipped.max() == 0

    def test_rails_that_are_not_reached_are_not_clipped(self) -> None:
        assert judge(night(), physical_range_uv=(-3000, 3000)).clipped.max() == 0

    def test_extreme_samples_are_counted_around_the_middle_of_their_epoch(self) -> None:
        amplitude = night() + 2000
        amplitude[2 * EPOCH : 2 * EPOCH + EPOCH // 5] += 3000
        quality = judge(amplitude)
        np.testing.assert_allclose(quality.extreme[1:4], [0, 0.2, 0], atol=1e-3)

    @pytest.mark.parametrize("mains_hz", [50, 60])
    def test_mains_is_its_share_of_the_power_and_lowers_the_weight_only(self, mains_hz: float) -> None:
        amplitude = sine(10, 10, EPOCHS * EPOCH) + sine(mains_hz, 20, EPOCHS * EPOCH)
        quality = judge(amplitude)
        np.testing.assert_allclose(quality.mains, 20**2 / (20**2 + 10**2), rtol=0.01)
        assert quality.usable.all()
        np.testing.assert_allclose(quality.weight, 1 - 0.8 * (0.8 - 0.5) / 0.5, rtol=0.02)

    def test_mains_above_half_the_rate_is_not_looked_for(self) -> None:
        np.testing.assert_array_equal(judge(night(100), 100).mains, 0)

    def test_an_electrode_that_falls_off_is_disconnected(self) -> None:
        amplitude = night() + sine(50, 2, EPOCHS * EPOCH)
        amplitude[12 * EPOCH : 15 * EPOCH] += sine(50, 150, 3 * EPOCH)
        quality = judge(amplitude)
        np.testing.assert_array_equal(np.flatnonzero(quality.disconnected), [12, 13, 14])
        np.testing.assert_array_equal(quality.weight[12:15], 0)

    def test_an_eeg_that_nearly_vanishes_is_disconnected_but_an_emg_is_not(self) -> None:
        amplitude = night()
        amplitude[4 * EPOCH : 6 * EPOCH] *= 0.02
        assert list(np.flatnonzero(judge(amplitude).disconnected)) == [4, 5]
        assert not judge(amplitude, kind=ChannelKind.EMG).disconnected.any()


class TestWarnings:
    def test_amounts_are_minutes_and_percent(self) -> None:
        amplitude = night()
        amplitude[: 5 * EPOCH] = 0
        amplitude[10 * EPOCH : 12 * EPOCH] = np.nan
        assert judge(amplitude).warnings("C4-M1") == (
            "C4-M1 is missing for 1.0 min (10 %)", "C4-M1 is flat for 2.5 min (25 %)",
        )  # fmt: skip

    def test_less_than_a_minute_is_not_worth_a_warning(self) -> None:
        amplitude = night()
        amplitude[:EPOCH] = 0
        assert judge(amplitude).warnings() == ()

    def test_hum_all_night_is_named(self) -> None:
        (warning,) = judge(night() + sine(50, 100, EPOCHS * EPOCH)).warnings("O1")
        assert warning == "O1 is dominated by mains hum (50 or 60 Hz) for 10.0 min (100 %)"


class TestEdges:
    @pytest.mark.parametrize("value", [0.0, 37.5, np.nan])
    def test_a_signal_of_one_value_is_not_usable(self, value: float) -> None:
        quality = judge(np.full(3 * EPOCH, value, np.float32))
        assert not quality.usable.any()
        np.testing.assert_array_equal(quality.weight, 0)

    @pytest.mark.parametrize("n", [0, 1, EPOCH - 1, EPOCH, EPOCH + 1])
    def test_only_whole_epochs_are_judged(self, n: int) -> None:
        assert len(judge(night()[:n]).weight) == n // EPOCH

    def test_a_signal_slower_than_10_hz_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="1 Hz; quality is judged from 10 Hz"):
            judge(night(), 1.0)

    def test_the_arrays_are_read_only_and_the_input_is_unchanged(self) -> None:
        amplitude = night()
        before = amplitude.copy()
        quality = judge(amplitude)
        assert not quality.weight.flags.writeable
        np.testing.assert_array_equal(amplitude, before)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-3, 1.0, 1e3, 1e12]), st.floats(0, 1))
    def test_shares_and_weights_lie_between_0_and_1(self, seed: int, scale: float, gaps: float) -> None:
        random = np.random.default_rng(seed)
        amplitude = np.repeat(random.standard_normal(6 * 3000 // 50), 50).astype(np.float32) * scale
        amplitude[random.random(amplitude.size) < gaps * random.integers(0, 2)] = np.nan
        quality = judge(amplitude, 100)
        for shares in (quality.missing, quality.flat, quality.clipped, quality.extreme, quality.weight):
            assert ((shares >= 0) & (shares <= 1)).all()
        assert (quality.weight[~quality.usable] == 0).all()


class TestRealNights:
    def test_the_real_night_is_good_nearly_everywhere(self, shared_data: Path) -> None:
        recording = read_recording(shared_data / "eeg/ucddb018.edf")
        derived = read_derivation(recording, choose_derivations(recording).eeg[0])
        quality = judge(derived.amplitude_uv, derived.sample_rate, physical_range_uv=derived.physical_range_uv)
        assert derived.warnings + quality.warnings() == ()
        assert (quality.weight > 0.99).mean() > 0.99

    def test_real_n3_has_weight_1_in_all_subjects(self, shared_data: Path) -> None:
        lowest = 1.0
        for path in sorted((shared_data / "eeg/wake-n3").glob("*.npz")):
            with np.load(path) as stored:
                n3 = stored["stage"] == 3
                # Twice the amplitude: children's slow waves.
                amplitude = stored["microvolt_x20"].astype(np.float32).ravel() / 10
                weight = judge(amplitude, float(stored["sample_rate"])).weight[n3]
                lowest = min(lowest, float(weight.min(initial=1.0)))
        assert lowest > 0.99


def test_eight_hours_at_256_hz_cost_little() -> None:
    amplitude = np.random.default_rng(0).standard_normal(8 * 3600 * 256, dtype=np.float32) * 20
    signal_quality(amplitude, 256, kind=ChannelKind.EEG)
    began = process_time()
    signal_quality(amplitude, 256, kind=ChannelKind.EEG)
    assert process_time() - began < 0.3  # 0.03 s on a quiet machine
    tracemalloc.start()
    signal_quality(amplitude, 256, kind=ChannelKind.EEG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
