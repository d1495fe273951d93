"""What the brain adds to scalp derivations: a background of each stage, alpha rhythm, and the graphoelements.

Amplitudes are those of C4-M1 in µV; other derivations follow by the lead field. The background spectra were read off
the medians of real nights (St. Vincent's / UCD Sleep Apnea Database, one central derivation); graphoelements are drawn
by the definitions of the AASM manual and by Purcell et al. 2017 (doi 10.1038/ncomms15930) for spindles, Colrain 2005
(doi 10.1093/sleep/28.2.255) for K-complexes, Massimini et al. 2004 (doi 10.1523/JNEUROSCI.1318-04.2004) for slow
waves.
"""

import numpy as np
from numpy.typing import NDArray

from hypnograph.simulate.head import lead_field
from hypnograph.simulate.night import Floats, Night, draw_onsets, generator, wander
from hypnograph.simulate.spectral_noise import Floats32, add_noise, block_centres_s, block_frequencies
from hypnograph.stages import Stage

# log10 µV²/Hz of the background at C4-M1, without alpha rhythm and graphoelements; W N1 N2 N3 REM.
_KNOTS_HZ = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 30.0, 45.0, 100.0)
_BACKGROUND = (
    (2.10, 1.98, 1.62, 1.10, 0.68, 0.42, 0.24, 0.18, -0.38, -0.75, -1.10),
    (1.95, 1.75, 1.42, 0.95, 0.66, 0.38, 0.18, 0.12, -0.80, -1.28, -1.65),
    (1.98, 1.95, 1.70, 1.20, 0.80, 0.36, 0.26, -0.04, -1.16, -1.58, -1.88),
    (2.10, 2.15, 1.95, 1.48, 0.88, 0.56, 0.40, -0.22, -1.48, -1.84, -2.05),
    (1.90, 1.66, 1.32, 0.86, 0.66, 0.36, 0.06, -0.08, -1.20, -1.62, -1.90),
)
# Delta, theta, alpha, sigma, beta: centre in Hz and width in octaves of the slow fluctuations of the spectrum.
_BANDS = ((1.5, 1.0), (5.5, 0.45), (9.5, 0.35), (13.5, 0.3), (23.0, 0.6))
# Left, right and midline of the cortex; the last two are deep and seen everywhere.
_SOURCES = np.array([
    (-0.45, 0.75, 0.5), (0.45, 0.75, 0.5), (0.0, 0.6, 0.8), (-0.75, 0.1, 0.65), (0.75, 0.1, 0.65),
    (0.0, -0.3, 0.95), (-0.4, -0.8, 0.45), (0.4, -0.8, 0.45), (0.0, 0.5, 0.4), (0.0, -0.3, 0.5),
])  # fmt: skip
_ALPHA_SOURCES = np.array([(-0.4, -1.0, 0.2), (0.4, -1.0, 0.2), (0.0, -0.9, 0.5)])
_C4_M1 = ("C4-M1",)


def add_eeg(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add what the brain does to derivations, in place.

    Parameters
    ----------
    channels : float32 array, shape (n_derivations, n_samples)
        µV.
    derivations
        Their names.
    sample_rate
        Hz.
    night
        What happens when.
    """
    add_background(channels, derivations, sample_rate, night)
    add_alpha(channels, derivations, sample_rate, night)
    for add in (add_slow_waves, add_k_complexes, add_spindles, add_vertex_waves, add_sawtooth_waves):
        add(channels, derivations, sample_rate, night)


def add_background(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add the 1/f background; its spectrum follows the stage and fluctuates over minutes in each band."""
    rng = generator(night.seed, "eeg background")
    frequency = block_frequencies(sample_rate)
    basis = _log_spectra(frequency, rng)
    seconds = block_centres_s(channels.shape[1], sample_rate)
    course = np.concatenate([night.at(seconds, _stages_seen(night)), _band_gains(night, seconds, rng)], axis=1)
    course32, basis32 = course.astype(np.float32), basis.astype(np.float32)
    add_noise(
        channels,
        sample_rate,
        lambda first, last: np.exp(course32[first:last] @ basis32),
        _background_mixing(derivations, frequency),
        rng,
    )


def _stages_seen(night: Night) -> Floats:
    """Stage weights of the background: an arousal looks like wake for some seconds."""
    seen = night.weights * (1 - 0.7 * night.arousal[:, None])
    seen[:, Stage.W] += 0.7 * night.arousal
    return seen


def _log_spectra(frequency: Floats, rng: np.random.Generator) -> Floats:
    """The natural logarithms of the stages' spectra, then the bumps of the bands: (5 + 5, n_frequencies)."""
    log_frequency = np.log2(np.maximum(frequency, 0.05))
    stages = [np.interp(log_frequency, np.log2(_KNOTS_HZ), row) * np.log(10) for row in _BACKGROUND]
    bumps = [np.exp(-0.5 * ((log_frequency - np.log2(centre)) / width) ** 2) for centre, width in _BANDS]
    # Amplifiers begin at 0.16 Hz (a time constant of a second): a first-order high-pass.
    high_pass = -np.log1p((0.16 / np.maximum(frequency, 1e-3)) ** 2)
    # A sleeper's own spectrum: a level, a tilt, and more or less in each band of each stage.
    own = rng.normal(0.1, 0.2) + rng.normal(0, 0.06) * log_frequency
    deviations = rng.normal(0, 0.12, (5, len(_BANDS))) @ np.array(bumps)
    return np.concatenate([np.array(stages) + high_pass + own + deviations, bumps])


def _band_gains(night: Night, seconds: Floats, rng: np.random.Generator) -> Floats:
    """Natural log of the power in each band over time: it wanders; more delta near N3 and early in the night."""
    n = night.n_seconds
    gains = np.stack([0.28 * wander(rng, n, 60) + 0.2 * wander(rng, n, 8) for _ in _BANDS], axis=1)
    non_rem = night.of(Stage.N2, Stage.N3)
    hours = np.arange(n) / 3600
    gains[:, 0] += non_rem * (0.9 * (night.deep - 0.3) - 0.06 * (hours - 3))
    # Wake alone is restless: slow drifts and muscle come and go.
    wake = night.of(Stage.W)
    gains[:, 0] += wake * 0.5 * wander(rng, n, 20)
    gains[:, 4] += wake * (0.5 * wander(rng, n, 30) + 0.5 * (night.eyes_open - 0.3))
    return night.at(seconds, gains)


def _background_mixing(derivations: tuple[str, ...], frequency: Floats) -> Floats32:
    """Lead field with more delta in front and more alpha behind; C4-M1 keeps the spectrum that was asked for."""
    front = _SOURCES[:, 1:2]
    log_frequency = np.log2(np.maximum(frequency, 0.05))
    slow = 1 / (1 + np.exp(2 * (log_frequency - 2)))
    middle = np.exp(-0.5 * ((log_frequency - np.log2(9)) / 0.5) ** 2)
    # Sources behind are stronger: the mastoids are near them and take away more.
    regional = np.exp(-0.5 * np.minimum(front, 0.0) + front * (0.25 * slow - 0.25 * middle))
    mixing = lead_field(derivations, _SOURCES)[:, :, None] * regional
    at_c4 = lead_field(_C4_M1, _SOURCES)[:, :, None] * regional
    return np.asarray(mixing / np.sqrt((at_c4**2).sum(axis=1, keepdims=True)), dtype=np.float32)


def add_alpha(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add the alpha rhythm of relaxed wake with closed eyes, largest behind; it wanes as sleep comes."""
    rng = generator(night.seed, "alpha")
    peak_hz, width_hz = float(np.clip(rng.normal(9.7, 0.7), 8.2, 11.3)), 0.55
    frequency = block_frequencies(sample_rate)
    band_hz = (peak_hz - 2.5, peak_hz + 2.5)
    inside = frequency[(frequency >= band_hz[0]) & (frequency <= band_hz[1])]
    shape = np.exp(-0.5 * ((inside - peak_hz) / width_hz) ** 2) / (width_hz * np.sqrt(2 * np.pi))
    variance_uv2 = 7.0 * rng.lognormal(0, 0.6)
    closed = night.of(Stage.W) * (1 - 0.85 * night.eyes_open) + 0.25 * night.of(Stage.N1) + 0.06 * night.of(Stage.REM)
    closed = np.maximum(closed, 0.6 * night.arousal)
    waxing = np.exp(0.6 * wander(rng, night.n_seconds, 12) + 0.5 * wander(rng, night.n_seconds, 3))
    seconds = block_centres_s(channels.shape[1], sample_rate)
    variance = variance_uv2 * night.at(seconds, closed * waxing)
    power = (variance[:, None] * shape).astype(np.float32)
    at_c4 = np.sqrt((lead_field(_C4_M1, _ALPHA_SOURCES) ** 2).sum())
    mixing = (lead_field(derivations, _ALPHA_SOURCES) / at_c4)[:, :, None]
    add_noise(channels, sample_rate, lambda first, last: power[first:last], mixing, rng, band_hz=band_hz)


def add_waves(
    channels: Floats32,
    derivations: tuple[str, ...],
    sample_rate: float,
    events: tuple[Floats, list[NDArray[np.float32]], Floats],
) -> None:
    """Add waves, given as onsets in seconds, samples and positions (n_waves, 3), as each derivation sees them.

    A wave's amplitude is that in a derivation of an electrode above its source, against a far reference.
    """
    onsets_s, waves, positions = events
    if not len(onsets_s):
        return
    seen = lead_field(derivations, positions)
    for onset, wave, gain in zip(np.round(onsets_s * sample_rate).astype(int), waves, seen.T, strict=True):
        part = channels[:, onset : onset + len(wave)]
        part += gain[:, None] * wave[: part.shape[1]]


def _around(rng: np.random.Generator, n: int, centre: tuple[float, float, float], jitter: float) -> Floats:
    return np.array(centre) + rng.normal(0, jitter, (n, 3))


def _time(duration_s: float, sample_rate: float) -> Floats:
    return np.arange(round(duration_s * sample_rate)) / sample_rate


def add_slow_waves(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add slow oscillations of 0.5 to 1.5 Hz, above 75 µV in front: most of N3, a few in N2 that goes deeper."""
    rng = generator(night.seed, "slow waves")
    hours = np.arange(night.n_seconds) / 3600
    trains = np.exp(0.5 * wander(rng, night.n_seconds, 10) - 0.125)
    rate = (0.68 * night.of(Stage.N3) + 0.14 * night.of(Stage.N2) * night.deep) * trains * np.exp(-0.05 * hours)
    onsets = draw_onsets(rng, rate, gap_s=0.7)
    size = np.clip(rng.lognormal(np.log(138), 0.28, len(onsets)), 75, 280) * rng.lognormal(0, 0.12)
    waves = [_slow_wave(amplitude, rng.uniform(0.8, 1.8), sample_rate) for amplitude in size]
    add_waves(channels, derivations, sample_rate, (onsets, waves, _around(rng, len(onsets), (0.0, 0.5, 0.6), 0.2)))


def _slow_wave(peak_to_peak_uv: float, duration_s: float, sample_rate: float) -> NDArray[np.float32]:
    """One cycle: a sharper negative half wave, then a longer positive one that is two thirds as high."""
    phase = _time(duration_s, sample_rate) / duration_s
    wave = np.where(phase < 0.4, -0.6 * np.sin(np.pi * phase / 0.4), 0.4 * np.sin(np.pi * (phase - 0.4) / 0.6))
    return np.asarray(wave * peak_to_peak_uv, dtype=np.float32)


def add_k_complexes(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add K-complexes to N2: a sharp negative wave and a slower positive one, at least 0.5 s, largest in front."""
    rng = generator(night.seed, "K-complexes")
    rate = night.of(Stage.N2) * (1 - night.arousal) * 1.6 / 60 * rng.lognormal(0, 0.3)
    onsets = draw_onsets(rng, rate, gap_s=4.0)
    size = np.clip(rng.lognormal(np.log(130), 0.3, len(onsets)), 75, 300)
    waves = [_k_complex(amplitude, rng.uniform(0.7, 1.3), sample_rate) for amplitude in size]
    add_waves(channels, derivations, sample_rate, (onsets, waves, _around(rng, len(onsets), (0.0, 0.5, 0.6), 0.15)))


def _k_complex(peak_to_peak_uv: float, scale: float, sample_rate: float) -> NDArray[np.float32]:
    t = _time(1.6 * scale, sample_rate) / scale
    sharp = np.exp(-0.5 * ((t - 0.40) / 0.075) ** 2)
    slow = np.exp(-0.5 * ((t - 0.85) / 0.20) ** 2)
    first = np.exp(-0.5 * ((t - 0.22) / 0.05) ** 2)
    return np.asarray((-0.62 * sharp + 0.38 * slow + 0.12 * first) * peak_to_peak_uv, dtype=np.float32)


def add_spindles(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add spindles of 11 to 16 Hz and 0.5 to 2 s to N2 and fewer to N3: fast ones central, slow ones in front."""
    rng = generator(night.seed, "spindles")
    # Sigma waxes and wanes about every 50 s (Lecci et al. 2017, doi 10.1126/sciadv.1602026).
    waxing = np.exp(0.7 * wander(rng, night.n_seconds, 10) - 0.25)
    own_hz = rng.normal(13.3, 0.45)
    for share, centre, hz in ((0.7, (0.0, 0.0, 1.0), own_hz), (0.3, (0.0, 0.65, 0.75), own_hz - 1.5)):
        rate = share * waxing * (6.5 * night.of(Stage.N2) + 2.5 * night.of(Stage.N3)) * (1 - night.arousal) / 60
        onsets = draw_onsets(rng, rate, gap_s=2.0)
        n = len(onsets)
        frequency = np.clip(rng.normal(hz, 0.5, n), 11, 16)
        duration_s = np.clip(rng.lognormal(np.log(0.9), 0.3, n), 0.5, 2.0)
        size = np.clip(rng.lognormal(np.log(23), 0.4, n), 6, 80)
        waves = [_spindle(*values, sample_rate) for values in zip(size, frequency, duration_s, strict=True)]
        add_waves(channels, derivations, sample_rate, (onsets, waves, _around(rng, n, centre, 0.3)))


def _spindle(amplitude_uv: float, hz: float, duration_s: float, sample_rate: float) -> NDArray[np.float32]:
    """A tapered burst that slows down a little."""
    t = _time(duration_s, sample_rate)
    phase = 2 * np.pi * (hz * t - 0.25 * t**2)
    return np.asarray(amplitude_uv * np.sin(np.pi * t / duration_s) ** 1.5 * np.sin(phase), dtype=np.float32)


def add_vertex_waves(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add vertex waves to N1: sharp, below 0.5 s, largest at the vertex."""
    rng = generator(night.seed, "vertex waves")
    onsets = draw_onsets(rng, (2.5 * night.of(Stage.N1) + 0.6 * night.of(Stage.N2)) / 60, gap_s=1.0)
    size = np.clip(rng.lognormal(np.log(60), 0.35, len(onsets)), 30, 180)
    t = _time(0.5, sample_rate)
    shape = np.exp(-0.5 * ((t - 0.15) / 0.035) ** 2) - 0.4 * np.exp(-0.5 * ((t - 0.29) / 0.06) ** 2)
    waves = [np.asarray(-amplitude * shape, dtype=np.float32) for amplitude in size]
    add_waves(channels, derivations, sample_rate, (onsets, waves, _around(rng, len(onsets), (0.0, 0.05, 1.0), 0.1)))


def add_sawtooth_waves(channels: Floats32, derivations: tuple[str, ...], sample_rate: float, night: Night) -> None:
    """Add trains of sawtooth waves, 2 to 6 Hz, to REM sleep, most before and in bursts of rapid eye movements."""
    rng = generator(night.seed, "sawtooth waves")
    onsets = draw_onsets(rng, (0.3 * night.of(Stage.REM) + 2.0 * night.phasic) / 60, gap_s=6.0)
    waves = [_sawtooth(rng.uniform(15, 35), rng.uniform(2.2, 4.5), rng.uniform(2, 6), sample_rate) for _ in onsets]
    add_waves(channels, derivations, sample_rate, (onsets, waves, _around(rng, len(onsets), (0.0, 0.2, 1.0), 0.15)))


def _sawtooth(peak_to_peak_uv: float, hz: float, duration_s: float, sample_rate: float) -> NDArray[np.float32]:
    t = _time(duration_s, sample_rate)
    turn = (hz * t) % 1.0
    triangle = np.where(turn < 0.7, turn / 0.7, (1 - turn) / 0.3) - 0.5
    return np.asarray(peak_to_peak_uv * triangle * np.sin(np.pi * t / duration_s) ** 0.5, dtype=np.float32)
