"""Rows of JSON lines and of Parquet: formats whose cells say themselves whether they are text or numbers.

JSON lines: UTF-8, one object per line; a key twice, `NaN` and half a surrogate pair are refused. Parquet is
read in batches of rows, only the columns that are asked for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple, NoReturn

from pipeline.runtime import DataRefused
from pipeline.sources.problems import Problems, shown
from pipeline.sources.text_file import lines

BATCH_ROWS = 4096
JSON_FIX = "Write one JSON object per line, with every column in each (null where there is no value)."


class TypedRow(NamedTuple):
    """One row: its line (JSON lines) or number (Parquet), counted from 1, and its cells as asked for."""

    line: int
    cells: list[Any]


def json_rows(file: IO[bytes], name: str, columns: Sequence[str], problems: Problems) -> Iterator[TypedRow]:
    """Yield the objects of a JSON lines file; lines that are none become problems and are left out.

    Empty lines at the end of the file are passed over.

    Args:
        file: Opened at its start.
        name: For messages.
        columns: Which keys; every object must have them.
        problems: Where problems are kept.
    """
    empty: list[int] = []
    for line in lines(file, name, "utf-8", problems):
        if not line.text.strip(" \t\r"):
            empty.append(line.number)
            continue
        for number in empty:
            problems.add(f"{name}, line {number}", "a JSON object", "an empty line", JSON_FIX)
        empty.clear()
        row = _json_object(line.text, f"{name}, line {line.number}", problems)
        if row is None:
            continue
        missing = [column for column in columns if column not in row]
        if missing:
            place = f"{name}, line {line.number}"
            problems.add(place, f"the keys {', '.join(missing)}", f"only {shown(', '.join(row))}", JSON_FIX)
            continue
        yield TypedRow(line.number, [row[column] for column in columns])


def parquet_columns(file: IO[bytes], name: str) -> tuple[str, ...]:
    """Return the names of the columns of a Parquet file.

    Raises:
        DataRefused: It is damaged, or no Parquet file.
    """
    return tuple(_parquet(file, name).schema_arrow.names)


def parquet_rows(file: IO[bytes], name: str, columns: Sequence[str]) -> Iterator[TypedRow]:
    """Yield the rows of a Parquet file, the cells as Python has them.

    Raises:
        DataRefused: The file is damaged.
    """
    import pyarrow as pa

    number = 0
    table = _parquet(file, name)
    try:
        for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=list(dict.fromkeys(columns))):
            cells = {column: batch.column(column).to_pylist() for column in dict.fromkeys(columns)}
            for row in range(batch.num_rows):
                number += 1
                yield TypedRow(number, [cells[column][row] for column in columns])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(name, error) from error


def _parquet(file: IO[bytes], name: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> DataRefused:
    reason = str(error).strip().split("\n")[0]
    return DataRefused(
        f"{name} cannot be read. Expected an intact Parquet file. Received: {reason}. Write or download it again."
    )


def _json_object(text: str, place: str, problems: Problems) -> Mapping[str, Any] | None:
    try:
        row = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = "brackets nested too deeply" if isinstance(error, RecursionError) else str(error)
        problems.add(place + column, "a JSON object", f"{shown(text)} ({reason})", JSON_FIX)
        return None
    if not isinstance(row, dict):
        problems.add(place, "a JSON object", shown(text), JSON_FIX)
        return None
    return row


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} twice")
    return row


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
