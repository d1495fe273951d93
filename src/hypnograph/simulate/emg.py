"""Chin EMG: tone by stage, atonia with twitches in REM sleep, bursts with arousals and movements."""

import numpy as np

from hypnograph.simulate.night import Floats, Night, draw_onsets, generator, wander
from hypnograph.simulate.spectral_noise import Floats32, add_noise, block_centres_s, block_frequencies
from hypnograph.stages import Stage

# Root mean square of the chin EMG in µV; W N1 N2 N3 REM.
_TONE_UV = (14.0, 6.0, 4.2, 3.6, 1.8)
# Grid of the envelope: fine enough for twitches of a tenth of a second.
_ENVELOPE_HZ = 20


def add_emg(channel: Floats32, sample_rate: float, night: Night) -> None:
    """Add the chin EMG to a channel, in place.

    Parameters
    ----------
    channel : float32 array, shape (n_samples,)
        µV.
    sample_rate
        Hz.
    night
        What happens when.
    """
    rng = generator(night.seed, "chin EMG")
    power = _spectrum(block_frequencies(sample_rate)).astype(np.float32)[None]
    muscle = np.zeros((1, len(channel)), dtype=np.float32)
    add_noise(
        muscle,
        sample_rate,
        lambda first, last: np.repeat(power, last - first, axis=0),
        np.ones((1, 1, 1), np.float32),
        rng,
    )
    envelope = _envelope(night, rng)
    at = np.arange(len(envelope)) / _ENVELOPE_HZ * sample_rate
    # In pieces, so that the grid of all samples is never held in float64.
    for first in range(0, len(channel), 1_000_000):
        last = min(first + 1_000_000, len(channel))
        channel[first:last] += muscle[0, first:last] * np.interp(np.arange(first, last), at, envelope).astype(
            np.float32
        )
    _add_drift(channel, sample_rate, night, rng)


def _spectrum(frequency: Floats) -> Floats:
    """Unit variance: a broad hill around 50 Hz on a floor."""
    shape = (frequency / 40) ** 1.6 / (1 + (frequency / 55) ** 3.2) + 0.02
    shape[frequency < 0.5] = 0
    return np.asarray(shape / (shape.sum() * (frequency[1] - frequency[0])))


def _envelope(night: Night, rng: np.random.Generator) -> Floats:
    """Root mean square over time, µV, `_ENVELOPE_HZ` values a second."""
    n = night.n_seconds
    tone = np.log(_TONE_UV) + rng.normal(0, 0.15, 5)
    level = night.weights @ tone + rng.normal(0, 0.3)
    wake = night.of(Stage.W)
    level += 0.15 * wander(rng, n, 90) + wake * (0.45 * wander(rng, n, 40) + 0.6 * (night.eyes_open - 0.3))
    # Posture changes the tone of the next minutes.
    level += 0.12 * wander(rng, n, 600) + 1.3 * night.arousal
    fine = np.exp(np.repeat(level, _ENVELOPE_HZ)).astype(np.float64)
    fine *= np.exp(0.2 * rng.standard_normal(len(fine)))
    _add_bursts(fine, night, rng)
    return fine


def _add_bursts(fine: Floats, night: Night, rng: np.random.Generator) -> None:
    """Twitches in REM sleep, then body movements."""
    onsets = draw_onsets(rng, 0.25 * night.phasic + 0.01 * night.of(Stage.REM))
    twitches = zip(onsets, rng.uniform(0.1, 0.4, len(onsets)), rng.lognormal(np.log(8), 0.6, len(onsets)), strict=True)
    moves = night.movements
    movements = zip(moves.onset_s, moves.duration_s, 35 * moves.strength, strict=True)
    for onset_s, duration_s, size_uv in [*twitches, *movements]:
        first = round(onset_s * _ENVELOPE_HZ)
        part = fine[first : first + max(1, round(duration_s * _ENVELOPE_HZ))]
        part += size_uv * np.sin(np.pi * (np.arange(len(part)) + 0.5) / max(1, len(part)))


def _add_drift(channel: Floats32, sample_rate: float, night: Night, rng: np.random.Generator) -> None:
    """Slow potentials that the amplifier lets pass, larger when awake: 1/f below 10 Hz."""
    frequency = block_frequencies(sample_rate)
    shape = (1 / (1 + (np.maximum(frequency, 1e-3) / 1.0) ** 1.5)) * (frequency > 0.2)
    per_second = np.exp(night.weights @ np.log([6.0, 1.2, 0.7, 0.6, 0.35]) + 0.4 * wander(rng, night.n_seconds, 30))
    course = night.at(block_centres_s(len(channel), sample_rate), per_second)
    power = (course[:, None] * shape).astype(np.float32)
    add_noise(channel[None], sample_rate, lambda first, last: power[first:last], np.ones((1, 1, 1), np.float32), rng)
