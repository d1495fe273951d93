"""The distillation network against its specification (specs/models.md, E.2)."""

import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.ecg_utime import PRESETS, Config  # noqa: E402


def noise(*shape: int, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("preset", "n_stages", "count"), [("paper", 4, 4_813_240), ("three-stage", 3, 4_813_215)])
def test_the_published_number_of_parameters(preset: str, n_stages: int, count: int) -> None:
    """Oracle: spec E.2."""
    model = create_model("ecg-utime", preset=preset)
    assert model.config.n_stages == n_stages
    assert count_parameters(model) == count


def test_the_default_is_as_published() -> None:
    assert PRESETS["default"] == PRESETS["paper"]
    assert PRESETS["paper"].widths == (16, 32, 64, 128, 256, 512)
    assert PRESETS["paper"].samples_per_epoch == 6000


def test_the_maps_for_distillation_have_the_published_shapes() -> None:
    model = create_model("ecg-utime").eval()
    with torch.inference_mode():
        maps = model.maps(noise(1, 1, 1, 6000))
    assert [tuple(m.shape[1:]) for m in maps.encoder] == [(16, 2000), (32, 1000), (64, 500), (128, 250), (256, 125)]
    assert maps.bottom.shape == (1, 512, 125)
    assert [tuple(m.shape[1:]) for m in maps.decoder] == [(256, 250), (128, 500), (64, 1000), (32, 2000), (16, 6000)]
    assert maps.dense.shape == (1, 4, 6000)
    assert maps.dense.abs().max() <= 1


def test_the_head_reads_every_second_or_every_epoch_with_the_same_weights() -> None:
    model = create_model("ecg-utime", preset="small").eval()
    seconds = create_model("ecg-utime", preset="small", sub_epochs=30).eval()
    seconds.load_state_dict(model.state_dict())
    x = noise(1, 2, 1, 6000)
    with torch.inference_mode():
        assert model(x).shape == (1, 2, 4)
        assert seconds(x).shape == (1, 2, 30, 4)
        torch.testing.assert_close(model(x, sub_epochs=30), seconds(x), rtol=0, atol=0)
        # The head is linear after the mean, so the epoch's logits are the mean of its seconds'.
        torch.testing.assert_close(seconds(x).mean(2), model(x))
    assert PRESETS["one-second"].samples_per_output(30) == 200


def test_an_output_is_made_from_the_mean_of_its_samples() -> None:
    model = create_model("ecg-utime", preset="small").eval()
    x = noise(1, 2, 1, 6000)
    with torch.inference_mode():
        mean = model.maps(x).dense[1, :, 400:600].mean(-1)
        by_hand = model.out.weight[..., 0] @ mean + model.out.bias
        torch.testing.assert_close(model(x, sub_epochs=30)[0, 1, 2], by_hand)


def test_an_epoch_does_not_see_its_neighbours() -> None:
    model = create_model("ecg-utime", preset="small").eval()
    x = noise(1, 4, 1, 6000)
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[:, 2], model(x[:, 2:3])[:, 0], rtol=1e-4, atol=1e-5)
        changed = x.clone()
        changed[:, 1] += 10
        same = [0, 2, 3]
        torch.testing.assert_close(model(changed)[:, same], model(x)[:, same], rtol=1e-4, atol=1e-5)


def test_activation_comes_before_normalisation_and_the_encoder_alone_is_dilated() -> None:
    model = create_model("ecg-utime", preset="small").eval()
    block = model.encoder[0][0]
    x = noise(1, 1, 1, 64)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), block.norm(torch.relu(block.conv(x))))
    dilations = {n: m.dilation[0] for n, m in model.named_modules() if isinstance(m, torch.nn.Conv1d)}
    assert {d for n, d in dilations.items() if n.startswith("encoder")} == {2}
    assert {d for n, d in dilations.items() if not n.startswith("encoder")} == {1}


def test_the_skip_comes_first() -> None:
    model = create_model("ecg-utime", preset="small").eval()
    seen = {}
    model.encoder[0].register_forward_hook(lambda _module, _inputs, output: seen.update(skip=output))
    model.decoder[-1].merge.register_forward_hook(lambda _module, inputs, _output: seen.update(joined=inputs[0]))
    with torch.inference_mode():
        model(noise(1, 1, 1, 6000))
    assert torch.equal(seen["joined"][:, :2], seen["skip"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sub_epochs": 7}, "divisor"),
        ({"sample_rate": 100.0}, "multiple of 48"),
        ({"kernel": 4}, "odd"),
        ({"pools": (1,)}, "at least 2"),
        ({"sample_rate": 200.01}, "whole samples"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        Config(**wrong)


@pytest.mark.parametrize("shape", [(1, 1, 2, 6000), (1, 1, 1, 3000), (1, 1, 6000)])
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(HypnographError, match=r"needs \(window, context, 1, 6000\)"):
        create_model("ecg-utime", preset="small")(noise(*shape))
