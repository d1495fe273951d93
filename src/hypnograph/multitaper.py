"""Multitaper spectrogram: the power of a signal over a night.

A periodogram of one epoch scatters by 100 %. The mean over K orthogonal tapers (Thomson 1982, doi
10.1109/PROC.1982.12433) scatters by 1/√K of that, at the price of a stated bandwidth: a multitaper spectrogram shows
the spindles and slow waves of a whole night at a glance (Prerau et al. 2017, doi 10.1152/physiol.00062.2015).

The tapers are the sine tapers of Riedel and Sidorenko 1995 (doi 10.1109/78.365298) at half-sample points, which are
orthonormal too:

    v_k(n) = √(2/N) sin(π k (n + ½) / N),   k = 1 … K,  n = 0 … N − 1

Nearly as concentrated as Slepian's sequences, they need no eigenproblem, and no taper is ever applied: as a sine is two
exponentials, the tapered transform at a bin j of a transform of length 2N is the difference of two plain ones,

    Σ v_k(n) x(n) e^(−iπjn/N) = −i/√(2N) (e^(iπk/2N) Z(j − k) − e^(−iπk/2N) Z(j + k)),

so K tapers cost one transform.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError

_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """Power over time and frequency.

    Parameters
    ----------
    power_db : float32 array, shape (n_windows, n_frequencies)
        10 log10 of the one-sided power density in µV²/Hz; NaN where the window has a gap or is entirely flat.
    frequency_hz : float array, shape (n_frequencies,)
    window_s
        Length of a window and distance from one to the next, seconds.
    bandwidth_hz
        Frequencies closer than this are not told apart.
    start
        Wall-clock time of the first window, where known.
    derivation
        What was measured, e.g. ``"C4-M1"``.
    """

    power_db: NDArray[np.float32]
    frequency_hz: NDArray[np.float64]
    window_s: float
    bandwidth_hz: float
    start: datetime | None = None
    derivation: str = ""

    @property
    def duration_s(self) -> float:
        return len(self.power_db) * self.window_s

    def limits_db(self) -> tuple[float, float]:
        """Return the 2nd and 98th percentile of the power: limits for a colour scale that artefacts do not stretch."""
        known = self.power_db[np.isfinite(self.power_db)]
        if not known.size:
            return 0.0, 1.0
        low, high = (float(limit) for limit in np.percentile(known, [2, 98]))
        return low, max(high, low + 1.0)


def spectrogram(
    amplitude_uv: NDArray[np.floating],
    sample_rate: float,
    *,
    window_s: float = 30.0,
    bandwidth_hz: float = 1.0,
    step_hz: float = 0.25,
    max_hz: float = 30.0,
    start: datetime | None = None,
    derivation: str = "",
) -> Spectrogram:
    """Compute the multitaper spectrogram of a signal, one column for each epoch.

    Parameters
    ----------
    amplitude_uv : float array, shape (n_samples,)
        µV; NaN in gaps.
    sample_rate
        Hz.
    window_s
        Seconds; windows do not overlap. What is left of the last one is not shown.
    bandwidth_hz
        Full width of the smoothing: ``bandwidth_hz · window_s − 1`` tapers are averaged.
    step_hz
        Distance of the frequencies; rounded to a multiple of ``1 / (2 · window_s)``.
    max_hz
        The highest frequency; the lowest is the first that the window resolves, at most 0.5 Hz.
    start, derivation
        Kept in the result.

    Returns
    -------
    Spectrogram

    Raises
    ------
    HypnographError
        If the sample rate is too low for `max_hz`, or the bandwidth leaves no taper.
    """
    n = round(window_s * sample_rate)
    n_tapers = round(bandwidth_hz * window_s) - 1
    if not max_hz + bandwidth_hz <= sample_rate / 2:
        raise HypnographError(
            f"max_hz {max_hz:g} needs a sample rate of at least {2 * (max_hz + bandwidth_hz):g} Hz; "
            f"it is {sample_rate:g} Hz"
        )
    if n_tapers < 1:
        raise HypnographError(
            f"bandwidth_hz {bandwidth_hz:g} with windows of {window_s:g} s leaves no taper; take 2/window_s"
        )
    bins = _bins(n, sample_rate, step_hz, max_hz)
    n_windows = int(np.floor(len(amplitude_uv) / (window_s * sample_rate) + 1e-9))
    # With a rate that is no whole number of samples a window, each window begins at the sample nearest to its time.
    first = np.round(np.arange(n_windows) * window_s * sample_rate).astype(int)
    first = np.minimum(first, max(0, len(amplitude_uv) - n))
    power_db = np.empty((n_windows, len(bins)), dtype=np.float32)
    for begin in range(0, n_windows, _WINDOWS_AT_ONCE):
        here = slice(begin, begin + _WINDOWS_AT_ONCE)
        windows = np.asarray(amplitude_uv)[first[here, None] + np.arange(n)]
        power_db[here] = _power_db(windows, sample_rate, bins, n_tapers)
    return Spectrogram(power_db, bins * sample_rate / (2 * n), window_s, bandwidth_hz, start, derivation)


def _bins(n: int, sample_rate: float, step_hz: float, max_hz: float) -> NDArray[np.int64]:
    bins_per_hz = 2 * n / sample_rate
    step = max(1, round(step_hz * bins_per_hz))
    lowest = max(step, round(min(0.5, max_hz / 2) * bins_per_hz))
    return np.arange(lowest, int(max_hz * bins_per_hz + 1e-6) + 1, step)


def _power_db(
    windows: NDArray[np.floating], sample_rate: float, bins: NDArray[np.int64], n_tapers: int
) -> NDArray[np.float32]:
    """Return the one-sided density in dB of windows (n_windows, n) at bins of a transform of length 2n."""
    n = windows.shape[1]
    centred = (windows - windows.mean(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    z = np.fft.rfft(centred, n=2 * n, axis=1)
    power = np.zeros((len(windows), len(bins)))
    for k in range(1, n_tapers + 1):
        turn = np.complex64(np.exp(0.5j * np.pi * k / n))
        below = bins - k
        # A negative frequency of a real signal is the conjugate of the positive one.
        left = np.where(below < 0, z[:, np.abs(below)].conj(), z[:, np.abs(below)])
        tapered = turn * left - np.conj(turn) * z[:, bins + k]
        power += tapered.real**2 + tapered.imag**2
    density = power * 2 / (2 * n * sample_rate * n_tapers)
    with np.errstate(divide="ignore"):
        decibel = 10 * np.log10(density)
    return np.where(np.isfinite(decibel), decibel, np.nan).astype(np.float32)
