"""Where the epochs of a night lie: on those that people scored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.recording import Recording

READ_AS_ONE_SIGNAL: Final = ("usleep", "utime")
"""Networks that read epochs in a row as one signal; windows that overlap would be heard twice."""

# Epochs that begin so close to those of the recording begin with them.
_JITTER_S = 0.05


@dataclass(frozen=True)
class EpochGrid:
    """Epochs at equal distances, and the signal that a network sees of each.

    Parameters
    ----------
    first_s
        When the first epoch begins, in seconds of the recording.
    epoch_s
        From the begin of an epoch to that of the next one.
    margin_s
        How much of the signal on either side of an epoch belongs to its window; windows overlap where it is not 0.
    """

    first_s: float
    epoch_s: float
    margin_s: float = 0.0

    @property
    def window_begins_s(self) -> float:
        """When the first window begins, in seconds of the recording."""
        return self.first_s - self.margin_s

    def begins_s(self, epoch: int) -> float:
        """Return when an epoch begins, in seconds of the recording."""
        return self.first_s + epoch * self.epoch_s

    def place(self, scoring: Hypnogram, start: datetime | None, n_epochs: int) -> Hypnogram:
        """Return a scoring of a recording that begins at `start` on these epochs; see `Hypnogram.align`."""
        begin = None if start is None else start + timedelta(seconds=self.first_s)
        if scoring.start is not None and begin is not None:
            return scoring.align(begin, n_epochs, self.epoch_s)
        together = scoring.resample(self.epoch_s, offset_s=self.first_s, n_epochs=n_epochs)
        return replace(together, start=begin)


def epoch_grid(
    scorings: Sequence[Hypnogram], recording: Recording, window_s: float, *, centred: bool = False
) -> EpochGrid:
    """Return where the epochs of a recording lie for a network that takes windows of some length.

    Parameters
    ----------
    scorings
        Of the recording. The first one whose epochs are as long as the windows says where epochs begin, if its start is
        known; epochs of another length give no grid.
    recording
        It begins before the first epoch and its window.
    window_s
        Seconds.
    centred
        Where the epochs of the first scoring are shorter than the windows, but not below half, give each a window
        around it, as has been done with epochs of 20 s (Phan et al. 2019, doi 10.1109/TNSRE.2019.2896659). Epochs at
        either end for which the recording has no whole window are left out.
    """
    short = scorings[0] if centred and scorings else None
    if short is None or not window_s / 2 <= short.epoch_s < window_s:
        return EpochGrid(_lead_s(scorings, recording, window_s), window_s)
    margin_s, first_s = (window_s - short.epoch_s) / 2, _lead_s([short], recording, short.epoch_s)
    while first_s < margin_s - _JITTER_S:
        first_s += short.epoch_s
    return EpochGrid(max(first_s, margin_s), short.epoch_s, margin_s)


def check_windows(architecture: str, *, shift_s: float = 0.0) -> None:
    """Refuse windows that overlap where a network, or a sampling that shifts signals, takes them for one signal.

    Raises
    ------
    HypnographError
        If they do.
    """
    if architecture in READ_AS_ONE_SIGNAL or shift_s:
        what = f"sampling.shift_s = {shift_s:g}" if shift_s else architecture
        raise HypnographError(
            f"a window around each short epoch overlaps the next, and {what} takes epochs in a row for one signal; "
            "prepare the nights without --centred"
        )


def _lead_s(scorings: Sequence[Hypnogram], recording: Recording, epoch_s: float) -> float:
    for scoring in scorings:
        if scoring.start is not None and recording.start is not None and scoring.epoch_s == epoch_s:
            lead_s = (scoring.start - recording.start).total_seconds() % epoch_s
            return 0.0 if min(lead_s, epoch_s - lead_s) < _JITTER_S else lead_s
    return 0.0
