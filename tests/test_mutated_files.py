"""A small part of benchmarks/fuzz.py: damaged files end in a result or a clean error."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram_files import hypnogram_formats
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["recordings", "scorings"])
def test_damaged_files_end_in_a_result_or_a_clean_error(kind: str) -> None:
    if kind == "scorings" and not hypnogram_formats():
        pytest.skip("no format of scorings is there yet")
    command = [sys.executable, str(SCRIPT), "--count", "45", "--seed", "11", "--of", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "45 mutations" in done.stdout
    assert " 0 violations" in done.stdout


# ── the harness sees what it should ──


def fails(path: Path) -> None:
    if b"whole" not in path.read_bytes():
        raise TypeError("a defect")


def refuses(path: Path) -> None:
    if b"whole" not in path.read_bytes():
        raise UnreadableFileError("damaged")


def dies(path: Path) -> None:
    if b"whole" not in path.read_bytes():
        os._exit(7)


def never_ends(path: Path) -> None:
    while b"whole" not in path.read_bytes():
        time.sleep(0.01)


def allocates(path: Path) -> None:
    if b"whole" not in path.read_bytes():
        np.ones(1 << 28)


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        (refuses, "refused"),
        (fails, "TypeError: a defect"),
        (dies, "the process died with exit code 7"),
        (never_ends, "more than 1 s"),
        (allocates, "MemoryError"),
    ],
)
def test_defects_deaths_hangs_and_greed_are_told_from_refusals(fuzz, monkeypatch, reader, expected) -> None:
    monkeypatch.setattr(fuzz, "LIMIT_S", 1)
    monkeypatch.setattr(fuzz, "mutate", lambda *_: b"damaged")
    outcomes = fuzz.run([0, 1], 1, [fuzz.Base("file", b"whole", reader)])
    assert [what.startswith(expected.split(":")[0]) for what in outcomes.values()] == [True, True], outcomes


def test_a_mutation_is_the_same_for_the_same_seed_and_number(fuzz) -> None:
    content = fuzz.edf("EDF+D")
    again = [fuzz.mutate(content, np.random.default_rng((3, 4))) for _ in range(2)]
    assert again[0] == again[1] != content
