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


def tree_of_the_readme() -> dict[str, str]:
    """Return path → description of the README's tree block."""
    block = re.search(r"```tree\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.S)
    if block is None:
        raise AssertionError("README.md has no ```tree block")
    entries, folders = {}, []
    for line in block.group(1).splitlines():
        name, _, description = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name.rstrip("/")]
        entries["/".join(folders)] = description.strip()
    return entries


def test_the_readme_shows_every_source_file_and_no_other() -> None:
    package = REPOSITORY / "src" / "hypnograph"
    real = {
        str(path.relative_to(REPOSITORY))
        for path in package.rglob("*.py")
        if path.name != "__init__.py" and "__pycache__" not in path.parts
    }
    shown = {path for path in tree_of_the_readme() if path.startswith("src/hypnograph/") and path.endswith(".py")}
    assert shown == real


def test_every_entry_of_the_readmes_tree_exists_and_is_described() -> None:
    for path, description in tree_of_the_readme().items():
        assert (REPOSITORY / path).exists(), path
        assert description, path


def test_the_command_reference_is_what_help_prints() -> None:
    module = runpy.run_path(str(REPOSITORY / "docs" / "write_reference.py"))
    assert (REPOSITORY / "docs/reference/commands.md").read_text(encoding="utf-8") == module["reference"]()


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
