"""``hypnograph inspect``: every architecture from checkpoint to page."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from hypnograph.checkpoint import save  # noqa: E402
from hypnograph.cli import hypnograph  # noqa: E402
from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.hypnogram_files import write_hypnogram  # noqa: E402
from hypnograph.models import architectures, create_model  # noqa: E402
from hypnograph.signal_files import edf  # noqa: E402
from hypnograph.simulate import simulate_hypnogram, simulate_recording  # noqa: E402
from tests.conftest import REPOSITORY  # noqa: E402

RECURRENT = {"tinysleepnet", "deepsleepnet", "seqsleepnet", "sleepgpt-lstm"}
ATTENTIVE = {"attnsleep", "seqsleepnet"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["inspect", *map(str, arguments)])


def checkpoint(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    preset = "small" if "small" in architectures()[name].PRESETS else "default"
    return save(create_model(name, preset=preset), folder / name)


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    stages = simulate_hypnogram(seed=5, duration_h=0.5)
    derivations = ("C4-M1", "E1-M2", "Chin EMG", "ECG")
    edf.write(simulate_recording(stages, seed=5, sample_rate=128, derivations=derivations), folder / "night.edf")
    write_hypnogram(stages, folder / "scoring.txt")
    return folder / "night.edf"


@pytest.mark.parametrize("name", list(architectures()))
def test_every_architecture_goes_from_checkpoint_to_page(name: str, night: Path, tmp_path: Path) -> None:
    before = night.read_bytes()
    result = run(
        checkpoint(name, tmp_path), night, "--scoring", night.with_name("scoring.txt"), "--out", tmp_path / "o"
    )
    assert result.exit_code == 0, (result.output, result.exception)
    assert "peaks:" in result.stdout
    assert "stages from the scoring given" in result.stdout
    assert ("no LSTM over epochs" in result.stdout) == (name not in RECURRENT)
    assert ("attention: none" in result.stdout) == (name not in ATTENTIVE)
    written = {path.name for path in (tmp_path / "o").iterdir()}
    assert {"index.html", "filters-1.png", "stages-1.png"} <= written
    assert ("cell-1.png" in written) == (name in RECURRENT)
    assert ("attention-1.png" in written) == (name in ATTENTIVE)
    assert night.read_bytes() == before


def test_without_a_recording_there_are_filters_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(checkpoint("deepsleepnet", tmp_path), "--to", "svg")
    assert result.exit_code == 0, (result.output, result.exception)
    written = {path.name for path in (tmp_path / "deepsleepnet-inspection").iterdir()}
    assert written == {"index.html", "filters-1.svg", "filters-2.svg"}
    assert "No recording was given" in (tmp_path / "deepsleepnet-inspection/index.html").read_text(encoding="utf-8")


def test_the_page_has_no_patient_field(night: Path, tmp_path: Path) -> None:
    content = night.read_bytes()
    (tmp_path / "n1.edf").write_bytes(content[:8] + b"4711 F 01-JAN-1950 Musterfrau".ljust(80) + content[88:])
    result = run(checkpoint("sleepgpt-tinysleepnet", tmp_path), tmp_path / "n1.edf", "--out", tmp_path / "out")
    assert result.exit_code == 0, (result.output, result.exception)
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "n1: 60 epochs" in page
    assert "Musterfrau" not in page
    assert "4711" not in page


def test_a_derivation_can_be_chosen(night: Path, tmp_path: Path) -> None:
    result = run(checkpoint("sleepgpt-tinysleepnet", tmp_path), night, "--out", tmp_path / "out", "--eeg", "E1-M2")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "EEG E1-M2" in (tmp_path / "out/index.html").read_text(encoding="utf-8")


def test_a_page_that_exists_is_replaced_only_if_asked(tmp_path: Path) -> None:
    folder = checkpoint("sleepgpt-tinysleepnet", tmp_path)
    assert run(folder, "--out", tmp_path / "out").exit_code == 0
    again = run(folder, "--out", tmp_path / "out")
    assert isinstance(again.exception, HypnographError)
    assert "--overwrite" in str(again.exception)
    assert run(folder, "--out", tmp_path / "out", "--overwrite").exit_code == 0


def test_an_onnx_file_is_refused_and_the_checkpoint_asked_for(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"any")
    result = run(tmp_path / "model.onnx", "--out", tmp_path / "out")
    assert isinstance(result.exception, HypnographError)
    assert "give the folder of the checkpoint" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_an_error_before_any_work(night: Path, tmp_path: Path) -> None:
    result = run(checkpoint("sleepgpt-tinysleepnet", tmp_path), night, "--to", "gif", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "png, svg" in result.output


def test_torch_that_is_missing_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    """A fresh interpreter in which torch cannot be imported."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None; from hypnograph.cli import main; "
        f"sys.argv = ['hypnograph', 'inspect', {str(checkpoint('sleepgpt-tinysleepnet', tmp_path))!r}]; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 1
    assert "pip install 'hypnograph[train]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_commands_of_the_how_to_page_run(night: Path, tmp_path: Path, monkeypatch) -> None:
    checkpoint("tinysleepnet", tmp_path).rename(tmp_path / "my-network")
    for name in ("night.edf", "scoring.txt"):
        shutil.copy(night.with_name(name), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    page = (REPOSITORY / "docs/how-to/inspect-a-network.md").read_text(encoding="utf-8")
    lines = re.findall(r"^hypnograph (inspect .*)$", page, re.M)
    assert len(lines) == 2
    for line in lines:
        result = CliRunner().invoke(hypnograph, line.split())
        assert result.exit_code == 0, (line, result.output, result.exception)
    assert (tmp_path / "my-network-inspection/index.html").exists()
    assert (tmp_path / "looked/cell-1.svg").exists()
