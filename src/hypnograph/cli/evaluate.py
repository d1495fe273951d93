"""``hypnograph evaluate``: how far predicted scorings agree with their references."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError, UnreadableFileError

if TYPE_CHECKING:
    from hypnograph.evaluation.many_scorers import ManyScorers
    from hypnograph.evaluation.pairing import Pairing
    from hypnograph.evaluation.tables import Evaluation, NightPair
    from hypnograph.stages import StageScheme


@click.command()
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("predicted", type=click.Path(path_type=Path))
@click.option(
    "--reference",
    "others",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The same nights by one more scorer; may be repeated.",
)
@click.option("--scheme", metavar="NAME", help="Merge stages first: W-light-deep-REM, W-NREM-REM or W-sleep (or AASM).")
@click.option(
    "--ignore", multiple=True, metavar="STAGE", help="Leave out epochs of this reference stage; may be repeated."
)
@click.option("--wake-trim-min", type=float, metavar="M", help="Keep M minutes of wake around the reference's sleep.")
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option(
    "--subject-pattern",
    metavar="REGEX",
    help="Finds the subject in a night's name.  [that of hypnograph predict, Sleep-EDF, BIDS, or the name]",
)
@click.option(
    "--crop-to-shorter", is_flag=True, help="Where start times are unknown, cut the end of the longer scoring."
)
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each night to this file.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --reference: kappa of each pair of scorers as a picture (png, svg, pdf).",
)
@click.option("--overwrite", is_flag=True, help="Replace the csv file and the picture if they exist.")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap over subjects.")
def command(
    *,
    reference: Path,
    predicted: Path,
    others: tuple[Path, ...],
    scheme: str | None,
    ignore: tuple[str, ...],
    wake_trim_min: float | None,
    as_json: bool,
    csv: Path | None,
    plot: Path | None,
    overwrite: bool,
    seed: int,
    **reading: Any,
) -> None:
    """Compare PREDICTED scorings with their REFERENCE: two files, or two folders of files with the same names.

    Prints accuracy, F1, Cohen's kappa, MCC and MGm, pooled and per night, with 95 % intervals over subjects. Scorings
    are aligned by their start times; epochs that either side left unscored are not compared.

    With several references: agreement with each, with the consensus of all, and with the consensus of all but one, as
    each person is compared with the others; soft agreement; kappas of all pairs.

    \b
    Example:
      hypnograph evaluate expert.txt staged/night-hypnogram.csv
      hypnograph evaluate experts/ staged/ --wake-trim-min 30 --csv nights.csv
      hypnograph evaluate anna.txt staged/night-hypnogram.csv --reference ben.txt --reference chris.txt
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.cli._many_scorers import check_picture, read_scorers
    from hypnograph.evaluation.many_scorers import compare_scorers
    from hypnograph.evaluation.tables import evaluate_nights
    from hypnograph.whole_file import check_output

    whose = {} if reading["subject_pattern"] else _whose(predicted)
    if csv is not None:
        check_output(csv, inputs=(reference, predicted, *others), overwrite=overwrite)
    if others:
        if ignore:
            raise click.UsageError("--ignore is for one reference; with several, say which stages with --scheme")
        check_picture(plot, inputs=(reference, predicted, *others), overwrite=overwrite)
        several, notes = read_scorers((reference, *others), (predicted,), merging_scheme(scheme), reading, whose)
        found = compare_scorers(several, wake_trim_min=wake_trim_min, seed=seed)
        _give_many(found, notes, as_json=as_json, csv=csv, plot=plot)
        return
    if plot is not None:
        raise click.UsageError("--plot draws the kappas of several scorers; give them with --reference")
    pairing = _pair(reference, predicted)
    nights, notes = _read(pairing, merging_scheme(scheme), reading, whose)
    evaluation = evaluate_nights(nights, ignore=ignore, wake_trim_min=wake_trim_min, seed=seed)
    if csv is not None:
        _write_csv(evaluation, csv)
    if as_json:
        _print_json(evaluation, pairing, notes)
    else:
        _print_tables(evaluation, pairing, notes)


def _give_many(found: "ManyScorers", notes: list[str], *, as_json: bool, csv: Path | None, plot: Path | None) -> None:
    import json

    from hypnograph.cli._many_scorers import kappa_figure, print_comparison

    if csv is not None:
        _write_csv(found, csv)
    if plot is not None:
        from hypnograph.plot import save_picture

        save_picture(kappa_figure(found), plot)
    if as_json:
        click.echo(json.dumps(found.as_dict() | {"notes": notes}, indent=1, allow_nan=False))
    else:
        print_comparison(found, notes)


def _pair(reference: Path, predicted: Path) -> "Pairing":
    from hypnograph.evaluation.pairing import PairedFiles, Pairing, common_name, pair_files
    from hypnograph.hypnogram_files import hypnogram_formats

    for path in (reference, predicted):
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    if reference.is_dir() != predicted.is_dir():
        raise click.UsageError("REFERENCE and PREDICTED must both be files or both be folders")
    if not reference.is_dir():
        return Pairing((PairedFiles(common_name(reference, predicted), reference, predicted),), (), ())
    suffixes = {suffix: None for known in hypnogram_formats().values() for suffix in known.SUFFIXES}
    return pair_files(reference, predicted, suffixes=suffixes)


def merging_scheme(name: str | None) -> "StageScheme | None":
    """Return the scheme that a user names; None if none is named."""
    from hypnograph.stages import SCHEMES

    if name is None:
        return None
    known = {scheme.lower(): scheme for scheme in SCHEMES}
    if name.lower() not in known:
        raise HypnographError(f"--scheme {name!r} is not one of {', '.join(SCHEMES)}")
    return SCHEMES[known[name.lower()]]


def _read(
    pairing: "Pairing", scheme: "StageScheme | None", reading: dict[str, Any], whose: Mapping[str, str]
) -> tuple[list["NightPair"], list[str]]:
    from hypnograph.evaluation.pairing import read_night
    from hypnograph.stages import parse_stage_map

    reading["stage_map"] = parse_stage_map(reading["stage_map"])
    read = [read_night(files, scheme=scheme, **reading) for files in pairing.pairs]
    nights = [
        night._replace(subject=whose.get(files.predicted.name, night.subject))
        for files, (night, _) in zip(pairing.pairs, read, strict=True)
    ]
    return nights, [f"{night.name}: {note}" for night, note in read if note]


def _whose(predicted: Path) -> Mapping[str, str]:
    """Return the subject of each file that `hypnograph predict` or a cross-validation wrote; they know."""
    folder = predicted.parent.parent if predicted.parent.name == "combinations" else predicted.parent
    if not predicted.is_dir() or not ((folder / "predicted").is_dir() and (folder / "nights.csv").is_file()):
        return {}
    from hypnograph.training.prediction_files import read_rows

    try:
        return {row.file: row.subject for row in read_rows(folder)}
    except UnreadableFileError:  # a table of this name by somebody else
        return {}


def _write_csv(found: "Evaluation | ManyScorers", csv: Path) -> None:
    from hypnograph.whole_file import whole_file

    with whole_file(csv) as temporary:
        frame = found.to_frame()
        frame.to_csv(temporary, index=frame.index.name is not None)


def _print_json(evaluation: "Evaluation", pairing: "Pairing", notes: list[str]) -> None:
    import json

    result = evaluation.as_dict() | {
        "alignment": notes,
        "unpaired_reference": [path.name for path in pairing.unpaired_reference],
        "unpaired_predicted": [path.name for path in pairing.unpaired_predicted],
    }
    click.echo(json.dumps(result, indent=1, allow_nan=False))


def _print_tables(evaluation: "Evaluation", pairing: "Pairing", notes: list[str]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    pooled = evaluation.pooled
    subjects = f"{evaluation.n_subjects} subject{'s' * (evaluation.n_subjects != 1)}"
    nights = f"{len(evaluation.nights)} night{'s' * (len(evaluation.nights) != 1)}"
    ignored = f", {', '.join(pooled.ignored)} ignored" if pooled.ignored else ""
    console.print(f"{nights} of {subjects}, {pooled.n_epochs} epochs compared{ignored}")
    for table in (_overall_table(evaluation), _stage_table(evaluation), _confusion_table(evaluation)):
        console.print(table)
    if evaluation.n_subjects > 1:
        console.print("in brackets: 95 % interval, bootstrap over subjects", style="dim")
    if pooled.n_reference_unscored:
        console.print(
            f"{pooled.n_reference_unscored} epochs are unscored in the reference and were left out", style="dim"
        )
    for side, paths in (("reference", pairing.unpaired_reference), ("predicted", pairing.unpaired_predicted)):
        if paths:
            names = ", ".join(path.name for path in paths)
            notes = [*notes, f"{len(paths)} {side} files without a partner: {names}"]
    for note in [*notes, *evaluation.notes]:
        click.secho(f"note: {note}", fg="yellow", err=True)


def _overall_table(evaluation: "Evaluation") -> Any:
    from rich import box
    from rich.table import Table

    from hypnograph.evaluation.agreement import METRIC_LABELS

    many = len(evaluation.nights) > 1
    table = Table("", "pooled", *(["per night: mean ± sd"] if many else []), box=box.SIMPLE_HEAD)
    for name, label in METRIC_LABELS.items():
        value, low, high = evaluation.pooled_estimates[name]
        row = [label, f"{value:.3f}{_interval(low, high)}"]
        if many:
            night = evaluation.per_night[name]
            row.append(f"{night.mean:.3f} ± {night.sd:.3f}{_interval(night.low, night.high)}")
        table.add_row(*row)
    return table


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" ({low:.3f} to {high:.3f})"


def _stage_table(evaluation: "Evaluation") -> Any:
    from rich import box
    from rich.table import Table

    table = Table("stage", box=box.SIMPLE_HEAD)
    for heading in ("precision", "recall", "F1", "kappa", "epochs"):
        table.add_column(heading, justify="right")
    for label, stage in evaluation.pooled.per_stage.items():
        estimate = evaluation.pooled_estimates[f"f1_{label}"]
        f1 = f"{stage.f1:.3f}{_interval(estimate.low, estimate.high)}"
        table.add_row(
            label, f"{stage.precision:.3f}", f"{stage.recall:.3f}", f1, f"{stage.kappa:.3f}", str(stage.support)
        )
    return table


def _confusion_table(evaluation: "Evaluation") -> Any:
    from rich import box
    from rich.table import Table

    pooled = evaluation.pooled
    table = Table("reference ↓", box=box.SIMPLE_HEAD)
    for label in pooled.scheme.labels:
        table.add_column(f"→ {label}", justify="right")
    for label, counts in zip(pooled.scheme.labels, pooled.confusion.tolist(), strict=True):
        if label not in pooled.ignored:
            table.add_row(label, *(str(count) for count in counts))
    return table
