"""Download of public datasets: whole, checked, resumed, only what is missing. The server is on loopback."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from hypnograph import datasets, download, fetching, remote_files
from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below
from hypnograph.errors import HypnographError
from hypnograph.fetching import fetch_dataset, public_files
from hypnograph.remote_files import PhysioNet, RemoteFile, S3Bucket
from tests.test_remote_files import Server, physionet, serving

# A recording is a header with its samples beside it, as in WFDB; n3 has no scoring, and a blank is in a name.
FILES = {
    "RECORDS": b"n1\nn2\n",
    "n1.hea": b"header of night 1",
    "n1.mat": b"samples of night 1" * 10_000,
    "n1-stages.txt": b"W W N1",
    "more/n 2.hea": b"header of night 2",
    "more/n 2.mat": b"samples of night 2" * 10_000,
    "more/n 2-stages.txt": b"",
    "n3.hea": b"header of night 3",
}
NIGHTS = {name: content for name, content in FILES.items() if name not in ("RECORDS", "n3.hea")}


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    for psg in files_below(folder, (".hea",)):
        scoring = psg.with_name(f"{psg.stem}-stages.txt")
        if scoring.exists():
            yield Night(dataset=name, id=psg.stem, subject=psg.stem, psg=psg, scorings=(Scoring("", scoring),))
        else:
            yield Problem(psg, "no scoring")


@dataclass(frozen=True)
class Bare:
    """A server's list, as it is given."""

    given: tuple[RemoteFile, ...]

    def files(self) -> list[RemoteFile]:
        return list(self.given)


def about(remote: object) -> Dataset:
    return Dataset(title="A dataset", licence="on application", source="https://x.org/", layout="n*.hea", remote=remote)


def pretend(monkeypatch, remote: object) -> None:
    """Let there be one dataset, "nights", whose files are at `remote`."""
    module = SimpleNamespace(DATASETS={"nights": about(remote)}, scan=scan)
    monkeypatch.setattr(datasets, "_modules", lambda: {"nights": module})


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """A server of FILES in PhysioNet's way, no pauses, and no proxy between the test and it."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSES_S", (0.0, 0.0, 0.0))
    with serving(Server()) as server:
        monkeypatch.setattr(remote_files, "PHYSIONET", server.url)
        physionet(server, "nights/1.0", FILES)
        pretend(monkeypatch, PhysioNet("nights/1.0"))
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def reset(server: Server) -> None:
    server.requests.clear()


class TestWhole:
    @pytest.mark.parametrize("jobs", [1, 3])
    def test_every_file_comes_byte_for_byte_and_empty_ones_too(self, server: Server, folder: Path, jobs: int) -> None:
        fetched = fetch_dataset("nights", folder, jobs=jobs)
        assert contents(folder) == FILES
        assert fetched.problems == ()
        assert {path.relative_to(folder).as_posix() for path in fetched.paths} == set(FILES)

    def test_only_get_and_head_are_sent(self, server: Server, folder: Path) -> None:
        fetch_dataset("nights", folder)
        assert {method for method, _, _ in server.requests} == {"GET", "HEAD"}

    def test_the_progress_ends_at_all_bytes_and_never_goes_back(self, server: Server, folder: Path) -> None:
        told: list[tuple[int, int]] = []
        fetch_dataset("nights", folder, progress=lambda *both: told.append(both), jobs=3)
        assert told[-1] == (sum(map(len, FILES.values())),) * 2
        assert [done for done, _ in told] == sorted(done for done, _ in told)

    def test_from_a_bucket_whose_list_has_md5_and_sizes(self, server: Server, folder: Path, monkeypatch) -> None:
        server.files = {f"/{name.replace(' ', '_')}": content for name, content in FILES.items()}
        pretend(monkeypatch, S3Bucket(server.url, r"\.(mat|hea)$"))
        fetch_dataset("nights", folder)
        assert contents(folder)["more/n_2.mat"] == FILES["more/n 2.mat"]
        assert server.asked("HEAD") == []


class TestAgain:
    def test_what_is_there_and_right_is_not_fetched_again(self, server: Server, folder: Path) -> None:
        fetch_dataset("nights", folder)
        reset(server)
        again = fetch_dataset("nights", folder)
        assert server.requests == [("GET", "/nights/1.0/SHA256SUMS.txt", "")]
        assert len(again.paths) == len(FILES)

    def test_only_the_missing_file_is_fetched(self, server: Server, folder: Path) -> None:
        fetch_dataset("nights", folder)
        (folder / "n1.mat").unlink()
        reset(server)
        told: list[tuple[int, int]] = []
        fetch_dataset("nights", folder, progress=lambda *both: told.append(both))
        assert server.asked("GET") == ["/nights/1.0/SHA256SUMS.txt", "/nights/1.0/n1.mat"]
        assert told[-1] == (180_000, 180_000)

    def test_a_file_with_a_wrong_content_is_replaced(self, server: Server, folder: Path) -> None:
        folder.mkdir()
        (folder / "n1.hea").write_bytes(b"HEADER of night 1")  # as long as the right one
        fetch_dataset("nights", folder)
        assert contents(folder) == FILES

    def test_a_download_goes_on_where_it_broke_off(self, server: Server, folder: Path) -> None:
        folder.mkdir()
        (folder / "n1.mat.partial").write_bytes(FILES["n1.mat"][:1000])
        fetch_dataset("nights", folder)
        assert ("GET", "/nights/1.0/n1.mat", "bytes=1000-") in server.requests
        assert contents(folder) == FILES

    def test_a_dropped_connection_is_taken_up_again(self, server: Server, folder: Path) -> None:
        server.drops["/nights/1.0/n1.mat"] = [500, 70_000]
        assert fetch_dataset("nights", folder).problems == ()
        assert contents(folder) == FILES

    def test_a_partial_file_of_something_else_is_begun_anew(self, server: Server, folder: Path) -> None:
        folder.mkdir()
        (folder / "n1.mat.partial").write_bytes(b"?" * 1000)
        assert fetch_dataset("nights", folder).problems == ()
        assert contents(folder) == FILES


class TestTrouble:
    def test_a_wrong_checksum_is_mended_by_one_more_fetch(self, server: Server, folder: Path) -> None:
        server.wrong["/nights/1.0/n1.hea"] = [b"HEADER of night 1"]
        assert fetch_dataset("nights", folder).problems == ()
        assert server.asked("GET").count("/nights/1.0/n1.hea") == 2
        assert contents(folder) == FILES

    def test_a_checksum_that_stays_wrong_is_a_problem_and_leaves_no_file(self, server: Server, folder: Path) -> None:
        server.wrong["/nights/1.0/n1.hea"] = [b"HEADER of night 1"] * 5
        fetched = fetch_dataset("nights", folder)
        (problem,) = fetched.problems
        assert problem.path == folder / "n1.hea"
        assert "checksum" in problem.what
        assert server.asked("GET").count("/nights/1.0/n1.hea") == 2
        assert contents(folder) == {name: content for name, content in FILES.items() if name != "n1.hea"}
        assert folder / "n1.hea" not in fetched.paths

    @pytest.mark.parametrize("status", [404, 503])
    def test_a_file_that_the_server_refuses_does_not_stop_the_others(
        self, server: Server, folder: Path, status: int
    ) -> None:
        server.statuses["/nights/1.0/n1.mat"] = status
        (problem,) = fetch_dataset("nights", folder, jobs=2).problems
        assert f"answered {status}" in problem.what
        assert contents(folder) == {name: content for name, content in FILES.items() if name != "n1.mat"}

    def test_no_room_on_the_disk_is_said_before_anything_is_fetched(
        self, server: Server, folder: Path, monkeypatch
    ) -> None:
        usage = SimpleNamespace(free=fetching.ROOM + 1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(HypnographError, match=r"0\.0 GB are to be fetched, and 0\.0 GB are free"):
            fetch_dataset("nights", folder)
        assert server.asked("GET") == ["/nights/1.0/SHA256SUMS.txt"]

    def test_an_interruption_leaves_whole_files_and_partial_ones_with_the_right_bytes(
        self, server: Server, folder: Path
    ) -> None:
        def interrupt(done: int, _total: int) -> None:
            if done > 70_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch_dataset("nights", folder, progress=interrupt, jobs=2)
        for name, content in contents(folder).items():
            assert FILES[name.removesuffix(".partial")].startswith(content)
            assert name.endswith(".partial") or FILES[name] == content
        assert set(contents(folder)) != set(FILES)
        assert fetch_dataset("nights", folder).problems == ()
        assert contents(folder) == FILES

    def test_ctrl_c_stops_what_is_under_way(self, server: Server, folder: Path) -> None:
        def press(done: int, _total: int) -> None:
            if done > 60_000:  # within the samples of a night
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(1.0)  # a busy computer takes its time to interrupt

        with pytest.raises(KeyboardInterrupt):
            fetch_dataset("nights", folder, progress=press)
        assert 0 < len(contents(folder)["more/n 2.mat.partial"]) < len(FILES["more/n 2.mat"])
        assert "n1.mat" not in contents(folder)

    @pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:evil"])
    def test_a_server_cannot_choose_a_place_outside_the_folder(
        self, server: Server, folder: Path, monkeypatch, path: str
    ) -> None:
        pretend(monkeypatch, Bare((RemoteFile(path, f"{server.url}/nights/1.0/n1.hea", 17, ""),)))
        with pytest.raises(HypnographError, match="outside the dataset's folder"):
            fetch_dataset("nights", folder)
        assert not folder.exists()

    def test_a_dataset_that_is_not_public_says_where_to_get_it(self, folder: Path, monkeypatch) -> None:
        pretend(monkeypatch, None)
        with pytest.raises(HypnographError, match=r"on application\); get it at https://x\.org/.*check-data nights"):
            fetch_dataset("nights", folder)

    def test_an_unknown_dataset_names_those_that_there_are(self, folder: Path, monkeypatch) -> None:
        pretend(monkeypatch, None)
        with pytest.raises(HypnographError, match=r"no dataset 'days'\. There are: nights"):
            fetch_dataset("days", folder)


class TestFirst:
    def test_the_first_recordings_come_with_their_scorings_and_samples(
        self, server: Server, folder: Path, monkeypatch
    ) -> None:
        files = {"n1.hea": b"1", "n1.mat": b"2", "n1-stages.txt": b"3", "n2.hea": b"4", "n2-stages.txt": b"5"}
        physionet(server, "flat/1.0", {"RECORDS": b"n1 n2", **files})
        pretend(monkeypatch, PhysioNet("flat/1.0"))
        fetch_dataset("nights", folder, first=1)
        assert contents(folder) == {name: content for name, content in files.items() if name.startswith("n1")}

    def test_what_lies_above_folders_of_nights_comes_along(self, server: Server, monkeypatch) -> None:
        files = ("participants.tsv", "sub-1/n1.hea", "sub-1/n1-stages.txt", "sub-2/n2.hea", "sub-2/n2-stages.txt")
        pretend(monkeypatch, Bare(tuple(RemoteFile(path, server.url, 0, "") for path in files)))
        assert [file.path for file in public_files("nights", first=1)] == list(files[:3])

    def test_a_server_without_any_night_says_so(self, server: Server, monkeypatch) -> None:
        pretend(monkeypatch, Bare((RemoteFile("README", server.url, 0, ""),)))
        with pytest.raises(HypnographError, match="none of the 1 files"):
            public_files("nights", first=1)

    def test_a_recording_without_a_scoring_does_not_count(self, server: Server, folder: Path) -> None:
        assert {file.path for file in public_files("nights", first=3)} == set(NIGHTS)

    def test_more_than_there_are_gives_all_nights(self, server: Server) -> None:
        assert {file.path for file in public_files("nights", first=99)} == set(NIGHTS)

    def test_none_is_an_error(self, server: Server) -> None:
        with pytest.raises(HypnographError, match="ask for 1 or more"):
            public_files("nights", first=0)

    def test_sleep_edf_is_paired_by_the_first_six_letters_of_a_name(self, server: Server, monkeypatch) -> None:
        monkeypatch.undo()
        names = ["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf", "SC4002E0-PSG.edf", "SC4002EC-Hypnogram.edf"]
        monkeypatch.setattr(remote_files, "PHYSIONET", server.url)
        physionet(server, "sleep-edfx/1.0.0", {f"sleep-cassette/{name}": b"" for name in names})
        # Names as on physionet.org/content/sleep-edfx/1.0.0/sleep-cassette.
        assert [file.path for file in public_files("sleep-edf-sc", first=1)] == names[:2]
