"""Optimisers by a recipe: groups of weights and learning rates; oracles are torch's optimisers and formulas by hand."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from hypnograph.errors import HypnographError
from hypnograph.training.optimisers import create_optimiser, schedule_factor, set_learning_rates
from hypnograph.training.recipes import Optimiser, Schedule


@pytest.fixture
def model() -> nn.Module:
    """Return a network with weights `front.0`, `front.1` and `head`."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("front", nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)))
    model.add_module("head", nn.Linear(4, 5))
    return model


def rates(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """Return the learning rate of each weight; each is in one group."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    found = [(names[id(weight)], group["lr"]) for group in optimiser.param_groups for weight in group["params"]]
    assert len(found) == len(dict(found))
    return dict(found)


class TestFused:
    def test_the_weights_are_those_of_the_plain_optimiser(self, model: nn.Module) -> None:
        twin = deepcopy(model)
        x, y = torch.randn(7, 3), torch.randint(5, (7,))
        recipe = Optimiser(learning_rate=0.01, weight_decay=0.1, options={"amsgrad": True})
        for network, fused in ((model, True), (twin, False)):
            optimiser = create_optimiser(recipe, network, fused=fused)
            assert bool(optimiser.defaults["fused"]) == fused
            for _ in range(5):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network.head(network.front(x)), y).backward()
                optimiser.step()
        for ours, plain in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, plain)

    def test_what_the_recipe_says_holds(self, model: nn.Module) -> None:
        optimiser = create_optimiser(Optimiser(options={"foreach": True}), model, fused=True)
        assert (optimiser.defaults["foreach"], optimiser.defaults["fused"]) == (True, None)


class TestOptimiser:
    @pytest.mark.parametrize(
        ("recipe", "theirs"),
        [
            (Optimiser(), lambda w: torch.optim.Adam(w, 1e-4)),
            (
                Optimiser(learning_rate=0.1, weight_decay=0.01, options={"amsgrad": True, "betas": [0.8, 0.9]}),
                lambda w: torch.optim.Adam(w, 0.1, (0.8, 0.9), amsgrad=True, weight_decay=0.01),
            ),
            (
                Optimiser(name="adamw", learning_rate=0.1, weight_decay=0.3),
                lambda w: torch.optim.AdamW(w, 0.1, weight_decay=0.3),
            ),
            (
                Optimiser(name="sgd", learning_rate=0.1, options={"momentum": 0.9}),
                lambda w: torch.optim.SGD(w, 0.1, momentum=0.9),
            ),
        ],
        ids=["adam by default", "adam", "adamw", "sgd"],
    )
    def test_three_steps_are_those_of_torch_s(self, recipe: Optimiser, theirs: Any, model: nn.Module) -> None:
        # Oracle: torch's optimiser, made by hand.
        other = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)), nn.Linear(4, 5))
        for own, copy in zip(model.parameters(), other.parameters(), strict=True):
            copy.data.copy_(own.data)
        for network, optimiser in ((model, create_optimiser(recipe, model)), (other, theirs(other.parameters()))):
            for scale in (1.0, -2.0, 0.5):
                optimiser.zero_grad()
                (scale * network(torch.ones(2, 3)).square().sum()).backward()
                optimiser.step()
        for own, copy in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(own, copy)

    def test_weights_whose_names_begin_alike_have_a_learning_rate_of_their_own(self, model: nn.Module) -> None:
        recipe = Optimiser(learning_rate=1e-4, learning_rates={"front": 1e-6})
        found = rates(model, create_optimiser(recipe, model))
        assert len(found) == 6
        assert all(rate == (1e-6 if name.startswith("front") else 1e-4) for name, rate in found.items())

    @pytest.mark.parametrize("order", [("front", "front.1"), ("front.1", "front")])
    def test_what_is_said_of_a_part_holds_against_what_is_said_of_the_whole(
        self, order: tuple[str, ...], model: nn.Module
    ) -> None:
        every = {"front": 1e-6, "front.1": 1e-5}
        recipe = Optimiser(learning_rate=1e-4, learning_rates={prefix: every[prefix] for prefix in order})
        found = rates(model, create_optimiser(recipe, model))
        assert found["front.0.weight"] == 1e-6
        assert found["front.1.weight"] == found["front.1.bias"] == 1e-5
        assert found["head.bias"] == 1e-4

    def test_weights_that_are_frozen_are_left_alone(self, model: nn.Module) -> None:
        model.get_submodule("front").requires_grad_(False)
        assert sorted(rates(model, create_optimiser(Optimiser(), model))) == ["head.bias", "head.weight"]

    def test_a_beginning_that_no_weight_has_is_refused_with_those_that_there_are(self, model: nn.Module) -> None:
        with pytest.raises(HypnographError, match=r"begins with 'back'; they are front\.0\.weight"):
            create_optimiser(Optimiser(learning_rates={"back": 1e-6}), model)

    @pytest.mark.parametrize("options", [{"momentum": 0.9}, {"betas": [2.0, 3.0]}, {"lr": 1.0}])
    def test_options_that_torch_refuses_are_the_recipe_s_mistake(
        self, options: dict[str, Any], model: nn.Module
    ) -> None:
        with pytest.raises(HypnographError, match=r"^\[optimiser\]: "):
            create_optimiser(Optimiser(options=options), model)


class TestSchedule:
    def test_at_step_10_the_eleventh_pass_has_a_tenth(self) -> None:
        # Oracle: AttnSleep's rule, rate 1e-4 from its pass 11 on, counted from 1.
        factors = [schedule_factor(Schedule(name="steps", at=(10,), factor=0.1), n, 100) for n in range(12)]
        assert factors == [1.0] * 10 + [0.1] * 2

    def test_each_step_multiplies_again(self) -> None:
        schedule = Schedule(name="steps", at=(2, 4), factor=0.5)
        assert [schedule_factor(schedule, n, 9) for n in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]

    def test_a_cosine_goes_from_1_to_its_factor_in_the_last_pass(self) -> None:
        factors = [schedule_factor(Schedule(name="cosine", factor=0.2), n, 5) for n in range(5)]
        expected = [0.2 + 0.8 * (1 + math.cos(math.pi * n / 4)) / 2 for n in range(5)]
        assert factors == pytest.approx(expected)
        assert factors[0] == 1
        assert factors[-1] == pytest.approx(0.2)
        assert factors[2] == pytest.approx(0.6)

    def test_a_cosine_of_one_pass_is_1(self) -> None:
        assert schedule_factor(Schedule(name="cosine"), 0, 1) == 1

    def test_it_is_constant_by_default(self) -> None:
        assert {schedule_factor(Schedule(), n, 100) for n in range(100)} == {1.0}

    @pytest.mark.parametrize("name", ["constant", "cosine", "steps"])
    def test_warming_up_it_grows_evenly_to_its_value(self, name: Any) -> None:
        cold, warm = Schedule(name=name, at=(2, 6)), Schedule(name=name, at=(2, 6), warm_up=4)
        shares = [schedule_factor(warm, n, 8) / schedule_factor(cold, n, 8) for n in range(8)]
        assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])

    def test_every_group_follows_the_schedule_from_its_own_rate(self, model: nn.Module) -> None:
        recipe = Optimiser(learning_rate=1e-4, learning_rates={"front": 1e-6})
        optimiser = create_optimiser(recipe, model)
        schedule = Schedule(name="steps", at=(1,), factor=0.1)
        for n_pass, factor in ((0, 1.0), (1, 0.1), (2, 0.1), (0, 1.0)):
            told = set_learning_rates(optimiser, recipe, schedule, n_pass=n_pass, passes=3)
            found = rates(model, optimiser)
            assert told == pytest.approx(1e-4 * factor)
            assert found["head.bias"] == pytest.approx(1e-4 * factor)
            assert found["front.0.bias"] == pytest.approx(1e-6 * factor)
