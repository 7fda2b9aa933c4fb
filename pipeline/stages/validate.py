"""Judge every sample, find duplicates and label conflicts, and stop here if the data is not fit.

Reads:
    data/interim/samples.parquet, data/interim/images.npy, pipeline/suites/image_samples.json.
Writes:
    data/validate/statistics.parquet: one row per sample, what was measured on its image;
    data/validate/duplicates.parquet: one row per sample, its cluster of copies;
    reports/validate/summary.json: `passed`, and the figures behind it;
    reports/validate/failing.csv: one line per sample and expectation it breaks;
    reports/validate/report.html: the same to look at, one file, offline.
Parameters:
    validate.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import paths, runtime
from pipeline.artifacts import atomic_path, write_json, write_text
from pipeline.config import load_params
from pipeline.duplicates import find_duplicates
from pipeline.expectations import judge
from pipeline.sample_facts import sample_facts
from pipeline.sample_table import read_samples
from pipeline.statistics import image_statistics, payload_problems
from pipeline.suite_file import read_suite
from pipeline.validation_report import validation_report
from pipeline.validation_summary import failing_csv, refusal, summary_of

SUITE = Path(__file__).parent.parent / "suites" / "image_samples.json"


def validate(bounds: Mapping[str, float], hash_distance: int, pixel_difference: float) -> dict[str, Any]:
    """Judge the data; the reports are written whether it passes or not.

    Args:
        bounds: Bounds of the suite by name.
        hash_distance: Bits of 64 in which the perceptual hashes of near duplicates may differ.
        pixel_difference: Mean absolute difference of their pixels, in [0, 1).

    Returns:
        The content of the summary.

    Raises:
        DataRefused: A critical expectation is not met, or payload and table do not fit.
        ParamsError: The suite cannot be used.
    """
    samples = read_samples().sort_values("row", ignore_index=True)
    images = _open_images()
    problems = payload_problems(images, samples["row"].to_numpy())
    if problems:
        raise runtime.DataRefused("\n".join([*problems, "Run `dvc repro ingest`."]))
    suite = read_suite(SUITE, {**bounds, "rows": len(images), "last_row": len(images) - 1})

    statistics = image_statistics(images)
    duplicates = find_duplicates(samples["content_sha256"].tolist(), images, hash_distance, pixel_difference)
    facts = sample_facts(samples, statistics, duplicates)
    outcomes = judge(suite, facts, id_column="sample_id")

    measured = ["sample_id", *statistics, "height_original", "width_original"]
    _write_parquet(paths.STATISTICS_PARQUET, facts[measured])
    _write_parquet(paths.DUPLICATES_PARQUET, facts[["sample_id", "cluster", "exact_copies", "near_copies"]])
    summary = summary_of(facts, outcomes)
    write_json(paths.VALIDATE_SUMMARY, summary)
    write_text(paths.VALIDATE_FAILING, failing_csv(facts, outcomes))
    write_text(paths.VALIDATE_HTML, validation_report(facts, images, outcomes))
    if not summary["passed"]:
        raise runtime.DataRefused(refusal(outcomes))
    return summary


def _open_images() -> np.ndarray:
    if not paths.IMAGES_NPY.is_file():
        raise runtime.InputMissing(f"{paths.IMAGES_NPY} does not exist. Run `dvc repro ingest`.")
    images: np.ndarray = np.load(paths.IMAGES_NPY, mmap_mode="r")
    return images


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
    with runtime.stage("validate") as stage:
        settings = load_params().validate
        bounds = {
            "min_samples_per_class": settings.min_samples_per_class,
            "max_class_ratio": settings.max_class_ratio,
            "max_label_conflicts": settings.max_label_conflicts,
            "max_duplicate_share": settings.max_duplicate_share,
        }
        summary = validate(bounds, settings.near_hash_distance, settings.near_pixel_difference)
        judged = summary["expectations"]
        stage.console.print(
            f"{summary['samples']:,} samples, {len(summary['classes'])} classes: {judged['met']} of "
            f"{judged['judged']} expectations met, {judged['warnings']} warnings. Report: {paths.VALIDATE_HTML}"
        )


if __name__ == "__main__":
    main()
