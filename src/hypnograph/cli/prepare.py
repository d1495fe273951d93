"""``hypnograph prepare``: nights of datasets into a store that training reads."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli import JOBS
from hypnograph.cli._progress import Show, count_progress
from hypnograph.cli._sources import (
    channel_kinds,
    data_options,
    derivation_options,
    derivations_of,
    found_in,
    misplaced,
    taken_from,
)
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.datasets import Problem
    from hypnograph.preprocess import InputSpec
    from hypnograph.training.preparation import PreparationReport, PreparedOutcome
    from hypnograph.training.store import Store

_SHOWN_NOTES = 10
_OF_SPEC = ("rate", "band", "epoch", "scaling", "outliers", "outlier_iqr", "resampling")
_UNCUT = {"crop_min": None, "crop_order": "masked", "centred": False}


def _parse_sources(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, Path]]:
    pairs = [value.partition("=") for value in values]
    if wrong := [value for value, (name, equals, _) in zip(values, pairs, strict=True) if not (name and equals)]:
        raise click.BadParameter(f"{wrong[0]!r}: write DATASET=FOLDER, e.g. sleep-edf-sc=data/sleep-edf")
    return [(name, Path(folder)) for name, _, folder in pairs]


def _parse_band(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        low, high = (float(edge) for edge in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r}: write LOW,HIGH in Hz, e.g. 0.3,35") from None
    return low, high


@click.command()
@click.argument("store")
@click.argument("sources", metavar="DATASET=FOLDER…", nargs=-1, required=True, callback=_parse_sources)
@click.option("--recipe", metavar="RECIPE", help="Prepare for this recipe: its name, or a TOML file.")
@click.option("--like", metavar="MODEL", help="Prepare as this checkpoint or ONNX file takes its nights.")
@click.option("--kinds", metavar="LIST", help="Channels that every night must have: EEG,EOG,EMG,ECG.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Sample rate, Hz.  [128]")
@click.option("--band", callback=_parse_band, metavar="LOW,HIGH", help="Pass band, Hz.  [unfiltered]")
@click.option("--epoch", type=click.FloatRange(min=0, min_open=True), help="Length of an epoch, s.  [30]")
@click.option("--scaling", type=click.Choice(["none", "robust", "standard", "epoch-range"]), help="[none: µV]")
@click.option("--outliers", type=click.Choice(["keep", "clip", "clip-resampled", "zero-epochs"]), help="[keep]")
@click.option("--outlier-iqr", type=click.FloatRange(min=0, min_open=True), help="Interquartile ranges.  [20]")
@click.option("--resampling", type=click.Choice(["spectrum", "polyphase"]), help="[spectrum]")
@click.option("--crop", type=click.FloatRange(min=0), metavar="MINUTES", help="Wake to keep around sleep.  [all]")
@click.option(
    "--crop-order", type=click.Choice(["masked", "unscored-is-sleep"]),
    help="How unscored epochs count for --crop: AttnSleep's rule, or TinySleepNet's.  [the recipe's, else masked]",
)  # fmt: skip
@click.option(
    "--centred/--not-centred",
    default=None,
    help="Where scored epochs are shorter than the network's: a window around each.  [the recipe's, else not]",
)
@click.option("--scorers", metavar="LIST", help="Take these scorers only, with commas.  [all]")
@derivation_options
@click.option("--max-derivations", type=click.IntRange(min=1), metavar="N", help="At most N of each kind.  [all]")
@data_options
@click.option("--dtype", type=click.Choice(["float16", "float32"]), help="Of the samples in the store.  [float16]")
@click.option("--compress", is_flag=True, default=None, help="Smaller files, slower reads.")
@click.option("--jobs", default=1, show_default=True, type=JOBS, help="Nights at once; -1: one a core.")
@click.option("--cluster", metavar="ADDRESS", help="Dask scheduler that shares the work out, e.g. tcp://host:8786.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Skip nights that are there already.")
@click.option("--overwrite", is_flag=True, help="Prepare again nights that are there.")
@click.option("--strict", is_flag=True, help="Exit code 1 if anything could not be prepared.")
@click.pass_context
def command(ctx: click.Context, /, store: str, sources: list[tuple[str, Path]], **options: Any) -> None:
    """Prepare the nights of datasets for training, in STORE: a folder, or an address such as s3://bucket/store.

    Signals are chosen, resampled and scaled as the network takes them; scorings are put on the recordings' epochs by
    their start times. Any datasets can share a store. What is there is skipped, so a preparation that was interrupted
    goes on by the same command. Recordings are never changed.

    \b
    Example:
      hypnograph prepare usleep-store sleep-edf-sc=data/sleep-edf mass-ss3=data/mass --recipe usleep --jobs 2
      hypnograph prepare store folder=nights --kinds EEG,EOG --rate 128 --scaling robust --outliers clip
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.datasets import Night
    from hypnograph.training.preparation import prepare

    spec, how = _how(store, options)
    derivations = derivations_of(options)
    if unused := [kind for kind in derivations if kind not in spec.kinds]:
        raise click.UsageError(f"--{unused[0].lower()}: the network takes {', '.join(spec.kinds)} only")
    of_data = taken_from(options)
    if wrong := misplaced(sources, of_data):
        raise click.UsageError(wrong)
    found = list(found_in(sources, of_data))
    nights, problems = (
        [one for one in found if isinstance(one, Night)],
        [one for one in found if not isinstance(one, Night)],
    )
    if not nights:
        for problem in problems:
            click.secho(f"problem: {problem}", fg="yellow", err=True)
        folders = ", ".join(str(folder) for _, folder in sources)
        raise HypnographError(f"no night that could be prepared in {folders}; hypnograph check-data says why")
    passed = ("jobs", "cluster", "overwrite", "resume", "max_derivations", "dtype", "compress")
    given = {name: options[name] for name in passed}
    scorers = "all" if options["scorers"] is None else tuple(s.strip() for s in options["scorers"].split(","))
    with count_progress("preparing") as show:
        progress = None if show is None else _counting(show, len(nights))
        report = prepare(
            nights,
            store,
            spec,
            scorers=scorers,
            derivations=derivations,
            progress=progress,
            **how,
            **given,
        )
    _print(report, problems)
    usable = len(report.outcomes) - len(report.failed)
    ctx.exit(1 if not usable or (options["strict"] and (report.failed or problems)) else 0)


def _counting(show: Show, total: int) -> Callable[["PreparedOutcome"], None]:
    numbers = count(1)
    return lambda _: show(next(numbers), total)


def _how(store: str, options: Mapping[str, Any]) -> tuple["InputSpec", dict[str, Any]]:
    """Return how nights are prepared and cut: as a recipe, a model, the options or the store that is there say."""
    from hypnograph.training.cropping import Crop

    spec, cut = _source(store, options)
    named = {"crop": "crop_min", "crop_order": "crop_order", "centred": "centred"}
    minutes, order, centred = (cut[key] if options[name] is None else options[name] for name, key in named.items())
    if minutes is None and options["crop_order"]:
        raise click.UsageError("--crop-order is used together with --crop")
    return spec, {"crop": None if minutes is None else Crop(minutes, order), "centred": centred}


def _source(store: str, options: Mapping[str, Any]) -> tuple["InputSpec", dict[str, Any]]:
    """Return how what the options name is prepared, and cut: by the keys of a recipe."""
    from hypnograph.training.epoch_grid import check_windows
    from hypnograph.training.store import find_store

    said = [name for name in ("recipe", "like", "kinds") if options[name] is not None]
    if len(said) > 1:
        raise click.UsageError(f"--{said[0]} and --{said[1]} both say how to prepare; give one")
    if said != ["kinds"] and (loose := [name for name in _OF_SPEC if options[name] is not None]):
        raise click.UsageError(f"--{loose[0].replace('_', '-')} is used together with --kinds")
    if said == ["recipe"]:
        from hypnograph.training.recipes import read_recipe

        recipe = read_recipe(options["recipe"])
        if options["centred"] or (recipe.centred and options["centred"] is None):
            check_windows(recipe.network.architecture, shift_s=recipe.sampling.shift_s)
        return recipe.input_spec(), {key: getattr(recipe, key) for key in _UNCUT}
    if said == ["like"]:
        from hypnograph.released_weights import load

        info = load(options["like"]).info
        if options["centred"]:
            check_windows(info.architecture)
        return info.input, _UNCUT
    if said == ["kinds"]:
        return _spec(options), _UNCUT
    if existing := find_store(store):
        return existing.spec, _cut_of(existing, options)
    raise click.UsageError("say how to prepare: --recipe, --like, or --kinds")


def _cut_of(store: "Store", options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the nights of a store are cut, as far as the options do not say it."""
    cut = dict(_UNCUT)
    for name in ("crop", "centred"):
        ways = {json.dumps(night.entry.get("choices", {}).get(name)) for night in store.nights}
        if options[name] is not None or not ways:
            continue
        if len(ways) > 1:
            raise click.UsageError(f"the nights of this store are not all cut alike: --{name}, --recipe or --kinds")
        its = json.loads(ways.pop())
        if name == "centred":
            cut["centred"] = bool(its)
        elif its:
            cut |= {"crop_min": its["minutes"], "crop_order": its["order"]}
    return cut


def _spec(options: Mapping[str, Any]) -> "InputSpec":
    from hypnograph.preprocess import InputSpec

    kinds = channel_kinds(options["kinds"])
    names = {"rate": "sample_rate", "band": "band_hz", "epoch": "epoch_s"}
    given = {names.get(name, name): options[name] for name in _OF_SPEC if options[name] is not None}
    return InputSpec(**{"kinds": kinds, "sample_rate": 128.0, **given})


def _print(report: "PreparationReport", problems: list["Problem"]) -> None:
    store = report.store
    width = max((len(name) for name in (*store.datasets, "together")), default=0)
    click.echo(f"{'in the store':<{max(width, 12)}}{'nights':>8}{'subjects':>10}{'hours':>9}{'size, MB':>10}")
    names = list(store.datasets)
    for name, part in [(name, store.select(datasets=[name])) for name in names] + [("together", store)] * (
        len(names) > 1
    ):
        hours = sum(night.n_epochs * night.epoch_s for night in part.nights) / 3600
        size = sum(night.n_bytes for night in part.nights) / 1e6
        row = f"{len(part.nights):>8,}{len(part.subjects):>10,}{hours:>9,.1f}{size:>10,.1f}"
        click.echo(f"{name:<{max(width, 12)}}{row}")
    counts = Counter(outcome.status for outcome in report.outcomes)
    click.echo(", ".join(f"{counts[status]} {status}" for status in ("prepared", "skipped", "failed")))
    notes = [f"{o.key}: {note}" for o in report.outcomes if o.entry for note in o.entry["warnings"]]
    for note in notes[:_SHOWN_NOTES]:
        click.echo(f"note: {note}", err=True)
    if len(notes) > _SHOWN_NOTES:
        click.echo(f"note: … and {len(notes) - _SHOWN_NOTES} more, all in the store's catalogue.json", err=True)
    for outcome in report.failed:
        click.secho(f"failed: {outcome.key}: {outcome.message}", fg="red", err=True)
    for problem in problems:
        click.secho(f"problem: {problem}", fg="yellow", err=True)
