"""Which signals of a recording a model gets, and why."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hypnograph.recording import Recording


class ChannelKind(StrEnum):
    """What a signal measures."""

    EEG = "EEG"
    EOG = "EOG"
    EMG = "EMG"
    ECG = "ECG"
    MASTOID = "mastoid"
    OTHER = "other"


@dataclass(frozen=True)
class Derivation:
    """One derivation: a signal, perhaps minus another, e.g. C4−M1 for the EEG input of a model.

    Parameters
    ----------
    kind
        What it measures.
    name
        In the field's words: ``"C4-M1"``.
    signal, reference
        Labels as in the file; `reference` None where the signal is taken as it is.
    reason
        Why this one, in words for the user.
    """

    kind: ChannelKind
    name: str
    signal: str
    reference: str | None
    reason: str

    def amplitude_uv(self, recording: Recording) -> tuple[NDArray[np.float32], float]:
        """Read the derivation: (samples in µV, NaN in gaps; sample rate in Hz)."""
        raise NotImplementedError
