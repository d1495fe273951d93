"""A night of a store, read one window at a time from wherever it is, and copied to where that is quick.

The chunks of an uncompressed file lie in order, so epochs are read as one range of bytes, from a folder and from an
object store alike. Files are opened for each read, not kept mapped: a map holds a file descriptor in Python 3.11, and a
store has more files than a process may have descriptors.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import time
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.preprocess import InputSpec
from hypnograph.stages import Stage
from hypnograph.training.storage import Entry, SampleType, Storage, index_in_order, night_path, signal_path


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
        """``"dataset/subject"``: what splits are made of; see `Night.person`."""
        return f"{self.entry.get('people') or self.dataset}/{self.subject}"

    @property
    def kin(self) -> str:
        """The family of `person`, or the person alone."""
        return f"{self.entry.get('people') or self.dataset}/{self.family or self.subject}"

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
    def is_simulated(self) -> bool:
        """Whether nobody slept this night."""
        return bool(self.entry.get("simulated"))

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
    def epoch_s(self) -> float:
        """From the begin of an epoch to that of the next; less than ``spec.epoch_s`` where windows overlap."""
        return float(self.entry.get("epoch_s", self.spec.epoch_s))

    @property
    def overlaps(self) -> bool:
        """Whether the windows of its epochs overlap."""
        return self.epoch_s < self.spec.epoch_s

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
        stages = np.array([from_runs(runs) for runs in self.entry["stages"]], dtype=np.int8)
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
        return Hypnogram(self.stages[place], self.epoch_s, scorer=self.scorers[place])

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
        if content_sha256(signals, self.stages) != self.sha256:
            raise UnreadableFileError(f"{self.key} is damaged: its samples are not those that were prepared")

    def _stored(self, kind: ChannelKind, name: str, first: int, past_last: int) -> NDArray[np.floating[Any]]:
        storage, shape = self.storage, (self.n_epochs, self.spec.epoch_samples)
        path = f"{self.path}/{signal_path(kind, name)}"
        if storage.compress or not _lies_in_order(storage, f"{path}/c/0/0", shape):
            return _through_zarr(storage, path, shape, first, past_last)
        dtype = np.dtype(storage.dtype).newbyteorder("<")
        row = shape[1] * dtype.itemsize
        content = storage.read_bytes(f"{path}/c/0/0", first * row, past_last * row)
        return np.frombuffer(content, dtype).reshape(-1, shape[1])

    def __repr__(self) -> str:
        names = "; ".join(f"{kind} {', '.join(names)}" for kind, names in self.derivations.items())
        return f"PreparedNight {self.key}: {self.n_epochs} epochs, {names}"


@lru_cache(maxsize=1 << 17)
def _lies_in_order(storage: Storage, path: str, shape: tuple[int, int]) -> bool:
    """Tell whether a file holds its epochs one after the other and uncompressed, as its index (at its end) says.

    The index is compared with the one such a file has; anything else is left to zarr.
    """
    index, checksum_bytes = index_in_order(storage, shape), 4
    whole_chunks = math.ceil(shape[0] / storage.chunk_epochs) * storage.chunk_epochs
    tail = storage.read_bytes(path, whole_chunks * shape[1] * np.dtype(storage.dtype).itemsize)
    return tail[:-checksum_bytes] == index


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
    signals = [signal_path(kind, name) for kind, names in night.derivations.items() for name in names]
    # The stages are read from the night's attributes.
    files = ["zarr.json", *(f"{signal}/{file}" for signal in signals for file in ("zarr.json", "c/0/0"))]
    filesystem, root = night.storage.remote(night.path)
    for file in files:
        place = target / night.path / file
        place.parent.mkdir(parents=True, exist_ok=True)
        if night.storage.is_local:
            shutil.copyfile(f"{root}/{file}", place)
        else:
            filesystem.get_file(f"{root}/{file}", str(place))


def content_sha256(signals: Mapping[tuple[ChannelKind, str], NDArray[Any]], stages: NDArray[np.int8]) -> str:
    """Return the hash of a night: of its samples as they are stored, and of its stages."""
    digest = hashlib.sha256()
    for (kind, name), epochs in sorted(signals.items()):
        digest.update(f"{kind}/{name} {epochs.dtype.name} {epochs.shape}\n".encode())
        digest.update(np.ascontiguousarray(epochs.astype(epochs.dtype.newbyteorder("<"), copy=False)).data)
    digest.update(f"stages {stages.shape}\n".encode())
    digest.update(np.ascontiguousarray(stages).data)
    return digest.hexdigest()


def nights_sha256(nights: Iterable[PreparedNight]) -> str:
    """Return a hash of some nights: of their names and of what is in them, in any order."""
    return hashlib.sha256("\n".join(sorted(f"{night.key} {night.sha256}" for night in nights)).encode()).hexdigest()


def to_runs(stages: NDArray[np.int8]) -> str:
    """Return stages as text: ``"12xW 3xN1 40xN2"``."""
    return " ".join(f"{len(list(run))}x{Stage(stage).name}" for stage, run in groupby(stages.tolist()))


def from_runs(text: str) -> NDArray[np.int8]:
    """Return the stages of such a text."""
    runs = [run.split("x") for run in text.split()]
    return np.repeat([Stage[name] for _, name in runs], [int(count) for count, _ in runs]).astype(np.int8)
