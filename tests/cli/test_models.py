"""``hypnograph models``."""

import hashlib
import io
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph import released_weights
from hypnograph.cli import hypnograph, models
from hypnograph.errors import HypnographError
from hypnograph.released_weights import RELEASED

NAME = "tinysleepnet-sleepgpt"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["models", *map(str, arguments)])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache of its own, and no network."""

    def refuse(*_: object) -> None:
        raise OSError("there is no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HYPNOGRAPH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Path:
    """Fresh weights under the names of SleepGPT's file, which are taken to be those that were published."""
    torch = pytest.importorskip("torch")
    from hypnograph.models.sleepgpt_tinysleepnet import Config, Model, published_names

    values = Model(Config()).state_dict()
    buffer = io.BytesIO()
    torch.save({theirs: values[ours] for theirs, ours in published_names().items()}, buffer)
    content = buffer.getvalue()
    path = tmp_path / "mine.tar"
    path.write_bytes(content)
    entry = replace(RELEASED[NAME], size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(released_weights, "RELEASED", {**RELEASED, NAME: entry})
    return path


class TestList:
    def test_shows_name_state_size_licence_data_and_results_of_all(self, cache: Path) -> None:
        result = run()
        assert result.exit_code == 0
        words = result.stdout.split()
        assert {*RELEASED, "ensemble", "yasa"} <= set(words)
        for text in (
            "built in",
            "fetchable",
            "12.6",
            "MIT",
            "Apache-2.0",
            "BSD-3-Clause",
            "Sleep-EDF, Fpz-Cz",
            "0.799",
        ):
            assert text in result.stdout
        assert f"Cached in:      {cache / 'weights'}" in result.stdout

    def test_fits_100_columns_without_losing_a_name(self, file: Path) -> None:
        run("fetch", NAME, "--from", file)
        lines = [line for line in run().stdout.splitlines() if not line.startswith("Cached in")]
        assert max(len(line) for line in lines) <= 100
        assert any(line.split()[:2] == [NAME, "cached"] for line in lines)

    def test_text_in_brackets_is_text(self, cache: Path) -> None:
        folder = cache / "weights" / "mine"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
        (folder / "model.json").write_text(json.dumps({"data": "nights of [bold]ours[/bold]", "licence": ""}))
        assert "nights of [bold]ours[/bold]" in run().stdout

    def test_json_has_all_facts(self, cache: Path) -> None:
        rows = {row["name"]: row for row in json.loads(run("--json").stdout)}
        row = rows["usleep-anysleep-2"]
        assert (row["state"], row["kind"], row["size"], row["path"]) == ("fetchable", "network", 12_551_209, None)
        assert row["metrics"] == RELEASED["usleep-anysleep-2"].metrics
        assert rows["slm-shhs-60"]["kind"] == "language model"
        assert Path(rows["yasa"]["path"]).is_dir()


class TestFetch:
    def test_prints_folder_licence_and_how_to_stage(self, file: Path, cache: Path) -> None:
        result = run("fetch", NAME, "--from", file)
        assert result.exit_code == 0
        for text in (f"{NAME}: {cache / 'weights' / NAME}", "licence: Apache-2.0", f"night.edf --model {NAME}"):
            assert text in result.stdout

    def test_quiet_prints_only_the_folder(self, file: Path, cache: Path) -> None:
        assert run("fetch", NAME, "--from", file, "--quiet").output == f"{cache / 'weights' / NAME}\n"

    def test_a_language_model_is_not_said_to_stage(self, cache: Path, capsys) -> None:
        models._print_fetched("slm-shhs-60", cache)
        assert "hypnograph stage" not in capsys.readouterr().out

    def test_without_network_the_error_is_advice(self, cache: Path) -> None:
        error = run("fetch", "usleep-anysleep-1").exception
        assert isinstance(error, HypnographError)
        assert f"to {cache / 'downloads' / 'usleep-run1.pth'} and run" in str(error)

    def test_a_file_is_of_one_name(self, file: Path) -> None:
        result = run("fetch", NAME, "slm-shhs-60", "--from", file)
        assert result.exit_code == 2
        assert "2 names were given" in result.output

    def test_overwrite_converts_again(self, file: Path, cache: Path) -> None:
        run("fetch", NAME, "--from", file)
        weights = cache / "weights" / NAME / "model.safetensors"
        weights.write_bytes(b"damaged")
        run("fetch", NAME, "--from", file)
        assert weights.read_bytes() == b"damaged"
        run("fetch", NAME, "--from", file, "--overwrite")
        assert weights.stat().st_size > 1e6


class TestProgress:
    def test_is_a_line_for_each_quarter_where_no_person_watches(self, capsys) -> None:
        with models._progress("weights", quiet=False) as show:
            assert show is not None
            for done in range(0, 4_000_001, 1000):
                show(done, 4_000_000)
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"weights: {megabytes}.0 of 4.0 MB" for megabytes in range(5)]

    def test_is_a_bar_on_a_terminal(self, monkeypatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        with models._progress("weights", quiet=False) as show:
            assert show is not None
            show(1_000_000, 4_000_000)
            show(2_000_000, 4_000_000)
        shown = sys.stderr.getvalue()
        assert "2.0/4.0 MB" in shown
        assert "━" in shown

    def test_is_nothing_if_quiet(self) -> None:
        with models._progress("weights", quiet=True) as show:
            assert show is None


@pytest.mark.parametrize("arguments", [["--help"], ["fetch", "--help"], ["fetch", "-h"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    printed = run(*arguments).stdout
    assert "Example:\n" in printed
    assert "    hypnograph models fetch usleep-anysleep-1\n" in printed
