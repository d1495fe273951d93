"""Networks that stage sleep: one architecture a file; the folder is the registry.

Each module of this folder is one architecture and has

- ``NAME``: as given to `create_model`;
- ``Config``: a frozen, keyword-only dataclass with at least ``n_channels``, ``sample_rate`` (Hz), ``n_stages`` and
  ``epoch_s``; values are checked when it is made;
- ``Model(config)``: a `torch.nn.Module` with ``config`` as attribute;
- ``PRESETS``: named configurations, ``{"paper": Config(...), …}``; ``"default"`` is among them;
- ``CAUSAL``: whether an epoch's output never depends on later epochs.

One signature for all: float32 ``(window, context, channel, sample)`` → logits ``(window, context, stage)``. Context is
the number of consecutive epochs. Networks that score more often return ``(window, context, sub_epoch, stage)``.
Amplitudes are scaled as the module's docstring says.
"""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from hypnograph.errors import HypnographError

try:
    from torch import nn
except ImportError as error:
    raise HypnographError("the networks need PyTorch: pip install 'hypnograph[train]'") from error


class Architecture(Protocol):
    """What a module of this folder provides."""

    NAME: str
    PRESETS: Mapping[str, Any]
    CAUSAL: bool
    Config: type
    Model: type[nn.Module]


@cache
def architectures() -> dict[str, Architecture]:
    """Return the architectures by name."""
    modules = [import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {module.NAME: cast(Architecture, module) for module in modules}


def create_model(name: str, *, preset: str = "default", **options: Any) -> nn.Module:
    """Create a network with fresh weights.

    Parameters
    ----------
    name
        The architecture, e.g. ``"usleep"``.
    preset
        One of the module's ``PRESETS``.
    options
        Fields of its ``Config`` that replace those of the preset, e.g. ``n_channels=3``.

    Raises
    ------
    HypnographError
        If there is no such architecture, preset or option; the message lists those that exist.
    """
    from dataclasses import fields, replace

    if name not in architectures():
        raise HypnographError(f"no architecture {name!r}. There are: {', '.join(architectures())}")
    module = architectures()[name]
    if preset not in module.PRESETS:
        raise HypnographError(f"{name} has no preset {preset!r}. There are: {', '.join(module.PRESETS)}")
    known = [field.name for field in fields(module.Config)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise HypnographError(f"{name} has no option {unknown[0]!r}. There are: {', '.join(known)}")
    return module.Model(replace(module.PRESETS[preset], **options))


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values of a network."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
