"""``hypnograph report``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["report", *map(str, arguments)])


@pytest.fixture
def recording(shared_data: Path) -> Path:
    return shared_data / "eeg" / "ucddb018.edf"


def test_reports_a_persons_scoring_of_a_real_night(recording: Path, tmp_path: Path) -> None:
    result = run(recording, recording.with_suffix(".txt"), tmp_path / "report.html", "--title", "night 18")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for part in ("<h1>night 18</h1>", "822 epochs of 30 s", "Multitaper spectrogram of", "Its certainty is not known"):
        assert part in text


def test_the_title_is_the_name_of_the_recording(recording: Path, tmp_path: Path) -> None:
    assert run(recording, recording.with_suffix(".txt"), tmp_path / "report.json").exit_code == 0
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert values["title"] == "ucddb018"
    assert values["probabilities"] is None


def test_a_simulated_night_says_so(recording: Path, tmp_path: Path) -> None:
    run(recording, recording.with_suffix(".txt"), tmp_path / "report.json", "--simulated")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["simulated"] is True


def test_shows_the_certainty_that_a_scoring_holds(recording: Path, tmp_path: Path) -> None:
    import numpy as np

    from hypnograph.hypnogram import Hypnodensity
    from hypnograph.hypnogram_files import write_hypnogram

    hypnodensity = Hypnodensity(np.tile([0.1, 0.2, 0.5, 0.1, 0.1], (40, 1)))
    write_hypnogram(hypnodensity.argmax(), tmp_path / "night.csv", hypnodensity=hypnodensity)
    result = run(recording, tmp_path / "night.csv", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    assert "Unsure stretches worth a look" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_derivation_that_is_not_there_is_an_error(recording: Path, tmp_path: Path) -> None:
    result = run(recording, recording.with_suffix(".txt"), tmp_path / "report.html", "--eeg", "F9-M1")
    assert isinstance(result.exception, HypnographError)
    assert not (tmp_path / "report.html").exists()


def test_an_unknown_ending_is_an_error(recording: Path, tmp_path: Path) -> None:
    result = run(recording, recording.with_suffix(".txt"), tmp_path / "report.docx")
    assert isinstance(result.exception, HypnographError)
    assert ".html, .pdf, .json" in str(result.exception)
