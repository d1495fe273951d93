"""What the README and the how-to pages tell a user to type runs as written, on a short simulated night."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hypnograph.checkpoint import save
from hypnograph.cli import hypnograph
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.models import create_model
from hypnograph.signal_files import edf
from hypnograph.simulate import simulate_hypnogram, simulate_recording
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs" / "how-to").glob("*.md"))]
NSRR = """<PSGAnnotation><EpochLength>30</EpochLength><ScoredEvents>{events}</ScoredEvents></PSGAnnotation>"""
EVENT = (
    "<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>{name}</EventConcept>"
    "<Start>{start}</Start><Duration>30.0</Duration></ScoredEvent>"
)
CONCEPTS = {
    "W": "Wake|0",
    "N1": "Stage 1 sleep|1",
    "N2": "Stage 2 sleep|2",
    "N3": "Stage 3 sleep|3",
    "REM": "REM sleep|5",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("files")
    stages = simulate_hypnogram(seed=1, duration_h=0.5)
    recording = simulate_recording(stages, seed=1, sample_rate=128, derivations=("C4-M1", "C3-M2", "E1-M2"))
    edf.write(recording, folder / "night.edf")
    (folder / "nights").mkdir()
    shutil.copy(folder / "night.edf", folder / "nights" / "first.edf")
    write_hypnogram(stages, folder / "corrected.edf")
    write_hypnogram(stages, folder / "scoring.txt")
    events = "".join(EVENT.format(name=CONCEPTS[name], start=30.0 * i) for i, name in enumerate(stages.names))
    (folder / "scoring.xml").write_text(NSRR.format(events=events))
    save(create_model("tinysleepnet", preset="small"), folder / "my-network")
    return folder


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, files: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HYPNOGRAPH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(files, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    recording = Path("night.edf").read_bytes()
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["hypnograph"]:
            result = CliRunner().invoke(hypnograph, words[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception}"
    assert Path("night.edf").read_bytes() == recording


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, files: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    shutil.copytree(files, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    exec("\n".join(blocks(page, "python")), {})
