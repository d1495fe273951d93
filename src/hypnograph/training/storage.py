"""Where a store of prepared nights is: its bytes in a folder or at any address, and the names of its files."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError
from hypnograph.whole_file import whole_file

Entry = dict[str, Any]
"""The attributes of a night, or of a store."""
SampleType = Literal["float16", "float32"]


@dataclass(frozen=True)
class Storage:
    """Where a store is, and how its samples lie there.

    Parameters
    ----------
    address
        A folder, or an address that fsspec knows.
    dtype
        Of the samples. A float16 has 11 significant bits; values beyond ±65504 are clipped.
    chunk_epochs
        Epochs that are compressed together, and so read together.
    compress
        By Zstandard; reads are then several times slower.
    """

    address: str
    dtype: SampleType = "float16"
    chunk_epochs: int = 16
    compress: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in get_args(SampleType) or self.chunk_epochs < 1:
            raise HypnographError(
                f"dtype {self.dtype!r}, chunk_epochs {self.chunk_epochs}: samples are float16 or float32, and a chunk "
                "has at least 1 epoch"
            )
        address = self.address.removeprefix("file://")
        object.__setattr__(self, "address", address if "://" in address else str(Path(address).expanduser().absolute()))

    @property
    def is_local(self) -> bool:
        return "://" not in self.address

    def remote(self, path: str) -> tuple[Any, str]:
        """Return the file system and where a path of the store is in it."""
        try:
            from fsspec.core import url_to_fs

            filesystem, root = url_to_fs(self.address)
        except ImportError as error:  # also where a kind of address needs a package of its own
            raise HypnographError(f"{self.address}: {error}; pip install 'hypnograph[train]'") from error
        except ValueError as error:
            raise HypnographError(f"{self.address}: {error}; give a folder, or an address such as s3://…") from error
        return filesystem, f"{root.rstrip('/')}/{path}"

    def read_bytes(self, path: str, first: int = 0, past_last: int | None = None) -> bytes:
        """Read bytes of a file; only those."""
        if not self.is_local:
            filesystem, place = self.remote(path)
            return bytes(filesystem.cat_file(place, start=first, end=past_last))
        with Path(self.address, path).open("rb", buffering=0) as file:
            file.seek(first)
            return file.read() if past_last is None else file.read(past_last - first)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        if self.is_local:
            with whole_file(Path(self.address, path)) as partial:
                partial.write_bytes(content)
        else:
            filesystem, place = self.remote(path)
            filesystem.pipe_file(place, content)

    def remove(self, path: str) -> None:
        """Remove a folder of the store and all that is in it, if there is one."""
        filesystem, place = self.remote(path)
        if filesystem.exists(place):
            filesystem.rm(place, recursive=True)

    def zarr(self, *, read_only: bool = True) -> Any:
        """Return this place as zarr sees it."""
        try:
            from zarr.storage import FsspecStore, LocalStore
        except ImportError as error:
            raise HypnographError(f"this needs zarr ({error}): pip install 'hypnograph[train]'") from error

        if self.is_local:
            return LocalStore(self.address, read_only=read_only)
        return FsspecStore.from_url(self.address, read_only=read_only)


def night_path(dataset: str, night: str) -> str:
    """Return the path of a night's group."""
    return f"nights/{_as_file_name(dataset)}/{_as_file_name(night)}"


def signal_path(kind: ChannelKind, name: str) -> str:
    """Return the path of a derivation in a night's group."""
    return f"signals/{kind}/{_as_file_name(name)}"


def _as_file_name(name: str) -> str:
    # No two names share a file; "." and "/" would have a meaning of their own, "%" one in web addresses.
    return re.sub(r"[^A-Za-z0-9 _+-]", lambda match: "".join(f"~{byte:02X}" for byte in match[0].encode()), name)


def index_in_order(storage: Storage, shape: tuple[int, int]) -> bytes:
    """Return the index (without its checksum) at the end of a file that holds uncompressed epochs one after the other.

    Parameters
    ----------
    storage
        The store.
    shape
        Epochs, and samples of each.
    """
    n_chunks = math.ceil(shape[0] / storage.chunk_epochs)
    chunk_bytes = storage.chunk_epochs * shape[1] * np.dtype(storage.dtype).itemsize
    index = np.full((n_chunks, 2), chunk_bytes, dtype="<u8")
    index[:, 0] = chunk_bytes * np.arange(n_chunks)
    return index.tobytes()


def as_stored(epochs: NDArray[np.floating[Any]], dtype: SampleType) -> NDArray[np.floating[Any]]:
    """Return samples in the type of a store, clipped to its finite range."""
    largest = float(np.finfo(dtype).max)
    # To look is much quicker than to clip, and few signals need it.
    if epochs.size and max(epochs.max(), -epochs.min()) > largest:
        epochs = np.clip(epochs, -largest, largest)
    # A network takes float32; from there a processor makes float16, from float64 it does not.
    epochs = epochs.astype(np.float32, copy=False)
    return np.asarray(epochs.astype(dtype, copy=False))
