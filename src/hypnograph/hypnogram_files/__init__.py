"""Files of scorings: the folder is the registry.

Each module of this folder is one format and has

- ``NAME``: what the format is called;
- ``SUFFIXES``: lower-case file endings, the usual one first; without its dot it is the format's short name;
- ``recognises(path, head)``: whether a file with these first 4,096 bytes is of this format, and of no other;
- ``read(path, stage_map, recording_start) -> Hypnogram``: `stage_map` are the user's additions to the vocabulary;
  `recording_start` places clock times that have no date;
- optionally ``write(path, hypnogram, hypnodensity)``: `hypnodensity` may be None; its docstring says what is lost;
- optionally ``lacks_epoch_s(path) -> bool``: whether a file does not say how long an epoch is, and 30 s are assumed;
- optionally ``read_hypnodensity(path) -> Hypnodensity | None``.

Onsets are exact to the microsecond. Time between scored epochs is UNSCORED; a hypnogram whose file gives onsets
relative to the recording begins at 0, with UNSCORED up to the first scored epoch. Where all epochs lie off that grid by
the same time, and the start is known, the hypnogram begins that much later.

Below the registry stands what formats share: text of any encoding, XML that cannot explode, numbers.
"""

import codecs
import math
import pkgutil
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.stages import Stage
from hypnograph.whole_file import check_output, whole_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# What a scoring can be at most; objects made of a file take some twenty times its size.
MAX_BYTES = 32 * 2**20
MAX_XML_BYTES = 16 * 2**20
MAX_LINES = 1_000_000


class HypnogramFormat(Protocol):
    """What a module of this folder provides (`write`, `read_hypnodensity` and `lacks_epoch_s` are optional)."""

    NAME: str
    SUFFIXES: tuple[str, ...]

    def recognises(self, path: Path, head: bytes) -> bool: ...
    def read(
        self, path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None
    ) -> Hypnogram: ...
    def write(self, path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None: ...
    def read_hypnodensity(self, path: Path) -> Hypnodensity | None: ...
    def lacks_epoch_s(self, path: Path) -> bool: ...


@cache
def hypnogram_formats() -> dict[str, HypnogramFormat]:
    """Return the formats by module name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return {name: cast(HypnogramFormat, import_module(f"{__name__}.{name}")) for name in names}


def hypnogram_suffixes() -> tuple[str, ...]:
    """Return the file endings under which scorings are looked for in a folder."""
    return tuple(sorted({suffix for module in hypnogram_formats().values() for suffix in module.SUFFIXES}))


def writable_formats() -> dict[str, str]:
    """Return the short names of the formats that can be written, as given to ``--to``, and their file endings."""
    suffixes = [m.SUFFIXES[0] for m in hypnogram_formats().values() if hasattr(m, "write")]
    return {suffix.removeprefix("."): suffix for suffix in sorted(suffixes)}


def read_hypnogram(
    path: str | Path,
    *,
    format: str | None = None,
    stage_map: Mapping[str, Stage] | None = None,
    recording_start: datetime | None = None,
) -> Hypnogram:
    """Read a scoring of any known format.

    Parameters
    ----------
    path
        The file.
    format
        Its format: a module of this folder (``"cap_text"``) or a short name (``"tsv"``); None: as the file's content
        says.
    stage_map
        Additions to the vocabulary of stage names, tried first.
    recording_start
        When the recording began: places clock times without a date, and is the start of a hypnogram whose file gives
        onsets only.

    Raises
    ------
    UnreadableFileError
        If the file is damaged, holds no scoring, or its format is not known.
    UnknownStageError
        If it has a stage name that is not in the vocabulary or in `stage_map`.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    module = _format_of(path, format)
    try:
        return module.read(path, stage_map, recording_start)
    except HypnographError as error:
        raise type(error)(f"{path.name}: {error}") from error


def read_hypnodensity(path: str | Path, *, format: str | None = None) -> Hypnodensity | None:
    """Read the probabilities beside a scoring (csv, json); None where the file has none.

    Raises
    ------
    UnreadableFileError
        If the file is damaged or its format is not known.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    module = _format_of(path, format)
    if not hasattr(module, "read_hypnodensity"):
        return None
    try:
        return module.read_hypnodensity(path)
    except HypnographError as error:
        raise type(error)(f"{path.name}: {error}") from error


def says_epoch_s(path: str | Path) -> bool:
    """Whether the file of a scoring says, or its format fixes, how long an epoch is; if not, 30 s are assumed.

    Raises
    ------
    UnreadableFileError
        If its format is not known.
    """
    module = _format_of(Path(path), None)
    return not (hasattr(module, "lacks_epoch_s") and module.lacks_epoch_s(Path(path)))


def write_hypnogram(
    hypnogram: Hypnogram,
    path: str | Path,
    *,
    format: str | None = None,
    hypnodensity: Hypnodensity | None = None,
    overwrite: bool = False,
) -> None:
    """Write a scoring; the file appears whole or not at all.

    Parameters
    ----------
    hypnogram
        What to write.
    path
        Where to.
    format
        A short name of `writable_formats` (``"ids"``) or a module of this folder; None: as the ending of `path` says.
    hypnodensity
        Its probabilities, on the same grid, for the formats that hold them (csv, json).
    overwrite
        Whether to replace a file that exists: it may be a recording, or somebody's scoring.

    Raises
    ------
    HypnographError
        If the format is not known or cannot hold this hypnogram, or the file exists.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    if not hypnogram.n_epochs:
        raise HypnographError(f"{path.name}: the hypnogram has no epochs; there is nothing to write")
    if hypnodensity is not None and (hypnodensity.n_epochs, hypnodensity.epoch_s) != (
        hypnogram.n_epochs,
        hypnogram.epoch_s,
    ):
        raise HypnographError(
            f"{path.name}: the hypnodensity ({hypnodensity!r}) is on another grid than the hypnogram ({hypnogram!r})"
        )
    wanted = (path.suffix.lower() if format is None else format).removeprefix(".")
    for name, module in hypnogram_formats().items():
        if hasattr(module, "write") and wanted in (name, module.SUFFIXES[0].removeprefix(".")):
            with whole_file(path) as temporary:
                module.write(temporary, hypnogram, hypnodensity)
            return
    raise HypnographError(
        f"{path.name}: {wanted or 'no ending'!r} is not a format that can be written; choose one of "
        f"{', '.join(writable_formats())}"
    )


def _format_of(path: Path, format: str | None) -> HypnogramFormat:
    formats = hypnogram_formats()
    with path.open("rb") as file:
        head = file.read(4096)
    if format is None:
        for module in formats.values():
            if module.recognises(path, head):
                return module
        known = "; ".join(f"{m.NAME} ({', '.join(m.SUFFIXES)})" for m in formats.values())
        raise UnreadableFileError(f"{path.name}: not a scoring in a known format. Known are {known}")
    short = {name: module for name, module in formats.items() if f".{format}" == module.SUFFIXES[0]}
    candidates = [formats[format]] if format in formats else list(short.values())
    if len(candidates) != 1:
        known = ", ".join(short or formats)
        raise HypnographError(f"{format!r} is not one format of scorings; choose one of {known}")
    return candidates[0]


# ── text of any encoding, XML that cannot explode ──


def decode(data: bytes) -> str:
    """Return text of UTF-8, UTF-16 or, where it is neither, Latin-1; a character cut at the end is dropped."""
    sample = data[:256]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif sample and sample[::2].count(0) + sample[1::2].count(0) > len(sample) * 0.4:
        encodings = ["utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"]
    else:
        encodings = ["utf-8-sig"]
    for encoding in [*encodings, "latin-1"]:
        try:
            return codecs.getincrementaldecoder(encoding)().decode(data)
        except UnicodeDecodeError:
            continue
    return ""


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a file that is not larger than a scoring can be.

    Raises
    ------
    UnreadableFileError
        If it is larger than `limit` bytes.
    """
    size = path.stat().st_size
    if size > limit:
        raise UnreadableFileError(f"{size / 2**20:.0f} MiB are too many for a scoring; the limit is {limit >> 20} MiB")
    return path.read_bytes()


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text that are not empty.

    Raises
    ------
    UnreadableFileError
        If there are none, or more than a million.
    """
    text = decode(read_bytes(path))
    if max(text.count("\n"), text.count("\r")) > MAX_LINES:
        raise UnreadableFileError(f"more than {MAX_LINES} lines are too many for a scoring")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UnreadableFileError("the file is empty")
    return lines


def parse_xml(path: Path) -> "Element":
    """Return the root of an XML file; one that declares a document type or an entity is refused.

    Raises
    ------
    UnreadableFileError
        If the file is not well-formed, or could expand or reach out.
    """
    from xml.etree import ElementTree

    text = decode(read_bytes(path, MAX_XML_BYTES))
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableFileError(
            "an XML file with a document type or entities is not read: they can expand without end"
        )
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableFileError(f"not well-formed XML: {error}") from error


def number(text: str | None, what: str) -> float:
    """Return a number of a file.

    Raises
    ------
    UnreadableFileError
        If it is none, or not finite; `what` says in the message what it should be.
    """
    try:
        value = float((text or "").strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UnreadableFileError(f"{what} is {(text or '').strip()[:40]!r}, not a number")
    return value


def number_text(value: float) -> str:
    """Return the shortest decimal text that reads back as the same number, without an exponent."""
    return str(np.format_float_positional(value, trim="-"))


def onset_texts(hypnogram: Hypnogram) -> list[str]:
    """Return the onset of each epoch in seconds."""
    return [number_text(i * hypnogram.epoch_s) for i in range(hypnogram.n_epochs)]
