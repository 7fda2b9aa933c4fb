"""Files of strangers as records, a few at a time: what `millrace predict` reads.

By kind of data:

- images: a folder (or one file) of image files, or a table with a column of paths that start at the table;
- texts: a table with a column of texts, and the side columns that the model reads;
- series: a table with a column `series` (a list of steps; in CSV as JSON) and side columns, or a .ts or .arff file;
- windows: the same with `time`, the known columns and `id`, as far as the model reads them;
- both, of models whose data were tables of kind `series_table`: such a table, read as these were, but for answers. Of
  windows the end of each series counts: what comes next (anomalies: how it is now).

Tables are CSV, TSV, JSON lines, a JSON array or Parquet, read by the reader of the sources; columns are called as in
the data of the model, and columns that nobody reads are passed over. A column that is not there is refused, an empty
cell is missing, as in training.
"""

import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.fetching.archives import write_tar
from pipeline.formats.cells import Cell, as_name, as_side, as_text
from pipeline.formats.problems import Problems
from pipeline.formats.tables import TableOptions, Writing, table_with
from pipeline.formats.time_grid import later
from pipeline.formats.written_numbers import NumberWriting
from pipeline.inputs.record_columns import columns_beside, main_field, reads_steps, reads_time, series_ids
from pipeline.runtime.errors import DataRefused, InputMissing, WronglyCalled
from pipeline.serving.record import Record
from pipeline.sources.image_folder import image_files
from pipeline.sources.kinds import options_of, source_of
from pipeline.sources.series_archive import READERS

FIX = "Call the columns as in the data that the model was made of, or leave cells empty where a value is missing."
SERIES_TABLE = "series_table"
"""The kind whose rows are steps. Of `series_rows` nothing says whether the column of answers is still there, which
would be read as a step."""
OF_RECORDS = (".json", ".jsonl", ".ndjson")
"""Files that hold records whatever the data of the model was."""
OF_ANSWERS = (
    "anomaly_windows",
    "files",
    "group",
    "label",
    "label_columns",
    "split",
    "step_label",
    "target",
    "unlabelled",
)
"""Options of a source that name what nobody knows of new data, or does not need: which of several files to take."""
MOST_IMAGE_BYTES = 1 << 28
"""Of one image file, packed."""
ROW = "{:08d}"
"""How the sources call rows, counted from 0."""


@dataclass(frozen=True)
class Given:
    """One record of a file.

    Attributes:
        sample_id: Its name: of an image its path, of a row its number from 0, or what the column of ids says.
        place: Where it stands, for messages.
        record: See `pipeline.serving.record`; empty where it cannot be read.
        problems: Why not.
    """

    sample_id: str
    place: str
    record: Record
    problems: tuple[str, ...] = ()


def read_records(
    path: Path, state: Mapping[str, Any], source: Mapping[str, Any], id_column: str = ""
) -> Iterator[Given]:
    """Yield the records of a file or folder, in order; memory does not grow with their number.

    Args:
        path: The file or folder.
        state: Content of the state.json of the model.
        source: Content of the source.json that it was made of, for names of columns and how tables are written; {}
            where nobody knows.
        id_column: Column of a table that names its rows; "" for numbers.

    Raises:
        InputMissing: There is nothing at that place.
        DataRefused: The file cannot be read, or parts of it: then after the records that can.
    """
    if not path.exists():
        raise InputMissing(f"There is no {path}. Expected a file or folder of records. Check the path.")
    payload = state.get("payload", "image")
    suffix = path.suffix.lower()
    if payload == "image" and (path.is_dir() or image_files([path.name])):
        _require_alone(path, state, "path", id_column)
        return _images(path)
    if path.is_dir():
        raise DataRefused(
            f"{path} is a folder. Expected a table of {payload} records: .csv, .tsv, .jsonl, .json or .parquet"
            f"{', or a .ts or .arff file' if payload == 'series' else ''}. Received: a folder. Name one of its files."
        )
    if payload == "series" and suffix in (".ts", ".arff"):
        _require_alone(path, state, "series", id_column)
        return _archive(path)
    if source.get("kind") == SERIES_TABLE and suffix not in OF_RECORDS:
        if id_column:
            raise WronglyCalled(
                f"A table of steps names its series itself. Expected no --id. Received: --id {id_column}. Leave it out."
            )
        return _as_source(path, state, source)
    return _Rows(state, source, id_column).of(path)


def records_in(
    content: bytes, suffix: str, state: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[Given]:
    """Yield the records of a table that did not come as a file; see `read_records`.

    Raises:
        DataRefused: The same, without a path of this machine.
    """
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        path = Path(folder) / f"records{suffix}"
        path.write_bytes(content)
        try:
            yield from read_records(path, state, source)
        except DataRefused as error:
            raise DataRefused(str(error).replace(f"{folder}/", "")) from error


def _require_alone(path: Path, state: Mapping[str, Any], main: str, id_column: str) -> None:
    """Refuse files that hold one kind of data where the model reads more: it would be missing without a word."""
    beside = columns_beside(state)["side"]
    if beside:
        raise DataRefused(
            f"{path.name} holds nothing beside. Expected also what the model reads of each record: "
            f"{', '.join(beside)}. Received: none of it. Write a table (.csv, .jsonl, .parquet) with the columns "
            f"{', '.join([main, *beside])}; a cell may be empty where a value is not known."
        )
    if id_column:
        raise WronglyCalled(
            f"{path.name} has no columns. Expected no --id. Received: --id {id_column}. Leave it out."
        )


def _images(path: Path) -> Iterator[Given]:
    if path.is_file():
        yield _image(path.parent, path.name)
        return
    names = image_files(
        sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    )
    if not names:
        raise DataRefused(
            f"{path} holds no image file. Expected files with the suffix of an image. Received: none. Check the path."
        )
    for name in names:
        yield _image(path, name)


def _image(folder: Path, name: str) -> Given:
    problems = Problems(limit=None)
    told = os.fsencode(name).decode("utf-8", "backslashreplace")  # of a name that is no UTF-8
    content = _file(folder, Cell("file", name), problems)
    return Given(told, told, {} if content is None else {"image": content}, _told(problems))


def _archive(path: Path) -> Iterator[Given]:
    problems = Problems()
    read = READERS[path.suffix.lower().removeprefix(".")]
    with (
        path.open("rb") as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="\n") as text,
    ):
        lines = (line.rstrip("\r\n") for line in text)
        for number, row in enumerate(read(lines, path.name, problems)):
            problems.check()  # after a row that cannot be read nobody knows the number of the next
            steps = [[None if np.isnan(value) else float(value) for value in step] for step in row.series]
            yield Given(ROW.format(number), f"{path.name}, line {row.line}", {"series": steps})
    problems.check()


def _as_source(path: Path, state: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[Given]:
    """Yield the series of a table as the source that the model was made of reads it."""
    windows, columns = state.get("windows"), columns_beside(state)
    if columns["known"]:
        raise DataRefused(
            f"{path.name} ends where the forecast begins. Expected what is known about the step ahead. Received: a "
            "table of steps. Write records: .jsonl with series, time, id and the known columns."
        )
    stated = {name: value for name, value in source.get("options", {}).items() if name not in OF_ANSWERS}
    if not stated.get("wide"):
        stated["columns"] = list(state["series"]["channels"])
    options, kind = options_of(SERIES_TABLE, stated), source_of(SERIES_TABLE)
    trained = float(source.get("facts", {}).get("step_seconds", 0))
    beside = columns["side"]
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        tar = Path(folder) / "given.tar"
        write_tar(tar, dict.fromkeys(kind.select([path.name], options), path))
        with tarfile.open(tar, "r:") as archive:
            for sample in kind.read(archive, options):
                place = f"{path.name}, series {sample.sample_id!r}"
                if trained and sample.step_seconds and sample.step_seconds != trained:
                    wrong = (
                        f"expected a step every {trained:g} s, as in the data of the model; received one every "
                        f"{sample.step_seconds:g} s. Bring it to that step, or write records (.jsonl)."
                    )
                    yield Given(sample.sample_id, place, {}, (wrong,))
                    continue
                values = np.empty((0, 0)) if sample.series is None else sample.series
                places = [sample.channels.index(name) for name in state["series"]["channels"]]
                steps = values[:, places]
                record: dict[str, Any] = {
                    "series": [
                        [None if np.isnan(value) else float(value) for value in step] for step in steps
                    ],
                    "side": {name: sample.side.get(name) for name in beside},
                }
                if windows:
                    ahead = len(steps) * sample.step_seconds
                    record |= {"id": sample.sample_id, "time": later(sample.time, ahead)}
                yield Given(sample.sample_id, place, record)


class _Unread:
    """Rows of a file that its reader passes over, as records that are refused.

    Attributes:
        problems: For the reader.
    """

    def __init__(self, name: str) -> None:
        self.problems = Problems(limit=None)
        self._place = re.compile(f"({re.escape(name)}, (?:line|row) ([0-9]+))[, ]*")
        self._told = 0
        self._of_file = Problems(limit=None)

    def since(self) -> dict[int, tuple[str, tuple[str, ...]]]:
        """Return what became known since the last call: place and what is wrong, by the line (or row)."""
        if not self.problems.count:
            return {}
        new = Problems(limit=None)
        self.problems.pass_on(new)
        found: dict[int, tuple[str, tuple[str, ...]]] = {}
        for line in _told(new):
            at = self._place.match(line)
            if at is None:
                self._of_file = new
            else:
                _, before = found.get(int(at[2]), ("", ()))
                found[int(at[2])] = at[1], (*before, line[at.end() :].lstrip(": "))
        return found

    def rows(self, number: int, told: Mapping[int, tuple[str, tuple[str, ...]]]) -> Iterator[Given]:
        """Yield the rows that were passed over since the last call.

        Args:
            number: Of the first, counted from 0.
            told: Of `since`; of many alike only the first are there.
        """
        rows, self._told = self.problems.unread - self._told, self.problems.unread
        left = list(told.values()) or [(f"row {number}", ("It cannot be read.",))]
        for row in range(rows):
            place, wrong = left[row] if row < len(left) else (f"after {left[-1][0]}", left[-1][1])
            yield Given(ROW.format(number + row), place, {}, wrong)

    def check(self) -> None:
        """Refuse the file if there is something wrong with it that is no row's."""
        self._of_file.check()


class _Rows:
    """Rows of a table as records."""

    def __init__(self, state: Mapping[str, Any], source: Mapping[str, Any], id_column: str) -> None:
        options = source.get("options", {})
        known = {field.name for field in msgspec.structs.fields(TableOptions)} - {"format"}
        stated = {name: value for name, value in options.items() if name in known}
        written = msgspec.convert(stated, TableOptions, strict=False)
        self._writing, self._numbers = Writing.of(written), NumberWriting.of(written)
        self._payload, self._id = main_field(state), id_column
        main = {"image": ("path", "path"), "text": ("text", "text"), "series": ("series", "series")}
        option, usual = main[self._payload]
        self._main = str(options.get(option, usual)) if source.get("kind", "").endswith("_table") else usual
        beside = columns_beside(state)
        self._side, self._known = beside["side"], list(beside["known"])
        self._read: list[str] = [self._main] if reads_steps(state) else []
        self._read += ["time"] if reads_time(state) else []
        windows = bool(state.get("windows"))
        self._read += ["id"] if windows and (series_ids(state) or state["task"] == "anomaly") else []
        wanted = [*self._read, *self._known, *self._side, *filter(None, [id_column])]
        self._wanted = list(dict.fromkeys(wanted))

    def of(self, path: Path) -> Iterator[Given]:
        """Yield the rows of a file, those that cannot be read among them, each under its number in the file."""
        unread = _Unread(path.name)
        number = 0
        with path.open("rb") as file:
            table = table_with(file, path.name, self._wanted, self._writing, unread.problems, fix=FIX)
            for batch in table.batches(self._wanted):
                told = unread.since()
                odd = {line: told.pop(line) for line in batch.numbers if line in told} if told else {}
                for given in unread.rows(number, told):
                    yield given
                    number += 1
                for row, cells in enumerate(batch.rows(self._wanted)):
                    values = dict(zip(self._wanted, cells, strict=True))
                    place, name = batch.place(row), ROW.format(number)
                    if batch.numbers[row] in odd:
                        yield Given(name, place, {}, odd[batch.numbers[row]][1])
                    else:
                        yield self._given(name, place, values, path.parent)
                    number += 1
        yield from unread.rows(number, unread.since())
        unread.check()

    def _given(self, sample_id: str, place: str, values: Mapping[str, Any], folder: Path) -> Given:
        problems = Problems(limit=None)

        def cell(column: str) -> Cell:
            return Cell(f"column {column!r}", values[column])  # the record says its place

        if self._id:
            sample_id = as_name(cell(self._id), problems) or sample_id
        record: dict[str, Any] = {}
        if self._main in self._read:
            read: dict[str, Callable[[Cell, Problems], Any]] = {
                "image": partial(_file, folder), "text": as_text, "series": _steps
            }  # fmt: skip
            record[self._payload] = read[self._payload](cell(self._main), problems)
        for column in ("time", "id"):
            if column in self._read:
                record[column] = as_name(cell(column), problems)
        if self._known:
            record["known"] = {
                column: as_side("number", cell(column), problems, self._numbers) for column in self._known
            }
        if self._side:
            record["side"] = {
                column: as_side(kind, cell(column), problems, self._numbers)
                for column, kind in self._side.items()
            }
        if problems.count:
            return Given(sample_id, place, {}, _told(problems))
        return Given(sample_id, place, record)


def _file(folder: Path, cell: Cell, problems: Problems) -> bytes | None:
    """Return the content of the file that a cell names, below the folder of its table and nowhere else."""
    name = as_name(cell, problems)
    if name is None:
        return None
    path = folder / name
    try:
        if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
            received = f"{name!r}, which leads elsewhere"
        elif not path.is_file():
            received = f"{name!r}, which is no file"
        elif (size := path.stat().st_size) > MOST_IMAGE_BYTES:
            received = f"{name!r} of {size:,} bytes"
        else:
            return path.read_bytes()
    except OSError as error:
        received = f"{name!r}: {error.strerror}"
    expected = f"a file below {folder.name}/ of at most {MOST_IMAGE_BYTES:,} bytes, which may be read"
    problems.add(cell.place, expected, received, "Correct the path, or mend the file.")
    return None


def _steps(cell: Cell, problems: Problems) -> list[Any] | None:
    """Return the steps that a cell holds, in CSV as JSON; what they are is looked at with the record."""
    value = cell.value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if isinstance(value, list):
        return value
    problems.add(
        cell.place, "a list of steps", repr(cell.value)[:60], "Write [[1, 2], [3, null]], or [1, 3]."
    )
    return None


def _told(problems: Problems) -> tuple[str, ...]:
    """Return what is wrong with a row, without the frame of a message about files."""
    try:
        problems.check()
    except DataRefused as error:
        return tuple(line.strip() for line in str(error).splitlines()[1:-1])
    return ()
