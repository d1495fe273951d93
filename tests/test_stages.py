"""Stages, schemes and the closed vocabulary of names."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypnograph.errors import HypnographError, UnknownStageError
from hypnograph.stages import (
    _NAMES,
    AASM_5,
    SCHEMES,
    W_LIGHT_DEEP_REM,
    W_NREM_REM,
    W_SLEEP,
    Stage,
    StageScheme,
    parse_stage_map,
    stage_from_name,
    stages_from_codes,
    stages_from_names,
    try_stage_from_name,
)

W, N1, N2, N3, REM, UNSCORED = Stage.W, Stage.N1, Stage.N2, Stage.N3, Stage.REM, Stage.UNSCORED


class TestNamesAreMatchedAsAWhole:
    @pytest.mark.parametrize(
        "name", ["Unscored", "Artifact", "NR", "UNKNOWN", "OTHER", "NS", "?", "-1", "Sleep stage -1"]
    )
    def test_names_that_fool_substring_matching_are_unscored(self, name: str) -> None:
        assert stage_from_name(name) is UNSCORED

    @pytest.mark.parametrize(
        ("name", "stage"),
        [
            *[
                (name, W)
                for name in ("W", "Wake", "awake", "SLEEP-S0", "Sleep stage W", "Éveil", "Wach", "Vaken", "Vågen")
            ],
            *[
                (name, N1)
                for name in ("1", "N1", "S1", "NREM1", "NREM 1", "non-REM 1", "Stage 1 sleep", "Sleep stage 1")
            ],
            *[
                (name, N2)
                for name in ("2", "SLEEP-S2", "stage2", "Stage-2", "stage: 2", "sleep_stage_N2", "N-2", "Stade 2")
            ],
            *[(name, N3) for name in ("3", "4", "S3", "S4", "N3", "N4", "N3/N4", "SWS", "Sleep stage 4", "NREM4")],
            *[(name, REM) for name in ("R", "REM", "rem sleep", "Stage REM", "Sleep stage R", "SLEEP-REM", " REM ")],
            *[(name, UNSCORED) for name in ("MT", "Movement time", "SLEEP-MT", "Sleep stage ?", "n/a", "Artefact")],
        ],
    )
    def test_the_field_s_names_are_known(self, name: str, stage: Stage) -> None:
        assert stage_from_name(name) is stage

    @pytest.mark.parametrize(
        "name",
        [
            "Lights off",
            "Rapide",
            "Micro-éveil",
            "Sleep stage X9",
            "NREM",
            "Stage 0",
            "0",
            "5",
            "",
            " ",
            "sleep",
            "arousal",
            "11",
        ],
    )
    def test_everything_else_is_no_stage(self, name: str) -> None:
        assert try_stage_from_name(name) is None

    def test_accents_may_be_composed_or_not(self) -> None:
        assert {stage_from_name(unicodedata.normalize(form, "Éveil")) for form in ("NFC", "NFD")} == {W}

    @pytest.mark.parametrize("prefix", ["", "Sleep stage ", "stage ", "SLEEP-", "Sleep_stage_"])
    @pytest.mark.parametrize("stage", Stage)
    def test_each_listed_name_means_its_stage_in_any_case_and_after_any_prefix(self, stage: Stage, prefix: str) -> None:
        for name in _NAMES[stage]:
            if prefix == "SLEEP-" and name == "-1":
                continue
            assert stage_from_name(prefix + name) is stage, prefix + name
            assert stage_from_name((prefix + name).upper()) is stage

    def test_no_name_means_two_stages(self) -> None:
        names = [name for names in _NAMES.values() for name in names]
        assert len(names) == len(set(names))

    def test_an_unknown_name_says_what_is_known_and_what_to_do(self) -> None:
        with pytest.raises(UnknownStageError, match=r"'X9'.*Known are W, N1.*--stage-map 'X9=STAGE'"):
            stage_from_name("X9")

    @given(st.text(max_size=30))
    def test_any_text_is_a_stage_or_none(self, text: str) -> None:
        assert try_stage_from_name(text) in {None, *Stage}


class TestStageMap:
    def test_adds_names_and_overrides_known_ones(self) -> None:
        stage_map = parse_stage_map(["Deep=N3", "Rapide=REM", "a=b=W", "MT = w"])
        assert stage_from_name("Sleep stage deep", stage_map) is N3
        assert stage_from_name("RAPIDE", stage_map) is REM
        assert stage_from_name("a=b", stage_map) is W
        assert stage_from_name("mt", stage_map) is W
        assert stage_from_name("N2", stage_map) is N2

    @pytest.mark.parametrize("pair", ["Deep", "=N3", "Deep=N9", "Deep="])
    def test_a_pair_without_a_name_or_a_stage_is_an_error(self, pair: str) -> None:
        with pytest.raises(UnknownStageError, match="NAME=STAGE with STAGE one of UNSCORED, W, N1, N2, N3, REM"):
            parse_stage_map([pair])


class TestLists:
    def test_aasm_names_are_of_the_aasm_scheme(self) -> None:
        stages, scheme = stages_from_names(["W", "S2", "?", "R", "W"])
        assert scheme is AASM_5
        assert stages.tolist() == [0, 2, -1, 4, 0]

    @pytest.mark.parametrize("scheme", SCHEMES.values())
    def test_labels_of_a_scheme_are_of_that_scheme(self, scheme: StageScheme) -> None:
        stages, found = stages_from_names([*scheme.labels, "UNSCORED"])
        assert found is scheme
        assert stages.tolist() == [*range(scheme.n_stages), -1]

    @pytest.mark.parametrize("names", [["W", "N2", "NREM"], ["light", "NREM"], ["W", "X9"], ["sleep", "REM"]])
    def test_names_of_several_schemes_are_an_error(self, names: list[str]) -> None:
        with pytest.raises(UnknownStageError):
            stages_from_names(names)

    def test_codes_without_a_five_are_aasm(self) -> None:
        assert stages_from_codes([0, 1, 2, 3, 4, -1, -2, 6, 7, 8, 9]).tolist() == [
            0,
            1,
            2,
            3,
            4,
            -1,
            -1,
            -1,
            -1,
            -1,
            -1,
        ]

    def test_codes_with_a_five_are_those_of_nsrr_and_isruc(self) -> None:
        assert stages_from_codes([0, 1, 2, 3, 4, 5, 9]).tolist() == [0, 1, 2, 3, 3, 4, -1]

    def test_the_stage_map_decides_what_a_code_means(self) -> None:
        assert stages_from_codes([3, 4, 5], {"5": UNSCORED}).tolist() == [3, 4, -1]  # U-Time's code
        assert stages_from_codes([3, 4], {"4": N3}).tolist() == [3, 3]  # R&K without REM
        assert stages_from_codes([0, 11], {"11": W, "Deep": N3}).tolist() == [0, 0]

    def test_an_unknown_code_is_an_error(self) -> None:
        with pytest.raises(UnknownStageError, match=r"unknown stage code 11.*--stage-map"):
            stages_from_codes([0, 11])


class TestSchemes:
    def test_each_is_a_merging_of_aasm(self) -> None:
        assert AASM_5.mapping_to(AASM_5).tolist() == [0, 1, 2, 3, 4]
        assert AASM_5.mapping_to(W_LIGHT_DEEP_REM).tolist() == [0, 1, 1, 2, 3]
        assert AASM_5.mapping_to(W_NREM_REM).tolist() == [0, 1, 1, 1, 2]
        assert AASM_5.mapping_to(W_SLEEP).tolist() == [0, 1, 1, 1, 1]

    def test_merging_in_steps_is_merging_at_once(self) -> None:
        steps = W_LIGHT_DEEP_REM.mapping_to(W_SLEEP)[AASM_5.mapping_to(W_LIGHT_DEEP_REM)]
        assert np.array_equal(steps, AASM_5.mapping_to(W_SLEEP))

    def test_a_stage_cannot_be_split(self) -> None:
        with pytest.raises(HypnographError, match="NREM of scheme W-NREM-REM is more than one stage of AASM"):
            W_NREM_REM.mapping_to(AASM_5)

    @pytest.mark.parametrize("from_aasm", [(0, 1, 1, 1, 2), (0, 0, 0, 0, 0), (0, 1, 1, 1), (0, 1, 1, 1, -1)])
    def test_one_that_leaves_out_a_label_or_a_stage_is_refused(self, from_aasm: tuple[int, ...]) -> None:
        with pytest.raises(HypnographError, match="from_aasm"):
            StageScheme("mine", ("W", "S"), from_aasm)

    def test_labels_are_by_index_and_unscored_is_minus_one(self) -> None:
        assert [AASM_5.label(i) for i in range(-1, 5)] == ["UNSCORED", "W", "N1", "N2", "N3", "REM"]
