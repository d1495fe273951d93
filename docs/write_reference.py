"""Write what can be derived: the commands' help into docs/reference/commands.md, the tree of files into README.md."""

import ast
import re
import sys
from pathlib import Path

from click import Context, Group
from click.testing import CliRunner

from hypnograph.cli import hypnograph

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = REPOSITORY / "docs" / "reference" / "commands.md"
README = REPOSITORY / "README.md"
_FOLDERS = {"src/hypnograph": "the package", "benchmarks": "what takes minutes: `make bench`"}
_OTHERS = {
    "tests/": "mirrors the package; golden/ holds published and simulated scores",
    "docs/": "how-to/, reference/, decisions/, glossary.md",
    "benchmarks/results/": "measured numbers",
    "LOG.md": "dated experiments, the failed ones too",
    "constraints.txt": "the tested set of dependencies",
}


def reference() -> str:
    """Return the page of commands: what `--help` prints for the program and for each command."""
    parts = ["# Commands\n\nWritten by `make docs` from the commands' own help; a test fails when it is stale.\n"]
    for name in ["", *_commands()]:
        arguments = [*name.split(), "--help"]
        text = CliRunner().invoke(hypnograph, arguments, prog_name="hypnograph", terminal_width=100).output
        parts.append(f"## hypnograph {name}".rstrip() + f"\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _commands() -> list[str]:
    """Return the commands, those of a command of its own below it."""
    context = Context(hypnograph)
    names = []
    for name in hypnograph.list_commands(context):
        command = hypnograph.get_command(context, name)
        below = sorted(command.commands) if isinstance(command, Group) else []
        names += [name, *(f"{name} {other}" for other in below)]
    return names


def tree() -> str:
    """Return the tree of source files, each with the first line of its docstring."""
    rows = []
    for folder, description in _FOLDERS.items():
        rows.append((f"{folder}/", description))
        rows += _rows(REPOSITORY / folder, depth=1)
    rows += _OTHERS.items()
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{width}}{description}" for name, description in rows)


def _rows(folder: Path, depth: int) -> list[tuple[str, str]]:
    rows = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.is_dir() and (path / "__init__.py").exists():
            rows.append(("  " * depth + path.name + "/", _first_line(path / "__init__.py")))
            rows += _rows(path, depth + 1)
        elif path.suffix == ".py" and path.name != "__init__.py":
            rows.append(("  " * depth + path.name, _first_line(path)))
    return rows


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[^.]\.)\s|\n", text)[0].rstrip(".")


def readme() -> str:
    """Return the README with the tree as it is now."""
    text = README.read_text(encoding="utf-8")
    return re.sub(r"```tree\n.*?```", lambda _: f"```tree\n{tree()}\n```", text, flags=re.S)


if __name__ == "__main__":
    pages = {COMMANDS: reference(), README: readme()}
    if "--check" in sys.argv:
        stale = [str(path) for path, text in pages.items() if path.read_text(encoding="utf-8") != text]
        sys.exit(f"stale, run `make docs`: {', '.join(stale)}" if stale else 0)
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
