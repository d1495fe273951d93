"""Eyes and movements of the head: what EOG derivations see of them, and what leaks into the EEG.

An eye is a dipole whose cornea is positive. Looking to the left makes E1 positive and E2 negative; E1 lies below the
eyes and E2 above them, so blinks and vertical movements too have opposite signs in the two: conjugate movements are out
of phase, what comes from the brain is in phase.
"""

import numpy as np
from numpy.typing import NDArray

from hypnograph.simulate.head import ELECTRODES, electrodes_of, lead_field
from hypnograph.simulate.night import Floats, Night, draw_onsets, generator, wander
from hypnograph.simulate.spectral_noise import Floats32
from hypnograph.stages import Stage

# What an eye movement of 1 gives at electrodes: (to the left, upwards). Others see what their distance leaves.
_AT_EYES = {"E1": (1.0, -0.45), "E2": (-1.0, 0.75)}
_HIGH_PASS_S = 0.8


def eye_leads(derivations: tuple[str, ...]) -> NDArray[np.float32]:
    """Return what a movement to the left and one upwards give in each derivation, shape (n_derivations, 2)."""
    rows = []
    for derivation in derivations:
        electrode, reference = electrodes_of(derivation)
        rows.append(np.subtract(_eye_lead(electrode), _eye_lead(reference)))
    return np.array(rows, dtype=np.float32)


def _eye_lead(electrode: str) -> tuple[float, float]:
    if electrode in _AT_EYES:
        return _AT_EYES[electrode]
    x, y, _ = ELECTRODES[electrode]
    near = float(np.exp(2.6 * (y - 1)))
    return -0.5 * x * near, 0.8 * near * (y > 0)


def add_eyes(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add saccades, blinks and slow rolling movements, in place.

    Parameters
    ----------
    channels : float32 array, shape (n_derivations, n_samples)
        µV.
    derivations, sample_rate, night
        As for `add_eeg`.
    """
    leads = eye_leads(derivations)
    for onsets, waves, directions in (
        _saccades(night, sample_rate),
        _blinks(night, sample_rate),
        _rolling(night, sample_rate),
    ):
        gains = directions @ leads.T
        for onset, wave, gain in zip(np.round(onsets * sample_rate).astype(int), waves, gains, strict=True):
            part = channels[:, onset : onset + len(wave)]
            part += gain[:, None] * wave[: part.shape[1]]


_Movements = tuple[Floats, list[NDArray[np.float32]], NDArray[np.float32]]


def _saccades(night: Night, sample_rate: float) -> _Movements:
    """Rapid eye movements of waking with open eyes and, in bursts, of REM sleep."""
    rng = generator(night.seed, "saccades")
    own = rng.lognormal(0, 0.25)
    rate = 0.7 * night.eyes_open + own * (0.55 * night.phasic + 0.03 * night.of(Stage.REM)) + 0.1 * night.of(Stage.W)
    onsets = draw_onsets(rng, rate, gap_s=0.25)
    size = np.clip(rng.lognormal(np.log(70), 0.5, len(onsets)), 15, 300) * own
    # The eye mostly goes back where it came from: directions alternate.
    sign = np.where(
        rng.random(len(onsets)) < 0.75, np.where(np.arange(len(onsets)) % 2, 1, -1), rng.choice([-1, 1], len(onsets))
    )
    angle = rng.normal(0, 0.5, len(onsets))
    directions = (sign[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)
    t = np.arange(round(3 * sample_rate)) / sample_rate
    waves = [_step(amplitude, t) for amplitude in size]
    return onsets, waves, directions


def _step(amplitude_uv: float, t: Floats) -> NDArray[np.float32]:
    """A jump of some 60 ms, longer when it is larger, that the amplifier's high-pass lets decay."""
    rise_s = 0.02 + 0.0002 * amplitude_uv
    jump = 1 / (1 + np.exp(-(t - 0.1) / (rise_s / 2)))
    return np.asarray(amplitude_uv * jump * np.exp(-np.maximum(t - 0.1, 0) / _HIGH_PASS_S), dtype=np.float32)


def _blinks(night: Night, sample_rate: float) -> _Movements:
    rng = generator(night.seed, "blinks")
    onsets = draw_onsets(rng, night.eyes_open * rng.uniform(10, 22) / 60 + 0.02 * night.of(Stage.W), gap_s=0.6)
    t = np.arange(round(0.8 * sample_rate)) / sample_rate
    shape = np.exp(-0.5 * ((t - 0.2) / 0.065) ** 2) - 0.25 * np.exp(-0.5 * ((t - 0.42) / 0.11) ** 2)
    waves = [np.asarray(size * shape, dtype=np.float32) for size in rng.lognormal(np.log(150), 0.3, len(onsets))]
    return onsets, waves, np.tile(np.array([0.0, 1.0], dtype=np.float32), (len(onsets), 1))


def _rolling(night: Night, sample_rate: float) -> _Movements:
    """Slow rolling movements of drowsiness: sinusoids of 2 to 6 s, sideways."""
    rng = generator(night.seed, "slow eye movements")
    restless = np.exp(0.6 * wander(rng, night.n_seconds, 20) - 0.18)
    onsets = draw_onsets(rng, 0.16 * night.drowsy * restless, gap_s=2.0)
    waves = []
    for size in np.clip(rng.lognormal(np.log(55), 0.4, len(onsets)), 15, 200):
        period_s, cycles = rng.uniform(2, 5), rng.uniform(0.7, 2)
        t = np.arange(round(period_s * cycles * sample_rate)) / sample_rate
        taper = np.sin(np.pi * t / (period_s * cycles))
        waves.append(np.asarray(size * taper * np.sin(2 * np.pi * t / period_s), dtype=np.float32))
    angle = rng.normal(0, 0.2, len(onsets))
    return onsets, waves, np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def add_movements(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add what body movements do to scalp derivations: slow sway of the electrodes and bursts of muscle."""
    rng = generator(night.seed, "movements")
    centres = rng.normal(0, 1, (len(night.movements.onset_s), 2, 3))
    centres /= np.linalg.norm(centres, axis=-1, keepdims=True)
    events = zip(night.movements.onset_s, night.movements.duration_s, night.movements.strength, centres, strict=True)
    for onset_s, duration_s, strength, centre in events:
        n = round(duration_s * sample_rate)
        frequency = np.asarray(np.fft.rfftfreq(n, 1 / sample_rate), dtype=np.float64)
        taper = np.sin(np.pi * np.arange(n) / n) ** 0.5
        drawn = rng.standard_normal((2, len(frequency))) + 1j * rng.standard_normal((2, len(frequency)))
        sway, muscle = np.fft.irfft(drawn * np.stack([_sway(frequency), _muscle(frequency)]), n=n) * taper
        sway *= 70 * strength / (sway.std() + 1e-9)
        muscle *= 14 * strength / (muscle.std() + 1e-9)
        seen = lead_field(derivations, centre)
        # Muscle is near every electrode; sway is each electrode's own.
        common = 0.35 + np.abs(seen[:, 1:])
        first = round(onset_s * sample_rate)
        part = channels[:, first : first + n]
        part += (seen[:, :1] * sway + common * muscle).astype(np.float32)[:, : part.shape[1]]


def _sway(frequency: Floats) -> Floats:
    return np.asarray(frequency / (0.5 + frequency) * np.exp(-frequency / 1.2))


def _muscle(frequency: Floats) -> Floats:
    return np.asarray((frequency / 25) ** 1.0 / (1 + (frequency / 25) ** 2))
