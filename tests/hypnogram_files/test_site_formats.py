"""What is particular to NSRR, Profusion, CAP, Noxturnal and WFDB files."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import UnknownStageError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.stages import Stage
from tests.hypnogram_files.samples import (
    CAP_STAGES,
    NOXTURNAL,
    NSRR,
    NSRR_STAGES,
    PROFUSION,
    WFDB_NOTES,
    WFDB_STAGES,
    cap_text,
    wfdb_bytes,
    write_sample,
)

BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<PSGAnnotation>&b;</PSGAnnotation>"""


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(name: str, content: str | bytes, **options) -> Hypnogram:
        data = content if isinstance(content, bytes) else content.encode()
        return read_hypnogram(write_sample(tmp_path, name, data), **options)

    return write_and_read


class TestNsrr:
    def test_the_clock_time_of_the_start_is_kept(self, read) -> None:
        hypnogram = read("n.xml", NSRR)
        assert hypnogram.start.time().isoformat() == "22:15:30"
        start = datetime(2005, 6, 7, 22, 15, 30)
        assert read("n.xml", NSRR, recording_start=start).start == start

    def test_fractions_of_seconds_are_not_cut(self, read) -> None:
        half = NSRR.replace("<Start>150.0<", "<Start>150.4<").replace("<EpochLength>30</EpochLength>", "")
        assert read("n.xml", half).stages.tolist() == NSRR_STAGES
        fine = NSRR.replace("<EpochLength>30<", "<EpochLength>0.5<").replace("<Start>0.0<", "<Start>2.5<")
        assert int(np.flatnonzero(read("n.xml", fine).scored)[0]) == 5

    def test_other_encodings_in_the_declaration_do_not_matter(self, read) -> None:
        for name in ("ISO-8859-1", "windows-1252", "utf-16"):
            assert read("n.xml", NSRR.replace("UTF-8", name)).stages.tolist() == NSRR_STAGES

    def test_an_unknown_concept_is_an_error_that_the_stage_map_mends(self, read) -> None:
        odd = NSRR.replace("REM sleep|5", "Tonic REM|T")
        with pytest.raises(UnknownStageError, match="Tonic REM"):
            read("n.xml", odd)
        assert read("n.xml", odd, stage_map={"Tonic REM": Stage.REM}).stages.tolist() == NSRR_STAGES

    @pytest.mark.parametrize("content", [BOMB, NSRR[:900], NSRR.replace("<Start>60.0<", "<Start>NaN<"),
                                         NSRR.replace("<Duration>60.0<", "<Duration>1e12<"),
                                         NSRR.replace("<Duration>60.0<", "<Duration>-60<"),
                                         NSRR.replace("<EpochLength>30<", "<EpochLength>1e-9<"),
                                         NSRR.replace("Stages|Stages", "Arousals|Arousals")])  # fmt: skip
    def test_what_could_explode_or_makes_no_sense_is_refused(self, read, content: str) -> None:
        with pytest.raises(UnreadableFileError, match=r"^n.xml: "):
            read("n.xml", content)

    def test_a_document_type_is_refused_in_utf_16_too(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="document type or entities"):
            read("n.xml", BOMB.encode("utf-16"))


class TestProfusion:
    def test_the_length_of_an_epoch_is_that_of_the_file(self, read) -> None:
        assert read("p.xml", PROFUSION.replace("<EpochLength>30<", "<EpochLength>20<")).epoch_s == 20
        assert read("p.xml", PROFUSION.replace("<EpochLength>30</EpochLength>", "")).epoch_s == 30

    def test_an_unknown_code_is_an_error_that_the_stage_map_mends(self, read) -> None:
        odd = PROFUSION.replace(">9<", ">10<")
        with pytest.raises(UnknownStageError, match="'10'"):
            read("p.xml", odd)
        assert read("p.xml", odd, stage_map={"10": Stage.W}).stages[-1] == 0

    @pytest.mark.parametrize("length", ["0", "-30", "x", "1e9", "nan"])
    def test_an_epoch_of_an_impossible_length_is_refused(self, read, length: str) -> None:
        with pytest.raises(UnreadableFileError):
            read("p.xml", PROFUSION.replace("<EpochLength>30<", f"<EpochLength>{length}<"))

    def test_no_list_of_stages_is_an_error(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="no element SleepStages"):
            read("p.xml", PROFUSION.replace("SleepStages", "Other"))
        with pytest.raises(UnreadableFileError, match="no sleep stages"):
            read("p.xml", "<CMPStudyConfig><SleepStages/></CMPStudyConfig>")


class TestCap:
    def test_it_starts_at_the_clock_time_of_the_first_epoch_on_the_header_s_date(self, read) -> None:
        assert read("n1.txt", cap_text()).start == datetime(2008, 5, 14, 23, 59)
        assert read("n1.txt", cap_text().replace("Recording Date", "Date")).start == datetime(1985, 1, 1, 23, 59)

    def test_the_recording_s_start_places_it_on_either_side_of_midnight(self, read) -> None:
        for start in (datetime(2020, 3, 1, 22, 0), datetime(2020, 3, 2, 0, 30)):
            assert read("n1.txt", cap_text(), recording_start=start).start == datetime(2020, 3, 1, 23, 59)

    def test_a_phases_of_thirty_seconds_are_no_epochs(self, read) -> None:
        assert "MCAP-A3\t30" in cap_text()
        assert read("n1.txt", cap_text()).stages.tolist() == CAP_STAGES

    def test_two_midnights_are_passed(self, read) -> None:
        rows = "\n".join(
            f"W\tx\t{h:02}:00:00\tSLEEP-S0\t3600\tROC-LOC" for h in [*range(20, 24), *range(24), *range(3)]
        )
        text = cap_text().splitlines()[:7]
        hypnogram = read("n1.txt", "\n".join([*text, rows]))
        assert hypnogram.duration_s == 31 * 3600
        assert hypnogram.scored.all()

    @pytest.mark.parametrize("clock", ["25:00:00", "23:59", "aa:bb:cc", "23:61:00", ""])
    def test_a_time_that_is_none_is_refused(self, read, clock: str) -> None:
        with pytest.raises(UnreadableFileError, match="hh:mm:ss"):
            read("n1.txt", cap_text().replace("00:01:30", clock))

    def test_an_unknown_stage_is_an_error(self, read) -> None:
        with pytest.raises(UnknownStageError, match="X9"):
            read("n1.txt", cap_text().replace("S4\t", "X9\t"))


class TestNoxturnal:
    def test_it_starts_with_the_first_stage(self, read) -> None:
        assert read("n.csv", NOXTURNAL.encode("utf-16")).start == datetime(2016, 1, 15, 23, 59)

    def test_english_dates_with_am_and_pm_are_read(self, read) -> None:
        text = (
            "Start Time,End Time,Event,Duration,\n[],[],[],[s],\n"
            "1/5/2016 11:59:30 PM,1/6/2016 12:00:00 AM,Wake,30,\n"
            "1/6/2016 12:00:00 AM,1/6/2016 12:00:30 AM,N1,30,\n"
        )
        hypnogram = read("n.csv", text)
        assert hypnogram.names == ["W", "N1"]
        assert hypnogram.start == datetime(2016, 1, 5, 23, 59, 30)

    @pytest.mark.parametrize(
        "line", ["{:%d/%m/%Y %H:%M:%S}", "{:%m/%d/%Y %H:%M:%S}", "{:%Y-%m-%d %H:%M:%S}", "{:%d.%m.%Y %H:%M:%S}"]
    )
    def test_the_order_of_day_and_month_makes_the_night_short(self, read, line: str) -> None:
        times = [datetime(2016, 2, 3, 23, 59, 30), datetime(2016, 2, 4), datetime(2016, 2, 4, 0, 0, 30)]
        first, second, third = (line.format(time) for time in times)
        text = f"Beginn;Ende;Ereignis;Dauer\n[];[];[];[s]\n{first};{second};Wach;30\n{second};{third};REM;30\n"
        hypnogram = read("n.csv", text)
        assert hypnogram.start == times[0]
        assert hypnogram.names == ["W", "REM"]

    def test_events_alone_are_an_error(self, read) -> None:
        only = "\n".join(line for line in NOXTURNAL.splitlines() if "30,\n" not in line + "\n" or "début" in line)
        with pytest.raises(UnreadableFileError, match="no sleep stages among its 3 events"):
            read("n.csv", only)

    def test_a_date_that_is_none_is_refused(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="no date in any order"):
            read("n.csv", NOXTURNAL.replace("15/01/2016", "45/13/2016"))


class TestWfdb:
    def test_the_header_gives_rate_and_start_and_its_patient_stays_there(self, read) -> None:
        hypnogram = read("slp.st", wfdb_bytes(WFDB_NOTES))
        assert hypnogram.stages.tolist() == WFDB_STAGES
        assert hypnogram.start == datetime(1989, 1, 19, 23, 7)
        assert hypnogram.scorer == ""

    @pytest.mark.filterwarnings("ignore:The inplace keyword")  # of the wfdb package, with pandas 3
    def test_the_wfdb_package_reads_the_same(self, tmp_path: Path) -> None:
        import wfdb

        write_sample(tmp_path, "slp.st", wfdb_bytes(WFDB_NOTES))
        annotation = wfdb.rdann(str(tmp_path / "slp"), "st")
        assert list(zip(annotation.sample.tolist(), annotation.aux_note, strict=True)) == WFDB_NOTES

    @pytest.mark.filterwarnings("ignore:The inplace keyword")  # of the wfdb package, with pandas 3
    def test_what_the_wfdb_package_writes_is_read(self, tmp_path: Path) -> None:
        import wfdb

        samples = np.array([0, 6000, 12000, 90000])
        notes = ["W", "N1", "(resp_hypopnea", "R"]
        wfdb.wrann("tr1", "arousal", samples, symbol=['"'] * 4, aux_note=notes, fs=200, write_dir=str(tmp_path))
        # A stage lasts until the next: W 30 s, N1 420 s, R one epoch.
        assert read_hypnogram(tmp_path / "tr1.arousal").names == ["W"] + ["N1"] * 14 + ["REM"]

    def test_without_a_rate_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "alone.st").write_bytes(wfdb_bytes(WFDB_NOTES))
        with pytest.raises(UnreadableFileError, match=r"put the record's header, alone\.hea, beside it"):
            read_hypnogram(tmp_path / "alone.st")

    def test_a_file_that_ends_within_an_annotation_is_refused(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="ends within an annotation"):
            read("slp.st", wfdb_bytes(WFDB_NOTES)[:-5])

    def test_beats_alone_are_no_stages(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="no sleep stages"):
            read("slp.st", b"\x01\x04" * 20 + b"\0\0")
