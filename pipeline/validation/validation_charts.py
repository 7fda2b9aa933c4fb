"""Histograms of the statistics of samples, and the table of columns, as the validation report shows them."""

from typing import Any

import numpy as np
import pandas as pd

BINS = 40
TAIL = 0.995
"""A histogram of open range ends at this quantile; what lies beyond is counted in its last bar."""

FIXED_CHARTS = {
    "Brightness (mean, 0 black, 1 white)": ("mean", 1.0),
    "Contrast (standard deviation)": ("standard_deviation", 0.5),
    "Detail (entropy, bits)": ("entropy_bits", 8.0),
}
"""Of images: title, column and largest value; the smallest is 0."""

OPEN_CHARTS = {
    "characters": {
        "Length (characters)": "characters",
        "Words": "words",
        "Digits and signs (share)": "non_letter_share",
    },
    "steps": {
        "Length (steps)": "steps",
        "Mean of all channels": "mean",
        "Missing values (share)": "missing_share",
    },
}
"""Of texts and series, known by a column that only they have: title and column; the range follows from the data."""


def charts_of(facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the histograms that fit the kind of data, and one of the targets where there are any.

    Args:
        facts: One row per sample, with the statistics of images, texts or series.

    Returns:
        Per chart `title`, `bars` (heights 0 to 100, none if all samples measure the same), and the ends of the
        axis in words, `low` and `high`.
    """
    charts = []
    if "entropy_bits" in facts:
        charts += [
            _chart(title, facts[column].to_numpy(), 0.0, high)
            for title, (column, high) in FIXED_CHARTS.items()
        ]
    for mark, titles in OPEN_CHARTS.items():
        if mark in facts:
            charts += [_open_chart(title, facts[column]) for title, column in titles.items()]
    if "target" in facts and facts["target"].notna().any():
        charts.append(_open_chart("Target", facts["target"]))
    return charts


def column_rows(columns: pd.DataFrame | None) -> list[dict[str, str]]:
    """Return the table of channels and side columns in words.

    Args:
        columns: As `column_facts` returns it; None for none.
    """
    if columns is None:
        return []
    return [
        {
            "column": str(row["column"]),
            "kind": str(row["kind"]),
            "values": _words(row["values"], ",.0f"),
            "missing": f"{row['missing_share']:.2%}",
            "range": f"{_words(row['minimum'])} \N{HORIZONTAL ELLIPSIS} {_words(row['maximum'])}"
            if pd.notna(row["minimum"])
            else "",
            "mean": _words(row["mean"]),
            "remark": ", ".join(
                words
                for key, words in (("constant", "constant"), ("looks_like_id", "all values different"))
                if row[key]
            ),
        }
        for row in columns.to_dict("records")
    ]


def _words(number: float, form: str = ",.6g") -> str:
    return format(number, form) if pd.notna(number) else ""


def _open_chart(title: str, column: "pd.Series[Any]") -> dict[str, Any]:
    values = column.to_numpy(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return {"title": title, "bars": [], "low": "unknown", "high": ""}
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"title": title, "bars": [], "low": _words(low, ",.6g"), "high": ""}
    end = float(np.quantile(values, TAIL, method="higher"))
    if end - low >= (high - low) / 2 or end == low:
        end = high  # no tail worth cutting
    chart = _chart(title, np.minimum(values, end), low, end)
    return chart | ({"high": f"{end:,.6g} and more"} if end < high else {})


def _chart(title: str, values: np.ndarray, low: float, high: float) -> dict[str, Any]:
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    heights = (100 * counts / max(1, int(counts.max()))).round(1)
    return {"title": title, "bars": heights.tolist(), "low": f"{low:,.6g}", "high": f"{high:,.6g}"}
