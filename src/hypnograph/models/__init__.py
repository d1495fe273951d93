"""Networks that stage sleep: one architecture a file; the folder is the registry.

Each module of this folder is one architecture and has

- ``NAME``: as given to `create_model`;
- ``Config``: a frozen, keyword-only dataclass with at least ``n_channels``, ``sample_rate`` (Hz), ``n_stages`` and
  ``epoch_s``; values are checked when it is made;
- ``Model(config)``: a `torch.nn.Module` with ``config`` as attribute;
- ``PRESETS``: named configurations, ``{"paper": Config(...), …}``; ``"default"`` is among them;
- ``CAUSAL``: whether an epoch's output never depends on later epochs;
- ``input_spec(config)``: the `InputSpec` of its signals;
- ``reach(config)``: how many epochs before and after an epoch its logits depend on (0: none; None: all);
- ``grid(config)``, where maps are shortened over epochs: a night may be cut at its multiples without changing a logit.

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
from hypnograph.model_info import ModelInfo
from hypnograph.preprocess import InputSpec
from hypnograph.stages import SCHEMES, StageScheme

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

    def input_spec(self, config: Any) -> InputSpec: ...

    def reach(self, config: Any) -> int | None: ...


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


def describe(model: nn.Module, **fields: Any) -> ModelInfo:
    """Return what there is to know about a network of this folder.

    Parameters
    ----------
    model
        Made by `create_model`.
    fields
        Fields of `ModelInfo` that are known beside: ``name``, ``data``, ``licence``, ``input`` …

    Raises
    ------
    HypnographError
        If the network is none of this folder's, or no scheme has its number of stages and none is given.
    """
    from dataclasses import asdict

    module = _module_of(model)
    if module is None:
        raise HypnographError(f"{type(model).__name__} is none of our architectures; give its InputSpec")
    config: Any = model.config
    known: dict[str, Any] = {
        "architecture": module.NAME,
        "config": asdict(config),
        "sub_epochs": getattr(config, "sub_epochs", 1),
        "reach": module.reach(config),
        "grid": getattr(module, "grid", lambda _: 1)(config),
        "carries_state": carries_state(model),
    }
    # Only what is not given is worked out: five channels have no usual kinds.
    if "input" not in fields:
        known["input"] = module.input_spec(config)
    if "scheme" not in fields:
        known["scheme"] = scheme_of(config.n_stages)
    return ModelInfo(**known | fields)


def carries_state(model: nn.Module) -> bool:
    """Tell whether a network of this folder can go on from where it stopped: all that it sees is the past."""
    module = _module_of(model)
    return module is not None and module.CAUSAL and module.reach(model.config) is None


def is_ours(model: nn.Module) -> bool:
    """Tell whether a network is of an architecture of this folder."""
    return _module_of(model) is not None


def _module_of(model: nn.Module) -> Architecture | None:
    return next((module for module in architectures().values() if type(model) is module.Model), None)


def scheme_of(n_stages: int) -> StageScheme:
    """Return the scheme of so many stages."""
    for scheme in SCHEMES.values():
        if scheme.n_stages == n_stages:
            return scheme
    raise HypnographError(f"no scheme has {n_stages} stages; give one (scheme=…)")
