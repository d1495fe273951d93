"""What happens in a simulated night, before any electrode: stage over time, arousals, eyes, movements, the sleeper.

Signals are drawn from this one account of the night, so that what belongs together happens together: an arousal is seen
in EEG, EMG and heart rate, a burst of rapid eye movements with the twitches of the chin.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import AASM_5, Stage

Floats = NDArray[np.float64]
LONGEST_H = 24.0


def generator(seed: int, part: str) -> np.random.Generator:
    """Return the random numbers of one part of the night: a part stays as it is when another one changes."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(part.encode()),)))


@dataclass(frozen=True, eq=False)
class Events:
    """Things that happen at times: onsets and durations in seconds, strength around 1."""

    onset_s: Floats
    duration_s: Floats
    strength: Floats


@dataclass(frozen=True, eq=False)
class Night:
    """The course of one night on a grid of one second, all arrays of shape (n_seconds,) unless said.

    Parameters
    ----------
    seed
        Of the night.
    duration_s
        Of the recording.
    weights : float array, shape (n_seconds, 5)
        How much of each stage there is; rows sum to 1. Stages change over some seconds, not just where epochs meet.
    deep
        How near deep sleep is, 0 to 1: the share of N3 in the minutes around.
    eyes_open
        0 to 1, in wake.
    drowsy
        0 to 1: slow rolling eye movements; late wake and N1.
    phasic
        0 to 1: bursts of phasic REM sleep.
    arousal
        0 to 1.
    movements
        Of the body.
    """

    seed: int
    duration_s: float
    weights: Floats
    deep: Floats
    eyes_open: Floats
    drowsy: Floats
    phasic: Floats
    arousal: Floats
    movements: Events

    @property
    def n_seconds(self) -> int:
        return len(self.weights)

    def of(self, *stages: Stage) -> Floats:
        """Return how much there is of these stages together, shape (n_seconds,)."""
        return np.asarray(self.weights[:, list(stages)].sum(axis=1))

    def at(self, seconds: Floats, values: Floats) -> Floats:
        """Return `values` (one a second, first axis) at other times."""
        index = np.clip(np.round(seconds).astype(int), 0, self.n_seconds - 1)
        return np.asarray(values[index])


def smooth(values: Floats, scale_s: float) -> Floats:
    """Return `values` (n_seconds, …) smoothed along time by a Gaussian of standard deviation `scale_s`."""
    # Room at either end, filled with the last and the first value, keeps the ends of the night apart.
    room = int(4 * scale_s) + 1
    padded = np.concatenate([values, np.repeat(values[-1:], room, axis=0), np.repeat(values[:1], room, axis=0)])
    return _smooth_ring(padded, scale_s)[: len(values)]


def wander(rng: np.random.Generator, n: int, scale_s: float) -> Floats:
    """Return slow random fluctuations of unit variance, shape (n,), one a second, with this time scale."""
    ring = _smooth_ring(rng.standard_normal(n + 8 * int(scale_s) + 8), scale_s)
    # The variance of Gaussian-smoothed white noise is 1 / (2 √π scale).
    return np.asarray(ring[:n] * np.sqrt(2 * np.sqrt(np.pi) * scale_s))


def _smooth_ring(values: Floats, scale_s: float) -> Floats:
    """Smooth along the first axis as if the end met the beginning."""
    gain = np.exp(-0.5 * (2 * np.pi * np.fft.rfftfreq(len(values)) * scale_s) ** 2)
    gain = gain.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(irfft(rfft(values, axis=0) * gain, n=len(values), axis=0))


def draw_onsets(rng: np.random.Generator, rate: Floats, gap_s: float = 0.0) -> Floats:
    """Draw the times of an inhomogeneous Poisson process, at least `gap_s` apart.

    Parameters
    ----------
    rng
        Draws them.
    rate : float array, shape (n_seconds,)
        Events per second.
    gap_s
        Those that come sooner after the one before are left out.
    """
    count = rng.poisson(np.maximum(rate, 0))
    onsets = np.sort(np.repeat(np.arange(len(rate)), count) + rng.random(count.sum()))
    if not gap_s:
        return onsets
    kept: list[float] = []
    for onset in onsets:
        if not kept or onset - kept[-1] >= gap_s:
            kept.append(float(onset))
    return np.array(kept)


def marks(n: int, events: Events) -> Floats:
    """Return the strength of the events in each second, shape (n,)."""
    course = np.zeros(n)
    for onset, duration, strength in zip(events.onset_s, events.duration_s, events.strength, strict=True):
        course[int(onset) : int(onset + duration) + 1] = strength
    return course


def live(hypnogram: Hypnogram, seed: int) -> Night:
    """Let a hypnogram happen.

    Raises
    ------
    HypnographError
        If the hypnogram is empty, longer than a day, or not in the AASM scheme.
    """
    _check(hypnogram)
    rng = generator(seed, "night")
    n = int(np.ceil(hypnogram.duration_s))
    weights = _soft_stages(hypnogram, n, rng)
    wake, rem = weights[:, Stage.W], weights[:, Stage.REM]
    eyes_open = (wander(rng, n, 45) + rng.normal(-0.3, 0.3) > 0) * wake
    # Sleep comes near: eyes close and begin to roll in the minutes before it.
    asleep_soon = smooth((weights[:, Stage.W] < 0.5).astype(float), 60)
    eyes_open *= np.clip(1.3 - 2 * asleep_soon, 0, 1)
    drowsy = np.clip(weights[:, Stage.N1] + wake * (1 - eyes_open) * np.clip(2 * asleep_soon, 0, 1), 0, 1)
    phasic = rem * (wander(rng, n, 9) + rng.normal(-0.3, 0.2) > 0)
    arousals = _arousals(weights, rng)
    movements = _movements(weights, arousals, rng)
    return Night(
        seed=seed,
        duration_s=hypnogram.duration_s,
        weights=weights,
        deep=smooth(weights[:, Stage.N3], 150),
        eyes_open=eyes_open,
        drowsy=drowsy,
        phasic=phasic,
        arousal=smooth(marks(n, arousals), 0.7),
        movements=movements,
    )


def _check(hypnogram: Hypnogram) -> None:
    if hypnogram.scheme != AASM_5:
        raise HypnographError(
            f"cannot simulate a night from a hypnogram of scheme {hypnogram.scheme.name}: give the five AASM stages"
        )
    if not 0 < hypnogram.duration_s <= LONGEST_H * 3600:
        raise HypnographError(
            f"cannot simulate a night of {hypnogram.duration_s / 3600:g} h: the hypnogram must last from one epoch to "
            f"{LONGEST_H:g} h"
        )


def _soft_stages(hypnogram: Hypnogram, n: int, rng: np.random.Generator) -> Floats:
    """Stage weights per second; unscored epochs are taken as wake. A run's edge moves by up to a third of an epoch."""
    stages = np.where(hypnogram.scored, hypnogram.stages, Stage.W)
    edges = np.flatnonzero(np.diff(stages)) + 1
    moved_s = edges * hypnogram.epoch_s + rng.uniform(-0.33, 0.33, len(edges)) * hypnogram.epoch_s
    run = np.searchsorted(moved_s, np.arange(n) + 0.5)
    weights = np.eye(5)[stages[np.concatenate([[0], edges])][run]]
    # Falling asleep and going deeper takes a while, waking up does not.
    slow, quick = smooth(weights, 6.0), smooth(weights, 1.5)
    waking = np.clip(quick[:, [Stage.W]] * 2, 0, 1)
    mixed = np.clip(quick * waking + slow * (1 - waking), 0, None)
    return np.asarray(mixed / mixed.sum(axis=1, keepdims=True))


def _arousals(weights: Floats, rng: np.random.Generator) -> Events:
    per_hour = np.array([0, 14, 12, 3, 12]) * rng.lognormal(0, 0.4)
    onsets = draw_onsets(rng, weights @ per_hour / 3600, gap_s=30)
    return Events(onsets, rng.uniform(3, 10, len(onsets)), rng.uniform(0.4, 0.9, len(onsets)))


def _movements(weights: Floats, arousals: Events, rng: np.random.Generator) -> Events:
    """Body movements: most in wake, some with an arousal."""
    per_hour = np.array([70, 4, 1, 0.5, 2]) * rng.lognormal(0, 0.4)
    onsets = draw_onsets(rng, weights @ per_hour / 3600, gap_s=15)
    with_arousal = rng.random(len(arousals.onset_s)) < 0.25
    onsets = np.concatenate([onsets, arousals.onset_s[with_arousal]])
    duration_s = np.clip(rng.lognormal(1.4, 0.6, len(onsets)), 1, 25)
    return Events(onsets, duration_s, rng.lognormal(0, 0.5, len(onsets)))
