"""Is one stager better than another: differences within subjects, their intervals and signed-rank tests.

The unit is the subject: nights of one person, and epochs of one night, are not independent. Each subject counts once,
by the mean over its nights. The interval is a 95 % percentile bootstrap of the mean difference over subjects (Efron
1979, doi 10.1214/aos/1176344552), p is that of Wilcoxon's signed-rank test (1945, doi 10.2307/3001968), two-sided, and
p over all pairs of stagers is corrected by Holm's rule (1979, Scandinavian Journal of Statistics 6:65-70), for each
metric by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hypnograph.evaluation.agreement import none_if_nan
from hypnograph.evaluation.tables import Evaluation

METRICS: Final = ("macro_f1", "cohen_kappa")
FEWEST_SUBJECTS: Final = 6
"""With 5 subjects the smallest p of the signed-rank test is 2 / 2⁵ = 0.06: nothing could be shown."""


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Two stagers and one metric.

    Parameters
    ----------
    first, second
        Names.
    metric
        ``"macro_f1"`` or ``"cohen_kappa"``.
    difference, low, high
        Mean over subjects of first minus second, and its 95 % interval; NaN where there are too few subjects.
    n_subjects
        Subjects for whom both are defined.
    p, p_holm
        Of the signed-rank test, and corrected for all pairs; None: there are fewer than 6 subjects.
    """

    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    n_subjects: int
    p: float | None
    p_holm: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = asdict(self)
        return values | {name: none_if_nan(values[name]) for name in ("difference", "low", "high")}


def subject_means(evaluation: Evaluation, metric: str) -> dict[str, float]:
    """Return the mean of a metric over the nights of each subject; subjects for whom it is undefined are left out."""
    values: dict[str, list[float]] = {}
    for night in evaluation.nights:
        value = float(getattr(night.agreement, metric))
        if not np.isnan(value):
            values.setdefault(night.subject, []).append(value)
    return {subject: float(np.mean(of_it)) for subject, of_it in sorted(values.items())}


def paired_tests(
    evaluations: Mapping[str, Evaluation], *, n_bootstrap: int = 2000, seed: int = 0
) -> tuple[PairedTest, ...]:
    """Compare each pair of stagers.

    Parameters
    ----------
    evaluations
        By name, of the same nights.
    n_bootstrap, seed
        Draws of subjects, and their seed.

    Returns
    -------
    tuple of PairedTest
        All pairs by macro F1, then all by kappa.
    """
    tests: list[PairedTest] = []
    for metric in METRICS:
        means = {name: subject_means(evaluation, metric) for name, evaluation in evaluations.items()}
        pairs = [_pair(*names, metric, means, n_bootstrap, seed) for names in combinations(evaluations, 2)]
        corrected = holm([pair.p for pair in pairs])
        tests += [_with_holm(pair, p) for pair, p in zip(pairs, corrected, strict=True)]
    return tuple(tests)


def _pair(  # noqa: PLR0917
    first: str, second: str, metric: str, means: Mapping[str, Mapping[str, float]], n_bootstrap: int, seed: int
) -> PairedTest:
    both = [subject for subject in means[first] if subject in means[second]]
    differences = np.array([means[first][subject] - means[second][subject] for subject in both])
    low, high = _interval(differences, n_bootstrap, seed)
    return PairedTest(
        first=first,
        second=second,
        metric=metric,
        difference=float(differences.mean()) if both else np.nan,
        low=low,
        high=high,
        n_subjects=len(both),
        p=signed_rank_p(differences),
    )


def _with_holm(pair: PairedTest, p_holm: float | None) -> PairedTest:
    return PairedTest(**asdict(pair) | {"p_holm": p_holm})


def _interval(differences: NDArray[np.float64], n_bootstrap: int, seed: int) -> tuple[float, float]:
    n = len(differences)
    if n < 2:
        return np.nan, np.nan
    drawn = np.random.default_rng(seed).integers(0, n, (n_bootstrap, n))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def signed_rank_p(differences: NDArray[np.float64]) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test; None for fewer than 6, 1 where nothing differs."""
    if len(differences) < FEWEST_SUBJECTS:
        return None
    if not differences.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number by Holm's rule; None stays None and does not count."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return corrected
