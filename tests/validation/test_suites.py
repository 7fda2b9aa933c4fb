"""Running a suite: what Great Expectations passes over in silence is refused here."""

import numpy as np
import pandas as pd
import pytest

from pipeline.runtime.errors import ParamsError
from pipeline.validation import suites
from pipeline.validation.suites import Suite, WrittenExpectation, validate_suite


def written(name, *, severity="critical", lists=None, **kwargs):
    """Return an expectation as from a suite file."""
    return WrittenExpectation(type=name, kwargs=kwargs, notes=name, severity=severity, lists=lists)


def suite(*entries):
    """Return a suite of these expectations."""
    return Suite(name="suite", comment=[], expectations=list(entries))


def table(**columns):
    """Return a table with ids a, b, c, ... and these columns."""
    length = len(next(iter(columns.values())))
    return pd.DataFrame({"sample_id": list("abcdefgh"[:length]), **columns})


ROWS = "expect_table_row_count_to_equal"
NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"


def judge_one(entry, frame):
    """Return the outcome of one expectation."""
    (outcome,) = validate_suite(suite(entry), frame, "sample_id")
    return outcome


def test_outcomes_come_in_the_order_of_the_suite():
    """Great Expectations returns results in an order of its own; a raised one comes first."""
    entries = [
        written(ROWS, value=3),
        written(NOT_NULL, column="x"),
        written(BETWEEN, column="x", min_value=2),
        written(BETWEEN, column="nowhere", min_value=2),
        written("expect_column_mean_to_be_between", column="x", max_value=5),
    ]
    outcomes = validate_suite(suite(*entries), table(x=[1, 2, 3]), "sample_id")
    assert entries == [outcome.written for outcome in outcomes]
    assert [outcome.success for outcome in outcomes] == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("entry", "values", "failing"),
    [
        (written(NOT_NULL, column="x"), [1.0, None, 3.0], ["b"]),
        (written(BETWEEN, column="x", min_value=2), [1, 2, 3], ["a"]),
        (written(BETWEEN, column="x", max_value=2), [1, 2, 3], ["c"]),
        (written(BETWEEN, column="x", min_value=1, strict_min=True), [1, 2, 3], ["a"]),
        (written(BETWEEN, column="x", max_value=3, strict_max=True), [1, 2, 3], ["c"]),
        (written(BETWEEN, column="x", min_value=2), [1.0, np.nan, 3.0], ["a"]),
        (written("expect_column_values_to_be_unique", column="x"), ["u", "v", "u"], ["a", "c"]),
        (written("expect_column_values_to_be_in_set", column="x", value_set=["u"]), ["u", "v", None], ["b"]),
        (written("expect_column_values_to_match_regex", column="x", regex="^u"), ["u", "v", None], ["b"]),
        (written(BETWEEN, column="x", min_value=2, mostly=0.9), [1, 1, 3], ["a", "b"]),
    ],
)
def test_failing_samples_are_named(entry, values, failing):
    """Exactly the samples that break the condition are named, for every supported condition."""
    outcome = judge_one(entry, table(x=values))
    assert not outcome.success
    assert outcome.refuses
    assert failing == outcome.failing
    assert outcome.observed == pytest.approx(len(failing) / 3, abs=1e-6)


def test_a_met_expectation_names_nobody():
    """`mostly` lets single rows pass; they are counted but not named."""
    outcome = judge_one(written(BETWEEN, column="x", min_value=2, mostly=0.6), table(x=[1, 2, 3]))
    assert outcome.success
    assert outcome.failing == []
    assert outcome.observed == 0.333333


def test_a_column_expectation_names_the_rows_of_its_list():
    """A failing mean names the samples whose `lists` column is not zero."""
    entry = written("expect_column_mean_to_be_between", column="x", max_value=0.1, lists="x")
    outcome = judge_one(entry, table(x=[0, 1, 1, 0]))
    assert outcome.observed == 0.5
    assert outcome.failing == ["b", "c"]


def test_a_warning_does_not_refuse():
    """Only critical failures stop the pipeline."""
    outcome = judge_one(written(BETWEEN, column="x", min_value=2, severity="warning"), table(x=[1, 2]))
    assert not outcome.success
    assert not outcome.refuses


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (
            written("expect_column_values_to_be_betwen", column="x", min_value=2),
            "Did you mean expect_column_values",
        ),
        (written(BETWEEN, colum="x", min_value=2), "colum"),
        (written(BETWEEN, column="x", min_value=2, mostly=3), "mostly"),
        (written(BETWEEN, column="x"), "min_value and max_value"),
        (written(NOT_NULL, column="x", severity="criticl"), "criticl"),
        (written("Expectation"), "not known here"),
        (written("expect_column_values_to_be_null", column="x"), "not known here"),
    ],
)
def test_what_great_expectations_would_drop_is_refused(entry, named):
    """A misspelt type, argument or severity is refused before anything runs, not dropped silently."""
    with pytest.raises(ParamsError) as error:
        validate_suite(suite(written(ROWS, value=2), entry), table(x=[1, 2]), "sample_id")
    (problem,) = error.value.problems
    assert named in problem
    assert "expectation 2" in problem


def test_all_unknown_expectations_are_reported_at_once():
    """Two mistakes are two messages of one run."""
    with pytest.raises(ParamsError) as error:
        validate_suite(suite(written("expect_a"), written("expect_b")), table(x=[1]), "sample_id")
    assert len(error.value.problems) == 2


def test_an_empty_suite_is_refused():
    """An empty suite would succeed on any data."""
    with pytest.raises(ParamsError, match="empty"):
        validate_suite(suite(), table(x=[1]), "sample_id")


def test_an_empty_table_is_refused():
    """Every condition holds on no row at all; that is not a pass."""
    with pytest.raises(ValueError, match="nothing to judge"):
        validate_suite(suite(written(NOT_NULL, column="x")), table(x=[1]).iloc[:0], "sample_id")


def test_an_all_nan_column_fails_by_its_demand_for_values():
    """A range holds on a column of nothing but NaN; the demand for values beside it does not."""
    entries = [written(NOT_NULL, column="x"), written(BETWEEN, column="x", min_value=2)]
    outcomes = validate_suite(suite(*entries), table(x=[np.nan] * 3), "sample_id")
    assert [outcome.success for outcome in outcomes] == [False, True]
    assert outcomes[0].failing == ["a", "b", "c"]


def test_an_expectation_that_raised_has_failed():
    """A missing column makes it impossible to check; that is a failure with the reason, not a pass."""
    outcome = judge_one(written(BETWEEN, column="nowhere", min_value=2), table(x=[1]))
    assert not outcome.success
    assert "could not be checked" in outcome.observed
    assert "nowhere" in outcome.observed


def test_a_mean_of_text_has_failed():
    """A number that cannot be computed is a failure."""
    outcome = judge_one(
        written("expect_column_mean_to_be_between", column="x", max_value=2), table(x=["u", "v"])
    )
    assert not outcome.success
    assert "could not be checked" in outcome.observed


def test_missing_results_are_noticed(monkeypatch):
    """As many results must come back as expectations were written."""
    build = suites._build
    monkeypatch.setattr(suites.gx, "ExpectationSuite", lambda name, expectations: _Short(name, expectations))
    assert len(build(suite(written(ROWS, value=1), written(NOT_NULL, column="x")))) == 2
    with pytest.raises(ValueError, match="did not run every expectation"):
        validate_suite(
            suite(written(ROWS, value=1), written(NOT_NULL, column="x")), table(x=[1]), "sample_id"
        )


class _Short(suites.gx.ExpectationSuite):
    """A suite that loses its last expectation, as Great Expectations does with a misspelt one."""

    def __init__(self, name, expectations):
        super().__init__(name=name, expectations=expectations[:-1])


def test_a_contradiction_between_two_counts_is_noticed(monkeypatch):
    """Great Expectations and pandas must count the same failing rows."""
    monkeypatch.setitem(suites.CONDITIONS, NOT_NULL, lambda values, _: values.notna())
    with pytest.raises(ValueError, match="two counts of the failing rows differ"):
        judge_one(written(NOT_NULL, column="x"), table(x=[1.0, None, None]))
