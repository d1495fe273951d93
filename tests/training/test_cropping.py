"""Cropping to sleep: the two published orders, by hand and on real scorings."""

from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.training.cropping import crop_to_sleep

W, N2, U = 0, 2, -1


def hypnogram(*runs: tuple[int, int], epoch_s: float = 30.0) -> Hypnogram:
    return Hypnogram(np.repeat([stage for _, stage in runs], [count for count, _ in runs]), epoch_s)


def test_so_many_minutes_of_wake_stay_on_both_sides_of_sleep() -> None:
    assert crop_to_sleep(hypnogram((100, W), (50, N2), (90, W)), 30) == (40, 210)


def test_minutes_are_minutes_whatever_an_epoch_lasts() -> None:
    assert crop_to_sleep(hypnogram((100, W), (50, N2), (90, W), epoch_s=20.0), 10) == (70, 180)


def test_a_night_with_less_wake_than_that_is_kept_whole() -> None:
    assert crop_to_sleep(hypnogram((3, W), (5, N2), (2, W)), 30) == (0, 10)


def test_wake_within_sleep_stays() -> None:
    assert crop_to_sleep(hypnogram((10, W), (1, N2), (500, W), (1, N2), (10, W)), 0) == (10, 512)


def test_masked_epochs_are_no_time_so_more_of_the_recording_stays() -> None:
    night = hypnogram((10, W), (4, U), (2, W), (5, N2), (1, W), (3, U), (9, W))
    # Three scored epochs before sleep: two near it, one before the four that are unscored.
    assert crop_to_sleep(night, 1.5) == (9, 16 + 5 + 1 + 3 + 2)


def test_unscored_counts_as_sleep_where_that_is_the_rule() -> None:
    night = hypnogram((10, W), (4, U), (20, W), (5, N2), (30, W), (2, U), (9, W))
    assert crop_to_sleep(night, 1, order="unscored-is-sleep") == (8, 10 + 4 + 20 + 5 + 30 + 2 + 2)
    assert crop_to_sleep(night, 1) == (32, 41)


def test_a_night_without_sleep_is_kept_whole() -> None:
    assert crop_to_sleep(hypnogram((10, W), (3, U)), 1) == (0, 13)


@pytest.mark.parametrize(("minutes", "order"), [(-1, "masked"), (float("nan"), "masked"), (30, "middle")])
def test_what_cannot_be_is_refused(minutes: float, order: str) -> None:
    with pytest.raises(HypnographError):
        crop_to_sleep(hypnogram((1, N2)), minutes, order=order)


def test_twenty_real_nights_are_cropped_as_their_publisher_cropped_them(shared_data: Path) -> None:
    """The oracle is the reference of a network that others published, cut by DeepSleepNet's code."""
    files = sorted((shared_data / "fixtures" / "sleep-edf").glob("SC4*-Hypnogram.edf"))
    assert len(files) == 20
    for file in files:
        night = read_hypnogram(file)
        first, past_last = crop_to_sleep(night, 30)
        kept = night.stages[first:past_last]
        (published,) = (shared_data / "predictions" / "sleep-edf-20-soft").glob(f"{file.name[:6]}*")
        np.testing.assert_array_equal(kept[kept >= 0], np.load(published)["y_true"])
