"""Prepared nights in a folder or an object store: a Zarr group that is read one window at a time.

A store is a Zarr 3 group at any address that fsspec knows (a folder, ``memory://``, ``s3://`` …). Each derivation of a
night is an array of epochs in one file: ``nights/DATASET/NIGHT/signals/KIND/NAME``. The attributes of a night are
written last: a night without them was interrupted and does not count. ``catalogue.json`` repeats the attributes of all
nights, so that one read opens a store of thousands.

The chunks of an uncompressed file lie in order, so epochs are read as one range of bytes, from a folder and from an
object store alike. Files are opened for each read, not kept mapped: a map holds a file descriptor in Python 3.11, and a
store has more files than a process may have descriptors.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import time
from functools import cached_property, lru_cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.preprocess import InputSpec
from hypnograph.stages import Stage
from hypnograph.whole_file import whole_file

Entry = dict[str, Any]
SampleType = Literal["float16", "float32"]
FORMAT: Final = 1
"""Of a store; a larger number than this is from a newer hypnograph."""
CATALOGUE: Final = "catalogue.json"


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


@dataclass(frozen=True, eq=False, repr=False)
class PreparedNight:
    """One night of a store; signals are read when they are asked for, from any thread or process.

    Parameters
    ----------
    storage
        Where it is.
    spec
        How it was prepared.
    entry
        Its attributes.
    """

    storage: Storage
    spec: InputSpec
    entry: Entry

    @property
    def key(self) -> str:
        """``"dataset/id"``, unique in a store."""
        return f"{self.dataset}/{self.id}"

    @property
    def person(self) -> str:
        """``"dataset/subject"``: what splits are made of."""
        return f"{self.dataset}/{self.subject}"

    @property
    def dataset(self) -> str:
        return str(self.entry["dataset"])

    @property
    def id(self) -> str:
        return str(self.entry["id"])

    @property
    def subject(self) -> str:
        return str(self.entry["subject"])

    @property
    def family(self) -> str:
        return str(self.entry["family"])

    @property
    def visit(self) -> str:
        return str(self.entry["visit"])

    @property
    def disorder(self) -> str:
        return str(self.entry["disorder"])

    @property
    def licence(self) -> str:
        return str(self.entry["licence"])

    @property
    def scorers(self) -> tuple[str, ...]:
        return tuple(self.entry["scorers"])

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.entry["warnings"])

    @property
    def clock(self) -> time | None:
        """Time of day at which the first epoch begins; the date is not kept."""
        return None if self.entry["clock"] is None else time.fromisoformat(self.entry["clock"])

    @property
    def n_epochs(self) -> int:
        return int(self.entry["n_epochs"])

    @property
    def sha256(self) -> str:
        """Of the samples and stages."""
        return str(self.entry["sha256"])

    @property
    def dtype(self) -> SampleType:
        """Of the samples in the store; `read` gives float32."""
        return self.storage.dtype

    @property
    def n_bytes(self) -> int:
        """Of its samples, uncompressed."""
        n_derivations = sum(len(names) for names in self.derivations.values())
        return n_derivations * self.n_epochs * self.spec.epoch_samples * np.dtype(self.dtype).itemsize

    @property
    def path(self) -> str:
        """Of its group in the store."""
        return night_path(self.dataset, self.id)

    @cached_property
    def derivations(self) -> Mapping[ChannelKind, tuple[str, ...]]:
        """Names of the derivations of each kind, best first."""
        kept = [(ChannelKind(derivation["kind"]), str(derivation["name"])) for derivation in self.entry["derivations"]]
        return {kind: tuple(name for of, name in kept if of == kind) for kind in self.spec.kinds}

    @cached_property
    def stages(self) -> NDArray[np.int8]:
        """Stages by each scorer, −1 unscored: shape (n_scorers, n_epochs), read-only."""
        stages = np.array([_from_runs(runs) for runs in self.entry["stages"]], dtype=np.int8)
        stages.flags.writeable = False
        return stages

    def hypnogram(self, scorer: str | None = None) -> Hypnogram:
        """Return one scoring; None: the first.

        Raises
        ------
        HypnographError
            If this scorer did not score the night.
        """
        if scorer is not None and scorer not in self.scorers:
            raise HypnographError(f"{self.key} has no scoring by {scorer!r}; there are: {', '.join(self.scorers)}")
        place = 0 if scorer is None else self.scorers.index(scorer)
        return Hypnogram(self.stages[place], self.spec.epoch_s, scorer=self.scorers[place])

    def soft_stages(self, n_stages: int = 5) -> NDArray[np.float32]:
        """Return each stage's share of those who scored the epoch: shape (n_epochs, n_stages), NaN where nobody did."""
        votes = (self.stages[:, :, None] == np.arange(n_stages)).sum(axis=0, dtype=np.float32)
        total = votes.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(votes, total, out=np.full_like(votes, np.nan), where=total > 0))

    def read(
        self,
        kind: ChannelKind | str,
        name: str,
        first: int = 0,
        past_last: int | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Read epochs of a derivation.

        Parameters
        ----------
        kind, name
            One of `derivations`.
        first, past_last
            Epochs; None: to the end.
        out : float32 array, shape (past_last - first, epoch_samples)
            Filled and returned, if given; it may be a part of a larger array.

        Returns
        -------
        float32 array, shape (past_last - first, epoch_samples)

        Raises
        ------
        HypnographError
            If there is no such derivation or epoch, or `out` has another shape.
        UnreadableFileError
            If the file is damaged.
        """
        past_last = self.n_epochs if past_last is None else past_last
        if not 0 <= first < past_last <= self.n_epochs:
            raise HypnographError(f"{self.key}: epochs {first} to {past_last}; there are {self.n_epochs}")
        if name not in self.derivations.get(ChannelKind(kind), ()):
            there = ", ".join(f"{of} {names}" for of, all_of in self.derivations.items() for names in all_of)
            raise HypnographError(f"{self.key} has no {kind} {name!r}; there are: {there}")
        samples = self._stored(ChannelKind(kind), name, first, past_last)
        if out is None:
            return samples.astype(np.float32)
        if out.shape != samples.shape:
            raise HypnographError(f"out has shape {out.shape}; {samples.shape[0]} epochs need {samples.shape}")
        out[...] = samples
        return out

    def verify(self) -> None:
        """Read all samples, and refuse them where they are not those that were prepared.

        Raises
        ------
        UnreadableFileError
            If the hash is another one.
        """
        names = [(kind, name) for kind, names in self.derivations.items() for name in names]
        signals = {(kind, name): self._stored(kind, name, 0, self.n_epochs) for kind, name in names}
        if _sha256(signals, self.stages) != self.sha256:
            raise UnreadableFileError(f"{self.key} is damaged: its samples are not those that were prepared")

    def _stored(self, kind: ChannelKind, name: str, first: int, past_last: int) -> NDArray[np.floating[Any]]:
        storage, shape = self.storage, (self.n_epochs, self.spec.epoch_samples)
        path = f"{self.path}/{_signal_path(kind, name)}"
        if storage.compress or not _lies_in_order(storage, f"{path}/c/0/0", shape):
            return _through_zarr(storage, path, shape, first, past_last)
        dtype = np.dtype(storage.dtype).newbyteorder("<")
        row = shape[1] * dtype.itemsize
        content = storage.read_bytes(f"{path}/c/0/0", first * row, past_last * row)
        return np.frombuffer(content, dtype).reshape(-1, shape[1])

    def __repr__(self) -> str:
        names = "; ".join(f"{kind} {', '.join(names)}" for kind, names in self.derivations.items())
        return f"PreparedNight {self.key}: {self.n_epochs} epochs, {names}"


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
        return {night.person: f"{night.dataset}/{night.family or night.subject}" for night in self.nights}

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(sorted({night.dataset for night in self.nights}))

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
        hours = sum(night.n_epochs for night in self.nights) * self.spec.epoch_s / 3600
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
    if storage.is_local and Path(storage.address).exists() and any(Path(storage.address).iterdir()):
        raise HypnographError(f"{address} has files but is no store of prepared nights; give an empty or new folder")
    place = storage.zarr(read_only=False)
    import zarr

    zarr.create_group(place, attributes=_header(storage, spec))
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
    files = sorted(filesystem.glob(f"{place}/*/*/zarr.json"))
    groups = [json.loads(filesystem.cat_file(file)) for file in files]
    return [group["attributes"] for group in groups if "sha256" in group.get("attributes", {})]


# One night ------------------------------------------------------------------------------------------------------------


def night_path(dataset: str, night: str) -> str:
    """Return the path of a night's group."""
    return f"nights/{_as_file_name(dataset)}/{_as_file_name(night)}"


def _signal_path(kind: ChannelKind, name: str) -> str:
    return f"signals/{kind}/{_as_file_name(name)}"


def _as_file_name(name: str) -> str:
    # No two names share a file; "." and "/" would have a meaning of their own, "%" one in web addresses.
    return re.sub(r"[^A-Za-z0-9 _+-]", lambda match: "".join(f"~{byte:02X}" for byte in match[0].encode()), name)


def find_night(store: Store, dataset: str, night: str) -> Entry | None:
    """Return the attributes of a night that is complete, whether the catalogue has it or not."""
    group = _json(store.storage, f"{night_path(dataset, night)}/zarr.json")
    attributes: Entry = {} if group is None else group.get("attributes", {})
    return attributes or None


def as_stored(epochs: NDArray[np.floating[Any]], dtype: SampleType) -> NDArray[np.floating[Any]]:
    """Return samples in the type of a store, clipped to its finite range."""
    largest = float(np.finfo(dtype).max)
    # To look is much quicker than to clip, and few signals need it.
    if epochs.size and max(epochs.max(), -epochs.min()) > largest:
        epochs = np.clip(epochs, -largest, largest)
    # A network takes float32; from there a processor makes float16, from float64 it does not.
    epochs = epochs.astype(np.float32, copy=False)
    return np.asarray(epochs.astype(dtype, copy=False))


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
    for (kind, name), epochs in stored.items():
        _write_array(place, f"{path}/{_signal_path(kind, name)}", epochs, storage)
    zarr.create_array(place, name=f"{path}/stages", data=stages, chunks=stages.shape)
    complete = entry | {
        "n_epochs": stages.shape[1],
        "stages": [_to_runs(by_one) for by_one in stages],
        "sha256": _sha256(stored, stages),
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
    array[:] = epochs


def copy_night(night: PreparedNight, folder: str | Path) -> PreparedNight:
    """Return a copy of the night on this computer, made if it is not there yet.

    Copies are kept by the hash of their content: a night that was prepared again is another one.

    Parameters
    ----------
    night
        Of any store.
    folder
        The cache; may be shared by stores, threads and processes.

    Raises
    ------
    UnreadableFileError
        If what arrived is not what was prepared.
    """
    target = Path(folder, night.sha256)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=target.parent) as partial:
            copied = replace(night, storage=replace(night.storage, address=f"{partial}/night"))
            _fetch(night, Path(copied.storage.address))
            copied.verify()
            try:
                os.rename(copied.storage.address, target)
            except OSError:
                if not target.is_dir():  # else another thread was faster
                    raise
    return replace(night, storage=replace(night.storage, address=str(target)))


def _fetch(night: PreparedNight, target: Path) -> None:
    signals = [_signal_path(kind, name) for kind, names in night.derivations.items() for name in names]
    files = ["zarr.json", *(f"{array}/{file}" for array in (*signals, "stages") for file in ("zarr.json", "c/0/0"))]
    filesystem, root = night.storage.remote(night.path)
    for file in files:
        place = target / night.path / file
        place.parent.mkdir(parents=True, exist_ok=True)
        if night.storage.is_local:
            shutil.copyfile(f"{root}/{file}", place)
        else:
            filesystem.get_file(f"{root}/{file}", str(place))


@lru_cache(maxsize=1 << 17)
def _lies_in_order(storage: Storage, path: str, shape: tuple[int, int]) -> bool:
    """Tell whether a file holds its epochs one after the other and uncompressed, as its index (at its end) says.

    The index is compared with the one such a file has; anything else is left to zarr.
    """
    n_chunks = math.ceil(shape[0] / storage.chunk_epochs)
    chunk_bytes = storage.chunk_epochs * shape[1] * np.dtype(storage.dtype).itemsize
    index = np.full((n_chunks, 2), chunk_bytes, dtype="<u8")
    index[:, 0] = chunk_bytes * np.arange(n_chunks)
    tail = storage.read_bytes(path, n_chunks * chunk_bytes)
    checksum_bytes = 4
    return tail[:-checksum_bytes] == index.tobytes()


def _through_zarr(
    storage: Storage, path: str, shape: tuple[int, int], first: int, past_last: int
) -> NDArray[np.floating[Any]]:
    try:
        return np.asarray(_array(storage, path, shape, os.getpid())[first:past_last])
    except (ValueError, RuntimeError, IndexError) as error:
        raise UnreadableFileError(f"{storage.address}/{path} is damaged ({error}); prepare the night again") from error


@lru_cache(maxsize=1 << 10)
def _array(storage: Storage, path: str, shape: tuple[int, int], process: int) -> Any:
    """Open an array; one that was written again is another, and zarr's thread does not follow into a forked process."""
    import zarr

    return zarr.open_array(storage.zarr(), path=path, mode="r")


def _sha256(signals: Mapping[tuple[ChannelKind, str], NDArray[Any]], stages: NDArray[np.int8]) -> str:
    digest = hashlib.sha256()
    for (kind, name), epochs in sorted(signals.items()):
        digest.update(f"{kind}/{name} {epochs.dtype.name} {epochs.shape}\n".encode())
        digest.update(np.ascontiguousarray(epochs.astype(epochs.dtype.newbyteorder("<"), copy=False)).data)
    digest.update(f"stages {stages.shape}\n".encode())
    digest.update(np.ascontiguousarray(stages).data)
    return digest.hexdigest()


def _to_runs(stages: NDArray[np.int8]) -> str:
    """Return stages as text: ``"12xW 3xN1 40xN2"``."""
    return " ".join(f"{len(list(run))}x{Stage(stage).name}" for stage, run in groupby(stages.tolist()))


def _from_runs(text: str) -> NDArray[np.int8]:
    runs = [run.split("x") for run in text.split()]
    return np.repeat([Stage[name] for _, name in runs], [int(count) for count, _ in runs]).astype(np.int8)
