"""From a plan of windows to arrays: what a network is given in a step, and in which order, whoever loads it.

Threads read, shift and augment ahead of the network; each window is augmented by a generator of its own, so the arrays
do not depend on how many threads there are, or on how many processes share a step.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.training.augmentation import Augmentation, augment
from hypnograph.training.keeping import Keeper
from hypnograph.training.sampled_windows import Nights, Sampler, Step, Window

Floats = NDArray[np.float32]
Targets = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """A step as arrays.

    Parameters
    ----------
    signals : float32 array, shape (window, context, channel, sample)
        Prepared; zeros where a window is padded.
    targets : array, shape (window, context) or (window, context, stage)
        Stages (int64, −1 unscored), or probabilities (float32, NaN unscored).
    all_targets
        Those of the whole step, where several processes share it.
    goes_on
        Whether each window follows the one at its place in the batch before.
    idle
        Whether no window of the step was left for this process: the one it has is all padding, and counts nowhere.
    """

    signals: Floats
    targets: Targets
    all_targets: Targets
    goes_on: bool
    idle: bool = False


def stage_targets(scorings: NDArray[np.int8], how: str, n_stages: int) -> Targets:
    """Return what a network should say of each epoch.

    Parameters
    ----------
    scorings : int8 array, shape (n_scorers, n_epochs)
        −1 is unscored.
    how
        ``"first"``: the first scorer's stages. ``"majority"``: the stage of most scorers; of equals, that of the scorer
        who comes first. ``"soft"``: each stage's share of those who scored the epoch.
    n_stages
        Of the scheme.

    Returns
    -------
    array, shape (n_epochs,) or (n_epochs, n_stages)
        int64 with −1, or float32 with NaN where nobody scored.
    """
    if how == "first":
        return np.asarray(scorings[0].astype(np.int64))
    votes = np.stack([(scorings == stage).sum(axis=0) for stage in range(n_stages)], axis=1)
    n_votes = votes.sum(axis=1)
    if how == "soft":
        with np.errstate(invalid="ignore"):
            return np.asarray((votes / n_votes[:, None]).astype(np.float32))
    best = votes == votes.max(axis=1, keepdims=True)
    stages = np.full(scorings.shape[1], -1, dtype=np.int64)
    for scoring in scorings[::-1]:  # the first scorer has the last word
        preferred = (scoring >= 0) & best[np.arange(len(stages)), np.maximum(scoring, 0)]
        stages[preferred] = scoring[preferred]
    return np.where(n_votes > 0, stages, -1)


@dataclass(frozen=True, eq=False)
class Loader:
    """Makes batches of steps.

    Parameters
    ----------
    nights
        What the sampler saw.
    targets
        Of each night, from `stage_targets`.
    keeper
        Gives the signals.
    augmentations
        Done to each window, in order.
    context
        Epochs in a window.
    seed
        Of the augmentations.
    rank, world
        Which of how many processes this is: it loads every `world`-th window of a step.
    """

    nights: Nights
    targets: Sequence[Targets]
    keeper: Keeper
    augmentations: Sequence[Augmentation]
    context: int
    seed: int
    rank: int = 0
    world: int = 1

    def batches(
        self, sampler: Sampler, n_pass: int, *, workers: int = 2, ahead: int = 4
    ) -> Generator[Batch, None, None]:
        """Yield the batches of a pass, in order.

        Parameters
        ----------
        sampler
            The plan.
        n_pass
            Which pass.
        workers
            Threads that load ahead; 0: each batch is loaded when it is asked for.
        ahead
            Batches that may wait.
        """
        steps = enumerate(sampler.steps(n_pass))
        if workers < 1:
            yield from (self.load(step, n_pass, index) for index, step in steps)
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
        try:
            waiting: deque[Future[Batch]] = deque(
                pool.submit(self.load, step, n_pass, index) for index, step in islice(steps, max(ahead, workers))
            )
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(self.load, step, n_pass, index) for index, step in islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def load(self, step: Step, n_pass: int, index: int) -> Batch:
        """Return one step as arrays.

        A process for which no window is left gets one that is all padding: networks do not take none.
        """
        own = step.windows[self.rank :: self.world]
        mine = own or (step.windows[0]._replace(n_epochs=0),)
        shape = (len(mine), self.context, len(self.nights.kinds), self.nights.epoch_samples)
        signals = np.zeros(shape, dtype=np.float32)
        for place, window in enumerate(mine):
            filled = signals[place, : window.n_epochs]  # what is padded stays zero
            self._fill(filled, window)
            if self.augmentations and window.n_epochs:
                which = self.rank + place * self.world
                rng = np.random.default_rng((self.seed, 1, n_pass, index, which))
                filled[...] = augment(filled, self.augmentations, rng)
        targets, all_targets = (np.stack([self._targets(w) for w in windows]) for windows in (mine, step.windows))
        return Batch(signals, targets, all_targets, step.goes_on, idle=not own)

    def _targets(self, window: Window) -> Targets:
        night = self.targets[window.night]
        unscored = np.nan if night.ndim == 2 else -1
        targets = np.full((self.context, *night.shape[1:]), unscored, dtype=night.dtype)
        targets[: window.n_epochs] = night[window.first : window.first + window.n_epochs]
        return targets

    def _fill(self, out: Floats, window: Window) -> None:
        """Read the signals of a window, shape (n_epochs, channel, sample)."""
        first, past_last = window.first, window.first + window.n_epochs
        if first == past_last:
            return
        for channel, (kind, name) in enumerate(zip(self.nights.kinds, window.derivations, strict=True)):
            if window.offset == 0:
                self.keeper.read(window.night, kind, name, first, past_last, out=out[:, channel])
                continue
            out[:, channel] = self._shifted(window, channel)

    def _shifted(self, window: Window, channel: int) -> Floats:
        """Return epochs whose signal is read some samples later than they are scored."""
        size, kind = self.nights.epoch_samples, self.nights.kinds[channel]
        if abs(window.offset) >= size:
            raise HypnographError(f"a shift of {window.offset} samples; epochs have {size}, and it must be less")
        before, after = int(window.offset < 0), int(window.offset > 0)
        read = np.empty((window.n_epochs + 1, size), dtype=np.float32)
        first, past_last = window.first - before, window.first + window.n_epochs + after
        self.keeper.read(window.night, kind, window.derivations[channel], first, past_last, out=read)
        begin = before * size + window.offset
        return read.reshape(-1)[begin : begin + window.n_epochs * size].reshape(window.n_epochs, size)
