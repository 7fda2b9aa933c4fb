"""The data of today against that of the committed results, which DVC's cache or its remote holds."""

from typing import Any

from pipeline.retraining.children import Children
from pipeline.retraining.drift import Bounds
from pipeline.retraining.settings import DriftBounds
from pipeline.runtime import paths
from pipeline.runtime.repository import cached, has_remote

NO_RESULTS = "no results yet to compare with"


def examined(children: Children, bounds: DriftBounds) -> dict[str, Any]:
    """Bring `validate` up to date and compare the new rows with those of the committed results.

    Returns:
        See `examine`. The verdict is `unknown` where there are results whose data nobody has any more.

    Raises:
        ChildFailed: `validate` does not pass the data.
    """
    # Only a night with other data needs pandas.
    from pipeline.retraining import known_rows
    from pipeline.retraining.new_rows import examine

    recorded = known_rows.recorded_files(children.tree)
    if not recorded:
        nothing = {"new_rows": 0, "lost_rows": 0, "lost_share": 0.0, "verdict": "none"}
        return {**nothing, "skipped": [NO_RESULTS]}
    here = all(cached(children.tree, md5) for md5 in recorded.values())
    asks_remote = not here and has_remote(children.tree)
    if asks_remote:
        # Its exit code is 0 also where the remote is down: what is there afterwards tells.
        children.dvc("fetch", *map(str, recorded))
    known_paths = {path: cached(children.tree, md5) for path, md5 in recorded.items()}
    children.repro("validate")
    tree = children.tree
    now = known_rows.rows_of(tree / paths.SAMPLES_PARQUET, tree / paths.STATISTICS_PARQUET)
    samples, statistics = (
        known_paths.get(path) for path in (paths.SAMPLES_PARQUET, paths.STATISTICS_PARQUET)
    )
    if samples is None or statistics is None:
        where = (
            "came neither from DVC's cache nor from its remote" if asks_remote else "is not in DVC's cache"
        )
        return {
            "new_rows": len(now.samples),
            "lost_rows": 0,
            "lost_share": 0.0,
            "verdict": "unknown",
            "skipped": [f"the data of the last results {where}"],
            "asked_remote": asks_remote,
        }
    known = known_rows.rows_of(samples, statistics)
    limits = Bounds(bounds.significance, bounds.report, bounds.refuse)
    return examine(known, now, tree / paths.PAYLOAD_NPY, limits, bounds.min_rows)
