"""``hypnograph summary``: pooled, per night and over folders, for people and for programs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")

from sklearn.metrics import accuracy_score, cohen_kappa_score

from hypnograph.cli import hypnograph
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.training.prediction_files import PredictedNight, write_rows

Scorings = dict[str, tuple[np.ndarray, np.ndarray]]


def write_predictions(folder: Path, nights: list[int], *, scored: bool = True) -> Scorings:
    """Write nights whose predictions differ from the references in some epochs, and return both."""
    rng, made, rows = np.random.default_rng(nights), {}, []
    for night in nights:
        reference = np.repeat(rng.integers(0, 5, 40), 5)
        predicted = np.where(rng.random(200) < 0.3, rng.integers(0, 5, 200), reference)
        reference[:10], reference[10:12] = 0, -1
        row = PredictedNight("a", f"N{night}", f"a/S{night // 2}", f"a~N{night}.json")
        write_hypnogram(Hypnogram(predicted, 30.0), folder / "predicted" / row.file)
        if scored:
            write_hypnogram(Hypnogram(reference, 30.0), folder / "reference" / row.file)
        rows.append(row)
        made[f"a/N{night}"] = (reference, predicted)
    write_rows(rows, folder)
    return made


def pooled(nights: Scorings) -> tuple[np.ndarray, np.ndarray]:
    """Return the scored epochs of all nights, reference and predicted."""
    reference, predicted = (np.concatenate([pair[side] for pair in nights.values()]) for side in (0, 1))
    return reference[reference >= 0], predicted[reference >= 0]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["summary", *map(str, arguments)])


@pytest.fixture
def cv(tmp_path: Path) -> tuple[Path, Scorings, Scorings]:
    one = write_predictions(tmp_path / "cv/fold-01/predictions", [0, 1])
    return tmp_path / "cv", one, write_predictions(tmp_path / "cv/fold-02/predictions", [2, 3, 4])


def test_the_numbers_are_scikit_learns(cv) -> None:
    folder, one, two = cv
    reference, predicted = pooled(one | two)
    found = json.loads(run(folder, "--json").stdout)
    assert found["pooled"]["cohen_kappa"] == pytest.approx(cohen_kappa_score(reference, predicted))
    assert found["pooled"]["accuracy"] == pytest.approx(accuracy_score(reference, predicted))
    assert (found["n_nights"], found["n_subjects"], found["pooled"]["n_epochs"]) == (5, 3, len(reference))
    of_nights = [accuracy_score(*pooled({name: pair})) for name, pair in (one | two).items()]
    assert found["per_night"]["accuracy"]["mean"] == pytest.approx(np.mean(of_nights))


def test_folders_have_a_line_each_and_their_mean_and_standard_deviation(cv) -> None:
    folder, one, two = cv
    lines = run(folder).stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("folder"))
    kappas = [cohen_kappa_score(*pooled(fold)) for fold in (one, two)]
    expected = [*kappas, np.mean(kappas), np.std(kappas, ddof=1)]
    assert [line.split()[-1] for line in lines[start + 1 : start + 5]] == [f"{value:.3f}" for value in expected]
    assert lines[start + 1].startswith(str(folder / "fold-01" / "predictions"))
    assert [line.rsplit(maxsplit=3)[0] for line in lines[start + 3 :]] == ["mean over folders", "standard deviation"]
    assert len({len(line) for line in lines[start + 1 :]}) == 1


def test_one_folder_has_no_mean_over_folders(cv) -> None:
    folder, *_ = cv
    printed = run(folder / "fold-01" / "predictions").stdout
    assert printed.startswith("2 nights of 1 subjects")
    assert "folder" not in printed


def test_the_csv_has_a_row_for_each_night(cv, tmp_path: Path) -> None:
    folder, one, two = cv
    assert run(folder, "--csv", tmp_path / "nights.csv").exit_code == 0
    rows = list(csv.DictReader((tmp_path / "nights.csv").read_text().splitlines()))
    assert [row["night"] for row in rows] == list(one | two)
    for row, pair in zip(rows, (one | two).values(), strict=True):
        assert float(row["cohen_kappa"]) == pytest.approx(cohen_kappa_score(*pooled({"": pair})))
    assert "--overwrite" in str(run(folder, "--csv", tmp_path / "nights.csv").exception)
    assert run(folder, "--csv", tmp_path / "nights.csv", "--overwrite").exit_code == 0
    # It has the name of the table in a folder of predictions, and is not taken for one.
    assert json.loads(run(tmp_path, "--json").stdout)["n_nights"] == 5


def test_stages_and_wake_around_sleep_can_be_left_out(cv) -> None:
    folder, one, two = cv
    reference, _ = pooled(one | two)
    without_n1 = json.loads(run(folder, "--json", "--ignore", "N1").stdout)["pooled"]
    assert without_n1["n_epochs"] == (reference != 1).sum()
    trimmed = json.loads(run(folder, "--json", "--wake-trim-min", 1).stdout)["pooled"]
    assert trimmed["n_epochs"] < len(reference)


def test_the_seed_draws_the_intervals(cv) -> None:
    folder, *_ = cv
    write_predictions(folder / "more", list(range(10, 40)))
    one, again, other = (
        json.loads(run(folder, "--json", "--seed", seed).stdout)["pooled_estimates"]["accuracy"] for seed in (1, 1, 2)
    )
    assert one == again != other
    assert one["value"] == other["value"]


def test_a_night_in_two_folders_is_an_error(cv) -> None:
    folder, *_ = cv
    write_predictions(folder / "fold-03" / "predictions", [4, 5])
    assert "a/N4 is in more than one folder" in str(run(folder).exception)
    assert run(folder / "fold-01", folder / "fold-01" / "predictions", folder / "fold-01").exit_code == 0


def test_a_folder_that_nobody_scored_does_not_stand_in_the_way(cv) -> None:
    folder, *_ = cv
    write_predictions(folder / "others", [7], scored=False)
    assert json.loads(run(folder, "--json").stdout)["n_nights"] == 5
    assert run(folder).exit_code == 0
    assert "no night with a reference" in str(run(folder / "others").exception)


def test_predictions_of_a_part_of_the_nights_are_an_error(cv) -> None:
    folder, *_ = cv
    (folder / "fold-02" / "predictions" / "predicted" / "a~N3.json").unlink()
    assert "1 of 3 nights are not staged yet" in str(run(folder).exception)


def test_a_folder_without_predictions_says_what_makes_them(tmp_path: Path) -> None:
    assert "`hypnograph predict` makes them" in str(run(tmp_path).exception)
    assert "`hypnograph predict` makes them" in str(run(tmp_path / "nowhere").exception)
