"""Nights that a language model of stages dreams up, and how they compare with real ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.sleep_statistics import sleep_statistics
from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.next_stage import NextStageModel
from hypnograph.stages import Stage, StageScheme

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = (
    "TST_min", "WASO_min", "SE_percent", "SOL_min", "REM_latency_min", "N1_percent", "N2_percent", "N3_percent",
    "REM_percent", "awakenings", "bouts", "stage_shifts_per_h", "cycles",
)  # fmt: skip
"""Of `compare_with_real`; those that the scheme has."""


def sample_nights(
    model: NextStageModel,
    n_epochs: int | Sequence[int],
    *,
    n_nights: int | None = None,
    first_stage: int = Stage.W,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[NDArray[np.int8]]:
    """Draw nights, stage by stage.

    Parameters
    ----------
    model
        Of the next epoch.
    n_epochs
        How long the nights are: one number for all, or one for each.
    n_nights
        How many, where `n_epochs` is one number; 1 if not given.
    first_stage
        With which each night begins.
    temperature
        Above 1 the draws are wilder than the model, below 1 tamer.
    seed
        Of the draws.

    Returns
    -------
    list of int8 arrays, shape (n_epochs,) each

    Raises
    ------
    HypnographError
        If the model predicts anything but the next epoch, or a number is impossible.
    """
    lengths = [n_epochs] * (1 if n_nights is None else n_nights) if isinstance(n_epochs, int) else list(n_epochs)
    _check(model, lengths, first_stage, temperature)
    if not isinstance(n_epochs, int) and n_nights not in (None, len(lengths)):
        raise HypnographError(f"n_nights is {n_nights}, but there are {len(lengths)} lengths")
    random, reader = np.random.default_rng(seed), model.reader(len(lengths))
    nights = np.empty((max(lengths), len(lengths)), dtype=np.int8)
    nights[0] = first_stage
    for t in range(1, len(nights)):
        nights[t] = _draw(reader.read(nights[t - 1].astype(np.intp)), temperature, random)
    return [nights[:length, i].copy() for i, length in enumerate(lengths)]


def compare_with_real(
    sampled: Sequence[NDArray[Any]], real: Sequence[NDArray[Any]], scheme: StageScheme
) -> "pd.DataFrame":
    """Compare the sleep statistics of sampled nights with those of real ones.

    Nights of the same lengths make a fair comparison: time in bed is the length of a night here.

    Parameters
    ----------
    sampled, real
        The stages of nights.
    scheme
        Of both.

    Returns
    -------
    DataFrame
        A row for each statistic: the quartiles of both, and ``KS``, the largest distance between the two cumulative
        distributions (Kolmogorov and Smirnov; 0 the same, 1 apart). A night that does not define a statistic (REM
        latency without REM) is left out of it.

    Raises
    ------
    HypnographError
        If either has no night.
    """
    import pandas as pd
    from scipy.stats import ks_2samp

    if not sampled or not real:
        raise HypnographError(f"{len(sampled)} sampled and {len(real)} real nights; a comparison needs both")
    table = quartiles(real, scheme).add_prefix("real ").join(quartiles(sampled, scheme).add_prefix("sampled "))
    both = [_night_statistics(nights, scheme) for nights in (real, sampled)]
    distances = {}
    for name in table.index:
        of_real, of_sampled = (statistics[name].dropna() for statistics in both)
        defined = len(of_real) > 0 and len(of_sampled) > 0
        distances[name] = float(ks_2samp(of_real, of_sampled).statistic) if defined else np.nan
    return table.assign(KS=pd.Series(distances))


def quartiles(nights: Sequence[NDArray[Any]], scheme: StageScheme) -> "pd.DataFrame":
    """Return the quartiles of the sleep statistics of nights: a row for each statistic.

    Parameters
    ----------
    nights
        Their stages.
    scheme
        Of the stages.
    """
    table = _night_statistics(nights, scheme).quantile([0.25, 0.5, 0.75]).T
    return table.set_axis(["25 %", "median", "75 %"], axis="columns")


def _check(model: NextStageModel, lengths: Sequence[int], first_stage: int, temperature: float) -> None:
    if model.targets_ahead != 1:
        raise HypnographError(
            f"{model.name or 'this model'} predicts the stage {model.targets_ahead} epochs ahead; nights are sampled "
            "from a model of the next epoch"
        )
    if not lengths or min(lengths) < 1:
        raise HypnographError(f"{len(lengths)} nights of {min(lengths, default=0)} epochs or more; sample at least one")
    if not temperature > 0:
        raise HypnographError(f"temperature is {temperature}; it must be above 0")
    if not 0 <= first_stage < model.scheme.n_stages:
        raise HypnographError(
            f"first_stage is {first_stage}; scheme {model.scheme.name} has 0 to {model.scheme.n_stages - 1}"
        )


def _draw(log_probabilities: NDArray[np.float64], temperature: float, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw a stage from each row by the inverse of its cumulative distribution."""
    scaled = log_probabilities / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True)).cumsum(axis=1)
    return np.asarray((weights < random.random((len(weights), 1)) * weights[:, -1:]).sum(axis=1))


def _night_statistics(nights: Sequence[NDArray[Any]], scheme: StageScheme) -> "pd.DataFrame":
    """Return a row for each night, and a column for each of `STATISTICS` that the scheme has."""
    import pandas as pd

    rows = []
    for stages in nights:
        hypnogram = Hypnogram(stages, scheme=scheme)
        bouts = sum(run.stage >= 0 for run in hypnogram.runs())
        rows.append(sleep_statistics(hypnogram).as_row() | {"bouts": float(bouts)})
    table = pd.DataFrame(rows, dtype=float)
    return table[[name for name in STATISTICS if name in table]].rename_axis("statistic", axis="columns")
