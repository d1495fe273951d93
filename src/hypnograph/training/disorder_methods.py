"""The methods that tell ill from healthy by a hypnogram: baselines of one number, features, trees, networks.

Each is fitted on some nights and gives log odds for others. What it learns, means and deviations included, comes from
the nights that it is fitted on.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.disorder_features import feature_values, sleep_period
from hypnograph.sequences.language_model import StageLanguageModel
from hypnograph.training.disorder_fitting import DEFAULT_SETS, Values, fit_logistic

Prepared = Sequence[NDArray[Any]]


class Method(NamedTuple):
    """A way to tell ill from healthy."""

    words: str
    prepare: Callable[[Hypnogram], NDArray[Any]]
    """What it takes of one night; looks at nothing but this night."""
    score: Callable[[Prepared, NDArray[np.bool_], Prepared, int], Values]
    """Fits on prepared nights and their answers with a seed, and returns the log odds of other nights."""


BASELINES = ("length", "wake")
"""What every method has to be better than."""


NETWORKS = {
    "network-frozen": ("hierarchical transformer, trunk frozen", "transformer", True),
    "lstm-frozen": ("LSTM over stretches, trunk frozen", "lstm", True),
    "network": ("hierarchical transformer, all trained", "transformer", False),
}
"""The methods that need a trunk: words, what is above the trunk, whether the trunk is left as it is."""


def by_features(*sets: str, margin_min: float = 0.0, words: str = "") -> Method:
    """Return a logistic regression on sets of features (`disorder_features`)."""
    return Method(words, partial(feature_values, sets=sets, margin_min=margin_min), _logistic)


def methods(*, margin_min: float = 0.0, trunk: StageLanguageModel | None = None) -> dict[str, Method]:
    """Return all methods by name; those with a trunk only if one is given.

    Parameters
    ----------
    margin_min
        Minutes around the sleep period that they see.
    trunk
        A stage language model with 60 positions for the networks; importing torch takes a second.
    """
    of = partial(by_features, margin_min=margin_min)
    found = {
        "length": of("length", words="length of the sleep period only"),
        "wake": of("wake", words="share of wake only"),
        "statistics": of("statistics", words="sleep statistics, logistic"),
        "transitions": of(*DEFAULT_SETS, words="sleep statistics and transitions, logistic"),
        "bouts": of("bouts", words="bouts of each stage, logistic"),
        "triplets": of("triplets", words="triplets of stages, logistic"),
        "boosting": of(*DEFAULT_SETS, words="sleep statistics and transitions, LightGBM")._replace(score=_boosting),
        "bag": Method("bag of stages", partial(_stages, margin_min=margin_min), _bag),
    }
    if trunk is not None:
        for name, (words, kind, frozen) in NETWORKS.items():
            score = partial(_network, trunk=trunk, kind=kind, frozen=frozen)
            found[name] = Method(words, partial(_stages, margin_min=margin_min), score)
    return found


def _stages(hypnogram: Hypnogram, *, margin_min: float) -> NDArray[Any]:
    return sleep_period(hypnogram, margin_min=margin_min).stages


def _logistic(train: Prepared, ill: NDArray[np.bool_], test: Prepared, seed: int) -> Values:
    del seed  # the fit is convex
    return fit_logistic(np.stack(train).astype(float), ill).log_odds(np.stack(test).astype(float))


def _boosting(train: Prepared, ill: NDArray[np.bool_], test: Prepared, seed: int) -> Values:
    """Fit 20 small trees, the numbers of SleepGPT's baseline (there XGBoost)."""
    import lightgbm

    options = {
        **{"objective": "binary", "learning_rate": 0.1, "max_depth": 3, "min_data_in_leaf": 5},
        **{"feature_fraction": 0.6, "bagging_fraction": 0.7, "bagging_freq": 1},
        **{"seed": seed, "num_threads": 1, "deterministic": True, "verbosity": -1},
    }
    share = len(ill) / (2 * np.where(ill, ill.sum(), (~ill).sum()))
    nights = lightgbm.Dataset(np.stack(train).astype(float), ill.astype(float), weight=share)
    trees = lightgbm.train(options, nights, num_boost_round=20)
    return np.asarray(trees.predict(np.stack(test).astype(float), raw_score=True))


def _bag(train: Prepared, ill: NDArray[np.bool_], test: Prepared, seed: int) -> Values:
    import torch

    from hypnograph.training import disorder_network as networks

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = networks.BagOfStages()
    networks.train(network, train, ill, networks.BAG_SCHEDULE, seed=seed)
    return networks.predict(network, test)


def _network(
    train: Prepared,
    ill: NDArray[np.bool_],
    test: Prepared,
    seed: int,
    *,
    trunk: StageLanguageModel,
    kind: str,
    frozen: bool,
) -> Values:
    import torch

    from hypnograph.training import disorder_network as networks
    from hypnograph.training.stage_gpt import StageGPT

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = networks.HierarchicalTransformer if kind == "transformer" else networks.StretchLSTM
        network = head(StageGPT.from_model(trunk))
    networks.train(network, train, ill, networks.FROZEN_SCHEDULE if frozen else networks.SHORT_SCHEDULE, seed=seed)
    return networks.predict(network, test)
