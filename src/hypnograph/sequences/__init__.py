"""Stage sequences as a language: how likely a stage is, given those before it."""

from hypnograph.sequences.any_model import load_language_model
from hypnograph.sequences.language_model import StageLanguageModel, from_published

__all__ = ["StageLanguageModel", "from_published", "load_language_model"]
