"""Published confusion matrices give the published numbers; golden nights give scikit-learn's and YASA's."""

import json
from pathlib import Path

import numpy as np
import pytest

from hypnograph.evaluation import Agreement, agreement, sleep_statistics
from hypnograph.hypnogram import Hypnogram
from hypnograph.stages import AASM_5

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MATRICES = sorted((GOLDEN / "matrices").glob("*.json"))
NIGHTS = sorted(path.name.removesuffix(".scores.json") for path in (GOLDEN / "nights").glob("*.scores.json"))


def read_golden(name: str, side: str) -> Hypnogram:
    return Hypnogram.from_names((GOLDEN / "nights" / f"{name}.{side}.txt").read_text().split())


def test_the_golden_files_are_there_and_complete() -> None:
    assert len(MATRICES) == 8
    assert len(NIGHTS) == 7
    for side in ("reference", "predicted"):
        assert sorted(p.name.removesuffix(f".{side}.txt") for p in (GOLDEN / "nights").glob(f"*.{side}.txt")) == NIGHTS


@pytest.mark.parametrize("path", MATRICES, ids=lambda path: path.stem)
def test_a_published_matrix_gives_the_published_numbers(path: Path) -> None:
    published = json.loads(path.read_text())
    found = Agreement.from_confusion(published["confusion"], AASM_5)
    assert found.n_epochs == published.get("n_epochs", found.n_epochs)
    for name, decimals in published["decimals"].items():
        if not isinstance(published[name], dict):
            assert round(getattr(found, name), decimals) == published[name]
            continue
        for label, stage in found.per_stage.items():
            higher = 10**-decimals if label in published.get("printed_one_higher", ()) else 0
            assert round(getattr(stage, name), decimals) + higher == pytest.approx(published[name][label], abs=1e-9)


def test_five_of_the_35_published_f1_are_printed_one_hundredth_higher_than_their_matrix_gives() -> None:
    # All five lie between .xx445 and .xx5, as if they had been rounded more than once (.7845, .785, .79).
    higher = {}
    for path in MATRICES:
        published = json.loads(path.read_text())
        found = Agreement.from_confusion(published["confusion"], AASM_5)
        higher |= {(path.stem, label): found.per_stage[label].f1 for label in published.get("printed_one_higher", ())}
    assert len(higher) == 5
    assert all(0.445 <= (100 * f1) % 1 < 0.5 for f1 in higher.values())


@pytest.mark.parametrize("name", NIGHTS)
def test_a_golden_night_gives_the_scores_of_scikit_learn(name: str) -> None:
    expected = json.loads((GOLDEN / "nights" / f"{name}.scores.json").read_text())
    found = agreement(read_golden(name, "reference"), read_golden(name, "predicted")).as_dict()
    for label, stage in expected.pop("per_stage").items():
        assert found["per_stage"][label] == pytest.approx(stage, abs=1e-12)
    for metric in ("n_epochs", "accuracy", "macro_f1", "weighted_f1", "cohen_kappa", "mcc", "mgm"):
        assert found[metric] == pytest.approx(expected[metric], abs=1e-12)
    assert found["confusion"] == expected["confusion"]


@pytest.mark.parametrize("name", NIGHTS)
def test_a_golden_night_gives_the_statistics_of_yasa(name: str) -> None:
    yasa = json.loads((GOLDEN / "nights" / f"{name}.scores.json").read_text())["yasa_statistics_of_reference"]
    found = sleep_statistics(read_golden(name, "reference")).as_dict()
    ours = {
        "TIB": "TIB_min", "SPT": "SPT_min", "TST": "TST_min", "WASO": "WASO_SPT_min", "SE": "SE_percent",
        "SME": "SME_percent", "SFI": "SFI_per_h", "SOL": "SOL_min", "Lat_REM": "Lat_REM_min", "%N1": "N1_percent",
        "%N2": "N2_percent", "%N3": "N3_percent", "%REM": "REM_percent", "WAKE": "W_min", "N3": "N3_min",
    }  # fmt: skip
    assert {key: found[value] for key, value in ours.items()} == {
        key: value if value is None else pytest.approx(value, abs=1e-4) for key, value in yasa.items() if key in ours
    }
    assert np.isclose(found["unscored_min"], yasa.get("UNS", 0.0), atol=1e-4)
