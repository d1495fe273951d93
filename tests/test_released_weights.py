"""Published weights by name: fetched whole, checked, converted, and found again. The server is on loopback."""

import hashlib
import io
import json
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402, N812

from hypnograph import checkpoint, download, released_weights  # noqa: E402
from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import create_model, usleep  # noqa: E402
from hypnograph.models.sleepgpt_tinysleepnet import Config, Model, published_names  # noqa: E402
from hypnograph.released_weights import RELEASED, fetch, list_models, locate, weights_folder  # noqa: E402
from hypnograph.sequences import language_model  # noqa: E402
from tests.test_remote_files import serving  # noqa: E402

NAME = "tinysleepnet-sleepgpt"
FACTS = {  # shared/weights/README.md, copied by hand
    "usleep-anysleep-1": (12_551_209, "eb88c447b543918f2e16a2ce3f4d40e9ae975b07b34f4709568d3a66ff2287ee", "MIT"),
    "usleep-anysleep-2": (12_551_209, "bb764d9edcbe66e81b3286e1bb629267f369cfbe89690148ed3bf1b9a8fdb0af", "MIT"),
    "usleep-anysleep-3": (12_551_209, "7a8d55940e61da3c6c1b12689647eed105724ea6cf2246ec2aef465db168aa8e", "MIT"),
    "tinysleepnet-sleepgpt": (
        1_653_427,
        "936d52f45cda4d6cbee41687c00ae767d2161294b1ccad26066eb7fb51e990c1",
        "Apache-2.0",
    ),
    "slm-shhs-60": (1_119_245, "a40016cc9c448abc59f8123ed78ba9b995f6080aac7fae0853fb41e6960bc0b1", "Apache-2.0"),
    "slm-shhs-90": (1_149_965, "d50a1e7a6cdfb07507e675caa0a5383d46558ffc2d09ce05d3dfeef83b0124e9", "Apache-2.0"),
}


@dataclass
class Server:
    """A server of one file, which misbehaves as it is told, and what it was asked for."""

    content: bytes
    drops: list[int] = field(default_factory=list)
    """For each of the first requests: close the connection after so many bytes; −1: before the answer."""
    silent_s: float = 0.0
    ignores_range: bool = False
    status: int = 200
    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append({"method": handler.command, "path": handler.path, **handler.headers})
        time.sleep(self.silent_s)
        if self.drops[:1] == [-1]:
            self.drops.pop(0)
            return
        if handler.path == "/moved":
            handler.send_response(302)
            handler.send_header("Location", "/best.pth.tar")
            handler.end_headers()
            return
        if self.status != 200:
            handler.send_error(self.status)
            return
        wanted = handler.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and not self.ignores_range else 0
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(self.content) - first))
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        handler.end_headers()
        n_sent = self.drops.pop(0) if self.drops else len(self.content) - first
        handler.wfile.write(self.content[first : first + n_sent])
        self.sent.append(n_sent)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache of its own, no pauses, and no proxy between the test and its server."""
    monkeypatch.setenv("HYPNOGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(released_weights, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def published() -> dict:
    """Fresh weights under the names of SleepGPT's file."""
    torch.manual_seed(0)
    values = Model(Config()).state_dict()
    theirs = {name: values[ours] for name, ours in published_names().items()}
    return {name: value[..., None] if value.ndim == 3 else value for name, value in theirs.items()}


@pytest.fixture(scope="module")
def content(published: dict) -> bytes:
    file = io.BytesIO()
    torch.save(published, file)
    return file.getvalue()


def pretend(monkeypatch, name: str, content: bytes) -> None:
    """Let a file be what was published under a name."""
    entry = replace(RELEASED[name], size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(released_weights, "RELEASED", {**RELEASED, name: entry})


@pytest.fixture
def server(content: bytes, monkeypatch) -> Iterator[Server]:
    pretend(monkeypatch, NAME, content)
    server = Server(content)

    with serving(server):
        server.url += "/best.pth.tar"
        yield server


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestDownload:
    def test_a_file_is_fetched_whole_checked_and_converted(self, server: Server, cache: Path) -> None:
        heard: list[tuple[int, int]] = []
        folder = fetch(NAME, url=server.url, progress=lambda done, total: heard.append((done, total)))
        assert folder == cache / "weights" / NAME == locate(NAME)
        assert files_in(folder) == ["README.md", "model.json", "model.safetensors"]
        assert files_in(cache / "downloads") == ["best.pth.tar"]
        assert heard == sorted(heard)
        assert heard[-1] == (len(server.content), len(server.content))
        assert len(heard) > 10

    def test_nothing_is_sent_but_the_request_for_the_file(self, server: Server) -> None:
        fetch(NAME, url=server.url)
        (request,) = server.requests
        assert request.pop("User-Agent").startswith("hypnograph/")
        assert request.pop("Host") == server.url.split("/")[2]
        assert request == {
            "method": "GET", "path": "/best.pth.tar", "Accept-Encoding": "identity", "Connection": "close"
        }  # fmt: skip

    def test_an_address_that_leads_to_another_is_followed(self, server: Server) -> None:
        assert fetch(NAME, url=server.url.replace("best.pth.tar", "moved")).is_dir()
        assert [request["path"] for request in server.requests] == ["/moved", "/best.pth.tar"]

    def test_a_dropped_download_goes_on_where_it_was(self, server: Server) -> None:
        half = len(server.content) // 2
        server.drops = [half]
        fetch(NAME, url=server.url)
        assert [request.get("Range") for request in server.requests] == [None, f"bytes={half}-"]
        assert server.sent == [half, len(server.content) - half]

    def test_a_connection_that_ends_without_an_answer_is_tried_again(self, server: Server) -> None:
        server.drops = [-1, 1000]
        fetch(NAME, url=server.url)
        assert server.sent == [1000, len(server.content) - 1000]

    def test_a_silent_server_is_not_waited_for_for_ever(self, server: Server, monkeypatch) -> None:
        monkeypatch.setattr(download, "TIMEOUT_S", 0.05)
        server.silent_s = 0.4
        with pytest.raises(HypnographError, match=r"connection was dropped \(timed out\)"):
            fetch(NAME, url=server.url)
        assert len(server.requests) == 3

    def test_a_later_command_goes_on_after_too_many_drops(self, server: Server, cache: Path) -> None:
        server.drops = [1000, 1000, 1000]
        with pytest.raises(HypnographError, match=r"connection was dropped\. 3,000 of .* goes on from there"):
            fetch(NAME, url=server.url)
        assert not files_in(cache / "weights")
        fetch(NAME, url=server.url)
        assert sum(server.sent) == len(server.content)

    def test_a_server_that_ignores_ranges_sends_all_again(self, server: Server) -> None:
        server.drops, server.ignores_range = [5000], True
        fetch(NAME, url=server.url)
        assert server.sent == [5000, len(server.content)]

    def test_a_wrong_file_is_refused_with_both_hashes_and_removed(self, server: Server, cache: Path) -> None:
        server.content = server.content[:-1] + bytes([server.content[-1] ^ 1])
        with pytest.raises(HypnographError) as caught:
            fetch(NAME, url=server.url)
        assert hashlib.sha256(server.content).hexdigest() in str(caught.value)
        assert released_weights.RELEASED[NAME].sha256 in str(caught.value)
        assert files_in(cache) == []

    def test_a_longer_file_is_not_read_to_its_end(self, server: Server, cache: Path) -> None:
        size = len(server.content)
        server.content = server.content * 20
        heard: list[int] = []
        with pytest.raises(HypnographError, match="It was removed"):
            fetch(NAME, url=server.url, progress=lambda done, _: heard.append(done))
        assert heard[-1] < size + 100_000
        assert files_in(cache) == []

    def test_a_server_that_does_not_have_it_is_asked_once(self, server: Server) -> None:
        server.status = 404
        with pytest.raises(HypnographError, match=r"server answered 404 Not Found.*--from FILE"):
            fetch(NAME, url=server.url)
        assert len(server.requests) == 1

    def test_a_server_in_trouble_is_asked_again(self, server: Server) -> None:
        server.status = 503
        with pytest.raises(HypnographError, match="server answered 503"):
            fetch(NAME, url=server.url)
        assert len(server.requests) == 3

    def test_fetching_twice_is_fetching_once(self, server: Server) -> None:
        folder = fetch(NAME, url=server.url)
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        assert fetch(NAME, url=server.url) == folder
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        assert len(server.requests) == 1


class TestWithoutNetwork:
    def test_the_error_says_which_file_to_copy_where(self, server: Server, cache: Path) -> None:
        closed = "http://127.0.0.1:9/best.pth.tar"  # nobody listens on the discard port
        with pytest.raises(HypnographError) as caught:
            fetch(NAME, url=closed)
        for part in ("no connection", closed, str(cache / "downloads" / "best.pth.tar "), f"models fetch {NAME}"):
            assert part in str(caught.value)
        assert released_weights.RELEASED[NAME].sha256 in str(caught.value)

    def test_a_file_put_there_by_hand_is_used(self, server: Server, cache: Path) -> None:
        (cache / "downloads").mkdir(parents=True)
        (cache / "downloads" / "best.pth.tar").write_bytes(server.content)
        assert fetch(NAME, url=server.url).is_dir()
        assert server.requests == []

    def test_a_wrong_file_put_there_by_hand_is_refused_but_kept(self, server: Server, cache: Path) -> None:
        (cache / "downloads").mkdir(parents=True)
        (cache / "downloads" / "best.pth.tar").write_bytes(b"version https://git-lfs.github.com/spec/v1")
        with pytest.raises(HypnographError, match="Put the right file in its place"):
            fetch(NAME, url=server.url)
        assert server.requests == []
        assert files_in(cache) == ["downloads/best.pth.tar"]

    def test_a_file_can_be_named_and_is_not_changed(self, server: Server, cache: Path, tmp_path: Path) -> None:
        mine = tmp_path / "mine.tar"
        mine.write_bytes(server.content)
        mine.chmod(0o400)
        assert fetch(NAME, from_file=mine).is_dir()
        assert mine.read_bytes() == server.content
        assert not (cache / "downloads").exists()

    def test_a_wrong_file_that_is_named_is_refused_and_kept(self, server: Server, tmp_path: Path, cache: Path) -> None:
        mine = tmp_path / "mine.tar"
        mine.write_bytes(server.content[:-1])
        with pytest.raises(HypnographError, match=r"mine\.tar is not the file of tinysleepnet-sleepgpt"):
            fetch(NAME, from_file=mine)
        assert mine.exists()
        assert files_in(cache) == []


class TestConversion:
    @pytest.fixture
    def mine(self, server: Server, tmp_path: Path) -> Path:
        (tmp_path / "mine.tar").write_bytes(server.content)
        return tmp_path / "mine.tar"

    def test_an_interrupted_conversion_leaves_nothing(self, mine: Path, cache: Path, monkeypatch) -> None:
        def save(_model: object, folder: Path, **_: object) -> None:
            (folder / "model.json").write_text("{}")
            raise KeyboardInterrupt

        monkeypatch.setattr(checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            fetch(NAME, from_file=mine)
        assert list((cache / "weights").iterdir()) == []

    def test_an_interrupted_replacement_leaves_what_was_there(self, mine: Path, cache: Path, monkeypatch) -> None:
        folder = fetch(NAME, from_file=mine)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        monkeypatch.setattr(checkpoint, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            fetch(NAME, from_file=mine, overwrite=True)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert list((cache / "weights").iterdir()) == [folder]

    def test_a_replacement_keeps_what_a_person_wrote_in_the_card(self, mine: Path) -> None:
        folder = fetch(NAME, from_file=mine)
        with (folder / "README.md").open("a", encoding="utf-8") as card:
            card.write("Good on our amplifier.\n")
        (folder / "model.safetensors").write_bytes(b"damaged")
        fetch(NAME, from_file=mine, overwrite=True)
        assert "Good on our amplifier." in (folder / "README.md").read_text(encoding="utf-8")
        assert checkpoint.load(folder).sha256

    def test_a_folder_without_weights_is_replaced_only_if_asked_to(self, mine: Path, cache: Path) -> None:
        (cache / "weights" / NAME).mkdir(parents=True)
        (cache / "weights" / NAME / "notes.txt").write_text("mine")
        with pytest.raises(HypnographError, match="overwrite"):
            fetch(NAME, from_file=mine)
        assert (cache / "weights" / NAME / "notes.txt").exists()
        fetch(NAME, from_file=mine, overwrite=True)
        assert locate(NAME) is not None

    def test_a_pickle_that_wants_to_run_code_does_not(self, tmp_path: Path, monkeypatch) -> None:
        class Evil:
            def __reduce__(self) -> tuple:
                return os.mkdir, (str(tmp_path / "ran"),)

        file = io.BytesIO()
        torch.save({"conv1.0.0.weight": Evil()}, file)
        (tmp_path / "evil.tar").write_bytes(file.getvalue())
        pretend(monkeypatch, NAME, file.getvalue())
        with pytest.raises(HypnographError, match="more than weights"):
            fetch(NAME, from_file=tmp_path / "evil.tar")
        assert not (tmp_path / "ran").exists()
        assert pickle.loads(pickle.dumps(Evil())) is None  # it would have run
        assert (tmp_path / "ran").exists()

    def test_without_torch_the_error_says_what_to_install_before_a_byte_is_fetched(
        self, server: Server, monkeypatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "torch", None)
        with pytest.raises(HypnographError, match=r"pip install 'hypnograph\[train\]'"):
            fetch(NAME, url=server.url)
        assert server.requests == []

    def test_the_checkpoint_says_where_it_is_from_and_what_it_takes(self, mine: Path) -> None:
        info = checkpoint.read_info(fetch(NAME, from_file=mine))
        assert (info.name, info.licence, info.architecture) == (NAME, "Apache-2.0", "sleepgpt-tinysleepnet")
        assert "c9dff7afa1d2920c354663f52d93f9ab3b929c27" in info.source
        assert (info.input.kinds, info.input.sample_rate, info.input.band_hz) == (("EEG",), 100, (0.4, 30))

    def test_usleep_keeps_its_logits(self, tmp_path: Path, monkeypatch) -> None:
        torch.manual_seed(0)
        model = create_model("usleep", preset="anysleep").eval()
        values = model.state_dict()
        file = io.BytesIO()
        torch.save({"state_dict": {name: values[ours] for name, ours in usleep.anysleep_names().items()}}, file)
        (tmp_path / "usleep-run1.pth").write_bytes(file.getvalue())
        pretend(monkeypatch, "usleep-anysleep-1", file.getvalue())
        network = checkpoint.load(fetch("usleep-anysleep-1", from_file=tmp_path / "usleep-run1.pth"))
        x = np.random.default_rng(0).normal(size=(1, 3, 2, 3840)).astype(np.float32)
        with torch.inference_mode():
            np.testing.assert_array_equal(network.run(x)[0], model(torch.from_numpy(x)).numpy())
        assert network.info.metrics == RELEASED["usleep-anysleep-1"].metrics
        assert network.info.input.kinds == ("EEG", "EOG")

    def test_a_language_model_keeps_its_weights(self, tmp_path: Path, monkeypatch) -> None:
        name, shapes = "slm-shhs-60", language_model.weight_shapes(language_model.Config())
        random = torch.Generator().manual_seed(0)
        ours = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
        theirs = {their: ours[our] for their, our in language_model.published_names().items()}
        file = io.BytesIO()
        torch.save({"epoch": 1, "state_dict": theirs, "optimizer": {}}, file)
        (tmp_path / "60_48_3_6.pth.tar").write_bytes(file.getvalue())
        pretend(monkeypatch, name, file.getvalue())
        for _ in range(2):
            folder = fetch(name, from_file=tmp_path / "60_48_3_6.pth.tar", overwrite=True)
            loaded = language_model.load_gpt(folder)
            assert (loaded.name, loaded.data, loaded.targets_ahead) == (name, RELEASED[name].data, 2)
            for key, value in ours.items():
                np.testing.assert_array_equal(loaded.weights[key], value.numpy())


class TestNames:
    def test_the_table_is_what_was_published(self) -> None:
        assert {name: (e.size, e.sha256, e.licence) for name, e in RELEASED.items()} == FACTS
        assert {name: entry.name for name, entry in RELEASED.items()} == {name: name for name in FACTS}
        assert len({entry.file_name for entry in RELEASED.values()}) == 6
        for entry in RELEASED.values():
            assert entry.url.startswith("https://")
            owner = "dslaborg/AnySleep/850a3d150c2f66dd6058ef9e511f13b18204beb3/models/usleep-run"
            assert owner in entry.url or "c9dff7afa1d2920c354663f52d93f9ab3b929c27/output/" in entry.url

    def test_published_weights_that_are_not_here_are_not_located_but_said_how_to_get(self) -> None:
        with pytest.raises(HypnographError, match="hypnograph models fetch usleep-anysleep-2"):
            locate("usleep-anysleep-2")

    @pytest.mark.parametrize("name", ["", ".", "..", "../weights", "nothing", "/tmp"])
    def test_other_names_are_not_located(self, name: str) -> None:
        weights_folder().mkdir(parents=True)
        assert locate(name) is None

    def test_an_unknown_name_is_refused_with_those_that_exist(self) -> None:
        with pytest.raises(HypnographError, match=r"no published weights 'usleep'. There are: usleep-anysleep-1, "):
            fetch("usleep")

    def test_the_cache_is_where_the_system_keeps_such_files(self, monkeypatch, tmp_path: Path) -> None:
        assert released_weights.cache_folder() == tmp_path / "cache"
        monkeypatch.delenv("HYPNOGRAPH_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert released_weights.cache_folder() == tmp_path / "xdg" / "hypnograph"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
        monkeypatch.setenv("LOCALAPPDATA", "/local")
        for system, folder in (
            ("linux", "/home/ann/.cache"), ("darwin", "/home/ann/Library/Caches"), ("win32", "/local")
        ):  # fmt: skip
            monkeypatch.setattr("sys.platform", system)
            assert released_weights.cache_folder() == Path(folder) / "hypnograph"


def write_onnx(description: str, path: Path) -> None:
    """Write a network that returns its input, and says of itself what it is told."""
    onnx = pytest.importorskip("onnx")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("signals", "logits")]
    identity = onnx.helper.make_node("Identity", ["signals"], ["logits"])
    graph = onnx.helper.make_graph([identity], "identity", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"hypnograph": description})
    onnx.save(model, path)


class TestList:
    def states(self) -> dict[str, str]:
        models = list_models()
        states = {model.name: model.state for model in models}
        assert len(states) == len(models)
        return states

    def test_each_model_is_listed_once_with_its_state(self, server: Server) -> None:
        expected = {"yasa": "built in", "ensemble": "built in"} | dict.fromkeys(FACTS, "fetchable")
        assert self.states() == expected
        folder = fetch(NAME, url=server.url)
        assert self.states() == expected | {NAME: "cached"}
        shutil.copytree(folder, released_weights.SHIPPED / NAME)
        assert self.states() == expected | {NAME: "cached"}
        shutil.rmtree(folder)
        assert self.states() == expected | {NAME: "installed"}
        assert locate(NAME) == fetch(NAME) == released_weights.SHIPPED / NAME

    def test_the_built_in_classifiers_are_those_in_the_installed_package(self) -> None:
        (yasa, _) = (model for model in list_models() if model.state == "built in")
        assert yasa.path is not None
        assert (len(list(yasa.path.glob("clf_*.joblib"))), yasa.licence) == (8, "BSD-3-Clause")
        assert 20e6 < yasa.size < 40e6

    def test_what_a_user_puts_there_is_listed_and_located(self, tmp_path: Path) -> None:
        model = create_model("sleepgpt-tinysleepnet", preset="small")
        mine = checkpoint.save(model, weights_folder() / "mine", licence="CC0", data="two [nights]", metrics={"κ": 0.8})
        write_onnx(checkpoint.read_info(mine).to_json(), weights_folder() / "v1.2.onnx")
        (weights_folder() / "notes.txt").write_text("no model")
        (weights_folder() / "._v1.2.onnx").write_bytes(b"what macOS leaves beside a file")
        found = {model.name: model for model in list_models() if model.state == "cached"}
        assert list(found) == ["v1.2", "mine"]
        assert locate("mine") == mine
        assert locate("v1.2") == weights_folder() / "v1.2.onnx"
        for listed in found.values():
            assert (listed.licence, listed.data, dict(listed.metrics)) == ("CC0", "two [nights]", {"κ": 0.8})
            assert listed.size > 500

    def test_a_language_model_is_told_from_a_network_that_stages(self) -> None:
        folder = weights_folder() / "slm-shhs-60"
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps({"architecture": "stage-gpt", "licence": "Apache-2.0"}))
        (folder / "model.safetensors").touch()
        (listed,) = (model for model in list_models() if model.state == "cached")
        assert (listed.kind, listed.metrics) == ("language model", RELEASED["slm-shhs-60"].metrics)

    @pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
    def test_a_damaged_model_does_not_hide_the_others(self, text: str) -> None:
        (weights_folder() / "broken").mkdir(parents=True)
        (weights_folder() / "broken" / "model.json").write_bytes(text.encode(errors="surrogateescape"))
        (weights_folder() / "broken" / "model.safetensors").touch()
        (weights_folder() / "broken.onnx").write_bytes(b"")
        (weights_folder() / "other.onnx").write_bytes(b"")
        listed = {model.name: model.data for model in list_models()}
        assert "cannot be read" in listed["broken"]
        assert "cannot be read" in listed["other"]
        assert len(listed) == 2 + 2 + len(FACTS)


AT_HAND = {
    "tinysleepnet-sleepgpt": "sleepgpt-tinysleepnet.pth.tar",
    "slm-shhs-60": "sleepgpt-slm-60.pth.tar",
    "slm-shhs-90": "sleepgpt-slm-90.pth.tar",
}


class TestPublishedFiles:
    """The files at hand, where they are; each is what was published, and converts."""

    def file(self, shared_data: Path, name: str) -> Path:
        path = shared_data.parent / "weights" / AT_HAND[name]
        if not path.is_file():
            pytest.skip(f"{path} is not here")
        return path

    def test_tinysleepnet_gives_the_logits_of_a_recomputation(self, shared_data: Path) -> None:
        """The oracle is the network as its authors lay it out, from their names and torch.nn.functional alone."""
        file = self.file(shared_data, NAME)
        network = checkpoint.load(fetch(NAME, from_file=file))
        x = np.random.default_rng(3).normal(0, 20, (1, 4, 1, 3000)).astype(np.float32)
        theirs = torch.load(file, map_location="cpu", weights_only=True)
        expected = recomputed(theirs, torch.from_numpy(x[0]).double())
        assert expected.std() > 0.1
        np.testing.assert_allclose(network.run(x)[0][0], expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize(("name", "positions"), [("slm-shhs-60", 60), ("slm-shhs-90", 90)])
    def test_the_language_models_convert(self, shared_data: Path, name: str, positions: int) -> None:
        folder = fetch(name, from_file=self.file(shared_data, name))
        model = language_model.load_gpt(folder)
        assert (model.config.positions, model.targets_ahead, model.name) == (positions, 2, name)
        assert (model.licence, model.data) == ("Apache-2.0", RELEASED[name].data)
        (listed,) = (model for model in list_models() if model.name == name)
        assert (listed.state, listed.kind, listed.metrics) == ("cached", "language model", RELEASED[name].metrics)
        assert json.loads((folder / "model.json").read_text())["architecture"] == "stage-gpt"


def recomputed(theirs: dict, x: "torch.Tensor") -> np.ndarray:
    """Return logits (epoch, stage) of epochs (epoch, 1, sample); zeros: kernel − 1 in all, the odd one at the end."""

    def block(x: "torch.Tensor", name: str, stride: int) -> "torch.Tensor":
        kernel = theirs[f"{name}.0.weight"].double()[..., 0]
        zeros = kernel.shape[-1] - 1
        x = F.conv1d(F.pad(x, (zeros // 2, zeros - zeros // 2)), kernel, stride=stride)
        mean, var, gain, bias = (
            theirs[f"{name}.1.{part}"].double()[:, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.relu((x - mean) / torch.sqrt(var + 1e-5) * gain + bias)

    x = F.max_pool1d(block(x, "conv1.0", stride=6), 8)
    for name in ("conv1.3", "conv1.4", "conv1.5"):
        x = block(x, name, stride=1)
    features = F.max_pool1d(x, 4).flatten(1)
    assert features.shape[1] == 1920
    return (features @ theirs["classifier.weight"].double().T + theirs["classifier.bias"].double()).numpy()
