"""`hypnograph export`, and staging with what it wrote, as a person does it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from hypnograph.checkpoint import save  # noqa: E402
from hypnograph.cli import hypnograph  # noqa: E402
from hypnograph.hypnogram_files import read_hypnogram  # noqa: E402
from hypnograph.models import create_model  # noqa: E402
from tests.test_batch import write_night  # noqa: E402


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, [*map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its ONNX file at 10 s, and a night."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    save(create_model("usleep", preset="small"), folder / "checkpoint", name="small-usleep")
    write_night(folder / "night.edf", labels=("C4-M1", "C3-M2", "E1-M2"))
    result = run("export", folder / "checkpoint", folder / "model.onnx", "--resolution", 10)
    assert result.exit_code == 0, result.output
    assert "model.onnx" in result.output
    return folder


def test_a_night_is_staged_by_the_file_and_by_the_checkpoint_alike(folder: Path, tmp_path: Path) -> None:
    for model, out in ((folder / "model.onnx", "onnx"), (folder / "checkpoint", "torch")):
        result = run(
            "stage",
            folder / "night.edf",
            "--model",
            model,
            "--resolution",
            10,
            "--to",
            "csv,html",
            "--out",
            tmp_path / out,
        )
        assert result.exit_code == 0, result.output
        assert "small-usleep" in (tmp_path / out / "night-report.html").read_text()
    by_file, by_checkpoint = (read_hypnogram(tmp_path / out / "night-hypnogram.csv") for out in ("onnx", "torch"))
    assert by_file.epoch_s == 10
    assert by_file.names == by_checkpoint.names


def test_a_file_that_exists_is_replaced_only_if_asked(folder: Path) -> None:
    result = run("export", folder / "checkpoint", folder / "model.onnx")
    assert result.exit_code == 1
    assert "--overwrite" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resolution", "5"], "needs a network"),
        (["--model", "no-such-model"], "hypnograph models"),
        (["--stager", "yasa", "--model", "x"], "takes no model"),
        (["--age", "40", "--sex", "male", "--model", "MODEL"], "age"),
        (["--model", "MODEL", "--resolution", "7"], "10 s"),
        (["--model", "MODEL", "--eog", "none"], "EOG"),
    ],
)
def test_what_does_not_go_together_is_said(folder: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    arguments = [str(folder / "model.onnx") if a == "MODEL" else a for a in arguments]
    result = run("stage", folder / "night.edf", "--out", tmp_path, *arguments)
    assert result.exit_code == 1
    assert said in result.output + str(result.exception)
    assert list(tmp_path.iterdir()) == []
