"""The loop: what it writes, that it learns, and that an interruption or a second process changes nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hypnograph
from hypnograph.errors import HypnographError
from hypnograph.training.balanced_sampling import Pool
from hypnograph.training.history import read_history
from hypnograph.training.loop import train
from hypnograph.training.machine import Machine
from hypnograph.training.phase import Result
from hypnograph.training.recipes import Recipe, parse_recipe, read_recipe, recipe_names, recipe_toml
from hypnograph.training.run_folder import best_checkpoint
from hypnograph.training.splits import Split, fixed_fractions, write_split
from hypnograph.training.store import Store, open_store
from tests.training.nights import write_store

CPU = Machine(accelerator="cpu", workers=1)

TINY = """
[network]
architecture = "tinysleepnet"
preset = "small"
[network.options]
sample_rate = 16.0
dropout = 0.0
[sampling]
name = "natural"
context = 4
batch = 8
[optimiser]
learning_rate = 3e-3
[stopping]
passes = 3
"""

# Enough steps for the running statistics of its batch norms.
LONGER = ("stopping.passes=24", "sampling.batch=1")


def recipe_of(text: str = TINY, *settings: str) -> Recipe:
    return parse_recipe(text, settings)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return write_store(folder / "store", recipe_of().input_spec(), n_subjects=6, n_epochs=30, unscored=(7, 8))


@pytest.fixture(scope="module")
def split(store: Store) -> Split:
    return fixed_fractions(store.subjects, validation=0.1, test=0.1, seed=1)


def weights_of(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(folder / name / "model.safetensors")


def assert_same_weights(one: dict, other: dict, **tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.fixture(scope="module")
def run(store: Store, split: Split, tmp_path_factory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("run") / "tiny"
    return train(recipe_of(TINY, *LONGER), store, split, folder, machine=CPU), folder


@pytest.fixture(scope="module")
def reference(store: Store, split: Split, tmp_path_factory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("reference")
    train(recipe_of(), store, split, folder, machine=CPU)
    return weights_of(folder)


class TestARun:
    def test_the_network_learns_what_the_stages_look_like(self, run) -> None:
        result, _ = run
        assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
        assert result.best is not None
        assert result.best["validation_macro_f1"] > 0.8

    def test_the_best_checkpoint_is_of_the_pass_that_was_judged_best(self, run) -> None:
        result, folder = run
        scores = [row["validation_macro_f1"] for row in result.history]
        assert result.best == result.history[int(np.argmax(scores))]
        assert result.checkpoint == folder / "best" == best_checkpoint(folder)

    def test_the_folder_tells_the_course(self, run) -> None:
        result, folder = run
        assert read_history(folder) == result.history
        assert (folder / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
        assert read_recipe(folder / "recipe.toml") == recipe_of(TINY, *LONGER)

    def test_the_checkpoint_says_what_it_was_trained_on_and_stages_a_night(self, run, store, split) -> None:
        _, folder = run
        network = hypnograph.load(folder / "best")
        assert network.info.split_sha256 == split.sha256
        assert f"{len(split.train)} nights" in network.info.data
        assert store.sha256[:12] in network.info.data
        assert "simulated" not in network.info.data

    def test_a_checkpoint_of_simulated_nights_says_so(self, tmp_path) -> None:
        store = write_store(tmp_path / "store", recipe_of().input_spec(), n_subjects=3, simulated=True)
        split = Split(train=store.subjects[:2], validation=store.subjects[2:], test=())
        train(recipe_of(TINY, "stopping.passes=1"), store, split, tmp_path / "run", machine=CPU)
        assert "2 nights of 2 subjects (2 of them simulated)" in hypnograph.load(tmp_path / "run" / "best").info.data

    def test_the_test_nights_are_never_read(self, store, split, tmp_path, monkeypatch) -> None:
        from hypnograph.training.prepared_night import PreparedNight

        seen, read = set(), PreparedNight.read
        monkeypatch.setattr(
            PreparedNight, "read", lambda night, *args, **named: seen.add(night.person) or read(night, *args, **named)
        )
        train(recipe_of(), store, split, tmp_path / "run", machine=CPU)
        assert seen == {*split.train, *split.validation}

    def test_it_refuses_a_folder_that_holds_a_run(self, run, store, split) -> None:
        _, folder = run
        with pytest.raises(HypnographError, match="holds a training: --resume goes on"):
            train(recipe_of(), store, split, folder, machine=CPU)

    def test_it_refuses_to_go_on_with_another_recipe(self, run, store, split) -> None:
        _, folder = run
        with pytest.raises(HypnographError, match=r"recipe\.toml is not what is asked now"):
            train(recipe_of(TINY, "seed=2"), store, split, folder, machine=CPU, resume=True)

    def test_it_refuses_nights_that_were_prepared_otherwise(self, store, split, tmp_path) -> None:
        with pytest.raises(HypnographError, match=r"sample_rate: the network takes 32.0, the store has 16.0"):
            train(recipe_of(TINY, "network.options.sample_rate=32.0"), store, split, tmp_path / "run", machine=CPU)

    def test_it_says_whom_the_store_has_where_nobody_trains(self, store, tmp_path) -> None:
        with pytest.raises(HypnographError, match=r"\(nobody/1, …\); the store has folder/S00"):
            train(recipe_of(), store, Split(train=("nobody/1",)), tmp_path / "run", machine=CPU)

    def test_a_training_that_diverges_says_so(self, store, split, tmp_path) -> None:
        wild = recipe_of(TINY, "optimiser.name=sgd", "optimiser.learning_rate=1e30")
        with pytest.raises(HypnographError, match=r"has diverged\. Lower optimiser\.learning_rate"):
            train(wild, store, split, tmp_path / "run", machine=CPU)

    def test_it_stops_when_the_time_is_up_and_goes_on_later(self, store, split, tmp_path) -> None:
        hurried = train(recipe_of(), store, split, tmp_path / "run", machine=replace(CPU, most_minutes=1e-6))
        assert (len(hurried.history), hurried.finished) == (1, False)
        whole = train(recipe_of(), store, split, tmp_path / "run", machine=CPU, resume=True)
        assert (len(whole.history), whole.finished) == (3, True)

    def test_it_stops_when_patience_ends(self, store, split, tmp_path) -> None:
        stuck = recipe_of(TINY, "optimiser.learning_rate=0.0", "stopping.patience=2", "stopping.passes=50")
        result = train(stuck, store, split, tmp_path / "run", machine=CPU)
        assert result.best is not None
        assert len(result.history) - result.best["pass"] == 2


class TestTheSameWeights:
    @pytest.mark.parametrize("keeping", ["memory", "lazy", "pool", "cache"])
    def test_however_nights_are_kept(self, keeping, reference, store, split, tmp_path) -> None:
        machine = replace(CPU, keeping=keeping, cache=tmp_path / "cache", pool=Pool(nights_per_dataset=2))
        train(recipe_of(), store, split, tmp_path / "run", machine=machine)
        assert_same_weights(weights_of(tmp_path / "run"), reference, rtol=0, atol=0)

    @pytest.mark.parametrize("workers", [0, 3])
    def test_however_many_threads_load(self, workers, reference, store, split, tmp_path) -> None:
        train(recipe_of(), store, split, tmp_path / "run", machine=replace(CPU, workers=workers))
        assert_same_weights(weights_of(tmp_path / "run"), reference, rtol=0, atol=0)

    def test_whether_or_not_a_step_is_computed_in_parts(self, store, split, tmp_path) -> None:
        # Batch norm sees the parts: a network without it shows that the gradients are those of the whole step.
        text = TINY.replace('"tinysleepnet"', '"seqsleepnet"').replace("dropout = 0.0", "n_channels = 1\ndropout = 0.0")
        recipe = parse_recipe(text, ["objective.stage_weights=[1,2,1,1,1]", "network.options.running_statistics=false"])
        try:
            nights = write_store(tmp_path / "store", recipe.input_spec(), n_subjects=6, n_epochs=30, unscored=(7, 8))
        except HypnographError as error:
            pytest.skip(str(error))
        for parts in (1, 3):
            train(recipe, nights, split, tmp_path / f"run{parts}", machine=replace(CPU, accumulate=parts))
        assert_same_weights(weights_of(tmp_path / "run1"), weights_of(tmp_path / "run3"), rtol=1e-4, atol=2e-5)

    def test_after_a_pass_that_was_interrupted(self, reference, store, split, tmp_path, monkeypatch) -> None:
        from hypnograph.training.steps import Stepper

        take, taken = Stepper.take, []

        def interrupted(stepper: Stepper, batch: object) -> None:
            if len(taken) == 7:
                raise KeyboardInterrupt
            taken.append(take(stepper, batch))

        monkeypatch.setattr(Stepper, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(recipe_of(), store, split, tmp_path / "run", machine=CPU)
        monkeypatch.undo()
        result = train(recipe_of(), store, split, tmp_path / "run", machine=CPU, resume=True)
        assert len(result.history) == 3
        assert_same_weights(weights_of(tmp_path / "run"), reference, rtol=0, atol=0)

    def test_after_kill_9(self, store, split, tmp_path) -> None:
        passes = "stopping.passes=12"
        train(recipe_of(TINY, passes), store, split, tmp_path / "whole", machine=CPU)
        files = _command_files(tmp_path, split)
        command = [*_train_command(store, *files), str(tmp_path / "killed"), "--set", passes]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        state = tmp_path / "killed" / "state.pt"
        deadline = time.monotonic() + 60
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert state.exists()
        done = len(read_history(tmp_path / "killed"))
        train(recipe_of(TINY, passes), store, split, tmp_path / "killed", machine=CPU, resume=True)
        assert len(read_history(tmp_path / "killed")) == 12 > done
        assert_same_weights(weights_of(tmp_path / "killed"), weights_of(tmp_path / "whole"), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("settings", "options"),
        [
            ((), ("--devices", "2")),
            (("sampling.batch=1", "stopping.passes=1"), ()),
            (("sampling.batch=3", "stopping.passes=1"), ("--accumulate", "2")),
        ],
        ids=["windows for both", "one of the two always idle", "in parts, of two windows and of one"],
    )
    def test_by_two_processes_and_by_one(self, settings, options, store, split, tmp_path) -> None:
        # Dropout draws differ between processes, so there is none here; batch norm is over both.
        files = _command_files(tmp_path, split)
        train(recipe_of(TINY, *settings), store, split, tmp_path / "one", machine=CPU)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        given = [*options, *(word for setting in settings for word in ("--set", setting))]
        command = [*torchrun, *_train_command(store, *files)[1:], str(tmp_path / "two"), *given]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=_environment())
        assert result.returncode == 0, result.stderr[-3000:]
        assert_same_weights(weights_of(tmp_path / "two"), weights_of(tmp_path / "one"), rtol=1e-3, atol=1e-4)
        one, two = read_history(tmp_path / "one"), read_history(tmp_path / "two")
        assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)
        assert two[-1]["validation_loss"] == pytest.approx(one[-1]["validation_loss"], rel=1e-3)


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _command_files(folder: Path, split: Split) -> tuple[Path, Path]:
    (folder / "recipe.toml").write_text(TINY)
    write_split(split, folder / "split.json")
    return folder / "recipe.toml", folder / "split.json"


def _train_command(store: Store, recipe: Path, split: Path) -> list[str]:
    return [sys.executable, "-m", "hypnograph", "train", str(recipe), store.address, str(split), "--accelerator", "cpu"]


class TestRules:
    def test_a_state_is_carried_from_one_window_of_a_track_to_the_next(
        self, store, split, tmp_path, monkeypatch
    ) -> None:
        from hypnograph.models.tinysleepnet import Model

        given, run = [], Model.run

        def spy(model: Model, x: torch.Tensor, state: torch.Tensor | None = None) -> object:
            if model.training:
                given.append(state is not None)
            return run(model, x, state)

        monkeypatch.setattr(Model, "run", spy)
        tracks = recipe_of(TINY, "sampling.name=tracks", "sampling.batch=2", "stopping.passes=1")
        train(tracks, store, split, tmp_path / "run", machine=CPU)
        # Four nights of 30 to 35 epochs, two at a time, in windows of four: each pair begins without a state.
        assert given.count(False) == 2
        assert given.count(True) >= 14

    def test_stage_weights_are_counted_on_the_training_nights(self, store, split, tmp_path, monkeypatch) -> None:
        from hypnograph.training import phase
        from hypnograph.training.objectives import class_aware_weights

        seen = []
        monkeypatch.setattr(
            phase, "class_aware_weights", lambda counts: seen.append(counts) or class_aware_weights(counts)
        )
        weighted = recipe_of(TINY, "objective.stage_weights=class-aware", "stopping.passes=1")
        train(weighted, store, split, tmp_path / "run", machine=CPU)
        stages = np.concatenate([night.stages[0] for night in store.nights if night.person in split.train])
        # Twice: the training is rehearsed first.
        assert seen == [[int((stages == stage).sum()) for stage in range(5)]] * 2

    def test_a_network_of_four_stages_learns_merged_ones(self, store, split, tmp_path) -> None:
        merged = recipe_of(TINY, "network.options.n_stages=4", "stopping.passes=2")
        result = train(merged, store, split, tmp_path / "run", machine=CPU)
        assert hypnograph.load(result.checkpoint).info.scheme.n_stages == 4
        assert "validation_f1_light" in result.history[-1] or len(result.history[-1]) >= 9

    def test_half_precision_learns_too(self, store, split, tmp_path) -> None:
        machine = replace(CPU, precision="bf16-mixed")
        result = train(recipe_of(TINY, "stopping.passes=6"), store, split, tmp_path / "run", machine=machine)
        assert result.history[-1]["loss"] < 0.9 * result.history[0]["loss"]
        assert all(value.dtype == torch.float32 for value in weights_of(tmp_path / "run").values() if value.ndim)

    def test_shares_of_several_scorers_are_learned(self, tmp_path) -> None:
        recipe = recipe_of(TINY, "targets=soft", "stopping.passes=2")
        nights = write_store(tmp_path / "store", recipe.input_spec(), n_subjects=3, n_epochs=30, n_scorers=3)
        split = Split(train=nights.subjects[:2], validation=nights.subjects[2:])
        soft = train(recipe, nights, split, tmp_path / "soft", machine=CPU)
        first = train(recipe_of(TINY, "stopping.passes=2"), nights, split, tmp_path / "first", machine=CPU)
        assert soft.history[-1]["loss"] != first.history[-1]["loss"]
        # Where scorers disagree no network can be certain: the loss has a floor, the entropy of their shares.
        shares = np.concatenate([night.soft_stages() for night in nights.nights])
        entropy = -np.nansum(shares * np.log(np.where(shares > 0, shares, 1))) / (~np.isnan(shares[:, 0])).sum()
        assert soft.history[-1]["loss"] > entropy > 0.1

    def test_training_begins_with_given_weights(self, store, split, tmp_path) -> None:
        first = train(recipe_of(), store, split, tmp_path / "first", machine=CPU)
        frozen = recipe_of(TINY, "optimiser.learning_rate=0.0", "stopping.passes=1")
        train(frozen, store, split, tmp_path / "second", machine=CPU, initial=first.checkpoint)
        first_weights, second = weights_of(tmp_path / "first", "best"), weights_of(tmp_path / "second")
        for name in ("output.weight", "lstm.weight_ih_l0") if "lstm.weight_ih_l0" in second else ("output.weight",):
            torch.testing.assert_close(first_weights[name], second[name])

    def test_the_last_pass_is_taken_where_none_is_to_be_chosen(self, store, split, tmp_path) -> None:
        plain = recipe_of(TINY, "validation.monitor=last", "stopping.passes=2")
        result = train(plain, store, split, tmp_path / "run", machine=CPU)
        assert (result.best, result.checkpoint.name) == (None, "last")
        assert not (tmp_path / "run" / "best").exists()
        assert "validation_kappa" in result.history[-1]

    def test_a_first_step_begins_with_given_weights_too(self, tmp_path) -> None:
        text = TINY.replace('"tinysleepnet"', '"deepsleepnet"').replace("dropout = 0.0", "").replace(
            'name = "natural"', 'name = "night-tracks"'
        )  # fmt: skip
        two_steps = text + '[pretraining.sampling]\nname = "oversampled"\n[pretraining.stopping]\npasses = 1\n'
        recipe = parse_recipe(two_steps, ["stopping.passes=1", "network.options.sample_rate=100.0"])
        nights = write_store(tmp_path / "store", recipe.input_spec(), n_subjects=3, n_epochs=30)
        split = Split(train=nights.subjects[:2], validation=nights.subjects[2:])
        first = train(recipe, nights, split, tmp_path / "first", machine=CPU)
        still = ["optimiser.learning_rate=0.0", "pretraining.optimiser.learning_rate=0.0", "seed=2"]
        frozen = parse_recipe(recipe_toml(recipe), still)
        result = train(frozen, nights, split, tmp_path / "second", machine=CPU, initial=first.checkpoint)
        before, after = load_file(first.checkpoint / "model.safetensors"), weights_of(tmp_path / "second")
        learned = {name for name, value in before.items() if value.ndim and not name.endswith(("_mean", "_var"))}
        assert len([name for name in learned if name.startswith("representation.")]) > 8
        assert_same_weights({n: before[n] for n in learned}, {n: after[n] for n in learned}, rtol=0, atol=0)
        assert result.unfitted == ()

    def test_what_a_checkpoint_had_nothing_for_is_told(self, store, split, tmp_path) -> None:
        first = train(recipe_of(TINY, "stopping.passes=1"), store, split, tmp_path / "first", machine=CPU)
        merged = recipe_of(TINY, "network.options.n_stages=4", "stopping.passes=1")
        result = train(merged, store, split, tmp_path / "second", machine=CPU, initial=first.checkpoint)
        assert set(result.unfitted) == {"output.weight", "output.bias"}

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (("objective.options={gama=1}",), "cross_entropy has no option 'gama'"),
            (("objective.name=mse",), "no objective 'mse'"),
            (('augmentation=[{name="roll", p=0.1}]',), "roll has no option 'p'"),
            (('augmentation=[{p=0.1}]',), r"\[\[augmentation\]\] has no name; it has p"),
            (("optimiser.options={momentum=0.9}",), r"\[optimiser\]: .*momentum"),
            (('optimiser.learning_rates={nobody=1e-3}',), "no weight's name begins with 'nobody'"),
            (("network.architecture=usleep", "network.options={sample_rate=16.0}", "objective.weight_penalty=1"),
             "usleep has no penalty of its own"),
            (("objective.stage_weights=[1, 2]",), r"stage_weights are \[1.0, 2.0\]; give 5 numbers"),
            (("objective.name=dice", "objective.stage_weights=balanced"), "dice has no option 'stage_weights'"),
            (("sampling.shift_s=40",), "sampling.shift_s is 40"),
            (("sampling.even_share=2",), "sampling.even_share is 2"),
            (("sampling.name=night-tracks", "sampling.discard_rest=true", "sampling.batch=10"),
             "too short for one step of 'night-tracks' with 10 windows of 4 epochs"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_before_anything_is_written(self, settings, message, split, tmp_path) -> None:
        recipe = recipe_of(TINY.replace("dropout = 0.0", "") if "network" in settings[0] else TINY, *settings)
        nights = write_store(tmp_path / "store", recipe.input_spec(), n_subjects=6, n_epochs=5)
        with pytest.raises(HypnographError, match=message):
            train(recipe, nights, split, tmp_path / "run", machine=CPU)
        assert not (tmp_path / "run").exists()

    def test_windows_that_overlap_are_not_shifted(self, split, tmp_path) -> None:
        nights = write_store(tmp_path / "store", recipe_of().input_spec(), n_subjects=6, n_epochs=9, epoch_s=20.0)
        shifted = recipe_of(TINY, "sampling.name=tracks", "sampling.shift_s=3", "stopping.passes=1")
        with pytest.raises(HypnographError, match=r"shift_s = 3 takes epochs in a row for one signal"):
            train(shifted, nights, split, tmp_path / "run", machine=CPU)
        assert not (tmp_path / "run").exists()
        result = train(recipe_of(TINY, "stopping.passes=1"), nights, split, tmp_path / "run", machine=CPU)
        assert len(result.history) == 1

    def test_a_training_can_be_made_longer(self, reference, store, split, tmp_path) -> None:
        train(recipe_of(TINY, "stopping.passes=1"), store, split, tmp_path / "run", machine=CPU)
        train(recipe_of(), store, split, tmp_path / "run", machine=CPU, resume=True)
        assert_same_weights(weights_of(tmp_path / "run"), reference, rtol=0, atol=0)
        assert read_recipe(tmp_path / "run" / "recipe.toml").stopping.passes == 3

    def test_it_is_not_made_shorter_than_it_was(self, store, split, tmp_path) -> None:
        train(recipe_of(TINY, "stopping.passes=2"), store, split, tmp_path / "run", machine=CPU)
        with pytest.raises(HypnographError, match="has had 2 passes already; it cannot end after 1"):
            train(recipe_of(TINY, "stopping.passes=1"), store, split, tmp_path / "run", machine=CPU, resume=True)
        assert read_recipe(tmp_path / "run" / "recipe.toml").stopping.passes == 2

    def test_the_last_checkpoint_is_of_the_last_pass_whenever_it_stops(
        self, store, split, tmp_path, monkeypatch
    ) -> None:
        def stop(progress: Any) -> None:
            if progress.row is not None and progress.row["pass"] == 2:
                raise KeyboardInterrupt

        unjudged = Split(train=split.train, test=split.test)
        with pytest.raises(KeyboardInterrupt):
            train(recipe_of(), store, unjudged, tmp_path / "run", machine=CPU, report=stop)
        train(recipe_of(TINY, "stopping.passes=2"), store, unjudged, tmp_path / "two", machine=CPU)
        assert_same_weights(weights_of(tmp_path / "run"), weights_of(tmp_path / "two"), rtol=0, atol=0)

    def test_a_validation_part_without_a_night_is_refused(self, store, split, tmp_path) -> None:
        gone = Split(train=split.train, validation=("folder/S98", "folder/S99"), test=split.test)
        with pytest.raises(HypnographError, match=r"of the validation part \(folder/S98, folder/S99\)"):
            train(recipe_of(), store, gone, tmp_path / "run", machine=CPU)
        assert not (tmp_path / "run").exists()

    def test_a_trial_does_not_go_on_as_a_training(self, store, split, tmp_path) -> None:
        passes = recipe_of(TINY, "stopping.passes=1")
        train(passes, store, split, tmp_path / "run", machine=replace(CPU, most_steps=1))
        with pytest.raises(HypnographError, match="was begun with 1 steps in a pass, not all"):
            train(recipe_of(), store, split, tmp_path / "run", machine=CPU, resume=True)

    def test_it_does_not_go_on_with_other_nights(self, store, split, tmp_path) -> None:
        train(recipe_of(TINY, "stopping.passes=1"), store, split, tmp_path / "run", machine=CPU)
        others = write_store(tmp_path / "others", recipe_of().input_spec(), n_subjects=6, n_epochs=29)
        with pytest.raises(HypnographError, match="not those that this training began with"):
            train(recipe_of(), others, split, tmp_path / "run", machine=CPU, resume=True)

    def test_dice_of_a_whole_batch_is_one_of_the_objectives(self, store, split, tmp_path) -> None:
        whole = recipe_of(TINY, "objective.name=dice", 'objective.options={per="batch"}', "stopping.passes=4")
        result = train(whole, store, split, tmp_path / "run", machine=CPU)
        assert result.history[-1]["loss"] < result.history[0]["loss"]
        with pytest.raises(HypnographError, match="cannot be summed over parts"):
            train(whole, store, split, tmp_path / "parts", machine=replace(CPU, accumulate=2))

    def test_the_time_left_is_told_from_the_first_steps_on(self, store, split, tmp_path, monkeypatch) -> None:
        from hypnograph.training import phase

        monkeypatch.setattr(phase, "_TELL_EVERY_S", 0.0)
        told = []
        train(recipe_of(), store, split, tmp_path / "run", machine=CPU, report=told.append)
        first = [progress for progress in told if progress.n_pass == 0 and progress.row is None]
        assert len(first) > 2
        assert all(progress.seconds_left > 0 for progress in first)

    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
    @pytest.mark.filterwarnings("ignore")  # of the compiler, about its own parts
    def test_a_compiled_network_learns_the_same(self, tmp_path) -> None:
        text = TINY.replace('"tinysleepnet"', '"usleep"').replace("dropout = 0.0", "depth = 3")
        recipe = parse_recipe(text, ["stopping.passes=1"])
        nights = write_store(tmp_path / "store", recipe.input_spec(), n_subjects=3, n_epochs=12)
        split = Split(train=nights.subjects[:2], validation=nights.subjects[2:])
        plain = train(recipe, nights, split, tmp_path / "plain", machine=CPU)
        compiled = train(recipe, nights, split, tmp_path / "compiled", machine=replace(CPU, compile=True))
        assert compiled.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-3)

    def test_a_network_that_carries_its_state_is_not_compiled(self, store, split, tmp_path) -> None:
        tracks = recipe_of(TINY, "sampling.name=tracks")
        with pytest.raises(HypnographError, match="carries a state from step to step and is not compiled"):
            train(tracks, store, split, tmp_path / "run", machine=replace(CPU, compile=True))

    def test_a_precision_that_is_not_offered_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="precision is '16-true'; choose from 32-true"):
            Machine(precision="16-true")

    def test_weights_of_another_network_are_refused(self, store, split, tmp_path) -> None:
        other = hypnograph.create_model("utime", preset="small")
        hypnograph.save(other, tmp_path / "other")
        with pytest.raises(HypnographError, match="no weight of utime fits"):
            train(recipe_of(), store, split, tmp_path / "run", machine=CPU, initial=tmp_path / "other")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_trains_for_some_steps(name, tmp_path) -> None:
    """The whole network of each recipe on a small store; of the recipe only the size of a step is changed."""
    recipe = read_recipe(name)
    phases = ["", "pretraining."] if recipe.pretraining else [""]
    settings = [f"{phase}sampling.batch={2 if recipe.sampling.context > 1 else 4}" for phase in phases]
    settings += [f"{phase}stopping.passes=1" for phase in phases]
    recipe = read_recipe(name, settings)
    # What fills no window is left out where a recipe discards it.
    n_epochs = max(36, recipe.sampling.discard_rest * recipe.sampling.batch * recipe.sampling.context)
    nights = write_store(tmp_path / "store", recipe.input_spec(), n_subjects=2, n_epochs=n_epochs, scale=20.0)
    split = Split(train=nights.subjects[:1], validation=nights.subjects[1:])
    result = train(recipe, nights, split, tmp_path / "run", machine=replace(CPU, most_steps=2))
    assert result.history[-1]["steps"] >= 1
    assert np.isfinite(result.history[-1]["loss"])
    assert 0 <= result.history[-1]["validation_accuracy"] <= 1
    assert hypnograph.load(best_checkpoint(tmp_path / "run")).info.architecture == recipe.network.architecture
    assert open_store(nights.address).sha256 == nights.sha256
