"""Refuse a split that would make the test lie: copies, groups, times and columns that know the answer.

Reads:
    data/interim/samples.parquet, data/interim/payload.npy, data/validate/duplicates.parquet,
    data/split/split.parquet.
Writes:
    reports/leaks/summary.json: `passed`, and every finding with its id;
    reports/leaks/findings.csv: every finding with all samples it is about.
Parameters:
    leaks, data.task, data.windows, split.method, validate (what a near duplicate is).
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.leaks.columns import column_findings, sum_findings, text_end_findings, word_findings
from pipeline.leaks.copies import exact_copy_findings, near_copy_findings, stretch_findings
from pipeline.leaks.findings import (
    Finding,
    LeakData,
    SignOff,
    WindowColumns,
    findings_csv,
    leak_refusal,
    leaks_summary,
    read_leak_data,
)
from pipeline.leaks.neighbours import draw_pairs, neighbour_findings
from pipeline.leaks.splits import (
    empty_split_findings,
    group_findings,
    scaled_findings,
    shift_findings,
    time_findings,
)
from pipeline.leaks.windows import window_column_findings
from pipeline.params.load import load_params
from pipeline.params.values import window_columns
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import write_json, write_text
from pipeline.runtime.stage import running_stage


def leaks(
    *,
    max_single_score: float,
    method: str,
    task: str = "classification",
    windows: WindowColumns | None = None,
    near_text_similarity: float | None = None,
    near_series_distance: float | None = None,
    accepted: Mapping[str, SignOff] | None = None,
) -> dict[str, Any]:
    """Look for leaks; the reports are written whether there are any or not.

    Args:
        max_single_score: AUC or R2 of one column above which it is refused.
        method: As in `split.method`.
        task: As in `data.task`.
        windows: Columns that windows read and predict; None where samples are whole.
        near_text_similarity: As in `validate`; None where samples are no texts.
        near_series_distance: As in `validate`; None where samples are no series.
        accepted: Id of a finding to what a person said about it, and up to which extent.

    Returns:
        The content of the summary.

    Raises:
        DataRefused: A finding is not accepted, or goes further than what was accepted; names it, its samples,
            and how to sign it off.
        InputMissing: A file is not there, or they are not of the same data.
    """
    data = read_leak_data(method, task, windows)
    signed = dict(accepted or {})
    checks: dict[str, Callable[[LeakData], list[Finding]]] = {
        "empty splits": empty_split_findings,
        "exact copies": exact_copy_findings,
        "near copies": lambda data: near_copy_findings(data, near_text_similarity, near_series_distance),
        "near neighbours": neighbour_findings,
        "copied stretches": stretch_findings,
        "groups": group_findings,
        "times": time_findings,
        "single columns": lambda data: column_findings(data, max_single_score),
        "single words": lambda data: word_findings(data, max_single_score),
        "ends of texts": lambda data: text_end_findings(data, max_single_score),
        "sums of columns": sum_findings,
        "columns of windows": lambda data: window_column_findings(data, max_single_score),
        "test against train": shift_findings,
        "scaled before the split": scaled_findings,
    }
    findings = [finding for check in checks.values() for finding in check(data)]
    summary = leaks_summary(findings, signed, list(checks))
    write_json(paths.LEAKS_SUMMARY, summary)
    write_text(paths.LEAKS_FINDINGS, findings_csv(findings, signed))
    draw_pairs(data, findings)
    if not summary["passed"]:
        raise DataRefused(leak_refusal(findings, signed, str(paths.LEAKS_FINDINGS)))
    return summary


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("leaks") as stage:
        params = load_params()
        columns = window_columns(params)
        summary = leaks(
            max_single_score=params.leaks.max_single_score,
            method=params.split.method,
            task=params.data.task,
            windows=WindowColumns(**columns) if columns else None,
            near_text_similarity=params.validate.near_text_similarity,
            near_series_distance=params.validate.near_series_distance,
            accepted={entry.finding: SignOff(entry.reason, entry.up_to) for entry in params.leaks.accepted},
        )
        stage.console.print(
            f"{len(summary['checks'])} checks, {len(summary['findings'])} findings, all of them signed off"
            if summary["findings"]
            else f"{len(summary['checks'])} checks, no leak found"
        )
        for name in summary["accepted_without_finding"]:
            stage.console.print(
                f"Warning: leaks.accepted names {name!r}, which was not found and has no effect. Remove it."
            )


if __name__ == "__main__":
    main()
