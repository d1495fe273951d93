"""What a network has learned: first-layer filters, LSTM cells and attention, over a night where one is given.

The numbers are here, in `first_layers`, `cells` and `attention`; they know no architecture by its name. `figures` draws
them and `page` makes one HTML page of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.model_info import ModelInfo
from hypnograph.models import count_parameters, create_model
from hypnograph.montage import Derivation
from hypnograph.network import Floats, TorchNetwork
from hypnograph.preprocess import InputSpec, without_impossible
from hypnograph.recording import Recording

# Only after `hypnograph.models`, which says how to install torch where it is missing.
from hypnograph.inspection.attention import Attention, attention_of  # isort: skip
from hypnograph.inspection.cells import Cells, cells_of, find_cells, mean_by_run_length  # isort: skip
from hypnograph.inspection.first_layers import (  # isort: skip
    FirstLayer,
    FrequencyResponse,
    StageActivation,
    activation_by_stage,
    first_layers,
    frequency_response,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Attention", "Cells", "FirstLayer", "FrequencyResponse", "Inspection", "NightInspection", "StageActivation",
    "activation_by_stage", "attention_of", "cells_of", "find_cells", "first_layers", "frequency_response", "inspect",
    "mean_by_run_length", "night_of",
]  # fmt: skip

N_FRESH = 5
"""Networks with fresh weights whose cells are compared with."""


@dataclass(frozen=True, eq=False)
class NightInspection:
    """What a network does over one night.

    Parameters
    ----------
    derivations
        What it was given.
    stages : Hypnogram
        One stage for each of its epochs.
    stages_from
        Who scored them, in words.
    activations
        Of the first layers, in their order.
    cells
        None if it has no LSTM over epochs.
    table : pandas.DataFrame
        What `find_cells` returns; None without cells.
    attention
        Empty if it has none.
    """

    derivations: tuple[Derivation, ...]
    stages: Hypnogram
    stages_from: str
    activations: tuple[StageActivation, ...]
    cells: Cells | None
    table: "pd.DataFrame | None"
    attention: tuple[Attention, ...]


@dataclass(frozen=True, eq=False)
class Inspection:
    """What can be seen of a network.

    Parameters
    ----------
    info
        What there is to know about it.
    n_parameters
        Trainable values.
    layers, responses
        The layers that see the signal itself, and the frequency response of each.
    night
        None without a recording.
    """

    info: ModelInfo
    n_parameters: int
    layers: tuple[FirstLayer, ...]
    responses: tuple[FrequencyResponse, ...]
    night: NightInspection | None = None


def inspect(
    network: TorchNetwork,
    recording: Recording | None = None,
    *,
    scoring: Hypnogram | None = None,
    **derivations: str | Sequence[str] | None,
) -> Inspection:
    """Look into a network.

    Parameters
    ----------
    network
        That `hypnograph.load` returned for a checkpoint's folder.
    recording
        A night to send through it; None: its filters alone.
    scoring
        Stages of the night; placed by its start time. None: the network's own.
    derivations
        ``eeg=…``, ``eog=…``, ``emg=…``, ``ecg=…`` instead of the best that there are.

    Raises
    ------
    HypnographError
        If the network is an ONNX file's, or a scoring is given without a recording or covers none of it.
    """
    if not isinstance(network, TorchNetwork):
        raise HypnographError("an ONNX file does not show its layers; give the folder of the checkpoint it came from")
    if recording is None and scoring is not None:
        raise HypnographError("a scoring is given, but no recording; give both, or neither")
    layers = first_layers(network)
    night = None if recording is None else _inspect_night(network, recording, scoring, derivations)
    responses = tuple(frequency_response(layer) for layer in layers)
    return Inspection(network.info, count_parameters(network.model), layers, responses, night)


def _inspect_night(
    network: TorchNetwork, recording: Recording, scoring: Hypnogram | None, derivations: dict[str, Any]
) -> NightInspection:
    from hypnograph.stagers.network import Stager

    staging = Stager(network, max_voters=1, **derivations).stage(recording)
    signals = night_of(recording, staging.derivations, network.info.input)
    given = staging.hypnogram if scoring is None else _in_scheme_of(scoring, network.info)
    stages = given.align(recording.start, len(signals), network.info.input.epoch_s)
    if not stages.scored.any():
        raise HypnographError("no epoch of the night is scored; without stages there is nothing to compare with")
    by_person = f"the scoring by {scoring.scorer}" if scoring is not None and scoring.scorer else "the scoring given"
    cells = cells_of(network, signals)
    return NightInspection(
        staging.derivations,
        stages,
        "the network itself" if scoring is None else by_person,
        activation_by_stage(network, signals, stages),
        cells,
        None if cells is None else find_cells(cells, stages, fresh=_fresh_cells(network, signals)),
        attention_of(network, signals, stages),
    )


def _in_scheme_of(scoring: Hypnogram, info: ModelInfo) -> Hypnogram:
    """Return the scoring in the network's stages, or as it is where it has coarser ones."""
    try:
        return scoring.merge(info.scheme)
    except HypnographError:
        return scoring


def _fresh_cells(network: TorchNetwork, signals: Floats) -> list[Cells]:
    """Return the cells of networks of the same architecture that never learned."""
    import torch

    if not network.info.architecture:
        return []
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(N_FRESH):
            torch.manual_seed(seed)
            fresh = TorchNetwork(create_model(network.info.architecture, **network.info.config), network.info)
            found.append(cells_of(fresh, signals))
    return [cells for cells in found if cells is not None]


def night_of(recording: Recording, derivations: Sequence[Derivation], spec: InputSpec) -> Floats:
    """Return a night as a network takes it.

    Parameters
    ----------
    recording
        The night.
    derivations
        One for each channel of the network.
    spec
        What the network takes.

    Returns
    -------
    float32 array, shape (n_epochs, channel, sample)
    """
    channels = []
    for derivation in derivations:
        amplitude_uv, sample_rate = derivation.amplitude_uv(recording)
        channels.append(spec.prepare(without_impossible(amplitude_uv), sample_rate).astype(np.float32))
    n_epochs = min(len(epochs) for epochs in channels)
    return np.stack([epochs[:n_epochs] for epochs in channels], axis=1)
