"""Memory that a step of a training frees is kept for the next: to be given it anew costs more than to compute with it.

Every step needs the same large pieces. By default glibc's malloc gives them back to the operating system, which clears
each page before it gives it again.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of malloc.h: parameters of mallopt, and what glibc itself makes of them once large pieces have been freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep freed memory until the block ends, then give it back.

    Yields whether that is possible: with glibc, thus on most Linux systems.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    possible = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
    if possible:
        _set(library, _KEPT)
    try:
        yield possible
    finally:
        if possible:
            _set(library, _USUAL)
            library.malloc_trim(0)  # type: ignore[union-attr]


def _set(library: ctypes.CDLL | None, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)  # type: ignore[union-attr]
