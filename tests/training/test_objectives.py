"""Losses on logits, with epochs that nobody scored, and stage weights."""

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hypnograph.errors import HypnographError
from hypnograph.training.objectives import (
    OBJECTIVES,
    Objective,
    balanced_weights,
    class_aware_weights,
    create_objective,
    cross_entropy,
    dice,
    focal,
)

WEIGHTS = (1.0, 1.5, 1.0, 0.5, 2.0)
LOSSES: list[Objective] = [
    create_objective("cross_entropy"),
    create_objective("cross_entropy", stage_weights=WEIGHTS, label_smoothing=0.1),
    create_objective("cross_entropy", stage_weights=WEIGHTS, normalise="scored"),
    create_objective("focal"),
    create_objective("focal", gamma=0.5),
    create_objective("focal", stage_weights=WEIGHTS),
    *(
        create_objective("dice", per=per, form=form, smoothing=smoothing)
        for per in ("window", "batch")
        for form in ("mean", "generalised")
        for smoothing in (0.0, 1.0)
    ),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name} {dict(loss.options)}")
both_kinds = pytest.mark.parametrize("soft", [False, True], ids=["stages", "probabilities"])


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2


@pytest.fixture
def stages() -> Tensor:
    """Return stages (window, context); the last window has no scored epoch."""
    stages = torch.randint(0, 5, (3, 7), generator=torch.Generator().manual_seed(2))
    stages[0, :3] = stages[1, -1] = stages[2] = -1
    return stages


def probabilities_of(stages: Tensor) -> Tensor:
    """Return stages as several scorers who agree: one-hot rows, NaN where unscored."""
    one_hot = functional.one_hot(stages.clamp(min=0), 5).double()
    return one_hot.masked_fill((stages < 0)[..., None], math.nan)


def disagreeing(stages: Tensor) -> Tensor:
    soft = torch.rand(*stages.shape, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 0.01
    return (soft / soft.sum(-1, keepdim=True)).masked_fill((stages < 0)[..., None], math.nan)


def softmax(logits: Tensor) -> NDArray[np.float64]:
    exponentials: NDArray[np.float64] = np.exp(logits.detach().numpy())
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def gradient(loss: Callable[..., Tensor], logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, targets)
    value.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return value.detach(), leaf.grad


class TestUnscoredEpochs:
    @every_loss
    @both_kinds
    @pytest.mark.parametrize("strange", [1e30, math.inf, math.nan])
    def test_their_logits_change_nothing(
        self, loss: Objective, soft: bool, strange: float, logits: Tensor, stages: Tensor
    ) -> None:
        targets = disagreeing(stages) if soft else stages
        value, slope = gradient(loss, logits, targets)
        changed = logits.clone()
        changed[stages < 0] = torch.tensor([strange, 0, 0, 0, 1], dtype=logits.dtype)
        other_value, other_slope = gradient(loss, changed, targets)
        assert torch.equal(value, other_value)
        assert torch.equal(slope, other_slope)

    @every_loss
    @both_kinds
    def test_they_get_a_gradient_of_exactly_zero_and_the_scored_do_not(
        self, loss: Objective, soft: bool, logits: Tensor, stages: Tensor
    ) -> None:
        _, slope = gradient(loss, logits, disagreeing(stages) if soft else stages)
        assert (slope[stages < 0] == 0).all()
        assert (slope[stages >= 0] != 0).any(-1).all()

    @every_loss
    @both_kinds
    def test_they_are_not_counted(self, loss: Objective, soft: bool, logits: Tensor, stages: Tensor) -> None:
        # Oracle: the loss of the scored epochs alone.
        targets = disagreeing(stages) if soft else stages
        one_window, scored = slice(0, 1), stages[0] >= 0
        alone = loss(logits[one_window, scored], targets[one_window, scored])
        torch.testing.assert_close(loss(logits[one_window], targets[one_window]), alone)

    @every_loss
    @both_kinds
    def test_a_batch_without_any_scored_epoch_has_no_loss_and_no_gradient(
        self, loss: Objective, soft: bool, logits: Tensor
    ) -> None:
        stages = torch.full((3, 7), -1)
        value, slope = gradient(loss, logits, probabilities_of(stages) if soft else stages)
        assert value == 0
        assert (slope == 0).all()

    @every_loss
    def test_a_window_without_any_scored_epoch_does_not_dilute_the_others(
        self, loss: Objective, logits: Tensor, stages: Tensor
    ) -> None:
        torch.testing.assert_close(loss(logits, stages), loss(logits[:2], stages[:2]))

    @every_loss
    def test_scorers_who_agree_are_one_scorer(self, loss: Objective, logits: Tensor, stages: Tensor) -> None:
        torch.testing.assert_close(loss(logits, stages), loss(logits, probabilities_of(stages)))


class TestEveryLoss:
    @every_loss
    @both_kinds
    def test_its_gradient_is_its_slope(self, loss: Objective, soft: bool, logits: Tensor, stages: Tensor) -> None:
        # Oracle: finite differences.
        targets = disagreeing(stages) if soft else stages
        assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits.requires_grad_())

    @every_loss
    def test_certainty_gives_finite_numbers(self, loss: Objective, stages: Tensor) -> None:
        logits = functional.one_hot(stages.clamp(min=0), 5).float() * 1e4
        for scale in (1, -1):
            value, slope = gradient(loss, scale * logits, stages)
            assert value.isfinite()
            assert slope.isfinite().all()

    @every_loss
    def test_half_precision_is_summed_in_single(self, loss: Objective, stages: Tensor, logits: Tensor) -> None:
        half = logits.to(torch.bfloat16)
        value = loss(half, stages)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(half.float(), stages))

    @every_loss
    def test_sub_epochs_are_scored_like_epochs(self, loss: Objective, logits: Tensor, stages: Tensor) -> None:
        finer = loss(logits[:2, :6].reshape(2, 3, 2, 5), stages[:2, :6].reshape(2, 3, 2))
        torch.testing.assert_close(finer, loss(logits[:2, :6], stages[:2, :6]))

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_shapes_that_do_not_fit_are_refused(self, name: str, logits: Tensor, stages: Tensor) -> None:
        for targets in (stages[:, :5], stages.double()):
            with pytest.raises(HypnographError, match=r"logits \(3, 7, 5\)"):
                OBJECTIVES[name](logits, targets)

    @pytest.mark.parametrize("stage", [5, 9, -2])
    def test_a_stage_that_the_network_does_not_tell_is_refused(
        self, stage: int, logits: Tensor, stages: Tensor
    ) -> None:
        stages[0, 4] = stage
        with pytest.raises(HypnographError, match=rf"{stage}.* tells 5 stages"):
            cross_entropy(logits, stages)

    @pytest.mark.parametrize("row", [[1.0, 1, 0, 0, 0], [1.5, -0.5, 0, 0, 0], [0.0, 0, 0, 0, 0]])
    def test_soft_targets_that_are_no_probabilities_are_refused(
        self, row: list[float], logits: Tensor, stages: Tensor
    ) -> None:
        targets = probabilities_of(stages)
        targets[0, 4] = torch.tensor(row)
        with pytest.raises(HypnographError, match="sum to 1"):
            cross_entropy(logits, targets)


class TestCrossEntropy:
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
    def test_it_is_torch_s_with_ignore_index(
        self, weights: tuple[float, ...] | None, smoothing: float, logits: Tensor, stages: Tensor
    ) -> None:
        theirs = functional.cross_entropy(
            logits.flatten(0, 1),
            stages.flatten(),
            weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
            ignore_index=-1,
            label_smoothing=smoothing,
        )
        ours = cross_entropy(logits, stages, stage_weights=weights, label_smoothing=smoothing)
        torch.testing.assert_close(ours, theirs)

    def test_of_probabilities_it_is_torch_s(self, logits: Tensor, stages: Tensor) -> None:
        soft, scored = disagreeing(stages), stages >= 0
        theirs = functional.cross_entropy(logits[scored], soft[scored], label_smoothing=0.2)
        torch.testing.assert_close(cross_entropy(logits, soft, label_smoothing=0.2), theirs)

    def test_of_three_even_guesses_it_is_worked_by_hand(self) -> None:
        # Even logits of two stages cost ln 2 each. Weights 1, 3, 3 of the targets: both sums are 7.
        logits, stages = torch.zeros(1, 4, 2), torch.tensor([[0, 1, 1, -1]])
        by_weight = cross_entropy(logits, stages, stage_weights=(1, 3))
        by_epoch = cross_entropy(logits, stages, stage_weights=(1, 3), normalise="scored")
        assert by_weight.item() == pytest.approx(math.log(2))
        assert by_epoch.item() == pytest.approx(7 / 3 * math.log(2))

    def test_tinysleepnet_divides_by_scored_epochs_whatever_their_weights(self, logits: Tensor, stages: Tensor) -> None:
        # Oracle: Σ(w_seq · w_stage · CE) / Σ w_seq by numpy, as in its official train code; N1 weighs 1.5.
        weights, scored = np.array([1, 1.5, 1, 1, 1]), stages.numpy() >= 0
        chosen = np.take_along_axis(softmax(logits), stages.numpy().clip(0)[..., None], -1)[..., 0]
        expected = (scored * weights[stages.numpy()] * -np.log(chosen)).sum() / scored.sum()
        ours = cross_entropy(logits, stages, stage_weights=weights.tolist(), normalise="scored")
        assert ours.item() == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"stage_weights": (1, 2)}, "give 5 numbers"),
            ({"stage_weights": (1, 1, 1, 1, -1)}, "none negative"),
            ({"label_smoothing": 1.1}, "1.1; give a share from 0 to 1"),
            ({"normalise": "epochs"}, "'epochs'. There are: weights, scored"),
        ],
    )
    def test_impossible_options_are_refused(
        self, options: dict[str, Any], message: str, logits: Tensor, stages: Tensor
    ) -> None:
        with pytest.raises(HypnographError, match=message):
            cross_entropy(logits, stages, **options)


class TestDice:
    def overlap(self, logits: Tensor, stages: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return Σ y·ŷ and Σ y + ŷ over the scored epochs of each window, (window, stage)."""
        scored = (stages.numpy() >= 0)[..., None]
        y, predicted = np.eye(5)[stages.numpy()] * scored, softmax(logits) * scored
        return (y * predicted).sum(1), (y + predicted).sum(1)

    def test_it_is_u_time_s_sparse_dice_loss_of_each_window(self, logits: Tensor, stages: Tensor) -> None:
        # Oracle: the formula by numpy; the third window has no scored epoch.
        shared, either = self.overlap(logits, stages)
        expected = 1 - ((2 * shared + 1) / (either + 1))[:2].mean()
        assert dice(logits, stages).item() == pytest.approx(expected)

    def test_generalised_it_sums_over_stages_before_dividing(self, logits: Tensor, stages: Tensor) -> None:
        shared, either = self.overlap(logits, stages)
        expected = 1 - ((2 * shared.sum(1) + 1) / (either.sum(1) + 1))[:2].mean()
        assert dice(logits, stages, form="generalised").item() == pytest.approx(expected)

    def test_per_batch_it_sums_over_windows_too(self, logits: Tensor, stages: Tensor) -> None:
        shared, either = (part.sum(0) for part in self.overlap(logits, stages))
        mean, generalised = 1 - (2 * shared + 3) / (either + 3), 1 - (2 * shared.sum() + 3) / (either.sum() + 3)
        assert dice(logits, stages, per="batch", smoothing=3).item() == pytest.approx(mean.mean())
        ours = dice(logits, stages, per="batch", form="generalised", smoothing=3).item()
        assert ours == pytest.approx(generalised)

    def test_of_two_even_guesses_it_is_worked_by_hand(self) -> None:
        # Both epochs are stage 0, and each gives 1/2 to both. Stage 0: (2·1 + 1) / (3 + 1); stage 1: (0 + 1) / (1 + 1).
        logits, stages = torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.long)
        assert dice(logits, stages).item() == pytest.approx(1 - (3 / 4 + 1 / 2) / 2)
        assert dice(logits, stages, form="generalised").item() == pytest.approx(1 - (2 * 1 + 1) / (4 + 1))

    @pytest.mark.parametrize("form", ["mean", "generalised"])
    def test_of_a_certain_and_right_network_it_is_0(self, form: Any, stages: Tensor) -> None:
        assert dice(functional.one_hot(stages.clamp(min=0), 5) * 100.0, stages, form=form).item() == pytest.approx(0)

    @pytest.mark.parametrize("options", [{"per": "night"}, {"form": "sum"}, {"smoothing": -1.0}])
    def test_impossible_options_are_refused(self, options: dict[str, Any], logits: Tensor, stages: Tensor) -> None:
        with pytest.raises(HypnographError, match=next(iter(options))):
            dice(logits, stages, **options)


class TestFocal:
    def test_with_gamma_0_it_is_cross_entropy(self, logits: Tensor, stages: Tensor) -> None:
        soft = disagreeing(stages)
        torch.testing.assert_close(focal(logits, stages, gamma=0), cross_entropy(logits, stages))
        torch.testing.assert_close(focal(logits, soft, gamma=0), cross_entropy(logits, soft))

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
    def test_it_is_the_formula_by_numpy(self, gamma: float, logits: Tensor, stages: Tensor) -> None:
        scored = stages.numpy() >= 0
        p = np.take_along_axis(softmax(logits), stages.numpy().clip(0)[..., None], -1)[..., 0][scored]
        assert focal(logits, stages, gamma).item() == pytest.approx(((1 - p) ** gamma * -np.log(p)).mean())

    def test_of_an_even_guess_it_is_worked_by_hand(self) -> None:
        assert focal(torch.zeros(1, 1, 2), torch.tensor([[1]])).item() == pytest.approx(math.log(2) / 4)

    def test_a_negative_gamma_is_refused(self, logits: Tensor, stages: Tensor) -> None:
        with pytest.raises(HypnographError, match="gamma is -1"):
            focal(logits, stages, gamma=-1)


class TestStageWeights:
    @pytest.mark.parametrize(
        ("counts", "weights"),
        [
            ((8285, 2804, 17799, 5703, 7717), (0.30, 0.72, 0.30, 0.20, 0.30)),
            ((65951, 21522, 69132, 13039, 25835), (0.30, 0.52, 0.30, 0.22, 0.30)),
            ((46319, 10304, 142125, 60153, 65953), (0.30, 1.01, 0.30, 0.20, 0.30)),
        ],
        ids=["Sleep-EDF-20", "Sleep-EDF-78", "SHHS"],
    )
    def test_class_aware_weights_are_those_of_attnsleep_s_code(
        self, counts: tuple[int, ...], weights: tuple[float, ...]
    ) -> None:
        # Oracle: the vectors that its official code computes from the three datasets' counts.
        assert class_aware_weights(counts) == weights

    def test_class_aware_weights_are_for_five_stages(self) -> None:
        with pytest.raises(HypnographError, match=r"five stages W, N1, N2, N3, REM, not 4"):
            class_aware_weights((1, 2, 3, 4))

    def test_balanced_weights_are_worked_by_hand(self) -> None:
        assert balanced_weights((10, 30, 60)) == pytest.approx((100 / 30, 100 / 90, 100 / 180))

    def test_balanced_weights_give_each_stage_the_same_total(self) -> None:
        counts = (8285, 2804, 17799, 5703, 7717)
        assert np.multiply(balanced_weights(counts), counts) == pytest.approx(np.full(5, sum(counts) / 5))

    @pytest.mark.parametrize("weights", [class_aware_weights, balanced_weights])
    @pytest.mark.parametrize("counts", [(5, 0, 5, 5, 5), ()])
    def test_a_stage_without_epochs_has_no_weight(
        self, weights: Callable[[tuple[int, ...]], tuple[float, ...]], counts: tuple[int, ...]
    ) -> None:
        with pytest.raises(HypnographError, match="every stage needs at least one"):
            weights(counts)


class TestObjective:
    def test_it_is_the_loss_with_its_options(self, logits: Tensor, stages: Tensor) -> None:
        objective = create_objective("focal", gamma=1.0)
        assert objective == Objective("focal", {"gamma": 1.0})
        assert torch.equal(objective(logits, stages), focal(logits, stages, gamma=1.0))

    def test_it_is_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            create_objective("dice").name = "focal"  # type: ignore[misc]

    def test_an_unknown_name_is_refused_with_those_that_exist(self) -> None:
        with pytest.raises(HypnographError, match=r"no objective 'hinge'\. There are: cross_entropy, dice, focal"):
            create_objective("hinge")

    def test_an_unknown_option_is_refused_with_those_that_exist(self) -> None:
        with pytest.raises(HypnographError, match=r"dice has no option 'gamma'\. There are: smoothing, per, form"):
            create_objective("dice", gamma=2.0)


class TestMass:
    """Losses of parts of a batch, weighted by their masses, are that of the batch: steps are computed in parts so."""

    @pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.options.get("per") != "batch"], ids=str)
    @both_kinds
    @given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 6), min_size=1, max_size=3))
    @settings(max_examples=20, deadline=None)
    def test_losses_of_parts_add_up_to_that_of_the_whole(
        self, loss: Objective, soft: bool, seed: int, cuts: list[int]
    ) -> None:
        # Oracle: the loss of all six windows at once; parts may be empty, and windows without a scored epoch.
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(6, 4, 5, dtype=torch.float64, generator=generator)
        stages = torch.randint(-1, 5, (6, 4), generator=generator)
        stages[torch.rand(6, generator=generator) < 0.3] = -1
        targets = disagreeing(stages) if soft else stages
        borders = [0, *sorted(cuts), 6]
        parts = [slice(first, past) for first, past in pairwise(borders)]
        whole = loss.mass(targets, 5)
        total = sum(loss.mass(targets[part], 5) * loss(logits[part], targets[part]) for part in parts)
        assert sum(loss.mass(targets[part], 5) for part in parts) == pytest.approx(whole)
        assert float(total) == pytest.approx(whole * float(loss(logits, targets)))

    @both_kinds
    def test_it_is_the_scored_epochs_their_weights_or_the_scored_windows(self, soft: bool, stages: Tensor) -> None:
        targets = probabilities_of(stages) if soft else stages
        scored = stages[stages >= 0]
        weights = sum(WEIGHTS[stage] for stage in scored.tolist())
        masses = {
            ("focal",): len(scored),
            ("cross_entropy",): len(scored),
            ("cross_entropy", ("stage_weights", WEIGHTS)): weights,
            ("cross_entropy", ("stage_weights", WEIGHTS), ("normalise", "scored")): len(scored),
            ("dice",): 2,
        }
        for (name, *options), mass in masses.items():
            assert create_objective(name, **dict(options)).mass(targets, 5) == pytest.approx(mass)

    def test_dice_of_a_whole_batch_has_none(self, stages: Tensor) -> None:
        with pytest.raises(HypnographError, match="use per='window'"):
            create_objective("dice", per="batch").mass(stages, 5)
