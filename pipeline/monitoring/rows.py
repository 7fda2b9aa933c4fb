"""What the log holds of one record: a row of numbers and names, without the record itself unless that was asked for.

| column | what it is |
|---|---|
| `time` | when it was answered, UTC, microseconds |
| `request`, `index` | `x-request-id` of the request, and the place in it |
| `id` | by which labels are joined: the record's own `id`; else the request, with `/index` where it held several |
| `model`, `version`, `digest` | who answered |
| `role` | `answers`; `canary`: instead of the model that answers the others; `shadow`: nobody got that answer |
| `sha256` | of the image file, of the text in UTF-8; of other records their JSON with sorted keys |
| `outcome` | `answered`; `refused`; `withheld`: it had an answer, and another record of the request had none |
| `milliseconds` | of the whole request, from its head to its answers; nothing for a shadow, which has no client |
| `model_milliseconds` | processor time that the model took; what was answered together shares it evenly |
| `answer`, `confidence`, `probabilities` | class, its probability, those of all classes; of several labels the cell |
| `values` | of regression and forecasts, step by step, the targets of each |
| `error`, `score`, `alarm` | of anomalies |
| `stat.NAME` | see `pipeline.monitoring.measured`; of images also `height` and `width` of the file, in pixels |
| `side.NAME`, `known.NAME` | columns beside: numbers, and categories that the model knows; others are `(other)` |
| `record.text`, `record.problems` | only where records are kept, and then categories stand as they came |

The statistics of a shadow's row are those of what the model that answers has read.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.json

from pipeline.data.label_sets import as_cell
from pipeline.inputs.record_columns import columns_beside, main_field
from pipeline.inputs.specs import OutputSpec, output_spec
from pipeline.monitoring.measured import OTHER, statistic_names, statistics_of
from pipeline.preprocessing.side import category_of

ANSWERED, REFUSED, WITHHELD = "answered", "refused", "withheld"
ANSWERS, SHADOW, CANARY = "answers", "shadow", "canary"
LONGEST_ID = 200
"""Characters of an id that are kept."""
SIZE = ("height", "width")
"""Of the file of an image, in pixels."""
FORMAT = 1
"""Of a part file; readers pass over those of another one."""


@dataclass(frozen=True)
class Answering:
    """A model as the log knows it.

    Attributes:
        name: Of the registered model, or of the folder.
        version: Its number; "" for a folder.
        digest: Of its papers.
        state: Content of its state.json.
        card: Content of its card.json.
        reference: Content of its reference.json; {} where it has none.
    """

    name: str
    version: str
    digest: str
    state: Mapping[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """Return what people call it."""
        return f"{self.name}/{self.version}" if self.version else self.name

    @cached_property
    def spec(self) -> OutputSpec:
        """Return what it answers."""
        return output_spec(self.state)

    @property
    def overlap(self) -> int:
        """Return how many windows of a series that is asked for step by step share a step; else 1."""
        return max(1, int((self.state.get("windows") or {}).get("length", 1)))

    @cached_property
    def sample_bytes(self) -> int:
        """Return about how much memory what was read of one record takes."""
        state = self.state
        if state.get("payload", "image") == "image":
            return int(np.prod(state["image"]["shape"]))
        return (
            4 * (state["windows"]["length"] * len(state["series"]["channels"])) if state.get("windows") else 0
        )

    @cached_property
    def schema(self) -> dict[str, pa.DataType]:
        """Return the columns of its rows, without those of kept records."""
        name = pa.string()
        columns: dict[str, pa.DataType] = {
            "time": pa.timestamp("us", "UTC"), "request": pa.string(), "index": pa.int32(), "id": pa.string(),
            "model": name, "version": name, "digest": name, "sha256": pa.string(), "outcome": name,
            "milliseconds": pa.float32(), "role": name, "model_milliseconds": pa.float32(),
        }  # fmt: skip
        task = self.spec.task
        if task in ("classification", "multilabel"):
            columns |= {"answer": name, "probabilities": pa.list_(pa.float32())}
            columns |= {"confidence": pa.float32()} if task == "classification" else {}
        elif task == "anomaly":
            columns |= {"error": pa.float64(), "score": pa.float64(), "alarm": pa.bool_()}
        else:
            columns["values"] = pa.list_(pa.float64())
        columns |= dict.fromkeys((f"stat.{one}" for one in self.statistics), pa.float64())
        for key, beside in columns_beside(self.state).items():
            for column, kind in beside.items():
                columns[f"{key}.{column}"] = pa.float64() if kind == "number" else name
        return columns

    @cached_property
    def statistics(self) -> list[str]:
        """Return what is measured of each record."""
        size = SIZE if main_field(self.state) == "image" else ()
        return [*statistic_names(self.state), *size]

    @cached_property
    def categories(self) -> dict[str, frozenset[str]]:
        """Return the categories that it knows, by `side.NAME` or `known.NAME`."""
        windows = self.state.get("windows")
        places = {"side": self.state.get("side") or {}, "known": windows["side"]["known"] if windows else {}}
        return {
            f"{key}.{column['name']}": frozenset(column["values"])
            for key, of in places.items()
            for column in of.get("categories", [])
        }


class Request(NamedTuple):
    """A request that was answered.

    Attributes:
        model: Who answered.
        time: When, seconds since 1970.
        name: Its id.
        milliseconds: From its head to its answers; None of a shadow.
        records: What was asked.
        answers: What was said to each; None where it was refused.
        problems: Why; () where it was not.
        withheld: Whether one that was refused kept all answers back.
        held_bytes: About how much memory it takes.
        role: Of the model.
        model_milliseconds: Processor time that the model took for each record; None where it was not asked.
    """

    model: Answering
    time: float
    name: str
    milliseconds: float | None
    records: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any] | None]
    problems: Sequence[Sequence[str]]
    withheld: bool = False
    held_bytes: int = 0
    role: str = ANSWERS
    model_milliseconds: float | None = None


def rows_of(requests: Sequence[Request], *, keep_records: bool) -> list[dict[str, Any]]:
    """Return the rows of some requests of one model, see the head of this file; NaN stands for nothing.

    Args:
        requests: All answered by one model.
        keep_records: Whether texts, problems and unknown categories are kept.
    """
    model = requests[0].model
    field, windowed = main_field(model.state), bool(model.state.get("windows"))
    task = model.state.get("task", "classification")
    rows: list[dict[str, Any]] = []
    records: list[Mapping[str, Any]] = []
    for asked in requests:
        for index, (record, answer, problems) in enumerate(
            zip(asked.records, asked.answers, asked.problems, strict=True)
        ):
            alone = asked.name if len(asked.records) == 1 else f"{asked.name}/{index}"
            row = {
                "time": int(asked.time * 1e6),
                "request": asked.name,
                "index": index,
                "id": alone if windowed else _own_id(record) or alone,
                "model": model.name,
                "version": model.version,
                "digest": model.digest,
                "sha256": _digest(record, field),
                "outcome": REFUSED if answer is None else WITHHELD if asked.withheld else ANSWERED,
                "milliseconds": asked.milliseconds,
                "role": asked.role,
                "model_milliseconds": asked.model_milliseconds,
                **said_in_row(answer, task),
            }
            if keep_records:
                if field == "text":
                    row["record.text"] = record["text"] if isinstance(record.get("text"), str) else None
                row["record.problems"] = " ".join(problems) or None
            rows.append(row)
        records += asked.records
    for name, values in _described(records, model, keep_records=keep_records).items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def table_of(model: Answering, lines: bytes, *, keep_records: bool, role: str = ANSWERS) -> pa.Table:
    """Return rows of one role, written as JSON lines, as a table, whose metadata name the model and the role.

    By way of JSON, since that takes no time of the event loop, and `pyarrow.array` would import pandas.
    """
    types = dict(model.schema)
    if keep_records:
        texts = ["record.text"] if main_field(model.state) == "text" else []
        types |= dict.fromkeys([*texts, "record.problems"], pa.string())
    read = {"time": pa.int64()}
    table = pyarrow.json.read_json(
        pa.BufferReader(lines),
        pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        pyarrow.json.ParseOptions(pa.schema(list((types | read).items())), unexpected_field_behavior="error"),
    )
    columns = [table[name].cast(kind) if name in read else table[name] for name, kind in types.items()]
    said = {
        "format": FORMAT,
        "model": model.name,
        "version": model.version,
        "digest": model.digest,
        "role": role,
    }
    return pa.Table.from_arrays(
        columns, schema=pa.schema(list(types.items()), {"millrace": json.dumps(said)})
    )


def _own_id(record: Mapping[str, Any]) -> str:
    given = record.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int):
        return ""
    return str(given)[:LONGEST_ID]


def _digest(record: Mapping[str, Any], field: str) -> str:
    given = record.get(field)
    if field == "image" and isinstance(given, str):
        try:
            given = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            given = str(given).encode()
    elif field == "text" and isinstance(given, str):
        given = given.encode()
    if not isinstance(given, bytes):
        given = msgspec.json.encode(dict(record), order="sorted", enc_hook=str)
    return hashlib.sha256(given).hexdigest()


def said_in_row(answer: Mapping[str, Any] | None, task: str) -> dict[str, Any]:
    """Return an answer of the scorer as a row of the log has it; None for what there is not."""
    told = answer or {}
    shares = [*told["probabilities"].values()] if "probabilities" in told else None
    if task == "classification":
        return {"answer": told.get("class"), "confidence": told.get("probability"), "probabilities": shares}
    if task == "multilabel":
        return {"answer": as_cell(told["labels"]) if "labels" in told else None, "probabilities": shares}
    if task == "anomaly":
        return {name: told.get(name) for name in ("error", "score", "alarm")}
    values = told.get("values")
    return {"values": None if values is None else np.array([*values.values()], float).T.ravel().tolist()}


def _described(
    records: Sequence[Mapping[str, Any]], model: Answering, *, keep_records: bool
) -> dict[str, list[Any]]:
    measured = statistics_of([getattr(record, "sample", None) for record in records], model.state)
    columns: dict[str, list[Any]] = {f"stat.{name}": values.tolist() for name, values in measured.items()}
    if "height" in model.statistics:
        sizes = [getattr(record, "size", None) or (None, None) for record in records]
        columns |= {f"stat.{name}": [size[place] for size in sizes] for place, name in enumerate(SIZE)}
    for key, beside in columns_beside(model.state).items():
        given = [record.get(key) for record in records]
        for name, kind in beside.items():
            values = [one.get(name) if isinstance(one, Mapping) else None for one in given]
            full = f"{key}.{name}"
            if kind == "number":
                columns[full] = [_number(value) for value in values]
            else:
                known = None if keep_records else model.categories[full]
                columns[full] = [_category(value, known) for value in values]
    return columns


def _number(value: Any) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
    return number if np.isfinite(number) else float("nan")


def _category(value: Any, known: frozenset[str] | None) -> str | None:
    if value is not None and not isinstance(value, str | int | float):
        return OTHER
    try:
        name = category_of(value)
    except (ValueError, OverflowError):  # infinite
        return OTHER
    return name if known is None or name in known or not name else OTHER
