"""Prepared nights in a folder or an object store: a Zarr group with an array for each derivation of a night.

A store is a Zarr 3 group at any address that fsspec knows (a folder, ``memory://``, ``s3://`` …). Each derivation of a
night is an array of epochs in one file: ``nights/DATASET/NIGHT/signals/KIND/NAME``. The attributes of a night are
written last: a night without them was interrupted and does not count. ``catalogue.json`` repeats the attributes of all
nights, so that one read opens a store of thousands.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.preprocess import InputSpec
from hypnograph.training.prepared_night import PreparedNight, content_sha256, to_runs
from hypnograph.training.storage import (
    Entry,
    SampleType,
    Storage,
    as_stored,
    index_in_order,
    night_path,
    signal_path,
)

FORMAT: Final = 1
"""Of a store; a larger number than this is from a newer hypnograph."""
CATALOGUE: Final = "catalogue.json"


@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """Prepared nights that one network can take; see `open_store`."""

    storage: Storage
    spec: InputSpec
    nights: tuple[PreparedNight, ...]

    @property
    def address(self) -> str:
        return self.storage.address

    @cached_property
    def sha256(self) -> str:
        """Of how the nights were prepared, and of all nights; the order of preparation does not matter."""
        nights = sorted(f"{night.key} {night.person} {night.sha256}" for night in self.nights)
        return hashlib.sha256(json.dumps([_spec_values(self.spec), nights]).encode()).hexdigest()

    @property
    def subjects(self) -> tuple[str, ...]:
        """The persons, ``"dataset/subject"``, sorted."""
        return tuple(sorted({night.person for night in self.nights}))

    @property
    def families(self) -> dict[str, str]:
        """The family of each person: what splits keep together."""
        return {night.person: night.kin for night in self.nights}

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(sorted({night.dataset for night in self.nights}))

    def with_nights(self, subjects: Iterable[str]) -> list[str]:
        """Return those of some persons who have a night here, in their order."""
        present = set(self.subjects)
        return [subject for subject in subjects if subject in present]

    def select(self, *, subjects: Iterable[str] | None = None, datasets: Iterable[str] | None = None) -> Self:
        """Return the store with some of its nights.

        Parameters
        ----------
        subjects
            Persons, ``"dataset/subject"``, e.g. the train part of a split; None: all.
        datasets
            Names; None: all.

        Raises
        ------
        HypnographError
            If one of them has no night here.
        """
        kept_subjects = _known(subjects, self.subjects, "subjects")
        kept_datasets = _known(datasets, self.datasets, "datasets")
        kept = [n for n in self.nights if n.person in kept_subjects and n.dataset in kept_datasets]
        return replace(self, nights=tuple(kept))

    def __repr__(self) -> str:
        hours = sum(night.n_epochs * night.epoch_s for night in self.nights) / 3600
        return f"Store {self.address}: {len(self.nights)} nights of {len(self.subjects)} subjects, {hours:.0f} h"


def _known(wanted: Iterable[str] | None, present: Collection[str], what: str) -> Collection[str]:
    if wanted is None:
        return present
    wanted = set(wanted)
    if absent := sorted(wanted - set(present)):
        raise HypnographError(
            f"{len(absent)} {what} have no night in this store: {', '.join(absent[:3])}{' …' * (len(absent) > 3)}; "
            "hypnograph prepare adds them"
        )
    return wanted


# The store as a whole -------------------------------------------------------------------------------------------------


def create_store(
    address: str | Path,
    spec: InputSpec,
    *,
    dtype: SampleType = "float16",
    chunk_epochs: int = 16,
    compress: bool = False,
) -> Store:
    """Create a store without nights, or open the one that is there, if it is of the same kind.

    Parameters
    ----------
    address
        A folder, or an address that fsspec knows; the folder is made.
    spec
        How all its nights are prepared; its `context` does not matter.
    dtype, chunk_epochs, compress
        See `Storage`.

    Raises
    ------
    HypnographError
        If there is something else at the address, or a store whose nights are prepared otherwise.
    """
    storage, spec = Storage(str(address), dtype, chunk_epochs, compress), replace(spec, context=None)
    existing = find_store(address)
    if existing is not None:
        _check_same(existing, storage, spec)
        return existing
    again = partial(create_store, address, spec, dtype=dtype, chunk_epochs=chunk_epochs, compress=compress)
    if storage.is_local and Path(storage.address).exists() and any(Path(storage.address).iterdir()):
        if find_store(address) is not None:  # another process made it just now
            return again()
        raise HypnographError(f"{address} has files but is no store of prepared nights; give an empty or new folder")
    place = storage.zarr(read_only=False)
    import zarr
    from zarr.errors import ContainsGroupError

    try:
        zarr.create_group(place, attributes=_header(storage, spec))
    except ContainsGroupError:
        return again()
    return Store(storage, spec, ())


def _check_same(existing: Store, storage: Storage, spec: InputSpec) -> None:
    old = _spec_values(existing.spec) | asdict(existing.storage)
    new = _spec_values(spec) | asdict(storage)
    if different := [name for name in new if new[name] != old[name]]:
        was = ", ".join(f"{name} {old[name]!r}, not {new[name]!r}" for name in different)
        raise HypnographError(f"{storage.address} is prepared with {was}; prepare into another store")


def open_store(address: str | Path) -> Store:
    """Open a store of prepared nights by one read.

    Raises
    ------
    UnreadableFileError
        If there is none, or it is of a newer format.
    """
    store = find_store(address)
    if store is None:
        raise UnreadableFileError(f"{address} is no store of prepared nights; hypnograph prepare makes one")
    return store


def find_store(address: str | Path) -> Store | None:
    """Open a store if there is one; see `open_store`."""
    storage = Storage(str(address))
    header = _json(storage, CATALOGUE)
    if header is None:
        # Never finished: its nights must be looked for.
        group = _json(storage, "zarr.json")
        if group is None or "hypnograph_store" not in group.get("attributes", {}):
            return None
        header = group["attributes"] | {"nights": _found_entries(storage)}
    if header["hypnograph_store"] > FORMAT:
        raise UnreadableFileError(
            f"{address} is a store of format {header['hypnograph_store']}; this hypnograph reads up to {FORMAT}: "
            "update it"
        )
    storage = replace(storage, **{name: header[name] for name in ("dtype", "chunk_epochs", "compress")})
    spec = InputSpec(**header["spec"])
    return Store(storage, spec, tuple(PreparedNight(storage, spec, entry) for entry in header["nights"]))


def write_catalogue(store: Store, entries: Iterable[Entry]) -> Store:
    """Add nights to the catalogue of a store; one that is there already is replaced.

    Parameters
    ----------
    store
        As it was opened.
    entries
        What `write_night` returned.
    """
    known = {night.key: night.entry for night in store.nights}
    known |= {f"{entry['dataset']}/{entry['id']}": entry for entry in entries}
    ordered = [known[key] for key in sorted(known)]
    nights = tuple(PreparedNight(store.storage, store.spec, entry) for entry in ordered)
    written = replace(store, nights=nights)
    content = _header(store.storage, store.spec) | {"sha256": written.sha256, "nights": ordered}
    store.storage.write_bytes(CATALOGUE, json.dumps(content, separators=(",", ":")).encode())
    return written


def _header(storage: Storage, spec: InputSpec) -> Entry:
    layout = {"dtype": storage.dtype, "chunk_epochs": storage.chunk_epochs, "compress": storage.compress}
    made_by = f"hypnograph {version('hypnograph')}"
    return {"hypnograph_store": FORMAT, "created_by": made_by, **layout, "spec": _spec_values(spec)}


def _spec_values(spec: InputSpec) -> Entry:
    """Return the fields as JSON gives them back."""
    values: Entry = json.loads(json.dumps(asdict(spec)))
    return values


def _json(storage: Storage, path: str) -> Entry | None:
    try:
        content = storage.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        values: Entry = json.loads(content)
    except ValueError as error:
        raise UnreadableFileError(f"{storage.address}/{path} is damaged: {error}") from error
    return values


def _found_entries(storage: Storage) -> list[Entry]:
    filesystem, place = storage.remote("nights")
    # Not by a pattern: a folder's name may have brackets in it.
    datasets = filesystem.ls(place, detail=False) if filesystem.exists(place) else []
    nights = sorted(night for dataset in datasets for night in filesystem.ls(dataset, detail=False))
    found = [_attributes(storage, "/".join(["nights", *night.rstrip("/").split("/")[-2:]])) for night in nights]
    return [attributes for attributes in found if "sha256" in attributes]


# One night ------------------------------------------------------------------------------------------------------------


def find_night(store: Store, dataset: str, night: str) -> Entry | None:
    """Return the attributes of a night that is complete, whether the catalogue has it or not."""
    return _attributes(store.storage, night_path(dataset, night)) or None


def _attributes(storage: Storage, path: str) -> Entry:
    """Return the attributes of a night; a file that a crash has left unreadable completes none."""
    try:
        group = _json(storage, f"{path}/zarr.json")
    except UnreadableFileError:
        return {}
    attributes: Entry = {} if group is None else group.get("attributes", {})
    return attributes


def write_night(
    store: Store,
    entry: Entry,
    signals: Mapping[tuple[ChannelKind, str], NDArray[np.floating[Any]]],
    stages: NDArray[np.int8],
) -> Entry:
    """Write a night; what was at its place is removed first, and the attributes that complete it come last.

    Parameters
    ----------
    store
        Where to.
    entry
        Its attributes but those that follow from the arrays.
    signals : float arrays, shape (n_epochs, epoch_samples)
        By kind and name of the derivation.
    stages : int8 array, shape (n_scorers, n_epochs)
        By each scorer.

    Returns
    -------
    dict
        The attributes, for `write_catalogue`.
    """
    import zarr

    path, storage = night_path(entry["dataset"], entry["id"]), store.storage
    storage.remove(path)
    place = storage.zarr(read_only=False)
    stored = {
        key: epochs if epochs.dtype == storage.dtype else as_stored(epochs, storage.dtype)
        for key, epochs in signals.items()
    }
    with ThreadPoolExecutor(1) as pool:  # to hash takes as long as to write
        sha256 = pool.submit(content_sha256, stored, stages)
        for (kind, name), epochs in stored.items():
            _write_array(place, f"{path}/{signal_path(kind, name)}", epochs, storage)
        zarr.create_array(place, name=f"{path}/stages", data=stages, chunks=stages.shape)
    complete = entry | {
        "n_epochs": stages.shape[1],
        "stages": [to_runs(by_one) for by_one in stages],
        "sha256": sha256.result(),
        "hypnograph": version("hypnograph"),
    }
    zarr.open_group(place, path=path, mode="r+").update_attributes(complete)
    return complete


def _write_array(place: Any, path: str, epochs: NDArray[np.floating[Any]], storage: Storage) -> None:
    import zarr
    from zarr.codecs import ZstdCodec

    n_epochs, epoch_samples = epochs.shape
    chunks = (storage.chunk_epochs, epoch_samples)
    array = zarr.create_array(
        place,
        name=path,
        shape=epochs.shape,
        dtype=storage.dtype,
        chunks=chunks,
        shards=(math.ceil(n_epochs / chunks[0]) * chunks[0], epoch_samples),
        compressors=ZstdCodec() if storage.compress else None,
        filters=None,
        # A chunk of zeros would be left out, and the others would move up.
        config={"write_empty_chunks": True},
    )
    if storage.compress:
        array[:] = epochs
    else:
        # As zarr would write it, chunk by chunk: epochs, the rest of the last chunk, the index and its checksum.
        storage.write_bytes(f"{path}/c/0/0", _in_order(epochs, storage))


def _in_order(epochs: NDArray[np.floating[Any]], storage: Storage) -> bytes:
    import google_crc32c

    index = index_in_order(storage, (epochs.shape[0], epochs.shape[1]))
    checksum = int(google_crc32c.value(index)).to_bytes(4, "little")
    content = np.ascontiguousarray(epochs, dtype=np.dtype(storage.dtype).newbyteorder("<"))
    rest = -epochs.shape[0] % storage.chunk_epochs * epochs.shape[1] * content.itemsize
    return b"".join((content.data, bytes(rest), index, checksum))
