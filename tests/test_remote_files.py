"""Lists of the files of public datasets, as PhysioNet, S3 and our own lists give them. The server is on loopback."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, quote, urlsplit
from xml.sax.saxutils import escape

import pytest

from hypnograph import remote_files
from hypnograph.datasets import datasets
from hypnograph.errors import HypnographError
from hypnograph.remote_files import ErdaShare, PhysioNet, RemoteFile, S3Bucket, remote_size


@dataclass
class Server:
    """Files by path, and how the server misbehaves; it remembers what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    drops: dict[str, list[int]] = field(default_factory=dict)
    """By path, for each of its first GETs: close the connection after so many bytes."""
    wrong: dict[str, list[bytes]] = field(default_factory=dict)
    """By path, for each of its first GETs: this instead of the file."""
    statuses: dict[str, int] = field(default_factory=dict)
    without_length: bool = False
    page_size: int = 1000
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def asked(self, method: str) -> list[str]:
        return [path for how, path, _ in self.requests if how == method]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, is_head = handler.path, handler.command == "HEAD"
        wanted = handler.headers.get("Range", "")
        self.requests.append((handler.command, path, wanted))
        content = self.listing(path) if "list-type" in path else self.files.get(path)
        if content is None or path in self.statuses:
            handler.send_error(self.statuses.get(path, 404))
            return
        if not is_head and self.wrong.get(path):
            content = self.wrong[path].pop(0)
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        handler.send_response(206 if first else 200)
        if not self.without_length:
            handler.send_header("Content-Length", str(len(content) - first))
        handler.end_headers()
        if not is_head:
            past_last = first + self.drops[path].pop(0) if self.drops.get(path) else len(content)
            handler.wfile.write(content[first:past_last])

    def listing(self, path: str) -> bytes:
        """One page of a bucket: what S3's documentation of ListObjectsV2 shows."""
        query = parse_qs(urlsplit(path).query, keep_blank_values=True)
        prefix = query["prefix"][0]
        keys = sorted(key for key in (name.lstrip("/") for name in self.files) if key.startswith(prefix))
        first = int(query.get("continuation-token", ["0"])[0])
        rows = "".join(self._entry(key) for key in keys[first : first + self.page_size])
        past_last = first + self.page_size
        more = f"<NextContinuationToken>{past_last}</NextContinuationToken>" if past_last < len(keys) else ""
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        return f'<?xml version="1.0"?><ListBucketResult xmlns="{space}">{more}{rows}</ListBucketResult>'.encode()

    def _entry(self, key: str) -> str:
        content = self.files[f"/{key}"]
        tag = hashlib.md5(content).hexdigest() + ("-2" if key.endswith(".h5") else "")
        return (
            f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{tag}&quot;</ETag>"
            f"<Size>{len(content)}</Size></Contents>"
        )  # fmt: skip


class Answering(Protocol):
    """A server that answers requests, and is told its address."""

    url: str

    def answer(self, handler: BaseHTTPRequestHandler) -> None: ...


S = TypeVar("S", bound=Answering)


@contextmanager
def serving(server: S) -> Iterator[S]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def do_HEAD(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_port}"
        yield server
        http.shutdown()
        thread.join()


def physionet(server: Server, project: str, files: dict[str, bytes]) -> None:
    """Let the server have a project of PhysioNet, with its list of checksums."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in files.items())
    server.files |= {f"/{project}/{quote(path)}": content for path, content in files.items()}
    server.files[f"/{project}/SHA256SUMS.txt"] = sums.encode()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(Server()) as server:
        monkeypatch.setattr(remote_files, "PHYSIONET", server.url)
        monkeypatch.setattr(remote_files, "ERDA", server.url)
        yield server


class TestPhysioNet:
    FILES = {  # noqa: RUF012
        "RECORDS": b"SC4001E0-PSG.edf",
        "sleep-cassette/SC4001EC-Hypnogram.edf": b"stages",
        "sleep-cassette/SC4001E0-PSG.edf": b"samples",
        "sleep-telemetry/ST7011J0-PSG.edf": b"other",
    }

    def test_gives_the_files_of_a_folder_sorted_with_the_listed_sha256(self, server: Server) -> None:
        physionet(server, "sleep-edfx/1.0.0", self.FILES)
        base = f"{server.url}/sleep-edfx/1.0.0/sleep-cassette"
        psg, scoring = "SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf"
        # Oracle: sha256sum of these contents.
        assert PhysioNet("sleep-edfx/1.0.0", "sleep-cassette").files() == [
            RemoteFile(psg, f"{base}/{psg}", None, hashlib.sha256(b"samples").hexdigest()),
            RemoteFile(scoring, f"{base}/{scoring}", None, hashlib.sha256(b"stages").hexdigest()),
        ]

    def test_names_are_searched_in_the_last_part_of_a_path(self, server: Server) -> None:
        physionet(server, "p/1", self.FILES)
        assert [file.path for file in PhysioNet("p/1", names="^S.4.*PSG").files()] == [
            "sleep-cassette/SC4001E0-PSG.edf"
        ]

    def test_a_blank_in_a_name_is_quoted_in_the_address_only(self, server: Server) -> None:
        physionet(server, "p/1", {"night 1.edf": b"x"})
        (file,) = PhysioNet("p/1").files()
        assert (file.path, file.url) == ("night 1.edf", f"{server.url}/p/1/night%201.edf")

    @pytest.mark.parametrize("line", ["{sha}  night.edf", "{sha} *night.edf", "{sha} ./night.edf"])
    def test_reads_the_lines_that_sha256sum_writes(self, server: Server, line: str) -> None:
        server.files["/p/1/SHA256SUMS.txt"] = line.format(sha="0" * 64).encode()
        assert PhysioNet("p/1").files() == [RemoteFile("night.edf", f"{server.url}/p/1/night.edf", None, "0" * 64)]

    def test_an_answer_that_is_no_list_is_an_error_that_quotes_it(self, server: Server) -> None:
        server.files["/p/1/SHA256SUMS.txt"] = b"<html>down for maintenance</html>"
        with pytest.raises(HypnographError, match=r"no list of SHA-256.*down for maintenance"):
            PhysioNet("p/1").files()

    def test_a_list_without_a_wanted_file_says_so(self, server: Server) -> None:
        physionet(server, "p/1", self.FILES)
        with pytest.raises(HypnographError, match="none of the 4 files"):
            PhysioNet("p/1", names="SN001").files()

    def test_a_missing_project_names_address_and_answer(self, server: Server) -> None:
        with pytest.raises(HypnographError, match=r"/gone/1/SHA256SUMS.txt: the server answered 404"):
            PhysioNet("gone/1").files()

    def test_no_server_is_no_connection(self, server: Server, monkeypatch) -> None:
        monkeypatch.setattr(remote_files, "PHYSIONET", "http://127.0.0.1:9")
        with pytest.raises(HypnographError, match="no connection"):
            PhysioNet("p/1").files()


class TestS3Bucket:
    def test_gives_sizes_and_the_md5_of_files_in_one_part(self, server: Server) -> None:
        server.files = {"/night.edf": b"samples", "/parts.h5": b"more", "/folder/": b""}
        # Oracle: md5sum of the content; an ETag with a dash is no MD5 of the file.
        assert S3Bucket(server.url).files() == [
            RemoteFile("night.edf", f"{server.url}/night.edf", 7, hashlib.md5(b"samples").hexdigest()),
            RemoteFile("parts.h5", f"{server.url}/parts.h5", 4, ""),
        ]

    def test_reads_all_pages_of_the_listing(self, server: Server) -> None:
        server.files = {f"/{i:02}.edf": b"x" for i in range(7)}
        server.page_size = 3
        assert [file.path for file in S3Bucket(server.url).files()] == [f"{i:02}.edf" for i in range(7)]
        assert len(server.requests) == 3

    def test_a_folder_is_asked_for_and_taken_off_the_paths(self, server: Server) -> None:
        server.files = {"/ds1/sub-1/x.edf": b"x", "/ds10/sub-1/x.edf": b"y"}
        (file,) = S3Bucket(server.url, folder="ds1").files()
        assert (file.path, file.url) == ("sub-1/x.edf", f"{server.url}/ds1/sub-1/x.edf")
        assert "prefix=ds1%2F" in server.requests[0][1]

    @pytest.mark.parametrize("answer", [b"not xml", b"<a><Contents><Key>k</Key></Contents></a>"])
    def test_an_answer_that_is_no_listing_is_an_error(self, server: Server, monkeypatch, answer: bytes) -> None:
        monkeypatch.setattr(server, "listing", lambda path: answer)
        with pytest.raises(HypnographError, match="no listing of a bucket"):
            S3Bucket(server.url).files()


class TestErdaShare:
    def test_reads_the_list_of_its_authors(self, server: Server, monkeypatch) -> None:
        monkeypatch.setattr(remote_files, "CHECKSUMS", {"list.txt": f"{server.url}/authors/sums.txt"})
        server.files["/authors/sums.txt"] = f"{'a' * 64} tp1/psg.h5\n{'b' * 64} tp1/hypnogram.ids\n".encode()
        assert ErdaShare("code", "list.txt").files() == [
            RemoteFile("tp1/hypnogram.ids", f"{server.url}/code/tp1/hypnogram.ids", None, "b" * 64),
            RemoteFile("tp1/psg.h5", f"{server.url}/code/tp1/psg.h5", None, "a" * 64),
        ]
        assert server.asked("GET") == ["/authors/sums.txt"]

    def test_a_list_that_nobody_has_names_those_there_are(self) -> None:
        with pytest.raises(HypnographError, match=r"no list 'x'.*dcsm_sha256\.txt"):
            ErdaShare("code", "x").files()

    def test_lists_are_read_at_a_fixed_commit(self) -> None:
        assert all(re.search(r"/[0-9a-f]{40}/", address) for address in remote_files.CHECKSUMS.values())

    def test_every_dataset_on_a_share_has_its_list(self) -> None:
        shares = [about.remote for about in datasets().values() if isinstance(about.remote, ErdaShare)]
        assert {share.checksums for share in shares} == set(remote_files.CHECKSUMS)


class TestSize:
    def test_an_unknown_size_is_asked_for_without_fetching_the_file(self, server: Server) -> None:
        server.files["/night.edf"] = b"samples"
        assert remote_size(RemoteFile("night.edf", f"{server.url}/night.edf", None, "")) == 7
        assert server.requests == [("HEAD", "/night.edf", "")]

    def test_a_known_size_is_not_asked_for(self, server: Server) -> None:
        assert remote_size(RemoteFile("night.edf", f"{server.url}/night.edf", 5, "")) == 5
        assert server.requests == []

    def test_a_server_that_does_not_say_is_an_error(self, server: Server) -> None:
        server.files["/night.edf"], server.without_length = b"samples", True
        with pytest.raises(HypnographError, match="does not say how long"):
            remote_size(RemoteFile("night.edf", f"{server.url}/night.edf", None, ""))
