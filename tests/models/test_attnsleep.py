"""AttnSleep: counts, lengths, parity with braindecode's port, and each quirk in both settings."""

import dataclasses
import importlib.machinery
import importlib.util
import json
import math
import sys
import types
import warnings

import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.attnsleep import PRESETS, Config, Model  # noqa: E402
from hypnograph.models.attnsleep.encoders import RelativeAttention, UnbiasedLayerNorm, sinusoids  # noqa: E402
from hypnograph.models.attnsleep.front_ends import AveragedFrames, fold  # noqa: E402

VARIANTS = [
    {"front_end": front_end, "temporal_encoder": encoder, "tokens": tokens}
    for front_end in ("mrcnn", "msp", "msp-crnn")
    for encoder in ("tce", "conformer")
    for tokens in ("channel", "time")
] + [{"branches": "channel"}]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Layers this small lose five times their run time to threads that wait for a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(**options) -> Model:
    torch.manual_seed(0)
    return Model(Config(**options)).eval()


def disturbed(model: Model, seed: int = 0) -> Model:
    """Move every weight and running statistic off its initial value, so that nothing is hidden by a 0 or a 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = 0.1 * torch.randn(value.shape, generator=generator)
                value.add_(noise.abs() if "running_var" in name else noise)
    return model


def epochs(model: Model, n_windows: int = 2, context: int = 2, seed: int = 0):
    shape = (n_windows, context, model.config.n_channels, model.config.n_samples)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestCounts:
    """Oracle: models.md D.3 and D.7 (counted from the official code)."""

    def test_the_official_network_has_522805_parameters(self) -> None:
        model = create_model("attnsleep", preset="paper")
        assert count_parameters(model.front_end) == 398_720
        assert count_parameters(model.recalibration) == 8_880
        assert count_parameters(model.encoder) == 103_200
        assert count_parameters(model.head) == 12_005
        assert count_parameters(model) == 522_805

    def test_without_the_convolutions_that_nothing_calls_there_are_510145(self) -> None:
        assert count_parameters(network()) == 522_805 - 2 * (30 * 30 * 7 + 30) == 510_145

    def test_the_multi_period_front_end_has_196624_parameters_and_1216_gains_with_weight_norm(self) -> None:
        assert count_parameters(network(front_end="msp").front_end) == 196_624
        assert count_parameters(network(front_end="msp", weight_norm=True).front_end) == 196_624 + 1_216


class TestLengths:
    """Oracle: models.md D.1 and D.7."""

    @pytest.mark.parametrize(("rate", "small", "wide"), [(100.0, 64, 16), (125.0, 79, 21)])
    def test_the_two_resolutions_make_80_or_100_frames(self, rate: float, small: int, wide: int) -> None:
        model = network(sample_rate=rate)
        x = epochs(model)[0]
        with torch.inference_mode():
            assert model.front_end.small(x).shape == (2, 128, small)
            assert model.front_end.wide(x).shape == (2, 128, wide)
            assert model.front_end(x).shape == (2, 128, small + wide)
        assert model.config.n_frames == small + wide == model.head.in_features // 30

    def test_the_layers_of_the_small_and_the_wide_branch_have_the_papers_lengths(self) -> None:
        model = network()
        for branch, expected in (
            (model.front_end.small, [500, 251, 252, 253, 64]),
            (model.front_end.wide, [61, 31, 31, 31, 16]),
        ):
            x, lengths = epochs(model)[0], []
            for layer in branch:
                x = layer(x)
                if isinstance(layer, torch.nn.Conv1d | torch.nn.MaxPool1d):
                    lengths.append(x.shape[-1])
            assert lengths == expected

    @pytest.mark.parametrize("weight_norm", [False, True])
    def test_scales_and_periods_make_286_frames(self, weight_norm: bool) -> None:
        front_end = network(front_end="msp", weight_norm=weight_norm).front_end
        with torch.inference_mode():
            frames = front_end.branch_frames(torch.randn(2, 1, 3000))
            assert [branch.shape for branch in frames] == [(2, 128, n) for n in (94, 47, 24, 39, 40, 42)]
            assert front_end.resample.in_features == sum(front_end.branch_lengths) == 286
            assert front_end(torch.randn(2, 1, 3000)).shape == (2, 128, 80)

    def test_the_scales_see_3000_then_1501_then_751_samples(self) -> None:
        front_end, lengths = network(front_end="msp").front_end, []
        for scale in front_end.scales:
            scale[0].register_forward_hook(lambda module, inputs, output: lengths.append(inputs[0].shape[-1]))
        with torch.inference_mode():
            front_end(torch.randn(1, 1, 3000))
        assert lengths == [3000, 1501, 751]

    def test_the_recurrent_front_end_makes_100_frames_and_a_head_of_3000(self) -> None:
        model = network(front_end="msp-crnn")
        with torch.inference_mode():
            assert model.front_end(torch.randn(2, 1, 3000)).shape == (2, 128, 100)
        assert model.front_end.mix[0].in_channels == 384
        assert model.head.in_features == 3000

    def test_folding_mirrors_the_end_to_fill_the_last_row(self) -> None:
        x = torch.arange(8.0)[None, None]
        assert fold(x, 4).tolist() == [[[[0, 1, 2, 3], [4, 5, 6, 7]]]]
        assert fold(x, 5).tolist() == [[[[0, 1, 2, 3, 4], [5, 6, 7, 6, 5]]]]

    @pytest.mark.parametrize("n_in", [50, 150, 200, 100])
    def test_averaging_by_a_matrix_equals_adaptive_pooling(self, n_in: int) -> None:
        x = torch.randn(2, 3, n_in)
        expected = torch.nn.functional.adaptive_avg_pool1d(x, 100)
        torch.testing.assert_close(AveragedFrames(n_in=n_in, n_out=100)(x), expected)


class Absent(types.ModuleType):
    """A module that has every name, each an empty network: braindecode derives classes from torchaudio's."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return torch.nn.Module


def stub_torchaudio() -> None:
    """Let braindecode be imported where torchaudio is not; a real one is used, another test's stub is replaced."""
    present = sys.modules.get("torchaudio")
    if getattr(present, "__file__", None) or (present is None and importlib.util.find_spec("torchaudio")):
        return
    for name in ("torchaudio", "torchaudio.functional", "torchaudio.transforms"):
        sys.modules[name] = Absent(name)
        sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
    package = sys.modules["torchaudio"]
    package.__path__ = []
    package.functional, package.transforms = sys.modules["torchaudio.functional"], sys.modules["torchaudio.transforms"]


@pytest.fixture(scope="module")
def braindecode_attnsleep():
    """braindecode's port, imported beside a torch without torchaudio."""
    if importlib.util.find_spec("braindecode") is None:
        pytest.skip("braindecode is not installed")
    if "braindecode.models.attn_sleep" not in sys.modules:
        stub_torchaudio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from braindecode.models.attn_sleep import AttnSleep
    return AttnSleep


def braindecode_name(name: str) -> str:
    """Return the port's name of one of our weights."""
    for ours, theirs in (
        ("front_end.small.", "feature_extractor.0.features1."),
        ("front_end.wide.", "feature_extractor.0.features2."),
        ("recalibration.features.", "feature_extractor.0.AFR.0.features."),
        ("recalibration.gate.", "feature_extractor.0.AFR.0.se.fc."),
        ("recalibration.shortcut.", "feature_extractor.0.AFR.0.downsample."),
        ("encoder.layers.", "feature_extractor.1.layers."),
        ("encoder.norm.", "feature_extractor.1.norm."),
        ("head.", "final_layer."),
        (".query.", ".conv."),
        (".unused.", ".self_attn.convs.0."),
        (".key.", ".self_attn.convs.1."),
        (".value.", ".self_attn.convs.2."),
        (".attention_norm.", ".residual_self_attn.norm."),
        (".project.", ".self_attn.linear."),
        (".feed_forward_norm.", ".residual_ff.norm."),
        (".feed_forward.0.", ".feed_forward.w_1."),
        (".feed_forward.3.", ".feed_forward.w_2."),
    ):
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize(("rate", "width"), [(100, 80), (125, 100)])
@pytest.mark.parametrize("unused", [False, True])
def test_logits_equal_braindecodes_with_its_weights(braindecode_attnsleep, rate: int, width: int, unused: bool) -> None:
    """The port applies the attention's norm and torch's layer norm: two of three quirks are off, in both settings."""
    theirs = braindecode_attnsleep(
        sfreq=rate, n_times=30 * rate, n_outputs=5, n_chans=1, d_model=width, input_window_seconds=30
    ).eval()
    disturbed(theirs)
    ours = network(sample_rate=float(rate), unused_convolutions=unused)
    weights = theirs.state_dict()
    ours.load_state_dict({name: weights[braindecode_name(name)] for name in ours.state_dict()})
    if unused:
        assert count_parameters(ours) == count_parameters(theirs)
    ours, theirs = ours.double(), theirs.double()  # in float32 the two round apart by up to 1e-3 on such weights
    x = 3 * epochs(ours, 1, 2).double()
    with torch.inference_mode():
        expected = theirs(x.flatten(0, 1)).unflatten(0, (1, 2))
        assert (expected[0, 0] - expected[0, 1]).abs().min() > 1e-3  # the logits say something about the input
        torch.testing.assert_close(ours(x), expected, rtol=1e-9, atol=1e-9)


def test_each_epoch_gets_its_own_logits_wherever_it_stands() -> None:
    model = disturbed(network(n_filters=8)).double()
    x = epochs(model, 2, 3).double()
    with torch.inference_mode():
        logits = model(x)
        for window in range(2):
            for place in range(3):
                alone = model(x[window, place][None, None])
                torch.testing.assert_close(logits[window, place], alone[0, 0], rtol=1e-9, atol=1e-9)


class TestQuirks:
    def test_the_ignored_norm_has_no_effect_and_no_gradient_and_by_default_it_has_both(self) -> None:
        for ignored in (True, False):
            model = disturbed(network(ignored_norm=ignored, n_filters=8))
            x = epochs(model)
            before = model(x)
            before.square().sum().backward()
            norm = model.encoder.layers[0].attention_norm
            assert (norm.weight.grad is None) == ignored
            with torch.no_grad():
                norm.weight.mul_(3)
            assert torch.equal(model(x), before) == ignored

    def test_the_unused_convolution_exists_only_when_asked_for_and_changes_nothing(self) -> None:
        with_unused, without = network(unused_convolutions=True), network()
        assert without.encoder.layers[0].unused is None
        without.load_state_dict({k: v for k, v in with_unused.state_dict().items() if ".unused." not in k})
        x = epochs(without)
        with torch.inference_mode():
            assert torch.equal(with_unused(x), without(x))

    def test_the_unbiased_norm_divides_by_n_minus_1_and_torchs_by_n(self) -> None:
        x = torch.randn(4, 80)
        centred = x - x.mean(dim=-1, keepdim=True)
        by_n_minus_1 = centred / (centred.square().sum(dim=-1, keepdim=True) / 79).sqrt()
        torch.testing.assert_close(UnbiasedLayerNorm(80)(x), by_n_minus_1, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network().encoder.norm(x), by_n_minus_1 * math.sqrt(80 / 79), rtol=1e-4, atol=1e-5)
        assert isinstance(network(unbiased_norm=True).encoder.norm, UnbiasedLayerNorm)

    def test_the_residual_stream_is_the_convolved_query(self) -> None:
        layer = network().encoder.layers[0]
        with torch.no_grad():
            for linear in (layer.project, layer.feed_forward[3]):
                linear.weight.zero_()
                linear.bias.zero_()
        x = torch.randn(2, 30, 80)
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), layer.query(x))

    def test_branches_lie_one_after_the_other_or_on_one_grid(self) -> None:
        x = torch.randn(1, 1, 3000)
        for branches, shape in (("time", (1, 128, 80)), ("channel", (1, 256, 80))):
            front_end = network(branches=branches).front_end
            with torch.inference_mode():
                frames, wide = front_end(x), front_end.wide(x)
            assert frames.shape == shape
            if branches == "time":
                assert torch.equal(frames[:, :, 64:], wide)

    def test_on_one_grid_a_change_at_the_end_of_the_epoch_changes_only_late_frames(self) -> None:
        x = torch.randn(1, 1, 3000)
        changed = x.clone()
        changed[..., 2700:] += 5
        with torch.inference_mode():
            differ = {
                b: (network(branches=b).front_end(x) != network(branches=b).front_end(changed)).any(dim=1)[0].nonzero()
                for b in ("time", "channel")
            }
        assert differ["channel"].min() > 40  # the wide branch reaches 9 s back
        late_in_small = differ["time"][differ["time"] < 64]
        assert late_in_small.min() > 50
        assert differ["time"].max() == 79  # and again, in the wide branch behind the seam

    @pytest.mark.parametrize(("tokens", "shape"), [("channel", (30, 30)), ("time", (80, 80))])
    @pytest.mark.parametrize("encoder", ["tce", "conformer"])
    def test_the_attention_is_over_features_as_published_or_over_frames(self, encoder, tokens, shape) -> None:
        model = network(tokens=tokens, temporal_encoder=encoder)
        maps = []
        for name, module in model.named_modules():
            if name.endswith("attention_weights"):
                module.register_forward_hook(lambda module, inputs, output: maps.append(output))
        with torch.inference_mode():
            model(epochs(model))
        assert [m.shape for m in maps] == [(4, 5, *shape)] * 2
        torch.testing.assert_close(maps[0].sum(dim=-1), torch.ones(4, 5, shape[0]))


class TestConformer:
    def test_a_block_has_two_half_steps_attention_and_a_depthwise_convolution(self) -> None:
        block = network(temporal_encoder="conformer").encoder.blocks[0]
        assert block.first_feed_forward[1].out_features == block.last_feed_forward[1].out_features == 320
        assert block.convolution.layers[2].groups == 80
        assert block.convolution.layers[2].kernel_size == (7,)

    def test_a_feed_forward_step_counts_half(self) -> None:
        block = network(temporal_encoder="conformer").encoder.blocks[0]
        with torch.no_grad():
            for layer in (block.attention[1].project, block.convolution.layers[5]):
                layer.weight.zero_()
                layer.bias.zero_()
        x = torch.randn(2, 30, 80)
        with torch.inference_mode():
            half = x + block.first_feed_forward(x) / 2
            torch.testing.assert_close(block(x), block.norm(half + block.last_feed_forward(half) / 2))

    def test_the_attention_knows_the_distance_between_tokens(self) -> None:
        torch.manual_seed(1)
        attention = RelativeAttention(n_tokens=6, width=8, n_heads=2, dropout=0.0)
        with torch.no_grad():
            attention.content_bias.normal_()
            attention.distance_bias.normal_()
        maps = []
        attention.attention_weights.register_forward_hook(lambda module, inputs, output: maps.append(output))
        x = torch.randn(1, 6, 8)
        table = dict(zip(range(5, -6, -1), sinusoids(6, 8), strict=True))
        with torch.inference_mode():
            attention(x)
            scores = torch.empty(2, 6, 6)
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                for i in range(6):
                    for j in range(6):
                        query = attention.query(x[0, i])[part]
                        by_content = (query + attention.content_bias[head, 0]) @ attention.key(x[0, j])[part]
                        distance = attention.distance(table[i - j])[part]
                        scores[head, i, j] = by_content + (query + attention.distance_bias[head, 0]) @ distance
        torch.testing.assert_close(maps[0][0], (scores / 2).softmax(dim=-1))

    def test_equal_tokens_are_told_apart_by_their_place(self) -> None:
        table = sinusoids(4, 6)
        assert table.shape == (7, 6)
        torch.testing.assert_close(table[3], torch.tensor([0.0, 1, 0, 1, 0, 1]))
        torch.testing.assert_close(table[2, :2], torch.tensor([math.sin(1), math.cos(1)]))


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(options.values()))
class TestEveryVariant:
    def test_one_examples_output_never_depends_on_its_batch_mates(self, options: dict) -> None:
        model = disturbed(network(**options, n_filters=8)).double()
        x = epochs(model, 2, 1).double()
        changed = torch.stack([x[0], 10 * x[1] + 3])
        with torch.inference_mode():
            before, after, alone = model(x), model(changed), model(x[:1])
            as_context = model(x.transpose(0, 1)).transpose(0, 1)
        exact = {"rtol": 1e-9, "atol": 1e-9}
        torch.testing.assert_close(after[0], before[0], **exact)
        torch.testing.assert_close(alone[0], before[0], **exact)
        torch.testing.assert_close(as_context, before, **exact)
        assert (after[1] - before[1]).abs().max() > 1e-3

    def test_gradients_reach_every_parameter_with_channels_and_stages_of_ones_choice(self, options: dict) -> None:
        model = network(**options, n_channels=2, n_stages=4, n_filters=8).train()
        logits = model(epochs(model, 1, 4))
        assert logits.shape == (1, 4, 4)
        logits.square().sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("front_end", ["msp", "msp-crnn"])
def test_the_other_front_ends_take_125_hz_too(front_end: str) -> None:
    model = network(front_end=front_end, sample_rate=125.0)
    with torch.inference_mode():
        assert model(epochs(model, 1, 1)).shape == (1, 1, 5)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_each_preset_saves_and_loads_and_survives_json(preset: str) -> None:
    config = Config(**json.loads(json.dumps(dataclasses.asdict(PRESETS[preset]))))
    assert config == PRESETS[preset]
    model, other = create_model("attnsleep", preset=preset).eval(), Model(config).eval()
    other.load_state_dict(model.state_dict())
    x = epochs(model, 1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)


def test_spectral_and_weight_norm_are_where_they_were_published() -> None:
    front_end = network(front_end="msp", weight_norm=True).front_end
    kinds = [type(conv.parametrizations.weight[0]).__name__ for conv in front_end.scales[0] if hasattr(conv, "stride")]
    assert kinds == ["_SpectralNorm"] * 5
    others = [c for stack in (*front_end.scales[1:], *front_end.period_stacks) for c in stack if hasattr(c, "stride")]
    assert {type(conv.parametrizations.weight[0]).__name__ for conv in others} == {"_WeightNorm"}


def test_convolutions_start_as_in_the_official_code() -> None:
    model = network()
    assert model.front_end.small[5].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.front_end.small[6].weight.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 256.0}, "100.0, 125.0"),
        ({"front_end": "cnn"}, "mrcnn, msp, msp-crnn"),
        ({"temporal_encoder": "lstm"}, "tce, conformer"),
        ({"n_heads": 7}, "80"),
        ({"epoch_s": 0.03, "front_end": "msp"}, "too short"),
        ({"epoch_s": 0.015}, "whole number"),
        ({"dropout": 1.0}, "dropout"),
        ({"front_end": "msp", "periods": ()}, "periods"),
        ({"front_end": "msp", "branches": "channel"}, "mrcnn"),
        ({"weight_norm": True}, "msp"),
        ({"temporal_encoder": "conformer", "ignored_norm": True}, "tce"),
    ],
)
def test_what_cannot_be_or_would_have_no_effect_is_refused(options: dict, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        Config(**options)
