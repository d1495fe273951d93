"""The folder of a training: what may begin or go on there, and the state that it goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.training import run_state
from hypnograph.training.history import CSV, CURVE
from hypnograph.training.recipes import Network, Recipe, parse_recipe, recipe_toml
from hypnograph.training.run_folder import (
    BEST,
    LAST,
    PRETRAINING,
    RECIPE,
    SPLIT,
    STATE,
    TENSORBOARD,
    begin_run,
    best_checkpoint,
    read_run,
)
from hypnograph.training.run_state import RunState, read_state, write_state
from hypnograph.training.splits import Split

ASKED = Recipe(network=Network(architecture="usleep"), title="A “recipe”", source="doi:10.1/x")
OTHER = replace(ASKED, seed=2)
SUBJECTS = Split(train=("a/1", "a/2"), validation=("a/3",))


def begin(folder: Path, recipe: Recipe = ASKED, split: Split = SUBJECTS, **how: bool) -> None:
    begin_run(folder, recipe, split, **{"resume": False, "overwrite": False} | how)


def leave(folder: Path, *names: str) -> None:
    """Leave what a training leaves."""
    for name in names:
        path = folder / name / "model.json" if name in (BEST, LAST) else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")


@pytest.fixture(params=[STATE, f"{PRETRAINING}/{STATE}", BEST, LAST])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder of a training, of which something is left."""
    begin(tmp_path)
    leave(tmp_path, request.param)
    return tmp_path


class TestBegin:
    def test_what_is_asked_is_written_down_and_read_again(self, tmp_path: Path) -> None:
        begin(tmp_path / "new" / "run")
        assert read_run(tmp_path / "new" / "run") == (ASKED, SUBJECTS)
        assert sorted(path.name for path in (tmp_path / "new" / "run").iterdir()) == [RECIPE, SPLIT]

    def test_a_folder_that_holds_a_training_is_refused(self, trained: Path) -> None:
        before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
        with pytest.raises(HypnographError, match="holds a training: --resume goes on with it, --overwrite"):
            begin(trained, OTHER)
        assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before

    def test_to_begin_anew_removes_all_that_the_training_before_left_and_nothing_else(self, trained: Path) -> None:
        # An old best checkpoint would else pass for one of the new training.
        leave(trained, STATE, BEST, LAST, CSV, CURVE, f"{PRETRAINING}/{STATE}", f"{TENSORBOARD}/events", "notes.txt")
        begin(trained, OTHER, overwrite=True)
        assert sorted(path.name for path in trained.iterdir()) == ["notes.txt", RECIPE, SPLIT]
        assert read_run(trained) == (OTHER, SUBJECTS)
        with pytest.raises(UnreadableFileError, match="holds no checkpoint"):
            best_checkpoint(trained)

    def test_what_was_asked_and_never_came_to_a_first_pass_begins_again(self, tmp_path: Path) -> None:
        begin(tmp_path)
        begin(tmp_path)
        begin(tmp_path, resume=True)
        assert read_run(tmp_path) == (ASKED, SUBJECTS)

    def test_a_recipe_that_a_person_wrote_there_is_left_as_it_is(self, tmp_path: Path) -> None:
        text = 'seed = 1 # mine\ntitle = "A “recipe”"\nsource = "doi:10.1/x"\n[network]\narchitecture = "usleep"\n'
        (tmp_path / RECIPE).write_text(text, encoding="utf-8")
        assert recipe_toml(parse_recipe(text)) == recipe_toml(ASKED)
        begin(tmp_path)
        begin(tmp_path, overwrite=True)
        assert (tmp_path / RECIPE).read_text(encoding="utf-8") == text
        assert read_run(tmp_path) == (ASKED, SUBJECTS)

    @pytest.mark.parametrize("content", [None, b"\xff", b'title = "mine"'])
    def test_another_recipe_or_what_is_none_is_replaced_only_if_asked_to(
        self, content: bytes | None, tmp_path: Path
    ) -> None:
        content = recipe_toml(OTHER).encode() if content is None else content
        (tmp_path / RECIPE).write_bytes(content)
        with pytest.raises(HypnographError, match=r"recipe\.toml is not what is asked now.*or --overwrite"):
            begin(tmp_path)
        assert (tmp_path / RECIPE).read_bytes() == content
        begin(tmp_path, overwrite=True)
        assert read_run(tmp_path) == (ASKED, SUBJECTS)


class TestGoOn:
    def test_with_the_same_recipe_and_split_nothing_is_changed(self, trained: Path) -> None:
        before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
        begin(trained, resume=True)
        assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before

    def test_with_another_recipe_it_is_refused(self, trained: Path) -> None:
        with pytest.raises(HypnographError, match=r"recipe\.toml is not what is asked now"):
            begin(trained, OTHER, resume=True)
        assert read_run(trained)[0] == ASKED

    def test_with_another_split_it_is_refused(self, trained: Path) -> None:
        with pytest.raises(HypnographError, match=r"split\.json is not what is asked now"):
            begin(trained, split=Split(train=("a/1",), validation=("a/3",)), resume=True)

    def test_without_its_recipe_it_is_refused(self, trained: Path) -> None:
        (trained / RECIPE).unlink()
        with pytest.raises(HypnographError, match=r"recipe\.toml is not what is asked now"):
            begin(trained, resume=True)


class TestCheckpoint:
    def test_it_is_the_best_one_else_the_last_one_else_the_folder_itself(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFileError, match="holds no checkpoint"):
            best_checkpoint(tmp_path)
        (tmp_path / "model.json").touch()
        assert best_checkpoint(tmp_path) == tmp_path
        leave(tmp_path, LAST)
        assert best_checkpoint(str(tmp_path)) == tmp_path / LAST
        leave(tmp_path, BEST)
        assert best_checkpoint(tmp_path) == tmp_path / BEST

    def test_a_folder_without_a_training_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFileError, match=r"holds no training: there is no recipe\.toml"):
            read_run(tmp_path)


def network(width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def take_steps(model: nn.Module, optimiser: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        optimiser.zero_grad()
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        (model(x) * x.sum(1, keepdim=True)).sum().backward()
        optimiser.step()


class TestState:
    STATE = RunState(n_pass=2, history=[{"pass": 0.0}, {"pass": 1.0, "loss": 0.1}], best={"pass": 0.0}, since_best=1)

    def test_a_training_that_was_interrupted_goes_on_as_if_it_had_not_been(self, tmp_path: Path) -> None:
        # Oracle: the training without a break; Adam and batch norm remember what was before.
        model, optimiser = network()
        take_steps(model, optimiser, range(3))
        write_state(self.STATE, tmp_path / STATE, model, optimiser)
        take_steps(model, optimiser, range(3, 6))
        again, its_optimiser = network()
        assert read_state(tmp_path / STATE, again, its_optimiser) == self.STATE
        take_steps(again, its_optimiser, range(3, 6))
        for name, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], value), name

    def test_where_there_is_none_nothing_is_read(self, tmp_path: Path) -> None:
        assert read_state(tmp_path / STATE, *network()) is None

    def test_the_state_of_another_network_is_refused(self, tmp_path: Path) -> None:
        write_state(self.STATE, tmp_path / STATE, *network())
        with pytest.raises(UnreadableFileError, match="not the state of this training"):
            read_state(tmp_path / STATE, *network(width=5))

    @pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04"])
    def test_a_damaged_one_is_refused(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / STATE).write_bytes(content)
        with pytest.raises(UnreadableFileError, match="not the state of this training"):
            read_state(tmp_path / STATE, *network())

    def test_one_of_a_newer_hypnograph_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as later:
            later.setattr(run_state, "FORMAT", 99)
            write_state(self.STATE, tmp_path / STATE, *network())
        with pytest.raises(UnreadableFileError, match="its format is 99"):
            read_state(tmp_path / STATE, *network())

    def test_nothing_in_the_file_is_run(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"

        class Touching:
            def __reduce__(self) -> tuple:
                return Path.touch, (trace,)

        torch.save({"format": 1, "model": Touching()}, tmp_path / STATE)
        with pytest.raises(UnreadableFileError, match="not the state of this training"):
            read_state(tmp_path / STATE, *network())
        assert not trace.exists()
