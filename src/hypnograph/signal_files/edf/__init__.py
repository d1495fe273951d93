"""EDF, EDF+C, EDF+D and BDF(+): https://www.edfplus.info/specs/.

Read by hand, written through edfio. Reading by hand is simpler than working round a library: edfio gives float64 of
whole signals and places the records of an EDF+D one after the other, MNE brings all signals to one rate, pyEDFlib
refuses many files of the field. Here a signal's digital samples are mapped, a block of records at a time, and scaled to
float32; nothing else of the file is touched. All three libraries are oracles in the tests.

What a header says is believed only as far as the file bears it out: counts are held against the file's size before
anything is allocated, a file that ends early is read as far as its records are whole, and what was odd becomes a
warning of the recording. The fields of patient and recording identification are skipped.
"""

from datetime import timedelta
from pathlib import Path

from hypnograph.recording import Recording
from hypnograph.signal_files.edf.header import ANNOTATION_LABELS, BDF_MAGIC, read_header
from hypnograph.signal_files.edf.records import (
    Stretch,
    annotation_bytes,
    annotations_in,
    gaps_between,
    join_records,
    record_onsets,
    start_offset,
)
from hypnograph.signal_files.edf.samples import signal_of
from hypnograph.signal_files.edf.writing import write

__all__ = ["NAME", "SUFFIXES", "read", "recognises", "write"]

NAME = "EDF, EDF+ or BDF"
SUFFIXES = (".edf", ".bdf", ".rec")


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file begins, or is named, like EDF or BDF."""
    return head[:8].rstrip(b" \0") == b"0" or head[:8] == BDF_MAGIC or path.suffix.lower() in (".edf", ".bdf")


def read(path: Path) -> Recording:
    """Read the header and the annotations; samples are read when they are asked for.

    Raises
    ------
    UnreadableFileError
        If the header contradicts itself or the file so that no sample can be placed.
    """
    warnings: list[str] = []
    header = read_header(path, warnings)
    lists = [
        annotation_bytes(path, header, field)
        for field in header.fields
        if field.label in ANNOTATION_LABELS and field.n_samples
    ]
    onsets = record_onsets(header, lists)
    first_s = start_offset(onsets, warnings)
    stretches = [Stretch(0, header.n_records, 0.0)]
    if header.variant.endswith("+D") and header.record_s > 0:
        onsets -= first_s
        onsets[0] = 0.0
        stretches = join_records(onsets, header.record_s, warnings)
    gaps = gaps_between(path, stretches, header.record_s)
    signals = tuple(
        signal_of(path, header, field, stretches, warnings)
        for field in header.fields
        if field.label not in ANNOTATION_LABELS and field.n_samples
    )
    last = stretches[-1]
    end_s = last.onset_s + (last.past_last_record - last.first_record) * header.record_s
    return Recording(
        signals=signals,
        duration_s=end_s if signals else 0.0,
        start=None if header.start is None else header.start + timedelta(seconds=first_s),
        annotations=annotations_in(lists, first_s),
        gaps=gaps,
        source=header.variant,
        warnings=tuple(warnings),
    )
