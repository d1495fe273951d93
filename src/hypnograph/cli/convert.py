"""``hypnograph convert``: a scoring from one format to another."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypnograph.errors import HypnographError

if TYPE_CHECKING:
    from hypnograph.stages import StageScheme


@click.command()
@click.argument("scoring", metavar="INPUT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from", "from_", metavar="FORMAT", help="Format of INPUT, e.g. cap_text; else as its content says.")
@click.option("--to", metavar="FORMAT", help="edf, tsv, csv, json, txt, ids or npy; else as the ending of OUTPUT says.")
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="A stage name of your files, e.g. 'Deep=N3'.")
@click.option(
    "--recording",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the scoring on the grid of this recording: cut, or filled with unscored epochs.",
)
@click.option("--epoch-s", type=click.FloatRange(0, min_open=True), help="Length of an epoch in OUTPUT, seconds.")
@click.option("--scheme", metavar="NAME", help="Merge stages: W-light-deep-REM, W-NREM-REM or W-sleep.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
def command(
    *,
    scoring: Path,
    output: Path,
    from_: str | None,
    to: str | None,
    stage_map: tuple[str, ...],
    recording: Path | None,
    epoch_s: float | None,
    scheme: str | None,
    overwrite: bool,
) -> None:
    """Convert a scoring from one format to another.

    Reads EDF+ annotations, NSRR and Profusion XML, CAP and ISRUC text, WFDB, BIDS tsv, Noxturnal csv, .ids, text, csv,
    npy and json. Probabilities (csv, json) are kept while the grid stays the same. INPUT is never changed.

    \b
    Example:
      hypnograph convert SC4001EC-Hypnogram.edf SC4001.tsv
      hypnograph convert n1.txt n1.edf --recording n1-psg.edf
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram, write_hypnogram
    from hypnograph.signal_files import read_recording
    from hypnograph.stages import parse_stage_map
    from hypnograph.whole_file import check_output

    check_output(output, inputs=(scoring, recording), overwrite=overwrite)
    merged = None if scheme is None else _scheme(scheme)
    psg = None if recording is None else read_recording(recording)
    start = None if psg is None else psg.start
    hypnogram = read_hypnogram(scoring, format=from_, stage_map=parse_stage_map(stage_map), recording_start=start)
    original = hypnogram
    if psg is not None:
        length_s = epoch_s or hypnogram.epoch_s
        hypnogram = hypnogram.align(start, int(psg.duration_s / length_s + 1e-9), length_s)
    elif epoch_s is not None:
        hypnogram = hypnogram.resample(epoch_s)
    same_grid = (hypnogram.start, hypnogram.epoch_s, len(hypnogram)) == (
        original.start,
        original.epoch_s,
        len(original),
    )
    hypnodensity = read_hypnodensity(scoring, format=from_) if same_grid else None
    if merged is not None:
        hypnogram = hypnogram.merge(merged)
        hypnodensity = None if hypnodensity is None else hypnodensity.merge(merged)
    write_hypnogram(hypnogram, output, format=to, hypnodensity=hypnodensity, overwrite=overwrite)
    click.echo(f"{output}: {hypnogram!r}")


def _scheme(name: str) -> "StageScheme":
    from hypnograph.stages import SCHEMES

    known = {key.lower(): scheme for key, scheme in SCHEMES.items()}
    if name.lower() not in known:
        raise HypnographError(f"--scheme {name!r} is not one of {', '.join(SCHEMES)}")
    return known[name.lower()]
