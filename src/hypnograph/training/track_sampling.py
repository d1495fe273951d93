"""Windows that go on from one step to the next: whole nights, or parts of one night, side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hypnograph.training.recipes import Sampling
from hypnograph.training.sampled_windows import Nights, Step, Window, rng_of_pass


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
        rng = rng_of_pass(self.seed, n_pass)
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
        rng = rng_of_pass(self.seed, n_pass)
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
