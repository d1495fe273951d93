"""The course of a training on disk and in a picture, and which pass was the best."""

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from hypnograph.errors import UnreadableFileError
from hypnograph.training.history import (
    CSV,
    CURVE,
    is_better,
    read_history,
    tensorboard,
    write_curve,
    write_history,
)
from hypnograph.training.recipes import Validation

ROWS = [
    {"pass": 0.0, "learning_rate": 1e-7, "loss": 1.5},
    {"pass": 1.0, "learning_rate": 1e-7, "loss": 0.1 + 0.2, "validation_loss": math.nan, "validation_kappa": -0.1},
    {"pass": 2.0, "learning_rate": 5e-8, "loss": 1e-300},
]


class TestFile:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        write_history(ROWS, tmp_path)
        rows = read_history(tmp_path)
        assert len(rows) == 3
        for row, written in zip(rows, ROWS, strict=True):
            assert list(row) == ["pass", "learning_rate", "loss", "validation_loss", "validation_kappa"]
            for name, value in row.items():
                assert value == written.get(name, math.nan) or (math.isnan(value) and name not in ROWS[0])

    @given(st.lists(st.floats(width=64), min_size=1, max_size=5))
    def test_every_number_survives(self, values: list[float]) -> None:
        # A folder of its own for each example.
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            write_history([{"pass": 0.0, "x": value} for value in values], Path(folder))
            np.testing.assert_array_equal([row["x"] for row in read_history(folder)], values)

    def test_a_number_that_is_not_known_is_an_empty_field(self, tmp_path: Path) -> None:
        write_history(ROWS, tmp_path)
        lines = (tmp_path / CSV).read_text().splitlines()
        assert lines[0] == "pass,learning_rate,loss,validation_loss,validation_kappa"
        assert lines[1] == "0,1e-07,1.5,,"
        assert lines[2] == "1,1e-07,0.30000000000000004,,-0.1"

    def test_pandas_reads_it(self, tmp_path: Path) -> None:
        # Oracle: pandas.
        import pandas as pd

        write_history(ROWS, tmp_path)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / CSV), pd.DataFrame(ROWS).astype({"pass": int}))

    @pytest.mark.parametrize(
        "content", [None, b"pass,loss\n0,abc\n", b"pass,loss\n0,1,2,3\n", b"\xff\xfe", b'a\n"' + b"1" * 200_000]
    )
    def test_a_damaged_one_is_refused(self, content: bytes | None, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / CSV).write_bytes(content)
        with pytest.raises(UnreadableFileError, match="no history of a training"):
            read_history(tmp_path)


def row(**values: float) -> dict[str, float]:
    return {f"validation_{name}": value for name, value in values.items()}


class TestBetter:
    @pytest.mark.parametrize("monitor", ["macro_f1", "kappa", "accuracy"])
    def test_a_score_must_rise(self, monitor: Any) -> None:
        validation, best = Validation(monitor=monitor), row(**{monitor: 0.5})
        assert is_better(row(**{monitor: 0.6}), best, validation)
        assert not is_better(row(**{monitor: 0.5}), best, validation)
        assert not is_better(row(**{monitor: 0.4}), best, validation)

    def test_a_loss_must_fall(self) -> None:
        validation, best = Validation(monitor="loss"), row(loss=0.5)
        assert is_better(row(loss=0.4), best, validation)
        assert not is_better(row(loss=0.5), best, validation)
        assert not is_better(row(loss=0.6), best, validation)

    @pytest.mark.parametrize(
        ("accuracy", "macro_f1", "better"),
        [(0.81, 0.70, True), (0.81, 0.71, True), (0.81, 0.69, False), (0.80, 0.75, False), (0.79, 0.75, False)],
    )
    def test_by_tinysleepnet_s_rule_accuracy_rises_and_macro_f1_does_not_fall(
        self, accuracy: float, macro_f1: float, better: bool
    ) -> None:
        # Oracle: its official code, `acc > best_acc and mf1 >= best_mf1`.
        best = row(accuracy=0.80, macro_f1=0.70)
        validation = Validation(monitor="accuracy-and-macro-f1")
        assert is_better(row(accuracy=accuracy, macro_f1=macro_f1), best, validation) is better

    @pytest.mark.parametrize("monitor", ["macro_f1", "loss", "accuracy-and-macro-f1"])
    def test_the_first_pass_that_was_judged_is_the_best(self, monitor: Any) -> None:
        assert is_better(row(accuracy=0.0, macro_f1=0.0, loss=9.0), None, Validation(monitor=monitor))

    @pytest.mark.parametrize("best", [None, row(accuracy=0.1, macro_f1=0.1, loss=9.0)])
    @pytest.mark.parametrize("monitor", ["macro_f1", "loss", "accuracy-and-macro-f1"])
    def test_a_pass_that_was_not_judged_is_never_better(self, monitor: Any, best: dict[str, float] | None) -> None:
        assert not is_better(row(accuracy=0.9, macro_f1=math.nan, loss=math.nan), best, Validation(monitor=monitor))
        assert not is_better({"loss": 0.1}, best, Validation(monitor=monitor))


class TestCurve:
    def lines(self, rows: list[dict[str, float]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
        from matplotlib.figure import Figure

        found: dict[str, list] = {}
        save = Figure.savefig

        def listening(figure: Figure, *args: object, **options: object) -> None:
            for axes in figure.axes:
                for line in axes.lines:
                    found[f"{axes.get_ylabel()}: {line.get_label()}"] = line.get_xydata().tolist()
            save(figure, *args, **options)

        monkeypatch.setattr(Figure, "savefig", listening)
        write_curve(rows, folder, "a training")
        return found

    def test_it_draws_what_is_known_of_each_pass(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Judged every second pass, and not in the last.
        rows = [{"pass": float(n), "learning_rate": 1e-3, "loss": 1.0 / (n + 1)} for n in range(5)]
        for n in (1, 3):
            rows[n] |= {"validation_loss": 1.0, "validation_kappa": n / 10}
        assert self.lines(rows, tmp_path, monkeypatch) == {
            "loss: training": [[n, 1 / (n + 1)] for n in range(5)],
            "loss: validation": [[1, 1], [3, 1]],
            "validation score: kappa": [[1, 0.1], [3, pytest.approx(0.3)]],
            "learning rate: learning rate": [[n, 1e-3] for n in range(5)],
        }

    @pytest.mark.parametrize(
        "rows",
        [
            [{"pass": 0.0, "learning_rate": 1e-3, "loss": 1.0}],
            [{"pass": 0.0, "learning_rate": 0.0, "loss": 0.0, "validation_kappa": -0.1, "validation_loss": math.nan}],
            ROWS,
        ],
        ids=["without validation", "zeros", "gaps"],
    )
    def test_it_is_a_picture_whatever_is_missing(self, rows: list[dict[str, float]], tmp_path: Path) -> None:
        write_curve(rows, tmp_path, "a training")
        assert [path.name for path in tmp_path.iterdir()] == [CURVE]
        picture = imread(tmp_path / CURVE)
        assert picture.shape[0] > 500
        assert picture.std() > 0.01


class TestTensorBoard:
    def test_where_it_is_not_installed_nothing_happens(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        tensorboard(tmp_path / "tensorboard")(ROWS[0])
        assert not list(tmp_path.iterdir())

    def test_where_it_is_installed_each_number_of_a_pass_is_added(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Oracle: the calls that torch documents for SummaryWriter.
        calls: list[tuple[Any, ...]] = []

        class Writer:
            def __init__(self, folder: str) -> None:
                calls.append(("folder", folder))

            def add_scalar(self, name: str, value: float, n_pass: int) -> None:
                calls.append((name, value, n_pass))

            def flush(self) -> None:
                calls.append(("flush",))

        module = ModuleType("torch.utils.tensorboard")
        module.SummaryWriter = Writer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
        add = tensorboard(tmp_path)
        add(ROWS[1])
        assert calls == [
            ("folder", str(tmp_path)),
            ("learning_rate", 1e-7, 1),
            ("loss", 0.1 + 0.2, 1),
            ("validation_kappa", -0.1, 1),
            ("flush",),
        ]

    def test_the_real_one_reads_it_back(self, tmp_path: Path) -> None:
        accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        add = tensorboard(tmp_path)
        for one in ROWS:
            add(one)
        events = accumulator.EventAccumulator(str(tmp_path))
        events.Reload()
        assert [event.value for event in events.Scalars("loss")] == pytest.approx([1.5, 0.3, 0.0])
