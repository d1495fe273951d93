"""What samplers share: the training nights as they see them, windows, steps made of windows, random numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind

Stages = NDArray[np.int8]


class SampledNight(Protocol):
    """What a sampler needs to know of a night; `hypnograph.training.prepared_night.PreparedNight` has it."""

    @property
    def dataset(self) -> str: ...

    @property
    def n_epochs(self) -> int: ...

    @property
    def derivations(self) -> Mapping[ChannelKind, tuple[str, ...]]: ...


class Window(NamedTuple):
    """Consecutive epochs of a night.

    Parameters
    ----------
    night
        Index of the night.
    first
        The first epoch.
    n_epochs
        Epochs of the night in the window; what is left of the context is padding: zeros, unscored.
    derivations
        One for each channel kind.
    offset
        Samples by which the signals are read later than the epochs are scored; may be negative.
    """

    night: int
    first: int
    n_epochs: int
    derivations: tuple[str, ...]
    offset: int = 0


class Step(NamedTuple):
    """The windows of one step; `goes_on`: each of them follows the one at its place in the step before."""

    windows: tuple[Window, ...]
    goes_on: bool = False


class Sampler(Protocol):
    """A plan of steps."""

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        ...

    def n_steps(self, n_pass: int) -> int:
        """Return how many steps a pass has."""
        ...


@dataclass(frozen=True)
class Nights:
    """The training nights as samplers see them.

    Parameters
    ----------
    nights
        In the order of `Window.night`.
    stages
        Of each night, shape (n_epochs,); −1 is unscored.
    kinds
        The channel kinds that the network takes.
    epoch_samples
        Samples in an epoch.
    epoch_s
        Seconds in an epoch.
    random_derivations
        Draw a derivation of each kind for each window; else the first is taken.
    """

    nights: Sequence[SampledNight]
    stages: Sequence[Stages]
    kinds: tuple[ChannelKind, ...]
    epoch_samples: int
    epoch_s: float = 30.0
    random_derivations: bool = True

    def __post_init__(self) -> None:
        if not self.nights:
            raise HypnographError("there are no nights to train on")
        for night in self.nights:
            if missing := [kind for kind in self.kinds if not night.derivations.get(kind)]:
                raise HypnographError(f"a night of {night.dataset} has no {missing[0]}, which the network takes")

    def derivations(self, night: int, rng: np.random.Generator) -> tuple[str, ...]:
        """Return a derivation of each kind, drawn evenly if so asked."""
        found = [self.nights[night].derivations[kind] for kind in self.kinds]
        if not self.random_derivations:
            return tuple(names[0] for names in found)
        return tuple(names[0] if len(names) == 1 else names[int(rng.integers(len(names)))] for names in found)

    def window(self, night: int, first: int, context: int, rng: np.random.Generator, *, offset: int = 0) -> Window:
        """Return the window of a night that begins with an epoch."""
        n_epochs = max(0, min(context, self.nights[night].n_epochs - first))
        return Window(night, first, n_epochs, self.derivations(night, rng), offset)


def rng_of_pass(seed: int, n_pass: int) -> np.random.Generator:
    """Return the randomness of a pass: the same for the same seed, whoever asks."""
    return np.random.default_rng((seed, 0, n_pass))


def epochs_by_stage(stages: Stages) -> dict[int, NDArray[np.intp]]:
    """Return the epochs of each stage that the night has."""
    return {int(stage): np.flatnonzero(stages == stage) for stage in np.unique(stages) if stage >= 0}
