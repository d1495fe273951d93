"""Download of public datasets into a folder: resumed where it broke off, every file checked, none half-named."""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hypnograph.datasets import Dataset, Problem, dataset, nights
from hypnograph.download import Progress, download
from hypnograph.errors import HypnographError
from hypnograph.remote_files import RemoteFile, RemoteFolder, remote_size

ROOM = 100_000_000
"""Bytes that are left free on the disk."""
_ATTEMPTS = 2
"""A file that arrives with a wrong checksum is fetched once more."""


class Fetched(NamedTuple):
    """The files that are there, whole and checked, and what could not be had."""

    paths: tuple[Path, ...]
    problems: tuple[Problem, ...]


class _StoppedError(Exception):
    """Ends a thread whose download nobody waits for any more."""


# What there is -------------------------------------------------------------------------------------------------------


def public_files(name: str, *, first: int | None = None) -> list[RemoteFile]:
    """Return the files of a public dataset as its server lists them.

    Parameters
    ----------
    name
        Of the dataset.
    first
        Only the files of so many recordings that have a scoring, the first ones by the dataset's own order; None: all.

    Raises
    ------
    HypnographError
        If there is no such dataset, it is not public, or its server cannot be reached.
    """
    if first is not None and first < 1:
        raise HypnographError(f"the first {first} recordings are none; ask for 1 or more")
    files = _remote(name, dataset(name)).files()
    for file in files:
        _check_path(file)
    return files if first is None else _of_first_nights(name, files, first)


def _remote(name: str, about: Dataset) -> RemoteFolder:
    if about.remote is None:
        at = f" ({about.licence}); get it at {about.source}" if about.source else ""
        raise HypnographError(
            f"{name} cannot be fetched without an account or by a program{at}, put its files into a folder "
            f"({about.layout}) and run `hypnograph check-data {name} FOLDER`"
        )
    return about.remote


def _check_path(file: RemoteFile) -> None:
    """Refuse a file that would not lie in the folder: a server must not choose where we write."""
    parts = file.path.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in file.path or ":" in file.path:
        raise HypnographError(f"{file.url}: the server lists a file at {file.path!r}, outside the dataset's folder")


def _of_first_nights(name: str, files: Sequence[RemoteFile], first: int) -> list[RemoteFile]:
    """Let the dataset pair the names, as on disk.

    A night takes along what is named as its files are (.hea, .mat), and what lies above folders of nights.
    """
    with tempfile.TemporaryDirectory(prefix="hypnograph-") as temporary:
        folder = Path(temporary)
        for file in files:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).touch()
        chosen = list(islice(nights(name, folder), first))
        paths = [path for night in chosen for path in (night.psg, *(scoring.path for scoring in night.scorings))]
        stems = {path.relative_to(folder).with_suffix("").as_posix() for path in paths}
    if not chosen:
        raise HypnographError(f"none of the {len(files)} files that the server lists is a night of {name}")
    in_folders = all("/" in stem for stem in stems)
    return [
        file
        for file in files
        if PurePosixPath(file.path).with_suffix("").as_posix() in stems or (in_folders and "/" not in file.path)
    ]


# Fetching ------------------------------------------------------------------------------------------------------------


def fetch_dataset(
    name: str, folder: str | Path, *, first: int | None = None, progress: Progress | None = None, jobs: int = 1
) -> Fetched:
    """Download a public dataset; what is in the folder already and has its checksum is not fetched again.

    A file gets its name when it is whole and checked; until then it ends in ``.partial``, from which the next call goes
    on. A file whose checksum is wrong is replaced. Nothing is sent but GET and HEAD.

    Parameters
    ----------
    name
        Of the dataset.
    folder
        Where its files go; made if it is not there.
    first
        See `public_files`.
    progress
        Is told how many bytes are there, of how many that were missing; never from two threads at once.
    jobs
        Files at a time.

    Returns
    -------
    Fetched
        A file that cannot be had does not stop the others.

    Raises
    ------
    HypnographError
        If there is no such dataset, it is not public, its server cannot be reached, or the disk has too little room.
    """
    files, folder = public_files(name, first=first), Path(folder)
    with _threads(jobs) as (pool, stopped):
        here = pool.map(lambda file: not _difference(folder / file.path, file), files)
        missing = [file for file, is_here in zip(files, here, strict=True) if not is_here]
        sized = list(pool.map(lambda file: _with_size(file, folder), missing))
        wanted = [file for file in sized if isinstance(file, RemoteFile)]
        _check_room(wanted, folder)
        count = _Count(sum(map(remote_size, wanted)), progress, stopped)
        results = list(pool.map(lambda file: _fetch(file, folder, count.of(file)), wanted))
    problems = tuple(result for result in [*sized, *results] if isinstance(result, Problem))
    missed = {problem.path for problem in problems}
    paths = (folder / file.path for file in files)
    return Fetched(tuple(path for path in paths if path not in missed), problems)


@contextmanager
def _threads(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """Yield threads, and what tells them to stop: set when the block ends, by Ctrl-C, too."""
    if jobs < 1:
        raise HypnographError(f"jobs is {jobs}; at least 1 file is fetched at a time")
    stopped = threading.Event()
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool, stopped
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _with_size(file: RemoteFile, folder: Path) -> RemoteFile | Problem:
    try:
        return file._replace(size=remote_size(file))
    except HypnographError as error:
        return Problem(folder / file.path, str(error))


def _check_room(files: Sequence[RemoteFile], folder: Path) -> None:
    partials = (_partial(folder / file.path) for file in files)
    needed = sum(map(remote_size, files)) - sum(partial.stat().st_size for partial in partials if partial.exists())
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free - ROOM
    if needed > max(free, 0):
        raise HypnographError(
            f"{needed / 1e9:.1f} GB are to be fetched, and {max(free, 0) / 1e9:.1f} GB are free at {there}; choose "
            "another folder, or fewer recordings (--first N)"
        )


class _Count:
    """How many bytes of all files are there, told to one progress by several threads."""

    def __init__(self, total: int, progress: Progress | None, stopped: threading.Event) -> None:
        self._total, self._progress, self._stopped = total, progress, stopped
        self._done, self._lock = 0, threading.Lock()

    def of(self, file: RemoteFile) -> Progress:
        before = 0

        def show(done: int, _size: int) -> None:
            nonlocal before
            if self._stopped.is_set():
                raise _StoppedError(file.path)
            with self._lock:
                self._done, before = self._done + done - before, done
                if self._progress is not None:
                    self._progress(self._done, self._total)

        return show


def _fetch(file: RemoteFile, folder: Path, progress: Progress) -> Problem | None:
    """Fetch one file; it is renamed when it is whole and checked."""
    target, problem = folder / file.path, ""
    partial = _partial(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            partial.touch()  # an empty file needs no download
            if problem := download(file.url, partial, remote_size(file), progress=progress):
                break
            if not (problem := _difference(partial, file)):
                os.replace(partial, target)
                return None
            partial.unlink()
    except OSError as error:
        problem = str(error)
    return Problem(target, f"{problem} ({file.url})")


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def _difference(path: Path, file: RemoteFile) -> str:
    """Say how a file differs from what its server lists; empty: it does not."""
    if not path.is_file():
        return "it is missing"
    length = path.stat().st_size
    if file.size is not None and length != file.size:
        return f"it has {length:,} bytes, and its server lists {file.size:,}"
    if (found := _digest(path, file.checksum)) != file.checksum:
        return f"its checksum is {found}, and its server lists {file.checksum}"
    return ""


def _digest(path: Path, checksum: str) -> str:
    """Return the SHA-256 or MD5 of a file, whichever `checksum` is; empty where there is none to compare with."""
    if not checksum:
        return ""
    with path.open("rb") as content:
        name = "sha256" if len(checksum) == 64 else "md5"
        return hashlib.file_digest(content, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
