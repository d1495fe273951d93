"""Plain text: one stage a line. U-Sleep's .hyp, ISRUC's expert files, ucddb, and what people type.

Lines are names ("W", "N2", "REM", "?") or, in all lines, integers; lines that begin with # are comments. Integers are
read by the rule of `stages_from_codes`: 0 W, 1 N1, 2 N2, 3 N3, 4 REM; but where a 5 occurs, as in ISRUC's files,
0 W, 1 N1, 2 N2, 3 and 4 N3, 5 REM; −1, −2 and 6 to 9 are unscored.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import decode, read_lines
from hypnograph.scored_events import hypnogram_of_list
from hypnograph.stages import Stage, try_stage_from_name

NAME = "text, one stage a line"
SUFFIXES = (".txt", ".hyp")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the lines are short and the first is a stage, or the file's ending says so."""
    text = decode(head)
    lines = [line.strip() for line in text.splitlines()[:100] if line.strip() and not line.lstrip().startswith("#")]
    if not lines or not all(c.isprintable() or c in "\r\n" for c in text) or any(c in "".join(lines) for c in ",;<{["):
        return False
    is_stage = try_stage_from_name(lines[0]) is not None or lines[0].lstrip("+-").isdecimal()
    return max(map(len, lines)) <= 40 and (is_stage or path.suffix.lower() in SUFFIXES)


def lacks_epoch_s(path: Path) -> bool:
    """No file of this format says how long an epoch is."""
    return True


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read one epoch of 30 s from each line; the first begins with the recording."""
    names = [line.strip() for line in read_lines(path) if not line.lstrip().startswith("#")]
    return hypnogram_of_list(names, stage_map, recording_start)


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write the name of each epoch's stage on a line of its own.

    Lost: the time grid (a reader takes epochs for 30 s), start, scorer, lights and hypnodensity.
    """
    path.write_text("\n".join([*hypnogram.names, ""]), encoding="utf-8")
