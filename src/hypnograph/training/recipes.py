"""Recipes: all that a training needs beside its nights, in one TOML file; unknown keys are errors.

A recipe has a table for each part: ``[network]``, ``[input]``, ``[sampling]``, ``[[augmentation]]``, ``[objective]``,
``[optimiser]``, ``[schedule]``, ``[stopping]``, ``[validation]``, and ``[pretraining]`` for networks that are trained
in two steps. The classes below are those tables; their defaults are used where a recipe is silent.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.preprocess import InputSpec

T = TypeVar("T")

_NO_VALUE = ("none", "None")


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network: an architecture, one of its presets, and options that replace the preset's."""

    architecture: str
    preset: str = "default"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which windows the network sees, in which order; see `hypnograph.training.sampling`.

    Parameters
    ----------
    name
        ``"balanced"``, ``"natural"``, ``"oversampled"``, ``"tracks"`` or ``"night-tracks"``.
    context
        Epochs in a window.
    batch
        Windows in a step.
    epochs_per_pass
        Epochs of windows after which a pass of ``"balanced"`` ends; None: as many as the training nights have.
    even_share
        The α of ``"balanced"``: the share of windows that is spread evenly over the datasets, not by their nights.
    stride
        Epochs from one window of ``"natural"`` to the next; None: the context.
    shift_s, skip
        Of ``"tracks"``: a night is shifted by up to so many seconds, and up to so many of its first epochs are skipped.
    discard_rest
        Of ``"night-tracks"``: leave out what fills no window, as DeepSleepNet's code does, instead of padding it.
    shuffle
        Of ``"night-tracks"``: nights in a new order in each pass; DeepSleepNet's code keeps one.
    """

    name: Literal["balanced", "natural", "oversampled", "tracks", "night-tracks"] = "balanced"
    context: int = 1
    batch: int = 64
    epochs_per_pass: int | None = None
    even_share: float = 0.5
    stride: int | None = None
    shift_s: float = 0.0
    skip: int = 0
    discard_rest: bool = False
    shuffle: bool = True

    def __post_init__(self) -> None:
        _at_least(self, 1, "context", "batch", "epochs_per_pass", "stride")
        _at_least(self, 0, "even_share", "shift_s", "skip")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is minimised; see `hypnograph.training.objectives`.

    Parameters
    ----------
    name
        ``"cross_entropy"``, ``"dice"`` or ``"focal"``.
    stage_weights
        A weight for each stage, or a rule that makes them from the training nights: ``"class-aware"`` (AttnSleep) or
        ``"balanced"``; None: all alike.
    weight_penalty
        The λ of the network's own ½‖W‖² (DeepSleepNet, TinySleepNet).
    options
        Further arguments of the objective.
    """

    name: str = "cross_entropy"
    stage_weights: Sequence[float] | Literal["class-aware", "balanced"] | None = None
    weight_penalty: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least(self, 0, "weight_penalty")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """How weights are changed.

    Parameters
    ----------
    name
        ``"adam"``, ``"adamw"`` or ``"sgd"``.
    learning_rate
        Of all weights that `learning_rates` does not name.
    learning_rates
        By the beginning of the weights' names, e.g. ``{"representation": 1e-6}``.
    weight_decay, options
        Arguments of torch's optimiser: ``{"amsgrad": true}``.
    clip_norm
        Gradients are made shorter where their norm is above it.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-4
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.0
    clip_norm: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least(self, 0, "learning_rate", "weight_decay", "clip_norm")
        if wrong := [name for name, rate in self.learning_rates.items() if rate < 0]:
            raise HypnographError(f"learning_rates.{wrong[0]} is {self.learning_rates[wrong[0]]}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes with the passes.

    Parameters
    ----------
    name
        ``"constant"``, ``"steps"`` (times `factor` from each of `at` on), or ``"cosine"`` (down to `factor`).
    at
        Passes, the first is 0.
    factor
        Of the learning rate.
    warm_up
        Passes over which the rate grows linearly to its value.
    """

    name: Literal["constant", "steps", "cosine"] = "constant"
    at: Sequence[int] = ()
    factor: float = 0.1
    warm_up: int = 0

    def __post_init__(self) -> None:
        _at_least(self, 0, "factor", "warm_up")


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When training ends: after so many passes, or so many without a better validation."""

    passes: int = 100
    patience: int | None = None

    def __post_init__(self) -> None:
        _at_least(self, 1, "passes", "patience")


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How a pass is judged.

    Parameters
    ----------
    monitor
        ``"macro_f1"``, ``"kappa"``, ``"accuracy"`` or ``"loss"`` of the validation nights, mean over datasets; or
        ``"accuracy-and-macro-f1"``: TinySleepNet's rule, accuracy must rise and macro F1 must not fall; or ``"last"``:
        the last pass is taken.
    nights_per_dataset
        At most so many validation nights of each dataset, the same in every pass; None: all.
    every
        Passes from one validation to the next.
    """

    monitor: Literal["macro_f1", "kappa", "accuracy", "loss", "accuracy-and-macro-f1", "last"] = "macro_f1"
    nights_per_dataset: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        _at_least(self, 1, "nights_per_dataset", "every")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A training from fresh (or given) weights to a result."""

    sampling: Sampling = field(default_factory=Sampling)
    augmentation: Sequence[Mapping[str, Any]] = ()
    objective: Objective = field(default_factory=Objective)
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    stopping: Stopping = field(default_factory=Stopping)
    validation: Validation = field(default_factory=Validation)


@dataclass(frozen=True, kw_only=True)
class Recipe(Phase):
    """A whole recipe.

    Parameters
    ----------
    title, source
        In words; a DOI or an address.
    notes
        What differs from the source, and why.
    network
        What is trained.
    input
        Fields of `InputSpec` that replace what the architecture asks for.
    targets
        Where there are several scorers: ``"first"``, ``"majority"``, or ``"soft"`` (each stage's share of scorers).
    derivations
        ``"random"``: a derivation of each kind is drawn for each window; ``"first"``: the first of each kind.
    crop_min, crop_order
        Minutes of wake that `hypnograph prepare` keeps around sleep (None: all), and how unscored epochs count for it;
        see `hypnograph.training.cropping`.
    centred
        Where scored epochs are shorter than the network's (20 s), `hypnograph prepare` gives each a window around it.
    seed
        Of the weights and of all draws.
    pretraining
        The first of two steps, for networks that have one (DeepSleepNet).
    """

    title: str = ""
    source: str = ""
    notes: str = ""
    network: Network
    input: Mapping[str, Any] = field(default_factory=dict)
    targets: Literal["first", "majority", "soft"] = "first"
    derivations: Literal["random", "first"] = "random"
    crop_min: float | None = None
    crop_order: Literal["masked", "unscored-is-sleep"] = "masked"
    centred: bool = False
    seed: int = 1
    pretraining: Phase | None = None

    @property
    def combinations(self) -> int | None:
        """How many channel combinations vote where the network is tested: what saw first derivations only, those."""
        return 1 if self.derivations == "first" else None

    def input_spec(self) -> InputSpec:
        """Return how nights are prepared for this network.

        Raises
        ------
        HypnographError
            If there is no such architecture or option, or a value is impossible.
        """
        from hypnograph.models import create_model, describe

        known = {f.name for f in fields(InputSpec)}
        if unknown := sorted(set(self.input) - known):
            raise HypnographError(f"[input] has no key {unknown[0]!r}. There are: {', '.join(sorted(known))}")
        network = self.network
        # InputSpec has words of its own for what is not done.
        given: dict[str, Any] = {
            key: "none" if key == "scaling" and value is None else value for key, value in self.input.items()
        }
        try:
            model = create_model(network.architecture, preset=network.preset, **network.options)
            spec = replace(describe(model).input, **given)
        except TypeError as error:  # a text where a number should be
            raise HypnographError(f"[network.options] or [input]: {error}") from error
        self._check(spec, model.config)
        return spec

    def _check(self, spec: InputSpec, config: Any) -> None:
        """Refuse an input that is not what the network takes."""
        if len(spec.kinds) != config.n_channels:
            raise HypnographError(
                f"[input] kinds are {', '.join(spec.kinds)}, but network.options.n_channels is {config.n_channels}"
            )
        for name in ("sample_rate", "epoch_s"):
            if getattr(spec, name) != getattr(config, name):
                raise HypnographError(
                    f"[input] {name} is {getattr(spec, name):g}, the network's is {getattr(config, name):g}; "
                    f"set network.options.{name}"
                )


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with hypnograph."""
    return tuple(sorted(e.name.removesuffix(".toml") for e in _shipped().iterdir() if e.name.endswith(".toml")))


def recipe_text(name: str) -> str:
    """Return the TOML text of a recipe that comes with hypnograph.

    Raises
    ------
    HypnographError
        If there is none of this name; the message lists those that exist.
    """
    if name not in recipe_names():
        raise HypnographError(f"no recipe {name!r}. There are: {', '.join(recipe_names())}; or give a TOML file")
    return str((_shipped() / f"{name}.toml").read_text(encoding="utf-8"))


def read_recipe(source: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    source
        A TOML file, or the name of a recipe that comes with hypnograph.
    settings
        ``"optimiser.learning_rate=1e-4"`` and the like, which replace values of the file.

    Raises
    ------
    HypnographError
        If there is no such recipe, or a key or value in it is not known.
    """
    path = Path(source)
    if path.suffix == ".toml" or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableFileError(f"{path}: cannot be read ({error})") from error
    else:
        text = recipe_text(str(source))
    try:
        return parse_recipe(text, settings)
    except HypnographError as error:
        raise type(error)(f"recipe {source}: {error}") from error


def parse_recipe(text: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML text; see `read_recipe`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableFileError(f"not TOML: {error}") from error
    for setting in settings:
        _set(values, setting)
    return _build(Recipe, values, "")


def recipe_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML text with every value written out; `parse_recipe` gives the same recipe again."""
    return _toml(_plain(recipe), "")


def _shipped() -> Any:
    return files("hypnograph") / "configs"


def _set(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    parts = [_unquoted(part) for part in re.findall(r'"[^"]*"|[^."]+', key.strip())]
    if not equals or not parts:
        raise HypnographError(f"--set {setting}: write KEY=VALUE, e.g. --set optimiser.learning_rate=1e-4")
    *tables, last = parts
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise HypnographError(f"--set {setting}: {table} is a value, not a table")
    values[last] = _value(text.strip())


def _unquoted(part: str) -> str:
    return part.strip('"')


def _value(text: str) -> Any:
    if text in _NO_VALUE:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from plain values; every key and every type is checked."""
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        table = f"[{where}]" if where else "the recipe"
        raise HypnographError(f"{table} has no key {unknown[0]!r}. There are: {', '.join(sorted(known))}")
    missing = [
        name
        for name, f in known.items()
        if f.default is MISSING and f.default_factory is MISSING and name not in values
    ]
    if missing:
        raise HypnographError(f"{where + ': ' if where else ''}{missing[0]} is missing")
    made = {name: _checked(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in values.items()}
    try:
        return kind(**made)
    except HypnographError as error:
        raise HypnographError(f"{where}.{error}".lstrip(".")) from error


def _at_least(table: Any, least: float, *names: str) -> None:
    for name in names:
        value = getattr(table, name)
        if value is not None and not value >= least:
            raise HypnographError(f"{name} is {value}; it must be {least:g} or more")


def _checked(hint: Any, value: Any, where: str) -> Any:
    """Return the value as its annotation wants it."""
    if get_origin(hint) in (Union, UnionType):
        options = [option for option in get_args(hint) if option is not NoneType]
        if value is None and NoneType in get_args(hint):
            return None
        for option in options:
            if _fits(option, value):
                return _checked(option, value, where)
        raise _wrong(hint, value, where)
    if not _fits(hint, value):
        raise _wrong(hint, value, where)
    if is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is Sequence:
        return tuple(_checked(get_args(hint)[0], entry, where) for entry in value)
    if get_origin(hint) is Mapping:
        return {key: _checked(get_args(hint)[1], entry, f"{where}.{key}") for key, entry in value.items()}
    given: Any = None if hint is Any and value in _NO_VALUE else value
    return float(given) if hint is float else given


def _fits(hint: Any, value: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in get_args(hint)
    if is_dataclass(hint) or origin is Mapping:
        return isinstance(value, Mapping)
    if origin is Sequence:
        return isinstance(value, (list, tuple))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint


def _wrong(hint: Any, value: Any, where: str) -> HypnographError:
    return HypnographError(f"{where} is {value!r}; it must be {_in_words(hint)}")


def _in_words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_in_words(option) for option in get_args(hint) if option is not NoneType)
    if get_origin(hint) is Literal:
        return " or ".join(repr(word) for word in get_args(hint))
    names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    if get_origin(hint) is Sequence:
        return "a list"
    return names.get(hint, "a table")


def _plain(value: Any) -> Any:
    """Return dataclasses as dictionaries; TOML has no word for None: left out, or ours where it replaces a value."""
    if is_dataclass(value) and not isinstance(value, type):
        known = {f.name: getattr(value, f.name) for f in fields(value)}
        return {key: _plain(entry) for key, entry in known.items() if entry is not None}
    if isinstance(value, Mapping):
        return {key: "none" if entry is None else _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _toml(values: Mapping[str, Any], where: str) -> str:
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lists = {k: v for k, v in values.items() if isinstance(v, list) and v and all(isinstance(e, Mapping) for e in v)}
    lines = [f"{_key(key)} = {_literal(v)}" for key, v in values.items() if key not in tables and key not in lists]
    text = "".join(f"{line}\n" for line in lines)
    for key, table in tables.items():
        name = f"{where}{_key(key)}"
        text += f"\n[{name}]\n{_toml(table, name + '.')}"
    for key, entries in lists.items():
        name = f"{where}{_key(key)}"
        text += "".join(f"\n[[{name}]]\n{_toml(entry, name + '.')}" for entry in entries)
    return text


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _literal(key)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, which also has one for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(_literal(entry) for entry in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_literal(entry)}" for key, entry in value.items()) + "}"
    return repr(value)
