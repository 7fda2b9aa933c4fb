"""Suite files: read strictly, and refused where they would pass on nothing."""

import json
from pathlib import Path

import pytest

from pipeline.runtime.errors import ParamsError
from pipeline.validation import suites
from pipeline.validation.suites import read_suite, read_suites

SUITES = Path(suites.__file__).parent / "suites"
PAYLOADS = ("image_samples", "text_samples", "series_samples")
CLASS_BOUNDS = ("min_samples_per_class", "max_class_ratio", "max_label_conflicts")
ROW_COUNT = {
    "type": "expect_table_row_count_to_equal",
    "kwargs": {"value": {"$PARAMETER": "rows"}},
    "notes": "One row per image.",
}
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "mean"}, "notes": "Known."}
BETWEEN = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "mean", "min_value": 0},
    "notes": "Not below black.",
}


def write(tmp_path, expectations, **other):
    """Write a suite file and return its path."""
    path = tmp_path / "suite.json"
    content = {"name": "suite", "comment": [], "expectations": expectations} | other
    path.write_text(json.dumps(content))
    return path


def problems_of(path, bounds=None):
    """Return the problems that reading the file raises."""
    with pytest.raises(ParamsError) as error:
        read_suite(path, {"rows": 3} if bounds is None else bounds)
    return error.value.problems


def test_bounds_are_filled_in(tmp_path):
    """A placeholder becomes the value of its bound; the rest stays as written."""
    suite = read_suite(write(tmp_path, [ROW_COUNT, NOT_NULL, BETWEEN]), {"rows": 3})
    assert [{"value": 3}, NOT_NULL["kwargs"], BETWEEN["kwargs"]] == [
        written.kwargs for written in suite.expectations
    ]
    assert {"critical"} == {written.severity for written in suite.expectations}


def test_an_empty_suite_is_refused(tmp_path):
    """Great Expectations passes an empty suite on any data."""
    problems = problems_of(write(tmp_path, []), bounds={})
    assert "the suite is empty" in problems[0]


def test_a_suite_without_a_row_count_is_refused(tmp_path):
    """Great Expectations passes an empty table."""
    (problem,) = problems_of(write(tmp_path, [NOT_NULL, BETWEEN]), bounds={})
    assert "an empty table would pass" in problem


@pytest.mark.parametrize(
    "not_null",
    [
        None,
        NOT_NULL | {"kwargs": {"column": "mean", "mostly": 0.5}},
        NOT_NULL | {"severity": "warning"},
        NOT_NULL | {"kwargs": {"column": "other"}},
    ],
)
def test_a_judged_column_without_a_demand_for_values_is_refused(tmp_path, not_null):
    """Great Expectations passes a column of nothing but NaN, unless values are demanded of every row."""
    problems = problems_of(write(tmp_path, [ROW_COUNT, BETWEEN, *([not_null] if not_null else [])]))
    assert any(
        "a column without any value would pass" in problem and "mean" in problem for problem in problems
    )


def test_a_placeholder_nobody_knows_is_refused(tmp_path):
    """A misspelt bound is named, with the known ones."""
    typo = ROW_COUNT | {"kwargs": {"value": {"$PARAMETER": "row"}}}
    problems = problems_of(write(tmp_path, [typo]))
    assert "`value` names no known bound. Expected one of rows." in problems[0]


def test_a_bound_nobody_uses_is_refused(tmp_path):
    """A limit in params.yaml without an expectation would be ignored in silence."""
    (problem,) = problems_of(write(tmp_path, [ROW_COUNT]), bounds={"rows": 3, "max_label_conflicts": 0})
    assert "`max_label_conflicts`" in problem
    assert "no effect" in problem


def test_a_row_condition_is_refused(tmp_path):
    """A condition that matches no row would pass."""
    conditional = NOT_NULL | {"kwargs": {"column": "mean", "row_condition": "mean > 7"}}
    problems = problems_of(write(tmp_path, [ROW_COUNT, NOT_NULL, conditional]))
    assert any("row conditions are not supported" in problem for problem in problems)


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (NOT_NULL | {"severity": "criticl"}, "criticl"),
        (NOT_NULL | {"sevrity": "warning"}, "sevrity"),
        ({"type": "expect_column_values_to_not_be_null", "notes": ""}, "kwargs"),
    ],
)
def test_unknown_keys_and_severities_are_refused(tmp_path, entry, named):
    """Great Expectations drops an entry with a misspelt severity without a word."""
    (problem,) = problems_of(write(tmp_path, [ROW_COUNT, entry]))
    assert named in problem


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """JSON readers keep the last of two equal keys; the reviewer may have read the first."""
    path = tmp_path / "suite.json"
    path.write_text('{"name": "a", "name": "b", "comment": [], "expectations": []}')
    (problem,) = problems_of(path)
    assert "name stands twice" in problem


def test_a_file_that_is_no_json_is_refused(tmp_path):
    """The message names the file and the place."""
    path = tmp_path / "suite.json"
    path.write_text("{")
    (problem,) = problems_of(path)
    assert "suite.json: not a usable suite" in problem


def test_several_files_are_one_suite(tmp_path):
    """The row count of one file and the demand for values of another count for all of them."""
    first = write(tmp_path, [ROW_COUNT, NOT_NULL]).rename(tmp_path / "first.json")
    second = write(tmp_path, [BETWEEN]).rename(tmp_path / "second.json")
    suite = read_suites([first, second], {"rows": 3})
    assert [ROW_COUNT["type"], NOT_NULL["type"], BETWEEN["type"]] == [
        written.type for written in suite.expectations
    ]
    with pytest.raises(ParamsError, match=r"second\.json, first\.json: a column|no effect"):
        read_suites([second], {"rows": 3})


@pytest.mark.parametrize("answers", ["class_labels", "targets", None])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_suites_of_the_project_are_sound(payload, answers):
    """Each kind of data and task can be judged with the bounds that the stage hands over, all put in words."""
    bounds = ["max_duplicate_share", "rows", "last_row", *(CLASS_BOUNDS if answers == "class_labels" else ())]
    names = ["samples", payload, *([answers] if answers else [])]
    suite = read_suites([SUITES / f"{name}.json" for name in names], dict.fromkeys(bounds, 1))
    assert len(suite.expectations) > 18
    assert all(written.notes.endswith(".") for written in suite.expectations)


def test_the_suite_of_columns_is_sound():
    """Channels and side features are judged in a table of their own."""
    suite = read_suite(SUITES / "columns.json", {"columns": 1})
    assert {"critical", "warning"} == {written.severity for written in suite.expectations}
