"""WFDB records of PhysioNet: a header (`.hea`) and the signal files that it names, in one or many segments.

Read through the wfdb package. It trusts its headers, so their counts are held against the size of the signal files
here, before it reads; and it cannot join all kinds of segments, so segments are joined here: where one is empty (`~`),
or has no such signal, samples are NaN.
"""

import warnings
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import UnreadableFileError
from hypnograph.recording import Recording, SampleReader, Signal

NAME = "WFDB"
SUFFIXES = (".hea",)

# Bytes that a sample takes, by storage format; of the compressed formats (508, 516, 524) a guess at the least.
_SAMPLE_BYTES = {"8": 1, "80": 1, "16": 2, "61": 2, "160": 2, "24": 3, "32": 4, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
_SAMPLE_BYTES |= {"508": 0.01, "516": 0.01, "524": 0.01}
_LONGEST_GAPS_S = 48 * 3600.0
_BLOCK_FRAMES = 1 << 18


class _Segment(NamedTuple):
    """Consecutive frames in one signal file; a frame holds one or more samples of each signal."""

    first: int
    past_last: int
    record_name: str
    header: Any
    """wfdb.Record; None where nothing was recorded."""


def recognises(path: Path, head: bytes) -> bool:
    """Return whether this is a WFDB header, a signal file with its header beside it, or a WAV file."""
    suffix = path.suffix.lower()
    beside = suffix in (".dat", ".mat") and path.with_suffix(".hea").is_file()
    return suffix == ".hea" or beside or (head[:4], head[8:12]) == (b"RIFF", b"WAVE")


def read(path: Path) -> Recording:
    """Read the headers; samples are read when they are asked for.

    Raises
    ------
    UnreadableFileError
        If a header is damaged, or a signal file is missing or too short.
    """
    if path.suffix.lower() not in (".hea", ".dat", ".mat"):
        raise UnreadableFileError(
            f"{path.name}: a WAV file names neither its signals nor their units, so no EEG can be told in it; "
            "give the WFDB header (.hea) with its .dat, or an EDF"
        )
    try:
        header = _package().rdheader(str(path.with_suffix("").absolute()), rd_segments=True)
    except Exception as error:  # the package has no error of its own for most damages
        raise UnreadableFileError(f"{path.name}: not a WFDB header that can be read: {_one_line(error)}") from error
    odd: list[str] = []
    segments = _segments(path, header, odd)
    layout = _layout(path, header)
    rate = _frame_rate(path, header.fs)
    gaps = tuple((s.first / rate, s.past_last / rate) for s in segments if s.header is None)
    if sum(stop - start for start, stop in gaps) > _LONGEST_GAPS_S:
        raise UnreadableFileError(
            f"{path.name}: more than {_LONGEST_GAPS_S / 3600:.0f} h of the record are empty segments"
        )
    signals = tuple(
        Signal(
            label=str(label),
            sample_rate=rate * per_frame,
            unit=_unit(label, index, segments),
            n_samples=segments[-1].past_last * per_frame,
            read_samples=_sample_reader(path, label, index, per_frame, segments),
        )
        for index, (label, per_frame) in enumerate(zip(layout.sig_name, layout.samps_per_frame, strict=True))
    )
    return Recording(
        signals=signals,
        duration_s=segments[-1].past_last / rate,
        start=_start(header, odd),
        gaps=gaps,
        source="WFDB",
        warnings=tuple(odd),
    )


def _package() -> Any:
    """Import the wfdb package, quietly: importing it makes pandas warn of what pandas 4 will change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb
    return wfdb


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _layout(path: Path, header: Any) -> Any:
    """Return the header that names the signals: of a record with segments, its layout or its first segment."""
    layout = next((s for s in header.segments if s is not None), None) if hasattr(header, "segments") else header
    if layout is None or not layout.sig_name:
        raise UnreadableFileError(f"{path.name}: the header names no signal")
    counts = layout.samps_per_frame
    if len(counts) != len(layout.sig_name) or not all(isinstance(n, int) and 1 <= n <= 100_000 for n in counts):
        raise UnreadableFileError(f"{path.name}: samples per frame are {counts}; each signal needs 1 or more")
    return layout


def _frame_rate(path: Path, rate: Any) -> float:
    if not (isinstance(rate, (int, float)) and 0 < rate <= 1e6):
        raise UnreadableFileError(f"{path.name}: the sample rate is {rate} Hz; it must be above 0 and at most 1 MHz")
    return float(rate)


def _segments(path: Path, header: Any, odd: list[str]) -> list[_Segment]:
    name = str(path.with_suffix("").absolute())
    if not hasattr(header, "segments"):
        n_frames = _n_frames(path, header)
        promised = header.sig_len or n_frames  # none, and 0, say that the length is not known
        if promised > n_frames:
            odd.append(f"the header promises {promised} samples, the signal file holds {n_frames}")
        n_frames = min(promised, n_frames)
        segments = [_Segment(0, n_frames, name, header)]
    else:
        segments, first = [], 0
        for segment_name, n_frames, segment in zip(header.seg_name, header.seg_len, header.segments, strict=True):
            if n_frames == 0:  # the layout of a record whose segments differ
                continue
            if segment is not None and n_frames > (held := _n_frames(path, segment)):
                raise UnreadableFileError(
                    f"{path.name}: segment {segment_name} should have {n_frames} samples; its signal file holds {held}"
                )
            past_last = first + n_frames
            segments.append(_Segment(first, past_last, str(path.absolute().parent / segment_name), segment))
            first = past_last
    if not segments or segments[-1].past_last <= 0 or any(s.past_last <= s.first for s in segments):
        raise UnreadableFileError(f"{path.name}: the record holds no samples")
    return segments


def _n_frames(path: Path, header: Any) -> int:
    """Return how many frames the signal files of a header can hold."""
    held = []
    for file_name in sorted(set(header.file_name or ())):
        own = [i for i, other in enumerate(header.file_name) if other == file_name]
        signal_file = path.parent / file_name
        if not signal_file.is_file():
            raise UnreadableFileError(f"{path.name}: its signal file {file_name} is missing; put it beside the header")
        unknown = [header.fmt[i] for i in own if header.fmt[i] not in _SAMPLE_BYTES]
        if unknown:
            known = ", ".join(_SAMPLE_BYTES)
            raise UnreadableFileError(f"{path.name}: storage format {unknown[0]!r} is not known; known are {known}")
        frame_bytes = sum(header.samps_per_frame[i] * _SAMPLE_BYTES[header.fmt[i]] for i in own)
        data_bytes = signal_file.stat().st_size - (header.byte_offset[own[0]] or 0)
        held.append(int(data_bytes / frame_bytes) if frame_bytes > 0 else 0)
    return max(0, min(held, default=0))


def _start(header: Any, odd: list[str]) -> datetime | None:
    if header.base_time is None:
        return None
    if header.base_date is None:
        odd.append("the header has a time but no date; 1985-01-01 stands for it")
    return datetime.combine(header.base_date or date(1985, 1, 1), header.base_time)


def _place(label: str, index: int, segments: Sequence[_Segment], segment: _Segment) -> int | None:
    """Return which signal of a segment has this label; None where it has none."""
    names = segment.header.sig_name or []
    if index < len(names) and names[index] == label:
        return index
    return names.index(label) if label in names and len(segments) > 1 else None


def _unit(label: str, index: int, segments: Sequence[_Segment]) -> str:
    for segment in segments:
        place = None if segment.header is None else _place(label, index, segments, segment)
        if place is not None:
            return str(segment.header.units[place] or "")
    return ""


def _sample_reader(path: Path, label: str, index: int, per_frame: int, segments: Sequence[_Segment]) -> SampleReader:
    def read_samples(first: int, past_last: int) -> NDArray[np.float32]:
        first_frame, past_last_frame = first // per_frame, -(-past_last // per_frame)
        samples = np.full((past_last_frame - first_frame) * per_frame, np.nan, np.float32)
        for segment in segments:
            place = None if segment.header is None else _place(label, index, segments, segment)
            if place is None:
                continue
            end = min(segment.past_last, past_last_frame)
            for begin in range(max(segment.first, first_frame), end, _BLOCK_FRAMES):
                stop = min(begin + _BLOCK_FRAMES, end)
                block = _read_block(path, segment, place, begin - segment.first, stop - segment.first)
                at = (begin - first_frame) * per_frame
                samples[at : at + len(block)] = block
        skip = first - first_frame * per_frame
        return samples[skip : skip + past_last - first]

    return read_samples


def _read_block(path: Path, segment: _Segment, place: int, first: int, past_last: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # an absurd gain gives infinite samples
            record = _package().rdrecord(
                segment.record_name,
                sampfrom=first,
                sampto=past_last,
                channels=[place],
                smooth_frames=False,
                return_res=32,
            )
    except Exception as error:
        raise UnreadableFileError(
            f"{path.name}: samples {first} to {past_last} of {Path(segment.record_name).name} cannot be read: "
            f"{_one_line(error)}"
        ) from error
    return np.asarray(record.e_p_signal[0], np.float32)
