"""``hypnograph calibrate``: make a stager's probabilities mean what they say, and see whether they do."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.evaluation.calibration import Calibration, CertaintyScores
    from hypnograph.evaluation.staged_nights import Fold, StagedNight

METHODS = ("temperature", "vector")
LEVELS = (0.8, 0.9, 0.95)
WANTED = (0.85, 0.9, 0.95)
_SCORES = {
    "accuracy": "accuracy", "confidence": "mean confidence", "calibration_error": "calibration error",
    "equal_mass_error": "  bins of equal mass", "stage_error": "  mean of stages",
    "brier": "Brier score", "nll": "−ln p (nats)",
}  # fmt: skip


def nights_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the nights, and how they are read."""
    decorators = [
        click.argument("reference", type=click.Path(path_type=Path, exists=True)),
        click.argument("predicted", type=click.Path(path_type=Path, exists=True)),
        click.option("--scheme", metavar="NAME", help="Merge stages first: W-light-deep-REM, W-NREM-REM or W-sleep."),
        click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known."),
        click.option(
            "--subject-pattern",
            metavar="REGEX",
            help="Finds the subject in a night's name. [Sleep-EDF, BIDS, or the name]",
        ),
        click.option(
            "--crop-to-shorter", is_flag=True, help="Where start times are unknown, cut the end of the longer one."
        ),
        click.option(
            "--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the reliability diagram to this file."
        ),
        click.option("--overwrite", is_flag=True, help="Replace files that exist."),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


@click.group()
def command() -> None:
    """Make a stager's probabilities come true as often as they say.

    REFERENCE are scorings by people, PREDICTED what `hypnograph stage` wrote with --to csv (or json): two files, or two
    folders of files with the same names. A calibration holds for one stager and for recordings like those it has seen.

    \b
    Example:
      hypnograph calibrate fit experts/ staged/ calibration.json --png reliability.png
      hypnograph calibrate evaluate other-experts/ other-staged/ --calibration calibration.json
      hypnograph stage night.edf --calibration calibration.json --wanted-accuracy 0.9
    """  # noqa: D301 (click's \b keeps the lines of the example)


@command.command()
@nights_options
@click.argument("out", metavar="OUT.json", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="temperature",
    show_default=True,
    help="temperature: one number, no stage changes; vector: two for each stage, for many nights.",
)
def fit(
    *, reference: Path, predicted: Path, out: Path, method: str, png: Path | None, overwrite: bool, **reading: Any
) -> None:
    """Fit a calibration and write it to OUT.json.

    The cross-fitted numbers that are printed, and drawn, are of nights that were calibrated on other subjects.

    \b
    Example:
      hypnograph calibrate fit experts/ staged/ calibration.json --method vector
    """  # noqa: D301
    from hypnograph.evaluation.calibration import cross_fitted, fit_calibration
    from hypnograph.evaluation.staged_nights import by_subject
    from hypnograph.whole_file import check_output

    for path in (out, png):
        if path is not None:
            check_output(path, inputs=(reference, predicted), overwrite=overwrite)
    nights = _read(reference, predicted, reading)
    fitted = fit_calibration(nights, method=method)
    several = len(by_subject(nights)) > 1
    after = cross_fitted(nights, method=method) if several else []
    _print_scores(nights, after, "cross-fitted")
    if not several:
        _note("one subject: nothing tells how well this holds for another")
    _print_fitted(fitted)
    fitted.save(out, overwrite=overwrite)
    click.echo(f"written: {out}")
    _draw(nights, after, "calibrated", png)


@command.command()
@nights_options
@click.option(
    "--calibration", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Of `calibrate fit`, from nights other than these.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def evaluate(
    *,
    reference: Path,
    predicted: Path,
    calibration: Path | None,
    png: Path | None,
    overwrite: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Judge probabilities: do they come true, how far do stage sets hold, how many epochs need a look?

    Stage sets are made without the subject whom they are tried on. The epochs to look at need a calibration.

    \b
    Example:
      hypnograph calibrate evaluate experts/ staged/ --calibration calibration.json --png reliability.png
    """  # noqa: D301
    from hypnograph.evaluation.calibration import Calibration
    from hypnograph.whole_file import check_output

    if png is not None:
        check_output(png, inputs=(reference, predicted), overwrite=overwrite)
    nights = _read(reference, predicted, reading)
    loaded = None if calibration is None else Calibration.load(calibration)
    after = [] if loaded is None else [n._replace(hypnodensity=loaded.apply(n.hypnodensity)) for n in nights]
    judged = after or nights
    sets, reviews = _set_rows(judged), [] if loaded is None else _review_rows(nights, after, loaded)
    if as_json:
        _print_json(nights, after, sets, reviews)
    else:
        _print_scores(nights, after, "calibrated")
        _print_table("stage sets, made without the subject", sets)
        if any(row["stages"] > 0.9 * judged[0].hypnodensity.scheme.n_stages for row in sets):
            _note("sets that name nearly every stage: there are too few subjects for that promise")
        _print_table("epochs to look at", reviews)
        if loaded is None:
            _note("without --calibration nothing is said about epochs to look at: confidence is not accuracy")
    _draw(nights, after, "calibrated", png)


def _read(reference: Path, predicted: Path, reading: dict[str, Any]) -> list["StagedNight"]:
    from hypnograph.cli.evaluate import merging_scheme
    from hypnograph.evaluation.pairing import PairedFiles, common_name, pair_files
    from hypnograph.evaluation.staged_nights import read_staged_night
    from hypnograph.hypnogram_files import hypnogram_suffixes
    from hypnograph.stages import parse_stage_map

    if reference.is_dir() != predicted.is_dir():
        raise click.UsageError("REFERENCE and PREDICTED must both be files or both be folders")
    reading |= {"scheme": merging_scheme(reading["scheme"]), "stage_map": parse_stage_map(reading["stage_map"])}
    if reference.is_dir():
        # Of a night that was written in several formats, those with probabilities come first.
        suffixes = dict.fromkeys((".csv", ".json", *hypnogram_suffixes()))
        pairing = pair_files(reference, predicted, suffixes=suffixes)
        for path in (*pairing.unpaired_reference, *pairing.unpaired_predicted):
            _note(f"{path.name} has no partner")
        pairs = pairing.pairs
    else:
        pairs = (PairedFiles(common_name(reference, predicted), reference, predicted),)
    nights = []
    for files in pairs:
        night, note = read_staged_night(files, **reading)
        nights.append(night)
        if note:
            _note(f"{night.name}: {note}")
    return nights


def _note(text: str) -> None:
    click.secho(f"note: {text}", fg="yellow", err=True)


def _print_scores(before: Sequence["StagedNight"], after: Sequence["StagedNight"], heading: str) -> None:
    from hypnograph.evaluation.calibration import certainty_scores

    columns = {"as staged": certainty_scores(before)} | ({heading: certainty_scores(after)} if after else {})
    found = columns["as staged"]
    nights, people = len(before), found.n_subjects
    click.echo(
        f"{nights} night{'s' * (nights > 1)} of {people} subject{'s' * (people > 1)}, {found.n_epochs} epochs compared"
    )
    rows = [
        {"": label, **{name: _estimate(getattr(scores, field)) for name, scores in columns.items()}}
        for field, label in _SCORES.items()
    ]
    _print_table("", rows)
    if people > 1:
        click.secho("in brackets: 95 % interval, bootstrap over subjects", dim=True)


def _estimate(estimate: tuple[float, float, float]) -> str:
    value, low, high = estimate
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _print_fitted(fitted: "Calibration") -> None:
    if fitted.method == "temperature":
        click.echo(f"temperature {1 / fitted.scale[0]:.2f} (above 1: the stager was too sure)")
    else:
        for label, scale, offset in zip(fitted.scheme.labels, fitted.scale, fitted.offset, strict=True):
            click.echo(f"{label:>5}  scale {scale:.2f}  offset {offset:+.2f}")
    factor = fitted.doubt_factor()
    if math.isfinite(factor):
        click.echo(f"9 of 10 nights have at most {factor:.2f} times as many errors as expected")
    else:
        _note(f"subjects: {fitted.n_subjects}, too few to say anything of 9 in 10 nights; it takes 9 or more")


def _set_rows(nights: Sequence["StagedNight"]) -> list[dict[str, Any]]:
    """Return how stage sets of each promise and level fared; nothing for a single subject."""
    from hypnograph.evaluation.conformal import cross_fitted_sets, set_scores
    from hypnograph.evaluation.staged_nights import by_subject, leave_subjects_out

    if len(by_subject(nights)) < 2:
        return []
    folds: list[Fold] = list(leave_subjects_out(nights))
    rows = []
    for promise in ("subjects", "nights"):
        for level in LEVELS:
            found = set_scores(cross_fitted_sets(folds, level=level, promise=promise), level)
            rows.append({
                "promise": promise, "level": level, "coverage": found.coverage.value, "stages": found.size.value,
                "one stage": found.share_of_one.value, "lowest night": found.lowest, "nights kept": found.nights_kept,
            })  # fmt: skip
    return rows


def _review_rows(
    nights: Sequence["StagedNight"], calibrated: Sequence["StagedNight"], fitted: "Calibration"
) -> list[dict[str, Any]]:
    """Return for each wanted accuracy the epochs to look at, and what was reached."""
    import numpy as np

    from hypnograph.review import review_plan, reviewed_accuracy

    factors = {"expected": 1.0} | ({"9 of 10 nights": f} if math.isfinite(f := fitted.doubt_factor()) else {})
    rows = []
    for wanted in WANTED:
        for name, factor in factors.items():
            looked, reached = [], []
            for night, sure in zip(nights, calibrated, strict=True):
                staged = night.hypnodensity.argmax()
                if (staged.scored & night.reference.scored).any():
                    plan = review_plan(sure.hypnodensity, wanted, hypnogram=staged, doubt_factor=factor)
                    looked.append(plan.fraction)
                    reached.append(reviewed_accuracy(plan, staged, night.reference))
            rows.append({
                "wanted": wanted, "reckoned": name, "look at": float(np.mean(looked)),
                "reached": float(np.mean(reached)), "lowest night": min(reached),
                "nights that reach it": float(np.mean(np.array(reached) >= wanted)),
            })  # fmt: skip
    return rows


def _print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(*rows[0], title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(highlight=False).print(table)


def _print_json(
    before: Sequence["StagedNight"], after: Sequence["StagedNight"], sets: Sequence[Any], reviews: Sequence[Any]
) -> None:
    import json

    from hypnograph.evaluation.calibration import certainty_scores

    def plain(scores: "CertaintyScores") -> dict[str, Any]:
        pairs = scores._asdict().items()
        return {k: [None if math.isnan(x) else x for x in v] if isinstance(v, tuple) else v for k, v in pairs}

    content: dict[str, Any] = {"as_staged": plain(certainty_scores(before))}
    if after:
        content["calibrated"] = plain(certainty_scores(after))
    click.echo(json.dumps(content | {"stage_sets": list(sets), "review": list(reviews)}, indent=1, allow_nan=False))


def _draw(before: Sequence["StagedNight"], after: Sequence["StagedNight"], name: str, png: Path | None) -> None:
    """Draw the most probable stage before and after, and beside it each stage as it is at the end."""
    if png is None:
        return
    from matplotlib.figure import Figure

    from hypnograph.evaluation.calibration import reliability
    from hypnograph.evaluation.staged_nights import scheme_of
    from hypnograph.plot import plot_reliability, stage_colours
    from hypnograph.whole_file import whole_file

    if png.suffix.lower() != ".png":
        raise HypnographError(f"{png.name}: the picture ends in .png")
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    top, stages = figure.subplots(1, 2)
    plot_reliability([("as staged", reliability(before))] + ([(name, reliability(after))] if after else []), top)
    top.set_title("the most probable stage", loc="left", fontsize=10)
    final, scheme = after or before, scheme_of(before)
    curves = [(label, reliability(final, stage=label)) for label in scheme.labels]
    plot_reliability(curves, stages, colours=stage_colours(scheme))
    stages.set_title(f"each stage, {name if after else 'as staged'}", loc="left", fontsize=10)
    with whole_file(png) as partial:
        figure.savefig(partial, dpi=150)
    click.echo(f"written: {png}", err=True)
