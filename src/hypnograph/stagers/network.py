"""A network as a stager: derivations in, its logits over the whole night, probabilities out.

The same code serves a torch module, a checkpoint and an ONNX file; without the first two, torch is not imported. Each
combination of derivations that the network can take is staged, and all vote (see `hypnograph.stagers.ensemble`).

Epochs whose EEG is not usable (`hypnograph.signal_quality`) are UNSCORED; the network still sees them, as it sees their
neighbours. A network that takes no EEG is judged by what it takes.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, MissingChannelError, UnusableSignalError
from hypnograph.hypnogram import Hypnodensity
from hypnograph.model_info import ModelInfo
from hypnograph.montage import ChannelKind, Derivation, read_derivation
from hypnograph.network import Floats, Network, TorchNetwork, night_logits
from hypnograph.preprocess import InputSpec, without_impossible
from hypnograph.recording import Recording
from hypnograph.released_weights import load
from hypnograph.signal_quality import signal_quality
from hypnograph.stagers import Ballot, StagerLike, Staging, Voter, create_stager
from hypnograph.stages import StageScheme
from hypnograph.windows import log_softmax

if TYPE_CHECKING:
    from torch import nn

NAME = "network"
DESCRIPTION = "a network: --model takes a checkpoint, an ONNX file or the name of fetched weights"


@dataclass(frozen=True, eq=False)
class _Channel:
    """One derivation, ready for the network: epochs (n_epochs, sample), and how good it is in each."""

    epochs: Floats
    usable: NDArray[np.bool_]
    weight: NDArray[np.float64]
    warnings: tuple[str, ...]


class Stager:
    """Stage by a network.

    Parameters
    ----------
    model
        A torch module with the signature (window, context, channel, sample) → logits; a `Network`; a checkpoint's
        folder; an ONNX file; or the name of weights that `hypnograph models` lists.
    spec
        What the module takes. Not needed for our architectures and for files, which say it themselves.
    scheme
        The stages of its logits, in their order; AASM for a module that does not say.
    resolution_s
        Seconds for each stage, where the network can be asked for other than an epoch's.
    eeg, eog, emg, ecg
        Derivations to use instead of all that are found.
    max_voters
        Combinations of derivations that vote at most; 1: the best one alone.
    epochs_at_once
        How many epochs the network is given at once (64 in torch, 160 in an ONNX file): this bounds the memory, and
        does not change the result.
    stride
        For networks that look at windows: epochs from one window to the next.

    Raises
    ------
    HypnographError
        If nothing says what the module takes, or the network has no such resolution.
    """

    def __init__(
        self,
        model: "nn.Module | Network | str | Path",
        spec: InputSpec | None = None,
        *,
        scheme: StageScheme | None = None,
        resolution_s: float | None = None,
        eeg: str | Sequence[str] | None = None,
        eog: str | Sequence[str] | None = None,
        emg: str | Sequence[str] | None = None,
        ecg: str | Sequence[str] | None = None,
        max_voters: int | None = None,
        epochs_at_once: int | None = None,
        stride: int | None = None,
    ) -> None:
        self.network = _network(model, spec, scheme, resolution_s)
        self.overrides = {"eeg": eeg, "eog": eog, "emg": emg, "ecg": ecg}
        self.max_voters = max_voters
        if min(1 if epochs_at_once is None else epochs_at_once, 1 if stride is None else stride) < 1:
            raise HypnographError(f"epochs_at_once is {epochs_at_once}, stride {stride}; both must be at least 1")
        self.epochs_at_once, self.stride = epochs_at_once, stride

    @property
    def info(self) -> ModelInfo:
        """What there is to know about the network."""
        return self.network.info

    @property
    def kinds(self) -> tuple[ChannelKind, ...]:
        return self.info.input.kinds

    @property
    def required(self) -> tuple[ChannelKind, ...]:
        return self.kinds

    def stage(self, recording: Recording) -> Staging:
        """Stage one recording by all derivations that the network can take; see `StagerLike.stage`."""
        limit = {} if self.max_voters is None else {"max_voters": self.max_voters}
        return create_stager("ensemble", member=self, **self.overrides, **limit).stage(recording)

    def vote(self, recording: Recording, montages: Sequence[Sequence[Derivation]]) -> Ballot:
        """Stage the recording once for each montage; derivations are prepared once.

        Raises
        ------
        MissingChannelError
            If a montage lacks a kind that the network takes.
        UnusableSignalError
            If the recording is shorter than an epoch.
        """
        spec = self.info.input
        for montage in montages:
            _check_kinds(montage, spec.kinds, self.info.title)
        if recording.duration_s < spec.epoch_s:
            raise UnusableSignalError(
                f"the recording lasts {recording.duration_s:g} s; one epoch has {spec.epoch_s:g} s"
            )
        began = perf_counter()
        distinct = list(dict.fromkeys(derivation for montage in montages for derivation in montage))
        with ThreadPoolExecutor() as pool:
            prepared = pool.map(lambda derivation: _channel(recording, derivation, spec), distinct)
            channels = dict(zip(distinct, prepared, strict=True))
        timings = {"prepare": perf_counter() - began}
        began = perf_counter()
        voters = tuple(self._voter(montage, channels, recording) for montage in montages)
        timings["network"] = perf_counter() - began
        warnings = tuple(dict.fromkeys(w for channel in channels.values() for w in channel.warnings))
        return Ballot(voters, self._scorer, self.network.sha256, warnings, timings)

    @property
    def _scorer(self) -> str:
        return self.info.title

    def _voter(
        self, montage: Sequence[Derivation], channels: Mapping[Derivation, _Channel], recording: Recording
    ) -> Voter:
        inputs = [channels[derivation] for derivation in montage]
        n_epochs = min(len(channel.epochs) for channel in inputs)
        night = np.stack([channel.epochs[:n_epochs] for channel in inputs], axis=1)
        usable, weight, evidence = _judge(montage, inputs, n_epochs)
        probabilities = np.exp(log_softmax(self._logits(night)))
        probabilities[~usable] = np.nan
        parts = self.info.sub_epochs
        hypnodensity = Hypnodensity(
            probabilities.reshape(n_epochs * parts, -1),
            self.info.resolution_s,
            start=recording.start,
            scheme=self.info.scheme,
            scorer=self._scorer,
        )
        name = " + ".join(derivation.name for derivation in montage)
        return Voter(name, tuple(montage), hypnodensity, np.repeat(weight, parts), np.repeat(evidence, parts))

    def _logits(self, night: Floats) -> NDArray[np.float64]:
        """Return logits (n_epochs, sub_epoch, stage)."""
        logits = night_logits(self.network, night, epochs_at_once=self.epochs_at_once, stride=self.stride)
        expected = (len(night), self.info.sub_epochs, self.info.scheme.n_stages)
        if logits.size != np.prod(expected) or len(logits) != len(night) or logits.shape[-1] != expected[-1]:
            raise HypnographError(
                f"the network gave logits of shape {logits.shape} for {expected[0]} epochs; scheme "
                f"{self.info.scheme.name} has {expected[2]} stages (give another with scheme=…)"
            )
        return logits.reshape(expected)


def create(**options: Any) -> StagerLike:
    """Return a `Stager`; options are its arguments.

    Raises
    ------
    HypnographError
        If there is no model, or an option is for another stager.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if "model" not in given:
        raise HypnographError("the stager 'network' needs a model: --model CHECKPOINT (or model=…)")
    for name in ("age", "male"):
        if name in given:
            raise HypnographError(f"{name} is given, but a network does not take it; it is for the YASA classifiers")
    return Stager(**given)


def _network(model: Any, spec: InputSpec | None, scheme: StageScheme | None, resolution_s: float | None) -> Network:
    """Return what a user calls a model as a network."""
    if isinstance(model, (str, Path)):
        return load(model, resolution_s=resolution_s)
    if not hasattr(model, "info"):
        model = TorchNetwork(model, _described(model, spec, scheme))
    network = cast(Network, model)
    if resolution_s is not None and not network.info.gives(resolution_s):
        raise HypnographError(
            f"this network gives one stage each {network.info.resolution_s:g} s; set the resolution when it is "
            f"created (sub_epochs=…) or loaded (hypnograph.load(…, resolution_s={resolution_s:g}))"
        )
    return network


def _described(model: "nn.Module", spec: InputSpec | None, scheme: StageScheme | None) -> ModelInfo:
    from hypnograph.models import describe, is_ours

    known: dict[str, Any] = {name: value for name, value in {"input": spec, "scheme": scheme}.items() if value}
    if is_ours(model):
        return describe(model, **known)
    if spec is None:
        raise HypnographError("say what the module takes: Stager(model, spec=InputSpec(kinds=…, sample_rate=…))")
    return ModelInfo(architecture="", config={}, name=type(model).__name__, **known)


def _check_kinds(montage: Sequence[Derivation], kinds: Sequence[ChannelKind], title: str) -> None:
    found = [derivation.kind for derivation in montage]
    if found != list(kinds):
        raise MissingChannelError(
            f"{title} takes {', '.join(kinds)}; it was given {', '.join(found) or 'nothing'}. "
            "Name the missing ones, e.g. --eog LABEL (or eog=…)"
        )


def _channel(recording: Recording, derivation: Derivation, spec: InputSpec) -> _Channel:
    derived = read_derivation(recording, derivation)
    amplitude_uv, rate = without_impossible(derived.amplitude_uv), derived.sample_rate
    quality = signal_quality(
        amplitude_uv, rate, kind=derivation.kind, epoch_s=spec.epoch_s, physical_range_uv=derived.physical_range_uv
    )
    epochs = spec.prepare(amplitude_uv, rate).astype(np.float32)
    # Rounding of the sample rate may lack one epoch at the end of the one or the other.
    n_epochs = min(len(epochs), len(quality.weight))
    warnings = (*derived.warnings, *quality.warnings(derivation.name))
    return _Channel(epochs[:n_epochs], quality.usable[:n_epochs], quality.weight[:n_epochs], warnings)


def _judge(
    montage: Sequence[Derivation], inputs: Sequence[_Channel], n_epochs: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return which epochs can be staged, what the vote counts and how much of each epoch the EEG shows."""
    by_kind = [(derivation.kind, channel) for derivation, channel in zip(montage, inputs, strict=True)]
    judges = [channel for kind, channel in by_kind if kind is ChannelKind.EEG] or list(inputs)
    usable = np.all([channel.usable[:n_epochs] for channel in judges], axis=0)
    weight = np.prod([channel.weight[:n_epochs] for channel in inputs], axis=0)
    evidence = np.min([channel.weight[:n_epochs] for channel in judges], axis=0)
    # An EOG that fell off lowers the vote, but alone it must not silence an EEG that is good.
    return usable, np.maximum(weight, 0.05 * evidence), evidence
