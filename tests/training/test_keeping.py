"""All ways of keeping nights give the samples of the store; the oracle is `PreparedNight.read`."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import get_args

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind
from hypnograph.preprocess import InputSpec
from hypnograph.training import keeping
from hypnograph.training.keeping import Keeper, Keeping, Whole, create_keeper
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.store import Store

from .nights import write_store

EEG, EOG = ChannelKind.EEG, ChannelKind.EOG


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return six nights of 20 to 25 epochs with two EEG and two EOG derivations."""
    spec = InputSpec((EEG, EOG), sample_rate=2.0)
    return write_store(tmp_path_factory.mktemp("store"), spec, n_subjects=6, n_epochs=20, derivations=2)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Count what is read of which night, whole, from now on."""
    counted: Counter[tuple[str, str]] = Counter()
    read = PreparedNight.read

    def counting(night: PreparedNight, kind: str, name: str, *args: object, **options: object) -> object:
        counted[night.id, name] += 1
        return read(night, kind, name, *args, **options)

    monkeypatch.setattr(PreparedNight, "read", counting)
    return counted


def taken(keeper: Keeper, night: int, name: str = "EEG 1", first: int = 3, past_last: int = 9) -> np.ndarray:
    out = np.full((past_last - first, 60), np.nan, dtype=np.float32)
    keeper.read(night, ChannelKind(name[:3]), name, first, past_last, out=out)
    return out


class TestEveryWay:
    @pytest.mark.parametrize("way", get_args(Keeping))
    def test_the_samples_are_those_of_the_store(self, way: Keeping, store: Store, tmp_path: Path) -> None:
        keeper = create_keeper(way, store.nights, limit=2, folder=tmp_path)
        rng = np.random.default_rng(1)
        for _ in range(100):
            night, name = int(rng.integers(6)), str(rng.choice(["EEG 1", "EEG 2", "EOG 1", "EOG 2"]))
            first = int(rng.integers(19))
            past_last = int(rng.integers(first + 1, 21))
            direct = store.nights[night].read(name[:3], name, first, past_last)
            np.testing.assert_array_equal(taken(keeper, night, name, first, past_last), direct)

    @pytest.mark.parametrize("way", get_args(Keeping))
    def test_it_fills_a_part_of_a_larger_array(self, way: Keeping, store: Store, tmp_path: Path) -> None:
        out = np.zeros((6, 2, 60), dtype=np.float32)
        create_keeper(way, store.nights, folder=tmp_path).read(1, EOG, "EOG 2", 3, 9, out=out[:, 1])
        np.testing.assert_array_equal(out[:, 1], store.nights[1].read(EOG, "EOG 2", 3, 9))
        assert not out[:, 0].any()

    def test_a_way_that_there_is_not_is_refused_with_those_that_there_are(self, store: Store) -> None:
        with pytest.raises(HypnographError, match=r"'disk'.*There are: memory, lazy, pool, stream, cache"):
            create_keeper("disk", store.nights)  # type: ignore[arg-type]


class TestMemory:
    def test_every_derivation_is_read_once_and_never_again(self, store: Store, reads: Counter[tuple[str, str]]) -> None:
        keeper = create_keeper("memory", store.nights)
        assert len(reads) == 24
        for night in range(6):
            taken(keeper, night)
        assert set(reads.values()) == {1}

    def test_samples_take_the_space_they_take_in_the_store(self, store: Store) -> None:
        keeper = create_keeper("memory", store.nights)
        assert isinstance(keeper, Whole)
        assert keeper.load(0, EEG, "EEG 1").dtype == np.float16


class TestLazy:
    def test_nothing_is_kept_and_only_what_is_wanted_is_read(
        self, store: Store, reads: Counter[tuple[str, str]]
    ) -> None:
        keeper = create_keeper("lazy", store.nights)
        for _ in range(3):
            taken(keeper, 2)
        assert reads == {(store.nights[2].id, "EEG 1"): 3}


class TestPool:
    def test_the_nights_used_last_stay(self, store: Store, reads: Counter[tuple[str, str]]) -> None:
        keeper = create_keeper("pool", store.nights, limit=2)
        ids = [night.id for night in store.nights]
        for night in (0, 1, 0, 1, 0):
            taken(keeper, night)
        assert reads == {(ids[0], "EEG 1"): 1, (ids[1], "EEG 1"): 1}
        taken(keeper, 2)  # night 1 was used before night 0
        taken(keeper, 0)
        assert reads[ids[0], "EEG 1"] == 1
        taken(keeper, 1)
        assert reads[ids[1], "EEG 1"] == 2

    def test_it_never_keeps_more_nights_than_its_limit(self, store: Store) -> None:
        keeper = create_keeper("pool", store.nights, limit=2)
        assert isinstance(keeper, Whole)
        rng = np.random.default_rng(1)
        for _ in range(60):
            taken(keeper, int(rng.integers(6)), str(rng.choice(["EEG 1", "EEG 2"])))
            assert len(keeper._kept) <= 2

    def test_threads_that_want_the_same_night_read_it_once(self, store: Store, reads: Counter[tuple[str, str]]) -> None:
        keeper = create_keeper("pool", store.nights, limit=2)
        together = Barrier(8)

        def at_once(_: int) -> np.ndarray:
            together.wait(timeout=10)
            return taken(keeper, 4)

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(at_once, range(8)))
        assert set(reads.values()) == {1}
        assert all(np.array_equal(one, found[0]) for one in found)


class TestStream:
    def test_only_the_epochs_of_a_window_are_read(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        read = PreparedNight.read

        def listening(night: PreparedNight, kind: str, name: str, *span: int, out: np.ndarray) -> np.ndarray:
            asked.append(span)
            return read(night, kind, name, *span, out=out)

        monkeypatch.setattr(PreparedNight, "read", listening)
        taken(create_keeper("stream", store.nights), 2, first=4, past_last=7)
        assert asked == [(4, 7)]


class TestCache:
    def test_a_night_is_copied_once_when_it_is_first_wanted(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copied: list[str] = []
        copy_night = keeping.copy_night

        def counting(night: PreparedNight, folder: str | Path) -> PreparedNight:
            copied.append(night.id)
            return copy_night(night, folder)

        monkeypatch.setattr(keeping, "copy_night", counting)
        keeper = create_keeper("cache", store.nights, folder=tmp_path)
        assert not copied
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: taken(keeper, 3), range(16)))
        assert copied == [store.nights[3].id]
        assert [folder.name for folder in tmp_path.iterdir()] == [store.nights[3].sha256]

    def test_it_reads_its_copies(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keeper = create_keeper("cache", store.nights, folder=tmp_path)
        before = taken(keeper, 3)
        places: list[str] = []
        read = PreparedNight.read

        def listening(night: PreparedNight, *args: object, **options: object) -> object:
            places.append(night.storage.address)
            return read(night, *args, **options)

        monkeypatch.setattr(PreparedNight, "read", listening)
        np.testing.assert_array_equal(taken(keeper, 3), before)
        assert places == [str(tmp_path / store.nights[3].sha256)]

    def test_without_a_folder_it_is_refused(self, store: Store) -> None:
        with pytest.raises(HypnographError, match="needs a folder"):
            create_keeper("cache", store.nights)
