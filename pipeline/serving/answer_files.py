"""Answers as a file, a few at a time: CSV, JSON lines or Parquet, whole or absent.

Nested answers become flat columns in CSV and Parquet: `probabilities.spam`, `values.load.1` for the first step ahead.
CSV is what people open in spreadsheets: no id and no name of a class becomes a formula there (`files.csv_text`). The
other two hold every id as it is.

A killed run goes on where it was: what was answered is kept in parts beside the file until that is whole. A part holds
the answers of some records that were read together. Its name is the digest of the model and of all that these records
hold, so that whatever changes, model, file or order, is answered anew, and what did not change is not.
"""

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.label_sets import as_cell
from pipeline.runtime.errors import WronglyCalled
from pipeline.runtime.files import atomic_path, no_formula, write_text
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import papers_digest

SUFFIXES = (".csv", ".jsonl", ".parquet")
MOST_SHOWN = 20
SHOWN_DIGITS = 4
"""Of a number on a terminal; files and pipes have all."""


class Writer(Protocol):
    """Takes rows; the file is whole once it is closed."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some answers, all with the same keys."""

    def close(self) -> None:
        """End the file."""


class _Lines:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.flush()


class _Shown(_Lines):
    """The same lines for somebody who reads them: sixteen digits of ten probabilities fill a screen."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        super().write([_rounded(row) for row in rows])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SHOWN_DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


class _Csv:
    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._writer: csv.DictWriter[str] | None = None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in map(flat, rows):
            told = {no_formula(name): no_formula(cell) for name, cell in row.items()}
            if self._writer is None:
                self._writer = csv.DictWriter(self._file, list(told), lineterminator="\n")
                self._writer.writeheader()
            self._writer.writerow(told)

    def close(self) -> None:
        if self._writer is None:
            self._file.write("id\n")
        self._file.flush()


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        table = pa.Table.from_pylist([flat(row) for row in rows])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        if self._writer is None:
            pq.write_table(pa.table({"id": pa.array([], pa.string())}), self._path)
        else:
            self._writer.close()


def require_place(out: Path, given: Path, labels: Path | None = None) -> None:
    """Check, before the work, that a file of answers can be made.

    Args:
        out: The file.
        given: What is to be answered.
        labels: What the answers are scored by.

    Raises:
        WronglyCalled: Its name says no format that is written, its folder is not there, it is a folder itself, or it
            or what is written beside it would replace the records or the labels.
    """
    for path in (out, beside(out), *explained(out), scores(out)):
        for called, mine in (("records", given), ("labels", labels)):
            if mine is not None and path.exists() and mine.exists() and path.samefile(mine):
                received = f"--out {out}" + (
                    f", beside which {path.name} belongs to it" if path != out else ""
                )
                raise WronglyCalled(
                    f"The answers would replace the {called}. Expected another file than {mine}. Received: {received}. "
                    "Name another."
                )
    if out.suffix.lower() not in SUFFIXES:
        raise WronglyCalled(
            f"The name of the file says its format. Expected one that ends in {', '.join(SUFFIXES)}. Received: "
            f"--out {out.name}."
        )
    if not out.parent.is_dir() or out.is_dir():
        received = f"{out}, a folder" if out.is_dir() else f"{out}, whose folder is not there"
        raise WronglyCalled(
            f"The answers have no place. Expected --out FILE in a folder that is there. Received: --out {received}. "
            f"{'Name a file in it.' if out.is_dir() else f'Make the folder: mkdir -p {out.parent}'}"
        )


def beside(out: Path) -> Path:
    """Return where it stands which records have no answer."""
    return out.with_name(f"{out.name}.refused.jsonl")


def explained(out: Path) -> tuple[Path, Path]:
    """Return where it stands what answers rest on: as JSON lines, and as a page."""
    return out.with_name(f"{out.name}.explained.jsonl"), out.with_name(f"{out.name}.explained.html")


def scores(out: Path) -> Path:
    """Return where it stands what the answers are worth by labels."""
    return out.with_name(f"{out.name}.scores.json")


def remove_said_of(out: Path) -> None:
    """Remove what an earlier call has said of other answers: what they rest on, and what they are worth."""
    for path in (*explained(out), scores(out)):
        path.unlink(missing_ok=True)


class Refusals:
    """Records that were refused, written down one after the other.

    Attributes:
        count: How many.
        first: The first `MOST_SHOWN`: `id`, `place` and `problems`.
    """

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self.count = 0
        self.first: list[Mapping[str, Any]] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some down."""
        self.count += len(rows)
        self.first += rows[: MOST_SHOWN - len(self.first)]
        if self._file is not None:
            self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def refusal_file(out: Path | None) -> Iterator[Refusals]:
    """Yield what takes refusals; their file lies beside the answers, whole or, where there are none, not at all."""
    if out is None:
        yield Refusals(None)
        return
    with atomic_path(beside(out)) as draft, draft.open("w", encoding="utf-8") as file:
        refused = Refusals(file)
        yield refused
    if not refused.count:
        beside(out).unlink()


@contextmanager
def answer_file(out: Path | None) -> Iterator[Writer]:
    """Yield what takes answers; without a path they are lines on standard output, for a terminal rounded.

    The file is written beside and takes its name at the end; after an error there is none, and an older one stays.
    """
    if out is None:
        yield (_Shown if sys.stdout.isatty() else _Lines)(sys.stdout)
        sys.stdout.flush()
        return
    with atomic_path(out) as draft:
        if out.suffix.lower() == ".parquet":
            parquet = _Parquet(draft)
            yield parquet
            parquet.close()
            return
        with draft.open("w", encoding="utf-8", newline="") as file:
            writer = _Csv(file) if out.suffix.lower() == ".csv" else _Lines(file)
            yield writer
            writer.close()


def flat(answer: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return an answer without nesting: names joined by dots, steps counted from 1, labels as one cell."""
    found: dict[str, Any] = {}
    for key, value in answer.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            found[name] = as_cell(value)
        elif isinstance(value, list):
            found |= flat({str(step): item for step, item in enumerate(value, start=1)}, f"{name}.")
        else:
            found[name] = value
    return found


# --- What was answered already.

Lines = list[dict[str, Any]]
"""Of each record its answer with `id`, or, of a refused one, `id`, `place` and `problems`."""


class Parts:
    """The parts of one file of answers.

    Args:
        out: The file; its parts lie beside it.
        model: The folder of the model.
    """

    def __init__(self, out: Path, model: Path) -> None:
        self._folder = out.with_name(f".{out.name}.parts")
        self._model = papers_digest(model)
        self.found = 0
        """Records whose answers were there."""

    def of(self, some: Sequence[Given], answer: Callable[[Sequence[Given]], Lines]) -> Lines:
        """Return what became of records: as it was written down, or as `answer` says, which is written down."""
        lines = self.known(some)
        if lines is None:
            lines = answer(some)
            self.keep(some, lines)
        return lines

    def known(self, some: Sequence[Given]) -> Lines | None:
        """Return what was written down of records, if anything."""
        try:
            lines: Lines = json.loads(self._path(some).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        self.found += len(lines)
        return lines

    def keep(self, some: Sequence[Given], lines: Lines) -> None:
        """Write down what became of records."""
        self._folder.mkdir(exist_ok=True)
        write_text(self._path(some), json.dumps(lines, ensure_ascii=False, allow_nan=False))

    def _path(self, some: Sequence[Given]) -> Path:
        named = msgspec.msgpack.encode([self._model, some])
        return self._folder / f"{hashlib.sha256(named).hexdigest()}.json"

    def remove(self) -> None:
        """Remove all parts: the file is whole."""
        shutil.rmtree(self._folder, ignore_errors=True)
