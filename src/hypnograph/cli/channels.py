"""``hypnograph channels``: what is in a recording, what each signal is taken for, and which ones would be staged."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.errors import MissingChannelError

if TYPE_CHECKING:
    from hypnograph.montage import Derivation, Montage
    from hypnograph.recording import Recording

SHOWN_GAPS = 5


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--eeg", multiple=True, metavar="NAME", help="EEG derivation to use, e.g. C4-M1; may be repeated.")
@click.option("--eog", multiple=True, metavar="NAME", help="EOG derivation to use; 'none' for none.")
@click.option("--emg", multiple=True, metavar="NAME", help="EMG derivation to use; 'none' for none.")
@click.option("--quality", is_flag=True, help="Also read the chosen derivations and judge their amplitude and quality.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(
    *, file: Path, eeg: tuple[str, ...], eog: tuple[str, ...], emg: tuple[str, ...], quality: bool, as_json: bool
) -> None:
    """Show the signals of a recording, and which of them are staged and why.

    \b
    Example:
      hypnograph channels night.edf
      hypnograph channels night.edf --eeg C4-M1 --eog none --quality
    """  # noqa: D301 (click's \b keeps the lines of the example)
    from hypnograph.montage import choose_derivations
    from hypnograph.signal_files import read_recording

    recording = read_recording(file)
    montage, problem = None, ""
    try:
        montage = choose_derivations(recording, eeg=eeg or None, eog=eog or None, emg=emg or None)
    except MissingChannelError as error:
        if eeg or eog or emg:
            raise
        problem = str(error)  # a file without EEG can be looked at all the same
    described = _described(file, recording, montage, problem, quality)
    if as_json:
        import json

        click.echo(json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(described)


def _described(
    file: Path, recording: "Recording", montage: "Montage | None", problem: str, quality: bool
) -> dict[str, Any]:
    """Return all that is shown, as JSON has it."""
    from dataclasses import asdict

    from hypnograph.montage import describe_channels

    derivations = montage.derivations if montage is not None else ()
    return {
        "file": file.name,
        "format": recording.source,
        "start": recording.start.isoformat(sep=" ", timespec="seconds") if recording.start else None,
        "duration_s": recording.duration_s,
        "gaps": [list(gap) for gap in recording.gaps],
        "signals": [asdict(row) for row in describe_channels(recording, montage)],
        "derivations": [asdict(d) | (_quality(recording, d) if quality else {}) for d in derivations],
        "problem": problem,
        "warnings": list(recording.warnings),
    }


def _quality(recording: "Recording", derivation: "Derivation") -> dict[str, Any]:
    from hypnograph.montage import read_derivation, typical_spread
    from hypnograph.signal_quality import signal_quality

    derived = read_derivation(recording, derivation)
    judged = signal_quality(
        derived.amplitude_uv,
        derived.sample_rate,
        kind=derivation.kind,
        physical_range_uv=derived.physical_range_uv,
    )
    return {
        "spread_uv": round(typical_spread(derived.amplitude_uv, derived.sample_rate), 3),
        "usable_epochs": int(judged.usable.sum()),
        "epochs": len(judged.usable),
        "warnings": [*derived.warnings, *judged.warnings(derivation.name)],
    }


def _print(described: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    start = described["start"] or "unknown start"
    duration = _clock(described["duration_s"])
    console.print(f"{described['file']}: {described['format'] or 'recording'}, {duration} from {start}", markup=False)
    for line in _gap_lines(described["gaps"]):
        console.print(line, markup=False)
    table = Table("signal", "rate", "unit", "kind", "used as", "why", box=None, pad_edge=False, header_style="bold")
    for row in described["signals"]:
        cells = (row["label"], f"{row['sample_rate']:g} Hz", row["unit"], row["kind"], row["use"], row["reason"])
        table.add_row(*map(escape, cells), style=None if row["use"] else "dim")
    console.print(table)
    for line, warnings in _derivation_lines(described["derivations"]):
        console.print(line, markup=False)
        for warning in warnings:
            console.print(f"  Warning: {warning}", markup=False, style="yellow")
    if described["problem"]:
        console.print(f"\nNothing to stage: {described['problem']}", markup=False, style="yellow")
    for warning in described["warnings"]:
        console.print(f"Warning: {warning}", markup=False, style="yellow")


def _derivation_lines(derivations: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return a line for each kind, or with ``--quality`` for each derivation, and its warnings."""
    lines: list[tuple[str, list[str]]] = []
    for kind in dict.fromkeys(derivation["kind"] for derivation in derivations):
        of_kind = [derivation for derivation in derivations if derivation["kind"] == kind]
        names = ", ".join(derivation["name"] for derivation in of_kind)
        lines.append((f"{kind}, best first: {names}" if len(of_kind) > 1 else f"{kind}: {names}", []))
        for judged in (derivation for derivation in of_kind if "epochs" in derivation):
            line = (
                f"  {judged['name']}: inter-quartile range {judged['spread_uv']:g} µV, "
                f"{judged['usable_epochs']} of {judged['epochs']} epochs usable"
            )
            lines.append((line, judged["warnings"]))
    return lines


def _gap_lines(gaps: list[list[float]]) -> list[str]:
    if not gaps:
        return []
    total = sum(stop - start for start, stop in gaps)
    shown = ", ".join(f"{_clock(start)} to {_clock(stop)}" for start, stop in gaps[:SHOWN_GAPS])
    more = f" and {len(gaps) - SHOWN_GAPS} more" if len(gaps) > SHOWN_GAPS else ""
    return [f"{len(gaps)} gaps, {_clock(total)} in all, after the start: {shown}{more}"]


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
