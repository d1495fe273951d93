"""Attention is what the layers themselves give, averaged by stage."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from hypnograph.hypnogram import Hypnogram  # noqa: E402
from hypnograph.inspection.attention import attention_of  # noqa: E402
from hypnograph.model_info import ModelInfo  # noqa: E402
from hypnograph.models import create_model, describe  # noqa: E402
from hypnograph.montage import ChannelKind  # noqa: E402
from hypnograph.network import TorchNetwork  # noqa: E402
from hypnograph.preprocess import InputSpec  # noqa: E402

STAGES = Hypnogram(([0] * 5 + [2] * 20 + [-1] + [3] * 20)[:45])


def ours(name: str, **options) -> tuple[TorchNetwork, np.ndarray]:
    torch.manual_seed(0)
    model = create_model(name, preset="small", **options)
    network = TorchNetwork(model, describe(model))
    shape = (45, 1, network.info.input.epoch_samples)
    return network, np.random.default_rng(0).normal(scale=20, size=shape).astype(np.float32)


def test_seqsleepnets_attention_over_frames_is_its_own() -> None:
    network, night = ours("seqsleepnet")
    (attention,) = attention_of(network, night, STAGES)
    assert attention.weights.shape == (5, 1, 29)
    given = []
    hook = network.model.attention.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        network.model.features(torch.from_numpy(night))
        expected = network.model.attention.weights(given[0])[5:25, :, 0].mean(dim=0)
    hook.remove()
    np.testing.assert_allclose(attention.weights[2, 0], expected, rtol=1e-5)
    assert np.isnan(attention.weights[[1, 4]]).all()


@pytest.mark.parametrize("tokens", ["channel", "time"])
def test_attnsleeps_attention_sums_to_one_for_each_query(tokens: str) -> None:
    options = {"branches": "channel"} if tokens == "time" else {}
    network, night = ours("attnsleep", tokens=tokens, **options)
    (attention,) = attention_of(network, night, STAGES)
    n_tokens = network.model.config.n_features if tokens == "channel" else network.model.config.n_frames
    assert attention.span == "inside an epoch"
    assert attention.weights.shape == (5, n_tokens, n_tokens)
    np.testing.assert_allclose(attention.weights[[0, 2, 3]].sum(axis=2), 1, atol=1e-5)


class Backwards(nn.Module):
    """Each epoch attends to the one before it by 0.9, else to itself; N3's loud epochs to themselves alone."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_weights = nn.Identity()

    def forward(self, x):
        n = x.shape[1]
        before = torch.diag(torch.full((n - 1,), 0.9), -1) if n > 1 else torch.zeros(1, 1)
        before[x[0, :, 0, 0] > 1] = 0
        weights = before + torch.diag(1 - before.sum(dim=1))
        return self.attention_weights(weights[None, None])[0, 0, :, :1].expand(n, 5)[None]


def test_attention_among_epochs_is_shown_by_distance() -> None:
    spec = InputSpec((ChannelKind.EEG,), 2.0, context=10)
    network = TorchNetwork(Backwards(), ModelInfo(architecture="", config={}, input=spec))
    night = np.where(np.array(STAGES.names) == "N3", 2.0, 0.0)[:, None, None] * np.ones((1, 1, 60))
    (attention,) = attention_of(network, night.astype(np.float32), STAGES)
    assert attention.span == "among epochs"
    own = attention.weights.shape[-1] // 2
    # Two of the 20 epochs of N2 begin a window: nothing is before them.
    np.testing.assert_allclose(attention.weights[2, 0, own - 1 : own + 1], [0.9, (2 + 18 * 0.1) / 20], atol=1e-6)
    np.testing.assert_allclose(attention.weights[3, 0, own - 1 : own + 1], [0.0, 1.0], atol=1e-6)


def test_networks_without_attention_have_none() -> None:
    assert attention_of(*ours("tinysleepnet"), STAGES) == ()
