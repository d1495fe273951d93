"""``hypnograph fetch``. The server is on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph import download, remote_files
from hypnograph.cli import hypnograph
from hypnograph.datasets import datasets
from hypnograph.errors import HypnographError
from hypnograph.fetching import Fetched
from tests.test_remote_files import Server, physionet, serving

# Names as on physionet.org/content/sleep-edfx/1.0.0/sleep-cassette.
FILES = {
    "SC4001E0-PSG.edf": b"first night" * 1000,
    "SC4001EC-Hypnogram.edf": b"first stages",
    "SC4002E0-PSG.edf": b"second night" * 1000,
    "SC4002EC-Hypnogram.edf": b"second stages",
}
BASE = "/sleep-edfx/1.0.0"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["fetch", *map(str, arguments)])


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSES_S", (0.0,))
    with serving(Server()) as server:
        monkeypatch.setattr(remote_files, "PHYSIONET", server.url)
        physionet(server, BASE.strip("/"), {f"sleep-cassette/{name}": content for name, content in FILES.items()})
        yield server


class TestList:
    def test_without_arguments_names_every_dataset_and_who_gives_it(self) -> None:
        result = run()
        assert result.exit_code == 0
        access = {line.split()[0]: line for line in result.stdout.splitlines() if line.split()}
        assert set(datasets()) <= set(access)
        assert " public " in access["sleep-edf-sc"]
        assert " by its page " in access["mass-ss1"]
        assert " your own " in access["folder"]
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_of_files_downloads_nothing(self, server: Server, tmp_path: Path) -> None:
        result = run("sleep-edf-sc", "--list", "--first", 1)
        assert result.stdout.splitlines() == ["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf"]
        assert [path for _, path, _ in server.requests] == [f"{BASE}/SHA256SUMS.txt"]


class TestFetch:
    def test_what_lies_elsewhere_is_told(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setattr("hypnograph.fetching.fetch_dataset", lambda *_, **__: Fetched((), ()))
        assert "git clone https://github.com/Dreem-Organization" in run("dod-h", tmp_path).stdout
        assert "not among them" not in run("sleep-edf-sc", tmp_path).stdout

    def test_shows_licence_and_citation_then_fetches_all(self, server: Server, tmp_path: Path) -> None:
        result = run("sleep-edf-sc", tmp_path / "data")
        assert result.exit_code == 0, result.output
        assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == FILES
        assert "licence: ODC-By 1.0" in result.stderr
        assert "10.1109/10.867928" in result.stderr
        assert result.stderr.index("licence") < result.stderr.index(" MB")
        assert f"4 files are in {tmp_path / 'data'}, whole and checked" in result.stdout

    def test_the_first_recordings_only(self, server: Server, tmp_path: Path) -> None:
        assert run("sleep-edf-sc", tmp_path / "data", "--first", 1, "--jobs", 1).exit_code == 0
        assert sorted(path.name for path in (tmp_path / "data").iterdir()) == list(FILES)[:2]

    def test_a_file_that_cannot_be_had_is_an_error_that_names_it(self, server: Server, tmp_path: Path) -> None:
        server.statuses[f"{BASE}/sleep-cassette/SC4002E0-PSG.edf"] = 404
        result = run("sleep-edf-sc", tmp_path / "data")
        assert isinstance(result.exception, HypnographError)
        assert str(result.exception).startswith("1 of 4 files could not be fetched")
        assert "SC4002E0-PSG.edf: " in result.stderr
        assert "404" in result.stderr

    def test_without_a_folder_is_a_usage_error(self) -> None:
        result = run("sleep-edf-sc")
        assert result.exit_code == 2
        assert "hypnograph fetch sleep-edf-sc FOLDER" in result.stderr

    def test_what_no_program_may_fetch_says_where_it_is(self, tmp_path: Path) -> None:
        result = run("mass-ss1", tmp_path)
        assert isinstance(result.exception, HypnographError)
        assert "https://borealisdata.ca" in str(result.exception)

    def test_an_unknown_dataset_is_an_error_that_names_those_there_are(self, tmp_path: Path) -> None:
        result = run("sleep-edf-sd", tmp_path)
        assert isinstance(result.exception, HypnographError)
        assert "sleep-edf-sc" in str(result.exception)
