"""Files of scorings: the folder is the registry.

Each module of this folder is one format and has

- ``NAME``: what the format is called;
- ``SUFFIXES``: lower-case file endings;
- ``recognises(path, head)``: whether a file with these first 4,096 bytes is of this format;
- ``read(path, stage_map, recording_start) -> Hypnogram``: `stage_map` are the user's additions to the vocabulary;
  `recording_start` places clock times that have no date;
- optionally ``write(path, hypnogram, hypnodensity)``: `hypnodensity` may be None.

Onsets are exact to the microsecond. Time between scored epochs is UNSCORED; a hypnogram whose file gives onsets relative
to the recording begins at 0, with UNSCORED up to the first scored epoch.
"""

import pkgutil
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.stages import Stage


class HypnogramFormat(Protocol):
    """What a module of this folder provides (`write` is optional)."""

    NAME: str
    SUFFIXES: tuple[str, ...]

    def recognises(self, path: Path, head: bytes) -> bool: ...
    def read(
        self, path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None
    ) -> Hypnogram: ...
    def write(self, path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None: ...


@cache
def hypnogram_formats() -> dict[str, HypnogramFormat]:
    """Return the formats by module name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return {name: cast(HypnogramFormat, import_module(f"{__name__}.{name}")) for name in names}


def read_hypnogram(
    path: str | Path,
    *,
    format: str | None = None,
    stage_map: Mapping[str, Stage] | None = None,
    recording_start: datetime | None = None,
) -> Hypnogram:
    """Read a scoring of any known format.

    Raises
    ------
    UnreadableFileError
        If the file is damaged, holds no scoring, or its format is not known.
    UnknownStageError
        If it has a stage name that is not in the vocabulary or in `stage_map`.
    FileNotFoundError
        If there is no such file.
    """
    raise NotImplementedError
