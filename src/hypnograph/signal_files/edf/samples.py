"""Samples of an EDF signal: integers of the file, scaled to its physical unit, NaN in gaps."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hypnograph.recording import SampleReader, Signal
from hypnograph.signal_files.edf.header import Field, Header
from hypnograph.signal_files.edf.records import BLOCK_BYTES, Stretch, map_records

_LARGEST_VALUE = 1e30


def signal_of(path: Path, header: Header, field: Field, stretches: Sequence[Stretch], warnings: list[str]) -> Signal:
    """Return one signal of the file; its samples are read when they are asked for."""
    rate = field.n_samples / header.record_s
    gain, offset, known = _scale(field)
    if not known:
        warnings.append(
            f"signal {field.label!r}: physical {field.physical_min:g} to {field.physical_max:g} over digital "
            f"{field.digital_min:g} to {field.digital_max:g} gives no scale; its samples are the file's integers"
        )
    last = stretches[-1]
    n_samples = round(last.onset_s * rate) + (last.past_last_record - last.first_record) * field.n_samples
    rails = (min(field.physical_min, field.physical_max), max(field.physical_min, field.physical_max))
    reader = _sample_reader(path, header, field, stretches, (gain, offset))
    return Signal(field.label, rate, field.unit if known else "", n_samples, reader, rails if known else None)


def _scale(field: Field) -> tuple[float, float, bool]:
    """Return gain and offset from integers to the physical unit, and whether the header gives them."""
    steps, span = field.digital_max - field.digital_min, field.physical_max - field.physical_min
    sane = abs(field.physical_min) < _LARGEST_VALUE and abs(field.physical_max) < _LARGEST_VALUE
    if not (sane and abs(steps) >= 1 and abs(span) > 0 and abs(span / steps) * 2**23 < _LARGEST_VALUE):
        return 1.0, 0.0, False
    return span / steps, field.physical_min - field.digital_min * span / steps, True


def _sample_reader(
    path: Path, header: Header, field: Field, stretches: Sequence[Stretch], scale: tuple[float, float]
) -> SampleReader:
    rate = field.n_samples / header.record_s

    def read_samples(first: int, past_last: int) -> NDArray[np.float32]:
        samples = np.full(past_last - first, np.nan, np.float32)
        for stretch in stretches:
            place = round(stretch.onset_s * rate)
            n_samples = (stretch.past_last_record - stretch.first_record) * field.n_samples
            begin, end = max(first, place), min(past_last, place + n_samples)
            if begin < end:
                in_file = stretch.first_record * field.n_samples + begin - place
                digital = _digital_blocks(path, header, field, in_file, in_file + end - begin)
                _scale_into(samples[begin - first : end - first], digital, scale)
        return samples

    return read_samples


def _scale_into(
    out: NDArray[np.float32], blocks: Iterator[NDArray[np.signedinteger]], scale: tuple[float, float]
) -> None:
    gain, offset = scale
    begin = 0
    for block in blocks:
        # Scaled in float64, then rounded once to float32.
        values = block.astype(np.float64)
        values *= gain
        values += offset
        out[begin : begin + len(values)] = values
        begin += len(values)


def _digital_blocks(
    path: Path, header: Header, field: Field, first: int, past_last: int
) -> Iterator[NDArray[np.signedinteger]]:
    """Yield the signal's integers, counted over the file's records without regard to gaps."""
    step = max(1, BLOCK_BYTES // header.record_bytes)
    past_last_record = -(-past_last // field.n_samples)
    for record in range(first // field.n_samples, past_last_record, step):
        records = map_records(path, header, record, min(record + step, past_last_record))
        begin = record * field.n_samples
        yield _digital(records, field, header.sample_bytes).ravel()[max(0, first - begin) : past_last - begin]


def _digital(records: NDArray[np.uint8], field: Field, sample_bytes: int) -> NDArray[np.signedinteger]:
    """Return the integers of one signal, shape (n_records, n_samples)."""
    own = records[:, field.first_byte : field.first_byte + field.n_samples * sample_bytes]
    if sample_bytes == 2:
        return own.view("<i2")
    low, middle, high = (own[:, byte::3].astype(np.int32) for byte in range(3))
    return (low | middle << 8 | high << 16) - ((high & 0x80) << 17)
