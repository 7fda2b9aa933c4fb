"""What is known of each column beside the samples: channels of series and side features, one row per column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.ingest.writers import SIDE_PREFIX
from pipeline.validation.series import ChannelSums, significant

MIN_IDS = 20
"""Values that must all differ before a column is suspected of holding ids."""

COLUMNS = (
    "column",
    "kind",
    "values",
    "missing_share",
    "minimum",
    "mean",
    "maximum",
    "constant",
    "looks_like_id",
    "constant_target",
)


def column_facts(
    samples: pd.DataFrame,
    side: Mapping[str, str],
    channels: Sequence[str] = (),
    sums: ChannelSums | None = None,
    targets: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the table that the suite of columns judges, one row per channel and side column.

    Args:
        samples: As `read_samples` returns them, with a column `side.<name>` per side feature.
        side: What each side feature is, `number` or `category`, by name.
        channels: Names of the channels of series.
        sums: What is known of these, from `series_statistics`.
        targets: Channels that are predicted.

    Returns:
        `column`, `kind` (`channel`, `number` or `category`); `values`: different values, NaN for channels;
        `missing_share`; `minimum`, `mean`, `maximum`: NaN for categories; and, 0 or 1: `constant` (no two
        different values), `looks_like_id` (a side column of at least 20 categories or whole numbers, all
        different), `constant_target` (constant, and to be predicted).
    """
    rows = [] if sums is None else _channel_rows(channels, sums, set(targets))
    rows += [_side_row(name, kind, samples[SIDE_PREFIX + name]) for name, kind in side.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _channel_rows(channels: Sequence[str], sums: ChannelSums, targets: set[str]) -> list[dict[str, Any]]:
    constant, means = sums.constant(), significant(sums.means())
    return [
        {
            "column": name,
            "kind": "channel",
            "values": np.nan,
            "missing_share": float(
                significant(1 - (sums.known + sums.infinite) / max(sums.steps, 1))[number]
            ),
            "minimum": _finite(sums.minimum[number]),
            "mean": float(means[number]),
            "maximum": _finite(sums.maximum[number]),
            "constant": int(constant[number]),
            "looks_like_id": 0,
            "constant_target": int(constant[number] and name in targets),
        }
        for number, name in enumerate(channels)
    ]


def _side_row(name: str, kind: str, values: "pd.Series[Any]") -> dict[str, Any]:
    known = values.dropna()
    different = int(known.nunique())
    numbers = known.to_numpy(np.float64) if kind == "number" else np.empty(0)
    whole = kind == "category" or bool((numbers == np.rint(numbers)).all())
    return {
        "column": SIDE_PREFIX + name,
        "kind": kind,
        "values": different,
        "missing_share": float(significant(np.array(values.isna().mean()))),
        "minimum": float(significant(numbers.min())) if len(numbers) else np.nan,
        "mean": float(significant(numbers.mean())) if len(numbers) else np.nan,
        "maximum": float(significant(numbers.max())) if len(numbers) else np.nan,
        "constant": int(different < 2),
        "looks_like_id": int(whole and different == len(known) >= MIN_IDS),
        "constant_target": 0,
    }


def _finite(value: float) -> float:
    return float(significant(np.array(value))) if np.isfinite(value) else float("nan")
