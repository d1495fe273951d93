"""ECG: beats whose rate and variability follow the stage, drawn as P, Q, R, S and T waves.

Heart rate falls from wake to N3 and rises in REM sleep; variability with breathing (RSA, high frequency) is largest in
N3, slow variability (low and very low frequency) in wake and REM sleep (Task Force 1996, doi 10.1161/01.CIR.93.5.1043;
Trinder et al. 2001, doi 10.1046/j.1365-2869.2001.00263.x).
"""

import numpy as np
from numpy.typing import NDArray

from hypnograph.simulate.night import Floats, Night, generator, smooth, wander
from hypnograph.simulate.spectral_noise import Floats32

# W N1 N2 N3 REM: mean heart rate, beats per minute; amplitudes of its changes with breathing, over 10 s, over a minute.
_RATE = (68.0, 63.0, 60.5, 60.0, 64.0)
_BREATHING = (1.4, 1.6, 2.0, 2.3, 1.2)
_LOW = (2.4, 1.8, 1.4, 0.8, 2.2)
_VERY_LOW = (3.5, 2.0, 1.4, 0.7, 3.0)
_BREATHS_PER_MIN = (15.5, 15.0, 14.5, 14.5, 15.5)
_FINE_HZ = 4
# Delay from the R peak in s (those of P and T at 60 beats per minute), width in s, height in mV, scales with √RR.
_WAVES = (
    (-0.17, 0.025, 0.12, True), (-0.028, 0.009, -0.10, False), (0.0, 0.011, 1.05, False), (0.03, 0.010, -0.22, False),
    (0.28, 0.045, 0.27, True),
)  # fmt: skip


def beat_times_s(night: Night) -> Floats:
    """Return the times of the R peaks, seconds."""
    rng = generator(night.seed, "heart")
    rate = _rate_per_min(night, rng)
    beats_so_far = np.concatenate([[0.0], np.cumsum(rate / 60 / _FINE_HZ)])
    at = np.arange(len(beats_so_far)) / _FINE_HZ
    times = np.interp(np.arange(0.5, beats_so_far[-1]), beats_so_far, at)
    # The node's own jitter, some milliseconds.
    return np.asarray(times + rng.normal(0, 0.003, len(times)))


def _rate_per_min(night: Night, rng: np.random.Generator) -> Floats:
    """Beats per minute, `_FINE_HZ` values a second."""
    n = night.n_seconds
    own = rng.normal(0, 6.0)
    weights = smooth(night.weights, 15)
    hours = np.arange(n) / 3600
    slow = weights @ np.array(_RATE) + own - 0.5 * hours + 0.7 * wander(rng, n, 300)
    slow += (weights @ np.array(_VERY_LOW)) * 0.6 * wander(rng, n, 15)
    moving = np.zeros(n)
    for onset, strength in zip(night.movements.onset_s, night.movements.strength, strict=True):
        moving[min(int(onset), n - 1)] += 25 * min(strength, 2.0)
    # The heart leaps with an arousal or a movement and settles within half a minute.
    slow += 6 * smooth(night.arousal, 4) + 4 * smooth(moving, 5) + 6 * smooth(night.phasic, 10) * 0.4
    t = np.arange(n * _FINE_HZ) / _FINE_HZ
    fine = np.interp(t, np.arange(n), slow)
    breaths = np.interp(t, np.arange(n), weights @ np.array(_BREATHS_PER_MIN) * np.exp(0.05 * wander(rng, n, 10)))
    fine += np.interp(t, np.arange(n), weights @ np.array(_BREATHING)) * np.sin(
        2 * np.pi * np.cumsum(breaths / 60 / _FINE_HZ)
    )
    low = np.cumsum(0.1 * np.exp(0.15 * np.interp(t, np.arange(n), wander(rng, n, 10))) / _FINE_HZ)
    fine += np.interp(t, np.arange(n), weights @ np.array(_LOW)) * np.sin(2 * np.pi * low)
    return np.asarray(np.clip(fine, 38, 160))


def add_ecg(channel: Floats32, sample_rate: float, night: Night) -> NDArray[np.float64]:
    """Add the ECG in mV to a channel of shape (n_samples,), in place; return the times of the beats in seconds."""
    beats_s = beat_times_s(night)
    rng = generator(night.seed, "ECG")
    interval_s = np.diff(beats_s, append=beats_s[-1:] + 1.0)
    breath = 1 + 0.06 * np.sin(2 * np.pi * 0.25 * beats_s)
    size = rng.lognormal(0, 0.2) * breath
    offset = np.arange(-round(0.35 * sample_rate), round(0.65 * sample_rate))
    peaks = np.round(beats_s * sample_rate).astype(int)
    for first in range(0, len(beats_s), 2048):
        some = slice(first, first + 2048)
        t = (peaks[some, None] + offset) / sample_rate - beats_s[some, None]
        beats = size[some, None] * _beats_mv(t, np.sqrt(np.clip(interval_s[some, None], 0.4, 1.6)))
        for at, beat in zip(peaks[some] + offset[0], beats, strict=True):
            part = channel[max(at, 0) : max(at + len(beat), 0)]
            part += beat[max(-at, 0) :][: len(part)]
    channel += 0.012 * rng.standard_normal(len(channel), dtype=np.float32)
    return beats_s


def _beats_mv(t: Floats, stretch: Floats) -> NDArray[np.float32]:
    """Beats at times `t` from their R peaks; P and T move away from it as the beats get rarer."""
    beats = np.zeros(t.shape)
    for delay_s, width_s, mv, scales in _WAVES:
        factor = stretch if scales else 1.0
        beats += mv * np.exp(-0.5 * ((t - delay_s * factor) / (width_s * factor)) ** 2)
    return beats.astype(np.float32)
