"""Augmentations change what they say, as often as they say, and nothing else."""

import dataclasses
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.ndimage import gaussian_filter1d

import hypnograph.training.augmentation as module
from hypnograph.errors import HypnographError
from hypnograph.training.augmentation import (
    AUGMENTATIONS,
    Amplitude,
    Augmentation,
    ChannelDropout,
    Elastic,
    GaussianNoise,
    RegionalAugmentation,
    RegionalErase,
    RegionalMix,
    RegionalNoise,
    RegionalSignFlip,
    Roll,
    Shift,
    SignFlip,
    TimeMask,
    augment,
    create_augmentation,
)

Array = NDArray[Any]
every_name = pytest.mark.parametrize("name", AUGMENTATIONS)
every_regional_name = pytest.mark.parametrize(
    "name", [name for name, kind in AUGMENTATIONS.items() if issubclass(kind, RegionalAugmentation)]
)


def random_window(context: int = 6, n_channels: int = 3, n_samples: int = 50, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(1).normal(size=(context, n_channels, n_samples)).astype(dtype)


def ones(context: int = 6, n_channels: int = 2, n_samples: int = 50) -> Array:
    return np.ones((context, n_channels, n_samples), np.float32)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def in_time(window: Array) -> Array:
    """Return (channel, time): the epochs of each channel one after another."""
    return np.concatenate(list(window), axis=-1)


def changed_times(window: Array, before: Array) -> Array:
    """Return which times changed; all channels change together or not at all."""
    changed = in_time(window) != in_time(before)
    assert (changed == changed[0]).all()
    return np.asarray(changed[0])


class TestEveryAugmentation:
    @every_name
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_it_works_in_place_and_keeps_shape_and_dtype(self, name: str, dtype: Any) -> None:
        window = random_window(dtype=dtype)
        changed = create_augmentation(name)(window, generator())
        assert changed is window
        assert changed.dtype == dtype
        assert changed.shape == (6, 3, 50)
        assert np.isfinite(changed).all()
        assert not np.array_equal(changed, random_window(dtype=dtype))

    @every_name
    def test_it_changes_nothing_with_probability_0(self, name: str) -> None:
        window, rng = random_window(2, 2, 5), generator()
        for _ in range(1000):
            create_augmentation(name, probability=0)(window, rng)
        assert np.array_equal(window, random_window(2, 2, 5))

    @every_name
    def test_it_changes_windows_as_often_as_its_probability_says(self, name: str) -> None:
        # Twenty channels, so that random signs always turn one; a long epoch, so that a roll is never by nothing.
        before = random_window(2, 20, 400)
        augmentation = create_augmentation(name, probability=0.3)
        rng = generator(5)
        n_changed = sum(not np.array_equal(augmentation(before.copy(), rng), before) for _ in range(300))
        # Oracle: scipy's binomial distribution; a change that happens to change nothing is as rare as 1 in 40.
        assert stats.binom.cdf(n_changed, 300, 0.3) > 1e-3
        assert stats.binom.sf(n_changed - 1, 300, 0.3) > 1e-3

    @every_name
    def test_a_window_that_is_not_contiguous_changes_like_its_copy(self, name: str) -> None:
        storage = random_window(3, 6, 100)
        stored, rest = storage.swapaxes(0, 1)[:, :, ::2], storage[:, :, 1::2].copy()
        copy = np.ascontiguousarray(stored)
        augmentation = create_augmentation(name)
        assert not stored.flags.c_contiguous
        np.testing.assert_allclose(augmentation(stored, generator(3)), augmentation(copy, generator(3)), rtol=1e-6)
        assert np.array_equal(storage[:, :, 1::2], rest)

    @every_name
    def test_the_same_seed_gives_the_same_window_and_another_seed_another(self, name: str) -> None:
        first, again, other = (create_augmentation(name)(random_window(), generator(seed)) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    @every_name
    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (5, 1, 1), (1, 4, 3), (4, 1, 100)])
    def test_small_windows_stay_finite(self, name: str, shape: tuple[int, int, int]) -> None:
        for seed in range(10):
            assert np.isfinite(create_augmentation(name)(random_window(*shape), generator(seed))).all()

    @every_name
    def test_only_its_generator_decides(self, name: str) -> None:
        np.random.seed(1)
        first = create_augmentation(name)(random_window(), generator())
        np.random.seed(2)
        assert np.array_equal(create_augmentation(name)(random_window(), generator()), first)

    @every_name
    def test_it_is_a_frozen_value(self, name: str) -> None:
        augmentation = create_augmentation(name)
        assert augmentation == create_augmentation(name)
        assert hash(augmentation) == hash(create_augmentation(name))
        with pytest.raises(dataclasses.FrozenInstanceError):
            augmentation.probability = 0.5  # type: ignore[misc]

    @pytest.mark.parametrize("window", [np.ones((3, 4)), np.ones((3, 0, 4)), np.ones((3, 2, 4), int)])
    def test_what_is_no_window_is_refused(self, window: Array) -> None:
        with pytest.raises(HypnographError, match="give floating point of shape"):
            Shift()(window, generator())


class TestRegions:
    def mask(self, *, seed: int = 0, shape: tuple[int, int, int] = (6, 2, 50), **options: Any) -> Array:
        before = np.ones(shape, np.float32)
        return changed_times(TimeMask(**options)(before.copy(), generator(seed)), before)

    def test_lengths_are_log_uniform(self) -> None:
        # Oracle: scipy's log-uniform distribution.
        window, augmentation = ones(2, 1, 10_000), TimeMask(min_fraction=0.01, max_fraction=0.5)
        rng = generator(8)
        fractions = [float((augmentation(np.ones_like(window), rng) == 0).mean()) for _ in range(1000)]
        assert stats.kstest(fractions, stats.loguniform(0.01, 0.5).cdf).pvalue > 0.01
        assert min(fractions) >= 0.0099
        assert max(fractions) <= 0.5

    def test_lengths_are_uniform_if_log_is_off(self) -> None:
        window, augmentation = ones(2, 1, 10_000), TimeMask(min_fraction=0.01, max_fraction=0.5, log=False)
        rng = generator(8)
        fractions = [float((augmentation(np.ones_like(window), rng) == 0).mean()) for _ in range(1000)]
        assert stats.kstest(fractions, stats.uniform(0.01, 0.49).cdf).pvalue > 0.01

    def test_every_time_is_as_likely_to_be_changed(self) -> None:
        counts = sum(self.mask(seed=seed, min_fraction=0.3, max_fraction=0.3).astype(int) for seed in range(2000))
        # Each time is in 30 % of the regions; five standard errors.
        np.testing.assert_allclose(np.asarray(counts) / 2000, 0.3, atol=5 * math.sqrt(0.3 * 0.7 / 2000))

    def test_a_region_is_one_stretch_of_time_that_wraps_round(self) -> None:
        n_wrapped = 0
        for seed in range(200):
            mask = self.mask(seed=seed, min_fraction=0.4, max_fraction=0.4)
            assert mask.sum() == 120
            assert np.count_nonzero(mask != np.roll(mask, 1)) == 2
            n_wrapped += bool(mask[0] and mask[-1])
        assert 40 < n_wrapped < 120

    @given(
        shape=st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 20)),
        start=st.floats(0, 0.999),
        fraction=st.floats(0, 1),
    )
    def test_its_views_are_the_same_samples_as_in_one_long_signal(
        self, shape: tuple[int, int, int], start: float, fraction: float
    ) -> None:
        # Oracle: numpy's take with mode "wrap" on the long signal.
        window = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
        n_samples = shape[0] * shape[2]
        first, length = int(start * n_samples), int(fraction * n_samples)
        views = list(module._stretches(window, first, length))
        assert len(views) <= 5
        assert all(np.shares_memory(view, window) for view in views)
        found = np.concatenate([np.empty((shape[1], 0)), *(in_time(view) for view in views)], axis=1)
        expected = in_time(window).take(range(first, first + length), axis=1, mode="wrap")
        assert np.array_equal(found, expected)

    def test_the_whole_window_can_be_a_region(self) -> None:
        assert self.mask(min_fraction=1, max_fraction=1).all()

    def test_a_region_has_at_least_one_sample(self) -> None:
        assert self.mask(min_fraction=1e-9, max_fraction=1e-9).sum() == 1

    def test_a_time_mask_has_as_many_regions_as_it_is_told(self) -> None:
        masks = [self.mask(seed=seed, min_fraction=0.01, max_fraction=0.01, count=3) for seed in range(20)]
        starts = [np.count_nonzero(mask & ~np.roll(mask, 1)) for mask in masks]
        assert max(starts) == 3
        assert np.mean(starts) > 2.5

    @every_regional_name
    def test_every_regional_augmentation_changes_one_region_in_all_channels(self, name: str) -> None:
        for seed in range(20):
            before = random_window(6, 3, 500)
            augmentation = create_augmentation(name, min_fraction=0.25, max_fraction=0.25)
            changed = changed_times(augmentation(before.copy(), generator(seed)), before)
            assert changed.sum() == 750
            assert np.count_nonzero(changed != np.roll(changed, 1)) == 2


class TestWhatReplacesARegion:
    def test_erased_is_faint_noise_about_the_mean_of_the_window(self) -> None:
        before = random_window(10, 2, 2000)
        before[:, 1] += 4
        window = RegionalErase(min_fraction=0.5, max_fraction=0.5)(before.copy(), generator(2))
        erased = in_time(window)[:, changed_times(window, before)]
        assert erased.shape == (2, 10_000)
        np.testing.assert_allclose(erased.mean(1), before.mean(), atol=5 * 0.01 / 100)
        np.testing.assert_allclose(erased.std(1), 0.01, rtol=0.05)
        assert abs(np.corrcoef(erased)[0, 1]) < 0.05

    @pytest.mark.parametrize(("sd", "least", "most"), [(0.3, 0.29, 0.31), ((0.2, 0.25), 0.19, 0.26)])
    def test_noise_is_added_with_its_own_values_in_each_channel(self, sd: Any, least: float, most: float) -> None:
        before = random_window(10, 2, 2000)
        window = RegionalNoise(min_fraction=0.5, max_fraction=0.5, sd=sd)(before.copy(), generator(2))
        noise = in_time(window - before)[:, changed_times(window, before)]
        assert noise.shape == (2, 10_000)
        assert ((least < noise.std(1)) & (noise.std(1) < most)).all()
        assert abs(np.corrcoef(noise)[0, 1]) < 0.05

    def test_a_region_turned_upside_down_is_its_negative(self) -> None:
        before = random_window()
        window = RegionalSignFlip(min_fraction=0.4, max_fraction=0.4)(before.copy(), generator(4))
        changed = changed_times(window, before)
        assert np.array_equal(in_time(window)[:, changed], -in_time(before)[:, changed])

    def test_a_mixed_region_is_the_mean_of_itself_and_another_stretch(self) -> None:
        # Oracle: numpy's roll of the long signal; one of its shifts, and only one, gives what was mixed in.
        before = random_window(6, 2, 20)
        rolls = np.array([np.roll(in_time(before), shift, axis=1) for shift in range(120)])
        shifts = []
        for seed in range(30):
            window = RegionalMix(min_fraction=0.4, max_fraction=0.4)(before.copy(), generator(seed))
            changed = changed_times(window, before)
            mixed_in = in_time(2 * window - before)[:, changed]
            found = np.flatnonzero((np.abs(rolls[:, :, changed] - mixed_in) < 1e-5).all((1, 2)))
            assert (changed.sum(), len(found)) == (48, 1)
            shifts += found.tolist()
        assert len(set(shifts)) > 20


class TestNoise:
    def test_it_is_gaussian_and_white_and_independent_between_channels(self) -> None:
        # Oracle: scipy's normal distribution.
        noise = in_time(GaussianNoise(sd=0.5)(np.zeros((10, 2, 5000), np.float32), generator(3))) / 0.5
        assert all(stats.kstest(channel, stats.norm.cdf).pvalue > 0.01 for channel in noise)
        assert stats.kurtosistest(noise.ravel()).pvalue > 0.01
        limit = 5 / math.sqrt(noise.shape[1])
        assert all(abs(np.mean(channel[lag:] * channel[:-lag])) < limit for channel in noise for lag in (1, 2, 5000))
        assert abs(np.mean(noise[0] * noise[1])) < limit
        # Box and Muller's pairs: neither their product nor the product of their squares tells anything.
        first, second = np.split(noise.ravel(), 2)
        assert abs(np.mean(first * second)) < limit
        assert abs(np.corrcoef(first**2, second**2)[0, 1]) < limit

    def test_it_is_finite_where_the_generator_draws_0(self) -> None:
        class Zero(np.random.Generator):
            def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
                return np.zeros(size, dtype)

        assert np.isfinite(module._normal((4, 3), 1.0, Zero(np.random.PCG64(1)))).all()

    def test_its_sd_is_drawn_for_each_window_from_a_range(self) -> None:
        # Oracle: scipy's uniform distribution.
        rng = generator(6)
        augmentation = GaussianNoise(sd=(0.1, 0.3))
        sds = [augmentation(np.zeros((2, 2, 5000), np.float32), rng).std() for _ in range(300)]
        assert stats.kstest(sds, stats.uniform(0.1, 0.2).cdf).pvalue > 0.01


class TestWholeChannels:
    @pytest.mark.parametrize(
        ("n_channels", "fraction", "n_dropped"),
        [(1, 0.5, 0), (1, 1.0, 0), (2, 0.5, 1), (2, 0.1, 1), (2, 1.0, 1), (5, 0.5, 2), (5, 0.9, 4), (5, 1.0, 4)],
    )
    def test_dropout_replaces_its_fraction_of_the_channels_but_never_all(
        self, n_channels: int, fraction: float, n_dropped: int
    ) -> None:
        before = random_window(4, n_channels, 500) + 3 * np.arange(n_channels, dtype=np.float32)[:, np.newaxis]
        window = ChannelDropout(fraction=fraction)(before.copy(), generator(1))
        dropped = (window != before).all(axis=(0, 2))
        assert dropped.sum() == n_dropped
        assert np.array_equal(window[:, ~dropped], before[:, ~dropped])
        np.testing.assert_allclose(in_time(window)[dropped].std(1), 0.01, rtol=0.1)
        np.testing.assert_allclose(in_time(window).mean(1), in_time(before).mean(1), atol=2e-3)

    def test_dropout_drops_each_channel_as_often(self) -> None:
        rng = generator(9)
        counts = sum((ChannelDropout(fraction=0.67)(ones(2, 3, 4), rng) != 1).all((0, 2)) for _ in range(900))
        np.testing.assert_allclose(counts, 600, atol=5 * math.sqrt(200))

    def test_each_channel_gets_a_sign_of_its_own(self) -> None:
        rng = generator(9)
        signs = np.array([SignFlip()(ones(2, 3, 4), rng)[0, :, 0] for _ in range(900)])
        assert set(np.unique(signs)) == {-1, 1}
        assert (np.abs(signs.mean(0)) < 5 / 30).all()
        assert (np.abs(np.corrcoef(signs.T) - np.eye(3)) < 5 / 30).all()
        window = SignFlip()(random_window(), generator(1))
        assert np.array_equal(np.abs(window), np.abs(random_window()))
        assert np.array_equal(window, random_window() * np.sign(window / random_window())[:1, :, :1])

    def test_amplitude_is_one_factor_for_the_window(self) -> None:
        # Oracle: scipy's uniform distribution.
        rng = generator(2)
        windows = [Amplitude(min_factor=0.5, max_factor=2)(ones(), rng) for _ in range(300)]
        assert all(np.ptp(window) == 0 for window in windows)
        factors = [float(window[0, 0, 0]) for window in windows]
        assert stats.kstest(factors, stats.uniform(0.5, 1.5).cdf).pvalue > 0.01
        ratio = Amplitude()(random_window(), generator(1)) / random_window()
        np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-5)

    def test_shift_adds_one_offset_to_the_window(self) -> None:
        rng = generator(2)
        windows = [Shift(min_offset=-1, max_offset=3)(ones(), rng) for _ in range(300)]
        assert all(np.ptp(window) == 0 for window in windows)
        offsets = [float(window[0, 0, 0]) - 1 for window in windows]
        assert stats.kstest(offsets, stats.uniform(-1, 4).cdf).pvalue > 0.01


class TestTime:
    @pytest.mark.parametrize(("alpha", "sigma"), [(35.0, 3.0), (35.0, 30.0), ((5.0, 20.0), (3.0, 10.0)), (0.0, 3.0)])
    @pytest.mark.parametrize("shape", [(5, 2, 300), (3, 1, 333), (1, 3, 2000)])
    def test_elastic_is_the_smoothing_of_scipy_and_the_interpolation_of_numpy(
        self, alpha: Any, sigma: Any, shape: tuple[int, int, int]
    ) -> None:
        before = random_window(*shape, dtype=np.float64)
        window = Elastic(alpha=alpha, sigma=sigma)(before.copy(), generator(7))
        rng = generator(7)
        rng.random()  # whether the window is changed
        noise = 2 * rng.random(shape[0] * shape[2], dtype=np.float32).astype(np.float64) - 1
        drawn_alpha = rng.uniform(*alpha) if isinstance(alpha, tuple) else alpha
        drawn_sigma = rng.uniform(*sigma) if isinstance(sigma, tuple) else sigma
        place = np.arange(len(noise)) + drawn_alpha * gaussian_filter1d(noise, drawn_sigma, mode="wrap", truncate=8)
        expected = [
            np.interp(place, np.arange(len(noise)), signal, left=0, right=0)
            for signal in in_time(before).astype(np.float64)
        ]
        # A sample that is read within float32's error of the window's end may be on either side of it.
        sure = (np.abs(place) > 1e-3) & (np.abs(place - (len(noise) - 1)) > 1e-3) | (drawn_alpha == 0)
        np.testing.assert_allclose(in_time(window)[:, sure], np.array(expected)[:, sure], atol=2e-4)

    def test_elastic_agrees_with_u_time_but_near_the_ends(self) -> None:
        # Oracle: U-Time's smoothing, scipy's with zeros outside and cut off at four sigma.
        noise = 2 * generator(1).random(4000, dtype=np.float32) - 1
        ours, theirs = module._smoothed(noise, 20.0), gaussian_filter1d(noise, 20.0, mode="constant")
        np.testing.assert_allclose(ours[80:-80], theirs[80:-80], atol=1e-4)

    def test_elastic_is_exact_far_into_a_long_window(self) -> None:
        # A ramp is linear: read half a sample later it is half a sample more, at the last sample as at the first.
        ramp = np.arange(200_000, dtype=np.float64)[np.newaxis]
        moved = module._moved(ramp, np.full(200_000, 0.4, np.float32))  # type: ignore[arg-type]
        np.testing.assert_allclose(moved[0, :-1], ramp[0, :-1] + 0.4, atol=1e-6)
        assert moved[0, -1] == 0

    def test_the_displacement_of_elastic_is_as_wide_as_its_docstring_says(self) -> None:
        noise = 2 * generator(1).random(400_000, dtype=np.float32) - 1
        for sigma in (3.0, 10.0, 30.0):
            assert module._smoothed(noise, sigma).std() == pytest.approx(0.31 / math.sqrt(sigma), rel=0.05)

    def test_a_roll_moves_the_window_by_up_to_its_fraction_of_an_epoch(self) -> None:
        # Oracle: numpy's roll of the long signal.
        before = random_window(4, 2, 100)
        rng = generator(3)
        shifts = []
        for _ in range(400):
            window = in_time(Roll(max_fraction=0.1)(before.copy(), rng))
            matches = [shift for shift in range(-50, 51) if np.array_equal(window, np.roll(in_time(before), shift, 1))]
            assert len(matches) == 1
            shifts += matches
        assert (min(shifts), max(shifts)) == (-9, 9)
        assert abs(np.mean(shifts)) < 5 * 5.5 / 20


class TestSpeed:
    @pytest.mark.parametrize(
        ("augmentation", "limit_ms"),
        [(RegionalErase(min_fraction=0.33), 1), (ChannelDropout(), 1), (Elastic(), 10)],
        ids=lambda value: type(value).__name__ if isinstance(value, Augmentation) else "",
    )
    def test_a_window_of_u_sleep_is_changed_fast(self, augmentation: Augmentation, limit_ms: float) -> None:
        # Four times the time on an idle core, for machines that do other things; the best of some tries.
        window, rng, durations = random_window(35, 2, 3840), generator(), []
        for _ in range(10):
            start = time.perf_counter()
            augmentation(window, rng)
            durations.append(time.perf_counter() - start)
        assert min(durations) < 4e-3 * limit_ms


class TestByName:
    def test_they_are_applied_in_order(self) -> None:
        double, more = Amplitude(min_factor=2, max_factor=2), Shift(min_offset=1, max_offset=1)
        window = ones()
        assert augment(window, [double, more], generator()) is window
        assert (window == 3).all()
        assert (augment(ones(), [more, double], generator()) == 4).all()
        assert (augment(ones(), [], generator()) == 1).all()

    def test_names_are_those_of_the_types(self) -> None:
        words = {name: name.replace("-", "") for name in AUGMENTATIONS}
        assert {name: kind.__name__.lower() for name, kind in AUGMENTATIONS.items()} == words

    def test_options_reach_the_augmentation(self) -> None:
        expected = RegionalErase(min_fraction=0.1, max_fraction=0.2, log=False, probability=0.1)
        options = {"min_fraction": 0.1, "max_fraction": 0.2, "log": False, "probability": 0.1}
        assert create_augmentation("regional-erase", **options) == expected

    def test_a_range_may_be_a_list_as_in_toml(self) -> None:
        assert create_augmentation("elastic", alpha=[0, 35], sigma=[3, 30]) == Elastic(alpha=(0, 35), sigma=(3, 30))

    def test_an_unknown_name_is_refused_with_those_that_exist(self) -> None:
        with pytest.raises(HypnographError, match=r"no augmentation 'erase'.*amplitude, .*regional-erase, .*time-mask"):
            create_augmentation("erase")

    def test_an_unknown_option_is_refused_with_those_that_exist(self) -> None:
        with pytest.raises(HypnographError, match=r"roll has no option 'min'.*: probability, max_fraction$"):
            create_augmentation("roll", min=1)

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("roll", {"probability": 1.1}, "probability is 1.1; give a number of at least 0 and at most 1"),
            ("roll", {"probability": -0.1}, "probability is -0.1"),
            ("roll", {"probability": math.nan}, "probability is nan"),
            ("roll", {"probability": "often"}, "probability is 'often'"),
            ("roll", {"probability": True}, "probability is True"),
            ("roll", {"max_fraction": 1.5}, "max_fraction is 1.5"),
            ("regional-erase", {"min_fraction": 0}, "min_fraction is 0; give a number of more than 0 and at most 1"),
            ("regional-mix", {"max_fraction": 1.01}, "max_fraction is 1.01"),
            (
                "regional-sign-flip",
                {"min_fraction": 0.5, "max_fraction": 0.4},
                "max_fraction is 0.4; give a number of at least 0.5 and at most 1",
            ),
            ("time-mask", {"log": "yes"}, "log is 'yes'; give true or false"),
            ("time-mask", {"count": 0}, "count is 0; give a whole number, 1 or more"),
            ("time-mask", {"count": 1.5}, "count is 1.5"),
            ("channel-dropout", {"fraction": 0}, "fraction is 0"),
            ("channel-dropout", {"fraction": 1.2}, "fraction is 1.2"),
            ("gaussian-noise", {"sd": -0.1}, "sd is -0.1; give a number of at least 0"),
            ("gaussian-noise", {"sd": [0.1, 0.2, 0.3]}, "give one number, or two: the least and the most"),
            ("regional-noise", {"sd": (0.3, 0.2)}, "the second number of sd is 0.2; give a number of at least 0.3"),
            ("regional-noise", {"sd": (-0.3, 0.2)}, "the first number of sd is -0.3"),
            ("amplitude", {"min_factor": -1}, "min_factor is -1"),
            ("amplitude", {"min_factor": 2}, "max_factor is 1.25; give a number of at least 2"),
            ("shift", {"min_offset": math.inf}, "min_offset is inf; give a number$"),
            ("shift", {"max_offset": -0.2}, "max_offset is -0.2; give a number of at least -0.1"),
            ("elastic", {"alpha": -1}, "alpha is -1"),
            ("elastic", {"sigma": 0}, "sigma is 0; give a number of more than 0"),
            ("elastic", {"sigma": (0, 3)}, "the first number of sigma is 0"),
        ],
    )
    def test_a_value_out_of_range_is_refused_with_the_limit(
        self, name: str, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(HypnographError, match=message):
            create_augmentation(name, **options)

    def test_the_defaults_are_those_of_u_times_recipes(self) -> None:
        # Oracle: the augmenters of the utime and usleep hparams.yaml of github.com/perslev/U-Time.
        assert RegionalErase() == RegionalErase(min_fraction=0.001, max_fraction=0.33, log=True)
        assert RegionalNoise() == RegionalNoise(min_fraction=0.001, max_fraction=0.50, log=True, sd=0.2)
        assert GaussianNoise() == GaussianNoise(sd=0.1)
        assert Elastic() == Elastic(alpha=(0, 35), sigma=(3, 30))
        assert ChannelDropout() == ChannelDropout(fraction=0.5)
        assert {create_augmentation(name).probability for name in AUGMENTATIONS} == {1.0}
