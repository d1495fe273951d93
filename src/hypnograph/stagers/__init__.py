"""Stagers: recording in, staging out. The folder is the registry.

Each module has ``NAME`` (as given to ``--stager``), ``DESCRIPTION`` (one line) and ``create(**options) -> Stager``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.montage import Derivation
from hypnograph.recording import Recording


@dataclass(frozen=True, eq=False)
class Voter:
    """One member of an ensemble: what it saw, what it says, and how much it counts.

    Parameters
    ----------
    name
        e.g. ``"C4-M1 + E1-M2 + chin"``.
    hypnodensity
        Its probabilities.
    weight : float array, shape (n_epochs,)
        Its share in each epoch, 0 to 1, lowered where its signals are bad.
    """

    name: str
    derivations: tuple[Derivation, ...]
    hypnodensity: Hypnodensity
    weight: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
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
    """

    hypnogram: Hypnogram
    hypnodensity: Hypnodensity
    derivations: tuple[Derivation, ...]
    stager: str
    weights_sha256: str = ""
    warnings: tuple[str, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    voters: tuple[Voter, ...] = ()


class Stager(Protocol):
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
