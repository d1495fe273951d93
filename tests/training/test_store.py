"""The store: what is written is what is read, by any reader, of any part, from any place."""

import json
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.preprocess import InputSpec
from hypnograph.training import prepared_night as night_module
from hypnograph.training import store as store_module
from hypnograph.training.prepared_night import PreparedNight, copy_night, from_runs, to_runs
from hypnograph.training.storage import signal_path
from hypnograph.training.store import Store, create_store, find_night, open_store, write_catalogue, write_night

EEG, EOG = ChannelKind.EEG, ChannelKind.EOG
SPEC = InputSpec((EEG, EOG), 4.0)
N_SAMPLES = SPEC.epoch_samples
NAMES = ((EEG, "C4-M1"), (EEG, "C3-M2"), (EOG, "E1-M2"))


def samples(n_epochs: int, seed: int = 0) -> dict[tuple[ChannelKind, str], np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=(n_epochs, N_SAMPLES)) for key in NAMES}


def add(store: Store, night: str, n_epochs: int = 50, seed: int = 0, **changed: Any) -> dict[str, Any]:
    """Write a night and return its attributes."""
    stages = np.random.default_rng(seed).integers(-1, 5, size=(2, n_epochs)).astype(np.int8)
    entry = {
        "dataset": "lab", "id": night, "subject": night[:2], "family": "", "visit": "", "disorder": "",
        "licence": "CC0", "scorers": ["A", "B"], "clock": "22:30:00", "source": "EDF", "warnings": [],
        "derivations": [{"kind": kind, "name": name} for kind, name in NAMES],
    }  # fmt: skip
    signals = changed.pop("signals", None) or samples(n_epochs, seed)
    return write_night(store, entry | changed, signals, changed.pop("stages", stages))


def one_night(address: object, n_epochs: int = 50, **options: Any) -> PreparedNight:
    store = create_store(str(address), SPEC, **options)
    return write_catalogue(store, [add(store, "s1n1", n_epochs)]).nights[0]


@pytest.fixture
def night(tmp_path: Path) -> PreparedNight:
    return one_night(tmp_path / "store")


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://prepared/store"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


class CountedFiles(MemoryFileSystem):
    """Files in memory that count the bytes that are read."""

    protocol = "counted"
    reads: list[int] = []  # noqa: RUF012

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        content = super().cat_file(path, start=start, end=end, **options)
        self.reads.append(len(content))
        return content


@pytest.fixture
def counted() -> Iterator[list[int]]:
    fsspec.register_implementation("counted", CountedFiles, clobber=True)
    CountedFiles.reads.clear()
    yield CountedFiles.reads
    CountedFiles.store.clear()


class TestReading:
    def test_samples_come_back_rounded_to_eleven_bits(self, night: PreparedNight) -> None:
        for (kind, name), written in samples(50).items():
            read = night.read(kind, name)
            assert read.dtype == np.float32
            np.testing.assert_allclose(read, written, rtol=2**-11, atol=1e-7)

    def test_float32_keeps_them_to_the_last_bit(self, tmp_path: Path) -> None:
        night = one_night(tmp_path, dtype="float32")
        np.testing.assert_array_equal(night.read(EEG, "C4-M1"), samples(50)[EEG, "C4-M1"].astype(np.float32))

    @pytest.mark.parametrize("options", [{}, {"compress": True}, {"chunk_epochs": 7}, {"dtype": "float32"}])
    def test_zarr_alone_reads_the_same(self, tmp_path: Path, options: dict[str, Any]) -> None:
        night = one_night(tmp_path, **options)
        array = zarr.open_array(str(tmp_path), path="nights/lab/s1n1/signals/EEG/C4-M1", mode="r")
        assert array.shape == (50, N_SAMPLES)
        np.testing.assert_array_equal(array[:].astype(np.float32), night.read(EEG, "C4-M1"))
        stages = zarr.open_array(str(tmp_path), path="nights/lab/s1n1/stages", mode="r")
        np.testing.assert_array_equal(stages[:], night.stages)

    @settings(max_examples=25, deadline=None)
    @given(data=st.data(), n_epochs=st.integers(1, 40), chunk=st.integers(1, 20), compress=st.booleans())
    def test_any_window_is_that_part_of_the_night(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n_epochs: int, chunk: int, compress: bool
    ) -> None:
        address = tmp_path_factory.mktemp("store")
        night = one_night(address, n_epochs, chunk_epochs=chunk, compress=compress)
        first = data.draw(st.integers(0, n_epochs - 1))
        past_last = data.draw(st.integers(first + 1, n_epochs))
        expected = samples(n_epochs)[EOG, "E1-M2"].astype(np.float32).astype(np.float16)[first:past_last]
        np.testing.assert_array_equal(night.read(EOG, "E1-M2", first, past_last), expected.astype(np.float32))

    def test_a_part_of_a_larger_array_is_filled_in_place(self, night: PreparedNight) -> None:
        batch = np.full((2, 10, 2, N_SAMPLES), np.nan, dtype=np.float32)
        returned = night.read(EEG, "C3-M2", 5, 15, out=batch[1, :, 0])
        assert np.shares_memory(returned, batch)
        np.testing.assert_array_equal(batch[1, :, 0], night.read(EEG, "C3-M2")[5:15])
        assert np.isnan(batch[0]).all()
        assert np.isnan(batch[1, :, 1]).all()

    def test_silence_at_the_beginning_moves_nothing_and_is_no_slower(self, tmp_path: Path, monkeypatch) -> None:
        """Zarr leaves chunks of zeros out unless told otherwise."""
        monkeypatch.setattr(night_module, "_through_zarr", lambda *_: pytest.fail("zarr was asked"))
        store = create_store(tmp_path, SPEC)
        signals = samples(50)
        signals[EEG, "C4-M1"][:20] = 0
        (night,) = write_catalogue(store, [add(store, "s1", signals=signals)]).nights
        np.testing.assert_array_equal(night.read(EEG, "C4-M1", 15, 25)[:5], 0)
        np.testing.assert_allclose(night.read(EEG, "C4-M1", 20, 25), signals[EEG, "C4-M1"][20:25], rtol=2**-11)

    def test_uncompressed_files_are_read_without_zarr(self, night: PreparedNight, monkeypatch) -> None:
        monkeypatch.setattr(night_module, "_through_zarr", lambda *_: pytest.fail("zarr was asked"))
        assert night.read(EEG, "C4-M1", 3, 9).shape == (6, N_SAMPLES)

    def test_chunks_that_lie_in_another_order_are_left_to_zarr(self, night: PreparedNight) -> None:
        import google_crc32c

        file = Path(night.storage.address, "nights/lab/s1n1/signals/EEG/C4-M1/c/0/0")
        content, chunk = file.read_bytes(), 16 * N_SAMPLES * 2
        index = np.frombuffer(content[4 * chunk : -4], "<u8").reshape(4, 2)[[1, 0, 2, 3]].tobytes()
        swapped = content[chunk : 2 * chunk] + content[:chunk] + content[2 * chunk : 4 * chunk] + index
        file.write_bytes(swapped + google_crc32c.value(index).to_bytes(4, "little"))
        expected = samples(50)[EEG, "C4-M1"][10:20]
        np.testing.assert_allclose(night.read(EEG, "C4-M1", 10, 20), expected, rtol=2**-11, atol=1e-7)

    def test_values_beyond_a_float16_are_clipped_to_its_largest(self, tmp_path: Path) -> None:
        store = create_store(tmp_path, SPEC)
        loud = {key: np.full((3, N_SAMPLES), -1e9) for key in NAMES}
        (night,) = write_catalogue(store, [add(store, "s1", 3, signals=loud)]).nights
        assert (night.read(EEG, "C4-M1") == -65504).all()

    def test_threads_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        for compress in (False, True):
            night = one_night(tmp_path / str(compress), compress=compress)
            whole = {key: night.read(*key) for key in NAMES}

            def right(place: int, night: PreparedNight = night, whole: Any = whole) -> bool:
                key, first = NAMES[place % 3], place % 40
                return np.array_equal(night.read(*key, first, first + 9), whole[key][first : first + 9])

            with ThreadPoolExecutor(8) as pool:
                assert all(pool.map(right, range(300)))

    def test_a_night_that_was_prepared_again_is_read_anew(self, tmp_path: Path) -> None:
        store = create_store(tmp_path, SPEC, compress=True)
        for n_epochs in (20, 40):
            (night,) = write_catalogue(store, [add(store, "s1", n_epochs)]).nights
            assert night.read(EEG, "C4-M1").shape == (n_epochs, N_SAMPLES)

    def test_a_night_travels_to_another_process(self, night: PreparedNight) -> None:
        travelled = pickle.loads(pickle.dumps(night))
        np.testing.assert_array_equal(travelled.read(EEG, "C4-M1"), night.read(EEG, "C4-M1"))

    @pytest.mark.parametrize("epochs", [(0, 51), (-1, 3), (7, 7)])
    def test_epochs_that_are_not_there_are_refused(self, night: PreparedNight, epochs: tuple[int, int]) -> None:
        with pytest.raises(HypnographError, match="there are 50"):
            night.read(EEG, "C4-M1", *epochs)

    def test_a_derivation_that_is_not_there_is_refused_by_name(self, night: PreparedNight) -> None:
        with pytest.raises(HypnographError, match=r"no EEG 'Cz'.*EEG C4-M1, EEG C3-M2, EOG E1-M2"):
            night.read(EEG, "Cz")

    def test_an_array_of_another_shape_is_not_broadcast_into(self, night: PreparedNight) -> None:
        with pytest.raises(HypnographError, match="shape"):
            night.read(EEG, "C4-M1", 0, 1, out=np.empty((5, N_SAMPLES), np.float32))


class TestRemoteReading:
    def test_a_store_in_memory_is_written_and_read_like_a_folder(self, memory: str, tmp_path: Path) -> None:
        local, remote = one_night(tmp_path), one_night(memory)
        (reopened,) = open_store(memory).nights
        assert reopened.sha256 == remote.sha256 == local.sha256
        np.testing.assert_array_equal(reopened.read(EOG, "E1-M2", 17, 40), local.read(EOG, "E1-M2", 17, 40))

    def test_a_window_costs_its_own_bytes_and_the_index_once(self, counted: list[int]) -> None:
        night = one_night("counted://store", 400)
        counted.clear()
        night.read(EEG, "C4-M1", 100, 135)
        index = 16 * 25 + 4
        assert sorted(counted) == sorted([index, 35 * N_SAMPLES * 2])
        counted.clear()
        night.read(EEG, "C4-M1", 200, 235)
        assert counted == [35 * N_SAMPLES * 2]

    def test_a_compressed_window_costs_the_chunks_that_it_touches(self, counted: list[int]) -> None:
        night = one_night("counted://store", 400, compress=True)
        whole = len(night.storage.read_bytes("nights/lab/s1n1/signals/EEG/C4-M1/c/0/0"))
        night.read(EEG, "C4-M1", 0, 1)
        counted.clear()
        night.read(EEG, "C4-M1", 100, 135)
        # 35 of 400 epochs touch 3 of 25 chunks here.
        assert 0.08 * whole < sum(counted) < 0.2 * whole

    def test_one_read_opens_a_store_of_many_nights(self, counted: list[int]) -> None:
        store = create_store("counted://store", SPEC)
        write_catalogue(store, [add(store, f"s{i}", 3) for i in range(10)])
        counted.clear()
        assert len(open_store("counted://store").nights) == 10
        assert len(counted) == 1


class TestStages:
    def test_every_scorer_is_kept_and_unscored_epochs_keep_their_place(self, tmp_path: Path) -> None:
        store = create_store(tmp_path, SPEC)
        stages = np.array([[0, -1, 2, 4], [0, 0, 3, -1]], dtype=np.int8)
        (night,) = write_catalogue(store, [add(store, "s1", 4, stages=stages)]).nights
        np.testing.assert_array_equal(night.stages, stages)
        assert not night.stages.flags.writeable
        assert night.hypnogram("B").names == ["W", "W", "N3", "UNSCORED"]
        assert night.hypnogram().scorer == "A"
        with pytest.raises(HypnographError, match="there are: A, B"):
            night.hypnogram("C")

    def test_soft_stages_are_the_shares_of_those_who_scored(self, tmp_path: Path) -> None:
        store = create_store(tmp_path, SPEC)
        stages = np.array([[0, -1, 2], [1, 4, 2], [0, -1, -1]], dtype=np.int8)[:, [0, 1, 2, 2]]
        stages[:, 3] = -1
        entry = add(store, "s1", 4, stages=stages, scorers=["A", "B", "C"])
        soft = write_catalogue(store, [entry]).nights[0].soft_stages()
        np.testing.assert_allclose(soft[0], [2 / 3, 1 / 3, 0, 0, 0], rtol=1e-6)
        np.testing.assert_array_equal(soft[1], [0, 0, 0, 0, 1])
        np.testing.assert_array_equal(soft[2], [0, 0, 1, 0, 0])
        assert np.isnan(soft[3]).all()

    @given(st.lists(st.integers(-1, 4), max_size=60))
    def test_stages_survive_being_written_as_text(self, stages: list[int]) -> None:
        array = np.array(stages, dtype=np.int8)
        np.testing.assert_array_equal(from_runs(to_runs(array)), array)


class TestNames:
    @given(st.text(min_size=1), st.text(min_size=1))
    def test_two_names_never_share_a_file_and_none_leaves_its_folder(self, one: str, other: str) -> None:
        files = [signal_path(EEG, name).removeprefix("signals/EEG/") for name in (one, other)]
        assert (files[0] == files[1]) == (one == other)
        assert not set(files[0]) & set("/\\.:%")

    def test_odd_names_of_nights_and_derivations_are_kept(self, tmp_path: Path) -> None:
        store = create_store(tmp_path, SPEC)
        odd = {(EEG, "EEG Fpz/Cz"): np.ones((3, N_SAMPLES)), (EOG, ".."): np.zeros((3, N_SAMPLES))}
        listed = [{"kind": kind, "name": name} for kind, name in odd]
        write_catalogue(store, [add(store, "../a/b.c", 3, signals=odd, derivations=listed)])
        (night,) = open_store(tmp_path).nights
        assert night.key == "lab/../a/b.c"
        assert (night.read(EEG, "EEG Fpz/Cz") == 1).all()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["catalogue.json", "nights", "zarr.json"]


class TestDamage:
    @pytest.mark.parametrize("compress", [False, True])
    def test_a_file_cut_short_is_refused(self, tmp_path: Path, compress: bool) -> None:
        night = one_night(tmp_path, compress=compress)
        file = tmp_path / "nights/lab/s1n1/signals/EEG/C4-M1/c/0/0"
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(UnreadableFileError, match="damaged"):
            night.read(EEG, "C4-M1", 40, 50)

    def test_a_changed_sample_is_found_when_the_night_is_verified(self, night: PreparedNight) -> None:
        night.verify()
        file = Path(night.storage.address, "nights/lab/s1n1/signals/EOG/E1-M2/c/0/0")
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
        with pytest.raises(UnreadableFileError, match="lab/s1n1 is damaged"):
            night.verify()

    def test_a_damaged_catalogue_is_named(self, night: PreparedNight) -> None:
        Path(night.storage.address, "catalogue.json").write_text('{"hypnograph_store": 1,')
        with pytest.raises(UnreadableFileError, match=r"catalogue\.json is damaged"):
            open_store(night.storage.address)

    def test_a_newer_store_asks_for_a_newer_hypnograph(self, night: PreparedNight) -> None:
        path = Path(night.storage.address, "catalogue.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"hypnograph_store": 99}))
        with pytest.raises(UnreadableFileError, match="format 99"):
            open_store(night.storage.address)

    def test_a_night_whose_attributes_were_never_written_does_not_count(self, tmp_path: Path, monkeypatch) -> None:
        store = create_store(tmp_path, SPEC)
        add(store, "whole")
        with monkeypatch.context() as broken:
            broken.setattr(store_module, "content_sha256", lambda *_: pytest.fail("pulled the plug"))
            with pytest.raises(pytest.fail.Exception):
                add(store, "partial")
        assert (tmp_path / "nights/lab/partial/signals").is_dir()
        assert find_night(store, "lab", "partial") is None
        assert [night.id for night in open_store(tmp_path).nights] == ["whole"]


class TestCreating:
    def test_the_same_store_is_opened_again_whatever_the_context(self, night: PreparedNight) -> None:
        again = create_store(night.storage.address, replace(SPEC, context=35))
        assert [known.key for known in again.nights] == ["lab/s1n1"]

    def test_nights_that_are_prepared_otherwise_go_elsewhere(self, night: PreparedNight) -> None:
        with pytest.raises(HypnographError, match=r"sample_rate 4\.0, not 8\.0; prepare into another store"):
            create_store(night.storage.address, InputSpec((EEG, EOG), 8.0))
        with pytest.raises(HypnographError, match="dtype 'float16', not 'float32'"):
            create_store(night.storage.address, SPEC, dtype="float32")

    def test_a_folder_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(HypnographError, match="no store"):
            create_store(tmp_path, SPEC)
        assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]

    @pytest.mark.parametrize("address", ["absent", "memory://absent"])
    def test_what_is_no_store_is_said_to_be_none(self, tmp_path: Path, address: str) -> None:
        with pytest.raises(UnreadableFileError, match="no store of prepared nights"):
            open_store(address if "://" in address else tmp_path / address)

    @pytest.mark.parametrize("package", ["zarr.storage", "fsspec.core"])
    def test_without_its_packages_it_says_what_to_install(self, package: str, memory: str, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(HypnographError, match=r"pip install 'hypnograph\[train\]'"):
            create_store(memory, SPEC)

    def test_an_address_that_nobody_knows_is_named(self) -> None:
        with pytest.raises(HypnographError, match="moon://base"):
            open_store("moon://base")

    def test_a_spec_comes_back_as_it_was(self, tmp_path: Path) -> None:
        spec = InputSpec((EEG,), 100.0, (0.3, 35.0), 20.0, "clip", 10.0, "robust", "polyphase")
        create_store(tmp_path, spec)
        assert open_store(tmp_path).spec == spec

    def test_of_two_that_create_a_store_at_once_both_have_it(self, tmp_path: Path, monkeypatch) -> None:
        """The other is done between looking for a store and making one."""
        find, looked = store_module.find_store, []

        def look(address: object) -> object:
            looked.append(address)
            found = find(address)
            if len(looked) == 1:
                create_store(tmp_path / "store", SPEC)
            return found

        monkeypatch.setattr(store_module, "find_store", look)
        assert create_store(tmp_path / "store", SPEC).nights == ()


class TestSelection:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        store = create_store(tmp_path, SPEC)
        entries = [add(store, name, 3, seed) for seed, name in enumerate(("s1n1", "s1n2", "s2n1"))]
        entries.append(add(store, "s1", 3, 9, dataset="clinic", family="f7"))
        return write_catalogue(store, entries)

    def test_subjects_are_persons_of_a_dataset(self, store: Store) -> None:
        assert store.subjects == ("clinic/s1", "lab/s1", "lab/s2")
        assert store.families == {"clinic/s1": "clinic/f7", "lab/s1": "lab/s1", "lab/s2": "lab/s2"}

    def test_parts_are_selected_by_person_and_by_dataset(self, store: Store) -> None:
        assert [n.key for n in store.select(subjects=["lab/s1"]).nights] == ["lab/s1n1", "lab/s1n2"]
        assert [n.key for n in store.select(datasets=["clinic"]).nights] == ["clinic/s1"]

    def test_who_is_not_there_is_named(self, store: Store) -> None:
        with pytest.raises(HypnographError, match="1 subjects have no night in this store: lab/s9"):
            store.select(subjects=["lab/s1", "lab/s9"])

    def test_the_hash_is_of_the_content_not_of_the_order(self, store: Store, tmp_path: Path) -> None:
        other = create_store(tmp_path / "other", SPEC)
        entries = [add(other, name, 3, seed) for seed, name in enumerate(("s1n1", "s1n2", "s2n1"))]
        entries.append(add(other, "s1", 3, 9, dataset="clinic", family="f7"))
        assert write_catalogue(other, reversed(entries)).sha256 == store.sha256
        assert replace(store, nights=store.nights[::-1]).sha256 == store.sha256
        changed = write_catalogue(other, [add(other, "s1n1", 3, seed=77)])
        assert changed.sha256 != store.sha256
        assert store.select(datasets=["lab"]).sha256 != store.sha256


class TestCopies:
    def test_a_copy_reads_the_same_when_the_store_is_gone(self, memory: str, tmp_path: Path) -> None:
        night = one_night(memory)
        expected = night.read(EEG, "C4-M1", 5, 40)
        copied = copy_night(night, tmp_path)
        MemoryFileSystem.store.clear()
        np.testing.assert_array_equal(copied.read(EEG, "C4-M1", 5, 40), expected)
        np.testing.assert_array_equal(copy_night(night, tmp_path).read(EEG, "C4-M1", 5, 40), expected)

    def test_a_night_of_wake_is_copied_too(self, tmp_path: Path) -> None:
        """zarr leaves out a chunk that is all zeros, and wake is 0."""
        store = create_store(tmp_path / "store", SPEC)
        entry = add(store, "s1n1", 4, stages=np.zeros((2, 4), dtype=np.int8))
        (night,) = write_catalogue(store, [entry]).nights
        copy = copy_night(night, tmp_path / "cache")
        assert copy.hypnogram().names == ["W"] * 4
        np.testing.assert_array_equal(copy.read(EEG, "C4-M1"), night.read(EEG, "C4-M1"))

    def test_what_arrives_damaged_is_not_kept(self, night: PreparedNight, tmp_path: Path) -> None:
        file = Path(night.storage.address, "nights/lab/s1n1/signals/EOG/E1-M2/c/0/0")
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
        with pytest.raises(UnreadableFileError):
            copy_night(night, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_two_threads_may_want_the_same_night(self, night: PreparedNight, tmp_path: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            copies = list(pool.map(lambda _: copy_night(night, tmp_path / "cache"), range(8)))
        assert len({copy.storage.address for copy in copies}) == 1
        assert [p.name for p in (tmp_path / "cache").iterdir()] == [night.sha256]
