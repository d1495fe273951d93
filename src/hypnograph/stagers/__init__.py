"""Stagers: recording in, staging out. The folder is the registry.

Each module has ``NAME`` (as given to ``--stager``), ``DESCRIPTION`` (one line) and ``create(**options) -> StagerLike``.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.montage import ChannelKind, Derivation
from hypnograph.recording import Recording
from hypnograph.signal_files import read_recording

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_STAGER = "ensemble"


@dataclass(frozen=True, eq=False)
class Voter:
    """One member of an ensemble: what it saw, what it says, and how much it counts.

    Parameters
    ----------
    name
        e.g. ``"C4-M1 + E1-M2 + chin"``.
    derivations
        What it was given.
    hypnodensity
        Its probabilities.
    weight : float array, shape (n_epochs,)
        Its share in each epoch, 0 to 1, lowered where its signals are bad.
    evidence : float array, shape (n_epochs,)
        How much of each epoch its EEG shows, 0 to 1: a hum on the EMG lowers the weight, but not this.
    """

    name: str
    derivations: tuple[Derivation, ...]
    hypnodensity: Hypnodensity
    weight: NDArray[np.float64]
    evidence: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Staging:
    """A staged night.

    Parameters
    ----------
    hypnogram
        The stages; UNSCORED where there was nothing to stage.
    hypnodensity
        How sure; same grid.
    derivations
        What was used, and why.
    stager
        The stager's name and version.
    weights_sha256
        Of the weights used.
    warnings
        What a person should know before trusting this.
    timings_s
        Seconds for each phase.
    voters
        Members of an ensemble; empty for a single stager.
    undecoded
        What the stager itself said, where a decoder has changed it.
    """

    hypnogram: Hypnogram
    hypnodensity: Hypnodensity
    derivations: tuple[Derivation, ...]
    stager: str
    weights_sha256: str = ""
    warnings: tuple[str, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    voters: tuple[Voter, ...] = ()
    undecoded: Hypnodensity | None = None

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each epoch: onset, stage, a probability for each stage, confidence and entropy."""
        return self.hypnodensity.to_frame().assign(stage=self.hypnogram.names)

    def __repr__(self) -> str:
        known = self.hypnodensity.known
        sure = f", mean confidence {self.hypnodensity.confidence()[known].mean():.2f}" if known.any() else ""
        used = ", ".join(f"{d.kind} {d.name}" for d in self.derivations)
        lines = [f"Staging by {self.stager} from {used}{sure}", str(self.hypnogram)]
        return "\n".join(lines + [f"Warning: {warning}" for warning in self.warnings])

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        used = ", ".join(f"{d.kind} {d.name}" for d in self.derivations)
        return f"<p>{escape(self.stager)}: {escape(used)}</p>{self.hypnogram._repr_html_()}<ul>{notes}</ul>"


def hypnogram_of(hypnodensity: Hypnodensity, recording: Recording) -> Hypnogram:
    """Return the most probable stages, with lights off and on as the recording's annotations have them."""
    lights_off_s, lights_on_s = recording.lights_s
    return replace(hypnodensity.argmax(), lights_off_s=lights_off_s, lights_on_s=lights_on_s)


def decoded(staging: Staging, decoder: str | Path) -> Staging:
    """Return the staging after a decoder, which is named in it; what the stager said is kept as `undecoded`.

    Parameters
    ----------
    staging
        A night in epochs of 30 s.
    decoder
        A name or a file, see `hypnograph.sequences.decoding.load_decoder`; ``"none"`` changes nothing.

    Raises
    ------
    HypnographError
        If there is no such decoder, or it is not for such epochs.
    """
    from hypnograph.sequences.decoding import NONE, decode, load_decoder

    found = load_decoder(decoder)
    if found.name == NONE:
        return staging
    hypnodensity = decode(staging.hypnodensity, found)
    # What the stager left unscored stays so, and lights off and on stay where they are.
    stages = np.where(staging.hypnogram.scored, hypnodensity.argmax().stages, staging.hypnogram.stages)
    return replace(
        staging,
        hypnogram=replace(staging.hypnogram, stages=stages, scorer=hypnodensity.scorer),
        hypnodensity=hypnodensity,
        stager=f"{staging.stager} + decoder {found.name}",
        undecoded=staging.hypnodensity,
    )


class StagerLike(Protocol):
    """Anything that stages a recording."""

    def stage(self, recording: Recording) -> Staging:
        """Stage one recording.

        Raises
        ------
        MissingChannelError
            If the recording lacks a channel that is needed; names those present.
        UnusableSignalError
            If it is too short, or its signals hold nothing to stage.
        """
        ...


class Ballot(NamedTuple):
    """What a member stager returns: its voters and what there is to say about them."""

    voters: tuple[Voter, ...]
    stager: str
    weights_sha256: str
    warnings: tuple[str, ...]
    timings_s: dict[str, float]


class VotingStager(Protocol):
    """A stager that can stage several montages of one recording at once."""

    @property
    def kinds(self) -> tuple[ChannelKind, ...]:
        """The channel kinds of a montage, in its order."""
        ...

    @property
    def required(self) -> tuple[ChannelKind, ...]:
        """Those without which it cannot stage."""
        ...

    def vote(self, recording: Recording, montages: Sequence[Sequence[Derivation]]) -> Ballot:
        """Stage the recording once for each montage (an EEG, perhaps an EOG, perhaps an EMG derivation)."""
        ...


class StagerModule(Protocol):
    """What a module of this folder provides."""

    NAME: str
    DESCRIPTION: str

    def create(self, **options: Any) -> StagerLike: ...


@cache
def stagers() -> dict[str, StagerModule]:
    """Return the stagers by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: cast(StagerModule, import_module(f"{__name__}.{name}")) for name in names}


def create_stager(name: str = DEFAULT_STAGER, **options: Any) -> StagerLike:
    """Make a stager by name.

    Raises
    ------
    HypnographError
        If there is no such stager; the message lists those that exist.
    """
    if name not in stagers():
        known = "; ".join(f"{name} ({module.DESCRIPTION})" for name, module in stagers().items())
        raise HypnographError(f"no stager {name!r}. There are: {known}")
    return stagers()[name].create(**options)


def open_recording(source: Any) -> Recording:
    """Return a recording from a path, an `mne.io.Raw` or a `Recording`."""
    if isinstance(source, Recording):
        return source
    if isinstance(source, (str, Path)):
        return read_recording(source)
    if type(source).__module__.split(".")[0] == "mne":
        from hypnograph.signal_files.mne import from_raw

        return from_raw(source)
    raise HypnographError(
        f"cannot stage a {type(source).__name__}; give a path, an mne.io.Raw or a hypnograph Recording"
    )


def stage(
    source: Any,
    *,
    stager: str = DEFAULT_STAGER,
    eeg: str | Sequence[str] | None = None,
    eog: str | Sequence[str] | None = None,
    emg: str | Sequence[str] | None = None,
    age: float | None = None,
    male: bool | None = None,
    model: Any = None,
    resolution_s: float | None = None,
    decode: str | Path = "none",
) -> Staging:
    """Stage one night.

    Parameters
    ----------
    source
        Path of a recording, an `mne.io.Raw`, or a `Recording`.
    stager
        Name of the stager; ``"ensemble"`` lets all derivations vote, ``"yasa"`` uses the best one.
    eeg, eog, emg
        Derivations to use instead of those that are chosen, e.g. ``"C4-M1"``; ``"none"`` for none.
    age, male
        Age in years and sex of the sleeper; used when both are given.
    model
        A network that stages instead: a checkpoint, an ONNX file, a name that `hypnograph models` lists, or a torch
        module of ours. All derivations vote; with ``stager="yasa"`` it is refused.
    resolution_s
        Seconds for each stage, for networks that can.
    decode
        A decoder of stage sequences, see `decoded`.

    Raises
    ------
    UnreadableFileError, MissingChannelError, UnusableSignalError
        See `read_recording` and `StagerLike.stage`.

    Examples
    --------
    >>> import hypnograph
    >>> staging = hypnograph.stage("night.edf")  # doctest: +SKIP
    >>> staging.to_frame()  # doctest: +SKIP
    """
    options = stager_options(stager, model=model, resolution_s=resolution_s, age=age, male=male)
    staging = create_stager(stager, eeg=eeg, eog=eog, emg=emg, **options).stage(open_recording(source))
    return decoded(staging, decode) if decode != "none" else staging


def stager_options(
    stager: str, *, model: Any = None, resolution_s: float | None = None, **options: Any
) -> dict[str, Any]:
    """Return the options of a stager; a model makes the ensemble one of networks.

    Raises
    ------
    HypnographError
        If a model is given to a stager that takes none, or a resolution without a model.
    """
    if model is None:
        if resolution_s is not None:
            raise HypnographError("a resolution needs a network that can give it: --model CHECKPOINT (or model=…)")
        return options
    if stager not in (DEFAULT_STAGER, "network"):
        raise HypnographError(f"the stager {stager!r} takes no model; leave one of the two out")
    given = {name: value for name, value in options.items() if value is not None}
    member = {"member": "network"} if stager == DEFAULT_STAGER else {}
    return {**given, **member, "model": model, "resolution_s": resolution_s}
