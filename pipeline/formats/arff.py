r"""The .arff format of Weka, as the UEA and UCR archives use it.

Univariate: one numeric attribute per step, then the class. Multivariate: one relational attribute, whose
cell is a quoted text with one line (a literal `\n`) per channel, then the class. `?` is a missing value;
`?` up to the end of a series fills up a shorter one and is taken off.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.formats.cells import label_text, numbers
from pipeline.formats.problems import ARCHIVE_FIX, Problems, SeriesRow, shown, without_padding

ATTRIBUTE = re.compile(r"@attribute\s+('[^']*'|\"[^\"]*\"|\S+)\s+(.*)", re.IGNORECASE)
RELATIONAL = re.compile(r"\s*(['\"])(.*)\1\s*,(.*)", re.DOTALL)
NUMERIC = ("numeric", "real", "integer")
NOMINAL_VALUE = re.compile(r"\s*('[^']*'|\"[^\"]*\"|[^,]*)\s*(?:,|$)")
MISSING = frozenset(["?"])


@dataclass(frozen=True)
class _Header:
    """Steps of a series, whether it has channels of its own, and the names of the classes."""

    steps: int
    relational: bool
    labels: tuple[str, ...]


def rows(lines: Iterator[str], name: str, problems: Problems) -> Iterator[SeriesRow]:
    """Yield the series of an .arff file, line by line; arguments and errors as `ts.rows`."""
    numbered = enumerate(lines, start=1)
    header = _read_header(numbered, name, problems)
    if header is None:
        return
    channels: int | None = None
    for number, line in numbered:
        if not line.strip() or line.lstrip().startswith("%"):
            continue
        place = f"{name}, line {number}"
        row = _read_row(line, number, header, place, problems)
        if row is None:
            continue
        channels = row.series.shape[1] if channels is None else channels
        if row.series.shape[1] == channels:
            yield row
        else:
            problems.add(f"{place}, channels", str(channels), str(row.series.shape[1]), ARCHIVE_FIX)


def _read_header(numbered: Iterator[tuple[int, str]], name: str, problems: Problems) -> _Header | None:
    attributes: list[str] = []
    before = problems.count
    for number, line in numbered:
        text = line.strip()
        word = text.split(maxsplit=1)[0].lower() if text else ""
        if not text or text.startswith("%") or word in ("@relation", "@end"):
            continue
        if word == "@data":
            return _header(attributes, name, problems) if problems.count == before else None
        match = ATTRIBUTE.fullmatch(text)
        kind = match[2].strip() if match else ""
        if kind.lower() not in (*NUMERIC, "relational") and not (kind.startswith("{") and kind.endswith("}")):
            expected = "@attribute NAME numeric, relational or {classes}; @end, @data or %"
            problems.add(f"{name}, line {number}", expected, shown(text), ARCHIVE_FIX)
        attributes.append(kind)
    problems.add(name, "a line @data", "the end of the file", ARCHIVE_FIX)
    return None


def _header(attributes: list[str], name: str, problems: Problems) -> _Header | None:
    """Return what the attributes say, or None if they are no series with a class."""
    kinds = [kind.lower() for kind in attributes[:-1]]
    relational = kinds[:1] == ["relational"]
    steps = len(kinds) - relational
    numeric = all(kind in NUMERIC for kind in kinds[relational:])
    if steps < 1 or not numeric or not attributes[-1].startswith("{"):
        expected = (
            "one numeric attribute per step (all within one relational attribute, or none), then the classes"
        )
        problems.add(f"{name}, attributes", expected, shown(", ".join(attributes)), ARCHIVE_FIX)
        return None
    return _Header(steps, relational, _nominal(attributes[-1]))


def _nominal(kind: str) -> tuple[str, ...]:
    """Return the names between braces."""
    names = (match[1] for match in NOMINAL_VALUE.finditer(kind.strip()[1:-1]))
    return tuple(label_text(_unquoted(name)) for name in names if name.strip())


def _unquoted(text: str) -> str:
    stripped = text.strip()
    quoted = len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "'\""
    return stripped[1:-1] if quoted else stripped


def _read_row(line: str, number: int, header: _Header, place: str, problems: Problems) -> SeriesRow | None:
    """Return the series of one line, or None if it cannot be read."""
    before = problems.count
    if header.relational:
        match = RELATIONAL.fullmatch(line)
        if match is None:
            problems.add(place, "a quoted relational cell, a comma and a class", shown(line), ARCHIVE_FIX)
            return None
        channels, answer = match[2].split("\\n"), match[3]
    else:
        values, _, answer = line.rpartition(",")
        channels = [values]
    label = label_text(_unquoted(answer))
    if label not in header.labels:
        problems.add(f"{place}, class", f"one of {', '.join(header.labels)}", shown(answer), ARCHIVE_FIX)
    columns = [
        _channel(text, header.steps, f"{place}, channel {index}", problems)
        for index, text in enumerate(channels, start=1)
    ]
    if problems.count > before:
        return None
    series = without_padding(np.stack(columns, axis=1))
    if not len(series):
        problems.add(place, "at least one value", "none", ARCHIVE_FIX)
        return None
    return SeriesRow(number, series, label)


def _channel(text: str, steps: int, place: str, problems: Problems) -> np.ndarray:
    cells = text.split(",")
    values, wrong = numbers(cells, MISSING)
    for index in wrong:
        where = f"{place}, value {index + 1}"
        problems.add(where, "a number, or ? for a missing value", shown(cells[index]), ARCHIVE_FIX)
    if len(cells) != steps:
        problems.add(f"{place}, values", str(steps), str(len(cells)), ARCHIVE_FIX)
    return values.astype(np.float32)
