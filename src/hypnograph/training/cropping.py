"""Cropping a night to its sleep: some minutes of wake around it, by the rules of the published networks."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import Stage

CropOrder = Literal["masked", "unscored-is-sleep"]


@dataclass(frozen=True)
class Crop:
    """How much of a night is kept; see `crop_to_sleep`."""

    minutes: float = 30.0
    order: CropOrder = "masked"

    def __post_init__(self) -> None:
        if self.order not in get_args(CropOrder):
            raise HypnographError(f"crop order {self.order!r} is not one of {', '.join(get_args(CropOrder))}")
        if not (np.isfinite(self.minutes) and self.minutes >= 0):
            raise HypnographError(f"{self.minutes} minutes of wake around sleep; it must be 0 or more")


def crop_to_sleep(hypnogram: Hypnogram, minutes: float = 30.0, *, order: CropOrder = "masked") -> tuple[int, int]:
    """Find the first and the last sleep of a night, and some minutes around them.

    Parameters
    ----------
    hypnogram
        AASM stages of the whole recording.
    minutes
        What is kept before the first and after the last epoch of sleep, where there is so much.
    order
        ``"masked"``: unscored epochs count neither as sleep nor as time, as if they had been dropped before
        (DeepSleepNet, AttnSleep). ``"unscored-is-sleep"``: what is not scored as wake is sleep (TinySleepNet, which
        drops unscored epochs afterwards); it keeps more wake where the end of a recording is not scored.

    Returns
    -------
    tuple of int
        (first, past_last) epoch; unscored epochs between them stay. The whole night where there is no sleep.

    Raises
    ------
    HypnographError
        If `minutes` or `order` is impossible.
    """
    Crop(minutes, order)
    counted = np.flatnonzero(hypnogram.scored) if order == "masked" else np.arange(hypnogram.n_epochs)
    asleep = np.flatnonzero(hypnogram.stages[counted] != Stage.W)
    if not asleep.size:
        return 0, hypnogram.n_epochs
    around = round(minutes * 60 / hypnogram.epoch_s)
    first, last = max(asleep[0] - around, 0), min(asleep[-1] + around, counted.size - 1)
    return int(counted[first]), int(counted[last]) + 1
