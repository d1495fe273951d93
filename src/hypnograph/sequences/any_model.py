"""Any language model of stages by its folder or its name: what wrote it says how to read it."""

import json
from importlib import import_module
from pathlib import Path

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.model_info import INFO
from hypnograph.sequences.next_stage import NextStageModel

SHIPPED = Path(__file__).with_name("weights")

# By architecture: the module of this folder, and its function that reads a checkpoint.
_READERS = {
    "stage-gpt": ("language_model", "load_gpt"),
    "stage-ngram": ("ngrams", "load_ngrams"),
    "stage-semi-markov": ("semi_markov", "load_semi_markov"),
    "stage-memory": ("memory", "load_memory"),
    "stage-recurrent": ("recurrent", "load_recurrent"),
}


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with hypnograph."""
    return tuple(sorted(p.parent.name for p in SHIPPED.glob(f"*/{INFO}") if _architecture(p.parent) in _READERS))


def model_folder(source: str | Path) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    source
        The folder, or the name of a model that comes with hypnograph.

    Raises
    ------
    HypnographError
        If it is neither.
    """
    if Path(source).is_dir():
        return Path(source)
    if str(source) in shipped_models():
        return SHIPPED / str(source)
    known = ", ".join(shipped_models()) or "none"
    raise HypnographError(f"{str(source)!r} is no folder of a stage language model, nor one that ships: {known}")


def load_language_model(source: str | Path) -> NextStageModel:
    """Load a language model of stages.

    Parameters
    ----------
    source
        The folder of a checkpoint, or the name of a model that comes with hypnograph (`shipped_models`).

    Raises
    ------
    HypnographError
        If it is neither.
    UnreadableFileError
        If the checkpoint is damaged or of an architecture that is not known.
    """
    folder = model_folder(source)
    architecture = _architecture(folder)
    if architecture not in _READERS:
        raise UnreadableFileError(
            f"{folder}: its architecture is {architecture!r}; language models of stages are {', '.join(_READERS)}"
        )
    module, function = _READERS[architecture]
    model: NextStageModel = getattr(import_module(f"hypnograph.sequences.{module}"), function)(folder)
    return model


def _architecture(folder: Path) -> str:
    try:
        return str(json.loads((folder / INFO).read_text(encoding="utf-8"))["architecture"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableFileError(f"{folder} is no checkpoint of a stage language model: {error!r}") from error
