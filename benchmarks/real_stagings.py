"""Real nights with a reference and a machine's staging, and real hypnograms: what the sequence benchmarks measure on.

All of it lies in ../shared/data (its README.md has sources and licences); nothing is copied. Where that folder is
absent, the functions raise FileNotFoundError.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

ROLLING = slice(36, 72)
"""The columns of the features that look at the epochs before and after: rolling means and deviations."""


class StagedNight(NamedTuple):
    """One night: who scored what, and what a machine said."""

    subject: str
    record: str
    reference: NDArray[np.int8]
    """Shape (n_epochs,), 0 W, 1 N1, 2 N2, 3 N3, 4 REM, −1 unscored."""
    probabilities: NDArray[np.float64] | None = None
    """Shape (n_epochs, 5), where the machine gave any."""
    stages: NDArray[np.int8] | None = None
    """Shape (n_epochs,), where it gave only stages."""


class ScoredNight(NamedTuple):
    """One real hypnogram of the corpus, or of the CAP set with its disorder."""

    dataset: str
    subject: str
    record: str
    stages: NDArray[np.int8]
    disorder: str = ""


def hypnograms(*, without: str | None = None) -> list[ScoredNight]:
    """Return the 452 nights of eight datasets, or those of the others."""
    rows = [row for path in sorted((DATA / "hypnograms").glob("*.jsonl")) for row in _rows(path)]
    found = [ScoredNight(r["dataset"], str(r["subject"]), r["record"], np.array(r["stages"], np.int8)) for r in rows]
    return [night for night in found if night.dataset != without]


def cap() -> list[ScoredNight]:
    """Return the 108 CAP nights, each of a person of its own."""
    rows = _rows(DATA / "disorders" / "cap.jsonl")
    return [ScoredNight("cap", r["record"], r["record"], np.array(r["stages"], np.int8), r["disorder"]) for r in rows]


def soft_network() -> list[StagedNight]:
    """Return 39 nights of 20 subjects: real softmax of one context-free network on Fpz-Cz, cross-validated.

    Its training was balanced over stages, so its prior is not the data's. Unscored epochs were dropped.
    """
    found = []
    for path in sorted((DATA / "predictions" / "sleep-edf-20-soft").glob("*.npz")):
        with np.load(path) as file:
            probabilities = file["probs"].astype(np.float64)
            reference = file["y_true"].astype(np.int8)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        found.append(StagedNight(path.name[:5], path.name[:6], reference, probabilities))
    return found


@cache
def soft_classifier(*, rolling: bool) -> list[StagedNight]:
    """Return 20 nights of 10 subjects: leave-one-subject-out logistic regression on features of two derivations.

    Without the rolling features each epoch is staged by itself and its difference from the one before.
    Nights are cut to 30 min around sleep.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    nights = [_features(path) for path in sorted((DATA / "features" / "sleep-edf-20-nights").glob("*.npz"))]
    columns = [c for c in range(72) if rolling or c not in range(ROLLING.start, ROLLING.stop)]
    found = []
    for subject in sorted({name[:5] for name, _, _ in nights}):
        rest = [(x, y) for name, x, y in nights if name[:5] != subject]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        model.fit(np.concatenate([x[:, columns] for x, _ in rest]), np.concatenate([y for _, y in rest]))
        for name, x, y in nights:
            if name[:5] == subject:
                found.append(StagedNight(subject, name, y, model.predict_proba(x[:, columns])))
    return found


def hard_sleep_edfx() -> dict[str, list[StagedNight]]:
    """Return the hard stages of nine networks on Sleep-EDF, by network: 197 or 39 nights each, cross-validated."""
    return _by_machine(_rows(DATA / "predictions" / "sleep-edfx.jsonl"))


def boas() -> dict[str, list[StagedNight]]:
    """Return 128 nights: the consensus of three people; a model on the PSG, a model on a headband."""
    subjects = {n.record: n.subject for n in hypnograms() if n.dataset.startswith("boas")}
    return _by_machine(_rows(DATA / "predictions" / "boas.jsonl"), subjects)


def _by_machine(rows: list[dict], subjects: dict[str, str] | None = None) -> dict[str, list[StagedNight]]:
    found: dict[str, list[StagedNight]] = {}
    for row in rows:
        subject = row["subject"] if subjects is None else subjects[row["record"]]
        reference = np.array(row["reference"], np.int8)
        for machine, stages in row["predicted"].items():
            night = StagedNight(subject, row["record"], reference, stages=np.array(stages, np.int8))
            found.setdefault(machine, []).append(night)
    return found


def _features(path: Path) -> tuple[str, NDArray[np.float64], NDArray[np.int8]]:
    with np.load(path) as file:
        x, y = file["X"].astype(np.float64), file["y"].astype(np.int8)
    asleep = np.flatnonzero(y > 0)
    kept = slice(max(0, asleep[0] - 60), asleep[-1] + 61)
    return path.name[:6], x[kept], y[kept]


def _rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
