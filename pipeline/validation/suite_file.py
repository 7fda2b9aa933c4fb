"""Suites of expectations as files that a reviewer can read, and the rules that keep them from lying.

Great Expectations drops an expectation with a misspelt name without a word, and passes empty suites, empty
tables and empty columns. A suite file is therefore read strictly, and must itself demand a row count and
values in every column that it judges.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.runtime.strict_yaml import ParamsError

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
class Outcome:
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


def judged_column(written: WrittenExpectation) -> str | None:
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
        judged_column(written)
        for written in suite.expectations
        if written.type == NOT_NULL and written.severity == "critical" and set(written.kwargs) == {"column"}
    }
    judged = {judged_column(written) for written in suite.expectations} - {None}
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
