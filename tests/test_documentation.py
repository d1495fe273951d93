"""The documentation is true: the tree is the real tree, the help is the commands' own, links lead somewhere."""

import re
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from hypnograph.cli import hypnograph

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
COMMANDS = hypnograph.list_commands(None)  # type: ignore[arg-type]


MODULE = runpy.run_path(str(REPOSITORY / "docs" / "write_reference.py"))


def test_the_readmes_tree_is_the_real_tree() -> None:
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8") == MODULE["readme"](), "run `make docs`"


def test_every_file_of_the_tree_says_what_it_is() -> None:
    for line in MODULE["tree"]().splitlines():
        name, _, description = line.strip().partition("  ")
        assert description.strip(), name


def test_the_command_reference_is_what_help_prints() -> None:
    page = REPOSITORY / "docs/reference/commands.md"
    assert page.read_text(encoding="utf-8") == MODULE["reference"](), "run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(hypnograph, [name, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_named_in_the_readme(name: str) -> None:
    assert f"hypnograph {name}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_commands_in_the_documentation_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"^(?:\$ )?hypnograph ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.M):
            assert name in COMMANDS, f"{page.name}: hypnograph {name}"
