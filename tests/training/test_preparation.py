"""From datasets to a store: the right samples beside the right stages, and no night costs another."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypnograph.benchmark.references import read_references
from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Night, Scoring, nights
from hypnograph.errors import HypnographError
from hypnograph.montage import choose_derivations, read_derivation
from hypnograph.preprocess import InputSpec
from hypnograph.recording import Recording, Signal
from hypnograph.signal_files import edf, read_recording
from hypnograph.simulate import simulate_hypnogram, simulate_recording
from hypnograph.training import preparation
from hypnograph.training.cropping import Crop
from hypnograph.training.derivation_choice import choose
from hypnograph.training.preparation import PreparationReport, prepare
from hypnograph.training.store import CATALOGUE, open_store
from tests.datasets.trees import STAGES, START, write_psg, write_scoring

EEG, EOG, EMG = ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG
SPEC = InputSpec((EEG, EOG), 64.0)
LABELS = ("C4-M1", "E1-M2", "C3-M2")


def make_night(
    folder: Path, name: str = "n1", *, labels: Iterable[str] = LABELS, scorers: tuple[str, ...] = ("A",), **fields: Any
) -> Night:
    """Write a night of six epochs, whose signal i is i µV and one more with each epoch."""
    psg = write_psg(folder / f"{name}.edf", tuple(labels), sample_rate=64.0)
    scorings = tuple(Scoring(scorer, write_scoring(folder / f"{name}-{scorer}-Hypnogram.edf")) for scorer in scorers)
    return Night(dataset="folder", id=name, subject=name[:2], psg=psg, scorings=scorings, **fields)


def ramp_night(folder: Path, names: list[str], duration_s: float, *, lead_s: float | None) -> Night:
    """Write a night whose samples tell their time in seconds, scored in epochs of 20 s from `lead_s` on, if known."""
    ramp = np.arange(0, duration_s * 64, dtype=np.float32)
    signal = Signal("C4-M1", 64.0, "uV", len(ramp), lambda first, past_last: ramp[first:past_last] / 64)
    edf.write(Recording((signal,), duration_s, start=START), folder / "n1.edf")
    if lead_s is None:
        scoring = folder / "n1-scoring.txt"
        scoring.write_text("\n".join(names))
    else:
        begins = START + timedelta(seconds=lead_s)
        scoring = write_scoring(folder / "n1-H.edf", names, start=begins, epoch_s=20.0)
    scored, epoch_s = (Scoring("", scoring),), None if lead_s is not None else 20.0
    return Night(dataset="folder", id="1", subject="1", psg=folder / "n1.edf", scorings=scored, scoring_epoch_s=epoch_s)


def broken_night(folder: Path, name: str) -> Night:
    night = make_night(folder, name)
    night.psg.write_bytes(night.psg.read_bytes()[:300])
    return night


def statuses(report: PreparationReport) -> dict[str, str]:
    return {outcome.key.removeprefix("folder/"): outcome.status for outcome in report.outcomes}


class TestOneNight:
    def test_epochs_and_stages_are_those_of_the_files(self, tmp_path: Path) -> None:
        report = prepare([make_night(tmp_path / "in")], tmp_path / "store", SPEC)
        (night,) = report.store.nights
        assert night.hypnogram().names == list(STAGES)
        assert night.derivations == {EEG: ("C4-M1", "C3-M2"), EOG: ("E1-M2",)}
        for place, (kind, name) in enumerate([(EEG, "C4-M1"), (EOG, "E1-M2"), (EEG, "C3-M2")]):
            expected = np.repeat(place + np.arange(6.0)[:, None], 1920, axis=1)
            np.testing.assert_allclose(night.read(kind, name), expected, atol=0.06)

    def test_a_prepared_night_is_what_the_network_would_get_from_the_file(self, tmp_path: Path) -> None:
        spec = InputSpec((EEG,), 100.0, outliers="clip", scaling="robust", resampling="polyphase")
        hypnogram = simulate_hypnogram(seed=1, duration_h=0.25)
        recording = simulate_recording(hypnogram, seed=1, sample_rate=128.0, derivations=("C4-M1",))
        edf.write(recording, tmp_path / "n1.edf")
        scoring = write_scoring(tmp_path / "n1-H.edf", hypnogram.names, start=recording.start)
        night = Night(dataset="folder", id="1", subject="1", psg=tmp_path / "n1.edf", scorings=(Scoring("", scoring),))
        (prepared,) = prepare([night], tmp_path / "store", spec, dtype="float32").store.nights
        again = read_recording(night.psg)
        derived = read_derivation(again, choose_derivations(again).eeg[0])
        expected = spec.prepare(derived.amplitude_uv, derived.sample_rate)
        np.testing.assert_array_equal(prepared.read(EEG, "C4-M1"), expected.astype(np.float32))
        assert prepared.entry["simulated"] is True

    @pytest.mark.parametrize("shift_epochs", [-2, 1, 3])
    def test_scoring_and_recording_are_aligned_by_their_start_times(self, tmp_path: Path, shift_epochs: int) -> None:
        night = make_night(tmp_path / "in")
        write_scoring(night.scorings[0].path, start=START + timedelta(seconds=30 * shift_epochs))
        (prepared,) = prepare([night], tmp_path / "store", SPEC).store.nights
        expected = [STAGES[i - shift_epochs] if 0 <= i - shift_epochs < 6 else "UNSCORED" for i in range(6)]
        assert prepared.hypnogram().names == expected

    @pytest.mark.parametrize("lead_s", [14.0, -20.0, 44.0])
    def test_epochs_begin_where_those_that_were_scored_do(self, tmp_path: Path, lead_s: float) -> None:
        """Signals are ramps, so that a sample tells its time."""
        ramp = np.arange(0, 180 * 64, dtype=np.float32)
        signal = Signal("C4-M1", 64.0, "uV", len(ramp), lambda first, past_last: ramp[first:past_last] / 64)
        edf.write(Recording((signal,), 180.0, start=START), tmp_path / "n1.edf")
        begins = START + timedelta(seconds=lead_s)
        scoring = write_scoring(tmp_path / "n1-H.edf", ["W", "N1", "N2"], start=begins)
        night = Night(dataset="folder", id="1", subject="1", psg=tmp_path / "n1.edf", scorings=(Scoring("", scoring),))
        (prepared,) = prepare([night], tmp_path / "store", InputSpec((EEG,), 64.0), dtype="float32").store.nights
        phase = lead_s % 30
        n1 = prepared.hypnogram().names.index("N1")
        assert prepared.read(EEG, "C4-M1")[n1, 0] == pytest.approx(lead_s + 30, abs=0.05)
        assert prepared.clock == (START + timedelta(seconds=phase)).time()
        assert prepared.entry["begins_s"] == phase
        assert f"epochs begin {phase:g} s into the recording" in prepared.warnings[0]
        ((reference,), _) = read_references([night], 30.0)
        assert reference.hypnogram("first").names == prepared.hypnogram().names

    def test_a_list_of_stages_may_be_of_20_s(self, tmp_path: Path) -> None:
        write_psg(tmp_path / "in" / "n1.edf", LABELS, sample_rate=64.0)
        (tmp_path / "in" / "n1-scoring.txt").write_text("\n".join(["W", "N1", "N2"] * 3))
        found = list(nights("folder", tmp_path / "in", scoring_epoch="20"))
        (prepared,) = prepare(found, tmp_path / "store", replace(SPEC, epoch_s=20.0)).store.nights
        assert prepared.hypnogram().names == ["W", "N1", "N2"] * 3
        with pytest.raises(HypnographError, match="an epoch of 'x' s"):
            list(nights("folder", tmp_path / "in", scoring_epoch="x"))

    def test_a_flat_derivation_is_left_out_and_a_night_of_them_fails(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        moving, flat = rng.normal(0, 20, 64 * 180).astype(np.float32), np.zeros(64 * 180, np.float32)

        def write(name: str, eeg: tuple[np.ndarray, ...]) -> Night:
            named = zip(("C4-M1", "C3-M2", "E1-M2"), (*eeg, moving), strict=True)
            signals = tuple(
                Signal(label, 64.0, "uV", len(x), lambda first, past_last, x=x: x[first:past_last])
                for label, x in named
            )
            edf.write(Recording(signals, 180.0, start=START), tmp_path / f"{name}.edf")
            scoring = write_scoring(tmp_path / f"{name}-H.edf")
            found = (Scoring("", scoring),)
            return Night(dataset="folder", id=name, subject=name, psg=tmp_path / f"{name}.edf", scorings=found)

        report = prepare([write("half", (flat, moving)), write("all", (flat, flat))], tmp_path / "store", SPEC)
        (night,) = report.store.nights
        assert night.derivations == {EEG: ("C3-M2",), EOG: ("E1-M2",)}
        assert "EEG C4-M1 is flat and left out" in night.warnings
        assert "all of its EEG is flat (C4-M1, C3-M2)" in report.failed[0].message

    def test_a_scoring_that_is_much_longer_than_its_recording_is_told(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in")
        write_scoring(night.scorings[0].path, ["N2"] * 20)
        (prepared,) = prepare([night], tmp_path / "store", SPEC).store.nights
        assert "7.0 min of the scoring lie outside the recording; do the two belong together?" in prepared.warnings

    def test_what_was_chosen_is_kept_with_the_night(self, tmp_path: Path) -> None:
        crop = Crop(0.5)
        (night,) = prepare([make_night(tmp_path / "in")], tmp_path / "store", SPEC, crop=crop).store.nights
        assert night.entry["choices"] == {
            "crop": {"minutes": 0.5, "order": crop.order}, "max_derivations": None, "derivations": {},
            "centred": False,
        }  # fmt: skip

    def test_stages_of_20_s_go_to_the_epochs_of_30_s_that_they_cover_most(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in")
        write_scoring(night.scorings[0].path, ["W", "N1", "N1", "N2", "N2", "REM"], epoch_s=20.0)
        (prepared,) = prepare([night], tmp_path / "store", SPEC).store.nights
        assert prepared.hypnogram().names == ["W", "N1", "N2", "REM", "UNSCORED", "UNSCORED"]
        twenty = replace(SPEC, epoch_s=20.0)
        (prepared,) = prepare([night], tmp_path / "store20", twenty).store.nights
        assert prepared.hypnogram().names == ["W", "N1", "N1", "N2", "N2", "REM", "UNSCORED", "UNSCORED", "UNSCORED"]

    @pytest.mark.parametrize("starts_known", [True, False])
    @pytest.mark.parametrize("scaling", ["none", "epoch-range"])
    def test_centred_each_epoch_of_20_s_has_30_s_around_it(
        self, tmp_path: Path, scaling: Any, starts_known: bool
    ) -> None:
        names = ["W", "N1", "N2", "N3", "REM", "W", "N1", "N2", "N3"]
        night = ramp_night(tmp_path, names, 180.0, lead_s=0.0 if starts_known else None)
        spec = InputSpec((EEG,), 64.0, scaling=scaling)
        (prepared,) = prepare([night], tmp_path / "store", spec, dtype="float32", centred=True).store.nights
        # The paper's rule: 5 s of either neighbour; the first and the last epoch have none and are dropped.
        assert prepared.hypnogram().names == names[1:-1]
        assert (prepared.epoch_s, prepared.hypnogram().epoch_s, prepared.entry["begins_s"]) == (20.0, 20.0, 20.0)
        assert prepared.clock == (START + timedelta(seconds=20)).time()
        windows = prepared.read(EEG, "C4-M1")
        assert windows.shape == (7, 30 * 64)
        begins = 20.0 * np.arange(1, 8) - 5 if scaling == "none" else np.zeros(7)
        ends = begins + 30 - 1 / 64 if scaling == "none" else np.ones(7)
        np.testing.assert_allclose(windows[:, 0], begins, atol=0.05)
        np.testing.assert_allclose(windows[:, -1], ends, atol=0.05)
        assert not prepared.warnings

    def test_centred_a_crop_and_a_late_scoring_keep_the_samples_beside_their_stages(self, tmp_path: Path) -> None:
        night = ramp_night(tmp_path, ["W"] * 6 + ["N2"] + ["W"] * 6, 400.0, lead_s=47.0)
        how = {"dtype": "float32", "crop": Crop(1.0), "centred": True}
        (prepared,) = prepare([night], tmp_path / "store", InputSpec((EEG,), 64.0), **how).store.nights
        assert prepared.hypnogram().names == ["W"] * 3 + ["N2"] + ["W"] * 3
        begins_s = 47 + 20 * (6 - 3)
        assert prepared.entry["begins_s"] == begins_s
        windows = prepared.read(EEG, "C4-M1")
        np.testing.assert_allclose(windows[:, 0], begins_s - 5 + 20 * np.arange(7), atol=0.05)
        assert "epochs begin 7 s into the recording" in prepared.warnings[0]

    def test_epochs_as_long_as_the_networks_are_not_centred(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in")
        plain, centred = (
            prepare([night], tmp_path / str(how), SPEC, centred=how).store.nights[0] for how in (False, True)
        )
        assert centred.epoch_s == 30.0
        assert centred.sha256 == plain.sha256

    def test_all_scorers_are_kept_or_those_asked_for(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in", scorers=("A", "B"))
        write_scoring(night.scorings[1].path, ["N2"] * 6)
        (both,) = prepare([night], tmp_path / "both", SPEC).store.nights
        assert both.scorers == ("A", "B")
        assert both.hypnogram("B").names == ["N2"] * 6
        (one,) = prepare([night], tmp_path / "one", SPEC, scorers=("B",)).store.nights
        assert one.scorers == ("B",)
        nobody = prepare([night], tmp_path / "none", SPEC, scorers=("C",))
        assert "there are: A, B" in nobody.failed[0].message

    def test_a_consensus_is_kept_where_it_is_alone_or_asked_for(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in", scorers=("A", "B", "consensus"))
        alone = make_night(tmp_path / "in", "m1", scorers=("consensus",))
        kept = {}
        for scorers in ("all", ("consensus",)):
            store = prepare([night, alone], tmp_path / str(len(scorers)), SPEC, scorers=scorers).store
            kept[scorers] = [n.scorers for n in store.nights]
        assert kept == {"all": [("consensus",), ("A", "B")], ("consensus",): [("consensus",)] * 2}
        ((other, one), _) = read_references([night, alone], 30.0)
        assert (len(other.scorings), len(one.scorings)) == (1, 2)

    def test_a_crop_keeps_the_samples_beside_their_stages(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in", scorers=("A", "B"))
        write_scoring(night.scorings[0].path, ["W", "W", "W", "N2", "W", "W"])
        write_scoring(night.scorings[1].path, ["W", "W", "W", "N2", "N2", "W"])
        (prepared,) = prepare([night], tmp_path / "store", SPEC, crop=Crop(0.5)).store.nights
        # Scorer A would end it before the last epoch: all that is near any scorer's sleep stays.
        assert prepared.hypnogram("A").names == ["W", "N2", "W", "W"]
        np.testing.assert_allclose(prepared.read(EEG, "C4-M1")[:, 0], [2, 3, 4, 5], atol=0.06)
        assert prepared.clock == (START + timedelta(seconds=60)).time()

    def test_so_many_derivations_of_a_kind_as_asked_for(self, tmp_path: Path) -> None:
        (night,) = prepare([make_night(tmp_path / "in")], tmp_path / "store", SPEC, max_derivations=1).store.nights
        assert night.derivations == {EEG: ("C4-M1",), EOG: ("E1-M2",)}
        with pytest.raises(HypnographError, match="max_derivations"):
            prepare([], tmp_path / "store", SPEC, max_derivations=0)

    def test_derivations_that_are_named_are_taken_and_no_others(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in")
        (named,) = prepare([night], tmp_path / "a", SPEC, derivations={EEG: ("O2-M1", "C3-M2")}).store.nights
        assert named.derivations == {EEG: ("C3-M2",), EOG: ("E1-M2",)}
        report = prepare([night], tmp_path / "b", SPEC, derivations={EEG: ("O2-M1", "Fz")})
        assert "no EEG derivation O2-M1 or Fz" in report.failed[0].message
        assert "C4-M1, E1-M2, C3-M2" in report.failed[0].message

    def test_nothing_that_tells_who_it_was_is_written(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in")
        content = bytearray(night.psg.read_bytes())
        content[8:88] = b"X F 01-JAN-1950 Jane_Doe".ljust(80)
        night.psg.write_bytes(content)
        report = prepare([night], tmp_path / "store", SPEC)
        texts = [path.read_text() for path in (tmp_path / "store").rglob("*.json")]
        assert len(texts) > 5
        for secret in ("Jane", "1950", str(START.year), str(tmp_path)):
            assert not any(secret in text.replace(json.dumps(report.store.sha256), "") for text in texts), secret
        assert report.store.nights[0].clock == START.time()

    @pytest.mark.parametrize(
        ("labels", "stages", "message"),
        [
            (("C4-M1",), STAGES, "EOG"),
            (LABELS, ["UNSCORED"] * 6, "no epoch of the recording is scored"),
        ],
    )
    def test_what_is_missing_is_said(self, tmp_path: Path, labels: tuple[str, ...], stages: Any, message: str) -> None:
        night = make_night(tmp_path / "in", labels=labels)
        write_scoring(night.scorings[0].path, stages)
        report = prepare([night], tmp_path / "store", SPEC)
        assert message in report.failed[0].message
        assert report.store.nights == ()

    def test_a_scoring_of_another_day_is_refused(self, tmp_path: Path) -> None:
        night = make_night(tmp_path / "in")
        write_scoring(night.scorings[0].path, start=datetime(2020, 3, 1, 3))
        assert "does not overlap" in prepare([night], tmp_path / "store", SPEC).failed[0].message


class TestChoosing:
    def test_the_derivations_of_the_dataset_come_in_its_order(self, tmp_path: Path) -> None:
        recording = read_recording(write_psg(tmp_path / "a.edf", ("C4", "C3", "M1", "M2", "F3", "E1"), sample_rate=64))
        chosen, notes = choose(recording, (EEG,), {EEG: ("C3-M2", "O1-M2", "C4-M1")})
        assert [derivation.name for derivation in chosen] == ["C3-M2", "C4-M1"]
        assert notes == ()

    def test_where_it_names_none_all_usable_ones_are_taken(self, tmp_path: Path) -> None:
        recording = read_recording(write_psg(tmp_path / "a.edf", ("C4-M1", "F3-M2"), sample_rate=64))
        chosen, notes = choose(recording, (EEG,), {EMG: ("Chin EMG",)})
        assert [derivation.name for derivation in chosen] == ["C4-M1", "F3-M2"]
        assert notes == ()

    def test_where_it_has_none_of_those_it_names_a_note_says_so(self, tmp_path: Path) -> None:
        recording = read_recording(write_psg(tmp_path / "a.edf", ("C4-M1", "F3-M2"), sample_rate=64))
        chosen, (note,) = choose(recording, (EEG,), {EEG: ("O1-M2",)}, 1)
        assert [derivation.name for derivation in chosen] == ["C4-M1"]
        assert "O1-M2" in note


class TestManyNights:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_night_that_fails_costs_no_other(self, tmp_path: Path, jobs: int) -> None:
        nights = [
            make_night(tmp_path, "s1"),
            broken_night(tmp_path, "s2"),
            make_night(tmp_path, "s3", labels=("C4-M1",)),
        ]
        nights.append(make_night(tmp_path, "s4"))
        report = prepare(nights, tmp_path / "store", SPEC, jobs=jobs)
        assert statuses(report) == {"s1": "prepared", "s2": "failed", "s3": "failed", "s4": "prepared"}
        assert not any("unexpected" in outcome.message for outcome in report.failed)
        assert [night.id for night in open_store(tmp_path / "store").nights] == ["s1", "s4"]

    def test_processes_and_order_change_nothing(self, tmp_path: Path) -> None:
        nights = [make_night(tmp_path, f"s{i}") for i in range(3)]
        one = prepare(nights, tmp_path / "one", SPEC)
        two = prepare(reversed(nights), tmp_path / "two", SPEC, jobs=2)
        assert one.store.sha256 == two.store.sha256

    def test_a_dask_cluster_by_address_does_the_work(self, tmp_path: Path) -> None:
        distributed = pytest.importorskip("distributed")
        nights = [make_night(tmp_path, f"s{i}") for i in range(2)]
        with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
            report = prepare(nights, tmp_path / "store", SPEC, cluster=cluster.scheduler_address)
        assert statuses(report) == {"s0": "prepared", "s1": "prepared"}

    def test_nights_are_taken_one_by_one(self, tmp_path: Path) -> None:
        events: list[str] = []

        def nights() -> Iterable[Night]:
            for i in range(3):
                events.append("taken")
                yield make_night(tmp_path, f"s{i}")

        prepare(nights(), tmp_path / "store", SPEC, progress=lambda outcome: events.append(outcome.status))
        assert events == ["taken", "prepared"] * 3

    def test_of_two_nights_of_one_name_the_second_is_reported(self, tmp_path: Path) -> None:
        twins = [make_night(tmp_path, "s1"), make_night(tmp_path / "b", "s1")]
        report = prepare(twins, tmp_path / "store", SPEC, overwrite=True)
        assert sorted(outcome.status for outcome in report.outcomes) == ["failed", "prepared"]

    def test_datasets_share_a_store_but_not_their_subjects(self, tmp_path: Path) -> None:
        one = make_night(tmp_path, "s1")
        other = replace(make_night(tmp_path / "b", "s1"), dataset="sleep-edf-sc")
        store = prepare([one, other], tmp_path / "store", SPEC).store
        assert store.subjects == ("folder/s1", "sleep-edf-sc/s1")

    def test_a_defect_of_ours_is_an_outcome_too(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(preparation, "choose", lambda *_, **__: 1 / 0)
        report = prepare([make_night(tmp_path)], tmp_path / "store", SPEC)
        assert report.failed[0].message == "unexpected ZeroDivisionError: division by zero"


class TestGoingOn:
    def test_what_is_there_is_skipped(self, tmp_path: Path) -> None:
        nights = [make_night(tmp_path, "s1"), make_night(tmp_path, "s2")]
        prepare(nights[:1], tmp_path / "store", SPEC)
        file = tmp_path / "store/nights/folder/s1/signals/EEG/C4-M1/c/0/0"
        before = file.stat().st_mtime_ns
        report = prepare(nights, tmp_path / "store", SPEC)
        assert statuses(report) == {"s1": "skipped", "s2": "prepared"}
        assert file.stat().st_mtime_ns == before
        assert len(report.store.nights) == 2

    @pytest.mark.parametrize("change", ["file", "crop"])
    def test_what_was_made_otherwise_is_replaced_only_if_asked_for(self, tmp_path: Path, change: str) -> None:
        night, options = make_night(tmp_path), {}
        old = prepare([night], tmp_path / "store", SPEC).store.sha256
        if change == "file":
            write_psg(night.psg, [*LABELS, "F3-M2"], sample_rate=64.0)
            os.utime(night.psg, (1, 1))
        else:
            options["crop"] = Crop(0.0)
        refused = prepare([night], tmp_path / "store", SPEC, **options)
        assert "--overwrite" in refused.failed[0].message
        assert refused.store.sha256 == old
        replaced = prepare([night], tmp_path / "store", SPEC, overwrite=True, **options)
        assert statuses(replaced) == {"n1": "prepared"}
        assert open_store(tmp_path / "store").sha256 == replaced.store.sha256 != old

    @pytest.mark.parametrize("name", ["store", "store [1]", "st*re"])
    def test_nights_that_are_not_prepared_again_stay_in_the_catalogue(self, tmp_path: Path, name: str) -> None:
        nights = [make_night(tmp_path, "s1"), make_night(tmp_path, "s2")]
        prepare(nights, tmp_path / name, SPEC)
        prepare(nights[:1], tmp_path / name, SPEC, overwrite=True)
        assert [night.id for night in open_store(tmp_path / name).nights] == ["s1", "s2"]

    def test_a_night_whose_attributes_a_crash_has_emptied_is_prepared_again(self, tmp_path: Path) -> None:
        nights = [make_night(tmp_path, "s1"), make_night(tmp_path, "s2")]
        prepare(nights, tmp_path / "store", SPEC)
        (tmp_path / "store/nights/folder/s1/zarr.json").write_text("")
        (tmp_path / "store" / CATALOGUE).unlink()
        report = prepare(nights, tmp_path / "store", SPEC)
        assert statuses(report) == {"s1": "prepared", "s2": "skipped"}
        assert [night.id for night in report.store.nights] == ["s1", "s2"]

    def test_samples_that_lie_in_a_file_of_their_own_count_too(self, tmp_path: Path) -> None:
        night = make_night(tmp_path)
        samples = night.psg.with_suffix(".mat")
        samples.write_bytes(b"old")
        prepare([night], tmp_path / "store", SPEC)
        assert statuses(prepare([night], tmp_path / "store", SPEC)) == {"n1": "skipped"}
        samples.write_bytes(b"newer")
        assert statuses(prepare([night], tmp_path / "store", SPEC)) == {"n1": "failed"}

    def test_without_resume_what_is_there_is_reported(self, tmp_path: Path) -> None:
        night = make_night(tmp_path)
        prepare([night], tmp_path / "store", SPEC)
        report = prepare([night], tmp_path / "store", SPEC, resume=False)
        assert statuses(report) == {"n1": "failed"}
        assert len(report.store.nights) == 1

    def test_after_an_interruption_what_was_complete_counts(self, tmp_path: Path) -> None:
        def interrupt(_: object) -> None:
            raise KeyboardInterrupt

        nights = [make_night(tmp_path, "s1"), make_night(tmp_path, "s2")]
        with pytest.raises(KeyboardInterrupt):
            prepare(nights, tmp_path / "store", SPEC, progress=interrupt)
        assert [night.id for night in open_store(tmp_path / "store").nights] == ["s1"]
        assert statuses(prepare(nights, tmp_path / "store", SPEC)) == {"s1": "skipped", "s2": "prepared"}

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_full_disk_stops_everything_and_half_a_night_does_not_count(
        self, tmp_path: Path, monkeypatch, overwrite: bool
    ) -> None:
        nights = [make_night(tmp_path, f"s{i}") for i in range(3)]
        if overwrite:
            prepare(nights[:2], tmp_path / "store", SPEC)
        import hypnograph.training.store as store_module

        write_array = store_module._write_array

        def fail(place: Any, path: str, *rest: Any) -> None:
            if path.endswith("folder/s1/signals/EOG/E1-M2"):
                raise OSError("No space left on device")
            write_array(place, path, *rest)

        with monkeypatch.context() as full:
            full.setattr(store_module, "_write_array", fail)
            with pytest.raises(OSError, match="No space left"):
                prepare(nights, tmp_path / "store", SPEC, overwrite=overwrite)
        assert [night.id for night in open_store(tmp_path / "store").nights] == ["s0"]
        report = prepare(nights, tmp_path / "store", SPEC)
        assert statuses(report) == {"s0": "skipped", "s1": "prepared", "s2": "prepared"}

    def test_a_killed_preparation_has_no_catalogue_and_goes_on(self, tmp_path: Path) -> None:
        nights = [make_night(tmp_path, "s1"), make_night(tmp_path, "s2")]
        whole = prepare(nights, tmp_path / "store", SPEC).store.sha256
        (tmp_path / "store" / CATALOGUE).unlink()
        assert open_store(tmp_path / "store").sha256 == whole
        assert statuses(prepare(nights, tmp_path / "store", SPEC)) == {"s1": "skipped", "s2": "skipped"}
        assert (tmp_path / "store" / CATALOGUE).exists()

    def test_a_store_is_prepared_in_one_way(self, tmp_path: Path) -> None:
        prepare([make_night(tmp_path)], tmp_path / "store", SPEC, dtype="float32")
        with pytest.raises(HypnographError, match="prepare into another store"):
            prepare([], tmp_path / "store", replace(SPEC, scaling="robust"))
        assert prepare([], tmp_path / "store", SPEC).store.storage.dtype == "float32"
