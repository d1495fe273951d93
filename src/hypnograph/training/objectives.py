"""What training minimises: cross-entropy, dice and focal loss on logits, and weights for rare stages.

All losses take logits ``(…, stage)`` and one of two kinds of targets:

- integers ``(…)``: the stage of each epoch; −1 is unscored;
- probabilities ``(…, stage)``: where several scorers disagree; a row with NaN is unscored.

An unscored epoch is not counted and gives no gradient, whatever its logits are. Where no epoch is scored the loss is 0.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from hypnograph.errors import HypnographError
from hypnograph.stages import AASM_5, Stage

# μ of AttnSleep for W, N1, N2, N3, REM.
_ATTNSLEEP_MU = tuple(factor / 5 for factor in (1.5, 2.0, 1.5, 1.0, 1.5))


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    stage_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    normalise: Literal["weights", "scored"] = "weights",
) -> Tensor:
    """Return the mean cross-entropy of the scored epochs.

    Parameters
    ----------
    logits : Tensor
        Shape (…, stage).
    targets : Tensor
        Stages (…) or probabilities (…, stage), as the module's docstring says.
    stage_weights
        One weight per stage, not negative; None weighs all alike.
    label_smoothing
        The share of each target, 0 to 1, that is spread evenly over the stages.
    normalise
        What the weighted sum is divided by. ``"weights"``: the sum of the weights of the targets, as torch does for
        integers. ``"scored"``: the number of scored epochs, as TinySleepNet's official code does.

    Returns
    -------
    Tensor
        A scalar, in nats.
    """
    _check_choice("normalise", normalise, ("weights", "scored"))
    if not 0 <= label_smoothing <= 1:
        raise HypnographError(f"label_smoothing is {label_smoothing}; give a share from 0 to 1")
    logits, probabilities, scored = _masked(logits, targets)
    weights = _weights_like(logits, stage_weights)
    smoothed = (1 - label_smoothing) * probabilities + label_smoothing / logits.shape[-1] * scored[..., None]
    total = -(weights * smoothed * logits.log_softmax(-1)).sum()
    # torch, too, takes the weights of the targets before they are smoothed.
    return _ratio(total, scored.sum() if normalise == "scored" else (weights * probabilities).sum())


def focal(
    logits: Tensor, targets: Tensor, gamma: float = 2.0, *, stage_weights: Sequence[float] | None = None
) -> Tensor:
    """Return the mean focal loss of the scored epochs (Lin et al. 2017, arXiv 1708.02002).

    Each stage's cross-entropy counts (1 − p)^gamma, so that epochs that are easy count little; with gamma 0 it is
    cross-entropy.

    Parameters
    ----------
    logits : Tensor
        Shape (…, stage).
    targets : Tensor
        Stages (…) or probabilities (…, stage), as the module's docstring says.
    gamma
        Not negative.
    stage_weights
        One weight per stage, not negative (the α of the paper); None weighs all alike.

    Returns
    -------
    Tensor
        A scalar.
    """
    if not gamma >= 0:
        raise HypnographError(f"gamma is {gamma}; give 0 (cross-entropy) or more")
    logits, probabilities, scored = _masked(logits, targets)
    log_p = logits.log_softmax(-1)
    # Where p is 1 the slope of (1 − p)^gamma is infinite for gamma < 1, and infinity times log p = 0 is NaN.
    doubt = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)
    weights = _weights_like(logits, stage_weights)
    return _ratio(-(weights * probabilities * doubt**gamma * log_p).sum(), scored.sum())


def dice(
    logits: Tensor,
    targets: Tensor,
    *,
    smoothing: float = 1.0,
    per: Literal["window", "batch"] = "window",
    form: Literal["mean", "generalised"] = "mean",
) -> Tensor:
    """Return one minus the dice overlap of targets and predicted probabilities over the scored epochs.

    Parameters
    ----------
    logits : Tensor
        Shape (window, …, stage).
    targets : Tensor
        Stages (window, …) or probabilities (window, …, stage), as the module's docstring says.
    smoothing
        Added to numerator and denominator, not negative; a stage that is absent, and not predicted, then overlaps
        fully.
    per
        ``"window"``: the overlap of each window, then the mean over those with a scored epoch. ``"batch"``: one overlap
        of all epochs.
    form
        ``"mean"``: the mean of the overlaps of the stages, as U-Time's official SparseDiceLoss. ``"generalised"``:
        numerator and denominator are summed over stages before dividing, as in the U-Time paper; rare stages then
        count little.

    Returns
    -------
    Tensor
        A scalar, 0 to 1.
    """
    _check_choice("per", per, ("window", "batch"))
    _check_choice("form", form, ("mean", "generalised"))
    if not smoothing >= 0:
        raise HypnographError(f"smoothing is {smoothing}; give 0 or more")
    logits, probabilities, scored = _masked(logits, targets)
    predicted = logits.softmax(-1) * scored[..., None]
    groups = logits.shape[0] if per == "window" and scored.ndim else 1
    shared, either = (
        # (window, stage)
        part.reshape(groups, scored.numel() // max(groups, 1), logits.shape[-1]).sum(1)
        for part in (probabilities * predicted, probabilities + predicted)
    )
    if form == "generalised":
        shared, either = shared.sum(-1, keepdim=True), either.sum(-1, keepdim=True)
    loss = 1 - _ratio(2 * shared + smoothing, either + smoothing).mean(-1)
    counted = scored.reshape(groups, scored.numel() // max(groups, 1)).any(-1)
    return _ratio((loss * counted).sum(), counted.sum())


def class_aware_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Return AttnSleep's stage weights (Eldele et al. 2021, TNSRE 29:809-818), rounded to two decimals as there.

    A stage with n of the N epochs weighs μ · max(1, ln(μ N / n)); μ is 0.3, 0.4, 0.3, 0.2, 0.3 for W, N1, N2, N3, REM.

    Parameters
    ----------
    counts
        Epochs of W, N1, N2, N3 and REM in the training set; never count the test set.
    """
    _check_counts(counts)
    if len(counts) != AASM_5.n_stages:
        raise HypnographError(
            f"class-aware weights are for the five stages {', '.join(AASM_5.labels)}, not {len(counts)}; "
            "use balanced_weights"
        )
    total = sum(counts)
    return tuple(
        round(mu * max(1.0, math.log(mu * total / count)), 2) for mu, count in zip(_ATTNSLEEP_MU, counts, strict=True)
    )


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Return stage weights n / (k n_stage), with n epochs of k stages: each stage weighs the same in all.

    Parameters
    ----------
    counts
        Epochs of each stage in the training set.
    """
    _check_counts(counts)
    return tuple(float(sum(counts) / (len(counts) * count)) for count in counts)


OBJECTIVES: Mapping[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy, "dice": dice, "focal": focal}


@dataclass(frozen=True)
class Objective:
    """What a training run minimises: a loss by its name and the options that differ from its defaults.

    Parameters
    ----------
    name
        One of `OBJECTIVES`.
    options
        Keyword arguments of that function, e.g. ``{"gamma": 1.0}``.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise HypnographError(f"no objective {self.name!r}. There are: {', '.join(OBJECTIVES)}")
        known = list(inspect.signature(OBJECTIVES[self.name]).parameters)[2:]
        unknown = [option for option in self.options if option not in known]
        if unknown:
            raise HypnographError(f"{self.name} has no option {unknown[0]!r}. There are: {', '.join(known)}")

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        return OBJECTIVES[self.name](logits, targets, **self.options)

    def mass(self, targets: Tensor, n_stages: int) -> float:
        """Return what the loss is divided by: losses of parts of a batch, weighted by it, give that of the batch.

        Raises
        ------
        HypnographError
            If the loss cannot be put together from parts: ``dice`` of a whole batch.
        """
        return float(_mass(self, targets, n_stages))


def _mass(objective: "Objective", targets: Tensor, n_stages: int) -> Tensor:
    probabilities, scored = _masked(torch.zeros(*_epochs(targets), n_stages), targets)[1:]
    options = objective.options
    if objective.name == "dice":
        if options.get("per", "window") == "batch":
            raise HypnographError("dice of a whole batch cannot be summed over parts of it; use per='window'")
        return scored.reshape(len(scored), math.prod(scored.shape[1:])).any(-1).sum()
    if objective.name == "focal" or options.get("normalise", "weights") == "scored":
        return scored.sum()
    return (_weights_like(probabilities, options.get("stage_weights")) * probabilities).sum()


def _epochs(targets: Tensor) -> torch.Size:
    return targets.shape[:-1] if targets.is_floating_point() else targets.shape


def create_objective(name: str, **options: Any) -> Objective:
    """Create an objective, e.g. ``create_objective("cross_entropy", stage_weights=(1, 1.5, 1, 1, 1))``.

    Raises
    ------
    HypnographError
        If there is no such objective or option; the message lists those that exist.
    """
    return Objective(name, options)


def _masked(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and target probabilities (…, stage), both 0 where unscored, and which epochs are scored (…)."""
    soft = targets.is_floating_point()
    if targets.shape != (logits.shape if soft else logits.shape[:-1]):
        raise HypnographError(
            f"targets have shape {tuple(targets.shape)}, logits {tuple(logits.shape)}; "
            "give stages (…) as integers or probabilities (…, stage) for logits (…, stage)"
        )
    # Half precision is too coarse to sum over epochs.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scored = ~targets.isnan().any(-1) if soft else targets != Stage.UNSCORED
    known = targets.masked_fill(~(scored[..., None] if soft else scored), 0)
    _check_targets(known, scored, logits.shape[-1])
    probabilities = known if soft else functional.one_hot(known.long(), logits.shape[-1]) * scored[..., None]
    # Filling before the softmax, not after it: a NaN logit times a mask of 0 is still NaN.
    return logits.masked_fill(~scored[..., None], 0), probabilities.to(logits.dtype), scored


def _check_targets(known: Tensor, scored: Tensor, n_stages: int) -> None:
    if known.is_floating_point():
        wrong = (known < 0).any() | ((known.sum(-1) - 1).abs() > 1e-2).logical_and(scored).any()
        if wrong:
            raise HypnographError("soft targets must be probabilities that sum to 1 in each epoch; NaN is unscored")
    elif ((known < 0) | (known >= n_stages)).any():
        raise HypnographError(
            f"targets hold stages {int(known.min())} to {int(known.max())}, but the network tells {n_stages} stages; "
            f"give 0 to {n_stages - 1}, and -1 for unscored"
        )


def _weights_like(logits: Tensor, stage_weights: Sequence[float] | None) -> Tensor:
    n_stages = logits.shape[-1]
    if stage_weights is None:
        return logits.new_ones(n_stages)
    if len(stage_weights) != n_stages or not all(weight >= 0 for weight in stage_weights):
        raise HypnographError(f"stage_weights are {list(stage_weights)}; give {n_stages} numbers, none negative")
    return torch.as_tensor(stage_weights, dtype=logits.dtype, device=logits.device)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide; where there is nothing to divide by, the numerator is 0 and stays so."""
    return numerator / denominator.masked_fill(denominator == 0, 1)


def _check_counts(counts: Sequence[int]) -> None:
    if not len(counts) or not all(count > 0 for count in counts):
        raise HypnographError(
            f"the epochs per stage are {list(counts)}; every stage needs at least one to have a weight. "
            "Merge stages, or give stage_weights yourself"
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise HypnographError(f"{name} is {value!r}. There are: {', '.join(choices)}")
