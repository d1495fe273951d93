"""Small EDF files made by hand, so that each field can be what the standard forbids."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Made(NamedTuple):
    """A signal to write: `digital` has shape (n_records, n_samples)."""

    label: bytes
    digital: np.ndarray
    unit: bytes = b"uV"
    physical: tuple[str, str] = ("-3276.8", "3276.7")
    ranges: tuple[str, str] = ("-32768", "32767")


def times(onsets: Sequence[float | None], texts: dict[int, str] | None = None, n_bytes: int = 120) -> Made:
    """An annotation signal: a time stamp for each record (None: none), texts in some of them."""
    rows = []
    for record, onset in enumerate(onsets):
        stamp = b"" if onset is None else f"{onset:+.10g}\x14\x14\x00".encode()
        rows.append((stamp + (texts or {}).get(record, "").encode()).ljust(n_bytes, b"\0")[:n_bytes])
    return Made(b"EDF Annotations", np.frombuffer(b"".join(rows), "<i2").reshape(len(rows), -1), b"", ("-1", "1"))


def edf_bytes(
    signals: Sequence[Made],
    *,
    variant: str = "",
    record_s: str = "1",
    n_records: str | None = None,
    date: str = "21.11.26",
    time: str = "22.30.00",
    n_signals: str | None = None,
    bdf: bool = False,
) -> bytes:
    """An EDF file; with `bdf` a BDF file, of 24-bit samples."""
    columns = (
        [signal.label.ljust(16) for signal in signals],
        [b"".ljust(80)] * len(signals),
        [signal.unit.ljust(8) for signal in signals],
        *([signal.physical[i].encode().ljust(8) for signal in signals] for i in (0, 1)),
        *([signal.ranges[i].encode().ljust(8) for signal in signals] for i in (0, 1)),
        [b"".ljust(80)] * len(signals),
        [str(signal.digital.shape[1]).encode().ljust(8) for signal in signals],
        [b"".ljust(32)] * len(signals),
    )
    total = len(signals[0].digital)
    main = [
        (b"\xffBIOSEMI" if bdf else b"0").ljust(8),
        b"SECRET NAME".ljust(80),
        b"Startdate 21-NOV-2026 X X X".ljust(80),
        date.encode().ljust(8),
        time.encode().ljust(8),
        str(256 * (len(signals) + 1)).encode().ljust(8),
        variant.encode().ljust(44),
        (str(total) if n_records is None else n_records).encode().ljust(8),
        record_s.encode().ljust(8),
        (str(len(signals)) if n_signals is None else n_signals).encode().ljust(4),
    ]
    header = b"".join(main) + b"".join(b"".join(column) for column in columns)
    records = b"".join(_integers(signal, record, bdf) for record in range(total) for signal in signals)
    return header + records


def _integers(signal: Made, record: int, bdf: bool) -> bytes:
    if not bdf:
        return signal.digital[record].astype("<i2").tobytes()
    return signal.digital[record].astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def noise(
    label: bytes = b"EEG C3-A2", *, n_records: int = 10, n_samples: int = 100, seed: int = 1, **fields: object
) -> Made:
    """A signal of uniformly distributed integers."""
    digital = np.random.default_rng(seed).integers(-2000, 2000, (n_records, n_samples))
    return Made(label, digital, **fields)  # type: ignore[arg-type]
