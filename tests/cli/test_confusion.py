"""``hypnograph confusion``: the pooled matrix, as counts, as shares, merged, and as a picture."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")

from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from hypnograph.cli import hypnograph
from hypnograph.training.prediction_files import read_rows, write_rows
from tests.cli.test_summary import Scorings, pooled, write_predictions


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["confusion", *map(str, arguments)])


def matrix_of(result: Result, n_stages: int = 5) -> np.ndarray:
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("reference ↓"))
    return np.array([[float(cell) for cell in line.split()[1:]] for line in lines[start + 1 : start + 1 + n_stages]])


@pytest.fixture
def predictions(tmp_path: Path) -> tuple[Path, Scorings]:
    one = write_predictions(tmp_path / "p/1", [0, 1])
    return tmp_path / "p", one | write_predictions(tmp_path / "p/2", [2])


def test_the_matrix_is_scikit_learns(predictions) -> None:
    folder, nights = predictions
    result = run(folder)
    np.testing.assert_array_equal(matrix_of(result), confusion_matrix(*pooled(nights)))
    assert result.stdout.startswith(f"3 nights, {len(pooled(nights)[0])} epochs: accuracy 0.")


def test_so_are_f1_precision_and_recall(predictions) -> None:
    folder, nights = predictions
    lines = run(folder).stdout.splitlines()[-5:]
    precision, recall, f1, support = precision_recall_fscore_support(*pooled(nights))
    for i, (label, line) in enumerate(zip(("W", "N1", "N2", "N3", "REM"), lines, strict=True)):
        assert line.split() == [label, f"{f1[i]:.3f}", f"{precision[i]:.3f}", f"{recall[i]:.3f}", str(support[i])]


def test_rows_can_be_shares(predictions) -> None:
    folder, nights = predictions
    expected = confusion_matrix(*pooled(nights), normalize="true")
    np.testing.assert_allclose(matrix_of(run(folder, "--normalised")), expected, atol=5e-4)


def test_stages_can_be_merged(predictions) -> None:
    folder, nights = predictions
    asleep = [side > 0 for side in pooled(nights)]
    result = run(folder, "--scheme", "w-sleep")
    np.testing.assert_array_equal(matrix_of(result, 2), confusion_matrix(*asleep))
    four = [np.array([0, 1, 1, 2, 3])[side] for side in pooled(nights)]
    np.testing.assert_array_equal(matrix_of(run(folder, "--scheme", "W-light-deep-REM"), 4), confusion_matrix(*four))
    assert "--scheme 'x' is not one of" in str(run(folder, "--scheme", "x").exception)


def test_a_stage_can_be_left_out(predictions) -> None:
    folder, nights = predictions
    reference, predicted = pooled(nights)
    kept = reference != 1
    matrix = matrix_of(run(folder, "--ignore", "N1"))
    np.testing.assert_array_equal(matrix, confusion_matrix(reference[kept], predicted[kept], labels=range(5)))
    assert run(folder, "--ignore", "N7").exit_code == 1


def test_wake_around_sleep_can_be_left_out(predictions) -> None:
    folder, nights = predictions
    matrix = matrix_of(run(folder, "--wake-trim-min", 0))
    expected = []
    for reference, predicted in nights.values():
        asleep = np.flatnonzero(reference > 0)
        night = slice(asleep[0], asleep[-1] + 1)
        expected.append(confusion_matrix(*pooled({"": (reference[night], predicted[night])}), labels=range(5)))
    np.testing.assert_array_equal(matrix, np.sum(expected, axis=0))
    assert matrix.sum() < matrix_of(run(folder)).sum()


def test_the_nights_are_listed_where_it_is_asked(predictions) -> None:
    folder, _ = predictions
    lines = run(folder, "--show-pairs").stdout.splitlines()
    assert lines[:3] == [f"a/N{n}  a/S{n // 2}  200 epochs" for n in range(3)]
    assert "a/N0" not in run(folder).stdout


def test_a_picture_is_written_whole_and_not_over_another(predictions, tmp_path: Path) -> None:
    folder, _ = predictions
    png = tmp_path / "confusion.png"
    assert f"written: {png}" in run(folder, "--png", png).stdout
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "--overwrite" in str(run(folder, "--png", png).exception)
    assert run(folder, "--png", png, "--overwrite").exit_code == 0


def test_a_night_that_counts_twice_is_an_error(predictions) -> None:
    folder, _ = predictions
    write_predictions(folder / "3", [2])
    assert "a/N2 is in more than one folder" in str(run(folder).exception)


def test_what_is_no_prediction_is_said(tmp_path: Path) -> None:
    assert "`hypnograph predict` makes them" in str(run(tmp_path).exception)
    write_predictions(tmp_path, [1], scored=False)
    assert "no night with a reference" in str(run(tmp_path).exception)


def test_a_picture_is_one_that_can_be_drawn(predictions, tmp_path: Path) -> None:
    folder, _ = predictions
    assert "a picture ends in .png, .svg, .pdf" in str(run(folder, "--png", tmp_path / "c.xlsx").exception)
    assert run(folder, "--png", tmp_path / "c.svg").exit_code == 0


def test_simulated_nights_are_counted(tmp_path: Path) -> None:
    write_predictions(tmp_path, [0, 1])
    rows = read_rows(tmp_path)
    write_rows([rows[0]._replace(simulated="yes"), rows[1]], tmp_path)
    assert " epochs (1 simulated nights): accuracy" in run(tmp_path).stdout
