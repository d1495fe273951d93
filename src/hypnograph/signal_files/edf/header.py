"""The header of an EDF or BDF file, believed only as far as the file bears it out."""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypnograph.errors import UnreadableFileError

BDF_MAGIC = b"\xffBIOSEMI"
ANNOTATION_LABELS = ("EDF Annotations", "BDF Annotations")
_LONGEST_S = 366 * 24 * 3600.0
_HIGHEST_RATE = 1e6
_THREE_NUMBERS = re.compile(rb"\s?(\d{1,2})\D\s?(\d{1,2})\D\s?(\d{1,2})\s*")


class Field(NamedTuple):
    """One signal as the header describes it."""

    label: str
    unit: str
    physical_min: float
    physical_max: float
    digital_min: float
    digital_max: float
    n_samples: int
    """Samples in each record."""
    first_byte: int
    """Where they begin in a record."""


class Header(NamedTuple):
    """What the header says, as far as the file bears it out."""

    n_bytes: int
    sample_bytes: int
    start: datetime | None
    variant: str
    n_records: int
    record_s: float
    record_bytes: int
    fields: tuple[Field, ...]


def decode(text: bytes) -> str:
    """Return the text of a field or an annotation."""
    try:
        return text.decode()
    except UnicodeDecodeError:  # the standard is ASCII, in annotations UTF-8; devices write Latin-1
        return text.decode("latin-1")


def _text(field: bytes) -> str:
    return "".join(character for character in decode(field.strip(b" \0")) if character.isprintable())


def _number(field: bytes) -> float:
    """Return the number in a header field, NaN where there is none."""
    try:
        value = float(field.replace(b"\0", b" ").replace(b",", b".").strip())
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _count(field: bytes, what: str, path: Path, smallest: int) -> int:
    value = _number(field)
    if not value.is_integer() or value < smallest:
        raise UnreadableFileError(
            f"{path.name}: the header's {what} is {_text(field)!r}; it must be a whole number from {smallest} up"
        )
    return int(value)


def read_header(path: Path, warnings: list[str]) -> Header:
    """Read the header; what is odd in it is added to `warnings`.

    Raises
    ------
    UnreadableFileError
        If it contradicts itself or the file so that no sample can be placed.
    """
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        main = file.read(256)
        if len(main) < 256:
            raise UnreadableFileError(f"{path.name}: {len(main)} bytes are too few; an EDF header has at least 256")
        is_bdf = main[:8] == BDF_MAGIC
        if not is_bdf and main[:8].rstrip(b" \0") != b"0":
            raise UnreadableFileError(
                f"{path.name}: not an EDF or BDF file: those begin with '0' or {BDF_MAGIC!r}, this with {main[:8]!r}"
            )
        n_signals = _count(main[252:256], "number of signals", path, 1)
        if 256 * (n_signals + 1) > file_bytes:
            raise UnreadableFileError(
                f"{path.name}: the header promises {n_signals} signals, which takes {256 * (n_signals + 1)} bytes; "
                f"the file has {file_bytes}"
            )
        columns = file.read(256 * n_signals)
    sample_bytes = 3 if is_bdf else 2
    fields = _read_fields(path, columns, n_signals, sample_bytes, warnings)
    n_bytes = _header_bytes(main[184:192], n_signals, file_bytes, warnings)
    record_bytes = sum(field.n_samples for field in fields) * sample_bytes
    n_records = _n_records(path, main[236:244], file_bytes - n_bytes, record_bytes, warnings)
    record_s = _record_s(path, main[244:252], fields, n_records)
    start = _start(main[168:176], main[176:184])
    if start is None:
        warnings.append("the header's start date or time is not valid; the start of the recording is unknown")
    marked = main[192:197] in (b"EDF+C", b"EDF+D", b"BDF+C", b"BDF+D")
    variant = main[192:197].decode("ascii") if marked else "BDF" if is_bdf else "EDF"
    return Header(n_bytes, sample_bytes, start, variant, n_records, record_s, record_bytes, tuple(fields))


def _read_fields(path: Path, columns: bytes, n_signals: int, sample_bytes: int, warnings: list[str]) -> list[Field]:
    # The header holds a column for each property: all labels, then all transducers, …
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    starts = np.cumsum((0, *widths)) * n_signals

    def cell(column: int, signal: int) -> bytes:
        begin = int(starts[column]) + signal * widths[column]
        return columns[begin : begin + widths[column]]

    fields: list[Field] = []
    first_byte = 0
    for signal in range(n_signals):
        label, unit = _text(cell(0, signal)), _text(cell(2, signal))
        ranges = [_number(cell(column, signal)) for column in (3, 4, 5, 6)]
        n_samples = _count(cell(8, signal), f"number of samples of signal {label!r}", path, 0)
        if n_samples == 0:
            warnings.append(f"signal {label!r} has no samples and is left out")
        fields.append(Field(label, unit, ranges[0], ranges[1], ranges[2], ranges[3], n_samples, first_byte))
        first_byte += n_samples * sample_bytes
    return fields


def _header_bytes(field: bytes, n_signals: int, file_bytes: int, warnings: list[str]) -> int:
    due, said = 256 * (n_signals + 1), _number(field)
    if said == due:
        return due
    n_bytes = int(said) if said.is_integer() and due < said < file_bytes else due
    warnings.append(f"the header gives its length as {_text(field)!r}, {due} bytes are due; taken as {n_bytes}")
    return n_bytes


def _n_records(path: Path, field: bytes, data_bytes: int, record_bytes: int, warnings: list[str]) -> int:
    """Return how many whole records the file holds; what the header says is only compared."""
    if not record_bytes:
        raise UnreadableFileError(f"{path.name}: none of its signals has a sample")
    n_whole, rest = divmod(data_bytes, record_bytes)
    promised = _number(field)
    if n_whole == 0:
        raise UnreadableFileError(
            f"{path.name}: holds no whole data record: {max(0, data_bytes)} bytes follow the header, "
            f"one record takes {record_bytes}"
        )
    if promised != n_whole:
        warnings.append(
            f"the header promises {_text(field) or 'no number of'} records, the file holds {n_whole} whole ones, which "
            "are read (the recording was not closed, or the file is cut short)"
        )
    elif rest:
        warnings.append(f"{rest} bytes after the last record are ignored")
    return n_whole


def _record_s(path: Path, field: bytes, fields: Sequence[Field], n_records: int) -> float:
    record_s = _number(field)
    signals = [f for f in fields if f.n_samples and f.label not in ANNOTATION_LABELS]
    if not signals:  # annotations only: 0 is what the standard asks for, and nothing hangs on it
        return max(0.0, record_s) if math.isfinite(record_s) else 0.0
    fastest = max(f.n_samples for f in signals)
    if not (record_s > 0 and fastest / record_s <= _HIGHEST_RATE and n_records * record_s <= _LONGEST_S):
        raise UnreadableFileError(
            f"{path.name}: the header says that a record lasts {_text(field)!r} s. With {fastest} samples in it and "
            f"{n_records} records, the sample rate must be above 0 and at most {_HIGHEST_RATE:.0f} Hz, and the "
            f"recording at most {_LONGEST_S / 86400:.0f} days"
        )
    return record_s


def _start(date: bytes, time: bytes) -> datetime | None:
    day_month_year, clock = _THREE_NUMBERS.fullmatch(date), _THREE_NUMBERS.fullmatch(time)
    if day_month_year is None or clock is None:
        return None
    day, month, year = (int(number) for number in day_month_year.groups())
    hour, minute, second = (int(number) for number in clock.groups())
    try:
        # EDF's years are 1985 to 2084.
        return datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)
    except ValueError:
        return None
