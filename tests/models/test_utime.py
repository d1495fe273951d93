"""U-Time against its specification (specs/utime-usleep.md, 3.2)."""

import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.utime import PRESETS, Config, Model  # noqa: E402


def noise(*shape: int, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def narrow(preset: str, **options):
    """Return a network of one map a level: lengths and alignment do not depend on widths."""
    return create_model("utime", preset=preset, initial_width=1, complexity_factor=1.0, **options).eval()


def lengths_of(model, context: int) -> tuple[list[int], list[int]]:
    """Return the lengths of the inputs of each encoder level and the bottom, and of the decoder's outputs."""
    down: list[int] = []
    up: list[int] = []
    for part in [*model.encoder, model.bottom]:
        part.register_forward_hook(lambda _module, inputs, _output: down.append(inputs[0].shape[-1]))
    for part in model.decoder:
        part.register_forward_hook(lambda _module, _inputs, output: up.append(output.shape[-1]))
    with torch.inference_mode():
        model(noise(1, context, 1, model.config.samples_per_epoch))
    return down, up


def positive(model):
    """Return the network with all weights one and no bias: an impulse then shows wherever it can have an effect."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.fill_(0.0 if name.endswith(("bias", "running_mean")) else 1.0)
    return model.double().eval()


@pytest.mark.parametrize(
    ("preset", "n_channels", "count"), [("paper", 1, 1_187_539), ("released", 1, 2_366_591), ("released", 2, 2_366_701)]
)
def test_the_published_number_of_parameters(preset: str, n_channels: int, count: int) -> None:
    """Oracle: spec 3.2, counted from the paper's table S.2 and from the released preset."""
    assert count_parameters(create_model("utime", preset=preset, n_channels=n_channels)) == count


def test_the_published_widths() -> None:
    assert PRESETS["paper"].widths == (16, 32, 64, 128, 256)
    assert PRESETS["released"].widths == (22, 45, 90, 181, 362)
    assert PRESETS["default"] == PRESETS["released"]


def test_the_lengths_of_35_epochs_at_100_hz_lose_samples_at_each_pool() -> None:
    down, up = lengths_of(narrow("paper"), 35)
    assert down == [105000, 10500, 1312, 218, 54]
    assert up == [216, 1296, 10368, 103680]


def test_the_lengths_of_35_epochs_at_128_hz_divide_exactly() -> None:
    down, up = lengths_of(narrow("released"), 35)
    assert down == [134400, 13440, 1680, 280, 70]
    assert up == [280, 1680, 13440, 134400]


def test_as_published_the_first_and_last_six_seconds_have_no_decoder_output() -> None:
    with torch.inference_mode():
        maps = positive(narrow("paper")).maps(torch.ones(1, 1, 105000, dtype=torch.float64))
    assert maps.shape[-1] == 105000
    assert not maps[..., :660].any()
    assert not maps[..., -660:].any()
    assert maps[..., 660:-660].all()


def test_with_a_padded_input_every_sample_has_decoder_output() -> None:
    model = narrow("paper", lengths="padded")
    assert lengths_of(model, 35)[0] == [105600, 10560, 1320, 220, 55]
    with torch.inference_mode():
        maps = positive(model).maps(torch.ones(1, 1, 105000, dtype=torch.float64))
    assert maps.shape[-1] == 105000
    assert maps.all()


def test_both_settings_are_equal_where_the_pools_divide() -> None:
    padded, cropped = (create_model("utime", preset="small", lengths=kind).eval() for kind in ("padded", "cropped"))
    cropped.load_state_dict(padded.state_dict())
    x = noise(1, 3, 1, 3840)
    with torch.inference_mode():
        torch.testing.assert_close(padded(x), cropped(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("lengths", "beside"), [("padded", [4] * 4 + [8] * 4 + [11] * 3), ("cropped", [0] + [4] * 4 + [8] * 4 + [0] * 2)]
)
def test_only_a_padded_input_keeps_each_map_beside_its_samples(lengths: str, beside: list[int]) -> None:
    """Samples 1 … 11, one pool of four, every weight passes values through: what stands beside each."""
    config = Config(pools=(4,), kernel=1, initial_width=1, complexity_factor=1.0, norm_eps=1e-12, lengths=lengths)
    model = positive(Model(config))
    with torch.no_grad():
        level = model.decoder[0]
        # Of a kernel of four the second stands on the sample itself; the two maps of the bottom hold twice its input.
        level.up.conv.weight.zero_()[..., 1] = 0.25
        level.merge[0].conv.weight[:, 0] = 0  # without the skip, which is first
        model.dense.weight.fill_(1e-6)  # where tanh is linear
        maps = model.maps(torch.arange(1.0, 12, dtype=torch.float64)[None, None])[0, 0] * 1e6
    assert maps.round().tolist() == beside


@pytest.mark.parametrize(("length", "cut"), [(10, (1, 1)), (11, (1, 2))])
def test_the_skip_is_cropped_evenly_and_the_odd_sample_at_its_end(length: int, cut: tuple[int, int]) -> None:
    model = positive(
        Model(Config(pools=(4,), kernel=1, initial_width=1, complexity_factor=1.0, norm_eps=1e-12, lengths="cropped"))
    )
    seen = []
    model.decoder[0].merge.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0][0, 0, 0]))
    with torch.inference_mode():
        model.maps(torch.arange(float(length), dtype=torch.float64)[None, None])
    assert seen[0].round().tolist() == list(range(cut[0], length - cut[1]))


def test_the_second_odd_sample_is_cropped_at_the_start() -> None:
    """Length 23, pools 2 and 2: 23 → 11 → 5, back 10 (one cut, at the end), 20 (three, two at the start)."""
    model = positive(
        Model(Config(pools=(2, 2), kernel=1, initial_width=1, complexity_factor=1.0, norm_eps=1e-12, lengths="cropped"))
    )
    seen = []
    for level in model.decoder:
        level.merge.register_forward_hook(
            lambda _module, inputs, _output: seen.append(inputs[0][0, 0, 0].round().tolist())
        )
    with torch.inference_mode():
        model.maps(torch.arange(1.0, 24, dtype=torch.float64)[None, None])
    assert len(seen[0]) == 10
    assert seen[1] == list(range(3, 23))


def test_the_minimum_input_is_one_step_of_the_bottom() -> None:
    model = narrow("paper")
    with torch.inference_mode():
        assert model.maps(noise(1, 1, 1920)).shape[-1] == 1920
        with pytest.raises(HypnographError, match=r"1919 samples.*needs 1920"):
            model.maps(noise(1, 1, 1919))
        assert narrow("released").maps(noise(1, 1, 7)).shape[-1] == 7


@pytest.mark.parametrize(("dilated", "field"), [(False, 26_416), (True, 41_776)])
def test_the_receptive_field_of_the_bottom(dilated: bool, field: int) -> None:
    """Oracle: spec 3.2, 26,416 samples as coded, 41,776 with the dilated bottom of the paper's table."""
    model = positive(narrow("paper", dilated_bottom=dilated))
    seen = []
    model.bottom.register_forward_hook(lambda _module, _inputs, output: seen.append(output[:, :, 0, 27].sum(1)))
    first = 27 * 1920 - (field - 1920) // 2
    last = first + field - 1
    x = torch.zeros(4, 105000, dtype=torch.float64)
    x[range(4), [first - 1, first, last, last + 1]] = 1.0
    with torch.inference_mode():
        model.maps(x[:, None])
    assert seen[0].ne(0).flatten().tolist() == [False, True, True, False]


def test_the_paper_has_relu_and_one_last_convolution_the_release_elu_and_two() -> None:
    paper, released = create_model("utime", preset="paper"), create_model("utime", preset="released")
    assert (paper.config.activation, released.config.activation) == ("relu", "elu")
    assert paper.hidden is None
    assert (paper.dense.out_channels, released.dense.out_channels, released.hidden.out_channels) == (5, 7, 5)


def test_activation_comes_before_normalisation() -> None:
    block = create_model("utime", preset="paper").eval().encoder[0][0]
    x = noise(1, 1, 1, 64)
    with torch.inference_mode():
        convolved = torch.nn.functional.conv1d(x[:, :, 0], block.conv.weight, block.conv.bias, padding=4, dilation=2)
        torch.testing.assert_close(block(x), block.norm(torch.relu(convolved[:, :, None])))


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 30, 3840])
def test_the_output_rate_is_chosen_without_other_weights(n_outputs: int) -> None:
    model = create_model("utime", preset="small").eval()
    with torch.inference_mode():
        logits = model(noise(2, 2, 1, 3840), sub_epochs=n_outputs)
    assert logits.shape == ((2, 2, 5) if n_outputs == 1 else (2, 2, n_outputs, 5))
    with pytest.raises(HypnographError, match="divisor"):
        Config(sub_epochs=7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel": 4},
        {"pools": ()},
        {"activation": "tanh"},
        {"lengths": "cut"},
        {"complexity_factor": 0.001},
        {"epoch_s": 0.0001},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(HypnographError):
        Config(**wrong)


def test_an_input_of_another_shape_is_refused() -> None:
    with pytest.raises(HypnographError, match=r"needs \(window, context, 1, 3840\)"):
        create_model("utime", preset="small")(noise(1, 1, 2, 3840))
