"""What `check` says where task, data, families and metrics do not belong together."""

import re
from pathlib import Path

import msgspec
import pytest

from pipeline.checks import rules
from pipeline.checks.asked_for import unused_columns
from pipeline.checks.contradictions import contradictions, idle_settings, slow_settings
from pipeline.fetching.source import Source
from pipeline.params.families import FAMILIES, family_of, input_kind
from pipeline.params.load import load_params
from pipeline.params.sections import FloatRange, LabelledWindows, TuneOverride
from pipeline.params.values import training_of
from pipeline.sources.kinds import stated_options

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KIND_OF = {
    "digits": "digits",
    "fashion-mnist": "idx",
    "clothing": "image_folder",
    "sms-spam": "text_table",
    "banking77": "text_table",
    "joined-intents": "text_table",
    "ucr": "series_archive",
    "japanese-vowels": "series_archive",
    "basic-motions": "series_archive",
    "indoor-movement": "series_files",
    "banking77-vectors": "text_table",
    "clothing-pretrained": "image_folder",
    "bike-sharing": "series_table",
    "bike-sharing-lags": "series_table",
    "etth1": "series_table",
    "nab": "series_table",
}


def source(kind: str, **options) -> Source:
    """Return what data/source.json says of 10,000 samples of that kind, read with these options."""
    location = "bundled" if kind == "digits" else {"path": "somewhere"}
    content = {
        "kind": kind,
        "location": location,
        "sha256": "0" * 64,
        "bytes": 1,
        "files": 1,
        "count": 10_000,
        "options": options,
    }
    return msgspec.convert(content, Source)


def example(name: str, **sections):
    """Return an example's parameters with some sections changed, key by key."""
    params = load_params(EXAMPLES / f"{name}.yaml")
    for name_of_section, changes in sections.items():
        section, _, block = name_of_section.partition(".")
        part = getattr(params, section)
        if block:
            changes = {block: msgspec.structs.replace(getattr(part, block), **changes)}
        changed = msgspec.structs.replace(part, **changes)
        params = msgspec.structs.replace(params, **{section: changed})
    return params


@pytest.mark.parametrize("name", KIND_OF)
def test_no_example_has_a_setting_without_effect(name):
    """What the task or the kind of data does not look at is left out."""
    for folder in (EXAMPLES, EXAMPLES / "quick"):
        if (folder / f"{name}.yaml").is_file():
            assert [] == idle_settings(load_params(folder / f"{name}.yaml"), source(KIND_OF[name]))


@pytest.mark.parametrize(
    ("name", "sections", "idle"),
    [
        ("nab", {"select": {"refit": True}}, "select.refit (alarms are in units of the errors"),
        ("nab", {"validate": {"max_class_ratio": 20.0}}, "validate.max_class_ratio (there are no classes)"),
        (
            "etth1",
            {"validate": {"near_series_distance": 0.0}},
            "validate.near_series_distance (series that are cut",
        ),
        (
            "sms-spam",
            {"validate": {"near_hash_distance": 4}},
            "validate.near_hash_distance (samples are texts)",
        ),
        (
            "digits",
            {"validate": {"near_text_similarity": 0.9}},
            "validate.near_text_similarity (samples are images)",
        ),
        ("ucr", {"features": {"edge_cell_px": 8}}, "features.edge_cell_px (samples are series)"),
    ],
)
def test_a_setting_without_effect_is_told(name, sections, idle):
    """One line, which names the setting and why nobody looks at it; it is no contradiction."""
    params = example(name, **sections)
    assert [] == contradictions(params, source(KIND_OF[name]))
    (line,) = idle_settings(params, source(KIND_OF[name]))
    assert idle in line
    assert "have no effect" in line


@pytest.mark.parametrize("bound", ["min_samples_per_class", "max_class_ratio", "max_label_conflicts"])
def test_classes_need_their_bounds(bound):
    """Left out, nothing would be asked of the classes."""
    (problem,) = contradictions(example("sms-spam", validate={bound: None}), source("text_table"))
    assert f"validate.{bound} is missing: classes need it" in problem


def test_every_example_is_known_here():
    """A new example gets a row above."""
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(KIND_OF)


@pytest.mark.parametrize("name", KIND_OF)
def test_examples_contradict_nothing(name):
    """What we ship passes its own check, on a source of its kind with the options of its first lines."""
    for folder in (EXAMPLES, EXAMPLES / "quick"):
        text = (folder / f"{name}.yaml").read_text()
        stated = re.findall(r"--set ['\"]?([^\s'\"]+)", text.partition("# Expected")[0])
        options = stated_options(KIND_OF[name], stated)
        params = load_params(folder / f"{name}.yaml")
        assert [] == contradictions(params, source(KIND_OF[name], **options))
        assert [] == unused_columns(params, source(KIND_OF[name], **options))


@pytest.mark.parametrize("options", [{"labels_separator": "pipe"}, {"label_columns": ["toxic", "threat"]}])
def test_several_labels_need_their_task(options):
    """Classes that are sets of labels would be learnt as classes of their own; what is to be set is said."""
    (problem,) = contradictions(example("banking77"), source("text_table", **options))
    (option, value), *_ = options.items()
    assert "data.task must be multilabel" in problem
    assert f"task=classification, with {option}={value} in data/source.json" in problem
    assert "Set task: multilabel" in problem


@pytest.mark.parametrize("options", [{}, {"labels_separator": "none"}])
def test_the_task_of_several_labels_needs_such_a_source(options):
    """Without a separator or a column for each label there is one label per sample."""
    (problem,) = contradictions(example("joined-intents"), source("text_table", **options))
    assert "data.task=multilabel needs a source whose samples may have several labels" in problem
    assert "--set labels_separator=pipe" in problem


def test_forecasting_needs_windows_over_series_with_time():
    """A forecast of texts, or without windows, is refused with the example to look at."""
    problems = list(
        rules.task_fits_the_data(example("sms-spam", data={"task": "forecasting"}), source("text_table"))
    )
    assert "needs windows over series" in problems[0]


@pytest.mark.parametrize(
    ("name", "section", "changes", "message"),
    [
        ("etth1", "split", {"method": "stratified"}, "split.method must be time"),
        ("etth1", "evaluate", {"select_by": "accuracy"}, "select_by is no metric of task forecasting"),
        ("etth1", "training", {"loss": "focal"}, "loss is none of task forecasting"),
        ("etth1", "training", {"monitor": "val_accuracy"}, "monitor is none of task forecasting"),
        ("sms-spam", "training", {"loss": "mse"}, "loss is none of task classification"),
        ("joined-intents", "training", {"loss": "mse"}, "loss is none of task multilabel"),
        (
            "joined-intents",
            "training",
            {"monitor": "val_accuracy"},
            "monitor is none of task multilabel",
        ),
        (
            "joined-intents",
            "training",
            {"class_weights": "balanced"},
            "class_weights and label_smoothing are for",
        ),
        (
            "joined-intents",
            "evaluate",
            {"select_by": "accuracy"},
            "select_by is no metric of task multilabel",
        ),
        (
            "joined-intents",
            "data",
            {"limit_per_class": 9},
            "limit_per_class cannot count samples of several labels",
        ),
        (
            "joined-intents",
            "register",
            {"class_tolerance": None},
            "class_tolerance is missing: multilabel needs it",
        ),
        ("joined-intents", "validate", {"max_class_ratio": None}, "validate.max_class_ratio is missing"),
        ("sms-spam", "features", {"text": None}, "features.text is missing"),
        ("sms-spam", "split", {"embargo": 3}, "split.embargo has an effect with method=time only"),
        (
            "japanese-vowels",
            "validate",
            {"near_series_distance": None},
            "validate.near_series_distance is missing",
        ),
        ("digits", "data", {"policy": None}, "data.policy is missing"),
        ("nab", "evaluate", {"anomaly": None}, "evaluate.anomaly is missing"),
        ("bike-sharing", "data.windows", {"horizon": 24}, "horizon must be 1 for task regression"),
        ("etth1", "data.windows", {"length": 12}, "model.season must not exceed the history"),
        ("sms-spam", "features.text", {"vectors": "v.txt"}, "vectors and vectors_sha256 belong together"),
        (
            "clothing-pretrained",
            "features",
            {"pretrained": None},
            "features.pretrained is missing: candidate",
        ),
        ("banking77-vectors", "features", {"pretrained": None}, "features.pretrained is missing: candidate"),
        ("clothing-pretrained", "data", {"channels": 1}, "data.channels must be 3 for pretrained features"),
    ],
)
def test_wrong_combinations_are_refused(name, section, changes, message):
    """One changed key, one message that names it."""
    problems = contradictions(example(name, **{section: changes}), source(KIND_OF[name]))
    assert any(message in problem for problem in problems), problems


def test_families_that_do_not_work_are_named_with_those_that_do():
    """A forecast by a family for classes only is refused, and the message lists what works."""
    params = example("etth1")
    nearest = load_params(EXAMPLES / "ucr.yaml").candidates["nearest"]
    params = msgspec.structs.replace(params, candidates={**params.candidates, "nearest": nearest})
    (problem,) = rules.families_fit_the_data(params, source("series_table"))
    assert "candidates.nearest: family nearest does not work with series data and task forecasting" in problem
    assert "Expected one of cnn, rnn" in problem


def number_of_images(**features):
    """Return the digits example as a regression."""
    return example(
        "digits",
        data={"task": "regression"},
        features=features,
        evaluate={"select_by": "mean_absolute_error"},
    )


def test_numbers_may_be_asked_of_images():
    """Every family of images but those of series and classes; the linear baseline reads hand-made features."""
    table = source("image_table")
    assert not [line for line in contradictions(number_of_images(), table) if "does not work with" in line]
    asked = [line for line in contradictions(number_of_images(groups=()), table) if "features.groups" in line]
    assert ["of family dense" in line or "of family linear" in line for line in asked] == [True]
    assert input_kind("linear", "image", "regression") == "vector"
    assert input_kind("linear", "image") == "image"


@pytest.mark.parametrize("grey_range", [(5.0, 5.0), (4095.0, 0.0), (0.0, float("inf"))])
def test_a_range_of_grey_values_rises(grey_range):
    """Black lies below white, and both are numbers."""
    params = example("digits", data={"grey_range": grey_range})
    assert any("data.grey_range must rise" in line for line in contradictions(params, source("digits")))
    params = example("digits", data={"grey_range": (0.0, 4095.0)})
    assert not any("grey_range" in line for line in contradictions(params, source("digits")))


def test_texts_need_the_width_of_a_word_vector_and_series_have_none():
    """`embedding_units` is asked for where it matters, and refused where it would be ignored."""
    rnn = load_params(EXAMPLES / "japanese-vowels.yaml").candidates["gru"]
    params = example("sms-spam")
    params = msgspec.structs.replace(params, candidates={**params.candidates, "rnn": rnn})
    (problem,) = rules.families_fit_the_data(params, source("text_table"))
    assert "candidates.rnn.model.embedding_units is missing" in problem
    of_texts = load_params(EXAMPLES / "sms-spam.yaml").candidates["rnn"]
    params = example("japanese-vowels")
    params = msgspec.structs.replace(params, candidates={**params.candidates, "gru": of_texts})
    (problem,) = rules.families_fit_the_data(params, source("series_archive"))
    assert "has an effect on texts only" in problem


def test_windows_of_anomalies_look_at_themselves():
    """A horizon, targets or a single step make no window to reconstruct."""
    windows = msgspec.structs.replace(example("nab").data.windows, horizon=1)
    (problem,) = rules.task_fits_the_data(example("nab", data={"windows": windows}), source("series_table"))
    assert "looks at the window itself" in problem


@pytest.mark.parametrize("name", ["sms-spam", "etth1"])
def test_texts_and_windows_are_not_reduced(name):
    """Rows of the split are no window numbers, and texts cannot be laid flat."""
    wanted = load_params(EXAMPLES / "fashion-mnist.yaml").reduce
    params = msgspec.structs.replace(example(name), reduce=wanted)
    problems = contradictions(params, source(KIND_OF[name]))
    assert any("reduce works on images and whole series" in problem for problem in problems)


def test_targets_are_not_known_in_advance():
    """A target among the known columns would hand the answer to the model."""
    windows = example("bike-sharing").data.windows
    windows = msgspec.structs.replace(windows, known=(*windows.known, "cnt"))
    problems = list(
        rules.task_fits_the_data(example("bike-sharing", data={"windows": windows}), source("series_table"))
    )
    assert [
        "data.windows.known must not name targets. Received: ['cnt']. Remove them from known."
    ] == problems


CUT = LabelledWindows(length=10, stride=5, label="majority")


@pytest.mark.parametrize(
    ("changes", "column", "message"),
    [
        ({"data": {"labelled_windows": CUT}, "split": {"method": "group"}}, "doing", None),
        ({"data": {"labelled_windows": CUT}}, "doing", "Set method: group"),
        ({"data": {"labelled_windows": CUT}, "split": {"method": "group"}}, "", "--set step_label=COLUMN"),
        ({}, "doing", "nothing asks for it"),
        ({"data": {"labelled_windows": CUT, "task": "regression"}, "split": {"method": "group"}}, "doing",
         "is for classification"),
    ],
)  # fmt: skip
def test_windows_with_classes_need_a_class_per_step_and_a_split_by_group(changes, column, message):
    """Either without the other is refused before anything is read."""
    of_source = msgspec.structs.replace(
        source("series_table"), options={"step_label": column} if column else {}
    )
    changes = {"split": {"method": "stratified"}} | changes
    problems = list(rules.task_fits_the_data(example("japanese-vowels", **changes), of_source))
    assert bool(message) == bool(problems)
    assert message is None or any(message in problem for problem in problems)


def old_linear():
    """Return the parameters of sms-spam as they were when its linear baseline was trained."""
    params = example("sms-spam")
    block = params.candidates["linear"]
    old = {"epochs": 30, "learning_rate": 0.01}
    trained = msgspec.structs.replace(
        block, model=msgspec.structs.replace(block.model, l2=0.0), training=old, tune=block.tune
    )
    return msgspec.structs.replace(params, candidates={**params.candidates, "linear": trained})


def test_an_old_linear_baseline_is_accepted_and_what_it_ignores_is_told():
    """Nothing is refused, its epochs are 0, and the settings of a training that it has no more are named."""
    params = old_linear()
    assert [] == contradictions(params, source("text_table"))
    assert 0 == training_of(params, "linear").epochs
    (line,) = idle_settings(params, source("text_table"))
    for name in ("epochs", "learning_rate"):
        assert f"candidates.linear.training.{name} (family linear is solved, not trained)" in line


def test_a_search_over_what_is_solved_is_refused():
    """It would score the same model again and again; the message says what to remove."""
    params = old_linear()
    block = params.candidates["linear"]
    space = {"model.l2": FloatRange(low=1e-6, high=1e-2, log=True)}
    searched = msgspec.structs.replace(block, tune=TuneOverride(trials=2, space=space))
    params = msgspec.structs.replace(params, candidates={**params.candidates, "linear": searched})
    problems = contradictions(params, source("text_table"))
    assert any("family linear is solved, not trained" in problem for problem in problems)


def test_baselines_alone_are_enough_where_one_may_win():
    """And not where register.baselines_may_win is false."""
    params = example("sms-spam")
    alone = {name: params.candidates[name] for name in ("linear", "majority")}
    params = msgspec.structs.replace(params, candidates=alone)
    assert [] == contradictions(params, source("text_table"))
    register = msgspec.structs.replace(params.register, baselines_may_win=False)
    (problem,) = contradictions(msgspec.structs.replace(params, register=register), source("text_table"))
    assert "candidates must hold something beside the baselines" in problem


@pytest.mark.parametrize(
    ("name", "candidate", "model", "message"),
    [
        ("etth1", "ridge", {"look_backs": (96, 720)}, "look_backs must lie in the window"),
        ("etth1", "ridge", {"look_backs": (1,)}, "look_backs must lie in the window"),
        ("nab", "polynomial", {"degree": 47}, "leaves nothing of a window"),
        ("nab", "polynomial", {"degree": 46}, None),
        ("ucr", "cnn", {"shortcuts": True}, None),
        ("ucr", "cnn", {"shortcuts": True, "padding": "valid"}, "as many places before as after"),
    ],
)
def test_settings_of_a_model_fit_what_it_reads(name, candidate, model, message):
    """Said by `check`, not by a training that was waited for."""
    params = example(name)
    block = params.candidates[candidate]
    block = msgspec.structs.replace(block, model=msgspec.structs.replace(block.model, **model))
    params = msgspec.structs.replace(params, candidates={**params.candidates, candidate: block})
    problems = list(rules.families_fit_the_data(params, source(KIND_OF[name])))
    assert bool(message) == bool(problems)
    assert message is None or message in problems[0]


def test_a_ridge_hands_scaled_values_through():
    """Each series to its own scale leaves forecasts without one."""
    params = example("etth1", **{"features.series": {"scaling": "series"}})
    problems = list(rules.families_fit_the_data(params, source("series_table")))
    assert any("candidates.ridge.model.look_backs hands scaled values through" in line for line in problems)


def test_workers_without_rows_are_refused():
    """A batch of 32 rows cannot be dealt out to 33."""
    assert [] == contradictions(example("digits", training={"workers": 32}), source("digits"))
    problems = contradictions(example("digits", training={"workers": 33}), source("digits"))
    assert all("training.workers must not exceed its batch_size of 32" in problem for problem in problems)
    trained = [
        name for name, block in example("digits").candidates.items() if FAMILIES[family_of(block)].trained
    ]
    assert len(trained) == len(problems)


def test_more_workers_than_cores_are_told_and_not_refused():
    """Only of what is trained, and only where they are workers: many threads of one process are the user's choice."""
    params = example("digits", training={"workers": 2})
    assert [] == slow_settings(params, num_cores=2 * params.threads)
    (line,) = slow_settings(params, num_cores=2 * params.threads - 1)
    assert f"cnn (2 x {params.threads})" in line
    assert "linear" not in line
    assert [] == slow_settings(example("digits"), num_cores=1)


def test_workers_of_a_solved_family_have_no_effect_and_that_is_told():
    """Beside its `epochs`."""
    params = example("digits")
    block = msgspec.structs.replace(params.candidates["linear"], training={"epochs": 0, "workers": 2})
    params = msgspec.structs.replace(params, candidates={**params.candidates, "linear": block})
    (line,) = idle_settings(params, source("digits"))
    assert "candidates.linear.training.workers (family linear is solved, not trained)" in line
