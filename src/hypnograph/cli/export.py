"""``hypnograph export``: a checkpoint as one ONNX file, which stages without PyTorch."""

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@click.argument("output", metavar="MODEL.onnx", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--resolution", "resolution_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Length of a scored stretch, for networks that can; it is fixed in the file. [the checkpoint's]",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
def command(checkpoint: Path, output: Path, resolution_s: float | None, overwrite: bool) -> None:
    """Write a checkpoint as one ONNX file: the network, and what is needed to use it.

    CHECKPOINT is a folder, or a name that `hypnograph models` lists. `hypnograph stage --model MODEL.onnx` stages
    nights of any length with it. The file is run and compared with the checkpoint before it appears.

    \b
    Example:
      hypnograph export runs/usleep model.onnx
      hypnograph export usleep-anysleep-1 usleep-5s.onnx --resolution 5
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.checkpoint import export
    from hypnograph.released_weights import load

    export(load(checkpoint, resolution_s=resolution_s), output, overwrite=overwrite)
    click.echo(f"written: {output} ({output.stat().st_size / 1e6:.1f} MB)")
