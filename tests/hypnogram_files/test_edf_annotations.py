"""EDF+ annotations: every data record, and nothing but stages."""

import subprocess
import sys
from datetime import date, datetime, time
from pathlib import Path

import mne
import numpy as np
import pytest

from hypnograph.errors import UnknownStageError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram, write_hypnogram
from hypnograph.stages import Stage
from tests.hypnogram_files.samples import EDF_STAGES, edf_bytes, edf_records, tal


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(*tals: bytes, stage_map=None, recording_start=None, **header) -> Hypnogram:
        path = tmp_path / "night.edf"
        path.write_bytes(edf_bytes([tal("+0", "", "") + b"".join(tals)], **header))
        return read_hypnogram(path, stage_map=stage_map, recording_start=recording_start)

    return write_and_read


def stage(onset: int, text: str, duration: str = "30") -> bytes:
    return tal(f"+{onset}", duration, text)


class TestReading:
    def test_every_data_record_is_read_with_start_lights_and_scorer(self, tmp_path: Path) -> None:
        path = tmp_path / "night.edf"
        path.write_bytes(edf_bytes(edf_records()))
        hypnogram = read_hypnogram(path)
        assert hypnogram.stages.tolist() == EDF_STAGES
        assert hypnogram.start == datetime(2020, 3, 1, 22)
        assert (hypnogram.lights_off_s, hypnogram.lights_on_s) == (12.5, 238.0)
        assert hypnogram.scorer == "expert-2"

    def test_mass_epochs_of_twenty_seconds_stay_so(self, read) -> None:
        hypnogram = read(*(stage(20 * i, f"Sleep stage {name}", "20") for i, name in enumerate("W1234R?")))
        assert hypnogram.epoch_s == 20
        assert hypnogram.stages.tolist() == [0, 1, 2, 3, 3, 4, -1]

    def test_a_recording_with_its_scoring_in_it_is_read(self, tmp_path: Path) -> None:
        from edfio import Edf, EdfAnnotation, EdfSignal, Recording

        signal = EdfSignal(np.zeros(100 * 300), sampling_frequency=100, label="EEG C4-M1", physical_range=(-1, 1))
        names = ["W", "N1", "N2", "N3", "R", "?", "W", "W", "N1", "N2"]
        annotations = [EdfAnnotation(30 * i, 30, f"Sleep stage {name}") for i, name in enumerate(names)]
        annotations += [EdfAnnotation(41.5, 3, "EEG arousal"), EdfAnnotation(100, None, "patient moved")]
        recording = Recording(startdate=date(2020, 3, 1))
        Edf([signal], annotations=annotations, recording=recording, starttime=time(23, 59, 30, 250000)).write(
            tmp_path / "psg.edf"
        )
        hypnogram = read_hypnogram(tmp_path / "psg.edf")
        assert hypnogram.stages.tolist() == [0, 1, 2, 3, 4, -1, 0, 0, 1, 2]
        assert hypnogram.start == datetime(2020, 3, 1, 23, 59, 30, 250000)

    def test_bare_names_are_stages_where_no_text_says_so(self, read) -> None:
        hypnogram = read(
            stage(0, "W"), stage(30, "N2"), stage(60, "Stage R"), stage(63, "arousal", "4"), stage(65, "Artefact", "3")
        )
        assert hypnogram.stages.tolist() == [0, 2, 4]

    def test_bare_names_beside_sleep_stages_are_events(self, read) -> None:
        assert read(stage(0, "Sleep stage W"), stage(30, "R", "1"), stage(30, "Sleep stage N1")).stages.tolist() == [
            0,
            1,
        ]

    def test_words_beside_sleep_stages_are_stages_that_no_other_text_stands_for(self, read) -> None:
        hypnogram = read(stage(0, "Wake"), stage(30, "Sleep stage 1"), stage(60, "REM"), stage(90, "Sleep stage 2"))
        assert hypnogram.stages.tolist() == [0, 1, 4, 2]

    def test_bare_digits_alone_are_markers(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="no sleep stages among its 2 annotations"):
            read(stage(0, "1"), stage(30, "2"))

    @pytest.mark.parametrize("text", ["Sleep stage X9", "Sleep stage 5", "sleep stage"])
    def test_a_text_that_says_it_is_a_stage_must_be_known(self, read, text: str) -> None:
        with pytest.raises(UnknownStageError, match=text):
            read(stage(0, "Sleep stage W"), stage(30, text))

    def test_so_must_a_stage_of_one_letter_where_others_are_known(self, read) -> None:
        with pytest.raises(UnknownStageError, match="Stage 7"):
            read(stage(0, "Wake"), stage(30, "Stage 2"), stage(60, "Stage 7"))

    def test_the_stage_map_makes_stages_of_events(self, read) -> None:
        hypnogram = read(
            stage(0, "Tief"), stage(30, "Ruhe"), stage(60, "cough"), stage_map={"tief": Stage.N3, "Ruhe": Stage.W}
        )
        assert hypnogram.stages.tolist() == [3, 0]

    def test_annotations_that_name_patients_are_not_shown(self, read) -> None:
        with pytest.raises(UnreadableFileError) as error:
            read(stage(0, "Mrs Example woke up"))
        assert "Example" not in str(error.value)

    def test_the_signal_that_was_scored_is_no_part_of_the_text(self, read) -> None:
        assert read(stage(0, "Sleep stage W@@EEG C4-A1"), stage(30, "Sleep stage 2@@EEG C4-A1")).names == ["W", "N2"]

    def test_movement_time_is_unscored(self, read) -> None:
        hypnogram = read(stage(0, "Sleep stage 2"), stage(30, "Movement time"), stage(60, "Movement time"))
        assert hypnogram.stages.tolist() == [2, -1, -1]

    def test_a_date_that_is_left_out_is_no_start(self, read) -> None:
        header = {"startdate": "X", "start": ("01.01.85", "00.00.00")}
        assert read(stage(0, "Sleep stage W"), **header).start is None
        recording_start = datetime(2020, 3, 1, 22)
        assert read(stage(0, "Sleep stage W"), recording_start=recording_start, **header).start == recording_start

    def test_latin_1_texts_do_not_stop_the_reading(self, read) -> None:
        assert read(stage(0, "Sleep stage W"), b"+5\x14Ger\xe4t aus\x14\0").stages.tolist() == [0]


class TestDamage:
    def test_a_truncated_file_is_refused(self, tmp_path: Path) -> None:
        content = edf_bytes(edf_records())
        (tmp_path / "night.edf").write_bytes(content[:-40])
        with pytest.raises(UnreadableFileError, match="promises 3 data records and the file holds 2: it was cut short"):
            read_hypnogram(tmp_path / "night.edf")

    @pytest.mark.parametrize(
        ("place", "field", "message"),
        [
            (252, b"9999", "ends within its header"), (252, b"-5  ", "-5 signals"),
            (252, b"abcd", "not a whole number"),
            (236, b"99999999", "99999999 data records"), (256 + 216, b"-1      ", "without samples"),
            (256 + 216, b"99999999", "the file holds 0"), (256, b"EEG", "without annotations"),
        ],
    )  # fmt: skip
    def test_a_header_that_lies_is_refused(self, tmp_path: Path, place: int, field: bytes, message: str) -> None:
        content = bytearray(edf_bytes(edf_records()))
        content[place : place + len(field)] = field
        (tmp_path / "night.edf").write_bytes(content)
        with pytest.raises(UnreadableFileError, match=message):
            read_hypnogram(tmp_path / "night.edf", format="edf")

    @pytest.mark.parametrize(
        "damaged", [b"x0\x1430\x14\0", b"+0\x15-30\x14Sleep stage W\x14\0", b"+\x14W\x14\0", b"+1e9\x14W\x14\0"]
    )
    def test_a_damaged_annotation_is_an_error(self, read, damaged: bytes) -> None:
        with pytest.raises(UnreadableFileError, match="a damaged annotation"):
            read(stage(0, "Sleep stage W"), damaged)

    def test_an_absurd_duration_is_an_error(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="31 days"):
            read(stage(0, "Sleep stage W", "1" + "0" * 12))


class TestWriting:
    def test_mne_reads_what_is_written(self, tmp_path: Path) -> None:
        hypnogram = Hypnogram(
            np.array([0, 1, 2, 3, 4, -1]), start=datetime(2020, 3, 1, 22, 0, 0, 500000), lights_off_s=7.5
        )
        write_hypnogram(hypnogram, tmp_path / "night.edf")
        read = mne.read_annotations(tmp_path / "night.edf")
        stages = [(a["onset"], a["duration"], a["description"]) for a in read if a["description"].startswith("Sleep")]
        assert stages == [
            (30.0 * i, 30.0, f"Sleep stage {name}") for i, name in enumerate(["W", "N1", "N2", "N3", "R", "?"])
        ]
        assert [(a["onset"], a["description"]) for a in read if a["description"].startswith("Lights")] == [
            (7.5, "Lights off")
        ]

    def test_edfio_and_pyedflib_read_what_is_written_and_find_no_patient(self, tmp_path: Path) -> None:
        import pyedflib
        from edfio import read_edf

        write_hypnogram(
            Hypnogram(np.array([0, 4]), start=datetime(2020, 3, 1, 22), scorer="U Sleep"), tmp_path / "night.edf"
        )
        edf = read_edf(tmp_path / "night.edf")
        assert [a.text for a in edf.annotations] == ["Sleep stage W", "Sleep stage R"]
        assert edf.local_patient_identification == "X X X X"
        assert edf.recording.investigator_technician_code == "U_Sleep"
        with pyedflib.EdfReader(str(tmp_path / "night.edf")) as reader:
            assert reader.getPatientName() in ("", "X")
            assert list(reader.readAnnotations()[2]) == ["Sleep stage W", "Sleep stage R"]

    @pytest.mark.parametrize("year", [1970, 2100])
    def test_a_date_that_edf_cannot_hold_leaves_the_clock_time(self, tmp_path: Path, year: int) -> None:
        write_hypnogram(
            Hypnogram(np.array([0, 4]), start=datetime(year, 3, 1, 22, 10)), tmp_path / "night.edf", overwrite=True
        )
        assert read_hypnogram(tmp_path / "night.edf").start == datetime(1985, 1, 1, 22, 10)

    @pytest.mark.parametrize("scorer", ["", "X", "Jörg Ä", "日本", "two words", "a" * 90, "tab\there", "bell\a"])
    def test_any_scorer_can_be_written(self, tmp_path: Path, scorer: str) -> None:
        write_hypnogram(Hypnogram(np.array([0]), scorer=scorer), tmp_path / "night.edf", overwrite=True)
        assert read_hypnogram(tmp_path / "night.edf").stages.tolist() == [0]


def test_reading_and_finding_a_format_imports_no_library_of_signals_or_tables(tmp_path: Path) -> None:
    (tmp_path / "night.edf").write_bytes(edf_bytes(edf_records()))
    code = (
        "import sys; from hypnograph.hypnogram_files import read_hypnogram; "
        f"read_hypnogram({str(tmp_path / 'night.edf')!r}); "
        "print(sorted({'mne', 'pandas', 'wfdb', 'edfio', 'scipy', 'h5py'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
