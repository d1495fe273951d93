"""``hypnograph disorders``: fit, test and use a screen for sleep disorders that reads hypnograms; not a diagnosis."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli import comma_list
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.training.disorder_fitting import Person
    from hypnograph.training.disorder_methods import Method
    from hypnograph.training.disorder_validation import HeldOutScores

_SETS = ("length", "wake", "statistics", "transitions", "bouts", "triplets")
_BASELINES = ("length", "wake")
_TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Fit, test and use a screen for sleep disorders that reads hypnograms. Its answer is not a diagnosis.

    No screen comes with this package: it has to be fitted on the people of your own laboratory.

    \b
    Example:
      hypnograph disorders evaluate people.csv --healthy normal
      hypnograph disorders train people.csv my-screen --healthy normal
      hypnograph disorders screen --screen my-screen night-hypnogram.csv
    """  # noqa: D301 (click's \b keeps the lines of the example)


@command.command()
@click.argument("people", metavar="PEOPLE.csv", type=_TABLE)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--healthy", required=True, metavar="DIAGNOSIS", help="The diagnosis of those who have none.")
@click.option("--features", default="statistics", show_default=True, metavar="SETS", help=f"Of {', '.join(_SETS)}.")
@click.option("--folds", default=10, show_default=True, type=click.IntRange(2), help="Of the test that the card shows.")
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(1), help="Of that test.")
@click.option("--data", default="", help="What the nights are, for the card.")
@click.option("--licence", default="", help="Of the screen, for the card.")
def train(
    *, people: Path, folder: Path, healthy: str, features: str, folds: int, repeats: int, data: str, licence: str
) -> None:
    """Fit a screen on all people of a table, and test it by cross-validation for its card.

    The table has the columns file and diagnosis, and subject where somebody has several nights. Files are hypnograms of
    any format, their paths from the folder of the table. FOLDER is made.

    \b
    Example:
      hypnograph disorders train people.csv my-screen --healthy normal
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.training.disorder_fitting import fit_screen, questions, read_people

    sets = comma_list(features, _SETS, at_least_one=True)
    if folder.exists():
        raise HypnographError(f"{folder} exists and is not overwritten; choose another folder")
    nights = read_people(people)
    tested = _card_numbers(nights, healthy, sets, folds, repeats)
    fit_screen(nights, healthy=healthy, sets=sets, tested=tested, name=folder.name, data=data, licence=licence).save(
        folder
    )
    click.echo((folder / "README.md").read_text(encoding="utf-8"))
    for name, n in questions(nights, healthy)[1].items():
        click.secho(f"note: {n} people with {name} are too few for a question of their own", fg="yellow", err=True)


@command.command()
@click.argument("people", metavar="PEOPLE.csv", type=_TABLE)
@click.option("--healthy", required=True, metavar="DIAGNOSIS", help="The diagnosis of those who have none.")
@click.option(
    "--methods",
    "names",
    default="statistics,transitions,triplets,boosting",
    show_default=True,
    metavar="NAMES",
    help="Also bouts, bag; with --trunk network, network-frozen, lstm-frozen. length and wake are always tested.",
)
@click.option(
    "--trunk",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A stage language model of 60 positions, for the networks.",
)
@click.option("--folds", default=10, show_default=True, type=click.IntRange(2), help="By subject.")
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(1), help="Each with new folds.")
@click.option("--permutations", default=0, show_default=True, type=click.IntRange(0), help="Also test against chance.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def evaluate(
    *,
    people: Path,
    healthy: str,
    names: str,
    trunk: Path | None,
    folds: int,
    repeats: int,
    permutations: int,
    seed: int,
    as_json: bool,
) -> None:
    """Cross-validate methods by subject: any disorder, and each of which there are enough people, against the healthy.

    The length of the night alone and the share of wake alone stand beside every number: what is not better than they
    are has learned nothing else.

    \b
    Example:
      hypnograph disorders evaluate people.csv --healthy normal --methods statistics,boosting
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.training.disorder_fitting import questions, read_people
    from hypnograph.training.disorder_validation import cross_validated, permutation_p

    chosen = _methods(names, trunk)
    asked, few = questions(read_people(people), healthy)
    results: dict[str, dict[str, Any]] = {}
    for question in asked.values():
        found: dict[str, HeldOutScores] = {}
        results[question.name] = {}
        for name, method in chosen.items():
            found[name] = cross_validated(method, question, n_folds=folds, n_repeats=repeats, seed=seed)
            numbers = _numbers(found, name)
            if permutations:
                auc = numbers["AUC"]["value"]
                numbers["p"] = permutation_p(method, question, auc, n=permutations, n_folds=folds, seed=seed)
            results[question.name][name] = {"method": method.words, **numbers}
        if not as_json:
            _print_question(question.name, int(question.ill.sum()), int((~question.ill).sum()), results[question.name])
    if as_json:
        click.echo(json.dumps({"questions": results, "too_few_people": few}, indent=1))
    elif few:
        click.secho(f"note: too few people to ask about: {_counted(few)}", fg="yellow", err=True)


@command.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--screen", "folder", required=True, type=click.Path(path_type=Path), help="A folder that train wrote.")
@click.option(
    "--prevalence", default=0.5, show_default=True, help="The share with the disorder among those you screen."
)
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option("--json", "as_json", is_flag=True, help="Print all reasons as JSON.")
def screen(files: tuple[Path, ...], folder: Path, prevalence: float, stage_map: tuple[str, ...], as_json: bool) -> None:
    """Print the probability of each disorder for hypnograms, and what moved it. This is not a diagnosis.

    \b
    Example:
      hypnograph disorders screen --screen my-screen night-hypnogram.csv --prevalence 0.1
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnogram
    from hypnograph.sequences.disorders import load_disorder_screen
    from hypnograph.stages import parse_stage_map

    fitted, known = load_disorder_screen(folder), parse_stage_map(stage_map)
    found = {}
    for path in files:
        try:
            found[path] = fitted.screen(read_hypnogram(path, stage_map=known), prevalence=prevalence)
        except HypnographError as error:
            raise type(error)(f"{path.name}: {error}") from error
    if as_json:
        click.echo(json.dumps([{"file": path.name, **night.as_dict()} for path, night in found.items()], indent=1))
    else:
        click.echo("\n\n".join(f"{path.name}\n{night}" for path, night in found.items()))


def _methods(names: str, trunk: Path | None) -> "dict[str, Method]":
    from hypnograph.sequences.language_model import load_gpt
    from hypnograph.training.disorder_methods import NETWORKS, methods

    known = methods(trunk=None if trunk is None else load_gpt(trunk))
    wanted = comma_list(",".join((*_BASELINES, names)), (*known, *NETWORKS))
    missing = [name for name in wanted if name not in known]
    if missing:
        raise HypnographError(f"method {missing[0]} needs --trunk, a folder with a stage language model")
    return {name: known[name] for name in wanted}


def _numbers(found: "dict[str, HeldOutScores]", name: str) -> dict[str, Any]:
    """Return the numbers of a method; of its AUC also what is above the better baseline, once both are tested."""
    estimates, spreads = found[name].estimates(), found[name].spreads()
    numbers: dict[str, Any] = {
        metric: {**estimate._asdict(), "repeats_low": spreads[metric].low, "repeats_high": spreads[metric].high}
        for metric, estimate in estimates.items()
    }
    baselines = {word: found[word].estimates()["AUC"].value for word in _BASELINES if word in found}
    if name not in _BASELINES:
        better = max(baselines, key=lambda word: baselines[word])
        numbers["AUC_above"] = {"baseline": better, **found[name].auc_above(found[better])._asdict()}
    return numbers


def _card_numbers(
    nights: "list[Person]", healthy: str, sets: tuple[str, ...], folds: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Return for each question the numbers of the card: the screen's, and those of the baselines."""
    from hypnograph.training.disorder_fitting import questions
    from hypnograph.training.disorder_methods import by_features
    from hypnograph.training.disorder_validation import cross_validated

    found = {}
    for name, question in questions(nights, healthy)[0].items():
        auc = {
            words: cross_validated(by_features(*of), question, n_folds=folds, n_repeats=repeats).estimates()["AUC"]
            for words, of in {"AUC": sets, "length alone": ("length",), "wake alone": ("wake",)}.items()
        }
        own = auc.pop("AUC")
        found[name] = {"people with it": int(question.ill.sum()), "AUC": own.value, "from": own.low, "to": own.high}
        found[name] |= {f"AUC of {words}": estimate.value for words, estimate in auc.items()}
    return found


def _print_question(name: str, n_ill: int, n_healthy: int, results: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    shown = {
        "balanced accuracy": "balanced\naccuracy",
        "sensitivity": "sensi-\ntivity",
        "specificity": "speci-\nficity",
    }
    with_p = "p" in results["wake"]
    for heading in ("method", "AUC"):
        table.add_column(heading, no_wrap=True)
    for heading in (*shown.values(), "above the\nbaseline", *(["p"] if with_p else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for method, numbers in results.items():
        auc, above = numbers["AUC"], numbers.get("AUC_above")
        table.add_row(
            method,
            f"{auc['value']:.2f} ({auc['low']:.2f} to {auc['high']:.2f})\n"
            f"repeats {auc['repeats_low']:.2f} to {auc['repeats_high']:.2f}",
            *(f"{numbers[metric]['value']:.2f}" for metric in shown),
            f"{above['value']:+.2f}\n({above['baseline']})" if above else "",
            *([f"{numbers['p']:.3f}"] if with_p else []),
        )
    console = Console(highlight=False)
    console.print(f"{name}: {n_ill} nights against {n_healthy} of healthy people; in brackets 95 % over people")
    console.print(table)


def _counted(few: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in few.items())
