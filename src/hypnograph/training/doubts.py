"""What is odd about a training before it begins: whom the store lacks, and how its nights were cut."""

from collections.abc import Iterable

from hypnograph.training.recipes import Recipe
from hypnograph.training.splits import Split
from hypnograph.training.store import Store


def doubts(recipe: Recipe, store: Store, *splits: Split) -> list[str]:
    """Return what a person should know who trains by a recipe on the nights of a store, in words."""
    everyone = {subject for split in splits for subject in (*split.train, *split.validation, *split.test)}
    found = [missing] if (missing := without_a_night(store, everyone)) else []
    asked = _cut(recipe.crop_min, recipe.crop_order)
    crops = [night.entry["choices"]["crop"] for night in store.nights if "choices" in night.entry]
    cuts = {_cut(crop["minutes"], crop["order"]) if crop else _cut(None, "") for crop in crops}
    if others := sorted(cuts - {asked}):
        found.append(
            f"the nights were prepared with {' or '.join(others)} around sleep; the recipe says {asked}, which takes "
            "effect in hypnograph prepare --recipe"
        )
    return found


def without_a_night(store: Store, subjects: Iterable[str]) -> str:
    """Say which subjects of a split the store lacks; empty if none."""
    missing = sorted({*subjects}.difference(store.subjects))
    names = ", ".join(missing[:3]) + " …" * (len(missing) > 3)
    return f"{len(missing)} subjects of the split have no night in {store.address}: {names}" if missing else ""


def _cut(minutes: float | None, order: str) -> str:
    return "all wake" if minutes is None else f"{minutes:g} min of wake (crop order {order})"
