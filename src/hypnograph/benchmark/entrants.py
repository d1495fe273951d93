"""Who takes part in a comparison: recipes to train, networks that are trained, and stagers as they are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypnograph.errors import HypnographError
from hypnograph.network import Network
from hypnograph.preprocess import InputSpec
from hypnograph.released_weights import load, locate
from hypnograph.stagers import StagerLike, create_stager, stagers
from hypnograph.training.cropping import Crop
from hypnograph.training.recipes import Recipe, read_recipe, recipe_names
from hypnograph.training.run_folder import RECIPE, SPLIT, best_checkpoint
from hypnograph.training.splits import Split, read_split

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, eq=False)
class Entrant:
    """One stager of a comparison.

    Parameters
    ----------
    name
        Of its rows and its folder.
    recipe
        Is trained in each fold.
    network
        Is trained already.
    stager
        Takes the recordings as they are.
    path
        File or folder of the network, where it has one.
    split
        Whom the network was trained on, where that is known.
    trained_by
        The recipe that it was trained by, where that is known.
    """

    name: str
    recipe: Recipe | None = None
    network: Network | None = None
    stager: StagerLike | None = None
    path: Path | None = None
    split: Split | None = None
    trained_by: Recipe | None = None

    @property
    def spec(self) -> InputSpec | None:
        """How nights are prepared for it; None: it prepares them itself."""
        if self.recipe is not None:
            return self.recipe.input_spec()
        return None if self.network is None else self.network.info.input

    @property
    def crop(self) -> Crop | None:
        """Wake around sleep that it sees; None: the whole recording."""
        if self.recipe is None or self.recipe.crop_min is None:
            return None
        return Crop(self.recipe.crop_min, self.recipe.crop_order)

    @property
    def combinations(self) -> int | None:
        """How many channel combinations vote; None: all. What is trained on the first derivation is tested on it."""
        recipe = self.recipe or self.trained_by
        return None if recipe is None else recipe.combinations

    @property
    def description(self) -> str:
        """What it is and what it takes, in words."""
        takes = "" if self.spec is None else f" ({', '.join(self.spec.kinds)} at {self.spec.sample_rate:g} Hz)"
        if self.recipe is not None:
            return f"trained in each fold: {self.recipe.title or self.recipe.network.architecture}{takes}"
        if self.network is not None:
            return f"trained before: {self.network.info.title}{takes}"
        return "as it is, not trained here; it chooses its channels"


def find_entrants(given: Mapping[str, Any] | Sequence[Any], settings: Sequence[str] = ()) -> tuple[Entrant, ...]:
    """Find out what is meant by each stager.

    Parameters
    ----------
    given
        By name, or in a sequence: a recipe (its name or TOML file), a checkpoint (a folder, the folder of a training,
        an ONNX file or the name of weights), the name of a stager (``"yasa"``, ``"ensemble"``); or a `Recipe`, a
        `Network`, anything that stages a recording. A text may be ``"NAME=WHAT"``.
    settings
        ``"KEY=VALUE"`` for all recipes.

    Raises
    ------
    HypnographError
        If nobody takes part, something is none of these, or two have one name.
    """
    named = list(given.items()) if isinstance(given, Mapping) else [_named(one) for one in given]
    if not named:
        raise HypnographError("there is no stager to compare; give recipes, checkpoints or names such as 'yasa'")
    entrants = [_entrant(name, what, settings) for name, what in named]
    names = [entrant.name for entrant in entrants]
    for name in names:
        if not _NAME.fullmatch(name):
            raise HypnographError(f"{name!r} cannot be a stager's name: use letters, digits and . _ + -, as NAME=WHAT")
        if names.count(name) > 1:
            raise HypnographError(f"two stagers are called {name!r}; write NAME=WHAT to tell them apart")
    if settings and not any(entrant.recipe for entrant in entrants):
        raise HypnographError(f"--set {settings[0]}: there is no recipe among the stagers")
    return tuple(entrants)


def _named(what: Any) -> tuple[str, Any]:
    if not isinstance(what, str) or Path(what).exists():
        return "", what
    name, equals, rest = what.partition("=")
    return (name, rest) if equals else ("", what)


def _entrant(name: str, what: Any, settings: Sequence[str]) -> Entrant:
    if isinstance(what, Recipe):
        return Entrant(name or what.network.architecture, recipe=what)
    if isinstance(what, (str, Path)):
        return _from_text(name, str(what), settings)
    if hasattr(what, "info") and hasattr(what, "run"):
        return Entrant(name or what.info.title, network=what)
    if hasattr(what, "stage"):
        return Entrant(name or type(what).__name__, stager=what)
    raise HypnographError(f"a {type(what).__name__} is no recipe, no network and cannot stage a recording")


def _from_text(name: str, text: str, settings: Sequence[str]) -> Entrant:
    if text.endswith(".toml") or text in recipe_names():
        return Entrant(name or Path(text).name.removesuffix(".toml"), recipe=read_recipe(text, settings))
    if text in stagers() and text != "network":
        return Entrant(name or text, stager=create_stager(text))
    path = Path(text) if Path(text).exists() else locate(text)
    if path is None:
        raise HypnographError(
            f"{text!r} is no recipe ({', '.join(recipe_names())}), no stager ({', '.join(stagers())}), no checkpoint "
            "or ONNX file, and no weights that `hypnograph models` lists"
        )
    folder = best_checkpoint(path) if path.is_dir() else path
    run = folder.parent if folder.name in ("best", "last") else folder
    split = read_split(run / SPLIT) if (run / SPLIT).is_file() else None
    recipe = read_recipe(run / RECIPE) if (run / RECIPE).is_file() else None
    title = name or run.resolve().name.removesuffix(".onnx")
    return Entrant(title, network=load(folder), path=folder, split=split, trained_by=recipe)
