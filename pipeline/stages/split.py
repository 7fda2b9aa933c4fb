"""Say who trains, who chooses and who judges.

Reads:
    data/interim/samples.parquet, data/validate/duplicates.parquet, reports/validate/summary.json.
Writes:
    data/split/split.parquet: sample_id, row, label, target, split (train, val, test or excluded), start, stop.
        One line per sample in order of row, with start 0 and stop its length; of series that windows slide
        over one line per segment, with its steps counted in the series.
    reports/split/summary.json: counts per class and split, and the audit of overlap.
Parameters:
    split, data.task, data.windows.
"""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.label_sets import labels_in
from pipeline.params.load import load_params
from pipeline.params.sections import Windows
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import atomic_path, read_json, write_json
from pipeline.runtime.stage import running_stage
from pipeline.splits import by_hash
from pipeline.splits.assignment import (
    Assigned,
    Columns,
    assign_by_time,
    assign_by_units,
    assignment_problems,
    split_summary,
)
from pipeline.splits.by_time import Boundaries

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("row", pa.int32()),
        ("label", pa.string()),
        ("target", pa.float64()),
        ("split", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
    ]
)
READ = ["sample_id", "row", "label", "target", "given_split", "group", "time", "length", "step_seconds"]


def split(
    method: str,
    val_share: float,
    test_share: float,
    salt: str,
    *,
    task: str = "classification",
    windows: tuple[int, int] | None = None,
    val_start: str | None = None,
    test_start: str | None = None,
    test_end: str | None = None,
    embargo: int = 0,
) -> dict[str, Any]:
    """Assign every sample to a split and write the table.

    Args:
        method: `stratified` (by hash), `group` (by hash of the group), `time`, or `given` (by the source).
        val_share: Expected share of val.
        test_share: Expected share of test.
        salt: Another salt draws another split.
        task: What is asked of the data, as in `data.task`.
        windows: Steps of history and steps ahead of a window; None where samples are whole.
        val_start: Method time: ISO 8601, the first time of val; the shares decide without it.
        test_start: The same for test.
        test_end: Method time: from here on nothing is used.
        embargo: Method time: samples (or steps of a series) left out at the end of train and of val.

    Returns:
        The content of the summary.

    Raises:
        DataRefused: The data did not pass `validate`, or cannot be split like this.
    """
    if read_json(paths.VALIDATE_SUMMARY, made_by="validate")["passed"] is not True:
        raise DataRefused(
            f"The data did not pass validation. Expected passed=true in {paths.VALIDATE_SUMMARY}. "
            f"See {paths.VALIDATE_HTML}, then run `dvc repro validate`."
        )
    samples = _read_samples()
    if task == "multilabel":
        samples = {**samples, "labels": [labels_in(cell) for cell in samples["label"]]}
    try:
        if method == "time":
            boundaries = Boundaries(val_share, test_share, val_start, test_start, test_end, embargo)
            assigned = assign_by_time(samples, boundaries, windows)
        else:
            assigned = assign_by_units(method, samples, val_share=val_share, test_share=test_share, salt=salt)
    except ValueError as error:
        raise DataRefused(str(error)) from error
    problems = assignment_problems(method, samples, assigned, salt=salt, task=task)
    if problems:
        raise DataRefused("\n".join(["The data cannot be split like this:", *problems]))
    leaks = by_hash.shared_clusters(assigned.units, assigned.splits)
    if leaks:
        raise RuntimeError(f"{leaks} clusters of copies stand in more than one split. Expected 0.")
    table = _table(samples, assigned)
    with atomic_path(paths.SPLIT_PARQUET) as temporary:
        pq.write_table(table, temporary)
    summary = split_summary(method, samples, assigned, task)
    write_json(paths.SPLIT_SUMMARY, summary)
    return summary


def _table(samples: Columns, assigned: Assigned) -> pa.Table:
    names = ("sample_id", "row", "label", "target")
    if not assigned.segments:
        columns = [samples[name] for name in names]
        columns += [assigned.splits.tolist(), [0] * len(samples["row"]), samples["length"]]
        return pa.table(columns, schema=SCHEMA)
    parts = assigned.segments
    columns = [[samples[name][part.series] for part in parts] for name in names]
    columns += [[getattr(part, name) for part in parts] for name in ("split", "start", "stop")]
    return pa.table(columns, schema=SCHEMA)


def _read_samples() -> Columns:
    """Return the columns this stage needs, in order of row, without the cost of importing pandas."""
    samples = _read_table(paths.SAMPLES_PARQUET, READ, "ingest")
    duplicates = _read_table(paths.DUPLICATES_PARQUET, ["sample_id", "cluster"], "validate")
    joined: dict[str, list[Any]] = (
        samples.join(duplicates, "sample_id", join_type="full outer").sort_by("row").to_pydict()
    )
    strangers = None in joined["row"] or None in joined["cluster"] or len(joined["row"]) != len(samples)
    if strangers:
        raise DataRefused(
            f"{paths.DUPLICATES_PARQUET} does not belong to {paths.SAMPLES_PARQUET}. Expected the same sample ids. "
            f"Received: {len(samples)} samples, {len(duplicates)} rows of duplicates. Run `dvc repro validate`."
        )
    joined["target"] = [math.nan if value is None else value for value in joined["target"]]
    return joined


def _read_table(path: Path, columns: list[str], made_by: str) -> pa.Table:
    if not path.is_file():
        raise InputMissing(f"{path} does not exist. Run `dvc repro {made_by}`.")
    absent = sorted(set(columns) - set(pq.read_schema(path).names))
    if absent:
        raise InputMissing(
            f"{path} was written by another version. Expected columns {', '.join(columns)}. "
            f"Received: none named {', '.join(absent)}. Run `dvc repro {made_by}`."
        )
    return pq.read_table(path, columns=columns)


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("split") as stage:
        params = load_params()
        settings = params.split
        summary = split(
            settings.method,
            settings.val_share,
            settings.test_share,
            settings.salt,
            task=params.data.task,
            windows=_window(params.data.windows),
            val_start=settings.val_start,
            test_start=settings.test_start,
            test_end=settings.test_end,
            embargo=settings.embargo,
        )
        noun = "steps" if summary["steps"] else "samples"
        counts = ", ".join(f"{count} {name}" for name, count in summary[noun].items() if count)
        classes = f"{len(summary['classes'])} classes, " if summary["classes"] else ""
        stage.console.print(f"{classes}{noun}: {counts}")


def _window(windows: Windows | None) -> tuple[int, int] | None:
    return None if windows is None else (windows.length, windows.horizon)


if __name__ == "__main__":
    main()
