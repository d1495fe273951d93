"""Files of signals: the folder is the registry.

Each module of this folder (a package, where a file would be too long) is one format and has

- ``NAME``: what the format is called;
- ``SUFFIXES``: lower-case file endings, e.g. ``(".edf", ".rec")``;
- ``recognises(path, head)``: whether a file with these first 1,024 bytes is of this format;
- ``read(path) -> Recording``: the header now, samples when asked for;
- optionally ``write(recording, path)``.

A module imports its reading library inside its functions: finding the reader of an EDF file must not import MNE.
"""

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from hypnograph.errors import UnreadableFileError
from hypnograph.recording import Recording

# The order in which formats are asked: precise ones first, MNE (which reads whatever is left) last.
_LAST = "mne"


class SignalFormat(Protocol):
    """What a module of this folder provides."""

    NAME: str
    SUFFIXES: tuple[str, ...]

    def recognises(self, path: Path, head: bytes) -> bool: ...
    def read(self, path: Path) -> Recording: ...


@cache
def signal_formats() -> dict[str, SignalFormat]:
    """Return the formats by module name."""
    names = sorted((m.name for m in pkgutil.iter_modules(__path__)), key=lambda name: (name == _LAST, name))
    return {name: cast(SignalFormat, import_module(f"{__name__}.{name}")) for name in names}


def read_recording(path: str | Path) -> Recording:
    """Read a recording of any known format; samples are read when they are asked for.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or its format is not known.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(1024)
    for module in signal_formats().values():
        if module.recognises(path, head):
            return module.read(path)
    known = "; ".join(f"{m.NAME} ({', '.join(m.SUFFIXES)})" for m in signal_formats().values())
    raise UnreadableFileError(f"{path.name}: not a recording in a known format. Known are {known}")


def recording_suffixes() -> tuple[str, ...]:
    """Return the file endings under which recordings are looked for in a folder."""
    return tuple(sorted({suffix for module in signal_formats().values() for suffix in module.SUFFIXES}))
