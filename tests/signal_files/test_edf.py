"""EDF as the standard has it, and as devices write it (https://www.edfplus.info/specs/)."""

import tracemalloc
from datetime import datetime
from pathlib import Path

import edfio
import mne
import numpy as np
import pyedflib
import pytest

from hypnograph.errors import MissingChannelError, UnreadableFileError, UnusableSignalError
from hypnograph.recording import Annotation, Recording, Signal
from hypnograph.signal_files import read_recording
from hypnograph.signal_files.edf import write
from tests.signal_files.edf_file import Made, edf_bytes, noise, times


@pytest.fixture
def edf(tmp_path: Path):
    """Write an EDF file made by hand and read it."""

    def make(*signals: Made, name: str = "night.edf", cut: int = 0, **fields: object) -> Recording:
        path = tmp_path / name
        content = edf_bytes(signals, **fields)
        path.write_bytes(content[: len(content) - cut])
        return read_recording(path)

    return make


def in_memory(samples: np.ndarray, *, rate: float = 100.0, label: str = "C3-A2", unit: str = "uV") -> Signal:
    samples = samples.astype(np.float32)
    return Signal(label, rate, unit, len(samples), lambda first, past_last: samples[first:past_last])


# ── what other readers read ──


def all_edf_files(shared_data: Path) -> list[Path]:
    return [*sorted((shared_data / "fixtures").rglob("*.[eb]df")), shared_data / "eeg" / "ucddb018.edf"]


def test_samples_equal_those_of_pyedflib_in_every_file_that_it_reads(shared_data: Path) -> None:
    compared = 0
    for path in all_edf_files(shared_data):
        try:
            reference = pyedflib.EdfReader(str(path), annotations_mode=0)
        except OSError:  # it refuses what is not strictly EDF+
            continue
        recording = read_recording(path)
        with reference:
            labels = reference.getSignalLabels()  # in plain EDF it takes annotations for a signal
            kept = [i for i, label in enumerate(labels) if label != "EDF Annotations"]
            for i, signal in zip(kept, recording.signals, strict=True):
                expected = reference.readSignal(i)
                scale = np.abs(expected).max(initial=1e-12)
                np.testing.assert_allclose(signal.samples(), expected, rtol=0, atol=1e-6 * scale, err_msg=path.name)
                assert signal.sample_rate == pytest.approx(reference.getSampleFrequency(i))
                compared += len(expected)
    assert compared > 8_000_000


def test_samples_equal_those_of_mne_in_every_file_that_it_reads(shared_data: Path) -> None:
    to_volts = {"uv": 1e-6, "mv": 1e-3, "v": 1.0}
    compared = 0
    for path in all_edf_files(shared_data):
        recording = read_recording(path)
        reader = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_edf
        try:
            raw = reader(path, preload=False, verbose="ERROR", stim_channel=None)
        except (ValueError, RuntimeError, IndexError, RuntimeWarning, UserWarning):
            continue
        for signal, name in zip(recording.signals, raw.ch_names, strict=True):
            # MNE brings all signals to the highest rate, and knows only voltages.
            if signal.sample_rate != raw.info["sfreq"] or signal.unit.lower() not in to_volts:
                continue
            expected = raw.get_data(picks=[raw.ch_names.index(name)])[0]
            ours = signal.samples().astype(float) * to_volts[signal.unit.lower()]
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6 * np.abs(expected).max(initial=1e-15))
            compared += len(ours)
    assert compared > 3_000_000


def test_annotations_equal_those_of_mne_and_the_start_that_of_edfio(shared_data: Path) -> None:
    for path in sorted((shared_data / "fixtures" / "sleep-edf").glob("*.edf"))[:5]:
        ours = read_recording(path)
        theirs = mne.read_annotations(path)
        assert [a.text for a in ours.annotations] == list(theirs.description)
        np.testing.assert_allclose([a.onset_s for a in ours.annotations], theirs.onset)
        np.testing.assert_allclose([a.duration_s for a in ours.annotations], theirs.duration)
        assert ours.start == edfio.read_edf(path).startdatetime
        assert not ours.signals


def test_a_polysomnogram_of_mixed_rates_and_accented_labels_is_read_as_it_is(shared_data: Path) -> None:
    recording = read_recording(shared_data / "fixtures" / "rsleep" / "subject1.edf")
    assert len(recording.signals) == 89
    assert "1 Impédance" in recording.labels
    assert {1.0, 3.0, 5.0, 20.0, 25.0, 75.0, 100.0, 200.0} == {signal.sample_rate for signal in recording.signals}
    assert all(signal.duration_s == 120.0 for signal in recording.signals)


def test_a_start_with_a_fraction_of_a_second_is_kept(shared_data: Path) -> None:
    recording = read_recording(shared_data / "fixtures" / "edfio" / "test_subsecond.edf")
    assert recording.start == edfio.read_edf(shared_data / "fixtures" / "edfio" / "test_subsecond.edf").startdatetime
    assert recording.start == datetime(2020, 1, 24, 4, 5, 56, 394531)


# ── scaling and units ──


def test_digital_samples_become_physical_ones(edf) -> None:
    made = Made(b"EEG", np.array([[-2048, 0, 2047]]), b"mV", ("-1", "3"), ("-2048", "2047"))
    signal = edf(made).signals[0]
    expected = np.array([-1, -1 + 2048 * 4 / 4095, 3])  # (digital − min) · range ratio + physical min
    np.testing.assert_allclose(signal.samples(), expected, rtol=1e-7)
    assert (signal.unit, signal.physical_range, signal.samples().dtype) == ("mV", (-1.0, 3.0), np.float32)


def test_an_inverted_physical_range_inverts_the_signal(edf) -> None:
    made = Made(b"EEG", np.array([[100, -100]]), physical=("3276.7", "-3276.8"))
    np.testing.assert_allclose(edf(made).signals[0].samples(), [-10.1, 9.9], rtol=1e-5)


@pytest.mark.parametrize(
    ("physical", "ranges"),
    [
        (("0", "0"), ("-2048", "2047")),
        (("-1", "1"), ("5", "5")),
        (("nan", "1"), ("-2048", "2047")),
        (("-1e99", "1e99"), ("-2048", "2047")),
        (("-1", "1"), ("", "2047")),
    ],
)
def test_ranges_without_a_scale_leave_integers_and_a_warning(edf, physical, ranges) -> None:
    made = noise(physical=physical, ranges=ranges)
    recording = edf(made)
    np.testing.assert_array_equal(recording.signals[0].samples(), made.digital.ravel())
    assert recording.signals[0].unit == ""
    assert recording.signals[0].physical_range is None
    assert "gives no scale" in recording.warnings[0]


def test_24_bit_samples_of_bdf_keep_their_sign(edf) -> None:
    digital = np.array([[-8388608, -1, 0, 1, 8388607]])
    made = Made(b"EEG", digital, physical=("-8388608", "8388607"), ranges=("-8388608", "8388607"))
    recording = edf(made, bdf=True, name="night.bdf")
    np.testing.assert_array_equal(recording.signals[0].samples(), digital[0])
    assert recording.source == "BDF"


# ── reading a stretch ──


@pytest.mark.parametrize(("start_s", "stop_s"), [(0, 10), (2.5, 2.6), (0.99, 7.31), (9.9, 99), (-5, 0.02), (4, 4)])
def test_a_stretch_is_the_same_as_a_cut_of_the_whole(edf, monkeypatch, start_s, stop_s) -> None:
    monkeypatch.setattr("hypnograph.signal_files.edf.samples.BLOCK_BYTES", 700)  # three records a block
    made = noise()
    signal = edf(noise(b"other", n_samples=7, seed=2), made).signals[1]
    whole = made.digital.ravel() / 10
    expected = whole[max(0, round(start_s * 100)) : round(stop_s * 100)]
    np.testing.assert_allclose(signal.samples(start_s, stop_s), expected, atol=1e-4)


def test_one_signal_of_many_is_read_without_the_memory_of_the_others(tmp_path: Path) -> None:
    made = [noise(f"EEG {i}".encode(), n_records=600, n_samples=512, seed=i) for i in range(20)]
    (tmp_path / "large.edf").write_bytes(edf_bytes(made))
    recording = read_recording(tmp_path / "large.edf")
    tracemalloc.start()
    samples = recording.signals[3].samples()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * samples.nbytes  # all signals would be 20 times as much


def test_reading_the_header_touches_no_samples(edf, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("samples were read")

    monkeypatch.setattr("hypnograph.signal_files.edf.samples.map_records", refuse)
    recording = edf(noise())
    with pytest.raises(AssertionError, match="samples were read"):
        recording.signals[0].samples()


# ── headers in the wild ──


def test_labels_and_units_in_latin_1_are_read(edf) -> None:
    recording = edf(noise("Dérivé".encode("latin-1"), unit="µV".encode("latin-1")), noise(b"T", unit="°C".encode()))
    assert recording.labels == ("Dérivé", "T")
    assert [signal.unit for signal in recording.signals] == ["µV", "°C"]


def test_labels_may_repeat_and_are_then_refused_by_name(edf) -> None:
    recording = edf(noise(seed=1), noise(seed=2))
    assert recording.labels == ("EEG C3-A2", "EEG C3-A2")
    assert not np.array_equal(recording.signals[0].samples(), recording.signals[1].samples())
    with pytest.raises(MissingChannelError, match="2 signals are called"):
        recording.signal("EEG C3-A2")


def test_no_patient_field_is_kept(edf) -> None:
    assert "SECRET" not in repr(edf(noise())) + str(vars(edf(noise())))


@pytest.mark.parametrize("n_records", ["-1", "0", "5", "9999", "nonsense", ""])
def test_what_the_file_holds_counts_not_the_number_of_records_that_it_promises(edf, n_records) -> None:
    recording = edf(noise(), n_records=n_records)
    assert recording.duration_s == 10.0
    assert "the file holds 10 whole ones" in recording.warnings[0]


def test_a_file_cut_in_its_last_record_is_read_up_to_there(edf) -> None:
    made = noise()
    recording = edf(made, cut=3)
    np.testing.assert_allclose(recording.signals[0].samples(), made.digital[:9].ravel() / 10, atol=1e-4)
    assert "the file holds 9 whole ones" in recording.warnings[0]


def test_a_record_length_that_is_not_a_second_gives_a_fractional_rate(edf) -> None:
    recording = edf(noise(n_samples=85), record_s="0.996")
    assert recording.signals[0].sample_rate == pytest.approx(85 / 0.996)
    assert recording.duration_s == pytest.approx(9.96)


def test_a_signal_without_samples_is_left_out(edf) -> None:
    recording = edf(noise(), noise(b"empty", n_samples=0))
    assert recording.labels == ("EEG C3-A2",)
    assert "'empty' has no samples" in recording.warnings[0]


@pytest.mark.parametrize(
    ("date", "year"), [("01.02.85", 1985), ("01.02.99", 1999), ("01.02.00", 2000), ("01/02/84", 2084)]
)
def test_two_digit_years_lie_between_1985_and_2084(edf, date, year) -> None:
    assert edf(noise(), date=date).start == datetime(year, 2, 1, 22, 30)


@pytest.mark.parametrize("fields", [{"date": "31.02.20"}, {"date": "XX.XX.XX"}, {"time": "24.00.61"}, {"time": ""}])
def test_an_invalid_start_is_unknown_with_a_warning(edf, fields) -> None:
    recording = edf(noise(), **fields)
    assert recording.start is None
    assert "start of the recording is unknown" in recording.warnings[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_signals": "9999"}, r"promises 9999 signals, which takes 2560000 bytes; the file has"),
        ({"n_signals": "-3"}, r"number of signals is '-3'; it must be a whole number from 1 up"),
        ({"n_signals": "??"}, r"number of signals is '\?\?'"),
        ({"record_s": "0"}, r"a record lasts '0' s"),
        ({"record_s": "nan"}, r"a record lasts 'nan' s"),
        ({"record_s": "-1"}, r"a record lasts '-1' s"),
        ({"record_s": "1e-300"}, r"at most 1000000 Hz"),
        ({"record_s": "99999999"}, r"at most 366 days"),
        ({"cut": 2000}, r"holds no whole data record: 0 bytes follow the header, one record takes 200"),
        ({"cut": 2100}, r"the header promises 1 signals"),
        ({"cut": 2500}, r"12 bytes are too few"),
    ],
)
def test_a_header_that_cannot_be_believed_is_refused_in_a_sentence(edf, fields, message) -> None:
    with pytest.raises(UnreadableFileError, match=message):
        edf(noise(), **fields)


def test_a_text_file_named_edf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "night.edf").write_text("not an EDF\n" * 100)
    with pytest.raises(UnreadableFileError, match="not an EDF or BDF file"):
        read_recording(tmp_path / "night.edf")


def test_an_edf_of_any_name_is_recognised_by_its_first_bytes(edf) -> None:
    assert edf(noise(), name="night.rec").source == "EDF"
    assert edf(noise(), name="night").source == "EDF"


# ── annotations and gaps ──


def test_annotations_of_all_records_and_all_annotation_signals_are_read_in_order(edf) -> None:
    first = times(range(10), {0: "+0\x1530\x14Sleep stage W\x14\x00", 7: "+7.25\x14Arousal\x14Limb\x14\x00"})
    second = times([None] * 10, {3: "+3.5\x151.5\x14Fuß µ\x14\x00"})
    recording = edf(first, noise(), second, variant="EDF+C")
    assert recording.annotations == (
        Annotation(0.0, 30.0, "Sleep stage W"),
        Annotation(3.5, 1.5, "Fuß µ"),
        Annotation(7.25, 0.0, "Arousal"),
        Annotation(7.25, 0.0, "Limb"),
    )
    assert recording.labels == ("EEG C3-A2",)


def test_a_damaged_annotation_takes_nothing_of_the_next_record_with_it(edf) -> None:
    signal = times(range(10), {2: "+2\x14" + "x" * 110, 3: "+3\x14fine\x14\x00"})
    assert edf(noise(), signal, variant="EDF+C").annotations == (Annotation(3.0, 0.0, "fine"),)


def test_records_of_a_discontinuous_file_lie_where_their_times_say_with_nan_between(edf) -> None:
    made = noise()
    onsets = [0.5, 1.5, 2.5, 10.5, 11.5, 12.5, 13.5, 20.25, 21.25, 22.25]
    recording = edf(made, times(onsets, {3: "+10.5\x14back\x14\x00"}), variant="EDF+D")
    assert recording.gaps == ((3.0, 10.0), (14.0, 19.75))
    assert recording.duration_s == 22.75
    assert recording.start == datetime(2026, 11, 21, 22, 30, 0, 500_000)
    assert recording.annotations == (Annotation(10.0, 0.0, "back"),)
    samples = recording.signals[0].samples()
    expected = np.full(2275, np.nan)
    for record, onset in enumerate(onsets):
        place = round((onset - 0.5) * 100)
        expected[place : place + 100] = made.digital[record] / 10
    np.testing.assert_allclose(samples, expected, atol=1e-4)
    np.testing.assert_array_equal(recording.signals[0].samples(2.5, 10.5), samples[250:1050])


def test_times_that_run_backwards_are_warned_of_and_records_stay_in_order(edf) -> None:
    recording = edf(noise(), times([0, 1, 2, 1, None, 5, 6, 7, 8, 9]), variant="EDF+D")
    assert recording.gaps == ()
    assert recording.duration_s == 10.0
    assert "2 of 10 records have no time stamp" in recording.warnings[0]


def test_gaps_of_days_are_refused(edf) -> None:
    with pytest.raises(UnreadableFileError, match=r"leave 277777\.8 h of gaps; the limit is 48 h"):
        edf(noise(), times([0, 1, 2, 3, 4, 5, 6, 7, 8, 1e9 + 8]), variant="EDF+D")


def test_an_absurd_first_time_stamp_is_not_believed(edf) -> None:
    recording = edf(noise(), times([1e11, *range(1, 10)]), variant="EDF+D")
    assert recording.start == datetime(2026, 11, 21, 22, 30)
    assert recording.duration_s == 10.0


# ── writing ──


def test_what_is_written_is_read_back_within_half_a_step_by_us_and_by_mne(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    signals = (in_memory(rng.normal(0, 40, 6000)), in_memory(rng.normal(0, 5, 60), rate=1.0, label="SpO2 é", unit="%"))
    start = datetime(2026, 11, 21, 23, 59, 59, 250_000)
    annotations = (Annotation(0.0, 30.0, "Sleep stage W"), Annotation(30.0, 30.0, "Schlaf ß"))
    write(Recording(signals, 60.0, start, annotations), tmp_path / "out.edf")
    recording = read_recording(tmp_path / "out.edf")
    assert (recording.start, recording.annotations, recording.source) == (start, annotations, "EDF+C")
    assert recording.labels == ("C3-A2", "SpO2 e")
    for before, after in zip(signals, recording.signals, strict=True):
        low, high = after.physical_range
        np.testing.assert_allclose(after.samples(), before.samples(), atol=0.51 * (high - low) / 65535)
    raw = mne.io.read_raw_edf(tmp_path / "out.edf", verbose="ERROR")
    np.testing.assert_allclose(raw.get_data(picks=[0])[0] * 1e6, recording.signals[0].samples(), atol=1e-4)
    assert b"X X X X" in (tmp_path / "out.edf").read_bytes()[8:88]  # EDF+ for an unknown patient


def test_volts_are_written_as_microvolts(tmp_path: Path) -> None:
    volts = np.random.default_rng(5).normal(0, 40e-6, 3000)
    write(Recording((in_memory(volts, unit="V"),), 30.0), tmp_path / "out.edf")
    signal = read_recording(tmp_path / "out.edf").signals[0]
    assert signal.unit == "uV"
    np.testing.assert_allclose(signal.samples(), volts * 1e6, atol=0.01)


def test_a_flat_signal_and_a_night_of_odd_length_are_written(tmp_path: Path) -> None:
    write(Recording((in_memory(np.full(12_345, 7.0), rate=100.0),), 123.45), tmp_path / "out.edf")
    signal = read_recording(tmp_path / "out.edf").signals[0]
    assert (signal.n_samples, signal.sample_rate) == (12_345, 100.0)
    np.testing.assert_allclose(signal.samples(), 7.0, atol=1e-4)


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ((), "nothing to write"),
        ((in_memory(np.array([1.0, np.nan])),), "has gaps or infinite samples"),
        ((in_memory(np.ones(200)), in_memory(np.ones(300))), "cannot be written as EDF"),
    ],
)
def test_what_edf_cannot_hold_is_refused_and_leaves_no_file(tmp_path: Path, signals, message) -> None:
    with pytest.raises(UnusableSignalError, match=message):
        write(Recording(signals, 2.0), tmp_path / "out.edf")
    assert list(tmp_path.iterdir()) == []
