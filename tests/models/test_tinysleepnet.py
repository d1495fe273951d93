"""TinySleepNet: the published sizes, and a night staged at once, in pieces and as it happens."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters, create_model  # noqa: E402
from hypnograph.models.tinysleepnet import Config, Lstm, Representation  # noqa: E402


def network(**options):
    torch.manual_seed(0)
    model = create_model("tinysleepnet", **{"filters": 8, "units": 8, **options}).eval()
    # Statistics as after training, so that normalisation does something.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model


def night(n_epochs: int, *, n_windows: int = 2, n_samples: int = 3000):
    return torch.randn((n_windows, n_epochs, 1, n_samples), generator=torch.Generator().manual_seed(1))


def same_convolution(x, weight, stride: int):
    """TensorFlow's "SAME" convolution as a sum over each place: an oracle that shares no code with the network."""
    size, length = weight.shape[-1], x.shape[-1]
    places = -(-length // stride)
    total = max((places - 1) * stride + size - length, 0)
    padded = functional.pad(x, (total // 2, total - total // 2))
    columns = torch.stack([padded[..., i * stride : i * stride + size] for i in range(places)], dim=2)
    return torch.einsum("bilk,oik->bol", columns, weight)


class TestPublishedSizes:
    """Counts of specs/models.md B.1, the length arithmetic of TensorFlow's "SAME"."""

    def test_the_network_with_peepholes_has_1516293_parameters(self) -> None:
        model = create_model("tinysleepnet", preset="paper")
        assert count_parameters(model) == 1_516_293
        assert count_parameters(model.representation) == 400_640
        assert count_parameters(model.lstm) == 1_115_008
        assert count_parameters(model.output) == 645

    def test_without_peepholes_it_lacks_three_values_a_unit(self) -> None:
        assert count_parameters(create_model("tinysleepnet")) == 1_516_293 - 3 * 128

    def test_an_epoch_at_100_hz_becomes_2048_features(self) -> None:
        assert Representation(Config()).n_features == 2048
        assert Representation(Config())(night(2)).shape == (2, 2, 2048)

    def test_lengths_at_100_hz_are_500_63_and_16(self) -> None:
        lengths, x = [], night(1)[0]
        for layer in Representation(Config()).layers:
            x = layer(x)
            lengths.append(x.shape[-1])
        assert lengths[:7] == [500, 63, 63, 63, 63, 63, 16]

    @pytest.mark.parametrize("sample_rate", [100.0, 125.0, 128.0, 200.0, 256.0])
    @pytest.mark.parametrize("epoch_s", [20.0, 30.0])
    def test_any_sample_rate_and_epoch_of_the_published_datasets_works(
        self, sample_rate: float, epoch_s: float
    ) -> None:
        model = network(sample_rate=sample_rate, epoch_s=epoch_s)
        assert model(night(2, n_samples=round(sample_rate * epoch_s))).shape == (2, 2, 5)

    def test_batch_normalisation_is_the_official_one(self) -> None:
        norms = [m for m in network().modules() if isinstance(m, torch.nn.BatchNorm1d)]
        assert [(norm.momentum, norm.eps) for norm in norms] == [(0.01, 1e-3)] * 4


class TestArithmetic:
    def test_the_branch_equals_explicit_same_convolutions_and_pools(self) -> None:
        representation = network().representation
        x = night(1)[:, 0]
        convolutions = [m for m in representation.modules() if isinstance(m, torch.nn.Conv1d)]
        norms = [m for m in representation.modules() if isinstance(m, torch.nn.BatchNorm1d)]
        for index, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
            x = same_convolution(x, convolution.weight, 6 if index == 0 else 1)
            x = (x - norm.running_mean[:, None]) / (norm.running_var[:, None] + 1e-3).sqrt()
            x = (x * norm.weight[:, None] + norm.bias[:, None]).clamp(min=0)
            if index == 0:
                # 500 values need 63 × 8 = 504: two more on either side.
                x = functional.pad(x, (2, 2)).unfold(-1, 8, 8).amax(-1)
        # 63 values need 16 × 4 = 64: one more on the right.
        x = functional.pad(x, (0, 1)).unfold(-1, 4, 4).amax(-1)
        torch.testing.assert_close(representation(night(1))[:, 0], x.flatten(1), rtol=1e-4, atol=1e-5)

    def test_peepholes_of_zero_equal_the_fused_lstm(self) -> None:
        torch.manual_seed(0)
        plain, peeping = Lstm(6, 4, peepholes=False), Lstm(6, 4, peepholes=True)
        peeping.load_state_dict(plain.state_dict(), strict=False)
        torch.nn.init.zeros_(peeping.peephole)
        x, state = torch.randn(3, 7, 6), torch.randn(2, 3, 4)
        for one, other in zip(peeping(x, state), plain(x, state), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)

    def test_peepholes_show_old_cells_to_two_gates_and_the_new_cell_to_the_third(self) -> None:
        torch.manual_seed(0)
        layer = Lstm(1, 1, peepholes=True)
        for parameter in (layer.lstm.weight_ih_l0, layer.lstm.weight_hh_l0, layer.lstm.bias_ih_l0):
            torch.nn.init.zeros_(parameter)
        layer.peephole.data = torch.tensor([[1.0], [2.0], [3.0]])
        outputs, state = layer(torch.zeros(1, 1, 1), torch.tensor([[[0.0]], [[0.5]]]))
        # Nothing arrives and the new value is tanh(0) = 0, so the cell is sigmoid(2 × 0.5) × 0.5.
        cell = 0.5 * torch.sigmoid(torch.tensor(1.0))
        torch.testing.assert_close(state[1, 0, 0], cell)
        torch.testing.assert_close(outputs[0, 0, 0], torch.sigmoid(3 * cell) * torch.tanh(cell))

    def test_the_forget_gate_starts_open_and_no_other(self) -> None:
        bias = Lstm(6, 4, peepholes=True).lstm.bias_ih_l0
        assert bias.tolist() == [0] * 4 + [1] * 4 + [0] * 8

    def test_the_penalty_is_half_the_squares_of_all_four_convolutions(self) -> None:
        model = network()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv1d):
                torch.nn.init.constant_(module.weight, 2.0)
        assert model.weight_penalty().item() == 2 * (8 * 50 + 3 * 8 * 8 * 8)


@pytest.mark.parametrize("peepholes", [False, True])
class TestANightInPieces:
    """The oracle is the whole night at once."""

    def test_one_epoch_in_one_stage_out_equals_the_whole_night(self, peepholes: bool) -> None:
        model, x = network(peepholes=peepholes), night(40)
        state, found = None, []
        with torch.inference_mode():
            for epoch in x.unbind(1):
                logits, state = model.step(epoch, state)
                assert logits.shape == (2, 5)
                found.append(logits)
            torch.testing.assert_close(torch.stack(found, dim=1), model(x), rtol=1e-4, atol=1e-5)

    def test_contexts_with_a_carried_state_equal_the_whole_night(self, peepholes: bool) -> None:
        model, x = network(peepholes=peepholes), night(50)
        state, found = None, []
        with torch.inference_mode():
            for piece in x.split(20, dim=1):
                logits, state = model.run(piece, state)
                found.append(logits)
            torch.testing.assert_close(torch.cat(found, dim=1), model(x), rtol=1e-4, atol=1e-5)

    def test_contexts_without_the_state_do_not(self, peepholes: bool) -> None:
        model, x = network(peepholes=peepholes), night(8)
        with torch.inference_mode():
            assert not torch.allclose(model(x[:, 4:]), model(x)[:, 4:], atol=1e-3)

    def test_the_first_epochs_do_not_see_the_last(self, peepholes: bool) -> None:
        model, x = network(peepholes=peepholes), night(8)
        changed = x.clone()
        changed[:, 5:] += 10
        with torch.inference_mode():
            torch.testing.assert_close(model(changed)[:, :5], model(x)[:, :5], rtol=1e-4, atol=1e-5)
            assert not torch.allclose(model(changed)[:, 5:], model(x)[:, 5:], atol=1e-3)

    def test_cells_end_at_the_carried_state(self, peepholes: bool) -> None:
        model, x = network(peepholes=peepholes), night(8)
        with torch.inference_mode():
            cells = model.cell_states(x)
            assert cells.shape == (2, 8, 8)
            torch.testing.assert_close(cells[:, -1], model.run(x)[1][1], rtol=1e-4, atol=1e-5)

    def test_gradients_reach_every_parameter(self, peepholes: bool) -> None:
        model = network(peepholes=peepholes).train()
        model(night(4)).square().sum().backward()
        assert all(p.grad.any() for p in model.parameters() if p.requires_grad)


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

    @pytest.mark.parametrize("wrong", [{"sample_rate": 10.0}, {"epoch_s": 0.0}, {"dropout": 1.0}, {"units": 0}])
    def test_impossible_values_are_refused(self, wrong: dict) -> None:
        with pytest.raises(HypnographError, match=next(iter(wrong))):
            Config(**wrong)
