"""Real scorings, read and compared with what others made of them; skipped where the data are absent."""

import json
from datetime import datetime
from pathlib import Path

import mne
import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram_files import hypnogram_suffixes, read_hypnogram
from hypnograph.stages import try_stage_from_name


def expected_nights(shared_data: Path, name: str) -> dict[str, list[int]]:
    lines = (shared_data / "hypnograms" / f"{name}.jsonl").read_text().splitlines()
    return {night["record"]: night["stages"] for night in map(json.loads, lines)}


def test_sleep_edf_equals_the_published_nights(shared_data: Path) -> None:
    expected = expected_nights(shared_data, "sleep-edfx")
    files = sorted((shared_data / "fixtures" / "sleep-edf").glob("*-Hypnogram.edf"))
    assert len(files) == 20
    for path in files:
        hypnogram = read_hypnogram(path)
        assert hypnogram.duration_s == 86400
        # Those nights were cut to some time around sleep.
        night = np.array(expected[path.name[:6]])
        windows = np.lib.stride_tricks.sliding_window_view(hypnogram.stages, len(night))
        assert (windows == night).all(axis=1).any(), path.name


def test_edf_annotations_equal_those_of_mne(shared_data: Path) -> None:
    files = [*(shared_data / "fixtures").glob("*/*Hypnogram.*df"), shared_data / "fixtures/wfdb/test_edfann.edf"]
    assert len(files) == 23
    for path in files:
        hypnogram = read_hypnogram(path)
        covered = np.zeros(hypnogram.n_epochs, dtype=int)
        for annotation in mne.read_annotations(path):
            stage = try_stage_from_name(annotation["description"])
            if stage is not None:
                first, n = round(annotation["onset"] / 30), round(annotation["duration"] / 30)
                assert (hypnogram.stages[first : first + n] == stage).all(), (path.name, annotation)
                covered[first : first + n] += 1
        assert (covered == 1).all()


def test_hmc_has_lights_and_one_stage_for_each_of_854_annotations(shared_data: Path) -> None:
    hypnogram = read_hypnogram(shared_data / "fixtures/wfdb/test_edfann.edf")
    assert hypnogram.counts() == {"W": 151, "N1": 109, "N2": 430, "N3": 23, "REM": 141, "UNSCORED": 0}
    assert (hypnogram.lights_off_s, hypnogram.lights_on_s) == (33.43, 25618.74)
    assert hypnogram.start == datetime(2001, 1, 1, 23, 59, 30)


def test_nihon_kohden_equals_the_list_beside_it(shared_data: Path) -> None:
    files = sorted((shared_data / "fixtures" / "nihon-kohden").glob("*.edf"))
    assert len(files) == 17
    for path in files:
        hypnogram, listed = read_hypnogram(path), read_hypnogram(path.with_suffix(".csv"))
        assert np.array_equal(hypnogram.stages[hypnogram.scored], listed.stages), path.name
        assert [name.replace("REM", "R") for name in listed.names] == path.with_suffix(".csv").read_text().split()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of the wfdb package, with pandas 3
def test_slpdb_equals_the_published_nights_and_the_wfdb_package(shared_data: Path) -> None:
    import wfdb

    expected = expected_nights(shared_data, "slpdb")
    files = sorted((shared_data / "ecg" / "slpdb").glob("*.st"))
    assert len(files) == 18
    for path in files:
        hypnogram = read_hypnogram(path)
        assert hypnogram.stages.tolist() == expected[path.stem]
        annotations = wfdb.rdann(str(path.with_suffix("")), "st")
        for sample, text in zip(annotations.sample, annotations.aux_note, strict=True):
            assert hypnogram.stages[sample // 7500] == try_stage_from_name(text.strip("\0").split()[0])


def test_ucddb_equals_the_published_night(shared_data: Path) -> None:
    hypnogram = read_hypnogram(shared_data / "eeg" / "ucddb018.txt")
    assert hypnogram.stages.tolist() == expected_nights(shared_data, "ucddb")["ucddb018"]


@pytest.mark.parametrize(
    ("name", "start", "counts"),
    [
        ("unicode", datetime(2016, 1, 15, 22, 30), [213, 66, 466, 364, 249, 139]),
        ("unicode_2", datetime(2018, 7, 25, 23, 46), [169, 38, 354, 141, 146, 0]),
        ("unicode_3", datetime(2018, 4, 27, 23, 0, 30), [310, 31, 446, 246, 195, 0]),
    ],
)
def test_noxturnal_counts_are_those_of_the_lines(
    shared_data: Path, name: str, start: datetime, counts: list[int]
) -> None:
    path = shared_data / "fixtures" / "rsleep" / f"noxturnal_events_example_{name}.csv"
    hypnogram = read_hypnogram(path)
    assert hypnogram.start == start
    assert list(hypnogram.counts().values()) == counts
    lines = [line.split(",") for line in path.read_text("utf-16").splitlines()[2:]]
    assert [sum(line[2] == event for line in lines) for event in ("Éveil", "N1", "N2", "N3", "REM")] == counts[:5]
    for begin, _, event, *_ in lines:
        if event == "N3":
            epoch = (datetime.strptime(begin, "%d/%m/%Y %H:%M:%S") - start).total_seconds() / 30
            assert hypnogram.names[round(epoch)] == "N3"


def test_every_other_file_is_refused_in_one_sentence(shared_data: Path) -> None:
    refused = []
    for path in sorted((shared_data / "fixtures").rglob("*.*")):
        if path.suffix not in hypnogram_suffixes():
            continue
        try:
            hypnogram = read_hypnogram(path)
        except UnreadableFileError as error:
            refused.append((path.name, str(error)))
        else:
            assert path.suffix in {".edf", ".bdf", ".csv"}
            assert hypnogram.scored.any()
    assert len(refused) == 21
    assert all(message.startswith(f"{name}: ") and "\n" not in message for name, message in refused)
