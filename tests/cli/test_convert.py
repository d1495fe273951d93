"""``hypnograph convert``."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram, writable_formats, write_hypnogram

TEN_PM = datetime(2020, 3, 1, 22)


@pytest.fixture
def scoring(tmp_path: Path) -> Path:
    path = tmp_path / "scoring.edf"
    write_hypnogram(Hypnogram(np.array([0, 1, 2, 3, 4, -1]), start=TEN_PM), path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["convert", *map(str, arguments)])


def error_of(result: Result) -> str:
    assert isinstance(result.exception, HypnographError), result.output
    return str(result.exception)


@pytest.mark.parametrize("to", ["csv", "edf", "ids", "json", "npy", "tsv", "txt"])
def test_each_format_is_written_by_its_ending_and_by_its_name(scoring: Path, tmp_path: Path, to: str) -> None:
    assert to in writable_formats()
    before = scoring.read_bytes()
    for output, options in ((tmp_path / f"out.{to}", ()), (tmp_path / "out.dat", ("--to", to, "--overwrite"))):
        result = run(scoring, output, *options)
        assert result.exit_code == 0, result.output
        assert "6 epochs of 30 s" in result.stdout
        assert read_hypnogram(output, format=to if to != "txt" else "text").stages.tolist() == [0, 1, 2, 3, 4, -1]
    assert scoring.read_bytes() == before


def test_an_existing_file_is_replaced_only_when_asked(scoring: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    output.write_text("corrected by hand")
    assert "exists; --overwrite" in error_of(run(scoring, output))
    assert output.read_text() == "corrected by hand"
    assert run(scoring, output, "--overwrite").exit_code == 0
    assert output.read_text() == "W\nN1\nN2\nN3\nREM\nUNSCORED\n"


def test_the_input_is_never_overwritten(scoring: Path, tmp_path: Path) -> None:
    before = scoring.read_bytes()
    link = tmp_path / "link.edf"
    link.symlink_to(scoring)
    for output in (scoring, link):
        assert "never overwritten" in error_of(run(scoring, output, "--overwrite"))
    assert scoring.read_bytes() == before


def test_names_of_one_s_own_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("W\nDeep\nTonic\n")
    assert "--stage-map" in error_of(run(tmp_path / "own.txt", tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()
    result = run(tmp_path / "own.txt", tmp_path / "out.csv", "--stage-map", "Deep=N3", "--stage-map", "tonic=REM")
    assert result.exit_code == 0
    assert read_hypnogram(tmp_path / "out.csv").names == ["W", "N3", "REM"]


def test_stages_are_merged_and_epochs_cut(scoring: Path, tmp_path: Path) -> None:
    assert run(scoring, tmp_path / "out.csv", "--scheme", "w-nrem-rem", "--epoch-s", "10").exit_code == 0
    hypnogram = read_hypnogram(tmp_path / "out.csv")
    assert (hypnogram.epoch_s, hypnogram.scheme.name) == (10.0, "W-NREM-REM")
    assert hypnogram.names[::3] == ["W", "NREM", "NREM", "NREM", "REM", "UNSCORED"]
    assert "not one of AASM, W-light-deep-REM" in error_of(run(scoring, tmp_path / "x.csv", "--scheme", "five"))


def test_a_recording_gives_the_grid(scoring: Path, tmp_path: Path) -> None:
    from edfio import Edf, EdfSignal, Recording

    signal = EdfSignal(np.zeros(100 * 120), sampling_frequency=100, label="EEG C4-M1", physical_range=(-1, 1))
    header = {"recording": Recording(startdate=TEN_PM.date()), "starttime": TEN_PM.replace(minute=1).time()}
    Edf([signal], **header).write(tmp_path / "psg.edf")
    result = run(scoring, tmp_path / "out.csv", "--recording", tmp_path / "psg.edf")
    assert result.exit_code == 0, result.exception
    hypnogram = read_hypnogram(tmp_path / "out.csv")
    assert hypnogram.start == TEN_PM.replace(minute=1)
    assert hypnogram.names == ["N2", "N3", "REM", "UNSCORED"]
    assert "never overwritten" in error_of(run(scoring, tmp_path / "psg.edf", "--recording", tmp_path / "psg.edf"))


def test_probabilities_are_kept_while_the_grid_is(tmp_path: Path) -> None:
    density = Hypnodensity(np.tile([0.1, 0.2, 0.5, 0.1, 0.1], (4, 1)))
    write_hypnogram(density.argmax(), tmp_path / "night.json", hypnodensity=density)
    run(tmp_path / "night.json", tmp_path / "night.csv")
    assert read_hypnodensity(tmp_path / "night.csv") == density
    run(tmp_path / "night.json", tmp_path / "merged.csv", "--scheme", "W-sleep")
    assert np.allclose(read_hypnodensity(tmp_path / "merged.csv").probabilities, [[0.1, 0.9]] * 4)
    run(tmp_path / "night.json", tmp_path / "fine.csv", "--epoch-s", "15")
    assert read_hypnodensity(tmp_path / "fine.csv") is None


def test_the_format_of_the_input_may_be_said(scoring: Path, tmp_path: Path) -> None:
    assert run(scoring, tmp_path / "out.csv", "--from", "edf").exit_code == 0
    assert "'polyman' is not one format" in error_of(run(scoring, tmp_path / "x.csv", "--from", "polyman"))


def test_help_has_an_example() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "hypnograph convert SC4001EC-Hypnogram.edf" in result.output
