"""Prepared nights of DeepSleepNet, TinySleepNet, AttnSleep and SleepGPT: `.npz` with arrays x, fs, and often ch_label.

x has shape (epochs, samples) or (epochs, samples, channels); the epochs are joined to continuous signals in µV. Those
who prepared such files removed epochs (unscored ones, and wake far from sleep), so what is joined may not have been
continuous: a warning says so. Their headers are pickled Python objects, which are never loaded: unpickling runs code.
"""

import zipfile
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import UnreadableFileError
from hypnograph.recording import Recording, SampleReader, Signal

NAME = "DeepSleepNet npz"
SUFFIXES = (".npz",)

_EPOCH_S = 30.0
# zlib makes at most a thousandth of what it is given.
_MOST_COMPRESSED = 1100
_MOST_BYTES = 4 << 30


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file is named `.npz`."""
    return path.suffix.lower() == ".npz"


def read(path: Path) -> Recording:
    """Read shapes and labels; samples are read when they are asked for, then kept.

    Raises
    ------
    UnreadableFileError
        If the file is damaged, or has no array x of epochs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shape = _shape_of_x(path, archive)
            rate = _small(archive, "fs")
            labels = _small(archive, "ch_label")
            start = _small(archive, "start_datetime")
    except UnreadableFileError:
        raise
    except Exception as error:  # zipfile, zlib and numpy have half a dozen kinds for a damaged file
        raise UnreadableFileError(f"{path.name}: damaged npz: {_one_line(error)}") from error
    n_epochs, n_samples, n_channels = shape
    warnings = ["epochs may have been removed when this file was prepared; times count over those that are left"]
    rate_hz = _rate(path, rate, n_samples, warnings)
    names = [str(label) for label in np.ravel(labels)] if labels is not None else []
    if len(names) != n_channels:
        names = [f"x{channel}" if n_channels > 1 else "x" for channel in range(n_channels)]
    read_x = cache(lambda: _read_x(path, shape))
    signals = tuple(
        Signal(name, rate_hz, "uV", n_epochs * n_samples, _sample_reader(read_x, channel))
        for channel, name in enumerate(names)
    )
    return Recording(
        signals, n_epochs * n_samples / rate_hz, start=_start(start), source=NAME, warnings=tuple(warnings)
    )


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _array_header(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array without reading it; refuse one that is larger than its file."""
    member = archive.getinfo(f"{key}.npy")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= int(length)
    held = min(member.file_size, member.compress_size * _MOST_COMPRESSED, _MOST_BYTES)
    if min(shape, default=1) < 0 or n_bytes > held:
        raise ValueError(f"array {key} of shape {shape} needs {n_bytes} bytes, the file holds at most {held}")
    return shape, dtype


def _shape_of_x(path: Path, archive: zipfile.ZipFile) -> tuple[int, int, int]:
    if "x.npy" not in archive.namelist():
        has = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:20])
        raise UnreadableFileError(f"{path.name}: an npz of a prepared night has an array x of epochs; this has: {has}")
    shape, dtype = _array_header(archive, "x")
    if dtype.kind not in "iuf" or len(shape) not in (2, 3) or 0 in shape:
        raise UnreadableFileError(
            f"{path.name}: x has shape {shape} and type {dtype}; expected numbers of shape (epochs, samples) or "
            "(epochs, samples, channels)"
        )
    return shape[0], shape[1], shape[2] if len(shape) == 3 else 1


def _small(archive: zipfile.ZipFile, key: str) -> NDArray[Any] | None:
    """Read a small array; None where there is none, or where it is a pickled object."""
    if f"{key}.npy" not in archive.namelist():
        return None
    shape, dtype = _array_header(archive, key)
    if dtype.hasobject or np.prod(shape, dtype=float) > 1000:
        return None
    with archive.open(f"{key}.npy") as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _rate(path: Path, rate: NDArray[Any] | None, n_samples: int, warnings: list[str]) -> float:
    if rate is None:
        warnings.append(f"no fs in the file; each epoch of {n_samples} samples is taken to last {_EPOCH_S:g} s")
        return n_samples / _EPOCH_S
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not 0 < float(rate.reshape(-1)[0]) <= 1e6:
        raise UnreadableFileError(f"{path.name}: fs is {rate!r:.60}; expected one sample rate from above 0 to 1 MHz")
    return float(rate.reshape(-1)[0])


def _start(value: NDArray[Any] | None) -> datetime | None:
    if value is None or value.size != 1 or value.dtype.kind not in "UM":
        return None
    try:
        return datetime.fromisoformat(str(value.reshape(-1)[0])).replace(tzinfo=None)
    except ValueError:
        return None


def _read_x(path: Path, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return all samples, shape (channels, samples)."""
    try:
        with zipfile.ZipFile(path) as archive:
            _array_header(archive, "x")
            with archive.open("x.npy") as file:
                x = np.lib.format.read_array(file, allow_pickle=False)
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(x.reshape(-1, shape[2]).T, dtype=np.float32)
    except Exception as error:
        raise UnreadableFileError(f"{path.name}: its samples cannot be read: {_one_line(error)}") from error


def _sample_reader(read_x: Any, channel: int) -> SampleReader:
    def read_samples(first: int, past_last: int) -> NDArray[np.float32]:
        samples: NDArray[np.float32] = read_x()[channel, first:past_last].copy()
        return samples

    return read_samples
