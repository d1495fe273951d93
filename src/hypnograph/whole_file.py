"""Files that appear whole or not at all: written under a temporary name, then renamed."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypnograph.errors import HypnographError


def check_output(path: str | Path, *, inputs: Iterable[Path | None] = (), overwrite: bool = False) -> None:
    """Refuse to write where something would be lost: never over an input, over another file only if asked to.

    Raises
    ------
    HypnographError
        If `path` is one of the inputs, or exists and `overwrite` is False.
    """
    path = Path(path)
    if not path.exists():
        return
    if any(other is not None and other.exists() and path.samefile(other) for other in inputs):
        raise HypnographError(f"{path} is an input, which is never overwritten; choose another name")
    if not overwrite:
        raise HypnographError(f"{path} exists; --overwrite (or overwrite=True) replaces it")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block ends well, remove it if not.

    The temporary file keeps the suffix of `path`, for writers that look at it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the result gets what open() would have given it.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
