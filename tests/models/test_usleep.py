"""U-Sleep against its specification (specs/utime-usleep.md, 3.3 and 3.4) and against braindecode's implementation."""

import dataclasses
import importlib.machinery
import importlib.util
import sys
import types
import warnings

import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.usleep import PRESETS, Config, Model, from_anysleep  # noqa: E402


def noise(*shape: int, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spread(model):
    """Give biases and batch normalisation values as after training, so that a wrong copy or order shows."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif value.dtype == torch.float32 and value.ndim == 1:
            value.add_(torch.empty_like(value).uniform_(-0.2, 0.2, generator=generator))
    return model.eval()


def output_of(model, part: str, x):
    """Return what one part of the network gives for an input."""
    seen = []
    hook = model.get_submodule(part).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.inference_mode():
        model(x)
    hook.remove()
    return seen[0]


# --- size


def test_the_published_number_of_parameters() -> None:
    """Oracle: spec 3.3, equal to AnySleep's independent count."""
    model = create_model("usleep")
    assert count_parameters(model) == 3_114_337
    statistics = sum(b.numel() for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var")))
    assert statistics == 5_014


def test_the_published_widths_grow_by_truncation() -> None:
    assert PRESETS["paper"].widths == (6, 9, 11, 15, 20, 28, 40, 55, 77, 108, 152, 214, 302)
    assert Config(complexity_factor=1).widths == (5, 7, 9, 12, 16, 22, 31, 43, 60, 84, 118, 166, 234)


def test_the_official_decoder_recurrence_mirrors_the_encoder() -> None:
    for nominal in range(1, 2000):
        assert -int(-int(nominal * 2**0.5) // 2**0.5) == nominal


def test_a_larger_complexity_factor_makes_each_level_wider() -> None:
    assert create_model("usleep", complexity_factor=4.0, depth=3).config.widths == (10, 14, 18, 24)
    with pytest.raises(HypnographError, match="complexity_factor"):
        Config(complexity_factor=0.01)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 7])
def test_each_channel_adds_one_kernel_for_each_map_of_the_first_level(n_channels: int) -> None:
    model = create_model("usleep", n_channels=n_channels)
    assert count_parameters(model) == 3_114_337 + (n_channels - 2) * 9 * 6


# --- lengths


def test_the_lengths_of_35_epochs_halve_and_odd_ones_get_one_sample_more() -> None:
    model = create_model("usleep", preset="paper", initial_width=1, complexity_factor=1.0).eval()
    lengths: list[int] = []
    for block in [*model.encoder, model.bottom]:
        block.register_forward_hook(lambda _module, _inputs, output: lengths.append(output.shape[-1]))
    with torch.inference_mode():
        assert model(noise(1, 35, 2, 3840)).shape == (1, 35, 5)
    assert lengths == [134400, 67200, 33600, 16800, 8400, 4200, 2100, 1050, 525, 263, 132, 66, 33]


@pytest.mark.parametrize("context", [1, 7])
def test_any_number_of_epochs_is_one_pass(context: int) -> None:
    model = create_model("usleep", initial_width=1, complexity_factor=1.0).eval()
    with torch.inference_mode():
        assert model(noise(1, context, 2, 3840)).shape == (1, context, 5)


@pytest.mark.parametrize("length", [1, 33, 4097])
@pytest.mark.parametrize("odd_lengths", ["padded-input", "official", "cropped-end"])
def test_any_length_gives_one_value_for_each_sample(length: int, odd_lengths: str) -> None:
    model = Model(Config(initial_width=2, complexity_factor=1.0, odd_lengths=odd_lengths)).eval()
    with torch.inference_mode():
        assert model.maps(noise(1, 2, length)).shape == (1, 2, length)


def test_other_rates_and_epoch_lengths_with_an_odd_number_of_samples_work() -> None:
    model = create_model("usleep", preset="small", sample_rate=33.3, epoch_s=10.0).eval()
    with torch.inference_mode():
        assert model(noise(1, 3, 2, 333)).shape == (1, 3, 5)


# --- output rate


@pytest.mark.parametrize("per_minute", [2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1280, 1920, 3840, 7680])
def test_the_published_output_rates_need_no_other_weights(per_minute: int) -> None:
    """Fourteen rates from 2 to 7,680 a minute; those whose half divides 3840."""
    n_outputs = per_minute // 2
    model = spread(create_model("usleep", preset="small"))
    x = noise(1, 2, 2, 3840)
    with torch.inference_mode():
        logits = model(x, sub_epochs=n_outputs)
    assert logits.shape == ((1, 2, 5) if n_outputs == 1 else (1, 2, n_outputs, 5))
    assert count_parameters(create_model("usleep", preset="small", sub_epochs=n_outputs)) == count_parameters(model)


def test_the_configured_rate_is_that_of_the_argument() -> None:
    model = spread(create_model("usleep", preset="small", sub_epochs=30))
    other = spread(create_model("usleep", preset="small"))
    other.load_state_dict(model.state_dict())
    x = noise(2, 2, 2, 3840)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), other(x, sub_epochs=30), rtol=0, atol=0)
        torch.testing.assert_close(model(x, sub_epochs=1), other(x), rtol=0, atol=0)


def test_an_output_is_made_from_the_mean_of_its_samples() -> None:
    """Each sample's 3840 maps averaged by hand, then the two last convolutions."""
    model = spread(create_model("usleep", preset="small"))
    x = noise(1, 3, 2, 3840)
    with torch.inference_mode():
        maps = torch.tanh(model.dense(model.maps(x.transpose(1, 2).reshape(1, 2, -1))[:, :, None]))[:, :, 0]
        for epoch in range(3):
            mean = maps[..., epoch * 3840 : (epoch + 1) * 3840].mean(-1, keepdim=True)
            by_hand = model.out(torch.nn.functional.elu(model.hidden(mean)))[..., 0]
            torch.testing.assert_close(model(x)[:, epoch], by_hand)


def test_a_rate_that_does_not_divide_an_epoch_is_refused() -> None:
    with pytest.raises(HypnographError, match="7 outputs per epoch do not divide its 3840 samples"):
        Config(sub_epochs=7)
    with pytest.raises(HypnographError, match="divisor"):
        create_model("usleep", preset="small")(noise(1, 1, 2, 3840), sub_epochs=3841)


@pytest.mark.parametrize("shape", [(1, 1, 3, 3840), (1, 1, 2, 3000), (1, 2, 3840)])
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(HypnographError, match=r"needs \(window, context, 2, 3840\)"):
        create_model("usleep", preset="small")(noise(*shape))


@pytest.mark.parametrize(
    "wrong", [{"kernel": 8}, {"odd_lengths": "none"}, {"sample_rate": 100.01}, {"depth": 0}, {"norm_eps": 0.0}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(HypnographError):
        Config(**wrong)


# --- receptive field


def positive(model):
    """Return the network with all weights one and no bias: an impulse then shows wherever it can have an effect."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.fill_(0.0 if name.endswith(("bias", "running_mean")) else 1.0)
    return model.double().eval()


@pytest.mark.parametrize(
    ("sub_epochs", "output", "first", "last"), [(1, 17, 12_292, 122_875), (3840, 57_600, 8_196, 114_683)]
)
def test_how_far_an_output_sees(sub_epochs: int, output: int, first: int, last: int) -> None:
    """One sample sees up to 106,488 samples (spec 3.3); a 30-s epoch up to 110,584, i.e. 14.40 min.

    The spec's 110,327 (14.37 min) is 106,488 + 3839: true if the field slid by single samples,
    but its edges move in steps of 4096. Widths do not matter, so all are one. 32 epochs are 30 · 4096 samples.
    """
    model = positive(create_model("usleep", n_channels=1, initial_width=1, complexity_factor=1.0))
    x = torch.zeros(4, 32 * 3840, dtype=torch.float64)
    x[range(4), [first - 1, first, last, last + 1]] = 1.0
    with torch.inference_mode():
        logits = model(x.reshape(4, 32, 1, 3840), sub_epochs=sub_epochs).reshape(4, -1, 5)
    assert (logits[:, output].abs().sum(-1) > 0).tolist() == [False, True, True, False]
    assert last - first + 1 == (110_584 if sub_epochs == 1 else 106_488)


# --- conventions


def test_activation_comes_before_normalisation() -> None:
    block = spread(create_model("usleep", preset="small")).encoder[0]
    x = noise(1, 2, 1, 64)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), block.norm(torch.nn.functional.elu(block.conv(x))))


def test_normalisation_is_tensorflows_by_default_and_pytorchs_for_anysleep() -> None:
    assert PRESETS["default"] == dataclasses.replace(PRESETS["paper"], odd_lengths="padded-input")
    for preset, eps, momentum in [("paper", 1e-3, 0.01), ("anysleep", 1e-5, 0.1)]:
        norms = [m for m in create_model("usleep", preset=preset).modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert len(norms) == 12 + 1 + 24
        assert {(norm.eps, norm.momentum) for norm in norms} == {(eps, momentum)}


def test_weights_start_glorot_uniform_and_biases_at_zero() -> None:
    convolution = create_model("usleep").bottom.conv
    bound = (6 / (9 * (214 + 302))) ** 0.5
    assert 0.99 * bound < convolution.weight.abs().max().item() <= bound
    assert not convolution.bias.any()


def test_the_kernel_of_two_looks_one_sample_ahead() -> None:
    """The oracle is the convolution of the repeated signal, whose extra sample is on the right."""
    up = create_model("usleep", preset="small").decoder[0].eval().up
    torch.nn.init.normal_(up.conv.bias)
    x = noise(2, up.conv.in_channels, 1, 9)
    repeated = torch.nn.functional.pad(x[:, :, 0].repeat_interleave(2, dim=-1), (0, 1))
    expected = torch.nn.functional.conv1d(repeated, up.conv.weight, up.conv.bias)[:, :, None]
    torch.testing.assert_close(up.lengthen(x, 2), up.norm(torch.nn.functional.elu(expected)))


@pytest.mark.parametrize(
    ("odd_lengths", "expected"),
    [("padded-input", [4, 4, 4, 4, 6, 6]), ("official", [2, 2, 2, 6, 6, 6]), ("cropped-end", [2, 2, 2, 2, 6, 6])],
)
def test_only_padding_the_input_keeps_the_branches_aligned(odd_lengths: str, expected: list[int]) -> None:
    """Samples 1 … 6, two levels, every weight passes values through: what stands beside each sample at the end.

    Official: pooled to 2 4 6, then (0 2)(4 6) to 2 6; up again 2 2 6 6 and 2 2 2 2 6 6 6 6, of which one is
    cut at each end; aligned would be 2 2 6 6 6 6. With the input padded: (1 2 3 4)(5 6 0 0) to 4 6.
    """
    config = Config(n_channels=1, depth=2, kernel=1, initial_width=1, complexity_factor=1.0, norm_eps=1e-12)
    model = positive(Model(dataclasses.replace(config, odd_lengths=odd_lengths)))
    with torch.no_grad():
        for level in model.decoder:
            level.up.conv.weight[..., 1] = 0  # no look ahead
            level.merge.conv.weight[:, 0] = 0  # without the skip, which is first
        seen = model.maps(torch.arange(1.0, 7, dtype=torch.float64)[None, None])
    assert seen.round().flatten().tolist() == expected


def recomputed(state: dict, depth: int, x):
    """Return AnySleep's U-Sleep as its conventions are stated (weights/README.md), written anew on a state dict."""
    fn = torch.nn.functional

    def block(x, name: str):
        kernel = state[f"{name}.conv.weight"].shape[-1]
        x = fn.pad(x, (4, 4) if kernel == 9 else (0, 1))
        x = fn.elu(fn.conv1d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]))
        names = [f"{name}.norm.{part}" for part in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, weight, bias = (state[n][:, None] for n in names)
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    skips = []
    for level in range(depth):
        x = block(x, f"encoder.{level}")
        if x.shape[-1] % 2:
            x = torch.cat([torch.zeros_like(x[..., :1]), x], dim=-1)
        skips.append(x)
        x = x.unflatten(-1, (-1, 2)).amax(-1)
    x = block(x, "bottom")
    for level in range(depth):
        skip = skips.pop()
        x = block(x.repeat_interleave(2, dim=-1), f"decoder.{level}.up")
        d = x.shape[-1] - skip.shape[-1]
        start = d // 2 + d % 2
        x = block(torch.cat([skip, x[..., start : start + skip.shape[-1]]], dim=1), f"decoder.{level}.merge")
    return x


@pytest.mark.parametrize("length", [640, 330, 66, 527])
def test_the_anysleep_preset_follows_the_stated_conventions(length: int) -> None:
    model = spread(create_model("usleep", preset="anysleep", depth=6, initial_width=3))
    x = noise(2, 2, length)
    with torch.inference_mode():
        expected = recomputed(model.state_dict(), 6, x)[..., :length]
        torch.testing.assert_close(model.maps(x), expected, rtol=1e-4, atol=1e-5)
        if length == 330:
            other = create_model(
                "usleep", preset="anysleep", depth=6, initial_width=3, odd_lengths="padded-input"
            ).eval()
            other.load_state_dict(model.state_dict())
            assert (other.maps(x) - expected).abs().max() > 1e-2


def test_part_of_a_night_gives_the_logits_of_the_whole_away_from_its_edges() -> None:
    model = spread(create_model("usleep", preset="small"))
    x = noise(1, 8, 2, 3840)
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[:, 3:5], model(x[:, 2:6])[:, 1:3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("skip_first", [True, False])
def test_the_skip_is_first_unless_told_otherwise(skip_first: bool) -> None:
    """The kernels of the skip's maps are silenced: what is on the skip makes no difference then."""
    decoder = create_model("usleep", preset="small", skip_first=skip_first).eval().decoder[-1]
    weight = decoder.merge.conv.weight.data
    n_maps = weight.shape[1] // 2
    below, skip, other = (
        noise(1, decoder.up.conv.in_channels, 1, 8),
        noise(1, n_maps, 1, 16),
        torch.ones(1, n_maps, 1, 16),
    )
    with torch.inference_mode():
        assert not torch.equal(decoder(below, skip), decoder(below, other))
        weight[:, slice(None, n_maps) if skip_first else slice(n_maps, None)] = 0
        assert torch.equal(decoder(below, skip), decoder(below, other))


# --- AnySleep's files


ANYSLEEP_WIDTHS = (6, 9, 11, 15, 20, 28, 40, 55, 77, 108, 152, 214, 302)


@pytest.fixture(scope="module")
def anysleep():
    """Return a state dict as in AnySleep's files, by the names that weights/README.md states, with random values."""
    generator = torch.Generator().manual_seed(3)
    state = {}

    def convolution(name: str, n_in: int, n_out: int, kernel: int) -> None:
        bound = 2 / (n_in * kernel) ** 0.5
        state[f"{name}.weight"] = torch.empty(n_out, n_in, kernel).uniform_(-bound, bound, generator=generator)
        state[f"{name}.bias"] = torch.empty(n_out).uniform_(-0.2, 0.2, generator=generator)

    def block(name: str, first: int, n_in: int, n_out: int, kernel: int) -> None:
        convolution(f"{name}.{first}", n_in, n_out, kernel)
        limits = {"weight": (0.5, 1.5), "bias": (-0.2, 0.2), "running_mean": (-0.3, 0.3), "running_var": (0.5, 2.0)}
        for part, (low, high) in limits.items():
            state[f"{name}.{first + 2}.{part}"] = torch.empty(n_out).uniform_(low, high, generator=generator)
        state[f"{name}.{first + 2}.num_batches_tracked"] = torch.tensor(7)

    widths = ANYSLEEP_WIDTHS
    for i in range(12):
        block(f"encoders.{i}.enc", 0, (2, *widths)[i], widths[i], 9)
        n_in, n_out = widths[12 - i], widths[11 - i]
        block(f"decoders.{i}.dec1", 1, n_in, n_out, 2)
        block(f"decoders.{i}.dec2", 0, 2 * n_out, n_out, 9)
    block("connector", 0, 214, 302, 9)
    for place, (n_in, n_out) in {0: (6, 6), 3: (6, 5), 5: (5, 5)}.items():
        convolution(f"segment_classifier.segment_classifier.{place}", n_in, n_out, 1)
    return state


def anysleep_logits(state: dict, x, n_outputs: int):
    """Return the logits of AnySleep's U-Sleep, written anew from the facts in weights/README.md."""
    fn = torch.nn.functional

    def block(x, name: str, first: int, padding: tuple[int, int]):
        convolution, norm = f"{name}.{first}", f"{name}.{first + 2}"
        x = fn.elu(fn.conv1d(fn.pad(x, padding), state[f"{convolution}.weight"], state[f"{convolution}.bias"]))
        mean, variance, weight, bias = (
            state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean[:, None]) / torch.sqrt(variance[:, None] + 1e-5) * weight[:, None] + bias[:, None]

    def last(x, place: int):
        name = f"segment_classifier.segment_classifier.{place}"
        return fn.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"])

    n_windows, context, n_channels, n_samples = x.shape
    x = x.permute(0, 2, 1, 3).reshape(n_windows, n_channels, context * n_samples)
    skips, n_odd = [], 0
    for i in range(12):
        x = block(x, f"encoders.{i}.enc", 0, (4, 4))
        if x.shape[-1] % 2 == 1:
            x, n_odd = fn.pad(x, (1, 0)), n_odd + 1
        skips.append(x)
        x = torch.stack([x[..., ::2], x[..., 1::2]]).max(dim=0).values
    x = block(x, "connector", 0, (4, 4))
    for i in range(12):
        x = block(torch.repeat_interleave(x, 2, dim=-1), f"decoders.{i}.dec1", 1, (0, 1))
        skip = skips[11 - i]
        d = x.shape[-1] - skip.shape[-1]
        start = d // 2 + d % 2
        x = block(torch.cat([skip, x[..., start : start + skip.shape[-1]]], dim=1), f"decoders.{i}.dec2", 0, (4, 4))
    x = fn.avg_pool1d(torch.tanh(last(x, 0)), n_samples // n_outputs)
    return last(fn.elu(last(x, 3)), 5).transpose(1, 2), n_odd


@pytest.mark.parametrize(("context", "n_outputs"), [(1, 1), (1, 2), (3, 2), (35, 2)])
def test_anysleeps_weights_give_anysleeps_logits(anysleep, context: int, n_outputs: int) -> None:
    """Oracle: `anysleep_logits`, which shares no code with the network. At all three contexts odd lengths occur."""
    x = noise(1, context, 2, 3840)
    with torch.inference_mode():
        expected, n_odd = anysleep_logits(anysleep, x, n_outputs)
        logits = from_anysleep(anysleep)(x, sub_epochs=n_outputs)
    assert n_odd > 0
    assert expected.std() > 1e-2
    torch.testing.assert_close(logits.reshape(expected.shape), expected, rtol=0, atol=1e-5)


def test_anysleeps_weights_may_lie_under_state_dict_as_in_the_file(anysleep) -> None:
    assert count_parameters(from_anysleep({"state_dict": anysleep})) == 3_114_337
    assert not from_anysleep(anysleep).training


def test_a_file_that_is_not_anysleeps_is_refused_with_names_and_shapes(anysleep) -> None:
    without = {name: value for name, value in anysleep.items() if name != "connector.0.bias"}
    with pytest.raises(HypnographError, match=r"connector\.0\.bias missing"):
        from_anysleep(without)
    with pytest.raises(HypnographError, match=r"connector\.0\.bias and 264 more missing"):
        from_anysleep({})
    with pytest.raises(HypnographError, match=r"connector\.9\.bias unknown"):
        from_anysleep(anysleep | {"connector.9.bias": torch.zeros(1)})
    with pytest.raises(HypnographError, match=r"encoders\.0\.enc\.0\.weight has shape \(6, 3, 9\).*\(6, 2, 9\)"):
        from_anysleep(anysleep | {"encoders.0.enc.0.weight": torch.zeros(6, 3, 9)})


# --- parity with braindecode


TORCHAUDIO = ("torchaudio", "torchaudio.functional", "torchaudio.transforms")


def stand_in(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    return torch.nn.Module


@pytest.fixture(scope="module")
def braindecode_usleep():
    if importlib.util.find_spec("braindecode") is None:
        pytest.skip("braindecode is not installed")
    stubs = {}
    if "torchaudio" not in sys.modules:
        stubs = {name: types.ModuleType(name) for name in TORCHAUDIO}
        for name, module in stubs.items():
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        stubs["torchaudio"].__path__ = []
        stubs["torchaudio"].functional = stubs["torchaudio.functional"]
        stubs["torchaudio"].transforms = stubs["torchaudio.transforms"]
        for name in TORCHAUDIO[1:]:
            # Some of its other networks take functions or derive from classes there.
            stubs[name].__getattr__ = stand_in
    sys.modules.update(stubs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from braindecode.models import USleep

        model = USleep(n_chans=2, sfreq=128, n_outputs=5, n_times=3840)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = 1.0  # statistics of one pass, so that the deep levels count as after training
        with torch.no_grad():
            model(noise(2, 16, 2, 3840))
    yield model.eval()
    for name in stubs:
        del sys.modules[name]


def copied(source, *, skip_first: bool) -> dict:
    """Return braindecode's weights under our names; for a skip that comes first, its inputs are exchanged."""
    theirs = source.state_dict()
    state = {}

    def take(ours: str, other: str) -> None:
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            if f"{other}.{part}" in theirs:
                state[f"{ours}.{part}"] = theirs[f"{other}.{part}"].clone()

    def block(ours: str, other: str, start: int) -> None:
        take(f"{ours}.conv", f"{other}.{start}")
        take(f"{ours}.norm", f"{other}.{start + 2}")

    for level in range(12):
        block(f"encoder.{level}", f"encoder_blocks.{level}.block_prepool", 0)
        block(f"decoder.{level}.up", f"decoder_blocks.{level}.block_preskip", 1)
        block(f"decoder.{level}.merge", f"decoder_blocks.{level}.block_postskip", 0)
        if skip_first:
            name = f"decoder.{level}.merge.conv.weight"
            up, skip = state[name].chunk(2, dim=1)
            state[name] = torch.cat([skip, up], dim=1)
    block("bottom", "bottom", 0)
    for ours, other in [("dense", "clf.0"), ("hidden", "final_layer.0"), ("out", "final_layer.2")]:
        take(ours, other)
    return state


def both(source, context: int, **options):
    """Return braindecode's logits and ours, in float64, for the same weights and input."""
    model = create_model("usleep", **{"norm_eps": 1e-5, **options})
    model.load_state_dict(copied(source, skip_first=model.config.skip_first))
    x = noise(1, context, 2, 3840).double()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # braindecode's even kernel with padding="same"
        reference = source.double()(x)
        reference = reference.transpose(1, 2) if reference.ndim == 3 else reference[:, None]
        return reference, model.eval().double()(x)


@pytest.mark.filterwarnings("ignore:Warning only once")  # torch, once, where braindecode was imported
def test_logits_equal_braindecodes_where_no_length_is_odd(braindecode_usleep) -> None:
    """16 epochs are 15 · 4096 samples: no level is odd; only the order of the concatenation and ε differ."""
    reference, logits = both(braindecode_usleep, 16)
    torch.testing.assert_close(logits, reference, rtol=1e-9, atol=1e-9)
    assert logits.std() > 1e-3


@pytest.mark.filterwarnings("ignore:Warning only once")  # torch, once, where braindecode was imported
@pytest.mark.parametrize("context", [1, 5, 35])
def test_logits_equal_braindecodes_at_odd_lengths_with_its_conventions(braindecode_usleep, context: int) -> None:
    reference, logits = both(braindecode_usleep, context, preset="braindecode")
    torch.testing.assert_close(logits, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("odd_lengths", ["padded-input", "official"])
def test_at_odd_lengths_the_other_conventions_give_other_logits(braindecode_usleep, odd_lengths: str) -> None:
    reference, logits = both(braindecode_usleep, 5, odd_lengths=odd_lengths)
    assert (logits - reference).abs().max() > 1e-4


def test_the_other_epsilon_gives_other_logits(braindecode_usleep) -> None:
    reference, logits = both(braindecode_usleep, 16, norm_eps=1e-3)
    assert (logits - reference).abs().max() > 1e-6
