"""The params.yaml that `millrace init` writes passes `check`, for every kind of data there is."""

from pathlib import Path

import msgspec
import pytest

from pipeline.checks.contradictions import contradictions, idle_settings
from pipeline.checks.fitting import base_example, fitted, model_name
from pipeline.fetching.source import KINDS, Facts, Location
from pipeline.params.load import params_of
from pipeline.params.values import training_of
from pipeline.splits.assignment import assign_by_units, assignment_problems
from pipeline.training.batches import passes_of
from tests.checks.test_rules import EXAMPLES, source


def classes(*counts):
    """Return classes of these sizes."""
    return {"classes": {f"class {n}": count for n, count in enumerate(counts)}, "num_classes": len(counts)}


def fit(kind, facts, *, count=None, options=None, path="data/own set.zip", groups=None):
    """Return the source and the params.yaml that fits it."""
    known = msgspec.structs.replace(
        source(kind),
        facts=facts,
        count=count or sum(facts.classes.values()) or facts.targets or 1,
        location=Location(path=path),
        options=options or {},
    )
    name = base_example(known)
    text = (EXAMPLES / f"{name}.yaml").read_text()
    return known, fitted(name, text, known, Path("/home/project"), groups)


PICTURES = {"image_channels": [3], "height": (300, 400, 900), "width": (300, 500, 900)}
SERIES = {"channels": ["x", "y"], "length": (50, 60, 70)}
STEPS = {"channels": ["load", "sun"], "step_seconds": 3600.0}
CASES = {
    "photographs": ("image_folder", Facts(**classes(60, 50, 40), **PICTURES)),
    "two classes of photographs, one rare": ("image_folder", Facts(**classes(300, 20), **PICTURES)),
    "a given split": ("image_folder", Facts(**classes(80, 70), **PICTURES, splits={"train": 90, "test": 60})),
    "half a given split": ("image_folder", Facts(**classes(80, 70), **PICTURES, splits={"train": 90, "": 60})),
    "tiny grey pictures": (
        "image_folder", Facts(**classes(30, 30), image_channels=[1], height=(8, 8, 8), width=(8, 8, 8))),
    "grey and colour": (
        "image_folder", Facts(**classes(30, 30), image_channels=[1, 3], height=(32, 40, 44), width=(20, 20, 24))),
    "many small pictures": ("idx", Facts(**classes(4000, 4000), image_channels=[1], height=(28,) * 3, width=(28,) * 3,
                                         splits={"train": 6000, "test": 2000})),
    "texts of two classes": ("text_table", Facts(**classes(400, 60), length=(1, 12, 171))),
    "texts of equal classes": ("text_lines", Facts(**classes(100, 99), length=(1, 3, 5))),
    "texts of many classes": ("text_table", Facts(**classes(*[9] * 30), length=(1, 200, 5000), groups=40)),
    "a class of one text": ("text_table", Facts(**classes(90, 1), length=(1, 9, 50))),
    "prices of texts": ("text_table", Facts(targets=200, length=(5, 20, 40), side={"rooms": "number"})),
    "recordings": ("series_archive", Facts(**classes(20, 20, 20, 20), **SERIES, splits={"train": 40, "test": 40})),
    "many recordings": ("series_files", Facts(**classes(700, 700), **SERIES, groups=12, side={"age": "number"})),
    "a number for each recording": ("series_files", Facts(targets=150, **SERIES)),
    "recordings with stamps": ("series_table", Facts(**classes(40, 50), **SERIES, step_seconds=0.02, times=90)),
    "load by the hour": ("series_table", Facts(**STEPS, length=(9000, 9000, 9000), times=1)),
    "a short load": ("series_table", Facts(**STEPS, length=(60, 60, 60), times=1)),
    "months": ("series_table", Facts(channels=["sales"], step_seconds=2629800.0, length=(120, 120, 120), times=1)),
    "no time of day": ("series_table", Facts(channels=["a"], step_seconds=7.0, length=(500, 500, 500), times=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_file_passes_check_with_nothing_left_over(name):
    """No contradiction, no setting without effect, and every candidate of the baselines."""
    known, fit_ = fit(*CASES[name])
    params = params_of(fit_.text)
    assert [] == contradictions(params, known)
    assert [] == idle_settings(params, known)
    assert ("own-set", "millrace-own-set") == (params.register.model_name, params.register.experiment)


def test_labelled_anomalies_are_looked_for():
    """The example of anomalies, with windows that the series hold."""
    facts = Facts(**STEPS, length=(4000, 4000, 4000), anomalies=300, times=1)
    known, fit_ = fit("series_table", facts, options={"anomaly_windows": "odd.json"})
    params = params_of(fit_.text)
    assert [] == contradictions(params, known)
    assert "anomaly" == params.data.task


USUAL = {
    "image": Facts(**classes(60, 50, 40), **PICTURES),
    "text": Facts(**classes(60, 50, 40), length=(1, 12, 171)),
    "series": Facts(**classes(60, 50, 40), **SERIES, times=150),
}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"digits"}))
def test_every_kind_of_source_gets_a_file_that_passes_check(kind):
    """Also one that comes tomorrow: the rule goes by what its samples are."""
    known, fit_ = fit(kind, USUAL[KINDS[kind]])
    assert [] == contradictions(params_of(fit_.text), known)


SEVERAL = {"labels_separator": "pipe"}
STEPPED = {"options": {"step_label": "state"}, "count": 12}
ASKED = {
    "labels of texts": ("text_table", Facts(**classes(60, 50, 40), length=(1, 12, 171)), {"options": SEVERAL}),
    "two labels of texts": ("text_lines", Facts(**classes(60, 50), length=(1, 12, 171)), {"options": SEVERAL}),
    "labels of pictures": (
        "image_table", Facts(**classes(900, 50, 30), **PICTURES), {"options": {"label_columns": ["a", "b"]}, "count": 990}),
    "labels of tiny pictures": (
        "image_folder", Facts(**classes(60, 50), image_channels=[1], height=(8,) * 3, width=(8,) * 3), {"options": SEVERAL}),
    "labels of many small pictures": (
        "idx", Facts(**classes(4000, 400), image_channels=[1], height=(28,) * 3, width=(28,) * 3), {"options": SEVERAL}),
    "labels of series": ("series_rows", Facts(**classes(60, 50, 40), **SERIES), {"options": {"label_columns": ["a", "b"]}}),
    "labels of series with stamps": ("series_table", Facts(**classes(60, 50), **SERIES, step_seconds=1.0, times=99),
                                     {"options": {"label_columns": ["a", "b"]}, "count": 99}),
    "labels of many series": ("series_files", Facts(**classes(700, 700), **SERIES, groups=12), {"options": SEVERAL}),
    "a class of every step": ("series_table", Facts(step_classes={"sit": 9000, "run": 40}, channels=["x"], times=12,
                                                    step_seconds=0.02, length=(500, 700, 900)), STEPPED),
    "short recordings": ("series_files", Facts(step_classes={"sit": 90, "run": 40}, channels=["x"], length=(1, 9, 20)), STEPPED),
    "recordings of persons": ("series_files", Facts(step_classes={"sit": 9 * 10**6, "run": 10**6}, channels=["x"],
                                                    groups=6, length=(10**4, 10**5, 10**6)), STEPPED),
    "recordings with a given split": (
        "series_files", Facts(step_classes={"sit": 9000, "run": 4000}, channels=["x"], length=(500, 700, 900),
                              splits={"train": 9, "test": 3}), STEPPED),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_several_labels_and_classes_of_steps_get_a_file_that_passes_check(name):
    """Task multilabel with its metric, windows with a class by group: nothing is left to be found out by `check`."""
    kind, facts, more = ASKED[name]
    known, fit_ = fit(kind, facts, **more)
    params = params_of(fit_.text)
    assert [] == contradictions(params, known)
    assert [] == idle_settings(params, known)
    if "step_label" in known.options:
        length = 2 if name == "short recordings" else 100
        assert ("classification", length) == (params.data.task, params.data.labelled_windows.length)
        assert params.split.method == ("given" if facts.splits else "group")
    else:
        assert ("multilabel", "mean_average_precision") == (params.data.task, params.evaluate.select_by)


@pytest.mark.parametrize("kind", ["text_table", "image_table"])
def test_samples_with_times_are_split_by_time(kind):
    """The past trains; groups, which no split by time keeps together, come first, and a given split before both."""
    usual = USUAL[KINDS[kind]]
    timed = msgspec.structs.replace(usual, times=150)
    for facts, method in (
        (timed, "time"),
        (msgspec.structs.replace(timed, times=149), "stratified"),
        (msgspec.structs.replace(timed, groups=40), "group"),
        (msgspec.structs.replace(timed, splits={"train": 100, "test": 50}), "given"),
    ):
        known, fit_ = fit(kind, facts, options={"time": "when"})
        assert method == params_of(fit_.text).split.method
        assert [] == contradictions(params_of(fit_.text), known)


@pytest.mark.parametrize("number", range(3, 13))
def test_few_groups_get_a_salt_and_shares_that_put_every_class_everywhere(number):
    """What stage split would otherwise refuse after minutes; the change is told with its reason."""
    members = {f"person_{one}": {"run": 800, "sit": 900, "walk": 1300} for one in range(number)}
    facts = Facts(step_classes=dict.fromkeys(("run", "sit", "walk"), 1000 * number), channels=["x"], times=number,
                  step_seconds=0.02, length=(3000, 3000, 3000))  # fmt: skip
    known, fit_ = fit("series_table", facts, options={"step_label": "state"}, count=number, groups=members)
    split = params_of(fit_.text).split
    assert [] == contradictions(params_of(fit_.text), known)
    rows = [(group, label) for group, held in members.items() for label in held for _ in range(5)]
    samples = {"cluster": [str(row) for row in range(len(rows))], "group": [group for group, _ in rows],
               "label": [label for _, label in rows], "target": [float("nan")] * len(rows)}  # fmt: skip
    shares = {"val_share": split.val_share, "test_share": split.test_share}
    assigned = assign_by_units(
        "group", samples | {"given_split": [""] * len(rows)}, salt=split.salt, **shares
    )
    assert [] == assignment_problems("group", samples, assigned, salt=split.salt, task="classification")
    told = [line for line in fit_.changes if line.startswith("split.salt")]
    assert [split.salt != "millrace"] == [bool(told)]


def test_groups_of_which_no_draw_will_do_are_told():
    """One class is nearly all of one person's and the other nearly all of another's: each would have to train."""
    members = {"ann": {"a": 900, "b": 1}, "ben": {"a": 1, "b": 900}, "cid": {"a": 9, "b": 9}}
    facts = Facts(**classes(910, 910), length=(1, 12, 171), groups=3)
    _, fit_ = fit("text_table", facts, groups=members)
    assert any("no draw of 3 groups" in line and "--set split=COLUMN" in line for line in fit_.changes)


@pytest.mark.parametrize(("steps", "told"), [(49, False), (50, True)])
def test_a_few_steps_between_two_classes_are_no_class_that_every_part_needs(steps, told):
    """Half a window of 100 makes none; of a class that one recording alone holds no draw will do."""
    members = {f"rec_{one}": {"run": 200, "sit": 200, "walk": 200} for one in range(5)}
    members["rec_3"] = members["rec_3"] | {"odd": steps}
    facts = Facts(step_classes={"run": 1000, "sit": 1000, "walk": 1000, "odd": steps}, channels=["x"], times=5,
                  step_seconds=0.02, length=(600, 600, 600))  # fmt: skip
    known, fit_ = fit("series_table", facts, options={"step_label": "state"}, count=5, groups=members)
    counted = msgspec.structs.replace(facts, few_groups={"odd": 1})  # as a version between two did
    assert [] == contradictions(params_of(fit_.text), msgspec.structs.replace(known, facts=counted))
    assert told == any("no draw of 5 groups" in line for line in fit_.changes)
    assert told != any(line.startswith("split.salt") for line in fit_.changes)


@pytest.mark.parametrize(("steps", "rare"), [(49, False), (50, True)])
def test_a_few_steps_between_two_classes_are_no_rare_class(steps, rare):
    """They are of no window, and so no reason for other bounds or for weights."""
    members = {
        f"rec_{one}": {"run": 1200, "sit": 1200, "to stand": steps if one == 3 else 7} for one in range(5)
    }
    facts = Facts(step_classes={"run": 6000, "sit": 6000, "to stand": 28 + steps}, channels=["x"], times=5,
                  step_seconds=0.02, length=(2500, 2500, 2500))  # fmt: skip
    _, fit_ = fit("series_table", facts, options={"step_label": "state"}, count=5, groups=members)
    params = params_of(fit_.text)
    assert rare == any("the rarest class, 'to stand', has 1" in line for line in fit_.changes)
    assert ("balanced" if rare else "none") == params.training.class_weights


def test_recordings_of_many_short_classes_are_drawn_as_they_are():
    """No class has half a window of 15 in any of them, and windows have one all the same."""
    held = {f"step {number}": 6 for number in range(10)}
    facts = Facts(
        step_classes=dict.fromkeys(held, 30), channels=["x"], times=5, step_seconds=1.0, length=(60,) * 3
    )
    members = {f"rec_{one}": held for one in range(5)}
    _, fit_ = fit("series_table", facts, options={"step_label": "state"}, count=5, groups=members)
    assert any(line.startswith("split.salt") for line in fit_.changes)


def test_two_unequal_classes_are_judged_by_the_rarer_one():
    """By name, so that it stays the same class when the data grows."""
    params = params_of(fit(*CASES["two classes of photographs, one rare"])[1].text)
    assert ("class 1", "positive_f1", "balanced") == (
        params.data.positive_class, params.evaluate.select_by, params.training.class_weights
    )  # fmt: skip


def test_small_data_gets_enough_rows_to_be_judged_by():
    """The gate wants thirty; a fifth of 150 would be thirty only with luck."""
    params = params_of(fit(*CASES["photographs"])[1].text)
    assert (0.3, 8, 20) == (
        params.split.test_share, params.training.batch_size, params.validate.min_samples_per_class
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "monitor"),
    [
        ("photographs", "val_calibrated_loss"),
        ("recordings", "val_calibrated_loss"),
        ("many recordings", "val_loss"),
        ("a number for each recording", "val_loss"),
    ],
)
def test_of_few_rows_one_that_is_surely_wrong_ends_no_training(name, monitor):
    """Where few are held out; numbers have no temperature."""
    assert params_of(fit(*CASES[name])[1].text).training.monitor == monitor


def test_few_photographs_get_networks_that_a_dozen_trainings_of_each_can_be_waited_for():
    """Two fifths of the arithmetic, from 300 on one pass in an epoch, no candidate that costs minutes and never led."""

    def of(count, **facts):
        return params_of(fit("image_folder", Facts(**classes(*[count // 4] * 4), **PICTURES | facts))[1].text)

    example = params_of((EXAMPLES / "clothing.yaml").read_text())
    fewest, few, many = of(300), of(400), of(1000)
    assert [16, 32, 64, 128] == list(few.candidates["cnn"].model.filters)
    assert {"cnn", "dense", "linear", "majority"} == set(few.candidates)
    assert (2, 1, 1) == tuple(
        passes_of(round(count * 0.8 * 0.85), msgspec.to_builtins(training_of(params, "cnn")))
        for count, params in ((200, of(200)), (300, fewest), (400, few))
    )
    assert (example.candidates, example.training.min_steps) == (many.candidates, many.training.min_steps)
    # A strip, of which four blocks would leave nothing.
    assert [16, 32, 64] == list(of(400, height=(90,) * 3).candidates["cnn"].model.filters)
    wide = fit(
        "image_folder", Facts(**classes(*[100] * 4), **PICTURES | {"height": (60,) * 3, "width": (500,) * 3})
    )[1]
    (line,) = [line for line in wide.changes if line.startswith("candidates.cnn.model.filters")]
    assert line.startswith("candidates.cnn.model.filters: [16, 32, 64] (half of [32, 64, 128]")
    assert line.endswith("; 16 pixels are halved 3 times)")
    # What is no photograph is cheap.
    assert "rnn" in of(400, height=(28,) * 3, width=(28,) * 3).candidates


def test_comments_of_the_example_are_kept_and_every_change_is_told():
    """The head says what was set and why; each knob is explained where it stands."""
    _, fit_ = fit(*CASES["photographs"])
    assert "# Written by `millrace init` for 150 samples of kind image_folder" in fit_.text
    assert "# - split.test_share: 0.3 (of 150 samples; the gate judges by 30 rows or more)" in fit_.text
    assert "# [height, width] in pixels, or null" in fit_.text


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/Clothing small.tar.gz", "Clothing-small"), ("../mails.csv", "mails"), ("digits", "own-digits"), ("/", "project"), ("cats/data/input", "cats"), ("ü", "project")],
)  # fmt: skip
def test_the_model_is_called_after_the_data(path, name):
    """In the letters that a registry takes, and never like the bundled example."""
    known = msgspec.structs.replace(source("image_folder"), location=Location(path=path))
    assert name == model_name(known, Path("/home/project"))


@pytest.mark.parametrize(
    ("name", "least"), [("texts of many classes", 0.4), ("recordings", 0.2), ("many small pictures", 0.15)]
)
def test_no_class_misses_validation_by_bad_luck(name, least):
    """Seven of a class to draw from miss 0.15 in one of three draws; of a given train set val is counted out."""
    assert least == params_of(fit(*CASES[name])[1].text).split.val_share


def test_a_given_train_set_keeps_the_usual_share():
    """Val is counted out class by class there: seven classes of twelve miss none, and train keeps four fifths."""
    facts = Facts(**classes(*[12] * 7), length=(24, 24, 24), splits={"train": 84, "test": 80})
    assert 0.2 == params_of(fit("series_archive", facts)[1].text).split.val_share


def test_bounds_are_not_those_of_the_example_and_a_handful_is_nobodys_class():
    """Copies as elsewhere, not as among short messages; two typos do not raise the ratio of classes for good."""
    _, fit_ = fit("text_table", Facts(**classes(300, 300), length=(1, 12, 171)))
    assert 0.05 == params_of(fit_.text).validate.max_duplicate_share
    _, fit_ = fit("text_table", Facts(**classes(2000, 998, 2), length=(1, 12, 171)))
    params = params_of(fit_.text)
    assert 3 == params.validate.min_samples_per_class
    assert params.validate.max_class_ratio < 1000


def test_a_line_break_in_a_class_is_no_line_of_params_yaml():
    """The rarer class stands in the comment that the file begins with."""
    facts = Facts(classes={"ham\nseed: 3": 40, "spam": 80}, num_classes=2, length=(1, 12, 171))
    _, fit_ = fit("text_table", facts)
    assert "ham\nseed: 3" == params_of(fit_.text).data.positive_class


@pytest.mark.parametrize(("copies", "bound"), [(0, 0.05), (30, 0.05), (36, 0.08), (120, 0.24), (121, 0.05)])
def test_copies_among_short_messages_are_allowed_as_they_are_and_said(copies, bound):
    """Up to a fifth of 600; more of them is for a person to allow, and later data may not have many more."""
    _, fit_ = fit("text_table", Facts(**classes(300, 300), length=(1, 12, 171), copies=copies))
    assert bound == params_of(fit_.text).validate.max_duplicate_share
    told = [change for change in fit_.changes if "max_duplicate_share" in change]
    assert bool(told) is (bound > 0.05)
    assert not told or "copies are kept in one split" in told[0]
