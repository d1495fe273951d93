"""The report of a night: whole, self-contained, honest about what is not known."""

import base64
import io
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.montage import ChannelKind, Derivation
from hypnograph.multitaper import Spectrogram
from hypnograph.recording import Recording, Signal
from hypnograph.report import as_json, staging_of, write_html, write_pdf, write_report
from hypnograph.report.figures import MAX_COLUMNS, area, averaged, colour_map, spectrogram_image
from hypnograph.report.png import encode_png
from hypnograph.stagers import Staging, Voter
from hypnograph.stagers.ensemble import combine
from hypnograph.stages import AASM_5, W_NREM_REM

START = datetime(2026, 3, 1, 23, 5)
SECTIONS = ("warnings", "summary", "night", "unsure", "statistics", "voters", "derivations", "provenance")
VOID = {"meta", "br", "img", "hr", "input", "link", "path"}
EEG = Derivation(ChannelKind.EEG, "C4-M1", "EEG C4", "EEG M1", "central, against the opposite mastoid")


def probabilities(n_epochs: int = 240, n_stages: int = 5, seed: int = 0) -> np.ndarray:
    """Runs of stages with some doubt; made up."""
    rng = np.random.default_rng(seed)
    logits = np.repeat(rng.normal(0, 2.5, (-(-n_epochs // 12), n_stages)), 12, axis=0)[:n_epochs]
    exponential = np.exp(logits + rng.normal(0, 0.4, (n_epochs, n_stages)))
    return exponential / exponential.sum(axis=1, keepdims=True)


def staging(n_epochs: int = 240, *, n_voters: int = 3, start: datetime | None = START, **fields) -> Staging:
    voters = []
    for i in range(n_voters):
        p = probabilities(n_epochs, seed=i // 2)
        p[100:104] = np.nan
        weight = np.where(np.isnan(p[:, 0]), 0, 0.9 - 0.1 * (i % 5))
        voters.append(Voter(f"C4-M1 + eye {i}", (EEG,), Hypnodensity(p, start=start), weight, weight))
    hypnodensity = combine(voters)
    made = Staging(
        hypnogram=hypnodensity.argmax(), hypnodensity=hypnodensity, derivations=(EEG,), stager="ensemble of YASA 0.8.1",
        weights_sha256="ab" * 32, warnings=("C3-M2 is flat from 01:00",), timings_s={"read": 0.25},
        voters=tuple(voters) if n_voters > 1 else (),
    )  # fmt: skip
    return replace(made, **fields)


def scored_by_a_person(**fields) -> Staging:
    names = ["W"] * 20 + ["N2"] * 60 + ["REM"] * 20 + ["UNSCORED"] * 5
    return staging_of(Hypnogram.from_names(names, scorer="AB", **fields))


def image(n_epochs: int = 240, start: datetime | None = START) -> Spectrogram:
    power = np.random.default_rng(3).normal(0, 8, (n_epochs, 119)).astype(np.float32)
    power[100:104] = np.nan
    return Spectrogram(power, np.arange(0.5, 30.1, 0.25), 30.0, 1.0, start, "C4-M1")


class Page(HTMLParser):
    """Reads a page and remembers its elements, its text, and whether every element was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if attributes.get("id")]


@pytest.fixture
def page(tmp_path: Path):
    def write(night: Staging, title: str = "night 7", **options) -> Page:
        write_html(night, tmp_path / "report.html", title=title, **options)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


class TestHtml:
    def test_has_every_section_of_an_ensembles_night(self, page) -> None:
        written = page(staging(), spectrogram=image())
        assert [name for name in written.ids() if name in SECTIONS] == list(SECTIONS)
        for text in (
            "night 7", "Sunday 1 March 2026, 23:05 to 01:05", "Check before use", "C3-M2 is flat from 01:00",
            "Hypnodensity", "Spectrogram C4-M1, multitaper", "EEG C4 − EEG M1", "central, against the opposite mastoid",
            "ab" * 32, "read 0.25", "Sleep efficiency", "C4-M1 + eye 2",
        ):  # fmt: skip
            assert text in written.text

    def test_shows_the_statistics_of_the_hypnogram(self, page) -> None:
        text = page(scored_by_a_person(start=START)).text
        assert "Time in bed TIB 52.5 min" in text
        assert "Latency to REM from lights off Lat REM 40.0 min" in text
        assert "N2 30.0 min 75.0 %" in text

    def test_refers_to_nothing_outside_itself(self, page, tmp_path: Path) -> None:
        written = page(staging(), spectrogram=image())
        for tag, attributes in written.elements:
            assert tag not in ("link", "iframe", "object", "base")
            for name in ("src", "href", "xlink:href", "data", "action"):
                value = attributes.get(name)
                assert value is None or value.startswith(("#", "data:image/png;base64,"))
        source = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert not re.search(r"https?://|url\(|@import", source)

    def test_a_policy_forbids_loading_anything(self, page) -> None:
        policies = [a["content"] for t, a in page(staging()).elements if t == "meta" and a.get("http-equiv")]
        assert [policy.split(";")[0] for policy in policies] == ["default-src 'none'"]

    def test_links_lead_to_places_in_the_page(self, page) -> None:
        written = page(staging())
        targets = {a["href"][1:] for t, a in written.elements if t == "a"}
        assert len(targets) > 4
        assert targets <= set(written.ids())
        assert len(written.ids()) == len(set(written.ids()))

    def test_labels_of_files_cannot_become_markup(self, page, tmp_path: Path) -> None:
        evil = "<script>alert('x')</script>\"'&"
        eeg = Derivation(ChannelKind.EEG, evil, evil, evil, evil)
        night = staging(derivations=(eeg,), warnings=(evil,), stager=evil, weights_sha256=evil, timings_s={evil: 1.0})
        night = replace(night, voters=tuple(replace(voter, name=evil) for voter in night.voters))
        written = page(night, title=evil, spectrogram=replace(image(), derivation=evil))
        assert [attributes.get("type") for tag, attributes in written.elements if tag == "script"] == [
            "application/json",
            None,
        ]
        assert "alert('x')</script>" not in (tmp_path / "report.html").read_text(encoding="utf-8")
        assert written.text.count("<script>alert") > 6

    def test_every_drawing_has_a_title_and_every_table_headers(self, page) -> None:
        elements = page(staging(), spectrogram=image()).elements
        drawings = [a for t, a in elements if t == "svg" and a.get("aria-hidden") is None]
        assert all(a["role"] == "img" for a in drawings)
        assert len(drawings) > 3
        assert sum(t == "title" for t, _ in elements) == len(drawings) + 1
        assert all(a.get("alt") for t, a in elements if t == "img")
        assert all(a.get("scope") in ("row", "col") for t, a in elements if t == "th")

    def test_every_panel_shows_the_same_stretch_of_time(self, page) -> None:
        elements = page(staging(), spectrogram=image()).elements
        widths = {a["viewbox"].split()[2] for t, a in elements if t == "svg"}
        assert widths == {"240"}
        (drawn,) = [a["style"] for t, a in elements if t == "div" and a.get("class") == "image"]
        assert drawn == "left:0%;width:100%"

    def test_a_spectrogram_that_begins_earlier_is_shifted(self, page) -> None:
        earlier = image(start=datetime(2026, 3, 1, 22, 53))
        (style,) = [a["style"] for t, a in page(staging(), spectrogram=earlier).elements if a.get("class") == "image"]
        assert style == "left:-10%;width:100%"

    def test_a_spectrogram_of_another_date_is_placed_by_the_time_of_day(self, page) -> None:
        other = image(start=datetime(1985, 1, 1, 23, 17))
        (style,) = [a["style"] for t, a in page(staging(), spectrogram=other).elements if a.get("class") == "image"]
        assert style == "left:10%;width:100%"

    def test_an_average_night_stays_small_and_is_written_at_once(self, page, tmp_path: Path) -> None:
        night = staging(960, n_voters=12)
        began = time.process_time()
        page(night, spectrogram=image(960))
        assert time.process_time() - began < 1.5  # 0.1 s for the page, the rest is our reading it
        assert (tmp_path / "report.html").stat().st_size < 600_000

    def test_a_night_in_epochs_of_a_second_stays_below_three_megabytes(self, page, tmp_path: Path) -> None:
        n = 28_800
        p = np.repeat(probabilities(n // 4), 4, axis=0)
        hypnodensity = Hypnodensity(p, epoch_s=1.0, start=START)
        page(staging(voters=(), hypnodensity=hypnodensity, hypnogram=hypnodensity.argmax()))
        assert (tmp_path / "report.html").stat().st_size < 3_000_000

    def test_the_same_night_gives_the_same_file(self, tmp_path: Path) -> None:
        for name in ("a.html", "b.html"):
            write_html(staging(), tmp_path / name, title="t", spectrogram=image())
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    def test_the_data_for_the_pointer_are_those_of_the_night(self, page, tmp_path: Path) -> None:
        night = staging()
        page(night)
        source = (tmp_path / "report.html").read_text(encoding="utf-8")
        data = json.loads(re.search(r'id="epochs">(.*?)</script>', source).group(1))
        assert data["stages"] == night.hypnogram.stages.tolist()
        assert data["begin_s"] == 23 * 3600 + 300
        assert np.reshape(data["percent"], (240, 5))[7] == pytest.approx(
            100 * night.hypnodensity.probabilities[7], abs=0.5
        )


class TestWhatIsNotKnown:
    def test_a_persons_scoring_shows_no_certainty(self, page) -> None:
        written = page(scored_by_a_person(start=START))
        assert "Scoring by AB. Its certainty is not known." in written.text
        assert not {"unsure", "voters", "derivations", "warnings"} & set(written.ids())
        assert "Hypnodensity" not in written.text
        assert "Automatic" not in written.text

    def test_an_unknown_start_counts_from_the_beginning(self, page) -> None:
        written = page(staging(start=None), spectrogram=image(start=None))
        assert "Start time not known" in written.text
        assert "Time since the start" in written.text

    def test_a_night_without_any_stage(self, page) -> None:
        written = page(staging_of(Hypnogram(np.full(40, -1))), spectrogram=None)
        assert "–" in written.text
        assert "hatched: not scored" in written.text

    def test_a_night_without_epochs(self, page) -> None:
        assert "There are no epochs" in page(staging_of(Hypnogram(np.array([], dtype=int)))).text

    def test_a_single_stager_has_no_voters(self, page) -> None:
        assert "voters" not in page(staging(n_voters=1)).ids()

    def test_a_night_without_doubt_says_so(self, page) -> None:
        sure = Hypnodensity(np.tile([0.02, 0.02, 0.9, 0.04, 0.02], (30, 1)))
        night = staging(voters=(), hypnodensity=sure, hypnogram=sure.argmax())
        assert "No epoch has a confidence below 0.6" in page(night).text

    @pytest.mark.parametrize("suffix", ["html", "pdf", "json"])
    def test_merged_stages(self, tmp_path: Path, suffix: str) -> None:
        night = staging(voters=())
        merged = night.hypnodensity.merge(W_NREM_REM)
        merged_night = replace(night, hypnodensity=merged, hypnogram=merged.argmax())
        write_report(merged_night, tmp_path / f"report.{suffix}", title="merged")
        assert (tmp_path / f"report.{suffix}").stat().st_size > 1000

    def test_lights_off_and_on_are_marked(self, page) -> None:
        night = staging()
        lit = replace(night, hypnogram=replace(night.hypnogram, lights_off_s=300.0, lights_on_s=6900.0))
        text = page(lit).text
        assert "lights off lights on" in text
        assert "Statistics of: lights off to lights on" in text

    def test_a_simulated_night_says_so(self, page, tmp_path: Path) -> None:
        assert "This night is simulated" in page(staging(), simulated=True).text
        assert "simulated" not in page(staging()).text
        assert as_json(staging(), title="t", simulated=True)["simulated"] is True


class TestStagingOfAScoring:
    RECORDING = Recording(signals=(), duration_s=3000.0, start=START)

    def test_takes_the_start_of_the_recording_where_it_has_none(self) -> None:
        scoring = Hypnogram.from_names(["W", "N1"])
        assert staging_of(scoring, None, self.RECORDING).hypnogram.start == START

    def test_keeps_its_probabilities(self) -> None:
        p = probabilities(20)
        scoring = Hypnodensity(p, start=START)
        night = staging_of(scoring.argmax(), scoring, self.RECORDING)
        np.testing.assert_array_equal(night.hypnodensity.probabilities, p)

    def test_a_scoring_of_another_time_is_refused(self) -> None:
        scoring = Hypnogram.from_names(["W", "N1"], start=datetime(2026, 3, 1, 18, 0))
        with pytest.raises(AlignmentError, match="does not overlap"):
            staging_of(scoring, None, self.RECORDING)


class TestJson:
    def test_says_what_the_night_says(self) -> None:
        night = staging()
        values = json.loads(json.dumps(as_json(night, title="night 7"), allow_nan=False))
        assert (values["schema"], values["schema_version"], values["title"]) == ("hypnograph.report", 1, "night 7")
        assert values["stages"] == night.hypnogram.names
        assert values["start"] == "2026-03-01T23:05:00"
        assert values["probabilities"][0] == pytest.approx(night.hypnodensity.probabilities[0], abs=1e-4)
        assert values["probabilities"][101] == [None] * 5
        assert values["derivations"][0]["reference"] == "EEG M1"
        assert values["statistics"]["TST_min"] > 0
        assert len(values["voters"]) == 3
        assert values["versions"]["weights_sha256"] == "ab" * 32

    def test_unknown_certainty_is_null(self) -> None:
        values = as_json(scored_by_a_person(), title="t")
        assert values["probabilities"] is None
        assert values["share_against"] is None
        assert values["start"] is None


class TestPdf:
    def test_is_a_pdf_of_a4_pages_without_a_date_or_a_user(self, tmp_path: Path) -> None:
        write_pdf(staging(), tmp_path / "a.pdf", title="night $7$ <b>", spectrogram=image())
        write_pdf(staging(), tmp_path / "b.pdf", title="night $7$ <b>", spectrogram=image())
        first = (tmp_path / "a.pdf").read_bytes()
        assert first.startswith(b"%PDF-")
        assert first == (tmp_path / "b.pdf").read_bytes()
        assert b"CreationDate" not in first
        assert b"/Author" not in first
        assert 3 <= first.count(b"/Type /Page ") <= 4

    @pytest.mark.parametrize("night", [scored_by_a_person(), staging_of(Hypnogram(np.array([], dtype=int)))])
    def test_is_written_for_nights_of_which_little_is_known(self, tmp_path: Path, night: Staging) -> None:
        write_pdf(night, tmp_path / "a.pdf", title="ночь 夜")
        assert (tmp_path / "a.pdf").stat().st_size > 1000

    def test_many_warnings_have_room(self, tmp_path: Path) -> None:
        many = tuple(f"warning {i}: " + "something is odd with this signal " * 5 for i in range(60))
        write_pdf(staging(warnings=many), tmp_path / "a.pdf", title="t")
        assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /Page ") >= 4


class TestWriteReport:
    def test_an_unknown_ending_lists_those_that_are_known(self, tmp_path: Path) -> None:
        with pytest.raises(HypnographError, match=r"\.html, \.pdf, \.json"):
            write_report(staging(), tmp_path / "report.docx", title="t")

    def test_draws_the_spectrogram_of_the_first_eeg_derivation(self, tmp_path: Path) -> None:
        amplitude = np.random.default_rng(0).normal(0, 20, 100 * 7200).astype(np.float32)
        eeg = Signal("EEG C4", 100.0, "uV", len(amplitude), lambda first, past_last: amplitude[first:past_last])
        recording = Recording((eeg,), 7200.0, START)
        eog = replace(EEG, kind=ChannelKind.EOG, name="E1-M2")
        plain = replace(EEG, reference=None)
        write_report(staging(derivations=(eog, plain)), tmp_path / "r.html", title="t", recording=recording)
        assert "Multitaper spectrogram of C4-M1" in (tmp_path / "r.html").read_text(encoding="utf-8")

    def test_html_and_json_import_nothing_heavy(self, tmp_path: Path) -> None:
        code = (
            "import sys, numpy as np; from hypnograph.hypnogram import Hypnogram; from hypnograph.report import *\n"
            "from hypnograph.report import write_report, staging_of\n"
            "night = staging_of(Hypnogram(np.zeros(9, dtype=int)))\n"
            f"for to in ('html', 'json'): write_report(night, {str(tmp_path / 'r.')!r} + to, title='t')\n"
            "heavy = ('matplotlib', 'pandas', 'scipy.signal', 'mne', 'onnxruntime', 'yasa')\n"
            "print([name for name in heavy if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestPng:
    def test_is_decoded_to_what_was_encoded(self) -> None:
        pil = pytest.importorskip("PIL.Image")
        rng = np.random.default_rng(5)
        index = rng.integers(0, 256, (37, 101)).astype(np.uint8)
        palette = rng.integers(0, 256, (256, 3)).astype(np.uint8)
        decoded = pil.open(io.BytesIO(encode_png(index, palette, transparent=255))).convert("RGBA")
        expected = np.dstack([palette[index], np.where(index == 255, 0, 255)])
        np.testing.assert_array_equal(np.asarray(decoded), expected)

    @pytest.mark.parametrize(
        ("index", "n_colours"), [(np.zeros((0, 3), np.uint8), 2), (np.full((2, 2), 2, np.uint8), 2)]
    )
    def test_what_cannot_be_drawn_is_refused(self, index: np.ndarray, n_colours: int) -> None:
        with pytest.raises(HypnographError, match="cannot be drawn"):
            encode_png(index, np.zeros((n_colours, 3), np.uint8))

    def test_the_colours_rise_evenly_in_lightness(self) -> None:
        luminance = (colour_map().astype(float) / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(luminance) > -2e-3).all()
        assert luminance[0] < 0.01
        assert luminance[-1] > 0.9


class TestSpectrogramImage:
    def test_low_frequencies_are_at_the_bottom_and_time_runs_to_the_right(self) -> None:
        pil = pytest.importorskip("PIL.Image")
        power = np.zeros((60, 119), np.float32)
        power[:, :10] = 20.0
        power[50:] = np.nan
        address = spectrogram_image(replace(image(60), power_db=power))
        drawn = pil.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))).convert("RGBA")
        assert drawn.size == (60, 119)
        assert drawn.getpixel((0, 118)) == (252, 255, 164, 255)
        assert drawn.getpixel((0, 0)) == (0, 0, 4, 255)
        assert drawn.getpixel((59, 118))[3] == 0


class TestShapes:
    def test_an_area_steps_down_to_its_values_and_leaves_holes(self) -> None:
        assert area(np.array([1.0, 0.5, 0.5, np.nan, 0.25])) == "M0 100V0H1V50H3V100ZM4 100V75H5V100Z"

    def test_long_nights_are_averaged_to_what_a_screen_shows(self) -> None:
        values = np.arange(10_000, dtype=float)
        columns = averaged(values)
        assert len(columns) <= MAX_COLUMNS
        assert columns[0] == 2.0  # of 0, 1, 2, 3, 4

    def test_unknown_values_are_left_out_of_the_mean(self) -> None:
        values = np.full((5000, 2), np.nan)
        values[0] = 4.0
        columns = averaged(values)
        assert columns[0].tolist() == [4.0, 4.0]
        assert np.isnan(columns[1:]).all()


def test_no_field_of_a_report_can_hold_a_patient(page) -> None:
    # A recording has no such field; the report gets a title, and says nothing else about whom it shows.
    values = as_json(staging(), title="night 7")
    assert not {"patient", "name", "birthdate", "sex", "subject"} & set(values)
    assert values["labels"] == list(AASM_5.labels)


def test_a_latency_of_a_second_is_not_shown_with_seven_digits() -> None:
    from hypnograph.report.contents import hours

    assert [hours(value) for value in (1 / 60, 12.5, 61.2)] == ["0 min", "12.5 min", "1 h 01 min"]
