"""Automatic sleep staging: recording in; hypnogram, certainty, statistics and report out.

The public names, each imported when it is first asked for: ``hypnograph --help`` must not pay for numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypnograph.channel_labels import ChannelKind
    from hypnograph.checkpoint import export, save
    from hypnograph.datasets import nights
    from hypnograph.errors import HypnographError
    from hypnograph.evaluation.agreement import Agreement, agreement
    from hypnograph.evaluation.calibration import Calibration
    from hypnograph.evaluation.consensus import majority
    from hypnograph.evaluation.sleep_statistics import SleepStatistics, sleep_statistics
    from hypnograph.evaluation.tables import evaluate_nights
    from hypnograph.hypnogram import Hypnodensity, Hypnogram
    from hypnograph.hypnogram_files import read_hypnogram, write_hypnogram
    from hypnograph.model_info import ModelInfo
    from hypnograph.models import create_model
    from hypnograph.montage import Derivation, choose_derivations
    from hypnograph.preprocess import InputSpec
    from hypnograph.recording import Recording, Signal
    from hypnograph.released_weights import load
    from hypnograph.report import write_report
    from hypnograph.review import unsure_stretches
    from hypnograph.sequences.any_model import load_language_model
    from hypnograph.sequences.decoding import decode, load_decoder
    from hypnograph.signal_files import read_recording
    from hypnograph.signal_files.mne import from_raw, to_annotations
    from hypnograph.simulate import simulate_hypnogram, simulate_recording
    from hypnograph.stagers import Staging, create_stager, stage
    from hypnograph.stagers.network import Stager
    from hypnograph.stages import AASM_5, W_LIGHT_DEEP_REM, W_NREM_REM, W_SLEEP, Stage, StageScheme
    from hypnograph.training.loop import train
    from hypnograph.training.preparation import prepare
    from hypnograph.training.recipes import read_recipe
    from hypnograph.training.store import open_store

_MODULE_OF = {
    "AASM_5": "hypnograph.stages",
    "Agreement": "hypnograph.evaluation.agreement",
    "Calibration": "hypnograph.evaluation.calibration",
    "ChannelKind": "hypnograph.channel_labels",
    "Derivation": "hypnograph.montage",
    "Hypnodensity": "hypnograph.hypnogram",
    "Hypnogram": "hypnograph.hypnogram",
    "HypnographError": "hypnograph.errors",
    "InputSpec": "hypnograph.preprocess",
    "ModelInfo": "hypnograph.model_info",
    "Recording": "hypnograph.recording",
    "Signal": "hypnograph.recording",
    "SleepStatistics": "hypnograph.evaluation.sleep_statistics",
    "Stage": "hypnograph.stages",
    "StageScheme": "hypnograph.stages",
    "Stager": "hypnograph.stagers.network",
    "Staging": "hypnograph.stagers",
    "W_LIGHT_DEEP_REM": "hypnograph.stages",
    "W_NREM_REM": "hypnograph.stages",
    "W_SLEEP": "hypnograph.stages",
    "agreement": "hypnograph.evaluation.agreement",
    "choose_derivations": "hypnograph.montage",
    "create_model": "hypnograph.models",
    "create_stager": "hypnograph.stagers",
    "decode": "hypnograph.sequences.decoding",
    "evaluate_nights": "hypnograph.evaluation.tables",
    "export": "hypnograph.checkpoint",
    "from_raw": "hypnograph.signal_files.mne",
    "load": "hypnograph.released_weights",
    "load_decoder": "hypnograph.sequences.decoding",
    "load_language_model": "hypnograph.sequences.any_model",
    "majority": "hypnograph.evaluation.consensus",
    "nights": "hypnograph.datasets",
    "open_store": "hypnograph.training.store",
    "prepare": "hypnograph.training.preparation",
    "read_hypnogram": "hypnograph.hypnogram_files",
    "read_recipe": "hypnograph.training.recipes",
    "read_recording": "hypnograph.signal_files",
    "save": "hypnograph.checkpoint",
    "simulate_hypnogram": "hypnograph.simulate",
    "simulate_recording": "hypnograph.simulate",
    "sleep_statistics": "hypnograph.evaluation.sleep_statistics",
    "stage": "hypnograph.stagers",
    "to_annotations": "hypnograph.signal_files.mne",
    "train": "hypnograph.training.loop",
    "unsure_stretches": "hypnograph.review",
    "write_hypnogram": "hypnograph.hypnogram_files",
    "write_report": "hypnograph.report",
}

__all__ = [
    "AASM_5",
    "W_LIGHT_DEEP_REM",
    "W_NREM_REM",
    "W_SLEEP",
    "Agreement",
    "Calibration",
    "ChannelKind",
    "Derivation",
    "Hypnodensity",
    "Hypnogram",
    "HypnographError",
    "InputSpec",
    "ModelInfo",
    "Recording",
    "Signal",
    "SleepStatistics",
    "Stage",
    "StageScheme",
    "Stager",
    "Staging",
    "agreement",
    "choose_derivations",
    "create_model",
    "create_stager",
    "decode",
    "evaluate_nights",
    "export",
    "from_raw",
    "load",
    "load_decoder",
    "load_language_model",
    "majority",
    "nights",
    "open_store",
    "prepare",
    "read_hypnogram",
    "read_recipe",
    "read_recording",
    "save",
    "simulate_hypnogram",
    "simulate_recording",
    "sleep_statistics",
    "stage",
    "to_annotations",
    "train",
    "unsure_stretches",
    "write_hypnogram",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hypnograph' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
