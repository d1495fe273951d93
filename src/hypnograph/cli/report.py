"""``hypnograph report``: the report of a scoring that exists, by a person or by an earlier staging."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hypnograph.montage import Derivation
    from hypnograph.recording import Recording


@click.command()
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("scoring", metavar="SCORING", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("out", metavar="OUT.html|pdf|json", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--title", help="What to call the night. [the recording's name]")
@click.option("--eeg", metavar="NAME", help="Derivation of the spectrogram, e.g. C4-M1. [the best that there is]")
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option("--simulated", is_flag=True, help="Say in the report that nobody slept this night.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def command(
    *,
    recording: Path,
    scoring: Path,
    out: Path,
    title: str | None,
    eeg: str | None,
    stage_map: tuple[str, ...],
    simulated: bool,
    overwrite: bool,
) -> None:
    """Write the report of a scoring that exists, by a person or by an earlier staging.

    The scoring is placed on the recording by the start times of both. The report shows how sure the stages are where
    the scoring holds probabilities (csv, json).

    \b
    Example:
      hypnograph report night.edf expert-scoring.edf expert-report.html
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram
    from hypnograph.report import staging_of, write_report
    from hypnograph.signal_files import read_recording
    from hypnograph.stages import parse_stage_map
    from hypnograph.whole_file import check_output

    check_output(out, inputs=(recording, scoring), overwrite=overwrite)
    psg = read_recording(recording)
    hypnogram = read_hypnogram(scoring, stage_map=parse_stage_map(stage_map), recording_start=psg.start)
    staging = staging_of(hypnogram, read_hypnodensity(scoring), psg)
    write_report(
        staging,
        out,
        title=title or recording.stem,
        recording=psg,
        derivation=_derivation(psg, eeg),
        simulated=simulated or psg.is_simulated,
    )
    click.echo(f"written: {out}")


def _derivation(recording: "Recording", eeg: str | None) -> "Derivation | None":
    """Return the derivation to show; None, with a word about it, where a scoring's recording has no EEG."""
    from hypnograph.errors import HypnographError
    from hypnograph.montage import choose_derivations

    try:
        return choose_derivations(recording, eeg=eeg, eog="none", emg="none").eeg[0]
    except HypnographError as error:
        if eeg is not None:
            raise
        click.secho(f"note: no spectrogram: {error}", fg="yellow", err=True)
        return None
