"""What commands about several scorers share: the scorings they read, the tables and pictures they make."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hypnograph.evaluation.consensus import ScoredNight
    from hypnograph.evaluation.many_scorers import ManyScorers
    from hypnograph.evaluation.tables import Estimate, Evaluation
    from hypnograph.stages import StageScheme

_AMONG = {
    "mean_pairwise_kappa": "mean pairwise kappa",
    "fleiss_kappa": "Fleiss' kappa",
    "krippendorff_alpha": "Krippendorff's alpha",
    "gwet_ac1": "Gwet's AC1",
    "unanimous": "unanimous epochs",
}


def read_scorers(
    references: Sequence[Path],
    predicted: Sequence[Path],
    scheme: "StageScheme | None",
    reading: dict[str, Any],
    whose: Mapping[str, str] | None = None,
) -> "tuple[list[ScoredNight], list[str]]":
    """Return the nights that all have scored, and notes on what was left out or aligned.

    `whose` tells subjects by the names of predicted files.
    """
    from hypnograph.evaluation.scored_files import gather, read_scored_night
    from hypnograph.hypnogram_files import hypnogram_formats
    from hypnograph.stages import parse_stage_map

    for path in (*references, *predicted):
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    suffixes = {suffix: None for known in hypnogram_formats().values() for suffix in known.SUFFIXES}
    files, notes = gather(references, predicted, suffixes=suffixes)
    options = {**reading, "stage_map": parse_stage_map(reading["stage_map"])}
    read = [read_scored_night(night, scheme=scheme, **options) for night in files]
    nights = []
    for of_night, (night, _) in zip(files, read, strict=True):
        names = [path.name for path in of_night.predicted.values()]
        nights.append(night._replace(subject=next((whose[n] for n in names if whose and n in whose), night.subject)))
    return nights, [*notes, *(note for _, of_it in read for note in of_it)]


def check_picture(path: Path | None, *, inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse a picture of an unknown format, or one that would replace a file."""
    from hypnograph.plot import PICTURES
    from hypnograph.whole_file import check_output

    if path is None:
        return
    if path.suffix.lower() not in PICTURES:
        raise HypnographError(f"{path.name}: a picture ends in {', '.join(PICTURES)}")
    check_output(path, inputs=inputs, overwrite=overwrite)


def kappa_figure(found: "ManyScorers") -> "Figure":
    """Return the heat map of kappa of each pair."""
    from matplotlib.figure import Figure

    from hypnograph.plot import plot_kappa_matrix

    side = 2.6 + 0.5 * len(found.kappas.names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    ax = figure.subplots()
    plot_kappa_matrix(found.kappas.names, found.kappas.values, ax, n_people=len(found.people))
    ax.set_title("Cohen's kappa of each pair", loc="left", fontsize=10)
    return figure


def print_comparison(found: "ManyScorers", notes: Sequence[str]) -> None:
    """Print people and models against the others, models against each, and agreement among the people."""
    from rich.console import Console

    console = Console(highlight=False)
    nights = found.people_together
    n_nights = len(next(iter(found.soft_agreement_by_night.values())))
    console.print(
        f"{n_nights} night{'s' * (n_nights != 1)} of {nights.n_subjects} subject{'s' * (nights.n_subjects != 1)}, "
        f"scored by {', '.join(found.people)}"
    )
    console.print("\nEach against the consensus of the other people, models against as many people as each person:")
    console.print(_others_table(found))
    for model in found.models:
        console.print(f"{model} against:")
        console.print(_each_table(found, model))
    console.print("Among the people:")
    console.print(_among_table(found))
    if nights.n_subjects > 1:
        console.print("pooled over nights; in brackets: 95 % interval, bootstrap over subjects", style="dim")
    for note in notes:
        click.secho(f"note: {note}", fg="yellow", err=True)


def _shown(estimate: "Estimate") -> str:
    value, low, high = estimate
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.2f} to {high:.2f})"


def _metrics(evaluation: "Evaluation") -> list[str]:
    pooled = evaluation.pooled
    return [f"{pooled.accuracy:.3f}", f"{pooled.macro_f1:.3f}", _shown(evaluation.pooled_estimates["cohen_kappa"])]


def _table(first: str, *headings: str) -> Any:
    from rich import box
    from rich.table import Table

    # Narrow enough for a terminal of 80 columns.
    table = Table(first, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_header=bool(headings))
    for heading in headings:
        table.add_column(heading)
    return table


def _others_table(found: "ManyScorers") -> Any:
    table = _table("", "accuracy", "macro F1", "Cohen's kappa", "soft agreement")
    for name, evaluation in found.against_others.items():
        table.add_row(name, *_metrics(evaluation), _shown(found.soft_agreement[name]))
        if name == found.people[-1]:
            table.add_row("all people", *_metrics(found.people_together), "", end_section=True)
    return table


def _each_table(found: "ManyScorers", model: str) -> Any:
    table = _table("", "accuracy", "macro F1", "Cohen's kappa")
    for person, evaluation in found.against_each[model].items():
        table.add_row(person, *_metrics(evaluation))
    if model in found.against_consensus:
        table.add_row("consensus of all people", *_metrics(found.against_consensus[model]))
    return table


def _among_table(found: "ManyScorers") -> Any:
    table = _table("")
    table.add_column()
    for name, label in _AMONG.items():
        table.add_row(label, _shown(getattr(found.among_people, name)))
    return table
