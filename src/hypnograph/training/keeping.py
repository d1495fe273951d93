"""Five ways of keeping prepared nights at hand while a network is trained; the samples are the same in all of them.

==========  ==========================================================================================
memory      every night is read once and stays (as stored: float16 takes half)
lazy        a derivation of a night is read whole when a window of it is wanted, and forgotten
pool        so is it here, but the nights used last stay, up to a limit; the sampler draws from as many at a time
stream      only the epochs of a window are read, from wherever the store is
cache       a night is copied to a folder of this computer when it is first wanted, then streamed from there
==========  ==========================================================================================
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind
from hypnograph.training.prepared_night import PreparedNight, copy_night

Keeping = Literal["memory", "lazy", "pool", "stream", "cache"]
Floats = NDArray[np.float32]
_Signals = dict[tuple[ChannelKind, str], NDArray[Any]]


class Keeper(Protocol):
    """Gives epochs of nights."""

    def read(self, night: int, kind: ChannelKind, name: str, first: int, past_last: int, *, out: Floats) -> None:
        """Read epochs of a derivation into `out`, shape (past_last − first, sample)."""
        ...


def create_keeper(
    keeping: Keeping, nights: Sequence[PreparedNight], *, limit: int = 40, folder: str | Path | None = None
) -> Keeper:
    """Create what gives the epochs of nights.

    Parameters
    ----------
    keeping
        One of the five ways above.
    nights
        Of a store.
    limit
        Nights that ``"pool"`` keeps.
    folder
        Of ``"cache"``.

    Raises
    ------
    HypnographError
        If there is no such way, or ``"cache"`` has no folder.
    """
    if keeping not in get_args(Keeping):
        raise HypnographError(f"no way {keeping!r} of keeping nights. There are: {', '.join(get_args(Keeping))}")
    if keeping == "stream":
        return Stream(nights)
    if keeping == "cache":
        if folder is None:
            raise HypnographError("keeping nights in a cache needs a folder for it")
        return Stream(nights, lambda night: copy_night(night, folder))
    keeper = Whole(nights, limit={"memory": len(nights), "lazy": 0, "pool": limit}[keeping])
    if keeping == "memory":
        for index, night in enumerate(nights):
            for kind, names in night.derivations.items():
                for name in names:
                    keeper.load(index, kind, name)
    return keeper


class Stream:
    """Reads what is wanted and no more; `prepare` makes a night ready when it is first wanted."""

    def __init__(
        self, nights: Sequence[PreparedNight], prepare: Callable[[PreparedNight], PreparedNight] | None = None
    ) -> None:
        self.nights = nights
        self._prepare = prepare
        self._ready: dict[int, PreparedNight] = {}
        self._locks = [Lock() for _ in nights]

    def read(self, night: int, kind: ChannelKind, name: str, first: int, past_last: int, *, out: Floats) -> None:
        """See `Keeper.read`."""
        self._night(night).read(kind, name, first, past_last, out=out)

    def _night(self, index: int) -> PreparedNight:
        if self._prepare is None:
            return self.nights[index]
        with self._locks[index]:
            if index not in self._ready:
                self._ready[index] = self._prepare(self.nights[index])
            return self._ready[index]


class Whole:
    """Reads whole derivations and keeps those of the nights used last, up to a limit of nights."""

    def __init__(self, nights: Sequence[PreparedNight], limit: int) -> None:
        self.nights = nights
        self.limit = limit
        self._kept: OrderedDict[int, _Signals] = OrderedDict()
        self._lock = Lock()
        self._locks = [Lock() for _ in nights]

    def read(self, night: int, kind: ChannelKind, name: str, first: int, past_last: int, *, out: Floats) -> None:
        """See `Keeper.read`."""
        out[...] = self.load(night, kind, name)[first:past_last]

    def load(self, index: int, kind: ChannelKind, name: str) -> NDArray[Any]:
        """Return a derivation of a night, read if it is not here; threads that want the same wait for one of them."""
        with self._locks[index]:
            signals = self._of_night(index)
            if (kind, name) not in signals:
                night = self.nights[index]
                signals[kind, name] = night.read(kind, name).astype(night.dtype)
            return signals[kind, name]

    def _of_night(self, index: int) -> _Signals:
        """Return what is kept of a night, which is now the one used last; those beyond the limit go."""
        with self._lock:
            signals = self._kept.setdefault(index, {})
            self._kept.move_to_end(index)
            while len(self._kept) > self.limit:
                self._kept.popitem(last=False)
            return signals
