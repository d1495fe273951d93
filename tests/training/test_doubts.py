"""What a person is told before a training begins."""

from pathlib import Path

import pytest

from hypnograph.training.cropping import Crop
from hypnograph.training.doubts import doubts
from hypnograph.training.preparation import prepare
from hypnograph.training.recipes import parse_recipe
from hypnograph.training.splits import Split
from tests.training.test_preparation import SPEC, make_night

RECIPE = '[network]\narchitecture = "usleep"\n'


@pytest.mark.parametrize(
    ("crop", "settings", "told"),
    [
        (None, (), ""),
        (Crop(0.5), ("crop_min=0.5",), ""),
        (Crop(0.5), (), "with 0.5 min of wake (crop order masked) around sleep; the recipe says all wake"),
        (None, ("crop_min=30",), "with all wake around sleep; the recipe says 30 min of wake (crop order masked)"),
        (Crop(1.0), ("crop_min=1", "crop_order=unscored-is-sleep"), "the recipe says 1 min of wake (crop order unsc"),
    ],
)
def test_nights_that_were_cut_otherwise_than_the_recipe_says(
    crop: Crop | None, settings: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    store = prepare([make_night(tmp_path)], tmp_path / "store", SPEC, crop=crop).store
    found = doubts(parse_recipe(RECIPE, settings), store, Split(train=store.subjects))
    assert len(found) == bool(told)
    assert told in "".join(found)


def test_subjects_without_a_night(tmp_path: Path) -> None:
    store = prepare([make_night(tmp_path)], tmp_path / "store", SPEC).store
    (doubt,) = doubts(parse_recipe(RECIPE), store, Split(train=store.subjects, test=("folder/x",)))
    assert doubt.startswith("1 subjects of the split have no night in")
    assert doubt.endswith("folder/x")
