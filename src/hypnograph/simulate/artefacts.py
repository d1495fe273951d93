"""What goes wrong in a sleep laboratory: electrode pops, a lost electrode, a flat signal, sweat, the mains."""

from collections.abc import Mapping

import numpy as np

from hypnograph.simulate.night import generator, wander
from hypnograph.simulate.spectral_noise import Floats32


def add_line(
    channel: Floats32, sample_rate: float, line_hz: float, seed: int, label: str, *, uv: float | None = None
) -> None:
    """Add the mains to a channel in µV, in place: a little, as in every recording, or an amplitude of `uv`."""
    if not 0 < line_hz < sample_rate / 2:
        return
    rng = generator(seed, f"mains {label}")
    amplitude = rng.uniform(0.3, 1.2) if uv is None else uv
    phase = rng.uniform(0, 2 * np.pi)
    # In pieces of ten minutes, so that no float64 copy of the night is made.
    piece = round(600 * sample_rate)
    for first in range(0, len(channel), piece):
        part = channel[first : first + piece]
        t = (first + np.arange(len(part))) / sample_rate
        part += (amplitude * np.sin(2 * np.pi * line_hz * t + phase)).astype(np.float32)


def add_artefacts(channels: Mapping[str, Floats32], sample_rate: float, line_hz: float, seed: int) -> None:
    """Spoil channels in place, each by its own luck; one of them loses its electrode, another is flat for a while.

    Parameters
    ----------
    channels : float32 arrays, shape (n_samples,)
        µV, by label.
    sample_rate, line_hz
        Hz.
    seed
        Of the night.
    """
    unlucky = generator(seed, "artefacts").permutation(list(channels))
    for label, channel in channels.items():
        rng = generator(seed, f"artefacts {label}")
        _pop(channel, sample_rate, rng)
        _sweat(channel, sample_rate, rng)
        if rng.random() < 0.5:
            part = _stretch(channel, rng, longest=0.2)
            add_line(part, sample_rate, line_hz, seed, f"loud {label}", uv=float(rng.uniform(5, 40)))
        if label == unlucky[0]:
            _lose_electrode(_stretch(channel, rng, longest=0.1), sample_rate, line_hz, rng)
        if label == unlucky[-1]:
            _stretch(channel, rng, longest=0.05)[:] = 0.0


def _stretch(channel: Floats32, rng: np.random.Generator, *, longest: float) -> Floats32:
    """A view of a random part, at least a third of `longest` (a share of the recording)."""
    length = int(len(channel) * longest * rng.uniform(0.33, 1.0))
    first = int(rng.integers(0, len(channel) - length + 1))
    return channel[first : first + length]


def _pop(channel: Floats32, sample_rate: float, rng: np.random.Generator) -> None:
    """Electrode pops: a jump of hundreds of µV that decays in about a second, in some bad quarters of an hour."""
    n_seconds = len(channel) / sample_rate
    bad = rng.uniform(0, n_seconds, rng.poisson(n_seconds / 3600 / 4))
    onsets_s = np.concatenate([b + rng.uniform(0, 900, rng.poisson(20)) for b in bad] or [np.empty(0)])
    decay = np.exp(-np.arange(round(4 * sample_rate)) / (0.6 * sample_rate))
    for onset_s in onsets_s:
        first = round(onset_s * sample_rate)
        part = channel[first : first + len(decay)]
        part += (rng.choice([-1, 1]) * rng.uniform(150, 600) * decay[: len(part)]).astype(np.float32)


def _sweat(channel: Floats32, sample_rate: float, rng: np.random.Generator) -> None:
    """Sweat: sways of 0.1 to 0.5 Hz that come and go over a part of the night, in every other night's channel."""
    if rng.random() < 0.5:
        return
    part = _stretch(channel, rng, longest=0.3)
    n = int(np.ceil(len(part) / sample_rate)) + 1
    sway = 40 * wander(rng, n, 0.8) * np.sin(np.pi * np.arange(n) / n)
    part += np.interp(np.arange(len(part)) / sample_rate, np.arange(n), sway).astype(np.float32)


def _lose_electrode(part: Floats32, sample_rate: float, line_hz: float, rng: np.random.Generator) -> None:
    """A loose electrode: the mains and drifts, nothing of the body."""
    part *= 0.02
    add_line(part, sample_rate, line_hz, int(rng.integers(2**31)), "lost electrode", uv=float(rng.uniform(40, 150)))
    n = int(np.ceil(len(part) / sample_rate)) + 1
    part += np.interp(np.arange(len(part)) / sample_rate, np.arange(n), 30 * wander(rng, n, 3)).astype(np.float32)
