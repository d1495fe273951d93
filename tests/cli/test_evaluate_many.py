"""``hypnograph evaluate`` with several references."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from hypnograph.errors import HypnographError
from tests.cli.test_evaluate import run, run_json, write

RNG = np.random.default_rng(8)
TRUTH = np.sort(RNG.integers(0, 5, 300))


def wrong(share: float) -> np.ndarray:
    return np.where(RNG.random(300) < share, RNG.integers(0, 5, 300), TRUTH)


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    """The arguments for three people's files of one night and a prediction."""
    anna, ben, chris, net = (write(tmp_path / f"{name}.txt", wrong(0.2)) for name in ("anna", "ben", "chris", "net"))
    return [anna, net, "--reference", ben, "--reference", chris]


@pytest.fixture
def folders(tmp_path: Path) -> list[object]:
    for who in ("anna", "ben", "chris", "net"):
        for night in ("SC4001", "SC4011", "SC4021"):
            write(tmp_path / who / f"{night}.txt", wrong(0.2))
    people = [part for who in ("ben", "chris") for part in ("--reference", tmp_path / who)]
    return [tmp_path / "anna", tmp_path / "net", *people]


def test_agreement_with_each_reference_is_that_of_scikit_learn(files: list[Path]) -> None:
    found = run_json(*files)
    anna, net = ([line.strip() for line in path.read_text().splitlines()] for path in files[:2])
    assert found["against_each"]["net"]["anna"]["pooled"]["cohen_kappa"] == pytest.approx(cohen_kappa_score(anna, net))
    assert found["people"] == ["anna", "ben", "chris"]
    assert set(found["soft_agreement"]) == {"anna", "ben", "chris", "net"}
    assert set(found["among_people"]) >= {"fleiss_kappa", "krippendorff_alpha"}


def test_the_tables_name_people_consensus_and_prediction(folders: list[object]) -> None:
    printed = " ".join(run(*folders).stdout.split())
    for text in ("3 nights of 3 subjects", "scored by anna, ben, chris", "net against:", "consensus of all people",
                 "all people", "Fleiss' kappa", "bootstrap over subjects"):  # fmt: skip
        assert text in printed


def test_the_tables_fit_a_terminal_of_80_columns(folders: list[object]) -> None:
    folders[1] = folders[1].rename(folders[1].parent / "SleepyNet-2")
    for line in run(*folders).stdout.splitlines():
        assert len(line) <= 80
        assert not line.strip().startswith(("to 0.", "0."))


def test_a_csv_has_a_row_for_each_scorer_reference_and_night(folders: list[object], tmp_path: Path) -> None:
    assert run(*folders, "--csv", tmp_path / "nights.csv").exception is None
    with (tmp_path / "nights.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (3 + 1 + 3 + 1)  # nights × (people, net, net against each, net against the consensus)
    assert {row["subject"] for row in rows} == {"SC400", "SC401", "SC402"}
    assert list(rows[0])[:4] == ["scorer", "against", "night", "subject"]


def test_the_picture_is_written_and_not_over_another_file(files: list[object], tmp_path: Path) -> None:
    assert run(*files, "--plot", tmp_path / "kappa.png").exception is None
    assert (tmp_path / "kappa.png").stat().st_size > 5000
    assert "exists" in str(run(*files, "--plot", tmp_path / "kappa.png").exception)
    assert run(*files, "--plot", tmp_path / "kappa.png", "--overwrite").exception is None
    assert isinstance(run(*files, "--plot", tmp_path / "kappa.gif").exception, HypnographError)


def test_notes_name_nights_that_somebody_did_not_score(folders: list[object], tmp_path: Path) -> None:
    (tmp_path / "ben" / "SC4011.txt").unlink()
    result = run(*folders)
    assert "1 scorings are not in every folder: SC4011.txt" in result.stderr
    assert "2 nights" in result.stdout


def test_wake_trimming_and_schemes_are_passed_on(files: list[object]) -> None:
    whole = run_json(*files)["people_together"]["pooled"]
    assert run_json(*files, "--wake-trim-min", 0)["people_together"]["pooled"]["n_epochs"] < whole["n_epochs"]
    assert run_json(*files, "--scheme", "W-sleep")["people_together"]["pooled"]["stages"] == ["W", "sleep"]


def test_what_only_one_reference_allows_is_refused(files: list[object], tmp_path: Path) -> None:
    assert "--ignore" in run(*files, "--ignore", "N1").stderr
    assert "--reference" in run(*files[:2], "--plot", tmp_path / "kappa.png").stderr
    assert isinstance(run(*files[:2], "--reference", tmp_path / "no.txt").exception, FileNotFoundError)
    assert "given twice" in str(run(*files[:2], "--reference", files[0]).exception)


def test_one_reference_gives_what_it_always_gave(files: list[object]) -> None:
    assert set(run_json(*files[:2])) >= {"pooled", "pooled_estimates", "per_night", "nights", "alignment"}
