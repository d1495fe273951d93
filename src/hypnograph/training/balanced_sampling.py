"""U-Sleep's sampling: each window is drawn around an epoch of a stage that was drawn first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.training.recipes import Sampling
from hypnograph.training.sampled_windows import Nights, Step, Window, epochs_by_stage, rng_of_pass


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
        rng = rng_of_pass(self.seed, n_pass)
        by_dataset = _by_dataset(self.nights)
        n_nights = np.array([len(indices) for indices in by_dataset.values()])
        share = self.recipe.even_share
        probabilities = (1 - share) * n_nights / n_nights.sum() + share / len(n_nights)
        sources = [self._source(indices, rng) for indices in by_dataset.values()]
        for _ in range(self.n_steps(n_pass)):
            drawn = rng.choice(len(sources), size=self.recipe.batch, p=probabilities)
            yield Step(tuple(self._window(sources[index], rng) for index in drawn))

    def _source(self, indices: Sequence[int], rng: np.random.Generator) -> "_Source":
        epochs = {night: epochs_by_stage(self.nights.stages[night]) for night in indices}
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
