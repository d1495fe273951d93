"""Mutated recordings and scorings: each must end in a result or a clean error, in 10 s and 1 GiB.

    python benchmarks/fuzz.py --count 2000 --seed 1

Small files of each format are made, then damaged: flipped bits, cut ends, holes, repeated blocks, and numbers that lie
(absurd counts, NaN, huge, negative, zero). A recording is read with all samples of all signals. A clean error is a
`HypnographError` or an `OSError`; anything else, a death or a hang is a violation: it is printed with its number, which
`--only NUMBER` repeats, and the exit code is 1. Workers die and are replaced; the file of each mutation depends on the
seed and its number alone.
"""

import argparse
import io
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import numpy as np

LIMIT_S = 10
LIMIT_BYTES = 1 << 30
LIES = (
    b"-1",
    b"0",
    b"1",
    b"99999999",
    b"-9999999",
    b"1e300",
    b"-1e300",
    b"nan",
    b"inf",
    b"1e-300",
    b"2147483648",
    b"0.1",
    b"",
)


class Base(NamedTuple):
    """A whole file to damage, who reads it, and the files that it needs `beside` it."""

    name: str
    content: bytes
    read: Callable[[Path], object]
    beside: tuple[tuple[str, bytes], ...] = ()


class TimeIsUp(BaseException):
    """Not an Exception: no reader may swallow it."""


# ── readers ──


def read_samples(path: Path) -> None:
    """Read a recording with all its samples, in parts that fit the memory."""
    from hypnograph.signal_files import read_recording

    for one in read_recording(path).signals:
        for first in range(0, one.n_samples, 1_000_000):
            one.read_samples(first, min(one.n_samples, first + 1_000_000))


def read_scoring(path: Path) -> None:
    from hypnograph.hypnogram_files import read_hypnogram

    read_hypnogram(path)


def stage_and_write(path: Path) -> None:
    """Stage a recording as the command line does; a failure must leave no file."""
    from hypnograph.batch import write_outputs
    from hypnograph.signal_files import read_recording
    from hypnograph.stagers import create_stager

    folder = path.parent / f"{path.name}-out"
    shutil.rmtree(folder, ignore_errors=True)
    outputs = {to: folder / f"night.{to}" for to in ("csv", "html", "edf")}
    try:
        recording = read_recording(path)
        write_outputs(create_stager().stage(recording), recording, outputs, title=path.stem)
    except BaseException:
        if folder.exists() and list(folder.iterdir()):
            raise RuntimeError(f"left behind: {[left.name for left in folder.iterdir()]}") from None
        raise


# ── whole files ──


def edf(variant: str, bdf: bool = False, annotations_only: bool = False, n_records: int = 60) -> bytes:
    rng = np.random.default_rng(0)
    width = 3 if bdf else 2
    signals = [] if annotations_only else [("EEG C3-A2", 100), ("EOG E1-M2", 50), ("SpO2", 1)]
    n_text = 3000 if annotations_only else 60
    columns = [(label, "uV", "-3276.8", "3276.7", "-32768", "32767", n) for label, n in signals]
    if variant:
        columns.append(("BDF Annotations" if bdf else "EDF Annotations", "", "-1", "1", "-32768", "32767", n_text))
        n_records = 1 if annotations_only else n_records
    header = [("\xffBIOSEMI" if bdf else "0", 8), ("X X X X", 80), ("Startdate 21-NOV-2026 X X X", 80), ("21.11.26", 8),
              ("22.30.00", 8), (str(256 * (len(columns) + 1)), 8), (variant, 44), (str(n_records), 8),
              ("0" if annotations_only else "1", 8), (str(len(columns)), 4)]  # fmt: skip
    for width_of, index in (
        (16, 0),
        (80, None),
        (8, 1),
        (8, 2),
        (8, 3),
        (8, 4),
        (8, 5),
        (80, None),
        (8, 6),
        (32, None),
    ):
        header += [("" if index is None else str(column[index]), width_of) for column in columns]
    parts = [text.encode("latin-1").ljust(size) for text, size in header]
    for record in range(n_records):
        for _, n in signals:
            integers = rng.integers(-2000, 2000, n).astype("<i4").view(np.uint8).reshape(n, 4)[:, :width]
            parts.append(integers.tobytes())
        if variant:
            onset = record + (300 if variant.endswith("D") and record > 30 else 0)
            parts.append(_texts(onset, annotations_only).ljust(n_text * width, b"\0")[: n_text * width])
    return b"".join(parts)


def _texts(onset: int, all_stages: bool) -> bytes:
    stages = range(0, 3600, 30) if all_stages else [onset] * (onset % 30 == 0)
    lists = [f"+{s}\x1530\x14Sleep stage {'W123R'[s // 30 % 5]}\x14\0" for s in stages]
    return (f"+{onset}\x14\x14\0" + "".join(lists)).encode()


def hdf5() -> bytes:
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["sample_rate"] = 100
        for i, label in enumerate(("C3-M2", "E1-M2")):
            samples = np.random.default_rng(i).normal(0, 20, 6000).astype("f4")
            array = file.create_dataset(f"channels/{label}", data=samples, compression="gzip" if i else None)
            array.attrs["channel_index"] = i
    return memory.getvalue()


def npz(compressed: bool) -> bytes:
    memory = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    x = np.random.default_rng(0).normal(0, 20, (4, 3000)).astype("f4")
    save(memory, x=x, y=np.arange(4), fs=np.float64(100), ch_label=np.array("EEG Fpz-Cz"))
    return memory.getvalue()


NIGHT = ["W", "W", "N1", "N2", "N2", "N3", "N3", "N2", "REM", "REM"] * 12
CODES = {"W": 0, "N1": 1, "N2": 2, "N3": 3, "REM": 5}
CAP_NAMES = {"W": "W", "N1": "S1", "N2": "S2", "N3": "S3", "REM": "R"}


def nsrr_xml() -> str:
    concepts = {"W": "Wake", "N1": "Stage 1 sleep", "N2": "Stage 2 sleep", "N3": "Stage 3 sleep", "REM": "REM sleep"}
    events = [
        f"<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>{concepts[name]}|{CODES[name]}</EventConcept>"
        f"<Start>{30 * i}.0</Start><Duration>30.0</Duration></ScoredEvent>"
        for i, name in enumerate(NIGHT)
    ]
    first = "<PSGAnnotation><SoftwareVersion>Compumedics</SoftwareVersion><EpochLength>30</EpochLength><ScoredEvents>"
    return "\n".join([first, *events, "</ScoredEvents></PSGAnnotation>"])


def profusion_xml() -> str:
    stages = "\n".join(f"<SleepStage>{CODES[name]}</SleepStage>" for name in NIGHT)
    first = "<CMPStudyConfig><EpochLength>30</EpochLength><ScoredEvents/><SleepStages>"
    return f"{first}\n{stages}\n</SleepStages></CMPStudyConfig>"


def cap_text() -> str:
    rows = ["Sleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration[s]\tLocation"]
    for i, name in enumerate(NIGHT):
        clock = f"{22 + i // 120:02d}:{i // 2 % 60:02d}:{i % 2 * 30:02d}"
        rows.append(f"{CAP_NAMES[name]}\tUnknown Position\t{clock}\tSLEEP-{CAP_NAMES[name]}\t30\tROC-LOC")
    return "A header of the recording\n\n" + "\n".join(rows) + "\n"


def scorings() -> list[Base]:
    rows = [f"{30 * i},30,{name}" for i, name in enumerate(NIGHT)]
    texts = {
        "nsrr.xml": nsrr_xml(),
        "profusion.xml": profusion_xml(),
        "stages.txt": "\n".join(NIGHT) + "\n",
        "codes.txt": "\n".join(str(CODES[name] % 5 + CODES[name] // 5 * 4) for name in NIGHT) + "\n",
        "night.csv": "\n".join(["onset,duration,stage", *rows]) + "\n",
        "night_events.tsv": "\n".join(["onset,duration,trial_type", *rows]).replace(",", "\t") + "\n",
        "night.ids": "\n".join(rows) + "\n",
        "cap.txt": cap_text(),
    }
    return [
        *(Base(name, text.encode(), read_scoring) for name, text in texts.items()),
        Base("night-Hypnogram.edf", edf("EDF+C", annotations_only=True), read_scoring),
        Base("night-annotated.edf", edf("EDF+C"), read_scoring),
    ]


def recordings() -> list[Base]:
    first = b"night 2 100 3000 23:00:00 21/11/2026\n"
    header = first + b"night.dat 16 200(0)/mV 16 0 0 0 0 EEG\nnight.dat 16 200/uV 16 0 0 0 0 EOG\n"
    data = np.random.default_rng(0).integers(-500, 500, 6000).astype("<i2").tobytes()
    segments = b"night/3 2 100 9000\nseg 3000\n~ 3000\nseg 3000\n"
    one = header.replace(b"night 2", b"seg 2")
    return [
        Base("night.edf", edf(""), read_samples),
        Base("night+c.edf", edf("EDF+C"), read_samples),
        Base("night+d.edf", edf("EDF+D"), read_samples),
        Base("night.bdf", edf("BDF+C", bdf=True), read_samples),
        Base("nap.edf", edf("EDF+C", n_records=400), stage_and_write),
        Base("nap+d.edf", edf("EDF+D", n_records=400), stage_and_write),
        Base("night.h5", hdf5(), read_samples),
        Base("night.npz", npz(False), read_samples),
        Base("packed.npz", npz(True), read_samples),
        Base("night.hea", header, read_samples, (("night.dat", data),)),
        Base("segments.hea", segments, read_samples, (("seg.hea", one), ("night.dat", data))),
    ]


# ── damage ──


def flip_bits(content: bytearray, rng: np.random.Generator) -> None:
    # Headers are at the beginning: half of the damage is done there.
    reach = min(len(content), 1500) if rng.random() < 0.5 else len(content)
    for place in rng.integers(0, reach, rng.integers(1, 2 + min(18, len(content) // 200))):
        content[place] ^= 1 << int(rng.integers(0, 8))


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(0, len(content))) :]


def blank(content: bytearray, rng: np.random.Generator) -> None:
    place, size = int(rng.integers(0, len(content))), int(rng.integers(1, 600))
    content[place : place + size] = bytes([int(rng.choice([0, 32, 255, 57]))]) * len(content[place : place + size])


def repeat(content: bytearray, rng: np.random.Generator) -> None:
    place, size = int(rng.integers(0, len(content))), int(rng.integers(1, 2000))
    content[place:place] = content[place : place + size] * int(rng.integers(1, 20))


def lie(content: bytearray, rng: np.random.Generator) -> None:
    """Overwrite numbers with absurd ones; half of the time the length is kept, as fields of fixed width ask."""
    for _ in range(int(rng.integers(1, 4))):
        starts = [i for i in range(min(len(content), 4000)) if content[i : i + 1].isdigit()]
        if not starts:
            return
        place = int(rng.choice(starts))
        while place and content[place - 1 : place].isdigit():
            place -= 1
        end = place
        while content[end : end + 1].isdigit() or content[end : end + 1] in (b".", b"e"):
            end += 1
        new = LIES[int(rng.integers(0, len(LIES)))]
        while rng.random() < 0.5 and end - place < len(new) and content[end : end + 1] == b" ":
            end += 1
        content[place:end] = new.ljust(end - place)[: end - place] if rng.random() < 0.7 else new


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    flip_bits,
    cut,
    blank,
    repeat,
    lie,
    lie,
    flip_bits,
)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file; of a zip archive half of the time a member, whose checksum is then right again."""
    if content[:2] == b"PK" and rng.random() < 0.5:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = str(rng.choice(sorted(members)))
        members[name] = mutate(members[name], rng)
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            for member, inside in members.items():
                archive.writestr(member, inside)
        return memory.getvalue()
    damaged = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        if damaged:
            DAMAGES[int(rng.integers(0, len(DAMAGES)))](damaged, rng)
    return bytes(damaged)


# ── one mutation ──


def outcome(number: int, seed: int, bases: list[Base], folder: Path) -> str:
    """Make mutation `number`, read it, and return ``"read"``, ``"refused"`` or the name of what went wrong."""
    from hypnograph.errors import HypnographError

    base = bases[number % len(bases)]
    path = folder / base.name
    path.write_bytes(mutate(base.content, np.random.default_rng((seed, number))))
    for name, content in base.beside:
        (folder / name).write_bytes(content)
    signal.alarm(LIMIT_S)
    try:
        base.read(path)
    except (HypnographError, OSError):
        return "refused"
    except TimeIsUp:
        return f"more than {LIMIT_S} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    return "read"


def work(pipe: Connection, seed: int, bases: list[Base], folder: str) -> None:
    """Answer numbers with outcomes, under the limits of time and memory."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGALRM, stop)
    for base in bases:  # what is imported on the way belongs to the baseline
        path = Path(folder) / base.name
        for name, content in ((base.name, base.content), *base.beside):
            (Path(folder) / name).write_bytes(content)
        try:
            base.read(path)
        except Exception as error:
            pipe.send(f"{base.name}, undamaged, cannot be read: {error!r}")
            return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("ready")
    while True:
        pipe.send(outcome(pipe.recv(), seed, bases, Path(folder)))


class Worker:
    """A process that reads mutations, replaced when it dies or hangs."""

    def __init__(self, seed: int, bases: list[Base], folder: str) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, seed, bases, folder), daemon=True)
        self.process.start()
        other.close()
        answer = self.pipe.recv() if self.pipe.poll(120) else "a worker does not start"
        if answer != "ready":
            raise RuntimeError(answer)

    def ask(self, number: int) -> str:
        try:
            self.pipe.send(number)
            if self.pipe.poll(LIMIT_S + 5):
                return str(self.pipe.recv())
        except (EOFError, OSError):
            self.process.join(5)
            return f"the process died with exit code {self.process.exitcode}"
        self.process.kill()
        return f"hangs, and hears no alarm after {LIMIT_S} s"


def run(numbers: list[int], seed: int, bases: list[Base]) -> dict[int, str]:
    outcomes: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(seed, bases, folder)
        for number in numbers:
            outcomes[number] = worker.ask(number)
            if not worker.process.is_alive():
                worker = Worker(seed, bases, folder)
        worker.process.kill()
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many mutations (2000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="repeat one mutation by its number")
    parser.add_argument("--of", choices=("recordings", "scorings", "both"), default="both", help="which files (both)")
    options = parser.parse_args()
    bases = [*(recordings() if options.of != "scorings" else ()), *(scorings() if options.of != "recordings" else ())]
    began = time.perf_counter()
    outcomes = run(list(range(options.count)) if options.only is None else [options.only], options.seed, bases)
    table: dict[str, Counter[str]] = {base.name: Counter() for base in bases}
    violations = []
    for number, what in outcomes.items():
        table[bases[number % len(bases)].name][what if what in ("read", "refused") else "violation"] += 1
        if what not in ("read", "refused"):
            violations.append(f"  mutation {number} of {bases[number % len(bases)].name}: {what}")
    for name, counts in table.items():
        print(
            f"{name:<22} read {counts['read']:>4}  refused {counts['refused']:>4}  violations {counts['violation']:>3}"
        )
    total = sum(table.values(), Counter())
    print(f"{len(outcomes)} mutations, seed {options.seed}: {total['read']} read, {total['refused']} refused, "
          f"{len(violations)} violations, {time.perf_counter() - began:.1f} s")  # fmt: skip
    print("\n".join(violations))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
