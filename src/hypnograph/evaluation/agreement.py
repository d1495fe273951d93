"""How far two scorers of one night agree: a reference and a predicted hypnogram.

Conventions
-----------
Rows of a confusion matrix are the reference, columns the predicted stages, in the order of the scheme, with a row and a
column for a stage that nobody scored. An epoch that either side left unscored keeps its place and is masked; how many
were is part of the result, because a stager that leaves out the hard epochs would otherwise look good.

Metrics
-------
With n epochs of which c agree, and for stage k: t_k epochs in the reference, p_k predicted, a_k in both:

- accuracy c / n; precision a_k / p_k; recall (sensitivity) a_k / t_k; specificity (n − t_k − p_k + a_k) / (n − t_k);
  F1 2 a_k / (t_k + p_k) (Sokolova and Lapalme 2009, doi 10.1016/j.ipm.2009.03.002). Each of these four is 0 where it
  would be 0 / 0, so a stage that neither side has counts as F1 0.
- macro F1: the mean of the stages' F1. Weighted F1: the mean weighted by t_k.
- Cohen's kappa (n c − Σ t_k p_k) / (n² − Σ t_k p_k) (Cohen 1960, doi 10.1177/001316446002000104); the same for one
  stage against the rest. NaN where chance alone explains everything: both sides have one and the same stage throughout.
- MCC, Matthews' correlation for many stages (n c − Σ t_k p_k) / √((n² − Σ t_k²) (n² − Σ p_k²)) (Gorodkin 2004, doi
  10.1016/j.compbiolchem.2004.09.006); 0 where a side has one stage throughout, NaN where kappa is.
- MGm, macro-averaged G-mean: the mean over stages of √(sensitivity · specificity) (Eldele et al. 2021, doi
  10.1109/TNSRE.2021.3076234).

Without a single epoch to compare, all metrics over stages are NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import StageScheme

if TYPE_CHECKING:
    import pandas as pd

OVERALL_METRICS = ("accuracy", "macro_f1", "weighted_f1", "cohen_kappa", "mcc", "mgm")
STAGE_METRICS = ("precision", "recall", "f1", "kappa")
METRIC_LABELS = {
    "accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1",
    "cohen_kappa": "Cohen's kappa", "mcc": "MCC", "mgm": "MGm",
}  # fmt: skip

# Headers often round a start time to whole seconds; two starts within this are one start.
START_TOLERANCE_S = 1.0


class StageAgreement(NamedTuple):
    """Agreement on one stage; `support` is its number of reference epochs."""

    precision: float
    recall: float
    f1: float
    kappa: float
    support: int


@dataclass(frozen=True, eq=False, repr=False)
class Agreement:
    """The numbers that follow from a confusion matrix; formulas in the module's docstring.

    Parameters
    ----------
    scheme
        The stages.
    confusion : int array, shape (n_stages, n_stages)
        Rows reference, columns predicted; read-only.
    ignored
        Labels of the stages that were left out: their reference epochs are not in `confusion`, means over stages do not
        count them. An epoch of another stage that is predicted as one of them stays an error.
    n_epochs
        Epochs compared.
    n_reference_unscored, n_predicted_unscored
        Epochs masked because the reference is unscored; because only the predicted hypnogram is.
    accuracy, macro_f1, weighted_f1, cohen_kappa, mcc, mgm
        From 0 to 1 (kappa and MCC from −1).
    per_stage
        By label of the stage.
    """

    scheme: StageScheme
    confusion: NDArray[np.int64]
    ignored: tuple[str, ...]
    n_epochs: int
    n_reference_unscored: int
    n_predicted_unscored: int
    accuracy: float
    macro_f1: float
    weighted_f1: float
    cohen_kappa: float
    mcc: float
    mgm: float
    per_stage: Mapping[str, StageAgreement]

    @classmethod
    def from_confusion(
        cls,
        confusion: NDArray[np.integer[Any]] | Sequence[Sequence[int]],
        scheme: StageScheme,
        *,
        ignore: Sequence[str] = (),
        n_reference_unscored: int = 0,
        n_predicted_unscored: int = 0,
    ) -> Self:
        """Compute all numbers from a confusion matrix (rows reference, columns predicted).

        Raises
        ------
        HypnographError
            If the matrix has another shape than the scheme, or negative counts; if `ignore` names an unknown stage.
        """
        matrix = np.array(confusion, dtype=np.int64)
        if matrix.shape != (scheme.n_stages, scheme.n_stages) or (matrix < 0).any():
            raise HypnographError(
                f"a confusion matrix of scheme {scheme.name} has shape ({scheme.n_stages}, {scheme.n_stages}) and no "
                f"negative counts; this one has shape {matrix.shape} and a minimum of {matrix.min(initial=0)}"
            )
        ignored = stage_indices(ignore, scheme)
        matrix[ignored] = 0
        matrix.flags.writeable = False
        counted = np.delete(np.arange(scheme.n_stages), ignored)
        values = scores(matrix, counted)
        return cls(
            scheme=scheme,
            confusion=matrix,
            ignored=tuple(scheme.labels[stage] for stage in ignored),
            n_epochs=int(matrix.sum()),
            n_reference_unscored=n_reference_unscored,
            n_predicted_unscored=n_predicted_unscored,
            **{name: float(values[name]) for name in OVERALL_METRICS},
            per_stage={
                scheme.labels[stage]: StageAgreement(
                    **{name: float(values[name][stage]) for name in STAGE_METRICS}, support=int(matrix[stage].sum())
                )
                for stage in counted
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and texts, ready for JSON; None where a metric is undefined."""
        result: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("scheme", "confusion", "ignored", "per_stage")
        }
        result |= {name: none_if_nan(result[name]) for name in OVERALL_METRICS}
        result["per_stage"] = {
            label: {name: none_if_nan(value) for name, value in stage._asdict().items()}
            for label, stage in self.per_stage.items()
        }
        labels = list(self.scheme.labels)
        ignored = list(self.ignored)
        return result | {"stages": labels, "ignored": ignored, "confusion": self.confusion.tolist()}

    def as_row(self) -> dict[str, float]:
        """Return the numbers flat, as one row of a table: ``f1_N1`` is the F1 of N1."""
        row: dict[str, float] = {"n_epochs": self.n_epochs, "n_reference_unscored": self.n_reference_unscored}
        row |= {"n_predicted_unscored": self.n_predicted_unscored}
        row |= {name: getattr(self, name) for name in OVERALL_METRICS}
        for name in StageAgreement._fields:
            row |= {f"{name}_{label}": getattr(stage, name) for label, stage in self.per_stage.items()}
        return row

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each stage: precision, recall, f1, kappa, support."""
        import pandas as pd

        index = pd.Index(list(self.per_stage), name="stage")
        return pd.DataFrame(list(self.per_stage.values()), index=index, columns=list(StageAgreement._fields))

    def confusion_frame(self) -> "pd.DataFrame":
        """Return the confusion matrix with its labels: rows reference, columns predicted."""
        import pandas as pd

        labels = list(self.scheme.labels)
        return pd.DataFrame(
            self.confusion, index=pd.Index(labels, name="reference"), columns=pd.Index(labels, name="predicted")
        )

    def _key(self) -> tuple[Any, ...]:
        unscored = (self.n_reference_unscored, self.n_predicted_unscored)
        return (self.confusion.tobytes(), self.scheme, self.ignored, *unscored)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Agreement) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return _draw(self)


def agreement(
    reference: Hypnogram,
    predicted: Hypnogram,
    *,
    ignore: Sequence[str] = (),
    wake_trim_min: float | None = None,
) -> Agreement:
    """Compare two scorings of one night.

    Parameters
    ----------
    reference, predicted
        On the same grid; `pairing.align_predicted` brings them there.
    ignore
        Labels of stages whose reference epochs are left out.
    wake_trim_min
        Keep only from so many minutes before the first sleep of the reference to so many after its last sleep; None:
        keep all. See `wake_trim`.

    Raises
    ------
    AlignmentError
        If the hypnograms differ in length, epoch length, scheme or start.
    HypnographError
        If a stage to ignore is not in the scheme.
    """
    check_comparable(reference, predicted)
    if wake_trim_min is not None:
        kept = wake_trim(reference, wake_trim_min)
        reference, predicted = (replace(h, stages=np.where(kept, h.stages, -1)) for h in (reference, predicted))
        n_outside = int((~kept).sum())
    else:
        n_outside = 0
    ignored = np.isin(reference.stages, stage_indices(ignore, reference.scheme))
    return Agreement.from_confusion(
        confusion_matrix(reference, predicted),
        reference.scheme,
        ignore=ignore,
        n_reference_unscored=int((~reference.scored).sum()) - n_outside,
        n_predicted_unscored=int((reference.scored & ~predicted.scored & ~ignored).sum()),
    )


def confusion_matrix(reference: Hypnogram, predicted: Hypnogram) -> NDArray[np.int64]:
    """Count the epochs of each pair of stages, epochs that either side left unscored excepted.

    Returns
    -------
    NDArray[np.int64], shape (n_stages, n_stages)
        Rows reference, columns predicted, in the order of the scheme.

    Raises
    ------
    AlignmentError
        If the hypnograms differ in length, epoch length, scheme or start.
    """
    check_comparable(reference, predicted)
    n_stages = reference.scheme.n_stages
    both = reference.scored & predicted.scored
    # int8 would overflow at 127; a pair of stages is one number below n_stages².
    pairs = reference.stages[both].astype(np.int64) * n_stages + predicted.stages[both]
    return np.bincount(pairs, minlength=n_stages**2).reshape(n_stages, n_stages)


def check_comparable(reference: Hypnogram, predicted: Hypnogram) -> None:
    """Raise AlignmentError unless both lie on one grid and use one scheme; an unknown start fits every start."""
    if reference.scheme != predicted.scheme:
        raise AlignmentError(
            f"the reference uses scheme {reference.scheme.name}, the predicted hypnogram {predicted.scheme.name}; "
            f"merge both into the coarser one (--scheme, or .merge(scheme))"
        )
    if reference.epoch_s != predicted.epoch_s:
        raise AlignmentError(
            f"the reference has epochs of {reference.epoch_s:g} s, the predicted hypnogram of {predicted.epoch_s:g} s; "
            f"bring the predicted one to the reference's grid (.align or .resample)"
        )
    if starts_differ(reference, predicted):
        raise AlignmentError(
            f"the reference begins at {reference.start}, the predicted hypnogram at {predicted.start}; "
            f"bring the predicted one to the reference's grid (.align)"
        )
    if reference.n_epochs != predicted.n_epochs:
        raise AlignmentError(
            f"the reference has {reference.n_epochs} epochs, the predicted hypnogram {predicted.n_epochs}, and they do "
            f"not tell which belong together: both need a start time, or crop the longer one (--crop-to-shorter)"
        )


def starts_differ(reference: Hypnogram, predicted: Hypnogram) -> bool:
    """Tell whether both starts are known and more than `START_TOLERANCE_S` apart."""
    if reference.start is None or predicted.start is None:
        return False
    return abs((reference.start - predicted.start).total_seconds()) > START_TOLERANCE_S


def wake_trim(reference: Hypnogram, minutes: float) -> NDArray[np.bool_]:
    """Mark the epochs from `minutes` before the first sleep of the reference to `minutes` after its last sleep.

    Both ends are included: 30 min are 60 epochs on each side. Only scored sleep counts, an unscored epoch is not "not
    wake". A night without sleep is kept whole. (U-Time 1.1.8 takes unscored epochs for sleep and ends one epoch early.)

    Returns
    -------
    NDArray[np.bool_], shape (n_epochs,)

    Raises
    ------
    HypnographError
        If `minutes` is negative.
    """
    if not minutes >= 0:
        raise HypnographError(f"wake trimming by {minutes} min: give 0 or more (30 is the field's habit)")
    asleep = np.flatnonzero(reference.stages > 0)
    if not asleep.size:
        return np.ones(reference.n_epochs, dtype=bool)
    margin = minutes * 60 / reference.epoch_s
    epoch = np.arange(reference.n_epochs)
    return np.asarray((epoch >= asleep[0] - margin) & (epoch <= asleep[-1] + margin))


def scores(confusion: NDArray[np.int64], counted: NDArray[np.intp] | None = None) -> dict[str, NDArray[np.float64]]:
    """Compute every metric of one or of many confusion matrices at once; formulas in the module's docstring.

    Parameters
    ----------
    confusion : int array, shape (..., n_stages, n_stages)
        Rows reference, columns predicted.
    counted : int array
        The stages over which macro F1 and MGm are means; None: all.

    Returns
    -------
    dict
        `OVERALL_METRICS`, each of shape (...), and `STAGE_METRICS`, each of shape (..., n_stages).
    """
    matrix = np.asarray(confusion, dtype=np.float64)
    counted = np.arange(matrix.shape[-1]) if counted is None else counted
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    in_reference, in_predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    n, n_hit = matrix.sum(axis=(-2, -1)), hit.sum(axis=-1)
    n_each = n[..., None]

    recall = _ratio(hit, in_reference)
    specificity = _ratio(n_each - in_reference - in_predicted + hit, n_each - in_reference)
    f1 = _ratio(2 * hit, in_reference + in_predicted)
    # One stage against the rest: 2 × 2 tables share Cohen's formula.
    stage_hits = n_each - in_reference - in_predicted + 2 * hit
    stage_chance = in_reference * in_predicted + (n_each - in_reference) * (n_each - in_predicted)
    chance = (in_reference * in_predicted).sum(axis=-1)
    reference_spread = n**2 - (in_reference**2).sum(axis=-1)
    predicted_spread = n**2 - (in_predicted**2).sum(axis=-1)
    mcc = _ratio(n * n_hit - chance, np.sqrt(reference_spread * predicted_spread))

    overall = {
        "accuracy": _ratio(n_hit, n),
        "macro_f1": f1[..., counted].sum(axis=-1) / max(len(counted), 1),
        "weighted_f1": _ratio((f1 * in_reference).sum(axis=-1), n),
        "cohen_kappa": _ratio(n * n_hit - chance, n**2 - chance, undefined=np.nan),
        "mcc": np.where(n**2 == chance, np.nan, mcc),
        "mgm": np.sqrt(recall * specificity)[..., counted].sum(axis=-1) / max(len(counted), 1),
    }
    of_stages = {
        "precision": _ratio(hit, in_predicted),
        "recall": recall,
        "f1": f1,
        "kappa": _ratio(n_each * stage_hits - stage_chance, n_each**2 - stage_chance, undefined=np.nan),
    }
    return {name: np.where(n > 0, value, np.nan) for name, value in overall.items()} | {
        name: np.where(n_each > 0, value, np.nan) for name, value in of_stages.items()
    }


def _ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], *, undefined: float = 0.0
) -> NDArray[np.float64]:  # fmt: skip
    result = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), undefined)
    np.divide(above, below, out=result, where=np.asarray(below) != 0)
    return result


def stage_indices(labels: Sequence[str], scheme: StageScheme) -> list[int]:
    """Return the indices of stages by label (upper or lower case), in the scheme's order.

    Raises
    ------
    HypnographError
        If a label is not in the scheme.
    """
    index = {label.lower(): i for i, label in enumerate(scheme.labels)}
    unknown = [label for label in labels if label.lower() not in index]
    if unknown:
        raise HypnographError(f"{unknown[0]!r} is not a stage of scheme {scheme.name}: {', '.join(scheme.labels)}")
    return sorted({index[label.lower()] for label in labels})


def none_if_nan(value: float) -> float | None:
    """Return None for NaN, which JSON cannot write."""
    return None if np.isnan(value) else value


def _draw(found: Agreement) -> str:
    ignored = f", {', '.join(found.ignored)} ignored" if found.ignored else ""
    lines = [
        f"Agreement over {found.n_epochs} epochs{ignored}",
        f"  unscored in the reference {found.n_reference_unscored}, in the predicted hypnogram alone "
        f"{found.n_predicted_unscored}",
    ]
    lines += [f"  {METRIC_LABELS[name]:<13} {getattr(found, name):.3f}" for name in OVERALL_METRICS]
    labels = found.scheme.labels
    width = max(7, *(len(label) for label in labels))
    lines.append(f"  {'':<{width}} precision recall    F1 kappa support │ reference ↓ predicted →")
    lines.append(f"  {'':<{width}} {'':<36} │ " + " ".join(f"{label:>{width}}" for label in labels))
    for i, label in enumerate(labels):
        counts = " ".join(f"{count:>{width}}" for count in found.confusion[i])
        stage = found.per_stage.get(label)
        numbers = "" if stage is None else "{:9.3f} {:6.3f} {:5.3f} {:5.3f} {:7d}".format(*stage)
        lines.append(f"  {label:<{width}} {numbers:<36} │ {counts}")
    return "\n".join(lines)
