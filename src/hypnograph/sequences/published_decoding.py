"""The decoding rule of SleepGPT (github.com/yuty2009/sleepgpt, Apache-2.0), exactly, without a pass for each epoch.

From the left, each epoch takes the stage that is best by (1 − weight) · log p + weight · log q: p is the stager's, q
the language model's, given the last `context` stages that were chosen. The first five epochs stay as staged.

The official loop runs the model once for each epoch. Here the stages of the next epochs are guessed to be the stager's,
and the model runs once for all of them. Up to the first guess that is wrong, it is what the loop would have done.

Differs from the official code, unless asked for
------------------------------------------------
- The published models say what comes two epochs ahead; the official code takes it for the next: `one_ahead`.
- Probabilities are given, and their logarithm is taken. The official code for YASA takes a softmax of probabilities,
  which flattens them: `double_softmax`.
- A night may be shorter than five epochs, and hold epochs of which nothing is known.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.sequences.language_model import StageLanguageModel
from hypnograph.sequences.next_stage import filled
from hypnograph.stages import StageScheme
from hypnograph.windows import log_softmax

UNTOUCHED = 5
BLOCK = 16
"""Epochs that are guessed together."""
LEAST = 1e-30
"""Below any softmax in float32; the logarithm of a smaller probability is that of this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PublishedDecoder:
    """Greedy fusion of a stager and a stage language model.

    Parameters
    ----------
    model
        The language model.
    weight
        α: how much of the decision is the language model's, 0 to 1.
    context
        n: how many epochs it is given at most.
    untouched
        So many epochs at the beginning stay as staged.
    double_softmax
        Take the softmax of probabilities, as the official code for YASA does.
    one_ahead
        Take what the model says about t + `targets_ahead` for t + 1, as the official code does.

    Raises
    ------
    HypnographError
        If a number is out of its range.
    """

    model: StageLanguageModel
    weight: float = 0.1
    context: int = 30
    untouched: int = UNTOUCHED
    double_softmax: bool = False
    one_ahead: bool = True
    name: str = "published"

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise HypnographError(f"weight is {self.weight}; it is a share, 0 to 1")
        if not 1 <= self.context <= self.model.context:
            raise HypnographError(f"context is {self.context} epochs; this model takes 1 to {self.model.context}")
        if self.untouched < 1:
            raise HypnographError(f"untouched is {self.untouched}; the model needs at least 1 epoch before the first")

    @property
    def scheme(self) -> StageScheme:
        return self.model.scheme

    def probabilities(self, given: Floats) -> Floats:
        """Return the fused probabilities, shape (n_epochs, n_stages); see `decode`."""
        known = ~np.isnan(given[:, 0])
        usable = np.where(known[:, None], given, 1 / given.shape[1])
        evidence = log_softmax(usable) if self.double_softmax else np.log(np.maximum(usable, LEAST))
        fused = np.exp(log_softmax(self._fused(evidence, known)))
        fused[: self.untouched] = usable[: self.untouched]
        return np.where(known[:, None], fused, np.nan)

    def _fused(self, evidence: Floats, known: NDArray[np.bool_]) -> Floats:
        """Return the scores in which the greedy choice is the largest of each row."""
        model = replace(self.model, context=self.context)
        behind = 1 if self.one_ahead else model.targets_ahead
        fused = evidence.copy()
        chosen = filled(np.where(known, evidence.argmax(axis=1), -1), self.scheme)
        t = max(self.untouched, behind)
        while t < len(chosen):
            end = min(t + BLOCK, len(chosen))
            oldest = max(0, t - behind - self.context + 1)
            expected = model.log_probabilities(chosen[oldest : end - behind])[t - behind - oldest :]
            fused[t:end] = (1 - self.weight) * evidence[t:end] + self.weight * expected
            said = np.where(known[t:end], fused[t:end].argmax(axis=1), -1)
            better = filled(np.concatenate([chosen[t - 1 : t], said]), self.scheme)[1:]
            wrong = np.flatnonzero(better != chosen[t:end])
            # Up to the first wrong guess, and with it, the loop would have chosen the same.
            end = t + int(wrong[0]) + 1 if wrong.size else end
            chosen[t:end] = better[: end - t]
            t = end
        return fused
