"""Download of one file whose size and SHA-256 are known: resumed where it broke off, never believed unchecked."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hypnograph.errors import UnreadableFileError

Progress = Callable[[int, int], None]
"""Is told how many bytes are there, of how many."""

TIMEOUT_S = 30.0
PAUSES_S = (0.0, 0.5, 2.0)
"""Before each attempt; what an attempt brought is kept for the next."""
_BLOCK = 1 << 16


def check_file(file: Path, name: str, size: int, sha256: str) -> None:
    """Compare a file with what was published.

    Parameters
    ----------
    file
        What is here.
    name
        What it should be, in words.
    size, sha256
        Of the published file, in bytes and as hexadecimal digits.

    Raises
    ------
    UnreadableFileError
        If size or SHA-256 differ.
    """
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if (length := file.stat().st_size) != size or found != sha256:
        raise UnreadableFileError(
            f"{file} is not the file of {name}: it has {length:,} bytes and SHA-256 {found}, published were "
            f"{size:,} bytes and SHA-256 {sha256}"
        )


def download(url: str, partial: Path, size: int, *, progress: Progress | None = None) -> str:
    """Receive what is still missing of a file, in several attempts if the connection drops.

    Nothing is sent but a GET of the address, from the byte where the file ends.

    Parameters
    ----------
    url
        Where it is.
    partial
        Where it is written, and goes on if a part of it is there.
    size
        Its length in bytes.
    progress
        Is told how many bytes are there, of how many.

    Returns
    -------
    str
        What went wrong, in words; empty if as many bytes are there as there should be.
    """
    problem = ""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        if _length(partial) >= size:
            return ""
        try:
            _receive(url, partial, size, progress)
            problem = "the connection was dropped"
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"the server answered {error.code} {error.reason}"
            if error.code < 500:
                break
        except urllib.error.URLError as error:
            problem = f"no connection ({error.reason})"
            break
        except (OSError, http.client.HTTPException) as error:
            problem = f"the connection was dropped ({error})"
    return problem if _length(partial) < size else ""


def _receive(url: str, partial: Path, size: int, progress: Progress | None) -> None:
    from importlib.metadata import version

    done = _length(partial)
    wanted = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers={"User-Agent": f"hypnograph/{version('hypnograph')}"} | wanted)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else it begins anew
        done = done if goes_on else 0
        with partial.open("ab" if goes_on else "wb") as file:
            while done <= size and (block := response.read(_BLOCK)):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, size)


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
