"""Which windows are drawn, how often and in which order; oracles are the published rules and chi-square tests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from hypnograph.errors import HypnographError
from hypnograph.montage import ChannelKind
from hypnograph.training.balanced_sampling import Pool
from hypnograph.training.recipes import Sampling
from hypnograph.training.sampled_windows import Nights, Sampler, Step, Window
from hypnograph.training.sampling import create_sampler

EEG, EOG = ChannelKind.EEG, ChannelKind.EOG

# Training recordings of U-Sleep's public split, and the share of windows that its rule gives each dataset.
USLEEP = {
    "shhs": (8227, 0.267), "mros": (3714, 0.141), "mesa": (1904, 0.091), "chat": (1444, 0.078), "phys": (844, 0.062),
    "cfs": (569, 0.054), "ccshs": (387, 0.049), "sof": (339, 0.048), "dcsm": (190, 0.044), "hpap": (178, 0.043),
    "sedf-sc": (115, 0.042), "abc": (97, 0.041), "sedf-st": (30, 0.039),
}  # fmt: skip


@dataclass
class SomeNight:
    n_epochs: int
    dataset: str = "some"
    derivations: dict[ChannelKind, tuple[str, ...]] = field(default_factory=lambda: {EEG: ("C4-M1",)})


def nights_of(*stages: Sequence[int], datasets: Sequence[str] | None = None, **options: Any) -> Nights:
    datasets = datasets or ["some"] * len(stages)
    some = [SomeNight(len(of_one), dataset) for of_one, dataset in zip(stages, datasets, strict=True)]
    return Nights(some, [np.array(of_one, dtype=np.int8) for of_one in stages], (EEG,), 30, **options)


def nights_long(*lengths: int) -> Nights:
    return nights_of(*([0] * length for length in lengths))


def sampler(nights: Nights, seed: int = 1, pool: Pool | None = None, **recipe: Any) -> Sampler:
    return create_sampler(Sampling(**recipe), nights, seed, pool=pool)


def windows(of: Sampler, n_pass: int = 0) -> list[Window]:
    return [window for step in of.steps(n_pass) for window in step.windows]


def fits(counts: Sequence[int], shares: Sequence[float] | None = None) -> bool:
    """Tell whether counts are what one expects of shares (chi-square); None: of even ones."""
    total = sum(counts)
    expected = None if shares is None else np.array(shares) / np.sum(shares) * total
    return bool(chisquare(counts, expected).pvalue > 1e-4)


ALL_RULES: list[dict[str, Any]] = [
    {"name": "balanced", "context": 7, "batch": 4},
    {"name": "natural", "context": 7, "batch": 4},
    {"name": "oversampled", "batch": 4},
    {"name": "tracks", "context": 7, "batch": 4, "shift_s": 3.0, "skip": 4},
    {"name": "night-tracks", "context": 7, "batch": 4},
]
every_rule = pytest.mark.parametrize("recipe", ALL_RULES, ids=lambda recipe: recipe["name"])


@pytest.fixture
def mixed() -> Nights:
    """Return 12 nights of 3 datasets, 40 to 62 epochs, with unscored epochs and two EEG derivations."""
    rng = np.random.default_rng(5)
    stages = [rng.integers(-1, 5, 40 + 2 * index) for index in range(12)]
    nights = nights_of(*stages, datasets=[f"dataset {index % 3}" for index in range(12)])
    for night in nights.nights:
        night.derivations[EEG] = ("C4-M1", "C3-M2")
    return nights


class TestEveryRule:
    @every_rule
    def test_the_same_seed_and_pass_give_the_same_steps(self, recipe: dict[str, Any], mixed: Nights) -> None:
        assert list(sampler(mixed, **recipe).steps(3)) == list(sampler(mixed, **recipe).steps(3))

    @every_rule
    def test_passes_and_seeds_differ(self, recipe: dict[str, Any], mixed: Nights) -> None:
        once = list(sampler(mixed, **recipe).steps(0))
        assert once != list(sampler(mixed, **recipe).steps(1))
        assert once != list(sampler(mixed, seed=2, **recipe).steps(0))

    @every_rule
    @pytest.mark.parametrize("n_pass", [0, 1, 5])
    def test_the_steps_are_as_many_as_announced(self, recipe: dict[str, Any], n_pass: int, mixed: Nights) -> None:
        of = sampler(mixed, **recipe)
        assert of.n_steps(n_pass) == len(list(of.steps(n_pass)))

    @every_rule
    def test_windows_lie_in_their_nights(self, recipe: dict[str, Any], mixed: Nights) -> None:
        context = recipe.get("context", 1)
        for window in windows(sampler(mixed, **recipe)):
            assert 0 <= window.n_epochs <= context
            assert 0 <= window.first <= window.first + window.n_epochs <= mixed.nights[window.night].n_epochs

    @every_rule
    def test_no_rule_stumbles_over_one_short_night(self, recipe: dict[str, Any]) -> None:
        for n_epochs in (1, 2, 5):
            of = sampler(nights_long(n_epochs), **recipe)
            assert of.n_steps(0) == len(list(of.steps(0)))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"context": 0}, "context is 0; it must be 1 or more"),
            ({"batch": 0}, "batch is 0"),
            ({"epochs_per_pass": 0}, "epochs_per_pass is 0"),
            ({"name": "natural", "stride": 0}, "stride is 0"),
            ({"name": "tracks", "skip": -1}, "skip is -1; it must be 0 or more"),
            ({"name": "tracks", "shift_s": 30.0}, "shift_s is 30.0; give 0 or more, less than 30 s"),
            ({"even_share": 1.5}, "even_share is 1.5"),
            ({"name": "oversampled", "context": 2}, "context is 2; 'oversampled'"),
        ],
    )
    def test_impossible_numbers_are_refused(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(HypnographError, match=message):
            sampler(nights_long(10), **values)

    def test_a_negative_seed_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="seed is -1"):
            sampler(nights_long(10), seed=-1)

    @pytest.mark.parametrize("name", ["balanced", "natural", "oversampled"])
    def test_nights_that_nobody_scored_are_refused(self, name: str) -> None:
        with pytest.raises(HypnographError, match="no scored epoch"):
            list(sampler(nights_of([-1] * 9), name=name).steps(0))


class TestNights:
    def test_no_nights_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="no nights to train on"):
            nights_of()

    def test_a_night_without_a_kind_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="a night of some has no EOG"):
            Nights([SomeNight(3)], [np.zeros(3, dtype=np.int8)], (EEG, EOG), 30)

    def test_a_derivation_of_each_kind_is_drawn_evenly_and_independently(self) -> None:
        night = SomeNight(3, derivations={EOG: ("E1", "E2"), EEG: ("F4", "C4", "O2")})
        nights = Nights([night], [np.zeros(3, dtype=np.int8)], (EEG, EOG), 30)
        rng = np.random.default_rng(1)
        drawn = Counter(nights.derivations(0, rng) for _ in range(3000))
        assert len(drawn) == 6
        assert fits(list(drawn.values()))
        assert drawn["O2", "E1"]  # in the network's order

    def test_or_the_first_is_taken(self) -> None:
        night = SomeNight(3, derivations={EEG: ("F4", "C4", "O2")})
        nights = Nights([night], [np.zeros(3, dtype=np.int8)], (EEG,), 30, random_derivations=False)
        assert {nights.derivations(0, np.random.default_rng(seed)) for seed in range(20)} == {("F4",)}


class TestBalanced:
    def test_datasets_are_drawn_as_often_as_u_sleep_s_table_says(self) -> None:
        # Oracle: the shares of U-Sleep's 13 datasets, computed from its rule elsewhere, given to three digits.
        names = [name for name, (n_nights, _) in USLEEP.items() for _ in range(n_nights)]
        nights = nights_of(*([[0]] * len(names)), datasets=names)
        of = sampler(nights, context=1, batch=5000)
        drawn = Counter(nights.nights[window.night].dataset for step in range(4) for window in windows(of, step))
        total = sum(drawn.values())
        assert total == 80_000
        for name, (_, share) in USLEEP.items():
            assert drawn[name] / total == pytest.approx(share, abs=0.0005 + 4 * (share / total) ** 0.5)

    @pytest.mark.parametrize("even_share", [0.0, 0.3, 1.0])
    def test_the_even_share_is_spread_over_datasets_and_the_rest_over_nights(self, even_share: float) -> None:
        nights = nights_of(*([[0] * 100] * 10), datasets=["big"] * 9 + ["small"])
        drawn = Counter(
            nights.nights[w.night].dataset for w in windows(sampler(nights, context=1, even_share=even_share))
        )
        small = (1 - even_share) / 10 + even_share / 2
        assert fits([drawn["big"], drawn["small"]], [1 - small, small])

    def test_stages_are_drawn_evenly_however_rare_they_are(self) -> None:
        stages = [0] * 900 + [1] * 10 + [2] * 60 + [3] * 20 + [4] * 10 + [-1] * 500
        drawn = Counter(stages[window.first] for window in windows(sampler(nights_of(stages), context=1, batch=8)))
        assert sorted(drawn) == [0, 1, 2, 3, 4]
        assert fits(list(drawn.values()))

    def test_a_stage_that_a_dataset_lacks_is_not_drawn_in_it(self) -> None:
        stages = [0] * 300 + [2] * 300 + [4] * 100
        drawn = Counter(stages[window.first] for window in windows(sampler(nights_of(stages), context=1)))
        assert sorted(drawn) == [0, 2, 4]
        assert fits(list(drawn.values()))

    def test_nights_that_have_the_stage_are_drawn_evenly_whatever_their_length(self) -> None:
        # N3 is in three of 30 nights, once, twice and 60 times: trying at random alone would rarely find it.
        stages = [[0] * 50 for _ in range(27)] + [[0] * 50 + [3] * n for n in (1, 2, 60)]
        found = [w for w in windows(sampler(nights_of(*stages), context=1)) if stages[w.night][w.first] == 3]
        drawn = Counter(window.night for window in found)
        assert sorted(drawn) == [27, 28, 29]
        assert fits(list(drawn.values()))

    def test_epochs_of_the_stage_are_drawn_evenly(self) -> None:
        stages = [0] * 500 + [1] * 5 + [0] * 500 + [1] * 5
        found = [w.first for w in windows(sampler(nights_of(stages), context=1)) if stages[w.first] == 1]
        drawn = Counter(found)
        assert len(drawn) == 10
        assert fits(list(drawn.values()))

    def test_the_drawn_epoch_is_anywhere_in_the_window(self) -> None:
        stages = [-1] * 500
        stages[250] = 1
        of = sampler(nights_of(stages), context=7, batch=500)
        drawn = Counter(250 - window.first for n_pass in range(8) for window in windows(of, n_pass))
        assert sorted(drawn) == list(range(7))
        assert fits(list(drawn.values()))

    @pytest.mark.parametrize(("epoch", "firsts"), [(0, {0}), (2, {0, 1, 2}), (18, {12, 13}), (19, {13})])
    def test_at_the_ends_of_a_night_the_window_is_moved_inwards(self, epoch: int, firsts: set[int]) -> None:
        stages = [-1] * 20
        stages[epoch] = 1
        drawn = windows(sampler(nights_of(stages), context=7, batch=200))
        assert {window.first for window in drawn} == firsts
        assert {window.n_epochs for window in drawn} == {7}

    def test_a_night_shorter_than_the_window_is_taken_whole(self) -> None:
        drawn = windows(sampler(nights_of([-1, 2, 0, 1]), context=7))
        assert {(window.first, window.n_epochs) for window in drawn} == {(0, 4)}

    def test_a_pass_of_a_million_epochs_is_447_steps(self) -> None:
        # Oracle: 1e6 // 35 = 28 571 windows, in batches of 64, as U-Sleep's code counts.
        nights = nights_long(*[1000] * 1001)
        recipe = {"context": 35, "batch": 64, "epochs_per_pass": 1_000_000}
        assert sampler(nights, **recipe).n_steps(0) == 447
        assert sampler(nights_long(700), **recipe).n_steps(0) == 1  # no more than there are: 20 windows


class TestPool:
    def drawn(self, n_windows: int, stages: Sequence[Sequence[int]], pool: Pool) -> list[Window]:
        recipe = {"context": 1, "batch": n_windows, "epochs_per_pass": 1}
        return windows(sampler(nights_of(*stages), pool=pool, **recipe))

    def test_no_more_nights_take_turns_than_it_holds(self) -> None:
        # In 30 windows the 4 nights that are there may leave, and one more: 9 nights at most. Of all 40 it would be 21.
        order = [w.night for w in self.drawn(6000, [[0, 1, 2, 3, 4]] * 40, Pool(4, 30))]
        crowds = [len(set(order[first : first + 30])) for first in range(len(order) - 30)]
        assert max(crowds) <= 9
        assert min(crowds) >= 4

    def test_every_night_gets_its_turn_and_as_often_as_others(self) -> None:
        drawn = Counter(window.night for window in self.drawn(60_000, [[0, 1, 2, 3, 4]] * 30, Pool(4, 6)))
        assert len(drawn) == 30
        assert fits([n // 6 for n in drawn.values()])  # a turn has 6 windows

    def test_nights_that_are_there_at_first_do_not_leave_all_at_once(self) -> None:
        order = [w.night for w in self.drawn(4000, [[0]] * 400, Pool(40, 40))]
        newcomers = [first for first in range(len(order)) if order[first] not in order[:first]][40:]
        # Started alike, all 40 would have their 40 windows at about the 1600th; now some leave in the first 800.
        assert sum(first < 800 for first in newcomers) >= 10

    def test_a_stage_that_no_night_inside_has_brings_one_in(self) -> None:
        stages = [[0] * 20 for _ in range(40)] + [[0] * 20 + [3]]
        drawn = self.drawn(4000, stages, Pool(4, 6))
        n3 = [window for window in drawn if window.first == 20]
        assert {window.night for window in n3} == {40}
        assert fits([len(n3), 4000 - len(n3)])

    def test_a_pool_that_holds_all_nights_changes_nothing(self) -> None:
        nights = nights_of(*[[0, 1, 2, 3, 4] * 20] * 4)
        assert windows(sampler(nights, pool=Pool(4, 6))) == windows(sampler(nights))

    @pytest.mark.parametrize("numbers", [(0, 5), (5, 0)])
    def test_an_empty_pool_is_refused(self, numbers: tuple[int, int]) -> None:
        with pytest.raises(HypnographError, match="must be 1 or more"):
            Pool(*numbers)


class TestNatural:
    def test_single_epochs_are_each_seen_once_unless_unscored(self, mixed: Nights) -> None:
        seen = Counter((w.night, w.first) for w in windows(sampler(mixed, name="natural", batch=16)))
        scored = {(n, e) for n, stages in enumerate(mixed.stages) for e in np.flatnonzero(stages >= 0)}
        assert set(seen) == scored
        assert set(seen.values()) == {1}

    @pytest.mark.parametrize(("context", "stride"), [(10, None), (10, 3), (10, 1), (7, 7), (50, 20), (100, None)])
    def test_every_scored_epoch_is_covered(self, context: int, stride: int | None, mixed: Nights) -> None:
        of = sampler(mixed, name="natural", context=context, stride=stride)
        for n_pass in range(6):
            seen = {(w.night, e) for w in windows(of, n_pass) for e in range(w.first, w.first + w.n_epochs)}
            scored = {(n, e) for n, stages in enumerate(mixed.stages) for e in np.flatnonzero(stages >= 0)}
            assert scored <= seen

    def test_with_stride_1_every_window_is_seen_once(self) -> None:
        found = windows(sampler(nights_long(50, 30), name="natural", context=20, stride=1))
        assert sorted((w.night, w.first) for w in found) == [
            *((0, first) for first in range(31)),
            *((1, first) for first in range(11)),
        ]

    def test_windows_begin_elsewhere_in_each_pass(self) -> None:
        of = sampler(nights_long(100), name="natural", context=10)
        inner = {w.first % 10 for n_pass in range(100) for w in windows(of, n_pass) if 0 < w.first < 90}
        assert inner == set(range(10))

    def test_a_window_without_a_scored_epoch_is_left_out(self) -> None:
        stages = [-1] * 40 + [2] + [-1] * 39
        found = windows(sampler(nights_of(stages), name="natural", context=10, stride=1))
        assert sorted(window.first for window in found) == list(range(31, 41))

    def test_nights_are_mixed(self) -> None:
        first_step = next(sampler(nights_long(500, 500), name="natural", batch=100).steps(0))
        assert 25 < sum(window.night for window in first_step.windows) < 75

    def test_the_last_step_holds_the_rest(self) -> None:
        sizes = [len(step.windows) for step in sampler(nights_long(50), name="natural", batch=16).steps(0)]
        assert sizes == [16, 16, 16, 2]


class TestOversampled:
    STAGES = (0,) * 23 + (1,) * 4 + (2,) * 50 + (3,) * 17 + (4,) * 25 + (-1,) * 9

    def counted(self, batch: int) -> tuple[list[Step], Counter[int], Counter[int]]:
        steps = list(sampler(nights_of(self.STAGES), name="oversampled", batch=batch).steps(0))
        epochs = Counter(window.first for step in steps for window in step.windows)
        by_stage: Counter[int] = Counter()
        for epoch, n in epochs.items():
            by_stage[self.STAGES[epoch]] += n
        return steps, epochs, by_stage

    def test_each_stage_is_seen_as_often_as_the_most_frequent_one(self) -> None:
        _, _, by_stage = self.counted(batch=10)
        assert by_stage == dict.fromkeys(range(5), 50)

    def test_each_epoch_of_a_stage_is_repeated_and_a_part_once_more(self) -> None:
        # Oracle: DeepSleepNet's rule. 50 = 12 · 4 + 2 = 2 · 17 + 16 = 2 · 23 + 4 = 2 · 25.
        _, epochs, _ = self.counted(batch=10)
        repeats = [Counter(epochs[e] for e, s in enumerate(self.STAGES) if s == stage) for stage in range(5)]
        assert repeats == [{2: 19, 3: 4}, {12: 2, 13: 2}, {1: 50}, {2: 1, 3: 16}, {2: 25}]

    def test_the_last_step_is_left_out_if_it_is_not_full(self) -> None:
        steps, _, by_stage = self.counted(batch=60)
        assert [len(step.windows) for step in steps] == [60] * 4
        assert by_stage.total() == 240

    def test_unless_it_is_the_only_one(self) -> None:
        steps, _, _ = self.counted(batch=251)
        assert [len(step.windows) for step in steps] == [250]

    def test_stages_are_mixed(self) -> None:
        steps, _, _ = self.counted(batch=100)
        assert {self.STAGES[window.first] for window in steps[0].windows} == set(range(5))


def tracks_of(steps: Sequence[Step]) -> list[list[Window]]:
    """Return windows that go on from each other, as the steps say."""
    found: list[list[Window]] = []
    current: list[list[Window]] = []
    for step in steps:
        if not step.goes_on:
            current = [[] for _ in step.windows]
            found += current
        for track, window in zip(current, step.windows, strict=True):
            track.append(window)
    return found


def epochs_of(track: Sequence[Window]) -> list[int]:
    return [epoch for window in track for epoch in range(window.first, window.first + window.n_epochs)]


class TestTracks:
    def test_each_night_is_seen_once_and_in_order(self) -> None:
        lengths = (45, 60, 41, 52, 99, 3, 40)
        tracks = tracks_of(list(sampler(nights_long(*lengths), name="tracks", context=20, batch=3).steps(0)))
        assert sorted(track[0].night for track in tracks) == list(range(7))
        for track in tracks:
            assert len({(w.night, w.derivations, w.offset) for w in track}) == 1
            assert epochs_of(track) == list(range(lengths[track[0].night]))

    def test_as_many_nights_as_a_batch_run_side_by_side_until_the_longest_ends(self) -> None:
        steps = list(sampler(nights_long(*[45, 60, 41, 52, 99, 30, 40]), name="tracks", context=20, batch=3).steps(0))
        assert {len(step.windows) for step in steps} == {1, 3}
        begins = [index for index, step in enumerate(steps) if not step.goes_on]
        assert len(begins) == 3
        for begin, end in zip(begins, [*begins[1:], len(steps)], strict=True):
            longest = max(len(epochs_of(track)) for track in tracks_of(steps[begin:end]))
            assert end - begin == -(-longest // 20)

    def test_all_windows_but_the_last_ones_are_full(self) -> None:
        for track in tracks_of(list(sampler(nights_long(45, 99), name="tracks", context=20, batch=2).steps(0))):
            sizes = [window.n_epochs for window in track]
            assert sizes == [20, 20, 5, 0, 0] if track[0].night == 0 else [20, 20, 20, 20, 19]

    def test_a_shifted_night_loses_the_epoch_that_would_wrap_round(self) -> None:
        # Oracle: TinySleepNet rolls a night by u samples, drops the first epoch if u > 0, the last if u < 0. What is
        # rolled to later places is read from earlier ones.
        of = sampler(nights_long(*[20] * 50), name="tracks", context=5, batch=5, shift_s=3.0)
        shifts = []
        for track in tracks_of([step for n_pass in range(20) for step in of.steps(n_pass)]):
            u = -track[0].offset
            shifts.append(u)
            assert epochs_of(track) == list(range(1 if u > 0 else 0, 19 if u < 0 else 20))
        # 30 samples an epoch, a tenth is 3: int() of a uniform number from -3 to 3 is 0 twice as often as -2 to 2.
        drawn = Counter(shifts)
        assert sorted(drawn) == [-2, -1, 0, 1, 2]
        assert fits([drawn[u] for u in range(-2, 3)], [1, 1, 2, 1, 1])

    def test_up_to_as_many_first_epochs_are_skipped_as_asked(self) -> None:
        of = sampler(nights_long(*[20] * 50), name="tracks", context=5, batch=5, skip=4)
        tracks = tracks_of([step for n_pass in range(20) for step in of.steps(n_pass)])
        skipped = Counter(track[0].first for track in tracks)
        assert sorted(skipped) == [0, 1, 2, 3, 4]
        assert fits(list(skipped.values()))
        assert all(epochs_of(track) == list(range(track[0].first, 20)) for track in tracks)

    def test_a_night_shorter_than_what_is_skipped_keeps_its_last_epoch(self) -> None:
        of = sampler(nights_long(3), name="tracks", context=5, skip=40)
        lasts = [[epochs_of(track)[-1] for track in tracks_of(list(of.steps(n)))] for n in range(9)]
        assert lasts == [[2]] * 9

    def test_a_derivation_is_drawn_for_each_night(self, mixed: Nights) -> None:
        tracks = tracks_of(list(sampler(mixed, name="tracks", context=5, batch=4).steps(0)))
        assert {window.derivations for track in tracks for window in track} == {("C4-M1",), ("C3-M2",)}
        assert {len({window.derivations for window in track}) for track in tracks} == {1}


class TestNightTracks:
    def test_deepsleepnet_s_code_leaves_90_of_1090_epochs_out(self) -> None:
        # Oracle: 10 tracks of 109 epochs, 4 windows of 25 from each.
        recipe = {"name": "night-tracks", "context": 25, "batch": 10, "discard_rest": True}
        steps = list(sampler(nights_long(1090), **recipe).steps(0))
        assert [step.goes_on for step in steps] == [False, True, True, True]
        tracks = tracks_of(steps)
        assert [epochs_of(track) for track in tracks] == [list(range(b, b + 100)) for b in range(0, 1090, 109)]
        assert {window.n_epochs for track in tracks for window in track} == {25}

    @pytest.mark.parametrize("n_epochs", [1, 9, 10, 11, 249, 250, 251, 1090])
    def test_else_every_epoch_is_seen_once(self, n_epochs: int) -> None:
        steps = list(sampler(nights_long(n_epochs), name="night-tracks", context=25, batch=10).steps(0))
        tracks = tracks_of(steps)
        assert len(tracks) <= 10
        assert sorted(epoch for track in tracks for epoch in epochs_of(track)) == list(range(n_epochs))
        assert all(epochs_of(track) == sorted(epochs_of(track)) for track in tracks)

    def test_a_night_begins_where_the_one_before_has_ended(self) -> None:
        steps = list(sampler(nights_long(300, 500), name="night-tracks", context=25, batch=10).steps(0))
        assert [{w.night for w in step.windows} for step in steps if not step.goes_on] in ([{0}, {1}], [{1}, {0}])
        assert all(len({window.night for window in step.windows}) == 1 for step in steps)

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_nights_are_in_a_new_order_in_each_pass_or_always_in_one(self, shuffle: bool) -> None:
        of = sampler(nights_long(*[30] * 20), name="night-tracks", context=3, batch=10, shuffle=shuffle)
        orders = [tuple(step.windows[0].night for step in of.steps(n)) for n in range(3)]
        assert all(sorted(order) == list(range(20)) for order in orders)
        assert len(set(orders)) == (3 if shuffle else 1)
