"""Stagers side by side: the same nights, the same epochs, numbers of scikit-learn and tests of scipy."""

import csv
import json
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

from hypnograph.benchmark import Comparison, benchmark, writing
from hypnograph.benchmark.comparison import gather
from hypnograph.benchmark.entrants import Entrant, find_entrants
from hypnograph.benchmark.figures import draw_confusions, draw_metrics, draw_subjects
from hypnograph.benchmark.paired_tests import holm, paired_tests, signed_rank_p, subject_means
from hypnograph.benchmark.preparing import prepare_all
from hypnograph.benchmark.references import read_references
from hypnograph.benchmark.staging import Staged
from hypnograph.datasets import Night, Scoring
from hypnograph.errors import HypnographError, UnusableSignalError
from hypnograph.evaluation.tables import NightPair, evaluate_nights
from hypnograph.hypnogram import Hypnodensity, Hypnogram, probabilities_of
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.models import create_model, describe
from hypnograph.network import TorchNetwork
from hypnograph.recording import Annotation, Recording, Signal
from hypnograph.signal_files import edf
from hypnograph.stagers import Staging
from hypnograph.stages import AASM_5, SCHEMES
from hypnograph.training.cropping import Crop
from hypnograph.training.machine import Machine
from hypnograph.training.recipes import parse_recipe, read_recipe
from hypnograph.training.splits import read_split
from tests.training.nights import signals_of, stages_of_night

RATE, EPOCHS, AWAKE = 100, 40, 10
CYCLES = np.array([150, 90, 45, 15, 210])  # of each stage in an epoch, as tests/training/nights.py draws them
PERSONS = ("SC400", "SC400", "SC401", "SC402", "SC403", "SC404", "SC405", "SC406")
RECIPE = """
derivations = "first"
crop_min = 2
[network]
architecture = "tinysleepnet"
preset = "small"
[sampling]
name = "natural"
context = 5
batch = 8
[stopping]
passes = 1
"""
CPU = Machine(accelerator="cpu", workers=0)


def write_night(
    folder: Path, number: int, *, simulated: bool = False, label: str = "EEG Fpz-Cz", epochs: int = EPOCHS
) -> Night:
    stages = np.concatenate([np.zeros(AWAKE, np.int8), stages_of_night(epochs, number)])
    folder.mkdir(parents=True, exist_ok=True)
    stages[-3] = -1
    samples = signals_of(stages, RATE * 30, number, scale=30).ravel().astype(np.float32)
    signal = Signal(label, RATE, "uV", samples.size, lambda first, past_last: samples[first:past_last])
    notes = (Annotation(0, 0, "simulated: nobody slept this night"),) if simulated else ()
    psg, scoring = folder / f"n{number}.edf", folder / f"n{number}-hypnogram.txt"
    edf.write(Recording((signal,), samples.size / RATE, annotations=notes), psg)
    write_hypnogram(Hypnogram(stages), scoring)
    person = PERSONS[number]
    return Night(
        dataset="sleep-edf-20", id=f"{person}{number}", subject=person, psg=psg, scorings=(Scoring("", scoring),)
    )


class Listener:
    """A stager that hears which wave an epoch has; it errs, and stays silent, in a share of epochs."""

    def __init__(self, wrong: float = 0.0, silent: int = 0, deaf: tuple[int, ...] = ()) -> None:
        self.wrong, self.silent, self.deaf = wrong, silent, deaf
        self.heard: Counter[str] = Counter()

    def stage(self, recording: Recording) -> Staging:
        samples = recording.signals[0].samples().reshape(-1, RATE * 30)
        key = f"{samples[0, 0]:.4f}"
        self.heard[key] += 1
        if len(self.heard) in self.deaf:
            raise UnusableSignalError("too quiet to hear")
        stages = np.abs(np.fft.rfft(samples))[:, CYCLES].argmax(axis=1).astype(np.int8)
        rng = np.random.default_rng(abs(int(1e4 * samples[0, 0])))
        stages = np.where(rng.random(stages.size) < self.wrong, rng.integers(0, 5, stages.size), stages)
        stages[: self.silent] = -1
        hypnogram = Hypnogram(stages)
        return Staging(hypnogram, Hypnodensity(probabilities_of(hypnogram)), (), "listener")


@pytest.fixture(autouse=True)
def _without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no pictures where a test looks at none: they take longer than all the rest."""
    if request.cls is not TestFiles:
        monkeypatch.setattr(writing, "FIGURES", {})


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[Night]:
    folder = tmp_path_factory.mktemp("nights")
    return [write_night(folder, number) for number in range(len(PERSONS))]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def comparison(nights: list[Night], out: Path) -> Comparison:
    stagers = {"tiny": parse_recipe(RECIPE), "sloppy": Listener(wrong=0.4), "exact": Listener()}
    return benchmark(nights, stagers, out, folds=2, machine=CPU, n_bootstrap=300)


def judged(nights: list[Night], outside: int) -> tuple[np.ndarray, np.ndarray]:
    """Return reference and sloppy stages of all epochs that are judged, without hypnograph.benchmark."""
    pairs = []
    for night in nights:
        said = Listener(wrong=0.4).stage(night.recording()).hypnogram.stages
        reference = night.hypnogram().stages
        asleep = np.flatnonzero(reference > 0)
        near = np.arange(reference.size)
        kept = (reference >= 0) & (near >= asleep[0] - outside) & (near <= asleep[-1] + outside + 1)
        pairs.append((reference[kept], said[kept]))
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


class TestNumbers:
    def test_pooled_numbers_are_those_of_scikit_learn(self, comparison: Comparison, nights: list[Night]) -> None:
        row = comparison.to_frame().loc["sloppy"]
        reference, said = judged(nights, outside=4)
        assert comparison.n_epochs == reference.size
        assert row["accuracy"] == pytest.approx(accuracy_score(reference, said))
        assert row["cohen_kappa"] == pytest.approx(cohen_kappa_score(reference, said))
        f1 = f1_score(reference, said, average=None)
        assert [row[f"f1_{label}"] for label in AASM_5.labels] == pytest.approx(list(f1))
        assert row["macro_f1"] == pytest.approx(f1.mean())
        assert row["macro_f1_low"] < row["macro_f1"] < row["macro_f1_high"]

    def test_a_stager_that_hears_everything_is_perfect(self, comparison: Comparison) -> None:
        assert comparison.to_frame().loc["exact", "cohen_kappa"] == 1

    def test_every_stager_is_judged_on_the_same_epochs(self, comparison: Comparison) -> None:
        assert comparison.n_nights == 8
        assert comparison.n_subjects == 7
        frame = comparison.nights_frame()
        counted = [frame.loc[name, "n_epochs"].to_list() for name in ("tiny", "sloppy", "exact")]
        assert counted[0] == counted[1] == counted[2]

    def test_what_a_recipe_crops_away_is_left_out_for_all_and_counted(self, comparison: Comparison) -> None:
        # 2 minutes are 4 epochs: of the wake before sleep all others are outside what the recipe saw.
        tiny = comparison.stagers[0]
        assert tiny.n_unstaged > 8 * (AWAKE - 5)
        whole = sum(n.agreement.n_reference_unscored for n in tiny.evaluation.nights) + comparison.n_epochs
        assert whole == 8 * (EPOCHS + AWAKE)
        assert comparison.n_epochs + tiny.n_unstaged == 8 * (EPOCHS + AWAKE - 1)  # one epoch of each is not scored

    def test_a_silent_epoch_of_one_stager_counts_for_none(self, nights: list[Night], tmp_path: Path) -> None:
        stagers = {"silent": Listener(silent=7), "exact": Listener()}
        found = benchmark(nights[:3], stagers, tmp_path, n_bootstrap=10)
        assert found.n_epochs == 3 * (EPOCHS + AWAKE - 1 - 7)
        assert [one.n_unstaged for one in found.stagers] == [21, 0]

    def test_all_are_judged_by_the_coarser_scheme(self, nights: list[Night], tmp_path: Path) -> None:
        class Coarse(Listener):
            def stage(self, recording: Recording) -> Staging:
                staging = super().stage(recording)
                merged = staging.hypnogram.merge(SCHEMES["W-NREM-REM"])
                return replace(staging, hypnogram=merged, hypnodensity=staging.hypnodensity.merge(merged.scheme))

        found = benchmark(nights[:2], {"coarse": Coarse(), "exact": Listener()}, tmp_path, n_bootstrap=10)
        assert found.scheme == SCHEMES["W-NREM-REM"]
        assert found.to_frame()["accuracy"].to_list() == [1, 1]

    def test_costs_are_there_where_they_are_known(self, comparison: Comparison, out: Path) -> None:
        tiny, sloppy, _ = (one.cost for one in comparison.stagers)
        seconds = []
        for fold in sorted((out / "stagers" / "tiny").glob("fold-*")):
            with (fold / "history.csv").open() as file:
                seconds += [float(row["seconds"]) for row in csv.DictReader(file)]
        assert len(seconds) == 2
        assert tiny.training_s == pytest.approx(sum(seconds))
        model = create_model("tinysleepnet", preset="small")
        assert tiny.n_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
        # Float32, and 3 kB of names beside them.
        assert tiny.weights_mb == pytest.approx(4 * tiny.n_parameters / 1e6, rel=0.2)
        assert sloppy.night_s is not None
        assert 0 < sloppy.night_s < 5
        assert sloppy.computer is not None
        assert sloppy.computer in comparison.table_markdown()
        assert (sloppy.training_s, sloppy.n_parameters, sloppy.weights_mb) == (None, None, None)

    def test_the_mean_over_nights_has_an_interval_over_subjects(self, comparison: Comparison) -> None:
        row = comparison.to_frame().loc["sloppy"]
        assert row["accuracy_night_low"] < row["accuracy_night_mean"] < row["accuracy_night_high"]
        low, high = row["accuracy_night_low"], row["accuracy_night_high"]
        assert f"{row['accuracy_night_mean']:.3f} ({low:.3f} to {high:.3f}) ±" in comparison.table_markdown()

    def test_what_each_takes_is_told(self, comparison: Comparison) -> None:
        tiny, sloppy, _ = comparison.stagers
        assert tiny.description.endswith("(EEG at 100 Hz)")
        assert sloppy.description == "as it is, not trained here; it chooses its channels"


class TestSplits:
    def test_each_subject_is_tested_once_and_trains_nothing_there(self, comparison: Comparison, out: Path) -> None:
        splits = [read_split(path) for path in sorted((out / "splits").glob("*.json"))]
        tested = [subject for split in splits for subject in split.test]
        assert sorted(tested) == [f"sleep-edf-sc/SC40{n}" for n in range(7)]
        for number, split in enumerate(splits, start=1):
            fold = out / "stagers" / "tiny" / f"fold-{number:03d}"
            assert read_split(fold / "split.json") == split
            with (fold / "predictions" / "nights.csv").open() as file:
                assert {row["subject"] for row in csv.DictReader(file)} == set(split.test)

    def test_other_folds_in_the_same_folder_are_refused(
        self, comparison: Comparison, nights: list[Night], out: Path
    ) -> None:
        with pytest.raises(HypnographError, match="has 2 splits, and what is asked now gives others"):
            benchmark(nights, {"tiny": parse_recipe(RECIPE)}, out, folds=3, machine=CPU)

    def test_given_splits_are_taken_and_others_are_not_judged(
        self, comparison: Comparison, nights: list[Night], out: Path, tmp_path: Path
    ) -> None:
        first = out / "splits" / "fold-001.json"
        found = benchmark(nights, {"exact": Listener()}, tmp_path, folds=first, n_bootstrap=10)
        assert {n.subject for n in found.stagers[0].evaluation.nights} == set(read_split(first).test)

    def test_splits_of_other_people_are_refused(self, nights: list[Night], out: Path, tmp_path: Path) -> None:
        strangers = [replace(night, dataset="sleep-edf-st") for night in nights[:2]]
        with pytest.raises(HypnographError, match="the splits test none of these nights' subjects"):
            benchmark(strangers, {"exact": Listener()}, tmp_path, folds=out / "splits")


class TestGoingOn:
    def test_what_is_done_is_not_done_again(self, nights: list[Night], tmp_path: Path) -> None:
        first = Listener(wrong=0.2)
        before = benchmark(nights[:3], {"listener": first}, tmp_path, n_bootstrap=10)
        removed = next((tmp_path / "stagers" / "listener" / "predictions" / "predicted").glob("*SC4012.json"))
        removed.unlink()
        again = Listener(wrong=0.2)
        after = benchmark(nights[:3], {"listener": again}, tmp_path, n_bootstrap=10)
        assert sum(first.heard.values()) == 3 + 3  # staged, then timed
        assert sum(again.heard.values()) == 1
        assert after.as_dict() == before.as_dict()

    def test_another_recording_of_the_same_name_is_refused(self, nights: list[Night], tmp_path: Path) -> None:
        first = write_night(tmp_path / "a", 2)
        benchmark([first, nights[3]], {"exact": Listener()}, tmp_path / "out", n_bootstrap=10)
        longer = write_night(tmp_path / "b", 2, label="EEG Fpz-Cz", epochs=EPOCHS + 2)
        with pytest.raises(HypnographError, match=r"another recording called sleep-edf-20/SC4012"):
            benchmark([longer], {"exact": Listener()}, tmp_path / "out", n_bootstrap=10)

    def test_a_further_stager_joins_and_a_changed_recipe_is_refused(
        self, comparison: Comparison, nights: list[Night], out: Path
    ) -> None:
        def trained() -> list[int]:
            return [path.stat().st_mtime_ns for path in sorted(out.glob("stagers/tiny/fold-*/state.pt"))]

        before = trained()
        stagers = {"exact": Listener(), "new": Listener(wrong=0.1), "tiny": parse_recipe(RECIPE)}
        found = benchmark(nights, stagers, out, folds=2, machine=CPU, n_bootstrap=10)
        assert [one.name for one in found.stagers] == ["exact", "new", "tiny"]
        table = (out / "comparison.json").read_bytes()
        for changed, machine, message in (
            (parse_recipe(RECIPE, ["sampling.batch=4"]), CPU, "is of another recipe than is asked now"),
            (parse_recipe(RECIPE), replace(CPU, most_steps=1), "was trained with all steps in a pass, not 1"),
        ):
            with pytest.raises(HypnographError, match=message):
                benchmark(nights, {**stagers, "tiny": changed}, out, folds=2, machine=machine, n_bootstrap=10)
        assert trained() == before
        assert (out / "comparison.json").read_bytes() == table


class TestWhatGoesWrong:
    def test_a_night_that_one_stager_cannot_stage_is_lost_for_all(self, nights: list[Night], tmp_path: Path) -> None:
        stagers = {"deaf": Listener(deaf=(2,)), "exact": Listener()}
        found = benchmark(nights[:4], stagers, tmp_path, n_bootstrap=10)
        assert found.lost == {"sleep-edf-20/SC4001": "deaf: too quiet to hear"}
        assert [len(one.evaluation.nights) for one in found.stagers] == [3, 3]
        assert "1 night is not judged, for any stager" in found.table_markdown()

    def test_a_stager_that_stages_nothing_costs_no_other(self, nights: list[Night], tmp_path: Path) -> None:
        class Broken:
            def stage(self, recording: Recording) -> Staging:
                raise ZeroDivisionError("a defect")

        found = benchmark(nights[:2], {"broken": Broken(), "exact": Listener()}, tmp_path, n_bootstrap=10)
        assert [one.name for one in found.stagers] == ["exact"]
        assert "unexpected ZeroDivisionError: a defect" in found.left_out["broken"]
        assert found.tests == ()
        with pytest.raises(HypnographError, match="no stager could be used: broken"):
            benchmark(nights[:2], {"broken": Broken()}, tmp_path / "alone")

    def test_a_night_without_a_readable_scoring_is_lost_with_the_reason(
        self, nights: list[Night], tmp_path: Path
    ) -> None:
        missing = replace(nights[1], scorings=(Scoring("", tmp_path / "none.txt"),))
        found = benchmark([nights[0], missing], {"exact": Listener()}, tmp_path / "out", n_bootstrap=10)
        assert found.n_nights == 1
        assert "No such file" in found.lost["sleep-edf-20/SC4001"]

    def test_neither_names_of_files_nor_dates_are_written(self, nights: list[Night], tmp_path: Path) -> None:
        """Who sends a comparison to others sends no patient."""
        named = []
        for i, night in enumerate(nights[1:5]):
            psg = tmp_path / "in" / f"Doe-Jane-{i}.edf"
            psg.parent.mkdir(exist_ok=True)
            shutil.copy(night.psg, psg)
            named.append(replace(night, psg=psg))
        named[2].psg.write_bytes(b"Jane Doe is no EDF")
        stagers = {"exact": Listener(), "tiny": parse_recipe(RECIPE, ["stopping.passes=1"])}
        found = benchmark(named, stagers, tmp_path / "out", folds=2, validation=0, machine=CPU, n_bootstrap=10)
        assert len(found.lost) == 1
        year = str(named[0].recording().start.year)
        for path in (tmp_path / "out").rglob("*"):
            assert "Doe" not in path.name
            if path.suffix in (".json", ".csv", ".md", ".toml"):
                assert "Doe" not in path.read_text(), path
                assert f"{year}-" not in path.read_text(), path

    def test_prepared_stages_that_are_not_those_of_the_files_are_refused(
        self, nights: list[Night], tmp_path: Path
    ) -> None:
        # The store itself tells where a cropped night begins: a shift by one epoch must be seen.
        entrant = Entrant("tiny", recipe=parse_recipe(RECIPE))
        references, _ = read_references(nights[:2], 30.0)
        prepared = prepare_all([entrant], references, tmp_path, jobs=1, say=lambda text: None)["tiny"]
        for reference, night in zip(references, prepared.store.nights, strict=True):
            first = reference.first_kept(prepared.crop)
            assert first > 0
            assert np.array_equal(reference.scorings[0].stages[first : first + night.n_epochs], night.stages[0])
        folder = tmp_path / "predictions"
        for night in prepared.store.nights:
            path = folder / "predicted" / f"{night.id}.json"
            write_hypnogram(night.hypnogram(), path)
        rows = [f"{n.dataset},{n.id},{n.person},{n.id}.json\n" for n in prepared.store.nights]
        (folder / "nights.csv").write_text("dataset,night,subject,file\n" + "".join(rows))
        votes = gather([Staged(entrant, (folder,), prepared)], references, how="first")
        assert all(truth == replace(said[0], scorer=truth.scorer) for _, truth, said in votes.nights.values())
        shifted = Staged(entrant, (folder,), replace(prepared, crop=None))
        with pytest.raises(HypnographError, match="not those of the scoring files"):
            gather([shifted], references, how="first")

    def test_a_night_that_cannot_be_prepared_is_lost_with_the_reason_and_the_rest_is_trained(
        self, nights: list[Night], tmp_path: Path
    ) -> None:
        (tmp_path / "odd").mkdir()
        odd = write_night(tmp_path / "odd", 4, label="SpO2")
        given = [nights[2], nights[3], odd, nights[5]]
        stagers = {"tiny": parse_recipe(RECIPE), "exact": Listener()}
        # The fold that tests the odd night has nobody left to test.
        found = benchmark(given, stagers, tmp_path / "out", folds="leave-one-out", machine=CPU, n_bootstrap=10)
        assert found.left_out == {}
        assert list(found.lost) == ["sleep-edf-20/SC4034"]
        assert "tiny: no EEG that can be staged" in found.lost["sleep-edf-20/SC4034"]
        assert found.n_nights == 3

    def test_other_weights_do_not_go_on_where_the_first_ones_stopped(self, nights: list[Night], tmp_path: Path) -> None:
        model = create_model("tinysleepnet", preset="small")
        first, second = (TorchNetwork(model, describe(model), sha256=sha256) for sha256 in "ab")
        benchmark(nights[:2], {"net": first}, tmp_path, n_bootstrap=10)
        found = benchmark(nights[:2], {"net": second, "exact": Listener()}, tmp_path, n_bootstrap=10)
        assert "holds what other weights said" in found.left_out["net"]

    def test_no_night_that_all_have_staged_is_an_error(self, nights: list[Night], tmp_path: Path) -> None:
        stagers = {"a": Listener(deaf=(1,)), "b": Listener(deaf=(2,))}
        with pytest.raises(HypnographError, match=r"no night was staged by all of a, b: .*too quiet to hear"):
            benchmark(nights[:2], stagers, tmp_path)


class TestReferences:
    def test_the_majority_of_three_scorers_counts_where_it_is_asked_for(self, tmp_path: Path) -> None:
        night = write_night(tmp_path, 2)
        first = night.hypnogram()
        scorings = [night.scorings[0]._replace(scorer="1")]
        for scorer in "23":  # both see N2 in the first ten epochs, where the first scorer sees wake
            path = tmp_path / f"scorer{scorer}.txt"
            write_hypnogram(replace(first, stages=np.where(np.arange(50) < 10, 2, first.stages)), path)
            scorings.append(Scoring(scorer, path))
        night = replace(night, scorings=tuple(scorings))
        by_first = benchmark([night], {"exact": Listener()}, tmp_path / "first", n_bootstrap=10)
        by_most = benchmark([night], {"exact": Listener()}, tmp_path / "most", reference="majority", n_bootstrap=10)
        assert by_first.to_frame()["accuracy"].item() == 1
        assert by_most.to_frame()["accuracy"].item() == pytest.approx(39 / 49)
        assert "the majority of the scorers" in by_most.table_markdown()


class TestEntrants:
    def test_a_text_is_a_recipe_a_stager_or_a_checkpoint(self, comparison: Comparison, out: Path) -> None:
        run = out / "stagers" / "tiny" / "fold-001"
        found = find_entrants(["attnsleep", "yasa", f"mine={run}", str(run / "best")])
        assert [one.name for one in found] == ["attnsleep", "yasa", "mine", "fold-001"]
        assert found[0].recipe is not None
        assert found[1].stager is not None
        assert found[2].network is not None
        assert found[2].split == found[3].split == read_split(run / "split.json")
        # The recipe of the run trains on the first derivation.
        assert [one.combinations for one in found] == [1, None, 1, 1]

    @pytest.mark.parametrize("name", ["tinysleepnet", "attnsleep", "usleep"])
    def test_a_recipe_is_cropped_as_it_says(self, name: str) -> None:
        recipe = read_recipe(name)
        (entrant,) = find_entrants([name])
        assert entrant.crop == (None if recipe.crop_min is None else Crop(recipe.crop_min, recipe.crop_order))
        assert entrant.combinations == (None if name == "usleep" else 1)

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(HypnographError, match=r"'attnslep' is no recipe .*attnsleep.*yasa"):
            find_entrants(["attnslep"])
        with pytest.raises(HypnographError, match="two stagers are called 'yasa'"):
            find_entrants(["yasa", "yasa"])
        with pytest.raises(HypnographError, match="there is no stager"):
            find_entrants([])
        with pytest.raises(HypnographError, match="there is no recipe among the stagers"):
            find_entrants(["yasa"], ["stopping.passes=1"])
        with pytest.raises(HypnographError, match="cannot be a stager's name"):
            find_entrants({"a/b": "yasa"})
        with pytest.raises(HypnographError, match="a int is no recipe"):
            find_entrants([7])

    def test_what_is_trained_on_the_first_derivation_is_tested_on_it(self) -> None:
        first, drawn, loaded = find_entrants(["attnsleep", "usleep", "yasa"])
        assert [first.combinations, drawn.combinations, loaded.combinations] == [1, None, None]

    def test_settings_change_every_recipe(self) -> None:
        recipes = [one.recipe for one in find_entrants(["attnsleep", "tinysleepnet"], ["stopping.passes=3"])]
        assert [recipe.stopping.passes for recipe in recipes] == [3, 3]

    def test_epochs_of_several_lengths_are_refused(self, nights: list[Night], tmp_path: Path) -> None:
        stagers = {"long": parse_recipe(RECIPE), "short": parse_recipe(RECIPE, ["network.options.epoch_s=20.0"])}
        with pytest.raises(HypnographError, match="long 30 s, short 20 s"):
            benchmark(nights, stagers, tmp_path)


class TestWhoWasSeen:
    def test_a_checkpoint_that_trained_on_tested_subjects_says_so_in_the_table(
        self, comparison: Comparison, nights: list[Night], out: Path, tmp_path: Path
    ) -> None:
        run = out / "stagers" / "tiny" / "fold-001"
        split = read_split(run / "split.json")
        n_met = len(split.train) + len(split.validation)
        found = benchmark(nights, {"loaded": run, "exact": Listener()}, tmp_path, n_bootstrap=10)
        said = f"may have seen these subjects: {n_met} of the 7 tested are in its training"
        assert found.stagers[0].warnings == (said,)
        assert "| loaded (may have seen these subjects) |" in found.table_markdown()

    def test_sleep_edf_20_is_known_to_be_a_part_of_sleep_edf_sc(
        self, comparison: Comparison, nights: list[Night], out: Path, tmp_path: Path
    ) -> None:
        run = out / "stagers" / "tiny" / "fold-001"
        renamed = [replace(night, dataset="sleep-edf-sc") for night in nights]
        found = benchmark(renamed, {"loaded": run}, tmp_path, n_bootstrap=10)
        assert found.stagers[0].warnings[0].startswith("may have seen these subjects")

    def test_a_network_trained_elsewhere_says_on_what(self, nights: list[Night], tmp_path: Path) -> None:
        model = create_model("tinysleepnet", preset="small")
        network = TorchNetwork(model, describe(model, name="theirs", data="5,000 nights of others"))
        found = benchmark(nights[:2], [network], tmp_path, n_bootstrap=10)
        assert found.stagers[0].name == "theirs"
        assert "trained elsewhere: 5,000 nights of others" in found.stagers[0].warnings[0]


class TestPairedTests:
    def test_p_is_that_of_scipy_over_subjects_not_nights(self, comparison: Comparison) -> None:
        for test in comparison.tests:
            frame = comparison.nights_frame()
            means = [frame.loc[name].groupby("subject")[test.metric].mean() for name in (test.first, test.second)]
            assert test.n_subjects == 7
            assert test.difference == pytest.approx((means[0] - means[1]).mean())
            assert test.p == pytest.approx(wilcoxon(means[0] - means[1]).pvalue)

    def test_the_interval_is_that_of_scipys_bootstrap(self) -> None:
        rng = np.random.default_rng(3)
        evaluations = {name: random_evaluation(rng, 12, share) for name, share in {"a": 0.2, "b": 0.4}.items()}
        test = paired_tests(evaluations, n_bootstrap=20_000)[0]
        means = [list(subject_means(one, "macro_f1").values()) for one in evaluations.values()]
        sample = (np.subtract(*means),)
        expected = bootstrap(sample, np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
        assert (test.low, test.high) == pytest.approx((expected.low, expected.high), abs=0.002)

    def test_holm_corrects_as_the_worked_example(self) -> None:
        # By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last may not be below the one before it.
        assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
        assert holm([0.9, 0.8]) == [1.0, 1.0]

    def test_fewer_than_six_subjects_allow_no_test(self, nights: list[Night], tmp_path: Path) -> None:
        assert signed_rank_p(np.arange(1.0, 6.0)) is None
        assert signed_rank_p(np.arange(1.0, 7.0)) == pytest.approx(2 / 2**6)
        found = benchmark(nights[:4], {"a": Listener(0.3), "b": Listener()}, tmp_path, n_bootstrap=10)
        assert found.tests[0].p is None
        assert "No test is possible with 3 subjects: 6 are needed." in found.table_markdown()
        assert "| 3 | no test | no test |" in found.table_markdown()

    def test_stagers_that_say_the_same_do_not_differ(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert signed_rank_p(np.zeros(8)) == 1

    def test_p_is_corrected_within_each_metric(self, comparison: Comparison) -> None:
        for metric in ("macro_f1", "cohen_kappa"):
            tests = [test for test in comparison.tests if test.metric == metric]
            assert len(tests) == 3
            assert min(test.p_holm for test in tests) == pytest.approx(min(1, 3 * min(test.p for test in tests)))


def random_evaluation(rng: np.random.Generator, n_subjects: int, wrong: float):
    pairs = []
    for subject in range(n_subjects):
        stages = rng.integers(0, 5, 60).astype(np.int8)
        said = np.where(rng.random(60) < wrong, rng.integers(0, 5, 60), stages)
        pairs.append(NightPair(f"n{subject}", f"s{subject}", Hypnogram(stages), Hypnogram(said)))
    return evaluate_nights(pairs, n_bootstrap=10)


class TestFiles:
    def test_all_files_are_there_and_say_the_same(self, nights: list[Night], tmp_path: Path) -> None:
        found = benchmark(nights, {"a": Listener(0.3), "b": Listener(0.1)}, tmp_path, n_bootstrap=50)
        numbers = json.loads((tmp_path / "comparison.json").read_text())
        assert numbers == json.loads(json.dumps(found.as_dict()))
        with (tmp_path / "comparison.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["stager"] for row in rows] == ["a", "b"]
        pooled = numbers["stagers"][0]["evaluation"]["pooled"]
        assert float(rows[0]["macro_f1"]) == pytest.approx(pooled["macro_f1"])
        with (tmp_path / "nights.csv").open() as file:
            assert Counter(row["stager"] for row in csv.DictReader(file)) == {"a": 8, "b": 8}
        text = (tmp_path / "comparison.md").read_text()
        assert text.startswith(found.table_markdown())
        for name in ("metrics.png", "subjects.png", "confusion.png"):
            assert f"]({name})" in text
            assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"

    def test_published_numbers_stand_apart_and_only_where_there_are_some(
        self, comparison: Comparison, nights: list[Night], tmp_path: Path
    ) -> None:
        ours, _, theirs = comparison.table_markdown().partition(
            "## Published (other splits, other preparation: not a paired comparison)"
        )
        assert "AttnSleep" not in ours
        row = "| AttnSleep | sleep-edf-20 | Fpz-Cz | 20 folds | 42,308 | 0.844 | 0.781 | 0.79 | 0.897 | 0.426 | 0.888 |"
        assert row in theirs
        own = [replace(night, dataset="folder") for night in nights[:2]]
        assert "Published" not in benchmark(own, {"a": Listener()}, tmp_path, n_bootstrap=10).table_markdown()

    def test_simulated_nights_are_named_in_every_title(self, nights: list[Night], tmp_path: Path) -> None:
        unslept = [write_night(tmp_path, number, simulated=True) for number in (2, 3)]
        stagers = {"a": Listener(0.2), "b": Listener()}
        found = benchmark(unslept, stagers, tmp_path / "all", n_bootstrap=10)
        assert found.title == "2 stagers on sleep-edf-20: 2 simulated nights"
        assert found.table_markdown().startswith(f"# {found.title}\n")
        for draw in (draw_metrics, draw_subjects, draw_confusions):
            assert "2 simulated nights" in draw(found).get_suptitle()
        some = benchmark([nights[0], *unslept], stagers, tmp_path / "some", n_bootstrap=10)
        assert some.title.endswith("3 nights, 2 of them simulated")

    def test_nights_that_were_slept_are_not_called_simulated(self, comparison: Comparison) -> None:
        assert "simulated" not in comparison.table_markdown()


class TestFigures:
    def test_each_metric_shows_each_stager_at_its_value(self, comparison: Comparison) -> None:
        axes = [ax for ax in draw_metrics(comparison).axes if ax.get_visible()]
        titles = ["macro F1", "Cohen's kappa", "accuracy", *(f"F1 of {label}" for label in AASM_5.labels)]
        assert [ax.get_title() for ax in axes] == titles
        dots = [line.get_xdata()[0] for line in axes[0].lines if line.get_marker() == "o"]
        assert dots == pytest.approx(list(comparison.to_frame()["macro_f1"]))

    def test_each_subject_is_a_line_through_all_stagers(self, comparison: Comparison) -> None:
        ax = draw_subjects(comparison).axes[0]
        assert len(ax.lines) == 7
        assert [label.get_text() for label in ax.get_xticklabels()] == ["tiny", "sloppy", "exact"]
        heights = sorted(line.get_ydata()[1] for line in ax.lines)
        assert heights == sorted(subject_means(comparison.evaluations["sloppy"], "macro_f1").values())

    def test_each_stager_has_its_confusion_matrix(self, comparison: Comparison) -> None:
        axes = [ax for ax in draw_confusions(comparison).axes if ax.get_visible()]
        assert [ax.get_title() for ax in axes] == ["tiny", "sloppy", "exact"]
        exact = comparison.evaluations["exact"].pooled.confusion
        assert axes[2].texts[0].get_text() == f"100 %\n{exact[0, 0]:,}"
