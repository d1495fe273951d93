"""``hypnograph statistics``."""

import csv
import json
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.cli.statistics import _statistics
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram

NAMES = ["W"] * 20 + ["N2"] * 60 + ["REM"] * 20 + ["W"] * 20


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["statistics", *map(str, arguments)])


@pytest.fixture
def scoring(tmp_path: Path) -> Path:
    path = tmp_path / "night.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return path


def started(clock: str, **lights: float) -> Hypnogram:
    return Hypnogram.from_names(NAMES, start=datetime.fromisoformat(f"2026-03-01T{clock}"), **lights)


class TestOneFile:
    def test_prints_the_statistics_and_what_they_cover(self, scoring: Path) -> None:
        printed = run(scoring).stdout
        for text in ("TIB     60.0 min", "TST   40.0 min", "66.7 %", "whole hypnogram", "cycle 1: 40.0 min"):
            assert text in printed

    def test_as_json(self, scoring: Path) -> None:
        (found,) = json.loads(run(scoring, "--json").stdout)
        assert (found["file"], found["SOL_min"], found["REM_latency_min"]) == ("night.txt", 10, 30)

    def test_lights_in_seconds(self, scoring: Path) -> None:
        (found,) = json.loads(run(scoring, "--lights-off", 120, "--lights-on", 3300, "--json").stdout)
        assert (found["SOL_min"], found["TIB_min"], found["basis"]) == (8, 53, "lights off to lights on")

    def test_a_clock_time_needs_a_start(self, scoring: Path) -> None:
        refused = run(scoring, "--lights-off", "23:00").exception
        assert isinstance(refused, HypnographError)
        assert "night.txt: --lights-off 23:00: the file does not tell when it starts" in str(refused)


class TestSeveralFiles:
    def test_a_row_each(self, scoring: Path, tmp_path: Path) -> None:
        awake = tmp_path / "awake.txt"
        awake.write_text("W\n" * 100)
        result = run(scoring, awake, "--csv", tmp_path / "all.csv")
        assert result.exception is None
        assert "awake.txt" in result.stdout
        assert "–" in result.stdout
        with (tmp_path / "all.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["file"] for row in rows] == ["night.txt", "awake.txt"]
        assert (rows[0]["TST_min"], rows[1]["SOL_min"]) == ("40.0", "")


class TestClockTimes:
    def test_count_from_the_start(self) -> None:
        found = _statistics(started("22:50:00"), "22:55", "23:45:30")
        assert (found.analysed_from_s, found.analysed_to_s) == (300, 3330)

    def test_past_midnight(self) -> None:
        found = _statistics(started("23:50:00"), "23:55", "0:40")
        assert (found.analysed_from_s, found.analysed_to_s) == (300, 3000)

    def test_before_the_start_are_the_start_and_said(self) -> None:
        found = _statistics(started("23:00:00"), "22:50", None)
        assert found.analysed_from_s == 0
        assert "lights off was earlier" in found.basis

    def test_win_over_those_of_the_file(self) -> None:
        assert _statistics(started("22:50:00", lights_off_s=60.0), "22:55", None).sol_min == 5
        assert _statistics(started("22:50:00", lights_off_s=60.0), None, None).sol_min == 9

    @pytest.mark.parametrize("text", ["25:00", "22:60", "ten", "1:2:3:4", "22:-5"])
    def test_that_are_none_are_refused(self, text: str) -> None:
        with pytest.raises(HypnographError, match=r"give a clock time hh:mm\[:ss\]"):
            _statistics(started("22:50:00"), text, None)


def test_a_real_scoring_has_its_known_total_sleep_time(shared_data: Path) -> None:
    scoring = shared_data / "fixtures" / "sleep-edf" / "SC4001EC-Hypnogram.edf"
    result = run(scoring, "--json")
    assert result.exception is None, result.exception
    (found,) = json.loads(result.stdout)
    assert found["TST_min"] == 326.5
