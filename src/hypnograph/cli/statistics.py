"""``hypnograph statistics``: TST, sleep efficiency, latencies and the rest, of one scoring or of many."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.evaluation.sleep_statistics import SleepStatistics
    from hypnograph.hypnogram import Hypnogram

DAY_S = 24 * 3600.0
# Of many nights the terminal shows these; --csv and --json have all.
MAIN_COLUMNS = ("TIB_min", "TST_min", "SE_percent", "SOL_min", "REM_latency_min", "WASO_min")


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--lights-off", metavar="TIME", help="hh:mm[:ss], or seconds after the start. [as in the file, or its start]"
)
@click.option(
    "--lights-on", metavar="TIME", help="hh:mm[:ss], or seconds after the start. [as in the file, or its end]"
)
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write a row for each file to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the csv file if it exists.")
def command(
    *,
    files: tuple[Path, ...],
    lights_off: str | None,
    lights_on: str | None,
    stage_map: tuple[str, ...],
    as_json: bool,
    csv: Path | None,
    overwrite: bool,
) -> None:
    """Show the sleep statistics of scorings, by AASM definitions.

    Without lights-off and lights-on times, in the file or as options, the whole scoring counts as time in bed.

    \b
    Example:
      hypnograph statistics night-hypnogram.csv --lights-off 23:10 --lights-on 6:45
      hypnograph statistics staged/*.edf --csv statistics.csv
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnogram
    from hypnograph.stages import parse_stage_map
    from hypnograph.whole_file import check_output

    if csv is not None:
        check_output(csv, inputs=files, overwrite=overwrite)
    known = parse_stage_map(stage_map)
    nights = {}
    for path in files:
        hypnogram = read_hypnogram(path, stage_map=known)
        try:
            nights[str(path)] = _statistics(hypnogram, lights_off, lights_on)
        except HypnographError as error:
            raise type(error)(f"{path.name}: {error}") from error
    if csv is not None:
        _write_csv(nights, csv)
    if as_json:
        import json

        result = [{"file": Path(name).name, **night.as_dict()} for name, night in nights.items()]
        click.echo(json.dumps(result, indent=1, allow_nan=False))
    elif len(nights) == 1:
        click.echo(repr(next(iter(nights.values()))))
    else:
        _print_table(nights)


def _statistics(hypnogram: "Hypnogram", lights_off: str | None, lights_on: str | None) -> "SleepStatistics":
    from hypnograph.evaluation.sleep_statistics import sleep_statistics

    off_s = hypnogram.lights_off_s if lights_off is None else _seconds(lights_off, hypnogram, "--lights-off")
    on_s = hypnogram.lights_on_s if lights_on is None else _seconds(lights_on, hypnogram, "--lights-on")
    if lights_off is not None and ":" in lights_off and off_s is not None and off_s > DAY_S / 2:
        off_s -= DAY_S  # 22:50 with a scoring that starts at 23:00 was ten minutes earlier
    if lights_on is not None and ":" in lights_on and on_s is not None and off_s is not None and on_s <= off_s:
        on_s += DAY_S
    return sleep_statistics(hypnogram, lights_off_s=off_s, lights_on_s=on_s)


def _seconds(text: str, hypnogram: "Hypnogram", option: str) -> float:
    """Return seconds after the hypnogram's start; a clock time is taken to be within the 24 hours after it."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) not in (2, 3) or not all(0 <= n < limit for n, limit in zip(numbers, (24, 60, 60), strict=False)):
        raise HypnographError(f"{option} {text!r}: give a clock time hh:mm[:ss], or seconds after the start")
    start = hypnogram.start
    if start is None:
        raise HypnographError(
            f"{option} {text}: the file does not tell when it starts; give seconds after its start, not a clock time"
        )
    clock_s = sum(n * unit for n, unit in zip(numbers, (3600, 60, 1), strict=False))
    start_s = start.hour * 3600 + start.minute * 60 + start.second + start.microsecond / 1e6
    return (clock_s - start_s) % DAY_S


def _write_csv(nights: dict[str, "SleepStatistics"], csv: Path) -> None:
    import pandas as pd

    from hypnograph.whole_file import whole_file

    rows = [{"file": Path(name).name, "basis": night.basis, **night.as_row()} for name, night in nights.items()]
    with whole_file(csv) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def _print_table(nights: dict[str, "SleepStatistics"]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    for name in MAIN_COLUMNS:
        label, _, unit = name.rpartition("_")
        table.add_column(
            f"{label.replace('_', ' ')}\n{'%' if unit == 'percent' else unit}", justify="right", no_wrap=True
        )
    for name, night in nights.items():
        table.add_row(Path(name).name, *(_show(night.as_dict().get(column)) for column in MAIN_COLUMNS))
    Console(highlight=False).print(table)
    for basis in dict.fromkeys(night.basis for night in nights.values()):
        click.echo(f"time in bed: {basis}")


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
