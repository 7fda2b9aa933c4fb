"""The formats of the UEA and UCR time series archives: .ts, and .tsv and .txt with the class first.

A header of `@name value` lines up to `@data`, then one series per line: channels separated by `:`, values by
`,`, a missing value is `?`, and the class (or the target) stands last. What the header says is checked
against every line (A. Bagnall et al., "The UEA multivariate time series classification archive, 2018").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.formats.cells import is_number, label_text, numbers
from pipeline.formats.problems import ARCHIVE_FIX, Problems, SeriesRow, shown, without_padding

ALIASES = {"dimension": "dimensions"}
"""Some files of the archive write it so."""
FLAGS = ("timestamps", "missing", "univariate", "equallength", "classlabel", "targetlabel")
COUNTS = ("dimensions", "serieslength")
TAGS = frozenset([*FLAGS, *COUNTS, "problemname", "data"])
MISSING = frozenset(["?", "NaN", "nan"])


@dataclass
class _Header:
    """What stands above `@data`; nothing is in a mapping that the file does not say."""

    flags: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def says(self, flag: str, *, otherwise: bool = False) -> bool:
        return self.flags.get(flag, otherwise)


def rows(lines: Iterator[str], name: str, problems: Problems) -> Iterator[SeriesRow]:
    """Yield the series of a .ts file, line by line.

    Args:
        lines: The file's lines.
        name: Of the file, for messages.
        problems: Takes everything that is wrong; a wrong line is left out.

    Raises:
        DataRefused: So many problems that reading stopped.
    """
    numbered = enumerate(lines, start=1)
    header = _read_header(numbered, name, problems)
    if header is None:
        return
    channels = header.counts.get("dimensions", 1 if header.says("univariate") else None)
    length = header.counts.get("serieslength")
    for number, line in numbered:
        if not line.strip():
            continue
        row = _read_row(line, number, header, name, problems)
        if row is None:
            continue
        # Where the header gives no number, the first line does.
        channels = row.series.shape[1] if channels is None else channels
        length = row.series.shape[0] if length is None else length
        if _fits(row, header, channels, length, place=f"{name}, line {number}", problems=problems):
            yield row


def _read_header(numbered: Iterator[tuple[int, str]], name: str, problems: Problems) -> _Header | None:
    header = _Header()
    seen: set[str] = set()
    for number, line in numbered:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        tag, *values = text.split()
        key = ALIASES.get(tag[1:].lower(), tag[1:].lower())
        place = f"{name}, line {number}"
        if not tag.startswith("@") or key not in TAGS or key in seen:
            problems.add(
                place, f"one of @{', @'.join(sorted(TAGS))}, each once, or #", shown(text), ARCHIVE_FIX
            )
        elif key == "data":
            _check_header(header, name, problems)
            return header
        else:
            _take(header, key, values, place, problems)
        seen.add(key)
    problems.add(name, "a line @data", "the end of the file", ARCHIVE_FIX)
    return None


def _take(header: _Header, key: str, values: list[str], place: str, problems: Problems) -> None:
    """Take one line of the header."""
    first = values[0].lower() if values else ""
    if key in COUNTS:
        if first.isascii() and first.isdigit() and int(first[:18]) > 0 and len(values) == 1:
            header.counts[key] = int(first[:18])
        else:
            problems.add(place, "a whole number of at least 1", shown(" ".join(values)), ARCHIVE_FIX)
    elif key in FLAGS:
        if first not in ("true", "false"):
            problems.add(place, "true or false", shown(" ".join(values)), ARCHIVE_FIX)
        header.flags[key] = first == "true"
        if key == "classlabel":
            header.labels = tuple(label_text(value) for value in values[1:])


def _check_header(header: _Header, name: str, problems: Problems) -> None:
    """Note what the lines of the header contradict each other in."""
    if header.says("timestamps"):
        problems.add(
            f"{name}, @timeStamps", "false", "true", "Use --kind series_table for series with time stamps."
        )
    if header.says("classlabel") and header.says("targetlabel"):
        problems.add(
            f"{name}, header", "a class or a target", "@classLabel true and @targetLabel true", ARCHIVE_FIX
        )
    if header.says("univariate") and header.counts.get("dimensions", 1) != 1:
        received = f"@dimensions {header.counts['dimensions']}"
        problems.add(f"{name}, header", "one dimension (@univariate true)", received, ARCHIVE_FIX)


def _read_row(line: str, number: int, header: _Header, name: str, problems: Problems) -> SeriesRow | None:
    """Return the series of one line, or None if it cannot be read."""
    place = f"{name}, line {number}"
    before = problems.count
    fields = line.strip().split(":")
    has_label, has_target = header.says("classlabel"), header.says("targetlabel")
    answer = fields.pop().strip() if has_label or has_target else ""
    values = _channels(fields, place, problems)
    label = label_text(answer)
    if has_target and not is_number(answer):
        problems.add(f"{place}, target", "a number", shown(answer), ARCHIVE_FIX)
    if has_label and (not label or (header.labels and label not in header.labels)):
        expected = f"one of @classLabel {' '.join(header.labels)}"
        problems.add(f"{place}, class", expected, shown(answer), ARCHIVE_FIX)
    if problems.count > before:
        return None
    series = np.stack(values, axis=1)
    return SeriesRow(number, series, target=float(answer)) if has_target else SeriesRow(number, series, label)


def _channels(fields: list[str], place: str, problems: Problems) -> list[np.ndarray]:
    """Return the values of every channel, and note those that are none."""
    values = []
    for channel, text in enumerate(fields, start=1):
        cells = text.split(",")
        found, wrong = numbers(cells, MISSING)
        values.append(found.astype(np.float32))
        for index in wrong:
            where = f"{place}, channel {channel}, value {index + 1}"
            problems.add(where, "a number, or ? for a missing value", shown(cells[index]), ARCHIVE_FIX)
    lengths = [len(channel) for channel in values]
    if len(set(lengths)) != 1:
        received = ", ".join(map(str, lengths)) if lengths else "none"
        problems.add(f"{place}, steps per channel", "channels of one length", received, ARCHIVE_FIX)
    return values


def _fits(
    row: SeriesRow, header: _Header, channels: int, length: int, *, place: str, problems: Problems
) -> bool:
    """Say whether a series is as the header promises, and note it where it is not."""
    before = problems.count
    steps, found = row.series.shape
    if found != channels:
        problems.add(f"{place}, channels", str(channels), str(found), ARCHIVE_FIX)
    if header.says("equallength") and steps != length:
        problems.add(f"{place}, steps (@equalLength true)", str(length), str(steps), ARCHIVE_FIX)
    if not header.says("missing", otherwise=True) and bool(np.isnan(row.series).any()):
        problems.add(
            f"{place}, values (@missing false)", "a number everywhere", "a missing value", ARCHIVE_FIX
        )
    return problems.count == before


SPACES = re.compile(r"[ \t]+")


def tsv_rows(lines: Iterator[str], name: str, problems: Problems) -> Iterator[SeriesRow]:
    """Yield the series of a .tsv file, line by line; arguments and errors as `ts.rows`."""
    yield from _rows(((line, line.split("\t")) for line in lines), name, problems)


def txt_rows(lines: Iterator[str], name: str, problems: Problems) -> Iterator[SeriesRow]:
    """Yield the series of a .txt file, line by line; arguments and errors as `ts.rows`."""
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
