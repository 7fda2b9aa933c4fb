"""What the source reads is used, refused or told: column by column, for every kind that has the option."""

import msgspec
import pytest

from pipeline.checks.asked_for import unused_columns
from pipeline.checks.contradictions import contradictions
from pipeline.params.load import load_params
from pipeline.params.sections import SideSettings
from pipeline.runtime import paths
from pipeline.runtime.files import write_json
from tests.checks.test_rules import EXAMPLES, example, source

SIDE = SideSettings(categories="one_hot", max_categories=50)


def problems(params, kind, **options):
    """Return what `check` refuses on such a source, whatever the model is called."""
    params = msgspec.structs.replace(
        params, register=msgspec.structs.replace(params.register, model_name="own")
    )
    return contradictions(params, source(kind, **options))


def told(params, kind, **options):
    """Return what `check` warns of on such a source."""
    return unused_columns(params, source(kind, **options))


@pytest.mark.parametrize(
    ("name", "kind", "option"),
    [
        ("sms-spam", "text_table", "side"),
        ("indoor-movement", "series_files", "side"),
        ("etth1", "series_table", "static"),
        ("clothing", "image_folder", "side"),
    ],
)
def test_side_columns_that_no_model_would_see_are_refused(name, kind, option):
    """With the lines to copy, which end it; the same for an option that another kind may get."""
    options = {option: ["age", "zip"]} | ({"group": "room"} if name == "indoor-movement" else {})
    (problem,) = problems(example(name), kind, **options)
    assert f"{option}=age,zip" in problem
    assert f"without --set {option}=" in problem
    lines = problem[problem.index("\n") :]
    assert lines.split() == [
        *("side:", "categories:", "one_hot", "#", "or", "embedded", "max_categories:", "50")
    ]
    assert [] == problems(example(name, features={"side": SIDE}), kind, **options)


def test_the_lines_copied_into_params_yaml_pass(tmp_path):
    """Below `features:` of the example, as the message has them."""
    (problem,) = problems(example("sms-spam"), "text_table", side=["age"])
    block = problem[problem.index("\n") + 1 :]
    lines = (EXAMPLES / "sms-spam.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("  side: null")]
    kept.insert(kept.index("features:") + 1, block)
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(kept))
    assert SIDE == load_params(path).features.side
    assert [] == problems(load_params(path), "text_table", side=["age"])


def test_a_side_column_that_cuts_slices_is_used():
    """The gate looks at it, and no model has to."""
    params = example("sms-spam", register={"slices": ("age",), "slice_tolerance": 0.1})
    assert [] == problems(params, "text_table", side=["age"])
    (problem,) = problems(params, "text_table", side=["age", "zip"])
    assert "side=zip in" in problem


@pytest.mark.parametrize(
    ("name", "kind", "options", "words"),
    [
        ("sms-spam", "text_table", {"group": "sender"}, "group=sender (split.method=stratified may put"),
        ("sms-spam", "text_table", {"time": "when"}, "time=when (split.method=stratified does not look"),
        ("sms-spam", "text_table", {"label": "a", "target": "b"}, "target=b (the task is classification)"),
        (
            "indoor-movement",
            "series_files",
            {"group": "g", "split": "s"},
            "split=s (split.method=group draws",
        ),
        ("etth1", "series_table", {"label": "c"}, "label=c (windows take theirs"),
        (
            "etth1",
            "series_table",
            {"anomaly_windows": "w.json"},
            "anomaly_windows=w.json (the task is forecasting)",
        ),
        ("nab", "series_table", {"static": ["room"]}, "static=room (no candidate's family joins"),
    ],
)
def test_columns_without_effect_are_told(name, kind, options, words):
    """Each with the setting that would use it."""
    assert [] == problems(example(name), kind, **options)
    (line,) = told(example(name), kind, **options)
    assert words in line


def test_columns_that_are_used_are_not_told():
    """A group by which is split, a given split, a time of a series, a label of a classifier."""
    assert [] == told(example("indoor-movement"), "series_files", group="g", label="c")
    assert [] == told(example("banking77"), "text_table", group="g", label="c")
    assert [] == told(example("etth1"), "series_table", time="date")
    assert [] == told(example("nab"), "series_table", time="t", anomaly_windows="w.json")


@pytest.mark.parametrize(
    ("name", "changes", "kind", "options", "words"),
    [
        ("sms-spam", {"split": {"method": "group"}}, "text_table", {}, "split.method=group needs groups"),
        ("sms-spam", {"split": {"method": "group"}}, "text_lines", {}, "split.method=group needs groups"),
        ("sms-spam", {"split": {"method": "time"}}, "text_table", {}, "split.method=time needs times"),
        ("sms-spam", {}, "text_table", {"target": "y"}, "data.task=classification learns from a label"),
    ],
)
def test_columns_that_are_needed_are_asked_for(name, changes, kind, options, words):
    """In the two seconds of `check`, not after everything was read and judged."""
    (problem,) = problems(example(name, **changes), kind, **options)
    assert words in problem


def test_check_tells_and_refuses(tmp_path, monkeypatch):
    """The stage itself, on a project with an example's parameters."""
    from pipeline.runtime.errors import ParamsError
    from pipeline.stages.check import check

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "params.yaml").write_text((EXAMPLES / "sms-spam.yaml").read_text())

    def given(**options):
        content = msgspec.to_builtins(source("text_table", label="c", **options))
        write_json(paths.SOURCE_JSON, content)

    given(side=["age"])
    with pytest.raises(ParamsError, match="no model would see the side columns"):
        check()
    given(time="when")
    assert any("time=when" in line for line in check()[1])


def test_a_pattern_of_names_may_give_the_group():
    """Of images in folders the group is no column, but a place in the name."""
    by_group = example("clothing", split={"method": "group"})
    assert [] == problems(by_group, "image_folder", label="{label}-{group}.*")
    assert any("needs groups" in line for line in problems(by_group, "image_folder", label="first"))
