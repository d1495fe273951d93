"""Calibration: whether what a stager holds for 80 % likely is right 80 % of the time, and making it so.

Reliability
-----------
Epochs are sorted into bins by their probability; in each bin the mean probability is compared with how often it came
true. The expected calibration error is the mean gap over bins, weighted by their epochs (Naeini et al. 2015, doi
10.1609/aaai.v29i1.9602). It is never negative, so chance alone makes it larger than 0: compare it with the gaps of the
curve. Brier's score Σ_k (p_k − y_k)² (Brier 1950, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2) and the negative
log-likelihood −ln p of the reference stage (nats) judge calibration and sharpness together.

Scaling
-------
With z = ln p, the calibrated probabilities are softmax(scale · z + offset): one scale for all stages ("temperature",
which changes no stage), or a scale and an offset for each ("vector", which can mend a stager whose training had other
shares of the stages) (Guo et al. 2017, arXiv 1706.04599). They are fitted by maximum likelihood on given nights, and
hold for nights like these, staged by this stager.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.evaluation.staged_nights import (
    MAX_FOLDS,
    N_BOOTSTRAP,
    SHARE_OF_NIGHTS,
    Compared,
    Fold,
    StagedNight,
    by_subject,
    compared,
    estimate,
    leave_subjects_out,
    pooled,
    scheme_of,
    subject_quantile,
)
from hypnograph.evaluation.tables import Estimate
from hypnograph.hypnogram import Hypnodensity
from hypnograph.stages import SCHEMES, StageScheme
from hypnograph.whole_file import check_output, whole_file

METHODS = ("temperature", "vector")
N_BINS = 15

_FORMAT, _VERSION = "hypnograph calibration", 1
# A stager that rules a stage out has not seen every night.
_FLOOR = 1e-6
_SMALLEST = float(np.finfo(np.float64).eps)
# A fit on few epochs would otherwise run away to certainty.
_SCALES, _OFFSETS = (0.01, 100.0), (-20.0, 20.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what had some probability came true, bin by bin; bins without an epoch are left out.

    Parameters
    ----------
    probability : float array, shape (n_bins,)
        Mean probability of the bin's epochs.
    frequency : float array, shape (n_bins,)
        The share of them in which it came true.
    n_epochs : int array, shape (n_bins,)
        How many they are.
    """

    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]
    n_epochs: NDArray[np.int64]

    @property
    def expected_calibration_error(self) -> float:
        """The mean gap between probability and frequency, weighted by epochs."""
        return float(np.average(np.abs(self.frequency - self.probability), weights=self.n_epochs))


def reliability(
    nights: Sequence[StagedNight], *, stage: str | None = None, n_bins: int = N_BINS, equal_mass: bool = False
) -> Reliability:
    """Compare probabilities with what came true.

    Parameters
    ----------
    nights
        With their references.
    stage
        Label of a stage, whose probability in all epochs is judged; None: that of each epoch's most probable stage.
    n_bins
        Bins from 0 to 1.
    equal_mass
        Bins of equally many epochs, instead of equal width.

    Raises
    ------
    HypnographError
        If there is nothing to compare, the stage is unknown or there is no bin.
    """
    probability, came_true = _said(pooled(nights), _index(stage, scheme_of(nights)))
    sums = _bin_sums(probability, came_true, _edges(probability, n_bins, equal_mass))
    used = sums[sums[:, 0] > 0]
    return Reliability(used[:, 1] / used[:, 0], used[:, 2] / used[:, 0], used[:, 0].astype(np.int64))


def _index(stage: str | None, scheme: StageScheme) -> int | None:
    if stage is None:
        return None
    if stage not in scheme.labels:
        raise HypnographError(f"{stage!r} is not a stage of scheme {scheme.name}: {', '.join(scheme.labels)}")
    return scheme.labels.index(stage)


def _said(epochs: Compared, stage: int | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability that is judged, and whether it came true."""
    if stage is None:
        return epochs.probabilities.max(axis=1), epochs.predicted == epochs.stages
    return epochs.probabilities[:, stage], epochs.stages == stage


def _edges(probability: NDArray[np.float64], n_bins: int, equal_mass: bool) -> NDArray[np.float64]:
    """Return the limits between bins, shape (n_bins − 1,)."""
    if n_bins < 1:
        raise HypnographError(f"n_bins is {n_bins}; there must be 1 bin or more")
    inner = np.linspace(0, 1, n_bins + 1)[1:-1]
    return np.unique(np.quantile(probability, inner)) if equal_mass else inner


def _bin_sums(
    probability: NDArray[np.float64], came_true: NDArray[np.bool_], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return for each bin its epochs, the sum of their probabilities, and how many came true; shape (n_bins, 3)."""
    bins = np.searchsorted(edges, probability)
    columns = (np.ones_like(probability), probability, came_true.astype(np.float64))
    return np.stack([np.bincount(bins, column, minlength=len(edges) + 1) for column in columns], axis=1)


class CertaintyScores(NamedTuple):
    """How far probabilities can be believed; each with its 95 % interval over subjects.

    Parameters
    ----------
    n_epochs, n_subjects
        What was compared.
    accuracy, confidence
        Share of epochs in which the most probable stage is the reference's; its mean probability.
    calibration_error, equal_mass_error
        Expected calibration error of the most probable stage, in bins of equal width and of equally many epochs.
    stage_error
        Mean over stages of the expected calibration error of each stage's probability, equal width.
    brier, nll
        Brier's score (0 to 2); negative log-likelihood in nats.
    """

    n_epochs: int
    n_subjects: int
    accuracy: Estimate
    confidence: Estimate
    calibration_error: Estimate
    equal_mass_error: Estimate
    stage_error: Estimate
    brier: Estimate
    nll: Estimate


def certainty_scores(
    nights: Sequence[StagedNight], *, n_bins: int = N_BINS, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0
) -> CertaintyScores:
    """Judge the probabilities of many nights; the bootstrap is over subjects.

    Raises
    ------
    HypnographError
        If there is nothing to compare.
    """
    together = pooled(nights)
    each = [pooled(own) for own in by_subject(nights).values()]
    options = {"n_bootstrap": n_bootstrap, "seed": seed}
    sums = np.array([_sums(epochs) for epochs in each])
    means = [estimate(lambda draw, i=i: draw[:, i] / draw[:, 0], sums, **options) for i in range(1, sums.shape[1])]  # type: ignore[misc]
    accuracy, confidence, brier, nll = means

    def error(stages: Sequence[int | None], *, equal_mass: bool) -> Estimate:
        edges = [_edges(_said(together, stage)[0], n_bins, equal_mass) for stage in stages]
        bins = [[_bin_sums(*_said(epochs, s), e) for s, e in zip(stages, edges, strict=True)] for epochs in each]
        return estimate(_calibration_error, np.array(bins), **options)

    return CertaintyScores(
        len(together.stages), len(each), accuracy, confidence,
        error([None], equal_mass=False), error([None], equal_mass=True),
        error(range(scheme_of(nights).n_stages), equal_mass=False), brier, nll,
    )  # fmt: skip


def _sums(epochs: Compared) -> list[float]:
    """Return how many epochs, and the sums of what is right, of confidence, of Brier's score and of −ln p."""
    certain = np.eye(epochs.probabilities.shape[1])[epochs.stages]
    of_reference = epochs.probabilities[np.arange(len(epochs.stages)), epochs.stages]
    return [
        len(epochs.stages),
        (epochs.predicted == epochs.stages).sum(),
        epochs.probabilities.max(axis=1).sum(),
        ((epochs.probabilities - certain) ** 2).sum(),
        -np.log(np.clip(of_reference, _SMALLEST, 1)).sum(),
    ]


def _calibration_error(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over curves of their error; sums of shape (n_draws, n_curves, n_bins, 3)."""
    gaps = np.abs(sums[..., 2] - sums[..., 1]).sum(axis=-1)
    return np.asarray((gaps / sums[..., 0].sum(axis=-1)).mean(axis=-1))


@dataclass(frozen=True)
class Calibration:
    """What turns a stager's probabilities into such that come true as often as they say; see the module's docstring.

    Parameters
    ----------
    method
        ``"temperature"`` or ``"vector"``.
    scheme
        The stages.
    scale, offset
        One for each stage.
    stager
        Whose probabilities it is for; empty where the nights did not say.
    n_subjects, n_nights, n_epochs
        That it was fitted on.
    error_ratios
        For each subject, for each of its nights: the errors that there were, divided by the errors that were expected,
        Σ (1 − confidence), by a calibration that was fitted without this subject. Empty for a single subject.
    """

    method: str
    scheme: StageScheme
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    stager: str = ""
    n_subjects: int = 0
    n_nights: int = 0
    n_epochs: int = 0
    error_ratios: tuple[tuple[float, ...], ...] = ()

    def apply(self, hypnodensity: Hypnodensity) -> Hypnodensity:
        """Return the calibrated hypnodensity; epochs of which nothing is known stay so.

        Raises
        ------
        HypnographError
            If it uses another scheme.
        """
        if hypnodensity.scheme != self.scheme:
            raise HypnographError(
                f"the calibration is for scheme {self.scheme.name}, the hypnodensity uses {hypnodensity.scheme.name}"
            )
        calibrated = _scaled(_logarithms(hypnodensity.probabilities), np.array(self.scale), np.array(self.offset))
        return replace(hypnodensity, probabilities=calibrated)

    def doubt_factor(self, share_of_nights: float = SHARE_OF_NIGHTS) -> float:
        """Return how many times as many errors as expected a new night has at most, in this share of nights.

        Infinite where the subjects are too few to say: 0.9 needs 9 (`staged_nights.subject_quantile`).
        """
        return subject_quantile([np.array(ratios) for ratios in self.error_ratios], share_of_nights)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write it as JSON.

        Raises
        ------
        HypnographError
            If the file exists, unless `overwrite`.
        """
        check_output(path, overwrite=overwrite)
        content = {"format": _FORMAT, "version": _VERSION, **asdict(self), "scheme": self.scheme.name}
        with whole_file(path) as partial:
            partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Read what `save` wrote.

        Raises
        ------
        UnreadableFileError
            If the file is no calibration, or damaged.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != _FORMAT or content.pop("version") != _VERSION:
                raise UnreadableFileError(f"{path.name}: not a calibration, or of a version that is not known")
            scheme = SCHEMES[content.pop("scheme")]
            scale, offset = (tuple(map(float, content.pop(name))) for name in ("scale", "offset"))
            ratios = tuple(tuple(map(float, subject)) for subject in content.pop("error_ratios"))
            calibration = cls(scheme=scheme, scale=scale, offset=offset, error_ratios=ratios, **content)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, HypnographError):
                raise
            raise UnreadableFileError(f"{path.name}: not a calibration, or damaged: {error!r}") from error
        if not (len(scale) == len(offset) == scheme.n_stages and np.isfinite([*scale, *offset]).all()):
            raise UnreadableFileError(f"{path.name}: scheme {scheme.name} needs {scheme.n_stages} finite numbers each")
        return calibration


def _logarithms(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(probabilities, _FLOOR)))


def _scaled(z: NDArray[np.float64], scale: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float64]:
    logits = scale * z + offset
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_calibration(
    nights: Sequence[StagedNight], *, method: str = "temperature", n_folds: int = MAX_FOLDS, seed: int = 0
) -> Calibration:
    """Fit a calibration on nights, and learn from leaving subjects out how far nights differ from it.

    Parameters
    ----------
    nights
        Of one stager.
    method
        One of `METHODS`.
    n_folds, seed
        See `leave_subjects_out`; 0: only fit, and leave `Calibration.error_ratios` empty.

    Raises
    ------
    HypnographError
        If there is nothing to compare, the nights are of several stagers or schemes, or "vector" lacks a stage.
    """
    fitted = _fit(nights, method)
    if not n_folds or len(by_subject(nights)) < 2:
        return fitted
    ratios: dict[str, list[float]] = {}
    for night in cross_fitted(nights, method=method, n_folds=n_folds, seed=seed):
        epochs = compared(night)
        if len(epochs.stages):
            expected = (1 - epochs.probabilities.max(axis=1)).sum()
            errors = (epochs.predicted != epochs.stages).sum()
            ratios.setdefault(night.subject, []).append(float(errors / max(expected, _FLOOR)))
    return replace(fitted, error_ratios=tuple(tuple(values) for values in ratios.values()))


def calibrated_folds(
    nights: Sequence[StagedNight], *, method: str = "temperature", n_folds: int = MAX_FOLDS, seed: int = 0
) -> Iterator[Fold]:
    """Yield `leave_subjects_out` with all nights calibrated on those of the other subjects.

    Raises
    ------
    HypnographError
        If there are fewer than two subjects.
    """
    for rest, left_out in leave_subjects_out(nights, n_folds=n_folds, seed=seed):
        apply = _fit(rest, method).apply
        yield Fold(*([n._replace(hypnodensity=apply(n.hypnodensity)) for n in part] for part in (rest, left_out)))


def cross_fitted(
    nights: Sequence[StagedNight], *, method: str = "temperature", n_folds: int = MAX_FOLDS, seed: int = 0
) -> list[StagedNight]:
    """Return the nights with probabilities calibrated on the nights of other subjects, fold after fold.

    Raises
    ------
    HypnographError
        If there are fewer than two subjects.
    """
    folds = calibrated_folds(nights, method=method, n_folds=n_folds, seed=seed)
    return [night for fold in folds for night in fold.left_out]


def _fit(nights: Sequence[StagedNight], method: str) -> Calibration:
    from scipy.optimize import minimize

    epochs, scheme = pooled(nights), scheme_of(nights)
    stager = _check_fit(nights, epochs, method)
    n, shared = scheme.n_stages, method == "temperature"
    z, own = _logarithms(epochs.probabilities), (np.arange(len(epochs.stages)), epochs.stages)

    def unpacked(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (np.full(n, values[0]), np.zeros(n)) if shared else (values[:n], values[n:])

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p = _scaled(z, *unpacked(values))
        nll = -np.log(np.maximum(p[own], _SMALLEST)).mean()
        p[own] -= 1
        slope = (p * z).mean(axis=0)
        return float(nll), np.array([slope.sum()]) if shared else np.concatenate([slope, p.mean(axis=0)])

    start = np.ones(1) if shared else np.concatenate([np.ones(n), np.zeros(n)])
    bounds = [_SCALES] if shared else [_SCALES] * n + [_OFFSETS] * n
    scale, offset = unpacked(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)
    centred = offset - offset.mean()  # a number added to all changes nothing
    seen = (len(by_subject(nights)), len(nights), len(epochs.stages))
    return Calibration(method, scheme, tuple(scale.tolist()), tuple(centred.tolist()), stager, *seen)


def _check_fit(nights: Sequence[StagedNight], epochs: Compared, method: str) -> str:
    """Refuse what cannot be fitted; return the stager."""
    if method not in METHODS:
        raise HypnographError(f"{method!r} is not one of {', '.join(METHODS)}")
    stagers = {night.hypnodensity.scorer for night in nights} - {""}
    if len(stagers) > 1:
        raise HypnographError(f"the nights are of several stagers ({', '.join(sorted(stagers))}); calibrate each alone")
    labels = scheme_of(nights).labels
    missing = [label for i, label in enumerate(labels) if not (epochs.stages == i).any()]
    if method == "vector" and missing:
        raise HypnographError(f"no epoch is {', '.join(missing)} in the references; use the method temperature")
    return "".join(stagers)
