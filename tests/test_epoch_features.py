"""Features of epochs equal those of antropy, SciPy and yasa; smoothing over the night equals pandas and scikit-learn.

Equality with the whole of ``yasa.SleepStaging.get_features`` is tested in ``stagers/test_yasa.py``.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from hypnograph.epoch_features import (
    BANDS_HZ,
    _simpson,
    epoch_features,
    feature_names,
    night_feature_names,
    night_features,
)
from hypnograph.montage import ChannelKind
from hypnograph.preprocess import band_pass

RATE = 100.0


@pytest.fixture(scope="module")
def oracle() -> SimpleNamespace:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import antropy
        import scipy.signal
        import scipy.stats
        import yasa
    return SimpleNamespace(antropy=antropy, signal=scipy.signal, stats=scipy.stats, yasa=yasa)


@pytest.fixture(scope="module")
def epochs() -> np.ndarray:
    """Filtered coloured noise (simulated): 12 epochs of 30 s, ever rougher."""
    rng = np.random.default_rng(3)
    white = rng.standard_normal(12 * 3000)
    slow = np.convolve(white, np.ones(20), mode="same")
    return band_pass(slow + np.linspace(0, 8, len(white)) * rng.standard_normal(len(white)), RATE, 0.4, 30.0).reshape(
        12, -1
    )


def features_of(epochs: np.ndarray, kind: ChannelKind = ChannelKind.EEG) -> dict[str, np.ndarray]:
    names = [name.split("_", 1)[1] for name in feature_names(kind)]
    return dict(zip(names, epoch_features(epochs, RATE, kind).T, strict=True))


class TestOneEpoch:
    def test_the_shape_of_the_amplitudes_equals_scipy(self, epochs: np.ndarray, oracle: SimpleNamespace) -> None:
        ours = features_of(epochs)
        np.testing.assert_allclose(ours["std"], epochs.std(axis=1, ddof=1), rtol=1e-12)
        np.testing.assert_allclose(ours["iqr"], oracle.stats.iqr(epochs, axis=1), rtol=1e-12)
        np.testing.assert_allclose(ours["skew"], oracle.stats.skew(epochs, axis=1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours["kurt"], oracle.stats.kurtosis(epochs, axis=1), rtol=0, atol=1e-12)

    def test_complexity_equals_antropy(self, epochs: np.ndarray, oracle: SimpleNamespace) -> None:
        ours, antropy = features_of(epochs), oracle.antropy
        mobility, complexity = antropy.hjorth_params(epochs, axis=1)
        np.testing.assert_allclose(ours["hmob"], mobility, rtol=1e-9)
        np.testing.assert_allclose(ours["hcomp"], complexity, rtol=1e-9)
        np.testing.assert_array_equal(ours["nzc"], antropy.num_zerocross(epochs, axis=1))
        np.testing.assert_allclose(ours["perm"], [antropy.perm_entropy(e, normalize=True) for e in epochs], rtol=1e-12)
        np.testing.assert_allclose(ours["petrosian"], antropy.petrosian_fd(epochs, axis=1), rtol=1e-12)
        np.testing.assert_allclose(ours["higuchi"], [antropy.higuchi_fd(e) for e in epochs], rtol=1e-9)

    def test_powers_equal_welch_and_yasa(self, epochs: np.ndarray, oracle: SimpleNamespace) -> None:
        ours = features_of(epochs)
        frequencies, densities = oracle.signal.welch(epochs, RATE, window="hamming", nperseg=500, average="median")
        bands = [(low, high, name) for name, (low, high) in BANDS_HZ.items()]
        expected = oracle.yasa.bandpower_from_psd_ndarray(densities, frequencies, bands)
        np.testing.assert_allclose([ours[name] for name in BANDS_HZ], expected, rtol=1e-9)
        inside = (frequencies >= 0.4) & (frequencies <= 30)
        np.testing.assert_allclose(ours["abspow"], np.trapezoid(densities[:, inside], dx=0.2), rtol=1e-9)
        np.testing.assert_allclose(ours["dt"], (expected[0] + expected[1]) / expected[2], rtol=1e-9)

    def test_equal_neighbours_count_as_rising_as_in_antropy(self, oracle: SimpleNamespace) -> None:
        steps = np.random.default_rng(0).integers(-2, 3, size=(4, 3000)).astype(float)
        ours = features_of(steps)
        expected = [oracle.antropy.perm_entropy(e, normalize=True) for e in steps]
        np.testing.assert_allclose(ours["perm"], expected, rtol=1e-12)
        np.testing.assert_array_equal(ours["nzc"], oracle.antropy.num_zerocross(steps, axis=1))

    @pytest.mark.parametrize(("kind", "count"), [(ChannelKind.EEG, 21), (ChannelKind.EOG, 17), (ChannelKind.EMG, 11)])
    def test_each_kind_has_its_features(self, epochs: np.ndarray, kind: ChannelKind, count: int) -> None:
        assert epoch_features(epochs, RATE, kind).shape == (len(epochs), len(feature_names(kind))) == (12, count)

    def test_a_block_gives_the_same_as_the_night(self, epochs: np.ndarray) -> None:
        whole = epoch_features(epochs, RATE, ChannelKind.EEG)
        np.testing.assert_allclose(epoch_features(epochs[5:6], RATE, ChannelKind.EEG)[0], whole[5], rtol=1e-12)

    def test_a_flat_epoch_is_not_finite_and_warns_nobody(self) -> None:
        assert not np.isfinite(epoch_features(np.zeros((1, 3000)), RATE, ChannelKind.EEG)).all()

    @pytest.mark.parametrize("n_points", [3, 4, 5, 20, 21, 149])
    def test_integration_equals_scipy(self, n_points: int) -> None:
        from scipy.integrate import simpson

        values = np.random.default_rng(n_points).random(n_points)
        assert _simpson(n_points) @ values == pytest.approx(simpson(values, dx=1.0), rel=1e-12)


class TestNight:
    @pytest.mark.parametrize("unknown", [(), (0, 1, 17, 18, 19, 20, 21, 22, 39)])
    def test_smoothing_and_scaling_equal_pandas_and_scikit_learn(self, unknown: tuple[int, ...]) -> None:
        import pandas as pd
        from sklearn.preprocessing import robust_scale

        features, known = np.random.default_rng(1).lognormal(size=(40, 3)), np.ones(40, dtype=bool)
        known[list(unknown)] = False
        frame = pd.DataFrame(np.where(known[:, None], features, np.nan))
        centred = frame.rolling(window=15, center=True, min_periods=1, win_type="triang").mean()
        past = frame.rolling(window=4, min_periods=1).mean()
        expected = [features[known], *(robust_scale(f[known], quantile_range=(5, 95)) for f in (centred, past))]
        ours = night_features(features, known)
        np.testing.assert_allclose(ours[known], np.concatenate(expected, axis=1), rtol=1e-9, atol=1e-12)
        assert np.isnan(ours[~known]).all()

    def test_what_unknown_epochs_hold_changes_nothing(self) -> None:
        features, known = np.random.default_rng(2).random((30, 4)), np.ones(30, dtype=bool)
        known[10:13] = False
        spoiled = features.copy()
        spoiled[10:13] = [[np.nan], [np.inf], [1e30]]
        np.testing.assert_array_equal(night_features(spoiled, known), night_features(features, known))

    def test_a_constant_feature_is_scaled_to_zero(self) -> None:
        scaled = night_features(np.full((20, 1), 3.0), np.ones(20, dtype=bool))[:, 1:]
        np.testing.assert_allclose(scaled, 0, atol=1e-12)

    def test_a_night_without_information_is_all_nan(self) -> None:
        assert np.isnan(night_features(np.ones((5, 2)), np.zeros(5, dtype=bool))).all()

    def test_names_and_columns_agree(self) -> None:
        names = night_feature_names(ChannelKind.EMG)
        assert len(names) == len(set(names)) == 33
        assert names[0] == "emg_std"
        assert names[11] == "emg_std_c7min_norm"
