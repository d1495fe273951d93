"""``hypnograph split``: who trains, who chooses, who tests; by subject, drawn once, written to a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli._sources import data_options, misplaced, taken_from
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.training.people import Person
    from hypnograph.training.splits import Split


@click.command()
@click.argument("sources", metavar="SOURCE…", nargs=-1, required=True)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--folds", metavar="K", help="A cross-validation: a number, leave-one-out, or published folds.")
@click.option("--validation", type=float, metavar="SHARE", help="Of all subjects. [0.2; 0.1 with --folds]")
@click.option("--test", type=float, metavar="SHARE", help="Of all subjects. [0.2]")
@click.option("--max-validation", type=click.IntRange(min=0), metavar="N", help="Validation subjects at most.")
@click.option("--max-test", type=click.IntRange(min=0), metavar="N", help="Test subjects at most.")
@click.option("--usleep", is_flag=True, help="U-Sleep's rule: 10 % (at most 50) validate, 15 % (at most 100) test.")
@click.option("--by-disorder", is_flag=True, help="Spread each disorder evenly over the folds, or over the parts.")
@data_options
@click.option("--seed", default=1, show_default=True, help="Of the draw.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def command(
    *,
    sources: tuple[str, ...],
    out: Path,
    folds: str | None,
    validation: float | None,
    test: float | None,
    max_validation: int | None,
    max_test: int | None,
    usleep: bool,
    by_disorder: bool,
    seed: int,
    overwrite: bool,
    **options: Any,
) -> None:
    """Part the subjects of SOURCE into train, validation and test, and write OUT.

    A SOURCE is a store of prepared nights, or DATASET=FOLDER. All nights of a subject, and all subjects of a family,
    are in one part. Without --folds OUT is one file, and the shares hold in each dataset; with it OUT is a folder with
    a file for each fold. Published folds are attnsleep-edf-20, attnsleep-edf-78, attnsleep-shhs-329,
    tinysleepnet-edf-20, tinysleepnet-edf-78, and ecg-mass-200, which is one split.

    \b
    Example:
      hypnograph split sleep-edf-sc=data/sc dcsm=data/dcsm split.json --usleep
      hypnograph split store splits/ --folds 10
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.training.people import draw_folds, draw_fractions
    from hypnograph.training.published_splits import PUBLISHED
    from hypnograph.training.splits import U_SLEEP

    caps = {"--max-validation": max_validation, "--max-test": max_test}
    if usleep:
        shares = {"--validation": validation, "--test": test}
        _leave_out("--usleep has shares of its own", {"--folds": folds} | shares | caps)
    if folds is None:
        own = {"validation": 0.2 if validation is None else validation, "test": 0.2 if test is None else test}
        rule: Any = U_SLEEP if usleep else own | {"max_validation": max_validation, "max_test": max_test}
        split = draw_fractions(_everyone(sources, options), seed=seed, by_disorder=by_disorder, **rule)
        _write([split], [out], overwrite=overwrite)
        return
    _leave_out("--folds test everybody once", {"--test": test} | caps)
    if not folds.isdecimal():
        _leave_out(f"--folds {folds} have no strata", {"--by-disorder": by_disorder or None})
    if folds in PUBLISHED:
        _leave_out(f"--folds {folds} are as published", {"--validation": validation})
    share = 0.1 if validation is None else validation
    k = int(folds) if folds.isdecimal() else folds
    splits = draw_folds(_everyone(sources, options), k, validation=share, seed=seed, by_disorder=by_disorder)
    _write(splits, _fold_files(out, len(splits), overwrite=overwrite), overwrite=overwrite)


def _everyone(sources: tuple[str, ...], options: dict[str, Any]) -> "list[Person]":
    """Return the subjects; what cannot be used is said: families that are not known could be parted."""
    from hypnograph.training.people import data_folder, people

    of_data = taken_from(options)
    folders = [data_folder(source) for source in sources if "=" in source and "://" not in source]
    if wrong := misplaced(folders, of_data):
        raise HypnographError(wrong)
    everyone = people(sources, of_data, lambda problem: click.secho(f"problem: {problem}", fg="yellow", err=True))
    if any(name == "folder" for name, _ in folders) and "subject" not in of_data:
        click.secho(
            "note: each night of a folder counts as a subject of its own; where somebody slept several, --subject "
            "REGEX finds the person in a path",
            err=True,
        )
    return everyone


def _leave_out(reason: str, options: dict[str, Any]) -> None:
    """Refuse options that would be ignored in silence."""
    if given := [name for name, value in options.items() if value is not None]:
        raise HypnographError(f"{reason}; leave {given[0]} out")


def _fold_files(folder: Path, n_folds: int, *, overwrite: bool) -> list[Path]:
    """Return the files of the folds; those of other folds would be taken for folds of this cross-validation."""
    if folder.is_file():
        raise HypnographError(f"{folder} is a file; with --folds name a folder")
    before = sorted(folder.glob("fold-*.json"))
    if before and not overwrite:
        raise HypnographError(f"{folder} holds {len(before)} folds already; choose another folder, or --overwrite")
    digits = max(2, len(str(n_folds)))
    files = [folder / f"fold-{number:0{digits}d}.json" for number in range(1, n_folds + 1)]
    for path in set(before) - set(files):
        path.unlink()
    return files


def _write(splits: "Sequence[Split]", paths: Sequence[Path], *, overwrite: bool) -> None:
    from hypnograph.training.splits import write_split
    from hypnograph.whole_file import check_output

    for path in paths:
        if path.is_dir():
            raise HypnographError(f"{path} is a folder; name a file, or draw --folds")
        check_output(path, overwrite=overwrite)
    for split, path in zip(splits, paths, strict=True):
        write_split(split, path, overwrite=overwrite)
        sizes = f"{len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
        click.echo(f"{path}: {sizes} (subjects)")
