"""A night that nobody slept: a PSG made from a hypnogram, given or drawn from a model of real nights.

Nothing here was recorded from a person; whatever is computed from it is to be called 'simulated'. It is deterministic
by seed, and each signal is drawn on its own, so that asking for fewer signals does not change the others.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.recording import Annotation, Recording, Signal
from hypnograph.simulate.artefacts import add_artefacts, add_line
from hypnograph.simulate.ecg import add_ecg
from hypnograph.simulate.eeg import add_eeg
from hypnograph.simulate.emg import add_emg
from hypnograph.simulate.eog import add_eyes, add_movements
from hypnograph.simulate.head import electrodes_of
from hypnograph.simulate.night import Night, live
from hypnograph.simulate.sleep_architecture import simulate_hypnogram

__all__ = ["DERIVATIONS", "simulate_hypnogram", "simulate_recording"]

DERIVATIONS = ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1", "E1-M2", "E2-M2", "Chin EMG", "ECG")
_CHIN, _HEART = "Chin EMG", "ECG"
_START = datetime(2001, 1, 1, 22, 30)
# 16-bit files of this range resolve 0.1 µV.
_RANGE_UV = (-3276.8, 3276.7)
_RANGE_MV = (-5.0, 5.0)
_SLOWEST_HZ, _FASTEST_HZ = 64.0, 2048.0


def simulate_recording(
    hypnogram: Hypnogram | None = None,
    *,
    seed: int,
    sample_rate: float = 256.0,
    start: datetime = _START,
    line_hz: float = 50.0,
    artefacts: bool = False,
    derivations: Sequence[str] = DERIVATIONS,
) -> Recording:
    """Simulate the polysomnogram of a night.

    Parameters
    ----------
    hypnogram
        The stages to show; None: `simulate_hypnogram` of the same seed. Unscored epochs are shown as wake.
    seed
        The same seed gives the same samples.
    sample_rate
        Of all signals, Hz.
    start
        Clock time of the first sample, where the hypnogram has none.
    line_hz
        Mains frequency, 50 or 60; 0 for none. Every signal has some tenths of a µV of it.
    artefacts
        Add electrode pops, sweat, loud mains, a lost electrode and a flat stretch. Body movements are always there.
    derivations
        Scalp derivations ("C4-M1"; E1 and E2 are the eyes), "Chin EMG" and "ECG".

    Returns
    -------
    Recording
        In memory; EEG, EOG and EMG in µV, ECG in mV.

    Raises
    ------
    HypnographError
        If the hypnogram is empty or not in AASM stages, a derivation is not known or given twice, or the sample rate is
        outside 64 to 2048 Hz.
    """
    _check(sample_rate, derivations)
    if hypnogram is None:
        hypnogram = simulate_hypnogram(seed=seed, start=start)
    night = live(hypnogram, seed)
    scalp = tuple(name for name in derivations if name not in (_CHIN, _HEART))
    n_samples = round(night.duration_s * sample_rate)
    samples: dict[str, NDArray[np.float32]] = dict(
        zip(scalp, _scalp(scalp, n_samples, sample_rate, night), strict=True)
    )
    if _CHIN in derivations:
        samples[_CHIN] = np.zeros(n_samples, dtype=np.float32)
        add_emg(samples[_CHIN], sample_rate, night)
    for label, channel in samples.items():
        add_line(channel, sample_rate, line_hz, seed, label)
    if artefacts:
        add_artefacts(samples, sample_rate, line_hz, seed)
    if _HEART in derivations:
        samples[_HEART] = np.zeros(n_samples, dtype=np.float32)
        add_ecg(samples[_HEART], sample_rate, night)
    return Recording(
        signals=tuple(_signal(name, samples[name], sample_rate) for name in derivations),
        duration_s=night.duration_s,
        start=hypnogram.start or start,
        annotations=(Annotation(0.0, 0.0, "simulated: recorded from nobody"),),
        source="simulated",
    )


def _check(sample_rate: float, derivations: Sequence[str]) -> None:
    if not _SLOWEST_HZ <= sample_rate <= _FASTEST_HZ:
        raise HypnographError(
            f"sample rate {sample_rate} Hz: a simulated night has {_SLOWEST_HZ:g} to {_FASTEST_HZ:g} Hz"
        )
    if not derivations or len(set(derivations)) < len(derivations):
        raise HypnographError(f"derivations {', '.join(derivations) or '(none)'}: name at least one, each once")
    for name in derivations:
        if name not in (_CHIN, _HEART):
            electrodes_of(name)


def _scalp(derivations: tuple[str, ...], n_samples: int, sample_rate: float, night: Night) -> NDArray[np.float32]:
    """Simulate EEG and EOG derivations together: they share brain, eyes and movements."""
    channels = np.zeros((len(derivations), n_samples), dtype=np.float32)
    if derivations:
        for add in (add_eeg, add_eyes, add_movements):
            add(channels, derivations, sample_rate, night)
    return channels


def _signal(label: str, samples: NDArray[np.float32], sample_rate: float) -> Signal:
    unit, rails = ("mV", _RANGE_MV) if label == _HEART else ("uV", _RANGE_UV)
    # Amplifiers saturate, and a file cannot hold what is beyond its range.
    np.clip(samples, *rails, out=samples)
    samples.flags.writeable = False
    return Signal(label, sample_rate, unit, len(samples), lambda first, past_last: samples[first:past_last], rails)
