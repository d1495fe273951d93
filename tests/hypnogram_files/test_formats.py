"""What holds for every file of the folder."""

import inspect
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import (
    decode,
    hypnogram_formats,
    hypnogram_suffixes,
    read_hypnodensity,
    read_hypnogram,
    writable_formats,
    write_hypnogram,
)
from hypnograph.stages import AASM_5, SCHEMES, W_SLEEP, Stage
from tests.hypnogram_files.samples import SAMPLES, write_sample
from tests.strategies import hypnodensities, hypnograms

ALL = [(format, *sample) for format, samples in SAMPLES.items() for sample in samples]
IDS = [f"{format}-{name}" for format, name, *_ in ALL]
# What a format can carry beside stages and, but for txt and npy, the length of an epoch.
CARRIES = {
    "edf": {"start", "lights_off_s", "lights_on_s"}, "json": {"start", "scorer", "lights_off_s", "lights_on_s"},
    "csv": {"start"}, "tsv": {"scorer"}, "ids": set(), "txt": set(), "npy": set(),
}  # fmt: skip
EMPTY = {"start": None, "scorer": "", "lights_off_s": None, "lights_on_s": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("formats")


class TestEachFormat:
    @pytest.mark.parametrize("name", hypnogram_formats())
    def test_has_what_the_folder_promises(self, name: str) -> None:
        module = hypnogram_formats()[name]
        assert module.NAME
        assert module.SUFFIXES
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in module.SUFFIXES)
        assert list(inspect.signature(module.recognises).parameters) == ["path", "head"]
        assert list(inspect.signature(module.read).parameters) == ["path", "stage_map", "recording_start"]
        if hasattr(module, "write"):
            assert list(inspect.signature(module.write).parameters) == ["path", "hypnogram", "hypnodensity"]
            assert "lost" in module.write.__doc__.lower(), "its docstring must say what is lost"

    def test_has_a_sample_in_these_tests(self) -> None:
        assert set(SAMPLES) == set(hypnogram_formats())

    @pytest.mark.parametrize(("format", "name", "content", "stages"), ALL, ids=IDS)
    def test_recognises_its_samples_and_no_other_format_does(self, tmp_path, format, name, content, stages) -> None:
        path = write_sample(tmp_path, name, content)
        found = [key for key, module in hypnogram_formats().items() if module.recognises(path, content[:4096])]
        assert found == [format]

    @pytest.mark.parametrize(("format", "name", "content", "stages"), ALL, ids=IDS)
    def test_reads_its_samples_and_leaves_them_unchanged(self, tmp_path, format, name, content, stages) -> None:
        path = write_sample(tmp_path, name, content)
        hypnogram = read_hypnogram(path)
        assert hypnogram.stages.tolist() == stages
        assert hypnogram.epoch_s == 30.0
        assert hypnogram == read_hypnogram(path, format=format)
        assert path.read_bytes() == content

    @pytest.mark.parametrize(("format", "name", "content", "stages"), ALL, ids=IDS)
    def test_damaged_samples_end_in_a_result_or_a_clean_error(self, tmp_path, format, name, content, stages) -> None:
        chance, refusals = random.Random(f"{format}{name}"), []
        for _ in range(60):
            damaged = bytearray(content)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.choice(
                    [0, 9, 10, 44, 48, 57, 255, chance.randrange(256)]
                )
            damaged = damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])]
            path = write_sample(tmp_path, name, bytes(damaged))
            try:
                hypnogram = read_hypnogram(path, format=format)
            except HypnographError as error:
                refusals.append(str(error))
            else:
                assert hypnogram.n_epochs * hypnogram.epoch_s <= 32 * 86400
        assert all(refusal.startswith(f"{name}: ") for refusal in refusals)


class TestWriting:
    def test_the_short_names_are_those_of_the_command_line(self) -> None:
        assert writable_formats() == {name: f".{name}" for name in ("csv", "edf", "ids", "json", "npy", "tsv", "txt")}
        assert set(writable_formats()) == set(CARRIES)

    @pytest.mark.parametrize("to", [name for name in CARRIES if name not in ("npy", "txt")])
    @given(hypnogram=hypnograms())
    def test_what_is_written_is_read(self, folder: Path, to: str, hypnogram: Hypnogram) -> None:
        carried = replace(hypnogram, **{key: value for key, value in EMPTY.items() if key not in CARRIES[to]})
        carried = replace(carried, scorer=" ".join(carried.scorer.split())) if to == "tsv" else carried
        # A merged scheme shows only where its own labels occur; W and REM alone are AASM.
        own = {name for name in carried.names if name not in ("W", "REM", "UNSCORED")}
        if to != "json" and not own:
            carried = Hypnogram.from_names(carried.names, **{key: getattr(carried, key) for key in (*EMPTY, "epoch_s")})
        path = folder / f"night.{to}"
        write_hypnogram(carried, path, overwrite=True)
        read = read_hypnogram(path)
        if to == "edf":
            assert read.scorer == ""
        assert read == carried

    @pytest.mark.parametrize("to", ["txt", "npy"])
    @given(hypnogram=hypnograms(scheme=AASM_5))
    def test_without_a_time_grid_the_stages_are_read(self, folder: Path, to: str, hypnogram: Hypnogram) -> None:
        path = folder / f"night.{to}"
        write_hypnogram(hypnogram, path, overwrite=True)
        assert read_hypnogram(path) == Hypnogram(hypnogram.stages)

    @pytest.mark.parametrize("to", ["edf", "tsv", "csv", "ids"])
    @given(hypnogram=hypnograms(scheme=AASM_5, start=st.none()))
    def test_a_second_writing_gives_the_same_bytes(self, folder: Path, to: str, hypnogram: Hypnogram) -> None:
        paths = [folder / f"{i}.{to}" for i in range(2)]
        write_hypnogram(hypnogram, paths[0], overwrite=True)
        write_hypnogram(read_hypnogram(paths[0]), paths[1], overwrite=True)
        again = [path.read_bytes() for path in paths]
        assert to in ("edf",) or hypnogram.scorer or again[0] == again[1]

    @pytest.mark.parametrize("to", ["csv", "json"])
    @given(density=hypnodensities())
    def test_probabilities_are_exact(self, folder: Path, to: str, density: Hypnodensity) -> None:
        path = folder / f"density.{to}"
        write_hypnogram(density.argmax(), path, hypnodensity=density, overwrite=True)
        expected = density if to == "json" else replace(density, scorer="")
        assert read_hypnodensity(path) == expected
        assert np.array_equal(read_hypnogram(path).stages, density.argmax().stages)

    @pytest.mark.parametrize("scheme", SCHEMES.values())
    @pytest.mark.parametrize("to", ["edf", "tsv", "csv", "ids", "txt", "json"])
    def test_each_scheme_survives(self, tmp_path: Path, to: str, scheme) -> None:
        hypnogram = Hypnogram(np.arange(-1, scheme.n_stages), scheme=scheme)
        write_hypnogram(hypnogram, tmp_path / f"night.{to}")
        assert read_hypnogram(tmp_path / f"night.{to}").merge(W_SLEEP) == hypnogram.merge(W_SLEEP)
        assert read_hypnogram(tmp_path / f"night.{to}").scheme == scheme

    def test_the_format_may_be_said(self, tmp_path: Path) -> None:
        write_hypnogram(Hypnogram(np.array([0, 4])), tmp_path / "scoring.dat", format="txt", overwrite=True)
        assert (tmp_path / "scoring.dat").read_text() == "W\nREM\n"
        write_hypnogram(Hypnogram(np.array([0, 4])), tmp_path / "scoring.dat", format="ids", overwrite=True)
        assert (tmp_path / "scoring.dat").read_text() == "0,30,W\n30,30,REM\n"

    @pytest.mark.parametrize("name", ["night.xml", "night", "night.npz", "night.bdf"])
    def test_a_format_that_cannot_be_written_is_an_error_that_lists_those_that_can(self, tmp_path, name: str) -> None:
        with pytest.raises(HypnographError, match="csv, edf, ids, json, npy, tsv, txt"):
            write_hypnogram(Hypnogram(np.array([0])), tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_a_hypnogram_without_epochs_is_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(HypnographError, match="nothing to write"):
            write_hypnogram(Hypnogram(np.array([], dtype=int)), tmp_path / "night.csv")

    def test_probabilities_of_another_grid_are_refused(self, tmp_path: Path) -> None:
        density = Hypnodensity(np.full((3, 5), 0.2))
        with pytest.raises(HypnographError, match="another grid"):
            write_hypnogram(Hypnogram(np.array([0])), tmp_path / "night.csv", hypnodensity=density)

    def test_bare_integers_are_not_written_for_other_schemes(self, tmp_path: Path) -> None:
        with pytest.raises(HypnographError, match=r"bare integers.*W-sleep"):
            write_hypnogram(Hypnogram(np.array([0, 1]), scheme=W_SLEEP), tmp_path / "night.npy")
        assert not list(tmp_path.iterdir())


class TestReading:
    def test_a_file_of_no_format_is_refused_with_those_that_are_known(self, tmp_path: Path) -> None:
        (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
        with pytest.raises(UnreadableFileError, match=r"photo.jpg: not a scoring in a known format.*NSRR XML"):
            read_hypnogram(tmp_path / "photo.jpg")
        (tmp_path / "empty.txt").write_bytes(b"")
        with pytest.raises(UnreadableFileError):
            read_hypnogram(tmp_path / "empty.txt")

    def test_a_file_that_is_not_there_is_that(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_hypnogram(tmp_path / "night.edf")

    def test_a_format_that_is_not_known_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "night.txt").write_text("W\n")
        with pytest.raises(HypnographError, match="'polyman' is not one format of scorings"):
            read_hypnogram(tmp_path / "night.txt", format="polyman")
        with pytest.raises(HypnographError, match="cap_text, text"):
            read_hypnogram(tmp_path / "night.txt", format="txt")

    def test_all_endings_are_looked_for(self) -> None:
        assert {".edf", ".xml", ".ids", ".txt", ".st", ".tsv", ".csv", ".npy", ".json"} <= set(hypnogram_suffixes())

    @pytest.mark.parametrize("format", ["ids", "text", "tsv", "csv", "npy", "profusion_xml", "nsrr_xml"])
    def test_onsets_without_a_clock_begin_with_the_recording(self, tmp_path: Path, format: str) -> None:
        from datetime import datetime

        start = datetime(2021, 2, 3, 22, 10, 5)
        name, content, _ = SAMPLES[format][0]
        assert read_hypnogram(write_sample(tmp_path, name, content), recording_start=start).start == start

    @pytest.mark.parametrize("format", ["ids", "text", "tsv", "csv", "edf_annotations"])
    def test_the_stage_map_extends_the_vocabulary(self, tmp_path: Path, format: str) -> None:
        name, content, _ = SAMPLES[format][0]
        renamed = content.replace(b"N2", b"Q7").replace(b"REM", b"Q7")
        path = write_sample(tmp_path, name, renamed)
        hypnogram = read_hypnogram(path, stage_map={"Q7": Stage.N3})
        assert (hypnogram.stages == Stage.N3).any()
        if format != "tsv":  # of trial_type, what is no stage is an event
            with pytest.raises(HypnographError, match=r"Q7.*--stage-map"):
                read_hypnogram(path)

    @pytest.mark.parametrize(("name", "mib"), [("n.xml", 17), ("n.txt", 33), ("n.json", 33)])
    def test_a_file_that_is_too_large_for_a_scoring_is_refused_unread(
        self, tmp_path: Path, name: str, mib: int
    ) -> None:
        format = {"n.xml": "nsrr_xml", "n.txt": "text", "n.json": "json"}[name]
        with (tmp_path / name).open("wb") as file:
            file.truncate(mib * 2**20)
        with pytest.raises(UnreadableFileError, match=f"{mib} MiB are too many for a scoring"):
            read_hypnogram(tmp_path / name, format=format)

    def test_a_text_of_too_many_lines_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "n.txt").write_bytes(b"W\n" * 1_000_001)
        with pytest.raises(UnreadableFileError, match="more than 1000000 lines"):
            read_hypnogram(tmp_path / "n.txt")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
    def test_text_of_any_encoding_is_read(self, encoding: str) -> None:
        text = "Éveil,N1\nN2,Début\n" * 20
        assert decode(text.encode(encoding)) == text

    @given(st.binary(max_size=200))
    def test_any_bytes_are_some_text(self, data: bytes) -> None:
        assert isinstance(decode(data), str)


@given(hypnogram=hypnograms(epoch_s=1 / 3, scheme=AASM_5))
def test_sub_second_times_are_not_cut_to_whole_seconds(folder: Path, hypnogram: Hypnogram) -> None:
    write_hypnogram(hypnogram, folder / "fine.ids", overwrite=True)
    rows = [line.split(",") for line in (folder / "fine.ids").read_text().splitlines()]
    assert [float(onset) for onset, *_ in rows] == [i * (1 / 3) for i in range(hypnogram.n_epochs)]
    write_hypnogram(hypnogram, folder / "fine.csv", overwrite=True)
    again = read_hypnogram(folder / "fine.csv")
    if hypnogram.start is not None:
        assert abs(again.start - hypnogram.start) < timedelta(microseconds=1)
