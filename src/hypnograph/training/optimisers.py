"""Optimisers and learning rates as recipes name them."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hypnograph.errors import HypnographError
from hypnograph.training import recipes

_OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def create_optimiser(recipe: recipes.Optimiser, model: nn.Module, *, fused: bool = False) -> Optimizer:
    """Create an optimiser for a network's weights, grouped by learning rate.

    Parameters
    ----------
    recipe
        Its ``[optimiser]``.
    model
        What is trained.
    fused
        Change each weight by one kernel of torch's, where the recipe says nothing of how.

    Raises
    ------
    HypnographError
        If an option is not torch's, or a name in ``learning_rates`` begins no weight's name.
    """
    kind: Any = _OPTIMISERS[recipe.name]
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.options.items()}
    if fused and not options.keys() & {"foreach", "fused", "capturable", "differentiable"}:
        options["fused"] = True
    try:
        return kind(  # type: ignore[no-any-return]
            list(_groups(recipe, model)), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **options
        )
    except (TypeError, ValueError) as error:
        raise HypnographError(f"[optimiser]: {error}") from error


def set_learning_rates(
    optimiser: Optimizer, recipe: recipes.Optimiser, schedule: recipes.Schedule, *, n_pass: int, passes: int
) -> float:
    """Set the learning rates of a pass; return the one of weights that are not named."""
    factor = schedule_factor(schedule, n_pass, passes)
    for group in optimiser.param_groups:
        group["lr"] = factor * recipe.learning_rates.get(group["prefix"], recipe.learning_rate)
    return factor * recipe.learning_rate


def schedule_factor(schedule: recipes.Schedule, n_pass: int, passes: int) -> float:
    """Return what the learning rate is multiplied by in a pass, counted from 0."""
    factor = 1.0
    if schedule.name == "steps":
        factor = schedule.factor ** sum(n_pass >= at for at in schedule.at)
    elif schedule.name == "cosine":
        done = min(1.0, n_pass / max(1, passes - 1))
        factor = schedule.factor + (1 - schedule.factor) * (1 + math.cos(math.pi * done)) / 2
    return factor * (min(1.0, (n_pass + 1) / schedule.warm_up) if schedule.warm_up else 1.0)


def _groups(recipe: recipes.Optimiser, model: nn.Module) -> Iterator[dict[str, Any]]:
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    # The longest first: what is said of a part holds against what is said of the whole.
    for prefix, rate in sorted(recipe.learning_rates.items(), key=lambda entry: -len(entry[0])):
        chosen = [name for name in named if name.startswith(prefix)]
        if not chosen:
            raise HypnographError(
                f"optimiser.learning_rates: no weight's name begins with {prefix!r}; they are {', '.join(named)}"
            )
        yield {"params": [named.pop(name) for name in chosen], "lr": rate, "prefix": prefix}
    if named:
        yield {"params": list(named.values()), "prefix": ""}
