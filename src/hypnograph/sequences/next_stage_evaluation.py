"""How well models tell the next stage: nats and accuracy by dataset, with intervals, several models side by side."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.evaluation.tables import INTERVAL_PERCENT, Estimate
from hypnograph.sequences.next_stage import NextStageModel
from hypnograph.sequences.next_stage_corpus import TrainingNight


class NextStageScore(NamedTuple):
    """What a model says about the nights of one dataset.

    Parameters
    ----------
    dataset, model
        Their names.
    n_nights, n_epochs
        How much was predicted: every scored epoch that has one before it.
    nats
        Mean −log p(stage) of an epoch, with its 95 % interval: a bootstrap over subjects.
    accuracy
        How often the most likely stage came, with its interval.
    difference
        `nats` minus those of the model compared with, on the same draws of subjects; None for that model itself.
    """

    dataset: str
    model: str
    n_nights: int
    n_epochs: int
    nats: Estimate
    accuracy: Estimate
    difference: Estimate | None = None


def next_stage_scores(
    models: Mapping[str, NextStageModel],
    nights: Sequence[TrainingNight],
    *,
    compared_with: str | None = None,
    epochs_ahead: int | None = 1,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> list[NextStageScore]:
    """Evaluate models on nights, dataset by dataset.

    Parameters
    ----------
    models
        By the name that the table shall show.
    nights
        Of one dataset or several.
    compared_with
        The model that the others are compared with; None: the first.
    epochs_ahead
        Which epoch a prediction is held against. 1 is the next epoch, also for the published models that were trained
        for the one after it: so their authors use them. None: what each model was trained for.
    n_bootstrap, seed
        Of the intervals.

    Returns
    -------
    list of NextStageScore
        Datasets in order of their names, in each the models as given.

    Raises
    ------
    HypnographError
        If no night of a dataset has an epoch to predict, or `compared_with` is none of the models.
    """
    reference = next(iter(models)) if compared_with is None else compared_with
    if reference not in models:
        raise HypnographError(f"{reference!r} is not one of the models {', '.join(models)}")
    scores = []
    for dataset in sorted({night.dataset for night in nights}):
        part = [night for night in nights if night.dataset == dataset]
        tallies = {name: night_tallies(model, part, epochs_ahead=epochs_ahead) for name, model in models.items()}
        scores += _dataset_scores(part, tallies, reference, n_bootstrap, seed)
    return scores


def night_tallies(
    model: NextStageModel, nights: Sequence[TrainingNight], *, epochs_ahead: int | None = 1
) -> NDArray[np.float64]:
    """Return for each night how many epochs were predicted, the sum of −log p, and how many were right.

    Returns
    -------
    float64 array, shape (night, 3)
    """
    ahead = model.targets_ahead if epochs_ahead is None else epochs_ahead
    tallies = np.zeros((len(nights), 3))
    for i, night in enumerate(nights):
        came = night.stages[ahead:]
        known = np.flatnonzero(came >= 0)
        if known.size:
            predicted = model.log_probabilities(night.stages)[known]
            nats = -predicted[np.arange(len(known)), came[known]].sum()
            tallies[i] = len(known), nats, (predicted.argmax(axis=1) == came[known]).sum()
    return tallies


def _dataset_scores(
    nights: Sequence[TrainingNight],
    tallies: Mapping[str, NDArray[np.float64]],
    reference: str,
    n_bootstrap: int,
    seed: int,
) -> list[NextStageScore]:
    dataset = nights[0].dataset
    subjects, subject_of_night = np.unique([night.subject for night in nights], return_inverse=True)
    weights = _draws(len(subjects), n_bootstrap, seed)
    by_model = {}
    for name, values in tallies.items():
        by_model[name] = np.zeros((len(subjects), 3))
        np.add.at(by_model[name], subject_of_night, values)
    scores = []
    for name, by_subject in by_model.items():
        n_epochs = int(by_subject[:, 0].sum())
        if not n_epochs:
            raise HypnographError(f"no night of {dataset} has a scored epoch with another before it")
        nats, right = _ratio(by_subject, weights, 1), _ratio(by_subject, weights, 2)
        more_nats = by_subject - by_model[reference] * [0, 1, 0]
        apart = None if name == reference else _ratio(more_nats, weights, 1)
        scores.append(NextStageScore(dataset, name, len(nights), n_epochs, nats, right, apart))
    return scores


def _draws(n_subjects: int, n_bootstrap: int, seed: int) -> NDArray[np.int64]:
    """Return how often each draw takes each subject; none where there is one subject."""
    n_draws = n_bootstrap if n_subjects > 1 else 0
    return np.random.default_rng(seed).multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=n_draws)


def _ratio(by_subject: NDArray[np.float64], weights: NDArray[np.int64], column: int) -> Estimate:
    value = by_subject[:, column].sum() / by_subject[:, 0].sum()
    drawn = weights @ by_subject
    ratios = drawn[drawn[:, 0] > 0, column] / drawn[drawn[:, 0] > 0, 0]
    tail = (100 - INTERVAL_PERCENT) / 2
    low, high = np.percentile(ratios, [tail, 100 - tail]) if ratios.size else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high))
