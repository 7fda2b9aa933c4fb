"""Judge every sample, find duplicates and label conflicts, and stop here if the data is not fit.

Reads:
    data/interim/samples.parquet, data/interim/payload.npy, pipeline/validation/suites/*.json.
Writes:
    data/validate/statistics.parquet: one row per sample, what was measured on its image, text or series;
    data/validate/duplicates.parquet: one row per sample, its cluster of copies;
    reports/validate/summary.json: `passed`, and the figures behind it;
    reports/validate/failing.csv: one line per sample and expectation it breaks;
    reports/validate/report.html: the same to look at, one file, offline.
Parameters:
    validate; data.task and data.windows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.samples import TableFacts, read_samples, table_facts
from pipeline.params.load import load_params
from pipeline.params.sections import CLASS_BOUNDS, WITH_CLASSES
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import atomic_path, write_json, write_text
from pipeline.runtime.stage import running_stage
from pipeline.validation.facts import column_facts, failing_csv, sample_facts, summary_of, validation_refusal
from pipeline.validation.images import profile_images
from pipeline.validation.profile import DataProfile
from pipeline.validation.report import validation_report
from pipeline.validation.series import channel_problems, profile_series
from pipeline.validation.suites import ExpectationResult, read_suites, validate_suite
from pipeline.validation.texts import profile_texts

SUITES = Path(__file__).parent.parent / "validation/suites"
MOST_NAMED = 5


def validate(
    bounds: Mapping[str, float],
    near: Mapping[str, float],
    task: str = "classification",
    windows: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """Judge the data; the reports are written whether it passes or not.

    Args:
        bounds: Bounds of the suites by name; those of classes are used where the task has some.
        near: When two samples are near duplicates, by name; each kind of data uses its own.
        task: `classification`, `multilabel`, `regression`, `forecasting` or `anomaly`.
        windows: For windows over series: the channels that are `targets`, and those that are `known` in advance.

    Returns:
        The content of the summary.

    Raises:
        DataRefused: A critical expectation is not met, or payload and table do not fit.
        ParamsError: A suite cannot be used.
    """
    samples = read_samples().sort_values("row", ignore_index=True)
    about = table_facts()
    _check_channels(about, windows)
    found = _examine(samples, about, near, windowed=windows is not None)
    answers = _answers(task, windowed=windows is not None)
    facts = sample_facts(samples, found.statistics, found.duplicates, answers, several=task == "multilabel")
    targets = windows["targets"] if windows else ()
    columns = column_facts(samples, about.side, about.channels, found.sums, targets)
    outcomes = _validate_samples(facts, about.payload, answers, bounds)
    column_outcomes = _validate_columns(columns)

    measured = ["sample_id", *found.statistics, "height_original", "width_original"]
    _write_parquet(paths.STATISTICS_PARQUET, facts[measured])
    _write_parquet(paths.DUPLICATES_PARQUET, facts[["sample_id", "cluster", "exact_copies", "near_copies"]])
    summary = summary_of(facts, outcomes, columns, column_outcomes)
    write_json(paths.VALIDATE_SUMMARY, summary)
    write_text(paths.VALIDATE_FAILING, failing_csv(facts, outcomes))
    report = validation_report(
        facts,
        found.show,
        outcomes,
        description=found.description,
        columns=columns,
        column_outcomes=column_outcomes,
        pixelated=found.pixelated,
    )
    write_text(paths.VALIDATE_HTML, report)
    if not summary["passed"]:
        raise DataRefused(validation_refusal(outcomes, column_outcomes))
    return summary


def _check_channels(about: TableFacts, windows: Mapping[str, tuple[str, ...]] | None) -> None:
    wanted = [*windows["targets"], *windows["known"]] if windows else []
    problems = channel_problems(tuple(about.channels), tuple(wanted))
    if problems:
        raise DataRefused("\n".join(problems))


def _examine(
    samples: pd.DataFrame, about: TableFacts, near: Mapping[str, float], *, windowed: bool
) -> DataProfile:
    if not paths.PAYLOAD_NPY.is_file():
        raise InputMissing(f"{paths.PAYLOAD_NPY} does not exist. Run `dvc repro ingest`.")
    payload: np.ndarray = np.load(paths.PAYLOAD_NPY, mmap_mode="r")
    if about.payload == "image":
        return profile_images(samples, payload, near)
    if about.payload == "text":
        return profile_texts(samples, payload, near)
    return profile_series(
        samples, payload, near, about.channels, has_anomalies=about.has_anomalies, windowed=windowed
    )


def _answers(task: str, *, windowed: bool) -> str | None:
    """Return the column with what a model learns to say of a whole sample, None if there is none."""
    if task in WITH_CLASSES:
        return "label"
    return "target" if task == "regression" and not windowed else None


def _validate_samples(
    facts: pd.DataFrame, payload: str, answers: str | None, bounds: Mapping[str, float]
) -> list[ExpectationResult]:
    names = ["samples", f"{payload}_samples"]
    names += {"label": ["class_labels"], "target": ["targets"], None: []}[answers]
    used = {name: value for name, value in bounds.items() if answers == "label" or name not in CLASS_BOUNDS}
    rows = {"rows": len(facts), "last_row": len(facts) - 1}
    suite = read_suites([SUITES / f"{name}.json" for name in names], used | rows)
    return validate_suite(suite, facts, id_column="sample_id")


def _validate_columns(columns: pd.DataFrame) -> list[ExpectationResult]:
    if columns.empty:
        return []
    suite = read_suites([SUITES / "columns.json"], {"columns": len(columns)})
    return validate_suite(suite, columns, id_column="column")


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    # pandas 3 makes `large_string`, which Arrow does not join with the `string` of the sample table.
    fields = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in table.schema
    ]
    with atomic_path(path) as temporary:
        pq.write_table(table.cast(pa.schema(fields)), temporary)


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("validate") as stage:
        params = load_params()
        settings, windows = params.validate, params.data.windows
        bounds = {
            "min_samples_per_class": settings.min_samples_per_class,
            "max_class_ratio": settings.max_class_ratio,
            "max_label_conflicts": settings.max_label_conflicts,
            "max_duplicate_share": settings.max_duplicate_share,
        }
        near = {
            "near_hash_distance": settings.near_hash_distance,
            "near_pixel_difference": settings.near_pixel_difference,
            "near_text_similarity": settings.near_text_similarity,
            "near_series_distance": settings.near_series_distance,
        }
        summary = validate(
            # `check` has refused a missing one that this kind of data needs.
            {name: value for name, value in bounds.items() if value is not None},
            {name: value for name, value in near.items() if value is not None},
            params.data.task,
            None
            if windows is None
            else {"targets": windows.targets, "known": windows.known + windows.known_categorical},
        )
        judged = summary["expectations"]
        classes = f", {len(summary['classes'])} classes" if "classes" in summary else ""
        stage.console.print(
            f"{summary['samples']:,} samples{classes}: {judged['met']} of "
            f"{judged['judged']} expectations met, {judged['warnings']} warnings. Report: {paths.VALIDATE_HTML}"
        )
        for line in warning_lines(summary):
            stage.console.print(line, markup=False, highlight=False)


def warning_lines(summary: dict[str, Any]) -> list[str]:
    """Return a line for each warning: what was expected, and of which columns or of how many samples it is not so."""
    lines = []
    for found in summary["not_met"]:
        columns = summary.get("columns", {}).get(found["column"], [])
        of = (
            f"column {', '.join(columns[:MOST_NAMED])}"
            if columns
            else f"{found['failing_samples']:,} samples"
        )
        lines.append(f"Warning, {of}: expected: {found['demand']}")
    return lines


if __name__ == "__main__":
    main()
