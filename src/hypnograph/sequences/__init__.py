"""Stage sequences as a language: how likely a stage is, given those before it."""

from hypnograph.sequences.language_model import StageLanguageModel, from_published, load_language_model

__all__ = ["StageLanguageModel", "from_published", "load_language_model"]
