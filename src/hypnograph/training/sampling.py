"""Which windows a network sees in a pass through the training nights, and in which order.

A sampler is a plan: ``steps(n_pass)`` gives the same steps for the same seed and pass, whoever asks, however many
workers load them. Nothing is read here. The five rules are those of the published trainings:

- ``balanced``: U-Sleep's; each window is drawn around an epoch of a stage that was drawn first;
- ``natural``: each window of each night once, shuffled (AttnSleep, SeqSleepNet);
- ``oversampled``: single epochs, each stage as often as the most frequent one (DeepSleepNet's first step);
- ``tracks``: whole nights side by side, in windows that go on from one step to the next (TinySleepNet);
- ``night-tracks``: one night after another, cut into tracks that run side by side (DeepSleepNet's second step).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind
from hypnograph.training.recipes import Sampling

Stages = NDArray[np.int8]


class SampledNight(Protocol):
    """What a sampler needs to know of a night; `hypnograph.training.store.PreparedNight` has it."""

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


def create_sampler(recipe: Sampling, nights: Nights, seed: int, *, pool: "Pool | None" = None) -> Sampler:
    """Create the sampler that a recipe names.

    Parameters
    ----------
    recipe
        Its ``[sampling]``.
    nights
        To train on.
    seed
        Of all draws.
    pool
        Limits the nights that ``"balanced"`` draws from at a time; the other rules take no notice of it.

    Raises
    ------
    HypnographError
        If a number is impossible.
    """
    _check(recipe, nights, seed)
    if recipe.name == "balanced":
        return Balanced(recipe, nights, seed, pool)
    rules: Mapping[str, Callable[[Sampling, Nights, int], Sampler]] = {
        "natural": Natural, "oversampled": Oversampled, "tracks": Tracks, "night-tracks": NightTracks,
    }  # fmt: skip
    return rules[recipe.name](recipe, nights, seed)


def _check(recipe: Sampling, nights: Nights, seed: int) -> None:
    least = {"context": 1, "batch": 1, "epochs_per_pass": 1, "stride": 1, "skip": 0}
    for name, value in {name: getattr(recipe, name) for name in least}.items():
        if value is not None and value < least[name]:
            raise HypnographError(f"sampling.{name} is {value}; it must be {least[name]} or more")
    if not 0 <= recipe.even_share <= 1:
        raise HypnographError(f"sampling.even_share is {recipe.even_share}; give a share from 0 to 1")
    if not 0 <= recipe.shift_s < nights.epoch_s:
        raise HypnographError(f"sampling.shift_s is {recipe.shift_s}; give 0 or more, less than {nights.epoch_s:g} s")
    if seed < 0:
        raise HypnographError(f"the seed is {seed}; it must be 0 or more")


@dataclass(frozen=True)
class Pool:
    """How many nights of a dataset may be drawn from at a time (U-Time's "limitation queue").

    Parameters
    ----------
    nights_per_dataset
        At most so many.
    windows_per_night
        After so many windows a night makes room for another one of its dataset.
    """

    nights_per_dataset: int = 40
    windows_per_night: int = 32

    def __post_init__(self) -> None:
        if min(self.nights_per_dataset, self.windows_per_night) < 1:
            raise HypnographError(
                f"a pool of {self.nights_per_dataset} nights, {self.windows_per_night} windows of each; "
                "both must be 1 or more"
            )


def _rng(seed: int, n_pass: int) -> np.random.Generator:
    return np.random.default_rng((seed, 0, n_pass))


def _batches(windows: Sequence[Window], batch: int, *, whole: bool = False) -> Iterator[Step]:
    last = len(windows) - len(windows) % batch if whole else len(windows)
    for first in range(0, last, batch):
        yield Step(tuple(windows[first : first + batch]))


# Balanced ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Balanced:
    """U-Sleep's sampling (Perslev et al. 2021, doi 10.1038/s41746-021-00440-5; exact rule of its code).

    For each window: a dataset (by its share of the nights with probability 1 − α, evenly with α), a stage (evenly), a
    night of the dataset that has it (evenly), an epoch of that stage (evenly), the place of that epoch in the window
    (evenly; at the ends of the night the window is moved inwards), a derivation of each kind (evenly). A stage that a
    dataset lacks is not drawn in it, where U-Time's code stops with an error.
    """

    recipe: Sampling
    nights: Nights
    seed: int
    pool: Pool | None = None

    def n_steps(self, n_pass: int) -> int:
        """Return how many steps a pass has: as many windows as hold the epochs of a pass."""
        total = sum(night.n_epochs for night in self.nights.nights)
        wanted = min(total, self.recipe.epochs_per_pass or total)
        return max(1, -(-max(1, wanted // self.recipe.context) // self.recipe.batch))

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        rng = _rng(self.seed, n_pass)
        by_dataset = _by_dataset(self.nights)
        n_nights = np.array([len(indices) for indices in by_dataset.values()])
        share = self.recipe.even_share
        probabilities = (1 - share) * n_nights / n_nights.sum() + share / len(n_nights)
        sources = [self._source(indices, rng) for indices in by_dataset.values()]
        for _ in range(self.n_steps(n_pass)):
            drawn = rng.choice(len(sources), size=self.recipe.batch, p=probabilities)
            yield Step(tuple(self._window(sources[index], rng) for index in drawn))

    def _source(self, indices: Sequence[int], rng: np.random.Generator) -> "_Source":
        epochs = {night: _epochs_by_stage(self.nights.stages[night]) for night in indices}
        stages = sorted({stage for of_night in epochs.values() for stage in of_night})
        if not stages:
            dataset = self.nights.nights[indices[0]].dataset
            raise HypnographError(f"the training nights of {dataset} have no scored epoch")
        return _Source(epochs, stages, _Rotation(list(indices), self.pool, rng))

    def _window(self, source: "_Source", rng: np.random.Generator) -> Window:
        stage = source.stages[int(rng.integers(len(source.stages)))]
        night = source.rotation.draw(lambda night: stage in source.epochs[night], rng)
        choices = source.epochs[night][stage]
        epoch = int(choices[int(rng.integers(len(choices)))])
        context, n_epochs = self.recipe.context, self.nights.nights[night].n_epochs
        first = epoch - int(rng.integers(context))
        return self.nights.window(night, min(max(first, 0), max(0, n_epochs - context)), context, rng)


class _Source(NamedTuple):
    """The nights of a dataset: their epochs by stage, the stages that there are, and which nights may be drawn."""

    epochs: Mapping[int, Mapping[int, NDArray[np.intp]]]
    stages: Sequence[int]
    rotation: "_Rotation"


class _Rotation:
    """Nights of a dataset that may be drawn; with a pool, a limited number that changes."""

    def __init__(self, nights: list[int], pool: Pool | None, rng: np.random.Generator) -> None:
        self.pool = pool if pool and pool.nights_per_dataset < len(nights) else None
        shuffled = [nights[index] for index in rng.permutation(len(nights))] if self.pool else nights
        n_inside = self.pool.nights_per_dataset if self.pool else len(nights)
        self.inside, self.outside = shuffled[:n_inside], shuffled[n_inside:]
        # Started at different counts, so that nights are not all replaced at once.
        limit = self.pool.windows_per_night if self.pool else 0
        self.uses = {night: int(rng.integers(int(0.75 * limit) + 1)) for night in self.inside} if self.pool else {}

    def draw(self, wanted: Callable[[int], bool], rng: np.random.Generator) -> int:
        """Return a night that is wanted, drawn evenly from those inside."""
        for _ in range(8):  # mostly the first is one: cheaper than asking all
            night = self.inside[int(rng.integers(len(self.inside)))]
            if wanted(night):
                return self._used(night, rng)
        choices = [night for night in self.inside if wanted(night)]
        if not choices:
            incoming = [night for night in self.outside if wanted(night)]
            leaving = self.inside[int(rng.integers(len(self.inside)))]
            choices = [self._swap(leaving, incoming[int(rng.integers(len(incoming)))])]
        return self._used(choices[int(rng.integers(len(choices)))], rng)

    def _used(self, night: int, rng: np.random.Generator) -> int:
        if self.pool is not None:
            self.uses[night] += 1
            if self.uses[night] >= self.pool.windows_per_night:
                self._swap(night, self.outside[int(rng.integers(len(self.outside)))])
        return night

    def _swap(self, leaving: int, entering: int) -> int:
        self.inside[self.inside.index(leaving)] = entering
        self.outside[self.outside.index(entering)] = leaving
        self.uses.pop(leaving)
        self.uses[entering] = 0
        return entering


def _by_dataset(nights: Nights) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, night in enumerate(nights.nights):
        found.setdefault(night.dataset, []).append(index)
    return dict(sorted(found.items()))


def _epochs_by_stage(stages: Stages) -> dict[int, NDArray[np.intp]]:
    return {int(stage): np.flatnonzero(stages == stage) for stage in np.unique(stages) if stage >= 0}


# Natural and oversampled ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Natural:
    """Each window of each night once in a pass, shuffled; where windows begin is drawn anew for each night.

    A window without a scored epoch is left out.
    """

    recipe: Sampling
    nights: Nights
    seed: int

    def n_steps(self, n_pass: int) -> int:
        """Return how many steps a pass has."""
        return -(-len(self._places(_rng(self.seed, n_pass))) // self.recipe.batch)

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        rng = _rng(self.seed, n_pass)
        places = self._places(rng)
        order = rng.permutation(len(places))
        for begin in range(0, len(places), self.recipe.batch):
            chosen = [places[index] for index in order[begin : begin + self.recipe.batch]]
            yield Step(tuple(self.nights.window(night, first, self.recipe.context, rng) for night, first in chosen))

    def _places(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        context = self.recipe.context
        stride = self.recipe.stride or context
        places: list[tuple[int, int]] = []
        for index, stages in enumerate(self.nights.stages):
            last = max(0, len(stages) - context)
            phase = int(rng.integers(min(stride, last + 1)))
            # The ends of the night would be seen less often than its middle: both end windows always take part.
            starts = np.unique(np.clip(np.arange(phase - stride, last + stride, stride), 0, last))
            scored = np.concatenate([[0], np.cumsum(stages >= 0)])
            has = scored[np.minimum(starts + context, len(stages))] > scored[starts]
            places += [(index, int(start)) for start in starts[has]]
        if not places:
            raise HypnographError("the training nights have no scored epoch")
        return places


@dataclass(frozen=True)
class Oversampled:
    """Single epochs, each stage as often as the most frequent one (Supratak et al. 2017, first step).

    The epochs of a stage are all repeated ⌊largest / own⌋ times, and topped up by a random part of them. The last step
    is left out if it is not full, unless it is the only one.
    """

    recipe: Sampling
    nights: Nights
    seed: int

    def __post_init__(self) -> None:
        if self.recipe.context != 1:
            raise HypnographError(f"sampling.context is {self.recipe.context}; 'oversampled' takes single epochs: 1")

    def n_steps(self, n_pass: int) -> int:
        """Return how many steps a pass has."""
        counts = [len(places) for places in self._by_stage().values()]
        return max(1, len(counts) * max(counts) // self.recipe.batch)

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        rng = _rng(self.seed, n_pass)
        by_stage = self._by_stage()
        largest = max(len(places) for places in by_stage.values())
        drawn = []
        for places in by_stage.values():
            more = rng.choice(len(places), size=largest % len(places), replace=False)
            drawn.append(np.concatenate([np.tile(places, (largest // len(places), 1)), places[more]]))
        all_places = rng.permutation(np.concatenate(drawn))
        windows = [self.nights.window(int(night), int(first), 1, rng) for night, first in all_places]
        return _batches(windows, self.recipe.batch, whole=len(windows) >= self.recipe.batch)

    def _by_stage(self) -> dict[int, NDArray[np.intp]]:
        """Return (night, epoch) of each stage's epochs."""
        found: dict[int, list[NDArray[np.intp]]] = {}
        for index, stages in enumerate(self.nights.stages):
            for stage, epochs in _epochs_by_stage(stages).items():
                found.setdefault(stage, []).append(np.stack([np.full_like(epochs, index), epochs], axis=1))
        if not found:
            raise HypnographError("the training nights have no scored epoch")
        return {stage: np.concatenate(places) for stage, places in sorted(found.items())}


# Tracks --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tracks:
    """Whole nights side by side, in windows that go on (Supratak & Guo 2020).

    In each pass nights are shuffled; each is shifted by a random time and loses a random number of first epochs. The
    signals are shifted against the scoring, as in the official code: an epoch then holds up to a tenth of its
    neighbour. Nights that end before the longest beside them are padded.
    """

    recipe: Sampling
    nights: Nights
    seed: int

    def n_steps(self, n_pass: int) -> int:
        """Return how many steps a pass has."""
        return sum(1 for _ in self.steps(n_pass))

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        rng = _rng(self.seed, n_pass)
        order = [int(night) for night in rng.permutation(len(self.nights.nights))]
        for begin in range(0, len(order), self.recipe.batch):
            tracks = [self._track(night, rng) for night in order[begin : begin + self.recipe.batch]]
            yield from _side_by_side(tracks, self.recipe.context)

    def _track(self, night: int, rng: np.random.Generator) -> "_Track":
        n_epochs = self.nights.nights[night].n_epochs
        rate = self.nights.epoch_samples / self.nights.epoch_s
        shift = int(rng.uniform(-1, 1) * self.recipe.shift_s * rate)
        first, past_last = (1 if shift > 0 else 0), n_epochs - (1 if shift < 0 else 0)
        skipped = int(rng.integers(self.recipe.skip + 1))
        first = min(first + skipped, max(first, past_last - 1))
        return _Track(night, first, max(first, past_last), self.nights.derivations(night, rng), -shift)


@dataclass(frozen=True)
class NightTracks:
    """One night after another, each cut into tracks that run side by side (Supratak et al. 2017, second step).

    The official code discards what fills no whole track or window; here it is padded unless `discard_rest` is set.
    """

    recipe: Sampling
    nights: Nights
    seed: int

    def n_steps(self, n_pass: int) -> int:
        """Return how many steps a pass has."""
        return sum(1 for _ in self.steps(n_pass))

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        rng = _rng(self.seed, n_pass)
        n_nights, context = len(self.nights.nights), self.recipe.context
        for night in (int(i) for i in (rng.permutation(n_nights) if self.recipe.shuffle else range(n_nights))):
            n_epochs, derivations = self.nights.nights[night].n_epochs, self.nights.derivations(night, rng)
            if self.recipe.discard_rest:
                length = n_epochs // self.recipe.batch
                used = length // context * context
            else:
                length = used = -(-n_epochs // self.recipe.batch)
            begins = range(0, self.recipe.batch * length, length) if length else ()
            tracks = [_Track(night, b, min(b + used, n_epochs), derivations) for b in begins if b < n_epochs]
            yield from _side_by_side(tracks, context)


class _Track(NamedTuple):
    """Epochs of a night that are seen one window after the other."""

    night: int
    first: int
    past_last: int
    derivations: tuple[str, ...]
    offset: int = 0


def _side_by_side(tracks: Sequence[_Track], context: int) -> Iterator[Step]:
    longest = max((track.past_last - track.first for track in tracks), default=0)
    for begin in range(0, longest, context):
        windows = tuple(
            Window(
                track.night,
                min(track.first + begin, track.past_last),
                max(0, min(context, track.past_last - track.first - begin)),
                track.derivations,
                track.offset,
            )
            for track in tracks
        )
        yield Step(windows, goes_on=begin > 0)
