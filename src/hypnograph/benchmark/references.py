"""What people scored, on the epochs of the whole recording: all stagers are judged against it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hypnograph.datasets import Night
from hypnograph.errors import HypnographError, one_line
from hypnograph.hypnogram import Hypnogram
from hypnograph.parallel import on_each
from hypnograph.stages import AASM_5
from hypnograph.training.batches import stage_targets
from hypnograph.training.cropping import Crop, crop_to_sleep
from hypnograph.training.epoch_grid import epoch_grid


@dataclass(frozen=True, eq=False)
class Reference:
    """The scorings of one night.

    Parameters
    ----------
    night
        Whose.
    scorings
        One of each scorer, on the epochs of the recording as `hypnograph.training.preparation` cuts them.
    simulated
        Whether nobody slept this night.
    """

    night: Night
    scorings: tuple[Hypnogram, ...]
    simulated: bool

    @property
    def key(self) -> str:
        """``"dataset/id"``."""
        return f"{self.night.dataset}/{self.night.id}"

    @property
    def person(self) -> str:
        """``"dataset/subject"``."""
        return self.night.person

    @property
    def n_epochs(self) -> int:
        return self.scorings[0].n_epochs

    @property
    def epoch_s(self) -> float:
        return self.scorings[0].epoch_s

    def hypnogram(self, how: str) -> Hypnogram:
        """Return the scoring that counts: the ``"first"``, or the ``"majority"`` of the scorers."""
        if how == "first":
            return self.scorings[0]
        stages = np.stack([scoring.stages for scoring in self.scorings])
        majority = stage_targets(stages, "majority", AASM_5.n_stages).astype(np.int8)
        return replace(self.scorings[0], stages=majority, scorer="majority")

    def first_kept(self, crop: Crop | None) -> int:
        """Return the first epoch of the night as `hypnograph.training.preparation` crops it."""
        if crop is None:
            return 0
        scored = [scoring for scoring in self.scorings if scoring.scored.any()]
        return min(crop_to_sleep(scoring, crop.minutes, order=crop.order)[0] for scoring in scored)


def read_references(nights: Iterable[Night], epoch_s: float, jobs: int = 1) -> tuple[list[Reference], dict[str, str]]:
    """Read the scorings of nights.

    Returns
    -------
    list of Reference
        Of the nights that have one, sorted by key.
    dict
        Why the others have none, by key.
    """
    found = list(on_each(partial(_read, epoch_s=epoch_s), nights, jobs=jobs))
    references = sorted((one for one in found if isinstance(one, Reference)), key=lambda one: one.key)
    return references, dict(one for one in found if not isinstance(one, Reference))


def _read(night: Night, epoch_s: float) -> Reference | tuple[str, str]:
    try:
        recording = night.recording()
        scorings = [night.hypnogram(scorer, recording=recording) for scorer in night.voters]
        if other := [scoring.scheme.name for scoring in scorings if scoring.scheme != AASM_5]:
            raise HypnographError(f"the scoring is in {other[0]}; a comparison takes the five AASM stages")
        grid = epoch_grid(scorings, recording, epoch_s)
        n_epochs = int((recording.duration_s - grid.first_s) / epoch_s + 1e-6)
        aligned = tuple(grid.place(scoring, recording.start, n_epochs) for scoring in scorings)
        if not any(scoring.scored.any() for scoring in aligned):
            raise HypnographError("no epoch of the recording is scored")
        return Reference(night, aligned, recording.is_simulated)
    except (HypnographError, OSError, MemoryError) as error:
        return f"{night.dataset}/{night.id}", without_names(one_line(error), night)


def without_names(text: str, night: Night) -> str:
    """Return what went wrong with a night without the names of its files, which may tell who it was."""
    for path in (night.psg, *(scoring.path for scoring in night.scorings)):
        for name in (str(path.absolute()), str(path), path.name):
            text = text.replace(name, "the file")
    return text.removeprefix("the file: ")
