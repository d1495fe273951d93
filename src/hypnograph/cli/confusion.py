"""``hypnograph confusion``: the pooled confusion matrix of predictions."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hypnograph.evaluation.agreement import Agreement


@click.command()
@click.argument("places", metavar="PREDICTIONS…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--normalised", is_flag=True, help="Rows as shares of the reference's epochs.")
@click.option("--scheme", metavar="NAME", help="Merge stages: W-light-deep-REM, W-NREM-REM or W-sleep.")
@click.option("--ignore", multiple=True, metavar="STAGE", help="Leave out epochs of this reference stage.")
@click.option("--wake-trim-min", type=float, metavar="M", help="Keep M minutes of wake around the reference's sleep.")
@click.option("--show-pairs", is_flag=True, help="List the nights.")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Write it as a picture, too.")
@click.option("--overwrite", is_flag=True, help="Replace the picture if it exists.")
def command(
    *,
    places: tuple[Path, ...],
    normalised: bool,
    scheme: str | None,
    ignore: tuple[str, ...],
    wake_trim_min: float | None,
    show_pairs: bool,
    png: Path | None,
    overwrite: bool,
) -> None:
    """Print the confusion matrix of all nights of PREDICTIONS together, and F1, precision and recall of each stage.

    PREDICTIONS are folders that `hypnograph predict` or `hypnograph cross-validate` wrote, or folders above them.
    Epochs that the reference left unscored are not counted.

    \b
    Example:
      hypnograph confusion predictions
      hypnograph confusion cv/usleep --normalised --png confusion.png
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.cli._many_scorers import check_picture
    from hypnograph.cli.evaluate import merging_scheme
    from hypnograph.cli.summary import tell_doubts
    from hypnograph.evaluation.tables import evaluate_nights
    from hypnograph.training.prediction_files import prediction_folders, read_all_pairs

    check_picture(png, inputs=(), overwrite=overwrite)
    merged = merging_scheme(scheme)
    found = read_all_pairs(prediction_folders(places))
    tell_doubts(found)
    pairs = [pair for of_folder in found.values() for pair in of_folder]
    if merged is not None:
        pairs = [p._replace(reference=p.reference.merge(merged), predicted=p.predicted.merge(merged)) for p in pairs]
    for pair in pairs if show_pairs else ():
        click.echo(f"{pair.name}  {pair.subject}  {pair.reference.n_epochs} epochs")
    evaluation = evaluate_nights(pairs, ignore=ignore, wake_trim_min=wake_trim_min, n_bootstrap=0)
    pooled = evaluation.pooled
    simulated = f" ({evaluation.n_simulated} simulated nights)" if evaluation.n_simulated else ""
    _print(pooled, len(pairs), simulated, normalised=normalised)
    if png is not None:
        from matplotlib.figure import Figure

        from hypnograph.plot import plot_confusion, save_picture

        figure = Figure(figsize=(5.5, 5), layout="constrained")
        axes = figure.subplots()
        plot_confusion(pooled.confusion, pooled.scheme.labels, axes)
        axes.set_title(f"{len(pairs)} nights, {pooled.n_epochs:,} epochs{simulated}", fontsize=10)
        save_picture(figure, png)
        click.echo(f"written: {png}")


def _print(pooled: "Agreement", n_nights: int, simulated: str, *, normalised: bool) -> None:
    labels = pooled.scheme.labels
    click.echo(
        f"{n_nights} nights, {pooled.n_epochs} epochs{simulated}: accuracy {pooled.accuracy:.3f}, "
        f"macro F1 {pooled.macro_f1:.3f}, Cohen's kappa {pooled.cohen_kappa:.3f}"
    )
    width = max(9, *(len(label) + 3 for label in labels))
    click.echo("\nreference ↓ predicted →".ljust(25) + "".join(label.rjust(width) for label in labels))
    for label, row in zip(labels, pooled.confusion.tolist(), strict=True):
        total = sum(row)
        cells = [f"{count / total:.3f}" if normalised and total else str(count) for count in row]
        click.echo(label.ljust(24) + "".join(cell.rjust(width) for cell in cells))
    click.echo("\nstage     F1  precision  recall   epochs")
    for label, stage in pooled.per_stage.items():
        click.echo(f"{label:<6} {stage.f1:>6.3f}  {stage.precision:>8.3f}  {stage.recall:>6.3f}  {stage.support:>7}")
