"""A small sample of each format, written by hand from its description: name → content, and the file's name."""

from pathlib import Path

import numpy as np

NSRR = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<PSGAnnotation>
<SoftwareVersion>Compumedics</SoftwareVersion>
<EpochLength>30</EpochLength>
<ScoredEvents>
<ScoredEvent><EventType/><EventConcept>Recording Start Time</EventConcept><Start>0</Start><Duration>240.0</Duration>
<ClockTime>00.00.00 22.15.30</ClockTime></ScoredEvent>
<ScoredEvent><EventType>Respiratory|Respiratory</EventType><EventConcept>Hypopnea|Hypopnea</EventConcept>
<Start>43.7</Start><Duration>12.4</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Wake|0</EventConcept>
<Start>0.0</Start><Duration>60.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 1 sleep|1</EventConcept>
<Start>60.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 4 sleep|4</EventConcept>
<Start>90.0</Start><Duration>60.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>REM sleep|5</EventConcept>
<Start>150.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Movement|6</EventConcept>
<Start>180.0</Start><Duration>30.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Unscored|9</EventConcept>
<Start>210.0</Start><Duration>30.0</Duration></ScoredEvent>
</ScoredEvents>
</PSGAnnotation>
"""
NSRR_STAGES = [0, 0, 1, 3, 3, 4, -1, -1]

PROFUSION = """<?xml version="1.0" encoding="utf-8"?>
<CMPStudyConfig><EpochLength>30</EpochLength><StepChannels/><ScoredEvents><ScoredEvent><Name>Arousal</Name>
<Start>100</Start><Duration>5</Duration></ScoredEvent></ScoredEvents>
<SleepStages><SleepStage>0</SleepStage><SleepStage>1</SleepStage><SleepStage>2</SleepStage><SleepStage>3</SleepStage>
<SleepStage>4</SleepStage><SleepStage>5</SleepStage><SleepStage>6</SleepStage><SleepStage>9</SleepStage></SleepStages>
</CMPStudyConfig>
"""
PROFUSION_STAGES = [0, 1, 2, 3, 3, 4, -1, -1]

CAP_HEADER = "CAP Sleep Database\n\nRecording Date:\t14/05/2008\nScored by:\tsomeone\nFile: n1.edf\n\n"
CAP_COLUMNS = {
    "position": "Sleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration[s]\tLocation",
    "no position": "Sleep Stage\tTime [hh:mm:ss]\tEvent\tDuration[s]\tLocation",
    "blank": "Sleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration [s]\tLocation",
}


def cap_text(columns: str = "position", clock: str = "{:02}:{:02}:{:02}") -> str:
    """Wake at 23:59:00, S1, an epoch that is missing, S2 with an A phase of 30 s, S4, REM, MT."""
    rows = [
        *[("W", (23, 59, 0), "SLEEP-S0", 30), ("S1", (23, 59, 30), "SLEEP-S1", 30), ("S2", (0, 0, 30), "SLEEP-S2", 30)],
        *[("S2", (0, 0, 41), "MCAP-A1", 7), ("S2", (0, 1, 0), "MCAP-A3", 30), ("S4", (0, 1, 0), "SLEEP-S4", 30)],
        *[("REM", (0, 1, 30), "SLEEP-REM", 30), ("MT", (0, 2, 0), "SLEEP-MT", 30)],
    ]
    position = "Unknown Position\t" if columns != "no position" else ""
    lines = [f"{s}\t{position}{clock.format(*time)}\t{event}\t{d}\tROC-LOC" for s, time, event, d in rows]
    return CAP_HEADER + "\n".join([CAP_COLUMNS[columns], *lines, ""])


CAP_STAGES = [0, 1, -1, 2, 3, 4, -1]

NOXTURNAL = """Heure de début,Heure de fin,Événement,Durée,
[],[],[],[s],
15/01/2016 23:59:00,15/01/2016 23:59:30,Éveil,30,
15/01/2016 23:59:08,15/01/2016 23:59:09,Micro-éveil,1,
15/01/2016 23:59:30,16/01/2016 00:00:00,N1,30,
15/01/2016 23:59:31,15/01/2016 23:59:45,Rapide,14,
16/01/2016 00:00:00,16/01/2016 00:00:30,N2,30,
16/01/2016 00:01:00,16/01/2016 00:01:30,REM,30,
16/01/2016 00:01:10,16/01/2016 00:03:30,Artefact,140,
"""
NOXTURNAL_STAGES = [0, 1, 2, -1, 4]


def tal(onset: str, duration: str, *texts: str) -> bytes:
    """A time-stamped annotation list of EDF+."""
    time = onset + (f"\x15{duration}" if duration else "")
    return (time + "\x14" + "\x14".join(texts) + "\x14\0").encode()


def edf_bytes(records: list[bytes], *, start=("01.03.20", "22.00.00"), startdate="01-MAR-2020", bdf=False) -> bytes:
    """An EDF+ (or BDF+) file of nothing but annotations, a record for each of `records`."""
    width = 3 if bdf else 2
    size = -(-max(map(len, records)) // width) * width
    label = "BDF Annotations" if bdf else "EDF Annotations"
    limits = ("-8388608", "8388607") if bdf else ("-32768", "32767")

    def fields(*pairs: tuple[str, int]) -> bytes:
        return b"".join(text.encode("latin-1").ljust(n)[:n] for text, n in pairs)

    header = (b"\xffBIOSEMI" if bdf else b"0       ") + fields(
        ("X X X X", 80), (f"Startdate {startdate} X expert-2 X", 80), (start[0], 8), (start[1], 8), ("512", 8),
        ("BDF+C" if bdf else "EDF+C", 44), (str(len(records)), 8), ("0", 8), ("1", 4),
    )  # fmt: skip
    signal = fields(
        (label, 16), ("", 80), ("", 8), ("-1", 8), ("1", 8), (limits[0], 8), (limits[1], 8), ("", 80),
        (str(size // width), 8), ("", 32),
    )  # fmt: skip
    return header + signal + b"".join(record.ljust(size, b"\0") for record in records)


def edf_records() -> list[bytes]:
    """Stages in each of three data records, with lights, an event, and two texts in one list."""
    return [
        tal("+0", "", "") + tal("+0", "60", "Sleep stage W") + tal("+12.5", "", "Lights off@@EEG C4-A1"),
        tal("+60", "", "") + tal("+60", "30", "Sleep stage N1", "Arousal") + tal("+75", "11", "Obstructive apnoea"),
        tal("+90", "", "") + tal("+90", "90", "Sleep stage N2") + tal("+180", "30", "Sleep stage R")
        + tal("+210", "30", "Sleep stage ?") + tal("+238", "", "Lights on"),
    ]  # fmt: skip


EDF_STAGES = [0, 0, 1, 2, 2, 2, 4, -1]


def wfdb_bytes(notes: list[tuple[int, str]]) -> bytes:
    """WFDB annotations: a note with an auxiliary text at each sample."""
    data, before = b"", 0
    for sample, text in notes:
        distance, before = sample - before, sample
        if distance > 1023:
            data += (59 << 10).to_bytes(2, "little")
            data += (distance >> 16).to_bytes(2, "little") + (distance & 0xFFFF).to_bytes(2, "little")
            distance = 0
        encoded = text.encode()
        data += (22 << 10 | distance).to_bytes(2, "little") + (63 << 10 | len(encoded)).to_bytes(2, "little")
        data += encoded + b"\0" * (len(encoded) % 2)
    return data + b"\0\0"


WFDB_NOTES = [(1, "W"), (7500, "1 X"), (15000, "2 LA LA"), (22500, "2"), (30000, "4 HA"), (37500, "R"), (45000, "MT X")]
WFDB_STAGES = [0, 1, 2, 2, 3, 4, -1]


def _npy(stages: list[int]) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, np.array(stages, dtype=np.int64))
    return file.getvalue()


JSON = (
    '{"format": "hypnograph", "version": 1, "scorer": "", "start": null, "epoch_s": 30.0, "lights_off_s": null, '
    '"lights_on_s": null, "scheme": {"name": "AASM", "labels": ["W", "N1", "N2", "N3", "REM"], '
    '"from_aasm": [0, 1, 2, 3, 4]}, "stages": ["W", "N2", "UNSCORED"]}'
)

# Format → file name, content, stages.
SAMPLES: dict[str, list[tuple[str, bytes, list[int]]]] = {
    "edf_annotations": [
        ("night.edf", edf_bytes(edf_records()), EDF_STAGES),
        ("night.bdf", edf_bytes(edf_records(), bdf=True), EDF_STAGES),
    ],
    "nsrr_xml": [("night-nsrr.xml", NSRR.encode(), NSRR_STAGES), ("utf16.xml", NSRR.encode("utf-16"), NSRR_STAGES)],
    "profusion_xml": [("night-profusion.xml", PROFUSION.encode(), PROFUSION_STAGES)],
    "ids": [("night.ids", b"0,60,W\n60,30,N2\n120,30,REM\n", [0, 0, 2, -1, 4]), ("n.txt", b"0.0,30.0,WAKE\n", [0])],
    "cap_text": [(f"{name}.txt", cap_text(name).encode(), CAP_STAGES) for name in CAP_COLUMNS]
    + [("dots.txt", cap_text(clock="{:02}.{:02}.{:02}").encode(), CAP_STAGES)],
    "wfdb_annotations": [("slp.st", wfdb_bytes(WFDB_NOTES), WFDB_STAGES)],
    "tsv": [
        ("sub-1_events.tsv", b"onset\tduration\ttrial_type\n0\t60\tW\n12\t3\tarousal\n60\t30\tN2\n", [0, 0, 2]),
        ("sub-1_hypnogram.tsv", b"onset\tduration\tstage\tscorer\n0\t60\tW\tA\n60\t30\tR\tA\n", [0, 0, 4]),
        (
            "boas.tsv",
            b"onset\tduration\tbegsample\tstage_hum\tstage_ai\n0\t30\t1\t0\t0\n30\t30\t7681\t8\t1\n60\t30\t15361\t4\t3\n",
            [0, -1, 4],
        ),
        ("usleep.tsv", b"init_sec\tduration_sec\tstage\n0\t30\tW\n30\t90\tN2\n", [0, 2, 2, 2]),
    ],
    "csv": [
        ("night.csv", b"onset_s,duration_s,stage\n0,30,W\n30,30,UNSCORED\n60,30,REM\n", [0, -1, 4]),
        ("generic.csv", b"Subject;Sleep Stage\n1;Wach\n1;N1\n1;REM\n", [0, 1, 4]),
        ("one-column.csv", b"stage\nW\nN2\n", [0, 2]),
        ("night.STG.txt", b"Epoch\tUser-Defined Stage\n1\t0\n2\t2\n4\t5\n5\t7\n", [0, 2, -1, 4, -1]),
    ],
    "noxturnal": [
        ("utf16.csv", NOXTURNAL.encode("utf-16"), NOXTURNAL_STAGES),
        ("utf8.csv", NOXTURNAL.encode(), NOXTURNAL_STAGES),
        ("semicolons.csv", NOXTURNAL.replace(",", ";").encode("utf-8-sig"), NOXTURNAL_STAGES),
        ("latin.csv", NOXTURNAL.encode("latin-1"), NOXTURNAL_STAGES),
    ],
    "text": [
        ("names.txt", b"# scored by hand\nW\nN1\nn2\n\nREM\n?\n", [0, 1, 2, 4, -1]),
        ("usleep.hyp", b"W\nN1\nREM\nUNKNOWN\n", [0, 1, 4, -1]),
        ("isruc_1.txt", b"0\r\n1\r\n2\r\n3\r\n5\r\n", [0, 1, 2, 3, 4]),
        ("aasm.txt", b"0\n1\n2\n3\n4\n-1\n", [0, 1, 2, 3, 4, -1]),
        ("no-ending.csv", b"W\nN1\n", [0, 1]),
    ],
    "npy": [("night.npy", _npy([0, 1, 2, 3, 4, -1]), [0, 1, 2, 3, 4, -1]), ("rk.npy", _npy([0, 4, 5]), [0, 3, 4])],
    "json": [("night.json", JSON.encode(), [0, 2, -1])],
}


def write_sample(folder: Path, name: str, content: bytes) -> Path:
    """Write a sample; a WFDB one gets its header."""
    path = folder / name
    path.write_bytes(content)
    if path.suffix == ".st":
        path.with_suffix(".hea").write_text(
            "slp 4 250/0.033333333(94) 1800000 23:07:00 19/1/1989\n# 44 M 89 32-01-89\n"
        )
    return path
