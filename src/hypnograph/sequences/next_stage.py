"""What every language model of sleep stages offers: how likely each stage is at the next epoch, given those before."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError
from hypnograph.stages import Stage, StageScheme


class Reader(Protocol):
    """Reads several nights at once, epoch by epoch: for sampling and for decoding."""

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return how likely each stage is at the next epoch.

        Parameters
        ----------
        stages : int array, shape (night,)
            The stage of each night at this epoch; −1 is unscored.

        Returns
        -------
        float64 array, shape (night, n_stages)
            Natural logarithms.
        """
        ...

    def select(self, nights: NDArray[np.intp]) -> None:
        """Go on with copies of these nights, by their numbers: one may be taken twice, another not at all."""
        ...


class NextStageModel(Protocol):
    """p(stage at t + `targets_ahead` | stages up to t)."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def scheme(self) -> StageScheme:
        """The stages, in their order."""
        ...

    @property
    def targets_ahead(self) -> int:
        """How many epochs ahead the prediction lies: 1 but for the published SleepGPT models, which have 2."""
        ...

    def log_probabilities(self, stages: ArrayLike) -> NDArray[np.float64]:
        """Return natural logarithms, shape (n_epochs, n_stages); row t is for epoch t + `targets_ahead`.

        Parameters
        ----------
        stages : int array, shape (n_epochs,)
            Indices into the labels of the scheme; −1 is unscored.
        """
        ...

    def reader(self, n_nights: int = 1) -> Reader:
        """Return what reads so many nights side by side, from before their first epochs."""
        ...


def filled(stages: ArrayLike, scheme: StageScheme) -> NDArray[np.intp]:
    """Return stages without gaps: an unscored epoch takes the last scored stage before it, W where there is none.

    Parameters
    ----------
    stages : int array, shape (n_epochs,) or (night, n_epochs)
        Indices into the labels of the scheme; −1 is unscored.
    scheme
        The stages, in their order.

    Raises
    ------
    HypnographError
        If there are no stages, or what is given is not stages of the scheme.
    """
    given: NDArray[Any] = np.asarray(stages)
    if given.ndim not in (1, 2) or not given.size or given.dtype.kind not in "iu":
        raise HypnographError(
            f"stages are {given.dtype} of shape {given.shape}; needed are integers of shape (n_epochs,) or "
            "(night, n_epochs), at least one"
        )
    if given.min() < Stage.UNSCORED or given.max() >= scheme.n_stages:
        raise HypnographError(
            f"stages are {given.min()} to {given.max()}; those of scheme {scheme.name} are 0 to "
            f"{scheme.n_stages - 1}, and −1 is unscored"
        )
    place = np.where(given == Stage.UNSCORED, -1, np.arange(given.shape[-1]))
    last_scored = np.maximum.accumulate(place, axis=-1)
    found = np.take_along_axis(given, np.maximum(last_scored, 0), axis=-1)
    return np.where(last_scored < 0, Stage.W, found).astype(np.intp)
