"""Agreement over many nights: pooled, per night, and how sure either is.

Pooled numbers come from the sum of all nights' confusion matrices: long nights count more, and a stage that a night
lacks does no harm. Per-night numbers are means over nights; a night in which neither side has a stage counts as F1 0
for it (see `agreement`), and `Evaluation.notes` says how many there are.

Intervals are 95 % percentile intervals of a bootstrap (Efron 1979, doi 10.1214/aos/1176344552) over *subjects*: each
draw takes as many subjects as there are, with replacement, each with all nights. Nights of one person resemble each
other; a bootstrap over nights or epochs would promise too much.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import (
    METRIC_LABELS,
    OVERALL_METRICS,
    STAGE_METRICS,
    Agreement,
    agreement,
    none_if_nan,
    scores,
    stage_indices,
)
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import StageScheme

if TYPE_CHECKING:
    import pandas as pd

INTERVAL_PERCENT = 95.0
# Percentile intervals of a small sample hold the true value less often than they say.
FEW_SUBJECTS = 10


class NightPair(NamedTuple):
    """Two scorings of one night on one grid, whose night it was, and whether nobody slept it."""

    name: str
    subject: str
    reference: Hypnogram
    predicted: Hypnogram
    simulated: bool = False


class NightAgreement(NamedTuple):
    """The agreement of one night."""

    name: str
    subject: str
    agreement: Agreement


class Estimate(NamedTuple):
    """A number with its 95 % interval; NaN bounds where there are fewer than two subjects."""

    value: float
    low: float
    high: float


class NightSpread(NamedTuple):
    """Mean and standard deviation over the nights that define a metric, and the 95 % interval of the mean."""

    mean: float
    sd: float
    low: float
    high: float
    n_nights: int


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Agreement over many nights.

    Parameters
    ----------
    pooled
        Of the summed confusion matrix.
    pooled_estimates
        By metric (``macro_f1``, ``f1_N1`` …): the pooled value with its interval.
    per_night
        By metric: mean, standard deviation and interval over nights.
    nights
        Each night by itself.
    n_subjects
        Different subjects among the nights.
    n_bootstrap, seed
        Of the intervals.
    n_simulated
        Nights that nobody slept.
    """

    pooled: Agreement
    pooled_estimates: Mapping[str, Estimate]
    per_night: Mapping[str, NightSpread]
    nights: tuple[NightAgreement, ...]
    n_subjects: int
    n_bootstrap: int
    seed: int
    n_simulated: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know before trusting the numbers."""
        notes = []
        if self.n_simulated:
            notes.append(f"{self.n_simulated} of {len(self.nights)} nights are simulated: nobody slept them")
        if n_empty := sum(not night.agreement.n_epochs for night in self.nights):
            notes.append(
                f"{n_empty} of {len(self.nights)} nights have no epoch that both sides scored; they do not count"
            )
        for label in self.pooled.per_stage:
            i = self.pooled.scheme.labels.index(label)
            n_without = sum(
                not (night.agreement.confusion[i].any() or night.agreement.confusion[:, i].any())
                for night in self.nights
                if night.agreement.n_epochs
            )
            if n_without:
                notes.append(
                    f"{n_without} of {len(self.nights)} nights have no {label} in either scoring; its F1, and its "
                    f"share in macro F1, are 0 in those nights"
                )
        if self.n_subjects < 2 and len(self.nights) > 1:
            notes.append("one subject: an interval over subjects needs two or more")
        elif 1 < self.n_subjects < FEW_SUBJECTS:
            notes.append(f"{self.n_subjects} subjects: intervals from so few are too narrow")
        if self.pooled.n_predicted_unscored:
            notes.append(
                f"{self.pooled.n_predicted_unscored} epochs that the reference scored are unscored in the predicted "
                f"hypnograms and were left out"
            )
        return tuple(notes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and texts, ready for JSON; None where undefined."""

        def plain(values: Mapping[str, Estimate] | Mapping[str, NightSpread]) -> dict[str, dict[str, float | None]]:
            return {
                name: {part: none_if_nan(number) for part, number in value._asdict().items()}
                for name, value in values.items()
            }

        return {
            "n_nights": len(self.nights),
            "n_subjects": self.n_subjects,
            "n_simulated": self.n_simulated,
            "interval": {
                "percent": INTERVAL_PERCENT,
                "bootstrap_over": "subjects",
                "n_bootstrap": self.n_bootstrap,
                "seed": self.seed,
            },
            "notes": list(self.notes),
            "pooled": self.pooled.as_dict(),
            "pooled_estimates": plain(self.pooled_estimates),
            "per_night": plain(self.per_night),
            "nights": [
                {"night": night.name, "subject": night.subject, **night.agreement.as_dict()} for night in self.nights
            ],
        }

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each night: subject, then all metrics (`Agreement.as_row`)."""
        import pandas as pd

        index = pd.Index([night.name for night in self.nights], name="night")
        return pd.DataFrame([{"subject": n.subject, **n.agreement.as_row()} for n in self.nights], index=index)

    def summary_frame(self) -> "pd.DataFrame":
        """Return a row for each metric: pooled and per-night numbers with their intervals."""
        import pandas as pd

        rows = [
            (*estimate, *self.per_night[name])
            for name, estimate in self.pooled_estimates.items()
        ]  # fmt: skip
        columns = [
            "pooled",
            "pooled_low",
            "pooled_high",
            "night_mean",
            "night_sd",
            "night_low",
            "night_high",
            "n_nights",
        ]
        return pd.DataFrame(rows, columns=columns, index=pd.Index(list(self.pooled_estimates), name="metric"))

    def __repr__(self) -> str:
        lines = [f"{len(self.nights)} nights of {self.n_subjects} subjects; 95 % intervals over subjects"]
        lines.append(f"  {'':<13} pooled                 per night: mean ± sd")
        for name in OVERALL_METRICS:
            value, low, high = self.pooled_estimates[name]
            night = self.per_night[name]
            lines.append(
                f"  {METRIC_LABELS[name]:<13} {value:.3f} ({low:.3f} to {high:.3f})  "
                f"{night.mean:.3f} ± {night.sd:.3f} ({night.low:.3f} to {night.high:.3f})"
            )
        return "\n".join([*lines, repr(self.pooled), *(f"  note: {note}" for note in self.notes)])


def evaluate_nights(
    nights: Iterable[NightPair | tuple[str, str, Hypnogram, Hypnogram]],
    *,
    ignore: Sequence[str] = (),
    wake_trim_min: float | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare the two scorings of each night and of all nights together.

    Parameters
    ----------
    nights
        (name, subject, reference, predicted) of each night, both hypnograms on one grid; and whether it is simulated.
    ignore, wake_trim_min
        As in `agreement`.
    n_bootstrap
        Draws of subjects.
    seed
        Of the draws.

    Raises
    ------
    HypnographError
        If there is no night, all stages are ignored, or two nights use different schemes.
    AlignmentError
        If the two hypnograms of a night do not lie on one grid; the message names the night.
    """
    pairs = [NightPair(*night) for night in nights]
    compared = tuple(_compare(pair, ignore, wake_trim_min) for pair in pairs)
    if not compared:
        raise HypnographError("there is no night to evaluate")
    scheme = compared[0].agreement.scheme
    for night in compared:
        if night.agreement.scheme != scheme:
            raise HypnographError(
                f"night {night.name} uses scheme {night.agreement.scheme.name}, night {compared[0].name} "
                f"{scheme.name}; merge all into one (--scheme)"
            )
    matrices = np.stack([night.agreement.confusion for night in compared])
    subjects, subject_of_night = np.unique([night.subject for night in compared], return_inverse=True)
    weights = _draw_subjects(len(subjects), n_bootstrap, seed)
    counted = np.delete(np.arange(scheme.n_stages), stage_indices(ignore, scheme))
    if not counted.size:
        raise HypnographError(f"all stages of {scheme.name} are ignored; leave one to count")
    pooled = Agreement.from_confusion(
        matrices.sum(axis=0),
        scheme,
        ignore=ignore,
        n_reference_unscored=sum(night.agreement.n_reference_unscored for night in compared),
        n_predicted_unscored=sum(night.agreement.n_predicted_unscored for night in compared),
    )
    return Evaluation(
        pooled=pooled,
        pooled_estimates=_pooled_estimates(matrices, subject_of_night, weights, scheme, counted),
        per_night=_per_night(matrices, subject_of_night, weights, scheme, counted),
        nights=compared,
        n_subjects=len(subjects),
        n_bootstrap=n_bootstrap,
        seed=seed,
        n_simulated=sum(pair.simulated for pair in pairs),
    )


def _compare(night: NightPair, ignore: Sequence[str], wake_trim_min: float | None) -> NightAgreement:
    try:
        found = agreement(night.reference, night.predicted, ignore=ignore, wake_trim_min=wake_trim_min)
    except HypnographError as error:
        raise type(error)(f"night {night.name}: {error}") from error
    return NightAgreement(night.name, night.subject, found)


def _draw_subjects(n_subjects: int, n_draws: int, seed: int) -> NDArray[np.int64]:
    """Return how often each draw takes each subject, shape (n_draws, n_subjects); no draws for a single subject."""
    if n_subjects < 2:
        return np.empty((0, n_subjects), dtype=np.int64)
    shares = np.full(n_subjects, 1 / n_subjects)
    return np.random.default_rng(seed).multinomial(n_subjects, shares, size=n_draws)


def _pooled_estimates(
    matrices: NDArray[np.int64],
    subject_of_night: NDArray[np.intp],
    weights: NDArray[np.int64],
    scheme: StageScheme,
    counted: NDArray[np.intp],
) -> dict[str, Estimate]:
    by_subject = np.zeros((weights.shape[1], *matrices.shape[1:]), dtype=np.int64)
    np.add.at(by_subject, subject_of_night, matrices)
    values = _by_name(scores(matrices.sum(axis=0), counted), scheme, counted)
    draws = _by_name(scores(np.tensordot(weights, by_subject, axes=1), counted), scheme, counted)
    return {name: Estimate(float(value), *_interval(draws[name])) for name, value in values.items()}


def _per_night(
    matrices: NDArray[np.int64],
    subject_of_night: NDArray[np.intp],
    weights: NDArray[np.int64],
    scheme: StageScheme,
    counted: NDArray[np.intp],
) -> dict[str, NightSpread]:
    spreads = {}
    for name, values in _by_name(scores(matrices, counted), scheme, counted).items():
        defined = ~np.isnan(values)
        n_nights = int(defined.sum())
        sums = np.bincount(subject_of_night, np.where(defined, values, 0.0), minlength=weights.shape[1])
        counts = np.bincount(subject_of_night, defined, minlength=weights.shape[1])
        drawn = weights @ counts
        means = (weights @ sums)[drawn > 0] / drawn[drawn > 0]
        spreads[name] = NightSpread(
            float(values[defined].mean()) if n_nights else np.nan,
            float(values[defined].std(ddof=1)) if n_nights > 1 else np.nan,
            *_interval(means),
            n_nights,
        )
    return spreads


def _by_name(
    values: dict[str, NDArray[np.float64]], scheme: StageScheme, counted: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    named = {name: values[name] for name in OVERALL_METRICS}
    for name in STAGE_METRICS:
        named |= {f"{name}_{scheme.labels[stage]}": values[name][..., stage] for stage in counted}
    return named


def _interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return np.nan, np.nan
    tail = (100 - INTERVAL_PERCENT) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)
