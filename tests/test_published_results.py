"""Published results: those of the published confusion matrices, and rows that agree with themselves."""

import json
from pathlib import Path

import pytest

from hypnograph.datasets import datasets
from hypnograph.evaluation import Agreement
from hypnograph.published_results import ORIGINS, PUBLISHED, PublishedResult, published_for
from hypnograph.stages import AASM_5

MATRICES = Path(__file__).resolve().parent / "golden" / "matrices"
# The file of each published matrix, the dataset, the system, and the channels of its row.
ROWS = {
    "deepsleepnet-mass-ss3": ("mass-ss3", "DeepSleepNet", "F4-EOG (left)"),
    "utime-cap": ("cap", "U-Time", "C4-A1 or C3-A2"),
    "utime-dcsm": ("dcsm", "U-Time", "C3-A2"),
    "utime-isruc": ("isruc-sg1", "U-Time", "C3-A2"),
    "utime-physio-18": ("physionet-2018", "U-Time", "C3-A2"),
    "utime-s-edf-153": ("sleep-edf-sc", "U-Time", "Fpz-Cz"),
    "utime-s-edf-39": ("sleep-edf-20", "U-Time", "Fpz-Cz"),
    "utime-svuh": ("ucddb", "U-Time", "C3-A2"),
}


def decimals(value: float) -> int:
    return max(2, len(f"{value:.6f}".rstrip("0").partition(".")[2]))


def find(dataset: str, system: str, channel: str) -> PublishedResult:
    found = [row for row in published_for(dataset) if (row.system, row.channel) == (system, channel)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_what_its_published_confusion_matrix_gives(name: str) -> None:
    published = json.loads((MATRICES / f"{name}.json").read_text())
    row, computed = find(*ROWS[name]), Agreement.from_confusion(published["confusion"], AASM_5)
    assert row.n_epochs == computed.n_epochs
    for ours, theirs in (
        (row.accuracy, computed.accuracy), (row.macro_f1, computed.macro_f1), (row.kappa, computed.cohen_kappa)
    ):  # fmt: skip
        assert ours == pytest.approx(round(theirs, decimals(ours)), abs=1e-9)
    for label, f1 in zip(AASM_5.labels, row.f1, strict=True):
        # Five F1 of U-Time are printed one hundredth higher than their matrix gives (tests/evaluation/test_golden.py).
        higher = 0.01 if label in published.get("printed_one_higher", ()) else 0.0
        assert f1 == pytest.approx(round(computed.per_stage[label].f1, decimals(f1)) + higher, abs=1e-9)


# Medians over nights need not agree with each other.
MEANS = [row for row in PUBLISHED if row.f1 and row.macro_f1 and "medians" not in row.note]


@pytest.mark.parametrize("row", MEANS, ids=lambda row: row.system)
def test_the_macro_f1_of_a_row_is_the_mean_of_its_f1(row: PublishedResult) -> None:
    # Printed values are rounded: to a hundredth in U-Time's tables.
    places = min(decimals(value) for value in row.f1)
    assert sum(row.f1) / 5 == pytest.approx(row.macro_f1, abs=0.0065 if places == 2 else 0.0011)


def test_every_number_is_a_share_and_every_dataset_is_one_of_ours() -> None:
    for row in PUBLISHED:
        numbers = [row.accuracy, row.macro_f1, row.kappa, *(row.f1 or ())]
        assert any(number is not None for number in numbers)
        assert all(0.2 < number < 1 for number in numbers if number is not None), row
        assert set(row.datasets) <= set(datasets())
        assert row.origin in ORIGINS
        assert row.source


def test_no_row_is_there_twice() -> None:
    keys = [(row.system, row.datasets, row.channel, row.source) for row in PUBLISHED]
    assert len(set(keys)) == len(keys)


def test_a_dataset_has_its_own_results_only() -> None:
    systems = {row.system for row in published_for("sleep-edf-20")}
    assert {"DeepSleepNet", "TinySleepNet", "AttnSleep", "U-Time"} <= systems
    assert all(row.datasets == ("sleep-edf-20",) for row in published_for("sleep-edf-20"))
    assert published_for("folder") == ()


def test_results_on_several_datasets_together_need_all_of_them() -> None:
    mass = [f"mass-ss{part}" for part in range(1, 6)]
    assert "SeqSleepNet" not in {row.system for row in published_for("mass-ss3")}
    assert "SeqSleepNet" in {row.system for row in published_for(mass)}


def test_the_headline_numbers_of_the_four_systems_on_sleep_edf_20() -> None:
    # As DeepSleepNet's, TinySleepNet's, AttnSleep's and U-Time's own tables print them.
    headline = {
        (row.system, row.channel): (row.accuracy, row.macro_f1)
        for row in published_for("sleep-edf-20")
        if row.n_epochs is not None
    }
    assert headline == {
        ("DeepSleepNet", "Fpz-Cz"): (0.82, 0.769),
        ("TinySleepNet", "Fpz-Cz"): (0.854, 0.805),
        ("AttnSleep", "Fpz-Cz"): (0.844, 0.781),
        ("U-Time", "Fpz-Cz"): (0.832, 0.79),
    }


def test_what_was_only_recalled_says_so() -> None:
    assert {row.origin for row in published_for("ucddb") if row.system == "U-Sleep"} == {"recalled"}
    assert {row.origin for row in published_for("dcsm") if row.system == "U-Sleep"} == {"published, third party"}


def test_the_variants_of_attnsleep_stand_beside_it_with_their_own_source() -> None:
    # As the author of the variants prints them.
    variants = {
        row.system: (row.accuracy, row.macro_f1) for row in published_for("sleep-edf-20") if "MSPSleep" in row.source
    }
    assert variants == {
        "AttnSleep, rerun": (0.84, 0.79),
        "AttnSleep with Conformer": (0.83, 0.78),
        "AttnSleep with multi-scale multi-period CRNN": (0.8423, 0.7898),
    }
