"""The command line starts at once and says errors in a line."""

import subprocess
import sys

import pytest

from hypnograph.cli import in_words

HEAVY = {
    "torch",
    "pandas",
    "mne",
    "scipy",
    "yasa",
    "lightgbm",
    "numba",
    "matplotlib",
    "h5py",
    "wfdb",
    "sklearn",
    "rich",
}


def modules_after(code: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter has loaded after `code`."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(result.stdout.splitlines())


HELP = "from click.testing import CliRunner; from hypnograph import cli; CliRunner().invoke(cli.hypnograph, ['--help'])"


@pytest.mark.parametrize("code", ["import hypnograph", HELP])
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    assert not modules_after(code) & HEAVY


def test_help_takes_less_than_three_tenths_of_a_second_of_cpu() -> None:
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', 'hypnograph', '--help'], check=True, "
        "stdout=subprocess.DEVNULL); u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime)"
    )
    command = [sys.executable, "-c", code]
    runs = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(runs) < 0.3


def test_an_error_is_one_line_without_a_traceback(tmp_path) -> None:
    (tmp_path / "night.edf").write_bytes(b"not a recording")
    result = subprocess.run(
        [sys.executable, "-m", "hypnograph", "channels", str(tmp_path / "night.edf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback(tmp_path) -> None:
    (tmp_path / "night.edf").write_bytes(b"not a recording")
    result = subprocess.run(
        [sys.executable, "-m", "hypnograph", "--debug", "channels", str(tmp_path / "night.edf")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" in result.stderr


def test_an_error_of_the_operating_system_names_the_file_first() -> None:
    error = FileNotFoundError(2, "No such file or directory", "/nowhere/night.edf")
    assert in_words(error) == "/nowhere/night.edf: no such file or directory"
    assert in_words(OSError("no words of its own")) == "no words of its own"
