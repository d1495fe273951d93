"""Features of 30-s epochs, as the YASA classifiers take them (Vallat and Walker 2021, doi 10.7554/eLife.70092).

For each epoch of each channel: moments, quartiles, zero crossings, Hjorth's parameters, power by Welch's method,
ordinal entropy and two fractal dimensions; then each of these smoothed over time (7.5 min around the epoch, 2 min up to
it) and scaled by the night's median and 5–95 percentile range.

All are computed for many epochs at once with numpy alone, and equal those of the yasa package to rounding error, except
where a sample's sign is itself rounding error: the band pass leaves 0 at the first and the last sample of a night, so
that the zero crossings of those epochs may differ by one; and flat epochs have no meaningful features at all.
"""

from functools import cache
from math import log2

import numpy as np
from numpy.typing import NDArray

from hypnograph.montage import ChannelKind

FloatArray = NDArray[np.float64]

BANDS_HZ = {
    "sdelta": (0.4, 1.0),
    "fdelta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 12.0),
    "sigma": (12.0, 16.0),
    "beta": (16.0, 30.0),
}
_BROAD_HZ = (0.4, 30.0)
_SEGMENT_S = 5
_HIGUCHI_STEPS = 10
_CENTRED_EPOCHS = 15
_PAST_EPOCHS = 4


# One epoch by itself -------------------------------------------------------------------------------------------------


def feature_names(kind: ChannelKind) -> tuple[str, ...]:
    """Return the names of what `epoch_features` computes for a channel of this kind, in its order."""
    bands = () if kind is ChannelKind.EMG else tuple(BANDS_HZ)
    ratios = ("dt", "ds", "db", "at") if kind is ChannelKind.EEG else ()
    shape = ("std", "iqr", "skew", "kurt", "hmob", "hcomp")
    names = (*shape, *bands, *ratios, "abspow", "nzc", "perm", "petrosian", "higuchi")
    return tuple(f"{kind.lower()}_{name}" for name in names)


def epoch_features(epochs: FloatArray, sample_rate: float, kind: ChannelKind) -> FloatArray:
    """Return the features of each epoch by itself.

    Parameters
    ----------
    epochs : float64 array, shape (n_epochs, n_samples)
        µV, filtered to 0.4–30 Hz. Blocks of about 32 epochs are the fastest.
    sample_rate
        Hz; 2.5 s must be a whole number of samples.
    kind
        EEG: 21 features; EOG: 17, without band ratios; EMG: 11, without band powers.

    Returns
    -------
    float64 array, shape (n_epochs, n_features)
        In the order of `feature_names(kind)`; NaN or infinite where an epoch is flat.
    """
    step = epochs[:, 1:] - epochs[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = [
            *_shape(epochs, step),
            *_spectral(epochs, sample_rate, kind),
            *_ordinal(epochs),
            _higuchi_dimension(epochs, step),
        ]
    return np.stack(columns, axis=1)


def _shape(epochs: FloatArray, step: FloatArray) -> list[FloatArray]:
    """Return standard deviation, interquartile range, skewness, excess kurtosis, Hjorth's mobility and complexity.

    Hjorth 1970, doi 10.1016/0013-4694(70)90143-4.
    """
    n = epochs.shape[1]
    deviation = epochs - epochs.mean(axis=1, keepdims=True)
    squared = deviation * deviation
    variance = squared.mean(axis=1)
    skewness = np.vecdot(squared, deviation) / n / variance**1.5
    kurtosis = np.vecdot(squared, squared) / n / variance**2 - 3
    step_variance = _variance(step)
    mobility = np.sqrt(step_variance / variance)
    complexity = np.sqrt(_variance(step[:, 1:] - step[:, :-1]) / step_variance) / mobility
    return [np.sqrt(variance * n / (n - 1)), _interquartile(epochs), skewness, kurtosis, mobility, complexity]


def _variance(rows: FloatArray) -> FloatArray:
    return np.asarray(np.vecdot(rows, rows) / rows.shape[1] - rows.mean(axis=1) ** 2)


def _interquartile(rows: FloatArray) -> FloatArray:
    """Return the interquartile range of each row, quartiles by linear interpolation."""
    places = [0.25 * (rows.shape[1] - 1), 0.75 * (rows.shape[1] - 1)]
    lower = [int(place) for place in places]
    ordered = np.partition(rows, [*lower, *(i + 1 for i in lower)], axis=1)
    first, third = (
        ordered[:, i] + (place - i) * (ordered[:, i + 1] - ordered[:, i])
        for i, place in zip(lower, places, strict=True)
    )
    return np.asarray(third - first)


def _spectral(epochs: FloatArray, sample_rate: float, kind: ChannelKind) -> list[FloatArray]:
    """Return relative band powers (not of EMG), their ratios (of EEG), and the total power from 0.4 to 30 Hz."""
    densities = _welch(epochs, sample_rate)
    total, absolute, *bands = (densities @ _integrals(densities.shape[1], sample_rate)).T
    if kind is ChannelKind.EMG:
        return [absolute]
    relative = [band / total for band in bands]
    slow, fast, theta, alpha, sigma, beta = relative
    if kind is ChannelKind.EOG:
        return [*relative, absolute]
    delta = slow + fast
    return [*relative, delta / theta, delta / sigma, delta / beta, alpha / theta, absolute]


def _welch(epochs: FloatArray, sample_rate: float) -> FloatArray:
    """Return power spectral densities up to 30 Hz, µV²/Hz, shape (n_epochs, n_frequencies).

    The median over half-overlapping 5-s segments under a periodic Hamming window (Welch 1967, doi
    10.1109/TAU.1967.1161901), over the median's bias (Allen et al. 2012, doi 10.1103/PhysRevD.85.122006). A segment's
    mean is not taken off: under this window it reaches only the lowest two frequencies, below 0.4 Hz.
    """
    size = round(_SEGMENT_S * sample_rate)
    n_frequencies = int(_BROAD_HZ[1] * _SEGMENT_S) + 1
    segments = np.lib.stride_tricks.sliding_window_view(epochs, size, axis=1)[:, :: size // 2]
    window = np.hamming(size + 1)[:-1]
    spectra = np.fft.rfft(segments * window)[:, :, :n_frequencies]
    power = spectra.real**2 + spectra.imag**2
    middle = power.shape[1] // 2  # of 11 segments
    even = 2 * np.arange(1, middle + 1)
    bias = 1 + np.sum(1 / (even + 1) - 1 / even)
    scale = 2 / (sample_rate * np.sum(window**2)) / bias
    return np.asarray(np.partition(power, middle, axis=1)[:, middle] * scale)


@cache
def _integrals(n_frequencies: int, sample_rate: float) -> FloatArray:
    """Return weights that integrate a density, shape (n_frequencies, 8).

    The broad band by Simpson's rule, again by the trapezoidal rule, then each band by Simpson's rule.
    """
    frequencies = np.arange(n_frequencies) / _SEGMENT_S
    spacing = 1 / _SEGMENT_S
    bands = [_BROAD_HZ, _BROAD_HZ, *BANDS_HZ.values()]
    weights = np.zeros((n_frequencies, len(bands)))
    for column, (low, high) in enumerate(bands):
        inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
        rule = _trapezoid if column == 1 else _simpson
        weights[inside, column] = rule(len(inside)) * spacing
    return weights


def _trapezoid(n: int) -> FloatArray:
    weights = np.ones(n)
    weights[[0, -1]] = 0.5
    return weights


def _simpson(n: int) -> FloatArray:
    """Return the weights of Simpson's rule on n equidistant points (Cartwright 2017 for the last of an even number)."""
    odd = n - 1 + n % 2
    weights = np.zeros(n)
    weights[1:odd:2] = 4 / 3
    weights[0:odd:2] = 2 / 3
    weights[[0, odd - 1]] = 1 / 3
    if n > odd:
        weights[-3:] += (-1 / 12, 8 / 12, 5 / 12)
    return weights


def _ordinal(epochs: FloatArray) -> list[FloatArray]:
    """Return zero crossings, normalised permutation entropy of order 3, Petrosian's fractal dimension.

    Bandt and Pompe 2002, doi 10.1103/PhysRevLett.88.174102; Petrosian 1995, doi 10.1109/CBMS.1995.465426. Truth values
    are packed eight to a byte, so that counting them costs next to nothing.
    """
    n = epochs.shape[1]
    negative = np.signbit(epochs)
    rises = epochs[:, :-1] <= epochs[:, 1:]
    crossings = _count(_pack(negative[:, :-1]) ^ _pack(negative[:, 1:]))
    before, after = _pack(rises[:, :-1]), _pack(rises[:, 1:])
    over_two = _pack(epochs[:, :-2] <= epochs[:, 2:])
    # Of three samples in a row, the six orders: up-up, down-down, and peaks and troughs with a higher end or start.
    up, peak, trough = before & after, before & ~after, ~before & after
    counts = [_count(up), _count(peak & over_two), _count(peak & ~over_two)]
    counts += [_count(trough & over_two), _count(trough & ~over_two)]
    counts.append(n - 2 - np.sum(counts, axis=0))
    shares = np.stack(counts) / (n - 2)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=0) / log2(6)
    turns = _count(before ^ after)
    petrosian = np.log10(n) / (np.log10(n) + np.log10(n / (n + 0.4 * turns)))
    return [crossings, entropy.clip(0, 1), petrosian]


def _pack(truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(truth, axis=1)


def _count(packed: NDArray[np.uint8]) -> FloatArray:
    return np.asarray(np.bitwise_count(packed).sum(axis=1, dtype=np.float64))


def _higuchi_dimension(epochs: FloatArray, step: FloatArray) -> FloatArray:
    """Return Higuchi's fractal dimension with steps of 1 to 10 samples (1988, doi 10.1016/0167-2789(88)90081-4)."""
    n_steps = np.arange(1, _HIGUCHI_STEPS + 1)
    lengths = np.empty((len(n_steps), len(epochs)))
    for k in n_steps:
        moves = step.copy() if k == 1 else epochs[:, k:] - epochs[:, :-k]
        lengths[k - 1] = np.vecdot(np.abs(moves, out=moves), _higuchi_weights(epochs.shape[1], int(k)))
    x = np.log(1 / n_steps)
    x -= x.mean()
    return np.asarray(x @ np.log(lengths) / (x @ x))


@cache
def _higuchi_weights(n_samples: int, step: int) -> FloatArray:
    """Return the share of each move of `step` samples in the curve's mean length over the `step` starting points."""
    start = np.arange(n_samples - step) % step
    moves_from_start = (n_samples - start - 1) // step
    return np.asarray((n_samples - 1) / (moves_from_start * step**3))


# The night -----------------------------------------------------------------------------------------------------------


def night_feature_names(kind: ChannelKind) -> tuple[str, ...]:
    """Return the names of the columns of `night_features`, in its order."""
    names = feature_names(kind)
    return tuple(f"{name}{suffix}" for suffix in ("", "_c7min_norm", "_p2min_norm") for name in names)


def night_features(features: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Return the features, then smoothed over 7.5 min around each epoch, then over 2 min up to it, both scaled.

    The first smoothing is a triangular weighted mean of 15 epochs, the second a plain mean of 4; at the ends of the
    night, and beside epochs that hold no information, the mean is of those that are there. Scaled is: less the night's
    median, over its range from the 5th to the 95th percentile.

    Parameters
    ----------
    features : float64 array, shape (n_epochs, n_features)
        Of one channel.
    known : bool array, shape (n_epochs,)
        Epochs that hold information; the others enter neither a mean nor a percentile.

    Returns
    -------
    float64 array, shape (n_epochs, 3 · n_features)
        NaN rows where not `known`.
    """
    half = _CENTRED_EPOCHS // 2 + 1
    triangle = 1 - np.abs(np.arange(1 - half, half)) / half
    centred = _weighted_mean(features, known, triangle, half - 1)
    past = _weighted_mean(features, known, np.ones(_PAST_EPOCHS), _PAST_EPOCHS - 1)
    night = np.concatenate([features, _scaled(centred, known), _scaled(past, known)], axis=1)
    night[~known] = np.nan
    return night


def _weighted_mean(features: FloatArray, known: NDArray[np.bool_], weights: FloatArray, before: int) -> FloatArray:
    """Return the mean over the epochs from `before` epochs earlier on, weighted; NaN where none of them is known."""
    n = len(features)
    padded = np.zeros((n + len(weights) - 1, features.shape[1]))
    padded[before : before + n][known] = features[known]
    present = np.zeros(len(padded))
    present[before : before + n] = known
    total, weight = np.zeros_like(features), np.zeros(n)
    for offset, share in enumerate(weights):
        total += share * padded[offset : offset + n]
        weight += share * present[offset : offset + n]
    return total / np.where(weight > 0, weight, np.nan)[:, None]


def _scaled(features: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    if not known.any():
        return features
    low, middle, high = np.percentile(features[known], [5, 50, 95], axis=0)
    spread = high - low
    return np.asarray((features - middle) / np.where(spread > 10 * np.finfo(float).eps, spread, 1.0))
