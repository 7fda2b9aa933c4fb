"""Finding out how a file of delimited text is written, where nobody said it.

The first MiB is read in every way that is left open; the way with the fewest rows that do not fit wins.
A wrong guess cannot pass in silence: the dialect is shown, and reading is strict.
"""

import io
from pathlib import PurePosixPath
from typing import IO, Literal

from pipeline.runtime import DataRefused
from pipeline.sources.delimited import DELIMITERS, Dialect, Quoting, records
from pipeline.sources.problems import Problems
from pipeline.sources.text_file import Encoding, EncodingOption, encoding_of

SAMPLE_BYTES = 1 << 20
DelimiterOption = Literal["auto", "comma", "tab", "semicolon", "pipe"]
QuotingOption = Literal["auto", "minimal", "none"]
TAB_SUFFIXES = (".tsv", ".tab")


def dialect_of(
    file: IO[bytes],
    name: str,
    *,
    delimiter: DelimiterOption = "auto",
    quoting: QuotingOption = "auto",
    encoding: EncodingOption = "auto",
    header: bool = True,
) -> Dialect:
    """Return the dialect of a file: what was stated, completed by what its first MiB says.

    Args:
        file: Opened at its start, seekable; it is at its start again afterwards.
        name: Its name; the suffix decides between delimiters that fit equally well.
        delimiter: `auto`, or a key of `DELIMITERS`.
        quoting: `auto`, `minimal` or `none`.
        encoding: `auto` reads the whole file.
        header: Whether the first row names the columns; never guessed.

    Raises:
        DataRefused: The encoding cannot be told.
    """
    known, bom = encoding_of(file, name, encoding)
    sample = file.read(SAMPLE_BYTES)
    file.seek(0)
    whole = len(sample) < SAMPLE_BYTES
    if not whole:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    ways = [(mark, rule) for mark in _delimiters(name, delimiter) for rule in _rules(quoting)]
    best = min(ways, key=lambda way: _misfit(sample, known, *way, whole=whole)) if len(ways) > 1 else ways[0]
    stated = {"delimiter": delimiter, "quoting": quoting, "encoding": encoding}
    return Dialect(
        delimiter=best[0],
        quoting=best[1],
        encoding=known,
        header=header,
        bom=bom,
        detected=frozenset(part for part, option in stated.items() if option == "auto"),
    )


def _delimiters(name: str, option: DelimiterOption) -> list[str]:
    """Return what may stand between fields, the likeliest first."""
    if option != "auto":
        return [DELIMITERS[option]]
    tabs = PurePosixPath(name).suffix.lower() in TAB_SUFFIXES
    return sorted(DELIMITERS.values(), key=lambda mark: (mark == "\t") != tabs)


def _rules(option: QuotingOption) -> list[Quoting]:
    return ["minimal", "none"] if option == "auto" else [option]


def _misfit(
    sample: bytes, encoding: Encoding, delimiter: str, quoting: Quoting, *, whole: bool
) -> tuple[bool, int]:
    """Return how badly a sample fits: whether it is a single column, then how many rows are odd."""
    problems = Problems(limit=1_000)
    columns = 0
    try:
        for record in records(io.BytesIO(sample), "", Dialect(delimiter, quoting, encoding), problems):
            columns = len(record.fields)
    except DataRefused:
        return columns < 2, problems.count
    # The end of the sample may have cut through a field in quotes.
    return columns < 2, max(0, problems.count - (not whole))
