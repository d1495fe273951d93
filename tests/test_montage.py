"""Channel labels, candidates, choice of derivations and their amplitudes.

Labels are those of public datasets' documentation, of common recorders, and of the fixtures in ../shared.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypnograph.channel_labels import parse_label
from hypnograph.errors import MissingChannelError, UnusableSignalError
from hypnograph.montage import (
    ChannelKind,
    Derivation,
    Montage,
    candidates,
    channel_kind,
    choose_derivations,
    describe_channels,
    read_derivation,
    typical_spread,
)
from hypnograph.recording import Recording, Signal

LABELS = {
    ChannelKind.EEG: """
        EEG C3-A2|C3A2|C3M2|C4:A1|C3/A2|C3 - A2|EEG C3 A2|C3_M2|c3-m2|EEG(sec)|EEG (SEC)|EEG2|EEG3|EEG|EEG L|
        EEG 001|O2|O1|EEG Fpz-Cz|EEG Pz-Oz|Fpz-Cz|Fp1-F7|FP1_F3|F4_O2|F3_F4|T3/T7|T3|T4|T5|T6|EEG T4-REF|EEG C3-CLE|
        EEG F4-LER|EEG F1-Ref|EEG C3-LE|POL C3|PSG_F3|PSG_O2|HB_1|HB_2|EEGC3A2|EEG C4-M1|C4-M1M2|C3-A1A2|Cz-Oz|
        Fz-Cz|Fp2-F4|C4-P4|P4-O2|CZ-A1|FP2-A1|AF7|TP9|TP10|FC5|CP6|POz|FCz|CPz|Iz|Oz|FT8|F9|O1-M2|F7-T3|EEG Fp1|fp1|
        EEG Abc|EEG ch1|EEG links|C3-AVG|A2-C3|P7|eeg c4
    """,
    ChannelKind.MASTOID: """
        M1|M2|A1|A2|EEG M1|EEG A2|EEG A1-Ref|M1M2|A1-A2|POL A1|Mastoid L|Mastoid links|mastoïde droite|EEG A2-CLE
    """,
    ChannelKind.EOG: """
        Left EOG|HEOG|VEOG|E1-M2|E2-M1|E1|E2|E-1|E 2|LOC|ROC|ROC-A1|LOC-A2|EEG LOC|PG1|PG2|EOG horizontal|EOG(L)|
        EOG(R)|EOG-L|EOGl|EOGr|EOGl:A2|EOG L|EOG gauche|EOG droit|EOG droite|Oeil gauche|Œil droit|EOG links|
        EOG rechts|Auge li|Auge re|EOG1|EOG2|EOG1-A1|EOG Left Horiz|EOG Right Horiz|ROC-LOC|EOG sin|EOG dx|PSG_EOGL|
        PSG_EOGR|PSG_EOG|REOG|LEOG|IEOG|EOG VEOG_I|Lefteye|RightEye|Left eye|EEG E1-M2|E1-FPz|EEG ROC|EEG EOG|
        EOG E2-M2|EOG LOC-A2|LOCA2|E1M2
    """,
    ChannelKind.EMG: """
        Chin EMG|EMG submental|EMG-T|Chin1-Chin2|EMG1|EMG2|EMG|EMG chin|EMG Chin1|ChinEMG|EMGchin|Chin|CHIN1|Chin 2|
        L Chin|R Chin|Left Leg|Right Leg|LLEG|RLEG1|Leg|Leg/L|Leg 1|PLM l|PLMr|Tib|TIB Dx|LAT|RAT|L Tib|EMG1-EMG2|
        Menton|Menton1|EMG menton|Jambe gauche|Jambe droite|Kinn|EMG Kinn|Bein li|Bein|Beine|EEG EMG1|EEG Chin1|
        EMG+|Deltoid|EMG diaphragm|PSG_EMG|1-2|1-F|2-F
    """,
    ChannelKind.ECG: "ECG|EKG|ECG II|ECG I|ECG1-ECG2|EKG1|EEG EKG|ECG ECG1|MLII|PSG_ECG|EKG-R|ecg chest|EKG II",
    ChannelKind.OTHER: """
        O2 Sat|O2Sat|SpO2|SaO2|SAO2|PO2|etCO2|SpO2 B-B|Saturation|Sättigung|Impedance C3|C3 Impedance|1 Impedance|
        C3 (Imp)|ECG Impédance|1|2|F|K|1-2 (Imp)|Airflow|Flow|Thorax|Thor|Abdomen|Abdomen CaL|Chest|Position|Snore|
        Schnarch.|Pleth|Puls|Pulse|Marker|Event|Event marker|Status|stAtUs|tRigGer|DC1|DC01|Resp oro-nasal|
        Temp rectal|Heart Rate|ECG HR|HR|EKG rate|RIP Flow|RIP Sum|Nasal Pressure|X Axis|Activity|HB_IMU_1|HB_PULSE|
        Ergo-Left|EXG1|REF_EEG REF_EEG|DIG DTRIG|ReRef|HL|Vb|sine 1 Hz|ramp|pulse|noise|squarewave|pink noise|
        3Hz +5/-5 V|0.2Hz Blk 1/0uV|Voltage (core)|Light|Sensor T1|Temp P1|Volume audio|PTT|PWA|RIP-Phase|PosAngle|
        NAF2P-A1|DX1-DX2|MIC|Lage|Licht|Ronflement|Débit|Druck Flow|B7|A12|G3|H32|E7|EDF Annotations|EMG Snore|VTH|
        VAB|PHONO|CPAP|Beat|STAT|ribcage|abdo|BodyPos|Body|Soundr||--|Gravity X|Accu|Elevation
    """,
}
TABLE = [(name.strip(), kind) for kind, names in LABELS.items() for name in names.strip().split("|")]


def signal(label: str, rate: float = 256, unit: str = "uV", n: int = 0, values: object = None) -> Signal:
    samples = np.zeros(n or int(rate * 60), np.float32) if values is None else np.asarray(values, np.float32)
    return Signal(label, rate, unit, samples.size, lambda first, last: samples[first:last])


def recording(*signals: Signal | str) -> Recording:
    made = tuple(signal(s) if isinstance(s, str) else s for s in signals)
    return Recording(made, max((s.duration_s for s in made), default=0.0))


def names(derivations: tuple[Derivation, ...]) -> list[str]:
    return [derivation.name for derivation in derivations]


class TestLabels:
    def test_the_table_is_large(self) -> None:
        assert len(TABLE) >= 250

    @pytest.mark.parametrize(("label", "kind"), TABLE)
    def test_a_label_of_the_field_has_its_kind(self, label: str, kind: ChannelKind) -> None:
        assert channel_kind(label) == kind

    @pytest.mark.parametrize("label", ["C3", "E1", "1-2", "Chin", "M1", "ECG", "EEG"])
    @pytest.mark.parametrize("unit", ["Ohm", "kΩ", "%", "bpm", "µS", "DegC", "cmH2O"])
    def test_a_unit_that_is_no_voltage_makes_it_other(self, label: str, unit: str) -> None:
        assert channel_kind(label, unit) == ChannelKind.OTHER

    @pytest.mark.parametrize("unit", ["", "uV", "µV", "μV", "Âµv", "mV", "V", "a.u.", "BS"])
    def test_a_voltage_or_an_unclear_unit_changes_nothing(self, unit: str) -> None:
        assert channel_kind("EEG C3-A2", unit) == ChannelKind.EEG

    @pytest.mark.parametrize(
        ("label", "electrode", "reference"),
        [
            ("EEG C3-A2", "C3", "M2"), ("C4:A1", "C4", "M1"), ("T3", "T7", None), ("T3/T7", "T7", None),
            ("A2-C3", "M2", "C3"), ("EEG FPZ-CZ", "Fpz", "Cz"), ("LOC-A2", "E1", "M2"), ("EOG gauche", "E1", None),
            ("EOG1-A1", "EOG1", "M1"), ("C3-A1A2", "C3", "linked"), ("EEG C3-CLE", "C3", "linked"),
            ("EEG C3-Ref", "C3", "common"),
            ("EEG(sec)", None, None), ("M1M2", "M1", "M2"), ("Mastoid L", "M1", None), ("ROC-LOC", "E2", "E1"),
            ("Chin1", "chin 1", None), ("L Chin", "chin 1", None), ("Chin1-Chin2", None, "bipolar"),
            ("EMG1-EMG2", None, "bipolar"),
        ],
    )  # fmt: skip
    def test_electrode_and_reference_have_one_name_and_keep_their_order(
        self, label: str, electrode: str | None, reference: str | None
    ) -> None:
        parsed = parse_label(label)
        assert (parsed.electrode, parsed.reference) == (electrode, reference)

    @pytest.mark.parametrize("label", ["EMG-T", "Left Leg", "PLM l", "Jambe gauche", "Bein li", "RAT", "EMG diaphragm"])
    def test_other_muscles_are_told_from_the_chin(self, label: str) -> None:
        assert parse_label(label).site == "limb"

    @given(st.text(max_size=24))
    def test_any_text_has_a_kind_and_case_does_not_matter(self, label: str) -> None:
        if label.isascii():
            assert channel_kind(label) == channel_kind(label.upper())
        assert isinstance(channel_kind(label), ChannelKind)


class TestCandidates:
    def test_a_clinical_montage_is_taken_as_it_is_central_first(self) -> None:
        found = candidates(recording("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1"), ChannelKind.EEG)
        assert names(found) == ["C4-M1", "C3-M2", "F4-M1", "F3-M2", "O2-M1", "O1-M2"]
        assert all(d.reference is None for d in found)

    def test_bare_electrodes_get_the_opposite_mastoid(self) -> None:
        bare = recording("C3", "C4", "E1", "E2", "A1", "A2")
        eeg = [(d.signal, d.reference) for d in candidates(bare, ChannelKind.EEG)]
        eog = [(d.signal, d.reference) for d in candidates(bare, ChannelKind.EOG)]
        assert (eeg, eog) == ([("C4", "A1"), ("C3", "A2")], [("E1", "A2"), ("E2", "A1")])

    def test_the_other_mastoid_serves_where_the_opposite_is_missing(self) -> None:
        (found,) = candidates(recording("C3", "M1"), ChannelKind.EEG)
        assert (found.name, found.reference) == ("C3-M1", "M1")
        assert "only one there" in found.reason

    def test_the_midline_takes_either_mastoid_and_says_so(self) -> None:
        (found,) = candidates(recording("Cz", "M1", "M2"), ChannelKind.EEG)
        assert found.name == "Cz-M2"
        assert "either mastoid" in found.reason

    def test_without_a_mastoid_an_electrode_is_taken_as_it_is(self) -> None:
        (found,) = candidates(recording("EEG C4"), ChannelKind.EEG)
        assert (found.name, found.reference) == ("C4", None)
        assert "unreferenced in the file" in found.reason

    def test_nothing_is_referenced_twice(self) -> None:
        found = candidates(recording("C4-M1", "EEG C3-CLE", "F3-Cz", "M1", "M2"), ChannelKind.EEG)
        assert all(d.reference is None for d in found)

    def test_two_signals_against_one_common_electrode_are_subtracted(self) -> None:
        (found,) = candidates(recording("EEG C3-Ref", "EEG A2-Ref"), ChannelKind.EEG)
        assert (found.name, found.reference) == ("C3-M2", "EEG A2-Ref")

    def test_a_mastoid_against_another_electrode_is_not_subtracted(self) -> None:
        (found,) = candidates(recording("EEG C3-Ref", "A2", "M1M2"), ChannelKind.EEG)
        assert found.reference is None

    def test_a_derivation_that_the_file_has_is_not_made_again(self) -> None:
        both = recording("C3", "C3-M2", "M2")
        assert [(d.signal, d.reference) for d in candidates(both, ChannelKind.EEG)] == [("C3-M2", None)]
        assert ("C3", "C3-M2 is there already, from C3-M2") in choose_derivations(both).excluded

    def test_a_mastoid_of_another_rate_is_passed_over_with_the_reason(self) -> None:
        (found,) = candidates(recording("C3", signal("M2", 128), "M1"), ChannelKind.EEG)
        assert found.reference == "M1"
        assert "M2 has 128 Hz, not 256" in found.reason

    def test_the_left_eye_comes_first_and_the_vertical_last(self) -> None:
        found = candidates(recording("VEOG", "E2-M1", "HEOG", "E1-M2"), ChannelKind.EOG)
        assert names(found) == ["E1-M2", "E2-M1", "HEOG", "VEOG"]

    def test_chin_electrodes_are_paired_and_legs_left_out(self) -> None:
        montage = choose_derivations(recording("C4-M1", "Chin1", "Chin2", "Left Leg", "EMG-T"))
        assert [(d.signal, d.reference) for d in montage.emg] == [("Chin1", "Chin2")]
        assert [label for label, _ in montage.excluded] == ["Left Leg", "EMG-T"]

    def test_emg1_and_emg2_are_paired_only_where_electrodes_are_bare(self) -> None:
        bare = candidates(recording("C4", "M1", "EMG1", "EMG2"), ChannelKind.EMG)
        bipolar = candidates(recording("C4-M1", "EMG1", "EMG2"), ChannelKind.EMG)
        assert (names(bare), names(bipolar)) == (["EMG1-EMG2"], ["EMG1", "EMG2"])

    def test_the_chin_comes_before_an_emg_without_a_muscle(self) -> None:
        assert names(candidates(recording("EMG", "EMG chin"), ChannelKind.EMG)) == ["EMG chin", "EMG"]

    def test_sleep_edf_s_emg_envelope_is_refused_with_the_reason(self) -> None:
        montage = choose_derivations(recording("EEG Fpz-Cz", "EEG Pz-Oz", signal("EMG submental", 1)))
        assert names(montage.eeg) == ["Fpz-Cz", "Pz-Oz"]
        assert montage.excluded == (("EMG submental", "1 Hz is too slow: EMG is used from 50 Hz"),)

    def test_shhs(self) -> None:
        shhs = recording(
            "SaO2", "H.R.", "EEG(sec)", "ECG", "EMG", signal("EOG(L)", 50), signal("EOG(R)", 50), "EEG", "THOR RES"
        )
        montage = choose_derivations(shhs)
        assert (names(montage.eeg), names(montage.eog)) == (["EEG", "EEG(sec)"], ["E1", "E2"])
        assert names(montage.emg) == ["EMG"]

    def test_repeated_labels_are_left_out_with_the_reason(self) -> None:
        montage = choose_derivations(recording("C3-M2", "C3-M2", "C4-M1"))
        assert names(montage.eeg) == ["C4-M1"]
        assert "2 signals have this label" in montage.excluded[0][1]

    def test_a_numbered_grid_is_no_10_20_montage(self) -> None:
        grid = recording(*[f"{row}{i}" for row in "ABCDE" for i in range(1, 5)])
        assert candidates(grid, ChannelKind.EEG) == ()
        with pytest.raises(MissingChannelError, match="numbered grid"):
            choose_derivations(grid)
        assert names(choose_derivations(grid, eeg="C3").eeg) == ["C3"]

    @given(st.lists(st.sampled_from([label for label, _ in TABLE if label]), max_size=12))
    def test_every_derivation_is_made_of_signals_that_are_there_and_none_appears_twice(self, labels: list[str]) -> None:
        night = recording(*labels)
        for kind in (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG):
            found = candidates(night, kind)
            assert len(set(names(found))) == len(found)
            for derivation in found:
                assert labels.count(derivation.signal) == 1
                assert derivation.reference is None or labels.count(derivation.reference) == 1
                assert derivation.reference != derivation.signal
                assert derivation.reason


class TestChoice:
    NIGHT = recording("EEG C4-A1", "C3", "M2", "E1-M2", "EMG1", "X1", signal("Slow", 1), signal("M1", 128))

    def test_no_eeg_names_what_is_there_and_the_option(self) -> None:
        with pytest.raises(MissingChannelError, match=r"recording has: ECG, X1.*--eeg"):
            choose_derivations(recording("ECG", "X1"))

    def test_a_file_of_annotations_only_is_told_so(self) -> None:
        with pytest.raises(MissingChannelError, match="annotations only"):
            choose_derivations(recording())

    @pytest.mark.parametrize(
        ("wish", "pair"),
        [
            ("EEG C4-A1", ("EEG C4-A1", None)), ("eeg c4-a1 ", ("EEG C4-A1", None)), ("C4-M1", ("EEG C4-A1", None)),
            ("C3-M2", ("C3", "M2")), ("C3-A2", ("C3", "M2")), ("C3", ("C3", None)), ("X1", ("X1", None)),
            ("X1-C3", ("X1", "C3")),
        ],
    )  # fmt: skip
    def test_a_wish_is_a_label_a_common_name_or_a_difference(self, wish: str, pair: tuple[str, str | None]) -> None:
        (found,) = choose_derivations(self.NIGHT, eeg=wish).eeg
        assert (found.signal, found.reference) == pair
        assert f"--eeg {wish}" in found.reason

    def test_wishes_keep_their_order(self) -> None:
        assert names(choose_derivations(self.NIGHT, eeg=["C3-M2", "C4-M1", "C3-M2"]).eeg) == ["C3-M2", "C4-M1"]

    def test_none_switches_a_kind_off(self) -> None:
        montage = choose_derivations(self.NIGHT, eog="none", emg=["none"])
        assert (montage.eog, montage.emg) == ((), ())
        assert names(choose_derivations(self.NIGHT, eeg="none").eog) == ["E1-M2"]

    def test_a_missing_signal_suggests_a_close_one_and_lists_all(self) -> None:
        with pytest.raises(MissingChannelError, match=r"--eog E1-M3.*Did you mean E1-M2.*recording has: EEG C4-A1, C3"):
            choose_derivations(self.NIGHT, eog="E1-M3")

    def test_a_slow_signal_or_two_rates_are_refused(self) -> None:
        with pytest.raises(UnusableSignalError, match="Slow has 1 Hz; EEG is used from 60 Hz"):
            choose_derivations(self.NIGHT, eeg="Slow")
        with pytest.raises(UnusableSignalError, match="128 Hz"):
            choose_derivations(self.NIGHT, eeg="C3-M1")

    def test_first_has_the_best_of_each_kind(self) -> None:
        assert names(choose_derivations(self.NIGHT).first) == ["C4-M1", "E1-M2", "EMG1"]

    def test_each_signal_is_described(self) -> None:
        rows = {row.label: row for row in describe_channels(self.NIGHT)}
        assert rows["EEG C4-A1"].use == "C4-M1"
        assert rows["M2"].use == "reference of C3-M2"
        assert "opposite mastoid" in rows["C3"].reason
        assert (rows["X1"].kind, rows["X1"].use) == (ChannelKind.OTHER, "")
        off = describe_channels(self.NIGHT, Montage())
        assert {row.reason for row in off if row.kind == ChannelKind.EEG} == {"not asked for"}


def eeg_like(scale: float = 1.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 15 * scale, 256 * 120)  # simulated: inter-quartile range 20 µV


class TestAmplitude:
    def read(self, *signals: Signal, wish: str = "C4") -> tuple[np.ndarray, tuple[str, ...]]:
        night = recording(*signals)
        derived = read_derivation(night, choose_derivations(night, eeg=wish).eeg[0])
        return derived.amplitude_uv, derived.warnings

    @pytest.mark.parametrize(("unit", "per_uv"), [("uV", 1), ("µV", 1), ("mV", 1e-3), ("V", 1e-6), ("nV", 1e3)])
    def test_units_become_microvolts(self, unit: str, per_uv: float) -> None:
        amplitude, warnings = self.read(signal("C4", unit=unit, values=eeg_like(per_uv)))
        np.testing.assert_allclose(amplitude, eeg_like(), rtol=1e-5)
        assert (amplitude.dtype, warnings) == (np.float32, ())

    @pytest.mark.parametrize(("name", "per_uv"), [("µV", 1), ("mV", 1e-3), ("V", 1e-6), ("nV", 1e3)])
    def test_a_missing_unit_is_taken_from_the_spread_with_a_warning(self, name: str, per_uv: float) -> None:
        amplitude, (warning,) = self.read(signal("C4", unit="", values=eeg_like(per_uv)))
        np.testing.assert_allclose(amplitude, eeg_like(), rtol=1e-4)
        assert f"no unit in the file; taken as {name}" in warning

    def test_two_units_are_converted_each_before_the_difference(self) -> None:
        signals = signal("C4", unit="mV", values=eeg_like(1e-3)), signal("M1", unit="uV", values=eeg_like(seed=2))
        amplitude, _ = self.read(*signals, wish="C4-M1")
        np.testing.assert_allclose(amplitude, eeg_like() - eeg_like(seed=2), atol=1e-4)

    @pytest.mark.parametrize(("scale", "guess"), [(1e-3, "mV or V labelled as µV"), (1e3, "µV labelled as mV or V")])
    def test_an_implausible_unit_is_believed_with_a_warning(self, scale: float, guess: str) -> None:
        amplitude, (warning,) = self.read(signal("C4", values=eeg_like(scale)))
        np.testing.assert_allclose(amplitude, eeg_like(scale), rtol=1e-5)
        assert guess in warning

    def test_gaps_flat_stretches_and_drift_do_not_change_the_spread(self) -> None:
        values = eeg_like()
        values[:256] = np.nan
        values[256 * 30 : 256 * 60] = 7
        values[256 * 60 :] += 5000
        assert typical_spread(values.astype(np.float32), 256) == pytest.approx(2 * 0.6745 * 15, rel=0.05)

    def test_an_empty_or_missing_signal_has_no_spread(self) -> None:
        assert typical_spread(np.empty(0, np.float32), 256) == 0
        assert typical_spread(np.full(9000, np.nan, np.float32), 256) == 0

    def test_the_result_is_read_only_and_the_derivation_reads_itself(self) -> None:
        night = recording(signal("C4", values=eeg_like()))
        amplitude, rate = choose_derivations(night).eeg[0].amplitude_uv(night)
        assert (rate, amplitude.flags.writeable) == (256, False)

    def test_rails_are_known_of_one_signal_but_not_of_a_difference(self) -> None:
        base = signal("C4", unit="mV", values=eeg_like(1e-3))
        railed = Signal(base.label, base.sample_rate, base.unit, base.n_samples, base.read_samples, (-1.0, 1.0))
        night = recording(railed, signal("M1", values=eeg_like(seed=2)))
        alone, pair = choose_derivations(night, eeg=["C4", "C4-M1"]).eeg
        assert read_derivation(night, alone).physical_range_uv == (-1000, 1000)
        assert read_derivation(night, pair).physical_range_uv is None


def test_the_nox_recording_of_the_fixtures_gets_the_full_clinical_montage(shared_data: Path) -> None:
    from hypnograph.signal_files import read_recording

    montage = choose_derivations(read_recording(shared_data / "fixtures/rsleep/subject1.edf"))
    assert names(montage.eeg) == ["C4-M1", "C3-M2", "F4-M1", "F3-M2", "O2-M1", "O1-M2"]
    assert names(montage.eog) == ["E1-M2", "E2-M1"]
    assert names(montage.emg) == ["1-2", "1-F", "2-F"]
