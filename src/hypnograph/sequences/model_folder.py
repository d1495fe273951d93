"""The folder of a stage language model: model.safetensors, model.json and README.md, the model card."""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.model_info import CARD, FORMAT, INFO, WEIGHTS
from hypnograph.stages import SCHEMES
from hypnograph.whole_file import whole_file

Model = TypeVar("Model")

ABOUT = ("name", "data", "licence", "source")
"""What every model says of itself, in words."""


def about(model: Any) -> dict[str, str]:
    """Return what model.json says of every model: its scheme, and `ABOUT`."""
    return {"scheme": model.scheme.name, **{name: getattr(model, name) for name in ABOUT}}


def about_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model is given of its model.json: the inverse of `about`.

    Raises
    ------
    HypnographError
        If the scheme is not known.
    """
    if info["scheme"] not in SCHEMES:
        raise HypnographError(f"scheme {info['scheme']!r} is not one of {', '.join(SCHEMES)}")
    return {"scheme": SCHEMES[info["scheme"]], **{name: info[name] for name in ABOUT}}


def checked_weights(
    given: Mapping[str, ArrayLike], shapes: Mapping[str, tuple[int, ...]], what: str
) -> dict[str, NDArray[np.float32]]:
    """Return read-only copies of values whose names and shapes are exactly those expected.

    Parameters
    ----------
    given
        Values by name.
    shapes
        Those expected.
    what
        These are weights of, for the message.

    Raises
    ------
    HypnographError
        If one is missing, unknown, of another shape, or not finite.
    """
    missing, unknown = sorted(shapes.keys() - given.keys()), sorted(given.keys() - shapes.keys())
    if missing or unknown:
        raise HypnographError(f"not the {what}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
    values = {name: np.asarray(given[name]).astype(np.float32) for name in shapes}
    for name, array in values.items():
        if array.shape != shapes[name]:
            raise HypnographError(f"not the {what}: {name} has shape {array.shape}, needed is {shapes[name]}")
        if not np.isfinite(array).all():
            raise HypnographError(f"not the {what}: {name} holds values that are not finite")
        array.setflags(write=False)
    return values


def write_model(
    folder: str | Path,
    info: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write a checkpoint; each file is written whole or not at all, the weights last.

    Parameters
    ----------
    folder
        Is made if need be.
    info
        The content of model.json: ``architecture``, ``name``, ``data``, ``licence``, ``source`` and more.
    arrays
        The content of model.safetensors.
    facts
        More for the model card, by name.

    Raises
    ------
    HypnographError
        If the folder holds one of these files: a checkpoint is never overwritten.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    for name in (WEIGHTS, INFO, CARD):
        if (folder / name).exists():
            raise HypnographError(f"{folder / name} exists and is not overwritten; choose another folder")
    written = {"format": FORMAT, "version": version("hypnograph"), **info}
    with whole_file(folder / INFO) as path:
        path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with whole_file(folder / CARD) as path:
        path.write_text(_card(info, sum(array.size for array in arrays.values()), facts or {}), encoding="utf-8")
    with whole_file(folder / WEIGHTS) as path:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return folder


def read_model(
    folder: str | Path, architecture: str, build: Callable[[dict[str, Any], dict[str, NDArray[Any]]], Model]
) -> Model:
    """Read a checkpoint and make a model of it.

    Parameters
    ----------
    folder
        What `write_model` wrote.
    architecture
        Which it has to be.
    build
        Is given the content of model.json and of model.safetensors.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of another architecture, or of a newer format.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        if info["architecture"] != architecture:
            raise HypnographError(f"its architecture is {info['architecture']!r}, not {architecture!r}")
        if info["format"] > FORMAT:
            raise HypnographError(f"it is of format {info['format']}; this hypnograph reads up to {FORMAT}")
        return build(info, load_file(folder / WEIGHTS))
    except HypnographError as error:
        raise UnreadableFileError(f"{folder}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, SafetensorError) as error:
        raise UnreadableFileError(f"{folder} is no checkpoint of a stage language model: {error!r}") from error


def _card(info: Mapping[str, Any], n_values: int, more: Mapping[str, str]) -> str:
    facts = {
        "Architecture": f"{info['architecture']}, {n_values:,} values",
        **more,
        "Training data": info.get("data") or "not stated",
        "Licence of the weights": info.get("licence") or "not stated",
        "Source": info.get("source") or "not stated",
        "Written by": f"hypnograph {version('hypnograph')}",
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    return f"# {info.get('name') or 'Stage language model'}\n\nFor research.\n\n| | |\n|---|---|\n{rows}"
