"""``hypnograph plot``: scorings of a night as a picture."""

from pathlib import Path

import click

from hypnograph.errors import HypnographError


@click.command()
@click.argument("scorings", metavar="SCORING…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT.png|svg|pdf", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--recording", type=click.Path(path_type=Path, dir_okay=False), help="PSG whose spectrogram is drawn beneath."
)
@click.option("--eeg", metavar="NAME", help="Derivation of the spectrogram, e.g. C4-M1. [the best that there is]")
@click.option("--hypnodensity", is_flag=True, help="Draw the probabilities of the first scoring (csv, json).")
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option("--width", default=11.0, show_default=True, type=click.FloatRange(3, 60), help="Inches.")
@click.option("--dpi", default=150, show_default=True, type=click.IntRange(30, 1200), help="Of a png.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def command(
    *,
    scorings: tuple[Path, ...],
    out: Path,
    recording: Path | None,
    eeg: str | None,
    hypnodensity: bool,
    stage_map: tuple[str, ...],
    width: float,
    dpi: int,
    overwrite: bool,
) -> None:
    """Draw scorings above each other on one time axis, placed by their start times.

    \b
    Example:
      hypnograph plot expert.edf night-hypnogram.csv comparison.png
      hypnograph plot night-hypnogram.csv night.svg --hypnodensity --recording night.edf
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram
    from hypnograph.plot import PICTURES, plot_night, save_picture
    from hypnograph.signal_files import read_recording
    from hypnograph.stages import parse_stage_map
    from hypnograph.whole_file import check_output

    if out.suffix.lower() not in PICTURES:
        raise HypnographError(f"{out.name}: a picture ends in {', '.join(PICTURES)}; it is the last argument")
    check_output(out, inputs=(*scorings, recording), overwrite=overwrite)
    psg = None if recording is None else read_recording(recording)
    start = None if psg is None else psg.start
    names = parse_stage_map(stage_map)
    called = [path.name for path in scorings]
    if len(set(called)) < len(called):  # predicted/night.json beside reference/night.json
        called = [f"{path.resolve().parent.name}/{path.name}" for path in scorings]
    read = [read_hypnogram(path, stage_map=names, recording_start=start) for path in scorings]
    drawn = list(zip(called, read, strict=True))
    density = read_hypnodensity(scorings[0]) if hypnodensity else None
    if hypnodensity and density is None:
        raise HypnographError(f"{scorings[0].name} holds no probabilities; leave out --hypnodensity")
    spectrogram = None
    if psg is not None:
        from hypnograph.montage import choose_derivations
        from hypnograph.report import spectrogram_of

        spectrogram = spectrogram_of(psg, choose_derivations(psg, eeg=eeg, eog="none", emg="none").eeg[0])
    figure = plot_night(drawn, hypnodensity=density, spectrogram=spectrogram, width_in=width)
    save_picture(figure, out, dpi=dpi)
    click.echo(f"written: {out}")
