"""Noise whose spectrum changes with time: blocks drawn in the frequency domain, cross-faded.

Blocks of `BLOCK_S` seconds overlap by half. Their windows' squares sum to one, so independent blocks keep their
variance where they overlap.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft

BLOCK_S = 8.0
_BLOCKS_AT_ONCE = 64

Floats32 = NDArray[np.float32]
PowerOf = Callable[[int, int], Floats32]


def n_blocks(n_samples: int, sample_rate: float) -> int:
    """Return how many blocks cover `n_samples`."""
    return int(np.ceil(n_samples / (_block_length(sample_rate) // 2))) + 1


def block_centres_s(n_samples: int, sample_rate: float) -> NDArray[np.float64]:
    """Return the times of the blocks' centres, seconds, shape (n_blocks,)."""
    return np.arange(n_blocks(n_samples, sample_rate)) * (_block_length(sample_rate) // 2) / sample_rate


def block_frequencies(sample_rate: float) -> NDArray[np.float64]:
    """Return the frequencies of a block's spectrum, Hz, shape (n_frequencies,)."""
    return np.asarray(np.fft.rfftfreq(_block_length(sample_rate), 1 / sample_rate), dtype=np.float64)


def _block_length(sample_rate: float) -> int:
    return 2 * round(BLOCK_S * sample_rate / 2)


def add_noise(
    channels: Floats32,
    sample_rate: float,
    power_of: PowerOf,
    mixing: Floats32,
    rng: np.random.Generator,
    *,
    band_hz: tuple[float, float] = (0.0, np.inf),
) -> None:
    """Add to channels what independent noise sources contribute to each of them.

    Parameters
    ----------
    channels : float32 array, shape (n_channels, n_samples)
        Changed in place.
    sample_rate
        Hz.
    power_of
        ``(first, past_last) → float32 array (n_blocks, n_frequencies in band)``: the one-sided power spectral density
        of the sources in these blocks, µV²/Hz.
    mixing : float32 array, shape (n_channels, n_sources, n_frequencies in band) or (n_channels, n_sources, 1)
        What a source of amplitude 1 gives in a channel.
    rng
        Draws the sources.
    band_hz
        Outside it the sources are silent.
    """
    length = _block_length(sample_rate)
    frequency = block_frequencies(sample_rate)
    band = np.flatnonzero((frequency >= band_hz[0]) & (frequency <= band_hz[1]))
    n_channels, n_sources = mixing.shape[:2]
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length).astype(np.float32)
    total = n_blocks(channels.shape[1], sample_rate)
    mix_by_frequency = np.ascontiguousarray(
        np.broadcast_to(mixing, (n_channels, n_sources, len(band))).transpose(2, 0, 1)
    )
    for first in range(0, total, _BLOCKS_AT_ONCE):
        last = min(first + _BLOCKS_AT_ONCE, total)
        # E|Z|² = P · rate · n / 2 makes the variance the integral of P.
        amplitude = np.sqrt(power_of(first, last) * np.float32(sample_rate * length / 4))
        drawn = rng.standard_normal((len(band), n_sources, (last - first), 2), dtype=np.float32)
        real_and_imaginary = mix_by_frequency @ drawn.reshape(len(band), n_sources, -1)
        mixed = real_and_imaginary.view(np.complex64)
        spectrum = np.zeros((n_channels, last - first, len(frequency)), dtype=np.complex64)
        spectrum[:, :, band] = mixed.transpose(1, 2, 0) * amplitude
        blocks = irfft(spectrum, n=length, axis=-1) * window
        _overlap_add(channels, blocks, first)


def _overlap_add(channels: Floats32, blocks: Floats32, first: int) -> None:
    """Add blocks (channels, blocks, samples), of which the first has number `first`; block k is centred on k · half."""
    half = blocks.shape[-1] // 2
    n_channels, count = blocks.shape[:2]
    course = np.zeros((n_channels, count + 1, half), dtype=np.float32)
    course[:, :-1] += blocks[:, :, :half]
    course[:, 1:] += blocks[:, :, half:]
    course = course.reshape(n_channels, -1)
    start = (first - 1) * half
    skip = max(0, -start)
    stop = min(channels.shape[1], start + course.shape[1])
    if stop > start + skip:
        channels[:, start + skip : stop] += course[:, skip : stop - start]
