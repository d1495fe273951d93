"""EDF+ and BDF+ annotations: Sleep-EDF, HMC, MASS, Nihon Kohden; scoring-only files and recordings with their scoring.

The annotations of every data record are read, straight from the bytes: no library that reads signals is imported.
Format: EDF+ (Kemp and Olivan 2003, doi 10.1016/s1388-2457(03)00123-8).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import number
from hypnograph.recording import lights_among
from hypnograph.scored_events import ScoredEvent, hypnogram_of_events
from hypnograph.stages import Stage, try_stage_from_name

if TYPE_CHECKING:
    from edfio import Recording

NAME = "EDF+ annotations"
SUFFIXES = (".edf", ".bdf", ".rec")

_MAX_ANNOTATION_BYTES = 64 * 2**20
_MAX_ANNOTATIONS = 1_000_000
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# Texts that say that they are a stage, whether or not it is a known one.
_STANDARD = re.compile(r"(?i)^\s*sleep[ _-]*stage\b")
_CLAIM = re.compile(r"(?i)^\s*(?:stage|stade|schlafstadium)[ :_-]+\S{1,2}$")
_TIME = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?)?)?")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the first bytes are the version field of EDF or BDF."""
    return head[:8] in (b"0       ", b"\xffBIOSEMI") and len(head) >= 256


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the stages among the annotations.

    Texts that begin with "Sleep stage" are the scoring. Where there are none, texts that are a stage's name and nothing
    else ("N2", "Stage 2", "REM") are. Other texts are events and passed over; "Lights off" and "Lights on" are kept.
    """
    header = _read_header(path)
    first_s, annotations = _annotations(path, header)
    start = recording_start if header.start is None else header.start + timedelta(seconds=first_s)
    events = _stages_among(annotations, stage_map)
    if not events:
        raise UnreadableFileError(
            f"no sleep stages among its {len(annotations)} annotations; "
            f"where they have names of their own, say which with --stage-map 'NAME=STAGE'"
        )
    lights_off_s, lights_on_s = lights_among((a.onset_s, a.name) for a in annotations)
    return hypnogram_of_events(
        events,
        stage_map=stage_map,
        start=start,
        lights_off_s=lights_off_s,
        lights_on_s=lights_on_s,
        scorer=header.scorer,
    )


def _stages_among(annotations: list[ScoredEvent], stage_map: Mapping[str, Stage] | None) -> list[ScoredEvent]:
    stages = {text: try_stage_from_name(text, stage_map) for text in {a.name for a in annotations}}
    added = {text for text, stage in stages.items() if stage != try_stage_from_name(text)}
    standard = {text for text in stages if _STANDARD.match(text)}
    # An artefact or a movement among other events is not an epoch.
    plain = {text for text, stage in stages.items() if stage not in (None, Stage.UNSCORED)} - standard
    if standard:
        # "Wake" beside "Sleep stage 1" is a stage; "R" beside "Sleep stage R" is an event.
        said = {stages[text] for text in standard}
        words = {text for text in plain if len(text.strip()) > 2 and stages[text] not in said}
        chosen = standard | words | {text for text in stages if text.strip().lower() == "movement time"}
    else:
        claims = {text for text in stages if _CLAIM.match(text)}
        chosen = set() if all(text.strip().isdigit() for text in plain) else plain | claims  # bare digits are markers
    return [a for a in annotations if a.name in chosen | added]


@dataclass(frozen=True)
class _Header:
    start: datetime | None
    scorer: str
    n_records: int
    record_bytes: int
    offset: int
    annotation_slices: tuple[slice, ...]


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        fixed = file.read(256)
        n_signals = _integer(fixed[252:256], "the number of signals")
        if not 1 <= n_signals <= 9999:
            raise UnreadableFileError(f"its header promises {n_signals} signals; there can be 1 to 9999")
        each = file.read(256 * n_signals)
    if len(each) < 256 * n_signals:
        raise UnreadableFileError("the file ends within its header")
    width = 3 if fixed[0] == 0xFF else 2
    sizes = [_integer(each[216 * n_signals + 8 * i :][:8], "the samples of a signal") * width for i in range(n_signals)]
    if min(sizes) < 0 or not sum(sizes):
        raise UnreadableFileError("its header promises data records without samples")
    offset = 256 * (n_signals + 1)
    in_file = (path.stat().st_size - offset) // sum(sizes)
    promised = _integer(fixed[236:244], "the number of data records")
    if promised > in_file or in_file == 0:
        raise UnreadableFileError(
            f"its header promises {promised} data records and the file holds {in_file}: it was cut short"
        )
    ends = np.cumsum(sizes)
    slices = tuple(
        slice(int(ends[i]) - sizes[i], int(ends[i]))
        for i in range(n_signals)
        if each[16 * i : 16 * i + 16].strip() in (b"EDF Annotations", b"BDF Annotations")
    )
    if not slices:
        raise UnreadableFileError("a recording without annotations: no sleep stages are in it")
    n_records = in_file if promised < 0 else promised
    identification = fixed[88:168].decode("latin-1").split()
    return _Header(_start(fixed, identification), _scorer(identification), n_records, sum(sizes), offset, slices)


def _integer(field: bytes, what: str) -> int:
    if not re.fullmatch(rb"\s*-?\d{1,8}\s*", field.replace(b"\0", b" ")):
        raise UnreadableFileError(f"its header gives {what} as {field.decode('latin-1')!r}, not a whole number")
    return int(field.replace(b"\0", b" "))


def _start(fixed: bytes, identification: list[str]) -> datetime | None:
    """Return when the recording began; a date that is left out (X) is 1985-01-01, None where the time is 0 as well."""
    clock = [int(n) for n in re.findall(rb"\d\d", fixed[168:184])]
    if len(clock) != 6:
        return None
    day, month, short_year, hour, minute, second = clock
    year = short_year + (1900 if short_year >= 85 else 2000)
    dated = len(identification) > 1 and identification[0] == "Startdate"
    if dated and identification[1] == "X" and (day, month, year) == (1, 1, 1985) and not any(clock[3:]):
        return None
    # The long date has four digits for the year.
    long = re.fullmatch(r"(\d\d)-([A-Z]{3})-(\d{4})", identification[1].upper()) if dated else None
    if long and long[2] in _MONTHS:
        day, month, year = int(long[1]), _MONTHS.index(long[2]) + 1, int(long[3])
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def _scorer(identification: list[str]) -> str:
    code = identification[3] if len(identification) > 3 and identification[0] == "Startdate" else "X"
    return "" if code == "X" else code


def _annotations(path: Path, header: _Header) -> tuple[float, list[ScoredEvent]]:
    """Return by how many seconds the recording begins after its header's start, and the annotations since then."""
    if header.n_records * sum(s.stop - s.start for s in header.annotation_slices) > _MAX_ANNOTATION_BYTES:
        raise UnreadableFileError(f"its annotations are larger than {_MAX_ANNOTATION_BYTES >> 20} MiB")
    shape = (header.n_records, header.record_bytes)
    records = np.memmap(path, dtype=np.uint8, mode="r", offset=header.offset, shape=shape)
    if (
        sum(int(np.count_nonzero(records[:, s] == ord("\x14"))) for s in header.annotation_slices)
        > 2 * _MAX_ANNOTATIONS
    ):
        raise UnreadableFileError(f"more than {_MAX_ANNOTATIONS} annotations are too many for a scoring")
    tals = [
        _parse(tal)
        for columns in header.annotation_slices
        for record in np.ascontiguousarray(records[:, columns])
        for tal in record.tobytes().split(b"\0")
        if tal
    ]
    # The first onset is that of the first data record: a fraction of a second.
    first_s = tals[0][0] if tals and 0 <= tals[0][0] < 1 else 0.0
    return first_s, [
        ScoredEvent(round(onset_s - first_s, 6), duration_s, text)
        for onset_s, duration_s, texts in tals
        for text in texts
        if text
    ]


def _parse(tal: bytes) -> tuple[float, float | None, list[str]]:
    times, *texts = tal.split(b"\x14")
    match = _TIME.fullmatch(times)
    if match is None or not texts:
        raise UnreadableFileError(f"a damaged annotation: {tal[:12]!r}")
    duration_s = None if match[2] is None else number(match[2].decode(), "a duration")
    return number(match[1].decode(), "an onset"), duration_s, [_text(text) for text in texts]


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.partition("@@")[0].strip()  # what follows @@ is the signal that was scored


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write an EDF+ file that holds nothing but annotations, one for each epoch, and no patient field.

    The texts are the standard ones of EDF+ for AASM scoring, as HMC and Nihon Kohden write them: "Sleep stage W", "N1",
    "N2", "N3", "R" and "?". Those of Sleep-EDF, "1" to "4", mean R&K stages: a reader would take our N3 for S3.

    Lost: the hypnodensity; the date of a start before 1985 or after 2084 (the clock time stays); of the scorer what is
    not ASCII, and blanks.
    """
    from edfio import Edf, EdfAnnotation

    start = hypnogram.start
    annotations = [
        EdfAnnotation(i * hypnogram.epoch_s, hypnogram.epoch_s, f"Sleep stage {_WRITTEN.get(name, name)}")
        for i, name in enumerate(hypnogram.names)
    ]
    for seconds, text in ((hypnogram.lights_off_s, "Lights off"), (hypnogram.lights_on_s, "Lights on")):
        annotations += [] if seconds is None else [EdfAnnotation(seconds, None, text)]
    edf = Edf(
        [],
        recording=_identification(hypnogram),
        starttime=None if start is None else start.time(),
        annotations=annotations,
    )
    edf.write(path)


_WRITTEN = {"REM": "R", "UNSCORED": "?"}


def _identification(hypnogram: Hypnogram) -> "Recording":
    from edfio import Recording

    start = hypnogram.start
    scorer = "_".join(hypnogram.scorer.encode("ascii", "ignore").decode().split())[:40] or "X"
    scorer = "".join(c for c in scorer if c.isprintable()) or "X"
    dated = start is not None and 1985 <= start.year <= 2084
    return Recording(startdate=start.date() if start and dated else None, investigator_technician_code=scorer)
