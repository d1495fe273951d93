"""From the samples of a derivation to the epochs that a model takes: resample, filter, cut.

Resampling and filtering reproduce MNE-Python's FFT resampling and its windowed-sinc FIR filter (Gramfort et al. 2013,
doi 10.3389/fnins.2013.00267) to rounding error, because published classifiers were trained behind them. Everything is
float64: ordinal features (zero crossings, permutation entropy) notice a sample that is off by a millionth.

The long transforms are split by Cooley and Tukey's rule (1965, doi 10.1090/S0025-5718-1965-0178586-1) into many short
ones that fit the processor's cache and can be shared among threads. A `mapper` runs them: the builtin `map`, or that
of a `concurrent.futures.Executor`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind

Mapper = Callable[[Callable[[slice], None], list[slice]], Iterable[None]]
FloatArray = NDArray[np.float64]
Outliers = Literal["keep", "clip", "clip-resampled", "zero-epochs"]
Scaling = Literal["none", "robust", "standard", "epoch-range"]
Resampling = Literal["spectrum", "polyphase"]

# Transforms are worked on in blocks of so many rows: about half a megabyte, the size of a core's own cache.
_ROWS = 32
# Outputs of the polyphase filter that are computed at once, and values that are counted at once: more would leave the
# cache, and of fewer, threads would wait for Python.
_OUTPUTS = 1 << 17
_BLOCK = 1 << 17
# Values from which quantiles are guessed.
_SAMPLE = 1 << 15
_LEAST_PAD = 100
_IMPOSSIBLE_UV = 1e9


@dataclass(frozen=True)
class InputSpec:
    """What a model takes. It is saved with the weights.

    Parameters
    ----------
    kinds
        The channel kinds, in the model's order.
    sample_rate
        Hz.
    band_hz
        Pass band of the zero-phase filter (low, high); None: unfiltered.
    epoch_s
        Length of an epoch in seconds.
    outliers
        What becomes of values beyond ±`outlier_iqr` interquartile ranges of the recording: ``"keep"``, ``"clip"`` to
        that limit (around zero, in µV, before resampling, as U-Time does), ``"clip-resampled"`` (after it, as AnySleep
        does), or ``"zero-epochs"``, which silences every epoch with such a value.
    outlier_iqr
        That limit; 20 in U-Time and U-Sleep.
    scaling
        ``"none"``: µV. ``"robust"``: minus the median, divided by the interquartile range; ``"standard"``: minus the
        mean, divided by the standard deviation; both of the whole recording. ``"epoch-range"``: each epoch from 0 to 1.
    resampling
        ``"spectrum"``: see `resample`. ``"polyphase"``: SciPy's polyphase filter, which U-Time and AnySleep use.
    context
        Epochs of the windows that the model was trained on, which then overlap and are stitched over a night; None:
        the model takes a night as a whole.

    Raises
    ------
    HypnographError
        If a word is not one of those above, or a number is impossible.
    """

    kinds: tuple[ChannelKind, ...]
    sample_rate: float
    band_hz: tuple[float, float] | None = None
    epoch_s: float = 30.0
    outliers: Outliers = "keep"
    outlier_iqr: float = 20.0
    scaling: Scaling = "none"
    resampling: Resampling = "spectrum"
    context: int | None = None

    def __post_init__(self) -> None:
        # JSON gives lists of texts.
        object.__setattr__(self, "kinds", tuple(_kind(kind) for kind in self.kinds))
        if self.band_hz is not None:
            object.__setattr__(self, "band_hz", tuple(self.band_hz))
        for field, words in {"outliers": Outliers, "scaling": Scaling, "resampling": Resampling}.items():
            if getattr(self, field) not in get_args(words):
                raise HypnographError(f"{field} is {getattr(self, field)!r}; choose from {', '.join(get_args(words))}")
        if not self.kinds or min(self.sample_rate, self.epoch_s, self.outlier_iqr) <= 0:
            raise HypnographError("an input needs a channel, and a positive sample_rate, epoch_s and outlier_iqr")
        if self.band_hz is not None and not (
            len(self.band_hz) == 2 and 0 < self.band_hz[0] < self.band_hz[1] < self.sample_rate / 2
        ):
            raise HypnographError(
                f"band_hz is {self.band_hz}; at {self.sample_rate:g} Hz, 0 < low < high < {self.sample_rate / 2:g}"
            )
        if self.context is not None and self.context < 1:
            raise HypnographError(f"context is {self.context}; a window has at least one epoch")

    @property
    def epoch_samples(self) -> int:
        return round(self.epoch_s * self.sample_rate)

    def prepare(
        self,
        amplitude_uv: NDArray[np.floating[Any]],
        sample_rate: float,
        *,
        lead_s: float = 0.0,
        every_s: float | None = None,
        mapper: Mapper = map,
    ) -> NDArray[np.floating[Any]]:
        """Return a derivation's epochs, ready for the model.

        Parameters
        ----------
        amplitude_uv : float array, shape (n_samples,)
            µV; where samples are missing (NaN) the signal is bridged by a straight line.
        sample_rate
            Hz.
        lead_s
            Seconds before the first epoch; they are left out.
        every_s
            Seconds from the begin of an epoch to that of the next one; None: `epoch_s`. Less: they overlap.
        mapper
            Runs the parts of the work: `map`, or an executor's.

        Returns
        -------
        float array, shape (n_epochs, epoch_samples)
            In the model's scale: float64, or with ``resampling="polyphase"`` the type given. An incomplete last epoch
            is left out.
        """
        signal = bridge_missing(amplitude_uv)
        if self.outliers == "clip":
            signal = self._clipped(signal)
        if self.resampling == "spectrum":
            signal = resample(signal, sample_rate, self.sample_rate, mapper=mapper)
        else:
            signal = resample_polyphase(signal, sample_rate, self.sample_rate)
        if self.outliers == "clip-resampled":
            signal = self._clipped(signal)
        if self.band_hz is not None:
            signal = band_pass(signal.astype(np.float64), self.sample_rate, *self.band_hz, mapper=mapper)
        every = self.epoch_samples if every_s is None else round(every_s * self.sample_rate)
        epochs = cut_into_epochs(signal[round(lead_s * self.sample_rate) :], self.epoch_samples, every)
        if self.outliers == "zero-epochs":
            loud = np.abs(epochs).max(axis=1) > self.outlier_iqr * _interquartile_range(signal)
            epochs = np.where(loud[:, None], 0.0, epochs)
        return _scaled(epochs, self.scaling)

    def _clipped(self, signal: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        limit = signal.dtype.type(self.outlier_iqr * _interquartile_range(signal))
        return np.asarray(np.clip(signal, -limit, limit))


_USUAL_KINDS = (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG, ChannelKind.ECG)


def usual_kinds(n_channels: int) -> tuple[ChannelKind, ...]:
    """Return the channel kinds that a network of so many channels takes unless told otherwise: EEG, EOG, EMG, ECG.

    Raises
    ------
    HypnographError
        If there are more channels than kinds.
    """
    if n_channels > len(_USUAL_KINDS):
        raise HypnographError(f"{n_channels} channels: say which, with an InputSpec (kinds=…)")
    return _USUAL_KINDS[:n_channels]


def _kind(kind: str) -> ChannelKind:
    try:
        return ChannelKind(kind)
    except ValueError:
        raise HypnographError(f"{kind!r} is no channel kind; choose from {', '.join(ChannelKind)}") from None


def _interquartile_range(signal: NDArray[np.floating[Any]]) -> float:
    low, high = _quantiles(signal, 0.25, 0.75)
    return high - low


def _quantiles(values: NDArray[np.floating[Any]], *shares: float) -> list[float]:
    """Return quantiles by linear interpolation, as `numpy.percentile` does, to which a night takes 10 times as long.

    Each is looked for among the few values that lie between two of a sample; the others are only counted.
    """
    flat = values.ravel()
    places = [share * (flat.size - 1) for share in shares]
    pairs = _ranked(flat, [int(place) for place in places])
    return [one + (other - one) * (place - int(place)) for (one, other), place in zip(pairs, places, strict=True)]


def _ranked(flat: NDArray[np.floating[Any]], ranks: Sequence[int]) -> list[tuple[float, float]]:
    """Return the values of some ranks, counted from 0, each with the next larger one."""
    ordered = np.sort(flat[:: max(1, flat.size // _SAMPLE)])
    limits = [_limits(ordered, rank / max(1, flat.size - 1)) for rank in ranks]
    below, between = np.zeros(len(ranks), dtype=np.int64), [[flat[:0]] for _ in ranks]
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK]
        for i, (low, high) in enumerate(limits):
            is_below = block < low
            below[i] += np.count_nonzero(is_below)
            between[i].append(block[np.flatnonzero((block <= high) != is_below)])
    found = []
    for rank, n_below, parts in zip(ranks, below.tolist(), between, strict=True):
        near, place = np.concatenate(parts), rank - n_below
        if not 0 <= place < len(near) - (rank + 1 < flat.size):  # the sample was misleading
            near, place = flat, rank
        after = min(place + 1, len(near) - 1)
        near = np.partition(near, (place, after))
        found.append((float(near[place]), float(near[after])))
    return found


def _limits(ordered: NDArray[np.floating[Any]], share: float) -> tuple[float, float]:
    """Return two values of a sample between which the quantile of the whole is almost surely."""
    # Four standard deviations of the rank in a sample drawn by chance.
    margin = 4 * np.sqrt(share * (1 - share) * len(ordered)) + 2
    place = share * (len(ordered) - 1)
    low = float(ordered[int(place - margin)]) if place > margin else -np.inf
    high = float(ordered[int(place + margin) + 1]) if place + margin + 1 < len(ordered) else np.inf
    return low, high


def _scaled(epochs: NDArray[np.floating[Any]], scaling: Scaling) -> NDArray[np.floating[Any]]:
    """Return the epochs, which are overwritten, in another scale; zeros where the signal does not move."""
    if scaling == "none" or not epochs.size:
        return epochs
    if scaling == "epoch-range":
        spread = np.ptp(epochs, axis=1, keepdims=True)
        epochs -= epochs.min(axis=1, keepdims=True)
        epochs /= np.where(spread > 0, spread, 1)
        return epochs
    if scaling == "robust":
        low, centre, high = _quantiles(epochs, 0.25, 0.5, 0.75)
        width = high - low
    else:
        centre, width = epochs.mean(dtype=np.float64), float(epochs.std(dtype=np.float64))
    if width <= 0:
        return np.zeros_like(epochs)
    epochs -= epochs.dtype.type(centre)
    epochs /= epochs.dtype.type(width)
    return epochs


def cut_into_epochs(signal: NDArray[Any], epoch_samples: int, every: int | None = None) -> NDArray[Any]:
    """Return a view of shape (n_epochs, epoch_samples); an incomplete last epoch is left out.

    Epochs that begin `every` so many samples, if it is not their length, are copies.
    """
    if every is not None and every != epoch_samples:
        if len(signal) < epoch_samples:
            return signal[:0].reshape(0, epoch_samples)
        return np.lib.stride_tricks.sliding_window_view(signal, epoch_samples)[::every].copy()
    n_epochs = len(signal) // epoch_samples
    return signal[: n_epochs * epoch_samples].reshape(n_epochs, epoch_samples)


def without_impossible(amplitude_uv: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the signal with NaN for samples of 1 kV and more, which damaged files hold; itself if there are none."""
    if amplitude_uv.size and amplitude_uv.min() > -_IMPOSSIBLE_UV and amplitude_uv.max() < _IMPOSSIBLE_UV:
        return amplitude_uv  # to look at the extremes is quickest
    impossible = np.abs(amplitude_uv) >= _IMPOSSIBLE_UV
    return np.where(impossible, np.float32(np.nan), amplitude_uv) if impossible.any() else amplitude_uv


def bridge_missing(signal: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the signal with straight lines in place of NaN; zeros if there is nothing else."""
    if not signal.size or not np.isnan(signal.min()):  # NaN is the least of all
        return signal
    missing = np.isnan(signal)
    if missing.all():
        return np.zeros_like(signal)
    bridged = signal.copy()
    places = np.flatnonzero(~missing)
    bridged[missing] = np.interp(np.flatnonzero(missing), places, signal[places])
    return bridged


# Resampling ----------------------------------------------------------------------------------------------------------


def resample(
    signal: NDArray[np.floating[Any]], sample_rate: float, new_rate: float, *, mapper: Mapper = map
) -> FloatArray:
    """Resample by cropping (or extending) the spectrum of the whole signal.

    The signal is extended at both ends by its point reflection to the next power of two with at least 100 samples at
    each end; frequencies from half the new rate upwards are removed by a rectangular window.

    Parameters
    ----------
    signal : float array, shape (n_samples,)
        Finite.
    sample_rate, new_rate
        Hz.
    mapper
        Runs the parts of the work: `map`, or an executor's.

    Returns
    -------
    float64 array, shape (round(n_samples · new_rate / sample_rate),)
    """
    if np.isclose(sample_rate, new_rate, rtol=1e-6, atol=0):
        return signal.astype(np.float64)
    ratio = float(new_rate) / sample_rate
    n_new = max(round(ratio * len(signal)), 1)
    before, after = _pads(len(signal))
    padded = _reflect(signal, before, after)
    resampled = _resample_periodic(padded, max(round(ratio * len(padded)), 1), mapper)
    first = round(ratio * before)
    return resampled[first : first + n_new]


def resample_polyphase(
    signal: NDArray[np.floating[Any]], sample_rate: float, new_rate: float
) -> NDArray[np.floating[Any]]:
    """Resample by a polyphase filter, a sinc under a Kaiser window (β = 5): SciPy's ``resample_poly``.

    U-Time and AnySleep use it. SciPy's takes 0.6 s to import, which is half of what staging a night takes.

    Parameters
    ----------
    signal : float array, shape (n_samples,)
        Finite; zeros are assumed beyond its ends.
    sample_rate, new_rate
        Hz; their ratio is taken as the nearest fraction with a denominator of up to 1000.

    Returns
    -------
    float array, shape (⌈n_samples · new_rate / sample_rate⌉,)
        Of the type given.
    """
    ratio = Fraction(new_rate / sample_rate).limit_denominator(1000)
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        return signal.copy()
    kernel = _polyphase_kernel(up, down).astype(signal.dtype)
    resampled = np.empty(-(-len(signal) * up // down), dtype=signal.dtype)
    # Output m is the sum over i of signal[i] · kernel[half + m · down − i · up]: those with the same m modulo `up` use
    # the same part of the kernel, on samples that are `down` apart.
    half = len(kernel) // 2
    for phase in range(up):
        outputs = resampled[phase::up]
        first, offset = divmod(half + phase * down, up)
        taps = kernel[offset::up]
        _correlate_every(signal, taps[::-1], first - len(taps) + 1, down, outputs)
    return resampled


def _polyphase_kernel(up: int, down: int) -> FloatArray:
    half = 10 * max(up, down)
    kernel = np.sinc(np.arange(-half, half + 1) / max(up, down)) * np.kaiser(2 * half + 1, 5.0)
    return np.asarray(up * kernel / kernel.sum())


def _correlate_every(signal: NDArray[Any], taps: NDArray[Any], first: int, step: int, outputs: NDArray[Any]) -> None:
    """Set output m to the sum over j of taps[j] · signal[first + m · step + j], with zeros beyond the ends."""
    for begin in range(0, len(outputs), _OUTPUTS):
        count = min(_OUTPUTS, len(outputs) - begin)
        start = first + begin * step
        needed = np.zeros((count - 1) * step + len(taps) + step, dtype=signal.dtype)
        low, high = max(start, 0), min(start + len(needed), len(signal))
        needed[low - start : max(high, low) - start] = signal[low:high]
        # Samples `step` apart, side by side: a tap is then one product of two plain arrays.
        columns = np.ascontiguousarray(needed[: len(needed) // step * step].reshape(-1, step).T)
        total = np.zeros(count, dtype=signal.dtype)
        for j, tap in enumerate(taps):
            total += tap * columns[j % step, j // step : j // step + count]
        outputs[begin : begin + count] = total


def _pads(n_samples: int) -> tuple[int, int]:
    least = n_samples + 2 * min(n_samples // 8, _LEAST_PAD)
    total = (1 << (least - 1).bit_length()) - n_samples
    return total // 2, total - total // 2


def _reflect(signal: NDArray[np.floating[Any]], before: int, after: int) -> NDArray[np.floating[Any]]:
    """Extend by point reflection at the first and last sample; zeros where the reflection ends."""
    n = len(signal)
    padded = np.zeros(before + n + after, dtype=signal.dtype)
    padded[before : before + n] = signal
    left, right = min(before, n - 1), min(after, n - 1)
    padded[before - left : before] = 2 * signal[0] - signal[left:0:-1]
    padded[before + n : before + n + right] = (
        2 * signal[-1] - signal[n - 2 : n - 2 - right if right < n - 1 else None : -1]
    )
    return padded


def _resample_periodic(signal: NDArray[np.floating[Any]], n_new: int, mapper: Mapper) -> FloatArray:
    """Resample one period of a periodic signal, whose length is a power of two, to `n_new` samples."""
    n = len(signal)
    n_short = 1 << (n.bit_length() // 2)
    if n >= n_short * _ROWS and n_new % (2 * n_short) == 0 and n_new < n:
        return _decimate(signal, n_new, n_short, mapper)
    n_bins = min(n, n_new) // 2 + 1
    if n >= n_short * _ROWS and n_new < n:
        spectrum = _spectrum(signal, n_bins, n_short, mapper)
    else:
        spectrum = np.fft.rfft(signal.astype(np.float64))[:n_bins]
    if min(n, n_new) % 2 == 0:
        # The bin at the lower of the two Nyquist frequencies stands for one frequency there and for two elsewhere.
        spectrum[-1] *= 2 if n_new < n else 0.5
    return np.asarray(np.fft.irfft(spectrum, n_new) * (n_new / n))


# With sample index i = a + n_long·b and frequency index k = c + n_short·d, a transform of n = n_long·n_short samples is
# a transform over b (for each a), a rotation by a·c/n turns, and a transform over a (for each c).


def _over_columns(signal: NDArray[np.floating[Any]], n_short: int, mapper: Mapper) -> NDArray[np.complex128]:
    """Return the transforms over b, shape (n_long, n_short / 2 + 1): a by c."""
    columns = signal.reshape(n_short, -1)
    transformed = np.empty((columns.shape[1], n_short // 2 + 1), dtype=complex)

    def transform(block: slice) -> None:
        transformed[block] = np.fft.rfft(columns[:, block].T.astype(np.float64))

    _run(transform, len(transformed), mapper)
    return transformed


def _spectrum(signal: NDArray[np.floating[Any]], n_bins: int, n_short: int, mapper: Mapper) -> NDArray[np.complex128]:
    """Return the lowest `n_bins` frequencies of a real signal."""
    n = len(signal)
    by_column = _over_columns(signal, n_short, mapper)
    n_long, n_rows = by_column.shape
    turns = _turns(np.arange(_ROWS), n_long, -n)
    depth = -(-n_bins // n_short)
    table = np.empty((depth, n_short), dtype=complex)

    def transform(rows: slice) -> None:
        values = np.fft.fft(_turned(by_column[:, rows].T, turns, rows.start, -n))
        table[:, rows] = values[:, :depth].T
        # Frequency n_short·j − c is the conjugate of frequency n − n_short·j + c = c + n_short·(n_long − j).
        first, last = max(rows.start, 1), min(rows.stop, n_short // 2)
        mirrored = values[first - rows.start : last - rows.start][::-1, : n_long - depth - 1 : -1]
        table[:, n_short - last + 1 : n_short - first + 1] = mirrored.conj().T

    _run(transform, n_rows, mapper)
    return table.ravel()[:n_bins]


def _decimate(signal: NDArray[np.floating[Any]], n_new: int, n_short: int, mapper: Mapper) -> FloatArray:
    """Resample to fewer samples, a multiple of 2·n_short, by short transforms only.

    The inverse takes the same way back with n_new in place of n, so cropping the spectrum is leaving out the middle of
    each row over d.
    """
    n = len(signal)
    by_column = _over_columns(signal, n_short, mapper)
    n_long, n_rows = by_column.shape
    m_long = n_new // n_short
    by_row, resampled = np.empty((n_rows, m_long), dtype=complex), np.empty((n_short, m_long))
    in_block = np.arange(_ROWS)
    turns, turns_back = _turns(in_block, n_long, -n), _turns(in_block, m_long, n_new) * (n_new / n)

    def crop(rows: slice) -> None:
        values = np.fft.fft(_turned(by_column[:, rows].T, turns, rows.start, -n))
        kept = np.concatenate([values[:, : m_long // 2], values[:, n_long - m_long // 2 :]], axis=1)
        if rows.start == 0:
            kept[0, m_long // 2] = 2 * kept[0, m_long // 2].real  # Nyquist's, as above
        by_row[rows] = _turned(np.fft.ifft(kept), turns_back, rows.start, n_new)

    def back(columns: slice) -> None:
        resampled[:, columns] = np.fft.irfft(by_row[:, columns].T, n_short).T

    _run(crop, n_rows, mapper)
    _run(back, m_long, mapper)
    return resampled.ravel()


def _run(function: Callable[[slice], None], n: int, mapper: Mapper, size: int = _ROWS) -> None:
    """Call the function for blocks of `size` out of n."""
    for _ in mapper(function, [slice(start, min(start + size, n)) for start in range(0, n, size)]):
        pass


def _turned(block: NDArray[Any], turns: NDArray[np.complex128], first_row: int, period: int) -> NDArray[np.complex128]:
    """Rotate each value of some rows, from `first_row` on, by row · column / period turns.

    `turns` holds the rotations of rows 0 to `_ROWS`: one product in place of many sines.
    """
    rotated: NDArray[np.complex128] = block * turns[: len(block)]
    rotated *= _turns(np.array([first_row]), block.shape[1], period)
    return rotated


def _turns(rows: NDArray[np.int_], n_columns: int, period: int) -> NDArray[np.complex128]:
    return np.asarray(np.exp(2j * np.pi / period * np.outer(rows, np.arange(n_columns))))


# Filtering -----------------------------------------------------------------------------------------------------------


def band_pass(
    signal: FloatArray, sample_rate: float, low_hz: float, high_hz: float, *, mapper: Mapper = map
) -> FloatArray:
    """Filter with a zero-phase FIR band pass (windowed sinc, Hamming); ends are extended by point reflection.

    Parameters
    ----------
    signal : float64 array, shape (n_samples,)
        Finite.
    sample_rate, low_hz, high_hz
        Hz; −6 dB lie half a transition band outside [low_hz, high_hz], see `band_pass_kernel`.
    mapper
        Runs the parts of the work: `map`, or an executor's.

    Returns
    -------
    float64 array, shape (n_samples,)
    """
    kernel = band_pass_kernel(sample_rate, low_hz, high_hz)
    margin, n = len(kernel) - 1, len(signal)
    n_fft = 8192
    while n_fft < 4 * margin:
        n_fft *= 2
    step = n_fft - margin
    n_blocks = -(-n // step)
    # Overlap-save: block j yields samples j·step to (j + 1)·step from the n_fft extended samples around them.
    extended = _reflect(signal, margin // 2, n_blocks * step + margin // 2 - n)
    frames = np.lib.stride_tricks.sliding_window_view(extended, n_fft)[::step]
    response = np.fft.rfft(kernel, n_fft)
    filtered = np.empty((n_blocks, step))

    def convolve(rows: slice) -> None:
        filtered[rows] = np.fft.irfft(np.fft.rfft(frames[rows]) * response, n_fft)[:, margin:]

    _run(convolve, n_blocks, mapper, size=8)
    return filtered.ravel()[:n]


def band_pass_kernel(sample_rate: float, low_hz: float, high_hz: float) -> FloatArray:
    """Return the symmetric kernel: a low pass at the upper edge minus a low pass at the lower edge.

    Each transition band is a quarter of its edge frequency wide, at least 2 Hz, but ends at 0 or half the sample rate;
    3.3 / width samples of a Hamming window make it (Widmann et al. 2015, doi 10.1016/j.jneumeth.2014.08.002).

    Returns
    -------
    float64 array, shape (n,) with odd n
    """
    low_width = min(max(0.25 * low_hz, 2.0), low_hz)
    high_width = min(max(0.25 * high_hz, 2.0), sample_rate / 2 - high_hz)
    upper = _low_pass_kernel(sample_rate, high_hz + high_width / 2, high_width)
    lower = _low_pass_kernel(sample_rate, low_hz - low_width / 2, low_width)
    kernel = np.zeros(max(len(upper), len(lower)))
    for part, sign in ((upper, 1), (lower, -1)):
        begin = (len(kernel) - len(part)) // 2
        kernel[begin : begin + len(part)] += sign * part
    return kernel


def _low_pass_kernel(sample_rate: float, cutoff_hz: float, width_hz: float) -> FloatArray:
    n = round(3.3 * sample_rate / width_hz)
    n += 1 - n % 2
    kernel = np.sinc(2 * cutoff_hz / sample_rate * (np.arange(n) - n // 2)) * np.hamming(n)
    return np.asarray(kernel / kernel.sum())
