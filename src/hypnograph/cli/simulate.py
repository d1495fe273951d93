"""``hypnograph simulate``: a night that nobody slept, as EDF."""

from dataclasses import replace
from pathlib import Path

import click

from hypnograph.errors import HypnographError

DEFAULT_HOURS = 8.0


@click.command()
@click.argument("out", metavar="OUT.edf", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--hypnogram", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The stages to show, in any format that is read. [drawn from a model of real nights]",
)  # fmt: skip
@click.option("--hours", type=float, help=f"How long a drawn night is. [{DEFAULT_HOURS:g}]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Another seed, another night.")
@click.option("--sample-rate", type=float, default=256.0, show_default=True, help="Of all signals, Hz.")
@click.option("--line-hz", type=float, default=50.0, show_default=True, help="Mains frequency; 0 for none.")
@click.option("--artefacts", is_flag=True, help="Electrode pops, sweat, loud mains, a lost and a flat signal.")
@click.option(
    "--signals", metavar="NAMES", help="Separated by commas, e.g. C4-M1,E1-M2,Chin EMG. [6 EEG, 2 EOG, EMG, ECG]"
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option(
    "--scoring", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the stages too; the ending chooses the format, e.g. .edf or .txt.",
)  # fmt: skip
def command(
    *,
    out: Path,
    hypnogram: Path | None,
    hours: float | None,
    seed: int,
    sample_rate: float,
    line_hz: float,
    artefacts: bool,
    signals: str | None,
    overwrite: bool,
    scoring: Path | None,
) -> None:
    """Simulate a polysomnogram (a night that nobody slept) and write it as EDF.

    EEG, EOG, chin EMG and ECG follow the stages of a hypnogram: yours, or one drawn from a model of 445 real nights.
    The same seed gives the same night. What is computed from it is to be called 'simulated'.

    \b
    Example:
      hypnograph simulate night.edf --seed 3 --scoring night-hypnogram.txt
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnogram, writable_formats, write_hypnogram
    from hypnograph.signal_files import edf
    from hypnograph.simulate import DERIVATIONS, simulate_hypnogram, simulate_recording
    from hypnograph.whole_file import check_output

    if out.suffix.lower() != ".edf":
        raise HypnographError(f"{out.name}: a simulated night is written as EDF; end the name in .edf")
    if hypnogram is not None and hours is not None:
        raise HypnographError("--hypnogram says how long the night is; leave out --hours")
    if scoring is not None and scoring.suffix.lower() not in writable_formats().values():
        known = ", ".join(writable_formats().values())
        raise HypnographError(
            f"{scoring.name}: no scoring is written with the ending {scoring.suffix!r}; choose one of {known}"
        )
    for output in (out, scoring):
        if output is not None:
            check_output(output, inputs=(hypnogram,), overwrite=overwrite)
    if hypnogram is None:
        stages = simulate_hypnogram(seed=seed, duration_h=DEFAULT_HOURS if hours is None else hours)
    else:
        stages = read_hypnogram(hypnogram)
    wanted = DERIVATIONS if signals is None else tuple(name.strip() for name in signals.split(","))
    recording = simulate_recording(
        stages, seed=seed, sample_rate=sample_rate, line_hz=line_hz, artefacts=artefacts, derivations=wanted
    )
    edf.write(recording, out)
    click.echo(f"{out}: a simulated night, {recording.duration_s / 3600:g} h, {len(wanted)} signals, seed {seed}")
    if scoring is not None:
        write_hypnogram(replace(stages, start=recording.start), scoring, overwrite=overwrite)
        click.echo(f"{scoring}: its stages (simulated)")
