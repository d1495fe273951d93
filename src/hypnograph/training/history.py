"""The course of a training: a row for each pass, as csv, as a picture, and in TensorBoard where it is installed."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypnograph.errors import UnreadableFileError
from hypnograph.training.recipes import Validation
from hypnograph.whole_file import whole_file

Row = Mapping[str, float]

CSV, CURVE = "history.csv", "learning-curve.png"
"""The files of a history."""
_WHOLE = ("pass", "steps")


def write_history(rows: Sequence[Row], folder: Path) -> None:
    """Write the rows as csv; a number that is not known is left empty. Passes are counted from 1."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(folder / CSV) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(name, value) for name, value in row.items()} for row in rows)


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """Read what `write_history` wrote.

    Raises
    ------
    UnreadableFileError
        If there is no history in the folder, or it is damaged.
    """
    path = Path(folder) / CSV
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {name: float(text) if text else math.nan for name, text in row.items()} for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UnreadableFileError(f"{path}: no history of a training ({error})") from error


def is_better(row: Row, best: Row | None, validation: Validation) -> bool:
    """Tell whether a pass was judged better than the best before it."""
    monitor = validation.monitor
    if monitor == "last":
        return False
    names = ["accuracy", "macro_f1"] if monitor == "accuracy-and-macro-f1" else [monitor]
    values = [row.get(f"validation_{name}", math.nan) for name in names]
    if any(math.isnan(value) for value in values):
        return False
    if best is None:
        return True
    before = [best[f"validation_{name}"] for name in names]
    if monitor == "loss":
        return values[0] < before[0]
    return values[0] > before[0] and all(now >= then for now, then in zip(values[1:], before[1:], strict=True))


def write_curve(rows: Sequence[Row], folder: Path, title: str) -> None:
    """Draw loss, scores and learning rate over the passes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 9), layout="constrained")
    losses, scores, rates = figure.subplots(3, 1, sharex=True, height_ratios=[2, 2, 1])
    _draw(losses, rows, {"training": "loss", "validation": "validation_loss"})
    losses.set(ylabel="loss", yscale=_scale(rows, "loss"), title=title)
    found = dict.fromkeys(name for row in rows for name in row if name.startswith("validation_"))
    _draw(scores, rows, {name.removeprefix("validation_"): name for name in found if name != "validation_loss"})
    lowest = min((row[name] for row in rows for name in found if name != "validation_loss" and name in row), default=0)
    scores.set(ylabel="validation score", ylim=(min(0.0, lowest), 1))
    _draw(rates, rows, {"learning rate": "learning_rate"})
    rates.set(xlabel="pass", ylabel="learning rate", yscale=_scale(rows, "learning_rate"))
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (axes for axes in (losses, scores) if axes.lines):
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    with whole_file(folder / CURVE) as path:
        figure.savefig(path, dpi=110)


def _draw(axes: Any, rows: Sequence[Row], lines: Mapping[str, str]) -> None:
    for label, name in lines.items():
        points = [(row["pass"], row[name]) for row in rows if not math.isnan(row.get(name, math.nan))]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.2, marker=".", markersize=3)
    axes.grid(alpha=0.3)


def _scale(rows: Sequence[Row], name: str) -> str:
    return "log" if all(row.get(name, 0) > 0 for row in rows) else "linear"


def tensorboard(folder: Path) -> Callable[[Row], None]:
    """Return what adds a pass to the TensorBoard of a training; it does nothing where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda row: None
    create: Any = SummaryWriter
    writer = create(str(folder))

    def add(row: Row) -> None:
        for name, value in row.items():
            if name != "pass" and not math.isnan(value):
                writer.add_scalar(name, value, int(row["pass"]))
        writer.flush()

    return add


def _text(name: str, value: float) -> str:
    return "" if math.isnan(value) else str(int(value)) if name in _WHOLE else repr(value)
