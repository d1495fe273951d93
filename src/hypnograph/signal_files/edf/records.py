"""Data records of an EDF file: their bytes, their times, and the texts in their annotation signals."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import UnreadableFileError
from hypnograph.recording import Annotation
from hypnograph.signal_files.edf.header import Field, Header, decode

BLOCK_BYTES = 4 << 20
# A time stamp that a flipped bit puts years away must not make a gap that fills the memory.
LONGEST_GAPS_S = 48 * 3600.0
# Time stamps of records are decimal texts; a record within a millisecond of its due time follows the one before.
_TOLERANCE_S = 1e-3
# A time-stamped annotation list (TAL): onset, duration, texts. The list that only keeps a record's time is passed over.
# Repeats are bounded so that no damaged file makes the search slow.
_TAL = re.compile(
    rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15(\d{1,12}(?:\.\d{0,12})?))?\x14(?!\x14\x00)((?:[^\x14\x00]*\x14){1,256})\x00"
)
_RECORD_TIME = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)\x14\x14")


class Stretch(NamedTuple):
    """Records that follow each other without a gap."""

    first_record: int
    past_last_record: int
    onset_s: float


def map_records(path: Path, header: Header, first: int, past_last: int) -> NDArray[np.uint8]:
    """Map records of the file, shape (n_records, record_bytes); pages are read as they are touched."""
    try:
        return np.memmap(
            path, np.uint8, "r", header.n_bytes + first * header.record_bytes, (past_last - first, header.record_bytes)
        )
    except ValueError as error:
        raise UnreadableFileError(f"{path.name}: has become shorter while it was read") from error


def annotation_bytes(path: Path, header: Header, field: Field) -> bytes:
    """Return what an annotation signal holds in all records, each with a zero byte added.

    The zero keeps a damaged text from running on into the next record.
    """
    width = field.n_samples * header.sample_bytes
    padded = np.zeros((header.n_records, width + 1), np.uint8)
    step = max(1, BLOCK_BYTES // header.record_bytes)
    for first in range(0, header.n_records, step):
        records = map_records(path, header, first, min(first + step, header.n_records))
        padded[first : first + step, :width] = records[:, field.first_byte : field.first_byte + width]
    return padded.tobytes()


def record_onsets(header: Header, lists: Sequence[bytes]) -> NDArray[np.float64]:
    """Return when each record begins by its own time stamp, NaN where it has none.

    The first annotation signal keeps the time. Unless the file says that it has gaps, only the first record is asked.
    """
    onsets = np.full(header.n_records, np.nan)
    if lists:
        width = len(lists[0]) // header.n_records
        for record in range(header.n_records if header.variant.endswith("+D") else 1):
            match = _RECORD_TIME.match(lists[0], record * width)
            if match:
                onsets[record] = float(match[1])
    return onsets


def start_offset(onsets: NDArray[np.float64], warnings: list[str]) -> float:
    """Return how long after the header's start the first record begins: the fraction of a second that EDF+ adds."""
    first_s = float(onsets[0])
    if abs(first_s) > LONGEST_GAPS_S:
        warnings.append(f"the first record's time stamp, {first_s:g} s after the header's start, is not believed")
        return 0.0
    return 0.0 if math.isnan(first_s) else first_s


def join_records(onsets: NDArray[np.float64], record_s: float, warnings: list[str]) -> list[Stretch]:
    """Join records that follow each other; one that has no time, or begins before its predecessor's end, follows it."""
    stretches: list[Stretch] = []
    first, begin_s, n_odd = 0, 0.0, 0
    for record, onset_s in enumerate(onsets.tolist()):
        due_s = begin_s + (record - first) * record_s
        if not onset_s >= due_s - _TOLERANCE_S:
            n_odd += 1
        elif onset_s > due_s + _TOLERANCE_S:
            if record > first:
                stretches.append(Stretch(first, record, begin_s))
            first, begin_s = record, onset_s
    stretches.append(Stretch(first, len(onsets), begin_s))
    if n_odd:
        warnings.append(
            f"{n_odd} of {len(onsets)} records have no time stamp, or one before the end of the record before; "
            "they are taken to follow it"
        )
    return stretches


def gaps_between(path: Path, stretches: Sequence[Stretch], record_s: float) -> tuple[tuple[float, float], ...]:
    """Return (start_s, stop_s) of what was not recorded; refuse more of it than a night can have."""
    ends = [s.onset_s + (s.past_last_record - s.first_record) * record_s for s in stretches]
    gaps = tuple((end, after.onset_s) for end, after in zip(ends[:-1], stretches[1:], strict=True))
    total_s = sum(stop - start for start, stop in gaps)
    if total_s > LONGEST_GAPS_S:
        raise UnreadableFileError(
            f"{path.name}: the time stamps of its records leave {total_s / 3600:.1f} h of gaps; the limit is "
            f"{LONGEST_GAPS_S / 3600:.0f} h. Cut the file into its recordings first"
        )
    return gaps


def annotations_in(lists: Sequence[bytes], first_s: float) -> tuple[Annotation, ...]:
    """Return the texts of all annotation signals in order of time, counted from the first record."""
    annotations = [
        Annotation(float(match[1]) - first_s, float(match[2] or 0), decode(text))
        for joined in lists
        for match in _TAL.finditer(joined)
        for text in match[3].split(b"\x14")
        if text
    ]
    return tuple(sorted(annotations, key=lambda annotation: annotation.onset_s))
