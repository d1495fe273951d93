"""``hypnograph language-model``: train, evaluate, sample and use language models of sleep stages."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    import pandas as pd

    from hypnograph.hypnogram import Hypnogram
    from hypnograph.sequences.next_stage import NextStageModel
    from hypnograph.sequences.next_stage_corpus import TrainingNight
    from hypnograph.sequences.next_stage_evaluation import NextStageScore
    from hypnograph.sequences.plausibility import ImprobableStretch, Plausibility

COUNTED = ("semi-markov", "ngram")
NETWORKS = ("memory", "recurrent", "gpt")
SHIPPED = "night-memory"
"""The model that comes with hypnograph."""


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how scorings are read."""
    options = [
        click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known."),
        click.option("--subject-pattern", metavar="REGEX",
                     help="Finds the subject in a file's name. [Sleep-EDF, BIDS, or the name]"),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Language models of sleep stages: how likely a stage is, given those before it.

    NIGHTS are scorings of any known format, corpora (.jsonl: a night on each line, with dataset, subject, record and
    stages), or folders of either. The dataset of a scoring is the name of its folder. MODEL is a folder, or the name of
    a model that ships or that `hypnograph models` lists.

    \b
    Example:
      hypnograph language-model train my-model scorings/
      hypnograph language-model score scoring.txt
      hypnograph language-model score scoring.txt --model my-model
    """  # noqa: D301 (click's \b keeps the lines of the example)


@command.command()
@click.argument("folder", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("nights", metavar="NIGHTS…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--kind",
    type=click.Choice((*COUNTED, *NETWORKS)),
    default="semi-markov",
    show_default=True,
    help="Counted in seconds (semi-markov, ngram), or a network, which needs PyTorch.",
)
@click.option("--order", type=click.IntRange(2, 8), default=8, show_default=True, help="Of n-grams: their length.")
@click.option(
    "--back",
    type=click.IntRange(0, 2),
    default=2,
    show_default=True,
    help="Of semi-markov: how many bouts back it knows.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Of a network: one of its options.")
@click.option("--seed", default=1, show_default=True, help="Of all that is drawn.")
@click.option("--licence", default="", help="Of the weights, for the model card.")
@reading_options
def train(
    *,
    folder: Path,
    nights: tuple[Path, ...],
    kind: str,
    order: int,
    back: int,
    settings: tuple[str, ...],
    seed: int,
    licence: str,
    **reading: Any,
) -> None:
    """Fit a model to NIGHTS and write it to the folder MODEL.

    \b
    Example:
      hypnograph language-model train my-model scorings/
      hypnograph language-model train my-grams corpus.jsonl --kind ngram --order 5
      hypnograph language-model train my-network corpus.jsonl --kind memory --set passes=4
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.sequences.next_stage_corpus import scored_runs
    from hypnograph.sequences.plausibility import reference_surprise, save_reference

    if folder.exists():
        raise HypnographError(f"{folder} exists and is not overwritten; choose another name")
    if settings and kind in COUNTED:
        raise HypnographError(f"--set is for networks ({', '.join(NETWORKS)}); {kind} has --order and --back")
    read = _read(nights, reading)
    about: dict[str, Any] = {"name": folder.name, "data": _data(read), "licence": licence}
    model: Any
    if kind == "ngram":
        from hypnograph.sequences.ngrams import NGramModel

        model = NGramModel.fit(read, order, seed=seed, **about)
    elif kind == "semi-markov":
        from hypnograph.sequences.semi_markov import SemiMarkovModel

        model = SemiMarkovModel.fit(read, back=back, seed=seed, **about)
    else:
        model = _network(read, kind, settings, seed, about)
    model.save(folder)
    nats = reference_surprise(model, [n.stages for n in read if scored_runs(n.stages)])
    save_reference(folder, nats, "the nights it was trained on")
    click.echo(f"{folder}: {kind}, fitted to {about['data']}; mean surprise there {nats.mean():.3f} nats an epoch")


@command.command()
@click.argument("nights", metavar="NIGHTS…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="MODEL",
    help="May be repeated; the others are compared with the first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap over subjects.")
@reading_options
def evaluate(*, nights: tuple[Path, ...], models: tuple[str, ...], as_json: bool, seed: int, **reading: Any) -> None:
    """Tell how well models predict the next stage of NIGHTS, dataset by dataset.

    Prints the mean surprise (negative log-likelihood, nats an epoch; less is better) and the accuracy of the most
    likely stage, with 95 % intervals by a bootstrap over subjects, and the difference to the first model on the same
    draws. Every scored epoch that has one before it counts.

    \b
    Example:
      hypnograph language-model evaluate other-scorings/ --model my-model --model my-grams
    """  # noqa: D301
    from hypnograph.sequences.next_stage_evaluation import next_stage_scores

    read, loaded = _read(nights, reading), {name: _load(name) for name in models}
    scores = next_stage_scores(loaded, read, seed=seed)
    if as_json:
        _print_json([_plain_score(score) for score in scores])
        return
    _print_scores(scores)
    for name, model in loaded.items():
        if model.targets_ahead != 1:
            click.secho(
                f"note: {name} was trained for {model.targets_ahead} epochs ahead; here it is held against the next",
                fg="yellow", err=True,
            )  # fmt: skip


@command.command()
@click.argument("source", metavar="MODEL")
@click.argument("folder", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--nights", "n_nights", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=8.0,
    show_default=True,
    help="How long each night is.",
)
@click.option(
    "--like",
    multiple=True,
    metavar="NIGHTS",
    type=click.Path(path_type=Path, exists=True),
    help="Real nights: take their lengths, and compare with them; may be repeated.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Above 1 wilder, below 1 tamer than the model.",
)
@click.option("--format", "suffix", metavar="NAME", default="csv", show_default=True, help="Of the files.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@reading_options
def sample(
    *,
    source: str,
    folder: Path,
    n_nights: int,
    hours: float,
    like: tuple[Path, ...],
    temperature: float,
    suffix: str,
    seed: int,
    as_json: bool,
    **reading: Any,
) -> None:
    """Draw nights from MODEL, write them to the folder OUT, and show their sleep statistics.

    With --like the nights are as long as the real ones, in turn, and the table compares the two: quartiles, and the
    largest distance between their cumulative distributions (KS; 0 the same, 1 apart).

    \b
    Example:
      hypnograph language-model sample my-model dreams --nights 20 --like scorings/
    """  # noqa: D301
    from hypnograph.sequences.next_stage_corpus import EPOCH_S
    from hypnograph.sequences.sampling import compare_with_real, quartiles, sample_nights

    if folder.exists():
        raise HypnographError(f"{folder} exists and is not overwritten; choose another name")
    model = _load(source)
    real = [night.stages for night in _read(like, reading, scheme=model.scheme)] if like else []
    lengths = [len(real[i % len(real)]) if real else max(1, round(hours * 3600 / EPOCH_S)) for i in range(n_nights)]
    nights = sample_nights(model, lengths, temperature=temperature, seed=seed)
    _write_nights(nights, folder, suffix, model)
    table = compare_with_real(nights, real, model.scheme) if real else quartiles(nights, model.scheme)
    if as_json:
        _print_json([{"statistic": name, **row} for name, row in table.to_dict(orient="index").items()])
    else:
        _print_statistics(table)


@command.command()
@click.argument("files", metavar="NIGHTS…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", "source", default=SHIPPED, show_default=True, metavar="MODEL", help="Of the next stage.")
@click.option(
    "--reference",
    multiple=True,
    metavar="NIGHTS",
    type=click.Path(path_type=Path, exists=True),
    help="Compare with these nights. [those that the model was trained on]",
)
@click.option(
    "--least-gain",
    type=float,
    default=2.0,
    show_default=True,
    help="Flag stretches that would be likelier otherwise by so many nats: 2 are odds of 7 to 1.",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=10, show_default=True, help="Flags for each night at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print all as JSON.")
@reading_options
def score(
    *,
    files: tuple[Path, ...],
    source: str,
    reference: tuple[Path, ...],
    least_gain: float,
    limit: int,
    as_json: bool,
    **reading: Any,
) -> None:
    """Tell how plausible scorings are, and which of their stretches deserve a second look.

    The surprise of a night is its mean -log p of an epoch. The percentile says how many percent of the reference nights
    are less plausible. A flagged stretch is unusual; that does not make it wrong.

    \b
    Example:
      hypnograph language-model score scoring.txt
      hypnograph language-model score scoring.txt --model my-model
    """  # noqa: D301
    from hypnograph.sequences.next_stage_corpus import read_scorings
    from hypnograph.sequences.plausibility import improbable_stretches, night_plausibility
    from hypnograph.stages import parse_stage_map

    model = _load(source)
    nats, of = _reference(model, source, reference, reading)
    results = []
    for path, scoring in read_scorings(files, stage_map=parse_stage_map(reading["stage_map"])):
        hypnogram = scoring.merge(model.scheme)
        night = night_plausibility(model, hypnogram.stages, reference=nats)
        stretches = improbable_stretches(model, hypnogram, least_gain=least_gain, limit=limit)
        results.append((path, hypnogram, night, stretches))
    if not results:
        raise HypnographError(f"no scoring in {', '.join(map(str, files))}")
    if as_json:
        _print_json([
            {"file": path.name, **night._asdict(), "reference": of, "stretches": [s._asdict() for s in stretches]}
            for path, _, night, stretches in results
        ])  # fmt: skip
        return
    for result in results:
        _print_night(*result)
    if of:
        click.echo(f"Percentiles are among {of}.")


# Reading --------------------------------------------------------------------------------------------------------------


def _read(places: Sequence[Path], reading: dict[str, Any], **how: Any) -> "list[TrainingNight]":
    from hypnograph.sequences.next_stage_corpus import read_nights
    from hypnograph.stages import parse_stage_map

    stage_map = parse_stage_map(reading["stage_map"])
    return read_nights(places, stage_map=stage_map, subject_pattern=reading["subject_pattern"], **how)


def _data(nights: "Sequence[TrainingNight]") -> str:
    """Return what a model was trained on, in words: no name of a person or a file."""
    people = len({night.person for night in nights})
    by_dataset: dict[str, int] = {}
    for night in nights:
        by_dataset[night.dataset] = by_dataset.get(night.dataset, 0) + 1
    counts = ", ".join(f"{name} {n}" for name, n in sorted(by_dataset.items()))
    return f"{len(nights)} night{'s' * (len(nights) != 1)} of {people} subject{'s' * (people != 1)} ({counts})"


def _load(source: str) -> "NextStageModel":
    """Load a model by its folder, or by a name: one that ships, or one that was fetched."""
    from hypnograph.released_weights import locate
    from hypnograph.sequences.any_model import load_language_model, shipped_models

    if not Path(source).exists() and source not in shipped_models():
        found = locate(source)
        if found is not None:
            return load_language_model(found)
    return load_language_model(source)


def _network(
    nights: "Sequence[TrainingNight]", kind: str, settings: Iterable[str], seed: int, about: dict[str, Any]
) -> Any:
    from dataclasses import replace

    try:
        from hypnograph.training.language_model import train_language_model
    except ModuleNotFoundError as error:
        raise HypnographError(f"--kind {kind} needs {error.name}: pip install 'hypnograph[train]'") from error

    options = dict(_setting(text) for text in settings)
    model = train_language_model(nights, kind=kind, options=options, seed=seed, show=click.echo)
    return replace(model, **about)


def _setting(text: str) -> tuple[str, Any]:
    import json

    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise HypnographError(f"--set {text!r}: expected NAME=VALUE")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def _reference(model: "NextStageModel", source: str, nights: tuple[Path, ...], reading: dict[str, Any]) -> Any:
    """Return the mean surprise of the nights to compare with, and which they are."""
    from hypnograph.sequences.any_model import model_folder
    from hypnograph.sequences.plausibility import load_reference, reference_surprise

    if nights:
        read = _read(nights, reading, scheme=model.scheme)
        return reference_surprise(model, [night.stages for night in read]), f"the {len(read)} nights of --reference"
    try:
        return load_reference(model_folder(source))
    except HypnographError:  # fetched weights have no such file
        return (), ""


# Writing --------------------------------------------------------------------------------------------------------------


def _write_nights(nights: Iterable[Any], folder: Path, suffix: str, model: "NextStageModel") -> None:
    from hypnograph.hypnogram import Hypnogram
    from hypnograph.hypnogram_files import writable_formats, write_hypnogram

    if suffix not in writable_formats():
        raise HypnographError(f"--format {suffix!r} is not one of {', '.join(writable_formats())}")
    scorer = f"sampled from {model.name or 'a language model'}"
    for number, stages in enumerate(nights, start=1):
        hypnogram = Hypnogram(stages, scheme=model.scheme, scorer=scorer)
        write_hypnogram(hypnogram, folder / f"sampled-{number:04}{writable_formats()[suffix]}")


def _print_json(result: Any) -> None:
    import json
    import math

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        if isinstance(value, list):
            return [plain(part) for part in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    click.echo(json.dumps(plain(result), indent=1, allow_nan=False))


def _plain_score(score: "NextStageScore") -> dict[str, Any]:
    estimates = {
        name: None if value is None else value._asdict()
        for name, value in (("nats", score.nats), ("accuracy", score.accuracy), ("difference", score.difference))
    }
    return score._asdict() | estimates


def _print_scores(scores: "Sequence[NextStageScore]") -> None:
    rows = [("dataset", "model", "nights", "nats an epoch (95 %)", "accuracy %", "difference (95 %)")]
    for score in scores:
        accuracy = "{:.1f} ({:.1f} to {:.1f})".format(*(100 * value for value in score.accuracy))
        apart = "" if score.difference is None else "{:+.4f} ({:+.4f} to {:+.4f})".format(*score.difference)
        nats = "{:.4f} ({:.4f} to {:.4f})".format(*score.nats)
        rows.append((score.dataset, score.model, str(score.n_nights), nats, accuracy, apart))
    _print_columns(rows)


def _print_statistics(table: "pd.DataFrame") -> None:
    """Print medians with their quartiles, of sampled nights and, where there are any, of real ones."""
    kinds = [name.removesuffix("median") for name in table.columns if name.endswith("median")]
    distance = ["KS"] if "KS" in table else []
    rows = [("median (quartiles)", *((kind or "sampled").strip() for kind in kinds), *distance)]
    for name, row in table.iterrows():
        cells = ["{:.1f} ({:.1f} to {:.1f})".format(*row[[f"{k}median", f"{k}25 %", f"{k}75 %"]]) for k in kinds]
        rows.append((str(name), *cells, *(f"{row['KS']:.2f}" for _ in distance)))
    _print_columns(rows)


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_night(
    path: Path, hypnogram: "Hypnogram", night: "Plausibility", stretches: "Sequence[ImprobableStretch]"
) -> None:
    more = "" if night.percentile != night.percentile else f"; more plausible than {night.percentile:.0f} % of others"
    click.echo(f"{path.name}: {night.nats:.3f} nats an epoch (perplexity {night.perplexity:.2f}){more}")
    for stretch in stretches:
        begins = _clock(hypnogram, stretch.start_s)
        click.echo(
            f"  {begins}  epoch {stretch.first_epoch}, {stretch.n_epochs} long: {stretch.scored}, "
            f"expected {stretch.expected} (gain {stretch.gain:.1f} nats)"
        )
    if not stretches:
        click.echo("  no stretch that would be likelier otherwise")


def _clock(hypnogram: "Hypnogram", seconds: float) -> str:
    from datetime import timedelta

    if hypnogram.start is not None:
        return (hypnogram.start + timedelta(seconds=seconds)).strftime("%H:%M:%S")
    return f"{int(seconds // 3600):02}:{int(seconds % 3600 // 60):02}:{int(seconds % 60):02}"
