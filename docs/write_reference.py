"""Write the help of every command into docs/reference/commands.md; `--check` fails if the page is stale."""

import sys
from pathlib import Path

from click.testing import CliRunner

from hypnograph.cli import hypnograph

PAGE = Path(__file__).parent / "reference" / "commands.md"


def reference() -> str:
    """Return the page: what `--help` prints for the program and for each command."""
    parts = ["# Commands\n\nWritten by `make docs` from the commands' own help; a test fails when it is stale.\n"]
    for name in ["", *sorted(hypnograph.commands or hypnograph.list_commands(None))]:  # type: ignore[arg-type]
        arguments = ([name] if name else []) + ["--help"]
        text = CliRunner().invoke(hypnograph, arguments, prog_name="hypnograph", terminal_width=100).output
        parts.append(f"## hypnograph {name}".rstrip() + f"\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == reference() else f"{PAGE} is stale: run `make docs`")
    PAGE.write_text(reference(), encoding="utf-8")
