"""``hypnograph stage``: recordings in, scorings and reports out."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli import JOBS, comma_list

if TYPE_CHECKING:
    from hypnograph.batch import Outcome
    from hypnograph.evaluation.calibration import Calibration
    from hypnograph.stagers import Staging

DEFAULT_WANTED_ACCURACY = 0.9
FORMATS = ("edf", "tsv", "csv", "json", "txt", "ids", "npy", "html", "pdf")
_MARKS = {"staged": ("✓", "green"), "skipped": ("–", "yellow"), "failed": ("✗", "red")}


def _parse_formats(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return comma_list(value, FORMATS)


@click.command()
@click.argument("paths", metavar="FILE|FOLDER…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", default=".", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results. [here]"
)
@click.option(
    "--to", "formats", default="csv,html", callback=_parse_formats, show_default=True, metavar="LIST",
    help=f"What to write, with commas: {', '.join(FORMATS)}.",
)  # fmt: skip
@click.option("--eeg", multiple=True, metavar="NAME", help="EEG derivation to use, e.g. C4-M1; may be repeated.")
@click.option("--eog", multiple=True, metavar="NAME", help="EOG derivation to use, or 'none'; may be repeated.")
@click.option("--emg", multiple=True, metavar="NAME", help="Chin EMG derivation to use, or 'none'; may be repeated.")
@click.option("--ecg", multiple=True, metavar="NAME", help="ECG derivation, for a network that takes one.")
@click.option(
    "--stager", default="ensemble", show_default=True, help="'ensemble': all derivations vote; 'yasa': the best one."
)
@click.option(
    "--model",
    metavar="MODEL",
    help="A network that stages: a checkpoint, an ONNX file, or a name of `hypnograph models`.",
)
@click.option(
    "--resolution", "resolution_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Length of a scored stretch, for networks that can: 30, 15, 10, 5, 3, 1 … [30]",
)  # fmt: skip
@click.option("--age", type=click.FloatRange(0, 120), help="Age in years; used together with --sex.")
@click.option("--sex", type=click.Choice(["male", "female"]), help="Used together with --age.")
@click.option(
    "--decode", default="none", show_default=True, metavar="NAME|FILE",
    help="Correct the stages by how stages follow each other: 'sleep', or a file of `hypnograph decode fit`. "
    "The stager's own probabilities are written to NIGHT-undecoded.csv.",
)  # fmt: skip
@click.option(
    "--calibration", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Of `hypnograph calibrate fit`: says how many epochs need a look. The files written do not change.",
)  # fmt: skip
@click.option(
    "--wanted-accuracy", type=click.FloatRange(0, 1, min_open=True), metavar="SHARE",
    help="After that look; needs --calibration. [0.9]",
)  # fmt: skip
@click.option("--jobs", default=1, show_default=True, type=JOBS, help="Recordings at once; -1: one a core.")
@click.option("--cluster", metavar="ADDRESS", help="Dask scheduler that shares the work out, e.g. tcp://host:8786.")
@click.option("--resume", is_flag=True, help="Skip recordings whose files exist.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--quiet", "-q", is_flag=True, help="Print only problems and the summary.")
def command(paths: tuple[Path, ...], out: Path, formats: tuple[str, ...], quiet: bool, **options: Any) -> None:
    """Stage recordings, on this computer alone.

    The result of NIGHT.edf is written to NIGHT-hypnogram.* and NIGHT-report.*; a recording is never changed.

    \b
    Example:
      hypnograph stage night.edf
      hypnograph stage nights/ --out staged/ --to edf,csv,html --jobs 2 --resume
      hypnograph stage night.edf --model model.onnx --resolution 5
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.batch import UNCHANGED, UNDECODED, plan, run

    if (options["age"] is None) != (options["sex"] is None):
        raise click.UsageError("--age and --sex are used together: give both or neither")
    calibration = _calibration(options["calibration"], options["wanted_accuracy"])
    wanted_accuracy = options["wanted_accuracy"] or DEFAULT_WANTED_ACCURACY
    if options["decode"] != UNCHANGED:
        from hypnograph.sequences.decoding import load_decoder

        load_decoder(options["decode"])  # a name that does not exist is no reason to stage a night
        formats = (*formats, UNDECODED)
    jobs = plan(paths, out, formats)
    outcomes = run(jobs, _batch_options(options), n_jobs=options["jobs"] or 1, cluster=options["cluster"])
    counts = dict.fromkeys(_MARKS, 0)
    for outcome in _watched(outcomes, len(jobs)):
        counts[outcome.status] += 1
        _print_outcome(outcome, calibration, wanted_accuracy, detailed=len(jobs) == 1, quiet=quiet)
    if len(jobs) > 1 or counts["failed"]:
        click.echo(f"{counts['staged']} staged, {counts['skipped']} skipped, {counts['failed']} failed")
    if counts["failed"]:
        sys.exit(1)


def _batch_options(options: dict[str, Any]) -> Any:
    from hypnograph.batch import Options
    from hypnograph.stagers import stager_options

    derivations = {kind: list(options[kind]) for kind in ("eeg", "eog", "emg", "ecg") if options[kind]}
    male = None if options["sex"] is None else options["sex"] == "male"
    others = {name: options[name] for name in ("model", "resolution_s", "age")}
    return Options(
        stager=options["stager"],
        stager_options=derivations | stager_options(options["stager"], **others, male=male),
        resume=options["resume"],
        overwrite=options["overwrite"],
        decode=options["decode"],
    )


def _watched(outcomes: Iterable["Outcome"], total: int) -> Iterator["Outcome"]:
    """Show a bar where a person watches many recordings; rich is not imported for a single one."""
    if total == 1 or not sys.stderr.isatty():
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("staging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The bar steps aside while a line is printed: what is redirected to a file must reach the file.
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task("", total=total)
    with bar:
        for outcome in outcomes:
            bar.stop()
            yield outcome
            bar.advance(task)
            bar.start()


def _calibration(path: Path | None, wanted_accuracy: float | None) -> "Calibration | None":
    if path is None:
        if wanted_accuracy is not None:
            raise click.UsageError(
                "--wanted-accuracy needs --calibration FILE: without one, nobody knows what a confidence is worth; "
                "`hypnograph calibrate fit` makes one from nights that a person scored"
            )
        return None
    from hypnograph.evaluation.calibration import Calibration

    return Calibration.load(path)


def _print_outcome(
    outcome: "Outcome", calibration: "Calibration | None", wanted_accuracy: float, *, detailed: bool, quiet: bool
) -> None:
    mark, colour = _MARKS[outcome.status]
    failed = outcome.status == "failed"
    if quiet and not failed:
        return
    staging = outcome.staging
    name = outcome.job.recording.name
    message = outcome.message.removeprefix(f"{name}: ") if staging is None else _summary(staging, outcome.seconds)
    message += " (simulated)" if outcome.simulated else ""
    click.echo(f"{click.style(mark, fg=colour)} {name}  {message}", err=failed)
    if staging is None:
        return
    if calibration is not None and calibration.scheme != staging.hypnodensity.scheme:
        click.secho(f"    note: the calibration is for the stages {', '.join(calibration.scheme.labels)}", fg="yellow")
        calibration = None
    if detailed:
        _print_details(staging, calibration)
    if calibration is not None:
        _print_review(staging, calibration, wanted_accuracy)
    for warning in staging.warnings:
        click.secho(f"    note: {warning}", fg="yellow")
    if detailed:
        for path in outcome.job.outputs.values():
            click.echo(f"written: {path}")


def _summary(staging: "Staging", seconds: float) -> str:
    from hypnograph.evaluation.sleep_statistics import sleep_statistics

    statistics = sleep_statistics(staging.hypnogram)
    confidence = staging.hypnodensity.confidence()[staging.hypnodensity.known].mean()
    return (
        f"{staging.hypnogram.n_epochs} epochs, TST {statistics.tst_min:.0f} min, SE {statistics.se_percent:.0f} %, "
        f"mean confidence {confidence:.2f}, {seconds:.1f} s"
    )


def _print_details(staging: "Staging", calibration: "Calibration | None") -> None:
    from hypnograph.evaluation.sleep_statistics import sleep_statistics

    click.echo(f"\n{staging.hypnogram.draw()}\n\n{sleep_statistics(staging.hypnogram)}\n")
    for derivation in staging.derivations:
        click.echo(f"{derivation.kind}  {derivation.name}: {derivation.reason}")
    _print_unsure(staging, calibration)


def _print_unsure(staging: "Staging", calibration: "Calibration | None", most: int = 5) -> None:
    from hypnograph.review import unsure_stretches

    hypnodensity = staging.hypnodensity if calibration is None else calibration.apply(staging.hypnodensity)
    stretches = unsure_stretches(hypnodensity, limit=None)
    if not stretches:
        return
    worst = sorted(sorted(stretches, key=lambda stretch: -stretch.doubt)[:most])
    click.echo(f"\n{len(stretches)} unsure {'stretch' if len(stretches) == 1 else 'stretches'}; look first at")
    for stretch in worst:
        epochs = f"epochs {stretch.first_epoch + 1}–{stretch.first_epoch + stretch.n_epochs}"
        choices = (
            f"{stretch.predicted} {stretch.probability:.0%}, {stretch.second_choice} {stretch.second_probability:.0%}"
        )
        click.echo(f"  {_clock(staging, stretch.start_s)}  {epochs:<16} {choices}")
    click.echo()


def _print_review(staging: "Staging", calibration: "Calibration", wanted_accuracy: float) -> None:
    """Say how many epochs need a look for a wanted accuracy, and what that rests on."""
    import math

    from hypnograph.review import review_plan

    if calibration.stager and calibration.stager != staging.stager:
        click.secho(f"    note: the calibration is for {calibration.stager}, not {staging.stager}", fg="yellow")
    calibrated, stages = calibration.apply(staging.hypnodensity), staging.hypnogram
    plan = review_plan(calibrated, wanted_accuracy, hypnogram=stages)
    factor = calibration.doubt_factor()
    surer = ""
    if math.isfinite(factor):
        careful = review_plan(calibrated, wanted_accuracy, hypnogram=stages, doubt_factor=factor)
        surer = f"; to reach it in 9 of 10 such nights, {careful.fraction:.0%} ({len(careful.epochs)})"
    click.echo(
        f"    expected accuracy {plan.expected_before:.2f}; for {wanted_accuracy:g}: look at {plan.fraction:.0%} of "
        f"the epochs ({len(plan.epochs)}){surer}\n"
        f"    calibrated on {_many(calibration.n_nights, 'night')} of {_many(calibration.n_subjects, 'subject')}; "
        "true only for nights like those"
    )


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _clock(staging: "Staging", seconds: float) -> str:
    from datetime import timedelta

    start = staging.hypnogram.start
    if start is None:
        return str(timedelta(seconds=round(seconds)))
    return (start + timedelta(seconds=seconds)).strftime("%H:%M:%S")
