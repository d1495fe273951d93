"""NumPy's .npy and .npz: one integer (or name) for each epoch; never pickled objects.

Integers are read by the rule of `stages_from_codes`. An .npz may hold other arrays beside the stages (those of
DeepSleepNet and AttnSleep hold the signals as `x`); the array that is read is called y, stages, hypnogram, hypno,
labels or y_true, or is the only one.
"""

import ast
import math
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import MAX_BYTES, read_bytes
from hypnograph.scored_events import hypnogram_of_list
from hypnograph.stages import AASM_5, Stage

NAME = "NumPy array"
SUFFIXES = (".npy", ".npz")

_NAMES = ("y", "stages", "hypnogram", "hypno", "labels", "y_true")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the first bytes are those of an array, or of an archive that is called .npz."""
    return head.startswith(b"\x93NUMPY") or (head.startswith(b"PK") and path.suffix.lower() == ".npz")


def lacks_epoch_s(path: Path) -> bool:
    """No file of this format says how long an epoch is."""
    return True


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read one epoch of 30 s from each element; the first begins with the recording."""
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    array = _array(_member(path) if is_archive else read_bytes(path))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iufU":
        raise UnreadableFileError(
            f"an array of shape {array.shape} and type {array.dtype}; expected one integer or name for each epoch"
        )
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == np.round(array)).all() and (np.abs(array) < 1e6).all()):
            raise UnreadableFileError("its numbers are not whole; expected one integer for each epoch")
        array = array.astype(int)
    return hypnogram_of_list([str(stage) for stage in array.tolist()], stage_map, recording_start)


def _member(path: Path) -> bytes:
    """Return the array of an archive that holds the stages."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            found = [name for name in _NAMES if name in sizes] or (list(sizes) if len(sizes) == 1 else [])
            if found and "y_pred" in sizes:
                # TinySleepNet writes both into one file: taken for a prediction, the reference would agree with itself.
                raise UnreadableFileError(
                    f"it holds a reference ({found[0]}) and a prediction (y_pred); save the one that is meant by itself"
                )
            if not found:
                raise UnreadableFileError(
                    f"none of its arrays ({', '.join(list(sizes)[:10])}) is called {', '.join(_NAMES)}"
                )
            if sizes[found[0]].file_size > MAX_BYTES:
                raise UnreadableFileError(f"its stages are larger than {MAX_BYTES >> 20} MiB")
            with archive.open(sizes[found[0]]) as member:
                return member.read(MAX_BYTES)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, HypnographError):
            raise
        raise UnreadableFileError(f"a damaged archive: {error}") from error
    except Exception as error:
        if type(error).__module__ not in ("zlib", "lzma"):
            raise
        raise UnreadableFileError(f"a damaged archive: {error}") from error


def _array(data: bytes) -> NDArray[Any]:
    """Return the array of an .npy file whose header promises what the file holds."""
    width = 2 if data[6:7] == b"\x01" else 4
    begin = 8 + width
    past_header = begin + int.from_bytes(data[8:begin], "little")
    try:
        if past_header - begin > 4096:
            raise ValueError(f"a header of {past_header - begin} bytes")
        header = ast.literal_eval(data[begin:past_header].decode("latin-1").strip())
        dtype, shape = np.dtype(header["descr"]), tuple(int(n) for n in header["shape"])
    except (ValueError, TypeError, SyntaxError, KeyError, MemoryError, RecursionError, OverflowError) as error:
        raise UnreadableFileError(f"a damaged array header: {error}") from error
    promised, held = math.prod(shape) * dtype.itemsize, len(data) - past_header
    if dtype.hasobject or not held or min(shape, default=1) < 0 or promised != held:
        raise UnreadableFileError(f"its header promises {promised} bytes of {dtype} and the file holds {held}")
    return np.frombuffer(data, dtype=dtype, offset=past_header).reshape(shape)


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write int8: 0 W, 1 N1, 2 N2, 3 N3, 4 REM, −1 unscored.

    Lost: the time grid, start, scorer, lights and hypnodensity. Hypnograms of other schemes are refused: bare integers
    would not tell which.
    """
    if hypnogram.scheme != AASM_5:
        raise HypnographError(
            f"npy holds bare integers, which mean AASM stages; write scheme {hypnogram.scheme.name} as json, csv or tsv"
        )
    with path.open("wb") as file:
        np.save(file, hypnogram.stages, allow_pickle=False)
