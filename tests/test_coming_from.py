"""The pages for people who come from other repositories name what exists, and leave out no option of theirs.

Oracles: the command line itself, by its own click commands; the recipes' dataclasses; and the options of `ut` 1.1.8 and
of the scripts of the four repositories, typed here from their argument parsers.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import click
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from hypnograph import models
from hypnograph.cli import hypnograph
from hypnograph.datasets import datasets
from hypnograph.preprocess import InputSpec, Outliers, Scaling
from hypnograph.training.augmentation import AUGMENTATIONS
from hypnograph.training.recipes import Phase, Recipe, read_recipe, recipe_names
from hypnograph.training.splits import read_split
from tests.conftest import REPOSITORY

HOW_TO = REPOSITORY / "docs" / "how-to"
U_TIME, OTHERS = HOW_TO / "coming-from-utime.md", HOW_TO / "coming-from-other-repositories.md"
PAGES = pytest.mark.parametrize("page", [U_TIME, OTHERS], ids=lambda page: page.stem)

EVERYWHERE = "--project_dir --log_dir --log_level --seed --log_file --overwrite --num_gpus --force_gpus"
UT = {
    "init": "--name --root --model --data_dir",
    "fetch": "--dataset --out_dir --N_first --no_preprocessing",
    "extract": """
        --file_regex --out_dir --channels --rename_channels --resample --use_dir_names --trim_leading_seconds_dict
        --continue_""",
    "extract_hypno": "--file_regex --out_dir --fill_blanks --extract_func --remove_offset --correct_zero_durations",
    "cv_split": """
        --data_dir --subject_dir_pattern --CV --out_dir --copy --file_list --validation_fraction
        --max_validation_subjects --test_fraction --max_test_subjects --subject_matching_regex""",
    "cv_experiment": """
        --cv_dir --out_dir --ignore_gpus --num_jobs --run_on_split --start_from --script_prototype
        --hparams_prototype_dir --no_hparams --wait_for --monitor_gpus_every""",
    "preprocess": "--out_path --dataset_splits --num_threads",
    "train": """
        --continue_training --initialize_from --datasets --just --no_val --train_on_val --max_val_studies_per_dataset
        --max_train_samples_per_epoch --n_epochs --channels --train_queue_type --val_queue_type
        --max_loaded_per_dataset --num_access_before_reload --preprocessed --final_weights_file_name""",
    "predict": """
        --folder_regex --data_split --datasets --data_per_prediction --channels --majority --out_dir --strip_func
        --filter_settings --notch_filter_settings --num_test_time_augment --one_shot --save_true --no_argmax
        --weights_file_name --continue_ --move_study_to_folder_on_error""",
    "predict_one": """
        -f -o --header_file_name --logging_out_path --channels --auto_channel_grouping --auto_reference_types
        --strip_func --model --data_per_prediction --no_argmax --weights_file_name""",
    "evaluate": """
        --out_dir --data_split --channels --one_shot --num_test_time_augment --no_save --no_save_true --no_eval
        --plot_hypnograms --plot_CMs --weights_file_name --wake_trim_min""",
    "cm": """
        --true_pattern --pred_pattern --normalized --show_pairs --group_non_rem --round --wake_trim_min
        --period_length_sec --ignore_classes""",
    "summary": "--csv_pattern --drop_rows --drop_cols --print_all --round",
    "channels": "-f --select_types",
    "group": "--data_dir --out_dir --file_regex --common_prefix_length",
    "majority_vote": "--dataset_dir --soft",
}
UT_KEYS = """
    datasets build.model_class_name build.activation build.depth build.pools build.kernel_size build.dilation
    build.transition_window build.complexity_factor build.n_classes build.l2_reg build.batch_shape build.init_filters
    build.dense_classifier_activation build.padding build.data_per_prediction augmenters fit.balanced_sampling
    fit.margin fit.loss fit.loss_kwargs fit.metrics fit.metric_kwargs fit.ignore_out_of_bounds_classes fit.batch_size
    fit.n_epochs fit.verbose fit.optimizer fit.optimizer_kwargs fit.callbacks fit.use_multiprocessing
    fit.channel_mixture data_dir period_length time_unit identifier psg_regex hyp_regex header_regex folder_regex
    no_labels on_overlapping internal_time_unit set_sample_rate select_channels alternative_select_channels
    channel_sampling_groups sleep_stage_annotations strip_func quality_control_func scaler batch_wise_scaling
    filter_settings notch_filter_settings misc eager lazy limitation clip_noisy_values zero_out_noisy_epochs
    strip_to_match drop_class trim_psg_trailing strip_class_leading_from_hyp strip_class_leading_and_trailing_from_hyp
    strip_class_trailing_from_hyp strip_offset strip_psg_to_match_hyp_len strip_hyp_to_match_psg_len
    pad_hyp_to_match_psg_len end_pad_psg GlobalGaussianNoise GlobalAmplitude GlobalShift GlobalElasticDeformations
    ChannelDropout RegionalGaussianNoise RegionalErase RegionalSignalMix RegionalSignFlip"""
SCRIPTS = {
    "DeepSleepNet": """
        --data_dir --output_dir --select_ch --n_folds --fold_idx --pretrain_epochs --finetune_epochs --resume
        --model_dir""",
    "TinySleepNet": """
        --data_dir --output_dir --select_ch --log_file --db --gpu --from_fold --to_fold --suffix --random_seed
        --config_file --fold_idx --restart --no-restart --model_dir --use-best --no-use-best""",
    "AttnSleep": """
        --data_dir --output_dir --select_ch --ann_dir -c --config -r --resume -d --device -f --fold_id -da
        --np_data_dir""",
    "SeqSleepNet": """
        --eeg_train_data --eeg_eval_data --eeg_test_data --eog_train_data --eog_eval_data --eog_test_data
        --emg_train_data --emg_eval_data --emg_test_data --out_dir --checkpoint_dir --dropout_keep_prob_rnn --seq_len
        --nfilter --nhidden1 --attention_size1 --nhidden2 --allow_soft_placement --log_device_placement""",
}
SCRIPT_KEYS = {
    "TinySleepNet": """
        n_epochs learning_rate adam_beta_1 adam_beta_2 adam_epsilon clip_grad_value evaluate_span checkpoint_span
        no_improve_epochs n_rnn_units sampling_rate input_size n_classes l2_weight_decay augment_seq
        augment_signal_full weighted_cross_ent seq_length batch_size augment_signal""",
    "AttnSleep": """
        name n_gpu arch data_loader.args.batch_size data_loader.args.num_folds optimizer loss metrics trainer.epochs
        trainer.save_dir trainer.save_period trainer.verbosity trainer.monitor""",
}
WEB_CLIENT = "--stream-log --token --anonymize-before-upload"
THEIRS = {
    option
    for options in (EVERYWHERE, *UT.values(), *SCRIPTS.values(), WEB_CLIENT)
    for option in options.split()
    if option.startswith("--")
}


# The pages -----------------------------------------------------------------------------------------------------------


class Section(NamedTuple):
    """A heading, the text below it, and the part of the page above it that has the same subject."""

    title: str
    text: str


def sections(page: Path) -> list[Section]:
    parts = re.split(r"^#{1,3} (.+)$", without_code(page), flags=re.M)
    return [Section(title, text) for title, text in zip(parts[1::2], parts[2::2], strict=True)]


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def command_lines(page: Path) -> list[list[str]]:
    lines = "".join(code(page, "text")).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("hypnograph ")]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rows(text: str) -> Iterator[dict[str, str]]:
    """Give the rows of the tables of a text, by the names of their columns."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        names, _, *lines = (
            [cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()
        )
        yield from (dict(zip(names, cells, strict=True)) for cells in lines)


# Our command line ----------------------------------------------------------------------------------------------------


def found(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that words begin with, and the words after it."""
    command: click.Command = hypnograph
    while isinstance(command, click.Group) and words and words[0] in command.list_commands(click.Context(command)):
        name, *words = words
        command = command.get_command(click.Context(command), name) or command
    return command, words


def options_of(command: click.Command) -> set[str]:
    params = command.get_params(click.Context(command, help_option_names=["-h", "--help"]))
    return {name for param in params for name in (*param.opts, *param.secondary_opts) if name.startswith("-")}


def commands_of(title: str) -> list[click.Command]:
    return [found(span.split()[1:])[0] for span in spans(title) if span.startswith("hypnograph ")]


OURS = {
    option
    for name in hypnograph.list_commands(click.Context(hypnograph))
    for option in options_of(found([name])[0])
} | options_of(hypnograph)  # fmt: skip


@PAGES
def test_the_command_lines_of_a_page_have_our_options(page: Path) -> None:
    lines = command_lines(page)
    assert len(lines) > 8
    for words in lines:
        command, rest = found(words)
        assert command is not hypnograph, words
        command.make_parser(click.Context(command)).parse_args(list(rest))  # an unknown option raises


@PAGES
def test_the_options_of_a_command_line_go_together(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # empty: what is well said fails later, for want of files
    for words in command_lines(page):
        if words[0] not in ("fetch", "models"):  # these would use the network
            result = CliRunner().invoke(hypnograph, words)
            assert result.exit_code != 2 or "does not exist" in result.output, (words, result.output)


@PAGES
def test_the_commands_named_in_the_text_have_our_options(page: Path) -> None:
    named = [span.split()[1:] for span in spans(without_code(page)) if span.startswith("hypnograph ")]
    assert len(named) > 20
    for words in named:
        command, rest = found(words)
        assert command is not hypnograph or words[0] == "--debug", words
        assert {word for word in rest if word.startswith("-")} <= options_of(command), words


@PAGES
def test_a_bare_option_in_the_column_of_ours_belongs_to_the_command_of_the_heading(page: Path) -> None:
    for section in sections(page):
        for row in rows(section.text):
            bare = [span.split()[0] for span in spans(row.get("ours", "")) if span.startswith("-")]
            inline = [
                found(span.split()[1:])[0] for span in spans(row.get("ours", "")) if span.startswith("hypnograph ")
            ]
            known = set().union(*(options_of(command) for command in [*commands_of(section.title), *inline]))
            assert not set(bare) - known, (section.title, row)


@PAGES
def test_every_other_option_that_is_named_is_ours_or_theirs(page: Path) -> None:
    for span in spans(without_code(page)):
        for word in span.split():
            if word.startswith("--"):
                assert word in OURS | THEIRS, span


@PAGES
def test_every_dataset_and_recipe_of_a_command_line_exists(page: Path) -> None:
    for words in command_lines(page):
        pairs = [word.partition("=")[0] for word in words if re.fullmatch(r"[a-z][a-z0-9-]+=[\w/.-]+", word)]
        fetched = words[1:2] if words[0] in ("fetch", "check-data") else []
        assert {*pairs, *fetched} <= datasets().keys(), words
        after = [words[i + 1] for i, word in enumerate(words) if word == "--recipe"]
        trained = words[1:2] if words[0] in ("train", "cross-validate") else []
        assert {*after, *trained} - {"recipe.toml"} <= set(recipe_names()), words
        for setting in (words[i + 1] for i, word in enumerate(words) if word == "--set"):
            read_recipe(words[1], [setting]).input_spec()  # an unknown key or preset raises


# Our recipes ---------------------------------------------------------------------------------------------------------


def option_names() -> set[str]:
    modules = [import_module(f"hypnograph.models.{module.name}") for module in iter_modules(models.__path__)]
    return {field.name for module in modules if hasattr(module, "Config") for field in fields(module.Config)}


def is_key(key: str) -> bool:
    """Tell whether a recipe has such a key."""
    head, _, rest = key.partition(".")
    if head in ("input", "network") and rest:
        first, _, last = rest.partition(".")
        known = {f.name for f in fields(InputSpec)} if head == "input" else {"architecture", "preset", "options"}
        return first in known and (not last or (first == "options" and last in option_names()))
    return has_key(Recipe, key)


def has_key(kind: Any, key: str) -> bool:
    head, _, rest = key.partition(".")
    hints = get_type_hints(kind)
    if head not in hints:
        return False
    inner = [hint for hint in (hints[head], *get_args(hints[head])) if is_dataclass(hint) and get_origin(hint) is None]
    return not rest or any(has_key(hint, rest) for hint in inner)


@PAGES
def test_every_recipe_key_of_a_page_exists(page: Path) -> None:
    keys = [key for section in sections(page) for row in rows(section.text) for key in spans(row.get("recipe key", ""))]
    assert len(keys) > 20
    assert [key for key in keys if not is_key(key)] == []


def test_a_key_that_no_recipe_has_is_found_out() -> None:
    assert has_key(Phase, "optimiser.learning_rate")
    assert is_key("pretraining.sampling.batch")
    for wrong in ("optimizer", "sampling.margin", "input.rate", "network.options.cf", "pretraining.seed", "seed.x"):
        assert not is_key(wrong), wrong


def test_augmentations_and_outlier_rules_have_the_names_of_the_table() -> None:
    text = next(section.text for section in sections(U_TIME) if section.title == "Names of functions")
    table = {row["theirs"]: spans(row["ours"]) for row in rows(text)}
    named = {name for theirs, ours in table.items() if "Global" in theirs or "Regional" in theirs for name in ours}
    assert named == set(AUGMENTATIONS) - {"roll", "sign-flip", "time-mask"}  # these three are not U-Time's
    [clipped] = (ours for theirs, ours in table.items() if "clip_noisy_values" in theirs)
    assert set(clipped[1:]) <= set(get_args(Outliers))
    assert {"robust", "standard", "epoch-range"} <= {*get_args(Scaling)} & set(spans(without_code(U_TIME)))


# What is theirs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UT)
def test_every_option_of_ut_is_in_the_table_of_its_command(name: str) -> None:
    own = [section for section in sections(U_TIME) if f"`ut {name}`" in section.title.partition("→")[0]]
    assert len(own) == 1, name
    listed = {span for row in rows(own[0].text) for span in spans(row["option"])}
    assert set(UT[name].split()) <= listed


def test_the_options_of_all_commands_of_ut_are_in_their_table() -> None:
    [everywhere] = (section for section in sections(U_TIME) if section.title == "All commands")
    assert set(EVERYWHERE.split()) <= {span for row in rows(everywhere.text) for span in spans(row["option"])}


def test_every_key_and_function_of_uts_configuration_is_named() -> None:
    assert set(UT_KEYS.split()) <= set(spans(without_code(U_TIME)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_of_the_other_repositories_is_in_their_table(name: str) -> None:
    [section] = (section for section in sections(OTHERS) if section.title == name)
    listed = {span for row in rows(section.text) for span in spans(row.get("option", ""))}
    assert set(SCRIPTS[name].split()) <= listed
    assert set(SCRIPT_KEYS.get(name, "").split()) <= set(spans(section.text))


# Data taken along ----------------------------------------------------------------------------------------------------

RUNS = ((0, 10, "W"), (1, 5, "N1"), (2, 30, "N2"), (3, 10, "N3"), (4, 15, "REM"))
CODES = np.repeat([code for code, _, _ in RUNS], [length for _, length, _ in RUNS])


def write_utime(folder: Path) -> None:
    """Write what `ut extract` and `ut extract_hypno` leave: gzipped arrays below channels/, lines of runs."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(len(folder.name)).normal(0, 30, (2, len(CODES) * 30 * 64)).astype(np.float32)
    with h5py.File(folder / "psg.h5", "w") as file:
        file.attrs.update({"sample_rate": 64, "date": "UNKNOWN"})
        for index, name in enumerate(("C3-M2", "E1-M2")):
            file.create_dataset(f"channels/{name}", data=noise[index], compression="gzip").attrs["channel_index"] = (
                index
            )
    starts = np.cumsum([0, *(30 * length for _, length, _ in RUNS)])
    lines = [f"{start},{30 * length},{name}" for start, (_, length, name) in zip(starts, RUNS, strict=False)]
    (folder / "hypnogram.ids").write_text("\n".join(lines))


def run(*words: str) -> str:
    result = CliRunner().invoke(hypnograph, words)
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


def counted(output: str) -> dict[str, int]:
    return {name: int(n) for name, n in re.findall(r"^(W|N1|N2|N3|REM)\s+(\d+)\s", output, re.M)}


def line_of(page: Path, *beginning: str) -> list[str]:
    return next(words for words in command_lines(page) if tuple(words[: len(beginning)]) == beginning)


def test_folders_of_utime_are_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_utime(Path("data/mine/rec-a"))
    write_utime(Path("data/mine/rec-bb"))
    output = run(*line_of(U_TIME, "check-data", "folder"))
    assert counted(output) == {name: 2 * length for _, length, name in RUNS}
    assert "no problems" in output


def test_prepared_nights_of_the_others_are_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edf_20_npz").mkdir()
    for night in ("SC4001E0", "SC4002E0", "SC4011E0"):
        x = np.random.default_rng(int(night[3:6])).normal(0, 30, (len(CODES), 3000, 1)).astype(np.float32)
        header = np.array({"patient": "x"}, dtype=object)  # a pickle, as theirs hold
        rest = {"y": CODES, "fs": 100.0, "ch_label": "EEG Fpz-Cz", "header_raw": header}
        np.savez(f"edf_20_npz/{night}.npz", x=x, **rest)
    output = run(*line_of(OTHERS, "check-data", "folder"))
    assert "3 nights of 2 subjects" in output
    assert counted(output) == {name: 3 * length for _, length, name in RUNS}


def test_views_of_cv_split_become_a_split_by_the_code_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for part, names in {"train": ["tp1", "tp2"], "val": ["tp3"], "test": ["tp4"]}.items():
        view = Path("data/dcsm/views/fixed_split") / part
        view.mkdir(parents=True)
        for name in names:
            write_utime(Path("data/dcsm") / name)
            (view / name).symlink_to(Path("../../..") / name)
    exec(code(U_TIME, "py")[0], {})
    split = read_split("split.json")
    assert (split.train, split.validation, split.test) == (("dcsm/tp1", "dcsm/tp2"), ("dcsm/tp3",), ("dcsm/tp4",))


def test_the_unknown_of_utimes_integers_is_not_rem_when_the_page_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unknown = CODES.copy()
    unknown[:4] = 5
    for folder, name, stages in (("true", "rec1_TRUE", unknown), ("majority", "rec1_PRED", CODES)):
        Path(folder).mkdir()
        np.save(f"{folder}/{name}.npy", stages.astype(np.uint8))
    output = run(*line_of(U_TIME, "evaluate"))
    assert f"{len(CODES) - 4} epochs compared" in output
    assert re.search(r"accuracy\s+1\.000", output)
    assert re.search(r"accuracy\s+0\.", run("evaluate", "true", "majority"))  # why the page says it


def test_files_with_both_sides_are_parted_by_the_code_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("predict").mkdir()
    predicted = np.roll(CODES, 3)
    np.savez("predict/pred_SC4001E0.npz", y_true=CODES, y_pred=predicted)
    exec(code(OTHERS, "py")[0], {})
    output = run("evaluate", "y_true", "y_pred")
    assert f"{np.mean(predicted == CODES):.3f}" in next(line for line in output.splitlines() if "accuracy" in line)
