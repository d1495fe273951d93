"""``hypnograph plot``."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError

NAMES = ["W"] * 20 + ["N2"] * 60 + ["REM"] * 20 + ["W"] * 20


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["plot", *map(str, arguments)])


@pytest.fixture
def scoring(tmp_path: Path) -> Path:
    path = tmp_path / "night.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return path


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_draws_scorings_in_the_format_of_the_ending(scoring: Path, tmp_path: Path, suffix: str, begins: bytes) -> None:
    out = tmp_path / f"night.{suffix}"
    result = run(scoring, scoring, out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(begins)
    assert "written:" in result.stdout


def test_the_same_scorings_give_the_same_picture(scoring: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        run(scoring, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_draws_the_probabilities_of_a_csv(scoring: Path, tmp_path: Path) -> None:
    import numpy as np

    from hypnograph.hypnogram import Hypnodensity
    from hypnograph.hypnogram_files import write_hypnogram

    hypnodensity = Hypnodensity(np.tile([0.1, 0.2, 0.5, 0.1, 0.1], (40, 1)))
    write_hypnogram(hypnodensity.argmax(), tmp_path / "night.csv", hypnodensity=hypnodensity)
    result = run(tmp_path / "night.csv", tmp_path / "night.png", "--hypnodensity")
    assert result.exit_code == 0, result.output


def test_probabilities_that_a_file_does_not_hold_are_an_error(scoring: Path, tmp_path: Path) -> None:
    result = run(scoring, tmp_path / "night.png", "--hypnodensity")
    assert isinstance(result.exception, HypnographError)
    assert "holds no probabilities" in str(result.exception)
    assert not (tmp_path / "night.png").exists()


def test_an_ending_that_is_no_picture_is_an_error(scoring: Path) -> None:
    result = run(scoring, scoring)
    assert isinstance(result.exception, HypnographError)
    assert ".png, .svg, .pdf" in str(result.exception)


def test_the_spectrogram_of_a_recording_is_drawn(tmp_path: Path, shared_data: Path) -> None:
    eeg = shared_data / "eeg"
    result = run(eeg / "ucddb018.txt", tmp_path / "night.png", "--recording", eeg / "ucddb018.edf", "--dpi", 50)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "night.png").stat().st_size > 20_000


def test_scorings_of_one_name_are_told_apart_by_their_folders(scoring: Path, tmp_path: Path) -> None:
    for folder in ("predicted", "reference"):
        (tmp_path / folder).mkdir()
        shutil.copy(scoring, tmp_path / folder / "night.txt")
    run(tmp_path / "predicted/night.txt", tmp_path / "reference/night.txt", tmp_path / "night.svg")
    drawn = (tmp_path / "night.svg").read_text()
    assert "predicted/night.txt" in drawn
    assert "reference/night.txt" in drawn
