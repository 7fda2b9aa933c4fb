"""Run a suite of expectations on a table. The only importer of Great Expectations.

Its silence is never taken for consent: a name it does not know is refused before the run, as many results
must come back as were asked for, an expectation that raised has failed, and the failing rows of a condition
are counted a second time with pandas.
"""

import difflib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import ColumnAggregateExpectation

from pipeline.runtime.strict_yaml import ParamsError
from pipeline.validation.suite_file import ROW_COUNTS, Outcome, Suite, WrittenExpectation, judged_column

DECIMALS = 6


def judge(suite: Suite, table: pd.DataFrame, id_column: str) -> list[Outcome]:
    """Return one outcome per expectation of the suite, in its order.

    Args:
        suite: As `read_suite` returns it.
        table: One row per sample.
        id_column: Column with the name of each sample.

    Raises:
        ParamsError: An expectation that Great Expectations does not know, or would refuse; all of them at once.
        ValueError: The table is empty, or results are missing or contradict a second count.
    """
    if not suite.expectations:
        raise ParamsError(
            [f"{suite.name}: the suite is empty. Expected at least one expectation. Received: none."]
        )
    expectations = _build(suite)
    if table.empty:
        raise ValueError(
            f"{suite.name}: there is nothing to judge. Expected at least one row. Received: rows=0."
        )
    results = _results(expectations, table)
    return [
        _outcome(written, results[number], table, id_column)
        for number, written in enumerate(suite.expectations)
    ]


def _build(suite: Suite) -> list[gxe.Expectation]:
    built, problems = [], []
    for number, written in enumerate(suite.expectations):
        where = f"{suite.name}: expectation {number + 1} ({written.type})"
        name = "".join(part.capitalize() for part in written.type.split("_"))
        kind = getattr(gxe, name, None)
        if kind is None or not _is_supported(written.type, kind):
            guess = difflib.get_close_matches(written.type, [*CONDITIONS, *ROW_COUNTS], n=1, cutoff=0)[0]
            problems.append(
                f"{where} is not known here. Expected one of {', '.join([*CONDITIONS, *ROW_COUNTS])}, or an "
                f"expectation about a whole column. Received: type={written.type}. Did you mean {guess}?"
            )
            continue
        if written.severity not in ("critical", "warning", "info"):
            problems.append(
                f"{where} has an unknown severity. Expected critical, warning or info. "
                f"Received: severity={written.severity}."
            )
            continue
        try:
            # The order of results is not the order of the suite: each carries its number.
            built.append(kind(**written.kwargs, severity=written.severity, meta={"number": number}))
        except (ValueError, TypeError) as error:
            problems.append(f"{where} has arguments that do not fit. {' '.join(str(error).split())}.")
    if problems:
        raise ParamsError(problems)
    return built


def _is_supported(name: str, kind: Any) -> bool:
    return name in CONDITIONS or name in ROW_COUNTS or _is_about_whole_column(kind)


def _is_about_whole_column(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, ColumnAggregateExpectation)


def _results(expectations: list[gxe.Expectation], table: pd.DataFrame) -> dict[int, Any]:
    # What it logs about a failing expectation comes back in the result as well.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite(name="suite", expectations=expectations)
    validation = batch.validate(suite, result_format="SUMMARY")
    results = {result.expectation_config.meta["number"]: result for result in validation.results}
    if len(validation.results) != len(expectations) or sorted(results) != list(range(len(expectations))):
        raise ValueError(
            "Great Expectations did not run every expectation, so nothing was judged. "
            f"Expected {len(expectations)} results. Received: results={len(validation.results)}."
        )
    return results


def _outcome(written: WrittenExpectation, result: Any, table: pd.DataFrame, id_column: str) -> Outcome:
    error = _error(result.exception_info)
    if error:
        measured = f"could not be checked: {error}"
        return Outcome(written, success=False, observed=measured, measured=measured, failing=[])
    success = bool(result.success)
    if written.type in CONDITIONS:
        values = table[judged_column(written)]
        breaks = CONDITIONS[written.type](values, written.kwargs)
        _same_count(written, int(result.result["unexpected_count"]), int(breaks.sum()))
        observed: float | str = round(float(breaks.mean()), DECIMALS)
        measured = f"{breaks.mean():.2%} of rows break it{_range(values)}"
    else:
        breaks = _listed(written, table)
        value = result.result["observed_value"]
        observed = str(value) if value is None else round(float(value), DECIMALS)
        measured = str(value) if value is None else f"{observed:,}"
    failing = [] if success else table.loc[breaks.to_numpy(), id_column].astype(str).tolist()
    return Outcome(written, success, observed, measured, failing)


def _range(values: "pd.Series[Any]") -> str:
    if not pd.api.types.is_numeric_dtype(values) or values.isna().all():
        return ""
    return f"; values {values.min():,.6g} to {values.max():,.6g}"


def _error(exception_info: Mapping[str, Any]) -> str:
    """Return the first message of an expectation that raised, else an empty string.

    The information is one record, or one record per metric, depending on where it raised.
    """
    records = [exception_info] if "raised_exception" in exception_info else list(exception_info.values())
    raised = [str(record["exception_message"]).strip() for record in records if record["raised_exception"]]
    return min(raised, default="")


def _same_count(written: WrittenExpectation, theirs: int, ours: int) -> None:
    if theirs != ours:
        raise ValueError(
            f"{written.type} on {judged_column(written)}: two counts of the failing rows differ. "
            f"Received: great_expectations={theirs}, pandas={ours}. Please report this as a bug."
        )


def _listed(written: WrittenExpectation, table: pd.DataFrame) -> "pd.Series[bool]":
    if written.lists is None:
        return pd.Series(False, index=table.index)
    return table[written.lists] != 0


def _null(values: "pd.Series[Any]", _kwargs: Mapping[str, Any]) -> "pd.Series[bool]":
    return values.isna()


def _outside(values: "pd.Series[Any]", kwargs: Mapping[str, Any]) -> "pd.Series[bool]":
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    outside = pd.Series(False, index=values.index)
    if low is not None:
        outside |= values <= low if kwargs.get("strict_min") else values < low
    if high is not None:
        outside |= values >= high if kwargs.get("strict_max") else values > high
    return outside


def _repeated(values: "pd.Series[Any]", _kwargs: Mapping[str, Any]) -> "pd.Series[bool]":
    return values.duplicated(keep=False) & values.notna()


def _not_in_set(values: "pd.Series[Any]", kwargs: Mapping[str, Any]) -> "pd.Series[bool]":
    return ~values.isin(kwargs["value_set"]) & values.notna()


def _not_matching(values: "pd.Series[Any]", kwargs: Mapping[str, Any]) -> "pd.Series[bool]":
    return ~values.astype(str).str.contains(kwargs["regex"]).astype(bool) & values.notna()


CONDITIONS: dict[str, Callable[["pd.Series[Any]", Mapping[str, Any]], "pd.Series[bool]"]] = {
    "expect_column_values_to_not_be_null": _null,
    "expect_column_values_to_be_between": _outside,
    "expect_column_values_to_be_unique": _repeated,
    "expect_column_values_to_be_in_set": _not_in_set,
    "expect_column_values_to_match_regex": _not_matching,
}
"""Conditions on single rows, and which rows break them. Asking Great Expectations for the rows costs 50 us each."""
