"""The .tsv and .txt formats of the UCR archive: one univariate series per line, its class first.

In .tsv tabs separate the values, in .txt spaces or commas do. NaN is a missing value; NaN up to the end of a
line fills up a shorter series and is taken off (H. A. Dau et al., "The UCR time series archive", 2018).
"""

import re
from collections.abc import Iterator

import numpy as np

from pipeline.formats.cells import label_text, numbers
from pipeline.formats.problems import ARCHIVE_FIX, Problems, SeriesRow, shown, without_padding

MISSING = frozenset(["NaN", "nan", "?"])
SPACES = re.compile(r"[ \t]+")


def tsv_rows(lines: Iterator[str], name: str, problems: Problems) -> Iterator[SeriesRow]:
    """Yield the series of a .tsv file, line by line; arguments and errors as `ts_format.rows`."""
    yield from _rows(((line, line.split("\t")) for line in lines), name, problems)


def txt_rows(lines: Iterator[str], name: str, problems: Problems) -> Iterator[SeriesRow]:
    """Yield the series of a .txt file, line by line; arguments and errors as `ts_format.rows`."""
    yield from _rows(((line, _split_txt(line)) for line in lines), name, problems)


def _split_txt(line: str) -> list[str]:
    text = line.strip(" \t")
    cells = text.split(",")
    # A blank within the class: commas are not what separates here, and will be refused as values.
    return SPACES.split(text) if len(cells) == 1 or SPACES.search(cells[0].strip(" \t")) else cells


def _rows(lines: Iterator[tuple[str, list[str]]], name: str, problems: Problems) -> Iterator[SeriesRow]:
    columns: int | None = None
    for number, (line, cells) in enumerate(lines, start=1):
        if not line.strip(" \t"):
            continue
        place = f"{name}, line {number}"
        before = problems.count
        columns = len(cells) if columns is None else columns
        if len(cells) != columns:
            problems.add(place, f"{columns} values, as in the first line", str(len(cells)), ARCHIVE_FIX)
        label = label_text(cells[0])
        if not label:
            problems.add(f"{place}, column 1", "a class", shown(cells[0]), ARCHIVE_FIX)
        values, wrong = numbers(cells[1:], MISSING)
        for index in wrong:
            where = f"{place}, column {index + 2}"
            problems.add(where, "a number, or NaN for a missing value", shown(cells[index + 1]), ARCHIVE_FIX)
        series = without_padding(values[:, None].astype(np.float32))
        if not len(series) and not wrong:
            problems.add(
                place, "a class and at least one value", f"{len(cells)} columns without a value", ARCHIVE_FIX
            )
        if problems.count == before:
            yield SeriesRow(number, series, label)
