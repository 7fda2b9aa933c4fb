"""Labelled anomalies of series, as the Numenta Anomaly Benchmark writes them.

A JSON object with one entry per file: a list of windows, each with its first and its last time.
"""

import json
import tarfile
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.runtime import DataRefused
from pipeline.sources.file_names import stem_of
from pipeline.sources.problems import Problems, shown

SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".pq")
MEMBER = "anomaly_windows.json"
FIX = 'Write {"folder/file.csv": [["2014-04-01 05:00:00", "2014-04-01 08:00:00"]]}, with [] for no anomaly.'
Windows = list[tuple[int, int]]


def read_windows(archive: tarfile.TarFile, names: Iterable[str], problems: Problems) -> dict[str, Windows]:
    """Return the windows of every series in microseconds since 1970, both ends included.

    Args:
        archive: Has a member `anomaly_windows.json`.
        names: Series that must have an entry; one for `real/a.csv` is for `real/a`, `a` and `data/real/a`.
        problems: Takes missing entries and windows that are none.

    Raises:
        DataRefused: The file is no JSON object.
    """
    file = archive.extractfile(MEMBER)
    try:
        content: Any = json.load(file) if file else None
    except (ValueError, RecursionError) as error:
        content = str(error)
    if not isinstance(content, dict):
        raise DataRefused(
            f"The anomaly windows cannot be read. Expected a JSON object. Received: {shown(content)}. {FIX}"
        )
    found: dict[str, Windows] = {}
    for name in names:
        entries = [key for key in content if _is_for(key, name)]
        if len(entries) == 1:
            found[name] = _windows(content[entries[0]], f"{MEMBER}, {entries[0]}", problems)
        else:
            problems.add(f"{MEMBER}", f"one entry for {name}", str(len(entries)), FIX)
    return found


def _is_for(key: str, name: str) -> bool:
    """Say whether an entry is for a series: the same name, with a suffix or with more folders before it."""
    stem = f"/{stem_of(key)}" if key.endswith(SUFFIXES) else f"/{key}"
    return stem.endswith(f"/{name}") or f"/{name}".endswith(stem)


def _windows(windows: Any, place: str, problems: Problems) -> Windows:
    found: Windows = []
    if not isinstance(windows, list):
        problems.add(place, "a list of windows", shown(windows), FIX)
        return found
    for window in windows:
        times = [_time(time) for time in window] if isinstance(window, list) else []
        if len(times) == 2 and times[0] is not None and times[1] is not None and times[0] <= times[1]:
            found.append((times[0], times[1]))
        else:
            problems.add(place, "a first and a later last time", shown(window), FIX)
    return found


def _time(text: Any) -> int | None:
    """Return a time as microseconds since 1970, or None."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            value: int = pc.cast(pc.cast(pa.scalar(text, pa.string()), kind), pa.int64()).as_py()
        except (pa.ArrowException, TypeError, ValueError):
            continue
        return value
    return None
