"""Tables of numbers and time stamps, column by column and batch by batch: delimited text and Parquet.

Millions of rows pass through without ever being in memory together. Everything in a text file comes as text;
what a cell means is decided by `pipeline/sources/column_cells.py`, with its line in every message.
"""

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet

from pipeline.runtime import DataRefused
from pipeline.sources.column_batch import Batch
from pipeline.sources.csv_batches import BLOCK_BYTES, FIX, csv_batches, header_names
from pipeline.sources.delimited import Dialect, in_words
from pipeline.sources.dialects import DelimiterOption, dialect_of
from pipeline.sources.problems import Problems, shown
from pipeline.sources.text_file import EncodingOption

BATCH_ROWS = 1 << 16
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Writing:
    """What the user stated about how text files are written; `auto` where nothing."""

    delimiter: DelimiterOption = "auto"
    encoding: EncodingOption = "auto"


def column_names(archive: tarfile.TarFile, member: str, writing: Writing) -> list[str]:
    """Return the names of the columns, without blanks around them and a `#` before the first.

    Raises:
        DataRefused: The file is damaged, empty or has no usable header.
    """
    with _opened(archive, member) as file:
        if _is_parquet(member):
            names = list(pyarrow.parquet.ParquetFile(file).schema_arrow.names)
        else:
            names = header_names(file, member, dialect(file, member, writing))
    if "" in names or len(set(names)) != len(names) or any("\n" in name for name in names):
        raise DataRefused(
            f"{member} does not name its columns. Expected a different name for each, in one line. "
            f"Received: {shown(', '.join(names))}. {FIX}"
        )
    return names


def written_in_words(archive: tarfile.TarFile, member: str, writing: Writing) -> str:
    """Return how a file is read, for people.

    Raises:
        DataRefused: The encoding of a text file cannot be told.
    """
    with _opened(archive, member) as file:
        words = "Parquet" if _is_parquet(member) else in_words(dialect(file, member, writing))
        return f"{member}: {words}"


def dialect(file: IO[bytes], member: str, writing: Writing) -> Dialect:
    """Return how a text file is written; the file is at its start again afterwards."""
    return dialect_of(file, member, delimiter=writing.delimiter, quoting="minimal", encoding=writing.encoding)


def batches(
    archive: tarfile.TarFile, member: str, names: Sequence[str], writing: Writing, problems: Problems
) -> Iterator[Batch]:
    """Yield the rows of a table, at most some ten thousand at a time.

    Args:
        archive: Holds the file.
        member: Parquet by its suffix, or text.
        names: Columns to yield from Parquet, which must be there; of text all are.
        writing: What the user stated about text files.
        problems: Takes lines of text files that are no rows.

    Raises:
        DataRefused: The file is damaged, or there were too many problems.
    """
    with _opened(archive, member) as file:
        if _is_parquet(member):
            yield from _parquet_batches(file, member, names)
        else:
            yield from csv_batches(file, member, dialect(file, member, writing), problems)


def _is_parquet(member: str) -> bool:
    return member.lower().endswith(PARQUET)


@contextmanager
def _opened(archive: tarfile.TarFile, member: str) -> Iterator[IO[bytes]]:
    file = archive.extractfile(member)
    if file is None:
        raise DataRefused(f"{member} is no regular file. Run `millrace init` on the original data.")
    try:
        with file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataRefused(
            f"{member} cannot be read. Expected an intact table with a header, as text or Parquet. "
            f"Received: {str(error).strip().splitlines()[0]}. {FIX}"
        ) from error


def _parquet_batches(file: IO[bytes], member: str, names: Sequence[str]) -> Iterator[Batch]:
    # A small buffer and no pre-buffering: a row group of ten million rows is read page by page.
    table = pyarrow.parquet.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False)
    first = 1
    for rows in table.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False):
        rows.validate(full=True)  # text that is no UTF-8 would only be found when somebody looks at it
        yield Batch(member, "row", first, (), {name: rows.column(name) for name in names})
        first += len(rows)
