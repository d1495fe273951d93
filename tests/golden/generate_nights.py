"""Make the golden nights: reference, predicted and scores of each; the scores by scikit-learn and YASA, not by us.

Run by hand (``python tests/golden/generate_nights.py``) when a case is added; the tests read what it wrote. The nights
are simulated: a Markov chain, and a prediction that errs at random.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yasa
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

LABELS = ("W", "N1", "N2", "N3", "REM")
YASA_LABELS = ("WAKE", "N1", "N2", "N3", "REM", "UNS")
FOLDER = Path(__file__).parent / "nights"
STAY = np.array([0.95, 0.7, 0.93, 0.94, 0.95])
LEAVE = np.array(
    [
        [0, 0.9, 0.1, 0, 0],
        [0.2, 0, 0.75, 0, 0.05],
        [0.2, 0.1, 0, 0.5, 0.2],
        [0.1, 0.05, 0.85, 0, 0],
        [0.4, 0.4, 0.2, 0, 0],
    ]
)


def markov_night(rng: np.random.Generator, n_epochs: int) -> np.ndarray:
    stages = [0]
    while len(stages) < n_epochs:
        here = stages[-1]
        stages.append(here if rng.random() < STAY[here] else int(rng.choice(5, p=LEAVE[here])))
    return np.array(stages)


def with_errors(rng: np.random.Generator, stages: np.ndarray, share: float) -> np.ndarray:
    return np.where(rng.random(stages.size) < share, rng.integers(0, 5, stages.size), stages)


def unscored(rng: np.random.Generator, stages: np.ndarray, share: float) -> np.ndarray:
    return np.where(rng.random(stages.size) < share, -1, stages)


def nights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(20170821)
    whole = markov_night(rng, 960)
    no_n3 = np.where(whole == 3, 2, whole)
    return {
        "whole-night": (whole, with_errors(rng, whole, 0.25)),
        "unscored-on-both-sides": (unscored(rng, whole, 0.1), unscored(rng, with_errors(rng, whole, 0.2), 0.05)),
        "no-n3-in-reference": (no_n3, whole),
        "no-n3-on-either-side": (no_n3, np.where(whole == 1, 2, no_n3)),
        "always-n2": (whole, np.full(whole.size, 2)),
        "disagreement-everywhere": (whole, (whole + 1) % 5),
        "nap": (whole[:40], with_errors(rng, whole[:40], 0.5)),
    }


def scores(reference: np.ndarray, predicted: np.ndarray) -> dict:
    both = (reference >= 0) & (predicted >= 0)
    a, b, stages = reference[both], predicted[both], range(5)
    options = {"labels": stages, "zero_division": 0}
    precision, recall, f1, support = precision_recall_fscore_support(a, b, **options)
    (tn, fp), (fn, tp) = multilabel_confusion_matrix(a, b, labels=stages).transpose(1, 2, 0)
    with np.errstate(invalid="ignore"):
        g_mean = np.sqrt(np.nan_to_num(tp / (tp + fn)) * np.nan_to_num(tn / (tn + fp)))
    per_stage = {
        label: {
            "precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]),
            "kappa": float(cohen_kappa_score(a == i, b == i)) if (a == i).any() or (b == i).any() else None,
            "support": int(support[i]),
        }
        for i, label in enumerate(LABELS)
    }  # fmt: skip
    return {
        "n_epochs": int(both.sum()),
        "accuracy": float(accuracy_score(a, b)),
        "macro_f1": float(f1_score(a, b, average="macro", **options)),
        "weighted_f1": float(f1_score(a, b, average="weighted", **options)),
        "cohen_kappa": float(cohen_kappa_score(a, b)),
        "mcc": float(matthews_corrcoef(a, b)),
        "mgm": float(g_mean.mean()),
        "per_stage": per_stage,
        "confusion": confusion_matrix(a, b, labels=stages).tolist(),
    }


def statistics(reference: np.ndarray) -> dict:
    values = yasa.Hypnogram([YASA_LABELS[stage] for stage in reference], freq="30s").sleep_statistics()
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (reference, predicted) in nights().items():
        for side, stages in (("reference", reference), ("predicted", predicted)):
            text = "\n".join("UNSCORED" if stage < 0 else LABELS[stage] for stage in stages)
            (FOLDER / f"{name}.{side}.txt").write_text(text + "\n")
        made_by = {package: version(package) for package in ("scikit-learn", "yasa")}
        result = {
            "made_by": made_by,
            **scores(reference, predicted),
            "yasa_statistics_of_reference": statistics(reference),
        }
        (FOLDER / f"{name}.scores.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
