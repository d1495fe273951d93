"""DeepSleepNet: the published sizes, the two independent directions, and the official code's quirks, on and off."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.deepsleepnet import PRESETS, Config, Lstm, Pretraining, Representation  # noqa: E402

SMALL = {"first_filters": 4, "filters": 4, "units": 4}


def network(**options):
    torch.manual_seed(0)
    return with_statistics(create_model("deepsleepnet", **{**SMALL, **options}).eval())


def with_statistics(model):
    """Give the network normalisation statistics as after training, so that they do something."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model


def night(n_epochs: int, *, n_windows: int = 2, n_samples: int = 3000):
    return torch.randn((n_windows, n_epochs, 1, n_samples), generator=torch.Generator().manual_seed(1))


class TestPublishedSizes:
    """Counts and lengths of specs/models.md A.1."""

    def test_the_network_has_22_65_million_parameters(self) -> None:
        model = create_model("deepsleepnet", preset="paper")
        assert count_parameters(model.representation) == 604_032
        assert count_parameters(model.forward_stack) + count_parameters(model.backward_stack) == 18_888_704
        assert count_parameters(model.shortcut) + count_parameters(model.shortcut_norm) == 3_147_776
        assert count_parameters(model.output) == 5_125
        assert count_parameters(model) == 604_032 + 18_888_704 + 3_147_776 + 5_125 == 22_645_637

    def test_peepholes_are_three_values_for_each_of_2048_units(self) -> None:
        with torch.device("meta"):
            counts = [count_parameters(create_model("deepsleepnet", peepholes=on)) for on in (True, False)]
        assert counts == [22_645_637, 22_645_637 - 3 * 2048]

    def test_pretraining_adds_a_softmax_of_15365(self) -> None:
        model = Pretraining(Config())
        assert count_parameters(model.output) == 15_365
        assert count_parameters(model) == 604_032 + 15_365

    def test_the_branches_at_256_hz_have_648960_parameters(self) -> None:
        assert count_parameters(Representation(Config(sample_rate=256.0))) == 648_960

    @pytest.mark.parametrize(
        ("sample_rate", "small", "large", "n_features"),
        [
            (100.0, [500, 63, 63, 63, 63, 16], [60, 15, 15, 15, 15, 8], 3072),
            (125.0, [536, 67, 67, 67, 67, 17], [61, 16, 16, 16, 16, 8], 3200),
            (128.0, [480, 60, 60, 60, 60, 15], [60, 15, 15, 15, 15, 8], 2944),
            (200.0, [500, 63, 63, 63, 63, 16], [60, 15, 15, 15, 15, 8], 3072),
            (256.0, [480, 60, 60, 60, 60, 15], [60, 15, 15, 15, 15, 8], 2944),
        ],
    )
    def test_lengths_and_features_follow_the_sample_rate(self, sample_rate, small, large, n_features) -> None:
        config = Config(sample_rate=sample_rate)
        representation = Representation(config)
        for branch, lengths in ((representation.small, small), (representation.large, large)):
            x, found = night(1, n_windows=1, n_samples=config.n_samples)[0], []
            for layer in list(branch)[:-1]:
                x = layer(x)
                if not isinstance(layer, torch.nn.Dropout):
                    found.append(x.shape[-1])
            assert found == lengths
        assert representation.n_features == n_features
        x = night(1, n_windows=1, n_samples=config.n_samples)
        assert representation(x).shape == (1, 1, n_features)

    @pytest.mark.parametrize(
        ("sample_rate", "small", "large"), [(100.0, (50, 6), (400, 50)), (256.0, (128, 16), (1024, 128))]
    )
    def test_first_filters_and_strides_are_the_published_ones(self, sample_rate, small, large) -> None:
        representation = Representation(Config(sample_rate=sample_rate))
        for branch, expected in ((representation.small, small), (representation.large, large)):
            first = next(m for m in branch.modules() if isinstance(m, torch.nn.Conv1d))
            assert (first.kernel_size[0], first.stride[0]) == expected
            assert branch.first_filters is first.weight

    def test_padding_at_100_hz_is_the_published_one(self) -> None:
        representation = Representation(Config())
        for branch, expected in (
            (representation.small, [(22, 22), (2, 2), (3, 4), (3, 4), (3, 4), (0, 1)]),
            (representation.large, [(175, 175), (0, 0), (2, 3), (2, 3), (2, 3), (0, 1)]),
        ):
            found = [m.padding for m in branch.modules() if isinstance(m, torch.nn.ConstantPad1d)]
            assert found == expected

    def test_batch_normalisation_is_the_official_one(self) -> None:
        norms = [m for m in network().modules() if isinstance(m, torch.nn.BatchNorm1d)]
        assert [(norm.momentum, norm.eps) for norm in norms] == [(0.001, 1e-5)] * 9


class TestSequencePart:
    def test_it_equals_an_explicit_computation_with_two_independent_stacks(self) -> None:
        """Oracle: `torch.nn.LSTM` of two layers, once for each direction, and the sum written out."""
        model, x = network(), night(6)
        features = model.representation(x)
        found = []
        for stack, given in ((model.forward_stack, features), (model.backward_stack, features.flip(1))):
            lstm = torch.nn.LSTM(features.shape[-1], 4, num_layers=2, batch_first=True)
            for index, layer in enumerate(stack.layers):
                for name, value in layer.lstm.state_dict().items():
                    lstm.state_dict()[name.replace("l0", f"l{index}")].copy_(value)
            found.append(lstm(given)[0])
        norm = model.shortcut_norm
        shortcut = features @ model.shortcut.weight.T
        shortcut = (shortcut - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        both = torch.cat([found[0], found[1].flip(1)], dim=-1) + shortcut.clamp(min=0)
        expected = both @ model.output.weight.T + model.output.bias
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)

    def test_layer_two_of_a_direction_does_not_see_the_other(self) -> None:
        model, x = network(), night(6)
        before = model.cell_states(x)
        torch.nn.init.normal_(model.backward_stack.layers[0].lstm.weight_ih_l0)
        after = model.cell_states(x)
        torch.testing.assert_close(after[:, :, 0], before[:, :, 0], rtol=0, atol=0)
        assert not torch.allclose(after[:, :, 1, 1], before[:, :, 1, 1])

    def test_the_past_and_the_future_change_an_epoch(self) -> None:
        model, x = network(), night(5)
        for place in (0, 4):
            changed = x.clone()
            changed[:, place] *= 3
            assert not torch.equal(model(changed)[:, 2], model(x)[:, 2])

    def test_peepholes_of_zero_equal_the_fused_lstm(self) -> None:
        torch.manual_seed(0)
        plain, peeping = Lstm(6, 4, peepholes=False), Lstm(6, 4, peepholes=True)
        peeping.load_state_dict(plain.state_dict(), strict=False)
        torch.nn.init.zeros_(peeping.peephole)
        x, state = torch.randn(3, 7, 6), torch.randn(2, 3, 4)
        for one, other in zip(peeping(x, state), plain(x, state), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)

    def test_peepholes_show_old_cells_to_two_gates_and_the_new_cell_to_the_third(self) -> None:
        layer = Lstm(1, 1, peepholes=True)
        for parameter in (layer.lstm.weight_ih_l0, layer.lstm.weight_hh_l0, layer.lstm.bias_ih_l0):
            torch.nn.init.zeros_(parameter)
        torch.nn.init.constant_(layer.lstm.bias_ih_l0[2:3].detach(), 0.7)
        layer.peephole.data = torch.tensor([[1.0], [2.0], [3.0]])
        outputs, state = layer(torch.zeros(1, 1, 1), torch.tensor([[[0.0]], [[0.5]]]))
        old = torch.tensor(0.5)
        cell = torch.sigmoid(2 * old) * old + torch.sigmoid(old) * torch.tanh(torch.tensor(0.7))
        torch.testing.assert_close(state[1, 0, 0], cell)
        torch.testing.assert_close(outputs[0, 0, 0], torch.sigmoid(3 * cell) * torch.tanh(cell))

    @pytest.mark.parametrize("peepholes", [False, True])
    def test_cells_end_at_the_carried_state(self, peepholes: bool) -> None:
        model, x = network(peepholes=peepholes), night(5)
        cells, state = model.cell_states(x), model.run(x)[1]
        assert cells.shape == (2, 5, 2, 2, 4)
        assert state.shape == (2, 2, 2, 2, 4)
        for layer in (0, 1):
            torch.testing.assert_close(cells[:, -1, 0, layer], state[0, layer, 1], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(cells[:, 0, 1, layer], state[1, layer, 1], rtol=1e-4, atol=1e-5)

    def test_gradients_reach_every_parameter_with_peepholes(self) -> None:
        model = network(peepholes=True).train()
        model(night(6)).square().sum().backward()
        assert [name for name, p in model.named_parameters() if p.requires_grad and not p.grad.any()] == []


class TestStateOverANight:
    def test_the_forward_half_in_pieces_equals_the_whole_night(self) -> None:
        model, x = network(), night(12)
        whole = model.cell_states(x)[:, :, 0]
        state, found = None, []
        for piece in x.split(5, dim=1):
            found.append(model.cell_states(piece, state)[:, :, 0])
            state = model.run(piece, state)[1]
        torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=1e-4, atol=1e-5)

    def test_a_reset_backward_state_sees_only_its_own_context(self) -> None:
        model, x = network(bw_state="reset"), night(10)
        state = model.run(x[:, :5])[1]
        fresh, later = model.cell_states(x[:, 5:]), model.cell_states(x[:, 5:], state)
        torch.testing.assert_close(later[:, :, 1], fresh[:, :, 1], rtol=0, atol=0)
        assert not torch.allclose(later[:, :, 0], fresh[:, :, 0])

    def test_a_carried_backward_state_starts_from_the_first_epoch_of_the_context_before(self) -> None:
        model, x = network(bw_state="carry"), night(10)
        state = model.run(x[:, :5])[1]
        # What the official code computes: the reversed second context right after the reversed first.
        glued = torch.cat([x[:, 5:], x[:, :5]], dim=1)
        expected = network(bw_state="reset").cell_states(glued)[:, :5, 1]
        torch.testing.assert_close(model.cell_states(x[:, 5:], state)[:, :, 1], expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model.run(x[:, 5:], state)[0], network().run(x[:, 5:], state)[0], atol=1e-4)

    def test_without_a_state_both_settings_are_equal(self) -> None:
        x = night(5)
        assert torch.equal(network(bw_state="carry")(x), network(bw_state="reset")(x))

    def test_reset_is_the_default(self) -> None:
        assert Config().bw_state == PRESETS["paper"].bw_state == "reset"
        assert PRESETS["official"].bw_state == "carry"


class TestOtherQuirks:
    def test_the_penalty_covers_both_first_layers_as_in_the_paper(self) -> None:
        model = network()
        small, large = (branch.first_filters for branch in (model.representation.small, model.representation.large))
        expected = (small.square().sum() + large.square().sum()) / 2
        torch.testing.assert_close(model.weight_penalty(), expected)

    def test_the_penalty_covers_the_small_filters_alone_as_in_the_official_code(self) -> None:
        for model in (network(l2_first_layers="small"), Pretraining(Config(l2_first_layers="small", **SMALL))):
            expected = model.representation.small.first_filters.square().sum() / 2
            torch.testing.assert_close(model.weight_penalty(), expected)

    def test_filters_for_100_hz_can_be_kept_at_256_hz(self) -> None:
        derived, fixed = (Representation(Config(sample_rate=256.0, kernel_sample_rate=rate)) for rate in (None, 100.0))
        assert (derived.small.first_filters.shape[-1], derived.large.first_filters.shape[-1]) == (128, 1024)
        assert (fixed.small.first_filters.shape[-1], fixed.large.first_filters.shape[-1]) == (50, 400)
        # 7680 → 1280 → 160 → 40 and 7680 → 154 → 39 → 20.
        assert (derived.n_features, fixed.n_features) == (2944, 128 * (40 + 20))
        assert fixed(night(1, n_windows=1, n_samples=7680)).shape == (1, 1, 7680)


class TestPretraining:
    def test_each_epoch_is_scored_by_itself(self) -> None:
        torch.manual_seed(0)
        model, x = with_statistics(Pretraining(Config(**SMALL)).eval()), night(4)
        assert model(x).shape == (2, 4, 5)
        torch.testing.assert_close(model(x)[:, 2:3], model(x[:, 2:3]), rtol=1e-4, atol=1e-5)

    def test_its_branches_move_into_the_network_with_their_statistics(self) -> None:
        torch.manual_seed(0)
        first, model, x = with_statistics(Pretraining(Config(**SMALL)).eval()), network(), night(2)
        assert not torch.allclose(model.representation(x), first.representation(x))
        model.representation.load_state_dict(first.representation.state_dict())
        assert torch.equal(model.representation(x), first.representation(x))


class TestArithmetic:
    def test_same_convolution_and_pool_equal_sums_over_each_place(self) -> None:
        branch, x = network().representation.large, night(1)[:, 0]
        convolution, norm = branch[0][1], branch[0][2]
        padded = functional.pad(x, (175, 175))
        places = padded.unfold(-1, 400, 50)
        found = torch.einsum("bilk,oik->bol", places, convolution.weight)
        found = (found - norm.running_mean[:, None]) / (norm.running_var[:, None] + 1e-5).sqrt()
        found = (found * norm.weight[:, None] + norm.bias[:, None]).clamp(min=0)
        torch.testing.assert_close(branch[0](x), found, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(branch[1](branch[0](x)), found.unfold(-1, 4, 4).amax(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_an_exported_network_takes_any_context_and_equals_torch(peepholes: bool, tmp_path) -> None:
    for needed in ("onnx", "onnxscript"):
        pytest.importorskip(needed)
    runtime = pytest.importorskip("onnxruntime")
    model, path, names = network(peepholes=peepholes), tmp_path / "model.onnx", {"input_names": ["x"]}
    shape = ({0: torch.export.Dim("window"), 1: torch.export.Dim("context")},)
    torch.onnx.export(model, (night(4),), path, dynamo=True, dynamic_shapes=shape, verbose=False, **names)
    session = runtime.InferenceSession(path)
    assert [isinstance(size, str) for size in session.get_outputs()[0].shape] == [True, True, False]
    with torch.inference_mode():
        for n_windows, context in ((2, 4), (3, 7), (1, 1)):
            x = night(context, n_windows=n_windows)
            (found,) = session.run(None, {"x": x.numpy()})
            torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=1e-4, atol=1e-4)


class TestRefusals:
    def test_epochs_of_another_length_are_refused_with_both_lengths(self) -> None:
        with pytest.raises(HypnographError, match=r"3840 samples.*3000"):
            network()(night(1, n_samples=3840))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"bw_state": "keep"},
            {"l2_first_layers": "none"},
            {"kernel_sample_rate": 8.0},
            {"sample_rate": float("nan")},
            {"epoch_s": 0.0},
            {"dropout": 1.0},
            {"n_layers": 0},
        ],
    )
    def test_impossible_values_are_refused(self, wrong: dict) -> None:
        with pytest.raises(HypnographError, match=next(iter(wrong))):
            Config(**wrong)
