"""A smoother: multinomial regression that reads a stager's probabilities around an epoch and says them anew.

What it is given: log-probabilities of the epochs up to `REACH` away, and the mean probabilities of ever wider bands of
epochs before and after, up to an hour. It learns on nights that a person scored how the stager errs, what its prior is
worth, and how stages follow each other, all at once. No place in the night is given: near an end, epochs outside repeat
the last one inside.

It is fitted by L-BFGS with a ridge penalty, and used by numpy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError

FLOOR = 1e-4
"""Smaller probabilities count as this: no single epoch may overrule all others."""
REACH = 5
BANDS = ((1, 3), (4, 8), (9, 16), (17, 32), (33, 64), (65, 128))
"""Epochs from and to, before and after."""
RIDGE = 30.0
STEPS = 80

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regression:
    """Multinomial regression: softmax(features @ weights + bias).

    Parameters
    ----------
    weights : float array, shape (n_features, n_stages)
    bias : float array, shape (n_stages,)
    """

    weights: Floats
    bias: Floats

    def __post_init__(self) -> None:
        for name in ("weights", "bias"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.weights.ndim != 2 or self.bias.shape != self.weights.shape[1:]:
            raise HypnographError(f"weights {self.weights.shape} and bias {self.bias.shape} do not fit together")

    def probabilities(self, features: Floats) -> Floats:
        """Return probabilities, shape (n_epochs, n_stages).

        Raises
        ------
        HypnographError
            If there are more or fewer features than weights.
        """
        if features.shape[1] != len(self.weights):
            raise HypnographError(f"{features.shape[1]} features; this regression has weights for {len(self.weights)}")
        logits = features @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def epoch_features(probabilities: Floats) -> Floats:
    """Return what a calibration looks at: the log-probabilities of the epoch alone, shape (n_epochs, n_stages)."""
    return np.log(np.maximum(probabilities, FLOOR))


def context_features(probabilities: Floats) -> Floats:
    """Return what a smoother looks at.

    Parameters
    ----------
    probabilities : float array, shape (n_epochs, n_stages)
        Without gaps.

    Returns
    -------
    float array, shape (n_epochs, n_features)
        2 · 5 + 1 epochs of log-probabilities, then two times six bands of mean probabilities: 115 for five stages.
    """
    n = len(probabilities)
    near = np.arange(n)[:, None] + np.arange(-REACH, REACH + 1)
    logs = epoch_features(probabilities)[np.clip(near, 0, n - 1)].reshape(n, -1)
    sums = np.concatenate([np.zeros((1, probabilities.shape[1])), np.cumsum(probabilities, axis=0)])
    bands = [_band(sums, first, last) for a, b in BANDS for first, last in ((-b, -a), (a, b))]
    return np.concatenate([logs, *bands], axis=1)


def _band(sums: Floats, first: int, last: int) -> Floats:
    n = len(sums) - 1
    low, high = (np.clip(np.arange(n) + offset, 0, n - 1) for offset in (first, last))
    return np.asarray((sums[high + 1] - sums[low]) / (high - low + 1)[:, None])


def fit_regression(
    features: Sequence[Floats], stages: Sequence[NDArray[np.integer]], n_stages: int = 5, *, ridge: float = RIDGE
) -> Regression:
    """Fit a regression on nights.

    Parameters
    ----------
    features
        Of each night, shape (n_epochs, n_features).
    stages
        What a person scored, shape (n_epochs,); epochs with −1 are left out.
    n_stages
        Of the scheme.
    ridge
        Penalty on the squares of weights of features with deviation 1, in epochs.

    Raises
    ------
    HypnographError
        If no epoch is scored.
    """
    truth = np.concatenate(list(stages))
    given = np.concatenate(list(features))[truth >= 0]
    truth = truth[truth >= 0]
    if not truth.size:
        raise HypnographError("there is no scored epoch to learn from")
    mean, deviation = given.mean(axis=0), given.std(axis=0) + 1e-6
    centred = (given - mean) / deviation
    weights, bias = _fit(centred, np.eye(n_stages, dtype=np.float32)[truth], ridge / len(truth))
    weights /= deviation[:, None]
    return Regression(weights, bias - mean @ weights)


def _fit(centred: Floats, truth: NDArray[np.float32], ridge: float) -> tuple[Floats, Floats]:
    """Return weights and bias: the mean log-loss plus half the ridge times the squares of the weights is least."""
    from scipy.optimize import minimize

    n, n_stages = truth.shape
    n_features = centred.shape[1]
    # Neighbouring epochs say nearly the same. In axes in which they are apart, few steps are enough.
    spread, axes = np.linalg.eigh(centred.T @ centred / n + 4 * ridge * np.eye(n_features))
    axes = axes / np.sqrt(np.maximum(spread, 1e-9))
    turned, penalty = (centred @ axes).astype(np.float32), ridge * axes.T @ axes

    def loss(values: Floats) -> tuple[float, Floats]:
        weights, bias = values[:-n_stages].reshape(n_features, n_stages), values[-n_stages:]
        logits = turned @ weights.astype(np.float32) + bias.astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        total = odds.sum(axis=1, keepdims=True)
        wrong = (odds / total - truth) / np.float32(n)
        log_loss = (np.log(total[:, 0]) - (logits * truth).sum(axis=1)).mean(dtype=np.float64)
        pull = penalty @ weights
        slope = [(turned.T @ wrong + pull).ravel(), wrong.sum(axis=0, dtype=np.float64)]
        return float(log_loss + (weights * pull).sum() / 2), np.concatenate(slope)

    start = np.zeros((n_features + 1) * n_stages)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "ftol": 1e-8}).x
    return axes @ found[:-n_stages].reshape(n_features, n_stages), found[-n_stages:]
