"""The rows of the committed results: from DVC's cache, by the digests that the committed dvc.lock records."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.runtime import paths
from pipeline.runtime.strict_yaml import read_yaml

LABELS = ("label", "target")


@dataclass(frozen=True)
class Rows:
    """A data set as `ingest` and `validate` describe it.

    Attributes:
        samples: data/interim/samples.parquet, by row.
        statistics: data/validate/statistics.parquet, one row per sample, in the same order.
    """

    samples: pd.DataFrame
    statistics: pd.DataFrame

    def only(self, wanted: pd.Series) -> "Rows":
        """Return some of the rows; `wanted` is a truth per row."""
        return Rows(self.samples[wanted.to_numpy()], self.statistics[wanted.to_numpy()])


def rows_of(samples_path: Path, statistics_path: Path) -> Rows:
    """Read the two files of a data set and bring them into one order.

    Raises:
        FileNotFoundError: One is missing.
    """
    samples = pd.read_parquet(samples_path).sort_values("row", ignore_index=True)
    statistics = pd.read_parquet(statistics_path).set_index("sample_id").loc[samples["sample_id"]]
    return Rows(samples, statistics.reset_index())


def recorded_files(tree: Path) -> dict[Path, str]:
    """Return the md5 that dvc.lock of a working tree records for the two files, as far as it knows them."""
    lock_path = tree / paths.DVC_LOCK
    stages = read_yaml(lock_path).get("stages", {}) if lock_path.is_file() else {}
    wanted = {path.as_posix() for path in (paths.SAMPLES_PARQUET, paths.STATISTICS_PARQUET)}
    return {
        Path(out["path"]): out["md5"]
        for stage in stages.values()
        for out in stage.get("outs", [])
        if out["path"] in wanted
    }
