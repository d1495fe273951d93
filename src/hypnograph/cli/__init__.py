"""The command line: one file for each command, each a thin coat on one function.

A module of this folder named after its command holds ``command``, a click command. At its top it imports nothing but
the standard library, click and `hypnograph.errors`: `hypnograph --help` imports them all and must be instant.
"""

import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from hypnograph.errors import HypnographError

_HELP = ["-h", "--help"]


class _Folder(click.Group):
    """A group whose commands are the files of this folder; underscores in file names are dashes in commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        # click keeps the help option of the context that asks first; with its own settings a command has -h in all.
        command.context_settings.setdefault("help_option_names", _HELP)
        return command


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"hypnograph {version('hypnograph')}")
        ctx.exit()


@click.group(cls=_Folder, context_settings={"help_option_names": _HELP, "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
@click.pass_context
def hypnograph(ctx: click.Context, debug: bool) -> None:
    """Stage sleep: from a polysomnogram to a hypnogram, its certainty, statistics and a report.

    Everything runs on this computer; no recording leaves it.
    """
    ctx.obj = {"debug": debug}


class _Jobs(click.IntRange):
    """How many processes; −1: one for each core."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        jobs = super().convert(value, param, ctx)
        if jobs == 0:
            self.fail("0 processes do nothing; -1 is one for each core.", param, ctx)
        return jobs


JOBS = _Jobs(min=-1)


def comma_list(value: str, known: Sequence[str], *, at_least_one: bool = False) -> tuple[str, ...]:
    """Return the words of an option that takes several, with commas, each once.

    Raises
    ------
    click.BadParameter
        If a word is not known, or there is none and one is needed.
    """
    words = tuple(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))
    unknown = [word for word in words if word not in known]
    if unknown or (at_least_one and not words):
        raise click.BadParameter(f"{''.join(unknown[:1])!r} is not one of {', '.join(known)}")
    return words


def in_words(error: Exception) -> str:
    """Return an error in a line: of the operating system's, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def main() -> None:
    """Run the command line; an error that a user can mend is one line on standard error and exit code 1."""
    debug = "--debug" in sys.argv or bool(os.environ.get("HYPNOGRAPH_DEBUG"))
    if debug:
        sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        hypnograph()
    except (HypnographError, OSError) as error:
        if debug:
            raise
        click.secho(f"Error: {in_words(error)}", fg="red", err=True)
        sys.exit(1)
    except Exception as error:  # a defect of ours: say so in a line, keep the traceback for --debug
        if debug:
            raise
        click.secho(
            f"Unexpected {type(error).__name__}: {error}\nRun again with --debug to see where.", fg="red", err=True
        )
        sys.exit(70)
