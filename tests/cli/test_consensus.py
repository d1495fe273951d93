"""``hypnograph consensus``."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError
from hypnograph.evaluation.consensus import majority, soft_hypnodensity
from hypnograph.evaluation.dawid_skene import latent_stages
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram, write_hypnogram

RNG = np.random.default_rng(4)
TRUTH = np.sort(RNG.integers(0, 5, 200))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["consensus", *map(str, arguments)])


@pytest.fixture
def team(tmp_path: Path) -> dict[Path, Hypnogram]:
    """Three people's files of one night."""
    found = {}
    for name in ("anna", "ben", "chris"):
        stages = np.where(RNG.random(200) < 0.3, RNG.integers(-1, 5, 200), TRUTH)
        found[tmp_path / f"{name}.txt"] = Hypnogram(stages)
        write_hypnogram(found[tmp_path / f"{name}.txt"], tmp_path / f"{name}.txt")
    return found


def test_the_file_has_the_majority_and_the_shares(team: dict[Path, Hypnogram], tmp_path: Path) -> None:
    result = run(*team, "-o", tmp_path / "all.csv")
    assert result.exception is None, result.exception
    scorings = list(team.values())
    assert read_hypnogram(tmp_path / "all.csv").stages.tolist() == majority(scorings).stages.tolist()
    shares = read_hypnodensity(tmp_path / "all.csv").probabilities
    assert shares == pytest.approx(soft_hypnodensity(scorings).probabilities, nan_ok=True)
    assert "200 epochs" in result.stdout
    assert "anna: 0." in result.stdout


@pytest.mark.parametrize("method", ["dawid-skene", "staple"])
def test_the_other_methods_write_what_they_found(method, team: dict[Path, Hypnogram], tmp_path: Path) -> None:
    assert run(*team, "-o", tmp_path / "all.csv", "--method", method).exception is None
    expected = latent_stages([{path.stem: h for path, h in team.items()}], method=method).nights[0]
    assert read_hypnodensity(tmp_path / "all.csv").probabilities == pytest.approx(expected.probabilities, nan_ok=True)
    assert read_hypnogram(tmp_path / "all.csv").stages.tolist() == expected.argmax().stages.tolist()


def test_folders_give_a_folder(team: dict[Path, Hypnogram], tmp_path: Path) -> None:
    for path, hypnogram in team.items():
        for night in ("n1", "n2"):
            (tmp_path / path.stem).mkdir(exist_ok=True)
            write_hypnogram(hypnogram, tmp_path / path.stem / f"{night}.txt")
    folders = [tmp_path / path.stem for path in team]
    result = run(*folders, "-o", tmp_path / "all", "--to", "tsv")
    assert result.exception is None, result.exception
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["n1.tsv", "n2.tsv"]
    assert "2 files in" in result.stdout
    assert "exists" in str(run(*folders, "-o", tmp_path / "all", "--to", "tsv").exception)
    assert "--to 'docx'" in str(run(*folders, "-o", tmp_path / "all", "--to", "docx").exception)
    assert "one night" in run(*folders, "-o", tmp_path / "more", "--plot", tmp_path / "x.png").stderr


def test_the_picture_is_written(team: dict[Path, Hypnogram], tmp_path: Path) -> None:
    result = run(*team, "-o", tmp_path / "all.csv", "--plot", tmp_path / "all.svg")
    assert result.exception is None, result.exception
    assert "<svg" in (tmp_path / "all.svg").read_text()


def test_no_scoring_is_overwritten(team: dict[Path, Hypnogram], tmp_path: Path) -> None:
    first = next(iter(team))
    before = first.read_bytes()
    for overwrite in ([], ["--overwrite"]):
        for option in (["-o", first], ["-o", tmp_path / "new.csv", "--plot", first]):
            assert isinstance(run(*team, *option, *overwrite).exception, HypnographError)
    assert first.read_bytes() == before


def test_one_scoring_is_no_consensus(team: dict[Path, Hypnogram], tmp_path: Path) -> None:
    assert "two scorings or more" in run(next(iter(team)), "-o", tmp_path / "all.csv").stderr
