"""The recurrent stage language model. The oracle is PyTorch's GRU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.sequences.any_model import load_language_model  # noqa: E402
from hypnograph.sequences.recurrent import RecurrentModel, weight_shapes  # noqa: E402

HIDDEN = 7
NIGHT = np.random.default_rng(3).integers(0, 5, 60)


def random_model() -> RecurrentModel:
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.5, shape) for name, shape in weight_shapes(5, HIDDEN).items()}
    return RecurrentModel(weights=weights, name="random")


MODEL = random_model()


def by_torch(stages: np.ndarray) -> np.ndarray:
    gru = torch.nn.GRU(6, HIDDEN, batch_first=True)
    tensors = {name: torch.from_numpy(values.T.copy()) for name, values in MODEL.weights.items()}
    gru.load_state_dict({
        "weight_ih_l0": tensors["input.weight"], "bias_ih_l0": tensors["input.bias"],
        "weight_hh_l0": tensors["state.weight"], "bias_hh_l0": tensors["state.bias"],
    })  # fmt: skip
    with torch.no_grad():
        hidden = gru(torch.nn.functional.one_hot(torch.from_numpy(stages), 6).float()[None])[0][0]
        logits = hidden @ tensors["output.weight"].T + tensors["output.bias"]
    return torch.log_softmax(logits, -1).numpy()


def test_probabilities_are_those_of_torch() -> None:
    np.testing.assert_allclose(MODEL.log_probabilities(NIGHT), by_torch(NIGHT), atol=1e-5)


def test_an_unscored_epoch_is_read_as_the_stage_before_it() -> None:
    gaps = NIGHT.copy()
    gaps[20:24] = -1
    held = NIGHT.copy()
    held[20:24] = NIGHT[19]
    np.testing.assert_array_equal(MODEL.log_probabilities(gaps), MODEL.log_probabilities(held))


def test_selected_nights_go_on_from_their_own_past() -> None:
    reader = MODEL.reader(2)
    for stage in NIGHT:
        reader.read(np.array([stage, 2]))
    reader.select(np.array([1, 0]))
    rows = reader.read(np.array([3, 3]))
    np.testing.assert_allclose(rows[1], MODEL.log_probabilities(np.append(NIGHT, 3))[-1], atol=1e-6)
    np.testing.assert_allclose(rows[0], MODEL.log_probabilities(np.append(np.full(60, 2), 3))[-1], atol=1e-6)


def test_a_saved_model_is_the_same_model(tmp_path) -> None:
    loaded = load_language_model(MODEL.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.log_probabilities(NIGHT), MODEL.log_probabilities(NIGHT))


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(HypnographError, match=r"state\.bias"):
        RecurrentModel(weights={k: v for k, v in MODEL.weights.items() if k != "state.bias"})
