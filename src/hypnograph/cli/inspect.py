"""``hypnograph inspect``: what a network has learned, as figures and one page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.cli import comma_list
from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.inspection import Inspection
    from hypnograph.network import TorchNetwork


FORMATS = ("png", "svg")


def _parse_formats(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return comma_list(value, FORMATS, at_least_one=True)


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@click.argument("recording", metavar="[RECORDING]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the page. [CHECKPOINT-inspection]"
)
@click.option("--scoring", type=click.Path(path_type=Path), help="Stages of the night. [the network's own]")
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option(
    "--to", "formats", default="png", callback=_parse_formats, show_default=True, metavar="LIST",
    help=f"How to write the figures, with commas: {', '.join(FORMATS)}.",
)  # fmt: skip
@click.option("--eeg", metavar="NAME", help="EEG derivation to use, e.g. C4-M1. [the best that there is]")
@click.option("--eog", metavar="NAME", help="EOG derivation to use.")
@click.option("--emg", metavar="NAME", help="Chin EMG derivation to use.")
@click.option("--ecg", metavar="NAME", help="ECG derivation, for a network that takes one.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def command(
    *,
    checkpoint: Path,
    recording: Path | None,
    out: Path | None,
    scoring: Path | None,
    stage_map: tuple[str, ...],
    formats: tuple[str, ...],
    overwrite: bool,
    **derivations: str | None,
) -> None:
    """Look into a network: its first filters, LSTM cells and attention.

    CHECKPOINT is a folder, or a name that `hypnograph models` lists. Without RECORDING, the filters and their frequency
    response; with one, also which stage excites each filter, what the cells track through the night, and where
    attention goes. Writes index.html, which needs no other file, and the figures.

    \b
    Example:
      hypnograph inspect runs/tinysleepnet
      hypnograph inspect runs/tinysleepnet night.edf --scoring expert.edf --out looked --to png,svg
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnogram
    from hypnograph.signal_files import read_recording
    from hypnograph.stages import parse_stage_map
    from hypnograph.whole_file import check_output

    network = _network(checkpoint)
    from hypnograph.inspection import inspect
    from hypnograph.inspection.page import PAGE, write_page

    folder = out or Path(f"{checkpoint.name}-inspection")
    check_output(folder / PAGE, inputs=(recording, scoring), overwrite=overwrite)
    psg = None if recording is None else read_recording(recording)
    stages = None
    if scoring is not None:
        start = None if psg is None else psg.start
        stages = read_hypnogram(scoring, stage_map=parse_stage_map(stage_map), recording_start=start)
    inspection = inspect(network, psg, scoring=stages, **derivations)
    written = write_page(
        inspection,
        folder,
        recording_name="" if recording is None else recording.stem,
        formats=formats,
        overwrite=overwrite,
    )
    _print_found(inspection)
    click.echo(f"written: {written[0]} and {len(written) - 1} figure{'s' if len(written) != 2 else ''}")


def _network(checkpoint: Path) -> "TorchNetwork":
    """Load the checkpoint; an ONNX file has no layers to look into."""
    from hypnograph.network import TorchNetwork
    from hypnograph.released_weights import load

    onnx = f"{checkpoint} is an ONNX file, which does not show its layers; give the folder of the checkpoint"
    if checkpoint.is_file():
        raise HypnographError(onnx)
    network = load(checkpoint)
    if not isinstance(network, TorchNetwork):
        raise HypnographError(onnx)
    return network


def _print_found(inspection: "Inspection") -> None:
    from hypnograph.inspection.page import bands_of_peaks, layer_title, preferences, summary_rows

    for layer, response in zip(inspection.layers, inspection.responses, strict=True):
        click.echo(f"{layer_title(layer)}; peaks: {bands_of_peaks(response)}")
    if not inspection.layers:
        click.echo("no layer sees the signal itself")
    night = inspection.night
    if night is None:
        return
    click.echo(f"stages from {night.stages_from}")
    for activation in night.activations:
        click.echo(f"filters of {activation.layer} that prefer a stage: {preferences(activation)}")
    if night.table is None:
        click.echo("no LSTM over epochs")
    else:
        for tracks, _, n_found, cell, value, needs in summary_rows(night.table):
            click.echo(f"{tracks}: {n_found} cells found; strongest {cell} with {value} (needs {needs})")
    click.echo(f"attention: {', '.join(a.name for a in night.attention) or 'none'}")
