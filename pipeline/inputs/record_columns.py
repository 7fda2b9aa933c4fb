"""Which columns a raw record of a model has (`pipeline.serving.record`), by the `state.json` that travels with it."""

from collections.abc import Mapping
from typing import Any, Literal

from pipeline.preprocessing.side import window_side_of

State = Mapping[str, Any]
SideKind = Literal["number", "category"]
"""As in `formats.cells`, which reads tables: no stage that registers needs it."""


def main_field(state: State) -> str:
    """Return the field that a record is about: image, text or series."""
    return str(state.get("payload", "image"))


def reads_steps(state: State) -> bool:
    """Return whether the main field is read at all; windows without a history have none."""
    return not state.get("windows") or bool(state["windows"]["length"])


def reads_time(state: State) -> bool:
    """Return whether the time of the first step to predict is read, for calendar features."""
    windows = state.get("windows")
    return bool(windows and window_side_of(windows["side"]).calendar)


def series_ids(state: State) -> list[str]:
    """Return the series that have scales of their own."""
    series = state.get("series") or {}
    return sorted([*(series.get("of_series") or {}), *(series.get("pooled") or ())])


def columns_beside(state: State) -> dict[str, dict[str, SideKind]]:
    """Return the columns that a model reads beside it: `side` and `known`, each by name, `number` or `category`."""
    side, windows = state.get("side") or {}, state.get("windows") or {}
    known = windows["side"]["known"] if windows else {}
    kinds: tuple[tuple[SideKind, str], ...] = (("number", "numbers"), ("category", "categories"))
    return {
        key: {column["name"]: kind for kind, listed in kinds for column in of.get(listed, [])}
        for key, of in (("side", side), ("known", known))
    }


def flat_columns(state: State) -> dict[str, tuple[str, bool]]:
    """Return the columns of a table of records: name to kind, and whether every record needs it.

    Returns:
        Kinds are `image`, `text`, `series`, `name` (of a series, or a time), `flag`, `number` and `category`.
    """
    columns: dict[str, tuple[str, bool]] = {}
    if reads_steps(state):
        columns[main_field(state)] = main_field(state), True
    if reads_time(state):
        columns["time"] = "name", True
    if state.get("windows") and (series_ids(state) or state.get("task") == "anomaly"):
        columns["id"] = "name", bool(series_ids(state))
    if series_ids(state):
        columns["pooled_scale"] = "flag", False
    for key, beside in columns_beside(state).items():
        for name, kind in beside.items():
            flat = name if name not in FIELDS else f"{key}.{name}"
            columns[flat] = "number" if key == "known" else kind, False
    return columns


FIELDS = ("image", "text", "series", "time", "known", "id", "pooled_scale", "side")
"""What a record holds."""


def as_record(row: Mapping[str, Any], state: State) -> dict[str, Any]:
    """Return a flat row as a record: columns that the model reads beside it, `age` or `side.age`, go to their place."""
    record: dict[str, Any] = {}
    for key, columns in columns_beside(state).items():
        for name in columns:
            flat = name if name in row and name not in FIELDS else f"{key}.{name}"
            if flat in row:
                record.setdefault(key, {})[name] = row[flat]
    return record | {name: row[name] for name in FIELDS if name in row}
