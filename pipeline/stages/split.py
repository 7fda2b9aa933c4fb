"""Say who trains, who chooses and who judges.

Reads:
    data/interim/samples.parquet, data/validate/duplicates.parquet, reports/validate/summary.json.
Writes:
    data/split/split.parquet: sample_id, row, label, split (train, val, test or excluded), in order of row;
    reports/split/summary.json: counts per class and split, and the audit of overlap.
Parameters:
    split.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import paths, runtime, splits
from pipeline.artifacts import atomic_path, read_json, write_json
from pipeline.config import load_params

SCHEMA = pa.schema(
    [("sample_id", pa.string()), ("row", pa.int32()), ("label", pa.string()), ("split", pa.string())]
)


def split(method: str, val_share: float, test_share: float, salt: str) -> dict[str, Any]:
    """Assign every sample to a split and write the table.

    Args:
        method: `stratified` (by hash) or `given` (by the source).
        val_share: Expected share of val.
        test_share: Expected share of test.
        salt: Another salt draws another split.

    Returns:
        The content of the summary.

    Raises:
        DataRefused: The data did not pass `validate`, or cannot be split like this.
    """
    if read_json(paths.VALIDATE_SUMMARY, made_by="validate")["passed"] is not True:
        raise runtime.DataRefused(
            f"The data did not pass validation. Expected passed=true in {paths.VALIDATE_SUMMARY}. "
            f"See {paths.VALIDATE_HTML}, then run `dvc repro validate`."
        )
    samples = _read_samples()
    labels, clusters = samples["label"], samples["cluster"]
    shares = {"val": val_share, "test": test_share}
    try:
        if method == "given":
            assigned = splits.assign_given(samples["given_split"], clusters, salt=salt, **_keywords(shares))
            drawn = {name: share for name, share in shares.items() if name not in samples["given_split"]}
        else:
            assigned = splits.assign_by_hash(clusters, salt=salt, **_keywords(shares))
            drawn = shares | {"train": 1 - val_share - test_share}
    except ValueError as error:
        raise runtime.DataRefused(str(error)) from error
    problems = splits.presence_problems(labels, clusters, assigned, shares=drawn, salt=salt)
    if problems:
        raise runtime.DataRefused("\n".join(["The data cannot be split like this:", *problems]))
    leaks = splits.shared_clusters(clusters, assigned)
    if leaks:
        raise RuntimeError(f"{leaks} clusters of copies stand in more than one split. Expected 0.")
    with atomic_path(paths.SPLIT_PARQUET) as temporary:
        columns = [samples["sample_id"], samples["row"], labels, assigned.tolist()]
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary)
    summary = _summary(method, labels, clusters, assigned, samples["given_split"])
    write_json(paths.SPLIT_SUMMARY, summary)
    return summary


def _keywords(shares: dict[str, float]) -> dict[str, float]:
    return {f"{name}_share": share for name, share in shares.items()}


def _read_samples() -> dict[str, list[Any]]:
    """Return the columns this stage needs, in order of row, without the cost of importing pandas."""
    names = ["sample_id", "row", "label", "given_split"]
    samples = _read_table(paths.SAMPLES_PARQUET, names, "ingest")
    duplicates = _read_table(paths.DUPLICATES_PARQUET, ["sample_id", "cluster"], "validate")
    joined: dict[str, list[Any]] = (
        samples.join(duplicates, "sample_id", join_type="full outer").sort_by("row").to_pydict()
    )
    if any(None in column for column in joined.values()) or len(joined["row"]) != len(samples):
        raise runtime.DataRefused(
            f"{paths.DUPLICATES_PARQUET} does not belong to {paths.SAMPLES_PARQUET}. Expected the same sample ids. "
            f"Received: {len(samples)} samples, {len(duplicates)} rows of duplicates. Run `dvc repro validate`."
        )
    return joined


def _read_table(path: Path, columns: list[str], made_by: str) -> pa.Table:
    if not path.is_file():
        raise runtime.InputMissing(f"{path} does not exist. Run `dvc repro {made_by}`.")
    return pq.read_table(path, columns=columns)


def _summary(
    method: str, labels: list[str], clusters: list[str], assigned: np.ndarray, given: list[str]
) -> dict[str, Any]:
    counts = Counter(assigned.tolist())
    excluded = Counter(name for name, own in zip(given, assigned, strict=True) if own == splits.EXCLUDED)
    return {
        "method": method,
        "samples": {name: counts[name] for name in (*splits.SPLITS, splits.EXCLUDED)},
        "shares": {name: round(counts[name] / len(labels), 6) for name in splits.SPLITS},
        "classes": splits.class_counts(labels, assigned),
        "overlap": {
            "clusters_in_two_splits": splits.shared_clusters(clusters, assigned),
            "excluded_copies_given_as": {name: excluded[name] for name in splits.SPLITS},
        },
        "clusters": len(set(clusters)),
        "largest_cluster": max(Counter(clusters).values()),
    }


def main() -> None:
    """Run the stage from the command line."""
    with runtime.stage("split") as stage:
        settings = load_params().split
        summary = split(settings.method, settings.val_share, settings.test_share, settings.salt)
        counts = ", ".join(f"{count} {name}" for name, count in summary["samples"].items() if count)
        stage.console.print(f"{len(summary['classes'])} classes: {counts}")


if __name__ == "__main__":
    main()
