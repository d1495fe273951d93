"""HDF5 files of PSGs: what `ut extract` of U-Time writes, and the Dreem Open Datasets (DOD).

Below a group `channels`, `signals` or `psg` (deeper groups are allowed) lies one array for each signal. Attributes
`sample_rate` (U-Time) or `fs` (DOD), and `unit` or `units`, may stand at the array or at any group above it.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.recording import Recording, SampleReader, Signal

NAME = "HDF5 (U-Time, DOD)"
SUFFIXES = (".h5", ".hdf5")

_GROUPS = ("channels", "signals", "psg")
_MAGIC = b"\x89HDF\r\n\x1a\n"
_LONGEST_S = 366 * 24 * 3600.0
# gzip makes at most a thousandth of what it is given: an array that is longer than its bytes allow is a damaged header.
_MOST_COMPRESSED = 1100
_DEEPEST = 8


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file begins or is named as HDF5."""
    return head[:8] == _MAGIC or path.suffix.lower() in SUFFIXES


def read(path: Path) -> Recording:
    """Read attributes and lengths; samples are read when they are asked for.

    Raises
    ------
    UnreadableFileError
        If the file is damaged, or holds no signals in the places named above.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            root = next((name for name in _GROUPS if isinstance(file.get(name), h5py.Group)), None)
            if root is None:
                raise UnreadableFileError(
                    f"{path.name}: HDF5 without a group {' or '.join(_GROUPS)}; it has: {', '.join(file) or 'nothing'}"
                )
            found = list(_arrays(file[root], dict(file.attrs), 0))
            found.sort(key=lambda pair: _number(pair[1].get("channel_index", 0)))
            signals = tuple(_signal(path, array, attributes) for array, attributes in found)
            start = _start(file.attrs)
    except HypnographError:
        raise
    except Exception as error:  # h5py raises half a dozen kinds for a damaged file
        raise UnreadableFileError(f"{path.name}: damaged HDF5: {_one_line(error)}") from error
    if not signals:
        raise UnreadableFileError(f"{path.name}: its group {root} holds no arrays of numbers")
    return Recording(signals, max(s.duration_s for s in signals), start=start, source=NAME)


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _number(value: Any) -> float:
    """Return an attribute as a number, NaN where it is none."""
    try:
        return float(np.asarray(value).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        return float("nan")


def _string(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _arrays(group: Any, above: Mapping[str, Any], depth: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    import h5py

    inherited = {**above, **dict(group.attrs)}
    for name in group:
        # A link to another place or another file is not followed.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group) and depth < _DEEPEST:
            yield from _arrays(item, inherited, depth + 1)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.ndim == 1 and len(item):
            yield item, {**inherited, **dict(item.attrs)}


def _signal(path: Path, array: Any, attributes: Mapping[str, Any]) -> Signal:
    label = array.name.rsplit("/", 1)[-1]
    rate = _number(attributes.get("sample_rate", attributes.get("fs")))
    if not (0 < rate <= 1e6 and len(array) / rate <= _LONGEST_S):
        raise UnreadableFileError(
            f"{path.name}: signal {label!r} has {len(array)} samples at {rate:g} Hz (attribute sample_rate or fs); "
            f"the rate must be above 0 and at most 1 MHz, the duration at most {_LONGEST_S / 86400:.0f} days"
        )
    stored = array.id.get_storage_size()
    if array.nbytes > stored * (_MOST_COMPRESSED if array.compression else 1):
        raise UnreadableFileError(
            f"{path.name}: signal {label!r} should have {array.nbytes} bytes, the file holds {stored} of it"
        )
    unit = _string(attributes.get("unit", attributes.get("units", "")))
    return Signal(label, rate, unit, len(array), _sample_reader(path, array.name))


def _start(attributes: Mapping[str, Any]) -> datetime | None:
    date = _number(attributes.get("date"))
    try:
        return datetime.fromtimestamp(date, UTC).replace(tzinfo=None)  # U-Time: seconds since 1970, "UNKNOWN" if not
    except (ValueError, OverflowError, OSError):
        return None


def _sample_reader(path: Path, name: str) -> SampleReader:
    def read_samples(first: int, past_last: int) -> NDArray[np.float32]:
        import h5py

        try:
            with h5py.File(path, "r", locking=False) as file:
                samples: NDArray[np.float32] = np.empty(past_last - first, np.float32)
                file[name].read_direct(samples, np.s_[first:past_last])
                return samples
        except Exception as error:
            raise UnreadableFileError(f"{path.name}: samples of {name} cannot be read: {_one_line(error)}") from error

    return read_samples
