"""Beam search: the most likely stage sequences under a stager and any model of the next stage, however long its memory.

The beam holds the best beginnings of the night. What it says about an epoch is how the beginnings that are alive some
epochs later vote, each by its probability: so later epochs count, too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.sequences.next_stage import NextStageModel
from hypnograph.sequences.smoothing import FLOOR
from hypnograph.stages import StageScheme

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BeamDecoder:
    """Beam search with a model of the next stage.

    Parameters
    ----------
    model
        The model; its `targets_ahead` is 1.
    weight
        Its log-probabilities count so much; 0 leaves the stager's stages as they are.
    width
        How many beginnings of the night are kept.
    lag
        After so many epochs the beam says what it thinks of an epoch.
    prior : float array, shape (n_stages,), optional
        How often the stager expects each stage. The evidence is divided by it, to the power `weight`.

    Raises
    ------
    HypnographError
        If a number is out of its range, or the model looks further ahead than the next epoch.
    """

    model: NextStageModel
    weight: float = 0.3
    width: int = 32
    lag: int = 20
    prior: Floats | None = None
    name: str = "beam"

    def __post_init__(self) -> None:
        if self.weight < 0 or self.width < 1 or self.lag < 0:
            raise HypnographError(f"weight {self.weight}, width {self.width}, lag {self.lag}: the least are 0, 1 and 0")
        if self.model.targets_ahead != 1:
            raise HypnographError(
                f"{self.model.name or 'this model'} says what comes {self.model.targets_ahead} epochs ahead; a beam "
                "needs one that says what comes next (targets_ahead 1)"
            )

    @property
    def scheme(self) -> StageScheme:
        return self.model.scheme

    def probabilities(self, given: Floats) -> Floats:
        """Return what the beam says about each epoch, shape (n_epochs, n_stages); see `decode`."""
        known = ~np.isnan(given[:, 0])
        evidence = np.where(known[:, None], np.log(np.maximum(given, FLOOR)), 0.0)
        if self.prior is not None:
            evidence[known] -= self.weight * np.log(self.prior)
        return np.where(known[:, None], self._search(evidence), np.nan)

    def _search(self, evidence: Floats) -> Floats:
        n, n_stages = evidence.shape
        reader = self.model.reader(1)
        reader.select(np.zeros(n_stages, dtype=np.intp))
        history = np.zeros((n_stages, n), dtype=np.int8)
        history[:, 0] = stages = np.arange(n_stages)
        score, found = evidence[0], np.zeros((n, n_stages))
        for t in range(1, n):
            going_on = score[:, None] + self.weight * reader.read(stages) + evidence[t]
            kept = np.argsort(-going_on, axis=None, kind="stable")[: self.width]
            parents, stages = np.divmod(kept, n_stages)
            score = going_on.ravel()[kept]
            reader.select(parents)
            history = history[parents]
            history[:, t] = stages
            if t >= self.lag:
                found[t - self.lag] = _vote(history[:, t - self.lag], score, n_stages)
        for t in range(max(0, n - self.lag), n):
            found[t] = _vote(history[:, t], score, n_stages)
        return found


def _vote(stages: NDArray[np.int8], score: Floats, n_stages: int) -> Floats:
    shares = np.bincount(stages, np.exp(score - score.max()), minlength=n_stages)
    return np.asarray(shares / shares.sum())
