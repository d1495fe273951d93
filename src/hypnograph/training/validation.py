"""How good a network is on the validation nights: the way of staging, one channel combination for each night."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.evaluation.agreement import Agreement
from hypnograph.network import Network, night_logits
from hypnograph.stages import StageScheme
from hypnograph.training.prediction import combinations, night_signals
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.windows import log_softmax

Scores = dict[str, float]
Tally = Mapping[str, NDArray[np.float64]]
"""By dataset: the confusion matrix, flat, then the summed cross-entropy and the number of epochs behind it."""


def some_of_each(nights: Sequence[PreparedNight], most: int | None, seed: int) -> list[PreparedNight]:
    """Return at most so many nights of each dataset, drawn once for a training."""
    rng = np.random.default_rng((seed, 2))
    chosen: list[PreparedNight] = []
    for dataset in sorted({night.dataset for night in nights}):
        of_it = [night for night in nights if night.dataset == dataset]
        if most is not None and len(of_it) > most:
            of_it = [of_it[index] for index in sorted(rng.choice(len(of_it), most, replace=False))]
        chosen += of_it
    return chosen


def tally(
    network: Network, nights: Sequence[PreparedNight], targets: Sequence[NDArray[Any]], datasets: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Count what a network says of nights against what it should say.

    Parameters
    ----------
    network
        Ready to run.
    nights, targets
        Of each night the stages (n_epochs,), −1 unscored, or probabilities (n_epochs, stage), NaN unscored.
    datasets
        Those of all nights; on several processes, one may have no night here, and then counts nothing.
    """
    n_stages = network.info.scheme.n_stages
    found = {dataset: np.zeros(n_stages * n_stages + 2) for dataset in datasets}
    for night, target in zip(nights, targets, strict=True):
        kinds = network.info.input.kinds
        logits = night_logits(network, night_signals(night, kinds, combinations(night, kinds, 1)[0]))
        log_p = log_softmax(logits)
        if log_p.ndim == 3:  # the stage of an epoch is that of its parts together
            log_p = np.logaddexp.reduce(log_p, axis=1) - np.log(log_p.shape[1])
        found[night.dataset] += _counts(log_p, target, n_stages)
    return found


def _counts(log_p: NDArray[np.float64], target: NDArray[Any], n_stages: int) -> NDArray[np.float64]:
    if target.ndim == 2:
        scored = ~np.isnan(target).any(axis=1)
        stages, loss = target[scored].argmax(axis=1), -(target[scored] * log_p[scored]).sum()
    else:
        scored = target >= 0
        stages = target[scored]
        loss = -log_p[scored, stages].sum()
    pairs = stages * n_stages + log_p[scored].argmax(axis=1)
    return np.concatenate([np.bincount(pairs, minlength=n_stages * n_stages), [loss, scored.sum()]])


def scores(counts: Tally, scheme: StageScheme) -> Scores:
    """Return the scores of a tally: pooled in each dataset, then the plain mean over datasets, as U-Time has it.

    Returns
    -------
    dict
        ``loss``, ``accuracy``, ``kappa``, ``macro_f1`` and ``f1_W`` …; NaN where there is no scored epoch.
    """
    rows = []
    for values in counts.values():
        if not values[-1]:
            continue
        confusion = values[:-2].reshape(scheme.n_stages, -1).astype(np.int64)
        found = Agreement.from_confusion(confusion, scheme)
        row = {"loss": values[-2] / values[-1], "accuracy": found.accuracy, "kappa": found.cohen_kappa}
        row["macro_f1"] = found.macro_f1
        rows.append(row | {f"f1_{label}": stage.f1 for label, stage in found.per_stage.items()})
    names = list(rows[0]) if rows else ["loss", "accuracy", "kappa", "macro_f1"]
    return {name: float(np.mean([row[name] for row in rows])) if rows else float("nan") for name in names}
