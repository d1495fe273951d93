"""What changes a training window at random, so that a network does not learn the window by heart.

A window is ``(context, channel, sample)`` in floating point. Its epochs follow each other without a gap, so that an
augmentation sees one continuous signal per channel, as U-Time's augmenters do. Each augmentation is a frozen value that
is called as ``augmentation(window, rng)``; it changes the window in place and returns it. All chance comes from `rng`:
give each window a generator of its own, and the result does not depend on how many workers there are.

What a window holds is in the window's own scale: a standard deviation of 0.1 is a tenth of whatever the input was
scaled to. The names in brackets are U-Time's (github.com/perslev/U-Time); the defaults are those of its recipes, where
it has one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hypnograph.errors import HypnographError

Window = NDArray[np.float32]
Range = float | tuple[float, float]

_ERASED_SD: Final = 0.01
"""Of the noise that U-Time puts in the place of what it erases."""


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """One random change of a window.

    Parameters
    ----------
    probability
        That a window is changed, 0 to 1.

    Raises
    ------
    HypnographError
        If a parameter is out of its range.
    """

    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_number("probability", self.probability, 0, 1)

    def __call__(self, window: Window, rng: Generator) -> Window:
        """Change the window in place, or leave it, and return it.

        Parameters
        ----------
        window : float array, shape (context, channel, sample)
            Writable; it need not be contiguous.
        rng
            The window's own generator.
        """
        if window.ndim != 3 or not window.size or not np.issubdtype(window.dtype, np.floating):
            raise HypnographError(
                f"the window is {window.dtype} of shape {window.shape}; "
                "give floating point of shape (context, channel, sample), none of them 0"
            )
        if rng.random() < self.probability:
            self._change(window, rng)
        return window

    @abstractmethod
    def _change(self, window: Window, rng: Generator) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RegionalAugmentation(Augmentation):
    """A change of one region: a stretch of time, in all channels, that wraps round the window's end.

    Parameters
    ----------
    min_fraction, max_fraction
        Of the region's length, as a fraction of the window; more than 0, at most 1.
    log
        Whether the length is log-uniform, so that short regions are as usual as long ones, or uniform.
    """

    min_fraction: float = 0.001
    max_fraction: float = 0.33
    log: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("min_fraction", self.min_fraction, 0, 1, above=True)
        _check_number("max_fraction", self.max_fraction, self.min_fraction, 1)
        if not isinstance(self.log, bool):
            raise HypnographError(f"log is {self.log!r}; give true or false")

    def _region(self, n_samples: int, rng: Generator) -> tuple[int, int]:
        """Draw where a region starts and how many samples it has, at least 1, of a window with `n_samples`."""
        least, most, place = self.min_fraction, self.max_fraction, rng.random()
        fraction = least * (most / least) ** place if self.log else least + (most - least) * place
        return int(rng.integers(n_samples)), min(max(1, int(fraction * n_samples)), n_samples)

    def _stretches(self, window: Window, rng: Generator) -> Iterator[Window]:
        """Draw a region and yield it as views of the window."""
        return _stretches(window, *self._region(_duration(window), rng))


@dataclass(frozen=True, kw_only=True)
class RegionalErase(RegionalAugmentation):
    """Replace a region by the window's mean over all channels and faint noise, sd 0.01 (``RegionalErase``).

    U-Sleep's recipe has probability 0.1, U-Time's 0.2 and a max_fraction of 0.30.
    """

    def _change(self, window: Window, rng: Generator) -> None:
        mean = float(window.mean(dtype=np.float64))
        for stretch in self._stretches(window, rng):
            np.add(_normal(stretch.shape, _ERASED_SD, rng), mean, out=stretch, casting="same_kind")


@dataclass(frozen=True, kw_only=True)
class RegionalNoise(RegionalAugmentation):
    """Add Gaussian noise to a region, each channel its own (``RegionalGaussianNoise``).

    U-Time's recipe has probability 0.2.

    Parameters
    ----------
    sd
        Standard deviation, in the window's scale, not negative; two numbers are a range to draw from.
    """

    max_fraction: float = 0.5
    sd: Range = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _set_range(self, "sd", 0)

    def _change(self, window: Window, rng: Generator) -> None:
        sd = _drawn(self.sd, rng)
        for stretch in self._stretches(window, rng):
            np.add(stretch, _normal(stretch.shape, sd, rng), out=stretch, casting="same_kind")


@dataclass(frozen=True, kw_only=True)
class RegionalSignFlip(RegionalAugmentation):
    """Turn a region upside down, in all channels (``RegionalSignFlip``)."""

    def _change(self, window: Window, rng: Generator) -> None:
        for stretch in self._stretches(window, rng):
            np.negative(stretch, out=stretch)


@dataclass(frozen=True, kw_only=True)
class RegionalMix(RegionalAugmentation):
    """Replace a region by the mean of itself and another region of the window (``RegionalSignalMix``)."""

    def _change(self, window: Window, rng: Generator) -> None:
        others = _rolled(window, int(rng.integers(_duration(window))))
        region = self._region(_duration(window), rng)
        for stretch, other in zip(_stretches(window, *region), _stretches(others, *region), strict=True):
            stretch[...] = 0.5 * (stretch + other)


@dataclass(frozen=True, kw_only=True)
class TimeMask(RegionalAugmentation):
    """Set regions to 0 in all channels (not in U-Time).

    Parameters
    ----------
    count
        Regions in a window; each is drawn by itself, so that they may overlap.
    """

    count: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.count) is not int or self.count < 1:
            raise HypnographError(f"count is {self.count!r}; give a whole number, 1 or more")

    def _change(self, window: Window, rng: Generator) -> None:
        for _ in range(self.count):
            for stretch in self._stretches(window, rng):
                stretch[...] = 0


@dataclass(frozen=True, kw_only=True)
class ChannelDropout(Augmentation):
    """Replace some channels by their mean and faint noise, sd 0.01 (``ChannelDropout``).

    One channel is always left as it is; U-Time stops with an error where none would be. So a window of one channel does
    not change. U-Sleep's recipe has probability 0.1.

    Parameters
    ----------
    fraction
        Of the channels, more than 0, at most 1; rounded down, but at least one channel.
    """

    fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("fraction", self.fraction, 0, 1, above=True)

    def _change(self, window: Window, rng: Generator) -> None:
        n_channels = window.shape[1]
        n_dropped = min(max(1, int(n_channels * self.fraction)), n_channels - 1)
        for channel in rng.permutation(n_channels)[:n_dropped]:
            signal = window[:, channel]
            mean = float(signal.mean(dtype=np.float64))
            np.add(_normal(signal.shape, _ERASED_SD, rng), mean, out=signal, casting="same_kind")


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Augmentation):
    """Add Gaussian noise to the whole window, each channel its own (``GlobalGaussianNoise``).

    U-Time's recipe has probability 0.2.

    Parameters
    ----------
    sd
        Standard deviation, in the window's scale, not negative; two numbers are a range to draw from.
    """

    sd: Range = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _set_range(self, "sd", 0)

    def _change(self, window: Window, rng: Generator) -> None:
        window += _normal(window.shape, _drawn(self.sd, rng), rng)


@dataclass(frozen=True, kw_only=True)
class Amplitude(Augmentation):
    """Multiply all channels by one factor (``GlobalAmplitude``); the defaults are ours.

    Parameters
    ----------
    min_factor, max_factor
        The factor is uniform between them; not negative.
    """

    min_factor: float = 0.8
    max_factor: float = 1.25

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("min_factor", self.min_factor, 0)
        _check_number("max_factor", self.max_factor, self.min_factor)

    def _change(self, window: Window, rng: Generator) -> None:
        window *= rng.uniform(self.min_factor, self.max_factor)


@dataclass(frozen=True, kw_only=True)
class Shift(Augmentation):
    """Add one offset to all channels (``GlobalShift``); the defaults are ours.

    Parameters
    ----------
    min_offset, max_offset
        The offset is uniform between them, in the window's scale.
    """

    min_offset: float = -0.1
    max_offset: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("min_offset", self.min_offset)
        _check_number("max_offset", self.max_offset, self.min_offset)

    def _change(self, window: Window, rng: Generator) -> None:
        window += rng.uniform(self.min_offset, self.max_offset)


@dataclass(frozen=True, kw_only=True)
class SignFlip(Augmentation):
    """Give each whole channel a random sign, as if its two electrodes were swapped (not in U-Time).

    With probability 1 each channel is upside down in half the windows, whatever the others are.
    """

    def _change(self, window: Window, rng: Generator) -> None:
        turned = np.flatnonzero(rng.random(window.shape[1]) < 0.5)
        window[:, turned] *= -1


@dataclass(frozen=True, kw_only=True)
class Elastic(Augmentation):
    """Stretch and squeeze time, alike in all channels (``GlobalElasticDeformations``, after Simard et al. 2003).

    Each sample is read, by linear interpolation, from a place moved by a smooth random displacement; beyond the ends of
    the window there is 0. The displacement is uniform noise from -1 to 1, smoothed and multiplied by `alpha`; its
    standard deviation is then about 0.31 alpha / sqrt(sigma) samples. It wraps round the window; U-Time's fades at the
    ends, over four sigma. U-Time's recipe has probability 0.2.

    Parameters
    ----------
    alpha
        Strength, in samples, not negative; two numbers are a range to draw from.
    sigma
        Standard deviation of the Gaussian that smooths, in samples, more than 0; two numbers are a range to draw from.
    """

    alpha: Range = (0.0, 35.0)
    sigma: Range = (3.0, 30.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _set_range(self, "alpha", 0)
        _set_range(self, "sigma", 0, above=True)

    def _change(self, window: Window, rng: Generator) -> None:
        noise = 2 * rng.random(_duration(window), dtype=np.float32) - 1
        alpha, sigma = _drawn(self.alpha, rng), _drawn(self.sigma, rng)
        moved = _moved(_continuous(window), np.float32(alpha) * _smoothed(noise, sigma))
        window[...] = _as_window(moved, window.shape)


@dataclass(frozen=True, kw_only=True)
class Roll(Augmentation):
    """Shift the window in time; what leaves one end enters at the other (after TinySleepNet, who rolls whole nights).

    Parameters
    ----------
    max_fraction
        Of the shift, as a fraction of an epoch, 0 to 1; the shift is uniform between this to the left and to the right.
        Stages stay where they are, so give much less than 1.
    """

    max_fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("max_fraction", self.max_fraction, 0, 1)

    def _change(self, window: Window, rng: Generator) -> None:
        most = self.max_fraction * window.shape[2]
        window[...] = _rolled(window, int(rng.uniform(-most, most)))


AUGMENTATIONS: Final[Mapping[str, type[Augmentation]]] = {
    "amplitude": Amplitude,
    "channel-dropout": ChannelDropout,
    "elastic": Elastic,
    "gaussian-noise": GaussianNoise,
    "regional-erase": RegionalErase,
    "regional-mix": RegionalMix,
    "regional-noise": RegionalNoise,
    "regional-sign-flip": RegionalSignFlip,
    "roll": Roll,
    "shift": Shift,
    "sign-flip": SignFlip,
    "time-mask": TimeMask,
}


def create_augmentation(name: str, **options: Any) -> Augmentation:
    """Create an augmentation, e.g. ``create_augmentation("regional-erase", probability=0.1)``.

    Raises
    ------
    HypnographError
        If there is no such augmentation or option, the message lists those that exist; or if a value is out of range.
    """
    if name not in AUGMENTATIONS:
        raise HypnographError(f"no augmentation {name!r}. There are: {', '.join(AUGMENTATIONS)}")
    known = [field.name for field in fields(AUGMENTATIONS[name])]
    if unknown := [option for option in options if option not in known]:
        raise HypnographError(f"{name} has no option {unknown[0]!r}. There are: {', '.join(known)}")
    return AUGMENTATIONS[name](**options)


def augment(window: Window, augmentations: Iterable[Augmentation], rng: Generator) -> Window:
    """Apply augmentations in their order, in place, and return the window.

    Parameters
    ----------
    window : float array, shape (context, channel, sample)
        Writable; it need not be contiguous.
    augmentations
        Each decides by its own probability.
    rng
        The window's own generator.
    """
    for augmentation in augmentations:
        augmentation(window, rng)
    return window


def _duration(window: Window) -> int:
    """Return the samples of one channel of a window."""
    return int(window.shape[0] * window.shape[2])


def _continuous(window: Window) -> Window:
    """Return each channel of a window as one signal (channel, context * sample)."""
    return window.swapaxes(0, 1).reshape(window.shape[1], -1)


def _as_window(signals: Window, shape: tuple[int, ...]) -> Window:
    """Return signals (channel, context * sample) as a window of this shape."""
    context, n_channels, n_samples = shape
    return signals.reshape(n_channels, context, n_samples).swapaxes(0, 1)


def _rolled(window: Window, shift: int) -> Window:
    """Return a copy of a window, later by `shift` samples, its end at its start."""
    return _as_window(np.roll(_continuous(window), shift, axis=1), window.shape)


def _stretches(window: Window, start: int, length: int) -> Iterator[Window]:
    """Yield the `length` samples from `start` on as views (context, channel, sample), in order of time, wrapping.

    Whole epochs come in one view: a region of many epochs costs no more calls than a region of three.
    """
    context, _, n_samples = window.shape
    while length:
        epoch, first = divmod(start, n_samples)
        n_whole = min(length // n_samples, context - epoch) if first == 0 else 0
        taken = n_whole * n_samples or min(length, n_samples - first)
        yield window[epoch : epoch + max(1, n_whole), :, first : first + taken // max(1, n_whole)]
        start, length = (start + taken) % (context * n_samples), length - taken


def _normal(shape: tuple[int, ...], sd: float, rng: Generator) -> Window:
    """Draw Gaussian noise by Box and Muller (1958, doi:10.1214/aoms/1177706645), twice as fast as numpy's own."""
    size = int(np.prod(shape))
    # 1 - [0, 1) has no 0, whose logarithm is infinite.
    radius = np.log(1 - rng.random((size + 1) // 2, dtype=np.float32))
    radius = np.float32(sd) * np.sqrt(-2 * radius)
    angle = np.float32(2 * np.pi) * rng.random(len(radius), dtype=np.float32)
    noise: Window = radius * np.stack([np.cos(angle), np.sin(angle)])
    return noise.reshape(-1)[:size].reshape(shape)


def _smoothed(noise: Window, sigma: float) -> Window:
    """Return a signal that is smoothed by a Gaussian of `sigma` samples and wraps round."""
    # The Fourier transform of a Gaussian is a Gaussian: one product, however wide it is.
    frequency = np.arange(len(noise) // 2 + 1, dtype=np.float32) * np.float32(2 * np.pi * sigma / len(noise))
    return np.fft.irfft(np.fft.rfft(noise) * np.exp(-0.5 * frequency**2), len(noise)).astype(np.float32, copy=False)


def _moved(signals: Window, displacement: Window) -> Window:
    """Return signals (channel, time) read `displacement` (time,) samples later, linearly interpolated; 0 outside."""
    n_samples = len(displacement)
    whole = np.floor(displacement)
    # Only the displacement has a fraction: a float32 place in a long window would be off by hundredths of a sample.
    fraction = displacement - whole
    before = np.arange(n_samples) + whole.astype(np.intp)
    left, right = (signals.take(place, axis=1, mode="clip") for place in (before, before + 1))
    right -= left
    right *= fraction
    left += right
    left[:, (before < 0) | (before + (fraction > 0) >= n_samples)] = 0
    return left


def _drawn(numbers: Range, rng: Generator) -> float:
    """Return the number, or one drawn uniformly from a range."""
    return rng.uniform(*numbers) if isinstance(numbers, tuple) else numbers


def _check_number(
    name: str, value: object, least: float = -np.inf, most: float = np.inf, *, above: bool = False
) -> None:
    """Refuse what is not a finite number from `least` (or, if `above`, more than it) to `most`."""
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if isfinite(number) and least <= number <= most and not (above and number == least):
            return
    limits = [f"{'more than' if above else 'at least'} {least:g}"] if isfinite(least) else []
    limits += [f"at most {most:g}"] if isfinite(most) else []
    raise HypnographError(f"{name} is {value!r}; give a number{' of ' * bool(limits)}{' and '.join(limits)}")


def _set_range(augmentation: Augmentation, name: str, least: float, *, above: bool = False) -> None:
    """Check a number or a range of an augmentation; a range may come as a list, as in a TOML file."""
    value = getattr(augmentation, name)
    if not isinstance(value, list | tuple):
        return _check_number(name, value, least, above=above)
    if len(value) != 2:
        raise HypnographError(f"{name} is {value!r}; give one number, or two: the least and the most")
    _check_number(f"the first number of {name}", value[0], least, above=above)
    _check_number(f"the second number of {name}", value[1], value[0])
    object.__setattr__(augmentation, name, tuple(value))
    return None
