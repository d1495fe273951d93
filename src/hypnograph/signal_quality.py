"""How much of each epoch of a signal can be trusted.

Nothing here judges sleep: large slow waves, eye movements and muscle bursts are signal. What is looked for is what no
body makes: missing samples, lines, plateaus at the rails, mains hum that drowns the rest, and amplitudes that no
electrode on skin gives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy import fft
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError

FloatArray = NDArray[np.float64]

FLAT_UV = 0.1
"""Peak to peak within half a second; an amplifier's noise alone is more."""
EXTREME_UV = {ChannelKind.EEG: 500.0, ChannelKind.EOG: 1000.0, ChannelKind.EMG: 1000.0, ChannelKind.ECG: 10_000.0}
MAINS_HZ = (50.0, 60.0)
BAND_HZ = (0.5, 45.0)
MOST_BAD = 0.5
"""An epoch is usable where no more than this share of its samples is missing, flat, clipped or extreme."""
LEAST_RATE_HZ = 10.0

# Work is done in blocks of epochs that fit the processor's cache: 32 epochs at 256 Hz are 1 MB.
_BLOCK_SAMPLES = 250_000
_SEGMENT_S = 2.0
_RAIL_MARGIN_UV = 1.0


@dataclass(frozen=True, eq=False)
class SignalQuality:
    """The quality of one signal, epoch by epoch; all arrays have shape (n_epochs,) and are read-only.

    Parameters
    ----------
    missing
        Share of the samples that were not recorded.
    flat
        Share that lies in lines of 1 s or more, to half a second: less than 0.1 µV (or 1 % of what is usual in this
        signal) from peak to peak.
    clipped
        Share that lies in plateaus of 3 or more samples at the largest or smallest value.
    mains
        Share of the power that is at 50 or 60 Hz (± 1 Hz) rather than at 0.5 to 45 Hz; NaN where not measured. The
        stager's filters remove it: it only lowers the weight, as the sign of a bad contact.
    extreme
        Share beyond what an electrode on skin gives: ±500 µV for EEG, ±1000 µV for EOG and EMG, ±10 mV for ECG, around
        the epoch's median, and more in a signal that is large all night.
    disconnected
        Whether the electrode was probably off: far louder or quieter than the rest of the night, and mostly mains.
    weight
        0 to 1: how much the epoch should count.
    usable
        Whether there is enough to stage.
    epoch_s
        Length of an epoch, seconds.
    """

    missing: FloatArray
    flat: FloatArray
    clipped: FloatArray
    mains: FloatArray
    extreme: FloatArray
    disconnected: NDArray[np.bool_]
    weight: FloatArray
    usable: NDArray[np.bool_]
    epoch_s: float = 30.0

    def warnings(self, name: str = "a signal") -> tuple[str, ...]:
        """Return what a person should know, as sentences with amounts; nothing below a minute.

        Parameters
        ----------
        name
            What the signal is called, e.g. ``"C4-M1"``.
        """
        hum = np.nan_to_num(self.mains) > 0.8
        findings = (
            (self.missing, "is missing"),
            (self.flat, "is flat"),
            (self.clipped, "is clipped"),
            (self.extreme, "is larger than an electrode on skin gives"),
            (self.disconnected, "seems to have been disconnected"),
            (hum & ~self.disconnected, "is dominated by mains hum (50 or 60 Hz)"),
        )
        sentences = []
        for share, words in findings:
            minutes = float(np.sum(share)) * self.epoch_s / 60
            if minutes >= 1:
                sentences.append(f"{name} {words} for {minutes:.1f} min ({_percent(float(np.mean(share)))})")
        return tuple(sentences)


def _percent(share: float) -> str:
    return "<1 %" if share < 0.005 else f"{100 * share:.0f} %"


def signal_quality(
    amplitude_uv: NDArray[np.floating],
    sample_rate: float,
    *,
    kind: ChannelKind,
    epoch_s: float = 30.0,
    physical_range_uv: tuple[float, float] | None = None,
) -> SignalQuality:
    """Judge a signal epoch by epoch.

    Parameters
    ----------
    amplitude_uv : array, shape (n_samples,)
        µV, NaN where nothing was recorded. A last part shorter than an epoch is left out.
    sample_rate
        Hz, 10 or more; may be fractional.
    kind
        EEG, EOG, EMG or ECG: what amplitudes are to be expected.
    epoch_s
        Length of an epoch, seconds.
    physical_range_uv
        The rails of the recorder, where known; else plateaus are looked for at the extremes of the night.

    Raises
    ------
    HypnographError
        If the sample rate is below 10 Hz.
    """
    if sample_rate < LEAST_RATE_HZ:
        raise HypnographError(f"the sample rate is {sample_rate:g} Hz; quality is judged from {LEAST_RATE_HZ:g} Hz")
    night = _Night(np.asarray(amplitude_uv), sample_rate, epoch_s)
    missing, low, high, band, hum = _measure(night, sample_rate)
    typical = _typical_height(low, high)
    flat = _flat_share(low, high, tolerance=min(FLAT_UV, 0.01 * typical))
    clipped = _clipped_share(night, low, high, physical_range_uv)
    extreme = _extreme_share(night, low, high, limit=max(EXTREME_UV.get(kind, 1000.0), 10 * typical))
    with np.errstate(invalid="ignore", divide="ignore"):
        mains = hum / (hum + band)
    # One sample may be flat, clipped and extreme at once.
    bad = np.minimum(missing + np.maximum(np.maximum(flat, clipped), extreme), 1.0)
    disconnected = _disconnected(band, hum, mains, sound=bad <= MOST_BAD, kind=kind)
    usable = (bad <= MOST_BAD) & ~disconnected
    # Half mains is common and harmless; nothing but mains is an electrode that hardly touches.
    calm = 1.0 - 0.8 * np.clip((np.nan_to_num(mains) - 0.5) / 0.5, 0.0, 1.0)
    weight = np.where(usable, (1.0 - bad) * calm, 0.0)
    arrays = (missing, flat, clipped, mains, extreme, disconnected, weight, usable)
    for array in arrays:
        array.flags.writeable = False
    return SignalQuality(missing, flat, clipped, mains, extreme, disconnected, weight, usable, epoch_s)


class _Night:
    """A signal cut into epochs of `halves` half-seconds; of a fractional rate the odd samples are left out."""

    def __init__(self, amplitude: NDArray[np.floating], sample_rate: float, epoch_s: float) -> None:
        self.amplitude = amplitude
        self.n_epochs = int(amplitude.size / (sample_rate * epoch_s) + 1e-6)
        self.halves = max(2, round(2 * epoch_s))
        self.half = int(sample_rate * epoch_s / self.halves)
        self.length = self.halves * self.half
        self.starts = np.round(np.arange(self.n_epochs) * epoch_s * sample_rate).astype(np.int64)

    def epoch(self, row: int | np.intp) -> NDArray[np.floating]:
        return self.amplitude[self.starts[row] : self.starts[row] + self.length]

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Yield (rows, epochs), some epochs at a time."""
        step = max(1, _BLOCK_SAMPLES // self.length)
        for first in range(0, self.n_epochs, step):
            rows = slice(first, min(first + step, self.n_epochs))
            yield rows, np.stack([self.epoch(row) for row in range(rows.start, rows.stop)])


def _measure(night: _Night, sample_rate: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return in one pass: missing, lowest and highest value of each half-second, power of the band and of the mains.

    The second and third have shape (n_epochs, halves), the others (n_epochs,).
    """
    low, high = np.empty((2, night.n_epochs, night.halves))
    missing, band, hum = np.zeros((3, night.n_epochs))
    for rows, epochs in night.blocks():
        parts = epochs.reshape(len(epochs), night.halves, night.half)
        low[rows], high[rows] = parts.min(axis=2), parts.max(axis=2)
        if np.isnan(low[rows]).any():  # min carries NaN along
            missing[rows] = np.isnan(epochs).mean(axis=1)
        band[rows], hum[rows] = _powers(epochs, sample_rate)
    return missing, low, high, band, hum


def _powers(epochs: NDArray[np.floating], sample_rate: float) -> tuple[FloatArray, FloatArray]:
    """Return the power of 0.5 to 45 Hz and of the mains, shape (n_epochs,); NaN where every segment has a gap.

    Hann-windowed segments of 2 s, every third: mains that matters is there all the time.
    """
    length = min(round(_SEGMENT_S * sample_rate), epochs.shape[1])
    n_segments = epochs.shape[1] // length
    segments = epochs[:, : n_segments * length].reshape(len(epochs), n_segments, length)[:, ::3]
    segments = segments - segments.mean(axis=2, keepdims=True)
    spectrum = fft.rfft(segments * np.hanning(length).astype(segments.dtype), axis=2)
    power = spectrum.real**2 + spectrum.imag**2
    frequency = fft.rfftfreq(length, 1 / sample_rate)
    in_band = (frequency >= BAND_HZ[0]) & (frequency <= BAND_HZ[1])
    in_mains = np.zeros_like(in_band)
    for mains_hz in MAINS_HZ:
        if mains_hz + 1 < sample_rate / 2:
            in_mains |= np.abs(frequency - mains_hz) <= 1
    whole = np.isfinite(power[:, :, 0])
    n_whole = np.where(whole.any(axis=1), whole.sum(axis=1), np.nan)
    band, hum = (
        np.where(whole, power[:, :, bins].sum(axis=2), 0).sum(axis=1) / n_whole for bins in (in_band, in_mains)
    )
    return band, hum


def _typical_height(low: FloatArray, high: FloatArray) -> float:
    """Return the median peak-to-peak amplitude of half a second, of those that move at all."""
    height = (high - low)[high > low]
    return float(np.median(height)) if height.size else 0.0


def _flat_share(low: FloatArray, high: FloatArray, *, tolerance: float) -> FloatArray:
    """Return the share of half-seconds without movement that have such a neighbour."""
    still = (high - low <= tolerance).ravel()
    alone = still.copy()
    alone[1:] &= ~still[:-1]
    alone[:-1] &= ~still[1:]
    return np.asarray((still & ~alone).reshape(low.shape).mean(axis=1))


def _clipped_share(night: _Night, low: FloatArray, high: FloatArray, rails: tuple[float, float] | None) -> FloatArray:
    """Return the share of samples in plateaus of 3 or more at the rails (where unknown, at the night's extremes)."""
    clipped = np.zeros(night.n_epochs)
    known = np.isfinite(low)
    if not known.any():
        return clipped
    bottom, top = rails or (low[known].min(), high[known].max())
    # One artefact of a volt would make the margin as wide as the EEG.
    margin = min(1e-4 * (top - bottom), _RAIL_MARGIN_UV)
    if margin <= 0:  # one value all night: flat, not clipped
        return clipped
    for row in np.flatnonzero(((high >= top - margin) | (low <= bottom + margin)).any(axis=1)):
        epoch = night.epoch(row)
        clipped[row] = _plateau_share(epoch >= top - margin) + _plateau_share(epoch <= bottom + margin)
    return clipped


def _plateau_share(at_rail: NDArray[np.bool_]) -> float:
    """Return the share of samples in runs of 3 or more."""
    middle = at_rail[:-2] & at_rail[1:-1] & at_rail[2:]
    plateau = np.zeros_like(at_rail)
    for shift in range(3):
        plateau[shift : shift + middle.size] |= middle
    return float(plateau.mean())


def _extreme_share(night: _Night, low: FloatArray, high: FloatArray, *, limit: float) -> FloatArray:
    """Return the share of samples farther than `limit` from the middle of their epoch."""
    extreme = np.zeros(night.n_epochs)
    middle = np.where(np.isfinite(low), (low + high) / 2, np.nan)
    middle[np.isnan(middle).all(axis=1)] = 0.0
    centre = np.nanmedian(middle, axis=1)
    for row in np.flatnonzero(((high > (centre + limit)[:, None]) | (low < (centre - limit)[:, None])).any(axis=1)):
        extreme[row] = np.mean(np.abs(night.epoch(row) - centre[row]) > limit)
    return extreme


def _disconnected(
    band: FloatArray, hum: FloatArray, mains: FloatArray, *, sound: NDArray[np.bool_], kind: ChannelKind
) -> NDArray[np.bool_]:
    """Return where the electrode was probably off.

    Compared with the rest of the night: 10 times larger or smaller and mostly mains; or nothing but mains, 10 times as
    much as otherwise; or (not of a muscle, which may be silent) 30 times smaller.
    """
    rest = sound & np.isfinite(band) & (band > 0)
    if not rest.any():
        return np.zeros(band.shape, dtype=bool)
    typical, quiet_hum = np.median(band[rest]), np.quantile(hum[rest], 0.2)
    with np.errstate(invalid="ignore"):
        far = (band > 100 * typical) | (band < typical / 100)
        off = (far & (mains > 0.5)) | ((mains > 0.95) & (hum > 100 * quiet_hum))
        if kind != ChannelKind.EMG:
            off |= band < typical / 1000
    return np.asarray(off & sound)
