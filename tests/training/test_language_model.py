"""Training of stage language models. The oracle is the process that wrote the nights: its own probabilities."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.sequences.next_stage_corpus import TrainingNight  # noqa: E402
from hypnograph.stages import AASM_5  # noqa: E402
from hypnograph.training.language_model import MASKED, _Windows, train_language_model  # noqa: E402

# Stages go round: 0 → 1 → 2 → 3 → 4 → 0, and stay with probability 0.6.
STAY = 0.6
SMALL = {
    "memory": {"members": 1, "hidden": 16, "passes": 4, "batch": 128, "dropout": 0.0, "input_dropout": 0.0},
    "gpt": {"positions": 12, "width": 12, "layers": 1, "heads": 2, "passes": 14, "batch": 16, "learning_rate": 1e-2},
    "recurrent": {"hidden": 12, "window": 40, "passes": 14, "batch": 8, "learning_rate": 2e-2},
}


def round_night(seed: int, n_epochs: int = 200) -> TrainingNight:
    moves = np.random.default_rng(seed).random(n_epochs) > STAY
    return TrainingNight("round", f"s{seed}", (np.cumsum(moves) % 5).astype(np.int8), f"n{seed}")


NIGHTS = [round_night(seed) for seed in range(20)]


@pytest.mark.parametrize("kind", SMALL)
def test_what_is_learned_is_the_next_stage_and_not_the_one_after(kind: str) -> None:
    model = train_language_model(NIGHTS, kind=kind, options=SMALL[kind])
    stages = round_night(99).stages
    found = np.exp(model.log_probabilities(stages))[30:]
    rows, here = np.arange(len(found)), stages[30:]
    assert model.targets_ahead == 1
    # The truth is 0.6 and 0.4; two epochs ahead it would be 0.36, 0.48 and 0.16.
    assert found[rows, here].mean() == pytest.approx(STAY, abs=0.06)
    assert found[rows, (here + 1) % 5].mean() == pytest.approx(1 - STAY, abs=0.06)


@pytest.mark.parametrize("kind", SMALL)
def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(kind: str) -> None:
    short = SMALL[kind] | {"passes": 1}
    before = torch.get_rng_state()
    one, two = (train_language_model(NIGHTS[:4], kind=kind, options=short, seed=5) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, values in one.weights.items():
        np.testing.assert_array_equal(values, two.weights[name])
    other = train_language_model(NIGHTS[:4], kind=kind, options=short, seed=6)
    assert any((values != other.weights[name]).any() for name, values in one.weights.items())


def test_unscored_epochs_are_no_targets_and_windows_never_join_nights() -> None:
    stages = [np.array([0, 1, 2, -1, 3, 4, 0], dtype=np.int8), np.array([2, 2, 2, 2], dtype=np.int8)]
    nights = [TrainingNight("d", str(i), night, str(i)) for i, night in enumerate(stages)]
    pairs = []
    windows = _Windows.of(nights, 3, AASM_5)
    for tokens, targets in windows.batches(2, np.random.default_rng(0)):
        assert tokens.shape[1] == targets.shape[1] == 3
        kept = targets != MASKED
        assert not (kept & (tokens == 5)).any()  # what is padded has no target
        pairs += list(zip(tokens[kept].tolist(), targets[kept].tolist(), strict=True))
    # Each scored epoch but the first of a night is a target once; epoch 3 is not scored, but what follows it is known.
    assert sorted(pairs) == sorted([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (2, 2), (2, 2), (2, 2)])


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(HypnographError, match="memory, gpt, recurrent"):
        train_language_model(NIGHTS, kind="oracle")
    with pytest.raises(HypnographError, match="'heigth' is no option"):
        train_language_model(NIGHTS, options={"heigth": 3})
    with pytest.raises(HypnographError, match="passes is 0"):
        train_language_model(NIGHTS, options={"passes": 0})
    with pytest.raises(HypnographError, match="nothing to learn"):
        train_language_model([TrainingNight("d", "s", np.full(9, -1, np.int8), "n")])
