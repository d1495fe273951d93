"""``hypnograph summary``: how well predictions agree with the references, pooled, per night and per fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hypnograph.evaluation.agreement import Agreement
    from hypnograph.evaluation.tables import NightPair


@click.command()
@click.argument("places", metavar="PREDICTIONS…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--ignore", multiple=True, metavar="STAGE", help="Leave out epochs of this reference stage.")
@click.option("--wake-trim-min", type=float, metavar="M", help="Keep M minutes of wake around the reference's sleep.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each night to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the csv file if it exists.")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap over subjects.")
def command(
    *,
    places: tuple[Path, ...],
    ignore: tuple[str, ...],
    wake_trim_min: float | None,
    as_json: bool,
    csv: Path | None,
    overwrite: bool,
    seed: int,
) -> None:
    """Compare the nights of PREDICTIONS with their references.

    PREDICTIONS are folders that `hypnograph predict` or `hypnograph cross-validate` wrote, or folders above them.
    Prints the agreement of all nights pooled, its mean over nights with 95 % intervals over subjects, and, where there
    are several folders (folds, datasets), the mean and standard deviation over them.

    \b
    Example:
      hypnograph summary predictions
      hypnograph summary cv/usleep --csv nights.csv
    """  # noqa: D301 (click's \b keeps the lines of the example)
    import json

    from hypnograph.evaluation.tables import evaluate_nights
    from hypnograph.training.prediction_files import prediction_folders, read_all_pairs
    from hypnograph.whole_file import check_output, whole_file

    if csv is not None:
        check_output(csv, overwrite=overwrite)
    found = read_all_pairs(prediction_folders(places))
    tell_doubts(found)
    how: dict[str, Any] = {"ignore": ignore, "wake_trim_min": wake_trim_min}
    evaluation = evaluate_nights([pair for pairs in found.values() for pair in pairs], seed=seed, **how)
    if csv is not None:
        with whole_file(csv) as path:
            evaluation.to_frame().to_csv(path)
    if as_json:
        click.echo(json.dumps(evaluation.as_dict(), indent=1, allow_nan=False))
        return
    click.echo(repr(evaluation))
    if len(found) > 1:
        pooled = {folder: evaluate_nights(pairs, n_bootstrap=0, **how).pooled for folder, pairs in found.items()}
        _print_folders({str(folder): agreement for folder, agreement in pooled.items()})


def tell_doubts(found: "Mapping[Path, Sequence[NightPair]]") -> None:
    """Say where these are not all nights of a cross-validation, or not the epochs that were scored."""
    from hypnograph.training.prediction_files import is_finer, unstaged_beside

    for run in unstaged_beside([*found]):
        click.echo(f"note: {run} is a training beside these that has staged nothing; its nights are not here", err=True)
    for folder, pairs in found.items():
        if is_finer(folder, pairs):
            length = f"{pairs[0].predicted.epoch_s:g} s"
            click.echo(f"note: {folder} has a stage each {length}; the reference's epochs are cut into such", err=True)


def _print_folders(pooled: "dict[str, Agreement]") -> None:
    """Print the pooled numbers of each folder, then their mean and spread: what papers call the mean over folds."""
    import numpy as np

    values = np.array([[p.accuracy, p.macro_f1, p.cohen_kappa] for p in pooled.values()])
    rows = dict(zip(pooled, values, strict=True))
    rows |= {"mean over folders": values.mean(axis=0), "standard deviation": values.std(axis=0, ddof=1)}
    width = max(map(len, rows))
    click.echo(f"\n{'folder'.ljust(width)}  accuracy  macro F1     kappa")
    for name, row in rows.items():
        click.echo(f"{name.ljust(width)}  " + "  ".join(f"{value:>8.3f}" for value in row))
