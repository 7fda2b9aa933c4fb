"""Run a suite of expectations on a table. The only importer of Great Expectations.

Its silence is never taken for consent: a name it does not know is refused before the run, as many results
must come back as were asked for, an expectation that raised has failed, and the failing rows of a condition
are counted a second time with pandas.
"""

import difflib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import great_expectations as gx
import great_expectations.expectations as gxe
import msgspec
import pandas as pd
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import ColumnAggregateExpectation

from pipeline.runtime.errors import ParamsError

# --- Suites of expectations as files that a reviewer can read, and the rules that keep them from lying.
#
# Great Expectations drops an expectation with a misspelt name without a word, and passes empty suites, empty
# tables and empty columns. A suite file is therefore read strictly, and must itself demand a row count and
# values in every column that it judges.

ROW_COUNTS = ("expect_table_row_count_to_equal", "expect_table_row_count_to_be_between")
NOT_NULL = "expect_column_values_to_not_be_null"
PLACEHOLDER = "$PARAMETER"


class WrittenExpectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of a suite file."""

    type: str
    """Name in Great Expectations, `expect_column_values_to_be_between`."""
    kwargs: dict[str, Any]
    """Arguments in Great Expectations; after `read_suite` without placeholders."""
    notes: str
    """The demand in words."""
    fix: str = ""
    """What to do when it fails."""
    severity: Literal["critical", "warning", "info"] = "critical"
    """Only a critical failure refuses the data."""
    lists: str | None = None
    """For an expectation about a whole column: where this column is not zero, the sample is named."""


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A suite file."""

    name: str
    comment: list[str]
    """For the reader of the file."""
    expectations: list[WrittenExpectation]


@dataclass(frozen=True)
class ExpectationResult:
    """What became of one expectation.

    Attributes:
        written: The expectation as in the suite file, bounds filled in.
        success: Whether the data meets it; False if it could not be checked.
        observed: What was measured: a number for a whole column, the share of rows that break a condition,
            or why it could not be checked.
        measured: The same in words.
        failing: Ids of the samples that break it, in table order; empty on success.
    """

    written: WrittenExpectation
    success: bool
    observed: float | str
    measured: str
    failing: list[str]

    @property
    def refuses(self) -> bool:
        """Return whether this failure stops the pipeline."""
        return not self.success and self.written.severity == "critical"


def read_suite(path: Path, bounds: Mapping[str, float]) -> Suite:
    """Return a suite with the bounds filled in; see `read_suites`."""
    return read_suites([path], bounds)


def read_suites(paths: Sequence[Path], bounds: Mapping[str, float]) -> Suite:
    """Return one suite of several files about one table, with the bounds filled in.

    Args:
        paths: JSON files as `pipeline/validation/suites/samples.json` explains them.
        bounds: Value per name that the files may use as `{"$PARAMETER": name}`; all must be used.

    Raises:
        ParamsError: With every problem of the files: not JSON, unknown keys or severities, no expectations,
            a placeholder nobody knows, a bound nobody uses, no row count, a column without a demand for values.
        FileNotFoundError: There is no such file.
    """
    suites = [_read(path) for path in paths]
    used: set[str] = set()
    problems = []
    for path, suite in zip(paths, suites, strict=True):
        problems += [f"{path.name}: {problem}" for problem in _placeholder_problems(suite, bounds, used)]
    every = [written for suite in suites for written in suite.expectations]
    together = msgspec.structs.replace(suites[0], expectations=every)
    names = ", ".join(path.name for path in paths)
    problems += [f"{names}: {problem}" for problem in [*_gaps(together), *_unused(bounds, used)]]
    if problems:
        raise ParamsError(problems)
    filled = [msgspec.structs.replace(written, kwargs=_fill(written.kwargs, bounds)) for written in every]
    return msgspec.structs.replace(together, expectations=filled)


def _read(path: Path) -> Suite:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repetition)
        return msgspec.convert(content, Suite, strict=True)
    except (ValueError, msgspec.ValidationError) as error:
        raise ParamsError([f"{path.name}: not a usable suite. {error}. Correct the file."]) from error


def tested_column(written: WrittenExpectation) -> str | None:
    """Return the column an expectation is about, None for the table as a whole."""
    return written.kwargs.get("column")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise ValueError(f"key {', '.join(repeated)} stands twice in one entry")
    return dict(pairs)


def _placeholder_problems(suite: Suite, bounds: Mapping[str, float], used: set[str]) -> Iterator[str]:
    for number, written in enumerate(suite.expectations, start=1):
        for argument, value in written.kwargs.items():
            if not isinstance(value, dict):
                continue
            name = str(value.get(PLACEHOLDER))
            if set(value) != {PLACEHOLDER} or name not in bounds:
                yield (
                    f"expectation {number} ({written.type}): `{argument}` names no known bound. "
                    f"Expected one of {', '.join(bounds)}. Received: {value}. Correct the name."
                )
            else:
                used.add(name)


def _unused(bounds: Mapping[str, float], used: set[str]) -> Iterator[str]:
    for name in sorted(set(bounds) - used):
        yield (
            f"the bound `{name}` of params.yaml would have no effect. Expected an expectation that uses it. "
            f'Received: none. Add one with {{"{PLACEHOLDER}": "{name}"}}.'
        )


def _gaps(suite: Suite) -> Iterator[str]:
    """Yield where the suite would pass on nothing."""
    if not suite.expectations:
        yield "the suite is empty and would pass on any data. Expected at least one expectation. Received: none."
        return
    if not any(written.type in ROW_COUNTS for written in suite.expectations):
        yield f"an empty table would pass. Expected one of {', '.join(ROW_COUNTS)}. Received: none. Add one."
    conditional = sorted(
        {written.type for written in suite.expectations if "row_condition" in written.kwargs}
    )
    if conditional:
        yield (
            "row conditions are not supported: a condition that matches no row passes. Expected expectations on "
            f"all rows. Received: {', '.join(conditional)} with row_condition. Remove it."
        )
    demanded = {
        tested_column(written)
        for written in suite.expectations
        if written.type == NOT_NULL and written.severity == "critical" and set(written.kwargs) == {"column"}
    }
    judged = {tested_column(written) for written in suite.expectations} - {None}
    for column in sorted(judged - demanded, key=str):
        yield (
            f"a column without any value would pass. Expected a critical {NOT_NULL} for every judged column. "
            f"Received: column={column} without one. Add it."
        )


def _fill(kwargs: dict[str, Any], bounds: Mapping[str, float]) -> dict[str, Any]:
    return {
        argument: bounds[value[PLACEHOLDER]] if isinstance(value, dict) else value
        for argument, value in kwargs.items()
    }


# --- Run a suite of expectations on a table.

DECIMALS = 6


def validate_suite(suite: Suite, table: pd.DataFrame, id_column: str) -> list[ExpectationResult]:
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


def _outcome(
    written: WrittenExpectation, result: Any, table: pd.DataFrame, id_column: str
) -> ExpectationResult:
    error = _error(result.exception_info)
    if error:
        measured = f"could not be checked: {error}"
        return ExpectationResult(written, success=False, observed=measured, measured=measured, failing=[])
    success = bool(result.success)
    if written.type in CONDITIONS:
        values = table[tested_column(written)]
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
    return ExpectationResult(written, success, observed, measured, failing)


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
            f"{written.type} on {tested_column(written)}: two counts of the failing rows differ. "
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
