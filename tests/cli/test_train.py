"""``hypnograph train``: what it prints, what its options change, and errors that say what to do."""

import math
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

import click  # noqa: E402

from hypnograph.checkpoint import read_info, save  # noqa: E402
from hypnograph.cli import hypnograph  # noqa: E402
from hypnograph.cli.train import machine_of, machine_options, pass_line, progress_display, time_left  # noqa: E402
from hypnograph.models import create_model  # noqa: E402
from hypnograph.training.balanced_sampling import Pool  # noqa: E402
from hypnograph.training.history import read_history  # noqa: E402
from hypnograph.training.machine import Machine  # noqa: E402
from hypnograph.training.phase import Progress  # noqa: E402
from hypnograph.training.recipes import parse_recipe, read_recipe  # noqa: E402
from hypnograph.training.splits import Split, write_split  # noqa: E402
from tests.training.nights import write_store  # noqa: E402
from tests.training.test_loop import TINY  # noqa: E402

QUICK = ("--passes", 1, "--most-steps", 1, "--accelerator", "cpu", "--workers", 0)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    write_store(folder / "store", parse_recipe(TINY).input_spec(), n_subjects=3, n_epochs=20)
    (folder / "tiny.toml").write_text(TINY)
    write_split(Split(train=("folder/S00", "folder/S02"), validation=("folder/S01",)), folder / "split.json")
    write_split(Split(train=("folder/S00",)), folder / "no-validation.json")
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(work: Path, monkeypatch) -> None:
    monkeypatch.chdir(work)


def run(out: Path, *options: object, recipe: str = "tiny.toml", split: str = "split.json") -> Result:
    words = ["train", recipe, "store", split, out, *options]
    return CliRunner().invoke(hypnograph, [str(word) for word in words])


class TestWhatIsPrinted:
    def test_what_is_odd_about_split_and_store_is_told(self, tmp_path: Path) -> None:
        write_split(Split(train=("folder/S00", "folder/S99")), tmp_path / "split.json")
        result = run(tmp_path / "run", *QUICK, "--set", "crop_min=5", split=str(tmp_path / "split.json"))
        assert result.exit_code == 0, result.output
        assert "note: 1 subjects of the split have no night in" in result.stderr
        assert "folder/S99" in result.stderr
        # Of these nights it is not known how they were cut.
        assert "the recipe says" not in result.stderr

    def test_a_line_for_each_pass_and_the_result(self, tmp_path: Path) -> None:
        result = run(tmp_path / "run", *QUICK[2:], "--passes", 2)
        assert result.exit_code == 0, result.output
        first, second = result.stderr.splitlines()
        assert first.startswith("training pass 1 of 2: loss ")
        assert second.startswith("training pass 2 of 2: loss ")
        history = read_history(tmp_path / "run")
        assert f"macro F1 {history[1]['validation_macro_f1']:.3f}" in second
        best = max(history, key=lambda row: row["validation_macro_f1"])
        assert result.stdout.splitlines() == [
            f"pass {int(best['pass'])} of 2, macro F1 {best['validation_macro_f1']:.3f} on the validation nights: "
            f"{tmp_path / 'run' / 'best'}",
            f"stage with it: hypnograph stage night.edf --model {tmp_path / 'run' / 'best'}",
        ]

    def test_quiet_prints_the_result_only(self, tmp_path: Path) -> None:
        result = run(tmp_path / "run", *QUICK, "--quiet")
        assert result.stderr == ""
        assert result.stdout.startswith("pass 1 of 1, macro F1 ")

    def test_without_validation_nights_the_last_pass_is_the_result(self, tmp_path: Path) -> None:
        result = run(tmp_path / "run", *QUICK, split="no-validation.json")
        assert result.stdout.splitlines()[0] == f"pass 1, the last: {tmp_path / 'run' / 'last'}"
        assert "macro F1" not in result.stderr

    def test_only_the_first_of_many_processes_speaks(self, tmp_path: Path, monkeypatch, capsys) -> None:
        monkeypatch.setenv("SLURM_PROCID", "1")
        with progress_display(quiet=False) as report:
            report(Progress("training", 0, 3, 5, 5, 1.0, 10.0, 60.0, {"loss": 1.0}))
        assert capsys.readouterr().err == ""
        monkeypatch.setenv("SLURM_PROCID", "0")
        with progress_display(quiet=False) as report:
            report(Progress("training", 0, 3, 5, 5, 1.0, 10.0, 60.0, {"loss": 1.0}))
        assert capsys.readouterr().err.startswith("training pass 1 of 3")

    @pytest.mark.parametrize(
        ("seconds", "words"), [(math.nan, ""), (30, "0.5 min left"), (5399, "90.0 min left"), (7200, "2.0 h left")]
    )
    def test_the_time_left_is_in_minutes_or_hours(self, seconds: float, words: str) -> None:
        progress = Progress("training", 0, 3, 5, 5, 1.0, 10.0, seconds, {"loss": 1.0})
        assert time_left(progress) == words
        assert pass_line(progress) == f"training pass 1 of 3: loss 1.000  10.0 windows/s  {words}".rstrip()
        within = pass_line(progress._replace(row=None))
        assert within == f"training pass 1 of 3, step 5 of 5: loss 1.000  10.0 windows/s  {words}".rstrip()


class TestOptions:
    def test_set_replaces_values_of_the_recipe_and_passes_wins(self, tmp_path: Path) -> None:
        settings = ("--set", "optimiser.learning_rate=0.5", "--set", "sampling.name=tracks", "--set", "seed=9")
        assert run(tmp_path / "run", *QUICK, *settings, "--set", "stopping.passes=7").exit_code == 0
        recipe = read_recipe(tmp_path / "run" / "recipe.toml")
        assert (recipe.optimiser.learning_rate, recipe.sampling.name, recipe.seed) == (0.5, "tracks", 9)
        assert recipe.stopping.passes == len(read_history(tmp_path / "run")) == 1

    def test_a_shipped_recipe_has_a_name(self, tmp_path: Path) -> None:
        small = ("--set", "network.preset=small", "--set", "network.options.sample_rate=16.0")
        result = run(tmp_path / "run", *QUICK, *small, recipe="tinysleepnet")
        assert result.exit_code == 0, result.exception
        assert read_recipe(tmp_path / "run" / "recipe.toml").source.startswith("doi:10.1109")

    def test_resume_goes_on_or_begins(self, tmp_path: Path) -> None:
        assert run(tmp_path / "run", *QUICK, "--resume").exit_code == 0
        state = (tmp_path / "run" / "state.pt").stat().st_mtime_ns
        again = run(tmp_path / "run", *QUICK, "--resume")
        assert again.stdout.startswith("pass 1 of 1")
        assert (tmp_path / "run" / "state.pt").stat().st_mtime_ns == state

    def test_a_training_is_replaced_only_where_it_is_asked(self, tmp_path: Path) -> None:
        run(tmp_path / "run", *QUICK)
        refused = run(tmp_path / "run", *QUICK, "--set", "seed=2")
        assert "--resume goes on with it, --overwrite begins anew" in str(refused.exception)
        assert run(tmp_path / "run", *QUICK, "--set", "seed=2", "--overwrite").exit_code == 0
        assert read_recipe(tmp_path / "run" / "recipe.toml").seed == 2

    @pytest.mark.parametrize("which", ["", "best"])
    def test_from_begins_with_the_weights_of_a_training_or_a_checkpoint(self, which: str, tmp_path: Path) -> None:
        from safetensors.torch import load_file

        run(tmp_path / "first", *QUICK)
        still = ("--set", "optimiser.learning_rate=0.0", "--set", "seed=5")
        run(tmp_path / "second", *QUICK, *still, "--from", tmp_path / "first" / which)
        run(tmp_path / "without", *QUICK, *still)
        first, second, without = (
            load_file(tmp_path / name / "best" / "model.safetensors") for name in ("first", "second", "without")
        )
        torch.testing.assert_close(second["output.weight"], first["output.weight"])
        assert not torch.equal(without["output.weight"], first["output.weight"])

    def test_machine_options_become_a_machine(self, tmp_path: Path) -> None:
        @click.command()
        @machine_options
        def told(**options: object) -> None:
            told.machine = machine_of({name: options[name] for name in options if name not in ("settings", "passes")})

        CliRunner().invoke(told, [], catch_exceptions=False)
        assert told.machine == Machine(pool=Pool(40, 32))
        words = f"--keeping cache --cache {tmp_path} --workers 5 --devices 3 --nodes 2 --accumulate 4 --compile".split()
        words += [
            "--precision",
            "bf16-mixed",
            "--accelerator",
            "cpu",
            "--pool-nights",
            "7",
            "--pool-windows",
            "8",
            "--most-steps",
            "9",
        ]
        CliRunner().invoke(told, words, catch_exceptions=False)
        assert told.machine == Machine(
            keeping="cache", cache=tmp_path, workers=5, devices=3, nodes=2, accumulate=4, compile=True,
            precision="bf16-mixed", accelerator="cpu", pool=Pool(7, 8), most_steps=9,
        )  # fmt: skip
        CliRunner().invoke(told, ["--devices", "auto"], catch_exceptions=False)
        assert told.machine.devices == "auto"


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--set", "no_equals"), "write KEY=VALUE"),
            (("--set", "sampling.no_key=1"), r"[sampling] has no key 'no_key'. There are: batch"),
            (("--set", "sampling.batch=many"), "sampling.batch is 'many'; it must be a whole number"),
            (("--from", "nowhere"), "nowhere: no such checkpoint"),
            (("--devices", "0"), "--devices 0: give a number from 1 on, or auto"),
            (("--devices", "some"), "--devices some: give a number from 1 on, or auto"),
            (("--keeping", "cache"), "used together"),
            (("--cache", "x"), "used together"),
        ],
    )
    def test_wrong_values_are_named(self, options: tuple, message: str, tmp_path: Path) -> None:
        result = run(tmp_path / "run", *options)
        assert result.exit_code == 1
        assert message in str(result.exception)
        assert not (tmp_path / "run" / "state.pt").exists()

    @pytest.mark.parametrize("accelerator", ["cuda", "mps"])
    def test_a_device_that_is_not_there_is_named(self, accelerator: str, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        result = run(tmp_path / "run", "--accelerator", accelerator)
        assert f"--accelerator {accelerator}: PyTorch finds no such device" in str(result.exception)

    @pytest.mark.parametrize("options", [("--precision", "half"), ("--accelerator", "abacus"), ("--passes", "0")])
    def test_values_of_no_list_are_wrong_usage(self, options: tuple, tmp_path: Path) -> None:
        result = run(tmp_path / "run", *options)
        assert result.exit_code == 2
        assert f"Invalid value for '{options[0]}'" in result.stderr

    def test_what_is_not_there_is_named(self, tmp_path: Path) -> None:
        assert "no recipe 'nothing'. There are: attnsleep" in str(run(tmp_path / "run", recipe="nothing").exception)
        assert "nothing.json" in str(run(tmp_path / "run", split="nothing.json").exception)
        result = CliRunner().invoke(hypnograph, ["train", "tiny.toml", "nothing", "split.json", str(tmp_path / "run")])
        assert "nothing is no store of prepared nights" in str(result.exception)

    def test_weights_of_another_network_are_refused(self, tmp_path: Path) -> None:
        save(create_model("utime", preset="small"), tmp_path / "other")
        assert read_info(tmp_path / "other").architecture == "utime"
        result = run(tmp_path / "run", *QUICK, "--from", tmp_path / "other")
        assert "no weight of utime fits" in str(result.exception)
