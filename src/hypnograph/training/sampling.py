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

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.training.balanced_sampling import Balanced, Pool
from hypnograph.training.recipes import Sampling
from hypnograph.training.sampled_windows import Nights, Sampler, Step, Window, epochs_by_stage, rng_of_pass
from hypnograph.training.track_sampling import NightTracks, Tracks


def create_sampler(recipe: Sampling, nights: Nights, seed: int, *, pool: Pool | None = None) -> Sampler:
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
    if not 0 <= recipe.even_share <= 1:
        raise HypnographError(f"sampling.even_share is {recipe.even_share}; give a share from 0 to 1")
    if not 0 <= recipe.shift_s < nights.epoch_s:
        raise HypnographError(f"sampling.shift_s is {recipe.shift_s}; give 0 or more, less than {nights.epoch_s:g} s")
    if seed < 0:
        raise HypnographError(f"the seed is {seed}; it must be 0 or more")


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
        return -(-len(self._places(rng_of_pass(self.seed, n_pass))) // self.recipe.batch)

    def steps(self, n_pass: int) -> Iterator[Step]:
        """Yield the steps of a pass."""
        rng = rng_of_pass(self.seed, n_pass)
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
        rng = rng_of_pass(self.seed, n_pass)
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
            for stage, epochs in epochs_by_stage(stages).items():
                found.setdefault(stage, []).append(np.stack([np.full_like(epochs, index), epochs], axis=1))
        if not found:
            raise HypnographError("the training nights have no scored epoch")
        return {stage: np.concatenate(places) for stage, places in sorted(found.items())}


def _batches(windows: Sequence[Window], batch: int, *, whole: bool = False) -> Iterator[Step]:
    last = len(windows) - len(windows) % batch if whole else len(windows)
    for first in range(0, last, batch):
        yield Step(tuple(windows[first : first + batch]))
