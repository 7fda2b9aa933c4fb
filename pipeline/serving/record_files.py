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
from pipeline.formats.cells import Cell, SideKind, as_name, as_side, as_text
from pipeline.formats.problems import Problems
from pipeline.formats.tables import TableOptions, Writing, table_with
from pipeline.formats.time_grid import later
from pipeline.formats.written_numbers import NumberWriting
from pipeline.preprocessing.side import window_side_of
from pipeline.runtime.errors import DataRefused, InputMissing
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
    "group",
    "label",
    "label_columns",
    "split",
    "step_label",
    "target",
    "unlabelled",
)
"""Options of a source that name what nobody knows of new data, or does not need."""
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
    if payload == "image" and (path.is_dir() or image_files([path.name])):
        return _images(path)
    if path.is_dir():
        raise DataRefused(
            f"{path} is a folder. Expected a table of {payload} records: .csv, .tsv, .jsonl, .json or .parquet"
            f"{', or a .ts or .arff file' if payload == 'series' else ''}. Received: a folder. Name one of its files."
        )
    suffix = path.suffix.lower()
    if payload == "series" and suffix in (".ts", ".arff"):
        return _archive(path)
    if source.get("kind") == SERIES_TABLE and suffix not in OF_RECORDS:
        return _as_source(path, state, source)
    return _Rows(state, source, id_column).of(path)


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
    content = _file(folder, Cell("file", name), problems)
    return Given(name, name, {} if content is None else {"image": content}, _told(problems))


def _archive(path: Path) -> Iterator[Given]:
    problems = Problems()
    read = READERS[path.suffix.lower().removeprefix(".")]
    with (
        path.open("rb") as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="\n") as text,
    ):
        lines = (line.rstrip("\r\n") for line in text)
        for number, row in enumerate(read(lines, path.name, problems)):
            steps = [[None if np.isnan(value) else float(value) for value in step] for step in row.series]
            yield Given(ROW.format(number), f"{path.name}, line {row.line}", {"series": steps})
    problems.check()


def _as_source(path: Path, state: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[Given]:
    """Yield the series of a table as the source that the model was made of reads it."""
    side, windows = state.get("side") or {}, state.get("windows") or {}
    if windows and any(windows["side"]["known"][kind] for kind in ("numbers", "categories")):
        raise DataRefused(
            f"{path.name} ends where the forecast begins. Expected what is known about the step ahead. Received: a "
            "table of steps. Write records: .jsonl with series, time, id and the known columns."
        )
    stated = {name: value for name, value in source.get("options", {}).items() if name not in OF_ANSWERS}
    if not stated.get("wide"):
        stated["columns"] = list(state["series"]["channels"])
    options, kind = options_of(SERIES_TABLE, stated), source_of(SERIES_TABLE)
    beside = [column["name"] for column in (*side.get("numbers", []), *side.get("categories", []))]
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        tar = Path(folder) / "given.tar"
        write_tar(tar, dict.fromkeys(kind.select([path.name], options), path))
        with tarfile.open(tar, "r:") as archive:
            for sample in kind.read(archive, options):
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
                yield Given(sample.sample_id, f"{path.name}, series {sample.sample_id!r}", record)


class _Rows:
    """Rows of a table as records."""

    def __init__(self, state: Mapping[str, Any], source: Mapping[str, Any], id_column: str) -> None:
        options = source.get("options", {})
        known = {field.name for field in msgspec.structs.fields(TableOptions)} - {"format"}
        stated = {name: value for name, value in options.items() if name in known}
        written = msgspec.convert(stated, TableOptions, strict=False)
        self._writing, self._numbers = Writing.of(written), NumberWriting.of(written)
        self._payload, self._id = state.get("payload", "image"), id_column
        main = {"image": ("path", "path"), "text": ("text", "text"), "series": ("series", "series")}
        option, usual = main[self._payload]
        self._main = str(options.get(option, usual)) if source.get("kind", "").endswith("_table") else usual
        side, windows = state.get("side") or {}, state.get("windows") or {}
        self._side: dict[str, SideKind] = {column["name"]: "number" for column in side.get("numbers", [])}
        self._side |= {column["name"]: "category" for column in side.get("categories", [])}
        self._read: list[str] = [] if windows and not windows["length"] else [self._main]
        self._known: list[str] = []
        if windows:
            told = window_side_of(windows["side"])
            known = windows["side"]["known"]
            self._known = [column["name"] for column in (*known["numbers"], *known["categories"])]
            self._read += ["time"] if told.calendar else []
            own = state["series"].get("of_series") or state["series"].get("pooled")
            self._read += ["id"] if own or state["task"] == "anomaly" else []
        wanted = [*self._read, *self._known, *self._side, *filter(None, [id_column])]
        self._wanted = list(dict.fromkeys(wanted))

    def of(self, path: Path) -> Iterator[Given]:
        """Yield the rows of a file."""
        problems = Problems()
        number = 0
        with path.open("rb") as file:
            table = table_with(file, path.name, self._wanted, self._writing, problems, fix=FIX)
            for batch in table.batches(self._wanted):
                for row, cells in enumerate(batch.rows(self._wanted)):
                    values = dict(zip(self._wanted, cells, strict=True))
                    yield self._given(ROW.format(number), batch.place(row), values, path.parent)
                    number += 1
        problems.check()

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
    if Path(name).is_absolute() or ".." in Path(name).parts:
        received = f"{name!r}, which lies elsewhere"
    elif not path.is_file():
        received = f"{name!r}, which is no file"
    elif (size := path.stat().st_size) > MOST_IMAGE_BYTES:
        received = f"{name!r} of {size:,} bytes"
    else:
        try:
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
        except ValueError:
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
