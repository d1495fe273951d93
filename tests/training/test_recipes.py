"""Each shipped recipe is what was published, can be used as it is, and mistakes in a recipe are told in words."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import clip_grad_norm_

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.models import create_model
from hypnograph.preprocess import InputSpec
from hypnograph.training.augmentation import create_augmentation
from hypnograph.training.objectives import balanced_weights, class_aware_weights, create_objective
from hypnograph.training.optimisers import create_optimiser, schedule_factor
from hypnograph.training.recipes import (
    Network,
    Phase,
    Recipe,
    Sampling,
    Validation,
    parse_recipe,
    read_recipe,
    recipe_names,
    recipe_text,
    recipe_toml,
)
from hypnograph.training.sampled_windows import Nights
from hypnograph.training.sampling import create_sampler
from tests.conftest import REPOSITORY

EVERY_RECIPE = pytest.mark.parametrize("name", recipe_names())
SHORTEST = '[network]\narchitecture = "usleep"\n'

ADAM = {"options.betas": [0.9, 0.999], "options.eps": 1e-8}
U_SLEEP = {
    "network.architecture": "usleep",
    "sampling.name": "balanced",
    "sampling.context": 35,
    "sampling.batch": 64,
    "sampling.epochs_per_pass": 1_000_000,
    "sampling.even_share": 0.5,
    "objective.name": "cross_entropy",
    "optimiser.name": "adam",
    "optimiser.options.amsgrad": True,
    "optimiser.weight_decay": 0,
    "optimiser.clip_norm": None,
    "schedule.name": "constant",
    "validation.monitor": "macro_f1",
    "validation.nights_per_dataset": 20,
    "derivations": "random",
}
U_TIME = {
    "network.architecture": "utime",
    "sampling.name": "balanced",
    "sampling.context": 35,
    "sampling.batch": 12,
    "optimiser.learning_rate": 5e-6,
    "schedule.name": "constant",
}
DEEPSLEEPNET = {
    "crop_min": 30,
    "pretraining.sampling.name": "oversampled",
    "pretraining.sampling.batch": 100,
    "pretraining.optimiser.learning_rate": 1e-4,
    "pretraining.objective.weight_penalty": 1e-3,
    "pretraining.stopping.passes": 100,
    "pretraining.optimiser.clip_norm": None,
    "sampling.name": "night-tracks",
    "sampling.batch": 10,
    "sampling.context": 25,
    "optimiser.learning_rate": 1e-4,
    "optimiser.learning_rates": {"representation": 1e-6},
    "optimiser.clip_norm": 10 / 25,
    "objective.weight_penalty": pytest.approx(1e-3 / 25),
    "stopping.passes": 200,
}
TINYSLEEPNET = {
    "crop_min": 30,
    "sampling.name": "tracks",
    "sampling.batch": 15,
    "sampling.context": 20,
    "sampling.shift_s": 0.1 * 30,
    "sampling.skip": 4,
    "objective.stage_weights": (1, 1.5, 1, 1, 1),
    "objective.weight_penalty": 1e-3,
    "objective.options": {"normalise": "scored"},
    "optimiser.learning_rate": 1e-4,
    "optimiser.clip_norm": 5,
    **{f"optimiser.{key}": value for key, value in ADAM.items()},
    "stopping.passes": 200,
    "stopping.patience": 50,
    "validation.monitor": "accuracy-and-macro-f1",
}
ATTNSLEEP = {
    "network.architecture": "attnsleep",
    "crop_min": 30,
    "sampling.name": "natural",
    "sampling.context": 1,
    "sampling.batch": 128,
    "objective.stage_weights": "class-aware",
    "optimiser.name": "adam",
    "optimiser.learning_rate": 1e-3,
    "optimiser.weight_decay": 1e-3,
    "optimiser.options": {"amsgrad": True},
    "stopping.passes": 100,
    "stopping.patience": None,
}
SEQSLEEPNET = {
    "sampling.name": "natural",
    "sampling.context": 20,
    "sampling.batch": 32,
    "optimiser.name": "adam",
    "optimiser.learning_rate": 1e-4,
    "optimiser.weight_decay": 1e-3 / 32,
}
SLEEPGPT = {
    "crop_min": 30,
    "optimiser.name": "adamw",
    "optimiser.learning_rate": 5e-4,
    "optimiser.weight_decay": 5e-4,
    "optimiser.options.betas": [0.9, 0.95],
    "schedule.name": "cosine",
    "schedule.warm_up": 20,
    "schedule.factor": pytest.approx(1e-8 / 5e-4),
    "stopping.passes": 200,
    "validation.monitor": "accuracy",
}
ECG_UTIME = {
    "network.architecture": "ecg-utime",
    "sampling.context": 1,
    "sampling.batch": 256,
    "objective.stage_weights": "balanced",
    "optimiser.learning_rate": 1e-3,
    "stopping.passes": 150,
    "validation.every": 2,
    "schedule.name": "constant",
}
# What was published, or what is said in place of it. Oracles: the codes of perslev/U-Time 1.1.8 (table of presets),
# dslaborg/AnySleep (config/exp001), akaraspt/deepsleepnet and tinysleepnet, emadeldeen24/AttnSleep,
# pquochuy/SeqSleepNet, yuty2009/sleepgpt; for ECG, arXiv:2112.07252.
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "usleep": U_SLEEP | {"optimiser.learning_rate": 1e-5, "stopping.patience": 100, "augmentation": ()},
    "usleep-paper": U_SLEEP
    | {
        "network.preset": "paper",
        "optimiser.learning_rate": 1e-7,
        "stopping.passes": 12_000,
        "stopping.patience": 200,
        **{f"optimiser.{key}": value for key, value in ADAM.items()},
        "augmentation": (
            {"name": "regional-erase", "probability": 0.1, "min_fraction": 0.001, "max_fraction": 0.33, "log": True},
            {"name": "channel-dropout", "probability": 0.1, "fraction": 0.5},
        ),
    },
    "usleep-demo": {"network.preset": "small", "network.options.norm_momentum": 0.1, "stopping.passes": 10},
    "utime": U_TIME
    | {
        "network.preset": "released",
        "sampling.epochs_per_pass": 500_000,
        "objective.name": "cross_entropy",
        "stopping.passes": 2000,
        "stopping.patience": 80,
        **{f"optimiser.{key}": value for key, value in ADAM.items()},
        "augmentation": (
            {"name": "gaussian-noise", "probability": 0.2, "sd": 0.1},
            {
                "name": "regional-noise",
                "probability": 0.2,
                "min_fraction": 0.001,
                "max_fraction": 0.5,
                "log": True,
                "sd": 0.2,
            },
            {"name": "elastic", "probability": 0.2, "alpha": [0, 35], "sigma": [3, 30]},
            {"name": "regional-erase", "probability": 0.2, "min_fraction": 0.001, "max_fraction": 0.3, "log": True},
        ),
    },
    "utime-paper": U_TIME
    | {
        "network.preset": "paper",
        "sampling.epochs_per_pass": None,
        "objective.name": "dice",
        "objective.options.form": "generalised",
        "stopping.patience": 150,
        "augmentation": (),
        "crop_min": 30,
    },
    "deepsleepnet": DEEPSLEEPNET | {"network.preset": "default", "sampling.discard_rest": False, "validation.every": 1},
    "deepsleepnet-paper": DEEPSLEEPNET
    | {
        "network.preset": "paper",
        "network.options": {"bw_state": "carry"},
        "sampling.discard_rest": True,
        "sampling.shuffle": False,
        "stopping.patience": None,
        "pretraining.stopping.patience": None,
        "validation.monitor": "last",
        "pretraining.validation.monitor": "last",
        **{f"optimiser.{key}": value for key, value in ADAM.items()},
        **{f"pretraining.optimiser.{key}": value for key, value in ADAM.items()},
    },
    "tinysleepnet": TINYSLEEPNET | {"network.preset": "default"},
    "tinysleepnet-paper": TINYSLEEPNET | {"network.preset": "paper"},
    "attnsleep": ATTNSLEEP | {"network.preset": "default"},
    "attnsleep-paper": ATTNSLEEP | {"network.preset": "paper", "validation.monitor": "accuracy"},
    "attnsleep-conformer": ATTNSLEEP | {"network.preset": "conformer"},
    "attnsleep-msp": ATTNSLEEP | {"network.preset": "msp"},
    "attnsleep-msp-crnn": ATTNSLEEP | {"network.preset": "msp-crnn"},
    "seqsleepnet": SEQSLEEPNET | {"sampling.stride": 5, "stopping.passes": 50},
    "seqsleepnet-paper": SEQSLEEPNET
    | {
        "network.preset": "paper",
        "sampling.stride": 1,
        "stopping.passes": 10,
        "stopping.patience": None,
        "validation.monitor": "accuracy",
    },
    "sleepgpt-lstm": SLEEPGPT | {"sampling.context": 15, "sampling.batch": 17},
    "sleepgpt-tinysleepnet": SLEEPGPT | {"sampling.context": 1, "sampling.batch": 256},
    "ecg-utime": ECG_UTIME,
    "ecg-utime-eeg": ECG_UTIME | {"input.kinds": ["EEG"]},
}


@dataclass(frozen=True)
class PlannedNight:
    """What a sampler needs to know of a night."""

    kinds: tuple[ChannelKind, ...]
    dataset: str = "simulated"
    n_epochs: int = 300

    @property
    def derivations(self) -> Mapping[ChannelKind, tuple[str, ...]]:
        return {kind: (f"{kind} 1",) for kind in self.kinds}


def found_at(recipe: Recipe, path: str) -> Any:
    """Return a value of a recipe by its dotted path."""

    def step(value: Any, name: str) -> Any:
        return value[name] if isinstance(value, Mapping) else getattr(value, name)

    return reduce(step, path.split("."), recipe)


@cache
def network_of(name: str) -> torch.nn.Module:
    network = read_recipe(name).network
    return create_model(network.architecture, preset=network.preset, **network.options)


@cache
def spec_of(name: str) -> InputSpec:
    return read_recipe(name).input_spec()


def phases(recipe: Recipe) -> list[Phase]:
    return [recipe, recipe.pretraining] if recipe.pretraining else [recipe]


# What comes with hypnograph ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('input.kinds=["EEG","EOG"]', r"kinds are EEG, EOG, but network\.options\.n_channels is 1"),
        (
            "input.sample_rate=64.0",
            r"\[input\] sample_rate is 64, the network's is 100; set network\.options\.sample_rate",
        ),
        ("input.epoch_s=20.0", r"\[input\] epoch_s is 20, the network's is 30"),
    ],
)
def test_an_input_that_the_network_does_not_take_is_refused(setting: str, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        read_recipe("attnsleep", [setting]).input_spec()


def test_each_recipe_is_in_the_table_of_published_numbers() -> None:
    assert set(PUBLISHED) == set(recipe_names())


@EVERY_RECIPE
def test_a_recipe_holds_the_published_numbers(name: str) -> None:
    recipe = read_recipe(name)
    assert {path: found_at(recipe, path) for path in PUBLISHED[name]} == PUBLISHED[name]


@EVERY_RECIPE
def test_a_recipe_says_what_it_is_where_it_comes_from_and_what_differs(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.title
    assert recipe.source.startswith(("doi:10.", "arXiv:", "https://"))
    assert recipe.notes.endswith(".")
    assert "  " not in recipe.notes
    assert recipe_text(name).startswith("# ")
    assert len(recipe_text(name).splitlines()) <= 60


@EVERY_RECIPE
def test_a_recipe_prepares_nights_as_its_network_takes_them(name: str) -> None:
    recipe = read_recipe(name)
    spec, config = spec_of(name), network_of(name).config
    assert (len(spec.kinds), spec.sample_rate, spec.epoch_s) == (config.n_channels, config.sample_rate, config.epoch_s)
    # A network that is used on windows is trained on windows of that length.
    assert spec.context in (None, recipe.sampling.context)


@pytest.mark.parametrize("name", [name for name in recipe_names() if "[[augmentation]]" in recipe_text(name)])
def test_the_augmentations_of_a_recipe_change_a_window(name: str) -> None:
    recipe = read_recipe(name)
    spec, rng = spec_of(name), np.random.default_rng(1)
    for entry in recipe.augmentation:
        window = rng.normal(size=(2, len(spec.kinds), spec.epoch_samples)).astype(np.float32)
        changed = create_augmentation(**{**entry, "probability": 1.0})(window.copy(), rng)
        assert np.isfinite(changed).all()
        assert (changed != window).any()
        assert create_augmentation(**entry).probability == entry["probability"]


@EVERY_RECIPE
def test_the_objective_of_a_recipe_falls_where_the_network_is_right(name: str) -> None:
    recipe = read_recipe(name)
    n_stages = network_of(name).config.n_stages
    rules = {"class-aware": class_aware_weights, "balanced": balanced_weights}
    for phase in phases(recipe):
        weights = phase.objective.stage_weights
        given_weights = rules[weights](range(100, 100 * n_stages + 1, 100)) if isinstance(weights, str) else weights
        options = {} if weights is None else {"stage_weights": given_weights}
        objective = create_objective(phase.objective.name, **options, **phase.objective.options)
        stages = torch.arange(2 * n_stages).reshape(2, n_stages) % n_stages
        right = 5 * torch.nn.functional.one_hot(stages, n_stages).float()
        assert 0 <= objective(right, stages) < objective(-right, stages)


@EVERY_RECIPE
def test_the_optimiser_of_a_recipe_gives_each_weight_its_rate_and_moves_it(name: str) -> None:
    recipe = read_recipe(name)
    model = network_of(name)
    optimiser = create_optimiser(recipe.optimiser, model)
    rates = {id(weight): group["lr"] for group in optimiser.param_groups for weight in group["params"]}
    slow = recipe.optimiser.learning_rates
    trained = {weight_name: weight for weight_name, weight in model.named_parameters() if weight.requires_grad}
    for weight_name, weight in trained.items():
        expected = next(
            (slow[start] for start in slow if weight_name.startswith(start)), recipe.optimiser.learning_rate
        )
        assert rates[id(weight)] == expected
    before = {weight_name: weight.detach().clone() for weight_name, weight in trained.items()}
    for weight in trained.values():
        weight.grad = torch.ones_like(weight)
    optimiser.step()
    assert all((weight != before[weight_name]).any() for weight_name, weight in trained.items())


@EVERY_RECIPE
def test_a_weight_penalty_is_asked_of_networks_that_have_one(name: str) -> None:
    recipe = read_recipe(name)
    for phase in phases(recipe):
        assert (phase.objective.weight_penalty > 0) == hasattr(network_of(name), "weight_penalty")


@EVERY_RECIPE
def test_the_plan_of_a_recipe_fills_its_batches(name: str) -> None:
    recipe = read_recipe(name)
    spec = spec_of(name)
    stages = [np.arange(300, dtype=np.int8) % 5 for _ in range(20)]
    nights = Nights([PlannedNight(spec.kinds)] * 20, stages, spec.kinds, spec.epoch_samples, spec.epoch_s)
    for phase in phases(recipe):
        step = next(iter(create_sampler(phase.sampling, nights, seed=1).steps(0)))
        assert len(step.windows) == phase.sampling.batch
        assert max(window.n_epochs for window in step.windows) == phase.sampling.context


@EVERY_RECIPE
def test_a_recipe_that_is_written_and_read_is_the_same(name: str) -> None:
    recipe = read_recipe(name)
    assert parse_recipe(recipe_toml(recipe)) == recipe


def test_attnsleep_learns_ten_passes_at_the_first_rate() -> None:
    # Its trainer counts passes from 1 and sets 1e-4 when pass 10 is done.
    recipe = read_recipe("attnsleep-paper")
    rates = [1e-3 * schedule_factor(recipe.schedule, n_pass, recipe.stopping.passes) for n_pass in range(100)]
    assert rates == pytest.approx([1e-3] * 10 + [1e-4] * 90)


def test_sleepgpt_warms_up_and_ends_at_its_lowest_rate() -> None:
    recipe = read_recipe("sleepgpt-lstm")
    rates = [5e-4 * schedule_factor(recipe.schedule, n_pass, recipe.stopping.passes) for n_pass in range(200)]
    assert rates[0] == pytest.approx(5e-4 / 20, rel=1e-3)
    assert max(rates) == rates[19] > 0.97 * 5e-4
    assert rates[-1] == pytest.approx(1e-8)


def test_deepsleepnets_scaled_numbers_give_its_published_gradient() -> None:
    """Oracle: its own loss, the sum over 25 epochs / 10 windows, plus 1e-3 · ½‖W‖², clipped at 10."""
    recipe = read_recipe("deepsleepnet-paper")
    torch.manual_seed(1)
    layer, x, stages = torch.nn.Linear(8, 5).double(), 300 * torch.randn(10, 25, 8).double(), torch.randint(5, (10, 25))
    logits, penalty = layer(x), layer.weight.square().sum() / 2
    theirs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), stages.flatten(), reduction="sum") / 10
    ours = create_objective(recipe.objective.name)(logits, stages)

    def gradient(loss: torch.Tensor, clip_norm: float) -> torch.Tensor:
        layer.zero_grad()
        loss.backward(retain_graph=True)
        norm = clip_grad_norm_(layer.parameters(), clip_norm)
        assert norm > clip_norm
        return layer.weight.grad.clone()

    published = gradient(theirs + 1e-3 * penalty, 10.0)
    assert recipe.optimiser.clip_norm is not None
    scaled = gradient(ours + recipe.objective.weight_penalty * penalty, recipe.optimiser.clip_norm)
    # Adam does not see a factor that is the same in all steps.
    torch.testing.assert_close(25 * scaled, published, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["seqsleepnet", "seqsleepnet-paper"])
def test_seqsleepnets_weight_decay_is_its_published_penalty(name: str) -> None:
    """Oracle: its own loss, the sum over 32 windows of the mean over 20 epochs, plus 1e-3 · ½‖θ‖², in torch's Adam."""
    recipe = read_recipe(name)
    torch.manual_seed(1)
    x, stages = torch.randn(32, 20, 8).double(), torch.randint(5, (32, 20))
    ours, theirs = (torch.nn.Linear(8, 5).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    # Without a decay the weights would end elsewhere: 1000 times the penalty makes that plain.
    optimiser = create_optimiser(replace(recipe.optimiser, weight_decay=1000 * recipe.optimiser.weight_decay), ours)
    published = torch.optim.Adam(theirs.parameters(), lr=1e-4)
    for _ in range(20):
        optimiser.zero_grad()
        create_objective(recipe.objective.name)(ours(x), stages).backward()
        optimiser.step()
        published.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(x).flatten(0, 1), stages.flatten(), reduction="sum") / 20
        (loss + 1000 * 1e-3 * sum(weight.square().sum() / 2 for weight in theirs.parameters())).backward()
        published.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-8)


def test_the_page_on_recipes_lists_all_of_them_and_its_example_is_one() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "recipes.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", page, re.M)) == list(recipe_names())
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    recipe = parse_recipe(example)
    assert [str(kind) for kind in recipe.input_spec().kinds] == ["EEG", "EOG", "EMG"]
    assert [create_augmentation(**entry).probability for entry in recipe.augmentation] == [0.1]
    (settings,) = re.findall(r"```text\n(.*?)```", page, re.S)
    changed = read_recipe("usleep", settings.replace("--set ", "").splitlines())
    assert (changed.stopping.patience, changed.network.options) == (None, {"n_channels": 3})


def test_an_unknown_recipe_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(HypnographError, match=r"no recipe 'resnet'.*usleep-paper"):
        read_recipe("resnet")


# Reading -------------------------------------------------------------------------------------------------------------


def test_what_a_recipe_does_not_say_is_the_default() -> None:
    assert parse_recipe(SHORTEST) == Recipe(network=Network(architecture="usleep"))


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "µ"\n' + SHORTEST, encoding="utf-8")
    assert read_recipe(path).title == read_recipe(str(path)).title == "µ"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "network is missing"),
        ("[network]\n", "network: architecture is missing"),
        ("lr = 1\n" + SHORTEST, r"the recipe has no key 'lr'\. There are: .*optimiser"),
        (SHORTEST + "[optimiser]\nlr = 1\n", r"\[optimiser\] has no key 'lr'\. There are: .*learning_rate"),
        (SHORTEST + "[pretraining.sampling]\nsize = 1\n", r"\[pretraining.sampling\] has no key 'size'.*batch"),
        (SHORTEST + "[sampling]\nbatch = 1.5\n", r"sampling.batch is 1.5; it must be a whole number"),
        (SHORTEST + "[sampling]\nbatch = true\n", r"sampling.batch is True; it must be a whole number"),
        (SHORTEST + "[sampling]\ndiscard_rest = 1\n", r"discard_rest is 1; it must be true or false"),
        (SHORTEST + '[optimiser]\nlearning_rate = "low"\n', r"learning_rate is 'low'; it must be a number"),
        (SHORTEST + "[optimiser]\nlearning_rate = true\n", r"learning_rate is True; it must be a number"),
        (SHORTEST + '[optimiser.learning_rates]\na = "low"\n', r"learning_rates.a is 'low'; it must be a number"),
        (SHORTEST + '[sampling]\nname = "even"\n', r"sampling.name is 'even'; it must be 'balanced' or 'natural'"),
        (SHORTEST + '[objective]\nstage_weights = "rare"\n', r"stage_weights is 'rare'.*a list or 'class-aware' or"),
        (SHORTEST + "[schedule]\nat = 10\n", r"schedule.at is 10; it must be a list"),
        (SHORTEST + "[schedule]\nat = [1.5]\n", r"schedule.at is 1.5; it must be a whole number"),
        ("title = 1\n" + SHORTEST, "title is 1; it must be a text"),
        ('network = "usleep"', "network is 'usleep'; it must be a table"),
        ("augmentation = [1]\n" + SHORTEST, "augmentation is 1; it must be a table"),
        ("title = usleep", "not TOML"),
    ],
)
def test_a_mistake_in_a_recipe_is_told_in_words(text: str, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[network]\narchitecture = "resnet"\n', "no architecture 'resnet'. There are: .*usleep"),
        (SHORTEST + 'preset = "large"\n', "no preset 'large'. There are: .*small"),
        (SHORTEST + "options.width = 1\n", "no option 'width'. There are: .*initial_width"),
        (SHORTEST + 'options.depth = "deep"\n', r"\[network.options\] or \[input\]"),
        (SHORTEST + "[input]\nrate = 100\n", r"\[input\] has no key 'rate'. There are: .*sample_rate"),
        (SHORTEST + '[input]\nscaling = "loud"\n', "scaling is 'loud'; choose from .*robust"),
        (SHORTEST + '[input]\nsample_rate = "fast"\n', r"\[network.options\] or \[input\]"),
    ],
)
def test_a_mistake_in_what_the_network_takes_is_told_in_words(text: str, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        parse_recipe(text).input_spec()


def test_a_message_about_a_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[network]\n", encoding="utf-8")
    with pytest.raises(HypnographError, match=r"mine.toml: network: architecture is missing"):
        read_recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UnreadableFileError, match=r"mine.toml: cannot be read"):
        read_recipe(path)
    with pytest.raises(UnreadableFileError, match=r"none.toml: cannot be read"):
        read_recipe(tmp_path / "none.toml")


# --set ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("optimiser.learning_rate=1e-4", "optimiser.learning_rate", 1e-4),
        ("optimiser.learning_rate = 1", "optimiser.learning_rate", 1.0),
        ("network.options.n_channels=3", "network.options.n_channels", 3),
        ("optimiser.learning_rates.representation=1e-5", "optimiser.learning_rates.representation", 1e-5),
        ("network.preset=small", "network.preset", "small"),
        ('network.preset="small"', "network.preset", "small"),
        ("title=A title with = and .", "title", "A title with = and ."),
        ("stopping.patience=none", "stopping.patience", None),
        ("schedule.at=[10, 20]", "schedule.at", (10, 20)),
        ("optimiser.options={amsgrad = false}", "optimiser.options", {"amsgrad": False}),
        ("pretraining.stopping.passes=7", "pretraining.stopping.passes", 7),
        ('input.kinds=["EEG"]', "input.kinds", ["EEG"]),
    ],
)
def test_a_setting_replaces_one_value(setting: str, path: str, value: Any) -> None:
    recipe = read_recipe("usleep", [setting])
    assert found_at(recipe, path) == value
    assert type(found_at(recipe, path)) is type(value)
    top = path.split(".", maxsplit=1)[0]
    others = [field.name for field in fields(Recipe) if field.name != top]
    assert [getattr(recipe, name) for name in others] == [getattr(read_recipe("usleep"), name) for name in others]


@pytest.mark.parametrize(
    ("name", "setting", "field", "value"),
    [
        ("seqsleepnet", "input.band_hz=none", "band_hz", None),
        ("usleep", "input.scaling=none", "scaling", "none"),
        ("usleep", 'input.scaling="none"', "scaling", "none"),
        ("attnsleep", "input.context=none", "context", None),
    ],
)
def test_no_value_is_a_value_where_it_replaces_the_networks(name: str, setting: str, field: str, value: Any) -> None:
    recipe = read_recipe(name, [setting])
    assert getattr(recipe.input_spec(), field) == value
    again = parse_recipe(recipe_toml(recipe))
    assert again == recipe
    assert getattr(again.input_spec(), field) == value


def test_a_quoted_part_of_a_setting_may_have_dots() -> None:
    recipe = read_recipe("deepsleepnet", ['optimiser.learning_rates."representation.small"=1e-5'])
    assert recipe.optimiser.learning_rates == {"representation": 1e-6, "representation.small": 1e-5}


def test_of_two_settings_the_later_one_counts() -> None:
    assert read_recipe("usleep", ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "write KEY=VALUE"),
        ("=1", "write KEY=VALUE"),
        (".=1", "write KEY=VALUE"),
        ("title.text=1", "title is a value, not a table"),
        ("augmentation.probability=1", "augmentation is a value, not a table"),
        ("optimiser.rate=1", r"\[optimiser\] has no key 'rate'. There are: .*learning_rate"),
        ("optimizer.learning_rate=1", "the recipe has no key 'optimizer'. There are: .*optimiser"),
        ("seed=one", "seed is 'one'; it must be a whole number"),
        ("stopping.passes=none", "stopping.passes is None; it must be a whole number"),
    ],
)
def test_a_wrong_setting_is_told_in_words(setting: str, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        read_recipe("usleep-paper", [setting])


# Writing -------------------------------------------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    NUMBERS | st.text() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(title=st.text(), options=OPTIONS, entries=st.lists(OPTIONS, max_size=2))
def test_what_is_written_reads_back_equal(title: str, options: dict, entries: list) -> None:
    """Oracle: Python's own reader of TOML."""
    recipe = Recipe(title=title, network=Network(architecture="usleep", options=options), augmentation=tuple(entries))
    text = recipe_toml(recipe)
    assert tomllib.loads(text)["network"]["options"] == options
    assert parse_recipe(text) == recipe


@given(
    rate=st.floats(allow_nan=False),
    at=st.lists(st.integers(0, 9)),
    every=st.integers(min_value=1),
    context=st.integers(min_value=1) | st.none(),
)
def test_numbers_of_each_table_read_back_equal(rate: float, at: list, every: int, context: int | None) -> None:
    recipe = read_recipe("deepsleepnet")
    changed = replace(
        recipe,
        crop_min=rate,
        sampling=Sampling(stride=context),
        schedule=replace(recipe.schedule, at=tuple(at)),
        pretraining=Phase(validation=Validation(every=every), augmentation=({"name": "roll", "max_fraction": rate},)),
    )
    assert parse_recipe(recipe_toml(changed)) == changed


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stopping.passes=0", "stopping.passes is 0; it must be 1 or more"),
        ("validation.every=0", "validation.every is 0"),
        ("validation.nights_per_dataset=-1", "validation.nights_per_dataset is -1"),
        ("objective.weight_penalty=-1.0", "objective.weight_penalty is -1.0"),
        ("optimiser.clip_norm=-1.0", "optimiser.clip_norm is -1.0"),
        ("optimiser.learning_rate=nan", "optimiser.learning_rate is nan; it must be 0 or more"),
        ("schedule.factor=-1.0", "schedule.factor is -1.0"),
        ("schedule.warm_up=-3", "schedule.warm_up is -3"),
        ("sampling.batch=0", "sampling.batch is 0"),
    ],
)
def test_impossible_numbers_are_refused_by_their_key(setting: str, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        read_recipe("usleep", [setting])


def test_not_a_number_reads_back_as_such() -> None:
    text = recipe_toml(parse_recipe(SHORTEST + "[optimiser.options]\neps = nan\n"))
    assert math.isnan(parse_recipe(text).optimiser.options["eps"])
