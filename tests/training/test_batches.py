"""From steps to arrays, the same whoever loads them; the oracle is plain slicing of whole nights."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind
from hypnograph.preprocess import InputSpec
from hypnograph.training.augmentation import create_augmentation
from hypnograph.training.batches import Batch, Loader, stage_targets
from hypnograph.training.keeping import Keeping, create_keeper
from hypnograph.training.recipes import Sampling
from hypnograph.training.sampled_windows import Nights, Step, Window
from hypnograph.training.sampling import create_sampler
from hypnograph.training.store import Store

from .nights import write_store

EEG, EOG = ChannelKind.EEG, ChannelKind.EOG
CONTEXT, SAMPLES = 7, 60
NOISE = [create_augmentation("gaussian-noise", sd=0.5, probability=0.5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return five nights of 20 to 24 epochs with two EEG and two EOG derivations; two epochs are unscored."""
    spec = InputSpec((EEG, EOG), sample_rate=SAMPLES / 30)
    folder = tmp_path_factory.mktemp("store")
    return write_store(folder, spec, n_subjects=5, n_epochs=20, derivations=2, unscored=(3, 17))


def nights_of(store: Store) -> Nights:
    return Nights(store.nights, [night.stages[0] for night in store.nights], (EOG, EEG), SAMPLES)


def loader(store: Store, keeping: Keeping = "stream", *, soft: bool = False, **options: Any) -> Loader:
    targets = [stage_targets(night.stages, "soft" if soft else "first", 5) for night in store.nights]
    keeper = create_keeper(keeping, store.nights, limit=2, folder=Path(store.address, "..", "cache"))
    given = {"augmentations": NOISE, "context": CONTEXT, "seed": 3} | options
    return Loader(nights=nights_of(store), targets=targets, keeper=keeper, **given)


def batches(of: Loader, workers: int = 0, n_pass: int = 1, **recipe: Any) -> list[Batch]:
    values = {"name": "tracks", "context": CONTEXT, "batch": 3, "shift_s": 3.0, "skip": 2} | recipe
    return list(of.batches(create_sampler(Sampling(**values), of.nights, 1), n_pass, workers=workers))


def same(some: Sequence[Batch], others: Sequence[Batch]) -> bool:
    return len(some) == len(others) and all(
        a.goes_on == b.goes_on
        and np.array_equal(a.signals, b.signals)
        and np.array_equal(a.targets, b.targets, equal_nan=True)
        and np.array_equal(a.all_targets, b.all_targets, equal_nan=True)
        for a, b in zip(some, others, strict=True)
    )


@dataclass
class Planned:
    """A sampler of given steps."""

    planned: Sequence[Step]

    def steps(self, n_pass: int) -> Iterator[Step]:
        yield from self.planned

    def n_steps(self, n_pass: int) -> int:
        return len(self.planned)


def one_window(of: Loader, window: Window) -> Batch:
    return of.load(Step((window,)), 0, 0)


class TestWhoLoads:
    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_the_arrays_do_not_depend_on_the_number_of_threads(self, workers: int, store: Store) -> None:
        alone = batches(loader(store))
        assert len(alone) > 4
        assert same(batches(loader(store), workers=workers), alone)

    @pytest.mark.parametrize("keeping", get_args(Keeping))
    def test_the_arrays_do_not_depend_on_how_nights_are_kept(self, keeping: Keeping, store: Store) -> None:
        assert same(batches(loader(store, keeping), workers=2), batches(loader(store)))

    @pytest.mark.parametrize("world", [2, 3, 4])
    def test_processes_together_see_the_windows_of_one(self, world: int, store: Store) -> None:
        alone = batches(loader(store), name="balanced", batch=5)
        ranks = [batches(loader(store, rank=rank, world=world), name="balanced", batch=5) for rank in range(world)]
        for step, whole in enumerate(alone):
            for rank, of_rank in enumerate(ranks):
                np.testing.assert_array_equal(of_rank[step].signals, whole.signals[rank::world])
                np.testing.assert_array_equal(of_rank[step].targets, whole.targets[rank::world])
                np.testing.assert_array_equal(of_rank[step].all_targets, whole.targets)

    def test_passes_steps_and_windows_are_augmented_differently_and_seeds_too(self, store: Store) -> None:
        window = Window(0, 4, 7, ("EOG 1", "EEG 1"))
        always = [create_augmentation("gaussian-noise", sd=0.5)]
        plain = one_window(loader(store, augmentations=[]), window).signals[0]
        of, other_seed = loader(store, augmentations=always), loader(store, augmentations=always, seed=4)
        twice = Step((window, window))
        noises = [*of.load(twice, 0, 0).signals, *of.load(twice, 0, 1).signals, *of.load(twice, 1, 0).signals]
        noises = [noise - plain for noise in (*noises, *other_seed.load(twice, 0, 0).signals)]
        pairs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for i, a in enumerate(noises) for b in noises[:i]]
        assert np.abs(pairs).max() < 0.2
        np.testing.assert_array_equal(of.load(twice, 0, 0).signals[1] - plain, noises[1])


class TestThreads:
    def loading(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("load")]

    def test_a_consumer_that_stops_early_leaves_no_thread(self, store: Store) -> None:
        of = loader(store)
        sampler = create_sampler(Sampling(name="natural", batch=2), of.nights, 1)
        produced = of.batches(sampler, 0, workers=3)
        next(produced)
        assert self.loading()
        produced.close()
        assert not self.loading()

    def test_an_error_of_a_thread_reaches_the_consumer_and_leaves_no_thread(self, store: Store) -> None:
        beyond = Step((Window(0, 19, 9, ("EOG 1", "EEG 1")),))
        with pytest.raises(HypnographError, match="epochs 19 to 28; there are 20"):
            list(loader(store, context=9).batches(Planned([beyond]), 0, workers=2))
        assert not self.loading()

    def test_no_more_batches_wait_than_asked(self, store: Store) -> None:
        loaded: list[int] = []

        @dataclass(frozen=True, eq=False)
        class Counting(Loader):
            def load(self, step: Step, n_pass: int, index: int) -> Batch:
                loaded.append(index)
                return super().load(step, n_pass, index)

        of = loader(store)
        of = Counting(of.nights, of.targets, of.keeper, (), 1, 0)
        produced = of.batches(create_sampler(Sampling(name="natural", batch=2), of.nights, 1), 0, workers=2, ahead=5)
        for n_taken in range(1, 9):
            next(produced)
            time.sleep(0.01)
            assert len(loaded) <= n_taken + 5
        produced.close()


class TestSignals:
    def test_a_window_holds_its_epochs_in_the_network_s_order_of_channels(self, store: Store) -> None:
        batch = one_window(loader(store, augmentations=[]), Window(2, 5, 7, ("EOG 2", "EEG 1")))
        assert batch.signals.dtype == np.float32
        assert batch.signals.shape == (1, CONTEXT, 2, SAMPLES)
        np.testing.assert_array_equal(batch.signals[0, :, 0], store.nights[2].read(EOG, "EOG 2", 5, 12))
        np.testing.assert_array_equal(batch.signals[0, :, 1], store.nights[2].read(EEG, "EEG 1", 5, 12))
        np.testing.assert_array_equal(batch.targets[0], store.nights[2].stages[0, 5:12])

    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("n_epochs", [0, 3])
    def test_what_is_padded_is_zero_and_unscored(self, soft: bool, n_epochs: int, store: Store) -> None:
        of = loader(store, soft=soft, augmentations=[create_augmentation("gaussian-noise", sd=0.5)])
        batch = one_window(of, Window(0, 20 - n_epochs, n_epochs, ("EOG 2", "EEG 1")))
        assert not batch.signals[0, n_epochs:].any()
        padding = batch.targets[0, n_epochs:]
        assert np.isnan(padding).all() if soft else (padding == -1).all()
        assert batch.signals[0, :n_epochs].any(axis=(1, 2)).all()
        np.testing.assert_array_equal(batch.targets[0, :n_epochs], of.targets[0][20 - n_epochs :])

    @pytest.mark.parametrize("u", [-59, -7, -1, 1, 30, 59])
    def test_a_shifted_night_is_the_rolled_one_without_the_epoch_that_wraps(self, u: int, store: Store) -> None:
        # Oracle: TinySleepNet's augmentation by np.roll of the whole night.
        night, of = store.nights[1], loader(store, augmentations=[])
        rolled = np.roll(night.read(EEG, "EEG 2").ravel(), u).reshape(-1, SAMPLES)
        kept = slice(1, None) if u > 0 else slice(0, -1)
        rolled, stages = rolled[kept], night.stages[0][kept]
        read = []
        for first in range(0, len(rolled), CONTEXT):
            n_epochs = min(CONTEXT, len(rolled) - first)
            window = Window(1, first + (u > 0), n_epochs, ("EOG 1", "EEG 2"), offset=-u)
            batch = one_window(of, window)
            read.append(batch.signals[0, :n_epochs, 1])
            np.testing.assert_array_equal(batch.targets[0, :n_epochs], stages[first : first + n_epochs])
        np.testing.assert_array_equal(np.concatenate(read), rolled)

    @pytest.mark.parametrize("offset", [-60, 60])
    def test_a_shift_by_an_epoch_is_refused(self, offset: int, store: Store) -> None:
        with pytest.raises(HypnographError, match=f"shift of {offset} samples; epochs have 60"):
            one_window(loader(store), Window(1, 5, 3, ("EOG 1", "EEG 2"), offset))

    def test_whole_tracks_are_the_rolled_nights(self, store: Store) -> None:
        # Oracle: np.roll, from the sampler to the arrays.
        of = loader(store, augmentations=[])
        sampler = create_sampler(Sampling(name="tracks", context=CONTEXT, batch=1, shift_s=3.0), of.nights, 1)
        seen: dict[tuple[int, str, int], list[np.ndarray]] = {}
        for step, batch in zip(sampler.steps(0), of.batches(sampler, 0), strict=True):
            (window,) = step.windows
            key = window.night, window.derivations[1], -window.offset
            seen.setdefault(key, []).append(batch.signals[0, : window.n_epochs, 1])
        assert {np.sign(u) for _, _, u in seen} >= {-1, 1}
        assert sorted(night for night, _, _ in seen) == [0, 1, 2, 3, 4]
        for (index, name, u), parts in seen.items():
            rolled = np.roll(store.nights[index].read(EEG, name).ravel(), u).reshape(-1, SAMPLES)
            kept = rolled[1:] if u > 0 else rolled[:-1] if u < 0 else rolled
            np.testing.assert_array_equal(np.concatenate(parts), kept)

    def test_what_goes_on_is_passed_on(self, store: Store) -> None:
        assert [batch.goes_on for batch in batches(loader(store))] == [False, True, True, True] * 2

    def test_a_process_without_a_window_gets_one_that_is_all_padding(self, store: Store) -> None:
        always = [create_augmentation("gaussian-noise", sd=0.5)]
        of = loader(store, rank=1, world=2, augmentations=always)
        batch = one_window(of, Window(0, 0, 7, ("EOG 1", "EEG 1")))
        assert batch.signals.shape == (1, CONTEXT, 2, SAMPLES)
        assert not batch.signals.any()
        assert (batch.targets == -1).all()
        np.testing.assert_array_equal(batch.all_targets, store.nights[0].stages[:1, :7])


class TestTargets:
    SCORINGS = np.array(
        [
            # all agree, two of three, tie (first wins), first unscored: tie of the others, only the last, nobody
            [0, 1, 2, -1, -1, -1],
            [0, 4, 3, 3, -1, -1],
            [0, 4, -1, 1, 4, -1],
        ],
        dtype=np.int8,
    )

    def test_the_first_scorer_s_stages(self) -> None:
        targets = stage_targets(self.SCORINGS, "first", 5)
        assert targets.dtype == np.int64
        assert targets.tolist() == [0, 1, 2, -1, -1, -1]

    def test_the_majority_and_of_equals_the_scorer_who_comes_first(self) -> None:
        targets = stage_targets(self.SCORINGS, "majority", 5)
        assert targets.dtype == np.int64
        assert targets.tolist() == [0, 4, 2, 3, 4, -1]

    def test_a_first_scorer_who_is_alone_has_no_say_in_a_tie_of_others(self) -> None:
        scorings = np.array([[0], [2], [1], [1], [2]], dtype=np.int8)
        assert stage_targets(scorings, "majority", 5).tolist() == [2]

    def test_the_share_of_scorers_who_scored_the_epoch(self) -> None:
        targets = stage_targets(self.SCORINGS, "soft", 5)
        assert targets.dtype == np.float32
        third, half = np.float32(1 / 3), 0.5
        nan = np.nan
        expected = [
            [1, 0, 0, 0, 0],
            [0, third, 0, 0, 2 * third],
            [0, 0, half, half, 0],
            [0, half, 0, half, 0],
            [0, 0, 0, 0, 1],
            [nan] * 5,
        ]
        np.testing.assert_array_equal(targets, np.array(expected, dtype=np.float32))

    @pytest.mark.parametrize("how", ["majority", "soft"])
    def test_one_scorer_is_always_right(self, how: str) -> None:
        stages = np.array([0, 3, -1, 4, 2], dtype=np.int8)
        targets = stage_targets(stages[None], how, 5)
        if how == "soft":
            assert np.isnan(targets[2]).all()
            targets = np.where(np.isnan(targets).all(1), -1, np.nan_to_num(targets).argmax(1))
        np.testing.assert_array_equal(targets, stages)

    def test_the_majority_is_scipy_s_mode_where_it_is_clear(self) -> None:
        # Oracle: scipy.stats.mode, on epochs with one most frequent stage.
        from scipy.stats import mode

        scorings = np.random.default_rng(1).integers(0, 5, (5, 500)).astype(np.int8)
        votes = (scorings[..., None] == np.arange(5)).sum(0)
        clear = (votes == votes.max(1, keepdims=True)).sum(1) == 1
        assert clear.sum() > 200
        targets = stage_targets(scorings, "majority", 5)
        np.testing.assert_array_equal(targets[clear], mode(scorings).mode[clear])
