"""How far scorers agree about a night's sleep statistics: intraclass correlation, and bias with limits of agreement.

- ICC(2, 1): two-way random effects, absolute agreement, single scorer (Shrout and Fleiss 1979, doi
  10.1037/0033-2909.86.2.420; interval after McGraw and Wong 1996, doi 10.1037/1082-989X.1.1.30). The share of the
  variance between single scores that is due to the nights. Low where nights hardly differ, however well people agree.
- Bias and limits of agreement (Bland and Altman 1986, doi 10.1016/S0140-6736(86)90837-8; intervals after Bland and
  Altman 1999, doi 10.1177/096228029900800204): mean difference, and mean ± 1.96 standard deviations.

Both take the nights for independent: give one night of each subject, or read the intervals as too narrow. A night that
does not define a statistic for somebody (no REM, no REM latency) is left out of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.consensus import ScoredNight
from hypnograph.evaluation.sleep_statistics import sleep_statistics
from hypnograph.evaluation.tables import Estimate, NightPair
from hypnograph.hypnogram import Hypnogram

STATISTICS = (
    *("TST_min", "SE_percent", "SOL_min", "REM_latency_min", "WASO_min"),
    *("N1_min", "N2_min", "N3_min", "REM_min", "awakenings"),
)
"""What is compared where nothing else is asked for."""


class BlandAltman(NamedTuple):
    """Differences, predicted minus reference: each number with its 95 % interval.

    Parameters
    ----------
    bias
        Their mean.
    lower, upper
        The limits between which 95 % of them lie, if they are normally distributed.
    sd
        Their standard deviation.
    n_nights
        How many.
    """

    bias: Estimate
    lower: Estimate
    upper: Estimate
    sd: float
    n_nights: int


def icc(values: NDArray[np.float64]) -> Estimate:
    """Return ICC(2, 1) with its 95 % interval.

    Parameters
    ----------
    values : float array, shape (n_nights, n_scorers)
        A night with a NaN is left out.

    Returns
    -------
    Estimate
        NaN where nothing varies.

    Raises
    ------
    HypnographError
        If fewer than two nights or two scorers are left.
    """
    from scipy.stats import f as f_distribution

    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values).any(axis=1)] if values.ndim == 2 else values
    if values.ndim != 2 or min(values.shape) < 2:
        raise HypnographError(f"values have shape {values.shape}; an ICC needs two nights and two scorers or more")
    n, k = values.shape
    nights, scorers = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    between_nights = k * float(np.var(nights, ddof=1))
    between_scorers = n * float(np.var(scorers, ddof=1))
    residual = values - nights - scorers + values.mean()
    error = float((residual**2).sum()) / ((n - 1) * (k - 1))
    total = between_nights + (k - 1) * error + k * (between_scorers - error) / n
    if total < 1e-12:
        return Estimate(np.nan, np.nan, np.nan)
    value = (between_nights - error) / total
    if error < 1e-12 * between_nights and between_scorers < 1e-12 * between_nights:
        return Estimate(value, value, value)
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * between_scorers + b * error) ** 2 / (
        (a * between_scorers) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    spread = k * between_scorers + (k * n - k - n) * error
    above, below = f_distribution.ppf(0.975, n - 1, freedom), f_distribution.ppf(0.975, freedom, n - 1)
    low = n * (between_nights - above * error) / (above * spread + n * between_nights)
    high = n * (below * between_nights - error) / (spread + n * below * between_nights)
    return Estimate(value, float(low), float(high))


def bland_altman(reference: NDArray[np.float64], predicted: NDArray[np.float64]) -> BlandAltman:
    """Return bias and limits of agreement of two measurements of the same nights.

    Parameters
    ----------
    reference, predicted : float array, shape (n_nights,)
        A night with a NaN on either side is left out.

    Raises
    ------
    HypnographError
        If they differ in length, or fewer than three nights are left.
    """
    from scipy.stats import t as t_distribution

    reference, predicted = np.asarray(reference, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if reference.shape != predicted.shape or reference.ndim != 1:
        raise HypnographError(f"{reference.shape} reference values and {predicted.shape} predicted ones; give pairs")
    differences = predicted - reference
    differences = differences[~np.isnan(differences)]
    n = len(differences)
    if n < 3:
        raise HypnographError(f"{n} nights have the statistic on both sides; limits of agreement need 3 or more")
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    t = float(t_distribution.ppf(0.975, n - 1))
    around_bias, around_limit = t * sd / np.sqrt(n), t * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    lower, upper = (Estimate(at, at - around_limit, at + around_limit) for at in (bias - 1.96 * sd, bias + 1.96 * sd))
    return BlandAltman(Estimate(bias, bias - around_bias, bias + around_bias), lower, upper, sd, n)


def statistics_icc(nights: Sequence[ScoredNight], statistics: Sequence[str] = STATISTICS) -> dict[str, Estimate]:
    """Return the ICC of each sleep statistic among the people who scored; NaN where too few nights define it.

    Parameters
    ----------
    nights
        All scored by the same people.
    statistics
        Names of `SleepStatistics.as_row`.

    Raises
    ------
    HypnographError
        If the nights differ in their scorers, or a statistic is not known.
    """
    names = {tuple(sorted(night.scorings)) for night in nights}
    if len(names) != 1:
        raise HypnographError(f"the nights have {len(names)} different teams of scorers; an ICC needs one team")
    tables = [[_row(night.scorings[name]) for name in sorted(night.scorings)] for night in nights]
    found = {}
    for statistic in _known(statistics, tables[0][0]):
        values = np.array([[row[statistic] for row in table] for table in tables], dtype=np.float64)
        enough = (~np.isnan(values).any(axis=1)).sum() > 1
        found[statistic] = icc(values) if enough else Estimate(np.nan, np.nan, np.nan)
    return found


def statistics_bias(pairs: Sequence[NightPair], statistics: Sequence[str] = STATISTICS) -> dict[str, BlandAltman]:
    """Return bias and limits of agreement of each sleep statistic that three nights or more define.

    Parameters
    ----------
    pairs
        Of several pairs of one night (see `consensus.leave_one_out`) the mean of the references counts.
    statistics
        Names of `SleepStatistics.as_row`.

    Raises
    ------
    HypnographError
        If there is no pair, or a statistic is not known.
    """
    if not pairs:
        raise HypnographError("there is no night to compare")
    groups: dict[str, list[NightPair]] = {}
    for pair in pairs:
        groups.setdefault(pair.name, []).append(pair)
    references = [[_row(pair.reference) for pair in group] for group in groups.values()]
    predicted = [_row(group[0].predicted) for group in groups.values()]
    found = {}
    for statistic in _known(statistics, predicted[0]):
        theirs = np.array([np.mean([row[statistic] for row in group]) for group in references])
        ours = np.array([row[statistic] for row in predicted], dtype=np.float64)
        if (~np.isnan(ours - theirs)).sum() >= 3:
            found[statistic] = bland_altman(theirs, ours)
    return found


def _row(hypnogram: Hypnogram) -> dict[str, float]:
    return sleep_statistics(hypnogram).as_row()


def _known(statistics: Sequence[str], row: dict[str, float]) -> Sequence[str]:
    if unknown := [name for name in statistics if name not in row]:
        raise HypnographError(f"{unknown[0]!r} is not a sleep statistic of this scheme: {', '.join(row)}")
    return statistics
