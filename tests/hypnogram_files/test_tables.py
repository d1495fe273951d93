"""What is particular to tsv, csv, ids, text, npy and json."""

import io
import json
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hypnograph.errors import HypnographError, UnknownStageError, UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram, write_hypnogram
from hypnograph.stages import W_NREM_REM, Stage
from tests.hypnogram_files.samples import JSON


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(name: str, content: str | bytes, **options) -> Hypnogram:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_hypnogram(tmp_path / name, **options)

    return write_and_read


class TestTsv:
    def test_of_trial_type_what_is_no_stage_is_an_event(self, read) -> None:
        rows = ("0\t30\tSleep stage W", "4\t9.5\tapnea", "30\t30\tSleep stage N2", "31\tn/a\tbutton")
        text = "\n".join(["onset\tduration\ttrial_type", *rows])
        assert read("e.tsv", text).stages.tolist() == [0, 2]

    def test_in_a_column_of_stages_each_text_must_be_a_stage(self, read) -> None:
        with pytest.raises(UnknownStageError, match="apnea"):
            read("e.tsv", "onset\tduration\tstage\n0\t30\tW\n4\t9.5\tapnea\n")

    def test_a_missing_value_among_integers_is_unscored(self, read) -> None:
        assert read("e.tsv", "onset\tduration\tstage\n0\t30\t0\n30\t30\tn/a\n60\t30\t4\n").stages.tolist() == [0, -1, 4]

    def test_the_scorer_is_kept_and_two_are_refused(self, read) -> None:
        text = "onset\tduration\tstage\tscorer\n0\t30\tW\tA\n30\t30\tW\t{}\n"
        assert read("e.tsv", text.format("A")).scorer == "A"
        with pytest.raises(UnreadableFileError, match="holds 2 scorers: A, B; keep one"):
            read("e.tsv", text.format("B"))

    @pytest.mark.parametrize(
        "row", ["nan\t30\tW", "0\t1e12\tW", "0\t-30\tW", "x\t30\tW", "0", "1e400\t30\tW", "-30\t30\tW"]
    )
    def test_absurd_rows_are_refused(self, read, row: str) -> None:
        with pytest.raises(UnreadableFileError):
            read("e.tsv", f"onset\tduration\tstage\n{row}\n")

    def test_bids_readers_find_their_columns(self, tmp_path: Path) -> None:
        write_hypnogram(Hypnogram(np.array([0, -1, 2]), scorer="A"), tmp_path / "e.tsv")
        frame = pd.read_csv(tmp_path / "e.tsv", sep="\t", keep_default_na=False)
        assert list(frame.columns[:3]) == ["onset", "duration", "stage"]
        assert frame["stage"].tolist() == ["W", "n/a", "N2"]
        assert frame["onset"].tolist() == [0, 30, 60]


class TestCsv:
    @pytest.mark.parametrize(
        "text",
        [
            "time,stage\n22:10:00,W\n22:10:30,W\n22:11:00,N1\n22:12:00,N2\n",
            "Clock;Stage\n22:10;W\n22:10:30;W\n22:11;N1\n22:12;N2\n",
            "start,stage\n10:10:00 PM,W\n10:10:30 PM,W\n10:11:00 PM,N1\n10:12:00 PM,N2\n",
            "Epoch,Time,Stage\n21,22:10:00,W\n22,22:10:30,W\n23,22:11:00,N1\n25,22:12:00,N2\n",
            "onset,stage\n2026-01-05T22:10,W\n2026-01-05T22:10:30,W\n2026-01-05T22:11,N1\n2026-01-05T22:12,N2\n",
            "time,stage\n600,W\n630,W\n660,N1\n720,N2\n",
        ],
    )
    def test_rows_lie_where_their_times_say(self, read, text: str) -> None:
        """The recording begins at 22:00; ten minutes later the scoring does, and one epoch is not there."""
        start = datetime(2026, 1, 5, 22)
        hypnogram = read("n.csv", text, recording_start=start).align(start, 25)
        assert hypnogram.names == ["UNSCORED"] * 20 + ["W", "W", "N1", "UNSCORED", "N2"]

    def test_clock_times_run_on_past_midnight_and_are_of_the_nearest_day(self, read) -> None:
        text = "time,stage\n23:59:30,W\n00:00:00,N1\n00:00:30,N2\n"
        hypnogram = read("n.csv", text, recording_start=datetime(2026, 1, 6, 0, 0, 10))
        assert (hypnogram.start, hypnogram.names) == (datetime(2026, 1, 5, 23, 59, 30), ["W", "N1", "N2"])
        assert read("n.csv", text).start is None

    @pytest.mark.parametrize("times", [("soon", "later"), ("22:00:00", "late"), ("0", "0.5"), ("25:00", "26:00")])
    def test_times_that_are_not_understood_are_refused(self, read, times: tuple[str, str]) -> None:
        with pytest.raises(UnreadableFileError, match=r"the column 'time' has '[^']+'; expected seconds, hh:mm:ss"):
            read("n.csv", f"time,stage\n{times[0]},W\n{times[1]},N1\n")

    def test_probabilities_confidence_and_entropy_are_columns(self, tmp_path: Path) -> None:
        density = Hypnodensity(np.array([[0.5, 0.5, 0, 0, 0], [np.nan] * 5, [0, 0, 0, 0, 1.0]]))
        write_hypnogram(density.argmax(), tmp_path / "n.csv", hypnodensity=density)
        frame = pd.read_csv(tmp_path / "n.csv")
        probabilities = [f"p_{label}" for label in ("W", "N1", "N2", "N3", "REM")]
        assert list(frame) == ["onset_s", "duration_s", "stage", *probabilities, "confidence", "entropy_bits"]
        assert frame["entropy_bits"].tolist()[::2] == [1.0, 0.0]
        assert np.isnan(frame["confidence"][1])

    def test_probabilities_of_a_merged_scheme_are_read(self, tmp_path: Path) -> None:
        density = Hypnodensity(np.array([[0.2, 0.3, 0.5]]), scheme=W_NREM_REM)
        write_hypnogram(density.argmax(), tmp_path / "n.csv", hypnodensity=density)
        assert read_hypnodensity(tmp_path / "n.csv") == density

    def test_a_file_without_probabilities_has_none(self, read, tmp_path: Path) -> None:
        read("n.csv", "stage\nW\n")
        assert read_hypnodensity(tmp_path / "n.csv") is None
        write_hypnogram(Hypnogram(np.array([0])), tmp_path / "n.txt")
        assert read_hypnodensity(tmp_path / "n.txt") is None

    def test_logits_in_the_columns_are_refused(self, read, tmp_path: Path) -> None:
        read("n.csv", "stage,p_W,p_N1,p_N2,p_N3,p_REM\nW,2,-1,0,0,0\n")
        with pytest.raises(HypnographError, match=r"n\.csv: each row of a hypnodensity"):
            read_hypnodensity(tmp_path / "n.csv")

    def test_epochs_longer_than_usual_stay_so(self, tmp_path: Path) -> None:
        hypnogram = Hypnogram(np.array([0, 1, 1]), epoch_s=60.0, start=datetime(2020, 3, 1, 22))
        write_hypnogram(hypnogram, tmp_path / "n.csv")
        assert read_hypnogram(tmp_path / "n.csv") == hypnogram

    def test_epoch_numbers_keep_gaps(self, read) -> None:
        assert read("n.csv", "epoch,stage\n0,W\n1,N1\n4,N2\n").stages.tolist() == [0, 1, -1, -1, 2]
        assert read("n.csv", "epoch,stage\n3,W\n4,N1\n").stages.tolist() == [-1, -1, 0, 1]

    def test_quoted_fields_and_empty_stages_are_read(self, read) -> None:
        assert read("n.csv", '"stage","note"\n"W","a, b"\n"","c"\n').stages.tolist() == [0, -1]

    def test_a_short_row_is_an_error(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="a row has 1 columns, the first line has 3"):
            read("n.csv", "onset,duration,stage\n0\n")


class TestIds:
    def test_gaps_are_unscored_and_names_are_kept_whole(self, read) -> None:
        assert read("n.ids", "0,60,WAKE\n120,30,Sleep stage 2\n").stages.tolist() == [0, 0, -1, -1, 2]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("0,30", "start,duration,stage"),
            ("0,nan,W", "not a number"),
            ("inf,30,W", "not a number"),
            ("0,1e12,W", "31 days"),
        ],
    )
    def test_absurd_lines_are_refused(self, read, line: str, message: str) -> None:
        with pytest.raises(UnreadableFileError, match=message):
            read("n.ids", f"0,30,W\n{line}\n", format="ids")

    def test_u_time_s_way_is_runs_of_whole_seconds(self, tmp_path: Path) -> None:
        write_hypnogram(Hypnogram(np.array([0, 0, -1, 4])), tmp_path / "n.ids")
        assert (tmp_path / "n.ids").read_text() == "0,60,W\n60,30,UNKNOWN\n90,30,REM\n"


class TestText:
    @pytest.mark.parametrize(("text", "stages"), [("4\n0\n", [4, 0]), ("4\n5\n", [3, 4]), ("4\nW\n", [3, 0])])
    def test_what_four_means_depends_on_the_code(self, read, text: str, stages: list[int]) -> None:
        assert read("n.txt", text).stages.tolist() == stages

    def test_the_stage_map_decides_between_codes(self, read) -> None:
        assert read("n.txt", "3\n4\n5\n", stage_map={"5": Stage.UNSCORED}).stages.tolist() == [3, 4, -1]

    def test_an_unknown_line_is_an_error(self, read) -> None:
        with pytest.raises(UnknownStageError, match=r"n.txt: unknown stage name 'X9'"):
            read("n.txt", "W\nX9\n")

    def test_prose_is_not_a_scoring(self, read) -> None:
        with pytest.raises(HypnographError):
            read("readme.txt", "This folder holds the recordings of the study; ask before use.\n")


class TestNpy:
    def saved(self, array: np.ndarray, **options) -> bytes:
        file = io.BytesIO()
        np.save(file, array, **options)
        return file.getvalue()

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, ">i4", np.float32, "U3"])
    def test_integers_of_any_type_and_names_are_read(self, read, dtype) -> None:
        assert read("n.npy", self.saved(np.array([0, 1, 2, 3, 4]).astype(dtype))).stages.tolist() == [0, 1, 2, 3, 4]
        assert read("n.npy", self.saved(np.array([[0], [1], [2]]).astype(dtype))).stages.tolist() == [0, 1, 2]

    def test_names_are_read(self, read) -> None:
        assert read("n.npy", self.saved(np.array(["W", "REM", "?"]))).stages.tolist() == [0, 4, -1]

    def test_pickled_objects_are_refused(self, read) -> None:
        data = self.saved(np.array([0, "W", None], dtype=object), allow_pickle=True)
        with pytest.raises(UnreadableFileError, match="object"):
            read("n.npy", data)

    @pytest.mark.parametrize("given", [[[0] * 5] * 3, [0.5], [np.nan], [1e300], 3, [1j], [True]])
    def test_what_is_no_list_of_stages_is_refused(self, read, given) -> None:
        with pytest.raises(UnreadableFileError):
            read("n.npy", self.saved(np.array(given)))

    def test_a_header_that_promises_too_much_is_refused(self, read) -> None:
        data = self.saved(np.array([0, 1, 2], dtype=np.int8))
        for shape in (b"(99999999999,)", b"(-3,)", b"(3, 99999)", b"(   )", b"'abc'"):
            lie = data.replace(b"(3,), }" + b" " * (len(shape) - 4), shape + b", }")
            assert len(lie) == len(data)
            assert lie != data
            with pytest.raises(UnreadableFileError):
                read("n.npy", lie)

    def test_an_archive_holds_stages_beside_signals(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "SC4001.npz", x=np.zeros((3, 10)), y=np.array([0, 1, 4]), fs=100)
        assert read_hypnogram(tmp_path / "SC4001.npz").stages.tolist() == [0, 1, 4]
        np.savez_compressed(tmp_path / "alone.npz", anything=np.array([0, 2]))
        assert read_hypnogram(tmp_path / "alone.npz").stages.tolist() == [0, 2]
        np.savez(tmp_path / "signals.npz", x=np.zeros(3), fs=100)
        with pytest.raises(UnreadableFileError, match=r"none of its arrays \(x, fs\) is called y, stages"):
            read_hypnogram(tmp_path / "signals.npz")

    def test_an_archive_that_explodes_is_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("y.npy", bytes(65 * 2**20))
        with pytest.raises(UnreadableFileError, match="larger than 32 MiB"):
            read_hypnogram(tmp_path / "bomb.npz")


class TestJson:
    def test_a_newer_version_is_refused(self, read) -> None:
        with pytest.raises(UnreadableFileError, match="version 2 of the format; this hypnograph reads 1"):
            read("n.json", JSON.replace('"version": 1', '"version": 2'))

    @pytest.mark.parametrize("change", [('"epoch_s": 30.0', '"epoch_s": "x"'), ('"start": null', '"start": "noon"'),
                                        ('"stages": [', '"stages": 3, "x": ['), ('30.0', '1e-300'),
                                        ('"epoch_s": 30.0', '"epoch_s": NaN'), ('"labels": ["W"', '"labels": ["V"'),
                                        ('"UNSCORED"', '"X9"'), ('"scorer"', '"by"'), ("}", "")])  # fmt: skip
    def test_damage_is_an_error(self, read, change: tuple[str, str]) -> None:
        assert change[0] in JSON
        with pytest.raises(HypnographError, match=r"^n.json: "):
            read("n.json", JSON.replace(*change))

    def test_it_is_json_for_everyone(self, tmp_path: Path) -> None:
        density = Hypnodensity(np.array([[np.nan] * 5, [0, 0, 0, 0, 1.0]]))
        write_hypnogram(density.argmax(), tmp_path / "n.json", hypnodensity=density)
        content = json.loads((tmp_path / "n.json").read_text(), parse_constant=pytest.fail)
        assert content["stages"] == ["UNSCORED", "REM"]
        assert content["hypnodensity"]["probabilities"][0] is None

    def test_the_start_of_the_file_counts_more_than_the_recording_s(self, read) -> None:
        start, other = datetime(2020, 3, 1, 22), datetime(2021, 1, 1)
        text = JSON.replace('"start": null', f'"start": "{start.isoformat()}"')
        assert read("n.json", text, recording_start=other).start == start
        assert read("n.json", JSON, recording_start=other).start == other
