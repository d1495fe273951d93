"""Which derivations of a recording are prepared: those that were named, those of its dataset, or all usable ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import MissingChannelError, UnusableSignalError
from hypnograph.montage import Derivation, choose_derivations
from hypnograph.recording import Recording


def choose(
    recording: Recording,
    kinds: Sequence[ChannelKind],
    preferred: Mapping[ChannelKind, Sequence[str]],
    most: int | None = None,
    *,
    named: Mapping[ChannelKind, Sequence[str]] | None = None,
) -> tuple[list[Derivation], tuple[str, ...]]:
    """Choose the derivations of a night: of each kind those that were named, those of its dataset, or all usable ones.

    Parameters
    ----------
    recording
        Of the night.
    kinds
        All are required.
    preferred
        Common names by kind, e.g. of `Dataset.derivations`; those that the recording lacks are left out.
    most
        At most so many of each kind; None: all.
    named
        Names by kind that a person gave; no others are taken instead.

    Returns
    -------
    tuple
        The derivations in the order of the kinds, best first, and notes in words.

    Raises
    ------
    MissingChannelError
        If there is none of a kind; the message names the signals present.
    """
    chosen: list[Derivation] = []
    notes: tuple[str, ...] = ()
    for kind in kinds:
        if wanted := (named or {}).get(kind):
            chosen += _those_named(recording, kind, wanted)[:most]
            continue
        names = preferred.get(kind, ())
        found = tuple(dict.fromkeys(d for name in names for d in _named(recording, kind, name)))
        if names and not found:
            notes += (f"none of the dataset's {kind} derivations ({', '.join(names)}) is there; all usable ones taken",)
        if not found:
            found = choose_derivations(recording, kinds=(kind,), required=(kind,)).of(kind)
        chosen += found[:most]
    return chosen, notes


def _those_named(recording: Recording, kind: ChannelKind, names: Sequence[str]) -> list[Derivation]:
    found = list(dict.fromkeys(d for name in names for d in _named(recording, kind, name)))
    if not found:
        present = ", ".join(signal.label for signal in recording.signals) or "none"
        raise MissingChannelError(
            f"no {kind} derivation {' or '.join(names)} in this recording; its signals: {present}"
        )
    return found


def _named(recording: Recording, kind: ChannelKind, name: str) -> tuple[Derivation, ...]:
    wish: dict[str, Any] = {kind.lower(): name}
    try:
        return choose_derivations(recording, kinds=(kind,), required=(), **wish).of(kind)
    except (MissingChannelError, UnusableSignalError):
        return ()
