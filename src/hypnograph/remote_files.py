"""Public datasets on servers: which files there are, how long they are, and what their checksums should be."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from hypnograph.download import TIMEOUT_S
from hypnograph.errors import HypnographError, UnreadableFileError

PHYSIONET = "https://physionet.org/files"
ERDA = "https://sid.erda.dk/share_redirect"
_UTIME = "https://raw.githubusercontent.com/perslev/U-Time/3dc64e5a6a5c837f5590897ea56d0474db532232"
CHECKSUMS = {"dcsm_sha256.txt": f"{_UTIME}/utime/preprocessing/dataset_preparation/dcsm/dcsm_checksums.txt"}
"""Where the authors of a dataset list its files, for servers that do not: at a fixed commit, so it cannot change."""

_SHA256 = re.compile(r"([0-9a-f]{64}) [ *]?(.+)")
_MD5 = re.compile(r"[0-9a-f]{32}")
_COLUMNS = ("Key", "Size", "ETag")


class RemoteFile(NamedTuple):
    """One file on a server: path in the dataset's folder, address, bytes, and SHA-256 (or MD5) in hex.

    The size is None where only the server's answer to HEAD tells it (see `remote_size`), the checksum empty where the
    server gives none.
    """

    path: str
    url: str
    size: int | None
    checksum: str


class RemoteFolder(Protocol):
    """Where the files of a dataset are."""

    def files(self) -> list[RemoteFile]:
        """Ask the server which files there are; they come sorted by path.

        Raises
        ------
        HypnographError
            If the server cannot be reached, or its answer is no list of files.
        """


@dataclass(frozen=True)
class PhysioNet:
    """A project of PhysioNet, e.g. ``PhysioNet("sleep-edfx/1.0.0", folder="sleep-cassette")``.

    Parameters
    ----------
    project
        Name and version.
    folder
        The part of it that is wanted; empty: all.
    names
        A regular expression that is found in the names of wanted files; empty: all.
    """

    project: str
    folder: str = ""
    names: str = ""

    def files(self) -> list[RemoteFile]:
        """Read the project's own ``SHA256SUMS.txt``; paths are within `folder`."""
        address = f"{PHYSIONET}/{self.project}"
        listed = _get(f"{address}/SHA256SUMS.txt").decode("utf-8", "replace")
        prefix = _prefix(self.folder)
        found = [
            RemoteFile(path.removeprefix(prefix), f"{address}/{quote(path)}", None, sha256)
            for sha256, path in _checksums(listed.splitlines(), f"{address}/SHA256SUMS.txt")
            if path.startswith(prefix)
        ]
        return _wanted(found, self.names, address)


@dataclass(frozen=True)
class S3Bucket:
    """A public bucket whose files can be listed without an account.

    Parameters
    ----------
    url
        Its address, e.g. ``"https://NAME.s3.REGION.amazonaws.com"``.
    names
        A regular expression that is found in the names of wanted files; empty: all.
    folder
        The part of it that is wanted; empty: all.
    """

    url: str
    names: str = ""
    folder: str = ""

    def files(self) -> list[RemoteFile]:
        """Read the bucket's listing, page by page. An ETag is the MD5 of a file that was uploaded in one part."""
        address, prefix = self.url.rstrip("/"), _prefix(self.folder)
        found = [
            RemoteFile(key.removeprefix(prefix), f"{address}/{quote(key)}", size, tag if _MD5.fullmatch(tag) else "")
            for key, size, tag in _listing(address, prefix)
            if not key.endswith("/")
        ]
        return _wanted(found, self.names, address)


@dataclass(frozen=True)
class ErdaShare:
    """A public share of the University of Copenhagen (ERDA); its files and their SHA-256 are listed by its authors.

    Parameters
    ----------
    share
        Its code in the address.
    checksums
        Name of the list in `CHECKSUMS`.
    """

    share: str
    checksums: str

    def files(self) -> list[RemoteFile]:
        """Read the authors' list; the share itself cannot be listed."""
        if self.checksums not in CHECKSUMS:
            raise HypnographError(f"no list {self.checksums!r} of a share's files. There are: {', '.join(CHECKSUMS)}")
        listed, address = CHECKSUMS[self.checksums], f"{ERDA}/{self.share}"
        rows = _checksums(_get(listed).decode("utf-8", "replace").splitlines(), listed)
        files = [RemoteFile(path, f"{address}/{quote(path)}", None, sha256) for sha256, path in rows]
        return _wanted(files, "", listed)


def remote_size(file: RemoteFile) -> int:
    """Return the bytes of a file; the server is asked (HEAD) where its list did not say.

    Raises
    ------
    HypnographError
        If the server cannot be reached, or does not say.
    """
    if file.size is not None:
        return file.size
    length = _ask(file.url, "HEAD")[1]
    if not length.isdecimal():
        raise HypnographError(f"{file.url}: the server does not say how long the file is")
    return int(length)


def _prefix(folder: str) -> str:
    return f"{folder.strip('/')}/" if folder else ""


def _checksums(lines: Iterable[str], source: str) -> Iterator[tuple[str, str]]:
    """Yield (SHA-256, path) of a list as ``sha256sum`` writes it."""
    for line in filter(None, map(str.strip, lines)):
        match = _SHA256.fullmatch(line)
        if match is None:
            raise UnreadableFileError(f"{source} is no list of SHA-256 and names: {line[:80]!r}")
        yield match[1], match[2].removeprefix("./")


def _listing(address: str, folder: str) -> Iterator[tuple[str, int, str]]:
    """Yield (key, bytes, ETag) of a bucket; a page holds 1,000 at most and names the next."""
    query = {"list-type": "2", "prefix": folder}
    while True:
        url = f"{address}/?{urlencode(query)}"
        entries, token = _page(_get(url), url)
        yield from entries
        if not token:
            return
        query["continuation-token"] = token


def _page(content: bytes, url: str) -> tuple[list[tuple[str, int, str]], str]:
    """Return the (key, bytes, ETag) of one page, and what asks for the next; empty: it is the last."""
    try:
        page = ElementTree.fromstring(content)
        rows = [[entry.findtext(f"{{*}}{name}", "") for name in _COLUMNS] for entry in page.iterfind("{*}Contents")]
        entries = [(key, int(size), tag.strip('"')) for key, size, tag in rows]
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableFileError(f"{url} is no listing of a bucket: {error}") from error
    return entries, page.findtext("{*}NextContinuationToken", "")


def _wanted(files: list[RemoteFile], names: str, address: str) -> list[RemoteFile]:
    found = sorted(file for file in files if re.search(names, file.path.rpartition("/")[2]))
    if not found:
        raise HypnographError(f"{address}: none of the {len(files)} files there is one of the dataset; it has changed")
    return found


def _get(url: str) -> bytes:
    return _ask(url, "GET")[0]


def _ask(url: str, method: str) -> tuple[bytes, str]:
    """Return (content, length as the server states it)."""
    from importlib.metadata import version

    request = urllib.request.Request(url, headers={"User-Agent": f"hypnograph/{version('hypnograph')}"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.read(), response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        error.close()
        raise HypnographError(f"{url}: the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise HypnographError(f"{url}: no connection ({reason}); try again later") from None
