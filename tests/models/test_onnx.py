"""What is exported equals torch for any number of windows and any context; oracle: ONNX Runtime beside torch."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.model_info import ModelInfo  # noqa: E402
from hypnograph.models import architectures, create_model  # noqa: E402
from hypnograph.onnx_export import export_graph  # noqa: E402
from hypnograph.preprocess import InputSpec  # noqa: E402

SIZES = ((1, 1), (2, 3), (1, 17))
"""Windows and context; none is what the graph is made with."""
# From the sixth level on, 480 samples an epoch are odd where the context is.
ODD = {"preset": "small", "depth": 7, "initial_width": 2, "sample_rate": 16.0}
VARIANTS = {
    **{name: {"preset": "small" if "small" in a.PRESETS else "default"} for name, a in architectures().items()},
    "usleep default": {},
    "usleep official": ODD | {"odd_lengths": "official"},
    "usleep cropped-end": ODD | {"odd_lengths": "cropped-end", "sub_epochs": 2},
    "utime cropped": {"preset": "small", "lengths": "cropped", "sample_rate": 100.0},
    "utime padded": {"preset": "small", "sample_rate": 100.0, "sub_epochs": 10},
    "tinysleepnet peepholes": {"preset": "small", "peepholes": True},
    "deepsleepnet peepholes": {"preset": "small", "peepholes": True},
    "sleepgpt-lstm many_to_one": {"preset": "small", "many_to_one": True, "history": 4},
    "attnsleep msp-crnn": {"preset": "small", "front_end": "msp-crnn"},
}
CARRYING = ("sleepgpt-lstm", "tinysleepnet", "tinysleepnet peepholes")


def noise(*shape: int, seed: int = 1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spread(model):
    """Give batch normalisation values as after training, and no two parameters the same value."""
    generator = torch.Generator().manual_seed(2)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif value.is_floating_point() and value.ndim == 1:
            value.add_(torch.empty_like(value).uniform_(-0.2, 0.2, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a variant's network and its ONNX session; each is exported once."""
    made = {}

    def of(variant: str):
        if variant not in made:
            torch.manual_seed(0)
            model = spread(create_model(variant.split(maxsplit=1)[0], **VARIANTS[variant]))
            path = tmp_path_factory.mktemp("onnx") / "model.onnx"
            export_graph(model, path, metadata={"about": variant})
            made[variant] = model, runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return made[variant]

    return of


def run(session, x, state=None) -> list[np.ndarray]:
    """Return what the file gives; its state is zeros if none is given."""
    given = {"signals": x.numpy()}
    if len(session.get_inputs()) > 1:
        shape = [size if isinstance(size, int) else len(x) for size in session.get_inputs()[1].shape]
        given["state"] = np.zeros(shape, dtype=np.float32) if state is None else state
    return session.run(None, given)


def night(model, context: int, *, n_windows: int = 1):
    config = model.config
    return noise(n_windows, context, config.n_channels, round(config.sample_rate * config.epoch_s))


@pytest.mark.parametrize("variant", VARIANTS)
class TestEachNetwork:
    def test_the_file_gives_torchs_logits_for_any_context_and_number_of_windows(self, exported, variant: str) -> None:
        model, session = exported(variant)
        for n_windows, context in SIZES:
            x = night(model, context, n_windows=n_windows)
            with torch.inference_mode():
                expected = model(x)
            assert expected.std() > 1e-4  # else anything would be equal
            torch.testing.assert_close(torch.from_numpy(run(session, x)[0]), expected, rtol=0, atol=1e-4)

    def test_its_axes_are_named_and_free(self, exported, variant: str) -> None:
        model, session = exported(variant)
        signals, *state = session.get_inputs()
        assert signals.name == "signals"
        assert signals.shape == ["window", "context", *night(model, 1).shape[2:]]
        assert [node.name for node in session.get_outputs()] == ["logits", "next_state"][: 1 + len(state)]
        assert session.get_outputs()[0].shape[:2] == ["window", "context"]
        assert bool(state) == (variant in CARRYING)
        assert session.get_modelmeta().custom_metadata_map == {"about": variant}

    def test_it_has_no_loops_and_no_branches(self, exported, variant: str) -> None:
        session = exported(variant)[1]
        graph = onnx.load(session._model_path).graph
        assert not {"Loop", "Scan", "If", "SequenceAt"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("variant", CARRYING)
class TestOnline:
    @pytest.mark.parametrize("lengths", [(4, 1, 6), (1,) * 11])
    def test_the_pieces_of_a_night_give_the_whole_nights_logits(self, exported, variant: str, lengths) -> None:
        """Oracle: torch on the whole night."""
        model, session = exported(variant)
        x = night(model, sum(lengths), n_windows=2)
        pieces, state = [], None
        for piece in x.split(lengths, dim=1):
            logits, state = run(session, piece, state)
            pieces.append(torch.from_numpy(logits))
        with torch.inference_mode():
            torch.testing.assert_close(torch.cat(pieces, dim=1), model(x), rtol=0, atol=1e-4)

    def test_the_state_tells_what_came_before(self, exported, variant: str) -> None:
        model, session = exported(variant)
        x = night(model, 6)
        after = run(session, x[:, :3])[1]
        assert np.abs(run(session, x[:, 3:], after)[0] - run(session, x[:, 3:])[0]).max() > 1e-3

    def test_torch_carries_the_same_state(self, exported, variant: str) -> None:
        model, session = exported(variant)
        x = night(model, 4, n_windows=2)
        with torch.inference_mode():
            _, after = model.run(x)
            again, _ = model.run(x, after)
        torch.testing.assert_close(torch.from_numpy(run(session, x)[1]), after, rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.from_numpy(run(session, x, after.numpy())[0]), again, rtol=0, atol=1e-4)
        assert not model.initial_state(2).any()


class Theirs(torch.nn.Module):
    """A user's network: the mean amplitude of each channel, recurrent layers of all kinds, five stages."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = torch.nn.GRU(6, 4, num_layers=2, bias=False)
        self.out = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(4, 5))

    def forward(self, x):
        y, _ = self.lstm(x.abs().mean(-1))
        y, last = self.gru(y.transpose(0, 1))
        return self.out(y.transpose(0, 1) + last[-1][:, None])


class OneContext(Theirs):
    """A network that was written for five epochs: one weight for each."""

    def forward(self, x):
        return super().forward(x) * torch.arange(5.0)[: x.shape[1], None]


class Otherwise(Theirs):
    """A network that is another while it is exported."""

    def forward(self, x):
        return super().forward(x) + float(torch.compiler.is_exporting())


INFO = ModelInfo(architecture="", config={}, input=InputSpec(kinds=("EEG", "EOG"), sample_rate=10.0))
METADATA = {"hypnograph": INFO.to_json()}


class TestAUsersNetwork:
    def test_any_module_with_our_input_is_exported_and_says_nothing(self, tmp_path, capfd) -> None:
        torch.manual_seed(0)
        model = Theirs().train().double()
        export_graph(model, tmp_path / "model.onnx", metadata=METADATA)
        assert capfd.readouterr() == ("", "")
        assert model.training
        assert model.gru.weight_ih_l0.dtype == torch.float64
        assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
        session = runtime.InferenceSession(tmp_path / "model.onnx")
        assert session.get_modelmeta().custom_metadata_map == METADATA
        assert session.get_inputs()[0].shape == ["window", "context", 2, 300]
        for n_windows, context in ((1, 1), (2, 5), (1, 17)):
            x = noise(n_windows, context, 2, 300)
            with torch.inference_mode():
                expected = model.float().eval()(x)
            torch.testing.assert_close(torch.from_numpy(run(session, x)[0]), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(("model", "words"), [(OneContext, "any context"), (Otherwise, "does not give its logits")])
    def test_a_file_that_would_be_wrong_is_refused_and_the_one_before_stays(self, model, words, tmp_path) -> None:
        path = tmp_path / "model.onnx"
        path.write_text("before")
        with pytest.raises(HypnographError, match=words):
            export_graph(model(), path, metadata=METADATA)
        assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]

    def test_a_module_that_does_not_say_what_it_takes_is_refused(self, tmp_path) -> None:
        with pytest.raises(HypnographError, match="ModelInfo"):
            export_graph(Theirs(), tmp_path / "model.onnx", metadata={})
        assert not any(tmp_path.iterdir())

    def test_an_lstm_with_projections_is_refused(self, tmp_path) -> None:
        model = Theirs()
        model.lstm = torch.nn.LSTM(2, 3, proj_size=2, batch_first=True)
        with pytest.raises(HypnographError, match="proj_size"):
            export_graph(model, tmp_path / "model.onnx", metadata=METADATA)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_what_to_do(package: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HypnographError, match=rf"export needs .*{package}.*pip install 'hypnograph\[train\]'"):
        export_graph(Theirs(), tmp_path / "model.onnx", metadata=METADATA)


def test_what_carries_no_state_says_so() -> None:
    model = create_model("sleepgpt-lstm", preset="small", many_to_one=True)
    with pytest.raises(HypnographError, match="many_to_one"):
        model.run(night(model, 2))
