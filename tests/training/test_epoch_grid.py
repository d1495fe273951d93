"""Epochs lie where people scored them, and windows where the recording has them whole."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.recording import Recording
from hypnograph.training.epoch_grid import EpochGrid, check_windows, epoch_grid

START = datetime(2020, 1, 1, 22, 0)
RECORDING = Recording((), 3600.0, start=START)


def scoring(lead_s: float | None = 0.0, epoch_s: float = 20.0, n_epochs: int = 30) -> Hypnogram:
    start = None if lead_s is None else START + timedelta(seconds=lead_s)
    return Hypnogram(np.arange(n_epochs, dtype=np.int8) % 5, epoch_s, start=start)


@pytest.mark.parametrize("centred", [False, True])
def test_epochs_as_long_as_the_windows_begin_where_they_were_scored(centred: bool) -> None:
    assert epoch_grid([scoring(44.0, 30.0)], RECORDING, 30.0, centred=centred) == EpochGrid(14.0, 30.0)
    assert epoch_grid([scoring(-0.01, 30.0)], RECORDING, 30.0, centred=centred) == EpochGrid(0.0, 30.0)


@pytest.mark.parametrize("unknown", [[], [scoring(None, 30.0)], [scoring(7.0, 60.0)], [scoring(7.0, 1.0)]])
def test_without_such_a_scoring_they_begin_with_the_recording(unknown: list[Hypnogram]) -> None:
    assert epoch_grid(unknown, RECORDING, 30.0, centred=True) == EpochGrid(0.0, 30.0)


@pytest.mark.parametrize(
    ("lead_s", "first_s"), [(0.0, 20.0), (5.0, 5.0), (4.99, 5.0), (3.0, 23.0), (-3.0, 17.0), (47.0, 7.0), (None, 20.0)]
)
def test_the_first_window_lies_in_the_recording(lead_s: float | None, first_s: float) -> None:
    grid = epoch_grid([scoring(lead_s)], RECORDING, 30.0, centred=True)
    assert grid == EpochGrid(first_s, 20.0, 5.0)
    assert grid.window_begins_s == first_s - 5


@given(lead_s=st.integers(-400, 3000), known=st.booleans(), centred=st.booleans())
def test_each_epoch_has_the_stage_that_was_scored_at_its_middle(lead_s: int, known: bool, centred: bool) -> None:
    """Oracle: the stage looked up in the scoring by the time of day, or from its first epoch on."""
    scored = scoring(lead_s if known else None)
    grid = epoch_grid([scored], RECORDING, 30.0 if centred else 20.0, centred=centred)
    placed = grid.place(scored, START, 170)
    for epoch, stage in enumerate(placed.stages):
        middle_s = grid.begins_s(epoch) + 10 - (lead_s if known else 0)
        index = int(middle_s // 20)
        assert stage == (scored.stages[index] if 0 <= index < scored.n_epochs else -1)
    assert placed.start == START + timedelta(seconds=grid.first_s)


def test_windows_that_overlap_are_no_signal() -> None:
    check_windows("seqsleepnet")
    with pytest.raises(HypnographError, match="usleep takes epochs in a row for one signal"):
        check_windows("usleep")
    with pytest.raises(HypnographError, match=r"sampling\.shift_s = 3 takes epochs in a row"):
        check_windows("tinysleepnet", shift_s=3.0)
