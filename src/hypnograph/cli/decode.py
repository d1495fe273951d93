"""``hypnograph decode``: correct a staging by how stages follow each other, and fit a decoder to a stager."""

from pathlib import Path

import click

from hypnograph.errors import HypnographError


@click.group()
def command() -> None:
    """Decode stagings: what the stages most likely are, given the probabilities of the whole night.

    A decoder is a name ('sleep' comes with hypnograph) or a file of `hypnograph decode fit`. To decode while staging,
    use `hypnograph stage --decode`.

    \b
    Example:
      hypnograph decode apply night-hypnogram.csv night-decoded.csv
      hypnograph decode fit experts/ staged/ decoder.json
    """  # noqa: D301 (click's \b keeps the lines of the example)


@command.command()
@click.argument("staged", metavar="STAGED", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--decoder", default="sleep", show_default=True, metavar="NAME|FILE", help="Which.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def apply(*, staged: Path, out: Path, decoder: str, overwrite: bool) -> None:
    """Decode STAGED, a csv or json of `hypnograph stage`, and write OUT in the format of its ending.

    \b
    Example:
      hypnograph decode apply night-hypnogram.csv night-decoded.csv --decoder decoder.json
    """  # noqa: D301
    from hypnograph.hypnogram_files import read_hypnodensity, write_hypnogram
    from hypnograph.sequences.decoding import decode, load_decoder
    from hypnograph.whole_file import check_output

    check_output(out, inputs=(staged,), overwrite=overwrite)
    before = read_hypnodensity(staged)
    if before is None:
        raise HypnographError(f"{staged.name} holds no probabilities; stage with --to csv or --to json")
    after = decode(before, load_decoder(decoder))
    stages = after.argmax()
    changed = int((stages.stages != before.argmax().stages).sum())
    write_hypnogram(stages, out, hypnodensity=after, overwrite=overwrite)
    click.echo(f"{changed} of {after.n_epochs} epochs have another stage\nwritten: {out}")


@command.command()
@click.argument("reference", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("predicted", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", metavar="OUT.json", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--stage-map", multiple=True, metavar="NAME=STAGE", help="Read a stage name that is not known.")
@click.option(
    "--subject-pattern", metavar="REGEX", help="Finds the subject in a night's name. [Sleep-EDF, BIDS, or the name]"
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.json if it exists.")
def fit(
    *,
    reference: Path,
    predicted: Path,
    out: Path,
    stage_map: tuple[str, ...],
    subject_pattern: str | None,
    overwrite: bool,
) -> None:
    """Fit a decoder to one stager: a folder of scorings by people, and one of its csv or json files of these nights.

    The decoder that is best on held-out subjects is chosen; that may be none. The stager must not have been trained
    on these nights. A dozen subjects are few.

    \b
    Example:
      hypnograph decode fit experts/ staged/ decoder.json
      hypnograph stage night.edf --decode decoder.json
    """  # noqa: D301
    from hypnograph.evaluation.pairing import pair_files
    from hypnograph.evaluation.staged_nights import read_staged_night
    from hypnograph.hypnogram_files import hypnogram_suffixes
    from hypnograph.sequences.decoder_fitting import fit_decoder
    from hypnograph.sequences.decoding import KeepingDecoder, save_decoder
    from hypnograph.stages import parse_stage_map
    from hypnograph.whole_file import check_output

    check_output(out, overwrite=overwrite)
    pairing = pair_files(reference, predicted, suffixes=dict.fromkeys((".csv", ".json", *hypnogram_suffixes())))
    for path in (*pairing.unpaired_reference, *pairing.unpaired_predicted):
        click.secho(f"note: {path.name} has no partner", fg="yellow", err=True)
    names = parse_stage_map(stage_map)
    nights = [read_staged_night(f, stage_map=names, subject_pattern=subject_pattern)[0] for f in pairing.pairs]
    decoder = fit_decoder(nights)
    save_decoder(decoder, out, overwrite=overwrite)
    people = len({night.subject for night in nights})
    click.echo(f"{len(nights)} nights of {people} subjects: chosen is {decoder.name}")
    if isinstance(decoder, KeepingDecoder):
        click.echo("on held-out subjects no decoder was better than the stager alone; this one changes nothing")
    click.echo(f"written: {out}")
