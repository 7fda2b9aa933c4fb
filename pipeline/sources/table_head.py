"""Files that nobody has said anything about: the first rows of tables, their columns, what their cells look like.

Guesses for `millrace init` without `--kind`; whoever reads the data is told what to read. A third of this long file is
what times look like.
"""

import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from pipeline.formats.cells import is_missing, plain_number
from pipeline.formats.json_rows import array_items, is_array, nested_keys, value_at
from pipeline.formats.problems import Problems, in_a_shell
from pipeline.formats.tables import (
    FORM_BYTES,
    FORMATS,
    Format,
    FormatOption,
    Writing,
    form_of_bytes,
    literal,
    python_command,
    read_table,
)
from pipeline.formats.time_advice import formats_of
from pipeline.formats.time_formats import time_format
from pipeline.formats.written_numbers import advice, looks_marked
from pipeline.raw.left_out import by_folder_and_suffix, in_words
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.path_labels import SPLIT_CELLS

HEAD_BYTES = 1 << 18
HEAD_ROWS = 2000
MOST_TABLES, SOME_TABLES = 48, 12
"""Tables that are all looked into, and how many of more."""
MOST_COLUMNS = 20
MOST_REASONS = 2
MOST_SHOWN = 4
MOST_CLASSES = 100
COUNTED = 5
"""Whole numbers one after the other: from so many on they are names, not values."""
TIMES = ("time", "timestamp", "date", "datetime", "ts", "stamp", "zeit", "datum", "when")
NO_TABLES = frozenset([".gif", ".jpeg", ".jpg", ".md", ".pdf", ".png", ".tif", ".zip"])
FORMATS_OF_TIME = (
    ("auto", re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?")),
    ("auto", re.compile(r"\d{4}-?(Q[1-4]|W\d{2})")),
    ("%d.%m.%Y", re.compile(r"\d{1,2}[.]\d{1,2}[.]\d{4}")),
    ("%d.%m.%Y %H:%M", re.compile(r"\d{1,2}[.]\d{1,2}[.]\d{4} \d{1,2}:\d{2}")),
    ("%d.%m.%Y %H:%M:%S", re.compile(r"\d{1,2}[.]\d{1,2}[.]\d{4} \d{1,2}:\d{2}:\d{2}")),
    ("%d.%m.%Y %H:%M:%S.%f", re.compile(r"\d{1,2}[.]\d{1,2}[.]\d{4} \d{1,2}:\d{2}:\d{2}[.]\d+")),
    ("%d.%m.%Y %H:%M:%S,%f", re.compile(r"\d{1,2}[.]\d{1,2}[.]\d{4} \d{1,2}:\d{2}:\d{2},\d+")),
    ("%Y/%m/%d", re.compile(r"\d{4}/\d{1,2}/\d{1,2}")),
    ("%Y/%m/%d %H:%M", re.compile(r"\d{4}/\d{1,2}/\d{1,2} \d{1,2}:\d{2}")),
    ("%Y/%m/%d %H:%M:%S", re.compile(r"\d{4}/\d{1,2}/\d{1,2} \d{1,2}:\d{2}:\d{2}")),
    ("%Y", re.compile(r"(1[5-9]|20)\d{2}")),
    ("%Y%m%d", re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")),
    ("%Y%m%d%H%M", re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d")),
    (
        "%Y%m%d%H%M%S",
        re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d){2}"),
    ),
    ("seconds", re.compile(r"1\d{9}([.]\d+)?")),
    ("milliseconds", re.compile(r"1\d{12}")),
    ("microseconds", re.compile(r"1\d{15}")),
    ("nanoseconds", re.compile(r"1\d{18}")),
)
"""How times are written, where one reading is possible."""
SLASHED = re.compile(
    r"(\d{1,2})/(\d{1,2})/\d{4}(?P<clock> \d{1,2}:\d{2}(?P<seconds>:\d{2})?(?P<half> [AaPp][Mm])?)?"
)
"""03/04/2024 has two readings, unless a number beyond 12 stands somewhere in its column."""
YEAR = re.compile(r"(?<!\d)(1[89]|20)\d\d(?!\d)")
DAY_OR_MONTH = re.compile(r"(?<!\d)(0?[1-9]|[12]\d|3[01])(?!\d)")
WORD = re.compile(r"[^\W\d_]{3,}")
MONTH = re.compile(
    r"jan|ene|gen|f[eé][bv]|mar|mär|mrz|maa|a[pbv]r|ma[iyjg]|mei|ju[nli]|giu|lug|a[ug]g|ago|aoû|sep|set|o[kc]t|ott|out"
    r"|nov|d[eéi][zc]",
    re.IGNORECASE,
)
"""How months begin in languages of western Europe; in others a word beside a day will do."""
LONGEST_DATE = 40
TRIED_TIMES = 200
KEY_ROWS = 100
FEWEST_TIMES = 5
"""Columns that are called by times: one or two may be."""
STATED_NOTHING = Writing()
MOSTLY = 0.9
"""Of the cells of a column, that are times: the reader names the others with their lines."""


@dataclass(frozen=True)
class Column:
    """The first cells of a column.

    Attributes:
        name: From the header, or its number.
        cells: Those that hold something.
        count: All cells that were looked at.
    """

    name: str
    cells: Sequence[Any]
    count: int

    @cached_property
    def values(self) -> Counter[str]:
        """Return how often each value is there."""
        return Counter(str(cell) for cell in self.cells)

    @cached_property
    def numeric(self) -> bool:
        """Return whether all cells are numbers."""
        return bool(self.cells) and all(plain_number(cell) is not None for cell in self.cells)

    @cached_property
    def marked(self) -> bool:
        """Return whether all cells are numbers as people write them, and some no plain ones: `1.362,85`, `49 %`."""
        odd = [str(cell) for cell in self.cells if plain_number(cell) is None]
        some = len(odd) < len(self.cells) or any(map(looks_marked, odd))
        return bool(odd) and some and not self.time_format and bool(advice(odd))

    @cached_property
    def words(self) -> float:
        """Return the mean number of words."""
        return sum(len(str(cell).split()) for cell in self.cells) / max(1, len(self.cells))

    @property
    def time_format(self) -> str:
        """Return how the times of this column are written, as `--set time_format=` takes it; "" if it has none."""
        return self.time_formats[0] if self.time_formats else ""

    @cached_property
    def time_formats(self) -> tuple[str, ...]:
        """Return every way in which the times of this column may be read; where there are two, none is sure."""
        if not self.cells:
            return ()
        if all(type(cell).__name__ in ("datetime", "date", "Timestamp") for cell in self.cells):
            return ("auto",)
        return self._formats([str(cell).strip() for cell in self.cells])

    @cached_property
    def nearly_time_formats(self) -> tuple[str, ...]:
        """Return what `time_formats` does of a column in which a few cells are no times, such as `Total`."""
        if self.time_formats or self.words > 6:
            return self.time_formats
        written = [str(cell).strip() for cell in self.cells]
        dated = [cell for cell in written if re.search(r"\d", cell)]
        return self._formats(dated) if MOSTLY * len(written) <= len(dated) < len(written) else ()

    @property
    def looks_dated(self) -> bool:
        """Return whether its cells look like times, in whatever language: `3. März 2023`."""
        different = len(self.values) > len(self.cells) // 2
        return different and self.words <= 6 and all(_is_dated(str(cell)) for cell in self.cells)

    def _formats(self, written: Sequence[str]) -> tuple[str, ...]:
        named = any(word in self.name.casefold() for word in (*TIMES, "epoch", "year", "jahr"))
        if self.numeric and not named:
            return ()
        for name, pattern in FORMATS_OF_TIME:
            if all(pattern.fullmatch(cell) for cell in written):
                return (name,)
        if slashed := _slashed(written):
            return slashed
        if self.words > 6 or not all(re.search(r"\d", cell) and len(cell) <= 40 for cell in written):
            return ()
        some = [*written[:: max(1, len(written) // TRIED_TIMES)], *written[-1:]]
        found = formats_of(some) if not self.numeric or len(written[0]) >= 6 else []
        cells = pa.array(some, pa.string())
        return tuple(form for form in found if bool(time_format(form).read(cells).written.all()))

    @cached_property
    def gives_split(self) -> bool:
        """Return whether its cells say train, and val or test, in every row."""
        words = {value.strip().casefold() for value in self.values}
        full = len(self.cells) == self.count
        return full and words <= SPLIT_CELLS.keys() and {SPLIT_CELLS[word] for word in words} > {"train"}

    @property
    def plain_name(self) -> str:
        """Return its name as the kinds of series have it: without blanks around it, or a `#` before it."""
        return self.name.strip(" \t").removeprefix("#").strip(" \t")

    @property
    def called(self) -> str:
        """Return its name for comparisons; of a path into JSON the last part that is no place in a list."""
        parts = [part for part in self.name.casefold().split(".") if not part.isdigit()]
        return parts[-1].strip() if parts else self.name.casefold()

    def is_called(self, names: Sequence[str]) -> bool:
        """Return whether its name is one of these."""
        return self.called in names

    @property
    def looks_like_classes(self) -> bool:
        """Return whether a few values come again and again, and give no split; rows without one are told when read."""
        return self.repeats and not self.gives_split

    @property
    def repeats(self) -> bool:
        """Return whether a few values come again and again."""
        few = 2 <= len(self.values) <= min(MOST_CLASSES, max(2, len(self.cells) // 2))
        return few and 2 * len(self.cells) > self.count and self.words < 4


def _is_dated(cell: str) -> bool:
    """Tell whether a cell names a year, a day or month beside it, and one word more at most; titles name years, too."""
    words = WORD.findall(cell)
    months = [word for word in words if MONTH.match(word)]
    parts = months or DAY_OR_MONTH.search(cell)
    return bool(
        len(cell) <= LONGEST_DATE and YEAR.search(cell) and parts and len(words) <= 1 + len(months[:1])
    )


def _slashed(written: Sequence[str]) -> tuple[str, ...]:
    """Return the formats that read 03/04/2024 with or without a time of day, in all of the cells."""
    found = [SLASHED.fullmatch(cell) for cell in written]
    parts = [match for match in found if match is not None]
    ways = {(match["clock"] is None, match["seconds"] is None, match["half"] is None) for match in parts}
    if len(parts) < len(found) or len(ways) > 1:
        return ()
    no_clock, no_seconds, no_half = ways.pop()
    half, seconds = ("%H", "") if no_half else ("%I", " %p"), "" if no_seconds else ":%S"
    hours = f"{half[0]}:%M{seconds}{half[1]}"
    first, second = (max(int(match[place]) for match in parts) for place in (1, 2))
    dates = [form for form, month in (("%m/%d/%Y", first), ("%d/%m/%Y", second)) if month <= 12]
    return tuple(dates if no_clock else [f"{date} {hours}" for date in dates])


@dataclass(frozen=True)
class TableHead:
    """The first rows of a table.

    Attributes:
        name: Of the file.
        columns: Without those that hold nothing.
        options: What had to be stated to read it: header, format, skip, units_row.
        form: How it is written.
    """

    name: str
    columns: Sequence[Column]
    options: Mapping[str, str]
    form: Format = "csv"


def table_head(path: Path, name: str, writing: Writing = STATED_NOTHING) -> TableHead | str:
    """Return the first rows of a file, with what must be stated to read it; why not, where it is no table.

    Args:
        path: The file.
        name: What it is called where it was given; its suffix says the format.
        writing: What is stated already.
    """
    if PurePosixPath(name).suffix.lower() in NO_TABLES:
        return ""
    with path.open("rb") as file:
        begin = file.read(HEAD_BYTES)
    try:
        if writing.format == "auto":
            writing = replace(writing, format=_stated_format(name, begin))
        form = form_of_bytes(begin[:FORM_BYTES], name, writing.format)
        with path.open("rb") if form == "parquet" else io.BytesIO(whole_lines(begin)) as opened:
            return _head(opened, name, writing, form)
    except DataRefused as refused:
        # What the reader says of lines above a table is followed, and told.
        skip = re.search(r"--set skip=(\d+)", str(refused))
        if skip is None or writing.skip:
            return str(refused)
        writing = replace(writing, skip=int(skip[1]))
    except (WronglyCalled, ValueError) as error:  # ValueError: JSON that is none
        return str(error)
    try:
        return _head(io.BytesIO(whole_lines(begin)), name, writing, "csv")
    except (DataRefused, WronglyCalled, ValueError) as error:
        return str(error)


def _head(file: IO[bytes], name: str, writing: Writing, form: Format) -> TableHead:
    text = form in ("csv", "tsv")
    columns, options = _columns(file, name, writing), _option(writing.format)
    if writing.skip:
        options["skip"] = str(writing.skip)
    if text and writing.header and _is_data(columns):
        file.seek(0)
        columns, options["header"] = _columns(file, name, replace(writing, header=False)), "false"
    elif text and not writing.units_row and _has_units(columns):
        file.seek(0)
        columns, options["units_row"] = _columns(file, name, replace(writing, units_row=True)), "true"
    return TableHead(name, columns, options, form)


def _has_units(columns: Sequence[Column]) -> bool:
    """Tell whether only the first row keeps columns from being numbers."""
    odd = [column for column in columns if not column.numeric and not column.marked]
    below = [replace(column, cells=column.cells[1:], count=column.count - 1) for column in odd]
    # A column of times or words that is full has a value in that row: it is a row of data then.
    full = [column for column, rest in zip(odd, below, strict=True) if not (rest.numeric or rest.marked)]
    return len(full) < len(odd) and all(len(column.cells) < column.count for column in full)


def whole_lines(content: bytes, size: int = HEAD_BYTES) -> bytes:
    """Return the beginning of a text file without its last, broken line; a short file as it is."""
    end = content.rfind(b"\n")
    return content if len(content) < size or end < 0 else content[: end + 1]


def _stated_format(name: str, begin: bytes) -> FormatOption:
    """Return the format to state, "auto" where the suffix says it."""
    if PurePosixPath(name).suffix.lower() in FORMATS or form_of_bytes(begin, name, "auto") != "csv":
        return "auto"  # the reader sees it from the bytes, too
    lines = whole_lines(begin).splitlines()[:50]
    return (
        "tsv" if lines and all(line.count(b"\t") == lines[0].count(b"\t") > 0 for line in lines) else "auto"
    )


def _option(stated: FormatOption) -> dict[str, str]:
    return {} if stated == "auto" else {"format": stated}


def _columns(file: IO[bytes], name: str, writing: Writing) -> list[Column]:
    problems = Problems()
    table = read_table(file, name, writing, problems)
    names = table.columns if table.columns is not None else _keys(file, name)
    cells: dict[str, list[Any]] = {column: [] for column in names}
    count = 0
    for batch in table.batches(list(names)):
        for row in batch.rows(list(names)):
            if count < HEAD_ROWS:
                count += 1
                for column, cell in zip(names, row, strict=True):
                    if not is_missing(cell) and str(cell).strip():
                        cells[column].append(cell)
        if count >= HEAD_ROWS:
            break
    if not count:
        problems.check()
    return [Column(column, found, count) for column, found in cells.items() if found]


def _keys(file: IO[bytes], name: str) -> tuple[str, ...]:
    """Return the paths of the values in the first objects of JSON; a list of several words is one value."""
    if is_array(file):
        first = [item for item, _ in islice(array_items(file, dict, float), KEY_ROWS)]
    else:
        first = [json.loads(line) for line in islice(file, KEY_ROWS) if line.strip()]
    file.seek(0)
    if not first or not isinstance(first[0], dict):
        raise DataRefused(f"{name} holds no objects. Expected one per line.")
    keys = [_as_a_list(key, first) for key in nested_keys(first[0])]
    return tuple(dict.fromkeys(keys))


def _as_a_list(key: str, objects: Iterable[Any]) -> str:
    """Return the path of a list in place of that of its first word, where some hold several or none."""
    path, _, last = key.rpartition(".")
    lists = (
        [found for item in objects if isinstance(found := value_at(item, path), list)] if last == "0" else []
    )
    plain = all(isinstance(word, str) for found in lists for word in found)
    return path if lists and plain and any(len(found) != 1 for found in lists) else key


def _is_data(columns: Sequence[Column]) -> bool:
    """Return whether the header looks like one more row: a number, or a value that comes again below."""
    names = [column.name.strip() for column in columns if plain_number(column.name) is not None]
    whole = [int(name) for name in names if name.isdigit()]
    if len(whole) == len(names) >= COUNTED and whole == list(range(whole[0], whole[0] + len(whole))):
        return False  # pandas numbers columns that have no name
    return bool(names) or any(column.values.get(column.name, 0) >= 2 for column in columns)


# --- All files, and the tables among them.


def _names_in(head: TableHead) -> tuple[str, ...]:
    """Return the columns of a table; of one without header its name."""
    return tuple(column.name for column in head.columns) if "header" not in head.options else (head.name,)


class Look:
    """Files that somebody pointed at: their names, and how they begin.

    Args:
        files: Where each lies, by its name, with `/`.
        writing: What is stated about tables.

    Attributes:
        mixed: Tables by their columns, once `tables` has been asked for, where they have different ones.
    """

    def __init__(self, files: Mapping[str, Path], writing: Writing = STATED_NOTHING) -> None:
        self.names = list(files)
        self._files = files
        self._writing = writing
        self._heads: dict[str, TableHead | str] = {}
        self.mixed: Mapping[tuple[str, ...], Sequence[TableHead]] = {}

    def first_bytes(self, name: str, size: int = HEAD_BYTES) -> bytes:
        """Return how a file begins."""
        with self._files[name].open("rb") as file:
            return file.read(size)

    def named(self, suffixes: Iterable[str]) -> list[str]:
        """Return the files with one of these suffixes, which are given in lower case with the dot."""
        wanted = set(suffixes)
        return [name for name in self.names if PurePosixPath(name).suffix.lower() in wanted]

    def table(self, name: str) -> TableHead | None:
        """Return the first rows of a file; None where it is no table."""
        if name not in self._heads:
            self._heads[name] = table_head(self._files[name], name, self._writing)
        head = self._heads[name]
        return head if isinstance(head, TableHead) else None

    @property
    def no_tables(self) -> list[str]:
        """Return why files with the suffix of a table could not be read as one."""
        named = set(self.named(FORMATS))
        return [why for name, why in self._heads.items() if name in named and isinstance(why, str) and why]

    @cached_property
    def tables(self) -> list[TableHead]:
        """Return one table for each set of columns that there is; where there are several, it says `files`.

        Files without a known suffix are looked into where no other is a table.
        """
        named = self.named(FORMATS)
        plain = [
            name for name in self.names if PurePosixPath(name).suffix.lower() in ("", ".txt", ".dat", ".data")
        ]
        for names in (named, self.names if len(self.names) == 1 else plain):
            # Of hundreds some tell what the others are; the reader looks at all of them, and says where one differs.
            every = 1 if len(names) <= MOST_TABLES else math.ceil(len(names) / SOME_TABLES)
            looked_at = names[::every]
            heads = [head for name in looked_at if (head := self.table(name)) and len(head.columns) > 1]
            if heads:
                break
        groups: dict[tuple[str, ...], list[TableHead]] = {}
        for head in heads:
            groups.setdefault(_names_in(head), []).append(head)
        self.mixed = groups if len(groups) > 1 else {}
        if len(groups) == 1 and len(heads) == len(looked_at) and (named or len(self.names) == 1):
            return heads[:1]
        if every > 1:
            return []
        return [
            replace(heads[0], options={**heads[0].options, "files": glob})
            for heads in groups.values()
            if (glob := self._glob([head.name for head in heads]))
        ]

    def _glob(self, wanted: Sequence[str]) -> str:
        """Return what chooses these files and no others; "" if no simple pattern does."""
        first = PurePosixPath(wanted[0])
        begin = _common_beginning([PurePosixPath(name).name for name in wanted])
        for pattern in (str(first), f"{first.parent}/*{first.suffix}", f"{begin}*{first.suffix}"):
            covered = [name for name in self.names if fnmatchcase(name, pattern)]
            covered = covered or [
                name for name in self.names if fnmatchcase(PurePosixPath(name).name, pattern)
            ]
            if sorted(covered) == sorted(wanted):
                return pattern
        return ""


def seen(look: Look) -> list[str]:
    """Return what lies there, in words: files by folder and suffix, and the columns of tables."""
    lines = [in_words(by_folder_and_suffix(look.names))]
    for head in look.tables:
        columns = ", ".join(column.name for column in head.columns[:MOST_COLUMNS])
        more = f" and {len(head.columns) - MOST_COLUMNS} more" if len(head.columns) > MOST_COLUMNS else ""
        lines.append(f"{head.name}: columns {columns}{more}")
        lines += [
            f"column {column.name!r} looks like times that are not read, such as {column.cells[0]!r}; write them as "
            "2026-11-23 17:05, or with English names of months"
            for column in head.columns
            if column.looks_dated and not column.nearly_time_formats
        ]
        lines += _turned(head)
    if len(look.tables) < len(look.mixed):
        shown = [
            f"{heads[0].name} has {', '.join(names[:MOST_COLUMNS])}" for names, heads in look.mixed.items()
        ]
        lines.append(
            f"tables with different columns, which no pattern of names tells apart: {'; '.join(shown[:MOST_SHOWN])}; "
            "point --path at one of them, or at a folder with those that belong together"
        )
    return lines + look.no_tables[:MOST_REASONS]


def _turned(head: TableHead) -> list[str]:
    """Say how a table becomes one with a row per time, where its columns are called by times: one series per row."""
    names = [column.name for column in head.columns]
    times = [name for name in names[1:] if name]
    if len(times) < FEWEST_TIMES or not Column("time", times, len(times)).time_formats:
        return []
    made = f"{PurePosixPath(head.name).stem}-turned.csv"
    reading = f'pandas.read_csv({literal(head.name)}, index_col=0).T.rename_axis("time")'
    command = python_command("pandas", f'{reading}.to_csv({literal(made)}, mode="x")')
    return [
        f"columns are times, so each row is a series: `{command}`; --path {in_a_shell(made)} --set wide=true"
    ]


def _common_beginning(names: Sequence[str]) -> str:
    shortest, longest = min(names), max(names)
    equal = (number for number, letter in enumerate(shortest) if not longest.startswith(letter, number))
    return shortest[: next(equal, len(shortest))]
