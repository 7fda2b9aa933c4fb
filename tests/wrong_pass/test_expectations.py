"""Great Expectations fails open; judging here does not."""

import great_expectations as gx
import numpy as np
import pandas as pd
import pytest

from pipeline.runtime.errors import ParamsError
from pipeline.validation.suites import Suite, WrittenExpectation, read_suite, validate_suite
from tests.helpers.synthetic_project import write_json


def plain_success(frame, *expectations):
    """Return whether plain Great Expectations is content; expectations are dicts as in a suite's JSON."""
    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("source")
        .add_dataframe_asset("asset")
        .add_batch_definition_whole_dataframe("all")
    ).get_batch({"dataframe": frame})
    return bool(batch.validate(gx.ExpectationSuite(name="suite", expectations=list(expectations))).success)


def judged(frame, *written):
    """Return the outcomes of Millrace's judging."""
    entries = [WrittenExpectation(notes="", severity="critical", lists=None, **entry) for entry in written]
    return validate_suite(Suite(name="suite", comment=[], expectations=entries), frame, "sample_id")


TABLE = pd.DataFrame({"sample_id": ["a", "b"], "x": [1.0, 99.0]})
ROWS = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}


def test_a_misspelt_expectation():
    """An expectation with a misspelt type in a suite.

    Plain: Great Expectations drops it without a word and the suite passes.
    Millrace: the suite is refused before anything runs, and the type that was meant is named.
    """
    misspelt = {"type": "expect_column_values_to_be_betwen", "kwargs": {"column": "x", "max_value": 5}}
    assert plain_success(TABLE, misspelt)
    with pytest.raises(ParamsError, match="Did you mean expect_column_values_to_be_between"):
        judged(TABLE, ROWS, misspelt)


def test_an_empty_suite(tmp_path):
    """A suite without expectations.

    Plain: Great Expectations passes it on any data.
    Millrace: the suite file is refused: it must demand something.
    """
    assert plain_success(TABLE)
    write_json(tmp_path / "suite.json", {"name": "suite", "comment": [], "expectations": []})
    with pytest.raises(ParamsError, match="would pass on any data"):
        read_suite(tmp_path / "suite.json", {})


def test_a_column_of_nothing_but_nan(tmp_path):
    """A range on a column that holds no number.

    Plain: Great Expectations passes it, since missing values are not looked at.
    Millrace: a suite that judges a column must also demand values in it, or it is refused.
    """
    between = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "x", "min_value": 0}}
    assert plain_success(TABLE.assign(x=np.nan), between)
    written = [entry | {"severity": "critical", "notes": "why"} for entry in (ROWS, between)]
    write_json(tmp_path / "suite.json", {"name": "suite", "comment": [], "expectations": written})
    with pytest.raises(ParamsError, match="a column without any value would pass"):
        read_suite(tmp_path / "suite.json", {})


def test_an_empty_table():
    """A table without rows.

    Plain: Great Expectations passes every expectation on columns.
    Millrace: there is nothing to judge, and that is an error.
    """
    between = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "x", "min_value": 0}}
    assert plain_success(TABLE.iloc[:0], between)
    with pytest.raises(ValueError, match="nothing to judge"):
        judged(TABLE.iloc[:0], ROWS, between)
